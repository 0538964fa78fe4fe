"""Z_max, guiding radii and whole catalogues: speed and error beside galpy, in one run.

Stars: discs and a hot population, five to one. galpy integrates them with ``dop853_c`` over the
same span, sampled every 0.25 Myr, each peak completed by a parabola; its Stäckel estimate
(``actionAngleStaeckel.EccZmaxRperiRap``, C, delta = 0.45) is compared with the same integration.
Speeds are of 5:1 mixtures too, galpy's of fewer stars, in alternation with ours.
``zmax_stars_per_core_second`` counts the processor's time and not the clock's, so that it does not
depend on who else uses the machine.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.speed import harness
from migrate_bayes.core.progress import progress
from migrate_bayes.orbits import compute_orbits, get_frame, guiding_radius, orbit_extrema
from migrate_bayes.orbits.coordinates import from_cylindrical, phase_space_to_observed
from migrate_bayes.orbits.extrema import GYR_KMS_PER_KPC, SPAN_GYR
from migrate_bayes.orbits.potential_tables import load_potential

Floats = NDArray[np.float64]

SAMPLES_PER_GYR = 4000
AT_ONCE = 20  # galpy's orbits: their sampled paths need memory


def sample_stars(disc: int, hot: int, seed: int = 0) -> Floats:
    """Draw R, v_R, v_phi, z, v_z, shape (5, star), kpc and km/s: discs, 70:30, then hot stars."""
    rng = np.random.default_rng(seed)
    thick = rng.random(disc) < 0.3
    discs = (
        rng.uniform(5.0, 12.0, disc),
        rng.normal(0.0, np.where(thick, 60.0, 35.0)),
        rng.normal(np.where(thick, 190.0, 225.0), np.where(thick, 45.0, 22.0)),
        rng.normal(0.0, np.where(thick, 0.9, 0.25)),
        rng.normal(0.0, np.where(thick, 45.0, 18.0)),
    )
    halo = (
        rng.uniform(4.0, 14.0, hot),
        rng.normal(0.0, 130.0, hot),
        rng.normal(40.0, 100.0, hot),
        rng.normal(0.0, 3.0, hot),
        rng.normal(0.0, 90.0, hot),
    )
    return np.concatenate([discs, halo], axis=1)


def _natural(stars: Floats) -> Floats:
    """Return galpy's (R, vR, vT, z, vz, phi), shape (star, 6), in units of the paper's frame."""
    frame = get_frame("vickers2021")
    R, v_r, v_phi, z, v_z = stars
    r0, v0 = frame.r0, frame.v0
    return np.stack([R / r0, v_r / v0, v_phi / v0, z / r0, v_z / v0, 0.0 * R], axis=1)


def peaks(values: Floats) -> Floats:
    """Return each row's largest value, completed by the parabola through its neighbours."""
    best = values.max(axis=1)
    for i, k in enumerate(values.argmax(axis=1)):
        if 0 < k < values.shape[1] - 1:
            left, middle, right = values[i, k - 1 : k + 2]
            bend = left - 2.0 * middle + right
            if bend < 0.0:
                best[i] = middle - (right - left) ** 2 / (8.0 * bend)
    return best


def galpy_extrema(name: str, stars: Floats, *, bar: str = "") -> Floats:
    """Integrate with galpy's ``dop853_c``; return Z_max, r_peri, r_apo (3, star) in kpc.

    The paper's frame, rescaled. The pericentre is completed in r², which is a parabola for a star
    that flies straight.
    """
    with harness.quiet():
        from galpy.orbit import Orbit

    frame, potential, start = get_frame("vickers2021"), load_potential(name), _natural(stars)
    span = SPAN_GYR * GYR_KMS_PER_KPC * frame.v0 / frame.r0
    times = np.linspace(0.0, span, int(SAMPLES_PER_GYR * SPAN_GYR) + 1)
    parts = []
    with progress(len(start), bar, unit="orbits") as advance:
        for first in range(0, len(start), AT_ONCE):
            with harness.quiet():
                orbits = Orbit(start[first : first + AT_ONCE])
                orbits.integrate(times, potential, method="dop853_c", progressbar=False)
                height = np.abs(orbits.z(times, use_physical=False))
                square = orbits.R(times, use_physical=False) ** 2 + height**2
            near, far = np.maximum(-peaks(-square), 0.0), peaks(square)
            parts.append(frame.r0 * np.stack([peaks(height), np.sqrt(near), np.sqrt(far)]))
            advance(len(height))
    return np.concatenate(parts, axis=1)


