"""Threads over stars: slices have fixed bounds and are added in order, whatever the threads."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType

BLOCKS_PER_TASK = 64
"""Blocks of stars per task. It is fixed, since it decides the order of additions: a sum over stars
has the same bits whatever the number of threads, processes or machines."""


def default_workers() -> int:
    """Return ``$MIGRATE_BAYES_WORKERS``, or else the number of processors this process may use."""
    wanted = os.environ.get("MIGRATE_BAYES_WORKERS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blocks(n: int, size: int) -> list[tuple[int, int]]:
    """Cut ``range(n)`` into consecutive ``(start, stop)`` pairs of at most `size`."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


@lru_cache(maxsize=8)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="migrate-bayes")


def map_blocks[T](
    function: Callable[[int, int], T],
    n: int,
    size: int,
    *,
    workers: int | None = None,
    on_done: Callable[[int], None] | None = None,
) -> list[T]:
    """Call ``function(start, stop)`` on every block of stars, in threads; return a list by block.

    `function` should release the GIL, and must not itself call `map_blocks`. Keep the `size` of
    blocks fixed, so that sums are reproducible. `workers` is `default_workers`
    if not given; `on_done` is called in order with the number of stars of each block.
    """
    workers = default_workers() if workers is None else workers
    parts = blocks(n, size)
    results: list[T] = []
    run = map if workers == 1 or len(parts) == 1 else _pool(workers).map
    for (start, stop), result in zip(parts, run(lambda part: function(*part), parts), strict=True):
        results.append(result)
        if on_done is not None:
            on_done(stop - start)
    return results


_main: list[ModuleType] = []  # the user's script, once for each body of `apart_from_main`
_swap = threading.Lock()


@contextmanager
def apart_from_main() -> Iterator[None]:
    """Let processes start in the body without running the user's script again.

    A new Python process imports the script that started it, and a script without
    ``if __name__ == "__main__"`` would start processes without end. Ours need nothing of it.
    """
    with _swap:
        _main.append(sys.modules["__main__"] if not _main else _main[0])
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        with _swap:
            script = _main.pop()
            if not _main:
                sys.modules["__main__"] = script


def peak_memory_gb() -> float:
    """Return the most memory that this process has held at once, in 10⁹ bytes."""
    # On Linux, `getrusage` may give the maximum of the process that started this one.
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9  # bytes on macOS, else KiB
