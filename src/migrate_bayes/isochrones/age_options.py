"""Options of the age stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from migrate_bayes.core.options import Options

__all__ = ["AgeOptions"]


class AgeOptions(Options):
    """How ages are made."""

    source: str = "dartmouth"  # or "external": the catalogue's own ages
    method: Literal["fine", "paper"] = "fine"
    observables: tuple[str, ...] = ("teff", "logg", "feh", "alpha_fe", "abs_g")
    age_prior: Literal["flat", "log-flat"] = "flat"
    photometric_floor: float = Field(default=0.02, ge=0)
    feh_scale: Literal["surface", "dwarf", "initial"] = "surface"
    ages: tuple[float, ...] | None = None  # nodes in Gyr, increasing; null: those of the method
