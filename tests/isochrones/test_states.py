"""Giants: their family, the clump, floor and interval, APOKASC-2; hot stars near the ZAMS."""

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.catalog import read_catalog
from migrate_bayes.checks.ages.samples import load_members
from migrate_bayes.core.errors import RecipeError
from migrate_bayes.core.flags import StarFlag, count_flags
from migrate_bayes.isochrones import (
    AgeOptions,
    age_quantiles,
    estimate_ages,
    isochrone,
    load_source,
)
from migrate_bayes.isochrones.states import GIANT_LOGG, GIANT_TEFF
from migrate_bayes.selection.conditions import _UNUSABLE

CLUMP = {"teff": (4820.0, 40.0), "logg": (2.45, 0.05), "feh": (0.0, 0.04)}
BRANCH = {"teff": (4640.0, 40.0), "logg": (2.5, 0.05), "feh": (0.0, 0.04)}
LOW_BRANCH = {"teff": (4900.0, 40.0), "logg": (3.1, 0.05), "feh": (0.0, 0.04)}
DWARF = {"teff": (5900.0, 60.0), "logg": (4.0, 0.08), "feh": (-0.1, 0.05), "abs_g": (3.2, 0.1)}


def catalogue(*stars):
    names = {name: None for star in stars for name in star}
    columns = {}
    for name in names:
        pairs = np.array([star.get(name, (np.nan, np.nan)) for star in stars])
        columns |= {name: ("star", pairs[:, 0]), f"{name}_error": ("star", pairs[:, 1])}
    return xr.Dataset(columns, coords={"source_id": ("star", np.arange(len(stars)))})


def mixed(n=400, seed=3):
    """Stars of all kinds, with and without [α/Fe] and M_G."""
    rng = np.random.default_rng(seed)
    teff, logg = rng.uniform(4200, 7000, n), rng.uniform(1.5, 4.8, n)
    columns = {"teff": teff, "logg": logg, "feh": rng.normal(-0.1, 0.2, n)}
    columns["alpha_fe"] = np.where(rng.random(n) < 0.5, np.nan, rng.normal(0.05, 0.05, n))
    columns["abs_g"] = np.where(rng.random(n) < 0.5, np.nan, 2.5 * (logg - 4.4) + 4.6)
    errors = {"teff": 60.0, "logg": 0.08, "feh": 0.05, "alpha_fe": 0.04, "abs_g": 0.1}
    columns |= {f"{name}_error": np.full(n, e) for name, e in errors.items()}
    giant = (logg < GIANT_LOGG) & (teff < GIANT_TEFF)
    return xr.Dataset({name: ("star", v) for name, v in columns.items()}), giant


def ages(catalog, **options):
    return estimate_ages(catalog, show_progress=False, **options)


def has(product, flag):
    return product["flag"].values & np.int32(flag) != 0


def test_families_are_known_by_whether_gravity_rises_again_after_the_tip(shared_data):
    names = ("dartmouth", "yapsi", "mist", "parsec", "basti")
    assert [load_source(name).has_clump for name in names] == [False, False, True, True, True]
    assert not load_source(f"dartmouth-native:{shared_data('dartmouth_gaia')}").has_clump


def test_the_clump_is_flagged_where_isochrones_lack_it_and_not_where_they_have_it():
    stars = catalogue(CLUMP, BRANCH, LOW_BRANCH, DWARF)
    np.testing.assert_array_equal(
        has(ages(stars), StarFlag.MISSING_PHASE), [True, False, False, False]
    )
    assert not has(ages(stars, source="mist"), StarFlag.MISSING_PHASE).any()
    assert not has(ages(stars, giants="mist"), StarFlag.MISSING_PHASE).any()
    assert StarFlag.MISSING_PHASE & _UNUSABLE


def test_giants_beyond_the_end_of_their_isochrones_are_flagged():
    beyond, before = ({**LOW_BRANCH, "logg": (g, 0.05)} for g in (2.8, 3.3))
    stars = catalogue(BRANCH, beyond, before, DWARF)
    assert 2.9 < load_source("yapsi").lowest_logg < 3.2
    np.testing.assert_array_equal(
        has(ages(stars, source="yapsi"), StarFlag.MISSING_PHASE), [True, True, False, False]
    )


