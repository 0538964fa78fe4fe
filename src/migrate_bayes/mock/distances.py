# mypy: disable-error-code="no-untyped-def"
r"""Distances as Bailer-Jones et al. (2021, AJ 161, 147) give them: quantiles of a posterior.

Of a parallax ϖ ± σ and a prior of exponentially decreasing volume density (Bailer-Jones 2015, PASP
127, 994),

.. math:: p(d \mid \varpi) \propto d^2 e^{-d/L}\,
   \exp\left(-\tfrac12 \left(\frac{\varpi - 1/d}{σ}\right)^2\right)

the median and the 16th and 84th percentiles: asymmetric, and shrunk to the prior if the
parallax says little. L depends on the latitude alone here, 0.4 kpc at the poles and 1.0 kpc in the
plane (the published prior, a generalised gamma law in some 12,000 directions, has the same trend).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PROBABILITIES = (0.158655253931457, 0.5, 0.841344746068543)
_NODES = 257
_DEPTH = 16.0  # in ln p below the mode, where the integral is cut


def prior_length(b: Floats) -> Floats:
    """Return the prior's length L (kpc) at a Galactic latitude (deg)."""
    return 0.4 + 0.6 * np.cos(np.radians(b)) ** 2


@numba.njit(cache=True, nogil=True)
def _log_density(d, parallax, error, length):
    miss = (parallax - 1.0 / d) / error
    return 2.0 * np.log(d) - d / length - 0.5 * miss * miss


@numba.njit(cache=True, nogil=True)
def _mode(parallax, error, length):
    """Largest density and its distance, of a coarse scan, since there may be two maxima."""
    best, where = -np.inf, 2.0 * length
    low, high = np.log(1e-3), np.log(60.0 * length)
    for k in range(129):
        d = np.exp(low + (high - low) * k / 128)
        value = _log_density(d, parallax, error, length)
        if value > best:
            best, where = value, d
    if parallax > 0:
        value = _log_density(1.0 / parallax, parallax, error, length)
        if value > best:
            best, where = value, 1.0 / parallax
    return best, where


@numba.njit(cache=True, nogil=True)
def _edge(start, factor, level, parallax, error, length):
    """Walk outwards from the mode, in growing strides, until the density is below `level`."""
    d, stride = start, factor
    for _ in range(200):
        d *= stride
        if _log_density(d, parallax, error, length) < level:
            break
        stride = stride**1.3
    return d


@numba.njit(cache=True, nogil=True)
def _fill(parallax, error, length, probabilities, out):
    density = np.empty(_NODES)
    total = np.empty(_NODES)
    for i in range(parallax.size):
        w, s, scale = parallax[i], error[i], length[i]
        best, where = _mode(w, s, scale)
        first = min(0.02, 0.5 * s * where)  # of the relative width
        low = np.log(_edge(where, 1.0 / (1.0 + first), best - _DEPTH, w, s, scale))
        high = np.log(_edge(where, 1.0 + first, best - _DEPTH, w, s, scale))
        step = (high - low) / (_NODES - 1)
        total[0] = 0.0
        for k in range(_NODES):
            x = low + step * k
            density[k] = np.exp(_log_density(np.exp(x), w, s, scale) - best + x)
            if k:
                total[k] = total[k - 1] + 0.5 * (density[k] + density[k - 1])
        k = 1
        for j in range(len(probabilities)):
            target = probabilities[j] * total[_NODES - 1]
            while total[k] < target and k < _NODES - 1:
                k += 1
            # The density is straight between nodes: solve for the area.
            a, b, need = density[k - 1], density[k] - density[k - 1], target - total[k - 1]
            t = 2.0 * need / (a + np.sqrt(max(a * a + 2.0 * b * need, 0.0)) + 1e-300)
            out[i, j] = np.exp(low + step * (k - 1 + t))


def distance_quantiles(parallax: Floats, error: Floats, length: Floats) -> Floats:
    """Return the posterior's 16th, 50th and 84th percentile (n, 3), kpc.

    `parallax` and `error` (n) in mas, the prior's `length` (n) in kpc.
    """
    out = np.empty((len(parallax), 3))
    _fill(
        *(np.ascontiguousarray(v, dtype=np.float64) for v in (parallax, error, length)),
        np.array(PROBABILITIES), out,
    )  # fmt: skip
    return out
