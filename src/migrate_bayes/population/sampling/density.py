r"""A population model's log density as a plain function, its maximum, and NUTS from there.

The PyMC model is split at the seam: one compiled function from the raveled unconstrained
parameters x to θ and the log prior, one back from ∂ ln L/∂θ to the gradient; the pass over the
stars runs between them, outside any lock, so that several chains may share one `PosteriorDensity`.

The maximum is found by a quasi-Newton climb on a subset of the stars, then Newton steps on all of
them, with

.. math:: x \leftarrow x + (I - H_\mathrm{prior})^{-1} \nabla \ln p(x)

I is the Fisher information of the stars from their scores (`likelihood.op`), positive at any point,
and H_prior the Hessian of the log prior. The same matrix whitens the coordinates for NUTS: a
trajectory of a few steps is then enough whatever the units and correlations of the parameters. In a
model with a hierarchical scale the joint mode is a place to start from, not an estimate.

A mixture may have several maxima, of which chains that begin at one see no other. So `find_modes`
climbs from several starts: the model's initial point, the same with the discs' shares exchanged,
and draws from the prior. Maxima are compared by Laplace's approximation to their share of the
evidence, :math:`\ln p(\hat x) + \frac12 \ln |2 π Σ|`, Σ being the covariance at the maximum.
"""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial, reduce
from typing import Any, NamedTuple, Protocol

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray
from pymc.blocking import DictToArrayBijection
from pymc.initial_point import make_initial_point_fn
from pymc.pytensorf import join_nonshared_inputs
from pytensor.graph.replace import vectorize_graph
from scipy.optimize import minimize

from migrate_bayes.core.errors import FitError
from migrate_bayes.population.fit_options import SamplerOptions
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

# Maxima whose evidence differs by more than this, in ln, on `_FIRST_STARS` differ by more on all.
_CLOSE = 20.0

# Stars that the first climb is made on: enough that the rare component's parameters come out near.
_FIRST_STARS = 20_000


def _interpreted() -> Any:
    """PyTensor's mode for graphs that are ready in seconds and slow at each call."""
    # The rewriting left out makes one sum of all terms of a prior.
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
    # The look at each argument takes a fifth of the time; they are float64 arrays.
    function.trust_input = True
    return function


# Where each variable of a graph was made is not looked up, which takes a seventh of the time: only
# PyTensor's messages about a faulty graph would say it.
_UNTRACED = pytensor.config.change_flags(traceback__limit=0)


class _ManyPoints:
    """An interpreted function of x, and of others that are held, at many points; made at first use.

    Interpreted PyTensor takes milliseconds for a point, and little longer for a hundred. The graph
    is the function's own, rewritten already: nothing is left to rewrite, which is what takes time.
    """

    def __init__(self, function: Callable[[], Any], *held: Any) -> None:
        self._function, self._held = function, held

    @cached_property
    @_UNTRACED
    def _all(self) -> Any:
        graph, many = self._function().maker.fgraph.clone(), pt.dmatrix("points")
        held = map(pt.constant, self._held)
        # Shared variables, which are inputs too, come after those of the function.
        replaced = dict(zip(graph.inputs, [many, *held], strict=False))
        mode = pytensor.compile.mode.Mode(linker=_interpreted().linker, optimizer=None)
        outputs = vectorize_graph(graph.outputs, replaced)
        return pytensor.function([many], outputs, mode=mode), [o.ndim for o in graph.outputs]

    def __call__(self, points: Floats) -> list[Floats]:
        """Evaluate at points, shape (m, n); each output has m as its leading dimension."""
        function, ndim = self._all
        # A variable that does not depend on x has no dimension of points.
        return [
            np.broadcast_to(value, (len(points), *value.shape)) if value.ndim == n else value
            for value, n in zip(function(points), ndim, strict=True)
        ]


