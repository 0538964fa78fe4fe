"""The HTML page of a run, its sections and tables: one file that needs nothing beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from migrate_bayes.baseline import HIGH_QUALITY
from migrate_bayes.core.flags import FLAG_MEANING, count_flags
from migrate_bayes.core.io import MADE_FROM, RECORD
from migrate_bayes.core.progress import progress
from migrate_bayes.core.table import Table, decimals
from migrate_bayes.population.results.diagnostics import (
    baseline_estimate,
    gradient_estimate,
)
from migrate_bayes.report.comparison import comparison_section
from migrate_bayes.report.headline_table import baseline_table, estimate_text
from migrate_bayes.report.methods import methods
from migrate_bayes.report.products import RunProducts
from migrate_bayes.report.section import Absent, Image, NotDrawnError, Section, write_html
from migrate_bayes.report.sections import gradients, stars
from migrate_bayes.selection import SELECTIONS
from migrate_bayes.selection.conditions import excluding_flags

_METHODS = ("odr+scatter", "odr")
_NO_RESULT = "✗ No result: the fit drawn here may not be believed (see the top of the page)."


class Place(NamedTuple):
    """A figure's place: the section it stands in, its anchor, its heading, and what draws it.

    `draw` gives None to leave the place out; a `NotDrawnError` stands in it with its reason.
    """

    section: str
    key: str
    title: str
    draw: Callable[[RunProducts], Image | None]


# In their order: to add a figure, add its line.
FIGURES: tuple[Place, ...] = (
    Place("gradient", "result", "Gradient against age", gradients.result),
    Place("gradient", "radial", "Metallicity against radius, age by age", gradients.radial),
    Place("paper", "figure-1", "1 · Cluster ages against [Fe/H]", lambda d: stars.checks(d, "1")),
    Place("paper", "figure-2", "2 · M67", lambda d: stars.checks(d, "2")),
    Place("paper", "figure-3", "3 · Another age catalogue", lambda d: stars.checks(d, "3")),
    Place("paper", "figure-4", "4 · Asteroseismic ages", lambda d: stars.checks(d, "4")),
    Place("paper", "figure-5", "5 · Chemistry and its division", stars.density),
    Place("paper", "figure-6", "6 · The thin disc", lambda d: gradients.disc(d, "thin")),
    Place("paper", "figure-7", "7 · The thick disc", lambda d: gradients.disc(d, "thick")),
    Place("paper", "figure-8", "8 · Chemistry by median age", stars.ages),
    Place("paper", "figure-9", "9 · Slices in Z_max", lambda d: gradients.slices(d, "zmax")),
    Place("paper", "figure-10", "10 · Slices in chemistry", lambda d: gradients.slices(d, "alpha")),
    Place("paper", "figure-11", "11 · Potentials", lambda d: gradients.variants(d, "potential")),
    Place("paper", "figure-12", "12 · R0 and V0", lambda d: gradients.variants(d, "solar")),
    Place("paper", "figure-13", "13 · High-quality sample", gradients.high_quality),
    Place("paper", "r-present", "The present radius: the “U shape”", gradients.present_radius),
    Place("stars", "membership", "Membership", stars.membership),
    Place("stars", "migration", "Migration since birth", stars.migration),
    Place("stars", "kiel", "Kiel diagram", stars.kiel),
    Place("reference", "published", "Published values, star by star", stars.published),
    Place("diagnostics", "replicated", "Posterior predictive check", stars.posterior_predictive),
    Place("diagnostics", "expected", "Prior predictive check", stars.prior_predictive),
    Place("diagnostics", "ranks", "Agreement of the chains", lambda d: stars.sampler(d, "ranks")),
    Place(
        "diagnostics", "prior", "Prior and posterior", lambda d: stars.sampler(d, "prior_posterior")
    ),
    Place("diagnostics", "energy", "Energy of the sampler", lambda d: stars.sampler(d, "energy")),
)
# Those that show no result of the fit: stars alone, or how the fit was sampled.
_NO_RESULT_IN = {
    "figure-1", "figure-2", "figure-3", "figure-4", "figure-5", "figure-8", "kiel", "published",
    "replicated", "expected", "ranks", "energy",
}  # fmt: skip


def write_report(products: RunProducts, directory: str | Path, *, overwrite: bool = False) -> Path:
    """Write ``directory/index.html``.

    Parameters
    ----------
    products : RunProducts
        What the page shows; a section stands there if the run has something for it.
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
    flags = _flag_table(d.stars)
    record = dict(d.provenance) if d.provenance else d.attrs
    names = {"seed": "seed", "recipe_hash": "recipe hash", "created": "made"}
    return write_html(
        directory, "report.html", title=d.name, facts=_facts(d, record),
        sections=_sections(d, _draw_figures(d), bool(flags)),
        record=[(label, str(record[key])) for key, label in names.items() if record.get(key)],
        notes=[str(n) for n in (*_without_alpha(d), *d.notes, *d.published.notes)],
        recipe_text=d.recipe_text, overwrite=overwrite,
        inputs=_unpack(record.get("inputs")), versions=_unpack(record.get("versions")),
        headline=d.headline.table(), mock=bool(d.truth), truth_note=d.headline.note,
        verdict=d.verdict, flags=flags,
        beside={RECORD: made} if (made := (d.provenance or {}).get(MADE_FROM)) else None,
    )  # fmt: skip


