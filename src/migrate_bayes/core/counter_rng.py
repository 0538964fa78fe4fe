# mypy: disable-error-code="no-untyped-def"
"""Counter-based random numbers: a key gives each number, whatever the order of drawing.

A number is a hash of (seed, purpose, star key, draw, dimension): the SplitMix64 finaliser (Steele,
Lea & Flood 2014, OOPSLA), applied to each in turn. So a star's numbers are the same in whatever
chunk, order, process or length of catalogue it stands.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def mix(x):
    """Hash 64 bits by SplitMix64's finaliser; kernels call it for each number."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _fill(seed, purpose, key, draw, out):
    golden = np.uint64(0x9E3779B97F4A7C15)
    root = mix(mix(seed + golden) + golden * (purpose + np.uint64(1)))
    for i in range(key.size):
        star = mix(root ^ key[i])
        word = mix(star + golden * (draw + np.uint64(1)))
        for j in range(out.shape[0]):
            bits = mix(word + golden * np.uint64(j + 1))
            out[j, i] = (np.float64(bits >> np.uint64(12)) + 0.5) * (1.0 / 4503599627370496.0)


def keyed_uniforms(
    seed: int, purpose: int, key: NDArray[np.uint64], draw: int, n: int
) -> NDArray[np.float64]:
    """Return `n` uniform numbers for each star: in (0, 1), shape (n, star), with 52 random bits.

    `seed` is the run's, from 0 to 2⁶⁴ - 1; `purpose` says what the numbers are for, and two users
    of one seed must differ in it; `key` is each star's own; `draw` tells which draw of the star.
    """
    out = np.empty((n, len(key)))
    keys = np.ascontiguousarray(key, dtype=np.uint64)
    _fill(np.uint64(seed), np.uint64(purpose), keys, np.uint64(draw), out)
    return out
