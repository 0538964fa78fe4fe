r"""The Fisher information of the stars, from each star's own score, in one pass.

With the gradient of star *i* in θ (`population.likelihood.kernel`) carried on to the parameters
x of a model, which θ is a function of,

.. math::

   s_i = J^T \nabla_θ \ln L_i, \qquad J = ∂θ/∂x, \qquad I = \sum_i w_i\, s_i s_i^T

whose expectation under the model is that of -∂² Σ ln L / ∂x² (the information identity). J is
sparse, since a number of θ depends on a few knots, and comes in compressed rows; a block's scores
stay in the cache until their products are added up.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from migrate_bayes.population.likelihood.kernel import (
    BLOCK,
    FAST,
    LOG_2PI,
    N_STAR_ROWS,
    NEGLIGIBLE,
    Blocks,
    law_of,
    one_star,
    probabilities,
    slopes,
    star_rows,
)


class SparseJacobian(NamedTuple):
    """∂θ/∂x: row r (a number of θ) has entries ``begin[r]:begin[r + 1]`` of x `column`, `slope`."""

    begin: np.ndarray
    column: np.ndarray
    slope: np.ndarray


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def score_outer_blocks(
    blocks: Blocks,
    theta: np.ndarray,
    jacobian: SparseJacobian,
    start: int,
    stop: int,
    score_sum: np.ndarray,
    outer: np.ndarray,
) -> float:
    """Add up ln L, the scores s and their outer products s sᵀ over a range of blocks.

    Σ weight · s, shape (n,), is added to `score_sum`, and Σ weight · s sᵀ, shape (n, n), to the
    upper triangle of `outer`. Returns Σ weight · ln L, as `log_likelihood_blocks`.
    """
    rows, offset, first_node, n_nodes = blocks
    begin, column, slope = jacobian
    n_comp, n_ages, n_theta = theta.shape
    n = len(score_sum)
    widest = 1
    for j in range(start, stop):
        widest = max(widest, n_nodes[j])
    B = BLOCK
    table = rows.reshape((-1, B))
    probability = np.empty((n_comp * widest, B))
    root = np.empty((n_comp * widest, B))
    top = np.empty(B)
    total = np.empty(B)
    g = np.empty((n_theta, B))
    s = np.empty((n, B))
    ws = np.empty(B)
    total_ll = 0.0
    for j in range(start, stop):
        base = offset[j] // B
        span = n_nodes[j]
        k0 = first_node[j]
        probabilities(table, base, k0, span, theta, probability, root, top, total)
        weight = table[base]
        star = star_rows(table, base)
        for i in range(B):
            total_ll += weight[i] * (top[i] + math.log(total[i]) - 2.0 * LOG_2PI)
            total[i] = 1.0 / total[i]
        s[:] = 0.0
        for c in range(n_comp):
            for kk in range(span):
                p = probability[c * span + kk]
                share = 0.0
                for i in range(B):
                    share += p[i] * total[i]
                if share < NEGLIGIBLE:
                    continue
                law = law_of(theta[c, k0 + kk])
                node = base + N_STAR_ROWS + 3 * kk
                F, eF = table[node + 1], table[node + 2]
                for i in range(B):
                    w = p[i] * total[i]
                    d1, d2, d3, d4, d5, d6, d7, d8, d9, d10 = slopes(
                        one_star(star, i), F[i], eF[i], law
                    )
                    g[0, i] = w
                    g[1, i] = w * d1
                    g[2, i] = w * d2
                    g[3, i] = w * d3
                    g[4, i] = w * d4
                    g[5, i] = w * d5
                    g[6, i] = w * d6
                    g[7, i] = w * d7
                    g[8, i] = w * d8
                    g[9, i] = w * d9
                    g[10, i] = w * d10
                row = (c * n_ages + k0 + kk) * n_theta
                for q in range(n_theta):
                    slopes_of_q = g[q]
                    for e in range(begin[row + q], begin[row + q + 1]):
                        score, factor = s[column[e]], slope[e]
                        for i in range(B):
                            score[i] += factor * slopes_of_q[i]
        for u in range(n):
            one = s[u]
            sum_u = 0.0
            for i in range(B):
                ws[i] = weight[i] * one[i]
                sum_u += ws[i]
            score_sum[u] += sum_u
            for v in range(u, n):
                other = s[v]
                dot = 0.0
                for i in range(B):
                    dot += ws[i] * other[i]
                outer[u, v] += dot
    return total_ll
