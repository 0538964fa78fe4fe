"""Write a table of stars as HATS: Parquet files by HEALPix pixel, which `lsdb` opens.

The layout is that of the IVOA note on HATS: ``hats.properties``, ``partition_info.csv`` and
``dataset/Norder=…/Dir=…/Npix=….parquet``, rows in the order of ``_healpix_29``, their nested
HEALPix number at order 29 (ICRS). A pixel of more than `MOST` rows is cut into its four children.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.catalog.writing import OutputColumn, Part, schema_of
from migrate_bayes.core.errors import ProductError

ORDER = 29
"""Order of ``_healpix_29``."""
_FINEST = 10  # of the files' pixels: 3.4 arcmin
MOST = 131_072
"""Rows in a file, unless they are in one pixel of order 10."""
_INDEX = f"_healpix_{ORDER}"

Nested = Mapping[str, Mapping[str, NDArray[Any]]]  # arrays of (row, node) by column and field


def healpix_of(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return nested HEALPix numbers at order 29 of places in degrees."""
    from astropy import units as u
    from astropy_healpix import lonlat_to_healpix

    if lost := int(np.sum(~(np.isfinite(ra) & np.isfinite(dec)))):
        raise ProductError(
            f"{lost} stars have no position, and HATS has no place for them: export to Parquet"
        )
    return lonlat_to_healpix(ra * u.deg, dec * u.deg, 2**ORDER, order="nested")


def pixels_of(places: Iterable[NDArray[np.int64]]) -> list[tuple[int, int]]:
    """Return order and number of the pixels of the files, in the order of the sky."""
    counts = np.zeros(12 * 4**_FINEST, dtype=np.int64)
    for healpix in places:
        np.add.at(counts, healpix >> 2 * (ORDER - _FINEST), 1)
    found: list[tuple[int, int]] = []

    def cut(order: int, pixel: int) -> None:
        width = 4 ** (_FINEST - order)
        rows = counts[pixel * width : (pixel + 1) * width].sum()
        if rows > MOST and order < _FINEST:
            for child in range(4 * pixel, 4 * pixel + 4):
                cut(order + 1, child)
        elif rows:
            found.append((order, pixel))

    for pixel in range(12):
        cut(0, pixel)
    return found


def write_hats(
    folder: Path,
    columns: Sequence[OutputColumn],
    parts: Iterable[tuple[Part, Nested]],
    places: Iterable[NDArray[np.int64]],
    record: Mapping[str, str],
    *,
    name: str,
) -> None:
    """Write parts of stars, with ``ra`` and ``dec`` in degrees, in a folder that exists.

    Memory holds a part, and the rows of a pixel while they are sorted.

    Parameters
    ----------
    folder : Path
        Where to write.
    columns : sequence of OutputColumn
        The columns, but for nested ones.
    parts : iterable
        Parts: values by column, and of nested columns, of which each row holds a list for each
        field, the fields' arrays.
    places : iterable of ndarray
        HEALPix numbers at order 29 of all stars, in any pieces.
    record : mapping
        Texts for the files' metadata.
    name : str
        Of the catalogue.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pixels = pixels_of(places)
    width = [1 << 2 * (ORDER - order) for order, _ in pixels]
    firsts = np.array([pixel * w for (_, pixel), w in zip(pixels, width, strict=True)])
    files = [
        folder / "dataset" / f"Norder={order}" / f"Dir={pixel // 10_000 * 10_000}"
        / f"Npix={pixel}.parquet"
        for order, pixel in pixels
    ]  # fmt: skip
    rows = 0
    schema: Any = None
    with ExitStack() as stack:
        writers: dict[int, Any] = {}
        for part, nested in parts:
            healpix = healpix_of(part["ra"], part["dec"])
            table = _table(healpix, columns, part, nested, record)
            schema = table.schema
            rows += len(table)
            mine = np.searchsorted(firsts, healpix, side="right") - 1
            order = np.argsort(mine, kind="stable")
            edges = np.flatnonzero(np.r_[True, np.diff(mine[order]) > 0, True])
            for start, stop in itertools.pairwise(edges):
                k = int(mine[order[start]])
                if k not in writers:
                    files[k].parent.mkdir(parents=True, exist_ok=True)
                    writers[k] = stack.enter_context(pq.ParquetWriter(files[k], schema))
                writers[k].write_table(table.take(pa.array(order[start:stop])))
    for file in files:
        pixel = pq.ParquetFile(file).read().sort_by([(_INDEX, "ascending")])
        pq.write_table(pixel, file)
    pq.write_metadata(schema, folder / "dataset" / "_common_metadata")
    lines = [f"{order},{pixel}\n" for order, pixel in pixels]
    (folder / "partition_info.csv").write_text("Norder,Npix\n" + "".join(lines), "utf-8")
    stated = {
        "obs_collection": name, "dataproduct_type": "object", "hats_nrows": rows,
        "hats_col_ra": "ra", "hats_col_dec": "dec", "hats_col_healpix": _INDEX,
        "hats_col_healpix_order": ORDER, "hats_order": max(order for order, _ in pixels),
        "hats_max_rows": MOST, "hats_version": "v1.0", "hats_builder": "migrate-bayes",
    }  # fmt: skip
    text = "".join(f"{key} = {value}\n" for key, value in stated.items())
    (folder / "hats.properties").write_text("#HATS catalog\n" + text, "utf-8")


def _table(
    healpix: NDArray[np.int64],
    columns: Sequence[OutputColumn],
    part: Part,
    nested: Nested,
    record: Mapping[str, str],
) -> Any:
    import pyarrow as pa

    schema = schema_of(columns, record)
    arrays = [pa.array(part[field.name], type=field.type) for field in schema]
    schema = schema.insert(0, pa.field(_INDEX, pa.int64()))
    arrays.insert(0, pa.array(healpix))
    for name, fields in nested.items():
        lists = {field: _lists(values) for field, values in fields.items()}
        arrays.append(pa.StructArray.from_arrays(lists.values(), names=list(lists)))
        schema = schema.append(pa.field(name, arrays[-1].type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _lists(values: NDArray[Any]) -> Any:
    """Return rows of an array as lists."""
    import pyarrow as pa

    n, nodes = values.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * nodes)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).ravel()))
