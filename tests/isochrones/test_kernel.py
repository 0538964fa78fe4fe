"""The closed-form kernel against dense quadrature on isochrones made up to be linear."""

import numpy as np
import pytest
from scipy import stats

from migrate_bayes.isochrones import kernel
from migrate_bayes.isochrones.grid import WorkingGrid
from migrate_bayes.isochrones.segments import linearise

FEH, ALPHA = np.array([-1.0, -0.5, 0.0, 0.5]), np.array([-0.2, 0.2, 0.6])
AGES = np.array([2.0, 4.0, 8.0])


def linear_grid(n_eep=30, kink=0.0):
    """Curved tracks that shift linearly with composition, at a rate that changes along them."""
    e = np.linspace(0, 1, n_eep)
    points = np.zeros((len(AGES), len(FEH), len(ALPHA), n_eep, 5))
    for i, age in enumerate(AGES):
        for j, f in enumerate(FEH):
            for k, a in enumerate(ALPHA):
                bend = f + kink * abs(f)
                points[i, j, k, :, 0] = 5400 + 700 * np.sin(2.4 * e) - 40 * age
                points[i, j, k, :, 0] -= (450 + 100 * e) * bend + 250 * a
                points[i, j, k, :, 1] = 4.6 - 0.9 * e**2 - 0.01 * age + 0.05 * bend
                points[i, j, k, :, 2] = 5.5 - 3.5 * e + 0.05 * age + 0.8 * bend * (1 - 0.3 * e)
                points[i, j, k, :, 3] = 0.9 - 0.4 * e
                points[i, j, k, :-1, 4] = (0.02 - 0.012 * e[:-1]) * (1 + 0.2 * f - 0.1 * a)
    shape = points.shape[:3]
    return WorkingGrid(
        ages=AGES, feh=FEH, alpha=ALPHA, points=points.astype(np.float32),
        mass=np.ones(points.shape[:4], np.float32), first=np.zeros(shape, np.int32),
        last=np.full(shape, n_eep - 1, np.int32), salaris=False,
    )  # fmt: skip


def run(grid, obs, inv, feh, alpha, *, max_sd=kernel.MAX_FEH_SD):
    n = len(obs)
    out = [np.empty((n, len(grid.ages))) for _ in range(3)]
    chi2 = np.empty(n)
    kernel.age_likelihood(
        *kernel.pack(grid.points, grid.feh, grid.alpha), grid.first, grid.last,
        grid.feh, grid.alpha, grid.salaris, obs, inv,
        *np.ascontiguousarray(feh.T), *np.ascontiguousarray(alpha.T), max_sd, *out, chi2,
    )  # fmt: skip
    return (*out, chi2)


def quadrature(grid, obs, inv, feh, alpha):
    """Sum over a fine mesh of [Fe/H] and [alpha/Fe], and 20 points along every segment."""
    x, w = np.polynomial.legendre.leggauss(20)
    u, w = 0.5 * (x + 1), 0.5 * w
    z = np.linspace(-6, 6, 97)
    pdf = stats.norm.pdf(z) * (z[1] - z[0])
    total = np.zeros((len(grid.ages), 3))
    points = grid.points.astype(float)
    for zf, pf in zip(z, pdf, strict=True):
        for za, pa in zip(z[::3], 3 * pdf[::3], strict=True):
            f, a = feh[0] + feh[1] * zf, alpha[0] + alpha[1] * za
            j = np.clip(np.searchsorted(grid.feh, f) - 1, 0, len(grid.feh) - 2)
            k = np.clip(np.searchsorted(grid.alpha, a) - 1, 0, len(grid.alpha) - 2)
            s = (f - grid.feh[j]) / (grid.feh[j + 1] - grid.feh[j])
            t = (a - grid.alpha[k]) / (grid.alpha[k + 1] - grid.alpha[k])
            track = (1 - t) * ((1 - s) * points[:, j, k] + s * points[:, j + 1, k])
            track = track + t * ((1 - s) * points[:, j, k + 1] + s * points[:, j + 1, k + 1])
            start, step = track[:, :-1, :4], np.diff(track[..., :4], axis=1)
            here = start[:, :, None] + u[:, None] * step[:, :, None]
            density = np.exp(-0.5 * (((here - obs) * inv) ** 2).sum(-1)) @ w
            value = (track[:, :-1, 4] * density).sum(-1) * pf * pa
            total += value[:, None] * np.array([1.0, f, f * f])
    mean = total[:, 1] / total[:, 0]
    return np.log(total[:, 0]), mean, np.sqrt(total[:, 2] / total[:, 0] - mean**2)


ERRORS = {
    "survey": (22.6, 0.05, 0.1, 0.03, 0.03, 0.02),
    "sharp": (8.0, 0.02, 0.02, 0.01, 0.01, 0.01),
    "broad": (120.0, 0.2, 0.3, 0.1, 0.05, 0.08),
}


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kind", ERRORS)
def test_linear_isochrones_are_integrated_exactly(kind, colour):
    grid = linear_grid()
    errors = np.array(ERRORS[kind])
    inv = 1 / errors[:4] * [1, 1, 1, colour]
    feh, alpha = np.array([-0.27, errors[4]]), np.array([0.06, errors[5]])
    truth = (
        grid.points[1, 1, 0, 12, :4] * 0.54 * 0.35
        + grid.points[1, 2, 0, 12, :4] * 0.46 * 0.35
        + grid.points[1, 1, 1, 12, :4] * 0.54 * 0.65
        + grid.points[1, 2, 1, 12, :4] * 0.46 * 0.65
    ).astype(float)
    obs = truth + errors[:4] * [0.7, -0.4, 1.1, 0.3]
    log_like, mean, sd, chi2 = (
        v[0] for v in run(grid, obs[None], inv[None], feh[None], alpha[None])
    )
    expected, mean_q, sd_q = quadrature(grid, obs, inv, feh, alpha)
    relevant = expected > expected.max() + np.log(1e-4)
    np.testing.assert_allclose(log_like[relevant], expected[relevant], atol=1e-3)
    np.testing.assert_allclose(mean[relevant], mean_q[relevant], atol=0.01 * errors[4])
    np.testing.assert_allclose(sd[relevant], sd_q[relevant], rtol=0.01)
    assert 0 <= chi2 < 5


