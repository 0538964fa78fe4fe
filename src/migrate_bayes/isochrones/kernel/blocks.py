"""What a block of isochrone segments adds to a star's likelihood at one age.

A block is swept along (`segments`) for every eight lattice points that may count (a *group*: a few
cells of metallicity, or part of one), once for every pass through the star's rows of [α/Fe].
`visit_ready` takes blocks that the layout has at these lattice points already, as it does for the
errors of a survey; `visit` first interpolates the block to the rows.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from migrate_bayes.isochrones.kernel.grid_layout import (
    IN_GROUP,
    LARGE,
    POINTS,
    QUANTITIES,
    READY_PIECES,
)
from migrate_bayes.isochrones.kernel.lattice import MARGIN, MAX_PIECES, node_weights
from migrate_bayes.isochrones.kernel.precomputed import (
    FOR_SWEEP,
    sweep_ready,
    sweep_ready_4,
    sweep_ready_5,
)
from migrate_bayes.isochrones.kernel.prior_lattice import (
    ALPHA,
    CELL_LOW,
    DISCOUNT,
    FEHS,
    K_BEGIN,
    K_END,
    LEAST,
    N_NODE,
    N_PASS,
    N_POINT,
    N_ROWS,
    PIECES,
    PRIORS,
    RANGES,
    TOGETHER,
    WEIGHTS,
)
from migrate_bayes.isochrones.kernel.segments import (
    CELLS,
    MAX_NODES,
    PER_QUANTITY,
    PER_ROW,
    at_nodes,
    sweep_4,
    sweep_5,
)
from migrate_bayes.isochrones.kernel.simd import WIDTH, load, lowest, smaller, splat, store, total

__all__ = ["SIGN", "WORK", "off_lattice", "visit", "visit_ready"]

_F = np.float32
_HUGE = _F(1e30)
# Where things are in the scratch array:
_PARTS = MAX_PIECES // WIDTH
ALONE = QUANTITIES * PER_QUANTITY  # after the residuals, weights of nodes for a single row
TURNS = ALONE + _PARTS * MAX_NODES * WIDTH  # and for two rows that take turns
NOW = TURNS + _PARTS * 2 * MAX_NODES * WIDTH  # for how many pieces of a cell these are
SIGN = NOW + WIDTH  # +1 for even lattice points, −1 for odd ones
PRIOR = SIGN + WIDTH  # χ² of eight lattice points under the prior
OUT = PRIOR + WIDTH  # what `sweep` finds
FOUND = OUT + FOR_SWEEP  # the least χ² at the lattice points of a block
WORK = FOUND + (CELLS + MARGIN) * MAX_PIECES + WIDTH


@njit(inline="always")
def _least_of(bound, at, pool, least_prior, begin, end):  # type: ignore[no-untyped-def]
    """Return the least of a block's bounds over cells, each with the prior's χ² there."""
    lower = _HUGE
    for j in range(begin, end):
        lower = min(lower, bound[j * LARGE + at] + pool[least_prior + j])
    return lower


@njit(inline="always")
def _add_sweep(work, pool, weight, feh, found, sums, least):  # type: ignore[no-untyped-def]
    """Add what a sweep left in `OUT` to the sums by lane; return them and the least χ² so far.

    `weight` and `feh` are where the quadrature weights and [Fe/H] of its lattice points stand in
    the pool, `found` where their least χ² does in `work`.
    """
    whole, first, second, unlike = sums
    w, f = load(work, OUT) * load(pool, weight), load(pool, feh)
    nearest = load(work, OUT + WIDTH)
    store(work, found, smaller(load(work, found), nearest))
    sums = whole + w, first + w * f, second + w * (f * f), unlike + w * load(work, SIGN)
    return sums, min(least, lowest(nearest))


@njit(inline="always")
def _put(totals, sums):  # type: ignore[no-untyped-def]
    """Add sums by lane to a star's totals."""
    whole, first, second, unlike = sums
    totals[0] += total(whole)
    totals[1] += total(first)
    totals[2] += total(second)
    totals[3] += abs(total(unlike))


