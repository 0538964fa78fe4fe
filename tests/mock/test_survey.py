"""The mock survey: its truth is in it, its errors are what they say."""

import numpy as np
import pytest
from scipy import stats

from migrate_bayes.core.errors import MigrateBayesError, ProductError
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock import simulate, simulate_to_parquet
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.mock.stars import get_survey
from migrate_bayes.mock.survey import iter_simulated
from migrate_bayes.orbits.orbit_options import OrbitOptions
from migrate_bayes.run import Recipe
from migrate_bayes.run.made_from import of_catalogue


@pytest.fixture(scope="module")
def survey():
    return simulate(MockOptions(stars=6000, thick_fraction=0.2), seed=3)


def test_seeded(survey):
    again = simulate(MockOptions(stars=6000, thick_fraction=0.2), seed=3)
    for name in survey.data_vars:
        np.testing.assert_array_equal(survey[name].values, again[name].values)
    other = simulate(MockOptions(stars=6000, thick_fraction=0.2), seed=4)
    assert not np.array_equal(survey["teff"].values[:6000], other["teff"].values[:6000])


@pytest.mark.parametrize("chunk_size", [1000, 4321])
def test_a_star_is_the_same_in_any_chunk_and_any_survey(survey, chunk_size):
    # The first stars of the long survey, made as a short one and in chunks.
    short = MockOptions(stars=2500, thick_fraction=0.2)
    parts = list(iter_simulated(short, seed=3, chunk_size=chunk_size))
    assert max(part.sizes["star"] for part in parts) <= chunk_size
    assert len(parts) > 1
    for name in survey.variables:
        values = np.concatenate([part[name].values for part in parts])
        np.testing.assert_array_equal(
            values[:2500], survey[name].values[:2500], err_msg=str(name), strict=True
        )
        again = np.isin(survey["source_id"].values[6000:], np.arange(1, 2501))
        np.testing.assert_array_equal(values[2500:], survey[name].values[6000:][again])


def test_streamed_file_is_the_survey(tmp_path, survey, monkeypatch):
    from migrate_bayes.catalog import read_catalog

    monkeypatch.setattr("migrate_bayes.catalog.writing.ROW_GROUP", 256)
    truth = MockOptions(stars=700, thick_fraction=0.2)
    files = []
    for chunk_size, workers in ((90, "1"), (1000, "2")):
        monkeypatch.setenv("MIGRATE_BAYES_WORKERS", workers)
        path = tmp_path / f"{chunk_size}.parquet"
        rows = simulate_to_parquet(path, truth, seed=3, chunk_size=chunk_size)
        files.append(path.read_bytes())
    assert files[0] == files[1]
    catalog = read_catalog(path)
    assert catalog.sizes["star"] == rows > 700
    for name in survey.data_vars:
        np.testing.assert_array_equal(catalog[name].values[:700], survey[name].values[:700])
    with pytest.raises(ProductError, match="exists already"):
        simulate_to_parquet(path, truth)


def test_laws_are_what_they_say(survey):
    # One-dimensional laws of the population, where the survey's limits do not select by them.
    from scipy import stats

    from migrate_bayes.mock.discs import draw_population

    truth = MockOptions(thick_fraction=0.3)
    u = np.random.default_rng(8).random((6, 20_000))
    star = draw_population(truth, (1.0, 13.5), u)
    thick = star["thick"]
    assert thick.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 20_000))
    thin_age, gamma = star["age"][~thick], stats.gamma(2.2, scale=2.2)
    mass = gamma.cdf(13.5) - gamma.cdf(1.0)
    assert stats.kstest(thin_age, lambda t: (gamma.cdf(t) - gamma.cdf(1.0)) / mass).pvalue > 1e-3
    law = stats.truncnorm(-5 / 1.5, 3.5 / 1.5, loc=10, scale=1.5)
    assert stats.kstest(star["age"][thick], law.cdf).pvalue > 1e-3
    law = stats.truncnorm(-4 / 1.3, 4 / 1.3, loc=8.7, scale=1.3)
    assert stats.kstest(star["rg"][~thick], law.cdf).pvalue > 1e-3


def test_a_survey_of_nothing_ends_with_an_error(monkeypatch):
    monkeypatch.setattr("migrate_bayes.mock.stars.SimpleSurvey.faint_limit", -20.0)
    monkeypatch.setattr("migrate_bayes.mock.stars.SimpleSurvey.most_attempts", 3)
    with pytest.raises(MigrateBayesError, match="no observable star in 3 tries for 10 stars"):
        simulate(MockOptions(stars=10))


