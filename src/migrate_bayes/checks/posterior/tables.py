"""Tables of a calibration and of a bias measurement, as title, header and rows of text."""

from __future__ import annotations

from collections.abc import Sequence

from migrate_bayes.checks.posterior.bias import METHODS, QUANTITIES, BiasRow
from migrate_bayes.checks.posterior.ranks import LEVELS, Calibration
from migrate_bayes.population.results.units import UNITS

__all__ = ["bias_table", "calibration_table", "coverage_table"]

Table = tuple[str, list[str], list[list[str]]]


def _verdict(passed: bool) -> str:
    return "pass" if passed else "FAIL"


def coverage_table(found: Calibration, *, everything: bool = False) -> Table:
    """Coverage of central intervals, and tests of the ranks, of the main parameters or of all."""
    first = next(iter(found.coverage.values()))
    bands = [f"{c.level:.0%} [{c.low / c.surveys:.1%}–{c.high / c.surveys:.1%}]" for c in first]
    header = ["parameter", "unit", *bands, "verdict", "p (χ²)", "p (ECDF)"]
    rows = []
    for name in found.rank if everything else found.main:
        row = found.coverage[name]
        rows.append(
            [
                name,
                UNITS.get(name.partition("[")[0], ""),
                *(f"{c.fraction:.1%}" for c in row),
                _verdict(all(c.passed for c in row)),
                f"{found.chi_square_p[name]:.3f}",
                f"{found.ecdf_p[name]:.3f}",
            ]
        )
    which = "all parameters" if everything else "main parameters"
    title = f"Coverage of central intervals over {found.surveys} surveys, {which}"
    return f"{title} (binomial 99% bands)", header, rows


def calibration_table(found: Calibration) -> Table:
    """What the fits were like, and the verdict."""
    summary = found.summary()
    rows = [
        ["surveys", f"{found.surveys}"],
        ["coverage of the main parameters", _verdict(found.passed)],
        [
            f"coverage of all {len(found.rank)} parameters together",
            ", ".join(
                "{:.1%} ± {:.1%}".format(*found.pooled(level)) + f" of {level:.0%}"
                for level in LEVELS
            ),
        ],
        [
            f"other parameters' coverages outside their band, of {len(LEVELS)} × "
            f"{summary['others']['parameters']}",
            f"{summary['others']['coverage_outside_band']}",
        ],
        ["least p (ECDF) of all", f"{summary['others']['least_ecdf_p']:.4f}"],
        ["smallest effective sample size", f"{found.ess.min():.0f}"],
        ["largest R̂", f"{found.r_hat.max():.3f}"],
        ["divergences", f"{int(found.divergences.sum())}"],
        ["sampled by", ", ".join(f"{m} {n}" for m, n in summary["methods"].items())],
        *([] if found.worst_pareto_k is None else [["largest k̂", f"{found.worst_pareto_k:.2f}"]]),
        ["processor time of a survey, s", f"{found.seconds.mean():.1f}"],
    ]
    return "Calibration", ["quantity", "value"], rows


def bias_table(rows: Sequence[BiasRow], quantity: str) -> Table:
    """Bias with its Monte-Carlo error and claimed over actual error, a row a scenario."""
    unit = QUANTITIES[quantity][1]
    header = ["turned on"]
    for method in METHODS:
        header += [f"{method}: bias", "claimed/actual"]
    out = []
    for scenario in dict.fromkeys(row.scenario for row in rows):
        line = [scenario]
        for method in METHODS:
            cell = ["–", "–"]
            for r in rows:
                if (r.scenario, r.method, r.quantity) == (scenario, method, quantity):
                    cell = [
                        f"{1e3 * r.bias:+.2f} ± {1e3 * r.bias_error:.2f}",
                        f"{r.ratio:.2f} ± {r.ratio_error:.2f}",
                    ]
            line += cell
        out.append(line)
    first = [r for r in rows if r.quantity == quantity]
    truth = first[0].truth if first else float("nan")
    return f"{quantity}, truth {truth:g} {unit}; bias in 10⁻³ {unit}", header, out
