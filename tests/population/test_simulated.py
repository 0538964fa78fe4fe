"""Simulated stars: the laws they are drawn from, and what is written of them."""

import numpy as np
import pytest
from scipy import stats
from scipy.stats import multivariate_normal

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.mock.model_stars import (
    AGES,
    PopulationTruth,
    SurveyErrors,
    simulated_stars,
)
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
