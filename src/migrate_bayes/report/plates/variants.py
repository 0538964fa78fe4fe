"""The robustness figures: potentials and solar parameters.

Both are drawn from the run's own potentials or sweep, and from comparisons, where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.report.data import ReportData
from migrate_bayes.report.figures import VariantCurve, variant_figure
from migrate_bayes.report.pictures import Picture, encode
from migrate_bayes.report.plates.gradients import BANDS, POINTS

__all__ = ["potentials", "solar"]

# The paper overplots a handful; a sweep of dozens would be a thicket.
_MOST = 8


def potentials(d: ReportData) -> Picture | str | None:
    """Figure 11 of the paper."""
    own = [v for v in _own(d) if v[1] == "potential"]
    return _drawn(
        d, own, "potential",
        "the run has orbits in one potential: name others in [orbits] potentials, or compare them "
        "as runs/potentials.toml does",
        "The thin-disc sample in other potentials; the stars are the same, their guiding radii "
        "differ. ",
    )  # fmt: skip


def solar(d: ReportData) -> Picture | str | None:
    """Figure 12 of the paper."""
    own = [v for v in _own(d) if v[1] == "solar"]
    return _drawn(
        d, own, "solar",
        "the run has one solar frame: sweep R0 and V0 as runs/solar.toml does",
        "The thin-disc sample for other distances of the Sun from the centre (kpc) and circular "
        "speeds (km/s); the stars are the same, their guiding radii differ. ",
    )  # fmt: skip


def _own(d: ReportData) -> Iterator[tuple[VariantCurve, str]]:
    """The run's own variants, and whether they vary the potential or the solar parameters."""
    if d.variants is None or "potential" not in d.stars.dims:
        return
    known = [str(p) for p in d.stars["potential"].values]
    if d.potential not in known:
        return
    for k, name in enumerate(known):
        baseline = d.baseline_of(f"potential-{k}")
        if baseline is not None and name != d.potential:
            kind = "solar" if _same(d.stars, d.potential, name) else "potential"
            yield VariantCurve(_label(d.stars, name, kind), baseline), kind


def _at(stars: xr.Dataset, potential: str, name: str) -> Any:
    return stars[name].sel(potential=potential).values.item() if name in stars.coords else None


def _same(stars: xr.Dataset, one: str, other: str) -> bool:
    """Whether two labels are of one potential in two solar frames."""
    names = ("potential_model", "scaling")
    alike = all(_at(stars, one, n) == _at(stars, other, n) for n in names)
    return alike and any(_at(stars, one, n) != _at(stars, other, n) for n in ("r0", "v0"))


def _label(stars: xr.Dataset, potential: str, kind: str) -> str:
    if kind == "potential" or "r0" not in stars.coords:
        return potential
    r0, v0 = _at(stars, potential, "r0"), _at(stars, potential, "v0")
    return rf"$R_0$ = {r0:g}, $V_0$ = {v0:g}"


def _drawn(
    d: ReportData, own: Sequence[tuple[VariantCurve, str]], kind: str, why: str, caption: str
) -> Picture | str:
    curves = [v for v, _ in own]
    if curves and d.baseline is not None:
        curves.insert(0, VariantCurve(_label(d.stars, d.potential, kind), d.baseline))
    for tree in d.comparisons:
        if kind_of(tree) == kind:
            curves += comparison_curves(tree)
    if not curves:
        return why
    left_out = max(len(curves) - _MOST, 0)
    if left_out:
        # The first, and others evenly from the rest.
        at = np.unique(np.linspace(0, len(curves) - 1, _MOST).round().astype(int))
        curves = [curves[i] for i in at]
        caption += f"{left_out} further variants are not drawn. "
    made = variant_figure(curves, fit=d.fit, truth=d.truth)
    return encode(
        made,
        f"Gradient against age by {'potential' if kind == 'potential' else 'solar parameters'}",
        caption
        + "Baseline with intrinsic scatter, dashed the straight line through its points. "
        + (BANDS if d.fit is not None else "")
        + POINTS
        + ("Bands of comparisons hold 68%." if any(v.middle is not None for v in curves) else ""),
    )


def kind_of(tree: xr.DataTree) -> str:
    """Say what a comparison varies: ``potential``, ``solar`` or something else (empty)."""
    if "curve" not in tree.children:
        return ""
    curve = tree["curve"].to_dataset()

    def varies(name: str) -> bool:
        return name in curve.coords and len(np.unique(curve[name].values)) > 1

    if varies("potential"):
        return "potential"
    return "solar" if varies("r0") or varies("v0") else ""


def comparison_curves(tree: xr.DataTree, component: str = "thin") -> list[VariantCurve]:
    """Gather the curves of a comparison, mean and standard deviation in its group ``curve``."""
    curve = tree["curve"].to_dataset().sel(component=component)
    found = []
    for name in curve["variant"].values:
        mean, sd = (curve[v].sel(variant=name).values for v in ("mean", "sd"))
        found.append(VariantCurve(str(name), None, curve["age"].values, mean - sd, mean, mean + sd))
    return found
