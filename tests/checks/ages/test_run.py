"""The whole validation on few stars: keys of the JSON, product, page, absent data, the recipe."""

import json

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.checks.ages.comparisons import summary
from migrate_bayes.checks.ages.recipe import ValidateAges, locate
from migrate_bayes.cli.checks import validate_ages
from migrate_bayes.core.errors import DataAbsentError, ProductError, RecipeError
from migrate_bayes.run.recipe import DATA_ENV, read_as

RECIPE = """
name = "small"
[families]
sources = ["dartmouth", "parsec", "dartmouth-native:$MIGRATE_BAYES_DATA/dartmouth_gaia"]
stars = 200
[calibration]
stars = 240
"""


@pytest.fixture(scope="module")
def absent(tmp_path_factory):
    """Run without any third-party data."""
    folder = tmp_path_factory.mktemp("absent")
    (folder / "r.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATA_ENV, str(folder / "nowhere"))
        found = validate_ages(
            folder / "r.toml", products=folder / "runs", reports=folder / "reports", as_json=True
        )
    return folder, found


def test_without_data_the_rest_runs_and_says_what_it_left_out(absent):
    _, found = absent
    left = {"m67", "m67_ddpayne", "kepler", "harps", "clusters", "dartmouth-native"}
    assert left <= set(found.absent)
    assert "nowhere/m67" in found.absent["m67"]
    assert found.book.sources == ["dartmouth", "parsec"]
    assert found.choices[0]["m67_turnoff"] is None
    assert found.choices[0]["sun_within_1_sigma"]
    assert found.coverage[0].stars > 200


def test_json_has_the_keys_of_the_acceptance(absent):
    numbers = json.loads(json.dumps(summary(absent[1])))
    wanted = {
        "sun_age", "m67_turnoff_median", "m67_turnoff_scatter", "m67_turnoff_stars",
        "kepler_median_offset_gyr", "kepler_robust_scatter", "kepler_stars", "coverage68",
        "coverage95", "families", "choices", "seconds",
    }  # fmt: skip
    assert wanted <= set(numbers)
    assert numbers["m67_turnoff_median"] is None
    assert numbers["m67_turnoff_stars"] == 0
    assert 3.0 < numbers["sun_age"] < 6.0
    assert 0.5 < numbers["coverage68"] < 0.85
    turnoff = numbers["families"]["parsec - dartmouth"]["turn-off"]
    assert turnoff["stars"] > 20
    assert abs(turnoff["median"]) < 1.0
    assert numbers["seconds"]["total"] > 0


def test_product_holds_the_numbers_and_the_stars(absent):
    folder, found = absent
    with xr.open_datatree(folder / "runs/small/ages.nc", engine="h5netcdf") as tree:
        stored = json.loads(tree.attrs["summary"])
        assert stored["coverage68"] == summary(found)["coverage68"]
        np.testing.assert_array_equal(tree["calibration"]["pit"], found.calibration["pit"])
        assert tree.attrs["recipe_hash"] == found.recipe.hash


def test_page_is_whole_and_names_what_is_missing(absent):
    folder, _ = absent
    text = (folder / "reports/small/index.html").read_text()
    for title in ("The Sun", "Family against family", "Calibration", "The systematic"):
        assert f"<h2>{title}</h2>" in text
    assert "Left out: m67." in text
    assert "<h2>M67</h2>" not in text
    assert text.count("data:image/webp;base64,") >= 5
    assert 'src="http' not in text


def test_nothing_is_overwritten_unasked(absent):
    folder, _ = absent
    with pytest.raises(ProductError, match="exists already"):
        validate_ages(folder / "r.toml", products=folder / "runs", reports=folder / "reports")


def test_recipe_is_strict_and_its_file_is_the_default(tmp_path, request):
    path = tmp_path / "v.toml"
    path.write_text("[calibration]\nstarz = 5\n")
    with pytest.raises(RecipeError, match="did you mean 'stars'"):
        read_as(path, ValidateAges)
    path.write_text("[ages]\nmethod = 'fast'\n")
    with pytest.raises(RecipeError, match=r"'ages\.method'"):
        read_as(path, ValidateAges)
    shipped = read_as(request.config.rootpath / "runs" / "validate-ages.toml", ValidateAges)
    assert shipped == ValidateAges()


def test_locate_expands_or_says_what_is_absent(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_ENV, str(tmp_path))
    assert locate("mist") == "mist"
    (tmp_path / "d").mkdir()
    assert locate(f"dartmouth-native:${DATA_ENV}/d") == f"dartmouth-native:{tmp_path}/d"
    with pytest.raises(DataAbsentError, match=r"set \$MIGRATE_BAYES_DATA"):
        locate(f"${DATA_ENV}/none.csv")
