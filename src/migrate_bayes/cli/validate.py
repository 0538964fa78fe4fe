"""What ``migrate-bayes validate ages`` does.

What can be wrong with a recipe or a product's place is said before the heavy modules are loaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from migrate_bayes.checks.ages.recipe import ValidateAges, load_validate_ages
from migrate_bayes.core.io import refuse_existing, write_netcdf

if TYPE_CHECKING:
    from migrate_bayes.checks.ages.validation import AgeValidation

_PRINTED = (
    "aims", "m67", "clusters", "choices", "families", "parsec medians", "calibration", "systematic",
)  # fmt: skip


def run_validate_ages(
    path: Path | None,
    *,
    as_json: bool = False,
    overwrite: bool = False,
    stars: int | None = None,
    products: Path = Path("runs"),
    reports: Path = Path("reports"),
) -> AgeValidation:
    """Run a recipe (the default one without a `path`), write its product and page, and print.

    `stars` are those of the calibration. A product that exists is refused before anything is
    computed.
    """
    recipe = ValidateAges() if path is None else load_validate_ages(path)
    if stars is not None:
        calibration = recipe.calibration.model_copy(update={"stars": stars})
        recipe = recipe.model_copy(update={"calibration": calibration})
    product, folder = products / recipe.name / "ages.nc", reports / recipe.name
    refuse_existing(product, folder, overwrite=overwrite)
    from migrate_bayes.checks.ages.age_page import write_page
    from migrate_bayes.checks.ages.comparisons import summary, tables, to_tree
    from migrate_bayes.checks.ages.validation import validate_ages

    found = validate_ages(recipe, say=lambda part: print(f"… {part}", file=sys.stderr, flush=True))
    write_netcdf(to_tree(found), product, overwrite=overwrite)
    text = path.read_text() if path is not None else ""
    page = write_page(found, folder, recipe_text=text, overwrite=overwrite)
    if as_json:
        print(json.dumps(summary(found) | {"page": str(page)}, ensure_ascii=False))
        return found
    for part, reason in found.absent.items():
        print(f"left out: {part}: {reason}")
    shown = tables(found)
    for name in _PRINTED:
        shown[name].print()
    print(page)
    return found
