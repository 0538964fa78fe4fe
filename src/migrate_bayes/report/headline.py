"""The few numbers a run is made for: hierarchical fit, baseline and truth, side by side.

`headline` gives them as rows, which the page and the terminal share. The hierarchical columns are
posterior medians with their central 68% interval, as wide as the 1σ errors of the baseline.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from migrate_bayes.core.table import print_table
from migrate_bayes.mock.truth import as_truth

__all__ = [
    "Estimate",
    "HeadlineRow",
    "baseline_estimate",
    "baseline_table",
    "curve_estimate",
    "headline",
    "headline_table",
    "print_baseline",
    "print_headline",
]


@dataclass(frozen=True)
class Estimate:
    """A value and its 1σ (68%) errors downwards and upwards, both positive."""

    value: float
    minus: float
    plus: float

    def __str__(self) -> str:
        """``-0.0752 ± 0.0004``, or ``-0.075 +0.004 -0.002`` where the sides differ by a fifth."""
        if not math.isfinite(self.value):
            return "n/a"
        smaller = min(self.minus, self.plus)
        if not smaller > 0 or not math.isfinite(smaller):
            return f"{self.value:.4g}"
        digits = min(max(1 - math.floor(math.log10(smaller)), 0), 8)
        value = f"{self.value:.{digits}f}"
        if abs(self.plus - self.minus) > 0.2 * max(self.plus, self.minus):
            return f"{value} +{self.plus:.{digits}f} -{self.minus:.{digits}f}"
        return f"{value} ± {0.5 * (self.minus + self.plus):.{digits}f}"


@dataclass(frozen=True)
class HeadlineRow:
    """One quantity as each way of fitting has it; None where a way does not give it.

    Attributes
    ----------
    name : str
        The posterior's variable, or a name of our own.
    label, unit : str
        For people.
    truth : float, optional
        The mock's.
    hierarchical, odr_scatter, odr : Estimate, optional
        The population model, ODR with and without intrinsic scatter.
    """

    name: str
    label: str
    unit: str
    truth: float | None = None
    hierarchical: Estimate | None = None
    odr_scatter: Estimate | None = None
    odr: Estimate | None = None

    @property
    def pull(self) -> float | None:
        """(Hierarchical − truth) / its error on that side; None without truth."""
        if self.truth is None or self.hierarchical is None:
            return None
        difference = self.hierarchical.value - self.truth
        error = self.hierarchical.minus if difference > 0 else self.hierarchical.plus
        return difference / error if error > 0 else None


def summarise(draws: np.ndarray) -> Estimate | None:
    """Median and central 68% interval of draws."""
    finite = draws[np.isfinite(draws)]
    if not finite.size:
        return None
    low, mid, high = np.percentile(finite, [16, 50, 84])
    return Estimate(float(mid), float(mid - low), float(high - mid))


def _posterior(fit: xr.DataTree | None, name: str) -> Estimate | None:
    """A scalar of the posterior."""
    if fit is None or "posterior" not in fit.children or name not in fit["posterior"]:
        return None
    draws = fit["posterior"].to_dataset()[name]
    return summarise(draws.values.ravel()) if set(draws.dims) == {"chain", "draw"} else None


def curve_estimate(fit: xr.DataTree | None, component: str, age: float) -> Estimate | None:
    """The gradient curve of a component at an age, Gyr."""
    if fit is None or "posterior" not in fit.children or "gradient" not in fit["posterior"]:
        return None
    curve = fit["posterior"].to_dataset()["gradient"]
    if component not in curve["component"].values:
        return None
    curve = curve.sel(component=component)
    ages = curve["age"].values
    if not ages.min() <= age <= ages.max():
        return None
    return summarise(curve.interp(age=age).values.ravel())


def baseline_estimate(baseline: xr.Dataset | None, method: str, name: str) -> Estimate | None:
    """A number of a baseline with its 1σ error; None where it has none."""
    if baseline is None or name not in baseline:
        return None
    row = baseline.sel({"method": method})
    value, error = float(row[name]), float(row[f"{name}_error"])
    return Estimate(value, error, error) if math.isfinite(value) else None


def headline(
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None = None,
    truth: Mapping[str, float] | None = None,
    *,
    thick_baseline: xr.Dataset | None = None,
) -> list[HeadlineRow]:
    """Collect the headline numbers of a run.

    Parameters
    ----------
    fit : xarray.DataTree, optional
        A fit (docs/architecture.md).
    baseline, thick_baseline : xarray.Dataset, optional
        From `migrate_bayes.fit_baseline`, on the thin and the thick disc.
    truth : mapping, optional
        A mock's ``gradient_young`` (dex/kpc, at 1 Gyr), ``flattening_rate`` (dex/kpc/Gyr) and
        ``gradient_thick`` (dex/kpc); where gradient(age) is a curve, a
        `migrate_bayes.mock.truth.Truth`.

    Returns
    -------
    list of HeadlineRow
        Quantities that neither fit nor baseline gives are left out.
    """
    truth = as_truth(truth)

    def row(
        name: str,
        label: str,
        unit: str,
        *,
        fitted: Estimate | None,
        source: xr.Dataset | None = None,
        variable: str = "",
        true: float | None = None,
    ) -> HeadlineRow:
        return HeadlineRow(
            name, label, unit, true, fitted,
            *(baseline_estimate(source, m, variable) for m in ("odr+scatter", "odr")),
        )  # fmt: skip

    slope, rate = "dex/kpc", "dex/kpc/Gyr"
    rows = [
        row(
            "gradient_young", "Thin-disc gradient at 1 Gyr", slope,
            fitted=_posterior(fit, "gradient_young"),
            source=baseline, variable="slope_at_1gyr", true=truth.get("gradient_young"),
        )
    ]  # fmt: skip
    youngest = _youngest_bin(baseline)
    if youngest is not None:
        age, low, high = youngest
        there = truth.gradient("thin", age)
        true = None if there is None else float(there)
        rows.append(
            row(
                "slope_youngest", f"Thin-disc gradient, {low:g}–{high:g} Gyr", slope,
                fitted=curve_estimate(fit, "thin", age),
                source=baseline, variable="slope_youngest", true=true,
            )
        )  # fmt: skip
    rows += [
        row(
            "flattening_rate", "Flattening rate", rate, fitted=_posterior(fit, "flattening_rate"),
            source=baseline, variable="trend", true=truth.get("flattening_rate"),
        ),
        row(
            "gradient_thick", "Thick-disc gradient", slope,
            fitted=_posterior(fit, "gradient_thick"),
            source=thick_baseline, variable="mean_slope", true=truth.get("gradient_thick"),
        ),
        row(
            "sigma_rm8", "Radial-migration strength σ_RM8", "kpc",
            fitted=_posterior(fit, "sigma_rm8"), true=truth.get("sigma_rm8"),
        ),
    ]  # fmt: skip
    return [r for r in rows if r.hierarchical or r.odr_scatter or r.odr]


def _youngest_bin(baseline: xr.Dataset | None) -> tuple[float, float, float] | None:
    """Centre and edges (Gyr) of the youngest age bin that has a slope."""
    if baseline is None:
        return None
    good = np.flatnonzero(np.isfinite(baseline["slope"].values).any(axis=0))
    if not len(good):
        return None
    first = baseline.isel(age_bin=int(good[0]))
    return float(first["age_bin"]), float(first["age_lo"]), float(first["age_hi"])


def headline_table(rows: list[HeadlineRow]) -> tuple[list[str], list[list[str]]]:
    """Word the rows: header and cells, without the columns that are empty throughout."""
    columns: list[tuple[str, list[str]]] = [
        ("quantity", [r.label for r in rows]),
        ("unit", [r.unit for r in rows]),
        ("truth", ["" if r.truth is None else f"{r.truth:.3g}" for r in rows]),
        ("hierarchical", [_text(r.hierarchical) for r in rows]),
        ("(fit − truth)/σ", ["" if r.pull is None else f"{r.pull:+.1f}" for r in rows]),
        ("ODR + scatter", [_text(r.odr_scatter) for r in rows]),
        ("ODR", [_text(r.odr) for r in rows]),
    ]
    kept = [(name, cells) for name, cells in columns if any(cells)]
    header = [name for name, _ in kept]
    return header, [[cells[i] for _, cells in kept] for i in range(len(rows))]


def _text(estimate: Estimate | None) -> str:
    return "" if estimate is None else str(estimate)


def _print(title: str, header: list[str], rows: list[list[str]]) -> None:
    """A ruled table on a terminal, aligned plain text anywhere else."""
    if not sys.stdout.isatty():
        print_table(title, header, rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=i > 0)
    for cells in rows:
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)


def print_headline(
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None = None,
    truth: Mapping[str, float] | None = None,
    *,
    thick_baseline: xr.Dataset | None = None,
) -> None:
    """Print the headline to stdout; see `headline` for the parameters."""
    rows = headline(fit, baseline, truth, thick_baseline=thick_baseline)
    _print("Metallicity gradients", *headline_table(rows))
    if note := as_truth(truth).note:
        print(note)


def baseline_table(baseline: xr.Dataset) -> tuple[list[str], list[list[str]]]:
    """Word the baseline bin by bin: header and cells."""
    rows = []
    for k in range(baseline.sizes["age_bin"]):
        one = baseline.isel(age_bin=k)
        cells = [f"{float(one['age_lo']):g}–{float(one['age_hi']):g}", f"{int(one['n_stars']):,}"]
        for method in ("odr+scatter", "odr"):
            fitted = one.sel({"method": method})
            error = float(fitted["slope_error"])
            slope = Estimate(float(fitted["slope"]), error, error)
            cells.append(str(slope) if math.isfinite(slope.value) else str(fitted["reason"].item()))
        scatter = float(one.sel({"method": "odr+scatter"})["intrinsic_scatter"])
        rows.append([*cells, f"{scatter:.3f}" if math.isfinite(scatter) else ""])
    header = ["age (Gyr)", "stars", "ODR + scatter (dex/kpc)", "ODR (dex/kpc)", "scatter (dex)"]
    return header, rows


def print_baseline(baseline: xr.Dataset) -> None:
    """Print the baseline bin by bin, then its headline, to stdout."""
    _print("Gradient in bins of age", *baseline_table(baseline))
    print_headline(None, baseline)
