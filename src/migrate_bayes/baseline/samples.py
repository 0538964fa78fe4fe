"""The baseline of many samples at once: slices, a stricter sample, another radius, each potential.

`fit_samples` gives what figures 9 to 13 of Vickers, Shen & Li (2021) are made of, as one tree with
a baseline per group. A sample that cannot be fitted is an empty group that says why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.baseline.baseline_options import BaselineOptions
from migrate_bayes.baseline.bins import fit_baseline
from migrate_bayes.core.errors import FitError, OrbitError, RecipeError
from migrate_bayes.selection import SELECTIONS, select
from migrate_bayes.stars import iter_parts

ZMAX_SLICES = tuple(name for name in SELECTIONS if name.startswith("zmax-"))
ALPHA_SLICES = tuple(name for name in SELECTIONS if name.startswith("alpha-"))
HIGH_QUALITY, R_PRESENT = "high-quality", "r_present"


def _samples(
    selection: str, potential: str, radius: str, known: list[str]
) -> dict[str, tuple[str, str, str]]:
    """Return the table of groups: name to selection, potential and radius."""
    other = "rg" if radius == R_PRESENT else R_PRESENT
    groups = {name: (name, potential, radius) for name in (*ZMAX_SLICES, *ALPHA_SLICES)}
    groups[HIGH_QUALITY] = (f"({selection}) & high-quality", potential, radius)
    groups[other] = (selection, potential, other)
    # Labels of potentials may hold what a group's name may not.
    return groups | {
        f"potential-{k}": (selection, name, "rg")
        for k, name in enumerate(known)
        if name != potential
    }


def fit_samples(
    stars: xr.Dataset,
    options: BaselineOptions | None = None,
    *,
    potential: str = "MWPotential2014",
    radius: str = "rg",
    **settings: Any,
) -> xr.DataTree:
    """Fit the baseline of slices and variants of a sample.

    The stars of every group are chosen in `potential`, so that variants of the potential differ in
    R_g and not in who is in the sample.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    options : BaselineOptions, optional
        Bins of age, and the sample that is varied; the slices are of all usable stars.
    potential, radius
        See `fit_baseline`.
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
    >>> from migrate_bayes.baseline import fit_samples, why_absent
    >>> from migrate_bayes.mock import simulated_stars
    >>> tree = fit_samples(simulated_stars(500, seed=1), bin_width=5.0)
    >>> why_absent(tree, "r_present").split(":")[0]
    'the baseline needs r_present, r_present_sd, which the stars lack'
    """
    o = BaselineOptions.of(options, settings)
    known = [str(p) for p in stars["potential"].values] if "potential" in stars.dims else []
    sample = _in_memory(stars, potential)
    masks: dict[str, xr.DataArray] = {}
    nodes: dict[str, xr.Dataset] = {}
    for group, (chosen, name, of_radius) in _samples(o.selection, potential, radius, known).items():
        attrs: dict[str, object] = {"selection": chosen, "potential": name}
        try:
            if chosen not in masks:
                mask = np.asarray(select(stars, chosen, potential=potential).values)
                # Its name, not its meaning, is what an error or a page says of it.
                masks[chosen] = xr.DataArray(
                    mask[sample["row"].values], dims="star", attrs={"description": chosen}
                )
            fitted = fit_baseline(
                sample, o, selection=masks[chosen], potential=name, radius=of_radius
            )
            if not np.isfinite(fitted["slope"].values).any():
                n = int(masks[chosen].sum())
                fitted.attrs["absent"] = (
                    f"{n:,} stars, and no age bin of {o.min_stars} with radii apart"
                )
        except (FitError, RecipeError, OrbitError) as error:
            fitted = xr.Dataset(attrs={"absent": str(error)})
        for solar in ("r0", "v0"):
            if solar in stars.coords and name in known:
                attrs[solar] = float(stars[solar].sel(potential=name))
        nodes[f"/{group}"] = fitted.assign_attrs(attrs)
    return xr.DataTree.from_dict(nodes)


def _in_memory(stars: xr.Dataset, potential: str) -> xr.Dataset:
    """Take what the baselines need of the usable stars; a survey on disk is read once for all."""
    usable = np.asarray(select(stars, "all", potential=potential).values)
    wanted = [
        name
        for name in ("age_ml", "age_lo", "age_hi", "rg_mean", "rg_sd", "r_present", "r_present_sd",
                     "feh", "feh_error", "flag")
        if name in stars
    ]  # fmt: skip
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for rows, values in iter_parts(stars, wanted):
        for name in wanted:
            pieces[name].append(values[name][usable[rows]])
    data = {name: (stars[name].dims, np.concatenate(pieces[name])) for name in wanted}
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
        Empty if there is a baseline. See `fit_samples` for an example.
    """
    if variants is None:
        return "the baselines of slices were not made: run `migrate-bayes baseline`"
    if name not in variants.children:
        return f"no baseline of '{name}' in this run"
    return str(variants[name].attrs.get("absent", ""))
