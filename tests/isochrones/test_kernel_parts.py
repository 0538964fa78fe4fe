"""What the age kernel is made of: interpolation, elementary functions, end weights, bounds."""

import numpy as np
import pytest
from scipy import special
from scipy.interpolate import CubicHermiteSpline

from migrate_bayes.isochrones.cubic import cubic_stencil
from migrate_bayes.isochrones.grid import WorkingGrid
from migrate_bayes.isochrones.lattice import _end_weights, alpha_rule, piece_weights
from migrate_bayes.isochrones.layout import BLOCK, LARGE, gap, lay_out
from migrate_bayes.isochrones.segments import _exp, mills_ratio


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_the_cubic_is_scipys(n):
    rng = np.random.default_rng(n)
    axis = np.cumsum(rng.uniform(0.1, 0.6, n))
    values = rng.normal(size=n)
    spline = CubicHermiteSpline(axis, values, np.gradient(values, axis))
    weights = np.empty((3, 4))
    for x in np.append(rng.uniform(axis[0], axis[-1], 40), axis[0]):
        first = cubic_stencil(axis, x, *weights)
        assert 0 <= first <= max(n - 4, 0)
        used = weights[:, : n - first]
        assert not weights[:, n - first :].any()
        found = used @ values[first : first + 4]
        np.testing.assert_allclose(
            found, [spline(x), spline(x, 1), spline(x, 2)], rtol=1e-9, atol=1e-12
        )
    for x, end in ((axis[0] - 1.0, values[0]), (axis[-1] + 1.0, values[-1])):
        first = cubic_stencil(axis, x, *weights)
        assert weights[0, : n - first] @ values[first : first + 4] == pytest.approx(end)


def test_an_axis_of_one_node():
    weights = np.empty((3, 4))
    assert cubic_stencil(np.array([0.3]), 1.7, *weights) == 0
    np.testing.assert_array_equal(weights, [[1, 0, 0, 0], [0] * 4, [0] * 4])


def test_weights_between_regular_nodes_are_those_of_the_cubic():
    axis, weights = np.arange(6) * 0.05 - 0.3, np.empty((3, 4))
    for pieces in (2, 6, 30):
        out = np.empty((pieces, 4))
        piece_weights(pieces, out)
        for t in range(pieces):
            first = cubic_stencil(axis, axis[2] + (t + 1e-9) / pieces * 0.05, *weights)
            assert first == 1
            np.testing.assert_allclose(out[t], weights[0], atol=1e-8)


@pytest.mark.parametrize("left", [0.0, 0.2, 0.77, 1.0])
@pytest.mark.parametrize("right", [0.0, 0.5, 0.93])
def test_end_weights_integrate_cubics_exactly(left, right):
    # Points 0 to n, an integral from `left` before the first to `right` after the last.
    n = 15
    weights, end = np.ones(n + 1), np.empty(6)
    _end_weights(left, end)
    weights[:6] *= end
    _end_weights(right, end)
    weights[::-1][:6] *= end
    for power in range(4):
        exact = ((n + right) ** (power + 1) - (-left) ** (power + 1)) / (power + 1)
        assert weights @ np.arange(n + 1.0) ** power == pytest.approx(exact, rel=1e-12)


def test_rules_of_alpha_have_the_moments_of_a_gaussian():
    nodes, weights = np.empty(7), np.empty(7)
    for sd, least, count in ((0.0, 0, 1), (0.02, 0, 2), (0.02, 1, 5), (0.05, 0, 5), (0.1, 0, 7)):
        assert alpha_rule(sd, least, nodes, weights) == count
        x, w = nodes[:count], weights[:count]
        for power in range(2 * count):
            moment = 0.0 if power % 2 else special.factorial2(power - 1) if power else 1.0
            assert w @ x**power == pytest.approx(moment, rel=1e-10, abs=1e-10)


def test_the_exponential():
    x = np.linspace(-59.9, 59.9, 4001).astype(np.float32)
    found = np.array([_exp(v) for v in x])
    np.testing.assert_allclose(found, np.exp(x.astype(float)), rtol=5e-6)
    # Below the floor: nothing so small counts, and none is subnormal.
    assert 0 < _exp(np.float32(-1e30)) == _exp(np.float32(-60.0)) < 1e-25


