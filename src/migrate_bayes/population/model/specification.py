"""A population model, as the TOML files in `models/` (and in the package) state it.

What a file leaves out has the default written here, so this module also documents the default
model.
"""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from migrate_bayes.core.errors import RecipeError, describe_validation, suggest
from migrate_bayes.core.options import Options
from migrate_bayes.core.places import MODELS, expand, packaged

#: Gradient forms: what G_thin(age) may be.
Form = Literal[
    "constant",  # one gradient at all ages
    "linear",  # a straight line in age
    "linear+deviations",  # a straight line and partially pooled deviations at knots
    "free",  # independent values at knots
    "diffusion",  # a birth gradient flattened by radial diffusion
]
FORMS: tuple[Form, ...] = get_args(Form)

#: Mean [Fe/H] of the thin disc against radius: a straight line, or one that bends.
Profile = Literal["linear", "broken", "spline"]

#: What `compare-models` ranks: forms of the gradient, profiles that bend, a skew [Fe/H], and one
#: law of radii for stars at all places.
RANKED = (*FORMS, *get_args(Profile)[1:], "skew", "one-law")

# Ages (Gyr) of the skewness of a model that `compare-models` makes skew.
_SKEW_KNOTS = (1.0, 12.0)

# Priors of what each disc has: thin, thick.
_PRIORS_OF_DISCS = {
    "metallicity": ((0.0, 0.3, 0.06), (-0.5, 0.3, 0.06)),
    "log_scatter": ((-1.9, 0.5, 0.06), (-1.4, 0.5, 0.06)),
    "radius": ((8.3, 1.5, 0.08), (7.0, 1.5, 0.08)),
    "log_radius_scatter": ((0.4, 0.5, 0.03), (0.7, 0.5, 0.03)),
    "radius_tilt": ((1.0, 0.2, 0.05), (0.8, 0.2, 0.05)),
    "radius_bend": ((0.0, 0.05, 0.01), (0.0, 0.05, 0.01)),
    "log_radius_scatter_tilt": ((0.0, 0.1, 0.02), (0.0, 0.1, 0.02)),
    "log_radius_scatter_bend": ((0.0, 0.03, 0.01), (0.0, 0.03, 0.01)),
    "log_height_scatter": ((-0.9, 0.4, 0.06), (-0.7, 0.4, 0.06)),
    "alpha_slope": ((-0.1, 0.15), (-0.1, 0.15)),
    "log_alpha_scatter": ((-3.7, 0.7), (-3.2, 0.6)),
    "age_weight": ((-0.15, 2.5), (0.3, 2.5)),
}

#: Normal priors (mean, sd) by parameter. Scales (`log_…`) are of natural logarithms; `sigma_G` and
#: `sigma_rm8` are half-normal (only the sd counts), `birth_radius_spread` is log-normal (mean and
#: sd of ln kpc), fractions are Beta(a, b). A function of age has a third number: it walks at random
#: from its value at the reference age, by so much in the square root of a Gyr: a sample that
#: tells little of its change finds little. Of `age_weight` the first number is the slope of
#: ln P(age) (1/Gyr) about which the knots are zero-sum normal: the thick disc is the older one.
DEFAULT_PRIORS: dict[str, tuple[float, ...]] = {
    # gradients, dex/kpc and dex/kpc/Gyr
    "gradient_reference": (-0.05, 0.05),
    "flattening_rate": (0.0, 0.01),
    "sigma_G": (0.0, 0.01),
    "gradient_thick": (0.0, 0.05),
    "gradient_thick_rate": (0.0, 0.01),
    "profile_bend": (0.0, 0.04),
    "profile_fading": (0.0, 0.02),
    "birth_gradient": (-0.07, 0.03),
    "birth_gradient_rate": (0.0, 0.003),
    "birth_radius_spread": (1.1, 0.4),
    "sigma_rm8": (0.0, 5.0),
    "log_birth_scatter": (-2.6, 0.6),
    **{
        f"{name}_{disc}": priors[i]
        for i, disc in enumerate(("thin", "thick"))
        for name, priors in _PRIORS_OF_DISCS.items()
    },
    # Skewness of [Fe/H] at given radius, and its change with it (1/kpc).
    "skewness_thin": (0.0, 0.3, 0.03),
    "skewness_tilt_thin": (0.0, 0.1, 0.01),
    # What makes the discs: [α/Fe] at [Fe/H] = −0.3 and ln(Z_max + 0.2 kpc) of the thick one, and by
    # how much the thin one's are below, over the least gap. APOGEE, HARPS and LAMOST have 0.12 to
    # 0.18 dex between the discs' ridges there (Adibekyan et al. 2012; Hayden et al. 2015).
    "alpha_thick": (0.22, 0.04, 0.01),
    "height_thick": (0.0, 0.5, 0.1),
    "log_alpha_gap": (-2.5, 0.4, 0.06),
    "log_height_gap": (-0.6, 0.5, 0.1),
    # How the ages of the thin disc and the share of the thick one change with today's radius.
    "age_tilt": (0.0, 0.05),
    "age_bend": (0.0, 0.02),
    "thick_tilt": (0.0, 0.5),
    "thick_bend": (0.0, 0.2),
    # mixture
    "thick_fraction": (1.0, 5.0),
    "outlier_fraction": (1.0, 50.0),
}


