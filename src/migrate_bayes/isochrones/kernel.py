r"""Likelihood of each age for each star: everything but age integrated in closed form.

For a star with observables :math:`d` (T_eff, log g, M_G, BP−RP; errors :math:`\Sigma`, diagonal),
[Fe/H] :math:`f_0 \pm s_f` and [α/Fe] :math:`a_0 \pm s_a`, and for an isochrone of age τ whose
points :math:`m(\mu; f, a)` are born in numbers :math:`\xi(\mu)\,d\mu`,

.. math:: L(\tau) = \int d\mu\, df\, da\; \xi(\mu)\, N(d; m(\mu; f, a), \Sigma)\,
   N(f_0; f, s_f^2)\, N(a_0; a, s_a^2)

(Jørgensen & Lindegren 2005, A&A 436, 127; Vickers, Shen & Li 2021, section 2.1.1). Along a segment
of the isochrone, and in (f, a) within a few errors of the star, :math:`m` is linear, with
derivatives F and A. The integrals over f and a are then Gaussian,

.. math:: L = \sum_\mathrm{segments} \xi_j \int_0^1 du\; N(d; P_j + u D_j, C_j),\quad
   C = \Sigma + s_f^2 F F^T + s_a^2 A A^T

and the one over u is an error function. Short segments take three Gauss-Legendre points (up to
:math:`\sqrt2` errors, remainder below 6e-5 of the peak) or one (up to 0.1 errors, below 4e-4).
P, F and A are the statistical linearisation of the grid's piecewise linear function: its mean, and
its mean slope, under the Gaussians in f and a, so that the result is smooth where a star's error
straddles a node. A segment along which F or A change is cut in pieces; a wide :math:`s_f` is split
into a mixture of narrower Gaussians (`MAX_FEH_SD`).

Nothing is approximated by a window: blocks of segments are left out only when a lower bound of
their χ² exceeds the best found by `CUT`, that is below 2e-8 of the best point's weight.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from migrate_bayes.isochrones.layout import BLOCK, LARGE, PER_LARGE, VALUES, lower_bounds, pack
from migrate_bayes.isochrones.segments import TABLE, add_block, gather, linearise

__all__ = ["CUT", "FAR", "MAX_FEH_SD", "age_likelihood", "pack"]

CUT = 36.0  # in χ²: exp(-18) = 2e-8
FAR = 100.0  # χ² beyond which a star is off the grid (10 sigma, the paper's window)
MAX_FEH_SD = 0.06  # dex: over a wider Gaussian an isochrone is not linear in [Fe/H]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def age_likelihood(  # type: ignore[no-untyped-def]
    packed, small, large, first, last, feh, alpha, salaris,
    obs, inv, feh_mean, feh_sd, alpha_mean, alpha_sd, max_feh_sd,
    log_like, out_mean, out_sd, chi2_min,
):  # fmt: skip
    """Compute ln L(age) and the mean and sd of [Fe/H] at each age, for a block of stars.

    Parameters
    ----------
    packed, small, large
        From `pack`.
    first, last, feh, alpha, salaris
        Of the `WorkingGrid`.
    obs, inv : numpy.ndarray, shape (star, 4)
        T_eff, log g, M_G, BP−RP and the inverse of their errors: 0 for one that is missing.
    feh_mean, feh_sd, alpha_mean, alpha_sd : numpy.ndarray, shape (star,)
        Gaussians of the star's composition, their means inside the grid.
    max_feh_sd : float
        Split wider Gaussians of [Fe/H] into narrower ones.
    log_like, out_mean, out_sd : numpy.ndarray, shape (star, age)
        Results. ``-inf`` where no segment counts. The Gaussian constants of `obs` are left out.
    chi2_min : numpy.ndarray, shape (star,)
        The least χ², over everything, minimised over [Fe/H] and [α/Fe] too.
    """
    n_age, n_eep = len(packed), small.shape[4] * BLOCK + 1
    n_block, n_large = small.shape[4], large.shape[4]
    lower = np.empty((n_age, n_large))
    begin = np.empty(n_age, dtype=np.int64)
    end = np.empty(n_age, dtype=np.int64)
    nodes_f = np.empty(len(feh) + 1, dtype=np.int64)
    mean_f, slope_f = np.empty(len(feh) + 1), np.empty(len(feh) + 1)
    nodes_a = np.empty(len(alpha) + 1, dtype=np.int64)
    mean_a, slope_a = np.empty(len(alpha) + 1), np.empty(len(alpha) + 1)
    R, F, A = np.empty(VALUES), np.empty(VALUES), np.empty(VALUES)
    work, fine = np.empty((19, n_block)), np.empty((1, n_block))
    table, cuts = np.empty(TABLE), np.empty(TABLE)
    sums, totals = np.empty(3), np.empty((n_age, 3))

    for s in range(len(feh_mean)):
        x, q = obs[s], inv[s]
        sd_a = alpha_sd[s]
        shift, per_alpha = 0.0, 0.0
        if salaris:
            # [Fe/H] stands for total metallicity: [α/Fe] moves it, at this rate.
            enhanced = 0.638 * 10.0 ** alpha_mean[s]
            shift = math.log10(enhanced + 0.362)
            per_alpha = enhanced / (enhanced + 0.362)
            n_a = linearise(alpha, 0.0, 0.0, nodes_a, mean_a, slope_a)
        else:
            n_a = linearise(alpha, alpha_mean[s], sd_a, nodes_a, mean_a, slope_a)
        # Mixture of Gaussians of sd narrow, at centres step apart with weights of sd wide.
        narrow, wide, step, half = feh_sd[s], 0.0, 0.0, 0
        if narrow > max_feh_sd:
            narrow = 0.8 * max_feh_sd
            wide = math.sqrt(feh_sd[s] ** 2 - narrow**2)
            step = 1.25 * narrow * wide / feh_sd[s]
            half = int(4.2 * wide / step) + 1
        totals[:] = 0.0
        best, reference, mass = np.inf, 0.0, 0.0
        for turn in range(2 * half + 1):
            # From the centre outwards: 0, +1, -1, +2, ...
            k = (turn + 1) // 2 if turn % 2 else -(turn // 2)
            centre = feh_mean[s] + k * step + shift
            if k != 0 and (centre < feh[0] or centre > feh[-1]):
                continue
            offset = 0.0 if k == 0 else (k * step / wide) ** 2
            portion = math.exp(-0.5 * offset)
            mass += portion
            n_f = linearise(feh, centre, narrow, nodes_f, mean_f, slope_f)
            # Lower bounds of the large blocks, and the most promising of them.
            least, at_i, at_b = np.inf, 0, 0
            for i in range(n_age):
                lo_e, hi_e = 0, n_eep
                for jf in range(n_f):
                    for ja in range(n_a):
                        lo_e = max(lo_e, first[i, nodes_f[jf], nodes_a[ja]])
                        hi_e = min(hi_e, last[i, nodes_f[jf], nodes_a[ja]])
                begin[i], end[i] = lo_e, hi_e
                for b in range(n_large):
                    lower[i, b] = np.inf
                from_b, to_b = lo_e // LARGE, (hi_e - 1) // LARGE + 1
                if hi_e <= lo_e:
                    continue
                lower_bounds(
                    large, i, from_b, to_b, nodes_f, mean_f, n_f, nodes_a, mean_a, n_a,
                    x, q, narrow, sd_a, per_alpha, work, lower, i,
                )  # fmt: skip
                for b in range(from_b, to_b):
                    if lower[i, b] < least:
                        least, at_i, at_b = lower[i, b], i, b
            # First the most promising block, alone, for a best to compare with; then all.
            for phase in range(2):
                for i in range(at_i if phase == 0 else 0, at_i + 1 if phase == 0 else n_age):
                    sums[:] = 0.0
                    for big in range(
                        at_b if phase == 0 else 0, at_b + 1 if phase == 0 else n_large
                    ):
                        if lower[i, big] > min(best, FAR) + CUT - offset:
                            continue
                        from_b, to_b = big * PER_LARGE, min((big + 1) * PER_LARGE, n_block)
                        lower_bounds(
                            small, i, from_b, to_b, nodes_f, mean_f, n_f, nodes_a, mean_a, n_a,
                            x, q, narrow, sd_a, per_alpha, work, fine, 0,
                        )  # fmt: skip
                        for b in range(from_b, to_b):
                            start, stop = max(b * BLOCK, begin[i]), min((b + 1) * BLOCK, end[i])
                            if stop <= start:
                                continue
                            cut = min(best, FAR) + CUT - offset
                            if fine[0, b] > cut:
                                continue
                            gather(
                                packed, i, b, nodes_f, mean_f, slope_f, n_f,
                                nodes_a, mean_a, slope_a, n_a, per_alpha,
                                x, q, narrow, sd_a, R, F, A,
                            )  # fmt: skip
                            chi2 = add_block(
                                R, F, A, start - b * BLOCK, stop - b * BLOCK,
                                reference, cut if phase else -1.0, sums, table, cuts,
                            )  # fmt: skip
                            best = min(best, chi2 + offset)
                    if phase == 1 and sums[0] > 0.0:
                        z1, z2 = sums[1] / sums[0], sums[2] / sums[0]
                        f = k * step + narrow * z1
                        square = (k * step) ** 2 + 2 * k * step * narrow * z1 + narrow**2 * z2
                        totals[i, 0] += portion * sums[0]
                        totals[i, 1] += portion * sums[0] * f
                        totals[i, 2] += portion * sums[0] * square
                if phase == 0 and turn == 0:
                    reference = min(best, FAR)
        chi2_min[s] = best
        for i in range(n_age):
            log_like[s, i] = -np.inf
            out_mean[s, i] = feh_mean[s]
            out_sd[s, i] = feh_sd[s]
            if totals[i, 0] > 0.0:
                mean = totals[i, 1] / totals[i, 0]
                log_like[s, i] = math.log(totals[i, 0] / mass) - 0.5 * reference
                out_mean[s, i] = feh_mean[s] + mean
                out_sd[s, i] = math.sqrt(max(totals[i, 2] / totals[i, 0] - mean * mean, 1e-8))
