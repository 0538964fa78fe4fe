# mypy: disable-error-code="no-untyped-def"
"""Mock observations of each star, and the phase space they imply.

Each draw takes (ra, dec, pmra, pmdec) from the Gaia covariance (Cholesky), the distance from a
two-piece Gaussian of equal mass either side of the median (d = m + s₊ g for g > 0, m + s₋ g for
g < 0, g standard normal; mean m + (s₊ - s₋)/√(2π)), and the radial velocity from a Gaussian. If the
distance comes from the star's own parallax, g has minus the parallax's correlations with the other
four; else it is independent of them. A distance that is not positive is drawn again. Random
numbers are a counter-based hash (SplitMix64 finaliser, Steele et al. 2014) of (seed, star key,
draw, dimension): no result depends on the order, the chunks or the threads.

Over the draws, guiding radius, ln Z_max and distance have means, standard deviations and
covariances. ln Z_max here is the estimate of `staeckel`, used only relative to the mean point's.

Every star keeps its row. A star with a missing quantity is flagged and has no orbit; a missing
*error* is taken as zero and flagged, since an orbit does not need it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.counter_rng import mix
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag, add_flag, are_skipped
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.orbits.coordinates import (
    cartesian_to_cylindrical,
    observed_to_cartesian,
    transform_arrays,
)
from migrate_bayes.orbits.frame import SolarFrame
from migrate_bayes.orbits.kernel.spline import PotentialTable
from migrate_bayes.orbits.kernel.staeckel import staeckel_ln_zmax
from migrate_bayes.orbits.potential import Potential, on_curve
from migrate_bayes.orbits.potential_tables import Curve

Floats = NDArray[np.float64]

MAS_TO_DEG = 1.0 / 3.6e6
REDRAWS = 64
BLOCK = 2048
# Moments gathered per star: x, y, z, v_r, v_phi, v_z, R, distance.
N_MOMENTS = 8
# Per star and potential: R_g mean, sd, that of the mean point; cov(R_g, distance); ln Z_max mean
# relative to the mean point's, sd, cov(R_g, ln Z_max), cov(ln Z_max, distance).
N_JOINT = 8
# ln Z_max of an orbit in the plane is minus infinity: no star is known to lie nearer than this.
ZMAX_FLOOR_KPC = 1e-4

PLACE = ("ra", "dec", "distance")
MOTION = ("pmra", "pmdec", "radial_velocity")
REQUIRED = ("ra", "dec", "pmra", "pmdec", "distance", "radial_velocity")
ERRORS = ("ra_error", "dec_error", "pmra_error", "pmdec_error", "radial_velocity_error")
LIMITS = ("distance_lo", "distance_hi")
# In the order of a lower triangle's rows: (1,0), (2,0), (2,1), (3,0), (3,1), (3,2).
CORRELATIONS = (
    "ra_dec_corr", "ra_pmra_corr", "dec_pmra_corr",
    "ra_pmdec_corr", "dec_pmdec_corr", "pmra_pmdec_corr",
)  # fmt: skip
# The fifth row, of a distance that comes from the parallax: it falls as that rises.
PARALLAX_CORRELATIONS = (
    "ra_parallax_corr", "dec_parallax_corr", "parallax_pmra_corr", "parallax_pmdec_corr",
)  # fmt: skip


class Observed(NamedTuple):
    """Stars for the kernel.

    `observed` (star, 6: ra, dec, pmra, pmdec, distance, radial velocity), `sigma` (star, 5: ra*,
    dec in mas, pmra, pmdec, radial velocity), `correlation` (star, 10: of ra, dec, pmra, pmdec,
    distance), `distance_sd` (star, 2: below, above), `key`, `usable` (star: has a place) and
    `moving` (star: has velocities too). One that has none stands still here.
    """

    observed: Floats
    sigma: Floats
    correlation: Floats
    distance_sd: Floats
    key: NDArray[np.uint64]
    usable: NDArray[np.bool_]
    moving: NDArray[np.bool_]


class PotentialStack(NamedTuple):
    """Potentials for the kernel.

    `units` (potential, 2: ro, vo), `start` (potential, 2: ln L₀ and its step), `ln_r` and `slope`
    (potential, node), `coefficients` and `shapes` of their tables, and `heights` (potential),
    whether ln Z_max is wanted.
    """

    units: Floats
    start: Floats
    ln_r: Floats
    slope: Floats
    coefficients: Floats
    shapes: Floats
    heights: NDArray[np.bool_]

    @classmethod
    def of(cls, potentials: list[Potential], heights: list[bool]) -> PotentialStack:
        """Stack the tables of potentials: of Φ only if heights are wanted, since it costs most."""
        p = len(potentials)
        curves = [one.rotation.radius for one in potentials]
        wanted = [one.table for one, height in zip(potentials, heights, strict=True) if height]
        # Every row needs some table; the kernel reads none of those that stand in.
        rest = iter(wanted)
        tables = [next(rest) if height else wanted[0] for height in heights] if wanted else []

        def stack(arrays: list[Floats], dims: int) -> Floats:
            return np.stack(arrays) if arrays else np.zeros((p,) + (4,) * dims)

        return cls(
            np.array([one.units for one in potentials]).reshape(p, 2),
            np.array([[curve.x0, curve.step] for curve in curves]).reshape(p, 2),
            stack([curve.values for curve in curves], 1),
            stack([curve.slopes for curve in curves], 1),
            stack([table.coefficients for table in tables], 2),
            stack([table.shape for table in tables], 1),
            np.array(heights, dtype=np.bool_),
        )


class Drawn(NamedTuple):
    """Output of the kernel; stars that are not usable stay as they are.

    Moments `mean` and `sd` (star, N_MOMENTS), `joint` (star, potential, N_JOINT), `points` (star,
    1 + kept, 5: R, v_R, v_phi, z, v_z), the mean point first, `kept` (star, kept, 1 + potential),
    distance and R_g of the draws kept, and `bad_covariance` (star).
    """

    mean: Floats
    sd: Floats
    joint: Floats
    points: Floats
    kept: Floats
    bad_covariance: NDArray[np.bool_]


def read_kinematics(catalog: xr.Dataset) -> tuple[Observed, NDArray[np.int32], list[str]]:
    """Return the kinematic columns of a catalogue, the stars' flags, and error columns it lacks."""
    if absent := [name for name in PLACE if name not in catalog]:
        raise CatalogError(
            f"no orbits without the columns {', '.join(absent)}: map them, or end the run with "
            'ages, by until = "ages" in its recipe'
        )
    n = catalog.sizes["star"]
    without = {name: ("star", np.full(n, np.nan)) for name in MOTION if name not in catalog}
    catalog = catalog.assign(without)

    def stack(names: tuple[str, ...]) -> Floats:
        """Columns (star, name), zero for those that are absent."""
        columns = [catalog[name].values if name in catalog else np.zeros(n) for name in names]
        return np.stack(columns, axis=1).astype(np.float64)

    observed, sigma = stack(REQUIRED), stack(ERRORS)
    ra, dec, pmra, pmdec, distance, rv = observed.T
    flag = np.zeros(n, dtype=np.int32)
    place = np.isfinite(ra) & (np.abs(dec) <= 90)
    astrometry = place & np.isfinite(pmra) & np.isfinite(pmdec)
    has_rv = np.isfinite(rv)
    has_distance = np.isfinite(distance) & (distance > 0)
    add_flag(flag, ~astrometry, StarFlag.MISSING_ASTROMETRY)
    add_flag(flag, ~has_rv, StarFlag.MISSING_RADIAL_VELOCITY)
    add_flag(flag, ~has_distance, StarFlag.BAD_DISTANCE)

    spread = np.zeros((n, 2))
    if all(name in catalog for name in LIMITS):
        low, high = stack(LIMITS).T
        spread = np.stack([distance - low, high - distance], axis=1)
    # A zero error is exact, and only an error of a quantity that is there can be amiss.
    wrong_sigma = ~(np.isfinite(sigma) & (sigma >= 0))
    wrong_spread = ~(np.isfinite(spread) & (spread >= 0)) & has_distance[:, None]
    skipped = are_skipped(catalog)
    add_flag(flag, skipped, StarFlag.SKIPPED)
    usable = place & has_distance & ~skipped
    moving = usable & astrometry & has_rv
    unknown = moving & (wrong_sigma.any(1) | wrong_spread.any(1))
    add_flag(flag, unknown, StarFlag.UNKNOWN_KINEMATIC_ERROR)
    sigma[wrong_sigma] = 0.0
    spread[wrong_spread] = 0.0

    fifth = np.zeros((n, 4))
    if str(catalog["distance"].attrs.get("source", "")).startswith("1/parallax"):
        fifth = -stack(PARALLAX_CORRELATIONS)
    correlation = np.concatenate([stack(CORRELATIONS), fifth], axis=1)
    wrong = ~(np.abs(correlation) <= 1).all(1)
    add_flag(flag, moving & wrong, StarFlag.BAD_COVARIANCE)
    correlation[wrong] = 0.0
    still = usable & ~moving
    observed[np.ix_(still, [2, 3, 5])] = 0.0
    sigma[np.ix_(still, [2, 3, 4])] = 0.0
    correlation[still] = 0.0

    key = catalog["star_key"].values.astype(np.uint64)
    arrays = (observed, sigma, correlation, spread, key, usable, moving)
    stars = Observed._make(map(np.ascontiguousarray, arrays))
    return stars, flag, [name for name in (*ERRORS, *LIMITS) if name not in catalog]


