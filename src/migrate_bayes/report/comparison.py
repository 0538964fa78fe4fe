"""A comparison as a page of its own, a section of a run's report, and tables (docs/compare.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes import plots
from migrate_bayes.core.table import Estimate, Table, decimals
from migrate_bayes.plots.compared import doubts, marginals, marked
from migrate_bayes.report.headline_table import WITHHELD
from migrate_bayes.report.section import Section, encode, write_html

QUANTITY_LABELS = {
    "flattening_rate": "Flattening rate",
    "gradient_young": "Thin-disc gradient at 1 Gyr",
    "gradient_thick": "Thick-disc gradient",
}
_PLURAL = {"family": "isochrone families", "potential": "potentials"}
_UNIT_LABELS = {"dex / (kpc Gyr)": "dex/kpc/Gyr", "dex / kpc": "dex/kpc"}


def quantity_label(name: str) -> str:
    """Name a quantity for people."""
    return QUANTITY_LABELS.get(name, name.replace("sigma_rm8", "σ_RM8", 1))


def _estimate(value: Any, error: Any) -> str:
    if not (np.isfinite(value) and np.isfinite(error)):
        return "–"
    estimate = Estimate.symmetric(value, error)
    return estimate.text() if error > 0 else estimate.text(digits=4)


def _quantities(estimates: xr.Dataset) -> dict[str, str]:
    """Quantities and their units."""
    units = [_UNIT_LABELS.get(u, u) for u in estimates["unit"].values.tolist()]
    return dict(zip(estimates["quantity"].values.tolist(), units, strict=True))


def estimate_table(tree: xr.DataTree) -> Table:
    """Each variant's numbers, withheld if its fit may not be believed."""
    e, doubted = tree["estimates"].to_dataset(), doubts(tree)
    units = _quantities(e)
    header = ["variant", "stars"] + [f"{quantity_label(q)} ({u})" for q, u in units.items()]
    rows = []
    for v in e["variant"].values.tolist():
        row = e.sel(variant=v)
        cells = [marked(v, tree), f"{int(row['n_stars']):,}"]
        if v in doubted:
            rows.append(cells + [WITHHELD] * len(units))
            continue
        for q in units:
            cell = row.sel(quantity=q)
            text = _estimate(cell["mean"], cell["sd"])
            if "truth" in e and np.isfinite(cell["truth"]):
                text += "" if cell["lo95"] <= cell["truth"] <= cell["hi95"] else " *"
            cells.append(text)
        rows.append(cells)
    if "truth" in e:
        truth = [f"{t:.4g}" if np.isfinite(t) else "–" for t in e["truth"].values]
        rows.append(["truth", "", *truth])
    star = "; *: the truth is outside the 95% interval" if "truth" in e else ""
    star += "; ×: may not be believed" if doubted else ""
    return Table(f"By variant: mean and standard deviation of the posterior{star}", header, rows)


def difference_tables(tree: xr.DataTree) -> list[Table]:
    """Each quantity's differences from the reference."""
    d, reference = tree["differences"].to_dataset(), str(tree.attrs["reference"])
    doubted = doubts(tree)
    header = [
        "variant", "difference", "95% interval", "sd if unpaired", "correlation", "P(greater)",
    ]  # fmt: skip
    tables = []
    for q, unit in _quantities(tree["estimates"].to_dataset()).items():
        rows = []
        for v in d["variant"].values.tolist():
            if v == reference:
                continue
            if not doubted.keys().isdisjoint((v, reference)):
                rows.append([marked(v, tree)] + [WITHHELD] * (len(header) - 1))
                continue
            cell = d.sel(quantity=q, variant=v, other=reference)
            sd, p = float(cell["sd"]), float(cell["probability_greater"])
            f = f".{decimals(sd, 5)}f"
            interval = f"{float(cell['lo95']):{f}} … {float(cell['hi95']):{f}}"
            greater = "< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else f"{p:.3f}"
            unpaired, r = f"{float(cell['unpaired_sd']):{f}}", f"{float(cell['correlation']):.4f}"
            rows.append([v, _estimate(cell["mean"], sd), interval, unpaired, r, greater])
        title = f"{quantity_label(q)}: variant minus {marked(reference, tree)}, {unit}, paired"
        tables.append(Table(title, header, rows))
    return tables


