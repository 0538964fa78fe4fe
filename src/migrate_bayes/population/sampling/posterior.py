"""Sampling a population model, by NUTS on the stars or on a surrogate for them.

``"nuts"``: nutpie from the posterior's mode, in coordinates whitened by the curvature there, on
the compiled pieces of `population.sampling.density`; every step is a pass over the stars.
``"surrogate"``: `population.sampling.importance`; a pass for each draw alone. Both give the
same DataTree, with named dimensions and units.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from typing import Any, Literal

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import FitError, suggest
from migrate_bayes.core.parallel import default_workers
from migrate_bayes.core.progress import status
from migrate_bayes.core.provenance import provenance
from migrate_bayes.population.results.units import label
from migrate_bayes.population.sampling.density import PosteriorDensity
from migrate_bayes.population.sampling.importance import MAX_PARETO_K, sample_surrogate
from migrate_bayes.population.sampling.mode import Mode, find_mode
from migrate_bayes.population.sampling.nuts import run_nuts

__all__ = ["METHODS", "sample"]

METHODS = ("auto", "nuts", "surrogate")

# From this many stars on, `auto` takes the surrogate: NUTS takes minutes by then, and the
# surrogate, better the more stars there are, is good long before.
_MANY_STARS = 20_000


def sample(
    model: pm.Model,
    *,
    method: Literal["auto", "nuts", "surrogate"] = "auto",
    draws: int = 1000,
    tune: int = 200,
    chains: int = 4,
    seed: int = 0,
    target_accept: float = 0.85,
    cores: int | None = None,
    prior_draws: int = 500,
    progressbar: bool | None = None,
    attrs: dict[str, Any] | None = None,
    density: PosteriorDensity | None = None,
) -> xr.DataTree:
    """Sample a population model's posterior.

    Parameters
    ----------
    model : pymc.Model
        From `migrate_bayes.build_model`.
    method : {"auto", "nuts", "surrogate"}
        How; ``"auto"`` takes the surrogate for 20,000 stars and more. Where the surrogate's
        importance weights cannot be trusted (k̂ > 0.7), NUTS is run instead, with a warning.
    draws, tune, chains : int
        Kept and tuning draws of each chain. The surrogate keeps fewer where there are very many
        stars: some 2·10⁹ divided by their number in all, and at least 800. It keeps no fewer
        than 100 in all.
    seed : int
    target_accept : float
    cores : int, optional
        For NUTS on the stars: chains run side by side, one thread each; the processors there are
        where not given.
    prior_draws : int
        Draws of the prior kept in the tree.
    progressbar : bool, optional
        Shown on a terminal where not given.
    attrs : dict, optional
        More attributes for the tree's root.
    density : PosteriorDensity, optional
        The model's density where it is compiled already; `PosteriorDensity.over` gives it other
        stars.

    Returns
    -------
    xarray.DataTree
        Groups `posterior` (equal draws), `sample_stats` and `prior`; units on every variable; in
        the root's attributes provenance, `method`, the cost of the fit (`wall_seconds`,
        `mode_seconds`, `passes` over the stars), the worst `r_hat` and `ess_bulk` of the model's
        free parameters and, of a surrogate, `pareto_k` and `importance_ess`.

    Raises
    ------
    FitError
        Where the method is unknown, or the density is not finite at the model's initial point.
    """
    if method not in METHODS:
        raise FitError(f"unknown method '{method}'; {suggest(method, METHODS)}")
    began = time.perf_counter()
    with status("compiling the model (once, up to a minute) and finding the posterior's mode"):
        density = PosteriorDensity(model) if density is None else density
        passes = density.likelihood.evaluations
        mode = find_mode(density)
    found = time.perf_counter()
    n_stars = density.likelihood.n_stars
    if method == "auto":
        method = "surrogate" if n_stars >= _MANY_STARS else "nuts"
    about: dict[str, Any] = {}
    unconstrained: NDArray[np.float64] | None = None
    if method == "surrogate":
        found_draws = sample_surrogate(
            density, mode, draws=draws, tune=tune, chains=chains, seed=seed,
            target_accept=target_accept,
        )  # fmt: skip
        unconstrained, stats = found_draws.draws, found_draws.stats
        about = {
            "pareto_k": found_draws.pareto_k,
            "importance_ess": found_draws.ess,
            "log_ratio_sd": found_draws.log_ratio_sd,
            "surrogate_rounds": found_draws.rounds,
        }
        if not found_draws.pareto_k <= MAX_PARETO_K:
            warnings.warn(
                f"the surrogate's importance weights cannot be trusted (k̂ = "
                f"{found_draws.pareto_k:.2f}, limit {MAX_PARETO_K}): sampling with NUTS instead",
                RuntimeWarning,
                stacklevel=2,
            )
            unconstrained = None
            method, about = "nuts", {"surrogate_pareto_k": found_draws.pareto_k}
    if unconstrained is None:
        unconstrained, stats = _nuts_on_stars(
            density, mode, draws=draws, tune=tune, chains=chains, cores=cores, seed=seed,
            target_accept=target_accept,
            progressbar=sys.stderr.isatty() if progressbar is None else progressbar,
        )  # fmt: skip
    tree = _tree(model, density.named(unconstrained), "posterior")
    tree["sample_stats"] = stats
    if prior_draws:
        tree["prior"] = label(_prior(model, prior_draws, seed))
    tree.attrs.update(provenance(seed=seed))
    tree.attrs.update(
        method=method,
        n_stars=n_stars,
        mode_seconds=found - began,
        wall_seconds=time.perf_counter() - began,
        passes=density.likelihood.evaluations - passes,
        **about,
        **_convergence(tree, [rv.name for rv in model.free_RVs]),
        **(attrs or {}),
    )
    return tree


def _nuts_on_stars(
    density: PosteriorDensity, mode: Mode, *, chains: int, cores: int | None, **options: Any
) -> tuple[NDArray[np.float64], xr.Dataset]:
    """Run NUTS with a pass over the stars each step, chains side by side with one thread each."""
    cores = min(chains, default_workers()) if cores is None else cores
    workers = density.likelihood.workers
    density.likelihood.workers = 1 if cores > 1 else workers
    try:
        return run_nuts(
            density, mode.vector, np.linalg.cholesky(mode.covariance), chains=chains, cores=cores,
            **options,
        )  # fmt: skip
    finally:
        density.likelihood.workers = workers


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
    return tree["prior"].to_dataset()[names]  # PyMC has them in the order of a set


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
