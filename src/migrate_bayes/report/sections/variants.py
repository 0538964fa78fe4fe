"""The robustness figures: potentials and solar parameters.

Both are drawn from the run's own potentials or sweep, and from comparisons, where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.plots import VariantCurve, variant_figure
from migrate_bayes.report.data import ReportData
from migrate_bayes.report.image import Picture, encode
from migrate_bayes.report.sections.gradients import BANDS, POINTS

__all__ = ["potentials", "solar"]

# The paper overplots a handful; a sweep of dozens would be a thicket.
_MOST = 12


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
    return _solar_label(r0, v0)


def _solar_label(r0: float, v0: float) -> str:
    return rf"$R_0$ = {r0:g}, $V_0$ = {v0:g}"


def _drawn(
    d: ReportData, own: Sequence[tuple[VariantCurve, str]], kind: str, why: str, caption: str
) -> Picture | str:
    curves = {v.label: v for v, _ in own}
    if curves and d.baseline is not None:
        label = _label(d.stars, d.potential, kind)
        curves = {label: VariantCurve(label, d.baseline)} | curves
    for tree in d.comparisons:
        for one in comparison_curves(tree, kind, reference=d.potential):
            # A variant's points and its fit are one; what two comparisons share is drawn once.
            mine = curves.get(one.label)
            if mine is None or mine.middle is None:
                curves[one.label] = one._replace(baseline=None if mine is None else mine.baseline)
    return _picture(d, list(curves.values()), kind, why, caption)


def _picture(
    d: ReportData, curves: list[VariantCurve], kind: str, why: str, caption: str
) -> Picture | str:
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
        + (
            "Bands of comparisons hold 68%; of more than four the first alone has its band."
            if any(v.middle is not None for v in curves)
            else ""
        ),
    )


_SOLAR = {"r0", "v0"}
#: What each figure varies, and what may differ with it.
_VARIED = {"potential": ({"potential", "scaling"}, _SOLAR), "solar": (_SOLAR, set())}


def comparison_curves(
    tree: xr.DataTree, kind: str, *, reference: str = "reference", component: str = "thin"
) -> list[VariantCurve]:
    """Gather a comparison's variants in potential or solar parameters, from its group ``curve``.

    Parameters
    ----------
    tree : xarray.DataTree
        From `migrate_bayes.compare`; its first variant is the reference.
    kind : {"potential", "solar"}
        ``"potential"``: other potentials and scalings, with what solar parameters go with them.
    reference : str
        What the reference is called among potentials.

    Returns
    -------
    list of VariantCurve
        The reference first; empty where no variant is of this kind.
    """
    if "curve" not in tree.children:
        return []
    curve = tree["curve"].to_dataset().sel(component=component)
    factors = [c for c in curve.coords if c != "variant" and curve[c].dims == ("variant",)]
    level = {str(f): [str(v) for v in curve[f].values] for f in factors}
    varied, along = _VARIED[kind]
    # Solar parameters are two factors: colours are speeds, dashes are distances.
    order = {f: list(dict.fromkeys(v)) for f, v in level.items() if f in _VARIED["solar"][0]}
    found = []
    for k in range(curve.sizes["variant"]):
        one = curve.isel(variant=k)
        differs = {f for f, values in level.items() if values[k] != values[0]}
        if k and not (differs & varied and differs <= varied | along):
            continue
        mean, sd = one["mean"].values, one["sd"].values
        label = str(one["variant"].item())
        tint, dash = None, 0
        if kind == "solar":
            label = _solar_label(one["r0"].item(), one["v0"].item())
            tint, dash = (order[f].index(level[f][k]) for f in ("v0", "r0"))
        elif not k:
            label = reference
        values = (curve["age"].values, mean - sd, mean, mean + sd)
        found.append(VariantCurve(label, None, *values, tint, dash))
    return found if len(found) > 1 else []
