"""Slices of the survey side by side: gradient(age), chemistry and orbits of each.

The counterpart of figures 9 and 10 of Vickers, Shen & Li (2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import xarray as xr

from migrate_bayes.plots.density import FEW
from migrate_bayes.plots.disc import Limits, Plane, draw_chemistry_panel, draw_orbit_panel
from migrate_bayes.plots.gradient import Points, draw_gradient, gradient_label
from migrate_bayes.plots.style import figure, in_style

__all__ = ["SlicePanel", "slice_figure"]


class SlicePanel(NamedTuple):
    """One slice: its heading, its stars, its baseline, and why there is none where there is none.

    `stars` is the whole slice's; the fit's bands are of the whole survey and the same in all.
    """

    title: str
    stars: Plane
    baseline: xr.Dataset | None
    why: str = ""


@in_style
def slice_figure(
    slices: Sequence[SlicePanel],
    limits: Limits,
    *,
    fit: xr.DataTree | None = None,
    symbol: str = r"R_\mathrm{g}",
) -> Any:
    """Draw a column per slice.

    Parameters
    ----------
    slices : sequence of SlicePanel
    limits : Limits
        Of the planes.
    fit : xarray.DataTree, optional
        Its bands of both discs, for reference.
    symbol : str
        Of the radius, in TeX.
    """
    n = len(slices)
    made = figure(0.9 + 3.1 * n, 8.6)
    axes = made.subplots(
        3, n, squeeze=False, sharex="row", sharey="row", height_ratios=(1.25, 1, 1)
    )
    few = max(len(s.stars.feh) for s in slices) <= FEW
    low, high = 0.0, 0.0
    for k, one in enumerate(slices):
        top, middle, bottom = axes[:, k]
        points = [] if one.baseline is None else [Points(one.baseline, line=True)]
        draw_gradient(top, fit, points, legend=False)
        bottom_now, top_now = top.get_ylim()
        low, high = min(low, bottom_now), max(high, top_now)
        if one.why:
            top.text(
                0.5, 0.06, one.why, transform=top.transAxes, ha="center", fontsize=10, wrap=True
            )
        top.set_title(one.title, fontsize=11)
        draw_chemistry_panel(middle, one.stars, limits, few=few)
        draw_orbit_panel(bottom, one.stars, limits, few=few)
        middle.set_xlabel("[Fe/H]  [dex]")
        bottom.set_xlabel(rf"${symbol}$  [kpc]")
        middle.text(
            0.96, 0.9, f"N = {len(one.stars.feh):,}", transform=middle.transAxes, ha="right",
            fontsize=10,
        )  # fmt: skip
    axes[0, 0].set_ylim(low, high)
    first = next((s.baseline for s in slices if s.baseline is not None), None)
    axes[0, 0].set_ylabel(gradient_label(fit, first))
    axes[1, 0].set_ylabel(r"[$\alpha$/Fe]  [dex]")
    axes[2, 0].set_ylabel(r"$Z_\mathrm{max}$  [kpc]")
    entries: dict[str, Any] = {}
    for ax in axes[0]:
        entries.update(
            {label: line for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        )
    if entries:
        made.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=4)
    return made
