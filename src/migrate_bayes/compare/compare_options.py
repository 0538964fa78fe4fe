"""Options of a comparison."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from migrate_bayes.core.options import Options

Radius = Literal["rg", "r_present"]


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


class VariantOptions(Options):
    """A variant by name; an entry that is not given is the reference's.

    Parameters
    ----------
    label : str
        Name of the variant.
    potential, family, selection, radius, form : str, optional
        Label of the orbits, isochrone source, selection, radius, form of the gradient.

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


class CompareOptions(Options):
    """What to compare: the recipe's own choices are the reference, from which each list departs.

    Parameters
    ----------
    potentials : "all" or tuple of str
        Labels of the orbits.
    families, selections, radii, forms : tuple of str
        Isochrone sources, selections, radii, forms of the gradient.
    variants : tuple of VariantOptions
        Departures in several choices at once.
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
    variants: tuple[VariantOptions, ...] = ()
    form: str | None = None
    method: Literal["laplace", "sample"] = "laplace"
    draws: int = Field(default=2000, ge=200)
    histories: tuple[IsmHistory, ...] = (
        IsmHistory(label="gradient constant in time"),
        IsmHistory(label="gradient once steeper", gradient_rate=-0.0067),
    )
