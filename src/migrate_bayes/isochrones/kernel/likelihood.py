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
* *μ*, along each straight segment: :math:`\int_0^1 du\, e^{-\chi^2(u)/2}` with quadratic χ²(u): of
  a long one a difference of error functions, of a short one Hermite's rule (`segments`).

At the lattice that the errors of a survey ask for (`layout.READY_PIECES` points a cell) isochrones
are interpolated in φ once for all stars; what is left for each star is the sum over [α/Fe] nodes.
Other stars, and those with BP−RP, are interpolated to one by one: the same sum at the same points.

Nothing is approximated by a window: segments, and blocks of them, are left out only when a lower
bound of their χ² exceeds the best found by `DEPTH`, or the best found at this age by `NODE_CUT`.
Sums over ages are in double precision, what is summed in single.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from migrate_bayes.isochrones.kernel.blocks import SIGN, WORK, off_lattice, visit, visit_ready
from migrate_bayes.isochrones.kernel.grid_layout import (
    BLOCK,
    IN_GROUP,
    LARGE,
    POINTS,
    QUANTITIES,
    READY,
    Layout,
    gap,
    lay_out,
)
from migrate_bayes.isochrones.kernel.lattice import MAX_ALPHA_SD
from migrate_bayes.isochrones.kernel.prior_lattice import (
    CELL_HIGH,
    CELL_LOW,
    IS_READY,
    LEAST,
    MIDDLE,
    N_PASS,
    N_ROWS,
    PIECES,
    PLAN,
    STRIP,
    TOGETHER,
    room,
    set_up,
    turn_of,
)
from migrate_bayes.isochrones.kernel.segments import CELLS
from migrate_bayes.isochrones.kernel.simd import WIDTH

__all__ = ["CUT", "FAR", "MAX_ALPHA_SD", "Layout", "age_likelihood", "lay_out"]

_F = np.float32
CUT = 28.0  # in χ²: a point of exp(-14) = 8e-7 of the best one's weight
DEPTH = CUT + 6.0  # how deep segments are looked for: an age that just counts is to be whole
NODE_CUT = 20.0  # a point of exp(-10) = 5e-5 of the best one's at the same age
FAR = 100.0  # χ² beyond which a star is off the grid (10 sigma, the paper's window)
_APART = 0.12  # by what two nodes of [α/Fe] may differ, block by block, over their sum
_SEED = 4  # one age in so many is looked at for a first best fit
_TILE = 128  # stars that go through the ages together
_POOL = 3072  # floats of a star's composition, on average


