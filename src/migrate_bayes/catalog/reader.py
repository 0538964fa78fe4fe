"""A catalogue's table, opened: its columns found, its rows read into canonical columns."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog import measured
from migrate_bayes.catalog.cleaning import Seen, clean
from migrate_bayes.catalog.columns import (
    COLUMNS,
    EXTRA_PREFIX,
    SYMMETRIC,
    attributes,
    conversion_to,
    is_unit,
    star_keys,
)
from migrate_bayes.catalog.doubts import Doubts
from migrate_bayes.catalog.formats import open_source
from migrate_bayes.catalog.maps import (
    Entry,
    as_column_map,
    evaluate,
    guess_map,
    load_column_map,
    plan,
    unread,
    words_of,
)
from migrate_bayes.catalog.memory_tables import unpacked
from migrate_bayes.catalog.source import Cells, as_float, stated_unit
from migrate_bayes.core.errors import CatalogError, CatalogWarning

Columns = str | Mapping[str, Any] | None  # a packaged map's name, or a map's content


_FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?")
_WITH_POINT = re.compile(r"-?(0|[1-9][0-9]*)\.0*|-?[0-9]\.[0-9]+[eE][+-][0-9]{2,}")


class _Spelling:
    """How identifiers of text that are read as integers are spelled.

    ``001``, ``1``, ``+1`` and ``1e0`` would become one number. They cannot if all are figures
    alone (``12.0`` and ``1.2e+01`` are numbers, as pandas and NumPy write them), all that begin
    with zeros have one width, and no other has less.
    """

    def __init__(self) -> None:
        self.padded, self.shortest = "", ""

    def add(self, texts: NDArray[np.str_], path: Any, name: str) -> None:
        """Take in further texts; refuse those that as numbers could be another's."""
        codes = texts.view(np.uint32).reshape(len(texts), -1)
        odd = (codes != 0) & ((codes < ord("0")) | (codes > ord("9")))
        odd[:, 0] &= codes[:, 0] != ord("-")
        rows = odd.any(axis=1)
        for text in texts[rows].tolist() if rows.any() else ():
            if not _WITH_POINT.fullmatch(text):
                other = next((t for t in texts.tolist() if t != text), self.shortest)
                raise self._error(path, name, text, other)
        texts, codes = texts[~rows], codes[~rows]
        if not len(texts):
            return
        plain = np.char.lstrip(texts, "-") if (codes[:, 0] == ord("-")).any() else texts
        width = np.char.str_len(plain)
        zeros = (plain.astype("U1") == "0") & (width > 1)
        if not zeros.any() and not self.padded:
            shortest = str(plain[np.argmin(width)])
            if not self.shortest or len(shortest) < len(self.shortest):
                self.shortest = shortest
            return
        first = self.padded or str(plain[np.flatnonzero(zeros)[0]])
        other = zeros & (width != len(first)) | ~zeros & (width < len(first))
        self.padded = first
        if other.any() or (self.shortest and len(self.shortest) < len(first)):
            second = str(plain[np.flatnonzero(other)[0]]) if other.any() else self.shortest
            raise self._error(path, name, first, second)

    def _error(self, path: Any, name: str, first: str, second: str) -> CatalogError:
        return CatalogError(
            f"{path}: the identifiers '{first}' and '{second}' of column '{name}' are texts of "
            "different spelling (leading zeros, signs, points), which as numbers could be taken "
            "for each other: write identifiers as text that begins with a letter, or all alike, or "
            "source_id = { row_number = true }"
        )


