"""The [α/Fe]–[Fe/H] plane by density, age or membership, and the Kiel diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from migrate_bayes.core.table import Estimate
from migrate_bayes.plots.columns import finite, star_columns
from migrate_bayes.plots.density import contours, draw_cloud, draw_coloured
from migrate_bayes.plots.style import BLUE, Limits, axes_of, in_style, span
from migrate_bayes.selection import dividing_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def chemistry_limits(feh: Any, alpha_fe: Any) -> tuple[Limits, Limits]:
    """Limits of the plane that hold all but a few stars, and the dividing lines."""
    low, high = span(alpha_fe, tail=0.2)
    return span(feh, tail=0.2), (min(low, -0.1), max(high, 0.35))


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
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

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
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

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


def young_share(stars: xr.Dataset, youth: float = 4.0) -> Estimate:
    """Share of stars younger than an age, Gyr, with its binomial error."""
    total = stars.sizes["star"]
    share = int((stars["age"].values < youth).sum()) / total
    variance = max(share * (1 - share), 1 / total) / total
    return Estimate.symmetric(share, np.sqrt(variance))
