"""What is compared: a reference and its departures, each with its factors and a label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import xarray as xr

from migrate_bayes.compare.compare_options import CompareOptions
from migrate_bayes.core.errors import RecipeError, suggest
from migrate_bayes.population.model.specification import FORMS

#: Coordinates of a variant that may differ, in the order of tables.
FACTORS = ("potential", "scaling", "r0", "v0", "family", "selection", "radius", "form")
_RADIUS_LABELS = {"rg": "R_g", "r_present": "R today"}


@dataclass(frozen=True)
class ComparedVariant:
    """One way of making the same stars' gradients.

    Parameters
    ----------
    label : str
        What differs from the reference.
    orbits : str
        Label along the stars' dimension `potential`.
    family, selection, radius, form : str
        Isochrone source, selection, ``rg`` or ``r_present``, gradient form.
    """

    label: str
    orbits: str
    family: str
    selection: str
    radius: str
    form: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two variants the same, whatever their labels."""
        return (self.orbits, self.family, self.selection, self.radius, self.form)

    def factors(self, stars: xr.Dataset) -> dict[str, str | float]:
        """Return the level of each of `FACTORS`; those of the orbits are coordinates of `stars`."""
        levels: dict[str, str | float] = {
            "potential": self.orbits, "scaling": "", "r0": float("nan"), "v0": float("nan"),
            "family": self.family, "selection": self.selection, "radius": self.radius,
            "form": self.form,
        }  # fmt: skip
        if "potential" in stars.dims:
            here = stars.sel(potential=self.orbits).coords
            for factor, name in (
                ("potential", "potential_model"), ("scaling", "scaling"), ("r0", "r0"), ("v0", "v0")
            ):  # fmt: skip
                if name in here:
                    value = here[name].values.item()
                    levels[factor] = value if isinstance(value, float) else str(value)
        return levels


@dataclass(frozen=True)
class FittedVariant:
    """A variant, the levels of its factors, and its fit with the baselines of its stars."""

    variant: ComparedVariant
    factors: dict[str, str | float]
    tree: xr.DataTree


def list_variants(
    compare: CompareOptions, reference: ComparedVariant, potentials: Iterable[str] = ()
) -> list[ComparedVariant]:
    """List what is compared, the reference first.

    Parameters
    ----------
    compare : CompareOptions
        The departures from the reference.
    reference : ComparedVariant
    potentials : iterable of str
        Labels along `potential` of the stars; those that ``potentials = "all"`` takes.

    Returns
    -------
    list of ComparedVariant
        Unlike one another; of variants that are alike, the first.

    Raises
    ------
    RecipeError
        When nothing varies, or a name is unknown or used twice.

    Examples
    --------
    >>> from migrate_bayes.compare import ComparedVariant, CompareOptions, list_variants
    >>> reference = ComparedVariant("reference", "McMillan17", "mist", "all", "rg", "linear")
    >>> options = CompareOptions(families=("mist", "basti"), radii=("r_present",))
    >>> [variant.label for variant in list_variants(options, reference)]
    ['reference', 'basti', 'R today']
    """
    known = list(potentials)
    named = {"potential": "orbits"}
    departures: list[tuple[str, Mapping[str, str]]] = [
        *(
            (p, {"orbits": p})
            for p in (known if compare.potentials == "all" else compare.potentials)
        ),
        # The label of a source is without its folder.
        *((f.partition(":")[0], {"family": f}) for f in compare.families),
        *((s, {"selection": s}) for s in compare.selections),
        *((_RADIUS_LABELS[r], {"radius": r}) for r in compare.radii),
        *((f"{form} in age", {"form": form}) for form in compare.forms),
        *(
            (v.label, {named.get(k, k): x for k, x in v if k != "label" and x is not None})
            for v in compare.variants
        ),
    ]
    unique = {reference.key: reference}
    for label, changes in departures:
        variant = replace(reference, label=label, **changes)
        unique.setdefault(variant.key, variant)
    forms = [f for f in FORMS if f != "diffusion"]
    for variant in unique.values():
        if variant.form not in forms:
            raise RecipeError(
                f"cannot compare gradient form '{variant.form}'; {suggest(variant.form, forms)}"
            )
        if known and variant.orbits not in known:
            raise RecipeError(
                f"the stars have no orbits in '{variant.orbits}'; {suggest(variant.orbits, known)}"
            )
    variants = list(unique.values())
    if len(variants) < 2:
        raise RecipeError("[compare] varies nothing")
    labels = [v.label for v in variants]
    for label in labels:
        if labels.count(label) > 1:
            raise RecipeError(f"two variants are called '{label}'")
    return variants
