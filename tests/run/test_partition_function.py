"""Ages and orbits of a partition, as `map_partitions` of lsdb makes them."""

import numpy as np
import pandas as pd
import pytest

import migrate_bayes as mb
from migrate_bayes.export import as_frame

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
