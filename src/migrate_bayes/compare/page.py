"""The page of a comparison."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from migrate_bayes.provenance import atomic_output, versions
from migrate_bayes.report.comparison import comparison_sections
from migrate_bayes.report.page import contents_of, render

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
            "contents": contents_of(sections),
            "sections": sections,
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
