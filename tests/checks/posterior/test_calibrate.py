"""The repeated fit, and calibration from prior to page."""

from __future__ import annotations

import json

import numpy as np
import pytest

from migrate_bayes.checks.posterior import CalibrateRecipe, Calibration, calibrate, thinned
from migrate_bayes.checks.posterior.calibration import Refit, survey_function
from migrate_bayes.checks.posterior.recipe import SurveySampler
from migrate_bayes.cli import app
from migrate_bayes.core.errors import FitError
from migrate_bayes.mock.model_stars import AGES, simulated_stars
from migrate_bayes.population import PopulationModel, population_data
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.model.specification import load_model_spec
from migrate_bayes.population.sampling.density import PosteriorDensity

SMALL = {
    "form": "linear",
    "outliers": False,
    "metallicity": {"thin": [1.0, 12.0], "thick": [8.0]},
    "scatter": {"thin": [5.0], "thick": [8.0]},
    "radius": {"thin": [5.0], "thick": [8.0]},
    "radius_scatter": {"thin": [5.0], "thick": [8.0]},
    "height": {"thin": [1.0, 12.0], "thick": [8.0]},
    "age_weight": {"thin": [1.0, 4.0, 8.0, 13.0], "thick": [2.0, 8.0, 13.0]},
    "priors": {
        "gradient_reference": [-0.05, 0.03], "flattening_rate": [0.002, 0.005],
        "gradient_thick": [0.0, 0.03], "thick_fraction": [3.0, 9.0],
        "log_alpha_gap": [-2.5, 0.3], "alpha_thick": [0.22, 0.02],
        "log_alpha_scatter_thin": [-3.5, 0.25], "log_alpha_scatter_thick": [-3.2, 0.25],
        "age_weight_thin": [0.0, 0.8], "age_weight_thick": [0.3, 0.8],
    },
}  # fmt: skip

RECIPE = CalibrateRecipe(
    name="small", surveys=3, stars=60, ranks=40, spec=SMALL,
    sampler=SurveySampler(draws=40, tune=60),
)  # fmt: skip


@pytest.fixture(scope="module")
def refit():
    return Refit(load_model_spec(SMALL), 200, mode="FAST_COMPILE")


def test_prior_draws_are_the_specifications_and_keyed_by_seed(refit):
    draws = [refit.draw_prior([7, i]) for i in range(300)]
    again, theta = refit.draw_prior([7, 12])
    np.testing.assert_array_equal(theta, draws[12][1])
    for name, value in again.items():
        np.testing.assert_array_equal(value, draws[12][0][name])
    n = len(draws)
    for name, (mean, sd) in {
        "gradient_reference": (-0.05, 0.03),
        "flattening_rate": (0.002, 0.005),
        "alpha_slope_thin": (-0.1, 0.15),
        "log_alpha_scatter_thick": (-3.2, 0.25),
    }.items():
        values = np.stack([d[0][name] for d in draws])
        assert np.all(np.abs(values.mean(axis=0) - mean) < 4.5 * sd / np.sqrt(n)), name
        assert np.all(np.abs(values.std(axis=0) / sd - 1) < 4.5 / np.sqrt(2 * n)), name
    fraction = np.array([d[0]["thick_fraction"] for d in draws])
    assert fraction.mean() == pytest.approx(0.25, abs=4.5 * 0.12 / np.sqrt(n))
    # θ is of the same draw: weights of all components and ages sum to 1, gradients are the line's.
    for named, theta in draws[:5]:
        assert np.exp(theta[..., 0]).sum() == pytest.approx(1.0, rel=1e-12)
        assert np.exp(theta[1, :, 0]).sum() == pytest.approx(float(named["thick_fraction"]))
        line = named["gradient_reference"] + named["flattening_rate"] * (AGES - 5.0)
        np.testing.assert_allclose(theta[0, :, 4], line, rtol=1e-12)


def test_exchanged_stars_give_the_density_of_a_model_of_their_own(refit):
    # As many as it was built for, and fewer.
    for n in (200, 130):
        data = population_data(simulated_stars(n, seed=2), classes=refit.classes, trim=1e-7)
        density = refit.density.over(StarLikelihood(data.stars, workers=1))
        x = density.start + 0.1 * np.random.default_rng(n).normal(size=density.n)
        value, gradient = density(x)
    own = PosteriorDensity(PopulationModel(data, load_model_spec(SMALL)), mode="FAST_COMPILE")
    expected = own(x)
    assert value == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-10, atol=1e-8)


def test_other_age_nodes_are_refused(refit):
    stars = simulated_stars(30, seed=1, ages=AGES[::2])
    with pytest.raises(ValueError, match="other age nodes"):
        refit.fit(stars, RECIPE.sampler, seed=1)


