"""The hierarchy above the stars, in ordinary PyMC: hyperparameters, their priors, θ.

θ[component, age, parameter] is all that the likelihood of the stars sees of a model
(`population.likelihood.kernel` states that likelihood): anything above θ may be changed without
touching the kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import NDArray

from migrate_bayes.population.model.gradients import (
    GradientForm,
    RadialDiffusion,
    thick_gradient,
    thin_gradient,
)
from migrate_bayes.population.model.specification import FunctionKnots, ModelSpec
from migrate_bayes.population.model.splines import node_widths, spline_basis

# The optional outlier component: so broad that it holds any star that belongs to no disc. Fixed,
# because a handful of such stars cannot inform it. Order as kernel.THETA, after the log weight.
_OUTLIER = (8.0, 25.0, -0.5, 0.0, 0.64, 0.1, 0.0, 0.04, 0.0, 4.0)


def _function_of_age(
    distribution: Any, name: str, prior: tuple[float, ...], at: tuple[float, ...], ages: np.ndarray
) -> Any:
    """One smooth function of age: values at the knots `at` (Gyr), a spline in between."""
    dim = f"{name}_knot"
    pm.modelcontext(None).add_coord(dim, list(at))
    return pt.dot(spline_basis(ages, at), distribution(name, *prior, dims=dim))


def _log_age_weight(component: str, spec: ModelSpec, ages: np.ndarray) -> Any:
    """Log P(age | component) at the nodes: softmax of a spline, times the node width.

    The spline's knot values sum to zero: the softmax does not see a constant.
    """
    name, at = f"age_weight_{component}", getattr(spec.age_weight, component)
    spline = _function_of_age(pm.ZeroSumNormal, name, spec.prior(name)[1:], at, ages)
    height = spline + np.log(node_widths(ages))
    return height - pt.logsumexp(height)


def _component(
    disc: str, gradient: GradientForm, spec: ModelSpec, ages: np.ndarray
) -> tuple[Any, list]:
    """Return ln P(age) of one disc and the ten columns of θ after the weight.

    If diffusion shapes the spread of radii or the scatter, it replaces a free function of age.
    """
    one = np.ones(len(ages))

    def function(quantity: str, knots: FunctionKnots) -> Any:
        name = f"{quantity}_{disc}"
        return _function_of_age(pm.Normal, name, spec.prior(name), getattr(knots, disc), ages)

    def scalar(quantity: str) -> Any:
        return pm.Normal(f"{quantity}_{disc}", *spec.prior(f"{quantity}_{disc}"))

    def variance(quantity: str, knots: FunctionKnots) -> Any:
        return pt.exp(2.0 * function(quantity, knots))

    churned = gradient if isinstance(gradient, RadialDiffusion) else None
    columns = [
        function("radius", spec.radius),
        churned.radius_variance(ages)
        if churned and churned.radius
        else variance("log_radius_scatter", spec.radius_scatter),
        function("metallicity", spec.metallicity),
        pt.as_tensor(gradient(ages)),
        churned.scatter_variance(ages)
        if churned and churned.scatter
        else variance("log_scatter", spec.scatter),
        function("alpha", spec.alpha),
        scalar("alpha_slope") * one,
        pt.exp(2.0 * scalar("log_alpha_scatter")) * one,
        function("ln_zmax", spec.zmax),
        pt.exp(2.0 * scalar("log_zmax_scatter")) * one,
    ]
    return _log_age_weight(disc, spec, ages), columns


def hierarchy(
    spec: ModelSpec, ages: NDArray[np.float64], n_stars: int, gradient: GradientForm | None = None
) -> tuple[pm.Model, Any]:
    """Write a population model in PyMC, without the stars.

    `n_stars` sets a coordinate of the sampler, not the posterior. Returns the model and θ, shape
    (n_components, n_ages, 11), last axis as `likelihood.kernel.THETA`.
    """
    knots = list(spec.gradient_knots)
    coords = {"component": list(spec.components), "age": ages, "gradient_knot": knots}
    with pm.Model(coords=coords) as model:
        thin, thick = thin_gradient(spec, ages, n_stars, gradient), thick_gradient(spec)
        fraction = pm.Beta("thick_fraction", *spec.prior("thick_fraction"))
        log_mix = [pt.log1p(-fraction), pt.log(fraction)]
        blocks = [_component("thin", thin, spec, ages), _component("thick", thick, spec, ages)]
        if spec.outliers:
            stray = pm.Beta("outlier_fraction", *spec.prior("outlier_fraction"))
            log_mix = [lm + pt.log1p(-stray) for lm in log_mix] + [pt.log(stray)]
            width = node_widths(ages)
            flat = pt.as_tensor(np.log(width / width.sum()))
            blocks.append((flat, [pt.as_tensor(v * np.ones(len(ages))) for v in _OUTLIER]))
        cubes = [
            pt.stack([mix + log_age, *columns], axis=-1)
            for mix, (log_age, columns) in zip(log_mix, blocks, strict=True)
        ]
        theta = pt.stack(cubes)
        pm.Deterministic("gradient", theta[:, :, 4], dims=("component", "age"))
        pm.Deterministic("metallicity", theta[:, :, 3], dims=("component", "age"))
        pm.Deterministic("scatter", pt.sqrt(theta[:, :, 5]), dims=("component", "age"))
    return model, theta
