"""Two catalogues joined, by identifier or on the sky; the stars that have no match are kept."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.catalog.cleaning import Seen, clean
from migrate_bayes.catalog.columns import COLUMNS, conversion_to
from migrate_bayes.catalog.formats import open_source
from migrate_bayes.catalog.maps import find
from migrate_bayes.catalog.source import (
    Block,
    Cells,
    angles,
    arrow_array,
    as_float,
    as_mask,
    resized,
)
from migrate_bayes.core.errors import CatalogError, CatalogWarning, suggest
from migrate_bayes.core.io import MADE_FROM, atomic_output, refuse_existing
from migrate_bayes.core.places import expand
from migrate_bayes.core.provenance import provenance
from migrate_bayes.core.units import number

SEPARATION = "match_separation"
_MAS = np.pi / 180 / 3.6e6  # rad


def match(
    a: str | Path,
    b: str | Path,
    to: str | Path,
    *,
    on: str | None = None,
    radius: float = 1.0,
    epochs: tuple[float, float] | None = None,
    keep: str = "first",
    overwrite: bool = False,
) -> tuple[Path, int]:
    """Join two catalogues into one Parquet file: each row of the first with its match.

    Parameters
    ----------
    a, b : path
        Tables of any format that `read_catalog` reads; both are read whole. A column of `b` whose
        name `a` has too ends with ``_2``.
    to : path
        The Parquet file to write.
    on : str, optional
        The identifier, or ``NAME_A=NAME_B`` where it has two names. Without it, the nearest on the
        sky by ``ra`` and ``dec``, in degrees.
    radius : float, optional
        Greatest separation on the sky, arcsec; or a Quantity.
    epochs : tuple of float, optional
        Julian years, or Times, of the positions of `a` and `b`: those of `a`, else of `b`, are
        moved by their ``pmra`` and ``pmdec`` to the other's epoch.
    keep : {"first", "both", "matched"}, optional
        Which rows without a match are kept: those of `a`, of both, or none.
    overwrite : bool, optional
        Replace a file that exists.

    Returns
    -------
    path : pathlib.Path
        The file. On the sky, it has ``match_separation``, arcsec.
    matched : int
        Rows of `a` that have a match.

    Raises
    ------
    CatalogError
        For a column that is not there, or has no values to match by.
    ProductError
        If the file exists already.

    Examples
    --------
    >>> import migrate_bayes as mb
    >>> mb.match("a.csv", "b.csv", "joined.parquet", on="source_id")
    Traceback (most recent call last):
    ...
    migrate_bayes.core.errors.CatalogError: no such file: a.csv ...
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if keep not in ("first", "both", "matched"):
        raise CatalogError(f"keep = '{keep}'; {suggest(keep, ('first', 'both', 'matched'))}")
    to = expand(to)
    refuse_existing(to, overwrite=overwrite)
    if to in (expand(f) for f in (a, b) if isinstance(f, str | Path)):
        raise CatalogError(f"{to} is one of the two catalogues: give the join another name")
    radius = number(radius, "arcsec", "radius")
    if epochs is not None:
        first_epoch, second_epoch = (number(getattr(t, "jyear", t), "", "epochs") for t in epochs)
        epochs = first_epoch, second_epoch
        if not all(1800.0 < year < 2200.0 for year in epochs):
            raise CatalogError(f"epochs are Julian years, as (2000.0, 2016.0), not {epochs}")
    first, second = _read(a), _read(b)
    apart = None
    if on is not None:
        name_a, _, name_b = on.partition("=")
        index = match_identifiers(
            _identifiers(_column(first, name_a, a), name_a, a),
            _identifiers(_column(second, name_b or name_a, b), name_b or name_a, b),
            str(b),
        )
    else:
        index, apart = _on_sky(first, second, a, b, radius, epochs)
    found = index >= 0
    rows = np.flatnonzero(found) if keep == "matched" else np.arange(len(index))
    left, right = rows, index[rows]
    if keep == "both":
        alone = np.setdiff1d(np.arange(len(second)), index[found])
        left = np.concatenate([left, np.full(len(alone), -1)])
        right = np.concatenate([right, alone])
    taken = set(first.column_names)
    second = second.rename_columns([f"{n}_2" if n in taken else n for n in second.column_names])
    one, two = (
        table.take(pa.array(at, mask=at < 0)) for table, at in ((first, left), (second, right))
    )
    fields = [*one.schema, *two.schema]
    arrays = [*one.columns, *two.columns]
    if apart is not None:
        fields.append(pa.field(SEPARATION, pa.float64(), metadata={"unit": "arcsec"}))
        arrays.append(pa.array(np.where(left >= 0, apart[left], np.nan), from_pandas=True))
    said = {
        MADE_FROM: json.dumps(
            {"a": str(a), "b": str(b), "on": on, "radius": radius, "epochs": epochs, "keep": keep}
        ),
        **provenance(),
    }
    schema = pa.schema(fields, metadata={f"migrate_bayes.{k}": v for k, v in said.items()})
    with atomic_output(to, overwrite=overwrite) as out:
        pq.write_table(pa.table(arrays, schema=schema), out, compression="zstd")
    return to, int(found.sum())


