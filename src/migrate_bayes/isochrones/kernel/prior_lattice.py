"""A star's Gaussian in metallicity and [α/Fe], made ready for the kernel.

`set_up` puts what one Gaussian needs into a pool of floats that many stars share, and notes in the
star's row of a *plan* where: the lattice in φ (`lattice`), the nodes of [α/Fe] and the weights that
interpolate to them. A very wide Gaussian of [α/Fe] is a mixture of narrower ones, `turn_of` by
`turn_of` from the centre outwards.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from migrate_bayes.isochrones.kernel.cubic import cubic_stencil
from migrate_bayes.isochrones.kernel.grid_layout import IN_GROUP, READY_PIECES
from migrate_bayes.isochrones.kernel.lattice import MARGIN, MAX_PIECES, alpha_rule, fill_lattice
from migrate_bayes.isochrones.kernel.simd import WIDTH

__all__ = [
    "ALPHA", "CELL_HIGH", "CELL_LOW", "DISCOUNT", "FEHS", "IS_READY", "K_BEGIN", "K_END",
    "LEAST", "MAX_ROWS", "MIDDLE", "N_NODE", "N_PASS", "N_POINT", "N_ROWS", "PIECES", "PLAN",
    "PRIORS", "RANGES", "STRIP", "TOGETHER", "WEIGHTS", "room", "set_up", "turn_of",
]  # fmt: skip

MAX_ROWS = 7  # nodes of [α/Fe]
# Columns of the plan. Points of a cell (0: nothing to do); rows of [α/Fe], passes through them and
# whether even and odd points take turns; the first cell and the one after the last, the likeliest:
PIECES, N_ROWS, N_PASS, TOGETHER, CELL_LOW, CELL_HIGH, MIDDLE = range(7)
# Nodes of [α/Fe] that have weights; lattice points, metallicities:
K_BEGIN, K_END, N_POINT, N_NODE = range(7, 11)
# Where in the pool: χ² of the prior by point; weights and [Fe/H] by pass and point; the least χ² of
# the prior by cell; what a pass's weight is worth in χ²; weights by row, [α/Fe] and metallicity.
PRIORS, WEIGHTS, FEHS, LEAST, DISCOUNT, ALPHA = range(11, 17)
# Whether blocks are ready at these lattice points; then the weights of [α/Fe] are by pass, [α/Fe]
# and point, and it is written by pass and group of which [α/Fe] its points need them.
IS_READY, RANGES = 17, 18
# By cell, the first strip of [α/Fe] that it may be in and how many there are:
STRIP = 19
PLAN = 20


@njit(cache=True, nogil=True)
def room(layout):  # type: ignore[no-untyped-def]
    """Return how many floats of the pool one star may need at most."""
    n_node = len(layout.metallicity) + 2 + 2 * MARGIN
    return (
        n_node
        * ((1 + 2 * MAX_ROWS) * MAX_PIECES + 3 + MAX_ROWS * READY_PIECES * (1 + len(layout.alpha)))
        + MAX_ROWS
    )


@njit(cache=True, nogil=True, error_model="numpy")
def turn_of(alpha_sd, max_alpha_sd, turn, out):  # type: ignore[no-untyped-def]
    """Describe one Gaussian of the mixture that stands for a Gaussian of [α/Fe].

    Parameters
    ----------
    alpha_sd, max_alpha_sd : float
        Its standard deviation, and that of the widest that may stay whole.
    turn : int
        Which: 0 the centre, then +1, −1, +2, …
    out : numpy.ndarray, shape (3,)
        Filled with its distance from the centre, its standard deviation, and −2 ln of its share.

    Returns
    -------
    int
        How many there are.
    """
    out[0], out[1], out[2] = 0.0, alpha_sd, 0.0
    if alpha_sd <= max_alpha_sd:
        return 1
    narrow = 0.8 * max_alpha_sd
    wide = math.sqrt(alpha_sd**2 - narrow**2)
    step = 1.25 * narrow * wide / alpha_sd
    m = (turn + 1) // 2 if turn % 2 else -(turn // 2)
    out[0], out[1], out[2] = m * step, narrow, (m * step / wide) ** 2
    return 2 * (int(4.2 * wide / step) + 1) + 1


@njit(cache=True, nogil=True, error_model="numpy")
def set_up(  # type: ignore[no-untyped-def]
    layout, feh, feh_sd, alpha_fe, turn, inv, rule, pool, begin, plan, mass, spare, star
):
    """Plan one Gaussian of a star's composition.

    Parameters
    ----------
    layout : Layout
        Of the isochrones.
    feh, feh_sd, alpha_fe : float
        Mean and sd of [Fe/H], mean of [α/Fe].
    turn : numpy.ndarray
        From `turn_of`.
    inv : numpy.ndarray, shape (4,)
        Inverse errors of the observables.
    rule : int
        The least of `lattice.ALPHA_RULES` to take.
    pool, begin : numpy.ndarray, int
        Where to put things.
    plan : numpy.ndarray, shape (PLAN,)
        Filled; ``plan[PIECES]`` is 0 where the grid is out of reach.
    mass, spare : numpy.ndarray
        Of the `star`: its share is added to the one, and the other set to the variance of [Fe/H]
        that comes on top of what the lattice shows.

    Returns
    -------
    int
        How much of the pool is taken, or −1: there is no room for it.
    """
    axis, alpha, n_alpha = layout.metallicity, layout.alpha, len(layout.alpha)
    plan[PIECES] = 0
    centre_a, narrow, offset = alpha_fe + turn[0], turn[1], turn[2]
    if turn[0] != 0.0 and n_alpha > 1 and (centre_a < alpha[0] or centre_a > alpha[-1]):
        return 0
    enhanced = 0.638 * 10.0**centre_a
    rate = enhanced / (enhanced + 0.362)
    sd_phi = math.sqrt(feh_sd**2 + (rate * narrow) ** 2)
    kappa, sd_a = rate * (narrow / sd_phi) ** 2, narrow * feh_sd / sd_phi
    centre = feh + math.log10(enhanced + 0.362)
    zeta, omega = np.empty(MAX_ROWS), np.empty(MAX_ROWS)
    passes = np.zeros((MAX_ROWS, 2), dtype=np.int64)
    n_rows = alpha_rule(sd_a if n_alpha > 1 else 0.0, rule, zeta, omega)
    may = len(layout.ready) > 0 and inv[3] == 0.0
    pieces, first, last, low, n_pass, taken = fill_lattice(
        axis, (feh, feh_sd, centre_a, narrow), offset, layout.feh_low, layout.feh_high,
        n_alpha == 1, inv, zeta, omega, n_rows, passes, pool, begin, len(pool) - begin,
        READY_PIECES if may else 0, IN_GROUP,
    )  # fmt: skip
    ready = may and pieces == READY_PIECES
    high = last // pieces + 1
    n_node = high - low + 3 + MARGIN
    end = begin + taken
    n_point = (high - low + MARGIN) * pieces
    weights = n_rows * n_alpha * n_node
    if ready:
        weights = n_pass * (n_alpha * n_point + 2 * (n_point // WIDTH + 1))
    if taken < 0 or end + MAX_ROWS + 2 * (high - low) + weights > len(pool):
        return -1
    if rule == 0:
        mass[star] += math.exp(-0.5 * offset)
        if n_alpha == 1:  # [α/Fe] given φ is free, and moves [Fe/H]
            spare[star] = (rate * sd_a) ** 2
    if last < first:
        return 0
    plan[N_ROWS], plan[N_PASS], plan[CELL_LOW], plan[CELL_HIGH] = n_rows, n_pass, low, high
    plan[PIECES], plan[TOGETHER] = pieces, 1 if n_pass < n_rows else 0
    plan[N_POINT], plan[N_NODE], plan[PRIORS] = n_point, n_node, begin
    plan[WEIGHTS], plan[FEHS] = begin + n_point, begin + (1 + n_pass) * n_point
    plan[LEAST], plan[DISCOUNT], plan[STRIP] = end - (high - low), end, end + n_pass
    plan[ALPHA] = plan[STRIP] + 2 * (high - low)
    plan[MIDDLE] = low
    for j in range(high - low):
        if pool[plan[LEAST] + j] < pool[plan[LEAST] + plan[MIDDLE] - low]:
            plan[MIDDLE] = low + j
    for n in range(n_pass):
        share = omega[passes[n, 0]] * (1.0 if passes[n, 0] == passes[n, 1] else 2.0)
        pool[plan[DISCOUNT] + n] = -2.0 * math.log(share)
    # The star's [α/Fe] at each metallicity
    step = axis[1] - axis[0]
    # Where blocks are not ready, weights of [α/Fe] are interpolated between nodes, as if it were
    # a little further away.
    furthest = 4.5 if not ready else 0.0
    for row in range(n_rows):
        furthest = max(furthest, 1.001 * abs(zeta[row]))
    last_strip = len(layout.strips) - 2
    for j in range(low, high):
        one = centre_a + kappa * (axis[j] - centre)
        two = one + kappa * step
        lowest, highest = min(one, two) - furthest * sd_a, max(one, two) + furthest * sd_a
        k_low = min(max(np.searchsorted(layout.strips, lowest) - 1, 0), last_strip)
        k_high = min(max(np.searchsorted(layout.strips, highest) - 1, k_low), last_strip)
        pool[plan[STRIP] + 2 * (j - low)] = k_low
        pool[plan[STRIP] + 2 * (j - low) + 1] = k_high - k_low + 1
    plan[IS_READY] = 1 if ready else 0
    law = centre_a, kappa, centre, sd_a
    if ready:
        return (
            _weights_by_point(alpha, axis[0], step / pieces, law, zeta, passes, pool, plan) - begin
        )
    return _weights_by_node(alpha, axis[0], step, law, zeta, pool, plan) - begin


@njit(cache=True, nogil=True, error_model="numpy")
def _weights_by_point(alpha, origin, spacing, law, zeta, passes, pool, plan):  # type: ignore[no-untyped-def]
    """Write the weights of [α/Fe] at every lattice point, for blocks that are ready there.

    `law` has the star's mean [α/Fe], its rate of change with φ and the φ it is taken at, and the
    standard deviation. Return where in the pool they end.
    """
    centre_a, kappa, centre, sd_a = law
    n_alpha, n_pass, n_point = len(alpha), plan[N_PASS], plan[N_POINT]
    first_point = plan[CELL_LOW] * plan[PIECES]
    value, slope, curve = np.empty(4), np.empty(4), np.empty(4)
    at, to = plan[ALPHA], plan[ALPHA] + n_pass * n_alpha * n_point
    plan[RANGES] = to
    pool[at:to] = 0.0
    for n in range(n_pass):
        for group in range(n_point // WIDTH):
            k_begin, k_end = n_alpha, 0
            for p in range(group * WIDTH, (group + 1) * WIDTH):
                phi = origin + (first_point + p) * spacing
                a = centre_a + kappa * (phi - centre) + zeta[passes[n, p % 2]] * sd_a
                k_first = cubic_stencil(alpha, a, value, slope, curve)
                for k in range(min(4, n_alpha)):
                    if value[k] != 0.0:
                        k_begin, k_end = min(k_begin, k_first + k), max(k_end, k_first + k + 1)
                        pool[at + (n * n_alpha + k_first + k) * n_point + p] = value[k]
            if k_end - k_begin < 4 and n_alpha >= 4:  # four are done fastest
                k_begin = min(k_begin, n_alpha - 4)
                k_end = k_begin + 4
            pool[to], pool[to + 1] = k_begin, k_end - k_begin
            to += 2
    return to


@njit(cache=True, nogil=True, error_model="numpy")
def _weights_by_node(alpha, origin, step, law, zeta, pool, plan):  # type: ignore[no-untyped-def]
    """Write the weights of [α/Fe] at every node of metallicity, by row; see `_weights_by_point`."""
    centre_a, kappa, centre, sd_a = law
    n_alpha, n_rows, n_node, low = len(alpha), plan[N_ROWS], plan[N_NODE], plan[CELL_LOW]
    value, slope, curve = np.empty(4), np.empty(4), np.empty(4)
    nodes = np.zeros((n_rows, n_alpha, n_node))
    k_begin, k_end = n_alpha, 0
    for row in range(n_rows):
        for n in range(plan[CELL_HIGH] - low + 3):
            # Node 0 of the packed grid is the one added before the first.
            phi = origin + (low + n - 1) * step
            a = centre_a + kappa * (phi - centre) + zeta[row] * sd_a
            k_first = cubic_stencil(alpha, a, value, slope, curve)
            for k in range(min(4, n_alpha)):
                if value[k] != 0.0:
                    k_begin, k_end = min(k_begin, k_first + k), max(k_end, k_first + k + 1)
                nodes[row, k_first + k, n] = value[k]
    plan[K_BEGIN], plan[K_END] = k_begin, k_end
    at = plan[ALPHA]
    for row in range(n_rows):
        for k in range(k_begin, k_end):
            for n in range(n_node):
                pool[at] = nodes[row, k, n]
                at += 1
    return at
