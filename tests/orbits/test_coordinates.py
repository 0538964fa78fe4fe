"""Sky to Galaxy and back: closed form, round trip, and astropy as the independent code."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from migrate_bayes.core.errors import OrbitError
from migrate_bayes.orbits.coordinates import (
    ICRS_TO_GALACTIC,
    from_cylindrical,
    observed_to_phase_space,
    phase_space_to_observed,
    to_cylindrical,
    transform_arrays,
)
from migrate_bayes.orbits.frame import FRAMES, SolarFrame, get_frame


def _sky(n: int = 200, seed: int = 3) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return (
        rng.uniform(0, 360, n),
        np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
        rng.uniform(0.05, 12.0, n),
        rng.normal(0, 40, n),
        rng.normal(0, 40, n),
        rng.normal(0, 120, n),
    )


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_round_trip(name: str) -> None:
    sky = _sky()
    back = phase_space_to_observed(*observed_to_phase_space(*sky, frame=name), frame=name)
    for there, here in zip(sky, back, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_agrees_with_astropy(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import astropy.units as u
        from astropy.coordinates import (
            ICRS,
            CartesianDifferential,
            CartesianRepresentation,
            Galactocentric,
        )
    frame, sky = get_frame(name), _sky()
    centre, pole = ICRS_TO_GALACTIC[0], ICRS_TO_GALACTIC[2]
    ra0, dec0 = np.arctan2(centre[1], centre[0]), np.arcsin(centre[2])
    # astropy turns the sky about the line to the centre so that its own pole comes out on top,
    # by an angle it knows to a few digits; ours is the angle between the two norths.
    north = np.array([-np.sin(dec0) * np.cos(ra0), -np.sin(dec0) * np.sin(ra0), np.cos(dec0)])
    east = np.array([-np.sin(ra0), np.cos(ra0), 0.0])
    roll = np.arctan2(pole @ east, pole @ north) * u.rad + Galactocentric.get_roll0()
    there = Galactocentric(
        galcen_coord=ICRS(ra=ra0 * u.rad, dec=dec0 * u.rad),
        galcen_distance=frame.r0 * u.kpc,
        galcen_v_sun=CartesianDifferential([frame.u, frame.v0 + frame.v, frame.w] * u.km / u.s),
        z_sun=frame.z_sun * u.kpc,
        roll=roll,
    )
    ra, dec, d, pmra, pmdec, rv = sky
    stars = ICRS(
        ra=ra * u.deg, dec=dec * u.deg, distance=d * u.kpc, pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr, radial_velocity=rv * u.km / u.s,
    )  # fmt: skip
    theirs = stars.transform_to(there)
    assert isinstance(theirs.data, CartesianRepresentation)
    x, y, z, vx, vy, vz = observed_to_phase_space(*sky, frame=frame)
    position = theirs.cartesian.xyz.to_value(u.kpc)
    motion = theirs.velocity.d_xyz.to_value(u.km / u.s)
    np.testing.assert_allclose(np.stack([x, y, z]), position, rtol=0, atol=1e-10 * 12)
    np.testing.assert_allclose(np.stack([vx, vy, vz]), motion, rtol=0, atol=1e-10 * 4000)


def test_rotation_matrix_is_proper_and_published() -> None:
    np.testing.assert_allclose(ICRS_TO_GALACTIC @ ICRS_TO_GALACTIC.T, np.eye(3), atol=1e-15)
    assert np.linalg.det(ICRS_TO_GALACTIC) == pytest.approx(1.0, abs=1e-14)
    # Hipparcos catalogue (ESA 1997), volume 1, equation 1.5.11, transposed.
    published = [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [+0.4941094279, -0.4448296300, +0.7469822445],
        [-0.8676661490, -0.1980763734, +0.4559837762],
    ]
    np.testing.assert_allclose(ICRS_TO_GALACTIC, published, atol=1e-9)


def test_star_moving_with_the_local_standard_of_rest() -> None:
    """What stands at the Sun's radius on a circular orbit has v_phi = v0 and nothing else."""
    frame = get_frame("vickers2021")
    x, y = frame.r0 * np.cos(np.radians(170.0)), frame.r0 * np.sin(np.radians(170.0))
    vx, vy = from_cylindrical(x, y, 0.0, frame.v0)
    sky = phase_space_to_observed(x, y, 0.0, vx, vy, 0.0)
    x2, y2, _, vx2, vy2, vz2 = observed_to_phase_space(*sky)
    radius, v_r, v_phi = to_cylindrical(x2, y2, vx2, vy2)
    assert radius == pytest.approx(frame.r0, abs=1e-12)
    np.testing.assert_allclose([v_r, v_phi, vz2], [0.0, frame.v0, 0.0], atol=1e-10)


