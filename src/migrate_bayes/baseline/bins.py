"""Stars into bins of age, a line through each bin, and a line through the slopes.

`fit_baseline` is the baseline; `expanded_interval` gives the horizontal error bars of its points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.baseline.line import LineFit, fit_line, weighted_line
from migrate_bayes.core.errors import FitError, suggest
from migrate_bayes.selection import Selection, select

__all__ = ["METHODS", "PIVOT", "expanded_interval", "fit_baseline"]

Array = NDArray[np.float64]

METHODS = ("odr", "odr+scatter")
PIVOT = 8.0
"""Radius (kpc) at which the intercept is quoted."""

_RADII = {"rg": ("rg_mean", "rg_sd"), "r_present": ("r_present", "r_present_sd")}


def expanded_interval(age: Array, lo: Array, hi: Array) -> tuple[float, float]:
    """The 68% interval of ages spread by their errors.

    Each star is a two-piece Gaussian about its maximum-likelihood age, with the standard deviation
    of either side from the interval; the 16th and 84th percentiles are of the sum of these, found
    by bisection, so that no random draw enters.

    Parameters
    ----------
    age, lo, hi : ndarray, shape (n,)
        Maximum-likelihood age and its 1σ interval, Gyr.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    # A star without interval counts at its age; 1e-6 Gyr keeps the function continuous.
    below = np.fmax(np.nan_to_num(age - lo), 1e-6)
    above = np.fmax(np.nan_to_num(hi - age), 1e-6)
    share = below / (below + above)

    def fraction(t: float) -> float:
        d = t - age
        return float(
            np.mean(
                np.where(
                    d < 0,
                    2 * share * ndtr(d / below),
                    share + (1 - share) * (2 * ndtr(d / above) - 1),
                )
            )
        )

    first, last = float(np.min(age - 9 * below)), float(np.max(age + 9 * above))
    p16, p84 = (
        brentq(lambda t, p=p: fraction(t) - p, first, last, xtol=1e-4) for p in (0.16, 0.84)
    )
    return p16, p84


def _chosen(
    stars: xr.Dataset, selection: Any, potential: str, radius: str
) -> tuple[dict[str, Array], str]:
    """Columns of the stars that a selection takes and that have everything the fit needs."""
    if radius not in _RADII:
        raise FitError(f"unknown radius '{radius}'; {suggest(radius, _RADII)}")
    if isinstance(selection, str | Mapping | Selection):
        taken = select(stars, selection, potential=potential)
        label = selection if isinstance(selection, str) else str(taken.attrs["description"])
    else:
        taken = xr.DataArray(np.asarray(selection, dtype=bool), dims="star")
        label = str(getattr(selection, "attrs", {}).get("description", "mask"))
    mean, sd = _RADII[radius]
    names = {
        "age": "age_ml", "age_lo": "age_lo", "age_hi": "age_hi", "radius": mean,
        "radius_error": sd, "feh": "feh", "feh_error": "feh_error",
    }  # fmt: skip
    missing = [n for n in names.values() if n not in stars]
    if missing:
        raise FitError(
            f"the baseline needs {', '.join(missing)}, which the stars lack: "
            "run the stages that make them, or map the catalogue's columns"
        )
    table: dict[str, Array] = {}
    for key, name in names.items():
        column = stars[name]
        if "potential" in column.dims:
            column = column.sel(potential=potential)
        table[key] = np.asarray(column.values, dtype=np.float64)
    mask = np.asarray(taken.values)
    complete = mask.copy()
    for key in ("age", "radius", "feh"):
        complete &= np.isfinite(table[key])
    for key in ("radius_error", "feh_error"):
        complete &= np.isfinite(table[key]) & (table[key] >= 0)
    if not complete.any():
        usable = int(select(stars, "all", potential=potential).sum())
        raise FitError(
            f"no star for the baseline: of {stars.sizes['star']:,} stars {usable:,} are usable, "
            f"{int(mask.sum()):,} are in selection '{label}' ({potential}), and none of these has "
            f"age, radius, [Fe/H] and their errors. Choose a wider selection, or see the flags"
        )
    return {key: column[complete] for key, column in table.items()}, label


