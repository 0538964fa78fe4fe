"""Export of a run's catalogue: one row per star, in Parquet, FITS or HATS.

`export_catalogue` writes ages, phase space, orbits in each potential, membership and flags, with a
unit, a UCD (IVOA UCD1+, words of version 1.5) and a description for every column, and with the
provenance of the run. In HATS each star has its age likelihood too, as lists over the age nodes.
Memory holds one part of the stars at a time.
"""

from __future__ import annotations

import re
import tomllib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.hats import Nested, healpix_of, write_hats
from migrate_bayes.catalog.writing import OutputColumn, write_fits, write_parquet
from migrate_bayes.core.errors import ProductError, suggest
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.core.io import atomic_output, read_netcdf
from migrate_bayes.core.progress import progress
from migrate_bayes.population.results.diagnostics import judge
from migrate_bayes.stars import iter_parts, open_run_stars, open_stars

if TYPE_CHECKING:
    import astropy.table

__all__ = ["export_catalogue", "export_run", "star_table"]

_ENDINGS = (".parquet", ".fits", ".fit", ".hats")
#: What HATS has of each star on the age grid, as a column of lists.
AGE_LIKELIHOOD = ("age", "log_age_likelihood", "feh_mean", "feh_sd")
_RECORD = ("created", "seed", "recipe_hash", "inputs", "versions", "solar_frame", "doubt")
# Width of text in FITS, which is fixed: Gaia's 19 digits and the names of surveys fit.
_TEXT_WIDTH = 32
_MEANING = {
    "age": "age of the catalogue",
    "age_population": "age given the star and the fitted population: mean",
    "age_population_sd": "age given the star and the fitted population: standard deviation",
    "p_thin": "probability of the thin disc, given the star and the fitted population",
    "p_thin_sd": "standard deviation of p_thin over the posterior of the population",
}


def export_run(run: str | Path, to: str | Path, *, overwrite: bool = False) -> tuple[Path, int]:
    """Write the catalogue of a run.

    If the run's fit may not be believed, a warning says so, and so does the file's record
    (``doubt``): membership and ages under the population are then no results.

    Parameters
    ----------
    run : path-like
        The run's folder, such as ``runs/demo``, or a StarPosteriors folder in it.
    to : path-like
        ``.parquet``, ``.fits`` or, a folder, ``.hats``.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path, int
        Path and number of rows of the file.

    Raises
    ------
    ProductError
        If the run has no stars, the ending is unknown, or the file exists and may not be replaced.

    Examples
    --------
    >>> import tempfile
    >>> import migrate_bayes as mb
    >>> from migrate_bayes.export import export_run
    >>> from migrate_bayes.mock import simulated_stars
    >>> with tempfile.TemporaryDirectory() as run:
    ...     _ = mb.write_stars(simulated_stars(5, seed=1), f"{run}/stars")
    ...     path, rows = export_run(run, f"{run}/stars.parquet")
    >>> path.name, rows
    ('stars.parquet', 5)
    """
    folder = Path(run)
    if (folder / "manifest.json").exists():
        stars, folder = open_stars(folder), folder.parent
    else:
        stars = open_run_stars(folder)
    membership = None
    # A run without a fit, or without membership, is exported without these columns.
    with suppress(ProductError, KeyError), read_netcdf(folder / "fit.nc", lazy=True) as fit:
        membership = fit["membership"].to_dataset().load()
        if doubt := judge(fit).sentence:
            said = f"p_thin and age_population are no results: {doubt}"
            warnings.warn(said, RuntimeWarning, stacklevel=2)
            stars = stars.assign_attrs(doubt=doubt)
    return export_catalogue(stars, to, membership=membership, overwrite=overwrite)


