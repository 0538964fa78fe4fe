r"""Tables of the share of stars that a survey takes: by place, magnitude and colour.

A table is by any of

* **place**: ``healpix``, a pixel's number; or ``ra``, ``dec`` and ``radius`` (ICRS, deg), a field;
* **magnitude** as observed: ``G``, ``BP``, ``RP``; SDSS ``g``, ``r``, ``i``; ``J``, ``H``, ``Ks``;
* **colour**: of any two of these bands, as observed, ``BP-RP``, or free of extinction, ``(J-Ks)0``.

Magnitudes and colours are those of the isochrone at the star's place, behind its dust, in other
bands than G by `catalog.passbands` (G - RP from BP - RP, as the mock survey has it).

A column ``BP-RP`` holds points: rows are all their combinations, at every place; between points the
share is linear, and beyond the first and the last it is theirs. Columns ``H_min`` and ``H_max``
are the ends of a bin, from the first to below the second: in it the share is constant, and 0 where
there is no bin. At a place that the table does not have the share is 0. If several fields or bins
hold a star, it is taken if one of them takes it: :math:`1 - \prod (1 - p)`. Tables multiply.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from migrate_bayes.catalog.passbands import OTHER_BANDS, in_band
from migrate_bayes.mock.footprint import galactic
from migrate_bayes.mock.stars import G_RP

Columns = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_GAIA = ("G", "BP", "RP")
BANDS = (*_GAIA, *OTHER_BANDS)
"""Bands in which injected stars have magnitudes."""
_BAND = "|".join(BANDS)
_AXIS = re.compile(rf"(?:{_BAND})|(?:{_BAND})-(?:{_BAND})|\((?:{_BAND})-(?:{_BAND})\)0")
FIELD = ("ra", "dec", "radius")


def _magnitude(band: str, star: Columns) -> Floats:
    if band in _GAIA:
        return np.asarray(star[band.lower()], dtype=np.float64)
    return in_band(band, star["g"], star["bp"] - star["rp"])


def is_axis(name: str) -> bool:
    """Tell a magnitude or colour that injected stars have."""
    return bool(_AXIS.fullmatch(name))


def value_of(axis: str, star: Columns) -> Floats:
    """Return a magnitude or colour (mag) of stars with ``g``, ``bp``, ``rp`` and ``bp_rp``."""
    if axis.startswith("("):  # without dust; what G is does not matter
        c = np.asarray(star["bp_rp"], dtype=np.float64)
        star = {"g": np.zeros_like(c), "bp": (1.0 - G_RP) * c, "rp": -G_RP * c}
        axis = axis[1:-2]
    first, _, second = axis.partition("-")
    value = _magnitude(first, star)
    return value - _magnitude(second, star) if second else value


@dataclass(frozen=True)
class Pixels:
    """Pixels of the sky: their numbers in increasing order."""

    number: Ints
    nside: int
    scheme: str
    frame: str

    def cells_of(self, star: Columns) -> tuple[Ints, Ints]:
        """Return stars and the pixels of the table that they are in."""
        from astropy import units as u
        from astropy_healpix import lonlat_to_healpix

        lon, lat = star["ra"], star["dec"]
        if self.frame == "galactic":
            lon, lat = galactic(lon, lat)
        pixel = lonlat_to_healpix(lon * u.deg, lat * u.deg, self.nside, order=self.scheme)
        at = np.minimum(np.searchsorted(self.number, pixel), len(self.number) - 1)
        found = np.flatnonzero(self.number[at] == pixel)
        return found, at[found]


@dataclass(frozen=True)
class Fields:
    """Circles on the sky: unit vectors, and radii as chords."""

    centre: Floats
    chord: Floats

    @classmethod
    def of(cls, ra: Floats, dec: Floats, radius: Floats) -> Fields:
        """Take centres and radii, deg."""
        return cls(_vectors(ra, dec), 2.0 * np.sin(0.5 * np.radians(radius)))

    def cells_of(self, star: Columns) -> tuple[Ints, Ints]:
        """Return stars and the fields that they are in; a star may be in several."""
        if not len(star["ra"]):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        tree = cKDTree(_vectors(star["ra"], star["dec"]))
        inside = tree.query_ball_point(self.centre, self.chord)
        which = np.repeat(np.arange(len(inside)), [len(stars) for stars in inside])
        return np.array(list(itertools.chain.from_iterable(inside)), dtype=np.int64), which


@dataclass(frozen=True)
class Everywhere:
    """The whole sky."""

    def cells_of(self, star: Columns) -> tuple[Ints, Ints]:
        """Return all stars, each in the only cell."""
        n = len(star["g"])
        return np.arange(n), np.zeros(n, dtype=np.int64)


def _vectors(ra: Floats, dec: Floats) -> Floats:
    a, d = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


@dataclass(frozen=True)
class Points:
    """Shares at all combinations of points of the axes: `values` of shape (cell, *points)."""

    points: tuple[Floats, ...]
    values: Floats

    def at(self, cell: Ints, x: list[Floats]) -> Floats:
        """Return shares of stars in cells, linear between points."""
        if not self.points:
            return self.values[cell]
        low, part = [], []
        for points, of_star in zip(self.points, x, strict=True):
            i = np.clip(np.searchsorted(points, of_star, side="right") - 1, 0, len(points) - 1)
            up = np.minimum(i + 1, len(points) - 1)
            width = np.where(up > i, points[up] - points[i], 1.0)
            low.append((i, up))
            part.append(np.where(up > i, np.clip((of_star - points[i]) / width, 0.0, 1.0), 0.0))
        corners = [self.values[(cell, *corner)] for corner in itertools.product(*low)]
        for t in reversed(part):  # neighbours in the list are so along the last axis
            corners = [a + t * (b - a) for a, b in itertools.batched(corners, 2)]
        return corners[0]

    def ends(self, axis: int) -> tuple[float, float]:
        """Return the first and the last value of an axis."""
        return float(self.points[axis][0]), float(self.points[axis][-1])


@dataclass(frozen=True)
class Bins:
    """Shares of bins: `low`, `high` of shape (cell, bin, axis), `values` (cell, bin), 0 of none."""

    low: Floats
    high: Floats
    values: Floats

    def at(self, cell: Ints, x: list[Floats]) -> Floats:
        """Return shares of stars in cells: that any of their bins takes them."""
        missed = np.ones(len(cell))
        for k in range(self.values.shape[1]):
            inside = np.ones(len(cell), dtype=bool)
            for axis, of_star in enumerate(x):
                inside &= (of_star >= self.low[cell, k, axis]) & (
                    of_star < self.high[cell, k, axis]
                )
            missed *= 1.0 - np.where(inside, self.values[cell, k], 0.0)
        return 1.0 - missed

    def ends(self, axis: int) -> tuple[float, float]:
        """Return the first and the last value of an axis."""
        return float(np.nanmin(self.low[..., axis])), float(np.nanmax(self.high[..., axis]))


@dataclass(frozen=True)
class ShareTable:
    """One table: places, the axes of magnitude and colour, and the shares on them.

    Parameters
    ----------
    name : str
        Of the file.
    place : object
        Pixels, fields or the whole sky.
    axes : tuple of str
        Magnitudes and colours.
    shares : object
        Of points, or of bins.

    Examples
    --------
    >>> import numpy as np
    >>> from migrate_bayes.inject.shares import Everywhere, Points, ShareTable
    >>> shares = Points((np.array([10.0, 18.0]),), np.array([[1.0, 0.0]]))
    >>> table = ShareTable("share.csv", Everywhere(), ("G",), shares)
    >>> table.of({"g": np.array([9.0, 12.0, 14.0])})
    array([1.  , 0.75, 0.5 ])
    """

    name: str
    place: Pixels | Fields | Everywhere
    axes: tuple[str, ...]
    shares: Points | Bins

    @property
    def needs_place(self) -> bool:
        """Whether it asks where a star is."""
        return not isinstance(self.place, Everywhere)

    @property
    def needs_colour(self) -> bool:
        """Whether it asks for more than G."""
        return any(axis != "G" for axis in self.axes)

    def of(self, star: Columns) -> Floats:
        """Return the share of stars like these that are taken, from 0 to 1."""
        which, cell = self.place.cells_of(star)
        share = self.shares.at(cell, [value_of(axis, star)[which] for axis in self.axes])
        n = len(star["g"])
        if not isinstance(self.place, Fields):
            out = np.zeros(n)
            out[which] = share
            return out
        missed = np.ones(n)
        np.multiply.at(missed, which, 1.0 - share)
        return 1.0 - missed

    @property
    def most(self) -> float:
        """A bound of the shares; 1 if several rows may hold a star."""
        if isinstance(self.place, Fields) or isinstance(self.shares, Bins):
            return 1.0
        return float(self.shares.values.max())

    def ends_at(self, axis: str) -> bool:
        """Whether no star beyond the ends of an axis, or at no place, is taken."""
        return axis == "place" or isinstance(self.shares, Bins)

    def outside(self, star: Columns) -> dict[str, float]:
        """Return the share of stars beyond the ends of each axis, or at no place of the table."""
        n = len(star["g"])
        out = {}
        if self.needs_place:
            out["place"] = 1.0 - len(np.unique(self.place.cells_of(star)[0])) / n
        for k, axis in enumerate(self.axes):
            low, high = self.shares.ends(k)
            x = value_of(axis, star)
            out[axis] = float(np.mean((x < low) | (x > high)))
        return out


@dataclass(frozen=True)
class Shares:
    """Tables of the shares that a survey takes, multiplied."""

    tables: tuple[ShareTable, ...] = ()

    @property
    def needs_place(self) -> bool:
        """Whether any asks where a star is."""
        return any(table.needs_place for table in self.tables)

    @property
    def needs_colour(self) -> bool:
        """Whether any asks for more than G."""
        return any(table.needs_colour for table in self.tables)

    def of(self, star: Columns) -> Floats:
        """Return the product of the shares, each relative to the greatest of its table.

        Only ratios matter: what all stars have in common cancels.
        """
        out = np.ones(len(star["g"]))
        for table in self.tables:
            out *= table.of(star) / table.most
        return out


NO_SHARES = Shares()
