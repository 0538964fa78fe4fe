import numpy as np
import pytest

from migrate_bayes.population.model.hierarchy import (
    deviation_basis,
    node_widths,
    spline_basis,
)

AGES = np.concatenate([np.arange(1, 5, 0.25), np.arange(5, 14.1, 0.5)])
KNOTS = (1.0, 3.0, 6.0, 9.0, 13.0)


def test_node_widths_integrate_a_line_exactly():
    # The trapezoid rule is exact for a line.
    assert node_widths(AGES).sum() == pytest.approx(AGES[-1] - AGES[0])
    assert node_widths(AGES) @ AGES == pytest.approx((AGES[-1] ** 2 - AGES[0] ** 2) / 2)


@pytest.mark.parametrize("knots", [KNOTS, KNOTS[:2], KNOTS[:3]])
def test_reproduces_lines_and_knot_values(knots):
    values = np.random.default_rng(0).normal(size=len(knots))
    np.testing.assert_allclose(spline_basis(knots, knots) @ values, values, atol=1e-12)
    inside = AGES[(knots[0] <= AGES) & (knots[-1] >= AGES)]
    line = 2.0 - 0.3 * np.asarray(knots)
    np.testing.assert_allclose(spline_basis(inside, knots) @ line, 2.0 - 0.3 * inside, atol=1e-12)


def test_one_knot_is_a_constant():
    np.testing.assert_array_equal(spline_basis(AGES, (8.0,)), np.ones((len(AGES), 1)))


def test_spline_is_linear_outside_its_knots():
    values = np.random.default_rng(1).normal(size=5)
    outside = np.array([13.0, 13.5, 14.0, 14.5])
    assert np.diff(spline_basis(outside, KNOTS) @ values, 2) == pytest.approx(0, abs=1e-12)


def test_deviations_carry_no_level_and_no_slope():
    at_knots = deviation_basis(KNOTS, KNOTS)
    assert at_knots.shape == (5, 3)
    np.testing.assert_allclose(at_knots.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.asarray(KNOTS) @ at_knots, 0, atol=1e-12)
    np.testing.assert_allclose(at_knots.T @ at_knots, np.eye(3), atol=1e-12)
