"""Products on disk: `read_netcdf` alone opens them, `atomic_output` alone writes them.

A product of a run records what decides its content, `made_from`: a mapping by recipe section. A
stage keeps a product that was made from the same (`is_current`) and refuses one that was not.
"""

from __future__ import annotations

import datetime
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrate_bayes.core.errors import MigrateBayesError, ProductError
from migrate_bayes.core.places import expand, why_not_writable

if TYPE_CHECKING:
    import xarray as xr

MADE_FROM = "made_from"
#: Of a folder of parts, and of any other folder.
MANIFEST, RECORD = "manifest.json", "made_from.json"
LOCK = ".lock"
_DIGEST = b"\nsha256 "
_TAIL = len(_DIGEST) + 64
# Temporary names bear their process: `.fit.tmp-4711-1a2b3c4d.nc`. `old` is what is replaced.
_LEFTOVER = re.compile(r"\.(.+)\.(tmp|old)-(\d+)-[0-9a-f]{8}(\..+)?")


def temporary_name(path: Path, kind: str = "tmp") -> Path:
    """Name a neighbour of a product that is removed if its process dies (`lock_folder`)."""
    token = f"{kind}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.stem}.{token}{path.suffix}")


def refuse_existing(*paths: str | Path, overwrite: bool = False) -> None:
    """Raise `ProductError` if a product exists already; call it before the work begins."""
    for path in map(expand, paths):
        if path.exists() and not overwrite:
            raise ProductError(f"{path} exists already: use --overwrite to replace it")


def target_of(path: str | Path) -> Path:
    """Return where a product is written: the path, or what it is a link to.

    Raises `ProductError` if the target has no folder.
    """
    path = expand(path)
    if not path.is_symlink():
        return path
    if reason := why_not_writable(path):
        raise ProductError(f"cannot write {path}: {reason}")
    return Path(os.path.realpath(path))


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
    path = target_of(path)
    tmp = temporary_name(path)
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
        if directory:
            replace_folder(tmp, path)
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


def replace_folder(new: Path, path: Path) -> None:
    """Rename a folder to `path`, in place of one that may be there.

    `lock_folder` puts the old one back if the process dies between the two renames.
    """
    if path.exists():
        old = temporary_name(path, "old")
        path.replace(old)
        new.replace(path)
        shutil.rmtree(old)
    else:
        new.replace(path)


def recorded(path: Path) -> dict[str, Any] | None:
    """Return what a product says it was made from: None without a product, {} without a word."""
    if not path.exists():
        return None
    try:
        if path.is_dir():
            if (manifest := path / MANIFEST).exists():
                found = json.loads(manifest.read_text(encoding="utf-8"))[MADE_FROM]
            else:
                found = json.loads((path / RECORD).read_text(encoding="utf-8"))
        elif path.suffix == ".parquet":
            from pyarrow.parquet import read_metadata

            found = json.loads(read_metadata(path).metadata[f"migrate_bayes.{MADE_FROM}".encode()])
        else:
            import h5py

            with h5py.File(path) as file:
                found = json.loads(file.attrs[MADE_FROM])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def is_current(
    path: Path,
    made_from: Mapping[str, Any],
    *,
    overwrite: bool = False,
    advice: str = "use --overwrite to make it again",
) -> bool:
    """Say whether a product is there and was made from this.

    Raises `ProductError`, which names what differs and ends with `advice`, for one made from
    something else, unless it may be overwritten.
    """
    found = recorded(path)
    wanted = json.loads(json.dumps(made_from, default=str))
    if found is None or found == wanted:
        return found is not None
    if overwrite:
        return False
    raise ProductError(f"{path} is stale: {_differences(found, wanted)}; {advice}")


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the entries in which two records differ, at most four of them."""
    if not found:
        return "it does not say what it was made from"
    a, b = _flat(found), _flat(wanted)
    absent = "not there"
    words = [
        f"`{name}` was {a.get(name, absent)}, is {b.get(name, absent)}"
        for name in dict.fromkeys([*a, *b])
        if a.get(name) != b.get(name)
    ]
    return ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Write nested entries by dotted names, values as short text."""
    flat: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            text = json.dumps(value, ensure_ascii=False)
            flat[prefix + name] = text if len(text) <= 60 else f"{text[:57]}…"
    return flat


@contextmanager
def lock_folder(folder: Path, shard: str = "") -> Iterator[None]:
    """Keep other processes out of a folder of products, and remove what dead ones left there.

    Shards of different names may be there together, and nothing else then. The lock is the
    kernel's: it ends with its process, however that ends. The file names the process.
    `ProductError` if a live one holds it.
    """
    with ExitStack() as stack:
        stack.enter_context(_lock(folder / LOCK, shared=bool(shard)))
        if shard:
            stack.enter_context(_lock(folder / f"{LOCK}-{shard}"))
        else:
            _remove_leftovers(folder)
        yield


@contextmanager
def _lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    import fcntl

    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+")
    except OSError as error:
        reason = why_not_writable(path) or error.strerror or error
        raise ProductError(f"cannot write in {folder}: {reason}") from error
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise ProductError(
                f"{folder} is in use by {holder}: wait for it, or use another folder "
                "(--products) or name"
            ) from None
        except OSError:  # a file system without locks
            pass
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()} ({command}, since {now})")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of dead processes, in a folder and its folders."""
    for path in [*folder.glob(".*-*"), *folder.glob("*/.*-*")]:
        found = _LEFTOVER.fullmatch(path.name)
        if found is None or _alive(int(found[3])):
            continue
        product = path.with_name(found[1] + (found[4] or ""))
        if found[2] == "old" and not product.exists():
            path.replace(product)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def write_netcdf(
    product: xr.Dataset | xr.DataTree, path: str | Path, *, overwrite: bool = False
) -> Path:
    """Write a product as one NetCDF-4 file; raises as `atomic_output` does.

    The file's SHA-256 stands after its end as HDF5 has it, where readers do not look.
    """
    path = Path(path)
    with (
        atomic_output(path, overwrite=overwrite) as out,
        # HDF5 itself, writing to a disk that is full, crashes as it clears up.
        product.to_netcdf(engine="h5netcdf") as content,
        out.open("wb") as file,
    ):
        file.write(content)
        file.write(_DIGEST + hashlib.sha256(content).hexdigest().encode())
    return path


def _altered(path: Path) -> bool:
    """Say whether a file differs from the SHA-256 after its end; one without it cannot be told."""
    content = path.read_bytes()
    content, mark, digest = content[:-_TAIL], content[-_TAIL:-64], content[-64:]
    return mark == _DIGEST and hashlib.sha256(content).hexdigest().encode() != digest


def read_netcdf(path: str | Path, *, lazy: bool = False, missing: str = "") -> xr.DataTree:
    """Open a product of one NetCDF-4 file; use ``.to_dataset()`` on one without groups.

    If `lazy`, variables stay on disk until they are used. A `ProductError` says that the file is
    damaged, or that it does not exist and what to do then (`missing`).
    """
    import xarray as xr

    path = expand(path)
    if not path.is_file():
        raise ProductError(f"no such product: {path}" + (f": {missing}" if missing else ""))
    if not lazy and _altered(path):
        raise ProductError(f"{path} is damaged: it differs from its checksum; make it again")
    opener: Any = xr.open_datatree if lazy else xr.load_datatree
    try:
        return opener(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ProductError(f"{path} is damaged or no NetCDF file: {error}") from None
