r"""The integral of a star's likelihood along isochrone segments, eight lattice points at a time.

`interpolate_block` interpolates a block of isochrone points to the star's [α/Fe] at the grid's
nodes of metallicity. A sweep takes eight points of the star's lattice (one lane of a vector each),
interpolates on to them and walks along the block from segment to segment; of a precomputed block
only the sum over [α/Fe] nodes remains to be done. The whole integral stands in `likelihood`.

With residuals in errors :math:`r_0, r_1` at the ends of a segment and :math:`a = |r_1 - r_0|^2`,
:math:`\chi^2(u) = c_0 + 2 g_0 u + a u^2`, where :math:`g_0 = r_0 (r_1 - r_0) = (c_1 - c_0 - a)/2`
and :math:`g_1 = r_1 (r_1 - r_0) = g_0 + a`. Of :math:`E(u) = e^{-\chi^2(u)/2}` value, slope
:math:`-g E` and second derivative :math:`(g^2 - a) E` are known at both ends for one exponential
each, which the next segment uses again. With them Hermite's rule of sixth order is

.. math:: \int_0^1 E\,du \approx \frac{E_0 + E_1}{2} + \frac{E_0' - E_1'}{10}
   + \frac{E_0'' + E_1''}{120}

with an error of 1.5e-4 :math:`a^3` at most, and less in the sum over segments. A longer segment
is halved, a long one integrated exactly.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from migrate_bayes.isochrones.kernel.cubic import MAX_NODES
from migrate_bayes.isochrones.kernel.grid_layout import BLOCK, BORN, POINTS, PRECOMPUTED, QUANTITIES
from migrate_bayes.isochrones.kernel.simd import (
    WIDTH,
    absolute,
    any_above,
    any_below,
    broadcast,
    divide,
    exp,
    greater,
    load,
    root,
    smaller,
    splat,
    store,
    where_negative,
)

CELLS = 16  # of metallicity, done at once at most
PER_ROW = (CELLS + 3) * POINTS  # floats of scratch: a row of [α/Fe]
PER_QUANTITY = 7 * PER_ROW
SWEEP_SCRATCH = (2 + 5 * POINTS) * WIDTH  # floats that a precomputed sweep needs
_F = np.float32
_ROOT_2PI = _F(math.sqrt(2.0 * math.pi))
_HALVE = _F(1.5)  # squared length of segments, in errors, that are halved
_LONG = _F(6.0)  # and of those that are integrated exactly
_POLE = _F(0.28)
_TINY, NEVER = _F(1e-10), _F(1e30)


class Window(NamedTuple):
    """Reference and cut-off of the χ² of a likelihood."""

    reference: np.float32  # sums are relative to exp(−reference/2)
    limit: np.float32  # χ² above which segments are left out


@njit(inline="always")
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


@njit(cache=True, nogil=True, error_model="numpy")
def interpolate_block(  # type: ignore[no-untyped-def]
    blocks, start, n_metal, n_alpha, obs, inv, prior, pool, node, n_nodes, residuals
):
    """Interpolate a block to the star's rows of [α/Fe], at `n_nodes` of metallicity from `node` on.

    The block is that of `FlatLayout.blocks` from `start` on. `residuals` is filled, by (quantity,
    row, node, point of the block), with residuals in errors and with the number born; with those of
    BP−RP if the star has it. `prior` is a `Prior` in `pool`.
    """
    step, per_alpha = n_metal * POINTS, prior.per_alpha
    per_row = n_alpha * per_alpha
    k_low, n_k = int(pool[prior.alpha_range]), int(pool[prior.alpha_range + 1])
    weights_at = prior.alpha_weight + k_low * per_alpha + node - prior.first_cell
    colour = inv[3] > _F(0.0)
    for c in range(QUANTITIES if colour else QUANTITIES - 1):
        if c == BORN:
            x, q = splat(_F(0.0)), splat(_F(-1.0))
        else:
            x, q = broadcast(obs, min(c, 3)), broadcast(inv, min(c, 3))
        first = start + ((c * n_alpha + k_low) * n_metal + node) * POINTS
        for row in range(0, prior.n_row, 2):
            other = min(row + 1, prior.n_row - 1)
            for n in range(n_nodes):
                at, w = first + n * POINTS, weights_at + row * per_row + n
                v = w + (other - row) * per_row
                one = two = splat(_F(0.0))
                for _ in range(n_k):
                    # The difference from the observed is taken first: exact if it is small.
                    residual = x - load(blocks, at)
                    one = one + broadcast(pool, w) * residual
                    two = two + broadcast(pool, v) * residual
                    at += step
                    w += per_alpha
                    v += per_alpha
                to = c * PER_QUANTITY + n * POINTS
                store(residuals, to + row * PER_ROW, one * q)
                store(residuals, to + other * PER_ROW, two * q)


@njit(inline="always")
def _hermite(e0, e1, c0, c1, a):  # type: ignore[no-untyped-def]
    """Integrate by the rule of the module's text."""
    half = splat(_F(0.5))
    s, h = half * (c1 - c0), half * a
    g0, g1 = s - h, s + h
    tenth, part = splat(_F(0.1)), splat(_F(1.0 / 120.0))
    base = half - part * a
    return e0 * (base + g0 * (part * g0 - tenth)) + e1 * (base + g1 * (part * g1 + tenth))


