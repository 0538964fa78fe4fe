"""What the age kernel is made of: interpolation, elementary functions, end weights, bounds."""

import importlib
import os
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from numba import njit
from numba.extending import is_jitted
from scipy import special
from scipy.interpolate import CubicHermiteSpline

import migrate_bayes
from migrate_bayes.isochrones import WorkingGrid
from migrate_bayes.isochrones.kernel.cubic import (
    MAX_NODES,
    cubic_stencil,
    fill_node_weights,
    regular_weights,
)
from migrate_bayes.isochrones.kernel.grid_layout import (
    BLOCK,
    LARGE,
    POINTS,
    flatten,
    lay_out,
    lower_bounds,
)
from migrate_bayes.isochrones.kernel.prior import alpha_rule, end_weights, nothing, pair_rows
from migrate_bayes.isochrones.kernel.segments import (
    PER_QUANTITY,
    Window,
    mills_ratio,
    sweep_4,
    sweep_5,
)
from migrate_bayes.isochrones.kernel.simd import (
    WIDTH,
    absolute,
    any_above,
    any_below,
    broadcast,
    divide,
    exp,
    greater,
    load,
    lowest,
    root,
    smaller,
    splat,
    store,
    total,
    where_negative,
)  # fmt: skip


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_the_cubic_is_scipys(n):
    rng = np.random.default_rng(n)
    axis = np.cumsum(rng.uniform(0.1, 0.6, n))
    values = rng.normal(size=n)
    spline = CubicHermiteSpline(axis, values, np.gradient(values, axis))
    weights = np.empty((3, 4))
    for x in np.append(rng.uniform(axis[0], axis[-1], 40), axis[0]):
        first = cubic_stencil(axis, x, weights)
        assert 0 <= first <= max(n - 4, 0)
        used = weights[:, : n - first]
        assert not weights[:, n - first :].any()
        found = used @ values[first : first + 4]
        np.testing.assert_allclose(
            found, [spline(x), spline(x, 1), spline(x, 2)], rtol=1e-9, atol=1e-12
        )
    for x, end in ((axis[0] - 1.0, values[0]), (axis[-1] + 1.0, values[-1])):
        first = cubic_stencil(axis, x, weights)
        assert weights[0, : n - first] @ values[first : first + 4] == pytest.approx(end)


def test_an_axis_of_one_node():
    weights = np.empty((3, 4))
    assert cubic_stencil(np.array([0.3]), 1.7, weights) == 0
    np.testing.assert_array_equal(weights, [[1, 0, 0, 0], [0] * 4, [0] * 4])


def test_weights_between_regular_nodes_are_those_of_the_cubic():
    axis, weights = np.arange(6) * 0.05 - 0.3, np.empty((3, 4))
    for pieces in (2, 6, 30):
        out = regular_weights(pieces)
        for t in range(pieces):
            first = cubic_stencil(axis, axis[2] + (t + 1e-9) / pieces * 0.05, weights)
            assert first == 1
            np.testing.assert_allclose(out[t], weights[0], atol=1e-8)


@pytest.mark.parametrize("left", [0.0, 0.2, 0.77, 1.0])
@pytest.mark.parametrize("right", [0.0, 0.5, 0.93])
def test_end_weights_integrate_cubics_exactly(left, right):
    # Points 0 to n, an integral from `left` before the first to `right` after the last.
    n = 15
    weights, end = np.ones(n + 1), np.empty(6)
    end_weights(left, end)
    weights[:6] *= end
    end_weights(right, end)
    weights[::-1][:6] *= end
    for power in range(4):
        exact = ((n + right) ** (power + 1) - (-left) ** (power + 1)) / (power + 1)
        assert weights @ np.arange(n + 1.0) ** power == pytest.approx(exact, rel=1e-12)


def test_rules_of_alpha_have_the_moments_of_a_gaussian():
    for sd, least, count in ((0.0, 0, 1), (0.02, 0, 2), (0.02, 1, 4), (0.05, 0, 5), (0.1, 0, 7)):
        x, w = alpha_rule(sd, least)
        assert len(x) == len(w) == count
        for power in range(2 * count):
            moment = 0.0 if power % 2 else special.factorial2(power - 1) if power else 1.0
            assert w @ x**power == pytest.approx(moment, rel=1e-10, abs=1e-10)


