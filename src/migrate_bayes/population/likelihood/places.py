r"""What a survey takes at the places of its stars: the normaliser of P.

The age likelihood of a star counts the stars of an age in its phase, of all that are born, so that
with what is taken *at its place* x it integrates to the share :math:`f_{ck}(x)` of the stars of
component *c* and age *k* that are taken there. And a star is seen at a height :math:`|z|` above the
plane that the survey chose, by its cone about the Sun, where stars of some ages are many and others
few. If P is the share of an age among those born at a radius, in the whole column, the likelihood
of a star is divided by

.. math::

   Z(x) = \sum_{ck} P_{ck}\, f_{ck}(x)\, p_{ck}(|z|), \qquad
   p_{ck}(|z|) = \int \frac{2}{π} \frac{N(H; m, q^2)}{\sqrt{Z_\max^2 - z^2}}\, dH, \qquad
   H = \ln(Z_\max + Z_0)

over :math:`Z_\max > |z|`, of vertical oscillations that are harmonic. Given its Z_max a star's |z|
says nothing of its age, so that the kernel's N(H; m, q²) is the numerator as it stands. Without f P
leans to the ages of which much is taken, the young ones, and the farther from the Sun the more;
without p it leans to the old where a survey looks high above the plane.

Places are told apart by class of today's radius, modulus of distance and dust G - M_G, and
ln(|z| + Z_0); between the nodes ln Z is linear.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.constants import HEIGHT_OFFSET
from migrate_bayes.population.likelihood.kernel import BLOCK
from migrate_bayes.population.likelihood.layout import PackedStars
from migrate_bayes.population.likelihood.theta import THETA

Floats = NDArray[np.float64]

#: Columns of θ that hold the law of heights.
OF_HEIGHT = [THETA.index("m"), THETA.index("q2")]

# ln(|z| + Z_0) of the nodes: from 0.03 kpc, since p has a pole at 0, to 7 kpc.
_HEIGHTS = np.arange(math.log(HEIGHT_OFFSET + 0.03), 2.0, 0.15)
# Steps of the sum over H: much finer than any law of heights is wide. Points within each.
_STEP, _POINTS = 0.05, 8
_HIGHEST = np.arange(math.log(HEIGHT_OFFSET), 4.0, _STEP)
# p of a height at which a law has no star.
_LEAST = 1e-12


def between(x: NDArray[np.floating], axis: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the last of equal steps not above x, and which part of the step x is beyond it.

    Beyond the axis x is its end; of NaN the part is NaN.
    """
    u = np.clip((x - axis[0]) / (axis[1] - axis[0]), 0.0, len(axis) - 1.0)
    i = np.minimum(np.nan_to_num(u).astype(np.int64), len(axis) - 2)
    return i, u - i


def _phases() -> Floats:
    """Return ∫ p(|z| | Z_max) dH over each step of H, at each height, (n_heights, n_steps)."""
    z = (np.exp(_HEIGHTS) - HEIGHT_OFFSET)[:, None]
    ends = np.append(_HIGHEST, _HIGHEST[-1] + _STEP) - 0.5 * _STEP
    # Z_max = z cosh t takes the pole away.
    t = np.arccosh(np.maximum(np.exp(ends) - HEIGHT_OFFSET, z) / z)
    width = np.diff(t)
    inner = t[:, :-1, None] + width[..., None] * (np.arange(_POINTS) + 0.5) / _POINTS
    of_step = 1.0 / (z[..., None] * np.cosh(inner) + HEIGHT_OFFSET)
    return of_step.mean(axis=2) * width * 2.0 / np.pi


_PHASES = _phases()
# p and its slopes of stars whose height is not known, shape (3, 1, 1, 1).
_UNKNOWN = np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1, 1)


def shares_at_heights(laws: Floats) -> Floats:
    """Return p(|z|) and its slopes in m and q², shape (3, n_components, n_ages, n_heights + 1).

    `laws` are m and q², shape (n_components, n_ages, 2). The last of the heights is of stars whose
    height is not known: p is 1.
    """
    m, q2 = laws[..., :1], laws[..., 1:]
    x = _HIGHEST - m
    law = np.exp(-0.5 * x * x / q2) / np.sqrt(2.0 * np.pi * q2)
    both = np.stack([law, law * x / q2, law * (x * x / q2 - 1.0) / (2.0 * q2)])
    out = np.zeros((*both.shape[:-1], len(_HEIGHTS) + 1))
    out[..., :-1] = both @ _PHASES.T
    out[0, ..., :-1] += _LEAST
    out[0, ..., -1] = 1.0
    return out


