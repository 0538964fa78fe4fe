"""Read a catalogue of stars, whole or in chunks, into canonical columns.

`read_catalog` gives one Dataset, `iter_catalog` the same in pieces for files that do not fit in
memory: their concatenation is equal to what `read_catalog` gives. Both read through a
`CatalogReader`; `migrate_bayes.catalog.stream` is what a run reads through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.checks import check_identifiers, flag_measurements
from migrate_bayes.catalog.columns import COLUMNS, EXTRA_PREFIX, attributes, star_keys
from migrate_bayes.catalog.distances import add_distances
from migrate_bayes.catalog.formats import Source, open_source
from migrate_bayes.catalog.maps import ColumnMap, as_column_map, load_column_map
from migrate_bayes.catalog.operations import Step, evaluate, guess_map, plan
from migrate_bayes.core.errors import CatalogError

__all__ = ["CatalogReader", "WholeFile", "iter_catalog", "read_catalog"]

_EXACT_FLOAT = 2.0**53


def read_catalog(
    path: str | Path,
    *,
    columns: str | Mapping[str, Any] | None = None,
    format: str | None = None,
) -> xr.Dataset:
    """Read a catalogue of stars.

    Parameters
    ----------
    path : path-like
        FITS (``.fits``, ``.fit``), CSV or ECSV (``.csv``, ``.ecsv``, ``.tsv``), VOTable (``.vot``,
        ``.xml``) or Parquet (``.parquet``).
    columns : str or mapping, optional
        Name of a packaged column map (`maps.column_map_names`), or a map's content (see
        `migrate_bayes.catalog.maps`). Where not given, the canonical names are looked for.
    format : {"fits", "csv", "ecsv", "votable", "parquet"}, optional
        Where the file's ending does not say it.

    Returns
    -------
    xarray.Dataset
        On dim ``star``, in canonical columns and units, with ``flag`` and ``star_key``.

    Raises
    ------
    CatalogError
        For a missing, damaged or empty file; a missing column or a wrong unit; a column without a
        single value; a negative error; an identifier that stands for two places on the sky.
    """
    reader = CatalogReader(path, columns=columns, format=format)
    whole = WholeFile(reader)
    parts = [whole.see(part) for part in reader.chunks(None)]
    whole.check()
    return parts[0]


def iter_catalog(
    path: str | Path,
    *,
    columns: str | Mapping[str, Any] | None = None,
    chunk_size: int = 100_000,
    format: str | None = None,
) -> Iterator[xr.Dataset]:
    """Read a catalogue in chunks of at most `chunk_size` stars.

    What concerns the file as a whole (an empty column, an identifier given twice) is raised at the
    end. Parameters and errors are those of `read_catalog`.

    Yields
    ------
    xarray.Dataset
        Consecutive stars.
    """
    if chunk_size < 1:
        raise CatalogError(f"chunk_size must be at least 1, not {chunk_size}")
    reader = CatalogReader(path, columns=columns, format=format)
    whole = WholeFile(reader)
    for chunk in reader.chunks(chunk_size):
        yield whole.see(chunk)
    whole.check()


def _column_map(columns: str | Mapping[str, Any] | None, source: Source) -> ColumnMap:
    if columns is None:
        return guess_map(source.names)
    if isinstance(columns, str):
        return load_column_map(columns)
    return as_column_map(columns)


def _identifiers(values: Any, text: bool, path: Path, name: str, first_row: int) -> NDArray[Any]:
    masked = np.ma.MaskedArray(values)
    plain = np.asarray(masked.data)
    gone = np.ma.getmaskarray(masked).copy()
    if plain.dtype.kind == "S":
        plain = np.char.decode(plain, "utf-8")
    if plain.dtype.kind in "OU":
        plain = np.array([str(v).strip() for v in plain.tolist()])
        gone |= plain == ""
    elif plain.dtype.kind == "f":
        gone |= ~np.isfinite(plain)
    if gone.any():
        row = first_row + int(np.flatnonzero(gone)[0]) + 1
        raise CatalogError(
            f"{path}: {int(gone.sum())} stars have no identifier in column '{name}', the first in "
            f"row {row} (counting from 1). Map another column to source_id, or "
            "source_id = { row_number = true }"
        )
    if plain.dtype.kind == "f":
        if np.any(np.abs(plain) >= _EXACT_FLOAT) or np.any(plain != np.rint(plain)):
            raise CatalogError(
                f"{path}: the identifiers in column '{name}' are stored as floating point and have "
                "lost digits: write them as 64-bit integers or as text"
            )
        return plain.astype(np.int64)
    if plain.dtype.kind in "iu":
        return plain.astype(np.int64)
    if text:
        return plain.astype(np.str_)
    try:
        return plain.astype(np.int64)
    except (ValueError, OverflowError) as error:
        wrong = next(v for v in plain.tolist() if not v.removeprefix("-").isdecimal())
        raise CatalogError(
            f"{path}: the identifiers in column '{name}' begin as integers, but '{wrong}' is none"
        ) from error


def _is_text(values: Any) -> bool:
    """Whether the first identifier is a text: the rule must not depend on the size of a block."""
    plain = np.asarray(np.ma.MaskedArray(values).data)
    if plain.dtype.kind not in "OUS":
        return False
    first = plain[0].decode() if isinstance(plain[0], bytes) else str(plain[0])
    return not first.strip().removeprefix("-").isdecimal()


def _dataset(
    steps: list[Step],
    block: dict[str, NDArray[Any]],
    ids: NDArray[Any],
    column_map: ColumnMap,
    source: Source,
    first_row: int,
) -> xr.Dataset:
    n = len(ids)
    variables: dict[str, Any] = {}
    for step in steps:
        if step.canonical == "source_id":
            continue
        value = evaluate(step, block, n, file=str(source.path), first_row=first_row)
        if step.canonical == "flag":
            bits = np.nan_to_num(value).astype(np.int32)
            variables["flag"] = ("star", bits, attributes("flag"))
        elif step.canonical.startswith(EXTRA_PREFIX):
            name = step.canonical.removeprefix(EXTRA_PREFIX)
            carried = {"units": step.unit, "long_name": f"{name}, as published"}
            variables[step.canonical] = ("star", value, carried)
        else:
            if step.canonical == "ra":
                value = np.mod(value, 360.0)
            variables[step.canonical] = ("star", value, attributes(step.canonical))
    if "distance" in variables:
        step = next(s for s in steps if s.canonical == "distance")
        given = ", ".join(str(o) for o in step.operands)
        variables["distance"][2]["source"] = column_map.distance_source or f"column {given}"
    catalog = xr.Dataset(variables, coords={"source_id": ("star", ids, attributes("source_id"))})
    catalog = add_distances(catalog)
    catalog = catalog.assign(
        flag=("star", flag_measurements(catalog), attributes("flag")),
        star_key=("star", star_keys(ids), attributes("star_key")),
    )
    ordered = [name for name in COLUMNS if name in catalog]
    rest = sorted(str(name) for name in catalog.data_vars if name not in COLUMNS)
    catalog = catalog[[*ordered, *rest]]
    catalog.attrs = {
        "title": "catalogue",
        "file": source.path.name,
        "column_map": column_map.name,
    }
    return catalog


class CatalogReader:
    """A catalogue's file, opened: its columns found, its rows not yet read.

    Parameters
    ----------
    path, columns, format
        As for `read_catalog`.

    Attributes
    ----------
    path : Path
    rows : int or None
        How many rows there are, where the file says so.
    whole : bool
        The format can only be read whole: memory grows with the file.

    Raises
    ------
    CatalogError
        For a missing or damaged file, a missing column or a wrong unit.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        columns: str | Mapping[str, Any] | None = None,
        format: str | None = None,
    ) -> None:
        self.path = path = Path(path)
        self._source = source = open_source(path, format=format)
        self.rows, self.whole = source.rows, source.whole
        self._map = _column_map(columns, source)
        self._steps = plan(self._map, source)
        self.by_name = by_name = {step.canonical: step for step in self._steps}
        if "source_id" not in by_name:
            raise CatalogError(
                f"{path}: the column map '{self._map.name}' has no source_id: add the column that "
                "identifies a star, or source_id = { row_number = true }"
            )
        if not any(name in COLUMNS for name in by_name):
            raise CatalogError(
                f"{path}: no canonical column ('ra', 'teff', ...) among its {len(source.names)} "
                "columns: give a column map with columns="
            )
        id_step = by_name["source_id"]
        if id_step.entry.operation not in ("column", "row_number"):
            raise CatalogError(
                f"{path}: source_id can be a column or row_number = true, nothing else"
            )
        self._id = str(id_step.operands[0]) if id_step.operands else None
        if self._id is not None and any(
            self._id in step.operands for step in self._steps if step is not id_step
        ):
            raise CatalogError(f"{path}: column '{self._id}' is the identifier and nothing else")
        # The file's columns once each, in the order in which the map names them.
        wanted = [o for step in self._steps for o in step.operands if isinstance(o, str)]
        self._wanted = list(dict.fromkeys(wanted))
        if not wanted:
            raise CatalogError(
                f"{path}: the column map '{self._map.name}' names no column of the file"
            )

    def chunks(self, chunk_size: int | None) -> Iterator[xr.Dataset]:
        """Read the rows, as often as asked, `chunk_size` at a time or all at once.

        What a row comes out as does not depend on the size. What concerns the file as a whole is
        not looked at: see `WholeFile`.

        Raises
        ------
        CatalogError
            For a negative error, a text among numbers or a damaged file, naming row and column.
        """
        rows = 0
        text: bool | None = None
        for block in self._source.blocks(self._wanted, self._id, chunk_size):
            n = len(next(iter(block.values())))
            if self._id is None:
                ids: NDArray[Any] = np.arange(rows, rows + n, dtype=np.int64)
            else:
                raw = block.pop(self._id)
                text = _is_text(raw) if text is None else text
                ids = _identifiers(raw, text, self.path, self._id, rows)
            yield _dataset(self._steps, block, ids, self._map, self._source, rows)
            rows += n

    def names_of(self, keys: NDArray[np.uint64]) -> list[str]:
        """Return the identifiers of some stars, by their keys, in the order of the file."""
        found: dict[str, None] = {}
        for chunk in self.chunks(100_000):
            mine = np.isin(chunk["star_key"].values, keys)
            found |= dict.fromkeys(str(name) for name in chunk["source_id"].values[mine])
        return list(found)


