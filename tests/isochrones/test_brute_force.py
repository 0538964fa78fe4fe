"""The age likelihoods against direct sums and dense quadrature, without windows or trees."""

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.isochrones import build_grid, draw_stars, estimate_ages
from migrate_bayes.isochrones.grid import salaris

ERRORS = {"teff": 22.6, "logg": 0.05, "feh": 0.03, "alpha_fe": 0.02, "abs_g": 0.10}
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
    weight = widths(grid.feh)[:, None] * widths(grid.alpha)[None, :]
    weight = np.where((grid.feh[:, None] > 1e-6) & (grid.alpha[None, :] > 0.2 + 1e-6), 0, weight)
    for i in range(stars.sizes["star"]):
        value = {name: float(stars[name][i]) for name in ERRORS}
        scaled = np.stack(
            [(points[..., c] - value[name]) / ERRORS[name] for name, c in COLUMN.items()], axis=-1
        )
        start, step = scaled[..., :-1, :], np.diff(scaled, axis=-2)
        with np.errstate(invalid="ignore"):
            u = np.clip(-(start * step).sum(-1) / (step**2).sum(-1), 0, 1)
        chi2 = ((start + np.nan_to_num(u)[..., None] * step) ** 2).sum(-1)
        chi2 = chi2 + (((grid.feh - value["feh"]) / ERRORS["feh"]) ** 2)[None, :, None, None]
        chi2 = chi2 + (((grid.alpha - value["alpha_fe"]) / ERRORS["alpha_fe"]) ** 2)[:, None]
        node = (points[..., :-1, 4] * np.exp(-0.5 * chi2)).sum(-1)
        expected = normalised(np.log((node * weight).sum((1, 2)) + 1e-300))
        mine = normalised(product["log_age_likelihood"].values[i].astype(float))
        relevant = expected > np.log(1e-4)
        # What lies beyond the ten-sigma window is all that may differ.
        np.testing.assert_allclose(mine[relevant], expected[relevant], atol=1e-3)


def test_fine_method_is_the_integral():
    # Dense quadrature over [Fe/H] and along every segment; composition by the Salaris relation, so
    # that [alpha/Fe] adds its error to the effective [Fe/H].
    stars = observed_stars(16, seed=2)
    grid = build_grid("dartmouth", method="fine")
    assert grid.salaris
    product = estimate_ages(stars, photometric_floor=0.0, show_progress=False)
    points = grid.points.astype(float)
    along = (np.arange(24) + 0.5) / 24
    for i in range(stars.sizes["star"]):
        value = {name: float(stars[name][i]) for name in ERRORS}
        a = np.linspace(-4, 4, 9) * ERRORS["alpha_fe"] + value["alpha_fe"]
        slope = np.polyfit(a, salaris(a), 1)[0]
        sd = np.hypot(ERRORS["feh"], slope * ERRORS["alpha_fe"])
        centre = value["feh"] + salaris(np.array([value["alpha_fe"]]))[0]
        z = np.linspace(-5, 5, 81)
        total = np.zeros(len(grid.ages))
        for f, w in zip(centre + sd * z, np.exp(-0.5 * z**2), strict=True):
            j = int(np.clip(np.searchsorted(grid.feh, f) - 1, 0, len(grid.feh) - 2))
            t = (f - grid.feh[j]) / (grid.feh[j + 1] - grid.feh[j])
            track = (1 - t) * points[:, j, 0] + t * points[:, j + 1, 0]
            scaled = np.stack(
                [(track[..., c] - value[name]) / ERRORS[name] for name, c in COLUMN.items()],
                axis=-1,
            )
            start, step = scaled[:, :-1], np.diff(scaled, axis=1)
            here = start[:, :, None] + along[None, None, :, None] * step[:, :, None]
            density = np.exp(-0.5 * (here**2).sum(-1)).mean(-1)
            total += w * (track[:, :-1, 4] * density).sum(-1)
        expected = normalised(np.log(total + 1e-300))
        mine = normalised(product["log_age_likelihood"].values[i].astype(float))
        # The kernel takes isochrones as linear in [Fe/H] under the star's error; where that
        # straddles a node of the grid the tails feel it, the bulk hardly.
        for share, tolerance in ((1e-2, 0.03), (1e-4, 0.1)):
            relevant = expected > np.log(share)
            np.testing.assert_allclose(mine[relevant], expected[relevant], atol=tolerance)
        assert np.median(np.abs(mine - expected)[relevant]) < 0.01


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
