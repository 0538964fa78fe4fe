"""Magnitudes in the bands of SDSS and 2MASS from Gaia's G and BP-RP.

The relations are those of the Gaia (E)DR3 documentation, section 5.5.1 (Carrasco & Bellazzini), of
stars as observed, of all [Fe/H] and extinctions together: G - m is a polynomial of BP-RP, with a
scatter of 0.07 mag in g, 0.04 in r and i, 0.05, 0.08 and 0.09 in J, H and Ks.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import ArrayLike, NDArray

_RELATIONS = {
    "g": (0.2199, -0.6365, -0.1548, 0.0064),
    "r": (-0.09837, 0.08592, 0.1907, -0.1701, 0.02263),
    "i": (-0.293, 0.6404, -0.09609, -0.002104),
    "J": (0.01798, 1.389, -0.09338),
    "H": (-0.1048, 2.011, -0.1758),
    "Ks": (-0.0981, 2.089, -0.1579),
}
OTHER_BANDS = tuple(_RELATIONS)
"""SDSS g, r, i and 2MASS J, H, Ks."""


def in_band(band: str, g: ArrayLike, bp_rp: ArrayLike) -> NDArray[np.float64]:
    """Return the magnitude in one of `OTHER_BANDS`, of Gaia's G and BP-RP (mag).

    The relations hold for BP-RP from about 0.3 to 2.5 mag.

    Examples
    --------
    The Sun's SDSS g is 0.4 mag fainter than its G:

    >>> from migrate_bayes.catalog.passbands import in_band
    >>> round(float(in_band("g", 0.0, 0.82)), 1)
    0.4
    """
    return np.asarray(g) - polyval(np.asarray(bp_rp, dtype=np.float64), _RELATIONS[band])
