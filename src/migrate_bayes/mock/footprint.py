# mypy: disable-error-code="no-untyped-def"
r"""Selection function of a LAMOST-like survey: footprint, depth, dust, and azimuths drawn from it.

* **Footprint**: declination -10° to 60° (Vickers, Shen & Li 2021, section 2.1). Of the stars there,
  a share is targeted that depends on the direction: all in the Galactic anticentre
  (150° < l < 210°, abs(b) < 30°: Liu et al. 2014, IAU Symp. 298, 310) and in the Kepler field
  (within 8° of l, b = 76.3°, 13.5°: De Cat et al. 2015, ApJS 220, 19), and `ELSEWHERE` of the rest.
  Plates and their gaps are not drawn.
* **Depth**: g from 10 to 18, in the SDSS system (`catalog.passbands`); the share observed falls
  from bright to faint as 1/(1 + exp((g - 16.2)/0.6)), since a field has more faint stars than
  fibres.
* **Dust**: an exponential disc, in closed form. With k = sin|b|/h_z - cos l cos b/h_R,

  .. math:: A_V(d) = a_0 \frac{1 - e^{-k d}}{k}

  which takes R along a line of sight as R₀ - d cos l cos b: a₀ = 0.7 mag/kpc at the Sun,
  h_z = 0.125 kpc and h_R = 3.5 kpc (in the range of Drimmel & Spergel 2001 and Marshall et al.
  2006); at most 6 mag. Smooth: there are no clouds.
* **Azimuths**: the disc is axisymmetric, so of a candidate (age, R, z) the azimuth φ is free. The
  survey would see it with the weight

  .. math:: w(\varphi) = \mathrm{targeted}(l, b)\; B(\mathrm{age}, m),\qquad
     m = G_\mathrm{lim} - 5 \log_{10} d - 10 - 0.6 A_V

  G_lim is the candidate's own limit and B bounds from above the share of an isochrone's stars
  that are brighter than M_G = m (`brightness_bound`): the isochrone itself then decides by a ratio
  between 0 and 1. With R φ = s sinh t, one φ in each of K equal cells of t, all at the same place
  v ~ U(0, 1) in their cells, the candidate is kept with probability C Σ_k w_k dφ/dt, and its cell
  is drawn in proportion to the terms: for any K the joint density of what is kept is exactly that
  of the disc times w. Stars beyond `REACH` along the arc are not in the survey.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.isochrones import WorkingGrid
from migrate_bayes.orbits.coordinates import ICRS_TO_GALACTIC

Floats = NDArray[np.float64]

DEC_RANGE = (-10.0, 60.0)
G_RANGE = (10.0, 18.0)
ELSEWHERE = 0.3
_SIN_DEC = (math.sin(math.radians(DEC_RANGE[0])), math.sin(math.radians(DEC_RANGE[1])))
_L, _B = math.radians(76.3), math.radians(13.5)
_KEPLER = (math.cos(_B) * math.cos(_L), math.cos(_B) * math.sin(_L), math.sin(_B))
_COS_KEPLER = math.cos(math.radians(8.0))
_TAN_30 = math.tan(math.radians(30.0))
_HALF, _WIDTH = 16.2, 0.6
BLUEST = 0.22
"""G - g (mag) is below this at any colour."""
_LOCAL, _H_Z, _H_R, _MOST = 0.7, 0.125, 3.5, 6.0

_CELLS = 20
_SCALE, REACH, _FARTHEST = 0.7, 10.0, 15.0  # kpc
NORM = 30.0
"""C: as large as can be. The probability passes 1 (by some per cent) for a few in a million."""
_MARGIN = 1.05  # of the bound, for what interpolation between isochrones may add


def galactic(ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
    """Return Galactic longitude (0 to 360) and latitude in degrees, of ICRS degrees."""
    gx, gy, gz = _direction(ra, dec)
    return np.degrees(np.arctan2(gy, gx)) % 360.0, np.degrees(np.arcsin(np.clip(gz, -1.0, 1.0)))


def _direction(ra: ArrayLike, dec: ArrayLike) -> list[Floats]:
    a, d = np.radians(ra), np.radians(dec)
    x, y, z = np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)
    # Not a matrix product: BLAS rounds a star by the number of stars beside it.
    return [r[0] * x + r[1] * y + r[2] * z for r in ICRS_TO_GALACTIC]


@numba.njit(cache=True, nogil=True)
def share_targeted(sin_dec, x, y, z):
    """Share targeted in a direction: a Galactic unit vector, x towards the centre, y to l = 90°."""
    if not _SIN_DEC[0] <= sin_dec <= _SIN_DEC[1]:
        return 0.0
    if x < 0.0 and abs(y) < -_TAN_30 * x and abs(z) < 0.5:
        return 1.0
    if _KEPLER[0] * x + _KEPLER[1] * y + _KEPLER[2] * z > _COS_KEPLER:
        return 1.0
    return ELSEWHERE


@numba.njit(cache=True, nogil=True)
def dust_to(d, x, z):
    """A_V (mag) to a distance (kpc) in the direction of a Galactic unit vector (x, ., z)."""
    k = abs(z) / _H_Z - x / _H_R
    column = d if abs(k * d) < 1e-9 else -math.expm1(-k * d) / k
    return min(_LOCAL * column, _MOST)


@numba.njit(cache=True, nogil=True)
def _block(distance, sin_dec, x, y, z, share, a_v):
    for i in range(x.size):
        share[i] = share_targeted(sin_dec[i], x[i], y[i], z[i])
        a_v[i] = dust_to(distance[i], x[i], z[i])


def _look(distance: ArrayLike, ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
    columns = np.broadcast_arrays(distance, np.sin(np.radians(dec)), *_direction(ra, dec))
    flat = [np.ascontiguousarray(c, dtype=np.float64).ravel() for c in columns]
    share, a_v = np.empty(columns[0].shape), np.empty(columns[0].shape)
    _block(*flat, share.reshape(-1), a_v.reshape(-1))
    return share, a_v


def targeted(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Return the share of the stars in a direction (ICRS, deg) that the survey targets."""
    return _look(1.0, ra, dec)[0]


