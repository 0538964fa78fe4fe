r"""The integral of a star's likelihood along isochrone segments, many at a time.

`fill` interpolates a block of isochrone points to an [α/Fe] at the nodes of metallicity, and on to
the star's own lattice of metallicities; `sum_lanes` integrates every segment and sums. Segments of
all lattice points of a block stand side by side in *lanes*; every loop runs over lanes, in float32,
without a branch or a call, so that the compiler makes vector instructions of it. The mathematics is
in `kernel`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from migrate_bayes.isochrones.layout import BORN, POINTS, QUANTITIES

__all__ = [
    "CELLS", "CHI2", "LANES", "NODE_LANES", "ROWS", "fill", "mills_ratio", "sum_lanes_4",
    "sum_lanes_5",
]  # fmt: skip

CELLS = 16  # of metallicity, done at once at most
LANES = 8192  # lattice points done at once × points of a block
NODE_LANES = (CELLS + 3) * POINTS
# Rows of the buffer of lanes, after the quantities
PRIOR, WEIGHT, FEH, OUT, CHI2, SQUARED = range(QUANTITIES, QUANTITIES + 6)
ROWS = QUANTITIES + 6
_LONG = np.float32(4.0)  # squared length of segments, in errors, that are integrated exactly
_F = np.float32
_ZERO, _HALF, _ONE, _TWO = _F(0.0), _F(0.5), _F(1.0), _F(2.0)
_QUARTER, _SIXTH, _FOUR = _F(0.25), _F(1.0 / 6.0), _F(4.0)
_ROOT_2PI = _F(math.sqrt(2.0 * math.pi))
_SHORT = _F(0.15)  # segments shorter than this many errors: Simpson's rule, error below 4e-4 at 5 σ
_FIVE, _EIGHT = _F(5.0 / 18.0), _F(8.0 / 18.0)
_NEAR, _OTHER = _F(0.5 - 0.5 * math.sqrt(0.6)), _F(0.5 + 0.5 * math.sqrt(0.6))
_POLE = _F(0.28)
_TINY, _FAR = _F(1e-10), _F(1e30)
_FLOOR = _F(-60.0)  # exponents are not let below: nothing so small counts, and none is subnormal
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.44269504), _F(0.693359375), _F(-2.12194440e-4)
_BIAS, _SHIFT = np.int32(127), np.int32(23)


@intrinsic
def _float_from_bits(typingctx: Any, bits: Any) -> Any:
    """Reinterpret 32 bits as a float32: 2**n from its exponent field, without a call."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def _floor(typingctx: Any, x: Any) -> Any:
    """Round down within float32 (`math.floor` would go through int64, which does not vectorise)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FloatType()
        floor = builder.module.declare_intrinsic("llvm.floor", [kind])
        return builder.call(floor, args)

    return types.float32(types.float32), codegen


@intrinsic
def _to_int(typingctx: Any, x: Any) -> Any:
    """Convert a whole float32 to int32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fptosi(args[0], ir.IntType(32))

    return types.int32(types.float32), codegen


