# mypy: disable-error-code="no-untyped-def"
"""Extrema of orbits in an axisymmetric potential, by reversible integration of many at a time.

Motion in the meridional plane, natural units: H = (v_R² + v_z²)/2 + L_z²/2R² + Φ(R, z), with Φ the
bicubic spline of `spline`. The integrator is the fourth-order Runge-Kutta-Nyström
splitting of six stages of Blanes & Moan (2002, J. Comput. Appl. Math. 142, 313; SRKN6b). Its step
is h = ε/ρ, where ρ follows 1/R by ρ ← ρ - ε v_R/R from step to step (Hairer & Söderlind 2005, SIAM
J. Sci. Comput. 26, 1838): explicit, time-reversible, so that energy does not drift, and a passage
of the centre costs few steps more than a circle. `batch_step` takes the steps. ε comes from the
orbit's fastest frequency.

A turning point is the zero of v_z (of |z|) or of s = R v_R + z v_z (of r). It is located on the
cubic Hermite polynomial through the two ends of a step, whose integral ranks it; the one that sets
the record is then reached by a shorter step of the integrator itself.

Each orbit is checked, early in the span and at its end. If its energy error implies an error in
Z_max beyond the tolerance, it is integrated again with a smaller ε. An orbit that may be chaotic
(eccentric), whose Z_max still grows late in the span, or whose highest peaks differ between the
quarters of the span, is integrated again too, and the difference of the two runs is its error. In
the last kind the phases drift past each other so slowly (near a resonance) that they decide which
heights are reached at all: energy knows nothing of an error in phase. Whatever is done, a share of
the spread of an extreme between quarters is part of its error.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from migrate_bayes.orbits.kernel import batch_step as lanes
from migrate_bayes.orbits.kernel.batch_step import A1, A2, A3, B1, B2, B3, B4, WIDTH, advance
from migrate_bayes.orbits.kernel.spline import gradient, potential

STAGES = ((A1, B2), (A2, B3), (A3, B4), (A3, B3), (A2, B2), (A1, B1))
OK, UNBOUND, FAILED, INEXACT = 0, 1, 2, 3
MAX_STEPS = 400_000
# How often an orbit may be done again for its energy, and for two runs that differ.
REPEATS, REPEATS_DIFFERENT = 5, 3
# What makes an orbit doubtful: r_peri/r_apo below, or growth of Z_max over the second half above.
ROUND, GROWTH = 0.3, 3e-3
# The same of the spread of Z_max between quarters of the span; and the shares of a spread that are
# counted as errors, after one run and after several.
SPREAD, SHARE, SHARE_AGAIN = 0.02, 0.1, 0.05
# What of the span is left at the early check.
EARLY = 0.875
# How much of the energy error at the other extremes is counted as one of Z_max.
ELSEWHERE = 0.3
# Z_max, r_peri, r_apo; their relative errors (Z_max of the plane: to 1e-4); Z_max at half span.
TOP, NEAR, FAR, TOP_ERROR, NEAR_ERROR, FAR_ERROR, HALF = range(7)
N_OUT = 7
PLANE = 1e-4


class Orbits(NamedTuple):
    """Starts of orbits, natural units: arrays (orbit,)."""

    R: NDArray[np.float64]
    vr: NDArray[np.float64]
    vt: NDArray[np.float64]
    z: NDArray[np.float64]
    vz: NDArray[np.float64]


class Control(NamedTuple):
    """Natural `span`; `steps` to 2π over the fastest frequency; `tolerance` of Z_max, relative."""

    span: float
    steps: float
    tolerance: float


@numba.njit(cache=True, nogil=True)
def acceleration(R, z, l2, table):
    """Return (dv_R/dt, dv_z/dt): centrifugal term and gradient of the potential."""
    fr, fz = gradient(R, z, table)
    return l2 / (R * R * R) - fr, -fz


@numba.njit(cache=True, nogil=True)
def step(R, z, vr, vz, ar, az, h, l2, table):
    """One step of SRKN6b, given the acceleration at its start; returns that at its end too."""
    vr += h * B1 * ar
    vz += h * B1 * az
    for drift, kick in STAGES:
        R = abs(R + h * drift * vr)
        z += h * drift * vz
        ar, az = acceleration(R, z, l2, table)
        vr += h * kick * ar
        vz += h * kick * az
    return R, z, vr, vz, ar, az


@numba.njit(cache=True, nogil=True)
def hermite_peak(f0, f1, g0, g1):
    """Root x in (0, 1) of the cubic with end values f and end slopes g, and its integral to x."""
    c2 = 3.0 * (f1 - f0) - 2.0 * g0 - g1
    c3 = 2.0 * (f0 - f1) + g0 + g1
    low, high = 0.0, 1.0
    x = f0 / (f0 - f1)
    for _ in range(8):
        value = f0 + x * (g0 + x * (c2 + x * c3))
        if (value > 0.0) == (f0 > 0.0):
            low = x
        else:
            high = x
        slope = g0 + x * (2.0 * c2 + 3.0 * c3 * x)
        new = x - value / slope if slope != 0.0 else low
        if not (low < new < high):
            new = 0.5 * (low + high)
        x, moved = new, abs(new - x)
        if moved < 1e-6:
            break
    return x, x * (f0 + x * (g0 / 2.0 + x * (c2 / 3.0 + x * c3 / 4.0)))


@numba.njit(cache=True, nogil=True)
def refine(start, l2, energy, table):
    """Step from the saved state (R, z, v_R, v_z, a_R, a_z, h) to a turning point.

    Returns R, z, v_R, v_z, a_R, a_z there and the error of the energy.
    """
    R, z, vr, vz, ar, az = step(
        start[0], start[1], start[2], start[3], start[4], start[5], start[6], l2, table
    )
    kinetic = 0.5 * (vr * vr + vz * vz + l2 / (R * R))
    return R, z, vr, vz, ar, az, kinetic + potential(R, z, table) - energy


@numba.njit(cache=True, nogil=True)
def _planar_pericentre(R, vr, l2, table):
    """Pericentre in the plane at the present radial energy, by bisection in ln R."""
    effective = 0.5 * l2 / (R * R) + potential(R, 0.0, table)
    energy = effective + 0.5 * vr * vr
    low, high = 1e-3 * R, R
    for _ in range(24):
        middle = math.sqrt(low * high)
        if 0.5 * l2 / (middle * middle) + potential(middle, 0.0, table) > energy:
            low = middle
        else:
            high = middle
    return high


@numba.njit(cache=True, nogil=True)
def _fastest(R, l2, table):
    """Square of the larger of the radial and vertical frequencies at R, z = 0."""
    d = 0.01 * R
    outer, _ = gradient(R + d, 0.0, table)
    inner, _ = gradient(R - d, 0.0, table)
    _, up = gradient(R, 0.01, table)
    return max(3.0 * l2 / (R * R * R * R) + (outer - inner) / (2.0 * d), up / 0.01)


@numba.njit(cache=True, nogil=True)
def _first_epsilon(R, vr, l2, steps, table):
    """ε to try first: `steps` steps to 2π over the fastest frequency, at its worst place."""
    peri = max(_planar_pericentre(R, vr, l2, table), 5e-3)
    fastest = max(
        peri * peri * _fastest(peri, l2, table), R * R * _fastest(max(R, peri), l2, table)
    )
    return 2.0 * math.pi / (steps * math.sqrt(max(fastest, 1e-6)))


@numba.njit(cache=True, nogil=True)
def load(q, m, orbits, i, epsilon, span, table, best):
    """Put orbit i at its beginning into lane m."""
    R, vr, z, vz = orbits.R[i], orbits.vr[i], orbits.z[i], orbits.vz[i]
    l2 = (R * orbits.vt[i]) ** 2
    ar, az = acceleration(R, z, l2, table)
    r2, s = R * R + z * z, R * vr + z * vz
    # Half a step back, so that the first step's own half makes it symmetric in time.
    rho = 1.0 / R + 0.5 * epsilon * vr / R
    values = (
        (lanes.R, R), (lanes.Z, z), (lanes.VR, vr), (lanes.VZ, vz), (lanes.AR, ar), (lanes.AZ, az),
        (lanes.L2, l2), (lanes.S, s), (lanes.R2, r2), (lanes.TOP, abs(z)), (lanes.NEAR, r2),
        (lanes.FAR, r2), (lanes.RHO, rho), (lanes.EPSILON, epsilon), (lanes.LEFT, span),
        (lanes.GOES, float(MAX_STEPS)),
    )  # fmt: skip
    for row, value in values:
        q[row + m] = value
    best[:] = 0.0


@numba.njit(cache=True, nogil=True)
def _idle(q, m):
    """Put lane m at rest, so that it cannot turn, end or fail."""
    for row in (lanes.VR, lanes.VZ, lanes.AR, lanes.AZ, lanes.EPSILON, lanes.L2, lanes.Z, lanes.S):
        q[row + m] = 0.0
    for row in (lanes.R, lanes.R2, lanes.RHO, lanes.LEFT, lanes.GOES):
        q[row + m] = 1.0


@numba.njit(cache=True, nogil=True)
def _save(best, q, m, x):
    """Remember the state a step ago and the time to the turning point."""
    best[0], best[1], best[2] = q[lanes.R_OLD + m], q[lanes.Z_OLD + m], q[lanes.VR_OLD + m]
    best[3], best[4], best[5] = q[lanes.VZ_OLD + m], q[lanes.AR_OLD + m], q[lanes.AZ_OLD + m]
    best[6], best[7] = q[lanes.H + m] * x, 1.0


@numba.njit(cache=True, nogil=True)
def _forget(quarters):
    """Begin a run: no peak of |z|, least or greatest r² in any quarter of the span."""
    quarters[:, 0], quarters[:, 1], quarters[:, 2] = 0.0, math.inf, 0.0


@numba.njit(cache=True, nogil=True)
def _spread(quarters, k):
    """Spread of an extreme between quarters, relative to the outermost: z, least r², greatest r².

    A quarter without an extreme says nothing.
    """
    least, most = math.inf, 0.0
    for value in quarters[:, k]:
        if 0.0 < value < math.inf:
            least, most = min(least, value), max(most, value)
    if not most > 0.0:
        return 0.0
    ratio = least / most if k == 0 else math.sqrt(least / most)
    return 1.0 / ratio - 1.0 if k == 1 else 1.0 - ratio


@numba.njit(cache=True, nogil=True)
def _look(q, m, best, quarters, k):
    """If lane m has turned, save a peak of |z| or an extreme of r that exceeds those so far.

    `best` (3, 8): the saved states for Z_max, pericentre and apocentre; the last column is 1 if
    there is one. `quarters` (lane, quarter, 3): |z| and r² of extremes; this is quarter `k`.
    """
    h = q[lanes.H + m]
    vz0, vz1 = q[lanes.VZ_OLD + m], q[lanes.VZ + m]
    if vz0 * vz1 <= 0.0 and vz0 != vz1:
        x, rise = hermite_peak(vz0, vz1, q[lanes.AZ_OLD + m] * h, q[lanes.AZ + m] * h)
        peak = abs(q[lanes.Z_OLD + m] + h * rise)
        quarters[m, k, 0] = max(quarters[m, k, 0], peak)
        if peak > q[lanes.TOP + m]:
            q[lanes.TOP + m] = peak
            _save(best[0], q, m, x)
    s0, s1 = q[lanes.S_OLD + m], q[lanes.S + m]
    if s0 * s1 <= 0.0 and s0 != s1:
        R0, z0, vr0 = q[lanes.R_OLD + m], q[lanes.Z_OLD + m], q[lanes.VR_OLD + m]
        R1, z1, vr1 = q[lanes.R + m], q[lanes.Z + m], q[lanes.VR + m]
        g0 = (vr0 * vr0 + vz0 * vz0 + R0 * q[lanes.AR_OLD + m] + z0 * q[lanes.AZ_OLD + m]) * h
        g1 = (vr1 * vr1 + vz1 * vz1 + R1 * q[lanes.AR + m] + z1 * q[lanes.AZ + m]) * h
        x, rise = hermite_peak(s0, s1, g0, g1)
        r2 = R0 * R0 + z0 * z0 + 2.0 * h * rise
        if s0 < s1:
            quarters[m, k, 1] = min(quarters[m, k, 1], max(r2, 0.0))
            if r2 < q[lanes.NEAR + m]:
                q[lanes.NEAR + m] = max(r2, 0.0)
                _save(best[1], q, m, x)
        else:
            quarters[m, k, 2] = max(quarters[m, k, 2], r2)
            if r2 > q[lanes.FAR + m]:
                q[lanes.FAR + m] = r2
                _save(best[2], q, m, x)


@numba.njit(cache=True, nogil=True)
def _finish(q, m, best, energy, table, out):
    """Refine the three extremes of lane m and fill `out`.

    Returns the largest energy error, and what that would be as a relative error of Z_max.
    """
    l2 = q[lanes.L2 + m]
    top, worst, rise = q[lanes.TOP + m], 0.0, 0.0
    out[TOP_ERROR] = 0.0
    if best[0, 7] > 0.0:
        R, z, vr, vz, ar, az, wrong = refine(best[0], l2, energy, table)
        worst = abs(wrong)
        if z * az < 0.0 and top > 1e-3 * PLANE:
            # What speed is left, and what the energy is wrong by, each as a height.
            rise = 1.0 / (abs(az) * max(top, PLANE))
            out[TOP_ERROR] = worst * rise
            more = (0.5 * vz * vz - wrong) / abs(az)
            if abs(more) < 0.1 * top:
                top = abs(z) + more
    out[TOP] = top
    for k in (1, 2):
        r2 = q[(lanes.NEAR if k == 1 else lanes.FAR) + m]
        out[TOP_ERROR + k] = 0.0
        if best[k, 7] > 0.0:
            R, z, vr, vz, ar, az, wrong = refine(best[k], l2, energy, table)
            worst = max(worst, abs(wrong))
            r2, s = R * R + z * z, R * vr + z * vz
            slope = vr * vr + vz * vz + R * ar + z * az
            if slope != 0.0 and abs(s * s / slope) < 0.01 * r2:
                r2 -= s * s / slope
            # As a radius; for a round orbit that is of second order.
            out[TOP_ERROR + k] = min(abs(wrong) / max(abs(slope), 1e-300), math.sqrt(abs(wrong)))
        out[k] = math.sqrt(r2)
    return worst, worst * rise


@numba.njit(cache=True, nogil=True)
def _early(q, m, best, energy, table):
    """Return what the energy error is at the highest peak so far, as a relative error of Z_max."""
    _, z, _, _, _, az, wrong = refine(best[0], q[lanes.L2 + m], energy, table)
    top = q[lanes.TOP + m]
    if not (z * az < 0.0 and top > 1e-3 * PLANE):
        return 0.0  # in the plane, where there is no peak
    return abs(wrong) / (abs(az) * max(top, PLANE))


@numba.njit(cache=True, nogil=True)
def _shorter(epsilon, error):
    """Return a step that is right by the error (in tolerances) of one that was not."""
    # Fourth order: the error falls with the fourth power of the step.
    return epsilon / min(max(1.2 * error**0.25, 1.4), 4.0)


@numba.njit(cache=True, nogil=True)
def _differ(out, before):
    """Take the difference of two runs into the errors of the second; return that of Z_max.

    The second has at most 1/1.4 the step of the first: its error is a third of the difference in
    the limit of small steps, and all of it for a chaotic orbit. Half of it here.
    """
    for k in range(3):
        difference = abs(out[k] - before[k]) / max(out[k], PLANE)
        out[TOP_ERROR + k] = max(out[TOP_ERROR + k], 0.5 * difference)
    return 0.5 * abs(out[TOP] - before[TOP]) / max(out[TOP], PLANE)


@numba.njit(cache=True, nogil=True)
def extrema_block(orbits, table, control, q, out, status):
    """Integrate a slice of `Orbits` into `out` (orbit, N_OUT) and `status`.

    `q` is fresh from `batch_step.rows`. `out` is NaN if `status` is UNBOUND or FAILED; if it is
    INEXACT, the errors in it are above the tolerance.
    """
    R, vr, vt, z, vz = orbits
    span, steps, tolerance = control
    flat, stride = table.coefficients.ravel(), table.coefficients.shape[1]
    shape = table.shape
    limit = shape[4] * shape[4]
    orbit = np.full(WIDTH, -1, np.int64)
    epsilon, repeats = np.zeros(WIDTH), np.zeros(WIDTH, np.int64)
    energy, half = np.zeros(WIDTH), np.zeros(WIDTH)
    best, before = np.zeros((WIDTH, 3, 8)), np.zeros((WIDTH, 3))
    quarters, looked = np.zeros((WIDTH, 4, 3)), np.zeros(WIDTH, np.int64)
    out[:] = np.nan
    upcoming, active = np.int64(0), 0
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
                failed = not (q[lanes.R2 + m] < limit and q[lanes.GOES + m] > 0.0)
                if not failed:
                    quarter = min(int(4.0 - 4.0 * q[lanes.LEFT + m] / span), 3)
                    _look(q, m, best[m], quarters, quarter)
                if 2.0 * q[lanes.LEFT + m] >= span:
                    half[m] = q[lanes.TOP + m]
                if not failed and q[lanes.LEFT + m] > 0.0:
                    if (
                        looked[m] < REPEATS and q[lanes.LEFT + m] < EARLY * span
                        and best[m, 0, 7] > 0.0
                    ):  # fmt: skip
                        error = _early(q, m, best[m], energy[m], table) / tolerance
                        looked[m] += 1
                        if error > 1.0:
                            epsilon[m] = _shorter(epsilon[m], error)
                            half[m] = abs(z[i])
                            _forget(quarters[m])
                            load(q, m, orbits, i, epsilon[m], span, table, best[m, :, 7])
                        else:
                            looked[m] = REPEATS
                    continue
                error, different, elsewhere = 0.0, 0.0, 0.0
                if not failed:
                    worst, elsewhere = _finish(q, m, best[m], energy[m], table, out[i])
                    out[i, HALF] = half[m]
                    error = max(out[i, TOP_ERROR], worst) / tolerance
                    if repeats[m] > 0:
                        different = _differ(out[i], before[m]) / tolerance
                        again = different > 1.0 and repeats[m] < REPEATS_DIFFERENT
                    else:
                        again = (
                            out[i, NEAR] < ROUND * out[i, FAR]
                            or half[m] < (1.0 - GROWTH) * out[i, TOP]
                            or _spread(quarters[m], 0) > SPREAD
                        )
                    if again or (error > 1.0 and repeats[m] < REPEATS):
                        epsilon[m] = _shorter(epsilon[m], error)
                        repeats[m] += 1
                        half[m] = abs(z[i])
                        looked[m] = REPEATS
                        _forget(quarters[m])
                        for k in range(3):
                            before[m, k] = out[i, k]
                        load(q, m, orbits, i, epsilon[m], span, table, best[m, :, 7])
                        continue
                if failed:
                    status[i] = FAILED
                    out[i] = np.nan
                else:
                    # The energy may be right at one peak by chance: not by chance at all three.
                    out[i, TOP_ERROR] = max(out[i, TOP_ERROR], ELSEWHERE * elsewhere)
                    share = SHARE if repeats[m] == 0 else SHARE_AGAIN
                    for k in range(3):
                        spread = (share if k == 0 else SHARE) * _spread(quarters[m], k)
                        out[i, TOP_ERROR + k] = max(out[i, TOP_ERROR + k], spread)
                    status[i] = OK if max(error, different) <= 1.0 else INEXACT
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
                total = 0.5 * speed2 + potential(R[i], z[i], table)
                if total >= shape[6]:
                    status[i] = UNBOUND
                    continue
                orbit[m], repeats[m], looked[m] = i, 0, 0
                _forget(quarters[m])
                epsilon[m] = _first_epsilon(R[i], vr[i], (R[i] * vt[i]) ** 2, steps, table)
                energy[m], half[m] = total, abs(z[i])
                load(q, m, orbits, i, epsilon[m], span, table, best[m, :, 7])
                active += 1
                break
            if orbit[m] < 0:
                _idle(q, m)
        first = False
