r"""Measurement of a benchmark: least of several times, pairs of codes, memory of a fresh process.

Other users of a machine add to a time and never take away from it, so the least of several times is
the closest to what the code needs. Two codes are timed in alternation, so that other load slows
both; their ratio is that of the two least times, and the ratios of neighbouring pairs give its
range. Every code is called once before it is timed: compilation and the building of tables are not
counted. The peak memory of a process never falls, so it is measured in a fresh process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from migrate_bayes.core.parallel import default_workers, peak_memory_gb
from migrate_bayes.core.provenance import versions
from migrate_bayes.core.table import Table, plain

_VERSIONS = ("python", "migrate-bayes", "numpy", "numba")


def _time(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def best_time(function: Callable[[], object], *, repeats: int = 3, warm_up: bool = True) -> float:
    """Return the least of `repeats` times that `function` took, s; `warm_up` calls it before."""
    if warm_up:
        function()
    return min(_time(function) for _ in range(repeats))


class Ratio(NamedTuple):
    """Time per star of a slow code over that of a fast one."""

    ratio: float  # of the least times
    low: float  # least and greatest ratio of the two in the same pair
    high: float
    slow_seconds: float  # least times per star, s
    fast_seconds: float


def paired_ratio(
    slow: Callable[[], object],
    fast: Callable[[], object],
    *,
    slow_stars: int,
    fast_stars: int,
    repeats: int = 3,
    warm_up: bool = True,
) -> Ratio:
    """Time two codes in alternation, `repeats` pairs.

    `slow_stars` and `fast_stars` are the stars of one call: a fast code can be given the same stars
    many times over, so that its call is long enough to time.
    """
    if warm_up:
        slow()
        fast()
    pairs = [(_time(slow) / slow_stars, _time(fast) / fast_stars) for _ in range(repeats)]
    each = [a / b for a, b in pairs]
    least_slow, least_fast = map(min, zip(*pairs, strict=True))
    return Ratio(least_slow / least_fast, min(each), max(each), least_slow, least_fast)


def scaling(
    function: Callable[[int], object], sizes: Sequence[int], *, repeats: int = 2
) -> dict[str, Any]:
    """Time ``function(n)`` for each n of `sizes`; ``exponent`` is the slope of ln(s) on ln(n)."""
    function(min(sizes))
    seconds = [best_time(partial(function, n), repeats=repeats, warm_up=False) for n in sizes]
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    return {"stars": list(sizes), "seconds": seconds, "exponent": slope}


def in_fresh_process(function: Callable[..., Any] | str, **arguments: Any) -> Any:
    """Call an importable function, or ``module:name``, in a Python of its own; all passes as JSON.

    Returns ``result``, ``peak_rss_gb`` (10⁹ bytes) and ``seconds`` (of the call, without start-up).
    `RuntimeError`, with the process's last lines, if it fails.
    """
    target = function if isinstance(function, str) else f"{function.__module__}:{function.__name__}"
    # The child imports what its parent does, wherever the package lies.
    source = str(Path(__file__).resolve().parents[3])
    paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    done = subprocess.run(
        [sys.executable, "-m", __name__, target, json.dumps(arguments)],
        capture_output=True, text=True, timeout=86_400.0, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{target} failed in its own process:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and warnings of another package off the terminal."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as sink,
        contextlib.redirect_stderr(sink),
        warnings.catch_warnings(action="ignore"),
    ):
        yield


def machine() -> dict[str, Any]:
    """Describe what the figures are measured on."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*:\s*(.*\S)", info.read_text() if info.exists() else "", re.M)
    return {
        "processor": named[1] if named else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "threads": default_workers(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "versions": {k: v for k, v in versions().items() if k in _VERSIONS},
    }


def emit(title: str, result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a benchmark's result: one JSON object, or a short table of its figures."""
    whole = plain(result)
    if as_json:
        print(json.dumps(whole, indent=2, allow_nan=False))
    else:
        Table(title, ["quantity", "value"], [*_rows(whole)]).print()


def _rows(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from _rows(value, f"{prefix}{key}.")
        else:
            texts = map(_text, value if isinstance(value, list) else [value])
            yield f"{prefix}{key}", ", ".join(texts)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


if __name__ == "__main__":  # the other end of `in_fresh_process`
    module, _, name = sys.argv[1].partition(":")
    function = getattr(import_module(module), name)
    start = time.perf_counter()
    found = {"result": function(**json.loads(sys.argv[2])), "seconds": time.perf_counter() - start}
    print(json.dumps(plain(found | {"peak_rss_gb": peak_memory_gb()})))
