"""Coverage against closed forms; the stars of the prior; PIT uniform on a small seed."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from migrate_bayes.checks.ages import aims, calibration, pit
from migrate_bayes.checks.ages.calibration import (
    REGIONS,
    Region,
    calibrate,
    coverage_table,
    disc_composition,
    draw_prior_stars,
    region_of,
)
from migrate_bayes.checks.ages.recipe import CalibrationOptions
from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones.age_options import AgeOptions


def gaussian_result(n, *, narrow=1.0, shift=0.0, seed=2):
    """Ages with Gaussian posteriors of sd 1 Gyr, whose stated width is `narrow` times the true."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(3.0, 12.0, n)
    centre = true + rng.normal(size=n) + shift
    posterior = stats.norm(centre, narrow)
    ends = {
        "lo95": posterior.ppf(0.025), "lo68": posterior.ppf(0.16), "hi68": posterior.ppf(0.84),
        "hi95": posterior.ppf(0.975), "lo61": centre - narrow, "hi61": centre + narrow,
        "true_age": true, "age_median": centre, "pit": posterior.cdf(true),
        "age_error": np.full(n, 0.1), "region": np.arange(n) % len(REGIONS),
    }  # fmt: skip
    return xr.Dataset({k: ("star", v) for k, v in ends.items()})


@pytest.mark.parametrize("narrow", [1.0, 0.5])
def test_coverage_of_gaussian_posteriors_is_the_normal_integral(narrow):
    row = coverage_table(gaussian_result(40_000, narrow=narrow))[0]
    z68, z95 = stats.norm.ppf([0.84, 0.975])
    for found, error, z in (
        (row.coverage68, row.error68, z68),
        (row.coverage95, row.error95, z95),
    ):
        assert found == pytest.approx(2 * stats.norm.cdf(narrow * z) - 1, abs=4 * error)
    assert row.coverage61 == pytest.approx(2 * stats.norm.cdf(narrow) - 1, abs=0.01)
    assert row.error68 == pytest.approx(np.sqrt(row.coverage68 * (1 - row.coverage68) / 40_000))


def test_pit_of_draws_is_the_posterior_probability_below_the_truth():
    rng = np.random.default_rng(4)
    truth = np.array([-1.0, 0.0, 2.0, np.nan])
    found = pit(rng.normal(size=(4, 40_000)), truth)
    np.testing.assert_allclose(found[:3], stats.norm.cdf(truth[:3]), atol=0.01)
    assert np.isnan(found[3])


def test_rows_part_the_stars_and_see_a_bias():
    result = gaussian_result(8000, shift=0.5)
    rows = coverage_table(result)
    for group in ("region", "true age"):
        assert sum(r.stars for r in rows if r.group == group) == 8000
    assert rows[0].median_relative_offset == pytest.approx(
        np.median(0.5 / result.true_age), abs=0.01
    )
    result["pit"] = result.pit.where(result.true_age > 6.0)
    assert coverage_table(result)[0].stars == int((result.true_age > 6.0).sum())


def test_regions_part_the_observed_diagram():
    teff = np.array([5800.0, 5200.0, 6100.0, 4800.0, 5900.0, 8000.0, 5800.0])
    logg = np.array([4.40, 3.80, 3.90, 2.50, 4.10, 4.20, 4.40])
    abs_g = np.array([4.70, 3.00, 3.00, 1.00, 3.5, 2.0, 7.0])
    names = [REGIONS[k].name if k >= 0 else None for k in region_of(teff, logg, abs_g)]
    assert names == ["main sequence", "subgiant", "turn-off", "giant", "turn-off", None, None]


@pytest.fixture(scope="module")
def stars():
    return draw_prior_stars(AgeOptions(), CalibrationOptions(stars=1200), seed=11)


