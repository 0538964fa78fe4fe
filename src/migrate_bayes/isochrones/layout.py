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
from migrate_bayes.isochrones.lanes import WIDTH
from migrate_bayes.isochrones.lattice import MARGIN, piece_weights

__all__ = ["BLOCK", "BORN", "LARGE", "POINTS", "QUANTITIES", "READY", "Layout", "gap", "lay_out"]

_ZERO = np.float32(0.0)
_BEND = 0.45  # mag
POINTS = 8  # of a block, which shares its last with the next: one vector register of float32
BLOCK = POINTS - 1  # segments of a block
LARGE = 8  # blocks in a large block
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
        float32, shapes ``(age, alpha cell, 2, 4, large block, cell, LARGE)`` and ``(age,
        alpha cell, 2, 4, cell, large block)``: least and greatest value of each
        observable over a block, or over the `LARGE` blocks of a large one, anywhere in a cell of
        the grid.
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
    start = (n_age, max(n_alpha - 1, 1), 2, 4)
    small = np.empty((*start, n_large, n_metal - 1, LARGE), dtype=np.float32)
    large = np.empty((*start, n_metal - 1, n_large), dtype=np.float32)
    _bound(points, grid.metallicity, grid.alpha, small, large)
    return Layout(
        packed, ready, small, large, grid.metallicity, grid.alpha, *grid.feh_range, _rough(points)
    )


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
                                total += between[t, n] * packed[i, b, c, k, first + n, e - b * BLOCK]
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
def _bound(points, metallicity, alpha, small, large):  # type: ignore[no-untyped-def]
    n_age, n_alpha_cell, _, _, n_large, n_cell, _ = small.shape
    n_eep, n_alpha = points.shape[3], points.shape[2]
    low, high = np.empty((4, n_eep)), np.empty((4, n_eep))
    for i in range(n_age):
        for j in range(n_cell):
            for k in range(n_alpha_cell):
                for e in range(n_eep):
                    for c in range(4):
                        least, most, slack = np.inf, -np.inf, 0.0
                        for dj in range(2):
                            for dk in range(min(n_alpha, 2)):
                                x = points[i, j + dj, k + dk, e, c]
                                least, most = min(least, x), max(most, x)
                        for dk in range(min(n_alpha, 2)):
                            slack = max(
                                slack, _departure(metallicity, j, points[i, :, k + dk, e, c])
                            )
                        if n_alpha > 1:
                            slack += max(
                                _departure(alpha, k, points[i, j, :, e, c]),
                                _departure(alpha, k, points[i, j + 1, :, e, c]),
                            )
                        low[c, e], high[c, e] = least - slack, most + slack
                for c in range(4):
                    for big in range(n_large):
                        all_least, all_most = np.inf, -np.inf
                        for b in range(LARGE):
                            begin = (big * LARGE + b) * BLOCK
                            # A block that is not there is infinitely far away.
                            least, most = np.inf, np.inf
                            if begin < n_eep - 1:
                                most = -np.inf
                                for e in range(begin, min(begin + POINTS, n_eep)):
                                    least, most = min(least, low[c, e]), max(most, high[c, e])
                                all_least, all_most = min(all_least, least), max(all_most, most)
                            small[i, k, 0, c, big, j, b] = least
                            small[i, k, 1, c, big, j, b] = most
                        large[i, k, 0, c, j, big] = all_least
                        large[i, k, 1, c, j, big] = all_most


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz", "nnan"})
def gap(bounds, start, length, per_alpha, k_low, k_high, obs, inv, begin, end, out):  # type: ignore[no-untyped-def]
    """Fill ``out[begin:end]`` with lower bounds of χ² over blocks.

    Parameters
    ----------
    bounds : numpy.ndarray
        `small` or `large`, flat. Least values, by observable and then block, begin at `start`;
        those of an observable are `length` long; the greatest values follow.
    length, per_alpha : int
        Distance from an observable to the next, and from an [α/Fe] cell to the next.
    k_low, k_high : int
        The first and the last [α/Fe] cell that the star may be in.
    obs, inv : numpy.ndarray, shape (4,)
        Observables and inverse errors.
    """
    n, to = np.uint64(end - begin), np.uint64(begin)
    for k in range(k_low, max(k_high, k_low + 1)):
        # Two cells at a time (the same twice where there is one); boxes joined, not distances.
        low = np.uint64(start + k * per_alpha + begin)
        other, step = np.uint64(per_alpha if k_high > k_low else 0), np.uint64(length)
        across = np.uint64(4 * length)
        for b in range(n):
            total = _ZERO
            at = low + b
            for c in range(4):
                x, q = obs[c], inv[c]
                one, two = bounds[at], bounds[at + other]
                least = one if one < two else two
                one, two = bounds[at + across], bounds[at + across + other]
                most = one if one > two else two
                under, over = least - x, x - most
                r = under if under > over else over
                r = (r if r > _ZERO else _ZERO) * q
                total += r * r
                at += step
            if k > k_low:
                total = total if total < out[to + b] else out[to + b]
            out[to + b] = total
