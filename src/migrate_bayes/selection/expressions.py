"""Selections as recipes write them, and the stars that they take.

`select` says what an expression, a list and a table mean. A recipe's ``[selections]`` gives any of
these a name of its own, which `expand` writes out.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.core.errors import RecipeError, suggest
from migrate_bayes.selection.conditions import SELECTIONS, Selection, compare, look_up_columns

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"\s*(?:([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*({_NUMBER})|([A-Za-z0-9][A-Za-z0-9._-]*)|([&|~()]))"
)
# Names, comparisons and marks in one expression: what Python can nest, with room to spare.
_LONGEST = 400
# Lists in lists and names of names: a bound of its own, since libraries raise Python's.
_DEEPEST = 100
_TOO_DEEP = "a selection is nested too deeply: give its parts names"
_MARKS = frozenset("&|~()")

Token = tuple[str, ...]  # (column, sign, number), (name,) or (mark,)


def _unknown(name: str, known: Iterable[str]) -> RecipeError:
    mark = {"and": "&", "or": "|", "not": "~"}.get(name.lower())
    said = f"write '{mark}'" if mark else suggest(name, known)
    return RecipeError(f"unknown selection '{name}'; {said}")


def _tokens(expression: str) -> list[Token]:
    tokens: list[Token] = []
    at, text = 0, expression.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise RecipeError(
                f"{_place(expression)}: cannot read '{_short(text[at:].strip())}'; use names and "
                "comparisons (zmax < 0.5) with &, |, ~ and brackets"
            )
        column, sign, number, name, mark = found.groups()
        tokens.append((column, sign, number) if column else (name or mark,))
        if len(tokens) > _LONGEST:
            raise RecipeError(
                f"{_place(expression)}: more than {_LONGEST} names, comparisons and marks; "
                "split it into several"
            )
        at = found.end()
    return tokens


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


def _place(selection: object) -> str:
    return f"selection '{_short(str(selection))}'"


def parse_selection(expression: str) -> Selection:
    """Read names and comparisons joined by ``&``, ``|``, ``~`` and brackets, as Python would."""
    tokens = _tokens(expression)
    _check_order(expression, tokens)
    # Python cannot read names such as `high-quality`, so each atom gets one that it can; the
    # precedence of the marks is Python's own.
    atoms: dict[str, Selection] = {}
    words = []
    for token in tokens:
        if token[0] in _MARKS:
            words.append(token[0])
            continue
        words.append(f"_{len(atoms)}")
        if len(token) == 3:
            atoms[words[-1]] = compare(token[0], token[1], float(token[2]))
        elif token[0] in SELECTIONS:
            atoms[words[-1]] = SELECTIONS[token[0]]
        else:
            raise _unknown(token[0], SELECTIONS)
    try:
        tree = ast.parse(" ".join(words), mode="eval").body
    except (RecursionError, MemoryError, SyntaxError):
        raise RecipeError(_TOO_DEEP) from None
    return _join(tree, atoms)


def _check_order(expression: str, tokens: Sequence[Token]) -> None:
    """Check that names and operators take turns and brackets pair; name what does not."""
    kinds = [token[0] if token[0] in _MARKS else "name" for token in tokens]
    depth = 1
    for at, (before, here) in enumerate(itertools.pairwise(["(", *kinds, ")"])):
        end = at == len(tokens)
        wanted = "a name" if before in ("(", "&", "|", "~") else "an operator"
        depth += (here == "(") - (here == ")")
        fits = (here in ("name", "~", "(")) == (wanted == "a name")
        if fits and end and depth > 0:
            wanted = ")"
        elif fits and (depth > 0 or end):
            continue
        what = "it ends" if end else f"'{' '.join(tokens[at])}' stands"
        raise RecipeError(f"{_place(expression)}: {what} where {wanted} should")


def _join(node: ast.expr, atoms: Mapping[str, Selection]) -> Selection:
    match node:
        case ast.Name(id=name):
            return atoms[name]
        case ast.UnaryOp(op=ast.Invert(), operand=inner):
            return ~_join(inner, atoms)
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() as operator, right=right):
            one, other = _join(left, atoms), _join(right, atoms)
            return one & other if isinstance(operator, ast.BitAnd) else one | other
    raise RecipeError(f"a selection cannot hold '{ast.unparse(node)}'")


def as_expression(selection: Any, levels: int = _DEEPEST) -> str:
    """Write an expression, a list or a table, at most `levels` deep, as one expression."""
    if levels == 0:
        raise RecipeError(_TOO_DEEP)
    if isinstance(selection, str):
        return selection
    if isinstance(selection, Mapping):
        return _table_expression(selection, levels)
    if isinstance(selection, Sequence) and selection:
        return " & ".join([_bracketed(as_expression(one, levels - 1)) for one in selection])
    raise RecipeError(
        f"a selection is a name, an expression, a list of these or a table; got {selection!r}"
    )


def _bracketed(expression: str) -> str:
    return expression if len(_tokens(expression)) == 1 else f"({expression})"


def _table_expression(table: Mapping[str, Any], levels: int) -> str:
    parts = [_bracketed(as_expression(table.get("selection", "all"), levels - 1))]
    for column, bounds in table.items():
        if column == "selection":
            continue
        if not isinstance(bounds, Mapping) or not bounds or set(bounds) - {"min", "max"}:
            raise RecipeError(
                f"selection: limits on '{column}' must be a table of min, max or both, "
                f"as {column} = {{min = 0, max = 1}}; got {bounds!r}"
            )
        try:
            values = {key: float(value) for key, value in bounds.items()}
        except (TypeError, ValueError):
            raise RecipeError(f"selection: limits on '{column}' must be numbers") from None
        low, high = values.get("min", float("-inf")), values.get("max", float("inf"))
        if not low < high:
            raise RecipeError(f"selection: '{column}' has min {low:g} not below max {high:g}")
        if "min" in values:
            parts.append(f"{column} >= {low!r}")
        if "max" in values:
            parts.append(f"{column} < {high!r}")
    return " & ".join(parts)


def expand(selection: Any, own: Mapping[str, Any]) -> str:
    """Write out a selection, whose names may be a recipe's `own`, in names of `SELECTIONS`."""
    for name in own:
        if name in SELECTIONS:
            raise RecipeError(f"[selections] gives '{name}' anew, which has a meaning already")
        if _TOKEN.fullmatch(name) is None or len(_tokens(name)[0]) != 1:
            raise RecipeError(f"[selections]: '{name}' is no name: use letters, digits, . _ and -")
    expression = _written_out(as_expression(selection), own, ())
    parse_selection(expression)
    return expression


