"""Options of a mock survey: its truth and size."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from migrate_bayes.core.options import Options
from migrate_bayes.orbits.orbit_options import OrbitOptions

__all__ = ["MigrationOptions", "MockOptions"]


class MigrationOptions(Options):
    """The ``migration`` population; `migrate_bayes.mock.migration` has the laws."""

    sigma_rm8: float = Field(default=3.6, ge=0)  # kpc: diffusion of R_g in 8 Gyr
    birth_gradient: float = -0.085  # dex/kpc, of the gas today
    birth_gradient_rate: float = -0.004  # dex/kpc per Gyr of lookback time
    birth_radius_spread: float = Field(default=3.0, gt=0)  # kpc, at every age
    birth_radius_now: float = Field(default=8.5, gt=0)  # kpc: mean birth radius today
    growth: float = 0.2  # kpc/Gyr by which the mean birth radius has grown: inside-out
    # [Fe/H] of the gas today at 8 kpc: low enough that isochrones, which end at 0.43, reach all but
    # some 0.3% of the stars. At 0 they lack 2% of the old: a gradient 10% flatter.
    ism_now: float = -0.2
    ism_rise: float = Field(default=0.7, ge=0)  # dex gained there in the last 14 Gyr
    ism_power: float = Field(default=0.5, gt=0)  # 1: steadily; below 1: most of it early
    ism_scatter: float = Field(default=0.05, ge=0)  # dex at one radius and time
    young_alpha_rich: float = Field(default=0.05, ge=0, lt=1)  # share of the thick disc
    outliers: float = Field(default=0.005, ge=0, lt=1)  # share of all: the stellar halo


class MockOptions(Options):
    """The mock survey's truth and size."""

    stars: int = Field(default=20_000, gt=0)
    population: Literal["model", "migration"] = "model"
    survey: Literal["simple", "lamost"] = "simple"
    potential: str | None = None  # in which the stars move; null: the first of [orbits]
    gradient_young: float = -0.075  # dex/kpc at 1 Gyr; of the "model" population
    flattening_rate: float = 0.003  # dex/kpc/Gyr; of the "model" population
    gradient_thick: float = 0.02  # dex/kpc
    thick_fraction: float = Field(default=0.15, ge=0, lt=1)
    migration: MigrationOptions = MigrationOptions()

    def moves_in(self, orbits: OrbitOptions) -> str:
        """Return the potential of the stars: the stated one, or the first of `orbits`."""
        return self.potential or orbits.potentials[0]
