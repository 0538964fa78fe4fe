r"""Ages from elsewhere (asteroseismology, other catalogues) in place of the isochrone stage.

A catalogue gives a median and a 68% interval; the likelihood on the age grid is a two-piece
Gaussian in ln age, continuous at the median, whose sides have the widths of the interval,

.. math:: \ln L(\tau) = -\tfrac12 [(\ln\tau - \ln\tau_{50}) / \sigma_\pm]^2 + \ln(2 /
   (\sigma_- + \sigma_+)),

so that a fit sees the same product whichever stage made it. [Fe/H] does not depend on age here.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag, add_flag

#: Gyr; spacing grows with age, as errors do.
DEFAULT_AGES = np.round(np.concatenate([np.arange(0.25, 5.0, 0.25), np.arange(5.0, 14.01, 0.5)]), 2)

#: A 68% interval narrower than this fraction of the age is not believed: it falls between nodes.
_MIN_LOG_SD = 0.05


def external_ages(catalog: xr.Dataset, *, ages: ArrayLike | None = None) -> xr.Dataset:
    """Turn a catalogue's own ages into the ages product.

    Parameters
    ----------
    catalog : xarray.Dataset
        With `age`, `age_lo`, `age_hi` (Gyr; median and 68% interval), `feh`, `feh_error`.
    ages : array-like, optional
        Nodes of the age grid, Gyr; `DEFAULT_AGES` if not given.

    Returns
    -------
    xarray.Dataset
        As `migrate_bayes.estimate_ages` gives; stars without an age are flagged MISSING_AGE.

    Raises
    ------
    CatalogError
        If the catalogue has no age columns.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes import external_ages
    >>> columns = {"age": 4.0, "age_lo": 3.0, "age_hi": 5.5, "feh": -0.1, "feh_error": 0.05}
    >>> catalog = xr.Dataset({name: ("star", [value]) for name, value in columns.items()},
    ...                      coords={"source_id": ("star", [1])})
    >>> ages = external_ages(catalog)
    >>> float(ages.age[ages.log_age_likelihood[0].argmax("age")])
    4.0
    """
    missing = [name for name in ("age", "age_lo", "age_hi", "feh") if name not in catalog]
    if missing:
        raise CatalogError(
            f"external ages need the columns age, age_lo, age_hi and feh; missing: {missing}. "
            "Map them in the recipe's [data.columns]"
        )
    grid = np.asarray(DEFAULT_AGES if ages is None else ages, dtype=np.float64)
    middle, low, high = (catalog[name].values for name in ("age", "age_lo", "age_hi"))
    good = (
        (middle > 0) & (low > 0) & (high >= middle) & (low <= middle) & np.isfinite(high)
        & np.isfinite(catalog["feh"].values)
    )  # fmt: skip
    flag = np.zeros(len(middle), dtype=np.int32)
    add_flag(flag, ~good, StarFlag.MISSING_AGE)

    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.maximum(np.log(middle / low), _MIN_LOG_SD)
        above = np.maximum(np.log(high / middle), _MIN_LOG_SD)
        u = np.log(grid)[None, :] - np.log(middle)[:, None]
        log_like = -0.5 * (u / np.where(u < 0, below[:, None], above[:, None])) ** 2
        log_like += np.log(2.0 / (below + above))[:, None]
    log_like[~good] = np.nan
    add_flag(flag, good & (middle <= grid[0]), StarFlag.EDGE_YOUNG)
    add_flag(flag, good & (middle >= grid[-1]), StarFlag.EDGE_OLD)

    def node_constant(name: str) -> np.ndarray:
        column = catalog[name].values if name in catalog else np.full(len(middle), np.nan)
        return np.repeat(column[:, None], len(grid), axis=1).astype(np.float32)

    def per_star(values: np.ndarray, unit: str, long_name: str) -> tuple:
        return ("star", np.where(good, values, np.nan), {"units": unit, "long_name": long_name})

    return xr.Dataset(
        {
            "log_age_likelihood": (("star", "age"), log_like.astype(np.float32), {"units": ""}),
            "log_interim_prior": ("age", np.zeros(len(grid)), {"units": ""}),
            "feh_mean": (("star", "age"), node_constant("feh"), {"units": "dex"}),
            "feh_sd": (("star", "age"), node_constant("feh_error"), {"units": "dex"}),
            "age_ml": per_star(middle, "Gyr", "age of highest likelihood"),
            "age_median": per_star(middle, "Gyr", "median age"),
            "age_lo": per_star(low, "Gyr", "lower end of the 68% interval"),
            "age_hi": per_star(high, "Gyr", "upper end of the 68% interval"),
            "age_error": per_star((high - low) / (2 * middle), "", "relative age error"),
            "flag": ("star", flag),
        },
        coords={"age": ("age", grid, {"units": "Gyr"}), "source_id": catalog["source_id"]},
        attrs={"isochrone_source": "external", "age_method": "catalogue ages, two-piece in ln age"},
    )
