"""The sum over stars on `dask.distributed` workers, each of which holds shards of the packed stars.

`ShardedLikelihood` stands where `StarLikelihood` does: same methods, same numbers. A shard is a
consecutive range of blocks; a worker sums runs of `BLOCKS_PER_TASK` blocks, the very sums that the
local likelihood adds up, and all of them come back and are added here in the order of the blocks.
On like processors value and gradient are therefore those of one process to the last bit, whatever
the number of workers (the Fisher information, to rounding).

The stars are sent once; an evaluation sends θ, some kilobytes, and brings back as much per run.
This process keeps the packed stars: when a worker is lost, with its shards and whatever it was
summing, the shards are sent to the workers that remain (or to the one that takes its place) and
only what is missing is summed again.

>>> with open_scheduler("local:2") as client:  # doctest: +SKIP
...     likelihood = ShardedLikelihood(data.stars, client)
...     fit = PopulationModel(data, spec, likelihood=likelihood).sample()
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from migrate_bayes.core.errors import FitError, RecipeError
from migrate_bayes.core.parallel import BLOCKS_PER_TASK, blocks, map_blocks
from migrate_bayes.population.likelihood.layout import PackedStars
from migrate_bayes.population.likelihood.op import Likelihood, StarLikelihood, in_order
from migrate_bayes.population.likelihood.subsets import run_of_blocks

_log = logging.getLogger(__name__)

#: How often the same shard may be lost before the fit gives up.
ATTEMPTS = 5
#: Seconds to wait for a worker where none is left.
PATIENCE = 60.0


def _own(value: Any) -> Any:
    """Copy an array that came over the wire read-only.

    To the compiler that is another type: the kernel would be compiled anew on every worker, and
    might add in another order.
    """
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        return value.copy()
    return value


class _Shard:
    """What a worker holds: likelihoods of runs of `BLOCKS_PER_TASK` blocks, made once."""

    def __init__(self, packed: PackedStars) -> None:
        self.packed = packed
        self._runs: list[tuple[StarLikelihood, NDArray[np.int64]]] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple:
        return (_Shard, (self.packed,))

    @property
    def runs(self) -> list[tuple[StarLikelihood, NDArray[np.int64]]]:
        with self._lock:
            if self._runs is None:
                arrays = {k: _own(v) for k, v in vars(self.packed).items()}
                self.packed = PackedStars(**arrays)
                self._runs = [
                    (StarLikelihood(part, workers=1), index)
                    for part, index in (
                        run_of_blocks(self.packed, *run)
                        for run in blocks(self.packed.n_blocks, BLOCKS_PER_TASK)
                    )
                ]
        return self._runs

    def sums(self, method: str, arguments: tuple, workers: int | None) -> list[tuple]:
        """Call a method that sums over stars on every run; return the runs' results in order."""
        runs = self.runs

        def task(start: int, stop: int) -> tuple:
            return getattr(runs[start][0], method)(*arguments)

        return map_blocks(task, len(runs), 1, workers=workers)

    def per_star(self, arguments: tuple, workers: int | None) -> tuple[NDArray, NDArray]:
        """Return ln L and expectations of the shard's stars, in the order of its blocks."""
        made = self.sums("per_star", arguments, workers)
        return np.concatenate([m[0] for m in made]), np.concatenate([m[1] for m in made], axis=1)


def _evaluate(shard: _Shard, method: str, arguments: tuple, workers: int | None) -> Any:
    """Run on the worker."""
    arguments = tuple(_own(a) for a in arguments)
    if method == "per_star":
        return shard.per_star(arguments, workers)
    return shard.sums(method, arguments, workers)


class _Held(NamedTuple):
    """A shard in a worker's memory: its future, and that worker's address."""

    shard: Any
    address: str


