"""[Fe/H] against guiding radius, age bin by age bin, with the lines that were fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.baseline import PIVOT
from migrate_bayes.report.figures.style import BLUE, VERMILION, figure, in_style, span

__all__ = ["radial_figure"]

_FEW = 3000  # stars in the fullest panel up to which all are drawn one by one


@in_style
def radial_figure(
    radius: NDArray[np.float64],
    feh: NDArray[np.float64],
    age: NDArray[np.float64],
    edges: NDArray[np.float64],
    *,
    weight: NDArray[np.float64] | None = None,
    baseline: xr.Dataset | None = None,
    fit: xr.DataTree | None = None,
    symbol: str = r"R_\mathrm{g}",
) -> Any:
    """Draw one panel per age bin.

    Parameters
    ----------
    radius, feh, age : ndarray, shape (n,)
        kpc, dex, Gyr.
    edges : ndarray, shape (n_bins + 1,)
        Of the age bins, Gyr.
    weight : ndarray, shape (n,), optional
        Membership of the thin disc: fades the stars that belong elsewhere.
    baseline : xarray.Dataset, optional
        Its ``odr+scatter`` lines, on the same bins.
    fit : xarray.DataTree, optional
        Its thin-disc line at the centre of each bin, where it has `gradient` and `metallicity`.
    symbol : str
        Of the radius, in TeX.
    """
    weight = np.ones_like(age) if weight is None else np.nan_to_num(weight)
    good = np.isfinite(radius) & np.isfinite(feh) & (age >= edges[0]) & (age <= edges[-1])
    radius, feh, age, weight = (v[good] for v in (radius, feh, age, weight))
    n = len(edges) - 1
    columns = min(3, n)
    rows = -(-n // columns)
    made = figure(8.6, 0.6 + 2.35 * rows)
    panels = made.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    xlim, ylim = span(radius), span(feh)
    few = bool(np.histogram(age, edges)[0].max() <= _FEW)
    for k, ax in enumerate(panels):
        if k >= n:
            ax.set_axis_off()
            continue
        here = (age >= edges[k]) & ((age < edges[k + 1]) | ((k == n - 1) & (age == edges[-1])))
        _stars(ax, radius[here], feh[here], weight[here], xlim, ylim, few=few)
        centre = 0.5 * (edges[k] + edges[k + 1])
        _lines(ax, np.array(xlim), centre, k, baseline, fit)
        ax.text(
            0.04, 0.05, f"{edges[k]:g}–{edges[k + 1]:g} Gyr   N = {here.sum():,}",
            transform=ax.transAxes, fontsize=10,
            bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.5},
        )  # fmt: skip
        ax.set(xlim=xlim, ylim=ylim)
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
    return made


def _stars(
    ax: Any, x: NDArray, y: NDArray, w: NDArray, xlim: tuple, ylim: tuple, *, few: bool
) -> None:
    """Points where they are few, weighted density where they are many."""
    if few:
        colours = np.zeros((len(x), 4))
        colours[:, 3] = 0.05 + 0.45 * w
        ax.scatter(x, y, s=5, c=colours, lw=0)
        return
    from matplotlib.colors import LogNorm

    counts, xe, ye = np.histogram2d(x, y, bins=(48, 40), range=[xlim, ylim], weights=w)
    counts = np.where(counts >= 1, counts, np.nan)
    top = np.nanmax(counts, initial=2.0)
    ax.pcolormesh(xe, ye, counts.T, cmap="Greys", norm=LogNorm(0.5, 2 * top), rasterized=True)


def _lines(
    ax: Any,
    x: NDArray,
    age: float,
    k: int,
    baseline: xr.Dataset | None,
    fit: xr.DataTree | None,
) -> None:
    """The fitted lines of one panel."""
    if fit is not None and "posterior" in fit.children:
        posterior = fit["posterior"].to_dataset()
        if {"gradient", "metallicity"} <= set(posterior.data_vars) and posterior[
            "age"
        ].min() <= age <= posterior["age"].max():
            thin = posterior[["gradient", "metallicity"]].sel(component="thin").interp(age=age)
            grid = np.linspace(x[0], x[1], 20)
            slope, level = (thin[v].values.ravel()[:, None] for v in ("gradient", "metallicity"))
            low, mid, high = np.percentile(level + slope * (grid - PIVOT), [16, 50, 84], axis=0)
            ax.fill_between(grid, low, high, color=BLUE, alpha=0.4, lw=0)
            ax.plot(grid, mid, color=BLUE, label="hierarchical, thin disc")
    if baseline is not None and k < baseline.sizes["age_bin"]:
        row = baseline.sel({"method": "odr+scatter"}).isel(age_bin=k)
        if np.isfinite(float(row["slope"])):
            y = float(row["intercept"]) + float(row["slope"]) * (x - PIVOT)
            ax.plot(x, y, color=VERMILION, ls="--", label="ODR + scatter")
