"""Samples that say little or nothing: a sound wide posterior or a clear message, never NaN."""

import numpy as np
import pytest

from migrate_bayes.core.errors import FitError, RecipeError
from migrate_bayes.mock.model_stars import AGES, PopulationTruth, simulated_stars
from migrate_bayes.population import PopulationModel, population_data
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.sampling import posterior
from migrate_bayes.population.sampling.density import find_mode


def _few():
    return simulated_stars(50, seed=1)


def _no_thick():
    return simulated_stars(400, seed=2, truth=PopulationTruth(thick_fraction=0.0))


def _one_age():
    theta = PopulationTruth().theta(AGES)
    theta[..., 0] = np.where(np.arange(len(AGES)) == 14, np.log([[0.85], [0.15]]), -1e5)
    stars = simulated_stars(400, seed=3, truth=theta)
    stars["log_age_likelihood"][:] = np.where(np.arange(len(AGES)) == 14, 0.0, -np.inf)
    return stars


def _one_radius():
    stars = simulated_stars(400, seed=4)
    stars["rg_mean"][:] = 8.0
    stars["rg_sd"][:] = 0.0
    return stars


def _no_metallicity_at_impossible_ages():
    stars = simulated_stars(400, seed=5)
    impossible = stars["log_age_likelihood"] < -8.0
    for name in ("feh_mean", "feh_sd"):
        stars[name] = stars[name].where(~impossible)
    return stars


SAMPLES = {
    "50 stars": _few,
    "no thick disc": _no_thick,
    "one age": _one_age,
    "one radius": _one_radius,
    "no [Fe/H] where the age is impossible": _no_metallicity_at_impossible_ages,
}


@pytest.fixture(scope="module")
def model_and_density(small_spec, small_density):
    data = population_data(_few())
    model = PopulationModel(data, small_spec)
    return model, small_density(data)


# Without a spread of radii the trajectories are long: 50,000 passes for the draws asked for here.
_LONG = "one radius"


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n == _LONG else []) for n in SAMPLES]
)
def test_mode_and_draws_are_finite_and_wide(model_and_density, name, monkeypatch):
    model, density = model_and_density
    data = population_data(SAMPLES[name]())
    density = density.over(StarLikelihood(data.stars, workers=1))
    mode = find_mode(density)
    assert np.isfinite(mode.vector).all()
    assert np.linalg.eigvalsh(mode.covariance).min() > 0
    monkeypatch.setattr(posterior, "find_modes", lambda *_, **__: [mode])  # as it would again
    tree = model.sample(
        method="nuts", density=density, draws=10, tune=10, chains=2, starts=1, patience=1, seed=1,
        target_accept=0.6, prior_draws=0, progressbar=False,
    )  # fmt: skip
    draws = tree["posterior"]
    for variable in draws.data_vars.values():
        assert np.isfinite(variable.values).all(), variable.name
    # What a sample cannot say stays as wide as the prior left it.
    prior_sd = {"gradient_thick": 0.05, "flattening_rate": 0.01, "gradient_reference": 0.05}
    unknown = {
        "no thick disc": ["gradient_thick"],
        "one age": ["flattening_rate"],
        "one radius": ["gradient_thick", "flattening_rate"],
    }
    for parameter in unknown.get(name, []):
        assert draws[parameter].std() > 0.4 * prior_sd[parameter], parameter


def test_impossible_stars_are_left_out_and_counted():
    stars = simulated_stars(200, seed=6)
    clean = population_data(stars.isel(star=slice(2, None)))
    stars["feh"][0] = 50.0
    stars["feh_mean"][0] = 50.0
    stars["rg_mean"][1] = 1e4
    data = population_data(stars)
    assert data.n_stars == 198
    assert sum(data.left_out.values()) == 2
    assert any("outside" in why for why in data.left_out)
    np.testing.assert_array_equal(np.sort(data.stars.blocks.rows), np.sort(clean.stars.blocks.rows))


def test_far_outliers_stay_finite_in_the_likelihood(model_and_density):
    # Within what is possible, but 60 standard deviations out.
    _, density = model_and_density
    stars = simulated_stars(100, seed=7)
    stars["feh"][0] = stars["feh_mean"][0] = -7.9
    stars["rg_mean"][1] = 99.0
    stars["alpha_fe"][2] = 40.0
    stars["ln_zmax_mean"][3] = -60.0
    density = density.over(StarLikelihood(population_data(stars).stars, workers=1))
    value, gradient = density(density.start)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("nothing", [-np.inf, np.nan])
def test_ages_that_are_zero_everywhere(nothing):
    stars = simulated_stars(30, seed=8)
    stars["log_age_likelihood"][:] = nothing
    with pytest.raises(FitError, match="30 have no age likelihood"):
        population_data(stars)


def test_unknown_method(model_and_density):
    model, density = model_and_density
    said = "'method': Input should be 'auto', 'nuts' or 'surrogate'; did you mean 'nuts'"
    with pytest.raises(RecipeError, match=said):
        model.sample(method="nust", density=density)
    with pytest.raises(RecipeError, match="unknown entry 'drwas'; did you mean 'draws'"):
        model.sample(drwas=10, density=density)
