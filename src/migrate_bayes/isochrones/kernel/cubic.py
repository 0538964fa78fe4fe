r"""Cubic interpolation with four weights, on a regular or an irregular axis.

Between nodes :math:`x_i` and :math:`x_{i+1}` the interpolant is the cubic whose slope at each of
the two is that of the parabola through the node and its neighbours (Catmull & Rom 1974, in its form
for unequal steps); at an end of the axis it is that of the last step. It is linear in the values of
four nodes, continuous with its slope, and passes through the nodes.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def cubic_stencil(axis, x, weights):  # type: ignore[no-untyped-def]
    """Weigh four nodes of `axis` to interpolate at `x`; return the index of the first of them.

    `weights`, shape (3, 4), is filled with those of the value and its first two derivatives; with
    fewer than four nodes the last are 0. Outside the axis `x` is moved to its end.
    """
    n = len(axis)
    for order in range(3):
        for k in range(4):
            weights[order, k] = 0.0
    if n == 1:
        weights[0, 0] = 1.0
        return 0
    cell = min(max(np.searchsorted(axis, x, side="right") - 1, 0), n - 2)
    first = min(max(cell - 1, 0), max(n - 4, 0))
    h = axis[cell + 1] - axis[cell]
    u = min(max((x - axis[cell]) / h, 0.0), 1.0)
    v = 1.0 - u
    # Hermite basis: values at the two nodes, then slopes at the two nodes.
    at_low, at_high = v * v * (1.0 + 2.0 * u), u * u * (3.0 - 2.0 * u)
    i = cell - first
    weights[0, i] += at_low
    weights[0, i + 1] += at_high
    weights[1, i] -= 6.0 * u * v / h
    weights[1, i + 1] += 6.0 * u * v / h
    weights[2, i] -= 6.0 * (1.0 - 2.0 * u) / (h * h)
    weights[2, i + 1] += 6.0 * (1.0 - 2.0 * u) / (h * h)
    for side in range(2):
        node = cell + side
        if side == 0:
            basis, first_d, second_d = h * u * v * v, v * (v - 2.0 * u), (6.0 * u - 4.0) / h
        else:
            basis, first_d, second_d = -h * u * u * v, u * (u - 2.0 * v), (6.0 * u - 2.0) / h
        # Slope at the node, as weights of its neighbours.
        low, high = max(node - 1, 0), min(node + 1, n - 1)
        if low == node or high == node:
            rate = 1.0 / (axis[high] - axis[low])
            terms = ((low, -rate), (high, rate), (node, 0.0))
        else:
            below, above = axis[node] - axis[low], axis[high] - axis[node]
            whole = below + above
            terms = (
                (low, -above / (below * whole)),
                (high, below / (above * whole)),
                (node, above / (below * whole) - below / (above * whole)),
            )
        for where, weight in terms:
            weights[0, where - first] += basis * weight
            weights[1, where - first] += first_d * weight
            weights[2, where - first] += second_d * weight
    return first
