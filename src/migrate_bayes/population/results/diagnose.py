r"""Whether a fit can be believed, in one table: the sampler, the prior, the model, the stars.

The sampler's checks are those of the report (`population.results.diagnostics`). To them come:

- *prior-data conflict*: the prior is compared with where the posterior lies, by
  :math:`|\bar θ_\mathrm{post} - \bar θ_\mathrm{prior}| / \sqrt{s_\mathrm{prior}^2 +
  s_\mathrm{post}^2}`; beyond 3 the prior did not expect what the stars say;
- *posterior at the prior's edge*: the share of draws outside the prior's central 99%;
- *posterior predictive tails*: the share of tested quantiles of [Fe/H] and [α/Fe] that lie outside
  95% of their replicates, which is 5% where the model is right;
- *stars left out* and the share of stars no component wants (outliers).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.table import print_table
from migrate_bayes.population.results.diagnostics import Check, check_fit

MAX_CONFLICT = 3.0
MAX_BEYOND_PRIOR = 0.05
MAX_PPC_OUTSIDE = 0.15
MAX_LEFT_OUT = 0.10
MAX_OUTLIERS = 0.05


def read_fit(path: str | Path) -> xr.DataTree:
    """Read a fit: a file, or a run's folder, which holds ``fit.nc``.

    Raises
    ------
    ProductError
        Where there is none, or it is damaged or no fit.
    """
    path = Path(path)
    file = path / "fit.nc" if path.is_dir() else path
    if not file.is_file():
        raise ProductError(f"no fit at {path}: give a run's folder or its fit.nc")
    try:
        tree = xr.load_datatree(file, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ProductError(f"{file} is damaged or no NetCDF file: {error}") from None
    if "posterior" not in tree.children:
        raise ProductError(f"{file} is no fit: it has no posterior")
    return tree


def _parameters(fit: xr.DataTree) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Names, posterior draws and prior draws of every number that was sampled."""
    if "prior" not in fit.children:
        return []
    posterior, prior = fit["posterior"].to_dataset(), fit["prior"].to_dataset()
    out = []
    for name in posterior.data_vars:
        if name not in prior or "age" in posterior[name].dims:
            continue
        both = []
        for group in (posterior, prior):
            inner = [d for d in group[name].dims if d not in ("chain", "draw")]
            values = group[name].transpose("chain", "draw", *inner).values
            both.append(values.reshape(values.shape[0] * values.shape[1], -1))
        for i in range(both[0].shape[1]):
            label = str(name) if both[0].shape[1] == 1 else f"{name}[{i}]"
            out.append((label, both[0][:, i], both[1][:, i]))
    return out


def _prior_checks(fit: xr.DataTree) -> list[Check]:
    parameters = _parameters(fit)
    if not parameters:
        return []
    conflict, beyond = {}, {}
    for name, after, before in parameters:
        if not (np.ptp(before) > 0 and np.ptp(after) > 0):
            continue
        conflict[name] = abs(after.mean() - before.mean()) / np.hypot(before.std(), after.std())
        low, high = np.quantile(before, [0.005, 0.995])
        beyond[name] = float(((after < low) | (after > high)).mean())
    if not conflict:
        return []
    worst, edge = max(conflict, key=conflict.__getitem__), max(beyond, key=beyond.__getitem__)
    return [
        Check(
            "prior-data conflict", f"{conflict[worst]:.1f} σ ({worst})", f"< {MAX_CONFLICT:g} σ",
            bool(conflict[worst] < MAX_CONFLICT),
            "the stars contradict the prior: widen it in the model file, or look for a wrong unit",
        ),
        Check(
            "posterior at prior's edge",
            f"{beyond[edge]:.1%} ({edge})",
            f"< {MAX_BEYOND_PRIOR:.0%}",
            bool(beyond[edge] < MAX_BEYOND_PRIOR), "the prior cuts the posterior: widen it",
        ),
    ]  # fmt: skip


def _predictive_check(fit: xr.DataTree) -> list[Check]:
    if "posterior_predictive" not in fit.children:
        return []
    group = fit["posterior_predictive"].to_dataset()
    p = group["tail_probability"]
    known = np.isfinite(p.values)
    if not known.any():
        return []
    outside = (p.values < 0.025) | (p.values > 0.975)
    share = float(outside[known].mean())
    far = np.abs(group["data"].values - group["replicated"].values)
    observable, age_bin = np.unravel_index(np.nanargmax(far), far.shape)[:2]
    low, high = (float(group[name][age_bin]) for name in ("age_lo", "age_hi"))
    where = f"{group['observable'].values[observable]}, {low:g}–{high:g} Gyr"
    return [
        Check(
            "posterior predictive",
            f"{share:.0%} outside; most {np.nanmax(far):.3f} dex ({where})",
            f"< {MAX_PPC_OUTSIDE:.0%}", share < MAX_PPC_OUTSIDE,
            "the model does not make stars like these: see the figure; more knots, or outliers",
        )
    ]  # fmt: skip


def _star_checks(fit: xr.DataTree) -> list[Check]:
    checks = []
    attrs = fit.attrs
    if "left_out" in attrs and "n_stars" in attrs:
        left_out = json.loads(str(attrs["left_out"]))
        lost, used = sum(left_out.values()), int(attrs["n_stars"])
        share = lost / max(lost + used, 1)
        why = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        checks.append(
            Check(
                "selected stars left out", f"{share:.1%}" + (f" ({why})" if why else ""),
                f"< {MAX_LEFT_OUT:.0%}", share < MAX_LEFT_OUT,
                "stars without an age or a radius are missing, and hardly at random",
            )
        )  # fmt: skip
    if "selected" in attrs and "catalogued" in attrs:
        share = 1 - int(attrs["selected"]) / max(int(attrs["catalogued"]), 1)
        checks.append(Check("stars flagged or not selected", f"{share:.1%}", "–", None))
    if "membership" in fit.children and "p_outlier" in fit["membership"]:
        share = float(fit["membership"]["p_outlier"].mean())
        checks.append(
            Check(
                "outliers", f"{share:.1%}", f"< {MAX_OUTLIERS:.0%}", share < MAX_OUTLIERS,
                "many stars belong to neither disc: another component, or bad data",
            )
        )  # fmt: skip
    return checks


def diagnose_fit(fit: xr.DataTree) -> list[Check]:
    """Judge a fit: sampler, prior, model and stars.

    Parameters
    ----------
    fit : xarray.DataTree
        docs/architecture.md has its groups; a check whose group is missing is left out.

    Returns
    -------
    list of Check
        `passed` is None where there is no verdict.
    """
    return [*check_fit(fit), *_prior_checks(fit), *_predictive_check(fit), *_star_checks(fit)]


def print_diagnosis(fit: xr.DataTree, *, say: Any = print) -> bool:
    """Print the table and what to do about each failure; return whether everything passed."""
    mark = {True: "pass", False: "FAIL", None: "–"}
    checks = diagnose_fit(fit)
    rows = [[mark[c.passed], c.name, c.value, c.limit] for c in checks]
    print_table("Diagnosis", ["", "check", "found", "limit"], rows, say=say)
    for c in checks:
        if c.passed is False and c.advice:
            say(f"  {c.name}: {c.advice}")
    failed = sum(c.passed is False for c in checks)
    say("")
    say("Every check passed." if not failed else f"{failed} of {len(checks)} checks failed.")
    return not failed
