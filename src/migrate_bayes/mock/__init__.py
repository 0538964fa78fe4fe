"""Surveys with known truth.

`simulate` forward-simulates a LAMOST × Gaia survey: stars of a population (`discs`) are put
on an orbit and into the sky, given a mass on an isochrone of their age and composition (`stars`),
and observed (`footprint`, `instruments`). The truth stands beside the measurements in
columns ``ref_true_…``. `simulated_stars` and `migrated_stars` are StarPosteriors at once, for tests
of the fit; `lamost_like` are spectra and magnitudes alone, for tests of ages.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "lamost_like": ["lamost_like"],
        "mock_options": ["MigrationOptions", "MockOptions"],
        "model_stars": ["PopulationTruth", "SurveyErrors", "migrated_stars", "simulated_stars"],
        "survey": ["simulate", "simulate_to_parquet"],
    },
)
