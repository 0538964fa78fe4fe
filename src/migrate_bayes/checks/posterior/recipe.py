"""What a calibration and a bias recipe may say, with the default of every entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from migrate_bayes.core.provenance import content_hash
from migrate_bayes.run.recipe import read_as

__all__ = [
    "BiasRecipe",
    "CalibrateRecipe",
    "ErrorSection",
    "ScenarioSection",
    "SurveySampler",
    "load_bias",
    "load_calibrate",
]

#: Parameters whose coverage decides; those that the model's form lacks are passed over.
MAIN = (
    "gradient_young",
    "gradient_reference",
    "flattening_rate",
    "sigma_G",
    "gradient_thick",
    "thick_fraction",
    "metallicity_thin[1]",
    "log_scatter_thin[1]",
)


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ErrorSection(Options):
    """Errors of observation, each the median over the stars."""

    age: float = Field(default=0.12, gt=0)  # relative, of old stars
    radius: float = Field(default=0.25, gt=0)  # kpc
    feh: float = Field(default=0.05, gt=0)  # dex
    alpha: float = Field(default=0.02, gt=0)  # dex
    ln_zmax: float = Field(default=0.08, gt=0)
    age_feh_correlation: float = Field(default=-0.3, gt=-1, lt=1)
    spread: float = Field(default=0.3, ge=0)  # sd of ln(error) from star to star


class SurveySampler(Options):
    """Sampling of one survey's posterior: short, for there are hundreds.

    Attributes
    ----------
    method : {"nuts", "surrogate"}
        As `SamplerOptions` has them.
    draws, tune, chains, target_accept
        Of NUTS on the stars or on the surrogate.
    """

    method: Literal["nuts", "surrogate"] = "nuts"
    draws: int = Field(default=150, gt=0)
    tune: int = Field(default=200, gt=0)
    chains: int = Field(default=2, gt=0)
    target_accept: float = Field(default=0.8, gt=0, lt=1)


class CalibrateRecipe(Options):
    """Simulation-based calibration.

    Attributes
    ----------
    surveys, stars : int
        How many surveys, of how many stars each.
    ranks : int
        Number of values a rank can take: the posterior is thinned to one draw fewer. A multiple of
        40, so that central intervals of 50, 80 and 95% are whole numbers of ranks. The number of
        draws is doubled until the smallest effective sample size of a main parameter reaches it.
    spec : str or dict
        Model specification, a file or its content. Its priors are those of the draws and of the
        fits both: otherwise ranks are not uniform.
    main : tuple of str
        Parameters whose coverage decides.
    """

    name: str = Field(default="calibrate", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = Field(default=20210301, ge=0)
    surveys: int = Field(default=200, gt=0)
    stars: int = Field(default=2000, gt=0)
    ranks: int = Field(default=80, ge=40)
    spec: str | dict[str, Any] = Field(default_factory=dict)
    main: tuple[str, ...] = MAIN
    errors: ErrorSection = ErrorSection()
    sampler: SurveySampler = SurveySampler()

    @field_validator("ranks")
    @classmethod
    def _whole_intervals(cls, ranks: int) -> int:
        if ranks % 40:
            raise ValueError("ranks must be a multiple of 40")
        return ranks

    @property
    def hash(self) -> str:
        """Hash of what decides one survey's numbers: not of how many there are."""
        return content_hash(self.model_dump(mode="json", exclude={"surveys", "description"}))


class ScenarioSection(Options):
    """What is turned on in one scenario of the bias table."""

    label: str = Field(min_length=1)
    age_errors: bool = False
    radius_errors: bool = False
    scatter: bool = False
    thick: bool = False
    zmax_cut: bool = False  # the regressions take only stars of small Z_max, as the paper did
    cut_for_all: bool = False  # the hierarchical fit is given these stars only, too


_EVERYTHING = {
    "age_errors": True, "radius_errors": True, "scatter": True, "thick": True, "zmax_cut": True,
}  # fmt: skip

_SCENARIOS = (
    ScenarioSection(label="none"),
    ScenarioSection(label="age errors", age_errors=True),
    ScenarioSection(label="R_g errors", radius_errors=True),
    ScenarioSection(label="intrinsic scatter", scatter=True),
    ScenarioSection(label="R_g errors + scatter", radius_errors=True, scatter=True),
    ScenarioSection(label="thick disc", thick=True),
    ScenarioSection(label="Z_max cut", zmax_cut=True),
    ScenarioSection(label="all", **_EVERYTHING),
    ScenarioSection(label="all, one cut for all", **_EVERYTHING, cut_for_all=True),
)


class TruthSection(Options):
    """The truth of every survey; see `migrate_bayes.mock.model_stars.PopulationTruth`."""

    gradient_young: float = -0.075  # dex/kpc at 1 Gyr
    flattening_rate: float = 0.003  # dex/kpc/Gyr
    gradient_thick: float = 0.02  # dex/kpc
    thick_fraction: float = Field(default=0.15, gt=0, lt=1)  # where the thick disc is on
    scatter_thin: float = Field(default=0.15, gt=0)  # dex, where scatter is on
    scatter_thick: float = Field(default=0.22, gt=0)


class BiasRecipe(Options):
    """What binned regression gets wrong.

    Attributes
    ----------
    surveys : int
        Surveys per scenario.
    fits : int
        Hierarchical fits per scenario, of the first surveys: each costs a hundred regressions.
    stars : int
        Stars per survey.
    zmax_limit : float
        kpc; where the Z_max cut is on.
    errors : ErrorSection
        Where the errors are on. Where they are off, and where scatter is off, a twentieth of it is
        left: a regression needs errors to weight with.
    """

    name: str = Field(default="odr-bias", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = Field(default=20210301, ge=0)
    surveys: int = Field(default=200, gt=1)
    fits: int = Field(default=20, ge=0)
    stars: int = Field(default=2000, gt=0)
    zmax_limit: float = Field(default=0.25, gt=0)
    spec: str | dict[str, Any] = Field(default_factory=dict)
    truth: TruthSection = TruthSection()
    errors: ErrorSection = ErrorSection(age=0.15, radius=0.3)
    sampler: SurveySampler = SurveySampler(draws=100, tune=150)
    scenarios: tuple[ScenarioSection, ...] = _SCENARIOS

    @field_validator("scenarios")
    @classmethod
    def _distinct(cls, scenarios: tuple[ScenarioSection, ...]) -> tuple[ScenarioSection, ...]:
        labels = [s.label for s in scenarios]
        if not labels or len(set(labels)) < len(labels):
            raise ValueError("scenarios must be one or more, each with a label of its own")
        return scenarios

    @property
    def hash(self) -> str:
        """Hash of what decides one survey's numbers: not of how many there are."""
        return content_hash(
            self.model_dump(mode="json", exclude={"surveys", "fits", "description"})
        )


def load_calibrate(path: str | Path) -> CalibrateRecipe:
    """Read a calibration recipe.

    Raises
    ------
    RecipeError
        Where the file is missing, is no TOML, or has an unknown or invalid entry.
    """
    return read_as(Path(path), CalibrateRecipe)


def load_bias(path: str | Path) -> BiasRecipe:
    """Read a bias recipe.

    Raises
    ------
    RecipeError
        Where the file is missing, is no TOML, or has an unknown or invalid entry.
    """
    return read_as(Path(path), BiasRecipe)
