"""Friends of friends on the sphere, against brute force and at its awkward places."""

from __future__ import annotations

import numpy as np
import pytest

from migrate_bayes.catalog import mark_duplicates, quality
from migrate_bayes.catalog.measured import separation_arcsec
from migrate_bayes.catalog.quality import friends_of_friends
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag


def duplicate(catalog):
    return (catalog["flag"].values & StarFlag.DUPLICATE) != 0


def brute_force(ra, dec, radius):
    label = np.arange(len(ra))
    linked = separation_arcsec(ra[:, None], dec[:, None], ra[None], dec[None]) <= radius
    while True:
        new = np.array([label[row].min() for row in linked])
        if (new == label).all():
            return label
        label = new


@pytest.mark.parametrize("strip", [7, 1000])
@pytest.mark.parametrize("centre", [(150.0, 20.0), (0.0, 0.0), (0.0, 90.0), (10.0, -90.0)])
def test_groups_match_brute_force(centre, strip, monkeypatch):
    monkeypatch.setattr(quality, "_STRIP", strip)
    rng = np.random.default_rng(4)
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    middle = SkyCoord(centre[0] * u.deg, centre[1] * u.deg)
    near = middle.directional_offset_by(
        rng.uniform(0, 360, 250) * u.deg, 90 * np.sqrt(rng.uniform(size=250)) * u.arcsec
    )
    ra, dec = near.ra.deg, near.dec.deg
    got = friends_of_friends(ra, dec, radius_arcsec=5.0)
    np.testing.assert_array_equal(got, brute_force(ra, dec, 5.0))
    assert 1 < len(np.unique(got)) < 250


def test_groups_do_not_depend_on_order():
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(0, 0.03, 200), rng.uniform(-0.015, 0.015, 200)
    shuffle = rng.permutation(200)
    a = friends_of_friends(ra, dec, radius_arcsec=5.0)
    b = friends_of_friends(ra[shuffle], dec[shuffle], radius_arcsec=5.0)
    same = a[:, None] == a[None]
    np.testing.assert_array_equal(same[np.ix_(shuffle, shuffle)], b[:, None] == b[None])


def test_wrap_and_pole(make_catalog):
    catalog = make_catalog(6)
    catalog["ra"][:] = [359.9999, 0.0001, 10.0, 190.0, 100.0, 100.0]
    catalog["dec"][:] = [0.0, 0.0, 89.9998, 89.9998, 45.0, 45.002]
    for band in ("snr_g", "snr_r", "snr_i"):
        catalog[band][:] = [50, 60, 80, 70, 60, 60]
    assert duplicate(mark_duplicates(catalog)).tolist() == [True, False, False, True, False, False]


def test_keeps_the_highest_quadrature_sum_then_the_first(make_catalog):
    catalog = make_catalog(4)
    catalog["ra"][:], catalog["dec"][:] = 50.0, 10.0
    catalog["snr_g"][:] = [10, 100, 20, 100]
    catalog["snr_r"][:] = [120, 10, 20, 10]
    catalog["snr_i"][:] = [10, 10, 20, 10]
    assert duplicate(mark_duplicates(catalog)).tolist() == [False, True, True, True]
    catalog["snr_r"][0] = np.nan
    assert duplicate(mark_duplicates(catalog)).tolist() == [True, False, True, True]
    without = catalog.drop_vars(["snr_g", "snr_r", "snr_i"])
    assert duplicate(mark_duplicates(without)).tolist() == [False, True, True, True]
    without["snr"] = ("star", [1.0, 2.0, 5.0, 3.0])
    assert duplicate(mark_duplicates(without)).tolist() == [True, True, False, True]


def test_star_without_position_is_alone(make_catalog):
    catalog = make_catalog(3)
    catalog["ra"][:] = [np.nan, np.nan, 1.0]
    assert not duplicate(mark_duplicates(catalog)).any()


def test_marking_again_starts_afresh(make_catalog):
    catalog = make_catalog(2)
    catalog["ra"][:], catalog["dec"][:] = 1.0, [0.0, 4 / 3600]
    once = mark_duplicates(catalog)
    assert duplicate(once).sum() == 1
    assert duplicate(mark_duplicates(once, radius_arcsec=3.0)).sum() == 0
    assert not duplicate(catalog).any()


def test_needs_positions_and_a_sane_radius(make_catalog):
    catalog = make_catalog(2)
    with pytest.raises(CatalogError, match="no ra and dec"):
        mark_duplicates(catalog.drop_vars("ra"))
    with pytest.raises(CatalogError, match="radius_arcsec"):
        mark_duplicates(catalog, radius_arcsec=-1.0)


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("centre", [(150.0, 20.0), (0.0, 0.0), (10.0, 89.999)])
def test_crowds_match_brute_force(centre, spread):
    """Rows at one place, or nearly: not all of their pairs are listed."""
    rng = np.random.default_rng(6)
    n = 700
    dec = centre[1] + rng.normal(0, spread, n) / 3600
    ra = centre[0] + rng.normal(0, spread, n) / 3600 / np.cos(np.radians(centre[1]))
    # A tail of single rows that reach to the crowd and to each other.
    ra, dec = np.r_[ra, np.full(60, centre[0])], np.r_[dec, centre[1] - np.arange(60) * 3.0 / 3600]
    got = friends_of_friends(ra, dec, radius_arcsec=5.0)
    np.testing.assert_array_equal(got, brute_force(ra, dec, 5.0))


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
def test_crowds_cost_no_square(spread):
    import time
    import tracemalloc

    rng = np.random.default_rng(7)
    n = 40_000
    ra, dec = rng.normal(10.0, spread / 3600, n), rng.normal(5.0, spread / 3600, n)
    friends_of_friends(ra[:10], dec[:10], radius_arcsec=5.0)
    tracemalloc.start()
    began = time.process_time()
    label = friends_of_friends(ra, dec, radius_arcsec=5.0)
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.bincount(label).max() > 0.9 * n
    assert seconds < 20.0  # all pairs: 8e8 of them, minutes and 13 GB
    assert peak < 300e6
