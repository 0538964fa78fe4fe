"""The PyMC model, its density and its posterior."""

import functools
import operator
from pathlib import Path

import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from pymc.blocking import DictToArrayBijection
from threadpoolctl import threadpool_info, threadpool_limits

from migrate_bayes.core.errors import FitError, RecipeError
from migrate_bayes.mock.model_stars import AGES, PopulationTruth, simulated_stars
from migrate_bayes.population import (
    ModelSpec,
    PopulationModel,
    load_model_spec,
    population_data,
)
from migrate_bayes.population.data import RadiusClasses
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.likelihood.theta import THETA, bend_columns, columns_of_classes
from migrate_bayes.population.model.hierarchy import ALPHA_PIVOT, hierarchy, walk_covariance
from migrate_bayes.population.model.specification import FORMS
from migrate_bayes.population.sampling import posterior as sampling
from migrate_bayes.population.sampling.density import (
    Mode,
    PosteriorDensity,
    _distinct,
    _interpreted,
    find_mode,
    find_modes,
)
from migrate_bayes.population.sampling.posterior import posterior_tree
from migrate_bayes.report import headline

MODELS = Path(__file__).parents[2] / "models"
TRUTH = {"gradient_young": -0.075, "flattening_rate": 0.003, "gradient_thick": 0.02}


def quick(model):
    """Compile for few evaluations."""
    return PosteriorDensity(model, mode="FAST_COMPILE")


def of_point(model, variable):
    """Compile one variable of a model, as a function of a point: sooner done than a density."""
    graph = model.pymc
    (out,) = graph.replace_rvs_by_values([variable])
    return graph.compile_fn(
        out, inputs=graph.value_vars, on_unused_input="ignore", mode="FAST_COMPILE"
    )


