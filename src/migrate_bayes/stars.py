"""StarPosteriors: the one product that the stages above write and everything below reads.

In memory it is an `xarray.Dataset` (dims `star`, `age`, `potential`; see docs/architecture.md). On
disk it is a folder of NetCDF-4 parts of one size and a manifest with their checksums.
`assemble_stars` makes it from the three stages; `replace_ages` and `replace_orbits` exchange one of
them; `validate` checks it. `StarWriter` writes it chunk by chunk, `open_stars` opens it lazily and
`iter_parts` goes through variables that are too large to be held.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import xarray as xr

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.flags import FLAG_MEANING, StarFlag
from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.provenance import file_sha256

MANIFEST = "manifest.json"
PART_SIZE = 131_072
"""Stars in a part. Fixed, so that a product's files do not depend on the chunks of the run."""
_FORMAT = "migrate-bayes stars 1"
# Not netCDF through h5py: for a hundred variables its bookkeeping costs as much as their data.
_ENGINE: Literal["netcdf4"] = "netcdf4"
# What tells two equal runs apart stands in the manifest alone: their parts are the same bytes.
_CLOCK = "created"

# Flags and variables of the age stage: another isochrone family replaces them.
_AGE_FLAGS = (
    StarFlag.MISSING_PARAMETERS | StarFlag.OFF_GRID | StarFlag.POOR_FIT | StarFlag.EDGE_YOUNG
    | StarFlag.EDGE_OLD | StarFlag.POOR_AGE | StarFlag.MISSING_AGE | StarFlag.BAD_ERROR
)  # fmt: skip
_AGE_VARIABLES = (
    "log_age_likelihood", "feh_mean", "feh_sd", "log_interim_prior", "age_ml", "age_median",
    "age_lo", "age_hi", "age_error", "chi2_min",
)  # fmt: skip
# What every product of a stage holds, and the dims it has.
_REQUIRED: dict[str, dict[str, tuple[str, ...]]] = {
    "": {"source_id": ("star",), "flag": ("star",)},
    "ages": {"log_age_likelihood": ("star", "age"), "log_interim_prior": ("age",)},
    "orbits": {"rg_mean": ("star", "potential"), "rg_sd": ("star", "potential")},
}


