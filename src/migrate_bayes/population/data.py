r"""From StarPosteriors to the arrays of the likelihood: which stars, which radius, which errors.

The age likelihood is divided by the interim prior of the age stage: the population's own age
distribution is then the only age prior in the fit.

**R_g at an age.** An error of the distance *d* moves R_g and the absolute magnitude M_G together.
Isochrones of an age know M_G from T_eff, log g and [Fe/H], often better than the parallax does: if
a star has an age, its distance and R_g are better known, and others than without. With C the
covariance of the errors of R_g and M_G, which follows from that of R_g and *d*, and L(τ) the age
likelihood as a function of the measured M_G,

.. math::

   \hat R(τ) = \hat R + C\, \frac{\partial \ln L(τ)}{\partial M_G}, \qquad
   e_R^2(τ) = e_R^2 + C^2\, \frac{\partial^2 \ln L(τ)}{\partial M_G^2}, \qquad
   C = -\frac{5}{\ln 10}\, \frac{\operatorname{cov}(R_g, d)}{d}

which is exact for normal laws: both together are the likelihood of age and radius, N(M̂, R̂) that of
M_G and R_g, integrated over M_G. If the two are taken as independent, stars that their errors make
too old stand too near to the Sun's radius, and the gradient of old stars is too steep.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.constants import HEIGHT_OFFSET, PIVOT_RADIUS
from migrate_bayes.core.errors import FitError, suggest
from migrate_bayes.core.flags import FATAL_AGE
from migrate_bayes.population.likelihood.layout import PackedStars, StarArrays, pack
from migrate_bayes.population.model.hierarchy import flat_in_age
from migrate_bayes.selection.conditions import DISC_FEH, DISC_RADII, possible_of_disc
from migrate_bayes.stars import iter_parts

# Errors are at least these, a guard against division by zero if a catalogue claims perfection.
_MIN_RADIUS_SD = 1e-3  # kpc
_MIN_FEH_SD = _MIN_ALPHA_SD = 1e-3  # dex
_MIN_HEIGHT_SD = 1e-2

# Width of the classes of today's radius, kpc, and the fewest stars of one.
_WIDTH, _OF_ONE_CLASS = 0.5, 100
# Derivatives of ln L(age) in M_G, 1/mag and 1/mag².
_OF_MAGNITUDE = "abs_g_slope", "abs_g_curvature"
# Least share of the variance of R_g that an age may leave.
_LEAST_LEFT = 0.01

Floats = NDArray[np.floating]


class RadiusClasses(NamedTuple):
    """Classes of stars by today's radius.

    `edges`, shape (n - 1,), kpc, lie between them; `centre`, shape (n,), kpc, is the mean radius of
    the stars of a class, NaN if there is one class and radii are not known.
    """

    edges: NDArray[np.float64]
    centre: NDArray[np.float64]

    @classmethod
    def of(cls, radius: NDArray[np.float64]) -> RadiusClasses:
        """Divide radii (kpc) at equal steps, each class of enough stars."""
        known = np.sort(radius[np.isfinite(radius)])
        if not len(known):
            return cls(np.empty(0), np.full(1, np.nan))
        first = np.ceil(known[0] / _WIDTH - 0.5) + 0.5
        steps = _WIDTH * np.arange(first, known[-1] / _WIDTH, 1.0)
        edges, below = list[float](), 0
        for edge, count in zip(steps, np.searchsorted(known, steps), strict=True):
            if min(count - below, len(known) - count) >= _OF_ONE_CLASS:
                edges.append(edge)
                below = count
        inner = np.array(edges)
        members = np.searchsorted(inner, known, side="right")
        return cls(inner, np.bincount(members, known) / np.bincount(members))

    @property
    def level(self) -> NDArray[np.float64]:
        """Radius of each class less R_0, kpc."""
        return np.nan_to_num(self.centre - PIVOT_RADIUS)

    def __call__(self, radius: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the class of each radius (kpc); NaN counts as the mean of the classes."""
        known = np.where(np.isfinite(radius), radius, np.nan_to_num(self.centre.mean()))
        return np.searchsorted(self.edges, known, side="right")