def dust(distance: ArrayLike, ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Return A_V (mag) at a distance (kpc) in a direction (ICRS, deg)."""
    return _look(distance, ra, dec)[1]


def completeness(g: ArrayLike) -> Floats:
    """Return the share of the targets of a magnitude (SDSS g) that are observed."""
    g = np.asarray(g, dtype=np.float64)
    inside = (g >= G_RANGE[0]) & (g < G_RANGE[1])
    return np.where(inside, 1.0 / (1.0 + np.exp((g - _HALF) / _WIDTH)), 0.0)


def faintest_g(u: ArrayLike) -> Floats:
    """Return random limits g_lim (SDSS g) such that P(g < g_lim) is the `completeness`."""
    u = np.asarray(u, dtype=np.float64)
    return np.minimum(_HALF + _WIDTH * np.log((1.0 - u) / u), G_RANGE[1])


class Bound(NamedTuple):
    """Upper bound of the share of a generation brighter than M_G: (age node, step of M_G)."""

    ages: Floats
    first: float
    step: float
    share: Floats


def brightness_bound(
    grid: WorkingGrid, teff_range: tuple[float, float], logg_range: tuple[float, float]
) -> Bound:
    """Tabulate the bound from the points of a grid's isochrones of all compositions.

    Outside of `teff_range` (K) and `logg_range` (dex), no star is observed.
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
def share_above(age, faintest, bound):
    """Bound the shares of generations, ages (n), that are brighter than M_G, shape (n, m)."""
    out = np.empty_like(faintest)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = _share_above(age[i], faintest[i, j], bound)
    return out


@numba.njit(cache=True, nogil=True)
def _choose(candidates, sun, bound, phi, limits, total):
    age, R, z, faintest, u, place = candidates
    r0, z_sun, sin_dec = sun
    weight, limit, arcs = np.empty(_CELLS), np.empty(_CELLS), np.empty(_CELLS)
    for i in range(R.size):
        phi[i] = np.nan
        total[i] = 0.0
        if not R[i] > 0.0:
            continue
        reach = min(REACH, math.pi * R[i])
        end = math.asinh(reach / _SCALE)
        grown = math.exp(end * (2.0 * place[i] / _CELLS - 1.0))  # exp(t) of the first cell
        growth = math.exp(2.0 * end / _CELLS)
        for k in range(_CELLS):
            weight[k] = limit[k] = 0.0
            arc = 0.5 * _SCALE * (grown - 1.0 / grown)
            stretch = 0.5 * _SCALE * (grown + 1.0 / grown)
            grown *= growth
            angle = arc / R[i]
            arcs[k] = arc
            # Heliocentric, the first axis towards the centre, the second along rotation.
            x, y, h = r0 - R[i] * math.cos(angle), R[i] * math.sin(angle), z[i] - z_sun
            d = math.sqrt(x * x + y * y + h * h)
            if not 0.01 < d < _FARTHEST:
                continue
            x, y, h = x / d, y / d, h / d
            seen = share_targeted(sin_dec[0] * x + sin_dec[1] * y + sin_dec[2] * h, x, y, h)
            if seen == 0.0:
                continue
            m = faintest[i] - 5.0 * math.log10(d) - 10.0 - 0.6 * dust_to(d, x, h)
            limit[k] = _share_above(age[i], m, bound)
            cell = 2.0 * end / _CELLS * stretch  # of the arc, kpc
            weight[k] = seen * limit[k] * cell / R[i]
            total[i] += weight[k]
        target = u[i] / NORM  # below the total: kept, and where it falls says in which cell
        if target >= total[i]:
            continue
        for k in range(_CELLS):
            target -= weight[k]
            if target < 0.0:
                phi[i] = arcs[k] / R[i]
                limits[i] = limit[k]
                break


def choose_azimuth(
    age: Floats, R: Floats, z: Floats, faintest: Floats, u: Floats, place: Floats,
    bound: Bound, r0: float, z_sun: float,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """Draw azimuths of candidates: age (Gyr), R, z (kpc) and the faintest G seen (mag), (n) each.

    Uniform numbers `u` decide whether and in which cell, `place` where in the cells; r0, z_sun
    (kpc) are the Sun's. Returns φ (rad; NaN if the candidate is not kept), B there, and the
    probability that the candidate was kept, which must not pass 1.
    """
    n = len(R)
    phi, limits, total = np.empty(n), np.zeros(n), np.empty(n)
    age, R, z, faintest, u, place = (
        np.ascontiguousarray(v, dtype=np.float64) for v in (age, R, z, faintest, u, place)
    )
    # sin(dec) is the third ICRS component of a Galactic direction.
    sun = (r0, z_sun, np.ascontiguousarray(ICRS_TO_GALACTIC[:, 2]))
    _choose((age, R, z, faintest, u, place), sun, bound, phi, limits, total)
    return phi, limits, NORM * total
