r"""Total metallicity of an α-enhanced mixture (Salaris, Chieffi & Straniero 1993, ApJ 414, 580).

Isochrones of [Fe/H] and [α/Fe] hardly differ from scaled-solar ones of

.. math:: \phi = [\mathrm{Fe/H}] + S([\alpha/\mathrm{Fe}]),\qquad
   S(a) = \log_{10}(0.638 \cdot 10^{a} + 0.362)
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.constants import SALARIS_ALPHA, SALARIS_REST


def salaris(alpha: ArrayLike) -> NDArray[np.float64]:
    """Return S(a), what to add to [Fe/H] (dex), for an array of [α/Fe]."""
    return np.log10(SALARIS_ALPHA * 10.0 ** np.asarray(alpha, dtype=np.float64) + SALARIS_REST)


@njit(inline="always")
def salaris_and_slope(alpha):  # type: ignore[no-untyped-def]
    """Return S(a) and dS/da, for one [α/Fe] inside a compiled function."""
    enhanced = SALARIS_ALPHA * 10.0**alpha
    return math.log10(enhanced + SALARIS_REST), enhanced / (enhanced + SALARIS_REST)
