# mypy: disable-error-code="no-untyped-def"
"""Extrema of orbits in an axisymmetric potential, by symplectic integration of many abreast.

Motion in the meridional plane, natural units: H = (v_R² + v_z²)/2 + L_z²/2R² + Φ(R, z), with Φ the
bicubic spline of `tables.PotentialTable`. The integrator is the fourth-order Runge-Kutta-Nyström
splitting of six stages of Blanes & Moan (2002, J. Comput. Appl. Math. 142, 313; SRKN6b), with a
step fixed per orbit from its fastest frequency; `lanes` takes the steps, `turning` finds the peaks.
Each orbit checks its own energy: where the error that implies in Z_max is beyond the tolerance, the
orbit is done again with a shorter step. Lanes are refilled as orbits end.
"""

from __future__ import annotations

__all__ = ["FAILED", "N_OUT", "OK", "UNBOUND", "extrema_block"]

import math

import numba
import numpy as np

from migrate_bayes.orbits import lanes
from migrate_bayes.orbits.lanes import WIDTH, advance
from migrate_bayes.orbits.spline import gradient, potential
from migrate_bayes.orbits.turning import acceleration, hermite_peak, refine

OK, UNBOUND, FAILED = 0, 1, 2
MAX_STEPS = 400_000
REPEATS = 5
# Z_max, r_peri, r_apo, error of Z_max from the energy, largest energy error, Z_max at half span.
N_OUT = 6


@numba.njit(cache=True, nogil=True)
def _planar_pericentre(R, vr, l2, coefficients, shape):
    """Pericentre in the plane at the present radial energy, by bisection in ln R."""
    effective = 0.5 * l2 / (R * R) + potential(R, 0.0, coefficients, shape)
    energy = effective + 0.5 * vr * vr
    low, high = 1e-3 * R, R
    for _ in range(24):
        middle = math.sqrt(low * high)
        if 0.5 * l2 / (middle * middle) + potential(middle, 0.0, coefficients, shape) > energy:
            low = middle
        else:
            high = middle
    return high


@numba.njit(cache=True, nogil=True)
def _fastest(R, l2, coefficients, shape):
    """Square of the larger of the radial and vertical frequencies at R, z = 0."""
    d = 0.01 * R
    outer, _ = gradient(R + d, 0.0, coefficients, shape)
    inner, _ = gradient(R - d, 0.0, coefficients, shape)
    _, up = gradient(R, 0.01, coefficients, shape)
    return max(3.0 * l2 / (R * R * R * R) + (outer - inner) / (2.0 * d), up / 0.01)


@numba.njit(cache=True, nogil=True)
def _first_steps(R, vr, l2, span, steps, coefficients, shape):
    """How many steps to try first: `steps` to 2π over the fastest frequency."""
    peri = max(_planar_pericentre(R, vr, l2, coefficients, shape), 5e-3)
    squared = max(
        _fastest(peri, l2, coefficients, shape), _fastest(max(R, peri), l2, coefficients, shape)
    )
    wanted = span * math.sqrt(max(squared, 1e-6)) * steps / (2.0 * math.pi)
    return max(math.ceil(min(wanted, 2.0 * MAX_STEPS)), 4)


@numba.njit(cache=True, nogil=True)
def _load(q, m, R, vr, l2, z, vz, h, n, coefficients, shape, best):
    """Put an orbit at its beginning into lane m."""
    ar, az = acceleration(R, z, l2, coefficients, shape)
    r2 = R * R + z * z
    values = (
        (lanes.R, R), (lanes.Z, z), (lanes.VR, vr), (lanes.VZ, vz), (lanes.AR, ar), (lanes.AZ, az),
        (lanes.H, h), (lanes.L2, l2), (lanes.S, R * vr + z * vz), (lanes.R2, r2),
        (lanes.TOP, abs(z)), (lanes.NEAR, r2), (lanes.FAR, r2), (lanes.LEFT, float(n)),
    )  # fmt: skip
    for row, value in values:
        q[row + m] = value
    best[:] = 0.0


