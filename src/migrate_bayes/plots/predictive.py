"""What the model expects: of the prior, before the stars; of replicated stars, after them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.plots.style import BLUE, GREY, VERMILION, figure, in_style

__all__ = ["posterior_predictive_figure", "prior_predictive_figure"]

_LABELS = {"feh": "[Fe/H]  [dex]", "alpha_fe": r"[$\alpha$/Fe]  [dex]"}
_DISCS = {"thin": BLUE, "thick": VERMILION}


@in_style
def prior_predictive_figure(prior: xr.Dataset) -> Any:
    """Draw what the prior expects of gradient(age), [Fe/H] and [α/Fe], beside the stars.

    Parameters
    ----------
    prior : xarray.Dataset
        From `PopulationModel.prior_predictive`: a fit's `prior_predictive` group.
    """
    made = figure(10.5, 3.5)
    axes = made.subplots(1, 3)
    ages = prior["age"].values
    for name, colour in _DISCS.items():
        band = prior["gradient"].sel(component=name)
        low2, low, mid, high, high2 = band.values
        axes[0].fill_between(ages, low2, high2, color=colour, alpha=0.12, lw=0)
        axes[0].fill_between(ages, low, high, color=colour, alpha=0.25, lw=0)
        axes[0].plot(ages, mid, color=colour, label=f"{name} disc")
    axes[0].axhline(0.0, color="0.6", lw=0.8)
    axes[0].set(
        xlabel="age  [Gyr]", xlim=(0, 14),
        ylabel=r"$\mathrm{d[Fe/H]}/\mathrm{d}R_\mathrm{g}$  [dex kpc$^{-1}$]",
    )  # fmt: skip
    axes[0].legend(loc="lower left")
    for ax, name in zip(axes[1:], _LABELS, strict=True):
        x = prior[name].values
        low2, low, mid, high, high2 = prior[f"{name}_density"].values
        ax.fill_between(x, low2, high2, color=GREY, alpha=0.15, lw=0, label="prior, 95%")
        ax.fill_between(x, low, high, color=GREY, alpha=0.35, lw=0, label="prior, 68%")
        ax.plot(x, mid, color=GREY)
        seen = prior[f"{name}_data"].values
        half = 0.5 * (x[1] - x[0])
        ax.stairs(seen, np.append(x - half, x[-1] + half), color="black", label="stars")
        wide = np.flatnonzero((high > 0.02 * high.max()) | (seen > 0))
        ax.set(
            xlabel=_LABELS[name], xlim=(x[wide[0]], x[wide[-1]]), ylabel=r"density  [dex$^{-1}$]"
        )
        ax.set_ylim(0, 1.08 * max(high2.max(), seen.max()))
    axes[1].legend(loc="upper left")
    return made


@in_style
def posterior_predictive_figure(checks: xr.Dataset) -> Any:
    """Draw quantiles of the stars' chemistry by age and radius, over those of replicates.

    Parameters
    ----------
    checks : xarray.Dataset
        From `PopulationModel.predictive`: a fit's `posterior_predictive` group.
    """
    observables = [str(o) for o in checks["observable"].values]
    quantiles = [q for q in (0.05, 0.5, 0.95) if q in checks["quantile"].values]
    n = checks.sizes["radius_bin"]
    made = figure(3.1 * n + 0.9, 2.7 * len(observables) + 0.6)
    panels = made.subplots(len(observables), n, sharex=True, sharey="row", squeeze=False)
    edges = np.append(checks["age_lo"].values, checks["age_hi"].values[-1])
    centre = 0.5 * (edges[:-1] + edges[1:])
    for row, name in zip(panels, observables, strict=True):
        row[0].set_ylabel(_LABELS.get(name, name))
        for j, ax in enumerate(row):
            here = checks.sel(observable=name).isel(radius_bin=j)
            for q in quantiles:
                one = here.sel(quantile=q)
                low, high = one["replicated_lo"].values, one["replicated_hi"].values
                ax.bar(
                    centre, high - low, np.diff(edges) * 0.92, bottom=low, color=BLUE,
                    alpha=0.35, lw=0, label="replicated, 95%" if q == quantiles[0] else None,
                )  # fmt: skip
                inside = (one["data"].values >= low) & (one["data"].values <= high)
                for which, face in ((inside, "white"), (~inside, VERMILION)):
                    ax.plot(
                        centre[which], one["data"].values[which], "o", ms=4.5, mfc=face,
                        mec="black", mew=0.8,
                    )  # fmt: skip
    for j, ax in enumerate(panels[0]):
        inner, outer = float(checks["radius_lo"][j]), float(checks["radius_hi"][j])
        ax.set_title(rf"$R$ = {inner:.1f}–{outer:.1f} kpc")
    made.supxlabel("age  [Gyr]")
    handles = [
        panels[0, 0].containers[0],
        *panels[0, 0].plot([], [], "o", ms=4.5, mfc="white", mec="black", mew=0.8),
        *panels[0, 0].plot([], [], "o", ms=4.5, mfc=VERMILION, mec="black", mew=0.8),
    ]
    words = ["replicated, 95%", "stars: 5, 50, 95% of them", "stars outside"]
    made.legend(handles, words, loc="outside upper center", ncols=3)
    return made
