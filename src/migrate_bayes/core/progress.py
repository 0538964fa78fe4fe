"""One progress bar for every long stage, with rate and time left, on stderr."""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

#: What a terminal that is not UTF-8 shows in place of our signs; of another it shows ``?``.
_PLAIN = {
    "→": "->", "−": "-", "–": "-", "…": "...", "±": "+/-", "×": "x", "≤": "<=", "≥": ">=",
    "σ": "sigma", "α": "alpha", "χ": "chi", "²": "^2", "⊙": "sun", "⁻": "^-", "¹": "1", "·": ".",
}  # fmt: skip


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in text), error.end


codecs.register_error("plain", _plain)


def say(line: object = "") -> None:
    """Print a line, in plain signs if the terminal's encoding lacks ours."""
    try:
        print(line, flush=True)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        print(str(line).encode(encoding, "plain").decode(encoding), flush=True)


def plain_terminals() -> None:
    """Let stdout and stderr replace the signs that they cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


_showing: list[Any] = []  # the display in use: a bar within a bar is a line beneath it
_silent = False


def silence() -> None:
    """Show nothing from now on: a worker leaves the terminal to the process that started it."""
    global _silent
    _silent = True


def _unseen() -> bool:
    return _silent or not sys.stderr.isatty()


@contextmanager
def progress(
    total: int | None, label: str, *, unit: str = "stars"
) -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs; within another bar's body, as a line beneath it.

    Yields ``advance(n)``: say that `n` more of `total` (None: unknown) units are done. Silent if
    stderr is not a terminal.
    """
    if _unseen():
        yield lambda n: None
        return
    within = bool(_showing)
    with nullcontext(_showing[0]) if within else _display() as bar:
        _showing.append(bar)
        task = bar.add_task(f"  {label}" if within else label, total=total, unit=unit)
        try:
            yield lambda n: bar.advance(task, n)
        finally:
            _showing.pop()
            if within:
                bar.remove_task(task)


def _display() -> Any:
    from rich import progress as bars
    from rich.console import Console
    from rich.text import Text

    class Rate(bars.ProgressColumn):
        def render(self, task: bars.Task) -> Text:
            return Text(f"{task.speed:,.0f} {task.fields['unit']}/s" if task.speed else "")

    return bars.Progress(
        bars.TextColumn("{task.description:<12}"),
        bars.BarColumn(bar_width=20),
        bars.MofNCompleteColumn(),
        Rate(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Chunks may take minutes each: the rate is that of the whole run.
        speed_estimate_period=86_400.0,
    )


@contextmanager
def status(label: str) -> Iterator[None]:
    """Show a spinner beside `label` while the body runs, if stderr is a terminal."""
    if _unseen() or _showing:
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield
