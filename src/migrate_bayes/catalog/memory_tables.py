"""Tables in memory: astropy's, pandas', xarray's, Arrow's, NumPy's, or a mapping of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from migrate_bayes.catalog.parquet_tables import units_of
from migrate_bayes.catalog.source import Block, Source, stated_unit, stated_units, table_source
from migrate_bayes.core.errors import CatalogError


def open_memory(table: Any) -> Source | None:
    """Open a table that is in memory; None if it is none that is known."""
    import pandas as pd
    import xarray as xr

    if isinstance(table, Source):
        return table
    if isinstance(table, xr.Dataset):
        return _of_dataset(table)
    if isinstance(table, pd.DataFrame):
        return _of_frame(table)
    kind = type(table).__module__.partition(".")[0]
    if kind == "astropy":
        return _of_astropy(table)
    if isinstance(table, np.ndarray) and table.dtype.names:
        return _of_columns("the structured array", {n: table[n] for n in table.dtype.names})
    if isinstance(table, Mapping):
        return _of_columns("the mapping", table)
    if hasattr(table, "__arrow_c_stream__"):
        import pyarrow as pa

        try:
            made = pa.table(table)
        except (pa.ArrowException, TypeError, ValueError):
            return None
        what = f"the {type(table).__name__} of {kind}"
        if len(set(made.column_names)) < made.num_columns:
            raise CatalogError(f"{what} has columns of one name: rename them")
        columns = {n: made.column(n).combine_chunks() for n in made.column_names}
        return _sliced(what, columns, units_of(made.schema))
    if hasattr(table, "compute") and not hasattr(table, "__fspath__"):
        raise CatalogError(f"a {type(table).__name__} is not in memory yet: pass its .compute()")
    return None


def _sliced(name: str, columns: Mapping[str, Any], units: Mapping[str, str]) -> Source:
    n = len(next(iter(columns.values()))) if columns else 0
    for column, values in columns.items():
        if len(values) != n:
            raise CatalogError(f"{name}: column '{column}' has {len(values)} rows, others {n}")

    def pieces(wanted: list[str], identifier: str | None, size: int | None) -> Iterator[Block]:
        step = size or max(n, 1)
        for start in range(0, n, step):
            yield {column: columns[column][start : start + step] for column in wanted}

    return Source(name, "memory", list(columns), dict(units), pieces, rows=n, whole=True)


def _of_frame(frame: Any) -> Source:
    import pandas as pd

    if any(name is not None for name in frame.index.names):
        levels = [name for name in frame.index.names if name is not None]
        frame = frame.reset_index(level=[name for name in levels if name not in frame.columns])
    names = [str(name) for name in frame.columns]
    if isinstance(frame.columns, pd.MultiIndex):
        raise CatalogError("the columns of the DataFrame have names of several levels: join them")
    columns, units = {}, stated_units(frame.attrs)
    for i, name in enumerate(names):
        column = frame.iloc[:, i]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(object)
        if column.dtype == object and all(hasattr(v, "to_value") for v in column):
            units[name] = str(column.iloc[0].unit)
            column = pd.Series([v.to_value(column.iloc[0].unit) for v in column])
        null = None
        if not isinstance(column.dtype, np.dtype):  # of pandas' own or Arrow's kinds
            null = column.isna().to_numpy(dtype=bool)
            kind = column.dtype.kind
            filled = column.fillna(0 if kind in "iub" else "" if kind in "OU" else np.nan)
            column = filled.to_numpy(dtype=object if kind in "OU" else None)
        elif column.dtype == object:
            null = column.isna().to_numpy(dtype=bool)
        values = np.asarray(column)
        columns[name] = (
            np.ma.MaskedArray(values, null) if null is not None and null.any() else values
        )
    return _sliced("the DataFrame", columns, units)._replace(names=names)


_PACKED = {
    "scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "valid_range",
    "valid_min", "valid_max",
}  # fmt: skip


def unpacked(dataset: Any) -> Any:
    """Scale and mask the variables of a Dataset that was opened as netCDF stores them."""
    import xarray as xr

    packed = [n for n, v in dataset.variables.items() if set(v.attrs) & _PACKED]
    if not packed:
        return dataset
    made = xr.decode_cf(dataset[packed], decode_times=False, decode_coords=False)
    return dataset.assign({name: _valid(made[name]) for name in packed})


def _valid(variable: Any) -> Any:
    """Mask what a variable states to be no valid value of it."""
    low, high = variable.attrs.get("valid_range", (-np.inf, np.inf))
    low, high = variable.attrs.get("valid_min", low), variable.attrs.get("valid_max", high)
    return (
        variable.where((variable >= low) & (variable <= high))
        if low > -np.inf or high < np.inf
        else variable
    )


def _of_dataset(dataset: Any) -> Source:
    dataset = unpacked(dataset)
    dims = {v.dims[0] for v in dataset.variables.values() if v.ndim == 1}
    sizes = {d: sum(v.dims == (d,) for v in dataset.data_vars.values()) for d in dims}
    if "star" in sizes:
        dim = "star"
    elif len(dims) == 1 and sizes:
        (dim,) = dims
    else:
        raise CatalogError(
            f"the Dataset has the dimensions {', '.join(map(str, dims)) or 'none'}: stars are "
            "along one, 'star'; rename it: dataset.rename({...: 'star'})"
        )
    of_star = {str(n): v for n, v in dataset.variables.items() if v.dims and v.dims[0] == dim}
    units = {n: unit for n, v in of_star.items() if (unit := stated_unit(v.attrs))}
    return _sliced("the Dataset", {n: v.values for n, v in of_star.items()}, units)


def _of_astropy(table: Any) -> Source | None:
    from astropy.io import fits
    from astropy.table import Table

    if isinstance(table, fits.HDUList | fits.BinTableHDU | fits.TableHDU):
        return None  # `formats` writes it out and reads that
    if type(table).__name__ == "VOTableFile" or hasattr(table, "to_table"):
        one = table if hasattr(table, "to_table") else table.get_first_table()
        table = one.to_table(use_names_over_ids=True) if hasattr(one, "fields") else one.to_table()
    if isinstance(table, fits.FITS_rec):
        return _of_record(table)
    if not isinstance(table, Table):
        return None
    return table_source(f"the {type(table).__name__}", "memory", table)


def _of_record(record: Any) -> Source:
    """Open the data of an HDU: a null is one of the stored integers, before they are scaled."""
    stored, columns = record.view(np.ndarray), {}
    for column in record.columns:
        name, null = column.name, column.null
        columns[name] = record[name]
        if null is not None and stored[name].dtype.kind in "iu":
            columns[name] = np.ma.MaskedArray(columns[name], stored[name] == null)
    units = {c.name: c.unit for c in record.columns if c.unit}
    return _of_columns("the FITS record", columns)._replace(units=units)


def _of_columns(name: str, columns: Mapping[Any, Any]) -> Source:
    """Open a mapping of columns, which may be quantities, masked arrays, lists or Series."""
    from astropy.table import QTable

    for key, values in columns.items():
        if not hasattr(values, "__len__") or isinstance(values, str | bytes | Mapping):
            kind = type(values).__name__
            raise CatalogError(
                f"{name}: '{key}' is no column but a {kind}: give a list or an array of values"
            )
    try:
        table = QTable({str(key): values for key, values in columns.items()})
    except (TypeError, ValueError) as error:
        raise CatalogError(f"{name} is no table of columns: {error}") from error
    return table_source(name, "memory", table)
