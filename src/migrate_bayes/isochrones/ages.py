r"""Ages of a catalogue: the likelihood of every age node, and its summaries.

The likelihood of one star is computed in `kernel.likelihood`; `grid` says what the isochrones are
between their nodes.

Ages from elsewhere (asteroseismology, other catalogues) come as a median and a 68% interval; their
likelihood on the age grid is a two-piece Gaussian in ln age, continuous at the median, whose sides
have the widths of the interval,

.. math:: \ln L(\tau) = -\tfrac12 [(\ln\tau - \ln\tau_{50}) / \sigma_\pm]^2 + \ln(2 /
   (\sigma_- + \sigma_+)),

so that a fit sees the same product whichever stage made it. [Fe/H] does not depend on age there.

Missing observables are left out star by star (their inverse error is 0). A star needs T_eff or
BP−RP, log g or M_G, and [Fe/H]. An observable without a positive, finite error condemns the star
(BAD_ERROR): leaving it out in silence would change what its age means.

What an age says of [Fe/H] it says of the total metallicity, to which [α/Fe] adds at the rate S'
(see `grid`): if at an age [Fe/H] is by δ another than measured, [α/Fe] is by ρδ,

.. math:: ρ = S' s_a^2 / s_f^2

which is the product's `alpha_rate`.

Giants (`giants`) may have their ages from another family, on the same nodes. By method ``fine``
their interval is the central 68% of the posterior: at some ages isochrones hold many giants for a
short time (Girardi et al. 2013, MNRAS 431, 3501), so that the likelihood has a narrow peak with
little below it, and the interval of 0.61 holds that peak and not the age.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import FATAL_AGE, StarFlag, add_flag, are_skipped
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.progress import progress
from migrate_bayes.core.units import in_unit
from migrate_bayes.isochrones.age_options import ERROR_MODELS, EXCLUDE, AgeOptions, AgePrior
from migrate_bayes.isochrones.binaries import kinds
from migrate_bayes.isochrones.grid import WorkingGrid, build_grid
from migrate_bayes.isochrones.intervals import Curves, quantiles, summarise
from migrate_bayes.isochrones.kernel.blocks import CUT, FAR
from migrate_bayes.isochrones.kernel.likelihood import (
    AgeLikelihood,
    age_likelihood,
    age_likelihood_by_nodes,
    mixture,
)
from migrate_bayes.isochrones.observed import possibilities
from migrate_bayes.isochrones.sources.base import IsochroneSource
from migrate_bayes.isochrones.sources.registry import load_source

#: ln of the least likelihood, relative to the star's peak, that an age node is given (1.5e-8): the
#: kernel looks no deeper, so everything below is set to this floor.
LOG_FLOOR = -0.5 * CUT
#: Gyr; spacing grows with age, as errors do.
DEFAULT_AGES = np.round(np.concatenate([np.arange(0.25, 5.0, 0.25), np.arange(5.0, 14.01, 0.5)]), 2)

#: A 68% interval narrower than this fraction of the age is not believed: it falls between nodes.
_MIN_LOG_SD = 0.05
_CENTRAL = np.array([0.16, 0.84])  # the interval of a giant
_INTERVAL = "0.61 interval, or of the central 68% of a giant"
_DISC_AGE, _DISC_SD = 4.0, 3.5  # Gyr: with the cut at 0, the ages of APOKASC-2 (4.9 ± 3.1 Gyr)
_STARS_PER_BLOCK = 256
_NO_AGE = np.int32(FATAL_AGE)


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
    catalog : xarray.Dataset, or what `read_catalog` takes
        Canonical columns on dim ``star``: ``teff`` K, ``logg``, ``feh``, ``alpha_fe`` dex,
        ``abs_g``, ``bp_rp`` mag (dereddened) and their ``_error``. An observable that a star lacks
        (NaN) is left out for that star; without ``alpha_fe`` a star has [α/Fe] = 0 exactly.
        Used too, if there: correlations of errors (``teff_logg_corr``, ``teff_feh_corr``,
        ``logg_feh_corr``), ``logg_seismic`` dex and ``nu_max`` µHz in place of ``logg``.
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
        ``abs_g_slope``, ``abs_g_curvature``, ``alpha_rate``, ``log_interim_prior``, ``age_ml``,
        ``age_median``, ``age_lo``, ``age_hi``, ``age_error``, ``chi2_min``, ``flag``. A star
        without an age (MISSING_PARAMETERS, BAD_ERROR, OFF_GRID, SKIPPED) has a likelihood of 1 at
        every age, its own [Fe/H] and NaN summaries. No node is more than `LOG_FLOOR` below the
        star's peak, and those that the star's family does not reach are as far. Giants are
        MISSING_PHASE where their family has none of their kind.

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
    catalog = as_catalog(catalog)
    source = settings.get("source")
    if isinstance(source, IsochroneSource):
        settings["source"] = source.name
    if settings.get("ages") is not None:
        settings["ages"] = tuple(np.atleast_1d(in_unit(settings["ages"], "Gyr")).tolist())
    chosen = AgeOptions.of(options, settings)
    given = source if isinstance(source, IsochroneSource) else load_source(chosen.source)
    families = [_Family(given, _grid(given, chosen.ages, chosen))]
    ways = possibilities(catalog, families[0].grid, chosen)
    stars = ways[0][1]
    if chosen.giants_source != chosen.source:
        theirs = load_source(chosen.giants_source)
        families.append(_Family(theirs, _grid(theirs, _reached(theirs, chosen.ages), chosen)))
        others = possibilities(catalog, families[1].grid, chosen)
        giant = stars.giant
        ways = [(w, a.with_rows_of(b, giant)) for (w, a), (_, b) in zip(ways, others, strict=True)]
        stars = ways[0][1]
    whose = [~stars.giant, stars.giant] if len(families) == 2 else [np.ones_like(stars.giant)]
    nodes = np.unique(np.concatenate([family.grid.ages for family in families]))
    n, n_age = len(stars.flag), len(nodes)
    log_prior = _log_prior(chosen.age_prior, nodes)
    able = stars.flag & _NO_AGE == 0
    # Like stars one after the other use the same part of the grid: it stays in the cache.
    composition = np.round(stars.alpha[:, 0], 1), np.round(stars.feh[:, 0], 1)
    order = np.lexsort((stars.values[:, 2], *composition))
    like = np.zeros((n, n_age), dtype=np.float32)
    mean = np.repeat(stars.feh[:, :1], n_age, axis=1).astype(np.float32)
    sd = np.repeat(np.minimum(stars.feh[:, 1:], 1e30), n_age, axis=1).astype(np.float32)
    slope, curvature = np.zeros((2, n, n_age), dtype=np.float32)
    summary, chi2 = np.full((n, 4), np.nan), np.full(n, np.nan)
    fine = chosen.method == "fine"
    rare = any(way.inverse_error[:, 3].any() or way.shear[:, :3].any() for _, way in ways) or None

    def run(family: _Family, laid_out: list, rows: NDArray, start: int, stop: int) -> None:
        own, rows, at, parts = family.grid, rows[start:stop], family.among(nodes), []
        for (log_way, way), (log_kind, layout) in itertools.product(ways, laid_out):
            part, out = way.stars(rows, fine), AgeLikelihood.empty(len(rows), len(own.ages))
            if fine:
                age_likelihood(layout, part, out, rare)
            else:
                age_likelihood_by_nodes(own.points, own.metallicity, own.alpha, part, out)
            constant = way.log_constant[rows] - stars.log_constant[rows]
            parts.append((log_way + log_kind + constant, out))
        log_like, f_mean, f_sd, of_m, of_mm, least = mixture(parts)
        peak = log_like.max(axis=1)
        found = (least <= FAR) & np.isfinite(peak)
        chi2[rows] = np.where(np.isfinite(least), least, np.nan)
        rows, floor = rows[found], peak[found, None] + LOG_FLOOR
        log_like = np.maximum(log_like[found], floor)
        four = np.empty((len(rows), 4))
        summarise(own.ages, log_like, log_prior[at], fine, four)
        if fine and (central := stars.giant[rows]).any():
            curves = Curves(own.ages, log_like[central], log_prior[at], fine)
            four[central, 2:] = quantiles(curves, _CENTRAL)
        summary[rows] = four
        like[rows] = floor + stars.log_constant[rows, None] + log_prior
        like[rows, at] = log_like + stars.log_constant[rows, None] + log_prior[at]
        mean[rows, at], sd[rows, at] = f_mean[found], f_sd[found]
        slope[rows, at], curvature[rows, at] = of_m[found], of_mm[found]

    with progress(int(able.sum()), "ages") if show_progress else nullcontext() as advance:
        for family, their in zip(families, whose, strict=True):
            rows = order[(able & their)[order]]
            laid_out = kinds(family.grid, chosen.binaries) if fine else [(0.0, None)]
            block = partial(run, family, laid_out, rows)
            map_blocks(block, len(rows), _STARS_PER_BLOCK, workers=workers, on_done=advance)

    flag = stars.flag.copy()
    add_flag(flag, able & np.isnan(summary[:, 0]), StarFlag.OFF_GRID)
    for family, their in zip(families, whose, strict=True):
        rows = np.flatnonzero(their & ~np.isnan(summary[:, 0]))
        top = np.argmax(like[rows] - log_prior, axis=1) if len(rows) else np.empty(0, dtype=int)
        at = family.among(nodes)
        flag[rows[top == at.start]] |= np.int32(StarFlag.EDGE_YOUNG)
        flag[rows[top == at.stop - 1]] |= np.int32(StarFlag.EDGE_OLD)
        # Dwarfs need not wait for the whole of a source to be looked through.
        if (giants := stars.giant & their).any():
            lacks = stars.clump & (not family.source.has_clump)
            lacks |= stars.gravity < family.source.lowest_logg
            add_flag(flag, giants & lacks, StarFlag.MISSING_PHASE)
    if len(families) > 1:
        add_flag(flag, stars.giant, StarFlag.GIANT_FAMILY)
    # A star without an age has no evolutionary state to be in doubt of.
    add_flag(flag, stars.unevolved & (flag & _NO_AGE == 0), StarFlag.NEAR_ZAMS)
    for what, kind in ((chosen.giants, stars.giant), (chosen.near_zams, stars.unevolved)):
        if what == EXCLUDE:
            add_flag(flag, kind, StarFlag.EXCLUDED)
    from scipy import special

    # Age and mass are fitted, [Fe/H] and [α/Fe] are observables with free parameters of their own.
    freedom = np.maximum(stars.n_observed - 2 - 1 - (stars.alpha[:, 1] > 0), 1)
    with np.errstate(invalid="ignore"):
        worse = fine & (flag & _NO_AGE == 0) & (chi2 > special.chdtri(freedom, chosen.poor_fit))
    add_flag(flag, worse, StarFlag.POOR_FIT)

    both, prior_text = ("star", "age"), f"ln age prior, {chosen.age_prior}"
    ml, median, low, high = summary.T
    error = (high - low) / (2.0 * np.where(stars.giant & fine, median, ml))
    product = xr.Dataset(
        {
            "log_age_likelihood": _column(both, like, "", "ln likelihood times interim prior"),
            "feh_mean": _column(both, mean, "dex", "mean [Fe/H] at this age, flat [Fe/H] prior"),
            "feh_sd": _column(both, sd, "dex", "standard deviation of [Fe/H] at this age"),
            "abs_g_slope": _column(both, slope, "1 / mag", "slope of ln likelihood in M_G"),
            "abs_g_curvature": _column(
                both, curvature, "1 / mag2", "curvature of ln likelihood in M_G"
            ),
            "alpha_rate": _column(
                "star", stars.alpha_rate, "", "change of [α/Fe] with that of [Fe/H] at an age"
            ),
            "log_interim_prior": _column("age", log_prior, "", prior_text),
            "age_ml": _column("star", ml, "Gyr", "age of greatest likelihood"),
            "age_median": _column("star", median, "Gyr", "posterior median age"),
            "age_lo": _column("star", low, "Gyr", f"lower end of the {_INTERVAL}"),
            "age_hi": _column("star", high, "Gyr", f"upper end of the {_INTERVAL}"),
            "age_error": _column("star", error, "", "half-width of the interval over the age"),
            "chi2_min": _column("star", chi2, "", "least chi-square"),
            "flag": _column("star", flag, "", "reasons, see StarFlag"),
        },
        coords={"age": _column("age", nodes, "Gyr", "age")},
        attrs=_attrs(chosen, families),
    )
    for name, pair in (("feh", stars.feh), ("alpha_fe", stars.alpha)):
        if chosen.changes_error_of(name):
            said = f"error of {name} that ages are made with"
            product[f"{name}_error_used"] = _column("star", pair[:, 1], "dex", said)
    if "source_id" in catalog.coords:
        product = product.assign_coords(source_id=catalog["source_id"])
    return product


@dataclass(frozen=True)
class _Family:
    """Isochrones, and the grid made of them."""

    source: IsochroneSource
    grid: WorkingGrid

    def among(self, nodes: NDArray) -> slice:
        """Return which of a product's age nodes are this family's."""
        first = int(np.searchsorted(nodes, self.grid.ages[0]))
        return slice(first, first + len(self.grid.ages))


def _grid(
    source: IsochroneSource, ages: tuple[float, ...] | None, options: AgeOptions
) -> WorkingGrid:
    return build_grid(source, method=options.method, feh_scale=options.feh_scale, ages=ages)


def _reached(source: IsochroneSource, ages: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Return which of given age nodes a family reaches."""
    low, high = source.ages[0] * 0.999, source.ages[-1] * 1.001
    return None if ages is None else tuple(age for age in ages if low <= age <= high)


