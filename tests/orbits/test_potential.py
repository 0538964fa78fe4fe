"""A potential as one object, and quantities with units at the doors of the orbit functions."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

from migrate_bayes.core.errors import OrbitError, UnitError
from migrate_bayes.orbits import (
    OrbitOptions,
    Potential,
    SolarFrame,
    circular_velocity,
    guiding_radius,
    observed_to_phase_space,
    orbit_extrema,
)

NAME = "MWPotential2014"


def test_a_potential_says_what_it_is() -> None:
    rescaled = Potential(NAME, {"r0": 8.0})
    assert repr(rescaled) == f"Potential('{NAME}', rescaled to R0 = 8 kpc, V0 = 236 km/s)"
    native = Potential("McMillan17", "gravity2019", "native")
    assert repr(native) == "Potential('McMillan17', native, R0 = 8.21 kpc, V0 = 233.1 km/s)"
    assert native.units == (8.21, 233.1)
    assert Potential.of(NAME) == Potential(NAME, "vickers2021", "rescaled")
    assert Potential.of(native) is native
    assert len({Potential(NAME), Potential(NAME), native}) == 2


def test_a_users_potential_is_imported_from_its_file(tmp_path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("halo = __import__('galpy.potential').potential.LogarithmicHaloPotential()\n")
    halo = Potential(f"{path}:halo")
    assert halo.units == (8.27, 236.0)
    assert hasattr(halo.galpy, "_Rforce")


def test_quantities_are_converted_and_other_dimensions_refused() -> None:
    plain = orbit_extrema(8.0, 10.0, 220.0, 0.1, 15.0, NAME, span=0.5)
    speed = u.km / u.s
    given = orbit_extrema(
        8000 * u.pc, 1e4 * u.m / u.s, 220 * speed, 100 * u.pc, 15 * speed, NAME, span=0.5
    )
    assert given.zmax == pytest.approx(float(plain.zmax), rel=1e-12)
    momentum = 8000 * u.pc * 220 * speed
    np.testing.assert_allclose(guiding_radius(momentum, NAME), guiding_radius(1760.0, NAME))
    one = observed_to_phase_space(10.0, 20.0, 0.5, 5.0, -8.0, 12.0)
    two = observed_to_phase_space(
        10 * u.deg, 20 * u.deg, 500 * u.pc, 5e3 * u.uas / u.yr, -8 * u.mas / u.yr, 12 * speed
    )
    np.testing.assert_allclose(two, one)
    with pytest.raises(UnitError, match="not convertible"):
        circular_velocity(3 * u.deg, NAME)


def test_options_take_a_frame() -> None:
    frame = SolarFrame(r0=8.1, name="mine")
    assert OrbitOptions(frame=frame).frame == frame.as_dict()  # type: ignore[arg-type]
    with pytest.raises(OrbitError, match="did you mean 'McMillan17'"):
        Potential("McMillan2017")
