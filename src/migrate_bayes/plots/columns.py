"""Columns of stars for figures, read part by part, some 50 bytes per star."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import ProductError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.selection import SELECTIONS, select
from migrate_bayes.stars import iter_parts

# Column: unit, and the variables to take it from: the first that has a number.
_SOURCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "feh": ("dex", ("feh",)),
    "alpha_fe": ("dex", ("alpha_fe",)),
    "teff": ("K", ("teff",)),
    "logg": ("dex", ("logg",)),
    "age": ("Gyr", ("age_ml", "age_median")),
    "radius": ("kpc", ("rg_mean",)),
    "zmax": ("kpc", ("zmax", "ln_zmax_mean")),
}
_RADII = {"rg": "rg_mean", "r_present": "r_present"}


def star_columns(
    stars: xr.Dataset,
    *,
    potential: str = "",
    radius: str = "rg",
    fit: xr.DataTree | None = None,
    fitted: NDArray[np.bool_] | None = None,
) -> xr.Dataset:
    """Take the columns that figures show, of the usable and the fitted stars.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors, from `migrate_bayes.open_stars` or in memory. Columns that were taken
        already are returned as they are.
    potential : str
        Whose guiding radius and Z_max; the first, if the stars lack it.
    radius : {"rg", "r_present"}
        Guiding or present radius.
    fit : xarray.DataTree, optional
        A fit with its membership.
    fitted : bool array, shape (star,), optional
        The fitted stars; by default those with a membership or, without one, all usable stars.

    Returns
    -------
    xarray.Dataset
        By `star`, single precision, NaN where unknown: `feh`, `alpha_fe` (dex), `teff` (K), `logg`
        (dex), `age` (Gyr), `radius`, `zmax` (kpc); `fitted` (bool); `row`, the star's row in
        `stars`; and `p_thin`, its probability of the thin disc, if the fit has it.

    Raises
    ------
    ProductError
        If the mask is not of these stars.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import migrate_bayes as mb
    >>> stars = xr.Dataset({"feh": ("star", [-0.1, 0.2]), "flag": ("star", np.zeros(2, "i4"))})
    >>> mb.plots.star_columns(stars)["feh"].values
    array([-0.1,  0.2], dtype=float32)
    """
    if "age" in stars.data_vars:  # in StarPosteriors, `age` is the axis of the likelihood
        return stars
    n = stars.sizes["star"]
    known = [str(p) for p in stars["potential"].values] if "potential" in stars.dims else []
    chosen = potential if potential in known or not known else known[0]
    usable = np.asarray(select(stars, SELECTIONS["all"], potential=chosen).values)
    p_thin = thin_probability(stars, fit)
    if fitted is None:
        fitted = usable if p_thin is None else np.isfinite(p_thin)
    if fitted.shape != (n,):
        raise ProductError(f"the selection has {fitted.size:,} stars, the product {n:,}")
    keep = usable | fitted
    one = stars.sel(potential=chosen) if known else stars
    sources = _SOURCES | {"radius": ("kpc", (_RADII[radius],))}
    names = [v for _, variables in sources.values() for v in variables if _per_star(one, v)]
    pieces: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for rows, values in iter_parts(one, names) if names else ():
        for name in names:
            pieces[name].append(values[name][keep[rows]].astype(np.float32))
    found = {name: np.concatenate(parts) for name, parts in pieces.items()}
    if "ln_zmax_mean" in found:
        found["ln_zmax_mean"] = np.exp(found["ln_zmax_mean"])
    columns: dict[str, Any] = {}
    for name, (unit, variables) in sources.items():
        good = [found[v] for v in variables if v in found and np.isfinite(found[v]).any()]
        values = good[0] if good else np.full(keep.sum(), np.nan, dtype=np.float32)
        columns[name] = ("star", values, {"units": unit})
    if p_thin is not None:
        columns["p_thin"] = ("star", p_thin[keep])
    columns |= {"fitted": ("star", fitted[keep]), "row": ("star", np.flatnonzero(keep))}
    return xr.Dataset(columns, attrs={"radius": radius})


def _per_star(stars: xr.Dataset, name: str) -> bool:
    return name in stars and stars[name].dims == ("star",) and stars[name].dtype.kind in "iuf"


def thin_probability(stars: xr.Dataset, fit: xr.DataTree | None) -> NDArray[np.float64] | None:
    """P(thin disc) by star, NaN for stars that were not fitted; None if the fit has none.

    Stars are matched by `source_id`; of repeat observations, which may share one, those flagged
    `DUPLICATE` were not fitted.
    """
    if fit is None or "membership" not in fit.children or "p_thin" not in fit["membership"]:
        return None
    group = fit["membership"].to_dataset()
    p = np.asarray(group["p_thin"].values, dtype=np.float64)
    if "source_id" not in group.coords or "source_id" not in stars.coords:
        return p if len(p) == stars.sizes["star"] else None
    import pandas as pd

    fitted = pd.Series(p, index=group["source_id"].values)
    fitted = fitted[~fitted.index.duplicated()]
    matched = np.array(fitted.reindex(stars["source_id"].values), dtype=np.float64)
    if "flag" in stars:
        repeat = np.asarray(stars["flag"].values, dtype=np.int64) & int(StarFlag.DUPLICATE)
        matched[repeat != 0] = np.nan
    return matched


def finite(stars: xr.Dataset, *names: str) -> tuple[NDArray[Any], ...]:
    """Return columns of the stars that have all of them."""
    columns = [stars[name].values for name in names]
    good = np.logical_and.reduce([np.isfinite(c) for c in columns])
    return tuple(c[good] for c in columns)
