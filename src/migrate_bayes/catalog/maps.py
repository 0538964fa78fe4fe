"""Column maps: how a survey's columns become the canonical ones, in TOML and nothing else.

A map is a table ``[columns]`` of ``canonical = entry`` and a table ``[extra]`` of columns to carry
along as ``ref_<name>``. An entry is a column's name, or a table with one *operation*:

- ``column = "a"`` (or ``["a", "b"]``: the first that the file has);
- ``mean``, ``sum``, ``quadrature`` = a list of columns or numbers (missing ones are left out of a
  mean, and make a sum or a root-sum-square missing);
- ``difference = ["a", "b"]``, ``ratio = ["a", "b"]``;
- ``sexagesimal = ["RAh", "RAm", "RAs"]`` of ``ra``, ``["DE-", "DEd", "DEm", "DEs"]`` of ``dec``:
  hours or sign and degrees, minutes and seconds in columns of their own;
- ``constant = 0.1``; ``row_number = true`` (for an identifier that the file lacks);

and any of: ``unit`` (of the file's values, if it does not say), ``scale`` (a factor), ``floor``
(the least value), ``missing`` (a list of sentinels, numbers or words), ``optional = true`` (absent
from the file, or without a value there, is no error), ``add_error`` (a number added in quadrature),
``words = { thin = 0, thick = 1 }`` (a column of text as numbers: blanks about a word are trimmed,
any other text is missing), ``ignore_unit = true`` (the file states a wrong unit: believe ``unit``,
which must otherwise agree with it). Texts as ``12:34:56.7`` have the ``unit`` ``"h:m:s"`` or
``"d:m:s"``. ``"name[2]"`` is an element of a column of arrays, counted from 0.

``survey_flag`` (a survey's own doubts: such stars are flagged, and cut unless the recipe says
``survey_flags = "keep"``) is told by a table of columns: ``bits = { ASPCAPFLAG = [19, 23] }`` (one
of these bits is set, counted from 0), ``above = { flag_sp = 0 }`` (a greater number), ``figures =
{ flags_gspspec = 7 }`` (one of a text's first figures is not 0). Columns that the file lacks are
left out.

A map may begin with ``extends = "gaia-joined"``, another map's name or file: its entries hold but
for those given here, and one given as ``"none"`` is taken away.

A column ``x`` has no value where a column ``x.mask`` is true, or ``l_x`` says that it is a limit
(``<``, ``>``).

A SkyCoord in a column ``x`` is columns ``x.ra``, ``x.dec``, ``x.pm_ra_cosdec`` and so on;
an entry that names ``ra``, ``dec``, ``distance``, ``pmra``, ``pmdec`` or ``radial_velocity`` reads
its part of it, if the table has no column of this name.

All goes element by element, so that a catalogue read in chunks is the same as one read whole.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Container, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.catalog.cleaning import Seen, clean
from migrate_bayes.catalog.columns import (
    AMBIGUOUS,
    COLUMNS,
    EXTRA_PREFIX,
    LINEAR,
    OWN_FLAG,
    REQUIRED,
    Conversion,
    conversion,
    conversion_to,
    is_unit,
    sexagesimal,
)
from migrate_bayes.catalog.source import Bits, Block, Source
from migrate_bayes.core.errors import CatalogError, nearest, suggest
from migrate_bayes.core.options import is_none
from migrate_bayes.core.places import expand

OPERATIONS = (
    "column", "mean", "sum", "quadrature", "difference", "ratio", "sexagesimal", "constant",
    "row_number",
)  # fmt: skip
# Columns of machine-readable tables that together are a position.
_COMPONENTS = {"ra": ("RAh", "RAm", "RAs"), "dec": ("DE-", "DEd", "DEm", "DEs")}
_SIGNS = {"": 1.0, "+": 1.0, "-": -1.0, "\u2212": -1.0}
# Of `survey_flag`: tables by column.
_DOUBTS = ("bits", "above", "figures")
_ELEMENT = re.compile(r"(.+)(\[\d+\])")
# What the name of an error has, and that of another survey's value has not.
_ERROR_NAME = re.compile(r"(?i:err|sig|unc|std)|(?:^|_)[es]d?(?:_|$)|^[es][A-Z]")
# A name such as "dist (pc)" or "T[K]", and not "[Fe/H]".
_UNIT_IN_NAME = re.compile(r"\s*[^\s(\[].*?[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*")
_SETTINGS = ("unit", "scale", "floor", "add_error", "missing", "optional", "words", "ignore_unit")


class Entry(NamedTuple):
    """How one canonical column is made. See the module's docstring for the fields."""

    operation: str
    operands: tuple[str | float, ...]
    unit: str | None = None
    scale: float = 1.0
    floor: float | None = None
    add_error: float = 0.0
    missing: tuple[float, ...] = ()
    optional: bool = False
    words: Mapping[str, float] | None = None
    missing_words: tuple[str, ...] = ()
    ignore_unit: bool = False
    presumed: bool = False  # the unit is that of a column that states none
    doubts: Mapping[str, tuple[str, Any]] | None = None  # by column: of `_DOUBTS`, and its number


