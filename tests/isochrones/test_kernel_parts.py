"""What the age kernel is made of: interpolation, elementary functions, end weights, bounds."""

import importlib
import pkgutil

import numpy as np
import pytest
from numba import njit
from numba.extending import is_jitted
from scipy import special
from scipy.interpolate import CubicHermiteSpline

import migrate_bayes
from migrate_bayes.isochrones import WorkingGrid, salaris
from migrate_bayes.isochrones.kernel.cubic import cubic_stencil
from migrate_bayes.isochrones.kernel.grid_layout import (
    BLOCK,
    LARGE,
    POINTS,
    flatten,
    lay_out,
    lower_bounds,
)
from migrate_bayes.isochrones.kernel.prior import (
    MAX_ALPHA_SD,
    add_prior,
    end_weights,
    mixture_component,
    nothing,
)
from migrate_bayes.isochrones.kernel.segments import (
    INTEGRAL,
    LEAST,
    MOMENT,
    SWEEP_SCRATCH,
    Place,
    Window,
    mills_ratio,
    sweep,
    sweep_colour,
    sweep_colour_tilted,
    sweep_tilted,
)
from migrate_bayes.isochrones.kernel.simd import (
    HALF,
    WIDTH,
    absolute,
    any_above,
    any_below,
    broadcast,
    divide,
    exp,
    greater,
    inverse_root,
    load,
    load_halves,
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


@njit(error_model="numpy")
def _by_lanes(x, out, ratio):
    for k in range(0, len(x), WIDTH):
        lanes = load(x, k)
        store(out, k, mills_ratio(lanes) if ratio else exp(lanes))


def by_lanes(x, *, ratio=False):
    """`WIDTH` at a time; as many numbers as lanes allow."""
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
    x = np.concatenate([np.linspace(0, 10, 2000), np.geomspace(10, 300, 496)])
    t = (1.0 / (1.0 + 0.28 * x)).astype(np.float32)
    expected = np.sqrt(np.pi / 2) * special.erfcx(x / np.sqrt(2))
    np.testing.assert_allclose(by_lanes(t, ratio=True), expected, rtol=5e-6)


@njit(error_model="numpy")
def _lane_by_lane(a, b, out, sums):
    x, y = load(a, 0), load(b, 0)
    store(out, 0, x + y)
    store(out, WIDTH, x - y)
    store(out, 2 * WIDTH, x * y)
    store(out, 3 * WIDTH, divide(x, y))
    store(out, 4 * WIDTH, smaller(x, y))
    store(out, 5 * WIDTH, greater(x, y))
    store(out, 6 * WIDTH, where_negative(x, y, splat(np.float32(7.0))))
    store(out, 7 * WIDTH, root(absolute(x)))
    store(out, 8 * WIDTH, broadcast(a, 3))
    store(out, 9 * WIDTH, inverse_root(absolute(x)))
    store(out, 10 * WIDTH, load_halves(out, 5, 30))
    sums[0], sums[1] = total(x), lowest(x)
    return any_below(x, y), any_above(x, y), any_below(x, x), any_above(x, x)


def test_lanes_are_numbers_side_by_side():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, WIDTH)).astype(np.float32)
    out, sums = np.empty(11 * WIDTH, dtype=np.float32), np.empty(2)
    assert _lane_by_lane(a, b, out, sums) == (True, True, False, False)
    expected = [
        a + b, a - b, a * b, a / b, np.minimum(a, b), np.maximum(a, b), np.where(a < 0, b, 7),
        np.sqrt(np.abs(a)), np.full(WIDTH, a[3]), 1 / np.sqrt(np.abs(a)),
        np.append(out[5 : 5 + HALF], out[30 : 30 + HALF]),
    ]  # fmt: skip
    np.testing.assert_allclose(out.reshape(11, WIDTH), expected, rtol=4e-7)
    np.testing.assert_allclose(sums, [a.sum(), a.min()], rtol=1e-5)