@njit(error_model="numpy")
def _by_lanes(x, out, ratio):
    for k in range(0, len(x), WIDTH):
        lanes = load(x, k)
        store(out, k, mills_ratio(lanes) if ratio else exp(lanes))


def by_lanes(x, *, ratio=False):
    """Eight at a time; as many numbers as lanes allow."""
    out = np.empty_like(x)
    _by_lanes(x, out, ratio)
    return out


def test_the_exponential():
    x = np.linspace(-59.5, 59.5, 4000).astype(np.float32)
    np.testing.assert_allclose(by_lanes(x), np.exp(x.astype(float)), rtol=8e-6)
    # Below the floor: nothing so small counts, and none is subnormal.
    low = by_lanes(np.full(WIDTH, -1e30, dtype=np.float32))
    assert (low > 0).all()
    assert (low < 1e-25).all()


def test_the_mills_ratio():
    x = np.concatenate([np.linspace(0, 10, 2000), np.geomspace(10, 300, 504)])
    t = (1.0 / (1.0 + 0.28 * x)).astype(np.float32)
    expected = np.sqrt(np.pi / 2) * special.erfcx(x / np.sqrt(2))
    np.testing.assert_allclose(by_lanes(t, ratio=True), expected, rtol=5e-6)


@njit(error_model="numpy")
def _lane_by_lane(a, b, out, sums):
    x, y = load(a, 0), load(b, 0)
    store(out, 0, x + y)
    store(out, 8, x - y)
    store(out, 16, x * y)
    store(out, 24, divide(x, y))
    store(out, 32, smaller(x, y))
    store(out, 40, greater(x, y))
    store(out, 48, where_negative(x, y, splat(np.float32(7.0))))
    store(out, 56, root(absolute(x)))
    store(out, 64, broadcast(a, 3))
    sums[0], sums[1] = total(x), lowest(x)
    return any_below(x, y), any_above(x, y), any_below(x, x), any_above(x, x)


def test_lanes_are_numbers_side_by_side():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, WIDTH)).astype(np.float32)
    out, sums = np.empty(72, dtype=np.float32), np.empty(2)
    assert _lane_by_lane(a, b, out, sums) == (True, True, False, False)
    expected = [
        a + b, a - b, a * b, a / b, np.minimum(a, b), np.maximum(a, b), np.where(a < 0, b, 7),
        np.sqrt(np.abs(a)), np.full(8, a[3]),
    ]  # fmt: skip
    np.testing.assert_allclose(out.reshape(9, 8), expected, rtol=3e-7)
    np.testing.assert_allclose(sums, [a.sum(), a.min()], rtol=1e-6)


@njit(error_model="numpy")
def _sweep(with_colour, work, weights, prior, window, out):
    if with_colour:
        sweep_5(work, 0, 1, weights, 2, load(prior, 0), window, out)
    else:
        sweep_4(work, 0, 1, weights, 2, load(prior, 0), window, out)


