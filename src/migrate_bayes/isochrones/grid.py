r"""The grid that the age estimate works on: isochrones on age × [Fe/H] × [α/Fe], at equal EEP.

Between nodes an isochrone is the linear combination, point by point at equal EEP, of those around
it: linear in log age, in [Fe/H] and in [α/Fe]. (Cubic interpolation in [Fe/H] was tried against
left-out compositions of the native Dartmouth files, and is no better.) The ``fine`` grid keeps the
source's own [Fe/H] and [α/Fe] nodes, since its kernel interpolates between them exactly; the
``paper`` grid has the nodes of Vickers, Shen & Li (2021).

**Whose [Fe/H].** Models are labelled by the *initial* [Fe/H]; a spectrograph sees the surface,
which diffusion has depleted. ``feh_scale="surface"`` (the default) subtracts from the label the
initial [Fe/H] of the family's own solar-calibrated model, so that the Sun is at 0;
``feh_scale="initial"`` takes labels literally.

A family without an [α/Fe] axis is read at the [Fe/H] of equal total metallicity (Salaris et al.
1993, ApJ 414, 580):

.. math:: [\mathrm{Fe/H}]_\mathrm{eff} = [\mathrm{Fe/H}] +
   \log_{10}(0.638 \cdot 10^{[\alpha/\mathrm{Fe}]} + 0.362)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from migrate_bayes.errors import IsochroneError, suggest
from migrate_bayes.isochrones.imf import kroupa_cumulative
from migrate_bayes.isochrones.source import IsochroneSource, load_source

__all__ = ["FEH_SCALES", "METHODS", "PAPER_AGES", "WorkingGrid", "build_grid", "salaris"]

#: Gyr; Vickers, Shen & Li (2021), section 2.1.1.
PAPER_AGES = np.concatenate([np.arange(1.0, 5.01, 0.25), np.arange(5.5, 14.51, 0.5)])
_YOUNG_AGES = np.array([0.25, 0.5, 0.75])
METHODS = ("fine", "paper")
FEH_SCALES = ("surface", "initial")
_MAX_BRIDGE = 1.0  # mag between neighbouring points of a giant: a jump to the next phase


def salaris(alpha: ArrayLike) -> NDArray[np.float64]:
    """Return what to add to [Fe/H] for an α-enhanced mixture (dex)."""
    return np.log10(0.638 * 10.0 ** np.asarray(alpha, dtype=np.float64) + 0.362)


@dataclass(frozen=True, eq=False)
class WorkingGrid:
    """Isochrones ready for the kernels.

    Parameters
    ----------
    ages, feh, alpha : numpy.ndarray
        Nodes: Gyr, dex on the observed scale, dex.
    points : numpy.ndarray
        float32, shape ``(age, feh, alpha, eep, 5)``: T_eff, log g, M_G, BP−RP, and the fraction of
        stars born between this point and the next. Outside an isochrone the last value is repeated
        and the fraction is 0.
    mass : numpy.ndarray
        float32, shape ``(age, feh, alpha, eep)``: initial mass, solar.
    first, last : numpy.ndarray
        int32, shape ``(age, feh, alpha)``: first and last point of each isochrone.
    salaris : bool
        The [α/Fe] axis is a single node and [Fe/H] stands for total metallicity.
    attrs : mapping
        Provenance, as text.
    """

    ages: NDArray[np.float64]
    feh: NDArray[np.float64]
    alpha: NDArray[np.float64]
    points: NDArray[np.float32]
    mass: NDArray[np.float32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    salaris: bool
    attrs: Mapping[str, str] = field(default_factory=dict)


def build_grid(
    source: str | IsochroneSource,
    *,
    method: Literal["fine", "paper"] = "fine",
    ages: ArrayLike | None = None,
    feh_step: float | None = None,
    alpha_step: float | None = None,
    feh_scale: Literal["surface", "initial"] = "surface",
) -> WorkingGrid:
    """Build (or fetch, if built before in this process) a working grid.

    Parameters
    ----------
    source : str or IsochroneSource
        What `load_source` takes, or its result.
    method : {"fine", "paper"}
        ``paper``: 1-14.5 Gyr, [Fe/H] −2.4…+0.5 by 0.1, [α/Fe] −0.2…+0.8 by 0.2, inside the source.
        ``fine``: the same ages and 0.25, 0.5, 0.75 Gyr where the source reaches them, and the
        source's own [Fe/H] and [α/Fe] nodes.
    ages : array-like, optional
        Age nodes, Gyr, instead of the method's.
    feh_step, alpha_step : float, optional
        Regular nodes instead of the method's, dex. The ``fine`` kernel needs none.
    feh_scale : {"surface", "initial"}
        What the observed [Fe/H] is compared with; see the module's text.

    Raises
    ------
    IsochroneError
        Where an option is unknown or an age is outside the source.
    """
    for what, value, valid in (
        ("method", method, METHODS),
        ("feh_scale", feh_scale, FEH_SCALES),
    ):
        if value not in valid:
            raise IsochroneError(f"unknown isochrone {what} '{value}': {suggest(value, valid)}")
    if isinstance(source, str):
        source = load_source(source)
    wanted = None if ages is None else tuple(float(a) for a in np.atleast_1d(np.asarray(ages)))
    return _build(source, method, wanted, feh_step, alpha_step, feh_scale)


@lru_cache(maxsize=6)
def _build(
    source: IsochroneSource,
    method: str,
    ages: tuple[float, ...] | None,
    feh_step: float | None,
    alpha_step: float | None,
    feh_scale: str,
) -> WorkingGrid:
    shift = source.solar_feh_initial if feh_scale == "surface" else 0.0
    nodes = _age_nodes(source, method, ages)
    low, high = source.feh[0] - shift, source.feh[-1] - shift
    if method == "paper":
        feh_step = 0.1 if feh_step is None else feh_step
        alpha_step = 0.2 if alpha_step is None else alpha_step
        low, high = max(low, -2.4), min(high, 0.5)
    feh = source.feh - shift if feh_step is None else _regular(low, high, feh_step)
    alpha_low, alpha_high = (source.alpha[0], source.alpha[-1]) if source.has_alpha else (-0.2, 0.8)
    by_salaris = not source.has_alpha and alpha_step is None
    alpha = source.alpha if alpha_step is None else _regular(alpha_low, alpha_high, alpha_step)
    initial = feh + shift
    by_age = _combine(source.values, _weights(np.log(source.ages), np.log(nodes)), 0)
    columns = []
    for a in alpha:
        if source.has_alpha:
            column = _combine(by_age, _weights(source.alpha, np.array([a])), 2)[:, :, 0]
            targets = initial
        else:
            column = by_age[:, :, 0]
            targets = initial + (0.0 if by_salaris else salaris(a))
        # Past the end of a Salaris axis the outermost isochrone stands in.
        targets = np.clip(targets, source.feh[0], source.feh[-1])
        columns.append(_combine(column, _weights(source.feh, targets), 1))
    values = np.stack(columns, axis=2)
    points, mass, first, last = _ready(values)
    return WorkingGrid(
        ages=nodes,
        feh=np.ascontiguousarray(feh, dtype=np.float64),
        alpha=np.ascontiguousarray(alpha, dtype=np.float64),
        points=points,
        mass=mass,
        first=first,
        last=last,
        salaris=by_salaris,
        attrs={
            "isochrone_source": source.name,
            "isochrone_checksum": source.checksum,
            "isochrone_bands": ", ".join(source.bands),
            "isochrone_note": source.note,
            "age_method": method,
            "feh_scale": feh_scale,
            "feh_initial_minus_observed": f"{shift:.3f}",
            "alpha_treatment": "own axis" if source.has_alpha else "Salaris et al. (1993)",
        },
    )


def _age_nodes(
    source: IsochroneSource, method: str, ages: tuple[float, ...] | None
) -> NDArray[np.float64]:
    low, high = source.ages[0], source.ages[-1]
    if ages is None:
        nodes = PAPER_AGES if method == "paper" else np.concatenate([_YOUNG_AGES, PAPER_AGES])
        return nodes[(nodes >= low * 0.999) & (nodes <= high * 1.001)]
    nodes = np.array(ages, dtype=np.float64)
    if len(nodes) < 2 or np.any(np.diff(nodes) <= 0):
        raise IsochroneError("ages must be two or more, increasing (Gyr)")
    if nodes[0] < low * 0.999 or nodes[-1] > high * 1.001:
        raise IsochroneError(
            f"ages {nodes[0]:g}-{nodes[-1]:g} Gyr reach outside isochrone source '{source.name}', "
            f"which has {low:g}-{high:g} Gyr"
        )
    return nodes


def _regular(low: float, high: float, step: float) -> NDArray[np.float64]:
    """Return the multiples of `step` within the limits."""
    k = np.arange(np.ceil(low / step - 1e-6), np.floor(high / step + 1e-6) + 1)
    return np.round(k * step, 6)


def _weights(axis: NDArray, targets: NDArray) -> NDArray[np.float64]:
    """Return the matrix (target, node) of linear interpolation, snapping to nodes."""
    matrix = np.zeros((len(targets), len(axis)))
    if len(axis) == 1:
        matrix[:, 0] = 1.0
        return matrix
    low = np.clip(np.searchsorted(axis, targets, side="right") - 1, 0, len(axis) - 2)
    t = np.clip((targets - axis[low]) / (axis[low + 1] - axis[low]), 0.0, 1.0)
    t = np.where(t < 1e-3, 0.0, np.where(t > 1 - 1e-3, 1.0, t))
    rows = np.arange(len(targets))
    matrix[rows, low] = 1.0 - t
    matrix[rows, low + 1] += t
    return matrix


def _combine(values: NDArray, matrix: NDArray, axis: int) -> NDArray[np.float32]:
    """Apply an interpolation matrix along an axis; a node of no weight does not spread its NaN."""
    moved = np.moveaxis(values, axis, 0)
    out = np.empty((len(matrix), *moved.shape[1:]), dtype=np.float32)
    for i, row in enumerate(matrix):
        total: NDArray | float = 0.0
        for k in np.flatnonzero(row):
            total = total + row[k] * moved[k]
        out[i] = total
    return np.moveaxis(out, 0, axis)


def _ready(values: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Turn (..., eep, COLUMNS) with NaN ends into points with birth fractions and no NaN."""
    good = np.isfinite(values).all(axis=-1)
    if not good.any(axis=-1).all():
        raise IsochroneError("some node of the isochrone grid has no isochrone: narrow the ages")
    n = good.shape[-1]
    first = good.argmax(axis=-1).astype(np.int32)
    last = (n - 1 - good[..., ::-1].argmax(axis=-1)).astype(np.int32)
    index = np.clip(np.arange(n), first[..., None], last[..., None])
    whole = np.take_along_axis(values, index[..., None], axis=-2)
    mass = np.maximum.accumulate(whole[..., 0].astype(np.float64), axis=-1)
    born = np.zeros(mass.shape)
    born[..., :-1] = np.diff(kroupa_cumulative(mass), axis=-1)
    bridge = (np.abs(np.diff(whole[..., 3], axis=-1)) > _MAX_BRIDGE) & (whole[..., :-1, 2] < 3.0)
    born[..., :-1][bridge] = 0.0
    points = np.concatenate([whole[..., 1:], born[..., None]], axis=-1).astype(np.float32)
    return np.ascontiguousarray(points), mass.astype(np.float32), first, last
