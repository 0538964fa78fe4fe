r"""How much of what is not known of a number comes from the stars, and how much from each choice.

With the variants weighed equally, the law of total variance says of a quantity *q* with posterior
mean :math:`m_v` and variance :math:`σ_v^2` in variant *v*

.. math:: \mathrm{Var}(q) = \frac1V \sum_v σ_v^2 + \frac1V \sum_v (m_v - \bar m)^2 ,

within the variants and between them. The second term is divided among the *factors* (potential,
R₀, V₀, scaling, isochrone family …) by an analysis of variance of the means: each factor's share is
what adding it to an additive model of the others explains, averaged over the orders in which they
can be added (Lindeman, Merenda & Gold 1980). In a full factorial sweep these are the classical main
effects, whatever the order; what no sum of factors explains is the *interaction*.

Every share is a quadratic form :math:`m^\top Q m`, so its expectation under the noise of the stars
alone is :math:`\mathrm{tr}(Q\,Σ)`, :math:`Σ` being the paired covariance of the means: it is given
beside the share, and taken off in ``corrected``. Pairing makes it small.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["INTERACTION", "WITHIN", "Share", "decompose"]

Array = NDArray[np.float64]

WITHIN = "stars"
INTERACTION = "interaction"


class Share(NamedTuple):
    """A source's variance, what noise alone would give, and both apart."""

    source: str
    variance: float
    noise: float

    @property
    def corrected(self) -> float:
        """The variance less its noise, at least 0."""
        return max(self.variance - self.noise, 0.0)


def _projection(factors: Sequence[Sequence[Any]], n: int) -> Array:
    """Projection onto the space of additive functions of some factors, and the constant."""
    columns = [np.ones(n)]
    for levels in factors:
        columns += [
            np.array([v == level for v in levels], float) for level in dict.fromkeys(levels)
        ]
    u, s, _ = np.linalg.svd(np.stack(columns, axis=1), full_matrices=False)
    u = u[:, s > 1e-9 * s[0]]
    return u @ u.T


def decompose(
    mean: Array, sd: Array, covariance: Array, factors: Mapping[str, Sequence[Any]]
) -> list[Share]:
    """Divide the variance of a quantity over the variants.

    Parameters
    ----------
    mean, sd : ndarray, shape (variant,)
        Posterior mean and standard deviation in each variant.
    covariance : ndarray, shape (variant, variant)
        Paired covariance of the means.
    factors : mapping of str to sequence, length variant
        Level of each factor in each variant. One level throughout says nothing and is left out.

    Returns
    -------
    list of Share
        ``stars`` (within), each factor, ``interaction``; they add up to the total variance.
    """
    n = len(mean)
    varying = {name: list(v) for name, v in factors.items() if len(dict.fromkeys(v)) > 1}
    shares = [Share(WITHIN, float(np.mean(sd**2)), 0.0)]
    # Against a rounding of large equal numbers.
    centred = mean - mean.mean()
    subsets = {
        chosen: _projection([varying[name] for name in chosen], n)
        for k in range(len(varying) + 1)
        for chosen in itertools.combinations(varying, k)
    }
    for name in varying:
        others = [other for other in varying if other != name]
        form = np.zeros((n, n))
        for k in range(len(others) + 1):
            groups = list(itertools.combinations(others, k))
            for group in groups:
                wider = tuple(f for f in varying if f in group or f == name)
                # Orders of addition with exactly `group` before: each size k counts alike.
                form += (subsets[wider] - subsets[group]) / len(groups) / (len(others) + 1)
        shares.append(_share(name, form, centred, covariance))
    rest = np.eye(n) - subsets[tuple(varying)]
    shares.append(_share(INTERACTION, rest, centred, covariance))
    return shares


def _share(name: str, form: Array, mean: Array, covariance: Array) -> Share:
    n = len(mean)
    variance = float(mean @ form @ mean) / n
    return Share(name, max(variance, 0.0), max(float(np.sum(form * covariance)) / n, 0.0))
