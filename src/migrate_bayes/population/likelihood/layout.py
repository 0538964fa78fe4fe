"""The stars, packed for the likelihood kernel, and parts of them.

`pack` trims each star's negligible age nodes and cuts the stars into blocks of about the same
nodes, each a run of contiguous rows: the kernel then reads memory in order and needs no index. The
order of the stars given does not change the sum beyond rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.population.likelihood.kernel import BLOCK, N_STAR_ROWS, Blocks, fill_outliers

#: Variance that stands for "not observed": the term then has no slope and a constant value.
ABSENT_VARIANCE = 1e12

# ln weight of an age node that a block holds but a star does not: exp() of it is nothing.
_ABSENT_NODE = -1e5

_ONE_CLASS = np.zeros(1, dtype=np.int64)
_NO_COLUMN = np.empty((1, 0))
_UNKNOWN = np.full(1, np.nan)
_NONE = np.zeros(1)


class StarArrays(NamedTuple):
    """Stars laid out plainly: arrays (n_stars,), and (n_stars, n_ages) from `log_weight` on.

    Guiding radius (kpc); [α/Fe] (dex) and height H, NaN or of `ABSENT_VARIANCE` if not
    observed; ln(age likelihood / interim prior), -inf at trimmed nodes, but not at all of a star's;
    and [Fe/H] at each age (dex), not finite if the age is impossible. Variances are of the errors.
    `radius_class`, int64, is each star's class of today's radius, one if not given, and
    `class_centre`, shape (n_classes,), the mean of that radius in a class (kpc), or NaN.
    `radius_at` and `radius_variance_at`, of no columns if the same at all ages, are the radius if
    the star has an age. `modulus`, mag, is G - M_G, and `height_today` that of today, ln(abs(z) +
    Z_0), NaN if not known. `alpha_rate`, `own_feh` and `own_feh_variance` are ρ, F̂_0 and e_0² of
    "[α/Fe] at an age" in `likelihood.kernel`.
    """

    radius: NDArray[np.floating]
    radius_variance: NDArray[np.floating]
    alpha: NDArray[np.floating]
    alpha_variance: NDArray[np.floating]
    height: NDArray[np.floating]
    height_variance: NDArray[np.floating]
    log_weight: NDArray[np.floating]
    feh: NDArray[np.floating]
    feh_variance: NDArray[np.floating]
    radius_class: NDArray[np.int64] = _ONE_CLASS
    radius_at: NDArray[np.floating] = _NO_COLUMN
    radius_variance_at: NDArray[np.floating] = _NO_COLUMN
    modulus: NDArray[np.floating] = _UNKNOWN
    height_today: NDArray[np.floating] = _UNKNOWN
    class_centre: NDArray[np.floating] = _UNKNOWN
    alpha_rate: NDArray[np.floating] = _NONE
    own_feh: NDArray[np.floating] = _NONE
    own_feh_variance: NDArray[np.floating] = _NONE


@dataclass(frozen=True)
class PackedStars:
    """Stars in the kernel's layout.

    `star`, shape (n_blocks * BLOCK,), is the input star at each position, -1 for the filling of a
    class's last block; `mean_nodes` counts the age nodes kept per star, before filling up;
    `modulus` and `height_today`, shape (n_stars,), and `class_centre`, shape (n_classes,), are
    those of `StarArrays`.
    """

    blocks: Blocks
    star: NDArray[np.int64]
    n_stars: int
    n_ages: int
    mean_nodes: float
    modulus: NDArray[np.floating]
    height_today: NDArray[np.floating]
    class_centre: NDArray[np.floating]

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.blocks.offset)


def _starts(
    n_nodes: NDArray[np.int64], per_node: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Length of each block's rows, and where each begins."""
    size = (N_STAR_ROWS + per_node * n_nodes) * BLOCK
    return size, np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)


def _filled(values: NDArray[np.floating], variance: NDArray[np.floating]) -> tuple:
    """Replace what was not observed by a value of no weight."""
    absent = ~(np.isfinite(values) & np.isfinite(variance))
    return np.where(absent, 0.0, values), np.where(absent, ABSENT_VARIANCE, variance)


