r"""Draw stars of given age and composition along their isochrone, by the initial mass function.

The isochrone is interpolated as `grid` says, between nodes of age linearly in log age (so that no
star of a mock survey sits on a node of the grid). One uniform number per star picks the initial
mass from the Kroupa (2001) function restricted to the part of the isochrone that is allowed.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.units import in_unit
from migrate_bayes.isochrones.grid import WorkingGrid, build_grid, salaris
from migrate_bayes.isochrones.kernel.cubic import cubic_stencil
from migrate_bayes.isochrones.sources.base import IsochroneSource

_BLOCK = 4096
_SLACK = 1e-6


def draw_stars(
    grid: str | IsochroneSource | WorkingGrid,
    age: ArrayLike,
    feh: ArrayLike,
    alpha_fe: ArrayLike,
    uniforms: ArrayLike,
    *,
    teff_range: tuple[float, float] = (4000.0, 7500.0),
    logg_range: tuple[float, float] = (1.0, 5.0),
    abs_g_max: ArrayLike | None = None,
    workers: int | None = None,
) -> dict[str, NDArray]:
    """Draw one star per entry.

    Parameters
    ----------
    grid : str, IsochroneSource or WorkingGrid
        A name or a source is taken at its ``fine`` grid on the ``surface`` [Fe/H] scale.
    age, feh, alpha_fe : array-like, shape (n,)
        Gyr, dex, dex. Compositions and ages outside the grid give ``ok = False``.
    uniforms : array-like, shape (n,)
        Place in the cumulative mass function, restricted to what is allowed; in [0, 1).
    teff_range, logg_range : tuple
        Allowed T_eff (K) and log g.
    abs_g_max : array-like, optional
        Faintest M_G allowed, one number or one per star, mag.
    workers : int, optional
        Threads.

    Returns
    -------
    dict
        Arrays of shape (n,): ``teff`` K, ``logg``, ``abs_g`` mag, ``bp_rp`` mag, ``mass`` (initial,
        solar), ``probability`` (the fraction of stars born that fall in the allowed part), and
        ``ok``, False if nothing is allowed (the others are then NaN).

    Raises
    ------
    IsochroneError
        If a uniform number is outside [0, 1).

    Examples
    --------
    >>> from migrate_bayes.isochrones import draw_stars
    >>> stars = draw_stars("dartmouth", [4.6, 30.0], 0.0, 0.0, 0.5, logg_range=(4.3, 4.5))
    >>> stars["ok"]
    array([ True, False])
    >>> bool(0.8 < stars["mass"][0] < 1.2)
    True
    """
    if not isinstance(grid, WorkingGrid):
        grid = build_grid(grid)
    bright = in_unit(np.inf if abs_g_max is None else abs_g_max, "mag", "abs_g_max")
    given = in_unit(age, "Gyr", "age"), feh, alpha_fe, uniforms, bright
    stars = np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in given))
    tau, metal, alpha, u, faintest = (np.ascontiguousarray(v) for v in stars)
    if np.any((u < 0) | (u >= 1)):
        raise IsochroneError("uniforms must lie in [0, 1)")
    low, high = grid.feh_limits(alpha)
    inside = (metal >= low - _SLACK) & (metal <= high + _SLACK)
    if len(grid.alpha) > 1:
        inside &= (alpha >= grid.alpha[0] - _SLACK) & (alpha <= grid.alpha[-1] + _SLACK)
    if grid.total_metallicity:
        metal = metal + salaris(alpha)
    out = np.full((len(u), 6), np.nan)
    limits = np.array([*teff_range, *logg_range], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_age = np.log(tau)
        inside &= (tau >= grid.ages[0] * (1 - _SLACK)) & (tau <= grid.ages[-1] * (1 + _SLACK))
    axes = (np.log(grid.ages), grid.metallicity, grid.alpha)

    def run(start: int, stop: int) -> None:
        s = slice(start, stop)
        part = log_age[s], metal[s], alpha[s], inside[s], u[s], faintest[s]
        _draw(axes, grid.points, grid.mass, part, limits, out[s])

    map_blocks(run, len(u), _BLOCK, workers=workers)
    names = ("teff", "logg", "abs_g", "bp_rp", "mass", "probability")
    drawn: dict[str, NDArray] = {name: out[:, k] for k, name in enumerate(names)}
    drawn["ok"] = np.isfinite(out[:, 0])
    return drawn


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(axes, points, masses, wanted, limits, out):  # type: ignore[no-untyped-def]
    """Fill `out` (star, [teff, logg, abs_g, bp_rp, mass, probability]); NaN rows stay.

    `wanted` has arrays (star,): ln age (Gyr), metallicity, [α/Fe], whether these are in the grid,
    the uniform number and the faintest M_G.
    """
    ages, metallicity, alpha, inside, uniform, faintest = wanted
    log_ages, metals, alphas = axes
    n_eep = points.shape[3]
    track, mass = np.empty((n_eep, 5)), np.empty(n_eep)
    low, total = np.empty(n_eep), np.empty(n_eep)
    by_metal, by_alpha = np.empty((3, 4)), np.empty((3, 4))
    for s in range(len(out)):
        if not inside[s]:
            continue
        log_age = ages[s]
        i = min(max(np.searchsorted(log_ages, log_age) - 1, 0), len(log_ages) - 2)
        t = (log_age - log_ages[i]) / (log_ages[i + 1] - log_ages[i])
        t = min(max(t, 0.0), 1.0)
        j = cubic_stencil(metals, metallicity[s], by_metal)
        k = cubic_stencil(alphas, alpha[s], by_alpha)
        track[:] = mass[:] = 0.0
        for a in range(2):
            for f in range(4):
                for b in range(4):
                    weight = (t if a else 1.0 - t) * by_metal[0, f] * by_alpha[0, b]
                    if weight == 0.0:
                        continue
                    for e in range(n_eep):
                        mass[e] += weight * masses[i + a, j + f, k + b, e]
                        for c in range(5):
                            track[e, c] += weight * points[i + a, j + f, k + b, e, c]
        # Allowed part of each segment: [low, high] in the fraction u along it.
        for e in range(n_eep - 1):
            track[e, 4] = max(track[e, 4], 0.0)
        cumulative = 0.0
        for e in range(n_eep - 1):
            lo, hi = 0.0, 1.0
            for c in range(3):
                start, step = track[e, c], track[e + 1, c] - track[e, c]
                least = limits[2 * c] if c < 2 else -np.inf
                most = limits[2 * c + 1] if c < 2 else faintest[s]
                if step == 0.0:
                    if start < least or start > most:
                        hi = -1.0
                else:
                    one, two = (least - start) / step, (most - start) / step
                    lo, hi = max(lo, min(one, two)), min(hi, max(one, two))
            low[e] = lo
            if hi > lo:
                cumulative += track[e, 4] * (hi - lo)
            total[e] = cumulative
        if cumulative <= 0.0:
            continue
        target = uniform[s] * cumulative
        for e in range(n_eep - 1):
            if total[e] > target:
                before = total[e - 1] if e > 0 else 0.0
                t = low[e] + (target - before) / track[e, 4]
                for c in range(4):
                    out[s, c] = track[e, c] + t * (track[e + 1, c] - track[e, c])
                out[s, 4] = mass[e] + t * (mass[e + 1] - mass[e])
                out[s, 5] = cumulative
                break
