"""Correlated, understated and wrong measurements, seismic gravities: what they must equal."""

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.checks.ages.brute_force import Tracks, reference_log_likelihood
from migrate_bayes.core.errors import CatalogWarning, RecipeError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.isochrones import AgeOptions, build_grid, estimate_ages
from migrate_bayes.isochrones.binaries import as_pairs, pair_magnitude

AGES = (2.0, 3.0, 5.0, 8.0)
SUBGIANT = {"teff": (5900.0, 40.0), "logg": (3.95, 0.06), "feh": (-0.1, 0.04),
            "alpha_fe": (0.05, 0.03), "abs_g": (3.0, 0.08)}  # fmt: skip
GIANT = {"teff": (4750.0, 50.0), "logg": (2.7, 0.08), "feh": (-0.2, 0.05),
         "alpha_fe": (0.05, 0.03), "abs_g": (0.6, 0.1)}  # fmt: skip
CORRELATIONS = {"teff_logg_corr": 0.6, "teff_feh_corr": 0.7, "logg_feh_corr": 0.5}
FLOORS = {"systematics": {"teff": 30.0, "feh": 0.03}, "giant_systematics": {"logg": 0.05}}


def catalogue(*stars, **columns):
    every = {}
    for name in {name for star in stars for name in star}:
        pairs = np.array([star.get(name, (np.nan, np.nan)) for star in stars])
        every |= {name: ("star", pairs[:, 0]), f"{name}_error": ("star", pairs[:, 1])}
    for name, values in columns.items():
        every[name] = ("star", np.broadcast_to(values, len(stars)).astype(float))
    return xr.Dataset(every, coords={"source_id": ("star", np.arange(len(stars)))})


def ages(catalog, **options):
    given = {"ages": AGES, "photometric_floor": 0.0, "systematics": {}, "giant_systematics": {}}
    return estimate_ages(catalog, show_progress=False, workers=1, **{**given, **options})


def assert_same(one, two, names=("log_age_likelihood", "feh_mean", "feh_sd", "chi2_min", "flag")):
    for name in names:
        np.testing.assert_array_equal(one[name].values, two[name].values, err_msg=name)


def matrix(teff_logg, teff_feh, logg_feh):
    return np.array([[1, teff_logg, teff_feh], [teff_logg, 1, logg_feh], [teff_feh, logg_feh, 1]])


def test_floors_are_added_to_variances_and_leave_covariances():
    stars = catalogue(SUBGIANT, GIANT, **CORRELATIONS)
    found = ages(stars, **FLOORS).log_age_likelihood.values.astype(float)
    tracks = Tracks(build_grid("dartmouth", ages=AGES))
    added = {"teff": (30.0, 0.0), "logg": (0.0, 0.05), "feh": (0.03, 0.0)}
    for k, star in enumerate((SUBGIANT, GIANT)):
        widened, ratio = dict(star), []
        for name, floors in added.items():
            value, error = star[name]
            widened[name] = value, np.hypot(error, floors[k])
            ratio.append(error / widened[name][1])
        own = matrix(*CORRELATIONS.values()) * np.outer(ratio, ratio)
        np.fill_diagonal(own, 1.0)
        expected = reference_log_likelihood(widened, tracks, correlation=own)
        near = expected > expected.max() - 9.0
        np.testing.assert_allclose(found[k, near], expected[near], atol=2e-3)


def test_correlations_of_nothing_change_nothing_and_impossible_ones_are_flagged():
    stars = catalogue(SUBGIANT, GIANT, SUBGIANT)
    plain = ages(stars)
    assert_same(plain, ages(stars.assign(teff_logg_corr=("star", [0.0, np.nan, 0.0]))))
    columns = {name: ("star", [value, 1.0, -0.9]) for name, value in CORRELATIONS.items()}
    flag = ages(stars.assign(columns)).flag.values
    np.testing.assert_array_equal(flag & StarFlag.BAD_ERROR > 0, [False, True, True])
    # A star that lacks log g has no error of it to be correlated.
    without = catalogue({k: v for k, v in SUBGIANT.items() if k != "logg"})
    without = without.assign(logg=("star", [np.nan]), logg_error=("star", [np.nan]))
    assert_same(ages(without), ages(without.assign(logg_feh_corr=("star", [0.5]))))


