"""The run held against what the paper states, and its slices and variants as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from migrate_bayes.baseline import HIGH_QUALITY
from migrate_bayes.report.headline import Estimate, baseline_estimate, headline
from migrate_bayes.selection import SELECTIONS

__all__ = ["Table", "curve_table", "statement_table", "variant_table"]

#: Title, header, rows of text.
Table = tuple[str, list[str], list[list[str]]]
_METHODS = ("odr+scatter", "odr")


def _text(estimate: Estimate | None) -> str:
    return "" if estimate is None else str(estimate)


def statement_table(
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None,
    thick_baseline: xr.Dataset | None,
    variants: xr.DataTree | None,
    truth: Mapping[str, float] | None = None,
) -> Table:
    """Set what Vickers, Shen & Li (2021) state beside what the run finds.

    Rows that neither fit nor baseline gives are left out.
    """
    found = {r.name: r for r in headline(fit, baseline, truth, thick_baseline=thick_baseline)}
    rows: list[list[str]] = []

    def row(
        what: str, unit: str, paper: str, fitted: Estimate | None, *odr: Estimate | None
    ) -> None:
        if fitted is not None or any(odr):
            rows.append([what, unit, paper, _text(fitted), *(_text(e) for e in odr)])

    for name, what, paper in (
        ("gradient_young", "Thin disc, gradient at 1 Gyr (fig. 6)", "about −0.075"),
        ("flattening_rate", "Thin disc, flattening rate (fig. 6)", "0.003"),
        ("gradient_thick", "Thick disc, gradient (fig. 7)", "near +0.02"),
    ):
        if name in found:
            r = found[name]
            row(what, r.unit, paper, r.hierarchical, r.odr_scatter, r.odr)
    if thick_baseline is not None:
        trend = [baseline_estimate(thick_baseline, m, "trend") for m in _METHODS]
        row(
            "Thick disc, flattening rate (fig. 7)", "dex/kpc/Gyr", "similar at all ages", None,
            *trend,
        )  # fmt: skip
    present = _group(variants, "r_present")
    if present is not None:
        for what, paper, k in _three_ages(present):
            slopes = [_slope(present, m, k) for m in _METHODS]
            row(f"Thin disc in R_present, {what}", "dex/kpc", paper, None, *slopes)
    strict = _group(variants, "high-quality")
    if strict is not None:
        rate = [baseline_estimate(strict, m, "trend") for m in _METHODS]
        row(
            "High-quality sample, flattening rate (fig. 13)", "dex/kpc/Gyr", "as the whole sample",
            None, *rate,
        )  # fmt: skip
    header = ["quantity", "unit", "the paper", "hierarchical", "ODR + scatter", "ODR"]
    return "Held against the paper's statements", header, rows


def _three_ages(data: xr.Dataset) -> list[tuple[str, str, int]]:
    """The youngest bin that has a slope, the steepest of those between, and the oldest."""
    slope = data["slope"].sel({"method": "odr+scatter"}).values
    good = np.flatnonzero(np.isfinite(slope))
    if len(good) < 3:
        return []
    steepest = int(good[1:-1][np.argmin(slope[good[1:-1]])])
    return [
        (f"{what}, {_ages(data, k)}", paper, k)
        for what, paper, k in (
            ("youngest", "−0.08", int(good[0])),
            ("steepest between", "−0.11", steepest),
            ("oldest", "−0.08", int(good[-1])),
        )
    ]


def _ages(data: xr.Dataset, k: int) -> str:
    return f"{float(data['age_lo'][k]):g}–{float(data['age_hi'][k]):g} Gyr"


def _slope(data: xr.Dataset, method: str, k: int) -> Estimate | None:
    one = data.sel({"method": method}).isel(age_bin=k)
    value, error = float(one["slope"]), float(one["slope_error"])
    return Estimate(value, error, error) if math.isfinite(value) else None


def _group(variants: xr.DataTree | None, name: str) -> xr.Dataset | None:
    if variants is None or name not in variants.children:
        return None
    data = variants[name].to_dataset()
    return data if "slope" in data else None


def variant_table(baseline: xr.Dataset | None, variants: xr.DataTree | None) -> Table:
    """Tabulate the straight line through gradient(age) of each slice and variant."""
    rows = []
    named = {} if baseline is None else {"thin-disc sample": baseline}
    if variants is not None:
        for name in variants.children:
            data = _group(variants, str(name))
            if data is not None:
                potential = str(name).startswith("potential-")
                label = str(data.attrs.get("potential") if potential else name)
                named[_sample(label)] = data
    for label, data in named.items():
        cells = [label, f"{int(data['n_stars'].sum()):,}"]
        for method in _METHODS:
            cells += [
                _text(baseline_estimate(data, method, v)) or "n/a"
                for v in ("slope_at_1gyr", "trend")
            ]
        rows.append(cells)
    header = [
        "sample", "stars in bins", "at 1 Gyr, ODR + scatter (dex/kpc)",
        "rate, ODR + scatter (dex/kpc/Gyr)", "at 1 Gyr, ODR (dex/kpc)", "rate, ODR (dex/kpc/Gyr)",
    ]  # fmt: skip
    return "Slices and variants: the line through gradient(age)", header, rows


def _sample(name: str) -> str:
    """Word a variant's name."""
    if name in SELECTIONS:
        words = SELECTIONS[name].description
        return f"of the thin-disc sample, {words}" if name == HIGH_QUALITY else words
    return {"r_present": "thin-disc sample, in R_present", "rg": "thin-disc sample, in R_g"}.get(
        name, f"thin-disc sample, {name}"
    )


def curve_table(fit: xr.DataTree | None) -> Table:
    """Tabulate the fitted gradient of each disc at a few ages: median and 68% interval."""
    from migrate_bayes.report.headline import curve_estimate

    header = ["age (Gyr)", "thin disc (dex/kpc)", "thick disc (dex/kpc)"]
    rows = []
    for age in (1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0, 12.0):
        cells = [curve_estimate(fit, component, age) for component in ("thin", "thick")]
        if any(cells):
            rows.append([f"{age:g}", *(_text(c) for c in cells)])
    return "Hierarchical gradient(age): median and 68% interval", header, rows
