r"""What the model says that data should look like: before the stars, and after them.

`prior_predictive` needs no simulation. Given θ everything is Gaussian, so the distribution of an
observed [Fe/H] or [α/Fe] is a mixture over components and ages, known in closed form; draws of the
prior give bands about it.

`posterior_predictive` replicates the fitted stars. A star keeps what the survey's selection
decides: its age likelihood, R_g and Z_max. Component and age node are drawn from
:math:`P(c, k \mid \hat R, \ln\hat Z)`, without its chemistry, and then

.. math::

   \hat F^\mathrm{rep} \sim N(Z + G (R^* - R_0),\; V_2), \qquad
   \hat A^\mathrm{rep} \mid \hat F^\mathrm{rep} \sim N(a + b F^*,\; V_3)

in the symbols of `population.likelihood.kernel`. Replicated stars stay in their bins of age and
radius, so quantiles within a bin compare like with like. A star's [Fe/H] at node k differs from its
overall mean by an amount that its isochrones fix; the replicate is given the same difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.population.data import PopulationData
from migrate_bayes.population.likelihood.layout import (
    ABSENT_VARIANCE,
    StarArrays,
    pack,
    subsample,
    unpack,
)
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.likelihood.selected import Completeness, todays
from migrate_bayes.population.likelihood.theta import THETA, bent_by, columns_of, skewed
from migrate_bayes.population.model.hierarchy import flat_in_age, node_widths

Floats = NDArray[np.float64]

#: Edges of the age bins of the posterior predictive checks, Gyr.
AGE_EDGES = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0)

_BANDS = (0.025, 0.16, 0.5, 0.84, 0.975)
_TESTED = (0.05, 0.25, 0.5, 0.75, 0.95)
_MIN_STARS = 20
# True [Fe/H] of which a selected star's is picked.
_TRIED = 24


def _expectations(stars: StarArrays, ages: Floats) -> tuple[Floats, Floats]:
    """Mean age (Gyr) and mean [Fe/H] of each star by its own age likelihood, flat in age."""
    log_p = stars.log_weight + np.log(node_widths(ages))
    p = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True))
    return p @ ages, (p * stars.feh).sum(axis=1)


def _mixture(theta: Floats, share: Floats, error: float, alpha_error: float) -> tuple[Floats, ...]:
    """Weights, means and variances of observed [Fe/H] and [α/Fe] over (class, component, age).

    `share` is the share of stars in each class of today's radius.
    """
    cells = theta.reshape(-1, theta.shape[-1])
    of_class = np.repeat(np.arange(len(share)), len(cells))
    of_all = np.tile(cells, (len(share), 1))
    t = columns_of(of_all, of_class)
    t["log_weight"] = t["log_weight"] + np.log(np.maximum(share, 1e-300))[of_class]
    weight = np.exp(t["log_weight"] - logsumexp(t["log_weight"]))
    # A bend over all radii, whose spread widens it.
    bent = bent_by(of_all, t["mu"], t["sigma2"])
    feh = t["Z"] + t["G"] * (t["mu"] - PIVOT_RADIUS) + bent
    spread = t["G"] ** 2 * t["sigma2"] + t["s2"]
    alpha = t["a"] + t["b"] * feh
    alpha_variance = t["b"] ** 2 * spread + t["t2"] + alpha_error**2
    return weight, feh, spread + error**2, alpha, alpha_variance


def _density(x: Floats, weight: NDArray, mean: NDArray, variance: NDArray) -> Floats:
    z2 = (x[:, None] - mean) ** 2 / variance
    return (weight * np.exp(-0.5 * z2) / np.sqrt(2 * np.pi * variance)).sum(axis=1)


def prior_predictive(
    data: PopulationData, thetas: Floats, components: Sequence[str], *, stars: int, seed: int
) -> xr.Dataset:
    """Compute what draws of θ expect of the stars; see `PopulationModel.prior_predictive`."""
    index = subsample(data.n_stars, stars, seed)
    plain = unpack(data.stars, index)
    _, feh = _expectations(plain, data.ages)
    kept = np.where(np.isfinite(plain.log_weight), plain.feh_variance, np.nan)
    seen = plain.alpha_variance < ABSENT_VARIANCE / 10
    error = float(np.sqrt(np.nanmedian(kept)))
    alpha_error = float(np.sqrt(np.median(plain.alpha_variance[seen]))) if seen.any() else 0.0
    axes = {"feh": np.arange(-2.5, 1.501, 0.05), "alpha_fe": np.arange(-0.4, 0.701, 0.0125)}
    share = np.bincount(plain.radius_class) / len(index)
    mixtures = [_mixture(theta, share, error, alpha_error) for theta in thetas]
    curves = {
        name: np.stack([_density(axes[name], m[0], m[at], m[at + 1]) for m in mixtures])
        for name, at in (("feh", 1), ("alpha_fe", 3))
    }
    values = {"feh": feh, "alpha_fe": plain.alpha[seen]}
    out = xr.Dataset(coords={"band": ("band", list(_BANDS), {"units": ""})})
    out["component"], out["age"] = list(components), ("age", data.ages, {"units": "Gyr"})
    gradient = np.quantile(thetas[..., THETA.index("G")], _BANDS, axis=0)
    out["gradient"] = (("band", "component", "age"), gradient, {"units": "dex / kpc"})
    for name, x in axes.items():
        out[name] = (name, x, {"units": "dex"})
        attrs = {"units": "1 / dex", "long_name": f"density of observed {name} by the prior"}
        density = np.quantile(curves[name], _BANDS, axis=0)
        out[f"{name}_density"] = (("band", name), density, attrs)
        half = 0.5 * (x[1] - x[0])
        counts, _ = np.histogram(values[name], np.append(x - half, x[-1] + half))
        height = counts / max(len(values[name]), 1) / (2 * half)
        attrs = {"units": "1 / dex", "long_name": f"histogram of observed {name}"}
        out[f"{name}_data"] = (name, height, attrs)
    out.attrs.update(draws=len(thetas), stars=len(index))
    return out


def _replicate(
    rng: np.random.Generator,
    stars: StarArrays,
    feh: Floats,
    probability: Floats,
    theta: Floats,
    completeness: Completeness | None,
) -> tuple[Floats, Floats]:
    """Draw [Fe/H] and [α/Fe] of every star; `probability` (n_components · n_ages, n)."""
    n = len(feh)
    edge = np.cumsum(probability, axis=0)
    pick = np.minimum((edge < rng.random(n) * edge[-1]).sum(axis=0), len(edge) - 1)
    component, node = np.divmod(pick, theta.shape[1])
    of_star = theta[component, node]
    t = columns_of(of_star, stars.radius_class)
    rows = np.arange(n)
    e_feh = stars.feh_variance[rows, node]
    h = t["sigma2"] / (t["sigma2"] + stars.radius_variance)
    radius = t["mu"] + h * (stars.radius - t["mu"])
    spread = t["s2"] + t["G"] ** 2 * h * stars.radius_variance
    total = spread + e_feh
    bent = bent_by(of_star, radius, h * stars.radius_variance)
    mean = t["Z"] + t["G"] * (radius - PIVOT_RADIUS) + bent
    if completeness is not None:
        # Of some true [Fe/H] of the population one that the survey took.
        z = skewed(of_star, radius, rng.normal(size=(n, _TRIED)), spread)
        some = mean[:, None] + np.sqrt(spread)[:, None] * z
        today = todays(stars.class_centre, stars.radius_class, radius)
        log_s = completeness.at(component, node, today, some)
        true = some[rows, np.argmax(log_s + rng.gumbel(size=some.shape), axis=1)]
        error = np.sqrt(t["t2"] + stars.alpha_variance)
        alpha = t["a"] + t["b"] * true + error * rng.normal(size=n)
        seen = true + np.sqrt(e_feh) * rng.normal(size=n)
        return seen - (stars.feh[rows, node] - feh), alpha
    step = np.sqrt(total) * skewed(of_star, radius, rng.normal(size=n), total)
    true = mean + spread / total * step
    error = t["b"] ** 2 * spread / total * e_feh + t["t2"] + stars.alpha_variance
    alpha = t["a"] + t["b"] * true + np.sqrt(error) * rng.normal(size=n)
    return mean + step - (stars.feh[rows, node] - feh), alpha


class Replicates:
    """Some stars of the data, and others like them that the model makes.

    `stars` of them are taken at random by the seed; `measured` leaves out those without [α/Fe], if
    there are any with it. `chemistry` is what was observed, shape (n, 2): [Fe/H] and [α/Fe], dex.
    """

    def __init__(
        self,
        data: PopulationData,
        *,
        stars: int,
        seed: int,
        completeness: Completeness | None = None,
        measured: bool = False,
    ) -> None:
        self.index = subsample(data.n_stars, stars, seed)
        self.stars = unpack(data.stars, self.index)
        seen = self.stars.alpha_variance < ABSENT_VARIANCE / 10
        if measured and seen.any():
            self.index = self.index[seen]
            self.stars, seen = unpack(data.stars, self.index), seen[seen]
        self.age, feh = _expectations(self.stars, data.ages)
        self.chemistry = np.stack([feh, np.where(seen, self.stars.alpha, np.nan)], axis=1)
        self._ages, self._completeness = data.ages, completeness

    @cached_property
    def _without_chemistry(self) -> StarLikelihood:
        plain, absent = self.stars, np.full(len(self.index), np.nan)
        blind = plain._replace(
            feh=np.zeros_like(plain.feh), feh_variance=np.full_like(plain.feh, ABSENT_VARIANCE),
            alpha=absent, alpha_variance=absent,
        )  # fmt: skip
        return StarLikelihood(pack(blind, flat_in_age(self._ages), trim=1e-300))

    def draw(self, theta: Floats, rng: np.random.Generator) -> Floats:
        """Draw the chemistry of every star; [α/Fe] is NaN where it was not observed."""
        cells = theta.shape[0] * theta.shape[1]
        each = np.eye(cells).reshape(cells, *theta.shape[:2])
        _, probability = self._without_chemistry.per_star(theta, each)
        feh = self.chemistry[:, 0]
        drawn = _replicate(rng, self.stars, feh, probability, theta, self._completeness)
        return np.where(np.isnan(self.chemistry), np.nan, np.stack(drawn, axis=1))


def _quantiles(values: Floats, bins: list[list[NDArray[np.int64]]]) -> Floats:
    """Tested quantiles in every bin, (age_bin, radius_bin, quantile); NaN in bins of few stars."""
    out = np.full((len(bins), len(bins[0]), len(_TESTED)), np.nan)
    for i, row in enumerate(bins):
        for j, members in enumerate(row):
            here = values[members][np.isfinite(values[members])]
            if len(here) >= _MIN_STARS:
                out[i, j] = np.quantile(here, _TESTED)
    return out


def drawn_chemistry(
    of_stars: Replicates, thetas: Floats, source_id: NDArray, *, chains: int, seed: int
) -> dict[str, xr.Dataset]:
    """Return groups `posterior_predictive` and `observed_data`, as ArviZ has them.

    `thetas` are of the draws of each chain in turn.
    """
    rng = np.random.default_rng([seed, 3])
    drawn = np.stack([of_stars.draw(theta, rng) for theta in thetas]).astype(np.float32)
    drawn = drawn.reshape(chains, -1, *drawn.shape[1:])
    names = {"feh": "[Fe/H]", "alpha_fe": "[alpha/Fe]"}
    kept = [i for i in (0, 1) if np.isfinite(of_stars.chemistry[:, i]).any()]

    def group(values: NDArray, *dims: str) -> xr.Dataset:
        columns = {
            name: ((*dims, "observation"), values[..., i], {"units": "dex", "long_name": words})
            for i, (name, words) in enumerate(names.items())
            if i in kept
        }
        coords = {dim: np.arange(n) for dim, n in zip(dims, values.shape, strict=False)}
        return xr.Dataset(columns, coords).assign_coords(
            source_id=("observation", source_id[of_stars.index])
        )

    return {
        "posterior_predictive": group(drawn, "chain", "draw"),
        "observed_data": group(of_stars.chemistry),
    }


def posterior_predictive(
    data: PopulationData,
    thetas: Floats,
    *,
    stars: int,
    seed: int,
    completeness: Completeness | None = None,
) -> xr.Dataset:
    """Compare the stars with replicates; see `PopulationModel.predictive`."""
    of_stars = Replicates(data, stars=stars, seed=seed, completeness=completeness)
    radius, age = of_stars.stars.radius, of_stars.age
    inner = np.quantile(radius, [1 / 3, 2 / 3])
    thirds = [(radius >= lo) & (radius < hi) for lo, hi in pairwise([-np.inf, *inner, np.inf])]
    in_age = [(age >= lo) & (age < hi) for lo, hi in pairwise(AGE_EDGES)]
    bins = [[np.flatnonzero(row & third) for third in thirds] for row in in_age]
    observed = np.stack([_quantiles(one, bins) for one in of_stars.chemistry.T])
    rng = np.random.default_rng([seed, 1])
    replicated = np.empty((len(thetas), *observed.shape))
    for s, theta in enumerate(thetas):
        replicated[s] = [_quantiles(one, bins) for one in of_stars.draw(theta, rng).T]
    low, middle, high = np.quantile(replicated, [0.025, 0.5, 0.975], axis=0)
    beyond = (replicated > observed).mean(axis=0) + 0.5 * (replicated == observed).mean(axis=0)
    beyond[~np.isfinite(observed)] = np.nan
    dims = ("observable", "age_bin", "radius_bin", "quantile")
    count = [list(map(len, row)) for row in bins]
    ends = np.array([radius.min(), *inner, radius.max()])
    dex = {"units": "dex"}
    return xr.Dataset(
        {
            "data": (dims, observed, dex | {"long_name": "quantile of the stars"}),
            "replicated": (dims, middle, dex | {"long_name": "median over the replicates"}),
            "replicated_lo": (dims, low, dex | {"long_name": "2.5% of the replicates"}),
            "replicated_hi": (dims, high, dex | {"long_name": "97.5% of the replicates"}),
            "tail_probability": (dims, beyond, {"units": "", "long_name": "P(replicated > data)"}),
            "n_stars": (("age_bin", "radius_bin"), count, {"units": ""}),
        },
        coords={
            "observable": ["feh", "alpha_fe"],
            "quantile": ("quantile", list(_TESTED), {"units": ""}),
            "age_lo": ("age_bin", list(AGE_EDGES[:-1]), {"units": "Gyr"}),
            "age_hi": ("age_bin", list(AGE_EDGES[1:]), {"units": "Gyr"}),
            "radius_lo": ("radius_bin", ends[:-1], {"units": "kpc"}),
            "radius_hi": ("radius_bin", ends[1:], {"units": "kpc"}),
        },
        attrs={"draws": len(thetas), "stars": len(of_stars.index)},
    )  # fmt: skip
