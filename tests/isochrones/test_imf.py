"""The closed form of the Kroupa function against quadrature of the published law."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from migrate_bayes.isochrones.grid import kroupa_cumulative


def published(mass):
    """dN/dm of Kroupa (2001), eq. 2, continuous at the breaks, not normalised."""
    if mass < 0.08:
        return (mass / 0.08) ** -0.3
    if mass < 0.5:
        return (mass / 0.08) ** -1.3
    return (0.5 / 0.08) ** -1.3 * (mass / 0.5) ** -2.3


def number(low, high):
    breaks = [m for m in (0.08, 0.5, 1.0, 10.0) if low < m < high]
    edges = [low, *breaks, high]
    return sum(quad(published, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in pairwise(edges))


@pytest.mark.parametrize(
    ("low", "high"), [(0.02, 0.07), (0.05, 0.3), (0.3, 1.7), (0.9, 0.91), (1, 90)]
)
def test_cumulative_is_the_integral_of_the_density(low, high):
    closed = kroupa_cumulative(high) - kroupa_cumulative(low)
    assert closed == pytest.approx(number(low, high) / number(0.01, 120.0), rel=1e-9)


def test_one_star_in_all_and_none_outside():
    assert kroupa_cumulative(120.0) == pytest.approx(1.0, rel=1e-14)
    assert kroupa_cumulative(0.01) == 0.0
    np.testing.assert_array_equal(kroupa_cumulative([0.005, 121.0]), kroupa_cumulative([0.01, 120]))


def test_density_is_continuous_with_the_published_slopes():
    def density(mass, step=1e-6):
        return (kroupa_cumulative(mass * (1 + step)) - kroupa_cumulative(mass)) / (mass * step)

    for edge in (0.08, 0.5):
        assert density(edge * (1 - 1e-5)) == pytest.approx(density(edge), rel=1e-4)
    for mass, slope in ((0.04, 0.3), (0.2, 1.3), (2.0, 2.3)):
        ratio = density(mass * 1.01) / density(mass)
        assert -np.log(ratio) / np.log(1.01) == pytest.approx(slope, rel=1e-6)
