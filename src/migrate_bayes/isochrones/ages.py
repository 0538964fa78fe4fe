"""Isochrone ages of a catalogue: the likelihood of every age node, and its summaries.

The likelihood of one star is computed in `kernel.likelihood` (method ``fine``) or `kernel.paper`
(``paper``); `grid` says what the isochrones are between their nodes.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from migrate_bayes.core.flags import StarFlag, add_flag
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.progress import progress
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.isochrones.grid import build_grid
from migrate_bayes.isochrones.intervals import summarise
from migrate_bayes.isochrones.kernel.blocks import CUT, FAR
from migrate_bayes.isochrones.kernel.grid_layout import lay_out
from migrate_bayes.isochrones.kernel.likelihood import AgeLikelihood, age_likelihood
from migrate_bayes.isochrones.kernel.paper import age_likelihood_by_nodes
from migrate_bayes.isochrones.observables import observe
from migrate_bayes.isochrones.sources.base import IsochroneSource

#: ln of the least likelihood, relative to the star's peak, that an age node is given (1.5e-8): the
#: kernel looks no deeper, so everything below is set to this floor.
LOG_FLOOR = -0.5 * CUT
_STARS_PER_BLOCK = 256
_IMPROBABLE = 1e-4  # chance of a worse χ² below which a fit is called poor
_NO_AGE = np.int32(StarFlag.MISSING_PARAMETERS | StarFlag.BAD_ERROR | StarFlag.OFF_GRID)


def estimate_ages(
    catalog: xr.Dataset,
    options: AgeOptions | None = None,
    *,
    workers: int | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> xr.Dataset:
    """Estimate ages from isochrones.

    Parameters
    ----------
    catalog : xarray.Dataset
        Canonical columns on dim ``star``: ``teff`` K, ``logg``, ``feh``, ``alpha_fe`` dex,
        ``abs_g``, ``bp_rp`` mag (dereddened) and their ``_error``. An observable that a star lacks
        (NaN) is left out for that star; without ``alpha_fe`` a star has [α/Fe] = 0 exactly.
    options : AgeOptions, optional
        Source, method, observables, prior, scale of [Fe/H] and age nodes.
    workers : int, optional
        Threads. The result does not depend on it.
    show_progress : bool
        Show a bar on a terminal.
    **settings
        Entries of `AgeOptions` by name; they override `options`. ``source`` may be an
        `IsochroneSource` too.

    Returns
    -------
    xarray.Dataset
        On dims ``star``, ``age``: ``log_age_likelihood``, ``feh_mean``, ``feh_sd``,
        ``log_interim_prior``, ``age_ml``, ``age_median``, ``age_lo``, ``age_hi``, ``age_error``,
        ``chi2_min``, ``flag``. A star without an age (MISSING_PARAMETERS, BAD_ERROR, OFF_GRID) has
        a likelihood of 1 at every age, its own [Fe/H] and NaN summaries. No node is more than
        `LOG_FLOOR` below the star's peak.

    Raises
    ------
    CatalogError, IsochroneError, RecipeError
        If a column, a source or an option is unknown or unusable.

    References
    ----------
    Jørgensen & Lindegren 2005, A&A 436, 127; Vickers, Shen & Li 2021, ApJ 922, 189.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes import estimate_ages
    >>> sun = {"teff": (5772.0, 22.6), "logg": (4.438, 0.05), "feh": (0.0, 0.03),
    ...        "alpha_fe": (0.0, 0.02), "abs_g": (4.67, 0.10)}
    >>> columns = {name: ("star", [value]) for name, (value, _) in sun.items()}
    >>> columns |= {f"{name}_error": ("star", [error]) for name, (_, error) in sun.items()}
    >>> ages = estimate_ages(xr.Dataset(columns), method="paper")
    >>> bool(ages.age_lo[0] < 4.57 < ages.age_hi[0])
    True
    """
    source = settings.get("source")
    if isinstance(source, IsochroneSource):
        settings["source"] = source.name
    if settings.get("ages") is not None:
        settings["ages"] = tuple(np.atleast_1d(settings["ages"]).tolist())
    chosen = AgeOptions.of(options, settings)
    grid = build_grid(
        source if isinstance(source, IsochroneSource) else chosen.source,
        method=chosen.method, feh_scale=chosen.feh_scale, ages=chosen.ages,
    )  # fmt: skip
    stars = observe(catalog, grid, chosen.observables, photometric_floor=chosen.photometric_floor)
    able = np.flatnonzero(stars.flag & _NO_AGE == 0)
    # Like stars one after the other use the same part of the grid: it stays in the cache.
    composition = np.round(stars.alpha[able, 0], 1), np.round(stars.feh[able, 0], 1)
    able = able[np.lexsort((stars.values[able, 2], *composition))]
    n, n_age = len(stars.flag), len(grid.ages)
    like = np.zeros((n, n_age), dtype=np.float32)
    mean = np.repeat(stars.feh[:, :1], n_age, axis=1).astype(np.float32)
    sd = np.repeat(stars.feh[:, 1:], n_age, axis=1).astype(np.float32)
    summary, chi2 = np.full((n, 4), np.nan), np.full(n, np.nan)
    log_prior = np.zeros(n_age) if chosen.age_prior == "flat" else -np.log(grid.ages)
    fine = chosen.method == "fine"
    layout = lay_out(grid) if fine else None

    def block(start: int, stop: int) -> None:
        rows = able[start:stop]
        out, part = AgeLikelihood.empty(len(rows), n_age), stars.arrays(rows, fine=fine)
        if fine:
            age_likelihood(layout, part, out)
        else:
            age_likelihood_by_nodes(grid.points, grid.metallicity, grid.alpha, part, out)
        log_like, f_mean, f_sd, least = out
        peak = log_like.max(axis=1)
        found = (least <= FAR) & np.isfinite(peak)
        chi2[rows] = np.where(np.isfinite(least), least, np.nan)
        rows, log_like = rows[found], log_like[found]
        log_like = np.maximum(log_like, peak[found, None] + LOG_FLOOR)
        four = np.empty((len(rows), 4))
        summarise(grid.ages, log_like, log_prior, fine, four)
        summary[rows] = four
        like[rows] = log_like + stars.log_constant[rows, None] + log_prior
        mean[rows], sd[rows] = f_mean[found], f_sd[found]

    with progress(len(able), "ages") if show_progress else nullcontext() as advance:
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
    flag[flag & _NO_AGE != 0] &= ~np.int32(StarFlag.POOR_FIT)

    def column(dims: Any, values: NDArray, units: str, long_name: str) -> tuple:
        return dims, values, {"units": units, "long_name": long_name}

    both, prior_text = ("star", "age"), f"ln age prior, {chosen.age_prior}"
    ml, median, low, high = summary.T
    error = (high - low) / (2.0 * ml)
    product = xr.Dataset(
        {
            "log_age_likelihood": column(both, like, "", "ln likelihood times interim prior"),
            "feh_mean": column(both, mean, "dex", "mean [Fe/H] at this age, flat [Fe/H] prior"),
            "feh_sd": column(both, sd, "dex", "standard deviation of [Fe/H] at this age"),
            "log_interim_prior": column("age", log_prior, "", prior_text),
            "age_ml": column("star", ml, "Gyr", "age of greatest likelihood"),
            "age_median": column("star", median, "Gyr", "posterior median age"),
            "age_lo": column("star", low, "Gyr", "lower end of the 0.61 interval"),
            "age_hi": column("star", high, "Gyr", "upper end of the 0.61 interval"),
            "age_error": column("star", error, "", "half-width of the 0.61 interval over age_ml"),
            "chi2_min": column("star", chi2, "", "least chi-square"),
            "flag": column("star", flag, "", "reasons, see StarFlag"),
        },
        coords={"age": column("age", grid.ages, "Gyr", "age")},
        attrs={**grid.attrs, "age_prior": chosen.age_prior},
    )
    if "source_id" in catalog.coords:
        product = product.assign_coords(source_id=catalog["source_id"])
    return product
