"""Guiding radius and circular velocity against galpy, root finding and closed forms."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import brentq

from migrate_bayes.core.errors import OrbitError
from migrate_bayes.orbits.frame import SolarFrame, get_frame
from migrate_bayes.orbits.potential import Potential, circular_velocity, guiding_radius
from migrate_bayes.orbits.potential_tables import POTENTIALS, load_potential


@pytest.fixture
def made_up() -> Iterator[str]:
    """Stand a module with potentials of closed form where an import path can find it."""
    from galpy.potential import (
        LogarithmicHaloPotential,
        MiyamotoNagaiPotential,
        SpiralArmsPotential,
    )

    module = types.ModuleType("made_up_galaxy")
    module.flat = LogarithmicHaloPotential(normalize=1.0, q=0.8)  # type: ignore[attr-defined]
    module.disc = MiyamotoNagaiPotential(a=0.4, b=0.05, normalize=1.0)  # type: ignore[attr-defined]
    module.arms = SpiralArmsPotential()  # type: ignore[attr-defined]
    sys.modules["made_up_galaxy"] = module
    yield "made_up_galaxy"
    del sys.modules["made_up_galaxy"]
    load_potential.cache_clear()


def test_flat_rotation_curve_has_r_g_of_lz_over_v0(made_up: str) -> None:
    lz = np.array([3.0, 100.0, 1900.0, -1900.0, 2e4])
    rg = guiding_radius(lz, Potential(f"{made_up}:flat", {"v0": 230.0}))
    np.testing.assert_allclose(rg, np.abs(lz) / 230.0, rtol=1e-10)
    np.testing.assert_allclose(
        circular_velocity([0.1, 3.0, 60.0], Potential(f"{made_up}:flat", {"v0": 230.0})),
        230.0,
        rtol=1e-12,
    )


def test_miyamoto_nagai_rotation_curve(made_up: str) -> None:
    """v_c² = G M R²/(R² + (a + b)²)^(3/2), with v_c(1) = 1."""
    R = np.geomspace(0.2, 40.0, 30)
    x, s = R / 8.27, 0.45
    expected = 236.0 * x / (x**2 + s**2) ** 0.75 * (1 + s**2) ** 0.75
    np.testing.assert_allclose(circular_velocity(R, f"{made_up}:disc"), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["MWPotential2014", "Irrgang13I"])
@pytest.mark.parametrize("scaling", ["rescaled", "native"])
def test_agrees_with_galpy_rguiding(name: str, scaling: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from galpy.orbit import Orbit

    frame = get_frame("vickers2021")
    ro, vo = (frame.r0, frame.v0) if scaling == "rescaled" else POTENTIALS[name]
    for R, v_phi in ((8.0, 220.0), (3.0, 150.0), (14.0, 260.0), (8.3, 60.0)):
        pot = load_potential(name)
        # galpy will not mix an orbit's units with another potential's own: natural units then.
        mixed = name != "MWPotential2014" and scaling == "rescaled"
        units = {} if mixed else {"ro": ro, "vo": vo}
        orbit = Orbit([R / ro, 0.1, v_phi / vo, 0.02, 0.05, 0.0], **units)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = ro * float(orbit.rguiding(pot=pot, use_physical=False))
        assert guiding_radius(R * v_phi, Potential(name, scaling=scaling)) == pytest.approx(
            theirs, rel=1e-8
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(POTENTIALS))
def test_agrees_with_root_finding(name: str) -> None:
    from galpy.potential import evaluateRforces

    potential = load_potential(name)

    def momentum(R: float) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return R**1.5 * np.sqrt(-evaluateRforces(potential, R, 0.0, use_physical=False))

    for lz in (0.05, 0.4, 1.0, 2.0):
        root = brentq(lambda R, lz=lz: momentum(R) - lz, 1e-3, 50.0, xtol=1e-14, rtol=1e-13)
        ours = guiding_radius(lz, Potential(name, SolarFrame(r0=1.0, v0=1.0)))
        assert ours == pytest.approx(root, rel=1e-9)


def test_circular_orbit_is_its_own_guiding_radius() -> None:
    R = np.geomspace(0.1, 100.0, 400)
    lz = R * circular_velocity(R, "MWPotential2014")
    np.testing.assert_allclose(guiding_radius(lz, "MWPotential2014"), R, rtol=1e-10)


def test_rises_with_angular_momentum_and_is_even_in_it() -> None:
    lz = np.geomspace(1e-3, 1e6, 5000)
    rg = guiding_radius(lz, "MWPotential2014")
    assert np.all(np.diff(rg) > 0)
    np.testing.assert_array_equal(guiding_radius(-lz, "MWPotential2014"), rg)
    assert guiding_radius(0.0, "MWPotential2014") == 0.0
    assert np.isnan(guiding_radius(np.nan, "MWPotential2014"))
    np.testing.assert_array_equal(
        np.isnan(circular_velocity([-1.0, 0.0, np.nan], "MWPotential2014")), True
    )


def test_rescaling_is_a_change_of_units() -> None:
    """R_g(λ_R λ_v L; λ_R R₀, λ_v V₀) = λ_R R_g(L; R₀, V₀)."""
    small, large = SolarFrame(r0=8.0, v0=220.0), SolarFrame(r0=8.8, v0=275.0)
    lz = np.linspace(300.0, 3000.0, 50)
    np.testing.assert_allclose(
        guiding_radius(lz * 1.1 * 1.25, Potential("MWPotential2014", large)),
        1.1 * guiding_radius(lz, Potential("MWPotential2014", small)),
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        guiding_radius(lz, Potential("MWPotential2014", large, "native")),
        guiding_radius(lz, Potential("MWPotential2014", small)),
        rtol=1e-13,
    )


def test_names_that_are_not_known(made_up: str) -> None:
    with pytest.raises(OrbitError, match="did you mean 'McMillan17'"):
        guiding_radius(1800.0, "McMillan2017")
    with pytest.raises(OrbitError, match="Valid: native, rescaled"):
        Potential("MWPotential2014", scaling="natural")
    with pytest.raises(OrbitError, match="cannot import"):
        guiding_radius(1800.0, "no_such_module:potential")
    with pytest.raises(OrbitError, match="not axisymmetric"):
        guiding_radius(1800.0, f"{made_up}:arms")
