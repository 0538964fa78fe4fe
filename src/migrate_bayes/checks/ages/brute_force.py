r"""The age likelihood by brute force: what the kernel must agree with, and is timed against.

For one star and every age node, with the isochrones' points :math:`m(u; f, a)` read between nodes
by the rule that `grid` states,

.. math:: L(\tau) = \int_{f,\,a\ \mathrm{inside}} df\, da\; N(f_0; f, s_f^2)\, N(a_0; a, s_a^2)
   \sum_\mathrm{segments} \xi_j(f, a) \int_0^1 du\; N(d; m_j(u; f, a), \Sigma)

by Gauss-Legendre quadrature in all three, over the whole of every isochrone and six errors of the
composition. Panels end where the interpolant has a kink (at the grid's nodes) and at the limits of
the grid, so that the quadrature converges fast; halving `panel`, their width in errors, shows how
well it has. This second code shares with the package only the grid's points and `salaris`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from migrate_bayes.isochrones import WorkingGrid, salaris

#: Width of a panel, in errors, at which ln L is good to 1e-4 where it matters.
PANEL = 2.0

_REACH = 6.0  # errors of [Fe/H] and [α/Fe] that are integrated over
_NOTHING = 25.0  # errors: what is further, in one observable, has less than e^-312 to add
_OBSERVABLES = ("teff", "logg", "abs_g", "bp_rp")


class Tracks:
    """Isochrones of any composition, interpolated as `grid` says.

    Cubic in φ and in [α/Fe], of every quantity and point by point, with the slope of a node that of
    the parabola through it and its neighbours, and at an end of the axis that of the last step. The
    `grid` is a ``fine`` one.
    """

    def __init__(self, grid: WorkingGrid) -> None:
        self.grid = grid
        self._points = np.ascontiguousarray(grid.points.transpose(1, 2, 0, 3, 4))
        self._by_metallicity = _cardinal(grid.metallicity)
        self._by_alpha = _cardinal(grid.alpha)
        self.alpha_limits = (-0.2, 0.8) if len(grid.alpha) == 1 else (grid.alpha[0], grid.alpha[-1])

    def at_alpha(self, alpha: float, low: float, high: float) -> Callable[[float], NDArray]:
        """Return points (age, eep, T_eff…born) as a function of [Fe/H] from `low` to `high`."""
        enhancement = float(salaris(alpha))
        nodes = self.grid.metallicity - enhancement
        near = slice(max(int(np.searchsorted(nodes, low)) - 2, 0), np.searchsorted(nodes, high) + 2)
        column = np.zeros((len(nodes[near]), *self._points.shape[2:]))
        for k in np.flatnonzero(weights := self._by_alpha(alpha)):
            column += weights[k] * self._points[near, k]
        shape, flat = column.shape[1:], column.reshape(len(column), -1)

        def isochrones(feh: float) -> NDArray[np.float64]:
            by_node = self._by_metallicity(feh + enhancement)[near]
            some = np.flatnonzero(by_node)
            used = slice(some[0], some[-1] + 1)
            return (by_node[used] @ flat[used]).reshape(shape)

        return isochrones


def _cardinal(axis: NDArray) -> Callable[[float], NDArray[np.float64]]:
    """Return a function of x: the weights of all nodes at x."""
    if len(axis) == 1:
        return lambda x: np.ones(1)
    each = np.eye(len(axis))
    slopes = np.gradient(each, axis, axis=0, edge_order=1)
    spline = CubicHermiteSpline(axis, each, slopes)
    return lambda x: spline(np.clip(x, axis[0], axis[-1]))


def _panels(low: float, high: float, kinks: NDArray, width: float) -> tuple[NDArray, NDArray]:
    """Return nodes and weights of a composite six-point Gauss-Legendre rule."""
    if high <= low:
        return np.empty(0), np.empty(0)
    edges = np.concatenate([[low], kinks[(kinks > low) & (kinks < high)], [high]])
    cut = [np.linspace(a, b, int(np.ceil((b - a) / width)) + 1)[:-1] for a, b in pairwise(edges)]
    starts = np.append(np.concatenate(cut), high)
    half = 0.5 * np.diff(starts)
    x, w = np.polynomial.legendre.leggauss(6)
    return (starts[:-1] + half + half * x[:, None]).T.ravel(), (half * w[:, None]).T.ravel()


def _gaussian(x: NDArray, mean: float, sd: float) -> NDArray[np.float64]:
    return np.exp(-0.5 * ((x - mean) / sd) ** 2) / (np.sqrt(2.0 * np.pi) * sd)


def reference_log_likelihood(
    star: Mapping[str, tuple[float, float]],
    tracks: Tracks,
    *,
    panel: float = PANEL,
    correlation: NDArray | None = None,
) -> NDArray[np.float64]:
    """Return one star's ln L at every age, ``-inf`` if L is below what a float64 can hold.

    The star has some of ``teff`` K, ``logg``, ``feh``, ``alpha_fe`` dex, ``abs_g``, ``bp_rp`` mag:
    value and error. Without ``alpha_fe`` it is 0 exactly. `correlation` (3, 3) is that of the
    errors of T_eff, log g and [Fe/H]; their isochrones are whitened by its Cholesky factor.
    """
    grid, obs, inv, constant = tracks.grid, np.zeros(4), np.zeros(4), 1.0
    for k, name in enumerate(_OBSERVABLES):
        if name in star:
            obs[k], inv[k] = star[name][0], 1.0 / star[name][1]
            constant *= inv[k] / np.sqrt(2.0 * np.pi)
    f0, sf = star["feh"]
    sharp, seen, width = None, obs.copy(), sf
    if correlation is not None:
        first_feh = np.ix_([2, 0, 1], [2, 0, 1])
        factor = np.linalg.cholesky(np.asarray(correlation)[first_feh])
        sharp = np.linalg.inv(factor) / np.array([sf, star["teff"][1], star["logg"][1]])
        constant *= sharp[1, 1] * sharp[2, 2] / (inv[0] * inv[1])
        obs[:2], inv[:2], width = 0.0, 1.0, 1.0 / float(np.linalg.norm(sharp[:, 0]))
    a0, sa = star.get("alpha_fe", (0.0, 0.0))
    if sa > 0.0:
        ends = tracks.alpha_limits
        low, high = max(ends[0], a0 - _REACH * sa), min(ends[1], a0 + _REACH * sa)
        alphas, weights = _panels(low, high, grid.alpha, panel * sa)
        weights = weights * _gaussian(alphas, a0, sa)
    else:
        alphas, weights = np.array([a0]), np.ones(1)
    total = np.zeros(len(grid.ages))
    for a, wa in zip(alphas, weights, strict=True):
        least, most = grid.feh_limits(a)
        low, high = max(float(least), f0 - _REACH * sf), min(float(most), f0 + _REACH * sf)
        isochrones = tracks.at_alpha(a, low, high)
        fehs, wf = _panels(low, high, grid.metallicity - float(salaris(a)), panel * width)
        for f, w in zip(fehs, wa * wf * _gaussian(fehs, f0, sf), strict=True):
            points = isochrones(f)
            if sharp is not None:
                errors = f0 - f, seen[0] - points[..., 0], seen[1] - points[..., 1]
                for k in (1, 2):
                    points[..., k - 1] = sum(sharp[k, m] * errors[m] for m in range(k + 1))
            _add(points, obs, inv, w, panel, total)
    with np.errstate(divide="ignore"):
        return np.log(total * constant)


_X, _W = np.polynomial.legendre.leggauss(4)
_U, _DU = 0.5 * (1.0 + _X), 0.5 * _W


@njit(cache=True, nogil=True)
def _add(points, obs, inv, weight, panel, total):  # type: ignore[no-untyped-def]
    """Add the integral along the isochrones of all ages, times `weight`."""
    for i in range(len(points)):
        along = 0.0
        for e in range(points.shape[1] - 1):
            born = points[i, e, 4]
            if born <= 0.0:
                continue
            length, away = 0.0, 0.0
            for c in range(4):
                a, b = (points[i, e, c] - obs[c]) * inv[c], (points[i, e + 1, c] - obs[c]) * inv[c]
                length += (b - a) ** 2
                away = max(away, a, -b) if b >= a else max(away, b, -a)
            if away > _NOTHING:
                continue
            pieces = max(int(np.ceil(np.sqrt(length) / panel)), 1)
            for piece in range(pieces):
                for k in range(4):
                    u = (piece + _U[k]) / pieces
                    chi2 = 0.0
                    for c in range(4):
                        x = points[i, e, c] + u * (points[i, e + 1, c] - points[i, e, c])
                        chi2 += ((x - obs[c]) * inv[c]) ** 2
                    along += born * _DU[k] / pieces * np.exp(-0.5 * chi2)
        total[i] += weight * along
