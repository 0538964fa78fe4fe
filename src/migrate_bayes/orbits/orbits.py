"""From a catalogue to orbits: phase space, guiding radii and extrema of every star.

`compute_orbits` draws each star's mock observations, reduces them to means and (co)variances, and
integrates the orbit of the mean point in each potential asked for. ln Z_max of a draw is that of
the integrated orbit plus a Stäckel difference (`staeckel`), unless its own integration is asked
for. A star that cannot have an orbit keeps its row: NaN, and a flag that says why.
"""

from __future__ import annotations

__all__ = ["compute_orbits"]

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.core.errors import OrbitError, suggest
from migrate_bayes.core.flags import StarFlag, add_flag
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.progress import progress
from migrate_bayes.orbits.coordinates import transform_arrays, x_sign
from migrate_bayes.orbits.draws import N_JOINT, N_MOMENTS, ZMAX_FLOOR_KPC, draw_block
from migrate_bayes.orbits.extrema import SPAN_GYR, STEPS, TOLERANCE, orbit_extrema
from migrate_bayes.orbits.frame import SolarFrame, get_frame
from migrate_bayes.orbits.kinematics import Kinematics, read_kinematics
from migrate_bayes.orbits.potential import POTENTIALS
from migrate_bayes.orbits.potential_tables import potential_table, rotation_table
from migrate_bayes.orbits.product import build_dataset
from migrate_bayes.orbits.sweep import Variant, make_variants

Floats = NDArray[np.float64]

DRAW_BLOCK = 2048
NEAR_CENTRE_KPC = 0.1

# Columns (star, potential), and where `draws` puts those it knows.
_JOINT = {
    "rg_mean": 0, "rg_sd": 1, "rg_nominal": 2, "cov_rg_distance": 3,
    "ln_zmax_mean": 4, "ln_zmax_sd": 5, "cov_rg_ln_zmax": 6, "cov_ln_zmax_distance": 7,
}  # fmt: skip
_EXTREMA = (
    "zmax", "r_peri", "r_apo", "eccentricity",
    "zmax_error", "r_peri_error", "r_apo_error", "eccentricity_error",
)  # fmt: skip


def _with_heights(zmax: bool | Iterable[str], variants: Sequence[Variant]) -> list[bool]:
    if isinstance(zmax, bool):
        return [zmax] * len(variants)
    wanted = {zmax} if isinstance(zmax, str) else set(zmax)
    known = {v.potential for v in variants} | {v.label for v in variants}
    for name in wanted - known:
        raise OrbitError(f"Z_max asked in '{name}', not computed: {suggest(name, known)}")
    return [v.potential in wanted or v.label in wanted for v in variants]


OnStage = Callable[[str, float], None]


@contextmanager
def _bar(
    total: int, label: str, unit: str, *, show: bool, on_stage: OnStage | None
) -> Iterator[Callable[[int], None] | None]:
    began = time.perf_counter()
    if show:
        with progress(total, label, unit=unit) as advance:
            yield advance
    else:
        yield None
    if on_stage is not None:
        on_stage(label, time.perf_counter() - began)


