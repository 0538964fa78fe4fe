"""Figures of the report: functions from data to a matplotlib Figure, one file per subject."""

from __future__ import annotations

from migrate_bayes.report.figures.chemistry import (
    age_plane_figure,
    chemistry_figure,
    density_figure,
)
from migrate_bayes.report.figures.comparison import ComparisonPanel, comparison_figure
from migrate_bayes.report.figures.disc import Plane, disc_figure, limits_of
from migrate_bayes.report.figures.gradient import gradient_figure
from migrate_bayes.report.figures.kiel import kiel_figure
from migrate_bayes.report.figures.overlay import VariantCurve, variant_figure
from migrate_bayes.report.figures.predictive import (
    posterior_predictive_figure,
    prior_predictive_figure,
)
from migrate_bayes.report.figures.radial import radial_figure
from migrate_bayes.report.figures.sampling import energy_figure, prior_figure, rank_figure
from migrate_bayes.report.figures.slices import SlicePanel, slice_figure
from migrate_bayes.report.figures.style import image_base64

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
