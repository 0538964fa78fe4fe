"""Conditions on stars: what a `Selection` is, and the elementary ones.

A missing value makes a condition neither true nor false, so a star of unknown [α/Fe] belongs
neither to ``thin-chemical`` nor to ``~thin-chemical``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.flags import FATAL_AGE, FATAL_ORBIT, StarFlag

__all__ = ["OPERATORS", "Selection", "compare", "dividing_line", "limits", "line_excess", "usable"]

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


_SYMBOL = {
    "zmax": ("Z_max", "kpc"),
    "alpha_fe": ("[α/Fe]", ""),
    "feh": ("[Fe/H]", ""),
    "teff": ("T_eff", "K"),
    "logg": ("log g", ""),
    "age_error": ("relative age error", ""),
    "rg_mean": ("R_g", "kpc"),
    "r_present": ("R", "kpc"),
    "age_ml": ("age", "Gyr"),
    "snr_g": ("S/N(g)", ""),
    "snr_r": ("S/N(r)", ""),
    "snr_i": ("S/N(i)", ""),
    "parallax_over_error": ("parallax/error", ""),
    "toomre_speed": ("|V − V_LSR|", "km/s"),
    "toomre_speed_local": ("|V − V_circ(R)|", "km/s"),
    "abs_z": ("|Z|", "kpc"),
}

#: Comparisons by the sign that recipes write, and the sign that captions show.
OPERATORS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "<": (operator.lt, "<"),
    "<=": (operator.le, "≤"),
    ">": (operator.gt, ">"),
    ">=": (operator.ge, "≥"),
}


def compare(column: str, sign: str, value: float) -> Selection:
    """Stars whose column stands in a relation to a number.

    Parameters
    ----------
    column : str
        As for `limits`.
    sign : {"<", "<=", ">", ">="}
    value : float
        In the column's own unit.
    """
    relation, shown = OPERATORS[sign]

    def judge(columns: Columns) -> Verdict:
        x = columns(column)
        known = np.isfinite(x)
        inside = known & relation(x, value)
        return inside, known & ~inside

    symbol, unit = _SYMBOL.get(column, (column, ""))
    return Selection(judge, f"{symbol} {shown} {value:g}{f' {unit}' if unit else ''}")


def limits(column: str, lower: float = -np.inf, upper: float = np.inf) -> Selection:
    """Stars with ``lower <= column < upper``.

    Parameters
    ----------
    column : str
        A per-star variable of StarPosteriors, one on (star, potential), or one of
        `migrate_bayes.selection.derived.DERIVED`; ``zmax`` in kpc.
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


def line_excess(lower: float, upper: float, description: str) -> Selection:
    """Stars with [α/Fe] within limits counted from the dividing line."""

    def judge(columns: Columns) -> Verdict:
        excess = columns("alpha_fe") - dividing_line(columns("feh"))
        inside = (excess >= lower) & (excess < upper)
        return inside, ~inside & np.isfinite(excess)

    return Selection(judge, description)


def usable() -> Selection:
    """Stars with an age and an orbit that are no repeats and within the run's own cuts."""

    def judge(columns: Columns) -> Verdict:
        bits = columns("flag").astype(np.int64)
        good = (bits & int(_UNUSABLE)) == 0
        return good, ~good

    return Selection(judge, "age and orbit known, no repeat, S/N and age error within the cuts")