@dataclass(frozen=True)
class PopulationData:
    """Stars ready for the likelihood."""

    stars: PackedStars
    ages: NDArray[np.float64]  # nodes of the age grid, Gyr
    source_id: NDArray  # (n_stars,), in the order of the selection
    potential: str  # of the guiding radii
    radius: str  # "rg" or "r_present"
    classes: RadiusClasses  # of today's radius
    #: How many selected stars could not be used, by reason.
    left_out: dict[str, int] = field(default_factory=dict)
    with_completeness: bool = False  # heights are others: a fit needs a completeness

    @property
    def n_stars(self) -> int:
        """Number of stars in the fit."""
        return self.stars.n_stars

    def __repr__(self) -> str:
        stars = f"{self.n_stars:,} stars × {self.stars.mean_nodes:.1f} age nodes"
        return f"PopulationData({stars}, {self.potential}, {self.radius})"


def _observed(stars: xr.Dataset, name: str, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return a per-star column as float64, NaN if the catalogue has none."""
    if name not in stars:
        return np.full(int(keep.sum()), np.nan)
    return np.asarray(stars[name].values, dtype=np.float64)[keep]


def _error(stars: xr.Dataset, name: str, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the error of a column: that which the age stage made of the catalogue's, if any."""
    used = f"{name}_error_used"
    return _observed(stars, used if used in stars else f"{name}_error", keep)


def _heights(
    stars: xr.Dataset, keep: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ln(Z_max + Z_0) and its error: the product's own, or made of those of ln Z_max."""
    if "height_mean" in stars:
        return _observed(stars, "height_mean", keep), _observed(stars, "height_sd", keep)
    zmax = np.exp(_observed(stars, "ln_zmax_mean", keep))
    sd = _observed(stars, "ln_zmax_sd", keep)
    return np.log(zmax + HEIGHT_OFFSET), sd * zmax / (zmax + HEIGHT_OFFSET)


def _by_age(
    stars: xr.Dataset, wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.floating]]]:
    """Read the variables per age node of the wanted stars, part by part.

    Returns which of the wanted stars have an age likelihood, and arrays (kept star, age) in the
    product's single precision: ``log_weight``, ln(age likelihood / interim prior) with the
    likelihood's peak at 0, and ``feh`` and ``feh_variance`` if the product has them.
    """
    names = ["log_age_likelihood"]
    names += [n for n in ("feh_mean", "feh_sd", *_OF_MAGNITUDE) if n in stars]
    log_prior = np.zeros(stars.sizes["age"])
    if "log_interim_prior" in stars:
        log_prior = np.asarray(stars["log_interim_prior"].values, dtype=np.float64)
    keep = wanted.copy()
    parts: list[dict[str, NDArray[np.float32]]] = []
    for rows, values in iter_parts(stars, names):
        # A view: stars without a likelihood are taken out of `keep` itself.
        mine = keep[rows]
        known = np.isfinite(values["log_age_likelihood"])
        for name in names[1:]:
            known &= np.isfinite(values[name])
        mine &= known.any(axis=1)
        weight = values["log_age_likelihood"][mine].astype(np.float64)
        weight[np.isnan(weight)] = -np.inf
        weight -= weight.max(axis=1, keepdims=True)
        weight -= log_prior
        part = {"log_weight": weight.astype(np.float32)}
        if "feh_mean" in values:
            part["feh"] = values["feh_mean"][mine].astype(np.float32)
            sd = np.maximum(values["feh_sd"][mine].astype(np.float64), _MIN_FEH_SD)
            part["feh_variance"] = (sd**2).astype(np.float32)
        part |= {name: values[name][mine] for name in _OF_MAGNITUDE if name in values}
        parts.append(part)
    made = list(parts[0]) if parts else []
    # One variable at a time leaves its parts behind, so that memory holds little twice.
    return keep, {name: np.concatenate([part.pop(name) for part in parts]) for name in made}


