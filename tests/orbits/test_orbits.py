"""From a catalogue to orbits: flags, reproducibility, moments, attributes."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.errors import CatalogError, CatalogWarning, OrbitError, RecipeError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.orbits import (
    compute_orbits,
    guiding_radius,
    observed_to_phase_space,
    orbit_extrema,
    phase_space_to_observed,
    to_cylindrical,
)
from migrate_bayes.selection import select
from migrate_bayes.stars import assemble_stars

NAME = "MWPotential2014"
Make = Callable[..., xr.Dataset]
FAST = {"potentials": (NAME,), "show_progress": False, "span": 1.0}


def _same(one: xr.Dataset, two: xr.Dataset) -> None:
    assert set(one.data_vars) == set(two.data_vars)
    for name in one.data_vars:
        np.testing.assert_array_equal(one[name].values, two[name].values, err_msg=str(name))


def test_follows_the_contract(make_catalog: Make) -> None:
    catalog = make_catalog(30)
    orbits = compute_orbits(catalog, potentials=(NAME, "Irrgang13I"), zmax_potentials=[NAME], **{
        k: v for k, v in FAST.items() if k != "potentials"
    })  # fmt: skip
    assert orbits.sizes == {"star": 30, "potential": 2}
    assert orbits["potential"].values.tolist() == [NAME, "Irrgang13I"]
    np.testing.assert_array_equal(orbits["source_id"], catalog["source_id"])
    for name in ("x", "y", "z", "v_r", "v_phi", "v_z", "r_present"):
        assert orbits[name].dims == ("star",)
        assert np.all(orbits[name + "_sd"] > 0)
    for name, variable in orbits.data_vars.items():
        assert "units" in variable.attrs, name
        assert variable.attrs["long_name"], name
    assert orbits["flag"].dtype == np.int32
    assert orbits["rg_mean"].notnull().all()
    assert orbits["zmax"].sel(potential=NAME).notnull().all()
    assert orbits["zmax"].sel(potential="Irrgang13I").isnull().all()
    assert json.loads(orbits.attrs["solar_frame"])["r0"] == 8.27
    assert orbits.attrs["scaling"] == "rescaled"


def test_chunks_order_and_workers_do_not_matter(make_catalog: Make) -> None:
    catalog = make_catalog(60)
    whole = compute_orbits(catalog, workers=1, **FAST)
    parts = [
        compute_orbits(catalog.isel(star=part), workers=2, **FAST)
        for part in (slice(0, 7), slice(7, 41), slice(41, 60))
    ]
    _same(xr.concat(parts, "star", data_vars="all"), whole)
    order = np.random.default_rng(3).permutation(60)
    _same(compute_orbits(catalog.isel(star=order), **FAST), whole.isel(star=order))
    other = compute_orbits(catalog, seed=1, **FAST)
    assert np.all(other["rg_mean"] != whole["rg_mean"])


def test_without_errors_the_draws_are_the_star(make_catalog: Make) -> None:
    catalog = make_catalog(20)
    catalog = catalog.drop_vars([
        "pmra_error", "pmdec_error", "radial_velocity_error", "distance_lo", "distance_hi",
    ])  # fmt: skip
    orbits = compute_orbits(catalog, **FAST)
    columns = ("ra", "dec", "distance", "pmra", "pmdec", "radial_velocity")
    x, y, z, vx, vy, vz = observed_to_phase_space(*(catalog[name].values for name in columns))
    R, v_r, v_phi = to_cylindrical(x, y, vx, vy)
    for name, value in zip(
        ("x", "y", "z", "v_r", "v_phi", "v_z", "r_present"), (x, y, z, v_r, v_phi, vz, R),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(orbits[name], value, rtol=1e-13, atol=1e-13)
        np.testing.assert_array_equal(orbits[name + "_sd"], 0.0)
    np.testing.assert_allclose(orbits["rg_mean"][:, 0], guiding_radius(R * v_phi, NAME), rtol=1e-13)
    expected = orbit_extrema(R, v_r, v_phi, z, vz, NAME, span=1.0)
    np.testing.assert_allclose(orbits["zmax"][:, 0], expected.zmax, rtol=1e-10)
    np.testing.assert_allclose(orbits["ln_zmax_mean"][:, 0], np.log(expected.zmax), atol=1e-5)
    np.testing.assert_allclose(orbits["ln_zmax_sd"][:, 0], 0.0, atol=2e-5)
    exact = compute_orbits(catalog, zmax_draws=3, **FAST)
    np.testing.assert_allclose(exact["ln_zmax_mean"][:, 0], np.log(expected.zmax), rtol=1e-10)
    assert not orbits["flag"].any()
    assert "pmra_error" in json.loads(orbits.attrs["errors_taken_as_zero"])


def test_spread_of_the_draws_follows_the_errors(make_catalog: Make) -> None:
    """Towards the pole, v_z varies as the radial velocity and R_g as the motion along rotation."""
    one = make_catalog(1)
    x, y, z, vx, vy, vz = -8.27, 0.0, 1.0, 10.0, 230.0, 5.0
    values = phase_space_to_observed(x, y, z, vx, vy, vz)
    columns = ("ra", "dec", "distance", "pmra", "pmdec", "radial_velocity")
    for name, value in zip(columns, values, strict=True):
        one[name] = ("star", np.array([value]))
    one["radial_velocity_error"] = ("star", np.array([3.0]))
    one["pmra_error"] = one["pmdec_error"] = ("star", np.array([0.5]))
    one["distance_lo"] = one["distance_hi"] = one["distance"]
    n = 20_000
    orbits = compute_orbits(one, draws=n, zmax_potentials=(), **FAST)
    assert orbits["v_z_sd"] == pytest.approx(3.0, rel=5 / np.sqrt(2 * n))
    expected = 4.740470463533348 * 0.5
    assert orbits["v_phi_sd"] == pytest.approx(expected, rel=5 / np.sqrt(2 * n))
    assert orbits["v_phi"] == pytest.approx(230.0, abs=5 * expected / np.sqrt(n))
    lz = 8.27 * 230.0
    step = 8.27 * expected
    slope = (guiding_radius(lz + step, NAME) - guiding_radius(lz - step, NAME)) / 2
    assert orbits["rg_sd"].item() == pytest.approx(slope, rel=0.03)


def test_correlated_proper_motions(make_catalog: Make) -> None:
    """Var of μ_α a + μ_δ b is a'Ca: with correlation ±1 the motions add or cancel."""
    one = make_catalog(1)
    one["ra"], one["dec"] = ("star", [266.4]), ("star", [-28.94])
    one["distance_lo"] = one["distance_hi"] = one["distance"]
    one["radial_velocity_error"] = ("star", [0.0])
    one["pmra_error"] = one["pmdec_error"] = ("star", np.array([1.0]))
    spread = {}
    for corr in (-0.9, 0.0, 0.9):
        one["pmra_pmdec_corr"] = ("star", [corr])
        orbits = compute_orbits(one, draws=4000, zmax_potentials=(), **FAST)
        assert not orbits["flag"].any()
        spread[corr] = np.array([orbits["v_phi_sd"].item(), orbits["v_z_sd"].item()])
    unit = 4.740470463533348 * one["distance"].item()
    np.testing.assert_allclose(spread[0.0], unit, rtol=0.05)
    # Towards the centre, Galactic north and rotation are 58.6° from celestial north.
    twice = 2 * np.radians(58.6)
    for corr in (-0.9, 0.9):
        mixed = unit * np.sqrt(1 + corr * np.sin(twice) * np.array([1.0, -1.0]))
        np.testing.assert_allclose(spread[corr], mixed, rtol=0.06)


