"""Contributions of the blocks of one age's isochrone to a star's likelihood.

`add_age` goes through the blocks whose lower bound of χ² allows that they count, and sweeps along
them (`segments`) for every *group* of `WIDTH` lattice points that may count. At the lattice that a
survey's errors ask for the layout has the isochrones; to another a block is interpolated first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.isochrones.kernel.grid_layout import (
    BLOCK,
    CACHED,
    LARGE,
    PIECES,
    POINTS,
    QUANTITIES,
    lower_bounds,
)
from migrate_bayes.isochrones.kernel.prior import MAX_PIECES, OUTSIDE
from migrate_bayes.isochrones.kernel.segments import (
    INTEGRAL,
    LEAST,
    MAGNITUDE,
    MOMENT,
    NEVER,
    SECOND,
    SQUARE,
    SWEEP_SCRATCH,
    Place,
    Window,
    interpolate_block,
    shear_block,
    sweep,
    sweep_colour,
    sweep_colour_tilted,
    sweep_tilted,
)
from migrate_bayes.isochrones.kernel.simd import HALF, WIDTH, load, lowest, splat, store, total

_F = np.float32
CUT = 28.0  # in χ²: a point of exp(-14) = 8e-7 of the best one's weight
DEPTH = CUT + 6.0  # how deep segments are looked for: an age that just counts is to be whole
NODE_CUT = 20.0  # a point of exp(-10) = 5e-5 of the best one's at the same age
FAR = 100.0  # χ² beyond which a star is off the grid (10 sigma, the paper's window)


class Tally(NamedTuple):
    """Sums of the stars of a tile, and the best fits so far."""

    #: (star, age, 5): the likelihood, its first two moments of [Fe/H] relative to the star's, and
    #: of the residual of M_G in errors
    totals: NDArray[np.float64]
    best_at_age: NDArray[np.float64]  # (star, age): the least χ² at lattice points
    best_block: NDArray[np.int64]  # (star,): of the best fit at the age looked at last, or −1
    #: (star, 3): the least χ² at lattice points, and between them; the χ² that sums refer to
    best: NDArray[np.float64]


class Scratch(NamedTuple):
    """Scratch memory, reused by every star, float32."""

    work: NDArray[np.float32]  # of a sweep
    #: interpolated to a group; and for correlated errors sheared: its value and slope in [α/Fe],
    #: and the weights of these as of two nodes, 1, 0 for the value and 0, 1
    block: NDArray[np.float32]
    found: NDArray[np.float32]  # the least χ² at the lattice points of a block
    bounds: NDArray[np.float32]  # lower bounds of χ² of a row of blocks, by (cell, block)
    least: NDArray[np.float32]  # the least of them, by block
    large_least: NDArray[np.float32]  # likewise of large blocks


@njit(cache=True, nogil=True, error_model="numpy")
def new_scratch(flat):  # type: ignore[no-untyped-def]
    """Return the `Scratch` for a `FlatLayout`."""
    block = np.zeros((POINTS * QUANTITIES * (flat.n_alpha + 2) + 4) * WIDTH, dtype=_F)
    block[-4 * WIDTH : -3 * WIDTH] = block[-WIDTH:] = _F(1.0)
    return Scratch(
        np.empty(SWEEP_SCRATCH, dtype=_F),
        block,
        np.empty(flat.n_cell * MAX_PIECES + WIDTH, dtype=_F),
        np.empty(flat.n_cell * LARGE, dtype=_F), np.empty(LARGE, dtype=_F),
        np.empty(flat.n_row * LARGE, dtype=_F),
    )  # fmt: skip


# A function that another one calls is compiled by itself and again within that one; not so if it is
# written into it.
@njit(inline="always")
def add_age(  # type: ignore[no-untyped-def]
    flat, age, looks, obs, inv, bound_inv, prior, pool, scratch, tally, k, rare
):
    """Add a star's likelihood at one age to star k of the tally.

    If it only `looks` it searches, in the likeliest cell, for a best fit to compare with. `obs`,
    `inv` and `bound_inv` are the star's observables and inverse errors (of `Stars`), `prior` a
    `Prior` in `pool`, `flat` a `FlatLayout`; `rare` as in `age_likelihood`.
    """
    # Each array is taken out of its tuple once: in a loop that costs more than the arithmetic.
    bounds_of_blocks, large_bounds = flat.bounds, flat.large_bounds
    bounds, least_of_block, large_least = scratch.bounds, scratch.least, scratch.large_least
    totals, best_at_age, best = tally.totals[k, age], tally.best_at_age[k], tally.best[k]
    n_block, n_large, n_row = flat.n_block, flat.n_large, flat.n_row
    per_row = flat.n_cell * LARGE
    from_cell = prior.likeliest_cell if looks else prior.first_cell
    to_cell = from_cell + 1 if looks else prior.end_cell
    least_prior = prior.least_chi2 - prior.first_cell  # the place of cell 0's
    reference = _F(best[2])
    for row in range(n_row):
        lower_bounds(
            large_bounds, (age * flat.n_strip * 8 * n_row + row) * per_row, n_row * per_row, obs,
            bound_inv, prior, pool, from_cell, to_cell, bounds, large_least, row * LARGE,
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
            n_large * per_row, obs, bound_inv, prior, pool, from_cell, to_cell, bounds,
            least_of_block, np.int64(0),
        )  # fmt: skip
        lead, n_here = 0, min(LARGE, n_block - big * LARGE)
        if order == 0:
            lead = last % LARGE if last >= 0 else np.argmin(least_of_block[:n_here])
        for rank in range(n_here):
            at = lead if rank == 0 else (rank - 1 if rank <= lead else rank)
            limit = _F(min(min(best[0], FAR) + DEPTH, best_at_age[age] + NODE_CUT))
            if least_of_block[at] > limit:
                continue
            # The cells that may matter, from the first to the last.
            start, stop = to_cell, from_cell
            for j in range(from_cell, to_cell):
                if bounds[j * LARGE + at] + pool[least_prior + j] <= limit:
                    start, stop = min(start, j), j + 1
            start = (start - prior.first_cell) * prior.pieces
            start -= start % HALF  # of a chunk
            stop = (stop - prior.first_cell) * prior.pieces
            block = big * LARGE + at
            least = _add_block(
                flat, age, block, obs, inv, prior, pool, start, stop, Window(reference, limit),
                scratch, totals, not looks, rare,
            )  # fmt: skip
            if least < least_here:
                least_here, tally.best_block[k] = least, block
                best_at_age[age] = min(best_at_age[age], least)
            if least < best[0]:
                best[0] = least
                best[1] = _off_lattice(scratch.found, stop - start)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_block(  # type: ignore[no-untyped-def]
    flat, age, block, obs, inv, prior, pool, start, stop, window, scratch, totals, counts, rare
):
    """Add a block to `totals` if it `counts`; return the least χ².

    Lattice points from `start` to `stop` of the prior may count. `scratch.found` then has their
    least χ².
    """
    work, found = scratch.work, scratch.found
    colour, tilted = inv[3] > _F(0.0), flat.n_alpha > 1
    cached = prior.pieces == PIECES and len(flat.chunks) > 0 and not colour
    per_point = CACHED * HALF
    per_alpha, n_metal = POINTS * per_point, flat.n_cell + 1
    per_chunk = flat.n_alpha * per_alpha
    whole = first_moment = second = magnitude = square = splat(_F(0.0))
    least = NEVER
    for point in range(start, stop, WIDTH):
        chi2 = load(pool, prior.chi2 + point)
        if cached:
            points = flat.chunks
            chunk = (prior.first_cell * PIECES + point) // HALF
            first = ((age * flat.n_block + block) * flat.n_chunk + chunk) * per_chunk
            first += prior.first_alpha * per_alpha
            place = Place(first, per_chunk, per_alpha, per_point, HALF, prior.n_alpha)
        else:
            points = scratch.block
            first = (age * (flat.n_block * BLOCK + 1) + block * BLOCK) * QUANTITIES * flat.n_alpha
            place = interpolate_block(
                flat.nodes, (first + prior.first_alpha) * n_metal, n_metal, prior.n_alpha,
                flat.n_alpha * n_metal, pool, prior.stencil + point, prior.n_point, points,
            )  # fmt: skip
        weights, per_weight = prior.alpha_weight + point, prior.n_point
        if rare is not None and prior.sheared:
            counted = _sweep_sheared(
                flat.n_alpha, points, place, pool, point, prior, obs, inv, chi2, window, scratch
            )
        elif rare is not None and colour and tilted:
            counted = sweep_colour_tilted(
                points, place, pool, weights, per_weight, obs, inv, chi2, window, work, 0
            )
        elif rare is not None and colour:
            counted = sweep_colour(
                points, place, pool, weights, per_weight, obs, inv, chi2, window, work, 0
            )
        elif tilted:
            counted = sweep_tilted(
                points, place, pool, weights, per_weight, obs, inv, chi2, window, work, 0
            )
        else:
            counted = sweep(
                points, place, pool, weights, per_weight, obs, inv, chi2, window, work, 0
            )
        if not counted:
            store(found, point - start, splat(NEVER))
            continue
        nearest = load(work, LEAST * WIDTH)
        store(found, point - start, nearest)
        least = min(least, lowest(nearest))
        w = load(pool, prior.weight + point)
        integral, moment = load(work, INTEGRAL * WIDTH) * w, load(work, MOMENT * WIDTH) * w
        at_feh = prior.feh + point
        f, change = load(pool, at_feh), load(pool, at_feh + prior.n_point)
        variance = load(pool, at_feh + 2 * prior.n_point)
        moved = moment * change
        whole = whole + integral
        first_moment = first_moment + integral * f + moved
        second = second + integral * (f * f + variance) + (moved + moved) * f
        if prior.sheared:  # T_eff and log g tell of z what the prior does not
            of_z = load(work, SECOND * WIDTH) * w * change * change
            second = second + of_z - integral * variance
        magnitude = magnitude + load(work, MAGNITUDE * WIDTH) * w
        square = square + load(work, SQUARE * WIDTH) * w
    if counts:
        totals[0] += total(whole)
        totals[1] += total(first_moment)
        totals[2] += total(second)
        totals[3] += total(magnitude)
        totals[4] += total(square)
    return least


@njit(inline="always")
def _sweep_sheared(  # type: ignore[no-untyped-def]
    n_alpha, points, place, pool, point, prior, obs, inv, chi2, window, scratch
):
    """Sweep along a block as correlated errors shear it."""
    block, work, at = scratch.block, scratch.work, POINTS * QUANTITIES * n_alpha * WIDTH
    place = shear_block(points, place, pool, point, prior, obs, block, at)
    weights, per_weight = at + 2 * POINTS * QUANTITIES * WIDTH, np.int64(WIDTH)
    if inv[3] > _F(0.0):
        return sweep_colour_tilted(
            block, place, block, weights, per_weight, obs, inv, chi2, window, work, 0
        )
    return sweep_tilted(block, place, block, weights, per_weight, obs, inv, chi2, window, work, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def _off_lattice(found, points):  # type: ignore[no-untyped-def]
    """Return the least χ² over metallicity: the lattice does not hit it, but a parabola does."""
    at, best = 0, found[0]
    for k in range(points):
        if found[k] < best:
            at, best = k, found[k]
    if at < 1 or at >= points - 1:
        return best
    before, after = found[at - 1], found[at + 1]
    bend = before - _F(2.0) * best + after
    if max(before, after) >= OUTSIDE or bend <= _F(0.0):  # next to the end of the grid
        return best
    return max(best - _F(0.125) * (after - before) ** 2 / bend, _F(0.0))
