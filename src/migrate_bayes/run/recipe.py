"""Run recipes: one TOML file says everything that decides a run's numbers.

`Recipe` is the schema, with the default of every entry; `load_recipe` reads a file and words what
is wrong with it. A recipe's hash is of what decides the numbers: layout, comments and the size of
chunks may change freely.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from migrate_bayes.core.errors import RecipeError, describe_validation
from migrate_bayes.core.provenance import content_hash

if TYPE_CHECKING:
    from migrate_bayes.mock.truth import Truth

__all__ = ["Recipe", "data_root", "load_recipe"]

DATA_ENV = "MIGRATE_BAYES_DATA"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(_Section):
    """Where the stars come from and which of them count."""

    source: Literal["file", "mock"] = "file"
    path: str = ""
    columns: str | dict[str, Any] | None = None
    duplicate_radius: float | None = 5.0  # arcsec; null keeps repeat observations
    min_snr: float | None = 50.0  # each of g, r, i; null cuts nothing
    max_age_error: float | None = 0.25  # relative; null cuts nothing
    extinction: str = "auto"


class MigrationSection(_Section):
    """The ``migration`` population; `migrate_bayes.mock.migration` has the laws."""

    sigma_rm8: float = Field(default=3.6, ge=0)  # kpc: diffusion of R_g in 8 Gyr
    birth_gradient: float = -0.085  # dex/kpc, of the gas today
    birth_gradient_rate: float = -0.004  # dex/kpc per Gyr of lookback time
    birth_radius_spread: float = Field(default=3.0, gt=0)  # kpc, at every age
    birth_radius_now: float = Field(default=8.5, gt=0)  # kpc: mean birth radius today
    growth: float = 0.2  # kpc/Gyr by which the mean birth radius has grown: inside-out
    # [Fe/H] of the gas today at 8 kpc: low enough that isochrones, which end at 0.43, reach all but
    # some 0.3% of the stars. At 0 they lack 2% of the old: a gradient 10% flatter.
    ism_now: float = -0.2
    ism_rise: float = Field(default=0.7, ge=0)  # dex gained there in the last 14 Gyr
    ism_power: float = Field(default=0.5, gt=0)  # 1: steadily; below 1: most of it early
    ism_scatter: float = Field(default=0.05, ge=0)  # dex at one radius and time
    young_alpha_rich: float = Field(default=0.05, ge=0, lt=1)  # share of the thick disc
    outliers: float = Field(default=0.005, ge=0, lt=1)  # share of all: the stellar halo


class SimulateSection(_Section):
    """The mock survey's truth and size."""

    stars: int = Field(default=20_000, gt=0)
    population: Literal["model", "migration"] = "model"
    survey: Literal["simple", "lamost"] = "simple"
    potential: str | None = None  # in which the stars move; null: the first of [orbits]
    gradient_young: float = -0.075  # dex/kpc at 1 Gyr; of the "model" population
    flattening_rate: float = 0.003  # dex/kpc/Gyr; of the "model" population
    gradient_thick: float = 0.02  # dex/kpc
    thick_fraction: float = Field(default=0.15, ge=0, lt=1)
    migration: MigrationSection = MigrationSection()

    def moves_in(self, orbits: OrbitSection) -> str:
        """Return the potential of the stars: the stated one, or the first of `orbits`."""
        return self.potential or orbits.potentials[0]


class SweepSection(_Section):
    """Solar parameters and scalings to vary; every combination, with every potential."""

    r0: tuple[float, ...] | None = None  # kpc
    v0: tuple[float, ...] | None = None  # km/s
    scaling: tuple[Literal["rescaled", "native"], ...] | None = None


class OrbitSection(_Section):
    """Frame, potentials and Monte-Carlo draws."""

    frame: str | dict[str, float | str] = "vickers2021"
    potentials: tuple[str, ...] = ("MWPotential2014", "Irrgang13I", "McMillan17")
    zmax_potentials: tuple[str, ...] | None = None  # where Z_max is computed; null: all
    scaling: Literal["rescaled", "native"] = "rescaled"
    draws: int = Field(default=100, gt=1)
    zmax_draws: int = Field(default=0, ge=0)  # orbits integrated for ln Z_max's moments; 0: none
    sweep: SweepSection | None = None


class IsochroneSection(_Section):
    """How ages are made."""

    source: str = "dartmouth"  # or "external": the catalogue's own ages
    method: Literal["fine", "paper"] = "fine"
    observables: tuple[str, ...] = ("teff", "logg", "feh", "alpha_fe", "abs_g")
    age_prior: Literal["flat", "log-flat"] = "flat"
    photometric_floor: float = Field(default=0.02, ge=0)
    feh_scale: Literal["surface", "dwarf", "initial"] = "surface"
    ages: tuple[float, ...] | None = None  # nodes in Gyr, increasing; null: those of the method


