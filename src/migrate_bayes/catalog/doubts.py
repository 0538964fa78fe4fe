"""What is doubtful about a whole catalogue: said as a warning, or an error if it cannot be right.

A unit that a file does not state is taken to be the canonical one. If it is another, the values
contradict each other: most lie out of bounds, or distance times parallax is 1000.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.catalog.cleaning import NINES, Seen
from migrate_bayes.catalog.columns import COLUMNS, MAX_DISTANCE
from migrate_bayes.catalog.maps import Step
from migrate_bayes.core.errors import CatalogError, CatalogWarning

Floats = NDArray[np.float64]

_SAMPLE = 65_536  # rows in which values are held against each other
_MOST = 0.5  # share of a column's values that cannot be wrong if the unit is right
_KMS = 4.740470463533349  # km/s per (kpc mas/yr)
_FASTEST, _SLOWEST = 1500.0, 0.1  # km/s: median tangential speed of no sample of stars
_BRIGHTEST = -9.0  # mag: median M_G of no sample
_NEVER_ZERO = frozenset((
    "ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity", "phot_g_mean_mag",
    "phot_bp_mean_mag", "phot_rp_mean_mag", "logg", "parallax_error", "pmra_error", "pmdec_error",
    "radial_velocity_error",
))  # fmt: skip
"""Columns in which exactly 0 is no measurement, if it stands in many rows."""
_ENOUGH = 20  # rows from which a sample tells of units
_TRIPLES = (("distance", "distance_lo", "distance_hi"), ("age", "age_lo", "age_hi"))


class Doubts:
    """Counts over a catalogue, as it is read."""

    def __init__(self, path: Any, steps: Mapping[str, Step]) -> None:
        self.path, self.steps = path, steps
        self.seen = {name: Seen() for name in steps}
        self._sides = {triple: np.zeros(4, dtype=np.int64) for triple in _TRIPLES}
        self._sample: dict[str, Floats] = {}
        self._said = 0

    def add(
        self, values: Mapping[str, Floats], ids: NDArray[Any], seen: Mapping[str, Seen]
    ) -> None:
        """Take in the canonical values of some rows, before distances are completed."""
        for name, what in seen.items():
            self.seen[name].add(what)
        if not self._sample:
            every = slice(None, None, -(-len(ids) // _SAMPLE) or 1)
            self._sample = {name: column[every].copy() for name, column in values.items()}
            self._rounded(ids[every])
        for triple, counts in self._sides.items():
            if all(name in values for name in triple):
                mid, low, high = (values[name] for name in triple)
                with np.errstate(invalid="ignore"):
                    right = np.count_nonzero((low <= mid) & (mid <= high))
                    if right == len(mid):
                        counts[:2] += right
                        continue
                    known = np.count_nonzero(np.isfinite(low + mid + high))
                    errors = np.count_nonzero((low < mid) & (high < mid))
                    swapped = np.count_nonzero((high <= mid) & (mid <= low) & (high < low))
                counts += (right, known, errors, swapped)

    def _rounded(self, ids: NDArray[Any]) -> None:
        """Refuse 64-bit identifiers that have been through floating point, which rounds them.

        Gaia's are multiples of 128: from 2^60 on, one in 2, 4 or 8 happens to be as round.
        """
        if ids.dtype.kind != "i":
            return
        large = ids[np.abs(ids) >= 2**60]
        if large.size == 0 or np.any(large.astype(np.float64) != large.astype(np.longdouble)):
            return
        bits = np.floor(np.log2(np.abs(large.astype(np.float64))))
        if np.sum(bits - 59) >= 15:
            raise CatalogError(
                f"{self.path}: the identifiers have lost digits: every one of them is as round as "
                f"floating point makes it ({large[0]}, ...). Read them from the original as 64-bit "
                "integers or text, or use source_id = { row_number = true }"
            )

    def say(self, text: str) -> None:
        """Warn, naming the table."""
        self._said += 1
        warnings.warn(f"{self.path}: {text}", CatalogWarning, stacklevel=5)

    def _columns(self, *names: str) -> str:
        found = (", ".join(f"'{o}'" for o in self.steps[n].operands) for n in names)
        return " and ".join(found)

    def finish(self) -> None:
        """Say what is doubtful, or raise a `CatalogError` if it cannot be right."""
        self._bounds()
        for triple, counts in self._sides.items():
            self._two_sides(triple, *counts.tolist())
        before = self._said
        self._against_each_other()
        self._alone(against=self._said > before)
        for name, values in self._sample.items():
            self._repeated(name, values)

    def _repeated(self, name: str, values: Floats) -> None:
        """Say of a value that is exactly the same in many rows that it may mark a missing one."""
        if name not in COLUMNS:
            return
        known = values[np.isfinite(values)]
        marks = np.isin(np.abs(known), NINES[NINES > 9.0])
        if name in ("a_v", "ebv"):
            marks |= known == -1.0
        if name in _NEVER_ZERO and (zeros := known == 0.0).any():
            # Among rounded measurements 0 is as frequent as other numbers; a constant error is not.
            others = np.unique(known[~zeros], return_counts=True)[1].max(initial=0)
            if name.endswith("_error") or np.count_nonzero(zeros) > 3 * others > 0:
                marks |= zeros
        count = int(np.count_nonzero(marks))
        if count < 3 or count <= 0.01 * known.size:
            return
        value = known[marks][0]
        self.say(
            f"column {self._columns(name)} ('{name}') is exactly {value:g} in {count} "
            "rows: if "
            f"this marks a missing value, say so in the column map: missing = [{value:g}]"
        )

    def _bounds(self) -> None:
        for name, seen in self.seen.items():
            if not seen.outside or name not in COLUMNS:
                continue
            column = COLUMNS[name]
            share = seen.outside / (seen.outside + seen.finite)
            said = (
                f"column {self._columns(name)} ('{name}') has {seen.outside} values outside "
                f"{column.low:g} to {column.high:g} {column.unit}".rstrip()
                + ", the first, "
                f"{seen.first_value:g} as the table has it, in row {seen.first_row + 1} (counting "
                "from 1)"
            )
            if share > _MOST and seen.outside > 1 and not self.steps[name].stated:
                raise CatalogError(
                    f"{self.path}: {said}: {share:.0%} of all. The table states no unit: declare "
                    "the true one: "
                    f'{name} = {{ column = ..., unit = "..." }}'
                )
            self.say(f"{said}: taken as missing")

    def _two_sides(
        self, triple: tuple[str, ...], right: int, known: int, errors: int, swapped: int
    ) -> None:
        mid, low, high = triple
        wrong = known - right
        if wrong <= _MOST * known or wrong == 0:
            return
        what = "they may be errors, or in another unit"
        how = f'{low} = {{ difference = ["{mid}", "..."] }}, {high} = {{ sum = ["{mid}", "..."] }}'
        if swapped > errors:
            what, how = "they are swapped", f"exchange {low} and {high}"
        elif errors > _MOST * wrong:
            what = "they seem to be errors"
        raise CatalogError(
            f"{self.path}: {low} and {high} (columns {self._columns(low, high)}) do not lie on "
            "the two "
            f"sides of {mid} in {wrong} of {known} rows: {what}. They are percentiles: map {how}"
        )

    def _against_each_other(self) -> None:
        x = self._sample

        def has(*names: str) -> bool:
            return all(n in x and np.isfinite(x[n]).any() for n in names)

        if has("age") and not self.steps["age"].stated:
            ages = x["age"][np.isfinite(x["age"])]
            if ages.size >= 10 and ages.min() > 7.5 and ages.max() < 10.2:
                self.say(
                    f"column {self._columns('age')} ('age') lies between {ages.min():.3g} and "
                    f"{ages.max():.3g} and states no unit: if these are logarithms of years, "
                    "say so: "
                    'age = { column = "...", unit = "dex(yr)" }; else unit = "Gyr"'
                )
        with np.errstate(invalid="ignore", divide="ignore"):
            plx = np.where(x["parallax"] > 0, x["parallax"], np.nan) if has("parallax") else None
            if plx is not None and has("parallax_error"):
                plx = np.where(plx > 5 * x["parallax_error"], plx, np.nan)
            if plx is not None and has("distance"):
                self._product(_median(x["distance"] * plx))
            distance = x["distance"] if has("distance") else None if plx is None else 1.0 / plx
            if distance is None:
                return
            by = "distance" if has("distance") else "parallax"
            if by == "parallax" and (far := _median(distance)) > MAX_DISTANCE:
                self.say(
                    f"the median distance by parallax is {far:.3g} kpc, which is that of no stars: "
                    f"see the unit of {self._columns('parallax')}"
                )
            if has("pmra", "pmdec"):
                speed = _median(_KMS * distance * np.hypot(x["pmra"], x["pmdec"]))
                n = np.count_nonzero(np.isfinite(distance + x["pmra"] + x["pmdec"]))
                if speed > _FASTEST or (speed < _SLOWEST and n >= 10):
                    self.say(
                        f"the median speed across the sky by {by} and proper motion is "
                        f"{speed:.3g} km/s, which is that of no stars: see the units of "
                        f"{self._columns(by, 'pmra', 'pmdec')}"
                    )
            if has("phot_g_mean_mag"):
                bright = _median(x["phot_g_mean_mag"] - 5 * np.log10(distance) - 10)
                if bright < _BRIGHTEST:
                    self.say(
                        f"the median absolute magnitude by {by} and G is {bright:.3g}, which is "
                        "that of "
                        f"no stars: see the units of {self._columns(by, 'phot_g_mean_mag')}"
                    )

    def _alone(self, *, against: bool) -> None:
        """Say of columns that state no unit what their values would be of no stars in ours.

        Of parallaxes this has been said if they were found `against` other columns.
        """
        known = {
            name: v[np.isfinite(v)] for name, v in self._sample.items()
            if name in self.steps and not self.steps[name].stated
        }  # fmt: skip
        known = {name: v for name, v in known.items() if v.size >= _ENOUGH}
        if against:
            known.pop("parallax_error", None)

        def doubt(name: str, found: str, maybe: str) -> None:
            self.say(f"column {self._columns(name)} ('{name}'): {found}; {maybe}")

        if "ra" in known and "dec" in known:
            ra, dec = known["ra"], known["dec"]
            if ra.min() >= 0 and ra.max() <= 24.0 and np.ptp(ra) > 20.0 and np.ptp(dec) > 45.0:
                doubt("ra", f"all within 24, dec over {np.ptp(dec):.0f} degrees",
                      'if these are hours, say unit = "hourangle"')  # fmt: skip
            within = ra.min() >= 0 and ra.max() <= 2 * np.pi and np.abs(dec).max() <= np.pi / 2
            if within and np.ptp(ra) > 5.5 and np.ptp(dec) > 1.0:
                doubt("ra", "all within 2π, dec within π/2", 'if these are radians: unit = "rad"')
        if "radial_velocity" in known:
            speed = np.abs(known["radial_velocity"])
            if (middle := float(np.median(speed))) > 600.0:
                doubt("radial_velocity", f"the median speed is {middle:.0f} km/s",
                      'if these are m/s, say unit = "m/s"')  # fmt: skip
            elif 0.0 < speed.max() < 0.1:
                doubt("radial_velocity", f"no speed is above {speed.max():.2g} km/s",
                      "if these are redshifts, say scale = 299792.458")  # fmt: skip
        for name, low, high in (("teff_error", 0.5, 1000.0), ("parallax_error", 0.003, np.inf)):
            if name in known and not low <= (middle := float(np.median(known[name]))) <= high:
                doubt(name, f"the median is {middle:.2g} {COLUMNS[name].unit}",
                      "see whether it is relative, a variance or in another unit")  # fmt: skip
        feh = known.get("feh", np.zeros(1))
        if feh.min() > 0.0 and feh.max() < 0.06 and np.ptp(feh) > 0.0:
            doubt("feh", "all between 0 and 0.06", "if it is Z, a mass fraction, map [Fe/H]")
        if {"age", "age_error"} <= set(known):
            middle = float(np.median(known["age_error"]))
            if middle > np.median(known["age"]):
                doubt("age_error", f"the median is {middle:.3g} Gyr, above that of the ages",
                      "see whether it is in per cent")  # fmt: skip

    def _product(self, product: float) -> None:
        if not (product > 0 and abs(np.log10(product)) > 0.3):
            return
        said = (
            f"distance times parallax is {product:.3g} (median) in place of 1: see the units of "
            f"{self._columns('distance', 'parallax')}"
        )
        stated = self.steps["distance"].stated and self.steps["parallax"].stated
        if abs(np.log10(product)) > 2.5 and not stated:
            what = "distance" if product > 1 else "parallax"
            unit = "pc" if product > 1 else "arcsec"
            raise CatalogError(
                f"{self.path}: {said}. The table does not state them all: declare the true one, as "
                f'{what} = {{ column = "...", unit = "{unit}" }}'
            )
        self.say(said)


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else np.nan
