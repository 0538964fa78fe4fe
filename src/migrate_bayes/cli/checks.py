"""Commands on the evidence about the package: ``benchmark``, ``calibrate``, ``bias``, ``validate``.

What can be wrong with a recipe or with a product's place is said before the numerical libraries
load. A new benchmark gets a dictionary from a module of `checks.speed` for `harness.emit`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, and nothing else, on stdout.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace products that exist.")]
Products = Annotated[Path, typer.Option("--products", help="Folder for products.")]
Reports = Annotated[Path, typer.Option("--reports", help="Folder for rendered reports.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the mock stars.")]
#: The choices of `SamplerOptions.method`, which is not loaded for a command's help.
FitMethod = Literal["auto", "nuts", "surrogate"]

RUNS, REPORTS = Path("runs"), Path("reports")
_VALIDATE_AGES = Path("validate-ages")
# Tables of `validate ages` that are printed, in their order.
_PRINTED = (
    "aims", "m67", "clusters", "trends", "giants", "choices", "families", "parsec medians",
    "calibration", "systematic",
)  # fmt: skip

benchmark = typer.Typer(
    help="Time a stage and check it against independent codes.", no_args_is_help=True
)
validate = typer.Typer(
    help="Hold the stages against what is known otherwise.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@benchmark.command()
def ages(
    as_json: AsJson = False,
    stars: Annotated[int, typer.Option("--stars", min=400, help="Stars to time.")] = 20_000,
    source: Annotated[
        str, typer.Option("--source", help="Isochrones [native Dartmouth files, or dartmouth].")
    ] = "",
    reference_stars: Annotated[
        int, typer.Option("--reference-stars", min=6, help="Stars to integrate by brute force.")
    ] = 40,
    lachesis_stars: Annotated[
        int, typer.Option("--lachesis-stars", min=0, help="Stars for astrolachesis to fit.")
    ] = 1,
    full: Annotated[
        bool, typer.Option("--full", help="Stream 4,000,000 stars for the peak of memory.")
    ] = False,
    seed: Seed = 1,
) -> None:
    """Isochrone ages: speed, error against brute force, memory."""
    from migrate_bayes.checks.speed.ages import benchmark_ages
    from migrate_bayes.checks.speed.harness import emit

    result = benchmark_ages(
        source=source or None, stars=stars, reference_stars=reference_stars,
        lachesis_stars=lachesis_stars, memory_stars=4_000_000 if full else 200_000, seed=seed,
    )  # fmt: skip
    emit("Isochrone ages", result, as_json=as_json)


@benchmark.command()
def orbits(
    as_json: AsJson = False,
    seed: Seed = 0,
    potential: Annotated[
        list[str] | None, typer.Option("--potential", help="One of them only; may be repeated.")
    ] = None,
    disc: Annotated[int, typer.Option("--disc", help="Disc stars that galpy integrates.")] = 500,
    hot: Annotated[int, typer.Option("--hot", help="Hot stars that galpy integrates.")] = 100,
    stars: Annotated[int, typer.Option("--stars", help="Stars of the speeds.")] = 24_000,
    catalogue: Annotated[
        int, typer.Option("--catalogue", help="Stars of the run through the whole stage.")
    ] = 20_000,
) -> None:
    """Z_max and guiding radii against galpy; galpy's McMillan17 takes minutes."""
    from migrate_bayes.checks.speed.harness import emit
    from migrate_bayes.checks.speed.orbits import benchmark_orbits
    from migrate_bayes.orbits import POTENTIALS

    result = benchmark_orbits(
        potentials=tuple(potential or POTENTIALS),
        disc=disc, hot=hot, stars=stars, catalogue=catalogue, seed=seed,
    )  # fmt: skip
    emit("Orbits", result, as_json=as_json)


@benchmark.command()
def fit(
    as_json: AsJson = False,
    stars: Annotated[int, typer.Option("--stars", min=1000, help="Stars to fit.")] = 100_000,
    draws: Annotated[int, typer.Option("--draws", min=50, help="Draws of each chain.")] = 1000,
    method: Annotated[
        FitMethod, typer.Option("--method", help="How the posterior is sampled.")
    ] = "auto",
    seed: Seed = 1,
) -> None:
    """The hierarchical fit: gradient, posterior, memory, truth; 1,300,000 stars for a survey."""
    from migrate_bayes.checks.speed.fit import benchmark_fit
    from migrate_bayes.checks.speed.harness import emit

    result = benchmark_fit(stars=stars, draws=draws, method=method, seed=seed)
    emit("Population fit", result, as_json=as_json)


def _survey_command(name: str, summary: str, kind: str, default: str) -> Callable[..., None]:
    """Return the command that runs a recipe of `checks.posterior` and writes its page."""

    def command(
        recipe: Path = typer.Argument(  # noqa: B008
            Path(default), help=f"A {kind} recipe (TOML), or the name of one of the package."
        ),
        as_json: AsJson = False,
        surveys: Annotated[
            int | None, typer.Option("--surveys", min=2, help="Simulated surveys.")
        ] = None,
        stars: Annotated[int | None, typer.Option("--stars", min=20, help="Stars of each.")] = None,
        workers: Annotated[
            int | None,
            typer.Option("--workers", min=1, help="Processes [the processors there are]."),
        ] = None,
        overwrite: Annotated[
            bool, typer.Option("--overwrite", help="Begin anew, and replace the page.")
        ] = False,
        products: Products = RUNS,
        reports: Reports = REPORTS,
    ) -> None:
        from migrate_bayes.checks import posterior
        from migrate_bayes.core.parallel import default_workers
        from migrate_bayes.run.recipe import find_recipe

        recipe = find_recipe(recipe)
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


calibrate = _survey_command(
    "calibrate",
    "Simulation-based calibration of the fit: coverage and ranks; goes on where it stopped.",
    "calibration",
    "calibrate",
)
bias = _survey_command(
    "bias",
    "What regression in bins of age gets wrong, effect by effect; goes on where it stopped.",
    "bias",
    "odr-bias",
)


@validate.command("ages")
def validate_ages(
    recipe: Annotated[
        Path, typer.Argument(help="A validation recipe (TOML), or the name of the package's.")
    ] = _VALIDATE_AGES,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    stars: Annotated[
        int | None, typer.Option("--stars", min=100, help="Stars of the calibration.")
    ] = None,
    products: Products = RUNS,
    reports: Reports = REPORTS,
) -> Any:
    """Ages of the Sun, M67, Kepler and HARPS dwarfs; families; calibration of the posteriors."""
    from migrate_bayes.checks.ages.recipe import ValidateAges
    from migrate_bayes.core.io import refuse_existing, write_netcdf
    from migrate_bayes.run.recipe import find_recipe, read_as

    recipe = find_recipe(recipe)
    plan = read_as(recipe, ValidateAges)
    if stars is not None:
        calibration = plan.calibration.model_copy(update={"stars": stars})
        plan = plan.model_copy(update={"calibration": calibration})
    product, folder = products / plan.name / "ages.nc", reports / plan.name
    refuse_existing(product, folder, overwrite=overwrite)
    from migrate_bayes.checks.ages.age_page import write_page
    from migrate_bayes.checks.ages.comparisons import summary, tables, to_tree
    from migrate_bayes.checks.ages.validation import validate_ages

    found = validate_ages(plan, say=lambda part: print(f"… {part}", file=sys.stderr, flush=True))
    write_netcdf(to_tree(found), product, overwrite=overwrite)
    text = recipe.read_text(encoding="utf-8")
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
