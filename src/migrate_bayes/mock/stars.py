"""The stars of a mock survey, each a function of the seed and its number.

A star is made from its number alone: candidates are drawn from the population until one is on the
isochrones and in the survey. `SimpleSurvey` and `LamostSurvey` define what is in the survey.

With the ``lamost`` survey this is rejection sampling (`footprint` says how), so the stars are those
of a disc of the population's laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from migrate_bayes.catalog.extinction import extinction_ratio
from migrate_bayes.catalog.passbands import in_band
from migrate_bayes.core.counter_rng import keyed_uniforms
from migrate_bayes.core.errors import MigrateBayesError
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.isochrones import build_grid, draw_stars, load_source
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock import discs, footprint, instruments
from migrate_bayes.mock.footprint import BLUEST, G_RANGE
from migrate_bayes.mock.instruments import N_GAIA, N_LAMOST, N_SPECTRUM, N_VISIT
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.orbits import OrbitOptions, Potential, orbit_extrema

Columns = dict[str, NDArray[Any]]

_LOGG_RANGE = (1.0, 5.0)
_BLOCK = 4096
MOST_ATTEMPTS = 2000
"""Candidates after which a star is given up."""
G_RP = 0.59
"""(G - RP) / (BP - RP): the mean relation of the isochrones, which have BP - RP alone."""

# Keyed random numbers: which draw of a star is which.
_VISIT, _ATTEMPT = 0, 2  # draws 0 and 1: first and second observation; from 2 on: candidates
_GAIA = 1 << 40  # beyond any candidate


@dataclass(frozen=True)
class SimpleSurvey:
    """Every star bright enough, in a wedge about the Sun's azimuth, measured by `observe`."""

    truth: MockOptions
    seed: int
    isochrones: AgeOptions
    potential: Potential

    # The survey reaches G = 16.8 with S/N enough for abundances.
    faint_limit = 16.8
    repeats = 0.02  # share of stars observed a second time, at lower S/N
    n_spectrum = N_SPECTRUM
    most_at_once = 4  # candidates of a star
    teff_range = (4200.0, 7500.0)
    purpose = 0x10C4  # of the keyed random numbers
    with_zmax = True  # of the orbit; otherwise of the vertical motion at fixed R
    shared: ClassVar[tuple[str, ...]] = ("grid",)

    @property
    def most_attempts(self) -> int:
        """Candidates after which a star is given up."""
        return MOST_ATTEMPTS

    @cached_property
    def source(self) -> Any:
        """Isochrones that the stars are drawn from."""
        return load_source(self.truth.drawn_from(self.isochrones))

    @cached_property
    def grid(self) -> Any:
        """Working grid of the isochrones."""
        return build_grid(self.source)

    def uniforms(self, number: NDArray[np.int64], draw: int, n: int) -> NDArray[np.float64]:
        """Return `n` uniform numbers for each star, shape (n, star)."""
        return keyed_uniforms(self.seed, self.purpose, number.astype(np.uint64), draw, n)

    def is_repeated(self, number: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether a star is observed a second time."""
        return self.uniforms(number, _VISIT + 1, self.n_spectrum + 1)[-1] < self.repeats

    def observe(
        self, number: NDArray[np.int64], *, again: bool = False, true: Columns | None = None
    ) -> tuple[Columns, Columns]:
        """Return what is seen of the stars, at the first visit or the second, and the truth.

        The stars are those of `stars`, or else `true`.
        """
        for name in self.shared:  # all threads need it: build it before they start
            getattr(self, name)

        def some(start: int, stop: int) -> tuple[Columns, Columns]:
            mine = number[start:stop]
            if true is None:
                return self._observe(mine, self.stars(mine), again)
            return self._observe(mine, {n: v[start:stop] for n, v in true.items()}, again)

        parts = map_blocks(some, len(number), _BLOCK)
        seen, true = (
            {name: np.concatenate([one[name] for one in side]) for name in side[0]}
            for side in zip(*parts, strict=True)
        )
        return seen, true

    def _observe(
        self, number: NDArray[np.int64], true: Columns, again: bool
    ) -> tuple[Columns, Columns]:
        seen = instruments.observe(true, self.uniforms(number, _VISIT, N_VISIT))
        if again:
            u = self.uniforms(number, _VISIT + 1, N_SPECTRUM)
            seen = instruments.observe_again(true, seen, u)
        return seen, true

    def stars(self, number: NDArray[np.int64]) -> Columns:
        """Make stars: candidates are drawn until one is in the survey and on the isochrones."""
        true = first_seen(number, self._candidates, self.most_at_once, self.most_attempts)
        if self.with_zmax:
            place = (true[name] for name in ("R", "v_r", "v_phi", "z", "v_z"))
            true["zmax"] = orbit_extrema(*place, self.potential, workers=1).zmax
        return true

    def draw(
        self, number: NDArray, attempts: range, more: int
    ) -> tuple[Columns, NDArray[np.float64]]:
        """Draw candidates from the population: all stars' first, then their second, and so on.

        Returns them and `more` uniform numbers for each, shape (more, n).
        """
        n = self.n_births
        draws = [self.uniforms(number, _ATTEMPT + a, n + more) for a in attempts]
        u = np.concatenate(draws, axis=1)
        return self.births(self.ages, u[:n]), u[n:]

    @property
    def ages(self) -> tuple[float, float]:
        """Youngest and oldest stars, Gyr."""
        return ages_of_stars(self.source.ages)

    @property
    def n_births(self) -> int:
        """How many uniform numbers the birth of a star needs."""
        if self.truth.population == "migration":
            return discs.N_MIGRATION
        return discs.N_POPULATION + discs.N_ORBIT

    def births(self, ages: tuple[float, float], u: NDArray) -> Columns:
        """Draw stars of the population and put them on their orbits; `ages` are the limits, Gyr."""
        if self.truth.population == "migration":
            return discs.draw_migration(self.truth, ages, self.potential, u)
        star = discs.draw_population(self.truth, ages, u)
        return star | discs.draw_orbit(star, self.potential, u[discs.N_POPULATION :])

    def _on_isochrone(self, star: Columns, u: NDArray, faintest: NDArray) -> Columns:
        """Give the stars a mass that makes them no fainter than M_G = `faintest`."""
        return draw_stars(
            self.grid, star["age"], star["feh"], star["alpha_fe"], u,
            teff_range=self.teff_range, logg_range=_LOGG_RANGE, abs_g_max=faintest, workers=1,
        )  # fmt: skip

    def _candidates(self, number: NDArray, attempts: range) -> tuple[NDArray, Columns]:
        """Draw candidates for each star; return which of them are kept, and these."""
        star, u = self.draw(number, attempts, 1)
        star |= discs.see_from_sun(star, self.potential.frame)
        # A smooth dust disc: 0.7 mag/kpc in the plane, scale height 150 pc, as seen from the Sun.
        z = np.abs(star["z"]) + 1e-6
        column = 0.15 * (1.0 - np.exp(-z / 0.15)) / z
        star["a_v"] = np.minimum(0.7 * star["distance"] * column, 4.0)
        faintest = self.faint_limit - _modulus(star["distance"]) - 0.85 * star["a_v"]
        drawn = self._on_isochrone(star, u[0], faintest)
        kept = np.flatnonzero(drawn.pop("ok") & star.pop("possible", True))
        star = {name: values[kept] for name, values in (star | drawn).items()}
        return kept, star | magnitudes(star)


@dataclass(frozen=True)
class LamostSurvey(SimpleSurvey):
    """Footprint, depth and dust of `footprint`, errors of `instruments`."""

    repeats = instruments.REPEATS
    n_spectrum = N_LAMOST
    most_at_once = 64
    # Hotter than any turn-off of 1 Gyr: a limit of 7500 K would leave out the metal-poor among the
    # youngest, and make the sample's gradient at 1 to 1.5 Gyr flatter by 0.007 dex/kpc.
    teff_range = (4200.0, 8500.0)
    shared = ("grid", "_bound")

    def _observe(
        self, number: NDArray[np.int64], true: Columns, again: bool
    ) -> tuple[Columns, Columns]:
        seen = instruments.take_spectrum(true, self.uniforms(number, _VISIT + int(again), N_LAMOST))
        true["blunder"] = seen.pop("blunder")
        offset = [seen.pop("fibre_ra"), seen.pop("fibre_dec")]
        u = self.uniforms(number, _GAIA, N_GAIA + 1)
        seen |= instruments.see_with_gaia(true, ndtri(u[:N_GAIA]))
        length = instruments.prior_length(footprint.galactic(true["ra"], true["dec"])[1])
        quantiles = instruments.distance_quantiles(seen["parallax"], seen["parallax_error"], length)
        seen |= zip(("distance_lo", "distance", "distance_hi"), quantiles.T, strict=True)
        # From a dust map good to 10%.
        seen["a_v"] = true["a_v"] * np.clip(1.0 + 0.10 * ndtri(u[N_GAIA]), 0.5, 1.5)
        seen["a_v_error"] = 0.10 * true["a_v"]
        if again:
            seen["ra"] = (seen["ra"] + offset[0] / np.cos(np.radians(true["dec"]))) % 360.0
            seen["dec"] = seen["dec"] + offset[1]
        return seen, true

    @cached_property
    def _bound(self) -> footprint.Bound:
        return footprint.brightness_bound(self.grid, self.teff_range, _LOGG_RANGE)

    def _candidates(self, number: NDArray, attempts: range) -> tuple[NDArray, Columns]:
        star, u = self.draw(number, attempts, 5)
        # A limit for each: completeness falls with magnitude as the share of deeper limits does.
        star["limit"] = footprint.faintest_g(u[3])
        sun = self.potential.frame
        star["phi"], bound, _ = footprint.choose_azimuth(
            star["age"], star["R"], star["z"], star["limit"] + BLUEST, u[1], u[2],
            self._bound, sun.r0, sun.z_sun,
        )  # fmt: skip
        kept = np.flatnonzero(np.isfinite(star["phi"]) & star.pop("possible", True))
        star = {name: values[kept] for name, values in star.items()}
        star |= discs.see_from_sun(star, self.potential.frame)
        star["a_v"] = footprint.dust(star["distance"], star["ra"], star["dec"])
        star, observed = self._shining(star, u[0][kept])
        with np.errstate(invalid="ignore"):
            observed &= u[4][kept] < star["probability"] / bound[kept]
        return kept[observed], {name: values[observed] for name, values in star.items()}

    def _shining(self, star: Columns, u: NDArray) -> tuple[Columns, NDArray[np.bool_]]:
        """Give the stars masses and magnitudes at their places; return whether they are in range.

        The mass is of those that may be: `probability` is their share of all that are born.
        """
        faintest = star["limit"] + BLUEST - _modulus(star["distance"]) - 0.6 * star["a_v"]
        star = star | self._on_isochrone(star, u, faintest)
        with np.errstate(invalid="ignore"):
            star |= magnitudes(star)
            star["sdss_g"] = in_band("g", star["g"], star["bp"] - star["rp"])
            observed = (star["sdss_g"] >= G_RANGE[0]) & (star["sdss_g"] < star.pop("limit"))
        return star, observed & star.pop("ok")


def ages_of_stars(ages: NDArray[np.float64]) -> tuple[float, float]:
    """Return the youngest and oldest stars (Gyr) that are made of isochrones of these ages."""
    return max(float(ages[0]), 1.0), min(float(ages[-1]), 13.5)


def first_seen(
    number: NDArray[np.int64],
    candidates: Callable[[NDArray[np.int64], range], tuple[NDArray, Columns]],
    most_at_once: int,
    most_attempts: int,
) -> Columns:
    """Draw candidates of each star until one is seen; return these, in the order of `number`.

    `candidates` takes numbers and attempts, and returns which of all numbers' first, then second …
    attempt are seen, and their columns.
    """
    true: Columns = {}
    waiting = np.arange(len(number))
    attempt = 0
    while len(waiting) and attempt < most_attempts:
        # Few left: several candidates of each at once; of those in the survey, the first.
        n = len(waiting)
        k = min(max(_BLOCK // n, 1), most_at_once, most_attempts - attempt)
        kept, drawn = candidates(number[waiting], range(attempt, attempt + k))
        which, first = np.unique(kept % n, return_index=True)
        for name, values in drawn.items():
            column = true.setdefault(name, np.empty(len(number), dtype=values.dtype))
            column[waiting[which]] = values[first]
        waiting = np.delete(waiting, which)
        attempt += k
    if len(waiting):
        raise MigrateBayesError(
            f"no observable star in {most_attempts} tries for {len(waiting)} stars, the first "
            f"being number {number[waiting[0]]}: are there isochrones of these ages and "
            "metallicities, and are the survey's population and limits sane?"
        )
    return true


def get_survey(
    truth: MockOptions, seed: int, isochrones: AgeOptions, orbits: OrbitOptions
) -> SimpleSurvey:
    """Return the survey that a recipe asks for, in the potential in which its stars move."""
    potential = Potential(truth.moves_in(orbits), orbits.frame, orbits.scaling)
    kind = LamostSurvey if truth.survey == "lamost" else SimpleSurvey
    return kind(truth, seed, isochrones, potential)


def _modulus(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return 5.0 * np.log10(distance) + 10.0


def magnitudes(star: Columns) -> Columns:
    """Return apparent magnitudes in the Gaia bands, reddened, as `g`, `bp` and `rp`."""
    a_v, colour = star["a_v"], star["bp_rp"]
    a_g, a_bp, a_rp = (
        a_v * extinction_ratio(band, a_v, bp_rp=colour) for band in ("G", "BP", "RP")
    )
    modulus = _modulus(star["distance"])
    g_rp = G_RP * colour
    return {
        "g": star["abs_g"] + modulus + a_g,
        "bp": star["abs_g"] - g_rp + colour + modulus + a_bp,
        "rp": star["abs_g"] - g_rp + modulus + a_rp,
    }
