"""Native Dartmouth (DSEP 2008) isochrone files with Gaia magnitudes.

The only family here with an [α/Fe] axis of its own. A file ``feh[mp]XXafe[mp]X.Gaia`` holds the
isochrones of one composition from 1 to 15 Gyr, ``.Gaia_2`` those from 0.25 to 1 Gyr; the header
gives the *initial* [Fe/H] (+0.07 in ``fehp00``, the solar-calibrated composition).

Two gaps are filled. Compositions missing between others of the same [α/Fe] are interpolated in
[Fe/H]; above the most metal-rich file of an [α/Fe] the isochrones of the next lower [α/Fe] are
used, shifted by the difference between the two at the last [Fe/H] they share.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.core.provenance import content_hash, file_sha256
from migrate_bayes.isochrones.sources.base import (
    COLUMNS,
    IsochroneSource,
    fill_between,
    mend,
    refine,
    renumber,
)

_NAME = re.compile(r"feh([mp])(\d\d)afe([mp])(\d)\.Gaia(_2)?")
_AGE = re.compile(r"#\s*AGE=\s*([\d.]+)\s+EEPS=\s*(\d+)")
_MAX_EEP = 400
# Below the first of these evolutionary points, on the subgiant branch, files of different [α/Fe]
# are numbered unlike; so many points take their place.
_BRANCH, _BELOW_BRANCH = 160, 140


def read_native_file(path: str | Path) -> tuple[float, float, dict[float, NDArray[np.float64]]]:
    """Return a file's initial [Fe/H], its [α/Fe], and its isochrones by age (Gyr).

    An isochrone has rows of EEP, mass, log T_eff, log g, log L, G, BP, RP. An `IsochroneError`
    names the file and the line that is malformed.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise IsochroneError(f"{path}: cannot be read: {error}") from error
    try:
        *_, feh, alpha = (float(x) for x in lines[3].lstrip("#").split())
    except (IndexError, ValueError) as error:
        raise IsochroneError(
            f"{path}, line 4: expected '# MIX-LEN Y Z Zeff [Fe/H] [a/Fe]', six numbers"
        ) from error
    isochrones: dict[float, NDArray[np.float64]] = {}
    heads = [(i, m) for i, line in enumerate(lines) if (m := _AGE.match(line))]
    if not heads:
        raise IsochroneError(f"{path}: no line '#AGE= ... EEPS= ...' in it: not a Dartmouth file?")
    for i, match in heads:
        age, count = float(match[1]), int(match[2])
        body = lines[i + 2 : i + 2 + count]
        try:
            rows = np.array([line.split() for line in body], dtype=np.float64)
        except ValueError:
            rows = np.empty((0, 0))
        if rows.shape != (count, 8) or not np.isfinite(rows).all():
            raise _bad_row(path, i + 2, body, count)
        if np.any(np.diff(rows[:, 0]) <= 0) or rows[-1, 0] >= _MAX_EEP or rows[0, 0] < 0:
            raise IsochroneError(
                f"{path}, line {i + 3}: EEPs of age {age} Gyr do not increase within 0-{_MAX_EEP}"
            )
        isochrones[age] = rows
    return feh, alpha, isochrones


def _bad_row(path: Path, start: int, body: list[str], count: int) -> IsochroneError:
    """Find the line that is wrong, and say how."""
    for k, line in enumerate(body):
        try:
            good = len([float(x) for x in line.split() if np.isfinite(float(x))]) == 8
        except ValueError:
            good = False
        if not good:
            return IsochroneError(
                f"{path}, line {start + k + 1}: expected 8 numbers (EEP, M/Mo, LogTeff, LogG, "
                f"LogL/Lo, G, BP, RP), found {line[:60]!r}"
            )
    return IsochroneError(
        f"{path}, line {start}: {count} points announced, the file ends after {len(body)}"
    )


def native_files(folder: Path) -> dict[Path, re.Match[str]]:
    """Find the native files of a folder; an `IsochroneError` if there are none."""
    if not folder.is_dir():
        raise IsochroneError(f"isochrone folder {folder} is absent")
    found = {p: m for p in sorted(folder.iterdir()) if (m := _NAME.fullmatch(p.name))}
    if not found:
        raise IsochroneError(f"{folder}: no files named like fehp00afep0.Gaia in it")
    return found


def native_checksum(folder: str | Path) -> str:
    """Hash the files that `read_native` reads."""
    return content_hash({p.name: file_sha256(p) for p in native_files(Path(folder))})


