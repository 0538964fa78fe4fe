r"""How a benchmark measures: best of several, in pairs, memory in a process of its own.

A machine that others use too adds to a time and never takes away from it, so the least of several
is the closest to what the code needs. A ratio of two codes is taken in alternation, so that what
slows one slows the other; it is the ratio of the two least times, and the ratios of neighbouring
pairs say how well it is known. Everything is called once before it is timed: compilation and the
building of tables are not counted.

A process never gives its peak memory back, so that is measured in a fresh one, by the kernel's own
high-water mark.
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from migrate_bayes.core.table import print_table

__all__ = [
    "Ratio",
    "best_time",
    "emit",
    "in_fresh_process",
    "machine",
    "paired_ratio",
    "peak_rss_gb",
    "plain",
    "scaling",
]

_VERSIONS = ("python", "migrate-bayes", "numpy", "scipy", "numba")


def best_time(function: Callable[[], object], *, repeats: int = 3, warm_up: bool = True) -> float:
    """Return the least time that `function` took, in seconds.

    Parameters
    ----------
    function : callable
        Takes nothing; what it returns is dropped.
    repeats : int
        Times it is timed.
    warm_up : bool
        Call it once before.
    """
    if warm_up:
        function()
    return min(_time(function) for _ in range(repeats))


def _time(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Ratio:
    """How much longer one code takes for one star than another.

    Parameters
    ----------
    ratio : float
        Least time of the slow code over least time of the fast one, per star.
    low, high : float
        Least and greatest ratio of the two in the same pair.
    slow_seconds, fast_seconds : float
        Least times per star, s.
    """

    ratio: float
    low: float
    high: float
    slow_seconds: float
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
    """Time two codes in alternation.

    Parameters
    ----------
    slow, fast : callable
        Each does its stars once.
    slow_stars, fast_stars : int
        How many stars a call of each does; a fast code can be given the same stars many times
        over, so that its call is long enough to time.
    repeats : int
        Pairs.
    warm_up : bool
        Call both once before.
    """
    if warm_up:
        slow()
        fast()
    pairs = [(_time(slow) / slow_stars, _time(fast) / fast_stars) for _ in range(repeats)]
    each = [a / b for a, b in pairs]
    least_slow, least_fast = (min(side) for side in zip(*pairs, strict=True))
    return Ratio(least_slow / least_fast, min(each), max(each), least_slow, least_fast)


def scaling(
    function: Callable[[int], object], sizes: Sequence[int], *, repeats: int = 2
) -> dict[str, Any]:
    """Time `function(n)` for growing `n`.

    Returns
    -------
    dict
        ``stars`` and ``seconds``, lists of the same length, and ``exponent``: the slope of
        ln(seconds) on ln(stars) by least squares, 1 where the cost is linear.
    """
    function(min(sizes))
    seconds = [min(_time(partial(function, n)) for _ in range(repeats)) for n in sizes]
    x, y = [math.log(n) for n in sizes], [math.log(t) for t in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    slope /= sum((a - mean_x) ** 2 for a in x)
    return {"stars": [int(n) for n in sizes], "seconds": seconds, "exponent": slope}


def in_fresh_process(target: str, arguments: Mapping[str, Any], *, timeout: float = 3600.0) -> Any:
    """Call a function in a Python of its own.

    Parameters
    ----------
    target : str
        ``module:function``.
    arguments : mapping
        Keyword arguments, such as JSON can hold.
    timeout : float
        s.

    Returns
    -------
    dict
        ``result`` (what it returned, through JSON), ``peak_rss_gb`` (10^9 bytes) and ``seconds``
        (of the call, start-up not counted).

    Raises
    ------
    RuntimeError
        Where the process fails; with its last lines.
    """
    command = [sys.executable, "-m", "migrate_bayes.checks.speed.harness", target]
    done = subprocess.run(
        [*command, json.dumps(dict(arguments))],
        capture_output=True, text=True, timeout=timeout, check=False, env=_environment(),
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{target} failed in its own process:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _environment() -> dict[str, str]:
    """Let the child import what its parent does, wherever the package lies."""
    source = str(Path(__file__).resolve().parents[3])
    paths = [source, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def peak_rss_gb() -> float:
    """Return the most memory that this process has held at once, in 10^9 bytes.

    ``VmHWM`` where the system has it: the maximum that `getrusage` gives is, on Linux, that of the
    process which started this one where that was larger.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def machine() -> dict[str, Any]:
    """Say what the figures were measured on."""
    from migrate_bayes.core.parallel import default_workers
    from migrate_bayes.core.provenance import versions

    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    named = versions()
    return {
        "processor": model,
        "cores": os.cpu_count() or 1,
        "threads": default_workers(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "versions": {
            k: named[k] for k in ("python", "migrate-bayes", "numpy", "numba") if k in named
        },
    }


def plain(value: Any) -> Any:
    """Turn a result into what JSON can hold: numbers of Python, and null for NaN."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def emit(title: str, result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a benchmark's result: one JSON object, or a short table of its figures."""
    whole = plain(result)
    if as_json:
        print(json.dumps(whole, indent=2, allow_nan=False))
        return
    print_table(title, ["quantity", "value"], [[k, v] for k, v in _rows(whole)])


def _rows(result: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in result.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += _rows(value, f"{name}.")
        elif isinstance(value, list):
            rows.append((name, ", ".join(_text(v) for v in value)))
        else:
            rows.append((name, _text(value)))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _main(target: str, arguments: str) -> None:
    """Run one function and print its result, time and memory: the other end of a fresh process."""
    module, _, name = target.partition(":")
    function = getattr(import_module(module), name)
    start = time.perf_counter()
    result = function(**json.loads(arguments))
    seconds = time.perf_counter() - start
    print(json.dumps(plain({"result": result, "seconds": seconds, "peak_rss_gb": peak_rss_gb()})))


if __name__ == "__main__":
    _main(*sys.argv[1:3])
