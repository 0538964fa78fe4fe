"""Ages and orbits of other runs, joined to the same stars."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.errors import CatalogError, ProductError, RecipeError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.run import Recipe, Run, load_recipe
from migrate_bayes.run.comparison import ComparedRun, _slug, variants_of
from migrate_bayes.stars import write_stars

N = 5
RUNS = Path(__file__).resolve().parents[2] / "runs"
OFF, REPEAT, UNBOUND = (int(f) for f in (StarFlag.OFF_GRID, StarFlag.DUPLICATE, StarFlag.UNBOUND))


def _stars(ages, potentials, age_ml, rg, flag):
    return xr.Dataset(
        {
            "feh": ("star", np.arange(N) / 10),
            "age_ml": ("star", np.full(N, age_ml)),
            "log_age_likelihood": (("star", "age"), np.full((N, len(ages)), age_ml)),
            "log_interim_prior": ("age", np.zeros(len(ages))),
            "rg_mean": (("star", "potential"), np.full((N, len(potentials)), rg)),
            "rg_sd": (("star", "potential"), np.full((N, len(potentials)), 0.1)),
            "flag": ("star", np.array(flag, np.int32)),
        },
        coords={
            "age": ages, "potential": potentials, "source_id": ("star", np.arange(N)),
            "r0": ("potential", np.arange(len(potentials)) + 8.0),
        },
    )  # fmt: skip


@pytest.fixture
def stars():
    return _stars([1.0, 2.0, 3.0], ["a"], 1.0, 8.0, [0, OFF, REPEAT, OFF, UNBOUND])


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("isochrones", ["reference", "mist", "parsec", "basti", "yapsi"]),
        (
            "quality",
            ["reference", "high-quality", "thin-chemical", "R today", "free in age"],
        ),
    ],
)
def test_recipes_in_runs(name, labels):
    recipe = load_recipe(RUNS / f"{name}.toml")
    variants = variants_of(recipe, "linear+deviations", recipe.orbits.potentials)
    assert [v.label for v in variants] == labels
    assert variants[0].form == "linear"


def test_all_potentials_hold_the_reference_once():
    recipe = Recipe.model_validate({"name": "r", "compare": {"potentials": "all"}})
    known = ["MWPotential2014", "McMillan17", "MWPotential2014 R0=8.0 V0=220.0"]
    variants = variants_of(recipe, "linear", known)
    assert [v.label for v in variants] == ["reference", *known[1:]]


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        (None, "no section"),
        ({}, "varies nothing"),
        ({"potentials": ["McMilan17"]}, "did you mean 'McMillan17'"),
        ({"forms": ["diffusion"]}, "cannot compare gradient form 'diffusion'"),
        ({"families": ["mist"], "variants": [{"label": "mist", "radius": "r_present"}]}, "two va"),
        ({"data": [{"label": "a", "min_snr": 9}], "variants": [{"label": "b", "data": "c"}]}, "a"),
    ],
)
def test_what_cannot_be_compared(compare, message):
    recipe = Recipe.model_validate({"name": "r", "compare": compare})
    with pytest.raises(RecipeError, match=message):
        variants_of(recipe, "linear", ["MWPotential2014", "McMillan17"])


def test_tables_of_shares_stand_beside_the_recipe(tmp_path):
    (tmp_path / "g.ecsv").touch()
    (tmp_path / "r.toml").write_text("""
        [data]
        source = "mock"
        [[completeness.shares]]
        path = "g.ecsv"
        columns = { "(J-Ks)0" = "jk" }
    """)
    recipe = load_recipe(tmp_path / "r.toml")
    (table,) = recipe.completeness.shares
    assert table.path == str(tmp_path / "g.ecsv")
    assert recipe.as_written(recipe.completeness.model_dump())["shares"][0]["path"] == "g.ecsv"


def test_tables_of_ln_s_stand_beside_the_recipe(tmp_path):
    (tmp_path / "mine.nc").touch()
    (tmp_path / "r.toml").write_text("""
        name = "r"
        [data]
        source = "mock"
        [completeness]
        source = "mine.nc"
        [compare]
        completeness = ["none", "inject", "mine.nc"]
        variants = [{ label = "a", form = "linear", completeness = "mine.nc" }]
    """)
    recipe = load_recipe(tmp_path / "r.toml")
    there = str(tmp_path / "mine.nc")
    assert recipe.completeness.source == there
    assert recipe.compare.completeness == ("none", "inject", there)
    assert recipe.compare.variants[0].completeness == there


def test_completeness_is_compared_on_the_stars_that_it_is_of():
    content = {"name": "r", "completeness": {"source": "inject"}}
    compared = {"forms": ["linear"], "completeness": ["none", "s/mine.nc"]}
    recipe = Recipe.model_validate(content | {"compare": compared})
    variants = variants_of(recipe, "free")
    assert [(v.label, v.completeness) for v in variants] == [
        ("reference", "inject"), ("linear in age", "inject"),
        ("all [Fe/H] taken alike", "none"), ("ln S of mine", "s/mine.nc"),
    ]  # fmt: skip
    for other in ({"families": ["mist"]}, {"radii": ["r_present"]}, {"selections": ["thin"]}):
        with pytest.raises(RecipeError, match=r"ln S is of the reference's stars"):
            variants_of(Recipe.model_validate(content | {"compare": other}), "free")
    without = [{"label": "MIST, none", "family": "mist", "completeness": "none"}]
    recipe = Recipe.model_validate(content | {"compare": {"variants": without}})
    assert variants_of(recipe, "free")[1].completeness == "none"


@pytest.mark.parametrize("wrong", [{}, {"path": "x.fits"}, {"min_snrr": 9}])
def test_a_choice_of_data_is_of_the_same_stars(wrong):
    content = {"name": "r", "compare": {"data": [{"label": "a", **wrong}]}}
    with pytest.raises(ValueError, match=r"neither source nor path|min_snrr"):
        Recipe.model_validate(content)


def test_choices_of_data(tmp_path, monkeypatch):
    """Cuts are flags of the stars that there are; other entries are stars of their own."""
    few = _stars([1.0, 2.0], ["MWPotential2014"], 1.0, 8.0, [int(StarFlag.LOW_SNR)] * N)
    few = few.assign(snr_g=("star", np.arange(N) * 10.0))
    write_stars(few, tmp_path / "r/stars")
    choices = [
        {"label": "S/N 20", "min_snr": 20}, {"label": "no cut", "min_snr": "none"},
        {"label": "zero", "parallax_zero_point": -0.03},
    ]  # fmt: skip
    content = {"name": "r", "data": {"source": "mock"}, "compare": {"data": choices}}
    recipe = Recipe.model_validate(content | {"orbits": {"potentials": ["MWPotential2014"]}})
    made = []

    def make(run, *, name, overwrite):
        with run.folder.held():
            made.append((name, run.recipe.data.parallax_zero_point, run.folder.path))
        path = tmp_path / "r" / name
        return write_stars(few.assign(feh=few["feh"] + 1.0), path) if not path.exists() else path

    monkeypatch.setattr("migrate_bayes.run.stages.Run.make_stars", make)
    run = ComparedRun(recipe, products=tmp_path, say=lambda line: None)
    variants = variants_of(recipe, "linear")
    assert [v.data for v in variants] == ["", "S/N 20", "no cut", "zero"]
    with run.run.folder.held():  # as `fit` does
        stars = [run.of_data(run._choice(v.data), v.family) for v in variants]
    low = [(s["flag"].values & StarFlag.LOW_SNR != 0).tolist() for s in stars]
    assert low == [[True] * N, [True, True, False, False, False], [False] * N, [True] * N]
    ((name, zero_point, folder),) = made
    assert (zero_point, folder) == (-0.03, tmp_path / "r")
    assert name.startswith("stars-zero")
    np.testing.assert_array_equal(stars[3]["feh"], few["feh"] + 1.0)
    marks = [run._fingerprint(v) for v in variants]
    assert len(set(marks)) == 4
    again = ComparedRun(recipe, products=tmp_path, say=lambda line: None)
    assert [again._fingerprint(v) for v in variants] == marks
    other = recipe.model_copy(update={"compare": Recipe.model_validate(
        content | {"compare": {"data": [choices[0] | {"min_snr": 30}]}}
    ).compare})  # fmt: skip
    changed = ComparedRun(other, products=tmp_path, say=lambda line: None)
    assert changed._fingerprint(variants[0]) == marks[0]
    assert changed._fingerprint(variants[1]) != marks[1]


def test_files_of_unlike_labels_are_unlike():
    assert _slug("mist") == "mist"
    assert _slug("a b") != _slug("a/b")
    assert "/" not in _slug("dartmouth-native:/some/where")


def test_stars_of_another_run(stars, tmp_path):
    """Orbits that are there are taken; those that are not would be made, from its catalogue."""
    labels = ["MWPotential2014", "McMillan17"]
    shared = _stars([1.0, 2.0], labels, 1.0, 8.0, [0] * N).assign_coords(
        r0=("potential", [8.27, 8.27]),
        v0=("potential", [236.0, 236.0]),
        scaling=("potential", ["rescaled"] * 2),
    )
    write_stars(shared, tmp_path / "paper/stars")
    content = {
        "name": "robust", "data": {"source": "mock"}, "compare": {"potentials": "all"},
        "orbits": {"potentials": ["McMillan17", "MWPotential2014"]},
    }  # fmt: skip
    settings = {"products": tmp_path, "source": tmp_path / "paper", "say": lambda line: None}
    with pytest.raises(ProductError, match="no catalogue at"):
        ComparedRun(Recipe.model_validate(content), **settings)
    (tmp_path / "paper/catalogue.parquet").touch()
    stages = ComparedRun(Recipe.model_validate(content), **settings)
    assert stages.stars["potential"].values.tolist() == ["McMillan17", "MWPotential2014"]
    assert not (tmp_path / "robust").exists()
    # Another frame is another product: made here, where the catalogue is no catalogue.
    elsewhere = content | {"orbits": {"potentials": labels, "sweep": {"v0": [220.0]}}}
    with pytest.raises(CatalogError):
        _ = ComparedRun(Recipe.model_validate(elsewhere), **settings).stars
    with pytest.raises(ProductError, match="run `migrate-bayes run`"):
        ComparedRun(Recipe.model_validate(content), products=tmp_path, source=tmp_path / "no")


def test_ln_s_of_a_catalogue_is_of_the_stars_of_the_other_run(tmp_path, monkeypatch):
    """A comparison on another run's stars has none of its own to inject among."""
    asked = []

    class AskedError(Exception):
        pass

    def survey(run, shares):
        asked.append(run.stars["potential"].values.tolist())
        raise AskedError

    monkeypatch.setattr(Run, "_catalogue_survey", survey)
    monkeypatch.setattr(ComparedRun, "_fit_one", lambda self, *_: self.run.completeness("inject"))
    content = {
        "name": "robust", "data": {"source": "mock"}, "compare": {"forms": ["linear"]},
        "completeness": {"source": "inject", "survey": "catalogue"},
        "orbits": {"potentials": ["MWPotential2014"]},
    }  # fmt: skip
    digests = []
    for kind in ("paper", "other"):
        ages = [1.0, 2.0] if kind == "paper" else [1.0, 3.0]
        shared = _stars(ages, ["MWPotential2014"], 1.0, 8.0, [0] * N).assign_coords(
            r0=("potential", [8.27]), v0=("potential", [236.0]), scaling=("potential", ["rescaled"])
        )
        write_stars(shared, tmp_path / kind / "stars")
        (tmp_path / kind / "catalogue.parquet").touch()
        recipe = Recipe.model_validate(content)
        run = ComparedRun(recipe, products=tmp_path, source=tmp_path / kind, say=lambda line: None)
        with pytest.raises(AskedError):
            next(run.fit())
        digests.append(run.run.completeness_digest("inject"))
    assert asked == [["MWPotential2014"]] * 2
    assert digests[0] != digests[1]
