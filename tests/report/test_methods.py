"""Methods, statements and embedded figures: words that follow from the recipe and the products."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.population import ModelSpec
from migrate_bayes.report import RunProducts
from migrate_bayes.report.methods import methods, sources
from migrate_bayes.report.page import curve_table, statement_table, variant_table
from migrate_bayes.report.section import FILE, Image, images_file, load_validation
from migrate_bayes.run.recipe import Recipe


def written(**sections: dict) -> tuple[str, list[str]]:
    recipe = Recipe.model_validate({"name": "r", **sections}).model_dump(mode="json")
    frame = {"r0": 8.27, "v0": 236.0, "u": 13.0, "v": 12.24, "w": 7.24, "name": "vickers2021"}
    found = methods(recipe, {"solar_frame": json.dumps(frame)}, {"model": "{}"}, 1234)
    return " ".join(found.paragraphs), found.references


def test_methods_say_what_the_recipe_says() -> None:
    text, references = written(
        data={"path": "x.fits", "columns": "corogee", "min_snr": 0, "max_age_error": 1.0},
        isochrones={"source": "external"},
        orbits={"potentials": ["McMillan17"]},
    )
    assert "1,234 stars (Anders et al. 2017a; Anders et al. 2017b)" in text
    assert "the catalogue's own" in text
    assert "8.27 kpc" in text
    assert "236 km/s" in text
    assert "signal-to-noise ratio above" not in text
    assert "Kroupa" not in text
    assert any(r.startswith("McMillan") for r in references)
    assert not any(r.startswith("Dotter") for r in references)


def test_what_the_catalogue_lacks_is_not_said_to_be_used() -> None:
    recipe = Recipe.model_validate({"name": "r", "data": {"path": "x.fits"}})

    def words(*lacks: str) -> str:
        return " ".join(methods(recipe.model_dump(mode="json"), {}, {"a": 1}, 9, lacks).paragraphs)

    assert "likelihood of T_eff, log g, [Fe/H], [α/Fe], M_G is" in words()
    assert "above 50 in each of g, r and i" in words()
    assert "least χ² has a chance below 0.0001 is not used" in words()
    assert "[Fe/H], [α/Fe], Z_max, radius and age decide" in words()
    assert "[Fe/H], Z_max, radius and age decide" in words("alpha_fe")
    assert "above 50 in r" in words("snr_g", "snr_i")
    assert "above 50 in the whole spectrum" in words("snr_g", "snr_r", "snr_i")
    assert "signal-to-noise ratio above" not in words("snr", "snr_g", "snr_r", "snr_i")


def test_methods_of_a_mock_with_isochrone_ages() -> None:
    text, references = written(data={"source": "mock"}, isochrones={"source": "parsec"})
    assert "simulated" in text
    assert "parsec isochrones (Bressan et al. 2012)" in text
    assert "above 50 in each of g, r and i" in text
    assert "below 25%" in text
    assert any(r.startswith("Kroupa") for r in references)


@pytest.mark.parametrize("method", ["nuts", "surrogate"])
def test_methods_say_how_the_posterior_was_sampled(method: str) -> None:
    recipe = Recipe.model_validate({"name": "r", "data": {"path": "x.fits"}})
    fit = {"method": method, "model": "{}"}
    text = " ".join(methods(recipe.model_dump(mode="json"), {}, fit, 9).paragraphs)
    assert "sampled by NUTS" in text
    assert ("surrogate" in text) == ("tail of the weights" in text) == (method == "surrogate")
    assert ("the energy" in text) == (method == "nuts")


def test_methods_name_the_giants_family() -> None:
    text, references = written(
        data={"source": "mock"},
        isochrones={"giants": "mist", "age_prior": "disc", "observables": ["teff", "logg", "feh"]},
    )
    assert "Giants have ages of mist isochrones (Dotter 2016; Choi et al. 2016)" in text
    assert any(r.startswith("Choi") for r in references)
    assert "The prior is normal in age" in text
    assert "photometric errors" not in text
    text, _ = written(data={"source": "mock"}, isochrones={"giants": "exclude"})
    assert "Giants are left out" in text


def test_methods_say_which_mean_birth_radius_is_stated() -> None:
    recipe = Recipe.model_validate({"name": "r", "data": {"source": "mock"}})
    recipe = recipe.model_dump(mode="json")
    for spec, said in (({"form": "diffusion"}, True), ({"form": "linear"}, False)):
        spec = ModelSpec.model_validate(spec | {"birth_radius": [7.0, -0.2]})
        found = methods(recipe, {}, {"model": spec.model_dump_json()}, 9)
        words = "is stated: 7 kpc today, changing by -0.2 kpc per Gyr of age."
        assert (words in " ".join(found.paragraphs)) == said


def test_every_work_cited_is_listed_once_and_no_other() -> None:
    text, references = written(data={"source": "mock"})
    cited = {s.full for s in sources().values() if s.short in text}
    assert set(references) == cited
    assert len(references) == len(set(references))
    assert references == sorted(references, key=str.casefold)


def test_statements_stand_beside_what_was_found(
    fit: xr.DataTree, baseline: xr.Dataset, variants: xr.DataTree
) -> None:
    _, header, rows = statement_table(
        RunProducts("r", xr.Dataset(), fit, baseline, variants=variants)
    )
    assert header[2:4] == ["the paper", "hierarchical"]
    by_name = {row[0]: row for row in rows}
    rate = by_name["Thin disc, flattening rate (fig. 6)"]
    assert rate[2] == "0.003"
    median = np.median(fit["posterior"]["flattening_rate"].values)
    assert float(rate[3].split()[0]) == pytest.approx(median, abs=2e-4)
    assert sum(name.startswith("Thin disc in R_present") for name in by_name) == 3
    assert all(len(row) == len(header) for row in rows)


def test_each_variant_has_a_row_with_its_own_numbers(
    baseline: xr.Dataset, variants: xr.DataTree
) -> None:
    run = RunProducts("r", xr.Dataset(), baseline=baseline, variants=variants)
    _, header, rows = variant_table(run)
    by_name = {row[0]: row for row in rows}
    assert {"Z_max < 0.25 kpc", "thin-disc sample, McMillan17"} <= set(by_name)
    cold = variants["zmax-below-0.25"].to_dataset()
    row = by_name["Z_max < 0.25 kpc"]
    assert row[1] == f"{int(cold['n_stars'].sum()):,}"
    trend = float(cold["trend"].sel(regression="odr+scatter"))
    assert float(row[3].split()[0]) == pytest.approx(trend, abs=1e-3)
    assert all(len(r) == len(header) for r in rows)


def test_curve_table_is_of_the_fitted_curve(fit: xr.DataTree) -> None:
    _, _, rows = curve_table(fit)
    at = {row[0]: row[1] for row in rows}
    curve = fit["posterior"].to_dataset()["gradient"].sel(component="thin").interp(age=8.0)
    assert float(at["8"].split()[0]) == pytest.approx(float(curve.median()), abs=2e-4)


def test_figures_of_a_validation_are_read_back_with_what_they_were_made_with(
    tmp_path: Path,
) -> None:
    assert load_validation(tmp_path) == {}
    images = [
        ("2", Image("AAAA", "M67", "Members.", True)),
        ("4", Image("BB", "k", "Kepler.")),
    ]
    text = images_file(images, {"source": "dartmouth", "made": "today"})
    (tmp_path / FILE).write_text(text)
    found = load_validation(tmp_path)
    assert set(found) == {"2", "4"}
    assert found["2"][0].image == "AAAA"
    assert found["2"][0].wide
    assert found["2"][0].caption.startswith(
        "Members. From the validation of ages (source dartmouth"
    )
    (tmp_path / FILE).write_text(text[:-9])
    with pytest.raises(ProductError, match="damaged"):
        load_validation(tmp_path)
