r"""The grid that the age estimate works on: isochrones on age × metallicity × [α/Fe], at equal EEP.

**The metallicity axis** of the ``fine`` grid is not [Fe/H] but the [Fe/H] of equal total
metallicity (Salaris et al. 1993, ApJ 414, 580),

.. math:: \phi = [\mathrm{Fe/H}] + S([\alpha/\mathrm{Fe}]),\qquad
   S(a) = \log_{10}(0.638 \cdot 10^{a} + 0.362)

since at equal φ isochrones hardly depend on [α/Fe]: the remaining dependence is small and smooth,
while at equal [Fe/H] it is neither. A family without an [α/Fe] axis is one column in φ. The
``paper`` grid has the nodes of Vickers, Shen & Li (2021) in [Fe/H] and [α/Fe].

**Interpolation** is always at equal EEP: linear in log age; along each [α/Fe] column of the source
by a monotone cubic in [Fe/H] (`scipy.interpolate.PchipInterpolator`), on to regular nodes 0.05 dex
apart. Between the nodes of the ``fine`` grid an isochrone is *defined* as the tensor product of the
cubics of `kernel.cubic` in φ and in [α/Fe], of every quantity; straight lines join its points. The
kernel integrates over this, and so does its reference integral by brute force.

**Whose [Fe/H].** Models are labelled by the *initial* [Fe/H]; a spectrograph sees the surface. In a
dwarf diffusion has depleted it, by what takes the family's own solar-calibrated model (initial
[Fe/H] +0.07 in Dartmouth) to 0 at the age of the Sun; in a giant the convective envelope has
dredged all of it up again (as M67 shows: Souto et al. 2019, ApJ 874, 97). ``feh_scale="surface"``
(the default) therefore reads a point of an isochrone at

.. math:: [\mathrm{Fe/H}]_\mathrm{initial} = [\mathrm{Fe/H}]_\mathrm{surface}
   + w(\log g)\, [\mathrm{Fe/H}]_\mathrm{initial, \odot}

with w = 1 above log g 3.9 and 0 below 3.5, straight between. ``"dwarf"`` takes w = 1 everywhere,
``"initial"`` w = 0: labels taken literally.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.constants import SALARIS_ALPHA, SALARIS_REST
from migrate_bayes.core.errors import IsochroneError, suggest
from migrate_bayes.core.units import in_unit, number
from migrate_bayes.isochrones.age_options import FEH_SCALES, METHODS, AgeMethod, FehScale
from migrate_bayes.isochrones.sources.base import COLUMNS, IsochroneSource, cell_of
from migrate_bayes.isochrones.sources.registry import load_source

#: Gyr; Vickers, Shen & Li (2021), section 2.1.1.
PAPER_AGES = np.concatenate([np.arange(1.0, 5.01, 0.25), np.arange(5.5, 14.51, 0.5)])
#: Gyr; those of the `fine` grid. Ages of the best stars are good to 4%: between nodes 25% apart, as
#: the paper's are at 1 Gyr, their likelihood is not seen, and gradients of the young are off by
#: 0.001 dex/kpc (docs/selection.md).
FINE_AGES = np.round(
    np.concatenate([np.arange(3, 18) / 12, np.arange(12, 24) / 8, PAPER_AGES[8:]]), 4
)
FEH_STEP = 0.05  # dex, of the fine grid
_DREDGED, _DEPLETED = 3.5, 3.9  # log g: see the module's text
_REACH = 0.3  # dex that an [α/Fe] column is continued beyond its ends, for its neighbours' sake
_MAX_BRIDGE = 1.0  # mag between neighbouring points of a giant: a jump to the next phase

# Kroupa (2001, MNRAS 322, 231, eq. 2): dN/dm ∝ m^-slope between these solar masses
_SLOPES, _EDGES = np.array([0.3, 1.3, 2.3]), np.array([0.01, 0.08, 0.5, 120.0])


def salaris(alpha: ArrayLike) -> NDArray[np.float64]:
    """Return S(a), what to add to [Fe/H] for an α-enhanced mixture.

    Parameters
    ----------
    alpha : array-like
        [α/Fe], dex.

    Returns
    -------
    numpy.ndarray
        dex.

    References
    ----------
    Salaris, Chieffi & Straniero 1993, ApJ 414, 580.

    Examples
    --------
    >>> from migrate_bayes.isochrones import salaris
    >>> salaris([0.0, 0.3]).round(3)
    array([0.   , 0.214])
    """
    return np.log10(SALARIS_ALPHA * 10.0 ** np.asarray(alpha, dtype=np.float64) + SALARIS_REST)


def salaris_rate(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivative of `salaris`, S'(a)."""
    enhanced = SALARIS_ALPHA * 10.0**alpha
    return enhanced / (enhanced + SALARIS_REST)


