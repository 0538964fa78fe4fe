r"""The integral of a star's likelihood over a block of isochrone segments and over composition.

The mathematics is in `kernel`. `linearise` gives the weights of the grid's nodes for one star,
`gather` its isochrone's points, in units of its errors, with their slopes in [Fe/H] and [α/Fe];
`add_block` reduces each segment to a quadratic χ²(u) and integrates it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from migrate_bayes.isochrones.layout import BLOCK, POINTS, VALUES

__all__ = ["TABLE", "add_block", "gather", "linearise"]

_MIN_CELL = 2e-3  # probability below which a star has no business in a cell of the grid
_TINY = 0.01  # squared length of a segment, in errors, up to which its middle stands for it,
_SHORT = 2.0  # and up to which three Gauss-Legendre points integrate it
_UNEVEN = 0.25  # square of the change of the slopes along a segment, in errors, that is borne
_MAX_PIECES = 32
_LANES = 32  # of a table: no fewer than BLOCK and _MAX_PIECES
_ROOT_HALF = math.sqrt(0.5)
_ROOT_HALF_PI = math.sqrt(0.5 * math.pi)
_GAUSS = 0.5 * math.sqrt(0.6)
TABLE = 12 * _LANES  # values in a table of `_quadratics`


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _normal_cdf(x):  # type: ignore[no-untyped-def]
    return 0.5 * math.erfc(-x * _ROOT_HALF)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def linearise(axis, centre, sd, node, mean, slope):  # type: ignore[no-untyped-def]
    """Mean and mean slope, under a Gaussian, of a piecewise linear function on `axis`.

    Fills `node` with the nodes that matter, and `mean` and `slope` with what to multiply their
    values by; returns how many there are. The end cells extend outwards.
    """
    n = len(axis)
    if n == 1:
        node[0], mean[0], slope[0] = 0, 1.0, 0.0
        return 1
    count, total = 0, 0.0
    for cell in range(n - 1):
        low, high = axis[cell], axis[cell + 1]
        first, last = cell == 0, cell == n - 2
        if sd <= 0.0:
            inside = (first or centre >= low) and (last or centre < high)
            p, excess = (1.0, centre - low) if inside else (0.0, 0.0)
        else:
            x, y = (low - centre) / sd, (high - centre) / sd
            cdf_x = 0.0 if first else _normal_cdf(x)
            cdf_y = 1.0 if last else _normal_cdf(y)
            pdf_x = 0.0 if first else 0.3989422804014327 * math.exp(-0.5 * x * x)
            pdf_y = 0.0 if last else 0.3989422804014327 * math.exp(-0.5 * y * y)
            p = cdf_y - cdf_x
            excess = (centre - low) * p - sd * (pdf_y - pdf_x)
        if p < _MIN_CELL:
            continue
        width = high - low
        if count == 0 or node[count - 1] != cell:
            node[count], mean[count], slope[count] = cell, 0.0, 0.0
            count += 1
        mean[count - 1] += p - excess / width
        slope[count - 1] -= p / width
        node[count], mean[count], slope[count] = cell + 1, excess / width, p / width
        count += 1
        total += p
    for i in range(count):
        mean[i] /= total
        slope[i] /= total
    return count


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gather(  # type: ignore[no-untyped-def]
    packed, i, b, nodes_f, mean_f, slope_f, n_f, nodes_a, mean_a, slope_a, n_a,
    per_alpha, obs, inv, sd_f, sd_a, R, F, A,
):  # fmt: skip
    """Linearise the points of block `b` of age `i`, in units of the errors.

    `R` gets residuals (and, in its last column, the number born), `F` and `A` the slopes for one
    standard deviation of [Fe/H] and of [α/Fe].
    """
    first = True
    offset = np.uint64(b * VALUES)
    for jf in range(n_f):
        for ja in range(n_a):
            f, a = nodes_f[jf], nodes_a[ja]
            w = mean_f[jf] * mean_a[ja]
            wf = slope_f[jf] * mean_a[ja]
            wa = mean_f[jf] * slope_a[ja] + per_alpha * wf
            # A fixed number of values, whatever of the block is used: the loop is then unrolled.
            if first:
                for k in range(VALUES):
                    x = float(packed[i, f, a, offset + np.uint64(k)])
                    R[k], F[k], A[k] = w * x, wf * x, wa * x
                first = False
            else:
                for k in range(VALUES):
                    x = float(packed[i, f, a, offset + np.uint64(k)])
                    R[k] += w * x
                    F[k] += wf * x
                    A[k] += wa * x
    for c in range(4):
        q = inv[c]
        x = obs[c]
        for e in range(POINTS):
            k = c * POINTS + e
            R[k] = (x - R[k]) * q
            F[k] *= sd_f * q
            A[k] *= sd_a * q
    for k in range(4 * POINTS, VALUES):
        F[k] *= sd_f
        A[k] *= sd_a


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _quadratics(R, F, A, start, stride, lanes, part, table):  # type: ignore[no-untyped-def]
    """Reduce segments, or pieces of one segment, to quadratics in u, in `lanes` lanes of `table`.

    With `stride` 1 the lanes are whole segments from `start` on; with 0 they are the pieces, each
    of `part`, of segment `start`. Row `k` of `table` is quantity `k`. 0-2: c, b, a of
    χ²(u) = c − 2bu + au²; 3-6: the mean of (z, x), which are f and a in errors, is z0 − u z1,
    x0 − u x1; 7-8: the variance of z and its covariance with x; 9: 1/det(1 + GᵀG); 10: how much
    the slopes change along the segment; 11: the least χ² on it.
    """
    for lane in range(lanes):
        e = start + stride * lane
        begin = (1 - stride) * lane * part
        middle = begin + 0.5 * part
        # Dot products of the residual r, the segment d and the slopes g (in f) and h (in a).
        rr = rd = dd = rg = rh = dg = dh = gg = gh = hh = uneven = 0.0
        for c in range(4):
            k = c * POINTS + e
            step = R[k + 1] - R[k]
            by_f = F[k + 1] - F[k]
            by_a = A[k + 1] - A[k]
            r = R[k] + begin * step
            d = -part * step
            g = F[k] + middle * by_f
            h = A[k] + middle * by_a
            uneven += by_f * by_f + by_a * by_a
            rr += r * r
            rd += r * d
            dd += d * d
            rg += r * g
            rh += r * h
            dg += d * g
            dh += d * h
            gg += g * g
            gh += g * h
            hh += h * h
        gg += 1.0
        hh += 1.0
        inverse = 1.0 / (gg * hh - gh * gh)
        z0, z1 = (hh * rg - gh * rh) * inverse, (hh * dg - gh * dh) * inverse
        x0, x1 = (gg * rh - gh * rg) * inverse, (gg * dh - gh * dg) * inverse
        c0 = rr - rg * z0 - rh * x0
        b = rd - dg * z0 - dh * x0
        a = dd - dg * z1 - dh * x1
        table[lane] = c0
        table[_LANES + lane] = b
        table[2 * _LANES + lane] = a
        table[3 * _LANES + lane] = z0
        table[4 * _LANES + lane] = z1
        table[5 * _LANES + lane] = x0
        table[6 * _LANES + lane] = x1
        table[7 * _LANES + lane] = hh * inverse
        table[8 * _LANES + lane] = -gh * inverse
        table[9 * _LANES + lane] = inverse
        table[10 * _LANES + lane] = uneven
        nearest = min(max(b / max(a, 1e-300), 0.0), 1.0)
        table[11 * _LANES + lane] = c0 - nearest * (2.0 * b - nearest * a)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def add_block(R, F, A, start, stop, reference, cut, sums, table, pieces_table):  # type: ignore[no-untyped-def]
    """Add a block of segments to `sums` (∫L, ∫L·z, ∫L·z², z in [Fe/H] errors); return its best χ².

    Everything is relative to exp(-reference/2).
    """
    best = np.inf
    _quadratics(R, F, A, 0, 1, BLOCK, 1.0, table)
    for e in range(start, stop):
        if R[4 * POINTS + e] <= 0.0:
            continue
        uneven = table[10 * _LANES + e]
        if uneven < _UNEVEN:
            chi2 = table[11 * _LANES + e]
            best = min(best, chi2)
            if chi2 <= cut:
                _segment(R, F, A, e, e, 1.0, reference, sums, table)
            continue
        # The slopes change along the segment: cut it into pieces over which they hardly do.
        pieces = min(1 + int(math.sqrt(uneven / _UNEVEN)), _MAX_PIECES)
        part = 1.0 / pieces
        _quadratics(R, F, A, e, 0, pieces, part, pieces_table)
        for piece in range(pieces):
            chi2 = pieces_table[11 * _LANES + piece]
            best = min(best, chi2)
            if chi2 <= cut:
                _segment(R, F, A, e, piece, part, reference, sums, pieces_table)
    return best


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _segment(R, F, A, e, lane, part, reference, sums, table):  # type: ignore[no-untyped-def]
    """Add a segment, or a part of it, integrated over u."""
    c0, b, a = table[lane], table[_LANES + lane], table[2 * _LANES + lane]
    z0, z1 = table[3 * _LANES + lane], table[4 * _LANES + lane]
    x0, x1 = table[5 * _LANES + lane], table[6 * _LANES + lane]
    variance, covariance = table[7 * _LANES + lane], table[8 * _LANES + lane]
    scale = math.sqrt(table[9 * _LANES + lane]) * part
    # The number born varies with f and a, linearly.
    k = 4 * POINTS + e
    born, by_z, by_x = R[k], F[k], A[k]
    # Integral over u of exp(-χ²/2), mean of u and its variance.
    if a < _TINY:
        whole, u, spread = math.exp(-0.5 * (c0 - b + 0.25 * a - reference)), 0.5, 0.0
    elif a < _SHORT:
        low, high = 0.5 - _GAUSS, 0.5 + _GAUSS
        one = 5.0 / 18.0 * math.exp(-0.5 * (c0 - low * (2.0 * b - low * a) - reference))
        two = 8.0 / 18.0 * math.exp(-0.5 * (c0 - b + 0.25 * a - reference))
        three = 5.0 / 18.0 * math.exp(-0.5 * (c0 - high * (2.0 * b - high * a) - reference))
        whole = one + two + three
        if whole <= 0.0:
            return
        lean = (three - one) / whole
        u = 0.5 + _GAUSS * lean
        spread = _GAUSS * _GAUSS * ((one + three) / whole - lean * lean)
    else:
        length = math.sqrt(a)
        centre = b / a
        left, right = -centre * length, (1.0 - centre) * length
        if left > 0.0:
            span = math.erfc(left * _ROOT_HALF) - math.erfc(right * _ROOT_HALF)
        elif right < 0.0:
            span = math.erfc(-right * _ROOT_HALF) - math.erfc(-left * _ROOT_HALF)
        else:
            span = math.erf(right * _ROOT_HALF) - math.erf(left * _ROOT_HALF)
        across = math.exp(-0.5 * (c0 - b * centre - reference))
        whole = across * _ROOT_HALF_PI / length * span
        if whole <= 0.0:
            return
        start = across * math.exp(-0.5 * left * left)
        stop = across * math.exp(-0.5 * right * right)
        u = min(max(centre + (start - stop) / (a * whole), 0.0), 1.0)
        spread = max(centre * u + (1.0 - stop / whole) / a - u * u, 0.0)
    z, x = z0 - u * z1, x0 - u * x1
    variance += spread * z1 * z1
    covariance += spread * z1 * x1
    number = born + by_z * z + by_x * x
    if number > 0.0:
        weight = scale * whole
        lean = by_z * variance + by_x * covariance
        sums[0] += weight * number
        sums[1] += weight * (number * z + lean)
        sums[2] += weight * (number * (z * z + variance) + 2.0 * z * lean)
