"""Threads and processes over stars: slices of fixed bounds, added in order, whoever made them."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from migrate_bayes.core.errors import RecipeError, SchedulerError

_log = logging.getLogger(__name__)

BLOCKS_PER_TASK = 64
"""Blocks of stars per task. It is fixed, since it decides the order of additions: a sum over stars
has the same bits whatever the number of threads, processes or machines."""


def default_workers() -> int:
    """Return ``$MIGRATE_BAYES_WORKERS``, or else the number of processors this process may use.

    Within a task of a dask worker, they are the threads of that worker.
    """
    wanted = os.environ.get("MIGRATE_BAYES_WORKERS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if "distributed" in sys.modules:
        with suppress(ValueError):
            return sys.modules["distributed"].get_worker().state.nthreads
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


def one_blas_thread() -> Any:
    """Let linear algebra use one thread in the body.

    On matrices of a hundred rows more threads gain nothing, and while they wait for work they take
    the processors from `map_blocks`: a decomposition then costs up to a hundred times as much.
    Their number would decide last bits, too.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


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


def check_scheduler(scheduler: str) -> None:
    """Raise the `RecipeError` of a scheduler that is none, or whose package is not installed."""
    kind, _, rest = scheduler.partition(":")
    local = kind == "local" and rest.isdigit() and int(rest) > 0
    if scheduler == "threads":
        return
    if not local and not (kind in ("tcp", "tls", "ws", "wss", "ucx") and rest):
        raise RecipeError(
            f'scheduler \'{scheduler}\' is none: use "threads", "local:N" for N processes on this '
            'machine, or the address of a running scheduler such as "tcp://host:8786"'
        )
    if importlib.util.find_spec("distributed") is None:
        raise RecipeError(
            f"scheduler '{scheduler}' needs the package distributed: "
            "pip install 'migrate-bayes[distributed]'"
        )


@contextmanager
def open_scheduler(scheduler: str) -> Iterator[Any]:
    """Open a `distributed.Client`: of new local processes, or of a scheduler that runs already."""
    check_scheduler(scheduler)
    import dask
    import distributed

    # A shard should stay where it was put; threads and messages, rows of a part too, are ours.
    quiet = {
        "distributed.scheduler.work-stealing": False,
        "distributed.admin.tick.limit": "1h",
        "distributed.admin.large-graph-warning-threshold": "1TB",
    }
    kind, _, rest = scheduler.partition(":")
    with dask.config.set(quiet), ExitStack() as stack:
        cluster: Any = scheduler
        if kind == "local":
            # With TLS and a key of this run, or any process of this machine could hand in code.
            secure = importlib.util.find_spec("cryptography") is not None
            if not secure:
                _log.warning("dask's workers take tasks of any local process: install cryptography")
            local = distributed.LocalCluster(
                n_workers=int(rest), threads_per_worker=1, memory_limit=0, worker_class=_nanny(),
                dashboard_address="127.0.0.1:0",  # a free port, for this machine alone
                silence_logs=logging.ERROR, security=secure,
            )  # fmt: skip
            cluster = stack.enter_context(local)
        try:
            client = distributed.Client(cluster, timeout="20s", set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise SchedulerError(f"no dask scheduler answers at {scheduler}: {error}") from None
        yield stack.enter_context(client)


def _nanny() -> type:
    from distributed import Nanny

    class OurNanny(Nanny):
        """Starts a worker, and starts it anew if it was lost, without the user's script."""

        async def instantiate(self) -> Any:
            with apart_from_main():
                return await super().instantiate()

    return OurNanny


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
