"""The likelihood kernel against independent computations."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.population.likelihood.kernel import BLOCK
from migrate_bayes.population.likelihood.layout import StarArrays, pack, run_of_blocks, unpack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.likelihood.theta import OUTLIER, THETA, bent_by, n_columns

N_AGES = 7


def random_theta(rng, n_ages=N_AGES, *, outliers=False):
    theta = np.zeros((2, n_ages, len(THETA)))
    shape = (2, n_ages)
    for name, draw in {
        "log_weight": rng.normal(-2, 1, shape),
        "mu": rng.normal(8, 1, shape),
        "sigma2": rng.uniform(0.5, 4, shape),
        "Z": rng.normal(-0.2, 0.2, shape),
        "G": rng.normal(-0.05, 0.05, shape),
        "s2": rng.uniform(0.01, 0.1, shape),
        "a": rng.normal(0.1, 0.1, shape),
        "b": rng.normal(-0.1, 0.2, shape),
        "t2": rng.uniform(0.0005, 0.01, shape),
        "m": rng.normal(-0.5, 1, shape),
        "q2": rng.uniform(0.1, 1.0, shape),
    }.items():
        theta[..., THETA.index(name)] = draw
    if not outliers:
        return theta
    third = np.broadcast_to([np.log(0.3 / n_ages), *OUTLIER], (1, n_ages, len(THETA)))
    return np.concatenate([theta, third])


def random_stars(rng, n):
    stars = {
        "log_weight": rng.normal(0, 3, (n, N_AGES)),
        "feh": rng.normal(-0.2, 0.3, (n, N_AGES)),
        "feh_variance": rng.uniform(0.02, 0.1, (n, N_AGES)) ** 2,
        "radius": rng.normal(8, 2, n),
        "radius_variance": rng.uniform(0.05, 0.5, n) ** 2,
        "alpha": rng.normal(0.1, 0.1, n),
        "alpha_variance": rng.uniform(0.01, 0.05, n) ** 2,
        "height": rng.normal(-0.5, 1, n),
        "height_variance": rng.uniform(0.01, 0.3, n) ** 2,
        "own_feh": rng.normal(-0.2, 0.3, n),
        "own_feh_variance": rng.uniform(0.1, 0.11, n) ** 2,
    }
    # A metallicity that has little of [α/Fe]: [Fe/H] may then be known at an age as well as above.
    shared = rng.uniform(0.0, 0.3, n) * stars["alpha_variance"]
    return stars | {"alpha_rate": shared / stars["own_feh_variance"]}


def pack_stars(stars, **options):
    return pack(StarArrays(**stars), np.full(N_AGES, 1.0 / N_AGES), **options)


def joint_normal_log_likelihood(stars, theta):
    """ln L of each star from one 4-dimensional normal per component and node."""
    n = len(stars["radius"])
    terms = np.empty((n, theta.shape[0], N_AGES))
    for i in range(n):
        for c in range(theta.shape[0]):
            for k in range(N_AGES):
                lnp, mu, s2r, Z, G, s2, a, b, t2, m, q2 = theta[c, k, :11]
                mean_f = Z + G * (mu - PIVOT_RADIUS)
                var_f = G**2 * s2r + s2
                cov = np.array(
                    [
                        [s2r, G * s2r, b * G * s2r],
                        [G * s2r, var_f, b * var_f],
                        [b * G * s2r, b * var_f, b**2 * var_f + t2],
                    ]
                )
                cov[0, 0] += stars["radius_variance"][i]
                # What the metallicity of an age adds to the precision of [Fe/H] and [α/Fe].
                feh, alpha, e_f = stars["feh"][i, k], stars["alpha"][i], stars["feh_variance"][i, k]
                own = np.diag([stars["own_feh_variance"][i], stars["alpha_variance"][i]])
                moves = np.array([1.0, stars["alpha_rate"][i]])
                error = own - (own[0, 0] - e_f) * np.outer(moves, moves)
                cov[1:, 1:] += error
                alpha += moves[1] * (feh - stars["own_feh"][i])
                observed = [stars["radius"][i], feh, alpha]
                sd_z = np.sqrt(q2 + stars["height_variance"][i])
                terms[i, c, k] = (
                    stars["log_weight"][i, k]
                    + lnp
                    + multivariate_normal.logpdf(observed, [mu, mean_f, a + b * mean_f], cov)
                    + norm.logpdf(stars["height"][i], m, sd_z)
                )
    return logsumexp(terms, axis=(1, 2)), terms


@pytest.mark.parametrize("outliers", [False, True])
@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, 3 * BLOCK + 5])
def test_matches_joint_normal(n, outliers):
    rng = np.random.default_rng(n)
    stars, theta = random_stars(rng, n), random_theta(rng, outliers=outliers)
    likelihood = StarLikelihood(pack_stars(stars, trim=1e-300))
    expected, terms = joint_normal_log_likelihood(stars, theta)

    value, _ = likelihood.value_and_gradient(theta)
    assert value == pytest.approx(expected.sum(), rel=1e-12, abs=1e-10)

    pick = rng.normal(size=(2, len(theta), N_AGES))
    log_like, mean = likelihood.per_star(theta, pick)
    np.testing.assert_allclose(log_like, expected, rtol=1e-12, atol=1e-11)
    probability = np.exp(terms - expected[:, None, None])
    np.testing.assert_allclose(
        mean, np.einsum("ick,qck->qi", probability, pick), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("outliers", [False, True])
def test_each_radius_class_has_a_law_of_radii_of_its_own(outliers):
    """The sum over classes is that of each class alone under its own θ, to rounding."""
    rng = np.random.default_rng(17)
    n, n_classes = 3 * BLOCK + 40, 4
    stars, theta = random_stars(rng, n), random_theta(rng, outliers=outliers)
    of_class = rng.integers(0, n_classes, n)
    further = [random_theta(rng, outliers=outliers)[..., :3] for _ in range(3)]
    wide = np.concatenate([theta, *further], axis=-1)
    assert wide.shape[-1] == n_columns(n_classes)
    both = StarLikelihood(pack_stars(stars | {"radius_class": of_class}, trim=1e-300))
    value, gradient = both.value_and_gradient(wide)
    log_like, _ = both.per_star(wide)
    x = np.eye(wide.size)[:, ::7].reshape(*wide.shape, -1)
    _, score, information = both.score_outer(wide, x)
    total, expected, outer = 0.0, np.zeros_like(wide), np.zeros_like(information)
    for j in range(n_classes):
        mine, at = of_class == j, 0 if j == 0 else len(THETA) + 3 * (j - 1)
        # Outliers have one share, that of the first class.
        columns = np.tile([at, at + 1, at + 2, *range(3, len(THETA))], (len(theta), 1))
        columns[2:, 0] = 0
        own = np.take_along_axis(wide, columns[:, None], axis=-1)
        own_x = np.take_along_axis(x, columns[:, None, :, None], axis=-2)
        alone = StarLikelihood(pack_stars({k: v[mine] for k, v in stars.items()}, trim=1e-300))
        part, slope = alone.value_and_gradient(own)
        total += part
        for c in range(len(theta)):
            expected[c][:, columns[c]] += slope[c]
        outer += alone.score_outer(own, own_x)[2]
        np.testing.assert_allclose(log_like[mine], alone.per_star(own)[0], rtol=1e-12)
    assert value == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(score, gradient.ravel()[::7], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(information, outer, rtol=1e-9, atol=1e-9)
    # One law for all is a θ without further columns.
    plain = StarLikelihood(pack_stars(stars, trim=1e-300)).value_and_gradient(theta)
    one_law = both.value_and_gradient(theta)
    assert one_law[0] == pytest.approx(plain[0], rel=1e-12)
    np.testing.assert_allclose(one_law[1], plain[1], rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match=r"θ has 17 columns, and the classes .* need 23"):
        both.value(wide[..., :17])


def test_classes_survive_packing_in_parts():
    rng = np.random.default_rng(4)
    n = 5 * BLOCK + 7
    stars = random_stars(rng, n) | {"radius_class": rng.integers(0, 3, n)}
    packed = pack_stars(stars)
    index = rng.permutation(n)[:90]
    np.testing.assert_array_equal(unpack(packed, index).radius_class, stars["radius_class"][index])
    assert sorted(packed.star[packed.star >= 0]) == list(range(n))
    part, numbers = run_of_blocks(packed, 1, 3)
    mine = stars["radius_class"][numbers]
    np.testing.assert_array_equal(unpack(part, np.arange(part.n_stars)).radius_class, mine)


def with_skewness(rng, theta):
    """Give each disc and age a third cumulant, -0.3 to 0.3 s³, that changes with radius."""
    cube = theta[:2, :, THETA.index("s2")] ** 1.5
    theta = theta.copy()
    theta[:2, :, THETA.index("k")] = rng.uniform(-0.3, 0.3, cube.shape) * cube
    theta[:2, :, THETA.index("k_slope")] = rng.uniform(-0.05, 0.05, cube.shape) * cube
    theta[:2, :, THETA.index("skewed")] = 1.0
    return theta


def test_skew_law_against_quadrature():
    rng = np.random.default_rng(8)
    theta = random_theta(rng, 1)[:1]
    theta = np.repeat(with_skewness(rng, theta), N_AGES, axis=1)
    stars = random_stars(rng, 20)
    stars["log_weight"][:, 1:] = -np.inf
    of_one, _ = StarLikelihood(pack_stars(stars)).per_star(theta)
    normal = theta.copy()
    normal[..., THETA.index("skewed")] = 0.0
    without, _ = StarLikelihood(pack_stars(stars)).per_star(normal)
    t = dict(zip(THETA, theta[0, 0], strict=True))
    s = np.sqrt(t["s2"])
    r, f = np.linspace(-9.0, 9.0, 241), np.linspace(-9.0, 9.0, 721)
    for i in range(20):
        radius = t["mu"] + np.sqrt(t["sigma2"]) * r[:, None]
        feh = t["Z"] + t["G"] * (radius - PIVOT_RADIUS) + s * f
        learned = stars["own_feh_variance"][i] - stars["feh_variance"][i, 0]
        rho = stars["alpha_rate"][i]
        alpha = stars["alpha"][i] + rho * (stars["feh"][i, 0] - stars["own_feh"][i])
        # Errors of [Fe/H] and [α/Fe] are covariant at an age.
        cov = np.array([[stars["feh_variance"][i, 0], -rho * learned],
                        [0.0, stars["alpha_variance"][i] - rho**2 * learned]])  # fmt: skip
        cov[1, 0] = cov[0, 1]
        cov[1, 1] += t["t2"]
        left = np.stack([stars["feh"][i, 0] - feh, alpha - t["a"] - t["b"] * feh])
        chi = np.einsum("a...,ab,b...->...", left, np.linalg.inv(cov), left)
        law = norm.pdf(r)[:, None] * norm.pdf(f) * np.exp(-0.5 * chi)
        law *= norm.pdf(stars["radius"][i], radius, np.sqrt(stars["radius_variance"][i]))
        k = t["k"] + t["k_slope"] * (stars["radius"][i] - PIVOT_RADIUS)
        skew = 1.0 + k / (6.0 * s**3) * f * (f**2 - 3.0)
        ratio = (law * skew).sum() / law.sum()
        assert of_one[i] - without[i] == pytest.approx(np.log(ratio), abs=2e-3)


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("outliers", [False, True])
def test_gradient_against_finite_differences(outliers, skewed):
    rng = np.random.default_rng(5)
    stars, theta = random_stars(rng, 100), random_theta(rng, outliers=outliers)
    if skewed:
        theta = with_skewness(rng, theta)
    likelihood = StarLikelihood(pack_stars(stars, trim=1e-300))
    _, gradient = likelihood.value_and_gradient(theta)
    for c in range(len(theta)):
        for k in (0, 3, N_AGES - 1):
            for p in range(len(THETA) if c < 2 else 1):
                step = 1e-4 * max(abs(theta[c, k, p]), 0.1)
                values = []
                # Fourth-order central difference: rounding and truncation both below 1e-7.
                for shift in (-2, -1, 1, 2):
                    moved = theta.copy()
                    moved[c, k, p] += shift * step
                    values.append(likelihood.value_and_gradient(moved)[0])
                numeric = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
                assert gradient[c, k, p] == pytest.approx(numeric, rel=2e-6, abs=2e-6), THETA[p]


def with_bends(rng, theta, *bends):
    """Give each disc and age changes of the gradient at radii r over widths w."""
    columns = []
    for r, w in bends:
        b = rng.normal(0.0, 0.05, theta.shape[:2])
        columns += [b, np.full_like(b, r), np.full_like(b, w)]
    columns.append(np.full(theta.shape[:2], len(bends)))
    return np.concatenate([theta, np.stack(columns, axis=-1)], axis=-1)


def test_a_bend_is_a_change_of_the_gradient():
    row = np.array([[0.0] * len(THETA) + [0.05, 11.0, 0.02, 1.0]])
    far = np.array([[8.0, 9.0, 10.0, 12.0, 14.0]])
    np.testing.assert_allclose(bent_by(row, far), [[0.0, 0.0, 0.0, 0.05, 0.15]], atol=1e-12)
    # Inwards of R_0 what changes is the gradient inside: that at R_0 stays.
    row[0, len(THETA) + 1] = 6.0
    np.testing.assert_allclose(
        bent_by(row, far - 4.0), [[0.1, 0.05, 0.001 * np.log(2.0), 0.0, 0.0]], atol=1e-12
    )
    # An error of the radius blurs it as the mean over the error does: w² grows by its variance.
    row[0, len(THETA) + 1 :] = 11.0, 0.2, 1.0
    error = 0.3 * np.random.default_rng(0).normal(size=400_000)
    for radius in (10.5, 11.0, 11.6):
        blurred = bent_by(row, np.array([[radius]]), 0.09)[0, 0]
        assert blurred == pytest.approx(bent_by(row, radius + error[None]).mean(), abs=3e-4)


@pytest.mark.parametrize("classes", [1, 3])
def test_bends_of_the_profile(classes):
    """A bent law is, to each star, a straight one of its own level and gradient."""
    rng = np.random.default_rng(21)
    n = BLOCK + 30
    stars = random_stars(rng, n) | {"radius_class": rng.integers(0, classes, n)}
    theta = random_theta(rng, outliers=True)
    further = [random_theta(rng, outliers=True)[..., :3] for _ in range(classes - 1)]
    straight = np.concatenate([theta, *further], axis=-1)
    theta = with_bends(rng, straight, (7.0, 0.3), (8.0, 1.0), (11.0, 0.125))
    assert theta.shape[-1] == n_columns(classes, 3)
    both = StarLikelihood(pack_stars(stars, trim=1e-300))
    log_like, _ = both.per_star(theta)
    Z, G = THETA.index("Z"), THETA.index("G")
    for i in range(0, n, 7):
        one = {k: v[i : i + 1] for k, v in stars.items()}
        own = straight.copy()
        R, e2, step = one["radius"], one["radius_variance"], 1e-5
        for c, k in np.ndindex(2, N_AGES):
            low, at, high = (bent_by(theta[c, k][None], R + d, e2)[0] for d in (-step, 0, step))
            slope = (high - low) / (2 * step)
            own[c, k, Z] += at - slope * (R[0] - PIVOT_RADIUS)
            own[c, k, G] += slope
        alone = StarLikelihood(pack_stars(one, trim=1e-300)).value(own)
        assert log_like[i] == pytest.approx(alone, rel=1e-8)
    # No bend at all is the straight profile.
    flat = theta.copy()
    flat[..., [-10, -7, -4]] = 0.0
    np.testing.assert_allclose(both.per_star(flat)[0], both.per_star(straight)[0], rtol=1e-13)

    value, gradient = both.value_and_gradient(theta)
    assert value == pytest.approx(log_like.sum(), rel=1e-13)
    for c, k in np.ndindex(2, N_AGES):
        for p in (1, Z, G, *range(theta.shape[2] - 10, theta.shape[2] - 1, 3)):
            step = np.zeros_like(theta)
            step[c, k, p] = 1e-5
            numeric = (both.value(theta + step) - both.value(theta - step)) / 2e-5
            assert gradient[c, k, p] == pytest.approx(numeric, rel=1e-5, abs=1e-5), p
    x = rng.normal(size=(*theta.shape, 5))
    _, score, information = both.score_outer(theta, x)
    scores = _score_by_star(stars, theta, x)
    np.testing.assert_allclose(score, np.tensordot(gradient, x, axes=3), rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(information, scores.T @ scores, rtol=1e-9, atol=1e-6)


def test_a_bent_profile_against_quadrature():
    """The mean over the error of R_g and the star's radius, without the step to first order."""
    rng = np.random.default_rng(22)
    n = BLOCK
    stars = random_stars(rng, n)
    stars["radius_variance"] = rng.uniform(0.05, 0.3, n) ** 2
    stars["alpha_rate"] = np.zeros(n)
    theta = with_bends(rng, random_theta(rng), (7.0, 0.125), (11.0, 0.125))
    log_like, _ = StarLikelihood(pack_stars(stars, trim=1e-300)).per_star(theta)
    grid = np.linspace(-6.0, 6.0, 2001)
    exact = np.empty(n)
    for i in range(n):
        R, e2 = stars["radius"][i], stars["radius_variance"][i]
        terms = []
        for c, k in np.ndindex(2, N_AGES):
            lnp, mu, s2r, Z, G, s2, a, b, t2, m, q2, *_ = theta[c, k, : len(THETA)]
            at = R + np.sqrt(e2) * grid
            law = Z + G * (at - PIVOT_RADIUS) + bent_by(theta[c, k][None], at[None])[0]
            F, eF = stars["feh"][i, k], stars["feh_variance"][i, k]
            A, eA = stars["alpha"][i], stars["alpha_variance"][i]
            cov = np.array([[s2 + eF, b * s2], [b * s2, b**2 * s2 + t2 + eA]])
            seen = np.stack([F - law, A - a - b * law], axis=-1)
            of_radius = norm.logpdf(at, mu, np.sqrt(s2r)) + norm.logpdf(grid)
            of_rest = multivariate_normal([0, 0], cov).logpdf(seen)
            total = logsumexp(of_radius + of_rest) + np.log(grid[1] - grid[0])
            height = norm(m, np.sqrt(q2 + stars["height_variance"][i])).logpdf(stars["height"][i])
            terms.append(stars["log_weight"][i, k] + lnp + total + height)
        exact[i] = logsumexp(terms)
    assert np.abs(log_like - exact).max() < 0.01
    assert abs((log_like - exact).mean()) < 5e-4


