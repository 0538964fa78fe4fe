"""[Fe/H] against radius by age, single discs, and slices: the paper's figures 6, 7, 9 and 10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.plots.columns import finite, star_columns
from migrate_bayes.plots.curves import Points, draw_gradient, gradient_label, radius_symbol
from migrate_bayes.plots.planes import FEW, PlaneLimits, draw_cloud, draw_division, limits_of
from migrate_bayes.plots.style import DISCS, ODR, in_style, legend_above, new_figure, span

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    limits: PlaneLimits | None = None,
    contoured: bool = False,
) -> None:
    """Draw the panels; axes by default hold all but a few stars."""
    radius, feh, age = (stars[name].values for name in ("radius", "feh", "age"))
    weight = np.ones_like(age) if weight is None else np.nan_to_num(weight)
    good = np.isfinite(radius) & np.isfinite(feh) & (age >= edges[0]) & (age <= edges[-1])
    radius, feh, age, weight = (v[good] for v in (radius, feh, age, weight))
    n = len(edges) - 1
    columns = min(3, n)
    rows = -(-n // columns)
    panels = made.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    xlim, ylim = (limits.radius, limits.feh) if limits else (span(radius), span(feh))
    few = bool(np.histogram(age, edges)[0].max() <= FEW)
    for k, ax in enumerate(panels):
        if k >= n:
            ax.set_axis_off()
            continue
        here = (age >= edges[k]) & ((age < edges[k + 1]) | ((k == n - 1) & (age == edges[-1])))
        cloud: dict[str, Any] = {"few": few, "bins": (48, 40), "contoured": contoured}
        draw_cloud(ax, radius[here], feh[here], xlim, ylim, weight=weight[here], **cloud)
        _draw_fit(ax, np.array(xlim), 0.5 * (edges[k] + edges[k + 1]), fit, component)
        _draw_baseline(ax, np.array(xlim), k, baseline)
        text = f"{edges[k]:g}–{edges[k + 1]:g} Gyr   N = {here.sum():,}"
        box = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1.5}
        ax.text(0.04, 0.05, text, transform=ax.transAxes, fontsize=10, bbox=box)
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
    tint = DISCS[component]
    disc = posterior[["gradient", "metallicity"]].sel(component=component).interp(age=age)
    grid = np.linspace(x[0], x[1], 20)
    slope, level = (disc[v].values.ravel()[:, None] for v in ("gradient", "metallicity"))
    low, mid, high = np.percentile(level + slope * (grid - PIVOT_RADIUS), [16, 50, 84], axis=0)
    ax.fill_between(grid, low, high, color=tint, alpha=0.4, lw=0)
    ax.plot(grid, mid, color=tint, label=f"hierarchical, {component} disc")


def _draw_baseline(ax: Any, x: NDArray, k: int, baseline: xr.Dataset | None) -> None:
    """Draw the baseline's lines of one age bin."""
    if baseline is None or k >= baseline.sizes["age_bin"]:
        return
    for method, label, dash in (("odr+scatter", "ODR + scatter", "--"), ("odr", "ODR", ":")):
        row = baseline.sel(regression=method).isel(age_bin=k)
        if np.isfinite(float(row["slope"])):
            y = float(row["intercept"]) + float(row["slope"]) * (x - PIVOT_RADIUS)
            ax.plot(x, y, color=ODR[method], ls=dash, label=label)