@dataclass(frozen=True, eq=False)
class WorkingGrid:
    """Isochrones ready for the kernels.

    Parameters
    ----------
    ages, metallicity, alpha : numpy.ndarray
        Nodes: Gyr; dex, on the observed scale; dex. `metallicity` is φ of the module's text if
        `total_metallicity`, else [Fe/H].
    points : numpy.ndarray
        float32, shape ``(age, metallicity, alpha, eep, 5)``: T_eff, log g, M_G, BP−RP, and the
        fraction of stars born between this point and the next. Outside an isochrone its first or
        last point is repeated and the fraction is 0.
    mass : numpy.ndarray
        float32, shape ``(age, metallicity, alpha, eep)``: initial mass, solar.
    feh_range : tuple of float
        Least and greatest observed [Fe/H] that the isochrones cover; of φ if there is a single
        [α/Fe] column.
    total_metallicity : bool
        What the metallicity axis is.
    attrs : mapping
        Provenance, as text.

    Examples
    --------
    >>> from migrate_bayes.isochrones import build_grid
    >>> grid = build_grid("dartmouth", method="paper", ages=[2.0, 5.0, 9.0])
    >>> grid.points.shape[:3] == (len(grid.ages), len(grid.metallicity), len(grid.alpha))
    True
    """

    ages: NDArray[np.float64]
    metallicity: NDArray[np.float64]
    alpha: NDArray[np.float64]
    points: NDArray[np.float32]
    mass: NDArray[np.float32]
    feh_range: tuple[float, float]
    total_metallicity: bool
    attrs: Mapping[str, str] = field(default_factory=dict)

    def feh_limits(self, alpha: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the least and the greatest [Fe/H] at an [α/Fe] (dex)."""
        single = self.total_metallicity and len(self.alpha) == 1
        moved = salaris(alpha) if single else np.zeros(np.shape(alpha))
        return self.feh_range[0] - moved, self.feh_range[1] - moved


def build_grid(
    source: str | IsochroneSource,
    *,
    method: AgeMethod = "fine",
    ages: ArrayLike | None = None,
    feh_step: float | None = None,
    feh_scale: FehScale = "surface",
) -> WorkingGrid:
    """Build a working grid.

    Parameters
    ----------
    source : str or IsochroneSource
        What `load_source` takes, or its result.
    method : {"fine", "paper"}
        ``paper``: 1-14.5 Gyr, [Fe/H] −2.4…+0.5 by 0.1, [α/Fe] −0.2…+0.8 by 0.2, inside the source.
        ``fine``: the same ages and 0.25, 0.5, 0.75 Gyr where the source reaches them, metallicities
        `FEH_STEP` apart, and the source's own [α/Fe] nodes.
    ages : array-like or Quantity, optional
        Age nodes, Gyr, instead of the method's; isochrones are interpolated in log age.
    feh_step : float, optional
        Step of the metallicity axis instead of the method's, dex.
    feh_scale : {"surface", "dwarf", "initial"}
        What the observed [Fe/H] is compared with; see the module's text.

    Returns
    -------
    WorkingGrid
        Kept in memory: a second call with the same arguments costs nothing.

    Raises
    ------
    IsochroneError
        If an option is unknown or an age is outside the source.

    Examples
    --------
    >>> from migrate_bayes.isochrones import build_grid
    >>> grid = build_grid("dartmouth", method="paper", ages=[2.0, 5.0, 9.0])
    >>> grid.points.shape[:3], grid.attrs["isochrone_source"]
    ((3, 25, 6), 'dartmouth')
    """
    for what, value, valid in (("method", method, METHODS), ("feh_scale", feh_scale, FEH_SCALES)):
        if value not in valid:
            raise IsochroneError(f"unknown isochrone {what} '{value}': {suggest(value, valid)}")
    if feh_step is not None and not 0 < feh_step <= 0.5:
        raise IsochroneError(f"feh_step is {feh_step}: give a step of at most 0.5 dex")
    if isinstance(source, str):
        source = load_source(source)
    given = None if ages is None else np.atleast_1d(in_unit(ages, "Gyr", "ages"))
    wanted = None if given is None else tuple(given.tolist())
    return _build(source, method, wanted, feh_step, feh_scale)


@lru_cache(maxsize=4)
def _build(
    source: IsochroneSource,
    method: str,
    ages: tuple[float, ...] | None,
    feh_step: float | None,
    feh_scale: str,
) -> WorkingGrid:
    nodes = age_nodes(source, method, ages)
    values = _extend(_at_ages(source, nodes))
    shift = _surface_shift(source, feh_scale)
    # Every point of the isochrone, dwarf and giant, must have its initial [Fe/H] in the source.
    low = round(float(source.feh[0] - shift.min()), 6)
    high = round(float(source.feh[-1] - shift.max()), 6)
    fine = method == "fine"
    if fine:
        alpha = np.ascontiguousarray(source.alpha, dtype=np.float64)
        enhancement = salaris(alpha)
        step = FEH_STEP if feh_step is None else feh_step
        first, last = low + enhancement.min(), high + enhancement.max()
        metallicity = step * np.arange(np.floor(first / step), np.ceil(last / step) + 1)
    else:
        low, high = max(low, -2.4), min(high, 0.5)
        ends = source.alpha[[0, -1]] if source.has_alpha else (-0.2, 0.8)
        alpha = _regular(ends[0], ends[1], 0.2)
        metallicity = _regular(low, high, 0.1 if feh_step is None else feh_step)
        # At given [Fe/H] and [α/Fe] a family without an α axis is read at their φ.
        enhancement = np.zeros(len(alpha)) if source.has_alpha else -salaris(alpha)
    shape = (len(nodes), len(metallicity), len(alpha), *values.shape[3:])
    whole = np.empty(shape, dtype=np.float32)
    for k, a in enumerate(alpha):
        column = values[:, :, int(np.argmin(np.abs(source.alpha - a)))]
        whole[:, :, k] = _along_feh(source.feh, column, metallicity - enhancement[k], shift)
    points, mass = _with_births(whole)
    attrs = {
        "isochrone_source": source.name,
        "isochrone_checksum": source.checksum,
        "isochrone_bands": ", ".join(source.bands),
        "isochrone_note": source.note,
        "age_method": method,
        "feh_scale": feh_scale,
        "feh_initial_minus_observed": f"{shift.max():.3f} (dwarfs), {shift.min():.3f} (giants)",
        "feh_step": f"{metallicity[1] - metallicity[0]:.3f}",
        "alpha_treatment": "own axis" if source.has_alpha else "Salaris et al. (1993)",
    }
    return WorkingGrid(nodes, metallicity, alpha, points, mass, (low, high), fine, attrs)


def age_nodes(source: IsochroneSource, method: str, ages: tuple[float, ...] | None) -> NDArray:
    """Return the age nodes of a method, or those that are given, if a source has them."""
    low, high = source.ages[[0, -1]]
    if ages is None:
        nodes = PAPER_AGES if method == "paper" else FINE_AGES
        return nodes[(nodes >= low * 0.999) & (nodes <= high * 1.001)]
    nodes = np.array(ages, dtype=np.float64)
    if len(nodes) < 2 or np.any(np.diff(nodes) <= 0):
        raise IsochroneError("ages must be two or more, increasing (Gyr)")
    if nodes[0] < low * 0.999 or nodes[-1] > high * 1.001:
        raise IsochroneError(
            f"ages {nodes[0]:g}-{nodes[-1]:g} Gyr reach outside isochrone source '{source.name}', "
            f"which has {low:g}-{high:g} Gyr"
        )
    return nodes


def _regular(low: float, high: float, step: float) -> NDArray[np.float64]:
    """Return the multiples of `step` within the limits."""
    k = np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1)
    return np.round(k * step, 6)


def _at_ages(source: IsochroneSource, nodes: NDArray) -> NDArray[np.float32]:
    """Interpolate in log age, snapping to the source's ages; NaN if either side is NaN."""
    low, t = cell_of(np.log(source.ages), np.log(nodes))
    out = np.empty((len(nodes), *source.values.shape[1:]), dtype=np.float32)
    for i, (k, u) in enumerate(zip(low, t, strict=True)):
        if min(u, 1.0 - u) < 1e-3:
            out[i] = source.values[k + (u > 0.5)]
        else:
            out[i] = (1.0 - u) * source.values[k] + u * source.values[k + 1]
    return out


def _extend(values: NDArray) -> NDArray:
    """Repeat the first and the last point of every isochrone outwards: no NaN is left."""
    good = np.isfinite(values).all(axis=-1)
    if not good.any(axis=-1).all():
        raise IsochroneError("some node of the isochrone grid has no isochrone: narrow the ages")
    n = good.shape[-1]
    last = n - 1 - good[..., ::-1].argmax(axis=-1)
    index = np.clip(np.arange(n), good.argmax(axis=-1)[..., None], last[..., None])
    return np.take_along_axis(values, index[..., None], axis=-2)


def _surface_shift(source: IsochroneSource, feh_scale: str) -> NDArray[np.float64]:
    """Return initial minus observed [Fe/H] of each EEP."""
    n_eep = source.values.shape[3]
    if feh_scale == "initial":
        return np.zeros(n_eep)
    if feh_scale == "dwarf":
        return np.full(n_eep, source.solar_feh_initial)
    typical = np.nanmedian(source.values[..., 2].reshape(-1, n_eep), axis=0)
    return source.solar_feh_initial * np.round(_depletion(typical), 2)


def _depletion(logg: NDArray) -> NDArray[np.float64]:
    """Return w of the module's text along an isochrone."""
    depleted = np.clip((logg - _DREDGED) / (_DEPLETED - _DREDGED), 0.0, 1.0)
    # Once dredged up, what has sunk stays up: gravity rises again in core-helium burning.
    return np.minimum.accumulate(np.where(np.isfinite(depleted), depleted, 1.0))


def _along_feh(axis: NDArray, column: NDArray, targets: NDArray, shift: NDArray) -> NDArray:
    """Interpolate isochrones (age, feh, eep, column) to observed [Fe/H], each point at its own.

    A column is continued in straight lines by `_REACH` beyond its ends, and is constant from there.
    """
    from scipy.interpolate import PchipInterpolator

    out = np.empty((len(column), len(targets), *column.shape[2:]), dtype=np.float32)
    for amount in np.unique(shift):
        here = np.flatnonzero(shift == amount)
        x = np.clip(targets + amount, axis[0] - _REACH, axis[-1] + _REACH)
        inside = np.clip(x, axis[0], axis[-1])
        curve = PchipInterpolator(axis, column[:, :, here].astype(np.float64), axis=1)
        # Rounding may leave a target a hair off a node of the source: that is the node.
        near = axis[np.argmin(np.abs(axis[:, None] - inside), axis=0)]
        inside = np.where(np.abs(near - inside) < 1e-9, near, inside)
        beyond = (x - inside)[None, :, None, None]
        out[:, :, here] = curve(inside) + beyond * curve(inside, nu=1)
    return out


def _with_births(values: NDArray) -> tuple[NDArray, NDArray]:
    """Turn (..., eep, COLUMNS) into points with birth fractions, and masses."""
    mass = np.maximum.accumulate(values[..., 0], axis=-1)
    points = np.empty(values.shape, dtype=np.float32)
    points[..., :4] = values[..., 1:]
    for i in range(len(values)):  # age by age: all of it in double precision would be gigabytes
        born = np.diff(kroupa_cumulative(mass[i]), axis=-1, append=1.0)
        born[..., -1] = 0.0
        jump = np.abs(np.diff(values[i, ..., 3], axis=-1)) > _MAX_BRIDGE
        born[..., :-1][jump & (values[i, ..., :-1, 2] < 3.0)] = 0.0
        points[i, ..., 4] = born
    return points, mass


_AMPLITUDE = np.cumprod(np.append(1.0, _EDGES[1:3] ** np.diff(_SLOPES)))
_COUNT = _AMPLITUDE / (1.0 - _SLOPES)
_COUNT *= _EDGES[1:] ** (1.0 - _SLOPES) - _EDGES[:-1] ** (1.0 - _SLOPES)
_AMPLITUDE = _AMPLITUDE / _COUNT.sum()  # of the power laws, continuous at the edges
_BELOW = np.append(0.0, np.cumsum(_COUNT) / _COUNT.sum())  # fraction of stars below each edge


def kroupa_cumulative(mass: ArrayLike) -> NDArray[np.float64]:
    """Return the fraction of stars born with less than `mass` (solar), of 0.01-120 solar masses."""
    m = np.clip(np.asarray(mass, dtype=np.float64), _EDGES[0], _EDGES[-1])
    i = np.clip(np.searchsorted(_EDGES, m, side="right") - 1, 0, 2)
    power = 1.0 - _SLOPES[i]
    return _BELOW[i] + _AMPLITUDE[i] / power * (m**power - _EDGES[i] ** power)


def isochrone(
    source: str | IsochroneSource,
    age: float,
    feh: float = 0.0,
    alpha_fe: float = 0.0,
    *,
    feh_scale: FehScale = "surface",
) -> dict[str, NDArray[np.float64]]:
    """Interpolate an isochrone at equal EEP: linear in log age, [Fe/H] and [α/Fe].

    Parameters
    ----------
    source : str or IsochroneSource
        What `load_source` takes, or its result.
    age : float or Quantity
        Gyr.
    feh, alpha_fe : float
        dex; [Fe/H] on the scale of `feh_scale`, see `build_grid`. A family without an [α/Fe] axis
        is read at the [Fe/H] of equal total metallicity.
    feh_scale : {"surface", "dwarf", "initial"}
        Whose [Fe/H] is given.

    Returns
    -------
    dict
        Arrays of shape (point,), in the order of evolution: ``mass`` (initial, solar), ``teff`` K,
        ``logg``, ``abs_g`` mag, ``bp_rp`` mag.

    Raises
    ------
    IsochroneError
        If the age or the composition is outside the source.

    Examples
    --------
    >>> from migrate_bayes.isochrones import isochrone
    >>> line = isochrone("dartmouth", 4.57)
    >>> sorted(line)
    ['abs_g', 'bp_rp', 'logg', 'mass', 'teff']
    """
    if isinstance(source, str):
        source = load_source(source)
    age = number(age, "Gyr", "age")
    feh, alpha_fe = number(feh, "", "feh"), number(alpha_fe, "", "alpha_fe")
    if not source.has_alpha:
        feh, alpha_fe = feh + float(salaris(alpha_fe)), float(source.alpha[0])
    values = _between(source, "age", np.log(source.ages), np.log(max(age, 1e-9)), source.values)
    both = []
    for depleted in (feh_scale != "initial", feh_scale == "dwarf"):
        initial = feh + (source.solar_feh_initial if depleted else 0.0)
        column = _between(source, "initial [Fe/H]", source.feh, initial, values)
        both.append(_between(source, "[α/Fe]", source.alpha, alpha_fe, column))
    dwarf, giant = both
    w = _depletion(dwarf[:, COLUMNS.index("logg")])[:, None]
    mixed = np.where(w == 1.0, dwarf, w * dwarf + (1.0 - w) * giant)
    return dict(zip(COLUMNS, mixed[np.isfinite(mixed).all(axis=-1)].T, strict=True))


def _between(
    source: IsochroneSource, what: str, axis: NDArray, x: float, values: NDArray
) -> NDArray[np.float64]:
    """Interpolate along the first axis; a node of no weight does not spread its NaN."""
    if not axis[0] - 1e-6 <= x <= axis[-1] + 1e-6:
        raise IsochroneError(
            f"{what} outside isochrone source '{source.name}', which has "
            f"{source.ages[0]:g}-{source.ages[-1]:g} Gyr, initial [Fe/H] {source.feh[0]:+.2f} to "
            f"{source.feh[-1]:+.2f}, [α/Fe] {source.alpha[0]:+.1f} to {source.alpha[-1]:+.1f}"
        )
    if len(axis) == 1:
        return values[0].astype(np.float64)
    i, t = cell_of(axis, x)
    if t in (0.0, 1.0):
        return values[i + int(t)].astype(np.float64)
    return (1.0 - t) * values[i].astype(np.float64) + t * values[i + 1].astype(np.float64)
