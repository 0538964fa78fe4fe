"""Stars into the likelihood: part by part from disk as from memory, and whom it leaves out."""

import dataclasses

import numpy as np
import pytest
from scipy.special import logsumexp

from migrate_bayes.core.errors import FitError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.population import population_data
from migrate_bayes.population.likelihood.layout import StarArrays, pack, unpack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.model.hierarchy import flat_in_age
from migrate_bayes.stars import open_stars, write_stars


@pytest.fixture
def stars(make_stars):
    data = make_stars(300, log_prior=lambda t: -np.log(t))
    rng = np.random.default_rng(1)
    shape = data["log_age_likelihood"].shape
    data["feh_mean"] = (("star", "age"), rng.normal(0, 0.2, shape).astype(np.float32))
    data["feh_sd"] = (("star", "age"), rng.uniform(0.0, 0.05, shape).astype(np.float32))
    data["flag"] = ("star", np.zeros(300, np.int32))
    data["flag"][5] = int(StarFlag.OFF_GRID)
    data["log_age_likelihood"][6] = np.nan
    data["log_age_likelihood"][7, 3:] = np.nan
    data["rg_mean"][8] = np.nan
    return data


def assert_same(one, two):
    for field in dataclasses.fields(one.stars):
        a, b = (getattr(x.stars, field.name) for x in (one, two))
        for mine, other in zip(a, b, strict=True) if field.name == "blocks" else [(a, b)]:
            np.testing.assert_array_equal(mine, other, err_msg=field.name)
    np.testing.assert_array_equal(one.source_id, two.source_id)
    assert one.left_out == two.left_out


@pytest.mark.parametrize("part_size", [37, 1000])
def test_parts_on_disk_are_the_stars_in_memory(tmp_path, stars, part_size):
    mask = np.arange(300) % 3 != 0
    mask[60:130] = False  # whole parts without a star of the selection
    path = write_stars(stars.drop_vars("thick"), tmp_path / "s", part_size=part_size)
    one = population_data(stars, mask=mask)
    two = population_data(open_stars(path), mask=mask)
    assert_same(one, two)
    assert one.left_out == {"no radius": 1, "no age likelihood": 2 - (6 % 3 == 0)}
    np.testing.assert_array_equal(
        one.source_id, np.flatnonzero(mask & ~np.isin(np.arange(300), [5, 6, 8]))
    )


def test_the_packed_numbers(stars):
    # Against the equations written out in double precision.
    keep = ~np.isin(np.arange(300), [5, 6, 8])
    log_like = stars["log_age_likelihood"].values[keep].astype(float)
    log_like[np.isnan(log_like)] = -np.inf
    weight = log_like - log_like.max(axis=1, keepdims=True)
    one = stars.isel(potential=0, star=np.flatnonzero(keep))
    zmax = np.exp(one["ln_zmax_mean"].values)
    plain = StarArrays(
        log_weight=weight - stars["log_interim_prior"].values,
        feh=one["feh_mean"].values.astype(float),
        feh_variance=np.maximum(one["feh_sd"].values.astype(float), 1e-3) ** 2,
        radius=one["rg_mean"].values,
        radius_variance=one["rg_sd"].values ** 2,
        alpha=one["alpha_fe"].values,
        alpha_variance=one["alpha_fe_error"].values ** 2,
        height=np.log(zmax + 0.2),
        height_variance=np.maximum(one["ln_zmax_sd"].values * zmax / (zmax + 0.2), 0.01) ** 2,
    )
    expected = pack(plain, flat_in_age(one["age"].values), trim=1e-5)
    got = population_data(stars).stars
    np.testing.assert_array_equal(got.star, expected.star)
    np.testing.assert_array_equal(got.blocks.n_nodes, expected.blocks.n_nodes)
    np.testing.assert_allclose(got.blocks.rows, expected.blocks.rows, rtol=2e-7, atol=1e-7)


def test_nobody_left_is_said(stars):
    with pytest.raises(FitError, match="1 of 300 selected, of which 1 have no radius"):
        population_data(stars, mask=np.arange(300) == 8)


def with_magnitudes(stars, *, seed=3):
    """Stars whose isochrones are normal laws of M_G at each age: every integral is closed."""
    rng, n, ages = np.random.default_rng(seed), stars.sizes["star"], stars["age"].values
    at_age, width = 4.5 - 0.1 * ages, 0.1  # M_G of an age, mag
    distance, relative = rng.uniform(0.3, 3.0, n), rng.uniform(0.01, 0.12, n)
    error = 5.0 / np.log(10.0) * relative  # of M_G, by the distance alone
    seen = at_age[rng.integers(len(ages), size=n)] + rng.normal(size=n) * np.hypot(width, error)
    off, total = seen[:, None] - at_age, width**2 + error[:, None] ** 2
    correlation = rng.uniform(-0.9, 0.9, n)
    covariance = correlation * stars["rg_sd"].values[:, 0] * distance * relative
    of_stars = {"distance_mean": distance, "cov_rg_distance": covariance}
    of_ages = {
        "log_age_likelihood": -0.5 * off**2 / total - 0.5 * np.log(total),
        "abs_g_slope": -off / total,
        "abs_g_curvature": np.broadcast_to(-1.0 / total, off.shape),
    }
    return (
        stars.assign({k: ("star", v) for k, v in of_stars.items()})
        .assign({k: (("star", "age"), v.astype(np.float32)) for k, v in of_ages.items()})
    ), at_age, width, seen, error  # fmt: skip


