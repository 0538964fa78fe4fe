"""The product that grows: it survives a killed run and refuses another recipe's results."""

from __future__ import annotations

import json

import pytest

from migrate_bayes.checks.posterior.ledger import Ledger
from migrate_bayes.core.errors import ProductError


def number(result):
    return result["survey"]


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
    assert again.done(number) == {0, 2}
    assert [number(r) for r in again.sorted(number)] == [0, 2]
    again.append({"survey": 1, "x": float("nan")})
    assert make(path).done(number) == {0, 1, 2}


def test_a_line_cut_short_is_taken_off(tmp_path):
    path = tmp_path / "surveys.jsonl"
    ledger = make(path)
    ledger.append({"survey": 0})
    with path.open("a") as out:
        out.write('{"survey": 1, "x": 0.1')
    ledger = make(path)
    assert ledger.done(number) == {0}
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
