r"""Speed and memory of the population fit at survey size, and its posterior against the truth.

Stars come straight from the population model with continuous ages
(`migrate_bayes.mock.model_stars`). The fit runs in a process of its own, whose peak memory is
reported. A plain PyTensor graph of the same likelihood, gradient included, is timed beside the
kernel on as many stars as it can hold in a few GB; its value is a check on the kernel's.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.speed import harness
from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.mock.model_stars import AGES, PopulationTruth, SurveyErrors, simulated_stars
from migrate_bayes.population import PopulationModel, population_data
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.likelihood.theta import THETA

# Stars of the plain graph: its arrays on (star, component, age), forty and more at once, take 3 GB.
GRAPH_STARS = 40_000
# Error of ages that leaves some eight nodes of the paper's age grid to a star.
AGE_ERROR = 0.045
_JUDGED = ("gradient_young", "flattening_rate", "gradient_thick")


def _stars(n: int, seed: int) -> xr.Dataset:
    return simulated_stars(n, seed=seed, errors=SurveyErrors(age=AGE_ERROR))


def pytensor_graph(stars: xr.Dataset, theta: NDArray[np.float64]) -> Any:
    """Compile Σ ln L and its gradient in θ as a plain PyTensor graph over dense arrays.

    `stars` are StarPosteriors of one potential, `theta` (component, age, n_theta) is an example;
    the function returned takes θ to (value, gradient).
    """

    def column(name: str) -> NDArray[np.float64]:
        return np.asarray(stars[name].values, dtype=float).reshape(len(stars["feh"]), -1)[:, None]

    weight = column("log_age_likelihood")
    weight = weight - weight.max(axis=-1, keepdims=True)
    F, eF = column("feh_mean"), column("feh_sd") ** 2
    R, eR = column("rg_mean"), column("rg_sd") ** 2
    A, eA = column("alpha_fe"), column("alpha_fe_error") ** 2
    z, ez = column("height_mean"), column("height_sd") ** 2

    t = pt.dtensor3("theta")
    lnp, mu, sig2, Z, G, s2, a, b, t2, m, q2 = (t[None, :, :, p] for p in range(THETA.index("k")))
    V1 = sig2 + eR
    h = sig2 / V1
    C = s2 + G**2 * h * eR
    V2 = C + eF
    mean = Z + G * (mu + h * (R - mu) - PIVOT_RADIUS)
    r2 = F - mean
    V3 = b**2 * (C / V2) * eF + t2 + eA
    V4 = q2 + ez
    r3 = A - a - b * (mean + C / V2 * r2)
    chi2 = (R - mu) ** 2 / V1 + r2**2 / V2 + r3**2 / V3 + (z - m) ** 2 / V4
    log_term = weight + lnp - 0.5 * (chi2 + pt.log(V1 * V2 * V3 * V4)) - 2 * np.log(2 * np.pi)
    value = pt.logsumexp(log_term.reshape((len(F), -1)), axis=1).sum()
    return pytensor.function([t], [value, pytensor.grad(value, t)])


def fit_run(stars: int, seed: int, draws: int, method: Any) -> dict[str, Any]:
    """Fit simulated stars; return times, diagnostics and the truth against the posterior."""
    truth = PopulationTruth()
    data = population_data(_stars(stars, seed))
    model = PopulationModel(data)
    likelihood = model.likelihood
    theta = truth.theta(AGES)
    parts = {n: likelihood.subset(n) for n in (stars // 4, stars // 2, stars)}
    growth = harness.scaling(lambda n: parts[n].value_and_gradient(theta), [*parts], repeats=3)
    seconds = harness.best_time(lambda: likelihood.value_and_gradient(theta), repeats=5)
    cpu = time.process_time()
    tree = model.sample(
        method=method, draws=draws, seed=seed, prior_draws=0, progressbar=False, shown=False
    )
    cpu = time.process_time() - cpu
    posterior, about = tree["posterior"].to_dataset(), tree.attrs
    against = {}
    for name in _JUDGED:
        values = posterior[name].values.ravel()
        low, high = np.quantile(values, [0.025, 0.975])
        true = truth.named()[name]
        against[name] = {
            "truth": true, "mean": values.mean(), "sd": values.std(ddof=1),
            "low": low, "high": high, "inside": bool(low <= true <= high),
        }  # fmt: skip
    return {
        "stars": data.n_stars,
        "nodes_per_star": data.stars.mean_nodes,
        "gradient_seconds": seconds,
        "stars_per_second": data.n_stars / seconds,
        "scaling": growth,
        "method": about["method"],
        "posterior_seconds": about["wall_seconds"],
        "posterior_processor_seconds": cpu,
        **{name: about[name] for name in ("mode_seconds", "passes")},
        "khat": about.get("pareto_k"),
        **{name: about.get(name) for name in ("importance_ess", "log_ratio_sd")},
        "draws": int(posterior.sizes["chain"] * posterior.sizes["draw"]),
        **{name: about[name] for name in ("r_hat", "ess_bulk")},
        "divergences": int(tree["sample_stats"]["diverging"].sum()),
        "truth": against,
    }


def benchmark_fit(*, stars: int, draws: int, method: str, seed: int) -> dict[str, Any]:
    """Time a gradient and a whole posterior, of `draws` draws in each of four chains."""
    machine = harness.machine()
    alone = harness.in_fresh_process(fit_run, stars=stars, seed=seed, draws=draws, method=method)
    n = min(stars, GRAPH_STARS)
    few, theta = _stars(n, seed), PopulationTruth().theta(AGES)
    graph = pytensor_graph(few, theta)
    kernel = StarLikelihood(population_data(few).stars)
    slow, fast = graph(theta), kernel.value_and_gradient(theta)
    ratio = harness.paired_ratio(
        lambda: graph(theta), lambda: kernel.value_and_gradient(theta),
        slow_stars=n, fast_stars=n, warm_up=False,
    )  # fmt: skip
    return {
        **alone["result"],
        "peak_rss_gb": alone["peak_rss_gb"],
        "seconds_in_all": alone["seconds"],
        "ratio_pytensor_graph": ratio.ratio,
        "pytensor_graph": {
            "stars": n,
            "ratio_low": ratio.low,
            "ratio_high": ratio.high,
            "microseconds_per_star": 1e6 * ratio.slow_seconds,
            # Age nodes below 1e-5 of a star's highest are left out of the kernel's sum.
            "relative_difference_of_value": abs(float(slow[0]) / fast[0] - 1.0),
        },
        "seed": seed,
        "machine": machine,
    }
