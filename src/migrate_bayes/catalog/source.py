"""A table opened, whatever it came from: column names, units, and blocks of plain arrays.

A `Source` knows its columns and their units without reading the rows, and yields the rows in blocks
of a given size, as often as asked. Missing values come out as NaN: masked, null, a companion
``x.mask`` of astropy's, a blank, or a word that stands for nothing. No value depends on the size of
the blocks.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import CatalogError, suggest

Block = dict[str, NDArray[Any]]
Pieces = Callable[..., Iterator[dict[str, Any]]]
quiet = partial(warnings.catch_warnings, action="ignore")

_NOTHING = (
    "nan", "-nan", "na", "n/a", "#n/a", "<na>", "nat", "none", "null", "nil", "\\n", "masked",
    "indef", "missing", "undef", "undefined", "nodata", "no data", "(null)", "n.a.", "n.d.",
    "unknown", "not available", "#ref!", "#value!", "#div/0!", "1.#qnan", "-1.#qnan", "1.#ind",
    "-1.#ind", "nan(ind)", "-nan(ind)",
)  # fmt: skip
"""Words that stand for a missing value, in any case; so does a text without letters and digits."""
_NO_BITS = (-9999, -999, -99)  # of flags that are missing
_ELEMENT = re.compile(r"(.+)\[(\d+)\]")
_SEXAGESIMAL = (
    r"^(?P<sign>[+\-\x{2212}]?) *(?P<whole>\d{1,3})(?:[:hd\x{b0}] *| +)"
    r"(?P<minutes>\d{1,2})(?:[:m'\x{2032}] *| +)(?P<seconds>\d{1,2}(?:\.\d*)?)[s\"\x{2033}]?$"
)


class Source(NamedTuple):
    """An opened table.

    ``pieces(columns, identifier, chunk_size)`` iterates over dicts of arrays as the table has them:
    NumPy's, masked if values are missing, or Arrow's. A `chunk_size` of None asks for one piece.
    If the table is `seekable`, a fourth argument is the row to begin with.
    """

    path: Path | str  # the file, or what to call a table in memory
    format: str
    names: Sequence[str]
    units: dict[str, str]  # of the columns that state one
    pieces: Pieces
    rows: int | None = None  # if the table says so
    whole: bool = False  # it can only be read whole: memory grows with the file
    seekable: bool = False  # rows can be read without those before them

    def blocks(
        self,
        columns: Sequence[str],
        identifier: str | None,
        chunk_size: int | None,
        words: Mapping[str, Mapping[str, float] | float | Bits] | None = None,
        missing: Mapping[str, Sequence[str]] | None = None,
        measured: Container[str] = (),
        start: int = 0,
    ) -> Iterator[Block]:
        """Iterate over dicts of floating-point arrays; the identifier is as the table has it.

        `words` has, for a column of text, the numbers that stand for its words, or of texts as
        ``12:34:56.7`` the degrees of the first unit, or of a column of flags the `Bits` that are
        asked for; `missing`, further
        words that stand for nothing; `measured` are columns of which a truth value is no number.
        A column `x` is missing where `x.mask` is true, and where `l_x` says, as VizieR's tables do,
        that the number is a limit.
        ``name[i]`` is an element of a column of arrays. The arrays
        may be the table's own: do not write to them. A `seekable` table can `start` with any row.
        """
        wanted = list(dict.fromkeys(columns))
        base = {name: self.of_column(name) for name in wanted}
        known = {name.lower(): name for name in self.names}
        masks = {c: known[n] for c in base.values() if (n := f"{c}.mask".lower()) in known}
        # VizieR's FITS has [Fe/H] as __Fe_H_ and l_[Fe/H] as l__Fe_H_.
        marks = {c: f"l{c}" if c.startswith("__") else f"l_{c}" for c in base.values()}
        limits = {c: known[n.lower()] for c, n in marks.items() if n.lower() in known}
        asked = list(dict.fromkeys([*base.values(), *masks.values(), *limits.values()]))
        pieces = self.pieces(asked, identifier, chunk_size, *([start] if start else []))
        first_row = start
        while True:
            with readable(self.path, self.format):
                piece = next(pieces, None)
                if piece is None:
                    return
                block: Block = {}
                for name in wanted:
                    values = _element(piece[base[name]], name, base[name], self.path)
                    gone = as_mask(piece[masks[base[name]]]) if base[name] in masks else None
                    if base[name] in limits:
                        limit = _words_as_float(_as_numpy(piece[limits[base[name]]]), _LIMITS) == 1
                        gone = limit if gone is None else gone | limit
                    if name == identifier:
                        values = _as_numpy(values)
                        if gone is not None:
                            values = np.ma.MaskedArray(values, np.ma.getmaskarray(values) | gone)
                        block[name] = values
                        continue
                    gone_words = (missing or {}).get(name, ())
                    cells = Cells(self.path, name, first_row, gone_words, name in measured)
                    meant = (words or {}).get(name)
                    if isinstance(meant, Bits):
                        number = _any_bit(values, meant, cells)
                    elif isinstance(meant, float):
                        number = angles(values, meant, cells)
                    elif meant is not None:
                        number = _words_as_float(_as_numpy(values), meant)
                    else:
                        number = as_float(values, cells)
                    block[name] = number if gone is None else np.where(gone, np.nan, number)
            rows = len(next(iter(block.values())))
            first_row += rows
            if rows:
                yield block

    def of_column(self, name: str) -> str:
        """Return the column that ``name`` or ``name[i]`` is of."""
        found = None if name in self.names else _ELEMENT.fullmatch(name)
        return found[1] if found and found[1] in self.names else name


def choose_table(
    path: Path | str, kind: str, tables: Mapping[int, tuple[int, Sequence[Any]]],
    wanted: int | str | None, first: int,
) -> tuple[int, str]:  # fmt: skip
    """Return the number of the table that is wanted, else `first`, and what is doubtful about it.

    `tables` has the rows of each and its names, any of which may be wanted.
    """
    said = ", ".join(f"{i} '{names[0] or ''}'" for i, (_, names) in tables.items())
    if wanted is None:
        rows = tables[first][0]
        doubt = (
            f"{path}: {kind} {first} is read, {rows} rows, though another has more "
            f"(tables: {said}); hdu = chooses one by number or name"
        )
        return first, doubt if any(other > rows for other, _ in tables.values()) else ""
    if isinstance(wanted, int) or wanted.isdecimal():
        if int(wanted) not in tables:
            raise CatalogError(f"{path}: {kind} {wanted} is no table: choose one of {said}")
        return int(wanted), ""
    for i, (_, names) in tables.items():
        if wanted.lower() in (str(name).lower() for name in names):
            return i, ""
    known = suggest(wanted, [str(names[0] or "") for _, names in tables.values()])
    raise CatalogError(f"{path}: no table is named '{wanted}': {known}")


@contextmanager
def readable(path: Path | str, format: str) -> Iterator[None]:
    """Turn whatever a library throws at a broken file into an error that names the file."""
    try:
        yield
    except (CatalogError, MemoryError):
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CatalogError(
            f"{path}: cannot be read as {format}; the file is damaged or of another kind ({first})"
        ) from error


def _is_arrow(values: Any) -> bool:
    return type(values).__module__.startswith("pyarrow")


def _as_numpy(values: Any) -> Any:
    """Return an Arrow array as NumPy's, masked where it is null; integers stay integers."""
    if not _is_arrow(values):
        return values
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if values.null_count == 0:
        return values.to_numpy(zero_copy_only=False)
    null = values.is_null().to_numpy(zero_copy_only=False)
    whole = pa.types.is_integer(values.type)
    text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    if whole or text:
        values = pc.fill_null(values, 0 if whole else "")
    return np.ma.MaskedArray(values.to_numpy(zero_copy_only=False), null)


