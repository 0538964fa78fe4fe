"""What decides the content of each product of a run, by section of the recipe.

A product records this mapping, and its stage keeps it for as long as the recipe, the catalogue, the
isochrones, the potentials and the version give the same one (`migrate_bayes.core.io.is_current`).
What changes no number (chunks, where a sum is computed) is not in it. Paths are as the recipe's
file has them: what stands there counts by its checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from migrate_bayes import __version__
from migrate_bayes.core.options import Options
from migrate_bayes.core.places import expand
from migrate_bayes.core.provenance import file_sha256

if TYPE_CHECKING:
    from migrate_bayes.population import ModelSpec
    from migrate_bayes.run.recipe import Recipe

MadeFrom = dict[str, Any]
#: Raised when a product holds or means something else, within a version of the package.
FORMATS = {"ages": 3, "baseline": 2, "completeness": 6, "variant": 2}
# Entries of [data] that decide stars as they are read.
_CATALOGUE = {
    "columns", "hdu", "duplicate_radius", "min_snr", "survey_flags", "skip_cut",
    "parallax_zero_point",
}  # fmt: skip


def of_catalogue(recipe: Recipe) -> MadeFrom:
    """Return what decides a mock catalogue."""
    from migrate_bayes.isochrones.sources.registry import source_checksum
    from migrate_bayes.orbits.potential_tables import table_key

    mock, orbits = recipe.simulate, recipe.orbits
    source = mock.drawn_from(recipe.isochrones)
    potential = mock.moves_in(orbits)
    made = {
        "version": __version__,
        "seed": recipe.seed,
        "simulate": _entries(mock.model_copy(update={"potential": potential}), but={"isochrones"}),
        "isochrones": {"source": source, "checksum": source_checksum(source)},
        "orbits": _entries(orbits, only={"frame", "scaling"}) | {"tables": table_key(potential)},
    }
    return recipe.as_written(made)


def of_stars(
    recipe: Recipe, catalogue: str, *, ages: bool, orbits: bool, family: str | None = None
) -> MadeFrom:
    """Return what decides StarPosteriors of a catalogue, given by its checksum."""
    from migrate_bayes.isochrones.sources.registry import source_checksum
    from migrate_bayes.orbits.potential import list_potentials
    from migrate_bayes.orbits.potential_tables import table_key

    data, i = recipe.data, recipe.isochrones
    photometric = i.source != "external" and {"abs_g", "bp_rp"} & set(i.observables)
    cuts = _entries(data, only=_CATALOGUE)
    cuts |= _entries(data, only={"extinction"}) if photometric else {"extinction": None}
    if isinstance(data.columns, str) and data.columns.endswith(".toml"):
        cuts["columns_checksum"] = file_sha256(data.columns)
    made: MadeFrom = {"version": __version__, "catalogue": catalogue, "data": cuts}
    if ages:
        i = i if family is None else i.model_copy(update={"source": family})
        names = sorted({i.source, i.giants_source} - {"external"})
        made["isochrones"] = _entries(i) | {"checksums": [source_checksum(n) for n in names]}
        made["isochrones"]["format"] = FORMATS["ages"]
        cuts["max_age_error"] = data.max_age_error
    if orbits:
        names = sorted({potential.name for potential in list_potentials(recipe.orbits).values()})
        made["orbits"] = _entries(recipe.orbits) | {"tables": [table_key(n) for n in names]}
        made["seed"] = recipe.seed
    return recipe.as_written(made)


def of_baseline(recipe: Recipe, stars: str, selection: str | None = None) -> MadeFrom:
    """Return what decides the ODR of a selection, or (None) of slices and variants."""
    model = _entries(recipe.model, only={"potential", "radius"})
    baseline = {} if recipe.baseline is None else _entries(recipe.baseline)
    if selection is not None:
        baseline |= {"selection": selection, "thick_selection": None}
    made = {"version": __version__, "stars": stars, "baseline": baseline, "model": model}
    return recipe.as_written(made | {"format": FORMATS["baseline"]})


def of_completeness(recipe: Recipe, stars: str) -> MadeFrom:
    """Return what decides an injected ln S; `stars` of the catalogue, if it is used."""
    chain = of_stars(recipe, "", ages=True, orbits=False)
    data = chain["data"]
    made = {
        "version": __version__,
        "format": FORMATS["completeness"],
        "seed": recipe.seed,
        "completeness": _entries(recipe.completeness),
        "selection": recipe.model.selection,
        "data": {name: data[name] for name in ("min_snr", "extinction", "max_age_error")},
        "isochrones": chain["isochrones"],
    }
    if recipe.completeness.survey == "mock":
        mock = of_catalogue(recipe)
        made |= {"survey": recipe.simulate.survey, "drawn_from": mock["isochrones"]}
        made["orbits"] = mock["orbits"] | {"potential": mock["simulate"]["potential"]}
    else:
        made["stars"] = stars
    if shares := recipe.completeness.shares:
        made["shares"] = [file_sha256(expand(one.path)) for one in shares]
    return recipe.as_written(made)


def of_fit(
    recipe: Recipe, stars: str, spec: ModelSpec, completeness: str | None = None
) -> MadeFrom:
    """Return what decides the hierarchical fit; `completeness` by the digest of its table."""
    made: MadeFrom = {
        "version": __version__,
        "stars": stars,
        "seed": recipe.seed,
        "model": _entries(recipe.model, but={"forms", "spec"}) | {"spec": _entries(spec)},
        "sampler": _entries(recipe.sampler, but={"scheduler"}),
    }
    if completeness is not None:
        made |= {"completeness": completeness, "format": FORMATS["completeness"]}
    return recipe.as_written(made)


def of_report(recipe: Recipe, stars: str, text: str, products: Mapping[str, str]) -> MadeFrom:
    """Return what decides the page: the recipe, and the checksums of what it shows."""
    shown = _entries(recipe, but={"chunk_size": True, "run": True, "sampler": {"scheduler"}})
    made: MadeFrom = {"version": __version__, "stars": stars, "products": dict(products)}
    return recipe.as_written(made | {"recipe": shown, "text": text})


def _entries(
    options: Options | ModelSpec, *, only: set[str] | None = None, but: Any = None
) -> MadeFrom:
    return options.model_dump(mode="json", include=only, exclude=but)
