r"""The population likelihood and its gradient, in one pass over the stars.

For star *i*, component *c* and age node *k*, with the hyperparameters θ[c, k, :] (columns in
`likelihood.theta`) and the star's own error variances :math:`e^2`, the observables are jointly
Gaussian:

.. math::

   R_g &\sim N(\mu, \sigma^2), \qquad
   F \mid R_g \sim N(Z + G (R_g - R_0), s^2), \qquad
   A \mid F \sim N(a + b F, t^2), \qquad
   H \sim N(m, q^2)

   \ln L_i = \ln \sum_{c,k} P_{ck}\, w_{ik}\,
      N(\hat R; V_1)\, N(\hat F \mid \hat R; V_2)\, N(\hat A \mid \hat R, \hat F; V_3)\,
      N(\hat H; V_4)

where *w* is the star's age likelihood over its interim prior, *F* is [Fe/H], *A* is [α/Fe] and
:math:`H = \ln(Z_\max + Z_0)`, :math:`Z_0` = 0.2 kpc (`population.data`). The
latent :math:`R_g`, *F*, *A* are integrated in closed form by conditioning in turn (a Kalman chain):

.. math::

   V_1 &= \sigma^2 + e_R^2, & h &= \sigma^2 / V_1, & R^* &= \mu + h (\hat R - \mu) \\
   C &= s^2 + G^2 h e_R^2, & V_2 &= C + e_F^2, & κ &= (b C + c)/V_2 \\
   V_3 &= b^2 C + t^2 + e_A^2 - κ^2 V_2, & V_4 &= q^2 + e_H^2

The variances follow without division from the determinants :math:`D_2 = V_1 V_2` and
:math:`D_3 = V_1 V_2 V_3`,

.. math::

   N_2 = V_1 C = s^2 V_1 + G^2 \sigma^2 e_R^2, \qquad D_2 = N_2 + e_F^2 V_1, \qquad
   D_3 = b (b e_F^2 - 2 c) N_2 + (t^2 + e_A^2) D_2 - c^2 V_1

with residuals :math:`r_1 = \hat R - \mu`, :math:`r_2 = \hat F - Z - G (R^* - R_0)`,
:math:`r_3 = \hat A - a - b\,[Z + G (R^* - R_0)] - κ r_2`, :math:`r_4 = \hat H - m`. The gradient
follows by hand-written reverse differentiation of the same chain.

*[α/Fe] at an age.* Isochrones of an age know the metallicity, to which [α/Fe] adds: if a star has
an age, its [Fe/H] and [α/Fe] are others than those measured, :math:`\hat F_0 \pm e_0` and
:math:`\hat A_0 \pm e_α`, and their errors are covariant,

.. math::

   \hat A = \hat A_0 + ρ (\hat F - \hat F_0), \qquad
   e_A^2 = e_α^2 - ρ^2 (e_0^2 - e_F^2), \qquad c = -ρ (e_0^2 - e_F^2)

with ρ of the age stage (`isochrones.ages`). This is exact for normal laws; :math:`\hat F` and
:math:`e_F` are of the age node. If the age likelihood and [α/Fe] are taken as independent, the one
error counts twice, and the oldest stars of a thin disc have a mean [α/Fe] that is 0.003 dex low.

Two components are discs. The third, if there is one, holds the *outliers*. Its law is `OUTLIER` at
all ages and its ages are flat, so that its likelihood is the share of outliers times a number of
the star, which is made when the stars are packed:

.. math:: \ln \sum_k p_k w_{ik} N(\mathrm{star} \mid \mathrm{OUTLIER})

θ[2] holds :math:`P_{2k}` = share × *p* and `OUTLIER`; of it only the share, the sum of P, is read.

*The law of radii by place.* Which stars a survey sees at a radius is its own choice, and so is how
large their errors are: far from the Sun all errors of R_g are. What the disc decides is the law of
R_g, of age and of the discs' shares *at given radius today*, which has one hump and does not know
the errors. So P, μ and σ² are of the star's *class* of today's radius. Class 0 has ln P, μ and σ²
in the first columns of `THETA`, each further class in three columns of its own after these
(`n_columns`). A θ without them has one law for all.

*A profile that bends.* The mean of [Fe/H] at given radius need not be a straight line. Each bend
adds to it, in a disc and age, a change of the gradient by *b* about the radius *r*, over a width of
some *w*, less its own tangent at R_0:

.. math::

   B(R) = b\,[φ(R) - φ(R_0) - φ'(R_0) (R - R_0)], \qquad φ(R) = w \ln(1 + e^{(R - r)/w})

so that Z and G stay mean and gradient at R_0. It enters to first order in the error of the star's
radius, by its value and slope at R̂, with the width that the error makes of it,
:math:`w^2 + 3 e_R^2 / π^2`. b, r and w of each bend stand in three columns after those of the
classes, their number in a last one (`n_bends`).

*Skewness.* [Fe/H] at given radius may have a third cumulant, k(R) = k + k' (R - R_0), taken at R̂.
Its law is (1 - k/6 ∂³/∂F³) N(F; m, s²), and so is, whatever the errors, that of the data:

.. math::

   N\,(1 + e), \qquad e = \frac{k}{6 N} \frac{∂^3 N}{∂m^3} = \frac{k}{6} (u^3 - 3 u v), \qquad
   u = \frac{∂ \ln N}{∂m}, \qquad v = -\frac{∂^2 \ln N}{∂m^2}

1 + e is negative in one far wing; in its place stands [1 + e + √((1 + e)² + δ²)]/[1 + √(1 + δ²)],
with δ of `_LEAST`. Of a skewness γ = k/s³ terms of γ² are left out: at γ = 0.3 e is a tenth off.

Layout. Stars are sorted by class and by the age nodes they touch and cut into blocks of `BLOCK`;
within a block all stars share one span of nodes, and every quantity is a contiguous row of `BLOCK`
numbers (see `population.likelihood.layout`). Every loop below then runs over rows with scalar θ,
which the compiler turns into vector instructions: no gather, no branch, no logarithm per node. Rows
are views, indexed by the loop's own counter: the compiler cannot know that a sum of integers is not
negative, and would check element by element whether to count from the end.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.population.likelihood.theta import (
    N_DISCS,
    OUTLIER,
    bend_at,
    column_of_bend,
    column_of_class,
    width_of_laws,
)

#: Stars per block: rows of one block and their scratch fit in the first-level cache.
BLOCK = 64

#: Rows of a block before its node rows: star weight, R_g, e_R², [α/Fe], e_A², H, e_H², ρ, F̂_0 and
#: its e², and ln of the outliers' likelihood times (2π)².
N_STAR_ROWS = 11

LOG_2PI = math.log(2.0 * math.pi)
# The result must not depend on vector width beyond rounding: reassociation is allowed only where
# sums are taken (here everywhere), but infinities and NaNs keep their meaning.
FAST = {"reassoc", "contract", "arcp", "nsz"}
# A component and node whose share of every star of a block is below this has no slope to speak of.
NEGLIGIBLE = 1e-18
# Where a skew law of [Fe/H] would be less than so much of a normal one, it is bent to stay above 0.
_LEAST = 0.02
_SCALE = 1.0 / (1.0 + math.sqrt(1.0 + _LEAST**2))


class Blocks(NamedTuple):
    """Packed stars, as the kernel reads them: block after block, each of `BLOCK` stars.

    `rows` holds rows of `BLOCK` numbers: `N_STAR_ROWS` of a block's stars, then `per_node` of each
    of its age nodes: ln weight, [Fe/H] and its variance and, if five, R_g and its variance, which
    then stand for those of the star. The others are int64, shape (n_blocks,): where a block begins
    in `rows`, its first age node, how many nodes it spans, and its stars' class.
    """

    rows: np.ndarray
    offset: np.ndarray
    first_node: np.ndarray
    n_nodes: np.ndarray
    radius_class: np.ndarray
    per_node: int


class StarRows(NamedTuple):
    """A block's rows, or one star's numbers: R_g, [α/Fe] and H with error variances.

    The last three are of "[α/Fe] at an age" in the module's text: ρ, F̂_0 and its error variance.
    """

    radius: Any
    radius_variance: Any
    alpha: Any
    alpha_variance: Any
    height: Any
    height_variance: Any
    alpha_rate: Any
    own_feh: Any
    own_feh_variance: Any


class Law(NamedTuple):
    """θ of one component and age after the weight, with the mean [Fe/H] at R = 0 for Z."""

    mu: float
    sig2: float
    Zc: float
    G: float
    s2: float
    a: float
    b: float
    t2: float
    m: float
    q2: float


@intrinsic
def _power_of_two(typingctx: Any, n: Any) -> Any:
    """Return 2**n for a whole number n that is a double, in [-1022, 1023], without a call.

    In n + 1.5 × 2⁵² the last bits of the mantissa are n, in two's complement; moved up and offset
    they are the exponent field of the result. A conversion to int64 would be done lane by lane.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(64)
        shifted = builder.fadd(args[0], ir.Constant(ir.DoubleType(), 1.5 * 2.0**52))
        bits = builder.add(builder.bitcast(shifted, wide), ir.Constant(wide, 1023))
        field = builder.shl(bits, ir.Constant(wide, 52))
        return builder.bitcast(field, ir.DoubleType())

    return types.float64(types.float64), codegen


@njit(inline="always")
def _exp(x: float) -> float:
    """Return exp(x) for x <= 0 to ~2e-16, and 1e-100 below -230, written so that it vectorises.

    Nothing is lost: the sum it enters is at least 1. No product of such terms becomes a subnormal
    number, which would cost a hundred times the time of an ordinary one.
    Range reduction x = n ln 2 + r with |r| <= ln 2 / 2, Taylor series of degree 12 in r.
    """
    x = max(x, -230.0)
    n = np.floor(x * 1.4426950408889634 + 0.5)  # a double; math.floor's integer is made by lane
    r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * _power_of_two(n)


@njit(inline="always")
def star_rows(table: np.ndarray, base: int) -> StarRows:
    """Return a block's rows of its stars."""
    return StarRows(
        table[base + 1], table[base + 2], table[base + 3], table[base + 4], table[base + 5],
        table[base + 6], table[base + 7], table[base + 8], table[base + 9],
    )  # fmt: skip


@njit(forceinline=True)
def at_node(star, table, node, per_node):  # type: ignore[no-untyped-def]
    """Return a block's rows of its stars as they are if they have the age of a node."""
    if per_node == 3:
        return star
    _, _, A, eA, z, ez, rate, F0, eF0 = star
    return StarRows(table[node + 3], table[node + 4], A, eA, z, ez, rate, F0, eF0)


