"""What a report is made of: a run's products, and what its figures take of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import CatalogError, OrbitError, RecipeError
from migrate_bayes.plots.columns import star_columns
from migrate_bayes.population.results.diagnostics import Verdict, judge, summary_table
from migrate_bayes.report.headline_table import Headline, headline
from migrate_bayes.report.published import Published
from migrate_bayes.report.section import Image, NotDrawnError, load_validation
from migrate_bayes.selection import select

Mask = NDArray[np.bool_]

_WORDS = {
    "feh": "[Fe/H]", "alpha_fe": "[α/Fe]", "teff": "T_eff", "logg": "log g", "age": "an age",
    "radius": "a radius", "zmax": "Z_max",
}  # fmt: skip


@dataclass(frozen=True)
class RunProducts:
    """A run's products, as `write_report` shows them.

    Parameters
    ----------
    name : str
        Of the run.
    stars : xarray.Dataset
        StarPosteriors, on disk or in memory: read a column at a time, if at all.
    fit : xarray.DataTree, optional
        The hierarchical fit (docs/architecture.md).
    baseline, thick_baseline : xarray.Dataset, optional
        From `migrate_bayes.fit_baseline`.
    variants : xarray.DataTree, optional
        From `migrate_bayes.baseline.fit_samples`.
    comparisons : sequence of xarray.DataTree
        Products of ``migrate-bayes compare``, with a `variant` dimension.
    selection_mask : bool array, shape (star,), optional
        The stars that were fitted; by default those with a membership, or else all usable ones.
    truth : mapping, optional
        A mock's, see `migrate_bayes.report.headline`.
    published : Published
        Our columns against published ones.
    recipe : mapping, optional
        The recipe with its defaults, of which the methods are written.
    recipe_text : str
        Shown as it is.
    provenance : mapping, optional
        From `migrate_bayes.core.provenance.provenance`; by default the fit's attributes.
    notes : sequence of str
        Paragraphs for the head of the page.
    validation : path-like, optional
        Folder of the report of a validation of ages, whose figures are embedded.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from migrate_bayes.report import RunProducts
    >>> stars = xr.Dataset({"feh": ("star", [0.1]), "flag": ("star", np.zeros(1, "i4"))})
    >>> RunProducts("mine", stars).columns.sizes["star"]
    1
    """

    name: str
    stars: xr.Dataset
    fit: xr.DataTree | None = None
    baseline: xr.Dataset | None = None
    thick_baseline: xr.Dataset | None = None
    variants: xr.DataTree | None = None
    comparisons: Sequence[xr.DataTree] = ()
    selection_mask: xr.DataArray | Mask | None = None
    truth: Mapping[str, float] | None = None
    published: Published = field(default_factory=Published)
    recipe: Mapping[str, Any] | None = None
    recipe_text: str = ""
    provenance: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    validation: str | Path | None = None

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the fit or, without one, of the baseline."""
        source = self.fit if self.fit is not None else self.baseline
        return {} if source is None else {str(k): v for k, v in source.attrs.items()}

    @property
    def potential(self) -> str:
        """The potential of the fit or the baseline."""
        return str(self.attrs.get("potential", ""))

    @property
    def radius(self) -> str:
        """The radius of the fit or the baseline: ``"rg"`` or ``"r_present"``."""
        return str(self.attrs.get("radius", "rg"))

    @cached_property
    def headline(self) -> Headline:
        """The numbers at the top."""
        return headline(
            self.fit, self.baseline, self.truth, thick_baseline=self.thick_baseline,
            verdict=self.verdict, comparisons=self.comparisons,
        )  # fmt: skip

    @cached_property
    def summary(self) -> Any:
        """ArviZ's summary of the fit's parameters, empty without a fit."""
        return summary_table(xr.DataTree() if self.fit is None else self.fit)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the fit's numbers may be shown."""
        return judge(self.fit, self.summary)

    @cached_property
    def columns(self) -> xr.Dataset:
        """Columns of the usable and the fitted stars, from `migrate_bayes.plots.star_columns`."""
        mask = self.selection_mask
        return star_columns(
            self.stars, potential=self.potential, radius=self.radius, fit=self.fit,
            fitted=None if mask is None else np.asarray(mask, dtype=bool),
        )  # fmt: skip

    @cached_property
    def ages_figures(self) -> dict[str, list[Image]]:
        """Images of the validation of ages by number of the paper's figure."""
        return {} if self.validation is None else load_validation(self.validation)

    def chosen(self, selection: str) -> Mask:
        """Return which of the columns' stars a selection takes, or raise `NotDrawnError`."""
        try:
            mask = select(self.stars, selection, potential=self.potential)
        except (CatalogError, RecipeError, OrbitError) as error:
            raise NotDrawnError(str(error)) from None
        return np.asarray(mask.values)[self.columns["row"].values]

    def require(self, *names: str, mask: Mask | None = None, within: str = "") -> None:
        """Raise `NotDrawnError` if no star (of a mask, worded as `within`) has these columns."""
        columns = [self.columns[n].values for n in names]
        good = np.logical_and.reduce([np.isfinite(c) for c in columns])
        if (good if mask is None else good & mask).any():
            return
        missing = [n for n, c in zip(names, columns, strict=True) if not np.isfinite(c).any()]
        what = ", ".join(_WORDS.get(n, n) for n in missing or names)
        raise NotDrawnError(f"no usable star has {what}{within}")

    def variant(self, name: str) -> xr.Dataset | None:
        """Return a variant's baseline, None if it has none."""
        if self.variants is None or name not in self.variants.children:
            return None
        data = self.variants[name].to_dataset()
        return None if "absent" in data.attrs or "slope" not in data else data
