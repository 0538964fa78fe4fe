# mypy: disable-error-code="no-untyped-def"
"""From the sky to Galactocentric phase space, and back.

With r̂, p̂, q̂ the unit vectors of line of sight, right ascension and declination (Johnson &
Soderblom 1987), position and velocity are ``B·(d r̂) + p₀`` and
``B·(v_r r̂ + k d (μ_α* p̂ + μ_δ q̂)) + v₀``. B is the ICRS-to-Galactic rotation of Hipparcos and Gaia
followed by the small tilt that puts the Galactic centre in the plane z = 0; k is one astronomical
unit per year. Axes and signs are those of `migrate_bayes.orbits.frame`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.units import flatten, in_unit
from migrate_bayes.orbits.frame import SolarFrame, get_frame

Floats = NDArray[np.float64]
Six = tuple[Floats, Floats, Floats, Floats, Floats, Floats]

KMS_PER_KPC_MASYR = 149597870.7 / (365.25 * 86400.0)
"""km/s per (kpc mas/yr), from the astronomical unit and the Julian year."""

_SKY = ("deg", "deg", "kpc", "mas / yr", "mas / yr", "km / s")
_PHASE_SPACE = ("kpc", "kpc", "kpc", "km / s", "km / s", "km / s")


def _galactic_matrix() -> Floats:
    """Rotation from ICRS to Galactic axes, from the angles Hipparcos and Gaia define it by."""
    ra_pole, dec_pole, l_node = np.radians([192.85948, 27.12825, 32.93192])

    def turn(axis: int, angle: float) -> Floats:
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        matrix = np.eye(3)
        matrix[i, i] = matrix[j, j] = math.cos(angle)
        matrix[i, j] = math.sin(angle)
        matrix[j, i] = -math.sin(angle)
        return matrix

    return turn(2, -l_node) @ turn(0, np.pi / 2 - dec_pole) @ turn(2, ra_pole + np.pi / 2)


ICRS_TO_GALACTIC = _galactic_matrix()


class Transform(NamedTuple):
    """Map of a frame: `rotation` (3, 3), and the Sun's `origin` (kpc) and `velocity` (km/s)."""

    rotation: Floats
    origin: Floats
    velocity: Floats


def x_sign(handedness: str) -> float:
    """Return the factor from the kernels' right-handed x and v_x to the frame's: ±1."""
    return -1.0 if handedness == "left" else 1.0


def transform_arrays(frame: SolarFrame) -> Transform:
    """Return the frame's map from ICRS for the kernels: right-handed, whatever the frame's axes."""
    sin_tilt = frame.z_sun / frame.r0
    cos_tilt = math.sqrt(1.0 - sin_tilt**2)
    tilt = np.array([[cos_tilt, 0.0, sin_tilt], [0.0, 1.0, 0.0], [-sin_tilt, 0.0, cos_tilt]])
    origin = tilt @ np.array([-frame.r0, 0.0, 0.0])
    velocity = np.array([frame.u, frame.v0 + frame.v, frame.w])
    return Transform(np.ascontiguousarray(tilt @ ICRS_TO_GALACTIC), origin, velocity)


@numba.njit(cache=True, nogil=True)
def observed_to_cartesian(ra, dec, distance, pmra, pmdec, rv, transform):
    """One star: deg, kpc, mas/yr, km/s to (x, y, z, vx, vy, vz) in kpc and km/s."""
    r, origin, velocity = transform
    alpha, delta = math.radians(ra), math.radians(dec)
    ca, sa, cd, sd = math.cos(alpha), math.sin(alpha), math.cos(delta), math.sin(delta)
    va = KMS_PER_KPC_MASYR * distance * pmra
    vd = KMS_PER_KPC_MASYR * distance * pmdec
    px, py, pz = distance * ca * cd, distance * sa * cd, distance * sd
    vx = rv * ca * cd - va * sa - vd * ca * sd
    vy = rv * sa * cd + va * ca - vd * sa * sd
    vz = rv * sd + vd * cd
    return (
        r[0, 0] * px + r[0, 1] * py + r[0, 2] * pz + origin[0],
        r[1, 0] * px + r[1, 1] * py + r[1, 2] * pz + origin[1],
        r[2, 0] * px + r[2, 1] * py + r[2, 2] * pz + origin[2],
        r[0, 0] * vx + r[0, 1] * vy + r[0, 2] * vz + velocity[0],
        r[1, 0] * vx + r[1, 1] * vy + r[1, 2] * vz + velocity[1],
        r[2, 0] * vx + r[2, 1] * vy + r[2, 2] * vz + velocity[2],
    )


