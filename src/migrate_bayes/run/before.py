"""A recipe is checked whole before any star is computed.

`check_run` opens what a run will need, without reading a row: the catalogue's columns, potentials,
isochrones, the model, selections and the columns that they ask for, the places of the products. It
raises everything that it finds at once, and returns remarks on what the catalogue lacks and the run
can do without.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from migrate_bayes.catalog.columns import COLUMNS as CATALOGUED
from migrate_bayes.catalog.columns import EXTRA_PREFIX, REQUIRED
from migrate_bayes.catalog.extinction import check_extinction
from migrate_bayes.catalog.maps import near_columns
from migrate_bayes.catalog.measured import substitutes
from migrate_bayes.catalog.quality import SNR_BANDS
from migrate_bayes.catalog.zero_point import check_zero_point
from migrate_bayes.compare.compare_options import DataChoice
from migrate_bayes.core.errors import (
    CatalogError,
    MigrateBayesError,
    ProductError,
    RecipeError,
    suggest,
)
from migrate_bayes.core.options import is_none
from migrate_bayes.core.parallel import check_scheduler
from migrate_bayes.core.places import expand, why_not_writable
from migrate_bayes.isochrones.age_options import EXCLUDE
from migrate_bayes.run.recipe import Recipe
from migrate_bayes.selection.conditions import columns_of
from migrate_bayes.selection.expressions import parse_selection

#: Stages of which the check can be told: "ages" and "orbits" read the catalogue.
Stage = Literal["ages", "orbits", "fit"]


class _Findings:
    """Errors of several parts of a recipe, gathered."""

    def __init__(self) -> None:
        self.errors: list[MigrateBayesError] = []

    def of[T](self, part: Callable[[], T]) -> T | None:
        """Call a part of the check, and keep its error."""
        try:
            return part()
        except MigrateBayesError as error:
            self.errors.append(error)
        except OSError as error:  # of a name that no file can have, as one that is too long
            name = str(error.filename or "")
            name = name if len(name) <= 60 else f"{name[:57]}…"
            self.errors.append(RecipeError(f"{name}: {(error.strerror or str(error)).lower()}"))
        return None

    def add(self, error: MigrateBayesError) -> None:
        if str(error) not in map(str, self.errors):
            self.errors.append(error)

    def end(self, name: str) -> None:
        """Raise a single error as it is, several as one."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            lines = "".join(f"\n  - {error}" for error in self.errors)
            raise RecipeError(f"recipe '{name}': {len(self.errors)} things to mend:{lines}")


def check_run(
    recipe: Recipe,
    *,
    catalog: Path,
    outputs: Iterable[Path] = (),
    stages: Collection[Stage] = ("ages", "orbits", "fit"),
) -> list[str]:
    """Check a recipe before its run.

    Parameters
    ----------
    recipe : Recipe
        What is to be done.
    catalog : Path
        The catalogue's file. It need not exist if the recipe simulates it.
    outputs : iterable of Path
        Products and pages that will be written.
    stages : collection of {"ages", "orbits", "fit"}
        Stages whose columns the catalogue must have. The recipe's own entries (model, potentials,
        isochrones) are checked whatever the stages.

    Returns
    -------
    list of str
        Remarks: what the catalogue lacks and the run does without.

    Raises
    ------
    MigrateBayesError
        The error, if there is one; a `RecipeError` that lists them if there are several.

    Examples
    --------
    >>> from pathlib import Path
    >>> from migrate_bayes import Recipe
    >>> from migrate_bayes.run.before import check_run
    >>> recipe = Recipe(name="x", data={"source": "mock"}, orbits={"zmax_draws": 1})
    >>> check_run(recipe, catalog=Path("none.parquet"))
    Traceback (most recent call last):
    migrate_bayes.core.errors.OrbitError: zmax_draws must be 0, or from 2 to draws (100), not 1
    """
    from migrate_bayes.isochrones.sources.registry import check_source

    found = _Findings()
    notes: list[str] = []
    found.of(lambda: _check_model(recipe))
    labels = found.of(lambda: _check_potentials(recipe))
    p = recipe.model.potential
    if "fit" in stages and recipe.until == "fit" and labels is not None and p not in labels:
        found.add(RecipeError(f"'model.potential': no orbits in '{p}'; {suggest(p, labels)}"))
    for name in _isochrones(recipe):
        found.of(partial(check_source, name))
    found.of(lambda: _check_observables(recipe))
    for scheduler in {recipe.run.scheduler, recipe.sampler.scheduler}:
        found.of(partial(check_scheduler, scheduler))
    found.of(lambda: _check_completeness(recipe))
    columns: set[str] | None = None
    if recipe.data.source == "file" and {"ages", "orbits"} & set(stages):
        opened = found.of(lambda: _columns_of(catalog, recipe))
        if opened is None:
            stages = ()  # what it lacks is not known
        else:
            columns, own_distances, names = opened
            notes += _check_columns(recipe, columns, names, stages, found)
            notes += found.of(lambda: _hygiene(recipe, columns, own_distances)) or []
            if recipe.compare is not None:
                for choice in recipe.compare.data:
                    _check_choice(recipe, choice, catalog, stages, found)
    notes += _check_selections(recipe, columns, stages, found)
    for path in outputs:
        if reason := why_not_writable(path):
            found.add(ProductError(f"cannot write {path}: {reason}"))
    found.end(recipe.name)
    return notes


