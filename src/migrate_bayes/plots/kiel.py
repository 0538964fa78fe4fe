"""The Kiel diagram, log g against T_eff, coloured by age: a check on the ages by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.plots.chemistry import MANY
from migrate_bayes.plots.density import binned_median, edges
from migrate_bayes.plots.style import figure, in_style, span

__all__ = ["kiel_figure"]


@in_style
def kiel_figure(
    teff: NDArray[np.floating], logg: NDArray[np.floating], age: NDArray[np.floating]
) -> Any:
    """Draw stars, or cells of many stars, coloured by (median) age.

    Parameters
    ----------
    teff, logg, age : ndarray, shape (n,)
        K, dex, Gyr.
    """
    good = np.isfinite(teff) & np.isfinite(logg) & np.isfinite(age)
    x, y, a = teff[good], logg[good], age[good]
    made = figure(6.4, 4.9)
    ax = made.add_subplot()
    xlim, ylim = span(x, tail=0.2), span(y, tail=0.2)
    colour = {"cmap": "viridis", "vmin": 0.0, "vmax": 13.0}
    if len(x) > MANY:
        xe, ye = edges(xlim, 2 * len(x)), edges(ylim, 2 * len(x))
        cells = binned_median(x, y, a, xe, ye, fewest=2)
        drawn = ax.pcolormesh(xe, ye, cells.T, rasterized=True, **colour)
    else:
        drawn = ax.scatter(x, y, c=a, s=9, lw=0, alpha=0.85, **colour)
    label = "median age [Gyr]" if len(x) > MANY else "age [Gyr]"
    made.colorbar(drawn, ax=ax, label=label, pad=0.02, extend="max")
    ax.set(
        xlim=xlim[::-1], ylim=ylim[::-1], xlabel=r"$T_\mathrm{eff}$  [K]", ylabel=r"$\log g$  [dex]"
    )
    return made
