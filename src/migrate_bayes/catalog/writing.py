"""Write tables of stars: Parquet and FITS in a stream, ECSV, VOTable and CSV whole.

`write_catalog` writes a catalogue with its units, which `read_catalog` reads back as it was;
``star_key`` is left out, since it is a function of the identifier. Both this function and
`migrate_bayes.export` use `write_parquet` and `write_fits`, which hold at most one part in memory.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import OWN_FLAG
from migrate_bayes.catalog.contents import PACKED_ENDINGS
from migrate_bayes.catalog.formats import format_of
from migrate_bayes.catalog.memory_tables import open_memory
from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.catalog.source import resized
from migrate_bayes.core.errors import CatalogError, ProductError
from migrate_bayes.core.flags import FLAG_MEANING
from migrate_bayes.core.io import atomic_output

ROW_GROUP = 65_536
"""Rows in a Parquet row group: a reader's memory is proportional to it."""

Part = Mapping[str, NDArray[Any]]


class OutputColumn(NamedTuple):
    """A column of a file; a unit, UCD or description of None is left out of the file."""

    name: str
    dtype: np.dtype  # of any width if it is text
    unit: str | None = None  # of astropy
    ucd: str | None = None  # Unified Content Descriptor
    description: str | None = None
    variable: str = ""  # of StarPosteriors or the fit's membership, that an export takes it from
    potential: int | None = None  # place along `potential`, if the variable depends on it

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.dtype.kind in "OUS"


def write_catalog(
    catalog: xr.Dataset | Iterable[xr.Dataset],
    path: str | Path,
    *,
    overwrite: bool = False,
    format: str | None = None,
    record: Mapping[str, str] | None = None,
) -> Path:
    """Write a catalogue to one file, whole or not at all.

    Parameters
    ----------
    catalog : xarray.Dataset or iterable of xarray.Dataset
        Variables on dim ``star`` alone are written, ``flag`` as ``migrate_bayes_flag``. Chunks go
        to Parquet as they come; the file is the same, byte for byte, whatever the chunks.
    path : path-like
        The ending gives the format: see `migrate_bayes.catalog.formats.FORMATS`.
    overwrite : bool
        Replace a file that exists.
    format : str, optional
        The format, if the ending does not give it.
    record : mapping, optional
        Texts that Parquet keeps with the table.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    CatalogError
        For an unknown format.
    ProductError
        If the file exists already or cannot be written, or the chunks' columns differ.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> from migrate_bayes.catalog import read_catalog, write_catalog
    >>> stars = xr.Dataset({"teff": ("star", [5772.0])}, coords={"source_id": ("star", [7])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = read_catalog(write_catalog(stars, f"{folder}/stars.parquet"))
    >>> again["teff"].values.tolist(), again["source_id"].values.tolist()
    ([5772.0], [7])
    """
    path = Path(path)
    ours = isinstance(catalog, xr.Dataset) and "star" in catalog.dims
    if not ours and open_memory(catalog) is not None:
        catalog = as_catalog(catalog)
    kind = format_of(path, format)
    if path.suffix.lower() in PACKED_ENDINGS:
        raise CatalogError(f"{path}: written uncompressed only: drop the {path.suffix}")
    if kind != "parquet" and not isinstance(catalog, xr.Dataset):
        raise CatalogError(f"{path}: chunks can be written to Parquet only")
    with atomic_output(path, overwrite=overwrite) as tmp:
        chunks = iter([catalog] if isinstance(catalog, xr.Dataset) else catalog)
        first = next(chunks)
        columns = _columns_of(first)

        def parts() -> Iterator[Part]:
            for chunk in itertools.chain([first], chunks):
                if _columns_of(chunk) != columns:
                    raise ProductError(f"{path}: a chunk has other columns than the first")
                yield _values(chunk, columns)

        if kind == "parquet":
            write_parquet(tmp, columns, parts(), record)
        elif kind == "fits":
            write_fits(tmp, columns, parts(), first.sizes["star"])
        elif kind == "votable" or path.suffix.lower() == ".ecsv" or format == "ecsv":
            _write_astropy(tmp, columns, first, "votable" if kind == "votable" else "ascii.ecsv")
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            pd.DataFrame(_values(first, columns)).to_csv(tmp, index=False, sep=separator)
    return path


def _columns_of(catalog: xr.Dataset) -> list[OutputColumn]:
    names = ["source_id"] if "source_id" in catalog.coords else []
    names += [str(n) for n, v in catalog.data_vars.items() if v.dims == ("star",)]
    columns = []
    for x in (catalog[name] for name in names if name != "star_key"):
        dtype = np.dtype(str) if x.dtype.kind in "OUS" else x.dtype
        name = OWN_FLAG if x.name == "flag" else str(x.name)
        unit = str(x.attrs.get("units", "")) or None
        columns.append(OutputColumn(name, dtype, unit, variable=str(x.name)))
    return columns


def _values(catalog: xr.Dataset, columns: Sequence[OutputColumn]) -> dict[str, NDArray[Any]]:
    return {
        c.name: catalog[c.variable].values.astype(str) if c.is_text else catalog[c.variable].values
        for c in columns
    }


