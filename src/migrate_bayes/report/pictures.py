"""The figures as they stand on the page: PNG, what each shows in words, and its caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from migrate_bayes.report.columns import StarColumns
from migrate_bayes.report.figures import (
    ComparisonPanel,
    chemistry_figure,
    comparison_figure,
    energy_figure,
    gradient_figure,
    kiel_figure,
    png_base64,
    posterior_predictive_figure,
    prior_figure,
    prior_predictive_figure,
    radial_figure,
    rank_figure,
)

__all__ = ["Picture", "reference_pictures", "result_pictures", "sampling_pictures", "star_pictures"]


@dataclass(frozen=True)
class Picture:
    """A figure on the page: PNG in base64, what it shows, and a caption."""

    png: str
    alt: str
    caption: str
    wide: bool = False


def _picture(made: Any, alt: str, caption: str, *, wide: bool = False) -> list[Picture]:
    return [] if made is None else [Picture(png_base64(made), alt, caption, wide)]


def result_pictures(
    fit: xr.DataTree | None,
    baseline: xr.Dataset | None,
    thick_baseline: xr.Dataset | None,
    truth: Mapping[str, float] | None,
    c: StarColumns,
    radius: str,
) -> list[Picture]:
    """The gradient against age, and the stars it comes from."""
    pictures = []
    if fit is not None or baseline is not None:
        pictures += _picture(
            gradient_figure(fit, baseline, truth, thick_baseline=thick_baseline),
            "Metallicity gradient against stellar age",
            "Metallicity gradient against age. "
            + ("Bands hold 68% and 95% of the hierarchical posterior. " if fit is not None else "")
            + "Points are the baseline's age bins: horizontal bars the 68% interval of "
            "the error-expanded ages, vertical bars 1σ. Age errors mix neighbouring bins; the "
            "hierarchical model allows for them.",
            wide=True,
        )
    if c.any_of(c.radius, c.feh, c.age):
        edges = np.arange(1.0, 12.26, 1.25)
        if baseline is not None:
            edges = np.append(baseline["age_lo"].values, baseline["age_hi"].values[-1])
        pictures += _picture(
            radial_figure(
                c.radius, c.feh, c.age, edges, weight=c.p_thin, baseline=baseline, fit=fit,
                symbol="R" if radius == "r_present" else r"R_\mathrm{g}",
            ),
            "Metallicity against Galactocentric radius in bins of age",
            "[Fe/H] against radius by maximum-likelihood age"
            + (", stars weighted by P(thin disc)" if c.p_thin is not None else "")
            + ("; the hierarchical line is at the bin's centre." if fit is not None else "."),
            wide=True,
        )  # fmt: skip
    return pictures


def star_pictures(c: StarColumns) -> list[Picture]:
    """Chemistry and Kiel diagram."""
    pictures = []
    if c.any_of(c.feh, c.alpha_fe):
        pictures += _picture(
            chemistry_figure(c.feh, c.alpha_fe, c.p_thin),
            "Alpha enhancement against metallicity",
            "Chemistry of the selected stars. Dashed: the paper's division of the discs, min(0.15, "
            "0.1 − 0.2 [Fe/H]); dotted: ±0.1. The hierarchical model does not use these lines.",
        )
    if c.any_of(c.teff, c.logg, c.age):
        pictures += _picture(
            kiel_figure(c.teff, c.logg, c.age),
            "Kiel diagram coloured by age",
            "Kiel diagram of the selected stars, by maximum-likelihood age.",
        )
    return pictures


def reference_pictures(panels: Sequence[ComparisonPanel], start: str = "") -> list[Picture]:
    """Our columns against published ones; `start` words where the lower row begins."""
    caption = "Ours against the published value of the same star; the line is equality."
    if start:
        caption += f" Below, what we find {start}."
    alt = "Our orbits against published ones"
    return _picture(comparison_figure(panels), alt, caption, wide=True)


def sampling_pictures(fit: xr.DataTree | None) -> list[Picture]:
    """Ranks, prior against posterior, energy."""
    if fit is None:
        return []
    return [
        *_predictive_pictures(fit),
        *_picture(
            rank_figure(fit), "Rank histograms by chain",
            "Ranks of each chain among all draws: flat, within the grey band, where chains agree.",
            wide=True,
        ),
        *_picture(
            prior_figure(fit), "Prior and posterior", "What the data added to the prior.", wide=True
        ),
        *_picture(
            energy_figure(fit), "Energy of the sampler",
            "Energy and its change from draw to draw: alike where the sampler moves freely.",
        ),
    ]  # fmt: skip


def _predictive_pictures(fit: xr.DataTree) -> list[Picture]:
    """What the model expects, after the stars and before them."""
    pictures = []
    if "posterior_predictive" in fit.children:
        pictures += _picture(
            posterior_predictive_figure(fit["posterior_predictive"].to_dataset()),
            "Quantiles of metallicity and alpha enhancement, of the stars and replicated",
            "Posterior predictive check: 5, 50 and 95% quantiles of the stars (points) in bins of "
            "age and radius, over the 95% range of the same quantiles of replicated stars, which "
            "keep age likelihood, radius and height. Filled where the stars lie outside.",
            wide=True,
        )
    if "prior_predictive" in fit.children:
        pictures += _picture(
            prior_predictive_figure(fit["prior_predictive"].to_dataset()),
            "What the prior expects of the gradient and of the chemistry",
            "Prior predictive check: gradient against age by the prior alone (68% and 95%), and "
            "the distributions of [Fe/H] and [α/Fe] that it expects, beside the stars'. The prior "
            "should hold the stars well inside it, and little that no disc could be.",
            wide=True,
        )
    return pictures
