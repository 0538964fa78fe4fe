r"""One age and one interval from a likelihood on a grid of ages.

The interval is that of Jørgensen & Lindegren (2005): the outermost ages at which the likelihood is
at least 0.61 (:math:`\simeq e^{-1/2}`) of its maximum, which holds 68% of the time. ``paper``
interpolates the likelihood linearly between nodes, as Vickers, Shen & Li (2021) do; ``fine``
interpolates ln L by a monotone cubic (Fritsch & Butland 1984), so that a peak between nodes is not
squared off, and takes the maximum of the parabola through the three best nodes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["THRESHOLD", "monotone_slopes", "summarise"]

#: Fraction of the greatest likelihood at the ends of the interval.
THRESHOLD = 0.61
_SUB = 8  # steps between nodes on which the interpolated likelihood is taken as linear


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
    """Summarise each star's ages.

    Parameters
    ----------
    ages : numpy.ndarray, shape (age,)
        Nodes, Gyr.
    log_like : numpy.ndarray, shape (star, age)
        Natural log of the likelihood, finite.
    log_prior : numpy.ndarray, shape (age,)
        Natural log of the age prior: the median is that of likelihood times prior, the rest of the
        likelihood alone.
    smooth : bool
        ``fine`` rather than ``paper``.
    out : numpy.ndarray, shape (star, 4)
        Age of greatest likelihood, median, lower and upper end of the interval, Gyr.
    """
    n = len(ages)
    sub = _SUB if smooth else 1
    m = (n - 1) * sub + 1
    t, like, post, weight = np.empty(m), np.empty(m), np.empty(m), np.empty(m)
    slope = np.empty(n)
    for i in range(m):
        k = min(i // sub, n - 2)
        t[i] = ages[k] + (i - k * sub) / sub * (ages[k + 1] - ages[k])
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
        top = 0
        for i in range(1, n):
            if y[i] > y[top]:
                top = i
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
                # Where the likelihood has been cut off at its floor, which is most of the axis.
                for j in range(1, sub):
                    like[i + j] = like[i]
                continue
            h = ages[k + 1] - ages[k]
            low_slope, high_slope = h * slope[k], h * slope[k + 1]
            for j in range(1, sub):
                like[i + j] = np.exp(
                    y[k] * basis[0, j]
                    + y[k + 1] * basis[1, j]
                    + low_slope * basis[2, j]
                    + high_slope * basis[3, j]
                    - peak
                )
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
