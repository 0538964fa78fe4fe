r"""A star's prior on its composition: a Gaussian in [Fe/H] and [α/Fe], on a lattice in metallicity.

Over :math:`\phi` (see `grid`) the integrand is a smooth function that dies away on both sides, for
which the plain sum over equal steps converges exponentially: for a Gaussian of width s the relative
error of steps of h is :math:`2 e^{-2 \pi^2 s^2 / h^2}`, 1e-3 at h = 1.65 s. The narrowest width
that can occur is that of the prior :math:`\sigma_\phi` sharpened by observables that change with φ;
`RATES` says how fast they do *across* an isochrone (along it the other integral is exact).

At each lattice point the prior on [α/Fe] given φ, :math:`N(f_0; \phi - S(a), s_f^2)\,
N(a_0; a, s_a^2)` within the limits of the grid, is replaced by the Gaussian of the same weight,
mean :math:`\bar a` and standard deviation :math:`\sigma`; a quadrature finds these. Isochrones are
taken as linear in [α/Fe] over it, with the value and the slope that they have on average at
:math:`\bar a \pm \sigma`: these are two sums over nodes of [α/Fe], whose weights are found here. A
very wide Gaussian of [α/Fe] is a mixture of narrower ones.

If [Fe/H] runs into the end of the grid the integrand is cut off, and steps are eight times finer.
The error of [α/Fe] softens the end, since it leaves [Fe/H] free at given φ; without it the sum ends
in weights that take cubics through the last points (Gregory's rule, for an integral that begins
between two points).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from migrate_bayes.core.constants import SALARIS_ALPHA, SALARIS_REST
from migrate_bayes.isochrones.kernel.cubic import cubic_stencil
from migrate_bayes.isochrones.kernel.grid_layout import PIECES
from migrate_bayes.isochrones.kernel.simd import HALF, WIDTH

MAX_PIECES = 120
OUTSIDE = 1e4  # χ²
_FURTHEST = 6.0  # standard deviations of the prior: exp(-z²/2) is 1.5e-8
_STEP = 1.65  # of the narrowest width
_STEP_SHEARED = 1.5  # `RATES` are not of sheared isochrones
_REFINE = 8.0  # times finer next to an edge
#: Change with metallicity across an isochrone: K, dex, mag, mag per dex.
RATES = (1200.0, 0.3, 1.0, 0.45)
#: A wider Gaussian of [α/Fe] is split into narrower ones, dex.
MAX_ALPHA_SD = 0.05
_WITHIN = 2.0  # standard deviations of [α/Fe] given φ, that bounds of χ² are taken over

_LN10 = math.log(10.0)
# Nodes and weights: of a Gaussian that nothing cuts off, and of one that something does
_x, _w = np.polynomial.hermite_e.hermegauss(3)
_HERMITE = np.column_stack([_x, _w / _w.sum()])
_LEGENDRE = np.column_stack(np.polynomial.legendre.leggauss(20))


class Prior(NamedTuple):
    """One Gaussian of a star's composition on the star's lattice; see `add_prior`.

    The lattice divides each cell of the grid's metallicity φ in `pieces`. Arrays are in a pool of
    floats that many stars share, and this has their places: a compiled function pays for each array
    that it takes out of a tuple.
    """

    pieces: int  # 0 if no isochrone is within reach
    first_cell: int
    end_cell: int  # not included
    likeliest_cell: int  # of the least χ²
    n_point: int  # from the beginning of the first cell, and `WIDTH` more of no weight
    log_scale: float  # ln of what weights are multiplied by
    chi2: int  # (point,): of the prior
    weight: int  # (point,): of the quadrature
    feh: int  # (3, point): [Fe/H] less the star's mean, dex, its change with [α/Fe], its variance
    stencil: int  # (5, point): first of the four nodes of φ, and their weights
    least_chi2: int  # (cell,)
    strips: int  # (cell, 2): the first strip of [α/Fe] of the star, and how many
    alpha_weight: int  # (n_alpha, 2, point): of nodes from `first_alpha` on, for value and slope
    first_alpha: int
    n_alpha: int
    sheared: bool  # whether errors are correlated: see `likelihood`
    teff_by_feh: np.float32  # β_T, β_g, γ
    logg_by_feh: np.float32
    logg_by_teff: np.float32


class Component(NamedTuple):
    """One Gaussian of the mixture that stands for a Gaussian of [α/Fe]."""

    mean: float  # dex
    sd: float
    chi2: float  # of its share
    number: int  # of all
    total: float  # of all shares


class _Gaussian(NamedTuple):
    """The composition's Gaussian, in [Fe/H] and [α/Fe] and in φ and [α/Fe]; see `likelihood`."""

    feh: float
    feh_sd: float
    alpha: float
    alpha_sd: float
    phi: float
    phi_sd: float
    kappa: float
    given_phi: float  # standard deviation of [α/Fe]
    slope: float  # of S at this [α/Fe]
    share: float  # of the variance of φ that is that of [Fe/H]


