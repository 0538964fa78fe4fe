"""The page of a comparison."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from migrate_bayes.report.comparison import comparison_sections
from migrate_bayes.report.html import write_html

__all__ = ["write_comparison_page"]


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
        When a page exists already.
    """
    e = tree["estimates"].to_dataset()
    return write_html(
        directory,
        title=f"Comparison: {name}",
        facts=[
            ("variants", str(e.sizes["variant"])),
            ("stars", f"{int(e['n_stars'].max()):,}"),
            ("method", str(tree.attrs["method"])),
            ("made", str(tree.attrs.get("created", ""))),
        ],
        sections=comparison_sections(tree),
        record=[
            (key.replace("_", " "), str(tree.attrs.get(key, "")))
            for key in ("recipes", "recipe_hash", "seed")
        ],
        recipe_text=recipe_text,
        overwrite=overwrite,
    )
