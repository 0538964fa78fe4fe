r"""Stars as StarPosteriors, without isochrones and orbits: of the model, and migrated ones.

For benchmarks, calibration and recovery tests. `migrated_stars` are born in a known gradient and
have diffused since (equations in `population.model.hierarchy`), for tests of the ``diffusion`` form
and of a fit that does not know the history; all their errors are constant, that of age in ln τ.

`simulated_stars` are of the population model itself. A star's component and age node are drawn from
P(c, k), its R_g, [Fe/H], [α/Fe] and ln Z_max from the model's normals (equations in
`migrate_bayes.population.likelihood.kernel`), and each is observed with an error of the star's own.

An age is observed through :math:`u(τ) = \operatorname{arsinh}(τ/τ_0)`, in which the error
:math:`ε_i` of a star is constant: :math:`σ_τ = ε_i \sqrt{τ^2 + τ_0^2}`, relative for old stars and
absolute for young ones, as isochrone ages are. The errors of u and of [Fe/H] are correlated (ρ), as
an isochrone's are: an older isochrone fits a poorer star. So, exactly,

.. math::

   \ln L_i(τ) &= -\tfrac{1}{2} (\hat u - u(τ))^2 / ε_i^2 \\
   [Fe/H] \mid τ &\sim N\big(\hat F - ρ\,(e_F/ε_i)\,(\hat u - u(τ)),\; e_F^2 (1 - ρ^2)\big)

which are `log_age_likelihood`, `feh_mean` and `feh_sd`.

**Selection.** A survey takes a star by its data. [Fe/H] is drawn from its law times S, and then the
error of a star that is taken, if e is its standard deviation, from

.. math:: N\big(e^2\, ∂_F \ln S,\; e^2 (1 + e^2\, ∂_F^2 \ln S)\big)

which is exact where ln S is a parabola: the chance with which data are taken is then a Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from migrate_bayes.core.constants import HEIGHT_OFFSET, PIVOT_RADIUS
from migrate_bayes.population.data import RadiusClasses
from migrate_bayes.population.likelihood.selected import Completeness, todays
from migrate_bayes.population.likelihood.theta import (
    THETA,
    bent_by,
    columns_of,
    columns_of_classes,
    skewed,
)
from migrate_bayes.population.model.hierarchy import node_widths, spline_basis
from migrate_bayes.population.model.specification import ModelSpec

AGES: NDArray[np.float64] = np.r_[0.5:5.1:0.25, 5.5:14.6:0.5]
"""The paper's age grid: 1 to 5 Gyr by 0.25 and 5.5 to 14.5 by 0.5, begun at 0.5 Gyr."""

MIGRATED_AGES: NDArray[np.float64] = np.r_[0.5:5.0:0.5, 5.0:14.1:1.0]
"""Nodes of the age likelihoods of `migrated_stars`, Gyr."""

_TURN_AGE = 3.0  # Gyr, below which an age's error is no longer proportional to it
_AT_ONCE = 65_536  # stars drawn at once; fixed: it is part of what a seed means
_STEPS = 401  # of the law of [Fe/H] that a completeness changes
_FINE_STEP = 0.01  # Gyr, of the ages that a truth is drawn from: far finer than any grid of a fit
_AGE_ERROR, _FEH_ERROR, _ALPHA_ERROR, _RADIUS_ERROR = 0.08, 0.03, 0.02, 0.1
_OBSERVED = ("age", "feh", "radius", "alpha", "height")
#: Mean and sd of the radii that a survey around the Sun sees, kpc.
SURVEY_RADIUS, SURVEY_WIDTH = 8.3, 1.5


