"""One progress bar for every long stage, with rate and time left, on stderr; and as a file."""

from __future__ import annotations

import codecs
import datetime
import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Self

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


_log = logging.getLogger(__name__)


def say(line: object = "") -> None:
    """Print a line, in plain signs if the terminal's encoding lacks ours; log it as information."""
    if str(line).strip():
        _log.info(line)
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


def _in_kernel() -> bool:
    """Say whether a notebook's kernel runs this."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _unseen() -> bool:
    return _silent or not (sys.stderr.isatty() or _in_kernel())


class _Record:
    """The progress of a run as a JSON file, written anew at most once a second."""

    def __init__(self, path: Path) -> None:
        self.path, self.content, self.busy = path, dict[str, Any](), False
        self._written = 0.0

    def write(self, **more: Any) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.content |= {"process": os.getpid(), "updated": now, **more}
        self._written = time.monotonic()
        tmp = self.path.with_name(f".{self.path.stem}.tmp-{os.getpid()}-{0:08x}.json")
        with suppress(OSError):  # of a full disk, the products speak
            try:
                tmp.write_text(json.dumps(self.content), encoding="utf-8")
                tmp.replace(self.path)
            finally:
                tmp.unlink(missing_ok=True)

    @contextmanager
    def of(self, total: int | None, label: str, unit: str, done: int) -> Iterator[Callable]:
        """Follow the outermost of the bars that are shown."""
        if self.busy:
            yield lambda n: None
            return
        began, first = time.monotonic(), done
        self.busy = True
        self.write(stage=label, unit=unit, done=done, total=total, rate=None, seconds_left=None)

        def advance(n: int) -> None:
            nonlocal done
            done += n
            if (now := time.monotonic()) < self._written + 1.0 and done != total:
                return
            rate = (done - first) / max(now - began, 1e-9)
            left = None if total is None or not rate else round((total - done) / rate, 1)
            self.write(done=done, rate=round(rate, 3), seconds_left=left)

        try:
            yield advance
        finally:
            self.busy = False


_record: _Record | None = None


@contextmanager
def record_progress(path: Path) -> Iterator[None]:
    """Keep the progress of the body in a JSON file: stage, done of total, rate, seconds left.

    Its `state` is "running", and then "finished", or "stopped" with the `reason`.
    """
    global _record
    before, _record = _record, _Record(path)
    _record.write(state="running")
    try:
        yield
    except BaseException as error:
        _record.write(state="stopped", reason=f"{type(error).__name__}: {error}")
        raise
    else:
        _record.write(state="finished")
    finally:
        _record = before


@contextmanager
def progress(
    total: int | None, label: str, *, unit: str = "stars", done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs; within another bar's body, as a line beneath it.

    Yields ``advance(n)``: say that `n` more of `total` (None: unknown) units are done, beside those
    that were `done` before. No bar if stderr is neither a terminal nor a notebook's.
    """
    file = nullcontext() if _record is None or _silent else _record.of(total, label, unit, done)
    with file as record, _bar(total, label, unit, done) as bar:

        def advance(n: int) -> None:
            bar(n)
            if record is not None:
                record(n)

        yield advance


@contextmanager
def _bar(total: int | None, label: str, unit: str, done: int) -> Iterator[Callable[[int], None]]:
    if _unseen():
        yield lambda n: None
        return
    within = bool(_showing)
    display = _NotebookBars if _in_kernel() else _display
    with nullcontext(_showing[0]) if within else display() as bar:
        _showing.append(bar)
        label = f"  {label}" if within else label
        task = bar.add_task(label, total=total, unit=unit, completed=done)
        try:
            yield lambda n: bar.advance(task, n)
        finally:
            _showing.pop()
            if within:
                bar.remove_task(task)


class _NotebookBars:
    """Bars as text beneath a notebook's cell, which need no widgets; gone at the end.

    There are none in the first half second: what is quick leaves no empty output behind.
    """

    def __enter__(self) -> Self:
        self._tasks: dict[int, list[Any]] = {}
        self._cell: Any = None
        self._shown = time.monotonic()
        return self

    def __exit__(self, *failure: Any) -> None:
        if self._cell is not None:
            self._cell.update({"text/plain": ""}, raw=True)

    def add_task(self, label: str, *, total: int | None, unit: str, completed: int) -> int:
        """Begin a line."""
        task = max(self._tasks, default=-1) + 1
        self._tasks[task] = [label, total, unit, completed, completed, time.monotonic()]
        self._show()
        return task

    def advance(self, task: int, n: int) -> None:
        """Lengthen a bar; it is drawn twice a second at most."""
        self._tasks[task][3] += n
        if time.monotonic() > self._shown + 0.5:
            self._show()

    def remove_task(self, task: int) -> None:
        """Take a line away."""
        del self._tasks[task]
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if self._cell is None:
            if now < self._shown + 0.5:
                return
            from IPython.display import display

            self._cell = display({"text/plain": ""}, raw=True, display_id=True)
        self._shown, lines = now, []
        for label, total, unit, done, first, began in self._tasks.values():
            rate, line = (done - first) / max(self._shown - began, 1e-9), f"{done:,}"
            if total is not None:
                line = f"{'█' * (20 * done // max(total, 1)):<20} {line}/{total:,}"
            if rate:
                line += f"  {rate:,.0f} {unit}/s"
            if rate and total is not None:
                line += f"  left {datetime.timedelta(seconds=round((total - done) / rate))}"
            lines.append(f"{label:<12} {line}")
        self._cell.update({"text/plain": "\n".join(lines)}, raw=True)


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
    if _unseen() or _showing or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield
