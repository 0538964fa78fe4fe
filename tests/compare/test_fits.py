"""Influences against single stars' scores and a bootstrap; the comparison against known truth."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from migrate_bayes.cli import app
from migrate_bayes.compare import fits
from migrate_bayes.compare.compare_options import CompareOptions
from migrate_bayes.compare.fits import HEADLINE_MAP, Fitter
from migrate_bayes.compare.influence import (
    correlation,
    influence,
    log_predictive,
    paired_covariance,
    quantity_gradient,
)
from migrate_bayes.compare.product import _variance, build_comparison, comparison_summary
from migrate_bayes.compare.variants import ComparedVariant, FittedVariant, list_variants
from migrate_bayes.core.errors import FitError, ProductError, RecipeError
from migrate_bayes.core.io import read_netcdf, write_netcdf
from migrate_bayes.core.table import Estimate
from migrate_bayes.population.data import population_data
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.likelihood.kernel import BLOCK
from migrate_bayes.population.likelihood.layout import pack, unpack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.model.hierarchy import flat_in_age
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.population_model import PopulationModel
from migrate_bayes.population.results.diagnostics import judge
from migrate_bayes.population.sampling.density import PosteriorDensity, find_mode
from migrate_bayes.report.comparison import comparison_sections, marginal_tables
from migrate_bayes.stars import write_stars

AGES = np.concatenate([np.arange(0.5, 5.0, 0.5), np.arange(5.0, 14.1, 1.0)])
TRUTH = {"gradient_young": -0.075, "flattening_rate": 0.003, "gradient_thick": 0.02}
SMALL_MODEL = {
    "form": "linear",
    **{
        name: {"thin": [5.0], "thick": [8.0]}
        for name in ("scatter", "radius", "radius_scatter", "height")
    },
    "metallicity": {"thin": [1.0, 12.0], "thick": [8.0]},
    "age_weight": {"thin": [1.0, 5.0, 13.0], "thick": [2.0, 9.0, 13.0]},
}
#: Guiding radii in the wrong potential are too large by this, which makes gradients too shallow.
WRONG = 1.12


def make_stars(n, seed=0):
    rng = np.random.default_rng(seed)
    thick = rng.random(n) < 0.2
    age = np.where(
        thick, np.clip(rng.normal(10, 1.5, n), 3, 13.5), np.clip(rng.gamma(2.5, 2, n), 0.7, 13)
    )
    radius = np.where(thick, rng.normal(6.8, 1.8, n), rng.normal(8.4, 1.4, n))
    slope = TRUTH["gradient_young"] + TRUTH["flattening_rate"] * (age - 1.0)
    e = rng.normal(size=(8, n))
    feh = np.where(
        thick,
        -0.5 + TRUTH["gradient_thick"] * (radius - 8) + 0.25 * e[0],
        -0.05 - 0.005 * age + slope * (radius - 8) + 0.12 * e[0],
    )
    alpha = np.where(thick, 0.2, 0.03) - 0.1 * feh + np.where(thick, 0.04, 0.03) * e[1]
    ln_zmax = np.where(thick, 0.3, -1.4) + 0.5 * e[2] + 0.05 * e[3]
    measured = age * np.exp(0.1 * e[4])
    like = -0.5 * ((np.log(measured)[:, None] - np.log(AGES)) / 0.1) ** 2
    seen = radius + 0.15 * e[5]
    rg = np.stack([seen, 8 + WRONG * (seen - 8), seen], axis=1)
    both = ("star", "potential")
    return xr.Dataset(
        {
            "log_age_likelihood": (("star", "age"), like.astype(np.float32)),
            "log_interim_prior": ("age", np.zeros(len(AGES))),
            "feh": ("star", feh + 0.03 * e[6]),
            "feh_error": ("star", np.full(n, 0.03)),
            "alpha_fe": ("star", alpha + 0.02 * e[7]),
            "alpha_fe_error": ("star", np.full(n, 0.02)),
            "age_ml": ("star", measured),
            "age_lo": ("star", 0.9 * measured),
            "age_hi": ("star", 1.1 * measured),
            "age_error": ("star", rng.uniform(0.05, 0.2, n)),
            "rg_mean": (both, rg),
            "rg_sd": (both, 0.15 * np.array([1, WRONG, 1]) * np.ones((n, 1))),
            "ln_zmax_mean": (both, np.repeat(ln_zmax[:, None], 3, axis=1)),
            "ln_zmax_sd": (both, np.full((n, 3), 0.05)),
            "r_present": ("star", radius + 0.5 * rng.normal(size=n)),
            "r_present_sd": ("star", np.full(n, 0.05)),
            "flag": ("star", np.zeros(n, np.int32)),
        },
        coords={
            "age": AGES,
            "potential": ["right", "wrong", "the same"],
            "potential_model": ("potential", ["right", "wrong", "like the right"]),
            "scaling": ("potential", ["rescaled"] * 3),
            "r0": ("potential", [8.27, 8.27, 8.27]),
            "v0": ("potential", [236.0, 236.0, 236.0]),
            "source_id": ("star", np.arange(n) + 10_000),
        },
    )


@pytest.fixture(scope="module")
def stars():
    return make_stars(1500, seed=3)


# Without outliers, of which there are none: a share at its bound is not quadratic.
SPEC = ModelSpec.model_validate(SMALL_MODEL | {"outliers": False})


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Fitters share densities here, as the variants of one do: compilation takes longest."""
    made = {}

    def once(model, *, mode):
        spec = model.spec.model_dump_json(exclude={"name", "description"})
        key = spec, mode, model.data.ages.tobytes(), model.data.classes.level.tobytes()
        if key not in made:
            made[key] = PosteriorDensity(model, mode=mode)
        return made[key].over(model.likelihood)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fits, "PosteriorDensity", once)
        yield once


