"""What is compared: a recipe's reference and its departures, each with its factors and a label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import xarray as xr

from migrate_bayes.compare.compare_options import CompareOptions
from migrate_bayes.core.errors import RecipeError, suggest
from migrate_bayes.population.model.specification import FORMS
from migrate_bayes.run.recipe import Recipe

__all__ = ["FACTORS", "ComparedVariant", "list_variants"]

#: Coordinates of a variant that may differ, in the order of tables.
FACTORS = ("potential", "scaling", "r0", "v0", "family", "selection", "radius", "form")


@dataclass(frozen=True)
class ComparedVariant:
    """One way of making the same stars' gradients.

    Attributes
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
        """What makes two variants the same, whatever they are called."""
        return (self.orbits, self.family, self.selection, self.radius, self.form)

    def factors(self, stars: xr.Dataset) -> dict[str, str | float]:
        """Levels of `FACTORS`."""
        here = stars.sel(potential=self.orbits) if "potential" in stars.dims else None

        def of_orbits(name: str, default: str | float) -> str | float:
            if here is None or name not in here.coords:
                return default
            value = here[name].values.item()
            return value if isinstance(value, float) else str(value)

        return {
            "potential": of_orbits("potential_model", self.orbits),
            "scaling": of_orbits("scaling", ""),
            "r0": of_orbits("r0", float("nan")),
            "v0": of_orbits("v0", float("nan")),
            "family": self.family,
            "selection": self.selection,
            "radius": self.radius,
            "form": self.form,
        }


def _short(source: str) -> str:
    """Name a source without its folder."""
    return source.partition(":")[0]


def list_variants(
    recipe: Recipe, form: str, potentials: Iterable[str] = ()
) -> list[ComparedVariant]:
    """List the variants of a recipe, the reference first.

    Parameters
    ----------
    recipe : Recipe
        With a section ``[compare]``.
    form : str
        Gradient form of the model specification.
    potentials : iterable of str
        Labels along `potential` of the stars; those that ``potentials = "all"`` takes.

    Raises
    ------
    RecipeError
        Where there is nothing to compare, or a name is unknown or stands there twice.
    """
    compare = recipe.compare
    if compare is None:
        raise RecipeError(
            f"recipe '{recipe.name}' has no section [compare]: it says what varies, as "
            'potentials = "all"'
        )
    known = list(potentials)
    m = recipe.model
    reference = ComparedVariant(
        "reference", m.potential, recipe.isochrones.source, m.selection, m.radius,
        compare.form or form,
    )  # fmt: skip
    found = [reference]
    chosen = known if compare.potentials == "all" else compare.potentials
    found += [replace(reference, label=name, orbits=name) for name in chosen]
    found += [replace(reference, label=_short(name), family=name) for name in compare.families]
    found += [replace(reference, label=name, selection=name) for name in compare.selections]
    found += [
        replace(reference, label={"rg": "R_g", "r_present": "R today"}[name], radius=name)
        for name in compare.radii
    ]
    found += [replace(reference, label=f"{name} in age", form=name) for name in compare.forms]
    found += _named(compare, reference)
    unique: dict[tuple[str, ...], ComparedVariant] = {}
    for variant in found:
        if variant.form not in FORMS or variant.form == "diffusion":
            raise RecipeError(
                f"recipe '{recipe.name}': cannot compare gradient form '{variant.form}'; "
                + suggest(variant.form, [f for f in FORMS if f != "diffusion"])
            )
        if known and variant.orbits not in known:
            raise RecipeError(
                f"recipe '{recipe.name}': the stars have no orbits in '{variant.orbits}'; "
                f"{suggest(variant.orbits, known)}"
            )
        unique.setdefault(variant.key, variant)
    variants = list(unique.values())
    if len(variants) < 2:
        raise RecipeError(f"recipe '{recipe.name}': [compare] varies nothing")
    labels = [v.label for v in variants]
    for label in labels:
        if labels.count(label) > 1:
            raise RecipeError(f"recipe '{recipe.name}': two variants are called '{label}'")
    return variants


def _named(compare: CompareOptions, reference: ComparedVariant) -> list[ComparedVariant]:
    made = []
    for v in compare.variants:
        changes = {
            "orbits": v.potential, "family": v.family, "selection": v.selection,
            "radius": v.radius, "form": v.form,
        }  # fmt: skip
        given = {k: value for k, value in changes.items() if value is not None}
        made.append(replace(reference, label=v.label, **given))
    return made
