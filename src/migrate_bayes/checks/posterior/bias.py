r"""Bias of regression in bins of age, on simulated surveys of known gradients.

A scenario turns on some of: age errors, R_g errors, intrinsic scatter of [Fe/H], the thick disc
(with the paper's chemical cut against it) and the cut in Z_max. In each, surveys are simulated with
the same truth and analysed by

* ``odr``: the paper's way, bins of 1.25 Gyr from 1 to 12.25 Gyr in the maximum-likelihood age, ODR
  of [Fe/H] on R_g with both errors, a weighted line through slope(age) (`migrate_bayes.baseline`);
* ``odr+scatter``: the same with intrinsic scatter;
* ``hierarchical``: the population model, on all stars.

For a quantity with truth t, estimates x_i and claimed errors e_i of n surveys: the bias is
mean(x) − t, its Monte-Carlo error sd(x)/√n; the actual error is sd(x), the claimed error the root
mean square of e. Claimed over actual below 1 is an error bar that is too short; its relative
Monte-Carlo error is that of sd(x), 1/√(2(n − 1)).
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from migrate_bayes.baseline import fit_baseline
from migrate_bayes.checks.posterior.calibration import Refit
from migrate_bayes.checks.posterior.ledger import complete
from migrate_bayes.checks.posterior.recipe import BiasRecipe, ScenarioSection
from migrate_bayes.core.table import Estimate
from migrate_bayes.mock.model_stars import PopulationTruth, SurveyErrors, simulated_stars
from migrate_bayes.population import load_model_spec
from migrate_bayes.selection import select

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

# Share that remains of an error, or of scatter, that is off: a regression needs weights, and the
# model's log(scatter) must be finite.
_OFF = 0.05


class Bias(NamedTuple):
    """Bias of one quantity and length of its error bars; the module states the equations.

    Parameters
    ----------
    truth : float
        The same in every survey.
    surveys : int
        Number of estimates.
    bias : Estimate
        Mean estimate minus truth, with its Monte-Carlo error.
    claimed, actual : float
        Root mean square of the claimed errors; standard deviation of the estimates.
    ratio : Estimate
        Claimed over actual error, with its Monte-Carlo error.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import bias_statistics
    >>> found = bias_statistics([0.9, 1.1, 1.3, 1.5], [0.1, 0.1, 0.1, 0.1], truth=1.0)
    >>> found.surveys, found.as_dict()["claimed_over_actual"]
    (4, 0.387)
    """

    truth: float
    surveys: int
    bias: Estimate
    claimed: float
    actual: float
    ratio: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return {
            "truth": self.truth,
            "surveys": self.surveys,
            "bias": round(self.bias.value, 6),
            "bias_error": round(self.bias.plus, 6),
            "claimed_error": round(self.claimed, 6),
            "actual_error": round(self.actual, 6),
            "claimed_over_actual": round(self.ratio.value, 3),
            "claimed_over_actual_error": round(self.ratio.plus, 3),
        }


class BiasTable(dict[tuple[str, str, str], Bias]):
    """Mapping from (scenario, method, quantity) to `Bias`."""

    def summary(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        names = ("scenario", "method", "quantity")
        rows = [dict(zip(names, k, strict=True)) | b.as_dict() for k, b in self.items()]
        return {"bias": rows}


def bias_statistics(estimates: ArrayLike, errors: ArrayLike, truth: float) -> Bias | None:
    """Reduce estimates of one quantity from many surveys to their bias and their error bars.

    Parameters
    ----------
    estimates, errors : array, shape (survey,)
        Estimates and the errors that they claim; surveys where either is not finite are left out.
    truth : float
        The same in every survey.

    Returns
    -------
    Bias or None
        None from fewer than two surveys.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import bias_statistics
    >>> found = bias_statistics([0.9, 1.1, 1.3, 1.5], [0.1, 0.1, 0.1, 0.1], truth=1.0)
    >>> print(found.bias, found.ratio.text(digits=2), sep=", ")
    0.20 ± 0.13, 0.39 ± 0.16
    """
    pairs = np.array([estimates, errors], dtype=float)
    x, e = pairs[:, np.isfinite(pairs).all(axis=0)]
    n = len(x)
    if n < 2:
        return None
    actual, claimed = float(x.std(ddof=1)), float(np.sqrt(np.mean(e**2)))
    bias = Estimate.symmetric(x.mean() - truth, actual / np.sqrt(n))
    ratio = Estimate.symmetric(claimed / actual, claimed / actual / np.sqrt(2.0 * (n - 1)))
    return Bias(truth, n, bias, claimed, actual, ratio)


def simulate_scenario(recipe: BiasRecipe, scenario: ScenarioSection, *, seed: int) -> xr.Dataset:
    """Simulate one survey.

    The same seed gives the same stars in every scenario without a thick disc, and nearly the same
    noise: the error of a difference between scenarios is then smaller than that of either bias.
    """
    truth, errors = recipe.truth.model_dump(), recipe.errors.model_dump()
    if not scenario.scatter:
        truth |= {n: _OFF * truth[n] for n in ("scatter_thin", "scatter_thick")}
    if not scenario.thick:
        truth["thick_fraction"] = 0.0
    if not scenario.age_errors:
        # The error of [Fe/H] has no error of the age to be correlated with.
        errors["age"] *= _OFF
        errors["age_feh_correlation"] = 0.0
    if not scenario.radius_errors:
        errors["radius"] *= _OFF
    return simulated_stars(
        recipe.stars, seed=seed, truth=PopulationTruth(**truth), errors=SurveyErrors(**errors)
    )


def selections(recipe: BiasRecipe, scenario: ScenarioSection) -> tuple[dict, dict]:
    """Return which stars the regressions take and which the hierarchical fit."""
    cut = {"zmax": {"max": recipe.zmax_limit}}
    regression = {"selection": "thin-chemical" if scenario.thick else "all"}
    return (
        regression | (cut if scenario.zmax_cut else {}),
        {"selection": "all"} | (cut if scenario.cut_for_all else {}),
    )


def task_function(recipe: BiasRecipe) -> Callable[[Task], dict[str, Any]]:
    """Return the function from a task to its result; the model is compiled at the first fit."""
    by_label = {s.label: s for s in recipe.scenarios}

    @functools.cache
    def compiled() -> Refit:
        return Refit(load_model_spec(recipe.spec), recipe.stars)

    def regress(stars: xr.Dataset, selection: dict) -> tuple[int, Estimates]:
        line = fit_baseline(stars, selection=selection)
        estimates = {
            method: {
                name: (float(line[column][m]), float(line[f"{column}_error"][m]))
                for name, (column, _) in QUANTITIES.items()
            }
            for m, method in enumerate(METHODS[:2])
        }
        return int(line.attrs["stars_used"]), estimates

    def fit(stars: xr.Dataset, selection: dict, seed: int) -> tuple[int, Estimates]:
        taken = stars.isel(star=np.flatnonzero(select(stars, selection).values))
        draws = compiled().fit(taken, recipe.sampler, seed=seed)["posterior"]
        found = {name: (float(draws[name].mean()), float(draws[name].std())) for name in QUANTITIES}
        return taken.sizes["star"], {"hierarchical": found}

    def one(task: Task) -> dict[str, Any]:
        label, survey, kind = task
        scenario = by_label[label]
        began = time.process_time()
        # The seed is the survey's, not the scenario's: see `simulate_scenario`.
        seeds = [int(s) for s in np.random.SeedSequence([recipe.seed, survey]).generate_state(2)]
        stars = simulate_scenario(recipe, scenario, seed=seeds[0])
        for_regression, for_fit = selections(recipe, scenario)
        used, estimates = (
            fit(stars, for_fit, seeds[1]) if kind == "fit" else regress(stars, for_regression)
        )
        return {
            "scenario": label, "survey": survey, "kind": kind, "stars": used,
            "estimates": estimates, "seconds": time.process_time() - began,
        }  # fmt: skip

    return one


def bias_table(results: Sequence[Mapping[str, Any]], recipe: BiasRecipe) -> BiasTable:
    """Reduce the surveys' results, scenario by scenario, method by method."""
    table = BiasTable()
    labels = [s.label for s in recipe.scenarios]
    for label, method, quantity in itertools.product(labels, METHODS, QUANTITIES):
        mine = [r["estimates"] for r in results if r["scenario"] == label]
        x, errors = np.reshape([e[method][quantity] for e in mine if method in e], (-1, 2)).T
        found = bias_statistics(x, errors, getattr(recipe.truth, quantity))
        if found is not None:
            table[label, method, quantity] = found
    return table


