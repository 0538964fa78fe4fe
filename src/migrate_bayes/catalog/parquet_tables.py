"""Tables in Parquet: a file, or a folder of files as Spark, Gaia and HATS write them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from migrate_bayes.catalog.contents import Contents
from migrate_bayes.catalog.source import (
    Block,
    Source,
    arrow_columns,
    quiet,
    resized,
    stated_unit,
    stated_units,
)
from migrate_bayes.catalog.text_tables import described_units
from migrate_bayes.core.errors import CatalogError

_ENDINGS = (".parquet", ".pq", ".parq")


def open_parquet(contents: Contents) -> Source:
    """Open one file of Parquet."""
    import pyarrow as pa

    data = contents.in_memory()
    return _source(contents.path, [contents.path if data is None else pa.BufferReader(data)])


def open_folder(folder: Path) -> Source:
    """Open a folder of Parquet files, at any depth, in the order of their names.

    Of a HATS collection, which holds margins and indices beside the catalogue, the catalogue alone.
    """
    if (folder / "_delta_log").exists() or (folder / "metadata").is_dir():
        raise CatalogError(f"{folder}: a Delta or Iceberg table: write it as plain Parquet")
    collection = folder / "collection.properties"
    if collection.exists():
        stated = dict(
            line.split("=", 1) for line in collection.read_text("utf-8").splitlines() if "=" in line
        )
        primary = stated.get("hats_primary_table_url", "").strip()
        if not primary or not (folder / primary).is_dir():
            raise CatalogError(
                f"{folder}: the collection does not say which folder its catalogue is"
            )
        return open_folder(folder / primary)
    named = ("hats.properties", "properties", "catalog_info.json")
    catalogues = [
        p for p in folder.iterdir() if p.is_dir() and any((p / n).exists() for n in named)
    ]
    if len(catalogues) > 1:
        said = ", ".join(sorted(p.name for p in catalogues))
        raise CatalogError(f"{folder} holds several catalogues ({said}): give one of these folders")
    files = sorted(
        path for path in folder.rglob("*")
        if path.suffix.lower() in _ENDINGS and path.is_file()
        and not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
    )  # fmt: skip
    if not files:
        raise CatalogError(
            f"{folder} is a folder without Parquet files: give the file itself, or a folder of "
            "Parquet files"
        )
    return _source(folder, list(files))


def _source(path: Path | str, files: list[Any]) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas, lengths = [], []
    for file in files:
        with pq.ParquetFile(file) as opened:
            schemas.append(opened.schema_arrow)
            lengths.append(opened.metadata.num_rows)
        _rewind(file)
    names = list(schemas[0].names)
    units = units_of(schemas[0])
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        if set(schema.names) != set(names):
            odd = sorted(set(schema.names) ^ set(names))
            raise CatalogError(
                f"{file}: its columns are not those of {files[0]}: {', '.join(odd[:5])}; put "
                "tables of different columns in folders of their own"
            )
        for name in names:
            kinds = [str(s.field(name).type) for s in (schema, schemas[0])]
            if sum("string" in kind for kind in kinds) == 1:
                raise CatalogError(
                    f"{file}: column '{name}' is {kinds[0]}, but {kinds[1]} in {files[0]}: write "
                    "it alike in all files"
                )
        if (other := units_of(schema)) != units:
            odd = sorted(n for n in names if other.get(n) != units.get(n))
            raise CatalogError(f"{file}: column '{odd[0]}' has another unit than in {files[0]}")

    rows = sum(lengths)

    def pieces(
        wanted: list[str], identifier: str | None, size: int | None, start: int = 0
    ) -> Iterator[Block]:
        def batches() -> Iterator[Any]:
            left = start  # rows before the first that is wanted
            for file, length in zip(files, lengths, strict=True):
                if left >= length > 0:
                    left -= length
                    continue
                _rewind(file)
                # Read ahead, a row group would be held whole, and after it all that have been read.
                with pq.ParquetFile(file, pre_buffer=False, buffer_size=2**18) as opened:
                    groups, meta = [*range(opened.num_row_groups)], opened.metadata
                    while groups and left >= (n := meta.row_group(groups[0]).num_rows):
                        left -= n
                        del groups[0]
                    for batch in opened.iter_batches(size or max(rows, 1), groups, wanted):
                        skipped, left = left, max(left - len(batch), 0)
                        if skipped < len(batch):
                            yield pa.Table.from_batches([batch.slice(skipped)])

        for table in batches() if len(files) == 1 else resized(batches(), size):
            yield arrow_columns(table, wanted)

    return Source(path, "parquet", names, units, pieces, rows=rows, seekable=True)


def _rewind(file: Any) -> None:
    if hasattr(file, "seek"):
        file.seek(0)


def units_of(schema: Any) -> dict[str, str]:
    """Return units from wherever a writer puts them: astropy, VOParquet, a field's own metadata."""
    said = schema.metadata or {}
    units: dict[str, str] = {}
    if b"table_meta_yaml" in said:
        units |= described_units(said[b"table_meta_yaml"].decode().split("\n"))[0]
    if b"IVOA.VOTable-Parquet.content" in said:
        import io

        from astropy.io.votable import parse

        with quiet():
            document = parse(io.BytesIO(said[b"IVOA.VOTable-Parquet.content"]), verify="ignore")
        for table in document.iter_tables():
            units |= {f.name: str(f.unit) for f in table.fields if f.unit is not None}
    units |= stated_units(json.loads(said.get(b"PANDAS_ATTRS", b"{}")))
    for field in schema:
        attrs = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        units |= {field.name: unit} if (unit := stated_unit(attrs)) else {}
    return units
