"""Z_max, pericentre, apocentre and potential differences on plain arrays, in kpc and km/s.

`orbit_extrema` integrates each orbit (see `kernel.integrate`); the others read the same table of
the potential.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import OrbitError
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.units import flatten, number
from migrate_bayes.orbits.kernel import integrate
from migrate_bayes.orbits.kernel.batch_step import rows
from migrate_bayes.orbits.kernel.integrate import N_OUT, Control, Orbits, extrema_block
from migrate_bayes.orbits.kernel.spline import potential_block
from migrate_bayes.orbits.potential import Potential

Floats = NDArray[np.float64]

GYR_KMS_PER_KPC = 1.0227121650537077
"""kpc in (km/s Gyr), from the parsec and the Julian year."""

SPAN_GYR = 5.0
STEPS = 8.0
TOLERANCE = 4e-3
BLOCK = 2048


class Extrema(NamedTuple):
    """Extrema of orbits: arrays of the inputs' shape, NaN if there is no orbit.

    `zmax`, `r_peri`, `r_apo` in kpc (spherical radii); `eccentricity` =
    (r_apo - r_peri)/(r_apo + r_peri); `zmax_error`, `r_peri_error`, `r_apo_error`, their numerical
    errors, relative (`kernel.integrate` estimates them), and `eccentricity_error`, not relative;
    `zmax_half`, Z_max over the first half of the span (kpc). Booleans: `unbound`; `inexact`, a
    Z_max that stayed above the tolerance (chaotic orbits); `failed`, no number at all.
    """

    zmax: Floats
    r_peri: Floats
    r_apo: Floats
    eccentricity: Floats
    zmax_error: Floats
    r_peri_error: Floats
    r_apo_error: Floats
    eccentricity_error: Floats
    zmax_half: Floats
    unbound: NDArray[np.bool_]
    inexact: NDArray[np.bool_]
    failed: NDArray[np.bool_]


def orbit_extrema(
    R: ArrayLike,
    v_r: ArrayLike,
    v_phi: ArrayLike,
    z: ArrayLike,
    v_z: ArrayLike,
    potential: str | Potential,
    *,
    span: float = SPAN_GYR,
    steps: float = STEPS,
    tolerance: float = TOLERANCE,
    workers: int | None = None,
    on_done: Callable[[int], None] | None = None,
) -> Extrema:
    """Integrate orbits and return their extrema.

    Parameters
    ----------
    R : array_like or Quantity
        Cylindrical radius, kpc.
    v_r, v_phi : array_like or Quantity
        Velocity, km/s. The sign of `v_phi` does not matter.
    z : array_like or Quantity
        Height, kpc.
    v_z : array_like or Quantity
        Vertical velocity, km/s.
    potential : str or Potential
        A name is taken in the default frame, rescaled.
    span : float or Quantity
        Time of integration, Gyr. The extrema are those reached within it.
    steps : float
        Integrator steps, of six force evaluations, per period of the fastest oscillation.
    tolerance : float
        Relative error of Z_max beyond which an orbit is integrated again with shorter steps (at
        most five times: then it is `inexact`).
    workers : int, optional
        Threads.
    on_done : callable, optional
        Called with the number of orbits after each block.

    Returns
    -------
    Extrema
        Named arrays.

    Raises
    ------
    OrbitError
        If a name is unknown or a setting not positive.

    Examples
    --------
    >>> from migrate_bayes.orbits import orbit_extrema
    >>> orbit = orbit_extrema(8.0, [0.0, 40.0], 220.0, 0.0, 15.0, "MWPotential2014")
    >>> orbit.eccentricity.round(2)
    array([0.08, 0.15])
    """
    span = number(span, "Gyr", "span")
    steps, tolerance = number(steps, "", "steps"), number(tolerance, "", "tolerance")
    for name, setting in (("span", span), ("steps", steps), ("tolerance", tolerance)):
        if not (np.isfinite(setting) and setting > 0):
            raise OrbitError(f"{name} must be positive, not {setting}")
    here = Potential.of(potential)
    ro, vo = here.units
    units = ("kpc", "km / s", "km / s", "kpc", "km / s")
    shape, columns = flatten((R, v_r, v_phi, z, v_z), units)
    starts = [c / unit for c, unit in zip(columns, (ro, vo, vo, ro, vo), strict=True)]
    n, table = columns[0].size, here.table
    out, status = np.empty((n, N_OUT)), np.empty(n, dtype=np.int64)
    control = Control(span * GYR_KMS_PER_KPC * vo / ro, float(steps), float(tolerance))

    def run(start: int, stop: int) -> None:
        orbits = Orbits(*(column[start:stop] for column in starts))
        extrema_block(orbits, table, control, rows(), out[start:stop], status[start:stop])

    map_blocks(run, n, BLOCK, workers=workers, on_done=on_done)
    zmax, peri, apo, zmax_error, peri_error, apo_error, half = out.T.reshape(N_OUT, *shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        eccentricity = (apo - peri) / (apo + peri)
    # de = (1 - e²)/2 d ln(r_apo/r_peri)
    eccentricity_error = 0.5 * (1.0 - eccentricity**2) * (peri_error + apo_error)
    errors = (zmax_error, peri_error, apo_error, eccentricity_error)
    reasons = (integrate.UNBOUND, integrate.INEXACT, integrate.FAILED)
    ended = (status.reshape(shape) == reason for reason in reasons)
    return Extrema(ro * zmax, ro * peri, ro * apo, eccentricity, *errors, ro * half, *ended)


def potential_difference(
    R: ArrayLike, z: ArrayLike, z_to: ArrayLike, potential: str | Potential
) -> Floats:
    """Return Φ(R, z_to) - Φ(R, z) in km²/s² (R, z in kpc); NaN beyond 60 natural units."""
    here = Potential.of(potential)
    ro, vo = here.units
    shape, columns = flatten((R, z, z_to), ("kpc", "kpc", "kpc"))
    radius, low, high = (column / ro for column in columns)
    at_low, at_high = (potential_block(radius, height, here.table) for height in (low, high))
    return vo**2 * (at_high - at_low).reshape(shape)


def vertical_speed(
    R: ArrayLike, z: ArrayLike, zmax: ArrayLike, potential: str | Potential
) -> Floats:
    """Return the speed, km/s, that carries a star from (R, z) to `zmax` (kpc) at fixed R.

    It is √(2(Φ(R, zmax) - Φ(R, z))), and NaN if zmax < abs(z). An orbit that moves in R as well
    reaches another height.
    """
    rise = potential_difference(R, z, zmax, potential)
    return np.sqrt(2.0 * np.where(rise >= 0, rise, np.nan))