def _without_alpha(d: RunProducts) -> list[str]:
    """Say what tells the discs apart if nothing is known of their chemistry."""
    fitted = d.columns["fitted"].values
    if d.fit is None or np.isfinite(d.columns["alpha_fe"].values[fitted]).any():
        return []
    return [
        "No star of the fit has [α/Fe]. The discs are told apart by Z_max, radius, [Fe/H] and age "
        "alone: “thick” is what rises high and is old, not what is rich in α."
    ]


def _draw_figures(products: RunProducts) -> dict[str, list[Image | Absent]]:
    """Draw all figures; what stands in each section, in order."""
    drawn: dict[str, list[Image | Absent]] = {}
    with progress(len(FIGURES), "figures", unit="figures") as advance:
        for place in FIGURES:
            try:
                placed: Image | Absent | None = place.draw(products)
            except NotDrawnError as reason:
                why = str(reason).strip().removesuffix(".")
                placed = Absent(place.title, place.key, f"{why[:1].upper()}{why[1:]}.")
            advance(1)
            if placed is not None:
                placed = replace(placed, title=place.title, key=place.key)
                withheld = not products.verdict.believed and place.key not in _NO_RESULT_IN
                if withheld and isinstance(placed, Image):
                    placed = replace(placed, caption=f"{_NO_RESULT} {placed.caption}")
                drawn.setdefault(place.section, []).append(placed)
    return drawn


