"""Hierarchical Bayesian metallicity gradients with stellar age.

From a spectroscopic × astrometric catalogue to isochrone ages, guiding radii in several Galactic
potentials, and one hierarchical fit of d[Fe/H]/dR_g as a function of age. The names below are the
whole public interface; heavy libraries load only when one of them is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "MigrateBayesError": "migrate_bayes.core.errors",
    "open_catalog": "migrate_bayes.catalog",
    "read_catalog": "migrate_bayes.catalog",
    "write_catalog": "migrate_bayes.catalog",
    "mark_duplicates": "migrate_bayes.catalog",
    "quality_cuts": "migrate_bayes.catalog",
    "correct_extinction": "migrate_bayes.catalog",
    "flag_age_error": "migrate_bayes.catalog",
    "estimate_ages": "migrate_bayes.isochrones",
    "external_ages": "migrate_bayes.isochrones",
    "compute_orbits": "migrate_bayes.orbits",
    "assemble_stars": "migrate_bayes.stars",
    "concat_stars": "migrate_bayes.stars",
    "open_stars": "migrate_bayes.stars",
    "write_stars": "migrate_bayes.stars",
    "select": "migrate_bayes.selection",
    "fit_baseline": "migrate_bayes.baseline",
    "ModelSpec": "migrate_bayes.population",
    "build_model": "migrate_bayes.population",
    "compare_elpd": "migrate_bayes.population",
    "leave_one_out": "migrate_bayes.population",
    "likelihood_on": "migrate_bayes.population",
    "load_model_spec": "migrate_bayes.population",
    "membership": "migrate_bayes.population",
    "population_data": "migrate_bayes.population",
    "posterior_predictive": "migrate_bayes.population",
    "prior_predictive": "migrate_bayes.population",
    "sample": "migrate_bayes.population",
    "write_membership": "migrate_bayes.population",
    "write_report": "migrate_bayes.report",
    "simulate": "migrate_bayes.mock",
    "Recipe": "migrate_bayes.run.recipe",
    "load_recipe": "migrate_bayes.run.recipe",
    "Run": "migrate_bayes.run",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'migrate_bayes' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