@numba.njit(cache=True, nogil=True)
def _idle(q, m):
    """Leave lane m at rest where nothing can happen to it."""
    for row in (lanes.VR, lanes.VZ, lanes.AR, lanes.AZ, lanes.H, lanes.L2, lanes.Z, lanes.S):
        q[row + m] = 0.0
    q[lanes.R + m] = 1.0


@numba.njit(cache=True, nogil=True)
def _save(best, q, m, x):
    """Remember the state a step ago and the fraction of the step to the turning point."""
    best[0], best[1], best[2] = q[lanes.R_OLD + m], q[lanes.Z_OLD + m], q[lanes.VR_OLD + m]
    best[3], best[4], best[5] = q[lanes.VZ_OLD + m], q[lanes.AR_OLD + m], q[lanes.AZ_OLD + m]
    best[6] = q[lanes.H + m] * x


@numba.njit(cache=True, nogil=True)
def _look(q, m, best):
    """Where lane m has turned, note a peak of |z| or an extreme of r that beats those so far.

    `best` (3, 8): the saved states for Z_max, pericentre and apocentre; the last column is 1 where
    there is one.
    """
    h = q[lanes.H + m]
    vz0, vz1 = q[lanes.VZ_OLD + m], q[lanes.VZ + m]
    if vz0 * vz1 <= 0.0 and vz0 != vz1:
        x, rise = hermite_peak(vz0, vz1, q[lanes.AZ_OLD + m] * h, q[lanes.AZ + m] * h)
        peak = abs(q[lanes.Z_OLD + m] + h * rise)
        if peak > q[lanes.TOP + m]:
            q[lanes.TOP + m] = peak
            _save(best[0], q, m, x)
            best[0, 7] = 1.0
    s0, s1 = q[lanes.S_OLD + m], q[lanes.S + m]
    if s0 * s1 <= 0.0 and s0 != s1:
        R0, z0, vr0, vz0 = (
            q[lanes.R_OLD + m], q[lanes.Z_OLD + m], q[lanes.VR_OLD + m], q[lanes.VZ_OLD + m],
        )  # fmt: skip
        R1, z1, vr1, vz1 = q[lanes.R + m], q[lanes.Z + m], q[lanes.VR + m], q[lanes.VZ + m]
        g0 = (vr0 * vr0 + vz0 * vz0 + R0 * q[lanes.AR_OLD + m] + z0 * q[lanes.AZ_OLD + m]) * h
        g1 = (vr1 * vr1 + vz1 * vz1 + R1 * q[lanes.AR + m] + z1 * q[lanes.AZ + m]) * h
        x, rise = hermite_peak(s0, s1, g0, g1)
        r2 = R0 * R0 + z0 * z0 + 2.0 * h * rise
        if s0 < s1:
            if r2 < q[lanes.NEAR + m]:
                q[lanes.NEAR + m] = max(r2, 0.0)
                _save(best[1], q, m, x)
                best[1, 7] = 1.0
        elif r2 > q[lanes.FAR + m]:
            q[lanes.FAR + m] = r2
            _save(best[2], q, m, x)
            best[2, 7] = 1.0


@numba.njit(cache=True, nogil=True)
def _finish(q, m, best, energy, coefficients, shape, out):
    """Refine the three extremes of lane m and fill `out`."""
    l2 = q[lanes.L2 + m]
    top, near, far = q[lanes.TOP + m], q[lanes.NEAR + m], q[lanes.FAR + m]
    top_error, worst = 0.0, 0.0
    if best[0, 7] > 0.0:
        R, z, vr, vz, ar, az, wrong = refine(best[0], l2, energy, coefficients, shape)
        worst = abs(wrong)
        if z * az < 0.0:
            # What speed is left, and what the energy is wrong by, each as a height.
            top = abs(z) + (0.5 * vz * vz - wrong) / abs(az)
            top_error = worst / abs(az)
    for k in (1, 2):
        if best[k, 7] > 0.0:
            R, z, vr, vz, ar, az, wrong = refine(best[k], l2, energy, coefficients, shape)
            worst = max(worst, abs(wrong))
            r2, s = R * R + z * z, R * vr + z * vz
            slope = vr * vr + vz * vz + R * ar + z * az
            if slope != 0.0 and abs(s * s / slope) < 0.01 * r2:
                r2 -= s * s / slope
            if k == 1:
                near = r2
            else:
                far = r2
    out[0], out[1], out[2], out[3], out[4] = top, math.sqrt(near), math.sqrt(far), top_error, worst


