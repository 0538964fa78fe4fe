"""The headline: the numbers, their wording, and both ways of printing them."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.baseline import fit_baseline
from migrate_bayes.core.table import Estimate
from migrate_bayes.mock.discs import expected_gradient
from migrate_bayes.mock.truth import as_truth
from migrate_bayes.report.headline_table import Headline, headline, print_baseline
from migrate_bayes.run.recipe import Recipe


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(-0.07521, 0.00041, 0.00043), "-0.07521 ± 0.00042"),
        (Estimate(-0.07521, 0.0104, 0.0104), "-0.075 ± 0.010"),
        (Estimate(0.02, 0.002, 0.004), "0.0200 +0.0040 -0.0020"),
        (Estimate(12.3, 3.0, 3.0), "12.3 ± 3.0"),
        (Estimate(1234.0, 56.0, 56.0), "1234 ± 56"),
        (Estimate(0.5, 0.0, 0.0), "0.5"),
        (Estimate(np.nan, 1.0, 1.0), "n/a"),
    ],
)
def test_estimates_show_two_figures_of_their_error(estimate: Estimate, text: str) -> None:
    assert str(estimate) == text


def test_rows_are_medians_beside_the_baseline(
    fit: xr.DataTree, baseline: xr.Dataset, truth: dict[str, float]
) -> None:
    rows = {r.name: r for r in headline(fit, baseline, truth)}
    assert list(rows) == ["gradient_young", "slope_youngest", "flattening_rate", "gradient_thick"]
    young = rows["gradient_young"]
    assert young.hierarchical is not None
    assert young.odr_scatter is not None
    draws = fit["posterior"]["gradient_young"].values.ravel()
    assert young.hierarchical.value == np.median(draws)
    width = young.hierarchical.minus + young.hierarchical.plus
    assert width == pytest.approx(np.diff(np.percentile(draws, [16, 84]))[0])
    assert young.odr_scatter.value == float(baseline["slope_at_1gyr"][1])
    assert rows["flattening_rate"].odr == Estimate(
        float(baseline["trend"][0]), *[float(baseline["trend_error"][0])] * 2
    )
    # The youngest bin is compared at its centre, 1.625 Gyr, on the truth's line.
    assert rows["slope_youngest"].truth == pytest.approx(-0.075 + 0.003 * 0.625)
    curve = fit["posterior"].to_dataset()["gradient"].sel(component="thin").interp(age=1.625)
    assert rows["slope_youngest"].hierarchical is not None
    assert rows["slope_youngest"].hierarchical.value == pytest.approx(float(curve.median()))
    assert rows["gradient_thick"].odr is None


def test_errors_are_divided_by_what_makes_them_and_add_up(fit: xr.DataTree) -> None:
    """Injections have a share of the posterior's variance; choices of comparisons add theirs."""
    assert not headline(fit).budget
    sd = float(fit["posterior"]["gradient_young"].std())
    fit = fit.copy()
    fit.attrs["completeness_share"] = json.dumps({"gradient_young": 0.36})

    def compared(**sds: float) -> xr.DataTree:
        one = xr.Dataset(
            {"sd": (("quantity", "source"), [list(sds.values())])},
            {"quantity": ["gradient_young"], "source": list(sds)},
        )
        return xr.DataTree.from_dict({"variance": one})

    one = compared(stars=9.0, potential=0.5 * sd, selection=7.0)
    other = compared(stars=9.0, potential=0.2 * sd, family=2.0 * sd)
    budget = headline(fit, comparisons=[one, other]).budget
    young = dict(zip(budget.header, budget.rows[0], strict=True))
    assert list(young)[2:] == ["± total", "stars", "injections", "potential", "isochrones"]
    parts = [float(young[name]) for name in list(young)[3:]]
    total = sd * (1.0 + 0.25 + 4.0) ** 0.5
    np.testing.assert_allclose(parts, sd * np.array([0.8, 0.6, 0.5, 2.0]), atol=0.06 * total)
    assert float(young["± total"].split("±")[1]) == pytest.approx(total, rel=0.06)
    assert "isochrones" not in headline(fit, comparisons=[one]).budget.header
    # The same as plain numbers.
    found = json.loads(json.dumps(headline(fit, comparisons=[one, other]).summary()))
    young = found["quantities"]["gradient_young"]
    np.testing.assert_allclose(
        [young["errors"][name] for name in ("stars", "injections", "potential", "family")],
        sd * np.array([0.8, 0.6, 0.5, 2.0]),
    )
    assert found["believed"]
    assert young["total"] == pytest.approx(total)
    assert young["hierarchical"]["value"] == np.median(fit["posterior"]["gradient_young"])
    # Numbers marginalised over families: their weights decide what lies between, not equal ones.
    ends = {"lo95": -0.1, "lo68": -0.09, "median": -0.08, "hi68": -0.07, "hi95": -0.0652}
    numbers = {"mean": -0.08, "sd": 3 * sd, "within": sd, "between": 1.5 * sd, **ends}
    mixed = {name: ("quantity", [value]) for name, value in numbers.items()}
    other["marginal/family"] = xr.DataTree(xr.Dataset(mixed, {"quantity": ["gradient_young"]}))
    found = headline(fit, comparisons=[one, other])
    (row,) = found.budget.records()[:1]
    assert row["95% over isochrones"].startswith("-0.1000 … -0.0652"[: len("-0.100")])
    young = found.summary()["quantities"]["gradient_young"]
    assert young["errors"]["family"] == pytest.approx(1.5 * sd)
    assert young["marginal"]["family"] == pytest.approx(numbers)
    alone = headline(fit).summary()["quantities"]["flattening_rate"]
    assert alone["total"] == pytest.approx(float(fit["posterior"]["flattening_rate"].std()))