def _check_completeness(recipe: Recipe) -> None:
    c, compare = recipe.completeness, recipe.compare
    sources = {"completeness.source": [c.source]}
    if compare is not None:
        named = (v.completeness for v in compare.variants)
        sources["compare.completeness"] = list(compare.completeness)
        sources["compare.variants"] = [source for source in named if source is not None]
    injected = any("inject" in of_entry for of_entry in sources.values())
    for entry, paths in sources.items():
        for path in paths:
            if not is_none(path) and path != "inject" and not expand(path).is_file():
                raise RecipeError(f"'{entry}': there is no file {path}")
    if injected:
        from migrate_bayes.inject.share_files import read_shares

        try:
            read_shares(c.shares)
        except CatalogError as error:
            raise RecipeError(f"'completeness.shares': {error}") from None
    if injected and c.survey == "mock" and recipe.data.source != "mock":
        raise RecipeError("'completeness.survey': this is no mock; use \"catalogue\"")
    if injected and recipe.isochrones.source == "external":
        raise RecipeError("'completeness.source': external ages cannot be made of injected stars")


def _check_model(recipe: Recipe) -> None:
    from migrate_bayes.population.model.specification import RANKED, load_model_spec

    load_model_spec(recipe.model.spec)
    for form in recipe.model.forms:
        if form not in RANKED:
            raise RecipeError(f"'model.forms': unknown form '{form}'; {suggest(form, RANKED)}")


def _check_potentials(recipe: Recipe) -> list[str]:
    """Return the labels of the orbits."""
    from migrate_bayes.core.errors import OrbitError
    from migrate_bayes.orbits.potential import list_potentials
    from migrate_bayes.orbits.potential_tables import check_potential

    orbits = recipe.orbits
    made = list_potentials(orbits)
    mock = {recipe.simulate.potential} - {None} if recipe.data.source == "mock" else set()
    for name in dict.fromkeys([*(p.name for p in made.values()), *mock]):
        check_potential(str(name))
    known = {p.name for p in made.values()} | set(made)
    for name in orbits.zmax_potentials or ():
        if name not in known:
            raise OrbitError(f"Z_max asked in '{name}', not computed: {suggest(name, known)}")
    if orbits.zmax_draws == 1 or orbits.zmax_draws > orbits.draws:
        raise OrbitError(
            f"zmax_draws must be 0, or from 2 to draws ({orbits.draws}), not {orbits.zmax_draws}"
        )
    return list(made)


def _isochrones(recipe: Recipe) -> list[str]:
    i, compare = recipe.isochrones, recipe.compare
    names = [i.source, *([] if i.giants in (None, EXCLUDE) else [i.giants])]
    if recipe.data.source == "mock":
        names.append(recipe.simulate.drawn_from(i))
    if compare is not None:
        names += [*compare.families, *(v.family for v in compare.variants if v.family is not None)]
    return list(dict.fromkeys(str(n) for n in names if n != "external"))


def _check_observables(recipe: Recipe) -> None:
    from migrate_bayes.isochrones.grid import age_nodes
    from migrate_bayes.isochrones.observed import OBSERVABLES
    from migrate_bayes.isochrones.sources.registry import load_source

    i = recipe.isochrones
    for name in i.observables:
        if name not in OBSERVABLES:
            said = suggest(name, OBSERVABLES)
            raise RecipeError(f"'isochrones.observables': unknown observable '{name}': {said}")
    if i.source == "external":
        return
    if "feh" not in i.observables:
        raise RecipeError("'isochrones.observables': isochrone ages need 'feh' among them")
    if i.ages is not None:
        age_nodes(load_source(i.source), i.method, i.ages)


