"""[Fe/H] against radius, age bin by age bin, with the lines that were fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.plots.columns import star_columns
from migrate_bayes.plots.density import FEW, draw_cloud
from migrate_bayes.plots.style import (
    BLUE,
    ORANGE,
    VERMILION,
    Limits,
    in_style,
    legend_above,
    span,
)
from migrate_bayes.plots.style import figure as new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Band of the hierarchical line, colour of the baseline's.
_COLOURS = {"thin": (BLUE, VERMILION), "thick": (VERMILION, BLUE)}


def radius_symbol(attrs: Any) -> str:
    """The radius of a product, in TeX: guiding or present."""
    return "R" if attrs.get("radius") == "r_present" else r"R_\mathrm{g}"


def age_edges(baseline: xr.Dataset | None) -> NDArray[np.float64]:
    """Edges of the age bins of a baseline or, without one, of the paper, Gyr."""
    if baseline is None:
        return np.arange(1.0, 12.26, 1.25)
    return np.append(baseline["age_lo"].values, baseline["age_hi"].values[-1])


@in_style
def metallicity_radius(
    stars: xr.Dataset,
    baseline: xr.Dataset | None = None,
    *,
    fit: xr.DataTree | None = None,
    component: str = "thin",
    figure: Figure | None = None,
) -> Figure:
    """Draw [Fe/H] against radius, one panel per age bin.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors, or `star_columns` of them: `feh` (dex), `radius` (kpc), `age` (Gyr);
        `p_thin` fades the stars that belong elsewhere.
    baseline : xarray.Dataset, optional
        From `migrate_bayes.fit_baseline`: its age bins and lines.
    fit : xarray.DataTree, optional
        Its line at the centre of each bin, with its 68% band.
    component : {"thin", "thick"}
    figure : matplotlib Figure or SubFigure, optional

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> columns = {"feh": [-0.1, 0.1], "radius": [9.0, 7.0], "age": [2.0, 5.0]}
    >>> stars = xr.Dataset({name: ("star", np.array(v)) for name, v in columns.items()})
    >>> len(mb.plots.metallicity_radius(stars).axes)
    9
    """
    stars = star_columns(stars)
    edges = age_edges(baseline)
    rows = -(-(len(edges) - 1) // min(3, len(edges) - 1))
    made = figure or new_figure(8.6, 0.6 + 2.35 * rows)
    weight = stars["p_thin"].values if "p_thin" in stars else None
    draw_radial(made, stars, edges, weight, baseline=baseline, fit=fit, component=component)
    return made


def draw_radial(
    made: Any,
    stars: xr.Dataset,
    edges: NDArray[np.float64],
    weight: NDArray[np.floating] | None = None,
    *,
    baseline: xr.Dataset | None = None,
    fit: xr.DataTree | None = None,
    component: str = "thin",
    limits: tuple[Limits, Limits] | None = None,
    contoured: bool = False,
) -> None:
    """Draw the panels; `limits` of radius and [Fe/H] by default hold all but a few stars."""
    radius, feh, age = (stars[name].values for name in ("radius", "feh", "age"))
    weight = np.ones_like(age) if weight is None else np.nan_to_num(weight)
    good = np.isfinite(radius) & np.isfinite(feh) & (age >= edges[0]) & (age <= edges[-1])
    radius, feh, age, weight = (v[good] for v in (radius, feh, age, weight))
    n = len(edges) - 1
    columns = min(3, n)
    rows = -(-n // columns)
    panels = made.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    xlim, ylim = limits or (span(radius), span(feh))
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
        _draw_fit(ax, np.array(xlim), 0.5 * (edges[k] + edges[k + 1]), fit, component)
        _draw_baseline(ax, np.array(xlim), k, baseline, _COLOURS[component][1])
        ax.text(
            0.04, 0.05, f"{edges[k]:g}–{edges[k + 1]:g} Gyr   N = {here.sum():,}",
            transform=ax.transAxes, fontsize=10,
            bbox={"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.5},
        )  # fmt: skip
        # In the last row of its column, though panels below may be empty.
        if k + columns >= n:
            ax.tick_params(labelbottom=True)
    made.supxlabel(rf"${radius_symbol(stars.attrs)}$  [kpc]")
    made.supylabel("[Fe/H]  [dex]")
    legend_above(made, panels, 2)


def _draw_fit(ax: Any, x: NDArray, age: float, fit: xr.DataTree | None, component: str) -> None:
    """Draw the hierarchical line of a component at an age."""
    if fit is None or "posterior" not in fit.children:
        return
    posterior = fit["posterior"].to_dataset()
    if not (
        {"gradient", "metallicity"} <= set(posterior.data_vars)
        and component in posterior["component"].values
        and posterior["age"].min() <= age <= posterior["age"].max()
    ):
        return
    tint = _COLOURS[component][0]
    disc = posterior[["gradient", "metallicity"]].sel(component=component).interp(age=age)
    grid = np.linspace(x[0], x[1], 20)
    slope, level = (disc[v].values.ravel()[:, None] for v in ("gradient", "metallicity"))
    low, mid, high = np.percentile(level + slope * (grid - PIVOT_RADIUS), [16, 50, 84], axis=0)
    ax.fill_between(grid, low, high, color=tint, alpha=0.4, lw=0)
    ax.plot(grid, mid, color=tint, label=f"hierarchical, {component} disc")


def _draw_baseline(ax: Any, x: NDArray, k: int, baseline: xr.Dataset | None, tint: str) -> None:
    """Draw the baseline's lines of one age bin."""
    if baseline is None or k >= baseline.sizes["age_bin"]:
        return
    for method, label, colour, dash in (
        ("odr+scatter", "ODR + scatter", tint, "--"),
        ("odr", "ODR", ORANGE, ":"),
    ):
        row = baseline.sel({"method": method}).isel(age_bin=k)
        if np.isfinite(float(row["slope"])):
            y = float(row["intercept"]) + float(row["slope"]) * (x - PIVOT_RADIUS)
            ax.plot(x, y, color=colour, ls=dash, label=label)
