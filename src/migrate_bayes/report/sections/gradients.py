"""Gradient against age: the result, each disc whole, the stricter sample, the present radius."""

from __future__ import annotations

import numpy as np
import xarray as xr

from migrate_bayes.plots import (
    Plane,
    VariantCurve,
    disc_figure,
    gradient_figure,
    limits_of,
    radial_figure,
    variant_figure,
)
from migrate_bayes.report.data import ReportData
from migrate_bayes.report.image import Picture, picture

__all__ = ["high_quality", "present_radius", "radial", "result", "thick_disc", "thin_disc"]

BANDS = "Bands hold 68% and 95% of the hierarchical posterior. "
POINTS = (
    "Points are the baseline's age bins: horizontal bars the 68% interval of the error-expanded "
    "ages, vertical bars 1σ; bins with very large errors do not set the axis. "
)
PAPER = "Dash-dotted: as Vickers, Shen & Li (2021) state it. "


def result(d: ReportData) -> Picture | str | None:
    """Hierarchical gradient(age) of both discs over both baselines."""
    if d.fit is None and d.baseline is None:
        return None
    return picture(
        gradient_figure(d.fit, d.baseline, d.truth, thick_baseline=d.thick_baseline),
        "Metallicity gradient against stellar age",
        "Metallicity gradient against age. "
        + (BANDS if d.fit is not None else "")
        + POINTS
        + "Age errors mix neighbouring bins; the hierarchical model allows for them.",
        wide=True,
    )


def radial(d: ReportData) -> Picture | str | None:
    """[Fe/H] against radius of the fitted stars, age by age."""
    if why := d.lacks("radius", "feh", "age", mask=d.columns.fitted):
        return why
    edges = np.arange(1.0, 12.26, 1.25) if d.baseline is None else _edges(d.baseline)
    c, here = d.columns, d.columns.fitted
    p = None if c.p_thin is None else c.p_thin[here]
    return picture(
        radial_figure(
            d.where[here], c.feh[here], c.age[here], edges, weight=p, baseline=d.baseline,
            fit=d.fit, symbol=d.symbol,
        ),
        "Metallicity against Galactocentric radius in bins of age",
        "[Fe/H] against radius of all fitted stars by maximum-likelihood age"
        + (", weighted by P(thin disc)" if p is not None else "")
        + ("; the hierarchical line is at the bin's centre, its band 68%." if d.fit else "."),
        wide=True,
    )  # fmt: skip


def thin_disc(d: ReportData) -> Picture | str | None:
    """Figure 6 of the paper."""
    return _disc(d, d.baseline, "thin")


def thick_disc(d: ReportData) -> Picture | str | None:
    """Figure 7 of the paper."""
    return _disc(d, d.thick_baseline, "thick")


def _disc(d: ReportData, baseline: xr.Dataset | None, component: str) -> Picture | str:
    if baseline is None:
        return (
            f"no baseline of a {component} disc: its selection holds no star that can be fitted, "
            "or the recipe asks for none"
        )
    selection = str(baseline.attrs.get("selection", component))
    mask = d.chosen(selection)
    if isinstance(mask, str):
        return mask
    if why := d.lacks("radius", "feh", "age", mask=mask):
        return f"{why} in selection '{selection}'"
    if not np.isfinite(baseline["slope"].values).any():
        fewest = int(baseline.attrs.get("min_stars", 0))
        return (
            f"selection '{selection}' holds {int(mask.sum()):,} stars{_where(d, mask)}, and no age "
            f"bin has the {fewest} with radii apart that a gradient needs. What the hierarchical "
            f"model, which weighs all stars by membership, says of the {component} disc stands in "
            "the first figure"
        )
    stars = d.plane(mask)
    caption = (
        f"The {component} disc by selection '{selection}' ({mask.sum():,} stars"
        f"{_potential(d)}). Top left: gradient against age. {BANDS if d.fit else ''}{POINTS}"
        f"Dashed: the straight line through them. {PAPER if not d.truth else ''}"
        "Below: chemistry with the dividing lines, and Z_max against radius. Right: [Fe/H] against "
        "radius by maximum-likelihood age; contours at 5, 25, 50, 75 and 95% of the greatest "
        "density. Axes hold all usable stars."
    )
    return picture(
        disc_figure(
            stars, limits_of(everyone(d)), baseline, fit=d.fit, component=component, truth=d.truth,
            symbol=d.symbol,
        ),
        f"The {component} disc: gradient against age, chemistry, orbits, radius by age",
        caption,
        wide=True,
    )  # type: ignore[return-value]  # fmt: skip


def everyone(d: ReportData) -> Plane:
    """Return the planes of all usable stars, whose limits the composite figures share."""
    return d.plane(np.ones(len(d.columns.rows), dtype=bool))


def high_quality(d: ReportData) -> Picture | str | None:
    """Figure 13 of the paper."""
    return _two(
        d, "high-quality", "all stars of the sample", "high quality",
        "The thin-disc sample against its high-quality part: age error below 10%, and T_eff > 5750 "
        "K, or log g < 4 and T_eff > 5250 K. ",
    )  # fmt: skip


def present_radius(d: ReportData) -> Picture | str | None:
    """The U shape of the paper's section 3.1: gradient against the present radius."""
    names = {"rg": r"$R_\mathrm{g}$", "r_present": r"$R_\mathrm{present}$"}
    other = "rg" if d.radius == "r_present" else "r_present"
    return _two(
        d, other, names.get(d.radius, d.radius), names[other],
        "The same stars against the guiding radius and the present one. In R_present the paper "
        "finds a U: about −0.08, −0.11 and −0.08 dex/kpc at young, intermediate and old ages. ",
        symbol="R",
    )  # fmt: skip


def _two(
    d: ReportData, name: str, first: str, second: str, caption: str, *, symbol: str = ""
) -> Picture | str:
    """Two baselines on the same axes, over the fit's band."""
    from migrate_bayes.baseline import why_absent

    found = d.baseline_of(name)
    if found is None:
        return why_absent(d.variants, name)
    if d.baseline is None:
        return "no baseline of the thin disc to hold it against"
    n = int(found["n_stars"].sum())
    made = variant_figure(
        [VariantCurve(first, d.baseline), VariantCurve(second, found)],
        fit=d.fit, truth=d.truth, methods=("odr+scatter", "odr"), symbol=symbol,
    )  # fmt: skip
    return picture(
        made,
        f"Gradient against age: {name} sample beside the whole",
        f"{caption}{n:,} of {int(d.baseline['n_stars'].sum()):,} stars. "
        + (BANDS if d.fit is not None else "")
        + POINTS,
        wide=True,
    )  # type: ignore[return-value]


def _edges(baseline: xr.Dataset) -> np.ndarray:
    return np.append(baseline["age_lo"].values, baseline["age_hi"].values[-1])


def _where(d: ReportData, mask: np.ndarray) -> str:
    """Word the radii of some stars: where a survey does not reach, there is no gradient."""
    radii = d.where[mask & np.isfinite(d.where)]
    if not len(radii):
        return ""
    low, high = np.percentile(radii, [5, 95])
    return f", nine in ten of them at radii of {low:.1f} to {high:.1f} kpc"


def _potential(d: ReportData) -> str:
    return f", {d.potential}" if d.potential else ""
