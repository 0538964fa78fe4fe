"""Families against Dartmouth by age, and what could set Dartmouth and PARSEC apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from migrate_bayes.checks.ages.families import AGE_BINS, FamilyPair, sample_label
from migrate_bayes.checks.ages.statistics import Spread
from migrate_bayes.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    figure,
    in_style,
)

__all__ = ["explain_figure", "family_figure"]

_TINTS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, "black")


@in_style
def family_figure(found: Sequence[FamilyPair]) -> Any:
    """Draw the median difference to the base family against age, a panel per sample.

    Parameters
    ----------
    found : sequence of FamilyPair
        From `pairs`.
    """
    samples = list(dict.fromkeys(p.sample for p in found))
    columns = min(len(samples), 4)
    rows = -(-len(samples) // columns)
    made = figure(3.4 * columns, 3.1 * rows + 0.5)
    axes = np.atleast_1d(made.subplots(rows, columns, sharex=True, sharey=True)).ravel()
    centres = 0.5 * (np.array(AGE_BINS[:-1]) + np.array(AGE_BINS[1:]))
    families = list(dict.fromkeys(p.family for p in found))
    for ax, sample in zip(axes, samples, strict=False):
        ax.axhline(0.0, color="black", lw=0.8)
        for p in (p for p in found if p.sample == sample):
            k = families.index(p.family)
            has = np.array([s.count >= 5 for s in p.by_age])
            y = np.array([s.median for s in p.by_age])
            error = np.array([s.median_error for s in p.by_age])
            ax.errorbar(
                centres[has] + 0.12 * (k - 2), y[has], error[has], fmt="osD^v"[k % 5] + "-", ms=4,
                color=_TINTS[k % 6], label=p.family,
            )  # fmt: skip
        ax.set_title(sample_label(sample))
    for ax in axes[len(samples) :]:
        ax.set_visible(False)
    made.supxlabel("mean of the two ages [Gyr]")
    made.supylabel(f"age − {found[0].base} age [Gyr]")
    handles, labels = axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return made


@in_style
def explain_figure(explained: Mapping[str, Mapping[str, Spread]], paper: float) -> Any:
    """Draw Dartmouth − PARSEC by set of choices and sample, against what the paper reports.

    Parameters
    ----------
    explained : mapping
        From `explain`.
    paper : float
        Gyr.
    """
    made = figure(9.5, 0.55 * len(explained) + 1.2)
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
            ax.axhline(i - 0.5, color=GREY, lw=0.4)
    ax.axvline(0.0, color="black", lw=0.8)
    ax.axvline(paper, color="black", lw=1.2, ls="--", label=f"the paper: {paper} Gyr")
    ax.set_yticks(range(len(explained)), list(explained))
    ax.tick_params(axis="y", which="minor", left=False, right=False)
    ax.set(ylim=(len(explained) - 0.5, -0.5), xlabel="Dartmouth − PARSEC age, median [Gyr]")
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return made
