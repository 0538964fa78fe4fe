"""A disc whole, and slices of a survey side by side: gradient(age), chemistry, orbits.

Counterparts of figures 6, 7, 9 and 10 of Vickers, Shen & Li (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from migrate_bayes.plots.columns import finite, star_columns
from migrate_bayes.plots.curves import Points, draw_gradient, gradient_label
from migrate_bayes.plots.density import FEW, draw_cloud
from migrate_bayes.plots.planes import chemistry_limits, draw_division
from migrate_bayes.plots.radial import age_edges, draw_radial, radius_symbol
from migrate_bayes.plots.style import (
    Limits,
    in_style,
    legend_above,
    span,
)
from migrate_bayes.plots.style import figure as new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PlaneLimits(NamedTuple):
    """Limits of the axes, so that figures of different stars can be compared."""

    feh: Limits
    alpha_fe: Limits
    radius: Limits
    zmax: Limits


def limits_of(stars: xr.Dataset) -> PlaneLimits:
    """Return limits that hold all but a few of the stars of `star_columns`."""
    zmax = stars["zmax"].values
    positive = zmax[np.isfinite(zmax) & (zmax > 0)]
    low, high = np.percentile(positive, [0.5, 99.7]) if len(positive) else (0.0, 0.0)
    if not high > low:
        low, high = 0.01, 10.0
    feh, alpha_fe = chemistry_limits(stars["feh"].values, stars["alpha_fe"].values)
    radius = span(stars["radius"].values, tail=0.2)
    return PlaneLimits(feh, alpha_fe, radius, (float(low), float(high)))


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
    figure : matplotlib Figure, optional

    Returns
    -------
    matplotlib.figure.Figure

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
    draw_gradient(
        top, fit, [Points(baseline, line=True)], truth, components=(component,), paper=(component,),
        legend=False,
    )  # fmt: skip
    top.set_ylabel(gradient_label(fit, baseline))
    top.legend(fontsize=9, loc="best", handlelength=1.6, labelspacing=0.3)
    _draw_planes(middle, bottom, stars, limits)
    _label_planes(middle, bottom)
    draw_radial(
        right, stars, age_edges(baseline), baseline=baseline, fit=fit, component=component,
        limits=(limits.radius, limits.feh), contoured=True,
    )  # fmt: skip
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
    figure : matplotlib Figure, optional

    Returns
    -------
    matplotlib.figure.Figure

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
            top.text(
                0.5, 0.06, "no age bin can be fitted", transform=top.transAxes, ha="center",
                fontsize=10, wrap=True,
            )  # fmt: skip
        top.set_title(title, fontsize=11)
        _draw_planes(middle, bottom, stars, limits, few=few)
        middle.text(
            0.96, 0.9, f"N = {stars.sizes['star']:,}", transform=middle.transAxes, ha="right",
            fontsize=10,
        )  # fmt: skip
    grid[0, 0].set_ylim(low, high)
    grid[0, 0].set_ylabel(gradient_label(fit, next((b for *_, b in shown if b is not None), None)))
    _label_planes(*grid[1:, 0])
    legend_above(made, grid[0], 4)
    return made


def _draw_planes(
    chemistry: Any, orbits: Any, stars: xr.Dataset, limits: PlaneLimits, *, few: bool | None = None
) -> None:
    """Draw [α/Fe] against [Fe/H], and Z_max, on a logarithmic axis, against the radius."""
    feh, alpha_fe = finite(stars, "feh", "alpha_fe")
    draw_cloud(chemistry, feh, alpha_fe, limits.feh, limits.alpha_fe, few=few)
    draw_division(chemistry, limits.feh)
    radius, zmax = stars["radius"].values, stars["zmax"].values
    good = np.isfinite(radius) & (zmax > 0)
    heights = (float(np.log10(limits.zmax[0])), float(np.log10(limits.zmax[1])))
    draw_cloud(orbits, radius[good], np.log10(zmax[good]), limits.radius, heights, few=few)
    ticks = [v for v in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30) if limits.zmax[0] < v < limits.zmax[1]]
    orbits.set_yticks(np.log10(ticks), [f"{v:g}" for v in ticks])
    orbits.tick_params(axis="y", which="minor", left=False, right=False)
    chemistry.set_xlabel("[Fe/H]  [dex]")
    orbits.set_xlabel(rf"${radius_symbol(stars.attrs)}$  [kpc]")


def _label_planes(chemistry: Any, orbits: Any) -> None:
    chemistry.set_ylabel(r"[$\alpha$/Fe]  [dex]")
    orbits.set_ylabel(r"$Z_\mathrm{max}$  [kpc]")
