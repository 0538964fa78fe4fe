r"""From fits one by one to a joint statement: draws that are paired across variants.

Each variant has its own posterior, and the stars say how the variants' estimates vary together
(`migrate_bayes.compare.influence`). `paired_draws` joins the two: the marginals are the posteriors,
untouched; between them stands a Gaussian copula with the correlations :math:`\rho_{AB}` of the
influences. For Gaussian posteriors that is

.. math:: \mathrm{Var}(q_A - q_B) = σ_A^2 + σ_B^2 - 2 \rho_{AB}\, σ_A σ_B ,

and :math:`\rho = 0` would give back the sum in quadrature, which counts the noise of the same stars
twice. What a paired interval holds is how a difference between two *choices* would scatter if the
stars were observed anew; it says nothing of which choice is right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = ["correlation", "paired_draws"]

Array = NDArray[np.float64]


def correlation(covariance: Array) -> Array:
    """Turn a covariance, shape (..., v, v), into correlations; 0 where a variance is 0."""
    sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    scale = sd[..., :, None] * sd[..., None, :]
    rho = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    index = np.arange(rho.shape[-1])
    rho[..., index, index] = 1.0
    return np.clip(rho, -1.0, 1.0)


def paired_draws(marginals: list[Array], rho: Array, *, draws: int, seed: int) -> Array:
    """Draw the variants' values of one quantity jointly.

    Parameters
    ----------
    marginals : list of ndarray
        Posterior draws of the quantity in each variant, in any order.
    rho : ndarray, shape (variant, variant)
        Correlation of the estimates.
    draws : int
    seed : int

    Returns
    -------
    ndarray, shape (variant, draws)
    """
    values, vectors = np.linalg.eigh(rho)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    z = root @ np.random.default_rng(seed).normal(size=(len(rho), draws))
    # Rows of `root` have unit length but for rounding; the marginals must be exactly uniform.
    z /= np.linalg.norm(root, axis=1)[:, None]
    return np.stack(
        [np.quantile(np.ravel(m), ndtr(row)) for m, row in zip(marginals, z, strict=True)]
    )
