"""The product that grows: it survives a killed run and refuses another recipe's results."""

from __future__ import annotations

import json

import pytest

from migrate_bayes.checks.posterior.ledger import Ledger, complete
from migrate_bayes.checks.posterior.recipe import BiasRecipe
from migrate_bayes.core.errors import ProductError


def number(result):
    return result["survey"]


def surveys(ledger):
    return [number(result) for result in ledger.results]


def _complete(recipe, path, tasks, key):
    """Ask for tasks that are all done: no process starts."""
    return complete(
        recipe, path, tasks, None, key, kind="bias", unit="fits", workers=1, overwrite=False
    )


def make(path, **changes):
    return Ledger(path, **({"kind": "calibration", "recipe_hash": "abc", "seed": 1} | changes))


def test_goes_on_with_every_digit(tmp_path):
    path = tmp_path / "runs" / "surveys.jsonl"
    first = make(path)
    values = [{"survey": 2, "x": 0.1 + 0.2}, {"survey": 0, "x": 1e-300}]
    for value in values:
        first.append(value)
    again = make(path)
    assert again.results == values
    again.append({"survey": 1, "x": float("nan")})
    assert surveys(make(path)) == [2, 0, 1]
    # Results come in the order of the tasks' numbers, whatever the order they were done in.
    recipe = BiasRecipe(seed=1)
    path = tmp_path / "other.jsonl"
    other = make(path, kind="bias", recipe_hash=recipe.hash)
    for value in again.results:
        other.append(value)
    done = _complete(recipe, path, range(3), number)
    assert [number(r) for r in done] == [0, 1, 2]


def test_a_line_cut_short_is_taken_off(tmp_path):
    path = tmp_path / "surveys.jsonl"
    ledger = make(path)
    ledger.append({"survey": 0})
    with path.open("a") as out:
        out.write('{"survey": 1, "x": 0.1')
    ledger = make(path)
    assert surveys(ledger) == [0]
    ledger.append({"survey": 1})
    assert [json.loads(line).get("survey") for line in path.read_text().splitlines()] == [
        None,
        0,
        1,
    ]


def test_another_recipe_is_refused_and_replaced_when_asked(tmp_path):
    path = tmp_path / "surveys.jsonl"
    make(path).append({"survey": 0})
    for other in ({"recipe_hash": "xyz"}, {"kind": "bias"}):
        with pytest.raises(ProductError, match=r"another recipe.*--overwrite"):
            make(path, **other)
    assert make(path, recipe_hash="xyz", overwrite=True).results == []
    path.write_text("not a ledger\n")
    with pytest.raises(ProductError, match="cannot be gone on with"):
        make(path)
    path.write_text("")
    with pytest.raises(ProductError, match="cannot be gone on with"):
        make(path)


def test_a_ledger_of_the_first_version_goes_on(tmp_path):
    path = tmp_path / "surveys.jsonl"
    recipe = BiasRecipe.read("runs/odr-bias.toml")
    header = (
        '{"kind": "bias", "created": "2025-03-01T12:00:00+00:00", "versions": "{}", "seed": "7", '
        f'"recipe_hash": "{recipe.hash}", "inputs": "{{}}"}}'
    )
    line = (
        '{"scenario": "none", "survey": 0, "kind": "regression", "stars": 300, "estimates": {"odr":'
        ' {"gradient_young": [-0.0702, 0.0042], "flattening_rate": [0.0021, 0.0009]}}, '
        '"seconds": 0.1}'
    )
    path.write_text(f"{header}\n{line}\n")
    one = recipe.model_copy(update={"surveys": 1, "fits": 0})
    task = ("none", 0, "regression")
    (result,) = _complete(one, path, [task], lambda r: (r["scenario"], r["survey"], r["kind"]))
    assert json.dumps(result) == line
    assert path.read_text() == f"{header}\n{line}\n"
