"""StarPosteriors: the one product that the stages above write and everything below reads.

In memory it is an `xarray.Dataset` (dims `star`, `age`, `potential`; see docs/architecture.md). On
disk it is a folder of NetCDF-4 parts and a manifest with their checksums. `assemble_stars` makes it
from the three stages, `StarWriter` writes it chunk by chunk, `open_stars` opens it lazily.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import xarray as xr

from migrate_bayes.errors import ProductError
from migrate_bayes.flags import FLAG_MEANING, StarFlag
from migrate_bayes.provenance import atomic_output, file_sha256

__all__ = [
    "StarWriter",
    "assemble_stars",
    "concat_stars",
    "open_stars",
    "verify_stars",
    "write_stars",
]

MANIFEST = "manifest.json"
_FORMAT = "migrate-bayes stars 1"


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
    parts = [catalog.drop_vars("flag").rename(own if ages is not None else {})]
    merged: dict[str, Any] = dict(catalog.attrs)
    for stage, name in ((ages, "ages"), (orbits, "orbits")):
        if stage is None:
            continue
        if stage.sizes["star"] != catalog.sizes["star"]:
            raise ProductError(
                f"{name} hold {stage.sizes['star']} stars, the catalogue {catalog.sizes['star']}: "
                "they are not of the same stars"
            )
        flag |= stage["flag"].values.astype(np.int32)
        parts.append(stage.drop_vars(["flag", "source_id"], errors="ignore"))
        merged.update(stage.attrs)
    stars = xr.merge(parts, join="exact", compat="no_conflicts", combine_attrs="drop_conflicts")
    stars["flag"] = ("star", flag, _flag_attrs())
    stars.attrs = {**merged, **(attrs or {})}
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
    stars.attrs = {k: _portable(v) for k, v in stars.attrs.items()}
    encoding: dict[str, dict[str, Any]] = {}
    for name in stars.variables:
        variable = stars[name]
        variable.attrs = {k: _portable(v) for k, v in variable.attrs.items()}
        if variable.dtype == bool:
            stars[name] = variable.astype(np.int8)
        if variable.dtype.kind in "OU":
            # Variable-length text; xarray's default of fixed-width would depend on the chunk.
            stars[name] = variable.astype(object)
        if variable.ndim == 2 and variable.dtype.kind == "f":
            encoding[str(name)] = {"zlib": True, "complevel": 1, "shuffle": True}
    stars.to_netcdf(path, engine="h5netcdf", encoding=encoding)


class StarWriter:
    """Write StarPosteriors part by part; nothing stands at `path` until the last part is in.

    Use as a context manager::

        with StarWriter("runs/demo/stars", overwrite=True) as out:
            for chunk in chunks:
                out.append(chunk)
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._output = atomic_output(self.path, overwrite=overwrite, directory=True)
        self._folder: Path | None = None
        self._parts: list[dict[str, Any]] = []
        self._attrs: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._folder = self._output.__enter__()
        return self

    def append(self, stars: xr.Dataset) -> None:
        """Write one more part."""
        if self._folder is None:
            raise RuntimeError("StarWriter is a context manager: enter it before writing")
        name = f"part-{len(self._parts):05d}.nc"
        _write_part(stars, self._folder / name)
        self._attrs = {k: _portable(v) for k, v in stars.attrs.items()}
        self._parts.append(
            {
                "file": name,
                "stars": int(stars.sizes["star"]),
                "sha256": file_sha256(self._folder / name),
            }
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if error is None and self._folder is not None:
            manifest = {
                "format": _FORMAT,
                "stars": sum(p["stars"] for p in self._parts),
                "parts": self._parts,
                "attrs": self._attrs,
            }
            text = json.dumps(manifest, indent=1, default=str)
            (self._folder / MANIFEST).write_text(text)
        return self._output.__exit__(kind, error, trace)


def write_stars(
    stars: xr.Dataset, path: str | Path, *, part_size: int = 250_000, overwrite: bool = False
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
    with StarWriter(path, overwrite=overwrite) as out:
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
            opened = xr.open_dataset(file, engine="h5netcdf", chunks={})
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
    return stars


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
