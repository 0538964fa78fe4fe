"""Memory layout of isochrones for the likelihood kernel: blocks of segments, each with bounds.

A block is a few consecutive segments of an isochrone. What one star needs of a point, at
neighbouring metallicities, stands together in memory. From a block's bounds alone
`lower_bounds` tells how good a fit it can hold; blocks that cannot matter are never looked into.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.isochrones.grid import WorkingGrid
from migrate_bayes.isochrones.kernel.cubic import cubic_stencil
from migrate_bayes.isochrones.kernel.simd import (
    HALF,
    WIDTH,
    broadcast,
    greater,
    load,
    smaller,
    splat,
    store,
)

_ZERO = np.float32(0.0)
POINTS = 8  # of a block, which shares its last with the next
BLOCK = POINTS - 1  # segments of a block
LARGE = WIDTH  # blocks in a large block
STRIPS = 4  # of a step in [α/Fe], that bounds are taken over
_NOWHERE = np.float32(1e15)  # bounds of blocks that do not exist
QUANTITIES = 5  # T_eff, log g, M_G, number born, BP−RP: the last only if a star has it
BORN = 3  # place of the number born among them
_ORDER = (0, 1, 2, 4, 3)  # their places among the grid's
# Isochrones are interpolated once for all stars at so many lattice points of a cell of metallicity.
PIECES = 2
CACHED = 4  # quantities: without BP−RP
_ALPHA_LIMITS = (-0.2, 0.8)  # of a family without an axis, dex


class Layout(NamedTuple):
    """A working grid in the kernel's order, and bounds."""

    #: (age, eep, QUANTITIES, alpha, metallicity), and points beyond the last that have no births,
    #: up to a whole number of blocks
    nodes: NDArray[np.float32]
    #: (age, block, chunk, alpha, POINTS, CACHED, HALF): likewise, without BP−RP, at `PIECES` points
    #: a cell of metallicity, which a survey's errors ask for, in chunks of half a vector's width
    chunks: NDArray[np.float32]
    #: (age, [α/Fe] strip, 2, 4, n / LARGE, cell, LARGE) for n blocks, and for n large blocks of
    #: `LARGE` of them: least and greatest value of each observable anywhere in a cell of
    #: metallicity and a strip of [α/Fe]
    bounds: NDArray[np.float32]
    large_bounds: NDArray[np.float32]
    strips: NDArray[np.float64]  # their ends: each step of [α/Fe] is divided into `STRIPS`
    metallicity: NDArray[np.float64]  # nodes
    alpha: NDArray[np.float64]
    feh_low: float  # limits of the observed [Fe/H]
    feh_high: float
    alpha_low: float  # and of [α/Fe]
    alpha_high: float


class FlatLayout(NamedTuple):
    """The arrays of a `Layout` without their shapes, which a call need not pass on, and sizes."""

    nodes: NDArray[np.float32]
    chunks: NDArray[np.float32]
    bounds: NDArray[np.float32]
    large_bounds: NDArray[np.float32]
    n_block: int
    n_large: int  # large blocks, and rows of `LARGE` of them
    n_row: int
    n_strip: int
    n_cell: int
    n_alpha: int
    n_chunk: int


@njit(cache=True, nogil=True)
def flatten(layout):  # type: ignore[no-untyped-def]
    """Return a layout's `FlatLayout`."""
    _, n_block, n_chunk, n_alpha, _, _, _ = layout.chunks.shape
    _, n_strip, _, _, n_large, n_cell, _ = layout.bounds.shape
    return FlatLayout(
        layout.nodes.reshape(-1), layout.chunks.reshape(-1), layout.bounds.reshape(-1),
        layout.large_bounds.reshape(-1), n_block, n_large, layout.large_bounds.shape[4], n_strip,
        n_cell, n_alpha, n_chunk,
    )  # fmt: skip