def _columns_of(catalog: Path, recipe: Recipe) -> tuple[set[str], bool, Sequence[str]]:
    """Return canonical columns of the catalogue, if distances are its own, and the file's names."""
    from migrate_bayes.catalog.reader import CatalogReader

    reader = CatalogReader(catalog, recipe.data.columns, None, recipe.data.hdu)
    columns = reader.columns
    if photometric(recipe, columns):
        columns |= {"abs_g", "abs_g_error", "a_g", "bp_rp", "bp_rp_error", "extinction_map"}
    return columns, "distance" in reader.by_name, reader.names


def photometric(recipe: Recipe, columns: set[str]) -> bool:
    """Tell whether the run computes absolute magnitudes, of a catalogue of these columns.

    ``extinction = "auto"`` does so where there is a G.
    """
    i, extinction = recipe.isochrones, recipe.data.extinction
    wanted = i.source != "external" and bool({"abs_g", "bp_rp"} & set(i.observables))
    possible = "phot_g_mean_mag" in columns if extinction == "auto" else extinction is not None
    return wanted and possible


def _needed_columns(
    recipe: Recipe, columns: set[str], stages: Collection[Stage]
) -> dict[str, tuple[str, ...]]:
    """Return the columns that each purpose needs, by its name in messages."""
    i = recipe.isochrones
    needs: dict[str, tuple[str, ...]] = {}
    if recipe.data.duplicate_radius is not None:
        needs['the search for repeat observations (or set duplicate_radius = "none")'] = "ra", "dec"
    if "ages" in stages:
        if i.source == "external":
            needs["external ages"] = "age", "age_lo", "age_hi", "feh", "feh_error"
        else:
            used = [n for n in REQUIRED["ages"] if n.removesuffix("_error") in i.observables]
            needs["isochrone ages"] = tuple(used)
        if photometric(recipe, columns):
            purpose = "absolute magnitudes (or leave abs_g out of the observables of [isochrones])"
            needs[purpose] = REQUIRED["photometry"]
    if "orbits" in stages and recipe.until == "fit":
        names = [n for n in REQUIRED["orbits"] if n not in ("distance_lo", "distance_hi")]
        if recipe.model.radius == "r_present":  # needs places alone
            names = ["ra", "dec", "distance"]
        needs['orbits (or end the run with ages: until = "ages")'] = tuple(names)
    return needs


def _check_columns(
    recipe: Recipe,
    columns: set[str],
    names: Sequence[str],
    stages: Collection[Stage],
    found: _Findings,
) -> list[str]:
    """Find the columns that stages lack; return remarks on what they can do without.

    `names` are the file's own, of which the nearest are proposed.
    """
    data, i = recipe.data, recipe.isochrones
    where = "[data.columns]"
    if isinstance(data.columns, str):
        where += f' with extends = "{data.columns}", in place of columns = "{data.columns}"'
    for purpose, needed in _needed_columns(recipe, columns, stages).items():
        if lacking := [n for n in needed if n not in columns]:
            text = f"the catalogue has no {', '.join(lacking)}, needed for {purpose}"
            near = {n: near_columns(n, names) for n in lacking}
            proposed = {n: json.dumps(columns[0]) for n, columns in near.items() if columns}
            proposed |= {
                n: "{ constant = ... }" for n in lacking if n.endswith("_error") and not near[n]
            }
            if proposed:
                said = ", ".join(f"{n} = {proposed[n]}" for n in lacking if n in proposed)
                text += f". Perhaps, in {where}: {said}"
            if made := substitutes(lacking):
                text += f". {made.strip()}"
            found.add(CatalogError(text))
    if "ages" in stages and i.source != "external":
        if {"alpha_fe"} & set(i.observables) & columns and "alpha_fe_error" not in columns:
            found.add(
                CatalogError(
                    "column 'alpha_fe' has no 'alpha_fe_error': map one, as alpha_fe_error = { "
                    "constant = 0.05 }, or leave 'alpha_fe' out of the observables of [isochrones]"
                )
            )
        if photometric(recipe, columns):
            found.of(lambda: check_extinction(data.extinction or "none", columns))
    if (zero_point := data.parallax_zero_point) is not None:
        found.of(lambda: check_zero_point(zero_point, columns))
    notes = []
    if "abs_g" in i.observables and i.source != "external" and "abs_g" not in columns:
        likely = near_columns("phot_g_mean_mag", names)
        hint = f' Perhaps, in {where}: phot_g_mean_mag = "{likely[0]}"' if likely else ""
        notes.append(f"The catalogue has no G: ages are from the spectrum alone.{hint}")
    if data.min_snr and not set(SNR_BANDS) & columns:
        notes.append(
            f"The catalogue has no signal-to-noise ratio: min_snr = {data.min_snr:g} cuts nothing."
        )
    if "alpha_fe" not in columns and recipe.until == "fit":
        notes.append(
            "The catalogue has no [α/Fe]: the discs are told apart by height, radius, [Fe/H] and "
            "age alone."
        )
    return notes