class PosteriorDensity:
    """ln p(x | stars) up to a constant, and its gradient, x being unconstrained.

    PyTensor's default `mode` compiles the graph above the seam for tens of seconds, once, to run in
    tens of microseconds; ``"FAST_COMPILE"`` does the reverse. `start`, shape (`n`,), is the model's
    initial point.
    """

    @_UNTRACED
    def __init__(self, population: SplitModel, *, mode: str | None = None) -> None:
        self.model = population
        self.likelihood: Likelihood = population.likelihood
        model = population.pymc
        point = model.initial_point()
        self.start = np.asarray(DictToArrayBijection.map(point).data, dtype=np.float64)
        self.n = len(self.start)
        # One after another: interpreted PyTensor knows no sum of more than 32.
        terms = model.logp(vars=[*model.free_RVs, *model.potentials], sum=False)
        prior = reduce(operator.add, [term.sum() for term in terms])
        theta, *named = model.replace_rvs_by_values([population.theta, *model.unobserved_RVs])
        outputs, x = join_nonshared_inputs(
            point, [prior, theta, *named], [model.rvs_to_values[rv] for rv in model.free_RVs]
        )
        prior, theta, *named = outputs
        slope = pt.dtensor3("theta_gradient")
        share = pt.dscalar("share_of_prior")
        gradient = pytensor.grad(share * prior + (theta * slope).sum(), x)
        interpreted = mode == "FAST_COMPILE"
        self._mode: Any = _interpreted() if interpreted else mode
        self._lock = threading.Lock()
        self._down = down = _compiled([x], [theta, prior], self._mode, [self.start])
        flat = np.zeros_like(self.theta(self.start))
        self._up = up = _compiled([x, slope, share], gradient, self._mode, [self.start, flat, 1.0])
        self._names = [str(rv.name) for rv in model.unobserved_RVs]
        # A cache is shared by the copies of `over`.
        self._named_one = cache(lambda: _compiled([x], named, self._mode, [self.start]))
        self._thetas = self._slopes = self._named_all = None
        if interpreted:
            self._thetas = _ManyPoints(lambda: down)
            self._slopes = _ManyPoints(lambda: up, flat, 1.0)
            self._named_all = _ManyPoints(self._named_one)

    def over(self, likelihood: Likelihood) -> PosteriorDensity:
        """Return the same model, without compiling again, over other stars of the same ages."""
        other = copy.copy(self)
        other.likelihood = likelihood
        return other

    def theta(self, x: Floats) -> Floats:
        """Return the hyperparameters θ at a point, shape (n_components, n_ages, n_theta)."""
        return self.theta_and_prior(x)[0]

    def back(self, x: Floats, slope: Floats, *, prior: bool) -> Floats:
        """Return ∂(slope · θ)/∂x, with that of the log prior if asked for."""
        with self._lock:
            return np.array(self._up(x, slope, np.asarray(float(prior))))

    def theta_and_prior(self, x: Floats) -> tuple[Floats, float]:
        """Return θ and the log prior of x, change of variables included."""
        with self._lock:
            theta, prior = self._down(x)
            return np.array(theta), float(prior)

    def jacobian(self, x: Floats) -> Floats:
        """Return ∂θ/∂x, shape (n_components, n_ages, n_theta, n), by differences (1e-10)."""
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
            if self._named_all is not None and len(flat) >= _MANY:
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


class Mode(NamedTuple):
    """A posterior's maximum x, shape (n,), and the inverse of the negative Hessian there.

    `starts` counts the climbs that ended there.
    """

    vector: Floats
    covariance: Floats
    log_density: float
    starts: int = 1

    @property
    def log_evidence(self) -> float:
        """Laplace's approximation to ln of this maximum's share of the evidence."""
        n = len(self.vector)
        volume = np.linalg.slogdet(self.covariance)[1] + n * np.log(2.0 * np.pi)
        return self.log_density + 0.5 * float(volume)


def find_mode(
    density: PosteriorDensity, *, tolerance: float = 1e-4, max_iterations: int = 500
) -> Mode:
    """Climb to a maximum of the posterior from the model's initial point.

    Newton steps end at a Newton decrement (twice the log density still to gain) of `tolerance`;
    `max_iterations` are of the quasi-Newton climb before them.
    """
    first = _few_stars(density)
    x = _climb(first, density.start, max_iterations)
    if first is not density:
        x = _newton(first, x, tolerance).vector
    return _newton(density, x, tolerance)


def find_modes(density: PosteriorDensity, *, starts: int, seed: int) -> list[Mode]:
    """Climb to the posterior's maxima, best evidence first; one if all `starts` agree.

    With very many stars the climbs are made on some of them, and only maxima that these do not
    rule out (`_CLOSE`) are climbed to on all.
    """
    first = _few_stars(density)
    climbed: list[Mode] = []
    for k, start in enumerate(_starting_points(density, starts, seed)):
        if k > 0 and not np.isfinite(first(start)[0]):
            continue  # a draw from the prior may be where no star has a probability
        with np.errstate(all="ignore"):
            # Far from the first maximum its errors are a scale; its correlations lead astray.
            like = np.diag(np.diag(climbed[0].covariance)) if climbed else None
            climbed.append(_newton(first, _climb(first, start, covariance=like), 1e-4))
    found = _distinct(climbed)
    if first is density:
        return found
    close = [m for m in found if m.log_evidence > found[0].log_evidence - _CLOSE]
    return _distinct([_newton(density, m.vector, 1e-4)._replace(starts=m.starts) for m in close])


