"""Coverage, rank tests and bands, against closed forms and independent simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest, norm

from migrate_bayes.checks.posterior import (
    Calibration,
    UniformRanks,
    coverage,
    rank_statistics,
    rank_test,
)
from migrate_bayes.checks.posterior.ranks import LEVELS, coverage_of_ranks


def normal_ranks(n: int, n_ranks: int, *, width: float = 1.0, shift: float = 0.0, seed: int = 0):
    """Ranks of the conjugate normal model: θ ~ N(0, 1), x | θ ~ N(θ, 1), θ | x ~ N(x/2, 1/2).

    The posterior's draws are made `width` times as wide and moved by `shift` standard deviations.
    """
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=n)
    x = theta + rng.normal(size=n)
    sd = np.sqrt(0.5)
    noise = rng.normal(size=(n_ranks - 1, n))
    return rank_statistics((x / 2 + sd * (shift + width * noise)).T, theta)


def test_coverage_counts_the_interval_between_order_statistics():
    ranks = np.arange(40)
    inside = {level: coverage_of_ranks(ranks, 40, level).inside for level in LEVELS}
    assert inside == {0.5: 20, 0.8: 32, 0.95: 38}
    with pytest.raises(ValueError, match="not whole"):
        coverage_of_ranks(ranks, 30, 0.95)


def test_coverage_of_draws_thins_them_to_whole_intervals():
    rng = np.random.default_rng(4)
    truth, draws = rng.normal(size=60), rng.normal(size=(60, 1000))
    ranks = rank_statistics(np.delete(draws, 500, axis=1), truth)
    assert coverage(draws, truth) == [coverage_of_ranks(ranks, 1000, level) for level in LEVELS]
    with pytest.raises(ValueError, match="too few"):
        coverage(draws[:, :30], truth)


def test_band_is_the_binomial_99_percent():
    found = coverage_of_ranks(np.full(200, 20), 40, 0.8)
    assert (found.inside, found.passed) == (200, False)
    inside = binom.cdf(found.high, 200, 0.8) - binom.cdf(found.low - 1, 200, 0.8)
    narrower = binom.cdf(found.high - 1, 200, 0.8) - binom.cdf(found.low, 200, 0.8)
    assert narrower < 0.99 <= inside


def test_a_right_posterior_is_covered_and_its_rank_is_uniform():
    ranks = normal_ranks(20_000, 80)
    for level in LEVELS:
        c = coverage_of_ranks(ranks, 80, level)
        assert c.fraction == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 20_000))
    assert rank_test(ranks, 80)[0] > 1e-3


@pytest.mark.parametrize(
    "wrong", [{"width": 0.7}, {"width": 1.5}, {"shift": 0.45}, {"shift": -0.45}]
)
def test_a_wrong_posterior_is_found_by_200_surveys(wrong):
    ranks = normal_ranks(200, 40, **wrong)
    assert UniformRanks(200, 40).p_value(ranks) < 0.01
    assert rank_test(ranks, 40)[0] < 0.05


def test_narrow_posteriors_cover_what_normal_theory_says():
    # An interval of ±z, z times too narrow by w, holds a share 2 Φ(w z) - 1.
    ranks = normal_ranks(20_000, 200, width=0.6, seed=3)
    for level in LEVELS:
        expected = 2 * norm.cdf(0.6 * norm.ppf(0.5 + level / 2)) - 1
        assert coverage_of_ranks(ranks, 200, level).fraction == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(("n", "n_ranks"), [(60, 40), (200, 80)])
def test_band_holds_the_whole_curve_as_often_as_it_says(n, n_ranks):
    uniform = UniformRanks(n, n_ranks, seed=5)
    rng = np.random.default_rng(6)  # other numbers than those that set the band
    for probability in (0.8, 0.95):
        low, high = uniform.band(probability)
        curves = [uniform.curve(rng.integers(0, n_ranks, n)) for _ in range(1500)]
        held = np.mean([np.all((c >= low) & (c <= high)) for c in curves])
        # Counts are whole numbers, so that a band holds at least what it should.
        assert probability - 0.03 < held < 0.5 * (1 + probability) + 0.02


def test_p_values_of_uniform_ranks_are_uniform():
    uniform = UniformRanks(200, 80)
    rng = np.random.default_rng(7)
    p = np.array([uniform.p_value(rng.integers(0, 80, 200)) for _ in range(600)])
    assert kstest(p, "uniform").pvalue > 1e-3
    chi = np.array([rank_test(rng.integers(0, 80, 200), 80)[0] for _ in range(600)])
    assert kstest(chi, "uniform").pvalue > 1e-3


def test_curve_and_bins():
    uniform = UniformRanks(4, 4)
    np.testing.assert_allclose(uniform.curve([0, 0, 2, 3]), [0.5, 0.5, 0.75])
    assert rank_test(np.arange(200) % 40, 40) == (1.0, 20)
    assert rank_test(np.arange(40), 40)[1] == 4


def test_calibration_gathers_and_judges():
    good, bad = normal_ranks(200, 40, seed=1), normal_ranks(200, 40, width=0.4, seed=2)

    def result(i: int) -> dict:
        both = {"g": 0.0, "f": 0.0}
        return {
            "truth": both, "mean": both, "sd": both, "rank": {"g": good[i], "f": bad[i]},
            "ess": 50.0 + i, "r_hat": 1.0, "divergences": 0, "draws": 200, "seconds": 2.0,
            "method": "surrogate", "pareto_k": 0.2 + 0.01 * i,
        }  # fmt: skip

    results = [result(i) for i in range(200)]
    assert Calibration(results, main=("g", "absent"), n_ranks=40).main == ("g",)
    assert Calibration(results, main=("g",), n_ranks=40).passed
    found = Calibration(results, main=("g", "f"), n_ranks=40)
    summary = found.summary()
    assert not found.passed
    assert summary["coverage"]["g"]["80%"]["pass"]
    assert not summary["coverage"]["f"]["50%"]["pass"]
    assert summary["rank_chi_square_p"]["f"] < 1e-4
    assert summary["min_ess"] == 50.0
    assert summary["methods"] == {"surrogate": 200}
    assert summary["max_pareto_k"] == pytest.approx(2.19)
    for level, (share, error) in zip(
        LEVELS, summary["coverage_all_parameters"].values(), strict=True
    ):
        both = [coverage_of_ranks(r, 40, level).fraction for r in (good, bad)]
        assert share == pytest.approx(np.mean(both), abs=1e-4)
        assert 0 < error < 0.5 / np.sqrt(200)
