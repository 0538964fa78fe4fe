"""Fit surveys that break the model's assumptions, one at a time, and count how often it is right.

    python docs/make_hostile.py [--surveys 40] [--workers 2] [--only LABEL]

Each survey is drawn from a thin disc of gradient −0.075 dex/kpc at 1 Gyr that flattens by
0.003 dex/kpc/Gyr, with what its label says done to it, and fitted with the default model. A line of
the table is the share of surveys whose central 95% interval holds the truth, the bias in units of
the error bar, and how many fits were withheld (`judge`). Results are kept in
``runs/hostile/surveys.jsonl``, and a survey that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from functools import cache
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.stats import norm, skewnorm

from migrate_bayes.checks.posterior.calibration import Refit
from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.mock.model_stars import AGES, PopulationTruth, SurveyErrors, simulated_stars
from migrate_bayes.population import ModelSpec, population_data
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.likelihood.theta import THETA
from migrate_bayes.population.results.diagnostics import judge
from migrate_bayes.population.results.predictive import posterior_predictive

STARS = 1000
LOCAL_STARS = 3000
LEDGER = Path("runs/hostile/surveys.jsonl")
TRUTH = {"gradient_young": -0.075, "flattening_rate": 0.003}
SKEWNESS = -5.0  # shape of the skew normal: a tail to poor stars
COLUMN = {name: i for i, name in enumerate(THETA)}


def _survey(seed: int, *, factor: float = 1.0, theta=None, stars: int = STARS) -> xr.Dataset:
    """Draw a survey whose errors are `factor` times those that it quotes."""
    e = SurveyErrors()
    names = ("age", "radius", "feh", "alpha", "height")
    actual = SurveyErrors(**{name: factor * getattr(e, name) for name in names})
    truth = PopulationTruth().theta(AGES) if theta is None else theta
    out = simulated_stars(stars, seed=seed, truth=truth, errors=actual)
    for name in ("rg_sd", "feh_error", "feh_sd", "alpha_fe_error", "height_sd"):
        out[name] = out[name] / factor
    out["log_age_likelihood"] = out["log_age_likelihood"] * factor**2
    return out


def _gross(seed: int) -> xr.Dataset:
    """Spoil one quantity of 5% of the stars: age, [Fe/H], [α/Fe] or radius, in turn."""
    out, rng = _survey(seed), np.random.default_rng([seed, 9])
    bad = np.flatnonzero(rng.random(STARS) < 0.05)
    other = rng.permutation(STARS)[: len(bad)]
    for k, (i, j) in enumerate(zip(bad, other, strict=True)):
        if k % 4 == 0:
            out["log_age_likelihood"][i] = out["log_age_likelihood"][j].values
        elif k % 4 == 1:
            step = rng.normal(0.0, 0.4)
            out["feh"][i] += step
            out["feh_mean"][i] += step
        elif k % 4 == 2:
            out["alpha_fe"][i] += rng.normal(0.0, 0.15)
        else:
            out["rg_mean"][i] += rng.normal(0.0, 2.0)
    return out


def _thick(seed: int, share: float) -> xr.Dataset:
    return _survey(seed, theta=PopulationTruth(thick_fraction=share).theta(AGES))


def _alpha_with_age(seed: int) -> xr.Dataset:
    """Let the thin disc's [α/Fe] grow from 0.02 at 1 Gyr to 0.2 at 12 Gyr."""
    theta = PopulationTruth().theta(AGES)
    theta[0, :, COLUMN["a"]] = 0.02 + 0.18 * (AGES - 1.0) / 11.0
    return _survey(seed, theta=theta)


def _skewed(seed: int) -> xr.Dataset:
    """Carry the normal scatter of [Fe/H] at given radius to a skew one of the same mean and sd."""
    theta, out = PopulationTruth().theta(AGES), _survey(seed)
    node = np.searchsorted(AGES, out["true_age"].values - 1e-9)
    law = theta[out["true_component"].values.astype(int), node].T
    mean = law[COLUMN["Z"]] + law[COLUMN["G"]] * (out["true_rg"].values - PIVOT_RADIUS)
    sd = np.sqrt(law[COLUMN["s2"]])
    u = np.clip(norm.cdf((out["true_feh"].values - mean) / sd), 1e-9, 1 - 1e-9)
    centre, variance = skewnorm.stats(SKEWNESS)
    step = mean + sd * (skewnorm.ppf(u, SKEWNESS) - centre) / np.sqrt(variance)
    step = step - out["true_feh"].values
    out["feh"] = out["feh"] + step
    out["feh_mean"] = out["feh_mean"] + step[:, None]
    out["alpha_fe"] = out["alpha_fe"] + law[COLUMN["b"]] * step
    return out


