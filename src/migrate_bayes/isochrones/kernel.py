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

* *φ*: a sum over a lattice (`lattice`), which converges exponentially.
* *a*, at given φ: isochrones hardly depend on it, and a Gauss-Hermite rule of a few nodes does. A
  very wide :math:`s_a` is split into a mixture of narrower Gaussians.
* *μ*, along each straight segment: :math:`\int_0^1 du\, e^{-\chi^2(u)/2}` with quadratic χ²(u), a
  difference of error functions; where all segments are short, by a Gauss-Legendre rule.

Nothing is approximated by a window: blocks of segments are left out only when a lower bound of
their χ² exceeds the best found by `CUT`, or the best found at this age by `NODE_CUT`. Sums over
ages are in double precision, what is summed in single.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from migrate_bayes.isochrones.cubic import cubic_stencil
from migrate_bayes.isochrones.lanes import WIDTH
from migrate_bayes.isochrones.lattice import (
    MARGIN,
    MAX_ALPHA_SD,
    MAX_PIECES,
    alpha_rule,
    fill_lattice,
    node_weights,
    piece_weights,
)
from migrate_bayes.isochrones.layout import BORN, LARGE, POINTS, QUANTITIES, Layout, gap, lay_out
from migrate_bayes.isochrones.segments import CELLS, MAX_NODES
from migrate_bayes.isochrones.visit import (
    ALONE,
    MAX_ROWS,
    PRIOR,
    SIGN,
    TURNS,
    off_lattice,
    visit,
)

__all__ = ["CUT", "FAR", "MAX_ALPHA_SD", "Layout", "age_likelihood", "lay_out"]

