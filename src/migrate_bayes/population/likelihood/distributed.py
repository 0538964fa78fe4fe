"""The sum over stars on `dask.distributed` workers, each of which holds shards of the packed stars.

`ShardedLikelihood` is a `Likelihood` as `StarLikelihood` is, with the same numbers. A shard is a
consecutive range of blocks; a worker sums runs of `BLOCKS_PER_TASK` blocks, the same sums that the
local likelihood adds up, and they are added here in the order of the blocks. On like processors
value and gradient are therefore those of one process to the last bit, whatever the number of
workers (the Fisher information, to rounding).

The stars are sent once; an evaluation sends θ, some kilobytes, and brings back as much per run.
This process keeps the packed stars: when a worker is lost with its shards, they are sent to the
workers that remain (or to the one that takes its place), and only what is missing is summed again.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import FitError, RecipeError
from migrate_bayes.core.parallel import BLOCKS_PER_TASK, apart_from_main, blocks, map_blocks
from migrate_bayes.population.likelihood.kernel import Blocks
from migrate_bayes.population.likelihood.layout import PackedStars, run_of_blocks
from migrate_bayes.population.likelihood.op import Likelihood, StarLikelihood, in_order

Floats = NDArray[np.float64]

_log = logging.getLogger(__name__)

#: How often the same shard may be lost before the fit gives up.
ATTEMPTS = 5
#: Seconds to wait for a worker if none is left.
PATIENCE = 60.0


def _own(value: Any) -> Any:
    """Copy arrays that came over the wire read-only.

    To the compiler that is another type: the kernel would be compiled anew on every worker, and
    might add in another order.
    """
    if isinstance(value, Blocks):
        return Blocks(*map(_own, value))
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        return value.copy()
    return value


class _Shard:
    """What a worker holds: likelihoods of runs of `BLOCKS_PER_TASK` blocks, made once."""

    def __init__(self, packed: PackedStars) -> None:
        self.packed = packed
        self._runs: list[StarLikelihood] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple:
        return (_Shard, (self.packed,))

    @property
    def runs(self) -> list[StarLikelihood]:
        with self._lock:
            if self._runs is None:
                self.packed = PackedStars(*map(_own, vars(self.packed).values()))
                parts = blocks(self.packed.n_blocks, BLOCKS_PER_TASK)
                self._runs = [
                    StarLikelihood(run_of_blocks(self.packed, *part)[0], workers=1)
                    for part in parts
                ]
        return self._runs


def _evaluate(shard: _Shard, method: str, arguments: tuple, workers: int | None) -> list[Any]:
    """Call a likelihood's method on every run of a shard, on the worker; results in order."""
    runs, arguments = shard.runs, tuple(map(_own, arguments))
    return map_blocks(
        lambda start, _: getattr(runs[start], method)(*arguments), len(runs), 1, workers=workers
    )


class _Held(NamedTuple):
    """A shard in a worker's memory: its future, and that worker's address."""

    shard: Any
    address: str


