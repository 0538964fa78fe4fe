"""Which stars: named selections of StarPosteriors, after Vickers, Shen & Li (2021, "the paper").

`select` is what a user wants: it takes a name, an expression of names (``"thin & high-quality"``)
or a table of limits, and gives a boolean mask. A `Selection` composes with ``&``, ``|`` and ``~``
and describes itself. A missing value makes a condition neither true nor false, so a star of unknown
[α/Fe] belongs neither to ``thin-chemical`` nor to ``~thin-chemical``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.errors import OrbitError, RecipeError, suggest
from migrate_bayes.flags import FATAL_AGE, FATAL_ORBIT, StarFlag

__all__ = ["SELECTIONS", "Selection", "dividing_line", "limits", "parse_selection", "select"]

Mask = NDArray[np.bool_]
#: What is surely true and what is surely false; a star in neither is unknown.
Verdict = tuple[Mask, Mask]
#: Columns by name, for one potential.
Columns = Callable[[str], NDArray[np.float64]]

_UNUSABLE = FATAL_AGE | FATAL_ORBIT | StarFlag.DUPLICATE | StarFlag.LOW_SNR | StarFlag.POOR_AGE


@dataclass(frozen=True)
class Selection:
    """A condition on stars, and its wording.

    Attributes
    ----------
    judge : callable
        Columns in, `Verdict` out.
    description : str
        The condition in words and symbols, as a figure caption would put it.
    """

    judge: Callable[[Columns], Verdict]
    description: str

    def __and__(self, other: Selection) -> Selection:
        def judge(columns: Columns) -> Verdict:
            (t1, f1), (t2, f2) = self.judge(columns), other.judge(columns)
            return t1 & t2, f1 | f2

        return Selection(judge, f"{_bracket(self, ' or ')} and {_bracket(other, ' or ')}")

    def __or__(self, other: Selection) -> Selection:
        def judge(columns: Columns) -> Verdict:
            (t1, f1), (t2, f2) = self.judge(columns), other.judge(columns)
            return t1 | t2, f1 & f2

        return Selection(judge, f"{_bracket(self, ' and ')} or {_bracket(other, ' and ')}")

    def __invert__(self) -> Selection:
        return Selection(lambda columns: self.judge(columns)[::-1], f"not ({self.description})")

    def described(self, description: str) -> Selection:
        """Return the same condition in better words."""
        return Selection(self.judge, description)


def _bracket(selection: Selection, other_operator: str) -> str:
    """Bracket a description where the operator beside it would be read wrongly."""
    text = selection.description
    return f"({text})" if other_operator in text else text


# --- conditions ------------------------------------------------------------------------------

_SYMBOL = {
    "zmax": ("Z_max", "kpc"),
    "alpha_fe": ("[α/Fe]", ""),
    "feh": ("[Fe/H]", ""),
    "teff": ("T_eff", "K"),
    "logg": ("log g", ""),
    "age_error": ("relative age error", ""),
    "rg_mean": ("R_g", "kpc"),
    "age_ml": ("age", "Gyr"),
}


def limits(column: str, lower: float = -np.inf, upper: float = np.inf) -> Selection:
    """Stars with ``lower <= column < upper``.

    Parameters
    ----------
    column : str
        A per-star variable of StarPosteriors, or one on (star, potential); ``zmax`` in kpc.
    lower, upper : float
        In the column's own unit.
    """

    def judge(columns: Columns) -> Verdict:
        value = columns(column)
        inside = (value >= lower) & (value < upper)
        return inside, ~inside & np.isfinite(value)

    symbol, unit = _SYMBOL.get(column, (column, ""))
    unit = f" {unit}" if unit else ""
    if np.isneginf(lower):
        text = f"{symbol} < {upper:g}{unit}"
    elif np.isposinf(upper):
        text = f"{symbol} ≥ {lower:g}{unit}"
    else:
        text = f"{lower:g} ≤ {symbol} < {upper:g}{unit}"
    return Selection(judge, text)


def dividing_line(feh: Any) -> Any:
    """The paper's division of the discs in [α/Fe] (its figure 5): min(0.15, 0.1 − 0.2 [Fe/H])."""
    return np.minimum(0.15, 0.1 - 0.2 * np.asarray(feh))