def measure_bias(
    recipe: BiasRecipe, ledger_path: str | Path, *, workers: int = 1, overwrite: bool = False
) -> BiasTable:
    """Measure the bias of regression in bins of age on simulated surveys.

    Surveys whose result stands in the ledger are not run again.

    Parameters
    ----------
    recipe : BiasRecipe
        Scenarios, truth, and number of surveys and fits.
    ledger_path : path-like
        File of JSON lines, one per finished regression or fit.
    workers : int
        Processes. No number depends on it.
    overwrite : bool
        Replace the ledger.

    Returns
    -------
    BiasTable
        From (scenario, method, quantity) to `Bias`.

    Raises
    ------
    FitError
        If a process was killed. The ledger keeps the surveys that were finished.
    ProductError
        If the ledger belongs to another recipe.

    Examples
    --------
    A fit takes seconds, and regressions start a process for each worker.
    ``measure_bias(recipe, "runs/quick/surveys.jsonl")`` runs this recipe:

    >>> from migrate_bayes.checks.posterior import BiasRecipe
    >>> recipe = BiasRecipe(name="quick", surveys=20, fits=2, stars=500)
    >>> [scenario.label for scenario in recipe.scenarios][:3]
    ['none', 'age errors', 'R_g errors']
    """
    # All scenarios of a survey precede the next survey: a run that was stopped has whole surveys.
    wanted: list[Task] = [
        (scenario.label, i, kind)
        for i in range(max(recipe.surveys, recipe.fits))
        for kind, number in (("fit", recipe.fits), ("regression", recipe.surveys))
        for scenario in recipe.scenarios
        if i < number
    ]
    results = complete(
        recipe, ledger_path, wanted, task_function,
        lambda r: (r["scenario"], r["survey"], r["kind"]),
        kind="bias", unit="fits", workers=workers, overwrite=overwrite,
    )  # fmt: skip
    return bias_table(results, recipe)
