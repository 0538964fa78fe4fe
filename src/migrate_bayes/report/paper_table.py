"""The run held against what the paper states, and its slices and variants as a table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from migrate_bayes.baseline import HIGH_QUALITY
from migrate_bayes.core.table import Estimate, Table
from migrate_bayes.population.results.estimates import baseline_estimate, gradient_estimate
from migrate_bayes.report.headline_table import estimate_text
from migrate_bayes.report.products import RunProducts
from migrate_bayes.selection import SELECTIONS

_METHODS = ("odr+scatter", "odr")


class _Row(NamedTuple):
    """A quantity, what the paper states, and estimates by the fit, ODR + scatter and ODR."""

    quantity: str
    unit: str
    paper: str
    estimates: list[Estimate | None]


def statement_table(d: RunProducts) -> Table:
    """Set what Vickers, Shen & Li (2021) state beside what the run finds.

    Rows that neither fit nor baseline gives are left out.
    """
    found = {r.name: r for r in d.headline}
    rows = []
    for name, what, paper in (
        ("gradient_young", "Thin disc, gradient at 1 Gyr (fig. 6)", "about −0.075"),
        ("flattening_rate", "Thin disc, flattening rate (fig. 6)", "0.003"),
        ("gradient_thick", "Thick disc, gradient (fig. 7)", "near +0.02"),
    ):
        if (r := found.get(name)) is not None:
            rows.append(_Row(what, r.unit, paper, [r.hierarchical, r.odr_scatter, r.odr]))

    def of_baseline(
        what: str, unit: str, paper: str, data: xr.Dataset | None, variable: str
    ) -> None:
        estimates = [baseline_estimate(data, method, variable) for method in _METHODS]
        rows.append(_Row(what, unit, paper, [None, *estimates]))

    rate = "dex/kpc/Gyr"
    of_baseline(
        "Thick disc, flattening rate (fig. 7)", rate, "similar at all ages", d.thick_baseline,
        "trend",
    )  # fmt: skip
    present = _group(d.variants, "r_present")
    for what, paper, bin_ in [] if present is None else _three_ages(present):
        ages = f"{float(bin_['age_lo']):g}–{float(bin_['age_hi']):g} Gyr"
        of_baseline(f"Thin disc in R_present, {what}, {ages}", "dex/kpc", paper, bin_, "slope")
    strict = _group(d.variants, "high-quality")
    of_baseline(
        "High-quality sample, flattening rate (fig. 13)", rate, "as the whole sample", strict,
        "trend",
    )  # fmt: skip
    header = ["quantity", "unit", "the paper", "hierarchical", "ODR + scatter", "ODR"]
    cells = [[*row[:3], *map(estimate_text, row.estimates)] for row in rows if any(row.estimates)]
    return Table("Held against the paper's statements", header, cells)


def _three_ages(data: xr.Dataset) -> list[tuple[str, str, xr.Dataset]]:
    """The youngest bin that has a slope, the steepest of those between, and the oldest."""
    slope = data["slope"].sel({"method": "odr+scatter"}).values
    good = np.flatnonzero(np.isfinite(slope))
    if len(good) < 3:
        return []
    steepest = int(good[1:-1][np.argmin(slope[good[1:-1]])])
    return [
        (what, paper, data.isel(age_bin=k))
        for what, paper, k in (
            ("youngest", "−0.08", int(good[0])),
            ("steepest between", "−0.11", steepest),
            ("oldest", "−0.08", int(good[-1])),
        )
    ]


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
                estimate_text(baseline_estimate(data, method, v)) or "n/a"
                for v in ("slope_at_1gyr", "trend")
            ]
        rows.append(cells)
    header = [
        "sample", "stars in bins", "at 1 Gyr, ODR + scatter (dex/kpc)",
        "rate, ODR + scatter (dex/kpc/Gyr)", "at 1 Gyr, ODR (dex/kpc)", "rate, ODR (dex/kpc/Gyr)",
    ]  # fmt: skip
    return Table("Slices and variants: the line through gradient(age)", header, rows)


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
    header = ["age (Gyr)", "thin disc (dex/kpc)", "thick disc (dex/kpc)"]
    rows = []
    for age in (1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0, 12.0):
        cells = [gradient_estimate(fit, component, age) for component in ("thin", "thick")]
        if any(cells):
            rows.append([f"{age:g}", *map(estimate_text, cells)])
    return Table("Hierarchical gradient(age): median and 68% interval", header, rows)
