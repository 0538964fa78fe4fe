"""The robustness figures: potentials and solar parameters.

Both are drawn from the run's own potentials or sweep, and from comparisons, if there are any.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.plots import Curve, overlay
from migrate_bayes.plots.compared import comparison_curves, solar_label
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.section import Image, NotDrawnError, encode
from migrate_bayes.report.sections.gradients import BANDS, POINTS

# The paper overplots a handful; a sweep of dozens would be a thicket.
_MOST = 12


def potentials(d: RunProducts) -> Image:
    """Figure 11 of the paper."""
    return _draw(
        d, "potential",
        "the run has orbits in one potential: name others in [orbits] potentials, or compare them "
        "as runs/potentials.toml does",
        "The thin-disc sample in other potentials; the stars are the same, their guiding radii "
        "differ. ",
    )  # fmt: skip


def solar(d: RunProducts) -> Image:
    """Figure 12 of the paper."""
    return _draw(
        d, "solar",
        "the run has one solar frame: sweep R0 and V0 as runs/solar.toml does",
        "The thin-disc sample for other distances of the Sun from the centre (kpc) and circular "
        "speeds (km/s); the stars are the same, their guiding radii differ. ",
    )  # fmt: skip


def _draw(d: RunProducts, kind: str, why: str, caption: str) -> Image:
    curves = {v.label: v for v in _own(d, kind)}
    if curves and d.baseline is not None:
        label = _label(d.stars, d.potential, kind)
        curves = {label: Curve(label, d.baseline)} | curves
    for tree in d.comparisons:
        for one in comparison_curves(tree, kind, reference=d.potential):
            # A variant's points and its fit are one; what two comparisons share is drawn once.
            mine = curves.get(one.label)
            if mine is None or mine.middle is None:
                curves[one.label] = one._replace(baseline=None if mine is None else mine.baseline)
    if not curves:
        raise NotDrawnError(why)
    shown = list(curves.values())
    left_out = max(len(shown) - _MOST, 0)
    if left_out:
        # The first, and others evenly from the rest.
        at = np.unique(np.linspace(0, len(shown) - 1, _MOST).round().astype(int))
        shown = [shown[i] for i in at]
        caption += f"{left_out} further variants are not drawn. "
    caption += "Baseline with intrinsic scatter, dashed the straight line through its points. "
    caption += (BANDS if d.fit is not None else "") + POINTS
    if any(v.middle is not None for v in shown):
        caption += "Bands of comparisons hold 68%; of more than four the first alone has its band."
    varied = "potential" if kind == "potential" else "solar parameters"
    made = overlay(shown, fit=d.fit, truth=d.truth)
    return encode(made, f"Gradient against age by {varied}", caption)


def _own(d: RunProducts, kind: str) -> list[Curve]:
    """The run's own variants of the potential or of the solar parameters."""
    if d.variants is None or "potential" not in d.stars.dims:
        return []
    known = [str(p) for p in d.stars["potential"].values]
    if d.potential not in known:
        return []
    found = []
    for k, name in enumerate(known):
        baseline = d.variant(f"potential-{k}")
        if baseline is None or name == d.potential:
            continue
        if ("solar" if _one_model(d.stars, d.potential, name) else "potential") == kind:
            found.append(Curve(_label(d.stars, name, kind), baseline))
    return found


def _at(stars: xr.Dataset, potential: str, name: str) -> Any:
    return stars[name].sel(potential=potential).values.item() if name in stars.coords else None


def _one_model(stars: xr.Dataset, one: str, other: str) -> bool:
    """Whether two labels are of one potential in two solar frames."""
    names = ("potential_model", "scaling")
    alike = all(_at(stars, one, n) == _at(stars, other, n) for n in names)
    return alike and any(_at(stars, one, n) != _at(stars, other, n) for n in ("r0", "v0"))


def _label(stars: xr.Dataset, potential: str, kind: str) -> str:
    if kind == "potential" or "r0" not in stars.coords:
        return potential
    return solar_label(_at(stars, potential, "r0"), _at(stars, potential, "v0"))
