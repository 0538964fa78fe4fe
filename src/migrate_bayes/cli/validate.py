"""What ``migrate-bayes validate ages`` does.

What can be wrong with a recipe or a product's place is said before the heavy modules are loaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from migrate_bayes.checks.ages.recipe import ValidateAges, load_validate_ages
from migrate_bayes.core.errors import ProductError

if TYPE_CHECKING:
    from migrate_bayes.checks.ages.run import AgeValidation

__all__ = ["run_validate_ages"]


def run_validate_ages(
    path: Path | None,
    *,
    as_json: bool = False,
    overwrite: bool = False,
    stars: int | None = None,
    products: Path = Path("runs"),
    reports: Path = Path("reports"),
) -> AgeValidation:
    """Run a recipe, write its product and its page, and print.

    Parameters
    ----------
    path : Path or None
        The recipe; None takes the defaults.
    as_json : bool
        Print one JSON object on stdout instead of tables.
    overwrite : bool
        Replace a product and a page that exist.
    stars : int, optional
        Stars of the calibration, in place of the recipe's.
    products, reports : Path
        Folders under which ``<name>`` is made.

    Raises
    ------
    ProductError
        Where a product exists and may not be replaced: before anything is computed.
    """
    recipe = ValidateAges() if path is None else load_validate_ages(path)
    if stars is not None:
        calibration = recipe.calibration.model_copy(update={"stars": stars})
        recipe = recipe.model_copy(update={"calibration": calibration})
    product, folder = products / recipe.name / "ages.nc", reports / recipe.name
    for there in (product, folder):
        if there.exists() and not overwrite:
            raise ProductError(f"{there} exists already: use --overwrite to replace it")
    from migrate_bayes.checks.ages.page import write_page
    from migrate_bayes.checks.ages.run import validate_ages
    from migrate_bayes.checks.ages.summary import summary, write_product

    found = validate_ages(recipe, say=lambda part: print(f"… {part}", file=sys.stderr, flush=True))
    write_product(found, product, overwrite=overwrite)
    text = path.read_text() if path is not None else ""
    page = write_page(found, folder, recipe_text=text, overwrite=overwrite)
    if as_json:
        print(json.dumps(summary(found) | {"page": str(page)}, ensure_ascii=False))
        return found
    _print_tables(found)
    print(page)
    return found


def _print_tables(found: AgeValidation) -> None:
    from migrate_bayes.checks.ages import tables
    from migrate_bayes.core.table import print_table

    for part, reason in found.absent.items():
        print(f"left out: {part}: {reason}")
    print_table(*tables.aims_table(found))
    print_table(*tables.m67_table(found))
    print_table(*tables.cluster_table(found))
    print_table(*tables.choice_table("By choice (Gyr)", found.choices))
    print_table(*tables.choice_table("By family (Gyr)", found.families))
    print_table(*tables.explain_table(found, short=True))
    regions = [c for c in found.coverage if c.group in ("all", "region")]
    print_table(*tables.coverage_rows(regions, "Calibration"))
    print_table(*tables.systematic_table(found))