def test_truth_of_a_curve_is_read_from_it_and_says_what_its_rate_is(
    fit: xr.DataTree, baseline: xr.Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(name="x", data={"source": "mock"}, simulate={"population": "migration"})
    law, truth = recipe.simulate.migration, recipe.truth()
    assert truth is not None
    rows = {r.name: r for r in headline(fit, baseline, truth)}
    assert rows["slope_youngest"].truth == pytest.approx(float(expected_gradient(law, 1.625)))
    assert rows["flattening_rate"].truth == truth["flattening_rate"]
    headline(fit, baseline, truth).print()
    assert (
        "least-squares slope over the ages 1, 2.5, 4.5, 6.5, 9, 12 Gyr" in capsys.readouterr().out
    )
    assert as_truth({"gradient_young": -0.07, "flattening_rate": 0.003}).note == ""


def test_pull_uses_the_error_on_the_side_of_the_truth(
    fit: xr.DataTree, truth: dict[str, float]
) -> None:
    row = headline(fit, None, truth)[0]
    assert row.hierarchical is not None
    value = row.hierarchical.value
    below = headline(fit, None, {"gradient_young": value - 2 * row.hierarchical.minus})[0]
    above = headline(fit, None, {"gradient_young": value + 2 * row.hierarchical.plus})[0]
    assert below.pull == pytest.approx(2)
    assert above.pull == pytest.approx(-2)


def test_thick_baseline_stands_in_the_thick_row(
    fit: xr.DataTree, baseline: xr.Dataset, make_stars: object
) -> None:
    thick = fit_baseline(make_stars(3000), selection="thick")  # type: ignore[operator]
    row = {r.name: r for r in headline(fit, baseline, thick_baseline=thick)}["gradient_thick"]
    assert row.odr_scatter is not None
    assert row.odr_scatter.value == float(thick["mean_slope"][1])


def test_a_fit_that_may_not_be_believed_is_withheld_and_the_baseline_is_not(
    bad_fit: xr.DataTree,
    fit: xr.DataTree,
    baseline: xr.Dataset,
    truth: dict[str, float],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good, found = (headline(tree, baseline, truth) for tree in (fit, bad_fit))
    assert [r.name for r in found] == [r.name for r in good]
    for row, shown in zip(found, good, strict=True):
        assert row.hierarchical is None
        assert row.pull is None
        assert row[-3:-1] == shown[-3:-1]  # ODR's
        assert row.truth == shown.truth
    title, header, rows = found.table()
    assert title == "Metallicity gradients: not to be believed"
    assert header == good.table().header
    for row in rows:
        assert dict(zip(header, row, strict=True))["hierarchical"] == "withheld"
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda at=terminal: at)
        found.print()
        out = capsys.readouterr().out
        assert not any(str(r.hierarchical) in out for r in good)
        *_, last = out.splitlines()
        assert "R-hat" in last
        assert "(sigma_G), limit < 1.05. Next: chains disagree" in last


def test_columns_and_rows_without_content_are_left_out(
    fit: xr.DataTree, baseline: xr.Dataset
) -> None:
    _, header, _ = headline(fit, None).table()
    assert header == ["quantity", "unit", "hierarchical"]
    _, header, rows = headline(None, baseline).table()
    assert header == ["quantity", "unit", "ODR + scatter", "ODR"]
    assert len(rows) == 3
    assert headline(None) == []
    assert not Headline().table()


def test_failed_bins_do_not_reach_the_headline(baseline: xr.Dataset) -> None:
    empty = baseline.copy()
    for name in ("slope", "trend", "slope_at_1gyr", "slope_youngest", "mean_slope"):
        empty[name] = empty[name] * np.nan
    assert headline(None, empty) == []


def test_plain_text_away_from_a_terminal(
    fit: xr.DataTree,
    baseline: xr.Dataset,
    truth: dict[str, float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    headline(fit, baseline, truth).print()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Metallicity gradients"
    assert lines[2].split("  ")[1].strip() == "quantity"
    row = next(line for line in lines if "at 1 Gyr" in line)
    assert "dex/kpc" in row
    assert "  -0.075  " in row
    assert str(headline(fit)[0].hierarchical) in row
    print_baseline(baseline)
    out = capsys.readouterr().out
    assert "1–2.25" in out
    assert "ODR + scatter" in out
    assert "\x1b" not in out


def test_ruled_table_on_a_terminal(
    fit: xr.DataTree, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    headline(fit, None, {"gradient_young": -0.075}).print()
    out = capsys.readouterr().out
    assert "━" in out
    assert str(headline(fit)[0].hierarchical) in out


def test_reasons_stand_where_a_bin_has_no_slope(
    make_stars: object, capsys: pytest.CaptureFixture[str]
) -> None:
    print_baseline(fit_baseline(make_stars(300), min_stars=15))  # type: ignore[operator]
    assert "stars, fewer than 15" in capsys.readouterr().out


@pytest.mark.parametrize(("knots", "words"), [
    ([7.0, 11.0], "at 8 kpc, and hold from 7 kpc to 11 kpc."),
    ([10.0], "at 8 kpc, and hold to 10 kpc."),
    ([6.5, 8.0, 9.5], "at 8 kpc, a knot of its profile."),
])  # fmt: skip
def test_gradients_of_a_bent_profile_say_where_they_hold(knots, words):
    draws = np.random.default_rng(0).normal(0.05, 0.01, (2, 200, len(knots)))
    posterior = xr.Dataset(
        {"profile_bend": (("chain", "draw", "profile_knot"), draws)}, {"profile_knot": knots}
    )
    found = headline(xr.DataTree.from_dict({"posterior": posterior}))
    assert found.note.endswith(words)
    assert [row.label for row in found] == [
        f"Change of the gradient at {radius:g} kpc, reference age" for radius in knots
    ]
