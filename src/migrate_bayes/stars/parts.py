"""StarPosteriors on disk: written chunk by chunk, opened lazily, read part by part."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.provenance import file_sha256
from migrate_bayes.stars.joins import assemble_stars, concat_stars

MANIFEST = "manifest.json"
PART_SIZE = 131_072
"""Stars in a part. Fixed, so that a product's files do not depend on the chunks of the run."""
_FORMAT = "migrate-bayes stars 1"
# Not netCDF through h5py: for a hundred variables its bookkeeping costs as much as their data.
_ENGINE: Literal["netcdf4"] = "netcdf4"
# What tells two equal runs apart stands in the manifest alone: their parts are the same bytes.
_CLOCK = "created"


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
    stars.attrs = {k: _portable(v) for k, v in stars.attrs.items() if k != _CLOCK}
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
    stars.to_netcdf(path, engine=_ENGINE)


def _join(pieces: list[xr.Dataset]) -> xr.Dataset:
    """Put the next stars after one another, which must agree in everything but the stars."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    for other in pieces[1:]:
        if set(other.variables) != set(first.variables):
            differ = sorted(map(str, set(other.variables) ^ set(first.variables)))
            raise ProductError(f"chunks of stars differ in their variables: {', '.join(differ)}")
    joined: dict[Any, xr.Variable] = {}
    for name, variable in first.variables.items():
        if "star" not in variable.dims:
            if not all(variable.equals(other.variables[name]) for other in pieces[1:]):
                raise ProductError(f"chunks of stars have different `{name}`")
            joined[name] = variable
            continue
        values = [other.variables[name].values for other in pieces]
        together = np.concatenate(values, axis=variable.dims.index("star"))
        joined[name] = xr.Variable(variable.dims, together, variable.attrs)
    return xr.Dataset(joined, attrs=first.attrs).set_coords(list(first.coords))


class StarWriter:
    """Write StarPosteriors chunk by chunk; nothing stands at `path` until the last is in.

    The chunks are regrouped into parts of one size, so that the files are the same, byte for byte,
    whatever the chunks; no more than a part and a chunk are held. Use as a context manager::

        with StarWriter("runs/demo/stars", overwrite=True) as out:
            for chunk in chunks:
                out.append(chunk)

    Parameters
    ----------
    path : path-like
        The folder.
    overwrite : bool
        Replace a product that stands there.
    part_size : int
        Stars per part.
    """

    def __init__(
        self, path: str | Path, *, overwrite: bool = False, part_size: int = PART_SIZE
    ) -> None:
        if part_size < 1:
            raise ProductError(f"part_size must be at least 1, not {part_size}")
        self.path = Path(path)
        self._output = atomic_output(self.path, overwrite=overwrite, directory=True)
        self._folder: Path | None = None
        self._part_size = part_size
        self._waiting: list[xr.Dataset] = []
        self._parts: list[dict[str, Any]] = []
        self._attrs: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._folder = self._output.__enter__()
        return self

    def append(self, stars: xr.Dataset) -> None:
        """Take the next stars, and write as many whole parts as there are.

        Raises
        ------
        ProductError
            If the variables, age nodes or potentials are not those of the stars before.
        """
        self._waiting.append(stars)
        while sum(piece.sizes["star"] for piece in self._waiting) >= self._part_size:
            self._write()

    def _write(self) -> None:
        """Write one part, the last of which may be smaller."""
        if self._folder is None:
            raise RuntimeError("StarWriter is a context manager: enter it before writing")
        room = self._part_size
        pieces: list[xr.Dataset] = []
        while self._waiting and (room or not pieces):
            piece = self._waiting.pop(0)
            if piece.sizes["star"] > room:
                self._waiting.insert(0, piece.isel(star=slice(room, None)))
                piece = piece.isel(star=slice(0, room))
            pieces.append(piece)
            room -= piece.sizes["star"]
        part = _join(pieces)
        del piece, pieces  # their memory, before the copies that writing makes
        file = self._folder / f"part-{len(self._parts):05d}.nc"
        _write_part(part, file)
        self._attrs = {k: _portable(v) for k, v in part.attrs.items()}
        stars = int(part.sizes["star"])
        self._parts.append({"file": file.name, "stars": stars, "sha256": file_sha256(file)})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if error is None and self._folder is not None:
            try:
                if self._waiting:
                    self._write()
                manifest = {
                    "format": _FORMAT,
                    "stars": sum(p["stars"] for p in self._parts),
                    "parts": self._parts,
                    "attrs": self._attrs,
                }
                text = json.dumps(manifest, indent=1, default=str)
                (self._folder / MANIFEST).write_text(text)
            except BaseException as failed:
                self._output.__exit__(type(failed), failed, failed.__traceback__)
                raise
        return self._output.__exit__(kind, error, trace)


def write_stars(
    stars: xr.Dataset, path: str | Path, *, part_size: int = PART_SIZE, overwrite: bool = False
) -> Path:
    """Write StarPosteriors as a folder of parts and a manifest.

    Parameters
    ----------
    stars : xarray.Dataset
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
        for start in range(0, max(stars.sizes["star"], 1), part_size):
            out.append(stars.isel(star=slice(start, start + part_size)))
    return Path(path)


