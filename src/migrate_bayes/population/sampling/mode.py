r"""The maximum of a population model's posterior, and NUTS (nutpie) from there.

A quasi-Newton climb on a subset of the stars, then Newton steps on all of them, with

.. math:: x \leftarrow x + (I - H_\mathrm{prior})^{-1} \nabla \ln p(x)

I is the Fisher information of the stars from their scores (`likelihood.fisher`), positive at any
point, and H_prior the Hessian of the log prior. The same matrix whitens the coordinates for NUTS: a
trajectory of a few steps is then enough whatever the units and correlations of the parameters. In a
model with a hierarchical scale the joint mode is a place to start from, not an estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import minimize

from migrate_bayes.core.errors import FitError
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.sampling.density import PosteriorDensity

Floats = NDArray[np.float64]

# Stars that the first climb is made on: enough that the rare component's parameters come out near.
_FIRST_STARS = 20_000


class Mode(NamedTuple):
    """A posterior's maximum x, shape (n,), and the inverse of the negative Hessian there."""

    vector: Floats
    covariance: Floats


def find_mode(
    density: PosteriorDensity, *, tolerance: float = 1e-4, max_iterations: int = 500
) -> Mode:
    """Climb to the posterior's maximum.

    Newton steps end at a Newton decrement (twice the log density still to gain) of `tolerance`;
    `max_iterations` are of the quasi-Newton climb before them.
    """
    first, likelihood = density, density.likelihood
    if likelihood.n_stars > 2 * _FIRST_STARS:
        first = density.over(likelihood.subset(_FIRST_STARS))
    if not np.isfinite(density(density.start)[0]):
        raise FitError("the model's log density is not finite at its initial point")
    x = _climb(first, density.start, max_iterations)
    if first is not density:
        x = _newton(first, x, tolerance).vector
    return _newton(density, x, tolerance)


def _climb(density: PosteriorDensity, x: Floats, max_iterations: int) -> Floats:
    """L-BFGS, until a few Newton steps are enough for the rest."""

    def negative(x: Floats) -> tuple[float, Floats]:
        value, gradient = density(x)
        return (-value, -gradient) if np.isfinite(value) else (1e300, np.zeros_like(x))

    options = {"maxiter": max_iterations, "maxcor": 60, "ftol": 1e-8, "gtol": 1e-2}
    return minimize(negative, x, jac=True, method="L-BFGS-B", options=options).x


def _newton(density: PosteriorDensity, x: Floats, tolerance: float, steps: int = 40) -> Mode:
    """Newton steps with the Fisher information, halved if they would lose."""
    for _ in range(steps):
        theta, prior = density.theta_and_prior(x)
        log_like, of_stars, information = density.likelihood.score_outer(theta, density.jacobian(x))
        gradient = of_stars + density.back(x, np.zeros_like(theta), prior=True)
        value = log_like + prior
        covariance = _positive_inverse(information - density.prior_hessian(x))
        step = covariance @ gradient
        if gradient @ step < tolerance:
            break
        scale = 1.0
        while scale > 1e-3 and not density(x + scale * step)[0] > value:
            scale *= 0.5
        if scale <= 1e-3:
            break
        x = x + scale * step
    return Mode(x, covariance)


def _positive_inverse(hessian: Floats) -> Floats:
    """Invert; a direction of little or negative curvature gets unit variance."""
    values, vectors = np.linalg.eigh(hessian)
    values = np.where(values > 1e-2, values, 1.0)
    return (vectors / values) @ vectors.T


def run_nuts(
    density: Callable[[Floats], tuple[float, Floats]],
    mode: Mode,
    options: SamplerOptions,
    *,
    seed: int,
    cores: int = 1,
    progressbar: bool = False,
) -> tuple[Floats, xr.Dataset]:
    """Run NUTS on z, x = mode + L z with L Lᵀ the mode's covariance.

    `density` is called from several threads if `cores` > 1. Returns the draws of x, shape (chains,
    draws, n), and the sampler's statistics.
    """
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    centre, scale, n = mode.vector, np.linalg.cholesky(mode.covariance), len(mode.vector)

    def make_log_density() -> Any:
        def log_density(z: Floats) -> tuple[float, Floats]:
            value, gradient = density(centre + scale @ z)
            return value, scale.T @ gradient

        return log_density

    target = from_pyfunc(
        n, make_log_density, lambda *seeds: lambda z: {"x": centre + scale @ z},
        [np.dtype(np.float64)], [(n,)], ["x"],
        # As dispersed as the posterior itself, by the Gaussian at the mode.
        make_initial_point_fn=lambda seed: np.random.default_rng(seed).normal(size=n),
    )  # fmt: skip
    tree = nutpie.sample(
        target, draws=options.draws, tune=options.tune, chains=options.chains, cores=cores,
        seed=seed, target_accept=options.target_accept, progress_bar=progressbar,
    )  # fmt: skip
    return tree["posterior"]["x"].values, tree["sample_stats"].to_dataset()
