"""Isochrone ages of a catalogue: the likelihood of every age node, and its summaries.

`estimate_ages` is the room's product. What it computes per star and age is in `kernel` (method
``fine``) and `paper_kernel` (method ``paper``); how the isochrones are laid out is in `grid`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from migrate_bayes.core.errors import IsochroneError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.progress import progress
from migrate_bayes.isochrones.grid import WorkingGrid, build_grid
from migrate_bayes.isochrones.kernel import likelihood as kernel
from migrate_bayes.isochrones.kernel import paper as paper_kernel
from migrate_bayes.isochrones.observables import OBSERVABLES, Observed, prepare
from migrate_bayes.isochrones.sources.base import IsochroneSource
from migrate_bayes.isochrones.summary import summarise

__all__ = ["AGE_PRIORS", "LOG_FLOOR", "estimate_ages"]

AGE_PRIORS = ("flat", "log-flat")
#: ln of the least likelihood, relative to the star's peak, that an age node is given (1.5e-8): the
#: kernel looks no deeper, so that all that is below is as good as zero and equal.
LOG_FLOOR = -0.5 * kernel.CUT
_STARS_PER_BLOCK = 256
_IMPROBABLE = 1e-4  # chance of a worse χ² below which a fit is called poor


def estimate_ages(
    catalog: xr.Dataset,
    *,
    source: str | IsochroneSource = "dartmouth",
    method: Literal["fine", "paper"] = "fine",
    observables: Sequence[str] = OBSERVABLES[:5],
    photometric_floor: float = 0.02,
    age_prior: Literal["flat", "log-flat"] = "flat",
    feh_scale: Literal["surface", "dwarf", "initial"] = "surface",
    ages: ArrayLike | None = None,
    workers: int | None = None,
    show_progress: bool = True,
) -> xr.Dataset:
    """Estimate ages from isochrones.

    Parameters
    ----------
    catalog : xarray.Dataset
        Canonical columns on dim ``star``: ``teff`` K, ``logg``, ``feh``, ``alpha_fe`` dex,
        ``abs_g``, ``bp_rp`` mag (dereddened) and their ``_error``; what a star lacks (NaN) is left
        out for that star. Without ``alpha_fe`` a star is taken to have [α/Fe] = 0 exactly.
    source : str or IsochroneSource
        What `load_source` takes, or its result.
    method : {"fine", "paper"}
        ``fine`` integrates mass, [Fe/H] and [α/Fe] over the interpolated grid; ``paper`` follows
        Vickers, Shen & Li (2021) node by node.
    observables : sequence of str
        Which columns to use.
    photometric_floor : float
        Added in quadrature to the errors of M_G and BP−RP, mag.
    age_prior : {"flat", "log-flat"}
        Prior on age (flat in age, or in log age) folded into ``log_age_likelihood`` and recorded in
        ``log_interim_prior``.
    feh_scale : {"surface", "dwarf", "initial"}
        Which [Fe/H] of the models the observed one is; see `build_grid`.
    ages : array-like, optional
        Age nodes, Gyr, instead of the method's.
    workers : int, optional
        Threads. The result does not depend on it.
    show_progress : bool
        Show a bar on a terminal.

    Returns
    -------
    xarray.Dataset
        On dims ``star``, ``age``: ``log_age_likelihood``, ``feh_mean``, ``feh_sd``,
        ``log_interim_prior``, ``age_ml``, ``age_median``, ``age_lo``, ``age_hi``, ``age_error``,
        ``chi2_min``, ``flag``. A star without an age (MISSING_PARAMETERS, BAD_ERROR, OFF_GRID) has
        a likelihood of 1 at every age, its own [Fe/H] and NaN summaries. Nodes are never below
        `LOG_FLOOR` of the star's peak.

    Raises
    ------
    CatalogError, IsochroneError
        Where a column, a source or an option is unknown or unusable.
    """
    if age_prior not in AGE_PRIORS:
        raise IsochroneError(f"unknown age_prior '{age_prior}': {suggest(age_prior, AGE_PRIORS)}")
    grid = build_grid(source, method=method, feh_scale=feh_scale, ages=ages)
    stars = prepare(catalog, grid, observables=observables, photometric_floor=photometric_floor)
    fatal = StarFlag.MISSING_PARAMETERS | StarFlag.BAD_ERROR | StarFlag.OFF_GRID
    able = np.flatnonzero(stars.flag & np.int32(fatal) == 0)
    # Like stars one after the other use the same part of the grid: it then stays in the cache.
    alike = (
        stars.values[able, 2],
        np.round(stars.alpha[able, 0], 1),
        np.round(stars.feh[able, 0], 1),
    )
    able = able[np.lexsort(alike)]
    n, n_age = len(stars.flag), len(grid.ages)
    like = np.zeros((n, n_age), dtype=np.float32)
    mean = np.repeat(stars.feh[:, :1], n_age, axis=1).astype(np.float32)
    sd = np.repeat(stars.feh[:, 1:], n_age, axis=1).astype(np.float32)
    summary, chi2 = np.full((n, 4), np.nan), np.full(n, np.nan)
    log_prior = np.zeros(n_age) if age_prior == "flat" else -np.log(grid.ages)
    run = _fine_runner(grid, stars) if method == "fine" else _paper_runner(grid, stars)

    def block(start: int, stop: int) -> None:
        rows = able[start:stop]
        log_like, f_mean, f_sd, least = run(rows)
        peak = log_like.max(axis=1)
        found = (least <= kernel.FAR) & np.isfinite(peak)
        chi2[rows] = np.where(np.isfinite(least), least, np.nan)
        rows, log_like = rows[found], log_like[found]
        log_like = np.maximum(log_like, peak[found, None] + LOG_FLOOR)
        five = np.empty((len(rows), 4))
        summarise(grid.ages, log_like, log_prior, method == "fine", five)
        summary[rows] = five
        like[rows] = log_like + stars.log_constant[rows, None] + log_prior
        mean[rows], sd[rows] = f_mean[found], f_sd[found]

    with progress(len(able), "ages") if show_progress else _silent() as advance:
        map_blocks(block, len(able), _STARS_PER_BLOCK, workers=workers, on_done=advance)

    flag = stars.flag.copy()
    lost = np.isnan(summary[able, 0])
    flag[able[lost]] |= np.int32(StarFlag.OFF_GRID)
    rows = able[~lost]
    top = np.argmax(like[rows] - log_prior, axis=1) if len(rows) else np.empty(0, dtype=int)
    flag[rows[top == 0]] |= np.int32(StarFlag.EDGE_YOUNG)
    flag[rows[top == n_age - 1]] |= np.int32(StarFlag.EDGE_OLD)
    # Age and mass are fitted, [Fe/H] and [α/Fe] are observables with free parameters of their own.
    freedom = np.maximum(stars.n_observed - 2 - 1 - (stars.raw_alpha[:, 1] > 0), 1)
    with np.errstate(invalid="ignore"):
        add_flag(flag, chi2 > stats.chi2.isf(_IMPROBABLE, freedom), StarFlag.POOR_FIT)
    flag[flag & np.int32(fatal) != 0] &= ~np.int32(StarFlag.POOR_FIT)
    return _dataset(catalog, grid, like, mean, sd, log_prior, summary, chi2, flag, age_prior)


def _silent() -> Any:
    from contextlib import nullcontext

    return nullcontext(lambda n: None)


@lru_cache(maxsize=4)
def _layout(grid: WorkingGrid) -> kernel.Layout:
    return kernel.lay_out(grid)


def _fine_runner(grid: WorkingGrid, stars: Observed) -> Any:
    layout = _layout(grid)
    values, inverse = stars.values.astype(np.float32), stars.inverse_error.astype(np.float32)

    def run(rows: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        shape = (len(rows), len(grid.ages))
        log_like, mean, sd = np.empty(shape), np.empty(shape), np.empty(shape)
        chi2 = np.empty(len(rows))
        kernel.age_likelihood(
            layout, values[rows], inverse[rows],
            *stars.feh[rows].T.copy(), *stars.alpha[rows].T.copy(), kernel.MAX_ALPHA_SD,
            log_like, mean, sd, chi2,
        )  # fmt: skip
        return log_like, mean, sd, chi2

    return run


def _paper_runner(grid: WorkingGrid, stars: Observed) -> Any:
    def run(rows: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        shape = (len(rows), len(grid.ages))
        log_like, mean, sd = np.empty(shape), np.empty(shape), np.empty(shape)
        chi2 = np.empty(len(rows))
        paper_kernel.age_likelihood_by_nodes(
            grid.points, grid.metallicity, grid.alpha,
            stars.values[rows], stars.inverse_error[rows],
            stars.feh[rows], stars.raw_alpha[rows],
            log_like, mean, sd, chi2,
        )  # fmt: skip
        return log_like, mean, sd, chi2

    return run


def _dataset(
    catalog: xr.Dataset,
    grid: WorkingGrid,
    like: NDArray,
    mean: NDArray,
    sd: NDArray,
    log_prior: NDArray,
    summary: NDArray,
    chi2: NDArray,
    flag: NDArray,
    age_prior: str,
) -> xr.Dataset:
    def attrs(units: str, long_name: str) -> dict[str, str]:
        return {"units": units, "long_name": long_name}

    ml, median, low, high = summary.T
    both = ("star", "age")
    dataset = xr.Dataset(
        {
            "log_age_likelihood": (both, like, attrs("", "ln likelihood times interim prior")),
            "feh_mean": (both, mean, attrs("dex", "mean [Fe/H] at this age, flat [Fe/H] prior")),
            "feh_sd": (both, sd, attrs("dex", "standard deviation of [Fe/H] at this age")),
            "log_interim_prior": ("age", log_prior, attrs("", f"ln age prior, {age_prior}")),
            "age_ml": ("star", ml, attrs("Gyr", "age of greatest likelihood")),
            "age_median": ("star", median, attrs("Gyr", "posterior median age")),
            "age_lo": ("star", low, attrs("Gyr", "lower end of the 0.61 interval")),
            "age_hi": ("star", high, attrs("Gyr", "upper end of the 0.61 interval")),
            "age_error": (
                "star",
                (high - low) / (2.0 * ml),
                attrs("", "half-width of the 0.61 interval over age_ml"),
            ),
            "chi2_min": ("star", chi2, attrs("", "least chi-square")),
            "flag": ("star", flag, attrs("", "reasons, see StarFlag")),
        },
        coords={"age": ("age", grid.ages, attrs("Gyr", "age"))},
        attrs={**grid.attrs, "age_prior": age_prior},
    )
    if "source_id" in catalog.coords:
        dataset = dataset.assign_coords(source_id=catalog["source_id"])
    return dataset
