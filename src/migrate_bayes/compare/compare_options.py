"""Options of a comparison."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from migrate_bayes.catalog.catalog_options import CatalogOptions
from migrate_bayes.core.options import Options

Radius = Literal["rg", "r_present"]
Weights = Literal["equal", "stacking"] | dict[str, Annotated[float, Field(ge=0)]]


class IsmHistory(Options):
    """A stated history of the gas, under which flattening is a churning strength.

    Parameters
    ----------
    label : str
        Name of the churning strength under this history.
    gradient_rate : float
        Change of the gas's gradient, dex/kpc per Gyr of lookback time.
    birth_spread : float, optional
        Standard deviation of birth radii, kpc; fitted if not given.

    Examples
    --------
    >>> from migrate_bayes.compare import IsmHistory
    >>> IsmHistory(label="gradient once steeper", gradient_rate=-0.0067).birth_spread is None
    True
    """

    label: str
    gradient_rate: float = 0.0
    birth_spread: float | None = Field(default=None, gt=0)


class DataChoice(CatalogOptions):
    """Other entries of ``[data]`` under a name; those that are not given are the recipe's.

    Parameters
    ----------
    source, path : optional
        Not to be given: other stars are another recipe.
    columns, hdu : optional
        How stars are read, as of `migrate_bayes.catalog.CatalogOptions`.
    duplicate_radius, min_snr, max_age_error, survey_flags, skip_cut : optional
        Cuts, as there.
    parallax_zero_point, extinction : optional
        Corrections, as there.
    label : str
        Name of the choice.

    Examples
    --------
    >>> from migrate_bayes.catalog import CatalogOptions
    >>> from migrate_bayes.compare import DataChoice
    >>> choice = DataChoice(label="S/N above 30", min_snr=30)
    >>> data = CatalogOptions(extinction="none")
    >>> choice.over(data).min_snr, choice.rereads(data)
    (30.0, False)
    >>> choice.rereads(data.model_copy(update={"skip_cut": True}))
    True
    """

    label: str

    @model_validator(mode="after")
    def _of_the_same_stars(self) -> Self:
        if not self.changes or {"source", "path"} & set(self.changes):
            raise ValueError("names at least one entry of [data], and neither source nor path")
        return self

    @property
    def changes(self) -> dict[str, Any]:
        """The entries that are given."""
        return {n: getattr(self, n) for n in sorted(self.model_fields_set - {"label"})}

    def rereads(self, data: CatalogOptions) -> bool:
        """Say whether more than flags of `data` changes: stars are read and computed again."""
        flags = {"max_age_error"}
        if not data.skip_cut:
            flags |= {"duplicate_radius", "min_snr", "survey_flags"}
        return not set(self.changes) <= flags

    def over(self, data: CatalogOptions) -> CatalogOptions:
        """Return a recipe's ``[data]`` with these entries."""
        return data.model_copy(update=self.changes)


class VariantOptions(Options):
    """A variant by name; an entry that is not given is the reference's.

    Parameters
    ----------
    label : str
        Name of the variant.
    potential, family, selection, radius, form, data, completeness : str, optional
        Label of the orbits, isochrone source, selection, radius, form of the gradient, label of a
        `DataChoice`, source of ln S.

    Examples
    --------
    >>> from migrate_bayes.compare import VariantOptions
    >>> VariantOptions(label="MIST today", family="mist", radius="r_present").radius
    'r_present'
    """

    label: str
    potential: str | None = None
    family: str | None = None
    selection: str | None = None
    radius: Radius | None = None
    form: str | None = None
    data: str | None = None
    completeness: str | None = None
    _OWN_NONE: ClassVar[frozenset[str]] = frozenset({"completeness"})


class CompareOptions(Options):
    """What to compare: the recipe's own choices are the reference, from which each list departs.

    Parameters
    ----------
    potentials : "all" or tuple of str
        Labels of the orbits.
    families, selections, radii, forms : tuple of str
        Isochrone sources, selections, radii, forms of the gradient.
    data : tuple of DataChoice
        Other entries of ``[data]``: cuts, extinction, the parallax zero point.
    completeness : tuple of str
        Other sources of ln S, as ``[completeness] source``: ``"none"``, ``"inject"`` or files. ln S
        is of the reference's stars: a variant of other stars, ages or radii must be without.
    variants : tuple of VariantOptions
        Departures in several choices at once.
    marginal : mapping, optional
        Choices (``family``, ``potential``) over which the numbers are marginalised too, and the
        weights of their levels: ``"equal"``, ``"stacking"`` (families alone) or a number for each
        by name. Families, of equal weights, by default.
    form : str, optional
        The reference's; that of the model specification if not given.
    method : {"laplace", "sample"}
        Gaussian about the mode, or a run of the sampler.
    draws : int
        Number for each variant, with ``laplace``.
    histories : tuple of IsmHistory
        Each gives every variant one more quantity: its churning strength, kpc.

    Examples
    --------
    >>> from migrate_bayes.compare import CompareOptions
    >>> CompareOptions(potentials="all", families=["mist"]).families
    ('mist',)
    """

    potentials: Literal["all"] | tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    selections: tuple[str, ...] = ()
    radii: tuple[Radius, ...] = ()
    forms: tuple[str, ...] = ()
    data: tuple[DataChoice, ...] = ()
    completeness: tuple[str, ...] = ()
    variants: tuple[VariantOptions, ...] = ()
    marginal: dict[Literal["family", "potential"], Weights] = Field(default={"family": "equal"})
    form: str | None = None
    method: Literal["laplace", "sample"] = "laplace"
    draws: int = Field(default=2000, ge=200)
    histories: tuple[IsmHistory, ...] = (
        IsmHistory(label="gradient constant in time"),
        IsmHistory(label="gradient once steeper", gradient_rate=-0.0067),
    )

    @model_validator(mode="after")
    def _of_the_same_data(self) -> Self:
        if self.marginal.get("potential") == "stacking":
            raise ValueError(
                "marginal: 'stacking' asks how well each potential predicts the same data, and "
                "guiding radii are not the same: 'equal', or a number for each"
            )
        return self
