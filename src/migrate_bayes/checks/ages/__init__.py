"""Do the ages hold against what is known otherwise? The Sun, clusters, seismology, other families.

`validate_ages` runs everything a recipe asks for; `migrate-bayes validate ages` prints it and
writes the page. Each file holds one comparison, as plain functions from stars to numbers; where the
third-party stars of one are absent it says so and the others run. Names load when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "AgeOptions": "options",
    "AgeValidation": "run",
    "ValidateAges": "recipe",
    "coverage_table": "calibration",
    "draw_prior_stars": "calibration",
    "load_validate_ages": "recipe",
    "load_m67": "m67",
    "load_kepler": "kepler",
    "load_harps": "harps",
    "validate_ages": "run",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'migrate_bayes.checks.ages' has no attribute '{name}'")
    return getattr(importlib.import_module(f"migrate_bayes.checks.ages.{_HOME[name]}"), name)
