"""Variants of a comparison: the reference and its departures, with factors and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import xarray as xr

from migrate_bayes.compare.compare_options import CompareOptions
from migrate_bayes.core.errors import FitError, RecipeError, suggest
from migrate_bayes.population.model.specification import FORMS
from migrate_bayes.population.results.marginal import named_weights

#: Coordinates of a variant that may differ, in the order of tables.
FACTORS = (
    "potential", "scaling", "r0", "v0", "family", "selection", "radius", "form", "data",
    "completeness",
)  # fmt: skip
_OF_STARS = "family", "selection", "radius", "data"  # what ln S is of, beside the orbits
#: Choices that numbers may be marginalised over, and what of a variant has them.
MARGINAL = {"family": "family", "potential": "orbits"}
_RADIUS_LABELS = {"rg": "R_g", "r_present": "R today"}


class ComparedVariant(NamedTuple):
    """One set of choices for the gradients of the same stars."""

    label: str  # what differs from the reference
    orbits: str  # a label along the stars' dimension `potential`
    family: str
    selection: str
    radius: str
    form: str
    data: str = ""  # label of a choice; "" for the recipe's own [data]
    completeness: str = "none"  # source of ln S

    @property
    def key(self) -> tuple[str, ...]:
        """Choices by which two variants are compared; labels do not count."""
        return tuple(self[1:])

    def factors(self, stars: xr.Dataset) -> dict[str, str | float]:
        """Return the level of each of `FACTORS`; those of the orbits are coordinates of `stars`."""
        levels = dict.fromkeys(FACTORS, "") | {"r0": float("nan"), "v0": float("nan")}
        levels |= {"potential": self.orbits}
        levels |= {name: getattr(self, name) for name in FACTORS[4:]}
        if "potential" in stars.dims:
            here = stars.sel(potential=self.orbits).coords
            for name in ("potential_model", "scaling", "r0", "v0"):
                if name in here:
                    value = here[name].values.item()
                    factor = name.removesuffix("_model")
                    levels[factor] = value if isinstance(value, float) else str(value)
        return levels


class FittedVariant(NamedTuple):
    """A variant, the levels of its factors, and its fit with the baselines of its stars."""

    variant: ComparedVariant
    factors: dict[str, str | float]
    tree: xr.DataTree


def members(variants: Sequence[ComparedVariant], over: str) -> dict[str, int]:
    """Return variants that differ from the first in one choice alone: number by level, with it."""
    first, entry = variants[0], MARGINAL[over]
    alike = [v._replace(label=first.label, **{entry: getattr(first, entry)}) for v in variants]
    return {getattr(variants[k], entry): k for k, v in enumerate(alike) if v == first}


def _of_completeness(source: str) -> str:
    """Return a label for a source of ln S."""
    words = {"none": "all [Fe/H] taken alike", "inject": "ln S by injection"}
    return words.get(source, f"ln S of {Path(source).stem}")


def list_variants(
    compare: CompareOptions, reference: ComparedVariant, potentials: Iterable[str] = ()
) -> list[ComparedVariant]:
    """List unlike variants, the reference first; `potentials` are the stars' labels."""
    known = list(potentials)
    taken = known if compare.potentials == "all" else compare.potentials
    departures: list[dict[str, str]] = [
        *({"label": p, "orbits": p} for p in taken),
        # The label of a source is without its folder.
        *({"label": f.partition(":")[0], "family": f} for f in compare.families),
        *({"label": s, "selection": s} for s in compare.selections),
        *({"label": _RADIUS_LABELS[r], "radius": r} for r in compare.radii),
        *({"label": f"{form} in age", "form": form} for form in compare.forms),
        *({"label": choice.label, "data": choice.label} for choice in compare.data),
        *({"label": _of_completeness(s), "completeness": s} for s in compare.completeness),
    ]
    for named in compare.variants:
        given = named.model_dump(exclude_none=True)
        departures.append({"orbits" if k == "potential" else k: v for k, v in given.items()})
    unique = {reference.key: reference}
    for changes in departures:
        variant = reference._replace(**changes)
        unique.setdefault(variant.key, variant)
    forms = [f for f in FORMS if f != "diffusion"]
    choices = ["", *(choice.label for choice in compare.data)]
    for variant in unique.values():
        if variant.form not in forms:
            raise RecipeError(
                f"cannot compare gradient form '{variant.form}'; {suggest(variant.form, forms)}"
            )
        if variant.data not in choices:
            raise RecipeError(f"no [data] '{variant.data}'; {suggest(variant.data, choices[1:])}")
        other = [n for n in _OF_STARS if getattr(variant, n) != getattr(reference, n)]
        if variant.completeness != "none" and other:
            raise RecipeError(
                f"variant '{variant.label}' has another {' and '.join(other)}, but ln S is of the "
                'reference\'s stars: give it completeness = "none", or compare without '
                "[completeness]"
            )
        if known and variant.orbits not in known:
            raise RecipeError(
                f"the stars have no orbits in '{variant.orbits}'; {suggest(variant.orbits, known)}"
            )
    if len(unique) < 2:
        raise RecipeError("[compare] varies nothing")
    for over, weights in compare.marginal.items():
        levels = members([*unique.values()], over)
        if len(levels) < 2 and "marginal" in compare.model_fields_set:
            raise RecipeError(f"[compare.marginal] {over}: the comparison varies no {over}")
        if not isinstance(weights, str):
            try:
                named_weights([*levels], weights)
            except FitError as error:
                raise RecipeError(f"[compare.marginal] {over}: {error}") from None
    label, count = Counter(v.label for v in unique.values()).most_common(1)[0]
    if count > 1:
        raise RecipeError(f"two variants are called '{label}'")
    return list(unique.values())
