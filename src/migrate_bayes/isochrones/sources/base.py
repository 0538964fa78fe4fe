"""Common data structure of the isochrones of every family.

An `IsochroneSource` holds every isochrone of a family on its own nodes of age, [Fe/H] and [α/Fe],
aligned at equal evolutionary points (EEP), with Gaia magnitudes. The age estimate works on the
`WorkingGrid` that `build_grid` makes of it. Raw isochrones are first made fit to interpolate:
whole, with masses that grow (`mend`), dense enough (`refine`), and at every node (`fill_between`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Last axis of `IsochroneSource.values`: initial mass (solar), K, dex, mag, mag.
COLUMNS = ("mass", "teff", "logg", "abs_g", "bp_rp")
#: Points are added to isochrones whose neighbours are further apart, mag in M_G.
MAX_STEP = 0.15
#: What steps along an isochrone are measured in: K, dex, mag, a survey's errors.
ARC_SCALE = np.array([22.6, 0.05, 0.1])
#: Fraction of the mass by which it may step back along an isochrone: 0.03 in Dartmouth's splices.
DAMAGE = 0.05
#: Points of equal mass at the beginning of an isochrone from which on they are taken for padding.
PADDING = 5
# Log g that the tip lies below, and dex from there to the clump: loops of young stars are smaller.
_TIP, _CLUMP_RISE = 1.5, 1.5


def cell_of(axis: NDArray, x: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the node of `axis` below `x`, and how far `x` is to the next, from 0 to 1."""
    low = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2)
    return low, np.clip((x - axis[low]) / (axis[low + 1] - axis[low]), 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class IsochroneSource:
    """A family of isochrones.

    Parameters
    ----------
    name : str
        What `load_source` was given.
    ages : numpy.ndarray
        Gyr, increasing.
    feh : numpy.ndarray
        *Initial* [Fe/H] of the models, increasing.
    alpha : numpy.ndarray
        [α/Fe] of the models, increasing; a single 0 if the family has no such axis.
    eep : numpy.ndarray
        Evolutionary points, the common numbering of all isochrones; fractional where added.
    values : numpy.ndarray
        float32, shape ``(age, feh, alpha, eep, COLUMNS)``. NaN before the first and after the last
        point of an isochrone, never between.
    solar_feh_initial : float
        Initial [Fe/H] of the family's own solar-calibrated model: diffusion takes its surface from
        there to 0 at the age of the Sun.
    bands : tuple of str
        Photometric bands of G, BP and RP.
    checksum : str
        SHA-256 over the files read.
    note : str
        What a referee should know.

    Examples
    --------
    >>> from migrate_bayes.isochrones import load_source
    >>> source = load_source("dartmouth")
    >>> source.bands, source.has_alpha
    (('Gaia_G_EDR3', 'Gaia_BP_EDR3', 'Gaia_RP_EDR3'), False)
    """

    name: str
    ages: NDArray[np.float64]
    feh: NDArray[np.float64]
    alpha: NDArray[np.float64]
    eep: NDArray[np.float64]
    values: NDArray[np.float32]
    solar_feh_initial: float
    bands: tuple[str, ...]
    checksum: str
    note: str = ""

    @property
    def has_alpha(self) -> bool:
        """Whether the family was computed at more than one [α/Fe]."""
        return len(self.alpha) > 1

    @cached_property
    def has_clump(self) -> bool:
        """Whether it has core-helium burning: gravity rises again after the tip of the branch."""
        logg = self.values[..., COLUMNS.index("logg")]
        lowest = np.fmin.accumulate(logg, axis=-1)
        return bool(np.any((logg - lowest > _CLUMP_RISE) & (lowest < _TIP)))

    @cached_property
    def lowest_logg(self) -> float:
        """Log g that only one in ten of its isochrones goes below."""
        lowest = np.fmin.reduce(self.values[..., COLUMNS.index("logg")], axis=-1)
        return float(np.nanquantile(lowest, 0.1))

    def describe(self) -> dict[str, str]:
        """State what the family covers, as text: what a table of sources shows."""

        def axis(x: NDArray) -> str:
            return f"{x[0]:g} to {x[-1]:g} ({len(x)})" if len(x) > 1 else "none"

        return {
            "source": self.name,
            "ages [Gyr]": axis(np.round(self.ages, 3)),
            "[Fe/H] initial": axis(np.round(self.feh, 3)),
            "of the Sun": f"{self.solar_feh_initial:+.2f}",
            "[α/Fe]": axis(self.alpha) if self.has_alpha else "Salaris et al. 1993",
            "bands": ", ".join(self.bands),
            "SHA-256": self.checksum,
            "note": self.note,
        }


def mend(values: NDArray) -> NDArray:
    """Fill points missing inside isochrones and make the initial mass never decrease.

    `values`, of shape ``(..., eep, column)`` with the mass first and NaN without a point, are
    changed in place and returned. If the mass steps back by no more than `DAMAGE`, the greatest so
    far stands: isochrones loop at the hook of the turn-off, and two sets of models may be spliced,
    so a point keeps its place and no star is born twice. If it steps back further, as few points
    are taken out as will do (`rising`). Of a run of `PADDING` or more equal masses at the
    beginning, a grid's lower limit repeated, only the last stays. Gaps are interpolated linearly in
    EEP; an isochrone with fewer than two points is emptied.
    """
    flat = values.reshape(-1, *values.shape[-2:])
    points = np.arange(values.shape[-2])
    for track in flat:
        good = np.isfinite(track).all(axis=1)
        at = np.flatnonzero(good)
        mass = track[at, 0]
        if np.any(mass < (1.0 - DAMAGE) * np.maximum.accumulate(mass)):
            good[at] = rising(mass)
        kept = mass[good[at]]
        padding = int((kept == kept[0]).argmin()) if len(kept) else 0
        if padding >= PADDING:
            good[at[good[at]][: padding - 1]] = False
        if good.sum() < 2:
            track[:] = np.nan
            continue
        first, last = points[good][[0, -1]]
        for column in range(track.shape[1]):
            track[first : last + 1, column] = np.interp(
                points[first : last + 1], points[good], track[good, column]
            )
        track[:first] = track[last + 1 :] = np.nan
        whole = track[first : last + 1, 0]
        np.maximum.accumulate(whole, out=whole)
    return values


def rising(mass: NDArray) -> NDArray[np.bool_]:
    """Mark the longest selection of points along which the mass does not decrease.

    A damaged isochrone may begin with points of another mass altogether (YaPSI at [Fe/H] = 0.4:
    two solar masses, then 0.6). The greatest mass so far would leave all that follows no births. A
    run of equal masses counts as one point, so that padding never outvotes a track.
    """
    if len(mass) < 2 or np.all(np.diff(mass) >= 0):
        return np.ones(len(mass), dtype=bool)
    new = np.concatenate([[True], np.diff(mass) != 0])
    run = np.cumsum(new) - 1
    level = mass[new]
    # Patience sorting: ends[k] is the run that ends the best selection of k + 1 runs so far.
    ends: list[int] = []
    before = np.full(len(level), -1)
    for i, m in enumerate(level):
        k = int(np.searchsorted(level[ends], m, side="right")) if ends else 0
        before[i] = ends[k - 1] if k else -1
        ends[k : k + 1] = [i]
    keep = np.zeros(len(level), dtype=bool)
    i = ends[-1]
    while i >= 0:
        keep[i] = True
        i = before[i]
    return keep[run]


def fill_between(axis: NDArray, values: NDArray, absent: NDArray) -> None:
    """Replace the isochrones `absent` from nodes of the first axis by linear interpolation.

    `values`, of shape ``(axis, ...)``, are changed in place, but not outside the nodes present.
    """
    present = np.flatnonzero(~absent)
    for i in np.flatnonzero(absent):
        below, above = present[present < i], present[present > i]
        if len(below) and len(above):
            low, high = below[-1], above[0]
            fraction = (axis[i] - axis[low]) / (axis[high] - axis[low])
            values[i] = (1.0 - fraction) * values[low] + fraction * values[high]


def renumber(
    values: NDArray, last: int, count: int, *, scale: NDArray = ARC_SCALE
) -> NDArray[np.float32]:
    """Number the points before point `last` anew, by the fraction of the mass there that they have.

    Up to the base of the giant branch isochrones of neighbouring composition may be numbered unlike
    (native Dartmouth: by a fifth of the mass), and then none between them is like either. All those
    of one age get the same `count` fractions of the way from the least mass that they have in
    common to their mass at point `last`: evenly spaced along the arc, in units of `scale` (K, dex,
    mag), of the isochrone in the middle of the compositions. From `last` on they are as they were.

    Parameters
    ----------
    values : numpy.ndarray
        Mended isochrones, shape ``(composition, age, eep, column)``.
    last, count : int
        See above.
    scale : numpy.ndarray
        Of T_eff, log g and M_G.

    Returns
    -------
    numpy.ndarray
        Shape ``(composition, age, count + eep - last, column)``.
    """
    n_composition, n_age, n_eep, n_column = values.shape
    out = np.empty((n_composition, n_age, count + n_eep - last, n_column), dtype=np.float32)
    out[:, :, count:] = values[:, :, last:]
    for k in range(n_age):
        tracks = [track[np.isfinite(track[:, 0])] for track in values[:, k, : last + 1]]
        # Masses that stand still in single precision still have an order.
        masses = [t[:, 0] + 1e-9 * np.arange(len(t)) for t in tracks]
        least = max(m[0] for m in masses)
        middle = tracks[len(tracks) // 2][:, 1:4].astype(np.float64)
        mass = masses[len(tracks) // 2]
        arc = np.append(0.0, np.cumsum(np.hypot.reduce(np.diff(middle, axis=0) / scale, axis=1)))
        first = float(np.interp(least, mass, arc))
        fraction = np.interp(np.linspace(first, arc[-1], count + 1)[:-1], arc, mass) - least
        fraction /= mass[-1] - least
        for target, track, m in zip(out[:, k], tracks, masses, strict=True):
            wanted = least + fraction * (m[-1] - least)
            for column in range(n_column):
                target[:count, column] = np.interp(wanted, m, track[:, column])
    return out


def refine(
    eep: NDArray, values: NDArray, *, column: int = COLUMNS.index("abs_g"), step: float = MAX_STEP
) -> tuple[NDArray[np.float64], NDArray]:
    """Insert points where isochrones are sparse (the lower main sequence of the Dartmouth grids).

    There a straight line cuts the curve by hundredths of a magnitude. Steps in `column` of mended
    `values`, of shape ``(..., eep, column)``, become no longer than `step` in nine isochrones of
    ten, with up to three new points on a monotone cubic in EEP. Return the numbering of the points,
    new ones fractional, and the values.
    """
    flat = values.reshape(-1, *values.shape[-2:])
    gap = np.abs(np.diff(flat[..., column], axis=-1))
    present = np.isfinite(gap).any(axis=0)
    typical = np.zeros(gap.shape[1])
    typical[present] = np.nanpercentile(gap[:, present], 90, axis=0)
    pieces = np.clip(np.ceil(typical / step), 1, 4).astype(int)
    from scipy.interpolate import PchipInterpolator

    position = np.concatenate(
        [i + np.arange(k) / k for i, k in enumerate(pieces)] + [[len(pieces)]]
    )
    new = np.flatnonzero(position % 1 > 0)
    old = np.searchsorted(position, np.arange(len(eep)))
    out = np.full((len(flat), len(position), flat.shape[-1]), np.nan, dtype=values.dtype)
    out[:, old] = flat
    for track, target in zip(flat, out, strict=True):
        good = np.flatnonzero(np.isfinite(track[:, column]))
        inside = new[(position[new] > good[0]) & (position[new] < good[-1])] if len(good) else []
        if len(inside):
            target[inside] = PchipInterpolator(good, track[good])(position[inside])
    numbers = np.interp(position, np.arange(len(eep)), eep)
    return numbers, out.reshape(*values.shape[:-2], *out.shape[-2:])
