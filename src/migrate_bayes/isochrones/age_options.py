"""Options of the age stage: the one home of its entries, their defaults and their valid values."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import Field, model_validator

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

    @model_validator(mode="after")
    def _isochrones_have_kinds(self) -> Self:
        if self.source == "external" and (self.giants is not None or self.near_zams == EXCLUDE):
            raise ValueError("a catalogue's own ages know no `giants` and no `near_zams`")
        return self

    @property
    def short_name(self) -> str:
        """The source's name without its folder."""
        return self.source.partition(":")[0]

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