def test_the_papers_method_says_that_it_takes_errors_as_independent():
    stars = catalogue(SUBGIANT, **CORRELATIONS)
    with pytest.warns(CatalogWarning, match="independent"):
        found = ages(stars, method="paper")
    assert_same(found, ages(stars.drop_vars(list(CORRELATIONS)), method="paper"))


def test_inflation_multiplies_errors_before_floors_are_added():
    factors = {"teff": 2.0, "logg": 1.5, "feh": 3.0, "alpha_fe": 0.5, "abs_g": 4.0}
    stars, more = catalogue(SUBGIANT, GIANT, **CORRELATIONS), {}
    for name, factor in factors.items():
        more[f"{name}_error"] = factor * stars[f"{name}_error"]
    inflated = ages(stars, inflation=factors, **FLOORS)
    assert_same(inflated, ages(stars.assign(more), **FLOORS))
    np.testing.assert_allclose(inflated.feh_error_used, [np.hypot(0.12, 0.03), 0.15])
    np.testing.assert_allclose(inflated.alpha_fe_error_used, 0.015)
    assert "feh_error_used" not in ages(stars)


def test_outliers_are_a_mixture_of_likelihoods():
    share, widths = 0.02, {"teff": 400.0, "logg": 0.4, "feh": 0.0, "abs_g": 0.0}
    off = SUBGIANT | {"logg": (4.65, 0.06)}  # 11 errors off
    stars = catalogue(SUBGIANT, off)
    found = ages(stars, outliers={"share": share, **widths})
    parts = [(1 - 2 * share, ages(stars))]
    for name in ("teff", "logg"):
        error = np.hypot(stars[f"{name}_error"], widths[name])
        parts.append((share, ages(stars.assign({f"{name}_error": error}))))
    # A star that is off every isochrone without outliers: its weight is of the others.
    fits = [part.chi2_min.values <= 100.0 for _, part in parts]
    like = [part.log_age_likelihood.values.astype(float) for _, part in parts]
    terms = [w * np.exp(x) * f[:, None] for (w, _), x, f in zip(parts, like, fits, strict=True)]
    whole = np.sum(terms, axis=0)
    near = whole > 0.03 * whole.max(axis=1, keepdims=True)  # far above the floor of each part
    shown = found.log_age_likelihood.values[near]
    np.testing.assert_allclose(shown, np.log(whole[near]), atol=1e-4)
    mean = sum(t * part.feh_mean.values for t, (_, part) in zip(terms, parts, strict=True)) / whole
    np.testing.assert_allclose(found.feh_mean.values[near], mean[near], atol=1e-5)
    square = [part.feh_sd.values**2 + part.feh_mean.values**2 for _, part in parts]
    square = sum(t * x for t, x in zip(terms, square, strict=True)) / whole
    sd = np.sqrt(square - mean**2)
    np.testing.assert_allclose(found.feh_sd.values[near], sd[near], rtol=1e-3)
    assert int(ages(stars).flag[1]) & (StarFlag.POOR_FIT | StarFlag.OFF_GRID)
    assert int(found.flag[1]) & (StarFlag.POOR_FIT | StarFlag.OFF_GRID) == 0


def test_slope_and_curvature_of_a_mixture_are_derivatives():
    step, options = 0.01, {"outliers": {"share": 0.05}}
    shifted = [SUBGIANT | {"abs_g": (3.35 + k * step, 0.08)} for k in (-1, 0, 1)]
    product = ages(catalogue(*shifted), **options)
    low, at, high = product.log_age_likelihood.values.astype(float)
    near = at > at.max() - 4.0
    slope, bend = (high - low) / (2 * step), (high - 2 * at + low) / step**2
    np.testing.assert_allclose(product.abs_g_slope.values[1, near], slope[near], atol=0.05)
    np.testing.assert_allclose(product.abs_g_curvature.values[1, near], bend[near], atol=3.0)


