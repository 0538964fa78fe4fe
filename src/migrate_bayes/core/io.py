"""Products on disk: `read_netcdf` alone opens them, `atomic_output` alone writes them."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrate_bayes.core.errors import MigrateBayesError, ProductError
from migrate_bayes.core.places import expand, why_not_writable

if TYPE_CHECKING:
    import xarray as xr


def refuse_existing(*paths: str | Path, overwrite: bool = False) -> None:
    """Raise `ProductError` if a product exists already; call it before the work begins."""
    for path in map(expand, paths):
        if path.exists() and not overwrite:
            raise ProductError(f"{path} exists already: use --overwrite to replace it")


@contextmanager
def atomic_output(
    path: str | Path, *, overwrite: bool = False, directory: bool = False
) -> Iterator[Path]:
    """Write a file or a folder (`directory`) whole or not at all; through a link, to its target.

    Yields a temporary neighbour with the same suffix, renamed on success and removed on error.
    Raises `ProductError` if the product may not be overwritten, its folder not written, or its disk
    has no room.
    """
    said = path = expand(path)
    if path.exists() and not overwrite:
        raise ProductError(f"{path} exists already: use --overwrite to replace it, or another name")
    if path.is_symlink() and (reason := why_not_writable(path)):
        raise ProductError(f"cannot write {path}: {reason}")
    path = Path(os.path.realpath(path))
    tmp = path.with_name(f".{path.stem}.tmp-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if directory:
            tmp.mkdir()
        else:
            tmp.touch()
    except OSError as error:
        raise ProductError(f"cannot write {said}: {error.strerror or error}") from error
    try:
        try:
            yield tmp
        except MigrateBayesError:
            raise
        except Exception as error:
            # The libraries that write say "HDF error", or nothing, of a disk that is full.
            if reason := _no_room(tmp, error):
                raise ProductError(f"cannot write {said}: {reason}") from error
            raise
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


#: Reasons of the system for which writing more to a folder is of no use.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG)
_PROBE = 1 << 18  # bytes


def disk_error(error: BaseException) -> OSError | None:
    """Return the error of a disk, full or broken, that is behind another; None if there is none."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _DISK:
            return found
        found = found.__cause__ or found.__context__
    return None


def _no_room(tmp: Path, error: BaseException) -> str:
    """Say what is wrong with the disk of a product that could not be written; empty if nothing."""
    if (of_disk := disk_error(error)) is not None:
        return _of_disk(of_disk, tmp)
    probe = tmp.parent / f"{tmp.name}.tmp-probe"
    try:
        with probe.open("wb") as file:
            file.write(b"\1" * _PROBE)
            file.flush()
            os.fsync(file.fileno())
    except OSError as failure:
        return _of_disk(failure, tmp) if failure.errno in _DISK else ""
    finally:
        probe.unlink(missing_ok=True)
    return ""


def _of_disk(error: OSError, tmp: Path) -> str:
    said = os.strerror(error.errno or 0).lower()
    return f"{said} in {tmp.parent}: make room there, or write to another folder"


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

    path = expand(path)
    if not path.is_file():
        raise ProductError(f"no such product: {path}" + (f": {missing}" if missing else ""))
    opener: Any = xr.open_datatree if lazy else xr.load_datatree
    try:
        return opener(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ProductError(f"{path} is damaged or no NetCDF file: {error}") from None
