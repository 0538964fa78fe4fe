"""StarPosteriors: the product of the age and orbit stages, which all later stages read.

In memory it is an `xarray.Dataset` (dims `star`, `age`, `potential`; see docs/architecture.md). On
disk it is a folder of NetCDF-4 parts of one size and a manifest with their checksums.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "joins": ["assemble_stars", "concat_stars", "replace_ages", "replace_orbits", "validate"],
        "parts": [
            "PART_SIZE",
            "StarWriter",
            "iter_parts",
            "open_run_stars",
            "open_stars",
            "verify_stars",
            "write_stars",
        ],
    },
)
