"""Units, at the one boundary where they exist: from a file's unit to the canonical one.

Everything behind the readers is plain numbers in the canonical units of `columns`.
"""

from __future__ import annotations

from functools import lru_cache

from migrate_bayes.core.errors import CatalogError

__all__ = ["conversion_factor"]

# Spellings in real files that are no FITS, CDS or astropy units. All logarithms are in dex here.
_ALIASES = {
    "degrees": "deg",
    "degree": "deg",
    "log(cm.s**-2)": "dex",
    "log(cm/s**2)": "dex",
    "log(cm.s-2)": "dex",
    "[cm/s2]": "dex",
    "dex(cm/s2)": "dex",
    "dex(cm / s2)": "dex",
    "[sun]": "dex",
    "[-]": "dex",
    "kms-1": "km/s",
    "masyr-1": "mas/yr",
    "gigayears": "Gyr",
    "solmass": "solMass",
}
_LOGARITHMIC = {"dex", ""}


@lru_cache(maxsize=512)
def _factor(found: str, wanted: str) -> float | None:
    from astropy import units as u

    found = _ALIASES.get(found.strip().lower(), found.strip())
    if found == wanted or (found in _LOGARITHMIC and wanted in _LOGARITHMIC):
        return 1.0
    unit = u.Unit(found, parse_strict="silent")
    if isinstance(unit, u.UnrecognizedUnit):
        return None
    try:
        return float(unit.to(u.Unit(wanted)))
    except (u.UnitConversionError, TypeError):
        return None


def conversion_factor(found: str, wanted: str, *, file: str, column: str, canonical: str) -> float:
    """Return what to multiply a file's values by.

    Parameters
    ----------
    found, wanted : str
        The unit in the file (or that its map declares) and the canonical one.
    file, column, canonical : str
        Named in the error.

    Raises
    ------
    CatalogError
        Where the one cannot become the other.
    """
    factor = _factor(found, wanted)
    if factor is None:
        raise CatalogError(
            f"{file}: column '{column}' is read as '{canonical}', which needs the unit "
            f"'{wanted or 'none'}', but it is in '{found or 'none'}'. "
            f"Map another column, or declare the true unit: "
            f'{canonical} = {{ column = "{column}", unit = "..." }}'
        )
    return factor
