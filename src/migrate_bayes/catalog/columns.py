"""The canonical columns: what a catalogue may hold, in which unit, within which bounds.

Names are the Gaia archive's where it has one. `COLUMNS` is the single table of them; everything
that reads, checks or writes a catalogue goes by it. Values outside a column's bounds (a sentinel of
-9999 nobody declared, a declination of 400 degrees) cannot be measurements and become missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.flags import FLAG_MEANING, StarFlag

__all__ = ["COLUMNS", "EXTRA_PREFIX", "REQUIRED", "Column", "attributes", "star_keys"]

EXTRA_PREFIX = "ref_"
"""Prefix of the columns that are carried along and never used: published values to compare with."""


@dataclass(frozen=True, slots=True)
class Column:
    """One canonical column.

    Attributes
    ----------
    name, unit, long_name : str
        ``unit`` is an astropy unit string, ``""`` for a pure number.
    low, high : float
        Values outside are impossible and are made missing.
    """

    name: str
    unit: str
    long_name: str
    low: float = -np.inf
    high: float = np.inf

    @property
    def is_error(self) -> bool:
        """Whether it is a standard deviation, which cannot be negative."""
        return self.name.endswith("_error")


def _table() -> dict[str, Column]:
    measured = [
        ("ra", "deg", "right ascension (ICRS)", -360.0, 360.0),
        ("dec", "deg", "declination (ICRS)", -90.0, 90.0),
        ("parallax", "mas", "parallax", -1e3, 1e3),
        ("pmra", "mas/yr", "proper motion in right ascension, times cos(dec)", -2e4, 2e4),
        ("pmdec", "mas/yr", "proper motion in declination", -2e4, 2e4),
        ("radial_velocity", "km/s", "heliocentric radial velocity", -2e3, 2e3),
        ("phot_g_mean_mag", "mag", "G", -5.0, 30.0),
        ("phot_bp_mean_mag", "mag", "BP", -5.0, 30.0),
        ("phot_rp_mean_mag", "mag", "RP", -5.0, 30.0),
        ("bp_rp_observed", "mag", "BP-RP as observed, reddened", -2.0, 12.0),
        ("abs_g", "mag", "absolute G, extinction corrected", -15.0, 30.0),
        ("bp_rp", "mag", "BP-RP, dereddened", -3.0, 12.0),
        ("teff", "K", "effective temperature", 1e3, 2e5),
        ("logg", "dex", "log10 surface gravity (cgs)", -3.0, 10.0),
        ("feh", "dex", "[Fe/H]", -10.0, 3.0),
        ("alpha_fe", "dex", "[alpha/Fe]", -3.0, 3.0),
        ("a_v", "mag", "V extinction", -5.0, 20.0),
        ("ebv", "mag", "E(B-V)", -2.0, 6.5),
    ]
    columns: list[Column] = []
    for name, unit, long_name, low, high in measured:
        columns.append(Column(name, unit, long_name, low, high))
        error_unit = "mas" if name in ("ra", "dec") else unit
        columns.append(Column(f"{name}_error", error_unit, f"standard error of {long_name}"))
    axes = ("ra", "dec", "parallax", "pmra", "pmdec")
    for i, first in enumerate(axes):
        for second in axes[i + 1 :]:
            label = f"correlation of {first} and {second}"
            columns.append(Column(f"{first}_{second}_corr", "", label, -1.0, 1.0))
    columns += [
        Column("distance", "kpc", "distance, median", 0.0, 1e5),
        Column("distance_lo", "kpc", "distance, 16th percentile", 0.0, 1e5),
        Column("distance_hi", "kpc", "distance, 84th percentile", 0.0, 1e5),
        Column("a_g", "mag", "G extinction", -5.0, 100.0),
        Column("age", "Gyr", "external age", 0.0, 30.0),
        Column("age_lo", "Gyr", "external age, 16th percentile", 0.0, 30.0),
        Column("age_hi", "Gyr", "external age, 84th percentile", 0.0, 30.0),
    ]
    columns += [
        Column(f"snr_{band}", "", f"signal-to-noise ratio in {band}", 0.0, 1e6)
        for band in ("g", "r", "i")
    ]
    return {column.name: column for column in columns}


COLUMNS: dict[str, Column] = _table()
"""Every canonical measured column, by name."""

REQUIRED: dict[str, tuple[str, ...]] = {
    "ages": ("teff", "teff_error", "logg", "logg_error", "feh", "feh_error"),
    "orbits": (
        "ra",
        "dec",
        "pmra",
        "pmdec",
        "radial_velocity",
        "distance",
        "distance_lo",
        "distance_hi",
    ),
    "photometry": ("phot_g_mean_mag", "distance", "distance_lo", "distance_hi"),
    "external_ages": ("age",),
}
"""The columns without which a stage has nothing to work on."""


def attributes(name: str) -> dict[str, Any]:
    """Return the attributes that a canonical variable carries.

    Parameters
    ----------
    name : str
        A canonical column, ``flag``, ``star_key`` or ``source_id``.
    """
    if name == "flag":
        bits = [flag for flag in StarFlag if flag in FLAG_MEANING]
        return {
            "units": "",
            "long_name": "reasons, as bits",
            "flag_masks": [int(bit) for bit in bits],
            "flag_meanings": " ".join(str(bit.name) for bit in bits),
        }
    if name == "star_key":
        return {"units": "", "long_name": "hash of the identifier: the key of every random draw"}
    if name == "source_id":
        return {"units": "", "long_name": "identifier"}
    column = COLUMNS[name]
    return {"units": column.unit, "long_name": column.long_name}


def star_keys(source_id: NDArray[Any]) -> NDArray[np.uint64]:
    """Hash identifiers to 64 bits, the same on every machine and in every run.

    Parameters
    ----------
    source_id : array of int or str
        Integers go through the finaliser of splitmix64 [1]_, which is a bijection, so distinct
        integers never collide; texts through BLAKE2b of their UTF-8 bytes, cut to 8 bytes.

    Returns
    -------
    array of uint64

    References
    ----------
    .. [1] Steele, Lea & Flood 2014, OOPSLA; the constants are Stafford's variant 13.
    """
    ids = np.asarray(source_id)
    if ids.dtype.kind in "iu":
        key = ids.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return key ^ (key >> np.uint64(31))
    from hashlib import blake2b

    texts = (t.decode() if isinstance(t, bytes) else str(t) for t in ids.tolist())
    digests = b"".join(blake2b(t.encode(), digest_size=8).digest() for t in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)
