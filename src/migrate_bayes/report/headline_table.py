"""The few numbers a run is made for: hierarchical fit (median, 68%), baseline (1σ) and truth."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import xarray as xr

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.core.progress import say
from migrate_bayes.core.table import Estimate, Table, decimals, plain
from migrate_bayes.mock.truth import as_truth
from migrate_bayes.plots.compared import marginals
from migrate_bayes.population.results.diagnostics import (
    Verdict,
    baseline_estimate,
    gradient_estimate,
    judge,
    posterior_estimate,
    youngest_bin,
)
from migrate_bayes.population.results.marginal import numbers

WITHHELD = "withheld"

# Choices that a comparison varies and no star decides; the others ask another question.
_SYSTEMATIC = {
    "potential": "potential", "scaling": "scaling", "r0": "R₀", "v0": "V₀", "family": "isochrones",
    "data": "data",
}  # fmt: skip


class HeadlineRow(NamedTuple):
    """One quantity as each way of fitting has it; None if a way does not give it.

    `withheld` says that the hierarchical fit has it, but may not be believed.
    """

    name: str  # of the posterior's variable, or our own
    label: str
    unit: str
    truth: float | None = None
    hierarchical: Estimate | None = None
    odr_scatter: Estimate | None = None
    odr: Estimate | None = None
    withheld: bool = False

    @property
    def fitted(self) -> str:
        """The hierarchical estimate, worded."""
        return WITHHELD if self.withheld else estimate_text(self.hierarchical)

    @property
    def pull(self) -> float | None:
        """(Hierarchical − truth) / its error on that side; None without truth."""
        if self.truth is None or self.hierarchical is None:
            return None
        difference = self.hierarchical.value - self.truth
        error = self.hierarchical.minus if difference > 0 else self.hierarchical.plus
        return difference / error if error > 0 else None


class Headline(list[HeadlineRow]):
    """Rows; `note` says what a mock's true flattening rate is, if that needs saying.

    `verdict` is that on the fit: if it may not be believed, no row has its numbers. `errors` are
    the parts of their errors (1σ) by what makes them: of each row's name, by source. `marginal`
    has what comparisons find over all levels of a choice: of each row's name, by choice.
    """

    note: str = ""
    verdict: Verdict = Verdict()
    errors: Mapping[str, Mapping[str, float]] = {}
    marginal: Mapping[str, Mapping[str, Mapping[str, float]]] = {}

    @property
    def budget(self) -> Table:
        """Word the parts of the errors; no rows if there is no more than one."""
        return _budget_table(self, self.errors, self.marginal)

    def summary(self) -> dict[str, Any]:
        """Give the rows as plain numbers, None for what is not known: what ``--json`` prints.

        Of each quantity the estimates with their 68% interval (of the baseline 1σ), `errors`, the
        standard deviations by what makes them, and `total`, by the law of total variance, and
        `marginal`, by choice, the mixture over its levels with its percentiles. If the fit may not
        be believed, `believed` is false and `causes` says why; its numbers are None.
        """

        def of(estimate: Estimate | None) -> dict[str, float] | None:
            return None if estimate is None else asdict(estimate)

        quantities = {
            row.name: {
                "label": row.label, "unit": row.unit, "truth": row.truth,
                "hierarchical": of(row.hierarchical), "odr+scatter": of(row.odr_scatter),
                "odr": of(row.odr), "errors": dict(parts := self.errors.get(row.name, {})),
                "total": total_error(parts) if parts else None,
                "marginal": self.marginal.get(row.name, {}),
            }
            for row in self
        }  # fmt: skip
        found = {"believed": self.verdict.believed, "quantities": quantities}
        if not self.verdict.believed:
            found["causes"] = self.verdict.sentence
        return dict(plain(found))

    def table(self) -> Table:
        """Word the rows, without the columns that are empty throughout."""

        def pull(row: HeadlineRow) -> str:
            if row.withheld and row.truth is not None:
                return WITHHELD
            return "" if row.pull is None else f"{row.pull:+.1f}"

        columns = {
            "quantity": [r.label for r in self],
            "unit": [r.unit for r in self],
            "truth": ["" if r.truth is None else f"{r.truth:.3g}" for r in self],
            "hierarchical": [r.fitted for r in self],
            "(fit − truth)/σ": [pull(r) for r in self],
            "ODR + scatter": [estimate_text(r.odr_scatter) for r in self],
            "ODR": [estimate_text(r.odr) for r in self],
        }
        kept = {name: cells for name, cells in columns.items() if any(cells)}
        title = "Metallicity gradients" + ("" if self.verdict.believed else ": not to be believed")
        return Table(title, list(kept), list(zip(*kept.values(), strict=True)))

    def print(self) -> None:
        """Print the table, the note and what the verdict says to stdout."""
        _print(self.table())
        if self.budget:
            _print(self.budget)
        for line in filter(None, [self.note, *self.verdict.lines]):
            say(line)


def headline(
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None = None,
    truth: Mapping[str, float] | None = None,
    *,
    thick_baseline: xr.Dataset | None = None,
    verdict: Verdict | None = None,
    comparisons: Sequence[xr.DataTree] = (),
) -> Headline:
    """Collect the headline numbers of a run.

    Parameters
    ----------
    fit : xarray.DataTree, optional
        A fit (docs/architecture.md).
    baseline : xarray.Dataset, optional
        From `migrate_bayes.fit_baseline`, of the thin disc.
    truth : mapping, optional
        A mock's ``gradient_young`` (dex/kpc, at 1 Gyr), ``flattening_rate`` (dex/kpc/Gyr) and
        ``gradient_thick`` (dex/kpc); if gradient(age) is a curve, a
        `migrate_bayes.mock.truth.Truth`.
    thick_baseline : xarray.Dataset, optional
        Of the thick disc.
    verdict : Verdict, optional
        `migrate_bayes.population.judge` of the fit, if it is at hand.
    comparisons : sequence of xarray.DataTree
        Products of ``migrate-bayes compare`` on these stars: systematic errors are theirs.

    Returns
    -------
    Headline
        A list of rows, without the quantities that neither fit nor baseline gives. The numbers of a
        fit that may not be believed are withheld; its `verdict` says why.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes.report import headline
    >>> draws = np.random.default_rng(0).normal(-0.07, 0.007, (4, 500))
    >>> posterior = xr.Dataset({"gradient_young": (("chain", "draw"), draws)})
    >>> fit = xr.DataTree.from_dict({"posterior": posterior})
    >>> headline(fit, truth={"gradient_young": -0.075}).print()
    <BLANKLINE>
    Metallicity gradients
      quantity                     unit      truth      hierarchical  (fit − truth)/σ
      Thin-disc gradient at 1 Gyr  dex/kpc  -0.075  -0.0702 ± 0.0071             +0.7
    """
    truth = as_truth(truth)
    verdict = judge(fit) if verdict is None else verdict
    slope, rate = "dex/kpc", "dex/kpc/Gyr"
    # Name, label, unit, baseline, its variable; fitted and true values by name if not given.
    wanted = [
        ("gradient_young", "Thin-disc gradient at 1 Gyr", slope, baseline, "slope_at_1gyr"),
        ("flattening_rate", "Flattening rate", rate, baseline, "trend"),
        ("gradient_thick", "Thick-disc gradient", slope, thick_baseline, "mean_slope"),
        ("sigma_rm8", "Radial-migration strength σ_RM8", "kpc", None, ""),
    ]
    where = ""
    fitted = {name: posterior_estimate(fit, name) for name, *_ in wanted}
    true = {name: truth.get(name) for name in fitted}
    if (youngest := youngest_bin(baseline)) is not None:
        age, low, high = youngest
        name, there = "slope_youngest", truth.gradient("thin", age)
        wanted.insert(1, (name, f"Thin-disc gradient, {low:g}–{high:g} Gyr", slope, baseline, name))
        fitted[name] = gradient_estimate(fit, "thin", age)
        true[name] = None if there is None else float(there)
    posterior = {} if fit is None or "posterior" not in fit.children else fit["posterior"].data_vars
    if (change := posterior.get("profile_bend")) is not None:
        at = change["profile_knot"].values
        inner, outer = at[at < PIVOT_RADIUS], at[at > PIVOT_RADIUS]
        ends = [f" from {inner[-1]:g} kpc"] if len(inner) else []
        ends += [f" to {outer[0]:g} kpc"] if len(outer) else []
        where = f"Gradients of the thin disc are at {PIVOT_RADIUS:g} kpc, and hold{''.join(ends)}."
        if PIVOT_RADIUS in at:
            where = (
                f"Gradients of the thin disc are at {PIVOT_RADIUS:g} kpc, a knot of its profile."
            )
        for i, radius in enumerate(at):
            name = f"profile_bend[{radius:g}]"
            label = f"Change of the gradient at {radius:g} kpc, reference age"
            wanted.append((name, label, slope, None, ""))
            fitted[name] = Estimate.of_draws(change.isel(profile_knot=i).values.ravel())
            true[name] = None
    rows = [
        HeadlineRow(
            name, label, unit, true[name], fitted[name] if verdict.believed else None,
            baseline_estimate(source, "odr+scatter", variable),
            baseline_estimate(source, "odr", variable),
            withheld=fitted[name] is not None and not verdict.believed,
        )
        for name, label, unit, source, variable in wanted
    ]  # fmt: skip
    found = Headline(r for r in rows if r.hierarchical or r.withheld or r.odr_scatter or r.odr)
    found.note, found.verdict = " ".join(filter(None, [truth.note, where])), verdict
    if fit is not None and verdict.believed:
        found.errors = error_budget(found, fit, comparisons)
        found.marginal = {row.name: _marginal(row.name, comparisons) for row in found}
    return found


def error_budget(
    rows: Sequence[HeadlineRow], fit: xr.DataTree, comparisons: Sequence[xr.DataTree]
) -> dict[str, dict[str, float]]:
    """Divide the errors of the headline numbers by what makes them: sd by source, of each name.

    By the law of total variance: the posterior's variance, of which the injections that a
    completeness was made of have a share, and the variance between the choices of each comparison,
    without its noise (`migrate_bayes.compare.decomposition`). Of choices that several comparisons
    vary, the largest counts. Where the numbers are marginalised over a choice, the variance between
    its levels is by their weights.
    """
    share = json.loads(str(fit.attrs.get("completeness_share", "{}")))
    parts: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.hierarchical is None or row.name not in fit["posterior"]:
            continue
        sd = float(fit["posterior"][row.name].std())
        of_s = float(share.get(row.name, 0.0))
        mine = {"stars": sd * (1.0 - of_s) ** 0.5}
        if of_s > 0.0:
            mine["injections"] = sd * of_s**0.5
        for tree in comparisons:
            of_choices = tree["variance"].to_dataset() if "variance" in tree.children else None
            if of_choices is None or row.name not in of_choices["quantity"]:
                continue
            mixed = _marginal(row.name, [tree])
            for source in map(str, of_choices["source"].values):
                if source in _SYSTEMATIC:
                    between = float(of_choices["sd"].sel(quantity=row.name, source=source))
                    if source in mixed:
                        between = mixed[source]["between"]
                    mine[source] = max(mine.get(source, 0.0), between)
        parts[row.name] = mine
    return parts


def _marginal(name: str, comparisons: Sequence[xr.DataTree]) -> dict[str, dict[str, float]]:
    """Return what comparisons find of a quantity over all levels of a choice, by choice."""
    found: dict[str, dict[str, float]] = {}
    for tree in comparisons:
        for over, mixed in marginals(tree).items():
            if name in mixed["quantity"] and over not in found:
                found[over] = numbers(mixed, name)
    return found


def total_error(parts: Mapping[str, float]) -> float:
    """Return the total of independent errors."""
    return sum(sd**2 for sd in parts.values()) ** 0.5


def _budget_table(
    rows: Sequence[HeadlineRow],
    parts: Mapping[str, Mapping[str, float]],
    marginal: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> Table:
    sources = list(dict.fromkeys(source for mine in parts.values() for source in mine))
    if len(sources) < 2:
        return Table("", (), ())
    mixed = list(dict.fromkeys(over for of_row in marginal.values() for over in of_row))
    lines = []
    for row in rows:
        if row.name not in parts or row.hierarchical is None:
            continue
        of_row = parts[row.name]
        total = total_error(of_row)
        digits = decimals(total)
        each = [f"{of_row[s]:.{digits}f}" if s in of_row else "" for s in sources]
        value = f"{row.hierarchical.value:.{digits}f} ± {total:.{digits}f}"
        over_all = marginal.get(row.name, {})
        ends = [over_all.get(over, {}) for over in mixed]
        within = [f"{e['lo95']:.{digits}f} … {e['hi95']:.{digits}f}" if e else "" for e in ends]
        lines.append([row.label, row.unit, value, *each, *within])
    header = ["quantity", "unit", "± total", *(_SYSTEMATIC.get(s, s) for s in sources)]
    header += [f"95% over {_SYSTEMATIC[over]}" for over in mixed]
    return Table("Errors of the headline numbers, by what makes them (1σ)", header, lines)


def estimate_text(estimate: Estimate | None) -> str:
    """Word an estimate; empty if there is none."""
    return "" if estimate is None else str(estimate)


def baseline_table(baseline: xr.Dataset, title: str = "Gradient in bins of age") -> Table:
    """Word a baseline bin by bin."""
    rows = []
    for k in range(baseline.sizes["age_bin"]):
        one = baseline.isel(age_bin=k)
        slopes = [
            estimate_text(baseline_estimate(one, method, "slope"))
            or str(one["reason"].sel(regression=method).item())
            for method in ("odr+scatter", "odr")
        ]
        scatter = float(one["intrinsic_scatter"].sel(regression="odr+scatter"))
        ages, stars = f"{one['age_lo']:g}–{one['age_hi']:g}", f"{one['n_stars']:,}"
        rows.append([ages, stars, *slopes, f"{scatter:.3f}" if scatter == scatter else ""])
    header = ["age (Gyr)", "stars", "ODR + scatter (dex/kpc)", "ODR (dex/kpc)", "scatter (dex)"]
    return Table(title, header, rows)


def print_baseline(baseline: xr.Dataset) -> None:
    """Print a baseline bin by bin, then its headline, to stdout."""
    _print(baseline_table(baseline))
    headline(None, baseline).print()


def _print(table: Table) -> None:
    """Print a ruled table on a terminal, aligned plain text anywhere else."""
    if not sys.stdout.isatty():
        table.print()
        return
    from rich.console import Console
    from rich.table import Table as RuledTable
    from rich.text import Text

    ruled = RuledTable(title=table.title, title_justify="left")
    for i, name in enumerate(table.header):
        ruled.add_column(name, justify="left" if i == 0 else "right", no_wrap=i > 0)
    for cells in table.rows:
        ruled.add_row(*(Text(cell) for cell in cells))
    Console().print(ruled)
