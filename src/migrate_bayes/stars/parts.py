"""StarPosteriors on disk: written chunk by chunk, opened lazily, read part by part."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import xarray as xr

from migrate_bayes.core.errors import PartsFailedError, ProductError
from migrate_bayes.core.io import (
    MADE_FROM,
    MANIFEST,
    atomic_output,
    is_current,
    replace_folder,
    target_of,
)
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.provenance import content_hash, file_sha256
from migrate_bayes.stars.joins import assemble_stars, concat_stars, in_order_of

PART_SIZE = 131_072
"""Stars in a part. Fixed, so that a product's files do not depend on the chunks of the run."""
_FORMAT = "migrate-bayes stars 2"
# netCDF4 writes a hundred variables faster. Files that are read stay open until the garbage
# collector meets them, in any thread; netCDF4 crashes if another thread reads then, h5netcdf not.
_WRITER: Literal["netcdf4"] = "netcdf4"
_READER: Literal["h5netcdf"] = "h5netcdf"
# Attributes that differ between equal stars are in the manifest alone: their parts are equal.
_OF_THE_RUN = ("created", "recipe_hash")
_GO_ON = "the command that makes it goes on with it"
_PART = re.compile(r"part-(\d{5,})\.nc")


class Part(NamedTuple):
    """What a manifest says of a part, and the attributes of its stars."""

    file: str
    stars: int
    sha256: str
    attrs: dict[str, Any]


def _portable(value: Any) -> Any:
    """Turn an attribute into what NetCDF can hold."""
    if isinstance(value, bool):
        return int(value)
    if value is None:
        return ""
    if isinstance(value, dict | list | tuple | set):
        return json.dumps(value, default=str)
    return value


def _write_part(stars: xr.Dataset, path: Path) -> None:
    stars = stars.copy()
    stars.attrs = {k: _portable(v) for k, v in stars.attrs.items() if k not in _OF_THE_RUN}
    for name in stars.variables:
        variable = stars[name]
        variable.attrs = {k: _portable(v) for k, v in variable.attrs.items()}
        # What the variables were read with, if they were, is no business of this file.
        variable.encoding = {}
        if variable.dtype == bool:
            stars[name] = variable.astype(np.int8)
        if variable.dtype.kind in "OU":
            # Variable-length text; xarray's default of fixed-width would depend on the chunk.
            stars[name] = variable.astype(object)
    # Uncompressed: deflate saves a seventh of the space and takes four times as long.
    stars.to_netcdf(path, engine=_WRITER)


