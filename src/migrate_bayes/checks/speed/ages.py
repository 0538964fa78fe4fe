r"""How fast isochrone ages are, how right, and what they cost in memory.

The error of a log-likelihood is taken with respect to its peak, which is all that an age posterior
knows of it: with k the reference's best node,

.. math:: e_i = (\ln L_i - \ln L_k) - (\ln L^\mathrm{ref}_i - \ln L^\mathrm{ref}_k)

over the nodes with :math:`L^\mathrm{ref}_i > 10^{-4} L^\mathrm{ref}_k`.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.brute_force import PANEL, Tracks, reference_log_likelihood
from migrate_bayes.checks.speed.harness import (
    best_time,
    in_fresh_process,
    machine,
    paired_ratio,
    peak_rss_gb,
    scaling,
)
from migrate_bayes.checks.speed.lachesis_peer import fit_with_lachesis
from migrate_bayes.core.parallel import map_blocks
from migrate_bayes.core.progress import progress, status
from migrate_bayes.isochrones import build_grid, estimate_ages
from migrate_bayes.mock.lamost_like import CLASSES, ERRORS, lamost_like
from migrate_bayes.run.recipe import data_root
from migrate_bayes.stars import StarWriter, assemble_stars

__all__ = ["benchmark_ages", "default_source", "stream"]

_SHARE = 1e-4  # of the peak: nodes with less weight are not compared
_FLOOR = 0.02  # mag, what `estimate_ages` adds to the error of M_G
_TIMED = 6  # stars that the reference is timed on
_TILES = 400  # times over that production does the same stars in a timed pair
_CHUNK = 50_000  # stars of a part, when streaming
FULL_SURVEY = 4_000_000


def default_source() -> str:
    """Return the native Dartmouth files where the data folder has them, else ``dartmouth``."""
    folder = data_root() / "dartmouth_gaia"
    return f"dartmouth-native:{folder}" if folder.is_dir() else "dartmouth"


def benchmark_ages(
    *,
    source: str | None = None,
    stars: int = 20_000,
    reference_stars: int = 40,
    lachesis_stars: int = 1,
    memory_stars: int = 200_000,
    seed: int = 1,
) -> dict[str, Any]:
    """Measure the age estimate on stars like those of LAMOST.

    Parameters
    ----------
    source : str, optional
        Isochrones; `default_source` where not given.
    stars : int
        Stars that are timed; `scaling` takes a quarter, a half and all of them.
    reference_stars : int
        Stars that the reference integral is computed for.
    lachesis_stars : int
        Stars that `astrolachesis` fits; 0 leaves it out.
    memory_stars : int
        Stars that stream through a process of their own.
    seed : int
        Of the mock stars.

    Returns
    -------
    dict
        See benchmarks/README.md.
    """
    source = default_source() if source is None else source
    with status("building the grid and drawing stars"):
        grid = build_grid(source)
        sample = lamost_like(source, max(stars, reference_stars), seed=seed)

    def ages(catalog: xr.Dataset, **options: Any) -> xr.Dataset:
        return estimate_ages(catalog, source=source, show_progress=False, **options)

    with status("timing"):
        timed = sample.isel(star=slice(stars))
        seconds = best_time(lambda: ages(timed))
        growth = scaling(
            lambda n: ages(sample.isel(star=slice(n))), [stars // 4, stars // 2, stars]
        )
    compared = sample.isel(star=slice(reference_stars))
    tracks = Tracks(grid)
    errors = _compare(compared, ages(compared), tracks)
    with status("timing the reference"):
        few = compared.isel(star=slice(_TIMED))
        many = few.isel(star=np.tile(np.arange(few.sizes["star"]), _TILES))
        brute = paired_ratio(
            lambda: [reference_log_likelihood(star, tracks) for star in _stars(few)],
            lambda: ages(many, workers=1),
            slow_stars=few.sizes["star"], fast_stars=many.sizes["star"], repeats=2,
        )  # fmt: skip
    result: dict[str, Any] = {
        "source": source,
        "stars": stars,
        "stars_per_second": stars / seconds,
        "ratio_brute_force": brute.ratio,
        "ratio_brute_force_range": [brute.low, brute.high],
        "reference_seconds_per_star": brute.slow_seconds,
        "stars_per_second_one_thread": 1.0 / brute.fast_seconds,
    }
    if lachesis_stars > 0:
        result |= _against_lachesis(compared.isel(star=slice(lachesis_stars)), ages)
    result |= errors
    with status(f"streaming {memory_stars:,} stars"):
        streamed = in_fresh_process(
            "migrate_bayes.checks.speed.ages:stream",
            {"source": source, "stars": memory_stars, "seed": seed},
            timeout=24 * 3600.0,
        )
    result |= {
        "peak_rss_gb": streamed["peak_rss_gb"],
        "peak_rss_stars": memory_stars,
        "peak_rss_before_gb": streamed["result"]["before_gb"],
        "peak_rss_growth_gb": streamed["result"]["growth_gb"],
        "streamed_stars_per_second": streamed["result"]["stars_per_second"],
        "scaling": growth,
        "seed": seed,
        "machine": machine(),
    }
    return result


def _star(catalog: xr.Dataset, i: int) -> dict[str, tuple[float, float]]:
    """Return a star's observables and the errors that production gives them."""
    star = {n: (float(catalog[n][i]), float(catalog[f"{n}_error"][i])) for n in ERRORS}
    value, error = star["abs_g"]
    return star | {"abs_g": (value, float(np.hypot(error, _FLOOR)))}


