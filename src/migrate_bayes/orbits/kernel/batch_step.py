# mypy: disable-error-code="no-untyped-def"
"""One integrator step of many orbits at once, so that the processor's vector units are used.

`WIDTH` orbits stand in the lanes of one flat array, row after row; every loop over lanes has a
constant length and constant offsets, which is what lets the compiler vectorise it. Only the 16
spline coefficients are fetched lane by lane. All lanes go through the same instructions, so what an
orbit yields does not depend on its lane nor on its neighbours. `integrate` has the equation.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from migrate_bayes.orbits.kernel.spline import basis, slopes

WIDTH = 16
W = WIDTH  # short, for the offsets below

# Rows of the array. State, acceleration, step, L²:
R, Z, VR, VZ, AR, AZ, H, L2 = (k * W for k in range(8))
# The state a step ago, to look for turning points between the two:
R_OLD, Z_OLD, VR_OLD, VZ_OLD, AR_OLD, AZ_OLD, S_OLD = (k * W for k in range(8, 15))
# s = r dr/dt and r²; the extremes so far; whether a scalar look is needed:
S, R2, TOP, NEAR, FAR, EVENT = (k * W for k in range(15, 21))
# Step control: ρ and ε of `integrate`; time to go; steps before the orbit is given up.
RHO, EPSILON, LEFT, GOES = (k * W for k in range(21, 25))
# Scratch of a stage: place in the cell, offset of the cell, chain-rule factors, 16 coefficients.
T_U, T_W, CELL, D_U, D_W = (k * W for k in range(25, 30))
C0, C1, C2, C3 = (k * W for k in (30, 34, 38, 42))
N_ROWS = 30 + 16

# Blanes & Moan (2002), SRKN6b: kicks B, drifts A, symmetric.
B1, B2, B3 = 0.0829844064174052, 0.396309801498368, -0.0390563049223486
B4 = 1.0 - 2.0 * (B1 + B2 + B3)
A1, A2 = 0.245298957184271, 0.604872665711080
A3 = 0.5 - (A1 + A2)


def rows() -> np.ndarray:
    """Return lanes at rest, in which no division is by zero."""
    lanes = np.zeros((N_ROWS, W))
    lanes[[row // W for row in (R, R_OLD, R2, RHO)]] = 1.0
    return lanes.ravel()


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _stage(q, drift, kick, coefficients, shape, stride):
    """Drift for `drift`·h, take the force there, kick for `kick`·h, in every lane."""
    a, b, per_u, per_w = shape[0], shape[1], shape[2], shape[3]
    factor_u, factor_w = per_u / (12.0 * a), per_w / (12.0 * b)
    row = float(stride)
    for m in range(W):
        h = q[H + m] * drift
        # A step too long may cross the axis: the centrifugal force sends it back on the other side.
        radius = abs(q[R + m] + h * q[VR + m])
        z = q[Z + m] + h * q[VZ + m]
        q[R + m] = radius
        q[Z + m] = z
        height = abs(z)
        inverse = 1.0 / ((radius + a) * (height + b))
        rest_u = a * (height + b) * inverse  # 1 - u
        rest_w = b * (radius + a) * inverse  # 1 - w
        u, w = (1.0 - rest_u) * per_u, (1.0 - rest_w) * per_w
        i, j = math.floor(u), math.floor(w)
        q[T_U + m] = u - i
        q[T_W + m] = w - j
        q[CELL + m] = i * row + j
        q[D_U + m] = factor_u * rest_u * rest_u
        q[D_W + m] = math.copysign(factor_w * rest_w * rest_w, z)
    last = np.uint64(coefficients.size - 3 * stride - 4)
    for m in range(W):
        # A lane gone astray is read inside the table; `integrate` ends it for its radius.
        cell = min(np.uint64(np.int64(q[CELL + m])), last)
        for k in range(4):
            start = cell + np.uint64(k) * np.uint64(stride)
            for n in range(4):
                q[C0 + (4 * k + n) * W + m] = coefficients[start + np.uint64(n)]
    for m in range(W):
        t, s = q[T_U + m], q[T_W + m]
        u0, u1, u2, u3 = basis(t)
        w0, w1, w2, w3 = basis(s)
        du0, du1, du2, du3 = slopes(t)
        dw0, dw1, dw2, dw3 = slopes(s)
        c00, c01, c02, c03 = q[C0 + m], q[C0 + W + m], q[C0 + 2 * W + m], q[C0 + 3 * W + m]
        c10, c11, c12, c13 = q[C1 + m], q[C1 + W + m], q[C1 + 2 * W + m], q[C1 + 3 * W + m]
        c20, c21, c22, c23 = q[C2 + m], q[C2 + W + m], q[C2 + 2 * W + m], q[C2 + 3 * W + m]
        c30, c31, c32, c33 = q[C3 + m], q[C3 + W + m], q[C3 + 2 * W + m], q[C3 + 3 * W + m]
        phi_u = (
            du0 * (c00 * w0 + c01 * w1 + c02 * w2 + c03 * w3)
            + du1 * (c10 * w0 + c11 * w1 + c12 * w2 + c13 * w3)
            + du2 * (c20 * w0 + c21 * w1 + c22 * w2 + c23 * w3)
            + du3 * (c30 * w0 + c31 * w1 + c32 * w2 + c33 * w3)
        )
        phi_w = (
            u0 * (c00 * dw0 + c01 * dw1 + c02 * dw2 + c03 * dw3)
            + u1 * (c10 * dw0 + c11 * dw1 + c12 * dw2 + c13 * dw3)
            + u2 * (c20 * dw0 + c21 * dw1 + c22 * dw2 + c23 * dw3)
            + u3 * (c30 * dw0 + c31 * dw1 + c32 * dw2 + c33 * dw3)
        )
        radius, h = q[R + m], q[H + m] * kick
        ar = q[L2 + m] / (radius * radius * radius) - phi_u * q[D_U + m]
        az = -phi_w * q[D_W + m]
        q[AR + m] = ar
        q[AZ + m] = az
        q[VR + m] += h * ar
        q[VZ + m] += h * az


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def advance(q, coefficients, shape, stride, limit):
    """Take one step in every lane; mark lanes that turned, ended, failed or left the table.

    The force at the start is that of the end before: six evaluations a step.
    """
    for m in range(W):
        q[R_OLD + m], q[Z_OLD + m], q[VR_OLD + m] = q[R + m], q[Z + m], q[VR + m]
        q[VZ_OLD + m], q[AR_OLD + m], q[AZ_OLD + m] = q[VZ + m], q[AR + m], q[AZ + m]
        s = q[S + m]
        q[S_OLD + m] = s
        rho = q[RHO + m] - q[EPSILON + m] * q[VR + m] / q[R + m]
        q[RHO + m] = rho
        h = min(q[EPSILON + m] / rho, q[LEFT + m])
        q[H + m] = h
        h *= B1
        q[VR + m] += h * q[AR + m]
        q[VZ + m] += h * q[AZ + m]
    _stage(q, A1, B2, coefficients, shape, stride)
    _stage(q, A2, B3, coefficients, shape, stride)
    _stage(q, A3, B4, coefficients, shape, stride)
    _stage(q, A3, B3, coefficients, shape, stride)
    _stage(q, A2, B2, coefficients, shape, stride)
    _stage(q, A1, B1, coefficients, shape, stride)
    for m in range(W):
        radius, z = q[R + m], q[Z + m]
        r2 = radius * radius + z * z
        s = radius * q[VR + m] + z * q[VZ + m]
        q[S + m] = s
        q[R2 + m] = r2
        q[TOP + m] = max(q[TOP + m], abs(z))
        q[NEAR + m] = min(q[NEAR + m], r2)
        q[FAR + m] = max(q[FAR + m], r2)
        left = q[LEFT + m] - q[H + m]
        q[LEFT + m] = left
        goes = q[GOES + m] - 1.0
        q[GOES + m] = goes
        calm = (
            (q[VZ + m] * q[VZ_OLD + m] > 0.0) & (s * q[S_OLD + m] > 0.0)
            & (left > 0.0) & (goes > 0.0) & (r2 < limit)
        )  # fmt: skip
        q[EVENT + m] = 0.0 if calm else 1.0