def test_bad_stars_are_flagged_and_kept(make_catalog: Make) -> None:
    catalog = make_catalog(12)
    zero = xr.zeros_like(catalog["ra"])
    for name in ("ra_dec_corr", "ra_pmra_corr", "dec_pmra_corr", "pmra_pmdec_corr"):
        catalog[name] = zero.copy()
    clean = compute_orbits(catalog, **FAST)

    def spoil(name: str, star: int, value: float) -> None:
        catalog[name].values[star] = value

    spoil("pmra", 0, np.nan)
    spoil("radial_velocity", 1, np.inf)
    spoil("distance", 2, -1.0)
    spoil("distance", 3, np.nan)
    spoil("radial_velocity_error", 4, np.nan)
    spoil("pmra_error", 5, -0.1)
    spoil("pmra_pmdec_corr", 6, 1.0)
    spoil("pmra_pmdec_corr", 7, np.nan)
    spoil("radial_velocity", 8, 5000.0)
    spoil("distance_hi", 9, catalog["distance"].values[9] - 0.01)
    orbits = compute_orbits(catalog, **FAST)
    flags = [StarFlag(int(value)) for value in orbits["flag"].values]
    assert flags[0] == StarFlag.MISSING_ASTROMETRY
    assert flags[1] == StarFlag.MISSING_RADIAL_VELOCITY
    assert flags[2] == flags[3] == StarFlag.BAD_DISTANCE
    assert flags[4] == flags[5] == flags[9] == StarFlag.UNKNOWN_KINEMATIC_ERROR
    assert flags[6] == flags[7] == StarFlag.BAD_COVARIANCE
    assert StarFlag.UNBOUND in flags[8]
    assert flags[10] == flags[11] == StarFlag(0)
    for name in ("x", "v_phi", "rg_mean", "zmax", "ln_zmax_sd"):
        values = orbits[name].values.reshape(12, -1)
        assert np.isnan(values[2:4]).all()
        # Without a velocity a star has its place.
        assert (np.isfinite(values[:2]) == (name == "x")).all()
        assert np.isfinite(values[[4, 5, 6, 7, 9, 10, 11]]).all()
    assert np.isnan(orbits["zmax"].values[8])
    assert np.isfinite(orbits["rg_mean"].values[8])
    _same(orbits.isel(star=[10, 11]), clean.isel(star=[10, 11]))


