r"""What the thin disc's metallicity gradient may be as a function of age.

Each form is a function that adds its parameters to the PyMC model in context and returns
G(age), dex/kpc, at the nodes of the age grid and at the gradient knots. A form of your own is any
callable ``form(ages) -> tensor``: pass it to `migrate_bayes.build_model`.

``diffusion`` is a birth gradient flattened by churning: `migrate_bayes.population.model.diffusion`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from migrate_bayes.core.errors import FitError
from migrate_bayes.population.model.diffusion import RadialDiffusion
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.model.splines import deviation_basis, hat_basis

__all__ = ["GradientForm", "thick_gradient", "thin_gradient"]

# Error of a deviation at a knot from one star, dex/kpc: from the curvature at the mode of mock
# surveys of 10⁴ stars. Only the sampler's efficiency depends on it.
_DEVIATION_ERROR = 0.5

#: A gradient of one's own: ages in Gyr in, a tensor of the same shape in dex/kpc out.
GradientForm = Callable[[NDArray[np.float64]], Any]


def _constant(spec: ModelSpec) -> GradientForm:
    level = pm.Normal("gradient_reference", *spec.prior("gradient_reference"))
    return lambda ages: level * np.ones(len(ages))


def _line(spec: ModelSpec) -> GradientForm:
    level = pm.Normal("gradient_reference", *spec.prior("gradient_reference"))
    rate = pm.Normal("flattening_rate", *spec.prior("flattening_rate"))
    return lambda ages: level + rate * (ages - spec.reference_age)


def _line_and_deviations(spec: ModelSpec) -> GradientForm:
    """Add deviations d_j ~ N(0, σ_G) at the knots, less their own straight-line fit.

    Sampled as v_j = d_j √(1/σ_G² + 1/l²), with l about the error that the stars leave on d_j: the
    posterior of v_j has unit width whatever σ_G, so that there is no funnel, neither the one of few
    stars (where d_j/σ_G has none) nor that of many (where d_j has none). l is a coordinate, not a
    prior: any value gives the same posterior.
    """
    line = _line(spec)
    sigma = pm.HalfNormal("sigma_G", spec.prior("sigma_G")[1])
    informed = _DEVIATION_ERROR / np.sqrt(max(pm.modelcontext(None).migrate_bayes["n_stars"], 1))
    stretch = pt.sqrt(1.0 + (sigma / informed) ** 2)
    pm.modelcontext(None).add_coord("deviation", range(len(spec.gradient_knots) - 2))
    v = pm.Normal("deviation_G", 0.0, stretch, dims="deviation")
    deviation = sigma / stretch * v
    at_knots = deviation_basis(spec.gradient_knots, spec.gradient_knots)
    pm.Deterministic("gradient_deviation", pt.dot(at_knots, deviation), dims="gradient_knot")

    def gradient(ages: NDArray[np.float64]) -> Any:
        return line(ages) + pt.dot(deviation_basis(ages, spec.gradient_knots), deviation)

    return gradient


def _free(spec: ModelSpec) -> GradientForm:
    mean, sd = spec.prior("gradient_reference")
    values = pm.Normal("gradient_knots", mean, sd, dims="gradient_knot")
    return lambda ages: pt.dot(hat_basis(ages, spec.gradient_knots), values)


_FORMS: dict[str, Callable[[ModelSpec], GradientForm]] = {
    "constant": _constant,
    "linear": _line,
    "linear+deviations": _line_and_deviations,
    "free": _free,
    "diffusion": RadialDiffusion,
}


def thin_gradient(spec: ModelSpec, form: GradientForm | None = None) -> GradientForm:
    """Add the thin disc's gradient to the model in context.

    Registers ``gradient_young`` and, where the form has no such parameter, ``flattening_rate`` (the
    least-squares slope over the gradient knots).

    Parameters
    ----------
    spec : ModelSpec
    form : callable, optional
        A form of the user's own, in place of `spec.form`.

    Returns
    -------
    callable
        From ages in Gyr to G_thin, dex/kpc.
    """
    gradient = _FORMS[spec.form](spec) if form is None else form
    young = pt.as_tensor(gradient(np.array([spec.young_age])))
    if young.ndim != 1:
        raise FitError(
            "a gradient function must return one value in dex/kpc for each age it is given, as an "
            f"array of one dimension; yours gave {young.ndim} dimensions"
        )
    pm.Deterministic("gradient_young", young[0])
    model = pm.modelcontext(None)
    if "flattening_rate" not in model.named_vars:
        knots = np.asarray(spec.gradient_knots)
        centred = knots - knots.mean()
        slope = pt.dot(centred / (centred**2).sum(), gradient(knots))
        pm.Deterministic("flattening_rate", slope)
    return gradient


def thick_gradient(spec: ModelSpec) -> GradientForm:
    """Add the thick disc's gradient, constant or linear in age, to the model in context."""
    level = pm.Normal("gradient_thick", *spec.prior("gradient_thick"))
    if spec.thick_gradient == "constant":
        return lambda ages: level * np.ones(len(ages))
    rate = pm.Normal("gradient_thick_rate", *spec.prior("gradient_thick_rate"))
    return lambda ages: level + rate * (ages - spec.reference_age)
