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

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.samples import good_age
from migrate_bayes.checks.ages.statistics import Spread, spread, spread_by_bin
from migrate_bayes.isochrones import AgeOptions

#: Gyr, of the mean of the two ages.
AGE_BINS = (1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 14.0)
_LABELS = {"m67": "M67 turn-off", "kepler": "Kepler", "harps": "HARPS"}

Ages = Callable[[AgeOptions, str], xr.Dataset]  # choices and a sample's name to its ages
Masks = Mapping[str, NDArray]  # sample to the stars that count, bool of shape (star,)


def sample_label(name: str) -> str:
    """Return what a sample is called in tables and figures."""
    return _LABELS.get(name, name)


def pairs(ages: Ages, masks: Masks, families: Mapping[str, AgeOptions]) -> list[dict[str, Any]]:
    """Compare every family with the first, on every sample.

    Parameters
    ----------
    ages : callable
        Choices and a sample's name to the Dataset of `estimate_ages`.
    masks : mapping
        Sample to the stars that count, bool of shape (star,).
    families : mapping
        Name to choices.

    Returns
    -------
    list of dict
        ``family``, ``base``, ``sample``; the `Spread` of the ``difference`` in age, Gyr;
        ``median_relative``, of the difference over the base's age; ``by_age``, the `Spread` in
        each of `AGE_BINS` of the mean of the two ages.
    """
    (base, base_options), *others = families.items()
    out = []
    for family, options in others:
        for sample, mask in masks.items():
            one, two = _good_in_both(ages(options, sample), ages(base_options, sample), mask)
            out.append({
                "family": family,
                "base": base,
                "sample": sample,
                "difference": spread(one - two),
                "median_relative": spread((one - two) / two).median,
                "by_age": spread_by_bin(0.5 * (one + two), one - two, AGE_BINS),
            })  # fmt: skip
    return out


def _good_in_both(
    one: xr.Dataset, two: xr.Dataset, mask: NDArray, summary: str = "age_median"
) -> tuple[NDArray, NDArray]:
    good = mask & good_age(one) & good_age(two)
    return one[summary].values[good], two[summary].values[good]


class Setup(NamedTuple):
    """Choices for PARSEC and for Dartmouth that could set the two apart."""

    parsec: AgeOptions
    dartmouth: AgeOptions
    summary: str = "age_median"


def setups(base: AgeOptions) -> dict[str, Setup]:
    """Return the choices that could set Dartmouth and PARSEC apart, by label."""

    def both(**changes: Any) -> Setup:
        return Setup(parsec(**changes), dartmouth(**changes))

    def parsec(**changes: Any) -> AgeOptions:
        return AgeOptions.of(base, {"source": "parsec", **changes})

    def dartmouth(**changes: Any) -> AgeOptions:
        return AgeOptions.of(base, {"source": "dartmouth", **changes})

    spectrum = tuple(o for o in base.observables if o not in ("abs_g", "bp_rp"))
    paper = {"method": "paper", "feh_scale": "initial"}
    return {
        "the same choices for both": both(),
        "age of greatest likelihood, not the median": both()._replace(summary="age_ml"),
        "both on the initial [Fe/H] scale": both(feh_scale="initial"),
        "both by the paper's method and scale": both(**paper),
        "both without M_G": both(observables=spectrum),
        "both with a prior flat in log age": both(age_prior="log-flat"),
        "Dartmouth initial, PARSEC surface [Fe/H]": Setup(parsec(), dartmouth(feh_scale="initial")),
        "Dartmouth as the paper, PARSEC with a log-flat prior": Setup(
            parsec(age_prior="log-flat"), dartmouth(**paper)
        ),
    }


def explain(ages: Ages, masks: Masks, choices: Mapping[str, Setup]) -> dict[str, dict[str, Spread]]:
    """Return the `Spread` of Dartmouth − PARSEC, Gyr, by set-up and sample.

    Parameters
    ----------
    ages, masks
        As for `pairs`.
    choices : mapping of Setup
        From `setups`.
    """
    out: dict[str, dict[str, Spread]] = {}
    for label, (parsec, dartmouth, summary) in choices.items():
        out[label] = {}
        for name, mask in masks.items():
            p, d = _good_in_both(ages(parsec, name), ages(dartmouth, name), mask, summary)
            out[label][name] = spread(-(p - d))
    return out
