# mypy: disable-error-code="no-untyped-def"
r"""Azimuths of stars, drawn in proportion to the selection.

The disc is axisymmetric, so of a candidate (age, R, z) the azimuth φ is free. The survey would see
it with the weight

.. math:: w(\varphi) = \mathrm{targeted}(l, b)\; B(\mathrm{age}, m),\qquad
   m = G_\mathrm{lim} - 5 \log_{10} d - 10 - 0.6 A_V

G_lim is the candidate's own limit and B bounds from above the share of an isochrone's stars
that are brighter than M_G = m (`brightness_bound`): what is left to the isochrone itself is a
ratio between 0 and 1. With R φ = s sinh t, one φ in each of K equal cells of t, all at the same
place v ~ U(0, 1) in their cells, the candidate is kept with probability C Σ_k w_k dφ/dt, and its
cell is drawn in proportion to the terms: for any K the joint density of what is kept is exactly
that of the disc times w. Stars beyond `REACH` along the arc are not in the survey.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from migrate_bayes.isochrones import WorkingGrid
from migrate_bayes.mock.footprint import dust_to, share_targeted
from migrate_bayes.orbits.coordinates import ICRS_TO_GALACTIC

Floats = NDArray[np.float64]

CELLS = 20
SCALE, REACH = 0.7, 10.0  # kpc
FARTHEST = 15.0  # kpc
_NORM = 30.0
"""C: as large as can be. The probability passes 1 (by some per cent) for a few in a million."""
_MARGIN = 1.05  # of the bound, for what interpolation between isochrones may add


class Bound(NamedTuple):
    """Upper bound of the share of a generation brighter than M_G: (age node, step of M_G)."""

    ages: Floats
    first: float
    step: float
    share: Floats


class _Candidates(NamedTuple):
    """Arrays (n): Gyr, kpc, kpc, the faintest G seen (mag), and two uniform numbers."""

    age: Floats
    R: Floats
    z: Floats
    faintest: Floats
    u: Floats
    place: Floats


class _Sun(NamedTuple):
    """The Sun's place, kpc, and sin(dec) as the third ICRS component of a Galactic direction."""

    r0: float
    z_sun: float
    sin_dec: Floats


def brightness_bound(
    grid: WorkingGrid, teff_range: tuple[float, float], logg_range: tuple[float, float]
) -> Bound:
    """Tabulate the bound from the points of a grid's isochrones of all compositions.

    Parameters
    ----------
    grid : WorkingGrid
    teff_range, logg_range : tuple of float
        Outside, no star is observed (K, dex).
    """
    first, last, step = -4.0, 12.0, 0.25
    n = round((last - first) / step)
    share = np.zeros((len(grid.ages), n + 1))
    for i, points in enumerate(grid.points):
        p = points.reshape(-1, *points.shape[-2:]).astype(np.float64)
        # A segment counts if either end is inside, from its brighter end on.
        inside = np.ones(p.shape[:2], dtype=bool)
        for column, (low, high) in ((0, teff_range), (1, logg_range)):
            inside &= (p[..., column] >= low) & (p[..., column] <= high)
        segment = inside[:, :-1] | inside[:, 1:]
        bright = np.minimum(p[:, :-1, 2], p[:, 1:, 2])
        index = np.clip(np.floor((bright - first) / step), 0, n - 1).astype(np.int64)
        born = np.where(segment, np.maximum(p[:, :-1, 4], 0.0), 0.0)
        for one, weight in zip(index, born, strict=True):
            total = np.concatenate([[0.0], np.cumsum(np.bincount(one, weight, n))])
            np.maximum(share[i], total, out=share[i])
    # A star between two nodes of age, and a limit between two steps, have the larger of the two.
    share[:-1] = np.maximum(share[:-1], share[1:])
    share[:, :-1] = share[:, 1:]
    return Bound(np.asarray(grid.ages, dtype=np.float64), first, step, _MARGIN * share)


@numba.njit(cache=True, nogil=True)
def _share_above(age, m, bound):
    ages, first, step, share = bound
    i = min(max(np.searchsorted(ages, age, side="right") - 1, 0), len(ages) - 1)
    k = math.floor((m - first) / step)
    return 0.0 if k < 0 else share[i, min(k, share.shape[1] - 1)]


@numba.njit(cache=True, nogil=True)
def _choose(candidates, sun, bound, phi, limits, total):
    age, R, z, faintest, u, place = candidates
    r0, z_sun, sin_dec = sun
    weight = np.empty(CELLS)
    limit = np.empty(CELLS)
    arcs = np.empty(CELLS)
    for i in range(R.size):
        phi[i] = np.nan
        total[i] = 0.0
        if not R[i] > 0.0:
            continue
        reach = min(REACH, math.pi * R[i])
        end = math.asinh(reach / SCALE)
        grown = math.exp(end * (2.0 * place[i] / CELLS - 1.0))  # exp(t) of the first cell
        growth = math.exp(2.0 * end / CELLS)
        for k in range(CELLS):
            weight[k] = limit[k] = 0.0
            arc, stretch = 0.5 * SCALE * (grown - 1.0 / grown), 0.5 * SCALE * (grown + 1.0 / grown)
            grown *= growth
            angle = arc / R[i]
            arcs[k] = arc
            # Heliocentric, the first axis towards the centre, the second along rotation.
            x, y, h = r0 - R[i] * math.cos(angle), R[i] * math.sin(angle), z[i] - z_sun
            d = math.sqrt(x * x + y * y + h * h)
            if not 0.01 < d < FARTHEST:
                continue
            x, y, h = x / d, y / d, h / d
            seen = share_targeted(sin_dec[0] * x + sin_dec[1] * y + sin_dec[2] * h, x, y, h)
            if seen == 0.0:
                continue
            m = faintest[i] - 5.0 * math.log10(d) - 10.0 - 0.6 * dust_to(d, x, h)
            limit[k] = _share_above(age[i], m, bound)
            cell = 2.0 * end / CELLS * stretch  # of the arc, kpc
            weight[k] = seen * limit[k] * cell / R[i]
            total[i] += weight[k]
        target = u[i] / _NORM  # below the total: kept, and where it falls says in which cell
        if target >= total[i]:
            continue
        for k in range(CELLS):
            target -= weight[k]
            if target < 0.0:
                phi[i] = arcs[k] / R[i]
                limits[i] = limit[k]
                break


def choose_azimuth(
    age: Floats, R: Floats, z: Floats, faintest: Floats, u: Floats, place: Floats,
    bound: Bound, r0: float, z_sun: float,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Draw azimuths.

    Parameters
    ----------
    age, R, z, faintest : ndarray, shape (n,)
        Gyr, kpc, kpc, and the faintest G seen, mag.
    u, place : ndarray, shape (n,)
        Uniform numbers: whether and in which cell, and the place in the cells.
    bound : Bound
    r0, z_sun : float
        Of the Sun, kpc.

    Returns
    -------
    phi, bound, probability : ndarray, shape (n,)
        Azimuth (rad; NaN if the candidate is not kept), B there, and the probability that it
        was kept, which must not pass 1.
    """
    n = len(R)
    phi, limits, total = np.empty(n), np.zeros(n), np.empty(n)
    columns = (np.ascontiguousarray(v, dtype=np.float64) for v in (age, R, z, faintest, u, place))
    sun = _Sun(r0, z_sun, np.ascontiguousarray(ICRS_TO_GALACTIC[:, 2]))
    _choose(_Candidates(*columns), sun, bound, phi, limits, total)
    return phi, limits, _NORM * total
