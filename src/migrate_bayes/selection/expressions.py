"""Selections as recipes write them: expressions, lists and tables.

An expression joins names and comparisons with ``&``, ``|``, ``~`` and brackets:
``"thin & high-quality"``, ``"thin-chemical & zmax < 0.5 & r_present >= 6"``. A list is the stars
that are in all of its members. A table puts limits on columns on top of a selection:
``{selection = "thin-chemical", zmax = {max = 0.5}}``. A recipe's ``[selections]`` gives any of
these a name of its own, which `expand` writes out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from migrate_bayes.core.errors import RecipeError, suggest
from migrate_bayes.selection.conditions import Selection, compare
from migrate_bayes.selection.vickers2021 import SELECTIONS

__all__ = ["as_expression", "expand", "parse_selection"]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"\s*(?:([A-Za-z_]\w*)\s*(<=|>=|<|>)\s*({_NUMBER})|([A-Za-z0-9][A-Za-z0-9._-]*)|([&|~()]))"
)

Token = tuple[str, ...]  # (column, sign, number), (name,) or (operator,)


def _tokens(expression: str) -> list[Token]:
    tokens: list[Token] = []
    at, text = 0, expression.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise RecipeError(
                f"selection '{expression}': cannot read '{text[at:].strip()}'; use names and "
                "comparisons (zmax < 0.5) with &, |, ~ and brackets"
            )
        column, sign, number, name, mark = found.groups()
        tokens.append((column, sign, number) if column else (name or mark,))
        at = found.end()
    return tokens


def parse_selection(expression: str) -> Selection:
    """Read names and comparisons joined by ``&``, ``|``, ``~`` and brackets, as Python would.

    Raises
    ------
    RecipeError
        For an unknown name, or an expression that does not parse.
    """
    tokens = _tokens(expression)

    def take(expected: str | None = None) -> Token:
        if not tokens or (expected is not None and tokens[0] != (expected,)):
            what = f"'{' '.join(tokens[0])}' stands" if tokens else "it ends"
            raise RecipeError(
                f"selection '{expression}': {what} where {expected or 'a name'} should"
            )
        return tokens.pop(0)

    def either() -> Selection:
        left = both()
        while tokens[:1] == [("|",)]:
            take()
            left = left | both()
        return left

    def both() -> Selection:
        left = one()
        while tokens[:1] == [("&",)]:
            take()
            left = left & one()
        return left

    def one() -> Selection:
        token = take()
        if len(token) == 3:
            return compare(token[0], token[1], float(token[2]))
        if token == ("~",):
            return ~one()
        if token == ("(",):
            inner = either()
            take(")")
            return inner
        if token[0] not in SELECTIONS:
            raise RecipeError(f"unknown selection '{token[0]}'; {suggest(token[0], SELECTIONS)}")
        return SELECTIONS[token[0]]

    selection = either()
    if tokens:
        raise RecipeError(
            f"selection '{expression}': '{' '.join(tokens[0])}' stands where an operator should"
        )
    return selection


def as_expression(selection: Any) -> str:
    """Write an expression, a list or a table as one expression.

    Raises
    ------
    RecipeError
        For a table or a list that is none of a selection.
    """
    if isinstance(selection, str):
        return selection
    if isinstance(selection, Mapping):
        return _table_expression(selection)
    if isinstance(selection, Sequence) and selection:
        return " & ".join(_bracketed(as_expression(member)) for member in selection)
    raise RecipeError(
        f"a selection is a name, an expression, a list of these or a table; got {selection!r}"
    )


def _bracketed(expression: str) -> str:
    return expression if len(_tokens(expression)) == 1 else f"({expression})"


def _table_expression(table: Mapping[str, Any]) -> str:
    parts = [_bracketed(as_expression(table.get("selection", "all")))]
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
    """Write out a selection with the names that a recipe's ``[selections]`` gives.

    Parameters
    ----------
    selection : str, sequence or mapping
    own : mapping
        Selections by name, which may use one another.

    Returns
    -------
    str
        An expression of names of `SELECTIONS` and comparisons; it parses.

    Raises
    ------
    RecipeError
        For an unknown name, a name of the package's, or names that go in a circle.
    """
    for name in own:
        if name in SELECTIONS:
            raise RecipeError(f"[selections] gives '{name}' anew, which has a meaning already")
        if _TOKEN.fullmatch(name) is None or len(_tokens(name)[0]) != 1:
            raise RecipeError(f"[selections]: '{name}' is no name: use letters, digits, . _ and -")
    expression = _written_out(as_expression(selection), own, ())
    parse_selection(expression)
    return expression


def _written_out(expression: str, own: Mapping[str, Any], within: tuple[str, ...]) -> str:
    words = []
    for token in _tokens(expression):
        name = token[0]
        if len(token) == 1 and name in own:
            if name in within:
                raise RecipeError(f"[selections]: '{name}' is defined by itself")
            words.append(_bracketed(_written_out(as_expression(own[name]), own, (*within, name))))
        elif len(token) == 1 and name not in SELECTIONS and name not in "&|~()":
            raise RecipeError(f"unknown selection '{name}'; {suggest(name, [*SELECTIONS, *own])}")
        else:
            words.append(" ".join(token))
    return re.sub(r"(?<=[(~]) | (?=\))", "", " ".join(words))