def assert_is_the_pymc_models_own(density):
    graph = density.model.pymc
    # Two at a time: interpreted PyTensor cannot add up more than 32 terms in one.
    total = functools.reduce(operator.add, [term.sum() for term in graph.logp(sum=False)])
    values = [graph.rvs_to_values[rv] for rv in graph.free_RVs]
    whole = graph.compile_fn(
        [total, *pytensor.grad(total, values)], inputs=values, mode=_interpreted()
    )
    x = density.start + 0.1 * np.random.default_rng(0).normal(size=density.n)
    start = DictToArrayBijection.map(graph.initial_point())
    point = DictToArrayBijection.rmap(start._replace(data=x))
    value, *gradient = whole(point)
    mine = density(x)
    assert mine[0] == pytest.approx(float(value), rel=1e-11)
    expected = np.concatenate([np.ravel(slope) for slope in gradient])
    np.testing.assert_allclose(mine[1], expected, rtol=1e-8, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_density_of_each_form_is_the_pymc_models_own(make_stars, form):
    spec = ModelSpec(form=form, outliers=form == "linear")
    assert_is_the_pymc_models_own(quick(PopulationModel(population_data(make_stars(50)), spec)))


@pytest.fixture(scope="module")
def of_default(make_stars):
    """The density of the default model."""
    return quick(PopulationModel(population_data(make_stars(80)), ModelSpec()))


def test_gradient_of_whole_density(of_default):
    density = of_default
    rng = np.random.default_rng(1)
    x = density.start + 0.1 * rng.normal(size=density.n)
    _, gradient = density(x)
    for _ in range(5):
        direction = rng.normal(size=density.n)
        h = 1e-5
        numeric = (density(x + h * direction)[0] - density(x - h * direction)[0]) / (2 * h)
        assert gradient @ direction == pytest.approx(numeric, rel=1e-5, abs=1e-3)


@pytest.fixture(scope="module", params=["linear+deviations", "diffusion"])
def of_many(make_stars, request):
    """The density of a model of many parameters: with outliers, and two numbers for each disc.

    It has more than 32 terms in the prior: interpreted PyTensor cannot add them up in one.
    """
    spec = ModelSpec(form=request.param, outliers=True, thick_gradient="linear")
    return quick(PopulationModel(population_data(make_stars(50)), spec))


def test_density_is_the_pymc_models_own(of_many):
    assert_is_the_pymc_models_own(of_many)


def test_density_of_a_model_of_many_parameters_is_the_sum_of_its_terms(of_many):
    density, graph = of_many, of_many.model.pymc
    terms = graph.compile_fn(graph.logp(sum=False), inputs=graph.value_vars, mode="FAST_COMPILE")(
        graph.initial_point()
    )
    assert len(terms) > 20
    expected = sum(float(np.sum(t)) for t in terms)
    assert density(density.start)[0] == pytest.approx(expected, rel=1e-10)


def test_named_values_of_many_draws_are_those_of_each(of_many):
    density = of_many
    draws = density.start + 0.1 * np.random.default_rng(4).normal(size=(2, 600, density.n))
    together = density.named(draws)  # by one graph over all of them
    few = density.named(draws[:, ::150])
    assert {v.name for v in density.model.pymc.unobserved_RVs} == set(together)
    for name, values in few.items():
        np.testing.assert_allclose(together[name][:, ::150], values, rtol=1e-12, atol=1e-12)


def test_interim_prior_is_divided_out(make_stars, of_default):
    # Ages made with a log-flat prior and with a flat one must give one posterior.
    flat = population_data(make_stars(300, seed=2))
    log_flat = population_data(make_stars(300, seed=2, log_prior=lambda age: -np.log(age)))
    a, b = (of_default.over(StarLikelihood(d.stars)) for d in (flat, log_flat))
    shift = 0.2 * np.random.default_rng(3).normal(size=a.n)
    difference = [d(d.start + shift)[0] - d(d.start)[0] for d in (a, b)]  # constants cancel
    assert difference[0] == pytest.approx(difference[1], rel=1e-5)


def test_mode_recovers_truth_and_membership(make_stars, small_spec, small_density, monkeypatch):
    stars = make_stars(6000, seed=4)
    data = population_data(stars)
    model = PopulationModel(data, small_spec)
    density = small_density(data)
    climbed, evaluate = [], PosteriorDensity.__call__
    monkeypatch.setattr(
        PosteriorDensity, "__call__", lambda self, x: climbed.append(x) or evaluate(self, x)
    )
    mode = find_mode(density)
    # In the coordinates themselves, whose scales differ a thousandfold, the climb takes 262.
    assert len(climbed) < 150
    named = density.named(mode.vector[None])
    sd = np.sqrt(np.diag(mode.covariance))
    names = [v.name for v in model.pymc.free_RVs]
    for name in ("flattening_rate", "gradient_thick"):
        # Scalars lead the raveled vector in the order of the free variables.
        error = sd[names.index(name)]
        assert abs(named[name][0] - TRUTH[name]) < 4 * error
        assert error < 0.005
    posterior = {k: (("chain", "draw", *[f"{k}_{i}" for i in range(v.ndim - 1)]), v[None])
                 for k, v in named.items() if k in names}  # fmt: skip
    member = model.membership(xr.Dataset(posterior), draws=1)
    p = member["p_thin"].values
    thick = stars["thick"].values
    assert p.min() >= 0
    assert p.max() <= 1 + 1e-12
    assert ((p < 0.5) == thick).mean() > 0.93
    # Calibrated: among stars given p, a share p is thin.
    for low, high in [(0.0, 0.2), (0.2, 0.8), (0.8, 1.0)]:
        inside = (p >= low) & (p <= high)
        share = 1 - thick[inside].mean()
        assert abs(share - p[inside].mean()) < 4 * np.sqrt(0.25 / inside.sum())


def test_own_gradient_function(make_stars):
    # The example of README and docs/model.md: a gradient that flattens exponentially.
    data = population_data(make_stars(40))
    calls = []

    def gradient(ages):
        calls.append(ages)
        young = pm.Normal("young_gradient", -0.07, 0.03)
        time = pm.LogNormal("flattening_time", np.log(10.0), 0.5)
        return young * pm.math.exp(-ages / time)

    model = PopulationModel(data, ModelSpec(), gradient=gradient)
    assert {"young_gradient", "flattening_time", "flattening_rate"} <= set(model.pymc.named_vars)
    assert len(calls) == 1
    assert "gradient, " in repr(model)
    density = quick(model)
    value, slope = density(density.start)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    named = density.named(density.start[None])
    young, time = named["young_gradient"][0], named["flattening_time"][0]
    expected = young * np.exp(-data.ages / time)
    np.testing.assert_allclose(named["gradient"][0, 0], expected, rtol=1e-12)
    assert named["gradient_young"][0] == pytest.approx(young * np.exp(-1.0 / time), rel=1e-12)
    knots = np.asarray(ModelSpec().gradient_knots)
    line = np.polyfit(knots, young * np.exp(-knots / time), 1)[0]
    assert named["flattening_rate"][0] == pytest.approx(line, rel=1e-9)
    with pytest.raises(FitError, match="one value in dex/kpc for each age"):
        PopulationModel(data, ModelSpec(), gradient=lambda ages: pm.Normal("level", -0.05, 0.05))
    with pytest.raises(FitError, match="one value in dex/kpc for each age"):
        PopulationModel(data, gradient=lambda ages: pm.Normal("level", -0.05, 0.05, shape=1))


def test_own_gradient_with_variables_of_an_earlier_model(make_stars):
    # Defect: the second model's gradient was frozen, with a posterior sd of 3e-18, silently.
    data, parameters = population_data(make_stars(40)), {}

    def gradient(ages):
        if not parameters:
            parameters["slope"] = pm.Normal("slope", -0.07, 0.03)
            parameters["stretch"] = pm.ZeroSumNormal("bends", 0.01, shape=len(ages))
        return parameters["slope"] + parameters["stretch"]

    assert {"slope", "bends"} <= set(PopulationModel(data, gradient=gradient).pymc.named_vars)
    with pytest.raises(FitError, match=r"not of this model: bends, slope\. .*earlier model"):
        PopulationModel(data, gradient=gradient)


def test_reprs_are_one_line(make_stars, of_default):
    data = population_data(make_stars(1200))
    assert repr(PopulationModel(data)) == (
        f"PopulationModel(1,200 stars, thin-thick, linear+deviations, {of_default.n} parameters)"
    )
    nodes = data.stars.mean_nodes
    assert repr(data) == f"PopulationData(1,200 stars × {nodes:.1f} age nodes, MWPotential2014, rg)"


def test_stars_for_a_completeness_are_not_fitted_without_one(make_stars):
    data = population_data(make_stars(20), with_completeness=True)
    with pytest.raises(FitError, match=r"with_completeness=True, .* none is given.* Give Popul"):
        PopulationModel(data)


def test_everything_is_named_and_has_its_unit(make_stars):
    # Each function of age by the ages of its knots, in Gyr; each variable with a unit.
    from migrate_bayes.population.sampling.posterior import UNITS, label

    model = PopulationModel(population_data(make_stars(20)), ModelSpec())
    spec = ModelSpec()
    graph = model.pymc
    for rv in [*graph.free_RVs, *graph.deterministics]:
        dims = graph.named_vars_to_dims.get(rv.name, ())
        assert len(dims) == rv.ndim, rv.name
    assert graph.coords["metallicity_thin_knot"] == spec.metallicity.thin
    assert graph.coords["age_weight_thick_knot"] == spec.age_weight.thick
    made = label(
        xr.Dataset(
            {
                "metallicity_thin": ("metallicity_thin_knot", np.zeros(4)),
                "log_scatter_thin": ("chain", np.zeros(1)),
            },
            coords={"metallicity_thin_knot": list(spec.metallicity.thin), "chain": [0]},
        )
    )
    assert made["metallicity_thin"].attrs["units"] == "dex"
    assert made["metallicity_thin_knot"].attrs["units"] == "Gyr"
    assert made["log_scatter_thin"].attrs["units"] == ""
    assert "dex" in made["log_scatter_thin"].attrs["long_name"]
    by_place = {"1 / kpc", "1 / kpc2", "1 / (kpc Gyr)", "1 / (kpc2 Gyr)"}
    of_discs = {"dex / kpc", "dex / (kpc Gyr)", "dex", "kpc", "Gyr"}
    assert set(UNITS.values()) == of_discs | by_place


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.toml")), ids=lambda p: p.stem)
def test_the_model_files_are_what_they_say(path):
    spec = load_model_spec(path)
    assert spec.name == path.stem
    assert spec.description
    if spec.form == "diffusion":
        assert spec.birth_gradient_rate == 0.0
        fitted = load_model_spec({"form": "diffusion", "birth_gradient_rate": "fitted"})
        assert fitted.birth_gradient_rate is None


def test_thick_gradient_may_change_with_age(make_stars):
    data = population_data(make_stars(20))
    model = PopulationModel(data, ModelSpec(form="constant", thick_gradient="linear"))
    point = model.pymc.initial_point()
    point |= {"gradient_thick": np.array(0.02), "gradient_thick_rate": np.array(-0.001)}
    curve = of_point(model, model.pymc["gradient"])(point)
    np.testing.assert_allclose(curve[1], 0.02 - 0.001 * (data.ages - 5.0), rtol=1e-12)
    np.testing.assert_allclose(curve[0], curve[0, 0], rtol=1e-12)


def test_nuts_agrees_with_laplace_and_with_truth(
    make_stars, small_spec, small_density, monkeypatch
):
    data = population_data(make_stars(1500, seed=5))
    model = PopulationModel(data, small_spec)
    density = small_density(data)
    mode = find_mode(density)
    # Defect: outside of a run, linear algebra had a thread for each processor, whose number decides
    # last bits, and so the draws.
    threads = []

    def known_mode(*_, **__):
        pools = threadpool_info()
        threads.extend(pool["num_threads"] for pool in pools if pool["user_api"] == "blas")
        return [mode]

    monkeypatch.setattr(sampling, "find_modes", known_mode)
    with threadpool_limits(2, user_api="blas"):
        tree = model.sample(
            density=density, draws=150, tune=60, chains=2, starts=1, patience=1, seed=1,
            target_accept=0.8, progressbar=False,
        )  # fmt: skip
    assert set(threads) == {1}
    posterior = tree["posterior"]
    assert int(tree["sample_stats"]["diverging"].sum()) == 0
    sd = np.sqrt(np.diag(mode.covariance))
    names = [v.name for v in model.pymc.free_RVs]
    for name in ("gradient_reference", "flattening_rate", "gradient_thick"):
        i = names.index(name)
        draws = posterior[name].values.ravel()
        assert abs(draws.mean() - mode.vector[i]) < 0.35 * sd[i], name
        assert draws.std() == pytest.approx(sd[i], rel=0.25), name
    for name, truth in TRUTH.items():
        draws = posterior[name].values.ravel()
        assert abs(draws.mean() - truth) < 4 * draws.std(), name
    assert posterior["gradient"].dims == ("chain", "draw", "component", "age")
    assert posterior["flattening_rate"].attrs["units"] == "dex / (kpc Gyr)"
    # Defect: PyMC's draws of the prior came in the order of a set, another in every process.
    assert list(tree["prior"].data_vars) == list(posterior.data_vars)
    assert posterior["flattening_rate"].shape == (2, 150)


def far_is_uncertain(n, seed, *, permuted=False):
    """Stars of one disc, −0.06 dex/kpc at all ages, whose error of R_g grows with |R − R_0|."""
    rng = np.random.default_rng(seed)
    stars = simulated_stars(n, seed=seed, truth=PopulationTruth(-0.06, 0.0, thick_fraction=0.0))
    radius = stars["true_rg"].values
    today = radius + rng.normal(0.0, 0.6, n)
    error = 0.1 + 0.35 * np.abs(today - 8.0) * rng.uniform(0.8, 1.2, n)
    error = rng.permutation(error) if permuted else error
    stars["r_present"] = "star", today
    stars["rg_mean"][:, 0] = radius + error * rng.normal(size=n)
    stars["rg_sd"][:, 0] = error
    return stars


def fitted_gradient(density):
    mode = find_mode(density)
    draws = np.stack([mode.vector, mode.vector])
    at = [rv.name for rv in density.model.pymc.free_RVs].index("gradient_reference")
    value = float(density.named(draws)["gradient_reference"][0])
    return value, float(np.sqrt(mode.covariance[at, at]))


@pytest.mark.slow
def test_errors_of_radii_that_grow_with_distance_do_not_bend_the_line(small):
    """One law of radii shrinks far stars towards the Sun, and bends the line by many sd."""
    data = population_data(far_is_uncertain(2000, 1))
    settings = small | {"form": "constant", "outliers": False}
    density = quick(PopulationModel(data, ModelSpec(**settings)))
    value, sd = fitted_gradient(density)
    assert abs(value + 0.06) < 3.0 * sd
    one_law = ModelSpec(**settings, radius_by_place=False)
    bent, sd = fitted_gradient(quick(PopulationModel(data, one_law)))
    assert bent + 0.06 < -4.0 * sd
    # Errors that know nothing of the radius change nothing.
    permuted = population_data(far_is_uncertain(2000, 1, permuted=True))
    value, sd = fitted_gradient(density.over(StarLikelihood(permuted.stars)))
    assert abs(value + 0.06) < 3.0 * sd


@pytest.mark.slow
def test_a_broken_profile_is_found(small):
    """A plateau inside 7 kpc and a flatter outer disc; the gradient is that between the knots."""
    straight = PopulationTruth(thick_fraction=0.1).theta(AGES)
    bends = [(-0.07, 7.0, 0.125), (0.05, 10.5, 0.125)]
    columns = np.array([v for bend in bends for v in bend] + [len(bends)])
    theta = np.concatenate([straight, np.broadcast_to(columns, (2, len(AGES), 7))], axis=-1)
    theta[1, :, -7] = theta[1, :, -4] = 0.0
    theta[0][:, [-7, -4]] *= np.exp(-0.15 * (AGES - 5.0))[:, None]
    theta[0, :, 2] = 1.8**2
    stars = simulated_stars(5000, seed=8, truth=theta)
    spec = ModelSpec(
        **small, form="linear", profile="broken", profile_knots=(7.0, 10.5), outliers=False
    )
    model = PopulationModel(population_data(stars), spec)
    density = quick(model)
    mode = find_mode(density)
    rng = np.random.default_rng(0)
    draws = mode.vector + rng.normal(size=(200, density.n)) @ np.linalg.cholesky(mode.covariance).T
    fit = posterior_tree(density, draws[None])
    posterior = fit["posterior"].to_dataset() if isinstance(fit, xr.DataTree) else fit
    posterior["young_bend"] = (
        posterior["profile_bend"] + (np.exp(0.6) - 1) * posterior["profile_fading"]
    )
    wanted = {"profile_bend": [-0.07, 0.05], "gradient_young": -0.075, "flattening_rate": 0.003}
    wanted["young_bend"] = np.exp(0.45) * np.array(wanted["profile_bend"])
    for name, true in wanted.items():
        mean, sd = posterior[name].mean(("chain", "draw")), posterior[name].std(("chain", "draw"))
        assert np.all(np.abs(mean - true) < 3.5 * sd), name
    assert posterior["profile_bend"].std(("chain", "draw")).max() < 0.012
    assert posterior["profile_fading"].std(("chain", "draw")).max() < 0.012
    assert list(posterior["profile_knot"]) == [7.0, 10.5]
    # Replicates of the stars have the profile too.
    found = {}
    for name, some in (("bent", posterior), ("straight", 0.0 * posterior["profile_bend"])):
        given = posterior if name == "bent" else posterior.assign(profile_bend=some)
        checks = model.predictive(given, draws=60).sel(observable="feh")
        data = checks["data"]
        outside = (data < checks["replicated_lo"]) | (data > checks["replicated_hi"])
        found[name] = float(outside.sum() / np.isfinite(data).sum())
    assert found["bent"] < 0.2
    assert found["straight"] > found["bent"] + 0.1
    rows = {row.name: row for row in headline(xr.DataTree.from_dict({"posterior": posterior}))}
    assert rows["profile_bend[7]"].label == "Change of the gradient at 7 kpc, reference age"


@pytest.mark.slow
def test_a_skew_law_is_found(small):
    """Skewness of [Fe/H] at given radius, and its change with radius, are parameters."""
    theta = PopulationTruth(thick_fraction=0.1).theta(AGES)
    cube = theta[0, :, THETA.index("s2")] ** 1.5
    theta[0, :, THETA.index("k")] = -0.3 * cube
    theta[0, :, THETA.index("k_slope")] = 0.08 * cube
    theta[:2, :, THETA.index("skewed")] = 1.0
    stars = simulated_stars(8000, seed=8, truth=theta)
    spec = ModelSpec(**small, form="linear", outliers=False).varied("skew")
    density = quick(PopulationModel(population_data(stars), spec))
    mode = find_mode(density)
    rng = np.random.default_rng(0)
    draws = mode.vector + rng.normal(size=(200, density.n)) @ np.linalg.cholesky(mode.covariance).T
    named = density.named(draws)
    wanted = {"gradient_young": -0.075, "flattening_rate": 0.003}
    wanted |= {"skewness_thin": -0.3, "skewness_tilt_thin": 0.08}
    for name, true in wanted.items():
        mean, sd = named[name].mean(axis=0), named[name].std(axis=0)
        assert np.all(np.abs(mean - true) < 3.5 * sd), name
    assert np.all(named["skewness_thin"].std(axis=0) < 0.1)


def test_radius_classes():
    """Half a kpc wide, but of a hundred stars at least; a star without a radius is in one too."""
    radius = np.random.default_rng(2).normal(8.3, 1.5, 3000)
    classes = RadiusClasses.of(radius)
    n, members = len(classes.centre), classes(radius)
    assert n == len(classes.edges) + 1 > 8
    np.testing.assert_allclose(np.diff(classes.edges[1:-1]), 0.5)
    assert np.bincount(members).min() >= 100
    centre = [radius[members == j].mean() for j in range(n)]
    np.testing.assert_allclose(classes.centre, centre)
    np.testing.assert_allclose(classes.level, classes.centre - 8.0)
    np.testing.assert_array_equal(RadiusClasses.of(np.append(radius, np.nan)).edges, classes.edges)
    assert 0 < classes(np.array([np.nan]))[0] < n - 1
    for few in (radius[:99], np.full(900, 8.1), np.full(900, np.nan)):  # few, alike, not known
        assert len(RadiusClasses.of(few).level) == 1
        assert np.all(RadiusClasses.of(few)(few) == 0)


def test_laws_change_with_todays_radius(make_stars):
    """At a point: P is whole in each class, and odds, ages and radii change by powers of x."""
    stars = make_stars(700)
    stars["r_present"] = "star", np.random.default_rng(3).normal(8.5, 1.0, 700)
    data = population_data(stars)
    model = PopulationModel(data)
    x = data.classes.level
    assert len(x) > 2
    rng = np.random.default_rng(4)
    shapes = model.pymc.eval_rv_shapes()
    point = {rv.name: 0.1 * rng.normal(size=shapes[rv.name]) for rv in model.pymc.free_RVs}
    point |= {"thick_fraction": np.array(0.2), "outlier_fraction": np.array(0.01)}
    point["sigma_G"] = np.array(0.01)
    point["age_weight_thin"] -= point["age_weight_thin"].mean()
    point["age_weight_thick"] -= point["age_weight_thick"].mean()
    draw = xr.Dataset(
        {
            name: (
                ("chain", "draw", *(f"{name}_{i}" for i in range(np.ndim(value)))),
                value[None, None],
            )
            for name, value in point.items()
        }
    )
    theta = model.theta_draws(draw)[0]
    laws = theta[..., columns_of_classes(theta[0], np.arange(len(x)))[:, None] + np.arange(3)]
    p = np.exp(laws[..., 0])
    np.testing.assert_allclose(p.sum(axis=(0, 1)), 1.0)
    np.testing.assert_allclose(p[2].sum(axis=0), 0.01)
    thin, thick = p[:2].sum(axis=1)
    odds = np.log(0.2 / 0.8) + point["thick_tilt"] * x
    np.testing.assert_allclose(np.log(thick / thin), odds)
    # ln P(age) of one class less that of another is a line in age, of this slope.
    slope = np.gradient(laws[0, :, 0, 0] - laws[0, :, -1, 0], data.ages)
    np.testing.assert_allclose(slope, point["age_tilt"] * (x[0] - x[-1]), rtol=1e-6)
    np.testing.assert_allclose(np.ptp(laws[1, :, :, 0] - laws[1, :, :1, 0], axis=0), 0.0, atol=1e-9)
    rise = (laws[1, 0, :, 1] - laws[1, 0, 0, 1]) / (x - x[0] + (x == x[0]))
    np.testing.assert_allclose(rise[1:], point["radius_tilt_thick"].item())
    width = np.log(laws[1, 0, :, 2] / laws[1, 0, 0, 2]) / 2
    np.testing.assert_allclose(width, point["log_radius_scatter_tilt_thick"].item() * (x - x[0]))


def test_chains_that_have_not_mixed_are_run_longer(
    make_stars, small_spec, small_density, monkeypatch
):
    asked, real = [], sampling.run_nuts

    def run(density, mode, options, *, thin, **settings):
        asked.append(thin)
        if thin > 2:
            return real(density, mode, options, thin=thin, **settings)
        draws = 0.01 * np.random.default_rng(0).normal(size=(2, 6, density.n))
        draws[1] += 0.1
        return mode.vector + draws, xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 6)))})

    monkeypatch.setattr(sampling, "run_nuts", run)
    data = population_data(make_stars(60))
    model = PopulationModel(data, small_spec)
    settings = {"draws": 6, "tune": 12, "chains": 2, "starts": 1, "prior_draws": 0, "seed": 1}
    settings["target_accept"] = 0.6
    density = small_density(data)
    tree = model.sample(density=density, progressbar=False, cores=1, patience=3, **settings)
    assert asked == [1, 2, 3]
    assert tree["posterior"].sizes["draw"] == tree["sample_stats"].sizes["draw"] == 6
    monkeypatch.setattr(sampling, "MAX_R_HAT", np.inf)
    model.sample(density=density, progressbar=False, cores=1, patience=3, **settings)
    assert asked == [1, 2, 3, 1]