def _draw(
    kinematics: Kinematics,
    frame: SolarFrame,
    variants: Sequence[Variant],
    heights: Sequence[bool],
    *,
    draws: int,
    kept: int,
    seed: int,
    workers: int | None,
    show_progress: bool,
    on_stage: OnStage | None,
) -> dict[str, Any]:
    """Run the draws in one solar frame, with the variants that share it (there may be none)."""
    n, p = kinematics.usable.size, len(variants)
    units = np.array([v.units for v in variants]).reshape(p, 2)
    rotation = [rotation_table(v.potential) for v in variants]
    starts = np.array([[table.ln_l0, table.step] for table in rotation]).reshape(p, 2)
    wanted = np.array(heights, dtype=np.bool_)
    # Only what is asked for is built: a table of forces takes longer than all the rest.
    spline = [potential_table(v.potential) for v, w in zip(variants, heights, strict=True) if w]
    some = spline[0] if spline else None
    chosen = iter(spline)
    full = [next(chosen) if w else some for w in heights]

    def stack(arrays: list[Floats], dims: int) -> Floats:
        return np.stack(arrays) if arrays else np.zeros((p,) + (4,) * dims)

    tables = (
        stack([t.ln_r for t in rotation], 1),
        stack([t.slope for t in rotation], 1),
        stack([t.coefficients for t in full if t], 2),
        stack([t.shape for t in full if t], 1),
    )
    results = {name: np.full((n, N_MOMENTS), np.nan) for name in ("mean", "sd")}
    results["joint"] = np.full((n, p, N_JOINT), np.nan)
    results["points"] = np.full((n, 1 + kept, 5), np.nan)
    results["kept"] = np.full((n, kept, 1 + p), np.nan)
    bad = np.zeros(n, dtype=np.bool_)
    k = kinematics
    inputs = (k.observed, k.sigma, k.correlation, k.distance_sd, k.key, k.usable)
    transform = transform_arrays(frame)

    def run(start: int, stop: int) -> None:
        part = slice(start, stop)
        draw_block(
            *(array[part] for array in inputs), np.uint64(seed), draws, kept,
            *transform, units, starts, *tables, wanted,
            *(array[part] for array in results.values()), bad[part],
        )  # fmt: skip

    with _bar(n, "draws", "stars", show=show_progress, on_stage=on_stage) as on_done:
        map_blocks(run, n, DRAW_BLOCK, workers=workers, on_done=on_done)
    return {**results, "bad_covariance": bad}


def _check(draws: int, zmax_draws: int, seed: int) -> None:
    if draws < 2:
        raise OrbitError(f"draws must be at least 2, not {draws}")
    if not (zmax_draws == 0 or 2 <= zmax_draws <= draws):
        raise OrbitError(f"zmax_draws must be 0, or from 2 to draws ({draws}), not {zmax_draws}")
    if not 0 <= seed < 2**64:
        raise OrbitError(f"seed must be from 0 to 2**64 - 1, not {seed}")


