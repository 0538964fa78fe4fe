"""Bailer-Jones-like distances against independent integrals and limits."""

import numpy as np
import pytest
from scipy import integrate, stats

from migrate_bayes.mock.instruments import PROBABILITIES, distance_quantiles, prior_length


@pytest.mark.parametrize(
    ("parallax", "error", "length"),
    [(2.0, 0.02, 0.6), (0.5, 0.05, 1.0), (0.2, 0.1, 0.8), (0.05, 0.09, 1.0), (-0.1, 0.1, 0.5)],
)
def test_quantiles_against_quadrature(parallax, error, length):
    def density(d):
        return d**2 * np.exp(-d / length - 0.5 * ((parallax - 1 / d) / error) ** 2)

    d = np.geomspace(0.01, 60 * length, 400_001)
    p = density(d)
    total = integrate.cumulative_simpson(p, x=d, initial=0.0)
    expected = np.interp(PROBABILITIES, total / total[-1], d)
    found = distance_quantiles(np.array([parallax]), np.array([error]), np.array([length]))[0]
    np.testing.assert_allclose(found, expected, rtol=2e-4)


def test_good_parallaxes_give_their_inverse_and_bad_ones_the_prior():
    good = distance_quantiles(np.array([4.0]), np.array([0.004]), np.array([0.7]))[0]
    np.testing.assert_allclose(good, 0.25 * np.array([0.999, 1.0, 1.001]), rtol=1e-5)
    none = distance_quantiles(np.array([1.0]), np.array([1e4]), np.array([0.7]))[0]
    # d² exp(-d/L) is a gamma law; what a hopeless parallax still excludes is distance zero.
    np.testing.assert_allclose(none, stats.gamma(3, scale=0.7).ppf(PROBABILITIES), rtol=2e-3)


def test_they_are_asymmetric_and_cover_the_truth_of_stars_drawn_from_the_prior():
    rng = np.random.default_rng(2)
    n = 20_000
    true = stats.gamma(3, scale=0.8).rvs(n, random_state=rng)
    error = np.full(n, 0.08)
    parallax = 1 / true + error * rng.standard_normal(n)
    low, mid, high = distance_quantiles(parallax, error, np.full(n, 0.8)).T
    assert np.mean((high - mid) > (mid - low)) > 0.95
    for value, p in zip((low, mid, high), PROBABILITIES, strict=True):
        assert np.mean(true < value) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / n))


def test_prior_is_longer_in_the_plane():
    np.testing.assert_allclose(prior_length(np.array([0.0, 90.0])), [1.0, 0.4])
