"""Injected stars: their law is the stated one, and no number depends on how they are drawn."""

import json

import numpy as np
import pytest
import xarray as xr

from migrate_bayes import Recipe, Run
from migrate_bayes.catalog import correct_extinction
from migrate_bayes.core.errors import ProductError, RecipeError
from migrate_bayes.core.io import read_netcdf
from migrate_bayes.inject import InjectedMetallicity, count_injections, injections, regression
from migrate_bayes.inject.catalogue_survey import CatalogueSurvey
from migrate_bayes.inject.injections import Cells, mock_survey, observe
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.orbits.orbit_options import OrbitOptions
from migrate_bayes.run.made_from import of_completeness


@pytest.fixture(scope="module", params=["simple", "lamost"])
def survey(request):
    return mock_survey(MockOptions(survey=request.param), 3, AgeOptions(), OrbitOptions())


def every(catalog):
    return np.ones(catalog.sizes["star"], dtype=bool)


def test_law_of_metallicity():
    """Uniform numbers become the density that the regression divides by."""
    law, n = InjectedMetallicity(), 200_000
    u = np.random.default_rng(1).random(n)
    for component, radius in ((0, 6.0), (1, 10.0)):
        feh = law.of(np.full(n, component), np.full(n, 4.0), np.full(n, radius), u)
        edges = np.linspace(-1.9, 1.3, 65)
        middles = 0.5 * (edges[1:] + edges[:-1])
        at = np.array([4.0]), np.array([radius]), middles
        expected = np.exp(law.log_density(*at)[component, 0, 0])
        counts = np.histogram(feh, edges)[0]
        expected *= n / expected.sum()
        inside = expected > 0
        assert counts[~inside].sum() < 0.002 * n  # cells that the end of the law divides
        chi2 = np.square(counts - expected)[inside] / expected[inside]
        assert chi2[expected[inside] > 200].mean() < 2.0


def test_a_star_depends_on_its_number_alone(survey):
    number = np.arange(1, 41)
    whole = observe(survey, number)
    part = observe(survey, number[25:])
    xr.testing.assert_equal(whole.isel(star=slice(25, None)), part)
    assert whole["ref_true_rg"].std() > 1.0


def test_counts_do_not_depend_on_chunks(survey, monkeypatch):
    one = count_injections(survey, every, 60)
    monkeypatch.setattr(injections, "CHUNK", 17)
    xr.testing.assert_identical(one, count_injections(survey, every, 60))
    assert int(one["passed"].sum()) == one.attrs["usable"] <= 60


