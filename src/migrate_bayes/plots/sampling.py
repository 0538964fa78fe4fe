"""How the sampler did: rank histograms, energies, and what the data added to the prior."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    figure,
    in_style,
)
from migrate_bayes.population.results.diagnostics import energy_of, missing_information

__all__ = ["energy_figure", "prior_figure", "rank_figure"]

_CHAINS = (BLUE, VERMILION, GREEN, ORANGE, GREY)
#: What is drawn where it is in the posterior, with units.
SHOWN = {
    "gradient_young": "gradient at 1 Gyr [dex/kpc]",
    "flattening_rate": "flattening rate [dex/kpc/Gyr]",
    "gradient_thick": "thick gradient [dex/kpc]",
    "sigma_G": r"$\sigma_G$ [dex/kpc]",
    "sigma_rm8": r"$\sigma_\mathrm{RM8}$ [kpc]",
    "thick_fraction": "thick fraction",
}


def _shown(group: xr.Dataset) -> list[str]:
    return [name for name in SHOWN if name in group and set(group[name].dims) == {"chain", "draw"}]


def _panels(names: list[str], height: float) -> tuple[Any, list[Any]]:
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    made = figure(8.6, height * rows)
    panels = list(made.subplots(rows, columns, squeeze=False).ravel())
    for ax in panels[len(names) :]:
        ax.set_axis_off()
    return made, panels[: len(names)]


@in_style
def rank_figure(fit: xr.DataTree) -> Any:
    """Draw histograms of each chain's ranks among all draws: flat where the chains agree.

    The band is where 95% of independent draws would keep a bar. Returns None without draws.
    """
    posterior = fit["posterior"].to_dataset() if "posterior" in fit.children else xr.Dataset()
    names = _shown(posterior)
    if not names:
        return None
    made, panels = _panels(names, 2.3)
    for name, ax in zip(names, panels, strict=True):
        draws = posterior[name].transpose("chain", "draw").values
        n_chains, n_draws = draws.shape
        ranks = np.argsort(np.argsort(draws, axis=None)).reshape(draws.shape)
        bins = max(min(20, n_draws // 10), 2)
        edges = np.linspace(0, draws.size, bins + 1)
        share = 1 / bins
        expected, sd = n_draws * share, np.sqrt(n_draws * share * (1 - share))
        ax.axhspan(expected - 1.96 * sd, expected + 1.96 * sd, color="0.9", lw=0)
        for chain in range(n_chains):
            counts, _ = np.histogram(ranks[chain], edges)
            ax.stairs(counts, edges, color=_CHAINS[chain % len(_CHAINS)], lw=1.1)
        ax.set_ylim(0, expected + 6 * sd)
        ax.set_xlim(0, draws.size)
        ax.set_title(SHOWN[name])
        ax.tick_params(labelbottom=False, which="both", bottom=False, top=False)
    made.supxlabel("rank among all draws (one line per chain)")
    made.supylabel("draws")
    return made


@in_style
def energy_figure(fit: xr.DataTree) -> Any:
    """Draw the energy's distribution against that of its steps; None where it was not recorded."""
    energy = energy_of(fit)
    if energy is None or energy.shape[1] < 2 or not np.isfinite(energy).all():
        return None
    made = figure(4.6, 3.4)
    ax = made.add_subplot()
    marginal = (energy - energy.mean(axis=1, keepdims=True)).ravel()
    steps = np.diff(energy, axis=1).ravel()
    low, high = np.percentile(np.concatenate([marginal, steps]), [0.1, 99.9])
    edges = np.linspace(low, high, 41)
    for values, colour, label in (
        (marginal, BLUE, r"$E - \langle E\rangle$"),
        (steps, VERMILION, r"$\Delta E$ per draw"),
    ):
        ax.hist(values, edges, density=True, histtype="stepfilled", color=colour, alpha=0.25)
        ax.hist(values, edges, density=True, histtype="step", color=colour, label=label)
    lowest = np.min(missing_information(energy))
    ax.set(xlabel="energy", ylabel="density", title=f"lowest BFMI of the chains: {lowest:.2f}")
    ax.legend()
    return made


@in_style
def prior_figure(fit: xr.DataTree) -> Any:
    """Draw prior and posterior of the headline parameters; None where the fit keeps no prior."""
    if not {"posterior", "prior"} <= set(fit.children):
        return None
    posterior, prior = fit["posterior"].to_dataset(), fit["prior"].to_dataset()
    names = [name for name in _shown(posterior) if name in prior]
    if not names:
        return None
    made, panels = _panels(names, 2.2)
    for name, ax in zip(names, panels, strict=True):
        for values, colour, label in (
            (prior[name].values.ravel(), GREY, "prior"),
            (posterior[name].values.ravel(), BLUE, "posterior"),
        ):
            ax.hist(
                values, 40, density=True, histtype="stepfilled", color=colour, alpha=0.35,
                label=label,
            )  # fmt: skip
        ax.set_yscale("log")
        ax.set_xlabel(SHOWN[name])
        ax.tick_params(which="both", left=False, right=False, labelleft=False)
    panels[0].legend(loc="upper right")
    made.supylabel("density (log)")
    return made
