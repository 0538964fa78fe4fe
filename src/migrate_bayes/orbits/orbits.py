"""From a catalogue to orbits: phase space, guiding radii and extrema of every star.

`compute_orbits` draws each star's mock observations, reduces them to means and standard deviations,
and integrates the orbit of the mean point and of the first few draws in each potential asked for.
A star that cannot have an orbit keeps its row: NaN, and a flag that says why.
"""

from __future__ import annotations

__all__ = ["compute_orbits"]

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.errors import OrbitError, suggest
from migrate_bayes.flags import StarFlag, add_flag
from migrate_bayes.orbits.coordinates import transform_arrays
from migrate_bayes.orbits.draws import N_MOMENTS, draw_block
from migrate_bayes.orbits.extrema import SPAN_GYR, STEPS, TOLERANCE, orbit_extrema
from migrate_bayes.orbits.frame import SolarFrame, get_frame
from migrate_bayes.orbits.inputs import Kinematics, read_kinematics
from migrate_bayes.orbits.potentials import POTENTIALS, natural_units
from migrate_bayes.orbits.tables import potential_table, rotation_table
from migrate_bayes.parallel import map_blocks
from migrate_bayes.progress import progress

Floats = NDArray[np.float64]

DRAW_BLOCK = 4096
NEAR_CENTRE_KPC = 0.1
# ln Z_max of an orbit in the plane is minus infinity: no star is known to lie nearer than this.
ZMAX_FLOOR_KPC = 1e-4

_MOMENTS = (
    ("x", "kpc", "Galactocentric x, towards the centre from the Sun (Sun at negative x)"),
    ("y", "kpc", "Galactocentric y, along rotation at the Sun"),
    ("z", "kpc", "height above the plane"),
    ("v_r", "km/s", "cylindrical radial velocity, outwards"),
    ("v_phi", "km/s", "azimuthal velocity, positive for the disc"),
    ("v_z", "km/s", "vertical velocity"),
    ("r_present", "kpc", "present cylindrical radius"),
)


