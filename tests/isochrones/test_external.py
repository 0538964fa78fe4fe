import numpy as np
import pytest
import xarray as xr

from migrate_bayes.catalog import quality_cuts
from migrate_bayes.core.errors import CatalogError, CatalogWarning
from migrate_bayes.core.flags import FATAL_AGE, StarFlag
from migrate_bayes.isochrones import external_ages
from migrate_bayes.stars import assemble_stars


def catalog(age, low, high, feh=0.0):
    n = len(age)
    columns = {"age": age, "age_lo": low, "age_hi": high, "feh": np.full(n, feh)}
    columns["feh_error"] = np.full(n, 0.03)
    return xr.Dataset(
        {name: ("star", np.asarray(v, float)) for name, v in columns.items()},
        coords={"source_id": ("star", np.arange(n))},
    )


def test_quantiles_come_back():
    # On a fine grid the likelihood has the catalogue's own median and 68% interval in ln age.
    grid = np.exp(np.linspace(np.log(0.2), np.log(20), 4000))
    product = external_ages(catalog([4.0], [3.0], [6.0]), ages=grid)
    density = np.exp(product["log_age_likelihood"].values[0].astype(float))
    # Equal mass on both sides of the median: the density of a two-piece Gaussian is scaled so.
    below, above = np.log(4 / 3), np.log(6 / 4)
    cumulative = np.cumsum(density / grid * np.gradient(grid))
    cumulative /= cumulative[-1]
    share = below / (below + above)
    assert np.interp(4.0, grid, cumulative) == pytest.approx(share, abs=2e-3)
    assert np.interp(3.0, grid, cumulative) == pytest.approx(0.3173 * share, abs=2e-3)
    assert product["age_error"].values[0] == pytest.approx(3 / 8)


def test_bad_ages_are_flagged_and_kept():
    stars = catalog([np.nan, -1, 3, 4, 20], [1, 1, 4, 3, 15], [2, 2, 5, 5, 25])
    with pytest.warns(CatalogWarning, match=r"column 'age'.* outside 0 to 30 Gyr.* missing"):
        product = external_ages(stars)
    missing = (product["flag"].values & int(StarFlag.MISSING_AGE)) != 0
    np.testing.assert_array_equal(missing, [True, True, True, False, False])
    assert np.isnan(product["age_ml"].values[:3]).all()
    assert product["flag"].values[4] == int(StarFlag.EDGE_OLD)
    assert np.isfinite(product["log_age_likelihood"].values[3]).all()


def test_no_spectrum_is_asked_for():
    """A star with an age of its own and [Fe/H] is usable, whatever an isochrone would need."""
    stars = catalog([3.0, 4.0, 5.0, 6.0], [2, 3, 4, 5], [4, 5, 6, 7])
    stars["feh_error"][1] = np.nan
    stars["alpha_fe"] = "star", [0.0, 0.0, 0.1, 0.1]
    stars["alpha_fe_error"] = "star", [0.03, 0.03, np.nan, 0.03]
    ages = external_ages(stars)
    flag = quality_cuts(stars)["flag"].values
    assert (flag & StarFlag.MISSING_PARAMETERS).all()
    joined = assemble_stars(quality_cuts(stars), ages)
    expected = [False, True, True, False]
    assert ((joined["flag"].values & int(FATAL_AGE)) != 0).tolist() == expected
    frame = stars.to_dataframe().reset_index()
    np.testing.assert_array_equal(external_ages(frame)["age_ml"], ages["age_ml"])


def test_missing_columns_are_named():
    with pytest.raises(CatalogError, match=r"missing: \['age_hi'\]"):
        external_ages(catalog([1.0], [0.9], [1.1]).drop_vars("age_hi"))
