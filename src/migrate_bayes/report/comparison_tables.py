"""The comparison as tables of text, for the terminal and the page."""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = ["QUANTITY_LABELS", "comparison_tables", "quantity_label"]

Table = tuple[str, list[str], list[list[str]]]

QUANTITY_LABELS = {
    "flattening_rate": "Flattening rate",
    "gradient_young": "Thin-disc gradient at 1 Gyr",
    "gradient_thick": "Thick-disc gradient",
}
_UNIT_LABELS = {"dex / (kpc Gyr)": "dex/kpc/Gyr", "dex / kpc": "dex/kpc"}


def quantity_label(name: str) -> str:
    """Name a quantity for people."""
    if name.startswith("sigma_rm8"):
        return "σ_RM8" + name.removeprefix("sigma_rm8")
    return QUANTITY_LABELS.get(name, name)


def unit_label(unit: str) -> str:
    """Write a unit briefly."""
    return _UNIT_LABELS.get(unit, unit)


def _pm(value: float, error: float) -> str:
    if not (np.isfinite(value) and np.isfinite(error)):
        return "–"
    digits = int(min(max(1 - np.floor(np.log10(error)), 0), 8)) if error > 0 else 4
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else "> 0.999" if p > 0.999 else f"{p:.3f}"


def estimate_table(tree: xr.DataTree) -> Table:
    """Each variant's numbers."""
    e = tree["estimates"].to_dataset()
    names = [str(q) for q in e["quantity"].values]
    header = ["variant", "stars"] + [
        f"{quantity_label(q)} ({unit_label(str(u))})"
        for q, u in zip(names, e["unit"].values, strict=True)
    ]
    rows = []
    for v in e["variant"].values:
        row = e.sel(variant=v)
        cells = [str(v), f"{int(row['n_stars']):,}"]
        for q in names:
            cell = row.sel(quantity=q)
            text = _pm(float(cell["mean"]), float(cell["sd"]))
            if "truth" in e and np.isfinite(cell["truth"]):
                inside = float(cell["lo95"]) <= float(cell["truth"]) <= float(cell["hi95"])
                text += "" if inside else " *"
            cells.append(text)
        rows.append(cells)
    if "truth" in e:
        truth = [f"{t:.4g}" if np.isfinite(t) else "–" for t in e["truth"].values]
        rows.append(["truth", "", *truth])
    star = "; *: the truth is outside the 95% interval" if "truth" in e else ""
    return f"By variant: mean and standard deviation of the posterior{star}", header, rows


def difference_tables(tree: xr.DataTree) -> list[Table]:
    """Each quantity's differences from the reference."""
    d, e = tree["differences"].to_dataset(), tree["estimates"].to_dataset()
    reference = str(tree.attrs["reference"])
    header = [
        "variant",
        "difference",
        "95% interval",
        "sd if unpaired",
        "correlation",
        "P(greater)",
    ]
    tables = []
    for q, unit in zip(e["quantity"].values, e["unit"].values, strict=True):
        rows = []
        for v in e["variant"].values:
            if v == reference:
                continue
            cell = d.sel(quantity=q, variant=v, other=reference)
            sd = float(cell["sd"])
            digits = int(min(max(1 - np.floor(np.log10(sd)), 0), 8)) if sd > 0 else 5
            rows.append(
                [
                    str(v), _pm(float(cell["mean"]), sd),
                    f"{float(cell['lo95']):.{digits}f} … {float(cell['hi95']):.{digits}f}",
                    f"{float(cell['unpaired_sd']):.{digits}f}",
                    f"{float(cell['correlation']):.4f}",
                    _probability(float(cell["probability_greater"])),
                ]
            )  # fmt: skip
        title = (
            f"{quantity_label(str(q))}: variant minus {reference}, {unit_label(str(unit))}, paired"
        )
        tables.append((title, header, rows))
    return tables


def variance_table(tree: xr.DataTree) -> Table:
    """Where the uncertainty comes from."""
    v = tree["variance"].to_dataset()
    names = [str(q) for q in v["quantity"].values]
    header = ["source"] + [f"{quantity_label(q)}: sd (share)" for q in names]
    rows = []
    for s in v["source"].values:
        cells = [str(s)]
        for q in names:
            cell = v.sel(quantity=q, source=s)
            cells.append(f"{float(cell['sd']):.2g} ({float(cell['fraction']):.1%})")
        rows.append(cells)
    return "Sources of uncertainty, variants weighed equally, noise taken off", header, rows


def baseline_table(tree: xr.DataTree) -> Table | None:
    """ODR's flattening rate and gradient at 1 Gyr in each variant."""
    if "baseline" not in tree.children:
        return None
    b = tree["baseline"].to_dataset()
    header, rows = ["variant"], []
    for name in QUANTITY_LABELS:
        header += [f"{QUANTITY_LABELS[name]}, {m}" for m in ("ODR", "ODR + scatter")]
    for v in b["variant"].values:
        cells = [str(v)]
        for name in QUANTITY_LABELS:
            for m in ("odr", "odr+scatter"):
                row = b.sel(variant=v).sel({"method": m})
                cells.append(_pm(float(row[name]), float(row[f"{name}_error"])))
        rows.append(cells)
    return "ODR in age bins, from the same stars (thin- and thick-disc selections)", header, rows


def comparison_tables(tree: xr.DataTree) -> list[Table]:
    """All of them, in the order of interest."""
    found = [estimate_table(tree), *difference_tables(tree), variance_table(tree)]
    baseline = baseline_table(tree)
    return [*found, baseline] if baseline else found