class ColumnMap(NamedTuple):
    """A survey's translation: canonical name or ``ref_<name>`` to `Entry`.

    ``distance_source`` says what the distances are, for ``attrs["source"]``.
    """

    name: str
    entries: dict[str, Entry]
    distance_source: str = ""
    description: str = ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _numbers(value: object, where: str) -> tuple[float, ...]:
    if not all(map(_is_number, _list(value))):
        raise CatalogError(f"{where}: expected a number or a list of numbers")
    return tuple(map(float, _list(value)))


def _operands(value: object, where: str) -> tuple[str | float, ...]:
    items = _list(value)
    if not items or not all(isinstance(item, str) or _is_number(item) for item in items):
        raise CatalogError(f"{where}: expected a column's name, a number or a list of these")
    return tuple(item if isinstance(item, str) else float(item) for item in items)


def _entry(canonical: str, value: object, map_name: str) -> Entry:
    where = f"column map '{map_name}', entry '{canonical}'"
    if isinstance(value, str):
        return Entry("column", (value,))
    if _is_number(value):
        return Entry("constant", _numbers(value, where))
    if not isinstance(value, Mapping):
        raise CatalogError(f"{where}: expected a column's name, a number or a table")
    if canonical == "survey_flag" and set(_DOUBTS) & set(value):
        return _doubting(value, where)
    for key in value:
        if key not in OPERATIONS + _SETTINGS:
            said = suggest(key, OPERATIONS + _SETTINGS)
            raise CatalogError(f"{where}: unknown key '{key}': {said}")
    given = [key for key in OPERATIONS if key in value]
    if len(given) != 1:
        raise CatalogError(f"{where}: give exactly one of {', '.join(OPERATIONS)}")
    (operation,) = given
    operands = () if operation == "row_number" else _operands(value[operation], where)
    if operation in ("difference", "ratio") and len(operands) != 2:
        raise CatalogError(f"{where}: '{operation}' takes two columns")
    if operation == "sexagesimal":
        count = len(_COMPONENTS.get(canonical, ()))
        if len(operands) != count:
            columns = json.dumps(_COMPONENTS.get(canonical, ()))
            raise CatalogError(
                f"{where}: 'sexagesimal' is of ra and dec, from {count or 'so many'} columns, the "
                f"sign of a declination one of them: {{ sexagesimal = {columns} }}"
            )
    if operation == "constant" and not (len(operands) == 1 and isinstance(operands[0], float)):
        raise CatalogError(f"{where}: 'constant' takes one number")
    unit = value.get("unit")
    if unit is not None and not isinstance(unit, str):
        raise CatalogError(f"{where}: 'unit' is a text, as \"km/s\"")
    single = [key for key in ("scale", "floor", "add_error") if value.get(key) is not None]
    numbers: dict[str, Any] = {key: _numbers(value[key], where)[0] for key in single}
    for key in ("optional", "ignore_unit"):
        if not isinstance(value.get(key, False), bool):
            raise CatalogError(f"{where}: '{key}' is true or false, not {value[key]!r}")
    sentinels = _list(value.get("missing", ()))
    missing = _numbers([v for v in sentinels if not isinstance(v, str)], where)
    missing_words = tuple(v for v in sentinels if isinstance(v, str))
    optional = bool(value.get("optional", False))
    words = value.get("words")
    if words is not None and not (
        isinstance(words, Mapping) and words and all(map(_is_number, words.values()))
    ):
        raise CatalogError(f"{where}: 'words' is a table of numbers, as {{ thin = 0, thick = 1 }}")
    return Entry(
        operation, operands, unit, missing=missing, optional=optional, words=words,
        missing_words=missing_words, ignore_unit=bool(value.get("ignore_unit", False)), **numbers,
    )  # fmt: skip