# Length of the segment in errors, and the distance at which it passes; the rule that is meant
@pytest.mark.parametrize("length", [0.0, 0.05, 0.8, 1.2, 1.5, 2.4, 2.5, 9.0])
@pytest.mark.parametrize("colour", [False, True])
def test_a_segment_is_integrated(length, colour):
    rng = np.random.default_rng(int(10 * length))
    weights, place = 5 * PER_QUANTITY, 5 * PER_QUANTITY + 2 * WIDTH
    work = np.zeros(place + 2 * WIDTH, dtype=np.float32)
    work[weights:place] = np.repeat([0.3, 0.7], WIDTH)
    prior = rng.uniform(0, 2, WIDTH).astype(np.float32)
    used = [0, 1, 2, 4] if colour else [0, 1, 2]
    start, way = rng.normal(size=(2, len(used)))
    points = start - way / np.linalg.norm(way) * length * (
        rng.uniform() - np.arange(POINTS)[:, None]
    )
    for c, r in zip(used, points.T, strict=True):
        for node in range(2):  # the mean of the two is weighed 0.3 and 0.7
            at = c * PER_QUANTITY + node * POINTS
            work[at : at + POINTS] = r + (0.7 if node == 0 else -0.3)
    born = rng.uniform(0.5, 1.5, POINTS - 1)
    for node in range(2):
        at = 3 * PER_QUANTITY + node * POINTS
        work[at : at + POINTS - 1] = born
    _sweep(colour, work, weights, prior, Window(np.float32(1.0), np.float32(1e3)), place)
    integral, nearest = work[place:].reshape(2, WIDTH)
    u, du = np.polynomial.legendre.leggauss(40)
    u, du = 0.5 * (u + 1), 0.5 * du
    along = points[:-1, None] + u[:, None] * np.diff(points, axis=0)[:, None]
    chi2 = (along**2).sum(-1)
    each = born * (np.exp(-0.5 * (chi2 - 1.0)) @ du)
    expected = each.sum() * np.exp(-0.5 * prior)
    np.testing.assert_allclose(integral, expected, rtol=6e-4)
    fine = points[:-1, None] + np.linspace(0, 1, 2001)[:, None] * np.diff(points, axis=0)[:, None]
    least = (fine**2).sum(-1).min() + prior
    np.testing.assert_allclose(nearest, least, atol=1e-4)


def test_rows_that_take_turns():
    for n_rows, expected in ((1, [0, 0]), (2, [0, 1]), (5, [0, 0, 1, 2, 3, 4])):
        assert pair_rows(n_rows, n_rows > 1).ravel().tolist() == expected
    np.testing.assert_array_equal(pair_rows(5, False), np.arange(5)[:, None] * [1, 1])


