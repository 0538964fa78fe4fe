"""Fit mock surveys made with each family of isochrones, and marginalise over the families.

    python docs/make_families.py [--stars 20000] [--only FAMILY ...] [--families FAMILY ...]

The stars of `runs/isochrones.toml` are drawn from one family, which is not the run's own, and are
fitted with each (form ``linear``). A line of the table is one posterior: each family's, the mixture
of all with equal and with stacking weights, and that of the families but the true one, as if none
were right. * marks a 95% interval without the truth. Products are kept in
``runs/families-NAME-STARS``, results in ``runs/families.jsonl``: what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from migrate_bayes import Recipe, compare_recipes, load_recipe
from migrate_bayes.compare.product import comparison_summary
from migrate_bayes.core.provenance import content_hash
from migrate_bayes.core.table import Estimate, Table

FAMILIES = ("dartmouth", "mist", "parsec", "basti", "yapsi")
NUMBERS = {
    "flattening_rate": "rate (dex/kpc/Gyr)", "gradient_young": "1 Gyr (dex/kpc)",
    "gradient_thick": "thick (dex/kpc)",
}  # fmt: skip
LEDGER = Path("runs/families.jsonl")


def recipe_of(true: str, stars: int, families: list[str], weights: Any = "equal") -> Recipe:
    """Return a recipe of stars of one family, with another for its own."""
    own = next(family for family in families if family != true)
    content = load_recipe("runs/isochrones.toml").model_dump(exclude_unset=True)
    content |= {"name": f"families-{true}-{stars}", "seed": 1 + FAMILIES.index(true)}
    content["simulate"] |= {"stars": stars, "isochrones": true}
    content["isochrones"] |= {"source": own}
    content["compare"] |= {
        "families": [family for family in families if family != own],
        "histories": [], "marginal": {"family": weights},
    }  # fmt: skip
    return Recipe.model_validate(content)


def posteriors(true: str, stars: int, families: list[str]) -> dict[str, Any]:
    """Make what is not there yet of one true family; return the numbers under each choice."""
    key = {"true": true, "recipe": content_hash(recipe_of(true, stars, families).model_dump())}
    known = [json.loads(line) for line in LEDGER.open()] if LEDGER.exists() else []
    for row in known:
        if {name: row[name] for name in key} == key:
            return row
    began, others = time.process_time(), [family for family in families if family != true]
    weights = {"all, equal": "equal", "all, stacking": "stacking"}
    if len(others) > 1:
        weights["without the true one"] = {f: float(f != true) for f in families}
    rows: dict[str, Any] = {}
    for label, chosen in weights.items():
        # Fits are made once: weights are no part of them.
        tree = compare_recipes([recipe_of(true, stars, families, chosen)])
        found = comparison_summary(tree)
        for variant in found["variants"]:
            rows.setdefault(variant["family"], {n: variant[n] for n in NUMBERS})
        mixed = found["marginal"]["family"]
        names = [v["family"] for v in found["variants"] if v["variant"] in mixed["weight"]]
        rows[label] = {n: mixed[n] for n in NUMBERS}
        rows[label]["weight"] = dict(zip(names, mixed["weight"].values(), strict=True))
    row = key | {
        "stars": {v["family"]: v["stars"] for v in found["variants"]},
        "in_common": mixed["n_stars_in_common"],
        "truth": found["truth"],
        "rows": rows,
        "cpu_seconds": time.process_time() - began,
    }
    with LEDGER.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return row


def _cell(one: dict[str, float]) -> str:
    estimate = Estimate.symmetric(one["mean"], one["sd"]).text(digits=4)
    return estimate + ("" if one["truth_inside_95"] else " *")


def main() -> None:
    """Fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--stars", type=int, default=20_000)
    parser.add_argument("--only", choices=FAMILIES, nargs="*", default=list(FAMILIES))
    parser.add_argument("--families", choices=FAMILIES, nargs="*", default=list(FAMILIES))
    asked = parser.parse_args()
    lines, inside = [], dict[str, int]()
    for true in asked.only:
        row = posteriors(true, asked.stars, asked.families)
        used = max(row["stars"].values())
        truth = [f"{row['truth'][n]:.4f}" for n in NUMBERS]
        lines.append([f"stars of {true}", f"{used:,}", *truth, f"{row['cpu_seconds']:.0f}"])
        for label, one in row["rows"].items():
            words = ", ".join(f"{f} {w:.2f}" for f, w in one.get("weight", {}).items())
            words = f" ({words})" if label.endswith("stacking") else ""
            lines.append([label + words, "", *(_cell(one[n]) for n in NUMBERS), ""])
            if "weight" in one:
                inside[label] = inside.get(label, 0) + one["flattening_rate"]["truth_inside_95"]
    Table("Marginalised over isochrones", ["", "usable", *NUMBERS.values(), "CPU s"], lines).print()
    counts = (f"{label} {n} of {len(asked.only)}" for label, n in inside.items())
    print("true rate inside the 95%:", ", ".join(counts))


if __name__ == "__main__":
    main()
