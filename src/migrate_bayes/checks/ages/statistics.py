"""The few robust statistics that comparisons of ages are told in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Spread", "binomial_error", "spread"]


@dataclass(frozen=True)
class Spread:
    """A sample's centre and width.

    Parameters
    ----------
    median : float
    scatter : float
        1.4826 times the median absolute deviation from the median: σ of a Gaussian.
    count : int
        Finite values.
    """

    median: float
    scatter: float
    count: int

    @property
    def median_error(self) -> float:
        """Standard error of the median of a Gaussian of this scatter, 1.2533 σ/√n; NaN for one."""
        return 1.2533 * self.scatter / np.sqrt(self.count) if self.count > 1 else np.nan

    def as_dict(self, *, digits: int = 4) -> dict[str, float | int | None]:
        """Return plain numbers for JSON; None for what is not known."""

        def plain(x: float) -> float | None:
            return round(float(x), digits) if np.isfinite(x) else None

        return {
            "median": plain(self.median),
            "median_error": plain(self.median_error),
            "scatter": plain(self.scatter),
            "stars": self.count,
        }


def spread(values: ArrayLike) -> Spread:
    """Return median, robust scatter and number of the finite values."""
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if not x.size:
        return Spread(np.nan, np.nan, 0)
    centre = float(np.median(x))
    return Spread(centre, 1.4826 * float(np.median(np.abs(x - centre))), int(x.size))


def binomial_error(fraction: float, count: int) -> float:
    """Return the standard error of a fraction of `count` trials."""
    return float(np.sqrt(fraction * (1.0 - fraction) / count)) if count else np.nan
