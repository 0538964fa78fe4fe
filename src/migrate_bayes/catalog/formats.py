"""What a catalogue may be kept in, behind one face: `open_source` opens a file, folder or table.

FITS is read by slices, text by lines, Parquet by batches; a VOTable, a machine-readable table and a
packed FITS file have to be read whole and are sliced afterwards. What a file is, its first bytes
say; its name decides only between tables of text.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from migrate_bayes.catalog.contents import PACKED_ENDINGS, Contents, contents_of
from migrate_bayes.catalog.fits_tables import open_fits
from migrate_bayes.catalog.memory_tables import open_memory
from migrate_bayes.catalog.parquet_tables import open_folder, open_parquet
from migrate_bayes.catalog.source import Source, readable
from migrate_bayes.catalog.text_tables import open_text
from migrate_bayes.catalog.votables import open_votable
from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.places import expand

FORMATS: dict[str, tuple[str, ...]] = {
    "fits": (".fits", ".fit"),
    "csv": (".csv", ".ecsv", ".tsv"),
    "votable": (".vot", ".xml", ".votable"),
    "parquet": (".parquet", ".pq"),
}
"""Format to the endings of its files; all may be packed by gzip, bzip2 or xz."""
_ALSO_READ = {
    ".fts": "fits", ".parq": "parquet", ".txt": "csv", ".dat": "csv", ".asc": "csv",
    ".ascii": "csv", ".mrt": "csv", ".tbl": "csv", ".vo": "votable",
}  # fmt: skip


def format_of(path: Path, format: str | None = None) -> str:
    """Name the format of a file from its ending, or check the one that was asked for."""
    if format is not None:
        name = "csv" if format == "ecsv" else format
        if name not in FORMATS:
            raise CatalogError(f"no format '{format}': {suggest(format, [*FORMATS, 'ecsv'])}")
        return name
    by_ending = {ending: name for name, endings in FORMATS.items() for ending in endings}
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in PACKED_ENDINGS]
    if suffixes and suffixes[-1] in by_ending | _ALSO_READ:
        return (by_ending | _ALSO_READ)[suffixes[-1]]
    raise CatalogError(
        f"{path}: cannot tell the format from the name: use one of {', '.join(sorted(by_ending))}, "
        f"or say format = one of {', '.join(FORMATS)}"
    )


def _full(path: Path) -> str:
    """Name a path, and the place where a relative one was looked for."""
    return str(path) if path.is_absolute() else f"{path} (in {Path.cwd()})"


def open_source(table: Any, *, format: str | None = None, hdu: int | str | None = None) -> Source:
    """Open a table, refusing one that is missing, cut short or of no known kind.

    `hdu` chooses among the tables of a FITS file (by the HDU's number or name) or of a VOTable (by
    number, ID or name).
    """
    if hdu is not None and (isinstance(hdu, bool) or not isinstance(hdu, int | str)):
        raise CatalogError(f"hdu is the number or the name of a table, not {hdu!r}")
    if format is not None:
        format = format_of(Path("table"), format)
    if (source := open_memory(table)) is not None:
        return source
    if hasattr(table, "writeto"):  # HDUs of astropy
        table = _written(table)
    if isinstance(table, bytes | bytearray):
        table = io.BytesIO(table)
    if isinstance(table, str) or hasattr(table, "__fspath__"):
        table = path = expand(table)
        if not path.exists():
            raise CatalogError(f"no such file: {_full(path)}")
        if not (path.is_file() or path.is_dir()):
            raise CatalogError(f"{path} is a pipe or a device, which is read once: write a file")
        if path.is_dir():
            with readable(path, "parquet"):
                return open_folder(path)
    elif not hasattr(table, "read"):
        raise CatalogError(
            f"a {type(table).__module__}.{type(table).__name__} is no catalogue: pass a path, an "
            "open file, an astropy Table, a pandas DataFrame, an xarray Dataset or an Arrow table"
        )
    try:
        contents = contents_of(table)
    except OSError as error:
        raise CatalogError(f"{table}: cannot be read: {error.strerror or error}") from error
    kind = contents.kind
    if kind is None:
        # A file object has no name to go by, and what is not binary is text.
        nameless = hasattr(table, "read") and not Path(contents.path).suffix
        kind = format or ("csv" if nameless else format_of(Path(contents.path)))
        if kind != "csv" and contents.size != 0:
            raise CatalogError(
                f"{contents.path}: cannot be read as {kind}; the file is damaged or of another "
                "kind (its first bytes are those of no such file)"
            )
        if kind != "csv":
            raise CatalogError(f"{contents.path}: the file is empty")
    if format is not None and format != kind:
        raise CatalogError(f"{contents.path} is a file of {kind}, not of {format} as was said")
    return _opened(contents, kind, hdu)


def _opened(contents: Contents, kind: str, hdu: int | str | None) -> Source:
    with readable(contents.path, kind):
        if kind == "fits":
            return open_fits(contents, hdu)
        if kind == "votable":
            return open_votable(contents, hdu)
        if hdu is not None:
            raise CatalogError(f"{contents.path}: a file of {kind} holds one table: leave hdu out")
        return open_parquet(contents) if kind == "parquet" else open_text(contents)


def _written(hdus: Any) -> io.BytesIO:
    """Return the bytes of astropy's HDUs: what a file of them would hold."""
    from astropy.io import fits

    out = io.BytesIO()
    out.name = "the HDU"
    listed = hdus if isinstance(hdus, fits.HDUList) else fits.HDUList([fits.PrimaryHDU(), hdus])
    listed.writeto(out)
    out.seek(0)
    return out
