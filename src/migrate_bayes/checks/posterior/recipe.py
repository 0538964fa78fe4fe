"""Entries of a calibration recipe and of a bias recipe, with their defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator

from migrate_bayes.core.options import Options
from migrate_bayes.core.provenance import content_hash
from migrate_bayes.run.recipe import read_as

#: Parameters whose coverage decides; those that the model's form lacks are passed over.
MAIN = (
    "gradient_young", "gradient_reference", "flattening_rate", "sigma_G", "gradient_thick",
    "thick_fraction", "metallicity_thin[1]", "log_scatter_thin[1]",
)  # fmt: skip

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Positive = Annotated[float, Field(gt=0)]


class ErrorSection(Options):
    """Errors of observation, each the median over the stars; units stand beside the entries."""

    age: Positive = 0.12  # relative, of old stars
    radius: Positive = 0.25  # kpc
    feh: Positive = 0.05  # dex
    alpha: Positive = 0.02  # dex
    height: Positive = 0.08
    age_feh_correlation: float = Field(default=-0.3, gt=-1, lt=1)
    spread: float = Field(default=0.3, ge=0)  # sd of ln(error) from star to star


class SurveySampler(Options):
    """Sampling of one survey's posterior: entries as in `SamplerOptions`, with shorter chains."""

    method: Literal["nuts", "surrogate"] = "nuts"
    draws: int = Field(default=150, gt=0)
    tune: int = Field(default=200, gt=0)
    chains: int = Field(default=2, gt=0)
    target_accept: float = Field(default=0.8, gt=0, lt=1)
    patience: int = Field(default=1, gt=0)
    starts: int = Field(default=1, gt=0)


class RidgeSection(Options):
    """A made-up survey, ln S = −([Fe/H] − centre − slope (R_g − 8 kpc))² / (2 width²)."""

    centre: float = 0.0  # dex
    slope: float = 0.05  # dex/kpc
    width: Positive = 0.3  # dex


class SurveyRecipe(Options):
    """Entries that calibration and bias share."""

    description: str = ""
    seed: int = Field(default=20210301, ge=0)  # decides a survey's numbers, with its own number
    stars: int = Field(default=2000, gt=0)  # per survey
    spec: str | dict[str, Any] = Field(default_factory=dict)  # model specification: file or content

    @property
    def hash(self) -> str:
        """Hash of the entries that decide one survey's numbers; their number is not part of it."""
        counts = {"surveys", "fits", "description"}
        content = self.model_dump(mode="json", exclude=counts)
        # An entry that came later, and is not made use of, decides nothing.
        return content_hash({k: v for k, v in content.items() if (k, v) != ("selection", None)})

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a recipe (TOML); `RecipeError` names a missing file or an invalid entry."""
        return read_as(Path(path), cls)


class CalibrateRecipe(SurveyRecipe):
    """Options of a simulation-based calibration.

    Parameters
    ----------
    description : str
        Text at the top of the page.
    seed : int
        Decides a survey's numbers, with the survey's own number.
    stars : int
        Stars per survey.
    spec : str or dict
        Model specification, a file or its content. Its priors hold for the true values and for the
        fits, as uniform ranks need.
    name : str
        Name of the folders of ledger and page.
    surveys : int
        Number of surveys.
    ranks : int
        Number of values a rank can take: the posterior is thinned to one draw fewer. It is a
        multiple of 40, so that central intervals of 50, 80 and 95% are whole numbers of ranks. The
        number of draws is doubled until the smallest effective sample size of a main parameter
        reaches `ranks`.
    main : tuple of str
        Parameters whose coverage decides.
    errors : ErrorSection
        Errors of observation.
    selection : RidgeSection, optional
        How the surveys take stars by [Fe/H]; all alike if not given.
    sampler : SurveySampler
        Sampling of each survey's posterior.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import CalibrateRecipe
    >>> recipe = CalibrateRecipe(surveys=100, ranks=40, sampler={"method": "surrogate"})
    >>> recipe.stars, recipe.sampler.method
    (2000, 'surrogate')
    """

    name: Name = "calibrate"
    surveys: int = Field(default=200, gt=0)
    ranks: int = Field(default=80, ge=40, multiple_of=40)
    main: tuple[str, ...] = MAIN
    errors: ErrorSection = ErrorSection()
    selection: RidgeSection | None = None
    sampler: SurveySampler = SurveySampler()


class ScenarioSection(Options):
    """Effects that are on in one scenario of the bias table."""

    label: str = Field(min_length=1)
    age_errors: bool = False
    radius_errors: bool = False
    scatter: bool = False
    thick: bool = False
    zmax_cut: bool = False  # the regressions take only stars of small Z_max, as the paper did
    cut_for_all: bool = False  # the hierarchical fit takes these stars only, too


_EVERYTHING = dict.fromkeys(("age_errors", "radius_errors", "scatter", "thick", "zmax_cut"), True)
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
    thick_fraction: float = Field(default=0.15, gt=0, lt=1)  # if the thick disc is on
    scatter_thin: Positive = 0.15  # dex, if scatter is on
    scatter_thick: Positive = 0.22


class BiasRecipe(SurveyRecipe):
    """Options of a measurement of the bias of regression in bins of age.

    Parameters
    ----------
    description : str
        Text at the top of the page.
    seed : int
        Decides a survey's numbers, with the survey's own number.
    stars : int
        Stars per survey.
    spec : str or dict
        Model specification of the hierarchical fits, a file or its content.
    name : str
        Name of the folders of ledger and page.
    surveys : int
        Surveys per scenario.
    fits : int
        Hierarchical fits per scenario, of the first surveys: each costs a hundred regressions.
    zmax_limit : float
        kpc; applies if the Z_max cut is on.
    truth : TruthSection
        Gradients, share of the thick disc and intrinsic scatter of every survey.
    errors : ErrorSection
        Errors that are on. A twentieth remains of errors and of scatter that are off: a regression
        needs errors for its weights.
    sampler : SurveySampler
        Sampling of each hierarchical fit.
    scenarios : tuple of ScenarioSection
        Rows of the table; each label must be unique.

    Examples
    --------
    >>> from migrate_bayes.checks.posterior import BiasRecipe
    >>> recipe = BiasRecipe(surveys=10, fits=0, scenarios=[{"label": "scatter", "scatter": True}])
    >>> recipe.scenarios[0].scatter, recipe.scenarios[0].age_errors
    (True, False)
    """

    name: Name = "odr-bias"
    surveys: int = Field(default=200, gt=1)
    fits: int = Field(default=20, ge=0)
    zmax_limit: Positive = 0.25
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
