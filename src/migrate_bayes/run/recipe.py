"""Run recipes: one TOML file says everything that decides a run's numbers."""

from __future__ import annotations

import os
import re
import tomllib
import warnings
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from migrate_bayes.baseline.baseline_options import BaselineOptions
from migrate_bayes.catalog.catalog_options import CatalogOptions
from migrate_bayes.compare.compare_options import CompareOptions
from migrate_bayes.core.errors import RecipeError, describe_validation
from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.options import Options, is_none
from migrate_bayes.core.places import MODELS, RECIPES, expand, packaged
from migrate_bayes.core.provenance import content_hash
from migrate_bayes.inject.completeness_options import CompletenessOptions
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.orbits.orbit_options import OrbitOptions
from migrate_bayes.population.fit_options import FitOptions, SamplerOptions
from migrate_bayes.report.report_options import ReferenceOptions, ReportOptions
from migrate_bayes.run.run_options import RunOptions

if TYPE_CHECKING:
    from migrate_bayes.mock.truth import Truth

DATA_ENV = "MIGRATE_BAYES_DATA"
# Entries that name a selection, by section; `compare.selections` names several, and of each
# variant and reference column one.
_SELECTIONS = {
    "baseline": ("selection", "thick_selection"),
    "model": ("selection",),
    "compare": ("selections", "variants"),
    "reference": ("columns",),
}
# Texts that hold the path of a folder or file: `dartmouth-native:DIR` and `FILE.py:attribute`.
_PATH_WITHIN = re.compile(r"(?P<before>dartmouth-native:|)(?P<path>.+?)(?P<after>(?<=\.py):\w+|)")


class Recipe(Options):
    """A run, from data to report: a table of options for each stage.

    Parameters
    ----------
    name : str
        Name of the run's folder; the file's if not given.
    description : str
        Text at the top of the report.
    seed : int
        Decides every random draw.
    chunk_size : int
        Stars at a time; changes no number.
    run : RunOptions
        Where parts of the stars are made; changes no number.
    until : {"fit", "ages"}
        Where `Run.all` ends, but for the report: a catalogue without velocities has ages alone.
    data, simulate, orbits, isochrones : Options
        How stars are read, simulated (if ``data.source`` is ``"mock"``), and given orbits and ages.
    reference, baseline : Options, optional
        Published values, and ODR in age bins; a recipe may leave them out.
    completeness : Options
        How the survey took its stars by [Fe/H].
    model, sampler : Options
        The hierarchical fit and its sampling.
    compare : Options, optional
        What `compare_recipes` varies.
    report : Options
        What the page shows.
    selections : dict
        Selections of the recipe's own, by name: see `migrate_bayes.select`.

    Examples
    --------
    >>> from migrate_bayes import Recipe
    >>> recipe = Recipe(name="few", data={"source": "mock"}, simulate={"stars": 500})
    >>> recipe.truth()["gradient_young"], len(recipe.hash)
    (-0.075, 16)
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    description: str = ""
    seed: int = Field(default=20210301, ge=0, lt=2**64)
    chunk_size: int = Field(default=65_536, gt=0)
    run: RunOptions = RunOptions()
    until: Literal["fit", "ages"] = "fit"
    data: CatalogOptions = CatalogOptions()
    simulate: MockOptions = MockOptions()
    orbits: OrbitOptions = OrbitOptions()
    isochrones: AgeOptions = AgeOptions()
    reference: ReferenceOptions | None = None
    baseline: BaselineOptions | None = BaselineOptions()
    completeness: CompletenessOptions = CompletenessOptions()
    model: FitOptions = FitOptions()
    sampler: SamplerOptions = SamplerOptions()
    compare: CompareOptions | None = None
    report: ReportOptions = ReportOptions()
    selections: dict[str, Any] = Field(default_factory=dict)
    # Paths that were found, by what the recipe's file says.
    _as_written: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _write_out_selections(cls, content: Any) -> Any:
        """Turn lists, tables and names of the recipe's own into expressions; check them."""
        if not isinstance(content, dict):
            return content
        from migrate_bayes.selection.expressions import expand

        own = content.get("selections", {})
        if not isinstance(own, dict):
            raise ValueError("[selections] is a table of names")

        def written(given: Any, entry: str) -> Any:
            if entry == "selections" and isinstance(given, list | tuple):
                return tuple(expand(one, own) for one in given)
            if entry not in ("variants", "columns"):
                return expand(given, own)
            if not isinstance(given, list):
                return given
            for i, v in enumerate(given := list(given)):
                if isinstance(v, dict) and not _absent(v.get("selection")):
                    given[i] = v | {"selection": expand(v["selection"], own)}
            return given

        content, where = dict(content), "selections"
        try:
            for name, selection in own.items():
                where = f"selections.{name}"
                expand(selection, own)
            for section, entry in ((s, e) for s, entries in _SELECTIONS.items() for e in entries):
                where, table = f"{section}.{entry}", content.get(section)
                if isinstance(table, dict) and not _absent(table.get(entry)):
                    content[section] = table | {entry: written(table[entry], entry)}
        except RecipeError as error:
            raise ValueError(f"'{where}': {error}") from None
        return content

    @property
    def hash(self) -> str:
        """Hash of what decides the numbers of a run, 16 hex digits.

        Layout, comments, chunks, where a sum is computed, and comparisons are not part of it. A
        path counts as the recipe's file has it, so that a copy elsewhere has the same hash.
        """
        keys = ("chunk_size", "run", "until", "compare", "report")
        without: dict[str, Any] = dict.fromkeys(keys, True)
        without |= {"sampler": {"scheduler"}, "model": {"forms"}}
        content = self.as_written(self.model_dump(mode="json", exclude=without))
        # A packaged model by its name, and by the file that it comes from.
        if isinstance(spec := content["model"]["spec"], str) and spec in packaged(MODELS):
            content["model"]["spec"] = f"models/{spec}.toml"
        return content_hash(content)

    def as_written(self, content: Any) -> Any:
        """Return content with the paths that were found as the recipe's file has them."""
        return _in_texts(content, lambda text: self._as_written.get(text, text))

    def truth(self) -> Truth | None:
        """Return the mock's true values by the names of the posterior, or None for real data.

        Those of the ``migration`` population follow from its laws, with the flattening rate over
        the model's own knots: see `migrate_bayes.mock.discs.true_line`.
        """
        from migrate_bayes.mock.truth import Truth

        if self.data.source != "mock":
            return None
        if self.simulate.population == "migration":
            from migrate_bayes.mock.discs import true_line
            from migrate_bayes.population.model.specification import load_model_spec

            return true_line(self.simulate, load_model_spec(self.model.spec).gradient_knots)
        names = ("gradient_young", "flattening_rate", "gradient_thick")
        return Truth({name: getattr(self.simulate, name) for name in names})


