r"""Coordinates in which the likelihood of many stars is nearly Gaussian.

A model's own parameters are not: a hierarchical scale and what it scales enter θ as a product. Here
θ itself is the coordinate, in natural units: with the (component, age) table of numbers

.. math::

   η = (\ln P - \overline{\ln P},\; μ,\; \ln σ^2,\; Z,\; G,\; \ln s^2,\; a,\; b,\; \ln t^2,\;
   m,\; \ln q^2)

the likelihood is smooth in η whatever model stands above it. A model reaches a few dozen of its
many directions: those that its posterior moves in span

.. math:: η = η_0 + D U φ, \qquad φ = U^T D^{-1} (η - η_0)

with D the posterior's spread of each number and U orthonormal. Most models are linear in between
(values at knots, splines), and then this is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.population.likelihood.kernel import THETA

_LOG = [THETA.index(name) for name in ("sigma2", "s2", "t2", "q2")]


def natural(theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return η, the same shape as θ."""
    eta = np.array(theta)
    eta[..., _LOG] = np.log(theta[..., _LOG])
    eta[..., 0] -= eta[..., 0].mean()
    return eta


def natural_gradient(
    theta: NDArray[np.float64], gradient: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn ∂f/∂θ into ∂f/∂η, the weights kept normalised: Σ P = 1 for any η."""
    out = np.array(gradient)
    out[..., _LOG] *= theta[..., _LOG]
    out[..., 0] -= np.exp(theta[..., 0]) * gradient[..., 0].sum()
    return out


@dataclass(frozen=True)
class Coordinates:
    """The subspace of η that a posterior moves in.

    Attributes
    ----------
    origin : ndarray, shape (n_components, n_ages, 11)
        η_0.
    spread : ndarray, shape (n_components, n_ages, 11)
        D; zero where θ is fixed.
    directions : ndarray, shape (n_components * n_ages * 11, n)
        U.
    """

    origin: NDArray[np.float64]
    spread: NDArray[np.float64]
    directions: NDArray[np.float64]

    @classmethod
    def spanning(
        cls, centre: NDArray[np.float64], thetas: NDArray[np.float64], *, tolerance: float = 1e-4
    ) -> Coordinates:
        """Find the subspace that θ at a number of points lies in.

        Parameters
        ----------
        centre : ndarray, shape (n_components, n_ages, 11)
            θ at the origin.
        thetas : ndarray, shape (m, n_components, n_ages, 11)
            θ at points spread as the posterior is, many more than its parameters.
        tolerance : float
            Directions in which the points spread by less than this share of the widest are not
            resolved.
        """
        origin = natural(centre)
        moved = np.stack([natural(theta) for theta in thetas]) - origin
        spread = np.sqrt(np.mean(moved**2, axis=0))
        spread[spread < 1e-12] = 0.0
        scaled = np.divide(moved, spread, out=np.zeros_like(moved), where=spread > 0)
        _, size, rows = np.linalg.svd(scaled.reshape(len(thetas), -1), full_matrices=False)
        return cls(origin, spread, np.ascontiguousarray(rows[size > tolerance * size[0]].T))

    @property
    def n(self) -> int:
        """Number of directions."""
        return self.directions.shape[1]

    def of(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return φ at θ."""
        moved = natural(theta) - self.origin
        scaled = np.divide(moved, self.spread, out=np.zeros_like(moved), where=self.spread > 0)
        return self.directions.T @ scaled.ravel()

    def gradient(
        self, theta: NDArray[np.float64], slope: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Turn ∂f/∂θ into ∂f/∂φ."""
        return self.directions.T @ (natural_gradient(theta, slope) * self.spread).ravel()

    def pullback(
        self, theta: NDArray[np.float64], slope: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Turn ∂f/∂φ into ∂f/∂θ, f being a function of φ(θ)."""
        flat = (self.directions @ slope).reshape(theta.shape)
        out = np.divide(flat, self.spread, out=np.zeros_like(flat), where=self.spread > 0)
        out[..., _LOG] /= theta[..., _LOG]
        out[..., 0] -= out[..., 0].mean()
        return out

    def jacobian(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ∂θ/∂φ at θ, shape (n_components, n_ages, 11, n)."""
        out = (self.spread.reshape(-1, 1) * self.directions).reshape(*theta.shape, self.n)
        out[..., _LOG, :] *= theta[..., _LOG, None]
        out[..., 0, :] -= np.tensordot(np.exp(theta[..., 0]), out[..., 0, :], axes=2)
        return out
