"""Gradient against age: the result, each disc, slices, other samples, radii, potentials, frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes import plots
from migrate_bayes.baseline import ALPHA_SLICES, ZMAX_SLICES, why_absent
from migrate_bayes.plots.compared import comparison_curves, solar_label
from migrate_bayes.plots.planes import limits_of
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.section import Image, NotDrawnError, encode
from migrate_bayes.selection import SELECTIONS

BANDS = "Bands hold 68% and 95% of the hierarchical posterior. "
POINTS = (
    "Points are the baseline's age bins: horizontal bars the 68% interval of the error-expanded "
    "ages, vertical bars 1σ; bins with very large errors do not set the axis. "
)
PAPER = "Dash-dotted: as Vickers, Shen & Li (2021) state it. "


WELL_KNOWN = 0.1
"""A slope of a larger error, dex/kpc, says nothing of a published one."""


def well_known(baseline: xr.Dataset) -> NDArray[np.bool_]:
    """Return which age bins have a slope worth holding against the paper's."""
    of = baseline.sel(regression="odr+scatter")
    return np.isfinite(of["slope"].values) & (of["slope_error"].values < WELL_KNOWN)


def result(d: RunProducts) -> Image | None:
    """Hierarchical gradient(age) of both discs over both baselines."""
    if d.fit is None and d.baseline is None:
        return None
    return encode(
        plots.gradient(d.fit, d.baseline, thick_baseline=d.thick_baseline, truth=d.truth),
        "Metallicity gradient against stellar age",
        f"Metallicity gradient against age. {BANDS if d.fit is not None else ''}{POINTS}Age errors "
        "mix neighbouring bins; the hierarchical model allows for them.",
    )


def radial(d: RunProducts) -> Image:
    """[Fe/H] against radius of the fitted stars, age by age."""
    fitted = d.columns["fitted"].values
    d.require("radius", "feh", "age", mask=fitted)
    stars = d.columns.isel(star=fitted)
    return encode(
        plots.metallicity_radius(stars, d.baseline, fit=d.fit),
        "Metallicity against Galactocentric radius in bins of age",
        "[Fe/H] against radius of all fitted stars by maximum-likelihood age"
        + (", weighted by P(thin disc)" if "p_thin" in stars else "")
        + ("; the hierarchical line is at the bin's centre, its band 68%." if d.fit else "."),
    )


def disc(d: RunProducts, component: str) -> Image:
    """Figures 6 and 7 of the paper: the thin and the thick disc."""
    baseline = d.baseline if component == "thin" else d.thick_baseline
    if baseline is None:
        raise NotDrawnError(
            f"no baseline of a {component} disc: its selection holds no star that can be fitted, "
            "or the recipe asks for none"
        )
    selection = str(baseline.attrs.get("selection", component))
    mask = d.chosen(selection)
    d.require("radius", "feh", "age", mask=mask, within=f" in selection '{selection}'")
    stars = d.columns.isel(star=mask)
    if not np.isfinite(baseline["slope"].values).any():
        fewest = int(baseline.attrs.get("min_stars", 0))
        raise NotDrawnError(
            f"selection '{selection}' holds {int(mask.sum()):,} stars{_reach(stars)}, and no age "
            f"bin has the {fewest} with radii apart that a gradient needs. What the hierarchical "
            f"model, which weighs all stars by membership, says of the {component} disc stands in "
            "the first figure"
        )
    look: dict[str, Any] = {"component": component, "limits": limits_of(d.columns)}
    potential = f", {d.potential}" if d.potential else ""
    return encode(
        plots.disc(stars, baseline, fit=d.fit, truth=d.truth, **look),
        f"The {component} disc: gradient against age, chemistry, orbits, radius by age",
        f"The {component} disc by selection '{selection}' ({mask.sum():,} stars{potential}). Top "
        f"left: gradient against age. {BANDS if d.fit else ''}{POINTS}Dashed: the straight line "
        f"through them. {PAPER if not d.truth else ''}Below: chemistry with the dividing lines, "
        "and Z_max against radius. Right: [Fe/H] against radius by maximum-likelihood age; "
        "contours at 5, 25, 50, 75 and 95% of the greatest density. Axes hold all usable stars.",
    )


def _reach(stars: xr.Dataset) -> str:
    """Word the radii of some stars: a survey that does not reach far has no gradient."""
    radii = stars["radius"].values[np.isfinite(stars["radius"].values)]
    if not len(radii):
        return ""
    low, high = np.percentile(radii, [5, 95])
    return f", nine in ten of them at radii of {low:.1f} to {high:.1f} kpc"


def high_quality(d: RunProducts) -> Image:
    """Figure 13 of the paper."""
    return _two(
        d, "high-quality", "all stars of the sample", "high quality",
        "The thin-disc sample against its high-quality part: age error below 10%, and T_eff > 5750 "
        "K, or log g < 4 and T_eff > 5250 K. ",
    )  # fmt: skip


def present_radius(d: RunProducts) -> Image:
    """The U shape of the paper's section 3.1: gradient against the present radius."""
    names = {"rg": r"$R_\mathrm{g}$", "r_present": r"$R_\mathrm{present}$"}
    other = "rg" if d.radius == "r_present" else "r_present"
    if (found := d.variant(other)) is not None and not well_known(found).any():
        raise NotDrawnError(
            "the stars are too near each other: in no age bin is the slope in that radius known to "
            f"{WELL_KNOWN:g} dex/kpc"
        )
    return _two(
        d, other, names.get(d.radius, d.radius), names[other],
        "The same stars against the guiding radius and the present one. In R_present the paper "
        "finds a U: about −0.08, −0.11 and −0.08 dex/kpc at young, intermediate and old ages. ",
        symbol="R",
    )  # fmt: skip