def as_mask(values: Any) -> NDArray[np.bool_]:
    """Return a companion mask; its own missing values mask too."""
    plain = _as_numpy(values)
    texts = np.asarray(np.ma.getdata(plain))
    if texts.dtype.kind in "OUS":
        texts = np.array(
            [str(t).strip().lower() not in ("false", "0", "f") for t in texts.tolist()]
        )
    return texts.astype(bool) | np.ma.getmaskarray(plain)


def _element(values: Any, name: str, column: str, path: Path | str) -> Any:
    """Return one number per row: an element of a column of arrays, if that was asked for."""
    if name == column:
        return values
    i = int(name[len(column) + 1 : -1])
    plain = _as_numpy(values)
    if getattr(plain, "ndim", 1) == 1 and str(getattr(plain, "dtype", "")) == "object":
        both = zip(np.ma.getdata(plain), np.ma.getmaskarray(plain), strict=True)
        rows = [None if masked else row for row, masked in both]
        width = max((len(row) for row in rows if row is not None), default=0)
        empty = np.full(width, np.nan)
        with quiet():
            each = (empty if row is None else np.asarray(row, dtype=np.float64) for row in rows)
            plain = np.array(list(each))
    if plain.ndim < 2 or i >= plain[0].size:
        raise CatalogError(f"{path}: column '{column}' has no element {i} in every row")
    return plain.reshape(len(plain), -1)[:, i]


