r"""Gaia EDR3 magnitudes from bolometric ones, for grids that come without photometry.

The MIST bolometric corrections (Choi et al. 2016, ApJ 823, 102), which `astrolachesis` ships as a
data file, are interpolated multilinearly in (log T_eff, log g, [Fe/H]) at no extinction:

.. math:: M_X = M_\mathrm{bol} - \mathrm{BC}_X(\log T_\mathrm{eff}, \log g, [\mathrm{Fe/H}])

The file is read, none of that package's code is imported.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.core.provenance import file_sha256

#: Column names of the table, in the order G, BP, RP.
BANDS = ("Gaia_G_EDR3", "Gaia_BP_EDR3", "Gaia_RP_EDR3")
_GROUP = "UBVRIplus"
_AXES = 5  # T_eff, log g, [Fe/H], A_V, R_V stand before the bands


@dataclass(frozen=True)
class BolometricCorrections:
    """A regular table of bolometric corrections.

    Parameters
    ----------
    log_teff, logg, feh : numpy.ndarray
        Axes, increasing (log10 K, dex, dex).
    table : numpy.ndarray
        Shape ``(feh, log_teff, logg, band)``, mag.
    checksum : str
        SHA-256 of the file.
    """

    log_teff: NDArray[np.float64]
    logg: NDArray[np.float64]
    feh: NDArray[np.float64]
    table: NDArray[np.float64]
    checksum: str

    def __call__(self, log_teff: ArrayLike, logg: ArrayLike, feh: ArrayLike) -> NDArray[np.float64]:
        """Interpolate; what lies outside the table takes the value at its edge.

        Returns
        -------
        numpy.ndarray
            Shape ``(..., band)``, mag; NaN where an input is NaN.
        """
        inputs = np.broadcast_arrays(
            *(np.asarray(v, dtype=np.float64) for v in (feh, log_teff, logg))
        )
        cells = [
            _cell(axis, x)
            for axis, x in zip((self.feh, self.log_teff, self.logg), inputs, strict=True)
        ]
        out = np.zeros((*inputs[0].shape, self.table.shape[-1]))
        for corner in range(8):
            index, weight = [], np.ones(inputs[0].shape)
            for axis, (low, fraction) in enumerate(cells):
                up = corner >> axis & 1
                index.append(low + up)
                weight = weight * (fraction if up else 1.0 - fraction)
            out += weight[..., None] * self.table[tuple(index)]
        return out


def _cell(axis: NDArray, x: NDArray) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the node below `x` and how far `x` is to the next, from 0 to 1."""
    low = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2)
    return low, np.clip((x - axis[low]) / (axis[low + 1] - axis[low]), 0.0, 1.0)


@lru_cache(maxsize=1)
def load_bolometric_corrections() -> BolometricCorrections:
    """Read the table that `astrolachesis` installs.

    Raises
    ------
    IsochroneError
        Where the file is absent or not laid out as expected.
    """
    import h5py

    found = importlib.util.find_spec("lachesis")
    folders = list(found.submodule_search_locations or ()) if found else []
    path = next(
        (
            p
            for f in folders
            if (p := Path(f) / "Datafiles" / "BC_tables" / "bc_tables.h5").is_file()
        ),
        None,
    )
    if path is None:
        raise IsochroneError(
            "the bolometric-correction table is absent: install it with `pip install astrolachesis`"
        )
    try:
        with h5py.File(path) as handle:
            group = handle[_GROUP]
            names = [
                n.decode() if isinstance(n, bytes) else str(n) for n in group["band_names"][()]
            ]
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
    return BolometricCorrections(np.log10(teff), logg, feh, table, file_sha256(path))
