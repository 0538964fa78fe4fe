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
from migrate_bayes.population.likelihood.theta import OUTLIER, THETA
from migrate_bayes.population.sampling.density import PosteriorDensity, find_mode
from migrate_bayes.population.sampling.surrogate import (
    Coordinates,
    Surrogate,
    fit_surrogate,
    natural,
    natural_gradient,
    pareto_weights,
    passes_for,
    resample,
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
    rng = np.random.default_rng(0)
    points = density.start + 0.05 * rng.normal(size=(3 * density.n, density.n))
    return Coordinates.spanning(
        density.theta(density.start), np.stack([density.theta(x) for x in points])
    )


def of_gaps(density):
    """Which unconstrained parameters are of the gaps between the discs."""
    point = density.model.pymc.initial_point()
    return np.concatenate([np.full(np.size(v), "gap" in name) for name, v in point.items()])


def test_a_model_linear_in_its_knots_is_spanned(density, coordinates):
    # σ_G adds no direction to those of the deviations that it scales; a gap, an exponential of its
    # knots, may add some, and the norm of P(age) one in each class.
    n_classes = len(density.likelihood.stars.class_centre)
    most = density.n - 1 + of_gaps(density).sum() + n_classes - 1
    assert density.n - 1 <= coordinates.n <= most
    theta = density.theta(density.start + 0.3 * np.random.default_rng(1).normal(size=density.n))
    phi = coordinates.of(theta)
    back = coordinates.origin + coordinates.spread * (coordinates.directions @ phi).reshape(
        theta.shape
    )
    curved = [THETA.index(name) for name in ("a", "m")]
    flat = np.delete(np.arange(len(THETA)), curved)
    np.testing.assert_allclose(back[..., flat], natural(theta)[..., flat], atol=2e-4)
    np.testing.assert_allclose(back[..., curved], natural(theta)[..., curved], atol=0.02)


def test_gradients_through_the_coordinates(density, coordinates):
    rng = np.random.default_rng(2)
    x = density.start + 0.1 * rng.normal(size=density.n)
    theta = density.theta(x)
    _, slope = density.likelihood.value_and_gradient(theta)
    # θ → φ → θ → x is θ → x: all that x can do is within φ.
    through = density.back(x, coordinates.pullback(theta, coordinates.gradient(theta, slope)),
                           prior=False)  # fmt: skip
    direct = density.back(x, slope, prior=False)
    gap = of_gaps(density)
    scale = np.abs(direct).max()
    np.testing.assert_allclose(through[~gap], direct[~gap], rtol=1e-6, atol=2e-6 * scale)
    np.testing.assert_allclose(through[gap], direct[gap], rtol=0.1, atol=1e-3 * scale)
    # The Jacobian is the derivative of θ(φ) with normalised weights.
    jacobian = coordinates.jacobian(theta).reshape(theta.size, -1)
    np.testing.assert_allclose(
        slope.ravel() @ jacobian, coordinates.gradient(theta, slope), rtol=1e-9, atol=1e-6
    )
    weights = coordinates.jacobian(theta)[..., 0, :]
    np.testing.assert_allclose(np.tensordot(np.exp(theta[..., 0]), weights, 2), 0.0, atol=1e-12)


def with_outliers(theta, share):
    """Add the outliers' component to θ of two discs."""
    flat = np.full(len(AGES), share / len(AGES))
    stray = np.stack([np.log(flat), *(np.full(len(AGES), v) for v in OUTLIER)], axis=-1)
    discs = theta.copy()
    discs[..., 0] += np.log1p(-share)
    return np.concatenate([discs, stray[None]])


def test_a_sample_without_outliers_has_coordinates():
    """Defect: ln P of outliers has no end there, and no weight could be trusted (k̂ of 66)."""
    theta = PopulationTruth().theta(AGES)
    none, few = (natural(with_outliers(theta, share)) for share in (1e-30, 1e-3))
    np.testing.assert_allclose(few[:2], none[:2], atol=1e-12)
    np.testing.assert_allclose(few[2, :, 0] - none[2, :, 0], 1e-3 / len(AGES))


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_natural_gradient_against_finite_differences(share):
    theta = PopulationTruth().theta(AGES)
    theta = with_outliers(theta, share) if share else theta
    likelihood = StarLikelihood(population_data(simulated_stars(500, seed=1)).stars)

    def of_eta(eta):
        t = eta.copy()
        logs = [THETA.index(n) for n in ("sigma2", "s2", "t2", "q2")]
        t[..., logs] = np.exp(eta[..., logs])
        t[2:, :, 0] = np.log(eta[2:, :, 0])
        t[:2, :, 0] += np.log1p(-eta[2:, :, 0].sum()) - np.log(np.exp(eta[:2, :, 0]).sum())
        return likelihood.value_and_gradient(t)

    eta = natural(theta)
    gradient = natural_gradient(theta, of_eta(eta)[1])
    rng = np.random.default_rng(3)
    for _ in range(4):
        direction = rng.normal(size=eta.shape)
        h = 1e-5
        numeric = (of_eta(eta + h * direction)[0] - of_eta(eta - h * direction)[0]) / (2 * h)
        assert (gradient * direction).sum() == pytest.approx(numeric, rel=1e-5, abs=1e-2)


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
    fitted = fit_surrogate(phi, gradient, start)
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
    bent = fit_surrogate(phi, phi @ curvature, start)
    assert np.linalg.eigvalsh(bent.curvature).min() > -1e-9


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
    assert passes_for(1_300_000, 4000) == 1538
    assert passes_for(4_000_000, 4000) == 800
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


@pytest.fixture(scope="module")
def of_few(small_density):
    few = small_density(population_data(simulated_stars(300, seed=8)))
    return few, find_mode(few)


def test_weights_with_a_heavy_tail_teach_the_surrogate(of_few, monkeypatch):
    """A repeat has met 100 slopes of the pilot and as many of the draws that failed."""
    from migrate_bayes.population.sampling import surrogate

    few, mode = of_few
    taught, tails = [], iter([0.9, 0.8, 0.2])

    def fit(phi, gradient, earlier):
        taught.append(len(phi))
        return fit_surrogate(phi, gradient, earlier)

    monkeypatch.setattr(surrogate, "run_nuts", gaussian)
    monkeypatch.setattr(surrogate, "fit_surrogate", fit)
    monkeypatch.setattr(
        surrogate, "pareto_weights", lambda ratio: (np.full(len(ratio), -5.7), next(tails))
    )
    before = few.likelihood.evaluations
    draws, _, about = surrogate.sample_surrogate(
        few, mode, SamplerOptions(draws=150, tune=20, chains=2, target_accept=0.8), seed=1
    )
    assert (about["surrogate_rounds"], about["pareto_k"]) == (3, 0.2)
    assert taught == [100, 200, 300]
    # One of the Fisher information, 300 for slopes, and for weights 300 in each round.
    assert few.likelihood.evaluations - before == 1 + 300 + 3 * 300
    assert draws.shape == (2, 150, few.n)


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
    from migrate_bayes.population.likelihood import remembered
    from migrate_bayes.population.sampling import surrogate

    (few, near), path = of_few, tmp_path / "fit.partial"
    monkeypatch.setattr(surrogate, "run_nuts", gaussian)
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
        with remembered.Journal(path, "this fit") as journal:
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
    with remembered.Journal(path, "this fit") as journal:
        assert len(journal) == made
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with remembered.Journal(path, "this fit") as journal:
        assert 0 < len(journal) < made
    with remembered.Journal(path, "another fit") as journal:
        assert len(journal) == 0


@pytest.mark.parametrize(("size", "batches"), [(60, 2), (10, 4)])
def test_uneven_weights_are_mended_by_more_of_them(of_few, monkeypatch, size, batches):
    """A batch of 100 draws brings `size` equal ones; 100 are wanted, four batches are the most."""
    from migrate_bayes.population.sampling import surrogate

    few, mode = of_few

    def weights(ratio):
        made = np.full(len(ratio), -40.0)
        made[: size * len(ratio) // 100] = 0.0
        return made - np.logaddexp.reduce(made), 0.3

    monkeypatch.setattr(surrogate, "run_nuts", gaussian)
    monkeypatch.setattr(surrogate, "pareto_weights", weights)
    options = SamplerOptions(draws=50, tune=20, chains=2)
    draws, stats, about = surrogate.sample_surrogate(few, mode, options, seed=1)
    assert about["importance_ess"] == pytest.approx(size * batches)
    assert draws.shape == (2, 50 * batches, few.n)
    assert stats["log_weight"].shape == (2, 50 * batches)
    assert len(np.unique(draws[..., 0])) == size * batches


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
