"""One progress bar for every long stage: rate and time left, on stderr, where a person looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress", "status"]


@contextmanager
def progress(total: int, label: str, *, unit: str = "stars") -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs.

    Parameters
    ----------
    total : int
        How many units there are to do.
    label : str
        What is being done.
    unit : str
        What is counted.

    Yields
    ------
    callable
        ``advance(n)``: say that `n` more are done. Silent where stderr is not a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f} {unit}/s" if task.speed else "")

    with Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(label, total=total)
        yield lambda n: bar.advance(task, n)


@contextmanager
def status(label: str) -> Iterator[None]:
    """Show a spinner beside `label` while the body runs, where a person looks."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield
