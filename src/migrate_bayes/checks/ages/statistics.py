"""The robust statistics that comparisons of ages are told in: plain functions on arrays."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.table import plain


@dataclass(frozen=True)
class Spread:
    """Median of `count` finite values, and their robust scatter."""

    median: float
    scatter: float
    count: int

    @property
    def median_error(self) -> float:
        """Standard error of the median of a Gaussian of this scatter, 1.2533 σ/√n; NaN for one."""
        return 1.2533 * self.scatter / np.sqrt(self.count) if self.count > 1 else np.nan

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON can hold them, with four decimals."""
        numbers = {n: getattr(self, n) for n in ("median", "median_error", "scatter")}
        return plain({**numbers, "stars": self.count}, 4)

    def __format__(self, spec: str) -> str:
        """Word ``median ± error (stars)``, both numbers in the format `spec`, such as ``+.2f``."""
        if not self.count:
            return "–"
        error = f" ± {self.median_error:{spec.lstrip('+')}}" if self.count > 1 else ""
        return f"{self.median:{spec}}{error} ({self.count})"


def spread(values: ArrayLike) -> Spread:
    """Return median, robust scatter and number of values.

    Parameters
    ----------
    values : array-like
        Of any shape; values that are not finite do not count.

    Returns
    -------
    Spread
        Its scatter is 1.4826 times the median absolute deviation from the median: σ of a Gaussian.

    Examples
    --------
    >>> from migrate_bayes.checks.ages import spread
    >>> f"{spread([4.0, 4.4, float('nan'), 3.8, 4.1]):.1f}"
    '4.0 ± 0.1 (4)'
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    if not x.size:
        return Spread(np.nan, np.nan, 0)
    centre = float(np.median(x))
    return Spread(centre, 1.4826 * float(np.median(np.abs(x - centre))), int(x.size))


def spread_by_bin(x: NDArray, values: NDArray, edges: ArrayLike) -> dict[str, Spread]:
    """Return the `spread` of the values in each bin of `x`, by ``low-high``."""
    return {
        f"{low:g}-{high:g}": spread(values[(x >= low) & (x < high)])
        for low, high in pairwise(np.asarray(edges).tolist())
    }


def coverage(truth: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[float, float]:
    """Return the fraction of intervals that hold the truth, and its binomial standard error.

    Parameters
    ----------
    truth, low, high : array-like, shape (star,)
        True values and the ends of the intervals, both included.

    Returns
    -------
    fraction, error : float
        NaN without stars.

    Examples
    --------
    >>> from migrate_bayes.checks.ages import coverage
    >>> coverage([4.0, 5.0, 6.0, 7.0], low=[3.0, 3.0, 5.0, 8.0], high=[5.0, 4.0, 7.0, 9.0])
    (0.5, 0.25)
    """
    true = np.asarray(truth)
    if not true.size:
        return np.nan, np.nan
    fraction = float(np.mean((np.asarray(low) <= true) & (true <= np.asarray(high))))
    return fraction, float(np.sqrt(fraction * (1.0 - fraction) / true.size))


def pit(draws: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the probability integral transform: the fraction of draws below the truth.

    Over stars drawn from the prior it is uniform in [0, 1] if the posteriors are calibrated. For
    ages on the nodes of isochrones `age_cdf` of `migrate_bayes.isochrones` gives it without draws.

    Parameters
    ----------
    draws : array-like, shape (star, draw)
        Of the posterior.
    truth : array-like, shape (star,)
        True values.

    Returns
    -------
    numpy.ndarray, shape (star,)
        NaN for a star with a NaN.

    Examples
    --------
    >>> from migrate_bayes.checks.ages import pit
    >>> pit([[3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0]], [4.5, 0.5]).tolist()
    [0.5, 0.0]
    """
    draws, truth = np.asarray(draws), np.asarray(truth)
    below = np.mean(draws < truth[:, None], axis=1)
    return np.where(np.isnan(truth) | np.isnan(draws).any(axis=1), np.nan, below)


def line_through(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Fit a line by least squares; return slope and standard error, NaN for fewer than 3 points.

    The error is of the points' own scatter about the line.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) < 3 or np.ptp(x) == 0.0:
        return np.nan, np.nan
    about = x - x.mean()
    slope = float(about @ y / (about @ about))
    rest = y - y.mean() - slope * about
    return slope, float(np.sqrt(rest @ rest / (len(x) - 2) / (about @ about)))
