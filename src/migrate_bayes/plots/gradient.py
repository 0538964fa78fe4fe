"""The result: metallicity gradient against age, hierarchical curve over the baseline's points.

`draw_gradient` draws it on given axes, and is what every figure with a gradient(age) uses: the
baseline's points and the hierarchical band always stand on the same axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.mock.truth import as_truth
from migrate_bayes.plots.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    figure,
    in_style,
)

__all__ = ["PAPER", "Points", "draw_gradient", "gradient_figure"]

#: What Vickers, Shen & Li (2021) find, by component: gradient (dex/kpc) at 1 Gyr, and its rate
#: (dex/kpc/Gyr).
PAPER = {"thin": (-0.075, 0.003), "thick": (0.02, 0.0)}
PAPER_AGES = (1.0, 12.25)
_BAND = {"thin": (BLUE, "thin disc"), "thick": (VERMILION, "thick disc")}
_METHODS = {"odr+scatter": "ODR + scatter", "odr": "ODR"}


@dataclass(frozen=True)
class Points:
    """A baseline and how its points look.

    Attributes
    ----------
    data : xarray.Dataset
        From `migrate_bayes.fit_baseline`.
    suffix : str
        What follows the method's name in the legend.
    colours : mapping
        Method to colour; methods left out are not drawn.
    label : str
        In place of method and suffix.
    line : bool
        Join the points by the baseline's own straight line.
    spread : bool
        Draw the horizontal bars.
    """

    data: xr.Dataset
    suffix: str = ""
    colours: Mapping[str, str] | None = None
    label: str = ""
    line: bool = False
    spread: bool = True

    @property
    def tints(self) -> Mapping[str, str]:
        """Method to colour."""
        return {"odr+scatter": GREY, "odr": SKY} if self.colours is None else self.colours


@in_style
def gradient_figure(
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None = None,
    truth: Mapping[str, float] | None = None,
    *,
    thick_baseline: xr.Dataset | None = None,
) -> Any:
    """Draw d[Fe/H]/dR_g against age.

    Bands hold 68% and 95% of the posterior at each age; horizontal bars of the points are the 68%
    interval of the error-expanded ages of a bin, vertical bars 1σ.

    Parameters
    ----------
    fit : xarray.DataTree, optional
    baseline, thick_baseline : xarray.Dataset, optional
        From `migrate_bayes.fit_baseline`.
    truth : mapping, optional
        As in `migrate_bayes.report.headline`.
    """
    made = figure(7.2, 4.9)
    both = baseline is not None and thick_baseline is not None
    points = []
    if baseline is not None:
        points.append(Points(baseline, ", thin" if both else ""))
    if thick_baseline is not None:
        tints = {"odr+scatter": ORANGE, "odr": PURPLE}
        points.append(Points(thick_baseline, ", thick", tints))
    ax = made.add_subplot()
    draw_gradient(ax, fit, points, truth)
    ax.set_ylabel(gradient_label(fit, baseline))
    return made


def gradient_label(
    fit: xr.DataTree | None, baseline: xr.Dataset | None = None, *, symbol: str = ""
) -> str:
    """Word the axis of a gradient: in the guiding radius, the present one, or a given symbol."""
    source = fit if fit is not None else baseline
    present = source is not None and source.attrs.get("radius") == "r_present"
    radius = symbol or ("R" if present else r"R_\mathrm{g}")
    return rf"$\mathrm{{d[Fe/H]}}/\mathrm{{d}}{radius}$  [dex kpc$^{{-1}}$]"


def curve_quantiles(
    fit: xr.DataTree | None, component: str, probabilities: Sequence[float]
) -> tuple[Any, Any] | None:
    """Ages, and quantiles of the fitted gradient of a component there; None where there is none."""
    if fit is None or "posterior" not in fit.children or "gradient" not in fit["posterior"]:
        return None
    curve = fit["posterior"].to_dataset()["gradient"]
    if component not in curve["component"].values:
        return None
    draws = curve.sel(component=component).transpose("chain", "draw", "age")
    ages = draws["age"].values
    flat = draws.values.reshape(-1, len(ages))
    return ages, np.percentile(flat, [100 * p for p in probabilities], axis=0)


def draw_gradient(
    ax: Any,
    fit: xr.DataTree | None,
    points: Sequence[Points] = (),
    truth: Mapping[str, float] | None = None,
    *,
    components: Sequence[str] = ("thin", "thick"),
    paper: Sequence[str] = (),
    legend: bool = True,
) -> None:
    """Draw bands, points, the mock's truth and the paper's lines on axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    fit : xarray.DataTree, optional
    points : sequence of Points
    truth : mapping, optional
    components : sequence of {"thin", "thick"}
        Whose bands and truth.
    paper : sequence of {"thin", "thick"}
        Whose line as Vickers, Shen & Li (2021) state it; left out beside a truth.
    legend : bool
    """
    ax.axhline(0.0, color="0.75", lw=0.8, zorder=0)
    shown: list[float] = []
    for component in components:
        found = curve_quantiles(fit, component, (0.025, 0.16, 0.5, 0.84, 0.975))
        if found is None:
            continue
        ages, (low2, low, mid, high, high2) = found
        colour, label = _BAND[component]
        ax.fill_between(ages, low2, high2, color=colour, alpha=0.15, lw=0)
        ax.fill_between(ages, low, high, color=colour, alpha=0.35, lw=0)
        ax.plot(ages, mid, color=colour, label=f"hierarchical, {label}")
        # The grid may run past the ages that have stars: the axis follows the inner part.
        inner = (ages >= 1) & (ages <= 12.5)
        shown += [*low[inner], *high[inner]]
    for group in points:
        shown += _points(ax, group)
    _truth(ax, truth or {}, components)
    if not truth:
        label = "Vickers et al. (2021)"
        for component in paper:
            start, rate = PAPER[component]
            x = np.array(PAPER_AGES)
            y = start + rate * (x - 1.0)
            ax.plot(x, y, color="0.35", ls="-.", lw=1.2, zorder=3, label=label)
            shown += [*y]
            label = "_paper"
    if shown:
        bottom, top = min(*shown, 0.0), max(*shown, 0.0)
        margin = 0.12 * (top - bottom)
        ax.set_ylim(bottom - margin, top + (2.2 if legend else 1.0) * margin)
    ax.set_xlim(0.0, 14.0)
    ax.set_xlabel("age [Gyr]")
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(ncols=2, loc="upper left", columnspacing=1.2, handlelength=1.8)


def _points(ax: Any, group: Points) -> list[float]:
    """Draw the methods of a baseline; return the heights to keep in view."""
    shown: list[float] = []
    methods = [m for m in group.tints if m in group.data["method"].values]
    errors = group.data["slope_error"].sel({"method": methods}).values
    smallest = np.min(errors[errors > 0], initial=np.inf)
    alike = len(set(group.tints.values())) < len(group.tints)
    for method, colour in group.tints.items():
        rows = group.data.sel({"method": method})
        age, slope = rows["age_bin"].values, rows["slope"].values
        error = rows["slope_error"].values
        good = np.isfinite(slope)
        if not good.any():
            continue
        sides = np.abs(np.stack([age - rows["age_p16"].values, rows["age_p84"].values - age]))
        # Where both methods have one colour, the one without scatter is hollow.
        hollow = {"mfc": "white", "mec": colour} if alike and method == "odr" else {"mec": "black"}
        ax.errorbar(
            age[good], slope[good], xerr=sides[:, good] if group.spread else None, yerr=error[good],
            fmt="s" if method == "odr+scatter" else "o", ms=5, color=colour, mew=0.5 + alike / 2,
            elinewidth=0.9, lw=0, label=group.label or f"{_METHODS[method]}{group.suffix}",
            zorder=4, **hollow,
        )  # fmt: skip
        if group.line and np.isfinite(float(rows["trend"])):
            x = np.array([age[good][0], age[good][-1]])
            y = float(rows["slope_at_1gyr"]) + float(rows["trend"]) * (x - 1.0)
            ax.plot(x, y, color=colour, lw=1.0, ls="--", zorder=3)
        # A bin of a few stars may stand far off; it must not flatten the rest. A slope that is
        # known to no better than 0.1 dex/kpc says nothing of gradients of hundredths.
        firm = good & (error <= 10 * smallest) & (error < 0.1)
        shown += [*(slope - error)[firm], *(slope + error)[firm]]
    return shown


def _truth(ax: Any, truth: Mapping[str, float], components: Sequence[str]) -> None:
    """Draw the mock's gradients: straight lines, or the curve of stars that migrated."""
    known = as_truth(truth)
    age = np.linspace(0.0, 14.0, 141)
    style = {"color": "black", "ls": (0, (4, 2)), "lw": 1.1, "zorder": 5}
    label = "truth"
    for component in components:
        gradient = known.gradient(component, age)
        if gradient is not None:
            ax.plot(age, gradient, label=label, **style)
            label = "_truth"
