r"""Stars straight from the population model, as StarPosteriors: no isochrones, no orbits.

For benchmarks, calibration and recovery tests. A star's component and age node are drawn from
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
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from migrate_bayes.population.likelihood.kernel import PIVOT_RADIUS, THETA
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.model.splines import node_widths, spline_basis

__all__ = ["AGES", "PopulationTruth", "SurveyErrors", "simulated_stars"]

#: The paper's age grid: 1 to 5 Gyr by 0.25 and 5.5 to 14.5 by 0.5, begun at 0.5 Gyr.
AGES: NDArray[np.float64] = np.concatenate([np.arange(0.5, 5.1, 0.25), np.arange(5.5, 14.6, 0.5)])

#: Age in Gyr below which an age's error is no longer proportional to it.
_TURN_AGE = 3.0
# Stars drawn at once. Fixed: it is part of what a seed means.
_AT_ONCE = 65_536
# Step of the ages that truth functions are drawn from, Gyr: far finer than any grid of a fit.
_FINE_STEP = 0.01


@dataclass(frozen=True)
class PopulationTruth:
    """A thin and a thick disc within the default model, so that a fit of it can be exact.

    Attributes
    ----------
    gradient_young, flattening_rate, gradient_thick : float
        dex/kpc at 1 Gyr, dex/kpc/Gyr, dex/kpc.
    thick_fraction : float
        Share of thick-disc stars.
    scatter_thin, scatter_thick : float
        Intrinsic scatter of [Fe/H] at 6.5 Gyr, dex; the thin disc's grows by 4% a Gyr.
    age_weight_thin, age_weight_thick : tuple of float
        ln of the age density at the default model's knots, up to a constant.
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
        columns = {
            "mu": (8.7 - 0.02 * since, 7.2 * one),
            "sigma2": (np.exp(2 * (0.26 + 0.02 * since)), 1.6**2 * one),
            "Z": (-0.03 - 0.012 * since, -0.5 * one),
            "G": (self.gradient_young + self.flattening_rate * since, self.gradient_thick * one),
            "s2": (
                (self.scatter_thin * np.exp(0.04 * (ages - 6.5))) ** 2,
                self.scatter_thick**2 * one,
            ),
            "a": (0.03 * one, 0.20 * one),
            "b": (-0.10 * one, -0.10 * one),
            "t2": (0.025**2 * one, 0.035**2 * one),
            "m": (-1.5 + 0.08 * since, 0.3 * one),
            "q2": (0.6**2 * one, 0.5**2 * one),
        }
        theta = np.empty((2, len(ages), len(THETA)))
        for c, (at, height, share) in enumerate(
            [
                (knots.thin, self.age_weight_thin, 1.0 - self.thick_fraction),
                (knots.thick, self.age_weight_thick, self.thick_fraction),
            ]
        ):
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

    Attributes
    ----------
    age : float
        ε: the relative error of old ages.
    radius, feh, alpha, ln_zmax : float
        kpc, dex, dex, and of ln Z_max.
    age_feh_correlation : float
        ρ, in (-1, 1).
    spread : float
        Standard deviation of ln(error) from star to star.
    """

    age: float = 0.06
    radius: float = 0.15
    feh: float = 0.04
    alpha: float = 0.02
    ln_zmax: float = 0.08
    age_feh_correlation: float = -0.3
    spread: float = 0.25


@dataclass
class _Columns:
    """What is being filled, star by star and node by node."""

    star: dict[str, NDArray] = field(default_factory=dict)
    node: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def put(self, n: int, rows: slice, values: dict[str, NDArray], node: bool = False) -> None:
        into: dict[str, NDArray] = self.node if node else self.star
        for name, value in values.items():
            if name not in into:
                dtype = np.float32 if node else value.dtype
                into[name] = np.empty((n, *value.shape[1:]), dtype=dtype)
            into[name][rows] = value


def simulated_stars(
    n: int,
    *,
    seed: int,
    truth: PopulationTruth | NDArray[np.float64] | None = None,
    errors: SurveyErrors | None = None,
    ages: NDArray[np.float64] = AGES,
    potential: str = "MWPotential2014",
) -> xr.Dataset:
    """Draw and observe stars of the population model.

    Parameters
    ----------
    n : int
    seed : int
        Of NumPy's generator; the first stars of a longer sample are those of a shorter.
    truth : PopulationTruth or ndarray, shape (n_components, n_ages, 11), optional
        A `PopulationTruth` (the default) draws ages from a continuum. An array is θ at `ages` (last
        axis as `population.likelihood.kernel.THETA`), and every true age is one of the nodes:
        the model's own world, with no error of discretisation, as calibration needs it.
    errors : SurveyErrors, optional
    ages : ndarray, shape (n_ages,)
        Nodes of the age likelihood, Gyr.
    potential : str
        Name of the one potential that R_g and Z_max are said to be of.

    Returns
    -------
    xarray.Dataset
        The variables of StarPosteriors that the selections, the baseline and the population fit
        read, and the truth as `true_age`, `true_component` (0 thin, 1 thick), `true_rg` and
        `true_feh`.
    """
    errors = errors or SurveyErrors()
    ages = np.asarray(ages, dtype=float)
    if truth is None or isinstance(truth, PopulationTruth):
        true_ages = np.arange(ages[0], ages[-1] + _FINE_STEP / 2, _FINE_STEP)
        theta = (truth or PopulationTruth()).theta(true_ages)
    else:
        true_ages, theta = ages, np.asarray(truth, dtype=float)
    columns = _Columns()
    for block, start in enumerate(range(0, n, _AT_ONCE)):
        rng = np.random.default_rng([seed, block])
        rows = slice(start, min(start + _AT_ONCE, n))
        # Whole blocks are drawn, and cut: a longer sample then begins with the shorter one's stars.
        star, node = _observe(_draw(rng, theta, true_ages), rng, errors, ages, rows.stop - start)
        columns.put(n, rows, star)
        columns.put(n, rows, node, node=True)
    return _dataset(columns, ages, potential, n)


def _draw(
    rng: np.random.Generator, theta: NDArray[np.float64], ages: NDArray[np.float64]
) -> dict[str, NDArray]:
    """True component, age, R_g, [Fe/H], [α/Fe], ln Z_max of one block."""
    weight = np.exp(theta[..., 0]).ravel()
    edge = np.cumsum(weight / weight.sum())
    pick = np.minimum(np.searchsorted(edge, rng.random(_AT_ONCE)), len(edge) - 1)
    component, node = np.divmod(pick, len(ages))
    t = dict(zip(THETA, theta[component, node].T, strict=True))
    noise = rng.normal(size=(4, _AT_ONCE))
    radius = t["mu"] + np.sqrt(t["sigma2"]) * noise[0]
    feh = t["Z"] + t["G"] * (radius - PIVOT_RADIUS) + np.sqrt(t["s2"]) * noise[1]
    return {
        "component": component,
        "age": ages[node],
        "rg": radius,
        "feh": feh,
        "alpha": t["a"] + t["b"] * feh + np.sqrt(t["t2"]) * noise[2],
        "ln_zmax": t["m"] + np.sqrt(t["q2"]) * noise[3],
    }


def _observe(
    true: dict[str, NDArray],
    rng: np.random.Generator,
    errors: SurveyErrors,
    ages: NDArray[np.float64],
    keep: int,
) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """Add errors; return columns per star and per (star, age)."""
    size = rng.normal(scale=errors.spread, size=(5, _AT_ONCE))
    noise = rng.normal(size=(5, _AT_ONCE))
    names = ("age", "feh", "radius", "alpha", "ln_zmax")
    sd = {name: getattr(errors, name) * np.exp(size[j]) for j, name in enumerate(names)}
    rho = errors.age_feh_correlation
    u = np.arcsinh(true["age"] / _TURN_AGE) + sd["age"] * noise[0]
    feh = true["feh"] + sd["feh"] * (rho * noise[0] + np.sqrt(1.0 - rho**2) * noise[1])
    radius = true["rg"] + sd["radius"] * noise[2]
    alpha = true["alpha"] + sd["alpha"] * noise[3]
    ln_zmax = true["ln_zmax"] + sd["ln_zmax"] * noise[4]

    def age_of(u: NDArray) -> NDArray:
        return np.clip(_TURN_AGE * np.sinh(u), ages[0], ages[-1])

    best, low, high = age_of(u), age_of(u - sd["age"]), age_of(u + sd["age"])
    star = {
        "age_ml": best,
        "age_median": best,
        "age_lo": low,
        "age_hi": high,
        "age_error": 0.5 * (high - low) / best,
        "feh": feh,
        "feh_error": sd["feh"],
        "alpha_fe": alpha,
        "alpha_fe_error": sd["alpha"],
        "rg_mean": radius[:, None],
        "rg_sd": sd["radius"][:, None],
        "ln_zmax_mean": ln_zmax[:, None],
        "ln_zmax_sd": sd["ln_zmax"][:, None],
        "true_age": true["age"],
        "true_component": true["component"].astype(np.int8),
        "true_rg": true["rg"],
        "true_feh": true["feh"],
    }
    star = {name: value[:keep] for name, value in star.items()}
    e_age, e_feh = sd["age"][:keep, None], sd["feh"][:keep, None]
    pull = (u[:keep, None] - np.arcsinh(ages / _TURN_AGE)) / e_age
    node = {
        "log_age_likelihood": -0.5 * pull**2,
        "feh_mean": feh[:keep, None] - rho * e_feh * pull,
        "feh_sd": np.broadcast_to(e_feh * np.sqrt(1.0 - rho**2), pull.shape),
    }
    return star, node


_UNITS = {
    "age": "Gyr", "rg": "kpc", "true_rg": "kpc", "true_age": "Gyr",
    "feh": "dex", "true_feh": "dex", "alpha": "dex",
}  # fmt: skip


def _unit(name: str) -> str:
    if name in ("age_error", "true_component"):
        return ""
    return next((u for key, u in _UNITS.items() if name == key or name.startswith(f"{key}_")), "")


def _dataset(columns: _Columns, ages: NDArray[np.float64], potential: str, n: int) -> xr.Dataset:
    variables = {}
    for name, value in columns.star.items():
        dims = ("star", "potential") if value.ndim == 2 else ("star",)
        variables[name] = (dims, value, {"units": _unit(name)})
    for name, value in columns.node.items():
        variables[name] = (("star", "age"), value, {"units": _unit(name)})
    variables["log_interim_prior"] = (("age",), np.zeros(len(ages)), {"units": ""})
    variables["flag"] = (("star",), np.zeros(n, dtype=np.int32), {"units": ""})
    return xr.Dataset(
        variables,
        coords={
            "age": ("age", ages, {"units": "Gyr"}),
            "potential": [potential],
            "source_id": ("star", np.arange(n, dtype=np.int64)),
        },
    )
