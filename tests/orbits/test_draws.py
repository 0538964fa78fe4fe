"""Random draws: moments in closed form, correlations, and independence of order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from migrate_bayes.orbits.draws import cholesky, draw_distance, normal_pair


def _normals(n: int, dimension: int = 0, key: int = 12345, seed: int = 7) -> np.ndarray:
    pairs = [normal_pair(np.uint64(seed), np.uint64(key), d, dimension) for d in range(n)]
    return np.array(pairs)


def test_normal_numbers_are_normal_and_independent() -> None:
    a, b = _normals(20_000, 0), _normals(20_000, 2)
    for column in (*a.T, *b.T):
        assert stats.kstest(column, "norm").pvalue > 1e-3
    correlation = np.corrcoef(np.hstack([a, b]).T) - np.eye(4)
    assert np.abs(correlation).max() < 4 / np.sqrt(20_000)


def test_neighbouring_keys_seeds_and_draws_are_independent() -> None:
    by_key = np.array([normal_pair(np.uint64(0), np.uint64(k), 0, 0) for k in range(20_000)])
    by_seed = np.array([normal_pair(np.uint64(s), np.uint64(0), 0, 0) for s in range(20_000)])
    for column in (*by_key.T, *by_seed.T):
        assert stats.kstest(column, "norm").pvalue > 1e-3
        lagged = np.corrcoef(column[1:], column[:-1])[0, 1]
        assert abs(lagged) < 4 / np.sqrt(20_000)
    assert np.unique(by_key[:, 0]).size == 20_000


def test_two_piece_distance_has_its_closed_form_moments() -> None:
    """With equal mass: E d = m + (s₊ - s₋)/√(2π), E (d - m)² = (s₊² + s₋²)/2, median m."""
    median, below, above, n = 2.0, 0.1, 0.3, 40_000
    normal = _normals(n, 4)[:, 0]
    d = np.array([
        draw_distance(median, below, above, np.uint64(7), np.uint64(1), i, g)
        for i, g in enumerate(normal)
    ])  # fmt: skip
    mean = median + (above - below) / np.sqrt(2 * np.pi)
    square = (above**2 + below**2) / 2
    assert d.mean() == pytest.approx(mean, abs=4 * d.std() / np.sqrt(n))
    assert ((d - median) ** 2).mean() == pytest.approx(square, rel=0.04)
    assert np.mean(d < median) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(n))
    # 16th and 84th percentiles are what the errors say.
    sixteenth, eighty_fourth = np.quantile(d, stats.norm.cdf([-1.0, 1.0]))
    assert sixteenth == pytest.approx(median - below, abs=0.004)
    assert eighty_fourth == pytest.approx(median + above, abs=0.012)


def test_distances_stay_positive_as_if_truncated() -> None:
    median, sd, n = 1.0, 1.0, 20_000
    d = np.array([
        draw_distance(median, sd, sd, np.uint64(7), np.uint64(2), i, g)
        for i, g in enumerate(_normals(n, 4)[:, 0])
    ])  # fmt: skip
    assert d.min() > 0
    assert stats.kstest(d, stats.truncnorm(-1.0, np.inf, 1.0, 1.0).cdf).pvalue > 1e-3


def test_cholesky_rebuilds_the_covariance() -> None:
    rng = np.random.default_rng(0)
    sigma = np.array([0.5, 0.2, 0.03, 0.04])
    a = rng.normal(size=(4, 8))
    corr = np.corrcoef(a)
    lower = corr[np.tril_indices(4, -1)]
    factor = np.empty((4, 4))
    assert cholesky(sigma, lower, factor)
    np.testing.assert_allclose(factor @ factor.T, corr * np.outer(sigma, sigma), atol=1e-15)
    sigma[0] = 0.0
    assert cholesky(sigma, lower, factor)
    np.testing.assert_allclose((factor @ factor.T)[1:, 1:], (corr * np.outer(sigma, sigma))[1:, 1:])
    assert not (factor @ factor.T)[0].any()


def test_impossible_correlations_are_ignored_and_told() -> None:
    sigma, factor = np.array([1.0, 2.0, 3.0, 4.0]), np.empty((4, 4))
    # Each pair possible, all together not: x~y, y~z, x against z.
    assert not cholesky(sigma, np.array([0.9, -0.9, 0.9, 0.0, 0.0, 0.0]), factor)
    np.testing.assert_array_equal(factor, np.diag(sigma))
