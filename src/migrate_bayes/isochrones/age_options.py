"""Options of the age stage: the one home of its entries, their defaults and their valid values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self, get_args

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from migrate_bayes.core.options import Options

AgeMethod = Literal["fine", "paper"]
AgePrior = Literal["flat", "log-flat", "disc"]
FehScale = Literal["surface", "dwarf", "initial"]
METHODS: tuple[AgeMethod, ...] = get_args(AgeMethod)
#: Of what becomes of a kind of star: it is left out.
EXCLUDE = "exclude"
FEH_SCALES: tuple[FehScale, ...] = get_args(FehScale)


class Systematics(Options):
    """What a survey's scale and a family's differ by: added in quadrature to each star's errors.

    Parameters
    ----------
    teff, logg, feh : float
        K, dex, dex.

    Examples
    --------
    >>> from migrate_bayes.isochrones import Systematics
    >>> Systematics(teff=30.0).logg
    0.0
    """

    teff: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    logg: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    feh: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Inflation(Options):
    """By how much a survey understates its errors: factors of them, before floors are added.

    Parameters
    ----------
    teff, logg, feh, alpha_fe, abs_g, bp_rp : float
        1: as stated.

    Examples
    --------
    >>> from migrate_bayes.isochrones import Inflation
    >>> Inflation(logg=2.0).teff
    1.0
    """

    teff: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    logg: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    feh: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    alpha_fe: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    abs_g: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    bp_rp: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class Outliers(Options):
    """Observables that are simply wrong: one at most of a star's, each with the same small chance.

    The likelihood is a mixture: with a chance of `share` for each observable in turn, its error is
    a broad one.

    Parameters
    ----------
    share : float
        Chance that an observable of a star is wrong; 0: none ever is.
    teff, logg, feh, abs_g, bp_rp : float
        What is then added to its error in quadrature: K, dex, dex, mag, mag. 0: never wrong.

    Examples
    --------
    >>> from migrate_bayes.isochrones import Outliers
    >>> Outliers(share=0.01).logg
    0.5
    """

    share: float = Field(default=0.0, ge=0, lt=0.2)
    teff: float = Field(default=500.0, ge=0, allow_inf_nan=False)
    logg: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    feh: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    abs_g: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    bp_rp: float = Field(default=0.3, ge=0, allow_inf_nan=False)

    def among(self, names: Iterable[str]) -> list[str]:
        """Return which of some observables may be wrong."""
        widths = self.model_dump(exclude={"share"})
        return [name for name in names if self.share > 0 and widths.get(name, 0.0) > 0]


class Binaries(Options):
    """Unresolved pairs of stars, of one age and composition; see `isochrones.binaries`.

    Parameters
    ----------
    share : float
        Chance that a star is one; mass ratios are equally likely between 0 and 1. 0: none is.

    Examples
    --------
    >>> from migrate_bayes.isochrones import Binaries
    >>> Binaries(share=0.4).share
    0.4
    """

    share: float = Field(default=0.0, ge=0, lt=1)


#: Entries that say how a survey's errors are not what they are stated to be.
ERROR_MODELS = ("inflation", "outliers", "binaries")
#: Of giants, measured on APOKASC-2: see docs/ages.md.
GIANT_SYSTEMATICS = Systematics(teff=25.0, logg=0.05)


class AgeOptions(Options):
    """How ages are estimated; frozen, comparable and hashable.

    Parameters
    ----------
    source : str
        What `load_source` takes; in a recipe also ``external``: the catalogue's own ages.
    method : {"fine", "paper"}
        ``fine`` integrates mass, [Fe/H] and [α/Fe] over the interpolated grid; ``paper`` follows
        Vickers, Shen & Li (2021) node by node.
    observables : tuple of str
        Which columns of the catalogue to use: of teff, logg, feh, alpha_fe, abs_g, bp_rp.
    age_prior : {"flat", "log-flat", "disc"}
        Prior on age: flat in age or in log age, or that of giants of the disc, normal with a mean
        of 4 and a standard deviation of 3.5 Gyr. It is folded into ``log_age_likelihood`` and
        recorded in ``log_interim_prior``, so that a hierarchical fit takes it out again.
    photometric_floor : float
        Added in quadrature to the errors of M_G and BP−RP, mag: models and zero points are no
        better than this.
    poor_fit : float
        A star is flagged ``POOR_FIT``, and not usable, if a χ² as bad as that of its best isochrone
        point has a smaller chance than this: its T_eff, log g and M_G are of no one star. 0 flags
        none, and ``paper`` none ever: its χ² is of the nearest node, a test of the grid.
    feh_scale : {"surface", "dwarf", "initial"}
        Which [Fe/H] of the models the observed one is compared with; see `build_grid`.
    ages : tuple of float, optional
        Age nodes, Gyr, increasing; those of the method if None.
    giants : str, optional
        Source of the giants' ages (log g < 3.5, T_eff < 5600 K), on the age nodes of `source`;
        ``exclude``: giants are flagged and not usable.
    near_zams : {"flag", "exclude"}
        Whether a hot dwarf that a survey's error of log g leaves hardly evolved (``NEAR_ZAMS``) is
        only flagged, or not usable either.
    systematics : Systematics
        Floor of the errors of all stars but giants.
    giant_systematics : Systematics, optional
        Floor of the errors of giants; if None, `GIANT_SYSTEMATICS` for ``fine``, none for
        ``paper``.
    inflation : Inflation
        Factors of the catalogue's errors.
    outliers : Outliers
        The chance that one of a star's observables is wrong.
    binaries : Binaries
        The chance that a star is two; by ``fine`` only.

    Examples
    --------
    >>> from migrate_bayes.isochrones import AgeOptions
    >>> options = AgeOptions.of(settings={"source": "dartmouth-native:data/dartmouth_gaia"})
    >>> options.short_name, options.method
    ('dartmouth-native', 'fine')
    """

    source: str = "dartmouth"
    method: AgeMethod = "fine"
    observables: tuple[str, ...] = ("teff", "logg", "feh", "alpha_fe", "abs_g")
    age_prior: AgePrior = "flat"
    photometric_floor: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    poor_fit: float = Field(default=1e-4, ge=0, lt=1)
    feh_scale: FehScale = "surface"
    ages: tuple[float, ...] | None = None
    giants: str | None = None
    near_zams: Literal["flag", "exclude"] = "flag"
    systematics: Systematics = Systematics()
    giant_systematics: Systematics | None = None
    inflation: Inflation = Inflation()
    outliers: Outliers = Outliers()
    binaries: Binaries = Binaries()

    @model_validator(mode="after")
    def _isochrones_have_kinds(self) -> Self:
        if self.source == "external" and (self.giants is not None or self.near_zams == EXCLUDE):
            raise ValueError("a catalogue's own ages know no `giants` and no `near_zams`")
        if self.binaries.share and self.method == "paper":
            raise ValueError("method 'paper' knows no `binaries`: use 'fine'")
        return self

    @property
    def short_name(self) -> str:
        """The source's name without its folder."""
        return self.source.partition(":")[0]

    @model_serializer(mode="wrap")
    def _without_defaults_of_models(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out models of errors that are not set: products from before them are current."""
        unset = {n for n in ERROR_MODELS if getattr(self, n) == type(getattr(self, n))()}
        return {name: value for name, value in handler(self).items() if name not in unset}

    def changes_error_of(self, name: str) -> bool:
        """Whether a catalogue's error of [Fe/H] or [α/Fe] is not the one that is used."""
        floors = self.systematics, self.giant_floor
        return getattr(self.inflation, name) != 1.0 or any(getattr(f, name, 0.0) for f in floors)

    @property
    def giants_source(self) -> str:
        """Where giants' ages are from."""
        return self.source if self.giants in (None, EXCLUDE) else self.giants

    @property
    def giant_floor(self) -> Systematics:
        """Floor of the errors of giants, the method's own if none was given."""
        if self.giant_systematics is not None:
            return self.giant_systematics
        return GIANT_SYSTEMATICS if self.method == "fine" else Systematics()
