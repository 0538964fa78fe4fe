"""Isochrone families from the data package `lachesis-grids` (HDF5, layout "sparse_v1").

A file holds the slices of all ([Fe/H], log age) nodes one after the other, with the first EEP index
and the length of each. The points kept run from the zero-age main sequence through the tip of the
giant branch and, where the family has it, core-helium burning; the pre-main sequence and the
asymptotic branch are dropped. Gaia magnitudes come from `photometry`. Only data are read.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.core.provenance import content_hash, file_sha256
from migrate_bayes.isochrones.sources.base import COLUMNS, MAX_STEP, IsochroneSource
from migrate_bayes.isochrones.sources.photometry import BANDS, load_bolometric_corrections
from migrate_bayes.isochrones.sources.repair import fill_between, mend, refine


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
_MIN_AGE, _MAX_AGE = 0.1, 20.0  # Gyr
_NEEDED = ("initial_mass", "log_g", "phase", "Teff", "Mbol")
#: Between what a star can be: solar masses, dex, K, mag.
_POSSIBLE = {
    "initial_mass": (0.01, 1000.0),
    "log_g": (-4.0, 12.0),
    "Teff": (500.0, 1e6),
    "Mbol": (-20.0, 30.0),
}


def read_lachesis(name: str) -> IsochroneSource:
    """Read one of `FAMILIES`.

    Raises
    ------
    IsochroneError
        Where the package or its file is absent, or the file is not laid out as expected.
    """
    family = FAMILIES[name]
    found = importlib.util.find_spec("lachesis_grids")
    folder = next(iter(found.submodule_search_locations or ()), None) if found else None
    if folder is None:
        raise IsochroneError(
            f"isochrone source '{name}' needs the data package: `pip install lachesis-grids`"
        )
    path = Path(folder) / "grids" / family.file
    if not path.is_file():
        raise IsochroneError(f"{path} is absent: reinstall `lachesis-grids`")
    grid = read_grid(path)
    feh, eep, dense = grid.feh, grid.eep, grid.values
    ages = 10.0 ** (grid.log_age - 9.0)
    keep_age = np.flatnonzero((ages >= _MIN_AGE * 0.999) & (ages <= _MAX_AGE))
    dense = dense[:, keep_age]
    unwanted = (eep > family.last_eep)[None, None, :] | (dense[..., 2] < family.first_phase)
    dense[unwanted] = np.nan
    kept = np.flatnonzero((eep <= family.last_eep) & np.isfinite(dense[..., 0]).any(axis=(0, 1)))
    kept = kept[:: family.step]
    mass, logg, _, teff, mbol = np.moveaxis(dense[:, :, kept], -1, 0)

    corrections = load_bolometric_corrections()
    bc = corrections(np.log10(teff), logg, feh[:, None, None])
    values = np.stack(
        [mass, teff, logg, mbol - bc[..., 0], bc[..., 2] - bc[..., 1]], axis=-1
    ).transpose(1, 0, 2, 3)[:, :, None]
    assert values.shape[-1] == len(COLUMNS)
    values = mend(np.ascontiguousarray(values, dtype=np.float32))
    # A slice that is missing between others of its age is interpolated in [Fe/H]; one at an end of
    # the axis (very young PARSEC) costs the grid that age.
    for at_age in values:
        fill_between(feh, at_age, ~np.isfinite(at_age[..., 0]).any(axis=(1, 2)))
    values = mend(values)
    numbers, values = refine(eep[kept], values, column=COLUMNS.index("abs_g"), step=MAX_STEP)
    whole = np.isfinite(values[..., 0]).any(axis=-1).all(axis=(1, 2))
    return IsochroneSource(
        name=name,
        ages=_tidy(ages[keep_age][whole]),
        feh=np.round(feh, 6),
        alpha=np.zeros(1),
        eep=numbers,
        values=np.ascontiguousarray(values[whole]),
        solar_feh_initial=family.solar_feh_initial,
        bands=BANDS,
        checksum=content_hash({family.file: file_sha256(path), "bc": corrections.checksum}),
        note=f"{family.reference}; lachesis-grids; MIST bolometric corrections",
    )


@dataclass(frozen=True)
class SparseGrid:
    """What a "sparse_v1" file holds of what is needed.

    Parameters
    ----------
    feh, log_age, eep : numpy.ndarray
        Axes: dex, log10 yr, numbers.
    values : numpy.ndarray
        float64, shape ``(feh, log_age, eep, [mass, log g, phase, T_eff, M_bol])``: solar masses,
        dex, number, K, mag. NaN where there is no point, or one that no star can be at; a point
        without a phase has 1.
    """

    feh: NDArray[np.float64]
    log_age: NDArray[np.float64]
    eep: NDArray[np.int64]
    values: NDArray[np.float64]


def read_grid(path: Path) -> SparseGrid:
    """Read and check one file.

    Raises
    ------
    IsochroneError
        Naming the file, and the slice where it is one that is wrong.
    """
    import h5py

    try:
        with h5py.File(path) as handle:
            storage = handle.attrs.get("storage")
            columns = [c.decode() if isinstance(c, bytes) else c for c in handle.attrs["columns"]]
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
    shape = (len(axes["feh"]), len(axes["age"]), len(axes["eep"]))
    rows = rows[:, [columns.index(c) for c in _NEEDED]]
    return SparseGrid(
        axes["feh"], axes["age"], axes["eep"].astype(np.int64),
        _dense(path, rows, lengths, offsets, axes["feh"], axes["age"], shape),
    )  # fmt: skip


def _dense(
    path: Path,
    rows: NDArray,
    lengths: NDArray,
    offsets: NDArray,
    feh: NDArray,
    log_age: NDArray,
    shape: tuple[int, int, int],
) -> NDArray[np.float64]:
    """Lay the concatenated slices out on (feh, age, eep, column), NaN where there is nothing."""
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
    return dense.reshape(*shape, rows.shape[1])


def _tidy(ages: NDArray) -> NDArray[np.float64]:
    """Undo the rounding of log ages to four decimals: 1.49999 Gyr is 1.5 Gyr."""
    near = np.round(ages * 4.0) / 4.0
    return np.where(np.abs(np.log10(np.maximum(near, 1e-9) / ages)) < 6e-5, near, ages)
