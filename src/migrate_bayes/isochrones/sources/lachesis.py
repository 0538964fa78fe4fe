r"""Isochrone families from the data package `lachesis-grids` (HDF5, layout "sparse_v1").

A file holds the slices of all ([Fe/H], log age) nodes one after the other, with the first EEP index
and the length of each. Points are kept from the zero-age main sequence to the tip of the giant
branch and through core-helium burning, if the family has it.

The files have no photometry. The MIST bolometric corrections (Choi et al. 2016, ApJ 823, 102),
which `astrolachesis` ships as a data file, are interpolated multilinearly at no extinction:

.. math:: M_X = M_\mathrm{bol} - \mathrm{BC}_X(\log T_\mathrm{eff}, \log g, [\mathrm{Fe/H}])

Only data are read; no code of these packages is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.core.provenance import content_hash, file_sha256
from migrate_bayes.isochrones.sources.base import (
    IsochroneSource,
    cell_of,
    fill_between,
    mend,
    refine,
)


@dataclass(frozen=True)
class _Family:
    """How to read one family: its file, and which of its points are wanted."""

    file: str
    solar_feh_initial: float  # of the family's own solar-calibrated model
    last_eep: int  # end of core-helium burning, or of the file
    first_phase: float  # of the main sequence, where the file has phases
    step: int = 1  # keep one EEP in so many
    reference: str = ""


#: Families by the name `load_source` takes.
FAMILIES = {
    "dartmouth": _Family("dartmouth_dsep.h5", 0.07, 10_000, -9.0, 1, "Dotter et al. 2008"),
    "mist": _Family("mist_v2.5_vvcrit0.4.h5", 0.0, 707, 0.0, 1, "Choi et al. 2016 and v2.5"),
    "parsec": _Family("parsec_v1.25.h5", 0.08, 706, 1.0, 1, "Bressan et al. 2012"),
    "basti": _Family("basti.h5", 0.06, 10_000, -9.0, 4, "Hidalgo et al. 2018"),
    "yapsi": _Family("yapsi.h5", 0.07, 10_000, 1.0, 1, "Spada et al. 2017"),
}
#: Bands of the corrections' table, in the order G, BP, RP.
BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
_GROUP = "UBVRIplus"
_AXES = 5  # T_eff, log g, [Fe/H], A_V, R_V stand before the bands
_MIN_AGE, _MAX_AGE = 0.1, 20.0  # Gyr
_NEEDED = ("initial_mass", "log_g", "phase", "Teff", "Mbol")
#: Between what a star can be: solar masses, dex, K, mag.
_POSSIBLE = {
    "initial_mass": (0.01, 1000.0), "log_g": (-4.0, 12.0), "Teff": (500.0, 1e6),
    "Mbol": (-20.0, 30.0),
}  # fmt: skip


def lachesis_checksum(name: str) -> str:
    """Hash the files that `read_lachesis` reads."""
    path = grid_file(name)
    return content_hash({path.name: file_sha256(path), "bc": file_sha256(_corrections_file())})


def read_lachesis(name: str) -> IsochroneSource:
    """Read one of `FAMILIES`; an `IsochroneError` says what is absent or malformed."""
    family, path = FAMILIES[name], grid_file(name)
    feh, log_age, eep, dense = read_grid(path)
    ages = 10.0 ** (log_age - 9.0)
    keep_age = np.flatnonzero((ages >= _MIN_AGE * 0.999) & (ages <= _MAX_AGE))
    dense = dense[:, keep_age]
    dense[(eep > family.last_eep) | (dense[..., 2] < family.first_phase)] = np.nan
    kept = np.flatnonzero((eep <= family.last_eep) & np.isfinite(dense[..., 0]).any(axis=(0, 1)))
    kept = kept[:: family.step]
    mass, logg, _, teff, mbol = np.moveaxis(dense[:, :, kept], -1, 0)

    corrections = load_bolometric_corrections()
    bc = corrections(np.log10(teff), logg, feh[:, None, None])
    values = np.stack(
        [mass, teff, logg, mbol - bc[..., 0], bc[..., 2] - bc[..., 1]], axis=-1
    ).transpose(1, 0, 2, 3)[:, :, None]
    values = mend(np.ascontiguousarray(values, dtype=np.float32))
    # A slice that is missing between others of its age is interpolated in [Fe/H]; one at an end of
    # the axis (very young PARSEC) costs the grid that age.
    for at_age in values:
        fill_between(feh, at_age, ~np.isfinite(at_age[..., 0]).any(axis=(1, 2)))
    values = mend(values)
    numbers, values = refine(eep[kept], values)
    whole = np.isfinite(values[..., 0]).any(axis=-1).all(axis=(1, 2))
    # Log ages are rounded to four decimals: 1.49999 Gyr is 1.5 Gyr.
    ages = ages[keep_age][whole]
    near = np.round(ages * 4.0) / 4.0
    rounded = np.abs(np.log10(np.maximum(near, 1e-9) / ages)) < 6e-5
    return IsochroneSource(
        name=name,
        ages=np.where(rounded, near, ages),
        feh=np.round(feh, 6),
        alpha=np.zeros(1),
        eep=numbers,
        values=np.ascontiguousarray(values[whole]),
        solar_feh_initial=family.solar_feh_initial,
        bands=BANDS,
        checksum=lachesis_checksum(name),
        note=f"{family.reference}; lachesis-grids; MIST bolometric corrections",
    )


def grid_file(name: str) -> Path:
    """Return the file of a family; an `IsochroneError` if it is absent."""
    folders = _package_folders("lachesis_grids")
    if not folders:
        raise IsochroneError(
            f"isochrone source '{name}' needs the data package: `pip install lachesis-grids`"
        )
    path = folders[0] / "grids" / FAMILIES[name].file
    if not path.is_file():
        raise IsochroneError(f"{path} is absent: reinstall `lachesis-grids`")
    return path


def _text(names: Iterable) -> list[str]:
    return [n.decode() if isinstance(n, bytes) else str(n) for n in names]


def _package_folders(name: str) -> list[Path]:
    found = importlib.util.find_spec(name)
    return [Path(f) for f in found.submodule_search_locations or ()] if found else []


def read_grid(path: Path) -> tuple[NDArray[np.float64], NDArray, NDArray, NDArray[np.float64]]:
    """Read and check a "sparse_v1" file: axes [Fe/H] (dex), log10 of age in yr and EEP, and values.

    The values have shape ``(feh, log_age, eep, _NEEDED)``, in solar masses, dex, number, K, mag.
    They are NaN without a point, or at one that no star can be at; a point without a phase has 1.
    An `IsochroneError` names the file and the slice that is wrong.
    """
    import h5py

    try:
        with h5py.File(path) as handle:
            storage = handle.attrs.get("storage")
            columns = _text(handle.attrs["columns"])
            axes = {n: handle[f"{n}_values"][()].astype(np.float64) for n in ("feh", "age", "eep")}
            lengths, offsets = handle["lengths"][()], handle["offsets"][()]
            rows = handle["values"][()].astype(np.float64)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise IsochroneError(f"{path}: cannot be read as an isochrone grid: {error}") from error
    if storage != "sparse_v1":
        raise IsochroneError(f"{path}: storage is {storage!r}; only 'sparse_v1' can be read")
    absent = [c for c in _NEEDED if c not in columns]
    if absent or rows.ndim != 2 or rows.shape[1] != len(columns):
        raise IsochroneError(
            f"{path}: its values are {rows.shape}, its columns {', '.join(columns)}; needed are "
            f"{', '.join(_NEEDED)}"
        )
    for name, axis in axes.items():
        wrong = np.flatnonzero(~(np.diff(axis) > 0))
        if len(axis) < 2 or len(wrong):
            at = f", entry {wrong[0] + 2}" if len(wrong) else ""
            raise IsochroneError(f"{path}: axis '{name}_values'{at} does not increase")
    feh, log_age, eep = axes.values()
    rows = rows[:, [columns.index(c) for c in _NEEDED]]
    shape = (len(feh), len(log_age), len(eep))
    n = shape[0] * shape[1]
    if len(lengths) != n or len(offsets) != n:
        raise IsochroneError(
            f"{path}: {len(lengths)} lengths and {len(offsets)} offsets of slices for "
            f"{shape[0]} [Fe/H] x {shape[1]} ages = {n}"
        )
    lengths, offsets = lengths.astype(np.int64), offsets.astype(np.int64)
    end = np.cumsum(lengths)
    bad = (lengths < 0) | (offsets < 0) | (offsets + lengths > shape[2]) | (end > len(rows))
    if bad.any():
        k = int(bad.argmax())
        raise IsochroneError(
            f"{path}, slice {k} ([Fe/H] = {feh[k // shape[1]]:g}, log age = "
            f"{log_age[k % shape[1]]:g}): EEPs {offsets[k]} to {offsets[k] + lengths[k]}, rows up "
            f"to {end[k]}, of {shape[2]} EEPs and {len(rows)} rows in the file"
        )
    if end[-1] != len(rows):
        raise IsochroneError(
            f"{path}: its slices hold {end[-1]} rows, the file {len(rows)}: it is not whole"
        )
    phase = rows[:, _NEEDED.index("phase")]
    phase[np.isnan(phase)] = 1.0
    # Fill values (0, -999, 1e30 ...) are no stars.
    with np.errstate(invalid="ignore"):
        impossible = np.zeros(len(rows), dtype=bool)
        for name, (low, high) in _POSSIBLE.items():
            x = rows[:, _NEEDED.index(name)]
            impossible |= ~((x > low) & (x < high))
    rows[impossible] = np.nan
    dense = np.full((n, shape[2], rows.shape[1]), np.nan)
    for k in range(n):
        stop = end[k]
        dense[k, offsets[k] : offsets[k] + lengths[k]] = rows[stop - lengths[k] : stop]
    return feh, log_age, eep.astype(np.int64), dense.reshape(*shape, rows.shape[1])


@dataclass(frozen=True)
class BolometricCorrections:
    """A regular table of bolometric corrections."""

    log_teff: NDArray[np.float64]  # log10 K, increasing as the other axes
    logg: NDArray[np.float64]
    feh: NDArray[np.float64]
    table: NDArray[np.float64]  # (feh, log_teff, logg, band), mag

    def __call__(self, log_teff: ArrayLike, logg: ArrayLike, feh: ArrayLike) -> NDArray[np.float64]:
        """Interpolate, to ``(..., band)`` in mag; outside the table its edge holds, NaN stays."""
        inputs = np.broadcast_arrays(feh, log_teff, logg)
        axes = self.feh, self.log_teff, self.logg
        cells = [cell_of(axis, x) for axis, x in zip(axes, inputs, strict=True)]
        out = np.zeros((*inputs[0].shape, self.table.shape[-1]))
        for corner in range(8):
            index, weight = [], np.ones(inputs[0].shape)
            for axis, (low, fraction) in enumerate(cells):
                up = corner >> axis & 1
                index.append(low + up)
                weight = weight * (fraction if up else 1.0 - fraction)
            out += weight[..., None] * self.table[tuple(index)]
        return out


def _corrections_file() -> Path:
    paths = [f / "Datafiles" / "BC_tables" / "bc_tables.h5" for f in _package_folders("lachesis")]
    path = next(filter(Path.is_file, paths), None)
    if path is None:
        raise IsochroneError(
            "the bolometric-correction table is absent: install it with `pip install astrolachesis`"
        )
    return path


@lru_cache(maxsize=1)
def load_bolometric_corrections() -> BolometricCorrections:
    """Read the table of `astrolachesis`; an `IsochroneError` if it is absent or malformed."""
    import h5py

    path = _corrections_file()
    try:
        with h5py.File(path) as handle:
            group = handle[_GROUP]
            names = _text(group["band_names"][()])
            columns = [_AXES + names.index(band) for band in BANDS]
            feh = group["feh_values"][()].astype(np.float64)
            data = group["data"][()].astype(np.float64)
        first = data[0]
        rows = first[:, 3] == 0.0  # no extinction
        teff, logg = np.unique(first[rows, 0]), np.unique(first[rows, 1])
        order = np.lexsort((first[rows, 1], first[rows, 0]))
        table = data[:, rows][:, order][:, :, columns]
        table = table.reshape(len(feh), len(teff), len(logg), len(BANDS))
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise IsochroneError(
            f"{path}: not a bolometric-correction table as expected ({error}); "
            "reinstall `astrolachesis`"
        ) from error
    return BolometricCorrections(np.log10(teff), logg, feh, table)
