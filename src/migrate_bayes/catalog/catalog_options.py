"""Options of the catalogue: where the stars come from and which of them count."""

from __future__ import annotations

from typing import Any, Literal

from migrate_bayes.core.options import Options

__all__ = ["CatalogOptions"]


class CatalogOptions(Options):
    """Where the stars come from and which of them count."""

    source: Literal["file", "mock"] = "file"
    path: str = ""
    columns: str | dict[str, Any] | None = None
    duplicate_radius: float | None = 5.0  # arcsec; null keeps repeat observations
    min_snr: float | None = 50.0  # each of g, r, i; null cuts nothing
    max_age_error: float | None = 0.25  # relative; null cuts nothing
    extinction: str = "auto"
