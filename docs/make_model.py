"""Numbers and figure of docs/model.md: σ_RM8 under histories of the gas, and the prior predictive.

``python docs/make_model.py`` prints the table and writes ``docs/images/prior-predictive.png``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pymc as pm
import xarray as xr

from migrate_bayes import plots
from migrate_bayes.core.table import Table
from migrate_bayes.mock.model_stars import migrated_stars, simulated_stars
from migrate_bayes.population import (
    ModelSpec,
    PopulationModel,
    load_model_spec,
    population_data,
)
from migrate_bayes.population.sampling.density import PosteriorDensity, find_mode

ROOT = Path(__file__).resolve().parents[1]
STARS, SEED = 6000, 2
# Few knots: the stars have one disc and functions of age that are nearly straight.
KNOTS = {
    "metallicity": {"thin": [1.0, 5.0, 12.0], "thick": [8.0]},
    "scatter": {"thin": [1.0, 12.0], "thick": [8.0]},
    "radius": {"thin": [5.0], "thick": [8.0]},
    "radius_scatter": {"thin": [1.0, 12.0], "thick": [8.0]},
    "height": {"thin": [1.0, 12.0], "thick": [8.0]},
    "age_weight": {"thin": [1.0, 4.0, 8.0, 13.0], "thick": [2.0, 8.0, 13.0]},
}
STATED = {"birth_radius_spread": (float(np.log(3.0)), 0.02)}


def fit(true_rate: float, assumed: float, widens: tuple[str, ...], selected: bool) -> list[str]:
    """One row: σ_RM8 and S by the posterior's mode and curvature."""
    stars = migrated_stars(
        STARS, seed=SEED, birth_gradient_rate=true_rate, selected=selected
    )  # truth: σ_RM8 = 3.5 kpc, S = 3 kpc
    spec = ModelSpec(
        form="diffusion", birth_gradient_rate=assumed, diffusion_widens=widens,
        priors={} if widens else STATED, **KNOTS,
    )  # fmt: skip
    density = PosteriorDensity(PopulationModel(population_data(stars), spec), mode="FAST_COMPILE")
    mode = find_mode(density, max_iterations=250)  # Newton steps do the rest
    draws = np.random.default_rng(0).multivariate_normal(mode.vector, mode.covariance, 500)
    named = density.named(draws)
    sigma, spread = named["sigma_rm8"], named["birth_radius_spread"]
    return [
        f"{true_rate:g}", f"{assumed:g}", "near the Sun" if selected else "all",
        "gradient, scatter" if widens else "gradient, S stated",
        f"{sigma.mean():.2f} ± {sigma.std():.2f}", f"{spread.mean():.2f} ± {spread.std():.2f}",
    ]  # fmt: skip


def migration() -> None:
    """Print σ_RM8 under right and wrong histories."""
    both = ("scatter",)
    cases = [
        (-0.003, -0.003, both, False), (-0.003, 0.0, both, False), (-0.003, 0.0, (), False),
        (0.0, 0.0, both, True),
    ]  # fmt: skip
    rows = []
    for case in cases:
        rows.append(fit(*case))
        print("  ".join(rows[-1]), flush=True)
    header = ["true rate", "assumed", "stars", "told by", "sigma_rm8 (kpc)", "S (kpc)"]
    Table("Truth: sigma_rm8 3.5 kpc, S 3 kpc", header, rows).print()


def figure() -> None:
    """Draw the default model's prior predictive beside simulated stars."""
    data = population_data(simulated_stars(20_000, seed=1))
    model = PopulationModel(data, load_model_spec(ROOT / "models/thin-thick.toml"))
    values = pm.draw(model.pymc.free_RVs, draws=500, random_seed=1, mode="FAST_COMPILE")
    names = [rv.name for rv in model.pymc.free_RVs]
    prior = xr.Dataset(
        {
            name: (("chain", "draw", *[f"{name}_{i}" for i in range(v.ndim - 1)]), v[None])
            for name, v in zip(names, values, strict=True)
        }
    )
    made = model.prior_predictive(prior, draws=500)
    path = ROOT / "docs/images/prior-predictive.png"
    plots.prior_predictive(made).savefig(path, dpi=110, metadata={"Software": None})
    print(path)


if __name__ == "__main__":
    if "--figure-only" not in sys.argv:
        migration()
    figure()
