"""Make raw isochrones fit to interpolate: aligned at equal EEP, whole, with masses that grow.

Published isochrones have missing points inside, masses that step back by rounding, and lengths that
differ from one to the next. Everything the sources share about mending that is here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_between", "mend"]


def mend(values: NDArray, *, mass_column: int = 0) -> NDArray:
    """Fill points missing inside isochrones and make the initial mass never decrease.

    Parameters
    ----------
    values : numpy.ndarray
        Shape ``(..., eep, column)``, NaN where there is no point. Changed in place.
    mass_column : int
        Which column is the initial mass.

    Returns
    -------
    numpy.ndarray
        `values`: missing points between the first and the last of an isochrone are interpolated
        linearly in EEP; an isochrone with fewer than two points is emptied.
    """
    flat = values.reshape(-1, *values.shape[-2:])
    points = np.arange(values.shape[-2])
    for track in flat:
        good = np.isfinite(track).all(axis=1)
        if good.sum() < 2:
            track[:] = np.nan
            continue
        first, last = points[good][[0, -1]]
        for column in range(track.shape[1]):
            track[first : last + 1, column] = np.interp(
                points[first : last + 1], points[good], track[good, column]
            )
        track[:first] = track[last + 1 :] = np.nan
        mass = track[first : last + 1, mass_column]
        np.maximum.accumulate(mass, out=mass)
    return values


def fill_between(axis: NDArray, values: NDArray, absent: NDArray) -> None:
    """Replace whole isochrones by linear interpolation along their first axis, in place.

    Parameters
    ----------
    axis : numpy.ndarray
        Nodes of the first axis.
    values : numpy.ndarray
        Shape ``(axis, ...)``.
    absent : numpy.ndarray
        Which nodes to replace. Those outside the nodes present are left as they are.
    """
    present = np.flatnonzero(~absent)
    for i in np.flatnonzero(absent):
        below, above = present[present < i], present[present > i]
        if len(below) and len(above):
            low, high = below[-1], above[0]
            fraction = (axis[i] - axis[low]) / (axis[high] - axis[low])
            values[i] = (1.0 - fraction) * values[low] + fraction * values[high]
