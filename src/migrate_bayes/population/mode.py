"""The maximum of a population model's posterior, and its curvature there.

A quasi-Newton climb, then Newton steps with the Hessian from central differences of the exact
gradient. The inverse Hessian whitens the coordinates for NUTS. In a model with a hierarchical scale
the joint mode is a place to start from, not an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from migrate_bayes.errors import FitError
from migrate_bayes.population.density import PosteriorDensity

__all__ = ["Mode", "find_mode"]


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
        Passes over the stars it took.
    """

    vector: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_density: float
    evaluations: int


def find_mode(
    density: PosteriorDensity, *, tolerance: float = 1e-4, max_iterations: int = 2000
) -> Mode:
    """Climb to the posterior's maximum.

    Parameters
    ----------
    density : PosteriorDensity
    tolerance : float
        Newton decrement (twice the log density still to gain) at which to stop.
    max_iterations : int

    Raises
    ------
    FitError
        Where the density is not finite at the model's initial point.
    """
    before = density.likelihood.evaluations

    def negative(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = density(x)
        return (-value, -gradient) if np.isfinite(value) else (1e300, np.zeros_like(x))

    x = density.start
    if negative(x)[0] >= 1e300:
        raise FitError("the model's log density is not finite at its initial point")
    options = {"maxiter": max_iterations, "maxcor": 60, "ftol": 1e-12, "gtol": 1e-3}
    x = minimize(negative, x, jac=True, method="L-BFGS-B", options=options).x
    for _ in range(8):
        covariance = _positive_inverse(_hessian(negative, x))
        value, gradient = negative(x)
        step = covariance @ gradient
        if gradient @ step < tolerance:
            break
        scale = 1.0
        while scale > 1e-4 and negative(x - scale * step)[0] > value:
            scale *= 0.5
        x = x - scale * step
    evaluations = density.likelihood.evaluations - before
    return Mode(x, covariance, -negative(x)[0], evaluations)


def _hessian(negative, x: NDArray[np.float64], width: float = 1e-4):  # type: ignore[no-untyped-def]
    """Central differences of the gradient, made symmetric."""
    out = np.empty((len(x), len(x)))
    for i in range(len(x)):
        e = np.zeros(len(x))
        e[i] = width
        out[i] = (negative(x + e)[1] - negative(x - e)[1]) / (2 * width)
    return 0.5 * (out + out.T)


def _positive_inverse(hessian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert; a direction of little or negative curvature is given unit variance."""
    values, vectors = np.linalg.eigh(hessian)
    values = np.where(values > 1e-2, values, 1.0)
    return (vectors / values) @ vectors.T
