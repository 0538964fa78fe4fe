r"""The lattice of metallicities on which a star's likelihood is summed.

Over :math:`\phi` (see `grid`) the integrand is a smooth function that dies away on both sides, for
which the plain sum over equal steps converges exponentially: for a Gaussian of width s the relative
error of steps of h is :math:`2 e^{-2 \pi^2 s^2 / h^2}`: 5e-11 at h = 0.9 s, 0.005 at twice that.
The narrowest width there can be is that of the prior :math:`\sigma_\phi` sharpened by observables
that change with φ; `RATES` says how fast they do *across* an isochrone (along it the other integral
is exact). Lattice points divide every cell of the grid in the same number of pieces, so that the
weights that interpolate to them are the same in every cell.

[α/Fe], given φ, takes the few nodes of a Gauss-Hermite rule (`ALPHA_RULES`), on which the answer
depends but little. The smallest rule has two, at ±1 standard deviation, and even lattice points
take the one, odd points the other: what differs between the two is summed at twice the steps, which
is fine enough for a small difference. The next one has four, of which those that mirror each other
take turns likewise.

Where [Fe/H] runs into the end of the grid the integrand is cut off. There the steps are four times
finer, and the sum ends in weights that take cubics through the last points (Gregory's rule, for an
end anywhere between two points); where the error of [α/Fe] blurs the end in φ, in the share of the
Gaussian that is inside.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from migrate_bayes.isochrones.kernel.simd import WIDTH

__all__ = [
    "ALPHA_RULES",
    "MARGIN",
    "MAX_ALPHA_SD",
    "MAX_NODES",
    "MAX_PIECES",
    "OUTSIDE",
    "RATES",
    "alpha_rule",
    "fill_lattice",
    "node_weights",
    "piece_weights",
    "take_turns",
]

MAX_PIECES = 120  # a multiple of `WIDTH`
MAX_NODES = 7  # of metallicity, that `WIDTH` points may depend on
MARGIN = 3  # cells beyond the last that lanes may reach into
OUTSIDE = 1e4  # χ²
_FURTHEST = 6.0  # standard deviations of the prior: exp(-z²/2) is 1.5e-8
_STEP = 0.9  # of the narrowest width
_REFINE = 4.0  # times finer next to an edge
#: Change with metallicity across an isochrone: K, dex, mag, mag per dex.
RATES = (1200.0, 0.3, 1.0, 0.45)


_HERMITE = [np.polynomial.hermite_e.hermegauss(n) for n in (2, 4, 5, 7)]
#: Standard deviations of [α/Fe] up to which each rule is good, dex.
ALPHA_RULES = (0.025, 0.03, 0.06, 0.12)
#: A wider Gaussian of [α/Fe] is split into narrower ones.
MAX_ALPHA_SD = ALPHA_RULES[-1]
# Rule by rule: how many nodes; nodes and weights.
_COUNT = np.array([len(x) for x, _ in _HERMITE])
_NODES, _WEIGHTS = np.zeros((4, 7)), np.zeros((4, 7))
for _i, (_x, _w) in enumerate(_HERMITE):
    _order = np.argsort(np.abs(_x), kind="stable")
    _NODES[_i, : len(_x)], _WEIGHTS[_i, : len(_x)] = _x[_order], _w[_order] / _w.sum()


@njit(cache=True, nogil=True, error_model="numpy")
def alpha_rule(sd, rule, nodes, weights):  # type: ignore[no-untyped-def]
    """Fill `nodes` (in standard deviations) and `weights`; return how many.

    `rule` is the least of `ALPHA_RULES` to take.
    """
    if sd <= 0.0:
        nodes[0], weights[0] = 0.0, 1.0
        return 1
    while rule < len(_COUNT) - 1 and sd > ALPHA_RULES[rule]:
        rule += 1
    nodes[:7], weights[:7] = _NODES[rule], _WEIGHTS[rule]
    return _COUNT[rule]


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
def take_turns(n_rows, together, passes):  # type: ignore[no-untyped-def]
    """Fill `passes` with the rows of [α/Fe] that even and odd lattice points take; return how many.

    Rows are in the order of `alpha_rule`. Where they go `together` those that mirror each other
    take turns, and the middle one goes by itself.
    """
    if not together:
        for row in range(n_rows):
            passes[row, 0] = passes[row, 1] = row
        return n_rows
    n = 0
    if n_rows % 2 == 1:
        passes[0, 0] = passes[0, 1] = 0
        n = 1
    for row in range(n, n_rows, 2):
        passes[n, 0], passes[n, 1] = row, row + 1
        n += 1
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def fill_lattice(  # type: ignore[no-untyped-def]
    axis, star, offset, feh_low, feh_high, column, inv, zeta, omega, n_rows, passes,
    pool, at, n_room, usual, aligned,
):  # fmt: skip
    r"""Choose a star's lattice.

    Parameters
    ----------
    axis : numpy.ndarray
        Nodes of the grid, regular.
    star : tuple of float
        Mean and sd of the star's [Fe/H], and of its [α/Fe].
    offset : float
        Added to the prior's χ².
    feh_low, feh_high, column : float, float, bool
        Where [Fe/H] ends; or, where the grid is a single `column` in φ, where φ does.
    inv : numpy.ndarray, shape (4,)
        Inverse errors of the observables.
    zeta, omega : numpy.ndarray
        From `alpha_rule`, `n_rows` of them.
    passes : numpy.ndarray, shape (7, 2)
        Filled by `take_turns`.
    pool, at, n_room : numpy.ndarray, int, int
        Filled from `at` on, if `n_room` suffices, with: χ² under the prior of φ by lattice point,
        from the first of the first cell to the last of `MARGIN` cells beyond the last (`OUTSIDE`
        where a point does not count); quadrature weights, by pass and point; [Fe/H] relative to the
        star's, likewise; and the least of χ² in every cell.

    usual, aligned : int
        Take no fewer than `usual` lattice points to a cell; where it is that many, begin with a
        cell that is a multiple of `aligned`.

    Returns
    -------
    pieces, first, last, low : int
        Points of a cell; the first and the last point that counts; the first cell. None is left
        (`last` before `first`) where the grid is out of reach.
    n_pass : int
        How many passes.
    used : int
        How much of `pool` is filled, or −1: no room.

    Notes
    -----
    The Gaussian in (φ, ζ) takes S as linear over the error of [α/Fe]; what S adds to that, e in
    errors of [Fe/H], is in the weights: :math:`\exp(-e y - e^2/2)`, y being [Fe/H] less the star's
    in its errors, as the linear S has it.
    """
    f0, sd_f, a0, sd_a0 = star
    enhanced = 0.638 * 10.0**a0
    rate, salaris = enhanced / (enhanced + 0.362), math.log10(enhanced + 0.362)
    centre, sd = f0 + salaris, math.sqrt(sd_f**2 + (rate * sd_a0) ** 2)
    kappa, sd_a, share = rate * (sd_a0 / sd) ** 2, sd_a0 * sd_f / sd, (sd_f / sd) ** 2
    lowest, highest = centre + (feh_low - f0) / share, centre + (feh_high - f0) / share
    if column:
        lowest, highest = feh_low, feh_high
    cell, n_cell = axis[1] - axis[0], len(axis) - 1
    reach = _FURTHEST * sd
    cut = lowest > centre - reach or highest < centre + reach
    begin, end = max(centre - reach, lowest), min(centre + reach, highest)
    if cut:  # a star beyond the end: some way in from there, for the rule at the end
        begin, end = min(begin, end - 0.6 * reach), max(end, begin + 0.6 * reach)
        begin, end = max(begin, lowest), min(end, highest)
    pieces = max(_pieces_per_cell(sd, inv, cell, cut), usual)
    spacing = cell / pieces
    # Given φ, the error of [α/Fe] leaves [Fe/H] free by so much: the end is soft in φ.
    width = 0.0 if column else rate * sd_a
    soft = cut and width > spacing
    if soft:
        begin = max(centre - reach, lowest - 4.5 * width / share)
        end = min(centre + reach, highest + 4.5 * width / share)
    first = max(math.ceil((begin - axis[0]) / spacing - 1e-9), 0)
    last = min(math.floor((end - axis[0]) / spacing + 1e-9), n_cell * pieces - 1)
    n_pass = take_turns(n_rows, not cut and n_rows in (2, 4), passes)
    scale = spacing / (sd * math.sqrt(2.0 * math.pi))
    low, high = first // pieces, last // pieces + 1
    if pieces == usual:
        low -= low % aligned
    if last < first:
        return pieces, first, last, low, n_pass, 0
    n_point = (high - low + MARGIN) * pieces
    if (1 + 2 * n_pass) * n_point + high - low > n_room:
        return pieces, first, last, low, n_pass, -1
    ends = np.ones((2, 6))
    if cut and not soft:
        _end_weights((axis[0] + first * spacing - begin) / spacing, ends[0])
        _end_weights((end - axis[0] - last * spacing) / spacing, ends[1])
    weight, feh = at + n_point, at + (1 + n_pass) * n_point
    least_prior = at + (1 + 2 * n_pass) * n_point
    for j in range(high - low):
        pool[least_prior + j] = OUTSIDE
    for p in range(n_point):
        point = low * pieces + p
        pool[at + p] = OUTSIDE
        for n in range(n_pass):
            pool[weight + n * n_point + p] = pool[feh + n * n_point + p] = 0.0
        if not first <= point <= last:
            continue
        phi = axis[0] + point * spacing
        z = (phi - centre) / sd
        pool[at + p] = z * z + offset
        j = least_prior + p // pieces
        pool[j] = min(pool[j], pool[at + p])
        here = scale
        if soft:
            middle = f0 + share * (phi - centre)
            inside = _normal_cdf((feh_high - middle) / width)
            here *= max(inside - _normal_cdf((feh_low - middle) / width), 0.0)
        elif cut:
            here *= ends[0, min(point - first, 5)] if point - first < 6 else 1.0
            here *= ends[1, min(last - point, 5)] if last - point < 6 else 1.0
        for n in range(n_pass):
            row = passes[n, point % 2]
            a = a0 + kappa * (phi - centre) + zeta[row] * sd_a
            linear = phi - salaris - rate * (a - a0)
            true = phi - math.log10(0.638 * 10.0**a + 0.362)
            e, y = (true - linear) / sd_f, (linear - f0) / sd_f
            w = here * omega[row] * math.exp(-e * y - 0.5 * e * e)
            if column:  # one row stands for all of [α/Fe]
                w, true = _average_over_alpha(phi, a, sd_a, star, here)
            elif soft:
                true = min(max(true, feh_low), feh_high)
            pool[weight + n * n_point + p] = w if passes[n, 0] == passes[n, 1] else 2.0 * w
            pool[feh + n * n_point + p] = true - f0
    return pieces, first, last, low, n_pass, (1 + 2 * n_pass) * n_point + high - low


@njit(cache=True, nogil=True, error_model="numpy")
def _normal_cdf(x):  # type: ignore[no-untyped-def]
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@njit(cache=True, nogil=True, error_model="numpy")
def _average_over_alpha(phi, mean, sd, star, scale):  # type: ignore[no-untyped-def]
    """Return the weight, and the mean [Fe/H], of a point at which [α/Fe] does not matter.

    As in `fill_lattice`, averaged over the Gaussian of [α/Fe] given φ.
    """
    f0, sd_f, a0, _ = star
    enhanced = 0.638 * 10.0**a0
    rate, salaris = enhanced / (enhanced + 0.362), math.log10(enhanced + 0.362)
    total = first = 0.0
    for n in range(_COUNT[-1]):
        a = mean + _NODES[-1, n] * sd
        linear = phi - salaris - rate * (a - a0)
        true = phi - math.log10(0.638 * 10.0**a + 0.362)
        e, y = (true - linear) / sd_f, (linear - f0) / sd_f
        w = _WEIGHTS[-1, n] * math.exp(-e * y - 0.5 * e * e)
        total += w
        first += w * true
    return scale * total, first / total


@njit(cache=True, nogil=True, error_model="numpy")
def piece_weights(pieces, out):  # type: ignore[no-untyped-def]
    """Fill ``out[t]`` with the weights of the four nodes about a cell for its lattice point t.

    The cubic of `cubic` on a regular axis.
    """
    for t in range(pieces):
        u = t / pieces
        out[t, 0] = 0.5 * u * (-1.0 + u * (2.0 - u))
        out[t, 1] = 1.0 + 0.5 * u * u * (-5.0 + 3.0 * u)
        out[t, 2] = 0.5 * u * (1.0 + u * (4.0 - 3.0 * u))
        out[t, 3] = 0.5 * u * u * (u - 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def node_weights(pieces, out, alone, turns):  # type: ignore[no-untyped-def]
    """Weigh the nodes about the cells of `WIDTH` lattice points abreast.

    Parameters
    ----------
    pieces : int
        Lattice points of a cell.
    out, alone, turns : numpy.ndarray, int, int
        From `alone` on filled, by (part of a cell where it has more than `WIDTH` points, node,
        lane), with the weights of `piece_weights`; from `turns` on, by (part, 2, node, lane), with
        those of even points and then with those of odd points.
    """
    between = np.empty((pieces, 4))
    piece_weights(pieces, between)
    for part in range(max(pieces // WIDTH, 1)):
        one, two = alone + part * MAX_NODES * WIDTH, turns + part * 2 * MAX_NODES * WIDTH
        out[one : one + MAX_NODES * WIDTH] = 0.0
        out[two : two + 2 * MAX_NODES * WIDTH] = 0.0
        for lane in range(WIDTH):
            point = part * WIDTH + lane
            for k in range(4):
                node = point // pieces + k
                out[one + node * WIDTH + lane] = between[point % pieces, k]
                to = two + (lane % 2 * MAX_NODES + node) * WIDTH + lane
                out[to] = between[point % pieces, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _end_weights(beyond, out):  # type: ignore[no-untyped-def]
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