@njit(inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    """Return exp(x) to 3e-6 relative, for x up to 80."""
    x = x if x > _FLOOR else _FLOOR
    x = x if x < -_FLOOR else -_FLOOR
    n = _floor(x * _LOG2E + _HALF)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _F(1.0 / 120.0)
    p = p * r + _F(1.0 / 24.0)
    p = p * r + _SIXTH
    p = p * r + _HALF
    p = p * r + _ONE
    p = p * r + _ONE
    return p * _float_from_bits((_to_int(n) + _BIAS) << _SHIFT)


@njit(inline="always")
def mills_ratio(t):  # type: ignore[no-untyped-def]
    r"""Return :math:`e^{x^2/2} \int_x^\infty e^{-y^2/2} dy` at t = 1/(1 + 0.28 x), x ≥ 0.

    To 4e-6 relative: a polynomial fitted to `scipy.special.erfcx` on x from 0 to 300.
    """
    p = _F(-0.12590418737087372)
    p = p * t + _F(0.2642878715925395)
    p = p * t + _F(0.06256128281820623)
    p = p * t + _F(0.23675440974426254)
    p = p * t + _F(0.25551824930557865)
    p = p * t + _F(0.28009188868911006)
    p = p * t + _F(0.2800000327085347)
    return p * t


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def fill(  # type: ignore[no-untyped-def]
    packed, block, n_metal, n_alpha, quantities, node, cells, k_low, k_high, weights, row, obs, inv,
    between, first, pieces, step, table, entry, n_lane, M, buffer, start,
):  # fmt: skip
    """Interpolate a block to a row of lattice points: an [α/Fe], and `cells` cells of metallicity.

    Arrays are flat and offsets unsigned: no slice is made, no index wraps around.

    Parameters
    ----------
    packed : numpy.ndarray
        The layout's; the block begins at `block`.
    quantities : int
        How many of `QUANTITIES` are wanted.
    node, cells : int
        The first metallicity node about the first cell, and how many cells.
    k_low, k_high : int
        The range of [α/Fe] nodes that have weights (`k_high` not included).
    weights : numpy.ndarray
        Of the [α/Fe] nodes, by (alpha, lane of a metallicity node) from `row` on.
    obs, inv : numpy.ndarray, shape (QUANTITIES,)
        Observables and inverse errors; 0 and −1 for the number born.
    between : numpy.ndarray, shape (MAX_PIECES, 4)
        Weights of the four nodes about a cell for each of its points, of which every `step`-th from
        `first` on, up to `pieces`, is wanted.
    table : numpy.ndarray
        What lattice points are worth: (point of a cell; χ² of the prior, weight, [Fe/H]; cell and
        lane), the row's from `entry` on, `n_lane` lanes wide.
    M : numpy.ndarray, size QUANTITIES · NODE_LANES
        Scratch: residuals at the nodes.
    buffer : numpy.ndarray, size ROWS · LANES + 1
        Lanes from `start` on are filled: residuals in errors and the number born, then what the
        lattice points are worth. Lanes are (point of a cell, cell, point of the block).

    Returns
    -------
    int
        Where the lanes end.
    """
    lanes = np.uint64((cells + 3) * POINTS)
    for c in range(quantities):
        x, q = obs[c], inv[c]
        to = np.uint64(c * NODE_LANES)
        for k in range(k_low, k_high):
            at = np.uint64(block + ((c * n_alpha + k) * n_metal + node) * POINTS)
            w = np.uint64(row + (k * n_metal + node) * POINTS)
            # The difference from the observed is taken first: it is exact where it is small.
            if k == k_low:
                for v in range(lanes):
                    M[to + v] = weights[w + v] * (q * (x - packed[at + v]))
            else:
                for v in range(lanes):
                    M[to + v] += weights[w + v] * (q * (x - packed[at + v]))
    count, per_point = np.uint64(cells * POINTS), 3 * n_lane
    one, two, three = np.uint64(POINTS), np.uint64(2 * POINTS), np.uint64(3 * POINTS)
    for t in range(first, pieces, step):
        w0, w1, w2, w3 = between[t, 0], between[t, 1], between[t, 2], between[t, 3]
        for c in range(quantities):
            m, r = np.uint64(c * NODE_LANES), np.uint64(c * LANES + start)
            for v in range(count):
                j = m + v
                buffer[r + v] = w0 * M[j] + w1 * M[j + one] + w2 * M[j + two] + w3 * M[j + three]
        for kind in range(3):
            r = np.uint64((QUANTITIES + kind) * LANES + start)
            at = np.uint64(entry + t * per_point + kind * n_lane + node * POINTS)
            for v in range(count):
                buffer[r + v] = table[at + v]
        start += cells * POINTS
    return start


def _integrator(quantities: int) -> Any:
    """Compile `integrate` for a number of quantities."""

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nnan", "nsz", "arcp"})
    def integrate(buffer, lanes, reference):  # type: ignore[no-untyped-def]
        """Integrate the likelihood over the length of each lane's segment.

        Lanes of `buffer` are as `fill` leaves them. Likelihoods, relative to exp(−reference/2), and
        the least χ² on each segment are written to it.
        """
        one = np.uint64(1)
        for k in range(np.uint64(lanes)):
            # χ²(u) = c0 − 2 b u + a u²
            c0, b, a = buffer[np.uint64(PRIOR * LANES) + k], _ZERO, _TINY
            for c in range(quantities):
                if c == BORN:
                    continue
                row = np.uint64(c * LANES)
                r = buffer[row + k]
                d = r - buffer[row + k + one]
                c0 += r * r
                b += r * d
                a += d * d
            length = math.sqrt(a)
            over = _ONE / length
            left = -b * over
            right = left + length
            short = length < _SHORT
            at_start = _exp((reference - c0) * _HALF)
            at_end = _exp((reference - (c0 - _TWO * b + a)) * _HALF)
            inside = c0 - b + _QUARTER * a if short else c0 - left * left
            at_inside = _exp((reference - inside) * _HALF)
            # One division for both Mills ratios
            d_start, d_end = _ONE + _POLE * abs(left), _ONE + _POLE * abs(right)
            both = _ONE / (d_start * d_end)
            tail_start = at_start * mills_ratio(both * d_end)
            tail_end = at_end * mills_ratio(both * d_start)
            # ∫ from `left` to `right`: tails added or taken away by the side of them that 0 is on.
            tail_start = tail_start if left > _ZERO else -tail_start
            tail_end = tail_end if right < _ZERO else -tail_end
            across = _ROOT_2PI * at_inside if (left <= _ZERO) & (right >= _ZERO) else _ZERO
            long_integral = (across + tail_start + tail_end) * over
            simpson = (at_start + _FOUR * at_inside + at_end) * _SIXTH
            whole = simpson if short else long_integral
            whole = whole if whole > _ZERO else _ZERO
            born = buffer[np.uint64(BORN * LANES) + k]
            born = born if born > _ZERO else _ZERO
            buffer[np.uint64(OUT * LANES) + k] = whole * born
            u = -left * over
            u = u if u > _ZERO else _ZERO
            u = u if u < _ONE else _ONE
            nearest = c0 - u * (_TWO * b - u * a)
            buffer[np.uint64(CHI2 * LANES) + k] = nearest if born > _ZERO else _FAR

    return integrate


def _summer(quantities: int) -> Any:
    """Compile `sum_lanes` for a number of quantities."""
    integrate = _integrator(quantities)

    @njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nnan", "nsz", "arcp"})
    def sum_lanes(buffer, lanes, parts, reference, sums):  # type: ignore[no-untyped-def]
        """Integrate each lane's segment by three Gauss-Legendre points, and sum the lanes.

        A segment runs from its lane's point to the next lane's. The rule's relative error is below
        6e-4 up to a length of 2 errors, and falls with its sixth power; where there is a longer
        segment all are integrated exactly.

        Parameters
        ----------
        buffer : numpy.ndarray
            From `fill`; rows of likelihood and least χ² are filled.
        lanes, parts : int
            How many lanes, and in how many equal parts to sum them.
        reference : float32
            Likelihoods are relative to exp(−reference/2).
        sums : numpy.ndarray, shape (2, 3)
            Filled, by part, with the likelihood and with its first two moments of [Fe/H].

        Returns
        -------
        float32
            The least χ² of all.
        """
        one, n = np.uint64(1), np.uint64(lanes)
        for k in range(n):
            c0, b, a = buffer[np.uint64(PRIOR * LANES) + k] - reference, _ZERO, _TINY
            for c in range(quantities):
                if c == BORN:
                    continue
                row = np.uint64(c * LANES)
                r = buffer[row + k]
                d = r - buffer[row + k + one]
                c0 += r * r
                b += r * d
                a += d * d
            first = c0 - _NEAR * (_TWO * b - _NEAR * a)
            middle = c0 - b + _QUARTER * a
            last = c0 - _OTHER * (_TWO * b - _OTHER * a)
            born = buffer[np.uint64(BORN * LANES) + k]
            ends = _exp(-_HALF * first) + _exp(-_HALF * last)
            whole = _FIVE * ends + _EIGHT * _exp(-_HALF * middle)
            buffer[np.uint64(OUT * LANES) + k] = whole * born if born > _ZERO else _ZERO
            least = first if first < middle else middle
            least = least if least < last else last
            buffer[np.uint64(CHI2 * LANES) + k] = least + reference if born > _ZERO else _FAR
            buffer[np.uint64(SQUARED * LANES) + k] = a if born > _ZERO else _ZERO
        longest, least = _extremes(buffer, lanes)
        if longest > _LONG:
            integrate(buffer, lanes, reference)
            longest, least = _extremes(buffer, lanes)
        for part in range(parts):
            _add_up(buffer, part * lanes // parts, (part + 1) * lanes // parts, sums, part)
        return least

    return sum_lanes


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nnan", "nsz"})
def _extremes(buffer, lanes):  # type: ignore[no-untyped-def]
    """Return the greatest squared length and the least χ²."""
    longest, least = _ZERO, _FAR
    for k in range(np.uint64(lanes)):
        x, y = buffer[np.uint64(SQUARED * LANES) + k], buffer[np.uint64(CHI2 * LANES) + k]
        longest = x if x > longest else longest
        least = y if y < least else least
    return longest, least


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nnan", "nsz"})
def _add_up(buffer, begin, end, sums, part):  # type: ignore[no-untyped-def]
    """Sum lanes `begin` to `end`: likelihood, and with the first two moments of [Fe/H]."""
    total = first = second = _ZERO
    for v in range(np.uint64(end - begin)):
        k = np.uint64(begin) + v
        w = buffer[np.uint64(OUT * LANES) + k] * buffer[np.uint64(WEIGHT * LANES) + k]
        f = buffer[np.uint64(FEH * LANES) + k]
        total += w
        first += w * f
        second += w * (f * f)
    sums[part, 0], sums[part, 1], sums[part, 2] = total, first, second


#: Without a colour, and with.
sum_lanes_4, sum_lanes_5 = _summer(4), _summer(5)
