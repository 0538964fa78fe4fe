"""The chemistry plane by density, age and membership, and the Kiel diagram."""

from __future__ import annotations

import numpy as np

from migrate_bayes.plots import (
    age_plane_figure,
    chemistry_figure,
    density_figure,
    kiel_figure,
)
from migrate_bayes.report.data import ReportData
from migrate_bayes.report.image import Picture, picture

__all__ = ["ages", "density", "kiel", "membership"]

LINES = "Dashed: the paper's division of the discs, min(0.15, 0.1 − 0.2 [Fe/H]); dotted: ±0.1. "


def density(d: ReportData) -> Picture | str | None:
    """Figure 5 of the paper."""
    if why := d.lacks("feh", "alpha_fe"):
        return why
    c = d.columns
    return picture(
        density_figure(c.feh, c.alpha_fe),
        "Density of stars in the plane of [α/Fe] and [Fe/H]",
        f"The {len(c.rows):,} usable stars. {LINES}Contours at 5, 25, 50, 75 and 95% of the "
        "greatest density.",
    )


def ages(d: ReportData) -> Picture | str | None:
    """Figure 8 of the paper."""
    if why := d.lacks("feh", "alpha_fe", "age"):
        return why
    c = d.columns
    young = _young_alpha_rich(d)
    return picture(
        age_plane_figure(c.feh, c.alpha_fe, c.age),
        "Chemistry plane coloured by median age",
        f"Median maximum-likelihood age in the chemistry plane. {LINES}{young}",
    )


def _young_alpha_rich(d: ReportData) -> str:
    """How many of the α-rich stars look young: the population the paper remarks on."""
    rich, age = d.chosen("thick-chemical"), d.columns.age
    if isinstance(rich, str) or not rich.any():
        return ""
    n, total = int((rich & (age < 4)).sum()), int(rich.sum())
    share = n / total
    sd = np.sqrt(max(share * (1 - share), 1 / total) / total)
    return f"Of {total:,} stars above the dashed line, {share:.1%} ± {sd:.1%} are below 4 Gyr."


def membership(d: ReportData) -> Picture | str | None:
    """Probability of the thin disc in the chemistry plane."""
    c = d.columns
    if c.p_thin is None:
        return None
    if why := d.lacks("feh", "alpha_fe", "p_thin"):
        return why
    return picture(
        chemistry_figure(c.feh, c.alpha_fe, c.p_thin),
        "Chemistry plane coloured by membership of the thin disc",
        f"Membership by the hierarchical model, which does not use the dividing lines. {LINES}",
    )


def kiel(d: ReportData) -> Picture | str | None:
    """The Kiel diagram by age."""
    if d.lacks("teff", "logg", "age"):
        return None
    c = d.columns
    return picture(
        kiel_figure(c.teff, c.logg, c.age),
        "Kiel diagram coloured by age",
        "Kiel diagram of the usable stars, by maximum-likelihood age.",
    )
