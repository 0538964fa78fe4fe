"""The baseline of many samples at once: slices, a stricter sample, another radius, each potential.

`fit_variants` gives what figures 9 to 13 of Vickers, Shen & Li (2021) are made of, as one tree with
a baseline per group. A sample that cannot be fitted is an empty group that says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr

from migrate_bayes.baseline.bins import fit_baseline
from migrate_bayes.core.errors import FitError, OrbitError, RecipeError
from migrate_bayes.selection import SELECTIONS, select
from migrate_bayes.stars import iter_parts

__all__ = ["ALPHA_SLICES", "HIGH_QUALITY", "R_PRESENT", "ZMAX_SLICES", "fit_variants", "why_absent"]

ZMAX_SLICES = tuple(name for name in SELECTIONS if name.startswith("zmax-"))
ALPHA_SLICES = tuple(name for name in SELECTIONS if name.startswith("alpha-"))
HIGH_QUALITY, R_PRESENT = "high-quality", "r_present"


class _Variant(NamedTuple):
    """A group's name, its selection, and the potential and radius of its R_g."""

    name: str
    selection: str
    potential: str
    radius: str


def _wanted(selection: str, potential: str, radius: str, known: list[str]) -> Iterator[_Variant]:
    for name in (*ZMAX_SLICES, *ALPHA_SLICES):
        yield _Variant(name, name, potential, radius)
    yield _Variant(HIGH_QUALITY, f"({selection}) & high-quality", potential, radius)
    other = "rg" if radius == "r_present" else "r_present"
    yield _Variant(R_PRESENT if other == "r_present" else "rg", selection, potential, other)
    for k, name in enumerate(known):
        if name != potential:
            # Labels of potentials may hold what a group's name may not.
            yield _Variant(f"potential-{k}", selection, name, "rg")


def fit_variants(
    stars: xr.Dataset,
    *,
    selection: str = "thin",
    potential: str = "MWPotential2014",
    radius: str = "rg",
    bin_width: float = 1.25,
    age_range: tuple[float, float] = (1.0, 12.25),
    min_stars: int = 20,
) -> xr.DataTree:
    """Fit the baseline of slices and variants of a sample.

    The stars of a variant are chosen in `potential` always, so that variants of the potential
    differ in R_g and not in who is in the sample.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    selection : str
        The sample that is varied; the slices are of all usable stars.
    potential, radius, bin_width, age_range, min_stars
        See `fit_baseline`.

    Returns
    -------
    xarray.DataTree
        A group per name of `ZMAX_SLICES` and `ALPHA_SLICES`, ``high-quality``, ``r_present`` (or
        ``rg``, where that is the varied radius), and ``potential-0`` … for the potentials other
        than `potential`: a baseline, or no variables and an attribute ``absent`` that says why. Its
        attributes hold `potential`, `selection`, and `r0` (kpc) and `v0` (km/s) where known.
    """
    known = [str(p) for p in stars["potential"].values] if "potential" in stars.dims else []
    sample = _in_memory(stars, potential)
    masks: dict[str, xr.DataArray] = {}
    nodes: dict[str, xr.Dataset] = {}
    for one in _wanted(selection, potential, radius, known):
        attrs: dict[str, object] = {"selection": one.selection, "potential": one.potential}
        try:
            if one.selection not in masks:
                chosen = select(stars, one.selection, potential=potential)
                # Its name, not its meaning, is what an error or a page says of it.
                masks[one.selection] = xr.DataArray(
                    np.asarray(chosen.values)[sample["row"].values], dims="star",
                    attrs={"description": one.selection},
                )  # fmt: skip
            fitted = fit_baseline(
                sample, selection=masks[one.selection], potential=one.potential, radius=one.radius,
                bin_width=bin_width, age_range=age_range, min_stars=min_stars,
            )  # fmt: skip
            if not np.isfinite(fitted["slope"].values).any():
                n = int(masks[one.selection].sum())
                fitted.attrs["absent"] = (
                    f"{n:,} stars, and no age bin of {min_stars} with radii apart"
                )
        except (FitError, RecipeError, OrbitError) as error:
            fitted = xr.Dataset(attrs={"absent": str(error)})
        for name in ("r0", "v0"):
            if name in stars.coords and one.potential in known:
                attrs[name] = float(stars[name].sel(potential=one.potential))
        nodes[f"/{one.name}"] = fitted.assign_attrs(attrs)
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
    """Say why a variant has no baseline; empty where it has one."""
    if variants is None:
        return "the baselines of slices were not made: run `migrate-bayes baseline`"
    if name not in variants.children:
        return f"no baseline of '{name}' in this run"
    return str(variants[name].attrs.get("absent", ""))
