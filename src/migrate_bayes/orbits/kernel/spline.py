# mypy: disable-error-code="no-untyped-def"
"""The potential and its gradient at one point, from the bicubic B-spline of a `PotentialTable`.

Φ(R, z) = Σ c[i+a, j+b] β_a(t) β_b(s) in u = R/(R + a), w = |z|/(|z| + b): a rational map of the
half-plane to a square, which needs no logarithm and leaves the cells small where forces change.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray


class PotentialTable(NamedTuple):
    """`coefficients` (N_U + 2, N_W + 2) and `shape`: (a, b, 1/du, 1/dw, R_max, z_max, Φ(∞))."""

    coefficients: NDArray[np.float64]
    shape: NDArray[np.float64]


@numba.njit(cache=True, nogil=True, inline="always")
def _cell(coordinate, inverse_step, n):
    s = coordinate * inverse_step
    i = min(int(s), n - 4)
    return i, s - i


@numba.njit(cache=True, nogil=True, inline="always")
def basis(t):
    """Six times the uniform cubic B-splines."""
    q = 1.0 - t
    t0, t3 = q * q * q, t * t * t
    return t0, 3.0 * t3 - 6.0 * t * t + 4.0, 3.0 * t0 - 6.0 * q * q + 4.0, t3


@numba.njit(cache=True, nogil=True, inline="always")
def slopes(t):
    """Twice the derivatives of the uniform cubic B-splines."""
    q = 1.0 - t
    return -q * q, (3.0 * t - 4.0) * t, -(3.0 * q - 4.0) * q, t * t


@numba.njit(cache=True, nogil=True, inline="always")
def _dot(c, j, s):
    return c[j] * s[0] + c[j + 1] * s[1] + c[j + 2] * s[2] + c[j + 3] * s[3]


@numba.njit(cache=True, nogil=True)
def gradient(R, z, table):
    """Return (∂Φ/∂R, ∂Φ/∂z)."""
    coefficients, shape = table
    a, b = shape[0], shape[1]
    h = abs(z)
    inverse = 1.0 / ((R + a) * (h + b))
    one_u = a * (h + b) * inverse  # 1 - u = a / (R + a)
    one_w = b * (R + a) * inverse
    i, t = _cell(1.0 - one_u, shape[2], coefficients.shape[0])
    j, s = _cell(1.0 - one_w, shape[3], coefficients.shape[1])
    bt, bs, dt, ds = basis(t), basis(s), slopes(t), slopes(s)
    c0, c1, c2, c3 = coefficients[i], coefficients[i + 1], coefficients[i + 2], coefficients[i + 3]
    du = (
        dt[0] * _dot(c0, j, bs) + dt[1] * _dot(c1, j, bs)
        + dt[2] * _dot(c2, j, bs) + dt[3] * _dot(c3, j, bs)
    )  # fmt: skip
    dw = (
        bt[0] * _dot(c0, j, ds) + bt[1] * _dot(c1, j, ds)
        + bt[2] * _dot(c2, j, ds) + bt[3] * _dot(c3, j, ds)
    )  # fmt: skip
    gradient_z = dw * shape[3] * one_w * one_w / (12.0 * b)
    return du * shape[2] * one_u * one_u / (12.0 * a), gradient_z if z >= 0.0 else -gradient_z


@numba.njit(cache=True, nogil=True)
def potential(R, z, table):
    """Return Φ(R, z)."""
    coefficients, shape = table
    i, t = _cell(R / (R + shape[0]), shape[2], coefficients.shape[0])
    j, s = _cell(abs(z) / (abs(z) + shape[1]), shape[3], coefficients.shape[1])
    bt, bs = basis(t), basis(s)
    total = 0.0
    for k in range(4):
        total += bt[k] * _dot(coefficients[i + k], j, bs)
    return total / 36.0


@numba.njit(cache=True, nogil=True)
def potential_block(R, z, table):
    """Φ at each (R, z); NaN outside the table."""
    out = np.empty(R.size)
    for i in range(R.size):
        inside = R[i] >= 0.0 and R[i] < table.shape[4] and abs(z[i]) < table.shape[5]
        out[i] = potential(R[i], z[i], table) if inside else np.nan
    return out
