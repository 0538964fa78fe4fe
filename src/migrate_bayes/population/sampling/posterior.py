"""Sampling a population model, by NUTS on the stars or on a surrogate for them.

``"nuts"``: nutpie from the posterior's mode, in coordinates whitened by the curvature there, on
the compiled pieces of `population.sampling.density`; every step is a pass over the stars.
``"surrogate"``: `population.sampling.surrogate`; one pass for each draw.
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

from migrate_bayes.core.parallel import default_workers
from migrate_bayes.core.progress import status
from migrate_bayes.core.provenance import provenance
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.results.diagnostics import MAX_PARETO_K
from migrate_bayes.population.results.units import label
from migrate_bayes.population.sampling.density import PosteriorDensity
from migrate_bayes.population.sampling.mode import find_mode, run_nuts
from migrate_bayes.population.sampling.surrogate import sample_surrogate

# `auto` takes the surrogate from this many stars on: NUTS takes minutes by then, and the surrogate,
# which gets better with the number of stars, is good long before.
_MANY_STARS = 20_000


def sample(
    density: PosteriorDensity,
    options: SamplerOptions,
    *,
    seed: int,
    attrs: dict[str, Any] | None = None,
    cores: int | None = None,
    prior_draws: int = 500,
    progressbar: bool | None = None,
) -> xr.DataTree:
    """Sample the posterior of a compiled model; see `PopulationModel.sample`."""
    began = time.perf_counter()
    passes = density.likelihood.evaluations
    with status("compiling the model (once, up to a minute) and finding the posterior's mode"):
        mode = find_mode(density)
    found = time.perf_counter()
    model, n_stars, method = density.model.pymc, density.likelihood.n_stars, options.method
    if method == "auto":
        method = "surrogate" if n_stars >= _MANY_STARS else "nuts"
    about: dict[str, Any] = {}
    unconstrained: NDArray[np.float64] | None = None
    if method == "surrogate":
        unconstrained, stats, about = sample_surrogate(density, mode, options, seed=seed)
        if not (k := about["pareto_k"]) <= MAX_PARETO_K:
            said = (
                f"the surrogate's importance weights cannot be trusted (k̂ = {k:.2f}, limit "
                f"{MAX_PARETO_K}): sampling with NUTS instead"
            )
            warnings.warn(said, RuntimeWarning, stacklevel=3)
            unconstrained = None
            method, about = "nuts", {"surrogate_pareto_k": k}
    if unconstrained is None:
        shown = sys.stderr.isatty() if progressbar is None else progressbar
        cores = min(options.chains, default_workers()) if cores is None else cores
        workers = density.likelihood.workers
        # Chains that run side by side have one thread each.
        density.likelihood.workers = 1 if cores > 1 else workers
        try:
            unconstrained, stats = run_nuts(
                density, mode, options, seed=seed, cores=cores, progressbar=shown
            )
        finally:
            density.likelihood.workers = workers
    tree = _tree(model, density.named(unconstrained))
    tree["sample_stats"] = stats
    if prior_draws:
        tree["prior"] = label(draw_prior(model, prior_draws, seed))
    tree.attrs.update(
        **provenance(seed=seed), method=method, n_stars=n_stars, mode_seconds=found - began,
        wall_seconds=time.perf_counter() - began, passes=density.likelihood.evaluations - passes,
    )  # fmt: skip
    tree.attrs |= about | _convergence(tree, [rv.name for rv in model.free_RVs]) | (attrs or {})
    return tree


def _convergence(tree: xr.DataTree, names: list[str]) -> dict[str, float]:
    """Worst R-hat and bulk effective sample size of the free parameters."""
    import arviz as az

    posterior = tree["posterior"].to_dataset()[names]
    if posterior.sizes["draw"] < 4 or posterior.sizes["chain"] < 2:
        return {}
    with warnings.catch_warnings():
        # Too few draws is what the numbers themselves show.
        warnings.simplefilter("ignore")
        r_hat, ess = az.rhat(posterior), az.ess(posterior)
    return {
        "r_hat": max(float(v.max()) for v in r_hat.data_vars.values()),
        "ess_bulk": min(float(v.min()) for v in ess.data_vars.values()),
    }


def draw_prior(model: pm.Model, draws: int, seed: int) -> xr.Dataset:
    """Draw from the prior. PyMC need not remark that the stars, a potential, take no part."""
    log, level = logging.getLogger("pymc"), logging.getLogger("pymc").level
    log.setLevel(logging.ERROR)
    try:
        with model, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Pp]otential.*")
            names = [v.name for v in model.unobserved_RVs]
            tree = pm.sample_prior_predictive(draws, var_names=names, random_seed=seed)
    finally:
        log.setLevel(level)
    # PyMC has variables and coordinates in the order of a set of names: another in each process.
    prior = tree["prior"].to_dataset()[names]
    order = [name for name in model.coords if name in prior.coords]
    return prior.drop_vars(order).assign_coords({name: prior[name] for name in order})


def _tree(model: pm.Model, values: dict[str, NDArray[np.float64]]) -> xr.DataTree:
    """Name the dimensions of the draws as the model does."""
    from arviz import from_dict

    dims = {
        name: [d or f"{name}_dim_{i}" for i, d in enumerate(model.named_vars_to_dims[name])]
        for name in values
        if model.named_vars_to_dims.get(name)
    }
    coords = {k: np.asarray(v) for k, v in model.coords.items() if v is not None}
    tree = from_dict({"posterior": values}, coords=coords, dims=dims)
    tree["posterior"] = label(tree["posterior"].to_dataset())
    return tree