def _doubting(value: Mapping[str, Any], where: str) -> Entry:
    """Read an entry of `survey_flag`."""
    doubts: dict[str, tuple[str, Any]] = {}
    for key in set(value) - {"optional"}:
        if key not in _DOUBTS or not isinstance(value[key], Mapping):
            raise CatalogError(
                f"{where}: expected tables by column named {', '.join(_DOUBTS)}, as "
                "bits = { ASPCAPFLAG = [19, 23] }"
            )
        for column, numbers in value[key].items():
            given = _numbers(numbers, where)
            if key == "bits" and not all(n.is_integer() and 0 <= n < 64 for n in given):
                raise CatalogError(f"{where}: bits are numbers from 0 to 63")
            doubts[column] = (key, [int(n) for n in given] if key == "bits" else given[0])
    return Entry("doubts", tuple(doubts), optional=bool(value.get("optional")), doubts=doubts)


def _doubts_of(step: Step) -> dict[str, tuple[str, Any]]:
    """Return the kind and the number of each column of `survey_flag`, by its name in the file."""
    by_name = {column.lower(): doubt for column, doubt in (step.entry.doubts or {}).items()}
    return {str(o): by_name[str(o).lower()] for o in step.operands} if by_name else {}


def _doubted(step: Step, block: Block, n: int) -> NDArray[np.float64]:
    """Return 1 for the stars that a survey's own flags doubt, else 0."""
    found = np.zeros(n, dtype=bool)
    for name, (kind, number) in _doubts_of(step).items():
        found |= np.nan_to_num(block[name]) > (number if kind == "above" else 0.5)
    return found.astype(np.float64)


class _Figures(dict[str, float]):
    """Numbers of texts of figures: 1 if one of the first is not 0."""

    def __init__(self, count: float) -> None:
        self.count = int(count)

    def get(self, text: str, default: Any = None) -> Any:
        head = text[: self.count]
        return float(bool(head.strip("0"))) if head else default


def words_of(step: Step) -> Mapping[str, Mapping[str, float] | float | Bits]:
    """Return the columns of text of an entry: numbers of their words, or degrees of a unit."""
    entry = step.entry
    if entry.operation == "sexagesimal" and len(step.operands) == 4:
        return {str(step.operands[0]): _SIGNS}
    if any(c.sexagesimal for c in step.conversions):
        both = zip(step.operands, step.conversions, strict=True)
        return {str(o): c.sexagesimal for o, c in both if c.sexagesimal}
    if entry.words:
        return {str(o): entry.words for o in step.operands}
    doubts = _doubts_of(step).items()
    figures = {o: _Figures(n) for o, (kind, n) in doubts if kind == "figures"}
    return figures | {o: Bits(sum(1 << b for b in n)) for o, (kind, n) in doubts if kind == "bits"}


def _base(name: str) -> Mapping[str, Any]:
    """Return the content of a packaged map, or of a file that ends with .toml."""
    if name.endswith(".toml"):
        try:
            text = expand(name).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise CatalogError(f"cannot read column map {name}: {error.strerror}") from None
    elif name in column_map_names():
        text = files("migrate_bayes.catalog").joinpath("maps", f"{name}.toml").read_text("utf-8")
    else:
        raise CatalogError(f"no column map '{name}': {suggest(name, column_map_names())}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"column map {name}: not valid TOML: {error}") from None


def _extended(content: Mapping[str, Any], name: str, within: tuple[str, ...] = ()) -> Any:
    """Put a map's entries over those of the map that it `extends`."""
    if "extends" not in content:
        return content
    base = str(content["extends"])
    if base in within:
        raise CatalogError(f"column map '{name}' extends itself, by way of '{base}'")
    under = _extended(_base(base), base, (*within, base))
    head = {k: v for k, v in content.items() if k in ("extra", "distance_source", "description")}
    own = content.get("columns", {k: v for k, v in content.items() if k not in (*head, "extends")})
    columns = {**under.get("columns", {}), **own}
    columns = {key: value for key, value in columns.items() if not is_none(value)}
    extra = {**under.get("extra", {}), **content.get("extra", {})}
    return {**under, **head, "columns": columns, "extra": extra}


def as_column_map(content: Mapping[str, Any], *, name: str = "given") -> ColumnMap:
    """Build a map from ``{"columns": {...}, "extra": {...}}``, or the inside of ``columns``."""
    if not isinstance(content, Mapping):
        raise CatalogError(
            "a column map is a name, or a table as {'teff': 'Teff'}, not a "
            f"{type(content).__name__}"
        )
    content = _extended(content, name, (name,))
    nested = isinstance(content.get("columns"), Mapping) and "column" not in content["columns"]
    table, said = (content["columns"], content) if nested else (content, {})
    extra = said.get("extra", {})
    for canonical in table:
        known = canonical in COLUMNS or canonical in ("source_id", "flag")
        if not known and not canonical.startswith(EXTRA_PREFIX):
            raise CatalogError(
                f"column map '{name}': '{canonical}' is no canonical column: "
                f"{suggest(canonical, ['source_id', *COLUMNS])}"
            )
    entries = {canonical: _entry(canonical, value, name) for canonical, value in table.items()}
    entries |= {EXTRA_PREFIX + carried: _entry(carried, v, name) for carried, v in extra.items()}
    if not entries:
        raise CatalogError(f"column map '{name}' has no columns")
    return ColumnMap(
        name, entries, str(said.get("distance_source", "")), str(said.get("description", ""))
    )


@cache
def column_map_names() -> tuple[str, ...]:
    """Return the names of the maps that come with the package.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from migrate_bayes.catalog import column_map_names
    >>> "gaia" in column_map_names()
    True
    """
    folder = files("migrate_bayes.catalog").joinpath("maps")
    return tuple(sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".toml")))


