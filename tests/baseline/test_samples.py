"""Baselines of slices and variants: each is the baseline of its own stars and radii."""

from __future__ import annotations

import numpy as np
import xarray as xr

from migrate_bayes.baseline import (
    ALPHA_SLICES,
    ZMAX_SLICES,
    fit_baseline,
    fit_samples,
    why_absent,
)
from migrate_bayes.selection import select


def made(n: int = 900) -> xr.Dataset:
    rng = np.random.default_rng(5)
    age, rg = rng.uniform(1, 12, n), rng.normal(8, 1.3, n)
    zmax = np.exp(rng.normal(-1.6, 0.8, n))
    both = np.stack([rg, 1.25 * rg], axis=1)
    return xr.Dataset(
        {
            "feh": ("star", -0.07 * (rg - 8) + rng.normal(0, 0.1, n)),
            "feh_error": ("star", np.full(n, 0.04)),
            "alpha_fe": ("star", rng.uniform(0.06, 0.09, n)),
            "teff": ("star", rng.uniform(5000, 6500, n)),
            "logg": ("star", rng.uniform(3.5, 4.6, n)),
            "age_ml": ("star", age), "age_lo": ("star", 0.9 * age), "age_hi": ("star", 1.1 * age),
            "age_error": ("star", rng.uniform(0.05, 0.2, n)),
            "flag": ("star", np.zeros(n, dtype=np.int32)),
            "zmax": (("star", "potential"), np.stack([zmax, zmax + 5], axis=1)),
            "rg_mean": (("star", "potential"), both),
            "rg_sd": (("star", "potential"), np.full((n, 2), 0.1)),
        },
        coords={"potential": ["A", "B/x"], "r0": ("potential", [8.0, 10.0])},
    )  # fmt: skip


def test_slices_are_the_baselines_of_their_selections() -> None:
    stars = made()
    tree = fit_samples(stars, selection="thin-chemical", potential="A")
    alone = fit_baseline(stars, selection="zmax-below-0.25", potential="A")
    xr.testing.assert_allclose(tree["zmax-below-0.25"].to_dataset(), alone)
    assert set(ZMAX_SLICES) | set(ALPHA_SLICES) <= set(tree.children)
    counts = [int(tree[s]["n_stars"].sum()) for s in ZMAX_SLICES if "n_stars" in tree[s]]
    assert sum(counts) == int(((stars["age_ml"] >= 1) & (stars["age_ml"] <= 12.25)).sum())


def test_another_potential_keeps_the_stars_and_changes_the_radii() -> None:
    stars = made()
    tree = fit_samples(stars, selection="thin-chemical & zmax-below-0.25", potential="A")
    other = tree["potential-1"].to_dataset()
    assert other.attrs["potential"] == "B/x"
    assert other.attrs["r0"] == 10.0
    mask = select(stars, "thin-chemical & zmax-below-0.25", potential="A")
    assert int(other["n_stars"].sum()) == int(mask.sum())
    own = fit_baseline(stars, selection=mask, potential="A")
    # Radii a quarter larger: slopes a quarter smaller (the fixed radius errors matter little).
    ratio = (other["slope"] / own["slope"]).sel(regression="odr+scatter").values
    np.testing.assert_allclose(ratio, 0.8, atol=0.02)


def test_what_cannot_be_fitted_says_why() -> None:
    tree = fit_samples(made(), selection="thin-chemical", potential="A")
    assert "R_present".lower() in why_absent(tree, "r_present").lower()
    # By the selection's name.
    assert "0 are in selection 'alpha-highest'" in why_absent(tree, "alpha-highest")
    assert why_absent(tree, "zmax-below-0.25") == ""
    assert "no baseline" in why_absent(tree, "nothing-such")
    assert "migrate-bayes baseline" in why_absent(None, "thin")
