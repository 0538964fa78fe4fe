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
from migrate_bayes.population.likelihood.layout import pack, subsample, unpack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.model.hierarchy import flat_in_age

Floats = NDArray[np.float64]


def pointwise(
    data: PopulationData,
    posterior: xr.Dataset,
    thetas: Floats,
    every: Floats,
    *,
    stars: int,
    seed: int,
    workers: int | None = None,
) -> xr.Dataset:
    """Compute ln L of a subsample of stars: the group `log_likelihood` of a fit.

    `thetas` are of the draws of `posterior`, in order, and `every` is ln L of all stars at the mean
    θ, shape (n_stars,).
    """
    index = subsample(data.n_stars, stars, seed)
    plain = unpack(data.stars, index)
    likelihood = StarLikelihood(pack(plain, flat_in_age(data.ages), trim=1e-300), workers=workers)
    values = np.empty((len(thetas), len(index)))
    for s, theta in enumerate(thetas):
        values[s], _ = likelihood.per_star(theta)
    shape = (posterior.sizes["chain"], posterior.sizes["draw"], len(index))
    of_star = {
        "index": index, "source_id": data.source_id[index], "approximation": every[index],
    }  # fmt: skip
    return xr.Dataset(
        {"star": (("chain", "draw", "observation"), values.reshape(shape), {"units": ""})},
        {name: posterior[name].values for name in ("chain", "draw")}
        | {name: ("observation", column) for name, column in of_star.items()},
        {"n_stars": len(every), "approximation_sum": float(np.sum(every))},
    )


def leave_one_out(fit: xr.DataTree) -> xr.Dataset:
    """Estimate the expected log predictive density of a fit's stars, each left out in turn.

    Parameters
    ----------
    fit : xarray.DataTree
        From `PopulationModel.sample` or, of more stars, `PopulationModel.log_likelihood`.

    Returns
    -------
    xarray.Dataset
        `elpd_i`, `pareto_k` and `approximation` (ln L at the posterior mean of θ) of the stars
        whose ln L the fit holds; `elpd` of all N with `elpd_sd` (of another N stars) and
        `subsampling_sd` (of another subsample), and `p_loo`, the effective number of parameters.
        `compare_elpd` ranks models by it.

    Raises
    ------
    FitError
        If the fit holds no ln L of stars.

    References
    ----------
    Vehtari, Gelman & Gabry 2017, Statistics and Computing 27, 1413; Magnusson et al. 2019, PMLR 97,
    4244.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from migrate_bayes import leave_one_out
    >>> draws = np.random.default_rng(1).normal(size=(2, 200, 3))
    >>> found = {"star": (("chain", "draw", "observation"), -0.5 * (1.0 + 0.1 * draws) ** 2)}
    >>> of_star = {name: ("observation", np.arange(3)) for name in ("index", "approximation")}
    >>> fit = xr.DataTree.from_dict({
    ...     "posterior": xr.Dataset({"mu": (("chain", "draw"), draws[..., 0])}),
    ...     "log_likelihood": xr.Dataset(found, of_star, {"n_stars": 3, "approximation_sum": 3.0}),
    ... })
    >>> leave_one_out(fit)["elpd_i"].values.round(1)
    array([-0.5, -0.5, -0.5])
    """
    import arviz as az

    if "log_likelihood" not in fit.children:
        raise FitError("the fit has no ln L of its stars: see PopulationModel.log_likelihood")
    group = fit["log_likelihood"].to_dataset()
    scalars = fit["posterior"].to_dataset().sel(draw=group["draw"])
    scalars = scalars[[n for n, v in scalars.data_vars.items() if set(v.dims) == {"chain", "draw"}]]
    tree = xr.DataTree.from_dict({"log_likelihood": group, "posterior": scalars})
    with warnings.catch_warnings():
        # Stars of high k are counted below.
        warnings.simplefilter("ignore", UserWarning)
        found = az.loo(tree, pointwise=True, var_name="star")
    elpd_i = np.asarray(found.elpd_i, dtype=float)
    approximation = group["approximation"].values
    log_like = group["star"].values.reshape(-1, len(elpd_i))
    top = log_like.max(axis=0)
    within = top + np.log(np.exp(log_like - top).mean(axis=0))
    n, every_sum = int(group.attrs["n_stars"]), float(group.attrs["approximation_sum"])
    total, sd, other = _difference_estimate(elpd_i, approximation, every_sum, n)
    of_stars = {
        "elpd_i": elpd_i,
        "pareto_k": np.asarray(found.pareto_k, dtype=float),
        "approximation": approximation,
    }
    p_loo = n * float((within - elpd_i).mean())
    totals = {"elpd": total, "elpd_sd": sd, "subsampling_sd": other}
    totals |= {"approximation_sum": every_sum, "p_loo": p_loo}
    out = xr.Dataset(
        {k: ("observation", v, {"units": ""}) for k, v in of_stars.items()}
        | {k: ((), v, {"units": ""}) for k, v in totals.items()},
        coords={"index": ("observation", group["index"].values)},
    )
    return out.assign_attrs(n_stars=n, draws=len(log_like))