def schema_of(columns: Sequence[OutputColumn], record: Mapping[str, str] | None = None) -> Any:
    """Return the Arrow schema of columns, with units, and in the metadata a record of provenance.

    With a `record` the metadata also has the meanings of the flags.
    """
    import pyarrow as pa

    fields, metadata = [], None
    for c in columns:
        said = {"unit": c.unit, "ucd": c.ucd, "description": c.description}
        said = {key: text for key, text in said.items() if text is not None}
        kind = pa.string() if c.is_text else pa.from_numpy_dtype(c.dtype)
        fields.append(pa.field(c.name, kind, metadata=said or None))
    if record is not None:
        flags = {int(flag): text for flag, text in FLAG_MEANING.items()}
        metadata = {f"migrate_bayes.{key}": text for key, text in record.items()}
        metadata["migrate_bayes.flags"] = json.dumps(flags)
    return pa.schema(fields, metadata)


def write_parquet(
    path: Path,
    columns: Sequence[OutputColumn],
    parts: Iterable[Part],
    record: Mapping[str, str] | None = None,
) -> None:
    """Stream parts into a Parquet file, in row groups of one size whatever the parts.

    A part has every column's values by name. A `record` of provenance goes to the file's metadata
    (`schema_of`).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = schema_of(columns, record)
    tables = (
        pa.table([pa.array(part[f.name], type=f.type) for f in schema], schema=schema)
        for part in parts
    )
    with pq.ParquetWriter(path, schema) as out:
        for group in resized(tables, ROW_GROUP):
            out.write_table(group, row_group_size=ROW_GROUP)


_FITS_CODES = {"f4": "E", "f8": "D", "i2": "I", "i4": "J", "i8": "K", "b1": "L", "i1": "I"}
_FITS_TYPES = {"E": ">f4", "D": ">f8", "I": ">i2", "J": ">i4", "K": ">i8", "L": "u1"}
_SPELLED = {"α": "alpha", "χ²": "chi2", "σ": "sigma", "°": "deg", "−": "-", "–": "-", "≥": ">="}


def write_fits(
    path: Path,
    columns: Sequence[OutputColumn],
    parts: Iterable[Part],
    n: int,
    record: Mapping[str, str] | None = None,
    *,
    text_width: int | None = None,
) -> None:
    """Stream parts of `n` stars in all into a FITS table with ``TUNIT``, ``TUCD`` and ``TCOMM``.

    Text has a fixed width in FITS, by default that of the one part that there is; wider text is a
    `ProductError`.
    """
    from astropy.io import fits

    if text_width is None:
        (only,) = parts = list(parts)
        text_width = max([1, *(only[c.name].dtype.itemsize // 4 for c in columns if c.is_text)])
    described, dtype = [], []
    for c in columns:
        code = _FITS_CODES.get(c.dtype.str[1:], "D")
        dtype.append((c.name, f"S{text_width}" if c.is_text else _FITS_TYPES[code]))
        code = f"{text_width}A" if c.is_text else code
        described.append(fits.Column(name=c.name, format=code, unit=_fits_unit(c.unit)))
    header = fits.BinTableHDU.from_columns(described, nrows=0).header
    header["NAXIS2"] = n
    header["EXTNAME"] = "STARS"
    # Long texts go on in CONTINUE cards, which astropy remarks on.
    with warnings.catch_warnings(action="ignore", category=fits.verify.VerifyWarning):
        for i, c in enumerate(columns, start=1):
            if c.ucd:
                header[f"TUCD{i}"] = c.ucd
            if c.description is not None:
                header[f"TCOMM{i}"] = _ascii(c.description + " [dex]" * (c.unit == "dex"))
        for key, text in (record or {}).items():
            header[f"HIERARCH MIGRATE_BAYES {key.upper()}"] = _ascii(text)
    for flag, text in FLAG_MEANING.items() if record is not None else ():
        header.add_comment(f"flag {int(flag)}: {_ascii(text)}")
    stream = fits.StreamingHDU(path, header)
    try:
        for part in parts:
            rows = np.empty(len(part[columns[0].name]), dtype=dtype)
            for c in columns:
                values = part[c.name]
                if c.is_text:
                    values = np.array([str(v).encode() for v in values], dtype="S")
                    if values.dtype.itemsize > text_width:
                        raise ProductError(
                            f"`{c.name}` holds text of {values.dtype.itemsize} characters, more "
                            f"than {text_width}: export to Parquet"
                        )
                elif c.dtype.kind == "b":
                    values = np.where(values, ord("T"), ord("F"))
                rows[c.name] = values
            # `StreamingHDU` takes the bytes of a table as they are.
            stream.write(rows.view(np.uint8))
    finally:
        stream.close()


def _fits_unit(unit: str | None) -> str | None:
    """Spell a unit as FITS does; dex is none of its units, and stands in the description."""
    from astropy import units as u

    if not unit or unit == "dex":
        return None
    try:
        return u.Unit(unit).to_string("fits")
    except ValueError:
        return None


def _ascii(text: str) -> str:
    """Spell a text in ASCII, as FITS headers want it."""
    for sign, spelled in _SPELLED.items():
        text = text.replace(sign, spelled)
    return text.encode("ascii", "replace").decode("ascii").replace("\n", " ")


def _write_astropy(
    path: Path, columns: Sequence[OutputColumn], catalog: xr.Dataset, format: str
) -> None:
    from astropy.table import Column, Table

    table = Table()
    for c in columns:
        # VOTable knows no dex.
        unit = None if c.unit == "dex" and format == "votable" else c.unit
        label = str(catalog[c.variable].attrs.get("long_name", ""))
        table[c.name] = Column(_values(catalog, [c])[c.name], unit=unit, description=label)
    # astropy's writer of TABLEDATA ends a row of 2^n letters one beyond its memory (issue 20419).
    how = {"tabledata_format": "binary2"} if format == "votable" else {}
    with warnings.catch_warnings(action="ignore"):
        table.write(path, format=format, overwrite=True, **how)
