"""Sampling a population model, by NUTS on the stars or on a surrogate for them.

``"nuts"``: nutpie from the posterior's mode, in coordinates whitened by the curvature there, on
the compiled pieces of `population.sampling.density`; every step is a pass over the stars.
``"surrogate"``: `population.sampling.surrogate`; one pass for each draw.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.parallel import default_workers
from migrate_bayes.core.progress import status
from migrate_bayes.core.provenance import provenance
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.likelihood.selected import SelectedLikelihood
from migrate_bayes.population.results.diagnostics import (
    GRAVE_EVIDENCE,
    HEADLINE,
    MAX_PARETO_K,
    MAX_R_HAT,
)
from migrate_bayes.population.sampling.density import Mode, PosteriorDensity, find_modes, run_nuts
from migrate_bayes.population.sampling.surrogate import sample_surrogate

# `auto` takes the surrogate from this many stars on: it is as good there, in a fifth of the time.
_MANY_STARS = 10_000

# With fewer stars chains, or parts of a sum, that run side by side wait for each other.
_ONE_BY_ONE = 1000

_DEX_KPC, _DEX_KPC_GYR = "dex / kpc", "dex / (kpc Gyr)"

# Unit and words of each variable and coordinate, both "" if there is none: natural logarithms (of
# dex, kpc or kpc, as the words say) are pure numbers.
_VARIABLES = {
    "gradient_young": (_DEX_KPC, "thin-disc metallicity gradient at the young age"),
    "gradient_reference": (_DEX_KPC, "thin-disc metallicity gradient at the reference age"),
    "gradient_thick": (_DEX_KPC, "thick-disc metallicity gradient"),
    "gradient_thick_rate": (_DEX_KPC_GYR, "change of the thick-disc gradient with age"),
    "gradient_knots": (_DEX_KPC, "thin-disc metallicity gradient at the knots"),
    "gradient": (_DEX_KPC, "metallicity gradient"),
    "flattening_rate": (_DEX_KPC_GYR, "change of the thin-disc gradient with age"),
    "sigma_G": (_DEX_KPC, "spread of the gradient's deviations from a line"),
    "gradient_deviation": (_DEX_KPC, "deviation of the thin-disc gradient from its line"),
    "deviation_G": ("", "deviations of the gradient as they are sampled"),
    "profile_bend": (
        _DEX_KPC,
        "change of the thin-disc gradient with radius at a knot, outwards, at the reference age",
    ),
    "profile_fading": (
        _DEX_KPC,
        "part of a bend of the profile, at the reference age, that fades with age",
    ),
    "profile_knot": ("kpc", "radius of a knot of the thin disc's profile"),
    "birth_gradient": (_DEX_KPC, "gradient of the gas today"),
    "birth_gradient_rate": (_DEX_KPC_GYR, "change of the gradient of the gas with lookback time"),
    "birth_radius_spread": ("kpc", "spread of birth radii"),
    "log_birth_scatter": ("", "ln of the scatter of [Fe/H] of the gas at given radius (dex)"),
    "sigma_rm8": ("kpc", "diffusion of guiding radii in 8 Gyr"),
    "metallicity": ("dex", "mean [Fe/H] at 8 kpc"),
    "alpha": ("dex", "mean [alpha/Fe] of a disc at [Fe/H] = -0.3"),
    "scatter": ("dex", "intrinsic scatter of [Fe/H] at given radius"),
    "mean_age": ("Gyr", "mean age of a disc's stars"),
    "thick_fraction": ("", "share of thick-disc stars among disc stars, at 8 kpc today"),
    "skewness_thin": ("", "skewness of [Fe/H] at 8 kpc, thin disc"),
    "skewness_tilt_thin": ("1 / kpc", "change of the skewness of [Fe/H] with radius, thin disc"),
    "alpha_thick": ("dex", "mean [alpha/Fe] at [Fe/H] = -0.3, thick disc"),
    "height_thick": ("", "mean of ln((Z_max + Z_0) / kpc), Z_0 = 0.2 kpc, thick disc"),
    "alpha_below": (
        "dex",
        "mean [alpha/Fe] of the thick disc less the discs' gap at the reference age",
    ),
    "height_below": ("", "mean height of the thick disc less the discs' gap at the reference age"),
    "log_alpha_gap": ("", "ln of what the discs' gap in [alpha/Fe] exceeds the least by (dex)"),
    "log_height_gap": ("", "ln of what the discs' gap in height exceeds the least by"),
    "thick_tilt": ("1 / kpc", "change of the thick disc's log odds with today's radius"),
    "thick_bend": ("1 / kpc2", "change of the thick disc's log odds with its square"),
    "age_tilt": ("1 / (kpc Gyr)", "change of the slope of ln P(age) with today's radius"),
    "age_bend": ("1 / (kpc2 Gyr)", "change of the slope of ln P(age) with its square"),
    "outlier_fraction": ("", "share of outliers"),
    "age": ("Gyr", "age"),
    "gradient_knot": ("Gyr", "age of a knot of the gradient"),
}

# Those of which each disc has one.
_OF_DISC = {
    "metallicity": ("dex", "mean [Fe/H] at 8 kpc"),
    "log_scatter": ("", "ln of the intrinsic scatter of [Fe/H] at given radius (dex)"),
    "radius": ("kpc", "mean radius, of stars at 8 kpc today"),
    "log_radius_scatter": ("", "ln of the spread of radii (kpc), of stars at 8 kpc today"),
    "radius_tilt": ("", "change of the mean radius with today's radius"),
    "radius_bend": ("1 / kpc", "change of the mean radius with its square"),
    "log_radius_scatter_tilt": ("1 / kpc", "change of ln(spread of radii) with today's radius"),
    "log_radius_scatter_bend": ("1 / kpc2", "change of ln(spread of radii) with its square"),
    "log_height_scatter": ("", "ln of the spread of ln(Z_max + Z_0)"),
    "alpha_slope": ("", "slope of [alpha/Fe] against [Fe/H]"),
    "log_alpha_scatter": ("", "ln of the intrinsic scatter of [alpha/Fe] (dex)"),
    "age_weight": ("", "ln of the age density, up to a constant"),
}

_ALL = _VARIABLES | {
    f"{quantity}_{disc}": (unit, f"{words}, {disc} disc")
    for quantity, (unit, words) in _OF_DISC.items()
    for disc in ("thin", "thick")
}

#: Units of the posterior's variables and coordinates; a name that is not here is a pure number.
UNITS = {name: unit for name, (unit, _) in _ALL.items() if unit}


def sample(
    density: PosteriorDensity,
    options: SamplerOptions,
    *,
    seed: int,
    attrs: dict[str, Any] | None = None,
    cores: int | None = None,
    prior_draws: int = 500,
    progressbar: bool | None = None,
) -> xr.DataTree:
    """Sample the posterior of a compiled model; see `PopulationModel.sample`."""
    began = time.perf_counter()
    passes = density.likelihood.evaluations
    with status("compiling the model (once, up to a minute) and finding the posterior's mode"):
        modes = find_modes(density, starts=options.starts, seed=seed)
        mode = modes[0]
    found = time.perf_counter()
    model, n_stars, method = density.model.pymc, density.likelihood.n_stars, options.method
    if method == "auto":
        method = "surrogate" if n_stars >= _MANY_STARS else "nuts"
    free, about = [rv.name for rv in model.free_RVs], dict[str, Any]()
    if method == "surrogate":
        unconstrained, stats, about = sample_surrogate(density, mode, options, seed=seed)
        tree = posterior_tree(density, unconstrained)
        if not (k := about["pareto_k"]) <= MAX_PARETO_K:
            said = (
                f"the surrogate's importance weights cannot be trusted (k̂ = {k:.2f}, limit "
                f"{MAX_PARETO_K}): sampling with NUTS instead"
            )
            warnings.warn(said, RuntimeWarning, stacklevel=3)
            method, about = "nuts", {"surrogate_pareto_k": k}
    if method == "nuts":
        shown = sys.stderr.isatty() if progressbar is None else progressbar
        few = n_stars < _ONE_BY_ONE
        if cores is None:
            cores = 1 if few else min(options.chains, default_workers())
        workers = density.likelihood.workers
        # Chains that run side by side have one thread each.
        density.likelihood.workers = 1 if few or cores > 1 else workers
        # With two answers the numbers are withheld, however long the chains are.
        divided = len(modes) > 1 and mode.log_evidence - modes[1].log_evidence < GRAVE_EVIDENCE
        try:
            for thin in [1] if divided else options.lengths:
                unconstrained, stats = run_nuts(
                    density, mode, options, seed=seed, thin=thin, cores=cores, progressbar=shown
                )
                tree = posterior_tree(density, unconstrained)
                if _convergence(tree, free).get("r_hat", 1.0) < MAX_R_HAT:
                    break
        finally:
            density.likelihood.workers = workers
    unconstrained, z = with_errors(density, mode, unconstrained, seed)
    if z is not None:
        tree = posterior_tree(density, unconstrained)
        dims = "chain", "draw", "completeness_direction"
        stats = stats.assign(completeness_error=(dims, z))
    tree["sample_stats"] = stats
    if prior_draws:
        tree["prior"] = label(draw_prior(model, prior_draws, seed))
    tree.attrs.update(
        **provenance(seed=seed), method=method, n_stars=n_stars, mode_seconds=found - began,
        wall_seconds=time.perf_counter() - began, passes=density.likelihood.evaluations - passes,
    )  # fmt: skip
    tree.attrs["modes"] = json.dumps(_described(density, modes))
    tree.attrs |= about | _convergence(tree, free) | (attrs or {})
    return tree


def with_errors(
    density: PosteriorDensity, mode: Mode, draws: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Move draws, shape (chain, draw, n), by the error of ln S; return its amplitudes too.

    None, and the draws as they are, if there is no completeness or it has no error.
    """
    likelihood = density.likelihood
    if not isinstance(likelihood, SelectedLikelihood) or not likelihood.n_errors:
        return draws, None
    moves = _moves(density, likelihood, mode, draws)
    z = np.random.default_rng([seed, 2]).normal(size=(*draws.shape[:2], len(moves)))
    return draws + z @ moves, z


