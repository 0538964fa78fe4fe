"""What the figures are drawn from: a run's products, and the few columns of stars they need.

`gather` goes through the stars part by part and keeps, in single precision, the columns that the
figures show, of one potential and of the usable stars: some 50 bytes a star, so that a report of a
million stars is made in the memory of a small one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import OrbitError, ProductError, RecipeError
from migrate_bayes.core.flags import StarFlag
from migrate_bayes.plots import ComparisonPanel, Plane
from migrate_bayes.report.image import Picture
from migrate_bayes.selection import SELECTIONS, select
from migrate_bayes.stars import iter_parts

__all__ = ["ReportData", "StarColumns", "gather", "thin_probability"]

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]

# Column of the figures: variables to take it from, the first that there is with a number in it.
_SOURCES = {
    "feh": ("feh",),
    "alpha_fe": ("alpha_fe",),
    "teff": ("teff",),
    "logg": ("logg",),
    "age": ("age_ml", "age_median"),
    "rg": ("rg_mean",),
    "r_present": ("r_present",),
    "zmax": ("zmax", "ln_zmax_mean"),
}


@dataclass(frozen=True)
class StarColumns:
    """Columns of the usable and the fitted stars, shape (n,), float32; NaN where unknown.

    Attributes
    ----------
    rows : int array, shape (n,)
        Which of the product's stars these are.
    feh, alpha_fe, teff, logg, age, rg, r_present, zmax : ndarray
        dex, dex, K, dex, Gyr, kpc, kpc, kpc.
    fitted : bool array
        The stars of the hierarchical fit.
    p_thin : ndarray or None
        P(thin disc), NaN where not fitted; None without a fit.
    """

    rows: NDArray[np.int64]
    feh: Array
    alpha_fe: Array
    teff: Array
    logg: Array
    age: Array
    rg: Array
    r_present: Array
    zmax: Array
    fitted: Mask
    p_thin: Array | None


@dataclass(frozen=True)
class ReportData:
    """All that a figure of the report may draw.

    Attributes
    ----------
    stars : xarray.Dataset
        StarPosteriors, on disk: read a column at a time, if at all.
    columns : StarColumns
    potential, radius : str
        Of the fit or, without one, the baseline.
    fit, baseline, thick_baseline : optional
        The products.
    variants : xarray.DataTree, optional
        From `migrate_bayes.baseline.fit_samples`.
    truth : mapping, optional
        A mock's.
    reference : sequence of ComparisonPanel
        Our columns against published ones; `reference_start` words where their lower row begins.
    validation : mapping
        Pictures of the validation of ages by the paper's figure; `no_validation` says why not.
    comparisons : sequence of xarray.DataTree
        Products with a `variant` dimension.
    """

    stars: xr.Dataset
    columns: StarColumns
    potential: str = ""
    radius: str = "rg"
    fit: xr.DataTree | None = None
    baseline: xr.Dataset | None = None
    thick_baseline: xr.Dataset | None = None
    variants: xr.DataTree | None = None
    truth: Mapping[str, float] | None = None
    reference: Sequence[ComparisonPanel] = ()
    reference_start: str = ""
    validation: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    no_validation: str = ""
    comparisons: Sequence[xr.DataTree] = ()
    _masks: dict[str, Mask | str] = field(default_factory=dict)

    @property
    def symbol(self) -> str:
        """The radius of the fit, in TeX."""
        return "R" if self.radius == "r_present" else r"R_\mathrm{g}"

    @property
    def where(self) -> Array:
        """The radius of the fit, kpc."""
        return self.columns.r_present if self.radius == "r_present" else self.columns.rg

    def chosen(self, selection: str) -> Mask | str:
        """Return which of the columns' stars a selection takes, or why it cannot be told."""
        if selection not in self._masks:
            try:
                mask = select(self.stars, selection, potential=self.potential)
                self._masks[selection] = np.asarray(mask.values)[self.columns.rows]
            except (RecipeError, OrbitError) as error:
                self._masks[selection] = str(error)
        return self._masks[selection]

    def plane(self, mask: Mask) -> Plane:
        """Take the columns of some stars that the composite figures show."""
        c = self.columns
        return Plane(c.feh[mask], c.alpha_fe[mask], self.where[mask], c.zmax[mask], c.age[mask])

    def lacks(self, *names: str, mask: Mask | None = None) -> str:
        """Say which of these columns no star has together; empty where some star has all."""
        columns = [getattr(self.columns, n) if n != "radius" else self.where for n in names]
        good = np.logical_and.reduce([np.isfinite(c) for c in columns])
        if mask is not None:
            good &= mask
        if good.any():
            return ""
        missing = [n for n, c in zip(names, columns, strict=True) if not np.isfinite(c).any()]
        what = ", ".join(_WORDS.get(n, n) for n in missing or names)
        return f"no usable star has {what}"

    def baseline_of(self, name: str) -> xr.Dataset | None:
        """Return a variant's baseline, None where it has none."""
        if self.variants is None or name not in self.variants.children:
            return None
        data = self.variants[name].to_dataset()
        return None if "absent" in data.attrs or "slope" not in data else data


_WORDS = {
    "feh": "[Fe/H]", "alpha_fe": "[α/Fe]", "teff": "T_eff", "logg": "log g", "age": "an age",
    "radius": "a radius", "zmax": "Z_max",
}  # fmt: skip


def gather(
    stars: xr.Dataset,
    *,
    potential: str,
    fit: xr.DataTree | None = None,
    fitted: Mask | None = None,
) -> StarColumns:
    """Take the figures' columns of the usable and the fitted stars.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors, from `open_stars` or in memory.
    potential : str
        Whose radius and Z_max; the first, where the stars lack it.
    fit : xarray.DataTree, optional
        For its membership.
    fitted : bool array, shape (star,), optional
        The stars of the fit; those with membership, or else all usable ones, where not given.

    Raises
    ------
    ProductError
        Where the mask is not of these stars.
    """
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
    names = [v for v in dict.fromkeys(sum(_SOURCES.values(), ())) if _per_star(one, v)]
    pieces: dict[str, list[Array]] = {name: [] for name in names}
    for rows, values in iter_parts(one, names) if names else ():
        for name in names:
            pieces[name].append(values[name][keep[rows]].astype(np.float32))
    columns = {name: np.concatenate(parts) for name, parts in pieces.items()}
    if "ln_zmax_mean" in columns:
        columns["ln_zmax_mean"] = np.exp(columns["ln_zmax_mean"])

    def first(sources: Sequence[str]) -> Array:
        for name in sources:
            if name in columns and np.isfinite(columns[name]).any():
                return columns[name]
        return np.full(int(keep.sum()), np.nan, dtype=np.float32)

    return StarColumns(
        rows=np.flatnonzero(keep),
        fitted=fitted[keep],
        p_thin=None if p_thin is None else p_thin[keep],
        **{name: first(sources) for name, sources in _SOURCES.items()},
    )


def _per_star(stars: xr.Dataset, name: str) -> bool:
    return name in stars and stars[name].dims == ("star",) and stars[name].dtype.kind in "iuf"


def thin_probability(stars: xr.Dataset, fit: xr.DataTree | None) -> Any:
    """P(thin disc) by star, NaN where the star was not fitted; None where the fit has none.

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
