"""The stars, packed for the likelihood kernel.

`pack` trims each star's negligible age nodes, sorts the stars by the nodes that are left and cuts
them into blocks of equal width, each a run of contiguous rows: the kernel then reads memory in
order and needs no index. The order of the stars given does not change the sum beyond rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.population.likelihood.kernel import BLOCK, N_STAR_ROWS

#: Variance that stands for "not observed": the term then has no slope and a constant value.
ABSENT_VARIANCE = 1e12

# An age node that a block holds but a star does not: exp() of it is nothing.
_ABSENT_NODE = -1e5


@dataclass(frozen=True)
class PackedStars:
    """Stars in the kernel's layout.

    Attributes
    ----------
    rows : ndarray of float64
        Blocks, one after another.
    offset, first_node, n_nodes : ndarray of int64, shape (n_blocks,)
        Start of each block in `rows`, its first age node and the number it spans.
    star : ndarray of int64, shape (n_blocks * BLOCK,)
        Which input star stands at each position; -1 where the last block is filled up.
    n_stars, n_ages : int
        Stars packed, and length of the age axis.
    mean_nodes : float
        Age nodes kept per star, before filling up.
    """

    rows: NDArray[np.float64]
    offset: NDArray[np.int64]
    first_node: NDArray[np.int64]
    n_nodes: NDArray[np.int64]
    star: NDArray[np.int64]
    n_stars: int
    n_ages: int
    mean_nodes: float

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.offset)


def thinned(stars: PackedStars, n_stars: int) -> PackedStars:
    """Take about `n_stars` of the stars: whole blocks at equal steps.

    Blocks lie in order of age, so that the sample is stratified in it. What is left keeps its
    place in the layout but not in the catalogue: `star` counts the stars that were taken.
    """
    n_blocks = -(-n_stars // BLOCK)
    if n_blocks >= stars.n_blocks:
        return stars
    take = np.unique(np.linspace(0, stars.n_blocks - 1, n_blocks).round().astype(np.int64))
    size = (N_STAR_ROWS + 3 * stars.n_nodes[take]) * BLOCK
    offset = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    rows = np.concatenate(
        [stars.rows[o : o + n] for o, n in zip(stars.offset[take], size, strict=True)]
    )
    real = stars.star.reshape(-1, BLOCK)[take].ravel() >= 0
    star = np.where(real, np.cumsum(real) - 1, -1)
    return PackedStars(
        rows, offset, stars.first_node[take], stars.n_nodes[take], star, int(real.sum()),
        stars.n_ages, stars.mean_nodes,
    )  # fmt: skip


def _filled(values: NDArray[np.floating], variance: NDArray[np.floating]) -> tuple:
    """Replace what was not observed by a value of no weight."""
    absent = ~(np.isfinite(values) & np.isfinite(variance))
    return np.where(absent, 0.0, values), np.where(absent, ABSENT_VARIANCE, variance)


def pack(
    *,
    log_weight: NDArray[np.floating],
    feh: NDArray[np.floating],
    feh_variance: NDArray[np.floating],
    radius: NDArray[np.floating],
    radius_variance: NDArray[np.floating],
    alpha: NDArray[np.floating],
    alpha_variance: NDArray[np.floating],
    ln_zmax: NDArray[np.floating],
    ln_zmax_variance: NDArray[np.floating],
    weight: NDArray[np.floating] | None = None,
    trim: float = 1e-7,
) -> PackedStars:
    """Pack stars for the kernel.

    Parameters
    ----------
    log_weight : ndarray, shape (n_stars, n_ages)
        ln(age likelihood / interim prior). At least one node of every star must be finite.
    feh, feh_variance : ndarray, shape (n_stars, n_ages)
        [Fe/H] at each age and its error variance, dex and dex²; not finite where the age is
        impossible.
    radius, radius_variance : ndarray, shape (n_stars,)
        Guiding radius, kpc and kpc².
    alpha, alpha_variance, ln_zmax, ln_zmax_variance : ndarray, shape (n_stars,)
        [α/Fe] (dex) and ln(Z_max / kpc) with variances; NaN where not observed.
    weight : ndarray, shape (n_stars,), optional
        Multiplicity of each star in the sum; 1 where not given.
    trim : float
        Age nodes whose weight is below this fraction of the star's highest are left out.

    Returns
    -------
    PackedStars
    """
    n_stars, n_ages = log_weight.shape
    # A node without a metallicity holds no star: its likelihood is nothing as well.
    usable = np.isfinite(feh) & np.isfinite(feh_variance)
    log_weight = np.where(usable, log_weight, -np.inf)
    keep = log_weight >= log_weight.max(axis=1, keepdims=True) + np.log(trim)
    first = keep.argmax(axis=1)
    last = n_ages - 1 - keep[:, ::-1].argmax(axis=1)
    # Stars of like span side by side waste the least; the original index breaks ties, so the
    # packing is a function of the catalogue alone.
    order = np.lexsort((np.arange(n_stars), last, first))

    n_blocks = -(-n_stars // BLOCK)
    star = np.full(n_blocks * BLOCK, -1, dtype=np.int64)
    star[:n_stars] = order
    source = np.where(star < 0, star[max(n_stars - 1, 0)], star).reshape(n_blocks, BLOCK)
    first_node = first[source].min(axis=1).astype(np.int64)
    n_nodes = last[source].max(axis=1) + 1 - first_node
    size = (N_STAR_ROWS + 3 * n_nodes) * BLOCK
    offset = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    rows = np.empty(int(size.sum()))

    alpha, alpha_variance = _filled(alpha, alpha_variance)
    ln_zmax, ln_zmax_variance = _filled(ln_zmax, ln_zmax_variance)
    weight = np.ones(n_stars) if weight is None else weight
    columns = (weight, radius, radius_variance, alpha, alpha_variance, ln_zmax, ln_zmax_variance)
    for j in range(n_blocks):
        mine = source[j]
        block = rows[offset[j] : offset[j] + size[j]].reshape(-1, BLOCK)
        for row, column in enumerate(columns):
            block[row] = column[mine]
        nodes = slice(first_node[j], first_node[j] + n_nodes[j])
        here = usable[mine, nodes].T
        block[N_STAR_ROWS::3] = np.where(keep[mine, nodes], log_weight[mine, nodes], _ABSENT_NODE).T
        block[N_STAR_ROWS + 1 :: 3] = np.where(here, feh[mine, nodes].T, 0.0)
        block[N_STAR_ROWS + 2 :: 3] = np.where(here, feh_variance[mine, nodes].T, 1.0)
    if n_stars % BLOCK:
        filler = np.arange(n_stars % BLOCK, BLOCK)
        rows[offset[-1] + filler] = 0.0
    kept = float(keep.sum() / max(n_stars, 1))
    return PackedStars(
        rows, offset, first_node, n_nodes.astype(np.int64), star, n_stars, n_ages, kept
    )
