"""Real stars: the HARPS-GTO dwarfs, with phase space and energies computed by others.

Delgado Mena et al. (2017) with Gaia DR2 motions; the table's frame is R₀ = 8.3 kpc,
V₀ = 220 km/s, the motion of Schönrich et al. (2010), the Sun 14 pc up but the plane not tilted, and
galpy's MWPotential2014. Its `Rc` is L_z/V₀. Its `zmax`, `rperi`, `rap`, `ecc` (in units of R₀) are
not orbits of these stars: they come out where the start handed to galpy, which wants
(R, v_R, v_T, z, v_z), is taken as (R, z, v_T, v_R, v_z). From that start they test the integrator
all the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from migrate_bayes.orbits.coordinates import observed_to_phase_space, to_cylindrical
from migrate_bayes.orbits.extrema import orbit_extrema
from migrate_bayes.orbits.frame import SolarFrame
from migrate_bayes.orbits.kernel.spline import potential_block
from migrate_bayes.orbits.potential import Potential, circular_velocity, guiding_radius

FRAME = SolarFrame(r0=8.3, v0=220.0, u=11.1, v=12.24, w=7.25)
HERE = Potential("MWPotential2014", FRAME)
Columns = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def harps(shared_data: Callable[[str], Path]) -> Columns:
    from astropy.table import Table

    names = (
        "_RAJ2000", "_DEJ2000", "dist_FA", "pmRA_FA", "pmDE_FA", "RV_Adi", "Xg", "Yg", "Zg",
        "vXg", "vYg", "vZg", "Rg", "vRg", "vPhig", "Lz", "Rc", "vcirc_g", "E",
        "zmax", "rperi", "rap",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = Table.read(shared_data("harps_gto/DelgadoMena2017.fits"), hdu=1)
    columns = {
        name: np.ma.filled(np.ma.asarray(table[name]).astype(float), np.nan) for name in names
    }
    assert all(np.isfinite(column).all() for column in columns.values())
    return columns


def test_phase_space(harps: Columns) -> None:
    sky = ("_RAJ2000", "_DEJ2000", "dist_FA", "pmRA_FA", "pmDE_FA", "RV_Adi")
    x, y, z, vx, vy, vz = observed_to_phase_space(*(harps[name] for name in sky), frame=FRAME)
    # Single precision in the table, in whose frame x grows outwards; its Sun stands 14 pc up.
    np.testing.assert_allclose(-x, harps["Xg"], atol=1e-3)
    np.testing.assert_allclose(y, harps["Yg"], atol=1e-6)
    np.testing.assert_allclose(z, harps["Zg"] - 0.014, atol=5e-4)
    np.testing.assert_allclose(-vx, harps["vXg"], atol=0.5)
    np.testing.assert_allclose(vy, harps["vYg"], atol=0.05)
    np.testing.assert_allclose(vz, harps["vZg"], atol=0.5)
    # The tilt, 14 pc in 8.3 kpc, is what is left: 0.1 km/s for a star at 60 km/s.
    assert np.median(np.abs(vz - harps["vZg"])) < 0.1
    _, _, v_phi = to_cylindrical(x, y, vx, vy)
    np.testing.assert_allclose(v_phi, harps["vPhig"], atol=0.1)


def test_circular_velocity_and_energy(harps: Columns) -> None:
    R, z = harps["Rg"], harps["Zg"]
    np.testing.assert_allclose(circular_velocity(R, HERE), harps["vcirc_g"], rtol=1e-7)
    kinetic = 0.5 * (harps["vRg"] ** 2 + harps["vPhig"] ** 2 + harps["vZg"] ** 2) / 220.0**2
    phi = potential_block(R / 8.3, z / 8.3, HERE.table)
    np.testing.assert_allclose(phi + kinetic, harps["E"], atol=2e-7)


def test_guiding_radius(harps: Columns) -> None:
    """`Rc` is that of a flat curve of 220 km/s: equal at R₀, and as v_c departs from it beyond."""
    lz = harps["Lz"] * 8.3 * 220.0
    np.testing.assert_allclose(harps["Rc"], lz / 220.0, rtol=1e-6)
    rg = guiding_radius(lz, HERE)
    np.testing.assert_allclose(
        rg / np.abs(harps["Rc"]), 220.0 / circular_velocity(rg, HERE), rtol=1e-6
    )
    disc = (harps["Rc"] > 6.0) & (harps["Rc"] < 10.0)
    np.testing.assert_allclose(rg[disc], harps["Rc"][disc], rtol=0.03)
    # v_c = V0 at R0: there, and only there, both are the same.
    near = np.abs(harps["Rc"] - 8.3) < 0.1
    np.testing.assert_allclose(rg[near], harps["Rc"][near], rtol=2e-3)


def test_orbits_from_the_start_the_table_used(harps: Columns) -> None:
    orbit = orbit_extrema(
        harps["Rg"], harps["Zg"] / 8.3 * 220.0, harps["vPhig"], harps["vRg"] / 220.0 * 8.3,
        harps["vZg"], HERE,
    )  # fmt: skip
    assert not orbit.failed.any()
    for ours, theirs, within, mostly in (
        (orbit.zmax / 8.3, "zmax", 1e-3, 0.02),
        (orbit.r_peri / 8.3, "rperi", 1e-3, 0.01),
        (orbit.r_apo / 8.3, "rap", 1e-3, 0.01),
    ):
        error = np.abs(ours / harps[theirs] - 1)
        assert np.median(error) < within, theirs
        assert np.quantile(error, 0.95) < mostly, theirs


def test_heights_of_the_table_are_a_staeckel_estimate(harps: Columns) -> None:
    """Of galpy's, delta = 0.4, from the interchanged start: hence ours differ by more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from galpy.actionAngle import actionAngleStaeckel
        from galpy.potential import MWPotential2014

        estimate = actionAngleStaeckel(pot=MWPotential2014, delta=0.4, c=True)
        _, zmax, peri, apo = estimate.EccZmaxRperiRap(
            harps["Rg"] / 8.3, harps["Zg"] / 8.3, harps["vPhig"] / 220.0, harps["vRg"] / 220.0,
            harps["vZg"] / 220.0,
        )  # fmt: skip
    for theirs, name, within in ((zmax, "zmax", 1e-4), (apo, "rap", 1e-4), (peri, "rperi", 2e-3)):
        assert np.median(np.abs(theirs / harps[name] - 1)) < within, name
    # The stars' own start gives something else altogether.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = estimate.EccZmaxRperiRap(
            harps["Rg"] / 8.3, harps["vRg"] / 220.0, harps["vPhig"] / 220.0, harps["Zg"] / 8.3,
            harps["vZg"] / 220.0,
        )[1]  # fmt: skip
    assert np.median(np.abs(own / harps["zmax"] - 1)) > 0.5


def test_orbits_of_the_stars_enclose_them(harps: Columns) -> None:
    R, z = harps["Rg"], harps["Zg"]
    orbit = orbit_extrema(R, harps["vRg"], harps["vPhig"], z, harps["vZg"], HERE)
    assert not orbit.failed.any()
    assert np.all((orbit.r_peri <= R * 1.0001) & (orbit.r_apo >= R))
    assert np.all(orbit.zmax >= np.abs(z))
    # Nearby dwarfs: the thin disc's height, a few hundred parsecs.
    assert 0.1 < np.median(orbit.zmax) < 0.4
