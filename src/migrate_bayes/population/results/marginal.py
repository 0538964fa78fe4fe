r"""One posterior of several fits: marginal over a choice that no number of stars averages away.

Of alternatives f = 1 … F (families of isochrones) one may be right for all stars, and the stars do
not say which. With the weight w_f given to each,

.. math:: p(q \mid D) = \sum_f w_f\, p(q \mid D, f), \qquad
   \operatorname{Var}(q) = \sum_f w_f σ_f^2 + \sum_f w_f (m_f - \bar m)^2 ,

the law of total variance: within the fits (stars), and between them (the choice). The mixture is no
Gaussian: its interval is that of its own quantiles.

**Weights.** Bayes' are :math:`w_f ∝ p(D \mid f)`. They answer which of the f is true, if one is:
ln p(D | f) grows with the number of stars, its differences are thousands for 10⁵ stars, and all
the weight falls on the least wrong one. Where none is true (M-open) *stacking* asks instead for the
mixture that predicts a star best,

.. math:: w = \arg\max_w \sum_i \ln \sum_f w_f\, p(D_i \mid D_{-i}, f)

(Yao, Vehtari, Simpson & Gelman 2018, Bayesian Analysis 13, 917). It settles as stars are added: if
one f is the truth all the weight goes there, and if none is, to those that mend each other's
faults. That is also the maximum likelihood of the shares of a mixture star by star, in which every
star has a family of its own; that the same weights suit a quantity of all stars is a convention.
Equal weights are one, too, and the more cautious.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import FitError, suggest

Floats = NDArray[np.float64]
Weights = Literal["equal", "stacking"] | Mapping[str, float]

#: Of the mixture that `moments` and `percentiles` are of.
PERCENTILES = {"lo95": 2.5, "lo68": 16.0, "median": 50.0, "hi68": 84.0, "hi95": 97.5}
_GAP = 1e-7  # of the mean ln density, that the best weights may still gain
_MOST = 20_000


def stack(log_density: Floats) -> Floats:
    """Return the weights (f,) of which the mixture has the highest mean ln density.

    `log_density` has shape (star, f). Columns that are alike share alike.
    """
    f = log_density.shape[1]
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    weights = np.full(f, 1.0 / f)
    for _ in range(_MOST):
        # d/dw_f of the mean: 1 in those of weight, less in the others, at the maximum. As it is
        # concave, no weights gain more than the largest less 1.
        slope = (density / (density @ weights)[:, None]).mean(axis=0)
        if slope.max() - 1.0 < _GAP:
            break
        weights = weights * slope
    return weights / weights.sum()


def stacking_weights(results: Mapping[str, xr.Dataset]) -> dict[str, float]:
    """Weigh models by how well their mixture predicts stars left out (stacking).

    Parameters
    ----------
    results : mapping
        From the name of a model to its `PopulationModel.loo`, all with the same `seed` and `stars`,
        of the same stars.

    Returns
    -------
    dict
        Weights, of sum 1.

    Raises
    ------
    FitError
        If the models are not of the same stars.

    References
    ----------
    Yao, Vehtari, Simpson & Gelman 2018, Bayesian Analysis 13, 917.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from migrate_bayes import stacking_weights
    >>> def result(*elpd_i):
    ...     made = xr.Dataset({"elpd_i": ("observation", np.array(elpd_i))})
    ...     made["index"] = ("observation", np.arange(len(elpd_i)))
    ...     return made.assign_attrs(n_stars=len(elpd_i))
    >>> stacking_weights({"mist": result(-1.0, -3.0), "parsec": result(-3.0, -1.0)})
    {'mist': 0.5, 'parsec': 0.5}
    """
    (first, one), *others = results.items()
    for name, other in others:
        same = other.attrs["n_stars"] == one.attrs["n_stars"]
        if not same or not np.array_equal(other["index"], one["index"]):
            raise FitError(f"'{name}' and '{first}' are not models of the same stars")
    found = stack(np.stack([one["elpd_i"].values for one in results.values()], axis=1))
    return dict(zip(results, found.tolist(), strict=True))


def named_weights(names: Sequence[str], weights: Weights) -> Floats:
    """Return stated weights of these names, of sum 1; `FitError` if they are not of them."""
    if isinstance(weights, str):
        if weights != "equal":
            raise FitError(f"weights are 'equal' or numbers by name, not '{weights}'")
        return np.full(len(names), 1.0 / len(names))
    if wrong := [*(set(weights) - set(names)), *(set(names) - set(weights))]:
        raise FitError(f"weights and fits differ in '{wrong[0]}': {suggest(wrong[0], names)}")
    found = np.array([float(weights[name]) for name in names])
    if not (found >= 0).all() or not 0 < found.sum() < np.inf:
        raise FitError("weights are numbers of at least 0, and not all 0")
    return found / found.sum()


def moments(values: Sequence[Floats], weights: Floats) -> dict[str, float]:
    """Mean and sd of a mixture of draws, the sd `within` its parts, and that `between` them."""
    mean = np.array([np.mean(v) for v in values])
    variance = np.array([np.var(v) for v in values])
    centre = float(weights @ mean)
    within, between = float(weights @ variance), float(weights @ (mean - centre) ** 2)
    return {
        "mean": centre, "sd": (within + between) ** 0.5,
        "within": within**0.5, "between": between**0.5,
    }  # fmt: skip


def percentiles(values: Sequence[Floats], weights: Floats) -> dict[str, float]:
    """Return the `PERCENTILES` of a mixture of draws, each part's of its weight in all."""
    columns = [np.ravel(v) for v in values]
    each = np.repeat(weights / [len(c) for c in columns], [len(c) for c in columns])
    every = np.concatenate(columns)
    kept = each > 0
    order = np.argsort(every[kept], kind="stable")
    x, w = every[kept][order], each[kept][order]
    below = np.cumsum(w) - 0.5 * w
    return {name: float(np.interp(p / 100.0, below, x)) for name, p in PERCENTILES.items()}


