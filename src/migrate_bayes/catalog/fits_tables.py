"""Tables in FITS, binary and ASCII, row block by row block from the bytes themselves.

astropy reads the headers; the cells are taken as the standard [1]_ has them, since a null of a
scaled column (``TNULL`` with ``TSCAL``) is a null of the stored integer, before it is scaled.

References
----------
.. [1] Definition of the Flexible Image Transport System, version 4.0, sections 7.2 and 7.3.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.catalog.contents import Contents
from migrate_bayes.catalog.source import Block, Source, choose_table, quiet
from migrate_bayes.catalog.text_tables import described_units
from migrate_bayes.core.errors import CatalogError, CatalogWarning

_TYPES = {
    "L": "i1", "X": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8",
    "A": "S", "C": ">c8", "M": ">c16", "P": ">i4", "Q": ">i8",
}  # fmt: skip
_UNSIGNED = {"I": 2.0**15, "J": 2.0**31, "K": 2.0**63}


class _Cell(NamedTuple):
    """One column as its header describes it."""

    name: str
    code: str  # of the binary format, or "text" in an ASCII table
    dtype: Any  # of the stored value
    offset: int
    scale: float
    zero: Any
    null: Any
    unit: str


def open_fits(contents: Contents, hdu: int | str | None) -> Source:
    """Open a table in a FITS file; the first, unless `hdu` names another."""
    from astropy.io import fits

    path, data = contents.path, contents.in_memory()
    with quiet(), fits.open(io.BytesIO(data) if data is not None else path, memmap=True) as hdus:
        kinds = (fits.BinTableHDU, fits.TableHDU)
        tables = {
            i: (int(h.header["NAXIS2"]), [h.name]) for i, h in enumerate(hdus)
            if isinstance(h, kinds)
        }  # fmt: skip
        if not tables:
            raise CatalogError(f"{path}: no table in this FITS file")
        index, doubt = choose_table(path, "HDU", tables, hdu, min(tables))
        chosen = hdus[index]
        header, start = chosen.header.copy(), int(chosen.fileinfo()["datLoc"])
        ascii_table = isinstance(chosen, fits.TableHDU)
    if doubt:
        warnings.warn(doubt, CatalogWarning, stacklevel=2)
    if header.get("ZTABLE"):
        raise CatalogError(
            f"{path}: the table is compressed by tiles (fpack): unpack it by funpack"
        )
    n, width = int(header["NAXIS2"]), int(header["NAXIS1"])
    size = len(data) if data is not None else (contents.size or 0)
    if size < start + width * n:
        raise CatalogError(
            f"{path}: the file is cut short: its header promises {n} rows, {start + width * n} "
            f"bytes, but it has {size}. Copy or download it again"
        )
    cells = _cells(header, ascii_table)
    units = {c.name: c.unit for c in cells if c.unit} | _serialized_units(header)
    by_name = {c.name: c for c in reversed(cells)}
    row = np.dtype({
        "names": [f"f{i}" for i in range(len(cells))], "formats": [c.dtype for c in cells],
        "offsets": [c.offset for c in cells], "itemsize": width,
    })  # fmt: skip
    place = {c.name: f"f{i}" for i, c in reversed(list(enumerate(cells)))}

    def pieces(
        wanted: list[str], identifier: str | None, chunk: int | None, begin: int = 0
    ) -> Iterator[Block]:
        step = chunk or max(n, 1)
        # Some thousand rows at a time: they are taken apart while they are in the cache.
        some = max(1, min(step, (1 << 21) // max(width, 1)))
        buffer = np.empty(some, dtype=row)
        raw = memoryview(buffer.view(np.uint8)) if width else memoryview(b"")
        with io.BytesIO(data) if data is not None else Path(path).open("rb", buffering=0) as file:
            file.seek(start + begin * width)
            for first in range(begin, n, step):
                yield _piece(file, raw, buffer, wanted, min(step, n - first))

    def _piece(file: Any, raw: memoryview, buffer: Any, wanted: list[str], rows: int) -> Block:
        piece: Block = {}
        masks: dict[str, NDArray[np.bool_]] = {}
        for at in range(0, rows, len(buffer)):
            count = min(len(buffer), rows - at)
            _fill(file, raw[: count * width])
            for name in wanted:
                values = _values(buffer[place[name]][:count], by_name[name])
                if at == 0:
                    kind = values.dtype.newbyteorder("=")
                    piece[name] = np.empty((rows, *values.shape[1:]), kind)
                piece[name][at : at + count] = np.ma.getdata(values)
                if np.ma.isMaskedArray(values):
                    mask = masks.setdefault(name, np.zeros(piece[name].shape, dtype=bool))
                    mask[at : at + count] = np.ma.getmaskarray(values)
        return piece | {name: np.ma.MaskedArray(piece[name], mask) for name, mask in masks.items()}

    return Source(
        path, "fits", [c.name for c in cells], units, pieces, rows=n, whole=contents.packed,
        seekable=not contents.packed,
    )  # fmt: skip


def _fill(file: Any, view: memoryview) -> None:
    done = 0
    while done < len(view):
        got = file.readinto(view[done:])
        if not got:
            raise OSError("the file has become shorter")
        done += got


def _cells(header: Any, text: bool) -> list[_Cell]:
    """Read the columns' descriptions, of an ASCII table (`text`) or of a binary one."""
    cells, offset = [], 0
    for i in range(1, int(header["TFIELDS"]) + 1):
        name = str(header.get(f"TTYPE{i}", "")).strip() or f"col{i}"
        null = header.get(f"TNULL{i}")
        form = r"\s*()([AIFED])(\d+)" if text else r"\s*(\d*)([LXBIJKEDAPQCM])"
        found = re.match(form, str(header[f"TFORM{i}"]).upper())
        if found is None:
            raise CatalogError(f"column '{name}' has the unknown format '{header[f'TFORM{i}']}'")
        repeat, code = int(found[1] or 1), found[2]
        if text:
            code, dtype = "text", np.dtype(f"S{int(found[3])}")
            offset = int(header[f"TBCOL{i}"]) - 1
            null = None if null is None else str(null).strip()
        elif code == "A":
            dtype = np.dtype(f"S{repeat}") if repeat else np.dtype(("u1", (0,)))
        elif code in "PQ":
            dtype = np.dtype((_TYPES[code], (2 * repeat,)))
        elif code == "X":
            dtype = np.dtype(("u1", ((repeat + 7) // 8,)))
        else:
            dtype = np.dtype(_TYPES[code] if repeat == 1 else (_TYPES[code], (repeat,)))
        cells.append(_Cell(
            name, code, dtype, offset, float(header.get(f"TSCAL{i}", 1.0)),
            header.get(f"TZERO{i}", 0), null if text or code in "BIJK" else None,
            str(header.get(f"TUNIT{i}", "")).strip(),
        ))  # fmt: skip
        offset += dtype.itemsize
    return cells


def _serialized_units(header: Any) -> dict[str, str]:
    """Return the units that FITS does not know, from the comments in which astropy keeps them."""
    lines = [str(line) for line in header.get("COMMENT", [])]
    begin, end = (f"--{what}-ASTROPY-SERIALIZED-COLUMNS--" for what in ("BEGIN", "END"))
    if begin not in lines or end not in lines:
        return {}
    # A line that FITS had to break goes on after a backslash.
    text = "\n".join(lines[lines.index(begin) + 1 : lines.index(end)]).replace("\\\n", "")
    return described_units(text.split("\n"))[0]


def _values(raw: NDArray[Any], cell: _Cell) -> NDArray[Any]:
    """Return values masked and scaled; numbers that need neither as they are stored."""
    if cell.code in "PQ":
        return np.full(len(raw), None).reshape(-1, 1)
    if cell.code == "A":
        return raw.copy()
    if cell.code == "text":
        return _text(raw, cell)
    if cell.code == "L":
        values = raw == ord("T")
        known = values | (raw == ord("F"))
        return values if known.all() else np.ma.MaskedArray(values, ~known)
    if cell.code in "BIJKED" and cell.null is None and cell.scale == 1.0 and not cell.zero:
        return raw
    values = raw.astype(raw.dtype.newbyteorder("="))
    mask = np.ma.nomask if cell.null is None else values == int(cell.null)
    if cell.code in _UNSIGNED and cell.scale == 1.0 and float(cell.zero) == _UNSIGNED[cell.code]:
        bits = np.dtype(f"u{values.dtype.itemsize}")
        values = values.view(bits) ^ bits.type(1 << (8 * bits.itemsize - 1))
    elif cell.code in "BIJK" and cell.scale == 1.0 and cell.zero == int(cell.zero):
        if cell.zero:
            values = values.astype(np.int64) + int(cell.zero)
    elif cell.scale != 1.0 or cell.zero:
        values = values * cell.scale + float(cell.zero)
    return values if mask is np.ma.nomask or not mask.any() else np.ma.MaskedArray(values, mask)


def _text(raw: NDArray[Any], cell: _Cell) -> NDArray[Any]:
    """Return the texts of an ASCII table, blanks and nulls masked; a scaled column as numbers."""
    texts = np.char.strip(raw.copy())
    mask = (texts == b"") | (texts == (cell.null or "").encode())
    if cell.scale == 1.0 and not cell.zero:
        return np.ma.MaskedArray(texts, mask)
    spelled = np.where(mask, b"nan", texts).tolist()
    numbers = np.array([float(t.upper().replace(b"D", b"E")) for t in spelled])
    return np.ma.MaskedArray(numbers * cell.scale + float(cell.zero), mask)
