r"""The maximum of a population model's posterior, and its curvature there.

A quasi-Newton climb on a subset of the stars, then Newton steps on all of them, with

.. math:: x \leftarrow x + (I - H_\mathrm{prior})^{-1} \nabla \ln p(x)

I being the stars' Fisher information from their scores (`population.likelihood.fisher`: positive
at any point, and had with the gradient in one pass) and H_prior the Hessian of the log prior. The
same matrix whitens the coordinates for NUTS. In a model with a hierarchical scale the joint mode is
a place to start from, not an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from migrate_bayes.core.errors import FitError
from migrate_bayes.population.sampling.density import PosteriorDensity

# Stars that the first climb is made on: enough that the rare component's parameters come out near.
_FIRST_STARS = 20_000


@dataclass(frozen=True)
class Mode:
    """A posterior's maximum in unconstrained coordinates.

    Attributes
    ----------
    vector : ndarray, shape (n,)
        Where it is.
    covariance : ndarray, shape (n, n)
        Inverse of the negative Hessian there.
    log_density : float
    evaluations : int
        Passes over the stars it took, those of the subset not counted.
    converged : bool
        Whether the last Newton step had nothing left to gain.
    """

    vector: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_density: float
    evaluations: int
    converged: bool


def find_mode(
    density: PosteriorDensity, *, tolerance: float = 1e-4, max_iterations: int = 500
) -> Mode:
    """Climb to the posterior's maximum.

    Parameters
    ----------
    density : PosteriorDensity
    tolerance : float
        Newton decrement (twice the log density still to gain) at which to stop.
    max_iterations : int
        Of the quasi-Newton climb.

    Raises
    ------
    FitError
        Where the density is not finite at the model's initial point.
    """
    likelihood = density.likelihood
    before = likelihood.evaluations
    x = density.start
    first = density
    if likelihood.n_stars > 2 * _FIRST_STARS:
        first = density.over(likelihood.subset(_FIRST_STARS))
    if not np.isfinite(density(x)[0]):
        raise FitError("the model's log density is not finite at its initial point")
    x = _climb(first, x, max_iterations)
    if first is not density:
        x = _newton(first, x, tolerance).vector
    mode = _newton(density, x, tolerance)
    return Mode(
        mode.vector, mode.covariance, mode.log_density, likelihood.evaluations - before,
        mode.converged,
    )  # fmt: skip


def _climb(
    density: PosteriorDensity, x: NDArray[np.float64], max_iterations: int
) -> NDArray[np.float64]:
    """L-BFGS, until what is left is a matter of a few Newton steps."""

    def negative(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = density(x)
        return (-value, -gradient) if np.isfinite(value) else (1e300, np.zeros_like(x))

    options = {"maxiter": max_iterations, "maxcor": 60, "ftol": 1e-8, "gtol": 1e-2}
    return minimize(negative, x, jac=True, method="L-BFGS-B", options=options).x


def _newton(
    density: PosteriorDensity, x: NDArray[np.float64], tolerance: float, steps: int = 40
) -> Mode:
    """Newton steps with the Fisher information, halved where they would lose."""
    converged = False
    for _ in range(steps):
        log_like, gradient, information = density.information(x)
        prior, prior_gradient = density.prior(x)
        value, gradient = log_like + prior, gradient + prior_gradient
        covariance = _positive_inverse(information - density.prior_hessian(x))
        step = covariance @ gradient
        if gradient @ step < tolerance:
            converged = True
            break
        scale = 1.0
        while scale > 1e-3 and not density(x + scale * step)[0] > value:
            scale *= 0.5
        if scale <= 1e-3:
            break
        x = x + scale * step
    return Mode(x, covariance, value, 0, converged)


def _positive_inverse(hessian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert; a direction of little or negative curvature is given unit variance."""
    values, vectors = np.linalg.eigh(hessian)
    values = np.where(values > 1e-2, values, 1.0)
    return (vectors / values) @ vectors.T