def test_retrograde_star_is_flagged(make_catalog: Make) -> None:
    one = make_catalog(2)
    for vy, star in ((-150.0, 0), (150.0, 1)):
        sky = phase_space_to_observed(-8.0, 0.1, 0.2, 20.0, vy, 10.0)
        columns = ("ra", "dec", "distance", "pmra", "pmdec", "radial_velocity")
        for name, value in zip(columns, sky, strict=True):
            one[name].values[star] = value
        one["distance_lo"].values[star] = one["distance_hi"].values[star] = sky[2]
    orbits = compute_orbits(one, **FAST)
    assert StarFlag(int(orbits["flag"][0])) == StarFlag.RETROGRADE
    assert orbits["flag"][1] == 0
    assert orbits["v_phi"][0] < 0
    assert orbits["rg_mean"][0].item() > 0


def test_catalogue_of_unusable_stars(make_catalog: Make) -> None:
    catalog = make_catalog(3)
    catalog["distance"].values[:] = np.nan
    orbits = compute_orbits(catalog, **FAST)
    assert (orbits["flag"] == int(StarFlag.BAD_DISTANCE)).all()
    assert orbits["rg_mean"].isnull().all()


def test_places_need_no_velocities(make_catalog: Make) -> None:
    catalog = make_catalog(20)
    whole = compute_orbits(catalog, **FAST)
    with pytest.warns(CatalogWarning, match="no pmra, radial_velocity: .* no orbits"):
        still = compute_orbits(catalog.drop_vars(["pmra", "radial_velocity"]), **FAST)
    for name in ("x", "y", "z", "r_present", "r_present_sd", "distance_mean", "distance_sd"):
        np.testing.assert_allclose(still[name], whole[name], rtol=1e-5, err_msg=name)
    for name in ("v_r", "v_phi", "v_z", "v_phi_sd", "rg_mean", "rg_sd", "zmax", "ln_zmax_mean"):
        assert still[name].isnull().all(), name
    assert still.attrs["velocities"] == "none"
    expected = StarFlag.MISSING_ASTROMETRY | StarFlag.MISSING_RADIAL_VELOCITY
    assert (still["flag"] == int(expected)).all()
    joined = assemble_stars(catalog, orbits=still)
    assert select(joined, "all", potential=NAME).all()
    joined["r_present"][3] = np.nan
    assert np.flatnonzero(~select(joined, "all", potential=NAME).values).tolist() == [3]


