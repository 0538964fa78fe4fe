"""Figures of the report: functions from data to a matplotlib Figure, one file per subject."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "chemistry": ["age_plane_figure", "chemistry_figure", "density_figure"],
        "disc": ["Plane", "disc_figure", "limits_of"],
        "gradient": ["gradient_figure"],
        "kiel": ["kiel_figure"],
        "metallicity_radius": ["radial_figure"],
        "overlay": ["VariantCurve", "variant_figure"],
        "predictive": ["posterior_predictive_figure", "prior_predictive_figure"],
        "published": ["ComparisonPanel", "comparison_figure"],
        "sampling": ["energy_figure", "prior_figure", "rank_figure"],
        "slices": ["SlicePanel", "slice_figure"],
        "style": ["image_base64"],
    },
)
