"""The canonical columns: what a catalogue may hold, in which unit, within which bounds.

Names follow the Gaia archive where it has one. `COLUMNS` is the single table of columns, which
readers, checks and writers use. The readers convert units: all later code takes plain numbers in
canonical units. Values outside a column's bounds (an undeclared sentinel of -9999, a declination of
400 degrees) become missing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import FLAG_MEANING, StarFlag

EXTRA_PREFIX = "ref_"
"""Prefix of published values, which are kept for comparison and never used in a computation."""


class Column(NamedTuple):
    """One canonical column; values outside ``low`` and ``high`` are made missing."""

    name: str
    unit: str  # of astropy, "" for a pure number
    long_name: str
    low: float = -np.inf
    high: float = np.inf


_MEASURED = [
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
_ASTROMETRIC = ("ra", "dec", "parallax", "pmra", "pmdec")
_WITHOUT_ERROR = [
    ("distance", "kpc", "distance, median", 0.0, 1e5),
    ("distance_lo", "kpc", "distance, 16th percentile", 0.0, 1e5),
    ("distance_hi", "kpc", "distance, 84th percentile", 0.0, 1e5),
    ("a_g", "mag", "G extinction", -5.0, 100.0),
    ("age", "Gyr", "external age", 0.0, 30.0),
    ("age_lo", "Gyr", "external age, 16th percentile", 0.0, 30.0),
    ("age_hi", "Gyr", "external age, 84th percentile", 0.0, 30.0),
    *((f"snr_{band}", "", f"signal-to-noise ratio in {band}", 0.0, 1e6) for band in "gri"),
]


def _columns() -> Iterator[Column]:
    for name, unit, long_name, low, high in _MEASURED:
        yield Column(name, unit, long_name, low, high)
        error_unit = "mas" if name in ("ra", "dec") else unit
        yield Column(f"{name}_error", error_unit, f"standard error of {long_name}")
    for first, second in itertools.combinations(_ASTROMETRIC, 2):
        meaning = f"correlation of {first} and {second}"
        yield Column(f"{first}_{second}_corr", "", meaning, -1.0, 1.0)
    yield from itertools.starmap(Column, _WITHOUT_ERROR)


COLUMNS: dict[str, Column] = {column.name: column for column in _columns()}
"""Every canonical measured column, by name."""
_IDENTITY = {
    "star_key": Column("star_key", "", "hash of the identifier: the key of every random draw"),
    "source_id": Column("source_id", "", "identifier"),
}

REQUIRED: dict[str, tuple[str, ...]] = {
    "ages": ("teff", "teff_error", "logg", "logg_error", "feh", "feh_error"),
    "orbits": (
        "ra", "dec", "pmra", "pmdec", "radial_velocity", "distance", "distance_lo", "distance_hi",
    ),
    "photometry": ("phot_g_mean_mag", "distance", "distance_lo", "distance_hi"),
    "external_ages": ("age",),
}  # fmt: skip
"""The columns without which a stage has nothing to work on."""


def attributes(name: str) -> dict[str, Any]:
    """Return the attributes of a canonical column, ``flag``, ``star_key`` or ``source_id``."""
    if name == "flag":
        bits = [flag for flag in StarFlag if flag in FLAG_MEANING]
        meanings = " ".join(str(bit.name) for bit in bits)
        said = {"units": "", "long_name": "reasons, as bits"}
        return said | {"flag_masks": [int(bit) for bit in bits], "flag_meanings": meanings}
    column = COLUMNS.get(name) or _IDENTITY[name]
    return {"units": column.unit, "long_name": column.long_name}


def star_keys(source_id: ArrayLike) -> NDArray[np.uint64]:
    """Hash identifiers to 64 bits, the same on every machine and in every run.

    Parameters
    ----------
    source_id : array of int or str
        Integers go through the finaliser of splitmix64 [1]_, which is a bijection, so distinct
        integers never collide; texts through BLAKE2b of their UTF-8 bytes, cut to 8 bytes.

    Returns
    -------
    array of uint64
        Of the shape of `source_id`.

    References
    ----------
    .. [1] Steele, Lea & Flood 2014, OOPSLA; the constants are Stafford's variant 13.

    Examples
    --------
    >>> from migrate_bayes.catalog import star_keys
    >>> hex(int(star_keys([0])[0]))
    '0xe220a8397b1dcdaf'
    """
    ids = np.asarray(source_id)
    if ids.dtype.kind in "iu":
        key = ids.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return key ^ (key >> np.uint64(31))
    texts = (t.decode() if isinstance(t, bytes) else str(t) for t in ids.tolist())
    digests = b"".join(hashlib.blake2b(t.encode(), digest_size=8).digest() for t in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


# Spellings in real files that are no FITS, CDS or astropy units. All logarithms are in dex here.
_DEX = (
    "log(cm.s**-2)", "log(cm/s**2)", "log(cm.s-2)", "[cm/s2]", "dex(cm/s2)", "dex(cm / s2)",
    "[sun]", "[-]",
)  # fmt: skip
_ALIASES = dict.fromkeys(_DEX, "dex") | {
    "degrees": "deg", "degree": "deg", "kms-1": "km/s", "masyr-1": "mas/yr", "gigayears": "Gyr",
    "solmass": "solMass",
}  # fmt: skip


@lru_cache(maxsize=512)
def _factor(found: str, wanted: str) -> float | None:
    from astropy import units as u

    found = _ALIASES.get(found.strip().lower(), found.strip())
    if found == wanted or {found, wanted} <= {"dex", ""}:
        return 1.0
    unit = u.Unit(found, parse_strict="silent")
    if isinstance(unit, u.UnrecognizedUnit):
        return None
    try:
        return float(unit.to(u.Unit(wanted)))
    except (u.UnitConversionError, TypeError):
        return None


def conversion_factor(found: str, wanted: str, *, file: str, column: str, canonical: str) -> float:
    """Return the factor from a file's unit `found` to the canonical one, or name the column."""
    factor = _factor(found, wanted)
    if factor is None:
        raise CatalogError(
            f"{file}: column '{column}' is read as '{canonical}', which needs the unit "
            f"'{wanted or 'none'}', but it is in '{found or 'none'}'. "
            f"Map another column, or declare the true unit: "
            f'{canonical} = {{ column = "{column}", unit = "..." }}'
        )
    return factor
