"""Disc stars to put on orbits, and tables kept for the length of a test run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def _table_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIGRATE_BAYES_CACHE", str(tmp_path_factory.mktemp("tables")))
        yield


@pytest.fixture(scope="session")
def disc_stars() -> Callable[..., tuple[np.ndarray, ...]]:
    """Give ``function(n, seed) -> (R, v_r, v_phi, z, v_z)``: thin and thick disc, kpc and km/s."""

    def build(n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
        rng = np.random.default_rng(seed)
        thick = rng.random(n) < 0.3
        return (
            rng.uniform(5.0, 12.0, n),
            rng.normal(0.0, np.where(thick, 60.0, 35.0)),
            rng.normal(np.where(thick, 190.0, 225.0), np.where(thick, 45.0, 22.0)),
            rng.normal(0.0, np.where(thick, 0.9, 0.25)),
            rng.normal(0.0, np.where(thick, 45.0, 18.0)),
        )

    return build
