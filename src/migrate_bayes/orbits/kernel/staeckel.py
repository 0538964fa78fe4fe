# mypy: disable-error-code="no-untyped-def"
"""Z_max of a phase-space point by the Stäckel approximation: for differences between draws only.

In prolate spheroidal coordinates R = Δ sinh u sin v, z = Δ cosh u cos v, a potential that were
Stäckel's would split the motion (Binney 2012, MNRAS 426, 1324; the turning points as in Mackereth &
Bovy 2018, PASP 130, 114501):

    p_u²/2Δ² = E sinh²u - I₃ - U(u) - L_z²/(2Δ² sinh²u),  U = (sinh²u + sin²v₀) Φ(u, v₀),
    p_v²/2Δ² = E sin²v + I₃ + V(v) - L_z²/(2Δ² sin²v),    V = -(sinh²u₀ + sin²v) Φ(u₀, v),

each constant set by the present point (u₀, v₀). Z_max = Δ cosh u_max cos v_min. It is off by about
a per cent, nearly the same for neighbouring orbits: ln Z_max of a draw is that of the integrated
orbit of the mean point plus the difference of the two estimates. Δ = 0.45 natural units.
"""

from __future__ import annotations

__all__ = ["staeckel_ln_zmax", "staeckel_ln_zmax_block"]

import math

import numba
import numpy as np

from migrate_bayes.orbits.kernel.spline import potential

DELTA = 0.45
TURNS, SECANTS = 30, 4


@numba.njit(cache=True, nogil=True)
def _momentum(u_not_v, y, a, b, first, energy, lz2, coefficients, shape):
    """p²/2Δ² up to the constant `first`: of u at sinh²u = y, or of v at cos²v = y.

    (a, b) is (sin²v₀, cos²v₀) for u; for v, a is sinh²u₀.
    """
    x, s2, c2 = (y, a, b) if u_not_v else (a, 1.0 - y, y)
    phi = potential(
        DELTA * math.sqrt(x * s2), DELTA * math.sqrt((1.0 + x) * c2), coefficients, shape
    )
    moving = x if u_not_v else s2
    return first + energy * moving - (x + s2) * phi - lz2 / (2.0 * DELTA * DELTA * moving)


@numba.njit(cache=True, nogil=True)
def _near(u_not_v, guess, least, most, a, b, first, energy, lz2, coefficients, shape):
    """Zero near `guess` where the function falls, by secants; NaN where they lead elsewhere."""
    if not least < guess < most:
        return math.nan
    x = guess
    fx = _momentum(u_not_v, x, a, b, first, energy, lz2, coefficients, shape)
    y = min(1.02 * x, 0.5 * (x + most)) if fx > 0.0 else max(0.98 * x, least)
    for _ in range(SECANTS):
        if x == y:
            return math.nan
        fy = _momentum(u_not_v, y, a, b, first, energy, lz2, coefficients, shape)
        slope = (fy - fx) / (y - x)
        if not slope < 0.0:
            return math.nan
        x, fx, y = y, fy, y - fy / slope
        if not least <= y < most:
            return math.nan
        if abs(y - x) < 2e-4 * y:
            return y
    return math.nan


@numba.njit(cache=True, nogil=True)
def _root(u_not_v, low, f_low, high, f_high, a, b, first, energy, lz2, coefficients, shape):
    """Zero between `low` (f > 0) and `high` (f < 0), by the Illinois method."""
    middle, side = low, 0
    for _ in range(TURNS):
        before = middle
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        value = _momentum(u_not_v, middle, a, b, first, energy, lz2, coefficients, shape)
        if value > 0.0:
            low, f_low = middle, value
            f_high *= 0.5 if side == 1 else 1.0
            side = 1
        else:
            high, f_high = middle, value
            f_low *= 0.5 if side == -1 else 1.0
            side = -1
        if abs(middle - before) < 1e-5 * middle:
            break
    return middle


