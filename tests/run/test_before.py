"""What is wrong with a recipe is said before a star is computed, all of it, and within seconds."""

import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from migrate_bayes.core.errors import MigrateBayesError, RecipeError
from migrate_bayes.core.options import Options
from migrate_bayes.population import load_model_spec
from migrate_bayes.run import Recipe, Run, load_recipe
from migrate_bayes.run.before import check_run

SPECTRUM = {"teff": 5800.0, "logg": 4.3, "feh": -0.1, "alpha_fe": 0.03}
SKY = {"ra": 10.0, "dec": 20.0, "pmra": 3.0, "pmdec": -2.0, "parallax": 2.0, "radial_velocity": 5.0}


@pytest.fixture
def table(tmp_path):
    """Write a catalogue without some columns, in a folder of its own."""

    def write(*without, name="in.csv", **more):
        columns = SPECTRUM | SKY | {"phot_g_mean_mag": 10.0, "a_v": 0.1, "snr_g": 90.0} | more
        columns |= {f"{n}_error": 0.02 for n in columns if n not in ("snr_g", "a_v")}
        rows = {n: np.full(20, v) for n, v in columns.items() if n not in without}
        frame = pd.DataFrame({"source_id": np.arange(20), **rows})
        (tmp_path / "data").mkdir(exist_ok=True)
        frame.to_csv(tmp_path / "data" / name, index=False)
        return tmp_path / "data"

    return write


def recipe_of(folder, text="", path="in.csv", top=""):
    file = folder / "mine.toml"
    file.write_text(f'{top}\n[data]\npath = "{path}"\n{text}', encoding="utf-8")
    return load_recipe(file)


def check(recipe, tmp_path, *stages, say=print):
    where = {"products": tmp_path / "runs", "reports": tmp_path / "reports"}
    run = Run(recipe, say=say, **where)
    began = time.perf_counter()
    try:
        run.check(*(stages or ("ages", "orbits", "fit")), outputs=[run.folder / "stars"])
    finally:
        assert time.perf_counter() - began < 20  # a second or two, but for a busy machine
        assert not (tmp_path / "runs").exists()
    return run


def test_a_sound_recipe_passes_and_says_nothing(table, tmp_path):
    assert check(recipe_of(table()), tmp_path).notes == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('parallax_zero_point = "lindegren2012"', "did you mean 'lindegren2021'"),
        ('extinction = ["a_v", "dustmaps:edenhofer"]', "did you mean 'dustmaps:edenhofer2023'"),
        ('[orbits]\npotentials = ["McMilan17"]', "did you mean 'McMillan17'"),
        ('[orbits]\npotentials = ["nowhere.py:pot"]', "cannot import the potential"),
        ('[orbits]\npotentials = ["galpy.potential.mwpotentials:None17"]', "None17"),
        ('[orbits]\npotentials = ["Irrgang13I"]', "'model.potential': no orbits in 'MWPot"),
        ('[orbits]\nzmax_potentials = ["McMillan"]', "did you mean 'McMillan17'"),
        ("[orbits]\nzmax_draws = 1", "zmax_draws must be 0"),
        ('[orbits]\nframe = "vickers2020"', "did you mean 'vickers2021'"),
        ('[isochrones]\nsource = "dartmuth"', "did you mean 'dartmouth'"),
        ('[isochrones]\ngiants = "msit"', "did you mean 'mist'"),
        ('[isochrones]\nsource = "dartmouth-native:nowhere"', "isochrone folder nowhere is absent"),
        ('[isochrones]\nobservables = ["teff", "loggg", "feh"]', "did you mean 'logg'"),
        ('[isochrones]\nsource = "external"', "no age, age_lo, age_hi, needed for external ages"),
        ('[model]\nspec = "thik"', "no model 'thik'"),
        ('[model]\nspec = "gone/linear.toml"', 'in the package is spec = "linear"'),
        ('[model]\nforms = ["cubic"]', "unknown form 'cubic'"),
        ('[model]\nselection = "zmaxx < 1"', "did you mean 'zmax'"),
        ('[model]\nselection = "snr_r > 5"', "the catalogue has no snr_r"),
        ('[baseline]\nselection = "tef > 5000"', "did you mean 'teff'"),
        ('[sampler]\nscheduler = "loca:2"', "scheduler 'loca:2' is none"),
        ('[compare]\nfamilies = ["parsek"]', "did you mean 'parsec'"),
        ('[compare]\nselections = ["feh2 > 0"]', "did you mean 'feh'"),
        (f'[completeness]\nsource = "{"x" * 3000}"', "x…: file name too long"),
        (
            '[reference]\ncolumns = [{ ours = "zmax", reference = "ref_z", label = "z" }]',
            "the catalogue has no 'ref_z'",
        ),
    ],
)
def test_every_entry_is_checked_before_the_stars(table, tmp_path, text, message):
    with pytest.raises(MigrateBayesError) as error:
        check(recipe_of(table(), text), tmp_path)
    assert message in str(error.value)


