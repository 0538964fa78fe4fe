r"""The hierarchy above the stars, in ordinary PyMC: hyperparameters, their priors, θ.

θ[component, age, parameter] is all that the likelihood of the stars sees of a model
(`population.likelihood.kernel` states that likelihood): anything above θ may be changed without
touching the kernel.

The discs keep their names. The thick disc's mean [α/Fe] at [Fe/H] = −0.3 and mean height are
parameters, and the thin disc's lie below them at every age by a gap that is a function of age,

.. math:: g(τ) = g_\mathrm{least} + e^{γ(τ)},

so that neither can become the other, and a sample of one disc leaves the other without stars.

Every function of age is linear in a few numbers, its values at knots. A natural cubic spline
carries them to the nodes of the age grid: one matrix product in the graph, and the knots keep their
meaning and unit. The laws of R_g, of age and of the discs' shares change with today's radius, by
powers of it.

What the thin disc's metallicity gradient may be as a function of age is its *form*. Each form adds
its parameters to the PyMC model in context and returns G(age), dex/kpc, as a function of ages. The
user's own form is any callable ``form(ages) -> tensor`` that `PopulationModel` takes.

The ``diffusion`` form is what churning makes of the gradient that stars were born with.
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

All of this depends on g_birth(τ): if the gradient of the gas was steeper in the past, the same
flattening needs more churning. The history is therefore a stated part of the model,
`ModelSpec.birth_gradient_rate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import ArrayLike, NDArray
from pymc.distributions.distribution import SymbolicRandomVariable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable
from scipy.interpolate import CubicSpline

from migrate_bayes.core.errors import FitError
from migrate_bayes.population.likelihood.theta import OUTLIER
from migrate_bayes.population.model.specification import FunctionKnots, ModelSpec

Floats = NDArray[np.float64]

# Error of a deviation at a knot from one star, dex/kpc: from the curvature at the mode of mock
# surveys of 10⁴ stars. Only the sampler's efficiency depends on it.
_DEVIATION_ERROR = 0.5

# From this many stars on the law of radii has a second power of their error.
_MANY_STARS = 20_000
# Gyr in which the part of a bend that fades falls by 1/e: 5.5 of births spread by 3 kpc that
# diffuse by 3.5 kpc in 8 Gyr.
_FADING_TIME = 5.0

#: [Fe/H] at which the discs' mean [α/Fe] is a parameter: where they overlap.
ALPHA_PIVOT = -0.3

#: Ages in Gyr, shape (n,), in; a tensor of the same shape in dex/kpc out.
GradientForm = Callable[[Floats], Any]


def node_widths(ages: ArrayLike) -> Floats:
    """Return the trapezoidal width of each node of an increasing age grid, Gyr."""
    ages = np.asarray(ages, dtype=float)
    if len(ages) < 2:
        return np.ones(len(ages))
    return np.gradient(ages) * np.where(np.isin(np.arange(len(ages)), [0, len(ages) - 1]), 0.5, 1.0)


def flat_in_age(ages: ArrayLike) -> Floats:
    """Return P(node) of an age that is equally probable everywhere on the grid."""
    width = node_widths(ages)
    return width / width.sum()


def spline_basis(ages: ArrayLike, knots: ArrayLike) -> Floats:
    """Natural cubic spline through knots, linear outside them: shape (n_ages, n_knots).

    One knot gives a constant, two a straight line.
    """
    ages, knots = np.asarray(ages, dtype=float), np.asarray(knots, dtype=float)
    if len(knots) == 1:
        return np.ones((len(ages), 1))
    if len(knots) == 2:
        u = ((ages - knots[0]) / (knots[1] - knots[0]))[:, None]
        return np.concatenate([1 - u, u], axis=1)
    spline = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")
    inside = np.clip(ages, knots[0], knots[-1])
    return spline(inside) + (ages - inside)[:, None] * spline(inside, 1)


def deviation_basis(ages: ArrayLike, knots: ArrayLike) -> Floats:
    """Departures from a straight line over the knots: shape (n_ages, n_knots - 2).

    The columns are splines whose values at the knots are orthonormal and orthogonal to a constant
    and to age: independent standard normal coefficients are independent
    deviations at the knots, less their own straight-line fit. So the coefficient of the linear
    trend remains the least-squares slope of the whole curve over the knots.
    """
    knots = np.asarray(knots, dtype=float)
    line = np.stack([np.ones(len(knots)), knots], axis=1)
    rest = np.linalg.svd(line, full_matrices=True)[0][:, 2:]
    return spline_basis(ages, knots) @ rest


def _line(spec: ModelSpec, level: str, rate: str | None = None) -> GradientForm:
    """Straight line in age, of parameters of these names; a constant without a rate."""
    at_reference = pm.Normal(level, *spec.prior(level))
    if rate is None:
        return lambda ages: at_reference * np.ones(len(ages))
    slope = pm.Normal(rate, *spec.prior(rate))
    return lambda ages: at_reference + slope * (ages - spec.reference_age)


def _line_and_deviations(spec: ModelSpec, n_stars: int) -> GradientForm:
    """Add deviations d_j ~ N(0, σ_G) at the knots, less their own straight-line fit.

    The sampler sees v_j = d_j √(1/σ_G² + 1/l²), with l about the error that the stars leave on d_j.
    The posterior of v_j has unit width whatever σ_G, so there is no funnel: d_j/σ_G alone avoids
    the funnel of few stars only, and d_j that of many stars only. l is a coordinate and no prior:
    any value gives the same posterior.
    """
    line = _line(spec, "gradient_reference", "flattening_rate")
    sigma = pm.HalfNormal("sigma_G", spec.prior("sigma_G")[1])
    informed = _DEVIATION_ERROR / np.sqrt(max(n_stars, 1))
    stretch = pt.sqrt(1.0 + (sigma / informed) ** 2)
    pm.modelcontext(None).add_coord("deviation", range(len(spec.gradient_knots) - 2))
    v = pm.Normal("deviation_G", 0.0, stretch, dims="deviation")
    deviation = sigma / stretch * v
    at_knots = deviation_basis(spec.gradient_knots, spec.gradient_knots)
    pm.Deterministic("gradient_deviation", pt.dot(at_knots, deviation), dims="gradient_knot")

    def gradient(ages: Floats) -> Any:
        return line(ages) + pt.dot(deviation_basis(ages, spec.gradient_knots), deviation)

    return gradient


def _free(spec: ModelSpec) -> GradientForm:
    prior = spec.prior("gradient_reference")
    values = pm.Normal("gradient_knots", *prior, dims="gradient_knot")
    return lambda ages: pt.dot(spline_basis(ages, spec.gradient_knots), values)


class RadialDiffusion:
    """The ``diffusion`` form: adds its parameters to the PyMC model in context.

    `scatter` and `radius` say whether the widening of [Fe/H] at given radius and of the radii are
    part of the model, by `ModelSpec.diffusion_widens`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.now = pm.Normal("birth_gradient", *spec.prior("birth_gradient"))
        self.rate: Any = spec.birth_gradient_rate
        if self.rate is None:
            self.rate = pm.Normal("birth_gradient_rate", *spec.prior("birth_gradient_rate"))
        # Log-normal: with S near 0 the equations say nothing, and no disc is so narrow.
        self.spread = pm.LogNormal("birth_radius_spread", *spec.prior("birth_radius_spread"))
        self.sigma = pm.HalfNormal("sigma_rm8", spec.prior("sigma_rm8")[1])
        self.scatter = "scatter" in spec.diffusion_widens
        if self.scatter:
            # Of the gas: 0.07 dex within a factor 1.8.
            prior = spec.prior("log_birth_scatter")
            self.birth_scatter = pm.math.exp(pm.Normal("log_birth_scatter", *prior))
        self.radius = "radius" in spec.diffusion_widens

    def birth_gradient(self, ages: Floats) -> Any:
        """Gradient of the gas when stars of these ages were born, dex/kpc."""
        return self.now + self.rate * np.asarray(ages)

    def diffused(self, ages: Floats) -> Any:
        """Variance D² of R_g − R_b, kpc²."""
        return self.sigma**2 * np.asarray(ages) / 8.0

    def __call__(self, ages: Floats) -> Any:
        """Gradient of [Fe/H] against today's radius, dex/kpc."""
        return self.birth_gradient(ages) * self.spread**2 / self.radius_variance(ages)

    def radius_variance(self, ages: Floats) -> Any:
        """Variance of today's radii, kpc²."""
        return self.spread**2 + self.diffused(ages)

    def scatter_variance(self, ages: Floats) -> Any:
        """Variance of [Fe/H] at given radius, dex²; if `scatter`."""
        return self.birth_scatter**2 + self.migrant_variance(ages)

    def migrant_variance(self, ages: Floats) -> Any:
        """Variance that migrants add to [Fe/H] at given radius, dex²."""
        share = self.spread**2 * self.diffused(ages) / self.radius_variance(ages)
        return self.birth_gradient(ages) ** 2 * share