class Places:
    """The places of stars.

    Parameters
    ----------
    stars : PackedStars
    modulus : ndarray, shape (n_moduli,)
        mag, at equal steps; none if shares are not known.
    log_share : ndarray, shape (2, n_ages, n_moduli)
        ln f of the thin and the thick disc.

    Attributes
    ----------
    count : ndarray, shape (n_classes, n_moduli, n_heights + 1)
        Stars at each place; n_heights is 0 if that of no star is known.
    """

    def __init__(self, stars: PackedStars, modulus: Floats, log_share: Floats) -> None:
        real = stars.star >= 0
        cell, known = np.empty(stars.n_stars, dtype=np.int64), np.ones(stars.n_stars)
        cell[stars.star[real]] = np.repeat(stars.blocks.radius_class, BLOCK)[real]
        self._share = np.ones((2, stars.n_ages, 1))
        self._of_heights = bool(np.isfinite(stars.height_today).any())
        corners = [(cell, known)] if self._of_heights else []
        if len(modulus):
            self._share = np.exp(log_share)
            i, part = between(stars.modulus.astype(np.float64), modulus)
            cell = cell * len(modulus) + i
            corners = [(cell, 1.0 - part), (cell + 1, part)]
        wide, sides = 1, [(np.zeros_like(cell), known)]
        if self._of_heights:
            h, part = between(stars.height_today.astype(np.float64), _HEIGHTS)
            h, part = np.where(np.isnan(part), len(_HEIGHTS) - 1, h), np.nan_to_num(part, nan=1.0)
            wide, sides = len(_HEIGHTS) + 1, [(h, 1.0 - part), (h + 1, part)]
        self._corners = [
            (cell * wide + h, np.nan_to_num(of * side))  # none of stars without a modulus
            for cell, of in corners
            for h, side in sides
        ]
        self.count = np.zeros((len(stars.class_centre), self._share.shape[2], wide))
        for cell, of in self._corners:
            self.count += np.bincount(cell, of, self.count.size).reshape(self.count.shape)

    def taken(self, weight: Floats, laws: Floats) -> Taken:
        """Return what is taken at each place.

        `weight` is P, shape (n_components, n_ages, n_classes), and `laws` m and q² of heights.
        """
        # Outliers are of any age, and are taken as those of the thin disc.
        share = self._share[[0, 1, 0][: len(weight)], ..., None]
        at_heights = shares_at_heights(laws) if self._of_heights else _UNKNOWN
        at = share * at_heights[..., None, :]
        at = at.reshape(3, weight[..., 0].size, -1)
        z = (weight.reshape(len(at[0]), -1).T @ at[0]).reshape(self.count.shape)
        return Taken(z, weight, at)

    def of_stars(self, values: Floats) -> Floats:
        """Return values, given at each place, of the stars: linear between places, (n_stars,)."""
        flat = values.ravel()
        return np.add.reduce([of * flat[cell] for cell, of in self._corners])


class Taken(NamedTuple):
    """Z, shape (n_classes, n_moduli, n_heights + 1), and what it is made of.

    P, shape (n_components, n_ages, n_classes), and f p and its slopes in m and q², shape (3,
    n_components · n_ages, n_moduli · (n_heights + 1)).
    """

    z: Floats
    weight: Floats
    at: Floats

    def slopes(self, count: Floats) -> tuple[Floats, Floats]:
        """Return the slopes of Σ count ln Z.

        In ln P, shape (n_components, n_ages, n_classes), and m and q², (n_components, n_ages, 2).
        """
        over = (count / self.z).reshape(len(count), -1)
        of_p = (self.at[0] @ over.T).reshape(self.weight.shape) * self.weight
        weighted = self.weight.reshape(-1, len(count)) @ over
        of_height = np.einsum("cp,ncp->cn", weighted, self.at[1:])
        return of_p, of_height.reshape(*self.weight.shape[:2], 2)

    def carried(self, j: int, of_p: Floats, of_laws: Floats) -> Floats:
        """Return ∂ ln Z/∂x at the places of class j, shape (n, n_moduli · (n_heights + 1)).

        `of_p` is ∂ ln P/∂x of the class, shape (n, n_components, n_ages), and `of_laws`
        ∂(m, q²)/∂x, shape (n, n_components, n_ages, 2).
        """
        parts = zip((of_p, of_laws[..., 0], of_laws[..., 1]), self.at, strict=True)
        weight = self.weight[..., j]
        out = [(slope * weight).reshape(len(slope), -1) @ at for slope, at in parts]
        return np.add.reduce(out) / self.z[j].ravel()
