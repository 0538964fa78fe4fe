"""Z_max, pericentre, apocentre and potential differences on plain arrays, in kpc and km/s.

`orbit_extrema` integrates each orbit (see `kernel`); `potential_difference` and `vertical_speed`
read the same table of the potential.
"""

from __future__ import annotations

__all__ = [
    "BLOCK",
    "GYR_KMS_PER_KPC",
    "SPAN_GYR",
    "STEPS",
    "TOLERANCE",
    "orbit_extrema",
    "potential_difference",
    "vertical_speed",
]

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import OrbitError
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.orbits.frame import SolarFrame, get_frame
from migrate_bayes.orbits.kernel.batch_step import rows
from migrate_bayes.orbits.kernel.integrate import FAILED, INEXACT, N_OUT, UNBOUND, extrema_block
from migrate_bayes.orbits.kernel.spline import potential_block
from migrate_bayes.orbits.potential import natural_units
from migrate_bayes.orbits.potential_tables import potential_table

Floats = NDArray[np.float64]

GYR_KMS_PER_KPC = 1.0227121650537077
"""kpc in (km/s Gyr), from the parsec and the Julian year."""

SPAN_GYR = 5.0
STEPS = 8.0
TOLERANCE = 4e-3
BLOCK = 2048


class Extrema(NamedTuple):
    """What `orbit_extrema` returns: arrays of the inputs' shape, NaN where there is no orbit.

    `zmax`, `r_peri`, `r_apo` in kpc (spherical radii); `eccentricity` =
    (r_apo - r_peri)/(r_apo + r_peri); `zmax_error`, `r_peri_error`, `r_apo_error`, what they may be
    wrong by, relative to them (`kernel` says how that is known), and `eccentricity_error`, not
    relative; `zmax_half`, Z_max over the first half of the span (kpc). Booleans: `unbound`;
    `inexact`, a Z_max that stayed above the tolerance (chaotic orbits); `failed`, no number at all.
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
    potential: str,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
    scaling: str = "rescaled",
    span: float = SPAN_GYR,
    steps: float = STEPS,
    tolerance: float = TOLERANCE,
    workers: int | None = None,
    on_done: Callable[[int], None] | None = None,
) -> Extrema:
    """Integrate orbits and return their extrema.

    Parameters
    ----------
    R, z : array_like
        Cylindrical position, kpc.
    v_r, v_phi, v_z : array_like
        Velocity, km/s. The sign of `v_phi` is of no consequence.
    potential : str
        Name; see `migrate_bayes.orbits.potential`.
    frame, scaling
        As in `guiding_radius`.
    span : float
        Time of integration, Gyr. The extrema are those reached within it.
    steps : float
        Integrator steps, of six force evaluations, per period of the fastest oscillation.
    tolerance : float
        Relative error of Z_max beyond which an orbit is done again with shorter steps (at most five
        times: then it is `inexact`).
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
        Where a name is unknown or a setting not positive.
    """
    for name, setting in (("span", span), ("steps", steps), ("tolerance", tolerance)):
        if not (np.isfinite(setting) and setting > 0):
            raise OrbitError(f"{name} must be positive, not {setting}")
    ro, vo = natural_units(potential, get_frame(frame), scaling)
    columns = np.broadcast_arrays(
        *[np.asarray(value, dtype=np.float64) for value in (R, v_r, v_phi, z, v_z)]
    )
    shape = columns[0].shape
    units = (ro, vo, vo, ro, vo)
    R, v_r, v_phi, z, v_z = (
        np.ascontiguousarray(column).ravel() / unit
        for column, unit in zip(columns, units, strict=True)
    )
    table = potential_table(potential)
    out = np.empty((R.size, N_OUT))
    status = np.empty(R.size, dtype=np.int64)
    natural_span = span * GYR_KMS_PER_KPC * vo / ro

    def run(start: int, stop: int) -> None:
        part = slice(start, stop)
        extrema_block(
            R[part], v_r[part], v_phi[part], z[part], v_z[part],
            natural_span, float(steps), float(tolerance), *table, rows(), out[part], status[part],
        )  # fmt: skip

    map_blocks(run, R.size, BLOCK, workers=workers, on_done=on_done)
    zmax, peri, apo, zmax_error, peri_error, apo_error, half = (
        out[:, k].reshape(shape) for k in range(N_OUT)
    )
    ended = status.reshape(shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        eccentricity = (apo - peri) / (apo + peri)
    return Extrema(
        zmax=ro * zmax,
        r_peri=ro * peri,
        r_apo=ro * apo,
        eccentricity=eccentricity,
        zmax_error=zmax_error,
        r_peri_error=peri_error,
        r_apo_error=apo_error,
        # de = (1 - e²)/2 d ln(r_apo/r_peri)
        eccentricity_error=0.5 * (1.0 - eccentricity**2) * (peri_error + apo_error),
        zmax_half=ro * half,
        unbound=ended == UNBOUND,
        inexact=ended == INEXACT,
        failed=ended == FAILED,
    )


def potential_difference(
    R: ArrayLike,
    z: ArrayLike,
    z_to: ArrayLike,
    potential: str,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
    scaling: str = "rescaled",
) -> Floats:
    """Return Φ(R, z_to) - Φ(R, z) in km²/s², for R and z in kpc; NaN outside the table.

    Arguments are those of `orbit_extrema`.
    """
    ro, vo = natural_units(potential, get_frame(frame), scaling)
    columns = np.broadcast_arrays(*[np.asarray(v, dtype=np.float64) / ro for v in (R, z, z_to)])
    shape = columns[0].shape
    R, z, z_to = (np.ascontiguousarray(column).ravel() for column in columns)
    table = potential_table(potential)
    difference = potential_block(R, z_to, *table) - potential_block(R, z, *table)
    return vo**2 * difference.reshape(shape)


def vertical_speed(
    R: ArrayLike,
    z: ArrayLike,
    zmax: ArrayLike,
    potential: str,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
    scaling: str = "rescaled",
) -> Floats:
    """Speed at (R, z) that carries a star to height `zmax` at fixed R: √(2(Φ(R, zmax) - Φ(R, z))).

    Parameters
    ----------
    R, z, zmax : array_like
        kpc.
    potential, frame, scaling
        As in `orbit_extrema`.

    Returns
    -------
    ndarray
        km/s; NaN where zmax < abs(z). An orbit that moves in R as well reaches another height.
    """
    rise = potential_difference(R, z, zmax, potential, frame=frame, scaling=scaling)
    return np.sqrt(2.0 * np.where(rise >= 0, rise, np.nan))