def _check_choice(
    recipe: Recipe,
    choice: DataChoice,
    catalog: Path,
    stages: Collection[Stage],
    found: _Findings,
) -> None:
    """Find what a comparison's other entries of ``[data]`` lack."""
    changed = recipe.model_copy(update={"data": choice.over(recipe.data)})
    if (opened := found.of(lambda: _columns_of(catalog, changed))) is not None:
        _check_columns(changed, opened[0], opened[2], stages, found)


# Columns that tell of doubtful stars, and the selection of those that are not.
_CLEAN = {
    "ruwe": "ruwe-1.4", "non_single_star": "single-star", "ipd_frac_multi_peak": "unblended",
}  # fmt: skip


def _hygiene(recipe: Recipe, columns: set[str], own_distances: bool) -> list[str]:
    """Say which columns of quality no choice of the recipe uses, and what a choice cannot do."""
    data, notes = recipe.data, []
    used = columns_of(parse_selection(recipe.model.selection))
    unused = {name: clean for name, clean in _CLEAN.items() if name in columns - used}
    if unused and recipe.until == "fit":
        rest = " & ".join([recipe.model.selection, *unused.values()])
        notes.append(
            f"No selection uses {', '.join(unused)} of the catalogue: "
            f'`selection = "{rest}"` in [model] would.'
        )
    if data.parallax_zero_point is not None and own_distances:
        notes.append(
            "The distances are the catalogue's own: parallax_zero_point changes the parallax "
            "alone, and with it no age and no orbit."
        )
    return notes


def _made_columns(recipe: Recipe) -> set[str]:
    """Return the columns of stars that the run makes, and those derived from them."""
    from migrate_bayes.orbits.orbits import COLUMNS, MOMENTS
    from migrate_bayes.stars.joins import AGE_VARIABLES

    made = {*AGE_VARIABLES, "flag", "external_age", "external_age_lo", "external_age_hi"}
    if recipe.until == "fit":
        moments = [name for name, _, _ in MOMENTS]
        made |= {*moments, *(f"{name}_sd" for name in moments), "distance_mean", *COLUMNS}
        made |= {"toomre_speed", "toomre_speed_local", "abs_z"}
    return made


def _check_selections(
    recipe: Recipe, columns: set[str] | None, stages: Collection[Stage], found: _Findings
) -> list[str]:
    """Find selections of columns that there are not; return remarks on baselines left out.

    Without `columns`, as of a mock, whatever a catalogue may have counts as there.
    """
    made = _made_columns(recipe)
    there = made | (set(CATALOGUED) if columns is None else columns)
    notes: list[str] = []
    b, compare = recipe.baseline, recipe.compare
    asked: list[tuple[str, str | None]] = [("model.selection", recipe.model.selection)]
    if recipe.until == "fit" and b is not None:
        asked += [("baseline", b.selection), ("baseline", b.thick_selection)]
    if compare is not None:
        asked += [("compare.selections", s) for s in compare.selections]
        asked += [("compare.variants", v.selection) for v in compare.variants]
    for where, selection in asked:
        if selection is None:
            continue
        lacking = columns_of(parse_selection(selection)) - there
        for name in sorted(lacking):
            if name.startswith(EXTRA_PREFIX) and columns is None:
                continue
            if name not in CATALOGUED:
                said = f"the column '{name}', which the stars lack; {suggest(name, there)}"
                found.add(RecipeError(f"'{where}': selection '{selection}' needs {said}"))
            elif where == "baseline":
                notes.append(f"The catalogue has no {name}: there is no baseline of '{selection}'.")
            elif "fit" in stages:
                found.add(
                    CatalogError(
                        f"'{where}': the catalogue has no {name}, which the selection "
                        f"'{selection}' needs: map such a column, or choose another selection"
                    )
                )
    for column in () if recipe.reference is None else recipe.reference.columns:
        if columns is not None and column.reference not in there:
            carried = [n for n in columns if n.startswith(EXTRA_PREFIX)]
            found.add(
                RecipeError(
                    f"'reference.columns': the catalogue has no '{column.reference}'; "
                    f"{suggest(column.reference, carried)}"
                )
            )
    return notes
