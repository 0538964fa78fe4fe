r"""Isochrones of unresolved pairs: what a survey sees of two stars of one age and composition.

A spectrum is that of the brighter star: T_eff, log g and BP−RP are the primary's, to the accuracy
of surveys. The light is that of both,

.. math:: M_G = M_1 - 2.5 \log_{10}\left(1 + 10^{-0.4\,[M(q m_1) - M_1]}\right)

with M(m) the M_G of initial mass m on the same isochrone; a companion below its least mass gives no
light. Primaries are born in the numbers of single stars.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.isochrones.age_options import Binaries
from migrate_bayes.isochrones.grid import WorkingGrid
from migrate_bayes.isochrones.kernel.grid_layout import Layout, lay_out

#: A companion of a smaller ratio gives less than 0.03 mag to a dwarf or a giant: a single star.
LEAST_RATIO = 0.4
_CLASSES = 6  # of mass ratios above it


def pair_magnitude(
    mass: NDArray[np.floating], abs_g: NDArray[np.floating], ratio: float
) -> NDArray[np.floating]:
    """Return M_G of pairs along one isochrone: `mass` of its points, increasing, and their M_G."""
    companion = np.interp(ratio * mass, mass, abs_g, left=np.inf)
    return abs_g - 2.5 * np.log10(1.0 + 10.0 ** (-0.4 * (companion - abs_g)))


def as_pairs(grid: WorkingGrid, ratio: float) -> WorkingGrid:
    """Return a grid whose stars have companions of so many times their mass."""
    points = grid.points.copy()
    for at in np.ndindex(points.shape[:3]):
        points[at][:, 2] = pair_magnitude(grid.mass[at], points[at][:, 2], ratio)
    return replace(grid, points=points)


def mass_ratios(n: int) -> list[float]:
    """Return the middles of `n` classes of mass ratio above `LEAST_RATIO`."""
    return (LEAST_RATIO + (1.0 - LEAST_RATIO) * (np.arange(n) + 0.5) / n).tolist()


def kinds(grid: WorkingGrid, options: Binaries) -> list[tuple[float, Layout]]:
    """Return ln of the share of single stars and of pairs by mass ratio, and their isochrones."""
    seen = options.share * (1.0 - LEAST_RATIO)
    single = math.log1p(-seen), lay_out(grid)
    if not seen:
        return [single]
    return [single, *((math.log(seen / _CLASSES), pair) for pair in _pairs(grid))]


@lru_cache(maxsize=2)
def _pairs(grid: WorkingGrid) -> list[Layout]:
    return [lay_out.__wrapped__(as_pairs(grid, ratio)) for ratio in mass_ratios(_CLASSES)]
