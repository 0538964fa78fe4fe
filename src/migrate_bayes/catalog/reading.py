"""Read a catalogue of stars, whole or in chunks, into canonical columns.

A run reads through `open_catalog`, which goes through the file once and raises every error before
hours of work, not after; to find repeat observations, it keeps each star's position, key and S/N.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog import quality
from migrate_bayes.catalog.catalog_options import CatalogOptions
from migrate_bayes.catalog.columns import COLUMNS, EXTRA_PREFIX, attributes, star_keys
from migrate_bayes.catalog.extinction import correct_extinction
from migrate_bayes.catalog.formats import open_source
from migrate_bayes.catalog.maps import as_column_map, evaluate, guess_map, load_column_map, plan
from migrate_bayes.core.errors import CatalogError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.core.places import expand
from migrate_bayes.core.progress import progress

Columns = str | Mapping[str, Any] | None  # a packaged map's name, or a map's content

CHUNK = 65_536
"""Stars at a time if nothing else is asked."""


def read_catalog(
    path: str | Path, *, columns: Columns = None, format: str | None = None
) -> xr.Dataset:
    r"""Read a catalogue of stars.

    Parameters
    ----------
    path : path-like
        FITS (``.fits``, ``.fit``), CSV or ECSV (``.csv``, ``.ecsv``, ``.tsv``), VOTable (``.vot``,
        ``.xml``) or Parquet (``.parquet``).
    columns : str or mapping, optional
        Name of a packaged column map (`column_map_names`), or a map's content (see
        `migrate_bayes.catalog.maps`). By default the canonical names are looked for.
    format : {"fits", "csv", "ecsv", "votable", "parquet"}, optional
        If the file's ending does not say it.

    Returns
    -------
    xarray.Dataset
        On dim ``star``, in canonical columns and units, with ``flag`` and ``star_key``.

    Raises
    ------
    CatalogError
        For a missing, damaged or empty file; a missing column or a wrong unit; a column without a
        single value; a negative error; an identifier that stands for two places on the sky.

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
    (catalog,) = _checked(CatalogReader(path, columns, format), None)
    return catalog


def iter_catalog(
    path: str | Path,
    *,
    columns: Columns = None,
    chunk_size: int = 100_000,
    format: str | None = None,
) -> Iterator[xr.Dataset]:
    """Read a catalogue in chunks of at most `chunk_size` stars.

    Parameters
    ----------
    path : path-like
        As for `read_catalog`.
    columns : str or mapping, optional
        As for `read_catalog`.
    chunk_size : int
        Stars at a time.
    format : str, optional
        As for `read_catalog`.

    Yields
    ------
    xarray.Dataset
        Consecutive stars.

    Raises
    ------
    CatalogError
        As `read_catalog`; what concerns the file as a whole (an empty column, an identifier given
        twice) at the end.

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
    yield from _checked(CatalogReader(path, columns, format), chunk_size)


@dataclass(frozen=True)
class CatalogStream:
    """A catalogue on disk, opened and checked by `open_catalog`."""

    path: Path
    n_stars: int
    whole: bool  # the file's format can only be read whole: memory grows with the file
    _reader: CatalogReader
    _repeat: NDArray[np.bool_] | None
    _options: CatalogOptions

    def chunks(self, chunk_size: int = CHUNK) -> Iterator[xr.Dataset]:
        """Iterate over consecutive stars, at most `chunk_size` at a time, as `read_catalog` does.

        ``DUPLICATE`` and ``LOW_SNR`` are flagged and, if that was asked for, extinction is
        corrected.

        Raises
        ------
        CatalogError
            If `chunk_size` is not positive, or the file has changed since it was opened.
        """
        start = 0
        for chunk in self._reader.chunks(chunk_size):
            stop = start + chunk.sizes["star"]
            if stop > self.n_stars:
                break
            if self._repeat is not None:
                chunk = quality.with_flag(chunk, self._repeat[start:stop], StarFlag.DUPLICATE)
            chunk = quality.quality_cuts(chunk, min_snr=self._options.min_snr)
            if self._options.extinction is not None:
                chunk = correct_extinction(chunk, source=self._options.extinction)
            yield chunk
            start = stop
        if start != self.n_stars:
            raise CatalogError(f"{self.path} has changed since it was opened: run again")


def open_catalog(
    path: str | Path,
    options: CatalogOptions | None = None,
    *,
    format: str | None = None,
    **settings: Any,
) -> CatalogStream:
    """Open a catalogue for reading in chunks, and check it.

    Parameters
    ----------
    path : path-like
        As for `read_catalog`.
    options : CatalogOptions, optional
        Its ``columns``, ``duplicate_radius``, ``min_snr`` and ``extinction`` are used.
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
    radius, extinction = chosen.duplicate_radius, chosen.extinction
    reader = CatalogReader(path, chosen.columns, format)
    if radius is not None and not {"ra", "dec"} <= set(reader.by_name):
        raise CatalogError(
            f"{path}: cannot look for duplicates: the catalogue has no ra and dec; map these "
            "columns, or keep duplicates with duplicate_radius None"
        )
    n_stars, places = 0, Places()
    snr: list[NDArray[np.float64]] = []
    with progress(reader.rows, "catalogue") as advance:
        for i, chunk in enumerate(_checked(reader, CHUNK, places)):
            n_stars += chunk.sizes["star"]
            if radius is not None:
                snr.append(quality.total_snr(chunk))
            if i == 0 and extinction is not None:
                # A wrong setting shows in the first star; none of its values is used.
                correct_extinction(chunk.isel(star=slice(0, 1)), source=extinction)
            advance(chunk.sizes["star"])
    repeat = None
    if radius is not None:
        _, ra, dec = (np.concatenate(parts) for parts in zip(*places, strict=True))
        repeat = quality.find_repeats(ra, dec, np.concatenate(snr), radius_arcsec=radius)
    return CatalogStream(reader.path, n_stars, reader.whole, reader, repeat, chosen)


