"""Churning from a survey: σ_RM8 of a run's stars under the true history of the gas and a wrong one.

After ``migrate-bayes run runs/migration.toml``,
``python docs/make_churning.py runs/migration.toml``
prints two tables of docs/model.md: posteriors of the ``diffusion`` form, sampled, and the birth
radii that they give the stars of the mock's thin disc, held against the true ones.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from asked import asked_run

from migrate_bayes.core.table import Table
from migrate_bayes.population import (
    ModelSpec,
    PopulationModel,
    load_model_spec,
    population_data,
)
from migrate_bayes.population.data import PopulationData

BIRTHS = [
    "assumed g₁", "told by", "mean off, kpc", "correlation", "sd of pulls", "in ± 1 sd",
    "in ± 2 sd", "correlation of R_g − R_b",
]  # fmt: skip
HEAD = ["assumed g₁", "told by", "σ_RM8, kpc", "95%", "σ_RM8 / S", "S, kpc", "R̂", "k̂"]


def births(model: PopulationModel, tree: xr.DataTree, stars: xr.Dataset) -> list[str]:
    """Hold the birth radii of the thin disc's stars against the truth."""
    found = model.membership(tree)
    true = stars[["ref_true_r_birth", "ref_true_rg", "ref_true_component"]]
    rows = pd.Index(stars["source_id"].values).get_indexer(found["source_id"].values)
    true = true.isel(star=rows).load()
    thin = (true["ref_true_component"].values == 0) & (found["p_thin"].values > 0.5)
    born, now = true["ref_true_r_birth"].values[thin], true["ref_true_rg"].values[thin]
    off = found["birth_radius"].values[thin] - born
    pull = off / found["birth_radius_sd"].values[thin]
    moved = found["radius_change"].values[thin]
    return [
        f"{off.mean():+.2f}", f"{np.corrcoef(off + born, born)[0, 1]:.2f}", f"{pull.std():.2f}",
        f"{(np.abs(pull) < 1).mean():.1%}", f"{(np.abs(pull) < 2).mean():.1%}",
        f"{np.corrcoef(moved, now - born)[0, 1]:.2f}",
    ]  # fmt: skip


def fit(
    data: PopulationData, stars: xr.Dataset, base: ModelSpec, mean: tuple[float, float],
    rate: float, spread: float | None,
) -> tuple[list[str], list[str]]:  # fmt: skip
    """One row each: the posterior under a history; `spread` states S and leaves the scatter out."""
    changed = base.model_dump(exclude_defaults=True) | {
        "form": "diffusion", "birth_gradient_rate": rate, "birth_radius": mean,
        "diffusion_widens": ["scatter"] if spread is None else [],
    }  # fmt: skip
    if spread is not None:
        stated = {"birth_radius_spread": [float(np.log(spread)), 0.02]}
        changed["priors"] = changed.get("priors", {}) | stated
    model = PopulationModel(data, ModelSpec.model_validate(changed))
    tree = model.sample(seed=1, draws=500, prior_draws=0, method="surrogate")
    posterior = tree["posterior"].to_dataset()

    def words(values: xr.DataArray) -> str:
        return f"{float(values.mean()):.2f} ± {float(values.std()):.2f}"

    low, high = posterior["sigma_rm8"].quantile([0.025, 0.975]).values
    ratio = posterior["sigma_rm8"] / posterior["birth_radius_spread"]
    pareto = tree.attrs.get("pareto_k")
    about = [f"{rate:g}", "gradient, scatter" if spread is None else "gradient, S stated"]
    return about + births(model, tree, stars), [
        *about,
        words(posterior["sigma_rm8"]), f"{low:.2f}–{high:.2f}", words(ratio),
        words(posterior["birth_radius_spread"]), f"{tree.attrs['r_hat']:.3f}",
        "NUTS" if pareto is None else f"{pareto:.2f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    run, stars, mask = asked_run(__doc__)
    model = run.recipe.model
    data = population_data(stars, potential=model.potential, mask=mask, radius=model.radius)
    base, law = load_model_spec(model.spec), run.recipe.simulate.migration
    right, spread = law.birth_gradient_rate, law.birth_radius_spread
    mean = law.birth_radius_now, -law.growth
    chosen = stars.isel(star=np.flatnonzero(mask))
    made = [
        fit(data, chosen, base, mean, rate, stated)
        for rate in (right, 0.0)
        for stated in (None, spread)
    ]
    print(
        f"{data.n_stars:,} stars; truth: σ_RM8 = {law.sigma_rm8:g} kpc, S = {spread:g} kpc, "
        f"g₁ = {right:g} dex/kpc/Gyr, σ_RM8 / S = {law.sigma_rm8 / spread:.2f}"
    )
    Table("Churning under histories of the gas", HEAD, [row for _, row in made]).print()
    Table("Birth radii of the thin disc's stars", BIRTHS, [row for row, _ in made]).print()


if __name__ == "__main__":
    main()