def test_absurd_guiding_radii_are_flagged_and_not_usable(make_catalog: Make) -> None:
    catalog = make_catalog(6)
    catalog["radial_velocity_error"].values[1] = 1e6
    catalog["distance_hi"].values[2] = 1e5
    catalog["distance"].values[3] = catalog["distance_lo"].values[3] = 1e4
    catalog["distance_hi"].values[3] = 1e4
    orbits = compute_orbits(catalog, potentials=[NAME], zmax_potentials=(), draws=20)
    absurd = (orbits["flag"].values & StarFlag.ABSURD_RADIUS) != 0
    assert absurd.tolist() == [False, True, True, True, False, False]
    mask = select(assemble_stars(catalog, orbits=orbits), "all", potential=NAME)
    assert mask.values.tolist() == (~absurd).tolist()


def test_errors_say_what_to_do(make_catalog: Make) -> None:
    catalog = make_catalog(3)
    with pytest.raises(CatalogError, match="without the columns ra, distance"):
        compute_orbits(catalog.drop_vars(["ra", "distance", "parallax"]))
    with pytest.raises(OrbitError, match="did you mean 'Irrgang13I'"):
        compute_orbits(catalog, potentials=["Irrgang13"])
    with pytest.raises(RecipeError, match="'draws': Input should be greater than 1"):
        compute_orbits(catalog, draws=1)
    with pytest.raises(OrbitError, match="zmax_draws"):
        compute_orbits(catalog, zmax_draws=1)
    with pytest.raises(OrbitError, match="Z_max asked in 'McMillan17'"):
        compute_orbits(catalog, potentials=[NAME], zmax_potentials=["McMillan17"])
    with pytest.raises(OrbitError, match="each once"):
        compute_orbits(catalog, potentials=[NAME, NAME])
    with pytest.raises(OrbitError, match="seed"):
        compute_orbits(catalog, seed=-1)


def test_joint_moments_are_those_of_integrated_draws(make_catalog: Make) -> None:
    """Stäckel differences against integrating each of the same draws: mean, sd and covariances."""
    catalog = make_catalog(80, seed=4)
    long = FAST | {"span": 5.0, "draws": 60}
    quick = compute_orbits(catalog, **long).isel(potential=0)
    exact = compute_orbits(catalog, zmax_draws=60, **long).isel(potential=0)
    for name in ("rg_mean", "rg_sd", "distance_mean", "distance_sd", "cov_rg_distance", "zmax"):
        np.testing.assert_array_equal(quick[name], exact[name], err_msg=name)
    sd = exact["ln_zmax_sd"]
    shift = np.abs(quick["ln_zmax_mean"] - exact["ln_zmax_mean"]) / sd
    assert np.median(shift) < 0.02
    assert np.quantile(shift, 0.95) < 0.2
    ratio = quick["ln_zmax_sd"] / sd
    assert np.median(np.abs(ratio - 1)) < 0.02
    assert np.quantile(np.abs(ratio - 1), 0.9) < 0.08
    for other, name in (("rg", "cov_rg_ln_zmax"), ("distance", "cov_ln_zmax_distance")):
        difference = np.abs(quick[name] - exact[name]) / (sd * exact[other + "_sd"])
        assert np.median(difference) < 0.01, name
        assert np.quantile(difference, 0.9) < 0.1, name
        assert np.all(np.abs(quick[name]) <= quick["ln_zmax_sd"] * quick[other + "_sd"])
    # They do depend on each other: all three share the distance.
    strong = np.abs(exact["cov_ln_zmax_distance"] / (sd * exact["distance_sd"]))
    assert np.median(strong) > 0.3


