"""Figures of a calibration and of a bias table: functions from numbers to a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from migrate_bayes.checks.posterior.bias import METHODS, QUANTITIES, BiasRow
from migrate_bayes.checks.posterior.ranks import BAND, LEVELS, Calibration
from migrate_bayes.plots.style import (
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    figure,
    in_style,
)
from migrate_bayes.population.results.units import UNITS

__all__ = ["bias_figure", "coverage_figure", "rank_figure", "recovery_figure"]

_LOOK = {
    "odr": (VERMILION, "s", "ODR"),
    "odr+scatter": (ORANGE, "D", "ODR + scatter"),
    "hierarchical": (BLUE, "o", "hierarchical"),
}


def _panels(n: int, *, height: float) -> tuple[Any, list[Any]]:
    columns = min(4, n)
    rows = -(-n // columns)
    made = figure(3.2 * columns, height * rows)
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[n:]:
        ax.set_visible(False)
    return made, list(axes[:n])


@in_style
def rank_figure(found: Calibration) -> Any:
    """Draw the ECDF of the ranks minus its expectation, with the simultaneous band."""
    made, axes = _panels(len(found.main), height=2.7)
    z = found.uniform.z
    low, high = found.uniform.band()
    full = np.concatenate([[0.0], z, [1.0]])
    for ax, name in zip(axes, found.main, strict=True):
        inside = found.ecdf_p[name] >= 1.0 - BAND
        ax.fill_between(
            full, np.concatenate([[0], low - z, [0]]), np.concatenate([[0], high - z, [0]]),
            color=GREY, alpha=0.2, lw=0, step="post",
        )  # fmt: skip
        ax.axhline(0.0, color="black", lw=0.7)
        difference = np.concatenate([[0.0], found.uniform.curve(found.rank[name]) - z, [0.0]])
        ax.step(full, difference, where="post", color=BLUE if inside else VERMILION)
        reach = 1.35 * max(float(np.max(high - z)), float(np.abs(difference).max()))
        ax.set(xlim=(0, 1), ylim=(-reach, reach), title=name)
        ax.annotate(
            rf"$p$ = {found.ecdf_p[name]:.2f},  $\chi^2$: {found.chi_square_p[name]:.2f}",
            (0.5, 0.04), xycoords="axes fraction", ha="center", fontsize=10.5,
        )  # fmt: skip
    made.supxlabel("rank of the truth among the draws / number of ranks")
    made.supylabel("ECDF − uniform")
    return made


@in_style
def coverage_figure(found: Calibration) -> Any:
    """Draw the coverage of every main parameter's intervals beside their binomial bands."""
    made = figure(9.5, 0.42 * len(found.main) + 1.5)
    axes = made.subplots(1, len(LEVELS), sharey=True)
    place = np.arange(len(found.main))[::-1]
    for k, (ax, level) in enumerate(zip(axes, LEVELS, strict=True)):
        row = [found.coverage[name][k] for name in found.main]
        n = found.surveys
        ax.axvspan(100 * row[0].low / n, 100 * row[0].high / n, color=GREY, alpha=0.2, lw=0)
        ax.axvline(100 * level, color="black", lw=0.7)
        for y, c in zip(place, row, strict=True):
            ax.plot(100 * c.fraction, y, "o", color=BLUE if c.passed else VERMILION)
        ax.set(title=f"central {level:.0%}", xlabel="intervals with the truth  [%]")
        ax.set_yticks(place, found.main)
        ax.tick_params(axis="y", which="minor", left=False, right=False)
        ax.set_ylim(-0.6, len(found.main) - 0.4)
    return made


@in_style
def recovery_figure(found: Calibration) -> Any:
    """Draw every survey's posterior mean and standard deviation against its truth."""
    made, axes = _panels(len(found.main), height=3.0)
    for ax, name in zip(axes, found.main, strict=True):
        truth, mean, sd = found.truth[name], found.mean[name], found.sd[name]
        ax.errorbar(truth, mean, sd, fmt="o", ms=2.2, lw=0.5, color=BLUE, alpha=0.55)
        ends = np.array([truth.min(), truth.max()])
        ax.plot(ends, ends, color="black", lw=0.9, zorder=5)
        unit = UNITS.get(name.partition("[")[0], "")
        ax.set_title(f"{name}  [{unit}]" if unit else name)
        ax.locator_params(axis="x", nbins=4)
    made.supxlabel("truth")
    made.supylabel("posterior mean ± sd")
    return made


@in_style
def bias_figure(rows: Sequence[BiasRow]) -> Any:
    """Draw bias with its Monte-Carlo error, and claimed over actual error, by scenario."""
    scenarios = list(dict.fromkeys(row.scenario for row in rows))
    made = figure(12.0, 0.52 * len(scenarios) + 1.9)
    axes = made.subplots(1, 4, sharey=True, width_ratios=(1.5, 0.8, 1.5, 0.8))
    place = {label: len(scenarios) - 1 - i for i, label in enumerate(scenarios)}
    names = {"gradient_young": "gradient at 1 Gyr", "flattening_rate": "flattening rate"}
    for q, (quantity, (_, unit)) in enumerate(QUANTITIES.items()):
        bias, ratio = axes[2 * q], axes[2 * q + 1]
        for m, method in enumerate(METHODS):
            color, marker, label = _LOOK[method]
            mine = [r for r in rows if r.method == method and r.quantity == quantity]
            y = np.array([place[r.scenario] for r in mine]) + 0.22 * (1 - m)
            # The actual error as a thin line, the Monte-Carlo error of the bias as a thick one.
            x = 1e3 * np.array([r.bias for r in mine])
            bias.errorbar(
                x, y, xerr=1e3 * np.array([r.actual for r in mine]), fmt="none", ecolor=color,
                elinewidth=0.8, alpha=0.6,
            )  # fmt: skip
            bias.errorbar(
                x, y, xerr=1e3 * np.array([r.bias_error for r in mine]), fmt=marker, ms=5,
                color=color, elinewidth=2.6, label=label,
            )  # fmt: skip
            ratio.errorbar(
                [r.ratio for r in mine], y, xerr=[r.ratio_error for r in mine], fmt=marker, ms=5,
                color=color,
            )  # fmt: skip
        bias.axvline(0.0, color="black", lw=0.8)
        ratio.axvline(1.0, color="black", lw=0.8)
        ratio.set_xlim(left=0.0)
        bias.set(
            title=f"Bias of the {names[quantity]}", xlabel=f"estimate − truth  [$10^{{-3}}$ {unit}]"
        )
        ratio.set(title="Error bars", xlabel="claimed / actual")
    for ax in axes:
        for y in np.arange(len(scenarios) - 1) + 0.5:
            ax.axhline(y, color=GREY, lw=0.4, alpha=0.4)
        ax.set_yticks(
            list(place.values()),
            [s.replace("R_g", "$R_g$").replace("Z_max", "$Z_{max}$") for s in place],
        )
        ax.set_ylim(-0.5, len(scenarios) - 0.5)
        ax.tick_params(axis="y", which="both", left=False, right=False)
    made.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return made