def _sections(
    d: RunProducts, drawn: Mapping[str, Sequence[Image | Absent]], flagged: bool
) -> list[Section]:
    """All sections, in order, without those that the run has nothing for."""
    sections: list[Section] = []

    def add(title: str, key: str, *text: str, **own: Any) -> None:
        sections.append(Section(title, key, list(text), drawn.get(key, ()), **own))

    if d.headline:
        budget = [d.headline.budget] if d.headline.budget else []
        add("Metallicity gradients", "headline", tables=budget)
    if d.fit is not None or d.baseline is not None:
        folded = [curve_table(d.fit)] if d.verdict.believed else []
        for disc, b in {"thin": d.baseline, "thick": d.thick_baseline}.items():
            if b is not None:
                folded.append(baseline_table(b, f"Baseline of the {disc} disc, bin by bin (1σ)"))
        add("Gradient and age", "gradient", tables=[t for t in folded if t], shown=0)
        held = [t for t in (statement_table(d), variant_table(d)) if t]
        note = (
            "Figures are numbered as in Vickers, Shen & Li (2021), whose counterparts they are. A "
            "figure that the data do not allow says why in its place."
        )
        add("The paper, figure by figure", "paper", note, tables=held)
    if "stars" in drawn:
        add("Stars", "stars")
    if flagged:
        add("Flags", "flags")
    if "reference" in drawn:
        add("Against published values", "reference")
    for k, table in enumerate(d.published.tables):
        add(table.title, f"table-{k + 1}", tables=[table._replace(title="")])
    # Sections of figures that this function does not know stand before the diagnostics.
    known = {"gradient", "paper", "stars", "reference", "diagnostics"}
    for key in drawn:
        if key not in known:
            add(key.replace("-", " ").capitalize(), key)
    # Comparisons of this package's, rather than curves alone.
    groups = {"estimates", "differences", "variance"}
    for k, tree in enumerate(t for t in d.comparisons if groups <= set(t.children)):
        sections.append(comparison_section(tree, k + 1))
    if d.recipe is not None:
        fitted = d.attrs if d.fit is not None else {}
        lacks = {"alpha_fe", "snr", "snr_g", "snr_r", "snr_i"} - {str(n) for n in d.stars.data_vars}
        written = methods(d.recipe, d.stars.attrs, fitted, d.stars.sizes["star"], lacks)
        add("Methods", "methods", *written.paragraphs, references=written.references)
    if d.fit is not None:
        parameters = _parameter_table(d, d.fit)
        add("Diagnostics", "diagnostics", tables=[parameters] if parameters else [], shown=0)
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


def _parameter_table(d: RunProducts, fit: xr.DataTree) -> Table:
    """Tabulate ArviZ's summary of a fit, with units; how it was sampled alone if not believed."""
    values = {"mean": "mean", "sd": "sd", "eti68_lb": "16%", "eti68_ub": "84%"}
    values = values if d.verdict.believed else {}
    header = ["parameter", "unit", *values.values(), "R-hat", "bulk ESS", "tail ESS"]
    rows = []
    for parameter, row in d.summary.iterrows():
        digits = decimals(float(row["sd"]))
        variable = fit["posterior"].get(str(parameter).partition("[")[0])
        unit = "" if variable is None else variable.attrs.get("units", "")
        numbers = [f"{row[c]:.{digits}f}" for c in values]
        sampled = [f"{row['r_hat']:.3f}", f"{row['ess_bulk']:,.0f}", f"{row['ess_tail']:,.0f}"]
        rows.append([str(parameter), str(unit), *numbers, *sampled])
    return Table(f"All {len(rows)} parameters", header, rows)


def _flag_table(stars: xr.Dataset) -> Table:
    """Tabulate how many stars carry which flag."""
    n, rows = max(stars.sizes["star"], 1), []
    for flag, count in count_flags(stars["flag"]).items() if "flag" in stars else ():
        share = "< 0.1%" if count / n < 0.0005 else f"{count / n:.1%}"
        effect = "not usable" if flag & excluding_flags(stars) else "informs"
        rows.append([str(flag.name), FLAG_MEANING[flag], f"{count:,}", share, effect])
    return Table("Flags", ["flag", "meaning", "stars", "share", "effect"], rows)


def statement_table(d: RunProducts) -> Table:
    """Set what Vickers, Shen & Li (2021) state beside what the run finds, if it finds it."""
    found = {r.name: r for r in d.headline}
    rows = []

    def add(what: str, unit: str, paper: str, *cells: str) -> None:
        if any(cells):
            rows.append([what, unit, paper, *cells])

    for name, what, paper in (
        ("gradient_young", "Thin disc, gradient at 1 Gyr (fig. 6)", "about −0.075"),
        ("flattening_rate", "Thin disc, flattening rate (fig. 6)", "0.003"),
        ("gradient_thick", "Thick disc, gradient (fig. 7)", "near +0.02"),
    ):
        if (r := found.get(name)) is not None:
            add(what, r.unit, paper, r.fitted, *map(estimate_text, (r.odr_scatter, r.odr)))

    def of_baseline(what: str, unit: str, paper: str, data: Any, variable: str) -> None:
        found = (baseline_estimate(data, m, variable) for m in _METHODS)
        add(what, unit, paper, "", *map(estimate_text, found))

    what, rate = "Thick disc, flattening rate (fig. 7)", "dex/kpc/Gyr"
    of_baseline(what, rate, "similar at all ages", d.thick_baseline, "trend")
    present = d.variant("r_present")
    for what, paper, bin_ in [] if present is None else _three_ages(present):
        ages = f"{float(bin_['age_lo']):g}–{float(bin_['age_hi']):g} Gyr"
        of_baseline(f"Thin disc in R_present, {what}, {ages}", "dex/kpc", paper, bin_, "slope")
    what, strict = "High-quality sample, flattening rate (fig. 13)", d.variant("high-quality")
    of_baseline(what, rate, "as the whole sample", strict, "trend")
    header = ["quantity", "unit", "the paper", "hierarchical", "ODR + scatter", "ODR"]
    return Table("Held against the paper's statements", header, rows)


