"""A made-up run: stars of two discs, a fit of them and its baseline, as other rooms give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from migrate_bayes.baseline import fit_baseline, fit_samples
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.core.provenance import provenance
from migrate_bayes.core.table import Table
from migrate_bayes.report import RunProducts, write_report
from migrate_bayes.report.published import Published
from migrate_bayes.run.recipe import Recipe

TRUTH = {"gradient_young": -0.075, "flattening_rate": 0.003, "gradient_thick": 0.02}
_UNUSABLE = int(StarFlag.LOW_SNR | StarFlag.POOR_AGE)
POTENTIALS = ["MWPotential2014", "McMillan17"]


def build_stars(n: int = 3000, seed: int = 1) -> xr.Dataset:
    """StarPosteriors of a thin and a thick disc, some rows flagged, some values missing."""
    rng = np.random.default_rng(seed)
    thick = rng.random(n) < 0.2
    age = np.where(thick, rng.normal(9.5, 1.5, n), rng.uniform(0.5, 12, n)).clip(0.3, 14)
    rg = np.where(thick, rng.normal(7, 1.8, n), rng.normal(8.4, 1.2, n))
    slope = np.where(thick, 0.02, -0.075 + 0.003 * (age - 1))
    level = np.where(thick, -0.5, -0.02 * (age - 1))
    feh = level + slope * (rg - 8) + rng.normal(0, np.where(thick, 0.25, 0.15))
    alpha = np.where(thick, 0.2 - 0.1 * feh, 0.03 - 0.1 * feh) + rng.normal(0, 0.03, n)
    zmax = np.exp(np.where(thick, rng.normal(0.4, 0.6, n), rng.normal(-1.5, 0.6, n)))
    logg = rng.uniform(3.3, 4.6, n)
    teff = 5900 + 500 * (logg - 4) - 60 * age + rng.normal(0, 120, n)
    feh_error, rg_sd = rng.uniform(0.03, 0.08, n), rng.uniform(0.05, 0.3, n)
    alpha[:5] = np.nan
    flag = np.zeros(n, dtype=np.int32)
    flag[10:40] |= int(StarFlag.LOW_SNR)
    flag[30:50] |= int(StarFlag.POOR_AGE)
    flag[60:160] |= int(StarFlag.EDGE_OLD)
    two = np.ones((1, 2))
    per_potential = {
        "rg_mean": rg + rng.normal(0, rg_sd), "rg_sd": rg_sd, "zmax": zmax,
        "ln_zmax_mean": np.log(zmax), "ln_zmax_sd": np.full(n, 0.1),
    }  # fmt: skip
    per_star = {
        "feh": feh + rng.normal(0, feh_error), "feh_error": feh_error, "alpha_fe": alpha,
        "teff": teff, "logg": logg, "age_ml": age, "age_lo": age * 0.9, "age_hi": age * 1.15,
        "age_error": np.full(n, 0.12), "flag": flag,
        "r_present": rg + rng.normal(0, 0.8, n), "r_present_sd": np.full(n, 0.05),
    }  # fmt: skip
    return xr.Dataset(
        {name: (("star", "potential"), v[:, None] * two) for name, v in per_potential.items()}
        | {name: ("star", v) for name, v in per_star.items()}
        | {"thick": ("star", thick)},
        coords={"source_id": ("star", np.arange(n) + 10**12), "potential": POTENTIALS},
    )


def build_fit(stars: xr.Dataset, seed: int = 2, *, nutpie: bool = True) -> xr.DataTree:
    """A fit whose draws scatter about the truth, with the statistics of either sampler."""
    rng = np.random.default_rng(seed)
    shape = (4, 500)
    young = rng.normal(-0.0748, 0.0011, shape)
    rate = rng.normal(0.0031, 0.0003, shape)
    thick = rng.normal(0.019, 0.006, shape)
    ages = np.arange(0.25, 14.3, 0.5)
    wave = rng.normal(0, 0.001, (*shape, 1)) * np.sin(ages / 2)
    thin_curve = young[..., None] + rate[..., None] * (ages - 1) + wave
    gradient = np.stack([thin_curve, np.broadcast_to(thick[..., None], thin_curve.shape)], axis=2)
    level = np.stack([-0.02 * (ages - 1), np.full(len(ages), -0.5)])
    metallicity = level + rng.normal(0, 0.005, (*shape, 2, 1))
    sample = ("chain", "draw")
    posterior = xr.Dataset(
        {
            "gradient_young": (sample, young), "flattening_rate": (sample, rate),
            "gradient_thick": (sample, thick),
            "sigma_G": (sample, np.abs(rng.normal(0, 0.002, shape))),
            "thick_fraction": (sample, rng.beta(200, 800, shape)),
            "z_G": ((*sample, "gradient_knot"), rng.normal(size=(*shape, 3))),
            "gradient": ((*sample, "component", "age"), gradient),
            "metallicity": ((*sample, "component", "age"), metallicity),
        },
        coords={
            "chain": range(4), "draw": range(500), "component": ["thin", "thick"], "age": ages,
            "gradient_knot": [1.0, 5.0, 9.0],
        },
    )  # fmt: skip
    stats = xr.Dataset(
        {
            "diverging": (sample, np.zeros(shape, dtype=bool)),
            "energy": (sample, rng.normal(100, 4, shape)),
            "maxdepth_reached" if nutpie else "reached_max_treedepth": (
                sample, np.zeros(shape, dtype=bool),
            ),
        },
        coords={"chain": range(4), "draw": range(500)},
    )  # fmt: skip
    one = {"chain": [0], "draw": range(300)}
    prior = xr.Dataset(
        {
            "gradient_young": (sample, rng.normal(-0.05, 0.05, (1, 300))),
            "flattening_rate": (sample, rng.normal(0, 0.01, (1, 300))),
            "gradient_thick": (sample, rng.normal(0, 0.05, (1, 300))),
        },
        coords=one,
    )
    fitted = stars.isel(star=np.flatnonzero((stars["flag"].values & _UNUSABLE) == 0)[::-1])
    p_thin = np.where(fitted["thick"], rng.beta(1, 8, fitted.sizes["star"]), 1.0)
    p_thin = np.where(fitted["thick"], p_thin, rng.beta(15, 1, fitted.sizes["star"]))
    membership = xr.Dataset(
        {"p_thin": ("star", p_thin)}, coords={"source_id": ("star", fitted["source_id"].values)}
    )
    tree = xr.DataTree.from_dict(
        {"posterior": posterior, "sample_stats": stats, "prior": prior, "membership": membership}
    )
    tree.attrs = {
        **provenance(seed=7, recipe_hash="abc123", inputs={"catalogue.parquet": "f" * 64}),
        "potential": "MWPotential2014", "selection": "all", "method": "nuts", "radius": "rg",
        "wall_seconds": 321.4,
    }  # fmt: skip
    return tree


@pytest.fixture(scope="session")
def truth() -> dict[str, float]:
    return dict(TRUTH)


@pytest.fixture(scope="session")
def make_stars() -> Callable[..., xr.Dataset]:
    return build_stars


@pytest.fixture(scope="session")
def make_fit() -> Callable[..., xr.DataTree]:
    return build_fit


@pytest.fixture(scope="session")
def stars() -> xr.Dataset:
    return build_stars()


@pytest.fixture(scope="session")
def fit(stars: xr.Dataset) -> xr.DataTree:
    return build_fit(stars)


@pytest.fixture(scope="session")
def bad_fit(stars: xr.Dataset) -> xr.DataTree:
    """The same fit with a chain that is somewhere else in a parameter that no table shows."""
    tree = build_fit(stars)
    posterior = tree["posterior"].to_dataset()
    posterior["sigma_G"][0] += 0.05
    tree["posterior"] = posterior
    return tree


@pytest.fixture(scope="session")
def baseline(stars: xr.Dataset) -> xr.Dataset:
    return fit_baseline(stars, selection="thin")


@pytest.fixture(scope="session")
def variants(stars: xr.Dataset) -> xr.DataTree:
    return fit_samples(stars, selection="thin")


@pytest.fixture(scope="session")
def page(
    tmp_path_factory: pytest.TempPathFactory,
    stars: xr.Dataset,
    fit: xr.DataTree,
    baseline: xr.Dataset,
    variants: xr.DataTree,
    truth: dict[str, float],
) -> Path:
    """A report with every section, texts that want escaping, and texts that want room."""
    recipe = Recipe(name="made-up", data={"source": "mock"})
    tables = (
        Table("Check & co", ["what", "n"], [["a < b", "3"]]),
        Table("Wide", [f"column {k}" for k in range(9)], [["some words"] * 9] * 3),
    )
    products = RunProducts(
        "demo <script>alert(1)</script>",
        stars,
        fit,
        baseline,
        variants=variants,
        truth=truth,
        published=Published(tables, ("and averylongword" + "ofmanyletters" * 20,)),
        recipe=recipe.model_dump(mode="json"),
        recipe_text=f'name = "<b>&amp;"\npath = "{"long/" * 60}"',
        notes=["a note with <i>tags</i>"],
        validation="no-such-folder",
    )
    return write_report(products, tmp_path_factory.mktemp("reports") / "demo")
