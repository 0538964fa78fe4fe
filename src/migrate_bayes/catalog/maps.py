"""Column maps: how a survey's columns become the canonical ones, said in TOML and nothing else.

A map is a table ``[columns]`` of ``canonical = entry`` and a table ``[extra]`` of columns to carry
along as ``ref_<name>``. An entry is a column's name, or a table with one *operation*:

- ``column = "a"`` (or ``["a", "b"]``: the first that the file has);
- ``mean``, ``sum``, ``quadrature`` = a list of columns or numbers (missing ones are left out of a
  mean, and make a sum or a root-sum-square missing);
- ``difference = ["a", "b"]``, ``ratio = ["a", "b"]``;
- ``constant = 0.1``; ``row_number = true`` (for an identifier that the file lacks);

and any of: ``unit`` (of the file's values, in place of what the file says), ``scale`` (a factor),
``floor`` (the least value), ``missing`` (a list of sentinels), ``optional = true`` (absent from the
file is no error), ``add_error`` (a number added in quadrature).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from migrate_bayes.catalog.columns import COLUMNS, EXTRA_PREFIX
from migrate_bayes.core.errors import CatalogError, suggest

__all__ = ["ColumnMap", "Entry", "as_column_map", "column_map_names", "load_column_map"]

OPERATIONS = (
    "column",
    "mean",
    "sum",
    "quadrature",
    "difference",
    "ratio",
    "constant",
    "row_number",
)
_SETTINGS = ("unit", "scale", "floor", "add_error", "missing", "optional")


@dataclass(frozen=True, slots=True)
class Entry:
    """How one canonical column is made. See the module's docstring for the fields."""

    operation: str
    operands: tuple[str | float, ...]
    unit: str | None = None
    scale: float = 1.0
    floor: float | None = None
    add_error: float = 0.0
    missing: tuple[float, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """A survey's translation.

    Attributes
    ----------
    name, description : str
        Where it comes from, for messages and provenance.
    entries : dict
        Canonical name (``source_id`` among them) or ``ref_<name>`` to its `Entry`.
    distance_source : str
        What the distances are, for ``attrs["source"]``.
    """

    name: str
    description: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    distance_source: str = ""


def _operands(value: object, where: str) -> tuple[str | float, ...]:
    items: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
    if not items or not all(
        isinstance(item, (str, int, float)) and not isinstance(item, bool) for item in items
    ):
        raise CatalogError(f"{where}: expected a column's name, a number or a list of these")
    return tuple(item if isinstance(item, str) else float(item) for item in items)


def _numbers(value: object, where: str) -> tuple[float, ...]:
    items: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in items):
        raise CatalogError(f"{where}: expected a number or a list of numbers")
    return tuple(float(v) for v in items)


def _entry(canonical: str, value: object, map_name: str) -> Entry:
    where = f"column map '{map_name}', entry '{canonical}'"
    if isinstance(value, str):
        return Entry("column", (value,))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Entry("constant", (float(value),))
    if not isinstance(value, Mapping):
        raise CatalogError(f"{where}: expected a column's name, a number or a table")
    unknown = [key for key in value if key not in (*OPERATIONS, *_SETTINGS)]
    if unknown:
        raise CatalogError(
            f"{where}: unknown key '{unknown[0]}': {suggest(unknown[0], OPERATIONS + _SETTINGS)}"
        )
    given = [key for key in OPERATIONS if key in value]
    if len(given) != 1:
        raise CatalogError(f"{where}: give exactly one of {', '.join(OPERATIONS)}")
    operation = given[0]
    operands = () if operation == "row_number" else _operands(value[operation], where)
    if operation in ("difference", "ratio") and len(operands) != 2:
        raise CatalogError(f"{where}: '{operation}' takes two columns")
    if operation == "constant" and not (len(operands) == 1 and isinstance(operands[0], float)):
        raise CatalogError(f"{where}: 'constant' takes one number")
    unit = value.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise CatalogError(f"{where}: 'unit' is a text, as \"km/s\"")
    (scale,) = _numbers(value.get("scale", 1.0), where)
    (add_error,) = _numbers(value.get("add_error", 0.0), where)
    floor = value.get("floor")
    return Entry(
        operation=operation,
        operands=operands,
        unit=unit,
        scale=scale,
        floor=None if floor is None else _numbers(floor, where)[0],
        add_error=add_error,
        missing=_numbers(value.get("missing", ()), where),
        optional=bool(value.get("optional", False)),
    )


def as_column_map(content: Mapping[str, Any], *, name: str = "given") -> ColumnMap:
    """Build a map from its content, as a TOML file or a recipe gives it.

    Parameters
    ----------
    content : mapping
        Either ``{"columns": {...}, "extra": {...}}`` or the inside of ``columns`` alone.
    name : str
        Named in errors.

    Raises
    ------
    CatalogError
        For a canonical name that does not exist, or an entry that cannot be understood.
    """
    nested = isinstance(content.get("columns"), Mapping) and "column" not in content["columns"]
    table = content["columns"] if nested else content
    extra = content.get("extra", {}) if nested else {}
    entries: dict[str, Entry] = {}
    for canonical, value in table.items():
        known = canonical in COLUMNS or canonical in ("source_id", "flag")
        if not known and not canonical.startswith(EXTRA_PREFIX):
            raise CatalogError(
                f"column map '{name}': '{canonical}' is no canonical column: "
                f"{suggest(canonical, ['source_id', *COLUMNS])}"
            )
        entries[canonical] = _entry(canonical, value, name)
    for carried, value in extra.items():
        entries[EXTRA_PREFIX + carried] = _entry(carried, value, name)
    if not entries:
        raise CatalogError(f"column map '{name}' has no columns")
    return ColumnMap(
        name=name,
        description=str(content.get("description", "")) if nested else "",
        entries=entries,
        distance_source=str(content.get("distance_source", "")) if nested else "",
    )


@cache
def column_map_names() -> tuple[str, ...]:
    """Return the names of the maps that come with the package."""
    folder = files("migrate_bayes.catalog").joinpath("maps")
    return tuple(sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def load_column_map(name: str) -> ColumnMap:
    """Load a packaged map by name.

    Raises
    ------
    CatalogError
        For a name that no packaged map has.
    """
    if name not in column_map_names():
        raise CatalogError(f"no column map '{name}': {suggest(name, column_map_names())}")
    text = files("migrate_bayes.catalog").joinpath("maps", f"{name}.toml").read_text("utf-8")
    return as_column_map(tomllib.loads(text), name=name)
