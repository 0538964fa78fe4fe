"""Isochrone grids, photometry, the segment likelihood and age posteriors.

`estimate_ages` is what most users want; `load_source` and `build_grid` give the isochrones
themselves, `draw_stars` samples them for a mock survey. Names load when first used, so that
importing the package does not load numba.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "IsochroneSource": "sources.base",
    "WorkingGrid": "grid",
    "build_grid": "grid",
    "draw_stars": "sampling",
    "estimate_ages": "ages",
    "external_ages": "external",
    "load_source": "sources.base",
    "source_names": "sources.base",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'migrate_bayes.isochrones' has no attribute '{name}'")
    return getattr(importlib.import_module(f"migrate_bayes.isochrones.{_HOME[name]}"), name)
