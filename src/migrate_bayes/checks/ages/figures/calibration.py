"""PIT histograms, coverage by age, and what another family does to both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.checks.ages.calibration import REGIONS, Coverage
from migrate_bayes.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    figure,
    in_style,
)

__all__ = ["calibration_figure", "systematic_figure"]

_TINTS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
_BINS = 20


@in_style
def calibration_figure(result: xr.Dataset, rows: Sequence[Coverage]) -> Any:
    """Draw the PIT histogram by region, and coverage by region and age.

    Parameters
    ----------
    result : xarray.Dataset
        From `calibrate`.
    rows : sequence of Coverage
        From `coverage_table`.
    """
    made = figure(13.0, 7.4)
    grid = made.add_gridspec(2, 4, height_ratios=(1.0, 1.25))
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    for k, region in enumerate(REGIONS):
        ax = made.add_subplot(grid[0, k])
        pit = result["pit"].values[(result["region"].values == k)]
        pit = pit[np.isfinite(pit)]
        expected = len(pit) / _BINS
        sd = np.sqrt(expected * (1.0 - 1.0 / _BINS))
        ax.axhspan(1 - 2 * sd / expected, 1 + 2 * sd / expected, color=GREY, alpha=0.2, lw=0)
        count = np.histogram(pit, edges)[0]
        ax.stairs(count / expected, edges, color=_TINTS[k], lw=1.8, baseline=None)
        ax.axhline(1.0, color="black", lw=0.7)
        ax.set(xlim=(0, 1), ylim=(0.5, 1.5), title=f"{region.name} ({len(pit):,})", xlabel="PIT")
        if k == 0:
            ax.set_ylabel("density")
    for column, group in ((0, "true age"), (2, "estimated age")):
        ax = made.add_subplot(grid[1, column : column + 2])
        for level, name, tint in (
            (0.95, "coverage95", ORANGE),
            (0.68, "coverage68", BLUE),
            (0.68, "coverage61", GREY),
        ):
            part = [r for r in rows if r.group == group and r.stars > 20]
            x = [np.mean([float(v) for v in r.label.split()[0].split("-")]) for r in part]
            y = [getattr(r, name) for r in part]
            error = [np.sqrt(v * (1 - v) / r.stars) for v, r in zip(y, part, strict=True)]
            ax.axhline(level, color="black", lw=0.7)
            label = {
                "coverage95": "central 95%", "coverage68": "central 68%",
                "coverage61": r"$L \geq 0.61\,L_\mathrm{max}$",
            }[name]  # fmt: skip
            ax.errorbar(
                x, y, error, fmt="o-" if name != "coverage61" else "s:", color=tint, label=label
            )
        ax.set(
            ylim=(0.4, 1.0), xlabel=f"{group}  [Gyr]", ylabel="fraction of intervals with the truth"
        )
        ax.legend(loc="lower center", ncols=3)
    return made


@in_style
def systematic_figure(tables: Mapping[str, Sequence[Coverage]]) -> Any:
    """Draw coverage and bias by region for stars of each family, aged on another.

    Parameters
    ----------
    tables : mapping
        Family that made the stars to its `coverage_table`.
    """
    made = figure(11.0, 4.4)
    left, right = made.subplots(1, 2)
    width = 0.8 / max(len(tables), 1)
    for i, (family, rows) in enumerate(tables.items()):
        part = [r for r in rows if r.group == "region"]
        x = np.arange(len(part)) + width * (i - 0.5 * (len(tables) - 1))
        tint = _TINTS[i % len(_TINTS)]
        left.bar(x, [r.coverage68 for r in part], 0.9 * width, color=tint, label=family)
        right.errorbar(
            x, [100 * r.offset for r in part], [100 * r.scatter for r in part], fmt="o", color=tint,
            capsize=2, label=family,
        )  # fmt: skip
        names = [r.label for r in part]
        for ax in (left, right):
            ax.set_xticks(range(len(names)), names)
            ax.tick_params(axis="x", which="minor", bottom=False, top=False)
    left.axhline(0.68, color="black", lw=0.9)
    left.set(ylim=(0, 1), ylabel="coverage of the central 68%")
    left.legend(title="stars made by", ncols=3, loc="upper center")
    right.axhline(0.0, color="black", lw=0.9)
    right.set(ylabel="(age − truth) / truth:  median, scatter  [%]")
    return made
