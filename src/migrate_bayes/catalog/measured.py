"""What each row lacks and what follows from it alone: flags, distances; and identifiers.

A star that lacks something keeps its row and gets a flag, so that a looser cut needs no second run;
a catalogue that lacks a column altogether is an error of the stage that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import REQUIRED, SYMMETRIC, attributes
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag

Floats = NDArray[np.float64]

# arcsec: above any proper motion between two surveys, below the distance of two stars.
_SAME_PLACE = 5.0
LEAST_ERROR = 1e-7  # K or dex: nothing is known as well
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
    values = {str(n): v.values for n, v in catalog.data_vars.items() if v.dims == ("star",)}
    return flags_of(values, catalog.sizes["star"])


def flags_of(
    values: Mapping[str, NDArray[Any]], n: int, complete: Container[str] = ()
) -> NDArray[np.int32]:
    """Return what `flag_measurements` does of `n` rows; columns of `complete` are finite."""
    flag = np.zeros(n, dtype=np.int32)
    if "flag" in values:
        flag[:] = values["flag"]

    def add(unknown: NDArray[np.bool_] | None, reason: StarFlag) -> None:
        if unknown is not None and unknown.any():
            add_flag(flag, unknown, reason)

    def unknown(name: str) -> NDArray[np.bool_] | None:
        """Return which values are not known; None if all are."""
        if name in values:
            return None if name in complete else ~np.isfinite(values[name])
        return np.ones(n, dtype=bool)

    for reason, names in _NEEDED.items():
        for name in names:
            add(unknown(name), reason)
    for reason, names in _NEEDED_ERRORS.items():
        for name in set(names) & set(values):
            add(unknown(name), reason)
    for name in (*_SPECTRUM, "alpha_fe"):
        error = f"{name}_error"
        if error in values and name in values:
            bad = ~((values[error] > LEAST_ERROR) & (values[error] < np.inf))
            if bad.any():
                add_flag(flag, bad & np.isfinite(values[name]), StarFlag.BAD_ERROR)
    if "survey_flag" in values:
        add(values["survey_flag"] > 0, StarFlag.SURVEY_FLAG)
    magnitude = "abs_g" if "abs_g" in values else "phot_g_mean_mag"
    add(unknown(magnitude), StarFlag.MISSING_PHOTOMETRY)
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
            f"{substitutes(lacking)}For '{lacking[0]}': {suggest(lacking[0], there)}"
        )


def substitutes(lacking: Container[str]) -> str:
    """Say which other columns would make those that lack; nothing if none would."""
    said = ""
    if "distance" in lacking:
        said += "A parallax with parallax_error makes distance and its percentiles. "
    for name, error in SYMMETRIC.items():
        if f"{name}_lo" in lacking or f"{name}_hi" in lacking:
            said += f"{error}, a standard error, makes {name}_lo and {name}_hi. "
    return said


def add_distances(catalog: xr.Dataset) -> xr.Dataset:
    """Check a catalogue's distances, or derive them from the parallax.

    A given distance (kpc) must be positive, and its percentiles (if given) must lie on its two
    sides; otherwise all three become NaN. A symmetric ``distance_error`` makes percentiles that are
    not given, and is not kept (nor is ``age_error``). Without distances, d = 1/parallax for stars
    with parallax/error above 10, for which the inverse is nearly unbiased; the percentiles are
    1/(parallax ± error), exactly those of the inverse of a Gaussian. The parallax zero point is not
    corrected, and flags are not changed.
    """
    values = {str(n): v.values for n, v in catalog.data_vars.items() if v.dims == ("star",)}
    before = dict(values)
    source = complete_distances(values)
    catalog = catalog.drop_vars(set(before) - set(values))
    said = {} if source is None else {"source": source}
    changed = {n: v for n, v in values.items() if v is not before.get(n)}
    return catalog.assign({
        n: ("star", v, catalog[n].attrs if n in catalog else attributes(n) | said)
        for n, v in changed.items()
    })  # fmt: skip


def complete_distances(values: dict[str, NDArray[Any]]) -> str | None:
    """Do what `add_distances` does to columns by name; return where derived distances are from."""
    for name, its_error in SYMMETRIC.items():
        if its_error not in values:
            continue
        width, ends = values.pop(its_error), (f"{name}_lo", f"{name}_hi")
        if name in values and not set(ends) & set(values):
            middle = values[name]
            values |= dict(zip(ends, (middle - width, middle + width), strict=True))
    names = ("distance", "distance_lo", "distance_hi")
    if "distance" in values:
        d = values["distance"]
        lo, hi = (values.get(name, d) for name in names[1:])
        good = (d > 0) & (lo > 0) & (lo <= d) & (hi < np.inf) & (hi >= d)
        if not good.all():
            values |= {n: np.where(good, values[n], np.nan) for n in names if n in values}
        return None
    if "parallax" not in values or "parallax_error" not in values:
        return None
    plx, error = values["parallax"], values["parallax_error"]
    least = 10.0
    with np.errstate(divide="ignore", invalid="ignore"):
        good = (error > 0) & (plx > least * error)
        for name, sign in zip(names, (0, 1, -1), strict=True):
            values[name] = np.where(good, 1.0 / (plx + sign * error), np.nan)
    return f"1/parallax where parallax/error > {least:g}, no zero-point shift"


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
    ordered = np.sort(star_key)
    same = ordered[1:] == ordered[:-1]
    if not same.any():
        return
    # Few identifiers stand twice: only their rows are compared, in the order of the file.
    some = np.sort(np.argsort(star_key)[np.r_[same, False] | np.r_[False, same]])
    star_key, ra, dec = star_key[some], ra[some], dec[some]
    order = np.argsort(star_key, kind="stable")
    keys = star_key[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    lengths = np.diff(np.r_[starts, keys.size])
    rows, first = order, order[np.repeat(starts, lengths)]
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
