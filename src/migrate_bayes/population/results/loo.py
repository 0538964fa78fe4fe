r"""How well a model predicts each star, left out of the fit: to compare forms of the gradient.

The expected log predictive density of stars not used, elpd, is estimated by leave-one-out
cross-validation with Pareto-smoothed importance weights (Vehtari, Gelman & Gabry 2017, Statistics
and Computing 27, 1413). That takes ln L of every draw and star, too much for a survey; so it is
done for a random subsample of m stars, and the other stars enter by ln L at the posterior mean θ,
of which all N cost one pass (Magnusson et al. 2019, PMLR 97, 4244):

.. math::

   \widehat{\mathrm{elpd}} = \sum_{i=1}^{N} \ln L_i(\bar θ)
      + \frac{N}{m} \sum_{i \in \mathrm{sub}} \big(\mathrm{elpd}_i - \ln L_i(\bar θ)\big)

The differences of models are of the same stars, so that what is common to them cancels. Models of
different data (another potential, another selection) cannot be compared so.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtr

from migrate_bayes.core.errors import FitError
from migrate_bayes.population.data import PopulationData
from migrate_bayes.population.likelihood.layout import pack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.likelihood.subsets import subsample, unpack


def pointwise(
    data: PopulationData,
    posterior: xr.Dataset,
    thetas: NDArray[np.float64],
    *,
    stars: int,
    seed: int,
    workers: int | None = None,
) -> xr.DataTree:
    """Compute ln L of every draw and star of a subsample; see `PopulationModel.log_likelihood`.

    `thetas` are of the draws of `posterior`, in order.
    """
    index = subsample(data.stars, stars, seed)
    plain = unpack(data.stars, index)
    likelihood = StarLikelihood(pack(**vars(plain), trim=1e-300), workers=workers)
    values = np.empty((len(thetas), len(index)))
    for s, theta in enumerate(thetas):
        values[s], _ = likelihood.per_star(theta)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(index))
    group = xr.Dataset(
        {"star": (("chain", "draw", "observation"), values.reshape(shape), {"units": ""})},
        coords={
            "chain": posterior["chain"].values,
            "draw": posterior["draw"].values,
            "index": ("observation", index),
            "source_id": ("observation", data.source_id[index]),
        },
    )
    scalars = [name for name, v in posterior.data_vars.items() if set(v.dims) == {"chain", "draw"}]
    return xr.DataTree.from_dict({"log_likelihood": group, "posterior": posterior[scalars]})


def leave_one_out(tree: xr.DataTree, every: NDArray[np.float64]) -> xr.Dataset:
    """Estimate elpd from `pointwise` and ln L of all stars at the mean θ, shape (n_stars,)."""
    import arviz as az

    with warnings.catch_warnings():
        # Stars of high k are counted below.
        warnings.simplefilter("ignore", UserWarning)
        found = az.loo(tree, pointwise=True, var_name="star")
    group = tree["log_likelihood"].to_dataset()
    index = group["index"].values
    elpd_i = np.asarray(found.elpd_i, dtype=float)
    log_like = group["star"].values.reshape(-1, len(index))
    top = log_like.max(axis=0)
    within = top + np.log(np.exp(log_like - top).mean(axis=0))
    total, sd, subsampling_sd = _difference_estimate(elpd_i, every[index], every)
    return xr.Dataset(
        {
            "elpd_i": ("observation", elpd_i, {"units": ""}),
            "pareto_k": ("observation", np.asarray(found.pareto_k, dtype=float), {"units": ""}),
            "approximation": ("observation", every[index], {"units": ""}),
            "elpd": ((), total, {"units": ""}),
            "elpd_sd": ((), sd, {"units": ""}),
            "subsampling_sd": ((), subsampling_sd, {"units": ""}),
            "approximation_sum": ((), float(every.sum()), {"units": ""}),
            "p_loo": ((), len(every) * float((within - elpd_i).mean()), {"units": ""}),
        },
        coords={"index": ("observation", index)},
        attrs={"n_stars": len(every), "draws": len(log_like)},
    )


def _difference_estimate(
    exact: NDArray[np.float64],
    approximate: NDArray[np.float64],
    every: NDArray[np.float64] | float,
    n: int | None = None,
) -> tuple[float, float, float]:
    """Sum over all N from a subsample and a cheap approximation of all; its two errors.

    `every` is the approximation of all stars, or its sum over `n` of them.
    """
    n = len(np.atleast_1d(every)) if n is None else n
    m = len(exact)
    rest = exact - approximate
    total = float(np.sum(every)) + n * float(rest.mean())
    variance = float(rest.var(ddof=1)) if m > 1 else 0.0
    subsampling = n**2 * (1 - m / n) * variance / m
    return (
        total,
        float(np.sqrt(n * exact.var(ddof=1))) if m > 1 else 0.0,
        float(np.sqrt(subsampling)),
    )


def compare_elpd(results: Mapping[str, xr.Dataset]) -> Any:
    """Rank models of the same stars by their expected log predictive density.

    Parameters
    ----------
    results : mapping
        From the name of a model to its `leave_one_out`, all with the same `seed` and `stars`.

    Returns
    -------
    pandas.DataFrame
        A row for each model, best first: `elpd`, `difference` to the best (0 or negative), `sd` of
        the difference (over stars and over the choice of the subsample), `p_worse` (normal
        approximation; not to be trusted where the difference is below 4), `p_loo`, and
        `high_k`, the share of stars with Pareto k above 0.7.

    Raises
    ------
    FitError
        Where the models are not of the same stars.
    """
    import pandas as pd

    names = sorted(results, key=lambda name: -float(results[name]["elpd"]))
    best = results[names[0]]
    rows = []
    for name in names:
        one = results[name]
        if one.attrs["n_stars"] != best.attrs["n_stars"] or not np.array_equal(
            one["index"], best["index"]
        ):
            raise FitError(f"'{name}' and '{names[0]}' are not models of the same stars")
        difference, sd, subsampling = _difference_estimate(
            (one["elpd_i"] - best["elpd_i"]).values,
            (one["approximation"] - best["approximation"]).values,
            float(one["approximation_sum"] - best["approximation_sum"]),
            int(best.attrs["n_stars"]),
        )
        error = float(np.hypot(sd, subsampling))
        rows.append(
            {
                "model": name,
                "elpd": float(one["elpd"]),
                "difference": difference,
                "sd": error,
                "p_worse": float(ndtr(-difference / error)) if error > 0 else np.nan,
                "p_loo": float(one["p_loo"]),
                "high_k": float((one["pareto_k"] > 0.7).mean()),
            }
        )
    return pd.DataFrame(rows).set_index("model")
