"""A run held against numbers that others published for the same stars.

`reference_tables` compares our columns with those the catalogue brought along (`ref_…`), and
measures published gradients again, in their own radius, height and age ranges. A difference is
shown with the frames on both sides, because most differences in R_g and Z_max are differences of
frame.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import xarray as xr

from migrate_bayes.baseline import fit_line
from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.core.errors import RecipeError, suggest
from migrate_bayes.plots import ComparisonPanel
from migrate_bayes.report.report_options import PublishedOptions, ReferenceColumn
from migrate_bayes.run.recipe import Recipe

__all__ = ["reference_panels", "reference_tables"]

_EXTREMA = ("zmax", "r_peri", "r_apo", "eccentricity")

Table = tuple[str, list[str], list[list[str]]]


def reference_tables(stars: xr.Dataset, recipe: Recipe) -> tuple[list[Table], list[str]]:
    """Make the comparison tables that a recipe's ``[reference]`` asks for.

    Parameters
    ----------
    stars : xarray.Dataset
        StarPosteriors with `ref_…` columns.
    recipe : Recipe

    Returns
    -------
    tables : list of (title, header, rows)
    notes : list of str
        The frames on both sides.

    Raises
    ------
    RecipeError
        Where a named column is not there.
    """
    section = recipe.reference
    if section is None:
        return [], []
    notes = []
    if section.frame:
        ours = stars.attrs.get("solar_frame", "")
        ours = ours if isinstance(ours, str) else json.dumps(ours)
        notes.append(
            f"Frames: ours {ours}, potential {recipe.model.potential} ({recipe.orbits.scaling}); "
            f"theirs: {section.frame}"
        )
    if section.note:
        notes.append(section.note)
    stars = _one_potential(stars, recipe)
    tables = []
    if section.columns:
        header = ["difference", "stars", "median", "robust scatter", "5%", "95%", "unit"]
        rows = [_difference(stars, column) for column in section.columns]
        tables.append(("Against the catalogue's own columns", header, rows))
        if section.start is not None:
            again = _orbits_from_start(stars, recipe)
            rows = [_difference(again, c) for c in section.columns if c.ours in _EXTREMA]
            tables.append((f"The same, {section.start.label}", header, rows))
    if section.published is not None:
        tables.append(_gradients(stars, section.published))
    return tables, notes


def reference_panels(stars: xr.Dataset, recipe: Recipe) -> list[ComparisonPanel]:
    """Gather what the comparison figure draws: one panel per column of ``[reference]``.

    Raises
    ------
    RecipeError
        Where a named column is not there.
    """
    section = recipe.reference
    if section is None or not section.columns:
        return []
    stars = _one_potential(stars, recipe)
    again = None if section.start is None else _orbits_from_start(stars, recipe)
    panels = []
    for c in section.columns:
        second = None
        if again is not None and c.ours in _EXTREMA:
            second = _column(again, c.ours)
        ours, theirs = _column(stars, c.ours), _column(stars, c.reference)
        panels.append(ComparisonPanel(c.ours, c.reference, c.unit, theirs, ours, second))
    return panels


def _one_potential(stars: xr.Dataset, recipe: Recipe) -> xr.Dataset:
    return stars.sel(potential=recipe.model.potential) if "potential" in stars.dims else stars


def _orbits_from_start(stars: xr.Dataset, recipe: Recipe) -> xr.Dataset:
    """Integrate the published phase space; our names for what comes out, in `stars`."""
    from migrate_bayes.orbits import Potential, get_frame, orbit_extrema

    assert recipe.reference is not None
    start = recipe.reference.start
    assert start is not None
    columns = (start.R, start.v_r, start.v_phi, start.z, start.v_z)
    R, v_r, v_phi, z, v_z = (c.scale * _column(stars, c.column) for c in columns)
    frame = replace(get_frame(recipe.orbits.frame), r0=float(stars["r0"]), v0=float(stars["v0"]))
    potential = Potential(str(stars["potential_model"].values), frame, str(stars["scaling"].values))
    extrema = orbit_extrema(R, v_r, v_phi, z, v_z, potential)
    return stars.assign({name: ("star", getattr(extrema, name)) for name in _EXTREMA})


def _column(stars: xr.Dataset, name: str) -> np.ndarray:
    if name not in stars:
        raise RecipeError(
            f"[reference] names the column '{name}', which the product lacks; "
            f"{suggest(name, [str(v) for v in stars.data_vars])}"
        )
    return np.asarray(stars[name].values, dtype=np.float64)


def _difference(stars: xr.Dataset, column: ReferenceColumn) -> list[str]:
    difference = _column(stars, column.ours) - _column(stars, column.reference)
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        return [column.label, "0", "", "", "", "", column.unit]
    median = np.median(difference)
    scatter = 1.4826 * np.median(np.abs(difference - median))
    low, high = np.percentile(difference, [5, 95])
    numbers = [f"{v:+.3f}" for v in (median, scatter, low, high)]
    numbers[1] = numbers[1].lstrip("+")
    return [column.label, f"{len(difference):,}", *numbers, column.unit]


def _gradients(stars: xr.Dataset, published: PublishedOptions) -> Table:
    """Fit d[Fe/H]/dR in the published age ranges, by median age, errors on both axes."""
    x = _column(stars, published.radius)
    sx = _column(stars, published.radius_error)
    height = np.abs(_column(stars, published.height))
    y, sy = _column(stars, "feh"), _column(stars, "feh_error")
    age = _column(stars, "age_median")
    rows = []
    for entry in published.gradients:
        low, high = entry.age_range
        with np.errstate(invalid="ignore"):
            inside = (age >= low) & (age < high) & (height < published.max_height)
        inside &= np.isfinite(x) & np.isfinite(sx) & np.isfinite(y) & np.isfinite(sy)
        line = fit_line(x[inside] - PIVOT_RADIUS, y[inside], sx[inside], sy[inside], scatter=True)
        error = "" if entry.slope_error is None else f" ± {entry.slope_error:.3f}"
        measured = line.reason or line.slope.text(digits=3, sign=True)
        n_sigma = ""
        if entry.slope_error is not None and not line.reason:
            both = np.hypot(line.slope.plus, entry.slope_error)
            n_sigma = f"{(line.slope.value - entry.slope) / both:+.1f}"
        rows.append(
            [entry.label, f"{int(inside.sum())}", measured, f"{entry.slope:+.3f}{error}", n_sigma]
        )
    title = (
        f"d[Fe/H]/dR against {published.radius}, |{published.height}| < {published.max_height} kpc"
        " (dex/kpc; ODR with intrinsic scatter)"
    )
    return title, ["age", "stars", "measured here", "published", "difference / σ"], rows
