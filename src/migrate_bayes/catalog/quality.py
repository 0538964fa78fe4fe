"""Quality of a catalogue: cuts and repeat observations, each a flag of the rows that it takes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.measured import with_flag
from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import CUT, StarFlag, are_skipped
from migrate_bayes.core.units import number

SNR_BANDS = ("snr_g", "snr_r", "snr_i", "snr")
Floats = NDArray[np.float64]


def quality_cuts(catalog: xr.Dataset, *, min_snr: float | None = 50.0) -> xr.Dataset:
    """Flag ``LOW_SNR`` if the signal-to-noise ratio is below the cut in any band that there is.

    Parameters
    ----------
    catalog : xarray.Dataset
        A catalogue, with ``snr_g``, ``snr_r``, ``snr_i``, ``snr`` (of the whole spectrum) or
        some of them. Without any nothing is flagged.
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
    catalog = as_catalog(catalog)
    bands = [band for band in SNR_BANDS if band in catalog]
    low = np.zeros(catalog.sizes["star"], dtype=bool)
    min_snr = None if min_snr is None else number(min_snr, "", "min_snr")
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
    max_age_error = number(max_age_error, "", "max_age_error")
    if not 0.0 < max_age_error <= 10.0:
        raise CatalogError(
            f"max_age_error is a fraction of the age, as 0.25, not {max_age_error:g}"
        )
    if not isinstance(stars, xr.Dataset) or "star" not in stars.dims or "flag" not in stars:
        stars = as_catalog(stars)
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
    poor = ~(error <= max_age_error) & ~are_skipped(stars)
    return with_flag(stars, poor, StarFlag.POOR_AGE)


def cut_anew(stars: xr.Dataset, cuts: Mapping[str, Any]) -> xr.Dataset:
    """Return stars, with ages, whose flags are those of other cuts of ``[data]``, by entry.

    Stars that were skipped have no ages: a `CatalogError` is raised if the other cuts take some.
    """
    none = np.zeros(stars.sizes["star"], dtype=bool)
    if "min_snr" in cuts:
        stars = quality_cuts(stars, min_snr=cuts["min_snr"])
    if "survey_flags" in cuts:
        cut = cuts["survey_flags"] == "cut" and "survey_flag" in stars
        doubted = stars["survey_flag"].values > 0 if cut else none
        stars = with_flag(stars, doubted, StarFlag.SURVEY_FLAG)
    if "max_age_error" in cuts:
        limit = cuts["max_age_error"]
        stars = with_flag(stars, none, StarFlag.POOR_AGE)
        stars = stars if limit is None else flag_age_error(stars, max_age_error=limit)
    if "duplicate_radius" in cuts:
        radius = cuts["duplicate_radius"]
        stars = with_flag(stars, none, StarFlag.DUPLICATE)
        stars = stars if radius is None else mark_duplicates(stars, radius_arcsec=radius)
    lost = are_skipped(stars) & (stars["flag"].values & np.int32(CUT) == 0)
    if lost.any():
        raise CatalogError(
            f"{lost.sum():,} stars that the other cuts take were skipped, and have no ages: run "
            "again with [data] skip_cut = false"
        )
    return stars


# Rows in a cell above which its pairs are not all listed: their number grows as its square.
_CROWD = 64
_CELLS = np.array(list(itertools.product(range(-2, 3), repeat=3)))


def _links(xyz: Floats, chord: float) -> NDArray[np.int64]:
    """Return pairs of rows within `chord`: all, but in crowds no more than link them.

    Rows in a cell whose diagonal is `chord` are linked by a chain. A crowded cell and another cell
    near it are linked by the nearest pair of rows, if that is near enough.
    """
    from scipy.spatial import cKDTree

    def pairs_of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        # Not balanced, not compacted: several times faster to build, and as fast to search here.
        tree = cKDTree(xyz[rows], balanced_tree=False, compact_nodes=False)
        return rows[tree.query_pairs(chord, output_type="ndarray")]

    cell = np.floor(xyz / (0.999 * chord / np.sqrt(3.0))).astype(np.int64)
    steps = np.array([1 << 42, 1 << 21, 1])
    key = cell @ steps
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.r_[True, key[order][1:] != key[order][:-1]]) if len(key) else order
    counts = np.diff(np.r_[starts, len(key)])
    if len(key) == 0 or counts.max() <= _CROWD:
        return pairs_of(np.arange(len(key)))
    rows_of = {int(key[order[s]]): order[s : s + c] for s, c in zip(starts, counts, strict=True)}
    crowds = {k for k, rows in rows_of.items() if len(rows) > _CROWD}
    found = [pairs_of(np.flatnonzero(~np.isin(key, list(crowds))))]
    near = np.nextafter(chord, np.inf)
    for crowd in crowds:
        rows = rows_of[crowd]
        found.append(np.column_stack([rows[:-1], rows[1:]]))
        tree = cKDTree(xyz[rows])
        for other in (crowd + _CELLS @ steps).tolist():
            theirs = rows_of.get(other)
            if theirs is None or other == crowd or (other in crowds and other < crowd):
                continue
            # Of a sparse cell each row may be the only link of others to the crowd.
            distance, nearest = tree.query(xyz[theirs], distance_upper_bound=near)
            linked = np.flatnonzero(np.isfinite(distance))
            linked = linked[:1] if other in crowds else linked
            found.append(np.column_stack([rows[nearest[linked]], theirs[linked]]))
    return np.concatenate(found)


