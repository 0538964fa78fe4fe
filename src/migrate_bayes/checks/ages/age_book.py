"""Ages of known stars under many sets of choices, each estimated once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import xarray as xr

from migrate_bayes.checks.ages.samples import Sample, sun_catalog
from migrate_bayes.core.progress import progress
from migrate_bayes.isochrones import AgeOptions, IsochroneSource, estimate_ages, load_source
from migrate_bayes.isochrones.age_options import FEH_SCALES

_ALPHA_ZERO = ", [α/Fe] = 0"


class AgeBook:
    """Ages of some samples by choice, each estimated once.

    Parameters
    ----------
    options : AgeOptions
        The choices that the others are compared with.
    samples : mapping
        Name to `Sample`; `catalogs` has their stars and the Sun.
    sources : sequence of str
        Families; the paper's choices take the first with an [α/Fe] axis of its own.
    """

    def __init__(
        self, options: AgeOptions, samples: Mapping[str, Sample], sources: Sequence[str]
    ) -> None:
        self.options, self.samples, self.sources = options, dict(samples), list(sources)
        self.catalogs = {name: s.catalog for name, s in samples.items()} | {"Sun": sun_catalog()}
        self.native = next((s for s in sources if s.startswith("dartmouth-native:")), None)
        #: The choices of Vickers, Shen & Li (2021).
        self.paper = AgeOptions.of(
            options,
            {"source": self.native or options.source, "method": "paper", "feh_scale": "initial"},
        )
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

        def grid(task: tuple[AgeOptions, str]) -> tuple[str, str, str]:
            return (task[0].source, task[0].method, task[0].feh_scale)

        tasks = sorted(dict.fromkeys(tasks), key=grid)
        with progress(sum(self.catalogs[n].sizes["star"] for _, n in tasks), "ages") as advance:
            for options, name in tasks:
                self.ages(options, name)
                advance(self.catalogs[name].sizes["star"])

    def families(self) -> dict[str, AgeOptions]:
        """Return the choices on each family, by its short name (its own if that is taken)."""
        made = [AgeOptions.of(self.options, {"source": s}) for s in self.sources]
        short = [o.short_name for o in made]
        return {o.source if short.count(o.short_name) > 1 else o.short_name: o for o in made}

    def choices(self) -> dict[str, AgeOptions]:
        """Return the sets of choices that are compared, by label, the recipe's own first."""
        base, seen = self.options, self.options.observables
        changes: dict[str, dict] = {
            "as the recipe says": {},
            "method paper": {"method": "paper"},
            **{
                f"[Fe/H] scale {scale}": {"feh_scale": scale}
                for scale in FEH_SCALES
                if scale != base.feh_scale
            },
            "method paper, scale initial": {"method": "paper", "feh_scale": "initial"},
            "photometric floor 0": {"photometric_floor": 0.0},
            "photometric floor 0.05": {"photometric_floor": 0.05},
            "without M_G": {"observables": tuple(o for o in seen if o != "abs_g")},
            "without log g": {"observables": tuple(o for o in seen if o != "logg")},
            "with BP−RP": {"observables": (*seen, "bp_rp")},
            "prior flat in log age": {"age_prior": "log-flat"},
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
