"""Ages of stars made for the purpose: flags, missing data, priors, edges, summaries."""

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.core.errors import CatalogError, RecipeError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.isochrones import (
    AgeOptions,
    build_grid,
    draw_stars,
    estimate_ages,
    load_source,
)
from migrate_bayes.isochrones.intervals import THRESHOLD, summarise

SUN = {
    "teff": (5772.0, 22.6),
    "logg": (4.438, 0.05),
    "feh": (0.0, 0.03),
    "alpha_fe": (0.0, 0.02),
    "abs_g": (4.67, 0.10),
}
SUBGIANT = {"teff": (5900.0, 40.0), "logg": (3.95, 0.06), "feh": (-0.1, 0.04),
            "alpha_fe": (0.05, 0.03), "abs_g": (3.0, 0.08)}  # fmt: skip


def catalogue(*stars):
    names = {name for star in stars for name in star}
    columns = {}
    for name in names:
        pairs = np.array([star.get(name, (np.nan, np.nan)) for star in stars])
        columns[name] = ("star", pairs[:, 0])
        columns[f"{name}_error"] = ("star", pairs[:, 1])
    return xr.Dataset(columns, coords={"source_id": ("star", np.arange(len(stars)))})


def ages(*stars, **options):
    return estimate_ages(catalogue(*stars), show_progress=False, **options)


@pytest.mark.parametrize("source", ["dartmouth", "mist", "parsec", "basti", "yapsi"])
def test_the_sun_comes_out_at_its_age_in_every_family(source):
    sun = ages(SUN, source=source).isel(star=0)
    assert sun.age_lo < 4.57 < sun.age_hi
    assert int(sun.flag) == 0
    assert float(sun.feh_mean.interp(age=4.57)) == pytest.approx(0.0, abs=0.03)


def test_taking_the_label_literally_makes_the_sun_older():
    surface, initial = (float(ages(SUN, feh_scale=s).age_median[0]) for s in ("surface", "initial"))
    assert 0.5 < initial - surface < 1.5


@pytest.mark.parametrize("method", ["fine", "paper"])
@pytest.mark.parametrize("age", [2.0, 5.0, 9.0])
def test_a_star_on_an_isochrone_recovers_its_age(method, age):
    grid = build_grid("dartmouth")
    j = int(np.argmin(np.abs(grid.metallicity + 0.57)))
    track = grid.points[list(grid.ages).index(age), j, 0].astype(float)
    leaving = int(np.argmax((track[:, 2] < 5) & (track[:, 1] < 4.15)))  # the turn-off
    teff, logg, abs_g, _, _ = track[leaving]
    star = {"teff": (teff, 15.0), "logg": (logg, 0.02), "feh": (grid.metallicity[j], 0.01),
            "alpha_fe": (0.0, 0.01), "abs_g": (abs_g, 0.02)}  # fmt: skip
    result = ages(star, method=method, photometric_floor=0.0).isel(star=0)
    assert float(result.age_ml) == pytest.approx(age, rel=0.06)
    if method == "fine":
        assert float(result.chi2_min) < 0.1


def test_a_missing_observable_is_the_limit_of_an_infinite_error():
    for name in ("logg", "abs_g"):
        without = {k: v for k, v in SUBGIANT.items() if k != name}
        vague = SUBGIANT | {name: (SUBGIANT[name][0], 1e7)}
        result = ages(without, vague)
        a, b = result.log_age_likelihood.values.astype(float)
        relevant = a > a.max() - 12
        np.testing.assert_allclose((a - a.max())[relevant], (b - b.max())[relevant], atol=2e-4)
        np.testing.assert_allclose(*result.age_median.values, rtol=1e-4)
    no_alpha = {k: v for k, v in SUBGIANT.items() if k != "alpha_fe"}
    solar = SUBGIANT | {"alpha_fe": (0.0, 1e-6)}
    np.testing.assert_allclose(*ages(no_alpha, solar).age_median.values, rtol=1e-4)


def test_colour_can_stand_for_temperature():
    star = draw_stars("dartmouth", 6.0, -0.1, 0.0, 0.2, logg_range=(3.8, 4.0))
    photometric = {"bp_rp": (float(star["bp_rp"][0]), 0.01), "feh": (-0.1, 0.03),
                   "alpha_fe": (0.0, 0.02), "abs_g": (float(star["abs_g"][0]), 0.03)}  # fmt: skip
    result = ages(photometric, observables=["feh", "alpha_fe", "abs_g", "bp_rp"]).isel(star=0)
    assert result.age_lo < 6.0 < result.age_hi