class ShardedLikelihood:
    """The likelihood of packed stars as a function of θ, summed by distributed workers.

    Parameters
    ----------
    stars : PackedStars
    client : distributed.Client
    shards : int, optional
        Pieces to cut the stars into; one for each worker where not given. More pieces than workers
        spread better over what remains after a loss.
    threads : int, optional
        Threads of one worker; as many as the worker has processors where not given. Workers of
        ``open_scheduler("local:N")`` use one.

    Raises
    ------
    FitError
        Where there are no workers.
    """

    def __init__(
        self,
        stars: PackedStars,
        client: Any,
        *,
        shards: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.stars = stars
        self.client = client
        self.evaluations = 0
        #: Shards that were sent again because their worker was lost.
        self.recovered = 0
        # Threads of this process do nothing here; samplers set it all the same.
        self.workers: int | None = None
        self._threads = threads
        self._lock = threading.Lock()
        runs = blocks(stars.n_blocks, BLOCKS_PER_TASK)
        wanted = max(1, min(shards or self._n_workers(), len(runs)))
        edges = np.linspace(0, len(runs), wanted + 1).round().astype(int)
        self._bounds = [(runs[a][0], runs[b - 1][1]) for a, b in pairwise(edges)]
        self._index = [run_of_blocks(stars, *bounds)[1] for bounds in self._bounds]
        self._held: list[_Held] = [self._send(i) for i in range(wanted)]

    def _n_workers(self) -> int:
        try:
            self.client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise FitError(
                f"no dask worker came to {self.client.scheduler.address} in {PATIENCE:g} s: start "
                "some with `dask worker`, or use another scheduler"
            ) from None
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def _send(self, i: int) -> _Held:
        """Place a shard on a worker, in turn over those that there are."""
        self._n_workers()
        addresses = sorted(self.client.scheduler_info(n_workers=-1)["workers"])
        part, _ = run_of_blocks(self.stars, *self._bounds[i])
        address = addresses[i % len(addresses)]
        # Not by content: two shards sent after one another are different things to lose.
        return _Held(self.client.scatter(_Shard(part), workers=[address], hash=False), address)

    def _replace(self, i: int, lost: _Held) -> None:
        """Send a shard again, unless another thread has done so."""
        with self._lock:
            if self._held[i] is lost:
                _log.warning("a worker was lost: shard %d of the stars is sent again", i)
                self._held[i] = self._send(i)
                self.recovered += 1

    def _map(self, method: str, *arguments: Any) -> list[Any]:
        """Evaluate on every shard, again where a worker was lost on the way."""
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
                    # Where it was put, or dask copies a busy worker's shard to an idle one.
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

    @property
    def n_stars(self) -> int:
        """Number of stars in the sum."""
        return self.stars.n_stars

    def subset(self, n_stars: int) -> StarLikelihood:
        """Return the likelihood of about `n_stars` of the stars, summed in this process."""
        return StarLikelihood(self.stars).subset(n_stars)

    def _summed(self, method: str, *arguments: Any) -> tuple:
        self.evaluations += 1
        parts = [run for shard in self._map(method, *arguments) for run in shard]
        totals = [np.zeros_like(np.asarray(value, dtype=np.float64)) for value in parts[0]]
        for part in parts:
            for total, value in zip(totals, part, strict=True):
                total += value
        return tuple(float(t) if t.ndim == 0 else t for t in totals)

    def value(self, theta: NDArray[np.float64]) -> float:
        """Return Σ ln L; see `StarLikelihood.value`."""
        self.evaluations += 1
        parts = self._map("value", np.ascontiguousarray(theta, float))
        return in_order([run for shard in parts for run in shard])

    def value_and_gradient(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return Σ ln L and its gradient; see `StarLikelihood.value_and_gradient`."""
        value, gradient = self._summed("value_and_gradient", np.ascontiguousarray(theta, float))
        return value, gradient

    def score_outer(
        self, theta: NDArray[np.float64], jacobian: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Return Σ ln L, gradient and Fisher information; see `StarLikelihood.score_outer`."""
        value, score, outer = self._summed("score_outer", np.asarray(theta), np.asarray(jacobian))
        return value, score, outer

    def per_star(
        self, theta: NDArray[np.float64], reduce: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return each star's ln L and expectations; see `StarLikelihood.per_star`."""
        made = self._map("per_star", np.ascontiguousarray(theta, dtype=float), reduce)
        n = self.stars.n_stars
        log_like = np.empty(n)
        expectation = np.empty((0 if reduce is None else len(reduce), n))
        for index, (mine, means) in zip(self._index, made, strict=True):
            log_like[index] = mine
            expectation[:, index] = means
        return log_like, expectation


def _parse(scheduler: str) -> int | str:
    """Number of local processes, or an address.

    Raises
    ------
    RecipeError
        Where it is neither.
    """
    kind, _, rest = scheduler.partition(":")
    if kind == "local" and rest.isdigit() and int(rest) > 0:
        return int(rest)
    if kind in ("tcp", "tls", "ws", "wss", "ucx") and rest:
        return scheduler
    raise RecipeError(
        f'scheduler \'{scheduler}\' is none: use "threads", "local:N" for N processes on this '
        'machine, or the address of a running scheduler such as "tcp://host:8786"'
    )


@contextmanager
def open_scheduler(scheduler: str) -> Iterator[Any]:
    """Open a `distributed.Client`: of new local processes, or of a scheduler that runs already.

    Parameters
    ----------
    scheduler : str
        ``"local:N"``, or an address.

    Raises
    ------
    RecipeError
        Where `scheduler` is neither, or `distributed` is not installed.
    FitError
        Where nobody answers at the address.
    """
    where = _parse(scheduler)
    try:
        import dask
        import distributed
    except ModuleNotFoundError:
        raise RecipeError(
            f"scheduler '{scheduler}' needs the package distributed: "
            "pip install 'migrate-bayes[distributed]'"
        ) from None
    if isinstance(where, str):
        try:
            client = distributed.Client(where, timeout="20s", set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise FitError(f"no dask scheduler answers at {where}: {error}") from None
        with client:
            yield client
        return
    # A shard should stay where it was put; the threads of a process are ours, one for the sum.
    quiet = {"distributed.scheduler.work-stealing": False, "distributed.admin.tick.limit": "1h"}
    with (
        dask.config.set(quiet),
        distributed.LocalCluster(
            n_workers=where, threads_per_worker=1, memory_limit=0,
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
    scheduler : str
        ``"threads"``, ``"local:N"`` or an address.
    workers : int, optional
        Threads, where ``scheduler`` is ``"threads"``.
    """
    if scheduler == "threads":
        yield StarLikelihood(packed, workers=workers)
        return
    with open_scheduler(scheduler) as client:
        threads = 1 if isinstance(_parse(scheduler), int) else None
        yield ShardedLikelihood(packed, client, threads=threads)
