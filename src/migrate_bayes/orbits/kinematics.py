"""The columns an orbit needs, as plain arrays, and which stars have them.

Every star keeps its row. What is missing sets a flag and bars the star from an orbit; a missing
*error* is taken as zero and flagged, since an orbit can be had without it.
"""

from __future__ import annotations

__all__ = ["Kinematics", "distance_from_parallax", "read_kinematics"]

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag, add_flag

Floats = NDArray[np.float64]

REQUIRED = ("ra", "dec", "pmra", "pmdec", "radial_velocity", "distance")
ERRORS = ("ra_error", "dec_error", "pmra_error", "pmdec_error", "radial_velocity_error")
# In the order of a lower triangle's rows: (1,0), (2,0), (2,1), (3,0), (3,1), (3,2).
CORRELATIONS = (
    "ra_dec_corr", "ra_pmra_corr", "dec_pmra_corr",
    "ra_pmdec_corr", "dec_pmdec_corr", "pmra_pmdec_corr",
)  # fmt: skip
# The fifth row, of the distance, where that comes from the parallax: it falls as that rises.
PARALLAX_CORRELATIONS = (
    "ra_parallax_corr", "dec_parallax_corr", "parallax_pmra_corr", "parallax_pmdec_corr",
)  # fmt: skip


class Kinematics(NamedTuple):
    """Arrays for `draws.draw_block`, the stage's flags so far, and the error columns not there."""

    observed: Floats
    sigma: Floats
    correlation: Floats
    distance_sd: Floats
    key: NDArray[np.uint64]
    usable: NDArray[np.bool_]
    flag: NDArray[np.int32]
    absent_errors: tuple[str, ...]


def _column(catalog: xr.Dataset, name: str, n: int, fill: float) -> Floats:
    if name not in catalog:
        return np.full(n, fill)
    return np.asarray(catalog[name].values, dtype=np.float64)


def _keys(catalog: xr.Dataset, n: int) -> NDArray[np.uint64]:
    if "star_key" not in catalog:
        raise CatalogError(
            "the catalogue has no 'star_key', which random draws are keyed by: read it with "
            "migrate_bayes.catalog, or give each star a distinct uint64"
        )
    return np.ascontiguousarray(catalog["star_key"].values).astype(np.uint64)


def distance_from_parallax(catalog: xr.Dataset) -> bool:
    """Say whether the catalogue's distances are its own inverse parallaxes."""
    source = str(catalog["distance"].attrs.get("source", ""))
    return source.startswith("1/parallax")


def read_kinematics(catalog: xr.Dataset) -> Kinematics:
    """Gather the kinematic columns of a catalogue.

    Raises
    ------
    CatalogError
        Naming the columns that are wholly absent.
    """
    absent = [name for name in REQUIRED if name not in catalog]
    if absent:
        raise CatalogError(
            f"no orbits without the columns {', '.join(absent)}: map them, or leave out the orbits"
        )
    n = catalog.sizes["star"]
    ra, dec, pmra, pmdec, rv, distance = (_column(catalog, name, n, np.nan) for name in REQUIRED)
    flag = np.zeros(n, dtype=np.int32)
    astrometry = np.isfinite(ra) & np.isfinite(pmra) & np.isfinite(pmdec) & (np.abs(dec) <= 90)
    has_rv = np.isfinite(rv)
    has_distance = np.isfinite(distance) & (distance > 0)
    add_flag(flag, ~astrometry, StarFlag.MISSING_ASTROMETRY)
    add_flag(flag, ~has_rv, StarFlag.MISSING_RADIAL_VELOCITY)
    add_flag(flag, ~has_distance, StarFlag.BAD_DISTANCE)

    sigma = np.stack([_column(catalog, name, n, 0.0) for name in ERRORS], axis=1)
    low = _column(catalog, "distance_lo", n, np.nan)
    high = _column(catalog, "distance_hi", n, np.nan)
    if "distance_lo" not in catalog or "distance_hi" not in catalog:
        spread = np.zeros((n, 2))
    else:
        spread = np.stack([distance - low, high - distance], axis=1)
    # A zero error is exact, and only an error of a quantity that is there can be amiss.
    wrong_sigma = ~(np.isfinite(sigma) & (sigma >= 0))
    wrong_spread = ~(np.isfinite(spread) & (spread >= 0)) & has_distance[:, None]
    usable = astrometry & has_rv & has_distance
    add_flag(
        flag, usable & (wrong_sigma.any(1) | wrong_spread.any(1)), StarFlag.UNKNOWN_KINEMATIC_ERROR
    )
    sigma[wrong_sigma] = 0.0
    spread[wrong_spread] = 0.0

    correlation = np.stack([_column(catalog, name, n, 0.0) for name in CORRELATIONS], axis=1)
    fifth = np.zeros((n, 4))
    if distance_from_parallax(catalog):
        columns = [_column(catalog, name, n, 0.0) for name in PARALLAX_CORRELATIONS]
        fifth = -np.stack(columns, axis=1)
    correlation = np.concatenate([correlation, fifth], axis=1)
    wrong = ~(np.abs(correlation) <= 1)
    add_flag(flag, usable & wrong.any(1), StarFlag.BAD_COVARIANCE)
    correlation[wrong.any(1)] = 0.0

    wanted = (*ERRORS, "distance_lo", "distance_hi")
    return Kinematics(
        observed=np.ascontiguousarray(np.stack([ra, dec, pmra, pmdec, distance, rv], axis=1)),
        sigma=np.ascontiguousarray(sigma),
        correlation=np.ascontiguousarray(correlation),
        distance_sd=np.ascontiguousarray(spread),
        key=_keys(catalog, n),
        usable=usable,
        flag=flag,
        absent_errors=tuple(name for name in wanted if name not in catalog),
    )
