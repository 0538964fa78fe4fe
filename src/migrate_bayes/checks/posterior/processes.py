"""Surveys over processes: each process compiles its model once, results come back as they are done.

A survey's numbers depend on the recipe and on its own number alone, so that any number of processes
gives the same results. Processes, not threads: between passes over the stars NUTS runs in Python.
Even one worker is a process of its own, with one thread: how many threads the linear algebra has
may change the last bit of a product, and NUTS makes much of a last bit.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from migrate_bayes.checks.posterior.ledger import Ledger
from migrate_bayes.core.errors import FitError
from migrate_bayes.core.progress import progress, silence

__all__ = ["complete", "run_tasks"]

_ONE_THREAD = (
    "MIGRATE_BAYES_WORKERS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip

_worker: dict[str, Callable[[Any], Any]] = {}


def _prepare(make: Callable[..., Callable[[Any], Any]], arguments: tuple) -> None:
    silence()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _worker["do"] = make(*arguments)


def _end_with_the_parent() -> None:
    """Stop where the process that gives the tasks was killed: nobody will take a result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(task: Any) -> Any:
    return _worker["do"](task)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Environment of the processes that are started in the body."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_tasks(
    make: Callable[..., Callable[[Any], Any]],
    arguments: tuple,
    tasks: Sequence[Any],
    *,
    workers: int,
) -> Iterator[Any]:
    """Yield ``make(*arguments)(task)`` for every task, in the order in which they are done.

    Parameters
    ----------
    make : callable
        Called once in each process; returns the function of a task. Importable by name.
    arguments : tuple
        Its arguments, which can be pickled.
    tasks : sequence
    workers : int
        Processes.

    Raises
    ------
    FitError
        Where a process was killed.
    """
    if not tasks:
        return
    context = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(
        max(1, min(workers, len(tasks))), mp_context=context, initializer=_prepare,
        initargs=(make, arguments),
    ) as pool:  # fmt: skip
        futures = [pool.submit(_call, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise FitError(
                "a process ended before its survey was done (out of memory?): run again to go on, "
                "with fewer --workers"
            ) from None
        finally:
            for future in futures:
                future.cancel()


def complete(
    ledger: Ledger,
    key: Callable[[dict[str, Any]], Hashable],
    tasks: Sequence[Any],
    make: Callable[..., Callable[[Any], Any]],
    arguments: tuple,
    *,
    workers: int,
    label: str,
    unit: str,
) -> list[dict[str, Any]]:
    """Do the tasks that a ledger does not hold yet, into it; return the results of all, by key.

    Parameters
    ----------
    ledger : Ledger
    key : callable
        From a result to its task.
    tasks : sequence
        What is wanted, in the order in which it is to be begun.
    make, arguments, workers
        As for `run_tasks`.
    label, unit : str
        Of the progress bar.

    Raises
    ------
    FitError
        Where a process was killed. What was done before is in the ledger.
    """
    done = ledger.done(key)
    left = [task for task in tasks if task not in done]
    with progress(len(tasks), label, unit=unit) as advance:
        advance(len(tasks) - len(left))
        for result in run_tasks(make, arguments, left, workers=workers):
            ledger.append(result)
            advance(1)
    wanted = set(tasks)
    return [result for result in ledger.sorted(key) if key(result) in wanted]
