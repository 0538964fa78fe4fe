"""One variant: its fit, the numbers that are compared, and each star's influence on them.

``laplace`` takes the posterior of a variant as Gaussian about its mode, in unconstrained
coordinates. With thousands of stars and no hierarchical scale in the form, this is right to a few
per cent of a standard deviation, and costs a mode. ``sample`` draws from the posterior as a run
does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from operator import itemgetter

import numpy as np
import xarray as xr

from migrate_bayes.compare.compare_options import CompareOptions, IsmHistory
from migrate_bayes.compare.influence import (
    Array,
    QuantityMap,
    influence,
    log_predictive,
    quantity_gradient,
)
from migrate_bayes.population.data import PopulationData, RadiusClasses
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.likelihood.op import Likelihood, StarLikelihood
from migrate_bayes.population.likelihood.selected import Completeness, SelectedLikelihood
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.population_model import PopulationModel
from migrate_bayes.population.results.diagnostics import Check, Verdict, judge
from migrate_bayes.population.sampling.density import Mode, PosteriorDensity, find_mode
from migrate_bayes.population.sampling.posterior import posterior_tree, with_errors

#: The numbers of every variant, with their units.
HEADLINE = {
    "flattening_rate": "dex / (kpc Gyr)",
    "gradient_young": "dex / kpc",
    "gradient_thick": "dex / kpc",
}
HEADLINE_MAP: QuantityMap = {name: itemgetter(name) for name in HEADLINE}
#: Ages (Gyr) at which the gradient curve is kept.
CURVE_AGES = np.arange(1.0, 12.26, 0.25)

_FEW = 5


def _churning(history: IsmHistory) -> Callable[[Mapping[str, Array]], Array]:
    """σ_RM8 (kpc): the model's own, or for the stated spread S of birth radii.

    A gradient by itself knows σ_RM8 / S alone; the model's σ_RM8 then has the prior on S in it.
    """
    if history.birth_spread is None:
        return itemgetter("sigma_rm8")
    spread = history.birth_spread
    return lambda values: values["sigma_rm8"] / values["birth_radius_spread"] * spread


class Fitter:
    """Fit variants one after another; a variant's form replaces that of `spec`.

    Models are compiled once and shared. For a few variants (`expected`), a graph that compiles at
    once and runs slowly is the quicker one.
    """

    def __init__(
        self,
        spec: ModelSpec,
        compare: CompareOptions,
        sampler: SamplerOptions,
        *,
        seed: int,
        expected: int = 1,
    ) -> None:
        self.spec, self.compare, self.sampler, self.seed = spec, compare, sampler, seed
        #: Classes of today's radius of the first variant, for all: one model serves them.
        self.classes: RadiusClasses | None = None
        self._mode = "FAST_COMPILE" if expected <= _FEW else None
        self._compiled: dict[tuple[str, bytes], PosteriorDensity] = {}
        self._first: dict[str, Mode] = {}

    def _at_mode(
        self, data: PopulationData, spec: ModelSpec, completeness: xr.Dataset | None
    ) -> tuple[PosteriorDensity, Mode]:
        """Compile, or take what was compiled and put these stars beneath it; climb."""
        model = spec.model_dump_json()
        key = (model, data.ages.tobytes() + data.classes.level.tobytes())
        if key not in self._compiled:
            compiled = PopulationModel(data, spec, completeness=completeness)
            self._compiled[key] = PosteriorDensity(compiled, mode=self._mode)
        likelihood: Likelihood = StarLikelihood(data.stars)
        if completeness is not None:
            table = Completeness.of(completeness, data.ages)
            likelihood = SelectedLikelihood(likelihood, table, data.stars)
        density = self._compiled[key].over(likelihood)
        # The same model on other ages has the same parameters, if not the same graph.
        if model in self._first:
            density.start = _approach(density, self._first[model])
        # Sharp, for the difference of two maxima may be far below the error of either.
        mode = find_mode(density, tolerance=1e-8)
        self._first.setdefault(model, mode)
        return density, mode

    def fit(
        self, data: PopulationData, form: str, completeness: xr.Dataset | None = None
    ) -> xr.DataTree:
        """Fit the stars of one variant, normalised for a completeness if one is given.

        `posterior` (draw) holds the quantities compared, `curve` (component, age) mean and sd of
        the gradient, beside `influence` (star, quantity) and `log_predictive` (star).
        """
        spec = self.spec.changed(form=form)
        at = self._at_mode(data, spec, completeness)
        predictive = log_predictive(*at, seed=self.seed)
        values, curve, columns, causes = self._one(at, data, spec, completeness, HEADLINE_MAP)
        units, psi = dict(HEADLINE), [columns]
        for history in self.compare.histories:
            name = f"sigma_rm8 ({history.label})"
            stated = {"form": "diffusion", "birth_gradient_rate": history.gradient_rate}
            churned = self.spec.changed(**stated)
            churning = {name: _churning(history)}
            at = self._at_mode(data, churned, completeness)
            draws, _, columns, of_this = self._one(at, data, churned, completeness, churning)
            causes += [cause._replace(value=f"{cause.value} of {name}") for cause in of_this]
            values |= draws
            units[name] = "kpc"
            psi.append(columns)
        posterior = xr.Dataset(
            {name: ("draw", value, {"units": units[name]}) for name, value in values.items()}
        )
        stars = xr.Dataset(
            {
                "influence": (("star", "quantity"), np.concatenate(psi, 1).astype(np.float32)),
                "log_predictive": ("star", predictive.astype(np.float32)),
            },
            coords={"source_id": ("star", data.source_id), "quantity": list(values)},
        )
        tree = xr.DataTree.from_dict({"posterior": posterior, "curve": curve, "influence": stars})
        tree.attrs.update(
            n_stars=data.n_stars, method=self.compare.method, form=form,
            model=spec.model_dump_json(), left_out=json.dumps(data.left_out),
        )  # fmt: skip
        # The chains are not kept: what they say of the fit is.
        tree.attrs.update(Verdict([*causes, *judge(tree).checks]).attrs)
        return tree

    def _one(
        self,
        at: tuple[PosteriorDensity, Mode],
        data: PopulationData,
        spec: ModelSpec,
        completeness: xr.Dataset | None,
        quantities: QuantityMap,
    ) -> tuple[dict[str, Array], xr.Dataset, Array, list[Check]]:
        density, mode = at
        _, slope = quantity_gradient(density, mode, quantities)
        columns = influence(density, mode, slope)
        if self.compare.method == "laplace":
            rng = np.random.default_rng(self.seed)
            z = rng.normal(size=(self.compare.draws, density.n))
            x = mode.vector + z @ np.linalg.cholesky(mode.covariance).T
            tree = posterior_tree(density, with_errors(density, mode, x[None], self.seed)[0])
        else:
            tree = PopulationModel(data, spec, completeness=completeness).sample(
                self.sampler, seed=self.seed, prior_draws=0, shown=False, method="auto",
                scheduler="threads",
            )  # fmt: skip
        flat = tree["posterior"].to_dataset().stack(sample=("chain", "draw"))
        named = {str(k): v.transpose("sample", ...).values for k, v in flat.data_vars.items()}
        draws = {name: take(named) for name, take in quantities.items()}
        return draws, _curve(named["gradient"], data.ages, spec), columns, judge(tree).causes


def _approach(density: PosteriorDensity, near: Mode) -> Array:
    """Go from one variant's maximum to another's, by Newton steps with the first's curvature.

    A dozen passes over the stars in place of the hundreds of a climb from afar. If the steps do
    not shrink, the starting point is returned, and the climb does the work.
    """
    x, before = near.vector, np.inf
    for _ in range(20):
        value, gradient = density(x)
        step = near.covariance @ gradient
        decrement = float(gradient @ step)
        if not np.isfinite(value) or decrement > 4.0 * before:
            return near.vector
        if decrement < 1e-9:
            break
        x, before = x + step, decrement
    return x


def _curve(gradient: Array, ages: Array, spec: ModelSpec) -> xr.Dataset:
    """Mean and sd of gradient(age), shape (draw, component, age), on ages that families share."""
    inside = CURVE_AGES[(ages[0] <= CURVE_AGES) & (ages[-1] >= CURVE_AGES)]
    at = np.apply_along_axis(lambda row: np.interp(inside, ages, row), -1, gradient)
    columns = {"mean": at.mean(axis=0), "sd": at.std(axis=0)}
    return xr.Dataset(
        {name: (("component", "age"), v, {"units": "dex / kpc"}) for name, v in columns.items()},
        coords={
            "component": list(spec.components)[: at.shape[1]],
            "age": ("age", inside, {"units": "Gyr"}),
        },
    )
