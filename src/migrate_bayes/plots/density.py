"""Stars in a plane: points where they are few, a raster of density where they are many.

Nothing drawn here grows with the survey: past `FEW` stars a figure holds cells, not stars.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEW", "binned_mean", "binned_median", "contours", "draw_cloud", "edges"]

#: Stars in a panel up to which all are drawn one by one.
FEW = 3000
Array = NDArray[np.floating]
Limits = tuple[float, float]


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
    """Draw stars in grey and set the limits.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y : ndarray, shape (n,)
    xlim, ylim : (float, float)
    weight : ndarray, shape (n,), optional
        Between 0 and 1; fades the stars that belong elsewhere.
    few : bool, optional
        Draw stars one by one; decided by their number where not given.
    bins : (int, int)
        Of the raster.
    contoured : bool
        Lay contours over a raster, see `contours`.
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
    """Draw where the density is 5, 25, 50, 75 and 95% of its maximum, as the paper's figure 5."""
    from scipy.ndimage import gaussian_filter

    counts, xe, ye = np.histogram2d(x, y, bins=60, range=[xlim, ylim])
    smooth = gaussian_filter(counts.T, 1.5)
    if not smooth.max() > 0:
        return
    middle = [0.5 * (e[:-1] + e[1:]) for e in (xe, ye)]
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * smooth.max()
    ax.contour(*middle, smooth, levels=levels, colors="white", linewidths=1.8, alpha=0.8)
    ax.contour(*middle, smooth, levels=levels, colors=colour, linewidths=0.8)


def binned_median(
    x: Array, y: Array, value: Array, xe: Array, ye: Array, *, fewest: int = 1
) -> NDArray[np.float64]:
    """Median of a value in cells; NaN where a cell has fewer stars than `fewest`.

    One sort of all stars by cell and value, so that the cost does not depend on the cells.

    Parameters
    ----------
    x, y, value : ndarray, shape (n,)
    xe, ye : ndarray, shape (nx + 1,), (ny + 1,)
        Edges; the outermost are closed.

    Returns
    -------
    ndarray, shape (nx, ny)
    """
    nx, ny = len(xe) - 1, len(ye) - 1
    i = np.searchsorted(xe, x, side="right") - 1
    j = np.searchsorted(ye, y, side="right") - 1
    i[x == xe[-1]] = nx - 1
    j[y == ye[-1]] = ny - 1
    inside = (i >= 0) & (i < nx) & (j >= 0) & (j < ny) & np.isfinite(value)
    cell, v = i[inside] * ny + j[inside], np.asarray(value, dtype=float)[inside]
    order = np.lexsort((v, cell))
    v = v[order]
    count = np.bincount(cell, minlength=nx * ny)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    median = np.full(nx * ny, np.nan)
    full = count >= max(fewest, 1)
    low = first[full] + (count[full] - 1) // 2
    high = first[full] + count[full] // 2
    median[full] = 0.5 * (v[low] + v[high])
    return median.reshape(nx, ny)


def binned_mean(
    x: Array, y: Array, value: Array, xe: Array, ye: Array, *, fewest: int = 1
) -> NDArray[np.float64]:
    """Mean of a value in cells; see `binned_median`."""
    total = np.histogram2d(x, y, bins=(xe, ye), weights=value)[0]
    count = np.histogram2d(x, y, bins=(xe, ye))[0]
    out = np.full_like(total, np.nan)
    return np.divide(total, count, out=out, where=count >= max(fewest, 1))


def edges(limits: Limits, n: int) -> NDArray[np.float64]:
    """Return edges of cells along an axis, 30 to 90 of them, finer the more stars there are."""
    return np.linspace(*limits, int(np.clip(np.sqrt(n) / 3, 30, 90)) + 1)