def _moves(
    density: PosteriorDensity,
    likelihood: SelectedLikelihood,
    mode: Mode,
    draws: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how each error of ln S, by one standard deviation, moves the posterior, shape (j, n).

    The equation is in `likelihood.selected`; two passes over the stars for each.
    """
    flat, step = draws.reshape(-1, density.n), 0.1
    # Of few draws correlations are noise: those at the mode, with the spread of the draws.
    scale = flat.std(axis=0) / np.sqrt(np.diag(mode.covariance))
    covariance, centre = scale[:, None] * mode.covariance * scale, flat.mean(axis=0)

    def slope(direction: int, by: float) -> NDArray[np.float64]:
        return density.over(likelihood.moved(direction, by))(centre)[1]

    twist = [slope(j, step) - slope(j, -step) for j in range(likelihood.n_errors)]
    return np.stack(twist) / (2.0 * step) @ covariance


def posterior_tree(density: PosteriorDensity, unconstrained: NDArray[np.float64]) -> xr.DataTree:
    """Carry draws of the unconstrained parameters, shape (chain, draw, n), to a `posterior`."""
    from arviz import from_dict

    model, values = density.model.pymc, density.named(unconstrained)
    # The dimensions of the draws are named as the model does.
    dims = {
        name: [d or f"{name}_dim_{i}" for i, d in enumerate(model.named_vars_to_dims[name])]
        for name in values
        if model.named_vars_to_dims.get(name)
    }
    coords = {k: np.asarray(v) for k, v in model.coords.items() if v is not None}
    tree = from_dict({"posterior": values}, coords=coords, dims=dims)
    tree["posterior"] = label(tree["posterior"].to_dataset())
    return tree


def _described(density: PosteriorDensity, modes: list[Mode]) -> list[dict[str, float]]:
    """Return of each maximum the climbs that ended there, its evidence and its headline."""
    values = density.named(np.stack([mode.vector for mode in modes]))
    names = [name for name in (*HEADLINE, "thick_fraction") if name in values]
    return [
        {"starts": m.starts, "log_evidence": m.log_evidence - modes[0].log_evidence}
        | {name: float(values[name][i]) for name in names}
        for i, m in enumerate(modes)
    ]


def _convergence(tree: xr.DataTree, names: list[str]) -> dict[str, float]:
    """Worst R-hat and bulk effective sample size of the free parameters."""
    import arviz as az

    posterior = tree["posterior"].to_dataset()[names]
    if posterior.sizes["draw"] < 4 or posterior.sizes["chain"] < 2:
        return {}
    with warnings.catch_warnings():
        # Too few draws is what the numbers themselves show.
        warnings.simplefilter("ignore")
        r_hat, ess = az.rhat(posterior), az.ess(posterior)
    return {
        "r_hat": max(float(v.max()) for v in r_hat.data_vars.values()),
        "ess_bulk": min(float(v.min()) for v in ess.data_vars.values()),
    }


def draw_prior(model: pm.Model, draws: int, seed: int) -> xr.Dataset:
    """Draw from the prior. PyMC need not remark that the stars, a potential, take no part."""
    log, level = logging.getLogger("pymc"), logging.getLogger("pymc").level
    log.setLevel(logging.ERROR)
    try:
        with model, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Pp]otential.*")
            names = [v.name for v in model.unobserved_RVs]
            # Interpreted: to compile it takes a minute, to the same draws.
            interpreted = {"mode": "FAST_COMPILE"}
            tree = pm.sample_prior_predictive(
                draws, var_names=names, random_seed=seed, compile_kwargs=interpreted
            )
    finally:
        log.setLevel(level)
    # PyMC has variables and coordinates in the order of a set of names: another in each process.
    prior = tree["prior"].to_dataset()[names]
    order = [name for name in model.coords if name in prior.coords]
    return prior.drop_vars(order).assign_coords({name: prior[name] for name in order})


def label(draws: xr.Dataset) -> xr.Dataset:
    """Put `units` and, if known, `long_name` on every variable and coordinate, in place.

    A coordinate ``…_knot`` holds the ages (Gyr) of the knots of the function it is named after.
    """
    for name, variable in draws.variables.items():
        text = str(name)
        if variable.dtype.kind in "OUS" or text in ("chain", "draw", "sample"):
            continue
        default = ("Gyr", f"age of a knot of {text[:-5]}") if text.endswith("_knot") else ("", "")
        unit, words = _ALL.get(text, default)
        draws[name].attrs.setdefault("units", unit)
        if words:
            draws[name].attrs.setdefault("long_name", words)
    return draws
