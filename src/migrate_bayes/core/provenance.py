"""What a product must carry to be made again, and how it reaches the disk whole.

`provenance` gives the attributes every product bears; `atomic_output` is the only way this package
writes: to a temporary neighbour, renamed when complete, never over a file unless asked. Products of
one file go through `write_netcdf`.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrate_bayes.core.errors import ProductError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "atomic_output", "content_hash", "file_sha256", "provenance", "versions", "write_netcdf",
]  # fmt: skip

_PACKAGES = (
    "migrate-bayes", "numpy", "scipy", "astropy", "galpy", "xarray", "pymc", "pytensor", "arviz",
    "nutpie", "numba", "odrpack", "lachesis-grids", "astrolachesis",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages whose numbers end up in a product."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def content_hash(content: Mapping[str, Any]) -> str:
    """Hash a recipe's content, not its layout: 16 hex digits of SHA-256 over sorted JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def provenance(
    *, seed: int | None = None, recipe_hash: str = "", inputs: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Build the provenance attributes of a product (all text, so that any format holds them).

    Parameters
    ----------
    seed : int, optional
        The run's seed.
    recipe_hash : str
        `content_hash` of the recipe.
    inputs : mapping, optional
        Name of each input to its checksum.
    """
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": json.dumps(versions()),
        "seed": "" if seed is None else str(seed),
        "recipe_hash": recipe_hash,
        "inputs": json.dumps(dict(inputs or {})),
    }


@contextmanager
def atomic_output(
    path: str | Path, *, overwrite: bool = False, directory: bool = False
) -> Iterator[Path]:
    """Write a file or a folder whole or not at all.

    Parameters
    ----------
    path : path-like
        Where it shall stand.
    overwrite : bool
        Replace what stands there.
    directory : bool
        The product is a folder.

    Yields
    ------
    Path
        A temporary neighbour with the same suffix; write there. Renamed on success, removed on
        error.

    Raises
    ------
    ProductError
        Where something stands there already, or the folder cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ProductError(f"{path} exists already: use --overwrite to replace it, or another name")
    tmp = path.with_name(f".{path.stem}.tmp-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if directory:
            tmp.mkdir()
        else:
            tmp.touch()
    except OSError as error:
        raise ProductError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield tmp
        if directory and path.exists():
            old = path.with_name(f".{path.name}.tmp-old-{secrets.token_hex(4)}")
            path.replace(old)
            tmp.replace(path)
            shutil.rmtree(old)
        else:
            tmp.replace(path)
    finally:
        if tmp.is_dir():
            shutil.rmtree(tmp, ignore_errors=True)
        else:
            tmp.unlink(missing_ok=True)


def write_netcdf(
    product: xr.Dataset | xr.DataTree, path: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a product as one NetCDF-4 file.

    Raises
    ------
    ProductError
        Where something stands there already, or the folder cannot be written.
    """
    path = Path(path)
    with atomic_output(path, overwrite=overwrite) as out:
        product.to_netcdf(out, engine="h5netcdf")
    return path
