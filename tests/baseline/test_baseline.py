"""ODR in age bins: closed forms, recovery, the bias without scatter, and bins that cannot be."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from migrate_bayes.baseline import fit_baseline, fit_line
from migrate_bayes.baseline.bins import expanded_interval
from migrate_bayes.baseline.line import weighted_line
from migrate_bayes.core.errors import FitError, RecipeError

YOUNG, RATE = -0.075, 0.003


def mock_stars(n: int = 8000, *, scatter: float = 0.15, seed: int = 1) -> xr.Dataset:
    """A thin disc whose gradient at 1 Gyr is YOUNG and flattens by RATE, ages known exactly."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(1.0, 12.25, n)
    rg = rng.normal(8.3, 1.2, n)
    rg_sd, feh_error = rng.uniform(0.05, 0.5, n), rng.uniform(0.03, 0.08, n)
    feh = (YOUNG + RATE * (age - 1)) * (rg - 8) + rng.normal(0, scatter, n)
    feh += rng.normal(0, feh_error)
    ones = np.ones((n, 1))
    return xr.Dataset(
        {
            "rg_mean": (("star", "potential"), (rg + rng.normal(0, rg_sd))[:, None] * ones),
            "rg_sd": (("star", "potential"), rg_sd[:, None] * ones),
            "zmax": (("star", "potential"), 0.1 * ones),
            "feh": ("star", feh),
            "feh_error": ("star", feh_error),
            "alpha_fe": ("star", np.full(n, -0.1)),
            "age_ml": ("star", age),
            "age_lo": ("star", age - 0.5),
            "age_hi": ("star", age + 1.0),
            "flag": ("star", np.zeros(n, dtype=np.int32)),
        },
        coords={"potential": ["MWPotential2014"]},
    )


# --- a line ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1.0, 0.3, 4.0])
def test_line_matches_deming_closed_form(ratio: float) -> None:
    """With one error ratio for all points, ODR is Deming's regression (1943)."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 2, 300)
    x, y = truth + rng.normal(0, 0.4, 300), 0.5 - 0.7 * truth + rng.normal(0, 0.4 * ratio, 300)
    d = ratio**2
    sxx, syy, sxy = np.var(x), np.var(y), np.cov(x, y, bias=True)[0, 1]
    slope = (syy - d * sxx + np.sqrt((syy - d * sxx) ** 2 + 4 * d * sxy**2)) / (2 * sxy)
    fit = fit_line(x, y, np.full(300, 0.4), np.full(300, 0.4 * ratio))
    assert fit.slope.value == pytest.approx(slope, rel=1e-6)
    assert fit.intercept.value == pytest.approx(y.mean() - slope * x.mean(), abs=1e-6)


def test_exact_radii_give_weighted_least_squares() -> None:
    rng = np.random.default_rng(4)
    x, sy = rng.normal(0, 1, 200), rng.uniform(0.02, 0.2, 200)
    y = 0.1 - 0.07 * x + rng.normal(0, sy)
    fit = fit_line(x, y, np.zeros(200), sy)
    coefficients, covariance = np.polyfit(x, y, 1, w=1 / sy, cov=True)
    assert fit.slope.value == pytest.approx(coefficients[0], rel=1e-5)
    assert fit.slope.plus == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-4)


def test_minimum_is_that_of_the_effective_variance() -> None:
    """The profiled χ² in the module's docstring, minimised by an independent optimiser."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(5)
    n = 400
    x, sx, sy = rng.normal(0, 1.2, n), rng.uniform(0.1, 0.6, n), rng.uniform(0.03, 0.3, n)
    y = -0.3 * x + rng.normal(0, np.hypot(sy, 0.2))
    x = x + rng.normal(0, sx)
    fit = fit_line(x, y, sx, sy, scatter=True)

    def chi_square(p: np.ndarray) -> float:
        return float(
            np.sum((y - p[0] - p[1] * x) ** 2 / (sy**2 + fit.scatter**2 + (p[1] * sx) ** 2))
        )

    best = minimize(chi_square, [0.0, -0.2], method="Nelder-Mead", options={"xatol": 1e-9})
    np.testing.assert_allclose([fit.intercept.value, fit.slope.value], best.x, atol=1e-5)
    assert best.fun / (n - 2) == pytest.approx(1.0, abs=1e-5)


