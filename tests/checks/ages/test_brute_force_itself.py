"""The brute-force integral against closed forms and quadrature, and its own convergence."""

import dataclasses

import numpy as np
import pytest
from scipy import integrate, stats

from migrate_bayes.checks.ages.brute_force import Tracks, reference_log_likelihood
from migrate_bayes.isochrones import WorkingGrid, build_grid, salaris
from migrate_bayes.mock.lamost_like import ERRORS, lamost_like

AGES = np.array([2.0, 4.0])
PHI = np.arange(-1.0, 1.01, 0.25)
ALPHA = np.array([-0.2, 0.0, 0.2, 0.4, 0.6])


def made_up(function, *, alpha=ALPHA, n_eep=2):
    """Isochrones whose T_eff is function(phi, alpha, fraction of the isochrone), one star born."""
    points = np.zeros((len(AGES), len(PHI), len(alpha), n_eep, 5))
    u = np.linspace(0, 1, n_eep)
    for j, phi in enumerate(PHI):
        for k, a in enumerate(alpha):
            points[:, j, k, :, 0] = function(phi, a, u)
    points[..., :-1, 4] = 1.0 / (n_eep - 1)
    points[1, ..., 4] *= 0.5  # the older isochrone bears half as many
    return WorkingGrid(
        ages=AGES, metallicity=PHI, alpha=alpha, points=points.astype(np.float32),
        mass=np.ones(points.shape[:4], np.float32), feh_range=(-0.8, 0.6), total_metallicity=True,
    )  # fmt: skip


def along(low, high, x, sd):
    """The mean of N(x; T, sd²) over T from `low` to `high`."""
    return (stats.norm.cdf(high, x, sd) - stats.norm.cdf(low, x, sd)) / (high - low)


def test_isochrones_linear_in_metallicity_have_a_closed_form():
    grid = made_up(lambda phi, a, u: 5500.0 - 600.0 * phi + 500.0 * u, n_eep=4)
    for teff in (5400.0, 5510.0, 5700.0, 6100.0):
        star = {"teff": (teff, 40.0), "feh": (0.05, 0.06)}
        found = reference_log_likelihood(star, Tracks(grid))
        low = 5500.0 - 600.0 * 0.05
        expected = np.log(along(low, low + 500.0, teff, np.hypot(40.0, 600.0 * 0.06)))
        np.testing.assert_allclose(found, [expected, expected + np.log(0.5)], atol=2e-6)


@pytest.mark.parametrize("feh", [0.57, 0.68])
def test_composition_ends_where_the_grid_does(feh):
    grid = made_up(lambda phi, a, u: 5500.0 - 600.0 * phi + 300.0 * a + 500.0 * u)
    star = {"teff": (5350.0, 40.0), "feh": (feh, 0.06), "alpha_fe": (-0.15, 0.05)}
    found = reference_log_likelihood(star, Tracks(grid))[0]

    def density(f, a):
        low = 5500.0 - 600.0 * (f + float(salaris(a))) + 300.0 * a
        prior = stats.norm.pdf(f, feh, 0.06) * stats.norm.pdf(a, -0.15, 0.05)
        return prior * along(low, low + 500.0, 5350.0, 40.0)

    expected, _ = integrate.dblquad(density, -0.2, 0.15, feh - 0.36, 0.6, epsabs=1e-12)
    assert found == pytest.approx(np.log(expected), abs=1e-5)


def test_tracks_pass_through_the_nodes_and_reproduce_parabolas_between_them():
    def teff(phi, a, u):
        return 5000.0 - 300.0 * phi + 80.0 * phi**2 + 100.0 * a + 250.0 * a**2 + 0.0 * u

    tracks = Tracks(made_up(teff))
    for phi, alpha in ((0.25, 0.2), (0.11, 0.2), (0.25, 0.07), (-0.31, 0.33)):
        feh = phi - float(salaris(alpha))
        found = tracks.at_alpha(alpha, feh - 0.1, feh + 0.1)(feh)
        np.testing.assert_allclose(found[..., 0], teff(phi, alpha, 0.0), rtol=2e-7)
    # In the last cell the slope at the end is that of the last step, which a line has too.
    line = Tracks(made_up(lambda phi, a, u: 5000.0 - 300.0 * phi + 100.0 * a + 0.0 * u))
    feh = 0.9 - float(salaris(0.55))
    np.testing.assert_allclose(line.at_alpha(0.55, feh, feh)(feh)[..., 0], 4785.0, rtol=2e-7)


def test_an_unborn_stretch_counts_for_nothing():
    grid = made_up(lambda phi, a, u: 5500.0 + 400.0 * u, n_eep=5)
    points = grid.points.copy()
    points[..., 2:, 4] = 0.0
    cut = dataclasses.replace(grid, points=points)
    star = {"teff": (5700.0, 30.0), "feh": (0.0, 0.05)}
    found = reference_log_likelihood(star, Tracks(cut))[0]
    assert found == pytest.approx(np.log(0.5 * along(5500.0, 5700.0, 5700.0, 30.0)), abs=5e-6)


def test_it_has_converged_on_real_isochrones():
    stars = lamost_like("dartmouth", 40, seed=8)
    grid, few = build_grid("dartmouth"), slice(None, None, 4)  # an age knows nothing of the others
    fewer = {name: getattr(grid, name)[few] for name in ("ages", "points", "mass")}
    tracks = Tracks(dataclasses.replace(grid, **fewer))
    for k in range(4):  # one of each class
        i = int(np.argmax(stars["star_class"].values == k))
        star = {name: (float(stars[name][i]), error) for name, error in ERRORS.items()}
        once, twice = (reference_log_likelihood(star, tracks, panel=p) for p in (2.0, 1.0))
        relevant = twice > twice.max() + np.log(1e-4)
        assert relevant.sum() > 1
        np.testing.assert_allclose(once[relevant], twice[relevant], atol=2e-4)
