"""Hierarchical Bayesian metallicity gradients with stellar age.

From a spectroscopic × astrometric catalogue to isochrone ages, guiding radii in several Galactic
potentials, and one hierarchical fit of d[Fe/H]/dR_g as a function of age. The names below are the
whole public interface; heavy libraries load only when one of them is first used.
"""

import lazy_loader

from migrate_bayes.core.places import find_caches

find_caches()  # before a compiler is imported

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["plots"],
    submod_attrs={
        "baseline": ["fit_baseline"],
        "catalog": [
            "correct_extinction",
            "correct_parallax",
            "fetch",
            "flag_age_error",
            "mark_duplicates",
            "match",
            "open_catalog",
            "quality_cuts",
            "read_catalog",
            "write_catalog",
        ],
        "core.errors": ["MigrateBayesError"],
        "export": ["star_table"],
        "isochrones": ["estimate_ages", "external_ages"],
        "mock": ["simulate"],
        "orbits": ["compute_orbits"],
        "population": [
            "ModelSpec",
            "PopulationModel",
            "SamplerOptions",
            "compare_elpd",
            "leave_one_out",
            "likelihood_on",
            "load_model_spec",
            "marginalise",
            "population_data",
            "stacking_weights",
            "summary",
        ],
        "report": ["write_report"],
        "run": ["Recipe", "Run", "compare_recipes", "load_recipe", "partition_function"],
        "selection": ["select"],
        "stars": ["assemble_stars", "concat_stars", "open_stars", "write_stars"],
    },
)
__all__ = ["__version__", *__all__]