@njit(cache=True, nogil=True, error_model="numpy")
def visit(  # type: ignore[no-untyped-def]
    packed, block, n_metal, n_alpha, x, q, plan, pool, work, start, stop, bound, at,
    reference, limit, totals, counts,
):  # fmt: skip
    """Add a block.

    Parameters
    ----------
    packed, block, n_metal, n_alpha, x, q
        See `segments.at_nodes`.
    plan, pool : numpy.ndarray
        The star's composition, from `composition.set_up`.
    work : numpy.ndarray
        Scratch, laid out as above.
    start, stop : int
        Cells of metallicity that may count, `CELLS` at most.
    bound, at : numpy.ndarray, int
        Lower bounds of χ² without the prior: that of cell j is ``bound[j * LARGE + at]``.
    reference, limit : float32
        See `segments.sweep`.
    totals : numpy.ndarray, shape (4,)
        The likelihood, its first two moments of [Fe/H], and by how much even and odd lattice points
        differ: added to if `counts`.

    Returns
    -------
    float32
        The least χ². `FOUND` in `work` has that of each lattice point from cell `start` on.
    """
    pieces, n_pass, n_point = plan[PIECES], plan[N_PASS], plan[N_POINT]
    in_group = max(WIDTH // pieces, 1)  # cells
    parts = max(pieces // WIDTH, 1)
    n_group = (stop - start + in_group - 1) // in_group
    colour = q[3] > _F(0.0)
    if work[NOW] != pieces:
        node_weights(pieces, work, ALONE, TURNS)
        work[NOW] = pieces
    at_nodes(
        packed, block, n_metal, n_alpha, colour, start, n_group * in_group + 3,
        plan[K_BEGIN], plan[K_END], pool, plan[ALPHA] + start - plan[CELL_LOW], plan[N_NODE],
        plan[N_ROWS], x, q, work,
    )  # fmt: skip
    zero = splat(_F(0.0))
    sums = zero, zero, zero, zero
    least = _HUGE
    least_prior = plan[LEAST] - plan[CELL_LOW]
    turns = plan[TOGETHER] != 0
    alone = n_pass if not turns else plan[N_ROWS] % 2  # passes of a single row
    for group in range(n_group):
        cell = start + group * in_group
        lower = _least_of(bound, at, pool, least_prior, cell, min(cell + in_group, stop))
        for part in range(parts):
            point = (cell - plan[CELL_LOW]) * pieces + part * WIDTH
            found = FOUND + (cell - start) * pieces + part * WIDTH
            store(work, found, splat(_HUGE))
            store(work, PRIOR, load(pool, plan[PRIORS] + point))
            for n in range(n_pass):
                ceiling = limit - pool[plan[DISCOUNT] + n]
                if lower > ceiling:
                    continue
                if n < alone:
                    row, rows, weights = n, 1, ALONE + part * MAX_NODES * WIDTH
                else:
                    row, rows = alone + 2 * (n - alone), 2
                    weights = TURNS + part * 2 * MAX_NODES * WIDTH
                residuals = row * PER_ROW + group * in_group * POINTS
                if colour:
                    sweep_5(
                        work, residuals, rows, weights, in_group + 3, PRIOR, reference, ceiling, OUT
                    )
                else:
                    sweep_4(
                        work, residuals, rows, weights, in_group + 3, PRIOR, reference, ceiling, OUT
                    )
                at_points = n * n_point + point
                sums, least = _add_sweep(
                    work,
                    pool,
                    plan[WEIGHTS] + at_points,
                    plan[FEHS] + at_points,
                    found,
                    sums,
                    least,
                )
    if counts:
        _put(totals, sums)
    return least


@njit(cache=True, nogil=True, error_model="numpy")
def visit_ready(  # type: ignore[no-untyped-def]
    ready, block, per_group, per_alpha, x, q, plan, pool, work, start, stop, bound, at,
    reference, limit, totals, counts,
):  # fmt: skip
    """Add a block that is ready at the star's lattice points.

    Parameters
    ----------
    ready : numpy.ndarray
        The layout's, flat. At the first group of lattice points and the first [α/Fe] the block
        begins at `block`; at the next group `per_group` further, at the next [α/Fe] `per_alpha`.
    x, q, plan, pool, work, start, stop, bound, at, reference, limit, totals, counts
        See `visit`. `start` is the first cell of a group.

    Returns
    -------
    float32
        See `visit`.
    """
    n_pass, n_point, low = plan[N_PASS], plan[N_POINT], plan[CELL_LOW]
    n_alpha = (plan[RANGES] - plan[ALPHA]) // (n_pass * n_point)
    zero = splat(_F(0.0))
    sums = zero, zero, zero, zero
    least = _HUGE
    least_prior = plan[LEAST] - low
    for cell in range(start, stop, IN_GROUP):
        lower = _least_of(bound, at, pool, least_prior, cell, min(cell + IN_GROUP, stop))
        point = (cell - low) * READY_PIECES
        found = FOUND + (cell - start) * READY_PIECES
        store(work, found, splat(_HUGE))
        prior = load(pool, plan[PRIORS] + point)
        for n in range(n_pass):
            ceiling = limit - pool[plan[DISCOUNT] + n]
            if lower > ceiling:
                continue
            ranges = plan[RANGES] + 2 * (n * (n_point // WIDTH) + point // WIDTH)
            k_begin, n_k = int(pool[ranges]), int(pool[ranges + 1])
            where = block + (cell // IN_GROUP) * per_group + k_begin * per_alpha
            weights = plan[ALPHA] + (n * n_alpha + k_begin) * n_point + point
            if n_k == 4:
                counted = sweep_ready_4(
                    ready, where, per_alpha, n_k, pool, weights, n_point, x, q, prior,
                    reference, ceiling, work, OUT,
                )  # fmt: skip
            elif n_k == 5:
                counted = sweep_ready_5(
                    ready, where, per_alpha, n_k, pool, weights, n_point, x, q, prior,
                    reference, ceiling, work, OUT,
                )  # fmt: skip
            else:
                counted = sweep_ready(
                    ready, where, per_alpha, n_k, pool, weights, n_point, x, q, prior,
                    reference, ceiling, work, OUT,
                )  # fmt: skip
            if not counted:
                continue
            at_points = n * n_point + point
            sums, least = _add_sweep(
                work, pool, plan[WEIGHTS] + at_points, plan[FEHS] + at_points, found, sums, least
            )
    if counts:
        _put(totals, sums)
    return least


@njit(cache=True, nogil=True, error_model="numpy")
def off_lattice(work, points, stride):  # type: ignore[no-untyped-def]
    """Return the least χ² over metallicity: the lattice does not hit it, but a parabola does.

    The parabola is through points `stride` apart: 2 where neighbours are at different [α/Fe].
    """
    at, best = 0, work[FOUND]
    for k in range(points):
        if work[FOUND + k] < best:
            at, best = k, work[FOUND + k]
    if at < stride or at >= points - stride:
        return best
    before, after = work[FOUND + at - stride], work[FOUND + at + stride]
    bend = before - _F(2.0) * best + after
    if max(before, after) >= _HUGE or bend <= _F(0.0):
        return best
    return max(best - _F(0.125) * (after - before) ** 2 / bend, _F(0.0))
