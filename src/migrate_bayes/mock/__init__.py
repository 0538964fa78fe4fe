"""A forward-simulated LAMOST × Gaia survey with known truth.

Stars are drawn from the population model's own physics (`population`), put on an orbit and into the
sky, given a mass on an isochrone of their age and composition (`survey`), and observed with errors
like those of LAMOST DR5, DD-Payne, Gaia eDR3 and Bailer-Jones (`observation`). The truth stands
beside the measurements in columns ``ref_true_…``.
"""

from __future__ import annotations

from migrate_bayes.mock.survey import iter_simulated, simulate, simulate_to_parquet

__all__ = ["iter_simulated", "simulate", "simulate_to_parquet"]
