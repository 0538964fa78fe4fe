"""Mixtures of fits: the law of total variance, quantiles, and weights that predict best."""

import json

import numpy as np
import pytest
import xarray as xr
from scipy import optimize, stats

from migrate_bayes import marginalise, stacking_weights
from migrate_bayes.core.errors import FitError
from migrate_bayes.population.results.marginal import (
    moments,
    named_weights,
    percentiles,
    pick,
    stack,
)

NAMES = ["dartmouth", "mist", "parsec"]


def _draws():
    rng = np.random.default_rng(1)
    return [rng.normal(m, s, n) for m, s, n in ((0, 1, 500), (4, 0.5, 2000), (-1, 2, 900))]


def test_variance_is_that_within_and_that_between():
    draws, w = _draws(), np.array([0.2, 0.5, 0.3])
    found = moments(draws, w)
    every = np.concatenate(draws)
    each = np.concatenate([np.full(len(d), v / len(d)) for d, v in zip(draws, w, strict=True)])
    assert found["mean"] == pytest.approx(each @ every)
    assert found["sd"] ** 2 == pytest.approx(each @ (every - found["mean"]) ** 2)
    assert found["sd"] ** 2 == pytest.approx(found["within"] ** 2 + found["between"] ** 2)
    # One fit by itself has nothing between, and is itself.
    alone = moments(draws, np.array([0.0, 1.0, 0.0]))
    assert (alone["mean"], alone["sd"]) == pytest.approx((draws[1].mean(), draws[1].std()))
    assert alone["between"] == 0
    assert percentiles(draws, np.array([0.0, 1.0, 0.0])) == pytest.approx(
        percentiles([draws[1]], np.ones(1))
    )


def test_percentiles_are_those_of_the_mixture_s_distribution():
    """Two families apart by many errors: an interval that no variance gives."""
    levels = (np.arange(4000) + 0.5) / 4000
    values = [stats.norm(m, 1).ppf(levels) for m in (-6.0, 6.0)]
    w = np.array([0.75, 0.25])
    found = percentiles(values, w)
    for name, p in (("lo95", 0.025), ("median", 0.5), ("hi68", 0.84), ("hi95", 0.975)):

        def beyond(x, p=p):
            return w @ stats.norm([-6.0, 6.0], 1).cdf(x) - p

        assert found[name] == pytest.approx(optimize.brentq(beyond, -12, 12), abs=0.02)


def test_nothing_depends_on_the_order_of_the_families():
    draws, w, turned = _draws(), np.array([0.2, 0.5, 0.3]), [2, 0, 1]
    for take in (moments, percentiles):
        assert take([draws[k] for k in turned], w[turned]) == pytest.approx(take(draws, w))
    # A tie in what is left over is broken by name.
    for weights, n in ((w, 1001), (np.full(3, 1 / 3), 1000)):
        sizes = np.array([len(d) for d in draws])
        mine = pick(NAMES, sizes, weights, n)
        other = pick([NAMES[k] for k in turned], sizes[turned], weights[turned], n)
        for k, place in enumerate(turned):
            np.testing.assert_array_equal(other[k], mine[place])
        counts = np.array([len(rows) for rows in mine])
        assert counts.sum() == n
        assert np.all(np.abs(counts - n * weights) < 1)
    log_density = np.random.default_rng(2).normal(size=(300, 3))
    np.testing.assert_allclose(stack(log_density[:, turned]), stack(log_density)[turned], atol=1e-6)


def _predictive(x, *means):
    return np.stack([stats.norm(m, 1.0).logpdf(x) for m in means], axis=1)


def test_stacking_finds_the_family_that_made_the_stars():
    x = np.random.default_rng(3).normal(1.0, 1.0, 2000)
    assert stack(_predictive(x, 0.0, 1.0, 2.5))[1] > 0.95


def test_stacking_keeps_families_that_mend_each_other_where_bayes_keeps_one():
    """No family is right: three tenths of the stars are like one and the rest like the other."""
    rng = np.random.default_rng(4)
    x = np.where(rng.random(4000) < 0.3, -1.5, 1.5) + rng.normal(size=4000)
    log_density = _predictive(x, -1.5, 1.5)
    # The share has an error of sqrt(0.3 0.7 / 4000) = 0.007, and a little more.
    assert stack(log_density)[0] == pytest.approx(0.3, abs=0.03)
    assert np.ptp(log_density.sum(axis=0)) > 1000


