"""Figures of stars of known age: the Sun, M67, clusters, ages against other ages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.aims import M67_LITERATURE, SOLAR_AGE
from migrate_bayes.checks.ages.samples import Sample, good_age
from migrate_bayes.checks.ages.statistics import spread
from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones import AgeOptions, age_quantiles, isochrone
from migrate_bayes.plots.style import BLUE, GREY, ORANGE, PURPLE, VERMILION, figure, in_style

_ISOCHRONES = ((3.0, BLUE, "-."), (4.0, "black", "-"), (5.5, VERMILION, "--"), (7.0, PURPLE, ":"))
_M67_FEH = 0.0  # solar to 0.03 dex (e.g. Önehag et al. 2014; Souto et al. 2019)
_LOGG = r"$\log g$  [dex]"


@in_style
def sun_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draw the Sun's age and 68% interval on every family: rows of `AgeValidation.sun`."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    sources = list(dict.fromkeys(row["source"] for row in rows))
    tints = (BLUE, ORANGE, "black", GREY)
    made = figure(7.0, 0.9 + 0.62 * len(sources))
    ax = made.add_subplot()
    ax.axvline(SOLAR_AGE, color=VERMILION, lw=1.0, label=f"{SOLAR_AGE} Gyr")
    for row in rows:
        k = kinds.index(row["kind"])
        y = sources.index(row["source"]) + 0.17 * (k - 0.5 * (len(kinds) - 1))
        ax.plot([row["sun_age_lo"], row["sun_age_hi"]], [y, y], color=tints[k % 4], lw=1.4)
        label = row["kind"] if row["source"] == sources[0] else None
        ax.plot(row["sun_age"], y, "os^D"[k % 4], color=tints[k % 4], ms=5, label=label)
    ax.set_yticks(range(len(sources)), sources)
    ax.tick_params(axis="y", which="minor", left=False, right=False)
    ax.set(xlabel="age of the Sun [Gyr]", ylim=(len(sources) - 0.5, -0.5))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return made


@in_style
def age_age_figure(sample: Sample, ages: xr.Dataset, mask: NDArray[np.bool_]) -> Any:
    """Draw age against the reference age, and the difference against their mean.

    Parameters
    ----------
    sample : Sample
    ages : xarray.Dataset
        From `estimate_ages`.
    mask : bool array, shape (star,)
        The stars to draw.
    """
    x, ex = sample.reference[mask], sample.reference_error[mask]
    y = ages["age_median"].values[mask]
    q = age_quantiles(ages, [0.16, 0.84]).values[mask]
    many = len(x) > 150
    made = figure(11.0, 4.8)
    left, right = made.subplots(1, 2)
    bars = {"fmt": "none", "ecolor": GREY, "elinewidth": 0.4, "alpha": 0.15 if many else 0.7}
    left.errorbar(x, y, [y - q[:, 0], q[:, 1] - y], ex, zorder=1, **bars)
    dots: dict = {"c": sample.catalog["logg"].values[mask], "cmap": "cividis", "ec": "black"}
    dots |= {"s": 10 if many else 28, "lw": 0.0 if many else 0.4, "zorder": 2}
    drawn = left.scatter(x, y, **dots)
    limit = 14.6
    left.plot([0, limit], [0, limit], color=VERMILION, lw=1.0)
    left.set(
        xlim=(0, limit), ylim=(0, limit),
        xlabel=f"{sample.reference_name} age [Gyr]", ylabel="age, posterior median [Gyr]",
    )  # fmt: skip
    mean, gap = 0.5 * (x + y), y - x
    error = np.hypot(ex, 0.5 * (q[:, 1] - q[:, 0]))
    right.errorbar(mean, gap, error, zorder=1, **bars)
    right.scatter(mean, gap, **dots)
    right.axhline(0.0, color=VERMILION, lw=1.0)
    bins = _bins(mean, gap, np.arange(0.0, 14.1, 2.0))
    middle = [spread(gap[part]) for part in bins]
    right.errorbar(
        [np.median(mean[part]) for part in bins], [s.median for s in middle],
        [s.median_error for s in middle], fmt="s-", color="black", mfc="white", ms=7, lw=1.5,
        zorder=4, label="median and its error",
    )  # fmt: skip
    reach = float(np.nanpercentile(np.abs(gap), 99)) * 1.15
    right.set(
        xlim=(0, limit), ylim=(-reach, reach), xlabel="mean of the two ages [Gyr]",
        ylabel=f"age − {sample.reference_name} age [Gyr]",
    )  # fmt: skip
    right.legend()
    made.colorbar(drawn, ax=right, label=_LOGG, pad=0.02)
    return made


def _bins(x: NDArray, y: NDArray, edges: NDArray) -> list[NDArray[np.bool_]]:
    """Return the stars of each bin of x with five finite y or more."""
    bins = [np.isfinite(y) & (x >= low) & (x < high) for low, high in pairwise(edges)]
    return [part for part in bins if part.sum() >= 5]


@in_style
def cluster_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draw median age − literature age against [Fe/H]: rows of `AgeValidation.clusters`."""
    made = figure(6.6, 4.6)
    ax = made.add_subplot()
    ax.axhline(0.0, color=VERMILION, lw=1.0)
    for k, row in enumerate(rows):
        feh, spreads = row["feh"], (row["offset"], row["offset_turnoff"])
        for s, tint, side, label in (
            (spreads[0], GREY, -1, "all members"),
            (spreads[1], BLUE, 1, "turn-off and subgiants"),
        ):
            if s.count:
                x = feh + side * 0.004
                ax.errorbar(
                    x, s.median, s.scatter, fmt="o", color=tint, capsize=2,
                    ms=4 + 2.2 * np.sqrt(s.count) / 2, alpha=0.85, label=label if k == 0 else None,
                )  # fmt: skip
                ax.annotate(
                    f"{s.count}", (x, s.median), xytext=(22 * side, 0), fontsize=10,
                    textcoords="offset points", color=tint, ha="center", va="center",
                )  # fmt: skip
        ax.annotate(
            f"{row['cluster']} ({row['literature_age']:.1f} Gyr)",
            (feh, max(s.median + s.scatter for s in spreads if s.count)),
            xytext=(0, 8), textcoords="offset points", ha="center",
        )  # fmt: skip
    ax.set(xlabel="[Fe/H] of the members  [dex]", ylabel="age − literature age  [Gyr]")
    ax.margins(x=0.7, y=0.25)
    ax.legend(loc="best")
    return made


