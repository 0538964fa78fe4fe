"""The HTML page of a run: one file that needs nothing beside it, written whole or not at all.

`write_report` arranges the sections, each of which is left out if the run has nothing for it, and
renders ``templates/report.html``. All text is escaped by the template engine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from migrate_bayes.core.flags import FLAG_MEANING, count_flags
from migrate_bayes.core.table import Table, decimals
from migrate_bayes.population.results.diagnostics import check_fit, summary_table
from migrate_bayes.report.comparison import comparison_section, holds_estimates
from migrate_bayes.report.headline_table import baseline_table
from migrate_bayes.report.html import write_html
from migrate_bayes.report.methods import methods
from migrate_bayes.report.paper_table import curve_table, statement_table, variant_table
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.registry import draw_figures
from migrate_bayes.report.section import Absent, Image, Section


def write_report(products: RunProducts, directory: str | Path, *, overwrite: bool = False) -> Path:
    """Write ``directory/index.html``.

    Parameters
    ----------
    products : RunProducts
    directory : path-like
        The report's folder.
    overwrite : bool
        Replace a report that exists.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ProductError
        If a report stands there already, the mask is not of these stars, or the validation's
        figures are damaged.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> from migrate_bayes.report import RunProducts
    >>> stars = xr.Dataset({"feh": ("star", [0.1]), "flag": ("star", np.zeros(1, "i4"))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mb.write_report(RunProducts("mine", stars), f"{folder}/mine").name
    'index.html'
    """
    d = products
    summary = summary_table(d.fit) if d.fit is not None else ()
    checks = check_fit(d.fit, summary) if d.fit is not None else []
    flags = _flag_table(d.stars)
    record = dict(d.provenance) if d.provenance else d.attrs
    names = {"seed": "seed", "recipe_hash": "recipe hash", "created": "made"}
    numbers = d.headline.table()
    return write_html(
        directory,
        "report.html",
        title=d.name,
        facts=_facts(d, record),
        sections=_sections(d, draw_figures(d), summary, bool(checks), bool(flags)),
        record=[(label, str(record[key])) for key, label in names.items() if record.get(key)],
        notes=[str(n) for n in (*d.notes, *d.published.notes)],
        recipe_text=d.recipe_text,
        overwrite=overwrite,
        inputs=_unpack(record.get("inputs")),
        versions=_unpack(record.get("versions")),
        headline=numbers,
        mock=bool(d.truth),
        truth_note=d.headline.note,
        checks=checks,
        flags=flags,
    )


def _sections(
    d: RunProducts,
    drawn: Mapping[str, Sequence[Image | Absent]],
    summary: Any,
    checked: bool,
    flagged: bool,
) -> list[Section]:
    """All sections, in order, without those that the run has nothing for."""
    sections = []
    if d.headline:
        sections.append(Section("Metallicity gradients", "headline"))
    if d.fit is not None or d.baseline is not None:
        baselines = {"thin": d.baseline, "thick": d.thick_baseline}
        folded = [
            curve_table(d.fit),
            *(
                baseline_table(b, f"Baseline of the {disc} disc, bin by bin (1σ)")
                for disc, b in baselines.items()
                if b is not None
            ),
        ]
        held = [statement_table(d), variant_table(d.baseline, d.variants)]
        note = (
            "Figures are numbered as in Vickers, Shen & Li (2021), whose counterparts they are. A "
            "figure that the data do not allow says why in its place."
        )
        sections += [
            Section(
                "Gradient and age", "gradient", images=drawn.get("gradient", ()),
                tables=[t for t in folded if t], shown=0,
            ),
            Section(
                "The paper, figure by figure", "paper", [note], drawn.get("paper", ()),
                [t for t in held if t],
            ),
        ]  # fmt: skip
    if "stars" in drawn:
        sections.append(Section("Stars", "stars", images=drawn["stars"]))
    if flagged:
        sections.append(Section("Flags", "flags"))
    if "reference" in drawn:
        sections.append(Section("Against published values", "reference", images=drawn["reference"]))
    for k, table in enumerate(d.published.tables):
        untitled = table._replace(title="")
        sections.append(Section(table.title, f"table-{k + 1}", tables=[untitled]))
    # Sections of figures that this function does not know stand before the diagnostics.
    known = {"gradient", "paper", "stars", "reference", "diagnostics"}
    for key, images in drawn.items():
        if key not in known:
            sections.append(Section(key.replace("-", " ").capitalize(), key, images=images))
    for k, tree in enumerate(t for t in d.comparisons if holds_estimates(t)):
        sections.append(comparison_section(tree, k + 1))
    if d.recipe is not None:
        fitted = d.attrs if d.fit is not None else {}
        written = methods(d.recipe, d.stars.attrs, fitted, d.stars.sizes["star"])
        sections.append(
            Section("Methods", "methods", written.paragraphs, references=written.references)
        )
    if checked:
        parameters = _parameter_table(summary, d.fit)
        sections.append(
            Section(
                "Diagnostics", "diagnostics", images=drawn.get("diagnostics", ()),
                tables=[parameters] if parameters else [], shown=0,
            )
        )  # fmt: skip
    return sections


def _facts(d: RunProducts, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The line under the title."""
    fitted = int(d.columns["fitted"].sum())
    facts = [("stars", f"{fitted:,} of {d.stars.sizes['star']:,}")]
    for key in ("selection", "potential", "radius", "method"):
        if d.attrs.get(key):
            label = "baseline selection" if key == "selection" and d.fit is None else key
            facts.append((label, str(d.attrs[key])))
    if "wall_seconds" in d.attrs:
        facts.append(("fitted in", f"{float(d.attrs['wall_seconds']):,.0f} s"))
    if record.get("created"):
        facts.append(("made", str(record["created"])))
    return facts


def _parameter_table(summary: Any, fit: xr.DataTree | None) -> Table:
    """Tabulate ArviZ's summary of a fit, with units."""
    header = ["parameter", "unit", "mean", "sd", "16%", "84%", "R-hat", "bulk ESS", "tail ESS"]
    rows = []
    posterior = xr.Dataset() if fit is None or not len(summary) else fit["posterior"].to_dataset()
    for parameter, row in summary.iterrows() if len(summary) else ():
        digits = decimals(float(row["sd"]))
        variable = str(parameter).partition("[")[0]
        unit = posterior[variable].attrs.get("units", "") if variable in posterior else ""
        rows.append(
            [
                str(parameter),
                str(unit),
                *(f"{float(row[c]):.{digits}f}" for c in ("mean", "sd", "eti68_lb", "eti68_ub")),
                f"{float(row['r_hat']):.3f}",
                f"{float(row['ess_bulk']):,.0f}",
                f"{float(row['ess_tail']):,.0f}",
            ]
        )
    return Table(f"All {len(rows)} parameters", header, rows)


def _flag_table(stars: xr.Dataset) -> Table:
    """Tabulate how many stars carry which flag."""
    n = max(stars.sizes["star"], 1)
    counts = count_flags(stars["flag"]) if "flag" in stars else {}
    rows = []
    for flag, count in counts.items():
        share = "< 0.1%" if count / n < 0.0005 else f"{count / n:.1%}"
        rows.append([str(flag.name), FLAG_MEANING[flag], f"{count:,}", share])
    return Table("Flags", ["flag", "meaning", "stars", "share"], rows)


def _unpack(text: Any) -> list[tuple[str, str]]:
    """A mapping stored as JSON text in an attribute."""
    if isinstance(text, str):
        try:
            text = json.loads(text)
        except ValueError:
            return []
    return [(str(k), str(v)) for k, v in text.items()] if isinstance(text, Mapping) else []
