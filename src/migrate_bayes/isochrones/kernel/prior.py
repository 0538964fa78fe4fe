r"""A star's prior on its composition: a Gaussian in [Fe/H] and [α/Fe], on a lattice in metallicity.

Over :math:`\phi` (see `grid`) the integrand is a smooth function that dies away on both sides, for
which the plain sum over equal steps converges exponentially: for a Gaussian of width s the relative
error of steps of h is :math:`2 e^{-2 \pi^2 s^2 / h^2}`: 5e-11 at h = 0.9 s, 0.005 at twice that.
The narrowest width that can occur is that of the prior :math:`\sigma_\phi` sharpened by observables
that change with φ; `RATES` says how fast they do *across* an isochrone (along it the other integral
is exact). Lattice points divide every cell of the grid in the same number of pieces, so that the
weights that interpolate to them are the same in every cell.

[α/Fe], given φ, takes the few nodes of a Gauss-Hermite rule (`ALPHA_RULES`), on which the answer
depends little. The smallest rule has two, at ±1 standard deviation; even lattice points take the
one, odd points the other. The difference between the two is thus summed at twice the steps, which
is fine enough for a small difference. The next rule has four nodes, and those that mirror each
other take turns likewise. A very wide Gaussian of [α/Fe] is a mixture of narrower ones.

If [Fe/H] runs into the end of the grid the integrand is cut off. There the steps are four times
finer, and the sum ends in weights that take cubics through the last points (Gregory's rule, for an
end anywhere between two points); if the error of [α/Fe] blurs the end in φ, the weights are the
share of the Gaussian that is inside.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from migrate_bayes.core.constants import SALARIS_ALPHA, SALARIS_REST
from migrate_bayes.isochrones.kernel.cubic import cubic_stencil
from migrate_bayes.isochrones.kernel.grid_layout import IN_GROUP, MARGIN, PRECOMPUTED_PIECES
from migrate_bayes.isochrones.kernel.simd import WIDTH

MAX_PIECES = 120  # a multiple of `WIDTH`
OUTSIDE = np.float32(1e4)  # χ²
_FURTHEST = 6.0  # standard deviations of the prior: exp(-z²/2) is 1.5e-8
_STEP = 0.9  # of the narrowest width
_REFINE = 4.0  # times finer next to an edge
#: Change with metallicity across an isochrone: K, dex, mag, mag per dex.
RATES = (1200.0, 0.3, 1.0, 0.45)

#: Standard deviations of [α/Fe] up to which each rule is good, dex.
ALPHA_RULES = (0.025, 0.03, 0.06, 0.12)
#: A wider Gaussian of [α/Fe] is split into narrower ones.
MAX_ALPHA_SD = ALPHA_RULES[-1]
# Rule by rule: how many nodes; nodes and weights.
_HERMITE = [np.polynomial.hermite_e.hermegauss(n) for n in (2, 4, 5, 7)]
_COUNT = np.array([len(x) for x, _ in _HERMITE])
_NODES, _WEIGHTS = np.zeros((4, 7)), np.zeros((4, 7))
for _i, (_x, _w) in enumerate(_HERMITE):
    _order = np.argsort(np.abs(_x), kind="stable")
    _NODES[_i, : len(_x)], _WEIGHTS[_i, : len(_x)] = _x[_order], _w[_order] / _w.sum()


class Prior(NamedTuple):
    """One Gaussian of a star's composition on the star's lattice; see `add_prior`.

    The lattice divides each cell of the grid's metallicity φ in `pieces`. At each point the
    Gaussian of [α/Fe] given φ is summed over a few nodes, in *rows*; a *pass* takes one row, or two
    of which even points take the one and odd points the other. Arrays are in a pool of floats that
    many stars share, and this has their places: a compiled function pays for each array that it
    takes out of a tuple.
    """

    pieces: int  # 0 if no isochrone is within reach
    first_cell: int
    end_cell: int  # not included
    likeliest_cell: int  # of the least χ²
    n_row: int
    n_pass: int
    n_point: int
    alternate: bool  # whether two rows share a pass
    precomputed: bool  # whether `Layout.precomputed` has the isochrones at these lattice points
    share: float  # of the mixture that the Gaussian belongs to, not normalised
    spare: float  # variance of [Fe/H], dex², on top of what the lattice shows
    chi2: int  # (point,): of φ
    weight: int  # (pass, point): of the quadrature
    feh: int  # (pass, point): relative to the star's mean, dex
    least_chi2: int  # (cell,)
    discount: int  # (pass,): −2 ln of the weight of a pass
    strips: int  # (cell, 2): the first strip of [α/Fe] of the star, and how many
    #: Weights of the grid's [α/Fe] nodes: (pass, alpha, point) if `precomputed`, else (row, alpha,
    #: node of metallicity), `per_alpha` from one [α/Fe] to the next. And the first node that has
    #: weight, and how many: (pass, group of `WIDTH` points, 2), or (1, 1, 2)
    alpha_weight: int
    alpha_range: int
    per_alpha: int


class Component(NamedTuple):
    """One Gaussian of the mixture that stands for a Gaussian of [α/Fe]."""

    distance: float  # from the centre, dex
    sd: float
    chi2: float  # of its share
    number: int  # of all


class _Gaussian(NamedTuple):
    """The composition's Gaussian, in [Fe/H] and [α/Fe] and in φ and [α/Fe]; see `likelihood`."""

    feh: float
    feh_sd: float
    alpha: float
    shift: float  # S at this [α/Fe], and its slope
    slope: float
    phi: float
    phi_sd: float
    kappa: float
    alpha_sd: float  # given φ
    share: float  # of the variance of φ that is that of [Fe/H]