def _above_line(lower: float, upper: float, description: str) -> Selection:
    """Stars with [α/Fe] within limits counted from the dividing line."""

    def judge(columns: Columns) -> Verdict:
        excess = columns("alpha_fe") - dividing_line(columns("feh"))
        inside = (excess >= lower) & (excess < upper)
        return inside, ~inside & np.isfinite(excess)

    return Selection(judge, description)


def _usable() -> Selection:
    def judge(columns: Columns) -> Verdict:
        bits = columns("flag").astype(np.int64)
        good = (bits & int(_UNUSABLE)) == 0
        return good, ~good

    return Selection(judge, "age and orbit known, no repeat, S/N and age error within the cuts")


_THIN = _above_line(-np.inf, 0.0, "[α/Fe] < 0.15 and [α/Fe] < −0.2 [Fe/H] + 0.1")
_THICK = (~_THIN).described("[α/Fe] > 0.15 or [α/Fe] > −0.2 [Fe/H] + 0.1")

#: Selections by name. All but `all` itself are taken of the usable stars (`all`).
#:
#: The limits of the paper's four Z_max slices stand only in its figure 9; ours keep its two stated
#: limits, 0.25 and 2 kpc, and divide the space between at 1 kpc.
SELECTIONS: dict[str, Selection] = {
    "all": _usable(),
    "thin-chemical": _THIN,
    "thin": _THIN & limits("zmax", upper=0.25),
    "thick-chemical": _THICK,
    "thick": _THICK & limits("zmax", 2.0),
    "zmax-below-0.25": limits("zmax", upper=0.25),
    "zmax-0.25-to-1": limits("zmax", 0.25, 1.0),
    "zmax-1-to-2": limits("zmax", 1.0, 2.0),
    "zmax-above-2": limits("zmax", 2.0),
    "alpha-lowest": _above_line(-np.inf, -0.1, "[α/Fe] more than 0.1 below the dividing line"),
    "alpha-low": _above_line(-0.1, 0.0, "[α/Fe] 0 to 0.1 below the dividing line"),
    "alpha-high": _above_line(0.0, 0.1, "[α/Fe] 0 to 0.1 above the dividing line"),
    "alpha-highest": _above_line(0.1, np.inf, "[α/Fe] more than 0.1 above the dividing line"),
    "high-quality": limits("age_error", upper=0.10)
    & (limits("teff", 5750.0) | (limits("logg", upper=4.0) & limits("teff", 5250.0))),
}


# --- expressions -----------------------------------------------------------------------------

_TOKEN = re.compile(r"\s*(?:([A-Za-z0-9][A-Za-z0-9._-]*)|([&|~()]))")


def parse_selection(expression: str) -> Selection:
    """Read names joined by ``&``, ``|``, ``~`` and brackets, with Python's precedence.

    Raises
    ------
    RecipeError
        For an unknown name, or an expression that does not parse.
    """
    tokens: list[str] = []
    at = 0
    text = expression.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise RecipeError(
                f"selection '{expression}': cannot read '{text[at:].strip()}'; "
                "use names with &, |, ~ and brackets"
            )
        tokens.append(found.group(1) or found.group(2))
        at = found.end()

    def take(expected: str | None = None) -> str:
        if not tokens or (expected is not None and tokens[0] != expected):
            what = f"'{tokens[0]}' stands" if tokens else "it ends"
            raise RecipeError(
                f"selection '{expression}': {what} where {expected or 'a name'} should"
            )
        return tokens.pop(0)

    def either() -> Selection:
        left = both()
        while tokens[:1] == ["|"]:
            take()
            left = left | both()
        return left

    def both() -> Selection:
        left = one()
        while tokens[:1] == ["&"]:
            take()
            left = left & one()
        return left

    def one() -> Selection:
        token = take()
        if token == "~":
            return ~one()
        if token == "(":
            inner = either()
            take(")")
            return inner
        if token not in SELECTIONS:
            raise RecipeError(f"unknown selection '{token}'; {suggest(token, SELECTIONS)}")
        return SELECTIONS[token]

    selection = either()
    if tokens:
        raise RecipeError(
            f"selection '{expression}': '{tokens[0]}' stands where an operator should"
        )
    return selection


