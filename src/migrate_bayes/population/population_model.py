"""`PopulationModel`: the hierarchical model over a sample of stars, and what a fit of it tells.

The model is ordinary PyMC down to θ[component, age, parameter] (`model.hierarchy`); below θ stands
a `Likelihood`, the sum over the stars.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import FitError
from migrate_bayes.core.parallel import one_blas_thread
from migrate_bayes.population.data import PopulationData
from migrate_bayes.population.fit_options import SamplerOptions
from migrate_bayes.population.likelihood.distributed import likelihood_on
from migrate_bayes.population.likelihood.layout import PackedStars
from migrate_bayes.population.likelihood.op import (
    Likelihood,
    PopulationLogLikelihood,
    StarLikelihood,
)
from migrate_bayes.population.likelihood.selected import Completeness, SelectedLikelihood
from migrate_bayes.population.model.hierarchy import GradientForm, hierarchy
from migrate_bayes.population.model.specification import ModelSpec
from migrate_bayes.population.results import loo, membership, predictive
from migrate_bayes.population.results.birth_radii import Birth, births_of
from migrate_bayes.population.sampling.density import PosteriorDensity
from migrate_bayes.population.sampling.posterior import draw_prior, sample
from migrate_bayes.stars import PART_SIZE

Floats = NDArray[np.float64]

#: Stars, at most, of which a fit holds ln L and replicates.
SHOWN_STARS = 1000
_REPLICATES = 100

#: A fit, or one of its groups.
Fit = xr.DataTree | xr.Dataset


class PopulationModel:
    """The population model of metallicity, radius, [α/Fe] and height against age.

    Parameters
    ----------
    data : PopulationData
        The stars.
    spec : ModelSpec, optional
        The model; the default `ModelSpec` if not given.
    gradient : callable, optional
        A thin-disc gradient of your own, in place of `spec.form`: ages in Gyr, shape (n,), in; a
        tensor of the same shape in dex/kpc out. It is called once for each model, inside the
        model's context, so it can define parameters.
    completeness : xarray.Dataset, optional
        How the survey took stars by [Fe/H] at given age and radius: ``ln_s`` on ([component], age,
        r_present, feh), up to a constant of each radius, and ``ln_s_error`` with the dimension
        direction more, if it has an error. All stars alike if not
        given. `data` is to be made `with_completeness`. See `population.likelihood.selected`.
    likelihood : Likelihood, optional
        What sums over the stars, if the sum is not to be made in this process: see
        `likelihood_on`.
    workers : int, optional
        Threads of one sum over the stars; one for each processor if not given.

    Attributes
    ----------
    pymc : pymc.Model
        The model. Its observed variable ``stars`` has ln L of all stars as its density;
        `pymc.sample_posterior_predictive` draws [Fe/H] and [α/Fe] of up to 1,000 of them.
    theta : tensor, shape (n_components, n_ages, n_theta)
        What the stars see of the model; last axis as `likelihood.theta.THETA`, then ln P, μ
        and σ² of each further class of today's radius.
    data, spec, likelihood
        As given.

    Raises
    ------
    FitError
        If the gradient's shape is wrong, or it depends on another model's random variables; or if
        `data` is made `with_completeness` and none is given.

    Examples
    --------
    >>> from migrate_bayes import PopulationModel, population_data
    >>> from migrate_bayes.mock.model_stars import simulated_stars
    >>> data = population_data(simulated_stars(500, seed=1))
    >>> PopulationModel(data)
    PopulationModel(500 stars, thin-thick, linear+deviations, 50 parameters)

    A gradient of your own that flattens exponentially:

    >>> import pymc as pm
    >>> def exponential(ages):
    ...     young = pm.Normal("young_gradient", -0.07, 0.03)
    ...     return young * pm.math.exp(-ages / pm.LogNormal("flattening_time", 2.3, 0.5))
    >>> PopulationModel(data, gradient=exponential)
    PopulationModel(500 stars, thin-thick, exponential, 45 parameters)
    """

    def __init__(
        self,
        data: PopulationData,
        spec: ModelSpec | None = None,
        *,
        gradient: GradientForm | None = None,
        completeness: xr.Dataset | None = None,
        likelihood: Likelihood | None = None,
        workers: int | None = None,
    ) -> None:
        if data.with_completeness and completeness is None:
            raise FitError(
                "these stars are made with_completeness=True, for a fit with a completeness, and "
                "none is given: they lack heights that a fit without one has. Give PopulationModel "
                "a completeness, or make them by population_data without with_completeness"
            )
        self.data, self.spec, self.workers = data, spec or ModelSpec(), workers
        self._gradient = gradient
        self._local = likelihood is None
        self.completeness = (
            None if completeness is None else Completeness.of(completeness, data.ages)
        )
        likelihood = likelihood or StarLikelihood(data.stars, workers=workers)
        self.likelihood = self.selected(likelihood, data.stars)
        self.pymc, self.theta = hierarchy(
            self.spec, data.ages, data.n_stars, gradient, levels=data.classes.level
        )
        self._shown = predictive.Replicates(
            data, stars=SHOWN_STARS, seed=0, completeness=self.completeness, measured=True
        )
        with self.pymc:
            self._observe_stars()

    def __repr__(self) -> str:
        form: str = self.spec.form
        if (own := self._gradient) is not None:
            form = getattr(own, "__name__", type(own).__name__)
        n = sum(np.size(value) for value in self.pymc.initial_point().values())
        stars = f"{self.data.n_stars:,} stars"
        return f"PopulationModel({stars}, {self.spec.name}, {form}, {n} parameters)"

    def _observe_stars(self) -> None:
        """Put the stars into the model: ln L of all, and what some of them look like."""
        of_all, shown = PopulationLogLikelihood(self.likelihood), self._shown
        measured = np.isfinite(shown.chemistry).any(axis=0)
        seen = shown.chemistry[:, measured]

        def replicate(theta: Any, like: Any, rng: Any = None, size: Any = None) -> Any:
            return shown.draw(theta, rng)[:, measured]

        def log_likelihood(stars: Any, theta: Any, like: Any) -> Any:
            return of_all(theta)[0]

        pm.CustomDist(
            "stars", self.theta, seen, random=replicate, logp=log_likelihood,
            signature="(c,k,q),(s,o)->(s,o)", observed=seen,
        )  # fmt: skip

    def selected(self, likelihood: Likelihood, stars: PackedStars) -> Likelihood:
        """Return the likelihood of `stars` as the survey took them."""
        if self.completeness is None:
            return likelihood
        return SelectedLikelihood(likelihood, self.completeness, stars)

    def _seen_by_stars(self, thetas: Floats) -> Floats:
        """Carry θ of several draws to what the kernel is called with."""
        if not isinstance(self.likelihood, SelectedLikelihood):
            return thetas
        return np.stack([self.likelihood.at_seam(theta) for theta in thetas])

    @cached_property
    def density(self) -> PosteriorDensity:
        """The log density and its gradient as a plain function; compiled at first use."""
        return PosteriorDensity(self)

    @cached_property
    def _theta_function(self) -> Any:
        # Not optimised: for some thousand draws that would take longer than the draws.
        return self.pymc.compile_fn(
            self.theta, inputs=self.pymc.free_RVs, on_unused_input="ignore", point_fn=False,
            mode="FAST_COMPILE",
        )  # fmt: skip

    def theta_draws(self, fit: Fit, *, n: int | None = None, seed: int = 0) -> NDArray[np.float64]:
        """Carry draws of the hyperparameters to θ.

        Parameters
        ----------
        fit : xarray.DataTree or xarray.Dataset
            A fit, or one of its groups `posterior` and `prior`.
        n : int, optional
            Take this many at random, without replacement; all, in order, if not given or if there
            are no more.
        seed : int

        Returns
        -------
        ndarray, shape (n, n_components, n_ages, n_theta)
        """
        some = _some_draws(_group(fit), n, seed)
        columns = [some[rv.name].transpose("sample", ...).values for rv in self.pymc.free_RVs]
        theta = self._theta_function
        return np.stack([theta(*map(np.asarray, values)) for values in zip(*columns, strict=True)])

    def _of_stars(self, fit: Fit, n: int, seed: int) -> tuple[Floats, list[Birth]]:
        """Return θ of some draws at the seam, and their coefficients of the birth radius."""
        thetas, births = self.theta_draws(fit, n=n, seed=seed), list[Birth]()
        stated = self.spec.birth_radius
        if self.spec.form == "diffusion" and self._gradient is None and stated is not None:
            some, rate = _some_draws(_group(fit), n, seed), self.spec.birth_gradient_rate or 0.0
            births = births_of(some, thetas, self.data.ages, stated, rate)
        return self._seen_by_stars(thetas), births

    def sample(
        self,
        options: SamplerOptions | None = None,
        *,
        seed: int = 0,
        attrs: dict[str, Any] | None = None,
        cores: int | None = None,
        prior_draws: int = 500,
        progressbar: bool | None = None,
        density: PosteriorDensity | None = None,
        shown: bool = True,
        **settings: Any,
    ) -> xr.DataTree:
        """Sample the posterior.

        Parameters
        ----------
        options : SamplerOptions, optional
            Method, numbers of draws and chains, scheduler. A model with a likelihood of its own
            (`likelihood`) uses that, whatever the scheduler.
        seed : int
        attrs : dict, optional
            More attributes for the tree's root.
        cores : int, optional
            For NUTS on the stars: chains run side by side, with one thread each; one for each
            processor if not given.
        prior_draws : int
            Draws of the prior kept in the tree.
        progressbar : bool, optional
            Shown on a terminal if not given.
        density : PosteriorDensity, optional
            The compiled density to use: `PosteriorDensity.over` puts other stars beneath it.
        shown : bool
            Add what ArviZ shows of the stars, of up to 1,000 of them.
        **settings
            Entries of `SamplerOptions` by name, in place of those of `options`.

        Returns
        -------
        xarray.DataTree
            Groups `posterior` (equal draws), `sample_stats` and `prior`, with units on every
            variable; with `shown` also `log_likelihood`, `posterior_predictive` (100 draws) and
            `observed_data` of some stars, for `arviz.loo`, `leave_one_out` and
            `arviz.plot_ppc_dist`. With a completeness that has an error, this is in the draws, and
            its amplitudes are `completeness_error` in `sample_stats`. The root's attributes hold
            provenance, `method`, the cost of the fit (`wall_seconds`, `mode_seconds`, `passes` over
            the stars), the worst `r_hat` and `ess_bulk` of the free parameters and, of a surrogate,
            `pareto_k` and `importance_ess`.

        Raises
        ------
        FitError
            If the density is not finite at the model's initial point.
        RecipeError
            If a setting is unknown or impossible.
        """
        chosen = SamplerOptions.of(options, settings)
        density = self.density if density is None else density
        elsewhere: AbstractContextManager[Likelihood] = nullcontext(density.likelihood)
        apart = self._local and chosen.scheduler != "threads"
        if apart:
            elsewhere = likelihood_on(self.data.stars, chosen.scheduler)
        with elsewhere as likelihood, one_blas_thread():
            over = self.selected(likelihood, self.data.stars) if apart else likelihood
            tree = sample(
                density.over(over), chosen, seed=seed, attrs=attrs, cores=cores,
                prior_draws=prior_draws, progressbar=progressbar,
            )  # fmt: skip
        return tree.assign(self._of_shown(tree, seed)) if shown else tree

    def _of_shown(self, fit: xr.DataTree, seed: int) -> dict[str, xr.DataTree]:
        """Return the groups that ArviZ shows of the stars."""
        pointwise = self.log_likelihood(fit, stars=SHOWN_STARS, seed=seed)
        posterior = fit["posterior"].to_dataset()
        some = posterior.isel(draw=slice(None, None, _step(posterior, _REPLICATES)))
        groups = predictive.drawn_chemistry(
            self._shown, self.theta_draws(some), self.data.source_id,
            chains=posterior.sizes["chain"], seed=seed,
        )  # fmt: skip
        groups["log_likelihood"] = pointwise["log_likelihood"].to_dataset()
        return {name: xr.DataTree(group) for name, group in groups.items()}

    def membership(self, fit: Fit, *, draws: int = 40, seed: int = 0) -> xr.Dataset:
        """Compute component membership and population ages of the fitted stars.

        Parameters
        ----------
        fit : xarray.DataTree or xarray.Dataset
            From `sample`, or its group `posterior`.
        draws : int
            Draws of the hyperparameters to average over.
        seed : int

        Returns
        -------
        xarray.Dataset
            On `star` (coordinate `source_id`), float32: `p_thin`, `p_thick` (and `p_outlier`),
            `p_thin_sd` (over the draws), and, in Gyr, `age_population`, `age_population_sd`,
            `age_population_lo`, `age_population_median`, `age_population_hi`. Under the form
            ``diffusion`` also, in kpc and as a star of the thin disc, `birth_radius` and
            `radius_change` with their `_sd`, for the mean birth radius that the model states.
        """
        thetas, births = self._of_stars(fit, draws, seed)
        return membership.membership(
            self.data, thetas, self.spec.components, births=births, workers=self.workers
        )

    def write_membership(
        self,
        path: str | Path,
        fit: Fit,
        *,
        draws: int = 40,
        seed: int = 0,
        part_size: int = PART_SIZE,
        overwrite: bool = False,
        attrs: dict[str, Any] | None = None,
    ) -> xr.Dataset:
        """Write membership and the whole age posterior of every fitted star, in NetCDF-4 parts.

        Parameters
        ----------
        path : path-like
            A folder, readable by `open_stars`: the variables of `membership`, and `age_posterior`
            on (star, age).
        fit, draws, seed
            As for `membership`.
        part_size : int
            Stars per part.
        overwrite : bool
            Replace a product that stands there.
        attrs : dict, optional
            Provenance for the product.

        Returns
        -------
        xarray.Dataset
            The summaries of `membership`, without the age posteriors.

        Raises
        ------
        ProductError
            If `path` exists and may not be replaced, or cannot be written.
        """
        thetas, births = self._of_stars(fit, draws, seed)
        return membership.write_membership(
            path, self.data, thetas, self.spec.components, births=births, workers=self.workers,
            part_size=part_size, overwrite=overwrite, attrs=attrs,
        )  # fmt: skip

    def predictive(
        self, fit: Fit, *, draws: int = 100, stars: int = 20_000, seed: int = 0
    ) -> xr.Dataset:
        """Compare the chemistry of the stars with replicates, in bins of age and radius.

        Parameters
        ----------
        fit, seed
            As for `membership`.
        draws : int
            Replicates, each of another draw of the hyperparameters.
        stars : int
            Stars to replicate, taken at random if there are more.

        Returns
        -------
        xarray.Dataset
            On `observable` (feh, alpha_fe), `age_bin`, `radius_bin` (thirds of the stars) and
            `quantile`: `data`, `replicated` with `replicated_lo` and `replicated_hi` (central
            95%), dex, and `tail_probability`, P(replicated > data); NaN in bins of fewer than 20
            stars. The bins' edges are coordinates.
        """
        thetas = self.theta_draws(fit, n=draws, seed=seed)
        return predictive.posterior_predictive(
            self.data, thetas, stars=stars, seed=seed, completeness=self.completeness
        )

    def prior_predictive(
        self, fit: Fit | None = None, *, draws: int = 300, stars: int = 20_000, seed: int = 0
    ) -> xr.Dataset:
        """Compute what the prior expects of gradient(age) and of the stars' chemistry.

        Parameters
        ----------
        fit : xarray.DataTree or xarray.Dataset, optional
            With a group `prior`, or draws themselves; new draws of the prior if not given.
        draws : int
            Draws of the prior.
        stars : int
            Stars of the data to make histograms of.
        seed : int

        Returns
        -------
        xarray.Dataset
            `gradient` (band, component, age), dex/kpc: quantiles over the draws. `feh_density`
            (band, feh) and `alpha_fe_density` (band, alpha_fe), 1/dex: quantiles of the density of
            observed values at each abscissa; `feh_data` and `alpha_fe_data`: the stars'
            histograms. The band coordinate is the probability.
        """
        prior = draw_prior(self.pymc, draws, seed) if fit is None else _group(fit, "prior")
        thetas, names = self.theta_draws(prior, n=draws, seed=seed), self.spec.components
        return predictive.prior_predictive(self.data, thetas, names, stars=stars, seed=seed)

    def log_likelihood(
        self, fit: Fit, *, stars: int = 5000, draws: int = 1000, seed: int = 0
    ) -> xr.DataTree:
        """Compute ln L of every draw and star, for a random subsample of stars.

        Parameters
        ----------
        fit, seed
            As for `membership`.
        stars : int
            Stars, taken at random if there are more; the same for every model of the same data.
        draws : int
            Draws, evenly spaced over each chain if there are more.

        Returns
        -------
        xarray.DataTree
            Groups `log_likelihood` (`star` on chain, draw, observation) and `posterior`, as
            `arviz.loo` and `leave_one_out` take them. The coordinate `index` is the star's place in
            the data.
        """
        posterior = _group(fit)
        some = posterior.isel(draw=slice(None, None, _step(posterior, draws)))
        thetas = self.theta_draws(some)
        every, _ = self.likelihood.per_star(thetas.mean(axis=0))
        group = loo.pointwise(
            self.data, some, self._seen_by_stars(thetas), every, stars=stars, seed=seed,
            workers=self.workers,
        )  # fmt: skip
        return xr.DataTree.from_dict({"posterior": some, "log_likelihood": group})

    def loo(self, fit: Fit, *, stars: int = 5000, draws: int = 1000, seed: int = 0) -> xr.Dataset:
        """Estimate the expected log predictive density by leave-one-out cross-validation.

        `leave_one_out` of `log_likelihood`, whose parameters these are.
        """
        return loo.leave_one_out(self.log_likelihood(fit, stars=stars, draws=draws, seed=seed))


def _step(posterior: xr.Dataset, draws: int) -> int:
    """Return of how many draws of a chain one is taken, for at most `draws` of all chains."""
    return max(1, -(-posterior.sizes["chain"] * posterior.sizes["draw"] // draws))


def _some_draws(posterior: xr.Dataset, n: int | None, seed: int) -> xr.Dataset:
    """Return `n` draws at random, without replacement, along `sample`; all, in order, if fewer."""
    flat = posterior.stack(sample=("chain", "draw"))
    if n is None or n >= flat.sizes["sample"]:
        return flat
    pick = np.random.default_rng(seed).choice(flat.sizes["sample"], size=n, replace=False)
    return flat.isel(sample=pick)


def _group(fit: Fit, group: str = "posterior") -> xr.Dataset:
    return fit[group].to_dataset() if isinstance(fit, xr.DataTree) else fit
