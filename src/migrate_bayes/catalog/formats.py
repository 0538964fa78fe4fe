"""The four file formats behind one face: column names, units, and blocks of plain arrays.

A `Source` knows its columns and their units without reading the rows, and yields the rows in blocks
of a given size, as often as asked: FITS by memory-mapped slices, CSV and ECSV by lines, Parquet by
batches; a VOTable, an ASCII table in FITS and a gzipped FITS file have to be parsed whole and are
sliced afterwards. Missing values come out as NaN, and no value depends on the size of the blocks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.places import expand

Block = dict[str, NDArray[Any]]
_quiet = partial(warnings.catch_warnings, action="ignore")

FORMATS: dict[str, tuple[str, ...]] = {
    "fits": (".fits", ".fit"),
    "csv": (".csv", ".ecsv", ".tsv"),
    "votable": (".vot", ".xml", ".votable"),
    "parquet": (".parquet", ".pq"),
}
"""Format to the endings of its files; FITS and CSV may be gzipped."""


class Source(NamedTuple):
    """An opened file.

    ``pieces(columns, identifier, chunk_size)`` iterates over dicts of arrays as the file has them,
    masked if values are missing; a `chunk_size` of None asks for one piece.
    """

    path: Path
    format: str
    names: Sequence[str]
    units: dict[str, str]  # of the columns that state one
    pieces: Callable[[list[str], str | None, int | None], Iterator[Block]]
    rows: int | None = None  # if the file says so
    whole: bool = False  # the format can only be read whole: memory grows with the file

    def blocks(
        self,
        columns: Sequence[str],
        identifier: str | None,
        chunk_size: int | None,
        words: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Iterator[Block]:
        """Iterate over dicts of float64 arrays; the identifier is whatever it is in the file.

        `words` has, for a column of text, the numbers that stand for its words.
        """
        pieces = self.pieces(list(dict.fromkeys(columns)), identifier, chunk_size)
        first_row = 0
        while True:
            with _readable(self.path, self.format):
                piece = next(pieces, None)
                if piece is None:
                    return
                for name in piece:
                    if words and name in words:
                        piece[name] = _words_as_float(piece[name], words[name])
                    elif name != identifier:
                        piece[name] = _as_float(piece[name], self.path, name, first_row)
            rows = len(next(iter(piece.values())))
            first_row += rows
            if rows:
                yield piece


def format_of(path: Path, format: str | None = None) -> str:
    """Name the format of a file from its ending, or check the one that was asked for."""
    if format is not None:
        name = "csv" if format == "ecsv" else format
        if name not in FORMATS:
            raise CatalogError(f"no format '{format}': {suggest(format, [*FORMATS, 'ecsv'])}")
        return name
    by_ending = {ending: name for name, endings in FORMATS.items() for ending in endings}
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    if suffixes and suffixes[-1] in by_ending:
        return by_ending[suffixes[-1]]
    raise CatalogError(
        f"{path}: cannot tell the format from the name: use one of {', '.join(sorted(by_ending))}, "
        f"or say format = one of {', '.join(FORMATS)}"
    )


def _full(path: Path) -> str:
    """Name a path, and the place where a relative one was looked for."""
    return str(path) if path.is_absolute() else f"{path} (in {Path.cwd()})"


def open_source(path: str | Path, *, format: str | None = None) -> Source:
    """Open a table, refusing a file that is missing, cut short or not what its name says."""
    path = expand(path)
    if not path.exists():
        raise CatalogError(f"no such file: {_full(path)}")
    if path.is_dir():
        raise CatalogError(f"{path} is a folder: give the file itself")
    name = format_of(path, format)
    openers = {
        "fits": _open_fits, "csv": _open_text, "votable": _open_votable, "parquet": _open_parquet,
    }  # fmt: skip
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


def _words_as_float(values: Any, words: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the number of each word, NaN for what is masked or no word of the list."""
    texts = np.ma.filled(np.ma.MaskedArray(values).astype(object), "").tolist()
    texts = [t.decode() if isinstance(t, bytes) else str(t) for t in texts]
    return np.array([words.get(t.strip(), np.nan) for t in texts], dtype=np.float64)


def _as_float(values: Any, path: Path, column: str, first_row: int) -> NDArray[np.float64]:
    """Return numbers, NaN for what is masked or blank, refusing any other text."""
    mask, plain = np.ma.getmaskarray(values), np.asarray(np.ma.getdata(values))
    if plain.ndim != 1:
        raise CatalogError(f"{path}: column '{column}' holds arrays; map a column of numbers")
    if plain.dtype.kind in "fiub":
        out = plain.astype(np.float64)
    else:
        import pandas as pd

        text = pd.Series(plain).astype("object")
        text = text.map(lambda v: v.decode() if isinstance(v, bytes) else v)
        blank = text.isna() | text.map(lambda v: isinstance(v, str) and not v.strip())
        # A column of truth values is read as such if a block holds nothing else.
        text = text.replace({"True": True, "False": False})
        numbers = pd.to_numeric(text.where(~blank), errors="coerce")
        wrong = np.flatnonzero(numbers.isna() & ~blank & (text.astype(str).str.lower() != "nan"))
        wrong = wrong[~mask[wrong]]
        if wrong.size:
            row = int(wrong[0])
            raise CatalogError(
                f"{path}: column '{column}' holds text: '{text.iloc[row]}' in row "
                f"{first_row + row + 1} (counting from 1); map a column of numbers"
            )
        out = numbers.to_numpy(dtype=np.float64)
    return np.where(mask, np.nan, out)


