"""Churning from a survey: σ_RM8 of a run's stars under the true history of the gas and a wrong one.

After ``migrate-bayes run runs/migration.toml``,
``python docs/make_churning.py runs/migration.toml``
prints the second table of docs/model.md: posteriors of the ``diffusion`` form, sampled.
"""

from __future__ import annotations

import numpy as np
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

HEAD = ["assumed g₁", "told by", "σ_RM8, kpc", "95%", "σ_RM8 / S", "S, kpc", "R̂", "k̂"]


def fit(data: PopulationData, base: ModelSpec, rate: float, spread: float | None) -> list[str]:
    """One row: the posterior under a history; `spread` states S and leaves the scatter out."""
    changed = base.model_dump(exclude_defaults=True) | {
        "form": "diffusion", "birth_gradient_rate": rate,
        "diffusion_widens": ["scatter"] if spread is None else [],
    }  # fmt: skip
    if spread is not None:
        stated = {"birth_radius_spread": [float(np.log(spread)), 0.02]}
        changed["priors"] = changed.get("priors", {}) | stated
    model = PopulationModel(data, ModelSpec.model_validate(changed))
    tree = model.sample(seed=1, draws=500, prior_draws=0)
    posterior = tree["posterior"].to_dataset()

    def words(values: xr.DataArray) -> str:
        return f"{float(values.mean()):.2f} ± {float(values.std()):.2f}"

    low, high = posterior["sigma_rm8"].quantile([0.025, 0.975]).values
    ratio = posterior["sigma_rm8"] / posterior["birth_radius_spread"]
    pareto = tree.attrs.get("pareto_k")
    return [
        f"{rate:g}", "gradient, scatter" if spread is None else "gradient, S stated",
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
    rows = [fit(data, base, rate, stated) for rate in (right, 0.0) for stated in (None, spread)]
    print(
        f"{data.n_stars:,} stars; truth: σ_RM8 = {law.sigma_rm8:g} kpc, S = {spread:g} kpc, "
        f"g₁ = {right:g} dex/kpc/Gyr, σ_RM8 / S = {law.sigma_rm8 / spread:.2f}"
    )
    Table("Churning under histories of the gas", HEAD, rows).print()


if __name__ == "__main__":
    main()
