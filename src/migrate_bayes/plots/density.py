"""Stars in a plane: points if they are few, a raster of density if they are many.

Nothing drawn here grows with the survey: past `FEW` stars a figure holds cells, not stars.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.plots.style import Limits

#: Stars in a panel up to which all are drawn one by one.
FEW = 3000
#: Stars from which points coloured by a value are replaced by cells.
MANY = 4000
Array = NDArray[np.floating]


def draw_cloud(
    ax: Any,
    x: Array,
    y: Array,
    xlim: Limits,
    ylim: Limits,
    *,
    weight: Array | None = None,
    few: bool | None = None,
    bins: tuple[int, int] = (60, 48),
    contoured: bool = False,
) -> None:
    """Draw stars, shape (n,), in grey and set the limits.

    A `weight` between 0 and 1 fades a star; `few` decides whether stars are drawn one by one (by
    default their number does), or else as a raster of `bins`, with `contours` if `contoured`.
    """
    ax.set(xlim=xlim, ylim=ylim)
    if not len(x):
        return
    w = np.ones(len(x)) if weight is None else np.asarray(weight, dtype=float)
    if len(x) <= FEW if few is None else few:
        colours = np.zeros((len(x), 4))
        colours[:, 3] = 0.05 + 0.45 * w
        ax.scatter(x, y, s=5, c=colours, lw=0, rasterized=True)
        return
    from matplotlib.colors import LogNorm

    counts, xe, ye = np.histogram2d(x, y, bins=bins, range=[xlim, ylim], weights=w)
    shown = np.where(counts >= 1, counts, np.nan)
    if np.isfinite(shown).any():
        norm = LogNorm(0.5, 2 * max(float(np.nanmax(shown)), 2.0))
        ax.pcolormesh(xe, ye, shown.T, cmap="Greys", norm=norm, rasterized=True)
    if contoured:
        contours(ax, x, y, xlim, ylim)


def contours(
    ax: Any, x: Array, y: Array, xlim: Limits, ylim: Limits, *, colour: str = "black"
) -> None:
    """Draw contours at 5, 25, 50, 75 and 95% of the greatest density, as the paper's figure 5."""
    from scipy.ndimage import gaussian_filter

    counts, xe, ye = np.histogram2d(x, y, bins=60, range=[xlim, ylim])
    smooth = gaussian_filter(counts.T, 1.5)
    if not smooth.max() > 0:
        return
    middle = [0.5 * (e[:-1] + e[1:]) for e in (xe, ye)]
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * smooth.max()
    ax.contour(*middle, smooth, levels=levels, colors="white", linewidths=1.8, alpha=0.8)
    ax.contour(*middle, smooth, levels=levels, colors=colour, linewidths=0.8)


def in_cells(
    x: Array,
    y: Array,
    value: Array,
    xe: Array,
    ye: Array,
    *,
    by: Literal["median", "mean"] = "median",
    fewest: int = 1,
) -> NDArray[np.float64]:
    """Median or mean of a value in cells, shape (nx, ny); NaN in cells of fewer stars.

    `xe`, `ye`, shape (nx + 1,), (ny + 1,), are edges, the outermost closed. The stars are sorted
    once, so that the cost does not depend on the number of cells.
    """
    import pandas as pd

    nx, ny = len(xe) - 1, len(ye) - 1
    i = np.searchsorted(xe, x, side="right") - 1
    j = np.searchsorted(ye, y, side="right") - 1
    i[x == xe[-1]] = nx - 1
    j[y == ye[-1]] = ny - 1
    inside = (i >= 0) & (i < nx) & (j >= 0) & (j < ny)
    cell = i[inside] * ny + j[inside]
    grouped = pd.Series(np.asarray(value, dtype=float)[inside]).groupby(cell)
    found = grouped.agg(by)[grouped.count() >= max(fewest, 1)]
    out = np.full(nx * ny, np.nan)
    out[found.index] = found
    return out.reshape(nx, ny)


def draw_coloured(
    ax: Any,
    x: Array,
    y: Array,
    value: Array,
    limits: tuple[Limits, Limits],
    *,
    by: Literal["median", "mean"],
    fewest: int,
    finer: float = 1.0,
    label: str,
    extend: str = "neither",
    **look: Any,
) -> bool:
    """Draw cells of many stars, or few stars, coloured by a value; say whether it is cells.

    `finer` times as many stars set the number of cells; `look` has `vmin`, `vmax`, and `s`, `alpha`
    of the points.
    """
    points = {name: look.pop(name) for name in ("s", "alpha")}
    many = len(x) > MANY
    if many:
        # 30 to 90 cells along an axis, finer the more stars there are.
        n = int(np.clip(np.sqrt(finer * len(x)) / 3, 30, 90)) + 1
        xe, ye = (np.linspace(*ends, n) for ends in limits)
        cells = in_cells(x, y, value, xe, ye, by=by, fewest=fewest)
        drawn = ax.pcolormesh(xe, ye, cells.T, rasterized=True, cmap="viridis", **look)
    else:
        drawn = ax.scatter(x, y, c=value, lw=0, cmap="viridis", **points, **look)
    text = f"{by} {label}" if many else label
    ax.figure.colorbar(drawn, ax=ax, label=text, pad=0.02, extend=extend)
    return many
