"""Keyed random numbers: uniform, independent, and a function of their key alone."""

import numpy as np
import pytest
from scipy import stats

from migrate_bayes.core.counter_rng import keyed_uniforms


def test_a_function_of_the_key_alone():
    key = np.arange(100, dtype=np.uint64)
    whole = keyed_uniforms(7, 1, key, 0, 5)
    shuffled = np.random.default_rng(0).permutation(100)
    np.testing.assert_array_equal(keyed_uniforms(7, 1, key[shuffled], 0, 5), whole[:, shuffled])
    np.testing.assert_array_equal(keyed_uniforms(7, 1, key[10:13], 0, 3), whole[:3, 10:13])


@pytest.mark.parametrize("change", ["seed", "purpose", "key", "draw", "dimension"])
def test_uniform_and_independent_of_their_neighbours(change):
    n = 40_000
    key = np.arange(n, dtype=np.uint64)
    one = keyed_uniforms(3, 1, key, 0, 2)
    other = {
        "seed": lambda: keyed_uniforms(4, 1, key, 0, 1)[0],
        "purpose": lambda: keyed_uniforms(3, 2, key, 0, 1)[0],
        "key": lambda: keyed_uniforms(3, 1, key + np.uint64(1), 0, 1)[0],
        "draw": lambda: keyed_uniforms(3, 1, key, 1, 1)[0],
        "dimension": lambda: one[1],
    }[change]()
    assert stats.kstest(other, "uniform").pvalue > 1e-3
    assert (other > 0).all()
    assert (other < 1).all()
    # Uncorrelated, and jointly uniform on a coarse grid.
    assert abs(np.corrcoef(one[0], other)[0, 1]) < 4 / np.sqrt(n)
    counts = np.histogram2d(one[0], other, bins=8, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3
