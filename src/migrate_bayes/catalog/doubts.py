"""What is doubtful about a whole catalogue: said as a warning, or an error if it cannot be right.

A unit that a file does not state is taken to be the canonical one. If it is another, the values
contradict each other: most lie out of bounds, or distance times parallax is 1000.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.catalog.cleaning import NINES, Seen
from migrate_bayes.catalog.columns import COLUMNS, LOG, MAX_DISTANCE, SYMMETRIC
from migrate_bayes.catalog.maps import Step
from migrate_bayes.core.errors import CatalogError, CatalogWarning

Floats = NDArray[np.float64]

_SAMPLE = 16_384  # rows, at most, in which values are held against each other
_SOME = 4_096  # rows in which a value that is frequent is looked for
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
_USUAL_ERRORS = {
    "teff_error": (0.5, 1000.0), "logg_error": (0.002, 1.5), "feh_error": (0.002, 1.5),
    "alpha_fe_error": (0.001, 1.5), "parallax_error": (0.003, np.inf), "pmra_error": (0.003, 50.0),
    "pmdec_error": (0.003, 50.0), "radial_velocity_error": (1e-4, 100.0),
}  # fmt: skip
"""Between which the median of a sample's errors lies."""
_USUAL = (
    ("distance", 0.0, 30.0), ("age", 1e-4, 14.0), ("a_v", -0.2, np.inf), ("ebv", -0.1, np.inf),
    ("snr", 1.0, np.inf), ("feh", -5.0, 0.6), ("alpha_fe", -0.5, 0.7),
    *((f"phot_{b}_mean_mag", 1.0, np.inf) for b in ("g", "bp", "rp")),
    *((f"snr_{b}", 1.0, np.inf) for b in "gri"),
)  # fmt: skip
"""The same of values, of columns whose bounds are wider, whether they state a unit or not."""
# A sample whose largest g, in any unit of it, is below this has logarithms there.
_LEAST_G = 7.0
# The name of an abundance by hydrogen, as "[Mg/H]", "__Mg_H_", "alpha_h" and "mgh_payne".
_BY_HYDROGEN = re.compile(r"(?i)(?<![a-z0-9])(alpha|a|mg|si|ca|ti|o)[/_]?h(?![a-z0-9])")
_OLD = "1950", "the equinox B1950: give ICRS, as of astropy's SkyCoord(..., frame='fk4').icrs"
_NAMES = {
    "ra": _OLD, "dec": _OLD,
    "radial_velocity": ("lsr|gsr|galcen", "a velocity that is not relative to the Sun: give one"),
}  # fmt: skip
"""What a name that has a text says of a column, which makes it another quantity."""
# Of stars [alpha/Fe] falls by 0.2 where [Fe/H] rises by 1, and [alpha/H] rises by 0.8; the least
# slope, correlation and spread of [Fe/H], dex, by which it is the latter.
_RISE, _CORRELATION, _SPREAD = 0.4, 0.6, 0.08
_TRIPLES = (("distance", "distance_lo", "distance_hi"), ("age", "age_lo", "age_hi"))


class Doubts:
    """Counts over a catalogue, as it is read."""

    def __init__(self, path: Any, steps: Mapping[str, Step], rows: int | None = None) -> None:
        self.path, self.steps = path, steps
        self.seen = {name: Seen() for name in steps}
        self._sides = {triple: np.zeros(4, dtype=np.int64) for triple in _TRIPLES}
        self._pieces: list[dict[str, Floats]] = []  # of every `_stride`-th row
        self._rows, self._said = 0, 0
        self._stride = 1 << ((max(rows or 1, 1) - 1) // _SAMPLE).bit_length()
        self._across = "", np.nan, 0  # the median speed, by what distance, of how many stars

    def add(
        self, values: Mapping[str, Floats], ids: NDArray[Any], seen: Mapping[str, Seen]
    ) -> None:
        """Take in the canonical values of some rows, before distances are completed."""
        for name, what in seen.items():
            self.seen[name].add(what)
        if not self._rows:
            self._rounded(ids[:_SAMPLE])
        first = -self._rows % self._stride
        self._pieces.append({n: v[first :: self._stride].copy() for n, v in values.items()})
        self._rows += len(ids)
        while self._rows > _SAMPLE * self._stride:
            whole = self._sample()
            self._pieces, self._stride = (
                [{n: v[::2].copy() for n, v in whole.items()}],
                self._stride * 2,
            )
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

    def _sample(self) -> dict[str, Floats]:
        """Return the rows that were kept, which do not depend on the size of chunks."""
        return {n: np.concatenate([p[n] for p in self._pieces]) for n in self._pieces[0]}

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
        x = self._sample()
        before = self._said
        self._against_each_other(x)
        against = self._said > before
        for name, (text, what) in _NAMES.items():
            operands = self.steps[name].operands if name in self.steps else ()
            if any(re.search(text, str(o), re.I) for o in operands):
                self.say(f"column {self._columns(name)} ('{name}'): the name says {what}")
        self._by_hydrogen(x)
        self._speeds(x, *self._across)
        self._alone(x, against=against)
        for name, values in x.items():
            self._repeated(name, values)

    def _repeated(self, name: str, values: Floats) -> None:
        """Say of a value that is exactly the same in many rows that it may mark a missing one."""
        if name not in COLUMNS:
            return
        known = values[np.isfinite(values)]
        marks = np.isin(np.abs(known), NINES[NINES > 9.0])
        if name in _NEVER_ZERO and (zeros := known == 0.0).any():
            # Among rounded measurements 0 is as frequent as other numbers; a constant error is not.
            others = np.unique(known[~zeros], return_counts=True)[1].max(initial=0)
            enough = 3 * others if others else _ENOUGH - 1
            if name.endswith("_error") or np.count_nonzero(zeros) > enough:
                marks |= zeros
        if not marks.any() and (value := _frequent(name, known)) is not None:
            marks = known == value
        count = int(np.count_nonzero(marks))
        if count < 3 or count <= 0.01 * known.size:
            return
        value = known[marks][0]
        seen = f" of {len(values)} looked at" if self._stride > 1 else ""
        self.say(
            f"column {self._columns(name)} ('{name}') is exactly {value:g} in {count} "
            f"rows{seen}: if this marks a missing value, say so in the column map: "
            f"missing = [{value:g}]"
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
            if name.endswith("_lo") and share > _MOST and seen.first_value < 0.0:
                value = name.removesuffix("_lo")
                raise CatalogError(
                    f"{self.path}: {said}: {share:.0%} of all. It is a percentile; if these are "
                    f'lower errors with their sign: {name} = {{ sum = ["{value}", "..."] }}'
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

    def _against_each_other(self, x: Mapping[str, Floats]) -> None:
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
        if has("phot_bp_mean_mag", "phot_rp_mean_mag"):
            colour = _median(x["phot_bp_mean_mag"] - x["phot_rp_mean_mag"])
            if colour < -0.5:
                self.say(
                    f"the median of BP-RP is {colour:.2g}, which is that of no stars: see whether "
                    f"{self._columns('phot_bp_mean_mag', 'phot_rp_mean_mag')} are exchanged"
                )
        if has("pmra", "pmdec"):
            ra, dec = (_median(np.abs(x[n])) for n in ("pmra", "pmdec"))
            if min(ra, dec) < max(ra, dec) / 50 and len(x["pmra"]) >= _ENOUGH:
                self.say(
                    f"the median size of 'pmra' is {ra:.2g} mas/yr, of 'pmdec' {dec:.2g}: see the "
                    f"units of {self._columns('pmra', 'pmdec')}"
                )
        with np.errstate(invalid="ignore", divide="ignore"):
            if has("parallax", "parallax_error") and "distance" not in x:
                near = x["parallax"] > 3 * x["parallax_error"]
                known = np.isfinite(x["parallax"] + x["parallax_error"])
                if near.sum() < 0.02 * known.sum() and known.sum() >= _ENOUGH:
                    self.say(
                        f"{near.sum()} of {known.sum()} parallaxes are above three times their "
                        "error, and distances are made above ten: see the units and the sign of "
                        f"{self._columns('parallax', 'parallax_error')}"
                    )
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
                self._across = by, speed, int(n)
            if has("phot_g_mean_mag"):
                bright = _median(x["phot_g_mean_mag"] - 5 * np.log10(distance) - 10)
                if bright < _BRIGHTEST:
                    self.say(
                        f"the median absolute magnitude by {by} and G is {bright:.3g}, which is "
                        "that of "
                        f"no stars: see the units of {self._columns(by, 'phot_g_mean_mag')}"
                    )

    def _by_hydrogen(self, x: Mapping[str, Floats]) -> None:
        """Say of [alpha/Fe] that it may be [alpha/H], by its name or as it rises with [Fe/H]."""
        if "alpha_fe" not in x:
            return
        entry, operands = self.steps["alpha_fe"].entry, self.steps["alpha_fe"].operands
        names = [str(o) for o in operands if entry.operation in ("column", "mean")]
        found = "a name that says so" if any(map(_BY_HYDROGEN.search, names)) else ""
        if "feh" in x:
            known = np.isfinite(x["alpha_fe"] + x["feh"])
            feh, alpha = x["feh"][known], x["alpha_fe"][known]
            if known.sum() >= _ENOUGH and feh.std() > _SPREAD and alpha.std() > 0.0:
                r = np.corrcoef(feh, alpha)[0, 1]
                slope = r * alpha.std() / feh.std()
                if slope > _RISE and r > _CORRELATION:
                    found = f"a slope of {slope:.2g} on [Fe/H], with a correlation of {r:.2g}"
        if found:
            iron = self.steps["feh"].operands if "feh" in self.steps else ()
            pair = f'"{operands[0]}", "{iron[0] if len(iron) == 1 else "..."}"'
            self.say(
                f"column {self._columns('alpha_fe')} ('alpha_fe') has {found}: if it is an "
                "abundance by hydrogen, [α/H], take [Fe/H] from it: "
                f"alpha_fe = {{ difference = [{pair}] }}"
            )

    def _speeds(self, x: Mapping[str, Floats], by: str, across: float, n: int) -> None:
        """Hold speeds across the sky against those along the line of sight."""
        if n < _ENOUGH or not {"radial_velocity", "dec"} <= set(x) or np.ptp(x["dec"]) < 20.0:
            return
        along = _median(np.abs(x["radial_velocity"]))
        if _SLOWEST < across < along / 10 or along * 10 < across < _FASTEST:
            self.say(
                f"the median speed across the sky is {across:.3g} km/s, along the line of sight "
                f"{along:.3g}: see the units of "
                f"{self._columns(by, 'pmra', 'pmdec', 'radial_velocity')}"
            )

    def _alone(self, x: Mapping[str, Floats], *, against: bool) -> None:
        """Warn of columns whose values, in our unit, are those of no sample of stars.

        Of parallaxes this has been said if they were found `against` other columns.
        """
        every = {n: v[np.isfinite(v)] for n, v in x.items() if n in COLUMNS}
        every = {name: v for name, v in every.items() if v.size >= _ENOUGH}
        known = {name: v for name, v in every.items() if not self.steps[name].stated}
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
        for name, (low, high) in _USUAL_ERRORS.items():
            if name in known and not low <= (middle := float(np.median(known[name]))) <= high:
                doubt(name, f"the median is {middle:.2g} {COLUMNS[name].unit}",
                      "see whether it is relative, a variance or in another unit")  # fmt: skip
        feh = known.get("feh", np.zeros(1))
        if feh.min() > 0.0 and (0.0 < np.ptp(feh) < 0.06 or np.ptp(feh) > 0.5):
            doubt("feh", f"all between {feh.min():.2g} and {feh.max():.2g}",
                  "if it is Z, a mass fraction, or a ratio to the Sun's, map [Fe/H]")  # fmt: skip
        if "logg" in every and (how := self.steps["logg"].conversions[0]).function == LOG:
            g = 10.0 ** every["logg"].max() / how.factor
            if g < _LEAST_G:
                doubt("logg", f"as g, by its unit, none is above {g:.3g}",
                      "if these are logarithms already, say so: "
                      'unit = "dex(cm/s2)", ignore_unit = true')  # fmt: skip
        if against:
            every.pop("distance", None)
        for name, least, most in _USUAL:
            if name not in every or any(c.doubt for c in self.steps[name].conversions):
                continue
            if not least <= (middle := float(np.median(every[name]))) <= most:
                doubt(name, f"the median is {middle:.3g} {COLUMNS[name].unit}".rstrip(),
                      "which is that of no sample of stars: see its unit")  # fmt: skip
        for name, error in SYMMETRIC.items():
            if {name, error} <= set(known) and np.median(known[error]) > np.median(known[name]):
                doubt(error, f"the median is {np.median(known[error]):.3g} {COLUMNS[name].unit}, "
                      f"above that of '{name}'", "see whether it is in per cent")  # fmt: skip

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


def _frequent(name: str, known: Floats) -> float | None:
    """Return a value that is far more frequent than any other; of errors, far from all others."""
    unit, some = COLUMNS[name].unit, known[:: max(1, len(known) // _SOME)]
    if not unit or not some.size:  # of pure numbers and flags a value may be frequent
        return None
    values, counts = np.unique(some, return_counts=True)
    best = int(np.argmax(counts))
    value, others = float(values[best]), np.delete(values, best)
    if len(others) < _ENOUGH or counts[best] <= 5 * np.delete(counts, best).max():
        return None
    if name.endswith("_error"):  # a floor or a constant may stand for many
        return value if not others[0] / 3 <= value <= 3 * others[-1] else None
    return None if name in ("a_v", "ebv", "a_g") and value == 0.0 else value
