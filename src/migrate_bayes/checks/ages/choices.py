"""Sets of choices: the ages of known stars under each, and the differences between families.

Differences are family − Dartmouth of the posterior medians, star by star, for stars whose age
error is below 25% in both. The mock stars are of a likely disc on Dartmouth isochrones; what they
are made with hardly matters to a *difference* of two estimates from the same data.

Vickers, Shen & Li (2021) find their Dartmouth ages 1.8 Gyr older than the PARSEC ages of Sanders &
Das (2018), of other code, data and priors; `explain` goes through the choices that could make it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.samples import Sample, good_age, sun_catalog
from migrate_bayes.checks.ages.statistics import Spread, spread, spread_by_bin
from migrate_bayes.core.progress import progress
from migrate_bayes.isochrones import AgeOptions, IsochroneSource, estimate_ages, load_source
from migrate_bayes.isochrones.age_options import FEH_SCALES

#: Gyr, of the mean of the two ages.
AGE_BINS = (1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 14.0)
_LABELS = {
    "m67": "M67 turn-off",
    "kepler": "Kepler",
    "harps": "HARPS",
    "cks": "CKS",
    "hypatia": "Hypatia",
}

Ages = Callable[[AgeOptions, str], xr.Dataset]  # choices and a sample's name to its ages
Masks = Mapping[str, NDArray]  # sample to the stars that count, bool of shape (star,)
_ALPHA_ZERO = ", [α/Fe] = 0"


class AgeBook:
    """Ages of some samples and of the Sun by choice, each estimated once.

    The other choices are changes of `options`, the recipe's. The paper's choices take the first of
    the `sources` with an [α/Fe] axis of its own.
    """

    def __init__(
        self, options: AgeOptions, samples: Mapping[str, Sample], sources: Sequence[str]
    ) -> None:
        self.options, self.samples, self.sources = options, dict(samples), list(sources)
        self.catalogs = {name: s.catalog for name, s in samples.items()} | {"Sun": sun_catalog()}
        self.native = next((s for s in sources if s.startswith("dartmouth-native:")), None)
        # The choices of Vickers, Shen & Li (2021).
        paper = {"method": "paper", "feh_scale": "initial", "source": self.native or options.source}
        self.paper = AgeOptions.of(options, paper)
        self._known: dict[tuple[AgeOptions, str], xr.Dataset] = {}

    def ages(self, options: AgeOptions, name: str) -> xr.Dataset:
        """Return a sample's ages: the Dataset of `estimate_ages`."""
        if (options, name) not in self._known:
            self._known[options, name] = estimate(self.catalogs[name], options)
        return self._known[options, name]

    def fill(self, tasks: Iterable[tuple[AgeOptions, str]]) -> None:
        """Estimate ages under a progress bar, in the order that builds each isochrone grid once.

        A grid takes a second or more to build and hundreds of megabytes to keep, so that the
        comparisons, which want the same stars under many choices, must not build them as they come.
        """
        grid = attrgetter("source", "method", "feh_scale")
        tasks = sorted(dict.fromkeys(tasks), key=lambda task: grid(task[0]))
        with progress(sum(self.catalogs[n].sizes["star"] for _, n in tasks), "ages") as advance:
            for options, name in tasks:
                self.ages(options, name)
                advance(self.catalogs[name].sizes["star"])

    def families(self) -> dict[str, AgeOptions]:
        """Return the choices on each family, by its short name (its own if that is taken)."""
        made = [AgeOptions.of(self.options, {"source": s}) for s in self.sources]
        short = [o.short_name for o in made]
        return {o.source if short.count(o.short_name) > 1 else o.short_name: o for o in made}

    def giants(self) -> dict[str, AgeOptions]:
        """Return what giants are aged with: each family, and the choices for them."""
        made = dict(self.families())
        if "mist" in made:
            with_clump = {"giants": "mist", "age_prior": "disc"}
            made["giants mist, prior disc"] = AgeOptions.of(self.options, with_clump)
        return made

    def members(self) -> dict[str, AgeOptions]:
        """Return what cluster members are aged with: families, and LAMOST's scale allowed for."""
        scale = {"teff": 100.0, "logg": 0.2}
        floored = AgeOptions.of(self.options, {"systematics": scale, "near_zams": "exclude"})
        return {**self.families(), "with LAMOST's floor": floored}

    def choices(self) -> dict[str, AgeOptions]:
        """Return the sets of choices that are compared, by label, the recipe's own first."""
        base, seen = self.options, self.options.observables
        changes: dict[str, dict] = {
            "as the recipe says": {},
            "method paper": {"method": "paper"},
            **{f"[Fe/H] scale {s}": {"feh_scale": s} for s in FEH_SCALES if s != base.feh_scale},
            "method paper, scale initial": {"method": "paper", "feh_scale": "initial"},
            "photometric floor 0": {"photometric_floor": 0.0},
            "photometric floor 0.05": {"photometric_floor": 0.05},
            "without M_G": {"observables": tuple(o for o in seen if o != "abs_g")},
            "without log g": {"observables": tuple(o for o in seen if o != "logg")},
            "with BP−RP": {"observables": (*seen, "bp_rp")},
            "prior flat in log age": {"age_prior": "log-flat"},
            "one in a hundred of each wrong": {"outliers": {"share": 0.01}},
            "unresolved pairs, a share of 0.4": {"binaries": {"share": 0.4}},
        }
        if self.native is not None:
            changes["native Dartmouth, own α axis"] = {"source": self.native}
            # Without its [α/Fe] axis it is read at equal total metallicity.
            changes["native Dartmouth, α by Salaris"] = {"source": self.native + _ALPHA_ZERO}
        made = {label: AgeOptions.of(base, change) for label, change in changes.items()}
        if self.native is not None:
            made["the paper's: native, paper, initial"] = self.paper
        return made


