"""The figures of the report, in their order: one line each.

A figure's function (in `migrate_bayes.report.sections`) takes a run's `RunProducts` and gives an
`Image`, or None to leave its place out, or raises `NotDrawnError` with the reason that stands in
its place. To add a figure, add its line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from migrate_bayes.core.progress import progress
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.section import Absent, Image, NotDrawnError
from migrate_bayes.report.sections import gradients, sampler, stars, variants


class Place(NamedTuple):
    """A figure's place: the section it stands in, its anchor, its heading, and what draws it."""

    section: str
    key: str
    title: str
    draw: Callable[[RunProducts], Image | None]


FIGURES: tuple[Place, ...] = (
    Place("gradient", "result", "Gradient against age", gradients.result),
    Place("gradient", "radial", "Metallicity against radius, age by age", gradients.radial),
    Place("paper", "figure-1", "1 · Cluster ages against [Fe/H]", stars.of_validation("1")),
    Place("paper", "figure-2", "2 · M67", stars.of_validation("2")),
    Place("paper", "figure-3", "3 · Another age catalogue", stars.of_validation("3")),
    Place("paper", "figure-4", "4 · Asteroseismic ages", stars.of_validation("4")),
    Place("paper", "figure-5", "5 · Chemistry and its division", stars.density),
    Place("paper", "figure-6", "6 · The thin disc", gradients.thin_disc),
    Place("paper", "figure-7", "7 · The thick disc", gradients.thick_disc),
    Place("paper", "figure-8", "8 · Chemistry by median age", stars.ages),
    Place("paper", "figure-9", "9 · Slices in Z_max", gradients.zmax_slices),
    Place("paper", "figure-10", "10 · Slices in chemistry", gradients.alpha_slices),
    Place("paper", "figure-11", "11 · Potentials", variants.potentials),
    Place("paper", "figure-12", "12 · R0 and V0", variants.solar),
    Place("paper", "figure-13", "13 · High-quality sample", gradients.high_quality),
    Place("paper", "r-present", "The present radius: the “U shape”", gradients.present_radius),
    Place("stars", "membership", "Membership", stars.membership),
    Place("stars", "kiel", "Kiel diagram", stars.kiel),
    Place("reference", "published", "Published values, star by star", stars.published),
    Place("diagnostics", "replicated", "Posterior predictive check", sampler.posterior_predictive),
    Place("diagnostics", "expected", "Prior predictive check", sampler.prior_predictive),
    Place("diagnostics", "ranks", "Agreement of the chains", sampler.ranks),
    Place("diagnostics", "prior", "Prior and posterior", sampler.prior),
    Place("diagnostics", "energy", "Energy of the sampler", sampler.energy),
)


def draw_figures(
    products: RunProducts, figures: Sequence[Place] = FIGURES
) -> dict[str, list[Image | Absent]]:
    """Draw all figures; what stands in each section, in order."""
    drawn: dict[str, list[Image | Absent]] = {}
    with progress(len(figures), "figures", unit="figures") as advance:
        for place in figures:
            placed: Image | Absent | None
            try:
                placed = place.draw(products)
            except NotDrawnError as reason:
                placed = Absent(place.title, place.key, _sentence(str(reason)))
            advance(1)
            if isinstance(placed, Image):
                placed = replace(placed, title=place.title, key=place.key)
            if placed is not None:
                drawn.setdefault(place.section, []).append(placed)
    return drawn


def _sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
