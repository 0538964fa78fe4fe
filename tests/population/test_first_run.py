"""The first run on a machine, which compiles everything, against the later ones, which load it."""

import os
import subprocess
import sys

import pytest

# Defect: the last bits of Σ ln L and of the graphs' gradients, and so every draw of a fit, were
# others in the process that compiled the functions than in those that loaded them.
STARS = """
import hashlib
import numpy as np
from migrate_bayes.population import PopulationModel, population_data
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.mock.model_stars import simulated_stars

def bits(*values):
    return hashlib.sha256(b"".join(np.asarray(v).tobytes() for v in values)).hexdigest()

data = population_data(simulated_stars(2000, seed=1))
theta = np.zeros((2, len(data.ages), 14))
theta[..., :11] = [-3.0, 8.0, 2.0, -0.1, -0.05, 0.03, 0.1, -0.1, 0.002, -0.8, 0.5]
theta += 0.01 * np.random.default_rng(2).normal(size=theta.shape) * np.abs(theta)
likelihood = StarLikelihood(data.stars)
"""

KERNELS = """
print(bits(*likelihood.value_and_gradient(theta)))
jacobian = np.random.default_rng(3).normal(size=(*theta.shape, 3))
print(bits(*likelihood.score_outer(theta, jacobian)))
"""

POSTERIOR = """

few = {"draws": 20, "tune": 20, "chains": 2, "starts": 1, "patience": 1, "prior_draws": 0}
tree = PopulationModel(data).sample(**few)
for name, draws in sorted(tree["posterior"].data_vars.items()):
    print(name, bits(draws.values))
"""


@pytest.mark.parametrize(
    "what", [pytest.param(KERNELS, id="kernels"),
             pytest.param(POSTERIOR, id="posterior", marks=pytest.mark.slow)],
)  # fmt: skip
def test_the_first_run_has_the_bits_of_the_later_ones(what, tmp_path):
    places = {
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
        "PYTENSOR_FLAGS": f"base_compiledir={tmp_path / 'pytensor'}",
    }
    runs = [
        subprocess.run(
            [sys.executable, "-c", STARS + what], env=os.environ | places, text=True,
            capture_output=True, check=True,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    assert runs[0]
    assert runs[0] == runs[1]
