"""Predictive checks as drawn: every point is there, and filled where it lies outside."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex

from migrate_bayes import plots
from migrate_bayes.plots.style import VERMILION
from migrate_bayes.report import RunProducts
from migrate_bayes.report.page import FIGURES
from migrate_bayes.report.section import Image
from migrate_bayes.report.sections.stars import posterior_predictive, prior_predictive


@pytest.fixture
def checks():
    rng = np.random.default_rng(0)
    dims, shape = ("observable", "age_bin", "radius_bin", "quantile"), (2, 6, 3, 5)
    middle = np.sort(rng.normal(size=shape), axis=-1)
    data = middle + rng.normal(scale=0.05, size=shape)
    data[0, 5, 0] = np.nan
    edges, ends = np.arange(0.0, 14, 2), np.array([4.0, 7.5, 9.0, 13.0])
    return xr.Dataset(
        {
            "data": (dims, data), "replicated": (dims, middle),
            "replicated_lo": (dims, middle - 0.07), "replicated_hi": (dims, middle + 0.07),
        },
        coords={
            "observable": ["feh", "alpha_fe"], "quantile": [0.05, 0.25, 0.5, 0.75, 0.95],
            "age_lo": ("age_bin", edges[:-1]), "age_hi": ("age_bin", edges[1:]),
            "radius_lo": ("radius_bin", ends[:-1]), "radius_hi": ("radius_bin", ends[1:]),
        },
    )  # fmt: skip


def test_points_outside_are_filled(checks):
    made = plots.posterior_predictive(checks)
    shown = checks.sel(quantile=[0.05, 0.5, 0.95])
    outside = (shown["data"] < shown["replicated_lo"]) | (shown["data"] > shown["replicated_hi"])
    drawn = {True: 0, False: 0}
    for ax in made.axes:
        for line in ax.lines:
            filled = to_hex(line.get_markerfacecolor()) == VERMILION.lower()
            drawn[filled] += int(np.isfinite(line.get_ydata()).sum())
    assert drawn[True] == int(outside.sum())
    assert drawn[False] == int((np.isfinite(shown["data"]) & ~outside).sum())
    assert made.axes[0].get_title() == "$R$ = 4.0–7.5 kpc"


def test_an_abundance_of_no_star_has_no_panels(checks):
    of_none = checks["data"].where(checks["observable"] == "feh")
    assert len(plots.posterior_predictive(checks.assign(data=of_none)).axes) == 3


def test_prior_bands_hold_what_they_say(checks):
    ages, bands = np.arange(0.5, 14, 0.5), np.array([0.025, 0.16, 0.5, 0.84, 0.975])
    feh, alpha = np.linspace(-2, 1, 61), np.linspace(-0.2, 0.6, 41)
    level = np.linspace(-1.0, 1.0, 5)[:, None]
    prior = xr.Dataset(
        {
            "gradient": (
                ("band", "component", "age"),
                0.1 * level[:, :, None] * np.ones((1, 2, len(ages))),
            ),
            "feh_density": (("band", "feh"), (2 + level) * np.exp(-0.5 * (feh / 0.3) ** 2)),
            "alpha_fe_density": (("band", "alpha_fe"), (2 + level) * np.ones(len(alpha))),
            "feh_data": ("feh", np.exp(-0.5 * (feh / 0.2) ** 2)),
            "alpha_fe_data": ("alpha_fe", np.ones(len(alpha))),
        },
        coords={
            "band": bands, "component": ["thin", "thick"], "age": ages, "feh": feh,
            "alpha_fe": alpha,
        },
    )  # fmt: skip
    made = plots.prior_predictive(prior)
    low, high = made.axes[1].get_ylim()
    assert low == 0
    assert high > 3.0
    assert [line.get_ydata()[0] for line in made.axes[0].lines[:2]] == [0.0, 0.0]
    tree = xr.DataTree.from_dict({"prior_predictive": prior, "predictive_check": checks})
    data = RunProducts("r", xr.Dataset(), tree)
    for draw, words in (
        (posterior_predictive, "5, 50 and 95% quantiles of the stars"),
        (prior_predictive, "Gradient against age by the prior alone"),
    ):
        found = draw(data)
        assert isinstance(found, Image)
        assert found.caption.startswith(words)
    assert {posterior_predictive, prior_predictive} <= {place.draw for place in FIGURES}
