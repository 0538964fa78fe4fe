"""A part of the stars is the unit of work, of storage, of failure and of distribution.

`PartMaker` makes the file of one part, and is the same wherever it runs: here, in one of some local
processes, on a worker of a cluster, in a shard. What it makes follows from the rows of the part and
from the recipe, so that the bytes are the same too. `make_parts` calls it here or through a
`distributed.Client`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from migrate_bayes.core.errors import MigrateBayesError, ProductError, SchedulerError
from migrate_bayes.core.io import disk_error
from migrate_bayes.core.progress import silence
from migrate_bayes.run.recipe import Recipe
from migrate_bayes.stars import assemble_stars
from migrate_bayes.stars.parts import Part, write_part

_log = logging.getLogger(__name__)

FEWEST = 1024
"""Stars at a time below which memory that does not suffice is an error."""


@dataclass(frozen=True)
class PartMaker:
    """The per-star stages of a recipe, on one part of its catalogue."""

    recipe: Recipe
    folder: Path
    ages: bool
    orbits: bool
    family: str | None = None
    attrs: Mapping[str, Any] | None = None

    def __call__(self, number: int, chunks: Iterable[xr.Dataset]) -> Part:
        """Make a part from its rows, in chunks, and write it."""
        pieces = [stars for chunk in chunks for stars in self.made_of(chunk)]
        return write_part(self.folder, number, pieces)

    def made_of(self, chunk: xr.Dataset) -> list[xr.Dataset]:
        """Return the stars of a chunk; of its halves, if memory does not suffice for the whole."""
        try:
            stages = {
                "ages": self.ages_of(chunk) if self.ages else None,
                "orbits": self.orbits_of(chunk) if self.orbits else None,
            }
            return [assemble_stars(chunk, **stages, attrs=self.attrs)]
        except MemoryError:
            if (half := chunk.sizes["star"] // 2) < FEWEST:
                raise
        _log.warning("out of memory with %d stars at a time: half as many are tried", 2 * half)
        halves = (chunk.isel(star=slice(half)), chunk.isel(star=slice(half, None)))
        return [stars for part in halves for stars in self.made_of(part)]

    def ages_of(self, chunk: xr.Dataset) -> xr.Dataset:
        """Return the ages of a chunk, on the recipe's isochrones or those of the `family`."""
        from migrate_bayes.catalog import flag_age_error
        from migrate_bayes.isochrones import estimate_ages, external_ages

        i, limit = self.recipe.isochrones, self.recipe.data.max_age_error
        if self.family is not None:
            i = i.model_copy(update={"source": self.family})
        ages = external_ages(chunk) if i.source == "external" else estimate_ages(chunk, i)
        return ages if limit is None else flag_age_error(ages, max_age_error=limit)

    def orbits_of(self, chunk: xr.Dataset) -> xr.Dataset:
        """Return phase space and orbits of a chunk."""
        from migrate_bayes.orbits import compute_orbits

        return compute_orbits(chunk, self.recipe.orbits, seed=self.recipe.seed)


#: Numbers, and their rows in chunks; for workers, of what can be sent.
Parts = Iterable[tuple[int, Iterable[xr.Dataset]]]
Made = tuple[int, Part | Exception]