_LIMITS = dict.fromkeys(("<", ">", "<=", ">=", "\u2264", "\u2265", "<~", ">~"), 1.0)


def _words_as_float(values: Any, words: Mapping[str, float]) -> NDArray[np.float64]:
    """Return the number of each word, NaN for what is masked or no word of the list."""
    texts = np.ma.filled(np.ma.MaskedArray(values).astype(object), "").tolist()
    texts = [t.decode(errors="replace") if isinstance(t, bytes) else str(t) for t in texts]
    return np.array([words.get(t.strip(), np.nan) for t in texts], dtype=np.float64)


class Bits(int):
    """Bits of which any may be set, in a column of flags."""


def _any_bit(values: Any, bits: Bits, cells: Cells) -> NDArray[np.float64]:
    """Return 1 for flags that have one of the bits, else 0; integers are not rounded."""
    plain = _as_numpy(values)
    flags = np.ma.getdata(plain)
    if np.ndim(flags) != 1 or flags.dtype.kind not in "iu":
        plain = flags = np.nan_to_num(as_float(values, cells))
    whole = flags.astype(np.int64)
    found = (whole.view(np.uint64) & np.uint64(bits)) != 0
    return (found & ~np.isin(whole, _NO_BITS) & ~np.ma.getmaskarray(plain)).astype(np.float64)


class Cells(NamedTuple):
    """Where values of a column are, for messages, and which words in them stand for nothing."""

    path: Path | str
    column: str
    first_row: int = 0
    missing: Sequence[str] = ()
    measured: bool = False  # a truth value is no number of it

    def error(self, what: str, row: int | None = None) -> CatalogError:
        """Word an error of the column, or of one of its rows here."""
        at = "" if row is None else f" in row {self.first_row + row + 1} (counting from 1)"
        return CatalogError(f"{self.path}: column '{self.column}' {what.replace('<row>', at)}")