class ShardedLikelihood:
    """The `Likelihood` of packed stars, summed by the workers of a `distributed.Client`.

    `threads` are of one worker; as many as it has processors if not given. A `FitError` is raised
    if there are no workers.
    """

    def __init__(self, stars: PackedStars, client: Any, *, threads: int | None = None) -> None:
        self.stars, self.n_stars = stars, stars.n_stars
        self.client = client
        self.evaluations = 0
        #: Shards that were sent again because their worker was lost.
        self.recovered = 0
        # Threads of this process do nothing here; samplers set it all the same.
        self.workers: int | None = None
        self._threads = threads
        self._lock = threading.Lock()
        runs = blocks(stars.n_blocks, BLOCKS_PER_TASK)
        wanted = max(1, min(len(self._workers()), len(runs)))
        edges = np.linspace(0, len(runs), wanted + 1).round().astype(int)
        self._bounds = [(runs[a][0], runs[b - 1][1]) for a, b in pairwise(edges)]
        self._index = [run_of_blocks(stars, *bounds)[1] for bounds in self._bounds]
        self._held: list[_Held] = [self._send(i) for i in range(wanted)]

    def _workers(self) -> list[str]:
        """Wait for a worker; return the addresses of all."""
        try:
            self.client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise FitError(
                f"no dask worker came to {self.client.scheduler.address} in {PATIENCE:g} s: start "
                "some with `dask worker`, or use another scheduler"
            ) from None
        return sorted(self.client.scheduler_info(n_workers=-1)["workers"])

    def _send(self, i: int) -> _Held:
        """Place a shard on a worker, in turn over those that there are."""
        addresses = self._workers()
        part, _ = run_of_blocks(self.stars, *self._bounds[i])
        address = addresses[i % len(addresses)]
        # No hash of the content: a shard that is sent again is another thing to lose.
        return _Held(self.client.scatter(_Shard(part), workers=[address], hash=False), address)

    def _replace(self, i: int, lost: _Held) -> None:
        """Send a shard again, unless another thread has done so."""
        with self._lock:
            if self._held[i] is lost:
                _log.warning("a worker was lost: shard %d of the stars is sent again", i)
                self._held[i] = self._send(i)
                self.recovered += 1

    def _map(self, method: str, *arguments: Any) -> list[Any]:
        """Evaluate on every shard, again if its worker was lost on the way."""
        from distributed import Future
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker

        gone = (FutureCancelledError, KilledWorker, CommClosedError, OSError)
        done: dict[int, Any] = {}
        for _ in range(ATTEMPTS):
            under_way: dict[int, tuple[Future, _Held]] = {}
            for i in range(len(self._held)):
                if i not in done:
                    held = self._held[i]
                    # On its own worker, or dask copies a busy worker's shard to an idle one.
                    call = self.client.submit(
                        _evaluate, held.shard, method, arguments, self._threads, pure=False,
                        workers=[held.address], allow_other_workers=True,
                    )  # fmt: skip
                    under_way[i] = call, held
            for i, (call, held) in under_way.items():
                try:
                    done[i] = call.result()
                except gone as error:
                    _log.info("shard %d: %s", i, error)
                    self._replace(i, held)
            if len(done) == len(self._held):
                return [done[i] for i in range(len(self._held))]
        raise FitError(
            f"workers were lost {ATTEMPTS} times in one sum over the stars: look at their logs "
            "(out of memory is the usual cause), and give each fewer stars"
        )

    def subset(self, n_stars: int) -> StarLikelihood:
        """Return the likelihood of about `n_stars` of the stars, summed in this process."""
        return StarLikelihood(self.stars).subset(n_stars)

    def _sum(self, method: str, *arguments: Any) -> tuple:
        self.evaluations += 1
        runs = [run for shard in self._map(method, *arguments) for run in shard]
        return in_order([run if isinstance(run, tuple) else (run,) for run in runs])

    def value(self, theta: Floats) -> float:
        """Return Σ ln L; see `Likelihood.value`."""
        return self._sum("value", np.ascontiguousarray(theta, float))[0]

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """Return Σ ln L and its gradient; see `Likelihood.value_and_gradient`."""
        return self._sum("value_and_gradient", np.ascontiguousarray(theta, float))

    def score_outer(self, theta: Floats, jacobian: Floats) -> tuple[float, Floats, Floats]:
        """Return Σ ln L, gradient and Fisher information; see `Likelihood.score_outer`."""
        return self._sum("score_outer", np.asarray(theta), np.asarray(jacobian))

    def per_star(self, theta: Floats, reduce: Floats | None = None) -> tuple[Floats, Floats]:
        """Return each star's ln L and expectations; see `Likelihood.per_star`."""
        made = self._map("per_star", np.ascontiguousarray(theta, dtype=float), reduce)
        log_like = np.empty(self.n_stars)
        expectation = np.empty((0 if reduce is None else len(reduce), self.n_stars))
        for index, runs in zip(self._index, made, strict=True):
            mine, means = zip(*runs, strict=True)
            log_like[index] = np.concatenate(mine)
            expectation[:, index] = np.concatenate(means, axis=1)
        return log_like, expectation


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

    kind, _, rest = scheduler.partition(":")
    local = kind == "local"
    if not local:
        try:
            client = distributed.Client(scheduler, timeout="20s", set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise FitError(f"no dask scheduler answers at {scheduler}: {error}") from None
        with client:
            yield client
        return

    class Nanny(distributed.Nanny):
        """Starts a worker, and starts it anew if it was lost, without the user's script."""

        async def instantiate(self) -> Any:
            with apart_from_main():
                return await super().instantiate()

    # A shard should stay where it was put; the threads of a process are ours, one for the sum.
    quiet = {"distributed.scheduler.work-stealing": False, "distributed.admin.tick.limit": "1h"}
    with (
        dask.config.set(quiet),
        distributed.LocalCluster(
            n_workers=int(rest), threads_per_worker=1, memory_limit=0, worker_class=Nanny,
            dashboard_address="127.0.0.1:0",  # a free port, for this machine alone
            silence_logs=logging.ERROR,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


@contextmanager
def likelihood_on(
    packed: PackedStars, scheduler: str = "threads", *, workers: int | None = None
) -> Iterator[Likelihood]:
    """Open the likelihood that a recipe's ``[sampler] scheduler`` asks for.

    Parameters
    ----------
    packed : PackedStars
        `PopulationData.stars`.
    scheduler : str
        ``"threads"``, ``"local:N"`` for N processes, or the address of a dask scheduler.
    workers : int, optional
        Threads, if `scheduler` is ``"threads"``.

    Yields
    ------
    Likelihood
        To be given to `PopulationModel`; the numbers are the same for each scheduler.

    Raises
    ------
    RecipeError
        If `scheduler` is none of these, or `distributed` is not installed.
    FitError
        If no scheduler answers at the address, or no worker is there.

    Examples
    --------
    >>> from migrate_bayes import likelihood_on, population_data
    >>> from migrate_bayes.mock.model_stars import simulated_stars
    >>> with likelihood_on(population_data(simulated_stars(100, seed=1)).stars) as likelihood:
    ...     likelihood.n_stars
    100
    """
    if scheduler == "threads":
        yield StarLikelihood(packed, workers=workers)
        return
    with open_scheduler(scheduler) as client:
        threads = 1 if scheduler.startswith("local:") else None
        yield ShardedLikelihood(packed, client, threads=threads)
