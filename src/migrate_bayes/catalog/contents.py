"""The bytes of a table: a file or a file object, unpacked, and what its first bytes say it is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from migrate_bayes.core.errors import CatalogError

_PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open,
}  # fmt: skip
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive (or a spreadsheet): unpack it, or save the sheet as CSV",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it",
    b"\x89HDF": "an HDF5 file: write the table as Parquet or FITS, or pass it as a Dataset",
    b"7z\xbc\xaf": "a 7-Zip archive: unpack it",
    b"ARROW1": "an Arrow file (Feather): write the table as Parquet",
}
PACKED_ENDINGS = (".gz", ".bz2", ".xz")


class Contents(NamedTuple):
    """A file's bytes, which can be opened as often as needed, and what is known of them."""

    path: Path | str
    open: Callable[[], BinaryIO]
    kind: str | None  # "fits", "parquet" or "votable" if the first bytes say so
    packed: bool
    size: int | None  # bytes as stored, if they are not packed
    data: bytes | None = None  # if they are in memory

    def in_memory(self) -> bytes | None:
        """Return the bytes if they are in memory, or have to be since they are packed."""
        if not self.packed:
            return self.data
        with self.open() as file:
            return file.read()


def contents_of(table: Any) -> Contents:
    """Open a path or a file object, and look at its first bytes."""
    data = None
    if hasattr(table, "read"):
        data = table.read()
        if not data and hasattr(table, "seek"):  # it was written to, or read before
            table.seek(0)
            data = table.read()
        data = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        name = getattr(table, "name", None)
        path: Path | str = name if isinstance(name, str) else "the file object"
    else:
        path = Path(table)

    def plain() -> BinaryIO:
        return Path(path).open("rb") if data is None else io.BytesIO(data)

    with plain() as file:
        head = file.read(512)
    how = [opener for magic, opener in _PACKED.items() if head.startswith(magic)]
    if not how:
        size = Path(path).stat().st_size if data is None else len(data)
        return Contents(path, plain, _kind(path, head), False, size, data)

    def unpacked() -> BinaryIO:
        return cast(BinaryIO, how[0](path if data is None else io.BytesIO(data)))

    try:
        with unpacked() as file:
            head = file.read(512)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise CatalogError(f"{path}: the packed file is damaged or cut short ({error})") from error
    return Contents(path, unpacked, _kind(path, head), True, None)


def _kind(path: Path | str, head: bytes) -> str | None:
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise CatalogError(f"{path} is {what}")
    if head.startswith(b"SIMPLE  ="):
        return "fits"
    if head.startswith(b"PAR1"):
        return "parquet"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.decode("utf-16", "ignore").lstrip().lower().encode()
    if b"<votable" in text or text.startswith(b"<?xml"):
        return "votable"
    if text.startswith((b"<!doctype html", b"<html")):
        raise CatalogError(
            f"{path} is a web page, as a server sends in place of a file: fetch it again"
        )
    return None