def read_native(folder: str | Path) -> IsochroneSource:
    """Read a folder of native files; an `IsochroneError` says what is absent or malformed."""
    folder = Path(folder)
    found = native_files(folder)
    compositions: dict[tuple[float, float], dict[float, NDArray]] = {}
    initial: dict[tuple[float, float], float] = {}
    for path, m in found.items():
        nominal = int(m[2]) / 10 * (1 if m[1] == "p" else -1)
        key = (nominal, int(m[4]) / 10 * (1 if m[3] == "p" else -1))
        feh, _, isochrones = read_native_file(path)
        initial[key] = feh
        compositions.setdefault(key, {}).update(isochrones)

    nominal_feh = sorted({k[0] for k in compositions})
    alphas = sorted({k[1] for k in compositions})
    if any((f, 0.0) not in compositions for f in nominal_feh):
        raise IsochroneError(f"{folder}: every [Fe/H] needs its file with [a/Fe] = 0 (afep0)")
    ages = sorted(set.intersection(*(set(c) for c in compositions.values())))
    if len(ages) < 2:
        raise IsochroneError(f"{folder}: the compositions have fewer than two ages in common")
    axis = np.array([initial[f, 0.0] for f in nominal_feh])
    shape = len(nominal_feh), len(alphas), len(ages), _MAX_EEP, len(COLUMNS)
    values = np.full(shape, np.nan, np.float32)
    for (f, a), isochrones in compositions.items():
        target = values[nominal_feh.index(f), alphas.index(a)]
        for k, age in enumerate(ages):
            rows = isochrones[age]
            g, bp, rp = rows[:, 5:8].T
            target[k, rows[:, 0].astype(int)] = np.column_stack(
                [rows[:, 1], 10.0 ** rows[:, 2], rows[:, 3], g, bp - rp]
            )
    mend(values)
    _complete(axis, np.array(alphas), values, nominal_feh, initial)
    used = np.flatnonzero(np.isfinite(values[..., 0]).any(axis=(0, 1, 2)))
    kept = slice(used[0], used[-1] + 1)
    numbers, values = refine(np.arange(_MAX_EEP)[kept], values[:, :, :, kept])
    last = int(np.searchsorted(numbers, _BRANCH))
    flat = renumber(values.reshape(-1, *values.shape[2:]), last, _BELOW_BRANCH)
    values = flat.reshape(*values.shape[:2], *flat.shape[1:])
    numbers = np.append(np.linspace(numbers[0], _BRANCH, _BELOW_BRANCH + 1)[:-1], numbers[last:])
    return IsochroneSource(
        name=f"dartmouth-native:{folder}",
        ages=np.array(ages),
        feh=axis,
        alpha=np.array(alphas),
        eep=numbers,
        values=np.ascontiguousarray(values.transpose(2, 0, 1, 3, 4)),
        solar_feh_initial=0.07,
        bands=("Gaia_G_DR2Rev", "Gaia_BP_DR2Rev", "Gaia_RP_DR2Rev"),
        checksum=native_checksum(folder),
        note="Dotter et al. 2007, 2008; no core-helium burning above 0.6 Gyr",
    )


def _complete(
    axis: NDArray, alphas: NDArray, values: NDArray, nominal: list[float], initial: dict
) -> None:
    """Put every [α/Fe] column on the [Fe/H] axis of [α/Fe] = 0, and fill its gaps."""
    zero = int(np.argmin(np.abs(alphas)))
    for j in sorted(range(len(alphas)), key=lambda j: abs(j - zero)):
        own = np.array([initial.get((f, alphas[j]), np.nan) for f in nominal])
        present = np.isfinite(own)
        if j != zero:
            # From its headers' [Fe/H] (0.01-0.02 dex away) to the common axis
            nodes = np.flatnonzero(present)
            x, original = own[nodes], values[nodes, j]
            for k, node in enumerate(nodes):
                feh = axis[node]
                low = int(np.clip(np.searchsorted(x, feh, side="right") - 1, 0, len(x) - 2))
                t = (feh - x[low]) / (x[low + 1] - x[low])
                if abs(feh - x[k]) > 1e-9:
                    values[node, j] = (1.0 - t) * original[low] + t * original[low + 1]
        fill_between(axis, values[:, j], ~present)
        top = int(np.flatnonzero(present)[-1])
        inner = j - 1 if j > zero else j + 1
        for i in range(top + 1, len(axis)):
            values[i, j] = values[i, inner] + (values[top, j] - values[top, inner])
    # Sums of isochrones of unlike length leave points that only some have; masses may step back.
    mend(values)