@pytest.mark.parametrize("method", ["fine", "paper"])
def test_stars_without_an_age_are_kept_and_flagged(method):
    nothing = {"feh": (0.0, 0.03)}
    no_feh = {k: v for k, v in SUN.items() if k != "feh"}
    stars = [
        SUN,
        nothing,
        no_feh,
        SUN | {"teff": (5772.0, 0.0)},
        SUN | {"feh": (0.0, np.inf)},
        SUN | {"logg": (4.438, np.nan)},
        SUN | {"alpha_fe": (0.0, -1.0)},
        SUN | {"teff": (9900.0, 20.0)},
        SUN | {"feh": (2.0, 0.03)},
        {k: v for k, v in SUN.items() if k != "abs_g"},
    ]
    result = ages(*stars, method=method)
    reasons = [StarFlag(int(f)) for f in result.flag.values]
    assert reasons[0] == StarFlag(0)
    assert StarFlag.MISSING_PARAMETERS in reasons[1]
    assert StarFlag.MISSING_PARAMETERS in reasons[2]
    for k in (3, 4, 5, 6):
        assert reasons[k] == StarFlag.BAD_ERROR, k
    assert reasons[7] == StarFlag.OFF_GRID
    assert reasons[8] == StarFlag.OFF_GRID
    assert reasons[9] == StarFlag.MISSING_PHOTOMETRY
    lost = np.arange(1, 9)
    assert np.isnan(result.age_ml.values[lost]).all()
    np.testing.assert_array_equal(result.log_age_likelihood.values[lost], 0.0)
    assert np.isfinite(result.log_age_likelihood.values).all()
    assert np.isfinite(result.age_median.values[[0, 9]]).all()
    assert np.isfinite(result.feh_mean.values[[0, 9]]).all()
    assert (result.feh_sd.values[[0, 9]] > 0).all()


def test_a_poor_fit_is_said():
    odd = SUN | {"abs_g": (4.9, 0.05), "logg": (4.2, 0.04)}
    assert StarFlag.POOR_FIT in StarFlag(int(ages(odd).flag[0]))
    assert StarFlag.POOR_FIT not in StarFlag(int(ages(odd, poor_fit=0.0).flag[0]))
    # The nearest node of the paper's grid is a bad fit to a good star.
    assert StarFlag.POOR_FIT not in StarFlag(int(ages(odd, method="paper").flag[0]))


def test_edges_are_said():
    young = {"teff": (7600.0, 40.0), "logg": (4.05, 0.05), "feh": (0.0, 0.03),
             "alpha_fe": (0.0, 0.02), "abs_g": (2.1, 0.05)}  # fmt: skip
    old = {"teff": (5450.0, 20.0), "logg": (4.1, 0.03), "feh": (0.0, 0.03),
           "alpha_fe": (0.0, 0.02), "abs_g": (4.3, 0.05)}  # fmt: skip
    result = ages(young, old)
    assert StarFlag.EDGE_YOUNG in StarFlag(int(result.flag[0]))
    assert StarFlag.EDGE_OLD in StarFlag(int(result.flag[1]))
    assert float(result.age_ml[0]) == result.age.values[0]
    assert float(result.age_ml[1]) == result.age.values[-1]


def test_the_prior_is_folded_in_and_recorded():
    flat, log_flat = (ages(SUN, SUBGIANT, age_prior=p) for p in ("flat", "log-flat"))
    np.testing.assert_array_equal(flat.log_interim_prior, 0.0)
    np.testing.assert_allclose(log_flat.log_interim_prior, -np.log(log_flat.age))
    np.testing.assert_allclose(
        log_flat.log_age_likelihood - log_flat.log_interim_prior,
        flat.log_age_likelihood,
        atol=2e-5,
    )
    np.testing.assert_array_equal(flat.age_ml, log_flat.age_ml)
    assert (log_flat.age_median < flat.age_median).all()


def test_normalisation_is_that_of_a_density():
    # Integrated over one observable, L is the density of the others: here over M_G.
    grid = np.linspace(-6.0, 14.0, 401)
    stars = [SUBGIANT | {"abs_g": (m, 0.3)} for m in grid]
    result = ages(*stars, photometric_floor=0.0)
    kept = np.isfinite(result.age_ml.values)
    density = np.where(kept[:, None], np.exp(result.log_age_likelihood.values.astype(float)), 0.0)
    marginal = density.sum(axis=0) * (grid[1] - grid[0])
    without = {k: v for k, v in SUBGIANT.items() if k != "abs_g"}
    direct = np.exp(ages(without).log_age_likelihood.values[0].astype(float))
    relevant = direct > 1e-3 * direct.max()
    np.testing.assert_allclose(marginal[relevant], direct[relevant], rtol=2e-3)