# What today's radius changes: the odds of the thick disc, and the slope of ln P(age) of the thin.
_THICK, _OLD = ("thick_tilt", "thick_bend"), ("age_tilt", "age_bend")

_FORMS: dict[str, Callable[[ModelSpec, int], GradientForm]] = {
    "constant": lambda spec, _: _line(spec, "gradient_reference"),
    "linear": lambda spec, _: _line(spec, "gradient_reference", "flattening_rate"),
    "linear+deviations": _line_and_deviations,
    "free": lambda spec, _: _free(spec),
    "diffusion": lambda spec, _: RadialDiffusion(spec),
}


def _strangers(tensor: Any, model: pm.Model) -> list[str]:
    """Names of the random variables that a tensor depends on and that `model` does not have."""
    random, own = RandomVariable | SymbolicRandomVariable, set(model.basic_RVs)
    found = [v for v in ancestors([tensor], blockers=own) if v.owner and v not in own]
    return sorted(v.name or "without a name" for v in found if isinstance(v.owner.op, random))


def _evaluated_once(form: GradientForm, ages: Floats) -> GradientForm:
    """Call a user's form once, on the union of the ages, and look its values up from then on."""
    union = np.unique(ages)
    values = pt.as_tensor(form(union))
    if values.ndim != 1 or values.type.shape[0] not in (None, len(union)):
        raise FitError(
            "a gradient function must return one value in dex/kpc for each age it is given, as an "
            f"array of one dimension; yours gave {values.ndim} dimensions of shape "
            f"{values.type.shape} for {len(union)} ages"
        )
    if names := _strangers(values, pm.modelcontext(None)):
        raise FitError(
            "the gradient depends on random variables that are not of this model: "
            f"{', '.join(names)}. A gradient function is called once for each model and has to "
            "define its variables then, not keep those of an earlier model"
        )
    return lambda wanted: values[np.searchsorted(union, wanted)]


