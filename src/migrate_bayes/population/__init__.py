"""The hierarchical model of gradient(age) with thin and thick discs."""

from migrate_bayes.population.data import PopulationData, population_data
from migrate_bayes.population.likelihood.distributed import likelihood_on
from migrate_bayes.population.model.build import build_model
from migrate_bayes.population.model.specification import ModelSpec, load_model_spec
from migrate_bayes.population.results.loo import compare_elpd, leave_one_out
from migrate_bayes.population.results.membership import membership, write_membership
from migrate_bayes.population.results.predictive import posterior_predictive, prior_predictive
from migrate_bayes.population.sampling.posterior import sample

__all__ = [
    "ModelSpec",
    "PopulationData",
    "build_model",
    "compare_elpd",
    "leave_one_out",
    "likelihood_on",
    "load_model_spec",
    "membership",
    "population_data",
    "posterior_predictive",
    "prior_predictive",
    "sample",
    "write_membership",
]
