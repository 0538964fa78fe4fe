"""Make raw isochrones fit to interpolate: aligned at equal EEP, whole, with masses that grow.

Published isochrones have missing points inside, masses that step back by rounding, and lengths that
differ from one to the next. Everything the sources share about mending that is here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

__all__ = ["fill_between", "mend", "refine"]


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


def refine(
    eep: NDArray, values: NDArray, *, column: int, step: float
) -> tuple[NDArray[np.float64], NDArray]:
    """Insert points where isochrones are sparse (the lower main sequence of the Dartmouth grids).

    There the straight line between neighbours cuts the curve by hundredths of a magnitude.

    Parameters
    ----------
    eep : numpy.ndarray
        Numbering of the points.
    values : numpy.ndarray
        Shape ``(..., eep, column)``, NaN outside isochrones, mended.
    column : int
        What to measure the distance of neighbours in.
    step : float
        Aim at steps no longer than this in nine isochrones of ten, with up to three new points.

    Returns
    -------
    eep, values
        New points have fractional numbers; they lie on a monotone cubic in EEP.
    """
    flat = values.reshape(-1, *values.shape[-2:])
    gap = np.abs(np.diff(flat[..., column], axis=-1))
    present = np.isfinite(gap).any(axis=0)
    typical = np.zeros(gap.shape[1])
    typical[present] = np.nanpercentile(gap[:, present], 90, axis=0)
    pieces = np.clip(np.ceil(typical / step), 1, 4).astype(int)
    position = np.concatenate(
        [i + np.arange(k) / k for i, k in enumerate(pieces)] + [[len(pieces)]]
    )
    new = np.flatnonzero(position % 1 > 0)
    old = np.searchsorted(position, np.arange(len(eep)))
    out = np.full((len(flat), len(position), flat.shape[-1]), np.nan, dtype=values.dtype)
    out[:, old] = flat
    for track, target in zip(flat, out, strict=True):
        good = np.flatnonzero(np.isfinite(track[:, column]))
        inside = new[(position[new] > good[0]) & (position[new] < good[-1])] if len(good) else []
        if len(inside):
            target[inside] = PchipInterpolator(good, track[good])(position[inside])
    numbers = np.interp(position, np.arange(len(eep)), eep)
    return numbers, out.reshape(*values.shape[:-2], *out.shape[-2:])
