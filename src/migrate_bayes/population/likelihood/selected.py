r"""The likelihood of stars that a survey selected: θ is normalised for the selection at the seam.

A survey's limits and cuts take a star of component *c*, age *k* and [Fe/H] *F* at today's radius
*r* with the probability :math:`S_{ck}(F, r)`, whatever its guiding radius *R*. A cut on noisy data,
in S/N or in the quoted error of an age, is a function of the data, so that it is part of S and
changes nothing else. If P(c, k), μ and σ are those of the *sample* at r and Z, G, s, a, b those of
the *population*, the law of the latent (R, F) is

.. math::

   P_{ck}\, N(R; μ, σ^2)\, \frac{N(F; m(R), s^2)\, S_{ck}(F, r)}{α_{ck}(R)}, \qquad
   α_{ck}(R) = \int N(F; m(R), s^2)\, S_{ck}(F, r)\, dF, \qquad m(R) = Z + G (R - R_0)

divided by S: whether a star passes is seen in its data, so that S, the mean over their errors,
stands in the normaliser alone. r is that of a star's class of today's radius, which has its own P,
μ and σ; of stars without classes it is R. A factor of S that depends on r alone cancels, so that no
density of the Galaxy is needed. The *level* of S at an age, its mean over `REFERENCE`, the [Fe/H]
of discs, does not: data that fit two ages are more likely of that of which fewer are taken, if as
many are in the sample. It is bounded as -ln α is: P, a spline, cannot end where nothing is taken.

Of a survey that knows what it takes at a star's *place*, that is the level, and the normaliser of
P, which is then of the stars that are there: `likelihood.places`.

α is a sum over points in [Fe/H], at equal steps finer than any disc is wide: smooth in (Z, G, s),
as a quadrature that moves with the law over the table's corners is not. It is calculated at fixed
radii. Below −4 its logarithm is bent, to end at −5 (`_MOST`).

:math:`-\ln α` is replaced by a parabola in R, that which fits the survey's own stars best, by
least squares over the radii of those of a disc, age and class (`radii_of`): what it lacks then has
no sum over the stars, whatever the law of their radii. With :math:`R = μ + σ t` it is

.. math::

   -\ln α ≈ a_0 + a_1 t + a_2 (t^2 - 1), \qquad D = 1 - 2 a_2

and the product with N(R; μ, σ²) is a normal law again, so that the kernel is called with θ′:

.. math::

   σ'^2 = σ^2 / D, \qquad μ' = μ + a_1 σ / D, \qquad
   \ln P' = \ln P + a_0 - a_2 + \frac{a_1^2}{2 D} - \tfrac{1}{2} \ln D

ΣP′ is not 1: it carries the normaliser. Each age node has its own, which only stars at that node
feel: a node without stars moves nothing. D is kept above `LEAST_CURVATURE`.

**Error of S.** A table made of a limited number of injections has an error, by independent
directions δ_j: :math:`\ln S + \sum_j z_j δ_j`, z_j ~ N(0, 1). The stars know nothing of z: S is an
integral over what they might have been, and a likelihood that was free to choose z would take
whatever makes α small. So z keeps its law, and moves the posterior of the parameters x to first
order:

.. math:: x \leftarrow x + C \sum_j z_j \frac{\partial}{\partial z_j} \nabla_x \ln L

with C the posterior's covariance (`sampling.posterior`).
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
import xarray as xr
from numba import njit
from numpy.typing import NDArray
from scipy.special import logsumexp

from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.core.errors import FitError
from migrate_bayes.core.parallel import BLOCKS_PER_TASK, blocks
from migrate_bayes.population.likelihood.layout import (
    ABSENT_VARIANCE,
    PackedStars,
    run_of_blocks,
    unpack,
)
from migrate_bayes.population.likelihood.op import Likelihood, WrappedLikelihood
from migrate_bayes.population.likelihood.places import OF_HEIGHT, Places, Taken, between
from migrate_bayes.population.likelihood.theta import (
    THETA,
    bend_columns,
    bends,
    columns_of_classes,
    end_of_laws,
    is_skewed,
    with_laws,
)
from migrate_bayes.selection.conditions import dividing_line

Floats = NDArray[np.float64]

#: Least D: below it the selection would widen the law of radii more than fivefold in variance.
LEAST_CURVATURE = 0.2

# Columns of the third cumulant and of its slope.
_THIRD = [THETA.index("k"), THETA.index("k_slope")]

# ln S of what is never taken.
_NEVER = -40.0
# From here on -ln α bends, and ends at 1 more. S stands in the normaliser alone: a law of [Fe/H]
# that lies where nothing is ever taken, above the end of the isochrones, would gain -ln α without
# end for each star in the wing of its errors, and be the posterior's maximum.
_MOST = 4.0
_LEAST = 1e-200  # α of a law that a climb may try
_FARTHEST = 36.0  # standard deviations: e^(z²/2) is a number
# Laws of radii that are wider (kpc), or farther off, than any survey looks are refused: at 1e10 kpc
# what P' and the law must cancel leaves a rounding error of 1e5 a star, which a climb would take.
_WIDEST = 1e3


#: Mean at age 0, its change with age (dex/Gyr), and sd of the [Fe/H] of thin and thick disc, by
#: which levels are told. By the highest S, at [Fe/H] = -2, every old star became a thick one.
REFERENCE = ((-0.05, -0.035, 0.2), (-0.5, 0.0, 0.2))

# Widest steps of the sums over [Fe/H] (dex) and of the radii (kpc) at which α is calculated. At
# 0.025 dex the sum of a law of s = 0.02 dex is its integral to 1e-5, of s = 0.03 to 1e-12.
_STEP_FEH, _STEP_RADIUS = 0.025, 0.5
# ln(height) above which a star without [α/Fe] counts as one of the thick disc: Z_max of 1 kpc.
_HIGH = math.log(1.2)
# Stars that those of an age borrow from the disc's other ages for their radii.
_BORROWED = 3.0
# How far from today's radius of a class, and at which steps, α is calculated; without classes, how
# far beyond the table's radii. kpc.
_FAR, _STEP_CLASS, _BEYOND = 4.0, 1.0, 2.0


def level_of(log_s: Floats, ages: Floats, feh: Floats) -> Floats:
    """Return ln of the mean of S over `REFERENCE`, shape (2, n_ages, n_radii, 1)."""
    mean, rate, sd = (np.array(of)[:, None, None, None] for of in zip(*REFERENCE, strict=True))
    law = -0.5 * ((feh - mean - rate * ages[:, None, None]) / sd) ** 2
    return logsumexp(log_s + law - logsumexp(law, axis=3, keepdims=True), axis=3, keepdims=True)


class Completeness(NamedTuple):
    """ln S on a regular grid.

    Parameters
    ----------
    radius : ndarray, shape (n_radii,)
        Today's, kpc, at equal steps.
    feh : ndarray, shape (n_feh,)
        dex, at equal steps. Beyond the ends of both S is that of the end.
    log_s : ndarray, shape (2, n_ages, n_radii, n_feh)
        ln S of the thin and the thick disc, for each disc, age and radius less its level.
    level : ndarray, shape (2, n_ages, n_radii)
        ln of the level over the highest at a radius, at least -4; 0 if shares are known.
    directions : ndarray, shape (2, n_ages, n_radii, n_feh, n_directions)
        Independent errors of ln S, each of one standard deviation.
    modulus : ndarray, shape (n_moduli,)
        mag, at equal steps: G - M_G of places; none if shares are not known.
    log_share : ndarray, shape (2, n_ages, n_moduli)
        ln of the share taken there, of the stars of each disc and age; see `likelihood.places`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes.population.likelihood.selected import Completeness
    >>> axes = {"age": [1.0, 9.0], "r_present": [5.0, 8.0, 11.0], "feh": [-1.0, -0.25, 0.5]}
    >>> table = xr.Dataset({"ln_s": (tuple(axes), np.zeros((2, 3, 3)))}, coords=axes)
    >>> Completeness.of(table, np.array([1.0, 5.0, 9.0])).log_s.shape
    (2, 3, 3, 3)
    """

    radius: Floats
    feh: Floats
    log_s: Floats
    level: Floats
    directions: Floats
    modulus: Floats
    log_share: Floats

    @classmethod
    def of(cls, table: xr.Dataset, ages: Floats) -> Completeness:
        """Take `ln_s` on ([component], age, r_present, feh) of a table to the age nodes of a fit.

        Between its ages ln S is linear, beyond them that of the end; so are, if the table has them,
        `ln_share` on ([component], age, modulus), and `ln_s_error` with the dimension `direction`
        more. A `FitError` is raised if a dimension is missing, an axis has unequal steps, or a
        value NaN.
        """
        wanted = {"age", "r_present", "feh"}
        if "ln_s" not in table or wanted - set(table["ln_s"].dims):
            raise FitError("a completeness table has `ln_s` on the dimensions age, r_present, feh")
        none = xr.DataArray(np.empty(0), dims="direction") * table["ln_s"]
        nowhere = xr.DataArray(np.empty(0), dims="modulus") * table["age"]
        share = table.get("ln_share", nowhere)
        if "modulus" not in share.dims:
            raise FitError("ln_share of a completeness table is on the dimensions age, modulus")
        arrays = [
            table["ln_s"].expand_dims("direction"), table.get("ln_s_error", none),
            share.rename(modulus="direction").expand_dims(["r_present", "feh"]),
        ]  # fmt: skip
        for i, array in enumerate(arrays):
            if "component" not in array.dims:
                array = array.expand_dims(component=["thin", "thick"])
            if missing := {"thin", "thick"} - {str(name) for name in array["component"].values}:
                names = ", ".join(sorted(missing))
                raise FitError(f"the completeness table has no component {names}")
            dims = "component", "age", "r_present", "feh", "direction"
            arrays[i] = array.sel(component=["thin", "thick"]).transpose(*dims)
            if bool(arrays[i].isnull().any()):
                raise FitError("the completeness table has values that are NaN")
        axes = [np.asarray(table[name].values, dtype=float) for name in ("age", "r_present", "feh")]
        modulus = np.asarray(share["modulus"].values, dtype=float)
        for name, axis in (("r_present", axes[1]), ("feh", axes[2]), ("modulus", modulus)):
            step = np.diff(axis)
            if name == "modulus" and not len(axis):
                continue
            if len(axis) < 2 or step.min() <= 0 or np.ptp(step) > 1e-6 * step.mean():
                raise FitError(f"the axis {name} of the completeness table has unequal steps")
        first = np.clip(np.searchsorted(axes[0], ages) - 1, 0, max(len(axes[0]) - 2, 0))
        last = np.minimum(first + 1, len(axes[0]) - 1)
        width = np.where(last > first, axes[0][last] - axes[0][first], 1.0)
        upper = np.clip((ages - axes[0][first]) / width, 0.0, 1.0)[:, None, None, None]

        log_s, directions, share = (
            (1.0 - upper) * values[:, first] + upper * values[:, last]
            for values in (array.values.astype(float) for array in arrays)
        )
        level = level_of(log_s[..., 0], ages, axes[2])
        log_s = np.maximum(log_s[..., 0] - level, _NEVER)
        level = np.maximum(level - level.max(axis=(0, 1)), -_MOST)[..., 0] * (not len(modulus))
        return cls(
            axes[1], axes[2], log_s, level, np.ascontiguousarray(directions), modulus,
            share[:, :, 0, 0],
        )  # fmt: skip

    def at(
        self, component: NDArray[np.int64], node: NDArray[np.int64], today: Floats, feh: Floats
    ) -> Floats:
        """Return ln S of stars, shape (n, m), at `feh` of that shape; 0 of outliers."""
        (i, u), (m, e) = between(today[:, None], self.radius), between(feh, self.feh)
        c = np.minimum(component, 1)[:, None]
        table, k = self.log_s, node[:, None]
        low = (1.0 - e) * table[c, k, i, m] + e * table[c, k, i, m + 1]
        high = (1.0 - e) * table[c, k, i + 1, m] + e * table[c, k, i + 1, m + 1]
        return np.where(component[:, None] < 2, (1.0 - u) * low + u * high, 0.0)


def todays(
    centre: NDArray[np.floating], radius_class: NDArray[np.int64], radius: NDArray[np.floating]
) -> Floats:
    """Return today's radius (kpc) as S knows it: that of a star's class; R if there are none."""
    known = np.isfinite(centre).all()
    return np.asarray(centre[radius_class] if known else radius, dtype=np.float64)


def _finer(values: Floats, parts: int) -> Floats:
    """Return values at equal steps of the last axis with `parts` times as many, linear between."""
    share = np.arange(parts) / parts
    inner = values[..., :-1, None] + share * np.diff(values, axis=-1)[..., None]
    inner = inner.reshape(*values.shape[:-1], -1)
    return np.concatenate([inner, values[..., -1:]], axis=-1)


class _Comb(NamedTuple):
    """S as weights of points: α is a sum of the law of [Fe/H] over them, smooth in its parameters.

    `radius`, shape (n_classes, n_radii), are R at equal steps; `feh` (n_feh,) too; `weight`
    (2, n_ages, n_feh, n_classes · n_radii), the integral of S, whose logarithm is linear between
    the table's points, over the cell of each point; `below` (2, n_ages, n_classes · n_radii), S
    below the first cell; `level` of that shape.
    """

    radius: Floats
    feh: Floats
    weight: Floats
    below: Floats
    level: Floats

    @classmethod
    def of(cls, completeness: Completeness, centre: NDArray[np.floating]) -> _Comb:
        """Take a table to steps that are small enough, at the radii of classes (kpc)."""
        axis, feh, log_s = completeness.radius, completeness.feh, completeness.log_s
        parts = int(np.ceil((feh[1] - feh[0]) / _STEP_FEH - 1e-6))
        feh, log_s = _finer(feh, parts), _finer(log_s, parts)
        if np.isfinite(centre).all():
            radius = centre[:, None] + np.arange(-_FAR, _FAR + 0.01, _STEP_CLASS)
            place = np.broadcast_to(centre[:, None], radius.shape)
        else:
            n = int(np.ceil((np.ptp(axis) + 2.0 * _BEYOND) / _STEP_RADIUS)) + 1
            line = np.linspace(axis[0] - _BEYOND, axis[-1] + _BEYOND, n)
            radius = place = np.tile(line, (len(centre), 1))
        i, upper = between(place.ravel(), axis)
        level = (1.0 - upper) * completeness.level[..., i] + upper * completeness.level[..., i + 1]
        upper = upper[:, None]
        log_s = (1.0 - upper) * log_s[:, :, i] + upper * log_s[:, :, i + 1]

        rise = np.diff(log_s, axis=3)
        none = np.zeros((*log_s.shape[:3], 1))
        half = 0.5 * np.stack([np.concatenate([rise, none], 3), -np.concatenate([none, rise], 3)])
        # The mean of e^(x u) over 0 < u < 1, for each half of a cell.
        mean = np.where(np.abs(half) < 1e-6, 1.0, np.expm1(half) / np.where(half == 0, 1.0, half))
        weight = 0.5 * (feh[1] - feh[0]) * np.exp(log_s) * mean.sum(axis=0)
        by_feh = np.ascontiguousarray(weight.transpose(0, 1, 3, 2))
        return cls(radius, feh, by_feh, np.exp(log_s[..., 0]), level)


@njit(inline="always")
def _hermites(x: float, N: float) -> tuple[float, float, float]:
    """Return N times the third, fourth and fifth of (probabilists') Hermite's polynomials."""
    q = x * x
    return N * x * (q - 3.0), N * ((q - 6.0) * q + 3.0), N * x * ((q - 10.0) * q + 15.0)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp"})
def _log_alpha(theta, bent, third, radius, feh, weight, below, y):  # type: ignore[no-untyped-def]
    r"""Fill -ln α, ∂/∂m, ∂/∂(s²) and, if skew, ∂/∂k, y of shape (2, n_ages, n_radii, 3 or 4).

    `bent`, shape (2, n_ages, n_radii), is what the bends of the profile add to m at the radii, and
    `third` the third cumulant k of [Fe/H] there, None of a normal law: α is then
    :math:`(1 + \frac{k}{6} ∂^3/∂m^3) \int N S`.
    From one point to the next a normal law changes by a ratio, which itself changes by one factor:
    no exponential for a point, and all radii at once. From the point in the middle outwards the
    law is in range for s of 0.02 dex and more.
    """
    step, last, n_radii = feh[1] - feh[0], len(feh) - 1, len(radius)
    first = feh[0] - 0.5 * step
    start, law, ratio, x = np.empty((4, n_radii))
    alpha, of_m, of_s, three, four, five = np.empty((6, n_radii))
    for c in range(2):
        for k in range(theta.shape[1]):
            Z, G, s = theta[c, k, 3], theta[c, k, 4], np.sqrt(theta[c, k, 5])
            d = step / s
            shrink, norm = np.exp(-d * d), 1.0 / (s * np.sqrt(2.0 * np.pi))
            rise = bent[c, k]
            middle = Z + G * (radius[n_radii // 2] - PIVOT_RADIUS) + rise[n_radii // 2]
            nearest = int(min(max((middle - feh[0]) / step + 0.5, 0.0), last))
            for i in range(n_radii):
                z = (feh[nearest] - Z - G * (radius[i] - PIVOT_RADIUS) - rise[i]) / s
                start[i] = min(max(z, -_FARTHEST), _FARTHEST)
                alpha[i] = weight[c, k, nearest, i]
                of_m[i] = alpha[i] * start[i]
                of_s[i] = alpha[i] * (start[i] * start[i] - 1.0)
                if third is not None:
                    three[i], four[i], five[i] = _hermites(start[i], alpha[i])
            for sign in (1, -1):
                for i in range(n_radii):
                    x[i], law[i] = start[i], 1.0
                    ratio[i] = np.exp(-sign * d * start[i] - 0.5 * d * d)
                for n in range(1, (last - nearest if sign > 0 else nearest) + 1):
                    row = weight[c, k, nearest + sign * n]
                    for i in range(n_radii):
                        law[i] *= ratio[i]
                        ratio[i] *= shrink
                        x[i] += sign * d
                        N = row[i] * law[i]
                        alpha[i] += N
                        of_m[i] += N * x[i]
                        of_s[i] += N * (x[i] * x[i] - 1.0)
                        if third is not None:
                            h3, h4, h5 = _hermites(x[i], N)
                            three[i] += h3
                            four[i] += h4
                            five[i] += h5
            for i in range(n_radii):
                scale = norm * np.exp(-0.5 * start[i] * start[i])
                z = (first - Z - G * (radius[i] - PIVOT_RADIUS) - rise[i]) / s
                N = norm * below[c, k, i] * np.exp(-0.5 * z * z)
                total = alpha[i] * scale + 0.5 * below[c, k, i] * math.erfc(-z * np.sqrt(0.5))
                first_m = of_m[i] * scale / s - N
                first_s = (of_s[i] * scale / s - N * z) * 0.5 / s
                of_k = 0.0
                if third is not None:
                    # The tail's: its law times the polynomial of one degree less.
                    g2, g3, g4 = z * z - 1.0, z * (z * z - 3.0), z**4 - 6.0 * z * z + 3.0
                    sixth = 1.0 / (6.0 * s * s)
                    of_k = (three[i] * scale / s - N * g2) * sixth
                    total += third[c, k, i] * of_k
                    first_m += third[c, k, i] * (four[i] * scale / s - N * g3) * sixth / s
                    first_s += (
                        third[c, k, i] * (five[i] * scale / s - N * g4) * sixth * 0.5 / (s * s)
                    )
                total = max(total, _LEAST)
                value, slope = -np.log(total), -1.0 / total
                if value > _MOST:
                    bend = np.exp(_MOST - value)
                    value, slope = _MOST + 1.0 - bend, slope * bend
                y[c, k, i, 0] = value
                y[c, k, i, 1] = slope * first_m
                y[c, k, i, 2] = slope * first_s
                if third is not None:
                    y[c, k, i, 3] = slope * of_k


def radii_of(stars: PackedStars, radius: Floats) -> Floats:
    """Count the stars of each disc, age and class at radii, (2, n_ages, n_classes, n_radii).

    A star is divided among its ages by its likelihood, and among the two radii (kpc, those of its
    class at equal steps) that it is between. Its disc is told by [α/Fe], or else by its height.
    """
    n_ages, (n_classes, n_radii) = stars.n_ages, radius.shape
    out = np.zeros(2 * n_ages * radius.size)
    for run in blocks(stars.n_blocks, BLOCKS_PER_TASK):
        part, _ = run_of_blocks(stars, *run)
        rows = np.arange(part.n_stars)
        star = unpack(part, rows)
        of_ages = np.exp(star.log_weight - star.log_weight.max(axis=1, keepdims=True))
        of_ages /= of_ages.sum(axis=1, keepdims=True)
        line = dividing_line(star.feh[rows, star.log_weight.argmax(axis=1)])
        thick = np.where(star.height_variance < ABSENT_VARIANCE, star.height > _HIGH, False)
        thick = np.where(star.alpha_variance < ABSENT_VARIANCE, star.alpha > line, thick)
        at = star.radius_at if star.radius_at.shape[1] else star.radius[:, None]
        # The steps of all classes are alike.
        i, upper = between(at - (radius[star.radius_class, :1] - radius[0, 0]), radius[0])
        place = thick[:, None] * n_ages + np.arange(n_ages)
        place = (place * n_classes + star.radius_class[:, None]) * n_radii + i
        for side, share in enumerate((1.0 - upper, upper)):
            weight = (of_ages * share).ravel()
            out += np.bincount((place + side).ravel(), weight, minlength=len(out))
    return out.reshape(2, n_ages, n_classes, n_radii)


def _projection(counts: Floats, radius: Floats) -> Floats:
    """Return the matrices that fit parabolas in x = R - R_0 to values at radii.

    Shape (2, n_ages, n_classes, 3, n_radii). Radii are weighted by their stars: residuals have no
    sum over the stars, and none with x and x². Where there are few, stars of the class and disc at
    all ages count a little.
    """
    of_disc = counts.sum(axis=1, keepdims=True) + 1e-3 * counts.sum(axis=(0, 1)) + 1e-9
    of_disc /= of_disc.sum(axis=-1, keepdims=True)
    weight = counts + (_BORROWED + 0.01 * counts.sum(axis=-1, keepdims=True)) * of_disc
    powers = (radius[:, None] - PIVOT_RADIUS) ** np.arange(3)[:, None]
    weighted = powers * weight[..., None, :]
    return np.linalg.solve(weighted @ np.swapaxes(powers, 1, 2), weighted)


class SelectedLikelihood(WrappedLikelihood):
    """The `Likelihood` of selected stars: `likelihood` at θ′, over Z, as a function of θ."""

    def __init__(
        self, likelihood: Likelihood, completeness: Completeness, stars: PackedStars
    ) -> None:
        super().__init__(likelihood)
        self.completeness, self.stars = completeness, stars
        self._comb = _Comb.of(completeness, stars.class_centre)
        #: Independent errors of ln S.
        self.n_errors = completeness.directions.shape[-1]
        #: Cells (component, age, class) at the last θ whose D was kept at `LEAST_CURVATURE`.
        self.guarded = 0

    @property
    def evaluations(self) -> int:
        """Passes over the stars so far."""
        return self.likelihood.evaluations

    @cached_property
    def _project(self) -> Floats:
        """Shape (2, n_ages, n_classes, 3, n_radii)."""
        return _projection(radii_of(self.stars, self._comb.radius), self._comb.radius)

    def _over(self, likelihood: Likelihood, completeness: Completeness) -> SelectedLikelihood:
        other = SelectedLikelihood(likelihood, completeness, self.stars)
        other._project, other._places = self._project, self._places
        return other

    def subset(self, n_stars: int) -> SelectedLikelihood:
        """Return the likelihood of about `n_stars` of the stars; see `Likelihood.subset`."""
        return self._over(self.likelihood.subset(n_stars), self.completeness)

    def moved(self, direction: int, by: float) -> SelectedLikelihood:
        """Return the likelihood with ln S moved by so many standard deviations of its error."""
        c = self.completeness
        log_s = c.log_s + by * c.directions[..., direction]
        return self._over(self.likelihood, c._replace(log_s=log_s))

    def _selected(self, theta: Floats) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Return θ′, ∂(ln P′, μ′, σ′²)/∂(ln P, μ, σ², Z, G, s², b) of each class, its columns.

        θ′ has a law for each class of the stars, also if θ has one for all.
        """
        theta = np.ascontiguousarray(theta, dtype=np.float64)
        of_bends, radius = bend_columns(theta), self._comb.radius.ravel()
        laws = theta[..., self._laws(theta)]
        shape = (2, *laws.shape[1:3])
        shapes = bends(theta, radius)
        x_of = (radius - PIVOT_RADIUS)[:, None] ** np.arange(2)
        skewed = is_skewed(theta)
        y = np.empty((2, theta.shape[1], len(radius), 3 + skewed))
        bent = theta[:2][..., of_bends] @ shapes
        third = theta[:2][..., _THIRD] @ x_of.T if skewed else None
        _log_alpha(theta, bent, third, radius, *self._comb[1:4], y)
        y[..., 0] -= self._comb.level
        mu, s2 = laws[:2, ..., 1], laws[:2, ..., 2]
        sigma, x = np.sqrt(s2)[..., None], (mu - PIVOT_RADIUS)[..., None]
        # -ln α and its slopes in Z, G, s², b at the radii, and their parabolas.
        of_Z, of_s, of_k = y[..., 1:2], y[..., 2:3], y[..., 3:]
        # Columns Z, G, s², b, and k and its slope if there are.
        inner = [of_Z * x_of, of_s, of_Z * shapes.T, of_k * x_of if skewed else of_k]
        values = np.concatenate([y[..., :1], *inner], axis=-1)
        values = values.reshape(*shape, -1, values.shape[-1])
        p0, p1, p2 = np.moveaxis(self._project @ values, -2, 0)
        # The parabola about μ: a + b (R - μ) + c (R - μ)².
        at, tilt = p0 + (p1 + p2 * x) * x, p1 + 2.0 * p2 * x
        every = np.stack([at + p2 * s2[..., None], tilt * sigma, p2 * s2[..., None]], axis=-2)
        further = values.shape[-1] - 4
        a, da = every[..., 0], np.empty((*shape, 3, 5 + further))
        da[..., 2:] = every[..., 1:]
        tilt, bend, sigma = tilt[..., 0], p2[..., 0], sigma[..., 0]
        da[..., 0, 0], da[..., 1, 0], da[..., 2, 0] = tilt, 2.0 * bend * sigma, 0.0
        da[..., 0, 1], da[..., 1, 1], da[..., 2, 1] = bend, 0.5 * tilt / sigma, bend
        D = 1.0 - 2.0 * a[..., 2]
        held = D < LEAST_CURVATURE
        self.guarded = int(held.sum())
        D = np.where(held, LEAST_CURVATURE, D)
        dD = np.where(held[..., None], 0.0, -2.0 * da[..., 2, :])
        a1 = a[..., 1]
        out = laws.copy()
        out[:2, ..., 0] += a[..., 0] - a[..., 2] + 0.5 * a1**2 / D - 0.5 * np.log(D)
        out[:2, ..., 1] += a1 * sigma / D
        out[:2, ..., 2] /= D
        slope = np.zeros((*shape, 3, 6 + further))
        one, inverse, shift = a1[..., None], 1.0 / D[..., None], (a1 * sigma / D**2)[..., None]
        slope[..., 0, 0] = 1.0
        slope[..., 0, 1:] = (
            da[..., 0, :] - da[..., 2, :] + one * da[..., 1, :] * inverse
            - 0.5 * dD * (one**2 * inverse**2 + inverse)
        )  # fmt: skip
        slope[..., 1, 1:] = sigma[..., None] * da[..., 1, :] * inverse - shift * dD
        slope[..., 1, 1] += 1.0
        slope[..., 1, 2] += 0.5 * a1 / (sigma * D)
        slope[..., 2, 1:] = -(s2 / D**2)[..., None] * dD
        slope[..., 2, 2] += 1.0 / D
        others = np.array([3, 4, 5, *of_bends, *(_THIRD if skewed else ())])
        inputs = np.stack([np.concatenate([law, others]) for law in self._laws(theta)])
        return with_laws(theta, out, end_of_laws(theta)), slope, inputs

    def _laws(self, theta: Floats) -> NDArray[np.int64]:
        """Return the columns of ln P, μ and σ² of each class of the stars, (n_classes, 3)."""
        classes = np.arange(len(self.stars.class_centre))
        return columns_of_classes(theta, classes)[:, None] + np.arange(3)

    def _weights(self, values: Floats, theta: Floats) -> Floats:
        """Take of `values`, in θ's layout, those of ln P of each class."""
        out = values[..., self._laws(theta)[:, 0]]
        out[..., 2:, :, :] = values[..., 2:, :, :1]  # outliers have the same in all classes
        return out

    @cached_property
    def _places(self) -> Places:
        return Places(self.stars, self.completeness.modulus, self.completeness.log_share)

    @property
    def _count(self) -> Floats:
        """Number of stars at each place."""
        return self._places.count * (self.likelihood.n_stars / max(self.stars.n_stars, 1))

    def _taken(self, theta: Floats) -> Taken:
        weight = np.exp(self._weights(theta, theta))
        return self._places.taken(weight, theta[..., OF_HEIGHT])

    def at_seam(self, theta: Floats) -> Floats:
        """Return θ′."""
        return self._selected(theta)[0]

    def _is_too_wide(self, theta: Floats) -> bool:
        laws = theta[:2][..., self._laws(theta)]
        apart = np.abs(laws[..., 1] - PIVOT_RADIUS).max()
        return bool(max(apart, np.sqrt(laws[..., 2].max())) > _WIDEST)

    def value(self, theta: Floats) -> float:
        """Return Σ ln L, -inf of laws wider than any survey; see `Likelihood.value`."""
        if self._is_too_wide(theta):
            return -math.inf
        of_places = float((self._count * np.log(self._taken(theta).z)).sum())
        return self.likelihood.value(self.at_seam(theta)) - of_places

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Return Σ ln L and its gradient in θ; see `value` and `Likelihood.value_and_gradient`."""
        if self._is_too_wide(theta):
            return -math.inf, np.zeros(theta.shape)
        selected, slope, inputs = self._selected(theta)
        value, of_selected = self.likelihood.value_and_gradient(selected)
        taken, count = self._taken(theta), self._count
        of_p, of_height = taken.slopes(count)
        # Back to the columns of θ: those of bends, of what has no class, and of each class's law.
        gradient, end = np.zeros(theta.shape), end_of_laws(theta)
        gradient[..., 3 : len(THETA)] = of_selected[..., 3 : len(THETA)]
        gradient[..., end:] = of_selected[..., end_of_laws(selected) :]
        out = self._laws(selected)
        for j, columns in enumerate(inputs):
            of_law = of_selected[..., out[j]]
            gradient[:2, :, columns] += np.einsum("cki,ckix->ckx", of_law[:2], slope[:, :, j])
            gradient[2:, :, columns[:3]] += of_law[2:]
            gradient[:2, :, columns[0]] -= of_p[:2, :, j]
            gradient[2:, :, 0] -= of_p[2:, :, j]
        gradient[..., OF_HEIGHT] -= of_height
        return value - float((count * np.log(taken.z)).sum()), gradient

    def score_outer(self, theta: Floats, jacobian: Floats) -> tuple[float, Floats, Floats]:
        """Return Σ ln L, gradient and Fisher information in x; see `Likelihood.score_outer`."""
        selected, slope, inputs = self._selected(theta)
        rows = np.moveaxis(np.asarray(jacobian, dtype=np.float64), -1, 0)  # (x, c, k, column)
        laws = rows[..., self._laws(theta)]
        carried = laws.copy()
        carried[:, :2] = np.einsum("ckjix,nckjx->nckji", slope, rows[:, :2][..., inputs])
        full = np.moveaxis(with_laws(rows, carried, end_of_laws(theta)), 0, -1)
        value, score, outer = self.likelihood.score_outer(selected, np.ascontiguousarray(full))
        taken, count = self._taken(theta), self._count
        weights = self._weights(rows, theta)
        # The scores of stars of a place have that of their ln Z as their mean.
        for j, n in enumerate(count.reshape(len(count), -1)):
            of_x = taken.carried(j, weights[..., j], rows[..., OF_HEIGHT])
            score = score - of_x @ n
            outer = outer - (of_x * n) @ of_x.T
        return value - float((count * np.log(taken.z)).sum()), score, outer

    def per_star(self, theta: Floats, reduce: Floats | None = None) -> tuple[Floats, Floats]:
        """Return each star's ln L and expectations; see `Likelihood.per_star`."""
        log_like, expected = self.likelihood.per_star(self.at_seam(theta), reduce)
        return log_like - self._places.of_stars(np.log(self._taken(theta).z)), expected
