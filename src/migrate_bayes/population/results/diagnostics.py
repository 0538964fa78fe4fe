"""Whether the sampler can be believed: numbers, limits and a verdict on each.

Rank-normalised R-hat and effective sample sizes (Vehtari et al. 2021, Bayesian Analysis 16, 667)
and the energy's Bayesian fraction of missing information (Betancourt 2016, arXiv:1604.00695), over
all parameters that were sampled; curves, which are functions of these, are left out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

# A limit of each check. ESS is per chain, as Vehtari et al. advise.
MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100
MIN_BFMI = 0.3
MAX_PARETO_K = 0.7

_MAX_DEPTH = ("reached_max_treedepth", "maxdepth_reached")  # PyMC's name, nutpie's
_CURVES = {"age"}


@dataclass(frozen=True)
class Check:
    """One diagnostic: `passed` is None where the fit does not hold what it needs."""

    name: str
    value: str
    limit: str
    passed: bool | None
    advice: str = ""


def _parameters(fit: xr.DataTree) -> list[str]:
    """Variables of the posterior that are parameters, not curves over the age grid."""
    posterior = fit["posterior"].to_dataset()
    return [
        str(name)
        for name, v in posterior.data_vars.items()
        if {"chain", "draw"} <= set(v.dims)
        and not _CURVES & set(v.dims)
        and v.dtype.kind == "f"
        and float(v.max()) > float(v.min())
    ]


def summary_table(fit: xr.DataTree) -> Any:
    """ArviZ's summary of the parameters, unrounded, as a pandas DataFrame; empty without draws."""
    import pandas as pd

    if "posterior" not in fit.children or not (names := _parameters(fit)):
        return pd.DataFrame()
    import arviz as az

    with warnings.catch_warnings():
        # Too few draws is what the table itself shows.
        warnings.simplefilter("ignore")
        return az.summary(fit, var_names=names, ci_prob=0.68, round_to="none")


def energy_of(fit: xr.DataTree) -> NDArray[np.float64] | None:
    """Hamiltonian by chain and draw; None where the sampler left none."""
    if "sample_stats" not in fit.children or "energy" not in fit["sample_stats"]:
        return None
    return np.asarray(fit["sample_stats"]["energy"].transpose("chain", "draw").values, dtype=float)


def missing_information(energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bayesian fraction of missing information of each chain: E[ΔE²] / Var[E]."""
    variance = np.var(energy, axis=1)
    step = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return np.divide(step, variance, out=np.full_like(step, np.nan), where=variance > 0)


def _worst(table: Any, column: str, largest: bool) -> tuple[float, str]:
    """The extreme of a column and the parameter it belongs to."""
    values = np.asarray(table[column], dtype=float)
    if not np.isfinite(values).any():
        return np.nan, ""
    at = int(np.nanargmax(values) if largest else np.nanargmin(values))
    return float(values[at]), str(table.index[at])


def check_fit(fit: xr.DataTree, table: Any = None) -> list[Check]:
    """Judge a fit.

    Parameters
    ----------
    fit : xarray.DataTree
    table : pandas.DataFrame, optional
        `summary_table` of the fit, where it is at hand.
    """
    table = summary_table(fit) if table is None else table
    checks = []
    if len(table):
        chains = fit["posterior"].sizes["chain"]
        worst, where = _worst(table, "r_hat", largest=True)
        checks.append(
            Check(
                "R-hat", f"{worst:.3f} ({where})" if where else "n/a", f"< {MAX_R_HAT}",
                worst < MAX_R_HAT if where else None,
                "chains disagree: tune longer, or look for two modes in the rank plots",
            )
        )  # fmt: skip
        for column, name in (("ess_bulk", "bulk ESS"), ("ess_tail", "tail ESS")):
            worst, where = _worst(table, column, largest=False)
            limit = MIN_ESS_PER_CHAIN * chains
            checks.append(
                Check(
                    name, f"{worst:,.0f} ({where})" if where else "n/a", f"≥ {limit:,}",
                    worst >= limit if where else None, "draw more",
                )
            )  # fmt: skip
    stats = fit["sample_stats"].to_dataset() if "sample_stats" in fit.children else xr.Dataset()
    count = int(stats["diverging"].sum()) if "diverging" in stats else None
    checks.append(
        Check(
            "divergences", "not recorded" if count is None else f"{count:,}", "0",
            None if count is None else count == 0, "raise target_accept, or tune longer",
        )
    )  # fmt: skip
    depth = next((n for n in _MAX_DEPTH if n in stats), None)
    if depth is not None:
        share = float(stats[depth].mean())
        checks.append(
            Check("longest trajectories", f"{share:.1%}", "< 1%", share < 0.01, "tune longer")
        )
    energy = energy_of(fit)
    if energy is not None and energy.shape[1] > 1:
        worst = float(np.min(missing_information(energy)))
        known = bool(np.isfinite(worst))
        checks.append(
            Check(
                "energy BFMI", f"{worst:.2f}" if known else "n/a", f"> {MIN_BFMI}",
                worst > MIN_BFMI if known else None,
                "heavy tails or a funnel: tune longer, or another parameterisation",
            )
        )  # fmt: skip
    if "pareto_k" in fit.attrs:
        k = float(fit.attrs["pareto_k"])
        ess = fit.attrs.get("importance_ess")
        of_weights = "" if ess is None else f" (ESS of the weights {float(ess):,.0f})"
        checks.append(
            Check(
                "Pareto k̂", f"{k:.2f}{of_weights}", f"< {MAX_PARETO_K}", k < MAX_PARETO_K,
                "the importance weights cannot be trusted: sample with NUTS",
            )
        )  # fmt: skip
    if "surrogate_pareto_k" in fit.attrs:
        checks.append(
            Check(
                "Pareto k̂ of the surrogate", f"{float(fit.attrs['surrogate_pareto_k']):.2f}",
                f"< {MAX_PARETO_K}", None, "given up: these draws are NUTS's, on the stars",
            )
        )  # fmt: skip
    return checks
