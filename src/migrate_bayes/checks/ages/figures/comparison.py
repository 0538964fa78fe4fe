"""Ages against other ages, clusters against the literature, the Sun on every family."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.headline import SunAge
from migrate_bayes.checks.ages.sample import Sample
from migrate_bayes.checks.ages.statistics import Spread
from migrate_bayes.checks.ages.sun import SOLAR_AGE
from migrate_bayes.isochrones import age_quantiles
from migrate_bayes.plots.style import BLUE, GREY, ORANGE, VERMILION, figure, in_style

__all__ = ["age_age_figure", "cluster_figure", "sun_figure"]


@in_style
def age_age_figure(
    sample: Sample, ages: xr.Dataset, mask: NDArray[np.bool_], *, colour: str = "logg"
) -> Any:
    """Draw age against the reference age, and the difference against their mean.

    Parameters
    ----------
    sample : Sample
    ages : xarray.Dataset
        From `estimate_ages`.
    mask : bool array, shape (star,)
        Which stars.
    colour : str
        Column of the catalogue that colours the points.
    """
    x, ex = sample.reference[mask], sample.reference_error[mask]
    y = ages["age_median"].values[mask]
    q = age_quantiles(ages, [0.16, 0.84]).values[mask]
    z = sample.catalog[colour].values[mask]
    many = len(x) > 150
    made = figure(11.0, 4.8)
    left, right = made.subplots(1, 2)
    bars = {"fmt": "none", "ecolor": GREY, "elinewidth": 0.4, "alpha": 0.15 if many else 0.7}
    left.errorbar(x, y, [y - q[:, 0], q[:, 1] - y], ex, zorder=1, **bars)
    dots: dict = {"c": z, "cmap": "cividis", "s": 10 if many else 28, "lw": 0.0 if many else 0.4}
    drawn = left.scatter(x, y, ec="black", zorder=2, **dots)
    limit = 14.6
    left.plot([0, limit], [0, limit], color=VERMILION, lw=1.0)
    left.set(
        xlim=(0, limit), ylim=(0, limit),
        xlabel=f"{sample.reference_name} age [Gyr]", ylabel="age, posterior median [Gyr]",
    )  # fmt: skip
    mean, gap = 0.5 * (x + y), y - x
    error = np.hypot(ex, 0.5 * (q[:, 1] - q[:, 0]))
    right.errorbar(mean, gap, error, zorder=1, **bars)
    right.scatter(mean, gap, ec="black", zorder=2, **dots)
    right.axhline(0.0, color=VERMILION, lw=1.0)
    centre, middle, standard = _binned(mean, gap)
    right.errorbar(
        centre, middle, standard, fmt="s-", color="black", mfc="white", ms=7, lw=1.5, zorder=4,
        label="median and its error",
    )  # fmt: skip
    reach = float(np.nanpercentile(np.abs(gap), 99)) * 1.15
    right.set(
        xlim=(0, limit), ylim=(-reach, reach), xlabel="mean of the two ages [Gyr]",
        ylabel=f"age − {sample.reference_name} age [Gyr]",
    )  # fmt: skip
    right.legend()
    label = {"logg": r"$\log g$  [dex]", "feh": "[Fe/H]  [dex]"}.get(colour, colour)
    made.colorbar(drawn, ax=right, label=label, pad=0.02)
    return made


def _binned(x: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Medians in bins of two gigayears with five stars or more, and the medians' errors."""
    edges = np.arange(0.0, 14.1, 2.0)
    rows = []
    for low, high in pairwise(edges):
        part = (x >= low) & (x < high) & np.isfinite(y)
        if part.sum() >= 5:
            m = np.median(y[part])
            sd = 1.4826 * np.median(np.abs(y[part] - m))
            rows.append((np.median(x[part]), m, 1.2533 * sd / np.sqrt(part.sum())))
    table = np.array(rows).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


@in_style
def cluster_figure(rows: Sequence[tuple[str, float, float, Spread, Spread]]) -> Any:
    """Draw median age − literature age against [Fe/H].

    Parameters
    ----------
    rows : sequence of (cluster, [Fe/H], literature age, all members, turn-off stars)
        The two last as `Spread` of age − literature age, Gyr.
    """
    made = figure(6.6, 4.6)
    ax = made.add_subplot()
    ax.axhline(0.0, color=VERMILION, lw=1.0)
    for k, (name, feh, age, everyone, tip) in enumerate(rows):
        for s, tint, shift, label in (
            (everyone, GREY, -0.004, "all members"),
            (tip, BLUE, 0.004, "turn-off and subgiants"),
        ):
            if s.count:
                ax.errorbar(
                    feh + shift, s.median, s.scatter, fmt="o", color=tint, capsize=2,
                    ms=4 + 2.2 * np.sqrt(s.count) / 2, alpha=0.85, label=label if k == 0 else None,
                )  # fmt: skip
                ax.annotate(
                    f"{s.count}", (feh + shift, s.median), xytext=(22 if shift > 0 else -22, 0),
                    textcoords="offset points", color=tint, fontsize=10, ha="center", va="center",
                )  # fmt: skip
        top = max(s.median + s.scatter for s in (everyone, tip) if s.count)
        ax.annotate(
            f"{name} ({age:.1f} Gyr)",
            (feh, top),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
        )
    ax.set(xlabel="[Fe/H] of the members  [dex]", ylabel="age − literature age  [Gyr]")
    ax.margins(x=0.7, y=0.25)
    ax.legend(loc="best")
    return made


@in_style
def sun_figure(rows: Sequence[tuple[str, str, SunAge]]) -> Any:
    """Draw the Sun's age and 68% interval on every family.

    Parameters
    ----------
    rows : sequence of (source, choices, SunAge)
    """
    kinds = list(dict.fromkeys(kind for _, kind, _ in rows))
    sources = list(dict.fromkeys(source for source, _, _ in rows))
    tints = (BLUE, ORANGE, "black", GREY)
    made = figure(7.0, 0.9 + 0.62 * len(sources))
    ax = made.add_subplot()
    ax.axvline(SOLAR_AGE, color=VERMILION, lw=1.0, label=f"{SOLAR_AGE} Gyr")
    for source, kind, sun in rows:
        k = kinds.index(kind)
        y = sources.index(source) + 0.17 * (k - 0.5 * (len(kinds) - 1))
        ax.plot([sun.low, sun.high], [y, y], color=tints[k % 4], lw=1.4)
        first = source == sources[0]
        ax.plot(
            sun.median, y, "os^D"[k % 4], color=tints[k % 4], ms=5, label=kind if first else None
        )
    ax.set_yticks(range(len(sources)), sources)
    ax.tick_params(axis="y", which="minor", left=False, right=False)
    ax.set(xlabel="age of the Sun [Gyr]", ylim=(len(sources) - 0.5, -0.5))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return made