@cache
def load_column_map(name: str) -> ColumnMap:
    """Load a column map.

    Parameters
    ----------
    name : str
        One of `column_map_names`, or the path of a TOML file.

    Returns
    -------
    ColumnMap

    Raises
    ------
    CatalogError
        For a name that no packaged map has.

    Examples
    --------
    >>> from migrate_bayes.catalog import load_column_map
    >>> load_column_map("gaia").entries["pmra"].operands
    ('pmra',)
    """
    return as_column_map(_base(name), name=name)


class Step(NamedTuple):
    """One canonical column with its operands found in the file and their factors."""

    canonical: str
    entry: Entry
    operands: tuple[str | float, ...]
    conversions: tuple[Conversion, ...]
    unit: str
    stated: bool  # the file or the map says the unit


def guess_map(names: Sequence[str]) -> ColumnMap:
    """Map canonical names to themselves, as far as a file has them; ``flag`` is its own.

    Distances may be Bailer-Jones's (``r_med_geo``, else ``r_med_photogeo``, with ``lo`` and ``hi``;
    in pc if the file has no unit). ``bp_rp`` is the Gaia archive's *observed* colour, except
    beside ``abs_g``: there it is the dereddened one that this package wrote.
    """
    entries = {name: Entry("column", (name,), optional=True) for name in COLUMNS if name != "bp_rp"}
    entries["source_id"] = Entry("column", ("source_id",))
    lowered = {name.lower() for name in names}
    source = ""
    kind = next((k for k in ("geo", "photogeo") if f"r_med_{k}" in lowered), None)
    if kind is not None and "distance" not in lowered:
        for end, part in {"": "med", "_lo": "lo", "_hi": "hi"}.items():
            entries[f"distance{end}"] = Entry(
                "column", (f"r_{part}_{kind}",), unit="pc", presumed=True
            )
        source = f"Bailer-Jones et al. 2021, r_med_{kind}"
    if "bp_rp" in lowered:
        target = "bp_rp" if "abs_g" in lowered else "bp_rp_observed"
        entries[target] = Entry("column", ("bp_rp",), optional=True)
    for name in (n for n in names if n.startswith(EXTRA_PREFIX)):
        entries[name] = Entry("column", (name,), optional=True)
    if OWN_FLAG in names:
        entries["flag"] = Entry("column", (OWN_FLAG,), optional=True)
    return ColumnMap("canonical", entries, source)


# What parts of a column of astropy's SkyCoord are: it is kept as NAME.ra, NAME.dec and so on.
_COORDINATES = {
    "ra": "ra", "dec": "dec", "distance": "distance", "pmra": "pm_ra_cosdec", "pmdec": "pm_dec",
    "radial_velocity": "radial_velocity",
}  # fmt: skip


def _of_coordinates(name: str, names: Sequence[str]) -> list[str]:
    """Return the columns that are this part of coordinates."""
    if (part := _COORDINATES.get(name.lower())) is None:
        return []
    kept = [n.removesuffix(f".{part}") for n in names if n.endswith(f".{part}")]
    return [f"{k}.{part}" for k in kept if {f"{k}.ra", f"{k}.dec"} <= set(names)]


def find(name: str, names: Sequence[str]) -> str | None:
    """Return the column that has a name, in whatever case, or is that part of a SkyCoord."""
    if name in names:
        return name
    same = [n for n in names if n.strip().lower() == name.lower()] or _of_coordinates(name, names)
    if name.lower() in ("g", "gmag"):  # Gaia's is G, that of SDSS and Pan-STARRS g
        same = [n for n in same if n.strip() == name]
    if len(same) != 1 and (element := _ELEMENT.fullmatch(name)):
        column = find(element[1], names)
        return None if column is None else column + element[2]
    return same[0] if len(same) == 1 else None