def match_identifiers(a: ArrayLike, b: ArrayLike, name: str = "the second") -> NDArray[np.int64]:
    """Return for each identifier of `a` its place in `b`, -1 where there is none.

    Of one that `b` has several times, the first counts, and a `CatalogWarning` says how many.
    """
    left, right = np.asarray(a, object), np.asarray(b, object)
    # An integer and its text are the same identifier.
    whole = all(isinstance(v, int) for v in (*left, *right) if v is not None)
    places: dict[Any, int] = {}
    again = 0
    for place, value in enumerate(right):
        if value is None:
            continue
        again += (key := value if whole else str(value).strip()) in places
        places.setdefault(key, place)
    if again:
        warnings.warn(
            f"{name}: {again} rows have an identifier that came before: the first counts",
            CatalogWarning,
            stacklevel=2,
        )
    keys = (v if whole or v is None else str(v).strip() for v in left)
    return np.fromiter((-1 if k is None else places.get(k, -1) for k in keys), np.int64, len(left))


def _identifiers(column: Any, name: str, file: str | Path) -> list[Any]:
    """List identifiers; of numbers with a point, those that are whole and were not rounded."""
    import pyarrow as pa

    if not pa.types.is_floating(column.type):
        return column.to_pylist()
    values = [None if v is None or v != v else v for v in column.to_pylist()]
    if any(v is not None and (v % 1 or abs(v) >= 2**53) for v in values):
        raise CatalogError(
            f"{file}: column '{name}' is of floating-point numbers, which round long identifiers: "
            "write it as integers or text"
        )
    return [None if v is None else int(v) for v in values]


