r"""Likelihood of each age as Vickers, Shen & Li (2021) compute it, node by node.

For every isochrone of the grid whose [Fe/H] and [α/Fe] are within ten errors of the star,

.. math:: L(\tau, f, a) = \sum_\mathrm{segments} \xi_j \exp(-\chi^2_j / 2)

where :math:`\chi^2_j` is the least χ² between the star and the segment, [Fe/H] and [α/Fe]
included, :math:`\xi_j` the number of stars the Kroupa (2001) function gives the segment, and
segments further than ten errors in any observable count nothing; then L(τ) is the sum over f and a
with trapezoid weights (their equations 1-9 in Vickers & Smith 2018). For [Fe/H] > 0 the grid stops
at [α/Fe] = 0.2.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_WINDOW = 10.0


@njit(cache=True, nogil=True)
def _widths(axis):  # type: ignore[no-untyped-def]
    """Return trapezoid weights; 1 for a single node."""
    n = len(axis)
    out = np.ones(n)
    if n > 1:
        for i in range(n):
            out[i] = 0.5 * (axis[min(i + 1, n - 1)] - axis[max(i - 1, 0)])
    return out


@njit(cache=True, nogil=True)
def age_likelihood_by_nodes(points, feh, alpha, stars, out):  # type: ignore[no-untyped-def]
    """Fill `out` (an `AgeLikelihood`) for `stars` (`Stars`) with a ``paper`` grid's isochrones.

    `points`, `feh` and `alpha` are those of `WorkingGrid`. If the error of [α/Fe] is 0 (it is
    missing) the node nearest to 0 is used.
    """
    n_age, n_feh, n_alpha, _, _ = points.shape
    wide_f, wide_a = _widths(feh), _widths(alpha)
    zero = np.argmin(np.abs(alpha))
    sums = np.empty((n_age, 3))
    for s in range(len(stars.values)):
        x, q = stars.values[s], stars.inverse_error[s]
        f0, sd_f = stars.feh[s]
        a0, sd_a = stars.alpha[s]
        sums[:] = 0.0
        best = np.inf
        for j in range(n_feh):
            z = (feh[j] - f0) / sd_f
            if abs(z) > _WINDOW:
                continue
            for k in range(n_alpha):
                if feh[j] > 1e-6 and alpha[k] > 0.2 + 1e-6:
                    continue
                y = 0.0
                weight = wide_f[j] / sd_f
                if sd_a > 0.0:
                    y = (alpha[k] - a0) / sd_a
                    weight *= wide_a[k] / sd_a
                elif k != zero:
                    continue
                if abs(y) > _WINDOW:
                    continue
                fixed = z * z + y * y
                for i in range(n_age):
                    track = points[i, j, k]
                    total = 0.0
                    for e in range(len(track) - 1):
                        # The window, on T_eff alone first: it rules out most of an isochrone.
                        outside = False
                        for c in range(4):
                            low = min(track[e, c], track[e + 1, c])
                            high = max(track[e, c], track[e + 1, c])
                            gap = max(low - x[c], x[c] - high) * q[c]
                            if gap > _WINDOW:
                                outside = True
                                break
                        if outside or track[e, 4] <= 0.0:
                            continue
                        rr, rd, dd = 0.0, 0.0, 0.0
                        for c in range(4):
                            r = (x[c] - track[e, c]) * q[c]
                            d = (track[e + 1, c] - track[e, c]) * q[c]
                            rr += r * r
                            rd += r * d
                            dd += d * d
                        u = min(max(rd / dd, 0.0), 1.0) if dd > 0.0 else 0.0
                        chi2 = rr - u * (2.0 * rd - u * dd) + fixed
                        best = min(best, chi2)
                        total += track[e, 4] * math.exp(-0.5 * chi2)
                    if total > 0.0:
                        step = feh[j] - f0
                        sums[i, 0] += weight * total
                        sums[i, 1] += weight * total * step
                        sums[i, 2] += weight * total * step * step
        out.chi2[s] = best
        # The two Gaussians of the composition, 1/(√2π σ) each; 1/σ is in the weights.
        constant = -0.5 * math.log(2.0 * math.pi) * (2.0 if sd_a > 0.0 else 1.0)
        for i in range(n_age):
            out.log_like[s, i] = -np.inf
            out.feh_mean[s, i], out.feh_sd[s, i] = f0, sd_f
            if sums[i, 0] > 0.0:
                mean = sums[i, 1] / sums[i, 0]
                out.log_like[s, i] = math.log(sums[i, 0]) + constant
                out.feh_mean[s, i] = f0 + mean
                # A single node within the window has no spread of its own: the star's error then.
                var = sums[i, 2] / sums[i, 0] - mean * mean
                out.feh_sd[s, i] = math.sqrt(var) if var > 1e-8 else sd_f
