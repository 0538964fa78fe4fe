# mypy: disable-error-code="no-untyped-def"
"""Guiding radius and circular velocity, from the table of circular orbits.

R_g solves R_g v_c(R_g) = |L_z|. The table holds ln R and d ln R/d ln L at uniform ln L; a cubic
Hermite polynomial between the nodes is good to 1e-10 and costs one logarithm and one exponential.
Beyond the table (10 pc, 800 kpc) it goes on as a power law.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.units import flatten
from migrate_bayes.orbits.potential import Potential


@numba.njit(cache=True, nogil=True, inline="always")
def _hermite(x, curve):
    """Cubic Hermite on the uniform grid of a `Curve`, straight beyond its ends."""
    x0, step, values, slopes = curve
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
def on_curve(x, curve):
    """R_g of L_z, or v_c of R, natural units, whatever the sign of x; zero at zero."""
    x = abs(x)
    if x == 0.0:
        return 0.0
    return math.exp(_hermite(math.log(x), curve))


@numba.njit(cache=True, nogil=True)
def _block(x, curve):
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = on_curve(x[i], curve)
    return out


def guiding_radius(lz: ArrayLike, potential: str | Potential) -> NDArray[np.float64]:
    """Find the radius of the circular orbit of the same angular momentum.

    Parameters
    ----------
    lz : array_like or Quantity
        Angular momentum, kpc km/s. The sign is ignored.
    potential : str or Potential
        A name is taken in the default frame, rescaled.

    Returns
    -------
    ndarray
        kpc, of the shape of `lz`.

    Raises
    ------
    OrbitError
        If a name is unknown.

    Examples
    --------
    >>> from migrate_bayes.orbits import guiding_radius
    >>> guiding_radius([1700.0, -1700.0], "MWPotential2014").round(2)
    array([7.11, 7.11])
    """
    here = Potential.of(potential)
    shape, (flat,) = flatten([lz], ["kpc km / s"])
    ro, vo = here.units
    return ro * _block(flat / (ro * vo), here.rotation.radius).reshape(shape)


def circular_velocity(R: ArrayLike, potential: str | Potential) -> NDArray[np.float64]:
    """Circular velocity in the plane.

    Parameters
    ----------
    R : array_like or Quantity
        Galactocentric radius, kpc; the result is NaN if it is not positive.
    potential : str or Potential
        A name is taken in the default frame, rescaled.

    Returns
    -------
    ndarray
        km/s, of the shape of `R`.

    Raises
    ------
    OrbitError
        If a name is unknown.

    Examples
    --------
    >>> from migrate_bayes.orbits import circular_velocity
    >>> circular_velocity([4.0, 8.27], "MWPotential2014").round(1)
    array([238., 236.])
    """
    here = Potential.of(potential)
    shape, (flat,) = flatten([R], ["kpc"])
    ro, vo = here.units
    speed = vo * _block(flat / ro, here.rotation.speed)
    return np.where(flat > 0, speed, np.nan).reshape(shape)