def thin_gradient(
    spec: ModelSpec, ages: Floats, n_stars: int, form: GradientForm | None = None
) -> GradientForm:
    """Add the thin disc's gradient, or the user's own `form` of it, to the model in context.

    Registers ``gradient_young`` and, if the form has no such parameter, ``flattening_rate`` (the
    least-squares slope over the gradient knots).
    """
    knots, young = np.asarray(spec.gradient_knots), np.array([spec.young_age])
    if form is None:
        gradient = _FORMS[spec.form](spec, n_stars)
    else:
        gradient = _evaluated_once(form, np.concatenate([ages, knots, young]))
    pm.Deterministic("gradient_young", pt.as_tensor(gradient(young))[0])
    if "flattening_rate" not in pm.modelcontext(None).named_vars:
        centred = knots - knots.mean()
        weights = centred / (centred**2).sum()
        pm.Deterministic("flattening_rate", pt.dot(weights, gradient(knots)))
    return gradient


def walk_covariance(at: ArrayLike, sd: float, change: float, reference: float) -> Floats:
    """Prior covariance of a function's values at ages, shape (n, n).

    The value at the reference age has the standard deviation `sd`; from there the function walks
    at random, to either side, by `change` in the square root of a Gyr.
    """
    since = np.asarray(at, dtype=float) - reference
    same_side = np.sign(since)[:, None] == np.sign(since)
    shared = np.minimum(np.abs(since)[:, None], np.abs(since))
    return sd**2 + change**2 * np.where(same_side, shared, 0.0)


