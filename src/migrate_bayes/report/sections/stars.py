"""Stars and sampler: ages, chemistry, Kiel diagram, published values, and checks of the fit."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from migrate_bayes import plots
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.section import Image, NotDrawnError, encode

LINES = "Dashed: the paper's division of the discs, min(0.15, 0.1 − 0.2 [Fe/H]); dotted: ±0.1. "


def checks(d: RunProducts, number: str) -> Image:
    """Figures 1 to 4 of the paper, as the validation of ages left them for others to embed."""
    if d.stars.attrs.get("isochrone_source") == "external":
        raise NotDrawnError(
            "the run's ages are the catalogue's own: there are no isochrone ages to hold up"
        )
    if d.validation is None:
        raise NotDrawnError("the report was made without a validation of ages")
    if not d.ages_figures:
        raise NotDrawnError(
            f"no figures of a validation in {d.validation}: run `migrate-bayes validate ages` first"
        )
    if number not in d.ages_figures:
        raise NotDrawnError("the validation of ages was made without the stars of this figure")
    return d.ages_figures[number][0]


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
    with suppress(NotDrawnError):
        rich = d.chosen("thick-chemical")
        if rich.any():
            n, share = rich.sum(), (d.columns["age"].values[rich] < 4.0).mean()
            error = np.sqrt(max(share * (1 - share), 1 / n) / n)  # binomial
            young = (
                f"Of {n:,} stars above the dashed line, {share:.1%} ± {error:.1%} are below 4 Gyr."
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


def migration(d: RunProducts) -> Image | None:
    """Change of radius since birth, under the form ``diffusion``."""
    if d.fit is None or "membership" not in d.fit.children:
        return None
    if "radius_change" not in d.fit["membership"]:
        return None
    return encode(
        plots.migration(d.fit),
        "Change of guiding radius since birth against age",
        "Guiding radius less birth radius of the thin disc's stars, each its posterior mean under "
        "the form “diffusion”: medians and central 68% in bins of age. Grey: ± the model's "
        "diffusion. The mean birth radius at each age is stated in the model file, and no result: "
        "another one moves all points of an age alike.",
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


# ArviZ's plots: what they show, caption, and whether they take the page's width.
_SAMPLER = {
    "ranks": (
        "Ranks of the draws by chain",
        "Distribution of each chain's ranks among all draws, minus the uniform one: near zero if "
        "the chains agree. p is of a test that they do, on draws thinned to independence; below α "
        "the draws that speak most against it are marked.",
        True,
    ),
    "prior_posterior": ("Prior and posterior", "What the data added to the prior.", True),
    "energy": (
        "Energy of the sampler",
        "Left: fraction of missing information by chain, and its limit. Right: energy (marginal) "
        "and its change from draw to draw (transition): alike if the sampler moves freely.",
        False,
    ),
}


def sampler(d: RunProducts, plot: str) -> Image | None:
    """Ranks by chain, prior against posterior, and the sampler's energy."""
    made = None if d.fit is None else getattr(plots, plot)(d.fit)
    alt, caption, wide = _SAMPLER[plot]
    return None if made is None else encode(made, alt, caption, wide=wide)


def posterior_predictive(d: RunProducts) -> Image | None:
    """Quantiles of the stars against replicated ones."""
    if d.fit is None or "predictive_check" not in d.fit.children:
        return None
    checks = d.fit["predictive_check"].to_dataset().assign_attrs(radius=d.radius)
    if not checks["data"].notnull().any():
        raise NotDrawnError("no bin of age and radius has enough stars for quantiles")
    return encode(
        plots.posterior_predictive(checks),
        "Quantiles of metallicity and alpha enhancement, of the stars and replicated",
        "5, 50 and 95% quantiles of the stars (points) in bins of age and radius, over the 95% "
        "range of the same quantiles of replicated stars, which keep age likelihood, radius and "
        "height. Filled where the stars lie outside.",
    )


def prior_predictive(d: RunProducts) -> Image | None:
    """What the prior alone expects, beside the stars."""
    if d.fit is None or "prior_predictive" not in d.fit.children:
        return None
    return encode(
        plots.prior_predictive(d.fit["prior_predictive"].to_dataset()),
        "What the prior expects of the gradient and of the chemistry",
        "Gradient against age by the prior alone (68% and 95%), and the distributions of [Fe/H] "
        "and [α/Fe] that it expects, beside the stars'. The prior should hold the stars well "
        "inside it, and little that no disc could be.",
    )
