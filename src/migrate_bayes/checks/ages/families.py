"""The same stars on the isochrones of every family: which is older, by how much, and why.

Differences are family − Dartmouth of the posterior medians, star by star, for stars whose age
error is below 25% in both. The mock stars are of a likely disc, on Dartmouth isochrones, as many in
each region of the Kiel diagram as in the others; what they are made with hardly matters to a
*difference* of two estimates from the same data.

Vickers, Shen & Li (2021) find their Dartmouth ages 1.8 Gyr older than the PARSEC ages of Sanders &
Das (2018) for stars in common, with different codes, data and priors. `explain` takes Dartmouth
and PARSEC through the choices that could make it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.options import AgeOptions, short_name
from migrate_bayes.checks.ages.statistics import Spread, spread

__all__ = [
    "AGE_BINS",
    "FamilyPair",
    "Setup",
    "disc_composition",
    "explain",
    "pairs",
    "sample_label",
    "setups",
]

#: Gyr, of the mean of the two ages.
AGE_BINS = (1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 14.0)
_MAX_ERROR = 0.25
_LABELS = {"m67": "M67 turn-off", "kepler": "Kepler", "harps": "HARPS"}


def sample_label(name: str) -> str:
    """Return what a sample is called in tables and figures."""
    return _LABELS.get(name, name)


def disc_composition(rng: np.random.Generator, n: int) -> tuple[NDArray, NDArray]:
    """Draw [Fe/H] ~ N(−0.15, 0.25) within −1.2…+0.4, and [α/Fe] = 0.06 − 0.15 [Fe/H] ± 0.05."""
    feh = np.clip(rng.normal(-0.15, 0.25, n), -1.2, 0.4)
    return feh, np.clip(0.06 - 0.15 * feh + rng.normal(0.0, 0.05, n), -0.15, 0.5)


@dataclass(frozen=True)
class FamilyPair:
    """One family against the first, on one sample.

    Parameters
    ----------
    family, base, sample : str
    difference : Spread
        Age − base age, Gyr.
    relative : Spread
        The same over the base age.
    by_age : list of Spread
        In `AGE_BINS`.
    """

    family: str
    base: str
    sample: str
    difference: Spread
    relative: Spread
    by_age: list[Spread]


def pairs(
    ages: Mapping[str, Mapping[str, xr.Dataset]], masks: Mapping[str, NDArray[np.bool_]]
) -> list[FamilyPair]:
    """Compare every family with the first.

    Parameters
    ----------
    ages : mapping
        Source, then sample, to the Dataset of `estimate_ages`.
    masks : mapping
        Sample to the stars that count, bool of shape (star,).
    """
    names = list(ages)
    out = []
    for family in names[1:]:
        for sample, mask in masks.items():
            one, base = ages[family][sample], ages[names[0]][sample]
            difference, mean, old = _difference(one, base, mask)
            out.append(
                FamilyPair(
                    family=short_name(family),
                    base=short_name(names[0]),
                    sample=sample,
                    difference=spread(difference),
                    relative=spread(difference / old),
                    by_age=[
                        spread(difference[(mean >= low) & (mean < high)])
                        for low, high in pairwise(AGE_BINS)
                    ],
                )
            )
    return out


def _difference(
    one: xr.Dataset, base: xr.Dataset, mask: NDArray[np.bool_], summary: str = "age_median"
) -> tuple[NDArray, NDArray, NDArray]:
    """Return one − base, their mean, and base, of the stars with good ages in both."""
    with np.errstate(invalid="ignore"):
        good = mask & (one["age_error"].values < _MAX_ERROR)
        good &= base["age_error"].values < _MAX_ERROR
    a, b = one[summary].values[good], base[summary].values[good]
    return a - b, 0.5 * (a + b), b


@dataclass(frozen=True)
class Setup:
    """Two ways to make ages, told apart: `one` on PARSEC, `base` on Dartmouth."""

    label: str
    one: AgeOptions
    base: AgeOptions
    summary: str = "age_median"


def setups(base: AgeOptions, parsec: str = "parsec", dartmouth: str = "dartmouth") -> list[Setup]:
    """Return the choices that could set Dartmouth and PARSEC apart."""
    d, p = base.but(source=dartmouth), base.but(source=parsec)
    spectrum = tuple(o for o in base.observables if o not in ("abs_g", "bp_rp"))
    paper: dict = {"method": "paper", "feh_scale": "initial"}
    return [
        Setup("the same choices for both", p, d),
        Setup(
            "age of greatest likelihood, not the median", p, d, summary="age_ml"
        ),
        Setup("both on the initial [Fe/H] scale", p.but(feh_scale="initial"),
              d.but(feh_scale="initial")),
        Setup("both by the paper's method and scale", p.but(**paper), d.but(**paper)),
        Setup("both without M_G", p.but(observables=spectrum), d.but(observables=spectrum)),
        Setup("both with a prior flat in log age", p.but(age_prior="log-flat"),
              d.but(age_prior="log-flat")),
        Setup("Dartmouth initial, PARSEC surface [Fe/H]", p, d.but(feh_scale="initial")),
        Setup("Dartmouth as the paper, PARSEC with a log-flat prior",
              p.but(age_prior="log-flat"), d.but(**paper)),
    ]  # fmt: skip


def explain(
    ages: Callable[[AgeOptions, str], xr.Dataset],
    masks: Mapping[str, NDArray[np.bool_]],
    choices: Sequence[Setup],
) -> dict[str, dict[str, Spread]]:
    """Return Dartmouth − PARSEC by set-up and sample.

    Parameters
    ----------
    ages : callable
        Choices and a sample's name to its ages.
    masks : mapping
        Sample to the stars that count.
    choices : sequence of Setup
        From `setups`.
    """
    out: dict[str, dict[str, Spread]] = {}
    for choice in choices:
        out[choice.label] = {}
        for name, mask in masks.items():
            one, base = ages(choice.one, name), ages(choice.base, name)
            difference, _, _ = _difference(one, base, mask, choice.summary)
            out[choice.label][name] = spread(-difference)
    return out
