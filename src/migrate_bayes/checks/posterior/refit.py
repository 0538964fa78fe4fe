"""One compiled model, many samples of stars.

PyTensor compiles a model for tens of seconds; a fit of some thousand stars takes seconds. Only the
stars below the seam change from survey to survey, so `Refit` compiles once and exchanges them.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pymc.pytensorf import compile as compile_graph
from pymc.pytensorf import find_rng_nodes, reseed_rngs

from migrate_bayes.checks.posterior.recipe import ErrorSection, SurveySampler
from migrate_bayes.mock.model_stars import AGES, SurveyErrors
from migrate_bayes.population.data import PopulationData, population_data
from migrate_bayes.population.likelihood.layout import pack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.model.population_model import PopulationModel
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.sampling.density import PosteriorDensity

__all__ = ["Refit", "survey_errors"]


def survey_errors(section: ErrorSection) -> SurveyErrors:
    """Turn a recipe's errors into the simulator's."""
    return SurveyErrors(**section.model_dump())


def _stand_in(n: int, ages: NDArray[np.float64]) -> PopulationData:
    """Stars of no information: the model needs some to be built, and they are exchanged at once."""
    cube, one = np.zeros((n, len(ages))), np.ones(n)
    packed = pack(
        log_weight=cube, feh=cube, feh_variance=cube + 1.0, radius=8 * one, radius_variance=one,
        alpha=one, alpha_variance=one, ln_zmax=one, ln_zmax_variance=one,
    )  # fmt: skip
    return PopulationData(packed, ages, np.arange(n), "", "rg")


class Refit:
    """A population model that is fitted to one sample after another.

    Parameters
    ----------
    spec : ModelSpec
    n_stars : int
        Typical size of a sample: it sets a coordinate of the sampler's, not the posterior.
    ages : ndarray, optional
        Nodes of the age grid, Gyr; every sample must have these.
    mode : str, optional
        PyTensor's compilation mode; see `PosteriorDensity`.
    """

    def __init__(
        self,
        spec: ModelSpec,
        n_stars: int,
        *,
        ages: NDArray[np.float64] = AGES,
        mode: str | None = None,
    ) -> None:
        self.ages = ages
        self.model = PopulationModel(_stand_in(n_stars, ages), spec, workers=1)
        self.density = PosteriorDensity(self.model, mode=mode)
        unobserved = self.model.pymc.unobserved_RVs
        variables = [*unobserved, self.model.theta]
        self._rngs = find_rng_nodes(variables)
        self._forward = compile_graph([], variables, mode="FAST_COMPILE")
        self._names = [str(v.name) for v in unobserved]

    def draw_prior(
        self, seed: int | list[int]
    ) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
        """Draw all parameters from the prior: by name, and θ, shape (component, age, 11)."""
        reseed_rngs(self._rngs, np.random.SeedSequence(seed).generate_state(4))
        *values, theta = self._forward()
        named = {n: np.asarray(v) for n, v in zip(self._names, values, strict=True)}
        return named, np.asarray(theta)

    def over(self, data: PopulationData) -> PosteriorDensity:
        """Return the compiled density over other stars, which run on one thread."""
        return self.density.over(StarLikelihood(data.stars, workers=1))

    def fit(
        self, stars: xr.Dataset, sampler: SurveySampler, *, seed: int, draws: int | None = None
    ) -> xr.DataTree:
        """Sample the posterior of one survey by `PopulationModel.sample`, on one thread.

        Parameters
        ----------
        stars : xarray.Dataset
            StarPosteriors on `ages`.
        sampler : SurveySampler
        seed : int
        draws : int, optional
            In place of the sampler's.

        Returns
        -------
        xarray.DataTree
            As `sample` returns it. Where a surrogate's weights could not be trusted it has draws
            of NUTS, and says so in its attributes.
        """
        data = population_data(stars, trim=1e-7)
        if not np.array_equal(data.ages, self.ages):
            raise ValueError("the stars are on other age nodes than the model")
        settings: dict[str, Any] = sampler.model_dump()
        if draws is not None:
            settings["draws"] = draws
        with warnings.catch_warnings():
            # Whoever fits hundreds of surveys counts these.
            warnings.filterwarnings("ignore", message="the surrogate's importance weights")
            return self.model.sample(
                density=self.over(data), cores=1, seed=seed, prior_draws=0, progressbar=False,
                **settings,
            )  # fmt: skip
