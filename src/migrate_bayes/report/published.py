"""Comparison of a run with published columns and gradients of the same stars.

The frame causes most differences in R_g and Z_max, so both frames are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from migrate_bayes.baseline import fit_line
from migrate_bayes.core.constants import PIVOT_RADIUS
from migrate_bayes.core.errors import RecipeError, suggest
from migrate_bayes.core.table import Table
from migrate_bayes.plots import PublishedPanel
from migrate_bayes.report import report_options as opt
from migrate_bayes.selection import select

_EXTREMA = ("zmax", "r_peri", "r_apo", "eccentricity")


class Published(NamedTuple):
    """Tables, notes on both frames, panels, and the label of the published phase space."""

    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    panels: tuple[PublishedPanel, ...] = ()
    start: str = ""


def against_published(
    stars: xr.Dataset,
    options: opt.ReferenceOptions | None,
    *,
    potential: str,
    scaling: str,
    frame: str | dict[str, float | str],
) -> Published:
    """Compare stars with the columns of a recipe's ``[reference]``; empty without the section.

    Our orbits are those in `potential`, with the run's `scaling` and `frame`.
    """
    if options is None:
        return Published()
    notes, tables, panels = [], [], []
    if options.frame:
        notes.append(
            f"Frames: ours {_words_of_frame(stars.attrs.get('solar_frame', '{}'))}, potential "
            f"{potential} ({scaling}); theirs: {options.frame}"
        )
    if options.note:
        notes.append(options.note)
    chosen = {
        c.selection: select(stars, c.selection, potential=potential).values
        for c in options.columns
        if c.selection is not None
    }
    stars = stars.sel(potential=potential) if "potential" in stars.dims else stars
    again = None
    if options.columns:
        header = ["difference", "stars", "median", "robust scatter", "5%", "95%", "unit"]
        rows = [_difference(stars, column, chosen) for column in options.columns]
        tables.append(Table("Against the catalogue's own columns", header, rows))
        if options.start is not None:
            again = _orbits_from_start(stars, options.start, frame)
            rows = [_difference(again, c, chosen) for c in options.columns if c.ours in _EXTREMA]
            tables.append(Table(f"The same, {options.start.label}", header, rows))
    for c in options.columns:
        ours, theirs = _pair(stars, c, chosen)
        second = None if again is None or c.ours not in _EXTREMA else _pair(again, c, chosen)[0]
        title = c.label if c.selection else ""
        panels.append(PublishedPanel(c.ours, c.reference, c.unit, theirs, ours, second, title))
    if options.published is not None:
        tables.append(_gradients(stars, options.published))
    start = options.start.label if options.start else ""
    return Published(tuple(tables), tuple(notes), tuple(panels), start)


def _words_of_frame(frame: Any) -> str:
    """Word the solar frame of a product, which has it as JSON."""
    f = json.loads(frame) if isinstance(frame, str) else frame
    if not f:
        return "unknown"
    return (
        f"(R0, V0) = ({f['r0']:g} kpc, {f['v0']:g} km/s), (U, V, W) = ({f['u']:g}, {f['v']:g}, "
        f"{f['w']:g}) km/s, Sun {1000 * f['z_sun']:g} pc up"
    )


def _orbits_from_start(stars: xr.Dataset, start: opt.ReferenceStart, frame: Any) -> xr.Dataset:
    """Integrate the published phase space; return `stars` with the extrema replaced."""
    from migrate_bayes.orbits import Potential, get_frame, orbit_extrema

    columns = (start.R, start.v_r, start.v_phi, start.z, start.v_z)
    R, v_r, v_phi, z, v_z = (c.scale * _column(stars, c.column) for c in columns)
    ours = replace(get_frame(frame), r0=float(stars["r0"]), v0=float(stars["v0"]))
    name, scaling = (str(stars[key].values) for key in ("potential_model", "scaling"))
    potential = Potential.of_product(name, ours, scaling)
    extrema = orbit_extrema(R, v_r, v_phi, z, v_z, potential)
    return stars.assign({name: ("star", getattr(extrema, name)) for name in _EXTREMA})


def _column(stars: xr.Dataset, name: str) -> np.ndarray:
    if name not in stars:
        raise RecipeError(
            f"[reference] names the column '{name}', which the product lacks; "
            f"{suggest(name, [str(v) for v in stars.data_vars])}"
        )
    return np.asarray(stars[name].values, dtype=np.float64)


def _pair(
    stars: xr.Dataset, column: opt.ReferenceColumn, chosen: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Take our value and theirs, NaN for stars that the column's selection leaves out."""
    inside = chosen[column.selection] if column.selection is not None else True
    ours, theirs = (_column(stars, name) for name in (column.ours, column.reference))
    return np.where(inside, ours, np.nan), np.where(inside, theirs, np.nan)


def _difference(
    stars: xr.Dataset, column: opt.ReferenceColumn, chosen: Mapping[str, np.ndarray]
) -> list[str]:
    difference = np.subtract(*_pair(stars, column, chosen))
    difference = difference[np.isfinite(difference)]
    if not len(difference):
        return [column.label, "0", "", "", "", "", column.unit]
    median = np.median(difference)
    scatter = 1.4826 * np.median(np.abs(difference - median))
    low, high = np.percentile(difference, [5, 95])
    numbers = f"{median:+.3f}", f"{scatter:.3f}", f"{low:+.3f}", f"{high:+.3f}"
    return [column.label, f"{len(difference):,}", *numbers, column.unit]


def _gradients(stars: xr.Dataset, published: opt.PublishedOptions) -> Table:
    """Fit d[Fe/H]/dR in the published age ranges, by median age, errors on both axes."""
    names = (published.radius, "feh", published.radius_error, "feh_error")
    values = np.stack([_column(stars, name) for name in names])
    values[0] -= PIVOT_RADIUS
    height, age = np.abs(_column(stars, published.height)), _column(stars, "age_median")
    rows = []
    for entry in published.gradients:
        low, high = entry.age_range
        with np.errstate(invalid="ignore"):
            inside = (age >= low) & (age < high) & (height < published.max_height)
        inside &= np.isfinite(values).all(axis=0)
        line = fit_line(*values[:, inside], scatter=True)
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
    header = ["age", "stars", "measured here", "published", "difference / σ"]
    return Table(title, header, rows)