def _radius_at_age(
    stars: xr.Dataset, keep: NDArray[np.bool_], slope: Floats, curvature: Floats
) -> dict[str, NDArray[np.float32]]:
    """Return R_g and its variance if a star has an age, (star, age); what is in the module's text.

    `slope` (1/mag) and `curvature` (1/mag²) are the derivatives of ln L(age) in M_G.
    """
    radius, sd, distance, covariance = (
        _observed(stars, name, keep)[:, None]
        for name in ("rg_mean", "rg_sd", "distance_mean", "cov_rg_distance")
    )
    with_magnitude = np.nan_to_num(covariance * -5.0 / (np.log(10.0) * distance))
    variance = np.maximum(sd, _MIN_RADIUS_SD) ** 2
    at_age = variance + with_magnitude**2 * curvature
    return {
        "radius_at": (radius + with_magnitude * slope).astype(np.float32),
        "radius_variance_at": np.maximum(at_age, _LEAST_LEFT * variance).astype(np.float32),
    }


def _alpha_at_age(
    stars: xr.Dataset, keep: NDArray[np.bool_], feh_variance: Floats
) -> dict[str, Floats]:
    """Return what [α/Fe] is if a star has an age; see "[α/Fe] at an age" in `likelihood.kernel`.

    [Fe/H] is given no less variance, (star, age), than isochrones can leave it with an [α/Fe] of
    finite error.
    """
    rate = np.nan_to_num(_observed(stars, "alpha_rate", keep))
    own = np.maximum(_error(stars, "feh", keep), _MIN_FEH_SD) ** 2
    alpha = np.maximum(_error(stars, "alpha_fe", keep), _MIN_ALPHA_SD) ** 2
    shared = (rate * own) ** 2
    least = np.nan_to_num(own * shared / (alpha * own + shared))
    return {
        "alpha_rate": rate, "own_feh": _observed(stars, "feh", keep), "own_feh_variance": own,
        "feh_variance": np.maximum(feh_variance, least[:, None].astype(feh_variance.dtype)),
    }  # fmt: skip


def _moduli(stars: xr.Dataset, keep: NDArray[np.bool_]) -> Floats:
    """Return G - M_G (mag), of distance and dust; NaN if the stars do not have it."""
    names = "phot_g_mean_mag", "abs_g"
    if any(name not in stars for name in names):
        return np.full(int(keep.sum()), np.nan)
    apparent, absolute = (_observed(stars, name, keep) for name in names)
    return apparent - absolute


