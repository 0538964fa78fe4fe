"""True values of a mock, with which fits and figures are compared, and its gradient(age)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Truth(dict[str, float]):
    """True values by the names of the posterior, with gradient(age) itself.

    The numbers are ``gradient_young`` (dex/kpc, at 1 Gyr), ``flattening_rate`` (dex/kpc/Gyr),
    ``gradient_thick`` (dex/kpc) and ``sigma_rm8`` (kpc), or some of them. `curve` is the thin
    disc's gradient (dex/kpc) at ages (Gyr), and `knots` the ages over which ``flattening_rate`` is
    its least-squares slope; without a curve, the gradient is the straight line of the numbers.
    """

    def __init__(
        self,
        numbers: Mapping[str, float],
        curve: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
        knots: Sequence[float] = (),
    ) -> None:
        super().__init__(numbers)
        self.curve, self.knots = curve, tuple(knots)

    def gradient(self, component: str, ages: ArrayLike) -> NDArray[np.float64] | None:
        """Return the true gradient of a component at ages (Gyr), dex/kpc; None if unknown."""
        ages = np.asarray(ages, dtype=np.float64)
        if component == "thick":
            level = self.get("gradient_thick")
            return None if level is None else np.full(ages.shape, level)
        if self.curve is not None:
            return self.curve(ages)
        if "gradient_young" in self and "flattening_rate" in self:
            return self["gradient_young"] + self["flattening_rate"] * (ages - 1.0)
        return None

    @property
    def note(self) -> str:
        """What the number called flattening rate is, for a curve; empty for a straight line."""
        if self.curve is None:
            return ""
        knots = ", ".join(f"{k:g}" for k in self.knots)
        return (
            "The true gradient(age) of this mock is a curve. The truth of the flattening rate is "
            f"the curve's least-squares slope over the ages {knots} Gyr, as the fit's is for a "
            "form that is no straight line; a line, and ODR, weigh the ages by their stars."
        )


def as_truth(truth: Mapping[str, float] | None) -> Truth:
    """Return a truth of any mapping: numbers alone are those of straight lines."""
    return truth if isinstance(truth, Truth) else Truth(truth or {})
