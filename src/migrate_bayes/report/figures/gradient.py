"""The result: metallicity gradient against age, hierarchical curve over the baseline's points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.report.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    figure,
    in_style,
)

__all__ = ["gradient_figure"]

_BAND = {"thin": (BLUE, "thin disc"), "thick": (VERMILION, "thick disc")}


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
    ax = made.add_subplot()
    ax.axhline(0.0, color="0.75", lw=0.8, zorder=0)
    shown: list[float] = []
    if fit is not None and "posterior" in fit.children and "gradient" in fit["posterior"]:
        curve = fit["posterior"].to_dataset()["gradient"]
        for component in curve["component"].values:
            if component not in _BAND:
                continue
            colour, label = _BAND[component]
            draws = curve.sel(component=component).transpose("chain", "draw", "age")
            ages = draws["age"].values
            flat = draws.values.reshape(-1, len(ages))
            low2, low, mid, high, high2 = np.percentile(flat, [2.5, 16, 50, 84, 97.5], axis=0)
            ax.fill_between(ages, low2, high2, color=colour, alpha=0.15, lw=0)
            ax.fill_between(ages, low, high, color=colour, alpha=0.35, lw=0)
            ax.plot(ages, mid, color=colour, label=f"hierarchical, {label}")
            # The grid may run past the ages that have stars: the axis follows the inner part.
            inner = (ages >= 1) & (ages <= 12.5)
            shown += [*low[inner], *high[inner]]
    both = baseline is not None and thick_baseline is not None
    if baseline is not None:
        shown += _points(ax, baseline, thick=False, suffix=", thin" if both else "")
    if thick_baseline is not None:
        shown += _points(ax, thick_baseline, thick=True, suffix=", thick")
    _truth(ax, truth or {})
    if shown:
        bottom, top = min(*shown, 0.0), max(*shown, 0.0)
        margin = 0.12 * (top - bottom)
        ax.set_ylim(bottom - margin, top + 2.2 * margin)
    ax.set_xlim(0.0, 14.0)
    ax.set_xlabel("age [Gyr]")
    radius = (fit.attrs if fit is not None else baseline.attrs if baseline is not None else {}).get(
        "radius", "rg"
    )
    ax.set_ylabel(
        r"$\mathrm{d[Fe/H]}/\mathrm{d}" + ("R" if radius == "r_present" else r"R_\mathrm{g}")
        + r"$  [dex kpc$^{-1}$]"
    )  # fmt: skip
    if ax.get_legend_handles_labels()[0]:
        ax.legend(ncols=2, loc="upper left", columnspacing=1.2, handlelength=1.8)
    return made


def _points(ax: Any, data: xr.Dataset, *, thick: bool, suffix: str) -> list[float]:
    """Draw both methods of a baseline; return the heights to keep in view."""
    shown: list[float] = []
    looks = {
        "odr+scatter": (ORANGE if thick else GREY, "s", "ODR + scatter"),
        "odr": (PURPLE if thick else SKY, "o", "ODR"),
    }
    for method, (colour, marker, label) in looks.items():
        rows = data.sel({"method": method})
        age, slope = rows["age_bin"].values, rows["slope"].values
        error = rows["slope_error"].values
        good = np.isfinite(slope)
        if not good.any():
            continue
        sides = np.abs(np.stack([age - rows["age_p16"].values, rows["age_p84"].values - age]))
        ax.errorbar(
            age[good], slope[good], xerr=sides[:, good], yerr=error[good],
            fmt=marker, ms=5, color=colour, mec="black", mew=0.5, elinewidth=0.9, lw=0,
            label=f"{label}{suffix}", zorder=4,
        )  # fmt: skip
        # A bin of a few stars may stand far off; it must not flatten the rest.
        firm = good & (error < 5 * np.nanmedian(error[good]))
        shown += [*(slope - error)[firm], *(slope + error)[firm]]
    return shown


def _truth(ax: Any, truth: Mapping[str, float]) -> None:
    """Draw the mock's lines."""
    age = np.array([0.0, 14.0])
    style = {"color": "black", "ls": (0, (4, 2)), "lw": 1.1, "zorder": 5}
    label = "truth"
    if "gradient_young" in truth:
        rate = truth.get("flattening_rate", 0.0)
        ax.plot(age, truth["gradient_young"] + rate * (age - 1.0), label=label, **style)
        label = "_truth"
    if "gradient_thick" in truth:
        ax.plot(age, np.full(2, truth["gradient_thick"]), label=label, **style)