def _distinct(climbed: list[Mode]) -> list[Mode]:
    """Merge climbs that ended within a standard deviation of each other; best evidence first."""
    found: list[Mode] = []
    for mode in sorted(climbed, key=lambda mode: -mode.log_density):
        for i, other in enumerate(found):
            apart = mode.vector - other.vector
            if apart @ np.linalg.solve(other.covariance, apart) < 1.0:
                found[i] = other._replace(starts=mode.starts + other.starts)
                break
        else:
            found.append(mode)
    return sorted(found, key=lambda mode: -mode.log_evidence)


def _starting_points(density: PosteriorDensity, starts: int, seed: int) -> list[Floats]:
    """Return the initial point, one with the discs' shares exchanged, and draws from the prior."""
    model = density.model.pymc
    point = model.initial_point()
    points = [point]
    if starts > 1:
        share = next((name for name in point if name.startswith("thick_fraction")), None)
        points += [point | {share: -point[share]}] if share else []
        draw = make_initial_point_fn(model=model, default_strategy="prior", return_transformed=True)
        points += [draw(int(k)) for k in np.random.SeedSequence(seed).generate_state(starts)]
    order = list(point)
    raveled = [DictToArrayBijection.map({name: p[name] for name in order}) for p in points[:starts]]
    return [np.asarray(p.data, dtype=np.float64) for p in raveled]


def _few_stars(density: PosteriorDensity) -> PosteriorDensity:
    """The density over as many stars as a first climb needs."""
    if density.likelihood.n_stars <= 2 * _FIRST_STARS:
        return density
    return density.over(density.likelihood.subset(_FIRST_STARS))


def _climb(
    density: PosteriorDensity,
    start: Floats,
    max_iterations: int = 500,
    *,
    covariance: Floats | None = None,
) -> Floats:
    """Climb by quasi-Newton steps until a few Newton steps are enough for the rest.

    They are steps in z, x = start + L z with L Lᵀ the covariance, that of the start if not given:
    fewer than in x, which has directions of very different lengths.
    """
    if not np.isfinite(density(start)[0]):
        raise FitError("the model's log density is not finite at its initial point")

    scale = np.linalg.cholesky(_slopes(density, start)[2] if covariance is None else covariance)

    def negative(z: Floats) -> tuple[float, Floats]:
        value, gradient = density(start + scale @ z)
        return (-value, -scale.T @ gradient) if np.isfinite(value) else (1e300, np.zeros_like(z))

    options = {"maxiter": max_iterations, "maxcor": 60, "ftol": 1e-8, "gtol": 1e-2}
    z = minimize(negative, np.zeros_like(start), jac=True, method="L-BFGS-B", options=options).x
    return start + scale @ z


def _slopes(density: PosteriorDensity, x: Floats) -> tuple[float, Floats, Floats]:
    """Return the density at x, its gradient, and the inverse of the Fisher information."""
    theta, prior = density.theta_and_prior(x)
    log_like, of_stars, information = density.likelihood.score_outer(theta, density.jacobian(x))
    gradient = of_stars + density.back(x, np.zeros_like(theta), prior=True)
    return log_like + prior, gradient, _positive_inverse(information - density.prior_hessian(x))


def _newton(density: PosteriorDensity, x: Floats, tolerance: float, steps: int = 40) -> Mode:
    """Newton steps with the Fisher information, halved if they would lose."""
    for _ in range(steps):
        value, gradient, covariance = _slopes(density, x)
        step = covariance @ gradient
        if gradient @ step < tolerance:
            break
        scale = 1.0
        while scale > 1e-3 and not density(x + scale * step)[0] > value:
            scale *= 0.5
        if scale <= 1e-3:
            break
        x = x + scale * step
    return Mode(x, covariance, value)


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
    thin: int = 1,
    cores: int = 1,
    progressbar: bool = False,
) -> tuple[Floats, xr.Dataset]:
    """Run NUTS on z, x = mode + L z with L Lᵀ the mode's covariance.

    `density` is called from several threads if `cores` > 1. Returns one draw of x in `thin`, shape
    (chains, draws, n), and the sampler's statistics of these draws.
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
        target, draws=options.draws * thin, tune=options.tune, chains=options.chains, cores=cores,
        seed=seed, target_accept=options.target_accept, progress_bar=progressbar,
    )  # fmt: skip
    kept = slice(None, None, thin)
    stats = tree["sample_stats"].to_dataset().isel(draw=kept)
    return tree["posterior"]["x"].values[:, kept], stats.assign_coords(
        draw=np.arange(options.draws)
    )