def _two(
    d: RunProducts, name: str, first: str, second: str, caption: str, *, symbol: str = ""
) -> Image:
    """Two baselines on the same axes, over the fit's band."""
    found = d.variant(name)
    if found is None:
        raise NotDrawnError(why_absent(d.variants, name))
    if d.baseline is None:
        raise NotDrawnError("no baseline of the thin disc to hold it against")
    n, of = (int(b["n_stars"].sum()) for b in (found, d.baseline))
    curves = [plots.Curve(first, d.baseline), plots.Curve(second, found)]
    look: dict[str, Any] = {"methods": ("odr+scatter", "odr"), "symbol": symbol}
    return encode(
        plots.overlay(curves, fit=d.fit, truth=d.truth, **look),
        f"Gradient against age: {name} sample beside the whole",
        f"{caption}{n:,} of {of:,} stars. {BANDS if d.fit is not None else ''}{POINTS}",
    )


_SLICES = {
    "zmax": ("zmax", ZMAX_SLICES, "Z_max", "from vertically cold orbits to hot ones"),
    "alpha": ("alpha_fe", ALPHA_SLICES, "chemistry", "from α-poor stars to α-rich ones"),
}


def slices(d: RunProducts, kind: str) -> Image:
    """Figures 9 and 10 of the paper: slices in Z_max and in chemistry."""
    column, names, what, order = _SLICES[kind]
    d.require(column, "radius", "feh")
    if d.variants is None:
        raise NotDrawnError(why_absent(None, ""))
    samples: dict[str, tuple[xr.Dataset, xr.Dataset | None]] = {}
    thin = []
    for name in names:
        samples[_title(name)] = d.columns.isel(star=d.chosen(name)), d.variant(name)
        if why := why_absent(d.variants, name):
            short = why.split(": ")[-1] if len(why) > 120 else why
            thin.append(f"{SELECTIONS[name].description}: {short}")
    if all(baseline is None for _, baseline in samples.values()):
        counts = ", ".join(f"{stars.sizes['star']:,}" for stars, _ in samples.values())
        raise NotDrawnError(
            f"no slice in {what} has an age bin that can be fitted ({counts} stars): {thin[0]}"
        )
    caption = (
        f"Slices in {what}, {order}. Top: gradient against age in each slice. "
        f"{BANDS if d.fit else ''}They are of the whole survey, and the same in every column. "
        f"{POINTS}Dashed: the straight line through them. Below: chemistry, with the dividing "
        "lines, and Z_max against radius."
    )
    if thin:
        caption += f" Without a baseline: {'; '.join(thin)}."
    made = plots.slices(samples, fit=d.fit, limits=limits_of(d.columns))
    return encode(made, f"Gradient against age in slices of {what}", caption)


def _title(name: str) -> str:
    """A slice's condition in mathematical type, on as many lines as it needs."""
    text = SELECTIONS[name].description
    for plain, maths in (("Z_max", r"$Z_\mathrm{max}$"), ("[α/Fe]", r"[$\alpha$/Fe]")):
        text = text.replace(plain, maths)
    words, lines = text.split(), [""]
    for word in words:
        if len(lines[-1]) + len(word) > 30 + 20 * lines[-1].count("$"):
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


# The paper overplots a handful; a sweep of dozens would be a thicket.
_MOST = 12
# Kind: what is varied, why it is absent, and what the figure shows.
_KINDS = {
    "potential": (
        "potential",
        "the run has orbits in one potential: name others in [orbits] potentials, or compare them "
        "as “migrate-bayes compare potentials” does",
        "in other potentials",
    ),
    "solar": (
        "solar parameters",
        "the run has one solar frame: sweep R0 and V0 as “migrate-bayes compare solar” does",
        "for other distances of the Sun from the centre (kpc) and circular speeds (km/s)",
    ),
}


def variants(d: RunProducts, kind: str) -> Image:
    """Figures 11 and 12 of the paper: other potentials, and other solar parameters."""
    varied, why, shows = _KINDS[kind]
    caption = f"The thin-disc sample {shows}; the stars are the same, their guiding radii differ. "
    curves = {v.label: v for v in _own(d, kind)}
    if curves and d.baseline is not None:
        label = _label(d.stars, d.potential, kind)
        curves = {label: plots.Curve(label, d.baseline)} | curves
    for tree in d.comparisons:
        for one in comparison_curves(tree, kind, reference=d.potential):
            # A variant's points and its fit are one; what two comparisons share is drawn once.
            mine = curves.get(one.label)
            if mine is None or mine.middle is None:
                curves[one.label] = one._replace(baseline=None if mine is None else mine.baseline)
    if not curves:
        raise NotDrawnError(why)
    shown = list(curves.values())
    if (left_out := len(shown) - _MOST) > 0:
        # The first, and others evenly from the rest.
        at = np.unique(np.linspace(0, len(shown) - 1, _MOST).round().astype(int))
        shown = [shown[i] for i in at]
        caption += f"{left_out} further variants are not drawn. "
    caption += "Baseline with intrinsic scatter, dashed the straight line through its points. "
    caption += (BANDS if d.fit is not None else "") + POINTS
    if any(v.middle is not None for v in shown):
        caption += "Bands of comparisons hold 68%; of more than four the first alone has its band."
    made = plots.overlay(shown, fit=d.fit, truth=d.truth)
    return encode(made, f"Gradient against age by {varied}", caption)


def _own(d: RunProducts, kind: str) -> list[plots.Curve]:
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
            found.append(plots.Curve(_label(d.stars, name, kind), baseline))
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