class WholeFile:
    """Checks of a file as a whole, gathered while its chunks go by: `see` each, then `check`."""

    def __init__(self, reader: CatalogReader) -> None:
        self._reader = reader
        self.rows = 0
        self._finite = {name: 0 for name in reader.by_name if name in COLUMNS}
        self._keys: list[NDArray[np.uint64]] = []
        self._places: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []

    def see(self, chunk: xr.Dataset) -> xr.Dataset:
        """Take note of a chunk, and give it back."""
        self.rows += chunk.sizes["star"]
        for name in self._finite:
            self._finite[name] += int(np.count_nonzero(np.isfinite(chunk[name].values)))
        if "ra" in chunk and "dec" in chunk:
            self._keys.append(chunk["star_key"].values)
            self._places.append((chunk["ra"].values, chunk["dec"].values))
        return chunk

    def check(self) -> None:
        """Check what has been seen.

        Raises
        ------
        CatalogError
            For no rows at all, a column without a value, an identifier given to two stars.
        """
        path = self._reader.path
        if self.rows == 0:
            raise CatalogError(f"{path}: the table has no rows")
        for name, count in self._finite.items():
            if count == 0:
                given = ", ".join(f"'{o}'" for o in self._reader.by_name[name].operands)
                raise CatalogError(
                    f"{path}: column {given} ('{name}') holds not a single usable value in "
                    f"{self.rows} rows: take it out of the column map, or map another"
                )
        if self._places:
            ra, dec = self.places()
            check_identifiers(
                np.concatenate(self._keys), ra, dec, file=str(path), names=self._reader.names_of
            )

    def places(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Right ascension and declination of every star, deg."""
        ra, dec = (np.concatenate(parts) for parts in zip(*self._places, strict=True))
        return ra, dec