def export_catalogue(
    stars: xr.Dataset,
    to: str | Path,
    *,
    membership: xr.Dataset | None = None,
    overwrite: bool = False,
) -> tuple[Path, int]:
    """Write StarPosteriors as a catalogue of one row per star.

    Parameters
    ----------
    stars : xarray.Dataset
        From `migrate_bayes.stars.open_stars`, or in memory.
    to : path-like
        ``.parquet``, ``.fits`` or, a folder, ``.hats``.
    membership : xarray.Dataset, optional
        A fit's group `membership`, on `source_id`. Repeat observations are not fitted: theirs is
        missing.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path, int
        Path and number of rows of the file.

    Raises
    ------
    ProductError
        If the ending is unknown, or the file exists and may not be replaced.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> from migrate_bayes.export import export_catalogue
    >>> stars = xr.Dataset({"teff": ("star", [5772.0], {"units": "K"})},
    ...                    coords={"source_id": ("star", [7])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path, rows = export_catalogue(stars, f"{folder}/stars.fits")
    >>> path.name, rows
    ('stars.fits', 1)
    """
    to = Path(to)
    if to.suffix.lower() not in _ENDINGS:
        raise ProductError(f"{to}: unknown kind of catalogue; {suggest(to.suffix, _ENDINGS)}")
    columns = catalogue_columns(stars, membership)
    record = {k: str(stars.attrs[k]) for k in _RECORD if k in stars.attrs}
    n = stars.sizes["star"]
    hats = to.suffix.lower() == ".hats"
    with (
        atomic_output(to, overwrite=overwrite, directory=hats) as tmp,
        progress(n, "export") as advance,
    ):
        parts = _parts(stars, columns, membership, advance)
        if hats:
            if not {"ra", "dec"} <= set(stars):
                raise ProductError(f"{to}: HATS needs ra and dec, which these stars lack")
            places = (healpix_of(p["ra"], p["dec"]) for _, p in iter_parts(stars, ["ra", "dec"]))
            both = zip(parts, _likelihoods(stars), strict=True)
            write_hats(tmp, columns, both, places, record, name=to.stem)
        elif to.suffix.lower() == ".parquet":
            write_parquet(tmp, columns, parts, record)
        else:
            write_fits(tmp, columns, parts, n, record, text_width=_TEXT_WIDTH)
    return to, n


def _parts(
    stars: xr.Dataset,
    columns: Sequence[OutputColumn],
    membership: xr.Dataset | None,
    advance: Callable[[int], None],
) -> Iterator[dict[str, NDArray]]:
    """Yield the columns' values, a part of the stars at a time."""
    fitted = pd.DataFrame()
    if membership is not None:
        values = {str(name): variable.values for name, variable in membership.data_vars.items()}
        fitted = pd.DataFrame(values, index=membership["source_id"].values)
        fitted = fitted[~fitted.index.duplicated()]
    names = dict.fromkeys(c.variable for c in columns)
    own = [name for name in names if name != "source_id" and name not in fitted]
    # A coordinate is lazy as well; `iter_parts` goes through variables.
    wanted = stars[own].assign(source_id_=stars["source_id"].variable)
    for _, part in iter_parts(wanted, [*own, "source_id_"]):
        part["source_id"] = part.pop("source_id_")
        of_part = fitted.reindex(part["source_id"])
        if "flag" in part:
            of_part[(part["flag"] & int(StarFlag.DUPLICATE)) != 0] = np.nan
        part |= {str(name): of_part[name].to_numpy() for name in of_part}
        yield {
            c.name: part[c.variable] if c.potential is None else part[c.variable][:, c.potential]
            for c in columns
        }
        advance(len(of_part))


def star_table(stars: xr.Dataset, membership: xr.Dataset | None = None) -> astropy.table.Table:
    """Return the columns of `export_catalogue` as a table, with units and descriptions.

    Parameters
    ----------
    stars : xarray.Dataset
        From `assemble_stars` or `open_stars`: as many as fit into memory.
    membership : xarray.Dataset, optional
        From `PopulationModel.membership`, or a fit's group of that name.

    Returns
    -------
    astropy.table.Table
        One row per star.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes import star_table
    >>> stars = xr.Dataset({"teff": ("star", [5772.0], {"units": "K"})},
    ...                    coords={"source_id": ("star", [7])})
    >>> star_table(stars)["teff"].unit
    Unit("K")
    """
    from astropy.table import Table, vstack

    columns = catalogue_columns(stars, membership)
    parts = [Table(part) for part in _parts(stars, columns, membership, lambda n: None)]
    table = vstack(parts)
    for column in columns:
        table[column.name].unit = column.unit or None
        table[column.name].description = column.description
    return table


