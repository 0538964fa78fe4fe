"""Tasks over processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from migrate_bayes.checks.posterior.ledger import run_tasks
from migrate_bayes.core.errors import FitError


def _double(factor):
    return lambda task: factor * task


def _die(code):
    return lambda task: os._exit(code)


def test_processes_do_every_task_and_say_when_one_was_killed():
    assert sorted(run_tasks(_double, (2,), [1, 2, 3], workers=2)) == [2, 4, 6]
    assert list(run_tasks(_double, (2,), [], workers=2)) == []
    with pytest.raises(FitError, match="run again to go on"):
        list(run_tasks(_die, (1,), [1], workers=1))


def _environment():
    return lambda task: os.environ.get(task)


def test_processes_have_one_thread_and_leave_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MIGRATE_BAYES_WORKERS", raising=False)
    names = ["OMP_NUM_THREADS", "MIGRATE_BAYES_WORKERS"]
    assert list(run_tasks(_environment, (), names, workers=1)) == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MIGRATE_BAYES_WORKERS" not in os.environ


def _announce(folder):
    (folder / str(os.getpid())).touch()
    return lambda task: time.sleep(600)


def _runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # ended, and nobody has asked how


# Defect: workers of a calibration that was killed waited for tasks for ever.
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="looks for processes in /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from test_processes import _announce\n"
        "from migrate_bayes.checks.posterior.ledger import run_tasks\n"
        "if __name__ == '__main__':\n"
        "    list(run_tasks(_announce, (Path(sys.argv[2]),), [1, 2], workers=2))\n"
    )
    script, folder = tmp_path / "parent.py", tmp_path / "workers"
    script.write_text(code)
    folder.mkdir()
    here = Path(__file__).parent
    with subprocess.Popen([sys.executable, script, here, folder]) as parent:
        began, workers = time.monotonic(), []
        try:
            while len(workers) < 2:
                assert parent.poll() is None
                assert time.monotonic() - began < 60
                time.sleep(0.05)
                workers = [int(p.name) for p in folder.iterdir()]
        finally:
            parent.kill()  # SIGKILL: it can tell its workers nothing
    began = time.monotonic()
    while any(_runs(pid) for pid in workers):
        assert time.monotonic() - began < 60
        time.sleep(0.05)
