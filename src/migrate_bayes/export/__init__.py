"""The catalogue that a run makes: one row per star, for other people's tools.

`export_catalogue` writes ages, phase space, orbits in each potential, membership and flags to
Parquet or FITS, with a unit, a UCD and a description for every column, a part of the stars at a
time.
"""

from __future__ import annotations

from migrate_bayes.export.columns import OutputColumn, catalogue_columns
from migrate_bayes.export.writing import export_catalogue, export_run

__all__ = ["OutputColumn", "catalogue_columns", "export_catalogue", "export_run"]
