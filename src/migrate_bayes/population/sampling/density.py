"""A population model's log density as a plain function, for optimisers and samplers.

The PyMC model is split at the seam: one compiled function from the raveled unconstrained
parameters to θ and the log prior, one back from ∂ ln L/∂θ to the gradient; the pass over the stars
runs between them, outside any lock, so that several chains may share one `PosteriorDensity`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.blocking import DictToArrayBijection
from pymc.pytensorf import join_nonshared_inputs

from migrate_bayes.population.sampling.compiled import (
    ManyPoints,
    NamedValues,
    compiled,
    interpreted,
)

if TYPE_CHECKING:
    from migrate_bayes.population.likelihood.op import Likelihood
    from migrate_bayes.population.model.population_model import PopulationModel


class PosteriorDensity:
    """ln p(x | stars) up to a constant, and its gradient, x being unconstrained.

    Parameters
    ----------
    population : PopulationModel
    mode : str, optional
        PyTensor's compilation mode for the graph above the seam. Its default compiles for tens of
        seconds, once, to run in tens of microseconds; ``"FAST_COMPILE"`` does the reverse.

    Attributes
    ----------
    n : int
        Length of x.
    start : ndarray, shape (n,)
        The model's initial point.
    """

    def __init__(self, population: PopulationModel, *, mode: str | None = None) -> None:
        self.model = population
        self.likelihood: Likelihood = population.likelihood
        model = population.pymc
        point = model.initial_point()
        raveled = DictToArrayBijection.map(point)
        self.start = np.asarray(raveled.data, dtype=np.float64)
        self.n = len(self.start)
        others = [p for p in model.potentials if p.name != "stars"]
        prior = model.logp(vars=[*model.free_RVs, *others])
        theta, *named = model.replace_rvs_by_values([population.theta, *model.unobserved_RVs])
        outputs, x = join_nonshared_inputs(
            point, [prior, theta, *named], [model.rvs_to_values[rv] for rv in model.free_RVs]
        )
        prior, theta, *named = outputs
        slope = pt.dtensor3("theta_gradient")
        share = pt.dscalar("share_of_prior")
        gradient = pytensor.grad(share * prior + (theta * slope).sum(), x)
        self._thetas: ManyPoints | None = None
        self._slopes: ManyPoints | None = None
        if mode == "FAST_COMPILE":
            mode = interpreted()
            self._thetas = ManyPoints([theta], x)
            self._slopes = ManyPoints([pytensor.grad(prior, x)], x)
        self._lock = threading.Lock()
        self._down = compiled([x], [theta, prior], mode, [self.start])
        flat = np.zeros_like(self.theta(self.start))
        self._up = compiled([x, slope, share], gradient, mode, [self.start, flat, 1.0])
        self._named = NamedValues([str(rv.name) for rv in model.unobserved_RVs], named, x, mode)

    def over(self, likelihood: Likelihood) -> PosteriorDensity:
        """Return the same model over other stars of the same age nodes.

        Nothing is compiled again: PyTensor compiles for tens of seconds, a fit of some thousand
        stars takes seconds.
        """
        other = copy.copy(self)
        other.likelihood = likelihood
        return other

    def theta(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the hyperparameters θ at a point, shape (n_components, n_ages, 11)."""
        with self._lock:
            return np.array(self._down(x)[0])

    def back(
        self, x: NDArray[np.float64], slope: NDArray[np.float64], *, prior: bool
    ) -> NDArray[np.float64]:
        """Return ∂(slope · θ)/∂x, with that of the log prior where asked for."""
        with self._lock:
            return np.array(self._up(x, slope, float(prior)))

    def theta_and_prior(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Return θ and the log prior of x, change of variables included."""
        with self._lock:
            theta, prior = self._down(x)
            return np.array(theta), float(prior)

    def prior(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Evaluate the log prior of x, change of variables included, and its gradient."""
        theta, prior = self.theta_and_prior(x)
        return prior, self.back(x, np.zeros_like(theta), prior=True)

    def jacobian(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ∂θ/∂x, shape (n_components, n_ages, 11, n), by central differences (1e-10)."""
        steps = 1e-5 * np.eye(self.n)
        up, down = (self._each(self.theta, self._thetas, x + s) for s in (steps, -steps))
        return np.moveaxis(up - down, 0, -1) / 2e-5

    def prior_hessian(self, x: NDArray[np.float64], width: float = 1e-4) -> NDArray[np.float64]:
        """Return ∂² ln prior / ∂x², shape (n, n), from central differences of its gradient."""
        steps = width * np.eye(self.n)
        none = np.zeros_like(self.theta(x))

        def slope(point: NDArray[np.float64]) -> NDArray[np.float64]:
            return self.back(point, none, prior=True)

        up, down = (self._each(slope, self._slopes, x + s) for s in (steps, -steps))
        out = (up - down) / (2.0 * width)
        return 0.5 * (out + out.T)

    def _each(
        self,
        one: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        all_at_once: ManyPoints | None,
        points: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Evaluate at many points: through one interpreted graph where there is one."""
        if all_at_once is None:
            return np.stack([one(x) for x in points])
        with self._lock:
            return np.array(all_at_once(points)[0])

    def information(
        self, x: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Return Σ ln L, its gradient in x and the stars' Fisher information; one pass."""
        return self.likelihood.score_outer(self.theta(x), self.jacobian(x))

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Evaluate the log density and its gradient; a pass over the stars."""
        theta, prior = self.theta_and_prior(x)
        if not np.isfinite(theta).all():
            return -np.inf, np.zeros(self.n)
        value, slope = self.likelihood.value_and_gradient(theta)
        gradient = self.back(x, slope, prior=True)
        total = prior + value
        if not (np.isfinite(total) and np.isfinite(gradient).all()):
            return -np.inf, np.zeros(self.n)
        return total, gradient

    def named(self, draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Carry unconstrained draws, shape (..., n), to every named variable of the model."""
        return self._named(draws)
