"""[Fe/H] against guiding radius, age bin by age bin, with the lines that were fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.plots.density import FEW, draw_cloud
from migrate_bayes.plots.style import BLUE, ORANGE, VERMILION, figure, in_style, span

__all__ = ["draw_radial", "radial_figure"]

Array = NDArray[np.floating]
# Band of the hierarchical line, colour of the baseline's.
_COLOURS = {"thin": (BLUE, VERMILION), "thick": (VERMILION, BLUE)}


@in_style
def radial_figure(
    radius: Array,
    feh: Array,
    age: Array,
    edges: Array,
    *,
    weight: Array | None = None,
    baseline: xr.Dataset | None = None,
    fit: xr.DataTree | None = None,
    symbol: str = r"R_\mathrm{g}",
) -> Any:
    """Draw one panel per age bin; see `draw_radial` for the parameters."""
    rows = -(-(len(edges) - 1) // min(3, len(edges) - 1))
    made = figure(8.6, 0.6 + 2.35 * rows)
    draw_radial(
        made, radius, feh, age, edges, weight=weight, baseline=baseline, fit=fit, symbol=symbol
    )
    return made


def draw_radial(
    made: Any,
    radius: Array,
    feh: Array,
    age: Array,
    edges: Array,
    *,
    weight: Array | None = None,
    baseline: xr.Dataset | None = None,
    fit: xr.DataTree | None = None,
    component: str = "thin",
    symbol: str = r"R_\mathrm{g}",
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    contoured: bool = False,
) -> None:
    """Draw one panel per age bin into a figure or subfigure.

    Parameters
    ----------
    made : matplotlib Figure or SubFigure
    radius, feh, age : ndarray, shape (n,)
        kpc, dex, Gyr.
    edges : ndarray, shape (n_bins + 1,)
        Of the age bins, Gyr.
    weight : ndarray, shape (n,), optional
        Membership of the disc: fades the stars that belong elsewhere.
    baseline : xarray.Dataset, optional
        Its ``odr+scatter`` lines, on the same bins.
    fit : xarray.DataTree, optional
        Its line of the component at the centre of each bin, where it has `gradient` and
        `metallicity`.
    component : {"thin", "thick"}
    symbol : str
        Of the radius, in TeX.
    xlim, ylim : (float, float), optional
        By default what holds all but a few stars.
    contoured : bool
        Contours of the density in each panel.
    """
    weight = np.ones_like(age) if weight is None else np.nan_to_num(weight)
    good = np.isfinite(radius) & np.isfinite(feh) & (age >= edges[0]) & (age <= edges[-1])
    radius, feh, age, weight = (v[good] for v in (radius, feh, age, weight))
    n = len(edges) - 1
    columns = min(3, n)
    rows = -(-n // columns)
    panels = made.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    xlim, ylim = xlim or span(radius), ylim or span(feh)
    few = bool(np.histogram(age, edges)[0].max() <= FEW)
    for k, ax in enumerate(panels):
        if k >= n:
            ax.set_axis_off()
            continue
        here = (age >= edges[k]) & ((age < edges[k + 1]) | ((k == n - 1) & (age == edges[-1])))
        draw_cloud(
            ax, radius[here], feh[here], xlim, ylim, weight=weight[here], few=few, bins=(48, 40),
            contoured=contoured,
        )  # fmt: skip
        centre = 0.5 * (edges[k] + edges[k + 1])
        _lines(ax, np.array(xlim), centre, k, baseline, fit, component)
        ax.text(
            0.04, 0.05, f"{edges[k]:g}–{edges[k + 1]:g} Gyr   N = {here.sum():,}",
            transform=ax.transAxes, fontsize=10,
            bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.5},
        )  # fmt: skip
        # In the last row of its column, though panels below may be empty.
        if k + columns >= n:
            ax.tick_params(labelbottom=True)
    made.supxlabel(rf"${symbol}$  [kpc]")
    made.supylabel("[Fe/H]  [dex]")
    entries: dict[str, Any] = {}
    for ax in panels:
        entries.update(
            {label: line for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        )
    if entries:
        made.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=2)


def _lines(
    ax: Any,
    x: NDArray,
    age: float,
    k: int,
    baseline: xr.Dataset | None,
    fit: xr.DataTree | None,
    component: str,
) -> None:
    """The fitted lines of one panel."""
    tint, other = _COLOURS[component]
    if fit is not None and "posterior" in fit.children:
        posterior = fit["posterior"].to_dataset()
        if (
            {"gradient", "metallicity"} <= set(posterior.data_vars)
            and component in posterior["component"].values
            and posterior["age"].min() <= age <= posterior["age"].max()
        ):
            disc = posterior[["gradient", "metallicity"]].sel(component=component).interp(age=age)
            grid = np.linspace(x[0], x[1], 20)
            slope, level = (disc[v].values.ravel()[:, None] for v in ("gradient", "metallicity"))
            low, mid, high = np.percentile(
                level + slope * (grid - PIVOT_RADIUS), [16, 50, 84], axis=0
            )
            ax.fill_between(grid, low, high, color=tint, alpha=0.4, lw=0)
            ax.plot(grid, mid, color=tint, label=f"hierarchical, {component} disc")
    if baseline is not None and k < baseline.sizes["age_bin"]:
        for method, colour, dash in (("odr+scatter", other, "--"), ("odr", ORANGE, ":")):
            row = baseline.sel({"method": method}).isel(age_bin=k)
            if np.isfinite(float(row["slope"])):
                y = float(row["intercept"]) + float(row["slope"]) * (x - PIVOT_RADIUS)
                label = "ODR + scatter" if method == "odr+scatter" else "ODR"
                ax.plot(x, y, color=colour, ls=dash, label=label)
