# mypy: disable-error-code="no-untyped-def"
"""Z_max of a phase-space point by the Stäckel approximation: for differences between draws only.

In prolate spheroidal coordinates R = Δ sinh u sin v, z = Δ cosh u cos v, a Stäckel
potential splits the motion (Binney 2012, MNRAS 426, 1324; the turning points as in Mackereth &
Bovy 2018, PASP 130, 114501):

    p_u²/2Δ² = E sinh²u - I₃ - U(u) - L_z²/(2Δ² sinh²u),  U = (sinh²u + sin²v₀) Φ(u, v₀),
    p_v²/2Δ² = E sin²v + I₃ + V(v) - L_z²/(2Δ² sin²v),    V = -(sinh²u₀ + sin²v) Φ(u₀, v),

each constant set by the present point (u₀, v₀). Z_max = Δ cosh u_max cos v_min. It is off by about
a per cent, nearly the same for neighbouring orbits: ln Z_max of a draw is that of the integrated
orbit of the mean point plus the difference of the two estimates. Δ = 0.45 natural units.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba

from migrate_bayes.orbits.kernel.spline import potential

DELTA = 0.45
TURNS, SECANTS = 30, 4


class _Motion(NamedTuple):
    """p²/2Δ² along one coordinate: of u at y = sinh²u, or of v at y = cos²v.

    `first` is its constant. (a, b) is (sin²v₀, cos²v₀) for u; for v, a is sinh²u₀.
    """

    of_u: bool
    a: float
    b: float
    first: float
    energy: float
    lz2: float


@numba.njit(cache=True, nogil=True)
def _momentum(motion, y, table):
    of_u, a, b, first, energy, lz2 = motion
    x, s2, c2 = (y, a, b) if of_u else (a, 1.0 - y, y)
    phi = potential(DELTA * math.sqrt(x * s2), DELTA * math.sqrt((1.0 + x) * c2), table)
    moving = x if of_u else s2
    return first + energy * moving - (x + s2) * phi - lz2 / (2.0 * DELTA * DELTA * moving)


@numba.njit(cache=True, nogil=True)
def _near(motion, guess, least, most, table):
    """Zero near `guess` where p² falls, by secants; NaN if they lead elsewhere."""
    if not least < guess < most:
        return math.nan
    x = guess
    fx = _momentum(motion, x, table)
    y = min(1.02 * x, 0.5 * (x + most)) if fx > 0.0 else max(0.98 * x, least)
    for _ in range(SECANTS):
        if x == y:
            return math.nan
        fy = _momentum(motion, y, table)
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
def _root(motion, low, f_low, high, f_high, table):
    """Zero between `low` (p² > 0) and `high` (p² < 0), by the Illinois method."""
    middle, side = low, 0
    for _ in range(TURNS):
        before = middle
        middle = (low * f_high - high * f_low) / (f_high - f_low)
        value = _momentum(motion, middle, table)
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
def staeckel_ln_zmax(R, vr, vt, z, vz, floor, turns, table):
    """Logarithm of one point's Z_max, not below `floor`, natural units; NaN if unbound or far off.

    `turns` (2) holds sinh²u_max and cos²v_min of a neighbour, or NaN, and is given this point's:
    from a good neighbour, four evaluations of Φ are enough for each.
    """
    limit = table.shape[4]
    if not (R > 0.0 and R * R + z * z < limit * limit):
        return math.nan
    energy = 0.5 * (vr * vr + vt * vt + vz * vz) + potential(R, z, table)
    if not energy < table.shape[6]:
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

    first = 0.5 * pu * pu - _momentum(_Motion(True, s0, c0, 0.0, energy, lz2), x0, table)
    motion = _Motion(True, s0, c0, first, energy, lz2)
    x_max = _near(motion, turns[0], x0, most, table)
    if math.isnan(x_max):
        low, f_low, x_max = x0, 0.5 * pu * pu, x0
        high = 1.05 * x0 + 1e-6
        while True:
            f_high = _momentum(motion, high, table)
            if f_high < 0.0:
                break
            low, f_low = high, f_high
            high *= 1.6
            if high >= most:
                return math.nan
        if f_low > 0.0:
            x_max = _root(motion, low, f_low, high, f_high, table)

    first = 0.5 * pv * pv - _momentum(_Motion(False, x0, 0.0, 0.0, energy, lz2), c0, table)
    motion = _Motion(False, x0, 0.0, first, energy, lz2)
    c_max = _near(motion, turns[1], c0, 1.0, table)
    if math.isnan(c_max):
        low, f_low, c_max = c0, 0.5 * pv * pv, c0
        if f_low > 0.0:
            # Near the plane p_v² falls linearly with cos²v: the first guess is nearly the end.
            step = max(0.5 * c0, 1e-4)
            for _ in range(60):
                high = min(low + step, 0.5 * (low + 1.0))
                f_high = _momentum(motion, high, table)
                if f_high < 0.0:
                    break
                low, f_low = high, f_high
                step *= 2.5
            else:
                return math.nan
            c_max = _root(motion, low, f_low, high, f_high, table)
    turns[0], turns[1] = x_max, c_max
    return math.log(max(DELTA * math.sqrt((1.0 + x_max) * c_max), floor))
