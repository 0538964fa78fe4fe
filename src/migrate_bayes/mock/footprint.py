# mypy: disable-error-code="no-untyped-def"
r"""Directions, depth and dust of a LAMOST-like survey.

* **Footprint**: declination -10° to 60° (Vickers, Shen & Li 2021, section 2.1). Of the stars there,
  a share is targeted that depends on the direction: all in the Galactic anticentre
  (150° < l < 210°, abs(b) < 30°: Liu et al. 2014, IAU Symp. 298, 310) and in the Kepler field
  (within 8° of l, b = 76.3°, 13.5°: De Cat et al. 2015, ApJS 220, 19), and `ELSEWHERE` of the rest.
  Plates and their gaps are not drawn.
* **Depth**: g from 10 to 18, in the SDSS system, from Gaia's by the relation of the eDR3
  documentation (section 5.5.1, table 5.6), G - g = 0.2199 - 0.6365 c - 0.1548 c² + 0.0064 c³ with
  c = BP - RP; the share observed falls from bright to faint as 1/(1 + exp((g - 16.2)/0.6)), since a
  field has more faint stars than fibres.
* **Dust**: an exponential disc, in closed form. With k = sin|b|/h_z - cos l cos b/h_R,

  .. math:: A_V(d) = a_0 \frac{1 - e^{-k d}}{k}

  which takes R along a line of sight as R₀ - d cos l cos b: a₀ = 0.7 mag/kpc at the Sun,
  h_z = 0.125 kpc and h_R = 3.5 kpc (in the range of Drimmel & Spergel 2001 and Marshall et al.
  2006); at most 6 mag. Smooth: there are no clouds.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.orbits.coordinates import ICRS_TO_GALACTIC

Floats = NDArray[np.float64]

DEC_RANGE = (-10.0, 60.0)
G_RANGE = (10.0, 18.0)
ELSEWHERE = 0.3
_SIN_DEC = (math.sin(math.radians(DEC_RANGE[0])), math.sin(math.radians(DEC_RANGE[1])))
_L_KEPLER, _B_KEPLER = math.radians(76.3), math.radians(13.5)
_KEPLER = (
    math.cos(_B_KEPLER) * math.cos(_L_KEPLER),
    math.cos(_B_KEPLER) * math.sin(_L_KEPLER),
    math.sin(_B_KEPLER),
)
_COS_KEPLER = math.cos(math.radians(8.0))
_TAN_30 = math.tan(math.radians(30.0))
_HALF, _WIDTH = 16.2, 0.6
BLUEST = 0.22
"""G - g (mag) is below this at any colour."""
_LOCAL, _H_Z, _H_R, _MOST = 0.7, 0.125, 3.5, 6.0


def galactic(ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
    """Return Galactic longitude (0 to 360) and latitude in degrees, of ICRS degrees."""
    gx, gy, gz = _direction(ra, dec)
    return np.degrees(np.arctan2(gy, gx)) % 360.0, np.degrees(np.arcsin(np.clip(gz, -1.0, 1.0)))


def _direction(ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats, Floats]:
    a, d = np.radians(ra), np.radians(dec)
    x, y, z = np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)
    # Not a matrix product: BLAS rounds a star by the number of stars beside it.
    gx, gy, gz = (r[0] * x + r[1] * y + r[2] * z for r in ICRS_TO_GALACTIC)
    return gx, gy, gz


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
    shape = columns[0].shape
    flat = [np.ascontiguousarray(c, dtype=np.float64).ravel() for c in columns]
    share, a_v = np.empty(flat[0].size), np.empty(flat[0].size)
    _block(*flat, share, a_v)
    return share.reshape(shape), a_v.reshape(shape)


def targeted(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Return the share of the stars in a direction (ICRS, deg) that the survey targets."""
    return _look(1.0, ra, dec)[0]


def dust(distance: ArrayLike, ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Return A_V (mag) at a distance (kpc) in a direction (ICRS, deg)."""
    return _look(distance, ra, dec)[1]


def sdss_g(gaia_g: ArrayLike, bp_rp: ArrayLike) -> Floats:
    """Return SDSS g from Gaia G and BP - RP, as observed (mag)."""
    c = np.asarray(bp_rp, dtype=np.float64)
    return np.asarray(gaia_g) - (0.2199 + c * (-0.6365 + c * (-0.1548 + c * 0.0064)))


def completeness(g: ArrayLike) -> Floats:
    """Return the share of the targets of a magnitude (SDSS g) that are observed."""
    g = np.asarray(g, dtype=np.float64)
    inside = (g >= G_RANGE[0]) & (g < G_RANGE[1])
    return np.where(inside, 1.0 / (1.0 + np.exp((g - _HALF) / _WIDTH)), 0.0)


def faintest_g(u: ArrayLike) -> Floats:
    """Return random limits g_lim (SDSS g) such that P(g < g_lim) is the `completeness`."""
    u = np.asarray(u, dtype=np.float64)
    return np.minimum(_HALF + _WIDTH * np.log((1.0 - u) / u), G_RANGE[1])
