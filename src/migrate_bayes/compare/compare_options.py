"""Options of a comparison."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from migrate_bayes.core.options import Options


class IsmHistory(Options):
    """A stated history of the gas, under which flattening is a churning strength."""

    label: str
    gradient_rate: float = 0.0  # of the gas's gradient, dex/kpc per Gyr of lookback time
    birth_spread: float | None = Field(default=None, gt=0)  # sd of birth radii, kpc; null: fitted


class VariantOptions(Options):
    """A variant by name: what it does not say is the reference's."""

    label: str
    potential: str | None = None
    family: str | None = None
    selection: str | None = None
    radius: Literal["rg", "r_present"] | None = None
    form: str | None = None


class CompareOptions(Options):
    """What to compare: the recipe's own choices are the reference, from which each list departs."""

    potentials: Literal["all"] | tuple[str, ...] = ()  # labels of the orbits' variants
    families: tuple[str, ...] = ()  # isochrone sources
    selections: tuple[str, ...] = ()
    radii: tuple[Literal["rg", "r_present"], ...] = ()
    forms: tuple[str, ...] = ()  # of the gradient
    variants: tuple[VariantOptions, ...] = ()
    form: str | None = None  # the reference's; null: the model specification's
    method: Literal["laplace", "sample"] = "laplace"
    draws: int = Field(default=2000, ge=200)
    histories: tuple[IsmHistory, ...] = (
        IsmHistory(label="gradient constant in time"),
        IsmHistory(label="gradient once steeper", gradient_rate=-0.0067),
    )