def plan(column_map: ColumnMap, source: Source) -> list[Step]:
    """Find every column that a map names, and the factors to the canonical units."""
    steps: list[Step] = []
    absent: dict[str, Entry] = {}
    for canonical, entry in column_map.entries.items():
        found = [o if isinstance(o, float) else find(o, source.names) for o in entry.operands]
        operands = [o for o in found if o is not None]
        if entry.operation == "column":  # the first that the file has
            operands = operands[:1]
        if None in found and not (entry.operation in ("column", "doubts") and operands):
            if entry.operation == "column" and not operands:
                _refuse_alike(canonical, entry, source)
            if not entry.optional:
                absent[canonical] = entry
            continue
        unit = COLUMNS[canonical].unit if canonical in COLUMNS else ""
        if canonical.startswith(EXTRA_PREFIX):
            named = [o for o in operands if isinstance(o, str)]
            unit = entry.unit or (source.units.get(named[0], "") if named else "")
        double = next(
            (o for o in operands if isinstance(o, str) and source.names.count(o) > 1), None
        )
        if double is not None:
            raise CatalogError(f"{source.path}: two columns are named '{double}': rename one")
        conversions = tuple(
            _conversion(canonical, entry, operand, source, first=i == 0)
            for i, operand in enumerate(operands)
        )
        stated = entry.unit is not None and not entry.presumed
        stated |= any(is_unit(_stated_unit(source, str(o), canonical)) for o in operands)
        steps.append(Step(canonical, entry, tuple(operands), conversions, unit, stated))
    if absent:
        raise CatalogError(_said_absent(column_map, absent, source))
    return steps


def _refuse_alike(canonical: str, entry: Entry, source: Source) -> None:
    """Refuse columns of which either may be the one that a map means."""
    for operand in entry.operands:
        alike = [name for name in source.names if name.lower() == str(operand).lower()]
        how = "differ in case alone" if alike else "are both coordinates"
        alike = alike or _of_coordinates(str(operand), source.names)
        if len(alike) > 1:
            raise CatalogError(
                f"{source.path}: columns {' and '.join(map(repr, alike))} {how}, "
                f"and either may be '{canonical}': name one in a column map, as "
                f'{canonical} = "{alike[0]}"'
            )


@cache
def spellings(canonical: str) -> tuple[str, ...]:
    """Return the names under which the packaged maps read a canonical column."""
    found: dict[str, None] = {canonical: None}
    for name in column_map_names():
        entry = load_column_map(name).entries.get(canonical)
        if entry is not None and entry.operation == "column":
            found |= dict.fromkeys(str(o) for o in entry.operands)
    return tuple(found)


def _said_absent(column_map: ColumnMap, absent: Mapping[str, Entry], source: Source) -> str:
    """Word the columns that a map reads and a file lacks, with the nearest that it has."""
    taken = {
        find(str(o), source.names) for e in column_map.entries.values() for o in e.operands
    }  # fmt: skip
    free = [name for name in source.names if name not in taken]
    lines = []
    for canonical, entry in absent.items():
        lacking = [o for o in entry.operands if isinstance(o, str) and not find(o, source.names)]
        known = (found for s in spellings(canonical) if (found := find(s, free)))
        near = list(dict.fromkeys([*known, *nearest(lacking, free)]))[:3]
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        if parts := _components(canonical, source.names):
            hint = f"; give {canonical} = {{ sexagesimal = {json.dumps(parts)} }}"
        if canonical in ("ra", "dec") and (galactic := _galactic(source.names)):
            hint = f"; {galactic}"
        if canonical.endswith("_error") and not near:
            hint = f"; without any, give {canonical} = {{ constant = ... }}"
        what = f"no column {' or '.join(map(repr, lacking))}"
        lines.append(
            f"{what}, which the column map '{column_map.name}' reads as '{canonical}'{hint}"
        )
    fitting = [name for name in fitting_maps(source.names) if name != column_map.name]
    said = f". These maps fit the file: {', '.join(fitting)}" if fitting else ""
    if column_map.name in column_map_names():
        how = (
            'Name the right columns, or take an entry away with "none", in a map that begins with '
            f'extends = "{column_map.name}"'
        )
    elif fitting:
        how, said = f'Say columns = "{fitting[0]}", a column map that fits', ""
        if fitting[1:]:
            said = f"; so do {', '.join(fitting[1:])}"
    elif isinstance(source.path, Path):
        how = f"Name them in a column map: `migrate-bayes columns {source.path}` drafts one"
    else:
        draft = drafted(source.names)
        how = f"Name them in a column map, as columns = {json.dumps(draft)}"
        if lacking := [_doubtful(n, near) for n, near in not_found(draft, source.names).items()]:
            how += f"; not found: {', '.join(lacking)}"
    count = f"{len(lines)} columns are not among the {len(source.names)} of the file"
    if len(source.names) < 4 and not taken & set(source.names):
        said += f". Its names, from its first line, are {', '.join(map(repr, source.names))}"
    listed = lines[0] if len(lines) == 1 else count + "".join(f"\n  {line}" for line in lines)
    return f"{source.path}: {listed}\n{how}{said}"


