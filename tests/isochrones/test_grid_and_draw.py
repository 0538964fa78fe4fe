"""Working grids and the stars drawn from them."""

import numpy as np
import pytest
from scipy import stats
from scipy.interpolate import PchipInterpolator

from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones import build_grid, draw_stars, load_source, salaris
from migrate_bayes.isochrones.grid import PAPER_AGES, kroupa_cumulative


def test_paper_nodes():
    grid = build_grid("mist", method="paper", feh_scale="initial")
    np.testing.assert_allclose(grid.ages, PAPER_AGES)
    assert len(PAPER_AGES) == 36
    np.testing.assert_allclose(grid.metallicity, np.arange(-24, 6) / 10, atol=1e-9)
    np.testing.assert_allclose(grid.alpha, [-0.2, 0, 0.2, 0.4, 0.6, 0.8], atol=1e-9)
    # On the surface scale a dwarf of the source's last [Fe/H] was born with more than it has.
    source = load_source("parsec")
    surface = build_grid(source, method="paper", feh_step=0.02)
    last = min(source.feh[-1] - source.solar_feh_initial, 0.5)
    assert last - 0.02 < surface.metallicity[-1] <= last + 1e-9


def test_a_source_slice_is_reproduced_at_its_own_node():
    source = load_source("dartmouth")
    grid = build_grid(source, feh_scale="initial")
    i, j = list(grid.ages).index(4.0), int(np.argmin(np.abs(grid.metallicity + 0.5)))
    assert grid.metallicity[j] == pytest.approx(-0.5, abs=1e-12)
    track = source.values[list(source.ages).index(4.0), list(source.feh).index(-0.5), 0]
    good = np.isfinite(track[:, 0])
    np.testing.assert_array_equal(grid.points[i, j, 0, good, :4], track[good, 1:])
    np.testing.assert_array_equal(grid.mass[i, j, 0, good], track[good, 0])


def test_birth_fractions_add_up_to_the_mass_function():
    grid = build_grid("dartmouth")
    born = grid.points[10, 3, 0, :, 4].astype(float).sum()
    low, *_, high = grid.mass[10, 3, 0].astype(float)
    assert born == pytest.approx(kroupa_cumulative(high) - kroupa_cumulative(low), rel=1e-5)
    assert np.isfinite(grid.points).all()


def test_surface_scale_moves_dwarfs_by_the_solar_model_and_giants_not():
    source = load_source("parsec")
    shift = source.solar_feh_initial
    assert shift == pytest.approx(0.08)
    # With steps as long as the shift every node of one scale is a node of the other.
    initial, dwarf, surface = (
        build_grid("parsec", feh_scale=scale, feh_step=shift)
        for scale in ("initial", "dwarf", "surface")
    )
    nodes = shift * np.arange(-12, 3)
    at, shifted, same, expected = (
        grid.points[:, np.searchsorted(grid.metallicity, x - 1e-6), 0, :, :4]
        for grid, x in (
            (dwarf, nodes), (initial, nodes + shift), (surface, nodes), (initial, nodes),
        )
    )  # fmt: skip
    np.testing.assert_allclose(at, shifted, rtol=1e-6, atol=1e-5)
    logg = np.nanmedian(source.values[..., 2].reshape(-1, source.values.shape[3]), axis=0)
    giant = int(np.argmax(logg < 3.5))
    np.testing.assert_allclose(same[..., giant:, :], expected[..., giant:, :], rtol=1e-6, atol=1e-5)
    turned = int(np.argmax(logg < 3.9))
    assert 0 < turned < giant
    np.testing.assert_allclose(same[..., :turned, :], at[..., :turned, :], rtol=1e-6, atol=1e-5)
    # Every point of an isochrone that is covered has its initial [Fe/H] in the source.
    np.testing.assert_allclose(initial.feh_range, source.feh[[0, -1]])
    np.testing.assert_allclose(surface.feh_range, [source.feh[0], source.feh[-1] - shift])


def test_salaris_relation():
    assert salaris(0.0) == pytest.approx(0.0, abs=1e-15)
    assert salaris(0.4) == pytest.approx(np.log10(0.638 * 10**0.4 + 0.362))
    # On a regular [alpha/Fe] axis an enhanced node is the scaled-solar isochrone of that [Fe/H].
    source = load_source("dartmouth")
    grid = build_grid(source, method="paper", feh_scale="initial")
    j, k = int(np.argmin(np.abs(grid.metallicity + 0.7))), 3
    assert grid.alpha[k] == pytest.approx(0.4)
    track = source.values[list(source.ages).index(4.0), :, 0, 150, 1:].astype(float)
    expected = PchipInterpolator(source.feh, track)(-0.7 + salaris(0.4))
    found = grid.points[list(grid.ages).index(4.0), j, k, 150, :4]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_options_are_checked():
    with pytest.raises(IsochroneError, match="did you mean 'fine'"):
        build_grid("dartmouth", method="fin")
    with pytest.raises(IsochroneError, match="surface"):
        build_grid("dartmouth", feh_scale="nominal")
    with pytest.raises(IsochroneError, match="reach outside"):
        build_grid("dartmouth", ages=[0.5, 1.0])
    with pytest.raises(IsochroneError, match="increasing"):
        build_grid("dartmouth", ages=[2.0, 1.0])


def test_grids_are_built_once():
    assert build_grid("dartmouth") is build_grid("dartmouth")


def test_drawn_stars_lie_within_limits_and_follow_the_mass_function():
    n = 4000
    u = (np.arange(n) + 0.5) / n
    star = draw_stars("dartmouth", 4.0, -0.43, 0.0, u, teff_range=(4500, 6000), abs_g_max=6.5)
    assert star["ok"].all()
    assert star["teff"].min() >= 4500 - 1e-6
    assert star["teff"].max() <= 6000 + 1e-6
    assert star["abs_g"].max() <= 6.5 + 1e-6
    assert np.all(np.diff(star["mass"]) >= 0)
    # On the main sequence, between two masses, stars are as many as Kroupa says.
    dwarf = star["mass"][star["logg"] > 4.3]
    q = kroupa_cumulative(dwarf)
    uniform = (q - q[0]) / (q[-1] - q[0])
    assert stats.kstest(uniform, "uniform").statistic < 0.01
    # The probability is that of the allowed masses.
    assert star["probability"][0] < kroupa_cumulative(1.5) - kroupa_cumulative(0.5)


def test_drawing_is_continuous_in_age_and_metallicity():
    for name, around in (("age", 4.25), ("feh", -0.32)):
        at = {"age": 4.0, "feh": -0.3} | {name: around + np.array([-1e-4, 0.0, 1e-4])}
        star = draw_stars("dartmouth", at["age"], at["feh"], 0.05, 0.3)
        assert np.ptp(star["teff"]) < 0.5
        assert np.ptp(star["abs_g"]) < 1e-3


def test_what_cannot_be_drawn_is_said():
    star = draw_stars("dartmouth", [0.2, 4.0, 4.0], [0.0, 2.0, 0.0], 0.0, 0.5, abs_g_max=[9, 9, -9])
    assert not star["ok"].any()
    assert np.isnan(star["teff"]).all()
    with pytest.raises(IsochroneError, match="uniforms"):
        draw_stars("dartmouth", 4.0, 0.0, 0.0, 1.0)
