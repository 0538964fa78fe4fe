"""``migrate-bayes calibrate`` and ``migrate-bayes bias``: nothing is loaded before it is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, and nothing else, on stdout.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Begin anew, and replace the page.")]
Products = Annotated[Path, typer.Option("--products", help="Folder for products.")]
Reports = Annotated[Path, typer.Option("--reports", help="Folder for rendered reports.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes [the processors there are].")
]
Surveys = Annotated[int | None, typer.Option("--surveys", min=2, help="Simulated surveys.")]
Stars = Annotated[int | None, typer.Option("--stars", min=20, help="Stars of each.")]


def _command(name: str, summary: str, kind: str, default: str) -> Callable[..., None]:
    """Return the command that runs a recipe of `checks.posterior` and writes its page."""

    def command(
        recipe: Path = typer.Argument(Path(default), help=f"A {kind} recipe (TOML)."),  # noqa: B008
        as_json: AsJson = False,
        surveys: Surveys = None,
        stars: Stars = None,
        workers: Workers = None,
        overwrite: Overwrite = False,
        products: Products = Path("runs"),
        reports: Reports = Path("reports"),
    ) -> None:
        from migrate_bayes.checks import posterior
        from migrate_bayes.core.parallel import default_workers

        # An error of the recipe comes before the numerical libraries load.
        schema = posterior.CalibrateRecipe if name == "calibrate" else posterior.BiasRecipe
        plan = schema.read(recipe)
        from migrate_bayes.checks.posterior.page import tables, write_page

        measure = posterior.calibrate if name == "calibrate" else posterior.measure_bias
        changes = {"surveys": surveys, "stars": stars}
        plan = plan.model_copy(update={k: v for k, v in changes.items() if v is not None})
        ledger = products / plan.name / "surveys.jsonl"
        found = measure(plan, ledger, workers=workers or default_workers(), overwrite=overwrite)
        page = write_page(found, plan, reports / plan.name, recipe.read_text(encoding="utf-8"))
        if as_json:
            print(json.dumps(found.summary() | {"page": str(page)}, ensure_ascii=False))
            return
        for table in tables(found):
            table.print()
        print(page)

    command.__name__, command.__doc__ = name, summary
    return command


calibrate = _command(
    "calibrate",
    "Simulation-based calibration of the fit: coverage and ranks; goes on where it stopped.",
    "calibration",
    "runs/calibrate.toml",
)
bias = _command(
    "bias",
    "What regression in bins of age gets wrong, effect by effect; goes on where it stopped.",
    "bias",
    "runs/odr-bias.toml",
)
