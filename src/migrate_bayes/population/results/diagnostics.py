r"""Numbers of a fit, and whether it can be believed: limits and a verdict on each.

*The sampler* (`check_fit`): rank-normalised R-hat and effective sample sizes (Vehtari et al. 2021,
Bayesian Analysis 16, 667) and the energy's Bayesian fraction of missing information (Betancourt
2016, arXiv:1604.00695), over all parameters that were sampled. `diagnose` adds

- *prior-data conflict*: the distance of the posterior from the prior,
  :math:`|\bar θ_\mathrm{post} - \bar θ_\mathrm{prior}| / \sqrt{s_\mathrm{prior}^2 +
  s_\mathrm{post}^2}`; beyond 3 the prior did not expect what the stars say;
- *posterior at the prior's edge*: the share of draws outside the prior's central 99% (of what may
  be nothing, a scatter, gap or density, above it);
- *posterior predictive tails*: the share of tested quantiles of [Fe/H] and [α/Fe] that lie outside
  95% of their replicates, which is 5% if the model is right;
- *stars left out* and the share of stars that fit no component (outliers).

A check that fails has a caveat beside the headline. Beyond a second, *grave* limit the numbers mean
nothing, and the headline is withheld (`judge`):

- R-hat of 1.05 or more of any parameter: the chains' means scatter by 0.32 posterior standard
  deviations or more, so that they have not sampled one distribution;
- a bulk ESS below 100, over all chains, of a headline quantity: the Monte-Carlo error of its median
  is then an eighth of a standard deviation or more, and R-hat too noisy to warn;
- more than 1% of the transitions divergent: the sampler cannot enter a part of the posterior;
- Pareto k̂ of 0.7 or more of weights that were used: no mean over the draws has a finite error;
- a fifth or more of the tested quantiles of [Fe/H], or of [α/Fe], outside 95% of their replicates
  *and* by more than 0.05 dex. Sparse bins of a model that is right stray as far, and bins of many
  stars fall outside by less; few do both. Half the thin disc's gradient makes a fifth, whether of
  1,500 stars or of 4,000 (tests/population/test_diagnose.py);
- more than half of the selected stars left out: the fit is of another sample than was asked for;
- a second maximum of the posterior whose evidence is less than e⁵ times smaller: the draws are of
  one maximum, and the stars have not decided against the other;
- a thick disc that is younger than the thin one in more than 5% of the draws.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.io import read_netcdf
from migrate_bayes.core.table import Estimate, Table

Floats = NDArray[np.float64]

# A limit of each check. ESS is per chain, as Vehtari et al. advise.
MAX_R_HAT = 1.01
MIN_ESS_PER_CHAIN = 100
MIN_BFMI = 0.3
MAX_PARETO_K = 0.7  # above it, no mean over the weights can be trusted (Vehtari et al. 2024)
MAX_CONFLICT = 3.0
MAX_BEYOND_PRIOR = 0.05
MAX_PPC_OUTSIDE = 0.15
MAX_LEFT_OUT = 0.10
MAX_OUTLIERS = 0.05

# Limits beyond which the headline is withheld; the reasons stand at the top of the file.
GRAVE_R_HAT = 1.05
GRAVE_ESS = 100
GRAVE_DIVERGENT = 0.01
GRAVE_MISFIT = 0.05  # dex
GRAVE_PPC_FAR = 0.20
GRAVE_LEFT_OUT = 0.50
GRAVE_EVIDENCE = 5.0  # ln of the ratio to the second maximum's
GRAVE_YOUNGER = 0.05
# Fewer stars than these tell nothing of a disc.
MIN_THICK_STARS = 20

#: Quantities of the headline that every fit has.
HEADLINE = ("gradient_young", "flattening_rate", "gradient_thick")

#: And others that `summary` shows where a fit has them.
_MAIN = (*HEADLINE, "thick_fraction", "birth_gradient", "sigma_rm8")

# Parameters that are ln of a scatter, of a gap or of a density.
_LOGARITHMS = ("log_", "age_weight_")

# What to do about a check that fails.
_ADVICE = {
    "R-hat": "chains disagree: tune longer, or look for two modes in the rank plots",
    "bulk ESS": "draw more",
    "tail ESS": "draw more",
    "divergences": "raise target_accept, or tune longer",
    "longest trajectories": "tune longer",
    "energy BFMI": "heavy tails or a funnel: tune longer, or another parameterisation",
    "Pareto k̂": "the importance weights cannot be trusted: sample with NUTS",
    "Pareto k̂ of the surrogate": "given up: these draws are NUTS's, on the stars",
    "prior-data conflict": "the stars contradict the prior: widen it in the model file, or look "
    "for a wrong unit",
    "posterior at prior's edge": "the prior cuts the posterior: widen it",
    "posterior predictive": "the model does not make stars like these: see the figure; more knots, "
    "or outliers",
    "selected stars left out": "stars without an age or a radius are missing, and hardly at "
    "random: mend these columns, or select stars that have them",
    "posterior maxima": "the stars allow both answers, of which the draws are one: more stars, "
    "fewer knots, or priors that decide",
    "thick disc older than thin": "the second component is no thick disc: look at membership in "
    "[α/Fe] and Z_max, for stars of wrong age and for errors that are too small",
    "thick-disc stars": "the thick disc's gradient is the prior's: quote the thin disc's alone",
    "outliers": "many stars belong to neither disc: another component, or bad data",
}


class Check(NamedTuple):
    """One diagnostic: `passed` is None if the fit does not hold what it needs.

    `grave` says that a failure makes the headline meaningless, rather than less sure. A diagnostic
    with two limits has the one that it breaks.
    """

    name: str
    value: str
    limit: str
    passed: bool | None
    grave: bool = False

    @property
    def advice(self) -> str:
        """What to do if the check fails; "" if it has no verdict."""
        return _ADVICE.get(self.name, "")

    @property
    def text(self) -> str:
        """Name, value and limit in a line."""
        return f"{self.name} {self.value}, limit {self.limit}"


class Verdict(NamedTuple):
    """What the checks of a fit say of its headline.

    Parameters
    ----------
    checks : sequence of Check
        Of one fit, or none without a fit.

    Examples
    --------
    >>> from migrate_bayes.population.results.diagnostics import Check, Verdict
    >>> bad = Check("R-hat", "1.080 (alpha_thin[2])", "< 1.05", False, grave=True)
    >>> print(Verdict([bad]).sentence)
    The fit may not be believed: R-hat 1.080 (alpha_thin[2]), limit < 1.05. Next: chains disagree: \
