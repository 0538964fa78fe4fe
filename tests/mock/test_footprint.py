"""Footprint, depth, dust, and azimuths in proportion to what the survey sees."""

import numpy as np
import pytest
from scipy import integrate, stats

from migrate_bayes.catalog.passbands import in_band
from migrate_bayes.isochrones import build_grid, draw_stars
from migrate_bayes.mock.footprint import (
    BLUEST,
    ELSEWHERE,
    NORM,
    REACH,
    brightness_bound,
    choose_azimuth,
    completeness,
    dust,
    faintest_g,
    galactic,
    targeted,
)

TEFF, LOGG = (4200.0, 8500.0), (1.0, 5.0)


@pytest.fixture(scope="module")
def bound():
    return brightness_bound(build_grid("dartmouth"), TEFF, LOGG)


def icrs(l, b):  # noqa: E741
    from astropy.coordinates import Galactic, SkyCoord

    where = SkyCoord(l=l, b=b, unit="deg", frame=Galactic).icrs
    return where.ra.deg, where.dec.deg


def test_galactic_coordinates_are_astropys():
    from astropy.coordinates import SkyCoord

    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 200), np.degrees(np.arcsin(rng.uniform(-1, 1, 200)))
    expected = SkyCoord(ra, dec, unit="deg").galactic
    l, b = galactic(ra, dec)  # noqa: E741
    np.testing.assert_allclose(b, expected.b.deg, atol=1e-5)
    np.testing.assert_allclose((l - expected.l.deg + 180) % 360 - 180, 0, atol=1e-3)


def test_footprint_ends_at_its_declinations_and_prefers_the_anticentre():
    assert targeted(200.0, [-10.01, -9.99, 59.99, 60.01]).tolist() == [0, ELSEWHERE, ELSEWHERE, 0]
    ra, dec = icrs([180.0, 151.0, 149.0, 180.0, 180.0, 76.3], [5.0, 5.0, 5.0, 29.9, 30.1, 13.5])
    assert targeted(ra, dec).tolist() == [1.0, 1.0, ELSEWHERE, 1.0, ELSEWHERE, 1.0]


@pytest.mark.parametrize(("l", "b"), [(180, 0), (180, 10), (90, 0), (75, 13), (0, 90), (20, -30)])
def test_dust_is_the_integral_of_an_exponential_disc(l, b):  # noqa: E741
    ra, dec = icrs(l, b)

    def density(s):
        height = s * np.sin(np.radians(abs(b)))
        outwards = -s * np.cos(np.radians(l)) * np.cos(np.radians(b))
        return 0.7 * np.exp(-height / 0.125 - outwards / 3.5)

    for d in (1e-3, 0.5, 2.0, 4.0):
        expected = min(integrate.quad(density, 0, d, epsabs=1e-12, limit=200)[0], 6.0)
        assert dust(d, ra, dec) == pytest.approx(expected, rel=1e-4)


def test_random_limits_make_the_completeness():
    rng = np.random.default_rng(3)
    limit = faintest_g(rng.random(100_000))
    for g in (12.0, 15.0, 16.2, 17.0, 17.9):
        expected = float(completeness(g))
        assert np.mean(g < limit) == pytest.approx(expected, abs=0.006)
    assert limit.max() == 18.0
    assert completeness([9.9, 18.0]).tolist() == [0.0, 0.0]


def test_sdss_g_is_fainter_than_gaias_but_for_the_bluest():
    # The Sun: G - g about -0.4 at BP - RP = 0.82.
    assert in_band("g", 10.0, 0.82) == pytest.approx(10.0 + 0.4, abs=0.05)
    colours = np.linspace(0.0, 3.0, 100)
    assert np.all(0.0 - in_band("g", 0.0, colours) < BLUEST)


def test_bound_is_above_every_isochrone(bound):
    rng = np.random.default_rng(4)
    n = 4000
    age, feh, alpha = rng.uniform(1, 13, n), rng.uniform(-1.8, 0.4, n), rng.uniform(0, 0.3, n)
    m = rng.uniform(-2, 9, n)
    drawn = draw_stars(
        "dartmouth", age, feh, alpha, rng.random(n), teff_range=TEFF, logg_range=LOGG, abs_g_max=m
    )
    i = np.searchsorted(bound.ages, age, side="right") - 1
    k = np.floor((m - bound.first) / bound.step).astype(int)
    share = bound.share[i, k]
    known = drawn["ok"]
    assert np.all(drawn["probability"][known] <= share[known])
    # And not idle: half of a typical isochrone's.
    assert np.median(drawn["probability"][known] / share[known]) > 0.4


@pytest.mark.parametrize(("R", "z", "limit"), [(9.5, 0.3, 16.0), (7.5, -0.6, 17.0)])
def test_azimuths_follow_the_selection(bound, R, z, limit):
    # Independent of the kernel: the weight on a fine grid of azimuths, from sky positions.
    from migrate_bayes.mock.discs import see_from_sun
    from migrate_bayes.orbits import get_frame

    age = 4.0
    reach = REACH / R
    phi = np.linspace(-reach, reach, 40_001)
    still = dict.fromkeys(("v_r", "v_phi", "v_z"), np.zeros_like(phi))
    sky = see_from_sun(
        {"R": np.full_like(phi, R), "phi": phi, "z": np.full_like(phi, z), **still},
        get_frame("vickers2021"),
    )
    a_v = dust(sky["distance"], sky["ra"], sky["dec"])
    m = limit - 5 * np.log10(sky["distance"]) - 10 - 0.6 * a_v
    i = np.searchsorted(bound.ages, age, side="right") - 1
    k = np.floor((m - bound.first) / bound.step).astype(int)
    w = targeted(sky["ra"], sky["dec"]) * np.where(
        k < 0, 0.0, bound.share[i, np.clip(k, 0, bound.share.shape[1] - 1)]
    )
    total = integrate.cumulative_trapezoid(w, phi, initial=0.0)

    n = 200_000
    u = np.random.default_rng(6).random((2, n))
    found, share, chance = choose_azimuth(
        np.full(n, age), np.full(n, R), np.full(n, z), np.full(n, limit), *u, bound, 8.27, 0.0
    )
    kept = np.isfinite(found)
    expected = NORM * total[-1]
    assert chance.max() < 1.0
    assert chance.mean() == pytest.approx(expected, rel=0.01)
    assert kept.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / n))
    assert np.all(share[kept] > 0)
    cdf = stats.kstest(found[kept], lambda x: np.interp(x, phi, total / total[-1]))
    assert cdf.pvalue > 1e-3