def partition_function(recipe: Recipe) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what makes ages and orbits of a partition, as `map_partitions` of lsdb takes it.

    Parameters
    ----------
    recipe : Recipe
        Its ``[data]``, ``[isochrones]``, ``[orbits]``, seed and ``until`` count.

    Returns
    -------
    callable
        Takes the rows of a partition of a catalogue, with the columns that ``[data]`` names;
        returns a row for each, under the same index, in the columns of `migrate-bayes export`.
        Numbers are those of a run; repeat observations are looked for in the partition alone.

    Examples
    --------
    >>> import migrate_bayes as mb
    >>> rows = mb.simulate(stars=4, seed=1).to_dataframe().reset_index()
    >>> make = mb.partition_function(mb.Recipe(name="x", data={"source": "mock"}, until="ages"))
    >>> bool(make(rows)["age_median"].notna().any())
    True
    """
    return partial(_of_partition, PartMaker(recipe, Path(), True, recipe.until == "fit"))


def _of_partition(maker: PartMaker, rows: pd.DataFrame) -> pd.DataFrame:
    from migrate_bayes.catalog.reading import read_partition
    from migrate_bayes.export import as_frame

    # A partition without rows, by which dask learns the columns, is made as if it had one.
    given = rows if len(rows) else _one_row(rows)
    catalog = read_partition(given.reset_index(drop=True), maker.recipe.data)
    made = [as_frame(stars) for stars in maker.made_of(catalog)]
    table = made[0] if len(made) == 1 else pd.concat(made, ignore_index=True)
    return table[: len(rows)].set_index(rows.index)


def _one_row(rows: pd.DataFrame) -> pd.DataFrame:
    one = {}
    for name, dtype in rows.dtypes.items():
        for value in (1, "1"):
            with suppress(TypeError, ValueError, NotImplementedError):
                one[name] = pd.Series([value]).astype(dtype)
                break
    return pd.DataFrame(one)


class LostWorkersError(Exception):
    """Workers were lost, one after another, while they made the same part."""


def make_parts(maker: PartMaker, parts: Parts, client: Any = None) -> Iterator[Made]:
    """Make parts from their numbers and chunks; iterate over those that are done, in any order.

    What a part raised stands in its place: it is for the caller to set the part aside. Faults that
    are of no part alone (`of_the_run`) are raised.
    """
    made = _made_here(maker, parts) if client is None else _made_by_workers(maker, parts, client)
    for number, part in made:
        if isinstance(part, Exception) and of_the_run(part):
            raise part
        yield number, part


def of_the_run(error: Exception) -> bool:
    """Say whether an error would meet every part: of the user, the disk or the memory."""
    expected = MigrateBayesError | OSError | MemoryError
    return isinstance(error, expected) or disk_error(error) is not None


def _made_here(maker: PartMaker, parts: Parts) -> Iterator[Made]:
    for number, chunks in parts:
        made: Part | Exception
        try:
            made = maker(number, chunks)
        except Exception as error:
            made = error
        yield number, made


_one_at_a_time = threading.Lock()


def _on_worker(maker: PartMaker, number: int, chunks: Iterable[xr.Dataset]) -> Part:
    """Make a part with all threads of this worker, and one part at a time, for its memory."""
    import dask

    silence()
    if not maker.folder.is_dir():
        raise ProductError(
            f"a dask worker does not see {maker.folder}: products must be in a folder that all "
            "workers share"
        )
    # Or xarray locks a file that it writes by way of the scheduler.
    with _one_at_a_time, dask.config.set(scheduler="threads"):
        # Arrays that came over the wire may be read-only, to the compiler another type.
        return maker(number, (chunk.copy(deep=True) for chunk in chunks))


def _made_by_workers(maker: PartMaker, parts: Parts, client: Any) -> Iterator[Made]:
    """Have parts made by a client's workers, as many at once as there are workers.

    The scheduler holds what is sent of a part until it is made, and gives it to another worker if
    the first is lost. A cluster of somebody's own is asked for one more, so that it may grow.
    """
    from distributed import CancelledError, Future, as_completed
    from distributed.comm import CommClosedError
    from distributed.scheduler import KilledWorker

    spare = int(client.cluster is None)
    under_way: dict[Future, int] = {}
    done = as_completed(loop=client.loop)

    def finished() -> Iterator[Made]:
        for call in done.next_batch():
            number, error = under_way.pop(call), call.exception()
            if isinstance(error, CancelledError | CommClosedError):
                raise error
            if isinstance(error, KilledWorker):
                error = LostWorkersError(str(error))
            yield number, call.result() if error is None else error

    try:
        for number, chunks in parts:
            call = client.submit(_on_worker, maker, number, chunks, pure=False)
            under_way[call] = number
            done.add(call)
            while len(under_way) >= max(1, len(client.nthreads()) + spare):
                yield from finished()
        while under_way:
            yield from finished()
    except (CancelledError, CommClosedError, TimeoutError) as error:
        raise SchedulerError(
            f"the dask scheduler at {client.scheduler.address} was lost ({error}): what is "
            "finished is kept, and the same command goes on from there"
        ) from None
    finally:
        if client.status == "running":
            client.cancel([*under_way])
