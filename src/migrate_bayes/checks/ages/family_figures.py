"""Figures of drawn stars and of families: calibration, and age differences between families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.checks.ages.aims import PAPER_DARTMOUTH_MINUS_PARSEC
from migrate_bayes.checks.ages.calibration import REGIONS, Coverage
from migrate_bayes.checks.ages.families import AGE_BINS, sample_label
from migrate_bayes.checks.ages.statistics import Spread
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

_TINTS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, "black")
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
        part = [r for r in rows if r.group == group and r.stars > 20]
        x = [np.mean([float(v) for v in r.label.split()[0].split("-")]) for r in part]
        for level, name, tint, label, fmt in (
            (0.95, "coverage95", ORANGE, "central 95%", "o-"),
            (0.68, "coverage68", BLUE, "central 68%", "o-"),
            (0.68, "coverage61", GREY, r"$L \geq 0.61\,L_\mathrm{max}$", "s:"),
        ):
            y = [getattr(r, name) for r in part]
            error = [np.sqrt(v * (1 - v) / r.stars) for v, r in zip(y, part, strict=True)]
            ax.axhline(level, color="black", lw=0.7)
            ax.errorbar(x, y, error, fmt=fmt, color=tint, label=label)
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
        tint = _TINTS[i % 6]
        left.bar(x, [r.coverage68 for r in part], 0.9 * width, color=tint, label=family)
        right.errorbar(
            x, [100 * r.median_relative_offset for r in part], [100 * r.relative_scatter for r in part], fmt="o", color=tint,
            capsize=2, label=family,
        )  # fmt: skip
    for ax in (left, right):
        ax.set_xticks(range(len(REGIONS)), [r.name for r in REGIONS])
        ax.tick_params(axis="x", which="minor", bottom=False, top=False)
    left.axhline(0.68, color="black", lw=0.9)
    left.set(ylim=(0, 1), ylabel="coverage of the central 68%")
    left.legend(title="stars made by", ncols=3, loc="upper center")
    right.axhline(0.0, color="black", lw=0.9)
    right.set(ylabel="(age − truth) / truth:  median, scatter  [%]")
    return made


@in_style
def family_figure(found: Sequence[Mapping[str, Any]]) -> Any:
    """Draw the median difference to the base family against age, a panel per sample.

    Parameters
    ----------
    found : sequence of dict
        From `pairs`.
    """
    samples = list(dict.fromkeys(p["sample"] for p in found))
    columns = min(len(samples), 4)
    rows = -(-len(samples) // columns)
    made = figure(3.4 * columns, 3.1 * rows + 0.5)
    axes = np.atleast_1d(made.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    centres = 0.5 * (np.array(AGE_BINS[:-1]) + np.array(AGE_BINS[1:]))
    families = list(dict.fromkeys(p["family"] for p in found))
    for ax, sample in zip(axes, samples, strict=False):
        ax.axhline(0.0, color="black", lw=0.8)
        for p in (p for p in found if p["sample"] == sample):
            k = families.index(p["family"])
            by_age = list(p["by_age"].values())
            has = np.array([s.count >= 5 for s in by_age])
            y = np.array([s.median for s in by_age])
            error = np.array([s.median_error for s in by_age])
            ax.errorbar(
                centres[has] + 0.12 * (k - 2), y[has], error[has], fmt="osD^v"[k % 5] + "-", ms=4,
                color=_TINTS[k % 6], label=p["family"],
            )  # fmt: skip
        ax.set_title(sample_label(sample))
    for ax in axes[len(samples) :]:
        ax.set_visible(False)
    made.supxlabel("mean of the two ages [Gyr]")
    made.supylabel(f"age − {found[0]['base']} age [Gyr]")
    handles, labels = axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return made


@in_style
def explain_figure(explained: Mapping[str, Mapping[str, Spread]]) -> Any:
    """Draw Dartmouth − PARSEC by set of choices and sample, against what the paper reports.

    Parameters
    ----------
    explained : mapping
        From `explain`.
    """
    paper = PAPER_DARTMOUTH_MINUS_PARSEC
    made = figure(9.5, 0.55 * len(explained) + 1.2)
    ax = made.add_subplot()
    samples = list(next(iter(explained.values())))
    for i, by_sample in enumerate(explained.values()):
        for k, sample in enumerate(samples):
            s = by_sample[sample]
            y = i + 0.11 * (k - 0.5 * (len(samples) - 1))
            ax.errorbar(
                s.median, y, xerr=s.median_error, fmt="osD^vPX"[k % 7], ms=5, color=_TINTS[k % 7],
                label=sample_label(sample) if i == 0 else None,
            )  # fmt: skip
        if i:
            ax.axhline(i - 0.5, color=GREY, lw=0.4)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.axvline(paper, color="black", lw=1.2, ls="--", label=f"the paper: {paper} Gyr")
    ax.set_yticks(range(len(explained)), list(explained))
    ax.tick_params(axis="y", which="minor", left=False, right=False)
    ax.set(ylim=(len(explained) - 0.5, -0.5), xlabel="Dartmouth − PARSEC age, median [Gyr]")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return made