@njit(inline="always")
def one_star(rows: StarRows, i: int) -> StarRows:
    """Return the numbers of the star at position `i`."""
    R, eR, A, eA, z, ez, rate, F0, eF0 = rows
    return StarRows(R[i], eR[i], A[i], eA[i], z[i], ez[i], rate[i], F0[i], eF0[i])


class Bends(NamedTuple):
    """What the bends are to a block's stars.

    `value` and `slope`, shape (n_bends, `BLOCK`), of the tangent to B/b at R̂: its value at R_0, and
    its gradient; `shift` and `tilt`, shape (`BLOCK`,), the same of all bends in one disc and age.
    """

    value: np.ndarray
    slope: np.ndarray
    shift: np.ndarray
    tilt: np.ndarray


@njit(inline="always")
def empty_bends(n: int) -> Bends:
    """Make room for the bends of a block."""
    shape = (n, BLOCK)
    return Bends(np.empty(shape), np.empty(shape), np.empty(BLOCK), np.empty(BLOCK))


@njit(inline="always")
def fill_bends(theta, radius, variance, bend):  # type: ignore[no-untyped-def]
    """Fill value and slope of every bend at a block's stars."""
    n = len(bend.value)
    for j in range(n):
        at = column_of_bend(theta.shape[2], n, j)
        r, w = theta[0, 0, at + 1], theta[0, 0, at + 2]
        for i in range(BLOCK):
            value, slope = bend_at(radius[i], variance[i], r, w)
            bend.value[j, i] = value - slope * (radius[i] - PIVOT_RADIUS)
            bend.slope[j, i] = slope


