"""What a product holds, in a short table: variables with units and ranges, provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.table import print_table

__all__ = ["show_isochrones", "show_product"]


_ENOUGH = 200_000  # stars from which percentiles are taken


def _rows(data: xr.Dataset) -> list[list[str]]:
    rows = []
    step = -(-data.sizes.get("star", 1) // _ENOUGH)
    for name, variable in data.variables.items():
        shape = ", ".join(f"{d} {n}" for d, n in variable.sizes.items())
        spread = ""
        if variable.dtype.kind in "fiu" and variable.size:
            some = (
                variable.isel(star=slice(None, None, step)) if "star" in variable.dims else variable
            )
            values = np.asarray(some.values, dtype=float)
            finite = values[np.isfinite(values)]
            if len(finite):
                low, mid, high = np.percentile(finite, [5, 50, 95])
                spread = f"{low:.4g} … {mid:.4g} … {high:.4g}"
        unit = str(variable.attrs.get("units", ""))
        rows.append([str(name), shape, unit, spread])
    return rows


def show_product(path: str | Path) -> None:
    """Print a product's content: StarPosteriors, a fit, a baseline or a catalogue.

    Raises
    ------
    ProductError
        Where the file is missing or of no known kind.
    """
    path = Path(path)
    if not path.exists():
        raise ProductError(f"no such product: {path}")
    header = ["variable", "shape", "unit", "5% … median … 95%"]
    if path.is_dir():
        from migrate_bayes.core.flags import FLAG_MEANING, count_flags
        from migrate_bayes.stars import open_stars, verify_stars

        verify_stars(path)
        stars = open_stars(path)
        print_table(f"{path}: {stars.sizes['star']:,} stars", header, _rows(stars))
        if "flag" in stars:
            flags = [[f"{n:,}", FLAG_MEANING[f]] for f, n in count_flags(stars["flag"]).items()]
            print_table("Flags", ["stars", "reason"], flags)
        attrs = stars.attrs
    elif path.suffix == ".nc":
        try:
            tree = xr.open_datatree(path, engine="h5netcdf")
        except (OSError, ValueError) as error:
            raise ProductError(f"{path} is damaged or no NetCDF file: {error}") from None
        for group in tree.subtree:
            if group.data_vars:
                print_table(f"{path}:{group.path}", header, _rows(group.to_dataset()))
        attrs = tree.attrs
    else:
        from migrate_bayes.catalog import read_catalog

        catalog = read_catalog(path)
        print_table(f"{path}: {catalog.sizes['star']:,} stars", header, _rows(catalog))
        attrs = catalog.attrs
    rows = []
    for key, value in attrs.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        rows.append([str(key), text if len(text) < 100 else text[:97] + "…"])
    print_table("Attributes", ["name", "value"], rows)


def show_isochrones(names: Sequence[str] = ()) -> None:
    """Print what isochrone sources cover.

    Parameters
    ----------
    names : sequence of str
        What `load_source` takes. Where empty: every family, and the native Dartmouth files where
        the folder of third-party data has them.
    """
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
        print_table(title, keys, [[row[k] for k in keys] for row in found])
