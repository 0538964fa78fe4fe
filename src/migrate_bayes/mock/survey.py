"""A mock survey, whole or in chunks: every number is keyed by the seed and the star.

A star is made from its number alone: candidates are drawn from the population until one is on the
isochrones and bright enough. So a survey can be made in chunks of any size, or a part of it, and a
longer survey begins with the shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.config import IsochroneSection, OrbitSection, SimulateSection
from migrate_bayes.errors import MigrateBayesError
from migrate_bayes.keyed import keyed_uniforms
from migrate_bayes.mock.observation import N_SPECTRUM, N_VISIT, observe, observe_again
from migrate_bayes.mock.population import (
    N_ORBIT,
    N_POPULATION,
    draw_orbit,
    draw_population,
    see_from_sun,
)
from migrate_bayes.progress import progress
from migrate_bayes.provenance import provenance

__all__ = ["iter_simulated", "simulate", "simulate_to_parquet"]

Columns = dict[str, NDArray[Any]]

# The survey reaches G = 16.8 with S/N enough for abundances.
_FAINT_LIMIT = 16.8
_TEFF_RANGE = (4200.0, 7500.0)
_LOGG_RANGE = (1.0, 5.0)
_REPEATS = 0.02  # share of stars observed a second time, at lower S/N

# Keyed random numbers: what they are for, and which draw of a star is which.
_PURPOSE = 0x10C4
_VISIT, _ATTEMPT = 0, 2  # draws 0 and 1: first and second observation; from 2 on: candidates
_MAX_ATTEMPTS = 2000

_ANSWERS = {
    "age": ("Gyr", "true age"),
    "rg": ("kpc", "true guiding radius"),
    "feh": ("dex", "true [Fe/H]"),
    "alpha_fe": ("dex", "true [alpha/Fe]"),
    "zmax": ("kpc", "true Z_max"),
    "thick": ("", "1 for the thick disc"),
    "mass": ("solMass", "true initial mass"),
}


@dataclass(frozen=True)
class _Survey:
    """What the stars of a mock are drawn from. A star's number alone says which star it is."""

    truth: SimulateSection
    seed: int
    isochrones: IsochroneSection
    orbits: OrbitSection

    @cached_property
    def source(self) -> Any:
        from migrate_bayes.isochrones import load_source

        name = self.isochrones.source
        return load_source(name if name != "external" else "dartmouth")

    def uniforms(self, number: NDArray[np.int64], draw: int, n: int) -> NDArray[np.float64]:
        """Return `n` uniform numbers for each star, shape (n, star)."""
        return keyed_uniforms(self.seed, _PURPOSE, number.astype(np.uint64), draw, n)

    def is_repeated(self, number: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a star is observed a second time."""
        return self.uniforms(number, _VISIT + 1, N_SPECTRUM + 1)[N_SPECTRUM] < _REPEATS

    def observe(self, number: NDArray[np.int64], *, again: bool = False) -> tuple[Columns, Columns]:
        """Return what is seen of the stars, at the first visit or the second, and the truth."""
        true = self.stars(number)
        seen = observe(true, self.uniforms(number, _VISIT, N_VISIT))
        if again:
            seen = observe_again(true, seen, self.uniforms(number, _VISIT + 1, N_SPECTRUM))
        return seen, true

    def stars(self, number: NDArray[np.int64]) -> Columns:
        """Make stars: candidates are drawn until one is bright enough and on the isochrones."""
        from migrate_bayes.orbits import orbit_extrema

        true: Columns = {}
        waiting = np.arange(len(number))
        for attempt in range(_MAX_ATTEMPTS):
            drawn = self._candidates(number[waiting], attempt)
            ok = drawn.pop("ok")
            for name, values in drawn.items():
                column = true.setdefault(name, np.empty(len(number), dtype=values.dtype))
                column[waiting[ok]] = values[ok]
            waiting = waiting[~ok]
            if len(waiting) == 0:
                break
        else:
            raise MigrateBayesError(
                f"no observable star in {_MAX_ATTEMPTS} tries for {len(waiting)} stars of the mock "
                f"survey, the first being number {number[waiting[0]]}: are the isochrones "
                f"'{self.isochrones.source}' of these ages and metallicities, and [simulate] sane?"
            )
        true["zmax"] = orbit_extrema(
            true["R"], true["v_r"], true["v_phi"], true["z"], true["v_z"],
            self.orbits.potentials[0], frame=self.orbits.frame, scaling=self.orbits.scaling,
        ).zmax  # fmt: skip
        return true

    def _candidates(self, number: NDArray[np.int64], attempt: int) -> Columns:
        from migrate_bayes.catalog.gaia_extinction import extinction_ratio
        from migrate_bayes.isochrones import draw_stars

        u = self.uniforms(number, _ATTEMPT + attempt, N_POPULATION + N_ORBIT + 1)
        youngest, oldest = float(self.source.ages[0]), float(self.source.ages[-1])
        star = draw_population(self.truth, (max(youngest, 1.0), min(oldest, 13.5)), u)
        place = draw_orbit(star, self.orbits, u[N_POPULATION:-1])
        sky = see_from_sun(place, self.orbits)
        # A smooth dust disc: 0.7 mag/kpc in the plane, scale height 150 pc, as seen from the Sun.
        z = np.abs(place["z"]) + 1e-6
        column = 0.15 * (1.0 - np.exp(-z / 0.15)) / z
        a_v = np.minimum(0.7 * sky["distance"] * column, 4.0)
        modulus = 5.0 * np.log10(sky["distance"]) + 10.0
        drawn = draw_stars(
            self.source,
            star["age"],
            star["feh"],
            star["alpha_fe"],
            u[-1],
            teff_range=_TEFF_RANGE,
            logg_range=_LOGG_RANGE,
            abs_g_max=_FAINT_LIMIT - modulus - 0.85 * a_v,
        )
        a_g, a_bp, a_rp = (
            a_v * extinction_ratio(band, a_v, bp_rp=drawn["bp_rp"]) for band in ("G", "BP", "RP")
        )
        # G lies between BP and RP: M_BP and M_RP from the colour by G - RP ≈ 0.59 (BP - RP), the
        # mean relation of the isochrones; only BP - RP enters anything below.
        g_rp = 0.59 * drawn["bp_rp"]
        return {
            **star,
            **drawn,
            **sky,
            **place,
            "a_v": a_v,
            "g": drawn["abs_g"] + modulus + a_g,
            "bp": drawn["abs_g"] - g_rp + drawn["bp_rp"] + modulus + a_bp,
            "rp": drawn["abs_g"] - g_rp + modulus + a_rp,
        }


def iter_simulated(
    truth: SimulateSection | None = None,
    *,
    seed: int = 0,
    isochrones: IsochroneSection | None = None,
    orbits: OrbitSection | None = None,
    chunk_size: int = 65_536,
) -> Iterator[xr.Dataset]:
    """Simulate a survey in chunks of at most `chunk_size` rows.

    Parameters are those of `simulate`, whose result is the chunks' concatenation. A star's numbers
    are a function of the seed and its number (its ``source_id``) alone, so they depend neither on
    the chunks nor on how many stars there are.

    Yields
    ------
    xarray.Dataset
        First every star's first observation, in order, then the repeat observations.
    """
    truth = truth or SimulateSection()
    survey = _Survey(truth, seed, isochrones or IsochroneSection(), orbits or OrbitSection())
    step = chunk_size
    for start in range(1, truth.stars + 1, step):
        number = np.arange(start, min(start + step, truth.stars + 1), dtype=np.int64)
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
    truth: SimulateSection | None = None,
    *,
    seed: int = 0,
    isochrones: IsochroneSection | None = None,
    orbits: OrbitSection | None = None,
) -> xr.Dataset:
    """Simulate a survey.

    Parameters
    ----------
    truth : SimulateSection, optional
        Number of stars and true gradients.
    seed : int
    isochrones : IsochroneSection, optional
        Whose `source` the stars are drawn from.
    orbits : OrbitSection, optional
        Frame, scaling and (its first) potential in which the orbits are made.

    Returns
    -------
    xarray.Dataset
        A catalogue of canonical columns, with `ref_true_…` columns for the truth: first every star,
        then the repeat observations.

    Raises
    ------
    MigrateBayesError
        Where stars of the population asked for cannot be found on the isochrones.
    """
    parts = list(iter_simulated(truth, seed=seed, isochrones=isochrones, orbits=orbits))
    catalog = xr.concat(parts, dim="star", combine_attrs="override")
    catalog.attrs.update(provenance(seed=seed))
    return catalog


def simulate_to_parquet(
    path: str | Path,
    truth: SimulateSection | None = None,
    *,
    seed: int = 0,
    isochrones: IsochroneSection | None = None,
    orbits: OrbitSection | None = None,
    chunk_size: int = 65_536,
    overwrite: bool = False,
) -> int:
    """Simulate a survey into a Parquet file, in memory that does not grow with it.

    Parameters
    ----------
    path : path-like
        The file; it is the same, byte for byte, whatever the `chunk_size`.
    truth, seed, isochrones, orbits
        As for `simulate`.
    chunk_size : int
        Stars at a time.
    overwrite : bool
        Replace a file that stands there.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    MigrateBayesError
        As `simulate`.
    ProductError
        Where the file exists already or cannot be written.
    """
    from migrate_bayes.catalog.writing import ParquetCatalogWriter

    truth = truth or SimulateSection()
    rows = 0
    with (
        ParquetCatalogWriter(path, overwrite=overwrite) as out,
        progress(truth.stars, "simulate") as advance,
    ):
        for chunk in iter_simulated(
            truth, seed=seed, isochrones=isochrones, orbits=orbits, chunk_size=chunk_size
        ):
            out.append(chunk)
            # The repeats at the end are not counted: the total is of stars.
            advance(max(min(chunk.sizes["star"], truth.stars - rows), 0))
            rows += chunk.sizes["star"]
    return rows


def _catalog(source_id: NDArray[np.int64], seen: Columns, true: Columns, seed: int) -> xr.Dataset:
    """Name and describe."""
    from migrate_bayes.catalog.columns import attributes

    variables: dict[str, Any] = {
        name: ("star", values.astype(np.float64), attributes(name)) for name, values in seen.items()
    }
    for name, (unit, long_name) in _ANSWERS.items():
        values = true[name].astype(np.float64)
        variables[f"ref_true_{name}"] = ("star", values, {"units": unit, "long_name": long_name})
    return xr.Dataset(
        variables,
        coords={"source_id": ("star", source_id)},
        attrs={"source": "migrate-bayes mock survey", "seed": str(seed)},
    )
