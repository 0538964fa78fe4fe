"""One set of choices for the age stage, and the ages it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import xarray as xr

from migrate_bayes.isochrones import IsochroneSource, estimate_ages, load_source
from migrate_bayes.isochrones.observables import OBSERVABLES

__all__ = ["AgeOptions", "short_name", "without_alpha_axis"]


@dataclass(frozen=True)
class AgeOptions:
    """What `estimate_ages` is asked for; see there.

    Parameters
    ----------
    source : str
        A name for `load_source`.
    method, feh_scale, age_prior, photometric_floor, observables
        As in `estimate_ages`.
    salaris : bool
        Throw away the source's [α/Fe] axis, and read it at equal total metallicity instead.
    """

    source: str = "dartmouth"
    method: Literal["fine", "paper"] = "fine"
    feh_scale: Literal["surface", "dwarf", "initial"] = "surface"
    age_prior: Literal["flat", "log-flat"] = "flat"
    photometric_floor: float = 0.02
    observables: tuple[str, ...] = OBSERVABLES[:5]
    salaris: bool = False

    def but(self, **changes: Any) -> AgeOptions:
        """Return the same with some choices changed."""
        return replace(self, **changes)

    def estimate(self, catalog: xr.Dataset) -> xr.Dataset:
        """Estimate ages with these choices, without a progress bar."""
        source: str | IsochroneSource = self.source
        if self.salaris:
            source = without_alpha_axis(self.source)
        return estimate_ages(
            catalog,
            source=source,
            method=self.method,
            feh_scale=self.feh_scale,
            age_prior=self.age_prior,
            photometric_floor=self.photometric_floor,
            observables=self.observables,
            show_progress=False,
        )


_FLAT: dict[str, IsochroneSource] = {}


def without_alpha_axis(name: str) -> IsochroneSource:
    """Return a source with the isochrones of [α/Fe] = 0 alone, kept for the grids built on it."""
    if name not in _FLAT:
        source = load_source(name)
        zero = int(np.argmin(np.abs(source.alpha)))
        _FLAT[name] = replace(
            source,
            name=f"{name}, [α/Fe] = 0",
            alpha=np.zeros(1),
            values=np.ascontiguousarray(source.values[:, :, zero : zero + 1]),
        )
    return _FLAT[name]


def short_name(source: str) -> str:
    """Return a source's name without its folder."""
    return source.partition(":")[0]
