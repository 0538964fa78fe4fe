"""What a product holds, in a short table: variables with units and ranges, provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.flags import FLAG_MEANING, count_flags
from migrate_bayes.core.io import read_netcdf
from migrate_bayes.core.table import Table
from migrate_bayes.population.results.diagnostics import judge

_ENOUGH = 200_000  # stars from which percentiles are taken


def _content(title: object, data: xr.Dataset, *, withheld: bool = False) -> Table:
    rows = []
    step = -(-data.sizes.get("star", 1) // _ENOUGH)
    for name, variable in data.variables.items():
        shape = ", ".join(f"{d} {n}" for d, n in variable.sizes.items())
        spread = ""
        if variable.dtype.kind in "fiu" and variable.size:
            some = variable.isel(star=slice(None, None, step), missing_dims="ignore")
            values = np.asarray(some.values, dtype=float)
            finite = values[np.isfinite(values)]
            if len(finite):
                low, mid, high = np.percentile(finite, [5, 50, 95])
                spread = f"{low:.4g} … {mid:.4g} … {high:.4g}"
                spread = "withheld" if withheld else spread
        rows.append([str(name), shape, str(variable.attrs.get("units", "")), spread])
    return Table(str(title), ["variable", "shape", "unit", "5% … median … 95%"], rows)


def show_product(path: Path) -> None:
    """Print a product's content: StarPosteriors, a fit, a baseline or a catalogue."""
    if not path.exists():
        raise ProductError(f"no such product: {path}")
    after: list[str] = []
    if path.suffix == ".nc" and path.is_file():
        tree = read_netcdf(path, lazy=True)
        groups = [group for group in tree.subtree if group.data_vars]
        verdict = judge(tree)
        # The prior and the sampler's statistics are no results.
        results = set() if verdict.believed else {"posterior", "membership", "curve"}
        tables = [
            _content(f"{path}:{group.path}", group.to_dataset(), withheld=group.name in results)
            for group in groups
        ]
        after = verdict.lines
        attrs: Mapping[Any, Any] = tree.attrs
    else:
        if path.is_dir():
            from migrate_bayes.stars import open_stars

            stars = open_stars(path)
        else:
            from migrate_bayes.catalog import read_catalog

            stars = read_catalog(path)
        tables = [_content(f"{path}: {stars.sizes['star']:,} stars", stars)]
        if path.is_dir() and "flag" in stars:
            flags = [[f"{n:,}", FLAG_MEANING[f]] for f, n in count_flags(stars["flag"]).items()]
            tables.append(Table("Flags", ["stars", "reason"], flags))
        attrs = stars.attrs
    rows = []
    for key, value in attrs.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        rows.append([str(key), text if len(text) < 100 else text[:97] + "…"])
    for table in [*tables, Table("Attributes", ["name", "value"], rows)]:
        table.print()
    for line in after:
        print(line)


def show_isochrones(names: Sequence[str]) -> None:
    """Print what isochrone sources cover: all families and native Dartmouth files by default."""
    from migrate_bayes.isochrones import load_source, source_names
    from migrate_bayes.run.recipe import data_root

    if not names:
        folder = data_root() / "dartmouth_gaia"
        native = [f"dartmouth-native:{folder}"] if folder.is_dir() else []
        names = [*(n for n in source_names() if ":" not in n), *native]
    found = [load_source(name).describe() for name in names]
    for title, keys in (
        ("Isochrones", ("source", "ages [Gyr]", "[Fe/H] initial", "of the Sun", "[α/Fe]")),
        ("Where they come from", ("source", "bands", "SHA-256", "note")),
    ):
        Table(title, keys, [[row[k] for k in keys] for row in found]).print()


def _needed_by(name: str) -> str:
    from migrate_bayes.catalog.columns import REQUIRED

    short = {"photometry": "M_G", "external_ages": "external ages"}
    return ", ".join(short.get(stage, stage) for stage, names in REQUIRED.items() if name in names)


def show_columns(file: Path | None, chosen: str | None) -> None:
    """Print canonical columns, maps and operations; a map's entries; what maps find in a file."""
    from migrate_bayes.catalog import maps
    from migrate_bayes.catalog.columns import COLUMNS
    from migrate_bayes.catalog.formats import open_source

    names = maps.column_map_names()
    source = None if file is None else open_source(file)
    if chosen is not None:
        given = maps.load_column_map(chosen)
        rows = []
        for canonical, entry in given.entries.items():
            what = " or ".join(map(str, entry.operands))
            what = what if entry.operation == "column" else f"{entry.operation} of {what}"
            column = COLUMNS.get(canonical)
            row = [canonical, column.unit if column else "", what, entry.unit or ""]
            row.append("may be absent" if entry.optional else "")
            if source is not None:
                row.append("absent" if maps.lacks(entry, source.names) else "found")
            rows.append(row)
        header = ["column", "unit", "is read from", "in", "", *([] if source is None else ["here"])]
        Table(f"{given.name}: {given.description}", header, rows).print()
        return
    if source is not None:
        rows = []
        for name in names:
            given = maps.load_column_map(name)
            lacking = maps.missing_columns(given, source.names)
            there = sum(not maps.lacks(e, source.names) for e in given.entries.values())
            rows.append([name, f"{there} of {len(given.entries)}", ", ".join(lacking) or "fits"])
        rows.sort(key=lambda row: (row[2] != "fits", row[2].count(","), -int(row[1].split()[0])))
        Table(f"Column maps on {file}", ["map", "found", "lacks"], rows[:8]).print()
        own = [n for n in source.names if n in COLUMNS or n == "source_id"]
        print(f"\nCanonical names in the file (for no map): {', '.join(own) or 'none'}")
        print(f"Columns: {', '.join(source.names)}")
        if not maps.fitting_maps(source.names):
            print(f"\nA map to begin with, to be looked through:\n\n{maps.draft_map(source.names)}")
        return
    rows = []
    for name, column in COLUMNS.items():
        of_spectrum = name.startswith(("teff", "logg"))
        if name.endswith("_corr") and not (name == "ra_dec_corr" or of_spectrum):
            continue
        shown = "*_corr (ten)" if name == "ra_dec_corr" else name
        rows.append([shown, column.unit, _needed_by(name), column.long_name])
    head = ["column", "unit", "needed by", "meaning"]
    Table("Canonical columns (beside source_id, the identifier)", head, rows).print()
    described = [[name, maps.load_column_map(name).description] for name in names]
    Table("Column maps", ["map", "of"], described).print()
    print(f"\nOperations\n{maps.__doc__}")
