"""Options of a mock survey: its truth and size."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from migrate_bayes.core.options import Options
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.orbits.orbit_options import OrbitOptions


class MigrationOptions(Options):
    """The ``migration`` population; `migrate_bayes.mock.discs` has the laws.

    Parameters
    ----------
    sigma_rm8 : float
        Diffusion of R_g in 8 Gyr, kpc.
    birth_gradient, birth_gradient_rate : float
        Gradient of the gas today, dex/kpc, and its change per Gyr of lookback time.
    birth_curvature : float
        Coefficient of (R - 8 kpc)² in [Fe/H] of the gas, dex/kpc²; 0 for a straight line.
    birth_radius_spread, birth_radius_now : float
        Standard deviation of birth radii at every age, and their mean today, kpc.
    growth : float
        Inside-out growth of the mean birth radius, kpc/Gyr.
    ism_now, ism_rise, ism_power : float
        [Fe/H] of the gas today at 8 kpc, dex; its gain in the last 14 Gyr, dex; 1 for a steady
        gain, less for most of it early.
    ism_scatter : float
        Scatter of the gas at one radius and time, dex.
    young_alpha_rich : float
        Share of the thick disc.
    outliers : float
        Share of all stars: the stellar halo.

    Examples
    --------
    >>> from migrate_bayes.mock import MigrationOptions
    >>> MigrationOptions(sigma_rm8=0.0).birth_gradient
    -0.085
    """

    sigma_rm8: float = Field(default=3.6, ge=0)
    birth_gradient: float = -0.085
    birth_gradient_rate: float = -0.004
    birth_curvature: float = 0.0
    birth_radius_spread: float = Field(default=3.0, gt=0)
    birth_radius_now: float = Field(default=8.5, gt=0)
    growth: float = 0.2
    # Low enough that isochrones, which end at 0.43, reach all but some 0.3% of the stars. At 0 they
    # lack 2% of the old: a gradient 10% flatter.
    ism_now: float = -0.2
    ism_rise: float = Field(default=0.7, ge=0)
    ism_power: float = Field(default=0.5, gt=0)
    ism_scatter: float = Field(default=0.05, ge=0)
    young_alpha_rich: float = Field(default=0.05, ge=0, lt=1)
    outliers: float = Field(default=0.005, ge=0, lt=1)


class MockOptions(Options):
    """The mock survey's truth and size.

    Parameters
    ----------
    stars : int
        How many, before repeat observations.
    population : {"model", "migration"}
        Whose laws: `mock.discs` has both.
    survey : {"simple", "lamost"}
        Every bright star near the Sun's azimuth, or LAMOST's footprint, depth and errors.
    potential : str, optional
        In which the stars move; the first of the orbit stage if not given.
    isochrones : str, optional
        Source that the stars are drawn from; that of the age stage if not given.
    gradient_young, flattening_rate : float
        Of the "model" population: dex/kpc at 1 Gyr, and dex/kpc/Gyr.
    gradient_thick : float
        Of either population, dex/kpc.
    thick_fraction : float
        Share of thick-disc stars.
    migration : MigrationOptions
        Laws of the "migration" population.

    Examples
    --------
    >>> from migrate_bayes.mock import MockOptions
    >>> MockOptions(population="migration").migration.sigma_rm8
    3.6
    """

    stars: int = Field(default=20_000, gt=0)
    population: Literal["model", "migration"] = "model"
    survey: Literal["simple", "lamost"] = "simple"
    potential: str | None = None
    isochrones: str | None = None
    gradient_young: float = -0.075
    flattening_rate: float = 0.003
    gradient_thick: float = 0.02
    thick_fraction: float = Field(default=0.15, ge=0, lt=1)
    migration: MigrationOptions = MigrationOptions()

    def moves_in(self, orbits: OrbitOptions) -> str:
        """Return the potential of the stars: the stated one, or the first of `orbits`."""
        return self.potential or orbits.potentials[0]

    def drawn_from(self, ages: AgeOptions) -> str:
        """Return the isochrones of the stars: the stated ones, or those of the age stage."""
        source = self.isochrones or ages.source
        return source if source != "external" else "dartmouth"
