"""Read tables of the share of stars that a survey takes (`shares`), from FITS, NetCDF or text."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.places import expand
from migrate_bayes.inject.completeness_options import ShareOptions
from migrate_bayes.inject.shares import (
    BANDS,
    FIELD,
    Bins,
    Everywhere,
    Fields,
    Pixels,
    Points,
    Shares,
    ShareTable,
    is_axis,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FITS = (".fits", ".fit", ".fts")
_NETCDF = (".nc", ".nc4", ".h5", ".hdf5")
_SCHEMES = {"NESTED": "nested", "NEST": "nested", "RING": "ring"}
_FRAMES = {"C": "icrs", "ICRS": "icrs", "G": "galactic", "GALACTIC": "galactic"}


def read_shares(options: Iterable[ShareOptions]) -> Shares:
    """Read the tables of a recipe; see `read_share`."""
    return Shares(tuple(read_share(one) for one in options))


def read_share(options: ShareOptions) -> ShareTable:
    """Read a table of the share of stars that a survey takes.

    Parameters
    ----------
    options : ShareOptions
        The file and what its columns are called.

    Returns
    -------
    ShareTable

    Raises
    ------
    CatalogError
        If the file cannot be read, has no axis that injected stars have, a value that is missing or
        outside of 0 to 1, or gaps; it names file, column and row.

    Examples
    --------
    >>> import tempfile
    >>> from astropy.table import Table
    >>> from migrate_bayes.inject.completeness_options import ShareOptions
    >>> from migrate_bayes.inject.share_files import read_share
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Table({"Hmag": [10.0, 13.0], "share": [0.9, 0.1]}).write(f"{folder}/h.ecsv")
    ...     table = read_share(ShareOptions(path=f"{folder}/h.ecsv", columns={"H": "Hmag"}))
    >>> table.axes
    ('H',)
    """
    path = expand(options.path)
    if not path.is_file():
        raise CatalogError(f"there is no file {options.path}")
    what = _from_netcdf if path.suffix.lower() in _NETCDF else _from_table
    try:
        return what(path, options)
    except CatalogError as error:
        raise CatalogError(f"{path}: {error}") from None


def _names(there: Iterable[str], options: ShareOptions) -> dict[str, str]:
    """Return what the file calls each axis and the share, by our names."""
    there = [str(name) for name in there]
    for ours, theirs in options.columns.items():
        if theirs not in there:
            raise CatalogError(
                f"there is no column '{theirs}' for {ours}; {suggest(theirs, there)}"
            )
        if not _known(ours):
            valid = ("share", "healpix", *FIELD, *BANDS, "BP-RP", "(J-Ks)0")
            raise CatalogError(
                f"'{ours}' is nothing that injected stars have; {suggest(ours, valid)}"
            )
    taken = set(options.columns.values())
    names = {name: name for name in there if _known(name) and name not in taken}
    names |= options.columns
    if "share" not in names:
        raise CatalogError(
            f"there is no column 'share': name it by `columns`, one of {', '.join(there)}"
        )
    return names


def _known(name: str) -> bool:
    axis = name.removesuffix("_min").removesuffix("_max")
    return name in ("share", "healpix", *FIELD) or is_axis(axis)


def _axes(names: Iterable[str]) -> list[str]:
    return [name for name in names if name not in ("share", "healpix", *FIELD)]


def _check_axes(axes: list[str], by_place: bool, there: Iterable[str]) -> None:
    if not axes and not by_place:
        raise CatalogError(
            f"no column is an axis that injected stars have, of {', '.join(map(str, there))}: they "
            f"have a place (healpix; ra, dec, radius), magnitudes in {', '.join(BANDS)} and "
            "colours of these, as BP-RP and (J-Ks)0"
        )


def _check_share(share: Floats, name: str, where: Callable[[int], str]) -> None:
    """Refuse a share that is missing or none; `where` words a place by its flat index."""
    bad = np.flatnonzero(~((share >= 0.0) & (share <= 1.0)).ravel())
    if len(bad):
        first = share.ravel()[bad[0]]
        said = "missing" if np.isnan(first) else f"{first:g}, not from 0 to 1"
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CatalogError(f"column '{name}' is {said} in {where(int(bad[0]))}{more}")
    if not share.any():
        raise CatalogError(f"column '{name}' is 0 everywhere")


def _pixels(
    number: NDArray[Any], meta: Mapping[str, Any], options: ShareOptions, name: str
) -> Pixels:
    """Return pixels of what the recipe says, or else the file, of nside, scheme and frame."""
    said = {str(key).upper(): value for key, value in meta.items()}
    nside = options.nside or said.get("NSIDE")
    if nside is None and (order := said.get("ORDER", said.get("HPXORDER"))) is not None:
        nside = 2 ** int(order)
    if nside is None and (full := (len(number) / 12) ** 0.5) == int(full):
        nside = int(full)
    scheme = options.ordering or _SCHEMES.get(str(said.get("ORDERING", "")).strip().upper())
    frame = options.frame or _FRAMES.get(str(said.get("COORDSYS", "")).strip().upper())
    for entry, key, found in (
        ("nside", "NSIDE", nside), ("ordering", "ORDERING", scheme), ("frame", "COORDSYS", frame),
    ):  # fmt: skip
        if found is None:
            raise CatalogError(
                f"the file does not say ({key}) what its pixels are: set `{entry}` of its entry in "
                "completeness.shares"
            )
    nside = int(str(nside))
    if nside < 1 or nside & (nside - 1):
        raise CatalogError(f"nside is {nside}, no power of 2")
    of_pixel = number.astype(np.int64)
    bad = np.flatnonzero((of_pixel != number) | (of_pixel < 0) | (of_pixel >= 12 * nside**2))
    if len(bad):
        raise CatalogError(
            f"column '{name}' has the pixel {number[bad[0]]:g} in row {bad[0] + 1}, which nside = "
            f"{nside} does not have"
        )
    return Pixels(of_pixel, nside, str(scheme), str(frame))


def _from_netcdf(path: Path, options: ShareOptions) -> ShareTable:
    """Read shares on the dimensions of an array."""
    try:
        with xr.open_dataset(path) as opened:
            data = opened.load()
    except (OSError, ValueError) as error:
        raise CatalogError(f"cannot be read as NetCDF: {error}") from None
    there = [str(name) for name in (*data.data_vars, *data.dims)]
    names = _names(there, options)
    array = data[names["share"]]
    ours = {theirs: name for name, theirs in names.items()}
    axes: list[str] = []
    points: list[Floats] = []
    place: Pixels | Everywhere = Everywhere()
    order: list[Any] = []
    for dim in array.dims:
        name = ours.get(str(dim))
        if name is None or name.endswith(("_min", "_max")) or name in (*FIELD, "share"):
            raise CatalogError(
                f"'{names['share']}' has the dimension {dim}, which is no axis of injected stars: "
                "name it by `columns`"
            )
        x = np.asarray(data[dim].values if dim in data.coords else np.arange(data.sizes[dim]))
        if name == "healpix":
            place = _pixels(x, data.attrs | array.attrs, options, str(dim))
            order.insert(0, (dim, np.argsort(place.number)))
            _check_unique(place.number, str(dim))
            place = Pixels(np.sort(place.number), place.nside, place.scheme, place.frame)
            continue
        if dim not in data.coords:
            raise CatalogError(f"the dimension {dim} has no values")
        _check_finite(x.astype(np.float64), str(dim))
        _check_unique(x, str(dim))
        axes.append(name)
        points.append(np.sort(x).astype(np.float64))
        order.append((dim, np.argsort(x)))
    _check_axes(axes, not isinstance(place, Everywhere), there)
    array = array.isel(dict(order)).transpose(*(dim for dim, _ in order))
    values = np.asarray(array.values, dtype=np.float64)

    def where(flat: int) -> str:
        at = np.unravel_index(flat, values.shape)
        return ", ".join(
            f"{dim} {array[dim].values[i] if dim in array.coords else i}"
            for dim, i in zip(array.dims, at, strict=True)
        )

    _check_share(values, names["share"], where)
    if isinstance(place, Everywhere):
        values = values[None]
    return ShareTable(path.name, place, tuple(axes), Points(tuple(points), values))


def _check_unique(values: NDArray[Any], name: str) -> None:
    found, counts = np.unique(values, return_counts=True)
    if (counts > 1).any():
        raise CatalogError(f"'{name}' has the value {found[counts > 1][0]} twice")


def _check_finite(values: Floats, name: str) -> None:
    if (bad := np.flatnonzero(~np.isfinite(values))).size:
        raise CatalogError(f"column '{name}' is missing in row {bad[0] + 1}")


def _from_table(path: Path, options: ShareOptions) -> ShareTable:
    """Read rows: of points, or of bins, at each place."""
    from astropy.table import Table

    fits = any(suffix.lower() in _FITS for suffix in path.suffixes)
    try:
        table = Table.read(path, format="fits" if fits else "ascii")
    except Exception as error:  # astropy raises many kinds
        kind = "FITS" if fits else "a table of text"
        raise CatalogError(f"cannot be read as {kind}: {str(error).splitlines()[0]}") from None
    names = _names(table.colnames, options)
    row = {name: _column(table, theirs) for name, theirs in names.items()}
    axes = _axes(names)
    ends = sorted({name[:-4] for name in axes if name.endswith(("_min", "_max"))})
    points = [name for name in axes if not name.endswith(("_min", "_max"))]
    by_place = "healpix" in names or set(FIELD) <= set(names)
    if some := [name for name in FIELD if name in names and not set(FIELD) <= set(names)]:
        raise CatalogError(f"a field has ra, dec and radius; there is {', '.join(some)} alone")
    _check_axes(axes, by_place, table.colnames)
    if "healpix" in names and "ra" in names:
        raise CatalogError("rows have pixels and fields both: leave one of them out")
    for axis, end in itertools.product(ends, ("_min", "_max")):
        if axis + end not in names:
            raise CatalogError(f"a bin of {axis} has {axis}_min and {axis}_max; {axis}{end} lacks")
    if ends and points:
        raise CatalogError(
            f"{', '.join(ends)} has bins and {', '.join(points)} points: give bins of all"
        )
    _check_share(row["share"], names["share"], lambda i: f"row {i + 1}")
    for name in names:
        if name != "share":
            _check_finite(row[name], names[name])
    place, cell = _places(row, names, table.meta, options)
    if ends:
        return ShareTable(path.name, place, tuple(ends), _bins(row, ends, cell))
    return ShareTable(path.name, place, tuple(points), _grid(row, points, cell))


def _column(table: Any, name: str) -> Floats:
    column = table[name]
    try:
        values = np.ma.asarray(column, dtype=np.float64).filled(np.nan)
    except (TypeError, ValueError):
        raise CatalogError(f"column '{name}' holds no numbers") from None
    return np.asarray(values).ravel()


def _places(
    row: Mapping[str, Floats], names: Mapping[str, str], meta: Mapping[str, Any],
    options: ShareOptions,
) -> tuple[Pixels | Fields | Everywhere, Ints]:  # fmt: skip
    """Return the places of a table and, of each row, which it is of."""
    if "healpix" in row:
        every = _pixels(row["healpix"], meta, options, names["healpix"])
        number, cell = np.unique(every.number, return_inverse=True)
        return Pixels(number, every.nside, every.scheme, every.frame), cell
    if "ra" in row:
        for name, low, high in (("ra", -360, 360), ("dec", -90, 90), ("radius", 0, 180)):
            bad = np.flatnonzero(~((row[name] >= low) & (row[name] <= high)))
            if len(bad):
                raise CatalogError(
                    f"column '{names[name]}' is {row[name][bad[0]]:g} in row {bad[0] + 1}, not "
                    f"from {low} to {high} deg"
                )
        every_field = np.column_stack([row[name] for name in FIELD])
        fields, cell = np.unique(every_field, axis=0, return_inverse=True)
        return Fields.of(*fields.T), cell
    return Everywhere(), np.zeros(len(row["share"]), dtype=np.int64)


def _refuse_twice(keys: Floats, what: str) -> None:
    """Refuse two rows that are alike: an axis of the file is then none of the recipe's."""
    _, first, cell = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[cell] != np.arange(len(cell)))
    if len(again):
        i = again[0]
        raise CatalogError(
            f"rows {first[cell[i]] + 1} and {i + 1} are of the same {what}: does the table have an "
            "axis that is not named?"
        )


