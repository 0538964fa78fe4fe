r"""How many stars are born in a mass interval: the Kroupa (2001) initial mass function.

.. math:: \xi(m) \propto m^{-\alpha_i},\quad
   \alpha = 0.3\ (m < 0.08),\ 1.3\ (0.08 \le m < 0.5),\ 2.3\ (m \ge 0.5)

(Kroupa 2001, MNRAS 322, 231, eq. 2), continuous at the breaks and normalised to one star between
0.01 and 120 solar masses. Everything is in closed form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_EDGES = np.array([0.01, 0.08, 0.5, 120.0])
_SLOPES = np.array([0.3, 1.3, 2.3])


def _constants() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the amplitude of each power law and the number of stars below each edge."""
    amplitude = np.ones(3)
    for i in (1, 2):
        amplitude[i] = amplitude[i - 1] * _EDGES[i] ** (_SLOPES[i] - _SLOPES[i - 1])
    powers = 1.0 - _SLOPES
    count = amplitude / powers * (_EDGES[1:] ** powers - _EDGES[:-1] ** powers)
    total = count.sum()
    return amplitude / total, np.concatenate([[0.0], np.cumsum(count) / total])


_AMPLITUDE, _BELOW = _constants()


def kroupa_density(mass: ArrayLike) -> NDArray[np.float64]:
    """Return dN/dm, per solar mass and per star born; zero outside 0.01-120 solar masses."""
    m = np.asarray(mass, dtype=np.float64)
    i = np.clip(np.searchsorted(_EDGES, m, side="right") - 1, 0, 2)
    inside = (m >= _EDGES[0]) & (m <= _EDGES[-1])
    safe = np.where(inside, m, 1.0)
    return np.where(inside, _AMPLITUDE[i] * safe ** -_SLOPES[i], 0.0)


def kroupa_cumulative(mass: ArrayLike) -> NDArray[np.float64]:
    """Return the fraction of stars born with less than `mass` (solar masses)."""
    m = np.clip(np.asarray(mass, dtype=np.float64), _EDGES[0], _EDGES[-1])
    i = np.clip(np.searchsorted(_EDGES, m, side="right") - 1, 0, 2)
    power = 1.0 - _SLOPES[i]
    return _BELOW[i] + _AMPLITUDE[i] / power * (m**power - _EDGES[i] ** power)


def kroupa_quantile(fraction: ArrayLike) -> NDArray[np.float64]:
    """Invert `kroupa_cumulative`: the mass below which `fraction` of the stars are born."""
    q = np.clip(np.asarray(fraction, dtype=np.float64), 0.0, 1.0)
    i = np.clip(np.searchsorted(_BELOW, q, side="right") - 1, 0, 2)
    power = 1.0 - _SLOPES[i]
    return (_EDGES[i] ** power + (q - _BELOW[i]) * power / _AMPLITUDE[i]) ** (1.0 / power)
