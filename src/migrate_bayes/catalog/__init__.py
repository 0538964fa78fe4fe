"""What was observed: a file of stars becomes a catalogue in canonical columns and units.

`read_catalog` reads it, `mark_duplicates` and `quality_cuts` flag what should not be used,
`correct_parallax` takes Gaia's zero point away, and `correct_extinction` gives absolute magnitudes.
`open_catalog` does all of this in chunks, for a file that does not fit in memory. `fetch` brings a
catalogue from a TAP service, `match` joins two.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "catalog_options": ["CatalogOptions"],
        "columns": ["COLUMNS", "star_keys"],
        "extinction": ["correct_extinction"],
        "fetching": ["fetch"],
        "maps": ["column_map_names", "load_column_map"],
        "matching": ["match"],
        "quality": ["flag_age_error", "mark_duplicates", "quality_cuts"],
        "reading": ["iter_catalog", "open_catalog", "read_catalog"],
        "writing": ["write_catalog"],
        "zero_point": ["correct_parallax"],
    },
)
