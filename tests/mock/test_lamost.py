"""The LAMOST-like survey: in its footprint, the same in any chunks, with the errors it states."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from migrate_bayes.catalog.passbands import in_band
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock import simulate, simulate_to_parquet
from migrate_bayes.mock.discs import expected_gradient, expected_scatter, gas_metallicity
from migrate_bayes.mock.footprint import DEC_RANGE, G_RANGE
from migrate_bayes.mock.instruments import (
    N_GAIA,
    parallax_error,
    see_with_gaia,
    spectrum_error_factor,
)
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.mock.stars import LamostSurvey, get_survey
from migrate_bayes.mock.survey import iter_simulated
from migrate_bayes.orbits.orbit_options import OrbitOptions

N = 3000
TRUTH = MockOptions(stars=N, population="migration", survey="lamost")


@pytest.fixture(scope="module")
def survey() -> xr.Dataset:
    return simulate(TRUTH, seed=3)


@pytest.fixture(scope="module")
def stars(survey):
    return survey.isel(star=slice(0, N))


def test_a_star_is_the_same_in_any_chunk_and_any_survey(survey):
    short = TRUTH.model_copy(update={"stars": 700})
    parts = list(iter_simulated(short, seed=3, chunk_size=333))
    for name in survey.variables:
        values = np.concatenate([part[name].values for part in parts])
        np.testing.assert_array_equal(values[:700], survey[name].values[:700], err_msg=str(name))
        again = np.isin(survey["source_id"].values[N:], np.arange(1, 701))
        np.testing.assert_array_equal(values[700:], survey[name].values[N:][again])


def test_the_file_is_the_same_bytes_whatever_chunks_and_workers(tmp_path, monkeypatch):
    monkeypatch.setattr("migrate_bayes.catalog.writing.ROW_GROUP", 128)
    monkeypatch.setattr("migrate_bayes.mock.stars._BLOCK", 100)
    short = TRUTH.model_copy(update={"stars": 350})
    files = []
    for chunk_size, workers in ((90, "1"), (1000, "2")):
        monkeypatch.setenv("MIGRATE_BAYES_WORKERS", workers)
        path = tmp_path / f"{chunk_size}.parquet"
        simulate_to_parquet(path, short, seed=3, chunk_size=chunk_size)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_stars_are_within_the_survey(stars):
    dec, g = stars["dec"].values, stars["phot_g_mean_mag"].values
    assert dec.min() > DEC_RANGE[0] - 1e-5
    assert dec.max() < DEC_RANGE[1] + 1e-5
    colour = (stars["phot_bp_mean_mag"] - stars["phot_rp_mean_mag"]).values
    true_g = in_band("g", g, colour)
    assert true_g.min() > G_RANGE[0] - 0.1
    assert true_g.max() < G_RANGE[1] + 0.1
    # More than half towards the anticentre, an eighth of the footprint.
    from migrate_bayes.mock.footprint import galactic

    l, b = galactic(stars["ra"].values, dec)  # noqa: E741
    assert np.mean((np.abs(l - 180) < 30) & (np.abs(b) < 30)) > 0.4


def test_candidates_hardly_ever_pass_probability_one():
    from migrate_bayes.mock.footprint import BLUEST, choose_azimuth, faintest_g

    made = get_survey(TRUTH, 3, AgeOptions(), OrbitOptions())
    assert isinstance(made, LamostSurvey)
    star, u = made.draw(np.arange(100_000), range(5, 6), 4)
    limit = faintest_g(u[3]) + BLUEST
    chance = choose_azimuth(
        star["age"], star["R"], star["z"], limit, u[1], u[2], made._bound, 8.27, 0.0
    )[2]
    assert np.mean(chance > 1.0) < 1e-4
    assert chance.max() < 1.2


def test_selection_leaves_the_gradient_at_given_age_as_it_is(stars):
    law = TRUTH.migration
    thin = stars["ref_true_component"].values == 0
    age, rg, feh = (stars[f"ref_true_{n}"].values[thin] for n in ("age", "rg", "feh"))
    mean = law.birth_radius_now - law.growth * age
    expected = gas_metallicity(law, mean, age) + expected_gradient(law, age) * (rg - mean)
    z = (feh - expected) / expected_scatter(law, age)
    for low, high in ((1, 4), (4, 8), (8, 12)):
        here = (age >= low) & (age < high)
        x, n = rg[here], here.sum()
        slope = np.polyfit(x, z[here], 1)[0]
        assert abs(slope) < 4 / (np.std(x) * np.sqrt(n)) + 0.004
        assert abs(z[here].mean()) < 4 / np.sqrt(n) + 0.03


def test_repeats_are_found_within_five_arcseconds(survey):
    from migrate_bayes.catalog.quality import find_repeats

    n_again = survey.sizes["star"] - N
    assert n_again / N == pytest.approx(0.10, abs=4 * np.sqrt(0.09 / N))
    snr = survey["snr_g"].values
    found = find_repeats(survey["ra"].values, survey["dec"].values, snr, radius_arcsec=5.0)
    assert found.sum() >= n_again  # and, rarely, two stars so close
    assert found.sum() < n_again + 5
    first = np.searchsorted(survey["source_id"].values[:N], survey["source_id"].values[N:])
    # The same Gaia, another spectrum, another place of the fibre.
    np.testing.assert_array_equal(survey["pmra"].values[N:], survey["pmra"].values[first])
    assert np.all(survey["teff"].values[N:] != survey["teff"].values[first])
    assert np.all(survey["dec"].values[N:] != survey["dec"].values[first])


@pytest.mark.parametrize("name", ["feh", "alpha_fe"])
def test_spectra_have_their_stated_errors_and_a_few_blunders(survey, name):
    pull = (survey[name] - survey[f"ref_true_{name}"]) / survey[f"{name}_error"]
    blunder = survey["ref_true_blunder"].values == 1
    good = pull.values[~blunder]
    assert stats.kstest(good, "norm").pvalue > 1e-3
    assert 0.0005 < blunder.mean() < 0.006


def test_errors_grow_at_low_signal_and_are_the_papers_above_fifty(stars):
    factor = spectrum_error_factor(np.array([20.0, 81.0, 1e6]))
    np.testing.assert_allclose(factor, [np.sqrt(0.5 + 0.5 * 4.05**2), 1.0, np.sqrt(0.5)])
    good = (stars["snr_g"] > 50).values
    for name, quoted in {"teff": 22.6, "logg": 0.05, "feh": 0.03, "alpha_fe": 0.02}.items():
        error = stars[f"{name}_error"].values
        assert np.median(error[good]) == pytest.approx(quoted, rel=0.05)
        assert np.median(error[~good]) > 1.5 * np.median(error[good])


def test_parallax_errors_are_gaias():
    # https://www.cosmos.esa.int/web/gaia/science-performance: sqrt(40 + 800 z + 30 z²) μas.
    np.testing.assert_allclose(
        parallax_error(np.array([9.0, 13.0, 15.0, 17.0])),
        [0.012944, 0.012944, 0.029496, 0.079259], rtol=1e-4,
    )  # fmt: skip


def test_astrometry_has_its_stated_covariance():
    n = 40_000
    true = {
        "ra": 150.0, "dec": 20.0, "distance": 1.3, "pmra": -3.0, "pmdec": 5.0,
        "g": 16.0, "bp": 16.4, "rp": 15.4,
    }  # fmt: skip
    true = {name: np.full(n, value) for name, value in true.items()}
    e = np.random.default_rng(9).standard_normal((N_GAIA, n))
    e[2:7] = 0.3  # one star's loads, so that all n have one covariance
    e[0] = 0.0
    seen = see_with_gaia(true, e)
    axes = ("ra", "dec", "parallax", "pmra", "pmdec")
    scale = {"ra": np.cos(np.radians(20.0)) * 3.6e6, "dec": 3.6e6}
    values = true | {"parallax": 1 / true["distance"]}
    pull = np.array([
        (seen[a] - values[a]) * scale.get(a, 1.0) / seen[f"{a}_error"] for a in axes
    ])  # fmt: skip
    stated = np.eye(5)
    for i in range(5):
        for j in range(i + 1, 5):
            stated[i, j] = stated[j, i] = seen[f"{axes[i]}_{axes[j]}_corr"][0]
    assert np.linalg.eigvalsh(stated).min() > 0.05
    np.testing.assert_allclose(np.cov(pull), stated, atol=0.03)
    chi2 = np.einsum("in,ij,jn->n", pull, np.linalg.inv(stated), pull)
    assert stats.kstest(chi2, stats.chi2(5).cdf).pvalue > 1e-3


def test_model_population_in_the_lamost_survey_and_migration_in_the_simple_one():
    one = simulate(MockOptions(stars=60, survey="lamost"), seed=1)
    two = simulate(MockOptions(stars=60, population="migration"), seed=1)
    assert "ref_true_r_birth" not in one
    assert "ref_true_r_birth" in two
    assert "ref_true_blunder" in one
    assert "ref_true_blunder" not in two
    assert one["dec"].min() > -10.001
