r"""One age, an interval, quantiles and a distribution function from a likelihood on age nodes.

Between nodes method ``fine`` interpolates ln L by a monotone cubic (Fritsch & Butland 1984), so
that a peak between nodes is not squared off; ``paper`` interpolates L linearly, as Vickers, Shen &
Li (2021) do. The age of greatest likelihood is that of the best node (``paper``) or of a parabola
through the best three (``fine``). The interval of Jørgensen & Lindegren (2005) has its ends at the
outermost ages whose likelihood is at least 0.61 (:math:`\simeq e^{-1/2}`) of the greatest: it holds
68% of the time. Median and quantiles are those of the posterior

.. math:: F(t) = \int_{\tau_0}^{t} L(\tau)\,p(\tau)\,d\tau \Big/ \int L(\tau)\,p(\tau)\,d\tau ,

with the age prior :math:`p` flat or log-flat over the range of the nodes. :math:`F` at a star's
true age is its probability integral transform (PIT): uniform over stars drawn from the prior.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from numba import njit
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.flags import FATAL_AGE
from migrate_bayes.core.units import in_unit

#: Fraction of the greatest likelihood at the ends of the interval.
THRESHOLD = 0.61
_SUMMARY_STEPS = 8  # between nodes, on which the interpolated likelihood is taken as linear
_QUANTILE_STEPS = 16  # likewise of the interpolated posterior


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
        Dims ``star``, ``probability``; Gyr. NaN if the star has no age.

    Raises
    ------
    ProductError
        If a probability is outside [0, 1], or `ages` is no product of `estimate_ages`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes.isochrones import age_quantiles
    >>> ages = xr.Dataset(
    ...     {"log_age_likelihood": (("star", "age"), np.zeros((1, 13))),
    ...      "log_interim_prior": ("age", np.zeros(13)), "flag": ("star", [0])},
    ...     coords={"age": np.arange(1.0, 14.0)}, attrs={"age_method": "fine"})
    >>> age_quantiles(ages, [0.25, 0.5]).values
    array([[4., 7.]])
    """
    p = np.atleast_1d(np.asarray(probabilities, dtype=np.float64))
    if not np.all((p >= 0) & (p <= 1)):
        raise ProductError("probabilities must lie in [0, 1]")
    out = np.full((ages.sizes["star"], len(p)), np.nan)
    able, curves = _curves(ages)
    out[able] = quantiles(curves, p)
    attrs = {"units": "Gyr", "long_name": "posterior quantile of age"}
    return xr.DataArray(out, {"probability": p}, ("star", "probability"), attrs=attrs)


def age_cdf(ages: xr.Dataset, at: ArrayLike) -> xr.DataArray:
    """Return the posterior probability that each star is younger than `at`.

    Parameters
    ----------
    ages : xarray.Dataset
        From `estimate_ages`.
    at : array-like or Quantity, shape (star,)
        Gyr. Below the youngest node the probability is 0, above the oldest 1.

    Returns
    -------
    xarray.DataArray
        Dim ``star``. NaN if the star has no age or `at` is NaN.

    Raises
    ------
    ProductError
        If `ages` is no product of `estimate_ages`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes.isochrones import age_cdf
    >>> ages = xr.Dataset(
    ...     {"log_age_likelihood": (("star", "age"), np.zeros((1, 13))),
    ...      "log_interim_prior": ("age", np.zeros(13)), "flag": ("star", [0])},
    ...     coords={"age": np.arange(1.0, 14.0)}, attrs={"age_method": "fine"})
    >>> age_cdf(ages, 4.0).values
    array([0.25])
    """
    when = np.broadcast_to(in_unit(at, "Gyr", "at"), (ages.sizes["star"],))
    able, curves = _curves(ages)
    ask, found = when[able], np.empty(len(able))
    _distribution_function(curves, ask, found)
    out = np.full(len(when), np.nan)
    out[able] = np.where(np.isnan(ask), np.nan, found)
    attrs = {"units": "", "long_name": "posterior probability of being younger"}
    return xr.DataArray(out, dims="star", attrs=attrs)


class Curves(NamedTuple):
    """Likelihoods on age nodes."""

    ages: NDArray[np.float64]  # Gyr
    log_like: NDArray[np.float64]  # (star, age): without the prior
    log_prior: NDArray[np.float64]
    smooth: bool  # interpolated as method ``fine`` does


