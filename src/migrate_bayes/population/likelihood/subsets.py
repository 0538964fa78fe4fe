"""Parts of packed stars: runs of blocks, and stars picked out one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.parallel import BLOCKS_PER_TASK, blocks
from migrate_bayes.population.likelihood.kernel import BLOCK, N_STAR_ROWS
from migrate_bayes.population.likelihood.layout import PackedStars


def run_of_blocks(
    packed: PackedStars, start: int, stop: int
) -> tuple[PackedStars, NDArray[np.int64]]:
    """Take consecutive blocks.

    Parameters
    ----------
    packed : PackedStars
    start, stop : int
        Blocks, as a slice takes them.

    Returns
    -------
    part : PackedStars
        Shares memory with `packed`. Its stars are numbered from 0, in their order in the blocks.
    index : ndarray of int64, shape (n_stars of the part,)
        Their numbers in `packed`.
    """
    star = packed.star[start * BLOCK : stop * BLOCK]
    real = star >= 0
    number = np.full(len(star), -1, dtype=np.int64)
    number[real] = np.arange(int(real.sum()))
    begin = packed.offset[start]
    end = packed.offset[stop] if stop < packed.n_blocks else len(packed.rows)
    part = replace(
        packed,
        rows=packed.rows[begin:end],
        offset=packed.offset[start:stop] - begin,
        first_node=packed.first_node[start:stop],
        n_nodes=packed.n_nodes[start:stop],
        star=number,
        n_stars=int(real.sum()),
    )
    return part, star[real]


def units(packed: PackedStars) -> list[tuple[int, int]]:
    """Cut the blocks into runs of `BLOCKS_PER_TASK`."""
    return blocks(packed.n_blocks, BLOCKS_PER_TASK)


def subsample(packed: PackedStars, stars: int, seed: int) -> NDArray[np.int64]:
    """Pick stars at random, without replacement; all where there are no more than `stars`.

    Returns
    -------
    ndarray of int64
        Their numbers in the packing, increasing; a function of the seed and their number alone.
    """
    if packed.n_stars <= stars:
        return np.arange(packed.n_stars)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(packed.n_stars, size=stars, replace=False))


@dataclass(frozen=True)
class StarArrays:
    """Stars laid out plainly, as `migrate_bayes.population.likelihood.layout.pack` takes them.

    Per star (n,): `radius`, `radius_variance`, `alpha`, `alpha_variance`, `ln_zmax`,
    `ln_zmax_variance`; per star and node (n, n_ages): `log_weight` (-inf where trimmed), `feh`,
    `feh_variance`. What was not observed has `population.likelihood.layout.ABSENT_VARIANCE`.
    """

    radius: NDArray[np.float64]
    radius_variance: NDArray[np.float64]
    alpha: NDArray[np.float64]
    alpha_variance: NDArray[np.float64]
    ln_zmax: NDArray[np.float64]
    ln_zmax_variance: NDArray[np.float64]
    log_weight: NDArray[np.float64]
    feh: NDArray[np.float64]
    feh_variance: NDArray[np.float64]


def unpack(packed: PackedStars, index: NDArray[np.int64]) -> StarArrays:
    """Lay some stars out plainly again.

    Parameters
    ----------
    packed : PackedStars
    index : ndarray of int, shape (n,)
        Which stars, by their number in the packing; the order is kept.
    """
    n = len(index)
    place = np.empty(packed.n_stars, dtype=np.int64)
    real = packed.star >= 0
    place[packed.star[real]] = np.flatnonzero(real)
    columns = np.empty((N_STAR_ROWS, n))
    nodes = np.zeros((3, n, packed.n_ages))
    nodes[0] = -np.inf
    nodes[2] = 1.0
    block, lane = np.divmod(place[index], BLOCK)
    for j in np.unique(block):
        mine = np.flatnonzero(block == j)
        begin, span, first = packed.offset[j], packed.n_nodes[j], packed.first_node[j]
        size = (N_STAR_ROWS + 3 * span) * BLOCK
        rows = packed.rows[begin : begin + size].reshape(-1, BLOCK)[:, lane[mine]]
        columns[:, mine] = rows[:N_STAR_ROWS]
        for q in range(3):
            nodes[q, mine, first : first + span] = rows[N_STAR_ROWS + q :: 3].T
    nodes[0][nodes[0] < -1e4] = -np.inf  # nodes that the block holds and the star does not
    _, radius, e_radius, alpha, e_alpha, ln_zmax, e_zmax = columns
    return StarArrays(radius, e_radius, alpha, e_alpha, ln_zmax, e_zmax, *nodes)
