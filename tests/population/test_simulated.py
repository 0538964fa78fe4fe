"""Simulated stars: the laws they are drawn from, and what is written of them."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.stats import multivariate_normal

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.mock.model_stars import (
    AGES,
    PopulationTruth,
    SurveyErrors,
    simulated_stars,
)
from migrate_bayes.population.likelihood.selected import Completeness
from migrate_bayes.population.likelihood.theta import THETA

N = 20_000


@pytest.fixture(scope="module")
def sample():
    return simulated_stars(N, seed=3)


def test_a_shorter_sample_begins_a_longer_one(sample):
    short = simulated_stars(500, seed=3)
    for name in short.data_vars:
        if "star" in short[name].dims:
            np.testing.assert_array_equal(short[name], sample[name][:500], err_msg=name)
    assert (simulated_stars(10, seed=4)["feh"].values != short["feh"].values[:10]).all()


def test_truth_is_the_model(sample):
    truth = PopulationTruth()
    theta = truth.theta(AGES)
    assert np.exp(theta[..., 0]).sum() == pytest.approx(1.0, rel=1e-12)
    assert np.exp(theta[1, :, 0]).sum() == pytest.approx(truth.thick_fraction, rel=1e-12)
    slope = theta[0, :, THETA.index("G")]
    np.testing.assert_allclose(slope, -0.075 + 0.003 * (AGES - 1))
    thick = sample["true_component"].values == 1
    assert stats.binomtest(int(thick.sum()), N, truth.thick_fraction).pvalue > 1e-3
    x = sample["true_rg"].values - PIVOT_RADIUS
    age = sample["true_age"].values
    feh = sample["true_feh"].values
    for members, design, expected in [
        (~thick, np.stack([np.ones(N), age - 1, x, x * (age - 1)], 1), (-0.075, 0.003)),
        (thick, np.stack([np.ones(N), x], 1), (0.02,)),
    ]:
        d, y = design[members], feh[members]
        beta, rss, *_ = np.linalg.lstsq(d, y)
        cov = rss / len(y) * np.linalg.inv(d.T @ d)
        k = len(expected)
        pull = (beta[-k:] - expected) / np.sqrt(np.diag(cov)[-k:])
        assert np.abs(pull).max() < 4


def test_likelihood_of_age_and_metallicity_is_the_joint_normal_of_their_errors():
    errors = SurveyErrors(age=0.1, feh=0.05, age_feh_correlation=-0.6, spread=0.0)
    s = simulated_stars(20, seed=1, errors=errors)
    covariance = np.array([[0.1**2, -0.6 * 0.1 * 0.05], [-0.6 * 0.1 * 0.05, 0.05**2]])
    u_hat = np.arcsinh(s["age_ml"].values / 3.0)
    for i in np.flatnonzero((s["age_ml"] > AGES[0]) & (s["age_ml"] < AGES[-1]))[:5]:
        for feh in (-0.3, 0.1):
            mine, joint = [], []
            for k in (5, 15, 25):
                conditional = stats.norm(s["feh_mean"].values[i, k], s["feh_sd"].values[i, k])
                mine.append(s["log_age_likelihood"].values[i, k] + conditional.logpdf(feh))
                observed = [u_hat[i], s["feh"].values[i]]
                expected = [np.arcsinh(AGES[k] / 3.0), feh]
                joint.append(multivariate_normal(expected, covariance).logpdf(observed))
            np.testing.assert_allclose(np.diff(mine), np.diff(joint), rtol=1e-4, atol=1e-4)


def test_errors_are_what_they_say(sample):
    pulls = {
        "rg": (sample["rg_mean"][:, 0] - sample["true_rg"]) / sample["rg_sd"][:, 0],
        "feh": (sample["feh"] - sample["true_feh"]) / sample["feh_error"],
    }
    for name, pull in pulls.items():
        assert stats.kstest(pull.values, "norm").pvalue > 1e-3, name


def test_theta_at_the_nodes_gives_ages_at_the_nodes():
    theta = PopulationTruth(thick_fraction=0.0).theta(AGES)
    s = simulated_stars(2000, seed=5, truth=theta)
    assert np.isin(s["true_age"].values, AGES).all()
    assert (s["true_component"].values == 0).all()


@pytest.mark.parametrize("rho", [0.0, -0.6])
def test_stars_are_taken_by_their_data(rho):
    # A chance that falls with the datum F̂ as N(F̂; 0.1, w² - e²) is, over its errors, N(F; 0.1, w²).
    z, s, e, w = -0.2, 0.15, 0.1, 0.2
    theta = PopulationTruth(0.0, 0.0, thick_fraction=0.0, scatter_thin=s).theta(AGES)
    theta[..., THETA.index("Z")], theta[..., THETA.index("s2")] = z, s**2
    axes = {"age": [1.0, 9.0], "r_present": [5.0, 8.0, 11.0], "feh": np.arange(-2.0, 2.01, 0.05)}
    ln_s = np.broadcast_to(-0.5 * ((axes["feh"] - 0.1) / w) ** 2, (2, 3, 81))
    table = Completeness.of(xr.Dataset({"ln_s": (tuple(axes), ln_s)}, coords=axes), AGES)
    errors = SurveyErrors(age=0.05, feh=e, age_feh_correlation=rho, spread=0.0)
    taken = simulated_stars(N, seed=9, truth=theta, errors=errors, completeness=table)

    def product(mean, variance, other):
        both = 1.0 / (1.0 / variance + 1.0 / other)
        return both * (mean / variance + 0.1 / other), np.sqrt(both)

    true, seen = taken["true_feh"].values, taken["feh"].values
    for values, law in [
        (true, product(z, s**2, w**2)),
        (seen, product(z, s**2 + e**2, w**2 - e**2)),
        # Of a datum F̂ it is no longer seen that its star was taken.
        (true - (z * e**2 + seen * s**2) / (s**2 + e**2), (0.0, s * e / np.hypot(s, e))),
    ]:
        assert stats.kstest((values - law[0]) / law[1], "norm").pvalue > 1e-3
    # The error of age moves along, and what it does not share with that of [Fe/H] stays as it was.
    u = (np.arcsinh(taken["age_ml"] / 3.0) - np.arcsinh(taken["true_age"] / 3.0)).values / 0.05
    within = (taken["age_ml"] > AGES[0]).values & (taken["age_ml"] < AGES[-1]).values
    rest = (u - rho * (seen - true) / e)[within]
    assert abs(rest.mean()) < 4.0 * rest.std() / np.sqrt(len(rest)) + 0.02