def _local(seed: int) -> xr.Dataset:
    """Keep to the solar neighbourhood: radii of the thin disc within 0.8 kpc of each other."""
    theta = PopulationTruth().theta(AGES)
    theta[0, :, COLUMN["mu"]] = 8.0 - 0.03 * AGES
    theta[0, :, COLUMN["sigma2"]] = (0.6 + 0.03 * AGES) ** 2
    theta[1, :, COLUMN["mu"]], theta[1, :, COLUMN["sigma2"]] = 6.8, 1.2**2
    return _survey(seed, theta=theta, stars=LOCAL_STARS)


KINDS = {
    "as assumed": _survey,
    "errors 1.5 times those quoted": lambda seed: _survey(seed, factor=1.5),
    "errors 2 times those quoted": lambda seed: _survey(seed, factor=2.0),
    "5% gross errors": _gross,
    "no thick disc": lambda seed: _thick(seed, 0.0),
    "50% thick disc": lambda seed: _thick(seed, 0.5),
    "thin-disc [α/Fe] to 0.2 at 12 Gyr": _alpha_with_age,
    "skewed [Fe/H]": _skewed,
    "3,000 local stars": _local,
}


@cache
def _refit() -> Refit:
    return Refit(ModelSpec(), STARS, SurveyErrors())


def one(job: tuple[str, int]) -> dict:
    """Fit one survey."""
    label, survey = job
    seed = 1000 * (1 + list(KINDS).index(label)) + survey
    stars, refit = KINDS[label](seed), _refit()
    data = population_data(stars, classes=refit.classes, trim=1e-7)
    density = refit.density.over(StarLikelihood(data.stars, workers=1))
    fit = refit.model.sample(
        density=density, cores=1, seed=seed, prior_draws=0, progressbar=False, draws=400, chains=2,
        starts=2, method="nuts", attrs={"n_stars": data.n_stars}, patience=1,
    )  # fmt: skip
    thetas = refit.model.theta_draws(fit, n=40)
    fit["predictive_check"] = posterior_predictive(data, thetas, stars=STARS, seed=0)
    out = {"label": label, "survey": survey, "believed": judge(fit).believed}
    out["causes"] = [cause.text for cause in judge(fit).causes]
    for name in TRUTH:
        draws = fit["posterior"][name].values.ravel()
        out[name] = [float(draws.mean()), float(draws.std()), *np.quantile(draws, [0.025, 0.975])]
    out["thick_fraction"] = float(fit["posterior"]["thick_fraction"].mean())
    return out


def table(lines: list[dict]) -> str:
    """Write the table, in Markdown."""
    head = "| surveys | young gradient: held | bias/σ | rate: held | bias/σ | thick | withheld |"
    rows = [head, "|---|---|---|---|---|---|---|"]
    for label in KINDS:
        mine = [line for line in lines if line["label"] == label]
        if not mine:
            continue
        kept = [line for line in mine if line["believed"]]
        cells = [f"{label} ({len(mine)})"]
        for name, true in TRUTH.items():
            inside = sum(line[name][2] <= true <= line[name][3] for line in kept)
            pull = [(line[name][0] - true) / line[name][1] for line in kept]
            cells += [f"{inside}/{len(kept)}", f"{np.mean(pull):+.2f}" if pull else "–"]
        share = np.mean([line["thick_fraction"] for line in mine])
        rows.append("| " + " | ".join([*cells, f"{share:.3f}", str(len(mine) - len(kept))]) + " |")
    return "\n".join(rows)


def main() -> None:
    """Make the surveys that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surveys", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=list(KINDS))
    args = parser.parse_args()
    LEDGER.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        [json.loads(line) for line in LEDGER.read_text().splitlines()] if LEDGER.exists() else []
    )
    done = {(line["label"], line["survey"]) for line in lines}
    labels = [args.only] if args.only else list(KINDS)
    jobs = [(label, k) for k in range(args.surveys) for label in labels]
    jobs = [job for job in jobs if job not in done]
    with (
        multiprocessing.get_context("spawn").Pool(args.workers) as pool,
        LEDGER.open("a") as ledger,
    ):
        for line in pool.imap_unordered(one, jobs):
            lines.append(line)
            ledger.write(json.dumps(line) + "\n")
            ledger.flush()
            print(len(lines), line["label"], line["believed"], flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