def moved(
    ra: ArrayLike, dec: ArrayLike, pmra: ArrayLike, pmdec: ArrayLike, years: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Move positions, deg, by proper motions, mas/yr, along great circles; NaN motions are zero."""
    alpha, delta = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    east = np.nan_to_num(np.asarray(pmra, float)) * _MAS * years
    north = np.nan_to_num(np.asarray(pmdec, float)) * _MAS * years
    sa, ca, sd, cd = np.sin(alpha), np.cos(alpha), np.sin(delta), np.cos(delta)
    x = cd * ca - sa * east - sd * ca * north
    y = cd * sa + ca * east - sd * sa * north
    z = sd + cd * north
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def _on_sky(
    first: Any, second: Any, a: str | Path, b: str | Path, radius: float,
    epochs: tuple[float, float] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:  # fmt: skip
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    at = [
        [_measured(table, name, file) for name in ("ra", "dec")]
        for table, file in ((first, a), (second, b))
    ]
    if epochs is not None and epochs[0] != epochs[1]:
        tables = (first, second)
        motions = "pmra", "pmdec"
        able = [i for i in (0, 1) if all(find(n, tables[i].column_names) for n in motions)]
        if not able:
            raise CatalogError(f"neither {a} nor {b} has pmra and pmdec to move by")
        i = able[0]
        motion = [_measured(tables[i], name, (a, b)[i]) for name in motions]
        years = epochs[1 - i] - epochs[i]
        at[i] = list(moved(at[i][0], at[i][1], motion[0], motion[1], years))
    index = np.full(len(first), -1, np.int64)
    apart = np.full(len(first), np.nan)
    good = [np.isfinite(ra) & np.isfinite(dec) for ra, dec in at]
    if good[0].any() and good[1].any():
        one, two = (
            SkyCoord(ra[g], dec[g], unit="deg") for (ra, dec), g in zip(at, good, strict=True)
        )
        place, separation, _ = one.match_to_catalog_sky(two)
        near = separation <= radius * u.arcsec
        rows = np.flatnonzero(good[0])[near]
        index[rows] = np.flatnonzero(good[1])[place[near]]
        apart[rows] = separation[near].arcsec
    return index, apart


def _measured(table: Any, name: str, file: str | Path) -> NDArray[np.float64]:
    """Return a canonical column in its unit, NaN for what is missing."""
    found = find(name, table.column_names) or name
    column, cells = _column(table, found, file).combine_chunks(), Cells(file, found)
    stated = (table.schema.field(found).metadata or {}).get(b"unit", b"").decode()
    how = conversion_to(stated, file=str(file), column=found, canonical=name)
    plain = angles(column, how.sexagesimal, cells) if how.sexagesimal else as_float(column, cells)
    if f"{found}.mask" in table.column_names:
        plain = np.where(as_mask(table.column(f"{found}.mask").combine_chunks()), np.nan, plain)
    known = COLUMNS[name]
    return clean(plain, how, (), 1.0, (known.low, known.high), known.usual, Seen(), 0)


def _column(table: Any, name: str, file: str | Path) -> Any:
    if name not in table.column_names:
        raise CatalogError(f"{file} has no column '{name}'; {suggest(name, table.column_names)}")
    return table.column(name)


def _read(file: str | Path) -> Any:
    """Read a whole table as Arrow's, texts of numbers as numbers, units beside the columns."""
    import pyarrow as pa

    source = open_source(file)
    names = list(source.names)

    def table_of(piece: Block) -> Any:
        columns = (piece[name] for name in names)
        arrays = [c if isinstance(c, pa.Array) else arrow_array(c) for c in columns]
        return pa.table(arrays, names=names)

    whole = next(resized(map(table_of, source.pieces(names, None, None)), None), None)
    if whole is None:
        raise CatalogError(f"{file}: the table has no rows")
    arrays, fields = [], []
    for name, column in zip(names, whole.columns, strict=True):
        arrays.append(_numbers(column.combine_chunks()))
        unit = source.units.get(name)
        fields.append(pa.field(name, arrays[-1].type, metadata={"unit": unit} if unit else None))
    return pa.table(arrays, schema=pa.schema(fields))


def _numbers(array: Any) -> Any:
    """Turn a column of text into whole numbers, or numbers, if every value is one.

    Digits that a number would not keep (``007``, or more than 15 without a point) stay text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return array
    trimmed = pc.utf8_trim_whitespace(array)
    blank = pc.equal(trimmed, "")
    trimmed = pc.if_else(blank, pa.scalar(None, trimmed.type), trimmed)

    def some(pattern: str) -> bool:
        return bool(pc.any(pc.match_substring_regex(trimmed, pattern)).as_py())

    if some(r"^[+-]?0\d"):
        return trimmed
    for kind in (pa.int64(), *(() if some(r"^[+-]?\d{16,}$") else (pa.float64(),))):
        try:
            return trimmed.cast(kind)
        except pa.ArrowInvalid:
            continue
    return trimmed
