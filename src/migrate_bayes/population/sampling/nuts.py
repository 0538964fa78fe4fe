"""NUTS (nutpie) on a log density given as a Python function, in whitened coordinates.

Whitening makes a trajectory of a few steps enough whatever the units and correlations of the
parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from migrate_bayes.population.fit_options import SamplerOptions

Floats = NDArray[np.float64]


def run_nuts(
    density: Callable[[Floats], tuple[float, Floats]],
    centre: Floats,
    scale: Floats,
    options: SamplerOptions,
    *,
    seed: int,
    cores: int = 1,
    progressbar: bool = False,
) -> tuple[Floats, xr.Dataset]:
    """Run NUTS on z, x = centre + scale z.

    Parameters
    ----------
    density : callable
        Log density and gradient at x; called from several threads if `cores` > 1.
    centre, scale : ndarray, shapes (n,) and (n, n)
        Where chains start and how widely: z of each is a standard normal.
    options : SamplerOptions
        Draws, tuning draws, chains, target_accept.
    seed, cores, progressbar
        As nutpie takes them.

    Returns
    -------
    draws : ndarray, shape (chains, draws, n)
        Of x.
    stats : xarray.Dataset
        The sampler's statistics.
    """
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    n = len(centre)

    def make_log_density() -> Any:
        def log_density(z: Floats) -> tuple[float, Floats]:
            value, gradient = density(centre + scale @ z)
            return value, scale.T @ gradient

        return log_density

    def make_expand(seed1: int, seed2: int, chain: int) -> Any:
        return lambda z: {"x": centre + scale @ z}

    def start(seed: int) -> Floats:
        # As dispersed as the posterior itself, by the Gaussian at the mode.
        return np.random.default_rng(seed).normal(size=n)

    target = from_pyfunc(
        n, make_log_density, make_expand, [np.dtype(np.float64)], [(n,)], ["x"],
        make_initial_point_fn=start,
    )  # fmt: skip
    tree = nutpie.sample(
        target, draws=options.draws, tune=options.tune, chains=options.chains, cores=cores,
        seed=seed, target_accept=options.target_accept, progress_bar=progressbar,
    )  # fmt: skip
    return tree["posterior"]["x"].values, tree["sample_stats"].to_dataset()