@numba.njit(cache=True, nogil=True)
def _uniform(seed, key, draw, dimension):
    """A number in (0, 1), never 0 or 1, of 53 bits."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    word = mix(np.uint64(seed) + golden)
    word = mix(word ^ np.uint64(key))
    word = mix(word + golden * np.uint64(draw + 1))
    word = mix(word + golden * np.uint64(dimension + 1))
    return (np.float64(word >> np.uint64(12)) + 0.5) * (1.0 / 4503599627370496.0)


@numba.njit(cache=True, nogil=True)
def normal_pair(seed, key, draw, dimension):
    """Two independent standard normal numbers (Box & Muller 1958), keyed."""
    radius = math.sqrt(-2.0 * math.log(_uniform(seed, key, draw, dimension)))
    angle = 2.0 * math.pi * _uniform(seed, key, draw, dimension + 1)
    return radius * math.cos(angle), radius * math.sin(angle)


@numba.njit(cache=True, nogil=True)
def cholesky(sigma, correlation, factor):
    """Lower Cholesky factor of a covariance; False, and a diagonal factor, if it has none.

    A zero error is allowed: its row is zero. `correlation` holds the pairs (1,0), (2,0), (2,1),
    (3,0), (3,1), (3,2) and so on.
    """
    n = sigma.size
    factor[:] = 0.0
    for i in range(n):
        for j in range(i + 1):
            total = 1.0 if i == j else correlation[i * (i - 1) // 2 + j]
            if i != j and (sigma[i] == 0.0 or sigma[j] == 0.0):
                total = 0.0
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i == j:
                if not total > 1e-12:
                    factor[:] = 0.0
                    for m in range(n):
                        factor[m, m] = sigma[m]
                    return False
                factor[i, i] = math.sqrt(total)
            else:
                factor[i, j] = total / factor[j, j]
    for i in range(n):
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
def _mock(observed, factor, distance_sd, rv_sd, key, seed, d, normal, star):
    """One mock observation into `star`: ra, dec, distance, pmra, pmdec, radial velocity.

    Draw -1 is the star as observed. `factor` (5, 5) is of ra*, dec, pmra, pmdec and the unit
    normal number of the distance.
    """
    star[0], star[1], star[2] = observed[0], observed[1], observed[4]
    star[3], star[4], star[5] = observed[2], observed[3], observed[5]
    if d < 0:
        return
    for pair in range(3):
        normal[2 * pair], normal[2 * pair + 1] = normal_pair(seed, key, d, 2 * pair)
    # Down, so that `normal` can be overwritten.
    for i in range(4, -1, -1):
        total = 0.0
        for j in range(i + 1):
            total += factor[i, j] * normal[j]
        normal[i] = total
    star[0] += normal[0] * MAS_TO_DEG / max(math.cos(math.radians(observed[1])), 1e-9)
    star[1] += normal[1] * MAS_TO_DEG
    star[2] = draw_distance(star[2], distance_sd[0], distance_sd[1], seed, key, d, normal[4])
    star[3] += normal[2]
    star[4] += normal[3]
    star[5] += rv_sd * normal[5]


@numba.njit(cache=True, nogil=True)
def _reduce(sums, draws, rg0, out):
    """Fill R_g's part of a row of `joint` and ln Z_max's from sums about the star as observed.

    `sums`: R_g, its square, × distance; then over the draws with a ln Z_max, their number, and of
    ln Z_max, its square, × R_g, × distance, R_g, distance. Last the distance over all draws.
    """
    rg, rg2, rg_d, count, lz, lz2, lz_rg, lz_d, rg_z, d_z, d = sums
    out[0] = rg0 + rg / draws
    out[1] = math.sqrt(max(rg2 - rg * rg / draws, 0.0) / (draws - 1))
    out[3] = (rg_d - rg * d / draws) / (draws - 1)
    if count > 1.0:
        out[4] = lz / count
        out[5] = math.sqrt(max(lz2 - lz * lz / count, 0.0) / (count - 1.0))
        out[6] = (lz_rg - lz * rg_z / count) / (count - 1.0)
        out[7] = (lz_d - lz * d_z / count) / (count - 1.0)


@numba.njit(cache=True, nogil=True)
def draw_block(stars, transform, potentials, seed, draws, kept, out):
    """Draw, transform and reduce a slice of stars: `Observed` and a `Transform` into `Drawn`."""
    observed, sigma, correlation, distance_sd, key, usable, _ = stars
    units, start, ln_r, slope, coefficients, shapes, heights = potentials
    mean, sd, joint, points, draws_joint, bad_covariance = out
    n_potentials = units.shape[0]
    factor, unit_sigma = np.empty((5, 5)), np.ones(5)
    normal, star = np.empty(6), np.empty(6)
    total, square = np.empty(N_MOMENTS), np.empty(N_MOMENTS)
    value, nominal = np.empty(N_MOMENTS), np.empty(N_MOMENTS)
    sums, first = np.empty((n_potentials, 11)), np.empty((n_potentials, 2))
    turns = np.empty((n_potentials, 2))
    for i in range(key.size):
        if not usable[i]:
            continue
        for m in range(4):
            unit_sigma[m] = sigma[i, m]
        bad_covariance[i] = not cholesky(unit_sigma, correlation[i], factor)
        total[:] = 0.0
        square[:] = 0.0
        sums[:] = 0.0
        turns[:] = np.nan
        # Draw -1 is the star as observed: moments are gathered about it, so as not to cancel.
        for d in range(-1, draws):
            _mock(observed[i], factor, distance_sd[i], sigma[i, 4], key[i], seed, d, normal, star)
            x, y, z, vx, vy, vz = observed_to_cartesian(
                star[0], star[1], star[2], star[3], star[4], star[5], transform
            )
            radius, v_r, v_phi = cartesian_to_cylindrical(x, y, vx, vy)
            value[0], value[1], value[2], value[3] = x, y, z, v_r
            value[4], value[5], value[6], value[7] = v_phi, vz, radius, star[2]
            if d < 0:
                for m in range(N_MOMENTS):
                    nominal[m] = value[m]
            for m in range(N_MOMENTS):
                difference = value[m] - nominal[m]
                total[m] += difference
                square[m] += difference * difference
            dd = value[7] - nominal[7]
            for p in range(n_potentials):
                ro, vo = units[p, 0], units[p, 1]
                curve = Curve(start[p, 0], start[p, 1], ln_r[p], slope[p])
                rg = ro * on_curve(radius * v_phi / (ro * vo), curve)
                ln_z = math.nan
                if heights[p]:
                    ln_z = staeckel_ln_zmax(
                        radius / ro, v_r / vo, v_phi / vo, z / ro, vz / vo, ZMAX_FLOOR_KPC / ro,
                        turns[p], PotentialTable(coefficients[p], shapes[p]),
                    )  # fmt: skip
                if d < 0:
                    first[p, 0] = rg
                    first[p, 1] = 0.0 if math.isnan(ln_z) else ln_z
                else:
                    s, drg, dlz = sums[p], rg - first[p, 0], ln_z - first[p, 1]
                    s[0] += drg
                    s[1] += drg * drg
                    s[2] += drg * dd
                    if not math.isnan(dlz):
                        s[3] += 1.0
                        s[4] += dlz
                        s[5] += dlz * dlz
                        s[6] += dlz * drg
                        s[7] += dlz * dd
                        s[8] += drg
                        s[9] += dd
                    if d < kept:
                        draws_joint[i, d, 1 + p] = rg
            if 0 <= d < kept:
                draws_joint[i, d, 0] = star[2]
                points[i, d + 1, 0], points[i, d + 1, 1], points[i, d + 1, 2] = radius, v_r, v_phi
                points[i, d + 1, 3], points[i, d + 1, 4] = z, vz
        for m in range(N_MOMENTS):
            mean[i, m] = nominal[m] + total[m] / draws
            sd[i, m] = math.sqrt(max(square[m] - total[m] ** 2 / draws, 0.0) / (draws - 1))
        points[i, 0, 0], points[i, 0, 1], points[i, 0, 2] = mean[i, 6], mean[i, 3], mean[i, 4]
        points[i, 0, 3], points[i, 0, 4] = mean[i, 2], mean[i, 5]
        for p in range(n_potentials):
            ro, vo = units[p, 0], units[p, 1]
            sums[p, 10] = total[7]
            _reduce(sums[p], draws, first[p, 0], joint[i, p])
            curve = Curve(start[p, 0], start[p, 1], ln_r[p], slope[p])
            joint[i, p, 2] = ro * on_curve(mean[i, 6] * mean[i, 4] / (ro * vo), curve)
            if heights[p]:
                at_mean = staeckel_ln_zmax(
                    mean[i, 6] / ro, mean[i, 3] / vo, mean[i, 4] / vo, mean[i, 2] / ro,
                    mean[i, 5] / vo, ZMAX_FLOOR_KPC / ro, turns[p],
                    PotentialTable(coefficients[p], shapes[p]),
                )  # fmt: skip
                joint[i, p, 4] += first[p, 1] - at_mean


def draw(
    stars: Observed,
    frame: SolarFrame,
    potentials: PotentialStack,
    *,
    seed: int,
    draws: int,
    kept: int,
    workers: int | None,
    on_done: Callable[[int], None] | None,
) -> Drawn:
    """Draw in one solar frame with the potentials that share it, keeping the first `kept` draws."""
    n, p = stars.usable.size, len(potentials.units)
    shapes = ((N_MOMENTS,), (N_MOMENTS,), (p, N_JOINT), (1 + kept, 5), (kept, 1 + p))
    arrays = [np.full((n, *shape), np.nan) for shape in shapes]
    out = Drawn._make([*arrays, np.zeros(n, dtype=np.bool_)])
    transform = transform_arrays(frame)

    def run(start: int, stop: int) -> None:
        block, into = (type(t)._make(array[start:stop] for array in t) for t in (stars, out))
        draw_block(block, transform, potentials, np.uint64(seed), draws, kept, into)

    map_blocks(run, n, BLOCK, workers=workers, on_done=on_done)
    return out
