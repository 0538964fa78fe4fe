r"""A catalogue as its own survey: its stars lend injected ones their places, depth and errors.

No model of the Galaxy is needed. An injected star of age A and radius R stands where a
catalogued star of like age and radius today stands, at its distance and extinction, and one of its
`_NEAR` neighbours in (A, R) is chosen with weight 1/p, p being the share of a generation that the
survey takes at that place: catalogued stars are many where the survey sees far. With S/N, errors
and limits it goes in the same way: those of a catalogued star of like magnitude and colour.

The share of stars *observed* at a place, magnitude and colour comes from the recipe (`shares`);
without it every star within the catalogue's own range of magnitudes is. How cuts go with magnitude,
for p, is read from the catalogue too: the usable share of its stars in (G, M_G).
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import ndtri

from migrate_bayes.catalog.extinction import extinction_ratio
from migrate_bayes.catalog.quality import SNR_BANDS
from migrate_bayes.core.counter_rng import keyed_uniforms
from migrate_bayes.core.errors import FitError
from migrate_bayes.inject.injections import (
    PURPOSE,
    InjectedMetallicity,
    attempts_with,
    draw_compositions,
    taken_by_shares,
)
from migrate_bayes.inject.shares import NO_SHARES, Shares
from migrate_bayes.isochrones import WorkingGrid, draw_stars
from migrate_bayes.mock.footprint import Bound, brightness_bound, share_above
from migrate_bayes.mock.stars import ages_of_stars, first_seen, magnitudes
from migrate_bayes.selection.conditions import dividing_line

Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]

_NEAR = 32  # catalogued stars, one of which lends its place, or its errors
_AGE_SCALE, _RADIUS_SCALE = 1.0, 0.3  # Gyr and kpc, in which "near" is measured
_G_SCALE, _TEFF_SCALE = 0.1, 100.0  # mag and K
_MOST = 100_000  # stars that lend places
_MASSES = 32  # of a generation, for the share of it that is taken
_HEIGHT = 1.0  # kpc, that divides the discs if there is no [α/Fe]
_LOANS = (*SNR_BANDS, *(f"{n}_error" for n in ("teff", "logg", "feh", "alpha_fe", "parallax")))
_MAG = 5.0 / np.log(10.0)


def _finite(stars: xr.Dataset, names: tuple[str, ...]) -> NDArray[np.bool_]:
    return np.logical_and.reduce([np.isfinite(stars[name].values) for name in names])


class CatalogueSurvey:
    """A catalogue's own limits, places, depth and errors.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors of the catalogue in one potential.
    usable : array of bool, shape (star,)
        Those that the recipe fits.
    grid : WorkingGrid
        Isochrones of the injected stars.
    seed : int
        Of the keyed random numbers.
    shares : Shares
        Tables of the share of stars observed; all within the catalogue's range without them.
    thick_share : float
        Share of the thick disc.

    Raises
    ------
    FitError
        If the catalogue has no G, no distances, too few usable stars, or no positions that `shares`
        ask for.
    """

    law = InjectedMetallicity()
    knows_shares = True

    def __init__(
        self,
        stars: xr.Dataset,
        usable: NDArray[np.bool_],
        grid: WorkingGrid,
        *,
        seed: int,
        shares: Shares = NO_SHARES,
        thick_share: float = 0.25,
    ) -> None:
        needed: tuple[str, ...] = (
            "phot_g_mean_mag", "abs_g", "abs_g_error", "a_g", "distance", "distance_lo",
            "distance_hi", "teff", "logg", "feh",
        )  # fmt: skip
        if shares.needs_place:
            needed += ("ra", "dec")
        if lacking := [name for name in needed if name not in stars]:
            names = ", ".join(lacking)
            raise FitError(f"the catalogue cannot be its own survey: it has no {names}")
        self.grid, self.seed, self.thick_share = grid, seed, thick_share
        seen = _finite(stars, needed)
        known = seen & usable & _finite(stars, ("r_present", "age_median", "ln_zmax_mean"))
        if known.sum() < 10 * _NEAR:
            raise FitError(f"only {int(known.sum())} usable stars, too few to lend their places")
        rows = np.flatnonzero(known)
        if len(rows) > _MOST:
            rows = np.random.default_rng(seed).choice(rows, _MOST, replace=False)
        g, teff, logg = (stars[n].values[seen] for n in ("phot_g_mean_mag", "teff", "logg"))
        self._lend = {name: stars[name].values[seen] for name in _LOANS if name in stars}
        self._like = cKDTree(np.column_stack([g / _G_SCALE, teff / _TEFF_SCALE]))
        (self._brightest, self._faintest), self._teff_range, self._logg_range = (
            tuple(np.quantile(values, [0.001, 0.999]).tolist()) for values in (g, teff, logg)
        )
        self.shares = shares
        self._usable_share(g, stars["abs_g"].values[seen], usable[seen])
        lent = ("distance", "distance_lo", "distance_hi", "a_g", "abs_g_error", "rg_mean",
                "age_median", "ln_zmax_mean", "r_present", "z", "feh", "alpha_fe", "ra",
                "dec", "abs_g", "bp_rp")  # fmt: skip
        self._at = {n: stars[n].values[rows].astype(float) for n in lent if n in stars}
        self._at["width"] = (
            0.5 * (self._at["distance_hi"] - self._at["distance_lo"]) / self._at["distance"]
        )
        self._modulus = 5.0 * np.log10(self._at["distance"]) + 10.0 + self._at["a_g"]
        self._weight = self._weights()
        thick = self._at["ln_zmax_mean"] > np.log(_HEIGHT)
        if "alpha_fe" in self._at and np.isfinite(self._at["alpha_fe"]).mean() > 0.5:
            thick = self._at["alpha_fe"] > dividing_line(self._at["feh"])
        near = np.column_stack(
            [self._at["age_median"] / _AGE_SCALE, self._at["r_present"] / _RADIUS_SCALE]
        )
        self._places = []
        for disc in (~thick, thick):
            disc = disc if disc.sum() >= _NEAR else np.ones_like(disc)
            self._places.append((np.flatnonzero(disc), cKDTree(near[disc])))

    @property
    def ages(self) -> tuple[float, float]:
        """Youngest and oldest stars, Gyr."""
        return ages_of_stars(self.grid.ages)

    def _usable_share(self, g: Floats, abs_g: Floats, usable: NDArray[np.bool_]) -> None:
        """Tabulate the usable share of the catalogue's stars in (G, M_G)."""
        self._edges = np.arange(g.min(), g.max() + 0.25, 0.25), np.arange(-4.0, 12.1, 0.5)
        every, *_ = np.histogram2d(g, abs_g, self._edges)
        good, *_ = np.histogram2d(g[usable], abs_g[usable], self._edges)
        self._share = good / np.maximum(every, 1.0)

    def _within(self, g: Floats) -> NDArray[np.bool_]:
        """Return whether a magnitude is within the catalogue's range."""
        return (g >= self._brightest) & (g <= self._faintest)

    def _at_places(self, star: Columns, row: NDArray[np.int64]) -> Columns:
        """Return what tables of shares ask of stars with M_G and BP-RP, at lent places."""
        place: Columns = {str(n): self._at[n][row] for n in ("ra", "dec") if n in self._at}
        place |= {"g": star["abs_g"] + self._modulus[row]}
        if not self.shares.needs_colour:
            return place
        a_g, colour = self._at["a_g"][row], star["bp_rp"]
        a_v = a_g / 0.8
        for _ in range(3):  # the law's ratio changes little with A_V
            a_v = a_g / extinction_ratio("G", a_v, bp_rp=colour)
        behind = {"abs_g": star["abs_g"], "bp_rp": colour, "a_v": a_v}
        behind["distance"] = self._at["distance"][row]
        return magnitudes(behind) | place | {"bp_rp": colour}

    @property
    def contradicted(self) -> float:
        """Which part of the catalogue's own stars the tables of shares say is never taken."""
        if not self.shares.tables or (self.shares.needs_colour and "bp_rp" not in self._at):
            return 0.0
        seen = np.flatnonzero(np.isfinite(self._at.get("bp_rp", self._at["abs_g"])))
        own: Columns = {str(n): self._at[n][seen] for n in ("abs_g", "bp_rp") if n in self._at}
        return float(np.mean(self.shares.of(self._at_places(own, seen)) == 0.0))

    def _weights(self) -> Floats:
        """Return 1/p of the stars that lend places, p the share of a generation that is taken."""
        at = self._at
        n = len(at["distance"])
        modulus = self._modulus
        age = np.clip(at["age_median"], *self.ages)
        alpha = at.get("alpha_fe", np.full(n, 0.05))
        alpha = np.clip(np.where(np.isfinite(alpha), alpha, 0.05), *self._alphas)
        feh = np.minimum(at["feh"], self.grid.feh_limits(alpha)[1] - 1e-3)
        total = np.zeros(n)
        for k in range(_MASSES):
            star = self._on_isochrone(
                {"age": age, "feh": feh, "alpha_fe": alpha},
                np.full(n, (k + 0.5) / _MASSES), self._faintest - modulus,
            )  # fmt: skip
            g = star["abs_g"] + modulus
            i, j = (
                np.clip(np.searchsorted(edge, v) - 1, 0, len(edge) - 2)
                for edge, v in zip(self._edges, (g, star["abs_g"]), strict=True)
            )
            with np.errstate(invalid="ignore"):
                share = star["probability"] * self._within(g) * self._share[i, j] / _MASSES
            good = np.flatnonzero(star["ok"] & (share > 0))
            if self.shares.tables:
                some: Columns = {str(name): star[name][good] for name in ("abs_g", "bp_rp")}
                share[good] *= self.shares.of(self._at_places(some, good))
            total[good] += share[good]
        # Where tables take no star, none lends its place.
        lends = (total > 0.0) if self.shares.tables else np.ones(n, dtype=bool)
        if not lends.any():
            raise FitError("completeness.shares take no star at any place of the catalogue's stars")
        # A star whose like are hardly ever taken must not stand for thousands.
        return np.where(lends, 1.0 / np.maximum(total, 0.02 * np.median(total[lends])), 0.0)

    @property
    def _alphas(self) -> tuple[float, float]:
        """Limits of [α/Fe]; isochrones of one [α/Fe] are taken at a star's total metallicity."""
        if len(self.grid.alpha) == 1:
            return -np.inf, np.inf
        return float(self.grid.alpha[0]), float(self.grid.alpha[-1])

    def _on_isochrone(self, star: Columns, u: Floats, faintest: Floats) -> Columns:
        return draw_stars(
            self.grid, star["age"], star["feh"], star["alpha_fe"], u,
            teff_range=self._teff_range, logg_range=self._logg_range, abs_g_max=faintest,
        )  # fmt: skip

    @cached_property
    def _bound(self) -> Bound:
        return brightness_bound(self.grid, self._teff_range, self._logg_range)

    def uniforms(self, number: NDArray[np.int64], draw: int, n: int) -> Floats:
        """Return `n` uniform numbers for each star, shape (n, star)."""
        return keyed_uniforms(self.seed, PURPOSE, number.astype(np.uint64), draw, n)

    def is_repeated(self, number: NDArray[np.int64]) -> NDArray[np.bool_]:
        """No star is observed a second time."""
        return np.zeros(len(number), dtype=bool)

    def within_limits(
        self, number: NDArray[np.int64], attempts: range
    ) -> tuple[NDArray[np.int64], Columns]:
        """Draw candidates of each star; return which are within the limits, and these."""
        u = np.concatenate([self.uniforms(number, 2 + a, 9) for a in attempts], axis=1)
        star = draw_compositions(self.law, self.thick_share, self.ages, u)
        star["alpha_fe"] = np.clip(star["alpha_fe"], *self._alphas)
        n = len(star["age"])
        near = np.empty((n, _NEAR), dtype=np.int64)
        where = np.column_stack([star["age"] / _AGE_SCALE, star["rg"] / _RADIUS_SCALE])
        for disc, (rows, tree) in enumerate(self._places):
            mine = star["component"] == disc
            near[mine] = rows[tree.query(where[mine], _NEAR)[1]]
        modulus = self._modulus
        bound = share_above(star["age"], self._faintest - modulus[near], self._bound)
        edge = np.cumsum(self._weight[near] * bound, axis=1)
        pick = np.minimum((edge < u[5][:, None] * edge[:, -1:]).sum(axis=1), _NEAR - 1)
        index = np.arange(n)
        row, most = near[index, pick], bound[index, pick]
        star, inside = self._shining(star, row, u[6])
        with np.errstate(invalid="ignore", divide="ignore"):
            kept = np.flatnonzero(inside & (u[7] < star["probability"] / most))
        star = {name: values[kept] for name, values in star.items()}
        return kept, self._at_places(star, star["row"]) | star if self.shares.tables else star

    def _shining(
        self, star: Columns, row: NDArray[np.int64], u: Floats
    ) -> tuple[Columns, NDArray[np.bool_]]:
        """Give stars masses and magnitudes at lent places; return whether they are in range."""
        modulus = self._modulus[row]
        star = star | {"row": row} | self._on_isochrone(star, u, self._faintest - modulus)
        star["g"] = star["abs_g"] + modulus
        with np.errstate(invalid="ignore"):
            return star, star.pop("ok") & self._within(star["g"])

    def tried_at(self, place: Columns, star: Columns, u: Floats) -> tuple[Columns, Floats]:
        """Put stars at lent places; see `Survey.tried_at`."""
        star["alpha_fe"] = np.clip(star["alpha_fe"], *self._alphas)
        star, inside = self._shining(star, place["row"], u[1])
        star["modulus"] = self._modulus[star["row"]]
        share = np.where(inside, star["probability"], 0.0)
        if self.shares.tables:
            rows = np.flatnonzero(share)
            some = {str(name): star[name][rows] for name in ("abs_g", "bp_rp")}
            share[rows] *= self.shares.of(self._at_places(some, star["row"][rows]))
        return star, share

    def observe(
        self, number: NDArray[np.int64], *, again: bool = False, true: Columns | None = None
    ) -> tuple[Columns, Columns]:
        """Return what is seen of the stars, or of those of `true`, and the truth."""
        if true is None:
            candidates = partial(taken_by_shares, self)
            true = first_seen(number, candidates, 64, attempts_with(self.shares))
        u = self.uniforms(number, 0, 6)
        e = ndtri(u[:5])
        row = true["row"]
        near = self._like.query(
            np.column_stack([true["g"] / _G_SCALE, true["teff"] / _TEFF_SCALE]), _NEAR
        )[1]
        pick = near[np.arange(len(number)), (u[5] * _NEAR).astype(np.int64)]
        seen = {name: values[pick] for name, values in self._lend.items()}
        place = {name: values[row] for name, values in self._at.items()}
        width = place["width"]
        if "parallax_error" in seen:
            width = seen.pop("parallax_error") * place["distance"]
        other = np.maximum(place["abs_g_error"] ** 2 - (_MAG * place["width"]) ** 2, 0.0)
        seen["abs_g_error"] = np.sqrt(other + (_MAG * width) ** 2)
        for k, name in enumerate(("teff", "logg", "feh", "alpha_fe", "abs_g")):
            if (error := f"{name}_error") in seen:
                seen[name] = true[name] + seen[error] * e[k]
        true = true | {
            "zmax": np.exp(place["ln_zmax_mean"]), "R": place["r_present"], "z": place["z"],
            "rg": place["rg_mean"],
        }  # fmt: skip
        return seen, true
