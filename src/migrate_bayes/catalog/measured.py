"""What each row lacks and what follows from it alone: flags, distances; and identifiers.

A star that lacks something keeps its row and gets a flag, so that a looser cut needs no second run;
a catalogue that lacks a column altogether is an error of the stage that needs it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import REQUIRED, SYMMETRIC, attributes
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag

Floats = NDArray[np.float64]

# arcsec: above any proper motion between two surveys, below the distance of two stars.
_SAME_PLACE = 5.0
_SPECTRUM = ("teff", "logg", "feh")
# Columns whose missing value sets a flag; a column that the file lacks counts too.
_NEEDED = {
    StarFlag.MISSING_PARAMETERS: _SPECTRUM,
    StarFlag.MISSING_ASTROMETRY: ("ra", "dec", "pmra", "pmdec"),
    StarFlag.MISSING_RADIAL_VELOCITY: ("radial_velocity",),
    StarFlag.BAD_DISTANCE: ("distance",),
}
# Errors that Monte-Carlo draws need to be finite, if the file has the column.
_NEEDED_ERRORS = {
    StarFlag.MISSING_ASTROMETRY: ("pmra_error", "pmdec_error"),
    StarFlag.MISSING_RADIAL_VELOCITY: ("radial_velocity_error",),
}


def flag_measurements(catalog: xr.Dataset) -> NDArray[np.int32]:
    """Return the flags of what each star lacks, beside those already in the catalogue.

    ``BAD_ERROR`` is about T_eff, log g, [Fe/H] and [alpha/Fe], since it costs the star its age. A
    column that the file lacks altogether flags every star, an error column that it lacks flags none
    (`validate_required` sees to it).
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
            good = known(error) & (catalog[error].values > 0)
            add_flag(flag, known(name) & ~good, StarFlag.BAD_ERROR)
    if "survey_flag" in catalog:
        add_flag(flag, catalog["survey_flag"].values > 0, StarFlag.SURVEY_FLAG)
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


def add_distances(catalog: xr.Dataset) -> xr.Dataset:
    """Check a catalogue's distances, or derive them from the parallax.

    A given distance (kpc) must be positive, and its percentiles (if given) must lie on its two
    sides; otherwise all three become NaN. A symmetric ``distance_error`` makes percentiles that are
    not given, and is not kept (nor is ``age_error``). Without distances, d = 1/parallax for stars
    with parallax/error above 10, for which the inverse is nearly unbiased; the percentiles are
    1/(parallax ± error), exactly those of the inverse of a Gaussian. The parallax zero point is not
    corrected, and flags are not changed.
    """
    for name, its_error in SYMMETRIC.items():
        if its_error not in catalog:
            continue
        ends = (f"{name}_lo", f"{name}_hi")
        if name in catalog and not set(ends) & set(catalog):
            value, width = catalog[name].values, catalog[its_error].values
            made = dict(zip(ends, (value - width, value + width), strict=True))
            catalog = catalog.assign({n: ("star", v, attributes(n)) for n, v in made.items()})
        catalog = catalog.drop_vars(its_error)
    names = ("distance", "distance_lo", "distance_hi")
    if "distance" in catalog:
        given = {name: catalog[name] for name in names if name in catalog}
        d = given["distance"].values
        lo, hi = (given[name].values if name in given else d for name in names[1:])
        good = (d > 0) & (lo > 0) & (lo <= d) & np.isfinite(hi) & (hi >= d)
        return catalog.assign(
            {n: ("star", np.where(good, x.values, np.nan), x.attrs) for n, x in given.items()}
        )
    if "parallax" not in catalog or "parallax_error" not in catalog:
        return catalog
    plx, error = catalog["parallax"].values, catalog["parallax_error"].values
    least = 10.0
    source = f"1/parallax where parallax/error > {least:g}, no zero-point shift"
    with np.errstate(divide="ignore", invalid="ignore"):
        good = (error > 0) & (plx > least * error)
        values = [np.where(good, 1.0 / (plx + sign * error), np.nan) for sign in (0, 1, -1)]
    found = zip(names, values, strict=True)
    return catalog.assign({n: ("star", v, attributes(n) | {"source": source}) for n, v in found})


def separation_arcsec(ra1: Floats, dec1: Floats, ra2: Floats, dec2: Floats) -> Floats:
    """Return the angle between positions in degrees, by the haversine formula (exact if small)."""
    r1, d1, r2, d2 = (np.radians(a) for a in (ra1, dec1, ra2, dec2))
    h = np.sin((d2 - d1) / 2) ** 2 + np.cos(d1) * np.cos(d2) * np.sin((r2 - r1) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.minimum(h, 1.0)))) * 3600.0


def check_identifiers(
    star_key: NDArray[np.uint64],
    ra: Floats,
    dec: Floats,
    *,
    file: str,
    names: Callable[[NDArray[np.uint64]], list[str]],
) -> None:
    """Refuse an identifier whose rows (ra, dec in degrees) lie apart; `names` makes it of a key."""
    order = np.argsort(star_key, kind="stable")
    keys = star_key[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    lengths = np.diff(np.r_[starts, keys.size])
    several = lengths > 1
    rows = order[np.repeat(several, lengths)]
    first = order[np.repeat(starts[several], lengths[several])]
    apart = separation_arcsec(ra[first], dec[first], ra[rows], dec[rows])
    wrong = apart > _SAME_PLACE
    if wrong.any():
        found = names(np.unique(star_key[first[wrong]]))
        raise CatalogError(
            f"{file}: {len(found)} identifiers stand for stars more than {_SAME_PLACE:g} arcsec "
            f"apart (up to {np.nanmax(apart):.0f}): {', '.join(found[:5])}"
            f"{', ...' if len(found) > 5 else ''}. "
            "Map another column to source_id, or mend the cross-match"
        )
