r"""Radial diffusion: what churning makes of the gradient that stars were born with.

Stars of age τ were born at radii :math:`R_b \sim N(μ, S^2)` from gas whose [Fe/H] has the gradient
g_birth(τ) and, about it, the scatter :math:`s_0`; their guiding radii have since diffused by
:math:`D(τ) = σ_{RM8} \sqrt{τ / 8\,\mathrm{Gyr}}` (Sellwood & Binney 2002; Frankel et al. 2018):

.. math::

   R_g = R_b + D ε, \qquad [Fe/H] = Z_b(τ) + g_\mathrm{birth}(τ) (R_b - R_0) + s_0 ε'

Both are Gaussian, so [Fe/H] given today's R_g is too, with

.. math::

   G(τ) = g_\mathrm{birth} \frac{S^2}{S^2 + D^2}, \qquad
   s^2(τ) = s_0^2 + g_\mathrm{birth}^2 \frac{S^2 D^2}{S^2 + D^2}, \qquad
   σ_R^2(τ) = S^2 + D^2

The gradient alone fixes σ_RM8/S, and S must then come from its prior. Migrants also widen [Fe/H] at
given radius, and that measures σ_RM8 itself if s_0 is one number for all ages; so does the growth
of σ_R, but only in a sample that was not selected by radius. The first two equations hold under any
selection by today's radius, the third does not.

None of it is worth more than g_birth(τ): with a gradient of the gas that was steeper in the past,
the same flattening needs more churning. The history is therefore a stated part of the model,
`ModelSpec.birth_gradient_rate`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
from numpy.typing import NDArray

from migrate_bayes.population.model.specification import ModelSpec


class RadialDiffusion:
    """The ``diffusion`` form: adds its parameters to the PyMC model in context.

    Called with ages, it is the gradient, dex/kpc, as every gradient form. `scatter` and `radius`
    say whether the widening of [Fe/H] at given radius and of the radii are part of the model, by
    `ModelSpec.diffusion_widens`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.now = pm.Normal("birth_gradient", *spec.prior("birth_gradient"))
        rate: Any = spec.birth_gradient_rate
        if rate is None:
            rate = pm.Normal("birth_gradient_rate", *spec.prior("birth_gradient_rate"))
        self.rate = rate
        # Log-normal: with S near 0 the equations say nothing, and no disc is so narrow.
        self.spread = pm.LogNormal("birth_radius_spread", *spec.prior("birth_radius_spread"))
        self.sigma = pm.HalfNormal("sigma_rm8", spec.prior("sigma_rm8")[1])
        self.scatter = "scatter" in spec.diffusion_widens
        if self.scatter:
            # Of the gas: 0.07 dex within a factor 1.8.
            prior = spec.prior("log_birth_scatter")
            self.birth_scatter = pm.math.exp(pm.Normal("log_birth_scatter", *prior))
        self.radius = "radius" in spec.diffusion_widens

    def birth_gradient(self, ages: NDArray[np.float64]) -> Any:
        """Gradient of the gas when stars of these ages were born, dex/kpc."""
        return self.now + self.rate * np.asarray(ages)

    def diffused(self, ages: NDArray[np.float64]) -> Any:
        """Variance D² of R_g − R_b, kpc²."""
        return self.sigma**2 * np.asarray(ages) / 8.0

    def __call__(self, ages: NDArray[np.float64]) -> Any:
        """Gradient of [Fe/H] against today's radius, dex/kpc."""
        return self.birth_gradient(ages) * self.spread**2 / self.radius_variance(ages)

    def radius_variance(self, ages: NDArray[np.float64]) -> Any:
        """Variance of today's radii, kpc²."""
        return self.spread**2 + self.diffused(ages)

    def scatter_variance(self, ages: NDArray[np.float64]) -> Any:
        """Variance of [Fe/H] at given radius, dex²; where `scatter`."""
        return self.birth_scatter**2 + self.migrant_variance(ages)

    def migrant_variance(self, ages: NDArray[np.float64]) -> Any:
        """Variance that migrants add to [Fe/H] at given radius, dex²."""
        share = self.spread**2 * self.diffused(ages) / self.radius_variance(ages)
        return self.birth_gradient(ages) ** 2 * share