@pytest.mark.parametrize("thick", [0, 1])
def test_gradients_are_the_truth(survey, thick):
    stars = survey.isel(star=slice(0, 6000))
    mine = stars["ref_true_thick"].values == thick
    x = stars["ref_true_rg"].values[mine] - 8.0
    age = stars["ref_true_age"].values[mine] - 1.0
    y = stars["ref_true_feh"].values[mine]
    columns = [np.ones_like(x), x] + ([] if thick else [age, age * x])
    design = np.stack(columns, axis=1)
    scatter = np.full_like(x, 0.22) if thick else 0.12 + 0.006 * (age + 1.0)
    design, y = design / scatter[:, None], y / scatter
    fit = np.linalg.lstsq(design, y)[0]
    sd = np.sqrt(np.diag(np.linalg.inv(design.T @ design)))
    truth = {1: 0.02} if thick else {1: -0.075, 3: 0.003}
    for i, value in truth.items():
        assert abs(fit[i] - value) < 4 * sd[i]


@pytest.mark.parametrize("kind", ["simple", "lamost"])
def test_errors_are_what_they_say(kind):
    truth = MockOptions(population="migration", survey=kind)
    seen, true = get_survey(truth, 5, AgeOptions(), OrbitOptions()).observe(np.arange(1, 2001))
    true |= {"parallax": 1.0 / true["distance"], "radial_velocity": true["rv"]}
    true |= {f"phot_{band}_mean_mag": true[band] for band in ("g", "bp", "rp")}
    good = ~true.get("blunder", np.zeros(2000, dtype=bool))
    names = {name.removesuffix("_error") for name in seen if name.endswith("_error")}
    names -= {"ra", "dec"}  # whose errors are in other units and covariant: `test_lamost`
    assert len(names) == 12
    for name in names:
        pull = (seen[name] - true[name])[good] / seen[f"{name}_error"][good]
        assert stats.kstest(pull, "norm").pvalue > 1e-4, name


def test_repeats_are_fainter_copies(survey):
    ids, count = np.unique(survey["source_id"].values, return_counts=True)
    assert len(ids) == 6000
    assert 0.01 < (count == 2).mean() < 0.03
    twice = ids[count == 2][0]
    pair = survey.isel(star=np.flatnonzero(survey["source_id"].values == twice))
    assert pair["snr_g"].values[1] < pair["snr_g"].values[0]
    assert pair["ra"].values[0] == pair["ra"].values[1]
    assert pair["feh"].values[0] != pair["feh"].values[1]


def test_guiding_radius_is_recovered_from_the_sky(survey):
    # Through the observed frame and back: what is left is the measurement error.
    from migrate_bayes.catalog import star_keys
    from migrate_bayes.orbits import compute_orbits

    stars = survey.isel(star=slice(0, 500))
    stars["flag"] = ("star", np.zeros(500, np.int32))
    stars["star_key"] = ("star", star_keys(stars["source_id"].values))
    orbits = compute_orbits(
        stars, potentials=("MWPotential2014",), zmax_potentials=(), show_progress=False
    ).isel(potential=0)
    pull = (orbits["rg_mean"] - stars["ref_true_rg"]) / orbits["rg_sd"]
    assert abs(float(pull.median())) < 0.2
    assert 0.8 < float(np.abs(pull).quantile(0.68)) < 1.25


@pytest.mark.parametrize("population", ["model", "migration"])
def test_stars_move_in_the_potential_that_is_stated(population):
    # L_z = R_g v_c(R_g) in McMillan17, whatever potentials the recipe computes orbits in.
    stated = MockOptions(stars=300, population=population, potential="McMillan17")
    first = stated.model_copy(update={"potential": None})
    other = OrbitOptions(potentials=("MWPotential2014",))
    a = simulate(stated, seed=3, orbits=other)
    b = simulate(first, seed=3, orbits=OrbitOptions(potentials=("McMillan17",)))
    c = simulate(first, seed=3, orbits=other)
    for name in ("pmra", "pmdec", "radial_velocity", "ref_true_zmax"):
        np.testing.assert_array_equal(a[name].values, b[name].values)
        assert not np.array_equal(a[name].values, c[name].values)


def test_stars_are_of_the_isochrones_that_are_stated():
    # Whatever isochrones the recipe takes ages from, so that a run may have the wrong ones.
    stated = MockOptions(stars=100, isochrones="dartmouth")
    a = simulate(stated, seed=3, isochrones=AgeOptions(source="mist"))
    b = simulate(MockOptions(stars=100), seed=3)
    for name in ("teff", "phot_g_mean_mag"):
        np.testing.assert_array_equal(a[name].values, b[name].values)
    assert MockOptions().drawn_from(AgeOptions(source="mist")) == "mist"
    recipes = [
        Recipe(name="a", simulate=stated, isochrones=AgeOptions(source="mist")),
        Recipe(name="a", isochrones=AgeOptions(source="dartmouth")),
        Recipe(name="a", simulate=MockOptions(isochrones="basti")),
    ]
    # Catalogues of the same stars are each other's; one of other stars is not.
    made = [of_catalogue(r.model_copy(update={"seed": 3}))["isochrones"] for r in recipes]
    assert made[0] == made[1] != made[2]
    assert "isochrones" not in of_catalogue(recipes[0])["simulate"]
