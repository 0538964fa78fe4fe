"""Tables in VOTable: any resource of a document, read whole."""

from __future__ import annotations

import io
import warnings

from migrate_bayes.catalog.contents import Contents
from migrate_bayes.catalog.source import Source, quiet, table_source
from migrate_bayes.core.errors import CatalogError, CatalogWarning, suggest


def open_votable(contents: Contents, table: int | str | None) -> Source:
    """Open a table of a VOTable; the first that has rows, unless `table` names another.

    A document in which a service reports an error is refused with the service's words; one that it
    has cut at its limit of rows is read with a warning.
    """
    from astropy.io.votable import parse

    path = contents.path
    with quiet(), contents.open() as file:
        document = parse(io.BytesIO(file.read()), verify="ignore")
    for resource in document.resources:
        for info in resource.infos:
            status = str(info.value).upper() if info.name == "QUERY_STATUS" else ""
            said = (info.content or "").strip()
            if status == "ERROR":
                raise CatalogError(
                    f"{path}: the service that wrote this file reports an error: {said}"
                )
            if status == "OVERFLOW":
                warnings.warn(
                    f"{path}: the service cut this table at its limit of rows (OVERFLOW): stars "
                    "are missing; ask again with a higher limit",
                    CatalogWarning, stacklevel=2,
                )  # fmt: skip
    tables = [t for t in document.iter_tables() if len(t.fields)]
    if not tables:
        raise CatalogError(f"{path}: no table in this VOTable")
    names = [str(t.ID or t.name or "") for t in tables]
    said = ", ".join(f"{i} '{name}'" for i, name in enumerate(names))
    if table is None:
        index = next((i for i, t in enumerate(tables) if len(t.array)), 0)
        if any(len(t.array) > len(tables[index].array) for t in tables):
            warnings.warn(
                f"{path}: table {index} is read, {len(tables[index].array)} rows, though another "
                f"has more (tables: {said}); hdu = chooses one by number or name",
                CatalogWarning, stacklevel=2,
            )  # fmt: skip
    elif isinstance(table, int) or table.isdecimal():
        index = int(table)
        if index >= len(tables):
            raise CatalogError(f"{path}: there is no table {index}: choose one of {said}")
    else:
        same = [i for i, t in enumerate(tables) if table in (t.ID, t.name)]
        if not same:
            raise CatalogError(f"{path}: no table is named '{table}': {suggest(table, names)}")
        index = same[0]
    with quiet():
        chosen = tables[index].to_table(use_names_over_ids=True)
    units = {c.name: str(c.unit) for c in chosen.columns.values() if c.unit is not None}
    return table_source(path, "votable", chosen, units)