@numba.njit(cache=True, nogil=True)
def staeckel_ln_zmax(R, vr, vt, z, vz, floor, turns, coefficients, shape):
    """Logarithm of one point's Z_max, not below `floor`, natural units; NaN if unbound or far off.

    `turns` (2) holds sinh²u_max and cos²v_min of a neighbour, or NaN, and is given this point's:
    where it helps, four evaluations of Φ are enough for each. `shape` as in `PotentialTable`.
    """
    limit = shape[4]
    if not (R > 0.0 and R * R + z * z < limit * limit):
        return math.nan
    energy = 0.5 * (vr * vr + vt * vt + vz * vz) + potential(R, z, coefficients, shape)
    if not energy < shape[6]:
        return math.nan
    # x0 = sinh²u₀ and c0 = cos²v₀, from (R/Δ)² = x (1 - c) and (z/Δ)² = (1 + x) c.
    r2, z2 = (R / DELTA) ** 2, (z / DELTA) ** 2
    half = 0.5 * (r2 + z2 - 1.0)
    root = math.sqrt(half * half + r2)
    x0 = half + root if half > 0.0 else r2 / (root - half)
    c0 = z2 / (1.0 + x0)
    s0 = 1.0 - c0
    sinh_u, cosh_u, sin_v, cos_v = math.sqrt(x0), math.sqrt(1.0 + x0), math.sqrt(s0), math.sqrt(c0)
    up = math.copysign(vz, vz * z) if z != 0.0 else vz
    # p_u/Δ and p_v/Δ.
    pu = vr * cosh_u * sin_v + up * sinh_u * cos_v
    pv = vr * sinh_u * cos_v - up * cosh_u * sin_v
    lz2 = (R * vt) ** 2
    most = (0.99 * limit / DELTA) ** 2 - 1.0

    first = 0.5 * pu * pu - _momentum(True, x0, s0, c0, 0.0, energy, lz2, coefficients, shape)
    x_max = _near(True, turns[0], x0, most, s0, c0, first, energy, lz2, coefficients, shape)
    if math.isnan(x_max):
        low, f_low, x_max = x0, 0.5 * pu * pu, x0
        high = 1.05 * x0 + 1e-6
        while True:
            f_high = _momentum(True, high, s0, c0, first, energy, lz2, coefficients, shape)
            if f_high < 0.0:
                break
            low, f_low = high, f_high
            high *= 1.6
            if high >= most:
                return math.nan
        if f_low > 0.0:
            x_max = _root(
                True, low, f_low, high, f_high, s0, c0, first, energy, lz2, coefficients, shape
            )

    first = 0.5 * pv * pv - _momentum(False, c0, x0, 0.0, 0.0, energy, lz2, coefficients, shape)
    c_max = _near(False, turns[1], c0, 1.0, x0, 0.0, first, energy, lz2, coefficients, shape)
    if math.isnan(c_max):
        low, f_low, c_max = c0, 0.5 * pv * pv, c0
        if f_low > 0.0:
            # Near the plane p_v² falls linearly with cos²v: the first guess is nearly the end.
            step = max(0.5 * c0, 1e-4)
            for _ in range(60):
                high = min(low + step, 0.5 * (low + 1.0))
                f_high = _momentum(False, high, x0, 0.0, first, energy, lz2, coefficients, shape)
                if f_high < 0.0:
                    break
                low, f_low = high, f_high
                step *= 2.5
            else:
                return math.nan
            c_max = _root(
                False, low, f_low, high, f_high, x0, 0.0, first, energy, lz2, coefficients, shape
            )
    turns[0], turns[1] = x_max, c_max
    return math.log(max(DELTA * math.sqrt((1.0 + x_max) * c_max), floor))


@numba.njit(cache=True, nogil=True)
def staeckel_ln_zmax_block(R, vr, vt, z, vz, floor, coefficients, shape):
    """`staeckel_ln_zmax` of each point of flat arrays, each on its own."""
    out, turns = np.empty(R.size), np.empty(2)
    for i in range(R.size):
        turns[:] = np.nan
        out[i] = staeckel_ln_zmax(
            R[i], vr[i], vt[i], z[i], vz[i], floor, turns, coefficients, shape
        )
    return out