def _difference_estimate(
    exact: Floats, approximate: Floats, every: float, n: int
) -> tuple[float, float, float]:
    """Estimate a sum over all `n` stars from a subsample and `every`, an approximation of the sum.

    Returns it with its error over stars and over subsamples.
    """
    m = len(exact)
    rest = exact - approximate
    total = every + n * float(rest.mean())
    if m == 1:
        return total, 0.0, 0.0
    subsampling = n**2 * (1 - m / n) * float(rest.var(ddof=1)) / m
    return total, float(np.sqrt(n * exact.var(ddof=1))), float(np.sqrt(subsampling))


def compare_elpd(results: Mapping[str, xr.Dataset]) -> Any:
    """Rank models of the same stars by their expected log predictive density.

    Parameters
    ----------
    results : mapping
        From the name of a model to its `PopulationModel.loo`, all with the same `seed` and `stars`.

    Returns
    -------
    pandas.DataFrame
        A row for each model, best first: `elpd`, `difference` to the best (0 or negative), `sd` of
        the difference (over stars and over the choice of the subsample), `p_worse` (normal
        approximation; not to be trusted if the difference is below 4), `p_loo`, and
        `high_k`, the share of stars with Pareto k above 0.7.

    Raises
    ------
    FitError
        If the models are not of the same stars.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from migrate_bayes import compare_elpd
    >>> def result(elpd_i):
    ...     of_star = {"elpd_i": elpd_i, "approximation": elpd_i, "pareto_k": 0 * elpd_i}
    ...     total = {"elpd": elpd_i.sum(), "approximation_sum": elpd_i.sum(), "p_loo": 2.0}
    ...     made = xr.Dataset({k: ("observation", v) for k, v in of_star.items()} | total)
    ...     made["index"] = ("observation", np.arange(len(elpd_i)))
    ...     return made.assign_attrs(n_stars=len(elpd_i))
    >>> elpd_i = np.array([-1.0, -1.2, -0.8, -1.1])
    >>> compare_elpd({"constant": result(elpd_i - 1.0), "linear": result(elpd_i)})["difference"]
    model
    linear      0.0
    constant   -4.0
    Name: difference, dtype: float64
    """
    import pandas as pd

    names = sorted(results, key=lambda name: -float(results[name]["elpd"]))
    best = results[names[0]]
    rows = []
    for name in names:
        one, n = results[name], int(best.attrs["n_stars"])
        if one.attrs["n_stars"] != n or not np.array_equal(one["index"], best["index"]):
            raise FitError(f"'{name}' and '{names[0]}' are not models of the same stars")
        less = one - best
        difference, sd, subsampling = _difference_estimate(
            less["elpd_i"].values, less["approximation"].values, float(less["approximation_sum"]), n
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
