"""The page of a comparison: forest plot, gradients by variant, differences, sources of variance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import xarray as xr

from migrate_bayes.compare.tables import (
    baseline_table,
    difference_tables,
    estimate_table,
    variance_table,
)
from migrate_bayes.provenance import atomic_output, versions
from migrate_bayes.report.figures.variants import (
    forest_figure,
    variance_figure,
    variant_gradient_figure,
)
from migrate_bayes.report.page import Section, contents_of, render
from migrate_bayes.report.pictures import Picture, picture

__all__ = ["comparison_sections", "write_comparison_page"]


def _picture(made: Any, alt: str, caption: str) -> list[Picture]:
    drawn = picture(made, alt, caption, wide=True)
    return [] if drawn is None else [drawn]


def _history_text(history: dict[str, Any]) -> str:
    spread = history.get("birth_spread")
    of_spread = (
        "spread of birth radii fitted" if spread is None else f"birth radii ± {spread:g} kpc"
    )
    return f"{history['label']}: {history['gradient_rate']:+g} dex/kpc/Gyr of lookback, {of_spread}"


def comparison_sections(tree: xr.DataTree) -> list[Section]:
    """Build the sections of a comparison, for its own page or another's."""
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
        _picture(
            forest_figure(tree),
            "Posterior of each variant beside the others",
            "Posterior median, 68% (thick) and 95% (thin) intervals. The grey band holds 68% of "
            f"the {reference}. Intervals share the noise of the same stars: they may overlap where "
            "a difference is certain; for differences see below. Open squares: ODR with scatter.",
        )
        + _picture(
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
            "between, divided among the choices by an analysis of variance of the posterior means, "
            "less what the paired noise of the stars would give by itself."
        ],
        _picture(
            variance_figure(tree),
            "Standard deviation by source of uncertainty",
            "Standard deviation that each source adds, relative to that of the stars alone.",
        ),
        [variance_table(tree)],
    )
    return [first, paired, sources]


def write_comparison_page(
    tree: xr.DataTree,
    directory: str | Path,
    *,
    name: str,
    recipe_text: str = "",
    overwrite: bool = False,
) -> Path:
    """Write ``directory/index.html``.

    Raises
    ------
    ProductError
        Where a page stands there already.
    """
    e = tree["estimates"].to_dataset()
    sections = comparison_sections(tree)
    page = render(
        "validation.html",
        {
            "title": f"Comparison: {name}",
            "facts": [
                ("variants", str(e.sizes["variant"])),
                ("stars", f"{int(e['n_stars'].max()):,}"),
                ("method", str(tree.attrs["method"])),
                ("made", str(tree.attrs.get("created", ""))),
            ],
            "notes": [],
            "sections": sections,
            "contents": contents_of(sections),
            "inputs": [],
            "record": [
                (key.replace("_", " "), str(tree.attrs.get(key, "")))
                for key in ("recipes", "recipe_hash", "seed")
            ],
            "versions": sorted(versions().items()),
            "recipe_text": recipe_text,
        },
    )  # fmt: skip
    directory = Path(directory)
    with atomic_output(directory, overwrite=overwrite, directory=True) as out:
        (out / "index.html").write_text(page, encoding="utf-8")
    return directory / "index.html"