@in_style
def disc(
    stars: xr.Dataset,
    baseline: xr.Dataset,
    *,
    fit: xr.DataTree | None = None,
    component: str = "thin",
    truth: Mapping[str, float] | None = None,
    limits: PlaneLimits | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw one disc: gradient(age), chemistry, orbits, and [Fe/H] against radius by age.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors of the baseline's sample, or `star_columns` of them.
    baseline : xarray.Dataset
        From `migrate_bayes.fit_baseline`.
    fit : xarray.DataTree, optional
        Its band and lines of the component.
    component : {"thin", "thick"}
    truth : mapping, optional
        See `gradient`.
    limits : PlaneLimits, optional
        Of the planes; by default what holds all but a few of these stars.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> rng = np.random.default_rng(1)
    >>> one = {"alpha_fe": 0.0, "zmax": 0.3, "feh_error": 0.05, "rg_sd": 0.1, "flag": 0}
    >>> columns = {name: np.full(300, v) for name, v in one.items()}
    >>> columns["age_ml"] = rng.uniform(1, 12, 300)
    >>> columns |= {"age_lo": columns["age_ml"] - 0.5, "age_hi": columns["age_ml"] + 0.5}
    >>> columns["rg_mean"] = rng.normal(8, 1, 300)
    >>> columns["feh"] = -0.07 * (columns["rg_mean"] - 8) + rng.normal(0, 0.1, 300)
    >>> stars = xr.Dataset({name: ("star", v) for name, v in columns.items()})
    >>> made = mb.plots.disc(stars, mb.fit_baseline(stars, selection="all"))
    >>> len(made.axes)
    12
    """
    stars = star_columns(stars)
    limits = limits or limits_of(stars)
    made: Any = figure or new_figure(13.0, 8.8)
    left, right = made.subfigures(1, 2, width_ratios=(1.0, 1.75), wspace=0.02)
    top, middle, bottom = left.subplots(3, 1, height_ratios=(1.35, 1.0, 1.0))
    one, points = (component,), [Points(baseline, line=True)]
    draw_gradient(top, fit, points, truth, components=one, paper=one, legend=False)
    top.set_ylabel(gradient_label(fit, baseline))
    top.legend(fontsize=9, loc="best", handlelength=1.6, labelspacing=0.3)
    _draw_planes(middle, bottom, stars, limits)
    look: dict[str, Any] = {"component": component, "limits": limits, "contoured": True}
    draw_radial(right, stars, age_edges(baseline), baseline=baseline, fit=fit, **look)
    return made


@in_style
def slices(
    samples: Mapping[str, tuple[xr.Dataset, xr.Dataset | None]],
    *,
    fit: xr.DataTree | None = None,
    limits: PlaneLimits | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw slices of a survey, a column each: gradient(age), chemistry, and Z_max against radius.

    Parameters
    ----------
    samples : mapping
        Heading to stars (StarPosteriors, or `star_columns` of them) and their baseline, None if no
        age bin can be fitted.
    fit : xarray.DataTree, optional
        Its bands of both discs, of the whole survey and so the same in all columns.
    limits : PlaneLimits, optional
        Of the planes; by default what holds all but a few of the first slice's stars.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> columns = {"feh": 0.0, "alpha_fe": 0.1, "radius": 8.0, "zmax": 0.4, "age": 3.0}
    >>> stars = xr.Dataset({name: ("star", np.full(4, v)) for name, v in columns.items()})
    >>> len(mb.plots.slices({"cold": (stars, None), "hot": (stars, None)}).axes)
    6
    """
    shown = [(title, star_columns(stars), b) for title, (stars, b) in samples.items()]
    limits = limits or limits_of(shown[0][1])
    made = figure or new_figure(0.9 + 3.1 * len(shown), 8.6)
    grid = made.subplots(
        3, len(shown), squeeze=False, sharex="row", sharey="row", height_ratios=(1.25, 1, 1)
    )
    few = max(stars.sizes["star"] for _, stars, _ in shown) <= FEW
    low, high = 0.0, 0.0
    for (title, stars, baseline), (top, middle, bottom) in zip(shown, grid.T, strict=True):
        points = [] if baseline is None else [Points(baseline, line=True)]
        draw_gradient(top, fit, points, legend=False)
        bottom_now, top_now = top.get_ylim()
        low, high = min(low, bottom_now), max(high, top_now)
        if baseline is None:
            note: dict[str, Any] = {"transform": top.transAxes, "ha": "center", "fontsize": 10}
            top.text(0.5, 0.06, "no age bin can be fitted", wrap=True, **note)
        top.set_title(title, fontsize=11)
        _draw_planes(middle, bottom, stars, limits, few=few)
        n, place = f"N = {stars.sizes['star']:,}", middle.transAxes
        middle.text(0.96, 0.9, n, transform=place, ha="right", fontsize=10)
    grid[0, 0].set_ylim(low, high)
    grid[0, 0].set_ylabel(gradient_label(fit, next((b for *_, b in shown if b is not None), None)))
    legend_above(made, grid[0], 4)
    return made


def _draw_planes(
    chemistry: Any, orbits: Any, stars: xr.Dataset, limits: PlaneLimits, *, few: bool | None = None
) -> None:
    """Draw [α/Fe] against [Fe/H], and Z_max, on a logarithmic axis, against the radius."""
    feh, alpha_fe = finite(stars, "feh", "alpha_fe")
    if len(feh) or not stars.sizes["star"]:
        draw_cloud(chemistry, feh, alpha_fe, limits.feh, limits.alpha_fe, few=few)
        draw_division(chemistry, limits.feh)
    else:
        place = {"transform": chemistry.transAxes, "ha": "center", "va": "center"}
        chemistry.text(0.5, 0.5, r"no [$\alpha$/Fe]", **place)
        chemistry.set(xticks=[], yticks=[])
    radius, zmax = stars["radius"].values, stars["zmax"].values
    good = np.isfinite(radius) & (zmax > 0)
    low, high = np.log10(limits.zmax).tolist()
    draw_cloud(orbits, radius[good], np.log10(zmax[good]), limits.radius, (low, high), few=few)
    ticks = [v for v in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30) if limits.zmax[0] < v < limits.zmax[1]]
    orbits.set_yticks(np.log10(ticks), [f"{v:g}" for v in ticks])
    orbits.tick_params(axis="y", which="minor", left=False, right=False)
    chemistry.set_xlabel("[Fe/H]  [dex]")
    orbits.set_xlabel(rf"${radius_symbol(stars.attrs)}$  [kpc]")
    if chemistry.get_subplotspec().is_first_col():
        chemistry.set_ylabel(r"[$\alpha$/Fe]  [dex]")
        orbits.set_ylabel(r"$Z_\mathrm{max}$  [kpc]")