def _stars(catalog: xr.Dataset) -> list[dict[str, tuple[float, float]]]:
    return [_star(catalog, i) for i in range(catalog.sizes["star"])]


def _compare(catalog: xr.Dataset, product: xr.Dataset, tracks: Tracks) -> dict[str, Any]:
    """Compute the reference for every star, and the error of the product."""
    n = catalog.sizes["star"]
    mine = product["log_age_likelihood"].values.astype(np.float64)
    usable = np.isfinite(product["age_ml"].values)

    def one(i: int, panel: float = PANEL) -> NDArray[np.float64]:
        return reference_log_likelihood(_star(catalog, i), tracks, panel=panel)

    with progress(n, "reference") as advance:
        rows = map_blocks(lambda i, _: one(i), n, 1, on_done=advance)
    reference = np.stack(rows)
    converged = [_errors(one(i, 0.5 * PANEL), reference[i]) for i in np.flatnonzero(usable)[:3]]
    each = [_errors(reference[i], mine[i]) for i in range(n) if usable[i]]
    every = np.concatenate([e for e, _ in each])
    classes = catalog["star_class"].values[usable]
    worst = np.array([e.max() for e, _ in each])
    return {
        "max_log_likelihood_error": every.max(),
        "p99_log_likelihood_error": np.percentile(every, 99),
        "median_log_likelihood_error": np.median(every),
        "max_unnormalised_error": max(a for _, a in each),
        "reference_stars": len(each),
        "reference_nodes": len(every),
        "max_error_by_class": {
            name: worst[classes == k].max()
            for k, name in enumerate(CLASSES)
            if (classes == k).any()
        },
        "reference_convergence": max(e.max() for e, _ in converged),
    }


def _errors(reference: NDArray, mine: NDArray) -> tuple[NDArray[np.float64], float]:
    """Return the absolute errors of the module's text, and the greatest one without peaks taken."""
    top = int(np.argmax(reference))
    relevant = reference > reference[top] + np.log(_SHARE)
    difference = mine[relevant] - reference[relevant]
    at_peak = mine[top] - reference[top]
    return np.abs(difference - at_peak), float(np.abs(difference).max())


def _against_lachesis(catalog: xr.Dataset, ages: Any) -> dict[str, Any]:
    """Time `astrolachesis` on some of the stars, in pairs with production on the same ones."""
    n = catalog.sizes["star"]
    star = [{k: (float(catalog[k][i]), e) for k, e in ERRORS.items()} for i in range(n)]
    with status("astrolachesis"):
        peers = [fit_with_lachesis(s) for s in star]
        many = catalog.isel(star=np.tile(np.arange(n), _TILES))
        found: list[list[float]] = []
        ratio = paired_ratio(
            lambda: found.extend(peer() for peer in peers),
            lambda: ages(many, workers=1),
            slow_stars=n, fast_stars=many.sizes["star"], repeats=1,
        )  # fmt: skip
    own = ages(catalog, workers=1)
    return {
        "ratio_lachesis": ratio.ratio,
        "ratio_lachesis_against": "astrolachesis, offline, Dartmouth grid, 500 live points",
        "lachesis_seconds_per_star": ratio.slow_seconds,
        "lachesis_stars": n,
        "lachesis_age_gyr": [v[1] for v in found[-n:]],
        "age_median_gyr": own["age_median"].values,
    }


def stream(source: str, stars: int, seed: int = 1) -> dict[str, float]:
    """Send stars through the age estimate to disk in parts, as a survey would be.

    The parts are the same true stars, observed anew each time.

    Parameters
    ----------
    source : str
        Isochrones.
    stars : int
        How many.
    seed : int
        Of the stars and their errors.

    Returns
    -------
    dict
        ``before_gb``: the high-water mark of memory, 10^9 bytes, when the first part is on disk;
        ``growth_gb``: by how much it has grown at the end; ``stars_per_second``, writing included.
    """
    base = lamost_like(source, min(stars, _CHUNK), seed=seed)
    rng = np.random.default_rng(seed + 1)
    before, done = 0.0, 0
    estimate_ages(base.isel(star=slice(64)), source=source, show_progress=False)
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        StarWriter(Path(folder) / "stars") as out,
        progress(stars, "streaming") as advance,
    ):
        while done < stars:
            part = base.isel(star=slice(min(_CHUNK, stars - done))).copy()
            n = part.sizes["star"]
            for name, error in ERRORS.items():
                part[name] = part[name] + error * rng.normal(size=n)
            found = estimate_ages(part, source=source, show_progress=False)
            out.append(assemble_stars(part, found))
            if done == 0:
                before = peak_rss_gb()
            done += n
            advance(n)
    seconds = time.perf_counter() - start
    return {
        "before_gb": before,
        "growth_gb": peak_rss_gb() - before,
        "stars_per_second": stars / seconds,
    }
