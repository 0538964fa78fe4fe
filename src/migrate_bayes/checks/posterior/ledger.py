"""Simulated surveys over processes, with their results in an append-only file.

The first line of a ledger holds kind and hash of the recipe; every other line is one survey's
result as JSON with all digits, flushed to disk before the next. The next run removes a line that a
killed run cut short, and repeats that survey.

A survey's numbers depend on the recipe and on its own number alone: any number of processes gives
the same results. Processes are used instead of threads, since NUTS runs in Python between passes
over the stars. Even one worker is a process of its own, with one thread: the number of threads of
the linear algebra may change the last bit of a product, and NUTS amplifies such a change.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from migrate_bayes.checks.posterior.recipe import SurveyRecipe
from migrate_bayes.core.errors import FitError, ProductError
from migrate_bayes.core.io import atomic_output
from migrate_bayes.core.parallel import apart_from_main
from migrate_bayes.core.progress import progress, silence
from migrate_bayes.core.provenance import provenance

_ONE_THREAD = (
    "MIGRATE_BAYES_WORKERS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip

#: Makes the function of a task.
Make = Callable[..., Callable[[Any], Any]]

_worker: dict[str, Callable[[Any], Any]] = {}


class Ledger:
    """File of survey results, a JSON line each; `ProductError` if it is another recipe's."""

    def __init__(
        self, path: str | Path, *, kind: str, recipe_hash: str, seed: int, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        self.results: list[dict[str, Any]] = []
        if overwrite or not self.path.exists():
            header = {"kind": kind, **provenance(seed=seed, recipe_hash=recipe_hash)}
            with atomic_output(self.path, overwrite=overwrite) as out:
                out.write_text(json.dumps(header) + "\n", encoding="utf-8")
            return
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        try:
            header, *self.results = [json.loads(line) for line in whole.splitlines()]
            found = (header["kind"], header["recipe_hash"])
        except (ValueError, KeyError, TypeError) as error:
            raise ProductError(
                f"{self.path} cannot be gone on with ({error}): use --overwrite to begin anew"
            ) from None
        if found != (kind, recipe_hash):
            raise ProductError(
                f"{self.path} holds surveys of another recipe: use --overwrite to replace them, "
                "or another name"
            )
        if len(whole) < len(text):
            os.truncate(self.path, len(whole))

    def append(self, result: dict[str, Any]) -> None:
        """Add one result and flush it to disk."""
        with self.path.open("ab") as out:
            out.write(json.dumps(result, allow_nan=True).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        self.results.append(result)


def _prepare(make: Make, arguments: tuple) -> None:
    silence()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _worker["do"] = make(*arguments)


def _end_with_the_parent() -> None:
    """Exit if the parent process was killed: no process would take the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(task: Any) -> Any:
    return _worker["do"](task)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Set the environment of processes that start in the body."""
    before = {name: os.environ[name] for name in _ONE_THREAD if name in os.environ}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name in _ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)


def run_tasks(make: Make, arguments: tuple, tasks: Sequence[Any], *, workers: int) -> Iterator[Any]:
    """Yield ``make(*arguments)(task)`` for every task, in the order in which they are done.

    `make`, importable by name, is called once in each of the `workers` processes. `FitError` if a
    process was killed.
    """
    if not tasks:
        return
    with _one_thread_each(), ProcessPoolExecutor(
        max(1, min(workers, len(tasks))), multiprocessing.get_context("spawn"), _prepare,
        (make, arguments),
    ) as pool:  # fmt: skip
        with apart_from_main():  # every process starts with the first task
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
    recipe: SurveyRecipe,
    path: str | Path,
    tasks: Sequence[Any],
    make: Make,
    key: Callable[[dict[str, Any]], Hashable],
    *,
    kind: str,
    unit: str,
    workers: int,
    overwrite: bool,
) -> list[dict[str, Any]]:
    """Do the tasks that the ledger at `path` lacks; return the results of all, sorted by task.

    `make` takes the recipe to the function of a task, `key` a result to its task. Tasks begin in
    their order, and each result is in the ledger as soon as it is done.
    """
    ledger = Ledger(path, kind=kind, recipe_hash=recipe.hash, seed=recipe.seed, overwrite=overwrite)
    done = {key(result) for result in ledger.results}
    left = [task for task in tasks if task not in done]
    with progress(len(tasks), kind, unit=unit) as advance:
        advance(len(tasks) - len(left))
        for result in run_tasks(make, (recipe,), left, workers=workers):
            ledger.append(result)
            advance(1)
    by_key = {key(result): result for result in ledger.results}
    return [by_key[task] for task in sorted(tasks)]
