r"""Are the posteriors calibrated? Stars from the prior itself, observed, inferred, counted.

The inference assumes, over the grid's own range, ages, [Fe/H] and [α/Fe] equally likely a priori
and masses born in the numbers of Kroupa (2001):

.. math:: p(\tau, f, a, \mu) \propto \xi(\mu) \quad\text{on the isochrones that there are.}

`draw_prior_stars` draws from exactly this: age and composition uniformly, then a star on the
isochrone, kept with a probability proportional to the number of stars born in the box that is
drawn from (an isochrone with a longer part inside the box has more stars there). Gaussian errors
are added, and only then are stars selected, *by observed values*: a selection on data leaves a
posterior what it is, one on true values does not. The box reaches seven errors beyond the
selection, so that it does not show.

For such stars the posterior probability below the true age (PIT) is uniform, and a credible
interval of 68% holds the truth 68% of the time, in every region of the observed diagram and at
every *estimated* age. At given *true* age it need not: a Bayesian interval is right on average over
the prior. The 0.61 interval of the likelihood is no credible interval; its coverage is given too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.options import AgeOptions
from migrate_bayes.checks.ages.recipe import CalibrationSection
from migrate_bayes.checks.ages.sample import observed_catalog
from migrate_bayes.checks.ages.statistics import binomial_error, spread
from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones import (
    WorkingGrid,
    age_cdf,
    age_quantiles,
    build_grid,
    draw_stars,
    load_source,
    salaris,
)

#: Draws [Fe/H] and [α/Fe] of so many stars.
Composition = Callable[[np.random.Generator, int], tuple[NDArray, NDArray]]

__all__ = [
    "AGE_EDGES",
    "REGIONS",
    "Region",
    "calibrate",
    "coverage_table",
    "draw_prior_stars",
    "region_of",
]

#: Gyr: bins of true and of estimated age.
AGE_EDGES = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.6)
_TEFF, _MAX_ABS_G = (4300.0, 7500.0), 6.5  # every region, observed
_BATCH = 16_000


@dataclass(frozen=True)
class Region:
    """A part of the observed Kiel diagram.

    Parameters
    ----------
    name : str
    logg : tuple
        Limits of the observed log g.
    teff : tuple
        Limits of the observed T_eff, K.
    """

    name: str
    logg: tuple[float, float]
    teff: tuple[float, float] = _TEFF


#: In this order the first that a star is in counts; each within 4300-7500 K and M_G < 6.5.
REGIONS = (
    Region("main sequence", (4.25, 5.5)),
    Region("subgiant", (3.4, 4.0), (_TEFF[0], 5800.0)),
    Region("turn-off", (3.4, 4.25)),
    Region("giant", (1.0, 3.4)),
)


def region_of(teff: NDArray, logg: NDArray, abs_g: NDArray) -> NDArray[np.int64]:
    """Return the index into `REGIONS` by observed values; −1 where a star is in none."""
    out = np.full(len(teff), -1)
    seen = (abs_g < _MAX_ABS_G) & (teff > _TEFF[0]) & (teff < _TEFF[1])
    for k, region in reversed(list(enumerate(REGIONS))):
        inside = seen & (logg >= region.logg[0]) & (logg < region.logg[1])
        out[inside & (teff >= region.teff[0]) & (teff < region.teff[1])] = k
    return out


def draw_prior_stars(
    source: str,
    errors: CalibrationSection,
    *,
    seed: int,
    photometric_floor: float = 0.02,
    like: str | None = None,
    composition: Composition | None = None,
    feh_scale: Literal["surface", "dwarf", "initial"] = "surface",
) -> xr.Dataset:
    """Draw stars from the prior, observe them, and select as many in each region.

    Parameters
    ----------
    source : str
        Family that the stars are on, see `load_source`.
    errors : CalibrationSection
        How many stars, and their errors.
    seed : int
        Of the random numbers.
    photometric_floor : float
        Added in quadrature to the error of M_G, as the inference does.
    like : str, optional
        Another family: ages and [Fe/H] are drawn from the range that both have.
    composition : callable, optional
        ``(rng, n)`` to [Fe/H] and [α/Fe] of n stars, in place of the uniform ones: stars of a
        likely disc rather than of the prior.
    feh_scale : {"surface", "dwarf", "initial"}
        Whose [Fe/H] is observed, see `build_grid`.

    Returns
    -------
    xarray.Dataset
        A catalogue (observed values and errors) with the truth beside it: ``true_age`` Gyr,
        ``true_feh``, ``true_alpha_fe``, ``region``.
    """
    grid = build_grid(source, feh_scale=feh_scale)
    ages, fehs, alphas = _limits(source, grid, feh_scale)
    if like is not None:
        limits = _limits(like, build_grid(like, feh_scale=feh_scale), feh_scale)
        ages, fehs = (
            (max(a[0], b[0]), min(a[1], b[1]))
            for a, b in zip((ages, fehs), limits[:2], strict=True)
        )
    streams = np.random.SeedSequence(seed).spawn(len(REGIONS))
    each = -(-errors.stars // len(REGIONS))
    parts = [
        _region_stars(
            k, grid, ages, fehs, alphas, errors, photometric_floor, composition,
            np.random.default_rng(stream), each,
        )
        for k, stream in enumerate(streams)
    ]  # fmt: skip
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    truth = {name: whole.pop(name) for name in ("true_age", "true_feh", "true_alpha_fe", "region")}
    catalog = observed_catalog(whole)
    for name, unit in (("true_age", "Gyr"), ("true_feh", "dex"), ("true_alpha_fe", "dex")):
        catalog[name] = ("star", truth[name], {"units": unit, "long_name": name.replace("_", " ")})
    catalog["region"] = ("star", truth["region"], {"units": "", "long_name": "region"})
    catalog["region"].attrs["regions"] = ", ".join(r.name for r in REGIONS)
    return catalog


def _limits(
    name: str, grid: WorkingGrid, feh_scale: str
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Return the ages, observed [Fe/H] and [α/Fe] that a family covers, dwarfs and giants."""
    source = load_source(name)
    shift = 0.0 if feh_scale == "initial" else source.solar_feh_initial
    low = source.feh[0] - (shift if feh_scale == "dwarf" else 0.0)
    # Without an [α/Fe] axis the inference takes what Salaris et al. (1993) let it.
    alphas = (source.alpha[0], source.alpha[-1]) if source.has_alpha else (-0.2, 0.8)
    return (grid.ages[0], grid.ages[-1]), (low, source.feh[-1] - shift), alphas