@dataclass(frozen=True)
class PopulationTruth:
    """A thin and a thick disc within the default model, so that a fit of it can be exact.

    Parameters
    ----------
    gradient_young, flattening_rate, gradient_thick : float
        dex/kpc at 1 Gyr, dex/kpc/Gyr, dex/kpc.
    thick_fraction : float
        Share of thick-disc stars.
    scatter_thin, scatter_thick : float
        Intrinsic scatter of [Fe/H] at 6.5 Gyr, dex; the thin disc's grows by 4% a Gyr.
    age_weight_thin, age_weight_thick : tuple of float
        ln of the age density at the default model's knots, up to a constant.

    Examples
    --------
    >>> import numpy as np
    >>> from migrate_bayes.mock import PopulationTruth
    >>> PopulationTruth(flattening_rate=0.0).theta(np.array([1.0, 5.0])).shape
    (2, 2, 14)
    """

    gradient_young: float = -0.075
    flattening_rate: float = 0.003
    gradient_thick: float = 0.02
    thick_fraction: float = 0.15
    scatter_thin: float = 0.15
    scatter_thick: float = 0.22
    age_weight_thin: tuple[float, ...] = (-1.0, 0.5, 1.0, 0.6, -0.5, -2.5)
    age_weight_thick: tuple[float, ...] = (-3.0, -1.5, 1.0, -0.5)

    def theta(self, ages: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return θ at age nodes, shape (2, n_ages, 11): thin, thick."""
        one, since = np.ones_like(ages), ages - 1.0
        knots = ModelSpec().age_weight
        thin_scatter = self.scatter_thin * np.exp(0.04 * (ages - 6.5))
        columns = {
            "mu": (8.7 - 0.02 * since, 7.2 * one),
            "sigma2": (np.exp(2 * (0.26 + 0.02 * since)), 1.6**2 * one),
            "Z": (-0.03 - 0.012 * since, -0.5 * one),
            "G": (self.gradient_young + self.flattening_rate * since, self.gradient_thick * one),
            "s2": (thin_scatter**2, self.scatter_thick**2 * one),
            "a": (0.03 * one, 0.20 * one),
            "b": (-0.10 * one, -0.10 * one),
            "t2": (0.025**2 * one, 0.035**2 * one),
            "m": (-0.9 + 0.04 * since, 0.4 * one),
            "q2": (0.36**2 * one, 0.42**2 * one),
        }
        discs = (
            (knots.thin, self.age_weight_thin, 1.0 - self.thick_fraction),
            (knots.thick, self.age_weight_thick, self.thick_fraction),
        )
        theta = np.zeros((2, len(ages), len(THETA)))
        for c, (at, height, share) in enumerate(discs):
            log_age = spline_basis(ages, at) @ np.asarray(height) + np.log(node_widths(ages))
            # A share of zero is a component that holds no star.
            log_share = np.log(share) if share > 0 else -1e5
            theta[c, :, 0] = log_share + log_age - logsumexp(log_age)
            for name, pair in columns.items():
                theta[c, :, THETA.index(name)] = pair[c]
        return theta

    def named(self) -> dict[str, float]:
        """Return the true values by the names of the posterior."""
        names = ("gradient_young", "flattening_rate", "gradient_thick", "thick_fraction")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class SurveyErrors:
    """Errors of observation: each the median over the stars; they vary by `spread` in ln.

    Parameters
    ----------
    age : float
        ε: the relative error of old ages.
    radius, feh, alpha, height : float
        kpc, dex, dex, and of ln(Z_max + Z_0).
    age_feh_correlation : float
        ρ, in (-1, 1).
    spread : float
        Standard deviation of ln(error) from star to star.

    Examples
    --------
    >>> from migrate_bayes.mock import SurveyErrors, simulated_stars
    >>> stars = simulated_stars(3, seed=1, errors=SurveyErrors(feh=0.1, spread=0.0))
    >>> stars["feh_error"].values
    array([0.1, 0.1, 0.1])
    """

    age: float = 0.06
    radius: float = 0.15
    feh: float = 0.04
    alpha: float = 0.02
    height: float = 0.05
    age_feh_correlation: float = -0.3
    spread: float = 0.25


def simulated_stars(
    n: int,
    *,
    seed: int,
    truth: PopulationTruth | NDArray[np.float64] | None = None,
    errors: SurveyErrors | None = None,
    ages: NDArray[np.float64] = AGES,
    potential: str = "MWPotential2014",
    classes: RadiusClasses | None = None,
    completeness: Completeness | None = None,
) -> xr.Dataset:
    """Draw and observe stars of the population model.

    Parameters
    ----------
    n : int
        Number of stars.
    seed : int
        Of NumPy's generator; the first stars of a longer sample are those of a shorter.
    truth : PopulationTruth or ndarray, shape (n_components, n_ages, n_theta), optional
        A `PopulationTruth` (the default) draws ages from a continuum. An array is θ at `ages` (last
        axis as `population.likelihood.theta.THETA`), and every true age is one of the nodes:
        the model's own world, with no error of discretisation, as calibration needs it.
    errors : SurveyErrors, optional
        Sizes of the errors.
    ages : ndarray, shape (n_ages,)
        Nodes of the age likelihood, Gyr.
    potential : str
        Name of the one potential that R_g and Z_max are said to be of.
    classes : RadiusClasses, optional
        Classes of today's radius, if θ has a law for each: stars then have one, normal about the
        Sun's, as `r_present`.
    completeness : Completeness, optional
        Of the ages of `truth`, an array: [Fe/H] is then drawn from its law times S, and P, μ and σ
        of θ are those of the stars that are taken.

    Returns
    -------
    xarray.Dataset
        The variables of StarPosteriors that the selections, the baseline and the population fit
        read, and the truth as `true_age`, `true_component` (0 thin, 1 thick), `true_rg` and
        `true_feh`.

    Examples
    --------
    >>> from migrate_bayes.mock import simulated_stars
    >>> dict(simulated_stars(10, seed=1).sizes)
    {'star': 10, 'potential': 1, 'age': 38}
    """
    errors = errors or SurveyErrors()
    ages = np.asarray(ages, dtype=float)
    if truth is None or isinstance(truth, PopulationTruth):
        true_ages = np.arange(ages[0], ages[-1] + _FINE_STEP / 2, _FINE_STEP)
        theta = (truth or PopulationTruth()).theta(true_ages)
    else:
        true_ages, theta = ages, np.asarray(truth, dtype=float)
    columns: dict[str, NDArray] = {}
    of_radii = classes or RadiusClasses.of(np.empty(0))
    for block, start in enumerate(range(0, n, _AT_ONCE)):
        rng = np.random.default_rng([seed, block])
        rows = slice(start, min(start + _AT_ONCE, n))
        # Whole blocks are drawn, and cut: a longer sample then begins with the shorter one's stars.
        of_radius = np.random.default_rng([seed, block, 2]).normal(size=_AT_ONCE)
        today = SURVEY_RADIUS + SURVEY_WIDTH * of_radius
        of_class = of_radii(today)
        cells = _cells(rng, theta, of_class)
        normal = rng.normal(size=(4, _AT_ONCE))
        size = rng.normal(scale=errors.spread, size=(5, _AT_ONCE))
        sd = {name: getattr(errors, name) * np.exp(size[j]) for j, name in enumerate(_OBSERVED)}
        shift, scale = np.zeros(_AT_ONCE), np.ones(_AT_ONCE)  # of the error of [Fe/H]
        if completeness is not None:
            first = slice(rows.stop - start)
            some = np.random.default_rng([seed, block, 1])
            component, at = cells[0][first], cells[1][first]
            normal[1, first], shift[first], scale[first] = _taken(
                some, theta[component, at], of_class[first], completeness, component, at,
                normal[0, first], of_radii.centre, sd["feh"][first],
            )  # fmt: skip
        true = _true(theta, *cells, normal, of_class) | {"age": true_ages[cells[1]]}
        star, node = _observe(true, rng, sd, shift, scale, errors, ages, rows.stop - start)
        if classes is not None:
            star |= {"r_present": today[: rows.stop - start]}
        for name, value in (star | node).items():
            if name not in columns:
                dtype = np.float32 if name in node else value.dtype
                columns[name] = np.empty((n, *value.shape[1:]), dtype=dtype)
            columns[name][rows] = value
    columns["log_interim_prior"] = np.zeros(len(ages))
    columns["flag"] = np.zeros(n, dtype=np.int32)
    return _dataset(columns, ages, potential, n)


def _cells(
    rng: np.random.Generator, theta: NDArray, of_class: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Component and age node of the stars of one block."""
    u, pick = rng.random(_AT_ONCE), np.empty(_AT_ONCE, dtype=np.int64)
    for one in np.unique(of_class):
        mine = of_class == one
        weight = np.exp(theta[..., columns_of_classes(theta, one)]).ravel()
        edge = np.cumsum(weight / weight.sum())
        pick[mine] = np.minimum(np.searchsorted(edge, u[mine]), len(edge) - 1)
    return np.divmod(pick, theta.shape[1])


def _true(
    theta: NDArray, component: NDArray, node: NDArray, noise: NDArray, of_class: NDArray
) -> dict[str, NDArray]:
    """True component, R_g, [Fe/H], [α/Fe], ln(Z_max + Z_0) of one block."""
    of_star = theta[component, node]
    t = columns_of(of_star, of_class)
    radius = t["mu"] + np.sqrt(t["sigma2"]) * noise[0]
    mean = t["Z"] + t["G"] * (radius - PIVOT_RADIUS) + bent_by(of_star, radius)
    feh = mean + np.sqrt(t["s2"]) * skewed(of_star, radius, noise[1], t["s2"])
    return {
        "component": component, "rg": radius, "feh": feh,
        "alpha": t["a"] + t["b"] * feh + np.sqrt(t["t2"]) * noise[2],
        "height": t["m"] + np.sqrt(t["q2"]) * noise[3],
    }  # fmt: skip


def _taken(
    rng: np.random.Generator, theta: NDArray, of_class: NDArray, completeness: Completeness,
    component: NDArray, node: NDArray, of_radius: NDArray, centre: NDArray, error: NDArray,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Draw the normal number of [Fe/H] of stars from N(0, 1) times S at their radius.

    Second and third are the mean and the sd of the error of [Fe/H] over `error`; see the module's
    text.
    """
    law = columns_of(theta, of_class)
    radius = law["mu"] + np.sqrt(law["sigma2"]) * of_radius
    mean = law["Z"] + law["G"] * (radius - PIVOT_RADIUS) + bent_by(theta, radius)
    # By inversion on a grid: S may be small where the normal law is large.
    grid = np.linspace(-6.0, 6.0, _STEPS)
    today = todays(centre, of_class, radius)
    z = skewed(theta, radius, grid[None], law["s2"])
    feh = mean[:, None] + np.sqrt(law["s2"])[:, None] * z
    log_s = completeness.at(component, node, today, feh)
    weight = np.exp(log_s - log_s.max(axis=1, keepdims=True) - 0.5 * grid**2)
    edge = np.cumsum(weight, axis=1)
    target = rng.random(len(node)) * edge[:, -1]
    cell = np.minimum((edge < target[:, None]).sum(axis=1), _STEPS - 1)
    rows = np.arange(len(node))
    within = (edge[rows, cell] - target) / weight[rows, cell]
    normal = grid[cell] + (0.5 - within) * (grid[1] - grid[0])
    z = skewed(theta, radius, normal, law["s2"])
    step = completeness.feh[1] - completeness.feh[0]
    # Differences over the table's own steps are the derivatives of a parabola.
    near = (mean + np.sqrt(law["s2"]) * z)[:, None] + step * np.array([-1.0, 0.0, 1.0])
    low, at, high = completeness.at(component, node, today, near).T
    slope, curvature = (high - low) / (2.0 * step), (high - 2.0 * at + low) / step**2
    return normal, error * slope, np.sqrt(np.maximum(1.0 + error**2 * curvature, 0.0))


def _observe(
    true: dict[str, NDArray], rng: np.random.Generator, sd: dict[str, NDArray],
    shift: NDArray, scale: NDArray, errors: SurveyErrors, ages: NDArray, keep: int,
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:  # fmt: skip
    """Add errors; return columns per star and per (star, age)."""
    noise = rng.normal(size=(5, _AT_ONCE))
    rho = errors.age_feh_correlation
    rest = np.sqrt(1.0 - rho**2)
    of_feh = rho * noise[0] + rest * noise[1]
    # What selection does to the error of [Fe/H] moves that of age along.
    moved = shift + (scale - 1.0) * of_feh
    u = np.arcsinh(true["age"] / _TURN_AGE) + sd["age"] * (noise[0] + rho * moved)
    feh = true["feh"] + sd["feh"] * (of_feh + moved)
    radius = true["rg"] + sd["radius"] * noise[2]
    height = true["height"] + sd["height"] * noise[4]
    # The model's law of heights is normal, so that a few are of no Z_max.
    zmax = np.maximum(np.exp(height) - HEIGHT_OFFSET, 0.01)
    best, low, high = (
        np.clip(_TURN_AGE * np.sinh(at), ages[0], ages[-1])
        for at in (u, u - sd["age"], u + sd["age"])
    )
    star = {
        "age_ml": best, "age_median": best, "age_lo": low, "age_hi": high,
        "age_error": 0.5 * (high - low) / best,
        "feh": feh, "feh_error": sd["feh"],
        "alpha_fe": true["alpha"] + sd["alpha"] * noise[3], "alpha_fe_error": sd["alpha"],
        "rg_mean": radius[:, None], "rg_sd": sd["radius"][:, None],
        "height_mean": height[:, None], "height_sd": sd["height"][:, None],
        "ln_zmax_mean": np.log(zmax)[:, None],
        "ln_zmax_sd": (sd["height"] * (1.0 + HEIGHT_OFFSET / zmax))[:, None],
        "true_age": true["age"], "true_component": true["component"].astype(np.int8),
        "true_rg": true["rg"], "true_feh": true["feh"],
    }  # fmt: skip
    star = {name: value[:keep] for name, value in star.items()}
    e_age, e_feh = sd["age"][:keep, None], sd["feh"][:keep, None]
    pull = (u[:keep, None] - np.arcsinh(ages / _TURN_AGE)) / e_age
    node = {
        "log_age_likelihood": -0.5 * pull**2,
        "feh_mean": feh[:keep, None] - rho * e_feh * pull,
        "feh_sd": np.broadcast_to(e_feh * rest, pull.shape),
    }
    return star, node


def migrated_stars(
    n: int,
    *,
    seed: int,
    sigma_rm8: float = 3.5,
    birth_radius_spread: float = 3.0,
    birth_gradient: float = -0.075,
    birth_gradient_rate: float = 0.0,
    birth_scatter: float = 0.06,
    selected: bool = False,
) -> xr.Dataset:
    """Draw, let diffuse and observe thin-disc stars with ages from 0.7 to 12 Gyr.

    Parameters
    ----------
    n : int
        Number of stars.
    seed : int
        Of NumPy's generator.
    sigma_rm8 : float
        Diffusion of guiding radii in 8 Gyr, kpc.
    birth_radius_spread : float
        Standard deviation of birth radii about 8 kpc.
    birth_gradient, birth_gradient_rate : float
        Gradient of the gas today, dex/kpc, and its change per Gyr of lookback time.
    birth_scatter : float
        Scatter of [Fe/H] of the gas at given radius, dex.
    selected : bool
        Keep a star with a probability that depends on its present radius, as a survey around the
        Sun does; none is lost otherwise.

    Returns
    -------
    xarray.Dataset
        The variables of StarPosteriors that the population fit reads, without Z_max; `true_age`,
        `true_rg` and `true_birth_radius`.

    Examples
    --------
    >>> from migrate_bayes.mock import migrated_stars
    >>> dict(migrated_stars(10, seed=1).sizes)
    {'star': 10, 'age': 19, 'potential': 1}
    """
    rng = np.random.default_rng(seed)
    drawn = 6 * n + 200 if selected else n
    age = rng.uniform(0.7, 12.0, drawn)
    birth = rng.normal(8.0, birth_radius_spread, drawn)
    radius = birth + sigma_rm8 * np.sqrt(age / 8.0) * rng.normal(size=drawn)
    if selected:
        chance = np.exp(-0.5 * ((radius - SURVEY_RADIUS) / SURVEY_WIDTH) ** 2)
        seen = np.flatnonzero(rng.random(drawn) < chance)[:n]
        if len(seen) < n:
            raise ValueError("too few stars near the Sun: a smaller sigma_rm8, or not selected")
        age, birth, radius = age[seen], birth[seen], radius[seen]
    slope = birth_gradient + birth_gradient_rate * age
    feh = 0.05 - 0.03 * age + slope * (birth - PIVOT_RADIUS) + birth_scatter * rng.normal(size=n)
    alpha = 0.03 - 0.1 * feh + 0.025 * rng.normal(size=n)
    ln_age = np.log(age) + _AGE_ERROR * rng.normal(size=n)
    pull = (ln_age[:, None] - np.log(MIGRATED_AGES)) / _AGE_ERROR
    # In this order: a seed's draws follow it.
    columns = {
        "log_age_likelihood": -0.5 * pull**2,
        "feh": feh + _FEH_ERROR * rng.normal(size=n),
        "feh_error": np.full(n, _FEH_ERROR),
        "alpha_fe": alpha + _ALPHA_ERROR * rng.normal(size=n),
        "alpha_fe_error": np.full(n, _ALPHA_ERROR),
        "rg_mean": (radius + _RADIUS_ERROR * rng.normal(size=n))[:, None],
        "rg_sd": np.full((n, 1), _RADIUS_ERROR),
        "true_age": age,
        "true_rg": radius,
        "true_birth_radius": birth,
    }
    return _dataset(columns, MIGRATED_AGES, "MWPotential2014", n)


def _dataset(
    columns: dict[str, NDArray], ages: NDArray[np.float64], potential: str, n: int
) -> xr.Dataset:
    units = {"age": "Gyr", "rg": "kpc", "feh": "dex", "alpha": "dex"}
    variables = {}
    for name, value in columns.items():
        second = "age" if name in ("log_age_likelihood", "feh_mean", "feh_sd") else "potential"
        dims = ("age",) if name == "log_interim_prior" else ("star", second)[: value.ndim]
        kind = "" if name == "age_error" else name.removeprefix("true_").split("_")[0]
        variables[name] = (dims, value, {"units": units.get(kind, "")})
    return xr.Dataset(
        variables,
        coords={
            "age": ("age", ages, {"units": "Gyr"}),
            "potential": [potential],
            "source_id": ("star", np.arange(n, dtype=np.int64)),
        },
    )
