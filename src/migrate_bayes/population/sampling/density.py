"""A population model's log density as a plain function, for optimisers and samplers.

The PyMC model is split at the seam: one compiled function from the raveled unconstrained
parameters x to θ and the log prior, one back from ∂ ln L/∂θ to the gradient; the pass over the
stars runs between them, outside any lock, so that several chains may share one `PosteriorDensity`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import NDArray
from pymc.blocking import DictToArrayBijection
from pymc.pytensorf import join_nonshared_inputs
from pytensor.graph.replace import vectorize_graph

if TYPE_CHECKING:
    import pymc as pm

    from migrate_bayes.population.likelihood.op import Likelihood

Floats = NDArray[np.float64]


class SplitModel(Protocol):
    """A model that is split at θ, as `PopulationModel` is."""

    pymc: pm.Model
    theta: Any
    likelihood: Likelihood


# From this many draws on, a graph over all of them at once is worth its compilation, if that for a
# single draw is interpreted; and so many go through it at a time.
_MANY, _AT_ONCE = 300, 1000


def _interpreted() -> Any:
    """PyTensor's mode for graphs that are ready in seconds and slow at each call."""
    # The rewriting left out makes one sum of all terms of a prior: interpreted PyTensor knows no
    # sum of more than 32.
    return pytensor.compile.mode.get_mode("FAST_COMPILE").excluding("local_add_canonizer")


def _compiled(inputs: Sequence[Any], outputs: Any, mode: Any, example: Sequence[Any]) -> Any:
    """Compile a graph whose results are the same whether it was compiled just now or long ago.

    If PyTensor's numba may reorder additions, a function that another one calls is one thing in
    the process that compiles both and another in one that loads the caller: the last bit of a
    gradient differed between the first run on a machine and all later ones, and so did every draw.
    Numba compiles when the function is first called, so it is called with the `example`.
    """
    with pytensor.config.change_flags(numba__fastmath=False):
        function = pytensor.function(list(inputs), outputs, mode=mode)
        function(*example)
    return function


class _ManyPoints:
    """Functions of x at many points through one interpreted graph, compiled when first used.

    Interpreted PyTensor takes milliseconds for a point, and little longer for a hundred.
    """

    def __init__(self, outputs: Sequence[Any], x: Any) -> None:
        self._outputs, self._x = list(outputs), x

    @cached_property
    def _all(self) -> Any:
        many = pt.dmatrix("points")
        outputs = vectorize_graph(self._outputs, {self._x: many})
        return pytensor.function([many], outputs, mode=_interpreted())

    def __call__(self, points: Floats) -> list[Floats]:
        """Evaluate at points, shape (m, n); each output has m as its leading dimension."""
        # A variable that does not depend on x has no dimension of points.
        return [
            np.broadcast_to(value, (len(points), *value.shape)) if value.ndim == out.ndim else value
            for value, out in zip(self._all(points), self._outputs, strict=True)
        ]


