"""Products on disk: `read_netcdf` alone opens them, `atomic_output` alone writes them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrate_bayes.core.errors import ProductError

if TYPE_CHECKING:
    import xarray as xr


def refuse_existing(*paths: str | Path, overwrite: bool = False) -> None:
    """Raise `ProductError` if a product exists already; call it before the work begins."""
    for path in map(Path, paths):
        if path.exists() and not overwrite:
            raise ProductError(f"{path} exists already: use --overwrite to replace it")


@contextmanager
def atomic_output(
    path: str | Path, *, overwrite: bool = False, directory: bool = False
) -> Iterator[Path]:
    """Write a file or a folder (`directory`) whole or not at all.

    Yields a temporary neighbour with the same suffix, renamed on success and removed on error.
    Raises `ProductError` if the product may not be overwritten, or its folder not written.
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
    """Write a product as one NetCDF-4 file; raises as `atomic_output` does."""
    path = Path(path)
    with atomic_output(path, overwrite=overwrite) as out:
        product.to_netcdf(out, engine="h5netcdf")
    return path


def read_netcdf(path: str | Path, *, lazy: bool = False, missing: str = "") -> xr.DataTree:
    """Open a product of one NetCDF-4 file; use ``.to_dataset()`` on one without groups.

    If `lazy`, variables stay on disk until they are used. A `ProductError` says that the file is
    damaged, or that it does not exist and what to do then (`missing`).
    """
    import xarray as xr

    path = Path(path)
    if not path.is_file():
        raise ProductError(f"no such product: {path}" + (f": {missing}" if missing else ""))
    opener: Any = xr.open_datatree if lazy else xr.load_datatree
    try:
        return opener(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ProductError(f"{path} is damaged or no NetCDF file: {error}") from None
