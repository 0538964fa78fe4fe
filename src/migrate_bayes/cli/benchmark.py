"""``migrate-bayes benchmark ...``: one command a benchmark; each loads what it needs when it runs.

A new one takes ``--json`` and whatever sets its size, gets a dictionary from its own module, and
gives it to `harness.emit`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

app = typer.Typer(help="Time a stage and check it against independent codes.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the mock stars.")]


# Those of `SamplerOptions.method`, which is not loaded for a command's help.
FitMethod = Literal["auto", "nuts", "surrogate"]


@app.command()
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
    from migrate_bayes.checks.speed.ages import FULL_SURVEY, benchmark_ages
    from migrate_bayes.checks.speed.harness import emit

    result = benchmark_ages(
        source=source or None, stars=stars, reference_stars=reference_stars,
        lachesis_stars=lachesis_stars, memory_stars=FULL_SURVEY if full else 200_000, seed=seed,
    )  # fmt: skip
    emit("Isochrone ages", result, as_json=as_json)


@app.command()
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


@app.command()
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
