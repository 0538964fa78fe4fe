r"""Variance decomposition of a fitted quantity: the stars' noise, and each modelling choice.

With the variants weighed equally, the law of total variance says of a quantity *q* with posterior
mean :math:`m_v` and variance :math:`σ_v^2` in variant *v*

.. math:: \mathrm{Var}(q) = \frac1V \sum_v σ_v^2 + \frac1V \sum_v (m_v - \bar m)^2 ,

within the variants and between them. The second term is divided among the *factors* (potential,
R₀, V₀, scaling, isochrone family …) by an analysis of variance of the means: in the additive model
:math:`m_v = μ + \sum_f a_f(\ell_f(v))`, fitted by least squares, a factor's share is the variance
of its effects over its levels, each level alike. In a full factorial sweep these are the classical
main effects and add up to the second term with the *interaction*, the mean square of what no sum
of factors explains. When factors are varied one at a time, the shares are those of a full sweep of
the same levels without interaction: no factor is credited with another's.

Every share is a quadratic form :math:`m^\top Q m`. Its expectation under the noise of the stars
alone is :math:`\mathrm{tr}(Q\,Σ)`, with :math:`Σ` the paired covariance of the means; ``noise`` is
that expectation and ``corrected`` is the share without it. Pairing makes it small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WITHIN = "stars"
INTERACTION = "interaction"


class Share(NamedTuple):
    """The variance of one source, and the part of it that noise alone would give."""

    source: str
    variance: float
    noise: float

    @property
    def corrected(self) -> float:
        """The variance less its noise, at least 0."""
        return max(self.variance - self.noise, 0.0)


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
        Factors that never vary apart from each other share what they explain.

    Returns
    -------
    list of Share
        ``stars`` (within), each factor, ``interaction``.

    Examples
    --------
    >>> import numpy as np
    >>> from migrate_bayes.compare import decompose
    >>> mean, sd = np.array([1.0, 3.0]), np.array([0.5, 0.5])
    >>> for share in decompose(mean, sd, np.zeros((2, 2)), {"radius": ["rg", "r_present"]}):
    ...     print(share.source, round(share.variance, 3))
    stars 0.25
    radius 1.0
    interaction 0.0
    """
    n = len(mean)
    # Against a rounding of large equal numbers.
    centred = mean - mean.mean()
    columns = {}  # of 0 and 1, one for each level
    for name, levels in factors.items():
        kinds = list(dict.fromkeys(levels))
        if len(kinds) > 1:
            columns[name] = np.array([[v == kind for kind in kinds] for v in levels], dtype=float)
    design = np.hstack([np.ones((n, 1)), *columns.values()])
    solve = np.linalg.pinv(design)
    forms, at = {}, 1
    for name, mine in columns.items():
        k = mine.shape[1]
        effect = solve[at : at + k] - solve[at : at + k].mean(axis=0)
        forms[name] = effect.T @ effect / k
        at += k
    rest = np.eye(n) - design @ solve
    forms[INTERACTION] = rest.T @ rest / n
    shares = [Share(WITHIN, float(np.mean(sd**2)), 0.0)]
    for name, form in forms.items():
        variance, noise = float(centred @ form @ centred), float(np.sum(form * covariance))
        shares.append(Share(name, max(variance, 0.0), max(noise, 0.0)))
    return shares
