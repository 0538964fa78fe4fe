"""What can be wrong with a catalogue: flags for single stars, errors for whole files.

A star that lacks something keeps its row and gets a flag; a file that lacks something whole, or
gives one name to two stars, is an error.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import REQUIRED, attributes
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag

__all__ = [
    "check_identifiers",
    "flag_external_ages",
    "flag_measurements",
    "separation_arcsec",
    "validate_required",
]

_SPECTRUM = ("teff", "logg", "feh")


def _missing(catalog: xr.Dataset, name: str) -> NDArray[np.bool_]:
    if name not in catalog:
        return np.ones(catalog.sizes["star"], dtype=bool)
    return ~np.isfinite(catalog[name].values)


def _unusable_error(catalog: xr.Dataset, name: str) -> NDArray[np.bool_]:
    error = f"{name}_error"
    if error not in catalog or name not in catalog:
        return np.zeros(catalog.sizes["star"], dtype=bool)
    values = catalog[error].values
    return np.isfinite(catalog[name].values) & ~(np.isfinite(values) & (values > 0))


def flag_measurements(catalog: xr.Dataset) -> NDArray[np.int32]:
    """Flag what each star lacks.

    ``BAD_ERROR`` is about T_eff, log g, [Fe/H] and [alpha/Fe], since it costs the star its age. A
    star whose proper motion or radial velocity has no finite error cannot be drawn from, and gets
    ``MISSING_ASTROMETRY`` or ``MISSING_RADIAL_VELOCITY``. A column that the file lacks altogether
    flags every star, an error column that it lacks flags none (`validate_required` sees to it).

    Parameters
    ----------
    catalog : xarray.Dataset
        A catalogue on dim ``star``.

    Returns
    -------
    array of int32
        The flags, those already in the catalogue included.
    """
    n = catalog.sizes["star"]
    flag = catalog["flag"].values.copy() if "flag" in catalog else np.zeros(n, dtype=np.int32)
    for name in _SPECTRUM:
        add_flag(flag, _missing(catalog, name), StarFlag.MISSING_PARAMETERS)
    for name in (*_SPECTRUM, "alpha_fe"):
        add_flag(flag, _unusable_error(catalog, name), StarFlag.BAD_ERROR)
    for name in ("ra", "dec", "pmra", "pmdec"):
        add_flag(flag, _missing(catalog, name), StarFlag.MISSING_ASTROMETRY)
    for name in ("pmra", "pmdec"):
        if f"{name}_error" in catalog:
            lost = _missing(catalog, f"{name}_error")
            add_flag(flag, lost, StarFlag.MISSING_ASTROMETRY)
    add_flag(flag, _missing(catalog, "radial_velocity"), StarFlag.MISSING_RADIAL_VELOCITY)
    if "radial_velocity_error" in catalog:
        lost = _missing(catalog, "radial_velocity_error")
        add_flag(flag, lost, StarFlag.MISSING_RADIAL_VELOCITY)
    add_flag(flag, _missing(catalog, "distance"), StarFlag.BAD_DISTANCE)
    magnitude = "abs_g" if "abs_g" in catalog else "phot_g_mean_mag"
    add_flag(flag, _missing(catalog, magnitude), StarFlag.MISSING_PHOTOMETRY)
    return flag


def flag_external_ages(catalog: xr.Dataset) -> xr.Dataset:
    """Flag ``MISSING_AGE`` where a star has no external age, for runs that use these ages.

    Raises
    ------
    CatalogError
        Where the catalogue has no column ``age`` at all.
    """
    validate_required(catalog, needs="external_ages")
    flag = catalog["flag"].values.copy()
    add_flag(flag, ~(catalog["age"].values > 0), StarFlag.MISSING_AGE)
    return catalog.assign(flag=("star", flag, attributes("flag")))


def validate_required(catalog: xr.Dataset, needs: str = "ages") -> None:
    """Check that a catalogue has the columns that a stage needs.

    Parameters
    ----------
    catalog : xarray.Dataset
        A catalogue.
    needs : {"ages", "orbits", "photometry", "external_ages"}
        The stage.

    Raises
    ------
    CatalogError
        Naming every missing column, and for the first the nearest that is there.
    """
    if needs not in REQUIRED:
        raise CatalogError(f"no stage '{needs}': {suggest(needs, REQUIRED)}")
    lacking = [name for name in REQUIRED[needs] if name not in catalog]
    if lacking:
        there = [str(name) for name in catalog.data_vars if name not in ("flag", "star_key")]
        raise CatalogError(
            f"the catalogue has no {', '.join(lacking)}, needed for {needs.replace('_', ' ')}. "
            f"For '{lacking[0]}': {suggest(lacking[0], there)}"
        )


def separation_arcsec(
    ra1: NDArray[np.float64],
    dec1: NDArray[np.float64],
    ra2: NDArray[np.float64],
    dec2: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the angle between positions in degrees, by the haversine formula (exact if small)."""
    r1, d1, r2, d2 = (np.radians(a) for a in (ra1, dec1, ra2, dec2))
    h = np.sin((d2 - d1) / 2) ** 2 + np.cos(d1) * np.cos(d2) * np.sin((r2 - r1) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.minimum(h, 1.0)))) * 3600.0


def check_identifiers(
    star_key: NDArray[np.uint64],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    *,
    file: str,
    names: Callable[[NDArray[np.uint64]], list[str]],
    radius_arcsec: float = 5.0,
) -> None:
    """Check that one identifier is one star: its rows lie within `radius_arcsec` of each other.

    Parameters
    ----------
    star_key, ra, dec : array, shape (star,)
        Hash of the identifier, and position in degrees.
    file : str
        Named in the error.
    names : callable
        Gives the identifiers of some keys, for the error.
    radius_arcsec : float
        Above any proper motion between two surveys, below any two stars.

    Raises
    ------
    CatalogError
        Naming the identifiers that stand for two places on the sky.
    """
    order = np.argsort(star_key, kind="stable")
    keys = star_key[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    lengths = np.diff(np.r_[starts, keys.size])
    several = lengths > 1
    if not several.any():
        return
    rows = order[np.repeat(several, lengths)]
    first = order[np.repeat(starts[several], lengths[several])]
    apart = separation_arcsec(ra[first], dec[first], ra[rows], dec[rows])
    wrong = apart > radius_arcsec
    if wrong.any():
        found = names(np.unique(star_key[first[wrong]]))
        worst = float(np.nanmax(apart))
        raise CatalogError(
            f"{file}: {len(found)} identifiers stand for stars more than {radius_arcsec:g} arcsec "
            f"apart (up to {worst:.0f}): {', '.join(found[:5])}"
            f"{', ...' if len(found) > 5 else ''}. "
            "Map another column to source_id, or mend the cross-match"
        )