@lru_cache(maxsize=4)
def lay_out(grid: WorkingGrid) -> Layout:
    """Lay a ``fine`` grid out for `likelihood.age_likelihood`."""
    if not grid.total_metallicity:
        raise ValueError("the kernel works on the `fine` grid")
    points, alpha = grid.points, grid.alpha
    n_age, n_metal, n_alpha, n_eep, _ = points.shape
    n_block = (n_eep - 2) // BLOCK + 1
    eep = np.minimum(np.arange(n_block * BLOCK + 1), n_eep - 1)
    nodes = np.empty((n_age, len(eep), QUANTITIES, n_alpha, n_metal), dtype=np.float32)
    for i in range(n_age):  # the whole at once would need as much memory again
        nodes[i] = points[i][:, :, eep][..., _ORDER].transpose(2, 3, 1, 0)
    weights = _lattice_weights(grid.metallicity).astype(np.float32)
    n_chunk = len(weights) // HALF
    chunks = np.empty((n_age, n_block, n_chunk, n_alpha, POINTS, CACHED, HALF), dtype=np.float32)
    of_block = BLOCK * np.arange(n_block)[:, None] + np.arange(POINTS)
    for i in range(n_age):
        lattice = (nodes[i, :, :CACHED] @ weights.T)[of_block]
        shape = n_block, POINTS, CACHED, n_alpha, n_chunk, HALF
        chunks[i] = lattice.reshape(shape).transpose(0, 4, 3, 1, 2, 5)
    strips = alpha[[0, 0]]
    if n_alpha > 1:
        parts = np.arange(STRIPS) / STRIPS
        strips = np.append((alpha[:-1, None] + parts * np.diff(alpha)[:, None]).ravel(), alpha[-1])
    n_large = (n_block - 1) // LARGE + 1
    n_row = (n_large - 1) // LARGE + 1
    start = (n_age, len(strips) - 1, 2, 4)
    bounds = np.empty((*start, n_large, n_metal - 1, LARGE), dtype=np.float32)
    large_bounds = np.empty((*start, n_row, n_metal - 1, LARGE), dtype=np.float32)
    _fill_bounds(points, grid.metallicity, alpha, strips, bounds, large_bounds)
    limits = (alpha[0], alpha[-1]) if n_alpha > 1 else _ALPHA_LIMITS
    return Layout(
        nodes, chunks, bounds, large_bounds, strips, grid.metallicity, alpha, *grid.feh_range,
        *limits,
    )  # fmt: skip


