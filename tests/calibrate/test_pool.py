"""Tasks over processes."""

from __future__ import annotations

import os

import pytest

from migrate_bayes.calibrate.pool import run_tasks
from migrate_bayes.errors import FitError


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