def marginal_tables(tree: xr.DataTree) -> list[Table]:
    """Each choice that is marginalised over: its levels, and the numbers over all of them."""
    e, tables = tree["estimates"].to_dataset(), []
    units = _quantities(e)
    header = ["", "weight"] + [f"{quantity_label(q)} ({u})" for q, u in units.items()]
    for over, mixed in marginals(tree).items():
        cells = [mixed.sel(quantity=q) for q in units]
        rows = []
        for k, label in enumerate(mixed["variant"].values.tolist()):
            alone = [e.sel(quantity=q, variant=label) for q in units]
            level, weight = mixed["level"].values[k], float(mixed["weight"][k])
            each = [_estimate(c["mean"], c["sd"]) for c in alone]
            rows.append([str(level).partition(":")[0], f"{weight:.3f}", *each])
        rows.append(["marginal", "", *(_estimate(c["mean"], c["sd"]) for c in cells)])
        intervals = []
        for c in cells:
            low, high, digits = float(c["lo95"]), float(c["hi95"]), decimals(float(c["sd"]), 5)
            truth = float(c["truth"]) if "truth" in c else np.nan
            star = " *" if np.isfinite(truth) and not low <= truth <= high else ""
            intervals.append(f"{low:.{digits}f} … {high:.{digits}f}{star}")
        rows.append(["95% interval", "", *intervals])
        for name, words in (("within", "sd of the stars"), ("between", f"sd of the {over}")):
            rows.append([words, "", *(f"{float(c[name]):.2g}" for c in cells)])
        how = {"equal": "weighed equally", "stacking": "stacking weights"}
        said = how.get(str(mixed.attrs["weights"]), "stated weights")
        title = (
            f"Marginalised over {_PLURAL[over]}, {said} ({mixed.attrs['n_effective']:.1f} in "
            f"effect; {int(mixed.attrs['n_stars_in_common']):,} stars in common)"
        )
        tables.append(Table(title, header, rows))
    return tables


def variance_table(tree: xr.DataTree) -> Table:
    """Standard deviation and share of the variance by source of uncertainty."""
    v = tree["variance"].to_dataset()
    names = v["quantity"].values.tolist()
    header = ["source"] + [f"{quantity_label(q)}: sd (share)" for q in names]
    rows = []
    for s in v["source"].values.tolist():
        cells = [v.sel(quantity=q, source=s) for q in names]
        rows.append([s, *(f"{float(c['sd']):.2g} ({float(c['fraction']):.1%})" for c in cells)])
    title = "Sources of uncertainty, variants weighed equally, noise taken off"
    if doubted := doubts(tree):
        title += f"; without {', '.join(doubted)}, whose fits may not be believed"
    if not np.isfinite(v["fraction"]).any():
        rows = [["stars"] + [WITHHELD] * len(names)]
    return Table(title, header, rows)


def baseline_tables(tree: xr.DataTree) -> list[Table]:
    """ODR's numbers in each variant; none without a baseline."""
    if "baseline" not in tree.children:
        return []
    b = tree["baseline"].to_dataset()
    methods = {"odr": "ODR", "odr+scatter": "ODR + scatter"}
    header = ["variant"] + [f"{q}, {m}" for q in QUANTITY_LABELS.values() for m in methods.values()]
    rows = []
    for v in b["variant"].values.tolist():
        row = b.sel(variant=v)
        of = [(row.sel(regression=m), name) for name in QUANTITY_LABELS for m in methods]
        rows.append([v, *(_estimate(one[name], one[f"{name}_error"]) for one, name in of)])
    title = "ODR in age bins, from the same stars (thin- and thick-disc selections)"
    return [Table(title, header, rows)]


def comparison_tables(tree: xr.DataTree) -> list[Table]:
    """All tables, in the order of interest."""
    return [
        estimate_table(tree), *marginal_tables(tree), *difference_tables(tree),
        variance_table(tree), *baseline_tables(tree),
    ]  # fmt: skip


def _stated(histories: list[dict[str, Any]]) -> str:
    """Say which histories of the gas are behind σ_RM8; empty without any."""
    words = []
    for h in histories:
        spread = h.get("birth_spread")
        born = "spread of birth radii fitted" if spread is None else f"birth radii ± {spread:g} kpc"
        words.append(f"{h['label']}: {h['gradient_rate']:+g} dex/kpc/Gyr of lookback, {born}")
    meaning = " σ_RM8 is what the flattening means under a stated history of the gas"
    return f"{meaning} ({'; '.join(words)})." if words else ""