@numba.njit(cache=True, nogil=True)
def cartesian_to_cylindrical(x, y, vx, vy):
    """One star: (R, v_R, v_phi), v_phi positive for the disc; on the axis v_R is the speed."""
    radius = math.hypot(x, y)
    if radius == 0.0:
        return 0.0, math.hypot(vx, vy), 0.0
    return radius, (x * vx + y * vy) / radius, (y * vx - x * vy) / radius


@numba.njit(cache=True, nogil=True)
def _observed_block(ra, dec, distance, pmra, pmdec, rv, transform):
    out = np.empty((6, ra.size))
    for i in range(ra.size):
        state = observed_to_cartesian(
            ra[i], dec[i], distance[i], pmra[i], pmdec[i], rv[i], transform
        )
        for k in range(6):
            out[k, i] = state[k]
    return out


def observed_to_phase_space(
    ra: ArrayLike,
    dec: ArrayLike,
    distance: ArrayLike,
    pmra: ArrayLike,
    pmdec: ArrayLike,
    radial_velocity: ArrayLike,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
) -> Six:
    """Turn observations into Galactocentric Cartesian phase space.

    Parameters
    ----------
    ra, dec : array_like or Quantity
        ICRS, deg.
    distance : array_like or Quantity
        kpc.
    pmra, pmdec : array_like or Quantity
        mas/yr; `pmra` includes cos(dec).
    radial_velocity : array_like or Quantity
        Heliocentric, km/s.
    frame : str, SolarFrame or mapping
        See `get_frame`.

    Returns
    -------
    x, y, z, vx, vy, vz : ndarray
        kpc and km/s, of the inputs' broadcast shape. NaN in, NaN out.

    Examples
    --------
    >>> from migrate_bayes.orbits import observed_to_phase_space
    >>> x, y, z, vx, vy, vz = observed_to_phase_space(266.4, -28.9, 1.0, 0.0, 0.0, 20.0)
    >>> x.round(2), vx.round(1)
    (np.float64(-7.27), np.float64(33.0))
    """
    shape, columns = flatten((ra, dec, distance, pmra, pmdec, radial_velocity), _SKY)
    solar = get_frame(frame)
    x, y, z, vx, vy, vz = _observed_block(*columns, transform_arrays(solar)).reshape(6, *shape)
    hand = x_sign(solar.handedness)
    return hand * x, y, z, hand * vx, vy, vz


def _turned_back(rotation: Floats, vectors: Floats) -> Floats:
    """Return ``rotation.T @ vectors``; BLAS would round a star by the number of stars beside it."""
    x, y, z = vectors
    return np.stack([r[0] * x + r[1] * y + r[2] * z for r in rotation.T])


