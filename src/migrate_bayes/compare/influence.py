r"""Influence of each star on a fitted quantity, and covariance of two fits to the same stars.

At the maximum :math:`\hat x` of a variant's posterior, with :math:`H` the negative Hessian there
and :math:`s_i = \partial \ln L_i / \partial x` the score of star *i*, giving the star a little more
weight moves a quantity :math:`q(\hat x)` by its *influence*

.. math:: \psi_i = \nabla q^\top H^{-1} s_i .

If the stars were drawn anew, the estimates of variants A and B would vary together by

.. math::

   \mathrm{Cov}(\hat q_A, \hat q_B) = \sum_i \psi_{iA}\, \psi_{iB}
     = \nabla q_A^\top H_A^{-1} \Bigl(\sum_i s_{iA} s_{iB}^\top\Bigr) H_B^{-1} \nabla q_B ,

the sandwich (Huber 1967; White 1982; for pairs of estimators, Weesie 1999): a star that one variant
leaves out has no influence there. To first order this is what a Poisson bootstrap with the same
weights in all variants gives, at the price of two passes over the stars for each quantity instead
of a refit for each replicate: :math:`\psi_i` is the derivative of :math:`\ln L_i` along the one
direction :math:`H^{-1} \nabla q`.

`paired_draws` joins the variants: the marginals are the posteriors, untouched; between them stands
a Gaussian copula with the correlations :math:`\rho_{AB}` of the influences. For Gaussian posteriors

.. math:: \mathrm{Var}(q_A - q_B) = σ_A^2 + σ_B^2 - 2 \rho_{AB}\, σ_A σ_B ,

and :math:`\rho = 0` would give back the sum in quadrature, which counts the noise of the same stars
twice. A paired interval says how a difference between two *choices* would scatter if the stars were
observed anew; it says nothing of which choice is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from migrate_bayes.population.sampling.density import Mode, PosteriorDensity

Array = NDArray[np.float64]

#: From the model's named values, point by point, to the numbers that are compared.
QuantityMap = Mapping[str, Callable[[Mapping[str, Array]], Array]]

# Displacements in posterior standard deviations: the third derivative is far below, rounding of
# ln L far above, either truncation or cancellation at the level of 1e-6 of the influence.
_STEP = 0.02
_DRAWS = 32  # in pairs about the mode


def quantity_gradient(
    density: PosteriorDensity, mode: Mode, quantities: QuantityMap
) -> tuple[Array, Array]:
    """Return each quantity at the mode, shape (q,), and its gradient in x there, shape (q, n)."""
    sd = np.sqrt(np.diag(mode.covariance))
    points = np.concatenate([[mode.vector], mode.vector + _STEP * np.diag(sd),
                             mode.vector - _STEP * np.diag(sd)])  # fmt: skip
    named = density.named(points)
    values = np.array([take(named) for take in quantities.values()])
    n = density.n
    slope = (values[:, 1 : n + 1] - values[:, n + 1 :]) / (2 * _STEP * sd)
    return values[:, 0], slope


def influence(density: PosteriorDensity, mode: Mode, gradient: Array) -> Array:
    """Return each star's influence on each quantity, shape (n_stars, q), in the data's order.

    `gradient`, shape (q, n), is that of the quantities in x, from `quantity_gradient`.
    """
    sd = np.sqrt(np.diag(mode.covariance))
    out = np.zeros((density.likelihood.n_stars, len(gradient)))
    for k, slope in enumerate(gradient):
        direction = mode.covariance @ slope
        largest = np.max(np.abs(direction) / sd)
        if not largest > 0:  # a quantity that does not depend on the parameters
            continue
        h = _STEP / largest
        above, _ = density.likelihood.per_star(density.theta(mode.vector + h * direction))
        below, _ = density.likelihood.per_star(density.theta(mode.vector - h * direction))
        out[:, k] = (above - below) / (2 * h)
    return out


def log_predictive(density: PosteriorDensity, mode: Mode, *, seed: int) -> Array:
    """Return ln p(star | all other stars), shape (n_stars,), for a posterior Gaussian about a mode.

    p(star | others) is 1 / E[1/L] over the posterior; with ln L normal over it, of mean m and
    variance v, ln of this is m - v/2. Summed over stars, -v/2 counts half the parameters: with
    thousands of stars it is small, and few draws tell it.
    """
    z = np.random.default_rng(seed).normal(size=(_DRAWS // 2, density.n))
    step = np.concatenate([z, -z]) @ np.linalg.cholesky(mode.covariance).T
    mean, square = np.zeros((2, density.likelihood.n_stars))
    for x in mode.vector + step:
        like, _ = density.likelihood.per_star(density.theta(x))
        mean += like / _DRAWS
        square += like**2 / _DRAWS
    return mean - 0.5 * (square - mean**2)


def paired_covariance(ids: list[NDArray], influences: list[NDArray[np.floating]]) -> Array:
    """Return the covariance of the variants' estimates, shape (q, variant, variant).

    Of each variant: the stars' identifiers, shape (n,), and their influences, shape (n, q). It is
    positive semi-definite for every quantity.
    """
    everyone = np.unique(np.concatenate(ids))
    table = np.zeros((influences[0].shape[1], len(ids), len(everyone)))
    for v, (mine, psi) in enumerate(zip(ids, influences, strict=True)):
        table[:, v, np.searchsorted(everyone, mine)] = psi.T
    return np.stack([one @ one.T for one in table])


def correlation(covariance: Array) -> Array:
    """Turn a covariance, shape (..., v, v), into correlations; 0 where a variance is 0."""
    sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    scale = sd[..., :, None] * sd[..., None, :]
    rho = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    index = np.arange(rho.shape[-1])
    rho[..., index, index] = 1.0
    return np.clip(rho, -1.0, 1.0)


def paired_draws(marginals: list[Array], rho: Array, *, draws: int, seed: int) -> Array:
    """Draw the variants' values of one quantity jointly, shape (variant, draws).

    `marginals` are the posterior draws of each variant, in any order; `rho`, shape (variant,
    variant), is the correlation of the estimates.
    """
    values, vectors = np.linalg.eigh(rho)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    z = root @ np.random.default_rng(seed).normal(size=(len(rho), draws))
    # Rows of `root` have unit length but for rounding; the marginals must be exactly uniform.
    z /= np.linalg.norm(root, axis=1)[:, None]
    return np.stack(
        [np.quantile(np.ravel(m), ndtr(row)) for m, row in zip(marginals, z, strict=True)]
    )
