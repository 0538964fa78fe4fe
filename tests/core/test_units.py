"""A quantity is converted at every door, or refused: never taken as a plain number."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.table import Column
from astropy.utils.masked import Masked

from migrate_bayes import estimate_ages, external_ages, mark_duplicates, quality_cuts
from migrate_bayes.catalog.extinction import deredden, extinction_ratio
from migrate_bayes.core.errors import MigrateBayesError, UnitError
from migrate_bayes.core.units import in_unit
from migrate_bayes.isochrones import age_cdf, build_grid, draw_stars, isochrone
from migrate_bayes.orbits import (
    circular_velocity,
    compute_orbits,
    from_cylindrical,
    get_frame,
    guiding_radius,
    observed_to_phase_space,
    orbit_extrema,
    phase_space_to_observed,
    to_cylindrical,
)
from migrate_bayes.selection import compare, limits

P = "MWPotential2014"
KMS, MS, PC = u.km / u.s, u.m / u.s, u.pc
_ONE = {"ra": 1.0, "dec": 1.0, "snr_g": 60.0, "teff": 5772.0, "teff_error": 20.0, "logg": 4.4,
        "logg_error": 0.05, "feh": 0.0, "feh_error": 0.05, "age": 4.0, "age_lo": 3.0,
        "age_hi": 5.0, "distance": 0.1, "pmra": 1.0, "pmdec": 1.0,
        "radial_velocity": 3.0}  # fmt: skip
STAR = xr.Dataset({name: ("star", [value]) for name, value in _ONE.items()})

AGES = xr.Dataset(
    {"log_age_likelihood": (("star", "age"), np.zeros((1, 13))), "flag": ("star", [0]),
     "log_interim_prior": ("age", np.zeros(13))},
    coords={"age": np.arange(1.0, 14.0)}, attrs={"age_method": "fine"},
)  # fmt: skip

# A call with quantities, with the same plain numbers, and with one that is of no use there.
DOORS = {
    "orbit_extrema": (
        lambda: orbit_extrema(8000 * PC, 1e4 * MS, 220 * KMS, 0 * PC, 15 * KMS, P, span=1 * u.Gyr),
        lambda: orbit_extrema(8.0, 10.0, 220.0, 0.0, 15.0, P, span=1.0),
        lambda: orbit_extrema(8.0 * u.K, 10.0, 220.0, 0.0, 15.0, P),
    ),
    "span": (
        lambda: orbit_extrema(8.0, 10.0, 220.0, 0.0, 15.0, P, span=1e9 * u.yr),
        lambda: orbit_extrema(8.0, 10.0, 220.0, 0.0, 15.0, P, span=1.0),
        lambda: orbit_extrema(8.0, 10.0, 220.0, 0.0, 15.0, P, span=1.0 * u.kpc),
    ),
    "guiding_radius": (
        lambda: guiding_radius(8000 * PC * 220 * KMS, P), lambda: guiding_radius(1760.0, P),
        lambda: guiding_radius(8000 * PC, P),
    ),
    "circular_velocity": (
        lambda: circular_velocity([8 * u.kpc, 9000 * PC], P),
        lambda: circular_velocity([8.0, 9.0], P), lambda: circular_velocity(8 * u.s, P),
    ),
    "observed_to_phase_space": (
        lambda: observed_to_phase_space(
            1 * u.rad, 30 * u.arcmin, 500 * PC, 5e-3 * u.arcsec / u.yr, 0, 2e4 * MS
        ),
        lambda: observed_to_phase_space(np.degrees(1.0), 0.5, 0.5, 5.0, 0.0, 20.0),
        lambda: observed_to_phase_space(1.0, 0.5, 0.5 * u.mas, 5.0, 0.0, 20.0),
    ),
    "phase_space_to_observed": (
        lambda: phase_space_to_observed(-7000 * PC, 0, 0, 0, 2.2e5 * MS, 0),
        lambda: phase_space_to_observed(-7.0, 0, 0, 0, 220.0, 0),
        lambda: phase_space_to_observed(-7.0, 0, 0, 0, 220.0 * u.kpc, 0),
    ),
    "to_cylindrical": (
        lambda: to_cylindrical(-8000 * PC, 0, 1e4 * MS, 220 * KMS),
        lambda: to_cylindrical(-8.0, 0, 10.0, 220.0), lambda: to_cylindrical(1 * u.s, 0, 1, 2),
    ),
    "from_cylindrical": (
        lambda: from_cylindrical(-8000 * PC, 0, 1e4 * MS, 220 * KMS),
        lambda: from_cylindrical(-8.0, 0, 10.0, 220.0), lambda: from_cylindrical(1 * u.s, 0, 1, 2),
    ),
    "external_ages": (
        lambda: external_ages(STAR, ages=[1000, 4000, 9000] * u.Myr).age_ml,
        lambda: external_ages(STAR, ages=[1.0, 4.0, 9.0]).age_ml,
        lambda: external_ages(STAR, ages=[1.0, 4.0, 9.0] * u.kpc),
    ),
    "estimate_ages": (
        lambda: estimate_ages(STAR, ages=[1000, 4000, 9000] * u.Myr, show_progress=False).age,
        lambda: [1.0, 4.0, 9.0],
        lambda: estimate_ages(STAR, ages=[1.0, 4.0, 9.0] * u.kpc),
    ),
    "build_grid": (
        lambda: build_grid("dartmouth", method="paper", ages=[2000, 5000] * u.Myr).ages,
        lambda: [2.0, 5.0], lambda: build_grid("dartmouth", method="paper", ages=[2, 5] * u.K),
    ),
    "isochrone": (
        lambda: isochrone("dartmouth", 4000 * u.Myr)["teff"],
        lambda: isochrone("dartmouth", 4.0)["teff"], lambda: isochrone("dartmouth", 4 * u.K),
    ),
    "age_cdf": (
        lambda: age_cdf(AGES, 4000 * u.Myr), lambda: age_cdf(AGES, 4.0),
        lambda: age_cdf(AGES, 4.0 * u.kpc),
    ),
    "draw_stars": (
        lambda: draw_stars("dartmouth", 4600 * u.Myr, 0.0, 0.0, 0.5)["teff"],
        lambda: draw_stars("dartmouth", 4.6, 0.0, 0.0, 0.5)["teff"],
        lambda: draw_stars("dartmouth", 4.6 * u.kpc, 0.0, 0.0, 0.5),
    ),
    "extinction_ratio": (
        lambda: extinction_ratio("G", 900 * u.mmag, teff=5.7 * u.kK),
        lambda: extinction_ratio("G", 0.9, teff=5700.0),
        lambda: extinction_ratio("G", 0.9, bp_rp=0.8 * u.K),
    ),
    "deredden": (
        lambda: deredden(
            [900.0] * u.mmag, bp_rp_observed=[1.2] * u.mag, teff=[5.7] * u.kK,
            abs_g_reddened=[4.0] * u.mag,
        ),
        lambda: deredden([0.9], bp_rp_observed=[1.2], teff=[5700.0], abs_g_reddened=[4.0]),
        lambda: deredden(
            [0.9] * u.K, bp_rp_observed=[1.2], teff=[5700.0], abs_g_reddened=[4.0]
        ),
    ),
    "mark_duplicates": (
        lambda: mark_duplicates(STAR, radius_arcsec=5000 * u.mas)["flag"],
        lambda: mark_duplicates(STAR)["flag"], lambda: mark_duplicates(STAR, radius_arcsec=5 * u.K),
    ),
    "quality_cuts": (
        lambda: quality_cuts(STAR, min_snr=50 * u.one)["flag"], lambda: quality_cuts(STAR)["flag"],
        lambda: quality_cuts(STAR, min_snr=50 * u.mag),
    ),
    "limits": (
        lambda: len(limits("rg_mean", 6000 * PC, 10 * u.kpc).description),
        lambda: len(limits("rg_mean", 6.0, 10.0).description), lambda: limits("rg_mean", 6 * u.K),
    ),
    "compare": (
        lambda: len(compare("pmra", ">", 1 * u.arcsec / u.yr).description),
        lambda: len(compare("pmra", ">", 1000.0).description), lambda: compare("teff", ">", 1 * PC),
    ),
    "compute_orbits": (
        lambda: compute_orbits(STAR, potentials=[P], span=1e3 * u.Myr, show_progress=False)["zmax"],
        lambda: compute_orbits(STAR, potentials=[P], span=1.0, show_progress=False)["zmax"],
        lambda: compute_orbits(STAR, potentials=[P], span=1.0 * PC),
    ),
    "get_frame": (lambda: 0.0, lambda: 0.0, lambda: get_frame({"r0": 8200 * PC, "v0": 230.0})),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_quantities_at_every_door(door):
    with_units, plain, wrong = DOORS[door]
    for one, two in zip(np.atleast_1d(with_units()), np.atleast_1d(plain()), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9)
    with pytest.raises(MigrateBayesError):
        wrong()


@pytest.mark.parametrize("value", [
    [8000.0, 9000.0] * PC, [8.0 * u.kpc, 9000 * PC], Column([8000.0, 9000.0], unit="pc"),
    xr.DataArray([8000.0, 9000.0], attrs={"units": "pc"}), [8.0, 9.0],
    xr.DataArray([8.0, 9.0]), np.array([8.0, 9.0], dtype=np.float32), ["8", "9"],
])  # fmt: skip
def test_whatever_states_a_unit_is_converted(value):
    np.testing.assert_allclose(in_unit(value, "kpc"), [8.0, 9.0], rtol=1e-6)


@pytest.mark.parametrize("value", [
    Masked([8000.0, 1.0] * PC, mask=[False, True]), np.ma.MaskedArray([8.0, 1.0], [0, 1]),
    Masked([8.0, 1.0], mask=[False, True]),
])  # fmt: skip
def test_masked_numbers_are_missing(value):
    np.testing.assert_array_equal(in_unit(value, "kpc"), [8.0, np.nan])


@pytest.mark.parametrize("value", [
    3 * u.mas, ["a"], Column([1.0], unit="mas"), xr.DataArray([1.0], attrs={"units": "furlongs"}),
    [1 * u.kpc, 1 * u.s], {"a": 1}, 3 * u.dex(u.yr),
])  # fmt: skip
def test_other_dimensions_and_no_numbers_are_refused(value):
    with pytest.raises(UnitError, match="'R' must be numbers, or quantities in 'kpc'"):
        in_unit(value, "kpc", "R")
