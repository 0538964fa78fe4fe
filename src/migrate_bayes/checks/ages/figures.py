"""Figures of a validation: functions from data to a matplotlib Figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages import aims
from migrate_bayes.checks.ages.calibration import REGIONS, Coverage
from migrate_bayes.checks.ages.choices import AGE_BINS, sample_label
from migrate_bayes.checks.ages.samples import Sample, good_age
from migrate_bayes.checks.ages.statistics import Spread, spread
from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones import AgeOptions, age_quantiles, isochrone
from migrate_bayes.plots import style
from migrate_bayes.plots.style import in_style, new_figure

Aged = tuple[Sample, xr.Dataset]  # stars and their ages

_TINTS = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PURPLE, style.SKY, "black")
_ISOCHRONES = (
    (3.0, style.BLUE, "-."), (4.0, "black", "-"), (5.5, style.VERMILION, "--"),
    (7.0, style.PURPLE, ":"),
)  # fmt: skip
_M67_FEH = 0.0  # solar to 0.03 dex (e.g. Önehag et al. 2014; Souto et al. 2019)
_LOGG = r"$\log g$  [dex]"
_LIMIT = 14.6  # Gyr
_PIT_BINS = 20


@in_style
def sun_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Draw the Sun's age and 68% interval on every family: rows of `AgeValidation.sun`."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    sources = list(dict.fromkeys(row["source"] for row in rows))
    tints = (style.BLUE, style.ORANGE, "black", style.GREY)
    made = new_figure(7.0, 0.9 + 0.62 * len(sources))
    ax = made.add_subplot()
    ax.axvline(aims.SOLAR_AGE, color=style.VERMILION, lw=1.0, label=f"{aims.SOLAR_AGE} Gyr")
    for row in rows:
        k = kinds.index(row["kind"])
        y = sources.index(row["source"]) + 0.17 * (k - 0.5 * (len(kinds) - 1))
        ax.plot([row["sun_age_lo"], row["sun_age_hi"]], [y, y], color=tints[k % 4], lw=1.4)
        label = row["kind"] if row["source"] == sources[0] else None
        ax.plot(row["sun_age"], y, "os^D"[k % 4], color=tints[k % 4], ms=5, label=label)
    ax.set_xlabel("age of the Sun [Gyr]")
    _name_rows(ax, sources)
    return made


def _name_rows(ax: Any, names: Sequence[str]) -> None:
    """Name rows from the top, and put the legend beside them."""
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(axis="y", which="minor", left=False, right=False)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))


@in_style
def age_age_figure(sample: Sample, ages: xr.Dataset, mask: NDArray[np.bool_]) -> Any:
    """Draw age against the reference age, and the difference against their mean, of some stars."""
    x, ex = sample.reference[mask], sample.reference_error[mask]
    y = ages["age_median"].values[mask]
    q = age_quantiles(ages, [0.16, 0.84]).values[mask]
    many = len(x) > 150
    made = new_figure(11.0, 4.8)
    left, right = made.subplots(1, 2)
    bars = {"fmt": "none", "ecolor": style.GREY, "elinewidth": 0.4, "alpha": 0.15 if many else 0.7}
    left.errorbar(x, y, [y - q[:, 0], q[:, 1] - y], ex, zorder=1, **bars)
    dots: dict = {"c": sample.catalog["logg"].values[mask], "cmap": "cividis", "ec": "black"}
    dots |= {"s": 10 if many else 28, "lw": 0.0 if many else 0.4, "zorder": 2}
    drawn = left.scatter(x, y, **dots)
    left.plot([0, _LIMIT], [0, _LIMIT], color=style.VERMILION, lw=1.0)
    left.set(
        xlim=(0, _LIMIT), ylim=(0, _LIMIT),
        xlabel=f"{sample.reference_name} age [Gyr]", ylabel="age, posterior median [Gyr]",
    )  # fmt: skip
    mean, gap = 0.5 * (x + y), y - x
    error = np.hypot(ex, 0.5 * (q[:, 1] - q[:, 0]))
    right.errorbar(mean, gap, error, zorder=1, **bars)
    right.scatter(mean, gap, **dots)
    right.axhline(0.0, color=style.VERMILION, lw=1.0)
    bins = _bins(mean, gap, np.arange(0.0, 14.1, 2.0))
    middle = [spread(gap[part]) for part in bins]
    right.errorbar(
        [np.median(mean[part]) for part in bins], [s.median for s in middle],
        [s.median_error for s in middle], fmt="s-", color="black", mfc="white", ms=7, lw=1.5,
        zorder=4, label="median and its error",
    )  # fmt: skip
    reach = float(np.nanpercentile(np.abs(gap), 99)) * 1.15
    right.set(
        xlim=(0, _LIMIT), ylim=(-reach, reach), xlabel="mean of the two ages [Gyr]",
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
    made = new_figure(6.6, 4.6)
    ax = made.add_subplot()
    ax.axhline(0.0, color=style.VERMILION, lw=1.0)
    for k, row in enumerate(rows):
        top = -np.inf
        for name, tint, side, label in (
            ("offset", style.GREY, -1, "all members"),
            ("offset_turnoff", style.BLUE, 1, "turn-off and subgiants"),
        ):
            s, x = row[name], row["feh"] + side * 0.004
            if s.count:
                top = max(top, s.median + s.scatter)
                ax.errorbar(
                    x, s.median, s.scatter, fmt="o", color=tint, capsize=2,
                    ms=4 + 2.2 * np.sqrt(s.count) / 2, alpha=0.85, label=label if k == 0 else None,
                )  # fmt: skip
                ax.annotate(
                    f"{s.count}", (x, s.median), xytext=(22 * side, 0), fontsize=10,
                    textcoords="offset points", color=tint, ha="center", va="center",
                )  # fmt: skip
        label = f"{row['cluster']} ({row['literature_age']:.1f} Gyr)"
        beside = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center"}
        ax.annotate(label, (row["feh"], top), **beside)
    ax.set(xlabel="[Fe/H] of the members  [dex]", ylabel="age − literature age  [Gyr]")
    ax.margins(x=0.7, y=0.25)
    ax.legend(loc="best")
    return made


@in_style
def m67_figure(own: Aged, other: Aged, chosen: NDArray[np.bool_], options: AgeOptions) -> Any:
    """Draw M67 in the Kiel and colour diagrams with isochrones, its ages, and its abundances.

    Our `own` have APOGEE parameters, the `other` DD-Payne's, aged the paper's way; `chosen` are the
    turn-off stars and subgiants of the headline. Isochrones have [Fe/H] = [α/Fe] = 0.
    """
    sample, ages = own
    made = new_figure(13.0, 8.2)
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
        look = {"color": tint, "ls": dash, "label": f"{value:g} Gyr"}
        kiel.plot(line["teff"][:tip], line["logg"][:tip], **look)
        colour.plot(line["bp_rp"][:tip], line["abs_g"][:tip], **look)
    kiel.set(xlim=(6900, 4300), ylim=(4.8, 2.2), xlabel=r"$T_\mathrm{eff}$  [K]", ylabel=_LOGG)
    kiel.legend(loc="upper left", title="[Fe/H] = [α/Fe] = 0")
    labels = {"xlabel": r"$(BP-RP)_0$  [mag]", "ylabel": r"$M_G$  [mag]"}
    colour.set(xlim=(0.45, 1.35), ylim=(7.2, 0.2), **labels)
    made.colorbar(drawn, ax=colour, label="age [Gyr]", pad=0.02, extend="max")

    bins = np.arange(0.0, 14.6, 0.5)
    literature = {"color": style.ORANGE, "alpha": 0.35, "lw": 0, "label": "literature"}
    histogram.axvspan(*aims.M67_LITERATURE, **literature)
    s = spread(age[chosen])
    label = f"turn-off, subgiants ({s.count}):\n{s.median:.2f} Gyr, scatter {s.scatter:.2f}"
    histogram.hist(age[chosen], bins, color=style.BLUE, alpha=0.85, label=label)
    good = np.isfinite(age) & good_age(ages)
    label = f"all, error < 25% ({good.sum()})"
    histogram.hist(age[good], bins, histtype="step", color="black", label=label)
    histogram.set(xlabel="age [Gyr]", ylabel="stars", xlim=(0, 14.5))
    histogram.legend()

    edges = np.array([2.2, 3.0, 3.6, 3.9, 4.1, 4.3, 4.5, 4.8])
    for ax, name in ((metals, "feh"), (alphas, "alpha_fe")):
        for part, marker, tint, label in (
            (sample, "o", style.BLUE, "APOGEE DR17"),
            (other[0], "^", style.ORANGE, "LAMOST DD-Payne"),
        ):
            if name not in part.catalog:
                continue
            x, y = part.catalog["logg"].values, part.catalog[name].values
            ax.scatter(x, y, s=14, marker=marker, color=tint, alpha=0.55, lw=0, label=label)
            running = _bins(x, y, edges)
            middle = [[np.median(v[stars]) for stars in running] for v in (x, y)]
            ax.plot(*middle, color=tint, lw=2.2)
        ax.set(xlim=(4.8, 2.2), xlabel=_LOGG)
    metals.axhline(_M67_FEH, color=style.VERMILION, ls="--", lw=1.0)
    metals.set(ylabel="[Fe/H]  [dex]", ylim=(-0.35, 0.2))
    metals.legend(loc="lower center", markerscale=1.8)
    alphas.set(ylabel=r"[$\alpha$/Fe]  [dex]", ylim=(-0.25, 0.3))

    trend.axhspan(*aims.M67_LITERATURE, **literature | {"label": None})
    _ages_by_gravity(trend, own, fmt="o", color=style.BLUE, label="APOGEE, ours")
    look = {"fmt": "^", "color": style.VERMILION, "label": "DD-Payne, the paper's way"}
    _ages_by_gravity(trend, other, **look)
    trend.set(xlim=(4.8, 2.2), ylim=(0, 14.5), xlabel=_LOGG, ylabel="age [Gyr]")
    trend.legend(loc="upper center", frameon=True, framealpha=0.85, edgecolor="none")
    return made


def _diagram(ax: Any, sample: Sample, age: NDArray, x_name: str, y_name: str) -> Any:
    """Draw stars by age: single ones as dots, others as squares."""
    x, y, single = sample.catalog[x_name].values, sample.catalog[y_name].values, sample.usable
    shade: dict = {"cmap": "viridis", "vmin": 0.0, "vmax": 12.0, "lw": 0.3, "zorder": 3}
    drawn = ax.scatter(x[single], y[single], c=age[single], s=22, ec="black", **shade)
    ax.scatter(x[~single], y[~single], c=age[~single], s=16, marker="s", ec=style.GREY, **shade)
    return drawn


def _ages_by_gravity(ax: Any, stars: Aged, **look: Any) -> None:
    sample, ages = stars
    x, y = sample.catalog["logg"].values, ages["age_median"].values
    good = np.isfinite(y) & good_age(ages)
    ends = [y - ages["age_lo"].values, ages["age_hi"].values - y]
    bars = np.clip(ends, 0.0, None)[:, good]
    ax.errorbar(x[good], y[good], bars, ms=3.5, alpha=0.6, elinewidth=0.5, **look)


@in_style
def calibration_figure(result: xr.Dataset, rows: Sequence[Coverage]) -> Any:
    """Draw the PIT histogram by region, and coverage by age: of `calibrate`, `coverage_table`."""
    made = new_figure(13.0, 7.4)
    grid = made.add_gridspec(2, 4, height_ratios=(1.0, 1.25))
    edges = np.linspace(0.0, 1.0, _PIT_BINS + 1)
    for k, region in enumerate(REGIONS):
        ax = made.add_subplot(grid[0, k])
        pit = result["pit"].values[(result["region"].values == k)]
        pit = pit[np.isfinite(pit)]
        expected = len(pit) / _PIT_BINS
        sd = np.sqrt(expected * (1.0 - 1.0 / _PIT_BINS))
        ax.axhspan(1 - 2 * sd / expected, 1 + 2 * sd / expected, color=style.GREY, alpha=0.2, lw=0)
        count = np.histogram(pit, edges)[0]
        ax.stairs(count / expected, edges, color=_TINTS[k], lw=1.8, baseline=None)
        ax.axhline(1.0, color="black", lw=0.7)
        ax.set(xlim=(0, 1), ylim=(0.5, 1.5), title=f"{region.name} ({len(pit):,})", xlabel="PIT")
        if k == 0:
            ax.set_ylabel("density")
    for column, group in ((0, "true age"), (2, "estimated age")):
        ax = made.add_subplot(grid[1, column : column + 2])
        part = [r for r in rows if r.group == group and r.stars > 20]
        x = [np.mean([float(v) for v in r.label.split()[0].split("-")]) for r in part]
        for level, name, tint, label, fmt in (
            (0.95, "coverage95", style.ORANGE, "central 95%", "o-"),
            (0.68, "coverage68", style.BLUE, "central 68%", "o-"),
            (0.68, "coverage61", style.GREY, r"$L \geq 0.61\,L_\mathrm{max}$", "s:"),
        ):
            y = [getattr(r, name) for r in part]
            error = [np.sqrt(v * (1 - v) / r.stars) for v, r in zip(y, part, strict=True)]
            ax.axhline(level, color="black", lw=0.7)
            ax.errorbar(x, y, error, fmt=fmt, color=tint, label=label)
        ax.set(ylim=(0.4, 1.0), xlabel=f"{group}  [Gyr]")
        ax.set_ylabel("fraction of intervals with the truth")
        ax.legend(loc="lower center", ncols=3)
    return made


@in_style
def systematic_figure(tables: Mapping[str, Sequence[Coverage]]) -> Any:
    """Draw coverage and bias by region, by the family that made the stars."""
    made = new_figure(11.0, 4.4)
    left, right = made.subplots(1, 2)
    width = 0.8 / max(len(tables), 1)
    for i, (family, rows) in enumerate(tables.items()):
        part = [r for r in rows if r.group == "region"]
        x = np.arange(len(part)) + width * (i - 0.5 * (len(tables) - 1))
        tint = _TINTS[i % 6]
        left.bar(x, [r.coverage68 for r in part], 0.9 * width, color=tint, label=family)
        right.errorbar(
            x, [100 * r.median_relative_offset for r in part],
            [100 * r.relative_scatter for r in part], fmt="o", color=tint, capsize=2, label=family,
        )  # fmt: skip
    for ax in (left, right):
        ax.set_xticks(range(len(REGIONS)), [r.name for r in REGIONS])
        ax.tick_params(axis="x", which="minor", bottom=False, top=False)
    left.axhline(0.68, color="black", lw=0.9)
    left.set(ylim=(0, 1), ylabel="coverage of the central 68%")
    left.legend(title="stars made by", ncols=3, loc="upper center")
    right.axhline(0.0, color="black", lw=0.9)
    right.set(ylabel="(age − truth) / truth:  median, scatter  [%]")
    return made


@in_style
def family_figure(found: Sequence[Mapping[str, Any]]) -> Any:
    """Draw the median difference to the base family against age: rows of `pairs`."""
    samples = list(dict.fromkeys(p["sample"] for p in found))
    columns = min(len(samples), 4)
    lines = -(-len(samples) // columns)
    made = new_figure(3.4 * columns, 3.1 * lines + 0.5)
    axes = np.atleast_1d(made.subplots(lines, columns, sharex=True, sharey=True)).ravel()
    centres = 0.5 * (np.array(AGE_BINS[:-1]) + np.array(AGE_BINS[1:]))
    families = list(dict.fromkeys(p["family"] for p in found))
    for ax, sample in zip(axes, samples, strict=False):
        ax.axhline(0.0, color="black", lw=0.8)
        for p in (p for p in found if p["sample"] == sample):
            k = families.index(p["family"])
            bins = zip(centres + 0.12 * (k - 2), p["by_age"].values(), strict=True)
            rows = [(x, s.median, s.median_error) for x, s in bins if s.count >= 5]
            look = {"fmt": "osD^v"[k % 5] + "-", "ms": 4, "color": _TINTS[k % 6]}
            ax.errorbar(*np.reshape(rows, (-1, 3)).T, label=p["family"], **look)
        ax.set_title(sample_label(sample))
    for ax in axes[len(samples) :]:
        ax.set_visible(False)
    made.supxlabel("mean of the two ages [Gyr]")
    made.supylabel(f"age − {found[0]['base']} age [Gyr]")
    handles, labels = axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return made


@in_style
def explain_figure(explained: Mapping[str, Mapping[str, Spread]]) -> Any:
    """Draw Dartmouth − PARSEC by set of choices and sample, from `explain`."""
    paper = aims.PAPER_DARTMOUTH_MINUS_PARSEC
    made = new_figure(9.5, 0.55 * len(explained) + 1.2)
    ax = made.add_subplot()
    samples = list(next(iter(explained.values())))
    for i, by_sample in enumerate(explained.values()):
        for k, sample in enumerate(samples):
            s = by_sample[sample]
            y = i + 0.11 * (k - 0.5 * (len(samples) - 1))
            ax.errorbar(
                s.median, y, xerr=s.median_error, fmt="osD^vPX"[k % 7], ms=5, color=_TINTS[k % 7],
                label=sample_label(sample) if i == 0 else None,
            )  # fmt: skip
        if i:
            ax.axhline(i - 0.5, color=style.GREY, lw=0.4)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.axvline(paper, color="black", lw=1.2, ls="--", label=f"the paper: {paper} Gyr")
    ax.set_xlabel("Dartmouth − PARSEC age, median [Gyr]")
    _name_rows(ax, list(explained))
    return made
