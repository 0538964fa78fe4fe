"""The hierarchical model of gradient(age) with thin and thick discs."""

from migrate_bayes.population.data import PopulationData, population_data
from migrate_bayes.population.membership import membership
from migrate_bayes.population.model import build_model
from migrate_bayes.population.posterior import sample
from migrate_bayes.population.specification import ModelSpec, load_model_spec

__all__ = [
    "ModelSpec",
    "PopulationData",
    "build_model",
    "load_model_spec",
    "membership",
    "population_data",
    "sample",
]
