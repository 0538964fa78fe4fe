"""A fit's passes over the stars, kept in a file: a fit that was killed goes on to the same bits.

All that a fit computes follows from the recipe and from its passes (mode, surrogate, weights). So a
pass that was made is not made again: its result is looked up by what was asked. Passes that take
less time than `WORTH` are not kept, and neither is NUTS on few stars, of which there are many.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.journal import Journal
from migrate_bayes.population.likelihood.op import Likelihood, WrappedLikelihood

Floats = NDArray[np.float64]

WORTH = 0.01
"""Seconds of a pass from which on it is kept."""


class RememberedLikelihood(WrappedLikelihood):
    """A `Likelihood` that looks passes up in a journal, and adds those that it lacks."""

    def __init__(self, likelihood: Likelihood, journal: Journal, part: str = "") -> None:
        super().__init__(likelihood)
        self._journal, self._part, self.evaluations = journal, part, 0

    def _pass(self, method: str, shapes: list[tuple[int, ...]], *arguments: Floats) -> Any:
        key = hashlib.blake2b(f"{method} {self._part}".encode(), digest_size=16)
        for argument in arguments:
            key.update(np.ascontiguousarray(argument).data)
        self.evaluations += 1
        numbers = self._journal.get(key.digest())
        if numbers is None:
            began = time.perf_counter()
            result = getattr(self.likelihood, method)(*arguments)
            if time.perf_counter() - began >= WORTH:
                found = result if isinstance(result, tuple) else (result,)
                self._journal.put(key.digest(), np.concatenate([np.ravel(r) for r in found]))
            return result
        value, rest = float(numbers[0]), numbers[1:]
        if not shapes:
            return value
        arrays = np.split(rest, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
        return value, *(a.reshape(s) for a, s in zip(arrays, shapes, strict=True))

    def value(self, theta: Floats) -> float:
        """Return Σ ln L."""
        return self._pass("value", [], theta)

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Return Σ ln L and its gradient in θ."""
        return self._pass("value_and_gradient", [theta.shape], theta)

    def score_outer(self, theta: Floats, jacobian: Floats) -> tuple[float, Floats, Floats]:
        """Return Σ ln L, its gradient in x and the Fisher information."""
        n = jacobian.shape[-1]
        return self._pass("score_outer", [(n,), (n, n)], theta, jacobian)

    def per_star(self, theta: Floats, reduce: Floats | None = None) -> tuple[Floats, Floats]:
        """Return what the likelihood itself returns: it is not kept."""
        return self.likelihood.per_star(theta, reduce)

    def subset(self, n_stars: int) -> RememberedLikelihood:
        """Return the likelihood of some of the stars, with the same journal."""
        part = f"{self._part}/{n_stars}"
        return RememberedLikelihood(self.likelihood.subset(n_stars), self._journal, part)
