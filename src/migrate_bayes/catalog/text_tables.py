"""Tables of text: CSV, TSV, ECSV, VizieR's, machine-readable ones, IPAC's, columns in general.

The header is found first; the rows then go through Arrow's parser, which knows how many fields
there must be, as texts that `source` turns into numbers. `_Rows` gives it the rows without whatever
is none of them: comments, lines of units or dashes, empty lines, a byte-order mark.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, takewhile
from typing import Any, BinaryIO, NamedTuple

from migrate_bayes.catalog.columns import is_unit, is_unstated
from migrate_bayes.catalog.contents import Contents
from migrate_bayes.catalog.source import (
    Block,
    Source,
    arrow_columns,
    framed,
    quiet,
    resized,
    table_source,
)
from migrate_bayes.core.errors import CatalogError, CatalogWarning

_BLOCK = 1 << 20  # bytes at a time
_SPACES = " "  # the separator of columns that any number of blanks keep apart
_TAB = "\x1f"  # what such blanks become for the parser
_COMMENTS = ("#", "%", "!", "//")  # what begins a line above the names
_TYPES = re.compile(r"\d*[NSMnsm]")  # the line below the names of an RDB table
_DASHES = re.compile(r"\s*-+\s*|\s*")


class _Layout(NamedTuple):
    """How a file is laid out: `skip` lines stand before the first row."""

    names: list[str]
    units: dict[str, str]
    separator: str
    skip: int
    ecsv: bool


def open_text(contents: Contents) -> Source:
    """Open a table of text."""
    path = contents.path
    with contents.open() as file:
        lines = _Lines(file)
        special = _special(lines)
    if special:
        return _by_astropy(contents, special)
    with contents.open() as file:
        layout = _layout(_Lines(file), path)
    keys = {name: f"f{i}" for i, name in reversed(list(enumerate(layout.names)))}
    said: set[str] = set()

    def pieces(wanted: list[str], identifier: str | None, size: int | None) -> Iterator[Block]:
        with contents.open() as file:
            rows = _Rows(_Lines(file), layout, path)
            asked = [keys[name] for name in wanted]
            for table in resized(_batches(rows, layout, asked, path), size):
                yield arrow_columns(table, wanted, asked)
            for text in rows.doubts:
                if text not in said:
                    said.add(text)
                    warnings.warn(text, CatalogWarning, stacklevel=2)

    return Source(path, "csv", layout.names, layout.units, pieces)


def _batches(rows: _Rows, layout: _Layout, include: list[str], path: Any) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = [f"f{i}" for i in range(len(layout.names))]
    separator = _TAB if layout.separator == _SPACES and not layout.ecsv else layout.separator
    try:
        reader = arrow_csv.open_csv(
            pa.PythonFile(rows, mode="r"),
            arrow_csv.ReadOptions(use_threads=False, block_size=4 * _BLOCK, column_names=names),
            arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(include, pa.string()), include_columns=include,
                strings_can_be_null=False, check_utf8=False,
            ),
        )  # fmt: skip
        for batch in reader:
            yield pa.Table.from_batches([batch])
    except pa.ArrowInvalid as error:
        text = str(error)
        if text.startswith("Empty CSV file"):
            return
        if found := re.search(
            r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+): ?(.*)", text, re.S
        ):
            row, want, got, line = found.groups()
            shown = line.strip().replace(_TAB, " ")[:80]
            raise CatalogError(
                f"{path}: row {row or '?'} (counting from 1) has {got} fields, but the header has "
                f"{want}: '{shown}'. The file is cut short or was written wrongly: mend this row"
            ) from error
        raise


class _Lines:
    """Lines of bytes in UTF-8, whatever the file's encoding and ends of line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = self._file.read(4)
        self._decode: Callable[[bytes], str] | None = None
        self._rest = b""
        for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
            if head.startswith(mark):
                self._decode, head = codecs.getincrementaldecoder(name)().decode, head[2:]
        head = self._utf8(head.removeprefix(codecs.BOM_UTF8))
        self._rest = head + self._utf8(self._file.read(_BLOCK))
        # Lines that end by a carriage return alone.
        self._old = b"\r" in self._rest and b"\n" not in self._rest
        if self._old:
            self._rest = self._rest.replace(b"\r", b"\n")
        self.unended = False

    def _utf8(self, data: bytes) -> bytes:
        return data if self._decode is None else self._decode(data).encode()

    def more(self) -> bytes:
        """Return some whole lines, of which the last may lack its end; nothing at the end."""
        data = self._rest
        while True:
            new = self._utf8(self._file.read(_BLOCK))
            if self._old:
                new = new.replace(b"\r", b"\n")
            if not new:
                self._rest = b""
                self.unended = self.unended or (bool(data) and not data.endswith(b"\n"))
                return _checked(data)
            whole = (data + new).rfind(b"\n") + 1
            if whole:
                data, self._rest = (data + new)[:whole], (data + new)[whole:]
                return _checked(data)
            data += new

    def lines(self) -> Iterator[str]:
        """Iterate over the lines from here on, without their ends."""
        while data := self.more():
            for line in data.decode().split("\n")[: None if not data.endswith(b"\n") else -1]:
                yield line.removesuffix("\r")


