"""The catalogue that a run makes: one row per star, for other people's tools.

`export_catalogue` writes ages, phase space, orbits in each potential, membership and flags to
Parquet or FITS, with a unit, a UCD and a description for every column, a part of the stars at a
time.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "columns": ["OutputColumn", "catalogue_columns"],
        "writing": ["export_catalogue", "export_run"],
    },
)
