"""One disc whole: gradient(age), chemistry, orbits, and [Fe/H] against radius age by age.

The counterpart of figures 6 and 7 of Vickers, Shen & Li (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.plots.chemistry import draw_division
from migrate_bayes.plots.density import draw_cloud
from migrate_bayes.plots.gradient import Points, draw_gradient, gradient_label
from migrate_bayes.plots.metallicity_radius import draw_radial
from migrate_bayes.plots.style import figure, in_style, span

__all__ = ["Plane", "disc_figure", "limits_of"]

Array = NDArray[np.floating]


class Plane(NamedTuple):
    """What the planes show of some stars, shape (n,): dex, dex, kpc, kpc, Gyr."""

    feh: Array
    alpha_fe: Array
    radius: Array
    zmax: Array
    age: Array


class Limits(NamedTuple):
    """Of the axes, so that figures of different stars can be compared."""

    feh: tuple[float, float]
    alpha_fe: tuple[float, float]
    radius: tuple[float, float]
    zmax: tuple[float, float]


def limits_of(stars: Plane) -> Limits:
    """Return limits that hold all but a few of the stars."""
    low, high = span(stars.alpha_fe, tail=0.2)
    positive = stars.zmax[np.isfinite(stars.zmax) & (stars.zmax > 0)]
    zmax = np.percentile(positive, [0.5, 99.7]) if len(positive) else (0.01, 10.0)
    return Limits(
        span(stars.feh, tail=0.2), (min(low, -0.1), max(high, 0.35)), span(stars.radius, tail=0.2),
        (float(zmax[0]), float(zmax[1])),
    )  # fmt: skip


@in_style
def disc_figure(
    stars: Plane,
    limits: Limits,
    baseline: xr.Dataset,
    *,
    fit: xr.DataTree | None = None,
    component: str = "thin",
    truth: Mapping[str, float] | None = None,
    symbol: str = r"R_\mathrm{g}",
) -> Any:
    """Draw a disc.

    Parameters
    ----------
    stars : Plane
        Of the selection that the baseline is of.
    limits : Limits
    baseline : xarray.Dataset
        From `migrate_bayes.fit_baseline`.
    fit : xarray.DataTree, optional
        Its band and lines of the component.
    component : {"thin", "thick"}
    truth : mapping, optional
    symbol : str
        Of the radius, in TeX.
    """
    edges = np.append(baseline["age_lo"].values, baseline["age_hi"].values[-1])
    made = figure(13.0, 8.8)
    left, right = made.subfigures(1, 2, width_ratios=(1.0, 1.75), wspace=0.02)
    top, middle, bottom = left.subplots(3, 1, height_ratios=(1.35, 1.0, 1.0))
    draw_gradient(
        top, fit, [Points(baseline, line=True)], truth, components=(component,), paper=(component,),
        legend=False,
    )  # fmt: skip
    top.set_ylabel(gradient_label(fit, baseline))
    top.legend(fontsize=9, loc="best", handlelength=1.6, labelspacing=0.3)
    draw_chemistry_panel(middle, stars, limits)
    draw_orbit_panel(bottom, stars, limits)
    middle.set_ylabel(r"[$\alpha$/Fe]  [dex]")
    middle.set_xlabel("[Fe/H]  [dex]")
    bottom.set_ylabel(r"$Z_\mathrm{max}$  [kpc]")
    bottom.set_xlabel(rf"${symbol}$  [kpc]")
    draw_radial(
        right, stars.radius, stars.feh, stars.age, edges, baseline=baseline, fit=fit,
        component=component, symbol=symbol, xlim=limits.radius, ylim=limits.feh, contoured=True,
    )  # fmt: skip
    return made


def draw_chemistry_panel(ax: Any, stars: Plane, limits: Limits, *, few: bool | None = None) -> None:
    """Draw the [α/Fe]–[Fe/H] plane with the dividing lines; `few` as in `draw_cloud`."""
    good = np.isfinite(stars.feh) & np.isfinite(stars.alpha_fe)
    draw_cloud(ax, stars.feh[good], stars.alpha_fe[good], limits.feh, limits.alpha_fe, few=few)
    draw_division(ax, limits.feh)


def draw_orbit_panel(ax: Any, stars: Plane, limits: Limits, *, few: bool | None = None) -> None:
    """Draw Z_max, on a logarithmic axis, against the radius; `few` as in `draw_cloud`."""
    good = np.isfinite(stars.radius) & (stars.zmax > 0)
    x, y = stars.radius[good], np.log10(stars.zmax[good])
    heights = (float(np.log10(limits.zmax[0])), float(np.log10(limits.zmax[1])))
    draw_cloud(ax, x, y, limits.radius, heights, few=few)
    ticks = [v for v in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30) if limits.zmax[0] < v < limits.zmax[1]]
    ax.set_yticks(np.log10(ticks), [f"{v:g}" for v in ticks])
    ax.tick_params(axis="y", which="minor", left=False, right=False)