@njit(cache=True, nogil=True, error_model="numpy")
def age_likelihood(  # type: ignore[no-untyped-def]
    layout, stars, out
):
    """Compute ln L(age) and the mean and sd of [Fe/H] at each age, for a block of stars.

    Stars go through the ages in step, a tile of them at a time: what one star reads of an age,
    stars like it then find in the cache. What a star yields does not depend on its company.

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
    obs, inv, max_alpha_sd = stars.values, stars.inverse_error, MAX_ALPHA_SD
    feh_mean, feh_sd = stars.feh[:, 0].copy(), stars.feh[:, 1].copy()
    alpha_mean, alpha_sd = stars.alpha[:, 0].copy(), stars.alpha[:, 1].copy()
    log_like, out_mean, out_sd, chi2_min = out
    n_age = len(layout.packed)
    pool = np.zeros(max(room(layout), _TILE * _POOL), dtype=_F)
    work = np.zeros(WORK, dtype=_F)
    for lane in range(WIDTH):
        work[SIGN + lane] = 1.0 if lane % 2 == 0 else -1.0
    _, n_block, _, n_alpha, n_metal, _ = layout.packed.shape
    _, n_strip, _, _, n_large, n_cell, _ = layout.small.shape
    n_huge = layout.large.shape[4]
    shape = n_block, n_alpha, n_metal, n_strip, n_cell, n_large, n_huge
    arrays = (
        layout.packed.reshape(-1),
        layout.ready.reshape(-1),
        layout.small.reshape(-1),
        layout.large.reshape(-1),
    )
    bounds = np.empty(n_cell * LARGE, _F), np.empty(n_cell * LARGE, _F)
    least = np.empty(n_huge * LARGE, _F), np.empty(LARGE, _F)
    plan, turn = np.zeros((_TILE, PLAN), dtype=np.int64), np.zeros(4)
    # By star: the best χ² so far and its block, χ² at the best fit, the χ² that sums refer to
    track, fit = np.zeros(_TILE, dtype=np.int64), np.empty((_TILE, 3))
    mass, spare = np.empty(_TILE), np.empty(_TILE)
    turns, halves = np.zeros(_TILE, dtype=np.int64), np.zeros(_TILE, dtype=np.bool_)
    totals, best_of = np.empty((_TILE, n_age, 4)), np.empty((_TILE, n_age))
    again = np.zeros((_TILE, n_age), dtype=np.bool_)

    begin = 0
    while begin < len(feh_mean):
        n_star = min(_TILE, len(feh_mean) - begin)
        most = 0
        for k in range(n_star):
            turns[k] = turn_of(alpha_sd[begin + k], max_alpha_sd, 0, turn)
            most = max(most, turns[k])
        k_turn = 0
        while k_turn < most:
            used, k = 0, 0
            while k < n_star:
                if k_turn == 0:
                    track[k], mass[k], spare[k] = -1, 0.0, 0.0
                    fit[k, 0], fit[k, 1], fit[k, 2] = np.inf, np.inf, 0.0
                    totals[k], best_of[k] = 0.0, np.inf
                plan[k, PIECES] = 0
                if k_turn < turns[k]:
                    s = begin + k
                    turn_of(alpha_sd[s], max_alpha_sd, k_turn, turn)
                    taken = set_up(
                        layout, feh_mean[s], feh_sd[s], alpha_mean[s], turn, inv[s], 0,
                        pool, used, plan[k], mass, spare, k,
                    )  # fmt: skip
                    if taken < 0:  # no room: these stars first
                        break
                    used += taken
                if k_turn == 0:
                    halves[k] = plan[k, PIECES] > 0 and plan[k, N_PASS] < plan[k, N_ROWS]
                    halves[k] = halves[k] and turns[k] == 1 and plan[k, N_ROWS] == 2
                k += 1
            n_star = k
            for phase in range(2):
                for i in range(0, n_age, _SEED if phase == 0 else 1):
                    for k in range(n_star):
                        if plan[k, PIECES] > 0:
                            _scan(
                                shape, arrays, i, phase, obs[begin + k], inv[begin + k], plan[k],
                                pool, work, bounds, least, track, fit, best_of, totals, k,
                            )  # fmt: skip
                if phase == 0 and k_turn == 0:
                    for k in range(n_star):
                        fit[k, 2] = min(fit[k, 0], FAR)
            k_turn += 1
        # Two nodes of [α/Fe] do unless they differ: then four; where the grid is rough, five.
        for rule in range(1, 3):
            start = 0
            while start < n_star:
                used, k = 0, start
                while k < n_star:
                    plan[k, PIECES] = 0
                    if halves[k] and _doubt(totals[k], layout.rough, rule == 2, again[k]):
                        s = begin + k
                        turn_of(alpha_sd[s], max_alpha_sd, 0, turn)
                        taken = set_up(
                            layout, feh_mean[s], feh_sd[s], alpha_mean[s], turn, inv[s], rule,
                            pool, used, plan[k], mass, spare, k,
                        )  # fmt: skip
                        if taken < 0:
                            break
                        used += taken
                    k += 1
                for i in range(n_age):
                    for j in range(start, k):
                        if plan[j, PIECES] > 0 and again[j, i]:
                            totals[j, i] = 0.0
                            _scan(
                                shape, arrays, i, 2, obs[begin + j], inv[begin + j], plan[j],
                                pool, work, bounds, least, track, fit, best_of, totals, j,
                            )  # fmt: skip
                start = k
        for k in range(n_star):
            s = begin + k
            chi2_min[s] = fit[k, 1]
            for i in range(n_age):
                log_like[s, i] = -np.inf
                out_mean[s, i] = feh_mean[s]
                out_sd[s, i] = feh_sd[s]
                whole = totals[k, i, 0]
                if whole > 0.0:
                    f = totals[k, i, 1] / whole
                    log_like[s, i] = math.log(whole / mass[k]) - 0.5 * fit[k, 2]
                    out_mean[s, i] = feh_mean[s] + f
                    variance = totals[k, i, 2] / whole - f * f + spare[k]
                    out_sd[s, i] = math.sqrt(max(variance, 1e-8))
        begin += n_star


@njit(cache=True, nogil=True, error_model="numpy")
def _doubt(totals, rough, where_rough, again):  # type: ignore[no-untyped-def]
    """Tell at which ages two nodes of [α/Fe] are not enough, and whether there is any.

    Of the ages that the grid is rough at, or of the others.
    """
    peak, any_ = 0.0, False
    for i in range(len(totals)):
        peak = max(peak, totals[i, 0])
    for i in range(len(totals)):
        again[i] = rough[i] == where_rough and totals[i, 0] > 1e-5 * peak
        again[i] = again[i] and (where_rough or totals[i, 3] > _APART * totals[i, 0])
        any_ = any_ or again[i]
    return any_


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(  # type: ignore[no-untyped-def]
    shape, arrays, i, phase, x, q, plan, pool, work, bounds, leasts, track, fit, best_of, totals,
    star,
):  # fmt: skip
    """Add up a star's likelihood at one age.

    Phase 0: only in the likeliest cell, for a best fit to compare with. 1, 2: all.
    """
    n_block, n_alpha, n_metal, n_strip, n_cell, n_large, n_huge = shape
    flat, ready, small, large = arrays
    bound, fine = bounds
    large_least, block_least = leasts
    per_block = QUANTITIES * n_alpha * n_metal * POINTS
    per_large = n_cell * LARGE
    from_cell = plan[MIDDLE] if phase == 0 else plan[CELL_LOW]
    to_cell = from_cell + 1 if phase == 0 else plan[CELL_HIGH]
    if plan[IS_READY] != 0:  # in whole groups
        from_cell -= from_cell % IN_GROUP
        to_cell = min(from_cell + IN_GROUP, plan[CELL_HIGH]) if phase == 0 else to_cell
    per_eep = READY * WIDTH
    along = (n_block * BLOCK + 1) * per_eep
    age_at = i * ((n_cell - 1) // IN_GROUP + 1) * n_alpha * along
    least_prior = plan[LEAST] - plan[CELL_LOW]  # where that of cell 0 would be
    strips = plan[STRIP] - 2 * plan[CELL_LOW]
    reference = _F(fit[star, 2])
    for huge in range(n_huge):
        gap(
            large, (i * n_strip * 8 * n_huge + huge) * per_large, n_huge * per_large,
            8 * n_huge * per_large, x, q, pool, strips, least_prior, from_cell, to_cell, bound,
            large_least, huge * LARGE,
        )  # fmt: skip
    # First where the best of the last age was; at the first age, where the bound is lowest.
    last, least_here = track[star], np.inf
    head = last // LARGE if last >= 0 else np.argmin(large_least[:n_large])
    for order in range(n_large):
        big = head if order == 0 else (order - 1 if order <= head else order)
        limit = _F(min(min(fit[star, 0], FAR) + DEPTH, best_of[star, i] + NODE_CUT))
        if large_least[big] > limit:
            continue
        gap(
            small, (i * n_strip * 8 * n_large + big) * per_large, n_large * per_large,
            8 * n_large * per_large, x, q, pool, strips, least_prior, from_cell, to_cell, fine,
            block_least, 0,
        )  # fmt: skip
        lead, n_here = 0, min(LARGE, n_block - big * LARGE)
        if order == 0:
            lead = last % LARGE if last >= 0 else np.argmin(block_least[:n_here])
        for rank in range(n_here):
            at = lead if rank == 0 else (rank - 1 if rank <= lead else rank)
            limit = _F(min(min(fit[star, 0], FAR) + DEPTH, best_of[star, i] + NODE_CUT))
            if block_least[at] > limit:
                continue
            b = big * LARGE + at
            # The cells that may matter, from the first to the last.
            start, stop = to_cell, from_cell
            for j in range(from_cell, to_cell):
                if fine[j * LARGE + at] + pool[least_prior + j] <= limit:
                    start, stop = min(start, j), j + 1
            if plan[IS_READY] != 0:
                start -= start % IN_GROUP
            for j in range(start, stop, CELLS):
                end = min(j + CELLS, stop)
                if plan[IS_READY] != 0:
                    least = visit_ready(
                        ready, age_at + b * BLOCK * per_eep, n_alpha * along, along, x, q, plan,
                        pool, work, j, end, fine, at, reference, limit, totals[star, i], phase > 0,
                    )  # fmt: skip
                else:
                    least = visit(
                        flat, (i * n_block + b) * per_block, n_metal, n_alpha, x, q, plan, pool,
                        work, j, end, fine, at, reference, limit, totals[star, i], phase > 0,
                    )  # fmt: skip
                if least < least_here:
                    least_here, track[star] = least, b
                    best_of[star, i] = min(best_of[star, i], least)
                if least < fit[star, 0]:
                    fit[star, 0] = least
                    fit[star, 1] = off_lattice(work, (end - j) * plan[PIECES], 1 + plan[TOGETHER])
