"""Numbers with a dimension: plain ones are taken to be in the unit asked for, others converted.

A quantity, a column or an xarray variable that states another unit is converted; what cannot be is
refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import UnitError


def in_unit(value: ArrayLike | Any, unit: str, name: str = "") -> NDArray[np.float64]:
    """Return a number, array or quantity as float64 in a unit that astropy knows; masked, as NaN.

    Raises `UnitError` for what is in another dimension, or no number; `name` says of what.
    """
    what = f"'{name}'" if name else "an argument"
    try:
        stated = _stated(value)
        if stated:
            from astropy import units as u

            mask = np.ma.getmaskarray(np.ma.asarray(value)) if np.ma.isMA(value) else None
            plain = np.asarray(getattr(value, "values", value), dtype=np.float64)
            value = u.Quantity(plain, u.Unit(stated)).to_value(unit)
            value = value if mask is None else np.where(mask, np.nan, value)
        elif isinstance(value, list | tuple) and any(hasattr(v, "to_value") for v in value):
            value = [in_unit(v, unit, name) for v in value]
        elif hasattr(value, "to_value") or hasattr(value, "unmasked"):
            mask, value = getattr(value, "mask", None), getattr(value, "unmasked", value)
            value = np.asarray(value.to_value(unit) if hasattr(value, "to_value") else value)
            value = value if mask is None else np.where(mask, np.nan, value)
        if np.ma.isMA(value):
            value = np.ma.filled(np.ma.asarray(value).astype(np.float64), np.nan)
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        needs = f"numbers, or quantities in '{unit}'" if unit else "plain numbers"
        raise UnitError(f"{what} must be {needs}: {error}") from error


def _stated(value: Any) -> str:
    """Return the unit that a column of astropy's or an xarray variable states."""
    if hasattr(value, "to_value"):
        return ""
    if hasattr(value, "attrs") and hasattr(value, "dims"):
        return str(value.attrs.get("units", ""))
    unit = getattr(value, "unit", None)
    return "" if unit is None else str(unit)


def number(value: Any, unit: str, name: str) -> float:
    """Return one number in a unit, as `in_unit` does."""
    array = in_unit(value, unit, name)
    if array.size != 1:
        raise UnitError(f"'{name}' must be one number, not {array.size}")
    return float(array.reshape(-1)[0])


def flatten(
    values: Sequence[ArrayLike | Any], units: Sequence[str]
) -> tuple[tuple[int, ...], list[NDArray[np.float64]]]:
    """Return the common shape of some columns, and each as a flat, contiguous array in its unit."""
    columns = [in_unit(value, unit) for value, unit in zip(values, units, strict=True)]
    arrays = np.broadcast_arrays(*columns)
    return arrays[0].shape, [np.ascontiguousarray(array).ravel() for array in arrays]
