"""Options of the orbit stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from migrate_bayes.core.options import Options

__all__ = ["OrbitOptions", "SweepOptions"]


class SweepOptions(Options):
    """Solar parameters and scalings to vary; every combination, with every potential."""

    r0: tuple[float, ...] | None = None  # kpc
    v0: tuple[float, ...] | None = None  # km/s
    scaling: tuple[Literal["rescaled", "native"], ...] | None = None


class OrbitOptions(Options):
    """Frame, potentials and Monte-Carlo draws."""

    frame: str | dict[str, float | str] = "vickers2021"
    potentials: tuple[str, ...] = ("MWPotential2014", "Irrgang13I", "McMillan17")
    zmax_potentials: tuple[str, ...] | None = None  # where Z_max is computed; null: all
    scaling: Literal["rescaled", "native"] = "rescaled"
    draws: int = Field(default=100, gt=1)
    zmax_draws: int = Field(default=0, ge=0)  # orbits integrated for ln Z_max's moments; 0: none
    sweep: SweepOptions | None = None