def _manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir() or not (path / MANIFEST).is_file():
        raise ProductError(f"{path} is no StarPosteriors folder: it has no {MANIFEST}")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except ValueError as error:
        raise ProductError(f"{path / MANIFEST} is damaged: {error}") from None
    if manifest.get("format") != _FORMAT:
        raise ProductError(f"{path} has format {manifest.get('format')!r}, expected {_FORMAT!r}")
    return manifest


def open_stars(path: str | Path) -> xr.Dataset:
    """Open StarPosteriors lazily (dask arrays, one chunk per part).

    Parameters
    ----------
    path : path-like
        The folder.

    Returns
    -------
    xarray.Dataset
        See `write_stars` for an example.

    Raises
    ------
    ProductError
        If the folder is no such product, or a part is missing or damaged; names the part.
    """
    path = Path(path)
    manifest = _manifest(path)
    parts = []
    for part in manifest["parts"]:
        file = path / part["file"]
        try:
            opened = xr.open_dataset(file, engine=_ENGINE, chunks={})
        except (OSError, ValueError) as error:
            raise ProductError(f"{file} is missing or damaged: {error}") from None
        if opened.sizes.get("star") != part["stars"]:
            raise ProductError(
                f"{file} holds {opened.sizes.get('star')} stars, its manifest says {part['stars']}"
            )
        parts.append(opened)
    stars = concat_stars(parts)
    if stars["source_id"].dtype == object:
        stars["source_id"] = stars["source_id"].astype(str)
    if _CLOCK in manifest["attrs"]:
        stars.attrs[_CLOCK] = manifest["attrs"][_CLOCK]
    return stars


def open_run_stars(folder: str | Path) -> xr.Dataset:
    """Open the stars of a run, made in one or as separate stages.

    Parameters
    ----------
    folder : path-like
        Of the run: holds ``stars/``, or ``ages/`` and ``orbits/``.

    Returns
    -------
    xarray.Dataset
        StarPosteriors, on disk until a variable is used.

    Raises
    ------
    ProductError
        If there are none, or a part is missing or damaged.
    """
    path = Path(folder) / "stars"
    if path.exists():
        return open_stars(path)
    halves = [path.with_name(name) for name in ("ages", "orbits")]
    if not all(half.exists() for half in halves):
        raise ProductError(
            f"no stars at {path}: run `migrate-bayes run`, or `ages` and `orbits`, first"
        )
    first, second = (open_stars(half) for half in halves)
    own = [name for name in second.data_vars if name not in first or name == "flag"]
    return assemble_stars(first, orbits=second[own], attrs=first.attrs)


def iter_parts(
    stars: xr.Dataset, names: Iterable[str]
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Go through some variables part by part, if they are too large to be held whole.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors, from `open_stars` or in memory.
    names : iterable of str
        Variables whose first dim is ``star``.

    Yields
    ------
    rows : slice
        Which stars.
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
    sizes = wanted[next(iter(wanted.data_vars))].chunksizes.get("star")
    if sizes is None:  # in memory already
        sizes = tuple(min(PART_SIZE, n - start) for start in range(0, n, PART_SIZE))
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
    """
    path = Path(path)
    for part in _manifest(path)["parts"]:
        if file_sha256(path / part["file"]) != part["sha256"]:
            raise ProductError(f"{path / part['file']} differs from its manifest: it was altered")