def phase_space_to_observed(
    x: ArrayLike,
    y: ArrayLike,
    z: ArrayLike,
    vx: ArrayLike,
    vy: ArrayLike,
    vz: ArrayLike,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
) -> Six:
    """Observe Galactocentric Cartesian phase space from the Sun.

    The inverse of `observed_to_phase_space`.

    Parameters
    ----------
    x, y, z : array_like or Quantity
        kpc.
    vx, vy, vz : array_like or Quantity
        km/s. From cylindrical velocities: ``vx = (v_r x + v_phi y) / R``,
        ``vy = (v_r y - v_phi x) / R`` (see `from_cylindrical`).
    frame : str, SolarFrame or mapping
        See `get_frame`.

    Returns
    -------
    ra, dec, distance, pmra, pmdec, radial_velocity : ndarray
        deg (0 ≤ ra < 360), kpc, mas/yr, km/s. At the Sun itself the angles and motions are NaN.

    Examples
    --------
    >>> from migrate_bayes.orbits import phase_space_to_observed
    >>> sky = phase_space_to_observed(-7.0, 0.5, 0.1, 10.0, 220.0, 5.0)
    >>> [float(value.round(1)) for value in sky]
    [273.8, -8.2, 1.4, -1.7, -3.5, -13.3]
    """
    shape, columns = flatten((x, y, z, vx, vy, vz), _PHASE_SPACE)
    solar = get_frame(frame)
    rotation, origin, velocity = transform_arrays(solar)
    hand = np.array([x_sign(solar.handedness), 1.0, 1.0])[:, None]
    position = _turned_back(rotation, hand * np.stack(columns[:3]) - origin[:, None])
    motion = _turned_back(rotation, hand * np.stack(columns[3:]) - velocity[:, None])
    across = np.hypot(position[0], position[1])
    distance = np.hypot(across, position[2])
    alpha = np.arctan2(position[1], position[0])
    delta = np.arctan2(position[2], across)
    ca, sa, cd, sd = np.cos(alpha), np.sin(alpha), np.cos(delta), np.sin(delta)
    scale = np.where(distance > 0, KMS_PER_KPC_MASYR * distance, np.nan)
    observed = np.stack([
        np.degrees(alpha) % 360.0,
        np.degrees(delta),
        distance,
        (ca * motion[1] - sa * motion[0]) / scale,
        (cd * motion[2] - sd * (ca * motion[0] + sa * motion[1])) / scale,
        cd * (ca * motion[0] + sa * motion[1]) + sd * motion[2],
    ])  # fmt: skip
    observed[:, distance == 0] = np.nan
    observed[2, distance == 0] = 0.0
    ra, dec, dist, pmra, pmdec, rv = observed.reshape(6, *shape)
    return ra, dec, dist, pmra, pmdec, rv


def to_cylindrical(
    x: ArrayLike, y: ArrayLike, vx: ArrayLike, vy: ArrayLike, *, handedness: str = "right"
) -> tuple[Floats, Floats, Floats]:
    """Turn Cartesian positions and velocities in the plane into cylindrical ones.

    Parameters
    ----------
    x, y : array_like or Quantity
        kpc.
    vx, vy : array_like or Quantity
        km/s.
    handedness : {"right", "left"}
        Of the axes; see `SolarFrame`.

    Returns
    -------
    R, v_R, v_phi : ndarray
        kpc and km/s; v_phi is positive for the disc.

    Examples
    --------
    >>> from migrate_bayes.orbits import to_cylindrical
    >>> [float(value) for value in to_cylindrical(-8.0, 0.0, 10.0, 220.0)]
    [8.0, -10.0, 220.0]
    """
    x, y = in_unit(x, "kpc"), in_unit(y, "kpc")
    vx, vy = in_unit(vx, "km / s"), in_unit(vy, "km / s")
    hand = x_sign(handedness)
    radius = np.hypot(x, y)
    safe = np.where(radius > 0, radius, 1.0)
    v_r = np.where(radius > 0, (x * vx + y * vy) / safe, np.hypot(vx, vy))
    return radius, v_r, np.where(radius > 0, hand * (y * vx - x * vy) / safe, 0.0)


def from_cylindrical(
    x: ArrayLike, y: ArrayLike, v_r: ArrayLike, v_phi: ArrayLike, *, handedness: str = "right"
) -> tuple[Floats, Floats]:
    """Turn cylindrical velocities into Cartesian ones; the inverse of `to_cylindrical`.

    Parameters
    ----------
    x, y : array_like or Quantity
        kpc.
    v_r, v_phi : array_like or Quantity
        km/s; `v_phi` is positive for the disc.
    handedness : {"right", "left"}
        Of the axes; see `SolarFrame`.

    Returns
    -------
    vx, vy : ndarray
        km/s.

    Examples
    --------
    >>> from migrate_bayes.orbits import from_cylindrical
    >>> [float(value) for value in from_cylindrical(-8.0, 0.0, -10.0, 220.0)]
    [10.0, 220.0]
    """
    x, y = in_unit(x, "kpc"), in_unit(y, "kpc")
    v_r, v_phi = in_unit(v_r, "km / s"), x_sign(handedness) * in_unit(v_phi, "km / s")
    radius = np.hypot(x, y)
    return (v_r * x + v_phi * y) / radius, (v_r * y - v_phi * x) / radius
