r"""Are the posteriors calibrated? Stars are drawn from the prior, observed, and aged.

The inference assumes, over the grid's own range, ages, [Fe/H] and [α/Fe] equally likely a priori
and masses born in the numbers of Kroupa (2001):

.. math:: p(\tau, f, a, \mu) \propto \xi(\mu) \quad\text{on the isochrones that there are.}

`draw_prior_stars` draws from exactly this: age and composition uniformly, then a star on the
isochrone, kept with a probability proportional to the number of stars born in the box that is
drawn from. Gaussian errors are added, and only then are stars selected, *by observed values*: a
selection on data leaves a posterior what it is, one on true values does not. The box reaches seven
errors beyond the selection, so that it has no effect.

For such stars the posterior probability below the true age (PIT) is uniform, and a credible
interval of 68% holds the truth 68% of the time, in every region of the observed diagram and at
every *estimated* age. At given *true* age it need not: a Bayesian interval is right on average over
the prior. The 0.61 interval of the likelihood is no credible interval; its coverage is given too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import SPECTRAL
from migrate_bayes.checks.ages.choices import estimate
from migrate_bayes.checks.ages.recipe import CalibrationOptions
from migrate_bayes.checks.ages.samples import observed_catalog
from migrate_bayes.checks.ages.statistics import coverage, spread
from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones import AgeOptions, age_cdf, age_quantiles, draw_stars, load_source
from migrate_bayes.isochrones.binaries import LEAST_RATIO, as_pairs, mass_ratios
from migrate_bayes.isochrones.grid import WorkingGrid, build_grid, salaris
from migrate_bayes.isochrones.observed import correlation_matrix

#: Draws [Fe/H] and [α/Fe] of so many stars.
Composition = Callable[[np.random.Generator, int], tuple[NDArray, NDArray]]
Range = tuple[float, float]
Limits = tuple[Range, Range, Range]  # of ages in Gyr, observed [Fe/H], [α/Fe]

#: Gyr: bins of true and of estimated age.
AGE_EDGES = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.6)
_TEFF, _MAX_ABS_G = (4300.0, 7500.0), 6.5  # every region, observed
_BATCH = 16_000
_MARGIN = 7.0  # errors
_RATIOS = 12  # classes of mass ratio that pairs are drawn from


class Region(NamedTuple):
    """A part of the observed Kiel diagram, by limits of log g and T_eff (K)."""

    name: str
    logg: Range
    teff: Range = _TEFF


#: A star counts in the first that it is in; each is within 4300-7500 K and M_G < 6.5.
REGIONS = (
    Region("main sequence", (4.25, 5.5)),
    Region("subgiant", (3.4, 4.0), (_TEFF[0], 5800.0)),
    Region("turn-off", (3.4, 4.25)),
    Region("giant", (1.0, 3.4)),
)


def region_of(teff: NDArray, logg: NDArray, abs_g: NDArray) -> NDArray[np.int64]:
    """Return the index into `REGIONS` by observed values; −1 for a star in none."""
    out = np.full(len(teff), -1)
    seen = (abs_g < _MAX_ABS_G) & (teff > _TEFF[0]) & (teff < _TEFF[1])
    for k, region in reversed(list(enumerate(REGIONS))):
        inside = seen & (logg >= region.logg[0]) & (logg < region.logg[1])
        out[inside & (teff >= region.teff[0]) & (teff < region.teff[1])] = k
    return out


def disc_composition(rng: np.random.Generator, n: int) -> tuple[NDArray, NDArray]:
    """Draw [Fe/H] ~ N(−0.15, 0.25) within −1.2…+0.4, and [α/Fe] = 0.06 − 0.15 [Fe/H] ± 0.05."""
    feh = np.clip(rng.normal(-0.15, 0.25, n), -1.2, 0.4)
    return feh, np.clip(0.06 - 0.15 * feh + rng.normal(0.0, 0.05, n), -0.15, 0.5)


def draw_prior_stars(
    options: AgeOptions,
    errors: CalibrationOptions,
    *,
    seed: int,
    like: str | None = None,
    composition: Composition | None = None,
) -> xr.Dataset:
    """Draw stars from the prior, observe them with `errors`, and select as many in each region.

    They are on the family `options.source` with [Fe/H] on its `feh_scale`, ages and [Fe/H] within
    the range of the family `like` too; `composition` draws a likely disc in place of the prior. The
    share `options.binaries` of them are unresolved pairs.
    The catalogue has ``true_age`` Gyr, ``true_feh``, ``true_alpha_fe`` and ``region`` beside it.
    """
    source, scale = options.source, options.feh_scale
    grid = build_grid(source, feh_scale=scale)
    limits = _limits(source, grid, scale)
    if like is not None:
        other = _limits(like, build_grid(like, feh_scale=scale), scale)
        common = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(limits, other, strict=True)]
        limits = common[0], common[1], limits[2]
    sd = {
        "teff": errors.teff_error, "logg": errors.logg_error, "feh": errors.feh_error,
        "alpha_fe": errors.alpha_error,
        "abs_g": float(np.hypot(errors.abs_g_error, options.photometric_floor)),
    }  # fmt: skip
    kinds = _kinds(grid, options.binaries.share)
    mix = np.linalg.cholesky(correlation_matrix(*errors.correlations))
    streams = np.random.SeedSequence(seed).spawn(len(REGIONS))
    each = -(-errors.stars // len(REGIONS))
    parts = [
        _region_stars(k, kinds, limits, sd, mix, composition, np.random.default_rng(stream), each)
        for k, stream in enumerate(streams)
    ]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    # The inference adds the floor itself.
    stated = {f"{name}_error": e for name, e in {**sd, "abs_g": errors.abs_g_error}.items()}
    names = (f"{first}_{second}_corr" for first, second in combinations(SPECTRAL, 2))
    if any(errors.correlations):
        stated |= dict(zip(names, errors.correlations, strict=True))
    catalog = observed_catalog({**{name: whole[name] for name in sd}, **stated})
    units = {"true_age": "Gyr", "true_feh": "dex", "true_alpha_fe": "dex", "region": ""}
    for name, unit in units.items():
        catalog[name] = ("star", whole[name], {"units": unit, "long_name": name.replace("_", " ")})
    catalog["region"].attrs["regions"] = ", ".join(r.name for r in REGIONS)
    return catalog


def _kinds(grid: WorkingGrid, share: float) -> list[tuple[float, WorkingGrid]]:
    """Return single stars and pairs by mass ratio, finer than the likelihood has them: shares."""
    if not share:
        return [(1.0, grid)]
    seen = share * (1.0 - LEAST_RATIO)
    pairs = ((seen / _RATIOS, as_pairs(grid, ratio)) for ratio in mass_ratios(_RATIOS))
    return [(1.0 - seen, grid), *pairs]


def _limits(name: str, grid: WorkingGrid, feh_scale: str) -> Limits:
    """Return what a family covers, dwarfs and giants."""
    source = load_source(name)
    shift = 0.0 if feh_scale == "initial" else source.solar_feh_initial
    low = source.feh[0] - (shift if feh_scale == "dwarf" else 0.0)
    # Without an [α/Fe] axis the inference takes what Salaris et al. (1993) let it.
    alpha = (source.alpha[0], source.alpha[-1]) if source.has_alpha else (-0.2, 0.8)
    return (grid.ages[0], grid.ages[-1]), (low, source.feh[-1] - shift), alpha


def _region_stars(
    index: int,
    kinds: list[tuple[float, WorkingGrid]],
    limits: Limits,
    sd: dict[str, float],
    mix: NDArray,
    composition: Composition | None,
    rng: np.random.Generator,
    count: int,
) -> dict[str, NDArray]:
    """Draw `count` stars whose observed values are in a region.

    Their errors are `sd`; `mix` is the Cholesky factor of correlations of the first three.
    """
    grid = kinds[0][1]
    region = REGIONS[index]
    margin = {name: _MARGIN * error for name, error in sd.items()}
    teff_range = (region.teff[0] - margin["teff"], region.teff[1] + margin["teff"])
    logg_range = (region.logg[0] - margin["logg"], region.logg[1] + margin["logg"])
    own = salaris(grid.alpha)
    found: list[dict[str, NDArray]] = []
    have, most = 0, 0.0
    while have < count:
        age, feh, alpha = (rng.uniform(*r, _BATCH) for r in limits)
        if composition is not None:
            feh, alpha = composition(rng, _BATCH)
        # Without an [α/Fe] axis the total metallicity has to be on the grid too.
        total = feh + salaris(alpha)
        on_grid = (total >= limits[1][0] + own.min()) & (total <= limits[1][1] + own.max())
        age, feh, alpha = age[on_grid], feh[on_grid], alpha[on_grid]
        uniforms = rng.random(len(age))
        kind = np.zeros(len(age), dtype=int)
        if len(kinds) > 1:
            kind = rng.choice(len(kinds), len(age), p=[share for share, _ in kinds])
        star: dict[str, NDArray] = {}
        for k, (_, isochrones) in enumerate(kinds):
            rows = np.flatnonzero(kind == k)
            drawn = draw_stars(
                isochrones, age[rows], feh[rows], alpha[rows], uniforms[rows],
                teff_range=teff_range, logg_range=logg_range,
                abs_g_max=_MAX_ABS_G + margin["abs_g"],
            )  # fmt: skip
            for name, values in drawn.items():
                star.setdefault(name, np.empty(len(age), dtype=values.dtype))[rows] = values
        born = np.where(star["ok"], star["probability"], 0.0)
        # The first batch sets the scale; the margin covers what it did not see.
        most = most or 1.5 * float(born.max())
        if most == 0.0:
            raise IsochroneError(
                f"no isochrone of {limits[0][0]:g}-{limits[0][1]:g} Gyr passes through the "
                f"region '{region.name}': widen the ages"
            )
        kept = rng.random(len(age)) < born / most
        true = {**{n: star[n] for n in ("teff", "logg", "abs_g")}, "feh": feh, "alpha_fe": alpha}
        noise = {n: rng.standard_normal(kept.sum()) for n in true}
        if np.any(mix != np.eye(3)):
            mixed = mix @ np.stack([noise[n] for n in SPECTRAL])
            noise |= dict(zip(SPECTRAL, mixed, strict=True))
        part = {n: v[kept] + sd[n] * noise[n] for n, v in true.items()}
        chosen = region_of(part["teff"], part["logg"], part["abs_g"]) == index
        part |= {"true_age": age[kept], "true_feh": feh[kept], "true_alpha_fe": alpha[kept]}
        found.append({name: v[chosen] for name, v in part.items()})
        have += int(chosen.sum())
    out = {name: np.concatenate([part[name] for part in found])[:count] for name in found[0]}
    return out | {"region": np.full(count, index)}


def calibrate(catalog: xr.Dataset, options: AgeOptions) -> xr.Dataset:
    """Infer the ages of drawn stars and place the truth in each posterior, as ``pit``.

    With the ends of the central 68 and 95% and of the 0.61 interval; NaN for a star without age.
    """
    ages = estimate(catalog, options)
    central = age_quantiles(ages, [0.025, 0.16, 0.84, 0.975]).values.T
    ends = dict(zip(("lo95", "lo68", "hi68", "hi95"), central, strict=True))
    ends |= {"lo61": ages["age_lo"].values, "hi61": ages["age_hi"].values}
    out = catalog[["true_age", "region"]].assign(pit=age_cdf(ages, catalog["true_age"].values))
    out = out.assign(ages[["age_median", "age_error"]])
    for name, v in ends.items():
        out[name] = ("star", v, {"units": "Gyr", "long_name": f"end {name} of an interval of age"})
    return out


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the truth, for the stars of the bin `label` of a `group`.

    Errors are binomial; offset and scatter are the median and robust scatter of (posterior median −
    truth) / truth.
    """

    label: str
    group: str
    stars: int
    coverage68: float
    coverage95: float
    coverage61: float
    error68: float
    error95: float
    median_relative_offset: float
    relative_scatter: float

    @property
    def by_region(self) -> bool:
        """Whether the stars are those of a region, or all."""
        return self.group in ("all", "region")


def coverage_table(result: xr.Dataset) -> list[Coverage]:
    """Count coverage in the result of `calibrate`: in all, by region, by true and estimated age."""
    region, true = result["region"].values, result["true_age"].values
    groups = [("all", "all", np.ones(len(true), dtype=bool))]
    groups += [(r.name, "region", region == k) for k, r in enumerate(REGIONS)]
    for group, x in (("true age", true), ("estimated age", result["age_median"].values)):
        for low, high in pairwise(AGE_EDGES):
            groups.append((f"{low:g}-{high:g} Gyr", group, (x >= low) & (x < high)))
    known = np.isfinite(result["pit"].values)
    rows = []
    for label, group, mask in groups:
        v = {str(name): x.values[mask & known] for name, x in result.data_vars.items()}
        true = v["true_age"]
        c68, c95, c61 = (coverage(true, v[f"lo{p}"], v[f"hi{p}"]) for p in (68, 95, 61))
        off = spread((v["age_median"] - true) / true)
        each = (c68[0], c95[0], c61[0], c68[1], c95[1], off.median, off.scatter)
        rows.append(Coverage(label, group, len(true), *each))
    return rows