@pytest.fixture(scope="module")
def two(stars, compiled):
    """Data, density, mode, gradient and influence in the right and the wrong potential."""
    found = []
    density = None
    for potential in ("right", "wrong"):
        data = population_data(stars, potential=potential)
        density = density or compiled(PopulationModel(data, SPEC), mode="FAST_COMPILE")
        density.likelihood = StarLikelihood(data.stars)
        mode = find_mode(density, tolerance=1e-8)
        density.start = mode.vector  # the other potential's is not far
        values, slope = quantity_gradient(density, mode, HEADLINE_MAP)
        found.append((data, density, mode, values, slope, influence(density, mode, slope)))
    return found


def test_influence_is_the_score_along_one_direction(two):
    data, density, mode, _, slope, psi = two[0]
    h = 1e-5
    for star in (0, 17, 801):
        plain = unpack(data.stars, np.array([star]))
        one = StarLikelihood(pack(plain, flat_in_age(data.ages)))
        _, score = one.value_and_gradient(density.theta(mode.vector))
        for k in range(len(slope)):
            d = mode.covariance @ slope[k]
            step = density.theta(mode.vector + h * d) - density.theta(mode.vector - h * d)
            exact = float((score * step).sum()) / (2 * h)
            assert psi[star, k] == pytest.approx(exact, rel=1e-4, abs=1e-4 * psi[:, k].std())
    assert data.n_stars == len(psi)