def _identifiers(
    values: Any, text: bool, path: Any, name: str, first_row: int, spelling: _Spelling
) -> NDArray[Any]:
    """Return identifiers as int64 or text, refusing those that are missing or have lost digits."""
    masked = np.ma.MaskedArray(values)
    plain = np.asarray(masked.data)
    gone = np.ma.getmaskarray(masked).copy()
    if plain.ndim != 1 or plain.dtype.kind not in "OUSiufb":
        raise CatalogError(
            f"{path}: column '{name}' holds no identifiers: map a column of numbers or text"
        )
    kind = plain.dtype
    if plain.dtype.kind == "S":
        plain = np.array(
            [v.decode("utf-8", "backslashreplace") for v in plain.tolist()], dtype=object
        )
    if plain.dtype.kind in "OU":
        texts = [_spelled(v) for v in plain.tolist()]
        gone |= np.array([t.lower() in ("", "nan", "none", "<na>") for t in texts], dtype=bool)
        plain = np.array(texts, dtype=np.str_)
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
        exact = 2.0 ** min(np.finfo(kind).nmant + 1, 53)
        if np.any(np.abs(plain) >= exact) or np.any(plain != np.rint(plain)):
            raise _lost(path, name)
    elif plain.dtype.kind not in "iub" and text:
        return plain
    elif plain.dtype.kind == "u" and np.any(plain > 2**63 - 1):
        raise _too_large(path, name, first_row, plain > 2**63 - 1, plain)
    try:
        ids = plain.astype(np.int64, copy=False)
    except (ValueError, OverflowError):
        ids = _spelled_otherwise(plain, path, name, first_row)
    if plain.dtype.kind == "U":
        spelling.add(plain, path, name)
    return ids


def _spelled(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53:
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace").strip().strip("\x00")
    return str(value).strip().strip("\x00")


def _lost(path: Any, name: str) -> CatalogError:
    return CatalogError(
        f"{path}: the identifiers in column '{name}' are stored as floating point and have "
        "lost digits: write them as 64-bit integers or as text"
    )


def _too_large(path: Any, name: str, first_row: int, where: Any, values: Any) -> CatalogError:
    row = int(np.flatnonzero(where)[0])
    return CatalogError(
        f"{path}: the identifier {values[row]} in row {first_row + row + 1} (counting from 1) of "
        f"column '{name}' is larger than 63 bits hold: write identifiers as text that begins with "
        "a letter, map another column to source_id, or source_id = { row_number = true }"
    )


def _spelled_otherwise(
    texts: NDArray[Any], path: Any, name: str, first_row: int
) -> NDArray[np.int64]:
    """Return integers of which some are spelled as ``12.0``, or say what is wrong."""
    out = np.empty(len(texts), dtype=np.int64)
    for row, text in enumerate(texts.tolist()):
        if text.removeprefix("-").isdecimal():
            if not -(2**63) <= int(text) < 2**63:
                raise _too_large(path, name, first_row, np.arange(len(texts)) == row, texts)
            out[row] = int(text)
        elif _FLOAT.fullmatch(text) and float(text) == np.rint(float(text)):
            if abs(float(text)) >= 2.0**53:
                raise _lost(path, name)
            out[row] = int(float(text))
        else:
            raise CatalogError(
                f"{path}: the identifiers in column '{name}' begin as integers, but '{text}' is "
                "none: write all as text that begins with a letter, or source_id = { row_number = "
                "true }"
            )
    return out


def _is_text(values: Any) -> bool:
    """Whether the first identifier is a text: the rule must not depend on the size of a block."""
    plain = np.asarray(np.ma.MaskedArray(values).data)
    if plain.dtype.kind not in "OUS":
        return False
    first = _spelled(plain[0])
    if first.removeprefix("-").isdecimal():
        return False
    number = float(first) if _FLOAT.fullmatch(first) else np.nan
    return not (np.isfinite(number) and number == np.rint(number))


def _unread_masks(wanted: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return columns that are read, with those beside them whose name says that they mask them."""
    lowered = {name.lower(): name for name in names if name not in wanted}
    ways = ("{}_mask", "mask_{}", "{}mask", "{}_masked", "{}.masked", "{}_null", "{}_isnull",
            "{}_is_null", "{}_missing")  # fmt: skip
    pairs = ((name, lowered.get(way.format(name.lower()))) for name in wanted for way in ways)
    return [(name, mask) for name, mask in pairs if mask is not None]


CHUNK = 65_536
"""Stars at a time if nothing else is asked."""


class CatalogReader:
    """A catalogue's file, opened: its columns found, its rows not yet read."""

    def __init__(
        self, table: Any, columns: Columns, format: str | None, hdu: int | str | None = None
    ) -> None:
        self._source = source = open_source(table, format=format, hdu=hdu)
        self.path = path = source.path
        self.empty: set[str] = set()
        self.rows, self.whole, self.names = source.rows, source.whole, source.names
        self.seekable = source.seekable
        self.text: bool | None = None  # whether identifiers are; the first of the table tells
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
        if columns is None and (said := unread(source.names, self.columns)):
            warnings.warn(f"{path}: {said}", CatalogWarning, stacklevel=4)
        id_step = by_name["source_id"]
        if id_step.entry.operation not in ("column", "row_number"):
            raise CatalogError(f"{path}: source_id is a column or row_number = true, nothing else")
        if id_step.entry != Entry(id_step.entry.operation, id_step.entry.operands):
            raise CatalogError(f"{path}: source_id takes no unit, scale, missing or other setting")
        self._id = str(id_step.operands[0]) if id_step.operands else None
        others = [o for step in self._steps if step is not id_step for o in step.operands]
        if self._id in others:
            raise CatalogError(f"{path}: column '{self._id}' is the identifier and nothing else")
        # The file's columns once each, in the order in which the map names them.
        wanted = [o for step in self._steps for o in step.operands if isinstance(o, str)]
        self._wanted = list(dict.fromkeys(wanted))
        if not wanted:
            raise CatalogError(f"{named} names no column of the file")
        for column, mask in _unread_masks(wanted, source.names):
            said = (
                f"{path}: '{mask}' is not read: if it marks missing values of '{column}', rename "
                f"it to '{column}.mask', and they are missing"
            )
            warnings.warn(said, CatalogWarning, stacklevel=4)
        self._words = {o: w for step in self._steps for o, w in words_of(step).items()}
        self._measured = {
            str(o) for step in self._steps for o in step.operands
            if step.canonical in COLUMNS and COLUMNS[step.canonical].unit
        }  # fmt: skip
        self._missing = {
            str(o): step.entry.missing_words for step in self._steps for o in step.operands
        }
        for step in self._steps:
            for o, conversion in zip(step.operands, step.conversions, strict=True):
                if conversion.doubt:
                    said = f"{path}: column '{o}' ('{step.canonical}'): the unit {conversion.doubt}"
                    warnings.warn(said, CatalogWarning, stacklevel=4)

    @property
    def columns(self) -> set[str]:
        """The canonical columns that the catalogue has: read, or made of those that are."""
        there = set(self.by_name) - {"source_id"}
        for name, error in SYMMETRIC.items():
            if {name, error} <= there and not {f"{name}_lo", f"{name}_hi"} & there:
                there |= {f"{name}_lo", f"{name}_hi"}
            there.discard(error)
        if "distance" not in there and {"parallax", "parallax_error"} <= there:
            there |= {"distance", "distance_lo", "distance_hi"}
        return there

    def can_be_empty(self, name: str) -> bool:
        """Whether a column without a single value is as good as absent."""
        return self.by_name[name].entry.optional

    def chunks(self, chunk_size: int | None, doubts: Doubts | None = None) -> Iterator[xr.Dataset]:
        """Read the rows, as often as asked, `chunk_size` at a time or all at once.

        What a row comes out as does not depend on the size; the file as a whole is not checked,
        but what is seen of it is added to `doubts`.
        """
        if chunk_size is None:
            if (whole := self._whole(doubts)) is not None:
                yield self._dataset(*whole)
            return
        for _, chunk in self.spans(chunk_size, lambda rows: True, doubts):
            assert chunk is not None
            yield chunk

    def spans(
        self,
        chunk_size: int,
        wanted: Callable[[slice], Any],
        doubts: Doubts | None = None,
        start: int = 0,
    ) -> Iterator[tuple[slice, xr.Dataset | None]]:
        """Read as `chunks` does, with the rows of each; None for rows that are not `wanted`.

        If the table is `seekable`, and was read from its first row before, it can `start` anywhere.
        """
        if chunk_size < 1:
            raise CatalogError(f"chunk_size must be at least 1, not {chunk_size}")
        for rows, part in self._parts(chunk_size, doubts, wanted=wanted, start=start):
            yield rows, None if part is None else self._dataset(*part)

    def _whole(self, doubts: Doubts | None) -> _Part | None:
        """Read all rows, without the columns that may be and are empty; None if there are none."""
        into = {}
        if self.rows is not None:
            names = [step.canonical for step in self._steps if step.canonical != "source_id"]
            into = {name: np.empty(self.rows) for name in names}
        parts = [part for _, part in self._parts(CHUNK, doubts, into) if part is not None]
        if not parts:
            return None
        seen = parts[0][2]
        values = {}
        for name in list(parts[0][1]):
            column = into.get(name)
            if column is None:  # one at a time, so that memory holds little twice
                column = np.concatenate([v.pop(name) for _, v, _ in parts])
            empty = all(not s[name].finite for _, _, s in parts)
            if not (empty and name in COLUMNS and self.can_be_empty(name)):
                values[name] = column
        for _, _, later in parts[1:]:
            for name, what in seen.items():
                what.add(later[name])
        return joined([ids for ids, _, _ in parts]), values, seen

    def _parts(
        self,
        size: int,
        doubts: Doubts | None,
        into: Mapping[str, NDArray[np.float64]] | None = None,
        wanted: Callable[[slice], Any] = lambda rows: True,
        start: int = 0,
    ) -> Iterator[tuple[slice, _Part | None]]:
        """Read identifiers and canonical values, in the arrays of `into` if these are given."""
        rows, how, spelling = start, (self._words, self._missing, self._measured), _Spelling()
        for block in self._source.blocks(self._wanted, self._id, size, *how, start):
            n = len(next(iter(block.values())))
            here = slice(rows, rows + n)
            rows += n
            if self._id is not None and self.text is None:
                self.text = _is_text(block[self._id])
            if not wanted(here):
                yield here, None
                continue
            if self._id is None:
                ids: NDArray[Any] = np.arange(here.start, here.stop, dtype=np.int64)
            else:
                raw = block.pop(self._id)
                ids = _identifiers(raw, bool(self.text), self.path, self._id, here.start, spelling)
            steps = [s for s in self._steps if s.canonical not in ("source_id", *self.empty)]
            seen = {step.canonical: Seen() for step in steps}
            # In one piece, which the allocator keeps for the next rows, as it does no small ones.
            rooms = np.empty((0 if into else len(steps), n))
            values = {
                step.canonical: evaluate(
                    step, block, n, file=str(self.path), first_row=here.start,
                    seen=seen[step.canonical], out=into[step.canonical][here] if into else rooms[i],
                )
                for i, step in enumerate(steps)
            }  # fmt: skip
            if doubts is not None:
                doubts.add(values, ids, seen)
            yield here, (ids, values, seen)

    def _dataset(
        self, ids: NDArray[Any], values: dict[str, NDArray[Any]], seen: Mapping[str, Seen]
    ) -> xr.Dataset:
        """Label the values; `values` is used up."""
        complete = {name for name in values if seen[name].finite == len(ids)}
        given = values.get("distance")
        derived = measured.complete_distances(values)
        distances = {"distance", "distance_lo", "distance_hi"}
        if given is None or values.get("distance") is not given:
            complete = complete - distances
        if "ra" in values:
            ra = values["ra"]
            if not np.all((ra >= 0.0) & (ra < 360.0)):
                values["ra"] = np.mod(ra, 360.0)
        if "flag" in values:
            values["flag"] = np.nan_to_num(values["flag"]).astype(np.int32)
        values["flag"] = measured.flags_of(values, len(ids), complete)
        values["star_key"] = star_keys(ids)
        attrs = {name: self._attributes(name) for name in values}
        if "distance" in values:
            operands = self.by_name["distance"].operands if derived is None else ()
            said = self._map.distance_source or f"column {', '.join(map(str, operands))}"
            for name in distances & set(values) if derived else {"distance"}:
                attrs[name]["source"] = derived or said
        ordered = [name for name in COLUMNS if name in values]
        ordered += sorted(name for name in values if name not in COLUMNS)
        file = self.path.name if isinstance(self.path, Path) else self.path
        return xr.Dataset(
            {name: ("star", values[name], attrs[name]) for name in ordered},
            coords={"source_id": ("star", ids, attributes("source_id"))},
            attrs={"title": "catalogue", "file": file, "column_map": self._map.name},
        )

    def _attributes(self, name: str) -> dict[str, Any]:
        if not name.startswith(EXTRA_PREFIX):
            return attributes(name)
        label = f"{name.removeprefix(EXTRA_PREFIX)}, as published"
        return {"units": self.by_name[name].unit, "long_name": label}

    def names_of(self, keys: NDArray[np.uint64]) -> list[str]:
        """Return the identifiers of some stars, by their keys, in the order of the file."""
        found: dict[str, None] = {}
        for chunk in self.chunks(100_000):
            mine = np.isin(chunk["star_key"].values, keys)
            found |= dict.fromkeys(str(name) for name in chunk["source_id"].values[mine])
        return list(found)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate arrays; a single one as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


_Part = tuple[NDArray[Any], dict[str, NDArray[np.float64]], dict[str, Seen]]


class Places:
    """Columns of every star (key, ra, dec), gathered as they are read, in arrays of its size."""

    def __init__(self, rows: int | None) -> None:
        self._rows, self._n = rows, 0
        self._columns: tuple[NDArray[Any], ...] = ()

    def add(self, *columns: NDArray[Any]) -> None:
        """Take in further stars."""
        n = self._n + len(columns[0])
        if not self._n and n == self._rows:
            self._columns = columns  # all at once: not held twice
        elif not self._columns or n > len(self._columns[0]):
            size = max(n, self._rows or 2 * n)
            grown = tuple(np.empty(size, dtype=c.dtype) for c in columns)
            for new, old in zip(grown, self._columns, strict=False):
                new[: self._n] = old[: self._n]
            self._columns = grown
        for kept, column in zip(self._columns, columns, strict=True):
            if kept is not column:
                kept[self._n : n] = column
        self._n = n

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return key, ra and dec; nothing if the catalogue has no positions."""
        return tuple(column[: self._n] for column in self._columns)


def checked(
    reader: CatalogReader, chunk_size: int | None, places: Places | None = None
) -> Iterator[xr.Dataset]:
    """Read chunks, and at the end check the file as a whole; gather key, ra and dec in `places`."""
    rows, path = 0, reader.path
    doubts = Doubts(path, reader.by_name, reader.rows)
    places = Places(reader.rows) if places is None else places
    for chunk in reader.chunks(chunk_size, doubts):
        rows += chunk.sizes["star"]
        if "ra" in chunk and "dec" in chunk:
            places.add(chunk["star_key"].values, chunk["ra"].values, chunk["dec"].values)
        yield chunk
    if rows == 0:
        raise CatalogError(f"{path}: the table has no rows")
    doubts.finish()
    there = [name for name in doubts.seen if name in COLUMNS]
    reader.empty = {name for name in there if not doubts.seen[name].finite}
    for name in there:
        if name in reader.empty and not (reader.can_be_empty(name) and set(there) > reader.empty):
            given = ", ".join(f"'{o}'" for o in reader.by_name[name].operands)
            raise CatalogError(
                f"{path}: column {given} ('{name}') holds not a single usable value in "
                f"{rows} rows: take it out of the column map, or map another"
            )
    if reader.empty:
        doubts.say(
            f"no usable value in {rows} rows of {', '.join(sorted(reader.empty))}: as good as "
            "absent"
        )
    if columns := places.columns():
        measured.check_identifiers(*columns, file=str(path), names=reader.names_of)


def as_catalog(stars: Any) -> xr.Dataset:
    """Return stars as a catalogue, whatever they are in.

    A Dataset on dim ``star`` keeps all that it has. Its canonical columns that do not state their
    canonical unit are converted, freed of sentinels, and held against each other as a file's are;
    a ``flag`` and a ``star_key`` are made if it has none. Anything else is read as
    `migrate_bayes.read_catalog` does.

    Raises
    ------
    CatalogError
        As `migrate_bayes.read_catalog` does.
    """
    if not isinstance(stars, xr.Dataset) or "star" not in stars.dims:
        (catalog,) = checked(CatalogReader(stars, None, None), None)
        return catalog
    stars = unpacked(stars)
    _doubt(stars)
    made: dict[str, Any] = {}
    for key, variable in stars.variables.items():
        name = str(key)
        if name not in COLUMNS or variable.dims != ("star",):
            continue
        unit, canonical = stated_unit(variable.attrs), COLUMNS[name].unit
        plain = variable.dtype.kind in "fiub"
        if plain and unit == canonical and canonical:
            continue
        if (plain and canonical == "") or (name in SYMMETRIC.values() and not is_unit(unit)):
            continue  # a pure number; or of StarPosteriors, a fraction of the age
        how = conversion_to(unit, file="the Dataset", column=name, canonical=name)
        numbers = as_float(variable.values, Cells("the Dataset", name))
        column = COLUMNS[name]
        # Whatever else is out of bounds, the stages flag.
        value = clean(numbers, how, (), 1.0, (-np.inf, np.inf), column.usual, Seen(), 0)
        if not plain or not np.array_equal(
            value, variable.values, equal_nan=variable.dtype.kind == "f"
        ):
            made[name] = ("star", value, {**variable.attrs, "units": canonical})
    stars = stars.assign(made) if made else stars
    for name, error in SYMMETRIC.items():
        ends = f"{name}_lo", f"{name}_hi"
        if {name, error} <= set(stars) and not set(ends) & set(stars):
            value, width = stars[name].values, stars[error].values
            both = zip(ends, (value - width, value + width), strict=True)
            stars = stars.assign({n: ("star", v, attributes(n)) for n, v in both})
    if "distance" not in stars and {"parallax", "parallax_error"} <= set(stars):
        stars = measured.add_distances(stars)
    if "star_key" not in stars:
        ids = np.arange(stars.sizes["star"])
        if "source_id" in stars.variables and ids.size:
            raw = stars["source_id"].values
            ids = _identifiers(raw, _is_text(raw), "the Dataset", "source_id", 0, _Spelling())
        stars = stars.assign(star_key=("star", star_keys(ids), attributes("star_key")))
    if "flag" not in stars or not _is_ours(stars["flag"]):
        rest = stars.drop_vars("flag", errors="ignore")
        flag = measured.flag_measurements(rest)
        stars = rest.assign(flag=("star", flag, attributes("flag")))
    return stars


def _doubt(stars: xr.Dataset) -> None:
    """Warn of doubtful values in a user's Dataset, if any of its measurements states no unit."""
    own = [
        name for name, v in stars.data_vars.items()
        if name in COLUMNS and v.dims == ("star",) and not str(name).endswith("_error")
    ]  # fmt: skip
    if "star_key" in stars or all(stated_unit(stars[n].attrs) for n in own if COLUMNS[n].unit):
        return
    columns = {"source_id": {"row_number": True}} | {name: name for name in own}
    reader = CatalogReader(stars[own], columns, None)
    doubts = Doubts(reader.path, reader.by_name, reader.rows)
    for _ in reader.chunks(None, doubts):
        pass
    doubts.finish()


def _is_ours(flag: xr.DataArray) -> bool:
    """Whether a flag is of this package's bits: it is a survey's own, if it does not say so."""
    return "flag_masks" in flag.attrs or flag.dtype == np.int32