def _zmax_potentials(zmax: bool | Iterable[str], potentials: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(zmax, bool):
        return potentials if zmax else ()
    wanted = (zmax,) if isinstance(zmax, str) else tuple(zmax)
    for name in wanted:
        if name not in potentials:
            raise OrbitError(f"Z_max asked in '{name}', not computed: {suggest(name, potentials)}")
    return wanted


@contextmanager
def _bar(
    total: int, label: str, unit: str, *, show: bool
) -> Iterator[Callable[[int], None] | None]:
    if not show:
        yield None
        return
    with progress(total, label, unit=unit) as advance:
        yield advance


def _draw(
    kinematics: Kinematics,
    frame: SolarFrame,
    units: Floats,
    potentials: tuple[str, ...],
    *,
    draws: int,
    kept: int,
    seed: int,
    workers: int | None,
    show_progress: bool,
) -> dict[str, Any]:
    n, p = kinematics.usable.size, len(potentials)
    tables = [rotation_table(name) for name in potentials]
    starts = np.array([[table.ln_l0, table.step] for table in tables]).reshape(p, 2)
    ln_r, slope = np.stack([t.ln_r for t in tables]), np.stack([t.slope for t in tables])
    results = {name: np.full((n, N_MOMENTS), np.nan) for name in ("mean", "sd")}
    results |= {name: np.full((n, p), np.nan) for name in ("rg_mean", "rg_sd", "rg_nominal")}
    results["points"] = np.full((n, 1 + kept, 5), np.nan)
    bad = np.zeros(n, dtype=np.bool_)
    k = kinematics
    inputs = (k.observed, k.sigma, k.correlation, k.distance_sd, k.key, k.usable)
    transform = transform_arrays(frame)

    def run(start: int, stop: int) -> None:
        part = slice(start, stop)
        draw_block(
            *(array[part] for array in inputs), np.uint64(seed), draws, kept,
            *transform, units, starts, ln_r, slope,
            *(array[part] for array in results.values()), bad[part],
        )  # fmt: skip

    with _bar(n, "draws", "stars", show=show_progress) as on_done:
        map_blocks(run, n, DRAW_BLOCK, workers=workers, on_done=on_done)
    return {**results, "bad_covariance": bad}


def _variables(moments: Mapping[str, Any], per_potential: Mapping[str, Any]) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for m, (name, unit, meaning) in enumerate(_MOMENTS):
        for suffix, key, words in (("", "mean", "mean over draws"), ("_sd", "sd", "sd over draws")):
            attrs = {"units": unit, "long_name": f"{meaning}: {words}"}
            variables[name + suffix] = ("star", moments[key][:, m], attrs)
    meanings = {
        "rg_mean": ("kpc", "guiding radius: mean over draws"),
        "rg_sd": ("kpc", "guiding radius: sd over draws"),
        "rg_nominal": ("kpc", "guiding radius of the mean phase-space point"),
        "zmax": ("kpc", "largest height of the orbit of the mean phase-space point"),
        "zmax_sd": ("kpc", "largest height: sd over draws"),
        "ln_zmax_mean": ("", "ln(Z_max/kpc): mean over draws"),
        "ln_zmax_sd": ("", "ln(Z_max/kpc): sd over draws"),
        "zmax_error": ("", "relative numerical error of zmax, from the energy error"),
        "r_peri": ("kpc", "pericentre (spherical) of the mean point's orbit"),
        "r_apo": ("kpc", "apocentre (spherical) of the mean point's orbit"),
        "eccentricity": ("", "(r_apo - r_peri)/(r_apo + r_peri)"),
    }
    for name, values in per_potential.items():
        unit, meaning = meanings[name]
        attrs = {"units": unit, "long_name": meaning}
        variables[name] = (("star", "potential"), values, attrs)
    return variables


def compute_orbits(
    catalog: xr.Dataset,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
    potentials: Iterable[str] = tuple(POTENTIALS),
    scaling: str = "rescaled",
    draws: int = 100,
    zmax_draws: int = 8,
    seed: int = 0,
    zmax: bool | Iterable[str] = True,
    span: float = SPAN_GYR,
    workers: int | None = None,
    show_progress: bool = True,
) -> xr.Dataset:
    """Compute phase space, guiding radii and orbit extrema for a catalogue.

    Parameters
    ----------
    catalog : Dataset
        Canonical columns: ``ra dec pmra pmdec radial_velocity distance`` and, where there,
        ``distance_lo distance_hi``, errors and ``*_corr``. An error column that is absent counts as
        zero error, and the attribute ``errors_taken_as_zero`` says which were.
    frame : str, SolarFrame or mapping
        See `get_frame`.
    potentials : iterable of str
        Names; see `migrate_bayes.orbits.potentials`.
    scaling : {"rescaled", "native"}
        Whether the frame's (R₀, V₀) set each potential's units, or its own.
    draws : int
        Mock observations per star, at least 2.
    zmax_draws : int
        How many of them have their orbit integrated, beside the mean point: 0, or 2 to `draws`.
    seed : int
        Together with each star's ``star_key`` and the draw, all that random numbers depend on.
    zmax : bool or iterable of str
        Whether, or in which potentials, to integrate orbits. Elsewhere the extrema are NaN, and
        whether the star is bound is not asked.
    span : float
        Time of integration, Gyr.
    workers : int, optional
        Threads.
    show_progress : bool
        Show bars on stderr.

    Returns
    -------
    Dataset
        Dims `star`, `potential`; means and standard deviations of phase space, `rg_*`, `zmax`,
        `ln_zmax_*`, `r_peri`, `r_apo`, `eccentricity` and `flag` (the bits of this stage only).

    Raises
    ------
    CatalogError
        Where the catalogue lacks a column that no orbit can do without.
    OrbitError
        Where a frame, potential or setting is unknown or impossible.
    """
    solar = get_frame(frame)
    names = (potentials,) if isinstance(potentials, str) else tuple(potentials)
    if not names or len(set(names)) != len(names):
        raise OrbitError("potentials: name at least one, each once")
    integrated = _zmax_potentials(zmax, names)
    if draws < 2:
        raise OrbitError(f"draws must be at least 2, not {draws}")
    if not (zmax_draws == 0 or 2 <= zmax_draws <= draws):
        raise OrbitError(f"zmax_draws must be 0, or from 2 to draws ({draws}), not {zmax_draws}")
    if not 0 <= seed < 2**64:
        raise OrbitError(f"seed must be from 0 to 2**64 - 1, not {seed}")
    units = np.array([natural_units(name, solar, scaling) for name in names])
    kinematics = read_kinematics(catalog)
    kept = zmax_draws if integrated else 0
    drawn = _draw(
        kinematics, solar, units, names,
        draws=draws, kept=kept, seed=seed, workers=workers, show_progress=show_progress,
    )  # fmt: skip

    n = kinematics.usable.size
    flag = kinematics.flag.copy()
    add_flag(flag, drawn["bad_covariance"], StarFlag.BAD_COVARIANCE)
    radius, v_phi = drawn["mean"][:, 6], drawn["mean"][:, 4]
    add_flag(flag, kinematics.usable & (v_phi <= 0), StarFlag.RETROGRADE)
    add_flag(flag, radius < NEAR_CENTRE_KPC, StarFlag.NEAR_CENTRE)

    columns = {key: drawn[key] for key in ("rg_mean", "rg_sd", "rg_nominal")}
    for key in ("zmax", "zmax_sd", "ln_zmax_mean", "ln_zmax_sd", "zmax_error"):
        columns[key] = np.full((n, len(names)), np.nan)
    for key in ("r_peri", "r_apo", "eccentricity"):
        columns[key] = np.full((n, len(names)), np.nan)

    usable = np.flatnonzero(kinematics.usable)
    points = drawn["points"][usable]
    for name in integrated:
        potential_table(name)  # built before the bar starts, so that its rate means something
        start = tuple(points[:, :, k] for k in range(5))
        with _bar(start[0].size, f"Z_max {name}", "orbits", show=show_progress) as on_done:
            extrema = orbit_extrema(
                start[0], start[1], start[2], start[3], start[4], name,
                frame=solar, scaling=scaling, span=span, workers=workers, on_done=on_done,
            )  # fmt: skip
        p = names.index(name)
        for key in ("zmax", "zmax_error", "r_peri", "r_apo", "eccentricity"):
            columns[key][usable, p] = getattr(extrema, key)[:, 0]
        unbound, failed = extrema.unbound[:, 0], extrema.failed[:, 0]
        near = extrema.r_peri[:, 0] < NEAR_CENTRE_KPC
        add_flag(flag, _scatter(n, usable, near), StarFlag.NEAR_CENTRE)
        add_flag(flag, _scatter(n, usable, unbound), StarFlag.UNBOUND)
        if kept:
            moments = _zmax_moments(extrema.zmax[:, 1:])
            for key, values in moments.items():
                columns[key][usable, p] = np.where(unbound, np.nan, values)
            failed |= ~unbound & ~np.isfinite(moments["ln_zmax_sd"])
        add_flag(flag, _scatter(n, usable, failed), StarFlag.ZMAX_FAILED)

    variables = _variables(drawn, columns)
    variables["flag"] = ("star", flag, {"units": "", "long_name": "bits of StarFlag"})
    coords: dict[str, Any] = {"potential": list(names)}
    if "source_id" in catalog.variables:
        coords["source_id"] = ("star", catalog["source_id"].values)
    attrs = {
        "solar_frame": json.dumps(solar.as_dict()),
        "scaling": scaling,
        "potential_units_kpc_kms": json.dumps(dict(zip(names, units.tolist(), strict=True))),
        "draws": draws,
        "zmax_draws": kept,
        "zmax_potentials": json.dumps(list(integrated)),
        "span_gyr": span,
        "steps": STEPS,
        "tolerance": TOLERANCE,
        "seed": seed,
        "errors_taken_as_zero": json.dumps(list(kinematics.absent_errors)),
        "convention": "right-handed axes, Sun at negative x; v_phi and L_z positive for the disc",
    }
    return xr.Dataset(variables, coords=coords, attrs=attrs)


def _scatter(n: int, rows: NDArray[np.intp], values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask = np.zeros(n, dtype=bool)
    mask[rows] = values
    return mask


def _zmax_moments(zmax: Floats) -> dict[str, Floats]:
    """Moments over the draws (star, draw) that have an orbit, at least two of them."""
    good = np.isfinite(zmax)
    count = good.sum(axis=1)

    def moments(values: Floats) -> tuple[Floats, Floats]:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(good, values, 0.0).sum(axis=1) / count
            square = np.where(good, values - mean[:, None], 0.0) ** 2
            sd = np.sqrt(square.sum(axis=1) / (count - 1))
        return np.where(count > 1, mean, np.nan), np.where(count > 1, sd, np.nan)

    filled = np.where(good, zmax, 1.0)
    ln_mean, ln_sd = moments(np.log(np.maximum(filled, ZMAX_FLOOR_KPC)))
    return {"zmax_sd": moments(filled)[1], "ln_zmax_mean": ln_mean, "ln_zmax_sd": ln_sd}
