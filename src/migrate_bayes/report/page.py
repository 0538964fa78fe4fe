"""The HTML page of a run: one file that needs nothing beside it, written whole or not at all.

`write_report` gathers the sections, each of which is left out where the run has nothing for it,
and renders ``templates/report.html``. All text is escaped by the template engine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.flags import FLAG_MEANING, count_flags
from migrate_bayes.mock.truth import as_truth
from migrate_bayes.plots import ComparisonPanel
from migrate_bayes.population.results.diagnostics import check_fit, summary_table
from migrate_bayes.report.comparison import comparison_section, holds_estimates
from migrate_bayes.report.data import ReportData, gather
from migrate_bayes.report.headline import baseline_table, headline, headline_table
from migrate_bayes.report.html import write_html
from migrate_bayes.report.image import Picture
from migrate_bayes.report.methods import methods
from migrate_bayes.report.paper_table import Table, curve_table, statement_table, variant_table
from migrate_bayes.report.registry import Absent, draw_plates
from migrate_bayes.report.section import Section
from migrate_bayes.report.validation import load_validation

__all__ = ["write_report"]


def write_report(
    directory: str | Path,
    *,
    name: str,
    stars: xr.Dataset,
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None,
    selection_mask: xr.DataArray | NDArray[np.bool_] | None = None,
    truth: Mapping[str, float] | None = None,
    recipe: Mapping[str, Any] | None = None,
    recipe_text: str = "",
    provenance: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
    tables: Iterable[Table] = (),
    thick_baseline: xr.Dataset | None = None,
    variants: xr.DataTree | None = None,
    comparisons: Sequence[xr.DataTree] = (),
    reference: Sequence[ComparisonPanel] = (),
    reference_start: str = "",
    validation: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write ``directory/index.html``.

    Parameters
    ----------
    directory : path-like
        The report's folder.
    name : str
        Of the run.
    stars : xarray.Dataset
        StarPosteriors.
    fit : xarray.DataTree, optional
        The hierarchical fit (docs/architecture.md).
    baseline, thick_baseline : xarray.Dataset, optional
        From `migrate_bayes.fit_baseline`.
    selection_mask : bool array, shape (star,), optional
        The stars that were fitted; those with membership, or else all usable ones, where not given.
    truth : mapping, optional
        A mock's, see `migrate_bayes.report.headline`.
    recipe : mapping, optional
        The recipe with its defaults, of which the methods are written.
    recipe_text : str
        Shown as it is.
    provenance : mapping, optional
        From `migrate_bayes.core.provenance.provenance`; the fit's attributes where not given.
    notes : iterable of str
        Paragraphs for the head of the page.
    tables : iterable of (title, header, rows)
        More tables.
    variants : xarray.DataTree, optional
        From `migrate_bayes.baseline.fit_samples`.
    comparisons : sequence of xarray.DataTree
        Products with a `variant` dimension.
    reference, reference_start
        See `migrate_bayes.report.data.ReportData`.
    validation : path-like, optional
        Folder of the report of a validation of ages, whose figures are embedded.
    overwrite : bool
        Replace a report that exists.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ProductError
        Where a report stands there already, the mask is not of these stars, or the validation's
        figures are damaged.
    """
    source = fit if fit is not None else baseline
    attrs = {str(k): v for k, v in source.attrs.items()} if source is not None else {}
    potential = str(attrs.get("potential", ""))
    given = None if selection_mask is None else np.asarray(selection_mask, dtype=bool)
    found = {} if validation is None else load_validation(validation)
    data = ReportData(
        stars=stars,
        columns=gather(stars, potential=potential, fit=fit, fitted=given),
        potential=potential,
        radius=str(attrs.get("radius", "rg")),
        fit=fit,
        baseline=baseline,
        thick_baseline=thick_baseline,
        variants=variants,
        truth=truth,
        reference=reference,
        reference_start=reference_start,
        validation=found,
        no_validation=""
        if found or validation is None
        else f"no figures of a validation in {validation}: run `migrate-bayes validate ages` first",
        comparisons=comparisons,
    )
    record = dict(provenance) if provenance else attrs
    summary = summary_table(fit) if fit is not None else ()
    checks = check_fit(fit, summary) if fit is not None else []
    numbers = headline_table(headline(fit, baseline, truth, thick_baseline=thick_baseline))
    flags = _flag_table(stars)
    sections = _sections(data, draw_plates(data), numbers, checks, summary, flags, tables)
    if recipe is not None:
        fitted = attrs if fit is not None else {}
        written = methods(recipe, stars.attrs, fitted, stars.sizes["star"])
        place = next((i for i, s in enumerate(sections) if s.key == "diagnostics"), len(sections))
        text = Section("Methods", "methods", written.paragraphs, references=written.references)
        sections.insert(place, text)
    return write_html(
        directory,
        "report.html",
        title=name,
        facts=_facts(stars, data, attrs, record),
        sections=sections,
        record=_record(record),
        notes=[str(n) for n in notes],
        inputs=_unpack(record.get("inputs")),
        packages=_unpack(record.get("versions")),
        recipe_text=recipe_text,
        overwrite=overwrite,
        headline=numbers,
        mock=bool(truth),
        truth_note=as_truth(truth).note,
        checks=checks,
        flags=flags,
    )


