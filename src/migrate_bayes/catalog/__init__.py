"""What was observed: a file of stars becomes a catalogue in canonical columns and units.

`read_catalog` reads it, `mark_duplicates` and `quality_cuts` flag what should not be used, and
`correct_extinction` gives absolute magnitudes. `open_catalog` does all of this in chunks, for a
file that does not fit in memory.
"""

from __future__ import annotations

from migrate_bayes.catalog.checks import flag_external_ages, validate_required
from migrate_bayes.catalog.columns import COLUMNS, REQUIRED, star_keys
from migrate_bayes.catalog.cuts import flag_age_error, quality_cuts
from migrate_bayes.catalog.distances import add_distances
from migrate_bayes.catalog.duplicates import mark_duplicates
from migrate_bayes.catalog.extinction import correct_extinction
from migrate_bayes.catalog.maps import column_map_names, load_column_map
from migrate_bayes.catalog.reading import iter_catalog, read_catalog
from migrate_bayes.catalog.stream import CatalogStream, open_catalog
from migrate_bayes.catalog.writing import ParquetCatalogWriter, write_catalog

__all__ = [
    "COLUMNS",
    "REQUIRED",
    "CatalogStream",
    "ParquetCatalogWriter",
    "add_distances",
    "column_map_names",
    "correct_extinction",
    "flag_age_error",
    "flag_external_ages",
    "iter_catalog",
    "load_column_map",
    "mark_duplicates",
    "open_catalog",
    "quality_cuts",
    "read_catalog",
    "star_keys",
    "validate_required",
    "write_catalog",
]