def test_hot_stars_near_the_zero_age_main_sequence_are_flagged_or_left_out():
    zams = isochrone("mist", 0.2)
    dwarf = (zams["logg"] > 4.0) & (zams["teff"] > 4500.0) & (zams["teff"] < 9000.0)
    teff, logg = zams["teff"][dwarf], zams["logg"][dwarf]
    older = [{"teff": (6150.0, 30.0), "logg": (g, 0.04), "feh": (0.0, 0.03)} for g in (4.05, 3.7)]
    stars = [
        {"teff": (t, 30.0), "logg": (g - d, 0.04), "feh": (0.0, 0.03)}
        for t, g in zip(teff, logg, strict=True)
        for d in (0.0, 0.15)  # as LAMOST sees them
    ]
    expected = np.append(np.repeat(teff > 6000.0, 2), [False, False])
    flagged = ages(catalogue(*stars, *older))
    # A star off the grid has no age to doubt.
    known = np.isfinite(flagged["age_median"].values)
    assert known[expected].mean() > 0.7
    np.testing.assert_array_equal(has(flagged, StarFlag.NEAR_ZAMS), expected & known)
    assert not has(flagged, StarFlag.EXCLUDED).any()
    left_out = ages(catalogue(*stars, *older), near_zams="exclude")
    np.testing.assert_array_equal(has(left_out, StarFlag.EXCLUDED), expected)
    np.testing.assert_array_equal(left_out["age_median"], flagged["age_median"])


@pytest.mark.parametrize("source", ["dartmouth", "mist"])
def test_hot_members_of_young_clusters_that_seem_old_are_flagged(shared_data, source):
    folder = shared_data("open_clusters")
    paths = [str(folder / f"lamost_{k}rs_members.csv") for k in "lm"]
    sample = load_members(*paths)
    product = ages(sample.catalog, source=source)
    cluster, hot = sample.catalog["cluster"].values, sample.catalog["teff"].values > 6000.0
    claimed = (product["age_error"].values < 0.25) & hot
    flagged = has(product, StarFlag.NEAR_ZAMS)
    young = np.isin(cluster, ["NGC2168", "NGC1039", "NGC2548"])
    too_old = product["age_median"].values - sample.reference > 0.5
    assert np.sum(claimed & young & too_old) > 100
    assert np.mean(flagged[claimed & young]) > 0.90
    assert np.mean(flagged[claimed & (cluster == "NGC2682")]) < 0.25


@pytest.mark.parametrize(
    "seen", [{"abs_g": (0.5, 0.1)}, {"abs_g": (0.5, 0.1), "teff": (np.nan, np.nan)}]
)
def test_the_clump_is_known_by_its_magnitude_where_gravity_or_temperature_is_missing(seen):
    star = CLUMP | {"logg": (np.nan, np.nan), "bp_rp": (1.2, 0.02)} | seen
    observables = ("teff", "logg", "feh", "abs_g", "bp_rp")
    fainter = star | {"abs_g": (2.3, 0.1)}
    product = ages(catalogue(star, fainter), observables=observables)
    np.testing.assert_array_equal(has(product, StarFlag.MISSING_PHASE), [True, False])


@pytest.mark.parametrize("ages_of", [None, (2.0, 4.0, 6.0, 9.0, 12.0)])
def test_giants_have_the_ages_of_their_family_and_the_others_those_of_theirs(ages_of):
    stars, giant = mixed()
    both = ages(stars, giants="mist", ages=ages_of)
    for source, mine in (("dartmouth", ~giant), ("mist", giant)):
        alone = ages(stars, source=source, ages=ages_of).isel(star=mine)
        ours = both.isel(star=mine)
        for name, values in alone.drop_vars(["flag", "log_interim_prior"]).items():
            same = ours[name].sel(age=alone.age) if "age" in values.dims else ours[name]
            np.testing.assert_array_equal(same, values, err_msg=f"{source} {name}")
        rest = ~np.int32(StarFlag.GIANT_FAMILY | StarFlag.MISSING_PHASE)
        np.testing.assert_array_equal(ours["flag"] & rest, alone["flag"] & rest)
    np.testing.assert_array_equal(has(both, StarFlag.GIANT_FAMILY), giant)
    assert both.attrs["giants"] == "mist"
    assert both.attrs["giants_checksum"] == load_source("mist").checksum


def test_ages_that_a_family_does_not_reach_have_no_likelihood():
    stars, giant = mixed()
    for source, giants, short in (("mist", "basti", giant), ("basti", "mist", ~giant)):
        both = ages(stars, source=source, giants=giants)
        young = both.age.values < 0.99
        assert young.sum() == 9
        aged = short & np.isfinite(both["age_median"].values)
        like = both["log_age_likelihood"].values[aged]
        below = np.repeat(like.min(axis=1)[:, None], 9, axis=1)
        np.testing.assert_allclose(like[:, young], below, rtol=1e-5)
        assert (both["age_lo"].values[aged] >= 1.0).all()
        at_edge = has(both, StarFlag.EDGE_YOUNG) & aged
        assert at_edge.any()
        np.testing.assert_allclose(both["age_ml"][at_edge], 1.0)


