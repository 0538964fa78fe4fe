"""The stars: validation of their ages, chemistry plane, Kiel diagram, published values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from migrate_bayes import plots
from migrate_bayes.plots.planes import young_share
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.section import Image, NotDrawnError, encode

LINES = "Dashed: the paper's division of the discs, min(0.15, 0.1 − 0.2 [Fe/H]); dotted: ±0.1. "


def of_validation(number: str) -> Callable[[RunProducts], Image]:
    """A figure of the paper, 1 to 4, as the validation of ages left it for others to embed."""

    def draw(d: RunProducts) -> Image:
        if d.stars.attrs.get("isochrone_source") == "external":
            raise NotDrawnError(
                "the run's ages are the catalogue's own: there are no isochrone ages to hold up"
            )
        if d.validation is None:
            raise NotDrawnError("the report was made without a validation of ages")
        if not d.ages_figures:
            raise NotDrawnError(
                f"no figures of a validation in {d.validation}: run `migrate-bayes validate ages` "
                "first"
            )
        images = d.ages_figures.get(number, ())
        if not images:
            raise NotDrawnError("the validation of ages was made without the stars of this figure")
        # The place has its own heading.
        return replace(images[0], title="", key="")

    return draw


def density(d: RunProducts) -> Image:
    """Figure 5 of the paper."""
    d.require("feh", "alpha_fe")
    return encode(
        plots.chemistry(d.columns),
        "Density of stars in the plane of [α/Fe] and [Fe/H]",
        f"The {d.columns.sizes['star']:,} usable stars. {LINES}Contours at 5, 25, 50, 75 and 95% "
        "of the greatest density.",
        wide=False,
    )


def ages(d: RunProducts) -> Image:
    """Figure 8 of the paper, and the share of young α-rich stars that the paper remarks on."""
    d.require("feh", "alpha_fe", "age")
    young = ""
    try:
        rich = d.chosen("thick-chemical")
    except NotDrawnError:
        pass
    else:
        if rich.any():
            share = young_share(d.columns.isel(star=rich))
            young = (
                f"Of {int(rich.sum()):,} stars above the dashed line, {share.value:.1%} ± "
                f"{share.plus:.1%} are below 4 Gyr."
            )
    return encode(
        plots.chemistry(d.columns, "age"),
        "Chemistry plane coloured by median age",
        f"Median maximum-likelihood age in the chemistry plane. {LINES}{young}",
        wide=False,
    )


def membership(d: RunProducts) -> Image | None:
    """Probability of the thin disc in the chemistry plane."""
    if "p_thin" not in d.columns:
        return None
    d.require("feh", "alpha_fe", "p_thin")
    return encode(
        plots.chemistry(d.columns, "p_thin"),
        "Chemistry plane coloured by membership of the thin disc",
        f"Membership by the hierarchical model, which does not use the dividing lines. {LINES}",
        wide=False,
    )


def kiel(d: RunProducts) -> Image | None:
    """The Kiel diagram by age."""
    try:
        d.require("teff", "logg", "age")
    except NotDrawnError:
        return None
    return encode(
        plots.kiel(d.columns),
        "Kiel diagram coloured by age",
        "Kiel diagram of the usable stars, by maximum-likelihood age.",
        wide=False,
    )


def published(d: RunProducts) -> Image | None:
    """Our columns against published ones."""
    if not d.published.panels:
        return None
    caption = "Ours against the published value of the same star; the line is equality."
    if d.published.start:
        caption += f" Below, what we find {d.published.start}."
    made = plots.published(d.published.panels)
    return encode(made, "Our values against published ones", caption)
