"""Injected stars: their law is the stated one, and no number depends on how they are drawn."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.table import Table
from astropy_healpix import HEALPix
from scipy import stats

from migrate_bayes import Recipe, Run
from migrate_bayes.catalog import correct_extinction
from migrate_bayes.catalog.passbands import in_band
from migrate_bayes.core.errors import FitError, ProductError, RecipeError
from migrate_bayes.core.io import read_netcdf
from migrate_bayes.core.journal import Journal
from migrate_bayes.core.provenance import file_sha256
from migrate_bayes.inject import InjectedMetallicity, count_injections, injections, regression
from migrate_bayes.inject.catalogue_survey import CatalogueSurvey
from migrate_bayes.inject.completeness_options import ShareOptions
from migrate_bayes.inject.injections import (
    ALPHA_SD,
    Cells,
    judge_shares,
    mock_survey,
    observe,
    taken_by_shares,
)
from migrate_bayes.inject.share_files import read_shares
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock import footprint
from migrate_bayes.mock.footprint import completeness
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.mock.stars import magnitudes
from migrate_bayes.orbits.orbit_options import OrbitOptions
from migrate_bayes.run.made_from import FORMATS, of_completeness


@pytest.fixture(scope="module", params=["simple", "lamost"])
def survey(request):
    return mock_survey(MockOptions(survey=request.param), 3, AgeOptions(), OrbitOptions())


def every(catalog):
    return np.ones(catalog.sizes["star"], dtype=bool)


def test_law_of_metallicity():
    """Uniform numbers become the density that the regression divides by."""
    law, n = InjectedMetallicity(), 200_000
    u = np.random.default_rng(1).random(n)
    for component in (0, 1):
        feh = law.of(np.full(n, component), np.full(n, 4.0), u)
        edges = np.linspace(-1.9, 1.3, 65)
        middles = 0.5 * (edges[1:] + edges[:-1])
        expected = np.exp(law.log_density(np.array([4.0]), middles)[component, 0])
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


def test_without_heights_nothing_else_changes(survey):
    number, of_orbits = np.arange(1, 61), ["ref_true_zmax", "ln_zmax_mean"]
    plain = observe(replace(survey, with_zmax=False), number)
    orbits = observe(survey, number)
    xr.testing.assert_identical(plain.drop_vars(of_orbits), orbits.drop_vars(of_orbits))
    # At fixed R an orbit's height above the plane is underestimated, seldom by much.
    ratio = (plain["ref_true_zmax"] / orbits["ref_true_zmax"]).values
    assert (ratio < 1.0 + 1e-3).mean() > 0.9
    assert np.median(ratio) > 0.7


def test_counts_do_not_depend_on_chunks(survey, monkeypatch):
    one = count_injections(survey, every, 60)
    monkeypatch.setattr(injections, "CHUNK", 17)
    xr.testing.assert_identical(one, count_injections(survey, every, 60))
    assert int(one["passed"].sum()) == one.attrs["usable"] <= 60


def test_injections_that_were_killed_go_on_to_the_same_bits(survey, tmp_path, monkeypatch):
    """What was counted is not counted again; another recipe's counts are not taken."""
    whole, path, seen = count_injections(survey, every, 60), tmp_path / "completeness.partial", []
    monkeypatch.setattr(injections, "CHUNK", 17)

    def some(stars, left):
        if len(seen) >= left:
            raise KeyboardInterrupt
        seen.append(stars.sizes["star"])
        return every(stars)

    with Journal(path, "a recipe") as journal, pytest.raises(KeyboardInterrupt):
        count_injections(survey, lambda stars: some(stars, 3), 60, journal=journal)
    with Journal(path, "a recipe") as journal:
        kept = len(journal)
        again = count_injections(survey, lambda stars: some(stars, 99), 60, journal=journal)
    assert 0 < kept < 4 == len(journal)
    xr.testing.assert_identical(again, whole)
    with Journal(path, "another recipe") as journal:
        assert len(journal) == 0


