"""Write a catalogue, with units, to FITS, ECSV, VOTable, Parquet, or (without units) CSV.

What is written reads back with `read_catalog` as it was. ``star_key`` is left out: it is a function
of the identifier.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr

from migrate_bayes.catalog.formats import FORMATS, format_of
from migrate_bayes.errors import CatalogError
from migrate_bayes.provenance import atomic_output

__all__ = ["write_catalog"]


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
    names = [
        str(name)
        for name, variable in catalog.data_vars.items()
        if variable.dims == ("star",) and name != "star_key"
    ]
    columns: dict[str, np.ndarray] = {}
    if "source_id" in catalog.coords:
        ids = catalog["source_id"].values
        columns["source_id"] = ids.astype(np.str_) if ids.dtype.kind == "O" else ids
    columns.update({name: catalog[name].values for name in names})
    units = {name: str(catalog[name].attrs.get("units", "")) for name in columns}
    with atomic_output(path, overwrite=overwrite) as tmp:
        if kind == "parquet":
            _write_parquet(columns, units, tmp)
        elif kind == "csv" and path.suffix.lower() != ".ecsv" and format != "ecsv":
            import pandas as pd

            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            pd.DataFrame(columns).to_csv(tmp, index=False, sep=separator)
        else:
            _write_astropy(catalog, columns, units, tmp, "ascii.ecsv" if kind == "csv" else kind)
    return path


def _write_parquet(columns: dict[str, np.ndarray], units: dict[str, str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [pa.array(values) for values in columns.values()]
    schema = pa.schema(
        [
            pa.field(name, array.type, metadata={"unit": units[name]} if units[name] else None)
            for name, array in zip(columns, arrays, strict=True)
        ]
    )
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


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
