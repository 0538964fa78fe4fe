"""The four file formats behind one face: column names, units, and blocks of plain arrays.

A `Source` knows its columns and their units without reading the rows, and yields the rows in blocks
of a given size, as often as asked: FITS by memory-mapped slices, CSV and ECSV by lines, Parquet by
batches; a VOTable, an ASCII table in FITS and a gzipped FITS file have to be parsed whole and are
sliced afterwards. Missing values come out as NaN, and no value depends on the size of the blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import CatalogError, suggest

__all__ = ["FORMATS", "Source", "open_source"]

Block = dict[str, NDArray[Any]]

FORMATS: dict[str, tuple[str, ...]] = {
    "fits": (".fits", ".fit"),
    "csv": (".csv", ".ecsv", ".tsv"),
    "votable": (".vot", ".xml", ".votable"),
    "parquet": (".parquet", ".pq"),
}
"""Format to the endings of its files; FITS and CSV may be gzipped."""


@dataclass(frozen=True)
class Source:
    """An opened file.

    Attributes
    ----------
    path : Path
        The file.
    names : sequence of str
        Its columns.
    units : dict
        Unit of the columns that state one, as text.
    blocks : callable
        ``blocks(columns, identifier, chunk_size)`` iterates over dicts of arrays: float64, or
        for the identifier whatever it is in the file. A `chunk_size` of None asks for one block.
    rows : int or None
        How many rows there are, where the file says so.
    whole : bool
        The format can only be read whole: memory grows with the file.
    """

    path: Path
    names: Sequence[str]
    units: dict[str, str]
    blocks: Callable[[Sequence[str], str | None, int | None], Iterator[Block]]
    rows: int | None = None
    whole: bool = False


def format_of(path: Path, format: str | None = None) -> str:
    """Name the format of a file from its ending, or check the one that was asked for."""
    if format is not None:
        name = "csv" if format == "ecsv" else format
        if name not in FORMATS:
            raise CatalogError(f"no format '{format}': {suggest(format, [*FORMATS, 'ecsv'])}")
        return name
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in (".gz",)]
    for name, endings in FORMATS.items():
        if suffixes and suffixes[-1] in endings:
            return name
    known = sorted(e for group in FORMATS.values() for e in group)
    raise CatalogError(
        f"{path}: cannot tell the format from the name: use one of {', '.join(known)}, "
        f"or say format = one of {', '.join(FORMATS)}"
    )


def open_source(path: str | Path, *, format: str | None = None) -> Source:
    """Open a table.

    Raises
    ------
    CatalogError
        Where the file is missing, cut short, or not what its name says.
    """
    path = Path(path)
    if not path.exists():
        raise CatalogError(f"no such file: {path}")
    if path.is_dir():
        raise CatalogError(f"{path} is a folder: give the file itself")
    name = format_of(path, format)
    openers = {
        "fits": _open_fits,
        "csv": _open_text,
        "votable": _open_votable,
        "parquet": _open_parquet,
    }
    with _readable(path, name):
        return openers[name](path)


@contextmanager
def _readable(path: Path, format: str) -> Iterator[None]:
    """Turn whatever a library throws at a broken file into an error that names the file."""
    try:
        yield
    except CatalogError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CatalogError(
            f"{path}: cannot be read as {format}; the file is damaged or of another kind ({first})"
        ) from error


def _as_float(values: Any, path: Path, column: str, first_row: int) -> NDArray[np.float64]:
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        plain = np.asarray(values.data)
    else:
        plain = np.asarray(values)
        mask = None
    if plain.ndim != 1:
        raise CatalogError(f"{path}: column '{column}' holds arrays; map a column of numbers")
    if plain.dtype.kind in "fiub":
        out = plain.astype(np.float64)
    else:
        import pandas as pd

        text = pd.Series(plain).astype("object")
        text = text.map(lambda v: v.decode() if isinstance(v, bytes) else v)
        blank = text.isna() | text.map(lambda v: isinstance(v, str) and not v.strip())
        # A column of truth values is read as such where a block holds nothing else.
        text = text.replace({"True": True, "False": False})
        numbers = pd.to_numeric(text.where(~blank), errors="coerce")
        wrong = np.flatnonzero(numbers.isna() & ~blank & (text.astype(str).str.lower() != "nan"))
        if mask is not None:
            wrong = wrong[~mask[wrong]]
        if wrong.size:
            row = int(wrong[0])
            raise CatalogError(
                f"{path}: column '{column}' holds text: '{text.iloc[row]}' in row "
                f"{first_row + row + 1} (counting from 1); map a column of numbers"
            )
        out = numbers.to_numpy(dtype=np.float64)
    if mask is not None:
        out[mask] = np.nan
    return out


def _slices(n: int, chunk_size: int | None) -> Iterator[slice]:
    step = max(n, 1) if chunk_size is None else chunk_size
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def _open_fits(path: Path) -> Source:
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=True, lazy_load_hdus=False) as hdus:
            kinds = (fits.BinTableHDU, fits.TableHDU)
            tables = [i for i, hdu in enumerate(hdus) if isinstance(hdu, kinds)]
            if not tables:
                raise CatalogError(f"{path}: no table in this FITS file")
            index = tables[0]
            text = isinstance(hdus[index], fits.TableHDU)
            header, info = hdus[index].header, hdus[index].fileinfo()
            columns = hdus[index].columns
            names = list(columns.names)
            nulls = {c.name: c.null for c in columns if c.null not in (None, "")}
            units = {c.name: str(c.unit) for c in columns if c.unit}
    n = int(header["NAXIS2"])
    wanted = int(info["datLoc"]) + int(header["NAXIS1"]) * n
    size = path.stat().st_size
    if path.suffix.lower() != ".gz" and size < wanted:
        raise CatalogError(
            f"{path}: the file is cut short: its header promises {n} rows, {wanted} bytes, "
            f"but it has {size}. Copy or download it again"
        )
    # In an ASCII table blanks are missing, which only the whole-table reader knows; a gzipped file
    # would be unpacked again for every block.
    if text or path.suffix.lower() == ".gz":
        from astropy.table import Table

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _table_source(path, Table.read(path, hdu=index), units)

    def blocks(
        wanted_names: Sequence[str], identifier: str | None, chunk_size: int | None
    ) -> Iterator[Block]:
        for part in _slices(n, chunk_size):
            # Opened anew for each block: an open memory map keeps every page it has touched.
            with warnings.catch_warnings(), _readable(path, "fits"):
                warnings.simplefilter("ignore")
                with fits.open(path, memmap=True) as hdus:
                    rows = hdus[index].data[part]
                    block: Block = {}
                    for name in wanted_names:
                        values = rows.field(name)
                        null = nulls.get(name)
                        mask = np.zeros(len(values), dtype=bool)
                        if null is not None and np.asarray(values).dtype.kind in "iu":
                            mask = np.asarray(values) == int(null)
                        if name == identifier:
                            plain = np.array(values)
                            plain = plain.astype(plain.dtype.newbyteorder("="))
                            block[name] = np.ma.MaskedArray(plain, mask)
                        else:
                            masked = np.ma.MaskedArray(np.asarray(values), mask)
                            block[name] = _as_float(masked, path, name, part.start)
                    del rows, values
            yield block

    return Source(path, names, units, blocks, rows=n)


def _ecsv_header(lines: list[str]) -> tuple[dict[str, str], str]:
    from astropy.table.meta import get_header_from_yaml

    header = get_header_from_yaml([line.removeprefix("#").removeprefix(" ") for line in lines[1:]])
    units = {c["name"]: str(c["unit"]) for c in header["datatype"] if c.get("unit")}
    return units, str(header.get("delimiter", " "))


def _open_text(path: Path) -> Source:
    import gzip

    import pandas as pd

    opener = gzip.open if path.suffix.lower() == ".gz" else open
    comments: list[str] = []
    head = ""
    with opener(path, "rt", encoding="utf-8", newline="") as handle:
        for line in handle:
            if not line.startswith("#"):
                head = line.rstrip("\r\n")
                break
            comments.append(line.rstrip("\r\n"))
    if not head.strip():
        raise CatalogError(f"{path}: the file is empty")
    if "\x00" in head:
        raise CatalogError(f"{path}: cannot be read as csv; the file is damaged or of another kind")
    units: dict[str, str] = {}
    if comments and comments[0].startswith("# %ECSV"):
        units, separator = _ecsv_header(comments)
    else:
        separator = next((s for s in (",", "\t", ";", "|") if s in head), ",")
    options: dict[str, Any] = {
        "sep": separator,
        "skiprows": len(comments),
        "encoding": "utf-8",
        "skipinitialspace": True,
    }
    if tuple(int(v) for v in pd.__version__.split(".")[:2]) < (3, 1):
        options["float_precision"] = "round_trip"  # the default is exact only from 3.1 on
    names = list(pd.read_csv(path, nrows=0, **options).columns)

    def blocks(
        wanted: Sequence[str], identifier: str | None, chunk_size: int | None
    ) -> Iterator[Block]:
        with _readable(path, "csv"):
            # Identifiers as text: a 19-digit integer column with one gap would go through float64.
            frames = pd.read_csv(
                path,
                usecols=list(dict.fromkeys(wanted)),
                dtype={identifier: str} if identifier else None,
                chunksize=chunk_size or 2**62,
                low_memory=False,
                **options,
            )
        first_row = 0
        with frames:
            while True:
                with _readable(path, "csv"):
                    try:
                        frame = next(frames)
                    except StopIteration:
                        return
                block: Block = {}
                for name in wanted:
                    values = frame[name]
                    if name == identifier:
                        block[name] = np.ma.MaskedArray(
                            values.fillna("").to_numpy(dtype=object), values.isna().to_numpy()
                        )
                    else:
                        block[name] = _as_float(values.to_numpy(), path, name, first_row)
                first_row += len(frame)
                if len(frame):
                    yield block

    return Source(path, names, units, blocks)


def _open_votable(path: Path) -> Source:
    from astropy.io.votable import parse_single_table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = parse_single_table(str(path)).to_table(use_names_over_ids=True)
    units = {c.name: str(c.unit) for c in table.columns.values() if c.unit is not None}
    return _table_source(path, table, units)


def _table_source(path: Path, table: Any, units: dict[str, str]) -> Source:
    """Slice a table that could only be read whole."""

    def blocks(
        wanted: Sequence[str], identifier: str | None, chunk_size: int | None
    ) -> Iterator[Block]:
        for part in _slices(len(table), chunk_size):
            block: Block = {}
            for name in wanted:
                values = np.ma.MaskedArray(table[name][part])
                block[name] = (
                    values if name == identifier else _as_float(values, path, name, part.start)
                )
            yield block

    return Source(path, list(table.colnames), units, blocks, rows=len(table), whole=True)


def _open_parquet(path: Path) -> Source:
    import pyarrow.parquet as pq

    schema, rows = pq.read_schema(path), pq.read_metadata(path).num_rows
    units: dict[str, str] = {}
    described = (schema.metadata or {}).get(b"table_meta_yaml")
    if described is not None:  # as astropy writes it
        from astropy.table.meta import get_header_from_yaml

        header = get_header_from_yaml(described.decode().split("\n"))
        units = {c["name"]: str(c["unit"]) for c in header["datatype"] if c.get("unit")}
    for schema_field in schema:
        unit = (schema_field.metadata or {}).get(b"unit")
        if unit is not None:
            units[schema_field.name] = unit.decode()

    def blocks(
        wanted: Sequence[str], identifier: str | None, chunk_size: int | None
    ) -> Iterator[Block]:
        columns = list(dict.fromkeys(wanted))
        with _readable(path, "parquet"):
            # Read ahead, a row group would be held whole, and after it all that have been read.
            file = pq.ParquetFile(path, pre_buffer=False, buffer_size=2**18)
        first_row = 0
        with file:
            size = chunk_size or max(file.metadata.num_rows, 1)
            batches = file.iter_batches(batch_size=size, columns=columns)
            while True:
                with _readable(path, "parquet"):
                    batch = next(batches, None)
                if batch is None:
                    return
                block: Block = {}
                for name in wanted:
                    column = batch.column(name)
                    null = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
                    if name == identifier:
                        import pyarrow as pa

                        empty = 0 if pa.types.is_integer(column.type) else ""
                        filled = column.fill_null(empty) if null.any() else column
                        plain = filled.to_numpy(zero_copy_only=False)
                        block[name] = np.ma.MaskedArray(plain, null)
                    else:
                        values = column.to_numpy(zero_copy_only=False)
                        block[name] = _as_float(values, path, name, first_row)
                first_row += batch.num_rows
                if batch.num_rows:
                    yield block

    return Source(path, list(schema.names), units, blocks, rows=rows)


def nearest_columns(name: str, names: Collection[str]) -> str:
    """Word which of a file's columns are nearest to one that it lacks."""
    if len(names) <= 40:
        return suggest(name, names)
    import difflib

    lowered = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)
    found = ", ".join(f"'{lowered[n]}'" for n in near)
    return f"{f'did you mean {found}? ' if near else ''}The file has {len(names)} columns"
