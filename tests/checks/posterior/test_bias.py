"""Scenarios, their surveys, and the table."""

from __future__ import annotations

import numpy as np
import pytest

from migrate_bayes.checks.posterior.bias import (
    bias_statistics,
    bias_table,
    selections,
    simulate_scenario,
    task_function,
)
from migrate_bayes.checks.posterior.recipe import BiasRecipe, CalibrateRecipe
from migrate_bayes.core.errors import RecipeError
from migrate_bayes.selection import select

RECIPE = BiasRecipe(stars=1500, surveys=2, fits=0)
SCENARIO = {s.label: s for s in RECIPE.scenarios}


def test_what_is_off_is_off_and_what_is_on_is_on():
    none = simulate_scenario(RECIPE, SCENARIO["none"], seed=3)
    every = simulate_scenario(RECIPE, SCENARIO["all"], seed=3)
    assert (none["true_component"] == 0).all()
    assert 0.1 < float((every["true_component"] == 1).mean()) < 0.2
    for name, ratio in (("rg_sd", 20.0), ("feh_error", 1.0), ("alpha_fe_error", 1.0)):
        np.testing.assert_allclose(every[name], ratio * none[name], rtol=1e-9)

    def residual(stars):
        line = -0.075 + 0.003 * (stars["true_age"] - 1)
        from_line = stars["true_feh"] - line * (stars["true_rg"] - 8)
        return from_line + 0.03 + 0.012 * (stars["true_age"] - 1)

    thin = every["true_component"] == 0
    assert float(residual(none).std()) < 0.012
    assert 0.12 < float(residual(every)[thin].std()) < 0.18


def test_scenarios_share_their_stars():
    # Effects are differences between scenarios: common noise makes them well known.
    a, b = (simulate_scenario(RECIPE, SCENARIO[s], seed=1) for s in ("none", "R_g errors"))
    for name in ("true_age", "true_rg", "true_feh", "feh", "age_ml"):
        np.testing.assert_array_equal(a[name], b[name])
    assert not np.array_equal(a["rg_mean"], b["rg_mean"])


def test_selections_of_regression_and_fit():
    stars = simulate_scenario(RECIPE, SCENARIO["all"], seed=2)

    def taken(label):
        return [select(stars, s).values for s in selections(RECIPE, SCENARIO[label])]

    zmax = np.exp(stars["ln_zmax_mean"].values[:, 0])
    regression, fit = taken("Z_max cut")
    np.testing.assert_array_equal(regression, zmax < 0.25)
    assert fit.all()
    regression, fit = taken("thick disc")
    line = np.minimum(0.15, 0.1 - 0.2 * stars["feh"].values)
    np.testing.assert_array_equal(regression, stars["alpha_fe"].values < line)
    regression, fit = taken("all, one cut for all")
    np.testing.assert_array_equal(fit, zmax < 0.25)
    assert (fit | ~regression).all()


def test_table_is_bias_with_its_monte_carlo_error():
    rng = np.random.default_rng(0)
    draws = rng.normal(-0.080, 0.004, 500)
    results = [
        {
            "scenario": "none", "survey": i, "kind": "fit",
            "estimates": {"hierarchical": {
                "gradient_young": (x, 0.002), "flattening_rate": (np.nan, np.nan)}},
        }
        for i, x in enumerate(draws)
    ]  # fmt: skip
    ((key, found),) = bias_table(results, RECIPE).items()
    assert (key, found.surveys) == (("none", "hierarchical", "gradient_young"), 500)
    assert found == bias_statistics(draws, np.full(500, 0.002), -0.075)
    assert found.bias.value == pytest.approx(draws.mean() + 0.075)
    assert found.bias.plus == pytest.approx(0.004 / np.sqrt(500), rel=0.1)
    assert found.ratio.value == pytest.approx(0.5, rel=0.1)
    assert found.ratio.plus == pytest.approx(found.ratio.value / np.sqrt(998))
    assert bias_statistics([1.0, np.nan], [0.1, 0.1], 1.0) is None