class BaselineSection(_Section):
    """The paper's way: ODR in age bins."""

    selection: str = "thin"
    thick_selection: str | None = "thick"  # a second fit, for the thick disc; null: none
    bin_width: float = Field(default=1.25, gt=0)
    age_range: tuple[float, float] = (1.0, 12.25)
    min_stars: int = Field(default=20, gt=2)


class ModelSection(_Section):
    """The hierarchical fit."""

    spec: str | dict[str, Any] = "models/thin-thick.toml"
    potential: str = "MWPotential2014"
    selection: str = "all"
    radius: Literal["rg", "r_present"] = "rg"
    forms: tuple[str, ...] = ("constant", "linear", "linear+deviations")  # for `compare-models`


class SamplerSection(_Section):
    """How the posterior is sampled: NUTS, on the stars or on a surrogate for them."""

    method: Literal["auto", "nuts", "surrogate"] = "auto"  # auto: the surrogate from 20,000 stars
    draws: int = Field(default=1000, gt=0)
    tune: int = Field(default=200, gt=0)  # enough in coordinates whitened at the mode
    chains: int = Field(default=4, gt=0)
    target_accept: float = Field(default=0.85, gt=0, lt=1)
    scheduler: str = "threads"  # "local:N" processes, or a dask scheduler's address; same numbers


class ReferenceColumn(_Section):
    """A column of ours to hold against one that the catalogue brought along (`ref_…`)."""

    ours: str
    reference: str
    label: str
    unit: str = ""


class PublishedGradient(_Section):
    """A published gradient in an age range, to measure again on the same stars."""

    label: str
    age_range: tuple[float, float]  # Gyr
    slope: float  # dex/kpc
    slope_error: float | None = None


class PublishedSection(_Section):
    """How published gradients were measured."""

    radius: str = "r_present"  # column against which [Fe/H] is fitted
    radius_error: str = "r_present_sd"
    height: str = "z"
    max_height: float = 0.3  # kpc
    gradients: tuple[PublishedGradient, ...] = ()


class StartColumn(_Section):
    """A reference column, times `scale`, in kpc or km/s."""

    column: str
    scale: float = 1.0


class ReferenceStart(_Section):
    """Published phase space to integrate as well, beside the stars' own."""

    label: str = "from the published phase space"
    R: StartColumn
    v_r: StartColumn
    v_phi: StartColumn
    z: StartColumn
    v_z: StartColumn


class ReferenceSection(_Section):
    """Checks against the catalogue's own columns and published numbers."""

    frame: str = ""  # the frame the reference columns were made in, in words
    note: str = ""  # what to know of them
    columns: tuple[ReferenceColumn, ...] = ()
    start: ReferenceStart | None = None
    published: PublishedSection | None = None


class IsmHistory(_Section):
    """A stated history of the gas, under which flattening is a churning strength."""

    label: str
    gradient_rate: float = 0.0  # of the gas's gradient, dex/kpc per Gyr of lookback time
    birth_spread: float | None = Field(default=None, gt=0)  # sd of birth radii, kpc; null: fitted


class VariantSection(_Section):
    """A variant by name: what it does not say is the reference's."""

    label: str
    potential: str | None = None
    family: str | None = None
    selection: str | None = None
    radius: Literal["rg", "r_present"] | None = None
    form: str | None = None


class CompareSection(_Section):
    """What to compare: the recipe's own choices are the reference, from which each list departs."""

    potentials: Literal["all"] | tuple[str, ...] = ()  # labels of the orbits' variants
    families: tuple[str, ...] = ()  # isochrone sources
    selections: tuple[str, ...] = ()
    radii: tuple[Literal["rg", "r_present"], ...] = ()
    forms: tuple[str, ...] = ()  # of the gradient
    variants: tuple[VariantSection, ...] = ()
    form: str | None = None  # the reference's; null: the model specification's
    method: Literal["laplace", "sample"] = "laplace"
    draws: int = Field(default=2000, ge=200)
    histories: tuple[IsmHistory, ...] = (
        IsmHistory(label="gradient constant in time"),
        IsmHistory(label="gradient once steeper", gradient_rate=-0.0067),
    )


class ReportSection(_Section):
    """What the report shows beside the run's own products."""

    validation: str = "validate-ages"  # the report whose figures of ages are embedded; "": none
    comparisons: tuple[str, ...] = ()  # NetCDF products of comparisons to draw