def _log_prior(name: AgePrior, ages: NDArray) -> NDArray[np.float64]:
    if name == "disc":
        return -0.5 * ((ages - _DISC_AGE) / _DISC_SD) ** 2
    return np.zeros(len(ages)) if name == "flat" else -np.log(ages)


def _attrs(options: AgeOptions, families: Sequence[_Family]) -> dict[str, str]:
    """Return provenance, and what is done to giants that is not done to other stars."""
    out = {**families[0].grid.attrs, "age_prior": options.age_prior}
    if (floor := options.giant_floor) != options.systematics:
        out["giant_systematics"] = f"{floor.teff:g} K, {floor.logg:g}, {floor.feh:g} dex"
    for name, entries in options.model_dump(include={*ERROR_MODELS}).items():
        out[name] = ", ".join(f"{n} {v:g}" for n, v in entries.items())
    if options.giants is not None:
        out |= {"giants": options.giants, "giants_checksum": families[-1].source.checksum}
    return out


def _column(dims: Any, values: NDArray, units: str, long_name: str) -> tuple:
    return dims, values, {"units": units, "long_name": long_name}


def external_ages(catalog: xr.Dataset, *, ages: ArrayLike | None = None) -> xr.Dataset:
    """Turn a catalogue's own ages into the ages product.

    Parameters
    ----------
    catalog : xarray.Dataset, or what `read_catalog` takes
        With `age`, `age_lo`, `age_hi` (Gyr; median and 68% interval), `feh`, `feh_error`.
    ages : array-like or Quantity, optional
        Nodes of the age grid, Gyr; `DEFAULT_AGES` if not given.

    Returns
    -------
    xarray.Dataset
        As `migrate_bayes.estimate_ages` gives; stars without an age or [Fe/H] are flagged
        MISSING_AGE, those without an error of [Fe/H] or [α/Fe] BAD_ERROR. T_eff and log g are not
        asked for.

    Raises
    ------
    CatalogError
        If the catalogue has no age columns.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes import external_ages
    >>> columns = {"age": 4.0, "age_lo": 3.0, "age_hi": 5.5, "feh": -0.1, "feh_error": 0.05}
    >>> catalog = xr.Dataset({name: ("star", [value]) for name, value in columns.items()},
    ...                      coords={"source_id": ("star", [1])})
    >>> ages = external_ages(catalog)
    >>> float(ages.age[ages.log_age_likelihood[0].argmax("age")])
    4.0
    """
    catalog = as_catalog(catalog)
    needed = ("age", "age_lo", "age_hi", "feh", "feh_error")
    missing = [name for name in needed if name not in catalog]
    if missing:
        raise CatalogError(
            f"external ages need the columns {', '.join(needed)}; missing: {missing}. "
            "Map them in the recipe's [data.columns]"
        )
    grid = in_unit(DEFAULT_AGES if ages is None else ages, "Gyr")
    middle, low, high = (catalog[name].values for name in ("age", "age_lo", "age_hi"))
    good = (
        (middle > 0) & (low > 0) & (high >= middle) & (low <= middle) & np.isfinite(high)
        & np.isfinite(catalog["feh"].values)
    )  # fmt: skip
    flag = np.zeros(len(middle), dtype=np.int32)
    add_flag(flag, ~good, StarFlag.MISSING_AGE)
    add_flag(flag, are_skipped(catalog), StarFlag.SKIPPED)
    good &= flag == 0
    for name in ("feh", "alpha_fe"):
        if name in catalog and f"{name}_error" in catalog:
            error = catalog[f"{name}_error"].values
            bad = np.isfinite(catalog[name].values) & ~((error > 0) & np.isfinite(error))
            add_flag(flag, bad, StarFlag.BAD_ERROR)

    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.maximum(np.log(middle / low), _MIN_LOG_SD)
        above = np.maximum(np.log(high / middle), _MIN_LOG_SD)
        u = np.log(grid)[None, :] - np.log(middle)[:, None]
        log_like = -0.5 * (u / np.where(u < 0, below[:, None], above[:, None])) ** 2
        log_like += np.log(2.0 / (below + above))[:, None]
    log_like[~good] = np.nan
    add_flag(flag, good & (middle <= grid[0]), StarFlag.EDGE_YOUNG)
    add_flag(flag, good & (middle >= grid[-1]), StarFlag.EDGE_OLD)

    def node_constant(name: str) -> np.ndarray:
        column = catalog[name].values if name in catalog else np.full(len(middle), np.nan)
        return np.repeat(column[:, None], len(grid), axis=1).astype(np.float32)

    def per_star(values: np.ndarray, unit: str, long_name: str) -> tuple:
        return _column("star", np.where(good, values, np.nan), unit, long_name)

    return xr.Dataset(
        {
            "log_age_likelihood": (("star", "age"), log_like.astype(np.float32), {"units": ""}),
            "log_interim_prior": ("age", np.zeros(len(grid)), {"units": ""}),
            "feh_mean": (("star", "age"), node_constant("feh"), {"units": "dex"}),
            "feh_sd": (("star", "age"), node_constant("feh_error"), {"units": "dex"}),
            "age_ml": per_star(middle, "Gyr", "age of highest likelihood"),
            "age_median": per_star(middle, "Gyr", "median age"),
            "age_lo": per_star(low, "Gyr", "lower end of the 68% interval"),
            "age_hi": per_star(high, "Gyr", "upper end of the 68% interval"),
            "age_error": per_star((high - low) / (2 * middle), "", "relative age error"),
            "flag": ("star", flag),
        },
        coords={"age": ("age", grid, {"units": "Gyr"})}
        | ({"source_id": catalog["source_id"]} if "source_id" in catalog.coords else {}),
        attrs={"isochrone_source": "external", "age_method": "catalogue ages, two-piece in ln age"},
    )