def test_giants_may_be_left_out():
    stars, giant = mixed()
    left_out, all_of_them = ages(stars, giants="exclude"), ages(stars)
    np.testing.assert_array_equal(has(left_out, StarFlag.EXCLUDED), giant)
    np.testing.assert_array_equal(left_out["age_median"], all_of_them["age_median"])
    assert StarFlag.EXCLUDED & _UNUSABLE
    with pytest.raises(RecipeError, match="know no `giants`"):
        AgeOptions.of(settings={"source": "external", "giants": "exclude"})


def test_the_giants_interval_is_the_central_one_of_the_posterior():
    stars, giant = mixed()
    product = ages(stars, age_prior="disc")
    low, median, high = age_quantiles(product, [0.16, 0.5, 0.84]).values.T
    np.testing.assert_allclose(product["age_lo"][giant], low[giant], rtol=1e-4)
    np.testing.assert_allclose(product["age_hi"][giant], high[giant], rtol=1e-4)
    error = (0.5 * (high - low) / median)[giant]
    np.testing.assert_allclose(product["age_error"][giant], error, rtol=2e-3)
    assert not np.allclose(product["age_lo"][~giant], low[~giant], rtol=1e-2)


def test_systematics_are_errors_in_quadrature_of_their_stars_alone():
    stars, giant = mixed()
    floors = {"teff": 80.0, "logg": 0.06, "feh": 0.05}
    wide = stars.copy()
    for name, floor in floors.items():
        wide[f"{name}_error"] = np.hypot(stars[f"{name}_error"], floor)
    none, given = {"giant_systematics": {}}, ages(wide, giant_systematics={})
    of_giants = ages(stars, giant_systematics=floors)
    of_others = ages(stars, systematics=floors, **none)
    exact = ages(stars, **none)
    for name in ("age_median", "age_lo", "chi2_min", "log_age_likelihood"):
        np.testing.assert_array_equal(of_giants[name][giant], given[name][giant])
        np.testing.assert_array_equal(of_giants[name][~giant], exact[name][~giant])
        np.testing.assert_array_equal(of_others[name][~giant], given[name][~giant])
        np.testing.assert_array_equal(of_others[name][giant], exact[name][giant])
    # By the paper's method a giant is as any other star, unless the recipe says so.
    paper = ages(stars, method="paper")
    for name in ("age_lo", "age_median"):
        np.testing.assert_array_equal(paper[name], ages(stars, method="paper", **none)[name])
    with pytest.raises(RecipeError, match="giant_systematics"):
        ages(stars, giant_systematics={"teff": -1.0})


def test_chunks_change_nothing():
    stars, _ = mixed()
    whole = ages(stars, giants="mist", workers=2)
    parts = [
        ages(stars.isel(star=slice(k, k + 90)), giants="mist", workers=1) for k in range(0, 400, 90)
    ]
    xr.testing.assert_identical(
        xr.concat(parts, "star", data_vars="minimal", join="exact", combine_attrs="override"), whole
    )


@pytest.fixture(scope="module")
def apokasc(shared_data):
    """Giants with seismic ages: catalogue, whether in the clump, age in Gyr."""
    path = shared_data("apokasc2/apokasc2_apogee_even_kic.csv")
    catalog = read_catalog(path, columns="apokasc2")
    catalog = catalog.isel(star=np.isfinite(catalog["ref_clump"].values))
    return catalog, catalog["ref_clump"].values == 1, catalog["ref_age"].values


@pytest.mark.parametrize(("source", "lost"), [("dartmouth", (0, 0.1)), ("yapsi", (0.8, 1))])
def test_few_clump_stars_are_usable_on_isochrones_without_a_clump(apokasc, source, lost):
    catalog, clump, _ = apokasc
    flagged = has(ages(catalog, source=source), StarFlag.MISSING_PHASE)
    assert clump.sum() > 1200
    assert np.mean(~flagged[clump]) < 0.05
    assert lost[0] < np.mean(flagged[~clump]) < lost[1]  # YaPSI ends below the clump


def test_intervals_of_giants_hold_the_seismic_age(apokasc):
    catalog, clump, age = apokasc
    product = ages(catalog, giants="mist", age_prior="disc")
    inside = (product["age_lo"].values <= age) & (age <= product["age_hi"].values)
    usable = product["age_error"].values < 0.5
    assert count_flags(product["flag"]).get(StarFlag.MISSING_PHASE, 0) == 0
    for group in (clump, ~clump, clump & usable, ~clump & usable):
        assert group.sum() > 400
        assert 0.60 < np.mean(inside[group]) < 0.75
