"""The few numbers that a set of choices is judged by: the Sun, M67, Kepler dwarfs, HARPS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.m67 import turnoff
from migrate_bayes.checks.ages.options import AgeOptions, short_name
from migrate_bayes.checks.ages.sample import Sample
from migrate_bayes.checks.ages.statistics import Spread, spread
from migrate_bayes.checks.ages.sun import SOLAR_AGE, sun_catalog
from migrate_bayes.isochrones import age_cdf, age_quantiles
from migrate_bayes.isochrones.age_options import FEH_SCALES

__all__ = [
    "AgeBook",
    "Headline",
    "SunAge",
    "by_family",
    "choices",
    "headline",
    "m67_mask",
    "pulls",
    "sun_age",
]


class AgeBook:
    """Ages of some samples by choice, each estimated once.

    Parameters
    ----------
    samples : mapping
        Name to `Sample`; the Sun is added.
    """

    def __init__(self, samples: Mapping[str, Sample]) -> None:
        self.samples = dict(samples)
        self.catalogs = {name: s.catalog for name, s in samples.items()} | {"Sun": sun_catalog()}
        self._known: dict[tuple[AgeOptions, str], xr.Dataset] = {}

    def ages(self, options: AgeOptions, name: str) -> xr.Dataset:
        """Return a sample's ages."""
        if (options, name) not in self._known:
            self._known[options, name] = options.estimate(self.catalogs[name])
        return self._known[options, name]


@dataclass(frozen=True)
class SunAge:
    """The Sun's age, Gyr.

    Parameters
    ----------
    most_likely, median : float
    low, high : float
        Central 68% credible interval.
    cdf : float
        Posterior probability of being younger than the Sun is.
    """

    most_likely: float
    median: float
    low: float
    high: float
    cdf: float

    @property
    def holds(self) -> bool:
        """Whether the Sun's age is within 1σ."""
        return self.low <= SOLAR_AGE <= self.high


def sun_age(ages: xr.Dataset) -> SunAge:
    """Summarise the ages of a catalogue whose one star is the Sun."""
    low, median, high = (float(x) for x in age_quantiles(ages, [0.16, 0.5, 0.84]).values[0])
    cdf = float(age_cdf(ages, SOLAR_AGE).values[0])
    return SunAge(float(ages["age_ml"].values[0]), median, low, high, cdf)


@dataclass(frozen=True)
class Headline:
    """What one set of choices gives, Gyr; a sample that is absent is None.

    Parameters
    ----------
    label : str
    sun : SunAge
    m67 : Spread or None
        Age of single turn-off stars and subgiants.
    kepler, kepler_relative : Spread or None
        Age − asteroseismic age, and the same over the asteroseismic age.
    harps : Spread or None
        Age − StarHorse age.
    """

    label: str
    sun: SunAge
    m67: Spread | None
    kepler: Spread | None
    kepler_relative: Spread | None
    harps: Spread | None


def m67_mask(sample: Sample, ages: xr.Dataset) -> NDArray[np.bool_]:
    """Select the stars of the headline: `turnoff`, and no sign of a companion."""
    return turnoff(sample.catalog, ages) & sample.extra["single"]


def _usable(sample: Sample) -> NDArray[np.bool_]:
    return sample.extra["usable"] & np.isfinite(sample.reference)


def headline(book: AgeBook, options: AgeOptions, label: str) -> Headline:
    """Compute the numbers of one set of choices."""
    m67 = kepler = relative = harps = None
    if "m67" in book.samples:
        ages = book.ages(options, "m67")
        m67 = spread(ages["age_median"].values[m67_mask(book.samples["m67"], ages)])
    if "kepler" in book.samples:
        difference, reference = _difference(book, options, "kepler")
        kepler, relative = spread(difference), spread(difference / reference)
    if "harps" in book.samples:
        harps = spread(_difference(book, options, "harps")[0])
    return Headline(label, sun_age(book.ages(options, "Sun")), m67, kepler, relative, harps)


def _difference(book: AgeBook, options: AgeOptions, name: str) -> tuple[NDArray, NDArray]:
    sample = book.samples[name]
    good = _usable(sample)
    median = book.ages(options, name)["age_median"].values[good]
    return median - sample.reference[good], sample.reference[good]


def pulls(sample: Sample, ages: xr.Dataset) -> NDArray[np.float64]:
    """Return (age − reference) over both errors in quadrature, for stars that have all of them.

    Our error is half of the central 68% interval.
    """
    q = age_quantiles(ages, [0.16, 0.84]).values
    error = np.hypot(0.5 * (q[:, 1] - q[:, 0]), sample.reference_error)
    pull = (ages["age_median"].values - sample.reference) / error
    return np.asarray(np.where(_usable(sample), pull, np.nan))


def choices(base: AgeOptions, native: str | None) -> list[tuple[str, AgeOptions]]:
    """Return the sets of choices that the table compares, the recipe's own first.

    Parameters
    ----------
    base : AgeOptions
        The recipe's.
    native : str, optional
        A source with an [α/Fe] axis of its own, where there is one.
    """
    seen = base.observables
    rows = [
        ("as the recipe says", base),
        ("method paper", base.but(method="paper")),
        *(
            (f"[Fe/H] scale {scale}", base.but(feh_scale=scale))
            for scale in FEH_SCALES
            if scale != base.feh_scale
        ),
        ("method paper, scale initial", base.but(method="paper", feh_scale="initial")),
        ("photometric floor 0", base.but(photometric_floor=0.0)),
        ("photometric floor 0.05", base.but(photometric_floor=0.05)),
        ("without M_G", base.but(observables=tuple(o for o in seen if o != "abs_g"))),
        ("without log g", base.but(observables=tuple(o for o in seen if o != "logg"))),
        ("with BP−RP", base.but(observables=(*seen, "bp_rp"))),
        ("prior flat in log age", base.but(age_prior="log-flat")),
    ]
    if native is not None:
        rows += [
            ("native Dartmouth, own α axis", base.but(source=native)),
            ("native Dartmouth, α by Salaris", base.but(source=native, salaris=True)),
            (
                "the paper's: native, paper, initial",
                base.but(source=native, method="paper", feh_scale="initial"),
            ),
        ]
    return rows


def by_family(base: AgeOptions, sources: Sequence[str]) -> list[tuple[str, AgeOptions]]:
    """Return the recipe's choices on each family."""
    return [(short_name(s), base.but(source=s)) for s in sources]