def _region_stars(
    index: int,
    grid: WorkingGrid,
    ages: tuple[float, float],
    fehs: tuple[float, float],
    alphas: tuple[float, float],
    errors: CalibrationSection,
    floor: float,
    composition: Composition | None,
    rng: np.random.Generator,
    count: int,
) -> dict[str, NDArray]:
    region = REGIONS[index]
    sd = {
        "teff": errors.teff_error,
        "logg": errors.logg_error,
        "feh": errors.feh_error,
        "alpha_fe": errors.alpha_error,
        "abs_g": float(np.hypot(errors.abs_g_error, floor)),
    }
    margin = 7.0
    teff_range = (region.teff[0] - margin * sd["teff"], region.teff[1] + margin * sd["teff"])
    logg_range = (region.logg[0] - margin * sd["logg"], region.logg[1] + margin * sd["logg"])
    found: list[dict[str, NDArray]] = []
    have, most = 0, 0.0
    while have < count:
        age, feh, alpha = (rng.uniform(*r, _BATCH) for r in (ages, fehs, alphas))
        if composition is not None:
            feh, alpha = composition(rng, _BATCH)
        # Without an [α/Fe] axis the total metallicity has to be on the grid too.
        total, own = feh + salaris(alpha), salaris(grid.alpha)
        on_grid = (total >= fehs[0] + own.min()) & (total <= fehs[1] + own.max())
        age, feh, alpha = age[on_grid], feh[on_grid], alpha[on_grid]
        star = draw_stars(
            grid, age, feh, alpha, rng.random(len(age)), teff_range=teff_range,
            logg_range=logg_range, abs_g_max=_MAX_ABS_G + margin * sd["abs_g"],
        )  # fmt: skip
        born = np.where(star["ok"], star["probability"], 0.0)
        # The first batch sets the scale; the margin covers what it did not see.
        most = most or 1.5 * float(born.max())
        if most == 0.0:
            raise IsochroneError(
                f"no isochrone of {ages[0]:g}-{ages[1]:g} Gyr passes through the region "
                f"'{region.name}': widen the ages"
            )
        kept = rng.random(len(age)) < born / most
        true = {"teff": star["teff"], "logg": star["logg"], "abs_g": star["abs_g"]}
        true |= {"feh": feh, "alpha_fe": alpha}
        seen = {
            name: v[kept] + sd[name] * rng.standard_normal(kept.sum()) for name, v in true.items()
        }
        chosen = region_of(seen["teff"], seen["logg"], seen["abs_g"]) == index
        part = {name: v[chosen] for name, v in seen.items()}
        part |= {
            "true_age": age[kept][chosen],
            "true_feh": feh[kept][chosen],
            "true_alpha_fe": alpha[kept][chosen],
        }
        found.append(part)
        have += int(chosen.sum())
    out = {name: np.concatenate([part[name] for part in found])[:count] for name in found[0]}
    for name in sd:
        # The floor is the inference's to add.
        out[f"{name}_error"] = np.full(count, errors.abs_g_error if name == "abs_g" else sd[name])
    out["region"] = np.full(count, index)
    return out