tune longer, or look for two modes in the rank plots.
    """

    checks: Sequence[Check] = ()

    @property
    def causes(self) -> list[Check]:
        """Failures that make the headline meaningless."""
        return [c for c in self.checks if c.passed is False and c.grave]

    @property
    def caveats(self) -> list[Check]:
        """Failures that leave the headline standing."""
        return [c for c in self.checks if c.passed is False and not c.grave]

    @property
    def believed(self) -> bool:
        """Whether the headline may be shown."""
        return not self.causes

    @property
    def outcome(self) -> str:
        """How many checks passed, or which failed: the words of a run, `diagnose` and a report."""
        judged = [c for c in self.checks if c.limit != "–"]
        unknown = [c.name for c in judged if c.passed is None]
        if failed := [c.name for c in judged if c.passed is False]:
            return f"fails {len(failed)} of {len(judged)} checks ({', '.join(failed)})"
        after = f"; {', '.join(unknown)} could not be judged" if unknown else ""
        return f"passes {len(judged) - len(unknown)} of {len(judged)} checks{after}"

    @property
    def sentence(self) -> str:
        """Causes and next steps in a line; "" if the fit may be believed."""
        if self.believed:
            return ""
        steps = dict.fromkeys(c.advice for c in self.causes if c.advice)
        after = f" Next: {'; '.join(steps)}." if steps else ""
        return f"The fit may not be believed: {'; '.join(c.text for c in self.causes)}.{after}"

    @property
    def lines(self) -> list[str]:
        """Lines under the headline: causes with next steps, or else the caveats."""
        if self.believed:
            failed = "; ".join(c.text for c in self.caveats)
            return [f"Read with care, for a check failed: {failed}."] if failed else []
        causes = [f"  {c.text}. Next: {c.advice}." for c in self.causes]
        return ["The fit may not be believed; its numbers are withheld:", *causes]

    @property
    def attrs(self) -> dict[str, str]:
        """Attributes that record the verdict in a fit: ``believed`` and, as JSON, ``causes``."""
        causes = json.dumps([c[:3] for c in self.causes], ensure_ascii=False)
        return {"believed": "yes" if self.believed else "no", "causes": causes}


def read_fit(path: str | Path) -> xr.DataTree:
    """Read a fit: a file, or a run's folder, which holds ``fit.nc``."""
    path = Path(path)
    if path.suffix == ".toml":
        raise ProductError(f"{path} is a recipe: give its run's folder, {path.with_suffix('')}")
    file = path / "fit.nc" if path.is_dir() else path
    if not file.is_file():
        raise ProductError(f"no fit at {path}: give a run's folder or its fit.nc")
    tree = read_netcdf(file)
    if "posterior" not in tree.children:
        raise ProductError(f"{file} is no fit: it has no posterior")
    return tree