def _lattice_weights(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of nodes at points of whole chunks, and a chunk more: (point, node)."""
    n_point = ((len(axis) - 1) * PIECES // HALF + 2) * HALF
    out, four = np.zeros((n_point, len(axis))), np.empty((3, 4))
    for p, weights in enumerate(out):
        first = cubic_stencil(axis, axis[0] + p * (axis[1] - axis[0]) / PIECES, four)
        weights[first : first + 4] = four[0, : len(axis) - first]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _departure(axis, at, values):  # type: ignore[no-untyped-def]
    """Bound how far the cubic leaves the straight line from node `at` to the next.

    A Hermite cubic is the line plus h u (1 − u) [(d₀ − s)(1 − u) − (d₁ − s) u], with slopes d at
    the nodes and s of the line: at most h/4 times the larger difference. The slope at a node mixes
    that of the cell on its other side (width o, slope t) in: d − s = (t − s) h / (h + o).
    """
    h, most = axis[at + 1] - axis[at], 0.0
    s = (values[at + 1] - values[at]) / h
    for other in (at - 1, at + 1):
        if 0 <= other < len(axis) - 1:
            o = axis[other + 1] - axis[other]
            t = (values[other + 1] - values[other]) / o
            most = max(most, abs(t - s) * h / (h + o))
    return 0.25 * h * most


@njit(cache=True, nogil=True, error_model="numpy")
def _at_strips(points, alpha, strips, left, right, depart):  # type: ignore[no-untyped-def]
    """Interpolate one age's isochrones to the two edges of every strip.

    `depart` bounds how far they leave the straight line between: the cubic's second derivative is
    linear there, and a straight line is off by no more than 1/8 of it times the width squared.
    """
    n_metal, n_alpha, n_eep, _ = points.shape
    low, high = np.empty((3, 4)), np.empty((3, 4))
    for s in range(len(strips) - 1):
        width = strips[s + 1] - strips[s]
        k = cubic_stencil(alpha, strips[s] + 1e-9 * width, low)
        cubic_stencil(alpha, strips[s + 1] - 1e-9 * width, high)
        for j in range(n_metal):
            for e in range(n_eep):
                for c in range(4):
                    one = two = bend_one = bend_two = 0.0
                    for m in range(min(4, n_alpha)):
                        x = points[j, k + m, e, c]
                        one += low[0, m] * x
                        two += high[0, m] * x
                        bend_one += low[2, m] * x
                        bend_two += high[2, m] * x
                    left[s, j, c, e], right[s, j, c, e] = one, two
                    bend = max(abs(bend_one), abs(bend_two))
                    depart[s, j, c, e] = 0.125 * width * width * bend


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_bounds(points, metallicity, alpha, strips, bounds, large_bounds):  # type: ignore[no-untyped-def]
    n_age, n_strip, _, _, _, n_cell, _ = bounds.shape
    n_eep = points.shape[3]
    shape = n_strip, n_cell + 1, 4, n_eep
    left, right, depart = np.empty(shape), np.empty(shape), np.empty(shape)
    low, high = np.empty(n_eep), np.empty(n_eep)
    bounds[:] = large_bounds[:] = _NOWHERE
    for i in range(n_age):
        _at_strips(points[i], alpha, strips, left, right, depart)
        for k in range(n_strip):
            for j in range(n_cell):
                for c in range(4):
                    for e in range(n_eep):
                        least, most = left[k, j, c, e], left[k, j, c, e]
                        for x in (left[k, j + 1, c, e], right[k, j, c, e], right[k, j + 1, c, e]):
                            least, most = min(least, x), max(most, x)
                        slack = max(
                            _departure(metallicity, j, left[k, :, c, e]),
                            _departure(metallicity, j, right[k, :, c, e]),
                        )
                        bend = 0.0
                        for m in range(max(j - 1, 0), min(j + 3, n_cell + 1)):
                            bend = max(bend, depart[k, m, c, e])
                        # Between the edges `_departure` itself bends, by half as much at most.
                        slack += 1.5 * bend
                        low[e], high[e] = least - slack, most + slack
                    for b in range((n_eep - 2) // BLOCK + 1):
                        here = slice(b * BLOCK, b * BLOCK + POINTS)
                        least, most = low[here].min(), high[here].max()
                        big, at = b // LARGE, b % LARGE
                        bounds[i, k, 0, c, big, j, at] = least
                        bounds[i, k, 1, c, big, j, at] = most
                        row, big = big // LARGE, big % LARGE
                        if at > 0:
                            least = min(least, large_bounds[i, k, 0, c, row, j, big])
                            most = max(most, large_bounds[i, k, 1, c, row, j, big])
                        large_bounds[i, k, 0, c, row, j, big] = least
                        large_bounds[i, k, 1, c, row, j, big] = most


@njit(cache=True, nogil=True, error_model="numpy")
def lower_bounds(  # type: ignore[no-untyped-def]
    bounds, start, per_quantity, obs, inv, prior, pool, begin, end, chi2, least, least_at
):
    """Find lower bounds of χ² over a row of `LARGE` blocks, or of large blocks.

    `bounds` is one of `FlatLayout`'s, with an age's row from `start` on and so much
    `per_quantity`; `begin` and `end` are cells of metallicity. `chi2` is filled with the bounds
    without the prior, cell j's from ``j * LARGE`` on; `least`, from `least_at` on, with the least
    bound of each block, the prior (a `Prior` in `pool`) included.
    """
    per_strip = 8 * per_quantity
    strips = prior.strips - 2 * prior.first_cell
    least_prior = prior.least_chi2 - prior.first_cell
    zero, lowest = splat(_ZERO), splat(_NOWHERE)
    n = 4 if inv[3] > _ZERO else 3
    for j in range(begin, end):
        first, count = int(pool[strips + 2 * j]), int(pool[strips + 2 * j + 1])
        total = zero
        for c in range(n):
            at = start + first * per_strip + c * per_quantity + j * LARGE
            under, over = load(bounds, at), load(bounds, at + 4 * per_quantity)
            for _ in range(1, count):  # boxes joined, not distances
                at += per_strip
                under = smaller(under, load(bounds, at))
                over = greater(over, load(bounds, at + 4 * per_quantity))
            x = broadcast(obs, c)
            r = greater(greater(under - x, x - over), zero) * broadcast(inv, c)
            total = total + r * r
        store(chi2, j * LARGE, total)
        lowest = smaller(lowest, total + broadcast(pool, least_prior + j))
    store(least, least_at, lowest)
