"""Read a catalogue of stars, whole or in chunks, into canonical columns.

A run reads through `open_catalog`, which goes through the file once and raises every error before
hours of work, not after; to find repeat observations, it keeps each star's position, key and S/N.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog import quality
from migrate_bayes.catalog.catalog_options import CatalogOptions
from migrate_bayes.catalog.extinction import correct_extinction
from migrate_bayes.catalog.measured import with_flag
from migrate_bayes.catalog.reader import CHUNK, CatalogReader, Columns, Places, checked
from migrate_bayes.catalog.zero_point import check_zero_point, correct_parallax
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import CUT, StarFlag
from migrate_bayes.core.progress import progress


def read_catalog(
    table: Any,
    *,
    columns: Columns = None,
    format: str | None = None,
    hdu: int | str | None = None,
) -> xr.Dataset:
    r"""Read a catalogue of stars.

    Parameters
    ----------
    table : path-like, file object or table in memory
        A file of FITS, VOTable, Parquet or text (CSV, TSV, ECSV, VizieR's, machine-readable,
        columns kept apart by blanks), which may be packed by gzip, bzip2 or xz; a folder of Parquet
        files (HATS, Spark); a file object; or an astropy Table, pandas DataFrame, xarray Dataset,
        Arrow table, structured array or mapping of columns.
    columns : str or mapping, optional
        Name of a packaged column map (`column_map_names`), or a map's content (see
        `migrate_bayes.catalog.maps`). By default the canonical names are looked for.
    format : {"fits", "csv", "ecsv", "votable", "parquet"}, optional
        Of a text, if the file's ending does not say it; what a binary file is, it says itself.
    hdu : int or str, optional
        Which table of a FITS file, by the number or name of its HDU, or of a VOTable, by number, ID
        or name. By default the first.

    Returns
    -------
    xarray.Dataset
        On dim ``star``, in canonical columns and units, with ``flag`` and ``star_key``.

    Raises
    ------
    CatalogError
        For a missing, damaged or empty file; a missing column or a wrong unit; a column of the map
        without a single value; a negative error; identifiers that have lost digits, or stand for
        two places on the sky; values that contradict each other by a factor of 1000.

    Warns
    -----
    CatalogWarning
        For whatever is doubtful: values out of bounds, units that seem wrong, a file that may be
        cut short.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from migrate_bayes import read_catalog
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "stars.csv"
    ...     _ = path.write_text("source_id,teff_k\n7,5772\n8,-9999\n")
    ...     stars = read_catalog(path, columns={"source_id": "source_id", "teff": "teff_k"})
    >>> stars["teff"].values.tolist(), stars["teff"].attrs["units"]
    ([5772.0, nan], 'K')
    """
    (catalog,) = checked(CatalogReader(table, columns, format, hdu), None)
    return catalog


def iter_catalog(
    table: Any,
    *,
    columns: Columns = None,
    chunk_size: int = 100_000,
    format: str | None = None,
    hdu: int | str | None = None,
) -> Iterator[xr.Dataset]:
    """Read a catalogue in chunks of at most `chunk_size` stars.

    Parameters
    ----------
    table : path-like, file object or table in memory
        As for `read_catalog`.
    columns : str or mapping, optional
        As for `read_catalog`.
    chunk_size : int
        Stars at a time.
    format : str, optional
        As for `read_catalog`.
    hdu : int or str, optional
        As for `read_catalog`.

    Yields
    ------
    xarray.Dataset
        Consecutive stars.

    Raises
    ------
    CatalogError
        As `read_catalog`; what concerns the file as a whole (an empty column, an identifier given
        twice) at the end. An optional column that proves empty stays, as NaN.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> from migrate_bayes.catalog import iter_catalog, write_catalog
    >>> stars = xr.Dataset({"teff": ("star", [5772.0, 5000.0, 6000.0])},
    ...                    coords={"source_id": ("star", [1, 2, 3])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_catalog(stars, f"{folder}/stars.parquet")
    ...     [chunk.sizes["star"] for chunk in iter_catalog(path, chunk_size=2)]
    [2, 1]
    """
    yield from checked(CatalogReader(table, columns, format, hdu), chunk_size)


_last: list[Any] = []  # how the catalogue was opened that this process read from last, and it


@dataclass(frozen=True)
class CatalogPart:
    """Consecutive rows of a `seekable` catalogue: the process that iterates over it reads them."""

    _opened: tuple[Any, ...]  # table, columns, format, HDU, and the state of the files
    _rows: slice
    _repeat: NDArray[np.bool_] | None
    _options: CatalogOptions
    _empty: set[str]
    _text: bool | None
    _chunk_size: int

    def __iter__(self) -> Iterator[xr.Dataset]:
        if _state(self._opened[0]) != self._opened[-1]:
            raise _changed(self._opened[0])
        if not _last or _last[0] != self._opened:
            with warnings.catch_warnings(action="ignore"):  # they were given in the first pass
                _last[:] = [self._opened, CatalogReader(*self._opened[:4])]
        reader: CatalogReader = _last[1]
        reader.empty, reader.text = self._empty, self._text
        first, end = self._rows.start, self._rows.stop
        size, stop = min(self._chunk_size, end - first), first
        for rows, chunk in reader.spans(size, lambda rows: True, start=first):
            assert chunk is not None
            stop = min(rows.stop, end)
            repeat = None if self._repeat is None else self._repeat[rows.start - first :]
            yield _flagged(chunk.isel(star=slice(stop - rows.start)), repeat, self._options)
            if stop == end:
                return
        raise _changed(reader.path)


def _state(path: Path | str) -> list[tuple[str, int, int]]:
    """Return sizes and times of the files of a catalogue; nothing of one in memory."""
    files = [path, *path.rglob("*")] if isinstance(path, Path) else []
    return [(str(p), (s := p.stat()).st_size, s.st_mtime_ns) for p in sorted(files)]


def _changed(path: Path | str) -> CatalogError:
    return CatalogError(f"{path} has changed since it was opened: run again")


def _flagged(
    chunk: xr.Dataset, repeat: NDArray[np.bool_] | None, options: CatalogOptions
) -> xr.Dataset:
    """Set flags, from the rows of `repeat` on, and correct what is to be corrected."""
    n = chunk.sizes["star"]
    if repeat is not None:
        chunk = with_flag(chunk, repeat[:n], StarFlag.DUPLICATE)
    chunk = quality.quality_cuts(chunk, min_snr=options.min_snr)
    if options.survey_flags == "keep":
        chunk = with_flag(chunk, np.zeros(n, dtype=bool), StarFlag.SURVEY_FLAG)
    if options.skip_cut:
        chunk = with_flag(chunk, chunk["flag"].values & np.int32(CUT) != 0, StarFlag.SKIPPED)
    if options.parallax_zero_point is not None:
        chunk = correct_parallax(chunk, zero_point=options.parallax_zero_point)
    if options.extinction is not None:
        chunk = correct_extinction(chunk, source=options.extinction)
    return chunk


@dataclass(frozen=True)
class CatalogStream:
    """A catalogue on disk, opened and checked by `open_catalog`."""

    path: Path | str
    n_stars: int
    whole: bool  # the file's format can only be read whole: memory grows with the file
    seekable: bool  # rows can be read without those before them, by other processes too
    _reader: CatalogReader
    _opened: tuple[Any, ...]
    _repeat: NDArray[np.bool_] | None
    _options: CatalogOptions

    def chunks(self, chunk_size: int = CHUNK) -> Iterator[xr.Dataset]:
        """Iterate over consecutive stars, at most `chunk_size` at a time, as `read_catalog` does.

        ``DUPLICATE`` and ``LOW_SNR`` are flagged and, if that was asked for, parallaxes and
        extinction are corrected.

        Raises
        ------
        CatalogError
            If `chunk_size` is not positive, or the file has changed since it was opened.
        """
        for _, chunk in self.parts(self.n_stars, [0], chunk_size):
            yield chunk

    def part(self, number: int, size: int, chunk_size: int = CHUNK) -> CatalogPart:
        """Return a part of `size` rows of a `seekable` catalogue, which is small to send."""
        if chunk_size < 1:
            raise CatalogError(f"chunk_size must be at least 1, not {chunk_size}")
        rows = slice(number * size, min((number + 1) * size, self.n_stars))
        repeat = None if self._repeat is None else self._repeat[rows]
        empty, text = self._reader.empty, self._reader.text
        return CatalogPart(self._opened, rows, repeat, self._options, empty, text, chunk_size)

    def parts(
        self, size: int, wanted: Collection[int], chunk_size: int = CHUNK
    ) -> Iterator[tuple[int, xr.Dataset]]:
        """Iterate as `chunks` does over some parts, of `size` rows each, with their numbers.

        If the catalogue is not `seekable`, rows of the other parts are read and let go.
        """
        if self.seekable:
            for k in sorted(wanted):
                yield from ((k, rows) for rows in self.part(k, size, chunk_size))
            return

        def numbers(rows: slice) -> list[int]:
            return [k for k in range(rows.start // size, -(-rows.stop // size)) if k in wanted]

        stop = 0
        for rows, chunk in self._reader.spans(chunk_size, numbers):
            if (stop := rows.stop) > self.n_stars:
                break
            if chunk is None:
                continue
            repeat = None if self._repeat is None else self._repeat[rows]
            flagged = _flagged(chunk, repeat, self._options)
            for k in numbers(rows):
                first, last = max(k * size, rows.start), min((k + 1) * size, rows.stop)
                yield k, flagged.isel(star=slice(first - rows.start, last - rows.start))
        if stop != self.n_stars:
            raise _changed(self.path)


def open_catalog(
    table: Any,
    options: CatalogOptions | None = None,
    *,
    format: str | None = None,
    **settings: Any,
) -> CatalogStream:
    """Open a catalogue for reading in chunks, and check it.

    Parameters
    ----------
    table : path-like, file object or table in memory
        As for `read_catalog`.
    options : CatalogOptions, optional
        Its ``columns``, ``hdu``, ``duplicate_radius``, ``min_snr``, ``survey_flags``,
        ``parallax_zero_point`` and ``extinction`` are used.
    format : str, optional
        As for `read_catalog`.
    **settings
        Entries of `CatalogOptions` by name, in place of those of `options`.

    Returns
    -------
    CatalogStream
        Its chunks together equal, bit for bit,
        ``correct_extinction(quality_cuts(mark_duplicates(read_catalog(path))))``.

    Raises
    ------
    CatalogError
        For whatever `read_catalog`, `mark_duplicates` and `correct_extinction` raise it.
    RecipeError
        For a setting that `CatalogOptions` does not know.

    Examples
    --------
    >>> import tempfile, xarray as xr
    >>> from migrate_bayes import open_catalog, write_catalog
    >>> stars = xr.Dataset({"teff": ("star", [5772.0, 5000.0])},
    ...                    coords={"source_id": ("star", [1, 2])})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_catalog(stars, f"{folder}/stars.parquet")
    ...     stream = open_catalog(path, duplicate_radius=None, extinction=None)
    ...     stream.n_stars, [chunk.sizes["star"] for chunk in stream.chunks(1)]
    (2, [1, 1])
    """
    chosen = CatalogOptions.of(options, settings)
    radius = chosen.duplicate_radius
    reader = CatalogReader(table, chosen.columns, format, chosen.hdu)
    if radius is not None and not {"ra", "dec"} <= set(reader.by_name):
        raise CatalogError(
            f"{reader.path}: cannot look for duplicates: the catalogue has no ra and dec; map "
            "these columns, or keep duplicates with duplicate_radius None"
        )
    n_stars, places = 0, Places(reader.rows)
    snr = Places(reader.rows)
    with progress(reader.rows, "catalogue") as advance:
        for i, chunk in enumerate(checked(reader, CHUNK, places)):
            n_stars += chunk.sizes["star"]
            if radius is not None:
                snr.add(quality.total_snr(chunk))
            if i == 0:
                # A wrong setting shows in the first star; none of its values is used.
                first = chunk.isel(star=slice(0, 1))
                _extinction_of(first, chosen)
                if chosen.parallax_zero_point is not None:
                    check_zero_point(chosen.parallax_zero_point, first)
            advance(chunk.sizes["star"])
    # Columns that have proved empty are absent from here on.
    extinction = _extinction_of(first.drop_vars(reader.empty & set(first)), chosen)
    chosen = chosen.model_copy(update={"extinction": extinction})
    repeat = None
    if radius is not None:
        _, ra, dec = places.columns()
        (total_snr,) = snr.columns()
        repeat = quality.find_repeats(ra, dec, total_snr, radius_arcsec=radius)
    seekable = reader.seekable and isinstance(reader.path, Path)
    opened = (reader.path, chosen.columns, format, chosen.hdu, _state(reader.path))
    return CatalogStream(
        reader.path, n_stars, reader.whole, seekable, reader, opened, repeat, chosen
    )


def read_partition(table: Any, options: CatalogOptions) -> xr.Dataset:
    """Read rows of a larger catalogue as `open_catalog` does; repeats are looked for among them.

    A column in which these rows have no value stays, as NaN.
    """
    reader = CatalogReader(table, options.columns, None)
    rows, repeat = list(reader.chunks(CHUNK)), None
    catalog = rows[0] if len(rows) == 1 else xr.concat(rows, dim="star", join="exact")
    if options.duplicate_radius is not None and {"ra", "dec"} <= set(catalog):
        ra, dec, snr = catalog["ra"].values, catalog["dec"].values, quality.total_snr(catalog)
        repeat = quality.find_repeats(ra, dec, snr, radius_arcsec=options.duplicate_radius)
    extinction = _extinction_of(catalog.isel(star=slice(0, 1)), options)
    return _flagged(catalog, repeat, options.model_copy(update={"extinction": extinction}))


def _extinction_of(stars: xr.Dataset, options: CatalogOptions) -> str | tuple[str, ...] | None:
    """Return the source of the extinction, and try it; without a G, ``"auto"`` corrects nothing."""
    source = options.extinction
    if source is None or (source == "auto" and "phot_g_mean_mag" not in stars):
        return None
    correct_extinction(stars, source=source)
    return source
