"""Options of how a run is computed: none of them changes a number."""

from __future__ import annotations

from migrate_bayes.core.options import Options


class RunOptions(Options):
    """Where a run is computed: a recipe's ``[run]``.

    Parameters
    ----------
    scheduler : str
        Where parts of the stars are made, and sums over them: ``"threads"``, ``"local:N"`` for N
        processes, or the address of a dask scheduler, whose workers must see the folder of the
        products. ``[sampler] scheduler`` may name another for the sums.

    Examples
    --------
    >>> from migrate_bayes.run.run_options import RunOptions
    >>> RunOptions(scheduler="local:4").scheduler
    'local:4'
    """

    scheduler: str = "threads"