@njit(inline="always")
def _salaris(alpha):  # type: ignore[no-untyped-def]
    """Return S(a) and dS/da."""
    enhanced = SALARIS_ALPHA * 10.0**alpha
    return math.log10(enhanced + SALARIS_REST), enhanced / (enhanced + SALARIS_REST)


@njit(cache=True, nogil=True, error_model="numpy")
def mixture_component(alpha_sd, k):  # type: ignore[no-untyped-def]
    """Return the k-th `Component` of a Gaussian of [α/Fe]: the centre, +1, −1, +2 and so on."""
    if alpha_sd <= MAX_ALPHA_SD:
        return Component(0.0, alpha_sd, 0.0, 1)
    narrow = 0.8 * MAX_ALPHA_SD
    wide = math.sqrt(alpha_sd**2 - narrow**2)
    step = 1.25 * narrow * wide / alpha_sd
    m = (k + 1) // 2 if k % 2 else -(k // 2)
    number = 2 * (int(4.2 * wide / step) + 1) + 1
    return Component(m * step, narrow, (m * step / wide) ** 2, number)


@njit(cache=True, nogil=True, error_model="numpy")
def alpha_rule(sd, least_rule):  # type: ignore[no-untyped-def]
    """Return nodes of [α/Fe] (in standard deviations) and weights, by `least_rule` or a better one.

    Nodes that mirror each other are neighbours; the middle one is the first.
    """
    if sd <= 0.0:
        return np.zeros(1), np.ones(1)
    rule = least_rule
    while rule < len(_COUNT) - 1 and sd > ALPHA_RULES[rule]:
        rule += 1
    n = _COUNT[rule]
    return _NODES[rule, :n].copy(), _WEIGHTS[rule, :n].copy()


