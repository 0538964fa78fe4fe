"""The [α/Fe]–[Fe/H] plane: density, ages, membership, and the paper's dividing lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.plots.density import (
    binned_mean,
    binned_median,
    contours,
    draw_cloud,
    edges,
)
from migrate_bayes.plots.style import figure, in_style, span
from migrate_bayes.selection import dividing_line

__all__ = ["MANY", "age_plane_figure", "chemistry_figure", "density_figure", "draw_division"]

Array = NDArray[np.floating]
Limits = tuple[float, float]
#: Stars from which points are replaced by cells.
MANY = 4000


def chemistry_limits(feh: Array, alpha_fe: Array) -> tuple[Limits, Limits]:
    """Limits of the plane that hold all but a few stars, and the dividing lines."""
    xlim, ylim = span(feh, tail=0.2), span(alpha_fe, tail=0.2)
    return xlim, (min(ylim[0], -0.1), max(ylim[1], 0.35))


def draw_division(ax: Any, xlim: Limits, *, shifts: bool = True) -> None:
    """Draw the paper's division of the discs, and the same 0.1 dex above and below."""
    line = np.linspace(*xlim, 200)
    for shift, style in ((-0.1, ":"), (0.0, "--"), (0.1, ":")):
        if shift == 0.0 or shifts:
            ax.plot(line, dividing_line(line) + shift, color="black", ls=style, lw=1.2)


def _axes(width: float = 6.4, height: float = 4.9) -> tuple[Any, Any]:
    made = figure(width, height)
    ax = made.add_subplot()
    ax.set(xlabel="[Fe/H]  [dex]", ylabel=r"[$\alpha$/Fe]  [dex]")
    return made, ax


@in_style
def density_figure(feh: Array, alpha_fe: Array) -> Any:
    """Draw the density of stars, contours of it, and the dividing lines (the paper's figure 5).

    Parameters
    ----------
    feh, alpha_fe : ndarray, shape (n,)
        dex.
    """
    good = np.isfinite(feh) & np.isfinite(alpha_fe)
    x, y = feh[good], alpha_fe[good]
    made, ax = _axes()
    xlim, ylim = chemistry_limits(x, y)
    draw_cloud(ax, x, y, xlim, ylim, bins=(110, 90))
    if len(x) > 300:
        contours(ax, x, y, xlim, ylim, colour="#0072B2")
    draw_division(ax, xlim)
    return made


@in_style
def age_plane_figure(feh: Array, alpha_fe: Array, age: Array) -> Any:
    """Draw cells, or few stars, coloured by median age (the paper's figure 8).

    Parameters
    ----------
    feh, alpha_fe, age : ndarray, shape (n,)
        dex, dex, Gyr.
    """
    good = np.isfinite(feh) & np.isfinite(alpha_fe) & np.isfinite(age)
    x, y, a = feh[good], alpha_fe[good], age[good]
    made, ax = _axes()
    xlim, ylim = chemistry_limits(x, y)
    colour = {"cmap": "viridis", "vmin": 0.0, "vmax": 13.0}
    if len(x) > MANY:
        xe, ye = edges(xlim, len(x)), edges(ylim, len(x))
        cells = binned_median(x, y, a, xe, ye, fewest=3)
        drawn = ax.pcolormesh(xe, ye, cells.T, rasterized=True, **colour)
        contours(ax, x, y, xlim, ylim)
    else:
        drawn = ax.scatter(x, y, c=a, s=11, lw=0, alpha=0.9, **colour)
    label = "median age [Gyr]" if len(x) > MANY else "age [Gyr]"
    made.colorbar(drawn, ax=ax, label=label, pad=0.02, extend="max")
    draw_division(ax, xlim)
    ax.set(xlim=xlim, ylim=ylim)
    return made


@in_style
def chemistry_figure(feh: Array, alpha_fe: Array, p_thin: Array) -> Any:
    """Draw stars, or cells of many stars, coloured by mean membership of the thin disc.

    Parameters
    ----------
    feh, alpha_fe : ndarray, shape (n,)
        dex.
    p_thin : ndarray, shape (n,)
        Probability of the thin disc.
    """
    good = np.isfinite(feh) & np.isfinite(alpha_fe) & np.isfinite(p_thin)
    x, y, p = feh[good], alpha_fe[good], p_thin[good]
    made, ax = _axes()
    xlim, ylim = chemistry_limits(x, y)
    colour = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
    if len(x) > MANY:
        xe, ye = edges(xlim, len(x)), edges(ylim, len(x))
        cells = binned_mean(x, y, p, xe, ye, fewest=2)
        drawn = ax.pcolormesh(xe, ye, cells.T, rasterized=True, **colour)
        contours(ax, x, y, xlim, ylim)
    else:
        # The ambiguous stars on top, where they can be seen.
        order = np.argsort(-np.abs(p - 0.5))
        drawn = ax.scatter(x[order], y[order], c=p[order], s=9, lw=0, alpha=0.85, **colour)
    label = "mean P(thin disc)" if len(x) > MANY else "P(thin disc)"
    made.colorbar(drawn, ax=ax, label=label, pad=0.02)
    draw_division(ax, xlim)
    ax.set(xlim=xlim, ylim=ylim)
    return made
