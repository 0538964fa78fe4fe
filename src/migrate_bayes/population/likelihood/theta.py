"""θ, all that the stars see of a model: what its columns hold.

θ[component, age, column] has the columns `THETA`. If the laws of radii and ages are others for
each class of today's radius, three columns follow for each class after the first: ln P, μ and σ².
If the profile [Fe/H](R_g) bends, three more follow for each bend, b, r and w, and one with their
number.
`population.likelihood.kernel` has the equations.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from migrate_bayes.core.constants import PIVOT_RADIUS

#: Names of the last axis of θ, in order. Variances, not standard deviations, are stored. `k` is the
#: third cumulant of [Fe/H] at R_0 (dex³), `k_slope` its change with radius (dex³/kpc), and `skewed`
#: 1 in the rows of discs if the model has them.
THETA = (
    "log_weight", "mu", "sigma2", "Z", "G", "s2", "a", "b", "t2", "m", "q2", "k", "k_slope",
    "skewed",
)  # fmt: skip
_SKEWED = THETA.index("skewed")

# Columns of THETA, and those of each further class or bend.
_FIRST, _EACH = len(THETA), 3

#: Components with a law of their own at each age; what comes after them are the outliers.
N_DISCS = 2

#: θ of the outliers after the weight: so broad that it holds any star that belongs to no disc.
#: Fixed, because a handful of such stars cannot inform it.
OUTLIER = (8.0, 25.0, -0.5, 0.0, 0.64, 0.1, 0.0, 0.04, 0.0, 2.0, 0.0, 0.0, 0.0)

# Variance, over e_R², by which an error of the radius widens w² of a bend: the variance of a
# logistic law of scale w is π² w²/3.
WIDENED = 3.0 / math.pi**2


def n_columns(n_classes: int, n_bends: int = 0) -> int:
    """Return the length of θ's last axis for so many classes and bends."""
    return _FIRST + _EACH * (n_classes - 1 + n_bends) + (n_bends > 0)


@njit(inline="always")
def column_of_class(width: int, radius_class: int) -> int:
    """Return the column of ln P of a class; those of μ and σ² follow.

    `width` is the number of θ's columns before those of the bends.
    """
    one_law = radius_class == 0 or width == _FIRST
    return 0 if one_law else _FIRST + _EACH * (radius_class - 1)


@njit(forceinline=True)
def width_of_laws(theta, n_bent):  # type: ignore[no-untyped-def]
    """Return the number of θ's columns before those of the bends."""
    if n_bent is None:
        return theta.shape[2]
    return theta.shape[2] - 1 - _EACH * n_bent


def is_skewed(theta: np.ndarray) -> bool:
    """Return whether [Fe/H] at given radius may be skew."""
    return bool(theta.flat[_SKEWED])


def n_bends(theta: np.ndarray) -> int:
    """Return the number of bends; θ, of any shape, has a last column for it if there are any."""
    return int(theta.flat[theta.shape[-1] - 1]) if (theta.shape[-1] - _FIRST) % _EACH else 0


def bend_columns(theta: np.ndarray) -> np.ndarray:
    """Return the column of b of every bend; those of r and w follow."""
    end = theta.shape[-1] - 1
    return np.arange(end - _EACH * n_bends(theta), end, _EACH)


def switches(theta: np.ndarray) -> tuple[int | None, int | None]:
    """Return number of bends and whether [Fe/H] is skew, None for no: kernels compile by them."""
    return n_bends(theta) or None, int(is_skewed(theta)) or None


@njit(inline="always")
def _hinge(x: float, w: float) -> tuple[float, float]:
    """Return φ = w ln(1 + exp(x/w)) and its slope."""
    u = math.exp(-abs(x) / w)
    return max(x, 0.0) + w * math.log1p(u), (1.0 if x > 0.0 else u) / (1.0 + u)


@njit(inline="always")
def bend_at(radius: float, variance: float, r: float, w: float) -> tuple[float, float]:
    """Return B/b of a bend and its slope at a radius of this error variance (kpc²)."""
    phi, slope = _hinge(radius - r, math.sqrt(w * w + WIDENED * variance))
    phi_0, slope_0 = _hinge(PIVOT_RADIUS - r, w)
    return phi - phi_0 - slope_0 * (radius - PIVOT_RADIUS), slope - slope_0


