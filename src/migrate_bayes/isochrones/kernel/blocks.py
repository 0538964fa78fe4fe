"""Contributions of the blocks of one age's isochrone to a star's likelihood.

`add_age` goes through the blocks whose lower bound of χ² allows that they count. A block is swept
along (`segments`) for every *group* of eight lattice points that may count, once for every pass
through the star's rows of [α/Fe]. For the errors of a survey the layout has the isochrones at these
points (`_add_precomputed_block`); else a block is first interpolated to the rows (`_add_block`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.isochrones.kernel.cubic import MAX_NODES, fill_node_weights
from migrate_bayes.isochrones.kernel.grid_layout import (
    BLOCK,
    IN_GROUP,
    LARGE,
    MARGIN,
    POINTS,
    PRECOMPUTED,
    PRECOMPUTED_PIECES,
    QUANTITIES,
    lower_bounds,
)
from migrate_bayes.isochrones.kernel.prior import MAX_PIECES, OUTSIDE
from migrate_bayes.isochrones.kernel.segments import (
    CELLS,
    NEVER,
    PER_QUANTITY,
    PER_ROW,
    SWEEP_SCRATCH,
    Window,
    interpolate_block,
    sweep_4,
    sweep_5,
    sweep_precomputed_0,
    sweep_precomputed_4,
    sweep_precomputed_5,
)
from migrate_bayes.isochrones.kernel.simd import WIDTH, load, lowest, smaller, splat, store, total

_F = np.float32
CUT = 28.0  # in χ²: a point of exp(-14) = 8e-7 of the best one's weight
DEPTH = CUT + 6.0  # how deep segments are looked for: an age that just counts is to be whole
NODE_CUT = 20.0  # a point of exp(-10) = 5e-5 of the best one's at the same age
FAR = 100.0  # χ² beyond which a star is off the grid (10 sigma, the paper's window)

# Places in the scratch of a tile: residuals of a block come first.
NODE_WEIGHTS = QUANTITIES * PER_QUANTITY  # from `fill_node_weights`, (part, 3, MAX_NODES, WIDTH)
SIGN = NODE_WEIGHTS + MAX_PIECES // WIDTH * 3 * MAX_NODES * WIDTH  # +1 for even points, −1 for odd
PIECES = SIGN + WIDTH  # of a cell, that the weights of nodes are for
OUT = PIECES + WIDTH  # of a sweep: the integral, then the least χ², by lane
FOUND = OUT + SWEEP_SCRATCH  # the least χ² at the lattice points of a block
SCRATCH = FOUND + (CELLS + MARGIN) * MAX_PIECES + WIDTH


class Tally(NamedTuple):
    """Sums of the stars of a tile, and the best fits so far."""

    #: (star, age, 4): the likelihood, its first two moments of [Fe/H] relative to the star's, and
    #: by how much even and odd lattice points differ
    totals: NDArray[np.float64]
    best_at_age: NDArray[np.float64]  # (star, age): the least χ² at lattice points
    best_block: NDArray[np.int64]  # (star,): of the best fit at the age looked at last, or −1
    #: (star, 3): the least χ² at lattice points, and between them; the χ² that sums refer to
    best: NDArray[np.float64]


class Scratch(NamedTuple):
    """Scratch memory, reused by every star, float32."""

    work: NDArray[np.float32]  # see above
    bounds: NDArray[np.float32]  # lower bounds of χ² of a row of blocks, by (cell, block)
    least: NDArray[np.float32]  # the least of them, by block
    large_least: NDArray[np.float32]  # likewise of large blocks


@njit(cache=True, nogil=True, error_model="numpy")
def new_scratch(flat):  # type: ignore[no-untyped-def]
    """Return the `Scratch` for a `FlatLayout`."""
    work = np.zeros(SCRATCH, dtype=_F)
    work[SIGN:PIECES] = 1.0
    work[SIGN + 1 : PIECES : 2] = -1.0
    return Scratch(
        work, np.empty(flat.n_cell * LARGE, dtype=_F), np.empty(LARGE, dtype=_F),
        np.empty(flat.n_row * LARGE, dtype=_F),
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def add_age(flat, age, phase, obs, inv, prior, pool, scratch, tally, k):  # type: ignore[no-untyped-def]
    """Add a star's likelihood at one age to star k of the tally.

    Phase 0 only looks, in the likeliest cell, for a best fit to compare with; others add. `obs` and
    `inv` are the star's observables and inverse errors, `prior` a `Prior` in `pool`, `flat` a
    `FlatLayout`.
    """
    # Each array is taken out of its tuple once: in a loop that costs more than the arithmetic.
    blocks, precomputed, bounds_of_blocks = flat.blocks, flat.precomputed, flat.bounds
    large_bounds = flat.large_bounds
    work, bounds, least_of_block, large_least = scratch
    totals, best_at_age, best = tally.totals[k, age], tally.best_at_age[k], tally.best[k]
    n_block, n_large, n_row, n_alpha = flat.n_block, flat.n_large, flat.n_row, flat.n_alpha
    per_row = flat.n_cell * LARGE
    block_floats = QUANTITIES * n_alpha * flat.n_metal * POINTS
    # From a node of [α/Fe] to the next of the precomputed isochrones, and from an age
    per_alpha = (n_block * BLOCK + 1) * PRECOMPUTED * WIDTH
    age_at = age * ((flat.n_cell - 1) // IN_GROUP + 1) * n_alpha * per_alpha
    from_cell = prior.likeliest_cell if phase == 0 else prior.first_cell
    to_cell = from_cell + 1 if phase == 0 else prior.end_cell
    if prior.precomputed:  # in whole groups
        from_cell -= from_cell % IN_GROUP
        to_cell = min(from_cell + IN_GROUP, prior.end_cell) if phase == 0 else to_cell
    least_prior = prior.least_chi2 - prior.first_cell  # the place of cell 0's
    reference = _F(best[2])
    for row in range(n_row):
        lower_bounds(
            large_bounds, (age * flat.n_strip * 8 * n_row + row) * per_row, n_row * per_row, obs,
            inv, prior, pool, from_cell, to_cell, bounds, large_least, row * LARGE,
        )  # fmt: skip
    # First the block of the best fit at the last age; at the first age, that of the lowest bound.
    last, least_here = tally.best_block[k], np.inf
    head = last // LARGE if last >= 0 else np.argmin(large_least[:n_large])
    for order in range(n_large):
        big = head if order == 0 else (order - 1 if order <= head else order)
        limit = _F(min(min(best[0], FAR) + DEPTH, best_at_age[age] + NODE_CUT))
        if large_least[big] > limit:
            continue
        lower_bounds(
            bounds_of_blocks, (age * flat.n_strip * 8 * n_large + big) * per_row,
            n_large * per_row, obs, inv, prior, pool, from_cell, to_cell, bounds, least_of_block, 0,
        )  # fmt: skip
        lead, n_here = 0, min(LARGE, n_block - big * LARGE)
        if order == 0:
            lead = last % LARGE if last >= 0 else np.argmin(least_of_block[:n_here])
        for rank in range(n_here):
            at = lead if rank == 0 else (rank - 1 if rank <= lead else rank)
            limit = _F(min(min(best[0], FAR) + DEPTH, best_at_age[age] + NODE_CUT))
            if least_of_block[at] > limit:
                continue
            block, window = big * LARGE + at, Window(reference, limit)
            # The cells that may matter, from the first to the last.
            start, stop = to_cell, from_cell
            for j in range(from_cell, to_cell):
                if bounds[j * LARGE + at] + pool[least_prior + j] <= limit:
                    start, stop = min(start, j), j + 1
            if prior.precomputed:
                start -= start % IN_GROUP
            for j in range(start, stop, CELLS):
                end = min(j + CELLS, stop)
                if prior.precomputed:
                    least = _add_precomputed_block(
                        precomputed, age_at + block * BLOCK * PRECOMPUTED * WIDTH, per_alpha,
                        n_alpha, obs, inv, prior, pool, (j, end), bounds, at, window, work, totals,
                        phase > 0,
                    )  # fmt: skip
                else:
                    least = _add_block(
                        blocks, (age * n_block + block) * block_floats, flat.n_metal, n_alpha,
                        obs, inv, prior, pool, (j, end), bounds, at, window, work, totals,
                        phase > 0,
                    )  # fmt: skip
                if least < least_here:
                    least_here, tally.best_block[k] = least, block
                    best_at_age[age] = min(best_at_age[age], least)
                if least < best[0]:
                    best[0] = least
                    stride = 2 if prior.alternate else 1
                    best[1] = _off_lattice(work, (end - j) * prior.pieces, stride)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_block(  # type: ignore[no-untyped-def]
    blocks, block, n_metal, n_alpha, obs, inv, prior, pool, cells, bounds, at, window, work, totals,
    counts,
):  # fmt: skip
    """Add a block, interpolated to the star, to `totals` if it `counts`; return the least χ².

    It begins at `block` of `FlatLayout.blocks`. `cells` are the first cell of metallicity that may
    count and the one after the last, `CELLS` at most; cell j's lower bound of χ² without the prior
    is ``bounds[j * LARGE + at]``. `work` then has the points' least χ² from `FOUND` on.
    """
    pieces, (start, stop) = prior.pieces, cells
    in_group = max(WIDTH // pieces, 1)  # cells
    parts = max(pieces // WIDTH, 1)
    n_group = (stop - start + in_group - 1) // in_group
    colour = inv[3] > _F(0.0)
    if work[PIECES] != pieces:
        weights = work[NODE_WEIGHTS:SIGN].reshape((MAX_PIECES // WIDTH, 3, MAX_NODES, WIDTH))
        fill_node_weights(pieces, weights)
        work[PIECES] = pieces
    interpolate_block(
        blocks, block, n_metal, n_alpha, obs, inv, prior, pool, start, n_group * in_group + 3, work
    )
    zero = splat(_F(0.0))
    sums = zero, zero, zero, zero
    least = NEVER
    alone = prior.n_row % 2 if prior.alternate else prior.n_pass  # passes of a single row
    for group in range(n_group):
        cell = start + group * in_group
        lower = _least_of(bounds, at, prior, pool, cell, min(cell + in_group, stop))
        for part in range(parts):
            point = (cell - prior.first_cell) * pieces + part * WIDTH
            found = FOUND + (cell - start) * pieces + part * WIDTH
            store(work, found, splat(NEVER))
            chi2 = load(pool, prior.chi2 + point)
            for n in range(prior.n_pass):
                ceiling = window.limit - pool[prior.discount + n]
                if lower > ceiling:
                    continue
                row, n_row = (n, 1) if n < alone else (alone + 2 * (n - alone), 2)
                residuals = row * PER_ROW + group * in_group * POINTS
                weights_at = NODE_WEIGHTS + (3 * part + n_row - 1) * MAX_NODES * WIDTH
                of_pass = Window(window.reference, ceiling)
                if colour:
                    sweep_5(work, residuals, n_row, weights_at, in_group + 3, chi2, of_pass, OUT)
                else:
                    sweep_4(work, residuals, n_row, weights_at, in_group + 3, chi2, of_pass, OUT)
                sums, least = _add_sweep(work, pool, prior, n, point, found, sums, least)
    if counts:
        _put(totals, sums)
    return least


@njit(cache=True, nogil=True, error_model="numpy")
def _add_precomputed_block(  # type: ignore[no-untyped-def]
    precomputed, block, per_alpha, n_alpha, obs, inv, prior, pool, cells, bounds, at, window, work,
    totals, counts,
):  # fmt: skip
    """Add a block that the layout has at the star's lattice points; see `_add_block`.

    `block` is its place at the first points and [α/Fe]; the first of `cells` begins a group.
    """
    start, stop = cells
    zero = splat(_F(0.0))
    sums = zero, zero, zero, zero
    least = NEVER
    for cell in range(start, stop, IN_GROUP):
        lower = _least_of(bounds, at, prior, pool, cell, min(cell + IN_GROUP, stop))
        point = (cell - prior.first_cell) * PRECOMPUTED_PIECES
        found = FOUND + (cell - start) * PRECOMPUTED_PIECES
        store(work, found, splat(NEVER))
        chi2 = load(pool, prior.chi2 + point)
        for n in range(prior.n_pass):
            ceiling = window.limit - pool[prior.discount + n]
            if lower > ceiling:
                continue
            ranges = prior.alpha_range + 2 * (n * (prior.n_point // WIDTH) + point // WIDTH)
            k, n_k = int(pool[ranges]), int(pool[ranges + 1])
            points_at = block + ((cell // IN_GROUP) * n_alpha + k) * per_alpha
            weights_at = prior.alpha_weight + (n * n_alpha + k) * prior.per_alpha + point
            of_pass = Window(window.reference, ceiling)
            if n_k == 4:
                counted = sweep_precomputed_4(
                    precomputed, points_at, per_alpha, n_k, pool, weights_at, prior.per_alpha,
                    obs, inv, chi2, of_pass, work, OUT,
                )  # fmt: skip
            elif n_k == 5:
                counted = sweep_precomputed_5(
                    precomputed, points_at, per_alpha, n_k, pool, weights_at, prior.per_alpha,
                    obs, inv, chi2, of_pass, work, OUT,
                )  # fmt: skip
            else:
                counted = sweep_precomputed_0(
                    precomputed, points_at, per_alpha, n_k, pool, weights_at, prior.per_alpha,
                    obs, inv, chi2, of_pass, work, OUT,
                )  # fmt: skip
            if counted:
                sums, least = _add_sweep(work, pool, prior, n, point, found, sums, least)
    if counts:
        _put(totals, sums)
    return least


@njit(inline="always")
def _least_of(bounds, at, prior, pool, begin, end):  # type: ignore[no-untyped-def]
    """Return the least of a block's bounds over cells, each with the prior's χ² there."""
    lower, least_prior = NEVER, prior.least_chi2 - prior.first_cell
    for j in range(begin, end):
        lower = min(lower, bounds[j * LARGE + at] + pool[least_prior + j])
    return lower


@njit(inline="always")
def _add_sweep(work, pool, prior, n, point, found, sums, least):  # type: ignore[no-untyped-def]
    """Add what a sweep of pass n found to the sums by lane; return them and the least χ² so far.

    `point` is the place of the first lattice point in the prior, `found` that of its χ² in `work`.
    """
    whole, first, second, unlike = sums
    at = n * prior.n_point + point
    w, f = load(work, OUT) * load(pool, prior.weight + at), load(pool, prior.feh + at)
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
def _off_lattice(work, points, stride):  # type: ignore[no-untyped-def]
    """Return the least χ² over metallicity: the lattice does not hit it, but a parabola does.

    The parabola is through points `stride` apart: 2 if neighbours are at different [α/Fe].
    """
    at, best = 0, work[FOUND]
    for k in range(points):
        if work[FOUND + k] < best:
            at, best = k, work[FOUND + k]
    if at < stride or at >= points - stride:
        return best
    before, after = work[FOUND + at - stride], work[FOUND + at + stride]
    bend = before - _F(2.0) * best + after
    if max(before, after) >= OUTSIDE or bend <= _F(0.0):  # next to the end of the grid
        return best
    return max(best - _F(0.125) * (after - before) ** 2 / bend, _F(0.0))
