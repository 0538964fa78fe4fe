"""Draw stars of given age and composition along their isochrone, by the initial mass function.

What a mock survey needs: the isochrone is interpolated continuously in log age, [Fe/H] and [α/Fe]
at equal EEP (so no star sits on a node of the grid), and one uniform number per star picks the
initial mass from the Kroupa (2001) function restricted to the part of the isochrone that the
survey's limits allow.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.errors import IsochroneError
from migrate_bayes.isochrones.grid import WorkingGrid, build_grid, salaris
from migrate_bayes.isochrones.source import IsochroneSource
from migrate_bayes.parallel import map_blocks

__all__ = ["draw_stars"]

_BLOCK = 4096


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
        In [0, 1): where in the cumulative mass function, restricted to what is allowed.
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
        ``ok``, False where nothing is allowed (the others are then NaN).
    """
    if not isinstance(grid, WorkingGrid):
        grid = build_grid(grid)
    stars = np.broadcast_arrays(
        *(
            np.atleast_1d(np.asarray(v, dtype=np.float64))
            for v in (age, feh, alpha_fe, uniforms, np.inf if abs_g_max is None else abs_g_max)
        )
    )
    tau, metal, alpha, u, faint = (np.ascontiguousarray(v) for v in stars)
    if np.any((u < 0) | (u >= 1)):
        raise IsochroneError("uniforms must lie in [0, 1)")
    if grid.salaris:
        metal, alpha = metal + salaris(alpha), np.zeros_like(alpha)
    out = np.full((len(u), 6), np.nan)
    limits = np.array([*teff_range, *logg_range], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_age = np.log(tau)
    axes = (np.log(grid.ages), grid.feh, grid.alpha)

    def run(start: int, stop: int) -> None:
        s = slice(start, stop)
        _draw(
            *axes, grid.points, grid.mass, grid.first, grid.last,
            log_age[s], metal[s], alpha[s], u[s], faint[s], limits, out[s],
        )  # fmt: skip

    map_blocks(run, len(u), _BLOCK, workers=workers)
    names = ("teff", "logg", "abs_g", "bp_rp", "mass", "probability")
    drawn: dict[str, NDArray] = {name: out[:, k] for k, name in enumerate(names)}
    drawn["ok"] = np.isfinite(out[:, 0])
    return drawn


@njit(cache=True, nogil=True)
def _cell(axis, x):  # type: ignore[no-untyped-def]
    """Return the node below and the fraction to the next; −1 outside (single nodes: always in)."""
    n = len(axis)
    if n == 1:
        return 0, 0.0
    slack = 1e-6
    if not (x >= axis[0] - slack and x <= axis[n - 1] + slack):
        return -1, 0.0
    i = min(max(np.searchsorted(axis, x) - 1, 0), n - 2)
    return i, min(max((x - axis[i]) / (axis[i + 1] - axis[i]), 0.0), 1.0)


@njit(cache=True, nogil=True)
def _draw(  # type: ignore[no-untyped-def]
    log_ages, fehs, alphas, points, masses, first, last,
    log_age, feh, alpha, uniforms, faint, limits, out,
):  # fmt: skip
    """Fill `out` (star, [teff, logg, abs_g, bp_rp, mass, probability]); NaN rows stay."""
    n_eep = points.shape[3]
    track = np.empty((n_eep, 5))
    mass = np.empty(n_eep)
    low = np.empty(n_eep)
    total = np.empty(n_eep)
    for s in range(len(uniforms)):
        i, ti = _cell(log_ages, log_age[s])
        j, tj = _cell(fehs, feh[s])
        k, tk = _cell(alphas, alpha[s])
        if i < 0 or j < 0 or k < 0:
            continue
        track[:] = 0.0
        mass[:] = 0.0
        begin, end = 0, n_eep - 1
        for corner in range(8):
            a, f, b = corner >> 2 & 1, corner >> 1 & 1, corner & 1
            weight = (ti if a else 1 - ti) * (tj if f else 1 - tj) * (tk if b else 1 - tk)
            if weight <= 0.0:
                continue
            begin = max(begin, first[i + a, j + f, k + b])
            end = min(end, last[i + a, j + f, k + b])
            for e in range(n_eep):
                mass[e] += weight * masses[i + a, j + f, k + b, e]
                for c in range(5):
                    track[e, c] += weight * points[i + a, j + f, k + b, e, c]
        # Allowed part of each segment: [low, high] in the fraction u along it.
        cumulative = 0.0
        for e in range(begin, end):
            lo, hi = 0.0, 1.0
            for c in range(3):
                start, step = track[e, c], track[e + 1, c] - track[e, c]
                least = limits[2 * c] if c < 2 else -np.inf
                most = limits[2 * c + 1] if c < 2 else faint[s]
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
        target = uniforms[s] * cumulative
        for e in range(begin, end):
            if total[e] > target:
                before = total[e - 1] if e > begin else 0.0
                t = low[e] + (target - before) / track[e, 4]
                for c in range(4):
                    out[s, c] = track[e, c] + t * (track[e + 1, c] - track[e, c])
                out[s, 4] = mass[e] + t * (mass[e + 1] - mass[e])
                out[s, 5] = cumulative
                break