def test_stars_are_selected_by_what_is_observed(stars):
    found = region_of(stars.teff.values, stars.logg.values, stars.abs_g.values)
    np.testing.assert_array_equal(found, stars.region.values)
    assert np.bincount(found).tolist() == [300] * 4
    # Errors carry some across the limits: true log g is not what was cut on.
    pull = (stars.feh - stars.true_feh) / stars.feh_error
    assert float(pull.std()) == pytest.approx(1.0, abs=0.08)
    assert abs(float(pull.mean())) < 0.1


def test_the_same_seed_gives_the_same_stars(stars):
    again = draw_prior_stars(AgeOptions(), CalibrationOptions(stars=1200), seed=11)
    xr.testing.assert_identical(stars, again)
    other = draw_prior_stars(AgeOptions(), CalibrationOptions(stars=1200), seed=12)
    assert not np.array_equal(stars.teff, other.teff)


def test_composition_of_ones_own(stars):
    disc = draw_prior_stars(
        AgeOptions(), CalibrationOptions(stars=400), seed=3, composition=disc_composition
    )
    assert float(disc.true_feh.min()) >= -1.2
    assert float(stars.true_feh.min()) < -1.5
    assert abs(float(disc.true_feh.median()) + 0.15) < 0.06


def test_pit_is_uniform_and_is_not_when_errors_are_misstated(stars):
    result = calibrate(stars, AgeOptions())
    pit = result.pit.values
    assert np.isfinite(pit).mean() > 0.99
    for k in range(len(REGIONS)):
        part = pit[(result.region.values == k) & np.isfinite(pit)]
        assert stats.kstest(part, "uniform").pvalue > 1e-3
    row = coverage_table(result)[0]
    assert abs(row.coverage68 - 0.68) < 4 * row.error68 + 0.01
    assert abs(row.coverage95 - 0.95) < 4 * row.error95 + 0.01
    # What this test can see: errors taken for a third of what they are.
    errors = [n for n in stars if str(n).endswith("_error")]
    wrong = calibrate(stars.assign({n: stars[n] / 3.0 for n in errors}), AgeOptions())
    assert coverage_table(wrong)[0].coverage68 < 0.5


def test_pit_is_uniform_of_pairs_and_of_correlated_errors():
    options = AgeOptions(giant_systematics={}, binaries={"share": 0.6})
    errors = CalibrationOptions(stars=400, correlations=(0.6, 0.7, 0.5))
    mock = draw_prior_stars(options, errors, seed=12)
    result = calibrate(mock, options)
    pit = result.pit.values[np.isfinite(result.pit.values)]
    assert len(pit) > 390
    assert stats.kstest(pit, "uniform").pvalue > 1e-3
    row = coverage_table(result)[0]
    assert abs(row.coverage68 - 0.68) < 4 * row.error68 + 0.01
    assert abs(row.coverage95 - 0.95) < 4 * row.error95 + 0.01


@pytest.mark.slow
def test_twenty_thousand_stars_are_covered_as_promised():
    exact = AgeOptions(giant_systematics={})
    stars = draw_prior_stars(exact, CalibrationOptions(), seed=20210301)
    rows = coverage_table(calibrate(stars, exact))
    assert rows[0].stars > 19_900
    assert aims.COVERAGE68.met(rows[0].coverage68)
    assert aims.COVERAGE95.met(rows[0].coverage95)
    for row in rows:
        if row.group == "region":
            assert aims.REGION_COVERAGE68.met(row.coverage68), row
            assert aims.REGION_COVERAGE95.met(row.coverage95), row


def test_region_that_no_isochrone_reaches_is_an_error(monkeypatch):
    hot = Region("too hot", teff=(7400.0, 7500.0), logg=(6.0, 6.1))
    monkeypatch.setattr(calibration, "REGIONS", (hot,))
    with pytest.raises(IsochroneError, match=r"no isochrone of 1-14\.5 Gyr .* 'too hot'"):
        draw_prior_stars(AgeOptions(), CalibrationOptions(stars=100), seed=1)
