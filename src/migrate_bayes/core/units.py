"""Numbers with a dimension: plain ones are taken to be in the unit asked for, others converted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def in_unit(value: ArrayLike | Any, unit: str) -> NDArray[np.float64]:
    """Return a number, array or astropy quantity as float64 in a unit that astropy knows."""
    if hasattr(value, "to_value"):
        value = value.to_value(unit)
    return np.asarray(value, dtype=np.float64)


def flatten(
    values: Sequence[ArrayLike | Any], units: Sequence[str]
) -> tuple[tuple[int, ...], list[NDArray[np.float64]]]:
    """Return the common shape of some columns, and each as a flat, contiguous array in its unit."""
    columns = [in_unit(value, unit) for value, unit in zip(values, units, strict=True)]
    arrays = np.broadcast_arrays(*columns)
    return arrays[0].shape, [np.ascontiguousarray(array).ravel() for array in arrays]