def test_a_star_left_out_is_predicted_worse_by_what_it_had_to_say(two):
    """ln p(star | others) is below ln L at the maximum, by the number of parameters in all."""
    data, density, mode, *_ = two[1]  # whose stars are those of the density
    predicted = log_predictive(density, mode, seed=2)
    at_mode, _ = density.likelihood.per_star(density.theta(mode.vector))
    # As many parameters as the model has, about: a few are held by their priors.
    assert 0.5 * density.n < float((at_mode - predicted).sum()) < 1.3 * density.n
    # One star, left out: a Newton step of its score away, and the sharper for it.
    star = int(np.argmax(at_mode - predicted))
    h = 1e-4 * np.sqrt(np.diag(mode.covariance))
    steps = [[density.theta(mode.vector + s * h * e) for s in (1, -1)] for e in np.eye(density.n)]
    one = StarLikelihood(pack(unpack(data.stars, np.array([star])), flat_in_age(data.ages)))
    ends = np.array([[one.per_star(theta)[0][0] for theta in pair] for pair in steps])
    score = (ends[:, 0] - ends[:, 1]) / (2 * h)
    curvature = (ends[:, 0] + ends[:, 1] - 2 * at_mode[star]) / h**2
    without = at_mode[star] - 0.5 * score @ mode.covariance @ score
    without += 0.5 * curvature @ np.diag(mode.covariance)
    assert predicted[star] == pytest.approx(without, abs=0.5 * (at_mode[star] - without))


def _scrambled(stars, seed):
    """Age likelihoods moved by a factor of their own for each star: ages of wrong isochrones."""
    factor = np.exp(0.5 * np.random.default_rng(seed).normal(size=stars.sizes["star"]))
    measured = stars["age_ml"].values * factor
    like = -0.5 * ((np.log(measured)[:, None] - np.log(AGES)) / 0.1) ** 2
    return stars.assign(log_age_likelihood=(("star", "age"), like.astype(np.float32)))


@pytest.fixture(scope="module")
def families(stars):
    """Fits with the ages that made the stars, with wrong ones, and with the first once more."""
    compare = CompareOptions.model_validate(
        {"families": ["mist", "parsec"], "draws": 400, "histories": []}
    )
    fitter = Fitter(SPEC, compare, SamplerOptions(), seed=1, expected=3)
    reference = ComparedVariant("reference", "right", "dartmouth", "all", "rg", "linear")
    variants = list_variants(compare, reference)
    trees = [
        fitter.fit(population_data(of, potential="right"), "linear")
        for of in (stars, _scrambled(stars, 5))
    ]
    return [
        FittedVariant(variant, variant.factors(stars), tree)
        for variant, tree in zip(variants, [*trees, trees[0]], strict=True)
    ]


def _mixed(families, weights, **changes):
    tree = build_comparison(
        families, truth=TRUTH, attrs={}, seed=3, marginal={"family": weights}, **changes
    )
    return tree, tree["marginal/family"].to_dataset()


def test_numbers_are_marginalised_over_families(families):
    tree, mixed = _mixed(families, "equal")
    e = tree["estimates"].to_dataset()
    np.testing.assert_allclose(mixed["weight"], 1 / 3)
    assert mixed["level"].values.tolist() == ["dartmouth", "mist", "parsec"]
    # The law of total variance, over the estimates of each family.
    np.testing.assert_allclose(mixed["mean"], e["mean"].mean("variant"))
    np.testing.assert_allclose(
        mixed["sd"] ** 2, (e["sd"] ** 2).mean("variant") + e["mean"].var("variant")
    )
    # What is drawn is joint: each draw is one of one family's fit.
    own = families[1].tree["posterior"].to_dataset()
    mine = mixed["value"].values[:, mixed["member"].values == "mist"]
    at = {rate: k for k, rate in enumerate(own["flattening_rate"].values)}
    rows = [at[rate] for rate in mine[list(HEADLINE_MAP).index("flattening_rate")]]
    for q, name in enumerate(HEADLINE_MAP):
        np.testing.assert_array_equal(mine[q], own[name].values[rows])
    summary = json.loads(json.dumps(comparison_summary(tree)))["marginal"]["family"]
    assert summary["weight"] == pytest.approx(dict.fromkeys(e["variant"].values, 1 / 3))
    rate = summary["flattening_rate"]
    assert rate["truth_inside_95"] == (rate["lo95"] <= 0.003 <= rate["hi95"])
    (table,) = marginal_tables(tree)
    assert [row[0] for row in table.rows[:4]] == ["dartmouth", "mist", "parsec", "marginal"]
    assert "weighed equally (3.0 in effect; 1,500 stars in common)" in table.title
    assert [s.key for s in comparison_sections(tree)][1] == "marginal"


