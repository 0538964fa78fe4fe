r"""What regression in bins of age makes of a survey whose gradients are known.

A scenario turns on some of: age errors, R_g errors, intrinsic scatter of [Fe/H], the thick disc
(with the paper's chemical cut against it) and the cut in Z_max. In each, surveys are simulated with
the same truth and analysed by

* ``odr``: the paper's way, bins of 1.25 Gyr from 1 to 12.25 Gyr in the maximum-likelihood age, ODR
  of [Fe/H] on R_g with both errors, a weighted line through slope(age) (`migrate_bayes.baseline`);
* ``odr+scatter``: the same with intrinsic scatter;
* ``hierarchical``: the population model, on all stars.

For a quantity with truth t, estimates x_i and claimed errors e_i over n surveys: the bias is
mean(x) − t, its Monte-Carlo error sd(x)/√n; the actual error is sd(x); `claimed` is the root mean
square of e. ``claimed / actual`` below 1 is an error bar that is too short, whose own Monte-Carlo
error is that of sd(x), 1/√(2(n − 1)).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.baseline import fit_baseline
from migrate_bayes.checks.posterior.ledger import Ledger
from migrate_bayes.checks.posterior.processes import complete
from migrate_bayes.checks.posterior.recipe import BiasRecipe, ScenarioSection
from migrate_bayes.checks.posterior.refit import Refit, survey_errors
from migrate_bayes.mock.model_stars import PopulationTruth, simulated_stars
from migrate_bayes.population.model.specification import load_model_spec
from migrate_bayes.selection import select

__all__ = ["METHODS", "QUANTITIES", "BiasRow", "bias_rows", "measure_bias", "simulate_scenario"]

METHODS = ("odr", "odr+scatter", "hierarchical")

#: Name in the posterior: name in the baseline, unit.
QUANTITIES = {
    "gradient_young": ("slope_at_1gyr", "dex/kpc"),
    "flattening_rate": ("trend", "dex/kpc/Gyr"),
}

#: Scenario, number of the survey, and "regression" or "fit".
Task = tuple[str, int, str]
#: Method, quantity: estimate and claimed error.
Estimates = dict[str, dict[str, tuple[float, float]]]

# What is left of an error, or of scatter, that is turned off: a regression needs weights, and a
# model with log(scatter) cannot have none.
_OFF = 0.05


def simulate_scenario(recipe: BiasRecipe, scenario: ScenarioSection, *, seed: int) -> xr.Dataset:
    """Simulate one survey.

    The same seed gives the same stars in every scenario without a thick disc, and much the same
    noise: differences between scenarios are then better known than either.
    """
    truth, errors = recipe.truth.model_dump(), recipe.errors.model_dump()
    if not scenario.scatter:
        truth["scatter_thin"] *= _OFF
        truth["scatter_thick"] *= _OFF
    if not scenario.thick:
        truth["thick_fraction"] = 0.0
    if not scenario.age_errors:
        # Without an error of the age there is none for [Fe/H] to be correlated with.
        errors["age"] *= _OFF
        errors["age_feh_correlation"] = 0.0
    if not scenario.radius_errors:
        errors["radius"] *= _OFF
    return simulated_stars(
        recipe.stars,
        seed=seed,
        truth=PopulationTruth(**truth),
        errors=survey_errors(type(recipe.errors)(**errors)),
    )


def selections(recipe: BiasRecipe, scenario: ScenarioSection) -> tuple[dict, dict]:
    """Return which stars the regressions take and which the hierarchical fit."""
    cut = {"zmax": {"max": recipe.zmax_limit}}
    regression = {"selection": "thin-chemical" if scenario.thick else "all"}
    fit = {"selection": "all"}
    return (
        regression | (cut if scenario.zmax_cut else {}),
        fit | (cut if scenario.cut_for_all else {}),
    )


def task_function(recipe: BiasRecipe) -> Callable[[Task], dict[str, Any]]:
    """Return the function from a task to its result; the model is compiled at need."""
    refit: list[Refit] = []
    by_label = {s.label: s for s in recipe.scenarios}

    def one(task: Task) -> dict[str, Any]:
        label, survey, kind = task
        scenario = by_label[label]
        began = time.process_time()
        # The seed is the survey's, not the scenario's: see `simulate_scenario`.
        seeds = np.random.SeedSequence([recipe.seed, survey]).generate_state(2)
        stars = simulate_scenario(recipe, scenario, seed=int(seeds[0]))
        if kind == "fit":
            if not refit:
                refit.append(Refit(load_model_spec(recipe.spec), recipe.stars))
            used, estimates = _fit(refit[0], recipe, scenario, stars, seed=int(seeds[1]))
        else:
            used, estimates = _regress(recipe, scenario, stars)
        return {
            "scenario": label,
            "survey": survey,
            "kind": kind,
            "stars": used,
            "estimates": estimates,
            "seconds": time.process_time() - began,
        }

    return one


def _regress(
    recipe: BiasRecipe, scenario: ScenarioSection, stars: xr.Dataset
) -> tuple[int, Estimates]:
    """Regress in bins of age; estimates of both methods and the stars used."""
    line = fit_baseline(stars, selection=selections(recipe, scenario)[0])
    estimates = {
        method: {
            name: (float(line[column][m]), float(line[f"{column}_error"][m]))
            for name, (column, _) in QUANTITIES.items()
        }
        for m, method in enumerate(METHODS[:2])
    }
    return int(line.attrs["stars_used"]), estimates


def _fit(
    refit: Refit, recipe: BiasRecipe, scenario: ScenarioSection, stars: xr.Dataset, *, seed: int
) -> tuple[int, Estimates]:
    """Fit the hierarchical model; its estimates and the stars used."""
    mask = select(stars, selections(recipe, scenario)[1]).values
    tree = refit.fit(stars.isel(star=np.flatnonzero(mask)), recipe.sampler, seed=seed)
    draws = tree["posterior"]
    found = {name: (float(draws[name].mean()), float(draws[name].std())) for name in QUANTITIES}
    return int(mask.sum()), {"hierarchical": found}


@dataclass(frozen=True)
class BiasRow:
    """One quantity by one method in one scenario; see the module's docstring for the columns."""

    scenario: str
    method: str
    quantity: str
    truth: float
    surveys: int
    mean: float
    actual: float
    claimed: float

    @property
    def bias(self) -> float:
        """Mean estimate minus truth."""
        return self.mean - self.truth

    @property
    def bias_error(self) -> float:
        """Monte-Carlo error of the bias."""
        return self.actual / np.sqrt(self.surveys)

    @property
    def ratio(self) -> float:
        """Claimed over actual error."""
        return self.claimed / self.actual

    @property
    def ratio_error(self) -> float:
        """Monte-Carlo error of the ratio."""
        return self.ratio / np.sqrt(2.0 * (self.surveys - 1))

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "scenario": self.scenario, "method": self.method, "quantity": self.quantity,
            "truth": self.truth, "surveys": self.surveys, "bias": round(self.bias, 6),
            "bias_error": round(self.bias_error, 6), "claimed_error": round(self.claimed, 6),
            "actual_error": round(self.actual, 6), "claimed_over_actual": round(self.ratio, 3),
            "claimed_over_actual_error": round(self.ratio_error, 3),
        }  # fmt: skip


