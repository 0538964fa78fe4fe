r"""After the fit: which disc a star belongs to, and its age under the population.

No per-star parameter is sampled. With the posterior draws of the hyperparameters θ_s,

.. math:: P(c, k \mid \mathrm{star}\ i) = \frac1S \sum_s P(c, k \mid \mathrm{star}\ i, θ_s)

exactly; from it follow the membership of each component, summed over ages, and the age posterior,
summed over components. A run of a few thousand stars is done at a time, all draws of it before the
next, so memory does not grow with draws × stars; `write_membership` streams all of it to file.
Under the form ``diffusion`` birth radii are added (`population.results.birth_radii`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.io import temporary_name
from migrate_bayes.core.parallel import BLOCKS_PER_TASK, map_blocks
from migrate_bayes.core.progress import progress
from migrate_bayes.population.data import PopulationData
from migrate_bayes.population.likelihood.layout import PackedStars, run_of_blocks, unpack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.results import birth_radii
from migrate_bayes.population.results.birth_radii import Birth
from migrate_bayes.stars import PART_SIZE, StarWriter

Floats = NDArray[np.float64]

_QUANTILES = {"age_population_lo": 0.16, "age_population_median": 0.5, "age_population_hi": 0.84}


def age_intervals(ages: Floats, probability: NDArray[np.floating], quantiles: Floats) -> Floats:
    """Return quantiles, shape (q, n), of ages with probabilities (n, n_ages) of the nodes.

    Each node's probability is spread evenly over its cell; cells end halfway between nodes, and at
    the first and last node.
    """
    middle = 0.5 * (ages[:-1] + ages[1:])
    edges = np.concatenate([ages[:1], middle, ages[-1:]])
    below = np.concatenate([np.zeros((len(probability), 1)), np.cumsum(probability, axis=1)], 1)
    below /= below[:, -1:]
    out = np.empty((len(quantiles), len(probability)))
    rows = np.arange(len(probability))
    for j, q in enumerate(quantiles):
        cell = np.minimum((below[:, 1:] < q).sum(axis=1), len(ages) - 1)
        inside = below[rows, cell + 1] - below[rows, cell]
        part = np.where(inside > 0, (q - below[rows, cell]) / np.where(inside > 0, inside, 1), 0.0)
        out[j] = edges[cell] + np.clip(part, 0, 1) * (edges[cell + 1] - edges[cell])
    return out


def _means(
    packed: PackedStars, thetas: Floats, births: Sequence[Birth], start: int, stop: int
) -> tuple[NDArray[np.int64], Floats, Floats, Floats, dict[str, Floats]]:
    """Numbers, P(component) (n_comp, n), its variance, P(age) (n_ages, n) of the stars of a run.

    If `births` are given, their birth radii too.
    """
    part, index = run_of_blocks(packed, start, stop)
    likelihood = StarLikelihood(part, workers=1)
    n_comp, n_ages = thetas.shape[1:3]
    of_component = np.repeat(np.eye(n_comp)[:, :, None], n_ages, axis=2)
    of_age = np.repeat(np.eye(n_ages)[:, None], n_comp, axis=1)
    of_thin = of_age * np.eye(n_comp)[0][:, None] if births else of_age[:0]
    wanted = np.concatenate([of_component, of_age, of_thin])
    plain = unpack(part, np.arange(len(index))) if births else None
    born = np.zeros((5, len(index)))
    first = np.zeros((len(wanted), len(index)))
    squares = np.zeros((n_comp, len(index)))
    for j, theta in enumerate(thetas):
        _, value = likelihood.per_star(theta, wanted)
        # Welford (1962): the variance of a probability near 0 or 1 is lost in a mean of squares.
        off = value - first
        first += off / (j + 1)
        squares += off[:n_comp] * (value[:n_comp] - first[:n_comp])
        if plain is not None:
            weight = value[n_comp + n_ages :].T
            mean, variance, moved, other = birth_radii.moments(plain, theta, births[j])
            every = np.ones_like(mean), mean, variance + mean**2, moved, other + moved**2
            born += [(weight * values).sum(axis=1) for values in every]
    age = first[n_comp : n_comp + n_ages]
    return index, first[:n_comp], squares / len(thetas), age, _birth_summaries(born)


def _birth_summaries(sums: Floats) -> dict[str, Floats]:
    """Return what is kept of birth radii, from sums of weight and of both radii and squares."""
    if not sums[0].any():
        return {}
    with np.errstate(invalid="ignore"):
        born, born2, moved, moved2 = sums[1:] / sums[0]  # NaN: no star of the thin disc
        sds = (np.sqrt(np.maximum(v - m**2, 0.0)) for m, v in ((born, born2), (moved, moved2)))
    return dict(zip(birth_radii.WORDS, (born, next(sds), moved, next(sds)), strict=True))


def _summaries(
    ages: Floats, components: Sequence[str], first: Floats, variance: Floats, age: Floats
) -> dict[str, Floats]:
    """What is kept of each star."""
    out = {f"p_{name}": np.minimum(first[c], 1.0) for c, name in enumerate(components)}
    out["p_thin_sd"] = np.sqrt(variance[0])
    mean = ages @ age
    # About the mean: no cancellation if the age is known well.
    out["age_population"] = mean
    out["age_population_sd"] = np.sqrt(((ages[:, None] - mean) ** 2 * age).sum(axis=0))
    found = age_intervals(ages, age.T, np.array(list(_QUANTILES.values())))
    return out | dict(zip(_QUANTILES, found, strict=True))


_WORDS = {
    "p_thin": "P(thin disc | star), averaged over the hyperparameters",
    "p_thick": "P(thick disc | star), averaged over the hyperparameters",
    "p_outlier": "P(outlier | star), averaged over the hyperparameters",
    "p_thin_sd": "spread of P(thin disc | star) over the hyperparameters",
    "age_population": "posterior mean age under the population",
    "age_population_sd": "posterior sd of age under the population",
    "age_population_lo": "16% quantile of age under the population",
    "age_population_median": "median age under the population",
    "age_population_hi": "84% quantile of age under the population",
    "age_posterior": "P(age node | star) under the population",
    **birth_radii.WORDS,
}


def _attrs(name: str) -> dict[str, str]:
    units = "kpc" if name in birth_radii.WORDS else "Gyr" if name.startswith("age_pop") else ""
    return {"units": units, "long_name": _WORDS[name]}


def membership(
    data: PopulationData,
    thetas: Floats,
    components: Sequence[str],
    *,
    births: Sequence[Birth] = (),
    workers: int | None = None,
    by_star: NDArray[np.float32] | None = None,
) -> xr.Dataset:
    """Summarise every star, given draws of θ; see `PopulationModel.membership`.

    Age posteriors go to `by_star`, shape (n_stars, n_ages), if given.
    """
    columns: dict[str, NDArray[np.float32]] = {}
    packed, step = data.stars, 16 * BLOCKS_PER_TASK  # blocks done at a time, in threads
    with progress(packed.n_stars, "membership") as advance:
        for begin in range(0, packed.n_blocks, step):
            for index, first, variance, age, born in map_blocks(
                lambda a, b, at=begin: _means(packed, thetas, births, at + a, at + b),  # type: ignore[misc]
                min(step, packed.n_blocks - begin), BLOCKS_PER_TASK, workers=workers,
            ):  # fmt: skip
                advance(len(index))
                if by_star is not None:
                    by_star[index] = age.T
                found = _summaries(data.ages, components, first, variance, age) | born
                for name, values in found.items():
                    column = columns.setdefault(name, np.full(data.n_stars, np.nan, np.float32))
                    column[index] = values
    return xr.Dataset(
        {name: ("star", values, _attrs(name)) for name, values in columns.items()},
        coords={"source_id": ("star", data.source_id)},
        attrs={"hyperparameter_draws": len(thetas)},
    )


def write_membership(
    path: str | Path,
    data: PopulationData,
    thetas: Floats,
    components: Sequence[str],
    *,
    births: Sequence[Birth] = (),
    workers: int | None = None,
    part_size: int = PART_SIZE,
    overwrite: bool = False,
    attrs: dict[str, Any] | None = None,
) -> xr.Dataset:
    """Stream memberships and age posteriors to file; see `PopulationModel.write_membership`.

    The stars are computed in the order of their ages and written in that of the catalogue: a
    scratch file beside the product, and not memory, holds them in between.
    """
    path = Path(path)
    with StarWriter(path, overwrite=overwrite, part_size=part_size) as out:
        scratch = temporary_name(path)
        scratch.mkdir()
        try:
            shape, ages = (data.n_stars, len(data.ages)), ("age", data.ages, {"units": "Gyr"})
            by_star = np.memmap(scratch / "ages.f4", dtype=np.float32, mode="w+", shape=shape)
            summary = membership(
                data, thetas, components, births=births, workers=workers, by_star=by_star
            )
            summary.attrs.update(attrs or {})
            for start in range(0, data.n_stars, part_size):
                rows = slice(start, start + part_size)
                values = ("star", "age"), np.array(by_star[rows]), _attrs("age_posterior")
                part = summary.isel(star=rows).assign_coords(age=ages)
                out.append(part.assign(age_posterior=values))
            del by_star
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return summary