def test_sun_stands_where_the_paper_puts_it_and_rotates_with_the_disc() -> None:
    x, y, z, vx, vy, vz = observed_to_phase_space(10.0, 20.0, 1e-12, 0.0, 0.0, 0.0)
    np.testing.assert_allclose([x, y, z], [-8.27, 0.0, 0.0], atol=1e-11)
    np.testing.assert_allclose([vx, vy, vz], [13.0, 236.0 + 12.24, 7.24], atol=1e-11)
    assert to_cylindrical(x, y, vx, vy)[2] == pytest.approx(248.24)


def test_height_of_the_sun_leaves_its_distance() -> None:
    origin = transform_arrays(SolarFrame(r0=8.2, z_sun=0.5)).origin
    assert np.linalg.norm(origin) == pytest.approx(8.2, rel=1e-15)
    assert origin[2] == pytest.approx(0.5, rel=1e-15)


def test_left_handed_axes_turn_x_and_nothing_else() -> None:
    sky = _sky()
    right = observed_to_phase_space(*sky)
    frame = get_frame({"handedness": "left"})
    left = observed_to_phase_space(*sky, frame=frame)
    for k, sign in enumerate((-1, 1, 1, -1, 1, 1)):
        np.testing.assert_array_equal(left[k], sign * right[k])
    back = phase_space_to_observed(*left, frame=frame)
    for there, here in zip(sky, back, strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-10, atol=1e-10)
    x, y, _, vx, vy, _ = right
    mine = to_cylindrical(left[0], left[1], left[3], left[4], handedness="left")
    np.testing.assert_array_equal(mine, to_cylindrical(x, y, vx, vy))
    again = from_cylindrical(left[0], left[1], mine[1], mine[2], handedness="left")
    np.testing.assert_allclose(again, (left[3], left[4]), rtol=1e-10, atol=1e-10)


def test_presets_say_what_the_literature_says() -> None:
    """The proper motion of Sgr A*, 6.411 ± 0.008 mas/yr (Reid & Brunthaler 2020), times R0."""
    gravity = FRAMES["gravity2019"]
    assert gravity.v_sun == pytest.approx(4.740470463533348 * 6.411 * gravity.r0, abs=0.05)
    assert gravity.r0 == 8.178
    # Bland-Hawthorn & Gerhard: 248 ± 3 km/s in all. The paper's frame has 248.24.
    assert FRAMES["bland-hawthorn2016"].v_sun == pytest.approx(248, abs=3)
    assert FRAMES["vickers2021"].v_sun == pytest.approx(248.24)


def test_frame_errors_name_the_remedy() -> None:
    with pytest.raises(OrbitError, match="did you mean 'vickers2021'"):
        get_frame("vickers2020")
    with pytest.raises(OrbitError, match="Valid: base, handedness, name, r0"):
        get_frame({"ro": 8.0})
    with pytest.raises(OrbitError, match="v0 must be positive"):
        get_frame({"v0": -220.0})
    with pytest.raises(OrbitError, match="must be a number"):
        get_frame({"r0": "8 kpc"})
    with pytest.raises(OrbitError, match="'right' or 'left'"):
        get_frame({"handedness": "both"})
    assert get_frame({"base": "gravity2019", "v": 11.1}).r0 == FRAMES["gravity2019"].r0
