"""The hierarchical model, in ordinary PyMC, down to the seam.

`build_model` writes the hyperparameters and their priors, turns them into θ[component, age,
parameter] (see `migrate_bayes.population.kernel` for the likelihood that θ enters) and hangs the
stars below it as one potential. Anything above θ may be changed without touching the kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from migrate_bayes.population.data import PopulationData
from migrate_bayes.population.gradients import GradientForm, thin_gradient
from migrate_bayes.population.likelihood import PopulationLogLikelihood, StarLikelihood
from migrate_bayes.population.smooth import node_widths, spline_basis
from migrate_bayes.population.specification import FunctionKnots, ModelSpec

__all__ = ["UNITS", "build_model", "likelihood_of", "theta_of"]

#: Units of the posterior's variables; a name that is not here is a pure number.
UNITS = {
    "gradient_young": "dex / kpc",
    "gradient_reference": "dex / kpc",
    "gradient_thick": "dex / kpc",
    "gradient_thick_rate": "dex / (kpc Gyr)",
    "gradient_knots": "dex / kpc",
    "gradient": "dex / kpc",
    "flattening_rate": "dex / (kpc Gyr)",
    "sigma_G": "dex / kpc",
    "gradient_deviation": "dex / kpc",
    "birth_gradient": "dex / kpc",
    "birth_gradient_rate": "dex / (kpc Gyr)",
    "birth_radius_spread": "kpc",
    "sigma_rm8": "kpc",
    "metallicity_thin": "dex",
    "metallicity_thick": "dex",
    "metallicity": "dex",
    "scatter": "dex",
    "radius_thin": "kpc",
    "radius_thick": "kpc",
    "alpha_thin": "dex",
    "alpha_thick": "dex",
}

# The optional outlier component: so broad that it holds any star that belongs to no disc. Fixed,
# because a handful of such stars cannot inform it. Order as kernel.THETA, after the log weight.
_OUTLIER = (8.0, 25.0, -0.5, 0.0, 0.64, 0.1, 0.0, 0.04, 0.0, 4.0)


def _function_of_age(
    name: str, component: str, knots: FunctionKnots, spec: ModelSpec, ages: np.ndarray
) -> Any:
    """One smooth function of age: normal values at its knots, spline between."""
    at: tuple[float, ...] = getattr(knots, component)
    mean, sd = spec.prior(f"{name}_{component}")
    values = pm.Normal(f"{name}_{component}", mean, sd, shape=len(at))
    return pt.dot(spline_basis(ages, at), values)


def _log_age_weight(component: str, spec: ModelSpec, ages: np.ndarray) -> Any:
    """Log P(age | component) at the nodes: softmax of a spline, times the node width.

    The spline's knot values sum to zero, for the softmax does not see a constant.
    """
    at = getattr(spec.age_weight, component)
    _, sd = spec.prior(f"age_weight_{component}")
    free = pm.ZeroSumNormal(f"age_weight_{component}", sd, shape=len(at))
    height = pt.dot(spline_basis(ages, at), free) + np.log(node_widths(ages))
    return height - pt.logsumexp(height)


def _component(name: str, gradient: Any, spec: ModelSpec, ages: np.ndarray) -> tuple[Any, list]:
    """The ten columns of θ below the weight for one disc, and its ln P(age)."""
    one = np.ones(len(ages))

    def function(quantity: str, knots: FunctionKnots) -> Any:
        return _function_of_age(quantity, name, knots, spec, ages)

    def scalar(quantity: str) -> Any:
        return pm.Normal(f"{quantity}_{name}", *spec.prior(f"{quantity}_{name}"))

    columns = [
        function("radius", spec.radius),
        pt.exp(2.0 * function("log_radius_scatter", spec.radius_scatter)),
        function("metallicity", spec.metallicity),
        gradient,
        pt.exp(2.0 * function("log_scatter", spec.scatter)),
        scalar("alpha") * one,
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
        g_thin = thin_gradient(spec, ages, gradient)
        level = pm.Normal("gradient_thick", *spec.prior("gradient_thick"))
        g_thick = level * np.ones(len(ages))
        if spec.thick_gradient == "linear":
            rate = pm.Normal("gradient_thick_rate", *spec.prior("gradient_thick_rate"))
            g_thick = g_thick + rate * (ages - spec.reference_age)

        fraction = pm.Beta("thick_fraction", *spec.prior("thick_fraction"))
        log_mix = [pt.log1p(-fraction), pt.log(fraction)]
        blocks = []
        for name, g in (("thin", g_thin), ("thick", g_thick)):
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
        likelihood = PopulationLogLikelihood(StarLikelihood(data.packed, workers=workers))
        pm.Potential("stars", likelihood(theta)[0])
    model.migrate_bayes |= {"theta": theta, "likelihood": likelihood.likelihood}
    return model


def theta_of(model: pm.Model) -> Any:
    """Return θ, the tensor between a model of `build_model` and its stars."""
    return model.migrate_bayes["theta"]


def likelihood_of(model: pm.Model) -> StarLikelihood:
    """Return the star likelihood that a model of `build_model` hangs on."""
    return model.migrate_bayes["likelihood"]