@njit(inline="always")
def add_bends(th, bend):  # type: ignore[no-untyped-def]
    """Fill what all bends of one disc and age add to Z and G of a block's stars."""
    n = len(bend.value)
    for i in range(BLOCK):
        bend.shift[i] = 0.0
        bend.tilt[i] = 0.0
    for j in range(n):
        b = th[column_of_bend(len(th), n, j)]
        for i in range(BLOCK):
            bend.shift[i] += b * bend.value[j, i]
            bend.tilt[i] += b * bend.slope[j, i]


@njit(forceinline=True)
def of_star(law, bend, i):  # type: ignore[no-untyped-def]
    """Return the law that star `i` of a block sees: that of all, if the profile has no bend."""
    if bend is None:
        return law
    mu, sig2, Zc, G, s2, a, b, t2, m, q2 = law
    Zc += bend.shift[i] - bend.tilt[i] * PIVOT_RADIUS
    return Law(mu, sig2, Zc, G + bend.tilt[i], s2, a, b, t2, m, q2)


@njit(inline="always")
def law_of(th: np.ndarray, at: int) -> Law:
    """Return θ of one component and age; `at` is the column of a class's ln P."""
    Zc = th[3] - th[4] * PIVOT_RADIUS
    return Law(th[at + 1], th[at + 2], Zc, th[4], th[5], th[6], th[7], th[8], th[9], th[10])


@njit(inline="always")
def alpha_of(star: StarRows, F: float, eF: float) -> tuple[float, float, float]:
    """Return a star's [α/Fe] if it has an age, its error variance and covariance with [Fe/H]."""
    learned = star.own_feh_variance - eF
    shared = -star.alpha_rate * learned
    moved = star.alpha_rate * (F - star.own_feh)
    return star.alpha + moved, star.alpha_variance + star.alpha_rate * shared, shared


@njit(inline="always")
def inverse_variances(eR, eF, eA, shared, ez, law):  # type: ignore[no-untyped-def]
    """Return 1/V1 … 1/V4, C/V2, κ and 1/(V1 V2 V3 V4), for the price of one division."""
    V1 = law.sig2 + eR
    N2 = law.s2 * V1 + law.G * law.G * law.sig2 * eR
    D2 = N2 + eF * V1
    D3 = law.b * N2 * (law.b * eF - 2.0 * shared) + (law.t2 + eA) * D2 - shared * shared * V1
    V4 = law.q2 + ez
    V12 = V1 * D2
    V123 = V12 * D3
    inverse = 1.0 / (V123 * V4)
    i4 = inverse * V123
    of_123 = inverse * V4
    iD3 = of_123 * V12
    of_12 = of_123 * D3
    iD2 = of_12 * V1
    i2 = V1 * iD2
    hF = N2 * iD2
    return of_12 * D2, i2, D2 * iD3, i4, hF, law.b * hF + shared * i2, iD3 * i4


