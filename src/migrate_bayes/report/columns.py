"""What the figures draw of the stars: a few columns, of one potential, of the selected stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.errors import ProductError
from migrate_bayes.flags import StarFlag

__all__ = ["StarColumns", "star_columns", "thin_probability"]

Array = NDArray[np.float64]
_RADII = {"rg": "rg_mean", "r_present": "r_present"}


@dataclass(frozen=True)
class StarColumns:
    """Columns of the selected stars; all NaN where the catalogue has none."""

    feh: Array
    alpha_fe: Array
    teff: Array
    logg: Array
    age: Array
    radius: Array
    p_thin: Array | None

    @staticmethod
    def any_of(*columns: Array) -> bool:
        """Whether some star has all these values."""
        return bool(np.logical_and.reduce([np.isfinite(c) for c in columns]).any())


def thin_probability(stars: xr.Dataset, fit: xr.DataTree | None) -> Array | None:
    """P(thin disc) by star, NaN where the star was not fitted; None where the fit has none.

    Stars are matched by `source_id`; of repeat observations, which may share one, those flagged
    `DUPLICATE` were not fitted.
    """
    if fit is None or "membership" not in fit.children or "p_thin" not in fit["membership"]:
        return None
    group = fit["membership"].to_dataset()
    p = np.asarray(group["p_thin"].values, dtype=np.float64)
    if "source_id" not in group.coords or "source_id" not in stars.coords:
        return p if len(p) == stars.sizes["star"] else None
    import pandas as pd

    fitted = pd.Series(p, index=group["source_id"].values)
    fitted = fitted[~fitted.index.duplicated()]
    matched = np.array(fitted.reindex(stars["source_id"].values), dtype=np.float64)
    if "flag" in stars:
        repeat = np.asarray(stars["flag"].values, dtype=np.int64) & int(StarFlag.DUPLICATE)
        matched[repeat != 0] = np.nan
    return matched


def star_columns(
    stars: xr.Dataset,
    *,
    mask: NDArray[np.bool_],
    potential: str,
    radius: str,
    fit: xr.DataTree | None = None,
) -> StarColumns:
    """Take the columns of the stars in a mask.

    Raises
    ------
    ProductError
        Where the mask is not of these stars.
    """
    n = stars.sizes["star"]
    if mask.shape != (n,):
        raise ProductError(f"the selection has {mask.size:,} stars, the product {n:,}")
    if "potential" in stars.dims and potential in stars["potential"].values:
        stars = stars.sel(potential=potential)

    def column(name: str) -> Array:
        if name not in stars or stars[name].dims != ("star",):
            return np.full(int(mask.sum()), np.nan)
        return np.asarray(stars[name].values, dtype=np.float64)[mask]

    age = column("age_ml")
    p = thin_probability(stars, fit)
    return StarColumns(
        feh=column("feh"),
        alpha_fe=column("alpha_fe"),
        teff=column("teff"),
        logg=column("logg"),
        age=age if np.isfinite(age).any() else column("age_median"),
        radius=column(_RADII.get(radius, "rg_mean")),
        p_thin=None if p is None else p[mask],
    )
