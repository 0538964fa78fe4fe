# mypy: disable-error-code="no-untyped-def"
"""A file's numbers as canonical ones, in one pass: units, sentinels, bounds, and counts of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import EXP, LINEAR, Conversion

Floats = NDArray[np.float64]

NINES = np.array([
    9.0, 9.9, 9.99, 9.999, 9.9999, 99.0, 99.9, 99.99, 99.999, 99.9999, 999.0, 999.9, 999.99,
    999.999, 999.9999, 9999.0, 9999.9, 9999.99, 9999.999, 99999.0, 99999.99, 999999.0, 9999999.0,
    99999999.0, 999999999.0, 9999999999.0,
])  # fmt: skip
"""What surveys write, of either sign, where there is no value."""
_HUGE = 1e10  # nothing measured here is as large


@dataclass
class Seen:
    """What was seen of a column: counts of values, and the first out of bounds."""

    finite: int = 0
    sentinels: int = 0
    outside: int = 0
    negative: int = 0
    first_row: int = -1
    first_value: float = math.nan


@njit(cache=True, nogil=True)
def _is_sentinel(x, nines):
    """Whether a number as it stands in the file is one of nines; single precision rounds them."""
    size = abs(x)
    if size >= _HUGE:
        return True
    known = False
    for k in range(nines.size):
        known |= abs(size - nines[k]) <= 2e-7 * nines[k]
    return known


@njit(cache=True, nogil=True)
def _clean(values, factor, offset, function, scale, missing, limits, nines, out, counts):
    """Fill `out`, and `counts`: finite, sentinels, outside, the first outside, negative."""
    low, high, usual_low, usual_high = limits
    finite = 0
    for i in range(values.size):
        x = values[i]
        if function == LINEAR:
            v = x * factor + offset
        elif function == EXP:
            v = 10.0**x * factor
        else:
            v = math.log10(x * factor) if x * factor > 0.0 else math.nan
        v *= scale
        good = v >= usual_low and v <= usual_high and v - v == 0.0
        for k in range(missing.size):
            # Sentinels such as 9.99 are often stored in single precision.
            if abs(x - missing[k]) <= 1e-6 * abs(missing[k]):
                good = False
                v = math.nan
        if not good:
            if v - v != 0.0:  # NaN or infinite
                out[i] = math.nan
                continue
            if (v < usual_low or v > usual_high) and _is_sentinel(x, nines):
                counts[1] += 1
                out[i] = math.nan
                continue
            if v < low or v > high:
                if counts[2] == 0:
                    counts[3] = i
                counts[2] += 1
                out[i] = math.nan
                continue
        if v < 0.0:
            counts[4] += 1
        finite += 1
        out[i] = v
    counts[0] = finite


def clean(
    values: Floats,
    conversion: Conversion,
    missing: Sequence[float],
    scale: float,
    bounds: tuple[float, float],
    usual: tuple[float, float],
    seen: Seen,
    first_row: int,
) -> Floats:
    """Return converted values, NaN for what is missing, a sentinel or out of bounds.

    `missing` are a map's own sentinels, in the file's unit; `bounds` and `usual`, in the canonical
    one, are those of `Column`. `seen` is added to; `first_row` is the number of the first value.
    """
    out = np.empty(len(values))
    counts = np.zeros(5, dtype=np.int64)
    limits = (max(bounds[0], -1.7e308), min(bounds[1], 1.7e308), *usual)
    factor, offset, function, _ = conversion
    plain = np.ascontiguousarray(values, dtype=np.float64)
    sentinels_given = np.array(missing, dtype=np.float64)
    _clean(
        plain, factor, offset, function, float(scale), sentinels_given, limits, NINES, out, counts
    )
    finite, sentinels, outside, at, negative = counts.tolist()
    if outside and not seen.outside:
        seen.first_row, seen.first_value = first_row + at, float(values[at])
    seen.finite += finite
    seen.sentinels += sentinels
    seen.outside += outside
    seen.negative += negative
    return out
