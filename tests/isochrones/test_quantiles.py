"""Posterior quantiles and CDF against closed forms; one isochrone against its source."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from migrate_bayes.core.errors import IsochroneError, ProductError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.isochrones import age_cdf, age_quantiles, isochrone, load_source
from migrate_bayes.isochrones.intervals import summarise

NODES = np.concatenate([np.arange(1.0, 5.01, 0.25), np.arange(5.5, 14.51, 0.5)])


def product(log_like, *, method="fine", log_prior=None, flag=None):
    n = len(log_like)
    prior = np.zeros(len(NODES)) if log_prior is None else log_prior
    return xr.Dataset(
        {
            "log_age_likelihood": (("star", "age"), (log_like + prior).astype(np.float32)),
            "log_interim_prior": ("age", prior),
            "flag": ("star", np.zeros(n, dtype=np.int32) if flag is None else flag),
        },
        coords={"age": NODES},
        attrs={"age_method": method},
    )


def gaussians(mean, sd):
    return -0.5 * ((NODES - np.asarray(mean)[:, None]) / np.asarray(sd)[:, None]) ** 2


def test_gaussian_likelihood_has_the_quantiles_of_a_truncated_gaussian():
    mean, sd = np.array([4.0, 7.3, 9.1, 13.5]), np.array([0.6, 1.0, 1.5, 1.2])
    ages = product(gaussians(mean, sd))
    p = np.array([0.025, 0.16, 0.5, 0.84, 0.975])
    limits = [(NODES[0] - mean) / sd, (NODES[-1] - mean) / sd]
    for k in range(len(mean)):
        exact = stats.truncnorm(limits[0][k], limits[1][k], mean[k], sd[k])
        found = age_quantiles(ages, p).values[k]
        np.testing.assert_allclose(found, exact.ppf(p), atol=0.02 * sd[k])
        for t in (mean[k] - sd[k], mean[k] + 0.3 * sd[k]):
            when = np.full(len(mean), t)
            assert age_cdf(ages, when).values[k] == pytest.approx(exact.cdf(t), abs=0.01)


def test_log_flat_prior_of_a_flat_likelihood_is_uniform_in_log_age():
    ages = product(np.zeros((1, len(NODES))), log_prior=-np.log(NODES))
    ratio = NODES[-1] / NODES[0]
    p = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(age_quantiles(ages, p).values[0], ratio**p, rtol=5e-3)


@pytest.mark.parametrize("method", ["fine", "paper"])
def test_cdf_inverts_quantiles_and_the_median_is_that_of_the_summary(method):
    rng = np.random.default_rng(5)
    log_like = gaussians(rng.uniform(1, 14, 40), rng.uniform(0.2, 3.0, 40))
    log_like -= 2.0 * rng.random((40, 1)) * np.sin(NODES)
    ages = product(log_like, method=method)
    p = np.array([0.01, 0.3, 0.5, 0.77, 0.999])
    q = age_quantiles(ages, p).values
    for k, level in enumerate(p):
        np.testing.assert_allclose(age_cdf(ages, q[:, k]).values, level, atol=1e-9)
    out = np.empty((40, 4))
    stored = ages.log_age_likelihood.values.astype(np.float64)
    summarise(NODES, stored, np.zeros(len(NODES)), method == "fine", out)
    np.testing.assert_allclose(q[:, 2], out[:, 1], atol=0.01)


def test_limits_and_stars_without_an_age():
    flag = np.array([0, StarFlag.OFF_GRID], dtype=np.int32)
    ages = product(np.zeros((2, len(NODES))), flag=flag)
    assert age_quantiles(ages, [0.0, 1.0]).values[0] == pytest.approx([1.0, 14.5])
    assert np.isnan(age_quantiles(ages, 0.5).values[1]).all()
    np.testing.assert_array_equal(age_cdf(ages, 0.2).values, [0.0, np.nan])
    assert age_cdf(ages, 20.0).values[0] == pytest.approx(1.0)
    assert np.isnan(age_cdf(ages, np.nan).values).all()
    with pytest.raises(ProductError, match=r"\[0, 1\]"):
        age_quantiles(ages, 1.5)
    with pytest.raises(ProductError, match="estimate_ages"):
        age_cdf(ages.drop_vars("log_interim_prior"), 1.0)


def test_isochrone_is_the_sources_own_at_a_node_and_between_its_neighbours():
    source = load_source("dartmouth")
    i, j = 12, len(source.feh) - 3
    at_node = isochrone(source, source.ages[i], source.feh[j], feh_scale="initial")
    own = source.values[i, j, 0]
    own = own[np.isfinite(own).all(axis=1)]
    np.testing.assert_allclose(at_node["teff"], own[:, 1], rtol=1e-6)
    np.testing.assert_allclose(at_node["abs_g"], own[:, 3], rtol=1e-5, atol=1e-6)
    older = isochrone(source, source.ages[i + 1], source.feh[j], feh_scale="initial")
    middle = isochrone(
        source, np.sqrt(source.ages[i] * source.ages[i + 1]), source.feh[j], feh_scale="initial"
    )
    turnoff = [line["teff"][line["logg"] > 3.5].max() for line in (older, middle, at_node)]
    assert turnoff[0] < turnoff[1] < turnoff[2]


def test_isochrone_outside_the_source_says_what_there_is():
    with pytest.raises(IsochroneError, match="age outside isochrone source 'dartmouth'"):
        isochrone("dartmouth", 40.0)
    with pytest.raises(IsochroneError, match=r"initial \[Fe/H\] outside"):
        isochrone("dartmouth", 4.0, 1.5)