def test_radius_and_age_are_one_likelihood(make_stars):
    stars, at_age, width, seen, error = with_magnitudes(make_stars(60))
    data = population_data(stars, trim=1e-300)
    theta = np.zeros((1, len(at_age), 14))
    theta[0, :, 0] = np.linspace(-4.0, -2.0, len(at_age))
    theta[0, :, 1] = np.linspace(7.0, 9.0, len(at_age))  # the mean radius moves with age
    theta[0, :, 2] = 1.5**2
    theta[0, :, [5, 8, 10]] = 1e4  # [Fe/H], [α/Fe] and heights say nothing
    # A star's likelihood is relative to that of its best age.
    peak = stars["log_age_likelihood"].values.max(axis=1)
    found = StarLikelihood(data.stars).per_star(theta)[0] + peak
    # R_g and M_G as measured, jointly normal about the laws of an age.
    one = stars.isel(potential=0)
    radius, e_radius = one["rg_mean"].values, one["rg_sd"].values
    both = -5.0 / np.log(10.0) * one["cov_rg_distance"].values / one["distance_mean"].values
    expected = np.empty(len(seen))
    for i in range(len(seen)):
        cov = np.array([[1.5**2 + e_radius[i] ** 2, both[i]], [both[i], width**2 + error[i] ** 2]])
        x = np.stack([radius[i] - theta[0, :, 1], seen[i] - at_age])
        chi = np.einsum("ik,ij,jk->k", x, np.linalg.inv(cov), x)
        expected[i] = logsumexp(theta[0, :, 0] - 0.5 * chi - 0.5 * np.log(np.linalg.det(cov)))
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=2e-3)
    # It is not what independent errors would say.
    separate = population_data(stars.drop_vars("abs_g_slope"), trim=1e-300)
    apart = StarLikelihood(separate.stars).per_star(theta)[0] + peak
    assert np.abs((apart - apart.mean()) - (expected - expected.mean())).max() > 0.1


def test_alpha_at_an_age_has_what_the_age_stage_says(stars):
    stars = stars.isel(star=slice(9, None))
    rate = np.linspace(0.0, 2.0, stars.sizes["star"])
    sharp = stars.assign(alpha_rate=("star", rate), feh_sd=0.1 * stars["feh_sd"])
    every = np.arange(stars.sizes["star"])
    plain = unpack(population_data(sharp, trim=1e-300).stars, every)
    np.testing.assert_allclose(plain.alpha_rate, rate)
    np.testing.assert_allclose(plain.own_feh, stars["feh"])
    np.testing.assert_allclose(plain.own_feh_variance, stars["feh_error"] ** 2)
    # Ages of other errors than the catalogue's say which.
    used = {f"{name}_error_used": 2.0 * stars[f"{name}_error"] for name in ("feh", "alpha_fe")}
    inflated = unpack(population_data(sharp.assign(used), trim=1e-300).stars, every)
    np.testing.assert_allclose(inflated.own_feh_variance, 4.0 * plain.own_feh_variance)
    np.testing.assert_allclose(inflated.alpha_variance, 4.0 * plain.alpha_variance)
    # Errors of [Fe/H] and [α/Fe] at an age are a covariance, however sharp [Fe/H] is said to be.
    learned = plain.own_feh_variance[:, None] - plain.feh_variance
    shared = rate[:, None] * learned
    alpha = plain.alpha_variance[:, None] - rate[:, None] * shared
    assert (plain.feh_variance * alpha >= (1 - 1e-5) * shared**2).all()
    kept = np.isfinite(plain.log_weight[0])
    own = np.maximum(sharp["feh_sd"].values[0, kept], 1e-3) ** 2
    np.testing.assert_allclose(plain.feh_variance[0, kept], own, rtol=1e-6)


def test_a_fit_with_completeness_does_without_heights_where_there_is_alpha(make_stars):
    # Defect: S is of stars at all heights; those of 1.35 million mock stars took 0.0001 dex/kpc/Gyr
    # from the rate.
    stars = make_stars(40)
    stars["alpha_fe"] = stars["alpha_fe"].where(np.arange(40) % 4 > 0)
    stars["z"] = "star", np.linspace(0.0, 1.0, 40), {"units": "kpc"}
    packed = unpack(population_data(stars, with_completeness=True).stars, np.arange(40))
    np.testing.assert_array_equal(
        packed.height_variance > 1e6, np.isfinite(packed.alpha) & (packed.alpha_variance < 1e6)
    )
    np.testing.assert_array_equal(np.isfinite(packed.height_today), packed.height_variance < 1e6)


def test_heights_are_those_of_the_product(make_stars):
    # Defect: from 1,000 stars on a parabola in R̂ was taken from them that the model does not know
    # of. Where discs overlap it was that of their shares: height_thick was off by 4 sd.
    stars = make_stars(3000).isel(potential=[0])
    data = population_data(stars)
    packed = unpack(data.stars, np.arange(data.n_stars))
    height = np.log(np.exp(stars["ln_zmax_mean"].values[:, 0]) + 0.2)
    by_id = dict(zip(stars["source_id"].values.tolist(), height, strict=True))
    expected = [by_id[one] for one in data.source_id.tolist()]
    np.testing.assert_allclose(packed.height, expected, rtol=1e-6)