def _sections(
    d: ReportData,
    drawn: Mapping[str, Sequence[Picture | Absent]],
    numbers: Any,
    checks: Sequence[Any],
    summary: Any,
    flags: Sequence[Any],
    tables: Iterable[Table],
) -> list[Section]:
    """All sections but the methods, in order, without those that the run has nothing for."""
    sections = []
    if numbers[1]:
        sections.append(Section("Metallicity gradients", "headline"))
    if d.fit is not None or d.baseline is not None:
        folded = [t for t in (curve_table(d.fit), _bins(d.baseline, "thin"),
                              _bins(d.thick_baseline, "thick")) if t[2]]  # fmt: skip
        sections.append(
            Section(
                "Gradient and age", "gradient", pictures=drawn.get("gradient", ()), tables=folded,
                shown=0,
            )
        )  # fmt: skip
        held = [
            statement_table(d.fit, d.baseline, d.thick_baseline, d.variants, d.truth),
            variant_table(d.baseline, d.variants),
        ]
        note = (
            "Figures are numbered as in Vickers, Shen & Li (2021), whose counterparts they are. A "
            "figure that the data do not allow says why in its place."
        )
        sections.append(
            Section(
                "The paper, figure by figure", "paper", [note], drawn.get("paper", ()),
                [t for t in held if t[2]],
            )
        )  # fmt: skip
    if drawn.get("stars"):
        sections.append(Section("Stars", "stars", pictures=drawn["stars"]))
    if flags:
        sections.append(Section("Flags", "flags"))
    if drawn.get("reference"):
        sections.append(
            Section("Against published values", "reference", pictures=drawn["reference"])
        )
    for k, table in enumerate(tables):
        title, header, rows = _cells(table)
        sections.append(Section(title, f"table-{k + 1}", tables=[("", header, rows)]))
    # Sections of plates that this function does not know stand before the diagnostics.
    known = {"gradient", "paper", "stars", "reference", "diagnostics"}
    for key, pictures in drawn.items():
        if key not in known:
            sections.append(Section(key.replace("-", " ").capitalize(), key, pictures=pictures))
    for k, tree in enumerate(t for t in d.comparisons if holds_estimates(t)):
        sections.append(comparison_section(tree, k + 1))
    if checks:
        header, rows = _parameter_table(summary, d.fit)
        all_of_them = [(f"All {len(rows)} parameters", header, rows)] if rows else []
        sections.append(
            Section(
                "Diagnostics", "diagnostics", pictures=drawn.get("diagnostics", ()),
                tables=all_of_them, shown=0,
            )
        )  # fmt: skip
    return sections


# --- tables ----------------------------------------------------------------------------------


def _facts(
    stars: xr.Dataset, data: ReportData, attrs: Mapping[str, Any], record: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The line under the title."""
    facts = [("stars", f"{int(data.columns.fitted.sum()):,} of {stars.sizes['star']:,}")]
    for key in ("selection", "potential", "radius", "method"):
        if attrs.get(key):
            label = "baseline selection" if key == "selection" and data.fit is None else key
            facts.append((label, str(attrs[key])))
    if "wall_seconds" in attrs:
        facts.append(("fitted in", f"{float(attrs['wall_seconds']):,.0f} s"))
    if record.get("created"):
        facts.append(("made", str(record["created"])))
    return facts


def _cells(table: Table) -> Table:
    title, header, rows = table
    return str(title), [str(h) for h in header], [[str(cell) for cell in row] for row in rows]


def _bins(baseline: xr.Dataset | None, disc: str) -> Table:
    header, rows = baseline_table(baseline) if baseline is not None else ([], [])
    return f"Baseline of the {disc} disc, bin by bin (1σ)", header, rows


def _parameter_table(summary: Any, fit: xr.DataTree | None) -> tuple[list[str], list[list[str]]]:
    if not len(summary) or fit is None:
        return [], []
    header = ["parameter", "unit", "mean", "sd", "16%", "84%", "R-hat", "bulk ESS", "tail ESS"]
    wanted = ["mean", "sd", "eti68_lb", "eti68_ub"]
    posterior = fit["posterior"].to_dataset()
    rows = []
    for parameter, row in summary.iterrows():
        digits = _digits(float(row["sd"]))
        variable = str(parameter).partition("[")[0]
        unit = posterior[variable].attrs.get("units", "") if variable in posterior else ""
        rows.append(
            [
                str(parameter),
                str(unit),
                *(f"{float(row[column]):.{digits}f}" for column in wanted),
                f"{float(row['r_hat']):.3f}",
                f"{float(row['ess_bulk']):,.0f}",
                f"{float(row['ess_tail']):,.0f}",
            ]
        )
    return header, rows


def _digits(error: float) -> int:
    """Decimals that show two figures of an error."""
    if not np.isfinite(error) or error <= 0:
        return 4
    return int(min(max(1 - np.floor(np.log10(error)), 0), 8))


def _flag_table(stars: xr.Dataset) -> list[list[str]]:
    if "flag" not in stars:
        return []
    n = max(stars.sizes["star"], 1)
    return [
        [str(flag.name), FLAG_MEANING[flag], f"{count:,}", _share(count / n)]
        for flag, count in count_flags(stars["flag"]).items()
    ]


def _share(fraction: float) -> str:
    return "< 0.1%" if fraction < 0.0005 else f"{fraction:.1%}"


def _unpack(text: Any) -> list[tuple[str, str]]:
    """A mapping stored as JSON text in an attribute."""
    if isinstance(text, str):
        try:
            text = json.loads(text)
        except ValueError:
            return []
    return [(str(k), str(v)) for k, v in text.items()] if isinstance(text, Mapping) else []


def _record(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = {"seed": "seed", "recipe_hash": "recipe hash", "created": "made"}
    return [(label, str(record[key])) for key, label in names.items() if record.get(key)]
