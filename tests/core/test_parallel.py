"""Blocks of stars in threads, and the most memory that a process held, on Linux and macOS."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from migrate_bayes.core import constants
from migrate_bayes.core.parallel import (
    blocks,
    default_workers,
    map_blocks,
    one_blas_thread,
    peak_memory_gb,
)


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_come_back_in_order_whatever_the_threads(workers):
    done: list[int] = []
    found = map_blocks(lambda a, b: (a, b), 10, 4, workers=workers, on_done=done.append)
    assert found == blocks(10, 4) == [(0, 4), (4, 8), (8, 10)]
    assert done == [4, 4, 2]
    assert map_blocks(lambda a, b: a, 0, 4, workers=workers) == []


def test_linear_algebra_leaves_the_processors_to_the_workers():
    def threads():
        return {p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"}

    if not threads():
        pytest.skip("a BLAS that does not tell its threads, as Apple's")
    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == {2}


def test_the_number_of_workers_is_the_users(monkeypatch):
    monkeypatch.setenv("MIGRATE_BAYES_WORKERS", "3")
    assert default_workers() == 3
    for text in ("", "0", "many"):
        monkeypatch.setenv("MIGRATE_BAYES_WORKERS", text)
        assert default_workers() >= 1


def faked(monkeypatch, *, platform, peak, status=None):
    def read_text(self, *args, **kwargs):
        if status is None:
            raise FileNotFoundError(self)
        return status

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=peak))


def test_peak_memory_is_in_bytes_on_macos_and_in_kib_on_linux(monkeypatch):
    with monkeypatch.context() as patch:
        faked(patch, platform="darwin", peak=3_000_000_000)
        assert peak_memory_gb() == 3.0
    with monkeypatch.context() as patch:
        faked(patch, platform="linux", peak=2_000_000)
        assert peak_memory_gb() == pytest.approx(2.048)
    with monkeypatch.context() as patch:  # the process's own peak, not its parent's
        faked(patch, platform="linux", peak=9_000_000, status="Name:\tx\nVmHWM:\t 1000000 kB\n")
        assert peak_memory_gb() == pytest.approx(1.024)


def test_peak_memory_of_this_process_covers_an_array():
    array = np.ones(20_000_000)
    assert peak_memory_gb() > array.nbytes / 1e9


def test_constants_are_the_published_ones():
    assert constants.PIVOT_RADIUS == 8.0
    # Salaris et al. (1993): without enhancement [M/H] is [Fe/H].
    assert constants.SALARIS_ALPHA + constants.SALARIS_REST == 1.0
