"""Orbits in potentials with closed forms, and the integrator's own symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from migrate_bayes.orbits import Potential, guiding_radius, orbit_extrema
from migrate_bayes.orbits.kernel.batch_step import (
    AR,
    AZ,
    EPSILON,
    GOES,
    LEFT,
    RHO,
    VR,
    VZ,
    WIDTH,
    H,
    R,
    Z,
    advance,
    rows,
)  # fmt: skip
from migrate_bayes.orbits.kernel.integrate import Orbits, load
from migrate_bayes.orbits.kernel.spline import potential
from migrate_bayes.orbits.kernel.staeckel import staeckel_ln_zmax
from migrate_bayes.orbits.potential_tables import potential_table

MODEL = """
from galpy.potential import (
    KuzminKutuzovStaeckelPotential, LogarithmicHaloPotential, MiyamotoNagaiPotential,
)
flat = LogarithmicHaloPotential(normalize=1.0, q=0.9, core=0.02)
disc = MiyamotoNagaiPotential(a=0.4, b=0.05, normalize=1.0)
staeckel = KuzminKutuzovStaeckelPotential(normalize=1.0, ac=4.0, Delta=0.45)
"""


def _unit(name: str) -> Potential:
    return Potential(name, {"r0": 1.0, "v0": 1.0})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("potentials") / "closed.py"
    path.write_text(MODEL)
    return str(path)


def test_planar_orbit_in_the_logarithmic_potential(model: str) -> None:
    """Turning points solve E = ½ ln(r² + c²) + L²/2r² (v₀ = 1)."""
    R, v_r, v_phi = np.array([1.0, 1.0, 0.7]), np.array([0.1, 0.6, -0.3]), np.array([1.0, 0.5, 1.2])
    orbit = orbit_extrema(R, v_r, v_phi, 0.0, 0.0, _unit(f"{model}:flat"), span=30.0)
    norm = 1.0 + 0.02**2  # v_c(1) = 1
    for i in range(3):
        lz = R[i] * v_phi[i]
        energy = 0.5 * (v_r[i] ** 2 + v_phi[i] ** 2) + 0.5 * norm * np.log(R[i] ** 2 + 0.02**2)

        def radial(r: float, lz: float = lz, energy: float = energy) -> float:
            return float(energy - 0.5 * norm * np.log(r * r + 0.02**2) - 0.5 * (lz / r) ** 2)

        inner, outer = brentq(radial, 0.01, R[i]), brentq(radial, R[i], 20.0)
        assert orbit.r_peri[i] == pytest.approx(inner, rel=2e-4)
        assert orbit.r_apo[i] == pytest.approx(outer, rel=2e-4)
        assert orbit.eccentricity[i] == pytest.approx((outer - inner) / (outer + inner), abs=2e-4)
    np.testing.assert_allclose(orbit.zmax, 0.0, atol=1e-12)


def test_vertical_oscillation_in_the_miyamoto_nagai_disc(model: str) -> None:
    """ν² = GM (a + b)/(b (R² + (a + b)²)^(3/2)): Z_max = v_z/ν near the plane."""
    a, b = 0.4, 0.05
    mass = (1 + (a + b) ** 2) ** 1.5
    for radius in (0.6, 1.0, 1.8):
        size = (radius**2 + (a + b) ** 2) ** 1.5
        v_c = radius * np.sqrt(mass / size)
        nu = np.sqrt(mass * (a + b) / (b * size))
        v_z = 1e-3 * nu
        orbit = orbit_extrema(radius, 0.0, v_c, 0.0, v_z, _unit(f"{model}:disc"), span=30.0)
        assert orbit.zmax == pytest.approx(v_z / nu, rel=1e-3)
        assert guiding_radius(radius * v_c, _unit(f"{model}:disc")) == pytest.approx(radius, 1e-8)


def test_staeckel_estimate_is_exact_in_a_staeckel_potential(model: str) -> None:
    """Kuzmin & Kutuzov's has confocal coordinates of Δ = 0.45: there, no approximation is left."""
    rng = np.random.default_rng(5)
    n = 60
    stars = (
        rng.uniform(0.5, 1.5, n), rng.normal(0.0, 0.2, n), rng.normal(0.9, 0.15, n),
        rng.normal(0.0, 0.1, n), rng.normal(0.0, 0.15, n),
    )  # fmt: skip
    here = _unit(f"{model}:staeckel")
    # Long enough for every orbit to fill its torus.
    orbit = orbit_extrema(*stars, here, span=2000.0, tolerance=1e-4)
    estimate = np.exp([
        staeckel_ln_zmax(*star, 1e-9, np.full(2, np.nan), here.table)
        for star in zip(*stars, strict=True)
    ])  # fmt: skip
    good = ~orbit.failed & ~orbit.inexact
    assert good.sum() > 50
    ratio = estimate[good] / orbit.zmax[good]
    assert np.median(np.abs(ratio - 1)) < 1e-3
    assert np.all(ratio > 1 - 1e-3)
    assert np.quantile(ratio, 0.9) < 1 + 1e-2