def numbers(mixed: xr.Dataset, quantity: str) -> dict[str, float]:
    """Return the moments and percentiles of a quantity of a mixture as plain numbers."""
    cell = mixed.sel(quantity=quantity)
    return {n: cell[n].item() for n in ("mean", "sd", "within", "between", *PERCENTILES)}


def pick(names: Sequence[str], sizes: Sequence[int], weights: Floats, draws: int) -> list[NDArray]:
    """Choose draws of each part of a mixture, `draws` in all: numbers in 0 … size - 1.

    Their counts are the weights to within one draw; which they are depends on a part's name and
    not on its place among the others.
    """
    share = weights * draws
    count = np.floor(share).astype(int)
    rank = sorted(range(len(names)), key=lambda k: (count[k] - share[k], names[k]))
    count[rank[: draws - int(count.sum())]] += 1
    chosen = []
    for name, size, n in zip(names, sizes, count, strict=True):
        order = np.random.default_rng(zlib.crc32(name.encode())).permutation(size)
        chosen.append(order[np.arange(n) % size])
    return chosen


def marginalise(
    fits: Mapping[str, xr.DataTree],
    weights: Mapping[str, float] | Literal["equal"] = "equal",
    *,
    draws: int = 4000,
) -> xr.DataTree:
    """Mix fits of the same stars under different choices, as different isochrones, into one.

    Parameters
    ----------
    fits : mapping
        From the name of a choice to its fit, `PopulationModel.sample`.
    weights : "equal" or mapping
        Weight of each, of any sum; from `stacking_weights`, or your own.
    draws : int
        Of the mixture.

    Returns
    -------
    xarray.DataTree
        `posterior` (chain, draw) of what all fits have in the same shape, with each draw's `member`
        beside it; `marginal` (quantity) of its numbers: `mean`, `sd`, of which `within` the fits
        and `between` them, and percentiles of the mixture. The attribute `weights` is JSON.

    Raises
    ------
    FitError
        If weights are not of the fits, or the fits not of the same stars: select those first that
        can be used under every choice.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from migrate_bayes import marginalise
    >>> z = np.random.default_rng(1).normal(size=(4, 500))
    >>> def fit(mean):
    ...     posterior = xr.Dataset({"flattening_rate": (("chain", "draw"), mean + 4e-4 * z)})
    ...     return xr.DataTree.from_dict({"posterior": posterior})
    >>> both = marginalise({"mist": fit(0.0027), "parsec": fit(0.0033)})
    >>> round(float(both["marginal"]["sd"].sel(quantity="flattening_rate")), 4)
    0.0005
    """
    names = list(fits)
    w = named_weights(names, weights)
    _refuse_other_stars(fits)
    flat = [fits[n]["posterior"].to_dataset().stack(sample=("chain", "draw")) for n in names]
    shapes = [{k: (v.dims, v.shape[:-1]) for k, v in one.data_vars.items()} for one in flat]
    common = [k for k, shape in shapes[0].items() if all(o.get(k) == shape for o in shapes[1:])]
    chosen = pick(names, [one.sizes["sample"] for one in flat], w, draws)
    parts = [
        one[common].drop_vars(("sample", "chain", "draw")).isel(sample=rows)
        for one, rows in zip(flat, chosen, strict=True)
    ]
    posterior = xr.concat(parts, dim="sample", join="override", combine_attrs="override")
    posterior = posterior.rename(sample="draw").expand_dims("chain")
    posterior = posterior.transpose("chain", "draw", ...)
    member = np.repeat(names, [len(rows) for rows in chosen])
    scalars = [k for k in common if flat[0][k].dims == ("sample",)]
    rows = [
        moments(values, w) | percentiles(values, w)
        for values in ([one[k].values for one in flat] for k in scalars)
    ]
    units = [str(flat[0][k].attrs.get("units", "")) for k in scalars]
    marginal = xr.Dataset(
        {name: ("quantity", [row[name] for row in rows]) for name in (rows or [{}])[0]},
        {"quantity": scalars, "unit": ("quantity", units)},
    )
    tree = xr.DataTree.from_dict(
        {
            "posterior": posterior.assign_coords(
                chain=[0], draw=np.arange(draws), member=("draw", member)
            ),
            "marginal": marginal,
        }
    )
    tree.attrs["weights"] = json.dumps(dict(zip(names, w.tolist(), strict=True)))
    return tree


def _refuse_other_stars(fits: Mapping[str, xr.DataTree]) -> None:
    """Raise if fits say that they are of different stars."""
    (first, one), *others = fits.items()
    for name, other in others:
        differ = one.attrs.get("n_stars") != other.attrs.get("n_stars")
        if {"observed_data"} <= set(one.children) & set(other.children):
            mine, theirs = (tree["observed_data"].coords for tree in (one, other))
            differ |= not mine["source_id"].equals(theirs["source_id"])
        if differ:
            raise FitError(
                f"'{name}' and '{first}' are not fits of the same stars: select those that can be "
                "used under every choice"
            )
