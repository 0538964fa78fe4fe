"""Run recipes: one TOML file says everything that decides a run's numbers."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from migrate_bayes.baseline.baseline_options import BaselineOptions
from migrate_bayes.catalog.catalog_options import CatalogOptions
from migrate_bayes.compare.compare_options import CompareOptions
from migrate_bayes.core.errors import RecipeError, describe_validation
from migrate_bayes.core.options import Options
from migrate_bayes.core.provenance import content_hash
from migrate_bayes.isochrones.age_options import AgeOptions
from migrate_bayes.mock.mock_options import MockOptions
from migrate_bayes.orbits.orbit_options import OrbitOptions
from migrate_bayes.population.fit_options import FitOptions, SamplerOptions
from migrate_bayes.report.report_options import ReferenceOptions, ReportOptions

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
    until : {"fit", "ages"}
        Where `Run.all` ends, but for the report: a catalogue without velocities has ages alone.
    data, simulate, orbits, isochrones : Options
        How stars are read, simulated (if ``data.source`` is ``"mock"``), and given orbits and ages.
    reference, baseline : Options, optional
        Published values, and ODR in age bins; a recipe may leave them out.
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

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = 20210301
    chunk_size: int = Field(default=65_536, gt=0)
    until: Literal["fit", "ages"] = "fit"
    data: CatalogOptions = CatalogOptions()
    simulate: MockOptions = MockOptions()
    orbits: OrbitOptions = OrbitOptions()
    isochrones: AgeOptions = AgeOptions()
    reference: ReferenceOptions | None = None
    baseline: BaselineOptions | None = BaselineOptions()
    model: FitOptions = FitOptions()
    sampler: SamplerOptions = SamplerOptions()
    compare: CompareOptions | None = None
    report: ReportOptions = ReportOptions()
    selections: dict[str, Any] = Field(default_factory=dict)

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
            if entry == "selections":
                return tuple(expand(one, own) for one in given)
            if entry not in ("variants", "columns"):
                return expand(given, own)
            if not isinstance(given, list):
                return given
            for i, v in enumerate(given := list(given)):
                if isinstance(v, dict) and v.get("selection") is not None:
                    given[i] = v | {"selection": expand(v["selection"], own)}
            return given

        content, where = dict(content), "selections"
        try:
            for name, selection in own.items():
                where = f"selections.{name}"
                expand(selection, own)
            for section, entry in ((s, e) for s, entries in _SELECTIONS.items() for e in entries):
                where, table = f"{section}.{entry}", content.get(section)
                if isinstance(table, dict) and table.get(entry) is not None:
                    content[section] = table | {entry: written(table[entry], entry)}
        except RecipeError as error:
            raise ValueError(f"'{where}': {error}") from None
        return content

    @property
    def hash(self) -> str:
        """Hash of what decides the numbers of a run, 16 hex digits.

        Layout, comments, chunks, where a sum is computed, and comparisons are not part of it.
        """
        keys = ("chunk_size", "until", "compare", "report")
        without: dict[str, Any] = dict.fromkeys(keys, True)
        without |= {"sampler": {"scheduler"}, "model": {"forms"}}
        return content_hash(self.model_dump(mode="json", exclude=without))

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


def data_root() -> Path:
    """Return the folder of third-party data: ``$MIGRATE_BAYES_DATA`` or ``../shared/data``."""
    return Path(os.environ.get(DATA_ENV, "../shared/data"))


def resolve_data_path(path: str) -> Path:
    """Expand ``$MIGRATE_BAYES_DATA`` in a path; `RecipeError` if that folder does not exist."""
    marker = f"${DATA_ENV}"
    if marker not in path:
        return Path(path)
    root = data_root()
    if not root.is_dir():
        raise RecipeError(
            f"this recipe needs third-party data, which is not at {root}: set ${DATA_ENV} to the "
            "folder that holds it"
        )
    return Path(path.replace(marker, str(root)))


def read_as[Schema: BaseModel](path: Path, schema: type[Schema]) -> Schema:
    """Read a TOML file, as `load_recipe` does, into a schema that has a `name`."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise RecipeError(f"cannot read recipe {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    content.setdefault("name", path.stem)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{path}: {describe_validation(error, schema)}") from None


def load_recipe(path: str | Path) -> Recipe:
    r"""Read a run recipe.

    Parameters
    ----------
    path : path-like
        A TOML file with the entries of `Recipe`.

    Returns
    -------
    Recipe
        All options, checked, with selections written out as expressions.

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
    path = Path(path)
    recipe = read_as(path, Recipe)
    if recipe.data.source == "file" and not recipe.data.path:
        raise RecipeError(f'{path}: [data] needs a `path`, or `source = "mock"`')
    return recipe
