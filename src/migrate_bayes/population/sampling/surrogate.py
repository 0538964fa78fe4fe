r"""The posterior of very many stars: draws from a surrogate, weighted to the true likelihood.

1. Surrogate: the gradient and the Fisher information of the stars at the posterior's maximum, in
   coordinates in which their likelihood is nearly Gaussian.
2. NUTS on prior × surrogate, which costs no pass over the stars. The prior is the model's own: a
   hierarchical scale and its funnel are sampled, not approximated.
3. A pilot: one pass over the stars for each of some draws; the surrogate is fitted again to the
   gradients met there. Pilots are repeated until the weights of one are even.
4. NUTS again, with longer chains while R-hat asks for it, and for each draw a pass, for the value
   alone, and a weight :math:`w = L / \tilde L`, Pareto-smoothed (Vehtari et al. 2024, JMLR 25,
   72). If the shape of the weights' tail, k̂, is above `MAX_PARETO_K`, or they leave less than half
   of the draws, the surrogate is fitted once more, to gradients at some of these draws too, and
   the step repeated.
5. Weights leave fewer draws, whose chains agree less by chance. As many again are drawn and
   weighted while R-hat asks for it.

The draws are then resampled, in order and in proportion to their weights: they are equal, and their
autocorrelation shows what the weights have cost.

*Coordinates.* In a model's own parameters the likelihood is not Gaussian: a hierarchical scale and
what it scales enter θ as a product. In θ itself it more nearly is: φ are numbers of θ, as many as
the model can move in different ways there (a scale and what it scales count once), each made more
Gaussian. A variance is told by its logarithm, ln P of a component at an age by

.. math:: φ = P^{1/3}

since :math:`n \ln P - N P`, the likelihood of n stars where N P are expected, has no third
derivative at its maximum in :math:`P^{1/3}`. In ln P it is far from a parabola where stars are few.
The numbers are picked one after another, each the one that the others tell least (pivots of a QR
decomposition of what the posterior moves in θ), of ages where stars are rather than of those that
only follow from them: there is no parabola in what a law says of ages without stars. All other
numbers of θ follow from them, so that slopes along φ are

.. math:: \frac{∂ \ln L}{∂φ} = \left(\frac{∂x}{∂φ}\right)^T \frac{∂ \ln L}{∂x}

with x the model's unconstrained parameters and ∂x/∂φ the pseudo-inverse of ∂φ/∂x.

*Surrogate.* About a centre,

.. math::

   \ln \tilde L(φ) = c \cdot d - \tfrac{1}{2} d^T A d, \qquad d = φ - \bar φ, \qquad
   \nabla \ln \tilde L = c - A d

A pass over the stars gives as many slopes as there are coordinates: a hundred passes fix A many
times over, and over the posterior's whole width, not at a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import qr

from migrate_bayes.core.progress import progress
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.likelihood.theta import THETA, first_columns
from migrate_bayes.population.results.diagnostics import MAX_PARETO_K
from migrate_bayes.population.sampling.density import Mode, PosteriorDensity, run_nuts

Floats = NDArray[np.float64]

# Passes of a pilot; each gives as many slopes as there are coordinates.
_PILOT = 100
# Star visits to spend on weights, and passes at least: of 1,000 equal draws the largest R-hat of 86
# parameters is near 1.01 by chance, as eight half chains' means scatter.
_VISITS = 2.0e8
_FEWEST = 1600
# Fewer weights than this have no tail to judge.
_LEAST = 100
# Pilots at most; they end when the weights leave this share of a pilot's draws, of the last step's
# too. Times that the last step is made at most.
_ROUNDS, _ENOUGH, _REPEATS = 4, 0.5, 3
# R-hat above which chains are made longer: resampling adds to it, and numbers that are functions of
# x scatter more than x. Of 1,600 independent draws of 86 parameters the largest is 1.005.
_LONGER = 1.0075
# Difference of the seeds of the runs that make up a chain.
_APART = 1000
# k̂ of a surrogate that no repeat mends.
_HOPELESS = 2.0
# Ridges that pull the fitted curvature to the earlier one; the points' own spread is 1. One is
# chosen by what the surrogate says of one part of the points when it is fitted to the others.
_RIDGES, _PARTS = (1e-3, 1e-2, 0.1, 0.3, 1.0, 10.0, 100.0), 5
# A number of θ that spreads by less is fixed, in its own units; a direction is told by numbers that
# move by more than this along it, of their spread.
_FIXED, _TOLD = 1e-6, 1e-4

_LOG = [THETA.index(name) for name in ("sigma2", "s2", "t2", "q2")]


class Coordinates(NamedTuple):
    """φ: some of the numbers of θ, made more Gaussian, less `origin`, over `spread`.

    `rows` are their places in the raveled θ, in this order: `n_shares` of ln P, `n_logs` of
    variances, and others. All are of shape (n,).
    """

    rows: NDArray[np.int64]
    n_shares: int
    n_logs: int
    origin: Floats
    spread: Floats

    @classmethod
    def telling(cls, theta: Floats, jacobian: Floats, covariance: Floats) -> Coordinates:
        """Choose the numbers that tell best what the posterior moves in θ.

        `jacobian` is ∂θ/∂x, shape (*θ.shape, n_x), at the posterior's maximum, and `covariance`
        that of x there. The numbers are pivots of a QR decomposition of their moves, each over
        the error with which the stars of its disc and age would tell it, up to a factor that a
        column of θ has in common.
        """
        weight = first_columns(theta)
        kind = np.full(theta.shape, 2)
        kind[..., weight], kind[..., [*_LOG, *(weight[1:] + 2)]] = 0, 1
        order = np.argsort(kind, axis=None, kind="stable")
        sizes = np.bincount(kind.ravel(), minlength=3)
        every = cls(order, int(sizes[0]), int(sizes[1]), np.zeros(theta.size), np.ones(theta.size))
        moves = every.rate(theta)[:, None] * jacobian.reshape(theta.size, -1)[order]
        moves = moves @ np.linalg.cholesky(covariance)
        spread = np.sqrt((moves**2).sum(axis=1))
        free = np.flatnonzero(spread > _FIXED)
        # n stars tell ln P to 1 / √(n P), and P^(1/3) to P^(-1/6) / √n.
        power = np.where(kind == 0, 1.0 / 6.0, 0.5)
        scale = np.exp(power * theta[..., :1]).ravel()[order]
        column = np.broadcast_to(np.arange(theta.shape[-1]), theta.shape).ravel()[order]
        best = np.full(theta.shape[-1], _FIXED)
        np.maximum.at(best, column, spread * scale)
        told = moves * (scale / best[column])[:, None]
        size, pivots = qr(told[free].T, mode="r", pivoting=True)
        rank = int((np.abs(np.diag(size)) > _TOLD * abs(size[0, 0])).sum())
        chosen = np.sort(free[pivots[:rank]])
        n_shares, to_logs = np.searchsorted(chosen, np.cumsum(sizes)[:2])
        return cls(
            order[chosen], int(n_shares), int(to_logs - n_shares), every.of(theta)[chosen],
            spread[chosen],
        )  # fmt: skip

    @property
    def n(self) -> int:
        """Number of coordinates."""
        return len(self.rows)

    def of(self, theta: Floats) -> Floats:
        """Return φ at θ."""
        told, i, j = theta.ravel()[self.rows], self.n_shares, self.n_shares + self.n_logs
        told[:i], told[i:j] = np.exp(told[:i] / 3.0), np.log(told[i:j])
        return (told - self.origin) / self.spread

    def rate(self, theta: Floats) -> Floats:
        """Return the derivative of each coordinate by its number of θ."""
        told, i, j = theta.ravel()[self.rows], self.n_shares, self.n_shares + self.n_logs
        told[:i], told[i:j], told[j:] = np.exp(told[:i] / 3.0) / 3.0, 1.0 / told[i:j], 1.0
        return told / self.spread

    def pullback(self, theta: Floats, slope: Floats) -> Floats:
        """Turn ∂f/∂φ into ∂f/∂θ, f being a function of φ(θ)."""
        out = np.zeros_like(theta)
        out.ravel()[self.rows] = slope * self.rate(theta)
        return out

    def inverse(self, theta: Floats, jacobian: Floats) -> Floats:
        """Return ∂x/∂φ, shape (n_x, n), from ∂θ/∂x: a step of x for each of φ.

        Steps that φ does not see (a scale and what it scales) are as small as can be.
        """
        moves = self.rate(theta)[:, None] * jacobian.reshape(theta.size, -1)[self.rows]
        return np.linalg.pinv(moves, rcond=1e-10)


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
        # A leap of the warm-up may end where a variance is 0: ln L is no number, and NUTS turns.
        with np.errstate(divide="ignore", invalid="ignore"):
            value, slope = surrogate(coordinates.of(theta))
            return value, coordinates.pullback(theta, slope)

    return lambda x: density.with_likelihood(of_stars, x)


def fit_surrogate(phi: Floats, gradient: Floats, weight: Floats, earlier: Surrogate) -> Surrogate:
    """Fit a surrogate to gradients ∂ ln L/∂φ at m points, both of shape (m, n), so weighted (m,).

    Where ln L is no parabola gradients are noise to it, and a curvature fitted to noise lets draws
    run away. So the ridge is chosen with which the gradients at a part of the points follow best
    from those at the others.
    """
    part, missed = np.arange(len(phi)) % _PARTS, np.zeros(len(_RIDGES))
    spread = np.cov(phi, rowvar=False, aweights=weight, ddof=0)
    for k in range(_PARTS):
        rest, own = part != k, part == k
        fits = _fitted(phi[rest], gradient[rest], weight[rest], earlier, _RIDGES)
        for i, fit in enumerate(fits):
            off = gradient[own] - fit.slope + (phi[own] - fit.centre) @ fit.curvature
            missed[i] += weight[own] @ ((off @ spread) * off).sum(axis=1)
    return next(_fitted(phi, gradient, weight, earlier, [_RIDGES[int(missed.argmin())]]))


def _fitted(
    phi: Floats, gradient: Floats, weight: Floats, earlier: Surrogate, ridges: Sequence[float]
) -> Iterator[Surrogate]:
    r"""Fit a surrogate with each ridge λ, see `fit_surrogate`.

    With gradients centred to γ, and φ centred and whitened to ψ by the points' covariance, the
    symmetric A that minimises :math:`\sum w |γ + A ψ|^2 + λ |A - A_0|^2`, Σw being 1, solves
    :math:`S A + A S + 2 λ A = -(K + K^T) + 2 λ A_0`, :math:`S = \sum w ψψ^T`,
    :math:`K = \sum w γ ψ^T`: a division in S's own axes. A_0 is the curvature of the `earlier`
    surrogate, which holds where the points say little.
    """
    weight = weight[:, None] / weight.sum()
    centre, mean = (weight * phi).sum(axis=0), (weight * gradient).sum(axis=0)
    d = phi - centre
    values, vectors = np.linalg.eigh(d.T @ (weight * d))
    sd = np.sqrt(np.maximum(values, max(values.max(), 1e-300) * 1e-12))
    psi = d @ vectors / sd
    gamma = (gradient - mean) @ vectors * sd
    before = sd[:, None] * (vectors.T @ earlier.curvature @ vectors) * sd
    size, axes = np.linalg.eigh(psi.T @ (weight * psi))
    pull = gamma.T @ (weight * psi)
    for ridge in ridges:
        right = -(pull + pull.T) + 2.0 * ridge * before
        bent = (axes.T @ right @ axes) / (size[:, None] + size + 2.0 * ridge)
        curvature = axes @ bent @ axes.T
        # The likelihood may curve upwards somewhere; a surrogate that does has no maximum.
        values, own = np.linalg.eigh(0.5 * (curvature + curvature.T))
        curvature = (own * np.maximum(values, 0.0)) @ own.T
        curvature = (vectors / sd) @ curvature @ (vectors / sd).T
        yield Surrogate(centre, mean, curvature)


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


def _r_hat(x: Floats) -> float:
    """Return the largest R-hat of draws, shape (chains, draws, n); 1 of a single chain."""
    from arviz_stats.base import array_stats

    if x.shape[0] < 2 or x.shape[1] < 4:
        return 1.0
    return float(array_stats.rhat(x, chain_axis=0, draw_axis=1).max())


def effective_size(log_weight: Floats) -> float:
    """Return (Σ w)² / Σ w²: of how many equal draws the weighted ones are worth."""
    return float(np.exp(-np.logaddexp.reduce(2.0 * log_weight)))


class _Slopes:
    """φ, ∂ ln L/∂φ and weights at the draws that a surrogate is fitted to."""

    def __init__(self, density: PosteriorDensity, coordinates: Coordinates) -> None:
        self.density, self.coordinates = density, coordinates
        self.phi, self.gradient = np.empty((2, 0, coordinates.n))
        self.weight = np.empty(0)

    def learn(self, surrogate: Surrogate, draws: Floats) -> tuple[Surrogate, float]:
        """Meet slopes at some draws (m, n) of a surrogate, a pass each, and fit another to all.

        Where ln L is far below the surrogate no draw of the posterior is: weights are those of
        importance, but 1 at most. Also returned is the share that they leave of these draws.
        """
        some = draws[:: max(1, len(draws) // _PILOT)][:_PILOT]
        phi, gradient = np.empty((2, len(some), self.coordinates.n))
        ratio = np.empty(len(some))
        with progress(len(some), "pilot passes", unit="draws") as advance:
            for i, x in enumerate(some):
                theta = self.density.theta(x)
                value, slope = self.density.likelihood.value_and_gradient(theta)
                step = self.coordinates.inverse(theta, self.density.jacobian(x))
                phi[i] = self.coordinates.of(theta)
                gradient[i] = self.density.back(x, slope, prior=False) @ step
                ratio[i] = value - surrogate(phi[i])[0]
                advance(1)
        self.phi = np.concatenate([self.phi, phi])
        self.gradient = np.concatenate([self.gradient, gradient])
        weight = np.exp(np.minimum(ratio - np.median(ratio), 0.0))
        self.weight = np.concatenate([self.weight, weight])
        fitted = fit_surrogate(self.phi, self.gradient, self.weight, surrogate)
        whole = ratio - np.logaddexp.reduce(ratio)
        return fitted, effective_size(whole) / len(some)


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
    times that the surrogate was fitted.
    """
    chains, rounds = options.chains, 0
    theta, jacobian = density.theta(mode.vector), density.jacobian(mode.vector)
    coordinates = Coordinates.telling(theta, jacobian, mode.covariance)
    along = jacobian @ coordinates.inverse(theta, jacobian)
    _, slope, information = density.likelihood.score_outer(theta, along)
    surrogate = Surrogate(np.zeros(coordinates.n), slope, information)
    slopes, share = _Slopes(density, coordinates), 0.0
    per_chain = -(-passes_for(density.likelihood.n_stars, options.draws * chains) // chains)
    # Draws of the surrogate cost no pass: where few are weighted they may as well be independent.
    thin = max(1, 2 * options.draws // per_chain - 1)

    def nuts(draws: int, chains: int, thin: int, part: int = 0) -> tuple[Floats, xr.Dataset]:
        target = surrogate_density(density, coordinates, surrogate)
        few = SamplerOptions.of(options, {"draws": draws, "chains": chains})
        return run_nuts(target, mode, few, seed=seed + rounds + _APART * part, thin=thin)

    while share < _ENOUGH and rounds < _ROUNDS:
        x, _ = nuts(_PILOT, 1, 1)
        surrogate, share = slopes.learn(surrogate, x[0])
        rounds += 1
    for again in range(_REPEATS):
        x, stats = nuts(per_chain, chains, thin)
        stretched = thin
        for part, (length, longer) in enumerate(pairwise(options.lengths), start=1):
            if _r_hat(x) < _LONGER:
                break
            # A chain goes on as one that has begun elsewhere; of both, as many draws are kept.
            parts = (x, stats), nuts(per_chain, chains, thin * (longer - length), part)
            ends = np.cumsum(np.repeat([length, longer - length], per_chain))
            kept = np.searchsorted(ends, longer * (np.arange(per_chain) + 0.5))
            x = np.concatenate([draws for draws, _ in parts], axis=1)[:, kept]
            stats = xr.concat([of_part for _, of_part in parts], "draw").isel(draw=kept)
            stretched = thin * longer
        flat = x.reshape(-1, density.n)
        ratio = _log_ratio(density, coordinates, surrogate, flat)
        log_weight, k = pareto_weights(ratio)
        few = effective_size(log_weight) < _ENOUGH * len(flat)
        if (k <= MAX_PARETO_K and not few) or k > _HOPELESS or again + 1 == _REPEATS:
            break
        surrogate, _ = slopes.learn(surrogate, flat)
        rounds += 1
    times, equal = 1, _equal(x, log_weight, seed)
    while times < options.patience and k <= MAX_PARETO_K and _r_hat(x) < _LONGER <= _r_hat(equal):
        more, of_more = nuts(per_chain, chains, stretched, len(options.lengths) + times)
        new = _log_ratio(density, coordinates, surrogate, more.reshape(-1, density.n))
        ratio = np.hstack([ratio.reshape(chains, -1), new.reshape(chains, -1)]).ravel()
        x, stats = np.hstack([x, more]), xr.concat([stats, of_more], "draw")
        log_weight, k = pareto_weights(ratio)
        times, equal = times + 1, _equal(x, log_weight, seed)
    keep = [name for name in ("diverging", "maxdepth_reached", "depth", "n_steps") if name in stats]
    stats = stats[keep].assign_coords(draw=np.arange(x.shape[1]))
    stats["log_weight"] = (("chain", "draw"), log_weight.reshape(chains, -1))
    about = {
        "pareto_k": k,
        "importance_ess": effective_size(log_weight),
        "log_ratio_sd": float(ratio.std()),
        "surrogate_rounds": rounds,
    }
    return equal, stats, about


def _equal(x: Floats, log_weight: Floats, seed: int) -> Floats:
    """Return equal draws from weighted ones, both of shape (chains, draws, n)."""
    drawn = resample(np.exp(log_weight), np.random.default_rng([seed, 2]))
    return x.reshape(-1, x.shape[-1])[drawn].reshape(x.shape)


def resample(weight: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Systematic resampling to as many: repeats stand side by side, and the order is kept."""
    m = len(weight)
    edges = np.cumsum(weight) / weight.sum()
    return np.minimum(np.searchsorted(edges, (np.arange(m) + rng.random()) / m), m - 1)
