"""Provenance of a product: seed, versions, recipe hash, checksums of the inputs."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "migrate-bayes", "numpy", "scipy", "astropy", "galpy", "xarray", "pymc", "pytensor", "arviz",
    "nutpie", "numba", "odrpack", "lachesis-grids", "astrolachesis",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a product's numbers depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
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
    """Build the provenance attributes of a product, all text, so that any format holds them.

    `recipe_hash` is the `content_hash` of the recipe, `inputs` the checksum of each input by name.
    """
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": json.dumps(versions()),
        "seed": "" if seed is None else str(seed),
        "recipe_hash": recipe_hash,
        "inputs": json.dumps(dict(inputs or {})),
    }