def _checked(data: bytes) -> bytes:
    """Refuse bytes that are no text; take an older encoding for Latin-1, in which any byte is."""
    if b"\x00" in data:
        raise ValueError("it holds bytes that are no text")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1").encode()
    return data


def _special(lines: _Lines) -> str:
    """Name astropy's reader of a file that needs one."""
    head = list(islice(lines.lines(), 400))
    if not head or not head[0].startswith(("Title:", "\\", "|", "=")):
        return ""
    if any(line.startswith("Byte-by-byte Description of file") for line in head):
        return "mrt"
    top = list(takewhile(lambda line: line.startswith(("\\", "|")), head))
    bars = [line.rstrip() for line in top if line.startswith("|")]
    whole = len(bars) >= 2 and all(line.endswith("|") for line in bars)
    return "ipac" if whole and len(top) < len(head) else ""


def _by_astropy(contents: Contents, format: str) -> Source:
    from astropy.io import ascii as astropy_ascii

    with contents.open() as file:
        text = "\n".join(_Lines(file).lines())
    with quiet():
        table = astropy_ascii.read(text, format=format)
    return table_source(contents.path, "csv", table)


def _layout(lines: _Lines, path: Any) -> _Layout:
    """Find the header, and a row of units or VizieR's lines of units and dashes below it."""
    comments: list[str] = []
    below: list[str] = []
    head, skip = "", 0
    for line in lines.lines():
        if not head:
            skip += 1
            if line.startswith(_COMMENTS):
                comments.append(line)
            elif line.strip():
                head = line
        elif len(below) < 2:
            below.append(line)
        else:
            break
    if not head and not comments:
        raise CatalogError(f"{path}: the file is empty")
    ecsv = bool(comments) and comments[0].startswith("# %ECSV")
    if ecsv:
        if not head:
            raise CatalogError(f"{path}: the file is cut short: its header has no line of names")
        described = [line.removeprefix("#").removeprefix(" ") for line in comments[1:]]
        units, separator = described_units(described)
        return _Layout(_split(head, separator), units, separator, skip, separator == " ")
    separator = _separator(head)
    names = _split(head, separator)
    # The names may stand in the last comment, as NumPy and TOPCAT write them.
    if comments and all(_is_number(name) or not name for name in names):
        text = comments[-1].lstrip("#%!/ \t")
        named = _split(text, _separator(text) if text else separator)
        if len(named) == len(names) and not all(map(_is_number, named)):
            return _Layout(named, {}, separator, skip - 1, False)
    if not head:
        raise CatalogError(f"{path}: the file has comments and no rows")
    if all(_is_number(name) for name in names if name):
        raise CatalogError(
            f"{path}: the file has no line of names: it begins with '{head.strip()[:60]}'; write "
            "the columns' names above the rows"
        )
    units = {}
    fields = [_split(line, separator) for line in below]
    if separator == "\t" and fields and all(map(_TYPES.fullmatch, fields[0])):
        return _Layout(names, {}, separator, skip + 1, False)
    for i, row in enumerate(fields):
        dashes = (
            len(row) == len(names) and all(map(_DASHES.fullmatch, row)) and "--" in "".join(row)
        )
        if dashes:
            if i == 1 and len(fields[0]) == len(names):
                units = {n: u for n, u in zip(names, fields[0], strict=True) if u}
            skip += i + 1
            break
    else:
        if len(fields) == 2 and _are_units(fields[0], fields[1], len(names)):
            units = {n: u.strip("()") for n, u in zip(names, fields[0], strict=True) if u}
            skip += 1
    return _Layout(names, units, separator, skip, False)


