"""Forms of the gradient, fitted to the same stars and ranked by how well they predict each star."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from migrate_bayes.core.errors import RecipeError
from migrate_bayes.core.table import Estimate, Table
from migrate_bayes.population.data import PopulationData
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.likelihood.distributed import likelihood_on
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.population_model import PopulationModel
from migrate_bayes.population.results.diagnostics import judge
from migrate_bayes.population.results.loo import compare_elpd

_RANKED = ("elpd", "difference", "sd", "p_worse", "p_loo", "high_k")
# Parameters of each form's posterior that are tabulated, if the form has them.
_SHOWN = ("gradient_young", "flattening_rate", "gradient_thick", "sigma_G", "sigma_rm8")


def compare_forms(
    data: PopulationData,
    spec: ModelSpec,
    forms: Sequence[str],
    *,
    seed: int = 0,
    stars: int = 5000,
    sampler: SamplerOptions | None = None,
    completeness: xr.Dataset | None = None,
) -> tuple[Any, xr.DataTree]:
    """Fit a model with one gradient form, or bent profile, after another, all else as it is.

    `completeness` is as of `PopulationModel`.

    `stars` of a random subsample are left out in turn. Returns the table of `compare_elpd`, with
    mean and standard deviation of the main parameters; and a group for each form, with its
    `posterior` and `leave_one_out`, and the table, as JSON, in the root's attribute `table`. A form
    whose fit may not be believed is not ranked: its numbers are NaN, and `doubt` says why.
    """
    specs = {form: spec.varied(form) for form in forms}
    if len(specs) < 2:
        raise RecipeError("a comparison needs two gradient forms or more")
    results, groups, doubt = {}, {}, {}
    sampler = sampler or SamplerOptions()
    with likelihood_on(data.stars, sampler.scheduler) as likelihood:
        for form, one in specs.items():
            model = PopulationModel(data, one, completeness=completeness, likelihood=likelihood)
            tree = model.sample(sampler, seed=seed, prior_draws=0, shown=False)
            posterior = tree["posterior"].to_dataset()
            left_out = model.loo(posterior, stars=stars, seed=seed)
            groups[f"{form}/posterior"] = posterior
            groups[f"{form}/leave_one_out"] = left_out
            if why := judge(tree).sentence:
                doubt[form] = why
            else:
                results[form] = left_out
    table = compare_elpd(results) if results else pd.DataFrame(columns=[*_RANKED])
    for name in _SHOWN:
        for form in table.index:
            if (draws := groups[f"{form}/posterior"].get(name)) is not None:
                table.loc[form, name] = float(draws.mean())
                table.loc[form, f"{name}_sd"] = float(draws.std())
    table = table.reindex([*table.index, *doubt])
    table["doubt"] = [doubt.get(form, "") for form in table.index]
    tree = xr.DataTree.from_dict(groups)
    tree.attrs["table"] = json.dumps(json.loads(table.to_json(orient="index")))
    return table, tree


def print_comparison(table: Any, *, say: Callable[[str], None] = print) -> None:
    """Print the ranking, best first, then the forms whose fits may not be believed."""
    header = ["form", "elpd difference", "P(worse)", "p_loo", "k > 0.7", "gradient_young",
              "flattening_rate"]  # fmt: skip
    rows = [
        [f"× {form}", *["withheld"] * (len(header) - 1)]
        if row["doubt"]
        else [
            str(form),
            Estimate.symmetric(row["difference"], row["sd"]).text(digits=1),
            f"{row['p_worse']:.2f}" if np.isfinite(row["p_worse"]) else "–",
            f"{row['p_loo']:.0f}",
            f"{row['high_k']:.1%}",
            *(
                Estimate.symmetric(row[name], row[f"{name}_sd"]).text(digits=4)
                for name in _SHOWN[:2]
            ),
        ]
        for form, row in table.iterrows()
    ]
    Table("Gradient forms, by leave-one-out predictive density", header, rows).print(say)
    if (table["difference"].iloc[1:] > -4).any():
        say("  Forms that differ by less than 4 predict alike, and P(worse) says little of them.")
    for form, why in table["doubt"].items():
        if why:
            say(f"  {form}: {why}")