def test_stacking_finds_the_ages_that_made_the_stars(families):
    _, mixed = _mixed(families, "stacking")
    a, wrong, b = mixed["weight"].values
    assert wrong < 0.1
    assert a == pytest.approx(b, abs=1e-4)  # alike, they share alike
    # Whatever their order: the reference is another, the numbers are the same.
    _, turned = _mixed([families[k] for k in (2, 1, 0)], "stacking")
    for name in ("mean", "sd", "lo95", "hi95"):
        np.testing.assert_allclose(turned[name], mixed[name], rtol=1e-4)


def test_what_a_marginal_leaves_out(families):
    """A fit that may not be believed, and other choices that differ; other stars are refused."""
    doubted = families[1].tree.copy()
    doubted.attrs |= {"believed": "no", "causes": CAUSE}
    some = [families[0], families[1]._replace(tree=doubted), families[2]]
    _, mixed = _mixed(some, "equal")
    assert mixed["variant"].values.tolist() == ["reference", "parsec"]
    np.testing.assert_allclose(mixed["weight"], 0.5)
    # All the weight stated may be that of a fit in doubt: nothing is left to mix.
    tree = build_comparison(some, truth=TRUTH, attrs={}, seed=3, marginal={"family": {"mist": 1}})
    assert "marginal" not in tree
    today = families[2].variant._replace(radius="r_present")
    _, mixed = _mixed(
        [*families[:2], families[2]._replace(variant=today)], {"dartmouth": 1, "mist": 3}
    )
    assert mixed["weight"].values.tolist() == [0.25, 0.75]
    few = families[1].tree.copy()
    few["influence"] = few["influence"].to_dataset().isel(star=slice(0, 700))
    with pytest.raises(FitError, match=r"those of 'dartmouth', 1,500, 700 can be used"):
        _mixed([families[0], families[1]._replace(tree=few)], "stacking")


@pytest.mark.parametrize(
    ("marginal", "message"),
    [
        ({"family": {"dartmouth": 1, "msit": 1}}, "did you mean 'mist'"),
        ({"potential": "equal"}, "varies no potential"),
    ],
)
def test_marginals_that_cannot_be(marginal, message):
    compare = CompareOptions.model_validate({"families": ["mist"], "marginal": marginal})
    reference = ComparedVariant("reference", "right", "dartmouth", "all", "rg", "linear")
    with pytest.raises(RecipeError, match=message):
        list_variants(compare, reference)
    with pytest.raises(ValueError, match="guiding radii are not the same"):
        CompareOptions.model_validate({"marginal": {"potential": "stacking"}})


def test_information_equality(two):
    """The model is right: scores' and Hessian's standard deviations agree to sampling error."""
    _, _, mode, _, slope, psi = two[0]
    for k in range(len(slope)):
        hessian_sd = np.sqrt(slope[k] @ mode.covariance @ slope[k])
        assert np.sqrt((psi[:, k] ** 2).sum()) == pytest.approx(hessian_sd, rel=0.2)


def test_pairs_against_a_bootstrap_that_refits(two):
    """Poisson weights, the same in both variants, and the maximum found anew each time."""
    ids = [t[0].source_id for t in two]
    rho = correlation(paired_covariance(ids, [t[5] for t in two]))
    rng = np.random.default_rng(11)
    replicates = np.empty((50, 2, 3))
    for b in range(len(replicates)):
        weight = rng.poisson(1.0, two[0][0].n_stars).astype(float)
        for v, (data, density, mode, values, slope, _) in enumerate(two):
            density.likelihood = StarLikelihood(_weighted(data.stars, weight))
            x = mode.vector.copy()
            for _ in range(6):  # chord steps with the full sample's curvature
                _, gradient = density(x)
                x = x + mode.covariance @ gradient
            named = density.named(x[None])
            row = {k: val[0] for k, val in named.items()}
            replicates[b, v] = [take(row) for take in HEADLINE_MAP.values()]
            del values, slope
    for q in range(3):
        psi_a, psi_b = two[0][5][:, q], two[1][5][:, q]
        paired = np.sqrt(((psi_b - psi_a) ** 2).sum())
        boot = (replicates[:, 1, q] - replicates[:, 0, q]).std(ddof=1)
        # 50 replicates know a standard deviation to 10%.
        assert boot == pytest.approx(paired, rel=0.3)
        unpaired = np.sqrt((psi_a**2).sum() + (psi_b**2).sum())
        assert boot < 0.3 * unpaired
        assert np.corrcoef(replicates[:, 0, q], replicates[:, 1, q])[0, 1] == pytest.approx(
            rho[q, 0, 1], abs=0.03
        )


