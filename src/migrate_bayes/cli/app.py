"""The command line. Only typer is imported here; each command imports what it needs when it runs.

An error that a user can mend ends with one message and exit code 2; ``--debug`` shows where it came
from.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from migrate_bayes.cli.benchmark import app as benchmarks
from migrate_bayes.cli.calibrate import bias, calibrate

__all__ = ["app", "main"]

app = typer.Typer(
    name="migrate-bayes",
    help="Metallicity gradients with stellar age, from catalogue to hierarchical fit and report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(benchmarks, name="benchmark")
app.command()(calibrate)
app.command()(bias)

_state = {"debug": False}

RecipeArgument = Annotated[Path, typer.Argument(help="A run recipe (TOML); see runs/.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace products that exist.")]
Products = Annotated[Path, typer.Option("--products", help="Folder for products.")]
Stars = Annotated[
    int | None, typer.Option("--stars", min=1, help="Stars of the mock, in place of the recipe's.")
]
Reports = Annotated[Path, typer.Option("--reports", help="Folder for rendered reports.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    _state["debug"] = debug


def _run(
    recipe: Path, products: Path, reports: Path, overwrite: bool, stars: int | None = None
) -> Any:
    from migrate_bayes.run import Run
    from migrate_bayes.run.recipe import load_recipe

    loaded = load_recipe(recipe)
    if stars is not None:
        simulate = loaded.simulate.model_copy(update={"stars": stars})
        loaded = loaded.model_copy(update={"simulate": simulate})
    return Run(
        loaded,
        recipe_text=recipe.read_text(),
        products=products,
        reports=reports,
        overwrite=overwrite,
    )


@app.command()
def run(
    recipe: RecipeArgument,
    overwrite: Overwrite = False,
    stars: Stars = None,
    products: Products = Path("runs"),
    reports: Reports = Path("reports"),
) -> None:
    """Run a recipe from data to report; the last line is the report's path."""
    page = _run(recipe, products, reports, overwrite, stars).all()
    print(page)


@app.command()
def simulate(
    recipe: Annotated[Path, typer.Argument(help="A run recipe (TOML) with a mock.")] = Path(
        "runs/paper.toml"
    ),
    overwrite: Overwrite = False,
    stars: Stars = None,
    products: Products = Path("runs"),
) -> None:
    """Make a recipe's mock catalogue, with its truth beside it."""
    print(_run(recipe, products, Path("reports"), overwrite, stars).simulate())


@app.command()
def ages(
    recipe: RecipeArgument, overwrite: Overwrite = False, products: Products = Path("runs")
) -> None:
    """Compute age posteriors."""
    print(_run(recipe, products, Path("reports"), overwrite).ages())


@app.command()
def orbits(
    recipe: RecipeArgument, overwrite: Overwrite = False, products: Products = Path("runs")
) -> None:
    """Compute phase space, guiding radii and Z_max."""
    print(_run(recipe, products, Path("reports"), overwrite).orbits())


@app.command()
def baseline(
    recipe: RecipeArgument, overwrite: Overwrite = False, products: Products = Path("runs")
) -> None:
    """Fit ODR in age bins, as the paper did."""
    done = _run(recipe, products, Path("reports"), overwrite)
    from migrate_bayes.report import print_baseline

    for fit in done.baseline():
        if fit is not None:
            print_baseline(fit)
    done.variants()


@app.command()
def fit(
    recipe: RecipeArgument, overwrite: Overwrite = False, products: Products = Path("runs")
) -> None:
    """Fit the hierarchical model."""
    done = _run(recipe, products, Path("reports"), overwrite)
    tree = done.fit()
    from migrate_bayes.report import print_headline

    print_headline(tree, None, done.recipe.truth())


@app.command("compare-models")
def compare_models(
    recipe: RecipeArgument,
    forms: Annotated[
        list[str] | None,
        typer.Option("--form", help="A gradient form; may be repeated. The recipe's by default."),
    ] = None,
    overwrite: Overwrite = False,
    products: Products = Path("runs"),
) -> None:
    """Fit several forms of the gradient to the same stars and rank them by leave-one-out."""
    from migrate_bayes.population.results.compare_forms import print_comparison

    print_comparison(
        _run(recipe, products, Path("reports"), overwrite).compare_models(tuple(forms or ()))
    )


