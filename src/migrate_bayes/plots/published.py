"""Our columns against published ones, star by star."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.plots.style import BLUE, VERMILION, figure, in_style

__all__ = ["ComparisonPanel", "comparison_figure"]

_SYMBOLS = {
    "rg_mean": r"$R_\mathrm{g}$", "zmax": r"$Z_\mathrm{max}$", "r_peri": r"$r_\mathrm{peri}$",
    "r_apo": r"$r_\mathrm{apo}$", "eccentricity": "$e$", "age_median": "age",
}  # fmt: skip


class ComparisonPanel(NamedTuple):
    """One quantity: names of our column and theirs, unit, and values (star).

    `again` is ours from their own phase space, where that was integrated.
    """

    name: str
    reference: str
    unit: str
    theirs: NDArray[np.float64]
    ours: NDArray[np.float64]
    again: NDArray[np.float64] | None


@in_style
def comparison_figure(panels: Sequence[ComparisonPanel]) -> Any:
    """Draw each quantity against its published value, and below it what their own start gives."""
    if not panels:
        return None
    n = len(panels)
    two = any(p.again is not None for p in panels)
    made = figure(2.6 * n, 5.4 if two else 2.9)
    axes = made.subplots(2 if two else 1, n, squeeze=False)
    for column, panel in enumerate(panels):
        unit = f"  [{panel.unit}]" if panel.unit else ""
        symbol = _SYMBOLS.get(panel.name, panel.name)
        theirs = np.abs(panel.theirs) if panel.name == "rg_mean" else panel.theirs
        finite = np.isfinite(theirs) & np.isfinite(panel.ours)
        shown = np.concatenate([theirs[finite], panel.ours[finite]])
        low, high = np.percentile(shown, [0.3, 99.0]) if shown.size else (0.0, 1.0)
        pad = 0.05 * (high - low)
        limits = (low - pad, high + pad)
        for row, values, colour in ((0, panel.ours, BLUE), (1, panel.again, VERMILION)):
            if row >= axes.shape[0]:
                continue
            ax = axes[row, column]
            if values is None:
                ax.set_axis_off()
                continue
            ax.plot(limits, limits, color="0.3", lw=0.9, zorder=1)
            ax.plot(theirs, values, ".", ms=3.0, mew=0, color=colour, alpha=0.6, zorder=2)
            ax.set(xlim=limits, ylim=limits, aspect="equal")
            ax.set_xlabel(f"{symbol}, published{unit}")
            ax.set_ylabel(f"{symbol}{', their start' if row else ''}{unit}")
            ax.locator_params(nbins=4)
    return made