def _identifiers(values: Any, text: bool, path: Path, name: str, first_row: int) -> NDArray[Any]:
    """Return identifiers as int64 or text, refusing those that are missing or have lost digits."""
    masked = np.ma.MaskedArray(values)
    plain = np.asarray(masked.data)
    gone = np.ma.getmaskarray(masked).copy()
    if plain.dtype.kind == "S":
        plain = np.char.decode(plain, "utf-8")
    if plain.dtype.kind in "OU":
        plain = np.array([str(v).strip() for v in plain.tolist()])
        gone |= plain == ""
    elif plain.dtype.kind == "f":
        gone |= ~np.isfinite(plain)
    if gone.any():
        row = first_row + int(np.flatnonzero(gone)[0]) + 1
        raise CatalogError(
            f"{path}: {int(gone.sum())} stars have no identifier in column '{name}', the first in "
            f"row {row} (counting from 1). Map another column to source_id, or "
            "source_id = { row_number = true }"
        )
    if plain.dtype.kind == "f":
        if np.any(np.abs(plain) >= 2.0**53) or np.any(plain != np.rint(plain)):
            raise CatalogError(
                f"{path}: the identifiers in column '{name}' are stored as floating point and have "
                "lost digits: write them as 64-bit integers or as text"
            )
    elif plain.dtype.kind not in "iu" and text:
        return plain.astype(np.str_)
    try:
        return plain.astype(np.int64)
    except (ValueError, OverflowError) as error:
        wrong = next(v for v in plain.tolist() if not v.removeprefix("-").isdecimal())
        raise CatalogError(
            f"{path}: the identifiers in column '{name}' begin as integers, but '{wrong}' is none"
        ) from error


def _is_text(values: Any) -> bool:
    """Whether the first identifier is a text: the rule must not depend on the size of a block."""
    plain = np.asarray(np.ma.MaskedArray(values).data)
    if plain.dtype.kind not in "OUS":
        return False
    first = plain[0].decode() if isinstance(plain[0], bytes) else str(plain[0])
    return not first.strip().removeprefix("-").isdecimal()