def test_options_are_checked():
    cat = catalogue(SUN)
    with pytest.raises(CatalogError, match="did you mean 'teff'"):
        estimate_ages(cat, observables=["tef", "feh"])
    with pytest.raises(CatalogError, match="feh"):
        estimate_ages(cat.drop_vars("feh"))
    with pytest.raises(CatalogError, match="teff_error"):
        estimate_ages(cat.drop_vars("teff_error"))
    with pytest.raises(RecipeError, match="photometric_floor"):
        estimate_ages(cat, photometric_floor=-1.0)
    with pytest.raises(RecipeError, match="'flat', 'log-flat' or 'disc'"):
        estimate_ages(cat, age_prior="flatt")


def test_settings_override_options_and_a_source_may_be_an_object():
    cat, options = catalogue(SUN), AgeOptions(method="paper", feh_scale="initial", ages=(3, 5, 7))
    given = estimate_ages(cat, options, age_prior="log-flat", show_progress=False)
    assert given.attrs["age_method"] == "paper"
    assert given.attrs["age_prior"] == "log-flat"
    np.testing.assert_array_equal(given.age, [3.0, 5.0, 7.0])
    names = options.model_dump() | {"source": load_source("dartmouth"), "ages": np.array([3, 5, 7])}
    same = estimate_ages(cat, show_progress=False, **names)
    np.testing.assert_array_equal(given.age_ml, same.age_ml)
    with pytest.raises(RecipeError, match="did you mean 'method'"):
        estimate_ages(cat, options, metod="fine")


def test_options_are_values():
    one, two = AgeOptions(source="dartmouth-native:x"), AgeOptions(source="dartmouth-native:x")
    assert one == two
    assert len({one, two, AgeOptions()}) == 2
    assert one.short_name == "dartmouth-native"


def summary(x, log_like, *, smooth, prior=None):
    out = np.empty((1, 4))
    summarise(x, log_like[None], np.zeros(len(x)) if prior is None else prior, smooth, out)
    return out[0]


def test_a_gaussian_likelihood_gives_its_own_mean_and_sigma():
    x = np.arange(1.0, 14.51, 0.5)
    ml, median, low, high = summary(x, -0.5 * ((x - 6.2) / 1.3) ** 2, smooth=True)
    # exp(-1/2) is 0.6065: a threshold of 0.61 is a hair inside one sigma.
    half = 1.3 * np.sqrt(-2 * np.log(THRESHOLD))
    assert ml == pytest.approx(6.2, abs=1e-6)
    assert median == pytest.approx(6.2, abs=0.01)
    assert (low, high) == pytest.approx((6.2 - half, 6.2 + half), abs=0.02)


def test_paper_interval_is_on_the_linear_interpolation():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    like = np.array([0.2, 1.0, 0.5, 0.1])
    ml, median, low, high = summary(x, np.log(like), smooth=False)
    assert ml == 2.0
    assert low == pytest.approx(1 + (THRESHOLD - 0.2) / 0.8)
    assert high == pytest.approx(2 + (1 - THRESHOLD) / 0.5)
    fine = np.linspace(1, 4, 300_001)
    cumulative = np.cumsum(np.interp(fine, x, like))
    assert median == pytest.approx(fine[np.searchsorted(cumulative, cumulative[-1] / 2)], abs=1e-4)


def test_two_peaks_are_spanned():
    x = np.arange(1.0, 10.1, 0.5)
    two = np.exp(-0.5 * ((x - 3) / 0.5) ** 2) + 0.9 * np.exp(-0.5 * ((x - 8) / 0.5) ** 2)
    for smooth in (False, True):
        ml, _, low, high = summary(x, np.log(two), smooth=smooth)
        assert ml == pytest.approx(3.0, abs=0.01)
        assert low < 3.0
        assert high > 8.0


@pytest.mark.parametrize("source", ["dartmouth", "native"])
def test_what_an_age_says_of_alpha(source, shared_data):
    """The mean of [α/Fe] at an age is that measured, moved by e² ∂ ln L/∂[α/Fe] (Tweedie)."""
    if source == "native":
        source = f"dartmouth-native:{shared_data('dartmouth_gaia')}"
    error, step = 0.03, 0.004
    lower, star, upper = (
        SUBGIANT | {"feh": (-0.4, 0.05), "alpha_fe": (0.1 + shift, error)}
        for shift in (-step, 0.0, step)
    )
    product = ages(lower, star, upper, source=source)
    like = product.log_age_likelihood.values.astype(float)
    near = like[1] > like[1].max() - 6.0
    moved = error**2 * (like[2] - like[0]) / (2.0 * step)
    learned = float(product.alpha_rate[1]) * (product.feh_mean.values[1] + 0.4)
    assert np.abs(learned[near]).max() > 0.01
    # Isochrones of an [α/Fe] axis are near those of like total metallicity, and not the same.
    limit = 0.001 if source == "dartmouth" else 0.007
    np.testing.assert_allclose(moved[near], learned[near], atol=limit)
