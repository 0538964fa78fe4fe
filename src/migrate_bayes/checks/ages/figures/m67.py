"""M67 in the Kiel and colour diagrams with isochrones, its ages, and its abundances."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.m67 import LITERATURE
from migrate_bayes.checks.ages.options import AgeOptions
from migrate_bayes.checks.ages.sample import Sample
from migrate_bayes.checks.ages.statistics import spread
from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones import isochrone
from migrate_bayes.plots.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    figure,
    in_style,
)

__all__ = ["m67_figure"]

_AGES = ((3.0, BLUE, "-."), (4.0, "black", "-"), (5.5, VERMILION, "--"), (7.0, PURPLE, ":"))
_FEH_LITERATURE = 0.0  # solar to 0.03 dex (e.g. Önehag et al. 2014; Souto et al. 2019)


@in_style
def m67_figure(
    sample: Sample,
    ages: xr.Dataset,
    chosen: NDArray[np.bool_],
    options: AgeOptions,
    other: Sample | None = None,
    other_ages: xr.Dataset | None = None,
) -> Any:
    """Draw six panels.

    Parameters
    ----------
    sample : Sample
        The members with APOGEE parameters.
    ages : xarray.Dataset
        Theirs.
    chosen : bool array, shape (star,)
        Turn-off stars and subgiants of the headline.
    options : AgeOptions
        Whose isochrones are drawn, at [Fe/H] = [α/Fe] = 0.
    other, other_ages : optional
        The members with DD-Payne parameters, aged the paper's way.
    """
    c = sample.catalog
    teff, logg = c["teff"].values, c["logg"].values
    age = ages["age_median"].values
    made = figure(13.0, 8.2)
    axes = made.subplots(2, 3)
    kiel, colour, histogram, metals, alphas, trend = axes.ravel()
    shade: dict = {"cmap": "viridis", "vmin": 0.0, "vmax": 12.0, "lw": 0.3, "zorder": 3}
    single = sample.extra["single"]

    for ax, x in ((kiel, teff), (colour, c["bp_rp"].values)):
        y = logg if ax is kiel else c["abs_g"].values
        drawn = ax.scatter(x[single], y[single], c=age[single], s=22, ec="black", **shade)
        ax.scatter(x[~single], y[~single], c=age[~single], s=16, marker="s", ec=GREY, **shade)
    for value, tint, dash in _AGES:
        try:
            line = isochrone(options.source, value, feh_scale=options.feh_scale)
        except IsochroneError:
            continue
        # Up to the tip of the giant branch: what follows would cross the diagram.
        tip = int(np.argmin(np.where(line["logg"] > 0.3, line["logg"], 9.0))) + 1
        label = f"{value:g} Gyr"
        kiel.plot(line["teff"][:tip], line["logg"][:tip], color=tint, ls=dash, label=label)
        colour.plot(line["bp_rp"][:tip], line["abs_g"][:tip], color=tint, ls=dash)
    kiel.set(
        xlim=(6900, 4300),
        ylim=(4.8, 2.2),
        xlabel=r"$T_\mathrm{eff}$  [K]",
        ylabel=r"$\log g$  [dex]",
    )
    kiel.legend(loc="upper left", title="[Fe/H] = [α/Fe] = 0")
    colour.set(
        xlim=(0.45, 1.35), ylim=(7.2, 0.2), xlabel=r"$(BP-RP)_0$  [mag]", ylabel=r"$M_G$  [mag]"
    )
    made.colorbar(drawn, ax=colour, label="age [Gyr]", pad=0.02, extend="max")

    bins = np.arange(0.0, 14.6, 0.5)
    histogram.axvspan(*LITERATURE, color=ORANGE, alpha=0.35, lw=0, label="literature")
    best = spread(age[chosen])
    histogram.hist(
        age[chosen], bins, color=BLUE, alpha=0.85,
        label=f"turn-off, subgiants ({best.count}):\n"
        f"{best.median:.2f} Gyr, scatter {best.scatter:.2f}",
    )  # fmt: skip
    good = np.isfinite(age) & (ages["age_error"].values < 0.25)
    histogram.hist(
        age[good], bins, histtype="step", color="black", label=f"all, error < 25% ({good.sum()})"
    )
    histogram.set(xlabel="age [Gyr]", ylabel="stars", xlim=(0, 14.5))
    histogram.legend()

    for ax, name in ((metals, "feh"), (alphas, "alpha_fe")):
        known = [(sample, "o", BLUE, "APOGEE DR17")]
        if other is not None:
            known.append((other, "^", ORANGE, "LAMOST DD-Payne"))
        for part, marker, tint, label in known:
            if name not in part.catalog:
                continue
            x, y = part.catalog["logg"].values, part.catalog[name].values
            ax.scatter(x, y, s=14, marker=marker, color=tint, alpha=0.55, lw=0, label=label)
            centre, middle = _running(x, y)
            ax.plot(centre, middle, color=tint, lw=2.2)
        ax.set(xlim=(4.8, 2.2), xlabel=r"$\log g$  [dex]")
    metals.axhline(_FEH_LITERATURE, color=VERMILION, ls="--", lw=1.0)
    metals.set(ylabel="[Fe/H]  [dex]", ylim=(-0.35, 0.2))
    metals.legend(loc="lower center", markerscale=1.8)
    alphas.set(ylabel=r"[$\alpha$/Fe]  [dex]", ylim=(-0.25, 0.3))
    if other is None:
        alphas.text(0.5, 0.5, "no [α/Fe] in the table", transform=alphas.transAxes, ha="center")

    trend.axhspan(*LITERATURE, color=ORANGE, alpha=0.35, lw=0)
    _ages_by_gravity(trend, sample, ages, "o", BLUE, "APOGEE, ours")
    if other is not None and other_ages is not None:
        _ages_by_gravity(trend, other, other_ages, "^", VERMILION, "DD-Payne, the paper's way")
    trend.set(xlim=(4.8, 2.2), ylim=(0, 14.5), xlabel=r"$\log g$  [dex]", ylabel="age [Gyr]")
    trend.legend(loc="upper center", frameon=True, framealpha=0.85, edgecolor="none")
    return made


def _ages_by_gravity(
    ax: Any, sample: Sample, ages: xr.Dataset, marker: str, tint: str, label: str
) -> None:
    x, y = sample.catalog["logg"].values, ages["age_median"].values
    low, high = ages["age_lo"].values, ages["age_hi"].values
    good = np.isfinite(y) & (ages["age_error"].values < 0.25)
    bars = np.clip([y - low, high - y], 0.0, None)[:, good]
    ax.errorbar(
        x[good],
        y[good],
        bars,
        fmt=marker,
        ms=3.5,
        color=tint,
        alpha=0.6,
        elinewidth=0.5,
        label=label,
    )


def _running(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """Medians in bins of log g that hold five stars or more."""
    edges = np.array([2.2, 3.0, 3.6, 3.9, 4.1, 4.3, 4.5, 4.8])
    where = [np.isfinite(y) & (x >= a) & (x < b) for a, b in pairwise(edges)]
    kept = [w for w in where if w.sum() >= 5]
    return np.array([np.median(x[w]) for w in kept]), np.array([np.median(y[w]) for w in kept])
