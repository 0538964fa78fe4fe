"""Figures of the report: functions from data to a matplotlib Figure, one file per subject."""

from __future__ import annotations

from migrate_bayes.plots.chemistry import (
    age_plane_figure,
    chemistry_figure,
    density_figure,
)
from migrate_bayes.plots.disc import Plane, disc_figure, limits_of
from migrate_bayes.plots.gradient import gradient_figure
from migrate_bayes.plots.kiel import kiel_figure
from migrate_bayes.plots.metallicity_radius import radial_figure
from migrate_bayes.plots.overlay import VariantCurve, variant_figure
from migrate_bayes.plots.predictive import (
    posterior_predictive_figure,
    prior_predictive_figure,
)
from migrate_bayes.plots.published import ComparisonPanel, comparison_figure
from migrate_bayes.plots.sampling import energy_figure, prior_figure, rank_figure
from migrate_bayes.plots.slices import SlicePanel, slice_figure
from migrate_bayes.plots.style import image_base64

__all__ = [
    "ComparisonPanel",
    "Plane",
    "SlicePanel",
    "VariantCurve",
    "age_plane_figure",
    "chemistry_figure",
    "comparison_figure",
    "density_figure",
    "disc_figure",
    "energy_figure",
    "gradient_figure",
    "image_base64",
    "kiel_figure",
    "limits_of",
    "posterior_predictive_figure",
    "prior_figure",
    "prior_predictive_figure",
    "radial_figure",
    "rank_figure",
    "slice_figure",
    "variant_figure",
]