def compute_orbits(
    catalog: xr.Dataset,
    *,
    frame: str | SolarFrame | Mapping[str, Any] = "vickers2021",
    potentials: Iterable[str] = tuple(POTENTIALS),
    scaling: str = "rescaled",
    sweep: Mapping[str, Any] | None = None,
    draws: int = 100,
    zmax_draws: int = 0,
    seed: int = 0,
    zmax: bool | Iterable[str] = True,
    span: float = SPAN_GYR,
    workers: int | None = None,
    show_progress: bool = True,
    on_stage: OnStage | None = None,
) -> xr.Dataset:
    """Compute phase space, guiding radii and orbit extrema for a catalogue.

    Parameters
    ----------
    catalog : Dataset
        Canonical columns: ``ra dec pmra pmdec radial_velocity distance`` and, where there,
        ``distance_lo distance_hi``, errors and ``*_corr``. An error column that is absent counts as
        zero error, and the attribute ``errors_taken_as_zero`` says which were.
    frame : str, SolarFrame or mapping
        See `get_frame`. Phase space (x … r_present) is in this frame.
    potentials : iterable of str
        Names; see `migrate_bayes.orbits.potential`.
    scaling : {"rescaled", "native"}
        Whether the frame's (R₀, V₀) set each potential's units, or its own.
    sweep : mapping, optional
        Arrays ``r0``, ``v0``, ``scaling``: every combination with every potential becomes an entry
        along `potential`, from the same draws. See `migrate_bayes.orbits.sweep`.
    draws : int
        Mock observations per star, at least 2.
    zmax_draws : int
        0: ln Z_max of every draw is that of the mean point's orbit plus a Stäckel difference. From
        2 to `draws`: the orbits of that many draws are integrated instead, each at the price of the
        star's own, and ln Z_max's moments are over these.
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
    on_stage : callable, optional
        Called with each stage's label ("draws", "Z_max ...") and the seconds it took.

    Returns
    -------
    Dataset
        Dims `star`, `potential` (with coordinates ``potential_model scaling r0 v0``); means and
        standard deviations of phase space and distance, `rg_*`, `zmax`, `ln_zmax_*`, their
        covariances, `r_peri`, `r_apo`, `eccentricity`, numerical errors, and `flag` (the bits of
        this stage only).

    Raises
    ------
    CatalogError
        Where the catalogue lacks a column that no orbit can do without.
    OrbitError
        Where a frame, potential or setting is unknown or impossible.
    """
    solar = get_frame(frame)
    variants = make_variants(potentials, solar, scaling, sweep)
    heights = _with_heights(zmax, variants)
    _check(draws, zmax_draws, seed)
    kinematics = read_kinematics(catalog)
    kept = zmax_draws if any(heights) else 0
    n, usable = kinematics.usable.size, np.flatnonzero(kinematics.usable)
    flag = kinematics.flag.copy()
    names = (*_JOINT, "zmax_sd", *_EXTREMA)
    columns = {name: np.full((n, len(variants)), np.nan) for name in names}

    mean, sd = np.empty(0), np.empty(0)
    frames = dict.fromkeys([solar, *(v.frame for v in variants)])
    for here in frames:
        members = [p for p, v in enumerate(variants) if v.frame == here]
        drawn = _draw(
            kinematics, here, [variants[p] for p in members], [heights[p] for p in members],
            draws=draws, kept=kept, seed=seed, workers=workers, show_progress=show_progress,
            on_stage=on_stage,
        )  # fmt: skip
        if here == solar:
            mean, sd = drawn["mean"], drawn["sd"]
            add_flag(flag, drawn["bad_covariance"], StarFlag.BAD_COVARIANCE)
        for k, p in enumerate(members):
            joint = drawn["joint"][:, k]
            for name, place in _JOINT.items():
                columns[name][:, p] = joint[:, place]
            near = joint[:, _JOINT["rg_nominal"]] < NEAR_CENTRE_KPC
            add_flag(flag, near, StarFlag.NEAR_CENTRE)
            if heights[p]:
                own = (drawn["points"][usable], drawn["kept"][usable][:, :, [0, 1 + k]])
                settings: dict[str, Any] = {
                    "span": span, "workers": workers,
                    "show_progress": show_progress, "on_stage": on_stage,
                }  # fmt: skip
                _orbits(variants[p], own, usable, columns, p, flag, **settings)

    add_flag(flag, kinematics.usable & (mean[:, 4] <= 0), StarFlag.RETROGRADE)
    add_flag(flag, mean[:, 6] < NEAR_CENTRE_KPC, StarFlag.NEAR_CENTRE)
    mean[:, 0] *= x_sign(solar.handedness)
    dataset = build_dataset(mean, sd, columns, flag, variants)
    if "source_id" in catalog.variables:
        dataset = dataset.assign_coords(source_id=("star", catalog["source_id"].values))
    dataset.attrs = {
        "solar_frame": json.dumps(solar.as_dict()),
        "scaling": scaling,
        "potential_units_kpc_kms": json.dumps({v.label: v.units for v in variants}),
        "draws": draws,
        "zmax_draws": kept,
        "ln_zmax_moments": "integrated draws" if kept else "Staeckel differences, all draws",
        "zmax_potentials": json.dumps(
            [v.label for v, wanted in zip(variants, heights, strict=True) if wanted]
        ),
        "span_gyr": span,
        "steps": STEPS,
        "tolerance": TOLERANCE,
        "seed": seed,
        "errors_taken_as_zero": json.dumps(list(kinematics.absent_errors)),
        "convention": f"{solar.handedness}-handed axes, Sun at "
        f"{'positive' if solar.handedness == 'left' else 'negative'} x; "
        "v_phi and L_z positive for the disc",
    }
    return dataset


