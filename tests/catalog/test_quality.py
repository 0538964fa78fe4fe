"""Flags, keys, distances and cuts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

import migrate_bayes as mb
from migrate_bayes.catalog import (
    flag_age_error,
    quality_cuts,
    star_keys,
)
from migrate_bayes.catalog.measured import (
    add_distances,
    flag_measurements,
    separation_arcsec,
    validate_required,
)
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag, count_flags
from migrate_bayes.isochrones import external_ages


def has(flag, reason):
    return (np.asarray(flag) & reason) != 0


def splitmix64(x):
    """The generator's output function, with Python's integers."""
    mask = 2**64 - 1
    z = (x + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_star_keys_of_integers():
    ids = np.array([0, 1, 2**62, -5, 598959371548059904], dtype=np.int64)
    expected = [splitmix64(int(i) % 2**64) for i in ids]
    assert star_keys(ids).tolist() == expected
    # The published first output of the generator for seed 0.
    assert int(star_keys(np.array([0]))[0]) == 0xE220A8397B1DCDAF


def test_star_keys_do_not_depend_on_neighbours_or_width():
    names = np.array(["HD 1", "a much longer name", "HD 2"])
    keys = star_keys(names)
    assert keys.dtype == np.uint64
    assert len(set(keys.tolist())) == 3
    assert star_keys(names[:1])[0] == keys[0]
    assert star_keys(np.array([b"HD 1"]))[0] == keys[0]
    assert star_keys(names.astype(object)).tolist() == keys.tolist()
    many = star_keys(np.arange(100_000))
    assert len(np.unique(many)) == 100_000
    ones = np.unpackbits(many.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 1e-3


def test_flags_are_one_bit_per_reason(make_catalog):
    catalog = make_catalog(20)
    assert not flag_measurements(catalog).any()
    catalog["feh"][0] = np.nan
    catalog["pmdec"][1] = np.nan
    catalog["radial_velocity"][2] = np.nan
    catalog["distance"][3] = np.nan
    catalog["abs_g"][4] = np.nan
    catalog["logg_error"][5] = 0.0
    catalog["alpha_fe_error"][6] = np.inf
    catalog["teff_error"][7] = np.nan
    catalog["pmra_error"][8] = np.nan
    catalog["radial_velocity_error"][9] = np.nan
    flag = flag_measurements(catalog)
    expected = [
        StarFlag.MISSING_PARAMETERS,
        StarFlag.MISSING_ASTROMETRY,
        StarFlag.MISSING_RADIAL_VELOCITY,
        StarFlag.BAD_DISTANCE,
        StarFlag.MISSING_PHOTOMETRY,
        StarFlag.BAD_ERROR,
        StarFlag.BAD_ERROR,
        StarFlag.BAD_ERROR,
        StarFlag.MISSING_ASTROMETRY,
        StarFlag.MISSING_RADIAL_VELOCITY,
    ]
    assert flag.tolist() == [int(e) for e in expected] + [0] * 10


def test_an_error_beside_a_missing_value_is_no_fault(make_catalog):
    catalog = make_catalog(2)
    catalog["teff"][0] = np.nan
    catalog["teff_error"][0] = np.nan
    assert flag_measurements(catalog).tolist() == [int(StarFlag.MISSING_PARAMETERS), 0]


def test_required_columns(make_catalog):
    catalog = make_catalog(3)
    for needs in ("ages", "orbits", "photometry"):
        validate_required(catalog, needs=needs)
    renamed = catalog.rename(teff="teff_k")
    with pytest.raises(CatalogError, match=r"no teff, needed for ages.*did you mean 'teff_k'"):
        validate_required(renamed, needs="ages")
    with pytest.raises(CatalogError, match="did you mean 'orbits'"):
        validate_required(catalog, needs="orbit")
    near = catalog.drop_vars(["distance_lo", "distance_hi"])
    with pytest.raises(CatalogError, match=r"distance_error, a standard error, makes distance_lo"):
        mb.correct_extinction(near, source="none")


def test_external_ages(make_catalog):
    catalog = make_catalog(3)
    with pytest.raises(CatalogError, match="no age, needed for external ages"):
        validate_required(catalog, needs="external_ages")
    catalog["age"] = ("star", [1.0, np.nan, -1.0])
    validate_required(catalog, needs="external_ages")
    for bound in ("age_lo", "age_hi"):
        catalog[bound] = catalog["age"]
    flag = external_ages(catalog)["flag"]
    assert has(flag, StarFlag.MISSING_AGE).tolist() == [False, True, True]


def test_parallax_distances_are_percentiles_of_the_inverse(make_catalog):
    catalog = make_catalog(4).drop_vars(["distance", "distance_lo", "distance_hi"])
    catalog["parallax"][:] = [2.0, 2.0, -1.0, np.nan]
    catalog["parallax_error"][:] = [0.1, 0.25, 0.01, 0.1]
    out = add_distances(catalog)
    assert np.isfinite(out["distance"].values).tolist() == [True, False, False, False]
    assert float(out["distance"][0]) == 0.5
    draws = 1 / norm(2.0, 0.1).rvs(400_000, random_state=1)
    lo, hi = np.percentile(draws, 100 * norm.cdf([-1, 1]))
    np.testing.assert_allclose(out["distance_lo"][0], lo, rtol=5e-4)
    np.testing.assert_allclose(out["distance_hi"][0], hi, rtol=5e-4)
    assert "parallax" in out["distance"].attrs["source"]
    assert out["distance_lo"].attrs["units"] == "kpc"


def test_given_distances_must_be_in_order(make_catalog):
    catalog = make_catalog(5)
    catalog["distance"][:] = [1.0, 0.0, 1.0, 1.0, 1.0]
    catalog["distance_lo"][:] = [0.9, 0.0, 1.1, 0.9, -0.1]
    catalog["distance_hi"][:] = [1.1, 0.1, 1.2, np.nan, 1.1]
    out = add_distances(catalog)
    for name in ("distance", "distance_lo", "distance_hi"):
        assert np.isfinite(out[name].values).tolist() == [True, False, False, False, False]
    assert out["distance"].attrs["source"] == "made up"


def test_separation_matches_astropy():
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 200), np.degrees(np.arcsin(rng.uniform(-1, 1, 200)))
    step = 10 ** rng.uniform(-5, 1, 200)
    a = SkyCoord(ra * u.deg, dec * u.deg)
    b = a.directional_offset_by(rng.uniform(0, 360, 200) * u.deg, step * u.deg)
    got = separation_arcsec(ra, dec, b.ra.deg, b.dec.deg)
    np.testing.assert_allclose(got, step * 3600, rtol=1e-6)


def test_snr_cut(make_catalog):
    catalog = make_catalog(4)
    catalog["snr_g"][:] = [60, 40, np.nan, np.nan]
    catalog["snr_r"][:] = [60, 90, 60, np.nan]
    catalog["snr_i"][:] = [60, 90, 60, np.nan]
    cut = quality_cuts(catalog, min_snr=50.0)
    assert has(cut["flag"], StarFlag.LOW_SNR).tolist() == [False, True, False, True]
    looser = quality_cuts(cut, min_snr=30.0)
    assert has(looser["flag"], StarFlag.LOW_SNR).tolist() == [False, False, False, True]
    assert not has(quality_cuts(cut, min_snr=None)["flag"], StarFlag.LOW_SNR).any()
    without = catalog.drop_vars(["snr_g", "snr_r", "snr_i"])
    assert count_flags(quality_cuts(without)["flag"]) == {}
    assert not catalog["flag"].values.any()  # the input is left alone


def test_age_error_cut(make_catalog):
    stars = make_catalog(3)
    with pytest.raises(CatalogError, match="no age errors"):
        flag_age_error(stars)
    stars["age_error"] = ("star", [0.2, 0.3, np.nan])
    assert has(flag_age_error(stars)["flag"], StarFlag.POOR_AGE).tolist() == [False, True, True]
    loose = flag_age_error(stars, max_age_error=0.5)
    assert has(loose["flag"], StarFlag.POOR_AGE).tolist() == [False, False, True]
    external = make_catalog(2)
    external["age"] = ("star", [4.0, 4.0])
    external["age_lo"] = ("star", [3.5, 2.0])
    external["age_hi"] = ("star", [4.6, 6.0])
    assert has(flag_age_error(external)["flag"], StarFlag.POOR_AGE).tolist() == [False, True]