_STRIP = 1 << 18
"""Rows in which pairs are looked for at a time, so that memory does not grow with the survey."""


def _pairs(ra: Floats, dec: Floats, radius_arcsec: float) -> NDArray[np.int64]:
    """Return pairs of rows that link all groups, strip by strip in declination."""
    order = np.argsort(dec)  # NaN is last
    end = int(np.isfinite(dec).sum())
    # A strip reaches beyond its last row as far as a pair can.
    reach = 1.001 * radius_arcsec / 3600.0
    chord = 2.0 * np.sin(0.5 * np.radians(radius_arcsec / 3600.0))
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, end, _STRIP):
        last = dec[order[min(start + _STRIP, end) - 1]]
        stop = int(np.searchsorted(dec, last + reach, side="right", sorter=order))
        rows = order[start : min(stop, end)]
        rows = rows[np.isfinite(ra[rows])]
        r, d = np.radians(ra[rows]), np.radians(dec[rows])
        xyz = np.column_stack([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)])
        found.append(rows[_links(xyz, chord)])
    return np.concatenate(found)


def _groups(
    ra: Floats, dec: Floats, radius_arcsec: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that have company, and for each of them the first row of its group."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = _pairs(ra, dec, radius_arcsec)
    company = np.zeros(len(ra), dtype=bool)
    company[pairs.ravel()] = True
    rows = np.flatnonzero(company)
    places = tuple(np.searchsorted(rows, end).astype(np.int32) for end in pairs.T)
    linked = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((linked, places), shape=(rows.size, rows.size))
    _, component = connected_components(graph, directed=False)
    _, first = np.unique(component, return_index=True)
    return rows, rows[first[component]]


def friends_of_friends(ra: Floats, dec: Floats, *, radius_arcsec: float) -> NDArray[np.int64]:
    """Label rows, at `ra` and `dec` in degrees, by the index of the first row of their group.

    A chain of links is one group: at 5 arcsec and survey densities, its rows are repeats of one
    star. A row without a position is a group by itself.
    """
    label = np.arange(len(ra))
    rows, first = _groups(ra, dec, radius_arcsec)
    label[rows] = first
    return label


def total_snr(catalog: xr.Dataset) -> Floats:
    """Return the quadrature sum of the S/N in g, r, i, or else of any ``snr*`` there is."""
    bands = [name for name in SNR_BANDS[:3] if name in catalog]
    bands = bands or [str(name) for name in catalog.data_vars if str(name).startswith("snr")]
    total = np.zeros(catalog.sizes["star"])
    for band in bands:
        total += np.square(np.nan_to_num(catalog[band].values.astype(np.float64)))
    return np.sqrt(total)


def find_repeats(
    ra: Floats, dec: Floats, snr: Floats, *, radius_arcsec: float
) -> NDArray[np.bool_]:
    """Find all but the first row of highest S/N of each group, at `ra` and `dec` in degrees."""
    radius_arcsec = number(radius_arcsec, "arcsec", "radius_arcsec")
    if not 0 < radius_arcsec <= 60.0:
        raise CatalogError(f"radius_arcsec must lie in (0, 60], not {radius_arcsec:g}")
    rows, group = _groups(ra, dec, radius_arcsec)
    # By group, then falling S/N, then row: the first of each group is the one to keep.
    order = np.lexsort((rows, -snr[rows], group))
    rows, group = rows[order], group[order]
    repeat = np.zeros(len(ra), dtype=bool)
    repeat[rows[1:][group[1:] == group[:-1]]] = True
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
    catalog = as_catalog(catalog)
    if "ra" not in catalog or "dec" not in catalog:
        raise CatalogError(
            "cannot look for duplicates: the catalogue has no ra and dec; map these columns"
        )
    repeat = find_repeats(
        catalog["ra"].values, catalog["dec"].values, total_snr(catalog), radius_arcsec=radius_arcsec
    )
    return with_flag(catalog, repeat, StarFlag.DUPLICATE)