def bias_rows(results: Sequence[Mapping[str, Any]], recipe: BiasRecipe) -> list[BiasRow]:
    """Reduce the surveys' results to a table, scenario by scenario."""
    truth = recipe.truth.model_dump()
    rows = []
    for scenario in recipe.scenarios:
        mine = [r for r in results if r["scenario"] == scenario.label]
        for method in METHODS:
            found = [r["estimates"][method] for r in mine if method in r["estimates"]]
            for quantity in QUANTITIES:
                pairs = np.array([f[quantity] for f in found]).reshape(-1, 2)
                pairs = pairs[np.isfinite(pairs).all(axis=1)]
                if len(pairs) < 2:
                    continue
                rows.append(
                    BiasRow(
                        scenario.label,
                        method,
                        quantity,
                        truth[quantity],
                        len(pairs),
                        mean=float(pairs[:, 0].mean()),
                        actual=float(pairs[:, 0].std(ddof=1)),
                        claimed=float(np.sqrt(np.mean(pairs[:, 1] ** 2))),
                    )
                )
    return rows


def measure_bias(
    recipe: BiasRecipe, ledger_path: str | Path, *, workers: int = 1, overwrite: bool = False
) -> list[BiasRow]:
    """Run what is left of a recipe's surveys, and reduce all to a table.

    Parameters
    ----------
    recipe : BiasRecipe
    ledger_path : path-like
        Where each survey's result is kept; a run goes on with what it holds.
    workers : int
        Processes. No number depends on it.
    overwrite : bool
        Begin anew.

    Raises
    ------
    ProductError
        Where the ledger is another recipe's.
    """
    ledger = Ledger(
        ledger_path, kind="bias", recipe_hash=recipe.hash, seed=recipe.seed, overwrite=overwrite
    )

    def key(result: Mapping[str, Any]) -> Task:
        return str(result["scenario"]), int(result["survey"]), str(result["kind"])

    # All scenarios of one survey before the next: what there is of a run that was stopped is whole.
    wanted: list[Task] = [
        (scenario.label, i, kind)
        for i in range(max(recipe.surveys, recipe.fits))
        for kind, number in (("fit", recipe.fits), ("regression", recipe.surveys))
        for scenario in recipe.scenarios
        if i < number
    ]
    results = complete(
        ledger, key, wanted, task_function, (recipe,),
        workers=workers, label="measuring", unit="fits",
    )  # fmt: skip
    return bias_rows(results, recipe)
