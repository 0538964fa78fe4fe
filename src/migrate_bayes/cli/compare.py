"""What ``migrate-bayes compare`` does: fit what is missing, join, write, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from migrate_bayes.compare.product import build_comparison, comparison_summary
from migrate_bayes.compare.stages import FittedVariant, VariantStages
from migrate_bayes.core.errors import ProductError, RecipeError
from migrate_bayes.core.io import write_netcdf
from migrate_bayes.core.provenance import provenance
from migrate_bayes.report.comparison_tables import comparison_tables
from migrate_bayes.run.recipe import Recipe, load_recipe

__all__ = ["compare_recipes", "run_compare"]


def compare_recipes(
    recipes: Sequence[Recipe],
    *,
    products: str | Path = "runs",
    source: Recipe | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> xr.DataTree:
    """Fit the variants of one or more recipes of the same stars, and compare them all.

    Parameters
    ----------
    recipes : sequence of Recipe
        Each with a section ``[compare]``. The first one's reference is the reference.
    products : path-like
        Folder of runs: each recipe's variants are kept there, and made once.
    source : Recipe, optional
        A run whose stars are used: its catalogue, seed and ages in place of the recipes' own, and
        its orbits where they are the ones asked for.
    overwrite : bool
        Replace variants that were made from something else.
    say : callable

    Raises
    ------
    RecipeError
        Where there is nothing to compare, or the recipes are of different stars.
    """
    for recipe in recipes:
        if recipe.compare is None:
            raise RecipeError(f"recipe '{recipe.name}' has no section [compare]")
    folder = None
    if source is not None:
        folder = Path(products) / source.name
        recipes = [_on_stars_of(recipe, source) for recipe in recipes]
    first = recipes[0]
    assert first.compare is not None
    for other in recipes[1:]:
        assert other.compare is not None
        ours, theirs = (
            (r.data, r.compare.histories, r.compare.method, r.seed, r.isochrones)
            for r in (first, other)
            if r.compare is not None
        )
        same = ours == theirs
        if first.data.source == "mock" and source is None:
            same &= _mock_of(first) == _mock_of(other)
        if not same:
            raise RecipeError(
                f"'{other.name}' and '{first.name}' cannot be compared: their stars, histories or "
                "method differ"
            )
    fitted: dict[tuple[str, ...], FittedVariant] = {}
    for recipe in recipes:
        stages = VariantStages(
            recipe, products=products, source=folder, overwrite=overwrite, say=say
        )
        for one in stages.fit():
            key = tuple(str(v) for v in one.factors.values())
            if key in fitted:
                continue
            taken = {f.variant.label for f in fitted.values()}
            if one.variant.label in taken:
                label = f"{recipe.name}: {one.variant.label}"
                one = FittedVariant(replace(one.variant, label=label), one.factors, one.tree)
            fitted[key] = one
    attrs = provenance(seed=first.seed, recipe_hash=" ".join(r.hash for r in recipes))
    attrs["recipes"] = json.dumps([r.name for r in recipes])
    attrs["histories"] = json.dumps([h.model_dump() for h in first.compare.histories])
    return build_comparison(
        list(fitted.values()), truth=first.truth(), attrs=attrs, seed=first.seed
    )


def _mock_of(recipe: Recipe) -> tuple[Any, ...]:
    """What decides a mock's stars."""
    truth, o = recipe.simulate, recipe.orbits
    stated = truth.model_copy(update={"potential": truth.moves_in(o)})
    return stated, o.frame, o.scaling


def _on_stars_of(recipe: Recipe, source: Recipe) -> Recipe:
    """Take what makes the stars from the source, and leave what varies as it is."""
    orbits = {
        name: getattr(source.orbits, name) for name in ("frame", "scaling", "draws", "zmax_draws")
    }
    return recipe.model_copy(
        update={
            "data": source.data, "simulate": source.simulate, "seed": source.seed,
            "isochrones": source.isochrones, "orbits": recipe.orbits.model_copy(update=orbits),
        }
    )  # fmt: skip


def run_compare(
    paths: Sequence[Path],
    *,
    as_json: bool = False,
    overwrite: bool = False,
    products: Path = Path("runs"),
    reports: Path = Path("reports"),
    source: Path | None = None,
    name: str | None = None,
) -> None:
    """Run ``migrate-bayes compare``; the last line is the page's path, or all is one JSON object.

    Raises
    ------
    ProductError
        Where the comparison or its page exists and may not be replaced: before anything is fitted.
    """
    recipes = [load_recipe(path) for path in paths]
    name = name or "+".join(r.name for r in recipes)
    product, folder = products / name / "comparison.nc", reports / name
    for there in (product, folder):
        if there.exists() and not overwrite:
            raise ProductError(f"{there} exists already: use --overwrite to replace it")

    def say(line: str) -> None:
        # With --json, stdout holds the object and nothing else.
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    of_stars = None if source is None else load_recipe(source)
    tree = compare_recipes(
        recipes, products=products, source=of_stars, overwrite=overwrite, say=say
    )
    write_netcdf(tree, product, overwrite=overwrite)
    from migrate_bayes.compare.page import write_comparison_page

    text = "\n\n".join(f"# {path}\n{path.read_text()}" for path in paths)
    page = write_comparison_page(tree, folder, name=name, recipe_text=text, overwrite=overwrite)
    if as_json:
        result: dict[str, Any] = comparison_summary(tree) | {"page": str(page)}
        print(json.dumps(result, ensure_ascii=False))
        return
    from migrate_bayes.core.table import print_table

    for table in comparison_tables(tree):
        print_table(*table)
    print(page)