def comparison_sections(tree: xr.DataTree) -> list[Section]:
    """Build the sections of a comparison's own page."""
    reference, doubted = str(tree.attrs["reference"]), doubts(tree)
    stated = _stated(json.loads(str(tree.attrs.get("histories", "[]"))))
    same = "The same stars and the same random draws under each choice, one posterior each."
    forest = encode(
        plots.comparison(tree),
        "Posterior of each variant beside the others",
        "Posterior median, 68% (thick) and 95% (thin) intervals. The grey band holds 68% of the "
        f"{reference}. Intervals share the noise of the same stars: they may overlap where a "
        "difference is certain; for differences see below. Open squares: ODR with scatter.",
    )
    curves = encode(
        plots.comparison_gradient(tree),
        "Gradient against age in each variant",
        "Thin-disc gradient(age) of each variant, above, and less the reference's, below. "
        f"Band: 68% of the {reference}. Counterpart of the paper's figures 11 and 12.",
    )
    paired = (
        "What is paired: both fits are to the same stars, so their errors are alike. The "
        "correlation is of the stars' influences on the two estimates (scores at the maximum); "
        "the interval of a difference uses it, and is the narrower for it."
    )
    total = (
        "Law of total variance over the variants, weighed equally: within them (stars), and "
        "between, divided among the choices by an additive model of the posterior means, "
        "less what the paired noise of the stars would give by itself."
    )
    shares = []
    # Without a variant that may be believed there is nothing to divide.
    if np.isfinite(tree["variance"]["fraction"]).any():
        shares = [
            encode(
                plots.variance(tree),
                "Standard deviation by source of uncertainty",
                "Standard deviation that each source adds, relative to that of the stars alone.",
            )
        ]
    warned = [f"× {label}. {why}" for label, why in doubted.items()]
    if warned:
        warned.insert(
            0, "Variants marked × have fits that may not be believed: their numbers are withheld, "
            "and they are left out of the sources of uncertainty.",
        )  # fmt: skip
    tables = [estimate_table(tree), *baseline_tables(tree)]
    differences, variance = difference_tables(tree), [variance_table(tree)]
    mixed = [
        encode(
            plots.marginal(tree, over),
            f"Marginalised over {_PLURAL[over]}",
            "Posterior densities, each by its weight, and their sum (grey), of which the bar holds "
            "95% (thin) and 68%." + " Dashed: the mock's truth." * ("truth" in one),
        )
        for over, one in marginals(tree).items()
    ]
    over_all = (
        "One level of the choice may be right for all stars, and stars do not say which: the "
        "posterior is the mixture of those under each, by weight. What lies between them no number "
        "of stars averages away."
    )
    return [
        Section(
            "Variants", "variants", [*warned, same + stated], [forest, curves], tables, shown=1
        ),
        *(
            [Section("Marginalised", "marginal", [over_all], mixed, marginal_tables(tree))]
            if mixed
            else []
        ),
        Section("Paired differences", "differences", [paired], [], differences, shown=1),
        Section("Sources of uncertainty", "sources", [total], shares, variance),
    ]


def write_comparison_page(
    tree: xr.DataTree,
    directory: str | Path,
    *,
    name: str,
    recipe_text: str = "",
    overwrite: bool = False,
) -> Path:
    """Write ``directory/index.html``, a comparison's own page."""
    e = tree["estimates"].to_dataset()
    a = {str(key): str(value) for key, value in tree.attrs.items()}
    facts = [("variants", str(e.sizes["variant"])), ("stars", f"{int(e['n_stars'].max()):,}")]
    return write_html(
        directory, title=f"Comparison: {name}", sections=comparison_sections(tree),
        facts=[*facts, ("method", a["method"]), ("made", a.get("created", ""))],
        record=[(k.replace("_", " "), a.get(k, "")) for k in ("recipes", "recipe_hash", "seed")],
        recipe_text=recipe_text, overwrite=overwrite,
    )  # fmt: skip


def comparison_section(tree: xr.DataTree, number: int = 1) -> Section:
    """Build one section of all that a comparison holds, its tables folded but the first."""
    names = " and ".join(json.loads(str(tree.attrs.get("recipes", "[]"))))
    parts = comparison_sections(tree)
    text, images, tables = (
        [item for part in parts for item in getattr(part, kind)]
        for kind in ("text", "images", "tables")
    )
    title = f"Comparison: {names}" if names else "Comparison"
    return Section(title, f"comparison-{number}", text, images, tables, shown=1)
