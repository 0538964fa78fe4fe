"""Smooth functions of age, as matrices from values at knots to values at age nodes.

Every function of age in the population model is linear in a few numbers, its values at knots. A
natural cubic spline (or straight lines, if wiggles would do harm) carries them to the nodes of the
age grid: one matrix product in the graph, and the knots keep their meaning and unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

Floats = NDArray[np.float64]


def node_widths(ages: ArrayLike) -> Floats:
    """Return the trapezoidal width of each node of an increasing age grid, Gyr."""
    ages = np.asarray(ages, dtype=float)
    if len(ages) < 2:
        return np.ones(len(ages))
    return np.gradient(ages) * np.where(np.isin(np.arange(len(ages)), [0, len(ages) - 1]), 0.5, 1.0)


def hat_basis(ages: ArrayLike, knots: ArrayLike) -> Floats:
    """Linear interpolation between knots, constant outside: shape (n_ages, n_knots)."""
    knots = np.asarray(knots, dtype=float)
    return np.stack([np.interp(np.asarray(ages), knots, row) for row in np.eye(len(knots))], axis=1)


def spline_basis(ages: ArrayLike, knots: ArrayLike) -> Floats:
    """Natural cubic spline through knots, linear outside them: shape (n_ages, n_knots).

    One knot gives a constant, two a straight line.
    """
    ages, knots = np.asarray(ages, dtype=float), np.asarray(knots, dtype=float)
    if len(knots) == 1:
        return np.ones((len(ages), 1))
    if len(knots) == 2:
        u = ((ages - knots[0]) / (knots[1] - knots[0]))[:, None]
        return np.concatenate([1 - u, u], axis=1)
    spline = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")
    inside = np.clip(ages, knots[0], knots[-1])
    return spline(inside) + (ages - inside)[:, None] * spline(inside, 1)


def deviation_basis(ages: ArrayLike, knots: ArrayLike) -> Floats:
    """Departures from a straight line over the knots: shape (n_ages, n_knots - 2).

    The columns are hat functions combined so that their values at the knots are orthonormal and
    orthogonal to a constant and to age: independent standard normal coefficients are independent
    deviations at the knots, less their own straight-line fit. So the coefficient of the linear
    trend remains the least-squares slope of the whole curve over the knots.
    """
    knots = np.asarray(knots, dtype=float)
    line = np.stack([np.ones(len(knots)), knots], axis=1)
    rest = np.linalg.svd(line, full_matrices=True)[0][:, 2:]
    return hat_basis(ages, knots) @ rest