def test_the_mills_ratio():
    x = np.concatenate([np.linspace(0, 10, 2001), np.geomspace(10, 300, 500)])
    t = (1.0 / (1.0 + 0.28 * x)).astype(np.float32)
    found = np.array([mills_ratio(v) for v in t])
    np.testing.assert_allclose(found, np.sqrt(np.pi / 2) * special.erfcx(x / np.sqrt(2)), rtol=5e-6)


@pytest.mark.parametrize("n_alpha", [1, 4])
def test_bounds_are_below_every_chi_square(n_alpha):
    # Rough isochrones, so that cubics overshoot; 75 points: blocks and large blocks not full.
    rng = np.random.default_rng(11)
    n_age, n_metal, n_eep = 2, 6, 75
    points = np.cumsum(rng.normal(size=(n_age, 1, 1, n_eep, 5)), axis=3)
    points = points + 0.2 * rng.normal(size=(n_age, n_metal, n_alpha, n_eep, 5))
    grid = WorkingGrid(
        ages=np.array([1.0, 2.0]), metallicity=np.arange(n_metal) * 0.05,
        alpha=np.array([-0.2, 0.0, 0.3, 0.4])[:n_alpha], points=points.astype(np.float32),
        mass=np.ones(points.shape[:4], np.float32), feh_range=(0.0, 0.25), total_metallicity=True,
    )  # fmt: skip
    layout = lay_out(grid)
    small, large = layout.small, layout.large
    n_alpha_cell, n_large, n_cell = small.shape[1], small.shape[4], small.shape[5]
    per_small, per_large = n_cell * LARGE, n_cell * n_large
    fine, coarse = np.empty(per_small, np.float32), np.empty(per_large, np.float32)
    weights, by_alpha = np.empty((3, 4)), np.empty((3, 4))
    u = np.linspace(0, 1, 6)[:, None, None]
    close = 0
    for _ in range(12):
        obs, inv = np.float32(rng.normal(size=4) * 4), np.float32(rng.uniform(0.3, 3, 4))
        k_low, k_high = sorted(rng.integers(0, n_alpha_cell, 2))
        # The least χ² of each segment, over compositions in each cell
        least = np.full((n_age, n_cell, n_eep - 1), np.inf)
        for cell in range(n_cell):
            for _ in range(40):
                phi = layout.metallicity[cell] + 0.05 * rng.random()
                j = cubic_stencil(layout.metallicity, phi, *weights)
                a = 0.0
                if n_alpha > 1:
                    a = rng.uniform(grid.alpha[k_low], grid.alpha[k_high + 1])
                k = cubic_stencil(grid.alpha, a, *by_alpha)
                near = points[:, j : j + 4, k : k + 4, :, :4]
                track = np.einsum("ijkec,j,k->iec", near, weights[0], by_alpha[0, : near.shape[2]])
                r = (track - obs) * inv
                chi2 = ((r[:, :-1] + u[..., None] * np.diff(r, axis=1)) ** 2).sum(-1).min(0)
                least[:, cell] = np.minimum(least[:, cell], chi2)
        for i in range(n_age):
            gap(
                large.reshape(-1), i * n_alpha_cell * 8 * per_large, per_large, 8 * per_large,
                k_low, k_high, obs, inv, 0, per_large, coarse,
            )  # fmt: skip
            for big in range(n_large):
                gap(
                    small.reshape(-1), (i * n_alpha_cell * 8 * n_large + big) * per_small,
                    n_large * per_small, 8 * n_large * per_small,
                    k_low, k_high, obs, inv, 0, per_small, fine,
                )  # fmt: skip
                first = big * LARGE * BLOCK
                here = least[i, :, first : first + LARGE * BLOCK]
                bound = coarse.reshape(n_cell, n_large)[:, big]
                assert (bound <= here.min(axis=1) * (1 + 1e-5) + 1e-5).all()
                for b in range(-(-here.shape[1] // BLOCK)):
                    brute = here[:, b * BLOCK : (b + 1) * BLOCK].min(axis=1)
                    bound_b = fine.reshape(n_cell, LARGE)[:, b]
                    assert (bound_b <= brute * (1 + 1e-5) + 1e-5).all()
                    # A large block's bound is no higher than its blocks', and none is idle.
                    assert (bound <= bound_b * (1 + 1e-5)).all()
                    close += int((bound_b > 0.2 * brute).sum())
    assert close > 50