def angles(values: Any, degrees: float, cells: Cells) -> NDArray[np.float64]:
    """Return the degrees of texts of hours (15 degrees) or degrees (1), minutes and seconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = np.ma.filled(np.ma.MaskedArray(_as_numpy(values)).astype(object), None)
    texts = _without_nothing(pa.array([_as_text(v) for v in plain.tolist()], pa.string()), cells)
    parts = pc.extract_regex(pc.utf8_trim(texts, " \t\r\n\x00\xa0"), _SEXAGESIMAL)
    whole, minutes, seconds = (
        _cast(pc.struct_field(parts, name)) for name in ("whole", "minutes", "seconds")
    )
    minus = np.array([s not in (None, "", "+") for s in pc.struct_field(parts, "sign").to_pylist()])
    out = degrees * np.where(minus, -1.0, 1.0) * (whole + minutes / 60.0 + seconds / 3600.0)
    known = np.array(texts.is_valid())
    wrong = known & ~((minutes < 60.0) & (seconds <= 60.0))
    for row in np.flatnonzero(wrong).tolist():
        out[row] = _angle(texts[row].as_py(), degrees, cells, row)
    return out


def _angle(text: str, degrees: float, cells: Cells, row: int) -> float:
    """Return the degrees of a text that is spelled in a rarer way."""
    from astropy.coordinates import Angle

    try:
        with quiet():
            return float(Angle(text, unit="hourangle" if degrees == 15.0 else "deg").degree)
    except (ValueError, TypeError):
        unit = "hours" if degrees == 15.0 else "degrees"
        raise cells.error(
            f"is read as {unit}, minutes and seconds, which '{text}'<row> is not: mend it, name "
            "the column's true unit in the column map, or say what is missing: "
            f'missing = ["{text}"]', row,
        ) from None  # fmt: skip


def as_float(values: Any, cells: Cells) -> NDArray[np.float64]:
    """Return numbers, NaN for what is masked or a word for nothing, refusing any other text.

    In double or single precision. Numbers without a mask come back as they are, not copied.
    """
    mask: Any = np.ma.nomask
    if _is_arrow(values):
        import pyarrow as pa

        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            return _text_as_float(values, cells)
        if pa.types.is_decimal(values.type):
            values = values.cast(pa.float64())
        if pa.types.is_nested(values.type):
            values = np.empty(len(values), dtype=object)
            values[:] = [()] * len(values)  # arrays: refused below
        elif pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
            values = _as_numpy(values)
        else:
            values = values.to_numpy(zero_copy_only=False)  # a null is NaN
    if np.ma.isMaskedArray(values):
        mask, values = np.ma.getmask(values), np.ma.getdata(values)
    plain = np.asarray(values)
    arrays = plain.ndim != 1
    if plain.dtype == object and not arrays:
        kinds = (list, tuple, dict, np.ndarray)
        arrays = any(isinstance(v, kinds) and v is not np.ma.masked for v in plain.tolist())
    if arrays:
        raise cells.error(
            f"holds arrays; map a column of numbers, or an element of it as '{cells.column}[0]'"
        )
    if plain.dtype.kind == "b" and cells.measured:
        raise cells.error("holds truth values; map a column of numbers")
    if plain.dtype.kind in "iu" and not cells.measured and np.any(plain > 2**53):
        raise cells.error(
            "holds integers longer than the 53 bits of a number: they cannot be carried along"
        )
    if plain.dtype.kind in "fiub":
        kind = plain.dtype if plain.dtype == np.float32 else np.float64
        out = plain.astype(kind, copy=False)
        return out if mask is np.ma.nomask else np.where(mask, np.nan, out)
    if plain.dtype.kind not in "OUS":
        kind = {"M": "times or coordinates", "m": "times", "c": "complex numbers"}.get(
            plain.dtype.kind, "no numbers"
        )
        raise cells.error(f"holds {kind}; map a column of numbers")
    import pyarrow as pa

    texts = [_as_text(v) for v in plain.tolist()]
    if mask is not np.ma.nomask:
        texts = [None if m else t for t, m in zip(texts, mask.tolist(), strict=True)]
    return _text_as_float(pa.array(texts, pa.string()), cells)


def _as_text(value: Any) -> str | None:
    """Return a value as text; None if it is a missing value of pandas, NumPy or Python."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\x00")
    if value is None or value is np.ma.masked or (isinstance(value, float) and value != value):
        return None
    return str(value)


