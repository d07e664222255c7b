"""Progress of long work: lines in a log file, a bar in a terminal, nothing where it is quiet; no test measures time."""

import io

import pytest
from rich.console import Console

from forethought.evals import progress as module
from forethought.evals.progress import duration, progress, remaining, step_progress


@pytest.fixture
def clock(monkeypatch):
    """The time that the module reads; `clock.now` sets it."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def log():
    return Console(file=io.StringIO(), width=80)


def lines(console):
    return console.file.getvalue().splitlines()


def test_a_log_file_gets_lines_some_seconds_apart_with_the_remaining_time(clock):
    console = log()
    with progress(10, "study [x]", console) as advance:
        for _ in range(10):
            clock.now += 6
            advance(1, "cem")
    assert lines(console) == [
        "study [x]: 20%, about 48 s left  cem",
        "study [x]: 40%, about 36 s left  cem",
        "study [x]: 60%, about 24 s left  cem",
        "study [x]: 80%, about 12 s left  cem",
    ]


def test_lines_of_long_work_are_further_apart(clock):
    console = log()
    with progress(1000, "long", console) as advance:
        for _ in range(1000):
            clock.now += 60
            advance()
    assert 10 < len(lines(console)) < 120


def test_amounts_are_weights(clock):
    console = log()
    with progress(100, "weighted", console) as advance:
        clock.now += 30
        advance(75)
    assert lines(console) == ["weighted: 75%, about 10 s left"]


@pytest.mark.parametrize("options", [{"quiet": True}, {}])
def test_quiet_work_prints_nothing(clock, options):
    console = log()
    with progress(3, "silent", console if options else None, **options) as advance:
        clock.now += 1000
        advance()
    assert console.file.getvalue() == ""


def test_a_terminal_shows_a_bar_with_share_and_text():
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with progress(4, "bench [x]", console) as advance:
        advance(1, "mcts [y]")
        advance(0, "between")
        advance(1)
    shown = console.file.getvalue()
    assert "bench [x]" in shown and "50 %" in shown and "between" in shown


def test_a_training_that_continues_counts_only_its_own_steps(clock):
    console = log()
    with step_progress("train", console) as watch:
        for step in (901, 951, 1000):
            watch(step, 1000)
            clock.now += 50
    assert lines(console) == ["train: 51%, about 49 s left"]


def test_a_training_that_begins_again_has_a_new_count(clock):
    console = log()
    with step_progress("fit", console) as watch:
        for step in (1, 2, 1, 6, 11):
            watch(step, 11)
            clock.now += 20
    assert lines(console) == ["fit: 10%, about 3 min left", "fit: 50%, about 20 s left"]


def test_durations_have_units():
    assert [duration(s) for s in (40, 240, 9000)] == ["40 s", "4 min", "2.5 h"]
    assert remaining(1, 4, 10) == 30 and remaining(0, 4, 10) == float("inf")
