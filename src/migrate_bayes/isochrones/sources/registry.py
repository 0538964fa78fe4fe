"""The names that isochrone sources go by, and the reader of each."""

from __future__ import annotations

from functools import lru_cache

from migrate_bayes.core.errors import IsochroneError, suggest
from migrate_bayes.core.places import expand
from migrate_bayes.isochrones.sources.base import IsochroneSource
from migrate_bayes.isochrones.sources.dartmouth import native_checksum, native_files, read_native
from migrate_bayes.isochrones.sources.lachesis import (
    FAMILIES,
    grid_file,
    lachesis_checksum,
    read_lachesis,
)

_NATIVE = "dartmouth-native"


def source_names() -> list[str]:
    """List the names that `load_source` knows.

    Returns
    -------
    list of str
        ``DIR`` stands for a folder.

    Examples
    --------
    >>> from migrate_bayes.isochrones import source_names
    >>> source_names()
    ['dartmouth', 'mist', 'parsec', 'basti', 'yapsi', 'dartmouth-native:DIR']
    """
    return [*FAMILIES, f"{_NATIVE}:DIR"]


@lru_cache(maxsize=4)
def load_source(name: str) -> IsochroneSource:
    """Load a family of isochrones.

    Parameters
    ----------
    name : str
        ``dartmouth``, ``mist``, ``parsec``, ``basti``, ``yapsi`` (grids of the package
        `lachesis-grids`) or ``dartmouth-native:DIR`` (a folder of native Dartmouth files with Gaia
        magnitudes).

    Returns
    -------
    IsochroneSource
        Kept in memory: a second call costs nothing.

    Raises
    ------
    IsochroneError
        If the name is unknown, or its files are absent or malformed.

    Examples
    --------
    >>> from migrate_bayes.isochrones import load_source
    >>> load_source("dartmouth").describe()["ages [Gyr]"]
    '1 to 15 (29)'
    """
    check_source(name)
    kind, _, folder = name.partition(":")
    return read_native(expand(folder)) if kind == _NATIVE else read_lachesis(name)


def source_checksum(name: str) -> str:
    """Return the `checksum` of a source; its files are read, but no isochrone is made of them."""
    check_source(name)
    kind, _, folder = name.partition(":")
    return native_checksum(expand(folder)) if kind == _NATIVE else lachesis_checksum(name)


def check_source(name: str) -> None:
    """Raise the `IsochroneError` of a source that is unknown or absent, without reading it."""
    kind, _, folder = name.partition(":")
    if kind == _NATIVE:
        if not folder:
            raise IsochroneError(
                f"isochrone source '{_NATIVE}' needs its folder: write {_NATIVE}:DIR"
            )
        native_files(expand(folder))
    elif name not in FAMILIES:
        raise IsochroneError(f"unknown isochrone source '{name}': {suggest(name, source_names())}")
    else:
        grid_file(name)
