# mypy: disable-error-code="no-untyped-def"
"""Mock observations of each star, and the phase space they imply.

Each draw takes (ra, dec, pmra, pmdec) from the Gaia covariance (Cholesky), the distance from a
two-piece Gaussian of equal mass either side of the median (d = m + s₊ g for g > 0, m + s₋ g for
g < 0, g standard normal; mean m + (s₊ - s₋)/√(2π)), and the radial velocity from a Gaussian. A
distance that is not positive is drawn again. Random numbers are a counter-based hash (SplitMix64
finaliser, Steele et al. 2014) of (seed, star key, draw, dimension): no result depends on the order,
the chunks or the threads.
"""

from __future__ import annotations

__all__ = ["N_MOMENTS", "cholesky", "draw_block", "draw_distance", "normal_pair"]

import math

import numba
import numpy as np

from migrate_bayes.orbits.coordinates import cartesian_to_cylindrical, observed_to_cartesian
from migrate_bayes.orbits.guiding import guiding_radius_natural

MAS_TO_DEG = 1.0 / 3.6e6
REDRAWS = 64
# Moments gathered per star: x, y, z, v_r, v_phi, v_z, R.
N_MOMENTS = 7


@numba.njit(cache=True, nogil=True)
def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _uniform(seed, key, draw, dimension):
    """A number in (0, 1), never 0 or 1, of 53 bits."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    word = _mix(np.uint64(seed) + golden)
    word = _mix(word ^ np.uint64(key))
    word = _mix(word + golden * np.uint64(draw + 1))
    word = _mix(word + golden * np.uint64(dimension + 1))
    return (np.float64(word >> np.uint64(12)) + 0.5) * (1.0 / 4503599627370496.0)


@numba.njit(cache=True, nogil=True)
def normal_pair(seed, key, draw, dimension):
    """Two independent standard normal numbers (Box & Muller 1958), keyed."""
    radius = math.sqrt(-2.0 * math.log(_uniform(seed, key, draw, dimension)))
    angle = 2.0 * math.pi * _uniform(seed, key, draw, dimension + 1)
    return radius * math.cos(angle), radius * math.sin(angle)


@numba.njit(cache=True, nogil=True)
def cholesky(sigma, correlation, factor):
    """Lower Cholesky factor of a 4×4 covariance; False, and a diagonal factor, where impossible.

    A zero error is allowed: its row is zero. `correlation` holds the pairs (1,0), (2,0), (2,1),
    (3,0), (3,1), (3,2).
    """
    factor[:] = 0.0
    for i in range(4):
        for j in range(i + 1):
            total = 1.0 if i == j else correlation[i * (i - 1) // 2 + j]
            if i != j and (sigma[i] == 0.0 or sigma[j] == 0.0):
                total = 0.0
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i == j:
                if not total > 1e-12:
                    factor[:] = 0.0
                    for m in range(4):
                        factor[m, m] = sigma[m]
                    return False
                factor[i, i] = math.sqrt(total)
            else:
                factor[i, j] = total / factor[j, j]
    for i in range(4):
        for j in range(i + 1):
            factor[i, j] *= sigma[i]
    return True


@numba.njit(cache=True, nogil=True)
def draw_distance(median, below, above, seed, key, draw, normal):
    """Distance of one draw from its standard normal number, drawn again until positive."""
    for attempt in range(REDRAWS):
        distance = median + normal * (above if normal > 0.0 else below)
        if distance > 0.0:
            return distance
        normal, _ = normal_pair(seed, key, draw, 8 + 2 * attempt)
    return median


@numba.njit(cache=True, nogil=True)
def draw_block(
    observed, sigma, correlation, distance_sd, key, usable, seed, draws, kept,
    rotation, origin, velocity, units, rotation_start, ln_r, slope,
    mean, sd, rg_mean, rg_sd, rg_nominal, points, bad_covariance,
):  # fmt: skip
    """Draw, transform and reduce a slice of stars.

    Inputs: `observed` (star, 6: ra, dec, pmra, pmdec, distance, radial velocity), `sigma` (star, 5:
    ra*, dec in mas, pmra, pmdec, radial velocity), `correlation` (star, 6), `distance_sd` (star,
    2: below, above), `units` (potential, 2), `rotation_start` (potential, 2: ln L₀ and its step),
    `ln_r` and `slope` (potential, node). Outputs: moments (star, 7), guiding radii (star,
    potential), and `points` (star, 1 + kept, 5: R, v_R, v_phi, z, v_z), the mean point first.
    Stars not `usable` stay as they are.
    """
    factor = np.empty((4, 4))
    shift = np.empty(4)
    total, square, value, nominal = (
        np.empty(N_MOMENTS), np.empty(N_MOMENTS), np.empty(N_MOMENTS), np.empty(N_MOMENTS),
    )  # fmt: skip
    n_potentials = units.shape[0]
    rg0 = np.empty(n_potentials)
    rg_total, rg_square = np.empty(n_potentials), np.empty(n_potentials)
    for i in range(key.size):
        if not usable[i]:
            continue
        bad_covariance[i] = not cholesky(sigma[i, :4], correlation[i], factor)
        total[:] = 0.0
        square[:] = 0.0
        rg_total[:] = 0.0
        rg_square[:] = 0.0
        cos_dec = max(math.cos(math.radians(observed[i, 1])), 1e-9)
        # Draw -1 is the star as observed: moments are gathered about it, so as not to cancel.
        for d in range(-1, draws):
            shift[:] = 0.0
            distance, rv = observed[i, 4], observed[i, 5]
            if d >= 0:
                g0, g1 = normal_pair(seed, key[i], d, 0)
                g2, g3 = normal_pair(seed, key[i], d, 2)
                g4, g5 = normal_pair(seed, key[i], d, 4)
                shift[0] = factor[0, 0] * g0
                shift[1] = factor[1, 0] * g0 + factor[1, 1] * g1
                shift[2] = factor[2, 0] * g0 + factor[2, 1] * g1 + factor[2, 2] * g2
                shift[3] = (
                    factor[3, 0] * g0 + factor[3, 1] * g1 + factor[3, 2] * g2 + factor[3, 3] * g3
                )
                distance = draw_distance(
                    distance, distance_sd[i, 0], distance_sd[i, 1], seed, key[i], d, g4
                )
                rv += sigma[i, 4] * g5
            x, y, z, vx, vy, vz = observed_to_cartesian(
                observed[i, 0] + shift[0] * MAS_TO_DEG / cos_dec,
                observed[i, 1] + shift[1] * MAS_TO_DEG,
                distance,
                observed[i, 2] + shift[2],
                observed[i, 3] + shift[3],
                rv, rotation, origin, velocity,
            )  # fmt: skip
            radius, v_r, v_phi = cartesian_to_cylindrical(x, y, vx, vy)
            value[0], value[1], value[2], value[3] = x, y, z, v_r
            value[4], value[5], value[6] = v_phi, vz, radius
            if d < 0:
                nominal[:] = value
            for m in range(N_MOMENTS):
                difference = value[m] - nominal[m]
                total[m] += difference
                square[m] += difference * difference
            for p in range(n_potentials):
                ro, vo = units[p, 0], units[p, 1]
                rg = ro * guiding_radius_natural(
                    radius * v_phi / (ro * vo),
                    rotation_start[p, 0], rotation_start[p, 1], ln_r[p], slope[p],
                )  # fmt: skip
                if d < 0:
                    rg0[p] = rg
                rg_total[p] += rg - rg0[p]
                rg_square[p] += (rg - rg0[p]) ** 2
            if 0 <= d < kept:
                points[i, d + 1, 0], points[i, d + 1, 1], points[i, d + 1, 2] = radius, v_r, v_phi
                points[i, d + 1, 3], points[i, d + 1, 4] = z, vz
        for m in range(N_MOMENTS):
            mean[i, m] = nominal[m] + total[m] / draws
            sd[i, m] = math.sqrt(max(square[m] - total[m] ** 2 / draws, 0.0) / (draws - 1))
        points[i, 0, 0], points[i, 0, 1], points[i, 0, 2] = mean[i, 6], mean[i, 3], mean[i, 4]
        points[i, 0, 3], points[i, 0, 4] = mean[i, 2], mean[i, 5]
        for p in range(n_potentials):
            ro, vo = units[p, 0], units[p, 1]
            rg_mean[i, p] = rg0[p] + rg_total[p] / draws
            spread = max(rg_square[p] - rg_total[p] ** 2 / draws, 0.0)
            rg_sd[i, p] = math.sqrt(spread / (draws - 1))
            rg_nominal[i, p] = ro * guiding_radius_natural(
                mean[i, 6] * mean[i, 4] / (ro * vo),
                rotation_start[p, 0], rotation_start[p, 1], ln_r[p], slope[p],
            )  # fmt: skip