def _lanes(state: np.ndarray, lz: np.ndarray, epsilon: float) -> np.ndarray:
    q, table = rows(), potential_table("MWPotential2014")
    orbits = Orbits(state[0], state[1], lz / state[0], state[2], state[3])
    for m in range(WIDTH):
        load(q, m, orbits, m, epsilon, 1e9, table, np.zeros(8))
    return q


def _step(q: np.ndarray, n: int) -> None:
    table = potential_table("MWPotential2014")
    for _ in range(n):
        advance(q, table.coefficients.ravel(), table.shape, table.coefficients.shape[1], 3600.0)


def _eccentric() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    state = np.stack([
        rng.uniform(0.7, 1.4, WIDTH), rng.normal(0.0, 0.4, WIDTH),
        rng.normal(0.0, 0.2, WIDTH), rng.normal(0.0, 0.3, WIDTH),
    ])  # fmt: skip
    return state, rng.uniform(0.1, 0.6, WIDTH)


def test_steps_are_reversible() -> None:
    """Turn the velocities round: the same steps lead back, whatever their lengths."""
    state, lz = _eccentric()
    q = _lanes(state, lz, 0.06)
    _step(q, 1)
    first = q[H : H + WIDTH].copy()
    _step(q, 299)
    assert np.ptp(q[H : H + WIDTH]) > 0.01  # the steps do differ
    for row in (VR, VZ):
        q[row : row + WIDTH] *= -1.0
    # ρ belongs to the middle of a step: take back what the next step will add.
    slowing = q[EPSILON : EPSILON + WIDTH] * q[VR : VR + WIDTH] / q[R : R + WIDTH]
    q[RHO : RHO + WIDTH] += slowing
    _step(q, 300)
    np.testing.assert_allclose(q[H : H + WIDTH], first, rtol=1e-7)
    for row, start in zip((R, VR, Z, VZ), state * np.array([[1], [-1], [1], [-1]]), strict=True):
        np.testing.assert_allclose(q[row : row + WIDTH], start, atol=1e-7)


def test_energy_of_eccentric_orbits_does_not_drift() -> None:
    """To 1% at a coarse step; and half the step has a sixteenth of the error (order four)."""
    state, lz = _eccentric()
    table = potential_table("MWPotential2014")

    def errors(epsilon: float, steps: int) -> np.ndarray:
        q = _lanes(state, lz, epsilon)
        energy = []
        for _ in range(steps):
            _step(q, 1)
            radius, z = q[R : R + WIDTH], q[Z : Z + WIDTH]
            phi = np.array([potential(a, b, table) for a, b in zip(radius, z, strict=True)])
            speed2 = q[VR : VR + WIDTH] ** 2 + q[VZ : VZ + WIDTH] ** 2 + (lz / radius) ** 2
            energy.append(0.5 * speed2 + phi)
        start = 0.5 * (state[1] ** 2 + state[3] ** 2 + (lz / state[0]) ** 2)
        start += [potential(a, b, table) for a, b in zip(state[0], state[2], strict=True)]
        return np.abs(np.array(energy) - start)

    coarse = errors(0.12, 2000)
    assert np.median(coarse.max(axis=0)) < 1e-2
    early, late = coarse[:1000].max(axis=0), coarse[1000:].max(axis=0)
    assert np.median(late / early) < 1.3
    fine = errors(0.06, 2000)
    assert np.median(coarse.max(axis=0) / fine.max(axis=0)) > 10


def test_plunging_orbits_cost_little_more_than_round_ones() -> None:
    """Steps follow the radius: a pericentre of 100 pc takes no tenfold number of them."""
    table = potential_table("MWPotential2014")
    q = rows()
    counts = []
    for lz in (1.0, 0.05):
        start = (np.array([x]) for x in (1.0, 0.0, lz, 0.02, 0.05))
        load(q, 0, Orbits(*start), 0, 0.08, 40.0, table, np.zeros(8))
        before = q[GOES]
        for _ in range(20_000):
            _step(q, 1)
            if not q[LEFT] > 0:
                break
        counts.append(before - q[GOES])
        assert np.isfinite([q[AR], q[AZ]]).all()
    assert counts[1] < 3 * counts[0]