def _galactic(names: Sequence[str]) -> str:
    """Name the columns of a file that are Galactic coordinates; nothing if it has none."""
    for name in names:
        ends = re.fullmatch(r"(?i)(?:(.*\.|g|)l|glon)", name)
        if ends and (other := find("glat" if ends[1] is None else f"{ends[1]}b", names)):
            how = "make ra and dec of them, as astropy's SkyCoord(...).icrs"
            return f"'{name}' and '{other}' are Galactic: {how}"
    return ""


def _components(canonical: str, names: Sequence[str]) -> list[str]:
    """Return the columns of a file that together are a position; none if it has them not all."""
    found = [find(part, names) for part in _COMPONENTS.get(canonical, ())]
    return [] if None in found else [name for name in found if name is not None]


def lacks(entry: Entry, names: Sequence[str]) -> bool:
    """Tell whether a file of these columns lacks what an entry reads."""
    found = [isinstance(o, float) or find(o, names) is not None for o in entry.operands]
    return not (any(found) if entry.operation in ("column", "doubts") else all(found))


def missing_columns(column_map: ColumnMap, names: Sequence[str]) -> list[str]:
    """Return the canonical columns that a map needs and a file of these columns has not."""
    return [n for n, e in column_map.entries.items() if not e.optional and lacks(e, names)]


def fitting_maps(names: Sequence[str]) -> list[str]:
    """Return the packaged maps that fit a file of these columns, the best first."""
    maps = [load_column_map(name) for name in column_map_names()]
    # The share of a map that the file has. One of optional columns alone fits any file.
    share = {
        m.name: np.mean([not lacks(entry, names) for entry in m.entries.values()])
        for m in maps if not missing_columns(m, names)
    }  # fmt: skip
    return sorted((name for name in share if share[name] > 0.5), key=lambda name: -share[name])


def near_columns(canonical: str, names: Sequence[str]) -> list[str]:
    """Return the columns that may be a canonical one, going by their names, the nearest first."""
    known = drafted(names)
    if canonical in known:
        return [known[canonical]] if isinstance(known[canonical], str) else []
    taken = known.values()
    near = nearest(spellings(canonical), [name for name in names if name not in taken])
    is_error = canonical.endswith("_error")
    return [name for name in near if bool(_ERROR_NAME.search(name)) is is_error]


def drafted(names: Sequence[str]) -> dict[str, Any]:
    """Return a map to begin with: the columns of which a packaged map knows the name."""
    found: dict[str, Any] = {}
    for canonical in ("source_id", *COLUMNS):
        if column := next(filter(None, (find(s, names) for s in spellings(canonical))), None):
            found[canonical] = column
        elif parts := _components(canonical, names):
            found[canonical] = {"sexagesimal": parts}
    return {"source_id": {"row_number": True}} | found