def _open_fits(path: Path) -> Source:
    from astropy.io import fits

    with _quiet(), fits.open(path, memmap=True, lazy_load_hdus=False) as hdus:
        kinds = (fits.BinTableHDU, fits.TableHDU)
        index = next((i for i, hdu in enumerate(hdus) if isinstance(hdu, kinds)), None)
        if index is None:
            raise CatalogError(f"{path}: no table in this FITS file")
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

        with _quiet():
            return _table_source(path, "fits", Table.read(path, hdu=index), units)

    def pieces(wanted: list[str], identifier: str | None, size: int | None) -> Iterator[Block]:
        step = size or max(n, 1)
        for start in range(0, n, step):
            # Opened anew for each piece: an open memory map keeps every page it has touched.
            with _quiet(), fits.open(path, memmap=True) as hdus:
                rows = hdus[index].data[start : start + step]
                piece: Block = {}
                for name in wanted:
                    values = np.asarray(rows.field(name))
                    has_null = name in nulls and values.dtype.kind in "iu"
                    mask = values == int(nulls[name]) if has_null else np.ma.nomask
                    # A copy, in the machine's order of bytes, that outlives the memory map.
                    native = values.astype(values.dtype.newbyteorder("="))
                    piece[name] = np.ma.MaskedArray(native, mask)
                del rows, values
            yield piece

    return Source(path, "fits", names, units, pieces, rows=n)


def _described(lines: list[str]) -> tuple[dict[str, str], str]:
    """Return units and delimiter from the header that astropy writes to ECSV and Parquet."""
    from astropy.table.meta import get_header_from_yaml

    header = get_header_from_yaml(lines)
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
        lines = [line.removeprefix("#").removeprefix(" ") for line in comments[1:]]
        units, separator = _described(lines)
    else:
        separator = next((s for s in (",", "\t", ";", "|") if s in head), ",")
    options: dict[str, Any] = {"sep": separator, "skiprows": len(comments), "encoding": "utf-8"}
    options["skipinitialspace"] = True
    if tuple(int(v) for v in pd.__version__.split(".")[:2]) < (3, 1):
        options["float_precision"] = "round_trip"  # the default is exact only from 3.1 on
    names = list(pd.read_csv(path, nrows=0, **options).columns)

    def pieces(wanted: list[str], identifier: str | None, size: int | None) -> Iterator[Block]:
        # Identifiers as text: a 19-digit integer column with one gap would go through float64.
        dtype = {identifier: str} if identifier else None
        with pd.read_csv(
            path, usecols=wanted, dtype=dtype, chunksize=size or 2**62, low_memory=False, **options
        ) as frames:
            for frame in frames:
                piece = {name: frame[name].to_numpy() for name in wanted}
                if identifier:
                    text = frame[identifier]
                    filled = text.fillna("").to_numpy(dtype=object)
                    piece[identifier] = np.ma.MaskedArray(filled, text.isna().to_numpy())
                yield piece

    return Source(path, "csv", names, units, pieces)


def _open_votable(path: Path) -> Source:
    from astropy.io.votable import parse_single_table

    with _quiet():
        table = parse_single_table(str(path)).to_table(use_names_over_ids=True)
    units = {c.name: str(c.unit) for c in table.columns.values() if c.unit is not None}
    return _table_source(path, "votable", table, units)


def _table_source(path: Path, format: str, table: Any, units: dict[str, str]) -> Source:
    """Slice a table that could only be read whole."""

    def pieces(wanted: list[str], identifier: str | None, size: int | None) -> Iterator[Block]:
        step = size or max(len(table), 1)
        for start in range(0, len(table), step):
            part = slice(start, start + step)
            yield {name: np.ma.MaskedArray(table[name][part]) for name in wanted}

    return Source(path, format, list(table.colnames), units, pieces, rows=len(table), whole=True)


def _open_parquet(path: Path) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, rows = pq.read_schema(path), pq.read_metadata(path).num_rows
    described = (schema.metadata or {}).get(b"table_meta_yaml")
    units = {} if described is None else _described(described.decode().split("\n"))[0]
    for field in schema:
        if b"unit" in (field.metadata or {}):
            units[field.name] = field.metadata[b"unit"].decode()

    def pieces(wanted: list[str], identifier: str | None, size: int | None) -> Iterator[Block]:
        # Read ahead, a row group would be held whole, and after it all that have been read.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**18) as file:
            for batch in file.iter_batches(batch_size=size or max(rows, 1), columns=wanted):
                piece: Block = {}
                for name in wanted:
                    column, null = batch.column(name), None
                    if name == identifier:
                        null = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
                        if null.any():  # integers stay integers
                            column = column.fill_null(0 if pa.types.is_integer(column.type) else "")
                    plain = column.to_numpy(zero_copy_only=False)
                    piece[name] = plain if null is None else np.ma.MaskedArray(plain, null)
                yield piece

    return Source(path, "parquet", list(schema.names), units, pieces, rows=rows)
