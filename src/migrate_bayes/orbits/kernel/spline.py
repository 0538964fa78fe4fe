# mypy: disable-error-code="no-untyped-def"
"""The potential and its gradient at one point, from the bicubic B-spline of `tables`.

Φ(R, z) = Σ c[i+a, j+b] β_a(t) β_b(s) in u = R/(R + a), w = |z|/(|z| + b): a rational map of the
half-plane to a square, which spends no logarithm and leaves the cells small where forces change.
"""

from __future__ import annotations

__all__ = ["gradient", "potential", "potential_block"]

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, inline="always")
def _cell(coordinate, inverse_step, n):
    s = coordinate * inverse_step
    i = min(int(s), n - 4)
    return i, s - i


@numba.njit(cache=True, nogil=True)
def gradient(R, z, coefficients, shape):
    """Return (∂Φ/∂R, ∂Φ/∂z)."""
    a, b = shape[0], shape[1]
    h = abs(z)
    inverse = 1.0 / ((R + a) * (h + b))
    one_u = a * (h + b) * inverse  # 1 - u = a / (R + a)
    one_w = b * (R + a) * inverse
    i, t = _cell(1.0 - one_u, shape[2], coefficients.shape[0])
    j, s = _cell(1.0 - one_w, shape[3], coefficients.shape[1])
    # Uniform cubic B-spline, six times the basis and twice its derivative: factor 1/12 at the end.
    q, p = 1.0 - t, 1.0 - s
    t0, t3 = q * q * q, t * t * t
    t1, t2 = 3.0 * t3 - 6.0 * t * t + 4.0, 3.0 * t0 - 6.0 * q * q + 4.0
    e0, e1, e2, e3 = -q * q, (3.0 * t - 4.0) * t, -(3.0 * q - 4.0) * q, t * t
    s0, s3 = p * p * p, s * s * s
    s1, s2 = 3.0 * s3 - 6.0 * s * s + 4.0, 3.0 * s0 - 6.0 * p * p + 4.0
    d0, d1, d2, d3 = -p * p, (3.0 * s - 4.0) * s, -(3.0 * p - 4.0) * p, s * s
    c0, c1, c2, c3 = coefficients[i], coefficients[i + 1], coefficients[i + 2], coefficients[i + 3]
    du = (
        e0 * (c0[j] * s0 + c0[j + 1] * s1 + c0[j + 2] * s2 + c0[j + 3] * s3)
        + e1 * (c1[j] * s0 + c1[j + 1] * s1 + c1[j + 2] * s2 + c1[j + 3] * s3)
        + e2 * (c2[j] * s0 + c2[j + 1] * s1 + c2[j + 2] * s2 + c2[j + 3] * s3)
        + e3 * (c3[j] * s0 + c3[j + 1] * s1 + c3[j + 2] * s2 + c3[j + 3] * s3)
    )
    dw = (
        t0 * (c0[j] * d0 + c0[j + 1] * d1 + c0[j + 2] * d2 + c0[j + 3] * d3)
        + t1 * (c1[j] * d0 + c1[j + 1] * d1 + c1[j + 2] * d2 + c1[j + 3] * d3)
        + t2 * (c2[j] * d0 + c2[j + 1] * d1 + c2[j + 2] * d2 + c2[j + 3] * d3)
        + t3 * (c3[j] * d0 + c3[j + 1] * d1 + c3[j + 2] * d2 + c3[j + 3] * d3)
    )
    gradient_z = dw * shape[3] * one_w * one_w / (12.0 * b)
    return du * shape[2] * one_u * one_u / (12.0 * a), gradient_z if z >= 0.0 else -gradient_z


@numba.njit(cache=True, nogil=True)
def potential(R, z, coefficients, shape):
    """Return Φ(R, z)."""
    a, b = shape[0], shape[1]
    i, t = _cell(R / (R + a), shape[2], coefficients.shape[0])
    j, s = _cell(abs(z) / (abs(z) + b), shape[3], coefficients.shape[1])
    q, p = 1.0 - t, 1.0 - s
    t0, t3 = q * q * q, t * t * t
    t1, t2 = 3.0 * t3 - 6.0 * t * t + 4.0, 3.0 * t0 - 6.0 * q * q + 4.0
    s0, s3 = p * p * p, s * s * s
    s1, s2 = 3.0 * s3 - 6.0 * s * s + 4.0, 3.0 * s0 - 6.0 * p * p + 4.0
    total = 0.0
    for k, weight in enumerate((t0, t1, t2, t3)):
        c = coefficients[i + k]
        total += weight * (c[j] * s0 + c[j + 1] * s1 + c[j + 2] * s2 + c[j + 3] * s3)
    return total / 36.0


@numba.njit(cache=True, nogil=True)
def potential_block(R, z, coefficients, shape):
    """Φ at each (R, z); NaN outside the table."""
    out = np.empty(R.size)
    for i in range(R.size):
        inside = R[i] >= 0.0 and R[i] < shape[4] and abs(z[i]) < shape[5]
        out[i] = potential(R[i], z[i], coefficients, shape) if inside else np.nan
    return out