@njit(error_model="numpy")
def _sweep(kind, points, place, pool, obs, inv, window, work):
    prior, step = load(pool, 0), np.int64(WIDTH)  # of a literal, all would be compiled anew
    if kind == 0:
        sweep(points, place, pool, step, step, obs, inv, prior, window, work, 0)
    elif kind == 1:
        sweep_colour(points, place, pool, step, step, obs, inv, prior, window, work, 0)
    elif kind == 2:
        sweep_tilted(points, place, pool, step, step, obs, inv, prior, window, work, 0)
    else:
        sweep_colour_tilted(points, place, pool, step, step, obs, inv, prior, window, work, 0)


# Length of the segment in errors, and the distance at which it passes; the rule that is meant
@pytest.mark.parametrize("length", [0.0, 0.05, 0.8, 1.2, 1.5, 2.4, 2.5, 9.0])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_a_segment_is_integrated(length, colour, tilt):
    rng = np.random.default_rng(int(10 * length))
    used = [0, 1, 2, 4] if colour else [0, 1, 2]
    start, way = rng.normal(size=(2, len(used)))
    way /= np.linalg.norm(way)
    # By (point, quantity): values at the mean of [α/Fe], and what a standard deviation adds
    value, change = np.zeros((2, POINTS, 5))
    value[:, used] = start - way * length * (rng.uniform() - np.arange(POINTS)[:, None])
    value[:, 3] = rng.uniform(0.5, 1.5, POINTS)
    change[:, used] = tilt * rng.normal(size=len(used))
    if length < 1.0:  # the mean of [α/Fe] is taken as one along a segment
        change[:, 3] = tilt * 0.1 * value[:, 3]
    nodes = [value, change] if tilt else [value]
    points = np.repeat(np.array(nodes, dtype=np.float32)[..., None], WIDTH, axis=-1)
    place = Place(0, HALF, POINTS * 5 * WIDTH, 5 * WIDTH, WIDTH, len(nodes))
    # Prior, then weights of value and slope, node by node
    prior = rng.uniform(0, 2, WIDTH)
    pool = np.concatenate([prior, *(np.repeat(w, WIDTH) for w in ((1, 0), (0, 1))[: len(nodes)])])
    work = np.zeros(SWEEP_SCRATCH, dtype=np.float32)
    obs, inv = np.zeros(4, np.float32), np.ones(4, np.float32)
    inputs = points.ravel(), place, np.float32(pool), obs, inv
    _sweep(colour + 2 * (tilt > 0), *inputs, Window(np.float32(1.0), np.float32(1e3)), work)
    integral, moment, nearest = work.reshape(-1, WIDTH)[[INTEGRAL, MOMENT, LEAST]]
    u, du = np.polynomial.legendre.leggauss(40)
    u, du = 0.5 * (u + 1), 0.5 * du
    z, dz = np.polynomial.hermite_e.hermegauss(60 if tilt else 1)
    dz = dz / dz.sum()
    at = value[..., None] + change[..., None] * z  # (point, quantity, z)
    along = at[:-1, None] + u[:, None, None] * np.diff(at, axis=0)[:, None]
    chi2 = (along[:, :, used] ** 2).sum(2)
    each = at[:-1, 3] * np.einsum("pun,u->pn", np.exp(-0.5 * (chi2 - 1.0)), du)
    expected = (each @ dz).sum() * np.exp(-0.5 * prior)
    np.testing.assert_allclose(integral, expected, rtol=2e-3 if tilt else 6e-4)
    if tilt and length < 1.0:  # a segment has one mean, which is that of its births too
        first = (each @ (z * dz)).sum() * np.exp(-0.5 * prior)
        np.testing.assert_allclose(moment, first, atol=0.05 * expected.max())
    z = np.linspace(-4, 4, 401) if tilt else np.zeros(1)
    at = value[..., None] + change[..., None] * z
    fine = np.linspace(0, 1, 201)[:, None, None]
    along = at[:-1, None] + fine * np.diff(at, axis=0)[:, None]
    least = ((along[:, :, used] ** 2).sum(2) + z**2).min() + prior
    np.testing.assert_allclose(nearest, least, atol=3e-3)