@njit(cache=True, nogil=True, error_model="numpy")
def pair_rows(n_row, alternate):  # type: ignore[no-untyped-def]
    """Return the rows of [α/Fe] that even and odd lattice points take, shape (pass, 2).

    If they `alternate` rows that mirror each other share a pass; the middle one has its own.
    """
    alone = n_row % 2 if alternate else n_row
    passes = np.empty((alone + (n_row - alone) // 2, 2), dtype=np.int64)
    for n in range(len(passes)):
        passes[n, 0] = n if n < alone else alone + 2 * (n - alone)
        passes[n, 1] = n if n < alone else alone + 2 * (n - alone) + 1
    return passes


@njit(cache=True, nogil=True, error_model="numpy")
def _pieces_per_cell(sd, inv, cell, cut):  # type: ignore[no-untyped-def]
    """Return in how many pieces to divide a cell (dex wide): 2, 4 or a multiple of `WIDTH`."""
    sharper = 1.0
    for c in range(4):
        sharper += (RATES[c] * sd * inv[c]) ** 2
    step = _STEP * sd / math.sqrt(sharper)
    wanted = cell / step * (_REFINE if cut else 1.0)
    if wanted <= 4.0:
        return 2 if wanted <= 2.0 else 4
    return min(WIDTH * math.ceil(wanted / WIDTH), MAX_PIECES)


@njit(cache=True, nogil=True, error_model="numpy")
def add_prior(layout, inv, feh, alpha, component, least_rule, pool, used):  # type: ignore[no-untyped-def]
    r"""Put one Gaussian of a star's composition on a lattice.

    Return the pool (a larger one if it was full), how much of it is used, and the `Prior`. `feh`
    and `alpha` are mean and standard deviation, `least_rule` the least of `ALPHA_RULES` to take.
    The Gaussian in (φ, ζ) takes S as linear over the error of [α/Fe]; what S adds to that, e in
    errors of [Fe/H], is in the weights: :math:`\exp(-e y - e^2/2)`, y being [Fe/H] less the star's
    in its errors, as the linear S has it.
    """
    axis, n_alpha = layout.metallicity, len(layout.alpha)
    a0 = alpha[0] + component.distance
    outside = a0 < layout.alpha[0] or a0 > layout.alpha[-1]
    if component.distance != 0.0 and n_alpha > 1 and outside:
        return pool, used, nothing(0.0, 0.0)
    g = _gaussian(feh, a0, component.sd)
    column = n_alpha == 1  # [α/Fe] given φ is free, and moves [Fe/H]
    share = math.exp(-0.5 * component.chi2)
    spare = (g.slope * g.alpha_sd) ** 2 if column else 0.0
    zeta, omega = alpha_rule(0.0 if column else g.alpha_sd, least_rule)
    n_row = len(zeta)

    # Limits of [Fe/H], in φ
    lowest = g.phi + (layout.feh_low - g.feh) / g.share
    highest = g.phi + (layout.feh_high - g.feh) / g.share
    if column:
        lowest, highest = layout.feh_low, layout.feh_high
    cell, n_cell = axis[1] - axis[0], len(axis) - 1
    reach = _FURTHEST * g.phi_sd
    cut = lowest > g.phi - reach or highest < g.phi + reach
    begin, end = max(g.phi - reach, lowest), min(g.phi + reach, highest)
    if cut:  # a star beyond the end: some way in from there, for the rule at the end
        begin, end = min(begin, end - 0.6 * reach), max(end, begin + 0.6 * reach)
        begin, end = max(begin, lowest), min(end, highest)
    may = len(layout.precomputed) > 0 and inv[3] == 0.0
    pieces = max(_pieces_per_cell(g.phi_sd, inv, cell, cut), PRECOMPUTED_PIECES if may else 0)
    precomputed = may and pieces == PRECOMPUTED_PIECES
    spacing = cell / pieces
    # Given φ, the error of [α/Fe] leaves [Fe/H] free by so much: the end is soft in φ.
    width = 0.0 if column else g.slope * g.alpha_sd
    soft = cut and width > spacing
    if soft:
        begin = max(g.phi - reach, lowest - 4.5 * width / g.share)
        end = min(g.phi + reach, highest + 4.5 * width / g.share)
    first = max(math.ceil((begin - axis[0]) / spacing - 1e-9), 0)
    last = min(math.floor((end - axis[0]) / spacing + 1e-9), n_cell * pieces - 1)
    if last < first:
        return pool, used, nothing(share, spare)
    passes = pair_rows(n_row, not cut and n_row in (2, 4))
    n_pass = len(passes)
    low, high = first // pieces, last // pieces + 1
    if precomputed:
        low -= low % IN_GROUP

    n_point = (high - low + MARGIN) * pieces
    chi2 = np.full(n_point, OUTSIDE)
    least_chi2 = np.full(high - low, OUTSIDE)
    weight = np.zeros((n_pass, n_point), dtype=np.float32)
    relative_feh = np.zeros((n_pass, n_point), dtype=np.float32)
    scale = spacing / (g.phi_sd * math.sqrt(2.0 * math.pi))
    ends = np.ones((2, 6))
    if cut and not soft:
        end_weights((axis[0] + first * spacing - begin) / spacing, ends[0])
        end_weights((end - axis[0] - last * spacing) / spacing, ends[1])
    for point in range(first, last + 1):
        p = point - low * pieces
        phi = axis[0] + point * spacing
        z = (phi - g.phi) / g.phi_sd
        chi2[p] = z * z + component.chi2
        least_chi2[p // pieces] = min(least_chi2[p // pieces], chi2[p])
        here = scale
        if soft:
            middle = g.feh + g.share * (phi - g.phi)
            inside = _normal_cdf((layout.feh_high - middle) / width)
            here *= max(inside - _normal_cdf((layout.feh_low - middle) / width), 0.0)
        elif cut:
            here *= ends[0, min(point - first, 5)] if point - first < 6 else 1.0
            here *= ends[1, min(last - point, 5)] if last - point < 6 else 1.0
        for n in range(n_pass):
            row = passes[n, point % 2]
            a = g.alpha + g.kappa * (phi - g.phi) + zeta[row] * g.alpha_sd
            linear = phi - g.shift - g.slope * (a - g.alpha)
            true = phi - _salaris(a)[0]
            e, y = (true - linear) / g.feh_sd, (linear - g.feh) / g.feh_sd
            w = here * omega[row] * math.exp(-e * y - 0.5 * e * e)
            if column:  # one row stands for all of [α/Fe]
                w, true = _average_over_alpha(phi, a, g, here)
            elif soft:
                true = min(max(true, layout.feh_low), layout.feh_high)
            weight[n, p] = w if passes[n, 0] == passes[n, 1] else 2.0 * w
            relative_feh[n, p] = true - g.feh

    discount = np.empty(n_pass, dtype=np.float32)
    for n in range(n_pass):
        of_pass = omega[passes[n, 0]] * (1.0 if passes[n, 0] == passes[n, 1] else 2.0)
        discount[n] = -2.0 * math.log(of_pass)
    strips = _strips(layout, g, zeta, precomputed, low, high)
    if precomputed:
        alpha_weight, alpha_range = _alpha_weights(
            layout.alpha, (axis[0], low * pieces, spacing), g, zeta, passes, n_point, WIDTH, 4
        )  # four nodes are done fastest
    else:
        # Node 0 of the layout is the one added before the first.
        n_node = high - low + 3
        alpha_weight, ranges = _alpha_weights(
            layout.alpha, (axis[0], low - 1, cell), g, zeta, pair_rows(n_row, False),
            n_node + MARGIN, n_node, 1,
        )  # fmt: skip
        k_low = ranges[:, 0, 0].min()
        alpha_range = np.array([[[k_low, (ranges[:, 0, 0] + ranges[:, 0, 1]).max() - k_low]]])
    size = 3 * weight.size + chi2.size + least_chi2.size + strips.size
    size += alpha_weight.size + alpha_range.size
    if used + size > len(pool):
        pool = np.concatenate((pool, np.empty(used + size, dtype=np.float32)))
    at_weight = _append(pool, used, chi2)
    at_feh = _append(pool, at_weight, weight)
    at_least = _append(pool, at_feh, relative_feh)
    at_discount = _append(pool, at_least, least_chi2)
    at_strips = _append(pool, at_discount, discount)
    at_alpha = _append(pool, at_strips, strips)
    at_range = _append(pool, at_alpha, alpha_weight)
    prior = Prior(
        pieces, low, high, low + np.argmin(least_chi2), n_row, n_pass, n_point, n_pass < n_row,
        precomputed, share, spare, used, at_weight, at_feh, at_least, at_discount, at_strips,
        at_alpha, at_range, alpha_weight.shape[2],
    )  # fmt: skip
    return pool, _append(pool, at_range, alpha_range), prior


@njit(cache=True, nogil=True, error_model="numpy")
def _append(pool, at, array):  # type: ignore[no-untyped-def]
    """Put an array at a place of the pool; return the place after it."""
    flat = array.reshape(-1)
    for i in range(len(flat)):
        pool[at + i] = flat[i]
    return at + len(flat)


@njit(cache=True, nogil=True, error_model="numpy")
def nothing(share, spare):  # type: ignore[no-untyped-def]
    """Return the `Prior` of a star that no isochrone is within reach of."""
    return Prior(0, 0, 0, 0, 0, 0, 0, False, False, share, spare, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def _gaussian(feh, alpha, alpha_sd):  # type: ignore[no-untyped-def]
    """Turn the Gaussian of [Fe/H] (mean and sd) and [α/Fe] into that of φ and [α/Fe]."""
    shift, slope = _salaris(alpha)
    phi_sd = math.sqrt(feh[1] ** 2 + (slope * alpha_sd) ** 2)
    return _Gaussian(
        feh[0], feh[1], alpha, shift, slope, feh[0] + shift, phi_sd,
        slope * (alpha_sd / phi_sd) ** 2, alpha_sd * feh[1] / phi_sd, (feh[1] / phi_sd) ** 2,
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _strips(layout, g, zeta, precomputed, low, high):  # type: ignore[no-untyped-def]
    """Return, for each cell, the first strip of [α/Fe] that the star may be in and their number."""
    axis, last = layout.metallicity, len(layout.strips) - 2
    # Weights of [α/Fe] that are interpolated between nodes of metallicity reach a little further.
    furthest = 4.5 if not precomputed else 0.0
    for z in zeta:
        furthest = max(furthest, 1.001 * abs(z))
    out = np.empty((high - low, 2), dtype=np.int64)
    for j in range(low, high):
        one = g.alpha + g.kappa * (axis[j] - g.phi)
        two = one + g.kappa * (axis[1] - axis[0])
        reach = furthest * g.alpha_sd
        lowest, highest = min(one, two) - reach, max(one, two) + reach
        k_low = min(max(np.searchsorted(layout.strips, lowest) - 1, 0), last)
        k_high = min(max(np.searchsorted(layout.strips, highest) - 1, k_low), last)
        out[j - low, 0], out[j - low, 1] = k_low, k_high - k_low + 1
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _alpha_weights(alpha, lattice, g, zeta, passes, n_point, per_group, least):  # type: ignore[no-untyped-def]
    """Return weights of [α/Fe] nodes, and the range that has weight: (pass, group of points, 2).

    `lattice` is the first node of φ, the place of the first point relative to it, and the step.
    A range is no shorter than `least`, if there are so many nodes.
    """
    origin, first, spacing = lattice
    n_alpha, n_pass, n_group = len(alpha), len(passes), n_point // per_group
    weight = np.zeros((n_pass, n_alpha, n_point), dtype=np.float32)
    ranges, stencil = np.empty((n_pass, n_group, 2), dtype=np.int64), np.empty((3, 4))
    for n in range(n_pass):
        for group in range(n_group):
            k_begin, k_end = n_alpha, 0
            for p in range(group * per_group, (group + 1) * per_group):
                phi = origin + (first + p) * spacing
                a = g.alpha + g.kappa * (phi - g.phi) + zeta[passes[n, p % 2]] * g.alpha_sd
                k_first = cubic_stencil(alpha, a, stencil)
                for k in range(min(4, n_alpha)):
                    if stencil[0, k] != 0.0:
                        k_begin, k_end = min(k_begin, k_first + k), max(k_end, k_first + k + 1)
                        weight[n, k_first + k, p] = stencil[0, k]
            if k_end - k_begin < least <= n_alpha:
                k_begin = min(k_begin, n_alpha - least)
                k_end = k_begin + least
            ranges[n, group, 0], ranges[n, group, 1] = k_begin, k_end - k_begin
    return weight, ranges


@njit(cache=True, nogil=True, error_model="numpy")
def _normal_cdf(x):  # type: ignore[no-untyped-def]
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@njit(cache=True, nogil=True, error_model="numpy")
def _average_over_alpha(phi, mean, g, scale):  # type: ignore[no-untyped-def]
    """Return weight and mean [Fe/H] of a point, averaged over the Gaussian of [α/Fe] given φ."""
    total = first = 0.0
    for n in range(_COUNT[-1]):
        a = mean + _NODES[-1, n] * g.alpha_sd
        linear = phi - g.shift - g.slope * (a - g.alpha)
        true = phi - _salaris(a)[0]
        e, y = (true - linear) / g.feh_sd, (linear - g.feh) / g.feh_sd
        w = _WEIGHTS[-1, n] * math.exp(-e * y - 0.5 * e * e)
        total += w
        first += w * true
    return scale * total, first / total


@njit(cache=True, nogil=True, error_model="numpy")
def end_weights(beyond, out):  # type: ignore[no-untyped-def]
    """Fill `out` with the weights of the first six points of a sum that begins between two points.

    The integral begins `beyond` steps (0 to 1) before the first point; from the seventh on every
    point has weight 1.
    """
    root = math.sqrt(0.6)
    for i in range(4):
        # Lagrange's cubic through the four points over [-beyond, 3], by Gauss and Legendre's rule.
        total = 0.0
        for g in range(3):
            x = 0.5 * ((3.0 - beyond) + (3.0 + beyond) * (g - 1) * root)
            basis = 1.0
            for j in range(4):
                if j != i:
                    basis *= (x - j) / (i - j)
            total += basis * (8.0 if g == 1 else 5.0) / 18.0
        out[i] = total * (3.0 + beyond)
    # From the fourth point on the plain sum, which begins with Gregory's weights.
    out[3] += 3.0 / 8.0
    out[4] = 7.0 / 6.0
    out[5] = 23.0 / 24.0