def population_data(
    stars: xr.Dataset,
    *,
    potential: str = "MWPotential2014",
    mask: NDArray[np.bool_] | xr.DataArray | None = None,
    radius: str = "rg",
    classes: RadiusClasses | None = None,
    trim: float = 1e-5,
    with_completeness: bool = False,
) -> PopulationData:
    """Take the stars of a selection into the likelihood.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    potential : str
        Which potential's guiding radius and Z_max.
    mask : array of bool, shape (star,), optional
        The selection; all stars if not given.
    radius : {"rg", "r_present"}
        Regress on the guiding radius or on today's radius.
    classes : RadiusClasses, optional
        Classes of today's radius, if not these stars' own: those that a model was built for.
    trim : float
        Age nodes below this fraction of a star's highest weight are left out.
    with_completeness : bool
        For a fit with a completeness: no heights of stars with [α/Fe]; of the others as they are,
        with those of today beside them. A `PopulationModel` without one refuses such stars.

    Returns
    -------
    PopulationData
        Packed stars, ages of the grid (Gyr), and how many stars were left out, by reason.

    Raises
    ------
    FitError
        If the potential or radius is unknown, or no star is left.

    Examples
    --------
    >>> from migrate_bayes import population_data
    >>> from migrate_bayes.mock.model_stars import simulated_stars
    >>> data = population_data(simulated_stars(300, seed=1))
    >>> data.n_stars, data.left_out
    (300, {})
    """
    if radius not in ("rg", "r_present"):
        raise FitError(f"unknown radius '{radius}'; {suggest(radius, ['rg', 'r_present'])}")
    if "potential" in stars.dims:
        names = [str(p) for p in stars["potential"].values]
        if potential not in names:
            said = suggest(potential, names)
            raise FitError(f"no potential '{potential}' in the product; {said}")
        stars = stars.sel(potential=potential)
    if radius == "rg" and "rg_mean" not in stars:
        raise FitError("the product has no guiding radii: run `migrate-bayes orbits` first")
    if "log_age_likelihood" not in stars:
        raise FitError("the product has no age likelihoods: run `migrate-bayes ages` first")

    n = stars.sizes["star"]
    selected = np.ones(n, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    centre, spread = ("rg_mean", "rg_sd") if radius == "rg" else ("r_present", "r_present_sd")
    r = np.asarray(stars[centre].values, dtype=np.float64)
    has_age = np.ones(n, dtype=bool)
    if "flag" in stars:
        # A star without an age carries a likelihood that knows nothing; its flag says so.
        has_age &= (stars["flag"].values & np.int32(FATAL_AGE)) == 0
    has_radius = np.isfinite(r)
    feh = stars["feh"].values if "feh" in stars else np.zeros(n)
    has_age &= np.isfinite(feh)
    possible = possible_of_disc(r, feh)
    impossible = int((selected & ~possible).sum())
    selected = selected & possible
    keep, by_age = _by_age(stars, selected & has_radius & has_age)
    left_out = {
        "no radius": int((selected & ~has_radius).sum()),
        "no age likelihood": int((selected & has_radius).sum() - keep.sum()),
        f"a radius outside {DISC_RADII} kpc or [Fe/H] outside {DISC_FEH}": impossible,
    }
    if not keep.any():
        raise FitError(
            f"no star can be fitted: {int(selected.sum()) + impossible} of {n} selected, of which "
            + ", ".join(f"{count} have {why}" for why, count in left_out.items())
        )

    def variance(error: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
        return np.maximum(error, floor) ** 2

    if "feh" not in by_age:
        shape = by_age["log_weight"].shape
        by_age["feh"] = np.broadcast_to(_observed(stars, "feh", keep)[:, None], shape)
        by_age["feh_variance"] = np.broadcast_to(
            variance(_error(stars, "feh", keep), _MIN_FEH_SD)[:, None], shape
        )
    of_magnitude = [by_age.pop(name) for name in _OF_MAGNITUDE if name in by_age]
    if len(of_magnitude) == 2 and radius == "rg" and "cov_rg_distance" in stars:
        by_age |= _radius_at_age(stars, keep, *of_magnitude)
    if "alpha_rate" in stars:
        by_age |= _alpha_at_age(stars, keep, by_age["feh_variance"])
    height, height_sd = _heights(stars, keep)
    alpha = _observed(stars, "alpha_fe", keep)
    height_today = np.full(len(height), np.nan)
    if with_completeness:
        # S is of stars at all heights: what is taken of those at one has another [Fe/H].
        height[np.isfinite(alpha)] = np.nan
        if "z" in stars:
            height_today = np.log(np.abs(_observed(stars, "z", keep)) + HEIGHT_OFFSET)
            height_today[np.isnan(height)] = np.nan
    radius_variance = variance(_observed(stars, spread, keep), _MIN_RADIUS_SD)
    # Today's radius at given radius today has no law.
    by_place = radius == "rg"
    today = _observed(stars, "r_present", keep) if by_place else np.full(int(keep.sum()), np.nan)
    classes = classes or RadiusClasses.of(today)
    plain = StarArrays(
        r[keep], radius_variance,
        alpha, variance(_error(stars, "alpha_fe", keep), _MIN_ALPHA_SD),
        height, np.maximum(height_sd, _MIN_HEIGHT_SD) ** 2,
        **by_age, radius_class=classes(today), class_centre=classes.centre,
        modulus=_moduli(stars, keep), height_today=height_today,
    )  # fmt: skip
    ids = stars["source_id"].values if "source_id" in stars.coords else np.arange(n)
    ages = np.asarray(stars["age"].values, dtype=np.float64)
    some_left_out = {why: count for why, count in left_out.items() if count}
    packed = pack(plain, flat_in_age(ages), trim=trim)
    return PopulationData(
        packed, ages, ids[keep], potential, radius, classes, some_left_out, with_completeness
    )