@pytest.mark.parametrize("n_alpha", [1, 5])
@pytest.mark.parametrize("feh", [-0.1, 0.16])
@pytest.mark.parametrize("alpha", [(0.13, 0.0), (0.13, 0.02), (-0.15, 0.04), (0.13, 0.12)])
def test_the_prior_is_a_gaussian_within_the_grid(n_alpha, feh, alpha):
    # Its lattice has the weight, and the mean [Fe/H], of the Gaussian that is inside the grid.
    axis = np.arange(-12, 20) * 0.05
    points = np.zeros((1, len(axis), n_alpha, 9, 5), np.float32)
    grid = WorkingGrid(
        ages=np.array([1.0]), metallicity=axis, alpha=np.array([0.0, -0.2, 0.2, 0.4, 0.8])[:1]
        if n_alpha == 1 else np.array([-0.2, 0.0, 0.2, 0.4, 0.8]), points=points,
        mass=points[..., 0], feh_range=(-0.35, 0.18), total_metallicity=True,
    )  # fmt: skip
    layout, inv = lay_out(grid), np.float32([1 / 60, 0, 0, 0])
    whole = first = 0.0
    component = mixture_component(layout, np.array(alpha), 0)
    assert (component.number > 1) == (alpha[1] > MAX_ALPHA_SD and n_alpha > 1)
    for k in range(component.number):
        one = mixture_component(layout, np.array(alpha), k)
        pool, _, prior = add_prior(
            layout, inv, np.array([0.0, 0.0, 0.0, 1.0]), np.array([feh, 0.04]), one,
            np.zeros(9, "f4"), 0,
        )  # fmt: skip
        n = prior.n_point
        if prior.pieces == 0:
            continue
        chi2, weight, mean = (pool[at : at + n] for at in (prior.chi2, prior.weight, prior.feh))
        w = weight * np.exp(-0.5 * chi2 + prior.log_scale) / one.total
        whole, first = whole + w.sum(), first + w @ mean
    a, wa = np.polynomial.legendre.leggauss(400)
    low, high = max(-0.2, alpha[0] - 8 * alpha[1]), min(0.8, alpha[0] + 8 * alpha[1])
    a, wa = low + 0.5 * (high - low) * (1 + a), 0.5 * (high - low) * wa
    wa = wa * np.exp(-0.5 * ((a - alpha[0]) / max(alpha[1], 1e-9)) ** 2)
    wa /= np.sqrt(2 * np.pi) * max(alpha[1], 1e-9)
    if alpha[1] == 0:
        a, wa = np.array(alpha[:1]), np.ones(1)
    moved = salaris(a) if n_alpha == 1 else 0 * a
    ends = [(limit - moved - feh) / 0.04 for limit in grid.feh_range]
    inside = special.ndtr(ends[1]) - special.ndtr(ends[0])
    shift = 0.04 * (np.exp(-0.5 * ends[0] ** 2) - np.exp(-0.5 * ends[1] ** 2)) / np.sqrt(2 * np.pi)
    assert whole == pytest.approx(wa @ inside, rel=1e-3)
    assert first / whole == pytest.approx((wa @ shift) / (wa @ inside), abs=2e-4)


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
    prior = nothing()._replace(strips=0, least_chi2=2 * n_cell)
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
    """Regression: two first runs at once left a cache in which one sweep stood for another."""
    names = [info.name for info in pkgutil.walk_packages(migrate_bayes.__path__, "migrate_bayes.")]
    modules = [importlib.import_module(n) for n in names if not n.endswith("__main__")]
    found = {id(f): f for module in modules for f in vars(module).values() if is_jitted(f)}
    names = [f"{f.py_func.__module__}.{f.py_func.__qualname__}" for f in found.values()]
    assert len(names) > 100
    assert {name for name in names if names.count(name) > 1} == set()
