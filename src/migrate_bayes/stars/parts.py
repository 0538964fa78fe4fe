"""StarPosteriors on disk: written chunk by chunk, opened lazily, read part by part."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
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
# h5netcdf is slower: for a hundred variables its bookkeeping costs as much as their data.
_ENGINE: Literal["netcdf4"] = "netcdf4"
# Attributes that differ between equal runs are in the manifest alone: their parts are equal.
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


class StarWriter:
    """Write StarPosteriors chunk by chunk; `path` appears after the last chunk only.

    This context manager regroups the chunks into parts of one size, so that the files are the same,
    byte for byte, whatever the chunks. Memory holds at most a part and a chunk.

    Parameters
    ----------
    path : path-like
        The folder.
    overwrite : bool
        Replace a product that exists.
    part_size : int
        Stars per part.

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
        self, path: str | Path, *, overwrite: bool = False, part_size: int = PART_SIZE
    ) -> None:
        if part_size < 1:
            raise ProductError(f"part_size must be at least 1, not {part_size}")
        self._output = atomic_output(path, overwrite=overwrite, directory=True)
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._part_size = part_size
        self._waiting: list[xr.Dataset] = []
        self._parts: list[dict[str, Any]] = []
        self._attrs: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._folder = self._stack.enter_context(self._output)
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

    def __exit__(self, *failure: Any) -> bool | None:
        if failure[0] is None:
            # On the stack, so that the folder goes away if this fails.
            self._stack.callback(self._finish)
        return self._stack.__exit__(*failure)

    def _finish(self) -> None:
        """Write the last part and the manifest."""
        assert self._folder is not None
        if self._waiting:
            self._write()
        stars = sum(part["stars"] for part in self._parts)
        manifest = {"format": _FORMAT, "stars": stars, "parts": self._parts, "attrs": self._attrs}
        (self._folder / MANIFEST).write_text(
            json.dumps(manifest, indent=1, default=str), encoding="utf-8"
        )


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


def _manifest(path: Path) -> dict[str, Any]:
    if not (path / MANIFEST).is_file():
        raise ProductError(f"{path} is no StarPosteriors folder: it has no {MANIFEST}")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ProductError(f"{path / MANIFEST} is damaged: {error}; make it again") from None
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
        On disk until a variable is used.

    Raises
    ------
    ProductError
        If the folder is no such product, or a part is missing or damaged; names the part.

    Examples
    --------
    See `write_stars`.
    """
    path = Path(path)
    manifest = _manifest(path)
    parts = []
    for part in manifest["parts"]:
        file = path / part["file"]
        try:
            opened = xr.open_dataset(file, engine=_ENGINE, chunks={})
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
    if _CLOCK in manifest["attrs"]:
        stars.attrs[_CLOCK] = manifest["attrs"][_CLOCK]
    return stars


def open_run_stars(folder: str | Path) -> xr.Dataset:
    """Open the stars of a run, whose stages were run together or separately.

    Parameters
    ----------
    folder : path-like
        The run's folder: it holds ``stars/``, or ``ages/`` and ``orbits/``.

    Returns
    -------
    xarray.Dataset
        StarPosteriors, on disk until a variable is used.

    Raises
    ------
    ProductError
        If there are none, or a part is missing or damaged.

    Examples
    --------
    See `StarWriter`.
    """
    path, *halves = (Path(folder) / name for name in ("stars", "ages", "orbits"))
    if path.exists():
        return open_stars(path)
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
    path = Path(path)
    for part in _manifest(path)["parts"]:
        if file_sha256(path / part["file"]) != part["sha256"]:
            raise ProductError(
                f"{path / part['file']} differs from its manifest: it was altered; "
                "make the stars again"
            )
