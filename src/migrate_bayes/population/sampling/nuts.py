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

__all__ = ["run_nuts"]

Floats = NDArray[np.float64]


def run_nuts(
    density: Callable[[Floats], tuple[float, Floats]],
    centre: Floats,
    scale: Floats,
    *,
    draws: int,
    tune: int,
    chains: int,
    cores: int,
    seed: int,
    target_accept: float,
    progressbar: bool,
) -> tuple[Floats, xr.Dataset]:
    """Run NUTS on z, where x = centre + scale z.

    Parameters
    ----------
    density : callable
        Log density and gradient at x; called from several threads where `cores` > 1.
    centre, scale : ndarray, shapes (n,) and (n, n)
        Where chains start and how widely: z of each is a standard normal.
    draws, tune, chains, cores, seed, target_accept, progressbar
        As nutpie has them.

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
        # Dispersed as the posterior itself is, by the Gaussian at the mode.
        return np.random.default_rng(seed).normal(size=n)

    target = from_pyfunc(
        n, make_log_density, make_expand, [np.dtype(np.float64)], [(n,)], ["x"],
        make_initial_point_fn=start,
    )  # fmt: skip
    tree = nutpie.sample(
        target, draws=draws, tune=tune, chains=chains, cores=cores, seed=seed,
        target_accept=target_accept, progress_bar=progressbar,
    )  # fmt: skip
    return tree["posterior"]["x"].values, tree["sample_stats"].to_dataset()
