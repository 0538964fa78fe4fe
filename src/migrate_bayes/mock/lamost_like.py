"""Stars and errors like those of LAMOST, the sample of `benchmark ages`.

A survey's stars are not a fair draw of the mass function, which would be dwarfs alone: the four
classes below are drawn in the shares of a magnitude-limited spectroscopic survey, each from its own
part of the isochrone by the mass function. Ages are uniform; the thick disc is old, enhanced in
[α/Fe] and poor in [Fe/H].
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.isochrones import IsochroneSource, build_grid, draw_stars
from migrate_bayes.mock.instruments import SPECTRUM_ERRORS

ERRORS = {**SPECTRUM_ERRORS, "abs_g": 0.1}
"""Error of each observable: K, dex, dex, dex, mag."""
CLASSES = {
    "dwarf": (4.2, 4.7, 0.45),
    "turn-off": (3.9, 4.2, 0.25),
    "subgiant": (3.4, 3.9, 0.12),
    "giant": (1.0, 3.4, 0.18),
}
"""log g from and to, and share of the stars."""
_TEFF = (4000.0, 7500.0)
_THICK = 0.15
_AGES = (0.5, 13.5)  # Gyr, where the isochrones have them


def lamost_like(source: str | IsochroneSource, n: int, *, seed: int) -> xr.Dataset:
    """Draw `n` stars and observe them.

    Parameters
    ----------
    source : str or IsochroneSource
        Whose isochrones.
    n : int
        Number of stars, after the cuts on what is observed: 4000-7500 K, log g 1-4.7.
    seed : int
        Of NumPy's generator.

    Returns
    -------
    xarray.Dataset
        A catalogue with dim ``star``: the observables, their errors, ``flag``, ``star_key``, and
        the truth as ``true_age`` Gyr and ``star_class`` (the index into `CLASSES`).

    Examples
    --------
    >>> from migrate_bayes.mock import lamost_like
    >>> stars = lamost_like("dartmouth", 20, seed=1)
    >>> stars.sizes["star"], bool((stars["logg"] < 4.7).all())
    (20, True)
    """
    rng = np.random.default_rng(seed)
    grid = build_grid(source)
    found: list[dict[str, NDArray]] = []
    have = 0
    while have < n:
        found.append(_batch(grid, int(1.3 * (n - have)) + 64, rng))
        have += len(found[-1]["teff"])
    columns = {name: np.concatenate([part[name] for part in found])[:n] for name in found[0]}
    columns |= {f"{name}_error": np.full(n, error) for name, error in ERRORS.items()}
    columns["flag"] = np.zeros(n, dtype=np.int32)
    columns["star_key"] = np.arange(n, dtype=np.uint64)
    return xr.Dataset(
        {name: ("star", values) for name, values in columns.items()},
        coords={"source_id": ("star", np.arange(n, dtype=np.int64))},
    )


def _batch(grid: Any, n: int, rng: np.random.Generator) -> dict[str, NDArray]:
    low, high = max(_AGES[0], grid.ages[0]), min(_AGES[1], grid.ages[-1])
    age = rng.uniform(low, high, n)
    thick = rng.random(n) < _THICK
    age = np.where(thick, rng.uniform(min(8.0, high), high, n), age)
    feh = np.where(thick, rng.normal(-0.55, 0.2, n), rng.normal(-0.1, 0.2, n))
    alpha = np.where(thick, rng.normal(0.24, 0.04, n), rng.normal(0.05, 0.03, n))
    which = rng.choice(len(CLASSES), n, p=[share for *_, share in CLASSES.values()])
    uniforms = rng.random(n)
    noise = {name: error * rng.normal(size=n) for name, error in ERRORS.items()}
    true: dict[str, NDArray] = {name: np.full(n, np.nan) for name in ("teff", "logg", "abs_g")}
    for k, (lo, hi, _) in enumerate(CLASSES.values()):
        rows = np.flatnonzero(which == k)
        star = draw_stars(
            grid, age[rows], feh[rows], alpha[rows], uniforms[rows],
            teff_range=_TEFF, logg_range=(lo, hi),
        )  # fmt: skip
        for name in true:
            true[name][rows] = star[name]
    true |= {"feh": feh, "alpha_fe": alpha}
    seen = {name: true[name] + noise[name] for name in ERRORS}
    with np.errstate(invalid="ignore"):
        kept = (seen["teff"] > _TEFF[0]) & (seen["teff"] < _TEFF[1])
        kept &= (seen["logg"] > 1.0) & (seen["logg"] < 4.7)
    seen |= {"true_age": age, "star_class": which.astype(np.int8)}
    return {name: value[kept] for name, value in seen.items()}