def test_no_weights_predict_better_than_those_of_stacking():
    log_density = np.random.default_rng(5).normal(size=(400, 4)) * [1.0, 1.0, 2.0, 0.1]
    w = stack(log_density)

    def mean_log(weights):
        return np.log(np.exp(log_density) @ weights).mean()

    for other in np.random.default_rng(6).dirichlet(np.full(4, 0.5), 2000):
        assert mean_log(other) < mean_log(w) + 1e-7


def test_families_alike_weigh_alike():
    one = np.random.default_rng(7).normal(size=500)
    np.testing.assert_allclose(stack(np.stack([one] * 3, axis=1)), 1 / 3)
    # Two of three: the share of both is theirs together.
    other = one + np.random.default_rng(8).normal(size=500)
    a, b, c = stack(np.stack([one, one, other], axis=1))
    assert a == pytest.approx(b)
    assert stack(np.stack([one, other], axis=1))[1] == pytest.approx(c, abs=1e-3)


def _result(elpd_i, index):
    made = xr.Dataset({"elpd_i": ("observation", elpd_i)}, {"index": ("observation", index)})
    return made.assign_attrs(n_stars=len(elpd_i))


def test_weights_are_refused_where_stars_differ():
    good = _result(np.zeros(5), np.arange(5))
    assert stacking_weights({"a": good, "b": good}) == {"a": 0.5, "b": 0.5}
    for other in (_result(np.zeros(5), np.arange(1, 6)), _result(np.zeros(4), np.arange(4))):
        with pytest.raises(FitError, match="'b' and 'a' are not models of the same stars"):
            stacking_weights({"a": good, "b": other})


def _fit(values, n_stars=9, ids=(1, 2)):
    posterior = xr.Dataset(
        {
            "flattening_rate": (("chain", "draw"), values, {"units": "dex / (kpc Gyr)"}),
            "gradient": (("chain", "draw", "age"), np.stack([values, 2 * values], axis=2)),
        }
    )
    seen = xr.Dataset(coords={"source_id": ("observation", np.array(ids))})
    tree = xr.DataTree.from_dict({"posterior": posterior, "observed_data": seen})
    tree.attrs["n_stars"] = n_stars
    return tree


def test_fits_are_mixed_into_one_posterior_that_arviz_reads():
    rng = np.random.default_rng(9)
    fits = {n: _fit(rng.normal(k, 1.0, (2, 400))) for k, n in enumerate(NAMES)}
    fits["parsec"]["posterior"] = fits["parsec"]["posterior"].to_dataset().assign(extra=1.0)
    weights = {"mist": 3.0, "dartmouth": 1.0, "parsec": 0.0}
    tree = marginalise(fits, weights, draws=1000)
    assert json.loads(tree.attrs["weights"]) == {"dartmouth": 0.25, "mist": 0.75, "parsec": 0.0}
    posterior = tree["posterior"].to_dataset()
    assert dict(posterior.sizes) == {"chain": 1, "draw": 1000, "age": 2}
    # The quantities of a draw are of one draw of one fit.
    rate = posterior["flattening_rate"].values[0]
    np.testing.assert_array_equal(posterior["gradient"].values[0], np.stack([rate, 2 * rate], 1))
    for name, n in (("dartmouth", 250), ("mist", 750)):
        mine = rate[posterior["member"].values == name]
        assert len(mine) == n
        assert np.isin(mine, fits[name]["posterior"]["flattening_rate"].values).all()
    found = tree["marginal"].to_dataset().sel(quantity="flattening_rate")
    assert found["between"] ** 2 == pytest.approx(0.75 * 0.25, rel=0.2)
    assert rate.std() == pytest.approx(float(found["sd"]), rel=0.05)
    assert found["unit"] == "dex / (kpc Gyr)"


def test_fits_of_other_stars_are_not_mixed():
    z = np.zeros((2, 4))
    for other in (_fit(z, n_stars=8), _fit(z, ids=(1, 3))):
        with pytest.raises(FitError, match="'b' and 'a' are not fits of the same stars"):
            marginalise({"a": _fit(z), "b": other})


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"dartmouth": 1.0, "mist": 1.0}, "differ in 'parsec'"),
        ({"dartmouth": 1.0, "msit": 1.0, "parsec": 1}, "did you mean 'mist'"),
        (dict.fromkeys(NAMES, 0.0), "not all 0"),
        ({"dartmouth": -1.0, "mist": 1.0, "parsec": 1.0}, "at least 0"),
        ("stacking", "'equal' or numbers"),
    ],
)
def test_weights_that_are_none(weights, message):
    with pytest.raises(FitError, match=message):
        named_weights(NAMES, weights)