def _weighted(packed, weight):
    rows = packed.blocks.rows.copy()
    for j, at in enumerate(packed.blocks.offset):
        star = packed.star[j * BLOCK : (j + 1) * BLOCK]
        rows[at : at + BLOCK] = np.where(star >= 0, weight[star], 0.0)
    return dataclasses.replace(packed, blocks=packed.blocks._replace(rows=rows))


@pytest.mark.slow
def test_churning_is_of_the_stated_spread_and_history(stars):
    """The regression knows σ_RM8 / S: doubling the stated spread doubles the strength."""
    data = population_data(stars, potential="right")
    histories = [
        {"label": "one", "birth_spread": 2.0},
        {"label": "two", "birth_spread": 4.0},
        {"label": "steep", "birth_spread": 2.0, "gradient_rate": -0.004},
    ]
    compare = CompareOptions.model_validate(
        {"potentials": "all", "histories": histories, "draws": 400}
    )
    spec = SPEC
    if "diffusion_widens" in ModelSpec.model_fields:  # the gradient alone
        spec = SPEC.model_copy(update={"diffusion_widens": ()})
    tree = Fitter(spec, compare, SamplerOptions(), seed=1).fit(data, "linear")
    draws = tree["posterior"].to_dataset()
    one, two, steep = (draws[f"sigma_rm8 ({h['label']})"].values for h in histories)
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)
    # A gradient that was steeper before needs more churning to end where it did.
    assert np.median(steep) > np.median(one) + one.std()
    # G(12)/G(1) of the truth is 0.042/0.075 over 11 Gyr: σ²/S² = 0.56 by the closed form
    # G(τ) ∝ 1/(1 + σ²τ/8S²), (1 + 12k)/(1 + k) = 75/42, k = 0.0771: σ/S = √(8k) = 0.785.
    assert np.median(one) == pytest.approx(2 * 0.785, abs=3 * one.std())
    assert draws["sigma_rm8 (one)"].attrs["units"] == "kpc"


def test_a_variant_is_fitted_with_its_completeness(stars):
    """ln S of a ridge in [Fe/H] that falls with radius moves the gradient; S = 1 moves nothing."""
    data = population_data(stars, potential="right")
    axes = {"age": AGES, "r_present": np.arange(4.0, 13.0), "feh": np.arange(-2.0, 1.0, 0.05)}
    *_, x, f = np.meshgrid(*axes.values(), indexing="ij")
    none = xr.Dataset({"ln_s": (tuple(axes), 0.0 * f)}, coords=axes)
    ridge = none.assign(ln_s=(tuple(axes), -0.5 * ((f + 0.1 * (x - 8.0)) / 0.3) ** 2))
    error = 0.6 * ridge["ln_s"].expand_dims("direction")
    compare = CompareOptions.model_validate({"forms": ["linear"], "draws": 400, "histories": []})
    fitter = Fitter(SPEC, compare, SamplerOptions(), seed=1, expected=4)
    plain, same, other, uncertain = (
        fitter.fit(data, "linear", table)["posterior"]["gradient_young"].values
        for table in (None, none, ridge, ridge.assign(ln_s_error=error))
    )
    np.testing.assert_allclose(same, plain, atol=1e-6)
    # With s = 0.12 and s′ = s / √(1 + s² / 0.3²): G = (G′ + 0.1 s′² / 0.3²) s² / s′², +0.004.
    assert 0.003 < other.mean() - plain.mean() < 0.006
    assert uncertain.mean() == pytest.approx(other.mean(), abs=0.3 * other.std())
    assert uncertain.std() > 1.1 * other.std()


