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

from migrate_bayes.errors import IsochroneError
from migrate_bayes.isochrones.photometry import BANDS, load_bolometric_corrections
from migrate_bayes.isochrones.source import COLUMNS, MAX_STEP, IsochroneSource
from migrate_bayes.isochrones.tracks import mend, refine
from migrate_bayes.provenance import content_hash, file_sha256

__all__ = ["FAMILIES", "read_lachesis"]


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


def read_lachesis(name: str) -> IsochroneSource:
    """Read one of `FAMILIES`.

    Raises
    ------
    IsochroneError
        Where the package or its file is absent, or the file is not laid out as expected.
    """
    import h5py

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
    try:
        with h5py.File(path) as handle:
            if handle.attrs.get("storage") != "sparse_v1":
                raise ValueError(f"storage is {handle.attrs.get('storage')!r}, not 'sparse_v1'")
            columns = [c.decode() if isinstance(c, bytes) else c for c in handle.attrs["columns"]]
            feh = handle["feh_values"][()].astype(np.float64)
            log_age = handle["age_values"][()].astype(np.float64)
            eep = handle["eep_values"][()].astype(np.int64)
            lengths, offsets = handle["lengths"][()], handle["offsets"][()]
            rows = handle["values"][()][:, [columns.index(c) for c in _NEEDED]]
    except (OSError, KeyError, ValueError) as error:
        raise IsochroneError(f"{path}: cannot be read as an isochrone grid: {error}") from error

    ages = 10.0 ** (log_age - 9.0)
    keep_age = np.flatnonzero((ages >= _MIN_AGE * 0.999) & (ages <= _MAX_AGE))
    dense = _dense(rows, lengths, offsets, (len(feh), len(log_age), len(eep)))[:, keep_age]
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
    numbers, values = refine(eep[kept], values, column=COLUMNS.index("abs_g"), step=MAX_STEP)
    # Ages at which some composition is empty (very young PARSEC) would leave holes in the grid.
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


def _dense(
    rows: NDArray, lengths: NDArray, offsets: NDArray, shape: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Lay the concatenated slices out on (feh, age, eep, column), NaN where there is nothing."""
    dense = np.full((shape[0] * shape[1], shape[2], rows.shape[1]), np.nan)
    start = 0
    for k, (length, offset) in enumerate(zip(lengths, offsets, strict=True)):
        dense[k, offset : offset + length] = rows[start : start + length]
        start += length
    if start != len(rows):
        raise IsochroneError(f"isochrone grid: slices hold {start} rows, the file {len(rows)}")
    phase = dense[..., 2]
    dense[..., 2] = np.where(np.isnan(phase) & np.isfinite(dense[..., 0]), 1.0, phase)
    return dense.reshape(*shape, rows.shape[1])


def _tidy(ages: NDArray) -> NDArray[np.float64]:
    """Undo the rounding of log ages to four decimals: 1.49999 Gyr is 1.5 Gyr."""
    near = np.round(ages * 4.0) / 4.0
    return np.where(np.abs(np.log10(np.maximum(near, 1e-9) / ages)) < 6e-5, near, ages)
