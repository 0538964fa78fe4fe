"""The figures of the report, in their order: one line each.

A figure's function (in `migrate_bayes.report.sections`) takes a run's `RunProducts` and gives an
`Image`, or None to leave its place out, or raises `NotDrawnError` with the reason that stands in
its place. To add a figure, add its line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from migrate_bayes.core.progress import progress
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.section import Absent, Image, NotDrawnError
from migrate_bayes.report.sections import gradients, stars


class Place(NamedTuple):
    """A figure's place: the section it stands in, its anchor, its heading, and what draws it."""

    section: str
    key: str
    title: str
    draw: Callable[[RunProducts], Image | None]


FIGURES: tuple[Place, ...] = (
    Place("gradient", "result", "Gradient against age", gradients.result),
    Place("gradient", "radial", "Metallicity against radius, age by age", gradients.radial),
    Place("paper", "figure-1", "1 · Cluster ages against [Fe/H]", lambda d: stars.checks(d, "1")),
    Place("paper", "figure-2", "2 · M67", lambda d: stars.checks(d, "2")),
    Place("paper", "figure-3", "3 · Another age catalogue", lambda d: stars.checks(d, "3")),
    Place("paper", "figure-4", "4 · Asteroseismic ages", lambda d: stars.checks(d, "4")),
    Place("paper", "figure-5", "5 · Chemistry and its division", stars.density),
    Place("paper", "figure-6", "6 · The thin disc", lambda d: gradients.disc(d, "thin")),
    Place("paper", "figure-7", "7 · The thick disc", lambda d: gradients.disc(d, "thick")),
    Place("paper", "figure-8", "8 · Chemistry by median age", stars.ages),
    Place("paper", "figure-9", "9 · Slices in Z_max", lambda d: gradients.slices(d, "zmax")),
    Place("paper", "figure-10", "10 · Slices in chemistry", lambda d: gradients.slices(d, "alpha")),
    Place("paper", "figure-11", "11 · Potentials", lambda d: gradients.variants(d, "potential")),
    Place("paper", "figure-12", "12 · R0 and V0", lambda d: gradients.variants(d, "solar")),
    Place("paper", "figure-13", "13 · High-quality sample", gradients.high_quality),
    Place("paper", "r-present", "The present radius: the “U shape”", gradients.present_radius),
    Place("stars", "membership", "Membership", stars.membership),
    Place("stars", "kiel", "Kiel diagram", stars.kiel),
    Place("reference", "published", "Published values, star by star", stars.published),
    Place("diagnostics", "replicated", "Posterior predictive check", stars.posterior_predictive),
    Place("diagnostics", "expected", "Prior predictive check", stars.prior_predictive),
    Place("diagnostics", "ranks", "Agreement of the chains", stars.ranks),
    Place("diagnostics", "prior", "Prior and posterior", stars.prior),
    Place("diagnostics", "energy", "Energy of the sampler", stars.energy),
)


def draw_figures(products: RunProducts) -> dict[str, list[Image | Absent]]:
    """Draw all figures; what stands in each section, in order."""
    drawn: dict[str, list[Image | Absent]] = {}
    with progress(len(FIGURES), "figures", unit="figures") as advance:
        for place in FIGURES:
            try:
                placed: Image | Absent | None = place.draw(products)
            except NotDrawnError as reason:
                why = str(reason).strip().removesuffix(".")
                placed = Absent(place.title, place.key, f"{why[:1].upper()}{why[1:]}.")
            advance(1)
            if placed is not None:
                placed = replace(placed, title=place.title, key=place.key)
                drawn.setdefault(place.section, []).append(placed)
    return drawn
