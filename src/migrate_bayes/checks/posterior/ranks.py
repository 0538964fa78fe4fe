r"""Ranks of true values among posterior draws: coverage, tests of uniformity, bands.

The rank of a truth θ among L (nearly independent) posterior draws θ_j,

.. math:: r = \sum_{j=1}^{L} 1[θ_j < θ] \in \{0, …, L\},

is uniform if the posterior is right (Talts et al. 2018). Over n surveys, with R = L + 1,

* the central interval of probability p, between the draws of order (1 − p)/2 · R and its mirror
  image, holds the truth in a share p of surveys: the count is Binomial(n, p);
* counts in equal bins of ranks give Pearson's χ²;
* the empirical distribution F̂(z) of (r + 1)/R has n F̂(z) ~ Binomial(n, z) at each z. Its
  simultaneous band is the pointwise binomial interval of probability 1 − γ, γ chosen by simulation
  so that the whole curve stays inside with a given probability (Säilynoja et al. 2022, section
  2.3).

References
----------
Cook, Gelman & Rubin 2006, JCGS 15, 675; Talts et al. 2018, arXiv:1804.06788;
Säilynoja, Bürkner & Vehtari 2022, Stat. Comput. 32, 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, chi2

#: Probabilities of the central intervals that are counted.
LEVELS = (0.5, 0.8, 0.95)

#: Probability of the bands: high, since a table compares dozens of numbers with them.
BAND = 0.99

_SIMULATIONS = 4000


def thinned(draws: ArrayLike, n: int) -> NDArray[Any]:
    """Take `n` draws, evenly spaced along the last axis.

    Parameters
    ----------
    draws : array, shape (..., draw)
        Chains laid end to end.
    n : int
        Number of draws that are kept.

    Returns
    -------
    ndarray, shape (..., n)
        From the middles of `n` equal stretches.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import thinned
    >>> thinned(range(20), 4)
    array([ 2,  7, 12, 17])
    """
    every = np.asarray(draws)
    return every[..., (2 * np.arange(n) + 1) * every.shape[-1] // (2 * n)]


def rank_statistics(draws: ArrayLike, truth: ArrayLike) -> NDArray[np.int64]:
    """Count the posterior draws below the truth, survey by survey.

    Parameters
    ----------
    draws : array, shape (..., draw)
        Nearly independent draws of one parameter, one row per survey: thin a chain to its
        effective sample size first (`thinned`).
    truth : array, shape (...)
        True value of the parameter in each survey.

    Returns
    -------
    ndarray of int, shape (...)
        From 0 to the number of draws; uniform if the posterior is right.

    See Also
    --------
    rank_test, UniformRanks : Tests of uniformity.
    coverage : Share of central intervals that hold the truth.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import rank_statistics
    >>> rank_statistics([[0.1, 0.4, 0.2], [1.0, 3.0, 2.0]], truth=[0.3, 9.0])
    array([2, 3])
    """
    return np.sum(np.asarray(draws) < np.asarray(truth)[..., None], axis=-1)


class Coverage(NamedTuple):
    """Intervals of one probability that hold the truth.

    Parameters
    ----------
    level : float
        Probability of the interval.
    inside, surveys : int
        Intervals that hold the truth, of how many.
    low, high : int
        Binomial 99% band of `inside`.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import Coverage
    >>> found = Coverage(level=0.95, inside=188, surveys=200, low=181, high=197)
    >>> found.fraction, found.band, found.passed
    (0.94, (0.905, 0.985), True)
    """

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
    def band(self) -> tuple[float, float]:
        """Binomial 99% band of `fraction`."""
        return self.low / self.surveys, self.high / self.surveys

    @property
    def passed(self) -> bool:
        """Whether the share lies in its band."""
        return self.low <= self.inside <= self.high

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "coverage": round(self.fraction, 4),
            "band": [round(end, 4) for end in self.band],
            "pass": self.passed,
        }


def _tail(n_ranks: int, level: float) -> int | None:
    """Ranks on either side of a central interval; None if they are not a whole number."""
    tail = n_ranks * (1.0 - level) / 2.0
    return round(tail) if abs(tail - round(tail)) <= 1e-9 else None


def coverage_of_ranks(ranks: ArrayLike, n_ranks: int, level: float) -> Coverage:
    """Count the intervals of one probability that hold the truth, by its rank below `n_ranks`.

    `ValueError` if ``n_ranks * (1 - level) / 2`` is not whole.
    """
    tail = _tail(n_ranks, level)
    if tail is None:
        raise ValueError(f"{level:.0%} of {n_ranks} ranks leaves a tail that is not whole")
    r = np.asarray(ranks)
    inside = int(np.sum((r >= tail) & (r < n_ranks - tail)))
    low, high = binom.interval(BAND, len(r), level)
    return Coverage(level, inside, len(r), int(low), int(high))


def coverage(
    draws: ArrayLike, truth: ArrayLike, levels: Sequence[float] = LEVELS
) -> list[Coverage]:
    """Count the central intervals of posterior draws that hold the truth.

    Parameters
    ----------
    draws : array, shape (survey, draw)
        Posterior draws of one parameter. They are thinned evenly to a number for which all
        intervals are whole numbers of ranks.
    truth : array, shape (survey,)
        True value of the parameter in each survey.
    levels : sequence of float
        Probabilities of the intervals.

    Returns
    -------
    list of Coverage
        One for each level.

    Raises
    ------
    ValueError
        If there are too few draws for one of the levels.

    Examples
    --------
    A posterior that is too narrow by a factor 2, x ~ N(θ, 1) and θ ~ N(0, 1):

    >>> import numpy as np
    >>> from migrate_bayes.checks.posterior import coverage
    >>> rng = np.random.default_rng(1)
    >>> truth = rng.normal(size=400)
    >>> mean = (truth + rng.normal(size=400)) / 2
    >>> noise = np.sqrt(0.5) * rng.normal(size=(1000, 400))
    >>> [c.passed for c in coverage((mean + noise).T, truth)]
    [True, True, True]
    >>> [round(c.fraction, 2) for c in coverage((mean + 0.5 * noise).T, truth)]
    [0.28, 0.5, 0.69]
    """
    every = np.asarray(draws)
    for n_ranks in range(every.shape[-1] + 1, 1, -1):
        if all(_tail(n_ranks, level) for level in levels):
            ranks = rank_statistics(thinned(every, n_ranks - 1), truth)
            return [coverage_of_ranks(ranks, n_ranks, level) for level in levels]
    raise ValueError(f"{every.shape[-1]} draws are too few for intervals of {levels}")


def rank_test(ranks: ArrayLike, n_ranks: int) -> tuple[float, int]:
    """Test by Pearson's χ² that ranks are uniform.

    Parameters
    ----------
    ranks : array of int, shape (survey,)
        From 0 to ``n_ranks - 1``.
    n_ranks : int
        Values that a rank can take: the draws and one.

    Returns
    -------
    p_value : float
        Probability of a χ² as large if the ranks are uniform.
    bins : int
        The most of 20, 16, 10, 8, 5, 4 or 2 that divide `n_ranks` and leave ten surveys a bin.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import rank_test
    >>> rank_test([r % 40 for r in range(200)], 40)
    (1.0, 20)
    """
    r = np.asarray(ranks)
    fit = [b for b in (20, 16, 10, 8, 5, 4) if n_ranks % b == 0 and len(r) >= 10 * b]
    bins = fit[0] if fit else 2
    count = np.bincount(r * bins // n_ranks, minlength=bins)
    expected = len(r) / bins
    return float(chi2.sf(np.sum((count - expected) ** 2) / expected, bins - 1)), bins


class UniformRanks:
    """The empirical distribution of n uniform ranks: its simultaneous band and its test.

    The test statistic of a curve is the least of 2 min(P(≤ count), P(≥ count)) along it.

    Parameters
    ----------
    n : int
        Surveys.
    n_ranks : int
        Values that a rank can take: the draws and one.
    seed : int
        Of the simulation that sets the band.

    Attributes
    ----------
    z : ndarray, shape (n_ranks - 1,)
        Where the distribution is evaluated; at 1 every curve is 1.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import UniformRanks
    >>> uniform = UniformRanks(80, 40)
    >>> low, high = uniform.band(0.99)
    >>> even = [r % 40 for r in range(80)]
    >>> bool((low <= uniform.curve(even)).all()), uniform.p_value(even)
    (True, 1.0)
    >>> uniform.p_value([r // 2 for r in even]) < 0.001
    True
    """

    def __init__(self, n: int, n_ranks: int, *, seed: int = 1) -> None:
        self.n, self.n_ranks = n, n_ranks
        self.z = np.arange(1, n_ranks) / n_ranks
        rng = np.random.default_rng(seed)
        share = np.full(n_ranks, 1.0 / n_ranks)
        count = np.cumsum(rng.multinomial(n, share, size=_SIMULATIONS), axis=1)[:, :-1]
        # Tails by table: binomials at z take n + 1 values each.
        k = np.arange(n + 1)[:, None]
        lower, upper = binom.cdf(k, n, self.z), binom.sf(k - 1, n, self.z)
        self._tail = 2.0 * np.minimum(lower, upper)
        self._null = np.sort(self._tail[count, np.arange(n_ranks - 1)].min(axis=1))

    def band(self, probability: float = BAND) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return bounds of F̂ at `z` that hold the whole curve with that probability."""
        gamma = float(np.quantile(self._null, 1.0 - probability))
        low, high = binom.ppf(gamma / 2, self.n, self.z), binom.ppf(1 - gamma / 2, self.n, self.z)
        return low / self.n, high / self.n

    def _count(self, ranks: ArrayLike) -> NDArray[np.int64]:
        return np.cumsum(np.bincount(np.asarray(ranks), minlength=self.n_ranks))[:-1]

    def curve(self, ranks: ArrayLike) -> NDArray[np.float64]:
        """Return F̂ at `z`."""
        return self._count(ranks) / self.n

    def p_value(self, ranks: ArrayLike) -> float:
        """Return the share of simulated uniform curves whose test statistic is as small."""
        worst = self._tail[self._count(ranks), np.arange(self.n_ranks - 1)].min()
        at_most = np.searchsorted(self._null, worst * (1 + 1e-12), side="right")
        return float((at_most + 1) / (_SIMULATIONS + 1))
