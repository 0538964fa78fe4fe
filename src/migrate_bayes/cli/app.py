"""The command line. Only typer is imported here; a command imports what it needs when it runs."""

from __future__ import annotations

import inspect
import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from migrate_bayes.cli import checks
from migrate_bayes.cli.checks import REPORTS, RUNS, AsJson, Overwrite, Products, Reports

if TYPE_CHECKING:
    from migrate_bayes.run import Run

    Stage = Callable[[Run], None]

app = typer.Typer(
    name="migrate-bayes",
    help="Metallicity gradients with stellar age, from catalogue to hierarchical fit and report.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(checks.benchmark, name="benchmark")
app.add_typer(checks.validate, name="validate")
app.command()(checks.calibrate)
app.command()(checks.bias)

_log = logging.getLogger("migrate_bayes")
_state = {"debug": False}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 10.0  # seconds that a stage has to clean up


def _shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise typer.BadParameter(f"'{text}' is no shard: 0/8 to 7/8 are the shards of 8")
    return int(number), int(of)


RecipeArgument = Annotated[
    Path, typer.Argument(help="A run recipe (TOML), or the name of one of the package: demo.")
]
Verify = Annotated[
    bool,
    typer.Option("--verify/--no-verify", help="Compare stars on disk with their checksums first."),
]
#: Options of stages, by name: type and default.
_SETTINGS: dict[str, tuple[Any, Any]] = {
    "overwrite": (Overwrite, False),
    "stars": (Annotated[int | None, typer.Option(
        "--stars", min=1, help="Stars of the mock, in place of the recipe's.")], None),
    "verify": (Verify, True),
    "retry_failed": (Annotated[bool, typer.Option(
        "--retry-failed", help="Try parts of stars again that failed before.")], False),
    "shard": (Annotated[str | None, typer.Option(
        "--shard", metavar="I/N", parser=_shard,
        help="Make part I, I + N, ... of the stars and end; without it, gather the shards.",
    )], None),
    "products": (Products, RUNS),
    "reports": (Reports, REPORTS),
}  # fmt: skip


def _print_version(asked: bool) -> None:
    if asked:
        from migrate_bayes import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", help="A file to which all that is said is added.")
    ] = None,
) -> None:
    _state["debug"] = debug
    if log_file is not None:
        from migrate_bayes.core.errors import ProductError

        try:
            handler = logging.FileHandler(log_file, encoding="utf-8")
        except OSError as error:
            raise ProductError(f"cannot write {log_file}: {error.strerror}") from None
        form = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(logging.Formatter(form))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)
        _log.info(" ".join(sys.argv))


def _fail(said: str, error: BaseException | None = None) -> None:
    """Print an error; a log has its traceback too."""
    print(f"migrate-bayes: {said}", file=sys.stderr)
    _log.info(said, exc_info=error)


def _run(recipe: Path, *, stars: int | None = None, **settings: Any) -> Run:
    from migrate_bayes.run import Run, load_recipe
    from migrate_bayes.run.recipe import find_recipe

    recipe = find_recipe(recipe)
    loaded = load_recipe(recipe)
    if stars is not None:
        simulate = loaded.simulate.model_copy(update={"stars": stars})
        loaded = loaded.model_copy(update={"simulate": simulate})
    return Run(loaded, recipe_text=recipe.read_text(encoding="utf-8"), **settings)


def _stage(*names: str, default: Any = ...) -> Callable[[Stage], Stage]:
    """Make a command of what is done with a run; `names` are those of its `_SETTINGS`."""

    def make(stage: Stage) -> Stage:
        def command(**given: Any) -> None:
            stage(_run(**given))

        options = {"recipe": (RecipeArgument, default)} | {n: _SETTINGS[n] for n in names}
        command.__annotations__ = {name: kind for name, (kind, _) in options.items()}
        command.__signature__ = inspect.Signature([  # type: ignore[attr-defined]
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=kind)
            for n, (kind, value) in options.items()
        ])  # fmt: skip
        app.command(stage.__name__, help=inspect.getdoc(stage))(command)
        return stage

    return make


def _conclude(stages: Run) -> None:
    """End with status 3, and say why in the last line, if the fit may not be believed."""
    if stages.verdict is not None and not stages.verdict.believed:
        print(stages.verdict.sentence)
        raise typer.Exit(3)


