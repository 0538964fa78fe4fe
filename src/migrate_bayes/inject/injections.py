r"""Inject stars of every age, radius and [Fe/H] into a survey, and count those that pass.

The injected population is no Galaxy's: ages are uniform, R_g is normal about the Sun's with
`_RADIUS`, and [Fe/H], the same at all radii, is normal with a wide scatter, truncated at `_WIDEST`
standard deviations (`InjectedMetallicity`). Whatever is chosen for ages and radii cancels
(`population.likelihood.selected`); the law of [Fe/H] is known and is divided out. Kinematics at
given age and radius are those of the mock's discs.

Candidates are drawn until the survey observes one, so the stars that pass have the density of the
injected population times S, up to a constant.

**Shares at given place.** How many stars of an age are taken at the place of a star is another
question: where one has passed, one of any age is tried. Of all stars born its mass stands for the
part that is bright enough, its probability, and what counts is that of the tries that pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.special import ndtri

from migrate_bayes.catalog.quality import total_snr
from migrate_bayes.core.errors import FitError
from migrate_bayes.core.journal import Journal
from migrate_bayes.core.progress import progress
from migrate_bayes.inject.shares import NO_SHARES, Shares
from migrate_bayes.isochrones import WorkingGrid
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock import discs
from migrate_bayes.mock.footprint import faintest_g
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.mock.stars import MOST_ATTEMPTS, LamostSurvey, SimpleSurvey, get_survey
from migrate_bayes.mock.survey import catalog_of
from migrate_bayes.orbits.orbit_options import OrbitOptions
from migrate_bayes.population.likelihood.selected import REFERENCE

Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]

_RADIUS, _RADII = (8.3, 2.6), (2.0, 16.0)  # kpc: centre and sd; limits
_WIDEST = 3.0
ALPHA_SD = 0.03
"""Scatter of the injected [α/Fe] at given [Fe/H], dex."""
PURPOSE = 0x1A9EC7  # of the keyed random numbers
_SHARES = 1 << 41  # first draw of those that the tables of shares take a candidate by
_TRIED = 1 << 50  # what numbers of stars that are tried at places begin with
_ASKED = 20_000  # candidates by which tables are judged
_RAREST = 0.001  # share of them that tables have to take
_DOUBTFUL = 0.05  # share of them outside of a table
_MOST_CALLS = 1000
_FEH_STEP, _RADIUS_STEP = 0.05, 0.5  # dex, kpc: of the cells
# Width of a cell over its age, and limits of the width in Gyr: a limit in T_eff takes the youngest
# stars, and none of those that are 0.3 Gyr older.
_AGE_STEP, _AGE_LIMITS = 0.06, (0.05, 0.25)
_MODULI = np.arange(4.0, 17.1, 0.25)  # mag: edges of the cells of G - M_G
CHUNK = 65_536
"""Stars at a time; it decides nothing."""


@dataclass(frozen=True)
class InjectedMetallicity:
    """Law of the injected [Fe/H], of the thin and of the thick disc: normal, truncated at 3 sd.

    Parameters
    ----------
    mean : tuple of float
        At age 0, dex; by default, as `rate`, that of the law by which S is normalised.
    rate : tuple of float
        Change of the mean with age, dex/Gyr.
    sd : tuple of float
        dex. The law is wide enough for any disc: what lies beyond it, ln S has to be continued to.

    Examples
    --------
    >>> import numpy as np
    >>> from migrate_bayes.inject import InjectedMetallicity
    >>> law = InjectedMetallicity()
    >>> thin, young = np.array([0]), np.array([0.0])
    >>> bool(law.of(thin, young, np.array([0.5]))[0] == law.mean[0])
    True
    """

    mean: tuple[float, float] = (REFERENCE[0][0], REFERENCE[1][0])
    rate: tuple[float, float] = (REFERENCE[0][1], REFERENCE[1][1])
    sd: tuple[float, float] = (0.45, 0.40)

    def centre(self, component: NDArray[np.int64], age: Floats) -> Floats:
        """Return the law's mean, dex, of discs (0 or 1) at ages (Gyr)."""
        mean, rate = (np.asarray(of_discs)[component] for of_discs in (self.mean, self.rate))
        return mean + rate * age

    def of(self, component: NDArray[np.int64], age: Floats, u: Floats) -> Floats:
        """Turn uniform numbers into [Fe/H], dex."""
        z = discs.truncated_normal(u, 0.0, 1.0, -_WIDEST, _WIDEST)
        return self.centre(component, age) + np.asarray(self.sd)[component] * z

    def log_density(self, age: Floats, feh: Floats) -> Floats:
        """Return ln of the density up to a constant, (2, n_ages, n_feh); −∞ beyond."""
        disc, age, feh = np.meshgrid([0, 1], age, feh, indexing="ij", sparse=True)
        z = (feh - self.centre(disc, age)) / np.asarray(self.sd)[disc]
        return np.where(np.abs(z) < _WIDEST, -0.5 * z**2, -np.inf)


