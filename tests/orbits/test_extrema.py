"""Orbits: galpy's integrator, conservation, symmetries, limits and small oscillations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from migrate_bayes.core.errors import OrbitError
from migrate_bayes.orbits.extrema import (
    GYR_KMS_PER_KPC,
    Extrema,
    orbit_extrema,
    potential_difference,
    vertical_speed,
)
from migrate_bayes.orbits.frame import SolarFrame
from migrate_bayes.orbits.kernel.batch_step import WIDTH
from migrate_bayes.orbits.kernel.integrate import acceleration, step
from migrate_bayes.orbits.kernel.spline import potential
from migrate_bayes.orbits.potential import Potential, circular_velocity
from migrate_bayes.orbits.potential_tables import load_potential, potential_table

NAME = "MWPotential2014"
Stars = Callable[..., tuple[np.ndarray, ...]]


def _by_galpy(name: str, stars: tuple[np.ndarray, ...], span: float) -> tuple[np.ndarray, ...]:
    """Extrema by galpy's dop853_c, each peak of the sampled orbit completed by a parabola."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from galpy.orbit import Orbit
    R, v_r, v_phi, z, v_z = stars
    ro, vo = 8.27, 236.0
    start = np.stack([R / ro, v_r / vo, v_phi / vo, z / ro, v_z / vo, 0 * R], axis=1)
    times = np.linspace(0.0, span * GYR_KMS_PER_KPC * vo / ro, int(4000 * span) + 1)
    orbits = Orbit(start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        orbits.integrate(times, load_potential(name), method="dop853_c", progressbar=False)
    height = np.abs(orbits.z(times, use_physical=False))
    radius = orbits.r(times, use_physical=False)

    def peak(values: np.ndarray) -> np.ndarray:
        best = values.max(axis=1)
        for i, row in enumerate(values):
            k = int(row.argmax())
            if 0 < k < row.size - 1:
                left, middle, right = row[k - 1 : k + 2]
                best[i] = middle - (right - left) ** 2 / 8 / (left - 2 * middle + right)
        return ro * best

    return peak(height), -peak(-radius), peak(radius)


def _compare(name: str, stars: tuple[np.ndarray, ...]) -> None:
    ours = orbit_extrema(*stars, name)
    zmax, peri, apo = _by_galpy(name, stars, 5.0)
    assert not ours.failed.any()
    error = np.abs(ours.zmax / zmax - 1)
    assert np.median(error) < 5e-4
    assert np.quantile(error, 0.95) < 3e-3
    for radius, theirs in ((ours.r_peri, peri), (ours.r_apo, apo)):
        assert np.quantile(np.abs(radius / theirs - 1), 0.95) < 2e-3
        np.testing.assert_allclose(radius, theirs, rtol=2e-2)
    finer = np.abs(orbit_extrema(*stars, name, steps=16, tolerance=1e-5).zmax / zmax - 1)
    assert np.median(finer) < 3e-5
    assert np.quantile(finer, 0.95) < 1e-3


@pytest.mark.parametrize("name", ["MWPotential2014", "Irrgang13I"])
def test_agrees_with_galpy_dop853(name: str, disc_stars: Stars) -> None:
    _compare(name, disc_stars(40))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n"), [("MWPotential2014", 400), ("McMillan17", 60)])
def test_agrees_with_galpy_dop853_on_more_stars(name: str, n: int, disc_stars: Stars) -> None:
    _compare(name, disc_stars(n, seed=1))


def test_integrator_is_of_fourth_order() -> None:
    """Half the step, at most a sixteenth of the error; and time reversal brings the orbit back."""
    table = potential_table(NAME)
    l2, span = 0.9**2, 2.0

    def end(n: int, state: tuple[float, ...], total: float) -> np.ndarray:
        a = acceleration(state[0], state[1], l2, table)
        state = (*state, *a)
        for _ in range(n):
            state = step(*state, total / n, l2, table)
        return np.array(state[:4])

    start = (1.0, 0.05, 0.1, 0.2)
    exact = end(4096, start, span)
    errors = [np.abs(end(n, start, span) - exact).max() for n in (8, 16, 32)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(orders > 3.6)
    back = end(64, tuple(end(64, start, span)), -span)
    np.testing.assert_allclose(back, start, atol=1e-13)


def test_energy_stays_bounded_over_the_span(disc_stars: Stars) -> None:
    """At the default step the energy error oscillates and does not drift."""
    table = potential_table(NAME)
    for R, v_r, v_phi, z, v_z in zip(*disc_stars(6), strict=True):
        R, z, v_r, v_phi, v_z = R / 8.27, z / 8.27, v_r / 236, v_phi / 236, v_z / 236
        l2 = (R * v_phi) ** 2

        def energy(state: tuple[float, ...], l2: float = l2) -> float:
            kinetic = 0.5 * (state[2] ** 2 + state[3] ** 2 + l2 / state[0] ** 2)
            return float(kinetic + potential(state[0], state[1], table))

        state = (R, z, v_r, v_z, *acceleration(R, z, l2, table))
        first, errors = energy(state), []
        for _ in range(2000):
            state = step(*state, 0.15, l2, table)
            errors.append(abs(energy(state) - first))
        assert max(errors) < 1e-3
        # Up to the little that the spline's third derivative, which jumps at its knots, costs.
        assert max(errors[1000:]) < 1.5 * max(errors[:1000]) + 1e-6


def test_error_estimate_bounds_the_error(disc_stars: Stars) -> None:
    stars = disc_stars(300)
    rough = orbit_extrema(*stars, NAME, tolerance=1.0)
    fine = orbit_extrema(*stars, NAME, steps=24, tolerance=1e-6)
    error = np.abs(rough.zmax / fine.zmax - 1)
    assert np.mean(error <= 2 * rough.zmax_error + 2e-4) > 0.98
    strict = orbit_extrema(*stars, NAME, tolerance=5e-4)
    assert not strict.inexact.any()
    assert np.mean(np.abs(strict.zmax / fine.zmax - 1) <= 5e-4) > 0.97


def _dishonest(ours: Extrema, true: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which extremes are off by more than three times their own error and 0.1%."""
    return {
        name: np.abs(getattr(ours, name) / value - 1) > 3 * getattr(ours, f"{name}_error") + 1e-3
        for name, value in true.items()
    }


@pytest.mark.parametrize(
    ("name", "least"),
    [
        (NAME, 0.993),
        pytest.param("McMillan17", 0.975, marks=pytest.mark.slow),
        pytest.param("Irrgang13I", 0.975, marks=pytest.mark.slow),
    ],
)
def test_errors_are_owned_near_resonances_too(name: str, least: float) -> None:
    """Slow phases decide which heights are reached within the span, and energy knows no phase."""
    rng = np.random.default_rng(1)
    n = 1000
    stars = (
        rng.uniform(4.0, 13.0, n), rng.normal(0.0, 120.0, n), rng.normal(100.0, 100.0, n),
        rng.normal(0.0, 2.0, n), rng.normal(0.0, 80.0, n),
    )  # fmt: skip
    ours = orbit_extrema(*stars, name)
    fine = orbit_extrema(*stars, name, steps=48, tolerance=1e-4)
    ok = ~(ours.failed | ours.unbound | ours.inexact | fine.inexact | fine.failed)
    assert ok.mean() > 0.9
    true = {k: getattr(fine, k) for k in ("zmax", "r_peri", "r_apo")}
    for quantity, wrong in _dishonest(ours, true).items():
        assert np.mean(~wrong[ok]) > least, quantity
    # An error is claimed where there is one: the median claim is small.
    assert np.median(ours.zmax_error[ok]) < 2.5e-3
    assert np.median(ours.r_peri_error[ok]) < 1e-3


@pytest.mark.slow
def test_slow_phases_against_another_integrator() -> None:
    """Regular orbits near resonances of McMillan17, by scipy's DOP853 with events."""
    stars = np.array([
        (11.090, -117.411, -222.295, 0.888, 101.28),
        (10.035, 72.249, 151.575, -4.483, -3.117),
        (10.218, -287.605, -19.091, -0.572, -60.566),
        (11.42, 21.85, 265.14, 1.2, -2.5),
        (12.1, -39.24, 215.32, 0.33, -43.28),
    ])  # fmt: skip
    here = Potential.of("McMillan17")
    ro, vo = here.units
    true: dict[str, list[float]] = {"zmax": [], "r_peri": [], "r_apo": []}
    for R, v_r, v_phi, z, v_z in stars / (ro, vo, vo, ro, vo):
        l2, span = (R * v_phi) ** 2, 5.0 * GYR_KMS_PER_KPC * vo / ro

        def change(_: float, y: np.ndarray, l2: float = l2) -> list[float]:
            return [y[2], y[3], *acceleration(y[0], y[1], l2, here.table)]

        events = [lambda _, y: y[3], lambda _, y: y[0] * y[2] + y[1] * y[3]]
        found = solve_ivp(
            change, (0.0, span), [R, z, v_r, v_z], method="DOP853", rtol=1e-11, atol=1e-12,
            events=events,
        )  # fmt: skip
        peaks, turns = (np.abs(found.y_events[k]) for k in (0, 1))
        radii = ro * np.hypot(turns[:, 0], turns[:, 1])
        true["zmax"].append(ro * peaks[:, 1].max())
        true["r_peri"].append(radii.min())
        true["r_apo"].append(radii.max())
    ours = orbit_extrema(*stars.T, "McMillan17")
    for quantity, wrong in _dishonest(ours, {k: np.array(v) for k, v in true.items()}).items():
        assert not wrong.any(), quantity
    np.testing.assert_allclose(ours.zmax[:2], true["zmax"][:2], rtol=5e-3)


def test_chaotic_orbits_own_up() -> None:
    """Where shorter steps change the answer, the error says so or the orbit is marked."""
    rng = np.random.default_rng(3)
    n = 200
    stars = (
        rng.uniform(4.0, 14.0, n), rng.normal(0.0, 130.0, n), rng.normal(0.0, 30.0, n),
        rng.normal(0.0, 3.0, n), rng.normal(0.0, 90.0, n),
    )  # fmt: skip
    default = orbit_extrema(*stars, "Irrgang13I")
    fine = orbit_extrema(*stars, "Irrgang13I", steps=24, tolerance=1e-5)
    assert not default.failed.any()
    error = np.abs(default.zmax / fine.zmax - 1)
    honest = (error <= 3 * default.zmax_error + 1e-3) | default.inexact | fine.inexact
    assert np.mean(honest) > 0.9
    assert 5 <= default.inexact.sum() < 0.5 * n
    assert np.all(default.zmax_error[default.inexact] > 4e-3)
    # The control: disc-like orbits of the same number are never marked.
    calm = orbit_extrema(stars[0], stars[1] / 4, 220.0, stars[3] / 10, stars[4] / 4, "Irrgang13I")
    assert not calm.inexact.any()


def test_circular_orbit_stays_where_it_is() -> None:
    R = np.array([2.0, 8.0, 8.27, 15.0])
    orbit = orbit_extrema(R, 0.0, circular_velocity(R, NAME), 0.0, 0.0, NAME)
    np.testing.assert_allclose(orbit.r_peri, R, rtol=1e-5)
    np.testing.assert_allclose(orbit.r_apo, R, rtol=1e-5)
    np.testing.assert_allclose(orbit.zmax, 0.0, atol=1e-9)
    np.testing.assert_allclose(orbit.eccentricity, 0.0, atol=1e-5)


def test_planar_turning_points_are_roots_of_the_energy() -> None:
    """In the plane, r_peri and r_apo solve E = Φ(r, 0) + L²/2r²."""
    R, v_r, v_phi = np.array([8.0, 6.0, 10.0]), np.array([50.0, -80.0, 10.0]), 200.0
    orbit = orbit_extrema(R, v_r, v_phi, 0.0, 0.0, NAME)
    for turn in (orbit.r_peri, orbit.r_apo):
        rise = potential_difference(R, 0.0, 0.0, NAME)
        assert not rise.any()
        table = potential_table(NAME)
        phi = [236.0**2 * (potential(t / 8.27, 0.0, table) - potential(r / 8.27, 0.0, table))
               for t, r in zip(turn, R, strict=True)]  # fmt: skip
        kinetic = 0.5 * (v_r**2 + v_phi**2) - 0.5 * (R * v_phi / turn) ** 2
        # In the energy's own scale, that of the velocities that turn.
        np.testing.assert_allclose(kinetic, phi, atol=1e-3 * 236.0**2)


def test_small_vertical_oscillation() -> None:
    """Z_max → v_z/ν near the plane on a circular orbit, ν² = ∂²Φ/∂z²."""
    R, v_z = 8.0, 0.05
    v_phi = circular_velocity(R, NAME)
    h = 1e-3
    nu = math.sqrt(2 * float(potential_difference(R, 0.0, h, NAME))) / h
    orbit = orbit_extrema(R, 0.0, v_phi, 0.0, v_z, NAME)
    assert orbit.zmax == pytest.approx(v_z / nu, rel=1e-3)


def test_vertical_speed_reaches_its_height_at_fixed_radius() -> None:
    """On a nearly circular orbit Z_max is what `vertical_speed` was asked for."""
    zmax = np.array([0.1, 0.2, 0.4])
    v_z = vertical_speed(9.0, 0.05, zmax, NAME)
    orbit = orbit_extrema(9.0, 0.0, circular_velocity(9.0, NAME), 0.05, v_z, NAME)
    np.testing.assert_allclose(orbit.zmax, zmax, rtol=0.03)
    assert np.isnan(vertical_speed(9.0, 0.5, 0.2, NAME))
    assert vertical_speed(9.0, 0.2, 0.2, NAME) == 0.0
    assert vertical_speed(9.0, -0.05, 0.2, NAME) == v_z[1]


def test_mirror_images_have_the_same_extrema(disc_stars: Stars) -> None:
    R, v_r, v_phi, z, v_z = disc_stars(64)
    there = orbit_extrema(R, v_r, v_phi, z, v_z, NAME)
    for other in (
        orbit_extrema(R, v_r, v_phi, -z, -v_z, NAME),
        orbit_extrema(R, v_r, -v_phi, z, v_z, NAME),
    ):
        for name in ("zmax", "r_peri", "r_apo", "zmax_error"):
            np.testing.assert_array_equal(getattr(other, name), getattr(there, name))


def test_zmax_rises_with_vertical_speed() -> None:
    v_z = np.linspace(1.0, 60.0, 60)
    zmax = orbit_extrema(8.0, 0.0, 225.0, 0.0, v_z, NAME).zmax
    assert np.all(np.diff(zmax) > 0)


def test_extrema_enclose_the_star_and_grow_with_the_span(disc_stars: Stars) -> None:
    stars = disc_stars(200)
    R, z = stars[0], stars[3]
    short, long = (orbit_extrema(*stars, NAME, span=span, tolerance=1e-4) for span in (1.0, 6.0))
    r = np.hypot(R, z)
    assert np.all(long.zmax >= np.abs(z) * (1 - 1e-12))
    assert np.all((long.r_peri <= r * (1 + 1e-9)) & (long.r_apo >= r * (1 - 1e-9)))
    assert np.all(long.zmax >= short.zmax * (1 - 1e-3))
    assert np.all(long.zmax_half <= long.zmax * (1 + 1e-3))


def test_rescaling_is_a_change_of_units(disc_stars: Stars) -> None:
    """Lengths by λ, velocities by μ, times by λ/μ: the same orbit."""
    R, v_r, v_phi, z, v_z = disc_stars(50)
    small, large = SolarFrame(r0=8.0, v0=220.0), SolarFrame(r0=8.0 * 1.1, v0=220.0 * 1.2)
    one = orbit_extrema(R, v_r, v_phi, z, v_z, Potential(NAME, small), span=4.0)
    two = orbit_extrema(
        1.1 * R,
        1.2 * v_r,
        1.2 * v_phi,
        1.1 * z,
        1.2 * v_z,
        Potential(NAME, large),
        span=4.0 * 1.1 / 1.2,
    )
    np.testing.assert_allclose(two.zmax, 1.1 * one.zmax, rtol=1e-8)
    np.testing.assert_allclose(two.eccentricity, one.eccentricity, rtol=1e-6)
    native = orbit_extrema(R, v_r, v_phi, z, v_z, Potential(NAME, large, "native"), span=4.0)
    np.testing.assert_array_equal(native.zmax, one.zmax)


def test_order_company_and_workers_do_not_matter(disc_stars: Stars) -> None:
    """Bit for bit: an orbit in any lane, beside any others, in any thread."""
    stars = disc_stars(1200)
    together = orbit_extrema(*stars, NAME, span=1.0, workers=1)
    shuffled = np.random.default_rng(0).permutation(1200)
    apart = orbit_extrema(*(column[shuffled] for column in stars), NAME, span=1.0, workers=2)
    for name in ("zmax", "r_peri", "r_apo", "zmax_error", "zmax_half"):
        np.testing.assert_array_equal(getattr(apart, name), getattr(together, name)[shuffled])
    for i in range(0, 1200, 97):
        alone = orbit_extrema(*(column[i] for column in stars), NAME, span=1.0)
        assert alone.zmax == together.zmax[i]
        assert alone.r_peri == together.r_peri[i]


def test_hopeless_orbits_do_not_touch_their_neighbours(disc_stars: Stars) -> None:
    stars = [column.copy() for column in disc_stars(3 * WIDTH)]
    clean = orbit_extrema(*stars, NAME, span=1.0)
    bad = np.arange(1, 3 * WIDTH, 7)
    kinds = [
        (0, np.nan), (2, np.inf), (0, -3.0), (0, 0.0), (0, 1e6), (3, 1e5), (4, 3000.0),
    ]  # fmt: skip
    for i, (column, value) in zip(bad, kinds, strict=False):
        stars[column][i] = value
    result = orbit_extrema(*stars, NAME, span=1.0)
    assert np.isnan(result.zmax[bad]).all()
    assert np.isnan(result.r_apo[bad]).all()
    good = np.setdiff1d(np.arange(3 * WIDTH), bad)
    np.testing.assert_array_equal(result.zmax[good], clean.zmax[good])
    np.testing.assert_array_equal(result.unbound | result.failed, np.isin(np.arange(48), bad))
    assert result.unbound[bad[6]]


def test_plunging_orbits_end_with_a_number_or_a_flag() -> None:
    """Little angular momentum: close to the centre, and no crash, no NaN without a flag."""
    v_phi = np.array([0.0, 0.1, 1.0, 3.0, 10.0, 30.0])
    orbit = orbit_extrema(8.0, 30.0, v_phi, 0.3, 20.0, NAME)
    np.testing.assert_array_equal(np.isfinite(orbit.zmax), ~orbit.failed)
    assert not orbit.failed[4:].any()
    assert np.all(orbit.r_peri[np.isfinite(orbit.r_peri)] > 0)


def test_settings_must_be_positive() -> None:
    for setting in ("span", "steps", "tolerance"):
        with pytest.raises(OrbitError, match=f"{setting} must be positive"):
            orbit_extrema(8.0, 0.0, 220.0, 0.0, 0.0, NAME, **{setting: 0.0})  # type: ignore[arg-type]
