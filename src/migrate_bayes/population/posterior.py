"""Sampling a population model: NUTS from the mode, in coordinates whitened by the curvature there.

nutpie runs the chains side by side, one thread each, on the compiled pieces of
`migrate_bayes.population.density`; whitening makes a trajectory of a few steps enough whatever the
units and correlations of the parameters. The result is a DataTree with named dimensions and units.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.parallel import default_workers
from migrate_bayes.population.density import PosteriorDensity
from migrate_bayes.population.labels import label
from migrate_bayes.population.mode import find_mode
from migrate_bayes.progress import status
from migrate_bayes.provenance import provenance

__all__ = ["sample"]


def sample(
    model: pm.Model,
    *,
    draws: int = 1000,
    tune: int = 400,
    chains: int = 4,
    seed: int = 0,
    target_accept: float = 0.85,
    cores: int | None = None,
    prior_draws: int = 500,
    progressbar: bool | None = None,
    attrs: dict[str, Any] | None = None,
) -> xr.DataTree:
    """Sample a population model's posterior.

    Parameters
    ----------
    model : pymc.Model
        From `migrate_bayes.build_model`.
    draws, tune, chains : int
        Kept and tuning draws of each chain.
    seed : int
    target_accept : float
    cores : int, optional
        Chains run side by side, one thread each; the processors there are where not given.
    prior_draws : int
        Draws of the prior kept in the tree.
    progressbar : bool, optional
        Shown on a terminal where not given.
    attrs : dict, optional
        More attributes for the tree's root.

    Returns
    -------
    xarray.DataTree
        Groups `posterior`, `sample_stats` and `prior`; units on every variable, provenance and the
        cost of the fit in the root's attributes.

    Raises
    ------
    FitError
        Where the density is not finite at the model's initial point.
    """
    began = time.perf_counter()
    with status("compiling the model (once, up to a minute) and finding the posterior's mode"):
        density = PosteriorDensity(model)
        mode = find_mode(density)
    found = time.perf_counter()
    cores = min(chains, default_workers()) if cores is None else cores
    workers = density.likelihood.workers
    density.likelihood.workers = 1 if cores > 1 else workers
    try:
        unconstrained, stats = _nuts(
            density, mode.vector, np.linalg.cholesky(mode.covariance), draws=draws, tune=tune,
            chains=chains, cores=cores, seed=seed, target_accept=target_accept,
            progressbar=sys.stderr.isatty() if progressbar is None else progressbar,
        )  # fmt: skip
    finally:
        density.likelihood.workers = workers
    tree = _tree(model, density.named(unconstrained), "posterior")
    tree["sample_stats"] = stats
    if prior_draws:
        tree["prior"] = label(_prior(model, prior_draws, seed))
    now = time.perf_counter()
    tree.attrs.update(provenance(seed=seed))
    tree.attrs.update(
        method="nuts",
        n_stars=density.likelihood.stars.n_stars,
        mode_seconds=found - began,
        wall_seconds=now - began,
        gradient_evaluations=density.likelihood.evaluations,
        **(attrs or {}),
    )
    return tree


def _nuts(
    density: PosteriorDensity,
    centre: NDArray[np.float64],
    scale: NDArray[np.float64],
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int,
    seed: int,
    target_accept: float,
    progressbar: bool,
) -> tuple[NDArray[np.float64], xr.Dataset]:
    """Run NUTS on z, where x = centre + scale z; return draws of x and the sampler's statistics."""
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    def make_log_density() -> Any:
        def log_density(z: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, gradient = density(centre + scale @ z)
            return value, scale.T @ gradient

        return log_density

    def make_expand(seed1: int, seed2: int, chain: int) -> Any:
        return lambda z: {"x": centre + scale @ z}

    def start(seed: int) -> NDArray[np.float64]:
        # Dispersed as the posterior itself is, by the Gaussian at the mode.
        return np.random.default_rng(seed).normal(size=density.n)

    target = from_pyfunc(
        density.n,
        make_log_density,
        make_expand,
        [np.dtype(np.float64)],
        [(density.n,)],
        ["x"],
        make_initial_point_fn=start,
    )
    tree = nutpie.sample(
        target,
        draws=draws,
        tune=tune,
        chains=chains,
        cores=cores,
        seed=seed,
        target_accept=target_accept,
        progress_bar=progressbar,
    )
    return tree["posterior"]["x"].values, tree["sample_stats"].to_dataset()


def _prior(model: pm.Model, draws: int, seed: int) -> xr.Dataset:
    """Draw from the prior: the stars, a potential, take no part, which PyMC need not remark on."""
    log = logging.getLogger("pymc")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with model, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Pp]otential.*")
            names = [v.name for v in model.unobserved_RVs]
            tree = pm.sample_prior_predictive(draws, var_names=names, random_seed=seed)
    finally:
        log.setLevel(level)
    return tree["prior"].to_dataset()


def _tree(model: pm.Model, values: dict[str, NDArray[np.float64]], group: str) -> xr.DataTree:
    """Name the dimensions of the draws as the model does."""
    from arviz import from_dict

    inner = {
        name: [
            d if d is not None else f"{name}_dim_{i}"
            for i, d in enumerate(model.named_vars_to_dims.get(name, ()))
        ]
        for name in values
    }
    coords = {k: np.asarray(v) for k, v in model.coords.items() if v is not None}
    tree = from_dict(
        {group: values}, coords=coords, dims={name: d for name, d in inner.items() if d}
    )
    tree[group] = label(tree[group].to_dataset())
    return tree
