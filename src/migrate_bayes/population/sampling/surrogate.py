r"""A quadratic that stands for the likelihood of all stars.

In the coordinates φ of `migrate_bayes.population.sampling.natural_coordinates`, about a centre,

.. math::

   \ln \tilde L(φ) = c \cdot d - \tfrac{1}{2} d^T A d, \qquad d = φ - \bar φ, \qquad
   \nabla \ln \tilde L = c - A d

first with the gradient and the Fisher information at the posterior's maximum, then fitted to the
gradients of ln L at draws: a pass over the stars gives one value and as many slopes as there are
coordinates, so that a hundred passes fix A many times over, and what they fix is the curvature over
the posterior's whole width and not at a point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.population.sampling.density import PosteriorDensity
from migrate_bayes.population.sampling.natural_coordinates import Coordinates

Floats = NDArray[np.float64]

# Ridge that draws the fitted curvature to the earlier one, where the points' own spread is 1.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Surrogate:
    """ln L up to a constant, as a quadratic in φ.

    Attributes
    ----------
    centre : ndarray, shape (n,)
    slope : ndarray, shape (n,)
        c.
    curvature : ndarray, shape (n, n)
        A, with no negative eigenvalue.
    """

    centre: Floats
    slope: Floats
    curvature: Floats

    def __call__(self, phi: Floats) -> tuple[float, Floats]:
        """Return the value and its gradient."""
        d = phi - self.centre
        bend = self.curvature @ d
        return float(self.slope @ d - 0.5 * d @ bend), self.slope - bend


class SurrogateDensity:
    """ln(prior × surrogate likelihood) of a model's unconstrained x: no pass over the stars.

    Parameters
    ----------
    density : PosteriorDensity
    coordinates : Coordinates
    surrogate : Surrogate
    """

    def __init__(
        self, density: PosteriorDensity, coordinates: Coordinates, surrogate: Surrogate
    ) -> None:
        self.density = density
        self.coordinates = coordinates
        self.surrogate = surrogate
        self.n = density.n

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        """Evaluate the log density and its gradient."""
        theta, prior = self.density.theta_and_prior(x)
        if not np.isfinite(theta).all():
            return -np.inf, np.zeros(self.n)
        value, slope = self.surrogate(self.coordinates.of(theta))
        slope = self.coordinates.pullback(theta, slope)
        gradient = self.density.back(x, slope, prior=True)
        if not (np.isfinite(prior + value) and np.isfinite(gradient).all()):
            return -np.inf, np.zeros(self.n)
        return prior + value, gradient


def fit_surrogate(phi: Floats, gradient: Floats, earlier: Surrogate) -> Surrogate:
    r"""Fit a surrogate to gradients of ln L.

    With both centred and φ whitened to ψ by the points' covariance, the symmetric A that minimises
    :math:`\sum |γ + A ψ|^2 + λ m |A - A_0|^2` over the m points solves
    :math:`S A + A S + 2 λ m A = -(K + K^T) + 2 λ m A_0`, :math:`S = \sum ψψ^T`,
    :math:`K = \sum γ ψ^T`: a division in S's own axes.

    Parameters
    ----------
    phi, gradient : ndarray, shape (m, n)
        Points, and ∂ ln L/∂φ there.
    earlier : Surrogate
        A_0: what the curvature is drawn to where the points say little.
    """
    m, n = phi.shape
    centre, mean = phi.mean(axis=0), gradient.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(phi.T).reshape(n, n))
    sd = np.sqrt(np.maximum(values, max(values.max(), 1e-300) * 1e-12))
    psi = (phi - centre) @ vectors / sd
    gamma = (gradient - mean) @ vectors * sd
    before = sd[:, None] * (vectors.T @ earlier.curvature @ vectors) * sd
    size, axes = np.linalg.eigh(psi.T @ psi)
    pull = gamma.T @ psi
    right = -(pull + pull.T) + 2.0 * _RIDGE * m * before
    bent = (axes.T @ right @ axes) / (size[:, None] + size + 2.0 * _RIDGE * m)
    curvature = axes @ bent @ axes.T
    # The likelihood may curve upwards somewhere; a surrogate that does has no end.
    values, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
    curvature = (axes * np.maximum(values, 0.0)) @ axes.T
    curvature = (vectors / sd) @ curvature @ (vectors / sd).T
    return Surrogate(centre, mean, curvature)