def test_scatter_is_zero_where_the_errors_explain_the_residuals() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(0, 1, 500)
    y = -0.07 * x + rng.normal(0, 0.05, 500)
    args = (x, y, np.full(500, 0.05), np.full(500, 0.08))
    assert fit_line(*args, scatter=True).scatter == 0.0
    assert fit_line(*args, scatter=True).slope == fit_line(*args).slope


def test_errors_are_calibrated_with_scatter() -> None:
    """Pulls of slope and scatter over 200 mocks are centred, and those of the slope unit normal."""
    rng = np.random.default_rng(7)
    pulls, scatters = [], []
    for _ in range(200):
        n = 150
        x, sx, sy = rng.normal(0, 1.2, n), rng.uniform(0.1, 0.5, n), rng.uniform(0.03, 0.08, n)
        y = -0.075 * x + rng.normal(0, np.hypot(sy, 0.15))
        fit = fit_line(x + rng.normal(0, sx), y, sx, sy, scatter=True)
        pulls.append((fit.slope.value + 0.075) / fit.slope.plus)
        scatters.append(fit.scatter)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(200)
    assert 0.85 < np.std(pulls) < 1.15
    assert np.mean(scatters) == pytest.approx(0.15, abs=0.003)


def test_scatter_that_does_not_settle_is_a_reason_not_a_number(monkeypatch) -> None:
    from itertools import cycle

    from migrate_bayes.baseline import line

    swing = cycle([0.1, 0.3])
    monkeypatch.setattr(line, "_scatter", lambda residual, variance: next(swing))
    rng = np.random.default_rng(9)
    x, error = rng.normal(0, 1.2, 60), np.full(60, 0.05)
    fit = fit_line(x, rng.normal(0, 0.2, 60), error, error, scatter=True)
    assert np.isnan(fit.slope.value)
    assert "did not settle" in fit.reason


def test_a_star_without_error_does_not_rule_the_fit() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(0, 1, 100)
    sx, sy = np.full(100, 0.1), np.full(100, 0.05)
    y = -0.07 * x + rng.normal(0, 0.05, 100)
    x[0], y[0] = 2.0, 1.0
    ordinary = fit_line(x, y, sx, sy)
    sx[0] = sy[0] = 0.0
    assert fit_line(x, y, sx, sy).slope.value == pytest.approx(ordinary.slope.value, rel=1e-9)


def test_nobody_with_errors_is_ordinary_least_squares() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(0, 1, 100)
    y = -0.07 * x + rng.normal(0, 0.1, 100)
    for scatter in (False, True):
        fit = fit_line(x, y, np.zeros(100), np.zeros(100), scatter=scatter)
        assert fit.slope.value == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-4)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (np.full(50, 0.3), "radii spread over"),
        (np.linspace(0, 0.1, 50), "within their errors"),
    ],
)
def test_no_spread_in_radius_is_a_reason(x: np.ndarray, reason: str) -> None:
    fit = fit_line(x, np.linspace(0, 1, 50), np.full(50, 0.2), np.full(50, 0.1))
    assert np.isnan(fit.slope.value)
    assert reason in fit.reason


# --- pieces ----------------------------------------------------------------------------------


def test_weighted_line_matches_polyfit() -> None:
    rng = np.random.default_rng(10)
    x, sd = np.arange(9.0), rng.uniform(0.5, 2.0, 9)
    y = 3 - 0.5 * x + rng.normal(0, sd)
    line, covariance = weighted_line(x, y, sd)
    expected, cov = np.polyfit(x, y, 1, w=1 / sd, cov="unscaled")
    np.testing.assert_allclose(line, expected[::-1])
    np.testing.assert_allclose(covariance, cov[::-1, ::-1])