@pytest.mark.parametrize("pieces", [2, 4, 8, 24])
def test_eight_lattice_points_weigh_their_nodes(pieces):
    # A parabola through the nodes is reproduced at every point, by one row or by two in turn.
    out = np.full((15, 3, MAX_NODES, WIDTH), np.nan, dtype=np.float32)
    fill_node_weights(pieces, out)
    nodes = (np.arange(MAX_NODES) - 1.0) ** 2
    for part in range(max(pieces // WIDTH, 1)):
        phi = (part * WIDTH + np.arange(WIDTH)) / pieces
        alone, even, odd = nodes @ out[part]
        np.testing.assert_allclose(alone, phi**2, atol=1e-5)
        np.testing.assert_allclose(even[::2], phi[::2] ** 2, atol=1e-5)
        np.testing.assert_allclose(odd[1::2], phi[1::2] ** 2, atol=1e-5)
        assert not even[1::2].any()
        assert not odd[::2].any()


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
    flat = flatten(layout)
    n_strip, n_large, n_cell = (layout.bounds.shape[k] for k in (1, 4, 5))
    assert n_large <= LARGE
    per = n_cell * LARGE
    fine, coarse = np.empty(per, np.float32), np.empty(per, np.float32)
    pool, blocks = np.zeros(3 * n_cell, np.float32), np.empty(LARGE, np.float32)
    prior = nothing(0.0, 0.0)._replace(strips=0, least_chi2=2 * n_cell)
    weights, by_alpha = np.empty((3, 4)), np.empty((3, 4))
    u = np.linspace(0, 1, 6)[:, None, None]
    close = 0
    for _ in range(12):
        obs, inv = np.float32(rng.normal(size=4) * 4), np.float32(rng.uniform(0.3, 3, 4))
        k_low, k_high = sorted(rng.integers(0, n_strip, 2))
        pool[: 2 * n_cell : 2], pool[1 : 2 * n_cell : 2] = k_low, k_high - k_low + 1
        pool[2 * n_cell :] = rng.uniform(0, 3, n_cell)  # of the prior
        star = obs, inv, prior, pool
        # The least χ² of each segment, over compositions in each cell
        least = np.full((n_age, n_cell, n_eep - 1), np.inf)
        for cell in range(n_cell):
            for _ in range(40):
                phi = layout.metallicity[cell] + 0.05 * rng.random()
                j = cubic_stencil(layout.metallicity, phi, weights)
                a = 0.0
                if n_alpha > 1:
                    a = rng.uniform(layout.strips[k_low], layout.strips[k_high + 1])
                k = cubic_stencil(grid.alpha, a, by_alpha)
                near = points[:, j : j + 4, k : k + 4, :, :4]
                track = np.einsum("ijkec,j,k->iec", near, weights[0], by_alpha[0, : near.shape[2]])
                r = (track - obs) * inv
                chi2 = ((r[:, :-1] + u[..., None] * np.diff(r, axis=1)) ** 2).sum(-1).min(0)
                least[:, cell] = np.minimum(least[:, cell], chi2)
        for i in range(n_age):
            start = i * n_strip * 8 * per
            lower_bounds(flat.large_bounds, start, per, *star, 0, n_cell, coarse, blocks, 0)
            for big in range(n_large):
                start = (i * n_strip * 8 * n_large + big) * per
                lower_bounds(flat.bounds, start, n_large * per, *star, 0, n_cell, fine, blocks, 0)
                with_prior = fine.reshape(n_cell, LARGE) + pool[2 * n_cell :, None]
                nearest = np.minimum(with_prior.min(axis=0), np.float32(1e15))  # where no block is
                np.testing.assert_allclose(blocks, nearest, rtol=1e-6)
                first = big * LARGE * BLOCK
                here = least[i, :, first : first + LARGE * BLOCK]
                bound = coarse.reshape(n_cell, LARGE)[:, big]
                assert (bound <= here.min(axis=1) * (1 + 1e-5) + 1e-5).all()
                for b in range(-(-here.shape[1] // BLOCK)):
                    brute = here[:, b * BLOCK : (b + 1) * BLOCK].min(axis=1)
                    bound_b = fine.reshape(n_cell, LARGE)[:, b]
                    assert (bound_b <= brute * (1 + 1e-5) + 1e-5).all()
                    # A large block's bound is no higher than its blocks', and none is idle.
                    assert (bound <= bound_b * (1 + 1e-5)).all()
                    close += int((bound_b > 0.2 * brute).sum())
    assert close > 50


def test_every_compiled_function_has_a_name_of_its_own():
    names = [info.name for info in pkgutil.walk_packages(migrate_bayes.__path__, "migrate_bayes.")]
    modules = [importlib.import_module(n) for n in names if not n.endswith("__main__")]
    found = {id(f): f for module in modules for f in vars(module).values() if is_jitted(f)}
    names = [f"{f.py_func.__module__}.{f.py_func.__qualname__}" for f in found.values()]
    assert len(names) > 100
    assert {name for name in names if names.count(name) > 1} == set()


BOTH = """
import sys
import numpy as np
from numba import njit
from numba.extending import is_jitted
from migrate_bayes.isochrones.kernel.segments import PER_QUANTITY, Window, sweep_4, sweep_5
from migrate_bayes.isochrones.kernel.simd import WIDTH, load

@njit
def run_4(work, weights, prior, window, out):
    sweep_4(work, 0, 1, weights, 2, load(prior, 0), window, out)

@njit
def run_5(work, weights, prior, window, out):
    sweep_5(work, 0, 1, weights, 2, load(prior, 0), window, out)

@njit
def both(work, weights, prior, window, out):
    sweep_4(work, 0, 1, weights, 2, load(prior, 0), window, out)
    sweep_5(work, 0, 1, weights, 2, load(prior, 0), window, out + 2 * WIDTH)

weights, place = 5 * PER_QUANTITY, 5 * PER_QUANTITY + 2 * WIDTH
work = np.zeros(place + 4 * WIDTH, dtype=np.float32)
work[:weights] = np.random.default_rng(1).uniform(0, 1, weights)
work[weights:place] = 0.5
window = Window(np.float32(1.0), np.float32(1e3))
globals()[sys.argv[1]](work, weights, np.zeros(WIDTH, np.float32), window, place)
print(work[place::WIDTH])
"""


@pytest.mark.slow
def test_processes_that_compile_at_once_do_not_mix_their_code(tmp_path):
    """Regression: two first runs at once left a cache with which most ages were wrong."""

    def run(what, cache):
        here = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / cache)}
        command = [sys.executable, "-c", BOTH, what]
        return subprocess.run(command, env=here, capture_output=True, text=True, check=True).stdout

    run("run_4", "shared")
    run("run_5", "shared")
    assert run("both", "shared") == run("both", "own")