@njit(forceinline=True, fastmath=FAST, error_model="numpy")
def log_normal(star: StarRows, F: float, eF: float, law: Law) -> tuple[float, float]:
    """Return -χ²/2 of one star at one component and age, and 1/(V1 V2 V3 V4)."""
    A, eA, shared = alpha_of(star, F, eF)
    i1, i2, i3, i4, _, of_r2, product = inverse_variances(
        star.radius_variance, eF, eA, shared, star.height_variance, law
    )
    r1 = star.radius - law.mu
    mF = law.Zc + law.G * (law.mu + law.sig2 * i1 * r1)
    r2 = F - mF
    r3 = A - law.a - law.b * mF - of_r2 * r2
    r4 = star.height - law.m
    return -0.5 * (r1 * r1 * i1 + r2 * r2 * i2 + r3 * r3 * i3 + r4 * r4 * i4), product


@njit(forceinline=True, fastmath=FAST, error_model="numpy")
def skew_factor(star, F, eF, law, k, k_slope):  # type: ignore[no-untyped-def]
    """Return by what skewness multiplies the law of one star at one component and age."""
    A, eA, shared = alpha_of(star, F, eF)
    i1, i2, i3, _, _, of_r2, _ = inverse_variances(
        star.radius_variance, eF, eA, shared, star.height_variance, law
    )
    mF = law.Zc + law.G * (law.mu + law.sig2 * i1 * (star.radius - law.mu))
    r2 = F - mF
    rest = law.b - of_r2
    u = r2 * i2 + rest * i3 * (A - law.a - law.b * mF - of_r2 * r2)
    v = i2 + rest * rest * i3
    k += k_slope * (star.radius - PIVOT_RADIUS)
    y = 1.0 + k * (1.0 / 6.0) * u * (u * u - 3.0 * v)
    return _SCALE * (y + math.sqrt(y * y + _LEAST * _LEAST))


@njit(cache=True, nogil=True, error_model="numpy")
def fill_outliers(blocks, log_age):  # type: ignore[no-untyped-def]
    """Write the outliers' row of every block; `log_age`, shape (n_ages,), is their ln P(age)."""
    rows, offset, first_node, n_nodes, _, per_node = blocks
    table = rows.reshape((-1, BLOCK))
    th = np.zeros(len(OUTLIER) + 1)
    for q in range(len(OUTLIER)):
        th[q + 1] = OUTLIER[q]
    law = law_of(th, 0)
    terms = np.empty(len(log_age))
    for j in range(len(offset)):
        base = offset[j] // BLOCK
        stars = star_rows(table, base)
        for i in range(BLOCK):
            top = -1e300
            for kk in range(n_nodes[j]):
                node = base + N_STAR_ROWS + per_node * kk
                here = at_node(stars, table, node, per_node)
                F, eF = table[node + 1, i], table[node + 2, i]
                chi, product = log_normal(one_star(here, i), F, eF, law)
                terms[kk] = (
                    table[node, i] + log_age[first_node[j] + kk] + chi + 0.5 * math.log(product)
                )
                top = max(top, terms[kk])
            total = 0.0
            for kk in range(n_nodes[j]):
                total += math.exp(terms[kk] - top)
            table[base + N_STAR_ROWS - 1, i] = top + math.log(total)


@njit(inline="always")
def log_share_of_outliers(theta):  # type: ignore[no-untyped-def]
    """Return ln of the share of outliers, the sum of P over ages."""
    total = 0.0
    for k in range(theta.shape[1]):
        total += math.exp(theta[N_DISCS, k, 0])
    return math.log(total)