def test_expanded_interval_of_one_star_and_of_many() -> None:
    one = expanded_interval(np.array([5.0]), np.array([4.0]), np.array([6.0]))
    np.testing.assert_allclose(one, 5 + norm.ppf([0.16, 0.84]), atol=1e-3)
    # Exact ages: the interval is that of the ages themselves.
    age = np.linspace(2.0, 3.0, 4001)
    np.testing.assert_allclose(expanded_interval(age, age, age), [2.16, 2.84], atol=1e-3)
    # Two-piece: draws of the same distribution.
    rng = np.random.default_rng(11)
    age, lo, hi = np.array([3.0, 8.0]), np.array([2.5, 5.0]), np.array([5.0, 9.0])
    side = rng.random((200_000, 2)) < (age - lo) / (hi - lo)
    step = np.abs(rng.normal(size=side.shape))
    draws = np.where(side, age - step * (age - lo), age + step * (hi - age))
    drawn = np.percentile(draws, [16, 84])
    np.testing.assert_allclose(expanded_interval(age, lo, hi), drawn, atol=0.03)


# --- the baseline ----------------------------------------------------------------------------


def test_scatter_left_out_steepens_the_gradient() -> None:
    """The bias that the second method is there to show, on a mock of known truth."""
    fit = fit_baseline(mock_stars(20_000), selection="thin")
    odr, scatter = fit.sel(regression="odr"), fit.sel(regression="odr+scatter")
    assert abs(scatter["slope_at_1gyr"] - YOUNG) < 3 * scatter["slope_at_1gyr_error"]
    assert abs(scatter["trend"] - RATE) < 3 * scatter["trend_error"]
    assert scatter["trend_error"] < 0.001
    assert odr["slope_at_1gyr"] < YOUNG - 5 * odr["slope_at_1gyr_error"]
    np.testing.assert_allclose(scatter["intrinsic_scatter"], 0.15, atol=0.012)
    np.testing.assert_allclose(scatter["residual_variance"], 1.0, atol=1e-4)
    assert np.all(odr["residual_variance"] > 3)
    assert np.all(odr["intrinsic_scatter"] == 0)
    np.testing.assert_allclose(fit["age_bin"], 1.625 + 1.25 * np.arange(9))
    assert int(fit["n_stars"].sum()) == 20_000


def test_bins_are_closed_below_and_the_last_one_above() -> None:
    stars = mock_stars(12)
    stars["age_ml"][:] = [0.999, 1.0, 2.2499, 2.25, 3.5, 12.25, 12.2501, 20, 5, 5, 5, np.nan]
    fit = fit_baseline(stars)
    assert fit["n_stars"].values.tolist() == [2, 1, 1, 3, 0, 0, 0, 0, 1]


def test_bins_that_cannot_be_fitted_are_nan_with_a_reason() -> None:
    stars = mock_stars(4000)
    age = stars["age_ml"].values
    sparse = (age < 2.25) & (np.arange(4000) > 60)
    stars["feh"][sparse] = np.nan
    stars["rg_mean"][(age >= 2.25) & (age < 3.5)] = 8.0
    fit = fit_baseline(stars)
    reasons = fit["reason"].sel(regression="odr").values.tolist()
    assert reasons[0].endswith("fewer than 20")
    assert "radii spread" in reasons[1]
    assert reasons[2:] == [""] * 7
    assert np.isnan(fit["slope"].values[:, :2]).all()
    assert np.isfinite(fit["slope"].values[:, 2:]).all()
    # The youngest slope is that of the youngest bin that has one; the line uses the rest.
    np.testing.assert_array_equal(fit["slope_youngest"], fit["slope"][:, 2])
    assert np.isfinite(fit["trend"]).all()


def test_all_bins_empty_of_slopes_is_no_crash() -> None:
    fit = fit_baseline(mock_stars(50), min_stars=1000)
    assert np.isnan(fit["trend"]).all()
    assert np.isnan(fit["slope_youngest"]).all()
    assert np.isnan(fit["mean_slope"]).all()