@app.command()
def init(
    recipe: Annotated[Path, typer.Argument(help="The file to write.")] = Path("mine.toml"),
    data: Annotated[str, typer.Option("--data", help="The catalogue's file.")] = "stars.fits",
    columns: Annotated[
        str, typer.Option("--columns", help="A column map: see `migrate-bayes columns`.")
    ] = "",
    example: Annotated[
        bool, typer.Option("--example", help="Write a catalogue of 2,000 mock stars too.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a recipe to begin with: every entry with its default and what it does."""
    from migrate_bayes.run.recipe import write_template

    if example:
        from migrate_bayes.core.progress import status
        from migrate_bayes.mock import simulate_to_parquet

        data = "example.parquet"
        with status("making 2,000 mock stars (the first time it compiles, for half a minute)"):
            simulate_to_parquet(data, stars=2000, seed=20210301, overwrite=overwrite)
        print(data)
    print(write_template(recipe, data=data, columns=columns, overwrite=overwrite))


@_stage("products", "reports")
def check(stages: Run) -> None:
    """Check a recipe and its catalogue, without computing a star."""
    outputs = [stages.folder / "stars", stages.folder.report]
    stages.check("ages", "orbits", "fit", outputs=outputs)
    print(f"'{stages.recipe.name}' can run: {stages.folder.catalog} → {stages.folder.path}")


@_stage("overwrite", "stars", "verify", "retry_failed", "shard", "products", "reports")
def run(stages: Run) -> None:
    """Run a recipe from data to report; the last line is the report's path.

    What is there and was made from the same is kept: a run that was stopped goes on.

    Exit status 3: products were written, but a check says that the fit may not be believed. Its
    numbers are withheld; the last line names the cause and the next step. Or parts of the stars
    failed, and are set aside: then nothing is fitted.
    """
    print(stages.all())
    _conclude(stages)


@_stage("overwrite", "stars", "products", default=Path("paper"))
def simulate(stages: Run) -> None:
    """Make a recipe's mock catalogue, with its truth beside it."""
    print(stages.simulate())


@_stage("overwrite", "verify", "retry_failed", "shard", "products")
def ages(stages: Run) -> None:
    """Compute age posteriors."""
    print(stages.ages())


@_stage("overwrite", "verify", "retry_failed", "shard", "products")
def orbits(stages: Run) -> None:
    """Compute phase space, guiding radii and Z_max."""
    print(stages.orbits())


@_stage("overwrite", "verify", "products")
def inject(stages: Run) -> None:
    """Inject stars into the survey: how it takes them by [Fe/H], radius and age."""
    print(stages.inject())


@_stage("overwrite", "verify", "products")
def baseline(stages: Run) -> None:
    """Fit ODR in age bins, as the paper did."""
    from migrate_bayes.report.headline_table import print_baseline

    for fit in stages.baseline():
        if fit is not None:
            print_baseline(fit)
    stages.samples()


@_stage("overwrite", "verify", "products")
def fit(stages: Run) -> None:
    """Fit the hierarchical model.

    Exit status 3: the fit was written, but a check says that it may not be believed. Its numbers
    are withheld; the last line names the cause and the next step.
    """
    tree = stages.fit()
    from migrate_bayes import report as of_report

    truth = stages.recipe.truth()
    of_report.headline(tree, None, truth, verdict=stages.verdict).print()
    _conclude(stages)


@app.command("compare-models")
def compare_models(
    recipe: RecipeArgument,
    forms: Annotated[
        list[str] | None,
        typer.Option(
            "--form",
            help="A gradient form, a profile, 'skew' or 'one-law'; may be repeated. The recipe's "
            "by default.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    products: Products = RUNS,
) -> None:
    """Fit several forms of the gradient to the same stars and rank them by leave-one-out."""
    from migrate_bayes.population.compare_forms import print_comparison

    stages = _run(recipe, overwrite=overwrite, products=products)
    print_comparison(stages.compare_models(tuple(forms or ())))


@app.command()
def diagnose(
    fit: Annotated[Path, typer.Argument(help="A fit, or the folder of its run.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 1 where a check fails.")
    ] = False,
) -> None:
    """Say of a fit whether it can be believed, check by check."""
    from migrate_bayes.population.results.diagnostics import print_diagnosis, read_fit

    if not print_diagnosis(read_fit(fit)) and strict:
        raise typer.Exit(1)


@app.command()
def report(
    recipe: RecipeArgument,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    verify: Verify = True,
    products: Products = RUNS,
    reports: Reports = REPORTS,
) -> None:
    """Render the report of fits that exist; the last line is its path.

    With --json: the headline numbers, and their errors by what makes them.

    Exit status 3: the report was written, but a check says that the fit may not be believed. Its
    numbers are withheld; the last line names the cause and the next step.
    """
    stages = _run(
        recipe, overwrite=overwrite, verify=verify, products=products, reports=reports,
        say=lambda line: print(line, file=sys.stderr if as_json else sys.stdout, flush=True),
    )  # fmt: skip
    page = stages.report()
    if not as_json or stages.headline is None:
        print(page)
        _conclude(stages)
    else:
        print(json.dumps(stages.headline.summary() | {"page": str(page)}, ensure_ascii=False))
        if not stages.headline.verdict.believed:
            raise typer.Exit(3)


@app.command()
def compare(
    recipes: Annotated[
        list[Path], typer.Argument(help="Recipes with a section [compare], of the same stars.")
    ],
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    source: Annotated[
        Path | None, typer.Option("--from", help="A recipe that was run: compare on its stars.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the product and page; the recipes' by default.")
    ] = None,
    products: Products = RUNS,
    reports: Reports = REPORTS,
) -> None:
    """Compare gradients across potentials, frames, isochrones, selections: paired differences.

    Numbers of a variant whose fit may not be believed are withheld. Exit status 3: the reference is
    such a variant, and so are all differences.
    """
    from migrate_bayes.core.io import refuse_existing, write_netcdf
    from migrate_bayes.run import compare_recipes, load_recipe
    from migrate_bayes.run.recipe import find_recipe

    files = [find_recipe(path) for path in recipes]
    loaded = [load_recipe(path) for path in files]
    name = name or "+".join(r.name for r in loaded)
    product, folder = products / name / "comparison.nc", reports / name
    refuse_existing(product, folder, overwrite=overwrite)  # before anything is fitted
    tree = compare_recipes(
        loaded,
        products=products,
        source=None if source is None else load_recipe(source),
        overwrite=overwrite,
        # With --json, stdout holds the object and nothing else.
        say=lambda line: print(line, file=sys.stderr if as_json else sys.stdout, flush=True),
    )
    write_netcdf(tree, product, overwrite=overwrite)
    from migrate_bayes.compare.product import comparison_summary
    from migrate_bayes.report.comparison import comparison_tables, write_comparison_page

    text = "\n\n".join(f"# {path}\n{path.read_text(encoding='utf-8')}" for path in files)
    page = write_comparison_page(tree, folder, name=name, recipe_text=text, overwrite=overwrite)
    summary = comparison_summary(tree)
    doubted = {v["variant"]: v["causes"] for v in summary["variants"] if not v["believed"]}
    if as_json:
        print(json.dumps(summary | {"page": str(page)}, ensure_ascii=False))
    else:
        for table in comparison_tables(tree):
            table.print()
        print(page)
        for label, why in doubted.items():
            print(f"{label}: {why}")
    if not summary["believed"]:
        raise typer.Exit(3)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run's folder, as runs/demo.")],
    to: Annotated[Path, typer.Option("--to", help="stars.parquet, stars.fits or stars.hats.")],
    overwrite: Overwrite = False,
) -> None:
    """Write a run's catalogue: one row per star, with units, UCDs and descriptions."""
    from migrate_bayes.export import export_run

    path, rows = export_run(run, to, overwrite=overwrite)
    print(f"{rows:,} stars, {path.stat().st_size / 1024**2:.1f} MB")
    print(path)


@app.command()
def show(product: Annotated[Path, typer.Argument(help="A product or catalogue.")]) -> None:
    """Print what a product holds."""
    from migrate_bayes.cli.show import show_product

    show_product(product)


@app.command()
def columns(
    file: Annotated[
        Path | None, typer.Argument(help="A catalogue: which maps fit it, and what they find.")
    ] = None,
    column_map: Annotated[
        str | None, typer.Option("--map", help="A column map: what it reads as which column.")
    ] = None,
) -> None:
    """List the canonical columns, the column maps and their operations; or try maps on a file."""
    from migrate_bayes.cli.show import show_columns

    show_columns(file, column_map)


@app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(help="A catalogue, or a TOML file; without one, list the catalogues.")
    ] = "",
    to: Annotated[
        Path | None, typer.Option("--to", help="The Parquet file [NAME.parquet, here].")
    ] = None,
    slice_rows: Annotated[
        int, typer.Option("--slice-rows", min=1, help="About how many rows to ask for at once.")
    ] = 200_000,
    patience: Annotated[
        float, typer.Option("--patience", help="Seconds that the service may take for a slice.")
    ] = 3600.0,
    overwrite: Overwrite = False,
) -> None:
    """Fetch a catalogue from a TAP service, slice by slice; one that was stopped goes on.

    A TOML file asks for any other table: service, table, columns, where, and key, an integer
    column by whose ranges the table is cut.
    """
    from migrate_bayes.catalog import fetching

    if not name:
        for known, query in fetching.fetch_queries().items():
            print(f"{known:<28} {query.description}" + (" (absent)" if query.absent else ""))
        print("`migrate-bayes fetch NAME` brings one; no service has those that are absent")
        return
    path = fetching.fetch(name, to, slice_rows=slice_rows, patience=patience, overwrite=overwrite)
    print(fetching.described(path))
    print(path)


@app.command()
def match(
    first: Annotated[Path, typer.Argument(metavar="A", help="A catalogue, of any format.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="A catalogue to join to it.")],
    to: Annotated[Path, typer.Option("--to", help="The Parquet file to write.")],
    on: Annotated[
        str | None, typer.Option("--on", help="Identifier, or NAME_A=NAME_B [nearest on the sky].")
    ] = None,
    radius: Annotated[
        float, typer.Option("--radius", help="Greatest separation on the sky, arcsec.")
    ] = 1.0,
    epochs: Annotated[
        tuple[float, float] | None,
        typer.Option("--epochs", help="Julian years of the positions of A and B."),
    ] = None,
    keep: Annotated[
        str, typer.Option("--keep", help="Rows without a match: first (A's), both, or matched.")
    ] = "first",
    overwrite: Overwrite = False,
) -> None:
    """Join two catalogues by identifier, or on the sky with proper motion."""
    from migrate_bayes.catalog import matching

    path, matched = matching.match(
        first, second, to, on=on, radius=radius, epochs=epochs, keep=keep, overwrite=overwrite
    )
    print(f"{matched:,} rows of {first} have a match")
    print(path)


@app.command()
def isochrones(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names, such as dartmouth; all where none is given.")
    ] = None,
) -> None:
    """List isochrone sources: ages, compositions, bands and checksums."""
    from migrate_bayes.cli.show import show_isochrones

    show_isochrones(source or [])


def _of_this_machine(error: Exception) -> str | None:
    """Word an error of disks and folders, which may come from any library; None for another."""
    from migrate_bayes.core.io import disk_error

    if (found := disk_error(error)) is not None:
        where = f" ({found.filename})" if found.filename else ""
        return f"{(found.strerror or str(found)).lower()}{where}: make room, and run again"
    if isinstance(error, MemoryError):
        return (
            f"out of memory ({error}): use a smaller chunk_size in the recipe, or fewer threads "
            "(MIGRATE_BAYES_WORKERS); what is finished is kept"
        )
    if "no locator available" in str(error):
        return "compiled code can be kept nowhere: set NUMBA_CACHE_DIR to a folder of your own"
    return None


class _Stopped(BaseException):
    """SIGINT or SIGTERM; no `KeyboardInterrupt`, which a sampler takes for "enough draws"."""


def _stop(number: int, _: object) -> None:
    """Let the stage in hand clean up; at a second signal, or after some seconds, just end."""
    for again in _SIGNALS:
        signal.signal(again, lambda n, _: _end(n))
    late = threading.Timer(_PATIENCE, _end, [number])
    late.daemon = True
    late.start()
    raise _Stopped(number)


def _end(number: int) -> None:
    """End at once, whatever threads are at work: what is on disk is whole."""
    _fail(
        f"stopped by {signal.Signals(number).name}; what is finished is kept, and the same command "
        "goes on from there"
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(128 + number)


def _warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Word a warning without the line of code that it is from."""
    kind = "warning" if issubclass(category, UserWarning) else category.__name__
    _log.info("%s: %s", kind, message)
    return f"migrate-bayes: {kind}: {message}\n"


def main() -> None:
    """Entry point: a user's error ends with its message and exit code 2, unless ``--debug``.

    A signal ends with 128 and its number, as a shell has it.
    """
    from migrate_bayes.core.errors import MigrateBayesError
    from migrate_bayes.core.progress import plain_terminals

    plain_terminals()
    to_stderr = logging.StreamHandler()
    to_stderr.setLevel(logging.WARNING)
    to_stderr.setFormatter(logging.Formatter("migrate-bayes: %(message)s"))
    _log.addHandler(to_stderr)
    for number in _SIGNALS:
        signal.signal(number, _stop)
    warnings.formatwarning = _warning
    try:
        app()
    except MigrateBayesError as error:
        if _state["debug"]:
            raise
        _fail(str(error), error)
        sys.exit(error.status)
    except Exception as error:
        if _state["debug"] or (reason := _of_this_machine(error)) is None:
            _log.info("a defect of this package", exc_info=error)
            raise
        _fail(reason, error)
        sys.exit(2)
    except _Stopped as stopped:
        _end(stopped.args[0])
