"""How the sampler did, and what the model expects of stars."""

from __future__ import annotations

from migrate_bayes import plots
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.section import Image, encode


def ranks(d: RunProducts) -> Image | None:
    """Ranks by chain."""
    made = None if d.fit is None else plots.ranks(d.fit)
    return None if made is None else encode(
        made, "Ranks of the draws by chain",
        "Distribution of each chain's ranks among all draws, minus the uniform one: near zero if "
        "the chains agree. p is of a test that they do, on draws thinned to independence; below α "
        "the draws that speak most against it are marked.",
    )  # fmt: skip


def prior(d: RunProducts) -> Image | None:
    """Prior against posterior."""
    made = None if d.fit is None else plots.prior_posterior(d.fit)
    return None if made is None else encode(
        made, "Prior and posterior", "What the data added to the prior."
    )  # fmt: skip


def energy(d: RunProducts) -> Image | None:
    """Energy of the sampler."""
    made = None if d.fit is None else plots.energy(d.fit)
    return None if made is None else encode(
        made, "Energy of the sampler",
        "Left: fraction of missing information by chain, and its limit. Right: energy (marginal) "
        "and its change from draw to draw (transition): alike if the sampler moves freely.",
        wide=False,
    )  # fmt: skip


def posterior_predictive(d: RunProducts) -> Image | None:
    """Quantiles of the stars against replicated ones."""
    if d.fit is None or "posterior_predictive" not in d.fit.children:
        return None
    return encode(
        plots.posterior_predictive(d.fit["posterior_predictive"].to_dataset()),
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
