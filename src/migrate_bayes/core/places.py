"""Where files are: a user's paths, the files that come with the package, and writable folders."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

#: Top-level folders of the project that are in the package too (`src/migrate_bayes/...` links to
#: them): the models and the recipes that come with it.
MODELS, RECIPES = "models", "recipes"


def expand(path: str | Path) -> Path:
    """Return a path with ``~`` and ``$VARIABLES`` in it written out."""
    return Path(os.path.expandvars(os.path.expanduser(path)))  # noqa: PTH111 (never raises)


def packaged(folder: str) -> Mapping[str, Path]:
    """Return the TOML files of `MODELS` or `RECIPES` that come with the package, by their names."""
    found = Path(str(files("migrate_bayes").joinpath(folder)))
    return {path.stem: path for path in sorted(found.glob("*.toml"))}


def why_not_writable(path: str | Path) -> str:
    """Say why a product cannot be written at `path`; empty if it can.

    The folder of the product need not exist, and is not made.
    """
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))
    except FileNotFoundError:
        return "the working directory has been removed"
    if path.is_symlink() and not target.parent.is_dir():
        return (
            f"it is a link to {target}, whose folder does not exist: make that, or remove the link"
        )
    folder = target.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is a file, not a folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the folder {folder} is read-only here"
    return ""


#: Folders that compilers and libraries write to: the variable that names another one, and where
#: they are looked for under the home folder without it.
_CACHES = {
    "NUMBA_CACHE_DIR": ("XDG_CACHE_HOME", ".cache", "numba"),
    "PYTENSOR_FLAGS": ("", "", ".pytensor"),
    "MPLCONFIGDIR": ("XDG_CONFIG_HOME", ".config", "matplotlib"),
    "MIGRATE_BAYES_CACHE": ("XDG_CACHE_HOME", ".cache", "migrate-bayes"),
}


def _writable(path: Path) -> bool:
    return not why_not_writable(path / "a file")


def _lacks_cache(variable: str) -> bool:
    """Tell whether a library has no folder that it can write to."""
    base, within, name = _CACHES[variable]
    given = os.environ.get(variable, "")
    if variable == "PYTENSOR_FLAGS":
        flags = [flag.partition("=") for flag in given.split(",")]
        given = "".join(v for k, _, v in flags if k.strip() in ("base_compiledir", "compiledir"))
    if given and (variable != "NUMBA_CACHE_DIR" or _writable(Path(given))):
        return False  # of a wrong one, the library itself speaks
    if variable == "NUMBA_CACHE_DIR" and _writable(Path(__file__).parent / "__pycache__"):
        return False
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (never raises)
    folder = Path(os.environ.get(base) or home / within) if base else home
    return not _writable(folder / name)


def find_caches() -> None:
    """Let compilers and libraries keep what they make in a temporary folder, if they have no other.

    Without one, Numba and PyTensor refuse to compile. A warning names the variables to set.
    """
    lacking = [variable for variable in _CACHES if _lacks_cache(variable)]
    if not lacking:
        return
    import tempfile

    names = [v if v != "PYTENSOR_FLAGS" else "PYTENSOR_FLAGS=base_compiledir=DIR" for v in lacking]
    said = f"home and install folder are read-only: set {', '.join(names)} to folders of your own"
    try:
        place = _own_folder(Path(tempfile.gettempdir()))
    except OSError as error:
        warnings.warn(f"{said} (nor is there a temporary folder: {error})", stacklevel=3)
        return
    for variable in lacking:
        folder = place / variable.lower()
        folder.mkdir(exist_ok=True)
        if variable == "PYTENSOR_FLAGS":
            flags = [os.environ.get(variable, ""), f"base_compiledir={folder}"]
            os.environ[variable] = ",".join(filter(None, flags))
        else:
            os.environ[variable] = str(folder)
    warnings.warn(f"{said}; compiled code and tables are kept in {place} for now", stacklevel=3)


def _own_folder(base: Path) -> Path:
    """Return a folder that only this user can write to."""
    import tempfile

    user = getattr(os, "getuid", lambda: "user")()
    folder = base / f"migrate-bayes-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid == user and stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="migrate-bayes-", dir=base))
