"""The command line. Only typer is imported here; each command imports what it needs when it runs.

An error that a user can mend ends with one message and exit code 2; ``--debug`` shows where it came
from.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from migrate_bayes.benchmark.commands import app as benchmarks
from migrate_bayes.calibrate.commands import bias, calibrate

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
Reports = Annotated[Path, typer.Option("--reports", help="Folder for rendered reports.")]


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    _state["debug"] = debug


def _run(recipe: Path, products: Path, reports: Path, overwrite: bool) -> Any:
    from migrate_bayes.config import load_recipe
    from migrate_bayes.pipeline import Run

    return Run(
        load_recipe(recipe),
        recipe_text=recipe.read_text(),
        products=products,
        reports=reports,
        overwrite=overwrite,
    )


@app.command()
def run(
    recipe: RecipeArgument,
    overwrite: Overwrite = False,
    products: Products = Path("runs"),
    reports: Reports = Path("reports"),
) -> None:
    """Run a recipe from data to report; the last line is the report's path."""
    page = _run(recipe, products, reports, overwrite).all()
    print(page)


@app.command()
def simulate(
    recipe: RecipeArgument, overwrite: Overwrite = False, products: Products = Path("runs")
) -> None:
    """Make a recipe's mock catalogue, with its truth beside it."""
    print(_run(recipe, products, Path("reports"), overwrite).simulate())


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


@app.command()
def fit(
    recipe: RecipeArgument, overwrite: Overwrite = False, products: Products = Path("runs")
) -> None:
    """Fit the hierarchical model."""
    done = _run(recipe, products, Path("reports"), overwrite)
    tree = done.fit()
    from migrate_bayes.report import print_headline

    print_headline(tree, None, done.recipe.truth())


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
def show(
    product: Annotated[Path, typer.Argument(help="A product or catalogue.")],
) -> None:
    """Print what a product holds."""
    from migrate_bayes.show import show_product

    show_product(product)


@app.command()
def isochrones(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names, such as dartmouth; all where none is given.")
    ] = None,
) -> None:
    """List isochrone sources: ages, compositions, bands and checksums."""
    from migrate_bayes.show import show_isochrones

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
    from migrate_bayes.validation.command import run_validate_ages

    run_validate_ages(
        None if recipe == _VALIDATE_AGES and not recipe.exists() else recipe,
        as_json=as_json, overwrite=overwrite, stars=stars, products=products, reports=reports,
    )  # fmt: skip


def main() -> None:
    """Entry point: word the user's errors, and end with exit code 2."""
    from migrate_bayes.errors import MigrateBayesError

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


if __name__ == "__main__":
    main()
