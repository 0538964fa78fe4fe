"""The orbit benchmark at a tiny size: every promised figure is there, and the errors are small."""

from __future__ import annotations

import json

import numpy as np
from typer.testing import CliRunner

from migrate_bayes.checks.speed.orbits import catalogue_run, mock_kinematics, peaks, sample_stars
from migrate_bayes.cli import app


def test_every_figure_is_printed():
    sizes = ["--disc", "8", "--hot", "2", "--stars", "240", "--catalogue", "400"]
    done = CliRunner().invoke(
        app, ["benchmark", "orbits", "--json", "--potential", "MWPotential2014", *sizes]
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    figures = result["potentials"]["MWPotential2014"]
    for name in (
        "zmax_stars_per_second", "ratio_galpy_integration", "ratio_galpy_staeckel",
        "rg_per_second", "ratio_galpy_rguiding",
    ):  # fmt: skip
        assert figures[name] > 0, name
    assert figures["zmax_error_median"] < 1e-3
    assert figures["zmax_error_p95"] < 5e-3
    assert figures["rg_max_error"] < 1e-8
    assert figures["ratio_galpy_integration"] > 10
    assert 0.1 < result["peak_rss_gb"] < 3
    assert result["scaling"]["stars"] == [100, 200, 400]
    assert set(result["catalogue"]["stages"]) == {"draws", "Z_max MWPotential2014"}


def test_peaks_between_samples():
    t = np.linspace(0.0, 3.0, 301)
    phase = np.array([[0.003], [0.007], [1.0]])
    waves = np.cos(2 * np.pi * (t - phase))
    assert np.all(waves.max(axis=1)[:2] < 1 - 1e-4)
    np.testing.assert_allclose(peaks(waves), 1.0, atol=1e-6)


def test_stars_are_five_discs_to_one_hot_and_seeded():
    one, two = sample_stars(50, 10, seed=3), sample_stars(50, 10, seed=3)
    for a, b in zip(one, two, strict=True):
        assert a.shape == (60,)
        np.testing.assert_array_equal(a, b)
    assert np.std(one[1][50:]) > 2 * np.std(one[1][:50])


def test_chunks_add_up():
    whole = catalogue_run(300, ["MWPotential2014"], chunk=300, draws=4)
    assert whole["zmax_median"]["MWPotential2014"] > 0.1
    assert set(mock_kinematics(5).data_vars) >= {"ra", "distance_lo", "star_key"}
