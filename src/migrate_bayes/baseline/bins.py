"""Stars into bins of age, a line through each bin, and a line through the slopes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.baseline.baseline_options import BaselineOptions
from migrate_bayes.baseline.line import LineFit, fit_line, weighted_line
from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.core.errors import CatalogError, FitError, OrbitError, RecipeError, suggest
from migrate_bayes.selection import SELECTIONS, Selection, select
from migrate_bayes.selection.conditions import possible_of_disc
from migrate_bayes.stars import iter_parts

Array = NDArray[np.float64]

METHODS = ("odr", "odr+scatter")
ZMAX_SLICES = tuple(name for name in SELECTIONS if name.startswith("zmax-"))
ALPHA_SLICES = tuple(name for name in SELECTIONS if name.startswith("alpha-"))
HIGH_QUALITY = "high-quality"

_RADII = {"rg": ("rg_mean", "rg_sd"), "r_present": ("r_present", "r_present_sd")}


def expanded_interval(age: Array, lo: Array, hi: Array) -> tuple[float, float]:
    """Return the 16th and 84th percentile of ages (n) spread by their errors, Gyr.

    Each star is a two-piece Gaussian about its maximum-likelihood age, with the standard deviation
    of either side from the 1σ interval; the percentiles are of the sum of these, found by
    bisection, so that no random draw enters.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    # A star without interval counts at its age; 1e-6 Gyr keeps the function continuous.
    below = np.fmax(np.nan_to_num(age - lo), 1e-6)
    above = np.fmax(np.nan_to_num(hi - age), 1e-6)
    share = below / (below + above)

    def excess(t: float, p: float) -> float:
        d = t - age
        young, old = 2 * share * ndtr(d / below), share + (1 - share) * (2 * ndtr(d / above) - 1)
        return float(np.mean(np.where(d < 0, young, old))) - p

    ends = float(np.min(age - 9 * below)), float(np.max(age + 9 * above))
    p16, p84 = (brentq(excess, *ends, args=(p,), xtol=1e-4) for p in (0.16, 0.84))
    return p16, p84