@in_style
def m67_figure(
    sample: Sample,
    ages: xr.Dataset,
    chosen: NDArray[np.bool_],
    options: AgeOptions,
    other: Sample,
    other_ages: xr.Dataset,
) -> Any:
    """Draw M67 in the Kiel and colour diagrams with isochrones, its ages, and its abundances.

    Parameters
    ----------
    sample : Sample
        The members with APOGEE parameters.
    ages : xarray.Dataset
        Their ages.
    chosen : bool array, shape (star,)
        Turn-off stars and subgiants of the headline.
    options : AgeOptions
        Whose isochrones are drawn, at [Fe/H] = [α/Fe] = 0.
    other, other_ages
        The members with DD-Payne parameters, aged the paper's way.
    """
    made = figure(13.0, 8.2)
    kiel, colour, histogram, metals, alphas, trend = made.subplots(2, 3).ravel()
    age = ages["age_median"].values

    drawn = _diagram(kiel, sample, age, "teff", "logg")
    _diagram(colour, sample, age, "bp_rp", "abs_g")
    for value, tint, dash in _ISOCHRONES:
        try:
            line = isochrone(options.source, value, feh_scale=options.feh_scale)
        except IsochroneError:
            continue
        # Up to the tip of the giant branch: what follows would cross the diagram.
        tip = int(np.argmin(np.where(line["logg"] > 0.3, line["logg"], 9.0))) + 1
        style = {"color": tint, "ls": dash, "label": f"{value:g} Gyr"}
        kiel.plot(line["teff"][:tip], line["logg"][:tip], **style)
        colour.plot(line["bp_rp"][:tip], line["abs_g"][:tip], **style)
    kiel.set(xlim=(6900, 4300), ylim=(4.8, 2.2), xlabel=r"$T_\mathrm{eff}$  [K]", ylabel=_LOGG)
    kiel.legend(loc="upper left", title="[Fe/H] = [α/Fe] = 0")
    colour.set(
        xlim=(0.45, 1.35), ylim=(7.2, 0.2), xlabel=r"$(BP-RP)_0$  [mag]", ylabel=r"$M_G$  [mag]"
    )
    made.colorbar(drawn, ax=colour, label="age [Gyr]", pad=0.02, extend="max")

    bins = np.arange(0.0, 14.6, 0.5)
    histogram.axvspan(*M67_LITERATURE, color=ORANGE, alpha=0.35, lw=0, label="literature")
    best = spread(age[chosen])
    label = (
        f"turn-off, subgiants ({best.count}):\n{best.median:.2f} Gyr, scatter {best.scatter:.2f}"
    )
    histogram.hist(age[chosen], bins, color=BLUE, alpha=0.85, label=label)
    good = np.isfinite(age) & good_age(ages)
    label = f"all, error < 25% ({good.sum()})"
    histogram.hist(age[good], bins, histtype="step", color="black", label=label)
    histogram.set(xlabel="age [Gyr]", ylabel="stars", xlim=(0, 14.5))
    histogram.legend()

    edges = np.array([2.2, 3.0, 3.6, 3.9, 4.1, 4.3, 4.5, 4.8])
    for ax, name in ((metals, "feh"), (alphas, "alpha_fe")):
        for part, marker, tint, label in (
            (sample, "o", BLUE, "APOGEE DR17"),
            (other, "^", ORANGE, "LAMOST DD-Payne"),
        ):
            if name not in part.catalog:
                continue
            x, y = part.catalog["logg"].values, part.catalog[name].values
            ax.scatter(x, y, s=14, marker=marker, color=tint, alpha=0.55, lw=0, label=label)
            running = _bins(x, y, edges)
            middle = [[np.median(v[stars]) for stars in running] for v in (x, y)]
            ax.plot(*middle, color=tint, lw=2.2)
        ax.set(xlim=(4.8, 2.2), xlabel=_LOGG)
    metals.axhline(_M67_FEH, color=VERMILION, ls="--", lw=1.0)
    metals.set(ylabel="[Fe/H]  [dex]", ylim=(-0.35, 0.2))
    metals.legend(loc="lower center", markerscale=1.8)
    alphas.set(ylabel=r"[$\alpha$/Fe]  [dex]", ylim=(-0.25, 0.3))

    trend.axhspan(*M67_LITERATURE, color=ORANGE, alpha=0.35, lw=0)
    _ages_by_gravity(trend, sample, ages, fmt="o", color=BLUE, label="APOGEE, ours")
    _ages_by_gravity(
        trend, other, other_ages, fmt="^", color=VERMILION, label="DD-Payne, the paper's way"
    )
    trend.set(xlim=(4.8, 2.2), ylim=(0, 14.5), xlabel=_LOGG, ylabel="age [Gyr]")
    trend.legend(loc="upper center", frameon=True, framealpha=0.85, edgecolor="none")
    return made


def _diagram(ax: Any, sample: Sample, age: NDArray, x_name: str, y_name: str) -> Any:
    """Draw stars by age: single ones as dots, others as squares."""
    x, y, single = sample.catalog[x_name].values, sample.catalog[y_name].values, sample.usable
    shade: dict = {"cmap": "viridis", "vmin": 0.0, "vmax": 12.0, "lw": 0.3, "zorder": 3}
    drawn = ax.scatter(x[single], y[single], c=age[single], s=22, ec="black", **shade)
    ax.scatter(x[~single], y[~single], c=age[~single], s=16, marker="s", ec=GREY, **shade)
    return drawn


def _ages_by_gravity(ax: Any, sample: Sample, ages: xr.Dataset, **style: Any) -> None:
    x, y = sample.catalog["logg"].values, ages["age_median"].values
    good = np.isfinite(y) & good_age(ages)
    ends = [y - ages["age_lo"].values, ages["age_hi"].values - y]
    bars = np.clip(ends, 0.0, None)[:, good]
    ax.errorbar(x[good], y[good], bars, ms=3.5, alpha=0.6, elinewidth=0.5, **style)
