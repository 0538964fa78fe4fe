"""Isochrone grids, photometry, the segment likelihood and age posteriors.

`estimate_ages` computes age posteriors. `load_source` and `build_grid` return isochrones,
`isochrone` interpolates one, and `draw_stars` samples them for a mock survey. Names load
when first used, so that importing the package does not load numba.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "age_options": ["AgeOptions", "Binaries", "Inflation", "Outliers", "Systematics"],
        "ages": ["estimate_ages", "external_ages"],
        "grid": ["WorkingGrid", "build_grid", "isochrone", "salaris"],
        "intervals": ["age_cdf", "age_quantiles"],
        "sampling": ["draw_stars"],
        "sources.base": ["IsochroneSource"],
        "sources.registry": ["load_source", "source_names"],
    },
)