_F = np.float32
_HUGE = _F(1e30)
CUT = 28.0  # in χ²: a point of exp(-14) = 8e-7 of the best one's weight
NODE_CUT = 17.0  # a point of exp(-8.5) = 2e-4 of the best one's at the same age
FAR = 100.0  # χ² beyond which a star is off the grid (10 sigma, the paper's window)
_APART = 0.12  # by what two nodes of [α/Fe] may differ, block by block, over their sum
_SEED = 3  # one age in so many is looked at for a first best fit


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def age_likelihood(  # type: ignore[no-untyped-def]
    layout, obs, inv, feh_mean, feh_sd, alpha_mean, alpha_sd, max_alpha_sd,
    log_like, out_mean, out_sd, chi2_min,
):  # fmt: skip
    """Compute ln L(age) and the mean and sd of [Fe/H] at each age, for a block of stars.

    Parameters
    ----------
    layout : Layout
        Of the isochrones.
    obs, inv : numpy.ndarray, shape (star, 4)
        float32. T_eff, log g, M_G, BP−RP and the inverse of their errors: 0 for a missing one.
    feh_mean, feh_sd, alpha_mean, alpha_sd : numpy.ndarray, shape (star,)
        Gaussians of the star's composition; [Fe/H] has an error, [α/Fe] lies inside the grid.
    max_alpha_sd : float
        Split wider Gaussians of [α/Fe] into narrower ones.
    log_like, out_mean, out_sd : numpy.ndarray, shape (star, age)
        Results. ``-inf`` where no segment counts. The Gaussian constants of `obs` are left out.
    chi2_min : numpy.ndarray, shape (star,)
        The least χ², over everything, minimised over [Fe/H] and [α/Fe] too.
    """
    packed, small, large = layout.packed, layout.small, layout.large
    axis, alpha = layout.metallicity, layout.alpha
    n_age, n_block, _, n_alpha, n_metal, _ = packed.shape
    n_alpha_cell, n_cell, n_large = large.shape[1], large.shape[4], large.shape[5]
    cell = axis[1] - axis[0]
    flat = packed.reshape(-1)
    per_block = QUANTITIES * n_alpha * n_metal * POINTS
    # The star's lattice: see `visit`
    n_point = (n_cell + MARGIN) * MAX_PIECES
    work = np.zeros(PRIOR + (1 + 2 * MAX_ROWS) * n_point + 1, dtype=_F)
    prior, weight, feh = work[PRIOR : PRIOR + n_point], work[PRIOR + n_point :], work[PRIOR:]
    weight = weight[: MAX_ROWS * n_point].reshape(MAX_ROWS, n_point)
    feh = feh[(1 + MAX_ROWS) * n_point : (1 + 2 * MAX_ROWS) * n_point].reshape(MAX_ROWS, n_point)
    alone = work[ALONE:TURNS].reshape(-1, MAX_NODES, WIDTH)
    turns = work[TURNS:SIGN].reshape(-1, 2, MAX_NODES, WIDTH)
    for lane in range(WIDTH):
        work[SIGN + lane] = 1.0 if lane % 2 == 0 else -1.0
    between, least_prior = np.empty((MAX_PIECES, 4), dtype=_F), np.empty(n_cell, dtype=_F)
    # Nodes of [α/Fe], who takes which, and how to interpolate to each, by metallicity node
    zeta, omega = np.empty(MAX_ROWS), np.empty(MAX_ROWS)
    passes, discount = np.zeros((MAX_ROWS, 2), dtype=np.int64), np.zeros(MAX_ROWS, dtype=_F)
    a_weight = np.zeros((MAX_ROWS, n_alpha, n_metal), dtype=_F)
    a_weight_1 = a_weight.reshape(-1)
    value, slope, curve = np.empty(4), np.empty(4), np.empty(4)
    # Bounds
    small_1, large_1 = small.reshape(-1), large.reshape(-1)
    per_small, per_large = n_cell * LARGE, n_cell * n_large
    bound = np.empty((n_age, per_large), dtype=_F)
    bound_1, fine = bound.reshape(-1), np.empty(per_small, dtype=_F)
    block_least, large_least = np.empty(LARGE, dtype=_F), np.empty(n_large, dtype=_F)
    sums = np.zeros(4)
    obs_q, inv_q = np.zeros(QUANTITIES, dtype=_F), np.zeros(QUANTITIES, dtype=_F)
    totals, best_of = np.empty((n_age, 3)), np.empty(n_age)
    apart, again = np.empty(n_age), np.zeros(n_age, dtype=np.bool_)

    for s in range(len(feh_mean)):
        x, q = obs[s], inv[s]
        for c in range(3):
            obs_q[c], inv_q[c] = x[c], q[c]
        obs_q[BORN], inv_q[BORN] = 0.0, -1.0
        obs_q[4], inv_q[4] = x[3], q[3]
        quantities = QUANTITIES if q[3] > 0.0 else QUANTITIES - 1
        # Mixture of Gaussians of sd `narrow`, `step_a` apart, with weights of sd `wide`.
        narrow, wide, step_a, half = alpha_sd[s], 0.0, 0.0, 0
        if narrow > max_alpha_sd:
            narrow = 0.8 * max_alpha_sd
            wide = math.sqrt(alpha_sd[s] ** 2 - narrow**2)
            step_a = 1.25 * narrow * wide / alpha_sd[s]
            half = int(4.2 * wide / step_a) + 1
        totals[:], apart[:], best_of[:] = 0.0, 0.0, np.inf
        track, best, least_chi2, reference, mass, spare = 0, np.inf, np.inf, 0.0, 0.0, 0.0
        for turn in range(2 * half + 1):
            # From the centre outwards: 0, +1, -1, +2, ...
            m = (turn + 1) // 2 if turn % 2 else -(turn // 2)
            centre_a = alpha_mean[s] + m * step_a
            if m != 0 and n_alpha > 1 and (centre_a < alpha[0] or centre_a > alpha[-1]):
                continue
            offset = 0.0 if m == 0 else (m * step_a / wide) ** 2
            mass += math.exp(-0.5 * offset)
            enhanced = 0.638 * 10.0**centre_a
            rate = enhanced / (enhanced + 0.362)
            sd_phi = math.sqrt(feh_sd[s] ** 2 + (rate * narrow) ** 2)
            kappa, sd_a = rate * (narrow / sd_phi) ** 2, narrow * feh_sd[s] / sd_phi
            centre = feh_mean[s] + math.log10(enhanced + 0.362)
            if n_alpha == 1:  # [α/Fe] given φ is free, and moves [Fe/H]
                spare = (rate * sd_a) ** 2
            for attempt in range(2):
                n_rows = alpha_rule(sd_a if n_alpha > 1 else 0.0, attempt, zeta, omega)
                pieces, first_point, last_point, n_pass = fill_lattice(
                    axis, (feh_mean[s], feh_sd[s], centre_a, narrow), offset,
                    layout.feh_low, layout.feh_high, n_alpha == 1, q, zeta, omega, n_rows,
                    passes, prior, weight, feh, least_prior,
                )  # fmt: skip
                if last_point < first_point:
                    break
                piece_weights(pieces, between)
                node_weights(pieces, between, alone, turns)
                for n in range(n_pass):
                    share = omega[passes[n, 0]] * (1.0 if passes[n, 0] == passes[n, 1] else 2.0)
                    discount[n] = -2.0 * math.log(share)
                cell_low, cell_high = first_point // pieces, last_point // pieces + 1

                # The star's [α/Fe] at each metallicity
                most = 4.5 * sd_a
                low = centre_a + kappa * (axis[cell_low] - centre) - most
                high = centre_a + kappa * (axis[cell_high] - centre) + most
                k_low = min(max(np.searchsorted(alpha, low) - 1, 0), n_alpha_cell - 1)
                k_high = min(max(np.searchsorted(alpha, high) - 1, 0), n_alpha_cell - 1)
                k_begin, k_end = n_alpha, 0
                for row in range(n_rows):
                    # Node 0 of the packed grid is the one added before the first.
                    a_weight[row, :, cell_low : cell_high + 3 + MARGIN] = 0.0
                    for n in range(cell_low, cell_high + 3):
                        phi = axis[0] + (n - 1) * cell
                        at = centre_a + kappa * (phi - centre) + zeta[row] * sd_a
                        first = cubic_stencil(alpha, at, value, slope, curve)
                        for k in range(min(4, n_alpha)):
                            if value[k] != 0.0:
                                k_begin, k_end = min(k_begin, first + k), max(k_end, first + k + 1)
                            a_weight[row, first + k, n] = value[k]

                for i in range(n_age if attempt == 0 else 0):
                    gap(
                        large_1, i * n_alpha_cell * 8 * per_large, per_large, 8 * per_large,
                        k_low, k_high, x, q, cell_low * n_large, cell_high * n_large,
                        bound_1[i * per_large :],
                    )  # fmt: skip
                # Phase 0, in the likeliest cell at a few ages: a best fit to compare with. 1: all.
                middle = cell_low
                for j in range(cell_low, cell_high):
                    if least_prior[j] < least_prior[middle]:
                        middle = j
                for phase in range(2 * attempt, 2 + attempt):
                    from_cell = middle if phase == 0 else cell_low
                    to_cell = middle + 1 if phase == 0 else cell_high
                    for i in range(0, n_age, _SEED if phase == 0 else 1):
                        if phase == 2 and not again[i]:
                            continue
                        # Where the best of the last age was, this one's is likely to be.
                        head, next_track, least_here = track // LARGE, track, np.inf
                        for order in range(n_large):
                            big = head if order == 0 else (order - 1 if order <= head else order)
                            limit = _F(min(min(best, FAR) + CUT, best_of[i] + NODE_CUT))
                            if order == 0:  # the least of every large block, prior of φ included
                                _least_of_cells(
                                    bound_1, i * per_large, n_large, from_cell, to_cell,
                                    least_prior, large_least,
                                )  # fmt: skip
                            if large_least[big] > limit:
                                continue
                            gap(
                                small_1, (i * n_alpha_cell * 8 * n_large + big) * per_small,
                                n_large * per_small, 8 * n_large * per_small, k_low, k_high, x, q,
                                from_cell * LARGE, to_cell * LARGE, fine,
                            )  # fmt: skip
                            _least_of_cells(
                                fine, 0, LARGE, from_cell, to_cell, least_prior, block_least
                            )
                            lead = track % LARGE if order == 0 else 0
                            for rank in range(min(LARGE, n_block - big * LARGE)):
                                at_b = lead if rank == 0 else (rank - 1 if rank <= lead else rank)
                                limit = _F(min(min(best, FAR) + CUT, best_of[i] + NODE_CUT))
                                if block_least[at_b] > limit:
                                    continue
                                b = big * LARGE + at_b
                                # The cells that may matter, from the first to the last.
                                start, stop = to_cell, from_cell
                                for j in range(from_cell, to_cell):
                                    if fine[j * LARGE + at_b] + least_prior[j] <= limit:
                                        start, stop = min(start, j), j + 1
                                for j in range(start, stop, CELLS):
                                    end = min(j + CELLS, stop)
                                    least = visit(
                                        flat, (i * n_block + b) * per_block, n_metal, n_alpha,
                                        quantities, k_begin, k_end, a_weight_1, n_rows,
                                        obs_q, inv_q, work, n_point, pieces, passes, discount,
                                        n_pass, j, end, fine, at_b, least_prior,
                                        _F(reference), limit, sums,
                                    )  # fmt: skip
                                    if phase > 0:
                                        totals[i, 0] += sums[0]
                                        totals[i, 1] += sums[1]
                                        totals[i, 2] += sums[2]
                                        apart[i] += abs(sums[3])
                                    if least < least_here:
                                        least_here, next_track = least, b
                                        best_of[i] = min(best_of[i], least)
                                    if least < best:
                                        best = least
                                        least_chi2 = off_lattice(work, (end - j) * pieces)
                        track = next_track
                    if phase == 0 and turn == 0:
                        reference = min(best, FAR)
                # Two nodes of [α/Fe] do unless they differ, or the grid is rough: then five.
                if attempt == 1 or n_rows != 2 or n_pass != 1 or half > 0:
                    break
                peak, wanted = 0.0, False
                for i in range(n_age):
                    peak = max(peak, totals[i, 0])
                for i in range(n_age):
                    again[i] = totals[i, 0] > 1e-5 * peak and (
                        layout.rough[i] or apart[i] > _APART * totals[i, 0]
                    )
                    if again[i]:
                        totals[i], wanted = 0.0, True
                if not wanted:
                    break
        chi2_min[s] = least_chi2
        for i in range(n_age):
            log_like[s, i] = -np.inf
            out_mean[s, i] = feh_mean[s]
            out_sd[s, i] = feh_sd[s]
            if totals[i, 0] > 0.0:
                f = totals[i, 1] / totals[i, 0]
                log_like[s, i] = math.log(totals[i, 0] / mass) - 0.5 * reference
                out_mean[s, i] = feh_mean[s] + f
                out_sd[s, i] = math.sqrt(max(totals[i, 2] / totals[i, 0] - f * f + spare, 1e-8))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "nsz"})
def _least_of_cells(bounds, start, n, from_cell, to_cell, least_prior, out):  # type: ignore[no-untyped-def]
    """Take the least over cells of the bounds of `n` blocks, with the prior's χ² of the cell."""
    for b in range(n):
        out[b] = _HUGE
    for j in range(from_cell, to_cell):
        at, p = np.uint64(start + j * n), least_prior[j]
        for b in range(np.uint64(n)):
            x = bounds[at + b] + p
            out[b] = x if x < out[b] else out[b]
