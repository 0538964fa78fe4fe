"""A mock survey, whole or in chunks.

Every number of a star depends on the seed and the star's number (its ``source_id``) alone. So a
survey can be made in chunks of any size, or in part, and a longer survey begins with a shorter one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog import write_catalog
from migrate_bayes.catalog.columns import attributes
from migrate_bayes.core.progress import progress
from migrate_bayes.core.provenance import provenance
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.mock.stars import get_survey
from migrate_bayes.orbits.orbit_options import OrbitOptions

Columns = dict[str, NDArray[Any]]

_ANSWERS = {
    "age": ("Gyr", "true age"),
    "rg": ("kpc", "true guiding radius"),
    "feh": ("dex", "true [Fe/H]"),
    "alpha_fe": ("dex", "true [alpha/Fe]"),
    "zmax": ("kpc", "true Z_max"),
    "thick": ("", "1 for the thick disc"),
    "mass": ("solMass", "true initial mass"),
    # Of the migration population:
    "component": ("", "0 thin disc, 1 thick disc, 2 young alpha-rich, 3 outlier"),
    "r_birth": ("kpc", "true birth radius, of the thin disc"),
}
_MORE_ANSWERS = {  # of the lamost survey
    "distance": ("kpc", "true distance"),
    "a_v": ("mag", "true V extinction"),
    "blunder": ("", "1 where the spectrum is off by ten times its error"),
}


def iter_simulated(
    options: MockOptions | None = None,
    *,
    seed: int = 0,
    isochrones: AgeOptions | None = None,
    orbits: OrbitOptions | None = None,
    chunk_size: int = 65_536,
    **settings: Any,
) -> Iterator[xr.Dataset]:
    """Yield `simulate`'s rows in chunks: each star's first observation in order, then repeats."""
    truth = MockOptions.of(options, settings)
    survey = get_survey(truth, seed, isochrones or AgeOptions(), orbits or OrbitOptions())

    def numbers(step: int) -> Iterator[NDArray[np.int64]]:
        for first in range(1, truth.stars + 1, step):
            yield np.arange(first, min(first + step, truth.stars + 1), dtype=np.int64)

    for number in numbers(chunk_size):
        yield catalog_of(number, *survey.observe(number), seed)
    # Which stars are seen again is known without making them, so nothing need be remembered.
    again = np.concatenate([number[survey.is_repeated(number)] for number in numbers(1_000_000)])
    for first in range(0, len(again), chunk_size):
        number = again[first : first + chunk_size]
        yield catalog_of(number, *survey.observe(number, again=True), seed)


def simulate(
    options: MockOptions | None = None,
    *,
    seed: int = 0,
    isochrones: AgeOptions | None = None,
    orbits: OrbitOptions | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Simulate a survey with known truth.

    Parameters
    ----------
    options : MockOptions, optional
        Number of stars, population, survey and true gradients.
    seed : int
        With a star's number, it decides every number of the star.
    isochrones : AgeOptions, optional
        Whose `source` the stars are drawn from.
    orbits : OrbitOptions, optional
        Frame, scaling and (its first, unless `options` names another) potential in which the
        orbits are made.
    **settings
        Entries of `MockOptions` by name; they override `options`.

    Returns
    -------
    xarray.Dataset
        A catalogue of canonical columns, with `ref_true_…` columns for the truth: first every star,
        then the repeat observations.

    Raises
    ------
    RecipeError
        If a setting is unknown or invalid.
    MigrateBayesError
        If stars of the population asked for cannot be found on the isochrones.

    Examples
    --------
    >>> from migrate_bayes import simulate
    >>> survey = simulate(stars=20, seed=1)
    >>> survey["ref_true_age"].attrs["units"], bool((survey["distance"] > 0).all())
    ('Gyr', True)
    """
    parts = iter_simulated(options, seed=seed, isochrones=isochrones, orbits=orbits, **settings)
    catalog = xr.concat(list(parts), dim="star", combine_attrs="override")
    return catalog.assign_attrs(provenance(seed=seed))


def simulate_to_parquet(
    path: str | Path,
    options: MockOptions | None = None,
    *,
    seed: int = 0,
    isochrones: AgeOptions | None = None,
    orbits: OrbitOptions | None = None,
    chunk_size: int = 65_536,
    overwrite: bool = False,
    record: Mapping[str, str] | None = None,
    **settings: Any,
) -> int:
    """Simulate a survey into a Parquet file, in memory that does not grow with it.

    Parameters
    ----------
    path : path-like
        The file; it is the same, byte for byte, whatever the `chunk_size`.
    options : MockOptions, optional
        Number of stars, population, survey and true gradients.
    seed : int
        As for `simulate`.
    isochrones : AgeOptions, optional
        Whose `source` the stars are drawn from.
    orbits : OrbitOptions, optional
        As for `simulate`.
    chunk_size : int
        Stars at a time.
    overwrite : bool
        Replace a file that exists.
    record : mapping, optional
        As for `migrate_bayes.catalog.write_catalog`.
    **settings
        Entries of `MockOptions` by name; they override `options`.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    MigrateBayesError
        As `simulate`.
    ProductError
        If the file exists already or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from migrate_bayes.mock import simulate_to_parquet
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     simulate_to_parquet(f"{folder}/mock.parquet", stars=20, seed=1)
    20
    """
    truth = MockOptions.of(options, settings)
    rows = 0

    def chunks(advance: Callable[[int], None]) -> Iterator[xr.Dataset]:
        nonlocal rows
        for chunk in iter_simulated(
            truth, seed=seed, isochrones=isochrones, orbits=orbits, chunk_size=chunk_size
        ):
            yield chunk
            # The repeats at the end are not counted: the total is of stars.
            advance(max(min(chunk.sizes["star"], truth.stars - rows), 0))
            rows += chunk.sizes["star"]

    with progress(truth.stars, "simulate") as advance:
        write_catalog(chunks(advance), path, overwrite=overwrite, format="parquet", record=record)
    return rows


def catalog_of(source_id: NDArray[np.int64], seen: Columns, true: Columns, seed: int) -> xr.Dataset:
    """Make a catalogue of what is seen of stars, the truth beside it."""
    variables: dict[str, Any] = {
        name: ("star", values.astype(np.float64), attributes(name)) for name, values in seen.items()
    }
    answers = _ANSWERS | (_MORE_ANSWERS if "blunder" in true else {})
    for name, (unit, long_name) in answers.items():
        if name in true:
            attrs = {"units": unit, "long_name": long_name}
            variables[f"ref_true_{name}"] = ("star", true[name].astype(np.float64), attrs)
    attrs = {"source": "migrate-bayes mock survey", "seed": str(seed)}
    return xr.Dataset(variables, {"source_id": ("star", source_id)}, attrs)