def calibrate(catalog: xr.Dataset, options: AgeOptions) -> xr.Dataset:
    """Infer the ages of drawn stars and place the truth in each posterior.

    Returns
    -------
    xarray.Dataset
        On ``star``: ``true_age``, ``age_median``, ``pit``, the ends of the central 68 and 95%
        intervals and of the 0.61 interval, ``age_error``, ``region``; NaN where a star has no age.
    """
    ages = options.estimate(catalog)
    q = age_quantiles(ages, [0.025, 0.16, 0.5, 0.84, 0.975]).values
    true = catalog["true_age"]
    out = xr.Dataset(
        {
            "true_age": true,
            "region": catalog["region"],
            "pit": age_cdf(ages, true.values),
            "age_median": ages["age_median"],
            "age_error": ages["age_error"],
        }
    )
    columns = {
        "lo95": q[:, 0], "lo68": q[:, 1], "hi68": q[:, 3], "hi95": q[:, 4],
        "lo61": ages["age_lo"].values, "hi61": ages["age_hi"].values,
    }  # fmt: skip
    return out.assign({
        name: ("star", v, {"units": "Gyr", "long_name": f"end {name} of an interval of age"})
        for name, v in columns.items()
    })  # fmt: skip


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the truth, for some of the stars.

    Parameters
    ----------
    label, group : str
        Which stars.
    stars : int
    coverage68, coverage95, coverage61 : float
        Fractions; of the central 68 and 95% credible intervals, and of the 0.61 interval.
    error68, error95 : float
        Binomial standard errors.
    offset, scatter : float
        Median and robust scatter of (posterior median − truth) / truth.
    """

    label: str
    group: str
    stars: int
    coverage68: float
    coverage95: float
    coverage61: float
    error68: float
    error95: float
    offset: float
    scatter: float


def coverage_table(result: xr.Dataset) -> list[Coverage]:
    """Count the coverage of all stars, by region, by true and by estimated age."""
    region, true = result["region"].values, result["true_age"].values
    guess = result["age_median"].values
    rows = [_cover(result, np.ones(len(true), dtype=bool), "all", "all")]
    for k, r in enumerate(REGIONS):
        rows.append(_cover(result, region == k, r.name, "region"))
    for group, x in (("true age", true), ("estimated age", guess)):
        for low, high in pairwise(AGE_EDGES):
            mask = (x >= low) & (x < high)
            rows.append(_cover(result, mask, f"{low:g}-{high:g} Gyr", group))
    return rows


def _cover(result: xr.Dataset, mask: NDArray, label: str, group: str) -> Coverage:
    good = mask & np.isfinite(result["pit"].values)
    true = result["true_age"].values[good]

    def inside(low: str, high: str) -> float:
        if not good.any():
            return np.nan
        return float(np.mean(
            (result[low].values[good] <= true) & (true <= result[high].values[good])
        ))  # fmt: skip

    n = int(good.sum())
    c68, c95, c61 = inside("lo68", "hi68"), inside("lo95", "hi95"), inside("lo61", "hi61")
    off = spread((result["age_median"].values[good] - true) / true)
    return Coverage(
        label, group, n, c68, c95, c61, binomial_error(c68, n), binomial_error(c95, n),
        off.median, off.scatter,
    )  # fmt: skip