@njit(inline="always")
def _halved(e0, e1, c0, c1, a, reference):  # type: ignore[no-untyped-def]
    """Integrate by the rule for each half."""
    half = splat(_F(0.5))
    quarter = half * half * a
    in_middle = exp(half * (reference - half * (c0 + c1) + quarter))
    s, h = splat(_F(0.25)) * (c1 - c0), quarter
    g0, g1 = s - h, s + h
    tenth, part = splat(_F(0.1)), splat(_F(1.0 / 120.0))
    base = half - part * quarter
    ends = e0 * (base + g0 * (part * g0 - tenth)) + e1 * (base + g1 * (part * g1 + tenth))
    return half * (ends + in_middle * (splat(_F(2.0)) * (base + part * s * s)))


@njit(inline="always")
def _exact(e0, e1, c0, g0, a, reference):  # type: ignore[no-untyped-def]
    """Integrate by error functions: an integral from `left` to `right` of a Gaussian."""
    zero, one, half = splat(_F(0.0)), splat(_F(1.0)), splat(_F(0.5))
    length = root(greater(a, splat(_TINY)))
    over = divide(one, length)
    left = g0 * over
    right = left + length
    d_left = one + splat(_POLE) * absolute(left)
    d_right = one + splat(_POLE) * absolute(right)
    both = divide(one, d_left * d_right)  # one division for both Mills ratios
    tail_left, tail_right = e0 * mills_ratio(both * d_right), e1 * mills_ratio(both * d_left)
    # The sign of each Mills-ratio tail depends on which side of that end the maximum lies.
    tail_left = where_negative(left, zero - tail_left, tail_left)
    tail_right = where_negative(right, tail_right, zero - tail_right)
    across = splat(_ROOT_2PI) * exp(half * (reference - c0 + left * left))
    across = where_negative(left, where_negative(right, zero, across), zero)
    return greater((across + tail_left + tail_right) * over, zero)


@njit(inline="always")
def add_segment(  # type: ignore[no-untyped-def]
    a, c0, c1, s_d, e0, known, born0, ceiling, compared, integral, least
):
    """Add a segment from χ² `c0` to `c1`, of squared length `a`, if anything of it counts.

    `s_d` is the product of the residual at its start with its direction, `e0` the exponential there
    if `known`. Return the exponential at its end, whether that was computed, and the new `integral`
    and `least` χ².
    """
    zero, half, quarter = splat(_F(0.0)), splat(_F(0.5)), splat(_F(0.25))
    e1, computed = zero, False
    # No point of the segment is better than this; without births it does not count.
    bound = smaller(c0, c1) - quarter * a
    bound = where_negative(zero - born0, bound, splat(NEVER))
    if any_below(bound, ceiling):
        if not known:
            e0 = exp(half * (compared - c0))
        e1, computed = exp(half * (compared - c1)), True
        born0 = greater(born0, zero)
        a = where_negative(zero - born0, a, zero)
        if any_above(a, splat(_LONG)):
            whole = _exact(e0, e1, c0, s_d, a, compared)
        elif any_above(a, splat(_HALVE)):
            whole = _halved(e0, e1, c0, c1, a, compared)
        else:
            whole = _hermite(e0, e1, c0, c1, a)
        integral = integral + born0 * whole
        if any_below(bound, least):
            g0 = half * (c1 - c0 - a)
            u = divide(zero - g0, greater(a, splat(_TINY)))
            u = smaller(greater(u, zero), splat(_F(1.0)))
            nearest = c0 + u * (g0 + g0 + u * a)
            least = smaller(least, where_negative(zero - born0, nearest, splat(NEVER)))
    return e1, computed, integral, least