def _text_as_float(texts: Any, cells: Cells) -> NDArray[np.float64]:
    """Return the numbers that texts spell, by Arrow's parser, or Python's if it knows better."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pc.utf8_trim(texts, " \t\r\n\x00\xa0")
    with suppress(pa.ArrowInvalid):
        return _cast(texts)
    texts = _without_nothing(texts, cells)
    with suppress(pa.ArrowInvalid):
        return _cast(texts)
    out = np.empty(len(texts))
    for row, text in enumerate(texts.to_pylist()):
        number = np.nan if text is None else _number(text)
        if text is not None and not cells.measured:
            number = _TRUTH.get(text.lower(), number)
        if number is None:
            angle = pc.match_substring_regex(pa.array([text]), _SEXAGESIMAL)[0].as_py()
            what = "map a column of numbers"
            if angle:
                what = (
                    'say in the column map what it is: unit = "h:m:s" of hours, or "d:m:s" of '
                    "degrees"
                )
            if re.match(r"[(\[]\s*[-+.\d]", text):
                raise cells.error(f"holds arrays, as '{text[:40]}'<row>; {what}", row)
            if not angle and re.fullmatch(r"[+-]?\d[\d.,'\s]*\d", text):
                what = "write a decimal point, and nothing between thousands"
            also = "" if angle else f', or say what is missing: missing = ["{text}"]'
            raise cells.error(f"holds text: '{text}'<row>; {what}{also}", row)
        out[row] = number
    return out


def _without_nothing(texts: Any, cells: Cells) -> Any:
    """Return texts of which those that stand for nothing are null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.array([*_NOTHING, *(word.strip().lower() for word in cells.missing)], texts.type)
    blank = pc.or_(
        pc.is_in(pc.utf8_lower(texts), nothing),
        pc.invert(pc.match_substring_regex(texts, r"[\p{L}\p{N}]")),
    )
    return pc.if_else(blank, pa.scalar(None, texts.type), texts)


