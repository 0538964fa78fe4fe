"""A forward-simulated LAMOST × Gaia survey with known truth.

Stars are drawn from the population model's own physics (`population`), put on an orbit and into the
sky, given a mass on an isochrone of their age and composition (`survey`), and observed with errors
like those of LAMOST DR5, DD-Payne, Gaia eDR3 and Bailer-Jones (`observation`). The truth stands
beside the measurements in columns ``ref_true_…``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "survey": ["iter_simulated", "simulate", "simulate_to_parquet"],
    },
)