def _join(pieces: list[xr.Dataset]) -> xr.Dataset:
    """Concatenate chunks of stars; their variables, age nodes and potentials must agree."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    for other in pieces[1:]:
        if differ := set(other.variables) ^ set(first.variables):
            names = ", ".join(sorted(map(str, differ)))
            raise ProductError(f"chunks of stars differ in their variables: {names}")
    joined: dict[Any, xr.Variable] = {}
    for name, variable in first.variables.items():
        same = [piece.variables[name] for piece in pieces]
        if "star" in variable.dims:
            variable = xr.Variable.concat(same, dim="star")
        elif not all(variable.equals(other) for other in same[1:]):
            raise ProductError(f"chunks of stars have different `{name}`")
        joined[name] = variable
    return xr.Dataset(joined, attrs=first.attrs).set_coords(list(first.coords))


def write_part(folder: Path, number: int, pieces: list[xr.Dataset]) -> Part:
    """Write a part from consecutive stars; the list of its pieces is emptied.

    Raises
    ------
    ProductError
        If the variables, age nodes or potentials of the pieces differ.
    """
    part = _join(pieces)
    pieces.clear()  # their memory, before the copies that writing makes
    file = folder / f"part-{number:05d}.nc"
    with atomic_output(file, overwrite=True) as tmp:
        _write_part(part, tmp)
        checksum = file_sha256(tmp)
    attrs = {str(k): _portable(v) for k, v in part.attrs.items()}
    return Part(file.name, int(part.sizes["star"]), checksum, attrs)


class StarWriter:
    """Write StarPosteriors chunk by chunk; `path` appears after the last part only.

    This context manager regroups the chunks into parts of one size, so that the files are the same,
    byte for byte, whatever the chunks. Memory holds at most a part and a chunk.

    With `made_from`, the parts are gathered in ``<path>.partial``. They stay there if the body
    fails or its process dies; the next writer with the same `made_from` begins with those of them
    that have their checksum, and with those of a damaged product at `path`.

    Parameters
    ----------
    path : path-like
        The folder.
    overwrite : bool
        Replace a product that exists.
    part_size : int
        Stars per part.
    made_from : mapping, optional
        What decides the content of the product.
    verify : bool
        Compare parts that are there with their checksums.
    shard : tuple of int, optional
        ``(i, n)``: write parts i, i + n, i + 2n, … and leave them in ``<path>.shard-i-of-n``. The
        next writer of the whole takes them from there.

    Examples
    --------
    >>> import tempfile
    >>> from migrate_bayes.mock import simulated_stars
    >>> from migrate_bayes.stars import StarWriter, open_run_stars, verify_stars
    >>> with tempfile.TemporaryDirectory() as run:
    ...     with StarWriter(f"{run}/stars", part_size=4) as out:
    ...         for seed in (1, 2):
    ...             out.append(simulated_stars(5, seed=seed))
    ...     verify_stars(f"{run}/stars")
    ...     open_run_stars(run).chunksizes["star"]
    (4, 4, 2)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        part_size: int = PART_SIZE,
        made_from: Mapping[str, Any] | None = None,
        verify: bool = True,
        shard: tuple[int, int] | None = None,
    ) -> None:
        if part_size < 1:
            raise ProductError(f"part_size must be at least 1, not {part_size}")
        self.path, self.made_from, self.part_size = target_of(path), made_from, part_size
        self.parts: dict[int, dict[str, Any]] = {}
        self.failed: dict[int, dict[str, Any]] = {}
        self._output = atomic_output(path, overwrite=overwrite, directory=True)
        self._overwrite, self._verify, self._shard = overwrite, verify, shard
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._waiting: list[xr.Dataset] = []
        self._attrs: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if self.made_from is None:
            self._folder = self._stack.enter_context(self._output)
        else:
            self._folder = self._go_on(self.made_from)
        return self

    def _go_on(self, made_from: Mapping[str, Any]) -> Path:
        """Take up the parts that are there; return the folder in which they are gathered."""
        folder, whole = partial_folder(self.path), self._shard is None
        if not whole:
            folder = folder.with_name(f"{self.path.name}.shard-{shard_name(self._shard)}")
        elif is_current(self.path, made_from, overwrite=self._overwrite) and not folder.exists():
            self.path.replace(folder)
        self._take_up(folder, made_from)
        if not self.parts and not self.failed:
            # The folder is never without a manifest.
            with atomic_output(folder, overwrite=True, directory=True) as tmp:
                self._write_manifest(tmp, whole=False)
        shards = self.path.parent.glob(f"{self.path.name}.shard-*-of-*") if whole else ()
        for shard in sorted(shards):
            for file in self._take_up(shard, made_from, folder):
                if (shard / file).exists():
                    (shard / file).replace(folder / file)
            self._write_manifest(folder, whole=False)
            shutil.rmtree(shard)
        return folder

    def _take_up(
        self, folder: Path, made_from: Mapping[str, Any], moved_to: Path | None = None
    ) -> list[str]:
        """Enter the parts of a folder, but for damaged ones, and those that failed; name them."""
        try:
            if not is_current(folder, made_from, overwrite=self._overwrite):
                return []
            found = _manifest(folder, whole=False)
        except ProductError:
            if not self._overwrite:
                raise
            return []
        damaged = {path.name for path in _damaged(folder, found)} if self._verify else set()
        if damaged and moved_to is not None:
            damaged &= {path.name for path in _damaged(moved_to, found)}
        self._attrs = found["attrs"]
        sound = [p for p in found["parts"] if p["file"] not in damaged]
        self.parts |= dict(zip(_numbers({"parts": sound}), sound, strict=True))
        failed = {failure["part"]: failure for failure in found["failed"]}
        self.failed = {k: f for k, f in (self.failed | failed).items() if k not in self.parts}
        return [part["file"] for part in sound]

    @property
    def n_stars(self) -> int:
        """Stars in the parts that are written."""
        return sum(part["stars"] for part in self.parts.values())

    def numbers(self, n_stars: int) -> range:
        """Return the numbers of the parts, or of the shard's, of so many stars."""
        first, step = self._shard or (0, 1)
        return range(first, -(-n_stars // self.part_size), step)

    def room(self, n_stars: int) -> int:
        """Return how many of so many stars the parts, or the shard's, will hold."""
        return sum(min(self.part_size, n_stars - k * self.part_size) for k in self.numbers(n_stars))

    def lacking(self, n_stars: int) -> list[int]:
        """Return the numbers of the parts that are still to be made of so many stars."""
        numbers = self.numbers(n_stars)
        return [k for k in numbers if k not in self.parts and k not in self.failed]

    def fail(self, number: int, error: Exception) -> None:
        """Set a part aside, with its error in the manifest; the product will not be whole."""
        trace = "".join(traceback.format_exception(error))
        said = f"{type(error).__name__}: {error}"
        self.failed[number] = {"part": number, "error": said, "traceback": trace}
        self._write_manifest(self.folder, whole=False)

    def append(self, stars: xr.Dataset) -> None:
        """Take the next stars, and write as many whole parts as there are.

        Raises
        ------
        ProductError
            If the variables, age nodes or potentials are not those of the stars before.
        """
        self._waiting.append(stars)
        while sum(piece.sizes["star"] for piece in self._waiting) >= self.part_size:
            self._write_next()

    def _write_next(self) -> None:
        """Write the next part of the stars that wait; the last may be smaller."""
        room = self.part_size
        pieces: list[xr.Dataset] = []
        while self._waiting and (room or not pieces):
            piece = self._waiting.pop(0)
            if piece.sizes["star"] > room:
                self._waiting.insert(0, piece.isel(star=slice(room, None)))
                piece = piece.isel(star=slice(0, room))
            pieces.append(piece)
            room -= piece.sizes["star"]
        self.add(len(self.parts), write_part(self.folder, len(self.parts), pieces))

    def add(self, number: int, part: Part) -> None:
        """Take up a part that was written in `folder`."""
        self._attrs = part.attrs
        self.parts[number] = {"file": part.file, "stars": part.stars, "sha256": part.sha256}
        if self.made_from is not None:
            self._write_manifest(self.folder, whole=False)

    @property
    def folder(self) -> Path:
        """Where the parts are gathered."""
        if self._folder is None:
            raise RuntimeError("StarWriter is a context manager: enter it before writing")
        return self._folder

    def _write_manifest(self, folder: Path, *, whole: bool) -> None:
        parts = [self.parts[k] for k in sorted(self.parts)]
        manifest: dict[str, Any] = {
            "format": _FORMAT, "whole": whole, "stars": self.n_stars,
            MADE_FROM: self.made_from, "parts": parts, "attrs": self._attrs,
            "failed": [self.failed[k] for k in sorted(self.failed)],
        }  # fmt: skip
        manifest["digest"] = content_hash(manifest)
        with atomic_output(folder / MANIFEST, overwrite=True) as tmp:
            text = json.dumps(manifest, indent=1, default=str)
            tmp.write_text(text, encoding="utf-8")

    def __exit__(self, *failure: Any) -> bool | None:
        if failure[0] is None:
            # On the stack, so that the folder goes away if this fails.
            self._stack.callback(self._finish)
        return self._stack.__exit__(*failure)

    def _finish(self) -> None:
        """Write the last part and the manifest."""
        if self._waiting:
            self._write_next()
        if self.failed:
            first = self.failed[min(self.failed)]
            raise PartsFailedError(
                f"{len(self.failed)} of {len(self.parts) + len(self.failed)} parts of {self.path} "
                f"failed, the first of them part {first['part']} with {first['error']}. The others "
                f"are there; {self.folder / MANIFEST} has the tracebacks. Use --retry-failed to "
                "try again"
            )
        if self._shard is not None:
            return
        self._write_manifest(self.folder, whole=True)
        if self.made_from is not None:
            replace_folder(self.folder, self.path)


def write_stars(
    stars: xr.Dataset, path: str | Path, *, part_size: int = PART_SIZE, overwrite: bool = False
) -> Path:
    """Write StarPosteriors as a folder of parts and a manifest.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors.
    path : path-like
        The folder.
    part_size : int
        Stars per part.
    overwrite : bool
        Replace a product that exists.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ProductError
        If `path` exists and may not be replaced, or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from migrate_bayes import open_stars, write_stars
    >>> from migrate_bayes.mock import simulated_stars
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_stars(simulated_stars(5, seed=1), f"{folder}/stars")
    ...     open_stars(path).sizes["star"]
    5
    """
    with StarWriter(path, overwrite=overwrite, part_size=part_size) as out:
        out.append(stars)
    return Path(path)


def shard_name(shard: tuple[int, int] | None) -> str:
    """Name a shard in files: ``2-of-8``; the whole has no name."""
    return "" if shard is None else f"{shard[0]}-of-{shard[1]}"


def partial_folder(path: Path) -> Path:
    """Return where the parts of an unfinished product are gathered; of a link, at its target."""
    path = target_of(path)
    return path.with_name(f"{path.name}.partial")


def _manifest(path: Path, *, whole: bool = True) -> dict[str, Any]:
    """Read a manifest, of a product or (not `whole`) of what is there of one, and check it."""
    file = path / MANIFEST
    if not file.is_file():
        raise ProductError(f"{path} is no StarPosteriors folder: it has no {MANIFEST}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        if manifest["format"] != _FORMAT:
            raise ProductError(
                f"{path} has format {manifest['format']!r}, expected {_FORMAT!r}: use --overwrite "
                "to make it again"
            )
        altered = manifest.pop("digest") != content_hash(manifest)
        numbers = _numbers(manifest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProductError(
            f"{file} is damaged ({error!r}): use --overwrite to make it again"
        ) from None
    if whole and manifest["whole"]:
        altered |= numbers != list(range(len(numbers)))
        altered |= sum(part["stars"] for part in manifest["parts"]) != manifest["stars"]
    if altered or -1 in numbers:
        raise ProductError(
            f"{file} was altered after it was written: use --overwrite to make it again"
        )
    if whole and not manifest["whole"]:
        raise ProductError(f"{path} is not finished: {_GO_ON}")
    return manifest


def _numbers(manifest: Mapping[str, Any]) -> list[int]:
    """Return the numbers of the parts; no name leads out of the folder."""
    found = [_PART.fullmatch(part["file"]) for part in manifest["parts"]]
    return [int(match[1]) if match else -1 for match in found]


def _damaged(path: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """Return the parts that do not have their checksum."""
    parts = manifest["parts"]

    def differs(start: int, _: int) -> bool:
        part = parts[start]
        try:
            return file_sha256(path / part["file"]) != part["sha256"]
        except OSError:
            return True

    found = map_blocks(differs, len(parts), 1)
    return [path / part["file"] for part, bad in zip(parts, found, strict=True) if bad]


def damaged_parts(path: str | Path) -> list[Path]:
    """Return the parts of a product that are missing or differ from their checksums."""
    return _damaged(Path(path), _manifest(Path(path)))


def stars_digest(folder: str | Path) -> str:
    """Hash the content of a run's stars: the checksums of the parts, and not their date."""
    paths = [Path(folder) / name for name in ("stars", "ages", "orbits")]
    there = paths[:1] if paths[0].exists() else paths[1:]
    return content_hash({path.name: _manifest(path)["parts"] for path in there})


def open_stars(path: str | Path, *, verify: bool = True) -> xr.Dataset:
    """Open StarPosteriors lazily (dask arrays, one chunk per part).

    Parameters
    ----------
    path : path-like
        The folder.
    verify : bool
        Compare every part with its checksum first, which reads the whole product.

    Returns
    -------
    xarray.Dataset
        On disk until a variable is used.

    Raises
    ------
    ProductError
        If the folder is no such product, its manifest was altered, or a part is missing or damaged;
        names the part.

    Examples
    --------
    See `write_stars`.
    """
    path = Path(path)
    manifest = _manifest(path)
    if verify:
        verify_stars(path)
    parts = []
    for part in manifest["parts"]:
        file = path / part["file"]
        try:
            opened = xr.open_dataset(file, engine=_READER, chunks={})
        except (OSError, ValueError) as error:
            raise ProductError(
                f"{file} is missing or damaged: {error}; make the stars again"
            ) from None
        if opened.sizes.get("star") != part["stars"]:
            raise ProductError(
                f"{file} holds {opened.sizes.get('star')} stars, its manifest says {part['stars']}"
            )
        parts.append(opened)
    stars = concat_stars(parts)
    if stars["source_id"].dtype == object:
        stars["source_id"] = stars["source_id"].astype(str)
    return stars.assign_attrs({k: v for k, v in manifest["attrs"].items() if k in _OF_THE_RUN})


def open_run_stars(folder: str | Path, *, verify: bool = True) -> xr.Dataset:
    """Open the stars of a run, whose stages were run together or separately.

    Parameters
    ----------
    folder : path-like
        The run's folder: it holds ``stars/``, or ``ages/`` and ``orbits/``, which are joined by
        the stars' keys.
    verify : bool
        As for `open_stars`.

    Returns
    -------
    xarray.Dataset
        StarPosteriors, on disk until a variable is used.

    Raises
    ------
    ProductError
        If there are none, a part is missing or damaged, or ages and orbits are of other stars.

    Examples
    --------
    See `StarWriter`.
    """
    path, *halves = (Path(folder) / name for name in ("stars", "ages", "orbits"))
    if path.exists():
        return open_stars(path, verify=verify)
    if not all(half.exists() for half in halves):
        for begun in map(partial_folder, (path, *halves)):
            if begun.exists():
                raise ProductError(f"{begun} is not finished: {_GO_ON}")
        raise ProductError(
            f"no stars at {path}: run `migrate-bayes run`, or `ages` and `orbits`, first"
        )
    first, second = (open_stars(half, verify=verify) for half in halves)
    second = in_order_of(first, second, f"{halves[0]} and {halves[1]}")
    own = [name for name in second.data_vars if name not in first or name == "flag"]
    return assemble_stars(first, orbits=second[own], attrs=first.attrs)


def iter_parts(
    stars: xr.Dataset, names: Iterable[str]
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Iterate over some variables part by part, for variables that do not fit in memory.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors, from `open_stars` or in memory.
    names : iterable of str
        Variables whose first dim is ``star``.

    Yields
    ------
    rows : slice
        Rows of the part.
    values : dict of ndarray
        Their values by name.

    Examples
    --------
    >>> from migrate_bayes.mock import simulated_stars
    >>> from migrate_bayes.stars import iter_parts
    >>> for rows, values in iter_parts(simulated_stars(5, seed=1), ["feh"]):
    ...     print(rows, values["feh"].shape)
    slice(0, 5, None) (5,)
    """
    wanted = stars[list(names)]
    n = stars.sizes["star"]
    edges = [*range(0, n, PART_SIZE), n]
    if sizes := wanted[next(iter(wanted.data_vars))].chunksizes.get("star"):  # on disk
        edges = np.cumsum([0, *sizes]).tolist()
    for start, stop in itertools.pairwise(edges):
        rows = slice(start, stop)
        part = wanted.isel(star=rows).compute()
        yield rows, {str(name): part[name].values for name in wanted.data_vars}


def verify_stars(path: str | Path) -> None:
    """Check every part against its checksum.

    Parameters
    ----------
    path : path-like
        The folder.

    Raises
    ------
    ProductError
        Naming the first part that differs.

    Examples
    --------
    See `StarWriter`.
    """
    for part in damaged_parts(path):
        raise ProductError(
            f"{part} is missing or differs from its manifest: the command that makes the stars "
            "makes it again"
        )