def _are_units(row: list[str], below: list[str], columns: int) -> bool:
    """Whether the first row has units, above a row that has numbers, and nothing else."""
    if not len(row) == len(below) == columns or any(map(_is_number, row)):
        return False
    plain = [cell.strip("()") for cell in row]
    known = [is_unit(cell) for cell in plain]
    measured = any(k and _is_number(b) for k, b in zip(known, below, strict=True))
    return measured and all(k or is_unstated(c) for k, c in zip(known, plain, strict=True))


def described_units(lines: list[str]) -> tuple[dict[str, str], str]:
    """Return units and delimiter from the header that astropy writes to ECSV, FITS and Parquet.

    Angles of a SkyCoord in a frame other than ICRS get a unit that is none, and names the frame.
    """
    from astropy.table.meta import get_header_from_yaml

    header = get_header_from_yaml(lines)
    units = {c["name"]: str(c["unit"]) for c in header["datatype"] if c.get("unit")}
    for name, made in (header.get("meta") or {}).get("__serialized_columns__", {}).items():
        if made.get("__class__", "").endswith(".SkyCoord"):
            units |= framed(name, made.get("frame", "icrs"), units)
    return units, str(header.get("delimiter", " "))


def _separator(head: str) -> str:
    there = next((s for s in (",", "\t", ";", "|") if s in head), "")
    return there or (_SPACES if len(head.split()) > 1 else ",")


def _split(line: str, separator: str) -> list[str]:
    if separator == _SPACES:
        line = " ".join(line.split())
    row = line.split(separator)
    if '"' in line:
        row = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return [field.strip() for field in row]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")


class _Rows(io.RawIOBase):
    """The rows of a file as bytes for the parser, and what is doubtful about them."""

    def __init__(self, lines: _Lines, layout: _Layout, path: Any) -> None:
        self._lines, self._layout, self._path = lines, layout, path
        self._skip, self._ready, self._ended = layout.skip, b"", False
        self._last = b""
        self.doubts: list[str] = []

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes of rows."""
        while not self._ready and not self._ended:
            self._ready = self._next()
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _next(self) -> bytes:
        data = self._lines.more()
        if not data:
            self._ended = True
            if self._lines.unended and self._last:
                self.doubts.append(
                    f"{self._path}: the last line, '{self._last.decode()[-60:]}', has no end of "
                    "line: "
                    "the file may have been cut within its last value; see whether it is whole"
                )
            return b""
        while self._skip and data:
            self._skip -= 1
            data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
        separator = self._layout.separator
        odd = data.startswith((b"#", b"\n", b"\r")) or b"\n#" in data or b"\n\n" in data
        if odd or b"\n\r\n" in data or separator == _SPACES:
            data = self._clean(data)
        if data:
            self._last = data[data.rstrip(b"\n").rfind(b"\n") + 1 :].strip()
        return data

    def _clean(self, data: bytes) -> bytes:
        kept = []
        blanks = self._layout.separator == _SPACES and not self._layout.ecsv
        fields = len(self._layout.names)
        separator = self._layout.separator.encode()
        for line in data.splitlines():
            if not line.strip():
                continue
            if line.startswith(b"#"):
                if line.startswith((b"#RESOURCE=", b"#Table")):
                    self.doubts.append(
                        f"{self._path}: the file holds further tables: the first is read; save "
                        "each table to a file of its own"
                    )
                    self._ended = True
                    break
                given = len(line.split()) if blanks else line.count(separator) + 1
                if given != fields or fields == 1:
                    continue
            if blanks:
                row: Sequence[bytes] = line.split()
                if b'"' in line:
                    texts = csv.reader([line.decode()], delimiter=" ", skipinitialspace=True)
                    row = [text.encode() for text in next(texts)]
                line = _TAB.encode().join(row)
            kept.append(line)
        return b"".join(line + b"\n" for line in kept)
