"""Pairing and the division of variance: closed forms, limits, conservation."""

import numpy as np
import pytest

from migrate_bayes.compare.decomposition import INTERACTION, WITHIN, decompose
from migrate_bayes.compare.influence import correlation, paired_covariance, paired_draws


def test_paired_covariance_is_over_the_stars_both_hold():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(6, 2)), rng.normal(size=(5, 2))
    # b holds stars 3..7 in another order: it shares 3, 4, 5 with a.
    order = np.array([2, 0, 4, 1, 3])
    covariance = paired_covariance([np.arange(6), np.arange(3, 8)[order]], [a, b[order]])
    for q in range(2):
        assert covariance[q, 0, 1] == pytest.approx(a[3:, q] @ b[:3, q])
        assert covariance[q, 1, 1] == pytest.approx(b[:, q] @ b[:, q])
        assert np.linalg.eigvalsh(covariance[q]).min() > -1e-12


def test_differences_of_gaussians_have_the_closed_form():
    rng = np.random.default_rng(2)
    sd, rho = np.array([1.0, 1.3]), 0.95
    marginals = [0.2 + sd[0] * rng.normal(size=20_000), sd[1] * rng.normal(size=20_000)]
    draws = paired_draws(marginals, np.array([[1, rho], [rho, 1]]), draws=40_000, seed=5)
    expected = np.sqrt(sd[0] ** 2 + sd[1] ** 2 - 2 * rho * sd.prod())
    assert np.std(draws[0] - draws[1]) == pytest.approx(expected, rel=0.02)
    # The marginals are the posteriors themselves, whatever their shape.
    skewed = paired_draws([np.exp(marginals[0]), marginals[1]], np.eye(2), draws=40_000, seed=5)
    q = [5, 50, 95]
    np.testing.assert_allclose(
        np.percentile(skewed[0], q), np.percentile(np.exp(marginals[0]), q), rtol=0.03
    )


def test_a_variant_differs_from_its_like_by_nothing():
    m = np.random.default_rng(3).normal(size=500)
    # In another order: what is paired is the distributions, not the positions.
    draws = paired_draws([m, m[::-1]], np.ones((2, 2)), draws=1000, seed=1)
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-10)


def test_correlation_of_a_quantity_without_influence():
    rho = correlation(np.array([[4.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(rho, np.eye(2))


def _two_way():
    rows, columns = np.array([0.0, 1.0, 5.0]), np.array([-1.0, 3.0])
    twist = np.array([[0.3, -0.3], [-0.5, 0.5], [0.2, -0.2]])  # sums to 0 along both
    mean = (rows[:, None] + columns + twist).ravel()
    factors = {"row": np.repeat(["a", "b", "c"], 2).tolist(), "column": [1.0, 2.0] * 3}
    return mean, factors, rows, columns, twist


def test_full_factorial_gives_the_classical_main_effects():
    mean, factors, rows, columns, twist = _two_way()
    sd = np.full(6, 0.4)
    shares = {s.source: s for s in decompose(mean, sd, np.zeros((6, 6)), factors)}
    assert shares[WITHIN].variance == pytest.approx(0.16)
    assert shares["row"].variance == pytest.approx(np.var(rows))
    assert shares["column"].variance == pytest.approx(np.var(columns))
    assert shares[INTERACTION].variance == pytest.approx(np.mean(twist**2))
    total = 0.16 + np.var(mean)
    assert sum(s.variance for s in shares.values()) == pytest.approx(total)


def test_one_at_a_time_no_factor_is_credited_with_another_s():
    """Potentials 0, 4, 9 at one V₀, and V₀ 0, 1, -1 at one potential: unbalanced, and apart."""
    mean = np.array([0.0, 4.0, 9.0, 1.0, -1.0]) - 3.0
    factors = {
        "potential": ["a", "b", "c", "a", "a"], "v0": [236, 236, 236, 220, 248], "r0": [8.2] * 5,
    }  # fmt: skip
    shares = {s.source: s for s in decompose(mean, np.ones(5), np.zeros((5, 5)), factors)}
    assert "r0" not in shares
    assert shares["potential"].variance == pytest.approx(np.var([0, 4, 9]))
    assert shares["v0"].variance == pytest.approx(np.var([0, 1, -1]))
    assert shares[INTERACTION].variance == pytest.approx(0.0, abs=1e-20)


def test_factors_that_never_part_share_alike():
    mean = np.array([0.0, 0.0, 2.0])
    factors = {"family": ["x", "x", "y"], "selection": ["p", "p", "q"]}
    shares = {s.source: s.variance for s in decompose(mean, np.ones(3), np.zeros((3, 3)), factors)}
    assert shares["family"] == pytest.approx(shares["selection"])


def test_noise_is_what_noise_alone_would_give():
    _, factors, *_ = _two_way()
    rng = np.random.default_rng(4)
    root = rng.normal(size=(6, 6)) * 0.2 + 1.0  # strongly correlated, as paired means are
    covariance = root @ root.T
    z = (root @ rng.normal(size=(6, 4000))).T
    found = [decompose(mean, np.ones(6), covariance, factors) for mean in z]
    for k in range(1, 4):
        values = np.array([f[k].variance for f in found])
        assert values.mean() == pytest.approx(found[0][k].noise, rel=0.08)
        # A common error of all variants is no difference between them.
        assert found[0][k].noise < 0.2 * np.trace(covariance) / 6