@njit(forceinline=True, fastmath=FAST, error_model="numpy")
def add_skewness(  # type: ignore[no-untyped-def]
    skewed, k, k_slope, dm, dC, da, db, dt2, R, C, m, u_of_alpha, i2, i3, rest
):
    """Add the slopes of ln(1 + e) to those of ln N by m, C, a, b and t²; return also by k and k'.

    u and v of the module's text are d·V⁻¹ρ and d·V⁻¹d, with V the covariance of the residuals ρ of
    [Fe/H] and [α/Fe] and d = (1, b); c is what [α/Fe] has of V⁻¹d.
    """
    if skewed is None:
        return dm, dC, da, db, dt2, 0.0, 0.0
    u, c, x = dm, rest * i3, R - PIVOT_RADIUS
    v = i2 + rest * c
    k = (k + k_slope * x) * (1.0 / 6.0)
    third = u * (u * u - 3.0 * v)
    y = 1.0 + k * third
    per = 1.0 / math.sqrt(y * y + _LEAST * _LEAST)
    of_u, of_v, of_k = 3.0 * k * per * (u * u - v), -3.0 * k * per * u, third * per * (1.0 / 6.0)
    db += of_u * (u_of_alpha - C * (c * u + v * u_of_alpha) - m * c)
    db += of_v * 2.0 * c * (1.0 - C * v)
    return (
        dm - of_u * v,
        dC - (of_u * u + of_v * v) * v,
        da - of_u * c,
        db,
        dt2 - (of_u * u_of_alpha + of_v * c) * c,
        of_k,
        of_k * x,
    )


@njit(forceinline=True, fastmath=FAST, error_model="numpy")
def slopes(star, F, eF, law, skewed, k, k_slope):  # type: ignore[no-untyped-def]
    """Return ∂ ln N(star | c, k) / ∂θ for θ after the weight, in order."""
    R, eR, _, _, z, ez, _, _, _ = star
    mu, sig2, Zc, G, s2, a, b, _, m, _ = law
    A, eA, shared = alpha_of(star, F, eF)
    i1, i2, i3, i4, hF, of_r2, _ = inverse_variances(eR, eF, eA, shared, ez, law)
    r1 = R - mu
    h = sig2 * i1
    Rs = mu + h * r1
    vR = h * eR
    mF = Zc + G * Rs
    r2 = F - mF
    u1 = r1 * i1
    u2 = r2 * i2
    u3 = (A - a - b * mF - of_r2 * r2) * i3
    u4 = (z - m) * i4
    D3 = 0.5 * (u3 * u3 - i3)
    rest = b - of_r2
    dmF = u3 * rest + u2
    dC = 0.5 * (u2 * u2 - i2) + u3 * u2 * rest + D3 * rest * rest
    C, da = s2 + G * G * vR, u3
    db = u3 * (mF + hF * r2) + 2.0 * D3 * rest * C
    dmF, dC, da, db, D3, dk, dk_slope = add_skewness(
        skewed, k, k_slope, dmF, dC, da, db, D3, R, C, mF, u3, i2, i3, rest
    )
    dRs = dmF * G
    dh = dRs * r1 + dC * G * G * eR
    return (
        dRs * (1.0 - h) + u1,
        0.5 * (u1 * u1 - i1) + dh * eR * i1 * i1,
        dmF,
        dmF * (Rs - PIVOT_RADIUS) + 2.0 * dC * G * vR,
        dC,
        da,
        db,
        D3,
        u4,
        0.5 * (u4 * u4 - i4),
        dk,
        dk_slope,
    )


