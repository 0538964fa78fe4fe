"""Fit mock surveys of other truths than the default's, with and without each correction.

    python docs/make_truths.py [--stars 1000000] [--completeness FILE] [--injections 1500000]
                               [--survey NAME] [--only LABEL ...] [--corrections NAME ...]

Each truth of `TRUTHS` is simulated with the LAMOST-like survey, taken through ages, orbits and the
paper's cuts, and fitted with models/survey.toml: with one law of radii and without completeness,
with laws by place, and with both corrections. A line of the table is one fit: (f − t) / sd in
brackets, sd of the posterior with the error of ln S. The survey is the same for all truths, and so
is ln S, which may be given as a file: that of injections into runs/paper.toml. With
``--survey catalogue`` a truth's catalogue is its own survey, as that of real stars is. Products are
kept in ``runs/truth-LABEL`` and fits in ``runs/truths.jsonl``: what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from migrate_bayes import PopulationModel, Recipe, Run, load_model_spec, population_data
from migrate_bayes.core.provenance import content_hash
from migrate_bayes.core.table import Table
from migrate_bayes.run.recipe import load_recipe

MIGRATION = "simulate.migration"
TRUTHS: dict[str, dict] = {
    "default": {},
    "steep": {MIGRATION: {"birth_gradient": -0.11, "birth_gradient_rate": 0.0}},
    "stirred": {MIGRATION: {"sigma_rm8": 5.0, "growth": 0.4, "birth_gradient_rate": -0.008}},
    "rich": {
        MIGRATION: {"ism_now": -0.1, "ism_power": 0.8},
        "simulate": {"gradient_thick": -0.02, "thick_fraction": 0.25},
    },
    "curved": {MIGRATION: {"birth_curvature": 0.005}, "model": {"profile": "spline"}},
    "McMillan17": {"orbits": {"potentials": ["McMillan17"]}, "model": {"potential": "McMillan17"}},
}
CORRECTIONS = {
    "neither": (False, False), "laws by place": (True, False), "both": (True, True),
}  # fmt: skip
NUMBERS = {"gradient_young": "1 Gyr", "flattening_rate": "rate", "gradient_thick": "thick"}
LEDGER = Path("runs/truths.jsonl")


def recipe_of(label: str, stars: int, completeness: dict) -> tuple[Recipe, dict]:
    """Return runs/paper.toml with a truth, and the entries of the model file that differ."""
    changed = TRUTHS[label]
    recipe = load_recipe("paper").model_dump(mode="json", exclude_unset=True)
    model = dict(changed.get("model", {}))
    recipe |= {"name": f"truth-{label}", "seed": 1 + list(TRUTHS).index(label)}
    recipe["simulate"] |= {"stars": stars, "migration": changed.get(MIGRATION, {})}
    recipe["simulate"] |= changed.get("simulate", {})
    recipe["orbits"] |= changed.get("orbits", {"potentials": ["MWPotential2014"]})
    recipe["orbits"]["zmax_potentials"] = recipe["orbits"]["potentials"]
    recipe["model"]["potential"] = model.pop("potential", "MWPotential2014")
    recipe["completeness"] = completeness
    # Three numbers of each fit are asked for, not its slowest scales: chains are not made longer.
    recipe["sampler"] = {"patience": 1}
    return Recipe.model_validate(recipe), model


def fits(label: str, stars: int, completeness: dict, corrections: list[str]) -> list[dict]:
    """Make what is not there yet of one truth; return its fits."""
    recipe, changed = recipe_of(label, stars, completeness)
    known = [json.loads(line) for line in LEDGER.open()] if LEDGER.exists() else []
    key = {"truth": label, "recipe": content_hash(recipe.model_dump(mode="json"))}
    mine = [row for row in known if {name: row[name] for name in key} == key]
    mine = [row for row in mine if row["correction"] in corrections]
    missing = [name for name in corrections if name not in {row["correction"] for row in mine}]
    if not missing:
        return mine
    run = Run(recipe, products=Path("runs"))
    run.simulate()
    run.make_stars()
    table = run.completeness(recipe.completeness.source)
    mask = run.mask(recipe.model.selection)
    base = load_model_spec(recipe.model.spec)
    for name in missing:
        by_place, selected = CORRECTIONS[name]
        spec = base.changed(radius_by_place=by_place, **changed)
        data = population_data(
            run.stars, potential=recipe.model.potential, mask=mask, with_completeness=selected
        )
        began = time.perf_counter()
        model = PopulationModel(data, spec, completeness=table if selected else None)
        fit = model.sample(recipe.sampler, seed=recipe.seed, prior_draws=0)
        posterior, truth = fit["posterior"], recipe.truth()
        row = key | {
            "correction": name, "stars": data.n_stars,
            "seconds": time.perf_counter() - began,
            "pareto_k": fit.attrs.get("pareto_k"), "r_hat": fit.attrs.get("r_hat"),
        }  # fmt: skip
        for number in NUMBERS:
            draws = posterior[number].values
            row[number] = [truth[number], float(draws.mean()), float(draws.std())]
            low, high = np.quantile(draws, [0.025, 0.975])
            row[f"{number}_inside"] = bool(low <= truth[number] <= high)
        mine.append(row)
        with LEDGER.open("a") as file:
            file.write(json.dumps(row) + "\n")
    return mine


def main() -> None:
    """Fit, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--stars", type=int, default=1_000_000)
    parser.add_argument("--completeness", default="inject")
    parser.add_argument("--injections", type=int, default=1_500_000)
    parser.add_argument("--survey", choices=["mock", "catalogue"], default="mock")
    parser.add_argument("--only", choices=list(TRUTHS), nargs="*", default=list(TRUTHS))
    parser.add_argument("--corrections", choices=list(CORRECTIONS), nargs="*",
                        default=list(CORRECTIONS))  # fmt: skip
    asked = parser.parse_args()
    completeness = {
        "source": asked.completeness, "survey": asked.survey, "injections": asked.injections,
    }  # fmt: skip
    rows: list[list[str]] = []
    inside = dict.fromkeys(asked.corrections, 0)
    for label in asked.only:
        made = fits(label, asked.stars, completeness, asked.corrections)
        first = made[0]
        rows.append([f"**{label}**", f"{first['stars']:,}",
                     *(f"{first[number][0]:.4f}" for number in NUMBERS), "", ""])  # fmt: skip
        for row in made:
            inside[row["correction"]] += sum(row[f"{number}_inside"] for number in NUMBERS)
            cells = []
            for number in NUMBERS:
                true, mean, sd = row[number]
                cells.append(f"{mean:.4f} ± {sd:.4f} ({(mean - true) / sd:+.1f})")
            k = row["pareto_k"]
            rows.append([row["correction"], "", *cells, f"{row['seconds']:.0f}",
                         "NUTS" if k is None else f"{k:.2f}"])  # fmt: skip
    head = ["truth, corrections", "usable", *NUMBERS.values(), "seconds", "k̂"]
    Table("Other truths: dex/kpc, rate in dex/kpc/Gyr", head, rows).print()
    of = 3 * len(asked.only)
    print("inside their 95%:", ", ".join(f"{name} {n} of {of}" for name, n in inside.items()))


if __name__ == "__main__":
    main()