def fit_baseline(
    stars: xr.Dataset,
    *,
    potential: str = "MWPotential2014",
    selection: str | Mapping[str, Any] | Selection | xr.DataArray | NDArray[np.bool_] = "thin",
    radius: str = "rg",
    bin_width: float = 1.25,
    age_range: tuple[float, float] = (1.0, 12.25),
    min_stars: int = 20,
) -> xr.Dataset:
    """Fit the metallicity gradient in bins of age, as the paper did and with intrinsic scatter.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    potential : str
        Whose guiding radius and Z_max.
    selection : str, mapping, Selection or bool array
        See `migrate_bayes.select`; a mask is taken as it is.
    radius : {"rg", "r_present"}
        Guiding or present-day radius.
    bin_width : float
        Gyr. A last bin that would pass the end of `age_range` is left out.
    age_range : (float, float)
        Gyr. Bins are closed below and open above, the last one closed.
    min_stars : int
        A bin with fewer gives NaN.

    Returns
    -------
    xarray.Dataset
        Dims `method` (``odr``, ``odr+scatter``) and `age_bin` (centre, Gyr; `age_lo`, `age_hi`).
        Take a method by ``fit.sel({"method": "odr"})``: as a keyword, `sel` has another use for it.
        `slope`, `slope_error` (dex/kpc), `intercept` (dex, at 8 kpc), `intrinsic_scatter` (dex),
        `residual_variance`, `reason` (why a bin is NaN); `n_stars`, `age_p16`, `age_p84` (Gyr). By
        method: `trend` (dex/kpc/Gyr), `slope_at_1gyr`, `slope_youngest`, `mean_slope` (dex/kpc),
        each with ``_error``: a weighted line through slope(age), the youngest bin that has a slope,
        and the weighted mean over bins.

    Raises
    ------
    FitError
        Where no star is usable, or the bins make no sense.
    """
    low, high = map(float, age_range)
    n_bins = int((high - low) / bin_width + 1e-9) if bin_width > 0 and high > low else 0
    if n_bins < 1:
        raise FitError(f"no age bin of {bin_width} Gyr fits between {low} and {high} Gyr")
    table, label = _chosen(stars, selection, potential, radius)
    edges = low + bin_width * np.arange(n_bins + 1)
    which = np.searchsorted(edges, table["age"], side="right") - 1
    which[table["age"] == edges[-1]] = n_bins - 1

    n_stars = np.zeros(n_bins, dtype=np.int64)
    interval = np.full((2, n_bins), np.nan)
    fits: list[list[LineFit]] = [[], []]
    for k in range(n_bins):
        t = {key: column[which == k] for key, column in table.items()}
        n_stars[k] = n = len(t["age"])
        if n:
            interval[:, k] = expanded_interval(t["age"], t["age_lo"], t["age_hi"])
        for m in range(2):
            if n < min_stars:
                fits[m].append(LineFit(reason=f"{n} stars, fewer than {min_stars}"))
                continue
            fits[m].append(
                fit_line(
                    t["radius"] - PIVOT,
                    t["feh"],
                    t["radius_error"],
                    t["feh_error"],
                    scatter=m == 1,
                )
            )
    attrs = {
        "potential": potential, "selection": label, "radius": radius, "bin_width": bin_width,
        "min_stars": min_stars, "pivot": PIVOT, "stars_used": int(n_stars.sum()),
    }  # fmt: skip
    return _dataset(edges, n_stars, interval, fits, attrs)


def _dataset(
    edges: NDArray, n_stars: NDArray, interval: NDArray, fits: list[list[LineFit]], attrs: dict
) -> xr.Dataset:
    """Label the fits, and draw the line through slope(age)."""
    gyr = {"units": "Gyr"}
    centre = 0.5 * (edges[:-1] + edges[1:])
    data = xr.Dataset(
        coords={
            "method": list(METHODS),
            "age_bin": ("age_bin", centre, {**gyr, "long_name": "centre of the age bin"}),
            "age_lo": ("age_bin", edges[:-1], gyr),
            "age_hi": ("age_bin", edges[1:], gyr),
        },
        attrs=attrs,
    )
    data["n_stars"] = ("age_bin", n_stars, {"units": ""})
    data["age_p16"] = ("age_bin", interval[0], gyr)
    data["age_p84"] = ("age_bin", interval[1], gyr)
    for name, field, unit in (
        ("slope", "slope", "dex / kpc"),
        ("slope_error", "slope_error", "dex / kpc"),
        ("intercept", "intercept", "dex"),
        ("intercept_error", "intercept_error", "dex"),
        ("intrinsic_scatter", "scatter", "dex"),
        ("residual_variance", "residual_variance", ""),
    ):
        values = [[getattr(fit, field) for fit in row] for row in fits]
        data[name] = (("method", "age_bin"), np.array(values, dtype=float), {"units": unit})
    data["reason"] = (("method", "age_bin"), [[fit.reason for fit in row] for row in fits])

    summary: dict[str, list[float]] = {}
    for m in range(len(METHODS)):
        slope, error = data["slope"].values[m], data["slope_error"].values[m]
        line, cov = weighted_line(centre - 1.0, slope, error)
        good = np.flatnonzero(np.isfinite(slope) & (error > 0))
        weight = 1.0 / error[good] ** 2
        first = good[0] if len(good) else None
        for name, value, sd in (
            ("trend", line[1], np.sqrt(cov[1, 1])),
            ("slope_at_1gyr", line[0], np.sqrt(cov[0, 0])),
            (
                "slope_youngest",
                np.nan if first is None else slope[first],
                np.nan if first is None else error[first],
            ),
            (
                "mean_slope",
                np.sum(weight * slope[good]) / weight.sum() if len(good) else np.nan,
                weight.sum() ** -0.5 if len(good) else np.nan,
            ),
        ):
            summary.setdefault(name, []).append(float(value))
            summary.setdefault(f"{name}_error", []).append(float(sd))
    for name, per_method in summary.items():
        unit = "dex / (kpc Gyr)" if name.startswith("trend") else "dex / kpc"
        data[name] = ("method", per_method, {"units": unit})
    return data