@numba.njit(cache=True, nogil=True)
def extrema_block(
    R, vr, vt, z, vz, span, steps, tolerance, coefficients, shape, q, out, status
):  # fmt: skip
    """Integrate a slice of orbits, natural units, into `out` (orbit, N_OUT) and `status`.

    `q` is fresh from `lanes.rows`. `steps` is how many to 2π over the fastest frequency,
    `tolerance` the relative error of Z_max that the energy error may imply. `out` is NaN where
    `status` is not OK.
    """
    flat, stride = coefficients.ravel(), coefficients.shape[1]
    limit = shape[4] * shape[4]
    orbit = np.full(WIDTH, -1, np.int64)
    n_steps, repeats = np.zeros(WIDTH, np.int64), np.zeros(WIDTH, np.int64)
    energy, half = np.zeros(WIDTH), np.zeros(WIDTH)
    best = np.zeros((WIDTH, 3, 8))
    out[:] = np.nan
    upcoming, active = 0, 0
    for m in range(WIDTH):
        _idle(q, m)
        q[lanes.EVENT + m] = 1.0
    first = True
    while first or active > 0:
        if not first:
            advance(q, flat, shape, stride, limit)
        for m in range(WIDTH):
            if q[lanes.EVENT + m] == 0.0:
                continue
            i = orbit[m]
            if i < 0 and not first:
                continue
            if i >= 0:
                failed = not q[lanes.R2 + m] < limit
                if not failed:
                    _look(q, m, best[m])
                if 2.0 * q[lanes.LEFT + m] >= n_steps[m]:
                    half[m] = q[lanes.TOP + m]
                if not failed and q[lanes.LEFT + m] > 0.0:
                    continue
                if not failed:
                    _finish(q, m, best[m], energy[m], coefficients, shape, out[i])
                    error = max(
                        out[i, 3] / (tolerance * max(out[i, 0], 1e-4)), out[i, 4] / tolerance
                    )
                    if error > 1.0 and repeats[m] < REPEATS:
                        # Fourth order: the error falls with the fourth power of the step.
                        more = min(max(1.2 * error**0.25, 1.4), 4.0)
                        n_steps[m] = math.ceil(n_steps[m] * more)
                        repeats[m] += 1
                        if n_steps[m] <= MAX_STEPS:
                            half[m] = abs(z[i])
                            _load(
                                q, m, R[i], vr[i], (R[i] * vt[i]) ** 2, z[i], vz[i],
                                span / n_steps[m], n_steps[m], coefficients, shape, best[m, :, 7],
                            )  # fmt: skip
                            continue
                    failed = not error <= 1.0
                if failed:
                    status[i] = FAILED
                    out[i] = np.nan
                else:
                    status[i] = OK
                    out[i, 5] = half[m]
                active -= 1
            # The lane is free: find it another orbit.
            orbit[m] = -1
            while upcoming < R.size:
                i = upcoming
                upcoming += 1
                status[i] = FAILED
                inside = R[i] > 0.0 and R[i] * R[i] + z[i] * z[i] < limit
                speed2 = vr[i] * vr[i] + vt[i] * vt[i] + vz[i] * vz[i]
                if not (inside and math.isfinite(speed2)):
                    continue
                total = 0.5 * speed2 + potential(R[i], z[i], coefficients, shape)
                if total >= shape[6]:
                    status[i] = UNBOUND
                    continue
                l2 = (R[i] * vt[i]) ** 2
                n = _first_steps(R[i], vr[i], l2, span, steps, coefficients, shape)
                if n > MAX_STEPS:
                    continue
                orbit[m], n_steps[m], repeats[m] = i, n, 0
                energy[m], half[m] = total, abs(z[i])
                _load(
                    q, m, R[i], vr[i], l2, z[i], vz[i], span / n, n, coefficients, shape,
                    best[m, :, 7],
                )  # fmt: skip
                active += 1
                break
            if orbit[m] < 0:
                _idle(q, m)
        first = False