def test_moments_of_the_distance_are_those_of_the_two_pieces(make_catalog: Make) -> None:
    one = make_catalog(40)
    d = one["distance"].values
    one["distance_lo"].values[:], one["distance_hi"].values[:] = 0.95 * d, 1.1 * d
    orbits = compute_orbits(one, draws=4000, zmax_potentials=(), **FAST)
    mean = d + 0.05 * d / np.sqrt(2 * np.pi)
    variance = (0.05**2 + 0.1**2) / 2 * d**2 - (mean - d) ** 2
    np.testing.assert_allclose(orbits["distance_mean"], mean, rtol=0.006)
    np.testing.assert_allclose(orbits["distance_sd"], np.sqrt(variance), rtol=0.06)


def test_parallax_correlations_count_where_the_distance_is_the_parallax(make_catalog: Make) -> None:
    """With ϖ and μ_α* correlated by ρ, distance and the motion across are by -ρ, at first order."""
    one = make_catalog(1)
    sky = phase_space_to_observed(-6.27, 0.0, 0.0, 0.0, 230.0, 0.0)
    for name, value in zip(
        ("ra", "dec", "distance", "pmra", "pmdec", "radial_velocity"), sky, strict=True
    ):
        one[name].values[0] = value
    d = float(sky[2])
    one["pmra_error"].values[0] = one["pmdec_error"].values[0] = 0.05
    one["radial_velocity_error"].values[0] = 0.0
    one["distance_lo"].values[0], one["distance_hi"].values[0] = d - 0.01, d + 0.01
    covariance = {}
    for source in ("1/parallax where parallax/error > 10", "Bailer-Jones"):
        one["distance"].attrs["source"] = source
        for corr in (-0.8, 0.0, 0.8):
            one["parallax_pmdec_corr"] = ("star", [corr])
            orbits = compute_orbits(one, draws=4000, zmax_potentials=(), **FAST)
            assert not orbits["flag"].any()
            covariance[source[:1], corr] = orbits["cov_rg_distance"].item()
    scale = 0.01 * orbits["rg_sd"].item()
    assert covariance["B", 0.8] == covariance["B", 0.0] == covariance["1", 0.0]
    # pmdec towards the centre is mostly along rotation: the guiding radius follows it.
    rise, fall = (covariance["1", c] - covariance["1", 0.0] for c in (-0.8, 0.8))
    assert rise > 0.3 * scale
    assert fall < -0.3 * scale
    assert rise == pytest.approx(-fall, rel=0.15)
    one["distance"].attrs["source"] = "1/parallax"
    one["parallax_pmdec_corr"] = ("star", [1.0])
    assert compute_orbits(one, zmax_potentials=(), **FAST)["flag"] == int(StarFlag.BAD_COVARIANCE)


