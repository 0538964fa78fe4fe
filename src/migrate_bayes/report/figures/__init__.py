"""Figures of the report: functions from data to a matplotlib Figure, one file per subject."""

from __future__ import annotations

from migrate_bayes.report.figures.chemistry import chemistry_figure
from migrate_bayes.report.figures.comparison import ComparisonPanel, comparison_figure
from migrate_bayes.report.figures.gradient import gradient_figure
from migrate_bayes.report.figures.kiel import kiel_figure
from migrate_bayes.report.figures.predictive import (
    posterior_predictive_figure,
    prior_predictive_figure,
)
from migrate_bayes.report.figures.radial import radial_figure
from migrate_bayes.report.figures.sampling import energy_figure, prior_figure, rank_figure
from migrate_bayes.report.figures.style import png_base64

__all__ = [
    "ComparisonPanel",
    "chemistry_figure",
    "comparison_figure",
    "energy_figure",
    "gradient_figure",
    "kiel_figure",
    "png_base64",
    "posterior_predictive_figure",
    "prior_figure",
    "prior_predictive_figure",
    "radial_figure",
    "rank_figure",
]