def test_stars_that_lack_something_are_left_out() -> None:
    stars = mock_stars(3000)
    clean = fit_baseline(stars.isel(star=slice(4, None)))
    for row, name in enumerate(("age_ml", "rg_sd", "feh", "feh_error")):
        stars[name][row] = np.nan
    fit = fit_baseline(stars)
    np.testing.assert_array_equal(fit["slope"], clean["slope"])


def test_order_of_stars_does_not_matter() -> None:
    stars = mock_stars(2000)
    a, b = fit_baseline(stars), fit_baseline(stars.isel(star=slice(None, None, -1)))
    for name in ("slope", "slope_error", "age_p16", "trend"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-6)


def test_mask_and_present_radius() -> None:
    stars = mock_stars(3000)
    stars["r_present"], stars["r_present_sd"] = (
        ("star", 2 * stars["rg_mean"].values[:, 0] - 8),
        ("star", 2 * stars["rg_sd"].values[:, 0]),
    )
    mask = stars["age_ml"].values < 6
    by_rg = fit_baseline(stars, selection=mask)
    by_present = fit_baseline(stars, selection=mask, radius="r_present")
    assert int(by_rg["n_stars"].sum()) == mask.sum()
    np.testing.assert_allclose(by_present["slope"], by_rg["slope"] / 2, rtol=1e-4)


def test_baseline_goes_through_a_file(tmp_path: object) -> None:
    fit = fit_baseline(mock_stars(500), min_stars=60)
    path = f"{tmp_path}/baseline.nc"
    fit.to_netcdf(path, engine="h5netcdf")
    with xr.open_dataset(path, engine="h5netcdf") as back:
        xr.testing.assert_identical(back.load()["slope"], fit["slope"])
        assert back["reason"].values.tolist() == fit["reason"].values.tolist()


def test_no_usable_star_says_where_they_went() -> None:
    stars = mock_stars(100)
    stars["alpha_fe"][:] = 0.5
    with pytest.raises(FitError, match="of 100 stars 100 are usable, 0 are in selection 'thin'"):
        fit_baseline(stars)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": "rgg"}, r"unknown radius 'rgg'; did you mean 'rg'\?"),
        ({"bin_width": 20.0}, "no age bin of 20.0 Gyr fits between 1.0 and 12.25"),
        ({"bin_width": -1.0}, "'bin_width': Input should be greater than 0"),
        ({"radius": "r_present"}, "needs r_present, r_present_sd"),
    ],
)
def test_impossible_settings_are_named(options: dict, message: str) -> None:
    with pytest.raises((FitError, RecipeError), match=message):
        fit_baseline(mock_stars(100), **options)


# --- real stars ------------------------------------------------------------------------------


def test_corogee_gradients_are_the_published_ones(shared_data: Callable[[str], Path]) -> None:
    """CoRoGEE giants at |Z| < 0.3 kpc against today’s radius, as in Anders et al. (2017)."""
    from astropy.table import Table

    path = shared_data("corogee/corot_apogee_anders2017.fit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # units of the file that astropy does not know
        table = Table.read(path)
    names = ("AgeM", "Zg", "Rg", "e_Rg", "__Fe_H_", "e__Fe_H_")
    age, z, r, r_sd, feh, feh_sd = (np.asarray(table[n], dtype=float) for n in names)
    thin = (np.abs(z) < 0.3) & np.isfinite(age + r + r_sd + feh + feh_sd)
    for low, high, slope, error in ((0, 1, -0.058, 0.008), (1, 4, -0.066, 0.007)):
        m = thin & (age >= low) & (age < high)
        fit = fit_line(r[m] - 8, feh[m], r_sd[m], feh_sd[m], scatter=True)
        assert abs(fit.slope.value - slope) < 2 * np.hypot(error, fit.slope.plus)
        assert fit.slope.value < -3 * fit.slope.plus