@njit(cache=True)
def _bend(radius, variance, r, w, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = bend_at(radius[i], variance[i], r, w)[0]


def bends(theta: np.ndarray, radius: np.ndarray, variance: np.ndarray | float = 0.0) -> np.ndarray:
    """Return B/b of each bend, shape (n_bends, ...), for errors of this variance (kpc²).

    `radius` (kpc) has any shape; r and w are those of θ's first row.
    """
    shape = np.shape(radius)
    wide = np.broadcast_to(np.asarray(variance, dtype=np.float64), shape).ravel()
    first, of_bends = theta.reshape(-1, theta.shape[-1])[0], bend_columns(theta)
    out = np.empty((len(of_bends), math.prod(shape)))
    for j, at in enumerate(of_bends):
        _bend(np.ravel(radius).astype(np.float64), wide, first[at + 1], first[at + 2], out[j])
    return out.reshape(len(of_bends), *shape)


def bent_by(
    theta: np.ndarray, radius: np.ndarray, variance: np.ndarray | float = 0.0
) -> np.ndarray:
    """Return ΣB (dex) of each row of θ (n, n_theta) at `radius` (n,) or (n, m)."""
    shape = bends(theta, radius, variance)
    b = theta[:, bend_columns(theta)].T
    return (b.reshape(*b.shape, *[1] * (shape.ndim - 2)) * shape).sum(axis=0)


def skewed(
    theta: np.ndarray, radius: np.ndarray, z: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Turn standard normal numbers into those of skew laws of [Fe/H] at `radius`.

    By Cornish & Fisher, z + γ (z² - 1)/6, for rows of θ (n, n_theta); z is (n,) or (n, m). γ is
    that of [Fe/H] of a `variance` (n,), which errors may be part of.
    """
    k, slope = (theta[:, THETA.index(name)] for name in ("k", "k_slope"))
    gamma = (k + slope * (radius - PIVOT_RADIUS)) / variance**1.5
    return z + gamma.reshape(-1, *[1] * (z.ndim - 1)) * (z * z - 1.0) / 6.0


@njit(inline="always")
def column_of_bend(n_columns: int, n_bends: int, j: int) -> int:
    """Return the column of b of a bend; those of r and w follow."""
    return n_columns - 1 - _EACH * (n_bends - j)


def first_columns(theta: np.ndarray) -> np.ndarray:
    """Return the column of ln P of every class that θ has; those of μ and σ² follow."""
    return np.array([0, *range(_FIRST, end_of_laws(theta), _EACH)])


def end_of_laws(theta: np.ndarray) -> int:
    """Return the number of θ's columns before those of the bends."""
    bent = n_bends(theta)
    return theta.shape[-1] - (1 + _EACH * bent if bent else 0)


def with_laws(theta: np.ndarray, laws: np.ndarray, end: int) -> np.ndarray:
    """Return θ with ln P, μ and σ² of each class, `laws` (..., n_classes, 3), in place of its own.

    `end` is the number of θ's columns before those of the bends.
    """
    first, further = laws[..., 0, :], laws[..., 1:, :].reshape(*laws.shape[:-2], -1)
    parts = first, theta[..., _EACH:_FIRST], further, theta[..., end:]
    return np.ascontiguousarray(np.concatenate(parts, axis=-1))


def columns_of_classes(theta: np.ndarray, radius_class: np.ndarray) -> np.ndarray:
    """Return the column of ln P of each class: 0 if θ has one law for all."""
    first = first_columns(theta)
    return first[np.minimum(radius_class, len(first) - 1)]


def columns_of(theta: np.ndarray, radius_class: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of θ (n, n_theta) by name; ln P, μ and σ² are of each row's class."""
    at = columns_of_classes(theta, radius_class)
    rows = np.arange(len(theta))
    named = dict(zip(THETA, theta.T, strict=False))
    return named | {name: theta[rows, at + i] for i, name in enumerate(THETA[:_EACH])}
