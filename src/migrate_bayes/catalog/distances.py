"""Distances with their 16th and 84th percentiles, given or from the parallax.

Where a catalogue has no distance, d = 1/parallax for stars with parallax/error above 10, where the
inverse is nearly unbiased; the percentiles are 1/(parallax ± error), exactly those of the inverse
of a Gaussian. The parallax zero point is not corrected.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from migrate_bayes.catalog.columns import attributes

__all__ = ["MIN_PARALLAX_OVER_ERROR", "add_distances"]

MIN_PARALLAX_OVER_ERROR = 10.0


def add_distances(
    catalog: xr.Dataset, *, min_parallax_over_error: float = MIN_PARALLAX_OVER_ERROR
) -> xr.Dataset:
    """Make sure that a catalogue's distances are usable, or derive them from the parallax.

    A given distance must be positive, with percentiles (where given) on its two sides; a star of
    which this is not true loses all three. Flags are not touched.

    Parameters
    ----------
    catalog : xarray.Dataset
        With ``distance`` (kpc), or ``parallax`` and ``parallax_error`` (mas), or neither.
    min_parallax_over_error : float
        Below this a parallax gives no distance.

    Returns
    -------
    xarray.Dataset
        With ``distance``, ``distance_lo``, ``distance_hi`` where they can be had, and
        ``attrs["source"]`` on ``distance``.
    """
    names = ("distance", "distance_lo", "distance_hi")
    if "distance" in catalog:
        present = [name for name in names if name in catalog]
        d = catalog["distance"].values
        good = d > 0
        if "distance_lo" in catalog:
            lo = catalog["distance_lo"].values
            good &= (lo > 0) & (lo <= d)
        if "distance_hi" in catalog:
            hi = catalog["distance_hi"].values
            good &= np.isfinite(hi) & (hi >= d)
        return catalog.assign(
            {
                name: ("star", np.where(good, catalog[name].values, np.nan), catalog[name].attrs)
                for name in present
            }
        )
    if "parallax" not in catalog or "parallax_error" not in catalog:
        return catalog
    plx, error = catalog["parallax"].values, catalog["parallax_error"].values
    with np.errstate(divide="ignore", invalid="ignore"):
        good = (error > 0) & (plx > min_parallax_over_error * error)
        values = [np.where(good, 1.0 / (plx + sign * error), np.nan) for sign in (0, 1, -1)]
    source = f"1/parallax where parallax/error > {min_parallax_over_error:g}, no zero-point shift"
    return catalog.assign(
        {
            name: ("star", value, attributes(name) | {"source": source})
            for name, value in zip(names, values, strict=True)
        }
    )
