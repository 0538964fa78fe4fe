"""The canonical columns: what a catalogue may hold, in which unit, within which bounds.

Names follow the Gaia archive where it has one. `COLUMNS` is the single table of columns, which
readers, checks and writers use. The readers convert units: all later code takes plain numbers in
canonical units. Values outside a column's bounds (a declination of 400 degrees) and undeclared
sentinels (-9999 in any column) become missing.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import FLAG_MEANING, StarFlag

LINEAR, EXP, LOG = 0, 1, 2
"""What is done to a file's value: nothing, ten to its power, its logarithm."""
OWN_FLAG = "migrate_bayes_flag"
"""What a file calls our `flag`: one of that name alone is a survey's own."""
EXTRA_PREFIX = "ref_"
"""Prefix of published values, which are kept for comparison and never used in a computation."""


class Column(NamedTuple):
    """One canonical column.

    Values outside ``low`` and ``high`` are made missing; outside ``usual``, so is a number of
    nines (-9999, 99.99), which is no measurement there.
    """

    name: str
    unit: str  # of astropy, "" for a pure number
    long_name: str
    low: float = -np.inf
    high: float = np.inf
    usual: tuple[float, float] = (-np.inf, np.inf)


_FAST = (-900.0, 900.0)
# Name, unit, meaning, bounds, where a number of nines may be a value, and greatest error.
_MEASURED = [
    ("ra", "deg", "right ascension (ICRS)", -360.0, 360.0, (-180.0, 360.0), 1e5),
    ("dec", "deg", "declination (ICRS)", -90.0, 90.0, (-90.0, 90.0), 1e5),
    ("parallax", "mas", "parallax", -1e3, 1e3, (-30.0, 800.0), 100.0),
    ("pmra", "mas/yr", "proper motion in right ascension, times cos(dec)", -2e4, 2e4, _FAST, 500.0),
    ("pmdec", "mas/yr", "proper motion in declination", -2e4, 2e4, _FAST, 500.0),
    ("radial_velocity", "km/s", "heliocentric radial velocity", -2e3, 2e3, _FAST, 500.0),
    ("phot_g_mean_mag", "mag", "G", -5.0, 30.0, (-3.0, 30.0), 99.0),
    ("phot_bp_mean_mag", "mag", "BP", -5.0, 30.0, (-3.0, 30.0), 99.0),
    ("phot_rp_mean_mag", "mag", "RP", -5.0, 30.0, (-3.0, 30.0), 99.0),
    ("bp_rp_observed", "mag", "BP-RP as observed, reddened", -2.0, 12.0, (-2.0, 8.0), 99.0),
    ("abs_g", "mag", "absolute G, extinction corrected", -15.0, 30.0, (-9.0, 30.0), 99.0),
    ("bp_rp", "mag", "BP-RP, dereddened", -3.0, 12.0, (-3.0, 8.0), 99.0),
    ("teff", "K", "effective temperature", 1e3, 2e5, (1e3, 9e4), 2e4),
    ("logg", "dex", "log10 surface gravity (cgs)", -3.0, 10.0, (-3.0, 9.5), 99.0),
    ("feh", "dex", "[Fe/H]", -10.0, 3.0, (-8.9, 3.0), 99.0),
    ("alpha_fe", "dex", "[alpha/Fe]", -3.0, 3.0, (-3.0, 3.0), 99.0),
    ("logg_seismic", "dex", "log g of asteroseismology", -3.0, 10.0, (-3.0, 9.5), 99.0),
    ("nu_max", "uHz", "frequency of greatest oscillation power", 0.0, 2e4, (0.0, 9e3), 5e3),
    ("a_v", "mag", "V extinction", -5.0, 20.0, (-5.0, 20.0), 99.0),
    ("ebv", "mag", "E(B-V)", -2.0, 6.5, (-2.0, 6.5), 3.0),
]  # fmt: skip
_ASTROMETRIC = ("ra", "dec", "parallax", "pmra", "pmdec")
SPECTRAL = ("teff", "logg", "feh")
"""Of which errors may be correlated, in columns ``teff_logg_corr`` and so on."""
MAX_DISTANCE = 300.0  # kpc: beyond the halo and the Clouds, within which single stars are seen
_WITHOUT_ERROR = [
    ("distance", "kpc", "distance, median", 0.0, MAX_DISTANCE, (0.0, 90.0)),
    ("distance_lo", "kpc", "distance, 16th percentile", 0.0, MAX_DISTANCE, (0.0, 90.0)),
    ("distance_hi", "kpc", "distance, 84th percentile", 0.0, MAX_DISTANCE, (0.0, 90.0)),
    ("distance_error", "kpc", "standard error of the distance", 0.0, MAX_DISTANCE, (0.0, 90.0)),
    ("a_g", "mag", "G extinction", -5.0, 100.0, (-5.0, 90.0)),
    ("age", "Gyr", "external age", 0.0, 30.0),
    ("age_lo", "Gyr", "external age, 16th percentile", 0.0, 30.0),
    ("age_hi", "Gyr", "external age, 84th percentile", 0.0, 30.0),
    ("age_error", "Gyr", "standard error of the external age", 0.0, 30.0),
    ("ruwe", "", "renormalised unit weight error of the astrometry", 0.0, 1e4, (0.0, 9e3)),
    ("non_single_star", "", "Gaia's kinds of non-single stars, as bits", 0.0, 7.0),
    ("ipd_frac_multi_peak", "", "per cent of Gaia's windows with more than one peak", 0.0, 100.0),
    ("nu_eff_used_in_astrometry", "1/um", "effective wavenumber, of the astrometry", 0.0, 5.0),
    ("pseudocolour", "1/um", "effective wavenumber, fitted with the astrometry", -5.0, 10.0),
    ("survey_flag", "", "1 if the survey's own flags doubt the star", 0.0, 1.0),
    ("snr", "", "signal-to-noise ratio of the whole spectrum", 0.0, 1e6, (0.0, 5e3)),
    *((f"snr_{b}", "", f"signal-to-noise ratio in {b}", 0.0, 1e6, (0.0, 5e3)) for b in "gri"),
]  # fmt: skip
SYMMETRIC = {"distance": "distance_error", "age": "age_error"}
"""Columns whose percentiles may come from a symmetric error, which is not kept."""