def _function_of_age(
    name: str,
    prior: tuple[float, ...],
    at: tuple[float, ...],
    ages: Floats,
    reference: float,
    *,
    above: Any = 0.0,
) -> Any:
    """One smooth function of age: values at the knots `at` (Gyr), a spline in between.

    `above` is taken from the prior mean: the prior is then that of the function with `above` added.
    """
    mean, sd, change = prior
    mean = mean - above
    dim = f"{name}_knot"
    pm.modelcontext(None).add_coord(dim, list(at))
    covariance = walk_covariance(at, sd, change, reference)
    values = (
        pm.MvNormal(name, mean * np.ones(len(at)), covariance, dims=dim)
        if len(at) > 1
        else pm.Normal(name, mean, np.sqrt(covariance[0, 0]), dims=dim)
    )
    return pt.dot(spline_basis(ages, at), values)


def _powers(spec: ModelSpec, levels: Floats | None, n_stars: int) -> Floats:
    """Return the powers of today's radius of each class, shape (n_classes, n_powers).

    There is one class, and no power, if the law of radii is one for all stars; so it is if
    diffusion states their spread.
    """
    stated = spec.form == "diffusion" and "radius" in spec.diffusion_widens
    if levels is None or len(levels) == 1 or stated or not spec.radius_by_place:
        return np.empty((1, 0))
    return np.stack([levels, levels**2], axis=1)[:, : 2 if n_stars >= _MANY_STARS else 1]


def _by_place(names: tuple[str, str], spec: ModelSpec, powers: Floats) -> Any:
    """Add the change of a number with today's radius; return it for each class, (n_classes,)."""
    used = [pm.Normal(name, *spec.prior(name)) for name in names[: powers.shape[1]]]
    return pt.dot(powers, pt.stack(used)) if used else np.zeros(len(powers))


