"""Tables and estimates are worded in one way for the terminal, a notebook, a page and JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from migrate_bayes.core.table import Estimate, Table, plain

DISCS = Table("Discs", ["disc", "stars"], [["thin", "1,200"], ["thick", "90"]])


def test_lines_align_numbers_to_the_right_and_words_to_the_left():
    assert DISCS.lines() == ["Discs", "  disc   stars", "  thin   1,200", "  thick     90"]
    signed = Table("", ["x"], [["-1.5"], ["+12"], ["−3"], [".5"], [""]]).lines()
    assert signed == ["", "     x", "  -1.5", "   +12", "    −3", "    .5", "  "]


def test_a_table_without_rows_is_false_and_says_none():
    empty = Table("Nothing", ["a"], [])
    assert not empty
    assert DISCS
    assert empty.lines() == ["Nothing", "  (none)"]
    assert empty.records() == []


def test_print_goes_through_the_function_given(capsys):
    said: list[str] = []
    DISCS.print(said.append)
    assert said == ["", *DISCS.lines()]
    DISCS.print()
    assert capsys.readouterr().out.splitlines() == said


def test_records_are_rows_by_column():
    assert DISCS.records() == [{"disc": "thin", "stars": "1,200"}, {"disc": "thick", "stars": "90"}]
    with pytest.raises(ValueError, match="zip"):
        Table("", ["a", "b"], [["1"]]).records()


def test_html_escapes_title_header_and_cells():
    page = Table("a < b & c", ["<x>"], [["1 > 0"], ['"q"']])._repr_html_()
    assert page == (
        "<table><caption>a &lt; b &amp; c</caption><tr><th>&lt;x&gt;</th></tr>"
        "<tr><td>1 &gt; 0</td></tr><tr><td>&quot;q&quot;</td></tr></table>"
    )
    assert "caption" not in Table("", ["x"], [["1"]])._repr_html_()


@pytest.mark.parametrize(
    ("estimate", "settings", "text"),
    [
        # Two figures of the smaller error where nothing is said.
        ((-0.07518, 0.00042, 0.00042), {}, "-0.07518 ± 0.00042"),
        ((-0.0751, 0.002, 0.004), {}, "-0.0751 +0.0040 -0.0020"),
        ((12.345, 3.0, 3.3), {}, "12.3 ± 3.1"),
        ((1234.5, 40.0, 40.0), {}, "1234 ± 40"),
        ((0.0029, 0.0006, 0.0006), {"digits": 4, "sign": True}, "+0.0029 ± 0.0006"),
        ((-0.0029, 0.0006, 0.0006), {"digits": 4, "sign": True}, "-0.0029 ± 0.0006"),
        # Sides that differ by a fifth of the larger, and by just more.
        ((1.0, 0.8, 1.0), {"digits": 1}, "1.0 ± 0.9"),
        ((1.0, 0.79, 1.0), {"digits": 2}, "1.00 +1.00 -0.79"),
        ((1.0, 1e-12, 1e-12), {}, "1.00000000 ± 0.00000000"),
        ((0.123456, 0.0, 0.0), {}, "0.1235"),
        ((0.123456, math.nan, math.nan), {}, "0.1235"),
        ((math.nan, 0.1, 0.1), {}, "n/a"),
        ((math.inf, 0.1, 0.1), {"digits": 2}, "n/a"),
    ],
)
def test_an_estimate_is_rounded_by_its_error(estimate, settings, text):
    assert Estimate(*estimate).text(**settings) == text
    if not settings:
        assert str(Estimate(*estimate)) == text


def test_an_estimate_of_draws_is_their_median_and_central_68_percent():
    draws = np.arange(101.0)
    assert Estimate.of_draws(draws) == Estimate(50.0, 34.0, 34.0)
    assert Estimate.of_draws(np.append(draws, [np.nan, np.inf])) == Estimate(50.0, 34.0, 34.0)
    assert Estimate.of_draws([math.nan]) is None
    assert Estimate.of_draws([]) is None


def test_a_symmetric_estimate_holds_floats():
    estimate = Estimate.symmetric(np.float32(0.5), 1)
    assert estimate == Estimate(0.5, 1.0, 1.0)
    assert type(estimate.value) is type(estimate.plus) is float


def test_plain_is_what_json_holds():
    nested = {
        1: np.float64(0.25), "nan": math.nan, "inf": [np.inf, -np.inf], "text": "x", "none": None,
        "array": np.array([[1.23456, np.nan]]), "flag": np.bool_(True), "int": np.int32(7),
        "tuple": (1, 2.0),
    }  # fmt: skip
    found = plain(nested, digits=2)
    assert found == {
        "1": 0.25, "nan": None, "inf": [None, None], "text": "x", "none": None,
        "array": [[1.23, None]], "flag": True, "int": 7, "tuple": [1, 2.0],
    }  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert plain(1.23456) == 1.23456