def as_frame(stars: xr.Dataset) -> pd.DataFrame:
    """Return the columns of `export_catalogue` of stars in memory."""
    parts = _parts(stars, catalogue_columns(stars), None, lambda n: None)
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)


def _likelihoods(stars: xr.Dataset) -> Iterator[Nested]:
    """Yield the column of age likelihoods, a part of the stars at a time; nothing without ages."""
    names = [name for name in AGE_LIKELIHOOD if name in stars and name != "age"]
    for _, part in iter_parts(stars, names or ["flag"]):
        shape = next(iter(part.values())).shape
        nodes = {"age": np.broadcast_to(stars["age"].values, shape)} if names else {}
        yield {"age_likelihood": nodes | part} if names else {}


def _column(
    name: str, variable: str, source: xr.DataArray, potential: tuple[int, str] | None = None
) -> OutputColumn:
    text = str(source.attrs.get("long_name", "")) or _MEANING.get(variable, "")
    text = text or variable.replace("_", " ")
    place, label = potential or (None, "")
    text += f"; in {label}" if label else ""
    unit = str(source.attrs.get("units", ""))
    return OutputColumn(name, source.dtype, unit, ucd_of(variable), text, variable, place)


def catalogue_columns(
    stars: xr.Dataset, membership: xr.Dataset | None = None
) -> list[OutputColumn]:
    """List the columns of a run's catalogue, the identifier first.

    Every variable on (star) is a column. A variable on (star, potential) gives one column per
    potential, named like ``rg_mean_McMillan17``. Variables on the age grid are left out. A fit's
    `membership` adds `p_thin`, `age_population` and their sds, NaN for stars not fitted.
    """
    found = [_column("source_id", "source_id", stars["source_id"])]
    labels = [str(p) for p in stars["potential"].values] if "potential" in stars.dims else []
    endings = [re.sub(r"[^A-Za-z0-9]+", "_", label).strip("_") for label in labels]
    if len(set(endings)) != len(endings):
        raise ProductError(
            f"potentials have names too alike for columns: {', '.join(labels)}; rename one of them"
        )
    for key, variable in stars.data_vars.items():
        name = str(key)
        # `star_key`, a hash of the identifier, is of use to this package alone.
        if name == "star_key" or variable.dtype.kind not in "biufUSO":
            continue
        if variable.dims == ("star",):
            found.append(_column(name, name, variable))
        elif variable.dims == ("star", "potential"):
            found += [
                _column(f"{name}_{ending}", name, variable, (p, labels[p]))
                for p, ending in enumerate(endings)
            ]
    if membership is not None:
        found += [_column(str(n), str(n), v) for n, v in membership.data_vars.items()]
    return found


_UCD_FILE = files("migrate_bayes.catalog").joinpath("ucd.toml")
#: UCD by variable; `ucd_of` derives those of errors and bounds.
UCD_WORDS: dict[str, str] = tomllib.loads(_UCD_FILE.read_text("utf-8"))
_PATTERNS = {
    "cov_": "stat.covariance", ".*_corr$": "stat.correlation", "snr": "stat.snr", "ref_": "",
}  # fmt: skip
_BOUNDS = {"lo": "stat.min", "hi": "stat.max"}


def ucd_of(name: str) -> str:
    """Return the UCD of a column of StarPosteriors; ``""`` for one that has none.

    Errors and bounds are their quantity's, with the statistic in front (``stat.error``) or behind
    (``stat.min``, ``stat.max``).
    """
    if name in UCD_WORDS:
        return UCD_WORDS[name]
    for pattern, word in _PATTERNS.items():
        if re.match(pattern, name):
            return word
    quantity, _, statistic = name.rpartition("_")
    if not quantity:
        return ""
    base = ucd_of(quantity)
    if statistic in ("error", "sd"):
        return f"stat.error;{base.removesuffix(';meta.main')}" if base else "stat.error"
    return f"{base};{_BOUNDS[statistic]}" if base and statistic in _BOUNDS else ""
