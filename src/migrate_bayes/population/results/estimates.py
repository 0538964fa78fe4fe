"""Numbers of a fit and of its baseline, each with its 68% error."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from migrate_bayes.core.table import Estimate


def posterior_estimate(fit: xr.DataTree | None, name: str) -> Estimate | None:
    """Median and central 68% interval of a scalar of the posterior; None if there is none."""
    if fit is None or "posterior" not in fit.children or name not in fit["posterior"]:
        return None
    draws = fit["posterior"].to_dataset()[name]
    return Estimate.of_draws(draws.values.ravel()) if set(draws.dims) == {"chain", "draw"} else None


def gradient_estimate(fit: xr.DataTree | None, component: str, age: float) -> Estimate | None:
    """Fitted gradient (dex/kpc) of a component at an age (Gyr); None outside the curve."""
    if fit is None or "posterior" not in fit.children or "gradient" not in fit["posterior"]:
        return None
    curve = fit["posterior"].to_dataset()["gradient"]
    if component not in curve["component"].values:
        return None
    curve = curve.sel(component=component)
    ages = curve["age"].values
    if not ages.min() <= age <= ages.max():
        return None
    return Estimate.of_draws(curve.interp(age=age).values.ravel())


def baseline_estimate(baseline: xr.Dataset | None, method: str, name: str) -> Estimate | None:
    """A number of a baseline, or of one of its bins, with its 1σ error; None if it has none."""
    if baseline is None or name not in baseline:
        return None
    row = baseline.sel({"method": method})
    value = float(row[name])
    return Estimate.symmetric(value, float(row[f"{name}_error"])) if math.isfinite(value) else None


def youngest_bin(baseline: xr.Dataset | None) -> tuple[float, float, float] | None:
    """Centre and edges (Gyr) of the youngest age bin that has a slope."""
    if baseline is None:
        return None
    good = np.flatnonzero(np.isfinite(baseline["slope"].values).any(axis=0))
    if not len(good):
        return None
    first = baseline.isel(age_bin=int(good[0]))
    return float(first["age_bin"]), float(first["age_lo"]), float(first["age_hi"])