def test_no_usable_star(make_stars):
    stars = make_stars(10)
    with pytest.raises(FitError, match="no star can be fitted"):
        population_data(stars, mask=np.zeros(10, bool))
    stars["rg_mean"][:] = np.nan
    with pytest.raises(FitError, match="10 have no radius"):
        population_data(stars)
    with pytest.raises(FitError, match=r"no potential 'McMillan17'.*Valid: MWPotential2014"):
        population_data(stars, potential="McMillan17")
    with pytest.raises(FitError, match="unknown radius 'r_g'; did you mean 'rg'"):
        population_data(stars, radius="r_g")


def test_star_without_age_is_counted_and_left_out(make_stars):
    stars = make_stars(10)
    stars["log_age_likelihood"][2] = np.nan
    stars["log_age_likelihood"][3] = -np.inf
    data = population_data(stars)
    assert data.n_stars == 8
    assert data.left_out == {"no age likelihood": 2}
    assert 2 not in data.source_id


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"form": "linaer"}, "unknown gradient form 'linaer'; did you mean 'linear'"),
        ({"refrence_age": 3}, "unknown entry 'refrence_age'; did you mean 'reference_age'"),
        ({"gradient_knots": [1, 2]}, "three or more increasing ages"),
        ({"metallicity": {"thin": [3, 1], "thick": [8]}}, "increasing ages"),
        ({"profile": "broken", "profile_knots": [9, 7]}, "increasing radii in kpc"),
        ({"profile_knots": [7, 9]}, "of the profile 'broken' or 'spline'"),
        ({"profile": "spline", "form": "diffusion"}, "diffusion' moves a straight line"),
        ({"priors": {"flatening_rate": [0, 1]}}, "did you mean 'flattening_rate'"),
    ],
)
def test_wrong_specifications(content, message):
    with pytest.raises(RecipeError, match=message):
        load_model_spec(content)


