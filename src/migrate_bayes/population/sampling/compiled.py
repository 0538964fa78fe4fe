"""Functions of a model's unconstrained parameters: compiled, at many points at once, by name."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import NDArray
from pytensor.graph.replace import vectorize_graph

# From this many draws on, a graph over all of them at once is worth its compilation, where the one
# for a single draw is interpreted; and so many go through it at a time.
_MANY, _AT_ONCE = 300, 1000


def interpreted() -> Any:
    """PyTensor's mode for graphs that are ready in seconds and slow at each call.

    Without one rewriting: by it the terms of a prior become one sum, and interpreted PyTensor knows
    none of more than 32.
    """
    return pytensor.compile.mode.get_mode("FAST_COMPILE").excluding("local_add_canonizer")


def compiled(inputs: Sequence[Any], outputs: Any, mode: Any, example: Sequence[Any]) -> Any:
    """Compile a graph whose results are the same whether it was compiled just now or long ago.

    Where PyTensor's numba may reorder additions, a function that is called by another is one thing
    in the process that compiles both and another in one that loads the caller: the last bit of a
    gradient differed between the first run on a machine and all later ones, and so did every draw.

    Parameters
    ----------
    inputs, outputs, mode
        As `pytensor.function` has them.
    example : sequence of ndarray
        Inputs to call it with: only then numba compiles.
    """
    with pytensor.config.change_flags(numba__fastmath=False):
        function = pytensor.function(list(inputs), outputs, mode=mode)
        function(*example)
    return function


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
    """x → every named variable, for one draw or thousands; compiled when first used.

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
        self._outputs, self._x, self._mode = list(outputs), x, mode
        self._one: Any = None
        self._all = ManyPoints(outputs, x)
        self._lock = threading.Lock()

    def __call__(self, draws: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Evaluate at draws of shape (..., n); the leading dimensions are kept."""
        flat = np.ascontiguousarray(draws, dtype=np.float64).reshape(-1, draws.shape[-1])
        with self._lock:
            if self._mode is not None and len(flat) >= _MANY:
                starts = range(0, len(flat), _AT_ONCE)
                parts = [self._all(flat[i : i + _AT_ONCE]) for i in starts]
                columns = [np.concatenate(part) for part in zip(*parts, strict=True)]
            else:
                if self._one is None:
                    self._one = compiled([self._x], self._outputs, self._mode, [flat[0]])
                rows = [self._one(x) for x in flat]
                columns = [np.stack(column) for column in zip(*rows, strict=True)]
        lead = draws.shape[:-1]
        return {
            name: column.reshape(*lead, *column.shape[1:])
            for name, column in zip(self._names, columns, strict=True)
        }
