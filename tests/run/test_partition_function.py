"""Ages and orbits of a part, as a run and as lsdb make them; stars that get none."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import migrate_bayes as mb
from migrate_bayes.catalog import quality_cuts
from migrate_bayes.catalog.quality import cut_anew
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import CUT, StarFlag
from migrate_bayes.export import as_frame
from migrate_bayes.run.partitions import PartMaker
from migrate_bayes.selection import select

CONTENT = {
    "name": "few",
    "data": {"path": "none.parquet"},
    "orbits": {"potentials": ["MWPotential2014"], "draws": 5, "zmax_potentials": []},
    "isochrones": {"ages": [1.0, 1.5, 2.0, 4.0, 8.0, 12.0, 14.5]},
}


@pytest.fixture(scope="module")
def rows():
    frame = mb.simulate(stars=40, seed=1).to_dataframe().reset_index()
    frame = frame.drop(columns=["flag", "star_key"], errors="ignore")
    return frame.set_index(pd.Index(frame.index.values * 7, name="_healpix_29"))


def test_a_partition_has_the_numbers_of_a_run(rows, tmp_path):
    recipe = mb.Recipe.model_validate(CONTENT)
    made = mb.partition_function(recipe)(rows)
    assert made.index.equals(rows.index)
    path = mb.write_catalog(rows, tmp_path / "stars.parquet")
    run = mb.Run(recipe, products=tmp_path, catalog=path, say=lambda line: None)
    run.make_stars()
    whole = as_frame(run.stars.compute())
    pd.testing.assert_frame_equal(made.reset_index(drop=True), whole)
    assert np.isfinite(made["rg_mean_MWPotential2014"]).mean() > 0.9


def test_partitions_have_the_same_columns_with_few_rows_or_none(rows):
    make = mb.partition_function(mb.Recipe.model_validate(CONTENT | {"until": "ages"}))
    whole, one, none = (make(rows[:n]) for n in (40, 1, 0))
    assert whole["age_median"].notna().sum() > 20
    pd.testing.assert_frame_equal(one, whole[:1])
    assert len(none) == 0
    assert none.dtypes.equals(whole.dtypes)
    assert none.index.name == "_healpix_29"
    # A column that is empty here is not absent: elsewhere it has values.
    gone = make(rows.assign(alpha_fe=np.nan))
    assert list(gone) == list(whole)


def test_stars_that_are_cut_may_be_skipped_and_change_no_other(tmp_path):
    """They have neither age nor orbit, and say so; another cut does not take them unseen."""
    rows = mb.simulate(stars=60, survey="lamost", seed=1).to_dataframe().reset_index()
    rows = rows.drop(columns=["flag", "star_key"], errors="ignore")
    made = {}
    for skip in (False, True):
        content = CONTENT | {"data": {"path": "none.parquet", "skip_cut": skip}}
        path = mb.write_catalog(rows, tmp_path / f"{skip}.parquet")
        recipe = mb.Recipe.model_validate(content)
        run = mb.Run(recipe, products=tmp_path / str(skip), catalog=path, say=lambda line: None)
        run.make_stars()
        made[skip] = run.stars.compute(), run.mask("all").values
    (whole, usable), (fewer, same) = made[False], made[True]
    np.testing.assert_array_equal(same, usable)
    cut = whole["flag"].values & np.int32(CUT) != 0
    assert 5 < usable.sum() < 0.9 * len(usable)
    assert cut.sum() > 5
    pd.testing.assert_frame_equal(as_frame(fewer)[~cut], as_frame(whole)[~cut])
    rest = fewer.isel(star=np.flatnonzero(cut))
    assert (rest["flag"].values & np.int32(CUT | StarFlag.SKIPPED) == rest["flag"].values).all()
    assert np.isnan(rest["age_median"]).all()
    assert np.isnan(rest["rg_mean"]).all()
    np.testing.assert_array_equal(rest["feh"], whole["feh"].values[cut])
    looser = {"min_snr": None, "duplicate_radius": None}
    assert not (cut_anew(whole, looser)["flag"].values & np.int32(CUT)).any()
    with pytest.raises(CatalogError, match=f"{cut.sum()} stars .* were skipped"):
        cut_anew(fewer, looser)


def test_external_ages_of_stars_that_are_skipped_are_not_used():
    columns = {"age": 4.0, "age_lo": 3.0, "age_hi": 5.5, "feh": -0.1, "feh_error": 0.05}
    catalog = xr.Dataset({name: ("star", [value] * 2) for name, value in columns.items()})
    catalog = catalog.assign_coords(source_id=("star", [1, 2]))
    catalog["flag"] = "star", np.array([0, StarFlag.LOW_SNR | StarFlag.SKIPPED], dtype=np.int32)
    ages = mb.external_ages(catalog)
    assert ages["flag"].values.tolist() == [0, int(StarFlag.SKIPPED)]
    np.testing.assert_array_equal(np.isnan(ages["age_median"]), [False, True])


def test_of_injected_stars_those_that_are_cut_need_no_age(monkeypatch, tmp_path):
    content = CONTENT | {"data": {"source": "mock"}, "simulate": {"survey": "lamost"}}
    run = mb.Run(mb.Recipe.model_validate(content), products=tmp_path, say=lambda line: None)
    catalog = mb.simulate(stars=60, survey="lamost", seed=2)
    catalog = quality_cuts(catalog, min_snr=50.0)
    asked = []
    whole = PartMaker.made_of

    def made_of(maker, chunk):
        asked.append(chunk.sizes["star"])
        return whole(maker, chunk)

    monkeypatch.setattr(PartMaker, "made_of", made_of)
    taken = run._usable(catalog)
    maker = PartMaker(run.recipe, tmp_path, ages=True, orbits=False)
    (stars,) = whole(maker, mb.correct_extinction(catalog))
    np.testing.assert_array_equal(taken, select(stars, "all").values)
    low = catalog["flag"].values & StarFlag.LOW_SNR != 0
    assert asked == [(~low).sum()]
    assert low.any()
    assert not run._usable(catalog.isel(star=np.flatnonzero(low))).any()
