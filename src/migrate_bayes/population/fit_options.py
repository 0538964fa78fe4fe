"""Options of the hierarchical fit and of its sampler."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from migrate_bayes.core.options import Options


class FitOptions(Options):
    """The hierarchical fit."""

    spec: str | dict[str, Any] = "models/thin-thick.toml"
    potential: str = "MWPotential2014"
    selection: str = "all"
    radius: Literal["rg", "r_present"] = "rg"
    forms: tuple[str, ...] = ("constant", "linear", "linear+deviations")  # for `compare-models`


class SamplerOptions(Options):
    """How the posterior is sampled: NUTS, on the stars or on a surrogate for them."""

    method: Literal["auto", "nuts", "surrogate"] = "auto"  # auto: the surrogate from 20,000 stars
    draws: int = Field(default=1000, gt=0)
    tune: int = Field(default=200, gt=0)  # enough in coordinates whitened at the mode
    chains: int = Field(default=4, gt=0)
    target_accept: float = Field(default=0.85, gt=0, lt=1)
    scheduler: str = "threads"  # "local:N" processes, or a dask scheduler's address; same numbers
