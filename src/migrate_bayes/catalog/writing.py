"""Write a catalogue, with units, to FITS, ECSV, VOTable, Parquet, or (without units) CSV.

What is written reads back with `read_catalog` as it was. ``star_key`` is left out: it is a function
of the identifier.
"""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import xarray as xr

from migrate_bayes.catalog.formats import FORMATS, format_of
from migrate_bayes.core.errors import CatalogError, ProductError
from migrate_bayes.core.io import atomic_output

__all__ = ["ROW_GROUP", "ParquetCatalogWriter", "write_catalog"]

ROW_GROUP = 65_536
"""Rows in a Parquet row group: a reader's memory is proportional to it."""


def write_catalog(
    catalog: xr.Dataset,
    path: str | Path,
    *,
    overwrite: bool = False,
    format: str | None = None,
) -> Path:
    """Write a catalogue to one file, whole or not at all.

    Parameters
    ----------
    catalog : xarray.Dataset
        Variables on dim ``star`` alone are written.
    path : path-like
        The ending says the format: see `migrate_bayes.catalog.formats.FORMATS`.
    overwrite : bool
        Replace a file that stands there.
    format : str, optional
        Where the ending does not say it.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    CatalogError
        For an unknown format.
    ProductError
        Where the file exists already or cannot be written.
    """
    path = Path(path)
    kind = format_of(path, format)
    if path.suffix.lower() == ".gz":
        raise CatalogError(f"{path}: written uncompressed only: drop the .gz")
    columns, units = _columns_and_units(catalog)
    if kind == "parquet":
        with ParquetCatalogWriter(path, overwrite=overwrite) as out:
            out._append(columns, units)
        return path
    with atomic_output(path, overwrite=overwrite) as tmp:
        if kind == "csv" and path.suffix.lower() != ".ecsv" and format != "ecsv":
            import pandas as pd

            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            pd.DataFrame(columns).to_csv(tmp, index=False, sep=separator)
        else:
            _write_astropy(catalog, columns, units, tmp, "ascii.ecsv" if kind == "csv" else kind)
    return path


def _columns_and_units(catalog: xr.Dataset) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    columns: dict[str, np.ndarray] = {}
    if "source_id" in catalog.coords:
        ids = catalog["source_id"].values
        columns["source_id"] = ids.astype(np.str_) if ids.dtype.kind == "O" else ids
    for name, variable in catalog.data_vars.items():
        if variable.dims == ("star",) and name != "star_key":
            columns[str(name)] = variable.values
    units = {name: str(catalog[name].attrs.get("units", "")) for name in columns}
    return columns, units


class ParquetCatalogWriter:
    """Write a catalogue to Parquet chunk by chunk, whole or not at all.

    Rows are regrouped into row groups of a fixed size, so that the file is the same, byte for byte,
    whatever the chunks. Use as a context manager::

        with ParquetCatalogWriter("catalogue.parquet") as out:
            for chunk in chunks:
                out.append(chunk)

    Parameters
    ----------
    path : path-like
    overwrite : bool
        Replace a file that stands there.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self._overwrite = overwrite
        self._tmp: Path | None = None
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._rows = 0

    def __enter__(self) -> Self:
        output = atomic_output(self.path, overwrite=self._overwrite)
        self._tmp = self._stack.enter_context(output)
        return self

    def append(self, catalog: xr.Dataset) -> None:
        """Write the next stars.

        Raises
        ------
        ProductError
            Where the columns are not those of the first chunk.
        """
        self._append(*_columns_and_units(catalog))

    def _append(self, columns: dict[str, np.ndarray], units: dict[str, str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._tmp is None:
            raise RuntimeError("ParquetCatalogWriter is a context manager: enter it before writing")
        arrays = [pa.array(values) for values in columns.values()]
        fields = [
            pa.field(name, array.type, metadata={"unit": units[name]} if units[name] else None)
            for name, array in zip(columns, arrays, strict=True)
        ]
        schema = pa.schema(fields)
        if self._writer is None:
            self._writer = self._stack.enter_context(pq.ParquetWriter(self._tmp, schema))
        elif schema != self._writer.schema:
            raise ProductError(f"{self.path}: a chunk has other columns than the first")
        self._waiting.append(pa.Table.from_arrays(arrays, schema=schema))
        self._rows += len(self._waiting[-1])
        if self._rows >= ROW_GROUP:
            self._flush()

    def _flush(self, *, last: bool = False) -> None:
        """Write what is waiting, in row groups of the one size; the last may be smaller."""
        import pyarrow as pa

        table = pa.concat_tables(self._waiting).combine_chunks()
        whole = len(table) if last else len(table) - len(table) % ROW_GROUP
        for start in range(0, whole, ROW_GROUP):
            stop = min(start + ROW_GROUP, whole)
            self._writer.write_table(table.slice(start, stop - start), row_group_size=ROW_GROUP)
        self._waiting = [table.slice(whole)] if whole < len(table) else []
        self._rows = len(table) - whole

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if error is None and self._waiting:
            try:
                self._flush(last=True)
            except BaseException as failed:
                self._stack.__exit__(type(failed), failed, failed.__traceback__)
                raise
        return self._stack.__exit__(kind, error, trace)


def _write_astropy(
    catalog: xr.Dataset,
    columns: dict[str, np.ndarray],
    units: dict[str, str],
    path: Path,
    format: str,
) -> None:
    from astropy.table import Column, Table

    assert format in (*FORMATS, "ascii.ecsv")
    table = Table()
    for name, values in columns.items():
        label = str(catalog[name].attrs.get("long_name", ""))
        # FITS keeps a description nowhere, and dex is no unit of its standard.
        unit = units[name] or None
        if unit == "dex" and format in ("fits", "votable"):
            unit = None
        table[name] = Column(values, unit=unit, description=None if format == "fits" else label)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table.write(path, format=format, overwrite=True)