def _absent(selection: object) -> bool:
    return selection is None or is_none(selection)


def _in_texts(content: Any, change: Callable[[str], str]) -> Any:
    """Change every text of nested tables and lists."""
    if isinstance(content, str):
        return change(content)
    if isinstance(content, dict):
        return {key: _in_texts(value, change) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_in_texts(value, change) for value in content]
    return content


def _found_beside(folder: Path, text: str) -> str:
    """Write out ``~`` and variables in a path; look for it beside the recipe, then here."""
    match = _PATH_WITHIN.fullmatch(text)
    if match is None or not text.strip():
        return text
    if f"${DATA_ENV}" in text:
        # Of a catalogue, `resolve_data_path` says that the folder is absent.
        return text.replace(f"${DATA_ENV}", str(data_root())) if match["before"] else text
    path = expand(match["path"])
    beside = folder / path
    if not path.is_absolute() and beside.exists():
        path = path if path.exists() and path.samefile(beside) else beside.absolute()
    return match["before"] + str(path) + match["after"]


def _find_paths(content: dict[str, Any], folder: Path) -> dict[str, str]:
    """Find the files that a recipe's content names, in place; return what it said, by path."""
    said: dict[str, str] = {}

    def find(text: str) -> str:
        found = _found_beside(folder, text)
        if found != text:
            said[found] = text
        return found

    def find_within(text: str) -> str:
        match = _PATH_WITHIN.fullmatch(text)
        return find(text) if match and (match["before"] or match["after"]) else text

    def find_table(text: Any) -> Any:
        return find(text) if str(text).endswith(".nc") else text

    sources = {"isochrones": ("source", "giants"), "simulate": ("potential", "isochrones")}
    for section, names in sources.items():
        if isinstance(table := content.get(section), dict):
            table |= {name: _in_texts(table[name], find_within) for name in names if name in table}
    for section in ("orbits", "compare"):
        if section in content:
            content[section] = _in_texts(content[section], find_within)
    model, data = content.get("model"), content.get("data")
    if isinstance(model, dict):
        if isinstance(spec := model.get("spec"), str) and spec.endswith(".toml"):
            model["spec"] = find(spec)
        if isinstance(model.get("potential"), str):
            model["potential"] = find_within(model["potential"])
    if isinstance(data, dict):
        if isinstance(path := data.get("path"), str):
            data["path"] = find(path)
        if isinstance(name := data.get("columns"), str) and name.endswith(".toml"):
            data["columns"] = find(name)
    choices = compare.get("data") if isinstance(compare := content.get("compare"), dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and str(choice.get("columns")).endswith(".toml"):
            choice["columns"] = find(choice["columns"])
    if isinstance(compare, dict):
        variants = compare.get("variants")
        tables = [v for v in variants if isinstance(v, dict)] if isinstance(variants, list) else []
        for table in (compare, *tables):
            if "completeness" in table:
                table["completeness"] = _in_texts(table["completeness"], find_table)
    if isinstance(table := content.get("completeness"), dict):
        table |= {"source": find_table(table["source"])} if "source" in table else {}
        shares = table.get("shares")
        for one in shares if isinstance(shares, list) else ():
            if isinstance(one, dict) and isinstance(path := one.get("path"), str):
                one["path"] = find(path)
    if isinstance(report := content.get("report"), dict) and "comparisons" in report:
        report["comparisons"] = _in_texts(report["comparisons"], find)
    return said


def data_root() -> Path:
    """Return the folder of third-party data: ``$MIGRATE_BAYES_DATA`` or ``../shared/data``."""
    return Path(os.environ.get(DATA_ENV, "../shared/data"))


def resolve_data_path(path: str) -> Path:
    """Expand ``~`` and ``$VARIABLES`` in a path; `RecipeError` if the folder of data is absent."""
    marker = f"${DATA_ENV}"
    if marker not in path:
        return expand(path)
    root = data_root()
    if not root.is_dir():
        raise RecipeError(
            f"this recipe needs third-party data, {path}, and there is no folder {root}: set "
            f"${DATA_ENV} to the one that holds it"
        )
    return Path(path.replace(marker, str(root)))


def find_recipe(
    recipe: str | Path, *, beside: Path | None = None, above: tuple[Path, ...] = ()
) -> Path:
    """Return a recipe's file: the path, ``NAME.toml`` there, or one that comes with the package.

    Relative paths are those in the folder `beside`, the working directory if not given. By a name
    the files `above`, which are being read, are not found. A warning says if the file is taken in
    place of the package's recipe of that name.

    Examples
    --------
    >>> from migrate_bayes.run.recipe import find_recipe
    >>> find_recipe("demo").name
    'demo.toml'
    """
    path = expand(recipe) if beside is None else beside / expand(recipe)
    if path.suffix == ".toml" or not path.name:
        return path
    ours = packaged(RECIPES).get(str(recipe))
    for here in (path, path.with_name(f"{path.name}.toml")):
        if not here.is_file() or here.resolve() in above:
            continue
        if ours is not None and here.resolve() != ours.resolve():
            warnings.warn(
                f"recipe '{recipe}' is the file {here} here, not the package's recipe of this name",
                stacklevel=2,
            )
        return here
    return ours or path


def _twice(text: str, said: str) -> str:
    """Word what a TOML file defines twice, by what the parser said; empty if that is no such."""
    if not re.search("overwrite|twice|Duplicate", said):
        return ""
    line = re.search(r"line (\d+)", said)
    table = entry = ""
    for read in text.splitlines()[: int(line[1]) if line else None]:
        if header := re.match(r"\s*\[+\s*([^\[\],=]+?)\s*\]+\s*(#|$)", read):
            table, entry = header[1], ""
        elif assigned := re.match(r"\s*([\w.'\"-]+)\s*=", read):
            entry = assigned[1]
    what = f"'{entry}'" * bool(entry) + " of " * bool(entry and table) + f"[{table}]" * bool(table)
    hint = (
        '. Of columns = "MAP" and a table [data.columns] keep the table, with extends = "MAP" as '
        "its first line"
    )
    of_map = "overwrite" in said and (table, entry) in (("data.columns", ""), ("data", "columns"))
    return f"; {what} stands in the file already{hint if of_map else ''}"


def _content_of(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a TOML file over what its ``extends`` names: another, or one of the package."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text)
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError) and path.stem in packaged(RECIPES):
            hint = f"; the recipe of this name in the package is '{path.stem}'"
        raise RecipeError(f"cannot read recipe {path}: {error.strerror}{hint}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}{_twice(text, str(error))}") from None
    content.setdefault("name", path.stem)
    if (base := content.pop("extends", None)) is None:
        return content
    if not isinstance(base, str):
        raise RecipeError(f"{path}: 'extends' is the path of another recipe")
    above = (path.resolve(), *above)
    other = find_recipe(base, beside=path.parent, above=above)
    if other.resolve() in above:
        raise RecipeError(f"{path}: 'extends' leads back to {other}")
    return _merged(_content_of(other, above), content)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Put the entries of a table over those of another, table by table."""
    both = {
        k: _merged(base[k], over[k])
        for k in base.keys() & over.keys()
        if isinstance(base[k], dict) and isinstance(over[k], dict)
    }
    return base | over | both


def read_as[Schema: BaseModel](path: Path, schema: type[Schema]) -> Schema:
    """Read a TOML file, as `load_recipe` does, into a schema that has a `name`."""
    return _validated(_content_of(find_recipe(path)), path, schema)


def _validated[Schema: BaseModel](
    content: dict[str, Any], path: Path, schema: type[Schema]
) -> Schema:
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{path}: {describe_validation(error, schema)}") from None


def _suggested_columns(data: Path) -> str:
    """Draft a map of a catalogue, upon the packaged one that fits it; nothing if none is needed."""
    from migrate_bayes.catalog.columns import REQUIRED
    from migrate_bayes.catalog.formats import open_source
    from migrate_bayes.catalog.maps import draft_map, fitting_maps

    names = open_source(data).names
    if {"source_id", "ra", "dec", *REQUIRED["ages"]} <= set(names):
        return ""
    return draft_map(names, next(iter(fitting_maps(names)), ""))


def write_template(
    path: str | Path, *, data: str = "stars.fits", columns: str = "", overwrite: bool = False
) -> Path:
    """Write a commented recipe with all defaults; a `ProductError` if the file may not be written.

    If the catalogue exists, and `columns` is not given, the packaged map that fits it is named, or
    a map drafted from the names of its columns.

    Examples
    --------
    >>> import tempfile
    >>> from migrate_bayes.run.recipe import load_recipe, write_template
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_recipe(write_template(f"{folder}/mine.toml", data="survey.fits")).data.path
    'survey.fits'
    """
    path = expand(path)
    text = files("migrate_bayes.run").joinpath("template.toml").read_text(encoding="utf-8")
    for word, value in (
        ("NAME", path.stem),
        ("PATH", data),
        ("MODELS", ", ".join(packaged(MODELS))),
    ):
        text = text.replace(word, value)
    draft = f'extends = "{columns}"' if columns else ""
    if not columns and expand(data).exists():
        draft = _suggested_columns(expand(data))
    if draft:
        head = (
            "\n[data.columns]                # a draft from the columns' names: look it through\n"
        )
        text = text.replace("\n[isochrones]", f"{head}{draft}\n\n[isochrones]")
    with atomic_output(path, overwrite=overwrite) as out:
        out.write_text(text, encoding="utf-8")
    return path


def load_recipe(path: str | Path) -> Recipe:
    r"""Read a run recipe.

    Parameters
    ----------
    path : path-like
        A TOML file with the entries of `Recipe`, or the name of one that comes with the package,
        such as ``"demo"``.

    Returns
    -------
    Recipe
        All options, checked, with selections written out as expressions. Relative paths are looked
        for beside the file, then in the working directory; ``~`` and ``$VARIABLES`` are written
        out.

    Raises
    ------
    RecipeError
        If the file is missing, is no TOML, or has an unknown or invalid entry.

    Examples
    --------
    >>> import tempfile
    >>> from migrate_bayes import load_recipe
    >>> with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
    ...     _ = file.write('name = "tiny"\n[data]\nsource = "mock"\n')
    ...     file.flush()
    ...     load_recipe(file.name).name
    'tiny'
    """
    path = find_recipe(path)
    content = _content_of(path)
    as_written = _find_paths(content, path.parent)
    recipe = _validated(content, path, Recipe)
    recipe._as_written = as_written
    if recipe.data.source == "file" and not recipe.data.path:
        raise RecipeError(f'{path}: [data] needs a `path`, or `source = "mock"`')
    return recipe
