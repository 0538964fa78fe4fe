r"""The posterior of very many stars: draws from a surrogate, weighted to the true likelihood.

1. Surrogate: the gradient and the Fisher information of the stars at the posterior's maximum, in
   coordinates in which their likelihood is nearly Gaussian
   (`migrate_bayes.population.sampling.natural_coordinates`).
2. NUTS on prior × surrogate, which costs no pass over the stars. The prior is the model's own: a
   hierarchical scale and its funnel are sampled, not approximated.
3. A pilot: one pass over the stars for each of some draws; the surrogate is fitted again to the
   gradients met there.
4. NUTS again, and for each draw a pass, for the value alone, and a weight :math:`w = L / \tilde L`,
   Pareto-smoothed (Vehtari et al. 2024, JMLR 25, 72). Where the shape of the weights' tail, k̂, is
   above `MAX_PARETO_K`, the surrogate is fitted once more, to gradients at some of these draws too,
   and the step repeated.

The draws are then resampled, in order and in proportion to their weights, so that they are equal
and whoever looks at their autocorrelation sees what the weights have cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.progress import progress
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.sampling.density import PosteriorDensity
from migrate_bayes.population.sampling.mode import Mode
from migrate_bayes.population.sampling.natural_coordinates import Coordinates
from migrate_bayes.population.sampling.nuts import run_nuts
from migrate_bayes.population.sampling.surrogate import Surrogate, SurrogateDensity, fit_surrogate

Floats = NDArray[np.float64]

#: Above this, a mean over the weights cannot be trusted (Vehtari et al. 2024).
MAX_PARETO_K = 0.7

# Passes of the pilot, and of each repeat; each gives as many slopes as there are coordinates.
_PILOT = 100
# Star visits to spend on weights: 1,538 passes over 1.3 million stars, one or two minutes.
_VISITS = 2.0e9
_FEWEST = 800
# Fewer weights than this have no tail to judge.
_LEAST = 100
# Repeats of the last step before the surrogate is given up.
_ROUNDS = 3
# Draws of the surrogate for each that is wanted, at least: they cost no pass, and those that are
# weighted are then all but independent.
_THIN = 2


@dataclass(frozen=True)
class ImportanceDraws:
    """Equal draws of the posterior, and how they were had.

    Attributes
    ----------
    draws : ndarray, shape (chains, draws, n)
        Of the unconstrained x.
    stats : xarray.Dataset
        On (chain, draw): NUTS's of the draws before resampling, with `log_weight`.
    pareto_k, ess : float
        k̂ and (Σ w)² / Σ w².
    log_ratio_sd : float
        Standard deviation of ln(L / surrogate) over the draws.
    rounds : int
        How often the last step was made.
    """

    draws: Floats
    stats: xr.Dataset
    pareto_k: float
    ess: float
    log_ratio_sd: float
    rounds: int


def passes_for(n_stars: int, wanted: int) -> int:
    """How many draws to weight: all that are wanted, or what many stars allow; at least 100."""
    return max(_LEAST, min(wanted, max(_FEWEST, int(_VISITS / n_stars))))


def pareto_weights(log_ratio: Floats) -> tuple[Floats, float]:
    """Return normalised Pareto-smoothed log weights and k̂."""
    from arviz_stats.base import array_stats

    if np.ptp(log_ratio) < 1e-9:  # no tail to fit, for there is nothing to correct
        return np.full(len(log_ratio), -np.log(len(log_ratio))), 0.0
    # ArviZ takes what leave-one-out has: the logarithm of one over the weight.
    log_weight, k = array_stats.psislw(-log_ratio)
    return np.asarray(log_weight), float(k)


def _spanned(density: PosteriorDensity, mode: Mode, seed: int) -> Coordinates:
    """Coordinates that hold what the model can do within its posterior."""
    rng = np.random.default_rng([seed, 1])
    scale = np.linalg.cholesky(mode.covariance)
    points = mode.vector + rng.normal(size=(4 * density.n + 20, density.n)) @ scale.T
    thetas = np.stack([density.theta(x) for x in points])
    usable = np.isfinite(thetas).all(axis=(1, 2, 3))
    return Coordinates.spanning(density.theta(mode.vector), thetas[usable])


class _Met:
    """What the passes so far have shown: where, and the slopes there."""

    def __init__(self, density: PosteriorDensity, coordinates: Coordinates) -> None:
        self.density, self.coordinates = density, coordinates
        self.phi: list[Floats] = []
        self.slope: list[Floats] = []

    def meet(self, draws: Floats) -> None:
        """Take the slopes at some of the draws (m, n), a pass each."""
        some = draws[:: max(1, len(draws) // _PILOT)]
        with progress(len(some), "pilot passes", unit="draws") as advance:
            for x in some:
                theta = self.density.theta(x)
                _, slope = self.density.likelihood.value_and_gradient(theta)
                self.phi.append(self.coordinates.of(theta))
                self.slope.append(self.coordinates.gradient(theta, slope))
                advance(1)

    def log_ratio(self, draws: Floats, surrogate: Surrogate) -> Floats:
        """Return ln(L / surrogate) at draws (m, n), a pass each."""
        out = np.empty(len(draws))
        with progress(len(draws), "weighting draws", unit="draws") as advance:
            for i, x in enumerate(draws):
                theta = self.density.theta(x)
                out[i] = self.density.likelihood.value(theta)
                out[i] -= surrogate(self.coordinates.of(theta))[0]
                advance(1)
        return out

    def surrogate(self, earlier: Surrogate) -> Surrogate:
        return fit_surrogate(np.array(self.phi), np.array(self.slope), earlier)


def sample_surrogate(
    density: PosteriorDensity, mode: Mode, options: SamplerOptions, *, seed: int
) -> ImportanceDraws:
    """Sample a posterior by surrogate and importance weights.

    Parameters
    ----------
    density : PosteriorDensity
    mode : Mode
        Its maximum.
    options : SamplerOptions
        Of NUTS on the surrogate; fewer draws than these are kept if there are very many stars.
    seed : int
    """
    chains = options.chains
    theta = density.theta(mode.vector)
    coordinates = _spanned(density, mode, seed)
    _, slope, information = density.likelihood.score_outer(theta, coordinates.jacobian(theta))
    surrogate = Surrogate(np.zeros(coordinates.n), slope, information)
    met = _Met(density, coordinates)
    scale = np.linalg.cholesky(mode.covariance)
    per_chain = -(-passes_for(density.likelihood.n_stars, options.draws * chains) // chains)
    thin = max(_THIN, _THIN * options.draws // per_chain)

    def nuts(n: int, k: int) -> tuple[Floats, xr.Dataset]:
        x, stats = run_nuts(
            SurrogateDensity(density, coordinates, surrogate), mode.vector, scale,
            SamplerOptions.of(options, {"draws": n * thin}), seed=seed + k,
        )  # fmt: skip
        return x[:, ::thin], stats.isel(draw=slice(None, None, thin))

    x, _ = nuts(-(-_PILOT // chains), 0)
    for round_ in range(1, _ROUNDS + 1):
        met.meet(x.reshape(-1, density.n))
        surrogate = met.surrogate(surrogate)
        x, stats = nuts(per_chain, round_)
        flat = x.reshape(-1, density.n)
        ratio = met.log_ratio(flat, surrogate)
        log_weight, k = pareto_weights(ratio)
        if k <= MAX_PARETO_K:
            break
    weight = np.exp(log_weight)
    equal = flat[_resample(weight, np.random.default_rng([seed, 2]))]
    keep = [name for name in ("diverging", "maxdepth_reached", "depth", "n_steps") if name in stats]
    stats = stats[keep].assign_coords(draw=np.arange(per_chain))
    stats["log_weight"] = (("chain", "draw"), log_weight.reshape(chains, per_chain))
    return ImportanceDraws(
        equal.reshape(x.shape), stats, k, float(1.0 / (weight**2).sum()), float(ratio.std()), round_
    )


def _resample(weight: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Systematic resampling to as many: repeats stand side by side, and the order is kept."""
    m = len(weight)
    edges = np.cumsum(weight) / weight.sum()
    return np.minimum(np.searchsorted(edges, (np.arange(m) + rng.random()) / m), m - 1)