def test_all_that_is_wrong_is_said_at_once(table, tmp_path):
    folder = table("teff", "radial_velocity", "alpha_fe_error", "a_v")
    text = '[orbits]\npotentials = ["x"]\n[model]\nspec = "y"\nselection = "q > 1"'
    with pytest.raises(RecipeError, match=r"'mine': 7 things to mend") as error:
        check(recipe_of(folder, text), tmp_path)
    lines = str(error.value).splitlines()
    assert len(lines) == 8
    for word in ("'x'", "'y'", "'q'", "teff", "radial_velocity", "alpha_fe_error", "extinction"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("without", "text", "note"),
    [
        ("alpha_fe", "", "no [α/Fe]: the discs are told apart by height"),
        ("alpha_fe", "", "no alpha_fe: there is no baseline of 'thin'"),
        ("snr_g", "", "min_snr = 50 cuts nothing"),
    ],
)
def test_what_the_run_does_without_is_said(table, tmp_path, without, text, note):
    said = []
    run = check(recipe_of(table(without), text), tmp_path, say=said.append)
    assert any(note in line for line in said)
    assert run.notes == said


def test_columns_of_quality_that_nothing_uses_are_said(table, tmp_path):
    data = table(ruwe=1.1, non_single_star=0.0, distance=0.5)
    run = check(recipe_of(data, "parallax_zero_point = -0.03"), tmp_path)
    assert '`selection = "all & ruwe-1.4 & single-star"` in [model] would' in run.notes[0]
    assert "The distances are the catalogue's own: parallax_zero_point changes" in run.notes[1]
    text = '[model]\nselection = "all & ruwe < 1.2 & single-star"'
    assert check(recipe_of(data, text), tmp_path).notes == []


def test_a_stage_needs_its_own_columns_only(table, tmp_path):
    recipe = recipe_of(table("radial_velocity"))
    check(recipe, tmp_path, "ages")
    with pytest.raises(MigrateBayesError, match="no radial_velocity, needed for orbits"):
        check(recipe, tmp_path, "orbits")
    check(recipe_of(table("radial_velocity"), top='until = "ages"'), tmp_path)


def test_an_output_that_cannot_be_written_is_said(table, tmp_path):
    recipe = recipe_of(table())
    (tmp_path / "file").write_text("no folder")
    run = Run(recipe, products=tmp_path / "file")
    with pytest.raises(MigrateBayesError, match="is a file, not a folder"):
        run.orbits()
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "orbits").symlink_to(tmp_path / "none" / "orbits")
    with pytest.raises(MigrateBayesError, match=r"is a link to .*whose folder does not exist"):
        Run(recipe, products=tmp_path / "runs").orbits()


def test_paths_are_found_beside_the_recipe(table, tmp_path, monkeypatch):
    folder = table()
    (folder / "m.toml").write_text('form = "linear"')
    (folder / "pot.py").write_text("from galpy.potential import MWPotential2014 as mine\n")
    text = '[orbits]\npotentials = ["pot.py:mine"]\n[model]\nspec = "m.toml"\n'
    text += 'potential = "pot.py:mine"'
    monkeypatch.chdir(tmp_path)
    recipe = recipe_of(folder, text)
    check(recipe, tmp_path)
    assert load_model_spec(recipe.model.spec).form == "linear"
    # The hash is of what the file says: a copy elsewhere has the same.
    monkeypatch.chdir(folder)
    assert recipe_of(folder, text).hash == recipe.hash
    # ~ and variables, and a path that is right from the working directory
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("HERE", str(folder))
    for path in ("~/in.csv", "$HERE/in.csv", str(folder / "in.csv")):
        check(recipe_of(tmp_path, path=path), tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    check(recipe_of(tmp_path / "deep", path="data/in.csv"), tmp_path)
    with pytest.raises(MigrateBayesError, match=r"no such file: none\.csv \(in /"):
        check(recipe_of(folder, path="none.csv"), tmp_path)


def _options(model, seen):
    """Every options model within a model."""
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, Options) and part not in seen:
                seen.append(part)
                _options(part, seen)
    return seen


def test_every_nullable_entry_takes_none():
    tried = 0
    for model in _options(Recipe, [Recipe]):
        for name, field in model.model_fields.items():
            if types.NoneType in getattr(field.annotation, "__args__", ()):
                required = {
                    n: {"column": "x"} if n in ("R", "v_r", "v_phi", "z", "v_z") else "x"
                    for n, f in model.model_fields.items() if f.is_required()
                }  # fmt: skip
                required |= {"age_range": (1, 2), "slope": 1} if "slope" in required else {}
                made = getattr(model.model_validate(required | {name: "none"}), name)
                own = name in model._OWN_NONE  # the word names a choice
                assert made == ("none" if own else None), (model, name)
                tried += 1
    assert tried > 20
    recipe = Recipe(name="x", baseline={"thick_selection": "none"}, data={"min_snr": "none"})
    assert recipe.baseline.thick_selection is None
    assert recipe.data.min_snr is None


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"name": "x" * 101}, "at most 100"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"data": {"min_snr": float("nan")}}, "finite"),
        ({"data": {"duplicate_radius": 0}}, "greater than 0"),
        ({"isochrones": {"observables": ["teff"]}}, "need 'feh'"),
        ({"isochrones": {"ages": [5.0, 3.0]}}, "increasing"),
        ({"isochrones": {"ages": [1e9, 5e9]}}, "reach outside"),
        ({"model": {"selection": "feh > -1 and feh < 0"}}, "write '&'"),
    ],
)
def test_numbers_that_no_stage_takes_are_found_before_the_run(sections, words):
    entries = {"name": "x", **sections, "data": {"source": "mock", **sections.get("data", {})}}
    with pytest.raises((MigrateBayesError, ValueError), match=words):
        check_run(Recipe(**entries), catalog=Path("none.parquet"))
