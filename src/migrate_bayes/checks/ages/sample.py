"""Stars whose ages are known otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.catalog.columns import attributes
from migrate_bayes.core.errors import CatalogError

__all__ = ["Sample", "observed_catalog", "read_table"]


@dataclass(frozen=True)
class Sample:
    """A catalogue of stars and what is known of their ages.

    Parameters
    ----------
    name : str
    catalog : xarray.Dataset
        Canonical columns on dim ``star``, as `estimate_ages` takes them.
    reference, reference_error : numpy.ndarray, shape (star,)
        The other age and its 1σ error, Gyr; NaN where there is none.
    reference_name : str
        Where the other age comes from.
    note : str
        What a referee should know of the numbers that went in.
    extra : mapping
        Arrays of shape (star,) that figures or selections need.
    """

    name: str
    catalog: xr.Dataset
    reference: NDArray[np.float64]
    reference_error: NDArray[np.float64]
    reference_name: str
    note: str
    extra: Mapping[str, NDArray] = field(default_factory=dict)


def observed_catalog(
    columns: Mapping[str, ArrayLike], *, identifier: ArrayLike | None = None
) -> xr.Dataset:
    """Return a catalogue of columns by their canonical names, with units."""
    n = max(np.size(v) for v in columns.values())
    catalog = xr.Dataset(
        {
            name: (
                "star",
                np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)).copy(),
                attributes(name),
            )
            for name, value in columns.items()
        }
    )
    if identifier is not None:
        catalog = catalog.assign_coords(source_id=("star", np.asarray(identifier)))
    return catalog


def read_table(path: str, needed: tuple[str, ...], **options: object) -> pd.DataFrame:
    """Read a comma-separated table.

    Raises
    ------
    CatalogError
        Where it cannot be read, or lacks one of the columns in `needed`.
    """
    try:
        table = pd.read_csv(path, **options)  # type: ignore[call-overload]
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path}: cannot be read as a table: {error}") from error
    absent = [name for name in needed if name not in table]
    if absent:
        raise CatalogError(f"{path}: column '{absent[0]}' is absent; it has {list(table)[:12]} …")
    return table