def _cast(texts: Any) -> NDArray[np.float64]:
    import pyarrow as pa

    return np.array(texts.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


_TRUTH = {"true": 1.0, "t": 1.0, "false": 0.0, "f": 0.0}


def _number(text: str) -> float | None:
    """Read a number as Fortran or Python may have written it."""
    try:
        plain = re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", text.replace("\u2212", "-"))
        return float(plain) if "_" not in text else None
    except ValueError:
        return None


def stated_unit(attrs: Mapping[str, Any]) -> str:
    """Return the unit that the attributes of a variable state, if they do."""
    said = {str(key).lower(): value for key, value in attrs.items()}
    return str(next((said[key] for key in ("units", "unit") if said.get(key)), ""))


def stated_units(attrs: Mapping[Any, Any]) -> dict[str, str]:
    """Return the units by column that the attributes of a whole table state, if they do."""
    said = {str(key).lower(): value for key, value in attrs.items()}
    found = [said[key] for key in ("units", "unit") if isinstance(said.get(key), Mapping)]
    return {str(name): str(unit) for name, unit in found[0].items() if unit} if found else {}


def table_source(path: Path | str, format: str, table: Any) -> Source:
    """Slice a table of astropy's that is in memory; a SkyCoord is columns as in a file of it."""
    columns = {str(name): table[name] for name in table.colnames}
    units: dict[str, str] = {}
    for name in [n for n, c in columns.items() if type(c).__name__ == "SkyCoord"]:
        frame, parts = _of_coordinates(name, columns.pop(name))
        units |= framed(name, frame, {n: str(c.unit) for n, c in parts.items()})
        columns |= parts
    stated = {n: str(c.unit) for n, c in columns.items() if getattr(c, "unit", None) is not None}
    units = stated | units

    def pieces(wanted: list[str], identifier: str | None, size: int | None) -> Iterator[Block]:
        step = size or max(len(table), 1)
        for start in range(0, len(table), step):
            yield {name: plain_column(columns[name][start : start + step]) for name in wanted}

    return Source(path, format, list(columns), units, pieces, rows=len(table), whole=True)


def _of_coordinates(name: str, coordinates: Any) -> tuple[str, dict[str, Any]]:
    """Return frame and columns of a SkyCoord, in ICRS if that is a rotation."""
    from astropy.table import QTable
    from astropy.table.serialize import represent_mixins_as_columns

    if coordinates.frame.name in ("galactic", "fk5"):
        coordinates = coordinates.icrs
    if coordinates.frame.name == "icrs":
        coordinates = coordinates.copy()
        coordinates.representation_type = "spherical"
        coordinates.differential_type = "sphericalcoslat"
    made = represent_mixins_as_columns(QTable({name: coordinates}))
    return coordinates.frame.name, {column: made[column] for column in made.colnames}


def framed(name: str, frame: str, units: Mapping[str, str]) -> dict[str, str]:
    """Return units of the angles of coordinates: none that are known, if these are not of ICRS."""
    angles = (f"{name}.{part}" for part in ("ra", "dec", "pm_ra_cosdec", "pm_dec"))
    how = f"in the frame {frame} (give {name}.icrs, of astropy)"
    return {n: f"{units[n]} {how}" for n in angles if frame != "icrs" and n in units}


def resized(tables: Iterable[Any], size: int | None) -> Iterator[Any]:
    """Join and cut Arrow tables to `size` rows each, but for the last; or all to one.

    A column may be of integers in one table and of floating-point numbers in another.
    """
    import pyarrow as pa

    waiting: list[Any] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += len(table)
        if size is not None and count >= size:
            whole = pa.concat_tables(waiting, promote_options="permissive").combine_chunks()
            rest = count % size
            for start in range(0, count - rest, size):
                yield whole.slice(start, size)
            waiting, count = [whole.slice(count - rest)] if rest else [], rest
    if count:
        yield pa.concat_tables(waiting, promote_options="permissive").combine_chunks()


def arrow_columns(table: Any, wanted: Sequence[str], names: Sequence[str] | None = None) -> Block:
    """Return columns of an Arrow table in one piece each, by the names that are `wanted`."""
    columns = (table.column(name) for name in names or wanted)
    pieces = (c.chunk(0) if c.num_chunks == 1 else c.combine_chunks() for c in columns)
    return dict(zip(wanted, pieces, strict=True))


def arrow_array(values: Any) -> Any:
    """Return an array of NumPy's as Arrow's, null where it is masked or an empty text."""
    import pyarrow as pa

    mask, data = np.ma.getmaskarray(np.ma.asarray(values)), np.ma.getdata(values)
    if data.ndim > 1:
        return pa.array(np.asarray(data).tolist())
    if data.dtype.kind not in "OUS":
        return pa.array(np.asarray(data, data.dtype.newbyteorder("=")), mask=mask)
    plain = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in data.tolist()]
    # A VOTable writes a text that is missing as one that is empty.
    gone = (m or (isinstance(v, str) and not v) for v, m in zip(plain, mask, strict=True))
    return pa.array(
        [None if g else np.asarray(v).tolist() for v, g in zip(plain, gone, strict=True)]
    )


def plain_column(column: Any) -> Any:
    """Return a column of astropy's as NumPy's, masked where it is; units are kept elsewhere."""
    mask = getattr(column, "mask", None)
    if hasattr(column, "unmasked"):  # a masked quantity
        column = column.unmasked
    if hasattr(column, "unit") and hasattr(column, "to_value"):
        column = column.to_value(column.unit)
    if not isinstance(column, np.ndarray):
        # Times and coordinates are no numbers: refused by name if they are mapped.
        return np.full(len(column), np.datetime64("NaT", "s"))
    values = np.asarray(np.ma.getdata(column))
    if mask is None or not np.any(mask):
        return values
    return np.ma.MaskedArray(values, mask)