def test_a_varied_model_is_a_whole_one():
    spec = ModelSpec(form="linear", young_age=2.0)
    assert spec.varied("free") == ModelSpec(form="free", young_age=2.0)
    assert spec.varied("broken").bends == ((7.0, 0.125), (11.0, 0.125))
    assert len(spec.varied("spline").bends) == 6
    assert not spec.varied("one-law").radius_by_place
    with pytest.raises(RecipeError, match="unknown gradient form 'brokn'; did you mean 'broken'"):
        spec.varied("brokn")
    with pytest.raises(RecipeError, match="diffusion' moves a straight line"):
        spec.varied("diffusion").varied("broken")


@pytest.mark.parametrize("outliers", [False, True])
def test_every_component_knows_of_the_bends_that_the_thin_disc_has(outliers):
    # The functions of θ read the first of some rows, which may be of any component.
    spec = ModelSpec(form="constant", profile="broken", outliers=outliers)
    graph, theta = hierarchy(spec, AGES, 10)
    inputs, change, fading = graph.free_RVs, np.array([-0.06, 0.04]), np.array([-0.03, 0.05])
    knots = {v.name: len(graph.coords[graph.named_vars_to_dims[v.name][0]]) for v in inputs
             if v.ndim}  # fmt: skip
    point = [np.full(knots[v.name], 0.1) if v.ndim else np.float64(0.1) for v in inputs]
    point[[v.name for v in inputs].index("profile_bend")] = change
    point[[v.name for v in inputs].index("profile_fading")] = fading
    value = pytensor.function(inputs, theta, on_unused_input="ignore", mode="FAST_COMPILE")(*point)
    for c, component in enumerate(value):
        at = bend_columns(component[-1:])
        assert len(at) == 2
        left = np.exp((spec.reference_age - AGES) / 5.0)[:, None] - 1.0
        wanted = (c == 0) * (change + fading * left)
        np.testing.assert_allclose(component[:, at], wanted, rtol=1e-12)
        np.testing.assert_array_equal(component[:, at + 1], [[7.0, 11.0]] * len(AGES))