def estimate(catalog: xr.Dataset, options: AgeOptions) -> xr.Dataset:
    """Estimate ages with these choices, without a progress bar."""
    settings: dict[str, IsochroneSource] = {}
    if options.source.endswith(_ALPHA_ZERO):
        settings["source"] = _without_alpha_axis(options.source.removesuffix(_ALPHA_ZERO))
    return estimate_ages(catalog, options, show_progress=False, **settings)


@cache
def _without_alpha_axis(name: str) -> IsochroneSource:
    """Return a source with the isochrones of [α/Fe] = 0 alone."""
    source = load_source(name)
    zero = int(np.argmin(np.abs(source.alpha)))
    values = np.ascontiguousarray(source.values[:, :, zero : zero + 1])
    return replace(source, name=name + _ALPHA_ZERO, alpha=np.zeros(1), values=values)


def sample_label(name: str) -> str:
    """Return what a sample is called in tables and figures."""
    return _LABELS.get(name, name)


def pairs(ages: Ages, masks: Masks, families: Mapping[str, AgeOptions]) -> list[dict[str, Any]]:
    """Compare every family with the first on every sample, Gyr; `AGE_BINS` are of the mean age."""
    (base, base_options), *others = families.items()
    out = []
    for family, options in others:
        for sample, mask in masks.items():
            one, two = _good_in_both(ages(options, sample), ages(base_options, sample), mask)
            off = one - two
            out.append({
                "family": family, "base": base, "sample": sample, "difference": spread(off),
                "median_relative": spread(off / two).median,
                "by_age": spread_by_bin(0.5 * (one + two), off, AGE_BINS),
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

    def on(source: str, **changes: Any) -> AgeOptions:
        return AgeOptions.of(base, {"source": source, **changes})

    def both(**changes: Any) -> Setup:
        return Setup(on("parsec", **changes), on("dartmouth", **changes))

    spectrum = tuple(o for o in base.observables if o not in ("abs_g", "bp_rp"))
    paper = {"method": "paper", "feh_scale": "initial"}
    return {
        "the same choices for both": both(),
        "age of greatest likelihood, not the median": both()._replace(summary="age_ml"),
        "both on the initial [Fe/H] scale": both(feh_scale="initial"),
        "both by the paper's method and scale": both(**paper),
        "both without M_G": both(observables=spectrum),
        "both with a prior flat in log age": both(age_prior="log-flat"),
        "Dartmouth initial, PARSEC surface [Fe/H]": Setup(
            on("parsec"), on("dartmouth", feh_scale="initial")
        ),
        "Dartmouth as the paper, PARSEC with a log-flat prior": Setup(
            on("parsec", age_prior="log-flat"), on("dartmouth", **paper)
        ),
    }


def explain(ages: Ages, masks: Masks, choices: Mapping[str, Setup]) -> dict[str, dict[str, Spread]]:
    """Return the `Spread` of Dartmouth − PARSEC, Gyr, by set-up and sample."""
    out: dict[str, dict[str, Spread]] = {label: {} for label in choices}
    for label, (parsec, dartmouth, summary) in choices.items():
        for name, mask in masks.items():
            p, d = _good_in_both(ages(parsec, name), ages(dartmouth, name), mask, summary)
            out[label][name] = spread(-(p - d))
    return out
