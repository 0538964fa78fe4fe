"""Influences against single stars' scores and a bootstrap; the comparison against known truth."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from migrate_bayes.cli import app
from migrate_bayes.compare.compare_options import CompareOptions
from migrate_bayes.compare.fits import HEADLINE_MAP, Fitter
from migrate_bayes.compare.influence import (
    correlation,
    influence,
    paired_covariance,
    quantity_gradient,
)
from migrate_bayes.core.errors import ProductError, RecipeError
from migrate_bayes.population.data import population_data
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.likelihood.kernel import BLOCK
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.population_model import PopulationModel
from migrate_bayes.population.sampling.density import PosteriorDensity, find_mode
from migrate_bayes.stars import write_stars

AGES = np.concatenate([np.arange(0.5, 5.0, 0.5), np.arange(5.0, 14.1, 1.0)])
TRUTH = {"gradient_young": -0.075, "flattening_rate": 0.003, "gradient_thick": 0.02}
SMALL_MODEL = {
    "form": "linear",
    **{
        name: {"thin": [5.0], "thick": [8.0]}
        for name in ("scatter", "radius", "radius_scatter", "zmax")
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


SPEC = ModelSpec.model_validate(SMALL_MODEL)


@pytest.fixture(scope="module")
def two(stars):
    """Data, density, mode, gradient and influence in the right and the wrong potential."""
    found = []
    density = None
    for potential in ("right", "wrong"):
        data = population_data(stars, potential=potential)
        density = density or PosteriorDensity(PopulationModel(data, SPEC), mode="FAST_COMPILE")
        density.likelihood = StarLikelihood(data.stars)
        mode = find_mode(density, tolerance=1e-8)
        values, slope = quantity_gradient(density, mode, HEADLINE_MAP)
        found.append((data, density, mode, values, slope, influence(density, mode, slope)))
    return found


def test_influence_is_the_score_along_one_direction(stars, two):
    data, density, mode, _, slope, psi = two[0]
    h = 1e-5
    for star in (0, 17, 801):
        one = StarLikelihood(population_data(stars.isel(star=[star]), potential="right").stars)
        _, score = one.value_and_gradient(density.theta(mode.vector))
        for k in range(len(slope)):
            d = mode.covariance @ slope[k]
            step = density.theta(mode.vector + h * d) - density.theta(mode.vector - h * d)
            exact = float((score * step).sum()) / (2 * h)
            assert psi[star, k] == pytest.approx(exact, rel=1e-4, abs=1e-4 * psi[:, k].std())
    assert data.n_stars == len(psi)


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
    lines = ['form = "linear"']
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
    assert list(by) == ["reference", "wrong", "the same", "thin-chemical"]
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
    page = (folder / "reports/mocked/index.html").read_text()
    assert page.count("<img") == 3
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


def test_recipes_that_compare_nothing(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('[data]\nsource = "mock"\n')
    with pytest.raises(RecipeError, match="no section"):
        CliRunner().invoke(app, ["compare", str(recipe)], catch_exceptions=False)
