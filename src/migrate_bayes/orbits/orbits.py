"""From a catalogue to orbits: phase space, guiding radii and extrema of every star.

Each star's draws are reduced to means and (co)variances, and the orbit of the mean point is
integrated. A star that cannot have an orbit keeps its row: NaN, and a flag that says why.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.catalog.reader import as_catalog
from migrate_bayes.core.errors import CatalogWarning, OrbitError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag
from migrate_bayes.core.progress import progress
from migrate_bayes.core.units import number
from migrate_bayes.orbits.coordinates import x_sign
from migrate_bayes.orbits.draws import (
    MOTION,
    ZMAX_FLOOR_KPC,
    PotentialStack,
    draw,
    read_kinematics,
)
from migrate_bayes.orbits.extrema import SPAN_GYR, STEPS, TOLERANCE, Extrema, orbit_extrema
from migrate_bayes.orbits.frame import get_frame
from migrate_bayes.orbits.orbit_options import OrbitOptions
from migrate_bayes.orbits.potential import Potential, list_potentials

Floats = NDArray[np.float64]

NEAR_CENTRE_KPC = 0.1
# No star of the Galaxy is guided so far out: its distance or an error of it is wrong.
ABSURD_KPC = 100.0

MOMENTS = (
    ("x", "kpc", "Galactocentric x, towards the centre from the Sun in a right-handed frame"),
    ("y", "kpc", "Galactocentric y, along rotation at the Sun"),
    ("z", "kpc", "height above the plane"),
    ("v_r", "km/s", "cylindrical radial velocity, outwards"),
    ("v_phi", "km/s", "azimuthal velocity, positive for the disc"),
    ("v_z", "km/s", "vertical velocity"),
    ("r_present", "kpc", "present cylindrical radius"),
    ("distance", "kpc", "distance from the Sun"),
)

# Of a star in a potential, in the kernel's order: `Drawn.joint`, then `Extrema`.
JOINT = {
    "rg_mean": ("kpc", "guiding radius: mean over draws"),
    "rg_sd": ("kpc", "guiding radius: sd over draws"),
    "rg_nominal": ("kpc", "guiding radius of the mean phase-space point"),
    "cov_rg_distance": ("kpc2", "covariance of guiding radius and distance over draws"),
    "ln_zmax_mean": ("", "ln(Z_max/kpc): mean over draws"),
    "ln_zmax_sd": ("", "ln(Z_max/kpc): sd over draws"),
    "cov_rg_ln_zmax": ("kpc", "covariance of guiding radius and ln(Z_max/kpc) over draws"),
    "cov_ln_zmax_distance": ("kpc", "covariance of ln(Z_max/kpc) and distance over draws"),
}
EXTREMA = {
    "zmax": ("kpc", "largest height of the orbit of the mean phase-space point"),
    "r_peri": ("kpc", "pericentre (spherical) of the mean point's orbit"),
    "r_apo": ("kpc", "apocentre (spherical) of the mean point's orbit"),
    "eccentricity": ("", "(r_apo - r_peri)/(r_apo + r_peri)"),
    "zmax_error": ("", "relative numerical error of zmax"),
    "r_peri_error": ("", "relative numerical error of r_peri"),
    "r_apo_error": ("", "relative numerical error of r_apo"),
    "eccentricity_error": ("", "numerical error of eccentricity"),
}
COLUMNS = {
    **JOINT,
    "zmax_sd": ("kpc", "largest height: sd, of the log-normal that ln Z_max's moments imply"),
    **EXTREMA,
}


def compute_orbits(
    catalog: xr.Dataset,
    options: OrbitOptions | None = None,
    *,
    seed: int = 0,
    span: float = SPAN_GYR,
    workers: int | None = None,
    show_progress: bool = True,
    on_stage: Callable[[str, float], None] | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Compute phase space, guiding radii and orbit extrema for a catalogue.

    Parameters
    ----------
    catalog : xarray.Dataset, or what `read_catalog` takes
        Canonical columns: ``ra dec distance``, for orbits ``pmra pmdec radial_velocity``, and
        optionally ``distance_lo distance_hi``, errors and ``*_corr``. Without velocities a star
        has its place and ``r_present`` alone. An error column that is absent counts as
        zero error, and the attribute ``errors_taken_as_zero`` says which were.
    options : OrbitOptions, optional
        Frame, potentials and number of draws.
    seed : int
        Together with each star's ``star_key`` and the draw, all that random numbers depend on.
    span : float
        Time of integration, Gyr.
    workers : int, optional
        Threads.
    show_progress : bool
        Show bars on stderr.
    on_stage : callable, optional
        Called with each stage's label ("draws", "Z_max ...") and the seconds it took.
    **settings
        Entries of `OrbitOptions` by name; they override `options`.

    Returns
    -------
    xarray.Dataset
        Dims `star`, `potential` (with coordinates ``potential_model scaling r0 v0``); means and
        standard deviations of phase space and distance, `rg_*`, `zmax`, `ln_zmax_*`, their
        covariances, `r_peri`, `r_apo`, `eccentricity`, numerical errors, and `flag` (the bits of
        this stage only).

    Raises
    ------
    CatalogError
        If the catalogue has no positions or no distances.
    RecipeError
        If a setting is unknown or invalid.
    OrbitError
        If a frame or potential is unknown or impossible.

    Examples
    --------
    >>> import xarray as xr
    >>> from migrate_bayes.orbits import compute_orbits
    >>> sky = {"ra": 10.0, "dec": 20.0, "pmra": 5.0, "pmdec": -8.0, "radial_velocity": 12.0}
    >>> columns = {name: ("star", [value]) for name, value in (sky | {"distance": 0.5}).items()}
    >>> catalog = xr.Dataset(columns | {"star_key": ("star", [1])})
    >>> orbits = compute_orbits(
    ...     catalog, potentials=["MWPotential2014"], draws=10, show_progress=False
    ... )
    >>> orbits["rg_mean"].values.round(2), orbits["zmax"].values.round(2)
    (array([[8.6]]), array([[0.44]]))
    """
    catalog = as_catalog(catalog)
    span = number(span, "Gyr", "span")
    o = OrbitOptions.of(options, settings)
    if o.zmax_draws == 1 or o.zmax_draws > o.draws:
        raise OrbitError(
            f"zmax_draws must be 0, or from 2 to draws ({o.draws}), not {o.zmax_draws}"
        )
    if not 0 <= seed < 2**64:
        raise OrbitError(f"seed must be from 0 to 2**64 - 1, not {seed}")
    solar, potentials = get_frame(o.frame), list_potentials(o)
    known = {p.name for p in potentials.values()} | set(potentials)
    chosen = known if o.zmax_potentials is None else set(o.zmax_potentials)
    for name in chosen - known:
        raise OrbitError(f"Z_max asked in '{name}', not computed: {suggest(name, known)}")
    heights = [p.name in chosen or label in chosen for label, p in potentials.items()]
    stars, flag, absent = read_kinematics(catalog)
    without = [name for name in MOTION if name not in catalog]
    if without:
        warnings.warn(
            f"the catalogue has no {', '.join(without)}: stars have their places (r_present), "
            "no orbits and no guiding radii",
            CatalogWarning,
            stacklevel=2,
        )
    n, usable = stars.usable.size, np.flatnonzero(stars.moving)
    kept = o.zmax_draws if any(heights) else 0
    columns = {name: np.full((n, len(potentials)), np.nan) for name in COLUMNS}
    entries = list(potentials.items())

    @contextmanager
    def bar(total: int, label: str, unit: str) -> Iterator[Callable[[int], None] | None]:
        began = time.perf_counter()
        with progress(total, label, unit=unit) if show_progress else nullcontext() as advance:
            yield advance
        if on_stage is not None:
            on_stage(label, time.perf_counter() - began)

    for frame in dict.fromkeys([solar, *(p.frame for p in potentials.values())]):
        members = [k for k, (_, p) in enumerate(entries) if p.frame == frame]
        stack = PotentialStack.of([entries[k][1] for k in members], [heights[k] for k in members])
        with bar(n, "draws", "stars") as on_done:
            drawn = draw(
                stars, frame, stack,
                seed=seed, draws=o.draws, kept=kept, workers=workers, on_done=on_done,
            )  # fmt: skip
        # A star without velocities has a place and no more.
        still = stars.usable & ~stars.moving
        drawn.joint[still] = np.nan
        drawn.bad_covariance[still] = False
        for moments in (drawn.mean, drawn.sd):
            moments[still, 3:6] = np.nan
        if frame == solar:
            mean, sd = drawn.mean, drawn.sd
            add_flag(flag, drawn.bad_covariance, StarFlag.BAD_COVARIANCE)
        for j, k in enumerate(members):
            for place, name in enumerate(JOINT):
                columns[name][:, k] = drawn.joint[:, j, place]
            add_flag(flag, columns["rg_nominal"][:, k] < NEAR_CENTRE_KPC, StarFlag.NEAR_CENTRE)
            far = np.fmax(columns["rg_mean"][:, k], columns["rg_sd"][:, k]) > ABSURD_KPC
            add_flag(flag, far, StarFlag.ABSURD_RADIUS)
            if not heights[k]:
                continue
            label, potential = entries[k]
            with bar(usable.size * (1 + kept), f"Z_max {label}", "orbits") as on_done:
                R, v_r, v_phi, z, v_z = np.moveaxis(drawn.points[usable], -1, 0)
                extrema = orbit_extrema(
                    R, v_r, v_phi, z, v_z, potential, span=span, workers=workers, on_done=on_done
                )
            of_potential = {name: column[:, k] for name, column in columns.items()}
            _fill(of_potential, extrema, drawn.kept[usable][:, :, [0, 1 + j]], usable, flag)

    add_flag(flag, stars.moving & (mean[:, 4] <= 0), StarFlag.RETROGRADE)
    add_flag(flag, mean[:, 6] < NEAR_CENTRE_KPC, StarFlag.NEAR_CENTRE)
    mean[:, 0] *= x_sign(solar.handedness)
    dataset = _dataset(mean, sd, columns, flag, potentials)
    if "source_id" in catalog.variables:
        dataset = dataset.assign_coords(source_id=("star", catalog["source_id"].values))
    integrated = [label for label, wanted in zip(potentials, heights, strict=True) if wanted]
    dataset.attrs = {
        "solar_frame": json.dumps(solar.as_dict()),
        "scaling": o.scaling,
        "potential_units_kpc_kms": json.dumps({label: p.units for label, p in entries}),
        "draws": o.draws,
        "zmax_draws": kept,
        "ln_zmax_moments": "integrated draws" if kept else "Staeckel differences, all draws",
        "zmax_potentials": json.dumps(integrated),
        "span_gyr": span,
        "steps": STEPS,
        "tolerance": TOLERANCE,
        "seed": seed,
        "errors_taken_as_zero": json.dumps(absent),
        "velocities": "none" if without else "known",
        "convention": f"{solar.handedness}-handed axes, Sun at "
        f"{'positive' if solar.handedness == 'left' else 'negative'} x; "
        "v_phi and L_z positive for the disc",
    }
    return dataset


