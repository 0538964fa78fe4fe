"""Recipes and catalogues full of nonsense: an error that says so, or a flag; nothing else."""

import json
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

from migrate_bayes.catalog import read_catalog
from migrate_bayes.core.errors import MigrateBayesError
from migrate_bayes.isochrones import estimate_ages
from migrate_bayes.orbits import compute_orbits
from migrate_bayes.run.before import check_run
from migrate_bayes.run.recipe import Recipe, load_recipe
from migrate_bayes.stars import assemble_stars

RUNS = Path(__file__).parents[2] / "runs"
NONSENSE = [
    -1, 0, 1, 2**40, -0.5, 1e-300, 1e308, float("nan"), float("inf"), True, False, "", " ", "none",
    "all", "α", "../up", "/dev/null", "x" * 3000, "feh > 0 & (feh", "(" * 3000 + "feh > 0",
    "~" * 3000 + "thin", "thin | " * 500 + "thin", "feh > 1e999", "local:0", "x.py:y", "mwdust:",
    [], [[]], ["thin"], [1.0, "a"], [1.0, 0.5], [float("nan")], {}, {"a": {"b": []}},
    {"form": "cubic"}, {"source": "mock"},
]  # fmt: skip


def toml(value):
    """Write a value as TOML does, in one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def tables(content):
    """Return the tables of a recipe, itself first."""
    return [content, *(t for v in content.values() if isinstance(v, dict) for t in tables(v))]


def fuzzed_recipe(rng):
    """Take a recipe of the package, or the defaults, and change one to three entries."""
    name = rng.choice(["demo", "migration", "solar", "quality", "defaults"])
    if name == "defaults":
        content = Recipe(name="x", data={"source": "mock"}).model_dump(mode="json")
        content = json.loads(json.dumps(content), object_hook=_without_nulls)
    else:
        content = tomllib.loads((RUNS / f"{name}.toml").read_text(encoding="utf-8"))
    for _ in range(rng.integers(1, 4)):
        places = tables(content)
        table = places[rng.integers(len(places))]
        names = [*table, "nonsense", ""]
        entry = names[rng.integers(len(names))]
        if rng.random() < 0.15:
            table.pop(entry, None)
        else:
            table[entry] = NONSENSE[rng.integers(len(NONSENSE))]
    return "".join(f"{json.dumps(k)} = {toml(v)}\n" for k, v in content.items())


def _without_nulls(table):
    return {k: v for k, v in table.items() if v is not None}


def try_recipes(seeds, folder):
    """Load and check fuzzed recipes; return how many were refused."""
    refused = 0
    for seed in seeds:
        path = folder / f"{seed}.toml"
        path.write_text(fuzzed_recipe(np.random.default_rng(seed)), encoding="utf-8")
        try:
            recipe = load_recipe(path)
            assert recipe.hash == load_recipe(path).hash
            check_run(recipe, catalog=folder / "none.parquet", outputs=[folder / "stars"])
        except MigrateBayesError as error:
            refused += 0 < len(str(error)) < 20_000
        except Exception as error:
            raise AssertionError(f"{seed}: {path.read_text()[:2000]}") from error
    return refused


def test_fuzzed_recipes(tmp_path):
    assert 30 < try_recipes(range(60), tmp_path) <= 60


@pytest.mark.slow
def test_a_thousand_fuzzed_recipes(tmp_path):
    assert 500 < try_recipes(range(1000, 2000), tmp_path) <= 1000


WILD = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -1.0, 1.0, 90.0, 1e-30, 360.0, 5000.0, 1e10, -1e300, 1e300]
)


def try_catalogues(seeds, make_catalog):
    """Give wild values to ages and orbits; return how many catalogues were refused."""
    refused = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        frame = make_catalog(int(rng.integers(2, 25)), seed=seed).to_dataframe().reset_index()
        frame = frame.drop(columns=["flag", "star_key", "star"], errors="ignore")
        for name in rng.permutation(frame.columns.drop("source_id"))[: rng.integers(1, 8)]:
            rows = rng.random(len(frame)) < rng.choice([0.1, 0.5, 0.95])
            if rng.random() < 0.1:
                frame = frame.drop(columns=name)
            else:
                frame.loc[rows, name] = rng.choice(WILD, rows.sum())
        with warnings.catch_warnings(action="ignore"):
            try:
                catalog = read_catalog(frame)
                ages = estimate_ages(catalog, ages=(1.0, 2.0, 4.0, 8.0, 12.0))
                orbits = compute_orbits(
                    catalog, potentials=("MWPotential2014",), draws=4, zmax_potentials=()
                )
                stars = assemble_stars(catalog, ages=ages, orbits=orbits)
            except MigrateBayesError as error:
                refused += bool(str(error))
                continue
        np.testing.assert_array_equal(stars["source_id"], frame["source_id"], str(seed))
        whole = stars["flag"].values == 0
        for name in ("age_median", "age_lo", "age_hi", "rg_mean", "distance_mean"):
            value = stars[name].values
            assert np.isfinite(value[whole]).all(), (seed, name, value)
    return refused


def test_fuzzed_catalogues(make_catalog):
    assert try_catalogues(range(15), make_catalog) < 15


@pytest.mark.slow
def test_a_thousand_fuzzed_catalogues(make_catalog):
    assert try_catalogues(range(1000, 2000), make_catalog) < 800
