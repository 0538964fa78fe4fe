"""Which stars are usable: flags for what a star lacks, cuts on quality, and usable distances.

A star that lacks something keeps its row and gets a flag, so that a looser cut needs no second run;
a catalogue that lacks a column altogether is an error of the stage that needs it.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import REQUIRED, attributes
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag

SNR_BANDS = ("snr_g", "snr_r", "snr_i")
MIN_PARALLAX_OVER_ERROR = 10.0

_SPECTRUM = ("teff", "logg", "feh")
# The columns whose missing value costs a star something; a column that the file lacks counts too.
_NEEDED = {
    StarFlag.MISSING_PARAMETERS: _SPECTRUM,
    StarFlag.MISSING_ASTROMETRY: ("ra", "dec", "pmra", "pmdec"),
    StarFlag.MISSING_RADIAL_VELOCITY: ("radial_velocity",),
    StarFlag.BAD_DISTANCE: ("distance",),
}
# Errors without which a star cannot be drawn from, if the file has the column.
_NEEDED_ERRORS = {
    StarFlag.MISSING_ASTROMETRY: ("pmra_error", "pmdec_error"),
    StarFlag.MISSING_RADIAL_VELOCITY: ("radial_velocity_error",),
}


def flag_measurements(catalog: xr.Dataset) -> NDArray[np.int32]:
    """Return the flags of what each star lacks, beside those already in the catalogue.

    ``BAD_ERROR`` is about T_eff, log g, [Fe/H] and [alpha/Fe], since it costs the star its age. A
    star whose proper motion or radial velocity has no finite error cannot be drawn from, and gets
    ``MISSING_ASTROMETRY`` or ``MISSING_RADIAL_VELOCITY``. A column that the file lacks altogether
    flags every star, an error column that it lacks flags none (`validate_required` sees to it).
    """
    n = catalog.sizes["star"]
    flag = catalog["flag"].values.copy() if "flag" in catalog else np.zeros(n, dtype=np.int32)

    def known(name: str) -> NDArray[np.bool_]:
        return np.isfinite(catalog[name].values) if name in catalog else np.zeros(n, dtype=bool)

    for reason, names in _NEEDED.items():
        for name in names:
            add_flag(flag, ~known(name), reason)
    for reason, names in _NEEDED_ERRORS.items():
        for name in set(names) & set(catalog):
            add_flag(flag, ~known(name), reason)
    for name in (*_SPECTRUM, "alpha_fe"):
        error = f"{name}_error"
        if error in catalog:
            add_flag(
                flag,
                known(name) & ~(known(error) & (catalog[error].values > 0)),
                StarFlag.BAD_ERROR,
            )
    magnitude = "abs_g" if "abs_g" in catalog else "phot_g_mean_mag"
    add_flag(flag, ~known(magnitude), StarFlag.MISSING_PHOTOMETRY)
    return flag


def with_flag(stars: xr.Dataset, where: NDArray[np.bool_], reason: StarFlag) -> xr.Dataset:
    """Set a reason's bit for the stars in a mask, and clear it for the others."""
    flag = stars["flag"].values & ~np.int32(reason)
    add_flag(flag, where, reason)
    return stars.assign(flag=("star", flag, stars["flag"].attrs or attributes("flag")))


def validate_required(catalog: xr.Dataset, needs: str = "ages") -> None:
    """Refuse a catalogue that lacks columns which a stage of `REQUIRED` needs."""
    if needs not in REQUIRED:
        raise CatalogError(f"no stage '{needs}': {suggest(needs, REQUIRED)}")
    lacking = [name for name in REQUIRED[needs] if name not in catalog]
    if lacking:
        there = [str(name) for name in catalog.data_vars if name not in ("flag", "star_key")]
        raise CatalogError(
            f"the catalogue has no {', '.join(lacking)}, needed for {needs.replace('_', ' ')}. "
            f"For '{lacking[0]}': {suggest(lacking[0], there)}"
        )


def quality_cuts(catalog: xr.Dataset, *, min_snr: float | None = 50.0) -> xr.Dataset:
    """Flag ``LOW_SNR`` if the signal-to-noise ratio is below the cut in any band that there is.

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

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes import quality_cuts
    >>> stars = xr.Dataset({"snr_g": ("star", [80.0, 20.0]),
    ...                     "flag": ("star", np.zeros(2, dtype=np.int32))})
    >>> quality_cuts(stars)["flag"].values.tolist()
    [0, 256]
    """
    bands = [band for band in SNR_BANDS if band in catalog]
    low = np.zeros(catalog.sizes["star"], dtype=bool)
    if min_snr is not None and bands:
        values = np.stack([catalog[band].values for band in bands])
        low = np.any(values < min_snr, axis=0) | np.all(np.isnan(values), axis=0)
    return with_flag(catalog, low, StarFlag.LOW_SNR)


def flag_age_error(stars: xr.Dataset, *, max_age_error: float = 0.25) -> xr.Dataset:
    """Flag ``POOR_AGE`` if the relative age error is above the cut or unknown.

    Parameters
    ----------
    stars : xarray.Dataset
        With ``flag`` and ``age_error`` (half-width of the interval over the age), or else external
        ``age``, ``age_lo``, ``age_hi``.
    max_age_error : float
        The cut, as a fraction of the age.

    Returns
    -------
    xarray.Dataset
        With a new ``flag``; an earlier cut is forgotten.

    Raises
    ------
    CatalogError
        If there are no ages with errors.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes import flag_age_error
    >>> stars = xr.Dataset({"age_error": ("star", [0.1, 0.4, np.nan]),
    ...                     "flag": ("star", np.zeros(3, dtype=np.int32))})
    >>> flag_age_error(stars)["flag"].values.tolist()
    [0, 8192, 8192]
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
    return with_flag(stars, ~(error <= max_age_error), StarFlag.POOR_AGE)


def add_distances(
    catalog: xr.Dataset, *, min_parallax_over_error: float = MIN_PARALLAX_OVER_ERROR
) -> xr.Dataset:
    """Make sure that a catalogue's distances are usable, or derive them from the parallax.

    A given distance must be positive, with percentiles (if given) on its two sides; a star of
    which this is not true loses all three. Without distances d = 1/parallax, for stars with
    parallax/error above 10, for which the inverse is nearly unbiased; the percentiles are
    1/(parallax ± error), exactly those of the inverse of a Gaussian. The parallax zero point is not
    corrected, and flags are not touched.

    Distances are in kpc, with their 16th and 84th percentiles; the parallax in mas.
    """
    names = ("distance", "distance_lo", "distance_hi")
    if "distance" in catalog:
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
                for name in names
                if name in catalog
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