#: The law of [Fe/H] of the stars that are tried at places: that by which S is normalised.
_REFERENCE = InjectedMetallicity(sd=(REFERENCE[0][2], REFERENCE[1][2]))


def draw_compositions(
    law: InjectedMetallicity, thick_share: float, ages: tuple[float, float], u: NDArray
) -> Columns:
    """Draw disc, age, R_g, [Fe/H] and [α/Fe] of injected stars by five uniform numbers each."""
    component = (u[0] < thick_share).astype(np.int64)
    age = ages[0] + (ages[1] - ages[0]) * u[1]
    rg = discs.truncated_normal(u[2], *_RADIUS, *_RADII)
    feh = law.of(component, age, u[3])
    # [α/Fe] decides nothing at given [Fe/H] and age but which isochrone a star is on: whether that
    # is so, those that pass tell by `alpha_residual`, a standard normal number before.
    residual = ndtri(u[4])
    alpha = _alpha(component, feh) + ALPHA_SD * residual
    return {
        "component": component, "thick": component == 1, "age": age, "rg": rg, "feh": feh,
        "alpha_fe": alpha, "alpha_residual": residual,
    }  # fmt: skip


def _alpha(component: NDArray[np.int64], feh: Floats) -> Floats:
    """Return the mean of the injected [α/Fe], dex."""
    return np.where(component, 0.20, 0.03) - 0.10 * feh


def share_on_grid(grid: WorkingGrid, edges: Floats) -> Floats:
    """Return which part of the injected stars has an isochrone, shape (2, n), by [Fe/H] cells.

    Where isochrones end depends on [α/Fe], which scatters: at the end S falls from 1 to 0 over a
    tenth of a dex, where no spline follows.
    """
    disc, low, u, e = np.meshgrid(
        [0, 1], edges[:-1], (np.arange(20) + 0.5) / 20, ndtri((np.arange(100) + 0.5) / 100),
        indexing="ij", sparse=True,
    )  # fmt: skip
    feh = low + np.diff(edges)[:, None, None] * u
    lowest, highest = grid.feh_limits(_alpha(disc, feh) + ALPHA_SD * e)
    return np.asarray(((feh >= lowest) & (feh <= highest)).mean(axis=(2, 3)))