class Recipe(_Section):
    """A run, from data to report."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = 20210301
    chunk_size: int = Field(default=65_536, gt=0)  # stars at a time; changes no number
    data: DataSection = DataSection()
    simulate: SimulateSection = SimulateSection()
    orbits: OrbitSection = OrbitSection()
    isochrones: IsochroneSection = IsochroneSection()
    reference: ReferenceSection | None = None
    baseline: BaselineSection | None = BaselineSection()
    model: ModelSection = ModelSection()
    sampler: SamplerSection = SamplerSection()
    compare: CompareSection | None = None
    report: ReportSection = ReportSection()
    selections: dict[str, Any] = Field(default_factory=dict)  # of your own, by name

    @model_validator(mode="before")
    @classmethod
    def _write_out_selections(cls, content: Any) -> Any:
        """Turn lists, tables and names of the recipe's own into expressions; check them."""
        return _selections_written_out(content) if isinstance(content, dict) else content

    @property
    def hash(self) -> str:
        """Hash of what decides the numbers of a run, 16 hex digits.

        How a sum is shared out, and comparisons that read a run's products, are not part of it.
        """
        without: dict[str, Any] = {
            "chunk_size": True,
            "compare": True,
            "report": True,
            "sampler": {"scheduler"},
            "model": {"forms"},
        }
        return content_hash(self.model_dump(mode="json", exclude=without))

    def truth(self) -> Truth | None:
        """The mock's true values by the names of the posterior, or None for real data.

        Of the ``migration`` population, gradient(age) and the numbers that word it follow from its
        laws, the flattening rate over the model's own knots: see
        `migrate_bayes.mock.migration.true_line`.
        """
        from migrate_bayes.mock.truth import Truth

        if self.data.source != "mock":
            return None
        if self.simulate.population == "migration":
            from migrate_bayes.mock.migration import true_line
            from migrate_bayes.population.model.specification import load_model_spec

            return true_line(self.simulate, load_model_spec(self.model.spec).gradient_knots)
        names = ("gradient_young", "flattening_rate", "gradient_thick")
        return Truth({name: getattr(self.simulate, name) for name in names})


# Where a recipe names selections.
_SELECTIONS = (
    ("baseline", "selection"),
    ("baseline", "thick_selection"),
    ("model", "selection"),
    ("compare", "selections"),
)


def _selections_written_out(content: dict[str, Any]) -> dict[str, Any]:
    from migrate_bayes.selection import expand

    own = content.get("selections", {})
    if not isinstance(own, dict):
        raise ValueError("[selections] is a table of names")
    content, where = dict(content), "selections"
    try:
        for name, selection in own.items():
            where = f"selections.{name}"
            expand(selection, own)
        for section, entry in _SELECTIONS:
            where = f"{section}.{entry}"
            table = content.get(section)
            if not isinstance(table, dict) or table.get(entry) is None:
                continue
            given = table[entry]
            if entry == "selections":  # each of them by itself
                written: Any = tuple(expand(one, own) for one in given)
            else:
                written = expand(given, own)
            content[section] = table | {entry: written}
        compare = content.get("compare")
        if isinstance(compare, dict) and isinstance(compare.get("variants"), list):
            where = "compare.variants"
            variants = [
                v | {"selection": expand(v["selection"], own)}
                if isinstance(v, dict) and v.get("selection") is not None
                else v
                for v in compare["variants"]
            ]
            content["compare"] = compare | {"variants": variants}
    except RecipeError as error:
        raise ValueError(f"'{where}': {error}") from None
    return content


def data_root() -> Path:
    """Return the folder of third-party data: ``$MIGRATE_BAYES_DATA`` or ``../shared/data``."""
    return Path(os.environ.get(DATA_ENV, "../shared/data"))


def resolve_data_path(path: str) -> Path:
    """Expand ``$MIGRATE_BAYES_DATA`` in a recipe's path.

    Raises
    ------
    RecipeError
        Where the path needs the data folder and that is not there.
    """
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
    """Read a TOML file into a schema that has a `name`, by default the file's.

    Raises
    ------
    RecipeError
        Where the file is missing, is no TOML, or has an unknown or invalid entry.
    """
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
    """Read a run recipe.

    Raises
    ------
    RecipeError
        Where the file is missing, is no TOML, or has an unknown or invalid entry.
    """
    path = Path(path)
    recipe = read_as(path, Recipe)
    if recipe.data.source == "file" and not recipe.data.path:
        raise RecipeError(f'{path}: [data] needs a `path`, or `source = "mock"`')
    return recipe
