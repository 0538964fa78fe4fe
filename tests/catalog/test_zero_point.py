"""Parallax zero points, and the distances that follow from them."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import xarray as xr
from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord

from migrate_bayes.catalog import correct_parallax, open_catalog, read_catalog
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag

N = 60


def table():
    """Gaia's columns: a third five-parameter, a third six-parameter, a third with BP-RP alone."""
    rng = np.random.default_rng(3)
    kind = np.arange(N) % 3
    return {
        "source_id": np.arange(N),
        "ra": rng.uniform(0, 360, N),
        "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, N))),
        "parallax": np.full(N, 1.0),
        "parallax_error": np.full(N, 0.02),
        "phot_g_mean_mag": rng.uniform(8, 19, N),
        "phot_bp_mean_mag": np.full(N, 13.4),
        "phot_rp_mean_mag": rng.uniform(11.0, 13.0, N),
        "nu_eff_used_in_astrometry": np.where(kind == 0, rng.uniform(1.2, 1.8, N), np.nan),
        "pseudocolour": np.where(kind == 1, rng.uniform(1.3, 1.7, N), np.nan),
    }


@pytest.fixture
def asked(monkeypatch):
    """What the package is asked, by a stand-in with its public functions."""
    calls = []

    def get_zpt(g, nu_eff, pseudocolour, ecl_lat, solved, _warnings=True):
        calls.append((g, nu_eff, pseudocolour, ecl_lat, solved))
        return np.where((g <= 6) | (g >= 21), np.nan, -0.03 - 1e-4 * ecl_lat)

    package, zpt = ModuleType("zero_point"), ModuleType("zero_point.zpt")
    zpt.load_tables, zpt.get_zpt = lambda: None, get_zpt
    package.zpt = zpt
    monkeypatch.setitem(sys.modules, "zero_point", package)
    monkeypatch.setitem(sys.modules, "zero_point.zpt", zpt)
    return calls


def test_what_the_package_is_asked(asked):
    columns = table()
    correct_parallax(read_catalog(columns))
    ((g, nu_eff, pseudocolour, latitude, solved),) = asked
    kind = np.arange(N) % 3
    np.testing.assert_array_equal(g, columns["phot_g_mean_mag"])
    np.testing.assert_array_equal(solved, np.where(kind == 1, 95, 31))
    np.testing.assert_array_equal(pseudocolour[kind == 1], columns["pseudocolour"][kind == 1])
    given = columns["nu_eff_used_in_astrometry"]
    np.testing.assert_array_equal(nu_eff[kind == 0], given[kind == 0])
    colour = (columns["phot_bp_mean_mag"] - columns["phot_rp_mean_mag"])[kind == 2]
    np.testing.assert_allclose(nu_eff[kind == 2], 1.76 - 1.61 / np.pi * np.arctan(0.531 * colour))
    places = SkyCoord(columns["ra"], columns["dec"], unit="deg")
    ecliptic = places.transform_to(BarycentricMeanEcliptic(equinox="J2000")).lat.deg
    np.testing.assert_allclose(latitude, ecliptic, atol=1e-4)


def test_inverse_distances_follow_and_own_ones_do_not(asked):
    columns = table()
    columns["phot_g_mean_mag"][:2] = 3.0, np.nan
    columns["parallax_error"][5] = 0.5
    before = read_catalog(columns)
    after = correct_parallax(before)
    known = np.arange(N) > 1
    assert (((after["flag"].values & StarFlag.NO_ZERO_POINT) == 0) == known).all()
    np.testing.assert_array_equal(after["parallax"][:2], before["parallax"][:2])
    shift = after["parallax"].values - before["parallax"].values
    assert ((shift[2:] > 0.02) & (shift[2:] < 0.04)).all()
    inverse = np.where(columns["parallax_error"] > 0.1, np.nan, 1.0 / after["parallax"].values)
    np.testing.assert_allclose(after["distance"], inverse, rtol=1e-14)
    assert "zero point taken" in after["distance"].attrs["source"]
    assert "A&A 649" in after.attrs["parallax_zero_point"]
    assert after["flag"].values[5] & StarFlag.BAD_DISTANCE
    own = correct_parallax(read_catalog(columns | {"distance": np.full(N, 1.0)}))
    np.testing.assert_array_equal(own["parallax"], after["parallax"])
    np.testing.assert_array_equal(own["distance"], 1.0)
    with pytest.raises(CatalogError, match="before"):
        correct_parallax(after)


def test_a_star_may_gain_a_distance():
    """At 10 sigma a zero point decides whether an inverse parallax is a distance."""
    columns = table() | {"parallax": np.full(N, 0.19)}
    before = read_catalog(columns)
    after = correct_parallax(before, zero_point=-0.02)
    assert np.isnan(before["distance"]).all()
    np.testing.assert_allclose(after["distance"], 1 / 0.21)
    assert not (after["flag"].values & StarFlag.BAD_DISTANCE).any()


@pytest.mark.parametrize("size", [7, 1000])
def test_chunks_of_a_stream(asked, size):
    columns = table()
    settings = {"parallax_zero_point": "lindegren2021", "duplicate_radius": None}
    stream = open_catalog(columns, extinction=None, **settings)
    got = xr.concat(stream.chunks(size), "star", combine_attrs="override")
    np.testing.assert_array_equal(got["parallax"], correct_parallax(read_catalog(columns)).parallax)


def test_refusals(monkeypatch, asked):
    columns = table()
    with pytest.raises(CatalogError, match="did you mean 'lindegren2021'"):
        correct_parallax(read_catalog(columns), zero_point="lindegren2012")
    lacking = {k: v for k, v in columns.items() if k != "phot_g_mean_mag"}
    with pytest.raises(CatalogError, match="no phot_g_mean_mag, needed for the parallax zero"):
        correct_parallax(read_catalog(lacking))
    colours = {"nu_eff_used_in_astrometry", "pseudocolour", "phot_rp_mean_mag"}
    with pytest.raises(CatalogError, match="no phot_rp_mean_mag"):
        correct_parallax(read_catalog({k: v for k, v in columns.items() if k not in colours}))
    monkeypatch.setitem(sys.modules, "zero_point", None)
    with pytest.raises(CatalogError, match=r"pip install 'migrate-bayes\[zeropoint\]'"):
        open_catalog(columns, parallax_zero_point="lindegren2021", extinction=None)


def test_the_package_itself():
    """The functions of the package at the nodes that its authors' coefficients are given for."""
    pytest.importorskip("zero_point")
    columns = {
        "source_id": [1, 2, 3], "ra": [0.0, 90.0, 270.0], "dec": [0.0, 23.4392794, 66.5607206],
        "parallax": [1.0] * 3, "phot_g_mean_mag": [12.0, 17.0, 5.0],
        "nu_eff_used_in_astrometry": [1.48, 1.48, 1.48],
    }  # fmt: skip
    after = correct_parallax(read_catalog(columns))
    shift = 1.0 - after["parallax"].values
    # On the ecliptic at nu_eff = 1.48: q00 - q02 / 3 of the paper's table 9, interpolated in G.
    np.testing.assert_allclose(shift[:2], [-0.027367, -0.031387], atol=1e-6)
    assert shift[2] == 0.0
    assert after["flag"].values[2] & StarFlag.NO_ZERO_POINT
