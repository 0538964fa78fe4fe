# mypy: disable-error-code="no-untyped-def"
"""Turning points between two steps of an orbit.

A turning point is the zero of v_z (of |z|) or of s = R v_R + z v_z (of r). It is located on the
cubic Hermite polynomial through the two ends of a step, whose integral ranks it; the one that sets
the record is then reached by a shorter step of the integrator itself.
"""

from __future__ import annotations

import numba

from migrate_bayes.orbits.kernel.batch_step import A1, A2, A3, B1, B2, B3, B4
from migrate_bayes.orbits.kernel.spline import gradient, potential

STAGES = ((A1, B2), (A2, B3), (A3, B4), (A3, B3), (A2, B2), (A1, B1))


@numba.njit(cache=True, nogil=True)
def acceleration(R, z, l2, table):
    """Return (dv_R/dt, dv_z/dt): centrifugal term and gradient of the potential."""
    fr, fz = gradient(R, z, table)
    return l2 / (R * R * R) - fr, -fz


@numba.njit(cache=True, nogil=True)
def step(R, z, vr, vz, ar, az, h, l2, table):
    """One step of SRKN6b, given the acceleration at its start; returns that at its end too."""
    vr += h * B1 * ar
    vz += h * B1 * az
    for drift, kick in STAGES:
        R = abs(R + h * drift * vr)
        z += h * drift * vz
        ar, az = acceleration(R, z, l2, table)
        vr += h * kick * ar
        vz += h * kick * az
    return R, z, vr, vz, ar, az


@numba.njit(cache=True, nogil=True)
def _hermite_root(f0, f1, g0, g1):
    """Root in (0, 1) of the cubic with end values f (of opposite sign) and end slopes g."""
    c2 = 3.0 * (f1 - f0) - 2.0 * g0 - g1
    c3 = 2.0 * (f0 - f1) + g0 + g1
    low, high = 0.0, 1.0
    x = f0 / (f0 - f1)
    for _ in range(8):
        value = f0 + x * (g0 + x * (c2 + x * c3))
        if (value > 0.0) == (f0 > 0.0):
            low = x
        else:
            high = x
        slope = g0 + x * (2.0 * c2 + 3.0 * c3 * x)
        new = x - value / slope if slope != 0.0 else low
        if not (low < new < high):
            new = 0.5 * (low + high)
        if abs(new - x) < 1e-6:
            return new
        x = new
    return x


@numba.njit(cache=True, nogil=True)
def hermite_peak(f0, f1, g0, g1):
    """Zero x in (0, 1) of the cubic with end values f and end slopes g, and its integral to x."""
    x = _hermite_root(f0, f1, g0, g1)
    c2 = 3.0 * (f1 - f0) - 2.0 * g0 - g1
    c3 = 2.0 * (f0 - f1) + g0 + g1
    return x, x * (f0 + x * (g0 / 2.0 + x * (c2 / 3.0 + x * c3 / 4.0)))


@numba.njit(cache=True, nogil=True)
def refine(start, l2, energy, table):
    """Step from the saved state (R, z, v_R, v_z, a_R, a_z, h) to a turning point.

    Returns R, z, v_R, v_z, a_R, a_z there and the error of the energy.
    """
    R, z, vr, vz, ar, az = step(
        start[0], start[1], start[2], start[3], start[4], start[5], start[6], l2, table
    )
    kinetic = 0.5 * (vr * vr + vz * vz + l2 / (R * R))
    return R, z, vr, vz, ar, az, kinetic + potential(R, z, table) - energy
