"""Columns of StarPosteriors by name, as selections ask for them, and what is derived from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import OrbitError, RecipeError, suggest
from migrate_bayes.selection.conditions import Columns, Selection
from migrate_bayes.selection.expressions import as_expression, parse_selection
from migrate_bayes.selection.vickers2021 import SELECTIONS

__all__ = ["DERIVED", "look_up_columns", "select"]

Floats = NDArray[np.float64]


def look_up_columns(stars: xr.Dataset, potential: str) -> Columns:
    """Return a function from a name to a column, on the potential where it depends on it.

    Raises
    ------
    OrbitError
        For a potential that the stars' orbits were not computed in.
    """
    if "potential" in stars.dims:
        known = [str(p) for p in stars["potential"].values]
        if potential not in known:
            raise OrbitError(f"no orbits in potential '{potential}'; {suggest(potential, known)}")
        stars = stars.sel(potential=potential)

    def look_up(name: str) -> Floats:
        if name in DERIVED and name not in stars:
            return DERIVED[name](look_up, stars)
        if name not in stars or "star" not in stars[name].dims:
            per_star = [str(n) for n, v in stars.data_vars.items() if "star" in v.dims]
            raise RecipeError(
                f"a selection needs the column '{name}', which the stars lack; "
                f"{suggest(name, [*per_star, *DERIVED])}"
            )
        array = stars[name]
        if array.dims != ("star",) or array.dtype.kind not in "iufb":
            raise RecipeError(f"a selection cannot use '{name}': not one number per star")
        return np.asarray(array.values, dtype=np.float64)

    return look_up


def _zmax(column: Columns, stars: xr.Dataset) -> Floats:
    return np.exp(column("ln_zmax_mean")) if "ln_zmax_mean" in stars else _absent("zmax")


def _absent(name: str) -> Any:
    raise RecipeError(f"a selection needs the column '{name}', which the stars lack")


def _parallax_over_error(column: Columns, stars: xr.Dataset) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return column("parallax") / column("parallax_error")


def _speed(column: Columns, rotation: Any) -> Floats:
    return np.sqrt((column("v_phi") - rotation) ** 2 + column("v_r") ** 2 + column("v_z") ** 2)


def _orbit_setting(stars: xr.Dataset, name: str) -> Any:
    if name not in stars:
        raise RecipeError(f"a Toomre selection needs '{name}' of the orbits, which the stars lack")
    return stars[name].item()


def _toomre(column: Columns, stars: xr.Dataset) -> Floats:
    return _speed(column, float(_orbit_setting(stars, "v0")))


def _toomre_local(column: Columns, stars: xr.Dataset) -> Floats:
    from migrate_bayes.orbits import circular_velocity

    frame = {name: float(_orbit_setting(stars, name)) for name in ("r0", "v0")}
    rotation = circular_velocity(
        column("r_present"), str(_orbit_setting(stars, "potential_model")),
        frame=frame, scaling=str(_orbit_setting(stars, "scaling")),
    )  # fmt: skip
    return _speed(column, rotation)


def _abs_z(column: Columns, stars: xr.Dataset) -> Floats:
    return np.abs(column("z"))


#: Columns that are computed where the stars do not have them: ``zmax`` (kpc, from its logarithm),
#: ``parallax_over_error``, ``abs_z`` (kpc), ``toomre_speed`` and ``toomre_speed_local`` (km/s):
#: √((v_φ - V)² + v_R² + v_Z²) with V the frame's V₀, or the circular speed at the star's R.
DERIVED: dict[str, Callable[[Columns, xr.Dataset], Floats]] = {
    "zmax": _zmax,
    "parallax_over_error": _parallax_over_error,
    "toomre_speed": _toomre,
    "toomre_speed_local": _toomre_local,
    "abs_z": _abs_z,
}


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