class PosteriorDensity:
    """ln p(x | stars) up to a constant, and its gradient, x being unconstrained.

    PyTensor's default `mode` compiles the graph above the seam for tens of seconds, once, to run in
    tens of microseconds; ``"FAST_COMPILE"`` does the reverse. `start`, shape (`n`,), is the model's
    initial point.
    """

    def __init__(self, population: SplitModel, *, mode: str | None = None) -> None:
        self.model = population
        self.likelihood: Likelihood = population.likelihood
        model = population.pymc
        point = model.initial_point()
        self.start = np.asarray(DictToArrayBijection.map(point).data, dtype=np.float64)
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
        self._mode: Any = mode
        self._thetas = self._slopes = None
        if mode == "FAST_COMPILE":
            self._mode = _interpreted()
            self._thetas = _ManyPoints([theta], x)
            self._slopes = _ManyPoints([pytensor.grad(prior, x)], x)
        self._lock = threading.Lock()
        self._down = _compiled([x], [theta, prior], self._mode, [self.start])
        flat = np.zeros_like(self.theta(self.start))
        self._up = _compiled([x, slope, share], gradient, self._mode, [self.start, flat, 1.0])
        self._names = [str(rv.name) for rv in model.unobserved_RVs]
        self._named_all = _ManyPoints(named, x)
        # A cache is shared by the copies of `over`.
        self._named_one = cache(lambda: _compiled([x], named, self._mode, [self.start]))

    def over(self, likelihood: Likelihood) -> PosteriorDensity:
        """Return the same model, without compiling again, over other stars of the same ages."""
        other = copy.copy(self)
        other.likelihood = likelihood
        return other

    def theta(self, x: Floats) -> Floats:
        """Return the hyperparameters θ at a point, shape (n_components, n_ages, 11)."""
        return self.theta_and_prior(x)[0]

    def back(self, x: Floats, slope: Floats, *, prior: bool) -> Floats:
        """Return ∂(slope · θ)/∂x, with that of the log prior if asked for."""
        with self._lock:
            return np.array(self._up(x, slope, float(prior)))

    def theta_and_prior(self, x: Floats) -> tuple[Floats, float]:
        """Return θ and the log prior of x, change of variables included."""
        with self._lock:
            theta, prior = self._down(x)
            return np.array(theta), float(prior)

    def jacobian(self, x: Floats) -> Floats:
        """Return ∂θ/∂x, shape (n_components, n_ages, 11, n), by central differences (1e-10)."""
        return np.moveaxis(self._differences(self.theta, self._thetas, x, 1e-5), 0, -1)

    def prior_hessian(self, x: Floats, width: float = 1e-4) -> Floats:
        """Return ∂² ln prior / ∂x², shape (n, n), from central differences of its gradient."""
        slope = partial(self.back, slope=np.zeros_like(self.theta(x)), prior=True)
        out = self._differences(slope, self._slopes, x, width)
        return 0.5 * (out + out.T)

    def _differences(
        self, one: Callable[[Floats], Floats], many: _ManyPoints | None, x: Floats, width: float
    ) -> Floats:
        """Central differences of a function, along the first axis; of `many` points if it can."""

        def at(points: Floats) -> Floats:
            if many is None:
                return np.stack([one(point) for point in points])
            with self._lock:
                return np.array(many(points)[0])

        steps = width * np.eye(self.n)
        return (at(x + steps) - at(x - steps)) / (2.0 * width)

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        """Evaluate the log density and its gradient; a pass over the stars."""
        return self.with_likelihood(self.likelihood.value_and_gradient, x)

    def with_likelihood(
        self, of_stars: Callable[[Floats], tuple[float, Floats]], x: Floats
    ) -> tuple[float, Floats]:
        """Evaluate with this function of θ, ln L and its gradient, in place of the likelihood."""
        theta, prior = self.theta_and_prior(x)
        if np.isfinite(theta).all():
            value, slope = of_stars(theta)
            gradient = self.back(x, slope, prior=True)
            if np.isfinite(prior + value) and np.isfinite(gradient).all():
                return prior + value, gradient
        return -np.inf, np.zeros(self.n)

    def named(self, draws: Floats) -> dict[str, Floats]:
        """Carry unconstrained draws, shape (..., n), to every named variable of the model."""
        flat = np.ascontiguousarray(draws, dtype=np.float64).reshape(-1, self.n)
        with self._lock:
            if self._mode is not None and len(flat) >= _MANY:
                starts = range(0, len(flat), _AT_ONCE)
                parts = [self._named_all(flat[i : i + _AT_ONCE]) for i in starts]
                columns = [np.concatenate(part) for part in zip(*parts, strict=True)]
            else:
                one = self._named_one()
                columns = [np.stack(column) for column in zip(*map(one, flat), strict=True)]
        lead = draws.shape[:-1]
        return {
            name: column.reshape(*lead, *column.shape[1:])
            for name, column in zip(self._names, columns, strict=True)
        }