def _chosen(
    stars: xr.Dataset, selection: Any, potential: str, radius: str
) -> tuple[NDArray[np.float64], str]:
    """Age and its interval, radius and [Fe/H] with their errors, (7, n), of the complete stars."""
    if radius not in _RADII:
        raise FitError(f"unknown radius '{radius}'; {suggest(radius, _RADII)}")
    if isinstance(selection, str | Mapping | Selection):
        taken = select(stars, selection, potential=potential)
        label = selection if isinstance(selection, str) else str(taken.attrs["description"])
        mask = taken.values
    else:
        mask = np.asarray(selection)
        if mask.dtype != bool or mask.shape != (stars.sizes["star"],):
            raise FitError(
                f"a mask has a truth value for each of the {stars.sizes['star']} stars, not "
                f"{mask.dtype} of shape {mask.shape}"
            )
        label = str(getattr(selection, "attrs", {}).get("description", "mask"))
    names = ("age_ml", "age_lo", "age_hi", *_RADII[radius], "feh", "feh_error")
    missing = [name for name in names if name not in stars]
    if missing:
        raise FitError(
            f"the baseline needs {', '.join(missing)}, which the stars lack: "
            "run the stages that make them, or map the catalogue's columns"
        )
    columns = [stars[name] for name in names]
    table = np.array(
        [c.sel(potential=potential) if "potential" in c.dims else c for c in columns], dtype=float
    )
    # A star may lack its interval of age; no other number.
    complete = mask & np.isfinite(table[[0, 3, 4, 5, 6]]).all(axis=0)
    complete &= (table[[4, 6]] >= 0).all(axis=0) & possible_of_disc(table[3], table[5])
    if not complete.any():
        usable = int(select(stars, "all", potential=potential).sum())
        raise FitError(
            f"no star for the baseline: of {stars.sizes['star']:,} stars {usable:,} are usable, "
            f"{int(mask.sum()):,} are in selection '{label}' ({potential}), and none of these has "
            f"age, radius, [Fe/H] and their errors. Choose a wider selection, or see the flags"
        )
    return np.compress(complete, table, axis=1), label


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
        Dims `regression` (``odr``, ``odr+scatter``) and `age_bin` (centre, Gyr; `age_lo`,
        `age_hi`).
        `slope`, `slope_error` (dex/kpc), `intercept` (dex, at 8 kpc), `intrinsic_scatter` (dex),
        `residual_variance`, `reason` (why a bin is NaN); `n_stars`, `age_p16`, `age_p84` (Gyr: the
        68% interval of the bin's ages, spread by their errors). By regression: `trend`
        (dex/kpc/Gyr), `slope_at_1gyr`, `slope_youngest`, `mean_slope` (dex/kpc), each with
        ``_error``: a weighted line through slope(age), the youngest bin that has a slope, and the
        weighted mean over bins.

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
    low, high = o.age_range
    n_bins = int((high - low) / o.bin_width + 1e-9) if high > low else 0
    if n_bins < 1:
        raise FitError(f"no age bin of {o.bin_width} Gyr fits between {low} and {high} Gyr")
    chosen = o.selection if selection is None else selection
    table, label = _chosen(stars, chosen, potential, radius)
    edges = low + o.bin_width * np.arange(n_bins + 1)
    which = np.searchsorted(edges, table[0], side="right") - 1
    which[table[0] == edges[-1]] = n_bins - 1

    n_stars = np.bincount(which[(which >= 0) & (which < n_bins)], minlength=n_bins)
    interval = np.full((2, n_bins), np.nan)
    fits: list[list[LineFit]] = [[], []]
    for k, n in enumerate(n_stars):
        age, lo, hi, r, r_error, feh, feh_error = np.compress(which == k, table, axis=1)
        if n:
            interval[:, k] = expanded_interval(age, lo, hi)
        for row, scatter in zip(fits, (False, True), strict=True):
            if n < o.min_stars:
                row.append(LineFit(reason=f"{n} stars, fewer than {o.min_stars}"))
            else:
                row.append(fit_line(r - PIVOT_RADIUS, feh, r_error, feh_error, scatter=scatter))
    attrs = {
        "potential": potential, "selection": label, "radius": radius, "bin_width": o.bin_width,
        "min_stars": o.min_stars, "pivot": PIVOT_RADIUS, "stars_used": int(n_stars.sum()),
    }  # fmt: skip
    return _dataset(edges, n_stars, interval, fits).assign_attrs(attrs)


# What a bin's fit gives and what the line through slope(age) gives, with units.
_OF_BIN = {
    "slope": "dex / kpc", "slope_error": "dex / kpc", "intercept": "dex", "intercept_error": "dex",
    "intrinsic_scatter": "dex", "residual_variance": "",
}  # fmt: skip
_OF_METHOD = {
    "trend": "dex / (kpc Gyr)", "slope_at_1gyr": "dex / kpc",
    "slope_youngest": "dex / kpc", "mean_slope": "dex / kpc",
}  # fmt: skip


def _dataset(
    edges: NDArray, n_stars: NDArray, interval: NDArray, fits: list[list[LineFit]]
) -> xr.Dataset:
    """Label the fits, and draw the line through slope(age)."""
    gyr = {"units": "Gyr"}
    centre = 0.5 * (edges[:-1] + edges[1:])
    data = xr.Dataset(
        coords={
            "regression": list(METHODS),
            "age_bin": ("age_bin", centre, {**gyr, "long_name": "centre of the age bin"}),
            "age_lo": ("age_bin", edges[:-1], gyr),
            "age_hi": ("age_bin", edges[1:], gyr),
        }
    )
    data["n_stars"] = ("age_bin", n_stars, {"units": ""})
    data["age_p16"] = ("age_bin", interval[0], gyr)
    data["age_p84"] = ("age_bin", interval[1], gyr)
    numbers = np.array([
        [(f.slope.value, f.slope.plus, f.intercept.value, f.intercept.plus, f.scatter,
          f.residual_variance) for f in row]
        for row in fits
    ])  # fmt: skip
    for k, (name, unit) in enumerate(_OF_BIN.items()):
        data[name] = (("regression", "age_bin"), numbers[..., k].copy(), {"units": unit})
    data["reason"] = (("regression", "age_bin"), [[f.reason for f in row] for row in fits])

    summary = np.full((len(METHODS), len(_OF_METHOD), 2), np.nan)
    for m, (slope, error) in enumerate(
        zip(data["slope"].values, data["slope_error"].values, strict=True)
    ):
        line, covariance = weighted_line(centre - 1.0, slope, error)
        summary[m, 1::-1] = np.transpose([line, np.sqrt(np.diag(covariance))])
        good = np.flatnonzero(np.isfinite(slope) & (error > 0))
        if len(good):
            weight = 1.0 / error[good] ** 2
            mean = np.sum(weight * slope[good]) / weight.sum()
            summary[m, 2:] = (slope[good[0]], error[good[0]]), (mean, weight.sum() ** -0.5)
    for k, (name, unit) in enumerate(_OF_METHOD.items()):
        data[name] = ("regression", summary[:, k, 0], {"units": unit})
        data[f"{name}_error"] = ("regression", summary[:, k, 1], {"units": unit})
    return data


def fit_samples(
    stars: xr.Dataset,
    options: BaselineOptions | None = None,
    *,
    potential: str = "MWPotential2014",
    radius: str = "rg",
    **settings: Any,
) -> xr.DataTree:
    """Fit the baseline of slices and variants of a sample: figures 9 to 13 of the paper.

    The stars of every group are chosen in `potential`, so that variants of the potential differ in
    R_g and not in who is in the sample.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    options : BaselineOptions, optional
        Bins of age, and the sample that is varied; the slices are of all usable stars.
    potential : str
        Whose guiding radius and Z_max.
    radius : {"rg", "r_present"}
        Guiding or present-day radius.
    **settings
        Entries of `BaselineOptions` by name; they override `options`.

    Returns
    -------
    xarray.DataTree
        A group per name of `ZMAX_SLICES` and `ALPHA_SLICES`, ``high-quality``, ``r_present`` (or
        ``rg``, if that is the varied radius), and ``potential-0`` … for the potentials other
        than `potential`: a baseline, or no variables and an attribute ``absent`` that says why. Its
        attributes hold `potential`, `selection`, and `r0` (kpc) and `v0` (km/s) if known.

    Examples
    --------
    >>> from migrate_bayes.baseline import fit_samples
    >>> from migrate_bayes.mock import simulated_stars
    >>> tree = fit_samples(simulated_stars(500, seed=1), bin_width=5.0)
    >>> len(tree.children), int(tree["zmax-0.25-to-1"]["n_stars"].sum())
    (10, 235)
    """
    o = BaselineOptions.of(options, settings)
    known = [str(p) for p in stars["potential"].values] if "potential" in stars.dims else []
    other = "rg" if radius == "r_present" else "r_present"
    # Of each group: selection, potential, radius.
    groups = {name: (name, potential, radius) for name in (*ZMAX_SLICES, *ALPHA_SLICES)}
    groups[HIGH_QUALITY] = (f"({o.selection}) & high-quality", potential, radius)
    groups[other] = (o.selection, potential, other)
    for k, name in enumerate(known):
        if name != potential:  # a potential's label may hold what a group's name may not
            groups[f"potential-{k}"] = (o.selection, name, "rg")
    sample = _in_memory(stars, potential)
    masks: dict[str, xr.DataArray] = {}
    nodes: dict[str, xr.Dataset] = {}
    for group, (chosen, name, of_radius) in groups.items():
        attrs: dict[str, object] = {"selection": chosen, "potential": name}
        try:
            if chosen not in masks:
                mask = select(stars, chosen, potential=potential).values[sample["row"].values]
                # An error or a page shows the name of the selection, not its meaning.
                masks[chosen] = xr.DataArray(mask, dims="star", attrs={"description": chosen})
            fitted = fit_baseline(
                sample, o, selection=masks[chosen], potential=name, radius=of_radius
            )
            if not np.isfinite(fitted["slope"].values).any():
                n = int(masks[chosen].sum())
                attrs["absent"] = f"{n:,} stars, and no age bin of {o.min_stars} with radii apart"
        except (FitError, CatalogError, RecipeError, OrbitError) as error:
            fitted = xr.Dataset(attrs={"absent": str(error)})
        for solar in ("r0", "v0"):
            if solar in stars.coords and name in known:
                attrs[solar] = float(stars[solar].sel(potential=name))
        nodes[f"/{group}"] = fitted.assign_attrs(attrs)
    return xr.DataTree.from_dict(nodes)


def _in_memory(stars: xr.Dataset, potential: str) -> xr.Dataset:
    """Take what the baselines need of the usable stars; a survey on disk is read once for all."""
    usable = np.asarray(select(stars, "all", potential=potential).values)
    radii = [name for pair in _RADII.values() for name in pair]
    names = ["age_ml", "age_lo", "age_hi", *radii, "feh", "feh_error", "flag"]
    wanted = [name for name in names if name in stars]
    parts = [{n: v[n][usable[rows]] for n in wanted} for rows, v in iter_parts(stars, wanted)]
    data = {n: (stars[n].dims, np.concatenate([part[n] for part in parts])) for n in wanted}
    data["row"] = (("star",), np.flatnonzero(usable))
    coords = {"potential": stars["potential"].values} if "potential" in stars.dims else {}
    return xr.Dataset(data, coords=coords)


def why_absent(variants: xr.DataTree | None, name: str) -> str:
    """Say why a group has no baseline.

    Parameters
    ----------
    variants : xarray.DataTree or None
        From `fit_samples`, if it was run.
    name : str
        The group's.

    Returns
    -------
    str
        Empty if there is a baseline.

    Examples
    --------
    >>> from migrate_bayes.baseline import fit_samples, why_absent
    >>> from migrate_bayes.mock import simulated_stars
    >>> tree = fit_samples(simulated_stars(500, seed=1), bin_width=5.0)
    >>> why_absent(tree, "r_present").split(":")[0]
    'the baseline needs r_present, r_present_sd, which the stars lack'
    """
    if variants is None:
        return "the baselines of slices were not made: run `migrate-bayes baseline`"
    if name not in variants.children:
        return f"no baseline of '{name}' in this run"
    return str(variants[name].attrs.get("absent", ""))