def summary_table(fit: xr.DataTree) -> Any:
    """ArviZ's summary of the parameters, unrounded, as a pandas DataFrame; empty without draws."""
    import arviz as az
    import pandas as pd

    posterior = fit["posterior"].to_dataset() if "posterior" in fit.children else xr.Dataset()
    # Curves over the age grid are functions of the parameters.
    names = [
        str(name)
        for name, v in posterior.data_vars.items()
        if {"chain", "draw"} <= set(v.dims)
        and "age" not in v.dims
        and v.dtype.kind == "f"
        and float(v.max()) > float(v.min())
    ]
    if not names:
        return pd.DataFrame()
    with warnings.catch_warnings():
        # Too few draws is what the table itself shows.
        warnings.simplefilter("ignore")
        return az.summary(fit, var_names=names, ci_prob=0.68, round_to="none")


def summary(fit: xr.DataTree) -> Any:
    """Summarise the main numbers of a fit; `arviz.summary` has those of every parameter.

    Parameters
    ----------
    fit : xarray.DataTree
        From `PopulationModel.sample`, or the ``fit.nc`` of a run.

    Returns
    -------
    pandas.DataFrame
        `mean`, `sd`, the central 68% interval, effective sample sizes and R-hat as ArviZ has them,
        and `unit`, of the gradients, the rate, the thick disc's share and, under the form
        ``diffusion``, the gas and the spread of radii.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from migrate_bayes import summary
    >>> draws = np.random.default_rng(1).normal(-0.075, 0.001, (2, 500))
    >>> young = xr.Dataset({"gradient_young": (("chain", "draw"), draws, {"units": "dex / kpc"})})
    >>> summary(xr.DataTree.from_dict({"posterior": young}))[["mean", "sd", "unit"]]
                        mean       sd       unit
    gradient_young  -0.07505  0.00099  dex / kpc
    """
    import arviz as az

    posterior = fit["posterior"].to_dataset()
    names = [name for name in _MAIN if name in posterior]
    table = az.summary(posterior[names], ci_kind="eti", ci_prob=0.68)
    return table.assign(unit=[posterior[name].attrs.get("units", "") for name in names])


def energy_of(fit: xr.DataTree) -> Floats | None:
    """Hamiltonian by chain and draw; None if the sampler left none."""
    if "sample_stats" not in fit.children or "energy" not in fit["sample_stats"]:
        return None
    return np.asarray(fit["sample_stats"]["energy"].transpose("chain", "draw").values, dtype=float)


