"""Pages: ``reports/<name>/index.html`` of a calibration and of a bias measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from migrate_bayes.checks.posterior import figures, tables
from migrate_bayes.checks.posterior.bias import QUANTITIES, BiasRow
from migrate_bayes.checks.posterior.ranks import Calibration
from migrate_bayes.checks.posterior.recipe import BiasRecipe, CalibrateRecipe
from migrate_bayes.core.provenance import provenance
from migrate_bayes.report.html import write_html
from migrate_bayes.report.image import encode
from migrate_bayes.report.section import Section

__all__ = ["write_bias_page", "write_calibration_page"]


def _write(
    directory: Path,
    recipe: CalibrateRecipe | BiasRecipe,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    recipe_text: str,
    overwrite: bool,
) -> Path:
    record = provenance(seed=recipe.seed, recipe_hash=recipe.hash)
    return write_html(
        directory,
        title=title,
        facts=[*facts, ("made", record["created"])],
        notes=[recipe.description] if recipe.description else [],
        sections=sections,
        record=[("recipe hash", record["recipe_hash"]), ("seed", record["seed"])],
        recipe_text=recipe_text,
        overwrite=overwrite,
    )


def write_calibration_page(
    found: Calibration,
    recipe: CalibrateRecipe,
    directory: Path,
    *,
    recipe_text: str = "",
    overwrite: bool = False,
) -> Path:
    """Write the page of a calibration.

    Raises
    ------
    ProductError
        Where a page stands there already.
    """
    whole = tables.coverage_table(found, everything=True)
    sections = [
        Section(
            "In short",
            "short",
            [
                "Each survey's parameters were drawn from the model's priors, its stars from the "
                "model, and the posterior sampled from the stars. If all of these agree, the rank "
                "of the truth among the draws is uniform, and an interval of probability p holds "
                "the truth in a share p of surveys.",
            ],
            [
                encode(
                    figures.coverage_figure(found),
                    "Coverage of central intervals",
                    "Share of central intervals that hold the truth; grey: binomial 99% band.",
                )
            ],
            [tables.calibration_table(found), tables.coverage_table(found)],
        ),
        Section(
            "Ranks",
            "ranks",
            [
                "A curve above zero at small ranks and below at large ones is a posterior too "
                "narrow; the reverse, too wide; a curve to one side of zero, a bias.",
            ],
            [
                encode(
                    figures.rank_figure(found),
                    "ECDF of ranks minus uniform",
                    "Empirical distribution of the ranks minus the uniform one. Grey: the band "
                    "that holds the whole curve in 99% of calibrated runs (Säilynoja et al. 2022); "
                    "p: share of such runs that stray as far.",
                ),
                encode(
                    figures.recovery_figure(found),
                    "Posterior against truth",
                    "Posterior mean and standard deviation of each survey against its truth.",
                ),
            ],
            [],
        ),
        Section("All parameters", "all", tables=[whole]),
    ]
    facts = [
        ("surveys", f"{found.surveys}"),
        ("stars each", f"{recipe.stars:,}"),
        ("verdict", "pass" if found.passed else "FAIL"),
    ]
    return _write(
        directory, recipe, title="Calibration of the population model", facts=facts,
        sections=sections, recipe_text=recipe_text, overwrite=overwrite,
    )  # fmt: skip


def write_bias_page(
    rows: Sequence[BiasRow],
    recipe: BiasRecipe,
    directory: Path,
    *,
    recipe_text: str = "",
    overwrite: bool = False,
) -> Path:
    """Write the page of a bias measurement.

    Raises
    ------
    ProductError
        Where a page stands there already.
    """
    drawn = encode(
        figures.bias_figure(rows),
        "Bias and error bars by method and scenario",
        "Thin bars: actual error of one survey (standard deviation over surveys); thick bars: "
        "Monte-Carlo error of the bias. Right of each: claimed over actual error, below 1 where "
        "error bars are too short.",
    )
    text = [
        f"Surveys of {recipe.stars:,} stars, all of the same truth: thin-disc gradient "
        f"{recipe.truth.gradient_young:g} dex/kpc at 1 Gyr, flattening by "
        f"{recipe.truth.flattening_rate:g} dex/kpc/Gyr. Each scenario turns on some of what a real "
        "survey has. ODR: bins of 1.25 Gyr from 1 to 12.25 Gyr in the maximum-likelihood age, "
        "[Fe/H] on R_g with both errors, a weighted line through slope(age). With the thick disc "
        "on, the regressions take the chemical thin disc; with the Z_max cut, stars below "
        f"{recipe.zmax_limit:g} kpc. The hierarchical fit takes all stars, but for “one cut for "
        "all”, where it sees those below the cut only and is not told of it.",
    ]
    section = Section(
        "Bias",
        "bias",
        text,
        [drawn],
        [tables.bias_table(rows, quantity) for quantity in QUANTITIES],
    )
    facts = [
        ("surveys of each scenario", f"{recipe.surveys}"),
        ("fitted hierarchically", f"{recipe.fits}"),
        ("stars each", f"{recipe.stars:,}"),
    ]
    return _write(
        directory, recipe, title="What regression in bins of age gets wrong", facts=facts,
        sections=[section], recipe_text=recipe_text, overwrite=overwrite,
    )  # fmt: skip
