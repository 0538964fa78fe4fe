"""How the likelihood kernel lays isochrones out: in blocks of segments, each with bounds.

A block is a few consecutive segments of an isochrone. What one star needs of a block, at
neighbouring metallicities and [α/Fe], stands together in memory. `Layout` is built once for a grid;
from a block's bounds alone `gap` tells how good a fit it can hold at best, and blocks that cannot
matter are never looked into.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.isochrones.grid import WorkingGrid
from migrate_bayes.isochrones.kernel.cubic import cubic_stencil
from migrate_bayes.isochrones.kernel.lattice import MARGIN, piece_weights
from migrate_bayes.isochrones.kernel.simd import (
    WIDTH,
    broadcast,
    greater,
    load,
    smaller,
    splat,
    store,
)

__all__ = ["BLOCK", "BORN", "LARGE", "POINTS", "QUANTITIES", "READY", "Layout", "gap", "lay_out"]

_ZERO = np.float32(0.0)
_BEND = 0.45  # mag
POINTS = 8  # of a block, which shares its last with the next: one vector register of float32
BLOCK = POINTS - 1  # segments of a block
LARGE = WIDTH  # blocks in a large block
STRIPS = 4  # of a step in [α/Fe], that bounds are taken over
_NOWHERE = np.float32(1e15)  # where blocks are that do not exist
QUANTITIES = 5  # T_eff, log g, M_G, number born, BP−RP: the last is left out where it is not used
READY = 4  # quantities of blocks that are ready: without BP−RP
READY_PIECES = 4  # lattice points of a cell at which they are
IN_GROUP = WIDTH // READY_PIECES  # cells
_MOST_READY = 1.5e9  # bytes
BORN = 3  # place of the number born among them
_PLACE = (0, 1, 2, 4, BORN)  # where the grid's quantities go


class Layout(NamedTuple):
    """A working grid as the kernel wants it.

    Attributes
    ----------
    packed : numpy.ndarray
        float32, shape ``(age, block, QUANTITIES, alpha, metallicity + 2 + MARGIN, POINTS)``.
        Metallicities begin and end with a node more, in line with the last two; what follows is
        only read. The number born after the last
        point of a block is 0 (it is the next block's), and so is that of points that fill up the
        last block.
    ready : numpy.ndarray
        float32, shape ``(age, group, alpha, point, READY, WIDTH)``: T_eff, log g, M_G and the
        number born at the lattice of `READY_PIECES` metallicities a cell, `WIDTH` of them together;
        interpolated once and for all, since a survey's errors all ask for this lattice. Of no age
        where it would be too large.
    small, large : numpy.ndarray
        float32, shapes ``(age, [α/Fe] strip, 2, 4, n / LARGE, cell, LARGE)`` for n blocks, and for
        n large blocks of `LARGE` of them: least and greatest value of each observable anywhere in a
        cell of metallicity and a strip of [α/Fe].
    strips : numpy.ndarray, shape (strip + 1,)
        Where strips end: each step of the grid's [α/Fe] is divided into `STRIPS`.
    metallicity, alpha : numpy.ndarray
        Nodes, float64.
    feh_low, feh_high : float
        Limits of the observed [Fe/H].
    rough : numpy.ndarray, shape (age,)
        Ages at which isochrones of neighbouring [α/Fe] are numbered so unlike that a cubic through
        them bends: more than one in twenty second differences of M_G among dwarfs and subgiants is
        above `_BEND`.
    """

    packed: NDArray[np.float32]
    ready: NDArray[np.float32]
    small: NDArray[np.float32]
    large: NDArray[np.float32]
    strips: NDArray[np.float64]
    metallicity: NDArray[np.float64]
    alpha: NDArray[np.float64]
    feh_low: float
    feh_high: float
    rough: NDArray[np.bool_]


def lay_out(grid: WorkingGrid) -> Layout:
    """Lay a ``fine`` grid out for `kernel.age_likelihood`."""
    if not grid.total_metallicity:
        raise ValueError("the kernel works on the `fine` grid")
    points = grid.points
    n_eep = points.shape[3]
    n_block = (n_eep - 2) // BLOCK + 1
    n_age, n_metal, n_alpha = points.shape[:3]
    shape = (n_age, n_block, QUANTITIES, n_alpha, n_metal + 2 + MARGIN, POINTS)
    packed = np.empty(shape, dtype=np.float32)
    _pack(points, packed)
    packed[..., 0, :] = 2.0 * packed[..., 1, :] - packed[..., 2, :]
    last = 2.0 * packed[..., n_metal, :] - packed[..., n_metal - 1, :]
    packed[..., n_metal + 1 :, :] = last[..., None, :]
    n_group = (n_metal - 2) // IN_GROUP + 1
    size = n_group, n_alpha, n_block * BLOCK + 1, READY, WIDTH
    fits = 4.0 * n_age * np.prod(size) <= _MOST_READY
    ready = np.zeros((n_age if fits else 0, *size), dtype=np.float32)
    between = np.empty((READY_PIECES, 4), dtype=np.float32)
    piece_weights(READY_PIECES, between)
    _make_ready(packed, between, ready)
    n_large = (n_block - 1) // LARGE + 1
    n_huge = (n_large - 1) // LARGE + 1
    strips = _strips(grid.alpha)
    start = (n_age, len(strips) - 1, 2, 4)
    small = np.empty((*start, n_large, n_metal - 1, LARGE), dtype=np.float32)
    large = np.empty((*start, n_huge, n_metal - 1, LARGE), dtype=np.float32)
    _bound(points, grid.metallicity, grid.alpha, strips, small, large)
    return Layout(
        packed, ready, small, large, strips, grid.metallicity, grid.alpha, *grid.feh_range,
        _rough(points),
    )  # fmt: skip


def _strips(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(alpha) == 1:
        return np.array([alpha[0], alpha[0]])
    parts = np.arange(STRIPS) / STRIPS
    return np.append((alpha[:-1, None] + parts * np.diff(alpha)[:, None]).ravel(), alpha[-1])


def _rough(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell at which ages isochrones bend along [α/Fe]; see `Layout`."""
    rough = np.zeros(len(points), dtype=np.bool_)
    if points.shape[2] < 3:
        return rough
    for i, age in enumerate(points):
        middle = age[:, 1:-1]
        used = (middle[..., 1] > 3.8) & (middle[..., 0] > 4500.0) & (middle[..., 4] > 0.0)
        bend = np.abs(np.diff(age[..., 2], n=2, axis=1))[used]
        rough[i] = len(bend) > 0 and np.percentile(bend, 95) > _BEND
    return rough


@njit(cache=True, nogil=True)
def _pack(points, packed):  # type: ignore[no-untyped-def]
    n_age, n_block = packed.shape[:2]
    n_metal, n_alpha, n_eep = points.shape[1:4]
    for i in range(n_age):
        for b in range(n_block):
            for j in range(n_metal):
                for k in range(n_alpha):
                    for p in range(POINTS):
                        e = min(b * BLOCK + p, n_eep - 1)
                        for c in range(QUANTITIES):
                            packed[i, b, _PLACE[c], k, j + 1, p] = points[i, j, k, e, c]
                        if p == BLOCK or b * BLOCK + p >= n_eep - 1:
                            packed[i, b, BORN, k, j + 1, p] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _make_ready(packed, between, ready):  # type: ignore[no-untyped-def]
    n_age, n_group, n_alpha, n_point, _, _ = ready.shape
    n_block = packed.shape[1]
    for i in range(n_age):
        for g in range(n_group):
            for k in range(n_alpha):
                for e in range(n_point):
                    b = min(e // BLOCK, n_block - 1)
                    for c in range(READY):
                        for lane in range(WIDTH):
                            first, t = g * IN_GROUP + lane // READY_PIECES, lane % READY_PIECES
                            total = _ZERO
                            for n in range(4):
                                total += (
                                    between[t, n] * packed[i, b, c, k, first + n, e - b * BLOCK]
                                )
                            ready[i, g, k, e, c, lane] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _departure(axis, at, values):  # type: ignore[no-untyped-def]
    """Bound how far the cubic of `cubic` leaves the straight line from node `at` to the next.

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

    And bound by how much they leave the straight line between: the cubic's second derivative is
    linear in between, and a straight line is off by no more than 1/8 of it and the width squared.
    """
    n_metal, n_alpha, n_eep, _ = points.shape
    low, high = np.empty((3, 4)), np.empty((3, 4))
    for s in range(len(strips) - 1):
        width = strips[s + 1] - strips[s]
        k = cubic_stencil(alpha, strips[s] + 1e-9 * width, low[0], low[1], low[2])
        cubic_stencil(alpha, strips[s + 1] - 1e-9 * width, high[0], high[1], high[2])
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
def _bound(points, metallicity, alpha, strips, small, large):  # type: ignore[no-untyped-def]
    n_age, n_strip, _, _, _, n_cell, _ = small.shape
    n_eep = points.shape[3]
    shape = n_strip, n_cell + 1, 4, n_eep
    left, right, depart = np.empty(shape), np.empty(shape), np.empty(shape)
    low, high = np.empty(n_eep), np.empty(n_eep)
    small[:, :, :] = large[:, :, :] = _NOWHERE
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
                        least, most = np.inf, -np.inf
                        for e in range(b * BLOCK, min(b * BLOCK + POINTS, n_eep)):
                            least, most = min(least, low[e]), max(most, high[e])
                        big, at = b // LARGE, b % LARGE
                        small[i, k, 0, c, big, j, at] = least
                        small[i, k, 1, c, big, j, at] = most
                        huge, big = big // LARGE, big % LARGE
                        if at == 0:
                            large[i, k, 0, c, huge, j, big] = least
                            large[i, k, 1, c, huge, j, big] = most
                        else:
                            least = min(least, large[i, k, 0, c, huge, j, big])
                            most = max(most, large[i, k, 1, c, huge, j, big])
                            large[i, k, 0, c, huge, j, big] = least
                            large[i, k, 1, c, huge, j, big] = most


@njit(cache=True, nogil=True, error_model="numpy")
def gap(  # type: ignore[no-untyped-def]
    bounds, start, length, per_strip, obs, inv, pool, ranges, priors, begin, end, out, least,
    least_at,
):  # fmt: skip
    """Find lower bounds of χ² over `LARGE` blocks.

    Parameters
    ----------
    bounds : numpy.ndarray
        `small` or `large`, flat. Least values, by observable, cell and block, begin at `start`;
        those of an observable are `length` before the next; the greatest values follow.
    length, per_strip : int
        Distance from an observable to the next, and from a strip of [α/Fe] to the next.
    obs, inv : numpy.ndarray, shape (4,)
        Observables and inverse errors.
    pool, ranges, priors : numpy.ndarray, int, int
        The first strip that the star may be in at cell j is at ``ranges + 2 j``, followed by how
        many there are; the least χ² of the prior in the cell is at ``priors + j``.
    begin, end : int
        Cells.
    out : numpy.ndarray
        Filled with the bounds without the prior: cell j's from ``j * LARGE`` on.
    least, least_at : numpy.ndarray, int
        Filled from there on with the least of the bounds with the prior, block by block.
    """
    zero, lowest = splat(_ZERO), splat(_NOWHERE)
    n = 4 if inv[3] > _ZERO else 3
    for j in range(begin, end):
        first, count = int(pool[ranges + 2 * j]), int(pool[ranges + 2 * j + 1])
        total = zero
        for c in range(n):
            at = start + first * per_strip + c * length + j * LARGE
            under, over = load(bounds, at), load(bounds, at + 4 * length)
            for _ in range(1, count):  # boxes joined, not distances
                at += per_strip
                under = smaller(under, load(bounds, at))
                over = greater(over, load(bounds, at + 4 * length))
            x = broadcast(obs, c)
            r = greater(greater(under - x, x - over), zero) * broadcast(inv, c)
            total = total + r * r
        store(out, j * LARGE, total)
        lowest = smaller(lowest, total + broadcast(pool, priors + j))
    store(least, least_at, lowest)
