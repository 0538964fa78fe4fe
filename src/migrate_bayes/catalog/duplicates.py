"""Repeat observations of one star, found on the sky.

Rows closer than a radius are linked, and linked rows form groups (friends of friends: a chain is
one group; at 5 arcsec and survey densities chains are repeats of one star). Positions are unit
vectors in a k-d tree, so neither the poles nor RA = 0 are special; the cost is O(N log N).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import attributes
from migrate_bayes.catalog.cuts import SNR_BANDS
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag

__all__ = ["find_repeats", "friends_of_friends", "mark_duplicates", "total_snr"]


def friends_of_friends(
    ra: NDArray[np.float64], dec: NDArray[np.float64], *, radius_arcsec: float
) -> NDArray[np.int64]:
    """Label rows by group.

    Parameters
    ----------
    ra, dec : array, shape (n,)
        Degrees. A row without a position is a group of its own.
    radius_arcsec : float
        Linking length.

    Returns
    -------
    array of int, shape (n,)
        The index of the first row of each row's group.
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


def total_snr(catalog: xr.Dataset) -> NDArray[np.float64]:
    """Signal-to-noise ratio: the quadrature sum over g, r, i, or over any ``snr*`` there is."""
    bands = [name for name in SNR_BANDS if name in catalog]
    if not bands:
        bands = [str(name) for name in catalog.data_vars if str(name).startswith("snr")]
    total = np.zeros(catalog.sizes["star"])
    for band in bands:
        total += np.square(np.nan_to_num(catalog[band].values.astype(np.float64)))
    return np.sqrt(total)


def find_repeats(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    snr: NDArray[np.float64],
    *,
    radius_arcsec: float,
) -> NDArray[np.bool_]:
    """Find all but the best of the repeat observations of each star.

    Parameters
    ----------
    ra, dec : array, shape (star,)
        Degrees; NaN where unknown.
    snr : array, shape (star,)
        The row of each group with the highest stays; of equals, the first.
    radius_arcsec : float
        Linking length.

    Returns
    -------
    array of bool, shape (star,)

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
        (over any ``snr*`` column where these are absent); of equals, the first row.

    Raises
    ------
    CatalogError
        Without positions, or for a radius that is no angle between 0 and an arcminute.
    """
    if "ra" not in catalog or "dec" not in catalog:
        raise CatalogError("cannot look for duplicates: the catalogue has no ra and dec")
    repeat = find_repeats(
        catalog["ra"].values, catalog["dec"].values, total_snr(catalog), radius_arcsec=radius_arcsec
    )
    flag = catalog["flag"].values & ~np.int32(StarFlag.DUPLICATE)
    flag[repeat] |= np.int32(StarFlag.DUPLICATE)
    return catalog.assign(flag=("star", flag, catalog["flag"].attrs or attributes("flag")))
