"""Stars straight from the population model's equations, without isochrones or orbits."""

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.mock.model_stars import AGES
from migrate_bayes.population import ModelSpec, PopulationModel, population_data
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.sampling.density import PosteriorDensity

TRUTH = {"gradient_young": -0.075, "flattening_rate": 0.003, "gradient_thick": 0.02}
SMALL = {
    "metallicity": {"thin": [1.0, 12.0], "thick": [8.0]},
    "scatter": {"thin": [5.0], "thick": [8.0]},
    "radius": {"thin": [5.0], "thick": [8.0]},
    "radius_scatter": {"thin": [5.0], "thick": [8.0]},
    "height": {"thin": [1.0, 12.0], "thick": [8.0]},
    "age_weight": {"thin": [1.0, 4.0, 8.0, 13.0], "thick": [2.0, 8.0, 13.0]},
}


@pytest.fixture(scope="session")
def small():
    """Entries of a model of few parameters."""
    return SMALL


@pytest.fixture(scope="session")
def small_spec():
    """A linear model of them; radii know nothing of their errors, which is a third of a graph."""
    return ModelSpec(form="linear", radius_by_place=False, **SMALL)


@pytest.fixture(scope="session")
def small_density(make_stars, small_spec):
    """Give ``function(data)``: the density of `small_spec` over some stars.

    It is interpreted: compilation by numba takes minutes where nothing is cached, as long as tens
    of thousands of evaluations. Slow tests, here and in tests/run, are of compiled densities.
    """
    made = []

    def over(data):
        if not made:
            model = PopulationModel(population_data(make_stars(60)), small_spec)
            made.append(PosteriorDensity(model, mode="FAST_COMPILE"))
        return made[0].over(StarLikelihood(data.stars))

    return over


@pytest.fixture(scope="session")
def make_stars():
    def make(n, seed=0, thick_fraction=0.2, age_error=0.1, log_prior=None):
        rng = np.random.default_rng(seed)
        thick = rng.random(n) < thick_fraction
        age = np.where(
            thick, np.clip(rng.normal(10, 1.5, n), 3, 13.5), np.clip(rng.gamma(2.5, 2, n), 0.7, 13)
        )
        radius = np.where(thick, rng.normal(6.8, 2.0, n), rng.normal(8.4, 1.4, n))
        x = radius - 8.0
        slope = TRUTH["gradient_young"] + TRUTH["flattening_rate"] * (age - 1.0)
        noise = rng.normal(size=(3, n))
        feh = np.where(
            thick,
            -0.5 + TRUTH["gradient_thick"] * x + 0.25 * noise[0],
            -0.05 - 0.005 * age + slope * x + 0.15 * noise[0],
        )
        alpha = np.where(thick, 0.2, 0.03) - 0.1 * feh + np.where(thick, 0.04, 0.03) * noise[1]
        ln_zmax = np.where(thick, 0.2, -1.3 + 0.07 * age) + 0.6 * noise[2]
        measured = age * np.exp(age_error * rng.normal(size=n))
        log_like = -0.5 * ((np.log(measured)[:, None] - np.log(AGES)) / age_error) ** 2
        prior = np.zeros(len(AGES)) if log_prior is None else log_prior(AGES)
        one = np.ones(n)
        return xr.Dataset(
            {
                "log_age_likelihood": (("star", "age"), (log_like + prior).astype(np.float32)),
                "log_interim_prior": ("age", prior),
                "feh": ("star", feh + 0.03 * rng.normal(size=n)),
                "feh_error": ("star", 0.03 * one),
                "alpha_fe": ("star", alpha + 0.02 * rng.normal(size=n)),
                "alpha_fe_error": ("star", 0.02 * one),
                "rg_mean": (("star", "potential"), (radius + 0.2 * rng.normal(size=n))[:, None]),
                "rg_sd": (("star", "potential"), 0.2 * one[:, None]),
                "ln_zmax_mean": (
                    ("star", "potential"),
                    (ln_zmax + 0.05 * rng.normal(size=n))[:, None],
                ),
                "ln_zmax_sd": (("star", "potential"), 0.05 * one[:, None]),
                "thick": ("star", thick),
            },
            coords={
                "age": AGES,
                "potential": ["MWPotential2014"],
                "source_id": ("star", np.arange(n)),
            },
        )

    return make
