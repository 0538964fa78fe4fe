"""The sweeps as recipes: what is in runs/ loads, and its variants are the ones the text says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from migrate_bayes.core.errors import RecipeError
from migrate_bayes.orbits import get_frame
from migrate_bayes.orbits.sweep import make_variants
from migrate_bayes.run.recipe import load_recipe

RUNS = Path(__file__).resolve().parents[2] / "runs"


def _variants(name: str, potentials: tuple[str, ...] | None = None) -> list[str]:
    recipe = load_recipe(RUNS / name)
    o = recipe.orbits
    assert o.sweep is not None
    sweep = o.sweep.model_dump(exclude_none=True)
    made = make_variants(potentials or o.potentials, get_frame(o.frame), o.scaling, sweep)
    assert recipe.model.potential in [v.label for v in made]
    return [v.label for v in made]


def test_solar_sweep() -> None:
    labels = _variants("solar.toml")
    assert len(labels) == 12
    assert "MWPotential2014" in labels
    assert "MWPotential2014 R0=8.0 V0=220.0" in labels


def test_potentials_sweep() -> None:
    # Cautun20 takes galpy long to set up; its units are asked for nowhere but in a run.
    labels = _variants("potentials.toml", ("MWPotential2014", "Irrgang13I", "McMillan17"))
    assert labels[:3] == ["MWPotential2014", "Irrgang13I", "McMillan17"]
    assert labels[3:] == ["MWPotential2014 native", "Irrgang13I native", "McMillan17 native"]


def test_native_units_ignore_the_sweep_of_the_sun() -> None:
    sweep = {"r0": [8.0, 8.5], "scaling": ["native"]}
    made = make_variants("MWPotential2014", get_frame("vickers2021"), "rescaled", sweep)
    assert [v.units for v in made] == [(8.0, 220.0)] * 2
    assert [v.frame.r0 for v in made] == [8.0, 8.5]
    assert len({v.label for v in made}) == 2


def test_sweep_is_checked_where_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('[data]\nsource = "mock"\n[orbits.sweep]\nR0 = [8.0]\n')
    with pytest.raises(RecipeError, match=r"orbits\.sweep\.R0"):
        load_recipe(path)
    path.write_text('[data]\nsource = "mock"\n[orbits.sweep]\nr0 = [8.0, 8.2]\n')
    recipe = load_recipe(path)
    assert recipe.orbits.sweep is not None
    np.testing.assert_array_equal(recipe.orbits.sweep.r0, [8.0, 8.2])
