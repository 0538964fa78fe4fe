"""Stars into bins of age, a line through each bin, and a line through the slopes.

`fit_baseline` is the baseline; `expanded_interval` gives the horizontal error bars of its points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.baseline.baseline_options import BaselineOptions
from migrate_bayes.baseline.line import LineFit, fit_line, weighted_line
from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.core.errors import FitError, suggest
from migrate_bayes.core.table import Estimate
from migrate_bayes.selection import Selection, select

Array = NDArray[np.float64]

METHODS = ("odr", "odr+scatter")

_RADII = {"rg": ("rg_mean", "rg_sd"), "r_present": ("r_present", "r_present_sd")}


def expanded_interval(age: Array, lo: Array, hi: Array) -> tuple[float, float]:
    """Return the 68% interval of ages spread by their errors.

    Each star is a two-piece Gaussian about its maximum-likelihood age, with the standard deviation
    of either side from the interval; the 16th and 84th percentiles are of the sum of these, found
    by bisection, so that no random draw enters.

    Parameters
    ----------
    age, lo, hi : ndarray, shape (n,)
        Maximum-likelihood age and its 1σ interval, Gyr.

    Returns
    -------
    tuple of float
        16th and 84th percentile, Gyr.

    Examples
    --------
    >>> import numpy as np
    >>> from migrate_bayes.baseline import expanded_interval
    >>> low, high = expanded_interval(np.array([5.0]), np.array([4.0]), np.array([6.0]))
    >>> round(low, 1), round(high, 1)
    (4.0, 6.0)
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    # A star without interval counts at its age; 1e-6 Gyr keeps the function continuous.
    below = np.fmax(np.nan_to_num(age - lo), 1e-6)
    above = np.fmax(np.nan_to_num(hi - age), 1e-6)
    share = below / (below + above)

    def fraction(t: float) -> float:
        d = t - age
        young, old = 2 * share * ndtr(d / below), share + (1 - share) * (2 * ndtr(d / above) - 1)
        return float(np.mean(np.where(d < 0, young, old)))

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
    options: BaselineOptions | None = None,
    *,
    potential: str = "MWPotential2014",
    selection: str | Mapping[str, Any] | Selection | xr.DataArray | NDArray | None = None,
    radius: str = "rg",
    **settings: Any,
) -> xr.Dataset:
    """Fit the metallicity gradient in bins of age, as the paper did and with intrinsic scatter.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    options : BaselineOptions, optional
        Bins of age, and the sample.
    potential : str
        Whose guiding radius and Z_max.
    selection : str, mapping, Selection or bool array, optional
        In place of the one in `options`: see `migrate_bayes.select`; a mask is taken as it is.
    radius : {"rg", "r_present"}
        Guiding or present-day radius.
    **settings
        Entries of `BaselineOptions` by name; they override `options`.

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
    RecipeError
        If a setting is unknown or invalid.
    FitError
        If no star is usable, or no bin fits into the range of ages.

    Examples
    --------
    >>> from migrate_bayes import fit_baseline
    >>> from migrate_bayes.mock import simulated_stars
    >>> fit = fit_baseline(simulated_stars(2000, seed=1), bin_width=3.0)
    >>> fit["slope_at_1gyr"].values.round(2)
    array([-0.1 , -0.08])
    """
    o = BaselineOptions.of(options, settings)
    if selection is None:
        selection = o.selection
    bin_width, min_stars = o.bin_width, o.min_stars
    low, high = o.age_range
    n_bins = int((high - low) / bin_width + 1e-9) if high > low else 0
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
            x = t["radius"] - PIVOT_RADIUS
            line = fit_line(x, t["feh"], t["radius_error"], t["feh_error"], scatter=m == 1)
            fits[m].append(line)
    attrs = {
        "potential": potential, "selection": label, "radius": radius, "bin_width": bin_width,
        "min_stars": min_stars, "pivot": PIVOT_RADIUS, "stars_used": int(n_stars.sum()),
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
    for name, value, unit in (
        ("slope", lambda fit: fit.slope.value, "dex / kpc"),
        ("slope_error", lambda fit: fit.slope.plus, "dex / kpc"),
        ("intercept", lambda fit: fit.intercept.value, "dex"),
        ("intercept_error", lambda fit: fit.intercept.plus, "dex"),
        ("intrinsic_scatter", lambda fit: fit.scatter, "dex"),
        ("residual_variance", lambda fit: fit.residual_variance, ""),
    ):
        values = [[value(fit) for fit in row] for row in fits]
        data[name] = (("method", "age_bin"), np.array(values, dtype=float), {"units": unit})
    data["reason"] = (("method", "age_bin"), [[fit.reason for fit in row] for row in fits])

    summary: dict[str, list[Estimate]] = {}
    for slope, error in zip(data["slope"].values, data["slope_error"].values, strict=True):
        line, covariance = weighted_line(centre - 1.0, slope, error)
        sd = np.sqrt(np.diag(covariance))
        good = np.flatnonzero(np.isfinite(slope) & (error > 0))
        weight = 1.0 / error[good] ** 2
        youngest, mean = (np.nan, np.nan), (np.nan, np.nan)
        if len(good):
            youngest = (slope[good[0]], error[good[0]])
            mean = (np.sum(weight * slope[good]) / weight.sum(), weight.sum() ** -0.5)
        for name, pair in {
            "trend": (line[1], sd[1]), "slope_at_1gyr": (line[0], sd[0]),
            "slope_youngest": youngest, "mean_slope": mean,
        }.items():  # fmt: skip
            summary.setdefault(name, []).append(Estimate.symmetric(*pair))
    for name, found in summary.items():
        units = {"units": "dex / (kpc Gyr)" if name == "trend" else "dex / kpc"}
        data[name] = ("method", [one.value for one in found], units)
        data[f"{name}_error"] = ("method", [one.plus for one in found], units)
    return data
