r"""The posterior of very many stars: draws from a surrogate, weighted to the true likelihood.

1. Surrogate: the gradient and the Fisher information of the stars at the posterior's maximum, in
   coordinates in which their likelihood is nearly Gaussian.
2. NUTS on prior × surrogate, which costs no pass over the stars. The prior is the model's own: a
   hierarchical scale and its funnel are sampled, not approximated.
3. A pilot: one pass over the stars for each of some draws; the surrogate is fitted again to the
   gradients met there.
4. NUTS again, and for each draw a pass, for the value alone, and a weight :math:`w = L / \tilde L`,
   Pareto-smoothed (Vehtari et al. 2024, JMLR 25, 72). If the shape of the weights' tail, k̂, is
   above `MAX_PARETO_K`, the surrogate is fitted once more, to gradients at some of these draws too,
   and the step repeated.

The draws are then resampled, in order and in proportion to their weights: they are equal, and their
autocorrelation shows what the weights have cost.

*Coordinates.* In a model's own parameters the likelihood is not Gaussian: a hierarchical scale and
what it scales enter θ as a product. In θ itself, in natural units, it nearly is: with the
(component, age) table of numbers

.. math::

   η = (\ln P - \overline{\ln P},\; μ,\; \ln σ^2,\; Z,\; G,\; \ln s^2,\; a,\; b,\; \ln t^2,\;
   m,\; \ln q^2)

the likelihood is smooth in η, whatever model stands above it. The mean of ln P is over the discs;
for outliers η has P itself, of which there may be none. A model reaches a few dozen of the
many directions: those that its posterior moves in span

.. math:: η = η_0 + D U φ, \qquad φ = U^T D^{-1} (η - η_0)

with D the posterior's spread of each number and U orthonormal. Most models are linear in between
(values at knots, splines), and then this is exact.

*Surrogate.* About a centre,

.. math::

   \ln \tilde L(φ) = c \cdot d - \tfrac{1}{2} d^T A d, \qquad d = φ - \bar φ, \qquad
   \nabla \ln \tilde L = c - A d

A pass over the stars gives as many slopes as there are coordinates: a hundred passes fix A many
times over, and over the posterior's whole width, not at a point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.progress import progress
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.likelihood.theta import THETA, first_columns
from migrate_bayes.population.results.diagnostics import MAX_PARETO_K, MIN_ESS_PER_CHAIN
from migrate_bayes.population.sampling.density import Mode, PosteriorDensity, run_nuts

Floats = NDArray[np.float64]

# Passes of the pilot, and of each repeat; each gives as many slopes as there are coordinates.
_PILOT = 100
# Star visits to spend on weights: 1,538 passes over 1.3 million stars, one or two minutes.
_VISITS = 2.0e9
_FEWEST = 800
# Fewer weights than this have no tail to judge.
_LEAST = 100
# Repeats of the last step before the surrogate is given up.
_ROUNDS = 3
# k̂ of a surrogate that no repeat mends.
_HOPELESS = 2.0
# Batches of draws to weight at most: another is made if the weights are so uneven that too few
# equal draws would be left.
_BATCHES = 4
# Draws of the surrogate for each that is wanted, at least: they cost no pass, and those that are
# weighted are then all but independent.
_THIN = 2
# Ridge that pulls the fitted curvature to the earlier one; the points' own spread is 1.
_RIDGE = 1e-3

# Classes of today's radius that tell φ.
_TELLING = 8

_LOG = [THETA.index(name) for name in ("sigma2", "s2", "t2", "q2")]


def _columns(theta: Floats) -> tuple[list[int], list[int]]:
    """Return the columns of ln P and of variances, those of further classes too."""
    first = first_columns(theta)
    return first.tolist(), [*_LOG, *(int(at) + 2 for at in first[1:])]


def natural(theta: Floats) -> Floats:
    """Return η, the same shape as θ."""
    eta = np.array(theta)
    weight, log = _columns(theta)
    eta[..., log] = np.log(theta[..., log])
    eta[:2, :, weight] -= eta[:2, :, weight].mean(axis=(0, 1))
    eta[2:, :, weight] = np.exp(theta[2:, :, weight])
    return eta


def _shares(theta: Floats, weight: list[int]) -> tuple[Floats, Floats, Floats]:
    """Return P of discs given that a star is of one, P of outliers, and the share of discs."""
    discs, outliers = np.exp(theta[:2, :, weight]), np.exp(theta[2:, :, weight])
    rest = discs.sum(axis=(0, 1))
    return discs / rest, outliers, rest


def natural_gradient(theta: Floats, gradient: Floats) -> Floats:
    """Turn ∂f/∂θ into ∂f/∂η, the weights kept normalised: Σ P = 1 for any η."""
    out = np.array(gradient)
    weight, log = _columns(theta)
    out[..., log] *= theta[..., log]
    of_disc, of_outliers, rest = _shares(theta, weight)
    total = gradient[:2, :, weight].sum(axis=(0, 1))
    out[:2, :, weight] -= of_disc * total
    out[2:, :, weight] = gradient[2:, :, weight] / of_outliers - total / rest
    return out


def _over(values: Floats, spread: Floats) -> Floats:
    """Divide; 0 if there is no spread."""
    return np.divide(values, spread, out=np.zeros_like(values), where=spread > 0)


class Coordinates(NamedTuple):
    """The subspace of η that a posterior moves in: η_0, D (0 if θ is fixed), U.

    Shapes (n_components, n_ages, n_theta), the same, and (n_components * n_ages * n_theta, n). φ is
    told by some of the numbers of η, `rows`, by least squares: `inverse`, shape (n, n_rows).
    """

    origin: Floats
    spread: Floats
    directions: Floats
    rows: NDArray[np.int64]
    inverse: Floats

    @classmethod
    def spanning(cls, centre: Floats, thetas: Floats, *, tolerance: float = 3e-5) -> Coordinates:
        """Find the subspace about θ = `centre` that θ at many points of the posterior lies in.

        Directions in which the points spread by less than `tolerance` times the widest are left
        out.
        """
        origin = natural(centre)
        moved = np.stack([natural(theta) for theta in thetas]) - origin
        spread = np.sqrt(np.mean(moved**2, axis=0))
        spread[spread < 1e-12] = 0.0
        scaled = _over(moved, spread).reshape(len(thetas), -1)
        _, size, axes = np.linalg.svd(scaled, full_matrices=False)
        directions = np.ascontiguousarray(axes[size > tolerance * size[0]].T)
        # Laws change with the class by powers of today's radius: a few classes tell the others.
        first = first_columns(centre)
        told = np.linspace(0, len(first) - 1, _TELLING).round().astype(np.int64)
        tells = spread > 0.0
        for at in np.delete(first, told):
            tells[..., at : at + 3] = False
        rows = np.flatnonzero(tells)
        return cls(origin, spread, directions, rows, np.linalg.pinv(directions[rows]))

    @property
    def n(self) -> int:
        """Number of directions."""
        return self.directions.shape[1]

    def of(self, theta: Floats) -> Floats:
        """Return φ at θ."""
        moved = natural(theta).ravel()[self.rows] - self.origin.ravel()[self.rows]
        return self.inverse @ (moved / self.spread.ravel()[self.rows])

    def gradient(self, theta: Floats, slope: Floats) -> Floats:
        """Turn ∂f/∂θ into ∂f/∂φ."""
        return self.directions.T @ (natural_gradient(theta, slope) * self.spread).ravel()

    def pullback(self, theta: Floats, slope: Floats) -> Floats:
        """Turn ∂f/∂φ into ∂f/∂θ, f being a function of φ(θ)."""
        out = np.zeros_like(theta)
        out.ravel()[self.rows] = (slope @ self.inverse) / self.spread.ravel()[self.rows]
        weight, log = _columns(theta)
        out[..., log] /= theta[..., log]
        out[:2, :, weight] -= out[:2, :, weight].mean(axis=(0, 1))
        out[2:, :, weight] *= np.exp(theta[2:, :, weight])
        return out

    def jacobian(self, theta: Floats) -> Floats:
        """Return ∂θ/∂φ at θ, shape (n_components, n_ages, n_theta, n)."""
        out = (self.spread.reshape(-1, 1) * self.directions).reshape(*theta.shape, self.n)
        weight, log = _columns(theta)
        out[..., log, :] *= theta[..., log, None]
        of_disc, of_outliers, rest = _shares(theta, weight)
        lost = out[2:, :, weight].sum(axis=(0, 1)) / rest[:, None]
        mean = np.einsum("ckj,ckjx->jx", of_disc, out[:2, :, weight])
        out[:2, :, weight] -= mean + lost
        out[2:, :, weight] /= of_outliers[..., None]
        return out


class Surrogate(NamedTuple):
    """ln L up to a constant, as a quadratic in φ: centre and slope c (n,), curvature A (n, n)."""

    centre: Floats
    slope: Floats
    curvature: Floats

    def __call__(self, phi: Floats) -> tuple[float, Floats]:
        """Return the value and its gradient."""
        d = phi - self.centre
        bend = self.curvature @ d
        return float(self.slope @ d - 0.5 * d @ bend), self.slope - bend


def surrogate_density(
    density: PosteriorDensity, coordinates: Coordinates, surrogate: Surrogate
) -> Callable[[Floats], tuple[float, Floats]]:
    """Return ln(prior × surrogate likelihood) of x, with its gradient: no pass over the stars."""

    def of_stars(theta: Floats) -> tuple[float, Floats]:
        value, slope = surrogate(coordinates.of(theta))
        return value, coordinates.pullback(theta, slope)

    return lambda x: density.with_likelihood(of_stars, x)


def fit_surrogate(phi: Floats, gradient: Floats, earlier: Surrogate) -> Surrogate:
    r"""Fit a surrogate to gradients ∂ ln L/∂φ at m points, both of shape (m, n).

    With both centred and φ whitened to ψ by the points' covariance, the symmetric A that minimises
    :math:`\sum |γ + A ψ|^2 + λ m |A - A_0|^2` over the points solves
    :math:`S A + A S + 2 λ m A = -(K + K^T) + 2 λ m A_0`, :math:`S = \sum ψψ^T`,
    :math:`K = \sum γ ψ^T`: a division in S's own axes. A_0 is the curvature of the `earlier`
    surrogate, which holds where the points say little.
    """
    m, n = phi.shape
    centre, mean = phi.mean(axis=0), gradient.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(phi.T).reshape(n, n))
    sd = np.sqrt(np.maximum(values, max(values.max(), 1e-300) * 1e-12))
    psi = (phi - centre) @ vectors / sd
    gamma = (gradient - mean) @ vectors * sd
    before = sd[:, None] * (vectors.T @ earlier.curvature @ vectors) * sd
    size, axes = np.linalg.eigh(psi.T @ psi)
    pull = gamma.T @ psi
    right = -(pull + pull.T) + 2.0 * _RIDGE * m * before
    bent = (axes.T @ right @ axes) / (size[:, None] + size + 2.0 * _RIDGE * m)
    curvature = axes @ bent @ axes.T
    # The likelihood may curve upwards somewhere; a surrogate that does has no maximum.
    values, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
    curvature = (axes * np.maximum(values, 0.0)) @ axes.T
    curvature = (vectors / sd) @ curvature @ (vectors / sd).T
    return Surrogate(centre, mean, curvature)


def passes_for(n_stars: int, wanted: int) -> int:
    """Return how many draws to weight: those wanted, or what many stars allow; at least 100."""
    return max(_LEAST, min(wanted, max(_FEWEST, int(_VISITS / n_stars))))


def pareto_weights(log_ratio: Floats) -> tuple[Floats, float]:
    """Return normalised Pareto-smoothed log weights and k̂."""
    from arviz_stats.base import array_stats

    if np.ptp(log_ratio) < 1e-9:  # no tail to fit: there is nothing to correct
        return np.full(len(log_ratio), -np.log(len(log_ratio))), 0.0
    # ArviZ takes the logarithm of one over the weight, as in leave-one-out.
    log_weight, k = array_stats.psislw(-log_ratio)
    return np.asarray(log_weight), float(k)


def effective_size(log_weight: Floats) -> float:
    """Return (Σ w)² / Σ w²: of how many equal draws the weighted ones are worth."""
    return float(np.exp(-np.logaddexp.reduce(2.0 * log_weight)))


def _pilot(
    density: PosteriorDensity, coordinates: Coordinates, draws: Floats
) -> tuple[Floats, Floats]:
    """Return φ and the slopes of ln L at some of the draws (m, n), a pass each."""
    some = draws[:: max(1, len(draws) // _PILOT)]
    phi, slopes = np.empty((2, len(some), coordinates.n))
    with progress(len(some), "pilot passes", unit="draws") as advance:
        for i, x in enumerate(some):
            theta = density.theta(x)
            _, slope = density.likelihood.value_and_gradient(theta)
            phi[i], slopes[i] = coordinates.of(theta), coordinates.gradient(theta, slope)
            advance(1)
    return phi, slopes


def _log_ratio(
    density: PosteriorDensity, coordinates: Coordinates, surrogate: Surrogate, draws: Floats
) -> Floats:
    """Return ln(L / surrogate) at draws (m, n), a pass each."""
    out = np.empty(len(draws))
    with progress(len(draws), "weighting draws", unit="draws") as advance:
        for i, x in enumerate(draws):
            theta = density.theta(x)
            out[i] = density.likelihood.value(theta) - surrogate(coordinates.of(theta))[0]
            advance(1)
    return out


def sample_surrogate(
    density: PosteriorDensity, mode: Mode, options: SamplerOptions, *, seed: int
) -> tuple[Floats, xr.Dataset, dict[str, float]]:
    """Sample a posterior, of which `mode` is the maximum, by surrogate and importance weights.

    Returns equal draws of the unconstrained x, shape (chains, draws, n), fewer than `options` asks
    for if there are very many stars; NUTS's statistics of the draws before resampling, with
    `log_weight`; and k̂, (Σ w)² / Σ w², the spread of ln(L / surrogate) over the draws and the
    repeats of the last step.
    """
    chains = options.chains
    theta = density.theta(mode.vector)
    # The coordinates hold what the model can do within its posterior.
    z = np.random.default_rng([seed, 1]).normal(size=(4 * density.n + 20, density.n))
    points = mode.vector + z @ np.linalg.cholesky(mode.covariance).T
    thetas = np.stack([density.theta(x) for x in points])
    usable = np.isfinite(thetas).all(axis=(1, 2, 3))
    coordinates = Coordinates.spanning(theta, thetas[usable])
    _, slope, information = density.likelihood.score_outer(theta, coordinates.jacobian(theta))
    surrogate = Surrogate(np.zeros(coordinates.n), slope, information)
    phi = slopes = np.empty((0, coordinates.n))
    per_chain = -(-passes_for(density.likelihood.n_stars, options.draws * chains) // chains)
    thin = max(_THIN, _THIN * options.draws // per_chain)

    def nuts(n: int, k: int) -> tuple[Floats, xr.Dataset]:
        target = surrogate_density(density, coordinates, surrogate)
        few = SamplerOptions.of(options, {"draws": n})
        return run_nuts(target, mode, few, seed=seed + k, thin=thin)

    x, _ = nuts(-(-_PILOT // chains), 0)
    for round_ in range(1, _ROUNDS + 1):
        new_phi, new_slopes = _pilot(density, coordinates, x.reshape(-1, density.n))
        phi, slopes = np.concatenate([phi, new_phi]), np.concatenate([slopes, new_slopes])
        surrogate = fit_surrogate(phi, slopes, surrogate)
        x, stats = nuts(per_chain, round_)
        flat = x.reshape(-1, density.n)
        ratio = _log_ratio(density, coordinates, surrogate, flat)
        log_weight, k = pareto_weights(ratio)
        if k <= MAX_PARETO_K or k > _HOPELESS:
            break
    batches, enough = 1, MIN_ESS_PER_CHAIN * min(chains, flat.shape[0] // MIN_ESS_PER_CHAIN)
    while k <= MAX_PARETO_K and effective_size(log_weight) < enough and batches < _BATCHES:
        more, more_stats = nuts(per_chain, _ROUNDS + batches)
        x, stats = np.concatenate([x, more], axis=1), xr.concat([stats, more_stats], "draw")
        new = _log_ratio(density, coordinates, surrogate, more.reshape(-1, density.n))
        ratio = np.concatenate([ratio.reshape(chains, -1), new.reshape(chains, -1)], axis=1).ravel()
        flat, batches = x.reshape(-1, density.n), batches + 1
        log_weight, k = pareto_weights(ratio)
    weight = np.exp(log_weight)
    equal = flat[resample(weight, np.random.default_rng([seed, 2]))]
    keep = [name for name in ("diverging", "maxdepth_reached", "depth", "n_steps") if name in stats]
    stats = stats[keep].assign_coords(draw=np.arange(x.shape[1]))
    stats["log_weight"] = (("chain", "draw"), log_weight.reshape(chains, -1))
    about = {
        "pareto_k": k,
        "importance_ess": effective_size(log_weight),
        "log_ratio_sd": float(ratio.std()),
        "surrogate_rounds": round_,
    }
    return equal.reshape(x.shape), stats, about


def resample(weight: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Systematic resampling to as many: repeats stand side by side, and the order is kept."""
    m = len(weight)
    edges = np.cumsum(weight) / weight.sum()
    return np.minimum(np.searchsorted(edges, (np.arange(m) + rng.random()) / m), m - 1)
