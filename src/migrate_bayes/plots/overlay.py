"""The same measurement several ways on the same axes: potentials, solar parameters, samples.

The counterpart of figures 11, 12 and 13 of Vickers, Shen & Li (2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.plots.gradient import Points, draw_gradient, gradient_label
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

__all__ = ["VariantCurve", "variant_figure"]

_TINTS = (ORANGE, BLUE, GREEN, VERMILION, PURPLE, SKY, "black", GREY)
_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
# Bands of more than these hide one another.
_BANDS = 4


class VariantCurve(NamedTuple):
    """A variant: its name, its baseline, and its hierarchical curve where it was fitted.

    `ages` (Gyr), and `low`, `middle`, `high` (dex/kpc): quantiles 16, 50 and 84%. `tint` and `dash`
    number the colour and the dashes, where variants are of two factors; else each has its colour.
    """

    label: str
    baseline: xr.Dataset | None = None
    ages: NDArray[np.float64] | None = None
    low: NDArray[np.float64] | None = None
    middle: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    tint: int | None = None
    dash: int = 0


@in_style
def variant_figure(
    variants: Sequence[VariantCurve],
    *,
    fit: xr.DataTree | None = None,
    component: str = "thin",
    truth: Mapping[str, float] | None = None,
    methods: Sequence[str] = ("odr+scatter",),
    symbol: str = "",
) -> Any:
    """Draw gradient(age) of each variant, points and, where it was fitted, curve.

    Up to four curves have their bands; of more the first one alone, so that they can be told apart.

    Parameters
    ----------
    variants : sequence of VariantCurve
    fit : xarray.DataTree, optional
        The run's own, whose band stands behind.
    component : {"thin", "thick"}
    truth : mapping, optional
    methods : sequence of {"odr", "odr+scatter"}
        Of the baselines.
    symbol : str
        Of the radius, in TeX; the fit's or the baseline's where not given.
    """
    made = figure(8.2, 5.2)
    ax = made.add_subplot()
    points: list[Points] = []
    middle = 0.5 * (len(variants) - 1)
    fitted = [k for k, v in enumerate(variants) if v.middle is not None]
    banded = fitted if len(fitted) <= _BANDS else fitted[:1]
    for k, one in enumerate(variants):
        label = one.label
        tint = _TINTS[(k if one.tint is None else one.tint) % len(_TINTS)]
        if k in banded:
            ax.fill_between(one.ages, one.low, one.high, color=tint, alpha=0.25, lw=0)
        if one.middle is not None:
            ax.plot(
                one.ages,
                one.middle,
                color=tint,
                ls=_DASHES[one.dash % len(_DASHES)],
                label=label if one.baseline is None else None,
            )
        if one.baseline is not None:
            # Side by side, so that bars do not hide one another.
            shift = (k - middle) * min(0.12, 0.6 / max(len(variants), 1))
            data = one.baseline.assign_coords(
                age_bin=("age_bin", one.baseline["age_bin"].values + shift)
            )
            tints = dict.fromkeys(methods, tint)
            # The ages in a bin spread alike in all: bars of the first are enough.
            if len(methods) > 1:
                points.append(Points(data, f", {label}", tints, spread=not points))
            else:
                points.append(
                    Points(data, colours=tints, label=label, line=True, spread=not points)
                )
    draw_gradient(ax, fit, points, truth, components=(component,), paper=(component,), legend=False)
    shown = [v.baseline for v in variants if v.baseline is not None]
    ax.set_ylabel(gradient_label(fit, shown[0] if shown else None, symbol=symbol))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=10)
    return made