def quantiles(curves: Curves, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return posterior quantiles of shape (star, probability), Gyr."""
    found = np.empty((len(curves.log_like), len(probabilities)))
    _quantiles(curves, probabilities, found)
    return found


def _curves(ages: xr.Dataset) -> tuple[NDArray[np.int64], Curves]:
    """Return which stars have an age, and their likelihoods."""
    try:
        like = ages["log_age_likelihood"].values.astype(np.float64)
        prior = ages["log_interim_prior"].values.astype(np.float64)
        flag = ages["flag"].values
        smooth = ages.attrs["age_method"] == "fine"
    except KeyError as error:
        message = f"ages lack {error}: give the Dataset that estimate_ages returns"
        raise ProductError(message) from None
    able = np.flatnonzero((flag & np.int32(FATAL_AGE)) == 0)
    # The stored likelihood holds the interim prior; interpolation is of the likelihood alone.
    nodes = ages["age"].values.astype(np.float64)
    return able, Curves(nodes, (like - prior)[able], prior, smooth)


@njit(cache=True, nogil=True)
def _quantiles(curves, probabilities, out):  # type: ignore[no-untyped-def]
    """Fill `out` (star, probability), Gyr."""
    t = _steps(curves.ages, _QUANTILE_STEPS)
    post, total = np.empty(len(t)), np.empty(len(t))
    for s in range(len(out)):
        _fill_posterior(curves, s, t, post, total)
        for q in range(len(probabilities)):
            want = probabilities[q] * total[-1]
            i = min(max(np.searchsorted(total, want, side="left") - 1, 0), len(t) - 2)
            # want − total = post[i] w + (post[i+1] − post[i]) w² / 2h, by its stable root
            h, rest = t[i + 1] - t[i], want - total[i]
            root = np.sqrt(max(post[i] * post[i] + 2.0 * (post[i + 1] - post[i]) * rest / h, 0.0))
            out[s, q] = t[i]
            if post[i] + root > 0.0:
                out[s, q] = min(t[i] + 2.0 * rest / (post[i] + root), t[i + 1])


@njit(cache=True, nogil=True)
def _distribution_function(curves, at, out):  # type: ignore[no-untyped-def]
    """Fill `out` (star) with the probability that the star is younger than `at` (star), Gyr."""
    t = _steps(curves.ages, _QUANTILE_STEPS)
    post, total = np.empty(len(t)), np.empty(len(t))
    for s in range(len(out)):
        _fill_posterior(curves, s, t, post, total)
        x = min(max(at[s], t[0]), t[-1])
        i = min(max(np.searchsorted(t, x, side="right") - 1, 0), len(t) - 2)
        w, h = x - t[i], t[i + 1] - t[i]
        part = w * (post[i] + 0.5 * w / h * (post[i + 1] - post[i]))
        out[s] = (total[i] + part) / total[-1]


@njit(cache=True, nogil=True)
def _steps(ages, n):  # type: ignore[no-untyped-def]
    """Return the ages at n steps between nodes, and the last node."""
    t = np.empty((len(ages) - 1) * n + 1)
    for i in range(len(t)):
        k = min(i // n, len(ages) - 2)
        t[i] = ages[k] + (i - k * n) / n * (ages[k + 1] - ages[k])
    return t


@njit(cache=True, nogil=True)
def _fill_posterior(curves, s, t, post, total):  # type: ignore[no-untyped-def]
    """Fill the posterior of star s at ages `t`, not normalised, and its integral up to there."""
    ages, log_prior, y = curves.ages, curves.log_prior, curves.log_like[s]
    slope, peak = np.empty(len(ages)), y.max()
    if curves.smooth:
        monotone_slopes(ages, y, slope)
    for i in range(len(t)):
        k = min(i // _QUANTILE_STEPS, len(ages) - 2)
        h = ages[k + 1] - ages[k]
        u = (t[i] - ages[k]) / h
        v = 1.0 - u
        if curves.smooth:
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
    for i in range(1, len(t)):
        total[i] = total[i - 1] + 0.5 * (post[i - 1] + post[i]) * (t[i] - t[i - 1])


@njit(cache=True, nogil=True)
def monotone_slopes(x, y, out):  # type: ignore[no-untyped-def]
    """Fill `out` with the slopes of a monotone piecewise cubic through the nodes."""
    n = len(x)
    out[0] = (y[1] - y[0]) / (x[1] - x[0])
    out[n - 1] = (y[n - 1] - y[n - 2]) / (x[n - 1] - x[n - 2])
    for i in range(1, n - 1):
        h0, h1 = x[i] - x[i - 1], x[i + 1] - x[i]
        d0, d1 = (y[i] - y[i - 1]) / h0, (y[i + 1] - y[i]) / h1
        if d0 * d1 <= 0.0:
            out[i] = 0.0
        else:
            out[i] = 3.0 * (h0 + h1) / ((2.0 * h1 + h0) / d0 + (h1 + 2.0 * h0) / d1)


@njit(cache=True, nogil=True)
def summarise(ages, log_like, log_prior, smooth, out):  # type: ignore[no-untyped-def]
    """Fill `out` (star, 4), Gyr: age of greatest likelihood, median, the interval's two ends.

    `log_like` (star, age) and `log_prior` (age) are finite; `smooth` is True for method ``fine``.
    The median is of likelihood times prior, the others are of the likelihood alone.
    """
    n = len(ages)
    sub = _SUMMARY_STEPS if smooth else 1
    t = _steps(ages, sub)
    m = len(t)
    like, post, weight, slope = np.empty(m), np.empty(m), np.empty(m), np.empty(n)
    for i in range(m):
        k = min(i // sub, n - 2)
        u = (t[i] - ages[k]) / (ages[k + 1] - ages[k])
        weight[i] = np.exp(log_prior[k] + u * (log_prior[k + 1] - log_prior[k]))
    # The cubic's four basis functions at the steps between two nodes.
    basis = np.empty((4, sub))
    for j in range(sub):
        u = j / sub
        v = 1.0 - u
        basis[0, j], basis[1, j] = v * v * (1.0 + 2.0 * u), u * u * (3.0 - 2.0 * u)
        basis[2, j], basis[3, j] = u * v * v, -u * u * v
    for s in range(len(log_like)):
        y = log_like[s]
        top = np.argmax(y)
        peak_age, peak = ages[top], y[top]
        if smooth and 0 < top < n - 1:
            h0, h1 = ages[top - 1] - ages[top], ages[top + 1] - ages[top]
            y0, y1 = y[top - 1] - peak, y[top + 1] - peak
            curve = (y1 / h1 - y0 / h0) / (h1 - h0)
            if curve < 0.0:
                rise = y0 / h0 - curve * h0
                shift = min(max(-0.5 * rise / curve, 0.5 * h0), 0.5 * h1)
                peak_age += shift
        if smooth:
            monotone_slopes(ages, y, slope)
        for k in range(n - 1):
            i = k * sub
            like[i] = np.exp(y[k] - peak)
            if y[k] == y[k + 1] and slope[k] == 0.0 and slope[k + 1] == 0.0:
                # The likelihood has been cut off at its floor, as on most of the axis.
                for j in range(1, sub):
                    like[i + j] = like[i]
                continue
            h = ages[k + 1] - ages[k]
            low_slope, high_slope = h * slope[k], h * slope[k + 1]
            for j in range(1, sub):
                like[i + j] = np.exp(
                    y[k] * basis[0, j] + y[k + 1] * basis[1, j]
                    + low_slope * basis[2, j] + high_slope * basis[3, j] - peak
                )  # fmt: skip
        like[m - 1] = np.exp(y[n - 1] - peak)
        for i in range(m):
            post[i] = like[i] * weight[i]
        first, last = 0, m - 1
        while like[first] < THRESHOLD:
            first += 1
        while like[last] < THRESHOLD:
            last -= 1
        low, high = t[first], t[last]
        if first > 0:
            w = (THRESHOLD - like[first - 1]) / (like[first] - like[first - 1])
            low = t[first - 1] + w * (t[first] - t[first - 1])
        if last < m - 1:
            w = (like[last] - THRESHOLD) / (like[last] - like[last + 1])
            high = t[last] + w * (t[last + 1] - t[last])
        area = 0.0
        for i in range(m - 1):
            area += 0.5 * (post[i] + post[i + 1]) * (t[i + 1] - t[i])
        want, median = 0.5 * area, ages[n - 1]
        for i in range(m - 1):
            h = t[i + 1] - t[i]
            piece = 0.5 * (post[i] + post[i + 1]) * h
            if piece >= want:
                # want = post[i] w h + (post[i+1] - post[i]) w² h / 2, the stable root
                rise = post[i + 1] - post[i]
                root = np.sqrt(max(post[i] * post[i] + 2.0 * rise * want / h, 0.0))
                median = t[i] + 2.0 * want / (post[i] + root)
                break
            want -= piece
        out[s, 0], out[s, 1], out[s, 2], out[s, 3] = peak_age, median, low, high