def missing_information(energy: Floats) -> Floats:
    """Bayesian fraction of missing information of each chain: E[ΔE²] / Var[E]."""
    variance = np.var(energy, axis=1)
    step = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return np.divide(step, variance, out=np.full_like(step, np.nan), where=variance > 0)


def posterior_estimate(fit: xr.DataTree | None, name: str) -> Estimate | None:
    """Median and central 68% interval of a scalar of the posterior; None if there is none."""
    if fit is None or "posterior" not in fit.children or name not in fit["posterior"]:
        return None
    draws = fit["posterior"].to_dataset()[name]
    return Estimate.of_draws(draws.values.ravel()) if set(draws.dims) == {"chain", "draw"} else None


def gradient_estimate(fit: xr.DataTree | None, component: str, age: float) -> Estimate | None:
    """Fitted gradient (dex/kpc) of a component at an age (Gyr); None outside the curve."""
    if fit is None or "posterior" not in fit.children or "gradient" not in fit["posterior"]:
        return None
    curve = fit["posterior"].to_dataset()["gradient"]
    if component not in curve["component"].values:
        return None
    curve = curve.sel(component=component)
    ages = curve["age"].values
    if not ages.min() <= age <= ages.max():
        return None
    return Estimate.of_draws(curve.interp(age=age).values.ravel())


def baseline_estimate(baseline: xr.Dataset | None, method: str, name: str) -> Estimate | None:
    """A number of a baseline, or of one of its bins, with its 1σ error; None if it has none."""
    if baseline is None or name not in baseline:
        return None
    row = baseline.sel(regression=method)
    value = float(row[name])
    return Estimate.symmetric(value, float(row[f"{name}_error"])) if math.isfinite(value) else None


def youngest_bin(baseline: xr.Dataset | None) -> tuple[float, float, float] | None:
    """Centre and edges (Gyr) of the youngest age bin that has a slope."""
    if baseline is None:
        return None
    good = np.flatnonzero(np.isfinite(baseline["slope"].values).any(axis=0))
    if not len(good):
        return None
    first = baseline.isel(age_bin=int(good[0]))
    return float(first["age_bin"]), float(first["age_lo"]), float(first["age_hi"])


def _worst(table: Any, column: str, largest: bool) -> tuple[float, str]:
    """The extreme of a column and the parameter it belongs to; NaN and "" if there is none."""
    values = np.asarray(table[column], dtype=float)
    if not np.isfinite(values).any():
        return np.nan, ""
    at = int(np.nanargmax(values) if largest else np.nanargmin(values))
    return float(values[at]), str(table.index[at])


