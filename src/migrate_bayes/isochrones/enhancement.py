"""Salaris's relation: what [α/Fe] adds to [Fe/H] at equal total metallicity; see `grid`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.constants import SALARIS_ALPHA, SALARIS_REST


def salaris(alpha: ArrayLike) -> NDArray[np.float64]:
    """Return S(a), what to add to [Fe/H] for an α-enhanced mixture.

    Parameters
    ----------
    alpha : array-like
        [α/Fe], dex.

    Returns
    -------
    numpy.ndarray
        dex.

    References
    ----------
    Salaris, Chieffi & Straniero 1993, ApJ 414, 580.

    Examples
    --------
    >>> from migrate_bayes.isochrones import salaris
    >>> salaris([0.0, 0.3]).round(3)
    array([0.   , 0.214])
    """
    return np.log10(SALARIS_ALPHA * 10.0 ** np.asarray(alpha, dtype=np.float64) + SALARIS_REST)


@njit(inline="always")
def salaris_and_slope(alpha):  # type: ignore[no-untyped-def]
    """Return S(a) and dS/da, for one [α/Fe] inside a compiled function."""
    enhanced = SALARIS_ALPHA * 10.0**alpha
    return math.log10(enhanced + SALARIS_REST), enhanced / (enhanced + SALARIS_REST)
