"""What a block of isochrone segments adds to a star's likelihood at one age.

`visit` puts the parts of `segments` together: it interpolates the block once to the star's rows of
[α/Fe], and then sweeps along it for every eight lattice points that may count (a *group*; a few
cells of metallicity, or part of one), once for every pass through the rows.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from migrate_bayes.isochrones.lanes import WIDTH, load, lowest, splat, store, total
from migrate_bayes.isochrones.lattice import MAX_PIECES
from migrate_bayes.isochrones.layout import LARGE, POINTS, QUANTITIES
from migrate_bayes.isochrones.segments import (
    CELLS,
    MAX_NODES,
    PER_QUANTITY,
    at_nodes,
    sweep_4,
    sweep_5,
)

__all__ = ["ALONE", "FOUND", "MAX_ROWS", "PRIOR", "SIGN", "TURNS", "off_lattice", "visit"]

MAX_ROWS = 7
_F = np.float32
_HUGE = _F(1e30)
# Where things are in the scratch array:
PARTS = MAX_PIECES // WIDTH
ALONE = QUANTITIES * PER_QUANTITY  # after the residuals, weights of nodes for a single row
TURNS = ALONE + PARTS * MAX_NODES * WIDTH  # and for two rows that take turns
SIGN = TURNS + PARTS * 2 * MAX_NODES * WIDTH  # +1 for even lattice points, −1 for odd ones
OUT = SIGN + WIDTH  # what `sweep` finds
FOUND = OUT + 2 * WIDTH  # the least χ² at the lattice points of a block
PRIOR = FOUND + (CELLS + 4) * MAX_PIECES  # from here on by lattice point: χ² of the prior, …


@njit(cache=True, nogil=True, error_model="numpy")
def visit(  # type: ignore[no-untyped-def]
    packed, block, n_metal, n_alpha, quantities, k_low, k_high, a_weight, n_rows, obs, inv,
    work, n_point, pieces, passes, discount, n_pass, start, stop, bound, at, least_prior,
    reference, limit, sums,
):  # fmt: skip
    """Add a block.

    Parameters
    ----------
    packed, block, n_metal, n_alpha, quantities, k_low, k_high, a_weight, n_rows, obs, inv
        See `segments.at_nodes`.
    work : numpy.ndarray
        Scratch, laid out as above; from `PRIOR` on χ² of the prior, then by pass the weights, then
        by pass [Fe/H], at each of `n_point` lattice points.
    pieces, passes, n_pass : int, numpy.ndarray, int
        See `lattice.fill_lattice`.
    discount : numpy.ndarray
        By pass, what its weight is worth in χ².
    start, stop : int
        Cells of metallicity that may count, `CELLS` at most.
    bound, at, least_prior : numpy.ndarray, int, numpy.ndarray
        Lower bounds of χ²: that of cell j is ``bound[j * LARGE + at] + least_prior[j]``.
    reference, limit : float32
        See `segments.sweep`.
    sums : numpy.ndarray, shape (4,)
        Filled with the likelihood, its first two moments of [Fe/H], and by how much even and odd
        lattice points differ.

    Returns
    -------
    float32
        The least χ². `FOUND` in `work` has that of each lattice point from cell `start` on.
    """
    in_group = max(WIDTH // pieces, 1)  # cells
    parts = max(pieces // WIDTH, 1)
    n_group = (stop - start + in_group - 1) // in_group
    at_nodes(
        packed, block, n_metal, n_alpha, quantities, start, n_group * in_group + 3,
        k_low, k_high, a_weight, n_rows, obs, inv, work,
    )  # fmt: skip
    whole = first = second = unlike = splat(_F(0.0))
    least = _HUGE
    sign = load(work, SIGN)
    weights_at, feh_at = PRIOR + n_point, PRIOR + (1 + MAX_ROWS) * n_point
    for group in range(n_group):
        cell = start + group * in_group
        lower = _HUGE
        for j in range(cell, min(cell + in_group, stop)):
            lower = min(lower, bound[j * LARGE + at] + least_prior[j])
        for part in range(parts):
            point = cell * pieces + part * WIDTH
            found = FOUND + point - start * pieces
            store(work, found, splat(_HUGE))
            for n in range(n_pass):
                ceiling = limit - discount[n]
                if lower > ceiling:
                    continue
                row, turns = passes[n, 0], passes[n, 0] != passes[n, 1]
                residuals = row * (PER_QUANTITY // MAX_ROWS) + group * in_group * POINTS
                if turns:
                    rows, weights = 2, TURNS + part * 2 * MAX_NODES * WIDTH
                else:
                    rows, weights = 1, ALONE + part * MAX_NODES * WIDTH
                if quantities == QUANTITIES:
                    sweep_5(
                        work, residuals, rows, weights, in_group + 3, PRIOR + point,
                        reference, ceiling, OUT,
                    )  # fmt: skip
                else:
                    sweep_4(
                        work, residuals, rows, weights, in_group + 3, PRIOR + point,
                        reference, ceiling, OUT,
                    )  # fmt: skip
                w = load(work, OUT) * load(work, weights_at + n * n_point + point)
                feh = load(work, feh_at + n * n_point + point)
                whole = whole + w
                first = first + w * feh
                second = second + w * (feh * feh)
                unlike = unlike + w * sign
                nearest = lowest(load(work, OUT + WIDTH))
                least = min(least, nearest)
                for k in range(WIDTH):
                    work[found + k] = min(work[found + k], work[OUT + WIDTH + k])
    sums[0], sums[1], sums[2], sums[3] = total(whole), total(first), total(second), total(unlike)
    return least


@njit(cache=True, nogil=True, error_model="numpy")
def off_lattice(work, points):  # type: ignore[no-untyped-def]
    """Return the least χ² over metallicity: the lattice does not hit it, but a parabola does."""
    at, best = 0, work[FOUND]
    for k in range(points):
        if work[FOUND + k] < best:
            at, best = k, work[FOUND + k]
    if at == 0 or at == points - 1:
        return best
    before, after = work[FOUND + at - 1], work[FOUND + at + 1]
    bend = before - _F(2.0) * best + after
    if max(before, after) >= _HUGE or bend <= _F(0.0):
        return best
    return max(best - _F(0.125) * (after - before) ** 2 / bend, _F(0.0))