def test_stars_are_counted_where_they_are():
    cells = Cells((1.0, 13.5))
    counts = np.zeros(cells.shape, dtype=np.int64)
    true = {"component": [1.0, 0.0], "age": [4.3, 20.0], "rg": [8.1, 8.0], "feh": [-0.31, 0.0]}
    stars = xr.Dataset({f"ref_true_{name}": ("star", values) for name, values in true.items()})
    cells.add(counts, stars)
    assert counts.sum() == 1  # the other is older than any cell
    at = np.argwhere(counts)[0]
    coords = cells.coords
    assert at[0] == 1
    for name, k, width in (("age", at[1], 0.25), ("rg", at[2], 0.5), ("feh", at[3], 0.05)):
        assert abs(coords[name][k] - true[name][0]) <= width / 2


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that makes a run of a recipe with these entries, in one folder."""
    monkeypatch.setattr(regression, "_FEWEST", 100)

    def made(**entries):
        recipe = Recipe(
            name="few", data={"source": "mock"}, simulate={"stars": 700}, baseline=None,
            sampler={"draws": 50, "tune": 20, "chains": 2, "starts": 1, "patience": 1},
            model={"spec": "linear"}, **entries,
        )  # fmt: skip
        return Run(recipe, products=tmp_path, reports=tmp_path / "r", say=lambda line: None)

    return made


_INJECTED = {"source": "inject", "injections": 3000, "directions": 1}


def test_a_table_is_kept_until_what_decides_it_changes(run):
    path = run(completeness=_INJECTED).inject()
    table = read_netcdf(path).to_dataset()
    assert table["ln_s"].dims == ("component", "age", "rg", "feh")
    assert int(table["passed"].sum()) == table.attrs["usable"] > 500
    assert table.sizes["direction"] == 2
    written = path.stat().st_mtime_ns
    assert run(completeness=_INJECTED).inject() == path
    assert path.stat().st_mtime_ns == written
    changed = run(completeness=_INJECTED)
    model = changed.recipe.model.model_copy(update={"selection": "quality"})
    changed.recipe = changed.recipe.model_copy(update={"model": model})
    with pytest.raises(ProductError, match=r'stale: `selection` was "all", is "quality"'):
        changed.inject()


def test_a_table_of_what_is_observed_decides_too(tmp_path):
    """Its content, not its name: another content makes another completeness."""
    table = tmp_path / "observed.ecsv"

    def made():
        entries = _INJECTED | {"survey": "catalogue", "observed": str(table)}
        recipe = Recipe(name="few", data={"source": "mock"}, completeness=entries)
        return of_completeness(recipe, "stars")

    table.write_text("g,share\n10,1\n18,0\n")
    one = made()
    assert made() == one
    table.write_text("g,share\n10,1\n18,0.5\n")
    assert made() != one


def test_share_of_the_thick_disc(survey):
    few = type(survey)(survey.truth, survey.seed, survey.isochrones, survey.potential, 0.01)
    thick = [observe(one, np.arange(1, 201))["ref_true_component"].mean() for one in (survey, few)]
    assert float(thick[0]) > 5 * float(thick[1])


def test_completeness_that_cannot_be_is_refused_at_once(run):
    with pytest.raises(RecipeError, match=r"'completeness\.observed': there is no file nowhere"):
        run(completeness=_INJECTED | {"observed": "nowhere.ecsv"}).check()
    with pytest.raises(RecipeError, match="there is no file nowhere"):
        run(completeness={"source": "nowhere.nc"}).check()
    with pytest.raises(RecipeError, match=r"'compare\.completeness': there is no file nowhere"):
        run(compare={"completeness": ["nowhere.nc"]}).check()
    with pytest.raises(RecipeError, match="external ages cannot be made"):
        run(completeness=_INJECTED, isochrones={"source": "external"}).check()


@pytest.mark.slow
def test_a_fit_with_completeness(run):
    """The errors of ln S are of the fit; a fit of another completeness is stale."""
    with_s = run(completeness=_INJECTED)
    with_s.simulate()
    with_s.make_stars()
    fit = with_s.fit()
    assert fit["sample_stats"]["completeness_error"].sizes["completeness_direction"] == 2
    assert set(json.loads(fit.attrs["completeness_share"])) >= {"gradient_young"}
    assert run(completeness=_INJECTED).fit().identical(fit)
    with pytest.raises(ProductError, match=r"fit\.nc is stale: `completeness` was"):
        run().fit()


def test_a_catalogue_is_its_own_survey():
    """Its stars lend places of like age and radius, and errors of like magnitude."""
    survey = mock_survey(MockOptions(survey="simple"), 5, AgeOptions(), OrbitOptions())
    seen = observe(survey, np.arange(1, 1501))
    stars = correct_extinction(seen)
    stars["age_median"] = stars["ref_true_age"]
    stars["snr"] = stars["snr_g"] + 1.0  # of a whole spectrum
    own = CatalogueSurvey(stars, every(stars), survey.grid, seed=7)
    number = np.arange(1, 301)
    catalog = observe(own, number)
    assert set(catalog) >= {"teff", "logg", "feh", "abs_g", "abs_g_error", "snr_g", "rg_mean"}
    xr.testing.assert_equal(observe(own, number[200:]), catalog.isel(star=slice(200, None)))
    assert np.isin(catalog["snr_g"].values, stars["snr_g"].values).all()
    np.testing.assert_array_equal(catalog["snr"], catalog["snr_g"] + 1.0)
    pull = (catalog["feh"] - catalog["ref_true_feh"]) / catalog["feh_error"]
    assert 0.8 < float(pull.std()) < 1.2
    # A star far from the Sun's radius stands farther from the Sun than one at it.
    x = np.abs(catalog["ref_true_rg"] - 8.0)
    far, near = catalog["r_present"][x > 2.0], catalog["r_present"][x < 1.0]
    assert np.abs(far - 8.0).mean() > np.abs(near - 8.0).mean()
