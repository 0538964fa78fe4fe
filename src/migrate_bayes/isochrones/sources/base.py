"""The one shape that isochrones of every family are read into.

An `IsochroneSource` holds every isochrone of a family on its own nodes of age, [Fe/H] and [α/Fe],
aligned at equal evolutionary points (EEP), with Gaia magnitudes. The age estimate works on the
`WorkingGrid` that `build_grid` makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Last axis of `IsochroneSource.values`: initial mass (solar), K, dex, mag, mag.
COLUMNS = ("mass", "teff", "logg", "abs_g", "bp_rp")
#: Points are added to isochrones whose neighbours are further apart, mag in M_G.
MAX_STEP = 0.15


def cell_of(axis: NDArray, x: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the node of `axis` below `x`, and how far `x` is to the next, from 0 to 1."""
    low = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2)
    return low, np.clip((x - axis[low]) / (axis[low + 1] - axis[low]), 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class IsochroneSource:
    """A family of isochrones.

    Parameters
    ----------
    name : str
        What `load_source` was given.
    ages : numpy.ndarray
        Gyr, increasing.
    feh : numpy.ndarray
        *Initial* [Fe/H] of the models, increasing.
    alpha : numpy.ndarray
        [α/Fe] of the models, increasing; a single 0 if the family has no such axis.
    eep : numpy.ndarray
        Evolutionary points, the common numbering of all isochrones; fractional where added.
    values : numpy.ndarray
        float32, shape ``(age, feh, alpha, eep, COLUMNS)``. NaN before the first and after the last
        point of an isochrone, never between.
    solar_feh_initial : float
        Initial [Fe/H] of the family's own solar-calibrated model: diffusion takes its surface from
        there to 0 at the age of the Sun.
    bands : tuple of str
        Photometric bands of G, BP and RP.
    checksum : str
        SHA-256 over the files read.
    note : str
        What a referee should know.

    Examples
    --------
    >>> from migrate_bayes.isochrones import load_source
    >>> source = load_source("dartmouth")
    >>> source.bands, source.has_alpha
    (('Gaia_G_EDR3', 'Gaia_BP_EDR3', 'Gaia_RP_EDR3'), False)
    """

    name: str
    ages: NDArray[np.float64]
    feh: NDArray[np.float64]
    alpha: NDArray[np.float64]
    eep: NDArray[np.float64]
    values: NDArray[np.float32]
    solar_feh_initial: float
    bands: tuple[str, ...]
    checksum: str
    note: str = ""

    @property
    def has_alpha(self) -> bool:
        """Whether the family was computed at more than one [α/Fe]."""
        return len(self.alpha) > 1

    def describe(self) -> dict[str, str]:
        """State what the family covers, as text: what a table of sources shows."""

        def axis(x: NDArray) -> str:
            return f"{x[0]:g} to {x[-1]:g} ({len(x)})" if len(x) > 1 else "none"

        shift = self.solar_feh_initial
        return {
            "source": self.name,
            "ages [Gyr]": axis(np.round(self.ages, 3)),
            "[Fe/H] initial": axis(np.round(self.feh, 3)),
            "of the Sun": f"{shift:+.2f}",
            "[α/Fe]": axis(self.alpha) if self.has_alpha else "Salaris et al. 1993",
            "bands": ", ".join(self.bands),
            "SHA-256": self.checksum,
            "note": self.note,
        }
