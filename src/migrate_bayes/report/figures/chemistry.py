"""The [α/Fe]–[Fe/H] plane by thin-disc membership, with the paper's dividing lines."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.report.figures.style import figure, in_style, span
from migrate_bayes.selection import dividing_line

__all__ = ["MANY", "chemistry_figure"]

#: Stars from which points are replaced by hexagonal cells.
MANY = 4000


@in_style
def chemistry_figure(
    feh: NDArray[np.float64],
    alpha_fe: NDArray[np.float64],
    p_thin: NDArray[np.float64] | None = None,
) -> Any:
    """Draw stars, or cells of many stars, coloured by mean membership of the thin disc.

    Parameters
    ----------
    feh, alpha_fe : ndarray, shape (n,)
        dex.
    p_thin : ndarray, shape (n,), optional
        Probability of the thin disc; cells are coloured by number of stars where not given.
    """
    good = np.isfinite(feh) & np.isfinite(alpha_fe)
    if p_thin is not None:
        good &= np.isfinite(p_thin)
    x, y = feh[good], alpha_fe[good]
    made = figure(6.4, 4.9)
    ax = made.add_subplot()
    xlim, ylim = span(x, tail=0.2), span(y, tail=0.2)
    ylim = min(ylim[0], -0.1), max(ylim[1], 0.35)
    if p_thin is not None:
        p = p_thin[good]
        colour = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0}
        label = "mean P(thin disc)" if len(x) > MANY else "P(thin disc)"
        if len(x) > MANY:
            drawn = ax.hexbin(
                x, y, C=p, gridsize=70, extent=(*xlim, *ylim), mincnt=2, linewidths=0.1, **colour
            )
        else:
            # The ambiguous stars on top, where they can be seen.
            order = np.argsort(-np.abs(p - 0.5))
            drawn = ax.scatter(x[order], y[order], c=p[order], s=9, lw=0, alpha=0.85, **colour)
    elif len(x) > MANY:
        drawn = ax.hexbin(
            x, y, gridsize=70, extent=(*xlim, *ylim), bins="log", cmap="cividis", linewidths=0.1
        )
        label = "stars per cell"
    else:
        ax.scatter(x, y, c="0.3", s=9, lw=0, alpha=0.6)
        drawn, label = None, ""
    if len(x) > MANY:
        _contours(ax, x, y, xlim, ylim)
    line = np.linspace(*xlim, 200)
    for shift, style in ((-0.1, ":"), (0.0, "--"), (0.1, ":")):
        ax.plot(line, dividing_line(line) + shift, color="black", ls=style, lw=1.2)
    if drawn is not None:
        made.colorbar(drawn, ax=ax, label=label, pad=0.02)
    ax.set(xlim=xlim, ylim=ylim, xlabel="[Fe/H]  [dex]", ylabel=r"[$\alpha$/Fe]  [dex]")
    return made


def _contours(ax: Any, x: NDArray, y: NDArray, xlim: tuple, ylim: tuple) -> None:
    """Contours of the density at 5, 25, 50, 75% of its maximum, as in the paper's figure 5."""
    from scipy.ndimage import gaussian_filter

    counts, xe, ye = np.histogram2d(x, y, bins=60, range=[xlim, ylim])
    smooth = gaussian_filter(counts.T, 1.5)
    middle = [0.5 * (e[:-1] + e[1:]) for e in (xe, ye)]
    levels = np.array([0.05, 0.25, 0.5, 0.75]) * smooth.max()
    ax.contour(*middle, smooth, levels=levels, colors="white", linewidths=1.8, alpha=0.8)
    ax.contour(*middle, smooth, levels=levels, colors="black", linewidths=0.7)
