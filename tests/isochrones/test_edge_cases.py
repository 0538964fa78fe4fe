"""Stars at every edge, by both methods; chi-square as a statistic; parts that do not matter."""

import time
from functools import partial

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.flags import StarFlag
from migrate_bayes.isochrones import build_grid, draw_stars, estimate_ages
from migrate_bayes.isochrones.states import GIANT_LOGG
from migrate_bayes.mock.lamost_like import ERRORS, lamost_like
from migrate_bayes.stars import StarWriter, assemble_stars, open_stars

METHODS = ["fine", "paper"]
FATAL = StarFlag.OFF_GRID | StarFlag.BAD_ERROR | StarFlag.MISSING_PARAMETERS


def catalogue(stars, errors=ERRORS):
    n = len(next(iter(stars.values())))
    columns = {name: ("star", np.asarray(value, dtype=float)) for name, value in stars.items()}
    columns |= {f"{name}_error": ("star", np.full(n, errors[name])) for name in stars}
    return xr.Dataset(columns, coords={"source_id": ("star", np.arange(n))})


def exact(age, feh, *, logg=(3.7, 4.2), alpha=0.0, source="dartmouth", at=0.4):
    """Stars that lie on isochrones, between the limits of log g."""
    age, feh = np.broadcast_arrays(np.atleast_1d(age), feh)
    star = draw_stars(source, age, feh, alpha, at, logg_range=logg, teff_range=(3500, 12000))
    assert star["ok"].all()
    seen = {name: star[name] for name in ("teff", "logg", "abs_g")}
    return seen | {"feh": np.array(feh, dtype=float), "alpha_fe": np.full(len(feh), alpha)}


def ages(catalog, **options):
    return estimate_ages(catalog, show_progress=False, **options)


def reasons(product):
    return [StarFlag(int(f)) for f in product["flag"].values]