def test_regression_without_scatter_is_too_steep_only_with_errors_of_the_radius():
    """With var(x) of the radii and errors σ_x and s, ODR weighs s as if it were an error of x."""
    one = task_function(RECIPE)
    results = [
        one((label, i, "regression"))
        for label in ("none", "intrinsic scatter", "R_g errors + scatter")
        for i in range(12)
    ]
    table = bias_table(results, RECIPE)

    def bias(scenario, method):
        return table[scenario, method, "gradient_young"].bias

    for scenario in ("none", "intrinsic scatter"):
        found = bias(scenario, "odr")
        assert abs(found.value) < 4.5 * found.plus + 0.002, scenario
    assert bias("R_g errors + scatter", "odr").value < -0.01
    mended = bias("R_g errors + scatter", "odr+scatter")
    assert abs(mended.value) < 4.5 * mended.plus
    # Each survey is its own: done again it is the same, to the last bit.
    assert one(("none", 3, "regression"))["estimates"] == results[3]["estimates"]


def test_recipes_of_the_project(tmp_path):
    bias = BiasRecipe.read("runs/odr-bias.toml")
    sbc = CalibrateRecipe.read("runs/calibrate.toml")
    assert [s.label for s in bias.scenarios] == list(SCENARIO)
    # Ledgers bear these: a change makes the surveys that there are those of another recipe.
    assert (bias.hash, sbc.hash) == ("9d98d965d85f9de4", "ff2b839de94759b1")
    assert CalibrateRecipe.read("runs/calibrate-surrogate.toml").hash == "617f33f2308bdfb4"
    assert bias.hash == bias.model_copy(update={"surveys": 7, "fits": 3}).hash
    assert bias.hash != bias.model_copy(update={"stars": 7}).hash
    assert sbc.surveys >= 200
    assert sbc.hash == sbc.model_copy(update={"surveys": 7}).hash
    for text, message in (
        ("ranks = 50", "multiple of 40"),
        ("star = 3", "did you mean 'stars'"),
        ("[errors]\nage = 0", "errors.age"),
    ):
        path = tmp_path / "r.toml"
        path.write_text(text)
        with pytest.raises(RecipeError, match=message):
            CalibrateRecipe.read(path)
    path.write_text('[[scenarios]]\nlabel = "a"\n[[scenarios]]\nlabel = "a"')
    with pytest.raises(RecipeError, match="label of its own"):
        BiasRecipe.read(path)


def test_command_prints_the_table_and_writes_the_page(tmp_path, monkeypatch):
    import json

    from typer.testing import CliRunner

    from migrate_bayes.cli import app

    path = tmp_path / "quick.toml"
    path.write_text(
        'fits = 0\nstars = 600\n[[scenarios]]\nlabel = "scatter"\nscatter = true\n'
        '[[scenarios]]\nlabel = "both"\nscatter = true\nradius_errors = true\n'
    )
    monkeypatch.chdir(tmp_path)
    call = ["bias", str(path), "--surveys", "2", "--workers", "1"]
    done = CliRunner().invoke(app, [*call, "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["bias"]
    assert {(r["scenario"], r["method"]) for r in rows} == {
        (s, m) for s in ("scatter", "both") for m in ("odr", "odr+scatter")
    }
    assert all(r["surveys"] == 2 and r["bias_error"] > 0 for r in rows)
    page = (tmp_path / "reports/quick/index.html").read_text()
    assert page.count("data:image/webp") == 1
    assert "flattening_rate, truth 0.003" in page
    again = CliRunner().invoke(app, call)
    assert "flattening_rate, truth 0.003 dex/kpc/Gyr" in again.stdout
    other = CliRunner().invoke(app, [*call, "--stars", "500"])
    assert "another recipe" in str(other.exception)