class Survey(Protocol):
    """Who takes injected stars: a mock survey, or a catalogue."""

    law: InjectedMetallicity
    knows_shares: bool
    """Whether the stars that it observes are those shares of all that are born at a place."""

    @property
    def thick_share(self) -> float:
        """Which part of the stars is of the thick disc."""

    @property
    def shares(self) -> Shares:
        """Tables that the survey's limits are multiplied by."""

    @property
    def contradicted(self) -> float:
        """Which part of the survey's own stars its tables say is never taken."""

    @property
    def seed(self) -> int:
        """Of the keyed random numbers."""

    @property
    def ages(self) -> tuple[float, float]:
        """Youngest and oldest stars, Gyr."""

    @property
    def grid(self) -> WorkingGrid:
        """Isochrones of the stars."""

    def observe(
        self, number: NDArray[np.int64], *, again: bool = False, true: Columns | None = None
    ) -> tuple[Columns, Columns]:
        """Return what is seen of the stars, or of those of `true`, and the truth."""

    def tried_at(self, place: Columns, star: Columns, u: Floats) -> tuple[Columns, Floats]:
        """Put stars at places, those of others' truth, by two uniform numbers each.

        Returns them, with the `modulus` of their places, G - M_G, and the shares of all born at
        their age that have come to be observed.
        """

    def is_repeated(self, number: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether a star is observed a second time."""

    def uniforms(self, number: NDArray[np.int64], draw: int, n: int) -> Floats:
        """Return `n` uniform numbers for each star, shape (n, star)."""

    def within_limits(
        self, number: NDArray[np.int64], attempts: range
    ) -> tuple[NDArray[np.int64], Columns]:
        """Draw candidates of each star; return which are within the survey's limits, and these."""


def taken_by_shares(
    survey: Survey, number: NDArray[np.int64], attempts: range
) -> tuple[NDArray[np.int64], Columns]:
    """Return the candidates within the limits of a survey that its tables take."""
    kept, star = survey.within_limits(number, attempts)
    if not survey.shares.tables:
        return kept, star
    u = np.concatenate([survey.uniforms(number, _SHARES + a, 1)[0] for a in attempts])
    taken = u[kept] < survey.shares.of(star)
    return kept[taken], {name: values[taken] for name, values in star.items()}


def attempts_with(shares: Shares) -> int:
    """Return after how many candidates a star is given up: tables may take one of 1 / `_RAREST`."""
    return round(MOST_ATTEMPTS / _RAREST) if shares.tables else MOST_ATTEMPTS


def judge_shares(survey: Survey) -> tuple[list[dict[str, Any]], list[str]]:
    """Ask what the tables of a survey do to stars within its limits.

    Returns, of each table, its file's name, the mean share that it takes of these stars, and which
    part of them lies beyond each axis; and doubts. A `FitError` is raised if the tables take next
    to none.
    """
    if not survey.shares.tables:
        return [], []
    parts: list[Columns] = []
    number, attempt, found = np.arange(1, 4097), 0, 0
    while found < _ASKED and attempt < _MOST_CALLS:
        kept, star = survey.within_limits(number, range(attempt, attempt + 1))
        parts.append(star)
        attempt, found = attempt + 1, found + len(kept)
    stars = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    said, doubts = [], []
    for table in survey.shares.tables:
        outside = table.outside(stars)
        said.append(
            {"table": table.name, "taken": float(table.of(stars).mean()), "outside": outside}
        )
        doubts += [
            f"{part:.0%} of the injected stars lie outside of {table.name} in {axis}: "
            + ("none of them is taken" if table.ends_at(axis) else "its end is taken for them")
            for axis, part in outside.items() if part > _DOUBTFUL
        ]  # fmt: skip
    if (part := survey.contradicted) > _DOUBTFUL:
        doubts.append(
            f"{part:.0%} of the catalogue's own stars are where completeness.shares take none"
        )
    if (rate := float(survey.shares.of(stars).mean())) < _RAREST:
        each = ", ".join(f"{one['table']} {one['taken']:.2g}" for one in said)
        raise FitError(
            f"completeness.shares take {rate:.1g} of the stars within the survey's limits (by "
            f"themselves: {each}): are the tables of this survey, and their columns in degrees and "
            "magnitudes?"
        )
    return said, doubts


@dataclass(frozen=True)
class _Simple(SimpleSurvey):
    """A mock survey with the injected population in place of its own."""

    thick_share: float = 0.25
    shares: Shares = NO_SHARES
    with_zmax: bool = True

    purpose = PURPOSE
    contradicted = 0.0  # it has no stars but by its tables
    n_births = discs.N_MIGRATION
    law = InjectedMetallicity()
    knows_shares = False  # one bright enough is made of every star

    def births(self, ages: tuple[float, float], u: NDArray) -> Columns:
        """Draw injected stars by uniform numbers, shape (`n_births`, n), and put them on orbits."""
        star = draw_compositions(self.law, self.thick_share, ages, u)
        return star | discs.place(star, self.potential, u[6:])

    @property
    def most_attempts(self) -> int:
        """Candidates after which a star is given up."""
        return attempts_with(self.shares)

    def within_limits(
        self, number: NDArray[np.int64], attempts: range
    ) -> tuple[NDArray[np.int64], Columns]:
        """Draw candidates of each star; return which are within the survey's limits, and these."""
        return super()._candidates(number, attempts)

    def _candidates(
        self, number: NDArray[np.int64], attempts: range
    ) -> tuple[NDArray[np.int64], Columns]:
        return taken_by_shares(self, number, attempts)

    def tried_at(self, place: Columns, star: Columns, u: Floats) -> tuple[Columns, Floats]:
        """Refuse: the survey does not know its shares."""
        raise TypeError("a survey that makes every star bright enough has no shares at places")


@dataclass(frozen=True)
class _Lamost(_Simple, LamostSurvey):
    knows_shares = True

    def tried_at(self, place: Columns, star: Columns, u: Floats) -> tuple[Columns, Floats]:
        """Put stars at places; see `Survey.tried_at`."""
        star, observed = self._shining(place | star | {"limit": faintest_g(u[0])}, u[1])
        # A_G at a middling colour: of a place without a star no colour is known.
        star["modulus"] = 5.0 * np.log10(star["distance"]) + 10.0 + 0.83 * star["a_v"]
        share = np.where(observed, star["probability"], 0.0)
        rows = np.flatnonzero(share)
        share[rows] *= self.shares.of({name: values[rows] for name, values in star.items()})
        return star, share


def mock_survey(
    truth: MockOptions,
    seed: int,
    isochrones: AgeOptions,
    orbits: OrbitOptions,
    thick_share: float = 0.25,
    shares: Shares = NO_SHARES,
    *,
    with_zmax: bool = True,
) -> Survey:
    """Return the mock survey of a recipe with the injected population in place of its own.

    Z_max of the orbit takes a quarter of the time: `with_zmax` is for selections that ask for it.
    """
    survey = get_survey(truth, seed, isochrones, orbits)
    kind = _Lamost if isinstance(survey, LamostSurvey) else _Simple
    return kind(truth, seed, isochrones, survey.potential, thick_share, shares, with_zmax)


def observe(survey: Survey, number: NDArray[np.int64], stars: Columns | None = None) -> xr.Dataset:
    """Return injected stars as a catalogue; of a star that is seen twice the better observation.

    True orbits stand beside it as `rg_mean`, `ln_zmax_mean`, `r_present` and `z`, kpc, for
    selections that ask for them.
    """
    return _observed(survey, number, stars)[0]


def _observed(
    survey: Survey, number: NDArray[np.int64], stars: Columns | None = None
) -> tuple[xr.Dataset, Columns]:
    """Return the catalogue of `observe` and the truth."""
    seen, true = survey.observe(number, true=stars)
    again = survey.is_repeated(number)
    if again.any():
        rows = np.flatnonzero(again)
        second, _ = survey.observe(
            number[rows], again=True, true={name: values[rows] for name, values in true.items()}
        )
        better = total_snr(_plain(second)) > total_snr(_plain(seen))[rows]
        for name, values in second.items():
            seen[name][rows[better]] = values[better]
    orbits = {
        "rg_mean": true["rg"], "ln_zmax_mean": np.log(np.maximum(true["zmax"], 1e-4)),
        "r_present": true["R"], "z": true["z"], "alpha_residual": true["alpha_residual"],
    }  # fmt: skip
    catalog = catalog_of(number, seen, true, survey.seed)
    return catalog.assign({name: ("star", values) for name, values in orbits.items()}), true


def _plain(columns: Columns) -> xr.Dataset:
    return xr.Dataset({name: ("star", values) for name, values in columns.items()})


def count_injections(
    survey: Survey,
    usable: Callable[[xr.Dataset], NDArray[np.bool_]],
    n: int,
    *,
    journal: Journal | None = None,
) -> xr.Dataset:
    """Inject stars and count those that pass, by disc, age, radius and [Fe/H].

    Parameters
    ----------
    survey : Survey
        Of `mock_survey`, or a `CatalogueSurvey`.
    usable : callable
        A catalogue in, and which of its stars pass the recipe's cuts out.
    n : int
        Injected stars that the survey observes.
    journal : Journal, optional
        Where what is counted after each `CHUNK` of stars is kept, and looked up.

    Returns
    -------
    xarray.Dataset
        ``passed`` on (component, age, r_present, feh), the middles of cells, and ``log_injected``
        on all but r_present: ln of the injected law of [Fe/H], up to a constant. ``on_grid`` on
        (component, feh): the part of the injected stars that has an isochrone. ``alpha_sum`` on
        (component, r_present): of those that pass, the sum of their residuals of [α/Fe], in units
        of its scatter. If the survey knows: ``tried`` on (component, age, modulus), stars of the
        law of [Fe/H] by which S is normalised, that are tried at places of those that pass;
        ``taken`` and ``taken_squared``, sums of the shares, and of their squares, of the tries that
        pass.
        Attributes ``observed`` and ``usable``, numbers of stars.

    Examples
    --------
    >>> import numpy as np
    >>> from migrate_bayes.inject import count_injections
    >>> from migrate_bayes.inject.injections import mock_survey
    >>> from migrate_bayes.isochrones.age_options import AgeOptions
    >>> from migrate_bayes.mock import MockOptions
    >>> from migrate_bayes.orbits import OrbitOptions
    >>> survey = mock_survey(MockOptions(), 1, AgeOptions(), OrbitOptions())
    >>> counts = count_injections(survey, lambda stars: stars["ref_true_age"].values > 5.0, 50)
    >>> int(counts["passed"].sel(age=slice(0.0, 5.0)).sum()), counts.attrs["observed"]
    (0, 50)
    """
    cells = Cells(survey.ages)
    shapes = cells.shape, (2, cells.shape[2]), (3, 2, cells.shape[1], len(_MODULI) - 1)
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    total = np.zeros(ends[-1])
    counts, alpha_sum, shares = map(np.reshape, np.split(total, ends[:-1]), shapes)
    with progress(n, "inject") as advance:
        for first in range(1, n + 1, CHUNK):
            number = np.arange(first, min(first + CHUNK, n + 1), dtype=np.int64)
            key = hashlib.blake2b(number.tobytes(), digest_size=16).digest()
            so_far = None if journal is None else journal.get(key)
            if so_far is not None:
                total[:] = so_far
            else:
                _count(survey, usable, number, cells, counts, alpha_sum, shares)
                if journal is not None:
                    journal.put(key, total)
            advance(len(number))
    counts = counts.astype(np.int64)
    coords = cells.coords
    law = survey.law.log_density(*(coords[name] for name in ("age", "feh")))
    out = xr.Dataset(
        {
            "passed": (("component", "age", "r_present", "feh"), counts),
            "log_injected": (("component", "age", "feh"), law),
            "on_grid": (("component", "feh"), share_on_grid(survey.grid, cells.edges[2])),
            "alpha_sum": (("component", "r_present"), alpha_sum),
        },
        coords=coords,
        attrs={"observed": n, "usable": int(counts.sum())},
    )
    if not survey.knows_shares:
        return out
    dims = "component", "age", "modulus"
    named = zip(("tried", "taken", "taken_squared"), shares, strict=True)
    out["modulus"] = 0.5 * (_MODULI[1:] + _MODULI[:-1])
    out["modulus"].attrs = {"units": "mag", "long_name": "G - M_G of a place"}
    return out.assign({name: (dims, values) for name, values in named})


def _count(
    survey: Survey,
    usable: Callable[[xr.Dataset], NDArray[np.bool_]],
    number: NDArray[np.int64],
    cells: Cells,
    counts: Floats,
    alpha_sum: Floats,
    shares: Floats,
) -> None:
    """Inject stars of these numbers, and add those that pass to the counts and sums."""
    catalog, true = _observed(survey, number)
    rows = np.flatnonzero(usable(catalog))
    passed = catalog.isel(star=rows)
    inside, cell = cells.of(passed)
    np.add.at(counts, cell, 1)
    np.add.at(alpha_sum, cell[:3:2], passed["alpha_residual"].values[inside])
    if survey.knows_shares:
        places = {name: values[rows] for name, values in true.items()}
        _try(survey, usable, number[rows] + _TRIED, places, cells, shares)


def _try(
    survey: Survey,
    usable: Callable[[xr.Dataset], NDArray[np.bool_]],
    number: NDArray[np.int64],
    place: Columns,
    cells: Cells,
    sums: Floats,
) -> None:
    """Try a star of any age at each place; add to their number and the sums of their shares."""
    u = survey.uniforms(number, 2, 7)
    star = draw_compositions(_REFERENCE, survey.thick_share, survey.ages, u[:5])
    del star["rg"]  # it is that of the place
    star, share = survey.tried_at(place, star, u[5:])
    age = np.searchsorted(cells.edges[0], star["age"], side="right") - 1
    where = star["component"], age, np.searchsorted(_MODULI, star.pop("modulus"), side="right") - 1
    inside = (age < cells.shape[1]) & (where[2] >= 0) & (where[2] < len(_MODULI) - 1)
    np.add.at(sums[0], tuple(index[inside] for index in where), 1.0)
    rows = np.flatnonzero(inside & (share > 0.0))
    if not len(rows):
        return
    catalog = observe(survey, number[rows], {name: values[rows] for name, values in star.items()})
    rows = rows[usable(catalog)]
    for total, power in zip(sums[1:], (1, 2), strict=True):
        np.add.at(total, tuple(index[rows] for index in where), share[rows] ** power)


class Cells:
    """Cells in age (Gyr), today's radius (kpc) and [Fe/H] (dex), to count injected stars in."""

    def __init__(self, ages: tuple[float, float]) -> None:
        feh = np.arange(-2.0, 0.8, _FEH_STEP)
        radii = np.arange(_RADII[0], _RADII[1] + 0.01, _RADIUS_STEP)
        age = np.linspace(*ages, 2001)
        # Number of cells up to each age.
        width = np.clip(_AGE_STEP * age, *_AGE_LIMITS)
        number = cumulative_trapezoid(1.0 / width, age, initial=0.0)
        even = np.linspace(0.0, number[-1], int(np.ceil(number[-1])) + 1)
        self.edges = np.interp(even, number, age), radii, feh
        self.shape = (2, *(len(edge) - 1 for edge in self.edges))

    @property
    def coords(self) -> dict[str, Any]:
        """Middles of the cells."""
        middles = (0.5 * (edge[1:] + edge[:-1]) for edge in self.edges)
        named = dict(zip(("age", "r_present", "feh"), middles, strict=True))
        return {"component": ["thin", "thick"], **named}

    def of(self, stars: xr.Dataset) -> tuple[NDArray[np.bool_], tuple[NDArray[np.int64], ...]]:
        """Return which stars are in a cell, and these cells: true disc, age, radius and [Fe/H]."""
        where = [stars["ref_true_component"].values.astype(np.int64)]
        inside = np.ones(stars.sizes["star"], dtype=bool)
        columns = "ref_true_age", "r_present", "ref_true_feh"
        for name, edge in zip(columns, self.edges, strict=True):
            at = np.searchsorted(edge, stars[name].values, side="right") - 1
            inside &= (at >= 0) & (at < len(edge) - 1)
            where.append(at)
        return inside, tuple(index[inside] for index in where)