def _staeckel(name: str, stars: Floats) -> Floats:
    """Return galpy's Stäckel estimate of Z_max, kpc."""
    with harness.quiet():
        from galpy.actionAngle import actionAngleStaeckel

        estimate = actionAngleStaeckel(pot=load_potential(name), delta=0.45, c=True)
        zmax = estimate.EccZmaxRperiRap(*_natural(stars)[:, :5].T)[1]
    return get_frame("vickers2021").r0 * np.asarray(zmax)


def _errors(ours: Floats, theirs: Floats, label: str) -> dict[str, float]:
    """Return median, 95th percentile and maximum of the relative error."""
    error = np.abs(ours / theirs - 1.0)
    middle, high, most = np.quantile(error[np.isfinite(error)], [0.5, 0.95, 1.0])
    return {f"{label}_median": middle, f"{label}_p95": high, f"{label}_max": most}


def _one_potential(name: str, disc: int, hot: int, stars: int, seed: int) -> dict[str, Any]:
    """Measure errors, then speeds; both in one potential."""
    sample = sample_stars(disc, hot, seed)
    theirs = galpy_extrema(name, sample, bar=f"galpy {name}")
    ours = orbit_extrema(*sample, name)
    result: dict[str, Any] = {"orbits": disc + hot}
    result |= {kind: int(getattr(ours, kind).sum()) for kind in ("inexact", "failed", "unbound")}
    for quantity, their in zip(("zmax", "r_peri", "r_apo"), theirs, strict=True):
        result |= _errors(getattr(ours, quantity), their, f"{quantity}_error")
    e = (theirs[2] - theirs[1]) / (theirs[2] + theirs[1])
    result["eccentricity_error_p95"] = float(np.nanquantile(np.abs(ours.eccentricity - e), 0.95))
    claimed = 2.0 * ours.zmax_error + 1e-4
    good = np.isfinite(ours.zmax)
    within = np.abs(ours.zmax[good] / theirs[0, good] - 1.0) <= claimed[good]
    result["zmax_error_within_twice_its_estimate"] = float(within.mean())
    result |= _errors(_staeckel(name, sample), theirs[0], "staeckel_error")
    del result["staeckel_error_max"]

    order = np.random.default_rng(seed).permutation(stars)
    many = sample_stars(stars - stars // 6, stars // 6, seed + 1).take(order, axis=1)
    calm = sample_stars(stars, 0, seed + 2)

    def extrema(of: Floats) -> Any:
        return lambda: orbit_extrema(*of, name)

    began = time.process_time()
    extrema(many)()
    result["zmax_stars_per_core_second"] = stars / (time.process_time() - began)
    result["zmax_stars_per_second"] = stars / harness.best_time(extrema(many))
    result["zmax_stars_per_second_disc"] = stars / harness.best_time(extrema(calm), repeats=2)
    few = many[:, : 12 if name == "McMillan17" else 36]
    ratio = harness.paired_ratio(
        partial(galpy_extrema, name, few), extrema(np.tile(few, 100)),
        slow_stars=few.shape[1], fast_stars=100 * few.shape[1], repeats=2, warm_up=False,
    )  # fmt: skip
    result["ratio_galpy_integration"] = ratio.ratio
    result["galpy_integration_stars_per_second"] = 1.0 / ratio.slow_seconds
    some = many[:, :3000]
    ratio = harness.paired_ratio(
        partial(_staeckel, name, some), extrema(some), slow_stars=3000, fast_stars=3000
    )
    result["ratio_galpy_staeckel"] = ratio.ratio
    result["galpy_staeckel_stars_per_second"] = 1.0 / ratio.slow_seconds
    return result | _guiding(name, sample[:, :24], seed)


def _guiding(name: str, few: Floats, seed: int) -> dict[str, Any]:
    """Time guiding radii beside galpy's, kpc."""
    lz = np.random.default_rng(seed).normal(1800.0, 400.0, 4_000_000)
    r0 = get_frame("vickers2021").r0

    def theirs() -> Floats:
        with harness.quiet():
            from galpy.orbit import Orbit

            radius = Orbit(_natural(few)).rguiding(pot=load_potential(name), use_physical=False)
        return r0 * np.asarray(radius)

    ratio = harness.paired_ratio(
        theirs, lambda: guiding_radius(lz, name), slow_stars=few.shape[1], fast_stars=lz.size
    )
    ours = guiding_radius(few[0] * few[2], name)
    return {
        "rg_per_second": 1.0 / ratio.fast_seconds,
        "ratio_galpy_rguiding": ratio.ratio,
        "rg_max_error": float(np.max(np.abs(ours / theirs() - 1.0))),
    }


def mock_kinematics(n: int, seed: int = 0) -> xr.Dataset:
    """Observe `n` thin-disc, thick-disc and halo stars within about 4 kpc with Gaia-like errors."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.84, 0.15, 0.01])
    x, y = rng.normal(-8.3, 1.4, n), rng.normal(0.0, 1.4, n)
    z = rng.laplace(0.0, np.array([0.25, 0.6, 1.5])[kind])
    v_r = rng.normal(0.0, np.array([35.0, 60.0, 140.0])[kind])
    v_phi = rng.normal(np.array([225.0, 190.0, 20.0])[kind], np.array([22.0, 45.0, 90.0])[kind])
    v_z = rng.normal(0.0, np.array([18.0, 45.0, 90.0])[kind])
    sky = phase_space_to_observed(x, y, z, *from_cylindrical(x, y, v_r, v_phi), v_z)
    ra, dec, distance, pmra, pmdec, rv = sky
    error = 0.02 * distance + 0.01 * distance**2
    columns = {
        "ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec, "radial_velocity": rv,
        "distance": distance,
        "distance_lo": distance - 0.9 * error, "distance_hi": distance + error,
        **{f"{name}_error": np.full(n, 0.02) for name in ("ra", "dec", "pmra", "pmdec")},
        "radial_velocity_error": np.full(n, 4.0),
        "pmra_pmdec_corr": rng.uniform(-0.4, 0.4, n), "ra_dec_corr": rng.uniform(-0.4, 0.4, n),
    }  # fmt: skip
    catalog = xr.Dataset({name: ("star", column) for name, column in columns.items()})
    keys = rng.integers(0, 2**64 - 1, n, dtype=np.uint64)
    return catalog.assign(star_key=("star", keys))


def catalogue_run(
    stars: int, potentials: Sequence[str], chunk: int = 100_000, draws: int = 100, seed: int = 0
) -> dict[str, Any]:
    """Take mock stars through `compute_orbits`, chunk by chunk, and add up the seconds by stage."""
    stages: defaultdict[str, float] = defaultdict(float)

    def add(stage: str, seconds: float) -> None:
        stages[stage] += seconds

    flagged, kept = 0, np.empty((stars, len(potentials)))  # in place of writing the product
    with progress(stars, "orbits") as advance:
        for start in range(0, stars, chunk):
            n = min(chunk, stars - start)
            orbits = compute_orbits(
                mock_kinematics(n, seed + start), potentials=potentials, draws=draws,
                show_progress=False, on_stage=add,
            )  # fmt: skip
            kept[start : start + n] = orbits["zmax"].values
            flagged += int((orbits["flag"] != 0).sum())
            advance(n)
    middle = np.nanmedian(kept, axis=0)
    return {
        "stages": stages, "flagged": flagged,
        "zmax_median": dict(zip(potentials, middle.tolist(), strict=True)),
    }  # fmt: skip


def benchmark_orbits(
    *, potentials: Sequence[str], disc: int, hot: int, stars: int, catalogue: int, seed: int
) -> dict[str, Any]:
    """Measure the orbit stage.

    galpy integrates `disc` and `hot` stars, for the errors; `stars` are those of the speeds, and
    `catalogue` stars go through the whole stage in a process of its own; `scaling` has the same for
    5,000, 10,000 and 20,000, or fewer.
    """
    result = {name: _one_potential(name, disc, hot, stars, seed) for name in potentials}
    whole = partial(catalogue_run, potentials=list(potentials), seed=seed)
    largest = min(catalogue, 20_000)
    scaling = harness.scaling(whole, [largest // 4, largest // 2, largest])
    alone = harness.in_fresh_process(whole.func, stars=catalogue, **whole.keywords)
    return {
        "potentials": result,
        "peak_rss_gb": alone["peak_rss_gb"],
        "catalogue": {"stars": catalogue, "seconds": alone["seconds"], **alone["result"]},
        "scaling": scaling,
        "machine": harness.machine(),
    }
