r"""Likelihood of each age for each star: everything but age integrated out.

For a star with observables :math:`d` (T_eff, log g, M_G, BP−RP; errors Σ, diagonal), [Fe/H]
:math:`f_0 \pm s_f` and [α/Fe] :math:`a_0 \pm s_a`, and for an isochrone of age τ whose points
:math:`m(\mu; f, a)` are born in numbers :math:`\xi(\mu)\,d\mu`,

.. math:: L(\tau) = \int d\mu\, df\, da\; \xi(\mu)\, N(d; m(\mu; f, a), \Sigma)\,
   N(f_0; f, s_f^2)\, N(a_0; a, s_a^2)

(Jørgensen & Lindegren 2005, A&A 436, 127; Vickers, Shen & Li 2021, section 2.1.1), [Fe/H] within
the grid. In the total metallicity :math:`\phi = f + S(a)` (see `grid`) instead of f, with S linear
over :math:`s_a` (rate S'), the composition's Gaussian is

.. math:: N(\phi; \phi_0, \sigma_\phi^2)\, N(a; a_0 + \kappa (\phi - \phi_0), \sigma_{a|\phi}^2),
   \quad \sigma_\phi^2 = s_f^2 + S'^2 s_a^2,\ \kappa = S' s_a^2 / \sigma_\phi^2,\
   \sigma_{a|\phi} = s_a s_f / \sigma_\phi

and the three integrals are done as follows.

* *φ*: a sum over a lattice (`prior`), which converges exponentially.
* *a*, at given φ: in closed form, since over :math:`\sigma_{a|\phi}` isochrones are as good as
  linear in it (`segments`). A very wide :math:`s_a` is split into a mixture of narrower Gaussians.
* *μ*, along each straight segment: :math:`\int_0^1 du\, e^{-\chi^2(u)/2}` with quadratic χ²(u): of
  a long one a difference of error functions, of a short one Hermite's rule (`segments`).

Nothing is approximated by a window: segments, and blocks of them, are left out only when a lower
bound of their χ² exceeds the best found by `DEPTH`, or the best found at this age by `NODE_CUT`
(`blocks`). Sums over ages are in double precision, sums along an isochrone in single.

*Correlated errors* of T_eff, log g and [Fe/H] (covariance C) are a shear of the isochrones. The
Gaussian of all three is that of [Fe/H], times that of T_eff given the error of [Fe/H], times that
of log g given both; each mean is linear in what is given, so that with

.. math:: T' = T - \beta_T (f - f_0),\qquad g' = g - \beta_g (f - f_0) - \gamma (T' - T_0)

in place of an isochrone's T_eff and log g, and the conditional errors in place of the marginal
ones, it is the Gaussian of independent errors. Segments stay straight, and the integrand linear in
[α/Fe]: only the block that a sweep reads is another (`segments.shear_block`). Bounds of χ² are of
the unsheared isochrones: with marginal errors z, and λ the greatest eigenvalue of the correlation
matrix, χ² is at least |z|²/λ.

`age_likelihood_by_nodes` does as Vickers, Shen & Li (2021) do. For every isochrone of the grid
whose [Fe/H] and [α/Fe] are within ten errors of the star,

.. math:: L(\tau, f, a) = \sum_\mathrm{segments} \xi_j \exp(-\chi^2_j / 2)

where :math:`\chi^2_j` is the least χ² between the star and the segment, [Fe/H] and [α/Fe]
included, :math:`\xi_j` the number of stars the Kroupa (2001) function gives the segment, and
segments further than ten errors in any observable count nothing; then L(τ) is the sum over f and a
with trapezoid weights (equations 1-9 of Vickers & Smith 2018). For [Fe/H] > 0 that grid stops at
[α/Fe] = 0.2.

A newcomer reads `grid_layout` (the isochrones), `prior` (the star), `blocks` and `segments` (the
integral), in this order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.isochrones.kernel.blocks import FAR, Tally, add_age, new_scratch
from migrate_bayes.isochrones.kernel.grid_layout import flatten
from migrate_bayes.isochrones.kernel.prior import add_prior, mixture_component, nothing

_FIRST_LOOK = 4  # one age in so many is looked at for a first best fit
_TILE = 128  # stars that go through the ages together
_POOL = 2048  # floats of a star's prior, on average
_WINDOW = 10.0  # errors, of `age_likelihood_by_nodes`


class Stars(NamedTuple):
    """Observed stars."""

    values: NDArray  # (star, 4): T_eff (K), log g (dex), M_G, BP−RP (mag)
    inverse_error: NDArray  # of them; 0 if missing
    feh: NDArray[np.float64]  # (star, 2): mean and standard deviation, dex
    alpha: NDArray[np.float64]  # likewise of [α/Fe]
    #: (star, 4): β_T in K/dex, β_g, γ in dex/K, and 1/λ: 0, 0, 0, 1 for independent errors. With
    #: others `inverse_error` is of the conditional errors.
    shear: NDArray
    bound_inverse: NDArray  # (star, 4): `inverse_error` for bounds, of marginal errors over 1/√λ


class AgeLikelihood(NamedTuple):
    """Output of the likelihood kernels, shape (star, age)."""

    log_like: NDArray[np.float64]  # ln L without the observables' constants; -inf: nothing counts
    feh_mean: NDArray[np.float64]  # dex
    feh_sd: NDArray[np.float64]
    abs_g_slope: NDArray[np.float64]  # ∂ ln L/∂M_G, 1/mag; 0 without M_G
    abs_g_curvature: NDArray[np.float64]  # ∂² ln L/∂M_G², 1/mag²
    chi2: NDArray[np.float64]  # (star,): the least over age, mass and composition, which counts

    @classmethod
    def empty(cls, n_star: int, n_age: int) -> AgeLikelihood:
        """Return arrays to fill."""
        like, mean, sd = np.empty((3, n_star, n_age))
        slope, curvature = np.zeros((2, n_star, n_age))
        return cls(like, mean, sd, slope, curvature, np.empty(n_star))


def mixture(parts: list[tuple[NDArray, AgeLikelihood]]) -> AgeLikelihood:
    r"""Return the likelihood of stars that are one of several things.

    Each of the `parts` has ln of its weight, (star,), and the likelihood if it were so. With shares
    p of each in the sum at an age, slope and curvature in M_G are

    .. math:: s = \sum_k p_k s_k, \qquad c = \sum_k p_k (c_k + s_k^2) - s^2

    and mean and variance of [Fe/H] likewise. The least χ² is that of all. What is `FAR` from every
    isochrone does not count.
    """
    if len(parts) == 1:
        return parts[0][1]
    log_weight = np.stack([w[:, None] + out.log_like for w, out in parts])
    log_weight[np.stack([~(out.chi2 <= FAR) for _, out in parts])] = -np.inf
    most = np.maximum(log_weight.max(axis=0), -1e300)
    share = np.exp(log_weight - most)
    whole = share.sum(axis=0)
    with np.errstate(divide="ignore"):
        log_like = most + np.log(whole)
    # Where nothing counts all are as good as the first.
    share = np.where(whole > 0.0, share, np.eye(len(parts))[0][:, None, None])
    share /= share.sum(axis=0)
    mean, sd, slope, bend = (np.stack([out[k] for _, out in parts]) for k in range(1, 5))
    feh = (share * mean).sum(axis=0)
    tilt = (share * slope).sum(axis=0)
    return AgeLikelihood(
        log_like, feh, np.sqrt((share * (sd**2 + (mean - feh) ** 2)).sum(axis=0)), tilt,
        (share * (bend + (slope - tilt) ** 2)).sum(axis=0),
        np.minimum.reduce([out.chi2 for _, out in parts]),
    )  # fmt: skip


# Numba keeps the compiled code of a function with that of all it calls, and compiles it again only
# if this file changes.
@njit(cache=True, nogil=True, error_model="numpy")
def age_likelihood(layout, stars, out, rare):  # type: ignore[no-untyped-def]
    """Compute ln L(age) and the mean and sd of [Fe/H] at each age, for a block of stars.

    Stars go through the ages in step, a tile of them at a time: what one star reads of an age,
    stars like it then find in the cache. The result of a star does not depend on its company.

    `stars` is a `Stars` with observables in float32; [Fe/H] has an error. `out` is an
    `AgeLikelihood`, filled. `rare` is None if no star has BP−RP or correlated errors: what these
    take is then not compiled. Else it is True, with the same bits for the same stars.
    """
    flat = flatten(layout)
    scratch = new_scratch(flat)
    for begin in range(0, len(stars.feh), _TILE):
        tile = range(begin, min(begin + _TILE, len(stars.feh)))
        tally, log_scale = _sum_over_tile(layout, flat, stars, tile, scratch, rare)
        for k, s in enumerate(tile):
            f0, sd_f = stars.feh[s]
            q = stars.inverse_error[s, 2]
            out.chi2[s] = tally.best[k, 1]
            for i in range(len(layout.nodes)):
                out.log_like[s, i], out.feh_mean[s, i], out.feh_sd[s, i] = -np.inf, f0, sd_f
                whole = tally.totals[k, i, 0]
                if whole > 0.0:
                    f = tally.totals[k, i, 1] / whole
                    out.log_like[s, i] = math.log(whole) + log_scale[k] - 0.5 * tally.best[k, 2]
                    out.feh_mean[s, i] = f0 + f
                    variance = tally.totals[k, i, 2] / whole - f * f
                    out.feh_sd[s, i] = math.sqrt(max(variance, 1e-8))
                    out.abs_g_slope[s, i], out.abs_g_curvature[s, i] = _in_magnitude(
                        tally.totals[k, i, 3] / whole, tally.totals[k, i, 4] / whole, q
                    )


@njit(inline="always")
def _in_magnitude(residual, square, q):  # type: ignore[no-untyped-def]
    """Return ∂ ln L/∂M_G and ∂² ln L/∂M_G² from moments of the residual of M_G in errors 1/q."""
    return -q * residual, q * q * (max(square - residual * residual, 0.0) - 1.0)


@njit(inline="always")  # see `add_age`
def _sum_over_tile(layout, flat, stars, tile, scratch, rare):  # type: ignore[no-untyped-def]
    """Return the `Tally` of the stars in the range `tile`, and ln of what their sums lack."""
    n_star, n_age = len(tile), len(layout.nodes)
    tally = Tally(
        np.zeros((n_star, n_age, 5)), np.full((n_star, n_age), np.inf), np.full(n_star, -1),
        np.full((n_star, 3), np.inf),
    )  # fmt: skip
    for k in range(n_star):
        tally.best[k, 2] = 0.0
    log_scale = np.zeros(n_star)
    pool = np.empty(n_star * _POOL, dtype=np.float32)
    priors = [nothing() for _ in tile]
    # Not literals: numba would compile all that takes them once for 0 and once for any number.
    component, most = np.int64(0), 1
    while component < most:
        used = np.int64(0)
        for k, s in enumerate(tile):
            priors[k] = nothing()
            one = mixture_component(layout, stars.alpha[s], component)
            most = max(most, one.number)
            if component < one.number:
                pool, used, priors[k] = add_prior(
                    layout, stars.inverse_error[s], stars.shear[s], stars.feh[s], one, pool, used
                )
            if priors[k].pieces > 0:
                log_scale[k] = priors[k].log_scale - math.log(one.total)
        for looks in (True, False):
            for i in range(0, n_age, _FIRST_LOOK if looks else 1):
                for k, s in enumerate(tile):
                    if priors[k].pieces > 0:
                        obs, inv, bound_inv = (
                            stars.values[s], stars.inverse_error[s], stars.bound_inverse[s]
                        )  # fmt: skip
                        add_age(
                            flat, i, looks, obs, inv, bound_inv, priors[k], pool, scratch, tally,
                            k, rare,
                        )  # fmt: skip
            if looks and component == 0:
                for k in range(n_star):
                    tally.best[k, 2] = min(tally.best[k, 0], FAR)
        component += 1
    return tally, log_scale


@njit(cache=True, nogil=True)
def _widths(axis):  # type: ignore[no-untyped-def]
    """Return trapezoid weights; 1 for a single node."""
    n = len(axis)
    out = np.ones(n)
    for i in range(n if n > 1 else 0):
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
    sums = np.empty((n_age, 5))
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
                    total = of_r = of_rr = 0.0
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
                        part = track[e, 4] * math.exp(-0.5 * chi2)
                        r = (x[2] - track[e, 2] - u * (track[e + 1, 2] - track[e, 2])) * q[2]
                        total += part
                        of_r += part * r
                        of_rr += part * r * r
                    if total > 0.0:
                        step = feh[j] - f0
                        sums[i, 0] += weight * total
                        sums[i, 1] += weight * total * step
                        sums[i, 2] += weight * total * step * step
                        sums[i, 3] += weight * of_r
                        sums[i, 4] += weight * of_rr
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
                out.abs_g_slope[s, i], out.abs_g_curvature[s, i] = _in_magnitude(
                    sums[i, 3] / sums[i, 0], sums[i, 4] / sums[i, 0], q[2]
                )
