"""``migrate-bayes calibrate`` and ``migrate-bayes bias``: nothing is loaded before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["bias", "calibrate"]

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, and nothing else, on stdout.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Begin anew, and replace the page.")
]  # fmt: skip
Products = Annotated[Path, typer.Option("--products", help="Folder for products.")]
Reports = Annotated[Path, typer.Option("--reports", help="Folder for rendered reports.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes [the processors there are].")
]
Surveys = Annotated[int | None, typer.Option("--surveys", min=2, help="Simulated surveys.")]
Stars = Annotated[int | None, typer.Option("--stars", min=20, help="Stars of each.")]


def _loaded(load: Any, path: Path, surveys: int | None, stars: int | None) -> tuple[Any, str]:
    """Read a recipe, with what the command line changes of it."""
    recipe = load(path)
    changes = {"surveys": surveys, "stars": stars}
    recipe = recipe.model_copy(update={k: v for k, v in changes.items() if v is not None})
    return recipe, path.read_text(encoding="utf-8")


def _workers(wanted: int | None) -> int:
    from migrate_bayes.core.parallel import default_workers

    return default_workers() if wanted is None else wanted


def calibrate(
    recipe: Annotated[Path, typer.Argument(help="A calibration recipe (TOML).")] = Path(
        "runs/calibrate.toml"
    ),
    as_json: AsJson = False,
    surveys: Surveys = None,
    stars: Stars = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    products: Products = Path("runs"),
    reports: Reports = Path("reports"),
) -> None:
    """Simulation-based calibration of the fit: coverage and ranks; goes on where it stopped."""
    from migrate_bayes.checks.posterior import run, tables
    from migrate_bayes.checks.posterior.page import write_calibration_page
    from migrate_bayes.checks.posterior.recipe import load_calibrate
    from migrate_bayes.core.table import print_table

    plan, text = _loaded(load_calibrate, recipe, surveys, stars)
    ledger = products / plan.name / "surveys.jsonl"
    found = run.calibrate(plan, ledger, workers=_workers(workers), overwrite=overwrite)
    # The page is a view of the ledger, which is what is kept: it is made again each time.
    page = write_calibration_page(
        found, plan, reports / plan.name, recipe_text=text, overwrite=True
    )
    if as_json:
        print(json.dumps(found.summary() | {"page": str(page)}, ensure_ascii=False))
        return
    print_table(*tables.coverage_table(found))
    print_table(*tables.calibration_table(found))
    print(page)


def bias(
    recipe: Annotated[Path, typer.Argument(help="A bias recipe (TOML).")] = Path(
        "runs/odr-bias.toml"
    ),
    as_json: AsJson = False,
    surveys: Surveys = None,
    stars: Stars = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    products: Products = Path("runs"),
    reports: Reports = Path("reports"),
) -> None:
    """What regression in bins of age gets wrong, effect by effect; goes on where it stopped."""
    from migrate_bayes.checks.posterior import tables
    from migrate_bayes.checks.posterior.bias import QUANTITIES, measure_bias
    from migrate_bayes.checks.posterior.page import write_bias_page
    from migrate_bayes.checks.posterior.recipe import load_bias
    from migrate_bayes.core.table import print_table

    plan, text = _loaded(load_bias, recipe, surveys, stars)
    ledger = products / plan.name / "surveys.jsonl"
    rows = measure_bias(plan, ledger, workers=_workers(workers), overwrite=overwrite)
    page = write_bias_page(rows, plan, reports / plan.name, recipe_text=text, overwrite=True)
    if as_json:
        print(
            json.dumps(
                {"bias": [row.as_dict() for row in rows], "page": str(page)}, ensure_ascii=False
            )
        )
        return
    for quantity in QUANTITIES:
        print_table(*tables.bias_table(rows, quantity))
    print(page)
