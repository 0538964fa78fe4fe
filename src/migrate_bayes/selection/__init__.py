"""Which stars: named selections of StarPosteriors, after Vickers, Shen & Li (2021, "the paper").

`select` is what a user wants: it takes a name, an expression (``"thin & high-quality"``), a list or
a table of limits, and gives a boolean mask. A `Selection` composes with ``&``, ``|`` and ``~`` and
describes itself. `SELECTIONS` has the names, `expressions` what recipes may write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from migrate_bayes.selection.conditions import Selection, compare, dividing_line, limits
from migrate_bayes.selection.derived import look_up_columns
from migrate_bayes.selection.expressions import as_expression, expand, parse_selection
from migrate_bayes.selection.vickers2021 import SELECTIONS

__all__ = [
    "SELECTIONS",
    "Selection",
    "as_expression",
    "compare",
    "dividing_line",
    "expand",
    "limits",
    "parse_selection",
    "select",
]


def select(
    stars: xr.Dataset,
    selection: str | Sequence[Any] | Mapping[str, Any] | Selection,
    *,
    potential: str = "MWPotential2014",
) -> xr.DataArray:
    """Which stars a selection takes.

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
        For an unknown name or limits that make no sense, or a column that the stars lack.
    OrbitError
        For a potential that the stars' orbits were not computed in.
    """
    if isinstance(selection, Selection):
        chosen = selection
    else:
        chosen = parse_selection(as_expression(selection))
    columns = look_up_columns(stars, potential)
    usable = SELECTIONS["all"]
    mask = usable.judge(columns)[0] & chosen.judge(columns)[0]
    return xr.DataArray(
        mask,
        dims="star",
        name="selected",
        attrs={"description": chosen.description, "potential": potential},
    )