def test_weights_sum_of_gradient_is_number_of_stars():
    # d ln L / d ln P(c, k), summed over (c, k), is a sum of probabilities: one for each star.
    rng = np.random.default_rng(6)
    likelihood = StarLikelihood(pack_stars(random_stars(rng, 150)))
    _, gradient = likelihood.value_and_gradient(random_theta(rng))
    assert gradient[..., 0].sum() == pytest.approx(150.0, rel=1e-12)


def test_workers_and_order_do_not_matter():
    rng = np.random.default_rng(7)
    n = 40_000
    stars, theta = random_stars(rng, n), random_theta(rng)
    packed = pack_stars(stars)
    one = StarLikelihood(packed, workers=1).value_and_gradient(theta)
    two = StarLikelihood(packed, workers=2).value_and_gradient(theta)
    assert one[0] == two[0]
    np.testing.assert_array_equal(one[1], two[1])
    for workers in (1, 2):
        both = StarLikelihood(packed, workers=workers)
        for _ in range(20):  # Python's own sum, which is compensated, has some of these otherwise
            other = random_theta(rng)
            assert both.value(other) == both.value_and_gradient(other)[0]
    order = rng.permutation(n)
    shuffled = StarLikelihood(pack_stars({k: v[order] for k, v in stars.items()}))
    value, gradient = shuffled.value_and_gradient(theta)
    assert value == pytest.approx(one[0], rel=1e-12)
    np.testing.assert_allclose(gradient, one[1], rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("name", ["alpha", "height"])
def test_missing_observable_is_the_limit_of_a_large_error(name):
    rng = np.random.default_rng(8)
    stars, theta = random_stars(rng, 50), random_theta(rng)
    gone = {**stars, name: np.full(50, np.nan)}
    wide = {**stars, f"{name}_variance": np.full(50, 1e12)}
    a = StarLikelihood(pack_stars(gone)).value_and_gradient(theta)
    b = StarLikelihood(pack_stars(wide)).value_and_gradient(theta)
    assert a[0] == pytest.approx(b[0], rel=1e-9)
    np.testing.assert_allclose(a[1], b[1], atol=1e-6)
    # … and what is not observed pulls on nothing.
    p = THETA.index("a" if name == "alpha" else "m")
    np.testing.assert_allclose(a[1][..., p], 0.0, atol=1e-9)


def test_extreme_outlier_stays_finite():
    rng = np.random.default_rng(9)
    stars, theta = random_stars(rng, 64), random_theta(rng)
    stars["feh"][3] = 1e4
    stars["radius"][4] = -1e5
    value, gradient = StarLikelihood(pack_stars(stars)).value_and_gradient(theta)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_trimming_costs_less_than_it_says():
    rng = np.random.default_rng(10)
    stars, theta = random_stars(rng, 500), random_theta(rng)
    stars["log_weight"] = -0.5 * ((np.arange(N_AGES) - rng.uniform(0, 6, (500, 1))) / 0.4) ** 2
    full, _ = StarLikelihood(pack_stars(stars, trim=1e-300)).per_star(theta)
    trimmed, _ = StarLikelihood(pack_stars(stars, trim=1e-9)).per_star(theta)
    packed = pack_stars(stars, trim=1e-9)
    assert packed.mean_nodes < 0.9 * N_AGES
    np.testing.assert_allclose(trimmed, full, atol=1e-4)


def test_star_weight_is_multiplicity():
    rng = np.random.default_rng(11)
    stars, theta = random_stars(rng, 20), random_theta(rng)
    twice = {k: np.concatenate([v, v]) for k, v in stars.items()}
    weighted = StarLikelihood(pack_stars(stars, weight=np.full(20, 2.0))).value_and_gradient(theta)
    doubled = StarLikelihood(pack_stars(twice)).value_and_gradient(theta)
    assert weighted[0] == pytest.approx(doubled[0], rel=1e-12)
    np.testing.assert_allclose(weighted[1], doubled[1], rtol=1e-9, atol=1e-10)


def _score_by_star(stars, theta, jacobian):
    """∂ ln L_i/∂x of each star by itself, from the gradient of a sample of one."""
    n = len(stars["radius"])
    flat = jacobian.reshape(theta.size, -1)
    return np.stack(
        [
            StarLikelihood(pack_stars({k: v[i : i + 1] for k, v in stars.items()}, trim=1e-300))
            .value_and_gradient(theta)[1]
            .ravel()
            @ flat
            for i in range(n)
        ]
    )


@pytest.mark.parametrize("outliers", [False, True])
def test_score_outer_is_the_sum_over_single_stars(outliers):
    rng = np.random.default_rng(12)
    n, n_x = BLOCK + 9, 6
    stars, theta = random_stars(rng, n), random_theta(rng, outliers=outliers)
    jacobian = rng.normal(size=(*theta.shape, n_x)) * (rng.random((*theta.shape, n_x)) < 0.3)
    weight = rng.integers(1, 4, n).astype(float)
    scores = _score_by_star(stars, theta, jacobian)
    likelihood = StarLikelihood(pack_stars(stars, weight=weight, trim=1e-300))
    value, gradient, information = likelihood.score_outer(theta, jacobian)
    whole, slope = likelihood.value_and_gradient(theta)
    assert value == pytest.approx(whole, rel=1e-13)
    scale = np.abs(scores).max()
    np.testing.assert_allclose(
        gradient, slope.ravel() @ jacobian.reshape(theta.size, -1), rtol=1e-9, atol=1e-9 * scale
    )
    np.testing.assert_allclose(
        information, (scores * weight[:, None]).T @ scores, rtol=1e-9, atol=1e-9 * scale**2
    )


def test_score_outer_does_not_depend_on_workers():
    rng = np.random.default_rng(13)
    packed, theta = pack_stars(random_stars(rng, 20_000)), random_theta(rng)
    jacobian = rng.normal(size=(*theta.shape, 3))
    one, two = (StarLikelihood(packed, workers=w).score_outer(theta, jacobian) for w in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_subset_is_some_of_the_stars():
    rng = np.random.default_rng(14)
    stars, theta = random_stars(rng, 10 * BLOCK + 7), random_theta(rng)
    whole = StarLikelihood(pack_stars(stars))
    each, _ = whole.per_star(theta)
    assert whole.subset(10**6).n_stars == whole.n_stars
    part = whole.subset(4 * BLOCK)
    assert part.stars.n_blocks == 4
    assert part.n_stars == 3 * BLOCK + 7  # the last block, which is not full, is among them
    values, _ = part.per_star(theta)
    assert np.isin(values.round(9), each.round(9)).all()
    assert part.value_and_gradient(theta)[0] == pytest.approx(values.sum(), rel=1e-12)


@pytest.mark.parametrize("tiny", [1e-12, 1e-9])
def test_vanishing_variances_stay_finite(tiny):
    # No error of observation and hardly any intrinsic width: far, but finite.
    rng = np.random.default_rng(15)
    stars, theta = random_stars(rng, 64), random_theta(rng)
    for name in ("sigma2", "s2", "t2", "q2"):
        theta[..., THETA.index(name)] = tiny
    stars |= {k: np.full_like(v, tiny) for k, v in stars.items() if k.endswith("variance")}
    likelihood = StarLikelihood(pack_stars(stars))
    value, gradient = likelihood.value_and_gradient(theta)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