def not_found(found: Container[str], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of use that a drafted map lacks, with the nearest names of the file."""
    needed = dict.fromkeys(n for stage in ("ages", "orbits", "photometry") for n in REQUIRED[stage])
    of_use = ("phot_bp_mean_mag", "phot_rp_mean_mag", "alpha_fe", "ebv", "a_v")
    near = {
        canonical: near_columns(canonical, names) for canonical in (*needed, *of_use)
        if canonical not in found and not canonical.startswith("distance")
    }  # fmt: skip
    first = {columns[0] for columns in near.values() if columns}
    return {
        name: [c for c in columns if c == columns[0] or c not in first]
        for name, columns in near.items() if columns or name in needed
    }  # fmt: skip


def _doubtful(canonical: str, near: Sequence[str]) -> str:
    if not near and canonical.endswith("_error"):
        return f'{canonical} (a number will do: {{"constant": ...}})'
    return f"{canonical} ({near[0]!r}?)" if near else canonical


def draft_map(names: Sequence[str], base: str = "") -> str:
    """Write a map to begin with, in TOML: columns of which a packaged map knows the name.

    With `base`, a map that fits the file, it extends that. A needed column that was not found
    stands in a comment, with the nearest names of the file.
    """
    found = {"extends": base} if base else drafted(names)
    given = load_column_map(base).entries if base else {}
    have = {*found, *(name for name, entry in given.items() if not lacks(entry, names))}
    lines = []
    for canonical, column in found.items():
        match column:
            case {"row_number": _}:
                column = "{ row_number = true }      # or the identifier's column"
            case {"sexagesimal": parts}:
                column = f"{{ sexagesimal = {json.dumps(parts)} }}"
            case _:
                column = json.dumps(column)
        lines.append(f"{canonical} = {column}")
    for canonical, near in not_found(have, names).items():
        if canonical.endswith("_error") and not near:
            lines.append(f"# {canonical} = {{ constant = ... }}")
        else:
            said = f"is it {' or '.join(map(repr, near))}?" if near else "not found"
            lines.append(f'# {canonical} = "..."      # {said}')
    if "distance" not in have and not {"parallax", "parallax_error"} <= have:
        lines.append(
            '# distance = { column = "...", unit = "kpc" }      # or a parallax with error'
        )
    return "\n".join(lines)


def unread(names: Sequence[str], read: Container[str]) -> str:
    """Say which needed columns a file seems to have that were not read; nothing if there are none.

    `read` are the canonical columns that were found without a map.
    """
    stages = ("ages", "orbits", "photometry")
    lacking = {n for stage in stages for n in REQUIRED[stage] if n not in read}
    galactic = "" if "ra" in read else _galactic(names)
    if not (lacking and (found := {c: n for c, n in drafted(names).items() if c in lacking})):
        return galactic
    fitting = fitting_maps(names)
    how = f'columns = "{fitting[0]}" fits the file' if fitting else "name them by columns ="
    which = ", ".join(f"{canonical} ({column!r})" for canonical, column in found.items())
    return f"no column map was given, and without one these are not read: {which}; {how}"


def _stated_unit(source: Source, column: str, canonical: str) -> str:
    """Return the unit that the file states of a column, or its name, as ``dist (pc)`` does."""
    stated = source.units.get(source.of_column(column), "")
    named = _UNIT_IN_NAME.fullmatch(column)
    if stated or named is None or canonical not in COLUMNS or not is_unit(named[1]):
        return stated
    found = f"dex({named[1]})" if column.lower().startswith("log") else named[1]
    # Others may be bands, as G in "mag (G)"; these are refused if they are of no use.
    known = conversion(found, canonical) is not None
    return found if known or found in {*AMBIGUOUS, "h", "hr", "hours"} else ""


def _named_otherwise(column: str, canonical: str) -> str:
    """Word the doubt about a column of no stated unit whose name ends in another than is taken."""
    if re.match(r"(?i)lo?g(?!g)", column) and COLUMNS[canonical].unit not in ("dex", "mag"):
        return "is not stated, and the name says a logarithm: if it is, say unit = 'dex(...)'"
    if canonical == "distance" and re.match(r"(?i)(dist_?mod|dm$|mu_?0?$|mod)", column):
        return "is not stated, and the name says a distance modulus: map a distance"
    suffix = column.rpartition("_")[2]
    if canonical == "ra" and suffix.lower() in ("h", "hr", "hrs", "hour", "hours"):
        return f"is not stated, and the name ends in '{suffix}': if so, say unit = 'hourangle'"
    suffix = AMBIGUOUS.get(suffix, suffix)
    if suffix == column or column == canonical or not is_unit(suffix, by_name=True):
        return ""
    if conversion(suffix, canonical) in (None, Conversion()):
        return ""
    return f"is not stated, and the name ends in '{suffix}': if that is it, say unit = '{suffix}'"


def _conversion(
    canonical: str, entry: Entry, operand: str | float, source: Source, *, first: bool
) -> Conversion:
    """Return what is done to an operand; a ratio's unit is that of its first operand."""
    ratio = entry.operation == "ratio"
    convert = first and entry.unit is not None if ratio else isinstance(operand, str)
    if not convert or canonical not in COLUMNS or entry.words or entry.doubts:
        return Conversion()
    if entry.operation == "sexagesimal":
        return Conversion()
    file, column = str(source.path), str(operand)
    stated = _stated_unit(source, column, canonical)
    # A column without a unit is taken to be in the canonical one.
    found = stated
    # Texts of hours, minutes and seconds are nothing else, whatever a map supposes.
    if entry.unit is not None and not (
        (entry.presumed and is_unit(stated))
        or (sexagesimal(stated) and not sexagesimal(entry.unit))
    ):
        found = entry.unit
    made = conversion_to(found, file=file, column=column, canonical=canonical)
    if not is_unit(found) and (doubt := _named_otherwise(column, canonical)):
        made = made._replace(doubt=doubt)
    if found != stated and is_unit(stated) and not entry.ignore_unit:
        theirs = conversion(stated, canonical)
        if theirs is None or theirs._replace(doubt="") != made._replace(doubt=""):
            raise CatalogError(
                f"{file}: column '{column}' states the unit '{stated}', but the column map reads "
                f"it as '{found}' for '{canonical}': mend the map, or say that the file is wrong: "
                f'{canonical} = {{ column = "{column}", unit = "{found}", ignore_unit = true }}'
            )
    if made.function != LINEAR and entry.operation not in ("column", "mean"):
        raise CatalogError(
            f"{file}: column '{column}' is in '{found}': a {entry.operation} of logarithms is "
            f"none of '{canonical}'; write the column as it is"
        )
    return made


_BOTTOM, _TOP = -math.inf, math.inf
# Where a number of nines may be a value, in a column of which no more is known.
_PLAIN = (-90.0, 9000.0)


@np.errstate(invalid="ignore", divide="ignore")
def evaluate(
    step: Step,
    block: Block,
    n: int,
    *,
    file: str,
    first_row: int,
    seen: Seen | None = None,
    out: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Compute one canonical column for a block of `n` rows, refusing a negative error.

    `seen` counts the column's finite values, sentinels and values out of bounds. The result is in
    `out`, if it is given.
    """
    if step.entry.operation == "doubts":
        if seen is not None:
            seen.finite += n
        found = _doubted(step, block, n)
        if out is None:
            return found
        out[:] = found
        return out
    entry, column = step.entry, COLUMNS.get(step.canonical)
    seen = Seen() if seen is None else seen
    low, high, usual = _BOTTOM, _TOP, _PLAIN
    if column is not None:
        low, high, usual = column.low, column.high, column.usual
    if step.canonical == "flag":
        usual = (_BOTTOM, _TOP)
    is_error = column is not None and step.canonical.endswith("_error")
    if is_error:
        low = _BOTTOM  # a negative one is an error of the file, unless it is a sentinel
    if entry.operation == "column":
        (conversion,), values = step.conversions, block[str(step.operands[0])]
        value = clean(
            values, conversion, entry.missing, entry.scale, (low, high), usual, seen, first_row, out
        )
    else:
        x = []
        for operand, conversion in zip(step.operands, step.conversions, strict=True):
            if isinstance(operand, float):
                x.append(np.full(n, operand))
                continue
            part, bounds = Seen(), (_BOTTOM, _TOP)
            x.append(
                clean(
                    block[operand], conversion, entry.missing, 1.0, bounds, _PLAIN, part, first_row
                )
            )
        value = _combined(entry.operation, x, n, first_row)
        value = clean(
            value, Conversion(), (), entry.scale, (low, high), usual, seen, first_row, out
        )
    if is_error:
        negative = np.flatnonzero(value < 0) if seen.negative else np.empty(0, dtype=np.int64)
        if negative.size:
            names = ", ".join(f"'{o}'" for o in step.operands if isinstance(o, str))
            raise CatalogError(
                f"{file}: {negative.size} negative values of {step.canonical} (column {names}), "
                f"the first, {value[negative[0]]:g}, in row {first_row + int(negative[0]) + 1} "
                f"(counting from 1). If this marks a missing error, say so in the column map: "
                f"missing = [{value[negative[0]]:g}]; of lower errors with their sign, say "
                "scale = -1"
            )
        if entry.add_error:
            np.hypot(value, entry.add_error, out=value)
    if entry.floor is not None and column is not None:
        np.maximum(value, entry.floor, out=value)
    return value


def _of_components(x: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return degrees: of hours, minutes, seconds, or of sign, degrees, minutes, seconds."""
    whole, minutes, seconds = x[-3:]
    inside = (whole >= 0) & (minutes >= 0) & (minutes < 60) & (seconds >= 0) & (seconds <= 60)
    angle = np.where(inside, whole + minutes / 60.0 + seconds / 3600.0, np.nan)
    return x[0] * angle if len(x) == 4 else 15.0 * angle


def _combined(
    operation: str, x: Sequence[NDArray[np.float64]], n: int, first_row: int
) -> NDArray[np.float64]:
    """Do an operation element by element."""
    match operation:
        case "constant":
            return x[0]
        case "sum":
            return np.asarray(np.sum(x, axis=0))
        case "quadrature":
            return np.asarray(np.sqrt(np.sum(np.square(x), axis=0)))
        case "mean":
            count = np.sum(np.isfinite(x), axis=0)
            return np.where(count > 0, np.nansum(x, axis=0) / count, np.nan)
        case "sexagesimal":
            return _of_components(x)
        case "difference":
            return x[0] - x[1]
        case "ratio":
            return x[0] / x[1]
    return np.arange(first_row, first_row + n, dtype=np.float64)
