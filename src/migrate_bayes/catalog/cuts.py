"""Cuts on quality. They flag stars and drop none, so that a looser cut needs no second run."""

from __future__ import annotations

import numpy as np
import xarray as xr

from migrate_bayes.catalog.columns import attributes
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag

__all__ = ["SNR_BANDS", "flag_age_error", "quality_cuts"]

SNR_BANDS = ("snr_g", "snr_r", "snr_i")


def _with_bit(stars: xr.Dataset, where: np.ndarray, reason: StarFlag) -> xr.Dataset:
    bit = np.int32(reason)
    flag = stars["flag"].values & ~bit
    flag = np.where(where, flag | bit, flag).astype(np.int32)
    return stars.assign(flag=("star", flag, stars["flag"].attrs or attributes("flag")))


def quality_cuts(catalog: xr.Dataset, *, min_snr: float | None = 50.0) -> xr.Dataset:
    """Flag ``LOW_SNR`` where the signal-to-noise ratio is below the cut in any band that there is.

    Parameters
    ----------
    catalog : xarray.Dataset
        A catalogue. Without any ``snr_*`` column nothing is flagged.
    min_snr : float or None
        The cut; None lifts it. The published LAMOST sample takes 50 in g, r and i.

    Returns
    -------
    xarray.Dataset
        With a new ``flag``; an earlier cut is forgotten. A band whose value is missing for a star
        does not count against it unless all are missing.
    """
    bands = [band for band in SNR_BANDS if band in catalog]
    low = np.zeros(catalog.sizes["star"], dtype=bool)
    if min_snr is not None and bands:
        values = np.stack([catalog[band].values for band in bands])
        low = np.any(values < min_snr, axis=0) | np.all(np.isnan(values), axis=0)
    return _with_bit(catalog, low, StarFlag.LOW_SNR)


def flag_age_error(stars: xr.Dataset, *, max_age_error: float = 0.25) -> xr.Dataset:
    """Flag ``POOR_AGE`` where the relative age error is above the cut or unknown.

    Parameters
    ----------
    stars : xarray.Dataset
        With ``flag`` and ``age_error`` (half-width of the interval over the age), or else external
        ``age``, ``age_lo``, ``age_hi``.
    max_age_error : float
        The cut, as a fraction of the age.

    Raises
    ------
    CatalogError
        Where there are no ages with errors.
    """
    if "age_error" in stars:
        error = stars["age_error"].values
    elif {"age", "age_lo", "age_hi"} <= set(map(str, stars.data_vars)):
        with np.errstate(divide="ignore", invalid="ignore"):
            error = 0.5 * (stars["age_hi"].values - stars["age_lo"].values) / stars["age"].values
    else:
        raise CatalogError(
            "no age errors to cut on: need age_error, or age with age_lo and age_hi; "
            f"{suggest('age_error', map(str, stars.data_vars))}"
        )
    return _with_bit(stars, ~(error <= max_age_error), StarFlag.POOR_AGE)