def _compiled(function: Any, name: str) -> Any:
    """Compile a function under a name of its own.

    Functions of one name differ, to numba, by a number that counts within a process. In compiled
    code that several processes have left in the cache, one could stand for another.
    """
    function.__name__ = function.__qualname__ = name
    return njit(cache=True, nogil=True, error_model="numpy")(function)


def _sweeper(quantities: int) -> Any:
    """Compile `sweep` for a number of quantities."""
    colour = quantities == QUANTITIES

    def sweep(work, residuals, n_row, weights, n_nodes, prior, window, out):  # type: ignore[no-untyped-def]
        """Integrate the likelihood along a block, at eight lattice points.

        `work` has `n_nodes` nodes of `n_row` rows of [α/Fe] (2 if points take turns) from
        `residuals` on, and their weights, by (row, `MAX_NODES`, lane), from `weights` on. From
        `out` on it is filled with the integral and then the least χ², by lane, as `prior` is.
        """
        zero = splat(_F(0.0))
        ceiling, compared = splat(window.limit), splat(window.reference)
        integral, least = zero, splat(NEVER)
        s0 = s1 = s2 = s3 = c0 = e0 = born0 = zero
        known = False  # whether e0 is the exponential at the segment's start
        for p in range(POINTS):
            r0 = r1 = r2 = r3 = born = zero
            for row in range(n_row):
                at, w = residuals + row * PER_ROW + p, weights + row * MAX_NODES * WIDTH
                for _ in range(n_nodes):
                    weight = load(work, w)
                    r0 = r0 + weight * broadcast(work, at)
                    r1 = r1 + weight * broadcast(work, at + PER_QUANTITY)
                    r2 = r2 + weight * broadcast(work, at + 2 * PER_QUANTITY)
                    born = born + weight * broadcast(work, at + BORN * PER_QUANTITY)
                    if colour:
                        r3 = r3 + weight * broadcast(work, at + 4 * PER_QUANTITY)
                    at += POINTS
                    w += WIDTH
            c1 = prior + r0 * r0 + r1 * r1 + r2 * r2
            if colour:
                c1 = c1 + r3 * r3
            e1, computed = zero, False
            if p > 0:
                d0, d1, d2, d3 = r0 - s0, r1 - s1, r2 - s2, r3 - s3
                a = d0 * d0 + d1 * d1 + d2 * d2
                if colour:
                    a = a + d3 * d3
                s_d = s0 * d0 + s1 * d1 + s2 * d2
                if colour:
                    s_d = s_d + s3 * d3
                e1, computed, integral, least = add_segment(
                    a, c0, c1, s_d, e0, known, born0, ceiling, compared, integral, least
                )
            s0, s1, s2, s3, c0, e0, born0, known = r0, r1, r2, r3, c1, e1, born, computed
        store(work, out, integral)
        store(work, out + WIDTH, least)

    return _compiled(sweep, f"sweep_{quantities}")


#: Without a colour, and with.
sweep_4, sweep_5 = _sweeper(4), _sweeper(5)


@njit(inline="always")
def _mix(points, at, w, m0, m1, m2, born):  # type: ignore[no-untyped-def]
    """Add a node of [α/Fe] to T_eff, log g, M_G and the number born, with weights by lane."""
    return (
        m0 + w * load(points, at),
        m1 + w * load(points, at + WIDTH),
        m2 + w * load(points, at + 2 * WIDTH),
        born + w * load(points, at + 3 * WIDTH),
    )