def _fill(
    columns: Mapping[str, Floats], extrema: Extrema, kept: Floats, usable: NDArray, flag: NDArray
) -> None:
    """Fill one potential's columns (star) from its orbits (usable, 1 + kept), and set flags.

    `kept`: distance and R_g of the kept draws (usable, kept, 2).
    """
    for name in EXTREMA:
        columns[name][usable] = getattr(extrema, name)[:, 0]
    zmax = extrema.zmax[:, 0]
    none = np.isnan(zmax)
    with np.errstate(invalid="ignore", divide="ignore"):
        if kept.shape[1]:
            heights = np.log(np.maximum(extrema.zmax[:, 1:], ZMAX_FLOOR_KPC))
            for name, values in _kept_moments(heights, kept[:, :, 1], kept[:, :, 0]).items():
                columns[name][usable] = values
        else:
            shift = columns["ln_zmax_mean"][usable]
            columns["ln_zmax_mean"][usable] = np.log(np.maximum(zmax, ZMAX_FLOOR_KPC)) + shift
        for name in ("ln_zmax_mean", "ln_zmax_sd", "cov_rg_ln_zmax", "cov_ln_zmax_distance"):
            columns[name][usable[none]] = np.nan
        m, s = columns["ln_zmax_mean"][usable], columns["ln_zmax_sd"][usable]
        columns["zmax_sd"][usable] = np.exp(m + 0.5 * s**2) * np.sqrt(np.expm1(s**2))
    unbound = extrema.unbound[:, 0]
    unsure = extrema.failed[:, 0] | extrema.inexact[:, 0] | (~unbound & np.isnan(m + s))
    near = extrema.r_peri[:, 0] < NEAR_CENTRE_KPC
    flag[usable[unbound]] |= StarFlag.UNBOUND
    flag[usable[near]] |= StarFlag.NEAR_CENTRE
    flag[usable[unsure]] |= StarFlag.ZMAX_FAILED