def _bins(row: Mapping[str, Floats], axes: list[str], cell: Ints) -> Bins:
    low, high = (np.column_stack([row[axis + end] for axis in axes]) for end in ("_min", "_max"))
    wrong = np.argwhere(low > high)  # of APOGEE, a cohort without stars has equal ends
    if len(wrong):
        i, axis = wrong[0]
        raise CatalogError(
            f"{axes[axis]}_min is {low[i, axis]:g} and {axes[axis]}_max {high[i, axis]:g} in row "
            f"{i + 1}: a bin does not end below its beginning"
        )
    _refuse_twice(np.column_stack([cell, low, high]), "place and bin")
    order = np.argsort(cell, kind="stable")
    counts = np.bincount(cell)
    rank = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = len(counts), counts.max()
    lows, highs = (np.full((*shape, len(axes)), np.nan) for _ in range(2))
    values = np.zeros(shape)
    lows[cell[order], rank], highs[cell[order], rank] = low[order], high[order]
    values[cell[order], rank] = row["share"][order]
    return Bins(lows, highs, values)


def _grid(row: Mapping[str, Floats], axes: list[str], cell: Ints) -> Points:
    keys = np.column_stack([cell, *(row[axis] for axis in axes)])
    _refuse_twice(keys, "place and point" if axes else "place")
    found = [np.unique(row[axis], return_inverse=True) for axis in axes]
    points, at = tuple(p for p, _ in found), tuple(i for _, i in found)
    values = np.full((cell.max() + 1, *(len(p) for p in points)), np.nan)
    values[(cell, *at)] = row["share"]
    if (gaps := np.argwhere(np.isnan(values))).size:
        where = ", ".join(
            f"{a} {p[i]:g}" for a, p, i in zip(axes, points, gaps[0][1:], strict=True)
        )
        raise CatalogError(
            f"{len(gaps)} of {values.size} combinations lack, the first at {where}: a table of "
            "points has all of them at every place, else give bins"
        )
    return Points(points, values)
