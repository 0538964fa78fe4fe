"""The hierarchical model, in ordinary PyMC, down to the seam.

`build_model` writes the hyperparameters and their priors, turns them into θ[component, age,
parameter] (see `population.likelihood.kernel` for the likelihood that θ enters) and hangs the
stars below it as one potential. Anything above θ may be changed without touching the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from migrate_bayes.population.data import PopulationData
from migrate_bayes.population.likelihood.op import PopulationLogLikelihood, StarLikelihood
from migrate_bayes.population.model.diffusion import RadialDiffusion
from migrate_bayes.population.model.gradients import GradientForm, thick_gradient, thin_gradient
from migrate_bayes.population.model.specification import FunctionKnots, ModelSpec
from migrate_bayes.population.model.splines import node_widths, spline_basis
from migrate_bayes.population.results.units import UNITS

if TYPE_CHECKING:
    from migrate_bayes.population.likelihood.distributed import ShardedLikelihood

__all__ = ["UNITS", "build_model", "likelihood_of", "theta_of"]

# The optional outlier component: so broad that it holds any star that belongs to no disc. Fixed,
# because a handful of such stars cannot inform it. Order as kernel.THETA, after the log weight.
_OUTLIER = (8.0, 25.0, -0.5, 0.0, 0.64, 0.1, 0.0, 0.04, 0.0, 4.0)


def _knots(name: str, at: tuple[float, ...]) -> str:
    """Name the dimension of a function's knots, whose coordinate is their ages."""
    dim = f"{name}_knot"
    pm.modelcontext(None).add_coord(dim, list(at))
    return dim


def _function_of_age(
    name: str, component: str, knots: FunctionKnots, spec: ModelSpec, ages: np.ndarray
) -> Any:
    """One smooth function of age: normal values at its knots, spline between."""
    at: tuple[float, ...] = getattr(knots, component)
    mean, sd = spec.prior(f"{name}_{component}")
    values = pm.Normal(f"{name}_{component}", mean, sd, dims=_knots(f"{name}_{component}", at))
    return pt.dot(spline_basis(ages, at), values)


def _log_age_weight(component: str, spec: ModelSpec, ages: np.ndarray) -> Any:
    """Log P(age | component) at the nodes: softmax of a spline, times the node width.

    The spline's knot values sum to zero, for the softmax does not see a constant.
    """
    at = getattr(spec.age_weight, component)
    _, sd = spec.prior(f"age_weight_{component}")
    name = f"age_weight_{component}"
    free = pm.ZeroSumNormal(name, sd, dims=_knots(name, at))
    height = pt.dot(spline_basis(ages, at), free) + np.log(node_widths(ages))
    return height - pt.logsumexp(height)


def _component(
    name: str, gradient: GradientForm, spec: ModelSpec, ages: np.ndarray
) -> tuple[Any, list]:
    """The ten columns of θ below the weight for one disc, and its ln P(age).

    Where diffusion shapes the spread of radii or the scatter, that takes the place of a free
    function of age.
    """
    one = np.ones(len(ages))

    def function(quantity: str, knots: FunctionKnots) -> Any:
        return _function_of_age(quantity, name, knots, spec, ages)

    def scalar(quantity: str) -> Any:
        return pm.Normal(f"{quantity}_{name}", *spec.prior(f"{quantity}_{name}"))

    mean_radius = function("radius", spec.radius)
    if isinstance(gradient, RadialDiffusion) and gradient.radius:
        radius_variance = gradient.radius_variance(ages)
    else:
        radius_variance = pt.exp(2.0 * function("log_radius_scatter", spec.radius_scatter))
    level = function("metallicity", spec.metallicity)
    if isinstance(gradient, RadialDiffusion) and gradient.scatter:
        scatter_variance = gradient.scatter_variance(ages)
    else:
        scatter_variance = pt.exp(2.0 * function("log_scatter", spec.scatter))
    columns = [
        mean_radius,
        radius_variance,
        level,
        pt.as_tensor(gradient(ages)),
        scatter_variance,
        function("alpha", spec.alpha),
        scalar("alpha_slope") * one,
        pt.exp(2.0 * scalar("log_alpha_scatter")) * one,
        function("ln_zmax", spec.zmax),
        pt.exp(2.0 * scalar("log_zmax_scatter")) * one,
    ]
    return _log_age_weight(name, spec, ages), columns


def build_model(
    data: PopulationData,
    spec: ModelSpec | None = None,
    *,
    gradient: GradientForm | None = None,
    workers: int | None = None,
    likelihood: StarLikelihood | ShardedLikelihood | None = None,
) -> pm.Model:
    """Build the population model over a sample of stars.

    Parameters
    ----------
    data : PopulationData
        The stars.
    spec : ModelSpec, optional
        The model; the default `ModelSpec` where not given.
    gradient : callable, optional
        A thin-disc gradient of your own: ages (Gyr) in, dex/kpc out, called inside the model's
        context, so that it may define parameters.
    workers : int, optional
        Threads for one likelihood evaluation.
    likelihood : StarLikelihood or ShardedLikelihood, optional
        What sums over the stars, where that is not to be made here: see
        `migrate_bayes.population.likelihood.distributed`.

    Returns
    -------
    pymc.Model
        With ``theta`` (component, age, parameter) as a deterministic variable that is not stored by
        the samplers here, and the potential ``stars``.
    """
    spec = spec or ModelSpec()
    ages = data.ages
    coords = {
        "component": list(spec.components),
        "age": ages,
        "gradient_knot": list(spec.gradient_knots),
    }
    with pm.Model(coords=coords) as model:
        model.migrate_bayes = {"spec": spec, "n_stars": data.n_stars}
        discs = {"thin": thin_gradient(spec, gradient), "thick": thick_gradient(spec)}

        fraction = pm.Beta("thick_fraction", *spec.prior("thick_fraction"))
        log_mix = [pt.log1p(-fraction), pt.log(fraction)]
        blocks = []
        for name, g in discs.items():
            log_age, columns = _component(name, g, spec, ages)
            blocks.append((log_age, columns))
        if spec.outliers:
            stray = pm.Beta("outlier_fraction", *spec.prior("outlier_fraction"))
            log_mix = [lm + pt.log1p(-stray) for lm in log_mix] + [pt.log(stray)]
            width = node_widths(ages)
            flat = pt.as_tensor(np.log(width / width.sum()))
            blocks.append((flat, [pt.as_tensor(v * np.ones(len(ages))) for v in _OUTLIER]))
        theta = pt.stack(
            [
                pt.stack([log_mix[c] + log_age, *columns], axis=-1)
                for c, (log_age, columns) in enumerate(blocks)
            ]
        )
        pm.Deterministic("gradient", theta[:, :, 4], dims=("component", "age"))
        pm.Deterministic("metallicity", theta[:, :, 3], dims=("component", "age"))
        pm.Deterministic("scatter", pt.sqrt(theta[:, :, 5]), dims=("component", "age"))
        sum_over: Any = likelihood or StarLikelihood(data.packed, workers=workers)
        pm.Potential("stars", PopulationLogLikelihood(sum_over)(theta)[0])
    model.migrate_bayes |= {"theta": theta, "likelihood": sum_over}
    return model


def theta_of(model: pm.Model) -> Any:
    """Return θ, the tensor between a model of `build_model` and its stars."""
    return model.migrate_bayes["theta"]


def likelihood_of(model: pm.Model) -> StarLikelihood:
    """Return the star likelihood, or what stands in its place, that a model hangs on."""
    return model.migrate_bayes["likelihood"]