class CatalogReader:
    """A catalogue's file, opened: its columns found, its rows not yet read."""

    def __init__(self, path: str | Path, columns: Columns, format: str | None) -> None:
        self.path = path = expand(path)
        self._source = source = open_source(path, format=format)
        self.rows, self.whole = source.rows, source.whole
        if columns is None:
            self._map = guess_map(source.names)
        elif isinstance(columns, str):
            self._map = load_column_map(columns)
        else:
            self._map = as_column_map(columns)
        self._steps = plan(self._map, source)
        self.by_name = by_name = {step.canonical: step for step in self._steps}
        named = f"{path}: the column map '{self._map.name}'"
        if "source_id" not in by_name:
            raise CatalogError(
                f"{named} has no source_id: add the column that "
                "identifies a star, or source_id = { row_number = true }"
            )
        if not any(name in COLUMNS for name in by_name):
            raise CatalogError(
                f"{path}: no canonical column ('ra', 'teff', ...) among its {len(source.names)} "
                "columns: give a column map with columns="
            )
        id_step = by_name["source_id"]
        if id_step.entry.operation not in ("column", "row_number"):
            raise CatalogError(f"{path}: source_id is a column or row_number = true, nothing else")
        self._id = str(id_step.operands[0]) if id_step.operands else None
        others = [o for step in self._steps if step is not id_step for o in step.operands]
        if self._id in others:
            raise CatalogError(f"{path}: column '{self._id}' is the identifier and nothing else")
        # The file's columns once each, in the order in which the map names them.
        wanted = [o for step in self._steps for o in step.operands if isinstance(o, str)]
        self._wanted = list(dict.fromkeys(wanted))
        if not wanted:
            raise CatalogError(f"{named} names no column of the file")
        self._words = {
            str(o): step.entry.words for step in self._steps if step.entry.words
            for o in step.operands
        }  # fmt: skip

    def chunks(self, chunk_size: int | None) -> Iterator[xr.Dataset]:
        """Read the rows, as often as asked, `chunk_size` at a time or all at once.

        What a row comes out as does not depend on the size; the file as a whole is not checked.
        """
        if chunk_size is not None and chunk_size < 1:
            raise CatalogError(f"chunk_size must be at least 1, not {chunk_size}")
        rows, text = 0, None
        for block in self._source.blocks(self._wanted, self._id, chunk_size, self._words):
            n = len(next(iter(block.values())))
            if self._id is None:
                ids: NDArray[Any] = np.arange(rows, rows + n, dtype=np.int64)
            else:
                raw = block.pop(self._id)
                text = _is_text(raw) if text is None else text
                ids = _identifiers(raw, text, self.path, self._id, rows)
            yield self._dataset(block, ids, rows)
            rows += n

    def _dataset(
        self, block: dict[str, NDArray[Any]], ids: NDArray[Any], first_row: int
    ) -> xr.Dataset:
        variables: dict[str, Any] = {}
        for step in self._steps:
            name = step.canonical
            if name == "source_id":
                continue
            value = evaluate(step, block, len(ids), file=str(self.path), first_row=first_row)
            if name.startswith(EXTRA_PREFIX):
                label = f"{name.removeprefix(EXTRA_PREFIX)}, as published"
                variables[name] = ("star", value, {"units": step.unit, "long_name": label})
                continue
            if name == "flag":
                value = np.nan_to_num(value).astype(np.int32)
            elif name == "ra":
                value = np.mod(value, 360.0)
            variables[name] = ("star", value, attributes(name))
        if "distance" in variables:
            given = ", ".join(str(o) for o in self.by_name["distance"].operands)
            variables["distance"][2]["source"] = self._map.distance_source or f"column {given}"
        coords = {"source_id": ("star", ids, attributes("source_id"))}
        catalog = quality.add_distances(xr.Dataset(variables, coords=coords))
        catalog = catalog.assign(
            flag=("star", quality.flag_measurements(catalog), attributes("flag")),
            star_key=("star", star_keys(ids), attributes("star_key")),
        )
        ordered = [name for name in COLUMNS if name in catalog]
        rest = sorted(str(name) for name in catalog.data_vars if name not in COLUMNS)
        catalog = catalog[[*ordered, *rest]]
        catalog.attrs = {"title": "catalogue", "file": self.path.name, "column_map": self._map.name}
        return catalog

    def names_of(self, keys: NDArray[np.uint64]) -> list[str]:
        """Return the identifiers of some stars, by their keys, in the order of the file."""
        found: dict[str, None] = {}
        for chunk in self.chunks(100_000):
            mine = np.isin(chunk["star_key"].values, keys)
            found |= dict.fromkeys(str(name) for name in chunk["source_id"].values[mine])
        return list(found)


Places = list[tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]]]


def _checked(
    reader: CatalogReader, chunk_size: int | None, places: Places | None = None
) -> Iterator[xr.Dataset]:
    """Read chunks, and at the end check the file as a whole; gather key, ra and dec in `places`."""
    rows, path = 0, reader.path
    finite = dict.fromkeys((name for name in reader.by_name if name in COLUMNS), 0)
    places = [] if places is None else places
    for chunk in reader.chunks(chunk_size):
        rows += chunk.sizes["star"]
        for name in finite:
            finite[name] += int(np.count_nonzero(np.isfinite(chunk[name].values)))
        if "ra" in chunk and "dec" in chunk:
            places.append((chunk["star_key"].values, chunk["ra"].values, chunk["dec"].values))
        yield chunk
    if rows == 0:
        raise CatalogError(f"{path}: the table has no rows")
    for name, count in finite.items():
        if count == 0:
            given = ", ".join(f"'{o}'" for o in reader.by_name[name].operands)
            raise CatalogError(
                f"{path}: column {given} ('{name}') holds not a single usable value in "
                f"{rows} rows: take it out of the column map, or map another"
            )
    if places:
        keys, ra, dec = (np.concatenate(parts) for parts in zip(*places, strict=True))
        quality.check_identifiers(keys, ra, dec, file=str(path), names=reader.names_of)
