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

from migrate_bayes.flags import FLAG_MEANING, count_flags
from migrate_bayes.provenance import atomic_output, versions
from migrate_bayes.report.columns import star_columns, thin_probability
from migrate_bayes.report.diagnostics import check_fit, summary_table
from migrate_bayes.report.figures import ComparisonPanel
from migrate_bayes.report.headline import baseline_table, headline, headline_table
from migrate_bayes.report.pictures import (
    reference_pictures,
    result_pictures,
    sampling_pictures,
    star_pictures,
)

__all__ = ["Table", "render", "write_report"]

#: Title, header, rows of text.
Table = tuple[str, Sequence[str], Sequence[Sequence[Any]]]


def write_report(
    directory: str | Path,
    *,
    name: str,
    stars: xr.Dataset,
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None,
    selection_mask: xr.DataArray | NDArray[np.bool_] | None = None,
    truth: Mapping[str, float] | None = None,
    recipe_text: str = "",
    provenance: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
    tables: Iterable[Table] = (),
    thick_baseline: xr.Dataset | None = None,
    reference: Sequence[ComparisonPanel] = (),
    reference_start: str = "",
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
    recipe_text : str
        Shown as it is.
    provenance : mapping, optional
        From `migrate_bayes.provenance.provenance`; the fit's attributes where not given.
    notes : iterable of str
        Paragraphs for the head of the page.
    tables : iterable of (title, header, rows)
        More tables.
    reference, reference_start
        See `migrate_bayes.report.pictures.reference_pictures`.
    overwrite : bool
        Replace a report that exists.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    ProductError
        Where a report stands there already, or the mask is not of these stars.
    """
    source = fit if fit is not None else baseline
    attrs = {str(k): v for k, v in source.attrs.items()} if source is not None else {}
    potential, radius = str(attrs.get("potential", "")), str(attrs.get("radius", "rg"))
    mask = _mask(stars, fit, selection_mask, potential)
    columns = star_columns(stars, mask=mask, potential=potential, radius=radius, fit=fit)
    summary = summary_table(fit) if fit is not None else ()
    record = dict(provenance) if provenance else attrs
    context = {
        "name": name,
        "facts": _facts(stars, mask, attrs, record, fitted=fit is not None),
        "notes": [str(n) for n in notes],
        "headline": headline_table(headline(fit, baseline, truth, thick_baseline=thick_baseline)),
        "mock": bool(truth),
        "result": result_pictures(fit, baseline, thick_baseline, truth, columns, radius),
        "star_figures": star_pictures(columns),
        "reference": reference_pictures(reference, reference_start),
        "checks": check_fit(fit, summary) if fit is not None else [],
        "sampling": sampling_pictures(fit),
        "parameters": _parameter_table(summary),
        "baseline": _baseline_table(baseline),
        "flags": _flag_table(stars),
        "tables": [_cells(table) for table in tables],
        "recipe_text": recipe_text,
        "record": _record(record),
        "versions": _unpack(record.get("versions")) or sorted(versions().items()),
        "inputs": _unpack(record.get("inputs")),
    }
    directory = Path(directory)
    page = render("report.html", context)
    with atomic_output(directory, overwrite=overwrite, directory=True) as out:
        (out / "index.html").write_text(page, encoding="utf-8")
    return directory / "index.html"


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fill in one of the room's templates; every text is escaped, every name must be given."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("migrate_bayes.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(context)


def _mask(
    stars: xr.Dataset, fit: xr.DataTree | None, given: Any, potential: str
) -> NDArray[np.bool_]:
    if given is not None:
        return np.asarray(given, dtype=bool)
    from migrate_bayes.selection import SELECTIONS, select

    p = thin_probability(stars, fit)
    if p is not None:
        return np.isfinite(p)
    known = [str(v) for v in stars["potential"].values] if "potential" in stars.dims else [""]
    chosen = potential if potential in known else known[0]
    return np.asarray(select(stars, SELECTIONS["all"], potential=chosen).values)


# --- tables ----------------------------------------------------------------------------------


def _facts(
    stars: xr.Dataset,
    mask: NDArray,
    attrs: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    fitted: bool,
) -> list[tuple[str, str]]:
    """The line under the title."""
    facts = [("stars", f"{int(mask.sum()):,} of {stars.sizes['star']:,}")]
    for key in ("selection", "potential", "radius", "method"):
        if attrs.get(key):
            label = "baseline selection" if key == "selection" and not fitted else key
            facts.append((label, str(attrs[key])))
    if "wall_seconds" in attrs:
        facts.append(("fitted in", f"{float(attrs['wall_seconds']):,.0f} s"))
    if record.get("created"):
        facts.append(("made", str(record["created"])))
    return facts


def _cells(table: Table) -> tuple[str, list[str], list[list[str]]]:
    title, header, rows = table
    return str(title), [str(h) for h in header], [[str(cell) for cell in row] for row in rows]


def _parameter_table(summary: Any) -> tuple[list[str], list[list[str]]]:
    if not len(summary):
        return [], []
    header = ["parameter", "mean", "sd", "16%", "84%", "R-hat", "bulk ESS", "tail ESS"]
    wanted = ["mean", "sd", "eti68_lb", "eti68_ub"]
    rows = []
    for parameter, row in summary.iterrows():
        digits = _digits(float(row["sd"]))
        rows.append(
            [
                str(parameter),
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


def _baseline_table(baseline: xr.Dataset | None) -> tuple[list[str], list[list[str]]]:
    return baseline_table(baseline) if baseline is not None else ([], [])


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
