"""The sweeps as recipes: what is in runs/ loads, and its variants are the ones the text says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from migrate_bayes.core.errors import RecipeError
from migrate_bayes.orbits import OrbitOptions
from migrate_bayes.orbits.potential import list_potentials
from migrate_bayes.run.recipe import load_recipe

RUNS = Path(__file__).resolve().parents[2] / "runs"


def _variants(name: str, potentials: tuple[str, ...] | None = None) -> list[str]:
    recipe = load_recipe(RUNS / name)
    settings = {} if potentials is None else {"potentials": potentials}
    made = list_potentials(OrbitOptions.of(recipe.orbits, settings))
    assert recipe.model.potential in made
    return list(made)


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
    made = list_potentials(
        OrbitOptions.model_validate({"potentials": ["MWPotential2014"], "sweep": sweep})
    )
    assert [p.units for p in made.values()] == [(8.0, 220.0)] * 2
    assert [p.frame.r0 for p in made.values()] == [8.0, 8.5]


def test_sweep_is_checked_where_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('[data]\nsource = "mock"\n[orbits.sweep]\nR0 = [8.0]\n')
    with pytest.raises(RecipeError, match=r"orbits\.sweep\.R0"):
        load_recipe(path)
    path.write_text('[data]\nsource = "mock"\n[orbits.sweep]\nr0 = [8.0, 8.2]\n')
    recipe = load_recipe(path)
    assert recipe.orbits.sweep is not None
    np.testing.assert_array_equal(recipe.orbits.sweep.r0, [8.0, 8.2])
