"""Guiding radius and circular velocity, from the table of circular orbits.

R_g solves R_g v_c(R_g) = |L_z|. The table holds ln R and d ln R/d ln L at uniform ln L; a cubic
Hermite polynomial between the nodes is good to 1e-10 and costs one logarithm and one exponential.
Beyond the table (10 pc, 800 kpc) it goes on as a power law.
"""

from __future__ import annotations

__all__ = ["circular_velocity", "guiding_radius", "guiding_radius_natural"]

import math
from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.orbits.frame import SolarFrame, get_frame
from migrate_bayes.orbits.potential import natural_units
from migrate_bayes.orbits.potential_tables import rotation_table

Floats = NDArray[np.float64]


@numba.njit(cache=True, nogil=True, inline="always")
def hermite(x: float, x0: float, step: float, values: Floats, slopes: Floats) -> float:
    """Cubic Hermite on a uniform grid, straight beyond its ends."""
    n = values.size
    s = (x - x0) / step
    if not s > 0.0:
        return values[0] + (x - x0) * slopes[0]
    if s >= n - 1:
        return values[n - 1] + (x - x0 - (n - 1) * step) * slopes[n - 1]
    i = int(s)
    t = s - i
    rise = values[i + 1] - values[i]
    m0, m1 = slopes[i] * step, slopes[i + 1] * step
    return values[i] + t * (m0 + t * (3.0 * rise - 2.0 * m0 - m1 + t * (m0 + m1 - 2.0 * rise)))


@numba.njit(cache=True, nogil=True)
def guiding_radius_natural(
    lz: float, ln_l0: float, step: float, ln_r: Floats, slope: Floats
) -> float:
    """One star, natural units; R_g of |L_z|, zero at zero."""
    momentum = abs(lz)
    if momentum == 0.0:
        return 0.0
    return math.exp(hermite(math.log(momentum), ln_l0, step, ln_r, slope))


@numba.njit(cache=True, nogil=True)
def _guiding_block(lz: Floats, ln_l0: float, step: float, ln_r: Floats, slope: Floats) -> Floats:
    out = np.empty(lz.size)
    for i in range(lz.size):
        out[i] = guiding_radius_natural(lz[i], ln_l0, step, ln_r, slope)
    return out


@numba.njit(cache=True, nogil=True)
def _velocity_block(R: Floats, ln_r0: float, step: float, ln_v: Floats, slope: Floats) -> Floats:
    out = np.empty(R.size)
    for i in range(R.size):
        out[i] = math.exp(hermite(math.log(R[i]), ln_r0, step, ln_v, slope)) if R[i] > 0 else np.nan
    return out


def guiding_radius(
    lz: ArrayLike,
    potential: str,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
    scaling: str = "rescaled",
) -> NDArray[np.float64]:
    """Radius of the circular orbit of the same angular momentum.

    Parameters
    ----------
    lz : array_like
        Angular momentum, kpc km/s. The sign is ignored.
    potential : str
        Name; see `migrate_bayes.orbits.potential`.
    frame : str, SolarFrame or mapping
        See `get_frame`; its r0 and v0 scale the potential unless `scaling` is ``"native"``.
    scaling : {"rescaled", "native"}
        See `migrate_bayes.orbits.potential`.

    Returns
    -------
    ndarray
        kpc, of the shape of `lz`.

    Raises
    ------
    OrbitError
        Where a name is unknown.
    """
    ro, vo = natural_units(potential, get_frame(frame), scaling)
    momentum = np.asarray(lz, dtype=np.float64)
    table = rotation_table(potential)
    flat = np.ascontiguousarray(momentum.ravel()) / (ro * vo)
    return ro * _guiding_block(flat, *table[:4]).reshape(momentum.shape)


def circular_velocity(
    R: ArrayLike,
    potential: str,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
    scaling: str = "rescaled",
) -> NDArray[np.float64]:
    """Circular velocity in the plane.

    Parameters
    ----------
    R : array_like
        Galactocentric radius, kpc; NaN is returned where it is not positive.
    potential, frame, scaling
        As in `guiding_radius`.

    Returns
    -------
    ndarray
        km/s, of the shape of `R`.
    """
    ro, vo = natural_units(potential, get_frame(frame), scaling)
    radius = np.asarray(R, dtype=np.float64)
    table = rotation_table(potential)
    flat = np.ascontiguousarray(radius.ravel()) / ro
    return vo * _velocity_block(flat, *table[4:]).reshape(radius.shape)