def test_specification_files(tmp_path):
    with pytest.raises(RecipeError, match="cannot read model specification"):
        load_model_spec(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("form = ")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_model_spec(tmp_path / "bad.toml")


def test_deviations_do_not_depend_on_their_coordinates(of_default, monkeypatch):
    # The density of (σ_G, d) is one whatever length l stretches the sampled coordinate v.
    from migrate_bayes.population.model import hierarchy

    data, sigma = of_default.model.data, 0.004
    deviation = np.array([0.001, -0.002, 0.0015, 0.003])
    values = []
    for length in (hierarchy._DEVIATION_ERROR, 3.0):
        monkeypatch.setattr(hierarchy, "_DEVIATION_ERROR", length)
        density = quick(PopulationModel(data, ModelSpec())) if values else of_default
        stretch = np.sqrt(1 + (sigma / (length / np.sqrt(data.n_stars))) ** 2)
        point = density.model.pymc.initial_point()
        point["sigma_G_log__"] = np.log(sigma)
        point["deviation_G"] = deviation * stretch / sigma
        x = np.concatenate([np.ravel(point[name]) for name in point])
        values.append(density(x)[0] + 4 * np.log(stretch / sigma))
        knots = density.named(x[None])["gradient_deviation"][0]
        assert knots.sum() == pytest.approx(0, abs=1e-15)
    assert values[0] == pytest.approx(values[1], rel=1e-12)


@pytest.mark.slow
def test_enhancement_of_the_thin_disc_is_a_function_of_age():
    # In a survey with old thin-disc stars one mean [α/Fe] for all ages takes these for the thick
    # disc's, and loses their gradient.
    truth = PopulationTruth(age_weight_thin=(-1.0, 0.3, 0.0, 0.0, 0.3, 0.0))
    theta = truth.theta(AGES)
    theta[0, :, THETA.index("a")] = 0.02 + 0.008 * (AGES - 4.0)
    theta[1, :, THETA.index("a")] = 0.24
    stars = simulated_stars(4000, seed=9, truth=theta)
    true = truth.named()
    density = quick(PopulationModel(population_data(stars), ModelSpec(form="linear")))
    mode = find_mode(density)
    noise = np.random.default_rng(0).normal(size=(60, density.n))
    draws = density.named(mode.vector + noise @ np.linalg.cholesky(mode.covariance).T)
    for name, value in true.items():
        pull = (draws[name].mean(0) - value) / draws[name].std(0)
        assert np.abs(pull).max() < 3.5, name
    # [α/Fe] at [Fe/H] = −0.3, of slope −0.1.
    pick = np.searchsorted(AGES, [1.0, 5.0, 12.0])
    alpha = draws["alpha"][:, 0, pick]
    expected = theta[0, pick, THETA.index("a")] + 0.03
    np.testing.assert_allclose(alpha.mean(0), expected, atol=0.006)
    assert (np.ptp(alpha.mean(0)) / alpha.std(0) > 15).all()


def test_discs_keep_their_names_whatever_the_parameters(make_stars):
    spec = ModelSpec(alpha={"thin": (1.0, 12.0), "thick": (3.0, 11.0)})
    model = PopulationModel(population_data(make_stars(50)), spec)
    theta_of, start = of_point(model, model.theta), model.pymc.initial_point()
    rng = np.random.default_rng(3)
    for _ in range(50):
        point = {name: 3.0 * rng.normal(size=np.shape(value)) for name, value in start.items()}
        theta = theta_of(point)
        t = dict(zip(THETA, np.moveaxis(theta, -1, 0), strict=True))
        alpha = t["a"] + t["b"] * ALPHA_PIVOT
        assert (alpha[1] - alpha[0] >= spec.least_alpha_gap - 1e-12).all()
        assert (t["m"][1] - t["m"][0] >= spec.least_height_gap - 1e-12).all()


@pytest.mark.slow
def test_a_sample_without_a_thick_disc_has_none(small):
    stars = simulated_stars(800, seed=4, truth=PopulationTruth(thick_fraction=0.0))
    density = quick(PopulationModel(population_data(stars), ModelSpec(form="linear", **small)))
    named = density.named(find_mode(density).vector[None])
    assert named["thick_fraction"][0] < 0.02
    assert named["gradient_young"][0] == pytest.approx(-0.075, abs=0.03)


def test_random_walk_of_a_function_of_age():
    # By hand: the reference age has the sd; steps away from it are independent, to either side.
    cov = walk_covariance([2.0, 5.0, 6.0, 9.0], sd=0.3, change=0.1, reference=5.0)
    assert cov[1, 1] == pytest.approx(0.09)
    assert cov[0, 0] == pytest.approx(0.09 + 0.03)
    assert cov[0, 3] == pytest.approx(0.09)
    step = cov[3, 3] - 2 * cov[2, 3] + cov[2, 2]
    assert step == pytest.approx(0.03)
    np.testing.assert_array_less(0, np.linalg.eigvalsh(cov))


@pytest.mark.slow
def test_starts_that_agree_are_one_maximum_and_a_mirrored_one_is_found(small):
    data = population_data(simulated_stars(200, seed=2))
    one = {name: {"thin": (5.0,), "thick": (8.0,)} for name in small if name != "age_weight"}
    weight = {"thin": (1.0, 12.0), "thick": (5.0, 12.0)}
    spec = ModelSpec(**one, age_weight=weight, form="constant", outliers=False)
    (mode,) = find_modes(quick(PopulationModel(data, spec)), starts=2, seed=1)
    assert mode.starts == 2

    def mirrored(ages):
        # The square has two roots: two maxima of equal height.
        root = pm.Normal("root", 0.0, 0.3)
        return -(root**2) * np.ones(len(ages))

    density = quick(PopulationModel(data, spec, gradient=mirrored))
    found = find_modes(density, starts=6, seed=1)
    best = [mode for mode in found if mode.log_evidence > found[0].log_evidence - 0.01]
    roots = density.named(np.stack([mode.vector for mode in best]))["root"]
    assert roots.min() == pytest.approx(-roots.max(), rel=1e-2)
    assert roots.max() > 0.1


def test_derivatives_at_many_points_at_once_are_those_of_one_after_another(of_many):
    density = of_many
    x = density.start + 0.1 * np.random.default_rng(4).normal(size=density.n)
    none = np.zeros_like(density.theta(x))
    steps = 1e-4 * np.eye(density.n)
    slopes = [
        (density.back(x + e, none, prior=True) - density.back(x - e, none, prior=True)) / 2e-4
        for e in steps
    ]
    np.testing.assert_allclose(density.prior_hessian(x), slopes, rtol=1e-6, atol=1e-6)
    columns = [(density.theta(x + e) - density.theta(x - e)) / 2e-4 for e in steps]
    np.testing.assert_allclose(
        density.jacobian(x), np.stack(columns, axis=-1), rtol=1e-5, atol=1e-6
    )


def test_climbs_that_end_together_are_one_maximum():
    covariance = np.diag([1.0, 0.04])

    def at(x, y, height):
        return Mode(np.array([x, y]), covariance, height)

    # The third is five standard deviations off; the best climb of each maximum stands for it.
    climbed = [at(0.0, 0.0, -2.0), at(0.1, 0.01, -1.9), at(0.0, 1.0, -1.0), at(0.0, 0.02, -2.1)]
    first, second = _distinct(climbed)
    assert (first.starts, second.starts) == (1, 3)
    assert (first.log_density, second.log_density) == (-1.0, -1.9)
