"""What the age kernels take and fill: named arrays, one entry per star."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Stars(NamedTuple):
    """Observed stars.

    Attributes
    ----------
    values, inverse_error : numpy.ndarray, shape (star, 4)
        T_eff (K), log g (dex), M_G, BP−RP (mag); the inverse error of a missing one is 0.
    feh, alpha : numpy.ndarray, shape (star, 2)
        Mean and standard deviation of [Fe/H] and of [α/Fe], dex.
    """

    values: NDArray
    inverse_error: NDArray
    feh: NDArray[np.float64]
    alpha: NDArray[np.float64]


class AgeLikelihood(NamedTuple):
    """What a kernel fills.

    Attributes
    ----------
    log_like : numpy.ndarray, shape (star, age)
        ln L, without the constants of the observables' Gaussians; ``-inf`` if nothing counts.
    feh_mean, feh_sd : numpy.ndarray, shape (star, age)
        Mean and standard deviation of [Fe/H] at each age, dex.
    chi2 : numpy.ndarray, shape (star,)
        The least χ² over age, mass and composition.
    """

    log_like: NDArray[np.float64]
    feh_mean: NDArray[np.float64]
    feh_sd: NDArray[np.float64]
    chi2: NDArray[np.float64]

    @classmethod
    def empty(cls, n_star: int, n_age: int) -> AgeLikelihood:
        """Return arrays to fill."""
        shape = n_star, n_age
        return cls(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(n_star))