def check_fit(fit: xr.DataTree, table: Any = None) -> list[Check]:
    """Judge the sampler; `table` is `summary_table` of the fit, if it is at hand."""
    table = summary_table(fit) if table is None else table
    checks = []
    if len(table):
        worst, of = _worst(table, "r_hat", largest=True)
        value, passed = (f"{worst:.3f} ({of})", worst < MAX_R_HAT) if of else ("n/a", None)
        grave = worst >= GRAVE_R_HAT
        limit = f"< {GRAVE_R_HAT if grave else MAX_R_HAT}"
        checks.append(Check("R-hat", value, limit, passed, grave))
        sizes = fit["posterior"].sizes
        enough = MIN_ESS_PER_CHAIN * sizes["chain"]
        shown = table.loc[[name for name in HEADLINE if name in table.index]]
        for column, name in (("ess_bulk", "bulk ESS"), ("ess_tail", "tail ESS")):
            worst, of = _worst(table, column, largest=False)
            value, passed = (f"{worst:,.0f} ({of})", worst >= enough) if of else ("n/a", None)
            check = Check(name, value, f"≥ {enough:,}", passed)
            if column == "ess_bulk" and len(shown):
                # It cannot be computed of a handful of draws.
                worst, of = _worst(shown, column, largest=False)
                if not of:
                    worst, of = sizes["chain"] * sizes["draw"], "all draws"
                if worst < GRAVE_ESS:
                    value = f"{worst:,.0f} ({of})"
                    check = Check(name, value, f"≥ {GRAVE_ESS}", False, grave=True)
            checks.append(check)
    stats = fit["sample_stats"].to_dataset() if "sample_stats" in fit.children else xr.Dataset()
    if "diverging" in stats:
        count, share = int(stats["diverging"].sum()), float(stats["diverging"].mean())
        if share > GRAVE_DIVERGENT:
            value, limit = f"{count:,} ({share:.1%})", f"≤ {GRAVE_DIVERGENT:.0%}"
            checks.append(Check("divergences", value, limit, False, grave=True))
        else:
            checks.append(Check("divergences", f"{count:,}", "0", count == 0))
    else:
        checks.append(Check("divergences", "not recorded", "0", None))
    names = ("reached_max_treedepth", "maxdepth_reached")  # PyMC's, nutpie's
    if depth := next((name for name in names if name in stats), None):
        share = float(stats[depth].mean())
        checks.append(Check("longest trajectories", f"{share:.1%}", "< 1%", share < 0.01))
    energy = energy_of(fit)
    if energy is not None and energy.shape[1] > 1:
        worst = float(np.min(missing_information(energy)))
        known = bool(np.isfinite(worst))
        value, passed = (f"{worst:.2f}", worst > MIN_BFMI) if known else ("n/a", None)
        checks.append(Check("energy BFMI", value, f"> {MIN_BFMI}", passed))
    limit = f"< {MAX_PARETO_K}"
    if "pareto_k" in fit.attrs:
        k, ess = float(fit.attrs["pareto_k"]), fit.attrs.get("importance_ess")
        of = "" if ess is None else f" (ESS of the weights {float(ess):,.0f})"
        checks.append(Check("Pareto k̂", f"{k:.2f}{of}", limit, k < MAX_PARETO_K, grave=True))
    if "surrogate_pareto_k" in fit.attrs:
        k = float(fit.attrs["surrogate_pareto_k"])
        checks.append(Check("Pareto k̂ of the surrogate", f"{k:.2f}", limit, None))
    return checks


def _prior_checks(fit: xr.DataTree) -> list[Check]:
    """Of every number that was sampled and is not fixed, the draws of prior and posterior."""
    if "prior" not in fit.children:
        return []
    posterior, prior = fit["posterior"].to_dataset(), fit["prior"].to_dataset()
    conflict, beyond = {}, {}
    for name in (str(n) for n in posterior.data_vars if n in prior):
        if "age" in posterior[name].dims:
            continue
        both = [g[name].transpose("chain", "draw", ...).values for g in (posterior, prior)]
        both = [values.reshape(values.shape[0] * values.shape[1], -1).T for values in both]
        for i, (after, before) in enumerate(zip(*both, strict=True)):
            if np.ptp(before) > 0 and np.ptp(after) > 0:
                one = name if len(both[0]) == 1 else f"{name}[{i}]"
                width = np.hypot(before.std(), after.std())
                conflict[one] = abs(after.mean() - before.mean()) / width
                low, middle, high = np.quantile(before, [0.005, 0.5, 0.995])
                # A scale or share whose prior is highest at zero has no edge there, nor has the ln
                # of one: below some size all are the same to the stars. Of such a prior the first
                # quantile is 0.01 of the median, of 500 draws up to 0.04.
                ends_at_zero = before.min() >= 0 and low < 0.05 * middle
                low = -np.inf if ends_at_zero or name.startswith(_LOGARITHMS) else low
                beyond[one] = float(((after < low) | (after > high)).mean())
    if not conflict:
        return []
    worst, edge = max(conflict, key=conflict.__getitem__), max(beyond, key=beyond.__getitem__)
    far, share = conflict[worst], beyond[edge]
    value, limit = f"{share:.1%} ({edge})", f"< {MAX_BEYOND_PRIOR:.0%}"
    return [
        Check("prior-data conflict", f"{far:.1f} σ ({worst})", f"< {MAX_CONFLICT:g} σ",
              bool(far < MAX_CONFLICT)),
        Check("posterior at prior's edge", value, limit, share < MAX_BEYOND_PRIOR),
    ]  # fmt: skip