def _component(
    disc: str,
    gradient: GradientForm,
    spec: ModelSpec,
    ages: Floats,
    powers: Floats,
    alpha: Any,
    height: Any,
    by_place: Any,
) -> tuple[list, list, Any]:
    """Return ln P(age), μ and σ² of one disc, the columns of θ after these, and its mean age.

    The first three have shape (n_classes, n_ages); `powers` are of `_powers`, `by_place` what each
    class of today's radius adds to the slope of ln P(age).

    `alpha` and `height` are the disc's mean [α/Fe] at `ALPHA_PIVOT` and mean height. If diffusion
    shapes the spread of radii or the scatter, it replaces a free function of age. P(age) at the
    nodes is the softmax of a spline, times the node width.
    """
    one = np.ones(len(ages))

    def function(quantity: str, knots: FunctionKnots) -> Any:
        name = f"{quantity}_{disc}"
        return _function_of_age(
            name, spec.prior(name), getattr(knots, disc), ages, spec.reference_age
        )

    def scalar(quantity: str) -> Any:
        return pm.Normal(f"{quantity}_{disc}", *spec.prior(f"{quantity}_{disc}"))

    def variance(quantity: str, knots: FunctionKnots) -> Any:
        return pt.exp(2.0 * function(quantity, knots))

    churned = gradient if isinstance(gradient, RadialDiffusion) else None
    spreading = churned if churned and churned.radius else None
    alpha_slope = scalar("alpha_slope")
    mean, spread = function("radius", spec.radius), "log_radius_scatter"
    width = None if spreading else 2.0 * function(spread, spec.radius_scatter)
    if powers.shape[1]:
        names = ("tilt", "bend")[: powers.shape[1]]
        mean += pt.dot(powers, pt.stack([function(f"radius_{n}", spec.radius_tilt) for n in names]))
        widths = [function(f"{spread}_{n}", spec.radius_tilt) for n in names]
        width += 2.0 * pt.dot(powers, pt.stack(widths))
    variances = spreading.radius_variance(ages) if spreading else pt.exp(width)
    columns = [
        function("metallicity", spec.metallicity),
        pt.as_tensor(gradient(ages)),
        churned.scatter_variance(ages)
        if churned and churned.scatter
        else variance("log_scatter", spec.scatter),
        alpha - alpha_slope * ALPHA_PIVOT,
        alpha_slope * one,
        pt.exp(2.0 * scalar("log_alpha_scatter")) * one,
        height,
        variance("log_height_scatter", spec.height_scatter),
    ]
    skew = spec.skewness if disc == "thin" else None
    for name in ("skewness_thin", "skewness_tilt_thin"):
        if skew:
            law = _function_of_age(name, spec.prior(name), skew, ages, spec.reference_age)
            columns.append(law * pt.as_tensor(columns[2]) ** 1.5)
        else:
            columns.append(0.0 * one)
    columns.append(float(spec.skewness is not None) * one)
    # The spline's knot values sum to zero: the softmax does not see a constant.
    name, at = f"age_weight_{disc}", getattr(spec.age_weight, disc)
    tilt, sd = spec.prior(name)
    pm.modelcontext(None).add_coord(f"{name}_knot", list(at))
    values = pm.ZeroSumNormal(name, sd, dims=f"{name}_knot")
    spline = pt.dot(spline_basis(ages, at), values)
    log_age = spline + tilt * ages + np.log(node_widths(ages))
    mean_age = pt.dot(pt.special.softmax(log_age, axis=0), ages)
    log_age += pt.as_tensor(by_place)[:, None] * (ages - spec.reference_age)
    log_age -= pt.logsumexp(log_age, axis=1, keepdims=True)
    shape = len(powers), len(ages)
    laws = [log_age, *(pt.broadcast_to(law, shape) for law in (mean, variances))]
    return laws, columns, mean_age


def _ordered(
    quantity: str, least: float, knots: FunctionKnots, spec: ModelSpec, ages: Floats
) -> tuple[Any, Any]:
    """Return the mean of a quantity of the thin disc and of the thick one, which lies above it.

    The parameters are the gap and what is left of the thick disc's mean without the gap at the
    reference age, in effect the thin disc's, which any sample knows well. The thick disc's itself,
    that a sample without one does not know, would be tied to each value of the gap by a thin and
    curved ridge. The prior is on the thick disc's mean.
    """
    gap, reference = f"log_{quantity}_gap", spec.reference_age
    both = np.append(ages, reference)
    excess = pt.exp(_function_of_age(gap, spec.prior(gap), knots.thin, both, reference))
    apart, at_reference = least + excess[:-1], least + excess[-1]
    name = f"{quantity}_thick"
    below = _function_of_age(
        f"{quantity}_below", spec.prior(name), knots.thick, ages, reference, above=at_reference
    )
    model = pm.modelcontext(None)
    model.add_coord(f"{name}_knot", list(knots.thick))
    at_knots = model[f"{quantity}_below"] + at_reference
    pm.Deterministic(name, at_knots, dims=f"{name}_knot")
    thick = below + at_reference
    return thick - apart, thick


def _bends(spec: ModelSpec, ages: Floats) -> tuple[list, list]:
    """Add what the gradient changes by at each knot of the profile, b + f (exp(-Δτ / T) - 1).

    Stars that have moved come from both sides of a bend: with age it fades. Δτ is the age less the
    reference age, T is `_FADING_TIME`. θ is linear in b and f; a rate of fading, common to all
    bends, gave a posterior of two maxima. Returns columns of θ, those of the thin disc and those of
    the others, which have no bend.
    """
    if not spec.bends:
        return [], []
    pm.modelcontext(None).add_coord("profile_knot", [radius for radius, _ in spec.bends])
    change = pm.Normal("profile_bend", *spec.prior("profile_bend"), dims="profile_knot")
    fading = pm.Normal("profile_fading", *spec.prior("profile_fading"), dims="profile_knot")
    left = np.exp((spec.reference_age - ages) / _FADING_TIME) - 1.0
    bends = enumerate(spec.bends)
    thin = [v for j, (r, w) in bends for v in (change[j] + fading[j] * left, r, w)]
    others = [v for r, w in spec.bends for v in (0.0, r, w)]
    n = float(len(spec.bends))
    return [*thin, n], [*others, n]


