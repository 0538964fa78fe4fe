"""From a catalogue to the plain arrays that the age kernels take, and who cannot have an age.

Missing observables are left out star by star (their inverse error is 0). A star needs T_eff or
BP−RP, log g or M_G, and [Fe/H]. An observable without a positive, finite error condemns the star
(BAD_ERROR): leaving it out in silence would change what its age means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from migrate_bayes.core.errors import CatalogError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag
from migrate_bayes.isochrones.grid import WorkingGrid
from migrate_bayes.isochrones.kernel.likelihood import Stars

#: What an age can be estimated from.
OBSERVABLES = ("teff", "logg", "feh", "alpha_fe", "abs_g", "bp_rp")
_KERNEL = ("teff", "logg", "abs_g", "bp_rp")  # the order of the grid's columns
_PHOTOMETRIC = ("abs_g", "bp_rp")
_WINDOW = 10.0  # errors: a star further than this from the grid's [Fe/H] or [α/Fe] is off it


@dataclass(frozen=True)
class Observed:
    """Stars as arrays."""

    values: NDArray[np.float64]  # (star, 4): T_eff, log g, M_G, BP−RP
    inverse_error: NDArray[np.float64]  # of them; 0 for one that is missing
    feh: NDArray[np.float64]  # (star, 2): observed value and error
    alpha: NDArray[np.float64]  # (star, 2): [α/Fe], cut at the edges of the grid by `_cut`
    #: (star,): normalisation of the observables' Gaussians, and of what is left of that of [α/Fe]
    log_constant: NDArray[np.float64]
    raw_alpha: NDArray[np.float64]  # (star, 2): [α/Fe] as observed; (0, 0) if missing
    n_observed: NDArray[np.int64]  # (star,): how many observables each star has
    flag: NDArray[np.int32]  # reasons found so far

    def arrays(self, rows: NDArray, *, fine: bool) -> Stars:
        """Return what the kernel of a method takes of some rows."""
        values, inverse, alpha = self.values[rows], self.inverse_error[rows], self.raw_alpha[rows]
        if fine:
            values, inverse = values.astype(np.float32), inverse.astype(np.float32)
            alpha = self.alpha[rows]
        return Stars(values, inverse, self.feh[rows], alpha)


def observe(
    catalog: xr.Dataset, grid: WorkingGrid, observables: Sequence[str], *, photometric_floor: float
) -> Observed:
    """Collect the observables of every star; a `CatalogError` if one is unknown or feh is absent.

    Those that the catalogue lacks are left out. `photometric_floor` (mag) is added in quadrature to
    the errors of M_G and BP−RP.
    """
    for name in observables:
        if name not in OBSERVABLES:
            raise CatalogError(f"unknown observable '{name}': {suggest(name, OBSERVABLES)}")
    if "feh" not in observables or "feh" not in catalog:
        raise CatalogError("isochrone ages need [Fe/H]: column 'feh' is absent or not asked for")
    n = catalog.sizes["star"]
    flag, bad = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool)
    pairs: dict[str, tuple[NDArray, NDArray]] = {}
    for name in OBSERVABLES:
        value, error = np.full(n, np.nan), np.full(n, np.nan)
        if name in observables and name in catalog:
            value = catalog[name].values.astype(np.float64)
            if f"{name}_error" not in catalog:
                raise CatalogError(
                    f"column '{name}' has no '{name}_error': map one, or leave '{name}' out of "
                    "the observables"
                )
            error = catalog[f"{name}_error"].values.astype(np.float64)
        value = np.where(np.isfinite(value), value, np.nan)
        bad |= np.isfinite(value) & ~((error > 0) & np.isfinite(error))
        pairs[name] = (value, error)

    values, inverse, constant = np.zeros((n, 4)), np.zeros((n, 4)), np.zeros(n)
    for k, name in enumerate(_KERNEL):
        value, error = pairs[name]
        if name in _PHOTOMETRIC:
            error = np.hypot(error, photometric_floor)
        used = np.isfinite(value) & (error > 0) & np.isfinite(error)
        values[used, k] = value[used]
        inverse[used, k] = 1.0 / error[used]
        constant[used] -= np.log(error[used]) + 0.5 * np.log(2 * np.pi)
    has = np.stack([np.isfinite(pairs[name][0]) for name in _KERNEL], axis=1)
    feh, feh_error = pairs["feh"]
    missing = ~((has[:, 0] | has[:, 3]) & (has[:, 1] | has[:, 2]) & np.isfinite(feh))
    add_flag(flag, missing, StarFlag.MISSING_PARAMETERS)
    add_flag(flag, bad & ~missing, StarFlag.BAD_ERROR)
    if "abs_g" in observables:
        add_flag(flag, ~has[:, 2], StarFlag.MISSING_PHOTOMETRY)

    with_alpha = np.isfinite(pairs["alpha_fe"][0])
    raw_alpha = np.stack([np.where(with_alpha, p, 0.0) for p in pairs["alpha_fe"]], axis=1)
    good = flag & np.int32(StarFlag.MISSING_PARAMETERS | StarFlag.BAD_ERROR) == 0
    low, high = (grid.alpha[0], grid.alpha[-1]) if len(grid.alpha) > 1 else (-0.2, 0.8)
    alpha, log_alpha = _cut(np.where(good[:, None], raw_alpha, 0.0), low, high)
    with np.errstate(invalid="ignore", divide="ignore"):
        least, most = grid.feh_limits(alpha[:, 0])
        beyond = np.maximum(least - feh, feh - most) / feh_error
        off = good & ~(np.isfinite(log_alpha) & (beyond <= _WINDOW))
    add_flag(flag, off, StarFlag.OFF_GRID)
    return Observed(
        values, inverse, np.stack([feh, feh_error], axis=1), alpha, constant + log_alpha, raw_alpha,
        has.sum(axis=1) + 1 + with_alpha, flag,
    )  # fmt: skip


def _cut(gaussian: NDArray, low: float, high: float) -> tuple[NDArray, NDArray]:
    """Cut Gaussians at limits: mean and sd of what remains, and ln of how much that is.

    The log is NaN if the limits are further than the window. A Gaussian well inside is returned
    to the bit; one without width is moved to the limit if it is no further than 1e-9.
    """
    mean, sd = gaussian.T
    safe = np.maximum(sd, 1e-12)
    x, y = (low - mean) / safe, (high - mean) / safe
    # By symmetry work on the side where the cut is, with scaled error functions for the tails.
    flip = x < -y
    a, b = np.where(flip, -y, x), np.where(flip, -x, y)
    untouched = a < -8.5
    a, b = np.maximum(a, -40.0), np.clip(b, -40.0, 40.0)
    log_mass = _log_interval(a, b)
    # Beyond the window the numbers overflow, and are not used.
    with np.errstate(over="ignore", invalid="ignore"):
        pdf_a, pdf_b = (np.exp(-0.5 * (z * z + np.log(2 * np.pi)) - log_mass) for z in (a, b))
        first = pdf_a - pdf_b
        second = 1.0 + a * pdf_a - b * pdf_b - first**2
    moved = np.where(flip, -first, first)
    new_mean = np.where(untouched, mean, mean + sd * moved)
    new_sd = np.where(untouched, sd, sd * np.sqrt(np.clip(second, 1e-6, 1.0)))
    log_mass = np.where(untouched, 0.0, log_mass)
    log_mass = np.where((b < -_WINDOW) | (a > _WINDOW), np.nan, log_mass)
    return np.stack([np.clip(new_mean, low, high), new_sd], axis=1), log_mass


def _log_interval(a: NDArray, b: NDArray) -> NDArray[np.float64]:
    """Return ln(Φ(b) − Φ(a)) for a < b, without cancellation in the tails."""
    upper = a > 0
    p, q = np.where(upper, -b, a), np.where(upper, -a, b)
    log_q, log_p = special.log_ndtr(q), special.log_ndtr(p)
    return log_q + np.log1p(-np.exp(np.minimum(log_p - log_q, -1e-14)))