def test_shares_are_those_of_all_stars_born():
    """By another way: masses of a whole generation, times how complete the survey is."""
    lamost = mock_survey(MockOptions(survey="lamost"), 3, AgeOptions(), OrbitOptions())
    n = 40_000
    number = np.arange(1, 65)
    _, true = lamost.observe(number)
    one = {name: np.repeat(values[[7]], n) for name, values in true.items()}
    rng = np.random.default_rng(8)
    for age in (2.0, 9.0):
        born = {"age": np.full(n, age), "feh": rng.normal(-0.2, 0.1, n), "alpha_fe": np.zeros(n)}
        star, share = lamost.tried_at(one, born, rng.random((2, n)))
        dust = 0.83 * one["a_v"][0]
        assert star["modulus"][0] == pytest.approx(5.0 * np.log10(one["distance"][0]) + 10.0 + dust)
        whole = one | born
        whole |= lamost._on_isochrone(whole, rng.random(n), np.full(n, np.inf))
        seen = magnitudes(whole)
        complete = completeness(in_band("g", seen["g"], seen["bp"] - seen["rp"]))
        expected = np.where(whole["ok"], whole["probability"] * complete, 0.0)
        sd = np.hypot(share.std(), expected.std()) / np.sqrt(n)
        assert abs(share.mean() - expected.mean()) < 4.0 * sd
        assert share.mean() > 8.0 * sd


def test_tries_are_counted_by_age_and_place(survey):
    counts = count_injections(survey, every, 300)
    if not survey.knows_shares:
        assert "tried" not in counts
        return
    assert int(counts["tried"].sum()) == 300  # one at the place of each, of any age
    assert counts["tried"].sum(("component", "modulus")).std() > 0
    taken, squared = counts["taken"].sum(), counts["taken_squared"].sum()
    assert 0.0 < float(squared) < float(taken) < 300.0
    none = count_injections(survey, lambda stars: ~every(stars), 300)
    assert float(none["tried"].sum()) == float(none["taken"].sum()) == 0.0


