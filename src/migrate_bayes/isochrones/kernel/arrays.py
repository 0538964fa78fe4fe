"""What the age kernels take and fill: named arrays, one entry per star."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Stars(NamedTuple):
    """Observed stars."""

    values: NDArray  # (star, 4): T_eff (K), log g (dex), M_G, BP−RP (mag)
    inverse_error: NDArray  # of them; 0 if missing
    feh: NDArray[np.float64]  # (star, 2): mean and standard deviation, dex
    alpha: NDArray[np.float64]  # likewise of [α/Fe]


class AgeLikelihood(NamedTuple):
    """What a kernel fills, by (star, age)."""

    log_like: NDArray[np.float64]  # ln L without the observables' constants; -inf: nothing counts
    feh_mean: NDArray[np.float64]  # dex
    feh_sd: NDArray[np.float64]
    chi2: NDArray[np.float64]  # (star,): the least over age, mass and composition

    @classmethod
    def empty(cls, n_star: int, n_age: int) -> AgeLikelihood:
        """Return arrays to fill."""
        shape = n_star, n_age
        return cls(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(n_star))


class Prior(NamedTuple):
    """One Gaussian of a star's composition on the star's lattice; see `prior.add_prior`.

    The lattice divides each cell of the grid's metallicity φ in `pieces`. At each point the
    Gaussian of [α/Fe] given φ is summed over a few nodes, in *rows*; a *pass* takes one row, or two
    of which even points take the one and odd points the other. Arrays are in a pool of floats that
    many stars share, and this has their places: a compiled function pays for each array that it
    takes out of a tuple.
    """

    pieces: int  # 0 if no isochrone is within reach
    first_cell: int
    end_cell: int  # not included
    likeliest_cell: int  # of the least χ²
    n_row: int
    n_pass: int
    n_point: int
    alternate: bool  # whether two rows share a pass
    precomputed: bool  # whether `Layout.precomputed` has the isochrones at these lattice points
    share: float  # of the mixture that the Gaussian belongs to, not normalised
    spare: float  # variance of [Fe/H], dex², on top of what the lattice shows
    chi2: int  # (point,): of φ
    weight: int  # (pass, point): of the quadrature
    feh: int  # (pass, point): relative to the star's mean, dex
    least_chi2: int  # (cell,)
    discount: int  # (pass,): −2 ln of the weight of a pass
    strips: int  # (cell, 2): the first strip of [α/Fe] of the star, and how many
    #: Weights of the grid's [α/Fe] nodes: (pass, alpha, point) if `precomputed`, else (row, alpha,
    #: node of metallicity), `per_alpha` from one [α/Fe] to the next. And the first node that has
    #: weight, and how many: (pass, group of `WIDTH` points, 2), or (1, 1, 2)
    alpha_weight: int
    alpha_range: int
    per_alpha: int


class Window(NamedTuple):
    """What counts of a likelihood, float32.

    Sums are relative to exp(−`reference`/2), and segments above the χ² `limit` are left out.
    """

    reference: np.float32
    limit: np.float32
