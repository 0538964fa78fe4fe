"""Stars in a plane, few as points and many as a raster that does not grow with the survey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.plots.columns import finite, star_columns
from migrate_bayes.plots.style import BLUE, Limits, axes_of, in_style, span
from migrate_bayes.selection import dividing_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def chemistry_limits(feh: Any, alpha_fe: Any) -> tuple[Limits, Limits]:
    """Limits of the plane that hold all but a few stars, and the dividing lines."""
    low, high = span(alpha_fe, tail=0.2)
    return span(feh, tail=0.2), (min(low, -0.1), max(high, 0.35))


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


def draw_division(ax: Any, xlim: Limits) -> None:
    """Draw the paper's division of the discs, and the same 0.1 dex above and below."""
    line = np.linspace(*xlim, 200)
    for shift, style in ((-0.1, ":"), (0.0, "--"), (0.1, ":")):
        ax.plot(line, dividing_line(line) + shift, color="black", ls=style, lw=1.2)


@in_style
def chemistry(
    stars: xr.Dataset,
    by: Literal["density", "age", "p_thin"] = "density",
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw the [α/Fe]–[Fe/H] plane with the division of Vickers, Shen & Li (2021).

    Counterpart of their figures 5 (density) and 8 (age).

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors, or `star_columns` of them: `feh`, `alpha_fe` (dex), `age` (Gyr), `p_thin`.
    by : {"density", "age", "p_thin"}
        Density of stars with contours, or colour by median age or by the mean probability of the
        thin disc; few stars are drawn one by one.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> columns = {"feh": [-0.3, 0.1], "alpha_fe": [0.2, 0.0], "age": [9.0, 2.0]}
    >>> stars = xr.Dataset({name: ("star", np.array(v)) for name, v in columns.items()})
    >>> mb.plots.chemistry(stars, "age").get_xlabel()
    '[Fe/H]  [dex]'
    """
    stars = star_columns(stars)
    ax = axes_of(ax, 6.4, 4.9)
    ax.set(xlabel="[Fe/H]  [dex]", ylabel=r"[$\alpha$/Fe]  [dex]")
    x, y, *rest = finite(stars, "feh", "alpha_fe", *([] if by == "density" else [by]))
    limits = xlim, ylim = chemistry_limits(x, y)
    if by == "density":
        draw_cloud(ax, x, y, xlim, ylim, bins=(110, 90))
        if len(x) > 300:
            contours(ax, x, y, xlim, ylim, colour=BLUE)
    else:
        (value,) = rest
        if by == "age":
            look: dict[str, Any] = {
                "by": "median", "fewest": 3, "label": "age [Gyr]", "extend": "max", "vmin": 0.0,
                "vmax": 13.0, "s": 11, "alpha": 0.9,
            }  # fmt: skip
        else:
            # The ambiguous stars on top, where they can be seen.
            order = np.argsort(-np.abs(value - 0.5))
            x, y, value = x[order], y[order], value[order]
            look = {
                "by": "mean", "fewest": 2, "label": "P(thin disc)", "vmin": 0.0, "vmax": 1.0,
                "s": 9, "alpha": 0.85,
            }  # fmt: skip
        if draw_coloured(ax, x, y, value, limits, **look):
            contours(ax, x, y, xlim, ylim)
    draw_division(ax, xlim)
    ax.set(xlim=xlim, ylim=ylim)
    return ax


@in_style
def kiel(stars: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the Kiel diagram, log g against T_eff, coloured by (median) age.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors, or `star_columns` of them: `teff` (K), `logg` (dex), `age` (Gyr).

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> columns = {"teff": [5800.0, 5200.0], "logg": [4.4, 3.6], "age": [4.6, 8.0]}
    >>> stars = xr.Dataset({name: ("star", np.array(v)) for name, v in columns.items()})
    >>> bool(mb.plots.kiel(stars).yaxis_inverted())
    True
    """
    x, y, age = finite(star_columns(stars), "teff", "logg", "age")
    ax = axes_of(ax, 6.4, 4.9)
    limits = xlim, ylim = span(x, tail=0.2), span(y, tail=0.2)
    draw_coloured(
        ax, x, y, age, limits, by="median", fewest=2, finer=2.0, label="age [Gyr]", extend="max",
        vmin=0.0, vmax=13.0, s=9, alpha=0.85,
    )  # fmt: skip
    ax.set(
        xlim=xlim[::-1], ylim=ylim[::-1], xlabel=r"$T_\mathrm{eff}$  [K]", ylabel=r"$\log g$  [dex]"
    )
    return ax
