r"""The integral of a star's likelihood along isochrone segments, `WIDTH` lattice points at a time.

A sweep takes `WIDTH` neighbouring points of the star's lattice (one lane of a vector each) and
walks along a block of an isochrone from segment to segment. The whole integral stands in
`likelihood`.

At given metallicity and place along the isochrone residuals in errors are linear in [α/Fe], r − j z
with z in standard deviations from its mean, :math:`z \sim N(0, 1)`. The integral over z is

.. math:: \int dz\, N(z; 0, 1)\, e^{-|r - j z|^2 / 2} = M^{-1/2} e^{-c / 2},\quad
   c = |r|^2 - (j r)^2 / M,\ M = 1 + |j|^2

and there the mean of z is j r / M.

Along a segment from :math:`r_0` to :math:`r_1`, c is a parabola,
:math:`c(u) = c_0 + 2 g_0 u + a u^2` with :math:`a = |d|^2 - (j d)^2 / M`, :math:`d = r_1 - r_0`
and j the mean of the two ends. Of :math:`E(u) = e^{-c(u)/2}` value, slope :math:`-g E` and second
derivative :math:`(g^2 - a) E` are known at both ends for one exponential each, which the next
segment uses again. With them Hermite's rule of sixth order is

.. math:: \int_0^1 E\,du \approx \frac{E_0 + E_1}{2} + \frac{E_0' - E_1'}{10}
   + \frac{E_0'' + E_1''}{120}

with an error of 1.5e-4 :math:`a^3` at most, and less in the sum over segments. A longer segment
is halved, a long one integrated exactly.

The residual of M_G, its mean over z, is linear in u too, and so is its integral in that of u:

.. math:: \int_0^1 u\,E\,du = \left(E_0 - E_1 - g_0 \int_0^1 E\,du\right) / a

from :math:`E' = -(g_0 + a u) E`, and that of u² likewise; if a is small, of a straight line from
E_0 to E_1.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from migrate_bayes.isochrones.kernel.grid_layout import BLOCK, BORN, CACHED, POINTS, QUANTITIES
from migrate_bayes.isochrones.kernel.simd import (
    HALF,
    WIDTH,
    absolute,
    any_above,
    any_below,
    broadcast,
    divide,
    exp,
    greater,
    inverse_root,
    load,
    load_halves,
    root,
    smaller,
    splat,
    store,
    where_negative,
)

# Places in a sweep's scratch, of `WIDTH` floats: the integral, its moment of z, the least χ², the
# first two moments of the residual of M_G, the second moment of z; then of each point residuals r,
# slopes j, c, the number born, its slope, the mean of z, and M^(-1/2).
INTEGRAL, MOMENT, LEAST, MAGNITUDE, SQUARE, SECOND, _FIRST = range(7)
_R, _J, _C, _BIRTHS, _BIRTH_SLOPE, _MEAN, _ROOT, _PER_POINT = 0, 4, 8, 9, 10, 11, 12, 13
SWEEP_SCRATCH = (_FIRST + _PER_POINT * POINTS) * WIDTH  # floats
_F = np.float32
_ROOT_2PI = _F(math.sqrt(2.0 * math.pi))
_HALVE = _F(1.5)  # squared length of segments, in errors, that are halved
_LONG = _F(6.0)  # and of those that are integrated exactly
_POLE = _F(0.28)
_SMALL = _F(0.2)  # squared length below which E counts as a straight line in ∫ u E
_MOST_NODES = WIDTH // 2 + 4  # of metallicity, about `WIDTH` lattice points
_TINY, NEVER = _F(1e-10), _F(1e30)


class Window(NamedTuple):
    """Reference and cut-off of the χ² of a likelihood."""

    reference: np.float32  # sums are relative to exp(−reference/2)
    limit: np.float32  # χ² above which segments are left out


class Place(NamedTuple):
    """Where a block of isochrone points is in an array: strides of its axes, in floats."""

    start: int
    per_half: int  # from one half of a vector to the other
    per_alpha: int
    per_point: int
    per_quantity: int
    n_alpha: int  # nodes of [α/Fe] to weigh


@njit(forceinline=True, error_model="numpy")
def mills_ratio(t):  # type: ignore[no-untyped-def]
    r"""Return :math:`e^{x^2/2} \int_x^\infty e^{-y^2/2} dy` at t = 1/(1 + 0.28 x), x ≥ 0.

    To 4e-6 relative: a polynomial fitted to `scipy.special.erfcx` on x from 0 to 300.
    """
    p = splat(_F(-0.12590418737087372)) * t + splat(_F(0.2642878715925395))
    p = p * t + splat(_F(0.06256128281820623))
    p = p * t + splat(_F(0.23675440974426254))
    p = p * t + splat(_F(0.25551824930557865))
    p = p * t + splat(_F(0.28009188868911006))
    p = p * t + splat(_F(0.2800000327085347))
    return p * t


@njit(forceinline=True, error_model="numpy")
def _ends(e0, e1, g0, g1, a):  # type: ignore[no-untyped-def]
    """Sum the terms of the rule that belong to the ends of a segment."""
    tenth, part = splat(_F(0.1)), splat(_F(1.0 / 120.0))
    base = splat(_F(0.5)) - part * a
    return e0 * (base + g0 * (part * g0 - tenth)) + e1 * (base + g1 * (part * g1 + tenth))


@njit(forceinline=True, error_model="numpy")
def _halved(e0, e1, c0, c1, a, reference):  # type: ignore[no-untyped-def]
    """Integrate by the rule for each half."""
    half, part = splat(_F(0.5)), splat(_F(1.0 / 120.0))
    quarter = half * half * a
    in_middle = exp(half * (reference - half * (c0 + c1) + quarter))
    s = splat(_F(0.25)) * (c1 - c0)
    both = splat(_F(2.0)) * (half - part * quarter + part * s * s)
    return half * (_ends(e0, e1, s - quarter, s + quarter, quarter) + in_middle * both)


@njit(forceinline=True, error_model="numpy")
def _exact(c0, g0, a, reference):  # type: ignore[no-untyped-def]
    """Integrate by error functions: an integral from `left` to `right` of a Gaussian."""
    zero, one, half = splat(_F(0.0)), splat(_F(1.0)), splat(_F(0.5))
    length = root(greater(a, splat(_TINY)))
    over = divide(one, length)
    left = g0 * over
    right = left + length
    d_left = one + splat(_POLE) * absolute(left)
    d_right = one + splat(_POLE) * absolute(right)
    both = divide(one, d_left * d_right)  # one division for both Mills ratios
    tail_left = exp(half * (reference - c0)) * mills_ratio(both * d_right)
    tail_right = exp(half * (reference - c0 - a) - g0) * mills_ratio(both * d_left)
    # The sign of each Mills-ratio tail depends on which side of that end the maximum lies.
    tail_left = where_negative(left, zero - tail_left, tail_left)
    tail_right = where_negative(right, tail_right, zero - tail_right)
    across = splat(_ROOT_2PI) * exp(half * (reference - c0 + left * left))
    across = where_negative(left, where_negative(right, zero, across), zero)
    return greater((across + tail_left + tail_right) * over, zero)


@njit(forceinline=True, error_model="numpy")
def _along(e0, e1, g0, a, part):  # type: ignore[no-untyped-def]
    """Return mean and variance of u along a segment, E its weight and `part` the integral of E."""
    zero, one, tiny = splat(_F(0.0)), splat(_F(1.0)), splat(_F(1e-30))
    line = divide(e0 + e1 + e1, splat(_F(3.0)) * (e0 + e1) + tiny)
    over = divide(one, greater(a * part, tiny))
    long = (e0 - e1 - g0 * part) * over
    u = smaller(greater(where_negative(a - splat(_SMALL), line, long), zero), one)
    spread = ((one - g0 * u) * part - e1) * over - u * u
    twelfth = splat(_F(1.0 / 12.0))
    spread = where_negative(a - splat(_SMALL), twelfth, smaller(spread, twelfth))
    return u, greater(spread, zero)


def _sweeper(colour: bool, tilted: bool) -> Any:
    """Compile `sweep` for stars with BP−RP or not, for families with an [α/Fe] axis or not."""
    used = 4 if colour else 3

    def sweep(points, place, pool, weights, per_weight, obs, inv, prior, window, work, out):  # type: ignore[no-untyped-def]
        """Integrate the likelihood along a block, at `WIDTH` lattice points.

        The block is at `place` in `points`. Weights of nodes of [α/Fe], by lane, are in `pool` from
        `weights` on, those of the slope `per_weight` further, and those of the next node again.
        From `out` on, `work` is filled with the integral, its first moment of z, the least χ², and
        the integrals of the residual of M_G, of its square, and, if tilted, of that of z.
        Return whether any segment counts; if not, there is no result.
        """
        zero, one, half = splat(_F(0.0)), splat(_F(1.0)), splat(_F(0.5))
        quarter = half * half
        ceiling, compared = splat(window.limit), splat(window.reference)
        step = place.per_quantity
        for p in range(POINTS):
            first = place.start + p * place.per_point
            to = out + (_FIRST + p * _PER_POINT) * WIDTH
            m0 = m1 = m2 = m3 = born = zero
            j0 = j1 = j2 = j3 = tilt = zero
            w = weights
            for k in range(place.n_alpha):
                at = first + k * place.per_alpha
                then = at + place.per_half
                by = load(pool, w)
                x0 = load_halves(points, at, then)
                x1 = load_halves(points, at + step, then + step)
                x2 = load_halves(points, at + 2 * step, then + 2 * step)
                births = load_halves(points, at + BORN * step, then + BORN * step)
                m0, m1, m2, born = m0 + by * x0, m1 + by * x1, m2 + by * x2, born + by * births
                if colour:
                    x3 = load_halves(points, at + 4 * step, then + 4 * step)
                    m3 = m3 + by * x3
                if tilted:
                    by = load(pool, w + per_weight)
                    j0, j1, j2, tilt = j0 + by * x0, j1 + by * x1, j2 + by * x2, tilt + by * births
                    if colour:
                        j3 = j3 + by * x3
                w += 2 * per_weight
            q0, q1, q2 = broadcast(inv, 0), broadcast(inv, 1), broadcast(inv, 2)
            r0 = (broadcast(obs, 0) - m0) * q0
            r1 = (broadcast(obs, 1) - m1) * q1
            r2 = (broadcast(obs, 2) - m2) * q2
            r3 = zero
            c = prior + r0 * r0 + r1 * r1 + r2 * r2
            if colour:
                r3 = (broadcast(obs, 3) - m3) * broadcast(inv, 3)
                c = c + r3 * r3
            if tilted:
                j0, j1, j2 = j0 * q0, j1 * q1, j2 * q2
                whole = one + j0 * j0 + j1 * j1 + j2 * j2
                along = j0 * r0 + j1 * r1 + j2 * r2
                if colour:
                    j3 = j3 * broadcast(inv, 3)
                    whole = whole + j3 * j3
                    along = along + j3 * r3
                scale = inverse_root(whole)
                mean = along * scale * scale
                c = c - along * mean
                store(work, to + _J * WIDTH, j0)
                store(work, to + (_J + 1) * WIDTH, j1)
                store(work, to + (_J + 2) * WIDTH, j2)
                store(work, to + (_J + 3) * WIDTH, j3)
                store(work, to + _BIRTH_SLOPE * WIDTH, tilt)
                store(work, to + _MEAN * WIDTH, mean)
                store(work, to + _ROOT * WIDTH, scale)
            store(work, to, r0)
            store(work, to + WIDTH, r1)
            store(work, to + 2 * WIDTH, r2)
            store(work, to + 3 * WIDTH, r3)
            store(work, to + _C * WIDTH, c)
            store(work, to + _BIRTHS * WIDTH, born)
        # Find which segments count before adding any: the processor predicts that branch badly.
        wanted = 0
        for p in range(BLOCK):
            to = out + (_FIRST + p * _PER_POINT) * WIDTH
            then = to + _PER_POINT * WIDTH
            a = zero
            for q in range(used):
                d = load(work, then + q * WIDTH) - load(work, to + q * WIDTH)
                a = a + d * d
            bound = (
                smaller(load(work, to + _C * WIDTH), load(work, then + _C * WIDTH)) - quarter * a
            )
            bound = where_negative(zero - load(work, to + _BIRTHS * WIDTH), bound, splat(NEVER))
            wanted |= int(any_below(bound, ceiling)) << p
        if wanted == 0:
            return False
        integral, moment, least, e0, known = zero, zero, splat(NEVER), zero, False
        magnitude, square, second = zero, zero, zero
        for p in range(BLOCK):
            if wanted >> p & 1 == 0:
                known = False
                continue
            to = out + (_FIRST + p * _PER_POINT) * WIDTH
            then = to + _PER_POINT * WIDTH
            a, r_d, r_r, j_r, j_d = zero, zero, zero, zero, zero
            for q in range(used):
                r = load(work, to + q * WIDTH)
                d = load(work, then + q * WIDTH) - r
                a, r_d, r_r = a + d * d, r_d + r * d, r_r + r * r
                if tilted:
                    j = half * (
                        load(work, to + (_J + q) * WIDTH) + load(work, then + (_J + q) * WIDTH)
                    )
                    j_r, j_d = j_r + j * r, j_d + j * d
            if tilted:
                one_root, other = load(work, to + _ROOT * WIDTH), load(work, then + _ROOT * WIDTH)
                over = one_root * other
                a = greater(a - j_d * j_d * over, zero)
            c0, c1 = load(work, to + _C * WIDTH), load(work, then + _C * WIDTH)
            births = greater(load(work, to + _BIRTHS * WIDTH), zero)
            a = where_negative(zero - births, a, zero)
            if not known:
                e0 = exp(half * (compared - c0))
            e1 = exp(half * (compared - c1))
            g0 = half * (c1 - c0 - a)
            one_m, other_m = load(work, to + 2 * WIDTH), load(work, then + 2 * WIDTH)
            of_z = zero
            if tilted:
                one_j, other_j = (
                    load(work, to + (_J + 2) * WIDTH),
                    load(work, then + (_J + 2) * WIDTH),
                )
                one_m = one_m - one_j * load(work, to + _MEAN * WIDTH)
                other_m = other_m - other_j * load(work, then + _MEAN * WIDTH)
                of_z = one_j * other_j * over
            if any_above(a, splat(_LONG)):
                # From the ends' own j, g0 is not good enough for a long one.
                start = prior + r_r
                if tilted:
                    r_d, start = r_d - j_r * j_d * over, start - j_r * j_r * over
                part, c0, g0 = _exact(start, r_d, a, compared), start, r_d
                c1 = start + r_d + r_d + a
            elif any_above(a, splat(_HALVE)):
                part = _halved(e0, e1, c0, c1, a, compared)
            else:
                part = _ends(e0, e1, g0, g0 + a, a)
            u, spread = _along(e0, e1, g0, a, part)
            if tilted:
                mean = half * (load(work, to + _MEAN * WIDTH) + load(work, then + _MEAN * WIDTH))
                tilt = load(work, to + _BIRTH_SLOPE * WIDTH)
                births = where_negative(zero - births, greater(births + tilt * mean, zero), zero)
                part = births * part * (half * (one_root + other))
                moment = moment + part * mean
                second = second + part * (mean * mean + over)
            else:
                part = births * part
            integral = integral + part
            change = other_m - one_m
            residual = one_m + u * change
            magnitude = magnitude + part * residual
            square = square + part * (residual * residual + change * change * spread + of_z)
            bound = where_negative(zero - births, smaller(c0, c1) - quarter * a, splat(NEVER))
            if any_below(bound, least):
                u = divide(zero - g0, greater(a, splat(_TINY)))
                u = smaller(greater(u, zero), one)
                nearest = c0 + u * (g0 + g0 + u * a)
                least = smaller(least, where_negative(zero - births, nearest, splat(NEVER)))
            e0, known = e1, True
        store(work, out + INTEGRAL * WIDTH, integral)
        store(work, out + MOMENT * WIDTH, moment)
        store(work, out + LEAST * WIDTH, least)
        store(work, out + MAGNITUDE * WIDTH, magnitude)
        store(work, out + SQUARE * WIDTH, square)
        if tilted:
            store(work, out + SECOND * WIDTH, second)
        return True

    # Functions of one name differ, to numba, by a number that counts within a process: in compiled
    # code that several processes have left in the cache, one could stand for another.
    sweep.__name__ = sweep.__qualname__ = f"sweep_{used}_{int(tilted)}"
    return njit(cache=True, nogil=True, error_model="numpy")(sweep)


sweep, sweep_colour = _sweeper(False, False), _sweeper(True, False)
sweep_tilted, sweep_colour_tilted = _sweeper(False, True), _sweeper(True, True)


@njit(cache=True, nogil=True, error_model="numpy")
def interpolate_block(nodes, start, per_alpha, n_alpha, per_quantity, pool, stencil, n_point, out):  # type: ignore[no-untyped-def]
    """Interpolate a block to `WIDTH` lattice points of a star; return its `Place` in `out`.

    The block begins at `start` in `nodes`, at the first of `n_alpha` nodes of [α/Fe]; the last axis
    is metallicity. In `pool` the first of four metallicities is from `stencil` on, by point, their
    weights each `n_point` further.
    """
    first = last = int(pool[stencil])
    weights = np.zeros((_MOST_NODES, WIDTH), dtype=_F)
    for lane in range(WIDTH):
        j = int(pool[stencil + lane])
        last = max(last, j + 4)
        for n in range(4):
            weights[j - first + n, lane] = pool[stencil + (n + 1) * n_point + lane]
    per_point = QUANTITIES * WIDTH
    place = Place(0, HALF, POINTS * per_point, per_point, WIDTH, n_alpha)
    for k in range(n_alpha):
        for p in range(POINTS):
            for q in range(QUANTITIES):
                at = start + (p * QUANTITIES + q) * per_quantity + k * per_alpha + first
                total = splat(_F(0.0))
                for n in range(last - first):
                    total = total + load(weights, n * WIDTH) * broadcast(nodes, at + n)
                store(out, ((k * POINTS + p) * QUANTITIES + q) * WIDTH, total)
    return place


@njit(cache=True, nogil=True, error_model="numpy")
def shear_block(points, place, pool, point, prior, obs, out, start):  # type: ignore[no-untyped-def]
    """Shear a block for correlated errors (see `likelihood`); return its `Place` in `out`.

    What a sweep makes of its nodes of [α/Fe], the value and the slope, stand in `out` from `start`
    on as two nodes.
    [Fe/H] is that of the lattice, and changes with [α/Fe] as there.
    """
    per_point = QUANTITIES * WIDTH
    n = QUANTITIES if place.per_quantity == WIDTH else CACHED  # of those that are precomputed
    for side in range(2):
        away = load(pool, prior.feh + side * prior.n_point + point)  # of [Fe/H], or its slope
        seen = obs[0] if side == 0 else _F(0.0)
        for p in range(POINTS):
            to = start + (side * POINTS + p) * per_point
            for q in range(n):
                at = place.start + p * place.per_point + q * place.per_quantity
                w = prior.alpha_weight + point + side * prior.n_point
                total = splat(_F(0.0))
                for _ in range(place.n_alpha):
                    total = total + load(pool, w) * load_halves(points, at, at + place.per_half)
                    at += place.per_alpha
                    w += 2 * prior.n_point
                store(out, to + q * WIDTH, total)
            teff = load(out, to) - splat(prior.teff_by_feh) * away
            logg = load(out, to + WIDTH) - splat(prior.logg_by_feh) * away
            store(out, to, teff)
            store(out, to + WIDTH, logg - splat(prior.logg_by_teff) * (teff - splat(seen)))
    return Place(start, HALF, POINTS * per_point, per_point, WIDTH, 2)