def test_sweep_is_paired_and_labelled(make_catalog: Make) -> None:
    catalog = make_catalog(20)
    settings = FAST | {"potentials": (NAME, "Irrgang13I")}
    swept = compute_orbits(catalog, sweep={"r0": [8.0, 8.27], "v0": [220, 236.0]}, **settings)
    assert swept.sizes["potential"] == 8
    assert swept["potential"].values[:2].tolist() == [
        f"{NAME} R0=8.0 V0=220.0", "Irrgang13I R0=8.0 V0=220.0",
    ]  # fmt: skip
    assert swept["potential"].values[-2:].tolist() == [NAME, "Irrgang13I"]
    np.testing.assert_array_equal(swept["r0"], [8.0] * 4 + [8.27] * 4)
    np.testing.assert_array_equal(swept["v0"], ([220.0] * 2 + [236.0] * 2) * 2)
    # Each entry is what a run of its own gives, from the same draws.
    for label, frame in ((f"{NAME} R0=8.0 V0=236.0", {"r0": 8.0, "v0": 236.0}), (NAME, {})):
        alone = compute_orbits(catalog, frame=frame, **FAST).isel(potential=0, drop=True)
        entry = swept.sel(potential=label, drop=True)
        for name in ("rg_mean", "rg_sd", "zmax", "ln_zmax_mean", "cov_rg_ln_zmax", "r_peri"):
            np.testing.assert_array_equal(entry[name], alone[name], err_msg=name)
    _same(
        swept[["x", "v_phi", "distance_mean"]],
        compute_orbits(catalog, **FAST)[["x", "v_phi", "distance_mean"]],
    )
    both = compute_orbits(
        catalog, sweep={"scaling": ["rescaled", "native"]}, zmax_potentials=(), **FAST
    )
    assert both["scaling"].values.tolist() == ["rescaled", "native"]
    assert both["potential"].values.tolist() == [NAME, f"{NAME} native"]
    native = compute_orbits(catalog, scaling="native", zmax_potentials=(), **FAST)
    np.testing.assert_array_equal(both["rg_mean"][:, 1], native["rg_mean"][:, 0])
    with pytest.raises(OrbitError, match="twice"):
        compute_orbits(catalog, sweep={"r0": [8.0, 8.0]}, **FAST)
    with pytest.raises(RecipeError, match="Valid: r0, scaling, v0"):
        compute_orbits(catalog, sweep={"R0": [8.0]}, **FAST)
    with pytest.raises(OrbitError, match="r0 is empty"):
        compute_orbits(catalog, sweep={"r0": []}, **FAST)


def test_poles_and_the_centre(make_catalog: Make) -> None:
    """|b| = 90° and |dec| = 90° are places like others; R < 0.1 kpc is told."""
    one = make_catalog(6)
    columns = ("ra", "dec", "distance", "pmra", "pmdec", "radial_velocity")
    places = [
        (-8.27, 0.0, 1.0, 10.0, 230.0, 5.0),  # north Galactic pole
        (-8.27, 0.0, -1.0, 10.0, 230.0, 5.0),
        (-0.05, 0.02, 0.1, 5.0, 100.0, 20.0),  # near the centre
        (-8.0, 0.1, 0.2, 0.0, 0.2, 0.0),  # at rest: L_z ≈ 0
    ]
    for star, place in enumerate(places):
        for name, value in zip(columns, phase_space_to_observed(*place), strict=True):
            one[name].values[star] = value
    for star, dec in ((4, 90.0), (5, -90.0)):
        one["dec"].values[star] = dec
    for name in ("distance_lo", "distance_hi"):
        one[name].values[:] = one["distance"].values
    orbits = compute_orbits(one, **FAST)
    flags = [StarFlag(int(value)) for value in orbits["flag"].values]
    assert flags[0] == flags[1] == StarFlag(0)
    assert StarFlag.NEAR_CENTRE in flags[2]
    assert StarFlag.NEAR_CENTRE in flags[3]
    for name in ("x", "rg_mean", "zmax", "ln_zmax_mean", "cov_rg_ln_zmax"):
        assert np.isfinite(orbits[name].values.reshape(6, -1)[[0, 1, 4, 5]]).all(), name
    np.testing.assert_allclose(orbits["z"][:2], [1.0, -1.0], atol=1e-6)


def test_left_handed_product_has_the_sun_at_positive_x(make_catalog: Make) -> None:
    catalog = make_catalog(10)
    right = compute_orbits(catalog, zmax_potentials=(), **FAST)
    left = compute_orbits(catalog, frame={"handedness": "left"}, zmax_potentials=(), **FAST)
    np.testing.assert_array_equal(left["x"], -right["x"])
    _same(left.drop_vars("x"), right.drop_vars("x"))
    assert left.attrs["convention"].startswith("left-handed axes, Sun at positive x")
