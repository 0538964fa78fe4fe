"""How the likelihood kernel lays isochrones out: in blocks of segments, each with bounds.

A block is a few consecutive segments of an isochrone, stored so that one star's linear combination
of grid nodes runs over contiguous numbers. `lower_bounds` tells, from a block's bounds alone, how
good a fit it can hold at best; blocks that cannot matter are never looked into.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "BLOCK",
    "LARGE",
    "PER_LARGE",
    "POINTS",
    "VALUES",
    "block_bounds",
    "lower_bounds",
    "pack",
]

BLOCK = 16  # segments that share a bounding box
PER_LARGE = 4  # blocks in a large block
LARGE = BLOCK * PER_LARGE
POINTS = BLOCK + 1  # points of a block, which shares its last with the next
VALUES = 5 * POINTS


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def block_bounds(points, feh, alpha, size):  # type: ignore[no-untyped-def]
    """Bound each block of `size` segments at each node of the grid.

    Parameters
    ----------
    points : numpy.ndarray
        As in `WorkingGrid`.
    feh, alpha : numpy.ndarray
        Nodes.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(age, feh, alpha, 16, block)``: least and greatest value of the four
        observables, then the greatest absolute slope in [Fe/H] and in [α/Fe] in the cells about
        the node.
    """
    n_age, n_feh, n_alpha, n_eep, _ = points.shape
    n_block = (n_eep - 2) // size + 1
    out = np.zeros((n_age, n_feh, n_alpha, 16, n_block), dtype=np.float32)
    for i in range(n_age):
        for j in range(n_feh):
            for k in range(n_alpha):
                for b in range(n_block):
                    out[i, j, k, 0:4, b] = np.inf
                    out[i, j, k, 4:8, b] = -np.inf
                    for e in range(b * size, min((b + 1) * size, n_eep - 1) + 1):
                        for c in range(4):
                            x = points[i, j, k, e, c]
                            box = out[i, j, k, :, b]
                            box[c] = min(box[c], x)
                            box[4 + c] = max(box[4 + c], x)
                            for side in (-1, 1):
                                if 0 <= j + side < n_feh:
                                    step = points[i, j + side, k, e, c] - x
                                    slope = abs(step / (feh[j + side] - feh[j]))
                                    box[8 + c] = max(box[8 + c], slope)
                                if 0 <= k + side < n_alpha:
                                    step = points[i, j, k + side, e, c] - x
                                    slope = abs(step / (alpha[k + side] - alpha[k]))
                                    box[12 + c] = max(box[12 + c], slope)
    return out


def pack(points, feh, alpha):  # type: ignore[no-untyped-def]
    """Lay a grid out for `age_likelihood`.

    Returns
    -------
    packed : numpy.ndarray
        `points` as ``(age, feh, alpha, value)``: block by block, the quantities of a block's points
        one after the other. The last block is filled up with points that no star is born at.
    small, large : numpy.ndarray
        `block_bounds` of the blocks and of the large blocks.
    """
    n_eep = points.shape[3]
    padding = -(n_eep - 1) % BLOCK
    whole = np.pad(points, [(0, 0)] * 3 + [(0, padding), (0, 0)], mode="edge")
    whole[..., n_eep - 1 :, 4] = 0.0
    n_block = (n_eep + padding - 1) // BLOCK
    index = BLOCK * np.arange(n_block)[:, None] + np.arange(POINTS)
    packed = whole[:, :, :, index].swapaxes(-1, -2).reshape(*points.shape[:3], -1)
    packed = np.ascontiguousarray(packed)
    return packed, *(block_bounds(points, feh, alpha, size) for size in (BLOCK, LARGE))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def lower_bounds(  # type: ignore[no-untyped-def]
    bounds, i, start, stop, nodes_f, mean_f, n_f, nodes_a, mean_a, n_a,
    obs, inv, sd_f, sd_a, per_alpha, work, out, row,
):  # fmt: skip
    """Fill ``out[row, start:stop]`` with lower bounds of χ² over those blocks of age `i`.

    With G = (s_f F, s_a A)/σ, χ² = rᵀ(1 + GGᵀ)⁻¹r is at least |r|²/(1 + |G|²) and, for every
    observable alone, rᵢ²/(1 + |Gᵢ|²). Loops run over blocks innermost, to be vectorised.
    """
    for c in range(16):
        for b in range(start, stop):
            work[c, b] = 0.0
    for jf in range(n_f):
        for ja in range(n_a):
            f, a = nodes_f[jf], nodes_a[ja]
            w = mean_f[jf] * mean_a[ja]
            # A negative weight (beyond the last node) swaps least and greatest.
            swap = 4 if w < 0.0 else 0
            for c in range(8):
                for b in range(start, stop):
                    work[c, b] += w * bounds[i, f, a, c ^ swap, b]
            for c in range(8, 16):
                for b in range(start, stop):
                    work[c, b] = max(work[c, b], bounds[i, f, a, c, b])
    # Rows 16-18: sum of squares, best single square, one plus the sum of squared slopes.
    for b in range(start, stop):
        work[16, b], work[17, b], work[18, b] = 0.0, 0.0, 1.0
    for c in range(4):
        x, q = obs[c], inv[c]
        qf, qa = sd_f * q, sd_a * q
        for b in range(start, stop):
            by_f = qf * work[8 + c, b]
            by_a = qa * (work[12 + c, b] + per_alpha * work[8 + c, b])
            r = max(max(work[c, b] - x, x - work[4 + c, b]), 0.0) * q
            g = by_f * by_f + by_a * by_a
            work[16, b] += r * r
            work[18, b] += g
            work[17, b] = max(work[17, b], r * r / (1.0 + g))
    for b in range(start, stop):
        out[row, b] = max(work[16, b] / work[18, b], work[17, b])
