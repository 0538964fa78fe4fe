r"""The integral of a star's likelihood along isochrone segments, eight lattice points at a time.

`at_nodes` interpolates a block of isochrone points to the star's [α/Fe] at the grid's nodes of
metallicity; `sweep` takes eight points of the star's own lattice of metallicities (one of the
*lanes* each), interpolates on to them and walks along the block from segment to segment. The
mathematics is in `kernel`.

With residuals in errors :math:`r_0, r_1` at the ends of a segment and :math:`a = |r_1 - r_0|^2`,
:math:`\chi^2(u) = c_0 + 2 g_0 u + a u^2`, where :math:`g_0 = r_0 (r_1 - r_0) = (c_1 - c_0 - a)/2`
and :math:`g_1 = r_1 (r_1 - r_0) = g_0 + a`. Of :math:`E(u) = e^{-\chi^2(u)/2}` value, slope
:math:`-g E` and second derivative :math:`(g^2 - a) E` are known at both ends for one exponential
each, which the next segment uses again, and with them Hermite's rule of sixth order,

.. math:: \int_0^1 E\,du \approx \frac{E_0 + E_1}{2} + \frac{E_0' - E_1'}{10}
   + \frac{E_0'' + E_1''}{120}

with an error of 1.5e-4 :math:`a^3` at most, and less in the sum over segments. A longer segment
is halved, a long one integrated exactly.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from migrate_bayes.isochrones.kernel.grid_layout import BORN, POINTS, QUANTITIES
from migrate_bayes.isochrones.kernel.lattice import MAX_NODES
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

__all__ = [
    "CELLS", "MAX_NODES", "NEVER", "PER_QUANTITY", "PER_ROW", "add_segment", "at_nodes",
    "mills_ratio", "sweep_4", "sweep_5",
]  # fmt: skip

CELLS = 16  # of metallicity, done at once at most
PER_ROW = (CELLS + 3) * POINTS  # floats of scratch: a row of [α/Fe]
PER_QUANTITY = 7 * PER_ROW
_F = np.float32
_ROOT_2PI = _F(math.sqrt(2.0 * math.pi))
_HALVE = _F(1.5)  # squared length of segments, in errors, that are halved
_LONG = _F(6.0)  # and of those that are integrated exactly
_POLE = _F(0.28)
_TINY, NEVER = _F(1e-10), _F(1e30)


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
def at_nodes(  # type: ignore[no-untyped-def]
    packed, block, n_metal, n_alpha, colour, node, n_nodes, k_low, k_high, weights, weights_at,
    per_alpha, n_rows, obs, inv, work,
):  # fmt: skip
    """Interpolate a block to rows of [α/Fe], at nodes of metallicity.

    Parameters
    ----------
    packed : numpy.ndarray
        The layout's, flat; the block begins at `block`.
    n_metal, n_alpha : int
        Nodes of the packed grid.
    colour : bool
        Whether BP−RP is wanted.
    node, n_nodes : int
        The first node of metallicity, and how many.
    k_low, k_high : int
        The range of [α/Fe] nodes that have weights (`k_high` not included).
    weights, weights_at, per_alpha : numpy.ndarray, int, int
        Their weights, by (row, alpha, metallicity): where that of the first `node` is, and how far
        from there that of the next [α/Fe].
    n_rows : int
        Rows of [α/Fe].
    obs, inv : numpy.ndarray, shape (4,)
        Observables and inverse errors.
    work : numpy.ndarray
        Filled from its start, by (quantity, row, node, point of the block), with residuals in
        errors and with the number born.
    """
    step, per_row = n_metal * POINTS, (k_high - k_low) * per_alpha
    for c in range(QUANTITIES if colour else QUANTITIES - 1):
        if c == BORN:
            x, q = splat(_F(0.0)), splat(_F(-1.0))
        else:
            x, q = broadcast(obs, min(c, 3)), broadcast(inv, min(c, 3))
        first = block + ((c * n_alpha + k_low) * n_metal + node) * POINTS
        for row in range(0, n_rows, 2):
            other = min(row + 1, n_rows - 1)
            for n in range(n_nodes):
                at, w = first + n * POINTS, weights_at + row * per_row + n
                v = w + (other - row) * per_row
                one = two = splat(_F(0.0))
                for _ in range(k_low, k_high):
                    # The difference from the observed is taken first: exact where it is small.
                    residual = x - load(packed, at)
                    one = one + broadcast(weights, w) * residual
                    two = two + broadcast(weights, v) * residual
                    at += step
                    w += per_alpha
                    v += per_alpha
                to = c * PER_QUANTITY + n * POINTS
                store(work, to + row * PER_ROW, one * q)
                store(work, to + other * PER_ROW, two * q)


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
    # Tails are added or taken away by the side of them that 0 is on.
    tail_left = where_negative(left, zero - tail_left, tail_left)
    tail_right = where_negative(right, tail_right, zero - tail_right)
    across = splat(_ROOT_2PI) * exp(half * (reference - c0 + left * left))
    across = where_negative(left, where_negative(right, zero, across), zero)
    return greater((across + tail_left + tail_right) * over, zero)


@njit(inline="always")
def add_segment(  # type: ignore[no-untyped-def]
    a, c0, c1, s_d, e0, known, born0, ceiling, compared, integral, least
):
    """Add a segment from χ² `c0` to `c1`, of squared length `a`, where anything of it counts.

    `s_d` is the product of the residual at its start with its direction, `e0` the exponential there
    if `known`. Return the exponential at its end, whether that was computed, and what `integral`
    and `least` become.
    """
    zero, half, quarter = splat(_F(0.0)), splat(_F(0.5)), splat(_F(0.25))
    e1, computed = zero, False
    # No point of the segment is better than this; nor counts where none is born.
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


def _sweeper(quantities: int) -> Any:
    """Compile `sweep` for a number of quantities."""
    colour = quantities == QUANTITIES

    @njit(cache=True, nogil=True, error_model="numpy")
    def sweep(work, residuals, rows, weights, n_nodes, prior_at, reference, limit, out):  # type: ignore[no-untyped-def]
        """Integrate the likelihood along a block, at eight lattice points.

        Parameters
        ----------
        work : numpy.ndarray
            Holds everything.
        residuals : int
            Where `at_nodes` left the first of `n_nodes` nodes that the lattice points depend on.
        rows : int
            How many rows of [α/Fe], one after the other: 2 where lattice points take turns.
        weights : int
            Where the weights of the nodes are, by (row, `MAX_NODES`, lane).
        prior_at : int
            Where χ² under the prior is, by lane.
        reference : float32
            Likelihoods are relative to exp(−reference/2).
        limit : float32
            Segments above this χ² are left out.
        out : int
            Where to put the integral, and `WIDTH` further the least χ², by lane.
        """
        zero = splat(_F(0.0))
        prior, ceiling, compared = load(work, prior_at), splat(limit), splat(reference)
        integral, least = zero, splat(NEVER)
        s0 = s1 = s2 = s3 = c0 = e0 = born0 = zero
        known = False  # whether e0 is the exponential at the segment's start
        for p in range(POINTS):
            r0 = r1 = r2 = r3 = born = zero
            for row in range(rows):
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

    return sweep


#: Without a colour, and with.
sweep_4, sweep_5 = _sweeper(4), _sweeper(5)
