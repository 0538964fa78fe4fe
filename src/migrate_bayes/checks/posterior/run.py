"""Simulation-based calibration: prior, survey, fit, ranks; each survey by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.checks.posterior.ledger import Ledger
from migrate_bayes.checks.posterior.processes import complete
from migrate_bayes.checks.posterior.ranks import Calibration
from migrate_bayes.checks.posterior.recipe import CalibrateRecipe
from migrate_bayes.core.errors import FitError
from migrate_bayes.population.model.specification import load_model_spec

__all__ = ["calibrate", "survey_function"]

# What the named variables hold beside parameters: curves on the age grid, and the sampler's own
# coordinate of the deviations, which the deviations themselves stand for.
_NOT_RANKED = {"gradient", "metallicity", "scatter", "deviation_G"}
# Doublings of the number of draws before the ranks are taken as they are.
_DOUBLINGS = 4

Numbers = NDArray[np.float64]


def _flat(named: Mapping[str, Numbers], lead: int) -> dict[str, Numbers]:
    """One entry per scalar: ``name``, or ``name[i]``; `lead` axes are of the draws."""
    out = {}
    for name, value in named.items():
        if name in _NOT_RANKED:
            continue
        if value.ndim == lead:
            out[name] = value
            continue
        entries = value.reshape(*value.shape[:lead], -1)
        out |= {f"{name}[{i}]": entries[..., i] for i in range(entries.shape[-1])}
    return out


def thinned(draws: Numbers, n: int) -> Numbers:
    """Take `n` draws, evenly spaced over all chains laid end to end; shape (chain, draw)."""
    flat = draws.reshape(-1)
    return flat[(2 * np.arange(n) + 1) * len(flat) // (2 * n)]


def survey_function(recipe: CalibrateRecipe) -> Callable[[int], dict[str, Any]]:
    """Compile the model, and return the function from a survey's number to its result."""
    from arviz import ess, rhat

    from migrate_bayes.checks.posterior.refit import Refit, survey_errors
    from migrate_bayes.mock.model_stars import simulated_stars

    refit = Refit(load_model_spec(recipe.spec), recipe.stars)
    errors = survey_errors(recipe.errors)
    kept = recipe.ranks - 1

    def one(survey: int) -> dict[str, Any]:
        began = time.process_time()
        seeds = np.random.SeedSequence([recipe.seed, survey]).generate_state(3)
        named, theta = refit.draw_prior(int(seeds[0]))
        truth = _flat(named, 0)
        stars = simulated_stars(recipe.stars, seed=int(seeds[1]), truth=theta, errors=errors)
        main = [name for name in recipe.main if name in truth]
        draws = recipe.sampler.draws
        for doubling in range(_DOUBLINGS + 1):
            tree = refit.fit(stars, recipe.sampler, seed=int(seeds[2]), draws=draws)
            variables = tree["posterior"].data_vars
            posterior = _flat({str(n): v.values for n, v in variables.items()}, 2)
            size = min(float(ess(posterior[name])) for name in main)
            if size >= recipe.ranks or doubling == _DOUBLINGS:
                break
            draws *= 2
        return {
            "survey": survey,
            "truth": {n: float(v) for n, v in truth.items()},
            "rank": {
                n: int(np.sum(thinned(posterior[n], kept) < truth[n])) for n in truth
            },
            "mean": {n: float(posterior[n].mean()) for n in truth},
            "sd": {n: float(posterior[n].std()) for n in truth},
            "ess": size,
            "r_hat": max(float(rhat(posterior[name])) for name in main),
            "divergences": int(tree["sample_stats"]["diverging"].sum()),
            "method": tree.attrs["method"],
            "pareto_k": tree.attrs.get("pareto_k", tree.attrs.get("surrogate_pareto_k")),
            "draws": draws * recipe.sampler.chains,
            "seconds": time.process_time() - began,
        }  # fmt: skip

    return one


def calibrate(
    recipe: CalibrateRecipe, ledger_path: str | Path, *, workers: int = 1, overwrite: bool = False
) -> Calibration:
    """Run what is left of a recipe's surveys, and gather all.

    Parameters
    ----------
    recipe : CalibrateRecipe
    ledger_path : path-like
        Where each survey's result is kept; a run goes on with what it holds.
    workers : int
        Processes. No number depends on it.
    overwrite : bool
        Begin anew.

    Raises
    ------
    FitError
        Where no main parameter is one of the model's.
    ProductError
        Where the ledger is another recipe's.
    """
    ledger = Ledger(
        ledger_path, kind="calibration", recipe_hash=recipe.hash, seed=recipe.seed,
        overwrite=overwrite,
    )  # fmt: skip

    def number(result: dict[str, Any]) -> int:
        return int(result["survey"])

    results = complete(
        ledger, number, range(recipe.surveys), survey_function, (recipe,),
        workers=workers, label="calibrating", unit="surveys",
    )  # fmt: skip
    found = Calibration.of(results, main=recipe.main, n_ranks=recipe.ranks)
    if not found.main:
        raise FitError(f"none of {', '.join(recipe.main)} is a parameter of this model")
    return found
