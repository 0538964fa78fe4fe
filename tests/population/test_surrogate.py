"""The surrogate: its coordinates, its fit, its weights, and the information of simulated stars."""

from contextlib import nullcontext
from functools import partialmethod

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from migrate_bayes.mock.model_stars import AGES, PopulationTruth, simulated_stars
from migrate_bayes.population import ModelSpec, PopulationModel, SamplerOptions, population_data
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.likelihood.theta import THETA
from migrate_bayes.population.sampling.density import Mode, PosteriorDensity, find_mode
from migrate_bayes.population.sampling.surrogate import (
    Coordinates,
    Surrogate,
    fit_surrogate,
    pareto_weights,
    passes_for,
    resample,
    sample_surrogate,
    surrogate_density,
)


@pytest.fixture(scope="module", params=[1, 12])
def density(request):
    """With so many classes of today's radius."""
    stars = simulated_stars(3000, seed=8)
    if request.param > 1:
        today = np.random.default_rng(5).normal(8.3, 1.6, 3000)
        stars = stars.assign(r_present=("star", today))
    data = population_data(stars)
    assert len(data.classes.centre) == request.param
    return PosteriorDensity(PopulationModel(data, ModelSpec()), mode="FAST_COMPILE")


@pytest.fixture(scope="module")
def coordinates(density):
    """Of a posterior whose parameters spread by 0.05, and independently."""
    x, spread = density.start, 0.05**2 * np.eye(density.n)
    return Coordinates.telling(density.theta(x), density.jacobian(x), spread)


def test_coordinates_are_as_many_as_stars_can_see(density, coordinates):
    """Defect: of 62 for what 57 parameters do to the stars, slopes along five were partial."""
    assert coordinates.n == density.n - 1  # σ_G moves no star in a way of its own
    x = density.start + 0.1 * np.random.default_rng(2).normal(size=density.n)
    theta, jacobian = density.theta(x), density.jacobian(x)
    step, h = coordinates.inverse(theta, jacobian), 1e-6
    moved = [(coordinates.of(density.theta(x + h * s)) - coordinates.of(theta)) / h for s in step.T]
    np.testing.assert_allclose(moved, np.eye(coordinates.n), atol=1e-4)
    # All that x does to the likelihood is within φ.
    _, slope = density.likelihood.value_and_gradient(theta)
    direct = density.back(x, slope, prior=False)
    through = coordinates.pullback(theta, direct @ step)
    np.testing.assert_allclose(
        density.back(x, through, prior=False), direct, rtol=1e-6, atol=1e-6 * np.abs(direct).max()
    )


def test_coordinates_are_of_ages_where_stars_are(density):
    """Defect: laws were told by their values at ages without stars, of which ln L is no parabola.

    There a bend of the profile follows from those that stars see; a survey's surrogate ran away.
    """
    x, spread = density.start, 0.05**2 * np.eye(density.n)
    theta = density.theta(x)
    theta[..., 0] -= 1.5 * (AGES - AGES[0])  # e⁻¹⁹ at the oldest
    chosen = Coordinates.telling(theta, density.jacobian(x), spread)
    disc, age, column = np.unravel_index(chosen.rows, theta.shape)
    laws = (disc < 2) & np.isin(column, [THETA.index(name) for name in ("mu", "Z", "G")])
    assert laws.sum() > 5
    assert AGES[age[laws]].max() < 9.0


def of_one(kind, value):
    """One number of θ as a coordinate: ln P, a variance or another; φ is 0 at the value."""
    n_shares, n_logs = int(kind == "share"), int(kind == "log")
    one = Coordinates(np.array([0]), n_shares, n_logs, np.zeros(1), np.ones(1))
    return one._replace(origin=one.of(np.array([value])))


@pytest.mark.parametrize(("kind", "value"), [("share", -3.0), ("log", 0.2), ("mean", 7.0)])
def test_rates_are_derivatives(kind, value):
    one, h = of_one(kind, value), 1e-6
    up, down = (one.of(np.array([value + s])) for s in (h, -h))
    assert one.rate(np.array([value])) == pytest.approx((up - down) / (2 * h), rel=1e-8)
    assert one.pullback(np.array([value]), np.ones(1)) == pytest.approx(one.rate(np.array([value])))


