"""The fit's benchmark on a small survey."""

import json
from typing import get_args

import pytest

from migrate_bayes.cli import app
from migrate_bayes.cli.checks import FitMethod
from migrate_bayes.population import SamplerOptions


def test_methods_are_those_of_a_fit():
    assert get_args(FitMethod) == get_args(SamplerOptions.model_fields["method"].annotation)


@pytest.mark.slow
def test_command_prints_speed_ratio_and_truth():
    from typer.testing import CliRunner

    command = [
        "benchmark",
        "fit",
        "--stars",
        "2000",
        "--draws",
        "200",
        "--method",
        "nuts",
        "--json",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    numbers = json.loads(done.stdout)
    assert numbers["method"] == "nuts"
    assert numbers["draws"] == 800
    assert numbers["khat"] is None
    assert numbers["ratio_pytensor_graph"] > 1
    assert numbers["pytensor_graph"]["relative_difference_of_value"] < 1e-5
    for judged in numbers["truth"].values():
        assert abs(judged["mean"] - judged["truth"]) < 5 * judged["sd"]