def test_seismic_gravity_replaces_that_of_the_spectrum_star_by_star():
    heard = catalogue(GIANT, GIANT, logg_seismic=[2.45, np.nan], logg_seismic_error=[0.01, np.nan])
    found = ages(heard, giant_systematics={"logg": 0.05, "teff": 25.0})
    floor = np.hypot(GIANT["logg"][1], 0.05)
    own = catalogue(GIANT | {"logg": (2.45, 0.01)}, GIANT | {"logg": (2.7, floor)})
    assert_same(found, ages(own, giant_systematics={"teff": 25.0}))


def test_nu_max_knows_the_temperature_that_it_is_scaled_by():
    (teff, error), nu, nu_error = GIANT["teff"], 33.0, 0.6
    heard = catalogue(GIANT, nu_max=nu, nu_max_error=nu_error, teff_feh_corr=0.4)
    found = ages(heard, giant_systematics={"teff": 30.0, "logg": 0.1})
    logg = 4.438 + np.log10(nu / 3090) + 0.5 * np.log10(teff / 5772)
    # The floor is an error of T_eff, and so of log g, that [Fe/H] does not share.
    wide = np.hypot(error, 30.0)
    by_teff = 0.5 * wide / teff / np.log(10)
    whole = np.hypot(nu_error / nu / np.log(10), by_teff)
    star = GIANT | {"logg": (logg, whole), "teff": (teff, wide)}
    rho = {"teff_logg_corr": by_teff / whole, "teff_feh_corr": 0.4 * error / wide}
    rho["logg_feh_corr"] = 0.4 * error / wide * by_teff / whole
    expected = ages(catalogue(star, **rho))
    for name, tolerance in (("log_age_likelihood", 1e-4), ("feh_mean", 1e-5), ("chi2_min", 1e-3)):
        np.testing.assert_allclose(found[name], expected[name], atol=tolerance)


def test_what_is_not_set_leaves_recipes_as_they_were():
    plain, other = AgeOptions(), AgeOptions.of(settings={"outliers": {"share": 0.01}})
    assert not {"inflation", "outliers", "binaries"} & set(plain.model_dump(mode="json"))
    assert AgeOptions.model_validate(plain.model_dump()) == plain
    assert AgeOptions.model_validate(other.model_dump(mode="json")) == other != plain


def test_pairs_of_equal_stars_are_twice_as_bright_and_faint_companions_are_not_seen():
    mass, abs_g = np.array([0.2, 0.5, 1.0, 1.1]), np.array([11.0, 9.0, 4.8, 3.5])
    equal = pair_magnitude(mass, abs_g, 1.0)
    np.testing.assert_allclose(equal, abs_g - 2.5 * np.log10(2.0))
    # Of half its mass: M = 9 beside 4.8, and below the least mass nothing.
    half = pair_magnitude(mass, abs_g, 0.5)
    assert half[0] == abs_g[0]
    assert half[2] == pytest.approx(4.8 - 2.5 * np.log10(1 + 10 ** (-0.4 * 4.2)))


def test_binaries_are_a_mixture_over_mass_ratios():
    # A star 0.5 mag above the main sequence, of a known gravity: a pair, at any age.
    pair = {"teff": (5600.0, 40.0), "logg": (4.5, 0.05), "feh": (0.0, 0.04), "abs_g": (4.5, 0.05)}
    found = ages(catalogue(pair), binaries={"share": 0.5})
    grid = build_grid("dartmouth", ages=AGES)
    whole = 0.7 * np.exp(reference_log_likelihood(pair, Tracks(grid)))
    for ratio in np.arange(0.45, 1.0, 0.1):
        of_ratio = reference_log_likelihood(pair, Tracks(as_pairs(grid, ratio)))
        whole += 0.05 * np.exp(of_ratio)
    near = whole > 1e-3 * whole.max()
    shown = found.log_age_likelihood.values[0, near]
    np.testing.assert_allclose(shown, np.log(whole[near]), atol=2e-3)
    assert float(found.chi2_min[0]) < float(ages(catalogue(pair)).chi2_min[0]) - 10.0
    with pytest.raises(RecipeError, match="binaries"):
        ages(catalogue(pair), binaries={"share": 0.5}, method="paper")
