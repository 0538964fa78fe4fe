r"""Likelihood of each age for each star: everything but age integrated in closed form.

For a star with observables :math:`d` (T_eff, log g, M_G, BP−RP; errors :math:`\Sigma`, diagonal),
[Fe/H] :math:`f_0 \pm s_f` and [α/Fe] :math:`a_0 \pm s_a`, and for an isochrone of age τ whose
points :math:`m(\mu; f, a)` are born in numbers :math:`\xi(\mu)\,d\mu`,

.. math:: L(\tau) = \int d\mu\, df\, da\; \xi(\mu)\, N(d; m(\mu; f, a), \Sigma)\,
   N(f_0; f, s_f^2)\, N(a_0; a, s_a^2)

(Jørgensen & Lindegren 2005, A&A 436, 127; Vickers, Shen & Li 2021, section 2.1.1). Along a segment
of the isochrone, and in (f, a) within a few errors of the star, :math:`m` is linear, with
derivatives F and A. The integrals over f and a are then Gaussian,

.. math:: L = \sum_\mathrm{segments} \xi_j \int_0^1 du\; N(d; P_j + u D_j, C_j),\quad
   C = \Sigma + s_f^2 F F^T + s_a^2 A A^T

and the one over u is an error function. Short segments take three Gauss-Legendre points (up to
:math:`\sqrt2` errors, remainder below 6e-5 of the peak) or one (up to 0.1 errors, below 4e-4).
P, F and A are the statistical linearisation of the grid's piecewise linear function: its mean, and
its mean slope, under the Gaussians in f and a, so that the result is smooth where a star's error
straddles a node. A segment along which F or A change is cut in pieces; a wide :math:`s_f` is split
into a mixture of narrower Gaussians (`MAX_FEH_SD`).

Nothing is approximated by a window: blocks of segments are left out only when a lower bound of
their χ² exceeds the best found by `CUT`, that is below 2e-8 of the best point's weight.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["BLOCK", "CUT", "FAR", "MAX_FEH_SD", "age_likelihood", "block_bounds", "pack"]

BLOCK = 8  # segments that share a bounding box
_PER_LARGE = 4  # blocks in a large block
_LARGE = BLOCK * _PER_LARGE
_POINTS = BLOCK + 1  # points of a block, which shares its last with the next
_VALUES = 5 * _POINTS
CUT = 36.0  # in χ²: exp(-18) = 2e-8
FAR = 100.0  # χ² beyond which a star is off the grid (10 sigma, the paper's window)
MAX_FEH_SD = 0.06  # dex: over a wider Gaussian an isochrone is not linear in [Fe/H]
_MIN_CELL = 2e-3  # probability below which a star has no business in a cell of the grid
_TINY = 0.01  # squared length of a segment, in errors, up to which its middle stands for it,
_SHORT = 2.0  # and up to which three Gauss-Legendre points integrate it
_UNEVEN = 0.06  # square of the change of the slopes along a segment, in errors, that is borne
_MAX_PIECES = 32
_QUANTITIES = 12  # of a segment, in `_quadratics`
_ROOT_HALF = math.sqrt(0.5)
_ROOT_HALF_PI = math.sqrt(0.5 * math.pi)
_GAUSS = 0.5 * math.sqrt(0.6)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def block_bounds(points, feh, alpha, size):  # type: ignore[no-untyped-def]
    """Bound each block of `size` segments at each node of the grid.

    Parameters
    ----------
    points : numpy.ndarray
        As in `WorkingGrid`.
    feh, alpha : numpy.ndarray
        Nodes.

    Returns
    -------
    numpy.ndarray
        float32, shape ``(age, feh, alpha, 16, block)``: least and greatest value of the four
        observables, then the greatest absolute slope in [Fe/H] and in [α/Fe] in the cells about
        the node.
    """
    n_age, n_feh, n_alpha, n_eep, _ = points.shape
    n_block = (n_eep - 2) // size + 1
    out = np.zeros((n_age, n_feh, n_alpha, 16, n_block), dtype=np.float32)
    for i in range(n_age):
        for j in range(n_feh):
            for k in range(n_alpha):
                for b in range(n_block):
                    out[i, j, k, 0:4, b] = np.inf
                    out[i, j, k, 4:8, b] = -np.inf
                    for e in range(b * size, min((b + 1) * size, n_eep - 1) + 1):
                        for c in range(4):
                            x = points[i, j, k, e, c]
                            box = out[i, j, k, :, b]
                            box[c] = min(box[c], x)
                            box[4 + c] = max(box[4 + c], x)
                            for side in (-1, 1):
                                if 0 <= j + side < n_feh:
                                    step = points[i, j + side, k, e, c] - x
                                    slope = abs(step / (feh[j + side] - feh[j]))
                                    box[8 + c] = max(box[8 + c], slope)
                                if 0 <= k + side < n_alpha:
                                    step = points[i, j, k + side, e, c] - x
                                    slope = abs(step / (alpha[k + side] - alpha[k]))
                                    box[12 + c] = max(box[12 + c], slope)
    return out


def pack(points, feh, alpha):  # type: ignore[no-untyped-def]
    """Lay a grid out for `age_likelihood`.

    Returns
    -------
    packed : numpy.ndarray
        `points` as ``(age, feh, alpha, value)``: block by block, the quantities of a block's points
        one after the other. The last block is filled up with points that no star is born at.
    small, large : numpy.ndarray
        `block_bounds` of the blocks and of the large blocks.
    """
    n_eep = points.shape[3]
    padding = -(n_eep - 1) % BLOCK
    whole = np.pad(points, [(0, 0)] * 3 + [(0, padding), (0, 0)], mode="edge")
    whole[..., n_eep - 1 :, 4] = 0.0
    n_block = (n_eep + padding - 1) // BLOCK
    index = BLOCK * np.arange(n_block)[:, None] + np.arange(_POINTS)
    packed = whole[:, :, :, index].swapaxes(-1, -2).reshape(*points.shape[:3], -1)
    packed = np.ascontiguousarray(packed)
    return packed, *(block_bounds(points, feh, alpha, size) for size in (BLOCK, _LARGE))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _normal_cdf(x):  # type: ignore[no-untyped-def]
    return 0.5 * math.erfc(-x * _ROOT_HALF)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _linearise(axis, centre, sd, node, mean, slope):  # type: ignore[no-untyped-def]
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
def _lower_bounds(  # type: ignore[no-untyped-def]
    bounds, i, start, stop, nodes_f, mean_f, n_f, nodes_a, mean_a, n_a,
    obs, inv, sd_f, sd_a, per_alpha, work, out,
):  # fmt: skip
    """Fill ``out[start:stop]`` with lower bounds of χ² over those blocks of age `i`.

    With G = (s_f F, s_a A)/σ, χ² = rᵀ(1 + GGᵀ)⁻¹r is at least |r|²/(1 + |G|²) and, for every
    observable alone, rᵢ²/(1 + |Gᵢ|²). Loops run over blocks innermost, to be vectorised.
    """
    for c in range(16):
        for b in range(start, stop):
            work[c, b] = 0.0
    for jf in range(n_f):
        for ja in range(n_a):
            box = bounds[i, nodes_f[jf], nodes_a[ja]]
            w = mean_f[jf] * mean_a[ja]
            # A negative weight (beyond the last node) swaps least and greatest.
            swap = 4 if w < 0.0 else 0
            for c in range(8):
                for b in range(start, stop):
                    work[c, b] += w * box[c ^ swap, b]
            for c in range(8, 16):
                for b in range(start, stop):
                    work[c, b] = max(work[c, b], box[c, b])
    total, single, spread = work[16], work[17], work[18]
    for b in range(start, stop):
        total[b], single[b], spread[b] = 0.0, 0.0, 1.0
    for c in range(4):
        x, q = obs[c], inv[c]
        qf, qa = sd_f * q, sd_a * q
        for b in range(start, stop):
            by_f = qf * work[8 + c, b]
            by_a = qa * (work[12 + c, b] + per_alpha * work[8 + c, b])
            r = max(max(work[c, b] - x, x - work[4 + c, b]), 0.0) * q
            g = by_f * by_f + by_a * by_a
            total[b] += r * r
            spread[b] += g
            single[b] = max(single[b], r * r / (1.0 + g))
    for b in range(start, stop):
        out[b] = max(total[b] / spread[b], single[b])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _gather(  # type: ignore[no-untyped-def]
    packed, i, b, nodes_f, mean_f, slope_f, n_f, nodes_a, mean_a, slope_a, n_a,
    per_alpha, obs, inv, sd_f, sd_a, R, F, A,
):  # fmt: skip
    """Linearise the points of block `b` of age `i`, in units of the errors.

    `R` gets residuals (and, in its last column, the number born), `F` and `A` the slopes for one
    standard deviation of [Fe/H] and of [α/Fe].
    """
    first = True
    offset = np.uint64(b * _VALUES)
    for jf in range(n_f):
        for ja in range(n_a):
            rows = packed[i, nodes_f[jf], nodes_a[ja]]
            w = mean_f[jf] * mean_a[ja]
            wf = slope_f[jf] * mean_a[ja]
            wa = mean_f[jf] * slope_a[ja] + per_alpha * wf
            # A fixed number of values, whatever of the block is used: the loop is then unrolled.
            if first:
                for k in range(_VALUES):
                    x = float(rows[offset + np.uint64(k)])
                    R[k], F[k], A[k] = w * x, wf * x, wa * x
                first = False
            else:
                for k in range(_VALUES):
                    x = float(rows[offset + np.uint64(k)])
                    R[k] += w * x
                    F[k] += wf * x
                    A[k] += wa * x
    for c in range(4):
        q = inv[c]
        x = obs[c]
        for e in range(_POINTS):
            k = c * _POINTS + e
            R[k] = (x - R[k]) * q
            F[k] *= sd_f * q
            A[k] *= sd_a * q
    for k in range(4 * _POINTS, _VALUES):
        F[k] *= sd_f
        A[k] *= sd_a


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _quadratics(R, F, A, start, stop, begin, part, table):  # type: ignore[no-untyped-def]
    """Reduce segments `start`..`stop`, or a part of each, to a quadratic in u.

    Row `k` of `table` is quantity `k`. 0-2: c, b, a of χ²(u) = c − 2bu + au²; 3-6: the mean of
    (z, x), which are f and a in errors, is (z0 − u z1, x0 − u x1); 7-8: the variance of z and its
    covariance with x; 9: 1/det(1 + GᵀG); 10: how much the slopes change along the
    segment; 11: the least χ² on it.
    """
    middle = begin + 0.5 * part
    for e in range(start, stop):
        # Dot products of the residual r, the segment d and the slopes g (in f) and h (in a).
        rr = rd = dd = rg = rh = dg = dh = gg = gh = hh = uneven = 0.0
        for c in range(4):
            k = c * _POINTS + e
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
        table[e] = c0
        table[BLOCK + e] = b
        table[2 * BLOCK + e] = a
        table[3 * BLOCK + e] = z0
        table[4 * BLOCK + e] = z1
        table[5 * BLOCK + e] = x0
        table[6 * BLOCK + e] = x1
        table[7 * BLOCK + e] = hh * inverse
        table[8 * BLOCK + e] = -gh * inverse
        table[9 * BLOCK + e] = inverse
        table[10 * BLOCK + e] = uneven
        nearest = min(max(b / max(a, 1e-300), 0.0), 1.0)
        table[11 * BLOCK + e] = c0 - nearest * (2.0 * b - nearest * a)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _block(R, F, A, start, stop, reference, cut, sums, table):  # type: ignore[no-untyped-def]
    """Add a block of segments to `sums` (∫L, ∫L·z, ∫L·z², z in [Fe/H] errors); return its best χ².

    Everything is relative to exp(-reference/2).
    """
    best = np.inf
    _quadratics(R, F, A, 0, BLOCK, 0.0, 1.0, table)
    for e in range(start, stop):
        if R[4 * _POINTS + e] <= 0.0:
            continue
        uneven = table[10 * BLOCK + e]
        if uneven < _UNEVEN:
            chi2 = table[11 * BLOCK + e]
            best = min(best, chi2)
            if chi2 <= cut:
                _segment(R, F, A, e, 1.0, reference, sums, table)
            continue
        # The slopes change along the segment: cut it into pieces over which they hardly do.
        pieces = min(1 + int(math.sqrt(uneven / _UNEVEN)), _MAX_PIECES)
        part = 1.0 / pieces
        for piece in range(pieces):
            _quadratics(R, F, A, e, e + 1, piece * part, part, table)
            chi2 = table[11 * BLOCK + e]
            best = min(best, chi2)
            if chi2 <= cut:
                _segment(R, F, A, e, part, reference, sums, table)
    return best


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _segment(R, F, A, e, part, reference, sums, table):  # type: ignore[no-untyped-def]
    """Add a segment, or a part of it, integrated over u."""
    c0, b, a = table[e], table[BLOCK + e], table[2 * BLOCK + e]
    z0, z1 = table[3 * BLOCK + e], table[4 * BLOCK + e]
    x0, x1 = table[5 * BLOCK + e], table[6 * BLOCK + e]
    variance, covariance = table[7 * BLOCK + e], table[8 * BLOCK + e]
    scale = math.sqrt(table[9 * BLOCK + e]) * part
    # The number born varies with f and a, linearly.
    k = 4 * _POINTS + e
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


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def age_likelihood(  # type: ignore[no-untyped-def]
    packed, small, large, first, last, feh, alpha, salaris,
    obs, inv, feh_mean, feh_sd, alpha_mean, alpha_sd, max_feh_sd,
    log_like, out_mean, out_sd, chi2_min,
):  # fmt: skip
    """Compute ln L(age) and the mean and sd of [Fe/H] at each age, for a block of stars.

    Parameters
    ----------
    packed, small, large
        From `pack`.
    first, last, feh, alpha, salaris
        Of the `WorkingGrid`.
    obs, inv : numpy.ndarray, shape (star, 4)
        T_eff, log g, M_G, BP−RP and the inverse of their errors: 0 for one that is missing.
    feh_mean, feh_sd, alpha_mean, alpha_sd : numpy.ndarray, shape (star,)
        Gaussians of the star's composition, their means inside the grid.
    max_feh_sd : float
        Split wider Gaussians of [Fe/H] into narrower ones.
    log_like, out_mean, out_sd : numpy.ndarray, shape (star, age)
        Results. ``-inf`` where no segment counts. The Gaussian constants of `obs` are left out.
    chi2_min : numpy.ndarray, shape (star,)
        The least χ², over everything, minimised over [Fe/H] and [α/Fe] too.
    """
    n_age, n_eep = len(packed), small.shape[4] * BLOCK + 1
    n_block, n_large = small.shape[4], large.shape[4]
    lower = np.empty((n_age, n_large))
    begin = np.empty(n_age, dtype=np.int64)
    end = np.empty(n_age, dtype=np.int64)
    nodes_f = np.empty(len(feh) + 1, dtype=np.int64)
    mean_f, slope_f = np.empty(len(feh) + 1), np.empty(len(feh) + 1)
    nodes_a = np.empty(len(alpha) + 1, dtype=np.int64)
    mean_a, slope_a = np.empty(len(alpha) + 1), np.empty(len(alpha) + 1)
    R, F, A = np.empty(_VALUES), np.empty(_VALUES), np.empty(_VALUES)
    work, fine = np.empty((19, n_block)), np.empty(n_block)
    table = np.empty(_QUANTITIES * BLOCK)
    sums, totals = np.empty(3), np.empty((n_age, 3))

    for s in range(len(feh_mean)):
        x, q = obs[s], inv[s]
        sd_a = alpha_sd[s]
        shift, per_alpha = 0.0, 0.0
        if salaris:
            # [Fe/H] stands for total metallicity: [α/Fe] moves it, at this rate.
            enhanced = 0.638 * 10.0 ** alpha_mean[s]
            shift = math.log10(enhanced + 0.362)
            per_alpha = enhanced / (enhanced + 0.362)
            n_a = _linearise(alpha, 0.0, 0.0, nodes_a, mean_a, slope_a)
        else:
            n_a = _linearise(alpha, alpha_mean[s], sd_a, nodes_a, mean_a, slope_a)
        # Mixture of Gaussians of sd narrow, at centres step apart with weights of sd wide.
        narrow, wide, step, half = feh_sd[s], 0.0, 0.0, 0
        if narrow > max_feh_sd:
            narrow = 0.8 * max_feh_sd
            wide = math.sqrt(feh_sd[s] ** 2 - narrow**2)
            step = 1.25 * narrow * wide / feh_sd[s]
            half = int(4.2 * wide / step) + 1
        totals[:] = 0.0
        best, reference, mass = np.inf, 0.0, 0.0
        for turn in range(2 * half + 1):
            # From the centre outwards: 0, +1, -1, +2, ...
            k = (turn + 1) // 2 if turn % 2 else -(turn // 2)
            centre = feh_mean[s] + k * step + shift
            if k != 0 and (centre < feh[0] or centre > feh[-1]):
                continue
            offset = 0.0 if k == 0 else (k * step / wide) ** 2
            portion = math.exp(-0.5 * offset)
            mass += portion
            n_f = _linearise(feh, centre, narrow, nodes_f, mean_f, slope_f)
            # Lower bounds of the large blocks, and the most promising of them.
            least, at_i, at_b = np.inf, 0, 0
            for i in range(n_age):
                lo_e, hi_e = 0, n_eep
                for jf in range(n_f):
                    for ja in range(n_a):
                        lo_e = max(lo_e, first[i, nodes_f[jf], nodes_a[ja]])
                        hi_e = min(hi_e, last[i, nodes_f[jf], nodes_a[ja]])
                begin[i], end[i] = lo_e, hi_e
                for b in range(n_large):
                    lower[i, b] = np.inf
                from_b, to_b = lo_e // _LARGE, (hi_e - 1) // _LARGE + 1
                if hi_e <= lo_e:
                    continue
                _lower_bounds(
                    large, i, from_b, to_b, nodes_f, mean_f, n_f, nodes_a, mean_a, n_a,
                    x, q, narrow, sd_a, per_alpha, work, lower[i],
                )  # fmt: skip
                for b in range(from_b, to_b):
                    if lower[i, b] < least:
                        least, at_i, at_b = lower[i, b], i, b
            # First the most promising block, alone, for a best to compare with; then all.
            for phase in range(2):
                for i in range(at_i if phase == 0 else 0, at_i + 1 if phase == 0 else n_age):
                    sums[:] = 0.0
                    for big in range(
                        at_b if phase == 0 else 0, at_b + 1 if phase == 0 else n_large
                    ):
                        if lower[i, big] > min(best, FAR) + CUT - offset:
                            continue
                        from_b, to_b = big * _PER_LARGE, min((big + 1) * _PER_LARGE, n_block)
                        _lower_bounds(
                            small, i, from_b, to_b, nodes_f, mean_f, n_f, nodes_a, mean_a, n_a,
                            x, q, narrow, sd_a, per_alpha, work, fine,
                        )  # fmt: skip
                        for b in range(from_b, to_b):
                            start, stop = max(b * BLOCK, begin[i]), min((b + 1) * BLOCK, end[i])
                            if stop <= start:
                                continue
                            cut = min(best, FAR) + CUT - offset
                            if fine[b] > cut:
                                continue
                            _gather(
                                packed, i, b, nodes_f, mean_f, slope_f, n_f,
                                nodes_a, mean_a, slope_a, n_a, per_alpha,
                                x, q, narrow, sd_a, R, F, A,
                            )  # fmt: skip
                            chi2 = _block(
                                R, F, A, start - b * BLOCK, stop - b * BLOCK,
                                reference, cut if phase else -1.0, sums, table,
                            )  # fmt: skip
                            best = min(best, chi2 + offset)
                    if phase == 1 and sums[0] > 0.0:
                        z1, z2 = sums[1] / sums[0], sums[2] / sums[0]
                        f = k * step + narrow * z1
                        square = (k * step) ** 2 + 2 * k * step * narrow * z1 + narrow**2 * z2
                        totals[i, 0] += portion * sums[0]
                        totals[i, 1] += portion * sums[0] * f
                        totals[i, 2] += portion * sums[0] * square
                if phase == 0 and turn == 0:
                    reference = min(best, FAR)
        chi2_min[s] = best
        for i in range(n_age):
            log_like[s, i] = -np.inf
            out_mean[s, i] = feh_mean[s]
            out_sd[s, i] = feh_sd[s]
            if totals[i, 0] > 0.0:
                mean = totals[i, 1] / totals[i, 0]
                log_like[s, i] = math.log(totals[i, 0] / mass) - 0.5 * reference
                out_mean[s, i] = feh_mean[s] + mean
                out_sd[s, i] = math.sqrt(max(totals[i, 2] / totals[i, 0] - mean * mean, 1e-8))
