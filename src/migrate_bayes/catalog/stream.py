"""A catalogue that is never in memory whole: what a run reads its stars through.

`open_catalog` goes through the file once, so that whatever is wrong with it is said before hours of
work and not after; of each star it keeps the position, the identifier's hash and the S/N, from
which repeat observations are found. `CatalogStream.chunks` then reads the rows again, as often as
asked, with all flags set and extinction corrected. The chunks' concatenation is equal, bit for bit,
to ``correct_extinction(quality_cuts(mark_duplicates(read_catalog(...))))``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.columns import attributes
from migrate_bayes.catalog.cuts import quality_cuts
from migrate_bayes.catalog.duplicates import find_repeats, total_snr
from migrate_bayes.catalog.extinction import correct_extinction
from migrate_bayes.catalog.reading import CatalogReader, WholeFile
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag, add_flag
from migrate_bayes.core.progress import progress

__all__ = ["CHUNK", "CatalogStream", "open_catalog"]

CHUNK = 65_536
"""Stars at a time where nothing else is asked."""


@dataclass(frozen=True)
class CatalogStream:
    """A catalogue on disk; from `open_catalog`.

    Attributes
    ----------
    path : Path
    n_stars : int
    whole : bool
        The file's format can only be read whole: memory grows with the file.
    """

    path: Path
    n_stars: int
    whole: bool
    _reader: CatalogReader
    _repeat: NDArray[np.bool_] | None
    _min_snr: float | None
    _extinction: str | None

    def chunks(self, chunk_size: int = CHUNK) -> Iterator[xr.Dataset]:
        """Iterate over consecutive stars, at most `chunk_size` at a time.

        Yields
        ------
        xarray.Dataset
            As `read_catalog` gives it, with ``DUPLICATE`` and ``LOW_SNR`` flagged and, where that
            was asked for, extinction corrected.

        Raises
        ------
        CatalogError
            Where `chunk_size` is not positive, or the file has changed since it was opened.
        """
        if chunk_size < 1:
            raise CatalogError(f"chunk_size must be at least 1, not {chunk_size}")
        start = 0
        for chunk in self._reader.chunks(chunk_size):
            stop = start + chunk.sizes["star"]
            if stop > self.n_stars:
                break
            if self._repeat is not None:
                flag = chunk["flag"].values & ~np.int32(StarFlag.DUPLICATE)
                add_flag(flag, self._repeat[start:stop], StarFlag.DUPLICATE)
                attrs = chunk["flag"].attrs or attributes("flag")
                chunk = chunk.assign(flag=("star", flag, attrs))
            chunk = quality_cuts(chunk, min_snr=self._min_snr)
            if self._extinction is not None:
                chunk = correct_extinction(chunk, source=self._extinction)
            yield chunk
            start = stop
        if start != self.n_stars:
            raise CatalogError(f"{self.path} has changed since it was opened: run again")


def open_catalog(
    path: str | Path,
    *,
    columns: str | Mapping[str, Any] | None = None,
    format: str | None = None,
    duplicate_radius: float | None = 5.0,
    min_snr: float | None = 50.0,
    extinction: str | None = "auto",
) -> CatalogStream:
    """Open a catalogue for reading in chunks, and check it.

    Parameters
    ----------
    path, columns, format
        As for `read_catalog`.
    duplicate_radius : float or None
        Linking length of repeat observations, arcsec (see `mark_duplicates`); None keeps them.
    min_snr : float or None
        See `quality_cuts`.
    extinction : str or None
        `source` of `correct_extinction`; None leaves magnitudes as they are.

    Raises
    ------
    CatalogError
        For whatever `read_catalog`, `mark_duplicates` and `correct_extinction` raise it.
    """
    reader = CatalogReader(path, columns=columns, format=format)
    if duplicate_radius is not None and not {"ra", "dec"} <= set(reader.by_name):
        raise CatalogError("cannot look for duplicates: the catalogue has no ra and dec")
    whole = WholeFile(reader)
    snr: list[NDArray[np.float64]] = []
    with progress(reader.rows, "catalogue") as advance:
        for i, chunk in enumerate(reader.chunks(CHUNK)):
            whole.see(chunk)
            if duplicate_radius is not None:
                snr.append(total_snr(chunk))
            if i == 0 and extinction is not None:
                # A wrong setting shows in the first star; none of its values is used.
                correct_extinction(chunk.isel(star=slice(0, 1)), source=extinction)
            advance(chunk.sizes["star"])
    whole.check()
    repeat = None
    if duplicate_radius is not None:
        repeat = find_repeats(*whole.places(), np.concatenate(snr), radius_arcsec=duplicate_radius)
    return CatalogStream(reader.path, whole.rows, reader.whole, reader, repeat, min_snr, extinction)
