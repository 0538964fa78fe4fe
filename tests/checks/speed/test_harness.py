"""The measuring itself: compilation not counted, pairs, memory of a process of its own."""

import json

import numpy as np
import pytest

from migrate_bayes.checks.speed import harness
from migrate_bayes.core.parallel import peak_memory_gb


class Slow:
    """Takes long the first time, as compiled code does; by a clock of its own, on any machine."""

    now = 0.0

    def __init__(self, first, later):
        self.first, self.later, self.calls = first, later, 0

    def __call__(self, n=1):
        self.calls += 1
        Slow.now += self.first if self.calls == 1 else self.later * n


@pytest.fixture
def clock(monkeypatch):
    # Defect: with sleeps in place of work these tests failed where the machine was busy.
    monkeypatch.setattr(harness.time, "perf_counter", lambda: Slow.now)


def test_the_first_call_is_not_timed(clock):
    work = Slow(0.2, 0.01)
    assert harness.best_time(work, repeats=4) == pytest.approx(0.01)
    assert work.calls == 5
    assert harness.best_time(Slow(0.2, 0.01), repeats=1, warm_up=False) == pytest.approx(0.2)


def test_a_ratio_is_per_star(clock):
    slow, fast = Slow(0.0, 0.06), Slow(0.0, 0.02)
    ratio = harness.paired_ratio(slow, fast, slow_stars=3, fast_stars=100, repeats=3)
    assert slow.calls == fast.calls == 4
    assert ratio.slow_seconds == pytest.approx(0.02)
    assert ratio.ratio == pytest.approx(ratio.slow_seconds / ratio.fast_seconds)
    assert ratio.ratio == pytest.approx(100.0)
    assert ratio.low <= ratio.high


@pytest.mark.parametrize("power", [1, 2])
def test_the_exponent_is_that_of_the_work(clock, power):
    work = Slow(0.0, 0.01)
    result = harness.scaling(lambda n: work(n**power), [1, 2, 4], repeats=1)
    assert result["stars"] == [1, 2, 4]
    assert result["exponent"] == pytest.approx(power)


def test_memory_is_that_of_the_child_alone():
    # This process holds more than the child ever does: its high water must not be reported.
    ballast = np.ones(50_000_000)
    here = peak_memory_gb()
    assert here > 0.4
    low, high = (
        harness.in_fresh_process("benchmark_memory:allocate", megabytes=m) for m in (10, 210)
    )
    assert ballast[0] == 1.0
    assert high["result"] == pytest.approx(210 * 125_000)
    assert high["peak_rss_gb"] - low["peak_rss_gb"] == pytest.approx(0.2, abs=0.03)
    assert low["peak_rss_gb"] < here
    assert low["seconds"] > 0.0
    assert high["seconds"] > 0.0


@pytest.fixture(autouse=True)
def _importable(tmp_path, monkeypatch):
    """Put this file where a child can import it."""
    (tmp_path / "benchmark_memory.py").write_text(
        "import numpy as np\n\n\ndef allocate(megabytes):\n"
        "    return float(np.ones(megabytes * 125_000).sum())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_a_failing_child_is_told_of():
    with pytest.raises(RuntimeError, match="unexpected keyword"):
        harness.in_fresh_process("benchmark_memory:allocate", gigabytes=1)


def test_results_are_printed_as_one_json_object_or_as_a_table(capsys):
    result = {"a": np.float32(0.5), "b": {"c": np.arange(2), "d": np.nan}, "e": (1, "x")}
    harness.emit("Title", result, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "a": 0.5,
        "b": {"c": [0, 1], "d": None},
        "e": [1, "x"],
    }
    harness.emit("Title", result, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "Title"
    assert [line.split() for line in lines[3:]] == [
        ["a", "0.5"], ["b.c", "0,", "1"], ["b.d", "-"], ["e", "1,", "x"],
    ]  # fmt: skip


def test_the_machine_is_described():
    found = harness.machine()
    assert found["threads"] >= 1
    assert found["processor"]
    assert "numba" in found["versions"]
