"""Functions of a model's unconstrained parameters at many points at once; its named variables."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.graph.replace import vectorize_graph

__all__ = ["ManyPoints", "NamedValues", "interpreted"]

# From this many draws on, a graph over all of them at once is worth its compilation, where the one
# for a single draw is interpreted; and so many go through it at a time.
_MANY, _AT_ONCE = 300, 1000


def interpreted() -> Any:
    """PyTensor's mode for graphs that are ready in seconds and slow at each call.

    Without one rewriting: by it the terms of a prior become one sum, and interpreted PyTensor knows
    none of more than 32.
    """
    return pytensor.compile.mode.get_mode("FAST_COMPILE").excluding("local_add_canonizer")


class ManyPoints:
    """x → functions of x, at many points through one interpreted graph; compiled when first used.

    Interpreted PyTensor takes milliseconds for a point, and little longer for a hundred.

    Parameters
    ----------
    outputs : sequence of pytensor variables
        Functions of `x`.
    x : pytensor vector
    """

    def __init__(self, outputs: Sequence[Any], x: Any) -> None:
        self._outputs, self._x = list(outputs), x
        self._all: Any = None

    def __call__(self, points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Evaluate at points, shape (m, n); each output has m as its leading dimension."""
        if self._all is None:
            many = pt.dmatrix("points")
            outputs = vectorize_graph(self._outputs, {self._x: many})
            self._all = pytensor.function([many], outputs, mode=interpreted())
        # A variable that does not depend on x has no dimension of points.
        return [
            np.broadcast_to(value, (len(points), *value.shape)) if value.ndim == out.ndim else value
            for value, out in zip(self._all(points), self._outputs, strict=True)
        ]


class NamedValues:
    """x → every named variable, for one draw or thousands.

    Parameters
    ----------
    names : sequence of str
    outputs : sequence of pytensor variables
        Of the same length, functions of `x`.
    x : pytensor vector
    mode : str or pytensor.compile.mode.Mode, optional
        PyTensor's compilation mode. In ``"FAST_COMPILE"`` a draw takes milliseconds; many are then
        carried through one vectorised graph.
    """

    def __init__(self, names: Sequence[str], outputs: Sequence[Any], x: Any, mode: Any) -> None:
        self._names = list(names)
        self._one = pytensor.function([x], list(outputs), mode=mode)
        self._interpreted = mode is not None
        self._all = ManyPoints(outputs, x)
        self._lock = threading.Lock()

    def __call__(self, draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Evaluate at draws of shape (..., n); the leading dimensions are kept."""
        flat = np.ascontiguousarray(draws, dtype=np.float64).reshape(-1, draws.shape[-1])
        with self._lock:
            if self._interpreted and len(flat) >= _MANY:
                starts = range(0, len(flat), _AT_ONCE)
                parts = [self._all(flat[i : i + _AT_ONCE]) for i in starts]
                columns = [np.concatenate(part) for part in zip(*parts, strict=True)]
            else:
                rows = [self._one(x) for x in flat]
                columns = [np.stack(column) for column in zip(*rows, strict=True)]
        lead = draws.shape[:-1]
        return {
            name: column.reshape(*lead, *column.shape[1:])
            for name, column in zip(self._names, columns, strict=True)
        }
