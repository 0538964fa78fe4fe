"""Where a run's products stand, what its stages print, and what it says of itself."""

import re

import pytest

from migrate_bayes import Recipe, Run
from migrate_bayes.run.stages import RunFolder


def recipe(**changes):
    return Recipe.model_validate({"name": "few", "data": {"source": "mock"}, **changes})


def test_paths_are_under_the_run_s_name(tmp_path):
    folder = RunFolder(recipe(), tmp_path / "runs", tmp_path / "reports")
    assert folder / "fit.nc" == tmp_path / "runs/few/fit.nc"
    assert folder.report == tmp_path / "reports/few"
    assert folder.catalog == tmp_path / "runs/few/catalogue.parquet"
    assert RunFolder(recipe(), tmp_path, catalog=tmp_path / "other.parquet").catalog.stem == "other"
    real = recipe(data={"path": "stars.csv"})
    assert str(RunFolder(real, tmp_path).catalog) == "stars.csv"


def test_repr_names_the_products(tmp_path):
    folder = RunFolder(recipe(), tmp_path)
    assert repr(folder).endswith("few: empty)")
    (folder / "stars").mkdir(parents=True)
    (folder / "fit.nc").touch()
    assert repr(folder).endswith("few: fit.nc, stars)")
    assert repr(Run(recipe(), products=tmp_path)) == (
        f"Run('few', mock stars, products in {tmp_path / 'few'})"
    )


def test_a_stage_prints_one_line_with_time_and_memory(tmp_path):
    lines = []
    folder = RunFolder(recipe(), tmp_path, say=lines.append)
    with folder.stage("ages") as done:
        done("of 3 stars")
    assert len(lines) == 1
    assert re.fullmatch(r"ages       of 3 stars {49}\s+\d+\.\d s\s+\d+\.\d\d GB", lines[0])
    with pytest.raises(ZeroDivisionError), folder.stage("orbits"):
        _ = 1 / 0
    assert len(lines) == 1  # a stage that failed is not reported as done


def test_provenance_names_the_catalogue_by_its_checksum(tmp_path):
    folder = RunFolder(recipe(), tmp_path)
    folder.path.mkdir()
    folder.catalog.write_bytes(b"stars")
    assert "catalogue.parquet" in folder.provenance["inputs"]
    assert folder.provenance["recipe_hash"] == folder.recipe.hash


def test_a_folder_of_files_has_a_checksum(tmp_path):
    """Regression: a HATS catalogue could change without a word."""
    catalog = tmp_path / "hats"
    part = catalog / "Npix=0.parquet"
    catalog.mkdir()
    part.write_bytes(b"stars")
    folder = RunFolder(recipe(data={"path": str(catalog)}), tmp_path)
    first = folder.checksum()
    part.touch()
    assert folder.checksum() == first
    part.write_bytes(b"other")
    second = folder.checksum()
    part.rename(catalog / "Npix=1.parquet")
    assert len({"", first, second, folder.checksum()}) == 4
