"""A comparison's figures: forest plot, gradient(age) by variant, sources of uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.plots.style import BLUE, ORANGE, VERMILION, figure, in_style

__all__ = ["forest_figure", "variance_figure", "variant_gradient_figure"]

_AXES = {
    "flattening_rate": r"flattening rate [dex kpc$^{-1}$ Gyr$^{-1}$]",
    "gradient_young": r"thin, 1 Gyr [dex kpc$^{-1}$]",
    "gradient_thick": r"thick [dex kpc$^{-1}$]",
}
_WORDS = {
    "flattening_rate": "flattening rate",
    "gradient_young": "thin gradient, 1 Gyr",
    "gradient_thick": "thick gradient",
}
# Distinct in hue and lightness to colour-blind readers; beyond eight, styles of line tell apart.
_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8a6d3b"]
_STYLES = ["-", (0, (5, 2)), (0, (1, 1.3)), (0, (5, 1.5, 1, 1.5))]


def _axis(quantity: str) -> str:
    if quantity.startswith("sigma_rm8"):
        history = quantity.removeprefix("sigma_rm8").strip(" ()")
        return r"$\sigma_\mathrm{RM8}$ [kpc]" + f"\n{history}"
    return _AXES.get(quantity, quantity)


@in_style
def forest_figure(tree: xr.DataTree) -> Any:
    """Draw each variant's posterior interval, a panel for each quantity."""
    e = tree["estimates"].to_dataset()
    quantities = [str(q) for q in e["quantity"].values]
    labels = [str(v) for v in e["variant"].values]
    rows = np.arange(len(labels))[::-1]
    reference = labels.index(str(tree.attrs["reference"]))
    baseline = tree["baseline"].to_dataset() if "baseline" in tree.children else None
    columns = min(len(quantities), 3)
    tiers = -(-len(quantities) // columns)
    made = figure(2.2 + 2.5 * columns, (1.3 + 0.30 * len(labels)) * tiers)
    grid = made.subplots(tiers, columns, sharey=True, squeeze=False)
    axes = grid.ravel()[: len(quantities)]
    for spare in grid.ravel()[len(quantities) :]:
        spare.set_axis_off()
    for ax, q in zip(axes, quantities, strict=True):
        c = e.sel(quantity=q)
        lo95, lo68, mid, hi68, hi95 = (
            c[n].values for n in ("lo95", "lo68", "median", "hi68", "hi95")
        )
        ax.axvspan(lo68[reference], hi68[reference], color="0.9", lw=0, zorder=0)
        if "truth" in e and np.isfinite(c["truth"]):
            ax.axvline(float(c["truth"]), color="black", ls=(0, (4, 2)), lw=1.1, zorder=1)
        colours = [VERMILION if i == reference else BLUE for i in range(len(labels))]
        ax.hlines(rows, lo95, hi95, color=colours, lw=1.0)
        ax.hlines(rows, lo68, hi68, color=colours, lw=3.2)
        ax.scatter(mid, rows, s=26, color=colours, edgecolor="white", linewidth=0.6, zorder=4)
        if baseline is not None and q in baseline:
            b = baseline.sel({"method": "odr+scatter"})
            x, error = b[q].values, b[f"{q}_error"].values
            # A wild bin of the baseline must not set the axis.
            width = max(np.nanmax(hi95 - lo95), 1e-12)
            near = np.isfinite(x) & (np.abs(x - np.median(mid)) < 6 * width)
            ax.errorbar(
                x[near], rows[near] - 0.27, xerr=error[near], fmt="s", ms=3.4, mfc="white",
                color=ORANGE, elinewidth=0.8, lw=0, zorder=2,
            )  # fmt: skip
        ax.set_xlabel(_axis(q))
        ax.locator_params(axis="x", nbins=4)
        ax.tick_params(axis="y", which="both", left=False, right=False)
    axes[0].set_yticks(rows, labels)
    for ax in axes:
        ax.yaxis.set_tick_params(which="minor", left=False, right=False)
        ax.set_ylim(-0.7, len(labels) - 0.3)
    return made


@in_style
def variant_gradient_figure(tree: xr.DataTree) -> Any:
    """Draw the thin disc's gradient(age) of each variant, and its difference from the reference."""
    curve = tree["curve"].to_dataset().sel(component="thin")
    labels = [str(v) for v in curve["variant"].values]
    reference = labels.index(str(tree.attrs["reference"]))
    age, mean, sd = curve["age"].values, curve["mean"].values, curve["sd"].values
    made = figure(8.4, 6.2)
    top, below = made.subplots(2, 1, sharex=True, height_ratios=[1.5, 1.0])
    band = {"color": "0.85", "lw": 0, "zorder": 0}
    top.fill_between(age, (mean - sd)[reference], (mean + sd)[reference], **band)
    below.fill_between(age, -sd[reference], sd[reference], **band)
    for i, label in enumerate(labels):
        look = {
            "color": "black" if i == reference else _COLOURS[(i - 1) % len(_COLOURS)],
            "ls": "-" if i == reference else _STYLES[(i - 1) // len(_COLOURS) % len(_STYLES)],
            "lw": 2.0 if i == reference else 1.3,
        }
        top.plot(age, mean[i], label=label, **look)
        below.plot(age, mean[i] - mean[reference], **look)
    if "truth" in curve:
        look = {"color": "black", "ls": (0, (1, 2)), "lw": 1.6}
        top.plot(age, curve["truth"].values, label="truth", **look)
    top.set_ylabel(r"thin disc, $\mathrm{d[Fe/H]}/\mathrm{d}R_\mathrm{g}$ [dex kpc$^{-1}$]")
    below.set_ylabel(r"minus reference")
    below.set_xlabel("age [Gyr]")
    below.set_xlim(age[0], age[-1])
    made.legend(*top.get_legend_handles_labels(), loc="outside right upper", fontsize=9.5)
    return made


@in_style
def variance_figure(tree: xr.DataTree) -> Any:
    """Draw each source's standard deviation, relative to the stars' own."""
    v = tree["variance"].to_dataset()
    quantities = [str(q) for q in v["quantity"].values]
    sources = [str(s) for s in v["source"].values]
    relative = (v["sd"] / v["sd"].sel(source="stars")).sel(quantity=quantities)
    made = figure(7.6, 1.4 + 0.36 * len(sources))
    ax = made.add_subplot()
    height = 0.8 / len(quantities)
    rows = np.arange(len(sources))[::-1]
    for k, q in enumerate(quantities):
        values = relative.sel(quantity=q).values
        history = q.removeprefix("sigma_rm8").strip(" ()")
        label = _WORDS.get(q, r"$\sigma_\mathrm{RM8}$, " + history)
        place = rows + 0.4 - (k + 0.5) * height
        ax.barh(place, values, height=0.85 * height, color=_COLOURS[k % len(_COLOURS)], label=label)
    ax.axvline(1.0, color="0.4", lw=0.8, ls=(0, (2, 2)))
    ax.set_yticks(rows, sources)
    ax.tick_params(axis="y", which="both", left=False, right=False)
    ax.set_xlabel("standard deviation of the source / that of the stars")
    made.legend(*ax.get_legend_handles_labels(), loc="outside right upper", fontsize=9.5)
    return made
