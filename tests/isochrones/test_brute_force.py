"""The age likelihoods against direct sums and dense quadrature, without windows or trees."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.checks.ages.brute_force import Tracks, reference_log_likelihood
from migrate_bayes.isochrones import build_grid, draw_stars, estimate_ages
from migrate_bayes.isochrones.grid import PAPER_AGES
from migrate_bayes.mock.lamost_like import ERRORS, lamost_like

COLUMN = {"teff": 0, "logg": 1, "abs_g": 2}


def observed_stars(n, seed):
    rng = np.random.default_rng(seed)
    age, feh = rng.uniform(1.5, 12, n), rng.uniform(-0.4, 0.2, n)
    alpha = rng.uniform(0.0, 0.1, n)
    star = draw_stars(
        "dartmouth", age, feh, alpha, rng.random(n), teff_range=(4800, 7200), logg_range=(2, 4.6)
    )
    star = {**star, "feh": feh, "alpha_fe": alpha}
    assert star["ok"].all()
    columns = {}
    for name, error in ERRORS.items():
        columns[name] = ("star", star[name] + error * rng.normal(size=n))
        columns[f"{name}_error"] = ("star", np.full(n, error))
    columns["flag"] = ("star", np.zeros(n, np.int32))
    return xr.Dataset(columns, coords={"source_id": ("star", np.arange(n))})


def normalised(log_like):
    return log_like - log_like.max(axis=-1, keepdims=True)


def widths(axis):
    return np.gradient(axis) * np.r_[0.5, np.ones(len(axis) - 2), 0.5]


def test_paper_method_is_the_sum_over_nodes():
    # The paper's own recipe: least chi-square to each segment, Kroupa weights, sum over nodes.
    stars = observed_stars(12, seed=1)
    grid = build_grid("dartmouth", method="paper")
    product = estimate_ages(stars, method="paper", photometric_floor=0.0, show_progress=False)
    points = grid.points.astype(float)
    weight = widths(grid.metallicity)[:, None] * widths(grid.alpha)[None, :]
    enhanced = (grid.metallicity[:, None] > 1e-6) & (grid.alpha[None, :] > 0.2 + 1e-6)
    weight = np.where(enhanced, 0, weight)
    for i in range(stars.sizes["star"]):
        value = {name: float(stars[name][i]) for name in ERRORS}
        scaled = np.stack(
            [(points[..., c] - value[name]) / ERRORS[name] for name, c in COLUMN.items()], axis=-1
        )
        start, step = scaled[..., :-1, :], np.diff(scaled, axis=-2)
        with np.errstate(invalid="ignore"):
            u = np.clip(-(start * step).sum(-1) / (step**2).sum(-1), 0, 1)
        chi2 = ((start + np.nan_to_num(u)[..., None] * step) ** 2).sum(-1)
        chi2 = (
            chi2 + (((grid.metallicity - value["feh"]) / ERRORS["feh"]) ** 2)[None, :, None, None]
        )
        chi2 = chi2 + (((grid.alpha - value["alpha_fe"]) / ERRORS["alpha_fe"]) ** 2)[:, None]
        node = (points[..., :-1, 4] * np.exp(-0.5 * chi2)).sum(-1)
        expected = normalised(np.log((node * weight).sum((1, 2)) + 1e-300))
        mine = normalised(product["log_age_likelihood"].values[i].astype(float))
        relevant = expected > np.log(1e-4)
        # What lies beyond the ten-sigma window is all that may differ.
        np.testing.assert_allclose(mine[relevant], expected[relevant], atol=1e-3)


# Hooks of the native isochrones at neighbouring [alpha/Fe] are numbered unlike: one star of these
# six is more than 2e-3 off.
@pytest.mark.parametrize(("source", "off"), [("dartmouth", 0), ("native", 1)])
def test_fine_method_is_the_integral(source, off, shared_data):
    # The reference integrates in all of [Fe/H], [alpha/Fe] and mass; no constant is left out. It
    # takes longer for native isochrones, and an age knows nothing of the others: a third of them.
    some = slice(None, None, 3 if source == "native" else 1)
    if source == "native":
        source = f"dartmouth-native:{shared_data('dartmouth_gaia')}"
    stars = lamost_like(source, 6, seed=2)
    product = estimate_ages(
        stars, source=source, photometric_floor=0.0, giant_systematics={}, ages=PAPER_AGES,
        show_progress=False,
    )  # fmt: skip
    grid = build_grid(source, ages=tuple(PAPER_AGES))
    fewer = {name: getattr(grid, name)[some] for name in ("ages", "points", "mass")}
    tracks = Tracks(dataclasses.replace(grid, **fewer))
    errors = []
    for i in range(stars.sizes["star"]):
        star = {name: (float(stars[name][i]), error) for name, error in ERRORS.items()}
        expected = reference_log_likelihood(star, tracks)
        mine = product["log_age_likelihood"].values[i, some].astype(float)
        errors.append(np.abs(mine - expected)[expected > expected.max() + np.log(1e-4)])
    assert np.median(np.concatenate(errors)) < 1e-3
    assert sum(e.max() >= 2e-3 for e in errors) == off


@pytest.mark.parametrize("method", ["fine", "paper"])
def test_chunks_and_workers_do_not_matter(method):
    stars = observed_stars(40, seed=3)
    whole = estimate_ages(stars, method=method, workers=1, show_progress=False)
    pieces = [
        estimate_ages(
            stars.isel(star=slice(a, a + 7)), method=method, workers=2, show_progress=False
        )
        for a in range(0, 40, 7)
    ]
    joined = xr.concat(pieces, dim="star", data_vars="minimal")
    for name in whole.data_vars:
        np.testing.assert_array_equal(whole[name].values, joined[name].values, err_msg=str(name))


def test_the_sun_is_as_old_as_the_meteorites():
    values = {"teff": 5772.0, "logg": 4.438, "feh": 0.0, "alpha_fe": 0.0, "abs_g": 4.67}
    columns = {name: ("star", [value]) for name, value in values.items()}
    columns |= {f"{name}_error": ("star", [ERRORS[name]]) for name in ERRORS}
    columns["flag"] = ("star", np.zeros(1, np.int32))
    sun = xr.Dataset(columns, coords={"source_id": ("star", [0])})
    age = estimate_ages(sun, show_progress=False).isel(star=0)
    assert float(age["age_lo"]) < 4.57 < float(age["age_hi"])