def _precomputed_sweeper(count: int) -> Any:
    """Compile the sweep for a number of [α/Fe] nodes; 0: for any number."""

    def sweep(  # type: ignore[no-untyped-def]
        points, points_at, per_alpha, n_alpha, pool, weights_at, per_weight, obs, inv, prior,
        window, work, out,
    ):  # fmt: skip
        """Integrate the likelihood along a precomputed block, at eight lattice points.

        The block at the first of `n_alpha` nodes of [α/Fe] begins at `points_at`, its weights by
        lane at `weights_at` in `pool`; those of the next node are `per_alpha` and `per_weight`
        further. `work` is filled as by `_sweeper`; `SWEEP_SCRATCH` floats in all are scratch.
        Return whether any segment counts; if not, there is no result.
        """
        zero, quarter = splat(_F(0.0)), splat(_F(0.25))
        ceiling, compared = splat(window.limit), splat(window.reference)
        q0, q1, q2 = broadcast(inv, 0), broadcast(inv, 1), broadcast(inv, 2)
        x0, x1, x2 = broadcast(obs, 0) * q0, broadcast(obs, 1) * q1, broadcast(obs, 2) * q2
        w0 = load(pool, weights_at)
        w1 = w2 = w3 = w4 = zero
        if count >= 4:
            w1 = load(pool, weights_at + per_weight)
            w2 = load(pool, weights_at + 2 * per_weight)
            w3 = load(pool, weights_at + 3 * per_weight)
        if count >= 5:
            w4 = load(pool, weights_at + 4 * per_weight)
        for p in range(POINTS):
            at = points_at + p * PRECOMPUTED * WIDTH
            m0, m1 = w0 * load(points, at), w0 * load(points, at + WIDTH)
            m2, born = w0 * load(points, at + 2 * WIDTH), w0 * load(points, at + 3 * WIDTH)
            if count == 0:
                for k in range(1, n_alpha):
                    w = load(pool, weights_at + k * per_weight)
                    m0, m1, m2, born = _mix(points, at + k * per_alpha, w, m0, m1, m2, born)
            if count >= 4:
                m0, m1, m2, born = _mix(points, at + per_alpha, w1, m0, m1, m2, born)
                m0, m1, m2, born = _mix(points, at + 2 * per_alpha, w2, m0, m1, m2, born)
                m0, m1, m2, born = _mix(points, at + 3 * per_alpha, w3, m0, m1, m2, born)
            if count >= 5:
                m0, m1, m2, born = _mix(points, at + 4 * per_alpha, w4, m0, m1, m2, born)
            r0, r1, r2 = x0 - m0 * q0, x1 - m1 * q1, x2 - m2 * q2
            to = out + (2 + 5 * p) * WIDTH
            store(work, to, r0)
            store(work, to + WIDTH, r1)
            store(work, to + 2 * WIDTH, r2)
            store(work, to + 3 * WIDTH, prior + r0 * r0 + r1 * r1 + r2 * r2)
            store(work, to + 4 * WIDTH, born)
        # Find which segments count before adding any: the processor predicts that branch badly.
        wanted = 0
        for p in range(BLOCK):
            to = out + (2 + 5 * p) * WIDTH
            r0 = load(work, to + 5 * WIDTH) - load(work, to)
            r1 = load(work, to + 6 * WIDTH) - load(work, to + WIDTH)
            r2 = load(work, to + 7 * WIDTH) - load(work, to + 2 * WIDTH)
            a = r0 * r0 + r1 * r1 + r2 * r2
            c0, c1 = load(work, to + 3 * WIDTH), load(work, to + 8 * WIDTH)
            bound = smaller(c0, c1) - quarter * a
            bound = where_negative(zero - load(work, to + 4 * WIDTH), bound, splat(NEVER))
            wanted |= int(any_below(bound, ceiling)) << p
        if wanted == 0:
            return False
        integral, least, e0, known = zero, splat(NEVER), zero, False
        for p in range(BLOCK):
            if wanted >> p & 1 == 0:
                known = False
                continue
            to = out + (2 + 5 * p) * WIDTH
            s0, s1, s2 = load(work, to), load(work, to + WIDTH), load(work, to + 2 * WIDTH)
            r0 = load(work, to + 5 * WIDTH) - s0
            r1 = load(work, to + 6 * WIDTH) - s1
            r2 = load(work, to + 7 * WIDTH) - s2
            e0, known, integral, least = add_segment(
                r0 * r0 + r1 * r1 + r2 * r2, load(work, to + 3 * WIDTH), load(work, to + 8 * WIDTH),
                s0 * r0 + s1 * r1 + s2 * r2, e0, known, load(work, to + 4 * WIDTH), ceiling,
                compared, integral, least,
            )  # fmt: skip
        store(work, out, integral)
        store(work, out + WIDTH, least)
        return True

    return _compiled(sweep, f"sweep_precomputed_{count}")


#: For four nodes of [α/Fe], five, and any number.
sweep_precomputed_4, sweep_precomputed_5, sweep_precomputed_0 = (
    _precomputed_sweeper(n) for n in (4, 5, 0)
)
