"""A mock survey, whole or in chunks: every number depends on the seed and the star alone.

A star is made from its number alone (`stars`). So a survey can be made in chunks of any size, or a
part of it, and a longer survey begins with the shorter one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

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
    """Simulate a survey in chunks.

    A star's numbers are a function of the seed and its number (its ``source_id``) alone: they
    depend neither on the chunks nor on how many stars there are.

    Parameters
    ----------
    options, seed, isochrones, orbits, **settings
        As for `simulate`, whose result is the chunks' concatenation.
    chunk_size : int
        Most rows of a chunk.

    Yields
    ------
    xarray.Dataset
        First every star's first observation, in order, then the repeat observations.
    """
    truth = MockOptions.of(options, settings)
    survey = get_survey(truth, seed, isochrones or AgeOptions(), orbits or OrbitOptions())
    step = chunk_size
    for number in _ranges(1, truth.stars + 1, step):
        yield _catalog(number, *survey.observe(number), seed)
    # Which stars are seen again is known without making them, so nothing need be remembered.
    again = np.concatenate(
        [number[survey.is_repeated(number)] for number in _ranges(1, truth.stars + 1, 1_000_000)]
    )
    for part in range(0, len(again), step):
        number = again[part : part + step]
        yield _catalog(number, *survey.observe(number, again=True), seed)


def _ranges(start: int, stop: int, step: int) -> Iterator[NDArray[np.int64]]:
    for first in range(start, stop, step):
        yield np.arange(first, min(first + step, stop), dtype=np.int64)


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
    parts = list(
        iter_simulated(options, seed=seed, isochrones=isochrones, orbits=orbits, **settings)
    )
    catalog = xr.concat(parts, dim="star", combine_attrs="override")
    catalog.attrs.update(provenance(seed=seed))
    return catalog


def simulate_to_parquet(
    path: str | Path,
    options: MockOptions | None = None,
    *,
    seed: int = 0,
    isochrones: AgeOptions | None = None,
    orbits: OrbitOptions | None = None,
    chunk_size: int = 65_536,
    overwrite: bool = False,
    **settings: Any,
) -> int:
    """Simulate a survey into a Parquet file, in memory that does not grow with it.

    Parameters
    ----------
    path : path-like
        The file; it is the same, byte for byte, whatever the `chunk_size`.
    options, seed, isochrones, orbits, **settings
        As for `simulate`.
    chunk_size : int
        Stars at a time.
    overwrite : bool
        Replace a file that exists.

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
    """
    from migrate_bayes.catalog import write_catalog

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
        write_catalog(chunks(advance), path, overwrite=overwrite, format="parquet")
    return rows


def _catalog(source_id: NDArray[np.int64], seen: Columns, true: Columns, seed: int) -> xr.Dataset:
    """Name and describe."""
    from migrate_bayes.catalog.columns import attributes

    variables: dict[str, Any] = {
        name: ("star", values.astype(np.float64), attributes(name)) for name, values in seen.items()
    }
    answers = _ANSWERS | (_MORE_ANSWERS if "blunder" in true else {})
    for name, (unit, long_name) in answers.items():
        if name not in true:
            continue
        values = true[name].astype(np.float64)
        variables[f"ref_true_{name}"] = ("star", values, {"units": unit, "long_name": long_name})
    return xr.Dataset(
        variables,
        coords={"source_id": ("star", source_id)},
        attrs={"source": "migrate-bayes mock survey", "seed": str(seed)},
    )