def _of_like_span(
    stars: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Order stars so that those of a block have about the same first and last node.

    They are halved, at a whole number of blocks, by whichever of the two differs more, and again: a
    block has to span the nodes of all its stars.
    """
    if len(stars) <= BLOCK:
        return stars
    span = first[stars], last[stars]
    high, low = span if np.ptp(span[0]) > np.ptp(span[1]) else span[::-1]
    # A stable sort of small numbers: the result is a function of the catalogue alone.
    stars = stars[np.argsort((high * 128 + low).astype(np.int16), kind="stable")]
    half = -(-len(stars) // BLOCK) // 2 * BLOCK
    parts = (_of_like_span(part, first, last) for part in (stars[:half], stars[half:]))
    return np.concatenate(list(parts))


def pack(
    stars: StarArrays,
    age_share: NDArray[np.floating],
    *,
    weight: NDArray[np.floating] | None = None,
    trim: float = 1e-7,
) -> PackedStars:
    """Pack stars for the kernel.

    `age_share`, shape (n_ages,), is P(age) of the outliers.
    `weight`, shape (n_stars,), is the multiplicity of each star in the sum, 1 if not given. Age
    nodes whose weight is below the fraction `trim` of the star's highest are left out.
    """
    n_stars, n_ages = stars.log_weight.shape
    feh, feh_variance = stars.feh, stars.feh_variance
    # A node without a metallicity holds no star: its likelihood is nothing as well.
    usable = np.isfinite(feh) & np.isfinite(feh_variance)
    log_weight = np.where(usable, stars.log_weight, -np.inf)
    keep = log_weight >= log_weight.max(axis=1, keepdims=True) + np.log(trim)
    first = keep.argmax(axis=1)
    last = n_ages - 1 - keep[:, ::-1].argmax(axis=1)
    of_class = np.broadcast_to(stars.radius_class, n_stars)
    by_class = (np.flatnonzero(of_class == j) for j in range(int(of_class.max(initial=0)) + 1))
    order = np.concatenate([_of_like_span(mine, first, last) for mine in by_class])
    # Each class fills blocks of its own, the last one up with its last star, of no weight.
    count = np.bincount(of_class) if n_stars else np.zeros(1, dtype=np.int64)
    blocks_of = -(-count // BLOCK)
    place = np.arange(n_stars) + np.repeat(
        np.cumsum(blocks_of * BLOCK) - blocks_of * BLOCK - np.cumsum(count) + count, count
    )
    n_blocks = int(blocks_of.sum())
    star = np.full(n_blocks * BLOCK, -1, dtype=np.int64)
    star[place] = order
    filled = np.maximum.accumulate(np.where(star < 0, 0, np.arange(len(star))))
    source = star[filled].reshape(n_blocks, BLOCK)
    first_node = first[source].min(axis=1).astype(np.int64)
    n_nodes = (last[source].max(axis=1) + 1 - first_node).astype(np.int64)
    of_nodes = [(feh, 0.0), (feh_variance, 1.0)]
    if stars.radius_at.shape[1]:
        of_nodes += [(stars.radius_at, 0.0), (stars.radius_variance_at, 1.0)]
    per_node = 1 + len(of_nodes)
    size, offset = _starts(n_nodes, per_node)
    rows = np.empty(int(size.sum()))

    alpha = _filled(stars.alpha, stars.alpha_variance)
    height = _filled(stars.height, stars.height_variance)
    weight = np.ones(n_stars) if weight is None else weight
    of_alpha = stars.alpha_rate, stars.own_feh, stars.own_feh_variance
    for_all = (np.broadcast_to(column, n_stars) for column in of_alpha)
    columns = (weight, stars.radius, stars.radius_variance, *alpha, *height, *for_all)
    for j in range(n_blocks):
        mine = source[j]
        block = rows[offset[j] : offset[j] + size[j]].reshape(-1, BLOCK)
        for row, column in enumerate(columns):
            block[row] = column[mine]
        nodes = slice(first_node[j], first_node[j] + n_nodes[j])
        here = usable[mine, nodes].T
        of_age = block[N_STAR_ROWS:].reshape(-1, per_node, BLOCK)
        of_age[:, 0] = np.where(keep[mine, nodes], log_weight[mine, nodes], _ABSENT_NODE).T
        for q, (values, absent) in enumerate(of_nodes, 1):
            of_age[:, q] = np.where(here, values[mine, nodes].T, absent)
    block, position = np.divmod(np.flatnonzero(star < 0), BLOCK)
    rows[offset[block] + position] = 0.0
    kept = float(keep.sum() / max(n_stars, 1))
    blocks = Blocks(rows, offset, first_node, n_nodes, of_class[source[:, 0]], per_node)
    fill_outliers(blocks, np.log(np.asarray(age_share, dtype=np.float64)))
    modulus, height_today = (
        np.array(np.broadcast_to(of, n_stars), dtype=np.float32)
        for of in (stars.modulus, stars.height_today)
    )
    n_classes = max(len(stars.class_centre), int(of_class.max(initial=0)) + 1)
    centre = np.full(n_classes, np.nan)
    centre[: len(stars.class_centre)] = stars.class_centre
    return PackedStars(blocks, star, n_stars, n_ages, kept, modulus, height_today, centre)


def unpack(packed: PackedStars, index: NDArray[np.int64]) -> StarArrays:
    """Lay stars out plainly again: those of these numbers in the packing, in this order."""
    n, per_node = len(index), packed.blocks.per_node
    place = np.empty(packed.n_stars, dtype=np.int64)
    real = packed.star >= 0
    place[packed.star[real]] = np.flatnonzero(real)
    columns = np.empty((N_STAR_ROWS, n))
    nodes = np.zeros((per_node, n, packed.n_ages))
    nodes[0] = -np.inf
    nodes[2::2] = 1.0
    block, position = np.divmod(place[index], BLOCK)
    for j in np.unique(block):
        mine = np.flatnonzero(block == j)
        begin, first, span = (int(a[j]) for a in packed.blocks[1:4])
        size = (N_STAR_ROWS + per_node * span) * BLOCK
        rows = packed.blocks.rows[begin : begin + size].reshape(-1, BLOCK)[:, position[mine]]
        columns[:, mine] = rows[:N_STAR_ROWS]
        for q in range(per_node):
            nodes[q, mine, first : first + span] = rows[N_STAR_ROWS + q :: per_node].T
    nodes[0][nodes[0] < 0.1 * _ABSENT_NODE] = -np.inf
    radius_class = packed.blocks.radius_class[block]
    at_age = dict(zip(("radius_at", "radius_variance_at"), nodes[3:], strict=False))
    of_alpha = dict(zip(("alpha_rate", "own_feh", "own_feh_variance"), columns[7:-1], strict=True))
    plain = StarArrays(*columns[1:7], *nodes[:3])._replace(radius_class=radius_class)
    plain = plain._replace(
        modulus=packed.modulus[index], height_today=packed.height_today[index],
        class_centre=packed.class_centre,
    )  # fmt: skip
    return plain._replace(**at_age)._replace(**of_alpha)


def run_of_blocks(
    packed: PackedStars, start: int, stop: int
) -> tuple[PackedStars, NDArray[np.int64]]:
    """Take a run of blocks without copying their rows.

    Its stars are numbered from 0 in their order in the blocks; returns their old numbers too.
    """
    star = packed.star[start * BLOCK : stop * BLOCK]
    rows, offset, first_node, n_nodes, radius_class, per_node = packed.blocks
    begin = offset[start]
    end = offset[stop] if stop < packed.n_blocks else len(rows)
    some = slice(start, stop)
    part = Blocks(
        rows[begin:end], offset[some] - begin, first_node[some], n_nodes[some], radius_class[some],
        per_node,
    )  # fmt: skip
    return _renumbered(packed, part, star), star[star >= 0]


def thinned(packed: PackedStars, n_stars: int) -> PackedStars:
    """Take about `n_stars` of the stars, numbered anew: whole blocks at equal steps.

    Blocks lie in order of class and age, so the sample is stratified in both.
    """
    n_blocks = -(-n_stars // BLOCK)
    if n_blocks >= packed.n_blocks:
        return packed
    take = np.unique(np.linspace(0, packed.n_blocks - 1, n_blocks).round().astype(np.int64))
    rows, begin, first_node, n_nodes, radius_class, per_node = packed.blocks
    size, offset = _starts(n_nodes[take], per_node)
    kept = [rows[o : o + n] for o, n in zip(begin[take], size, strict=True)]
    star = packed.star.reshape(-1, BLOCK)[take].ravel()
    of_blocks = offset, first_node[take], n_nodes[take], radius_class[take]
    part = Blocks(np.concatenate(kept), *of_blocks, per_node)
    return _renumbered(packed, part, star)


def _renumbered(packed: PackedStars, part: Blocks, old: NDArray[np.int64]) -> PackedStars:
    kept, star = old[old >= 0], np.where(old >= 0, np.cumsum(old >= 0) - 1, -1)
    return replace(
        packed, blocks=part, star=star, n_stars=len(kept), modulus=packed.modulus[kept],
        height_today=packed.height_today[kept],
    )  # fmt: skip


def subsample(n_stars: int, stars: int, seed: int) -> NDArray[np.int64]:
    """Pick `stars` of `n_stars` at random, in order, without replacement; all if there are fewer.

    The pick is a function of the seed and the number of stars alone.
    """
    if n_stars <= stars:
        return np.arange(n_stars)
    return np.sort(np.random.default_rng(seed).choice(n_stars, size=stars, replace=False))