def assemble_stars(
    catalog: xr.Dataset,
    ages: xr.Dataset | None = None,
    orbits: xr.Dataset | None = None,
    *,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Merge a catalogue with its ages and orbits; flags are joined bit by bit.

    Parameters
    ----------
    catalog, ages, orbits : xarray.Dataset
        Row by row the same stars. Beside `ages`, a catalogue's own ages become `external_age`,
        `external_age_lo` and `external_age_hi`.
    attrs : mapping, optional
        Provenance, added to the attributes of the stages.

    Raises
    ------
    ProductError
        Where the stages hold different numbers of stars.
    """
    flag = catalog["flag"].values.astype(np.int32).copy()
    # `age` is the axis of the age likelihood here; a catalogue's own ages step aside.
    own = {name: f"external_{name}" for name in ("age", "age_lo", "age_hi") if name in catalog}
    variables = {
        (own.get(str(name), name) if ages is not None else name): variable
        for name, variable in catalog.variables.items()
        if name != "flag"
    }
    coords = {str(name) for name in catalog.coords}
    merged: dict[str, Any] = dict(catalog.attrs)
    for stage, what in ((ages, "ages"), (orbits, "orbits")):
        if stage is None:
            continue
        if stage.sizes["star"] != catalog.sizes["star"]:
            raise ProductError(
                f"{what} hold {stage.sizes['star']} stars, the catalogue {catalog.sizes['star']}: "
                "they are not of the same stars"
            )
        flag |= stage["flag"].values.astype(np.int32)
        for name, variable in stage.variables.items():
            if name in ("flag", "source_id"):
                continue
            if name in variables and not variables[name].equals(variable):
                raise ProductError(f"{what} and the stages before have different '{name}'")
            variables[name] = variable
        coords |= {str(name) for name in stage.coords} - {"flag", "source_id"}
        merged.update(stage.attrs)
    variables["flag"] = xr.Variable("star", flag, _flag_attrs())
    stars = xr.Dataset(variables, attrs={**merged, **(attrs or {})})
    return stars.set_coords([name for name in coords if name in stars])


def replace_ages(stars: xr.Dataset, ages: xr.Dataset) -> xr.Dataset:
    """Exchange everything that depends on the isochrones.

    Parameters
    ----------
    stars, ages : xarray.Dataset
        StarPosteriors, and the age stage of the same stars on another isochrone source.

    Returns
    -------
    xarray.Dataset
        `stars` with the age variables, the age axis and the age flags of `ages`.

    Raises
    ------
    ProductError
        If these are not the same stars.
    """
    _check_same(stars, ages)
    rest = stars.drop_vars([n for n in (*_AGE_VARIABLES, "age") if n in stars.variables])
    mine = ages[[n for n in _AGE_VARIABLES if n in ages]]
    mine = mine.drop_vars([c for c in mine.coords if c != "age"])
    flag = (stars["flag"] & ~int(_AGE_FLAGS)) | (ages["flag"] & int(_AGE_FLAGS))
    return rest.assign(mine.data_vars).assign(flag=flag.assign_attrs(stars["flag"].attrs))


def replace_orbits(stars: xr.Dataset, orbits: xr.Dataset) -> xr.Dataset:
    """Exchange everything that depends on the potential or on the solar frame.

    Parameters
    ----------
    stars, orbits : xarray.Dataset
        StarPosteriors, and the orbit stage (with its catalogue) of the same stars.

    Returns
    -------
    xarray.Dataset
        `orbits` with the age variables, the age axis and the age flags of `stars`.

    Raises
    ------
    ProductError
        If these are not the same stars.
    """
    _check_same(stars, orbits)
    kept = stars[[n for n in stars.data_vars if n in _AGE_VARIABLES]]
    kept = kept.drop_vars([c for c in kept.coords if c not in ("age", "source_id")])
    flag = (stars["flag"] & int(_AGE_FLAGS)) | orbits["flag"]
    return orbits.merge(kept, join="exact", compat="override").assign(flag=flag)


def same_stars(a: xr.Dataset, b: xr.Dataset) -> bool:
    """Whether two products hold the same stars, by ``source_id``, in the same order."""
    if a.sizes["star"] != b.sizes["star"]:
        return False
    return bool(np.array_equal(a["source_id"].values, b["source_id"].values))


def _check_same(a: xr.Dataset, b: xr.Dataset) -> None:
    if not same_stars(a, b):
        raise ProductError("the two products are not of the same stars in the same order")


def validate(stars: xr.Dataset, *, ages: bool = True, orbits: bool = True) -> xr.Dataset:
    """Check that a dataset is StarPosteriors.

    Parameters
    ----------
    stars : xarray.Dataset
    ages, orbits : bool
        Whether it must hold the age stage and the orbit stage.

    Returns
    -------
    xarray.Dataset
        `stars`, unchanged.

    Raises
    ------
    ProductError
        Naming every variable that is missing or has other dims.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes import stars
    >>> stars.validate(xr.Dataset({"flag": ("star", [0])}), ages=False)
    Traceback (most recent call last):
    migrate_bayes.core.errors.ProductError: no StarPosteriors: 'source_id' is missing; 'rg_mean' ...
    """
    wanted = _REQUIRED[""] | (_REQUIRED["ages"] if ages else {})
    wanted |= _REQUIRED["orbits"] if orbits else {}
    wrong = []
    for name, dims in wanted.items():
        if name not in stars.variables:
            wrong.append(f"'{name}' is missing")
        elif stars[name].dims != dims:
            wrong.append(f"'{name}' has dims {stars[name].dims}, not {dims}")
    if wrong:
        raise ProductError(f"no StarPosteriors: {'; '.join(wrong)}")
    return stars


def _flag_attrs() -> dict[str, Any]:
    """Describe the bits by the CF conventions."""
    return {
        "long_name": "why a star is or is not used",
        "units": "",
        "flag_masks": np.array([int(f) for f in StarFlag], dtype=np.int32),
        "flag_meanings": " ".join(str(f.name).lower() for f in StarFlag),
        "comment": "; ".join(f"{int(f)}: {text}" for f, text in FLAG_MEANING.items()),
    }


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
            Where the variables, age nodes or potentials are not those of the stars before.
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

    Raises
    ------
    ProductError
        Where `path` exists and may not be replaced, or cannot be written.
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

    Raises
    ------
    ProductError
        Where the folder is no such product, or a part is missing or damaged; names the part.
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
    """Go through some variables part by part, where they are too large to be held whole.

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


def concat_stars(parts: Iterable[xr.Dataset]) -> xr.Dataset:
    """Join StarPosteriors of different stars, which must share age nodes and potentials.

    Raises
    ------
    ProductError
        Where there is nothing to join, or the grids differ.
    """
    parts = list(parts)
    if not parts:
        raise ProductError("no StarPosteriors to join")
    first = parts[0]
    for other in parts[1:]:
        for name in ("age", "potential"):
            mine, theirs = (np.asarray(d.coords.get(name, [])) for d in (first, other))
            if not np.array_equal(mine, theirs):
                raise ProductError(f"the parts have different `{name}` coordinates")
    with warnings.catch_warnings():
        # Columns of one part only are filled; xarray warns that it will change how it says so.
        warnings.simplefilter("ignore", FutureWarning)
        return xr.concat(
            parts, dim="star", data_vars="minimal", coords="minimal", compat="override",
            combine_attrs="override", join="outer",
        )  # fmt: skip


def verify_stars(path: str | Path) -> None:
    """Check every part against its checksum.

    Raises
    ------
    ProductError
        Naming the first part that differs.
    """
    path = Path(path)
    for part in _manifest(path)["parts"]:
        if file_sha256(path / part["file"]) != part["sha256"]:
            raise ProductError(f"{path / part['file']} differs from its manifest: it was altered")
