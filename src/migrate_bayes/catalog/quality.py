"""Quality of a catalogue: flags of missing values, cuts, repeat observations and distances.

A star that lacks something keeps its row and gets a flag, so that a looser cut needs no second run;
a catalogue that lacks a column altogether is an error of the stage that needs it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import REQUIRED, attributes
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag

SNR_BANDS = ("snr_g", "snr_r", "snr_i")
# arcsec: above any proper motion between two surveys, below the distance of two stars.
_SAME_PLACE = 5.0

Floats = NDArray[np.float64]

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


def add_distances(catalog: xr.Dataset) -> xr.Dataset:
    """Check a catalogue's distances, or derive them from the parallax.

    A given distance (kpc) must be positive, and its percentiles (if given) must lie on its two
    sides; otherwise all three become NaN. Without distances, d = 1/parallax for stars with
    parallax/error above 10, for which the inverse is nearly unbiased; the percentiles are
    1/(parallax ± error), exactly those of the inverse of a Gaussian. The parallax zero point is not
    corrected, and flags are not changed.
    """
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


def friends_of_friends(ra: Floats, dec: Floats, *, radius_arcsec: float) -> NDArray[np.int64]:
    """Label rows, at `ra` and `dec` in degrees, by the index of the first row of their group.

    A chain of links is one group: at 5 arcsec and survey densities, its rows are repeats of one
    star. A row without a position is a group by itself.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    n = len(ra)
    label = np.arange(n)
    placed = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    r, d = np.radians(ra[placed]), np.radians(dec[placed])
    xyz = np.column_stack([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)])
    chord = 2.0 * np.sin(0.5 * np.radians(radius_arcsec / 3600.0))
    # Not balanced, not compacted: several times faster to build, and as fast to search here.
    tree = cKDTree(xyz, balanced_tree=False, compact_nodes=False)
    pairs = tree.query_pairs(chord, output_type="ndarray")
    if len(pairs) == 0:
        return label
    linked = (np.ones(len(pairs), dtype=np.int8), tuple(pairs.T))
    graph = coo_array(linked, shape=(len(placed), len(placed)))
    _, component = connected_components(graph, directed=False)
    first = np.full(component.max() + 1, n)
    np.minimum.at(first, component, placed)
    label[placed] = first[component]
    return label


def total_snr(catalog: xr.Dataset) -> Floats:
    """Return the quadrature sum of the S/N in g, r, i, or else of any ``snr*`` there is."""
    bands = [name for name in SNR_BANDS if name in catalog]
    bands = bands or [str(name) for name in catalog.data_vars if str(name).startswith("snr")]
    total = np.zeros(catalog.sizes["star"])
    for band in bands:
        total += np.square(np.nan_to_num(catalog[band].values.astype(np.float64)))
    return np.sqrt(total)


def find_repeats(
    ra: Floats, dec: Floats, snr: Floats, *, radius_arcsec: float
) -> NDArray[np.bool_]:
    """Find all but the first row of highest S/N of each group, at `ra` and `dec` in degrees."""
    if not 0 < radius_arcsec <= 60.0:
        raise CatalogError(f"radius_arcsec must lie in (0, 60], not {radius_arcsec:g}")
    group = friends_of_friends(ra, dec, radius_arcsec=radius_arcsec)
    # Few stars have company: only these are sorted.
    count = np.bincount(group, minlength=len(group))
    rows = np.flatnonzero(count[group] > 1)
    # By group, then falling S/N, then row: the first of each group is the one to keep.
    rows = rows[np.lexsort((rows, -snr[rows], group[rows]))]
    repeat = np.zeros(len(group), dtype=bool)
    repeat[rows[1:][group[rows][1:] == group[rows][:-1]]] = True
    return repeat


def mark_duplicates(catalog: xr.Dataset, *, radius_arcsec: float = 5.0) -> xr.Dataset:
    """Flag all but the best of the repeat observations of a star as ``DUPLICATE``.

    Parameters
    ----------
    catalog : xarray.Dataset
        A catalogue with ``ra`` and ``dec``.
    radius_arcsec : float
        Linking length of the groups.

    Returns
    -------
    xarray.Dataset
        With a new ``flag``. The row kept has the highest S/N, the quadrature sum over g, r and i
        (over any ``snr*`` column if these are absent); of equals, the first row.

    Raises
    ------
    CatalogError
        Without positions, or for a radius that is no angle between 0 and an arcminute.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes import mark_duplicates
    >>> stars = xr.Dataset({
    ...     "ra": ("star", [10.0, 10.0001, 20.0]), "dec": ("star", [5.0, 5.0, 5.0]),
    ...     "snr_g": ("star", [40.0, 90.0, 60.0]), "flag": ("star", np.zeros(3, dtype=np.int32)),
    ... })
    >>> mark_duplicates(stars)["flag"].values.tolist()
    [128, 0, 0]
    """
    if "ra" not in catalog or "dec" not in catalog:
        raise CatalogError(
            "cannot look for duplicates: the catalogue has no ra and dec; map these columns"
        )
    repeat = find_repeats(
        catalog["ra"].values, catalog["dec"].values, total_snr(catalog), radius_arcsec=radius_arcsec
    )
    return with_flag(catalog, repeat, StarFlag.DUPLICATE)


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