def test_a_wide_metallicity_error_is_split_and_still_integrates():
    grid = linear_grid(kink=0.3)
    errors = np.array([60.0, 0.1, 0.2, 1.0])
    inv = 1 / errors * [1, 1, 1, 0]
    feh, alpha = np.array([-0.1, 0.2]), np.array([0.1, 0.02])
    obs = grid.points[1, 2, 1, 12, :4].astype(float)
    expected, mean_q, sd_q = quadrature(grid, obs, inv, feh, alpha)
    log_like, mean, sd, _ = (v[0] for v in run(grid, obs[None], inv[None], feh[None], alpha[None]))
    np.testing.assert_allclose(log_like, expected, atol=5e-3)
    np.testing.assert_allclose(mean, mean_q, atol=2e-3)
    np.testing.assert_allclose(sd, sd_q, rtol=0.02)
    # One Gaussian for all of it would not do: the splitting is what makes it right.
    single = run(grid, obs[None], inv[None], feh[None], alpha[None], max_sd=9.0)[0][0]
    assert np.abs(single - expected).max() > 3 * np.abs(log_like - expected).max()


def test_a_single_segment_has_the_closed_form_of_a_gaussian():
    # A long straight track and one observable: the integral over u is a difference of Phi.
    grid = linear_grid(n_eep=2)
    points = np.zeros_like(grid.points)
    points[..., 0, 0], points[..., 1, 0], points[..., 0, 4] = 5000.0, 6000.0, 0.01
    inv = np.array([[1 / 50.0, 0, 0, 0]])
    for teff in (5500.0, 5010.0, 4900.0, 4700.0, 6200.0):
        out = run(
            WorkingGrid(**(vars(grid) | {"points": points})),
            np.array([[teff, 0, 0, 0]]), inv, np.array([[0.0, 0.03]]), np.array([[0.0, 0.02]]),
        )  # fmt: skip
        span = stats.norm.cdf(6000, teff, 50) - stats.norm.cdf(5000, teff, 50)
        expected = np.log(0.01 * np.sqrt(2 * np.pi) * 50 / 1000 * span)
        np.testing.assert_allclose(out[0][0], expected, rtol=1e-7)  # 0.01 in float32
        np.testing.assert_allclose(out[1][0], 0.0, atol=1e-12)
        np.testing.assert_allclose(out[2][0], 0.03, rtol=1e-9)


@pytest.mark.parametrize("centre", [-0.97, -0.52, -0.49, 0.13, 0.48])
@pytest.mark.parametrize("sd", [0.0, 0.03, 0.2])
def test_linearisation_is_the_mean_and_mean_slope(centre, sd):
    node, mean, slope = np.empty(5, np.int64), np.empty(5), np.empty(5)
    n = linearise(FEH, centre, sd, node, mean, slope)
    values = np.array([1.0, 3.0, 2.0, 2.5])

    def function(x):
        i = np.clip(np.searchsorted(FEH, x) - 1, 0, 2)
        rate = np.diff(values) / np.diff(FEH)
        return values[i] + rate[i] * (x - FEH[i]), rate[i]

    z = np.linspace(-8, 8, 160_001)
    weight = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    expected = [(weight * v).sum() for v in function(centre + sd * z)]
    used = values[node[:n]]
    # Cells of less than 0.2% are left out.
    assert mean[:n] @ used == pytest.approx(expected[0], abs=5e-3)
    assert slope[:n] @ used == pytest.approx(expected[1], abs=0.05)
    assert mean[:n].sum() == pytest.approx(1.0, rel=1e-12)
    assert slope[:n].sum() == pytest.approx(0.0, abs=1e-12)


def test_block_bounds_are_below_every_chi_square():
    grid = linear_grid()
    rng = np.random.default_rng(4)
    n = 40
    obs = np.column_stack(
        [rng.uniform(4500, 6500, n), rng.uniform(3.5, 4.7, n), rng.uniform(1, 6, n), np.zeros(n)]
    )
    inv = np.tile([1 / 22.6, 20.0, 10.0, 0.0], (n, 1))
    feh = np.column_stack([rng.uniform(-0.9, 0.4, n), np.full(n, 0.03)])
    alpha = np.column_stack([rng.uniform(-0.1, 0.5, n), np.full(n, 0.02)])
    chi2 = run(grid, obs, inv, feh, alpha)[3]
    # Brute minimum over points: an upper limit to the least over segments and compositions.
    for s in range(n):
        f, a = feh[s, 0], alpha[s, 0]
        j, k = np.searchsorted(FEH, f) - 1, np.searchsorted(ALPHA, a) - 1
        x, y = (f - FEH[j]) / 0.5, (a - ALPHA[k]) / 0.4
        p = grid.points.astype(float)
        track = (1 - y) * ((1 - x) * p[:, j, k] + x * p[:, j + 1, k])
        track += y * ((1 - x) * p[:, j, k + 1] + x * p[:, j + 1, k + 1])
        brute = (((track[..., :4] - obs[s]) * inv[s]) ** 2).sum(-1).min()
        if brute < kernel.FAR:
            assert chi2[s] <= brute * (1 + 1e-4) + 1e-4
