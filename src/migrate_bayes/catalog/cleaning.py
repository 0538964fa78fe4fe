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
    32767.0, 32768.0, 65535.0, 2147483647.0, 2147483648.0,
])  # fmt: skip
"""What surveys write, of either sign, where there is no value: nines, and integers' ends."""
_ALWAYS = -9999.0
"""Of no unit is this a value, though of metres per second it could be."""
_SPAN = 2048
_GREATEST_LOG = 50.0
_HUGE = 1e19  # nothing measured here is as large, and no identifier carried along


@dataclass
class Seen:
    """What was seen of a column: counts of values, and the first out of bounds."""

    finite: int = 0
    sentinels: int = 0
    outside: int = 0
    negative: int = 0
    first_row: int = -1
    first_value: float = math.nan

    def add(self, later: Seen) -> None:
        """Add what was seen of further rows."""
        if later.outside and not self.outside:
            self.first_row, self.first_value = later.first_row, later.first_value
        self.finite += later.finite
        self.sentinels += later.sentinels
        self.outside += later.outside
        self.negative += later.negative


@njit(cache=True, nogil=True)
def _is_sentinel(x, nines):
    """Whether a number as it stands in the file is one of nines, as single precision rounds it."""
    size = abs(x)
    if size >= _HUGE:
        return True
    known = False
    for k in range(nines.size):
        known |= abs(size - nines[k]) <= 6.1e-8 * nines[k]
    return known


@njit(cache=True, nogil=True)
def _clean(values, how, missing, look, limits, nines, out, counts):
    """Fill `out`, and `counts`: finite, sentinels, outside, the first outside, negative.

    Values are looked at some thousand at a time: where all are usual, and no sentinel can be among
    these (`look` is false), a sum without a branch is all that it takes.
    """
    factor, offset, function, scale = how
    low, high, usual_low, usual_high = limits
    finite = 0
    for start in range(0, values.size, _SPAN):
        stop = min(start + _SPAN, values.size)
        good = 0
        if function == LINEAR and not look:
            for i in range(start, stop):
                v = (np.float64(values[i]) * factor + offset) * scale
                out[i] = v
                good += (v >= usual_low) & (v <= usual_high)
            if good == stop - start:
                finite += good
                continue
        for i in range(start, stop):
            x = np.float64(values[i])
            if function == LINEAR:
                v = x * factor + offset
            elif function == EXP:
                v = 10.0**x * factor if abs(x) < _GREATEST_LOG else math.nan
            else:
                v = math.log10(x * factor) if x * factor > 0.0 else math.nan
            v *= scale
            for k in range(missing.size):
                # Sentinels such as 9.99 are often stored in single precision.
                if abs(x - missing[k]) <= 1e-6 * abs(missing[k]):
                    v = math.nan
            out[i] = math.nan
            if v - v != 0.0:  # NaN or infinite
                continue
            if (v < usual_low or v > usual_high) and _is_sentinel(x, nines):
                counts[1] += 1
                continue
            if v < low or v > high:
                if counts[2] == 0:
                    counts[3] = i
                counts[2] += 1
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
    out: Floats | None = None,
) -> Floats:
    """Return converted values, in `out` if it is given, NaN for what is missing or out of bounds.

    `missing` are a map's own sentinels, in the file's unit; `bounds` and `usual`, in the canonical
    one, are those of `Column`. `seen` is added to; `first_row` is the number of the first value.
    """
    out = np.empty(len(values)) if out is None else out
    counts = np.zeros(5, dtype=np.int64)
    low, high = max(bounds[0], -1.7e308), min(bounds[1], 1.7e308)
    usual = max(usual[0], bounds[0]), min(usual[1], bounds[1])
    limits = (low, high, *usual)
    factor, offset, function = conversion[:3]
    given = np.array([*missing, *([_ALWAYS] if factor != 1.0 else [])], dtype=np.float64)
    # A sentinel that no usual value can be is found with whatever else is unusual.
    made = (given * factor + offset) * scale
    spare = 0.01 * np.abs(made)
    look = bool(np.any((made + spare >= usual[0]) & (made - spare <= usual[1])))
    plain = np.ascontiguousarray(values, dtype=None if values.dtype == np.float32 else np.float64)
    how = (factor, offset, function, float(scale))
    _clean(plain, how, given, look, limits, NINES, out, counts)
    finite, sentinels, outside, at, negative = counts.tolist()
    first = (first_row + at, float(values[at])) if outside else (-1, math.nan)
    seen.add(Seen(finite, sentinels, outside, negative, *first))
    return out
