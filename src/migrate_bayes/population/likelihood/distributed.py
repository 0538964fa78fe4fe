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

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import FitError, SchedulerError
from migrate_bayes.core.parallel import BLOCKS_PER_TASK, blocks, map_blocks, open_scheduler
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


def _evaluate(shard: _Shard, method: str, arguments: tuple) -> list[Any]:
    """Call a likelihood's method on every run of a shard, on the worker; results in order."""
    runs, arguments = shard.runs, tuple(map(_own, arguments))
    return map_blocks(lambda start, _: getattr(runs[start], method)(*arguments), len(runs), 1)


class _Held(NamedTuple):
    """A shard in a worker's memory: its future, and that worker's address."""

    shard: Any
    address: str


class ShardedLikelihood:
    """The `Likelihood` of packed stars, summed by the workers of a `distributed.Client`.

    A `SchedulerError` is raised if there are no workers.
    """

    def __init__(self, stars: PackedStars, client: Any) -> None:
        self.stars, self.n_stars = stars, stars.n_stars
        self.client = client
        self.evaluations = 0
        #: Shards that were sent again because their worker was lost.
        self.recovered = 0
        # Threads of this process do nothing here; samplers set it all the same.
        self.workers: int | None = None
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
            raise SchedulerError(
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
                        _evaluate, held.shard, method, arguments, pure=False,
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


@contextmanager
def likelihood_on(
    packed: PackedStars, scheduler: Any = "threads", *, workers: int | None = None
) -> Iterator[Likelihood]:
    """Open the likelihood that a recipe's ``[sampler] scheduler`` asks for.

    Parameters
    ----------
    packed : PackedStars
        `PopulationData.stars`.
    scheduler : str or distributed.Client
        ``"threads"``, ``"local:N"`` for N processes, the address of a dask scheduler, or a client.
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
    SchedulerError
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
    opened = open_scheduler(scheduler) if isinstance(scheduler, str) else nullcontext(scheduler)
    with opened as client:
        yield ShardedLikelihood(packed, client)