def _increasing(least: int, words: str, what: str = "ages in Gyr") -> AfterValidator:
    def check(knots: tuple[float, ...]) -> tuple[float, ...]:
        if len(knots) < least or any(b <= a for a, b in itertools.pairwise(knots)):
            raise ValueError(f"{words} increasing {what}")
        return knots

    return AfterValidator(check)


# Radii (kpc) at which the gradient changes, and within what scale at a break: its width is four.
_PROFILE_KNOTS = {"broken": (7.0, 11.0), "spline": (5.0, 6.5, 8.0, 9.5, 11.0, 12.5)}
_BREAK = 0.125

Knots = Annotated[tuple[float, ...], _increasing(1, "knots must be one or more")]


class FunctionKnots(Options):
    """Ages (Gyr) at which a function of age is free: one knot, a constant; two, a straight line."""

    thin: Knots
    thick: Knots


class ModelSpec(Options):
    """A population model.

    Parameters
    ----------
    name, description : str
        For tables and pages.
    form : str
        Gradient form of the thin disc, one of `FORMS`.
    reference_age : float
        Gyr; the age at which the line's level is a parameter: near the middle of the ages, where
        level and slope are least correlated.
    young_age : float
        Gyr; the age at which `gradient_young` is quoted.
    gradient_knots : tuple of float
        Gyr; ages of deviations, or of the free values. Also the ages over which `flattening_rate`
        is the least-squares slope for the forms that have none as a parameter.
    thick_gradient : {"constant", "linear"}
        Gradient form of the thick disc.
    profile : {"linear", "broken", "spline"}
        Mean [Fe/H] of the thin disc against radius: a straight line, or one whose gradient changes
        at `profile_knots`, within 0.5 kpc of each or smoothly from one to the next, the less the
        older the stars are. Gradients are then those at 8 kpc. The thick disc's is a straight line.
    profile_knots : tuple of float, optional
        kpc; 7 and 11 if not given, of a spline 5 to 12.5 by 1.5.
    skewness : tuple of float, optional
        Gyr; ages at which the skewness of the thin disc's [Fe/H] at given radius, and its change
        with radius, are free. None: [Fe/H] is normal.
    outliers : bool
        Add a broad component of fixed shape, for stars of no disc and gross errors.
    radius_by_place : bool
        Let the laws of R_g, of age and of the discs' shares be those of stars at given radius
        today, by powers of it: a first, and from 20,000 stars on a second.
    least_alpha_gap : float
        dex; what the thick disc's mean [α/Fe] exceeds the thin disc's by at the least, at any age
        and [Fe/H] = −0.3.
    least_height_gap : float
        The same of the mean of ln(Z_max + 0.2 kpc).
    birth_gradient_rate : float or None
        For ``diffusion``: the stated history of the gas's gradient, dex/kpc per Gyr of lookback
        time (0: it never changed; negative: it was steeper). None, in TOML ``"fitted"``, lets it be
        fitted under its prior.
    diffusion_widens : tuple of {"scatter", "radius"}
        For ``diffusion``: what else than the gradient the migrants shape. ``"scatter"``: [Fe/H] at
        given radius, over a scatter at birth that is one for all ages. ``"radius"``: the spread of
        radii; only for a sample not selected by radius.
    birth_radius : (float, float) or None
        For ``diffusion``: the stated mean birth radius today (kpc) and its change with age
        (kpc/Gyr), that of an exponential disc which grows inside-out (Frankel et al. 2018, ApJ 865,
        96: twice 3 kpc, less by 30% 8 Gyr ago). Birth radii of stars follow from it; None: none
        are made.
    metallicity, scatter, radius, radius_scatter, radius_tilt, height, height_scatter, alpha, \
age_weight : FunctionKnots
        Of each disc, the ages (Gyr) at which a function of age is free: mean [Fe/H] at 8 kpc and
        its scatter (dex), mean radius and its spread (kpc), their change with today's radius, mean
        of ln(Z_max + 0.2 kpc) and its scatter, mean [α/Fe] (dex) at [Fe/H] = −0.3, and ln of the
        age density. One knot makes a constant, two a straight line. Of the means of height and
        [α/Fe], those of the thin disc are of its gap to the thick one.
    priors : dict
        Prior numbers by parameter, in place of those of `DEFAULT_PRIORS`. A function of age may be
        given two, and then keeps the default of the third.

    Examples
    --------
    >>> from migrate_bayes import ModelSpec
    >>> ModelSpec(form="linear", priors={"flattening_rate": (0.0, 0.005)}).prior("flattening_rate")
    (0.0, 0.005)
    """

    name: str = "thin-thick"
    description: str = ""
    form: Form = "linear+deviations"
    reference_age: float = Field(default=5.0, gt=0)
    young_age: float = Field(default=1.0, ge=0)
    gradient_knots: Annotated[
        tuple[float, ...], _increasing(3, "gradient_knots must be three or more")
    ] = (1.0, 2.5, 4.5, 6.5, 9.0, 12.0)
    thick_gradient: Literal["constant", "linear"] = "constant"
    profile: Profile = "linear"
    profile_knots: (
        Annotated[
            tuple[float, ...], _increasing(1, "profile_knots must be one or more", "radii in kpc")
        ]
        | None
    ) = None
    skewness: Knots | None = None
    outliers: bool = True
    radius_by_place: bool = True
    least_alpha_gap: float = 0.08
    least_height_gap: float = 0.3
    birth_gradient_rate: float | None = 0.0
    diffusion_widens: tuple[Literal["scatter", "radius"], ...] = ("scatter",)
    birth_radius: tuple[float, float] | None = (6.0, -0.225)
    metallicity: FunctionKnots = FunctionKnots(thin=(1.0, 3.5, 7.0, 12.0), thick=(3.0, 12.0))
    scatter: FunctionKnots = FunctionKnots(thin=(1.0, 5.0, 12.0), thick=(8.0,))
    radius: FunctionKnots = FunctionKnots(thin=(1.0, 5.0, 12.0), thick=(8.0,))
    radius_scatter: FunctionKnots = FunctionKnots(thin=(1.0, 12.0), thick=(8.0,))
    radius_tilt: FunctionKnots = FunctionKnots(thin=(1.0, 12.0), thick=(8.0,))
    height: FunctionKnots = FunctionKnots(thin=(1.0, 5.0, 12.0), thick=(8.0,))
    height_scatter: FunctionKnots = FunctionKnots(thin=(1.0, 12.0), thick=(8.0,))
    # Old stars of a thin disc are richer in α (Haywood et al. 2013, A&A 560, A109): with one mean
    # for all ages they would be taken for thick-disc stars, and the old gradient with them.
    alpha: FunctionKnots = FunctionKnots(thin=(1.0, 5.0, 12.0), thick=(8.0,))
    age_weight: FunctionKnots = FunctionKnots(
        thin=(0.5, 2.0, 4.0, 6.5, 9.5, 13.0), thick=(1.0, 5.0, 9.0, 13.0)
    )
    priors: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    @field_validator("birth_gradient_rate", mode="before")
    @classmethod
    def _history(cls, rate: Any) -> Any:
        return None if rate == "fitted" else rate  # TOML has no null

    @field_validator("priors")
    @classmethod
    def _known_priors(cls, priors: dict[str, tuple[float, float]]) -> dict:
        for name in priors:
            if name not in DEFAULT_PRIORS:
                raise ValueError(
                    f"no parameter '{name}' to set a prior on; {suggest(name, DEFAULT_PRIORS)}"
                )
        return priors

    def prior(self, name: str) -> tuple[float, ...]:
        """Return a parameter's two prior numbers, the file's or the default."""
        default = DEFAULT_PRIORS[name]
        given = self.priors.get(name, default)
        return given + default[len(given) :]

    @model_validator(mode="after")
    def _of_one_profile(self) -> Self:
        if self.profile != "linear" and self.form == "diffusion":
            raise ValueError("the form 'diffusion' moves a straight line: its profile is 'linear'")
        if self.profile_knots and self.profile == "linear":
            raise ValueError("profile_knots are of the profile 'broken' or 'spline'")
        return self

    def varied(self, name: str) -> ModelSpec:
        """Return the model with one of `RANKED`: a form of the gradient, a profile, a law.

        A `RecipeError` is raised if there is none of the name.
        """
        if name not in RANKED:
            raise RecipeError(f"unknown gradient form '{name}'; {suggest(name, RANKED)}")
        if name == "skew":
            return self.changed(skewness=self.skewness or _SKEW_KNOTS)
        if name == "one-law":
            return self.changed(radius_by_place=False)
        return self.changed(**{"form" if name in FORMS else "profile": name})

    def changed(self, **entries: Any) -> ModelSpec:
        """Return the model with other entries; a `RecipeError` is raised if they do not fit."""
        try:
            return type(self).model_validate(self.model_dump() | entries)
        except ValidationError as error:
            raise RecipeError(describe_validation(error, ModelSpec)) from None

    @property
    def bends(self) -> tuple[tuple[float, float], ...]:
        """Radius and width (kpc) of each change of the gradient with radius."""
        if self.profile == "linear":
            return ()
        knots = self.profile_knots or _PROFILE_KNOTS[self.profile]
        if self.profile == "broken":
            return tuple((radius, _BREAK) for radius in knots)
        # Half a step: the curvature is then all but even from one knot to the next.
        step = (knots[-1] - knots[0]) / max(len(knots) - 1, 1) or 1.0
        return tuple((radius, step / 2) for radius in knots)

    @property
    def components(self) -> tuple[str, ...]:
        """Names along the `component` dimension."""
        return ("thin", "thick", "outlier") if self.outliers else ("thin", "thick")