class _Moments(NamedTuple):
    """The prior at a point of the lattice."""

    chi2: float  # at the mean of [α/Fe]
    weight: float
    alpha: float  # mean and standard deviation
    alpha_sd: float
    feh: float  # mean, less the star's, and variance
    feh_variance: float


@njit(inline="always")
def _salaris(alpha):  # type: ignore[no-untyped-def]
    """Return S(a) and dS/da."""
    enhanced = SALARIS_ALPHA * math.exp(_LN10 * alpha)  # faster than a power
    return math.log10(enhanced + SALARIS_REST), enhanced / (enhanced + SALARIS_REST)


@njit(inline="always")
def _of_salaris(shift):  # type: ignore[no-untyped-def]
    """Return the a of S(a)."""
    return math.log10(max((math.exp(_LN10 * shift) - SALARIS_REST) / SALARIS_ALPHA, 1e-30))


@njit(cache=True, nogil=True, error_model="numpy")
def mixture_component(layout, alpha, k):  # type: ignore[no-untyped-def]
    """Return the k-th `Component` of a star's Gaussian of [α/Fe], nearest to the grid first."""
    mean, sd = alpha
    if sd <= MAX_ALPHA_SD or len(layout.alpha) == 1:
        return Component(mean, sd, 0.0, 1, 1.0)
    narrow = 0.8 * MAX_ALPHA_SD
    wide = math.sqrt(sd**2 - narrow**2)
    step = 1.25 * narrow * wide / sd
    middle = np.rint((min(max(mean, layout.alpha_low), layout.alpha_high) - mean) / step)
    m = middle + ((k + 1) // 2 if k % 2 else -(k // 2))
    reach = min(4.5 * wide, layout.alpha_high - layout.alpha_low + _FURTHEST * narrow)
    share = (m * step / wide) ** 2
    total = wide * math.sqrt(2.0 * math.pi) / step
    return Component(mean + m * step, narrow, share, 2 * (int(reach / step) + 1) + 1, total)


@njit(cache=True, nogil=True, error_model="numpy")
def _pieces_per_cell(sd, inv, shear, cell, cut):  # type: ignore[no-untyped-def]
    """Return in how many pieces to divide a cell (dex wide)."""
    sharper = 1.0
    teff = RATES[0] + abs(shear[0])
    extra = (abs(shear[0]), abs(shear[1]) + abs(shear[2]) * teff, 0.0, 0.0)
    for c in range(4):
        sharper += ((RATES[c] + extra[c]) * sd * inv[c]) ** 2
    correlated = extra[0] + extra[1] > 0.0
    step = (_STEP_SHEARED if correlated else _STEP) * sd / math.sqrt(sharper)
    wanted = cell / step * (_REFINE if cut else 1.0)
    return max(math.ceil(min(wanted, MAX_PIECES)), PIECES)


@njit(cache=True, nogil=True, error_model="numpy")
def add_prior(layout, inv, shear, feh, component, pool, used):  # type: ignore[no-untyped-def]
    """Put one Gaussian of a star's composition on a lattice.

    Return the pool (a larger one if it was full), how much of it is used, and the `Prior`. `inv`
    has the inverse errors of observables, `shear` what their correlations make of the isochrones
    (`likelihood.Stars`), `feh` mean and standard deviation, `component` the Gaussian of [α/Fe].
    """
    axis, column = layout.metallicity, len(layout.alpha) == 1
    g = _gaussian(feh, component)
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
    sheared = shear[0] != 0.0 or shear[1] != 0.0 or shear[2] != 0.0
    pieces = _pieces_per_cell(g.phi_sd, inv, shear, cell, cut)
    spacing = cell / pieces
    width = 0.0 if column else g.slope * g.given_phi
    soft = cut and width > spacing
    if soft:
        begin = max(g.phi - reach, lowest - 4.5 * width / g.share)
        end = min(g.phi + reach, highest + 4.5 * width / g.share)
    first = int(max(math.ceil((begin - axis[0]) / spacing - 1e-9), 0.0))
    last = int(min(math.floor((end - axis[0]) / spacing + 1e-9), n_cell * pieces - 1.0))
    if last < first:
        return pool, used, nothing()
    low, high = first // pieces, last // pieces + 1
    low -= low % (HALF // PIECES)  # so that a chunk of the layout begins there
    n_point = (high - low) * pieces + WIDTH

    chi2, least_chi2 = np.full(n_point, OUTSIDE), np.full(high - low, OUTSIDE)
    weight, of_feh = np.zeros(n_point), np.zeros((3, n_point))
    stencil = np.zeros((5, n_point))
    of_alpha = np.zeros((len(layout.alpha), 2, n_point))
    k_low, k_high = len(layout.alpha), 0
    ends, four = np.ones((2, 6)), np.empty((3, 4))
    if cut and not soft:
        end_weights((axis[0] + first * spacing - begin) / spacing, ends[0])
        end_weights((end - axis[0] - last * spacing) / spacing, ends[1])
    if pieces != PIECES or inv[3] > 0.0 or len(layout.chunks) == 0:
        for p in range(n_point):
            stencil[0, p] = cubic_stencil(axis, axis[0] + (p + low * pieces) * spacing, four)
            for n in range(4):  # numba compiles no more than this; for a slice, words of an error
                stencil[1 + n, p] = four[0, n]
    for point in range(first, last + 1):
        p = point - low * pieces
        phi = axis[0] + point * spacing
        here = _moments(layout, g, phi, soft)
        chi2[p] = min(here.chi2 + component.chi2, OUTSIDE)
        least_chi2[p // pieces] = min(least_chi2[p // pieces], chi2[p] * shear[3])
        weight[p] = spacing * here.weight
        weight[p] *= ends[0, min(point - first, 5)] if point - first < 6 else 1.0
        weight[p] *= ends[1, min(last - point, 5)] if last - point < 6 else 1.0
        of_feh[0, p], of_feh[2, p] = here.feh, here.feh_variance
        of_feh[1, p] = -_salaris(here.alpha)[1] * here.alpha_sd
        for side in range(2):
            sign = 1.0 if side else -1.0
            k = cubic_stencil(layout.alpha, here.alpha + sign * here.alpha_sd, four)
            for n in range(4):
                if four[0, n] != 0.0:
                    k_low, k_high = min(k_low, k + n), max(k_high, k + n + 1)
                    of_alpha[k + n, 0, p] += 0.5 * four[0, n]
                    of_alpha[k + n, 1, p] += 0.5 * sign * four[0, n]
    if k_high <= k_low:
        return pool, used, nothing()
    if not column and k_high - k_low < 4:  # few numbers of nodes, so that sweeps know them
        k_low = max(min(k_low, len(layout.alpha) - 4), 0)
        k_high = min(k_low + 4, len(layout.alpha))
    strips = _strips(layout, g, low, high)
    of_alpha = of_alpha[k_low:k_high].copy()
    size = chi2.size + weight.size + of_feh.size + stencil.size + least_chi2.size + strips.size
    if used + size + of_alpha.size > len(pool):
        pool = np.concatenate((pool, np.empty(used + size + of_alpha.size, dtype=np.float32)))
    at_weight = _append(pool, used, chi2)
    at_feh = _append(pool, at_weight, weight)
    at_stencil = _append(pool, at_feh, of_feh.reshape(-1))
    at_least = _append(pool, at_stencil, stencil.reshape(-1))
    at_strips = _append(pool, at_least, least_chi2)
    at_alpha = _append(pool, at_strips, strips.reshape(-1))
    log_scale = -math.log(math.sqrt(2.0 * math.pi) * g.feh_sd)
    if g.alpha_sd > 0.0:
        log_scale -= math.log(math.sqrt(2.0 * math.pi) * g.alpha_sd)
    prior = Prior(
        pieces, low, high, low + np.argmin(least_chi2), n_point, log_scale, used, at_weight,
        at_feh, at_stencil, at_least, at_strips, at_alpha, k_low, k_high - k_low,
        sheared, np.float32(shear[0]), np.float32(shear[1]), np.float32(shear[2]),
    )  # fmt: skip
    return pool, _append(pool, at_alpha, of_alpha.reshape(-1)), prior


@njit(cache=True, nogil=True, error_model="numpy")
def _append(pool, at, array):  # type: ignore[no-untyped-def]
    """Put an array at a place of the pool; return the place after it."""
    for i in range(len(array)):
        pool[at + i] = array[i]
    return at + len(array)


@njit(cache=True, nogil=True, error_model="numpy")
def nothing():  # type: ignore[no-untyped-def]
    """Return the `Prior` of a star that no isochrone is within reach of."""
    zero = np.float32(0.0)
    return Prior(0, 0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, False, zero, zero, zero)


@njit(cache=True, nogil=True, error_model="numpy")
def _gaussian(feh, component):  # type: ignore[no-untyped-def]
    """Turn the Gaussian of [Fe/H] (mean and sd) and [α/Fe] into that of φ and [α/Fe]."""
    alpha, sd = component.mean, component.sd
    shift, slope = _salaris(alpha)
    phi_sd = math.sqrt(feh[1] ** 2 + (slope * sd) ** 2)
    return _Gaussian(
        feh[0], feh[1], alpha, sd, feh[0] + shift, phi_sd, slope * (sd / phi_sd) * (sd / phi_sd),
        sd * (feh[1] / phi_sd), slope, (feh[1] / phi_sd) ** 2,
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _chi2(g, phi, a):  # type: ignore[no-untyped-def]
    """Return the χ² of a composition."""
    x = (a - g.alpha) / g.alpha_sd if g.alpha_sd > 0.0 else 0.0
    return ((phi - _salaris(a)[0] - g.feh) / g.feh_sd) ** 2 + x * x


@njit(cache=True, nogil=True, error_model="numpy")
def _moments(layout, g, phi, soft):  # type: ignore[no-untyped-def]
    """Integrate the prior over [α/Fe] at given φ, within the grid; [Fe/H] too if its end is `soft`.

    The weight has not the factors that `Prior.log_scale` stands for, nor that of `chi2`.
    """
    middle, sd = g.alpha + g.kappa * (phi - g.phi), g.given_phi
    a = min(max(middle, layout.alpha_low), layout.alpha_high)
    if sd <= 0.0:
        return _Moments(_chi2(g, phi, a), 1.0, a, 0.0, phi - _salaris(a)[0] - g.feh, 0.0)
    low, high = a - _FURTHEST * sd, a + _FURTHEST * sd
    if soft:
        low = max(low, _of_salaris(phi - layout.feh_high))
        high = min(high, _of_salaris(phi - layout.feh_low))
    low, high = max(low, layout.alpha_low), min(high, layout.alpha_high)
    if high <= low:
        return _Moments(OUTSIDE, 0.0, a, 0.0, 0.0, 0.0)
    a = min(max(a, low), high)
    whole = low == a - _FURTHEST * sd and high == a + _FURTHEST * sd
    rule = _HERMITE if whole else _LEGENDRE
    reference, total, alpha, square, feh, feh_square = _chi2(g, phi, a), 0.0, 0.0, 0.0, 0.0, 0.0
    for x, w in rule:
        if whole:
            step, w = sd * x, w * sd * math.sqrt(2.0 * math.pi) * math.exp(0.5 * x * x)
        else:
            step, w = low + 0.5 * (high - low) * (1.0 + x) - a, 0.5 * (high - low) * w
        w *= math.exp(0.5 * (reference - _chi2(g, phi, a + step)))
        f = phi - _salaris(a + step)[0] - g.feh
        total += w
        alpha += w * step
        square += w * step * step
        feh += w * f
        feh_square += w * f * f
    alpha, feh = alpha / total, feh / total
    chi2 = _chi2(g, phi, a + alpha)
    return _Moments(
        chi2, total * math.exp(0.5 * (chi2 - reference)), a + alpha,
        math.sqrt(max(square / total - alpha * alpha, 0.0)), feh,
        max(feh_square / total - feh * feh, 0.0),
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _strips(layout, g, low, high):  # type: ignore[no-untyped-def]
    """Return, for each cell, the first strip of [α/Fe] that the star may be in and their number."""
    axis, last = layout.metallicity, len(layout.strips) - 2
    out = np.empty((high - low, 2))
    for j in range(low, high):
        one = g.alpha + g.kappa * (axis[j] - g.phi)
        two = one + g.kappa * (axis[1] - axis[0])
        reach = _WITHIN * g.given_phi
        k_low = np.searchsorted(layout.strips, min(one, two) - reach) - 1
        k_low = min(max(k_low, 0), last)
        k_high = np.searchsorted(layout.strips, max(one, two) + reach) - 1
        k_high = min(max(k_high, k_low), last)
        out[j - low, 0], out[j - low, 1] = k_low, k_high - k_low + 1
    return out


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