def hierarchy(
    spec: ModelSpec,
    ages: Floats,
    n_stars: int,
    gradient: GradientForm | None = None,
    *,
    levels: Floats | None = None,
) -> tuple[pm.Model, Any]:
    """Write a population model in PyMC, without the stars.

    `n_stars` sets a coordinate of the sampler, and whether laws have a second power of today's
    radius. `levels` are those of `RadiusClasses`; there is one class if not given. Returns the
    model and θ, shape (n_components, n_ages, n_theta): last axis as `likelihood.theta.THETA`, then
    ln P, μ and σ² of each further class, and b, r and w of each bend with their number.
    """
    knots = list(spec.gradient_knots)
    coords = {
        "component": list(spec.components),
        "disc": ["thin", "thick"],
        "age": ages,
        "gradient_knot": knots,
    }
    with pm.Model(coords=coords) as model:
        thick_rate = "gradient_thick_rate" if spec.thick_gradient == "linear" else None
        thin = thin_gradient(spec, ages, n_stars, gradient)
        thick = _line(spec, "gradient_thick", thick_rate)
        fraction = pm.Beta("thick_fraction", *spec.prior("thick_fraction"))
        powers = _powers(spec, levels, n_stars)
        odds = pm.math.logit(fraction) + _by_place(_THICK, spec, powers)
        log_mix = [-pt.softplus(odds), -pt.softplus(-odds)]
        ages_by_place = _by_place(_OLD, spec, powers), np.zeros(len(powers))
        alphas = _ordered("alpha", spec.least_alpha_gap, spec.alpha, spec, ages)
        heights = _ordered("height", spec.least_height_gap, spec.height, spec, ages)
        discs = zip(("thin", "thick"), (thin, thick), alphas, heights, ages_by_place, strict=True)
        made = [
            _component(name, gradient, spec, ages, powers, *further)
            for name, gradient, *further in discs
        ]
        blocks, mean_age = [of_disc[:2] for of_disc in made], [of_disc[2] for of_disc in made]
        if spec.outliers:
            stray = pm.Beta("outlier_fraction", *spec.prior("outlier_fraction"))
            log_mix = [*(mix + pt.log1p(-stray) for mix in log_mix), pt.log(stray)]
            one = np.ones((len(powers), len(ages)))
            laws = [np.log(flat_in_age(ages)) * one, OUTLIER[0] * one, OUTLIER[1] * one]
            blocks.append((laws, [v * one[0] for v in OUTLIER[2:]]))
        cubes = []
        of_thin, of_others = _bends(spec, ages)
        bends = [of_thin, *[of_others] * (len(blocks) - 1)]
        for mix, (laws, columns), bent in zip(log_mix, blocks, bends, strict=True):
            law = pt.stack([mix[..., None] + laws[0], *laws[1:]], axis=-1)
            further = law[1:].transpose(1, 0, 2).reshape((len(ages), 3 * (len(powers) - 1)))
            columns = pt.stack(columns, axis=-1)
            of_profile = [pt.as_tensor(v * np.ones(len(ages)))[:, None] for v in bent]
            cubes.append(pt.concatenate([law[0], columns, further, *of_profile], axis=-1))
        theta = pt.stack(cubes)
        pm.Deterministic("mean_age", pt.stack(mean_age), dims="disc")
        pm.Deterministic("alpha", pt.stack(alphas), dims=("disc", "age"))
        pm.Deterministic("gradient", theta[:, :, 4], dims=("component", "age"))
        pm.Deterministic("metallicity", theta[:, :, 3], dims=("component", "age"))
        pm.Deterministic("scatter", pt.sqrt(theta[:, :, 5]), dims=("component", "age"))
    return model, theta