# Inlined into its callers. As a function of its own it is compiled once for itself and once more
# within its caller, with additions in another order, and which of the two runs depends on whether
# the caller was compiled just now or long ago.
@njit(forceinline=True, nogil=True, fastmath=FAST, error_model="numpy")
def probabilities(  # type: ignore[no-untyped-def]
    table,
    per_node,
    base,
    k0,
    span,
    at,
    theta,
    log_share,
    bend,
    skewed,
    probability,
    root,
    top,
    total,
):
    """Fill exp(ln p(c, k, star) - top) of one block, up to (2π)², and its sum over (c, k).

    `table` has a row of `BLOCK` numbers for each quantity, the block's own from row `base` on; `at`
    is the column of its class's ln P; `bend`, None of a straight profile, is filled; `skewed` is
    None if [Fe/H] is not. `probability`
    and `root` have one for each (c, k) of the discs, and a last one for the outliers, of whose
    share `log_share` is ln.
    """
    B = BLOCK
    n_discs = min(theta.shape[0], N_DISCS)
    star = star_rows(table, base)
    if bend is not None:
        fill_bends(theta, star.radius, star.radius_variance, bend)
    for i in range(B):
        top[i] = -1e300
        total[i] = 0.0
    for c in range(n_discs):
        for kk in range(span):
            th = theta[c, k0 + kk]
            lnp, law = th[at], law_of(th, at)
            node = base + N_STAR_ROWS + per_node * kk
            here = at_node(star, table, node, per_node)
            lnw, F, eF = table[node], table[node + 1], table[node + 2]
            lnp_out, root_out = probability[c * span + kk], root[c * span + kk]
            if bend is not None:
                add_bends(th, bend)
            for i in range(B):
                mine = of_star(law, bend, i)
                chi, product = log_normal(one_star(here, i), F[i], eF[i], mine)
                lnp_out[i] = lnw[i] + lnp + chi
                root_out[i] = math.sqrt(product)
                if skewed is not None:
                    root_out[i] *= skew_factor(one_star(here, i), F[i], eF[i], mine, th[11], th[12])
            for i in range(B):
                top[i] = max(top[i], lnp_out[i])
    n_rows = n_discs * span
    if theta.shape[0] > N_DISCS:
        of_outliers = table[base + N_STAR_ROWS - 1]
        p_out, root_out = probability[n_rows], root[n_rows]
        for i in range(B):
            p_out[i] = of_outliers[i] + log_share
            root_out[i] = 1.0
            top[i] = max(top[i], p_out[i])
        n_rows += 1
    for ck in range(n_rows):
        p_out, root_out = probability[ck], root[ck]
        for i in range(B):
            p = _exp(p_out[i] - top[i]) * root_out[i]
            p_out[i] = p
            total[i] += p


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def log_likelihood_blocks(  # type: ignore[no-untyped-def]
    blocks, theta, n_bent, skewed, start, stop, log_like, responsibility, gradient
):
    """Add up Σ weight · ln L over the blocks `start` to `stop`, and its gradient in θ.

    Arrays of size 0 are skipped; `blocks` is a `Blocks`; `n_bent` is the number of bends, None for
    a straight profile, which has code of its own, as None for `skewed` has. Each star's ln L is
    written to `log_like` at ``(block - start) * BLOCK + position``, and P(c, k | star i) likewise
    to `responsibility`, shape (n_components, n_ages, n); the gradient is added to `gradient`, of
    θ's shape.
    """
    rows, offset, first_node, n_nodes, radius_class, per_node = blocks
    n_comp = min(theta.shape[0], N_DISCS)
    outliers = theta.shape[0] > N_DISCS
    widest = 1
    for j in range(start, stop):
        widest = max(widest, n_nodes[j])
    table = rows.reshape((-1, BLOCK))
    probability = np.empty((n_comp * widest + 1, BLOCK))
    root = np.empty((n_comp * widest + 1, BLOCK))  # 1 / sqrt(V1 V2 V3 V4)
    log_share = log_share_of_outliers(theta) if outliers else 0.0
    share_of_outliers = 0.0
    top = np.empty(BLOCK)
    total = np.empty(BLOCK)
    bend = None if n_bent is None else empty_bends(n_bent)
    width = width_of_laws(theta, n_bent)
    of_Z, of_G = np.empty(BLOCK), np.empty(BLOCK)
    total_ll = 0.0
    B = BLOCK
    for j in range(start, stop):
        base = offset[j] // B
        span = n_nodes[j]
        k0 = first_node[j]
        at = column_of_class(width, radius_class[j])
        probabilities(
            table, per_node, base, k0, span, at, theta, log_share, bend, skewed, probability, root,
            top, total,
        )  # fmt: skip
        weight = table[base]
        for i in range(B):
            ln_L = top[i] + math.log(total[i]) - 2.0 * LOG_2PI
            if log_like.size > 0:
                log_like[(j - start) * B + i] = ln_L
            total_ll += weight[i] * ln_L
            total[i] = weight[i] / total[i]
        if responsibility.size > 0:
            for c in range(n_comp):
                for kk in range(span):
                    p = probability[c * span + kk]
                    for i in range(B):
                        scale = total[i] / weight[i] if weight[i] > 0.0 else 0.0
                        responsibility[c, k0 + kk, (j - start) * B + i] = p[i] * scale
        star = star_rows(table, base)
        if outliers:
            p = probability[n_comp * span]
            for i in range(B):
                share_of_outliers += p[i] * total[i]
            if responsibility.size > 0:
                # Over ages as the row of the outliers was made.
                for kk in range(span):
                    node = base + N_STAR_ROWS + per_node * kk
                    here = at_node(star, table, node, per_node)
                    th = theta[N_DISCS, k0 + kk]
                    law = law_of(th, 0)
                    for i in range(B):
                        F, eF = table[node + 1, i], table[node + 2, i]
                        chi, product = log_normal(one_star(here, i), F, eF, law)
                        lnp = table[node, i] + th[0] + chi + 0.5 * math.log(product) - top[i]
                        scale = total[i] / weight[i] if weight[i] > 0.0 else 0.0
                        responsibility[N_DISCS, k0 + kk, (j - start) * B + i] = (
                            math.exp(lnp) * scale
                        )
        if gradient.size == 0:
            continue
        for c in range(n_comp):
            for kk in range(span):
                p = probability[c * span + kk]
                share = 0.0
                for i in range(B):
                    share += p[i] * total[i]
                if share < NEGLIGIBLE:
                    continue
                th = theta[c, k0 + kk]
                law = law_of(th, at)
                node = base + N_STAR_ROWS + per_node * kk
                here = at_node(star, table, node, per_node)
                F, eF = table[node + 1], table[node + 2]
                g1 = g2 = g3 = g4 = g5 = g6 = g7 = g8 = g9 = g10 = g11 = g12 = 0.0
                if bend is not None:
                    add_bends(theta[c, k0 + kk], bend)
                for i in range(B):
                    w = p[i] * total[i]
                    d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12 = slopes(
                        one_star(here, i), F[i], eF[i], of_star(law, bend, i), skewed, th[11],
                        th[12],
                    )  # fmt: skip
                    if bend is not None:
                        of_Z[i] = w * d3
                        of_G[i] = w * d4
                    g1 += w * d1
                    g2 += w * d2
                    g3 += w * d3
                    g4 += w * d4
                    g5 += w * d5
                    g6 += w * d6
                    g7 += w * d7
                    g8 += w * d8
                    g9 += w * d9
                    g10 += w * d10
                    if skewed is not None:
                        g11 += w * d11
                        g12 += w * d12
                g = gradient[c, k0 + kk]
                g[at] += share
                g[at + 1] += g1
                g[at + 2] += g2
                g[3] += g3
                g[4] += g4
                g[5] += g5
                g[6] += g6
                g[7] += g7
                g[8] += g8
                g[9] += g9
                g[10] += g10
                g[11] += g11
                g[12] += g12
                if bend is not None:
                    for q in range(n_bent):
                        of_b = 0.0
                        for i in range(B):
                            of_b += of_Z[i] * bend.value[q, i] + of_G[i] * bend.slope[q, i]
                        g[column_of_bend(len(g), n_bent, q)] += of_b
    if outliers and gradient.size > 0:
        for k in range(theta.shape[1]):
            share = math.exp(theta[N_DISCS, k, 0] - log_share)
            gradient[N_DISCS, k, 0] += share * share_of_outliers
    return total_ll
