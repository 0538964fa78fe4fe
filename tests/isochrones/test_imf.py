"""The closed form of the Kroupa function against quadrature and its own inverse."""

import numpy as np
import pytest
from scipy.integrate import quad

from migrate_bayes.isochrones.imf import kroupa_cumulative, kroupa_density, kroupa_quantile


@pytest.mark.parametrize(
    ("low", "high"), [(0.02, 0.07), (0.05, 0.3), (0.3, 1.7), (0.9, 0.91), (1, 90)]
)
def test_cumulative_is_the_integral_of_the_density(low, high):
    number, _ = quad(kroupa_density, low, high, points=[0.08, 0.5], epsabs=0, epsrel=1e-11)
    closed = kroupa_cumulative(high) - kroupa_cumulative(low)
    assert closed == pytest.approx(number, rel=1e-9)


def test_one_star_in_all_and_none_outside():
    assert kroupa_cumulative(120.0) == pytest.approx(1.0, rel=1e-14)
    assert kroupa_cumulative(0.01) == 0.0
    np.testing.assert_array_equal(kroupa_density([0.005, 121.0]), 0.0)


def test_density_is_continuous_with_the_published_slopes():
    for edge in (0.08, 0.5):
        below, above = kroupa_density([edge * (1 - 1e-9), edge * (1 + 1e-9)])
        assert below == pytest.approx(above, rel=1e-7)
    for mass, slope in ((0.04, 0.3), (0.2, 1.3), (2.0, 2.3)):
        ratio = kroupa_density(mass * 1.01) / kroupa_density(mass)
        assert -np.log(ratio) / np.log(1.01) == pytest.approx(slope, rel=1e-10)


def test_quantile_inverts_cumulative():
    mass = np.geomspace(0.0101, 119, 300)
    np.testing.assert_allclose(kroupa_quantile(kroupa_cumulative(mass)), mass, rtol=1e-9)