def test_stars_are_counted_where_they_are():
    cells = Cells((1.0, 13.5))
    counts = np.zeros(cells.shape, dtype=np.int64)
    true = {
        "component": [1.0, 0.0],
        "age": [4.3, 20.0],
        "r_present": [8.1, 8.0],
        "feh": [-0.31, 0.0],
    }
    stars = xr.Dataset({f"ref_true_{name}": ("star", values) for name, values in true.items()})
    stars = stars.rename(ref_true_r_present="r_present")
    np.add.at(counts, cells.of(stars)[1], 1)
    assert counts.sum() == 1  # the other is older than any cell
    at = np.argwhere(counts)[0]
    coords = cells.coords
    assert at[0] == 1
    for name, k, width in (("age", at[1], 0.25), ("r_present", at[2], 0.5), ("feh", at[3], 0.05)):
        assert abs(coords[name][k] - true[name][0]) <= width / 2


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that makes a run of a recipe with these entries, in one folder."""
    monkeypatch.setattr(regression, "_FEWEST", 100)
    monkeypatch.setattr(regression, "_SIZES", regression._SIZES[:1])

    def made(**entries):
        recipe = Recipe(
            name="few", data={"source": "mock"}, simulate={"stars": 700}, baseline=None,
            sampler={"draws": 50, "tune": 20, "chains": 2, "starts": 1, "patience": 1},
            model={"spec": "linear"}, **entries,
        )  # fmt: skip
        return Run(recipe, products=tmp_path, reports=tmp_path / "r", say=lambda line: None)

    return made


_INJECTED = {"source": "inject", "injections": 3000, "directions": 1}


def test_a_product_is_kept_until_what_decides_it_changes(run, tmp_path, monkeypatch):
    said = []
    columns = {"G": [14.0, 16.8], "share": [1.0, 0.7]}
    injected = _INJECTED | {"shares": [share_table(tmp_path / "g.ecsv", columns)]}
    first = run(completeness=injected)
    first.say = said.append
    path = first.inject()
    table = read_netcdf(path).to_dataset()
    assert table["ln_s"].dims == ("component", "age", "r_present", "feh")
    assert table.sizes["age"] == table.sizes["cell_age"] + 2  # ln S is known at both ends, too
    assert int(table["passed"].sum()) == table.attrs["usable"] > 500
    assert table.sizes["direction"] == 2
    (shares,) = json.loads(table.attrs["shares"])
    assert shares["sha256"] == file_sha256(tmp_path / "g.ecsv")
    assert 0.7 < shares["taken"] < 1.0
    assert abs(table.attrs["alpha_slope_thin"]) < 5.0 * table.attrs["alpha_slope_error_thin"]
    assert any(line.startswith("inject     g.ecsv: ") for line in said)
    assert any("AIC of ln S, thick disc" in line for line in said)
    written = path.stat().st_mtime_ns
    again = run(completeness=injected)
    assert again.inject() == path
    again.completeness("inject")
    assert ["outside of g.ecsv in G" in note for note in again.notes] == [True]
    assert path.stat().st_mtime_ns == written
    changed = run(completeness=injected)
    model = changed.recipe.model.model_copy(update={"selection": "quality"})
    changed.recipe = changed.recipe.model_copy(update={"model": model})
    with pytest.raises(ProductError, match=r'stale: `selection` was "all", is "quality"'):
        changed.inject()
    # Defect: a table of before ln S followed the end of the isochrones was taken for a new one.
    before = FORMATS["completeness"]
    with monkeypatch.context() as patch:
        patch.setitem(FORMATS, "completeness", before + 1)
        with pytest.raises(ProductError, match=f"stale: `format` was {before}, is {before + 1}"):
            run(completeness=injected).inject()
    share_table(tmp_path / "g.ecsv", columns | {"share": [1.0, 0.6]})
    with pytest.raises(ProductError, match="stale: `shares` was"):
        run(completeness=injected).inject()


def share_table(path, columns):
    Table(columns).write(path, overwrite=True)
    return ShareOptions(path=str(path))


def test_a_table_of_shares_decides_too(tmp_path):
    """Its content, not its name: another content makes another completeness."""

    def made(*share):
        table = share_table(tmp_path / "g.ecsv", {"G": [10.0, 18.0], "share": share})
        entries = _INJECTED | {"shares": [table]}
        return of_completeness(
            Recipe(name="few", data={"source": "mock"}, completeness=entries), "stars"
        )

    assert made(1.0, 0.0) == made(1.0, 0.0)
    assert made(1.0, 0.0) != made(1.0, 0.5)


def test_a_share_of_all_stars_alike_changes_no_bit(survey, tmp_path):
    """Neither do two of them: what is common to all cancels."""
    one = share_table(tmp_path / "one.ecsv", {"G": [10.0, 18.0], "share": [1.0, 1.0]})
    few = share_table(tmp_path / "few.ecsv", {"BP-RP": [0.5, 1.0], "share": [0.3, 0.3]})
    alike = replace(survey, shares=read_shares([one, few, one]))
    number = np.arange(1, 101)
    xr.testing.assert_identical(observe(alike, number), observe(survey, number))


def test_no_star_is_taken_where_the_share_is_zero(survey, tmp_path):
    """Half of the sky, of HEALPix; elsewhere a third is taken, in proportion."""
    pixel = np.arange(768)
    longitude, _ = HEALPix(8, "ring").healpix_to_lonlat(pixel)
    share = np.where(longitude.deg < 180.0, 0.0, np.where(longitude.deg < 270.0, 0.25, 0.75))
    table = share_table(tmp_path / "sky.ecsv", {"healpix": pixel, "share": share})
    entries = {"nside": 8, "ordering": "ring", "frame": "icrs"}
    half = read_shares([table.model_copy(update=entries)])
    number = np.arange(1, 601)
    kept, star = survey.within_limits(number, range(4))
    thinned, taken = replace(survey, shares=half)._candidates(number, range(4))
    assert set(thinned) < set(kept)
    at = HEALPix(8, "ring").lonlat_to_healpix(taken["ra"] * u.deg, taken["dec"] * u.deg)
    assert (share[at] > 0.0).all()
    expected = half.of(star)
    assert np.unique(expected).tolist() == [0.0, 1.0 / 3.0, 1.0]
    spread = np.sqrt((expected * (1.0 - expected)).sum())
    assert abs(len(thinned) - expected.sum()) < 4.0 * spread + 1.0


def test_a_table_of_the_survey_s_depth_stands_for_its_depth(tmp_path, monkeypatch):
    """The LAMOST-like survey, and one to g = 18 with its shares as a table: the same stars pass."""
    lamost = mock_survey(MockOptions(survey="lamost"), 4, AgeOptions(), OrbitOptions())
    number = np.arange(1, 1501)
    by_limit = observe(lamost, number)
    g = np.linspace(9.0, 18.0, 181)
    table = share_table(tmp_path / "g.ecsv", {"g": g, "share": completeness(g - 1e-9)})
    monkeypatch.setattr(footprint, "faintest_g", lambda u: np.full(np.shape(u), 18.0))
    deep = replace(lamost, seed=3)
    by_table = observe(replace(deep, shares=read_shares([table])), number)
    without = observe(deep, number)
    faint = [float((stars["phot_g_mean_mag"] > 15.0).mean()) for stars in (by_table, without)]
    assert faint[0] < 0.8 * faint[1]  # the table does something
    for name in ("age", "rg", "feh"):
        one, other = (stars[f"ref_true_{name}"].values for stars in (by_table, by_limit))
        assert stats.ks_2samp(one, other).pvalue > 1e-3
    # What S is of: [Fe/H] in each quarter of ages.
    edges = np.quantile(by_limit["ref_true_age"], [0.25, 0.5, 0.75])
    mean, error = np.empty((2, 4)), np.empty((2, 4))
    for i, sample in enumerate((by_table, by_limit)):
        quarter = np.digitize(sample["ref_true_age"], edges)
        for k in range(4):
            feh = sample["ref_true_feh"].values[quarter == k]
            mean[i, k], error[i, k] = feh.mean(), feh.std() / np.sqrt(len(feh))
    assert (np.abs(mean[0] - mean[1]) < 4.0 * np.hypot(*error)).all()


def test_what_tables_do_is_said_and_next_to_nothing_refused(survey, tmp_path, monkeypatch):
    monkeypatch.setattr(injections, "_ASKED", 500)
    some = share_table(tmp_path / "some.ecsv", {"G": [-9.0, 12.0], "share": [1.0, 0.5]})
    cells = {"H_min": [-9.0], "H_max": [11.0], "share": [1.0]}
    shares = read_shares([some, share_table(tmp_path / "h.ecsv", cells)])
    said, doubts = judge_shares(replace(survey, shares=shares))
    assert [one["table"] for one in said] == ["some.ecsv", "h.ecsv"]
    assert said[1]["taken"] == pytest.approx(1.0 - said[1]["outside"]["H"], abs=1e-9)
    assert "outside of some.ecsv in G: its end is taken" in doubts[0]
    assert "outside of h.ecsv in H: none of them is taken" in doubts[1]
    assert judge_shares(survey) == ([], [])
    never = {"G_min": [-9.0], "G_max": [-8.0], "share": [1.0]}
    shares = read_shares([share_table(tmp_path / "never.ecsv", never)])
    with pytest.raises(FitError, match=r"take 0 of the stars .* never\.ecsv 0"):
        judge_shares(replace(survey, shares=shares))


def test_share_of_the_thick_disc(survey):
    few = type(survey)(survey.truth, survey.seed, survey.isochrones, survey.potential, 0.01)
    thick = [observe(one, np.arange(1, 201))["ref_true_component"].mean() for one in (survey, few)]
    assert float(thick[0]) > 5 * float(thick[1])


def test_completeness_that_cannot_be_is_refused_at_once(run):
    with pytest.raises(RecipeError, match=r"'completeness\.shares': there is no file nowhere"):
        run(completeness=_INJECTED | {"shares": [{"path": "nowhere.ecsv"}]}).check()
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


def test_a_catalogue_is_its_own_survey(tmp_path):
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
    # Defect: isochrones of one [α/Fe], which go by total metallicity, gave every injected star
    # that [α/Fe]: thick ones too, whose metal-rich end is lower for it.
    residual = (catalog["ref_true_alpha_fe"] + 0.1 * catalog["ref_true_feh"]).groupby(
        catalog["ref_true_component"]
    )
    np.testing.assert_allclose(residual.mean(), [0.03, 0.20], atol=0.01)
    np.testing.assert_allclose(residual.std(), ALPHA_SD, rtol=0.25)
    # A star far from the Sun's radius stands farther from the Sun than one at it.
    x = np.abs(catalog["ref_true_rg"] - 8.0)
    far, near = catalog["r_present"][x > 2.0], catalog["r_present"][x < 1.0]
    assert np.abs(far - 8.0).mean() > np.abs(near - 8.0).mean()

    # Tables: of ones they change no bit; where they take none no star is, and the rest is held up
    # against them.
    ones = {"BP-RP": [0.5, 1.0], "share": [0.4, 0.4]}
    shares = read_shares([share_table(tmp_path / "ones.ecsv", ones)])
    alike = CatalogueSurvey(stars, every(stars), survey.grid, seed=7, shares=shares)
    xr.testing.assert_identical(observe(alike, number[:50]), catalog.isel(star=slice(50)))
    north = {"ra": [0.0], "dec": [90.0], "radius": [90.0], "share": [0.5]}
    north |= {"J_min": [0.0], "J_max": [30.0], "(J-Ks)0_min": [-1.0], "(J-Ks)0_max": [2.0]}
    shares = read_shares([share_table(tmp_path / "north.ecsv", north)])
    half = CatalogueSurvey(stars, every(stars), survey.grid, seed=7, shares=shares)
    _, taken = taken_by_shares(half, number, range(2))
    _, within = half.within_limits(number, range(2))
    assert (taken["dec"] > 0.0).all()
    assert 0.2 < len(taken["dec"]) / (within["dec"] > 0.0).sum() < 0.8
    assert half.contradicted == pytest.approx(float((stars["dec"] < 0.0).mean()), abs=1e-3)
    with pytest.raises(FitError, match="it has no ra"):
        CatalogueSurvey(stars.drop_vars("ra"), every(stars), survey.grid, seed=7, shares=shares)