RECIPE = """
name = "mocked"
[data]
source = "mock"
[isochrones]
source = "dartmouth"
[baseline]
min_stars = 20
[compare]
potentials = ["wrong", "the same"]
selections = ["high-quality-ages"]
data = [{ label = "ages to 10%", max_age_error = 0.1 }]
marginal = { potential = { right = 1, wrong = 1, "the same" = 0 } }
form = "linear"
draws = 400
histories = []
[model]
potential = "right"
spec = {spec}
"""


@pytest.fixture(scope="module")
def compared(stars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    write_stars(stars, folder / "runs/mocked/stars")
    spec = folder / "model.toml"
    lines = ['form = "linear"', "outliers = false"]  # as SPEC, whose maximum is soon found
    for name, value in SMALL_MODEL.items():
        if name != "form":
            lines.append(f"{name} = {{ thin = {value['thin']}, thick = {value['thick']} }}")
    spec.write_text("\n".join(lines))
    recipe = folder / "mocked.toml"
    text = RECIPE.replace("{spec}", f'"{spec}"').replace("high-quality-ages", "thin-chemical")
    recipe.write_text(text)
    arguments = ["compare", str(recipe), "--json", "--products", str(folder / "runs"),
                 "--reports", str(folder / "reports")]  # fmt: skip
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return folder, arguments, json.loads(result.stdout)


def test_json_says_which_potential_is_right(compared):
    _, _, found = compared
    by = {v["variant"]: v for v in found["variants"]}
    assert list(by) == ["reference", "wrong", "the same", "thin-chemical", "ages to 10%"]
    assert by["ages to 10%"]["data"] == "ages to 10%"
    assert 100 < by["ages to 10%"]["stars"] < by["reference"]["stars"]
    for name, truth in TRUTH.items():
        assert by["reference"][name]["truth_inside_95"]
        assert found["truth"][name] == pytest.approx(truth)
    curve = xr.load_datatree(compared[0] / "runs/mocked/comparison.nc")["curve"].to_dataset()
    line = TRUTH["gradient_young"] + TRUTH["flattening_rate"] * (curve["age"] - 1.0)
    np.testing.assert_allclose(curve["truth"].sel(component="thin"), line)
    # Radii stretched by 1.12 about 8 kpc divide every gradient by it.
    wrong, right = by["wrong"]["gradient_young"], by["reference"]["gradient_young"]
    assert wrong["mean"] == pytest.approx(right["mean"] / WRONG, rel=0.01)
    pair = next(
        d for d in found["differences"]
        if (d["variant"], d["minus"], d["quantity"]) == ("wrong", "reference", "gradient_young")
    )  # fmt: skip
    assert pair["difference"] == pytest.approx(wrong["mean"] - right["mean"], rel=0.02)
    # The difference is certain, though each error is as large.
    assert pair["probability_greater"] > 0.999
    assert pair["lo95"] > 0
    assert pair["sd"] < 0.3 * pair["unpaired_sd"]
    same = next(
        d for d in found["differences"]
        if (d["variant"], d["minus"], d["quantity"]) == ("the same", "reference", "flattening_rate")
    )  # fmt: skip
    assert abs(same["difference"]) < 1e-6
    assert same["probability_greater"] == 0.5
    # Over the potentials, by their weights: half way, and half of what is between them besides.
    mixed = found["marginal"]["potential"]
    assert mixed["weight"] == {"reference": 0.5, "wrong": 0.5, "the same": 0.0}
    mixed = mixed["gradient_young"]
    assert mixed["mean"] == pytest.approx(0.5 * (wrong["mean"] + right["mean"]))
    assert mixed["between"] == pytest.approx(0.5 * (wrong["mean"] - right["mean"]))
    shares = found["variance"]["gradient_young"]
    assert sum(s["fraction"] for s in shares.values()) == pytest.approx(1.0)
    assert shares["potential"]["sd"] > 0.001
    odr = by["reference"]["baseline"]["odr+scatter"]
    assert odr["flattening_rate"] == pytest.approx(0.003, abs=4 * odr["flattening_rate_error"])


def test_products_are_labelled_and_resumed(compared, stars):
    folder, arguments, found = compared
    tree = xr.load_datatree(folder / "runs/mocked/comparison.nc", engine="h5netcdf")
    e = tree["estimates"].to_dataset()
    assert e["potential"].sel(variant="wrong").item() == "wrong"
    assert e["selection"].sel(variant="thin-chemical").item() == "thin-chemical"
    assert tree["draws"]["value"].dims == ("quantity", "variant", "draw")
    assert tree["marginal/potential/value"].dims == ("quantity", "draw")
    page = (folder / "reports/mocked/index.html").read_text()
    assert page.count("<img") == 4
    assert "Marginalised over potentials, stated weights (2.0 in effect" in page
    with pytest.raises(ProductError, match="exists already"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    files = sorted((folder / "runs/mocked/variants").iterdir())
    before = [f.stat().st_mtime_ns for f in files]
    again = CliRunner().invoke(app, [*arguments, "--overwrite"], catch_exceptions=False)
    assert [f.stat().st_mtime_ns for f in files] == before
    assert json.loads(again.stdout)["differences"] == found["differences"]
    # Other stars: what was fitted is not theirs.
    altered = stars.assign(feh=stars["feh"] + 0.01)
    other = folder / "other"
    write_stars(altered, other / "mocked/stars")
    (other / "mocked/variants").mkdir()
    for f in files:
        (other / "mocked/variants" / f.name).write_bytes(f.read_bytes())
    elsewhere = [a.replace(str(folder / "runs"), str(other)) for a in arguments]
    elsewhere = [a.replace(str(folder / "reports"), str(other / "reports")) for a in elsewhere]
    with pytest.raises(ProductError, match="other stars or settings"):
        CliRunner().invoke(app, elsewhere, catch_exceptions=False)


CAUSE = '[["R-hat", "1.080 (alpha_thin[2])", "< 1.05"]]'


@pytest.mark.parametrize("doubted", ["wrong", "reference"])
def test_a_variant_that_may_not_be_believed_is_withheld_and_divides_no_variance(
    compared, tmp_path, doubted
):
    folder, arguments, found = compared
    shutil.copytree(folder, tmp_path / "all", ignore=shutil.ignore_patterns("other", "reports"))
    arguments = [a.replace(str(folder), str(tmp_path / "all")) for a in arguments]
    path = tmp_path / f"all/runs/mocked/variants/{doubted}.nc"
    tree = read_netcdf(path)
    assert tree.attrs["believed"] == "yes"
    tree.attrs |= {"believed": "no", "causes": CAUSE}
    write_netcdf(tree, path, overwrite=True)
    done = CliRunner().invoke(app, [*arguments, "--overwrite"], catch_exceptions=False)
    assert done.exit_code == (3 if doubted == "reference" else 0)
    now = json.loads(done.stdout)
    assert now["believed"] is (doubted != "reference")
    for variant, before in zip(now["variants"], found["variants"], strict=True):
        if variant["variant"] == doubted:
            assert variant["believed"] is False
            assert "R-hat 1.080 (alpha_thin[2]), limit < 1.05. Next: " in variant["causes"]
            assert all(v is None for name in TRUTH for v in variant[name].values())
        else:
            assert variant == before
    for pair in now["differences"]:
        withheld = doubted in (pair["variant"], pair["minus"])
        assert (pair["difference"] is None) == withheld
        assert (pair["probability_greater"] is None) == withheld
    # What is left of the potentials differs by nothing if the wrong one is gone.
    share = now["variance"]["gradient_young"]["potential"]["sd"]
    before = found["variance"]["gradient_young"]["potential"]["sd"]
    assert share < 1e-5 if doubted == "wrong" else share > 0.8 * before
    plain = [a for a in arguments if a != "--json"]
    done = CliRunner().invoke(app, [*plain, "--overwrite"], catch_exceptions=False)
    page = (tmp_path / "all/reports/mocked/index.html").read_text()
    for text in (done.stdout, page):
        assert f"× {doubted}" in text
        assert "withheld" in text
        assert f"without {doubted}, whose fits may not be believed" in text
    assert done.stdout.splitlines()[-1].startswith(f"{doubted}: The fit may not be believed")
    good = next(v for v in found["variants"] if v["variant"] == doubted)["gradient_young"]
    number = Estimate.symmetric(good["mean"], good["sd"]).text()
    # That of the reference is the number of its like, too.
    assert (number in done.stdout) == (doubted == "reference")
    assert (number in page) == (doubted == "reference")


def test_a_comparison_of_nothing_to_believe_divides_nothing(compared):
    tree = xr.load_datatree(compared[0] / "runs/mocked/comparison.nc", engine="h5netcdf")
    e = tree["estimates"].to_dataset()
    v, rho = e.sizes["variant"], np.ones((3, e.sizes["variant"], e.sizes["variant"]))
    all_doubted = e.assign(doubt=("variant", ["no"] * v))
    tree["estimates"] = all_doubted
    tree["variance"] = _variance(e["mean"].values, e["sd"].values, rho, all_doubted)
    assert np.isnan(tree["variance"]["sd"]).all()
    (section,) = [s for s in comparison_sections(tree) if s.key == "sources"]
    assert section.images == []
    assert {cell for row in section.tables[0].rows for cell in row[1:]} == {"withheld"}
    assert comparison_summary(tree)["variance"]["gradient_young"]["stars"]["sd"] is None


def test_what_the_chains_of_a_variant_say_is_kept_without_the_chains(stars, monkeypatch):
    """The fit of the headline agrees with itself; that of the churning strength does not."""
    sample, rng = ("chain", "draw"), np.random.default_rng(0)
    data = population_data(stars, potential="right")

    def apart(model, *_, **__):
        draws = {name: (sample, rng.normal(size=(4, 300))) for name in [*TRUTH, "sigma_rm8"]}
        if model.spec.form == "diffusion":
            draws["sigma_rm8"][1][0] += 5.0
        curve = rng.normal(size=(4, 300, 2, len(AGES)))
        posterior = xr.Dataset(draws | {"gradient": ((*sample, "component", "age"), curve)})
        return xr.DataTree.from_dict({"posterior": posterior})

    monkeypatch.setattr(PopulationModel, "sample", apart)
    # Where the maximum is and what each star says of it is of no matter here.
    monkeypatch.setattr(Fitter, "_at_mode", lambda *_: (None, None))
    monkeypatch.setattr(fits, "log_predictive", lambda *_, **__: np.zeros(data.n_stars))
    monkeypatch.setattr(fits, "quantity_gradient", lambda *args: (None, len(args[2])))
    monkeypatch.setattr(fits, "influence", lambda *args: np.zeros((data.n_stars, args[2])))
    compare = CompareOptions.model_validate(
        {"potentials": "all", "method": "sample", "histories": [{"label": "flat"}]}
    )
    tree = Fitter(SPEC, compare, SamplerOptions(), seed=1).fit(data, "linear")
    assert tree.attrs["believed"] == "no"
    (cause, *_) = judge(tree).causes
    assert cause.name == "R-hat"
    assert cause.value.endswith("(sigma_rm8) of sigma_rm8 (flat)")


def test_recipes_that_compare_nothing(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[data]\nsource = "mock"\n')
    with pytest.raises(RecipeError, match="no section"):
        CliRunner().invoke(app, ["compare", str(recipe)], catch_exceptions=False)
