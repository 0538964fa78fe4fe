"""One star, one place on the sky: repeat observations, and identifiers that stand for two stars.

Rows closer than a radius are linked, and linked rows form groups (friends of friends: a chain is
one group; at 5 arcsec and survey densities chains are repeats of one star). Positions are unit
vectors in a k-d tree, so neither the poles nor RA = 0 are special; the cost is O(N log N).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.quality import SNR_BANDS, with_flag
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag

Floats = NDArray[np.float64]


def friends_of_friends(ra: Floats, dec: Floats, *, radius_arcsec: float) -> NDArray[np.int64]:
    """Label rows, at `ra` and `dec` in degrees, by the index of the first row of their group.

    A row without a position is a group of its own.
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
    graph = coo_array(
        (np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])),
        shape=(len(placed), len(placed)),
    )
    _, component = connected_components(graph, directed=False)
    first = np.full(component.max() + 1, n)
    np.minimum.at(first, component, placed)
    label[placed] = first[component]
    return label


def total_snr(catalog: xr.Dataset) -> Floats:
    """Return the quadrature sum of the S/N in g, r, i, or else of any ``snr*`` there is."""
    bands = [name for name in SNR_BANDS if name in catalog]
    if not bands:
        bands = [str(name) for name in catalog.data_vars if str(name).startswith("snr")]
    total = np.zeros(catalog.sizes["star"])
    for band in bands:
        total += np.square(np.nan_to_num(catalog[band].values.astype(np.float64)))
    return np.sqrt(total)


def find_repeats(
    ra: Floats, dec: Floats, snr: Floats, *, radius_arcsec: float
) -> NDArray[np.bool_]:
    """Find all but the best of the repeat observations of each star, in degrees on the sky.

    The row of each group with the highest S/N stays; of equals, the first.

    Raises
    ------
    CatalogError
        For a radius that is no angle between 0 and an arcminute.
    """
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
        raise CatalogError("cannot look for duplicates: the catalogue has no ra and dec")
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
    radius_arcsec: float = 5.0,
) -> None:
    """Check that the rows of one identifier lie within `radius_arcsec`, or name those that do not.

    The radius is above any proper motion between two surveys and below the distance of two stars;
    ``names(keys)`` gives the identifiers for the error.
    """
    order = np.argsort(star_key, kind="stable")
    keys = star_key[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    lengths = np.diff(np.r_[starts, keys.size])
    several = lengths > 1
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
