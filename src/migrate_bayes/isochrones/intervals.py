r"""Quantiles of a star's age, and the posterior probability that it is younger than a given age.

The posterior between nodes is what `summary` takes the median of: the likelihood interpolated by a
monotone cubic in ln L (method ``fine``) or linearly (``paper``), times the age prior,

.. math:: F(t) = \int_{\tau_0}^{t} L(\tau)\,p(\tau)\,d\tau \Big/ \int L(\tau)\,p(\tau)\,d\tau ,

with :math:`p` flat or log-flat over the range of the nodes. :math:`F` at a star's true age is its
probability integral transform (PIT): uniform over stars drawn from the prior.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numba import njit
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.flags import FATAL_AGE
from migrate_bayes.isochrones.summary import monotone_slopes

__all__ = ["age_cdf", "age_quantiles"]

_SUB = 16  # steps between nodes on which the interpolated posterior is taken as linear


def age_quantiles(ages: xr.Dataset, probabilities: ArrayLike) -> xr.DataArray:
    """Return posterior quantiles of each star's age.

    Parameters
    ----------
    ages : xarray.Dataset
        From `estimate_ages`.
    probabilities : array-like, shape (q,)
        In [0, 1].

    Returns
    -------
    xarray.DataArray
        Dims ``star``, ``probability``; Gyr. NaN where the star has no age.

    Raises
    ------
    ProductError
        Where a probability is outside [0, 1], or `ages` is no product of `estimate_ages`.
    """
    p = np.atleast_1d(np.asarray(probabilities, dtype=np.float64))
    if not np.all((p >= 0) & (p <= 1)):
        raise ProductError("probabilities must lie in [0, 1]")
    out = np.full((ages.sizes["star"], len(p)), np.nan)
    nodes, like, prior, smooth, able = _inputs(ages)
    found = np.empty((len(able), len(p)))
    _integrate(nodes, like[able], prior, smooth, p, np.empty((0, 0)), found, np.empty((0, 0)))
    out[able] = found
    return xr.DataArray(
        out,
        dims=("star", "probability"),
        coords={"probability": p},
        attrs={"units": "Gyr", "long_name": "posterior quantile of age"},
    )


def age_cdf(ages: xr.Dataset, at: ArrayLike) -> xr.DataArray:
    """Return the posterior probability that each star is younger than `at`.

    Parameters
    ----------
    ages : xarray.Dataset
        From `estimate_ages`.
    at : array-like, shape (star,)
        Gyr. Below the youngest node the probability is 0, above the oldest 1.

    Returns
    -------
    xarray.DataArray
        Dim ``star``. NaN where the star has no age or `at` is NaN.

    Raises
    ------
    ProductError
        Where `ages` is no product of `estimate_ages`.
    """
    when = np.broadcast_to(np.asarray(at, dtype=np.float64), (ages.sizes["star"],))
    nodes, like, prior, smooth, able = _inputs(ages)
    found = np.empty((len(able), 1))
    ask = when[able, None].copy()
    _integrate(nodes, like[able], prior, smooth, np.empty(0), ask, np.empty((len(able), 0)), found)
    out = np.full(len(when), np.nan)
    out[able] = np.where(np.isnan(ask[:, 0]), np.nan, found[:, 0])
    return xr.DataArray(
        out, dims="star", attrs={"units": "", "long_name": "posterior probability of being younger"}
    )


def _inputs(ages: xr.Dataset) -> tuple[NDArray, NDArray, NDArray, bool, NDArray]:
    try:
        like = ages["log_age_likelihood"].values.astype(np.float64)
        prior = ages["log_interim_prior"].values.astype(np.float64)
        flag = ages["flag"].values
        method: Any = ages.attrs["age_method"]
    except KeyError as error:
        raise ProductError(
            f"ages lack {error}: give the Dataset that estimate_ages returns"
        ) from None
    able = np.flatnonzero((flag & np.int32(FATAL_AGE)) == 0)
    # The stored likelihood holds the interim prior; interpolation is of the likelihood alone.
    return ages["age"].values.astype(np.float64), like - prior, prior, method == "fine", able


@njit(cache=True, nogil=True)
def _integrate(  # type: ignore[no-untyped-def]
    ages, log_like, log_prior, smooth, probabilities, at, quantiles, cdf,
):  # fmt: skip
    """Fill `quantiles` (star, probability) and `cdf` (star, age asked for: `at`)."""
    n = len(ages)
    sub = _SUB
    m = (n - 1) * sub + 1
    t, post, total = np.empty(m), np.empty(m), np.empty(m)
    slope = np.empty(n)
    for i in range(m):
        k = min(i // sub, n - 2)
        t[i] = ages[k] + (i - k * sub) / sub * (ages[k + 1] - ages[k])
    for s in range(len(log_like)):
        y = log_like[s]
        peak = y.max()
        if smooth:
            monotone_slopes(ages, y, slope)
        for i in range(m):
            k = min(i // sub, n - 2)
            h = ages[k + 1] - ages[k]
            u = (t[i] - ages[k]) / h
            v = 1.0 - u
            if smooth:
                like = np.exp(
                    y[k] * v * v * (1.0 + 2.0 * u)
                    + y[k + 1] * u * u * (3.0 - 2.0 * u)
                    + h * u * v * (slope[k] * v - slope[k + 1] * u)
                    - peak
                )
            else:
                like = v * np.exp(y[k] - peak) + u * np.exp(y[k + 1] - peak)
            post[i] = like * np.exp(v * log_prior[k] + u * log_prior[k + 1])
        total[0] = 0.0
        for i in range(1, m):
            total[i] = total[i - 1] + 0.5 * (post[i - 1] + post[i]) * (t[i] - t[i - 1])
        area = total[m - 1]
        for q in range(len(probabilities)):
            want = probabilities[q] * area
            i = min(max(np.searchsorted(total, want, side="left") - 1, 0), m - 2)
            # want − total = post[i] w + (post[i+1] − post[i]) w² / 2h, by its stable root
            h, rest = t[i + 1] - t[i], want - total[i]
            root = np.sqrt(max(post[i] * post[i] + 2.0 * (post[i + 1] - post[i]) * rest / h, 0.0))
            quantiles[s, q] = t[i]
            if post[i] + root > 0.0:
                quantiles[s, q] = min(t[i] + 2.0 * rest / (post[i] + root), t[i + 1])
        for q in range(cdf.shape[1]):
            x = min(max(at[s, q], t[0]), t[m - 1])
            i = min(max(np.searchsorted(t, x, side="right") - 1, 0), m - 2)
            w, h = x - t[i], t[i + 1] - t[i]
            part = w * (post[i] + 0.5 * w / h * (post[i + 1] - post[i]))
            cdf[s, q] = (total[i] + part) / area
