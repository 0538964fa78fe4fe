"""Tables, figures and page of a calibration and of a bias measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from migrate_bayes.checks.posterior.bias import METHODS, QUANTITIES, BiasTable
from migrate_bayes.checks.posterior.calibration import Calibration
from migrate_bayes.checks.posterior.ranks import BAND, LEVELS
from migrate_bayes.checks.posterior.recipe import BiasRecipe, SurveyRecipe
from migrate_bayes.core.provenance import provenance
from migrate_bayes.core.table import Estimate, Table
from migrate_bayes.plots.style import BLUE, GREY, ODR, VERMILION, in_style, new_figure
from migrate_bayes.population.sampling.posterior import UNITS
from migrate_bayes.report.section import Section, encode, write_html

# Colour, marker and label of each method; title of each quantity.
_LOOKS = {
    "odr": (ODR["odr"], "s", "ODR"),
    "odr+scatter": (ODR["odr+scatter"], "D", "ODR + scatter"),
    "hierarchical": (BLUE, "o", "hierarchical"),
}
_TITLES = {"gradient_young": "gradient at 1 Gyr", "flattening_rate": "flattening rate"}


def _unit(name: str) -> str:
    return UNITS.get(name.partition("[")[0], "")


def _verdict(passed: bool) -> str:
    return "pass" if passed else "FAIL"


def coverage_table(found: Calibration, *, everything: bool = False) -> Table:
    """Tabulate coverage and tests of the ranks, of the main parameters or of all."""
    names = found.rank if everything else found.main
    first = next(iter(found.coverage.values()))
    bands = ["{:.0%} [{:.1%}–{:.1%}]".format(c.level, *c.band) for c in first]
    rows = []
    for name in names:
        shares = [f"{c.fraction:.1%}" for c in found.coverage[name]]
        verdict = _verdict(all(c.passed for c in found.coverage[name]))
        tests = [f"{p[name]:.3f}" for p in (found.chi_square_p, found.ecdf_p)]
        rows.append([name, _unit(name), *shares, verdict, *tests])
    title = (
        f"Coverage of central intervals over {found.surveys} surveys, "
        f"{'all' if everything else 'main'} parameters (binomial 99% bands)"
    )
    return Table(title, ["parameter", "unit", *bands, "verdict", "p (χ²)", "p (ECDF)"], rows)


def calibration_table(found: Calibration) -> Table:
    """Tabulate the verdict and the diagnostics of the fits."""
    others = found.summary()["others"]
    pooled = ("{:.1%} ± {:.1%}".format(*found.pooled(p)) + f" of {p:.0%}" for p in LEVELS)
    rows = [
        ["surveys", f"{found.surveys}"],
        ["coverage of the main parameters", _verdict(found.passed)],
        [f"coverage of all {len(found.rank)} parameters together", ", ".join(pooled)],
        [
            f"other parameters' coverages outside their band, of {len(LEVELS)} × "
            f"{others['parameters']}",
            f"{others['coverage_outside_band']}",
        ],
        ["least p (ECDF) of all", f"{others['least_ecdf_p']:.4f}"],
        ["smallest effective sample size", f"{found.ess.min():.0f}"],
        ["largest R̂", f"{found.r_hat.max():.3f}"],
        ["divergences", f"{int(found.divergences.sum())}"],
        ["sampled by", ", ".join(f"{m} {n}" for m, n in found.methods.items())],
        *([] if found.worst_pareto_k is None else [["largest k̂", f"{found.worst_pareto_k:.2f}"]]),
        ["processor time of a survey, s", f"{found.seconds.mean():.1f}"],
    ]
    return Table("Calibration", ["quantity", "value"], rows)


def bias_rows(table: BiasTable, quantity: str) -> Table:
    """Tabulate bias and claimed over actual error, a scenario a row."""
    unit = QUANTITIES[quantity][1]
    rows = []
    for scenario in dict.fromkeys(scenario for scenario, _, _ in table):
        row = [scenario]
        for method in METHODS:
            found = table.get((scenario, method, quantity))
            if found is None:
                row += ["–", "–"]
                continue
            bias = Estimate.symmetric(1e3 * found.bias.value, 1e3 * found.bias.plus)
            row += [bias.text(digits=2, sign=True), found.ratio.text(digits=2)]
        rows.append(row)
    truth = next((b.truth for (_, _, name), b in table.items() if name == quantity), float("nan"))
    header = ["turned on", *(h for m in METHODS for h in (f"{m}: bias", "claimed/actual"))]
    return Table(f"{quantity}, truth {truth:g} {unit}; bias in 10⁻³ {unit}", header, rows)


def _panels(n: int, *, height: float) -> tuple[Any, list[Any]]:
    columns = min(4, n)
    rows = -(-n // columns)
    made = new_figure(3.2 * columns, height * rows)
    axes = made.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[n:]:
        ax.set_visible(False)
    return made, list(axes[:n])


@in_style
def rank_figure(found: Calibration) -> Any:
    """Draw the ECDF of the ranks minus its expectation, with the simultaneous band.

    Parameters
    ----------
    found : Calibration
        From `calibrate`.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per main parameter.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import Calibration, rank_figure
    >>> one = {"truth": {"slope": 0.0}, "mean": {"slope": 0.1}, "sd": {"slope": 1.0}, "ess": 90.0}
    >>> one |= {"r_hat": 1.0, "divergences": 0, "seconds": 3.0, "method": "nuts", "pareto_k": None}
    >>> results = [one | {"rank": {"slope": survey % 40}} for survey in range(80)]
    >>> made = rank_figure(Calibration(results, main=["slope"], n_ranks=40))
    >>> made.get_supylabel()
    'ECDF − uniform'
    """
    made, axes = _panels(len(found.main), height=2.7)
    z = found.uniform.z

    def on_all(curve: Any) -> Any:
        """Subtract the expectation, and add the ends 0 and 1, where the difference is 0."""
        return np.pad(curve - z, 1)

    full = np.concatenate([[0.0], z, [1.0]])
    low, high = map(on_all, found.uniform.band())
    for ax, name in zip(axes, found.main, strict=True):
        inside = found.ecdf_p[name] >= 1.0 - BAND
        ax.fill_between(full, low, high, color=GREY, alpha=0.2, lw=0, step="post")
        ax.axhline(0.0, color="black", lw=0.7)
        difference = on_all(found.uniform.curve(found.rank[name]))
        ax.step(full, difference, where="post", color=BLUE if inside else VERMILION)
        reach = 1.35 * max(float(np.max(high)), float(np.abs(difference).max()))
        ax.set(xlim=(0, 1), ylim=(-reach, reach), title=name)
        ax.annotate(
            rf"$p$ = {found.ecdf_p[name]:.2f},  $\chi^2$: {found.chi_square_p[name]:.2f}",
            (0.5, 0.04), xycoords="axes fraction", ha="center", fontsize=10.5,
        )  # fmt: skip
    made.supxlabel("rank of the truth among the draws / number of ranks")
    made.supylabel("ECDF − uniform")
    return made


@in_style
def coverage_figure(found: Calibration) -> Any:
    """Draw the coverage of every main parameter's intervals beside their binomial bands.

    Parameters
    ----------
    found : Calibration
        From `calibrate`.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per level, one row per main parameter.

    Examples
    --------
    See `rank_figure`.
    """
    made = new_figure(9.5, 0.42 * len(found.main) + 1.5)
    axes = made.subplots(1, len(LEVELS), sharey=True)
    place = np.arange(len(found.main))[::-1]
    for k, (ax, level) in enumerate(zip(axes, LEVELS, strict=True)):
        row = [found.coverage[name][k] for name in found.main]
        low, high = row[0].band
        ax.axvspan(100 * low, 100 * high, color=GREY, alpha=0.2, lw=0)
        ax.axvline(100 * level, color="black", lw=0.7)
        for y, c in zip(place, row, strict=True):
            ax.plot(100 * c.fraction, y, "o", color=BLUE if c.passed else VERMILION)
        ax.set(title=f"central {level:.0%}", xlabel="intervals with the truth  [%]")
        ax.set_yticks(place, found.main)
        ax.tick_params(axis="y", which="minor", left=False, right=False)
        ax.set_ylim(-0.6, len(found.main) - 0.4)
    return made


@in_style
def recovery_figure(found: Calibration) -> Any:
    """Draw every survey's posterior mean and standard deviation against its truth.

    Parameters
    ----------
    found : Calibration
        From `calibrate`.

    Returns
    -------
    matplotlib.figure.Figure
        One panel per main parameter.

    Examples
    --------
    See `rank_figure`.
    """
    made, axes = _panels(len(found.main), height=3.0)
    for ax, name in zip(axes, found.main, strict=True):
        truth = found.truth[name]
        ax.errorbar(
            truth, found.mean[name], found.sd[name], fmt="o", ms=2.2, lw=0.5, color=BLUE, alpha=0.55
        )
        ends = np.array([truth.min(), truth.max()])
        ax.plot(ends, ends, color="black", lw=0.9, zorder=5)
        ax.set_title(f"{name}  [{_unit(name)}]" if _unit(name) else name)
        ax.locator_params(axis="x", nbins=4)
    made.supxlabel("truth")
    made.supylabel("posterior mean ± sd")
    return made


@in_style
def bias_figure(table: BiasTable) -> Any:
    """Draw bias with its Monte-Carlo error, and claimed over actual error, by scenario.

    Parameters
    ----------
    table : BiasTable
        From `measure_bias`.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels per quantity, one row per scenario.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import bias_figure, bias_statistics
    >>> found = bias_statistics([-0.08, -0.07], [0.01, 0.01], truth=-0.075)
    >>> quantities = ("gradient_young", "flattening_rate")
    >>> made = bias_figure({("none", "odr", name): found for name in quantities})
    >>> len(made.axes)
    4
    """
    scenarios = list(dict.fromkeys(scenario for scenario, _, _ in table))
    height = np.arange(len(scenarios))[::-1]
    place = dict(zip(scenarios, height, strict=True))
    made = new_figure(12.0, 0.52 * len(scenarios) + 1.9)
    axes = made.subplots(1, 4, sharey=True, width_ratios=(1.5, 0.8, 1.5, 0.8))
    for (quantity, (_, unit)), bias, ratio in zip(
        QUANTITIES.items(), axes[::2], axes[1::2], strict=True
    ):
        for m, method in enumerate(METHODS):
            color, marker, label = _LOOKS[method]
            mine = {s: b for (s, *rest), b in table.items() if rest == [method, quantity]}
            y = [place[s] + 0.22 * (1 - m) for s in mine]
            x, actual, error, share, of_share = np.reshape(
                [(1e3 * b.bias.value, 1e3 * b.actual, 1e3 * b.bias.plus, b.ratio.value,
                  b.ratio.plus) for b in mine.values()], (-1, 5),
            ).T  # fmt: skip
            # Thin bars: the actual error; thick ones: the Monte-Carlo error of the bias.
            bias.errorbar(x, y, xerr=actual, fmt="none", ecolor=color, elinewidth=0.8, alpha=0.6)
            bias.errorbar(
                x, y, xerr=error, fmt=marker, ms=5, color=color, elinewidth=2.6, label=label
            )
            ratio.errorbar(share, y, xerr=of_share, fmt=marker, ms=5, color=color)
        bias.axvline(0.0, color="black", lw=0.8)
        ratio.axvline(1.0, color="black", lw=0.8)
        ratio.set_xlim(left=0.0)
        bias.set(
            title=f"Bias of the {_TITLES[quantity]}",
            xlabel=f"estimate − truth  [$10^{{-3}}$ {unit}]",
        )
        ratio.set(title="Error bars", xlabel="claimed / actual")
    names = [s.replace("R_g", "$R_g$").replace("Z_max", "$Z_{max}$") for s in scenarios]
    for ax in axes:
        for y in height[1:] + 0.5:
            ax.axhline(y, color=GREY, lw=0.4, alpha=0.4)
        ax.set_yticks(height, names)
        ax.set_ylim(-0.5, len(scenarios) - 0.5)
        ax.tick_params(axis="y", which="both", left=False, right=False)
    made.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return made


def tables(found: Calibration | BiasTable) -> list[Table]:
    """Return the tables that the terminal and the top of the page show."""
    if isinstance(found, Calibration):
        return [coverage_table(found), calibration_table(found)]
    return [bias_rows(found, quantity) for quantity in QUANTITIES]


def _calibration_sections(found: Calibration) -> list[Section]:
    short = (
        "Each survey's parameters were drawn from the model's priors, its stars from the model, "
        "and the posterior sampled from the stars. If all of these agree, the rank of the truth "
        "among the draws is uniform, and an interval of probability p holds the truth in a share p "
        "of surveys."
    )
    shape = (
        "A curve above zero at small ranks and below at large ones is a posterior too narrow; the "
        "reverse, too wide; a curve to one side of zero, a bias."
    )
    covered = encode(
        coverage_figure(found),
        "Coverage of central intervals",
        "Share of central intervals that hold the truth; grey: binomial 99% band.",
    )
    ranked = encode(
        rank_figure(found),
        "ECDF of ranks minus uniform",
        "Empirical distribution of the ranks minus the uniform one. Grey: the band that holds the "
        "whole curve in 99% of calibrated runs (Säilynoja et al. 2022); p: share of such runs that "
        "stray as far.",
    )
    recovered = encode(
        recovery_figure(found),
        "Posterior against truth",
        "Posterior mean and standard deviation of each survey against its truth.",
    )
    return [
        Section("In short", "short", [short], [covered], tables(found)[::-1]),
        Section("Ranks", "ranks", [shape], [ranked, recovered]),
        Section("All parameters", "all", tables=[coverage_table(found, everything=True)]),
    ]


def _bias_sections(found: BiasTable, recipe: BiasRecipe) -> list[Section]:
    text = (
        f"Surveys of {recipe.stars:,} stars, all of the same truth: thin-disc gradient "
        f"{recipe.truth.gradient_young:g} dex/kpc at 1 Gyr, flattening by "
        f"{recipe.truth.flattening_rate:g} dex/kpc/Gyr. Each scenario turns on some of what a real "
        "survey has. ODR: bins of 1.25 Gyr from 1 to 12.25 Gyr in the maximum-likelihood age, "
        "[Fe/H] on R_g with both errors, a weighted line through slope(age). With the thick disc "
        "on, the regressions take the chemical thin disc; with the Z_max cut, stars below "
        f"{recipe.zmax_limit:g} kpc. The hierarchical fit takes all stars, but for “one cut for "
        "all”, where it sees those below the cut only and is not told of it."
    )
    drawn = encode(
        bias_figure(found),
        "Bias and error bars by method and scenario",
        "Thin bars: actual error of one survey (standard deviation over surveys); thick bars: "
        "Monte-Carlo error of the bias. Right of each: claimed over actual error, below 1 where "
        "error bars are too short.",
    )
    return [Section("Bias", "bias", [text], [drawn], tables(found))]


def write_page(
    found: Calibration | BiasTable, recipe: SurveyRecipe, directory: Path, recipe_text: str = ""
) -> Path:
    """Write ``index.html``, or replace it: the ledger can always make it again."""
    stars = ("stars each", f"{recipe.stars:,}")
    if isinstance(found, Calibration):
        title, sections = "Calibration of the population model", _calibration_sections(found)
        facts = [("surveys", f"{found.surveys}"), stars, ("verdict", _verdict(found.passed))]
    else:
        assert isinstance(recipe, BiasRecipe)
        title, sections = "What regression in bins of age gets wrong", _bias_sections(found, recipe)
        counts = (
            ("surveys of each scenario", recipe.surveys),
            ("fitted hierarchically", recipe.fits),
        )
        facts = [*((name, f"{n}") for name, n in counts), stars]
    record = provenance(seed=recipe.seed, recipe_hash=recipe.hash)
    return write_html(
        directory, title=title, facts=[*facts, ("made", record["created"])],
        notes=[recipe.description] if recipe.description else [], sections=sections,
        record=[("recipe hash", record["recipe_hash"]), ("seed", record["seed"])],
        recipe_text=recipe_text, overwrite=True,
    )  # fmt: skip
