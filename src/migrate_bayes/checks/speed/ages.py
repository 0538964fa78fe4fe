r"""Speed, error and memory of isochrone ages.

The error of a log-likelihood is relative to its peak, which is all that an age posterior depends
on: with k the reference's best node,

.. math:: e_i = (\ln L_i - \ln L_k) - (\ln L^\mathrm{ref}_i - \ln L^\mathrm{ref}_k)

over the nodes with :math:`L^\mathrm{ref}_i > 10^{-4} L^\mathrm{ref}_k`.

`astrolachesis` fits one star at a time: nested sampling on the Dartmouth grid. Everything that it
would look up is given; it takes ages flat from 1 to 15 Gyr, no extinction and no extra jitter. It
has no [α/Fe], so [Fe/H] is the one of equal total metallicity.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.checks.ages.brute_force import PANEL, Tracks, reference_log_likelihood
from migrate_bayes.checks.speed import harness
from migrate_bayes.core.parallel import map_blocks, peak_memory_gb
from migrate_bayes.core.progress import progress, status
from migrate_bayes.isochrones import build_grid, estimate_ages, load_source, salaris
from migrate_bayes.mock.lamost_like import CLASSES, ERRORS, lamost_like
from migrate_bayes.run.recipe import data_root
from migrate_bayes.stars import StarWriter, assemble_stars

_SHARE = 1e-4  # of the peak: nodes with less weight are not compared
_FLOOR = 0.02  # mag, what `estimate_ages` adds to the error of M_G
_TIMED = 6  # stars that the reference is timed on
_TILES = 400  # copies of these stars that production does in a timed pair
_CHUNK = 50_000  # stars of a part, when streaming

#: Value and error of each observable.
Star = Mapping[str, tuple[float, float]]
Ages = Callable[..., xr.Dataset]


def benchmark_ages(
    *,
    source: str | None,
    stars: int,
    reference_stars: int,
    lachesis_stars: int,
    memory_stars: int,
    seed: int,
) -> dict[str, Any]:
    """Measure the age estimate on stars like those of LAMOST.

    A quarter, a half and all of `stars` are timed; `lachesis_stars` may be 0; `memory_stars` stream
    through a process of their own. The default `source` is the native Dartmouth, if it is there.
    """
    if source is None:
        folder = data_root() / "dartmouth_gaia"
        source = f"dartmouth-native:{folder}" if folder.is_dir() else "dartmouth"
    with status("building the grid and drawing stars"):
        grid = build_grid(source)
        sample = lamost_like(source, max(stars, reference_stars), seed=seed)
    # The errors of giants are those of the mock, as the reference has them.
    ages = partial(estimate_ages, source=source, giant_systematics={}, show_progress=False)
    with status("timing"):
        timed = sample.isel(star=slice(stars))
        seconds = harness.best_time(lambda: ages(timed))
        growth = harness.scaling(
            lambda n: ages(sample.isel(star=slice(n))), [stars // 4, stars // 2, stars]
        )
    compared = sample.isel(star=slice(reference_stars))
    tracks = Tracks(grid)
    errors = _compare(compared, ages(compared), tracks)
    few = compared.isel(star=slice(_TIMED))
    with status("timing the reference"):
        brute = _against(
            lambda: [reference_log_likelihood(star, tracks) for star in _stars(few)],
            few, ages, repeats=2,
        )  # fmt: skip
    lachesis: dict[str, Any] = {}
    if lachesis_stars > 0:
        lachesis = _against_lachesis(compared.isel(star=slice(lachesis_stars)), ages)
    with status(f"streaming {memory_stars:,} stars"):
        alone = harness.in_fresh_process(stream, source=source, stars=memory_stars, seed=seed)
    streamed = alone["result"]
    return {
        "source": source,
        "stars": stars,
        "stars_per_second": stars / seconds,
        "ratio_brute_force": brute.ratio,
        "ratio_brute_force_range": [brute.low, brute.high],
        "reference_seconds_per_star": brute.slow_seconds,
        "stars_per_second_one_thread": 1.0 / brute.fast_seconds,
        **lachesis,
        **errors,
        "peak_rss_gb": alone["peak_rss_gb"],
        "peak_rss_stars": memory_stars,
        **{f"peak_rss_{name}": streamed[name] for name in ("before_gb", "growth_gb")},
        "streamed_stars_per_second": streamed["stars_per_second"],
        "scaling": growth,
        "seed": seed,
        "machine": harness.machine(),
    }


def _against(
    slow: Callable[[], object], stars: xr.Dataset, ages: Ages, *, repeats: int
) -> harness.Ratio:
    """Time a code on some stars, in pairs with production on many copies of them."""
    n = stars.sizes["star"]
    many = stars.isel(star=np.tile(np.arange(n), _TILES))
    return harness.paired_ratio(
        slow, lambda: ages(many, workers=1), slow_stars=n, fast_stars=n * _TILES, repeats=repeats
    )


def _stars(catalog: xr.Dataset, floor: float = _FLOOR) -> list[Star]:
    """Return each star's observables and their errors, with the floor of production on M_G."""
    errors = ERRORS | {"abs_g": math.hypot(ERRORS["abs_g"], floor)}
    return [
        {name: (float(catalog[name][i]), error) for name, error in errors.items()}
        for i in range(catalog.sizes["star"])
    ]


