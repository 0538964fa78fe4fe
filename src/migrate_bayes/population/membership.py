"""After the fit: which disc a star belongs to, and its age under the population.

No per-star parameter is sampled; both follow exactly from the posterior of the hyperparameters, as
averages of P(component, age | star, θ) over draws of θ.
"""

from __future__ import annotations

import numpy as np
import pymc as pm
import xarray as xr

from migrate_bayes.population.data import PopulationData
from migrate_bayes.population.model import likelihood_of, theta_of

__all__ = ["membership", "theta_draws"]


def theta_draws(model: pm.Model, posterior: xr.Dataset, *, n: int, seed: int = 0) -> np.ndarray:
    """Draw hyperparameters θ from a posterior.

    Returns
    -------
    ndarray, shape (n, n_components, n_ages, 11)
    """
    function = model.compile_fn(
        theta_of(model), inputs=model.free_RVs, on_unused_input="ignore", point_fn=False
    )
    flat = posterior.stack(sample=("chain", "draw"))
    pick = np.random.default_rng(seed).choice(flat.sizes["sample"], size=n, replace=False)
    names = [rv.name for rv in model.free_RVs]
    columns = [flat[name].transpose("sample", ...).values[pick] for name in names]
    return np.stack([function(*(np.asarray(c[i]) for c in columns)) for i in range(n)])


def membership(
    model: pm.Model, data: PopulationData, posterior: xr.Dataset, *, draws: int = 40, seed: int = 0
) -> xr.Dataset:
    """Compute thin-disc membership and population ages of the fitted stars.

    Parameters
    ----------
    model : pymc.Model
        From `migrate_bayes.build_model`, over `data`.
    data : PopulationData
    posterior : xarray.Dataset
        The tree's `posterior` group.
    draws : int
        Draws of the hyperparameters to average over.
    seed : int

    Returns
    -------
    xarray.Dataset
        On `star` (coordinate `source_id`): `p_thin`, `p_thin_sd` (over the draws), and
        `age_population` with `age_population_sd`, Gyr.
    """
    likelihood = likelihood_of(model)
    n_comp = len(model.coords["component"])
    shape = (n_comp, len(data.ages))
    thin = np.zeros(shape)
    thin[0] = 1.0
    age = np.broadcast_to(data.ages, shape)
    wanted = np.stack([thin, age, age**2])
    draws = min(draws, posterior.sizes["chain"] * posterior.sizes["draw"])
    first = np.zeros((3, data.n_stars))
    second = np.zeros(data.n_stars)
    for theta in theta_draws(model, posterior, n=draws, seed=seed):
        _, mean = likelihood.per_star(theta, wanted)
        first += mean / draws
        second += mean[0] ** 2 / draws
    p_thin, age_mean, age_square = first
    gyr = {"units": "Gyr"}
    return xr.Dataset(
        {
            "p_thin": ("star", p_thin, {"units": "", "long_name": "P(thin disc | star)"}),
            "p_thin_sd": ("star", np.sqrt(np.maximum(second - p_thin**2, 0.0)), {"units": ""}),
            "age_population": ("star", age_mean, {**gyr, "long_name": "age given the population"}),
            "age_population_sd": ("star", np.sqrt(np.maximum(age_square - age_mean**2, 0)), gyr),
        },
        coords={"source_id": ("star", data.source_id)},
        attrs={"hyperparameter_draws": draws},
    )