def _predictive_check(fit: xr.DataTree) -> list[Check]:
    if "predictive_check" not in fit.children:
        return []
    group = fit["predictive_check"].to_dataset()
    p = group["tail_probability"].values
    known = np.isfinite(p)
    if not known.any():
        return []
    outside = known & ((p < 0.025) | (p > 0.975))
    share = float(outside[known].mean())
    far = np.abs(group["data"].values - group["replicated"].values)
    # Of each observable, the share of its quantiles.
    tested = known.sum(axis=(1, 2, 3))
    wrong = (outside & (far > GRAVE_MISFIT)).sum(axis=(1, 2, 3)) / np.maximum(tested, 1)
    if wrong.max() >= GRAVE_PPC_FAR:
        of = group["observable"].values[wrong.argmax()]
        value = f"{wrong.max():.0%} of {of} outside by over {GRAVE_MISFIT} dex"
        limit = f"< {GRAVE_PPC_FAR:.0%}"
        return [Check("posterior predictive", value, limit, False, grave=True)]
    observable, age_bin = np.unravel_index(np.nanargmax(far), far.shape)[:2]
    low, high = (float(group[name][age_bin]) for name in ("age_lo", "age_hi"))
    at = f"{group['observable'].values[observable]}, {low:g}–{high:g} Gyr"
    value = f"{share:.0%} outside; most {np.nanmax(far):.3f} dex ({at})"
    limit = f"< {MAX_PPC_OUTSIDE:.0%}"
    return [Check("posterior predictive", value, limit, share < MAX_PPC_OUTSIDE)]


def _star_checks(fit: xr.DataTree) -> list[Check]:
    checks, attrs = [], fit.attrs
    if "left_out" in attrs and "n_stars" in attrs:
        left_out = json.loads(str(attrs["left_out"]))
        lost = sum(left_out.values())
        share = lost / max(lost + int(attrs["n_stars"]), 1)
        why = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        value, grave = f"{share:.1%}" + (f" ({why})" if why else ""), share > GRAVE_LEFT_OUT
        limit = f"≤ {GRAVE_LEFT_OUT:.0%}" if grave else f"< {MAX_LEFT_OUT:.0%}"
        checks.append(Check("selected stars left out", value, limit, share < MAX_LEFT_OUT, grave))
    if "selected" in attrs and "catalogued" in attrs:
        share = 1 - int(attrs["selected"]) / max(int(attrs["catalogued"]), 1)
        checks.append(Check("stars flagged or not selected", f"{share:.1%}", "–", None))
    if "membership" in fit.children and "p_outlier" in fit["membership"]:
        share = float(fit["membership"]["p_outlier"].mean())
        limit = f"< {MAX_OUTLIERS:.0%}"
        checks.append(Check("outliers", f"{share:.1%}", limit, share < MAX_OUTLIERS))
    return checks