def _three_ages(data: xr.Dataset) -> list[tuple[str, str, xr.Dataset]]:
    """The youngest bin whose slope is known, the steepest of those between, and the oldest."""
    slope = data["slope"].sel(regression="odr+scatter").values
    good = np.flatnonzero(gradients.well_known(data))
    if len(good) < 3:
        return []
    steepest = int(good[1:-1][np.argmin(slope[good[1:-1]])])
    return [
        ("youngest", "−0.08", data.isel(age_bin=good[0])),
        ("steepest between", "−0.11", data.isel(age_bin=steepest)),
        ("oldest", "−0.08", data.isel(age_bin=good[-1])),
    ]


def variant_table(d: RunProducts) -> Table:
    """Tabulate the straight line through gradient(age) of each slice and variant."""
    rows = []
    named = {} if d.baseline is None else {"thin-disc sample": d.baseline}
    for name, group in d.variants.children.items() if d.variants is not None else ():
        # A sample whose bins all lack a slope has its row too.
        if "slope" in (data := group.to_dataset()):
            label = data.attrs.get("potential") if name.startswith("potential-") else name
            named[_sample(str(label))] = data
    for label, data in named.items():
        cells = [label, f"{int(data['n_stars'].sum()):,}"]
        for method in _METHODS:
            cells += [
                estimate_text(baseline_estimate(data, method, v)) or "n/a"
                for v in ("slope_at_1gyr", "trend")
            ]
        rows.append(cells)
    header = [
        "sample", "stars in bins", "at 1 Gyr, ODR + scatter (dex/kpc)",
        "rate, ODR + scatter (dex/kpc/Gyr)", "at 1 Gyr, ODR (dex/kpc)", "rate, ODR (dex/kpc/Gyr)",
    ]  # fmt: skip
    return Table("Slices and variants: the line through gradient(age)", header, rows)


def _sample(name: str) -> str:
    """Word a variant's name."""
    if name in SELECTIONS:
        words = SELECTIONS[name].description
        return f"of the thin-disc sample, {words}" if name == HIGH_QUALITY else words
    radius = {"r_present": "in R_present", "rg": "in R_g"}
    return f"thin-disc sample, {radius.get(name, name)}"


def curve_table(fit: xr.DataTree | None) -> Table:
    """Tabulate the fitted gradient of each disc at a few ages: median and 68% interval."""
    header = ["age (Gyr)", "thin disc (dex/kpc)", "thick disc (dex/kpc)"]
    rows = []
    for age in (1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0, 12.0):
        cells = [gradient_estimate(fit, component, age) for component in ("thin", "thick")]
        if any(cells):
            rows.append([f"{age:g}", *map(estimate_text, cells)])
    return Table("Hierarchical gradient(age): median and 68% interval", header, rows)


def _unpack(text: Any) -> list[tuple[str, str]]:
    """A mapping stored as JSON text in an attribute."""
    if isinstance(text, str):
        try:
            text = json.loads(text)
        except ValueError:
            return []
    return [(str(k), str(v)) for k, v in text.items()] if isinstance(text, Mapping) else []