def test_few_stars_are_gaussian_in_the_cube_root_of_their_share():
    """Five stars at a node: N P expected. ln L = 5 ln P − N P has no third derivative there."""
    n, at_most = 200.0, np.log(5.0 / 200.0)
    one = of_one("share", at_most)
    shares = at_most + np.array([-0.6, 0.0, 0.6])
    phi = np.array([one.of(np.array([v]))[0] for v in shares])
    down, top, up = 5.0 * shares - n * np.exp(shares)
    # A parabola through the maximum has one curvature on both sides; in ln P they differ by half.
    left, right = (down - top) / phi[0] ** 2, (up - top) / phi[2] ** 2
    assert left == pytest.approx(right, rel=0.05)
    assert (down - top) / (up - top) < 0.7
    # No stars at all, as of outliers, is a place like others. Defect: ln P has no end there.
    assert of_one("share", np.log(1e-3)).of(np.array([-1e3]))[0] == pytest.approx(-0.1)


def test_fisher_information_is_the_expected_hessian():
    # At the truth of the stars' own model the two agree but for the noise of a finite sample.
    truth, n = PopulationTruth(), 20_000
    theta = truth.theta(AGES)
    likelihood = StarLikelihood(
        population_data(simulated_stars(n, seed=6, truth=theta), trim=1e-8).stars
    )
    names = ("mu", "Z", "G", "m", "a")
    jacobian = np.zeros((*theta.shape, 2 * len(names)))
    for j, name in enumerate(names):
        for c in range(2):
            jacobian[c, :, THETA.index(name), 2 * j + c] = 1.0
    _, _, information = likelihood.score_outer(theta, jacobian)
    flat = jacobian.reshape(theta.size, -1)
    hessian = np.empty_like(information)
    for i in range(flat.shape[1]):
        h = 1e-4
        step = h * jacobian[..., i]
        up, down = (likelihood.value_and_gradient(theta + s)[1].ravel() for s in (step, -step))
        hessian[i] = (down - up) @ flat / (2 * h)
    scale = np.sqrt(np.outer(np.diag(information), np.diag(information)))
    # Products of two unit scores have a standard deviation near 1.5 for a normal law.
    assert np.abs((information - hessian) / scale).max() < 6 * 1.5 / np.sqrt(0.1 * n)
    np.testing.assert_allclose(np.diag(hessian), np.diag(information), rtol=0.1)


def test_a_quadratic_is_fitted_exactly():
    rng = np.random.default_rng(4)
    n, m = 7, 60
    root = rng.normal(size=(n, n))
    curvature, slope = root @ root.T, rng.normal(size=n)
    phi = rng.normal(size=(m, n)) @ rng.normal(size=(n, n))
    gradient = slope - phi @ curvature
    start = Surrogate(np.zeros(n), np.zeros(n), 0.8 * curvature)
    weight = rng.random(m)
    weight[0], gradient[0] = 0.0, 1e6  # a draw where the posterior has nothing
    fitted = fit_surrogate(phi, gradient, weight, start)
    np.testing.assert_allclose(fitted.curvature, curvature, rtol=5e-3, atol=5e-3)
    point = phi[3]
    value, at = fitted(point)
    # The centre is a mean of points, where the fit is exact; elsewhere the ridge is all there is.
    assert value == pytest.approx(
        (slope @ point - 0.5 * point @ curvature @ point)
        - (slope @ fitted.centre - 0.5 * fitted.centre @ curvature @ fitted.centre),
        rel=1e-2, abs=1e-2,
    )  # fmt: skip
    np.testing.assert_allclose(at, gradient[3], rtol=1e-2, atol=1e-2)
    # A direction in which the likelihood curves upwards is left flat.
    bent = fit_surrogate(phi, phi @ curvature, weight, start)
    assert np.linalg.eigvalsh(bent.curvature).min() > -1e-9