def _compare(catalog: xr.Dataset, product: xr.Dataset, tracks: Tracks) -> dict[str, Any]:
    """Compute the reference for every star, and the error of the product."""
    stars = _stars(catalog)
    mine = product["log_age_likelihood"].values.astype(np.float64)
    usable = np.flatnonzero(np.isfinite(product["age_ml"].values))

    def one(i: int, panel: float = PANEL) -> NDArray[np.float64]:
        return reference_log_likelihood(stars[i], tracks, panel=panel)

    with progress(len(stars), "reference") as advance:
        reference = map_blocks(lambda i, _: one(i), len(stars), 1, on_done=advance)
    converged = [errors_from_peak(one(i, 0.5 * PANEL), reference[i]) for i in usable[:3]]
    found = [errors_from_peak(reference[i], mine[i]) for i in usable]
    every = np.concatenate([e for e, _ in found])
    kind, worst = catalog["star_class"].values[usable], np.array([e.max() for e, _ in found])
    by_class = {name: worst[kind == k].max() for k, name in enumerate(CLASSES) if k in kind}
    return {
        "max_log_likelihood_error": every.max(),
        "p99_log_likelihood_error": np.percentile(every, 99),
        "median_log_likelihood_error": np.median(every),
        "max_unnormalised_error": max(whole for _, whole in found),
        "reference_stars": len(found),
        "reference_nodes": len(every),
        "max_error_by_class": by_class,
        "reference_convergence": max(e.max() for e, _ in converged),
    }


def errors_from_peak(reference: NDArray, mine: NDArray) -> tuple[NDArray[np.float64], float]:
    """Return |e_i| of the module's equation, and the greatest error of ln L itself."""
    top = int(np.argmax(reference))
    relevant = reference > reference[top] + np.log(_SHARE)
    difference = mine[relevant] - reference[relevant]
    at_peak = mine[top] - reference[top]
    return np.abs(difference - at_peak), float(np.abs(difference).max())


def _against_lachesis(catalog: xr.Dataset, ages: Ages) -> dict[str, Any]:
    """Time `astrolachesis` on some of the stars, in pairs with production on the same ones."""
    n = catalog.sizes["star"]
    with status("astrolachesis"):
        peers = [_lachesis(star) for star in _stars(catalog, floor=0.0)]
        found: list[list[float]] = []
        ratio = _against(lambda: found.extend(peer() for peer in peers), catalog, ages, repeats=1)
    return {
        "ratio_lachesis": ratio.ratio,
        "ratio_lachesis_against": "astrolachesis, offline, Dartmouth grid, 500 live points",
        "lachesis_seconds_per_star": ratio.slow_seconds,
        "lachesis_stars": n,
        "lachesis_age_gyr": [v[1] for v in found[-n:]],
        "age_median_gyr": ages(catalog, workers=1)["age_median"].values,
    }


def _lachesis(star: Star) -> Callable[[], list[float]]:
    """Set one star up, so that only its sampling is left to time: 16, 50 and 84% of age, Gyr."""
    shift = load_source("dartmouth").solar_feh_initial
    alpha, alpha_error = star["alpha_fe"]
    slope = float(salaris(alpha + 0.01) - salaris(alpha - 0.01)) / 0.02
    g, g_error = star["abs_g"]
    with harness.quiet():
        from lachesis import Fitter
        from lachesis import Star as Subject

        # At 10 pc the apparent magnitude is the absolute one: σ(d) = d ln(10)/5 σ(M_G).
        subject = Subject(
            "mock", 0.0, 0.0, offline=True, verbose=False, Av=0.0,
            magnitudes={"Gaia_G": (g, _FLOOR)}, dist=10.0, dist_e=2.0 * math.log(10.0) * g_error,
            logg=star["logg"][0], logg_e=star["logg"][1],
            feh=star["feh"][0] + shift + float(salaris(alpha)),
            feh_e=math.hypot(star["feh"][1], slope * alpha_error),
        )  # fmt: skip
        subject.teff, subject.teff_e = star["teff"]
        fitter = Fitter()
        fitter.star, fitter.grids, fitter.bma, fitter.verbose = subject, ["dartmouth"], False, False
        fitter.fit_jitter = False
        fitter.age_range = (9.0, 10.1761)
        fitter.prior_setup = {"log_age": "uniform", "Av": ("fixed", 0.0)}
        fitter.setup = ["dynesty", 500, 0.01, "multi", "rwalk", 1, False]  # its own defaults
        fitter.initialize()

    def run() -> list[float]:
        with harness.quiet():
            result = fitter.fit()
        log_age = result["samples"][:, list(result["param_names"]).index("log_age")]
        return [float(v) for v in np.percentile(10.0 ** (log_age - 9.0), [16, 50, 84])]

    return run


def stream(source: str, stars: int, seed: int) -> dict[str, float]:
    """Send stars through the age estimate to disk in parts, as a survey would be.

    The parts are the same true stars, observed anew. ``before_gb`` is the peak of memory when the
    first part is on disk, ``growth_gb`` its growth until the end; the speed includes writing.
    """
    base = lamost_like(source, min(stars, _CHUNK), seed=seed)
    rng = np.random.default_rng(seed + 1)
    before = 0.0
    estimate_ages(base.isel(star=slice(64)), source=source, show_progress=False)
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        StarWriter(Path(folder) / "stars") as out,
        progress(stars, "streaming") as advance,
    ):
        for start in range(0, stars, _CHUNK):
            part = base.isel(star=slice(min(_CHUNK, stars - start))).copy()
            for name, error in ERRORS.items():
                part[name] = part[name] + error * rng.normal(size=part.sizes["star"])
            found = estimate_ages(part, source=source, show_progress=False)
            out.append(assemble_stars(part, found))
            before = before or peak_memory_gb()
            advance(part.sizes["star"])
    speed = stars / (time.perf_counter() - began)
    growth = peak_memory_gb() - before
    return {"before_gb": before, "growth_gb": growth, "stars_per_second": speed}