def _written_out(expression: str, own: Mapping[str, Any], within: tuple[str, ...]) -> str:
    if len(within) == _DEEPEST:
        raise RecipeError(_TOO_DEEP)
    words = []
    for token in _tokens(expression):
        name = token[0]
        if len(token) == 1 and name in own:
            if name in within:
                raise RecipeError(f"[selections]: '{name}' is defined by itself")
            words.append(_bracketed(_written_out(as_expression(own[name]), own, (*within, name))))
        elif len(token) == 1 and name not in SELECTIONS and name not in _MARKS:
            raise _unknown(name, [*SELECTIONS, *own])
        else:
            words.append(" ".join(token))
    return re.sub(r"(?<=[(~]) | (?=\))", "", " ".join(words))


def select(
    stars: xr.Dataset,
    selection: str | Sequence[Any] | Mapping[str, Any] | Selection,
    *,
    potential: str = "MWPotential2014",
) -> xr.DataArray:
    """Mark the stars that a selection takes.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    selection : str, sequence, mapping or Selection
        A name of `SELECTIONS`; an expression of names and comparisons, ``"thin & feh > -0.5"``; a
        list, for the stars in all of its members; limits by column on top of any of these,
        ``{"selection": "thin-chemical", "zmax": {"max": 0.5}}``; or a `Selection` of your own.
        Always of the usable stars (`all`) only.
    potential : str
        Whose Z_max and guiding radius.

    Returns
    -------
    xarray.DataArray
        bool, dim `star`; the attribute ``description`` says what was selected. A star that lacks a
        value the selection needs is out.

    Raises
    ------
    RecipeError
        For an unknown name or limits that make no sense, or an unknown column.
    CatalogError
        For a column of catalogues that this one lacks.
    OrbitError
        For a potential that the stars' orbits were not computed in.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes import select
    >>> stars = xr.Dataset({"feh": ("star", [-0.6, 0.1]), "flag": ("star", [0, 0])})
    >>> select(stars, "feh > -0.5").values.tolist()
    [False, True]
    """
    if not isinstance(selection, Selection):
        selection = parse_selection(as_expression(selection))
    if not isinstance(stars, xr.Dataset):
        stars = as_catalog(stars)
    columns = look_up_columns(stars, potential)
    mask = SELECTIONS["all"].judge(columns)[0] & selection.judge(columns)[0]
    attrs = {"description": selection.description, "potential": potential}
    return xr.DataArray(mask, dims="star", name="selected", attrs=attrs)
