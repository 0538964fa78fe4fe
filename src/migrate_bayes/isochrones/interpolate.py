"""One isochrone of any age and composition, for figures and for looking at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import IsochroneError
from migrate_bayes.isochrones.age_options import FehScale
from migrate_bayes.isochrones.enhancement import salaris
from migrate_bayes.isochrones.grid import DEPLETED, DREDGED
from migrate_bayes.isochrones.sources.base import COLUMNS, IsochroneSource
from migrate_bayes.isochrones.sources.registry import load_source

_LOGG = COLUMNS.index("logg")


def isochrone(
    source: str | IsochroneSource,
    age: float,
    feh: float = 0.0,
    alpha_fe: float = 0.0,
    *,
    feh_scale: FehScale = "surface",
) -> dict[str, NDArray[np.float64]]:
    """Interpolate an isochrone at equal EEP: linear in log age, [Fe/H] and [α/Fe].

    Parameters
    ----------
    source : str or IsochroneSource
        What `load_source` takes, or its result.
    age : float
        Gyr.
    feh, alpha_fe : float
        dex; [Fe/H] on the scale of `feh_scale`, see `build_grid`. A family without an [α/Fe] axis
        is read at the [Fe/H] of equal total metallicity.
    feh_scale : {"surface", "dwarf", "initial"}
        Whose [Fe/H] is given.

    Returns
    -------
    dict
        Arrays of shape (point,), in the order of evolution: ``mass`` (initial, solar), ``teff`` K,
        ``logg``, ``abs_g`` mag, ``bp_rp`` mag.

    Raises
    ------
    IsochroneError
        Where the age or the composition is outside the source.
    """
    if isinstance(source, str):
        source = load_source(source)
    if not source.has_alpha:
        feh, alpha_fe = feh + float(salaris(alpha_fe)), float(source.alpha[0])
    values = _between(source, "age", np.log(source.ages), np.log(max(age, 1e-9)), source.values)
    dwarf, giant = (
        _between(
            source, "[α/Fe]", source.alpha, alpha_fe,
            _between(source, "initial [Fe/H]", source.feh, feh + shift, values),
        )
        for shift in (
            source.solar_feh_initial if feh_scale != "initial" else 0.0,
            source.solar_feh_initial if feh_scale == "dwarf" else 0.0,
        )
    )  # fmt: skip
    # What diffusion has taken from a dwarf's surface, dredge-up has brought back in a giant.
    depleted = np.clip((dwarf[:, _LOGG] - DREDGED) / (DEPLETED - DREDGED), 0.0, 1.0)
    depleted = np.minimum.accumulate(np.where(np.isfinite(depleted), depleted, 1.0))[:, None]
    mixed = np.where(depleted == 1.0, dwarf, depleted * dwarf + (1.0 - depleted) * giant)
    good = np.isfinite(mixed).all(axis=-1)
    return {name: mixed[good, k] for k, name in enumerate(COLUMNS)}


def _between(
    source: IsochroneSource, what: str, axis: NDArray, x: float, values: NDArray
) -> NDArray[np.float64]:
    """Interpolate along the first axis; a node of no weight does not spread its NaN."""
    if not axis[0] - 1e-6 <= x <= axis[-1] + 1e-6:
        raise IsochroneError(
            f"{what} outside isochrone source '{source.name}', which has "
            f"{source.ages[0]:g}-{source.ages[-1]:g} Gyr, initial [Fe/H] {source.feh[0]:+.2f} to "
            f"{source.feh[-1]:+.2f}, [α/Fe] {source.alpha[0]:+.1f} to {source.alpha[-1]:+.1f}"
        )
    if len(axis) == 1:
        return values[0].astype(np.float64)
    i = int(np.clip(np.searchsorted(axis, x, side="right") - 1, 0, len(axis) - 2))
    t = float(np.clip((x - axis[i]) / (axis[i + 1] - axis[i]), 0.0, 1.0))
    if t in (0.0, 1.0):
        return values[i + int(t)].astype(np.float64)
    return (1.0 - t) * values[i].astype(np.float64) + t * values[i + 1].astype(np.float64)
