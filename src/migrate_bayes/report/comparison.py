"""A comparison on a page: forest plot, gradients by variant, differences, sources of variance.

`comparison_sections` are those of the comparison's own page; `comparison_section` is all of it in
one, for the report of a run. Both read the product alone (docs/compare.md).
"""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from migrate_bayes.plots.comparison import (
    forest_figure,
    variance_figure,
    variant_gradient_figure,
)
from migrate_bayes.report.comparison_tables import (
    baseline_table,
    difference_tables,
    estimate_table,
    variance_table,
)
from migrate_bayes.report.image import Picture, encode
from migrate_bayes.report.registry import Absent
from migrate_bayes.report.section import Section

__all__ = ["comparison_section", "comparison_sections", "holds_estimates"]


def _pictures(made: Any, alt: str, caption: str) -> list[Picture | Absent]:
    return [] if made is None else [encode(made, alt, caption)]


def _history_text(history: dict[str, Any]) -> str:
    spread = history.get("birth_spread")
    of_spread = (
        "spread of birth radii fitted" if spread is None else f"birth radii ± {spread:g} kpc"
    )
    return f"{history['label']}: {history['gradient_rate']:+g} dex/kpc/Gyr of lookback, {of_spread}"


def comparison_sections(tree: xr.DataTree) -> list[Section]:
    """Build the sections of a comparison's own page."""
    reference = str(tree.attrs["reference"])
    histories = json.loads(str(tree.attrs.get("histories", "[]")))
    by_history = "; ".join(_history_text(h) for h in histories)
    stated = (
        f" σ_RM8 is what the flattening means under a stated history of the gas ({by_history})."
        if histories
        else ""
    )
    baseline = baseline_table(tree)
    first = Section(
        "Variants",
        "variants",
        [
            "The same stars and the same random draws under each choice, one posterior each."
            + stated
        ],
        _pictures(
            forest_figure(tree),
            "Posterior of each variant beside the others",
            "Posterior median, 68% (thick) and 95% (thin) intervals. The grey band holds 68% of "
            f"the {reference}. Intervals share the noise of the same stars: they may overlap where "
            "a difference is certain; for differences see below. Open squares: ODR with scatter.",
        )
        + _pictures(
            variant_gradient_figure(tree),
            "Gradient against age in each variant",
            "Thin-disc gradient(age) of each variant, above, and less the reference's, below. "
            f"Band: 68% of the {reference}. Counterpart of the paper's figures 11 and 12.",
        ),
        [estimate_table(tree), *([baseline] if baseline else [])],
        shown=1,
    )
    paired = Section(
        "Paired differences",
        "differences",
        [
            "What is paired: both fits are to the same stars, so their errors are alike. The "
            "correlation is of the stars' influences on the two estimates (scores at the maximum); "
            "the interval of a difference uses it, and is the narrower for it."
        ],
        [],
        list(difference_tables(tree)),
        shown=1,
    )
    sources = Section(
        "Sources of uncertainty",
        "sources",
        [
            "Law of total variance over the variants, weighed equally: within them (stars), and "
            "between, divided among the choices by an additive model of the posterior means, "
            "less what the paired noise of the stars would give by itself."
        ],
        _pictures(
            variance_figure(tree),
            "Standard deviation by source of uncertainty",
            "Standard deviation that each source adds, relative to that of the stars alone.",
        ),
        [variance_table(tree)],
    )
    return [first, paired, sources]


def holds_estimates(tree: xr.DataTree) -> bool:
    """Say whether a product is a comparison of this package's, rather than curves alone."""
    return {"estimates", "differences", "variance"} <= set(tree.children)


def comparison_section(tree: xr.DataTree, number: int = 1) -> Section:
    """Build one section of all that a comparison holds, its tables folded but the first."""
    names = " and ".join(json.loads(str(tree.attrs.get("recipes", "[]"))))
    parts = comparison_sections(tree)
    return Section(
        f"Comparison: {names}" if names else "Comparison",
        f"comparison-{number}",
        [text for part in parts for text in part.text],
        [shown for part in parts for shown in part.pictures],
        [table for part in parts for table in part.tables],
        shown=1,
    )