def _columns() -> Iterator[Column]:
    for name, unit, long_name, low, high, usual, error in _MEASURED:
        yield Column(name, unit, long_name, low, high, usual)
        error_unit = "mas" if name in ("ra", "dec") else unit
        # An error as large as the quantity's whole range is none: it marks one that is missing.
        nines = (0.0, 9.0 if error == 99.0 else 0.9 * error)
        yield Column(
            f"{name}_error", error_unit, f"standard error of {long_name}", 0.0, error, nines
        )
    for names in (_ASTROMETRIC, SPECTRAL):
        for first, second in itertools.combinations(names, 2):
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


_IN_CACHE = 32_768


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
        key = ids.astype(np.int64).view(np.uint64)
        flat = key.reshape(-1)
        for start in range(0, flat.size, _IN_CACHE):
            part = flat[start : start + _IN_CACHE]
            part += np.uint64(0x9E3779B97F4A7C15)
            part ^= part >> np.uint64(30)
            part *= np.uint64(0xBF58476D1CE4E5B9)
            part ^= part >> np.uint64(27)
            part *= np.uint64(0x94D049BB133111EB)
            part ^= part >> np.uint64(31)
        return key
    texts = (t.decode() if isinstance(t, bytes) else str(t) for t in ids.tolist())
    digests = b"".join(hashlib.blake2b(t.encode(), digest_size=8).digest() for t in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


class Conversion(NamedTuple):
    """What a file's values become: ``factor * function(x) + offset``."""

    factor: float = 1.0
    offset: float = 0.0
    function: int = LINEAR
    doubt: str = ""  # of the unit, to be said
    sexagesimal: float = 0.0  # degrees of the first unit, if the values are texts as 12:34:56.7


# Spellings in real files that astropy does not know, or takes for something else: lower case,
# without blanks, braces, carets, stars, points and backslashes.
_SYNONYMS = {
    spelled: unit
    for unit, spellings in {
        "deg": "degree degrees degs ddeg decimaldegrees °",
        "mas": "milliarcsec milliarcsecond milliarcseconds marcsec",
        "mas/yr": "masyr-1 mas/year masyear-1 mas/a masa-1 mas/yrs masperyear masperyr "
        "milliarcsec/yr milliarcsecond/year milliarcsecyr-1 marcsec/yr",
        "arcsec/yr": 'arcsecyr-1 arcsec/year arcsecyear-1 "/yr arcseconds/yr asec/yr',
        "arcsec": 'asec arcseconds " arcsecs',
        "km/s": "kms-1 km/sec kmsec-1 kms kmps km/second kmpersecond kilometers/s kilometer/s",
        "m/s": "m/sec msec-1 mps",
        "kpc": "kiloparsec kiloparsecs",
        "pc": "parsec parsecs",
        "K": "k kelvin kelvins degk °k",
        "Gyr": "gyr gyrs gigayear gigayears ga 109yr 10+9yr 1e9yr 1e+9yr byr gigaannum",
        "Myr": "megayear megayears 106yr 10+6yr 1e6yr 1e+6yr",
        "yr": "years yrs",
        "mag": "mags magnitude magnitudes mag(vega) vegamag vega",
        "mag(AB)": "abmag mag_ab magab ab",
        "solMass": "msun m_sun solarmass solarmasses solmass m☉ m⊙",
    }.items()
    for spelled in (unit.lower(), *spellings.split())
}
# Of [Fe/H], [α/Fe] and log g: logarithms to base 10, relative to the Sun or in cgs.
_LOGARITHMS = frozenset((
    "dex", "sun", "[sun]", "solar", "[solar]", "[-]", "[]", "[dex]", "dex(sun)", "dex(solar)",
    "log", "log10", "lg", "log(sun)", "logg", "log(g)", "cgs", "[cgs]", "logcgs", "log(cgs)",
    "dex(cgs)", "[m/h]", "[fe/h]", "[x/h]", "[x/fe]",
))  # fmt: skip
_UNSTATED = frozenset(
    ("", "-", "--", "---", "none", "null", "unitless", "dimensionless", "n/a", "nan")
)
# Hours or degrees, minutes and seconds in one text, as VizieR and others word it.
_SEXAGESIMAL = re.compile(r"([hd])+[: ]*m+[: ]*s+(\.s+)?", re.I)
# These would be a milliyear and a milliparsec, which no catalogue is in.
AMBIGUOUS = {"myr": "Myr", "mpc": "Mpc"}
_LOG_OF = re.compile(
    r"(?:log_?10|log|lg|dex)(?:\s*[(\[]+([^()\[\]]*)[)\]]+|[ _]+([^()\[\]]+))|\[([^\[\]]*)\]", re.I
)
# A remark about a unit, as in "km/s (barycentric)", or a unit within brackets; of no logarithm.
_REMARK = re.compile(r"(.*\S)\s+\((?!.*(?:lo?g|dex|ln|10))[^()]*\)|\(([^()]*)\)", re.I)
_CENTURY = re.compile(r"(?<![a-z])cy(?![a-z])", re.I)  # of astropy, a hundredth of a year
# Words for units, which may be parts of a unit.
_WORDS = {
    r"milli-?arc-?sec(ond)?s?": "mas", r"micro-?arc-?sec(ond)?s?": "uas", r"radians?": "rad",
    r"arc-?sec(ond)?s?": "arcsec", r"light-?years?|ly": "lyr",
    r"cy|century": "hyr", r"(j|julian ?)?years?|yrs?|annum|y": "yr", r"kilomet(er|re)s?": "km",
    r"\s*per\s*": "/",
    r"met(er|re)s?": "m", r"sec(ond)?s?": "s", r"pcs?|parsecs?": "pc", r"degs?|degrees?": "deg",
}  # fmt: skip


def _key(text: str) -> str:
    return re.sub(r"[\s{}^$*.·\\]|\\rm|\\mathrm", "", text.lower())


@lru_cache(maxsize=1024)
def _parsed(text: str) -> Any:
    """Return astropy's unit of a text in any of the formats it knows; None if it is none."""
    from astropy import units as u

    for style in ("generic", "cds", "vounit", "fits"):
        try:
            with warnings.catch_warnings(action="ignore"):
                return u.Unit(text, format=style)
        except (ValueError, TypeError):
            continue
    return None


def _named(text: str) -> bool:
    """Whether astropy has a unit of this name; `_parsed` takes a second to say no."""
    from astropy import units as u

    return text in u.get_current_unit_registry().registry


def is_unit(text: str, *, by_name: bool = False) -> bool:
    """Whether a text says a unit at all, and one that is known here; or is the name of one."""
    known = (
        _key(text) in _SYNONYMS
        or _key(text) in _LOGARITHMS
        or bool(_LOG_OF.fullmatch(text.strip()))
    )
    if sexagesimal(text):
        return True
    if by_name and not known:
        return _named(text)
    return not is_unstated(text) and (known or _parsed(text.strip()) is not None)


def is_unstated(text: str) -> bool:
    """Whether a text in the place of a unit says that there is none."""
    return text.strip().lower() in _UNSTATED


def sexagesimal(found: str) -> float:
    """Return the degrees of the first unit of ``h:m:s`` or ``d:m:s``; 0 for any other unit."""
    match = _SEXAGESIMAL.fullmatch(found.strip().strip("\"' "))
    return 0.0 if match is None else {"h": 15.0, "d": 1.0}[match[1].lower()]


def _in_symbols(text: str) -> str:
    """Return a unit with symbols in place of words: ``arcseconds per year`` is ``arcsec/yr``."""
    text = text.lower()
    for word, symbol in _WORDS.items():
        text = re.sub(rf"(?<![a-z]){word}(?![a-z])", symbol, text)
    return text


@lru_cache(maxsize=1024)
def conversion(found: str, canonical: str) -> Conversion | None:
    """Return what makes the values of a file's unit those of a canonical column; None if nothing.

    A logarithm (``dex(yr)``, ``[pc]``, ``log(K)``) becomes what it is of; the error of one cannot.
    """
    made = _conversion(found.strip(), canonical)
    if made is None and (remark := _REMARK.fullmatch(found.strip())):
        made = _conversion((remark[1] or remark[2]).strip(), canonical)
    return made


def _conversion(found: str, canonical: str) -> Conversion | None:
    """Do what `conversion` says of a unit without a remark."""
    wanted = COLUMNS[canonical].unit
    is_error = canonical.endswith("_error")
    if _CENTURY.search(found):
        found = _in_symbols(found)
    key = _key(found)
    if canonical == "ra" and key in ("h", "hr", "hrs", "hour", "hours"):
        return Conversion(15.0)
    if found == wanted or key in _UNSTATED:
        return Conversion()
    if found in AMBIGUOUS:
        return None
    if degrees := sexagesimal(found):
        read = canonical == "ra" or (canonical == "dec" and degrees == 1.0)
        return Conversion(sexagesimal=degrees) if read else None
    from astropy import units as u

    inner = _LOG_OF.fullmatch(found)
    if wanted == "dex":
        if key in _LOGARITHMS:
            return Conversion()
        unit = _physical(found, inner)
        if unit is not None and not canonical.startswith("logg"):
            return Conversion() if unit == u.dimensionless_unscaled else None
        cgs = u.cm / u.s**2
        if unit is not None and unit.is_equivalent(cgs):
            return Conversion(offset=0.0 if is_error else float(np.log10(unit.to(cgs))))
        linear = _parsed(found)
        plain = linear is not None and _is_plain(linear)
        if canonical == "logg" and plain and linear.is_equivalent(cgs):
            return Conversion(_factor(linear, cgs), function=LOG)
        return None
    target = u.Unit(wanted)
    if wanted == "mag":
        spelled = _SYNONYMS.get(key, found)
        unit = _parsed(spelled)
        if isinstance(unit, u.MagUnit) and unit.physical_unit != u.dimensionless_unscaled:
            vega = is_error or not canonical.startswith("phot_")
            doubt = "" if vega else f"'{found}' is taken for Gaia's Vega magnitudes as it stands"
            return Conversion(doubt=doubt)
        if _is_plain(unit) and unit.is_equivalent(u.mag) and str(unit).endswith("mag"):
            return Conversion(_factor(unit, u.mag))
        return None
    for spelled in (found, _SYNONYMS.get(key, ""), _in_symbols(found)):
        unit = _parsed(spelled) if spelled else None
        if unit is not None and _is_plain(unit) and unit.is_equivalent(target):
            return Conversion(_factor(unit, target))
    unit = _physical(found, inner)
    if unit is not None and unit.is_equivalent(target) and wanted and not is_error:
        return Conversion(_factor(unit, target), function=EXP)
    # A ratio needs no unit; surveys say "per pixel" of theirs.
    if canonical.startswith("snr") and inner is None and "pix" in key:
        return Conversion()
    return None


def _factor(unit: Any, target: Any) -> float:
    """Return a ratio of units without the last digits that astropy's arithmetic adds."""
    return float(f"{unit.to(target):.15g}")


def _is_plain(unit: Any) -> bool:
    """Whether a unit is of a quantity itself, not of its logarithm."""
    from astropy import units as u

    if unit is None or isinstance(unit, u.function.FunctionUnitBase):
        return False
    return not {u.dex, u.dB, u.decibel} & set(unit.bases)


def _physical(found: str, inner: Any) -> Any:
    """Return the unit of which a unit is the logarithm to base 10; None if it is no logarithm."""
    from astropy import units as u

    if inner is not None:
        text = next(group for group in inner.groups() if group is not None).strip()
        if _key(text) in ("", "-", "sun", "solar"):
            return u.dimensionless_unscaled
        unit = _parsed(text) if text not in AMBIGUOUS else None
        return unit or _parsed(_SYNONYMS.get(_key(text), "?")) or _parsed(_in_symbols(text))
    unit = _parsed(found)
    return unit.physical_unit if isinstance(unit, u.DexUnit) else None


def conversion_to(found: str, *, file: str, column: str, canonical: str) -> Conversion:
    """Return the `conversion` from a file's unit `found` to a canonical column, or name both."""
    made = conversion(found, canonical)
    if made is None:
        wanted = COLUMNS[canonical].unit
        raise CatalogError(
            f"{file}: column '{column}' is read as '{canonical}', which needs the unit "
            f"'{wanted or 'none'}', but it is in '{found or 'none'}'. "
            f"Map another column, or declare the true unit: "
            f'{canonical} = {{ column = "{column}", unit = "..." }}'
        )
    return made
