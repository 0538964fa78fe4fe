"""Figures, each from products of a run, on axes that are given or made.

A function that fills one panel takes `ax` and returns the axes; one that fills several takes
`figure` and returns the figure. Without them it makes a figure, which a notebook shows.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "columns": ["star_columns"],
        "compared": [
            "PublishedPanel", "comparison", "comparison_gradient", "marginal", "published",
            "variance",
        ],
        "curves": ["Curve", "gradient", "overlay"],
        "panels": ["disc", "metallicity_radius", "slices"],
        "planes": ["chemistry", "kiel"],
        "posteriors": [
            "age_posterior", "energy", "migration", "posterior_predictive", "prior_posterior",
            "prior_predictive", "ranks",
        ],
    },
)  # fmt: skip
