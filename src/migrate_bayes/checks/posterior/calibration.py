r"""Simulation-based calibration of the population model: prior, survey, fit, ranks.

Draw every parameter from the prior, simulate a survey from the model itself, fit it, and count the
posterior's draws below the truth. If prior, simulator, likelihood and sampler agree, the rank is
uniform for every parameter (Talts et al. 2018, arXiv:1804.06788): an error in any of them shows.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from arviz import ess, rhat
from numpy.typing import NDArray
from pymc.pytensorf import compile as compile_graph
from pymc.pytensorf import find_rng_nodes, reseed_rngs
from scipy.stats import norm

from migrate_bayes.checks.posterior import ranks
from migrate_bayes.checks.posterior.ledger import complete
from migrate_bayes.checks.posterior.ranks import LEVELS
from migrate_bayes.checks.posterior.recipe import CalibrateRecipe, RidgeSection, SurveySampler
from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.core.errors import FitError
from migrate_bayes.mock.model_stars import (
    AGES,
    SURVEY_RADIUS,
    SURVEY_WIDTH,
    SurveyErrors,
    simulated_stars,
)
from migrate_bayes.population import PopulationModel, load_model_spec, population_data
from migrate_bayes.population.data import PopulationData, RadiusClasses
from migrate_bayes.population.likelihood.layout import StarArrays, pack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.model.hierarchy import flat_in_age
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.sampling.density import PosteriorDensity

# Named variables that are not ranked: curves on the age grid, and the sampler's own coordinate of
# the deviations (the deviations themselves are ranked).
_NOT_RANKED = {"gradient", "metallicity", "scatter", "alpha", "deviation_G"}
# Largest number of times that the number of draws is doubled.
_DOUBLINGS = 4
# Largest share of a survey's stars that may be of no disc: a posterior without them is another.
_MOST_LEFT_OUT = 3e-3

Numbers = NDArray[np.float64]


class Refit:
    """A population model that is compiled once and fitted to one survey after another.

    `n_stars` is a survey's typical size, which decides the classes of today's radius;
    `completeness` is a table as `PopulationModel` takes it.
    """

    def __init__(
        self,
        spec: ModelSpec,
        n_stars: int,
        *,
        mode: str | None = None,
        completeness: xr.Dataset | None = None,
    ) -> None:
        # The model needs stars to be built. These carry no information; `fit` replaces them.
        cube, one = np.zeros((n_stars, len(AGES))), np.ones(n_stars)
        quantiles = norm.ppf((np.arange(n_stars) + 0.5) / n_stars)
        today = SURVEY_RADIUS + SURVEY_WIDTH * quantiles
        self.classes = RadiusClasses.of(today)
        stars = StarArrays(
            log_weight=cube, feh=cube, feh_variance=cube + 1.0, radius=8 * one,
            radius_variance=one, alpha=one, alpha_variance=one, height=one,
            height_variance=one, radius_class=self.classes(today),
            class_centre=self.classes.centre,
        )  # fmt: skip
        packed = pack(stars, flat_in_age(AGES))
        empty = PopulationData(packed, AGES, np.arange(n_stars), "", "rg", self.classes)
        self.model = PopulationModel(empty, spec, workers=1, completeness=completeness)
        self.density = PosteriorDensity(self.model, mode=mode)
        named = self.model.pymc.unobserved_RVs
        self._names = [str(v.name) for v in named]
        variables = [*named, self.model.theta]
        self._rngs = find_rng_nodes(variables)
        self._forward = compile_graph([], variables, mode="FAST_COMPILE")

    def draw_prior(self, seed: int | list[int]) -> tuple[dict[str, Numbers], Numbers]:
        """Draw all parameters from the prior; return them by name, and θ."""
        reseed_rngs(self._rngs, np.random.SeedSequence(seed).generate_state(4))
        *values, theta = map(np.asarray, self._forward())
        return dict(zip(self._names, values, strict=True)), theta

    def survey(
        self, theta: Numbers, n: int, *, seed: int, errors: SurveyErrors | None = None
    ) -> xr.Dataset:
        """Draw and observe stars of θ, as the survey takes them."""
        return simulated_stars(
            n, seed=seed, truth=theta, errors=errors, classes=self.classes,
            completeness=self.model.completeness,
        )  # fmt: skip

    def fit(self, stars: xr.Dataset, sampler: SurveySampler, *, seed: int) -> xr.DataTree:
        """Sample the posterior of one survey, on one thread.

        NUTS replaces a surrogate whose k̂ is too large; the attribute `method` says so. A survey
        that loses stars to the checks of `population_data` is refused with a `FitError`.
        """
        data = population_data(stars, classes=self.classes, trim=1e-7)
        if not np.array_equal(data.ages, AGES):
            raise FitError("the stars are on other age nodes than the model")
        if sum(data.left_out.values()) > _MOST_LEFT_OUT * stars.sizes["star"]:
            raise FitError(
                f"a survey has stars that no fit takes, {data.left_out} of {stars.sizes['star']}: "
                "narrow [spec.priors] of radii"
            )
        likelihood = self.model.selected(StarLikelihood(data.stars, workers=1), data.stars)
        density = self.density.over(likelihood)
        with warnings.catch_warnings():
            # `Calibration.methods` counts these surveys.
            warnings.filterwarnings("ignore", message="the surrogate's importance weights")
            return self.model.sample(
                density=density, cores=1, seed=seed, prior_draws=0, progressbar=False, shown=False,
                **sampler.model_dump(),
            )  # fmt: skip


def _scalars(named: Mapping[Any, Any], lead: int) -> dict[str, Numbers]:
    """Return one entry per scalar, ``name`` or ``name[i]``; the first `lead` axes are of draws."""
    out: dict[str, Numbers] = {}
    for name in (n for n in named if n not in _NOT_RANKED):
        value = np.asarray(named[name])
        flat = value.reshape(*value.shape[:lead], -1)
        of_one = {f"{name}[{i}]": flat[..., i] for i in range(flat.shape[-1])}
        out |= {name: value} if value.ndim == lead else of_one
    return out


def _ridge(section: RidgeSection) -> xr.Dataset:
    """Tabulate a made-up completeness."""
    radii, feh = np.arange(2.0, 15.1, 0.5), np.arange(-2.0, 1.51, 0.05)
    axes = {"age": [1.0, 12.0], "r_present": radii, "feh": feh}
    x = xr.Dataset(coords=axes)
    ridge = section.centre + section.slope * (x["r_present"] - PIVOT_RADIUS)
    off = (x["feh"] - ridge + 0.0 * x["age"]) / section.width
    return xr.Dataset({"ln_s": -0.5 * off**2})


def survey_function(recipe: CalibrateRecipe) -> Callable[[int], dict[str, Any]]:
    """Compile the model; return the function from a survey's number to its result."""
    errors = SurveyErrors(**recipe.errors.model_dump())
    table = None if recipe.selection is None else _ridge(recipe.selection)
    refit = Refit(load_model_spec(recipe.spec), recipe.stars, completeness=table)

    def one(survey: int) -> dict[str, Any]:
        began = time.process_time()
        seeds = [int(s) for s in np.random.SeedSequence([recipe.seed, survey]).generate_state(3)]
        named, theta = refit.draw_prior(seeds[0])
        truth = _scalars(named, 0)
        stars = refit.survey(theta, recipe.stars, seed=seeds[1], errors=errors)
        main = [name for name in recipe.main if name in truth]
        if not main:
            raise FitError(f"none of {', '.join(recipe.main)} is a parameter of this model")
        for doubling in range(_DOUBLINGS + 1):
            draws = recipe.sampler.draws * 2**doubling
            sampler = recipe.sampler.model_copy(update={"draws": draws})
            tree = refit.fit(stars, sampler, seed=seeds[2])
            posterior = _scalars(tree["posterior"].data_vars, 2)
            size = min(float(ess(posterior[name])) for name in main)
            if size >= recipe.ranks:
                break
        kept = {n: ranks.thinned(posterior[n].ravel(), recipe.ranks - 1) for n in truth}
        return {
            "survey": survey,
            "truth": {n: float(v) for n, v in truth.items()},
            "rank": {n: int(ranks.rank_statistics(kept[n], truth[n])) for n in truth},
            "mean": {n: float(posterior[n].mean()) for n in truth},
            "sd": {n: float(posterior[n].std()) for n in truth},
            "ess": size,
            "r_hat": max(float(rhat(posterior[name])) for name in main),
            "divergences": int(tree["sample_stats"]["diverging"].sum()),
            "method": tree.attrs["method"],
            "pareto_k": tree.attrs.get("pareto_k", tree.attrs.get("surrogate_pareto_k")),
            "draws": draws * recipe.sampler.chains,
            "seconds": time.process_time() - began,
        }

    return one


