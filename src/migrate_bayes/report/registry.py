"""The figures of the report, in their order: one line each.

A plate (`migrate_bayes.report.sections`) takes a run's `ReportData` and gives a `Picture`, or a str
that says why there is none, or None to leave the place out. To add a figure, add its line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from migrate_bayes.core.progress import progress
from migrate_bayes.report.data import ReportData
from migrate_bayes.report.image import Picture
from migrate_bayes.report.sections import ages, checks, chemistry, gradients, slices, variants

__all__ = ["PLATES", "Absent", "Plate", "draw_plates"]


class Plate(NamedTuple):
    """A figure's place: the section it stands in, its anchor, its heading, and what draws it."""

    section: str
    key: str
    title: str
    draw: Callable[[ReportData], Picture | str | None]


@dataclass(frozen=True)
class Absent:
    """A figure that the data do not allow, in its place."""

    title: str
    key: str
    why: str


PLATES: tuple[Plate, ...] = (
    Plate("gradient", "result", "Gradient against age", gradients.result),
    Plate("gradient", "radial", "Metallicity against radius, age by age", gradients.radial),
    Plate("paper", "figure-1", "1 · Cluster ages against [Fe/H]", ages.clusters),
    Plate("paper", "figure-2", "2 · M67", ages.m67),
    Plate("paper", "figure-3", "3 · Another age catalogue", ages.catalogues),
    Plate("paper", "figure-4", "4 · Asteroseismic ages", ages.seismic),
    Plate("paper", "figure-5", "5 · Chemistry and its division", chemistry.density),
    Plate("paper", "figure-6", "6 · The thin disc", gradients.thin_disc),
    Plate("paper", "figure-7", "7 · The thick disc", gradients.thick_disc),
    Plate("paper", "figure-8", "8 · Chemistry by median age", chemistry.ages),
    Plate("paper", "figure-9", "9 · Slices in Z_max", slices.zmax_slices),
    Plate("paper", "figure-10", "10 · Slices in chemistry", slices.alpha_slices),
    Plate("paper", "figure-11", "11 · Potentials", variants.potentials),
    Plate("paper", "figure-12", "12 · R0 and V0", variants.solar),
    Plate("paper", "figure-13", "13 · High-quality sample", gradients.high_quality),
    Plate("paper", "r-present", "The present radius: the “U shape”", gradients.present_radius),
    Plate("stars", "membership", "Membership", chemistry.membership),
    Plate("stars", "kiel", "Kiel diagram", chemistry.kiel),
    Plate("reference", "published", "Published values, star by star", checks.reference),
    Plate("diagnostics", "replicated", "Posterior predictive check", checks.posterior_predictive),
    Plate("diagnostics", "expected", "Prior predictive check", checks.prior_predictive),
    Plate("diagnostics", "ranks", "Agreement of the chains", checks.ranks),
    Plate("diagnostics", "prior", "Prior and posterior", checks.prior),
    Plate("diagnostics", "energy", "Energy of the sampler", checks.energy),
)


def draw_plates(
    data: ReportData, plates: Sequence[Plate] = PLATES
) -> dict[str, list[Picture | Absent]]:
    """Draw all figures; what stands in each section, in order."""
    drawn: dict[str, list[Picture | Absent]] = {}
    with progress(len(plates), "figures", unit="figures") as advance:
        for plate in plates:
            found = plate.draw(data)
            advance(1)
            if found is None:
                continue
            if isinstance(found, str):
                placed: Picture | Absent = Absent(plate.title, plate.key, _sentence(found))
            else:
                placed = replace(found, title=plate.title, key=plate.key)
            drawn.setdefault(plate.section, []).append(placed)
    return drawn


def _sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
