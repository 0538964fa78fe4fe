"""Stars into the likelihood: part by part from disk as from memory, and whom it leaves out."""

import dataclasses

import numpy as np
import pytest

from migrate_bayes.core.errors import FitError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.population import population_data
from migrate_bayes.population.likelihood.layout import StarArrays, pack
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