def test_noise_does_not_flatten_a_surrogate():
    """Defect: of 93 coordinates and 100 draws the fit was worse than what it had begun with."""
    rng = np.random.default_rng(9)
    n, m = 40, 60
    curvature = np.diag(np.repeat([1.0, 0.2], n // 2))
    start = Surrogate(np.zeros(n), np.zeros(n), curvature)
    phi, noise = rng.normal(size=(2, m, n))
    fitted = fit_surrogate(phi, noise - phi @ curvature, np.ones(m), start)
    assert np.linalg.eigvalsh(fitted.curvature).min() > 0.1


def test_surrogate_density_gradient(density, coordinates):
    rng = np.random.default_rng(5)
    root = rng.normal(size=(coordinates.n, coordinates.n))
    surrogate = Surrogate(
        rng.normal(size=coordinates.n), rng.normal(size=coordinates.n), root @ root.T
    )
    target = surrogate_density(density, coordinates, surrogate)
    x = density.start + 0.05 * rng.normal(size=density.n)
    _, gradient = target(x)
    for _ in range(4):
        direction = rng.normal(size=density.n)
        h = 1e-6
        numeric = (target(x + h * direction)[0] - target(x - h * direction)[0]) / (2 * h)
        assert gradient @ direction == pytest.approx(numeric, rel=1e-4, abs=1e-3)


def test_a_leap_to_where_a_scatter_is_nothing_is_refused(density, coordinates):
    """Without a warning: it is the warm-up's."""
    n = coordinates.n
    target = surrogate_density(density, coordinates, Surrogate(np.zeros(n), np.ones(n), np.eye(n)))
    point = density.model.pymc.initial_point()
    away = [np.ravel(v - 400.0 * name.startswith("log_height")) for name, v in point.items()]
    away = np.concatenate(away)
    assert np.isfinite(target(density.start)[0])
    value, gradient = target(away)
    assert value == -np.inf
    assert not gradient.any()


@pytest.mark.parametrize(("shift", "scale", "good"), [(0.3, 1.0, True), (0.0, 5.0, False)])
def test_pareto_weights(shift, scale, good):
    # k̂ tells a proposal that is too narrow; where it is good, so is the mean.
    rng = np.random.default_rng(6)
    x = rng.normal(size=4000)
    log_ratio = norm.logpdf(x, shift, scale) - norm.logpdf(x)
    log_weight, k = pareto_weights(log_ratio)
    assert (k < 0.7) is good
    assert np.exp(log_weight).sum() == pytest.approx(1.0)
    if good:
        assert np.exp(log_weight) @ x == pytest.approx(shift, abs=0.08)


def test_resampling_keeps_order_and_proportions():
    rng = np.random.default_rng(7)
    weight = rng.random(1000)
    taken = resample(weight, rng)
    assert (np.diff(taken) >= 0).all()
    count = np.bincount(taken, minlength=1000)
    assert np.abs(count - 1000 * weight / weight.sum()).max() < 1.0


def test_number_of_passes():
    assert passes_for(20_000, 4000) == 4000
    assert passes_for(100_000, 4000) == 2000
    assert passes_for(4_000_000, 4000) == 1600
    assert passes_for(4_000_000, 200) == 200
    assert passes_for(1000, 20) == 100


@pytest.mark.slow
def test_surrogate_and_nuts_are_one_posterior():
    model = PopulationModel(population_data(simulated_stars(20_000, seed=1)), ModelSpec())
    density = PosteriorDensity(model)
    one, two = (
        model.sample(method=m, density=density, seed=2, prior_draws=0, progressbar=False)
        for m in ("surrogate", "nuts")
    )
    assert one.attrs["pareto_k"] < 0.7
    for tree in (one, two):
        assert int(tree["sample_stats"]["diverging"].sum()) == 0
        assert tree.attrs["r_hat"] < 1.01
        assert tree.attrs["ess_bulk"] > 400
    for rv in model.pymc.free_RVs:
        a, b = (tree["posterior"][rv.name] for tree in (one, two))
        over = ("chain", "draw")
        assert (abs(a.mean(over) - b.mean(over)) < 0.1 * b.std(over)).all(), rv.name
        assert (abs(a.std(over) / b.std(over) - 1.0) < 0.1).all(), rv.name


def test_equal_weights_have_no_tail():
    log_weight, k = pareto_weights(np.full(100, 7.0))
    np.testing.assert_allclose(np.exp(log_weight), 0.01)
    assert k < 0.7


def gaussian(target, mode, options, *, seed, thin, **_):
    """Draw from the Gaussian at the mode, in place of NUTS."""
    shape = (options.chains, options.draws, len(mode.vector))
    z = np.random.default_rng(seed).normal(size=shape)
    return mode.vector + z @ np.linalg.cholesky(mode.covariance).T, xr.Dataset(
        {"diverging": (("chain", "draw"), z[..., 0] > 9)}
    )


class Known:
    """A posterior in closed form: of three numbers of θ, x, under a prior N(0, 3²) of each.

    It stands in for a `PosteriorDensity` and for its likelihood.
    """

    n, n_stars, columns = 3, 1000, [THETA.index(name) for name in ("mu", "G", "s2")]

    def __init__(self, of_stars, information):
        self.likelihood, self.of_stars, self.information = self, of_stars, information
        self.mode = Mode(np.zeros(3), np.linalg.inv(information + np.eye(3) / 9.0), 0.0)

    def theta(self, x):
        theta = np.zeros((1, 1, len(THETA)))
        theta[..., [THETA.index(name) for name in ("sigma2", "t2", "q2")]] = 1.0
        theta[0, 0, self.columns] = x[0], x[1], np.exp(x[2])
        return theta

    def jacobian(self, x):
        out = np.zeros((1, 1, len(THETA), 3))
        out[0, 0, self.columns, range(3)] = 1.0, 1.0, np.exp(x[2])
        return out

    def back(self, x, slope, *, prior):
        return np.tensordot(slope, self.jacobian(x), 3) - prior * x / 9.0

    def with_likelihood(self, of_stars, x):
        value, slope = of_stars(self.theta(x))
        return value - x @ x / 18.0, self.back(x, slope, prior=True)

    def x(self, theta):
        x = theta[0, 0, self.columns]
        return np.append(x[:2], np.log(x[2]))

    def value(self, theta):
        return self.of_stars(self.x(theta))[0]

    def value_and_gradient(self, theta):
        x = self.x(theta)
        value, slope = self.of_stars(x)
        of_theta = np.zeros_like(theta)
        of_theta[0, 0, self.columns] = slope * [1.0, 1.0, np.exp(-x[2])]
        return value, of_theta

    def score_outer(self, theta, jacobian):
        value, slope = self.value_and_gradient(theta)
        scale = (
            jacobian[0, 0, self.columns] * np.array([1.0, 1.0, np.exp(-self.x(theta)[2])])[:, None]
        )
        return (
            value,
            slope.ravel() @ jacobian.reshape(theta.size, -1),
            scale.T @ self.information @ scale,
        )


def test_a_gaussian_likelihood_has_equal_weights_and_the_exact_posterior():
    at = np.array([0.3, -0.2, 0.5])
    information = np.array([[2.0, 0.5, -0.4], [0.5, 3.0, 0.2], [-0.4, 0.2, 2.5]])

    def of_stars(x):
        bend = information @ (x - at)
        return -0.5 * (x - at) @ bend, -bend

    known = Known(of_stars, information)
    exact = np.linalg.inv(information + np.eye(3) / 9.0)
    draws, _, about = sample_surrogate(known, known.mode, SamplerOptions(draws=500), seed=1)
    assert about["pareto_k"] == 0.0
    assert about["importance_ess"] == pytest.approx(2000)
    x = draws.reshape(-1, 3)
    error = np.sqrt(np.diag(exact) / 1000)
    assert (np.abs(x.mean(axis=0) - exact @ information @ at) < 4 * error).all()
    np.testing.assert_allclose(np.cov(x.T), exact, atol=0.12 * np.diag(exact).max())


def test_a_skewed_likelihood_is_mended_by_the_weights():
    """A variance of thirty numbers whose mean square is 1: ln V has a long tail upwards."""
    n = 30.0

    def of_stars(x):
        mean, v = x[:2], np.exp(-x[2])
        return -0.5 * mean @ mean - 0.5 * n * (x[2] + v), np.append(-mean, -0.5 * n * (1.0 - v))

    known = Known(of_stars, np.diag([1.0, 1.0, 0.5 * n]))
    draws, _, about = sample_surrogate(known, known.mode, SamplerOptions(draws=1500), seed=1)
    grid = np.linspace(-4.0, 8.0, 4001)
    density = np.exp(-0.5 * n * (grid + np.exp(-grid)) - grid**2 / 18.0)
    density /= density.sum()
    mean = density @ grid
    sd = np.sqrt(density @ (grid - mean) ** 2)
    skewness = density @ ((grid - mean) / sd) ** 3
    z = (draws[..., 2].ravel() - mean) / sd
    # A tail that one direction alone makes is called heavy (k̂) however even the weights are.
    assert about["importance_ess"] > 0.9 * z.size
    assert abs(z.mean()) < 0.08
    assert z.std() == pytest.approx(1.0, abs=0.06)
    assert (z**3).mean() == pytest.approx(skewness, abs=0.12)
    assert skewness > 0.25  # that of the surrogate is 0


def test_chains_of_the_surrogate_go_on_while_r_hat_asks_for_it(monkeypatch):
    # Defect: a fit by surrogate ended with R-hat 1.012, where NUTS on the stars would have gone on.
    from migrate_bayes.population.sampling import surrogate

    known, thinned = Known(lambda x: (-0.5 * x @ x, -x), np.eye(3)), []

    def drawn(target, mode, options, *, seed, thin):
        thinned.append(thin)
        x, stats = gaussian(target, mode, options, seed=seed, thin=thin)
        x[0] += 0.4 * mode.covariance[0, 0] ** 0.5 * (options.chains > 1 and thin < 2)
        return x, stats

    monkeypatch.setattr(surrogate, "run_nuts", drawn)
    # A chain eight times as long is the first, as much again, and twice and four times as much.
    for patience, expected in ((8, [1, 1, 2, 4]), (2, [1, 1]), (1, [1])):
        thinned.clear()
        options = SamplerOptions(draws=400, chains=4, patience=patience)
        x, _, about = surrogate.sample_surrogate(known, known.mode, options, seed=1)
        assert thinned[-len(expected) :] == expected
        assert thinned[: -len(expected)] == [1] * about["surrogate_rounds"]
        assert (surrogate._r_hat(x) < 1.01) == (patience == 8)


def test_draws_that_weights_leave_too_few_of_are_joined_by_more(monkeypatch):
    # Defect: of 1.35 million stars weights left 921 of 1,600 draws; R-hat was 1.012, by chance.
    from migrate_bayes.population.sampling import surrogate

    known = Known(lambda x: (-0.5 * x @ x, -x), np.eye(3))

    def uneven(ratio):
        made = np.random.default_rng(3).normal(size=len(ratio))
        return made - np.logaddexp.reduce(made), 0.1

    monkeypatch.setattr(surrogate, "run_nuts", gaussian)
    monkeypatch.setattr(surrogate, "pareto_weights", uneven)
    monkeypatch.setattr(surrogate, "_ENOUGH", 0.3)
    found = {}
    for patience in (1, 16):
        options = SamplerOptions(draws=400, chains=4, patience=patience)
        x, stats, about = surrogate.sample_surrogate(known, known.mode, options, seed=1)
        assert stats["log_weight"].shape == x.shape[:2]
        assert about["importance_ess"] == pytest.approx(x[..., 0].size / np.e, rel=0.2)
        found[patience] = x.shape[1] / 400, surrogate._r_hat(x)
    assert found[1][0] == 1 < found[16][0] < 16
    assert found[1][1] > 1.0075 > found[16][1]
    # They are draws of the posterior, of variance 0.9, as well as ever.
    assert x.var(axis=(0, 1)) == pytest.approx(
        0.9, abs=5 * 0.9 * np.sqrt(2 * np.e / x[..., 0].size)
    )


@pytest.fixture(scope="module")
def of_few(small_density):
    few = small_density(population_data(simulated_stars(300, seed=8)))
    return few, find_mode(few)


@pytest.mark.parametrize(
    ("tails", "sizes"), [([0.9, 0.8, 0.2], [1.0] * 3), ([0.2] * 3, [0.4, 0.3, 0.6])]
)
def test_bad_weights_teach_the_surrogate(monkeypatch, tails, sizes):
    """A heavy tail, or few equal draws: a repeat has met slopes at the draws that failed too."""
    from migrate_bayes.population.sampling import surrogate

    known = Known(lambda x: (-0.5 * x @ x, -x), np.eye(3))
    taught, tails, sizes = [], iter(tails), iter(sizes)

    def fit(phi, gradient, weight, earlier):
        taught.append(len(phi))
        return fit_surrogate(phi, gradient, weight, earlier)

    def weights(ratio):
        made = np.full(len(ratio), -40.0)
        made[: int(next(sizes) * len(ratio))] = 0.0
        return made - np.logaddexp.reduce(made), next(tails)

    monkeypatch.setattr(surrogate, "run_nuts", gaussian)
    monkeypatch.setattr(surrogate, "fit_surrogate", fit)
    monkeypatch.setattr(surrogate, "pareto_weights", weights)
    draws, stats, about = surrogate.sample_surrogate(
        known, known.mode, SamplerOptions(draws=150, tune=20, chains=2), seed=1
    )
    pilots = len(taught) - 2
    assert (about["surrogate_rounds"], about["pareto_k"]) == (pilots + 2, 0.2)
    assert taught == [100 * (i + 1) for i in range(pilots + 2)]
    assert draws.shape == (2, 150, known.n)
    assert stats["log_weight"].shape == (2, 150)


class Mortal:
    """A likelihood that dies after some passes."""

    def __init__(self, likelihood, passes):
        self.likelihood, self.left, self.made = likelihood, passes, 0

    def __getattr__(self, name):
        return getattr(self.likelihood, name)

    def _pass(self, name, *arguments):
        if self.made == self.left:
            raise KeyboardInterrupt
        self.made += 1
        return getattr(self.likelihood, name)(*arguments)

    value = partialmethod(_pass, "value")
    value_and_gradient = partialmethod(_pass, "value_and_gradient")
    score_outer = partialmethod(_pass, "score_outer")


def test_a_fit_that_was_killed_goes_on_to_the_same_bits(of_few, tmp_path, monkeypatch):
    """Mode, surrogate and weights: no pass is made twice, wherever the fit ended."""
    from migrate_bayes.core.journal import Journal
    from migrate_bayes.population.likelihood import remembered
    from migrate_bayes.population.sampling import surrogate

    (few, near), path = of_few, tmp_path / "fit.partial"
    monkeypatch.setattr(surrogate, "run_nuts", gaussian)
    monkeypatch.setattr(surrogate, "_PILOT", 10)
    monkeypatch.setattr(surrogate, "_ROUNDS", 1)
    monkeypatch.setattr(remembered, "WORTH", 0.0)
    options = SamplerOptions(draws=60, tune=20, chains=2, target_accept=0.8)

    def fit(likelihood):
        density = few.over(likelihood)
        density.start = near.vector + 0.01  # climbs from afar are longer, and no other
        mode = find_mode(density)
        return mode, surrogate.sample_surrogate(density, mode, options, seed=1)

    undisturbed = Mortal(few.likelihood, 10**9)
    mode, (draws, stats, about) = fit(undisturbed)
    made = 0
    for n in (2, 60, 150, 10**9):
        mortal = Mortal(few.likelihood, n)
        with Journal(path, "this fit") as journal:
            likelihood = remembered.RememberedLikelihood(mortal, journal)
            with nullcontext() if n == 10**9 else pytest.raises(KeyboardInterrupt):
                again = fit(likelihood)
        made += mortal.made
        # What a kill leaves of a record is cut off.
        path.write_bytes(path.read_bytes() + b"part of a record")
    assert made <= undisturbed.made == likelihood.evaluations
    assert again[0].vector.tobytes() == mode.vector.tobytes()
    assert again[1][0].tobytes() == draws.tobytes()
    xr.testing.assert_identical(again[1][1], stats)
    assert again[1][2] == about
    with Journal(path, "this fit") as journal:
        assert len(journal) == made
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with Journal(path, "this fit") as journal:
        assert 0 < len(journal) < made
    with Journal(path, "another fit") as journal:
        assert len(journal) == 0


def test_weights_that_cannot_be_trusted_end_in_nuts(of_few, monkeypatch):
    from migrate_bayes.population.sampling import posterior

    few, mode = of_few
    bad = np.zeros((2, 50, few.n)), xr.Dataset(), {"pareto_k": 0.9}
    monkeypatch.setattr(posterior, "find_modes", lambda *args, **options: [mode])
    monkeypatch.setattr(posterior, "sample_surrogate", lambda *args, **options: bad)
    monkeypatch.setattr(posterior, "run_nuts", gaussian)
    with pytest.warns(RuntimeWarning, match=r"k̂ = 0.90, limit 0.7\): sampling with NUTS instead"):
        tree = few.model.sample(
            method="surrogate", density=few, draws=10, tune=20, chains=2, starts=1, patience=1,
            seed=1, prior_draws=0, progressbar=False,
        )  # fmt: skip
    assert tree.attrs["method"] == "nuts"
    assert tree.attrs["surrogate_pareto_k"] == 0.9
    assert tree["posterior"].sizes["draw"] == 10