@app.command()
def diagnose(
    fit: Annotated[Path, typer.Argument(help="A fit, or the folder of its run.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 1 where a check fails.")
    ] = False,
) -> None:
    """Say of a fit whether it can be believed, check by check."""
    from migrate_bayes.population.results.diagnose import print_diagnosis, read_fit

    if not print_diagnosis(read_fit(fit)) and strict:
        raise typer.Exit(1)


@app.command()
def report(
    recipe: RecipeArgument,
    overwrite: Overwrite = False,
    products: Products = Path("runs"),
    reports: Reports = Path("reports"),
) -> None:
    """Render the report of fits that exist; the last line is its path."""
    print(_run(recipe, products, reports, overwrite).report())


@app.command()
def compare(
    recipes: Annotated[
        list[Path], typer.Argument(help="Recipes with a section [compare], of the same stars.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else, on stdout.")
    ] = False,
    overwrite: Overwrite = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A recipe that was run: compare on its stars."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the product and page; the recipes' by default.")
    ] = None,
    products: Products = Path("runs"),
    reports: Reports = Path("reports"),
) -> None:
    """Compare gradients across potentials, frames, isochrones, selections: paired differences."""
    from migrate_bayes.cli.compare import run_compare

    run_compare(
        recipes, as_json=as_json, overwrite=overwrite, products=products, reports=reports,
        source=source, name=name,
    )  # fmt: skip


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run's folder, as runs/demo.")],
    to: Annotated[Path, typer.Option("--to", help="stars.parquet or stars.fits.")],
    overwrite: Overwrite = False,
) -> None:
    """Write a run's catalogue: one row per star, with units, UCDs and descriptions."""
    from migrate_bayes.export import export_run

    path, rows = export_run(run, to, overwrite=overwrite)
    print(f"{rows:,} stars, {path.stat().st_size / 1024**2:.1f} MB")
    print(path)


@app.command()
def show(
    product: Annotated[Path, typer.Argument(help="A product or catalogue.")],
) -> None:
    """Print what a product holds."""
    from migrate_bayes.cli.show import show_product

    show_product(product)


@app.command()
def isochrones(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names, such as dartmouth; all where none is given.")
    ] = None,
) -> None:
    """List isochrone sources: ages, compositions, bands and checksums."""
    from migrate_bayes.cli.show import show_isochrones

    show_isochrones(source or [])


validate = typer.Typer(
    help="Hold the stages against what is known otherwise.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(validate, name="validate")

_VALIDATE_AGES = Path("runs/validate-ages.toml")


@validate.command("ages")
def validate_ages(
    recipe: Annotated[
        Path, typer.Argument(help="A validation recipe (TOML); without one, its defaults.")
    ] = _VALIDATE_AGES,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, and nothing else, on stdout.")
    ] = False,
    overwrite: Overwrite = False,
    stars: Annotated[
        int | None, typer.Option("--stars", min=100, help="Stars of the calibration.")
    ] = None,
    products: Products = Path("runs"),
    reports: Reports = Path("reports"),
) -> None:
    """Ages of the Sun, M67, Kepler and HARPS dwarfs; families; calibration of the posteriors."""
    from migrate_bayes.cli.validate import run_validate_ages

    run_validate_ages(
        None if recipe == _VALIDATE_AGES and not recipe.exists() else recipe,
        as_json=as_json, overwrite=overwrite, stars=stars, products=products, reports=reports,
    )  # fmt: skip


def main() -> None:
    """Entry point: word the user's errors, and end with exit code 2."""
    from migrate_bayes.core.errors import MigrateBayesError

    try:
        app()
    except MigrateBayesError as error:
        if _state["debug"]:
            raise
        print(f"migrate-bayes: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("migrate-bayes: interrupted; unfinished products were removed", file=sys.stderr)
        sys.exit(130)