def _from_table(table: Mapping[str, Any]) -> Selection:
    """``{selection = "thin-chemical", zmax = {max = 0.5}}``: limits on top of a named selection."""
    selection = parse_selection(str(table.get("selection", "all")))
    for column, bounds in table.items():
        if column == "selection":
            continue
        if not isinstance(bounds, Mapping) or not bounds or set(bounds) - {"min", "max"}:
            raise RecipeError(
                f"selection: limits on '{column}' must be a table of min, max or both, "
                f"as {column} = {{min = 0, max = 1}}; got {bounds!r}"
            )
        try:
            low, high = float(bounds.get("min", -np.inf)), float(bounds.get("max", np.inf))
        except (TypeError, ValueError):
            raise RecipeError(f"selection: limits on '{column}' must be numbers") from None
        if not low < high:
            raise RecipeError(f"selection: '{column}' has min {low:g} not below max {high:g}")
        selection = selection & limits(column, low, high)
    return selection


# --- use -------------------------------------------------------------------------------------


def select(
    stars: xr.Dataset,
    selection: str | Mapping[str, Any] | Selection,
    *,
    potential: str = "MWPotential2014",
) -> xr.DataArray:
    """Which stars a selection takes.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    selection : str, mapping or Selection
        A name of `SELECTIONS`; an expression of names, ``"thin & high-quality"``; limits by column
        on top of either, ``{"selection": "thin-chemical", "zmax": {"max": 0.5}}``; or a `Selection`
        of your own. Always of the usable stars (`all`) only.
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
        For an unknown name or limits that make no sense, or a column that the stars lack.
    OrbitError
        For a potential that the stars' orbits were not computed in.
    """
    if isinstance(selection, str):
        chosen = parse_selection(selection)
    elif isinstance(selection, Mapping):
        chosen = _from_table(selection)
    else:
        chosen = selection
    columns = _columns(stars, potential)
    usable = SELECTIONS["all"]
    mask = usable.judge(columns)[0] & chosen.judge(columns)[0]
    return xr.DataArray(
        mask,
        dims="star",
        name="selected",
        attrs={"description": chosen.description, "potential": potential},
    )


def _columns(stars: xr.Dataset, potential: str) -> Columns:
    """Look columns up by name, on the potential where they depend on it."""
    if "potential" in stars.dims:
        known = [str(p) for p in stars["potential"].values]
        if potential not in known:
            raise OrbitError(f"no orbits in potential '{potential}'; {suggest(potential, known)}")

    def look_up(name: str) -> NDArray[np.float64]:
        exponential = name == "zmax" and "zmax" not in stars and "ln_zmax_mean" in stars
        variable = "ln_zmax_mean" if exponential else name
        if variable not in stars or "star" not in stars[variable].dims:
            per_star = [str(n) for n, v in stars.data_vars.items() if "star" in v.dims]
            raise RecipeError(
                f"a selection needs the column '{name}', which the stars lack; "
                f"{suggest(name, per_star)}"
            )
        array = stars[variable]
        if "potential" in array.dims:
            array = array.sel(potential=potential)
        if array.dims != ("star",) or array.dtype.kind not in "iufb":
            raise RecipeError(f"a selection cannot use '{name}': not one number per star")
        values = np.asarray(array.values, dtype=np.float64)
        return np.exp(values) if exponential else values

    return look_up
