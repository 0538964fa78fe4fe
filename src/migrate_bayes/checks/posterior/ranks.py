r"""What ranks say: coverage of intervals, tests of uniformity, bands of the empirical distribution.

A rank is the number of a posterior's L (nearly independent) draws below the truth; under a correct
posterior it is uniform on 0 … L. Then

* the central interval of probability p, between the draws of order (1 − p)/2 (L + 1) and its
  mirror image, holds the truth in a share p of surveys: the count is Binomial(n, p);
* counts in equal bins of ranks give Pearson's χ²;
* the empirical distribution F̂(z) of (rank + 1)/(L + 1) over n surveys has n F̂(z) ~ Binomial(n, z)
  at each z. Its band holds the whole curve with a given probability: it is the pointwise binomial
  interval of probability 1 − γ, γ chosen by simulation so that the curve stays inside
  everywhere (Säilynoja, Bürkner & Vehtari 2022, Stat. Comput. 32, 32, their section 2.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, chi2

__all__ = ["LEVELS", "Calibration", "Coverage", "UniformRanks", "coverage", "rank_test"]

#: Probabilities of the central intervals that are counted.
LEVELS = (0.5, 0.8, 0.95)

#: Probability of the bands: an outlier among dozens of numbers should be rare.
BAND = 0.99

_SIMULATIONS = 4000


@dataclass(frozen=True)
class Coverage:
    """How many of n intervals of probability `level` hold the truth, and how many should."""

    level: float
    inside: int
    surveys: int
    low: int
    high: int

    @property
    def fraction(self) -> float:
        """Share of intervals that hold the truth."""
        return self.inside / self.surveys

    @property
    def passed(self) -> bool:
        """Whether the count lies in its binomial 99% band."""
        return self.low <= self.inside <= self.high

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the band as shares."""
        return {
            "coverage": round(self.fraction, 4),
            "band": [round(self.low / self.surveys, 4), round(self.high / self.surveys, 4)],
            "pass": self.passed,
        }


def coverage(ranks: ArrayLike, n_ranks: int, level: float) -> Coverage:
    """Count the central intervals of probability `level` that hold the truth.

    Parameters
    ----------
    ranks : array of int, shape (surveys,)
        From 0 to ``n_ranks - 1``.
    n_ranks : int
        Values that a rank can take, L + 1; ``n_ranks * (1 - level) / 2`` must be whole.
    level : float

    Returns
    -------
    Coverage
        With the 0.5th and 99.5th percentiles of the binomial count.
    """
    tail = n_ranks * (1.0 - level) / 2.0
    if abs(tail - round(tail)) > 1e-9:
        raise ValueError(f"{level:.0%} of {n_ranks} ranks leaves {tail} on either side, not whole")
    r = np.asarray(ranks)
    inside = int(np.sum((r >= round(tail)) & (r < n_ranks - round(tail))))
    low, high = binom.ppf([(1 - BAND) / 2, (1 + BAND) / 2], len(r), level)
    return Coverage(level, inside, len(r), int(low), int(high))