def _disc_checks(fit: xr.DataTree) -> list[Check]:
    """Whether the posterior has one maximum, and its discs are what they are called."""
    checks = []
    modes: list[dict[str, Any]] = json.loads(str(fit.attrs.get("modes", "[]")))
    if modes:
        starts = sum(mode["starts"] for mode in modes)
        value, passed = f"1 ({starts} of {starts} starts)", True
        if len(modes) > 1:
            one, other = modes[:2]
            lower = -float(other["log_evidence"])
            names = [name for name in HEADLINE if name in one]
            apart = ", ".join(f"{name} {one[name]:.4f} or {other[name]:.4f}" for name in names)
            value = f"{len(modes)}, ln evidence {lower:.1f} lower: {apart}"
            passed = lower >= GRAVE_EVIDENCE
        limit = f"one, or {GRAVE_EVIDENCE:g} lower"
        checks.append(Check("posterior maxima", value, limit, passed, grave=True))
    posterior = fit["posterior"].to_dataset() if "posterior" in fit.children else xr.Dataset()
    if "thick_fraction" in posterior and "n_stars" in fit.attrs:
        stars = float(posterior["thick_fraction"].mean()) * int(fit.attrs["n_stars"])
        enough = stars >= MIN_THICK_STARS
        checks.append(Check("thick-disc stars", f"{stars:,.0f}", f"≥ {MIN_THICK_STARS}", enough))
        if "mean_age" in posterior and enough:
            age = posterior["mean_age"]
            share = float((age.sel(disc="thick") < age.sel(disc="thin")).mean())
            value, limit = f"not in {share:.1%} of draws", f"< {GRAVE_YOUNGER:.0%}"
            passed = share < GRAVE_YOUNGER
            checks.append(Check("thick disc older than thin", value, limit, passed, grave=True))
    return checks


def diagnose(fit: xr.DataTree, table: Any = None) -> list[Check]:
    """Judge a fit: sampler, prior, model and stars.

    Parameters
    ----------
    fit : xarray.DataTree
        From `PopulationModel.sample`, or the ``fit.nc`` of a run; docs/architecture.md has its
        groups. A check whose group is missing is left out.
    table : pandas.DataFrame, optional
        `summary_table` of the fit, if it is at hand.

    Returns
    -------
    list of Check
        `name`, `value`, `limit`, `passed` (None if there is no verdict), `grave` and `advice`.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from migrate_bayes.population import diagnose
    >>> stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 50), bool))})
    >>> [check.passed for check in diagnose(xr.DataTree.from_dict({"sample_stats": stats}))]
    [True]
    """
    return [
        *check_fit(fit, table), *_disc_checks(fit), *_prior_checks(fit), *_predictive_check(fit),
        *_star_checks(fit),
    ]  # fmt: skip


def judge(fit: xr.DataTree | None, table: Any = None) -> Verdict:
    """Say whether the headline of a fit may be believed, and if not, why.

    Parameters
    ----------
    fit : xarray.DataTree, optional
        A fit, as `diagnose` takes it. A cause that its attributes record (`Verdict.attrs`) stands
        if the fit does not hold what that check needs, as a variant of a comparison, which keeps no
        chains; otherwise the check is made anew.
    table : pandas.DataFrame, optional
        `summary_table` of the fit, if it is at hand.

    Returns
    -------
    Verdict
        `believed`, `causes` (grave failures) and `caveats` (other failures). Without a fit there
        is nothing to doubt.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes.population.results.diagnostics import judge
    >>> fit = xr.DataTree()
    >>> fit.attrs["pareto_k"] = 1.2
    >>> [cause.text for cause in judge(fit).causes]
    ['Pareto k̂ 1.20, limit < 0.7']
    """
    if fit is None:
        return Verdict()
    checks = diagnose(fit, table)
    known = {c.name for c in checks if c.passed is not None}
    recorded = [
        Check(str(name), str(value), str(limit), passed=False, grave=True)
        for name, value, limit in json.loads(str(fit.attrs.get("causes", "[]")))
    ]
    return Verdict([*checks, *(c for c in recorded if c.name not in known)])


def print_diagnosis(fit: xr.DataTree, *, say: Callable[[str], None] = print) -> bool:
    """Print the checks of `judge` and what to do about each failure; return if all passed."""
    mark = {True: "pass", False: "FAIL", None: "–"}
    verdict = judge(fit)
    checks = verdict.checks
    rows = [[mark[c.passed], c.name, c.value, c.limit] for c in checks]
    Table("Diagnosis", ["", "check", "found", "limit"], rows).print(say)
    failures = [c for c in checks if c.passed is False]
    for c in failures:
        say(f"  {c.name}: {c.advice}")
    say("")
    say(f"The fit {verdict.outcome}.")
    if not verdict.believed:
        say(verdict.sentence)
    return not failures
