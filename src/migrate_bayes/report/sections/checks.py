"""Published values star by star, and how the sampler did."""

from __future__ import annotations

from migrate_bayes.plots import (
    comparison_figure,
    energy_figure,
    posterior_predictive_figure,
    prior_figure,
    prior_predictive_figure,
    rank_figure,
)
from migrate_bayes.report.data import ReportData
from migrate_bayes.report.image import Picture, picture

__all__ = [
    "energy", "posterior_predictive", "prior", "prior_predictive", "ranks", "reference",
]  # fmt: skip


def reference(d: ReportData) -> Picture | str | None:
    """Our columns against published ones."""
    caption = "Ours against the published value of the same star; the line is equality."
    if d.reference_start:
        caption += f" Below, what we find {d.reference_start}."
    made = comparison_figure(d.reference)
    return picture(made, "Our values against published ones", caption, wide=True)


def ranks(d: ReportData) -> Picture | str | None:
    """Rank histograms of the chains."""
    return None if d.fit is None else picture(
        rank_figure(d.fit), "Rank histograms by chain",
        "Ranks of each chain among all draws: flat, within the grey band, where chains agree.",
        wide=True,
    )  # fmt: skip


def prior(d: ReportData) -> Picture | str | None:
    """Prior against posterior."""
    return None if d.fit is None else picture(
        prior_figure(d.fit), "Prior and posterior", "What the data added to the prior.", wide=True
    )  # fmt: skip


def energy(d: ReportData) -> Picture | str | None:
    """Energy of the sampler."""
    return None if d.fit is None else picture(
        energy_figure(d.fit), "Energy of the sampler",
        "Energy and its change from draw to draw: alike where the sampler moves freely.",
    )  # fmt: skip


def posterior_predictive(d: ReportData) -> Picture | str | None:
    """Quantiles of the stars against replicated ones."""
    if d.fit is None or "posterior_predictive" not in d.fit.children:
        return None
    return picture(
        posterior_predictive_figure(d.fit["posterior_predictive"].to_dataset()),
        "Quantiles of metallicity and alpha enhancement, of the stars and replicated",
        "5, 50 and 95% quantiles of the stars (points) in bins of age and radius, over the 95% "
        "range of the same quantiles of replicated stars, which keep age likelihood, radius and "
        "height. Filled where the stars lie outside.",
        wide=True,
    )


def prior_predictive(d: ReportData) -> Picture | str | None:
    """What the prior alone expects, beside the stars."""
    if d.fit is None or "prior_predictive" not in d.fit.children:
        return None
    return picture(
        prior_predictive_figure(d.fit["prior_predictive"].to_dataset()),
        "What the prior expects of the gradient and of the chemistry",
        "Gradient against age by the prior alone (68% and 95%), and the distributions of [Fe/H] "
        "and [α/Fe] that it expects, beside the stars'. The prior should hold the stars well "
        "inside it, and little that no disc could be.",
        wide=True,
    )