def _orbits(
    variant: Variant,
    own: tuple[Floats, Floats],
    usable: NDArray[np.intp],
    columns: dict[str, Floats],
    p: int,
    flag: NDArray[np.int32],
    *,
    span: float,
    workers: int | None,
    show_progress: bool,
    on_stage: OnStage | None,
) -> None:
    """Integrate one variant's orbits into column `p` and set its flags.

    `own`: the points (usable, 1 + kept, 5), and of the kept draws distance and R_g (usable, kept,
    2).
    """
    points, kept = own
    n_kept = kept.shape[1]
    start = tuple(points[:, :, k] for k in range(5))
    label = f"Z_max {variant.label}"
    with _bar(start[0].size, label, "orbits", show=show_progress, on_stage=on_stage) as on_done:
        extrema = orbit_extrema(
            start[0], start[1], start[2], start[3], start[4], variant.potential,
            frame=variant.frame, scaling=variant.scaling, span=span, workers=workers,
            on_done=on_done,
        )  # fmt: skip
    for name in _EXTREMA:
        columns[name][usable, p] = getattr(extrema, name)[:, 0]
    zmax = extrema.zmax[:, 0]
    none = np.isnan(zmax)
    with np.errstate(invalid="ignore", divide="ignore"):
        if n_kept:
            heights = np.log(np.maximum(extrema.zmax[:, 1:], ZMAX_FLOOR_KPC))
            for name, values in _kept_moments(heights, kept[:, :, 1], kept[:, :, 0]).items():
                columns[name][usable, p] = values
        else:
            shift = columns["ln_zmax_mean"][usable, p]
            columns["ln_zmax_mean"][usable, p] = np.log(np.maximum(zmax, ZMAX_FLOOR_KPC)) + shift
        for name in ("ln_zmax_mean", "ln_zmax_sd", "cov_rg_ln_zmax", "cov_ln_zmax_distance"):
            columns[name][usable[none], p] = np.nan
        m, s = columns["ln_zmax_mean"][usable, p], columns["ln_zmax_sd"][usable, p]
        columns["zmax_sd"][usable, p] = np.exp(m + 0.5 * s**2) * np.sqrt(np.expm1(s**2))
    unbound = extrema.unbound[:, 0]
    unsure = extrema.failed[:, 0] | extrema.inexact[:, 0] | (~unbound & np.isnan(m + s))
    add = np.zeros(flag.size, dtype=bool)
    for reason, mask in (
        (StarFlag.UNBOUND, unbound),
        (StarFlag.NEAR_CENTRE, extrema.r_peri[:, 0] < NEAR_CENTRE_KPC),
        (StarFlag.ZMAX_FAILED, unsure),
    ):
        add[:] = False
        add[usable] = mask
        add_flag(flag, add, reason)


def _kept_moments(ln_zmax: Floats, rg: Floats, distance: Floats) -> dict[str, Floats]:
    """Moments over the draws (star, draw) that have an orbit, at least two of them."""
    good = np.isfinite(ln_zmax)
    count = good.sum(axis=1)

    def centred(values: Floats) -> Floats:
        values = np.where(good, values, 0.0)
        return np.where(good, values - (values.sum(axis=1) / count)[:, None], 0.0)

    z, r, d = centred(ln_zmax), centred(rg), centred(distance)
    enough = np.where(count > 1, count - 1.0, np.nan)
    return {
        "ln_zmax_mean": np.where(good, ln_zmax, 0.0).sum(axis=1)
        / np.where(count > 1, count, np.nan),
        "ln_zmax_sd": np.sqrt((z * z).sum(axis=1) / enough),
        "cov_rg_ln_zmax": (z * r).sum(axis=1) / enough,
        "cov_ln_zmax_distance": (z * d).sum(axis=1) / enough,
    }
