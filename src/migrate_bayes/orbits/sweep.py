"""What orbits are computed in: potentials, solar parameters and scalings, each with a label.

A recipe's ``[orbits.sweep]`` gives arrays of R₀, V₀ and scaling; every combination with every
potential is a *variant* along the product's dimension `potential`. All use the same random draws,
so that differences between variants are paired.
"""

from __future__ import annotations

__all__ = ["Variant", "make_variants"]

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

from migrate_bayes.core.errors import OrbitError, suggest
from migrate_bayes.orbits.frame import SolarFrame
from migrate_bayes.orbits.potential import SCALINGS, natural_units

SWEPT = ("r0", "v0", "scaling")


class Variant(NamedTuple):
    """One entry along `potential`: `units` are the potential's (ro kpc, vo km/s) in it."""

    label: str
    potential: str
    frame: SolarFrame
    scaling: str
    units: tuple[float, float]


def _values(sweep: Mapping[str, Any], key: str, default: Any) -> list[Any]:
    given = sweep.get(key)
    if given is None:
        return [default]
    values = [given] if isinstance(given, str | int | float) else list(given)
    if not values:
        raise OrbitError(f"orbits.sweep: {key} is empty; leave it out, or give at least one value")
    return values


def make_variants(
    potentials: Iterable[str] | str,
    frame: SolarFrame,
    scaling: str,
    sweep: Mapping[str, Any] | None = None,
) -> list[Variant]:
    """List the variants of a recipe, potentials varying fastest.

    Parameters
    ----------
    potentials : iterable of str
        Names; see `migrate_bayes.orbits.potential`.
    frame : SolarFrame
        What stands where the sweep says nothing.
    scaling : {"rescaled", "native"}
        Likewise.
    sweep : mapping, optional
        Arrays ``r0`` (kpc), ``v0`` (km/s), ``scaling``.

    Returns
    -------
    list of Variant
        Labelled by the potential's name where frame and scaling are the recipe's own, else by name
        and what differs: ``"McMillan17 R0=8.0 V0=220.0 native"``.

    Raises
    ------
    OrbitError
        Where a name or number is impossible, or a variant would stand there twice.
    """
    names = (potentials,) if isinstance(potentials, str) else tuple(potentials)
    if not names or len(set(names)) != len(names):
        raise OrbitError("potentials: name at least one, each once")
    sweep = dict(sweep or {})
    for key in sweep:
        if key not in SWEPT:
            raise OrbitError(f"orbits.sweep has no '{key}': {suggest(key, SWEPT)}")
    variants = []
    for r0, v0, how in product(
        _values(sweep, "r0", frame.r0),
        _values(sweep, "v0", frame.v0),
        _values(sweep, "scaling", scaling),
    ):
        if how not in SCALINGS:
            raise OrbitError(f"unknown scaling '{how}': {suggest(str(how), SCALINGS)}")
        here = replace(frame, r0=r0, v0=v0)
        if here != frame:
            here = replace(here, name=f"{frame.name} R0={here.r0} V0={here.v0}")
        suffix = f" R0={here.r0} V0={here.v0}" if here != frame else ""
        suffix += f" {how}" if how != scaling else ""
        variants += [
            Variant(name + suffix, name, here, how, natural_units(name, here, how))
            for name in names
        ]
    labels = [variant.label for variant in variants]
    for label in labels:
        if labels.count(label) > 1:
            raise OrbitError(f"orbits.sweep: '{label}' comes out twice; give each value once")
    return variants