def rank_test(ranks: ArrayLike, n_ranks: int) -> tuple[float, int]:
    """Test that ranks are uniform by Pearson's χ².

    Returns
    -------
    p_value : float
    bins : int
        The most of 20, 16, 10, 8, 5, 4 or 2 that divide `n_ranks` and leave ten surveys a bin.
    """
    r = np.asarray(ranks)
    fit = [b for b in (20, 16, 10, 8, 5, 4) if n_ranks % b == 0 and len(r) >= 10 * b]
    bins = fit[0] if fit else 2
    count = np.bincount(r * bins // n_ranks, minlength=bins)
    expected = len(r) / bins
    return float(chi2.sf(np.sum((count - expected) ** 2) / expected, bins - 1)), bins


class UniformRanks:
    """The empirical distribution of n uniform ranks: its simultaneous band and its test.

    A curve is judged by its worst point: the least of 2 min(P(≤ count), P(≥ count)) along it.

    Parameters
    ----------
    n : int
        Surveys.
    n_ranks : int
    seed : int
        Of the simulation that sets the band.
    """

    def __init__(self, n: int, n_ranks: int, *, seed: int = 1) -> None:
        self.n, self.n_ranks = n, n_ranks
        self.z = np.arange(1, n_ranks) / n_ranks  # at 1 every curve is 1
        rng = np.random.default_rng(seed)
        share = np.full(n_ranks, 1.0 / n_ranks)
        count = np.cumsum(rng.multinomial(n, share, size=_SIMULATIONS), axis=1)[:, :-1]
        # Tails by table: binomials at z take n + 1 values each.
        k = np.arange(n + 1)[:, None]
        lower, upper = binom.cdf(k, n, self.z), binom.sf(k - 1, n, self.z)
        self._tail = 2.0 * np.minimum(lower, upper)
        self._null = np.sort(self._tail[count, np.arange(n_ranks - 1)].min(axis=1))

    def band(self, probability: float = BAND) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper bound of F̂ at `z` that hold the whole curve with that probability."""
        gamma = float(np.quantile(self._null, 1.0 - probability))
        low, high = binom.ppf(gamma / 2, self.n, self.z), binom.ppf(1 - gamma / 2, self.n, self.z)
        return low / self.n, high / self.n

    def curve(self, ranks: ArrayLike) -> NDArray[np.float64]:
        """Return F̂ at `z`."""
        count = np.bincount(np.asarray(ranks), minlength=self.n_ranks)
        return np.cumsum(count)[:-1] / self.n

    def p_value(self, ranks: ArrayLike) -> float:
        """Share of simulated uniform curves that stray as far from their expectation."""
        count = np.cumsum(np.bincount(np.asarray(ranks), minlength=self.n_ranks))[:-1]
        worst = self._tail[count, np.arange(self.n_ranks - 1)].min()
        at_most = np.searchsorted(self._null, worst * (1 + 1e-12), side="right")
        return float((at_most + 1) / (_SIMULATIONS + 1))


@dataclass
class Calibration:
    """Every survey's ranks, and what they say.

    Attributes
    ----------
    n_ranks : int
    main : tuple of str
        Parameters that decide.
    truth, mean, sd : dict of ndarray, shape (surveys,)
        By parameter.
    rank : dict of ndarray of int, shape (surveys,)
    ess, r_hat : ndarray, shape (surveys,)
        The worst of the main parameters.
    divergences, draws : ndarray, shape (surveys,)
    seconds : ndarray, shape (surveys,)
        Processor time.
    method : tuple of str
        How each survey was sampled.
    pareto_k : ndarray, shape (surveys,)
        k̂ of the surrogate's weights; NaN where there was no surrogate.
    """

    n_ranks: int
    main: tuple[str, ...]
    truth: dict[str, NDArray[np.float64]]
    mean: dict[str, NDArray[np.float64]]
    sd: dict[str, NDArray[np.float64]]
    rank: dict[str, NDArray[np.int64]]
    ess: NDArray[np.float64]
    r_hat: NDArray[np.float64]
    divergences: NDArray[np.int64]
    draws: NDArray[np.int64]
    seconds: NDArray[np.float64]
    method: tuple[str, ...]
    pareto_k: NDArray[np.float64]
    coverage: dict[str, list[Coverage]] = field(init=False)
    chi_square_p: dict[str, float] = field(init=False)
    ecdf_p: dict[str, float] = field(init=False)
    bins: int = field(init=False)

    def __post_init__(self) -> None:
        self.uniform = UniformRanks(self.surveys, self.n_ranks)
        self.coverage, self.chi_square_p, self.ecdf_p = {}, {}, {}
        for name, ranks in self.rank.items():
            self.coverage[name] = [coverage(ranks, self.n_ranks, level) for level in LEVELS]
            self.chi_square_p[name], self.bins = rank_test(ranks, self.n_ranks)
            self.ecdf_p[name] = self.uniform.p_value(ranks)

    @classmethod
    def of(
        cls, results: Sequence[Mapping[str, Any]], *, main: Sequence[str], n_ranks: int
    ) -> Calibration:
        """Gather results of `migrate_bayes.checks.posterior.run`."""
        names = list(results[0]["rank"])

        def by_name(key: str, dtype: type = float) -> dict[str, NDArray]:
            return {n: np.array([r[key][n] for r in results], dtype=dtype) for n in names}

        def column(key: str, dtype: type = float) -> NDArray:
            return np.array([r[key] for r in results], dtype=dtype)

        return cls(
            n_ranks=n_ranks,
            main=tuple(n for n in main if n in names),
            truth=by_name("truth"),
            mean=by_name("mean"),
            sd=by_name("sd"),
            rank=by_name("rank", np.int64),
            ess=column("ess"),
            r_hat=column("r_hat"),
            divergences=column("divergences", np.int64),
            draws=column("draws", np.int64),
            seconds=column("seconds"),
            method=tuple(str(r["method"]) for r in results),
            pareto_k=column("pareto_k"),
        )

    @property
    def surveys(self) -> int:
        """Number of surveys."""
        return len(self.seconds)

    @property
    def passed(self) -> bool:
        """Whether every main parameter's coverage lies in its band."""
        return all(c.passed for name in self.main for c in self.coverage[name])

    @property
    def worst_pareto_k(self) -> float | None:
        """The largest k̂, of surveys whose surrogate was given up too; None without a surrogate."""
        had = self.pareto_k[np.isfinite(self.pareto_k)]
        return round(float(had.max()), 3) if len(had) else None

    def pooled(self, level: float) -> tuple[float, float]:
        """Return the coverage over all parameters together, and its standard error.

        Parameters of one survey are correlated, surveys are not: the error is that of the mean over
        surveys of the share of a survey's parameters that are covered.
        """
        u = (np.stack(list(self.rank.values())) + 0.5) / self.n_ranks
        share = np.mean(np.abs(u - 0.5) < level / 2, axis=0)
        return float(share.mean()), float(share.std(ddof=1) / np.sqrt(self.surveys))

    def summary(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "surveys": self.surveys,
            "pass": self.passed,
            "coverage_all_parameters": {
                f"{level:.0%}": [round(x, 4) for x in self.pooled(level)] for level in LEVELS
            },
            "coverage": {
                name: {f"{c.level:.0%}": c.as_dict() for c in self.coverage[name]}
                for name in self.main
            },
            "rank_chi_square_p": {name: round(self.chi_square_p[name], 5) for name in self.main},
            "rank_ecdf_p": {name: round(self.ecdf_p[name], 5) for name in self.main},
            "rank_bins": self.bins,
            "others": {
                "parameters": len(self.rank) - len(self.main),
                "coverage_outside_band": sum(
                    not c.passed
                    for name, row in self.coverage.items()
                    if name not in self.main
                    for c in row
                ),
                "least_chi_square_p": round(min(self.chi_square_p.values()), 5),
                "least_ecdf_p": round(min(self.ecdf_p.values()), 5),
            },
            "min_ess": round(float(self.ess.min()), 1),
            "max_r_hat": round(float(self.r_hat.max()), 4),
            "divergences": int(self.divergences.sum()),
            "surveys_with_divergences": int((self.divergences > 0).sum()),
            "methods": dict(Counter(self.method)),
            "max_pareto_k": self.worst_pareto_k,
            "cpu_seconds_per_survey": round(float(self.seconds.mean()), 2),
        }
