"""Tables in VOTable: any resource of a document, read whole."""

from __future__ import annotations

import io
import warnings

from migrate_bayes.catalog.contents import Contents
from migrate_bayes.catalog.source import Source, choose_table, quiet, table_source
from migrate_bayes.core.errors import CatalogError, CatalogWarning


def open_votable(contents: Contents, table: int | str | None) -> Source:
    """Open a table of a VOTable; the first that has rows, unless `table` names another.

    A document in which a service reports an error is refused with the service's words; one that it
    has cut at its limit of rows is read with a warning.
    """
    from astropy.io.votable import parse

    path = contents.path
    with quiet(), contents.open() as file:
        document = parse(io.BytesIO(file.read().lstrip()), verify="ignore")
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
    described = {i: (len(t.array), [t.ID or t.name, t.name]) for i, t in enumerate(tables)}
    first = next((i for i, t in enumerate(tables) if len(t.array)), 0)
    index, doubt = choose_table(path, "table", described, table, first)
    if doubt:
        warnings.warn(doubt, CatalogWarning, stacklevel=2)
    with quiet():
        chosen = tables[index].to_table(use_names_over_ids=True)
    source = table_source(path, "votable", chosen)
    # astropy gives the second of one name another: it has to be named twice to be refused.
    given = [str(field.name) for field in tables[index].fields]
    again = [name for i, name in enumerate(given) if name in given[:i]]
    return source._replace(names=[*source.names, *again])