def _kept_moments(ln_zmax: Floats, rg: Floats, distance: Floats) -> dict[str, Floats]:
    """Moments over the draws (star, draw) that have an orbit, at least two of them."""
    good = np.isfinite(ln_zmax)
    count = good.sum(axis=1)

    def centred(values: Floats) -> Floats:
        values = np.where(good, values, 0.0)
        return np.where(good, values - (values.sum(axis=1) / count)[:, None], 0.0)

    z, r, d = centred(ln_zmax), centred(rg), centred(distance)
    number = np.where(count > 1, count, np.nan)
    enough = number - 1.0
    return {
        "ln_zmax_mean": np.where(good, ln_zmax, 0.0).sum(axis=1) / number,
        "ln_zmax_sd": np.sqrt((z * z).sum(axis=1) / enough),
        "cov_rg_ln_zmax": (z * r).sum(axis=1) / enough,
        "cov_ln_zmax_distance": (z * d).sum(axis=1) / enough,
    }


def _dataset(
    mean: Floats,
    sd: Floats,
    columns: Mapping[str, Floats],
    flag: NDArray[np.int32],
    potentials: Mapping[str, Potential],
) -> xr.Dataset:
    """Name the arrays: moments (star, 8) of `MOMENTS`, columns (star, potential), flags (star)."""
    variables: dict[str, Any] = {}
    for m, (name, unit, meaning) in enumerate(MOMENTS):
        # `distance` itself is the catalogue's.
        own = "distance_mean" if name == "distance" else name
        for stem, values, moment in ((own, mean, "mean"), (f"{name}_sd", sd, "sd")):
            attrs = {"units": unit, "long_name": f"{meaning}: {moment} over draws"}
            variables[stem] = ("star", values[:, m], attrs)
    for name, (unit, meaning) in COLUMNS.items():
        attrs = {"units": unit, "long_name": meaning}
        variables[name] = (("star", "potential"), columns[name], attrs)
    variables["flag"] = ("star", flag, {"units": "", "long_name": "bits of StarFlag"})
    made = potentials.values()
    coords: dict[str, Any] = {
        "potential": list(potentials),
        "potential_model": ("potential", [p.name for p in made]),
        "scaling": ("potential", [p.scaling for p in made]),
        "r0": ("potential", [p.frame.r0 for p in made], {"units": "kpc"}),
        "v0": ("potential", [p.frame.v0 for p in made], {"units": "km/s"}),
    }
    return xr.Dataset(variables, coords=coords)
