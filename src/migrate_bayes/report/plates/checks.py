"""Published values star by star, and how the sampler did."""

from __future__ import annotations

from migrate_bayes.report.data import ReportData
from migrate_bayes.report.figures import comparison_figure, energy_figure, prior_figure, rank_figure
from migrate_bayes.report.pictures import Picture, picture

__all__ = ["energy", "prior", "ranks", "reference"]


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