@pytest.mark.parametrize("method", METHODS)
def test_stars_on_isochrones_fit_them_exactly(method):
    # [Fe/H] at nodes of the paper's grid, so that its nodes have the isochrone too.
    truth = np.array([1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 12.0])
    feh = np.array([-1.0, -0.5, -0.2, 0.0, 0.0, -0.3, -0.7])
    sharp = {"teff": 10.0, "logg": 0.02, "feh": 0.01, "alpha_fe": 0.01, "abs_g": 0.02}
    product = ages(catalogue(exact(truth, feh), sharp), method=method, photometric_floor=0.0)
    assert not any(flag & (FATAL | StarFlag.POOR_FIT) for flag in reasons(product))
    np.testing.assert_allclose(product["age_ml"], truth, rtol=0.06)
    # The paper's chi-square is that of its nodes and segments, which pass nearby.
    assert float(product["chi2_min"].max()) < (0.05 if method == "fine" else 6.0)
    assert (product["age_lo"] < truth).all()
    assert (product["age_hi"] > truth).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "moved",
    [{"teff": 12000.0}, {"teff": 2500.0}, {"abs_g": -9.0}, {"abs_g": 16.0}, {"logg": -3.0},
     {"logg": 9.0}, {"feh": -5.0}, {"feh": 1.6}, {"alpha_fe": 3.0}],
)  # fmt: skip
def test_a_star_far_off_the_grid_is_said_to_be(method, moved):
    star = exact(4.0, 0.0)
    far = star | {name: np.array([value]) for name, value in moved.items()}
    both = catalogue({name: np.concatenate([star[name], far[name]]) for name in star})
    product = ages(both, method=method)
    near, off = reasons(product)
    assert not near & FATAL
    assert StarFlag.OFF_GRID in off
    assert np.isnan(product["age_ml"].values[1])
    np.testing.assert_array_equal(product["log_age_likelihood"].values[1], 0.0)
    # The star beside it is not touched.
    alone = ages(catalogue(star), method=method)
    for name in ("log_age_likelihood", "feh_mean", "age_median", "chi2_min"):
        np.testing.assert_array_equal(product[name].values[0], alone[name].values[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", list(ERRORS))
def test_one_observable_missing(method, name):
    star = exact([3.0, 8.0], -0.1)
    catalog = catalogue(star)
    catalog[name][1] = np.nan
    product = ages(catalog, method=method)
    first, second = reasons(product)
    assert not first & FATAL
    if name in ("teff", "feh"):  # without colour nothing stands for the temperature
        assert StarFlag.MISSING_PARAMETERS in second
        assert np.isnan(product["age_ml"].values[1])
        return
    assert not second & FATAL
    assert (StarFlag.MISSING_PHOTOMETRY in second) == (name == "abs_g")
    whole = ages(catalogue(star), method=method)
    # What is missing can only widen the interval; the truth stays inside.
    width = [float(p["age_hi"][1] - p["age_lo"][1]) for p in (product, whole)]
    assert width[0] > 0.9 * width[1]
    assert float(product["age_lo"][1]) < 8.0 < float(product["age_hi"][1])
    np.testing.assert_array_equal(product["age_ml"].values[0], whole["age_ml"].values[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", list(ERRORS))
@pytest.mark.parametrize("error", [0.0, -0.1, np.inf, np.nan])
def test_an_impossible_error_condemns_its_star_alone(method, name, error):
    catalog = catalogue(exact([3.0, 6.0], -0.1))
    spoiled = catalog.copy(deep=True)
    spoiled[f"{name}_error"][1] = error
    product, whole = ages(spoiled, method=method), ages(catalog, method=method)
    assert reasons(product)[1] == StarFlag.BAD_ERROR
    assert np.isnan(product["age_ml"].values[1])
    np.testing.assert_array_equal(product["log_age_likelihood"].values[1], 0.0)
    for variable in ("log_age_likelihood", "age_median", "chi2_min", "flag"):
        np.testing.assert_array_equal(product[variable].values[0], whole[variable].values[0])


@pytest.mark.parametrize("method", METHODS)
def test_the_edge_ages(method):
    grid = build_grid("dartmouth", method=method)
    youngest, oldest = grid.ages[0], grid.ages[-1]
    star = exact([youngest, oldest], -0.1, logg=(3.8, 4.15))
    # A little hotter and brighter than the youngest, cooler than the oldest.
    star["abs_g"] = star["abs_g"] + np.array([-0.15, 0.0])
    star["teff"] = star["teff"] + np.array([60.0, -60.0])
    product = ages(catalogue(star), method=method)
    young, old = reasons(product)
    assert StarFlag.EDGE_YOUNG in young
    assert StarFlag.EDGE_OLD not in young
    assert StarFlag.EDGE_OLD in old
    assert StarFlag.EDGE_YOUNG not in old
    np.testing.assert_array_equal(product["age_ml"], [youngest, oldest])
    assert float(product["age_lo"][0]) == youngest
    assert float(product["age_hi"][1]) == oldest
    inside = product["age_median"].values
    assert np.all((inside > youngest) & (inside < oldest))


@pytest.mark.parametrize("method", METHODS)
def test_interim_priors_divide_out(method):
    catalog = lamost_like("dartmouth", 60, seed=4)
    flat, log_flat = (ages(catalog, method=method, age_prior=p) for p in ("flat", "log-flat"))
    np.testing.assert_allclose(
        log_flat["log_age_likelihood"] - log_flat["log_interim_prior"],
        flat["log_age_likelihood"] - flat["log_interim_prior"],
        atol=1e-5,
    )
    # The interval of a giant is one of the posterior, as the median is.
    likely = np.array([method == "paper"]) | (catalog["logg"].values > GIANT_LOGG)
    for name in ("age_ml", "age_lo", "age_hi", "chi2_min", "flag"):
        one, two = (product[name].values[likely] for product in (flat, log_flat))
        np.testing.assert_array_equal(one, two, err_msg=name)
    # The median is that of likelihood times prior, which prefers the young.
    known = np.isfinite(flat["age_median"].values)
    assert (log_flat["age_median"].values[known] <= flat["age_median"].values[known]).all()


def test_chi_square_is_one():
    # Five observables, less age and mass; [Fe/H] and [α/Fe] are fitted but observed too. A star
    # at the edge of the ages has no freedom to fit one, so those are left out.
    catalog = lamost_like("dartmouth", 600, seed=6)
    product = ages(catalog, photometric_floor=0.0)
    flag = product["flag"].values
    edge = int(StarFlag.EDGE_YOUNG | StarFlag.EDGE_OLD)
    inner = (catalog["true_age"].values > 2.0) & (catalog["true_age"].values < 12.0)
    inner &= (flag & (edge | int(FATAL))) == 0
    chi2 = product["chi2_min"].values[inner]
    assert inner.sum() > 250
    assert 0.6 < chi2.mean() < 1.15
    assert (flag & int(StarFlag.POOR_FIT) != 0).sum() <= 3


@pytest.mark.parametrize("method", METHODS)
def test_a_product_is_the_same_whatever_its_parts(method, tmp_path):
    catalog = lamost_like("dartmouth", 30, seed=9)
    read = {}
    for size in (4, 13, 30):
        path = tmp_path / f"by-{size}"
        with StarWriter(path) as out:
            for a in range(0, 30, size):
                part = catalog.isel(star=slice(a, a + size))
                out.append(assemble_stars(part, ages(part, method=method)))
        read[size] = open_stars(path).load()
    for size, stars in read.items():
        for name, variable in read[30].variables.items():
            assert variable.dtype == stars[name].dtype, (size, name)
            np.testing.assert_array_equal(stars[name].values, variable.values, err_msg=str(name))


@pytest.mark.parametrize("method", ["fine", "paper"])
@pytest.mark.parametrize("name", ["teff", "logg", "feh", "alpha_fe", "abs_g"])
def test_work_per_star_is_bounded(name, method):
    """No error and no value, however absurd, costs more than some isochrones' worth of work."""
    sun = {"teff": 5772.0, "logg": 4.44, "feh": 0.0, "alpha_fe": 0.0, "abs_g": 4.67}
    errors = dict(zip(sun, (22.0, 0.05, 0.03, 0.02, 0.1), strict=True))
    absurd = np.array([errors[name], 1e-12, 1e-6, 10.0, 1e4, 1e6, 1e12, 1e30])
    columns = {k: ("star", np.full(len(absurd), v)) for k, v in sun.items()}
    columns |= {f"{k}_error": ("star", np.full(len(absurd), v)) for k, v in errors.items()}
    # With its unit it is taken at its word; without, so large an error is taken as missing.
    unit = {"teff": "K", "abs_g": "mag"}.get(name, "dex")
    columns[f"{name}_error"] = "star", absurd, {"units": unit}
    stars = xr.Dataset(columns)
    run = partial(estimate_ages, method=method, show_progress=False, workers=1)
    run(stars.isel(star=[0]))  # compiled, grids made
    began = time.perf_counter()
    product = run(stars)
    assert time.perf_counter() - began < 10.0
    # Very wide errors say no more than none: from some size on, the age is the same.
    np.testing.assert_allclose(product["age_median"][-1], product["age_median"][-2], rtol=0.02)


@pytest.mark.parametrize("feh", [0.8, -4.0])
def test_a_star_far_beyond_the_grid_has_the_chi_square_of_it(feh):
    sun = {"teff": 5772.0, "logg": 4.44, "abs_g": 4.67, "feh": feh}
    errors = dict(zip(sun, (60.0, 0.08, 0.2, 0.05), strict=True))
    stars = xr.Dataset(
        {k: ("star", [v]) for k, v in sun.items()}
        | {f"{k}_error": ("star", [v]) for k, v in errors.items()}
    )
    product = estimate_ages(stars, show_progress=False)
    flagged = StarFlag.POOR_FIT | StarFlag.OFF_GRID
    assert product["flag"].values[0] & int(flagged)
    assert not product["chi2_min"].values[0] < 25.0  # NaN off the grid