def _model_file(name: str) -> Path:
    """Return the file of a packaged model, or the path that was given."""
    if Path(name).name != name or name.endswith(".toml"):
        return expand(name)
    models = packaged(MODELS)
    if name not in models:
        raise RecipeError(
            f"no model '{name}' comes with the package; {suggest(name, models)}. "
            "A file of your own ends with .toml"
        )
    return models[name]


def load_model_spec(source: str | Path | dict[str, Any]) -> ModelSpec:
    """Read a model specification.

    Parameters
    ----------
    source : path-like or mapping
        The name of a model that comes with the package, such as ``"thin-thick"``; a TOML file; or
        its content.

    Returns
    -------
    ModelSpec
        The model; what the file leaves out has its default.

    Raises
    ------
    RecipeError
        If the file is missing, is no TOML, or has an unknown or invalid entry; names the entry and
        the valid choices.

    Examples
    --------
    >>> from migrate_bayes import load_model_spec
    >>> load_model_spec({"form": "linear", "young_age": 2.0}).components
    ('thin', 'thick', 'outlier')
    """
    where, content = "model specification", source
    if not isinstance(content, dict):
        where = str(source)
        try:
            content = tomllib.loads(_model_file(where).read_text(encoding="utf-8"))
        except OSError as error:
            hint = ""
            if (named := Path(where).stem) in packaged(MODELS):
                hint = f'; the model of this name in the package is spec = "{named}"'
            said = f"cannot read model specification {where}: {error.strerror}{hint}"
            raise RecipeError(said) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"{where}: not valid TOML: {error}") from None
    form = content.get("form")
    if isinstance(form, str) and form not in FORMS:
        raise RecipeError(f"{where}: unknown gradient form '{form}'; {suggest(form, FORMS)}")
    try:
        return ModelSpec.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{where}: {describe_validation(error, ModelSpec)}") from None