class Calibration:
    """Ranks, coverage and diagnostics of a calibration's surveys.

    Parameters
    ----------
    results : sequence of mapping
        From `survey_function`.
    main : sequence of str
        Parameters that decide; those that the model lacks are passed over.
    n_ranks : int
        Values that a rank can take.

    Attributes
    ----------
    truth, mean, sd, rank : dict of ndarray, shape (survey,)
        By parameter.
    coverage : dict of list of Coverage
        By parameter, for each of `LEVELS`.
    chi_square_p, ecdf_p : dict of float
        p-values by parameter, of `rank_test` and of `uniform`, a `UniformRanks`.
    ess, r_hat, divergences, seconds : ndarray, shape (survey,)
        Smallest effective sample size and largest R̂ of the main parameters; processor time, s.
    methods : dict of int
        Surveys by how they were sampled.
    worst_pareto_k : float or None
        Largest k̂, of surveys whose surrogate was given up too; None without a surrogate.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import Calibration
    >>> one = {"truth": {"slope": 0.0}, "mean": {"slope": 0.1}, "sd": {"slope": 1.0}, "ess": 90.0}
    >>> one |= {"r_hat": 1.0, "divergences": 0, "seconds": 3.0, "method": "nuts", "pareto_k": None}
    >>> results = [one | {"rank": {"slope": survey % 40}} for survey in range(80)]
    >>> found = Calibration(results, main=["slope"], n_ranks=40)
    >>> found.passed, [c.inside for c in found.coverage["slope"]]
    (True, [40, 64, 76])
    """

    def __init__(
        self, results: Sequence[Mapping[str, Any]], *, main: Sequence[str], n_ranks: int
    ) -> None:
        names = list(results[0]["rank"])

        def by_name(entry: str) -> dict[str, NDArray]:
            return {n: np.array([r[entry][n] for r in results]) for n in names}

        self.surveys, self.n_ranks = len(results), n_ranks
        self.main = tuple(name for name in main if name in names)
        self.truth, self.mean, self.sd, self.rank = map(by_name, ("truth", "mean", "sd", "rank"))
        self.ess, self.r_hat, self.divergences, self.seconds = (
            np.array([r[entry] for r in results])
            for entry in ("ess", "r_hat", "divergences", "seconds")
        )
        self.methods = dict(Counter(str(r["method"]) for r in results))
        k = np.array([r["pareto_k"] for r in results], dtype=float)
        k = k[np.isfinite(k)]
        self.worst_pareto_k = round(float(k.max()), 3) if len(k) else None
        self.uniform = ranks.UniformRanks(self.surveys, n_ranks)
        self.coverage = {
            name: [ranks.coverage_of_ranks(r, n_ranks, level) for level in LEVELS]
            for name, r in self.rank.items()
        }
        self.chi_square_p = {n: ranks.rank_test(r, n_ranks)[0] for n, r in self.rank.items()}
        self.ecdf_p = {name: self.uniform.p_value(r) for name, r in self.rank.items()}

    @property
    def passed(self) -> bool:
        """Whether every main parameter's coverage lies in its band."""
        return all(c.passed for name in self.main for c in self.coverage[name])

    def pooled(self, level: float) -> tuple[float, float]:
        """Return the coverage over all parameters together, and its standard error."""
        # Parameters of one survey are correlated, surveys are not.
        u = (np.stack(list(self.rank.values())) + 0.5) / self.n_ranks
        share = np.mean(np.abs(u - 0.5) < level / 2, axis=0)
        return float(share.mean()), float(share.std(ddof=1) / np.sqrt(self.surveys))

    def summary(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        others = [c for n, row in self.coverage.items() if n not in self.main for c in row]
        together = {f"{level:.0%}": [round(x, 4) for x in self.pooled(level)] for level in LEVELS}
        return {
            "surveys": self.surveys,
            "pass": self.passed,
            "coverage_all_parameters": together,
            "coverage": {
                n: {f"{c.level:.0%}": c.as_dict() for c in self.coverage[n]} for n in self.main
            },
            "rank_chi_square_p": {name: round(self.chi_square_p[name], 5) for name in self.main},
            "rank_ecdf_p": {name: round(self.ecdf_p[name], 5) for name in self.main},
            "rank_bins": ranks.rank_test(self.rank[next(iter(self.rank))], self.n_ranks)[1],
            "others": {
                "parameters": len(self.rank) - len(self.main),
                "coverage_outside_band": sum(not c.passed for c in others),
                "least_chi_square_p": round(min(self.chi_square_p.values()), 5),
                "least_ecdf_p": round(min(self.ecdf_p.values()), 5),
            },
            "min_ess": round(float(self.ess.min()), 1),
            "max_r_hat": round(float(self.r_hat.max()), 4),
            "divergences": int(self.divergences.sum()),
            "surveys_with_divergences": int((self.divergences > 0).sum()),
            "methods": self.methods,
            "max_pareto_k": self.worst_pareto_k,
            "cpu_seconds_per_survey": round(float(self.seconds.mean()), 2),
        }


def calibrate(
    recipe: CalibrateRecipe, ledger_path: str | Path, *, workers: int = 1, overwrite: bool = False
) -> Calibration:
    """Calibrate the population model on simulated surveys.

    Surveys whose result stands in the ledger are not run again.

    Parameters
    ----------
    recipe : CalibrateRecipe
        Number of surveys, model and sampler.
    ledger_path : path-like
        File of JSON lines, one per finished survey.
    workers : int
        Processes. No number depends on it.
    overwrite : bool
        Replace the ledger.

    Returns
    -------
    Calibration
        Of all surveys of the recipe.

    Raises
    ------
    FitError
        If no main parameter is one of the model's, or a process was killed. The ledger keeps the
        surveys that were finished.
    ProductError
        If the ledger belongs to another recipe.

    References
    ----------
    Talts et al. (2018), arXiv:1804.06788.

    Examples
    --------
    A survey takes seconds. ``calibrate(recipe, "runs/quick/surveys.jsonl", workers=2)`` runs this
    recipe:

    >>> from migrate_bayes.checks.posterior import CalibrateRecipe
    >>> recipe = CalibrateRecipe(name="quick", surveys=50, stars=400, spec={"form": "linear"})
    >>> recipe.surveys, recipe.ranks, recipe.main[0]
    (50, 80, 'gradient_young')
    """
    results = complete(
        recipe, ledger_path, range(recipe.surveys), survey_function, lambda r: r["survey"],
        kind="calibration", unit="surveys", workers=workers, overwrite=overwrite,
    )  # fmt: skip
    return Calibration(results, main=recipe.main, n_ranks=recipe.ranks)
