"""The benchmark of ages: its stars, its definition of an error, its one JSON object."""

import json
import subprocess
import sys

import numpy as np
import pytest

from migrate_bayes.checks.speed import ages
from migrate_bayes.mock.lamost_like import CLASSES, ERRORS, lamost_like


def test_stars_are_like_those_of_the_survey():
    stars = lamost_like("dartmouth", 3000, seed=3)
    assert stars.sizes["star"] == 3000
    assert stars["teff"].min() > 4000
    assert stars["teff"].max() < 7500
    assert stars["logg"].min() > 1.0
    assert stars["logg"].max() < 4.7
    share = np.bincount(stars["star_class"], minlength=len(CLASSES)) / 3000
    # A class that old, poor or faint stars have less of loses some to the cuts.
    for found, (_, _, wanted) in zip(share, CLASSES.values(), strict=True):
        assert found == pytest.approx(wanted, abs=0.06)
    for name, error in ERRORS.items():
        assert (stars[f"{name}_error"] == error).all()
    assert stars["true_age"].min() >= 1.0
    assert stars.equals(lamost_like("dartmouth", 3000, seed=3))
    assert not stars.equals(lamost_like("dartmouth", 3000, seed=4))


def test_an_error_is_taken_from_the_peak_and_where_there_is_weight():
    reference = np.array([-20.0, -5.0, 0.0, -2.0, -9.3, -9.1])
    mine = reference + 3.0 + np.array([9.0, 0.2, 0.1, 0.1, 9.0, -0.4])
    errors, whole = ages.errors_from_peak(reference, mine)
    np.testing.assert_allclose(errors, [0.1, 0.0, 0.0, 0.5], atol=1e-12)
    assert whole == pytest.approx(3.2)


@pytest.mark.slow
def test_memory_is_measured_on_stars_that_go_to_disk():
    found = ages.stream("dartmouth", 700, seed=2)
    assert found["stars_per_second"] > 0
    assert found["growth_gb"] >= 0
    assert found["before_gb"] > 0.05


@pytest.mark.slow
def test_the_command_prints_one_json_object():
    command = [sys.executable, "-m", "migrate_bayes", "benchmark", "ages", "--json"]
    options = ["--stars", "400", "--source", "dartmouth", "--reference-stars", "6"]
    done = subprocess.run(
        [*command, *options, "--lachesis-stars", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for key in ("stars_per_second", "ratio_brute_force", "ratio_lachesis", "peak_rss_gb"):
        assert result[key] > 0
    assert result["max_log_likelihood_error"] >= result["p99_log_likelihood_error"] >= 0
    assert result["reference_convergence"] < 1e-3
    assert len(result["scaling"]["seconds"]) == 3
