"""Bars: silent in a log, one display on a terminal whatever is nested."""

import sys
from types import SimpleNamespace

import pytest

from migrate_bayes.core import progress as module
from migrate_bayes.core.progress import progress, status


def test_silent_where_nobody_looks(capsys):
    with progress(10, "ages") as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def test_a_worker_leaves_the_terminal_to_the_one_that_started_it(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(module, "_silent", False)
    module.silence()
    with progress(10, "pilot passes") as advance, status("thinking"):
        advance(10)
        assert module._showing == []
    assert capsys.readouterr().err == ""


def test_a_bar_within_a_bar_is_a_line_of_the_same_display(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress(100, "stars") as whole:
        display = module._showing[0]
        for _ in range(2):
            with progress(7, "Z_max", unit="orbits") as part:
                part(7)
                assert [t.description for t in display.tasks] == ["stars", "  Z_max"]
                assert display.tasks[1].completed == 7
            with status("thinking"):
                pass
            whole(50)
            assert [t.description for t in display.tasks] == ["stars"]
    assert display.tasks[0].completed == 100
    assert display.live.is_started is False
    assert module._showing == []


def test_a_notebook_has_bars_without_widgets(monkeypatch):
    cell, times = [], iter(range(100))

    class Handle:
        def update(self, shown, raw):
            cell.append(shown["text/plain"])

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    display = SimpleNamespace(display=lambda shown, raw, display_id: Handle())
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.0)
    with progress(100, "quick") as advance:
        advance(100)
    assert cell == []
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    with progress(100, "ages", done=20) as whole, status("thinking"):
        whole(40)
        with progress(None, "reading", unit="rows") as part:
            part(7)
    first, half, inner, _, after, gone = cell
    assert first == f"ages         {'█' * 4:<20} 20/100"
    assert half == f"ages         {'█' * 12:<20} 60/100  13 stars/s  left 0:00:03"
    assert inner.endswith("\n  reading    0")
    assert after.startswith("ages")
    assert "reading" not in after
    assert gone == ""
    assert module._showing == []


def test_what_is_said_can_be_logged(caplog, capsys):
    caplog.set_level("INFO", logger="migrate_bayes")
    module.say("stars      kept → there")
    module.say("")
    assert [r.getMessage() for r in caplog.records] == ["stars      kept → there"]
    assert capsys.readouterr().out == "stars      kept → there\n\n"


def test_an_error_within_ends_the_display(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def fails():
        with progress(None, "catalogue"), progress(3, "inner"):
            raise ValueError

    with pytest.raises(ValueError):
        fails()
    assert module._showing == []
