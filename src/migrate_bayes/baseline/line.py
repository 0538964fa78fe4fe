"""A straight line by orthogonal distance regression; `migrate_bayes.baseline` has the equation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.table import Estimate

Array = NDArray[np.float64]

# Errors of a sample in which no star has any: far below what a survey can measure, so that the
# radius (kpc) counts as exact and [Fe/H] carries the residual.
_EXACT_RADIUS, _EXACT_FEH = 1e-6, 1e-3
_NONE = Estimate.symmetric(np.nan, np.nan)


@dataclass(frozen=True)
class LineFit:
    """A straight line through points with errors on both axes.

    Parameters
    ----------
    slope, intercept : Estimate
        In the units of the axes, with 1σ errors.
    scatter : float
        Intrinsic, in y.
    residual_variance : float
        χ²/(n - 2).
    reason : str
        Why there is no line; empty if there is one.

    Examples
    --------
    >>> from migrate_bayes.baseline import LineFit
    >>> LineFit(reason="2 stars: a line needs 3").slope.text()
    'n/a'
    """

    slope: Estimate = _NONE
    intercept: Estimate = _NONE
    scatter: float = np.nan
    residual_variance: float = np.nan
    reason: str = ""


def _odr(x: Array, y: Array, sx: Array, sy: Array, start: Array) -> Any:
    from odrpack import odr_fit

    return odr_fit(
        lambda x, beta: beta[0] + beta[1] * x, x, y, start,
        weight_x=1.0 / sx**2, weight_y=1.0 / sy**2,
        jac_beta=lambda x, beta: np.vstack([np.ones_like(x), x]),
        jac_x=lambda x, beta: np.full_like(x, beta[1]),
        # The defaults stop at a relative 1e-6 in the slope; this costs an iteration or two.
        maxit=200, sstol=1e-13, partol=1e-11,
    )  # fmt: skip


def _scatter(residual: Array, variance: Array) -> float:
    """Return the s at which Σ r²/(variance + s²) = n − 2; 0 if the errors explain it all."""
    from scipy.optimize import brentq

    def excess(square: float) -> float:
        return float(np.sum(residual**2 / (variance + square))) - (len(residual) - 2)

    if excess(0.0) <= 0.0:
        return 0.0
    # Σ r²/s² bounds the sum from above, and equals n − 2 here.
    top = float(np.sum(residual**2)) / (len(residual) - 2)
    return float(np.sqrt(brentq(excess, 0.0, top, xtol=1e-12, rtol=1e-10)))


def _usable_error(error: Array, exact: float) -> Array:
    """Replace an error of 0 by the bin's median: an exact star would dominate the fit."""
    positive = error[error > 0]
    return np.where(error > 0, error, np.median(positive) if len(positive) else exact)


def fit_line(x: Array, y: Array, sx: Array, sy: Array, *, scatter: bool = False) -> LineFit:
    """Fit y = a + b x by orthogonal distance regression.

    Parameters
    ----------
    x, y, sx, sy : ndarray, shape (n,)
        Points and their 1σ errors; an error of 0 is replaced by the median of the others.
    scatter : bool
        Fit the intrinsic scatter in y too.

    Returns
    -------
    LineFit
        Errors scaled by the residual variance, as is usual with ODR. NaN, with a reason, if there
        is no line.

    Examples
    --------
    >>> import numpy as np
    >>> from migrate_bayes.baseline import fit_line
    >>> x, error = np.linspace(-2.0, 2.0, 50), np.full(50, 0.05)
    >>> fit_line(x, 0.1 - 0.07 * x + 0.05 * (-1.0) ** np.arange(50), error, error).slope.text()
    '-0.0716 ± 0.0061'
    """
    if len(x) < 3:
        return LineFit(reason=f"{len(x)} stars: a line needs 3")
    spread = np.var(x)
    if spread <= np.median(sx**2) or np.sqrt(spread) < 1e-6:
        return LineFit(reason=f"radii spread over {np.sqrt(spread):.1e} kpc, within their errors")
    sx, sy = _usable_error(sx, _EXACT_RADIUS), _usable_error(sy, _EXACT_FEH)
    slope = float(np.cov(x, y, bias=True)[0, 1] / spread)
    result = _odr(x, y, sx, sy, np.array([np.mean(y) - slope * np.mean(x), slope]))
    s = 0.0
    if scatter and result.res_var > 1.0:
        # s depends on the slope through its errors, and the slope on s: a few rounds settle both.
        for _ in range(50):
            a, b = result.beta
            last, s = s, _scatter(y - a - b * x, sy**2 + (b * sx) ** 2)
            result = _odr(x, y, sx, np.hypot(sy, s), result.beta)
            if abs(s - last) <= 1e-6 * max(s, 1e-3):
                break
        else:
            return LineFit(reason=f"the intrinsic scatter did not settle, at {s:.3g} dex")
    if not result.success or not np.all(np.isfinite(result.beta)):
        return LineFit(reason=f"ODR did not converge: {result.stopreason}")
    a, b = map(Estimate.symmetric, result.beta, result.sd_beta)
    return LineFit(slope=b, intercept=a, scatter=s, residual_variance=float(result.res_var))


def weighted_line(x: Array, y: Array, sd: Array) -> tuple[Array, Array]:
    """Fit y = c₀ + c₁ x by weighted least squares to the points (n) that are finite.

    Returns (c₀, c₁), NaN for fewer than two points, and the covariance of the errors as given, not
    scaled by the residuals.
    """
    good = np.isfinite(y) & np.isfinite(sd) & (sd > 0)
    if good.sum() < 2:
        return np.full(2, np.nan), np.full((2, 2), np.nan)
    design = np.vstack([np.ones(good.sum()), x[good]]).T
    weight = 1.0 / sd[good] ** 2
    covariance = np.linalg.inv(design.T @ (design * weight[:, None]))
    return covariance @ (design.T @ (weight * y[good])), covariance
