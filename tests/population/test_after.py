"""After the fit: membership streamed to file, predictive checks, pointwise likelihoods."""

import json
import warnings

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pymc as pm
import pytest
import xarray as xr

import migrate_bayes.population.compare_forms as forms
from migrate_bayes.core.errors import FitError
from migrate_bayes.population import ModelSpec, PopulationModel, compare_elpd, population_data
from migrate_bayes.population.results.loo import leave_one_out
from migrate_bayes.population.results.membership import age_intervals
from migrate_bayes.population.sampling.density import find_mode
from migrate_bayes.population.sampling.posterior import posterior_tree
from migrate_bayes.stars import open_stars

N = 5000


def laplace(density, n=60, seed=0):
    """Draws of the normal at the mode, as a posterior of two chains."""
    mode = find_mode(density)
    rng = np.random.default_rng(seed)
    x = (
        mode.vector
        + rng.normal(size=(2, n // 2, density.n)) @ np.linalg.cholesky(mode.covariance).T
    )
    return posterior_tree(density, x)["posterior"].to_dataset()


@pytest.fixture(scope="module")
def data(make_stars):
    return population_data(make_stars(N, seed=11))


@pytest.fixture(scope="module")
def model(data, small_spec):
    return PopulationModel(data, small_spec)


@pytest.fixture(scope="module")
def density(data, small_density):
    return small_density(data)


@pytest.fixture(scope="module")
def posterior(density):
    return laplace(density)


def test_a_form_that_may_not_be_believed_is_not_ranked(data, small, monkeypatch):
    """The best of all by its elpd, but its chains disagree."""
    rng = np.random.default_rng(0)

    class StandIn:
        def __init__(self, data, spec, **_):
            self.form = spec.form

        def sample(self, *_, **__):
            draws = rng.normal(size=(4, 300))
            draws[0] += 5.0 * (self.form == "free")
            posterior = xr.Dataset({"gradient_young": (("chain", "draw"), draws)})
            posterior["flattening_rate"] = posterior["gradient_young"]
            return xr.DataTree.from_dict({"posterior": posterior})

        def loo(self, *_, **__):
            elpd = np.full(50, {"free": 0.0, "linear": -1.0, "constant": -2.0}[self.form])
            of_star = {"elpd_i": elpd, "approximation": elpd, "pareto_k": 0 * elpd}
            total = {"elpd": elpd.sum(), "approximation_sum": elpd.sum(), "p_loo": 2.0}
            made = xr.Dataset({k: ("observation", v) for k, v in of_star.items()} | total)
            made["index"] = ("observation", np.arange(50))
            return made.assign_attrs(n_stars=50)

    monkeypatch.setattr(forms, "PopulationModel", StandIn)
    table, tree = forms.compare_forms(
        data, ModelSpec(form="linear", **small), ["constant", "free", "linear"]
    )
    assert list(table.index) == ["linear", "constant", "free"]
    assert table["difference"].tolist()[:2] == [0.0, -50.0]
    assert table.loc["free"].drop("doubt").isna().all()
    assert json.loads(tree.attrs["table"])["free"]["elpd"] is None
    lines = []
    forms.print_comparison(table, say=lines.append)
    (row,) = [line for line in lines if "× free" in line]
    assert row.split()[2:] == ["withheld"] * 6
    assert "free: The fit may not be believed: R-hat" in lines[-1]
    table, _ = forms.compare_forms(data, ModelSpec(**small | {"form": "free"}), ["free", "linear"])
    assert table.loc["linear", "difference"] == 0.0


def test_age_intervals_of_even_and_of_certain_ages():
    ages = np.array([1.0, 2.0, 4.0, 8.0])
    widths = np.array([0.5, 1.5, 3.0, 2.0])
    even = widths / widths.sum()
    certain = np.array([0.0, 1.0, 0.0, 0.0])
    q = np.array([0.01, 0.16, 0.5, 0.84, 1.0])
    found = age_intervals(ages, np.stack([even, certain]), q)
    np.testing.assert_allclose(found[:, 0], 1.0 + 7.0 * q)
    np.testing.assert_allclose(found[:, 1], 1.5 + 1.5 * q)


def test_streamed_membership_is_the_one_in_memory(tmp_path, model, data, posterior):
    one_thread = PopulationModel(data, model.spec, workers=1)
    whole = one_thread.membership(posterior, draws=7, seed=3)
    path = tmp_path / "membership"
    summary = model.write_membership(
        path, posterior, draws=7, seed=3, part_size=1300, attrs={"seed": "3"}
    )
    assert len(list(path.glob("part-*.nc"))) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["membership"]
    written = open_stars(path)
    for name in whole.data_vars:
        np.testing.assert_array_equal(whole[name], summary[name])
        np.testing.assert_array_equal(whole[name], written[name])
        assert "units" in written[name].attrs
    np.testing.assert_array_equal(written["source_id"], data.source_id)
    age = written["age_posterior"].values
    np.testing.assert_allclose(age.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(age @ data.ages, whole["age_population"], rtol=1e-5)
    total = whole["p_thin"] + whole["p_thick"] + whole["p_outlier"]
    np.testing.assert_allclose(total, 1.0, atol=1e-6)


def test_memberships_and_ages_are_calibrated(model, data, posterior, make_stars):
    made = model.membership(posterior, draws=20)
    thick = make_stars(N, seed=11)["thick"].values
    p = made["p_thin"].values.astype(float)
    for low, high in [(0.0, 0.2), (0.2, 0.8), (0.8, 1.0)]:
        inside = (p >= low) & (p <= high)
        assert abs(1 - thick[inside].mean() - p[inside].mean()) < 4 * np.sqrt(0.25 / inside.sum())
    # The average star's posterior is the population's: its mean age is that of the draws' model.
    theta = model.theta_draws(posterior, n=20)
    weight = np.exp(theta[..., 0]).sum(axis=1)
    mean = (weight @ data.ages).mean()
    assert made["age_population"].values.mean() == pytest.approx(mean, abs=0.1)


def test_prior_predictive_densities_are_densities(model, data, posterior):
    made = model.prior_predictive(posterior, draws=20)
    step = {"feh": 0.05, "alpha_fe": 0.0125}
    for name, width in step.items():
        assert made[f"{name}_data"].sum() * width == pytest.approx(1.0, abs=0.01)
        middle = made[f"{name}_density"].sel(band=0.5)
        assert middle.sum() * width == pytest.approx(1.0, abs=0.02)
        # A fitted model's distribution is that of its stars.
        cumulated = np.abs((middle - made[f"{name}_data"]).cumsum().values * width)
        assert cumulated.max() < 0.04
    assert model.prior_predictive(draws=5, stars=100).attrs["draws"] == 5  # of its own prior
    assert made["gradient"].dims == ("band", "component", "age")
    assert made["gradient"].attrs["units"] == "dex / kpc"


def test_replicates_of_the_right_model_are_like_the_stars(model, data, posterior):
    checks = model.predictive(posterior, draws=60)
    p = checks["tail_probability"].values
    p = p[np.isfinite(p)]
    assert len(p) > 100
    outside = ((p < 0.025) | (p > 0.975)).mean()
    assert outside < 0.12
    assert int(checks["n_stars"].sum()) == N
    half_width = 0.5 * (checks["replicated_hi"] - checks["replicated_lo"])
    assert float(half_width.min()) > 0


def test_replicates_of_a_wrong_model_are_not(make_stars, model, posterior):
    # [α/Fe] of the old stars raised by 0.03: the tails must say so, there and only there.
    stars = make_stars(N, seed=11)
    old = stars["age"].values[stars["log_age_likelihood"].values.argmax(axis=1)] > 8
    stars["alpha_fe"] = stars["alpha_fe"] + 0.03 * xr.DataArray(old, dims="star")
    checks = PopulationModel(population_data(stars), model.spec).predictive(posterior, draws=40)
    p = checks["tail_probability"].sel(observable="alpha_fe", quantile=0.5)
    assert (p.isel(age_bin=[4, 5]).values < 0.05).mean() > 0.6
    young = checks.sel(observable="alpha_fe", quantile=0.5).isel(age_bin=[0, 1])
    assert (np.abs(young["data"] - young["replicated"]) < 0.01).all()


def test_pointwise_is_each_stars_likelihood(model, data, posterior):
    tree = model.log_likelihood(posterior, stars=300, draws=8, seed=1)
    values = tree["log_likelihood"]["star"]
    index = tree["log_likelihood"]["index"].values
    step = -(-60 // 8)
    theta = model.theta_draws(posterior.isel(draw=slice(None, None, step)))
    assert values.shape == (2, len(theta) // 2, 300)
    whole, _ = model.likelihood.per_star(theta[-1])
    np.testing.assert_allclose(values[-1, -1], whole[index], rtol=1e-10)


def test_a_fit_as_it_comes_is_what_arviz_and_pymc_take(model, posterior):
    tree = xr.DataTree.from_dict({"posterior": posterior})
    fit = tree.assign(model._of_shown(tree, seed=0))
    observed, drawn = fit["observed_data"], fit["posterior_predictive"]
    for name in ("feh", "alpha_fe"):
        assert drawn[name].shape == (2, 30, 1000)
        # Replicates are like the stars, and no two draws are alike.
        assert abs(float(drawn[name].mean() - observed[name].mean())) < 0.02
        assert float(drawn[name].std() / observed[name].std()) == pytest.approx(1, abs=0.1)
    index = fit["log_likelihood"]["index"].values
    assert (fit["log_likelihood"]["source_id"].values == model.data.source_id[index]).all()
    with pytest.warns(UserWarning, match="shape parameter"):  # of 60 draws
        assert az.loo(fit).n_data_points == 1000
    assert set(az.plot_ppc_dist(fit, num_samples=20).viz["plot"].data_vars) == {"feh", "alpha_fe"}
    plt.close("all")
    one, other = leave_one_out(fit), model.loo(posterior, stars=1000)
    xr.testing.assert_identical(one, other)
    with model.pymc, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Numba will use object mode")
        of_pymc = pm.sample_posterior_predictive(
            fit.isel(draw=slice(10)), random_seed=1, progressbar=False
        )["posterior_predictive"]["stars"].values
    assert of_pymc.shape == (2, 10, 1000, 2)
    apart = of_pymc.mean(axis=(0, 1, 2)) - [observed["feh"].mean(), observed["alpha_fe"].mean()]
    assert np.abs(apart).max() < 0.02


def test_subsampled_leave_one_out_is_that_of_all_stars(model, density, posterior):
    whole = model.loo(posterior, stars=N)
    part = model.loo(posterior, stars=1000, seed=5)
    assert float(whole["subsampling_sd"]) == 0.0
    assert float(whole["elpd"]) == pytest.approx(float(whole["elpd_i"].sum()), rel=1e-12)
    assert 0 < float(part["subsampling_sd"]) < 3
    assert abs(float(part["elpd"] - whole["elpd"])) < 4 * float(part["subsampling_sd"])
    # As many parameters as the model has, about: a few are held by their priors.
    assert 0.5 * density.n < float(whole["p_loo"]) < 1.3 * density.n


def test_what_predicts_worse_is_ranked_lower(model, posterior, make_stars):
    # The same model with another flattening: its loss is that of the likelihood, star by star.
    wrong = posterior.assign(flattening_rate=posterior["flattening_rate"] - 0.02)
    one = model.loo(posterior, stars=1500)
    two = model.loo(wrong, stars=1500)
    table = compare_elpd({"wrong": two, "right": one})
    assert list(table.index) == ["right", "wrong"]
    assert table.loc["right", "difference"] == 0
    row = table.loc["wrong"]
    assert row["difference"] < -5 * row["sd"]
    assert row["p_worse"] > 0.999
    every = []
    for draws in (posterior, wrong):
        theta = model.theta_draws(draws).mean(axis=0)
        every.append(model.likelihood.value_and_gradient(theta)[0])
    assert row["difference"] == pytest.approx(every[1] - every[0], rel=0.15)
    other = population_data(make_stars(100, seed=1))
    small = PopulationModel(other, model.spec).loo(posterior)
    with pytest.raises(FitError, match="not models of the same stars"):
        compare_elpd({"right": one, "small": small})