def test_a_truth_with_stars_that_no_fit_takes_is_refused(refit):
    # Defect: stars beyond the Galaxy's centre were left out, and posteriors of radii 7 sd off.
    stars = simulated_stars(200, seed=1)
    stars["rg_mean"][:2] = -0.5
    with pytest.raises(FitError, match=r"a radius outside .* 2\} of 200: narrow \[spec.priors\]"):
        refit.fit(stars, RECIPE.sampler, seed=1)


def test_thinning_is_even():
    draws = np.arange(200)
    np.testing.assert_array_equal(thinned(draws, 40), 2 + 5 * np.arange(40))
    assert len(set(thinned(draws, 39))) == 39


@pytest.mark.slow
def test_workers_and_interruptions_change_no_number(tmp_path):
    whole = calibrate(RECIPE, tmp_path / "a.jsonl", workers=2)
    first = RECIPE.model_copy(update={"surveys": 1})
    calibrate(first, tmp_path / "b.jsonl", workers=1)
    parts = calibrate(RECIPE, tmp_path / "b.jsonl", workers=1)
    for attribute in ("rank", "truth", "mean", "sd"):
        for name, values in getattr(whole, attribute).items():
            np.testing.assert_array_equal(values, getattr(parts, attribute)[name], err_msg=name)
    assert whole.surveys == 3


@pytest.mark.slow
def test_surrogates_are_calibrated_alike(tmp_path, monkeypatch):
    """The same numbers by one process or two; where weights fail, NUTS, and it is counted."""
    from migrate_bayes.population.sampling import posterior

    many = RECIPE.sampler.model_copy(update={"method": "surrogate", "draws": 100})
    recipe = RECIPE.model_copy(update={"surveys": 2, "stars": 3000, "sampler": many})
    one = calibrate(recipe, tmp_path / "a.jsonl", workers=1)
    two = calibrate(recipe, tmp_path / "b.jsonl", workers=2)
    for name, ranks in one.rank.items():
        np.testing.assert_array_equal(ranks, two.rank[name], err_msg=name)
    assert one.methods == {"surrogate": 2}
    assert one.worst_pareto_k == two.worst_pareto_k < 0.7
    monkeypatch.setattr(posterior, "MAX_PARETO_K", -np.inf)
    failed = survey_function(recipe.model_copy(update={"stars": 60}))(0)
    assert failed["method"] == "nuts"
    assert np.isfinite(failed["pareto_k"])
    assert Calibration([failed], main=recipe.main, n_ranks=40).methods == {"nuts": 1}


@pytest.mark.slow
def test_the_posterior_is_calibrated(tmp_path):
    """Five minutes of simulation-based calibration; `migrate-bayes calibrate` is the long one."""
    recipe = RECIPE.model_copy(
        update={"surveys": 60, "stars": 200, "sampler": SurveySampler(draws=80, tune=80)}
    )
    found = calibrate(recipe, tmp_path / "surveys.jsonl", workers=2)
    assert found.surveys == 60
    assert found.ess.min() >= 40
    # Some 20 parameters, two tests of each: a chance of 1% or so to fail by accident.
    assert min(found.ecdf_p.values()) > 5e-4
    assert min(found.chi_square_p.values()) > 5e-4
    assert sum(not c.passed for name in found.main for c in found.coverage[name]) <= 1
    # The surveys inform: posteriors are narrower than the prior.
    assert np.median(found.sd["gradient_reference"]) < 0.7 * 0.03


@pytest.mark.slow
def test_command_prints_what_the_page_and_the_ledger_hold(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    spec = tmp_path / "linear.toml"
    spec.write_text('form = "linear"\n')
    path = tmp_path / "tiny.toml"
    path.write_text(
        f'surveys = 2\nstars = 60\nranks = 40\nspec = "{spec}"\n[sampler]\ndraws = 40\ntune = 40\n'
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["calibrate", str(path), "--json", "--workers", "1"])
    assert done.exit_code == 0, done.output
    numbers = json.loads(done.stdout)
    assert numbers["surveys"] == 2
    assert set(numbers["coverage"]["flattening_rate"]) == {"50%", "80%", "95%"}
    assert set(numbers["rank_chi_square_p"]) == set(numbers["coverage"])
    assert "sigma_G" not in numbers["coverage"]  # a straight line has none
    page = (tmp_path / "reports/tiny/index.html").read_text()
    assert page.count("data:image/webp") == 3
    # Asked again, nothing is computed anew, and the numbers are the same.
    lines = (tmp_path / "runs/tiny/surveys.jsonl").read_text()
    done = CliRunner().invoke(app, ["calibrate", str(path), "--json", "--workers", "1"])
    assert json.loads(done.stdout) == numbers
    assert (tmp_path / "runs/tiny/surveys.jsonl").read_text() == lines
