"""Posteriors: a star's age, the sampler (ArviZ's plots in our style), and the model's stars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from migrate_bayes.plots.curves import radius_symbol
from migrate_bayes.plots.style import BLUE, CYCLE, GREY, VERMILION, axes_of, in_style, new_figure
from migrate_bayes.population.results.diagnostics import energy_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What is drawn if it is in the posterior, with units.
SHOWN: dict[Any, str] = {
    "gradient_young": "gradient at 1 Gyr [dex/kpc]",
    "flattening_rate": "flattening rate [dex/kpc/Gyr]",
    "gradient_thick": "thick gradient [dex/kpc]",
    "sigma_G": r"$\sigma_G$ [dex/kpc]",
    "sigma_rm8": r"$\sigma_\mathrm{RM8}$ [kpc]",
    "thick_fraction": "thick fraction",
}
_FEWEST = 10  # stars of a bin
_DISCS = {"thin": BLUE, "thick": VERMILION}
_LABELS = {"feh": "[Fe/H]  [dex]", "alpha_fe": r"[$\alpha$/Fe]  [dex]"}


@in_style
def age_posterior(stars: xr.Dataset, star: int = 0, *, ax: Axes | None = None) -> Axes:
    """Draw the age posterior of a star, with its interval and its age of greatest likelihood.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors: `log_age_likelihood` (ln of likelihood times interim prior) at the nodes
        `age` (Gyr); `age_ml`, `age_lo`, `age_hi` (Gyr) are drawn if there.
    star : int
        The star's row.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> ages = np.linspace(1.0, 13.0, 49)
    >>> ln_p = -0.5 * ((ages - 5.0) / 0.8) ** 2
    >>> stars = xr.Dataset({"log_age_likelihood": (("star", "age"), ln_p[None])}, {"age": ages})
    >>> ax = mb.plots.age_posterior(stars)
    >>> x, y = ax.get_lines()[0].get_data()
    >>> print(f"{x[y.argmax()]:.1f} Gyr, area {np.trapezoid(y, x):.2f}")
    5.0 Gyr, area 1.00
    """
    names = ["log_age_likelihood", "age_ml", "age_lo", "age_hi"]
    one = stars[[name for name in names if name in stars]].isel(star=star).compute()
    ages, ln_p = one["age"].values, one["log_age_likelihood"].values
    ax = axes_of(ax, 5.6, 3.8)
    density = np.nan_to_num(np.exp(ln_p - np.nanmax(ln_p)))
    density /= np.trapezoid(density, ages)
    ax.plot(ages, density, color=BLUE)
    ax.fill_between(ages, density, color=BLUE, alpha=0.2, lw=0)
    if {"age_lo", "age_hi"} <= set(one.data_vars):
        ax.axvspan(float(one["age_lo"]), float(one["age_hi"]), color="0.9", lw=0, zorder=0)
    if "age_ml" in one:
        ax.axvline(float(one["age_ml"]), color="0.3", lw=1.0, ls="--")
    name = one["source_id"].item() if "source_id" in one.coords else star
    ax.set(xlabel="age  [Gyr]", ylabel=r"density  [Gyr$^{-1}$]", title=f"star {name}")
    ax.set(xlim=(0.0, float(ages[-1])), ylim=(0.0, None))
    return ax


@in_style
def migration(fit: xr.DataTree, *, ax: Axes | None = None) -> Axes:
    """Draw how far stars have moved from their birth radii, by age.

    Points are medians of the thin disc's stars (p > 0.5) in bins of their age under the population,
    bars their central 68%: of posterior means, which scatter less than what they are means of. The
    band is ± the diffusion of the model, the root mean square of all stars' changes.

    Parameters
    ----------
    fit : xarray.DataTree
        Groups `membership`, with `radius_change` (the form ``diffusion``), and `posterior`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> age, rng = np.linspace(1.0, 11.0, 400), np.random.default_rng(0)
    >>> moved = rng.normal(size=400) * np.sqrt(age)
    >>> names = "age_population", "radius_change", "p_thin"
    >>> stars = xr.Dataset({n: ("star", v) for n, v in zip(names, (age, moved, 0 * age + 1))})
    >>> draws = xr.Dataset({"sigma_rm8": (("chain", "draw"), np.full((2, 4), 2.8))})
    >>> fit = xr.DataTree.from_dict({"membership": stars, "posterior": draws})
    >>> mb.plots.migration(fit).get_xlabel()
    'age  [Gyr]'
    """
    stars = fit["membership"].to_dataset()[["age_population", "radius_change", "p_thin"]].load()
    age, change = stars["age_population"].values, stars["radius_change"].values
    thin = (stars["p_thin"].values > 0.5) & np.isfinite(change)
    ax = axes_of(ax, 5.6, 4.2)
    edges = np.arange(0.0, 14.1, 1.0)
    for low, high in pairwise(edges):
        some = change[thin & (age >= low) & (age < high)]
        if len(some) < _FEWEST:
            continue
        below, middle, above = np.quantile(some, [0.16, 0.5, 0.84])
        bars = [[middle - below], [above - middle]]
        ax.errorbar(0.5 * (low + high), middle, bars, fmt="o", color=BLUE, ms=4, capsize=2)
    t = np.linspace(0.0, 14.0, 200)
    diffused = float(fit["posterior"]["sigma_rm8"].mean()) * np.sqrt(t / 8.0)
    ax.fill_between(t, -diffused, diffused, color="0.88", lw=0, zorder=0)
    ax.axhline(0.0, color=GREY, lw=0.8)
    ax.set(xlabel="age  [Gyr]", ylabel=r"$R_g - R_\mathrm{birth}$  [kpc]", xlim=(0.0, 14.0))
    return ax


def _shown(group: xr.Dataset) -> list[str]:
    return [name for name in SHOWN if name in group and set(group[name].dims) == {"chain", "draw"}]


def _arviz(
    plot: str, fit: xr.DataTree, size: tuple[float, float], colours: Sequence[str], **options: Any
) -> Figure:
    """Return the figure of one of ArviZ's plots; `size` is that of a row of panels, inches."""
    import arviz_plots
    import matplotlib.pyplot as plt
    from arviz_base.labels import MapLabeller

    width, height = size
    if "var_names" in options:
        height *= -(-len(options["var_names"]) // 3)
        options |= {"labeller": MapLabeller(var_name_map={**SHOWN}), "col_wrap": 3}
    look = {"figsize": (width, height), "layout": "constrained"}
    with plt.rc_context({"axes.prop_cycle": plt.cycler(color=colours)}):
        drawn = getattr(arviz_plots, plot)(fit, backend="matplotlib", figure_kwargs=look, **options)
    made = drawn.viz["figure"].item()
    plt.close(made)  # pyplot made it, and would hold on to it
    return made


@in_style
def ranks(fit: xr.DataTree) -> Figure | None:
    """Draw how the ranks of each chain among all draws differ from uniform ones.

    ArviZ's fractional-rank Δ-ECDF of draws thinned to independence, with the p-value of a test that
    the chains agree; points that speak most against it are marked.

    Parameters
    ----------
    fit : xarray.DataTree
        With a group `posterior`.

    Returns
    -------
    matplotlib.figure.Figure or None
        None without at least four draws of any parameter of the headline.

    References
    ----------
    Säilynoja, Bürkner & Vehtari (2022), Statistics and Computing 32, 32.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> draws = np.random.default_rng(1).normal(-0.07, 0.01, (4, 100))
    >>> posterior = xr.Dataset({"gradient_young": (("chain", "draw"), draws)})
    >>> made = mb.plots.ranks(xr.DataTree.from_dict({"posterior": posterior}))
    >>> made.axes[0].get_title()
    'gradient at 1 Gyr [dex/kpc]'
    """
    posterior = fit["posterior"].to_dataset() if "posterior" in fit.children else xr.Dataset()
    names = _shown(posterior)
    if not names or posterior.sizes["draw"] < 4:
        return None
    look = {"xlabel": False, "remove_axis": False, "title": {"size": 12}}
    made = _arviz("plot_rank", fit, (8.6, 2.3), CYCLE, var_names=names, thin=True, visuals=look)
    made.supxlabel("fractional rank among all draws (one line per chain)")
    made.supylabel("ECDF − uniform")
    return made


@in_style
def energy(fit: xr.DataTree) -> Figure | None:
    """Draw the energy's distribution beside that of its steps, and each chain's BFMI.

    Parameters
    ----------
    fit : xarray.DataTree
        With the sampler's `energy` in the group `sample_stats`.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if no energy was recorded.

    References
    ----------
    Betancourt (2016), arXiv:1604.00695.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> values = np.random.default_rng(1).normal(100.0, 4.0, (4, 100))
    >>> stats = xr.Dataset({"energy": (("chain", "draw"), values)})
    >>> mb.plots.energy(xr.DataTree.from_dict({"sample_stats": stats})).axes[0].get_title()
    'BFMI'
    """
    values = energy_of(fit)
    if values is None or values.shape[1] < 2 or not np.isfinite(values).all():
        return None
    return _arviz("plot_energy", fit, (5.4, 3.4), [BLUE, VERMILION], kind="hist")


@in_style
def prior_posterior(fit: xr.DataTree) -> Figure | None:
    """Draw prior and posterior of the headline's parameters.

    Parameters
    ----------
    fit : xarray.DataTree
        With groups `prior` and `posterior`.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if the fit keeps no prior.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> rng, dims = np.random.default_rng(1), ("chain", "draw")
    >>> groups = {
    ...     name: xr.Dataset({"gradient_young": (dims, rng.normal(-0.07, sd, (2, 100)))})
    ...     for name, sd in {"prior": 0.05, "posterior": 0.01}.items()
    ... }
    >>> len(mb.plots.prior_posterior(xr.DataTree.from_dict(groups)).legends)
    1
    """
    if not {"posterior", "prior"} <= set(fit.children):
        return None
    posterior, prior = fit["posterior"].to_dataset(), fit["prior"].to_dataset()
    names = [name for name in _shown(posterior) if name in prior]
    if not names:
        return None
    look = {"var_names": names, "kind": "hist", "visuals": {"title": {"size": 12}}}
    return _arviz("plot_prior_posterior", fit, (8.6, 2.2), [GREY, BLUE], **look)


@in_style
def prior_predictive(prior: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw what the prior expects of gradient(age), [Fe/H] and [α/Fe], beside the stars.

    An abundance that no star has is left out.

    Parameters
    ----------
    prior : xarray.Dataset
        From `PopulationModel.prior_predictive`: a fit's group `prior_predictive`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> x, level = np.linspace(-1.0, 1.0, 21), np.linspace(0.5, 1.5, 5)
    >>> bands = {
    ...     f"{name}_density": (("band", name), level[:, None] * np.exp(-0.5 * x**2))
    ...     for name in ("feh", "alpha_fe")
    ... }
    >>> seen = {f"{name}_data": (name, np.exp(-0.5 * x**2)) for name in ("feh", "alpha_fe")}
    >>> curve = {"gradient": (("band", "component", "age"), np.zeros((5, 2, 3)))}
    >>> axes = {"feh": x, "alpha_fe": x, "component": ["thin", "thick"], "age": [1.0, 5.0, 9.0]}
    >>> len(mb.plots.prior_predictive(xr.Dataset(curve | bands | seen, axes)).axes)
    3
    """
    known = [name for name in _LABELS if np.nansum(prior[f"{name}_data"].values) > 0]
    made = figure or new_figure(3.5 + 3.5 * len(known), 3.5)
    axes = made.subplots(1, 1 + len(known), squeeze=False)[0]
    ages = prior["age"].values
    for name, colour in _DISCS.items():
        low2, low, mid, high, high2 = prior["gradient"].sel(component=name).values
        axes[0].fill_between(ages, low2, high2, color=colour, alpha=0.12, lw=0)
        axes[0].fill_between(ages, low, high, color=colour, alpha=0.25, lw=0)
        axes[0].plot(ages, mid, color=colour, label=f"{name} disc")
    axes[0].axhline(0.0, color="0.6", lw=0.8)
    axes[0].set(xlabel="age  [Gyr]", xlim=(0, 14))
    axes[0].set_ylabel(r"$\mathrm{d[Fe/H]}/\mathrm{d}R_\mathrm{g}$  [dex kpc$^{-1}$]")
    axes[0].legend(loc="lower left")
    for ax, name in zip(axes[1:], known, strict=True):
        x = prior[name].values
        low2, low, mid, high, high2 = prior[f"{name}_density"].values
        ax.fill_between(x, low2, high2, color=GREY, alpha=0.15, lw=0, label="prior, 95%")
        ax.fill_between(x, low, high, color=GREY, alpha=0.35, lw=0, label="prior, 68%")
        ax.plot(x, mid, color=GREY)
        seen = prior[f"{name}_data"].values
        half = 0.5 * (x[1] - x[0])
        ax.stairs(seen, np.append(x - half, x[-1] + half), color="black", label="stars")
        wide = np.flatnonzero((high > 0.02 * high.max()) | (seen > 0))
        ax.set(xlabel=_LABELS[name], ylabel=r"density  [dex$^{-1}$]")
        ax.set(xlim=x[wide[[0, -1]]], ylim=(0, 1.08 * max(high2.max(), seen.max())))
    if known:
        axes[1].legend(loc="upper left")
    return made


@in_style
def posterior_predictive(checks: xr.Dataset, *, figure: Figure | None = None) -> Figure:
    """Draw quantiles of the stars' chemistry by age and radius, over those of replicated stars.

    Points that lie outside the 95% range of the replicates are filled. An abundance that no star
    has is left out.

    Parameters
    ----------
    checks : xarray.Dataset
        From `PopulationModel.predictive`: a fit's group `predictive_check`. An attribute
        `radius` (``"rg"``, ``"r_present"``) says which the bins are of.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> dims = ("observable", "age_bin", "radius_bin", "quantile")
    >>> level = {"data": 0.0, "replicated_lo": -0.1, "replicated_hi": 0.1}
    >>> checks = xr.Dataset(
    ...     {name: (dims, np.full((1, 2, 1, 3), v)) for name, v in level.items()},
    ...     coords={
    ...         "observable": ["feh"], "quantile": [0.05, 0.5, 0.95],
    ...         "age_lo": ("age_bin", [0.0, 4.0]), "age_hi": ("age_bin", [4.0, 8.0]),
    ...         "radius_lo": ("radius_bin", [6.0]), "radius_hi": ("radius_bin", [10.0]),
    ...     },
    ... )
    >>> mb.plots.posterior_predictive(checks).axes[0].get_title()
    '$R$ = 6.0–10.0 kpc'
    """
    observables = [str(o) for o in checks["observable"].values]
    observables = [o for o in observables if checks["data"].sel(observable=o).notnull().any()]
    quantiles = [q for q in (0.05, 0.5, 0.95) if q in checks["quantile"].values]
    n = checks.sizes["radius_bin"]
    made = figure or new_figure(3.1 * n + 0.9, 2.7 * len(observables) + 0.6)
    panels = made.subplots(len(observables), n, sharex=True, sharey="row", squeeze=False)
    edges = np.append(checks["age_lo"].values, checks["age_hi"].values[-1])
    centre = 0.5 * (edges[:-1] + edges[1:])
    point: dict[str, Any] = {"ms": 4.5, "mec": "black", "mew": 0.8}
    for row, name in zip(panels, observables, strict=True):
        row[0].set_ylabel(_LABELS.get(name, name))
        for j, ax in enumerate(row):
            for q in quantiles:
                one = checks.sel(observable=name, quantile=q).isel(radius_bin=j)
                low, high = one["replicated_lo"].values, one["replicated_hi"].values
                width = np.diff(edges) * 0.92
                ax.bar(centre, high - low, width, bottom=low, color=BLUE, alpha=0.35, lw=0)
                seen = one["data"].values
                inside = (seen >= low) & (seen <= high)
                for which, face in ((inside, "white"), (~inside, VERMILION)):
                    ax.plot(centre[which], seen[which], "o", mfc=face, **point)
    symbol = radius_symbol(checks.attrs) if "radius" in checks.attrs else "R"
    for j, ax in enumerate(panels[0]):
        inner, outer = float(checks["radius_lo"][j]), float(checks["radius_hi"][j])
        ax.set_title(rf"${symbol}$ = {inner:.1f}–{outer:.1f} kpc")
    made.supxlabel("age  [Gyr]")
    handles = [
        panels[0, 0].containers[0],
        *panels[0, 0].plot([], [], "o", mfc="white", **point),
        *panels[0, 0].plot([], [], "o", mfc=VERMILION, **point),
    ]
    words = ["replicated, 95%", "stars: 5, 50, 95% of them", "stars outside"]
    made.legend(handles, words, loc="outside upper center", ncols=3)
    return made
