"""Figures of the age validation: functions from data to a matplotlib Figure, one per subject."""

from __future__ import annotations

from migrate_bayes.checks.ages.figures.calibration import calibration_figure, systematic_figure
from migrate_bayes.checks.ages.figures.comparison import age_age_figure, cluster_figure, sun_figure
from migrate_bayes.checks.ages.figures.families import explain_figure, family_figure
from migrate_bayes.checks.ages.figures.m67 import m67_figure

__all__ = [
    "age_age_figure",
    "calibration_figure",
    "cluster_figure",
    "explain_figure",
    "family_figure",
    "m67_figure",
    "sun_figure",
    "systematic_figure",
]
