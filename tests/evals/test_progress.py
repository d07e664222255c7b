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


@pytest.mark.parametrize("kind", ["mlp", "ensemble"])
def test_networks_report_every_pass(kind):
    from forethought.control.data.collector import collect
    from forethought.control.world_models.ensemble.fit import fit_ensemble
    from forethought.control.world_models.ensemble.net import EnsembleConfig
    from forethought.control.world_models.mlp.fit import Fit, fit_mlp
    from forethought.control.world_models.spaces import config_for

    told = []
    fit = Fit(epochs=3, watch=lambda step, steps: told.append((step, steps)))
    data = collect("Pendulum-v1", 60, seed=0)
    if kind == "mlp":
        fit_mlp(data, config_for("Pendulum-v1"), fit)
    else:
        fit_ensemble(data, config_for("Pendulum-v1", EnsembleConfig, members=2), fit)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert "watch" not in repr(fit) and fit == Fit(epochs=3)


class StepCounter:
    """A training that only counts its steps, continued from step 2."""

    step = 2

    def advance(self):
        self.step += 1
        return 0.0, 0.0

    def __getattr__(self, name):
        return lambda *_: None


def test_language_model_trainings_report_every_step_from_where_they_continue(monkeypatch, tmp_path):
    from dataclasses import replace

    from forethought.llm.builtin import train as reasoner
    from forethought.llm.prm import train as prm

    told = []
    monkeypatch.setattr(reasoner, "ReasonerTraining", lambda *_: StepCounter())
    reasoner.train(tmp_path, steps=4, log=lambda _: None, watch=lambda *step: told.append(step))
    assert told == [(3, 4), (4, 4)]
    counter = StepCounter()
    counter.schedule = replace(prm.Schedule(), steps=5)
    monkeypatch.setattr(prm, "export", lambda training: tmp_path)
    prm.train(counter, lambda _: None, watch=lambda *step: told.append(step))
    assert told[2:] == [(3, 5), (4, 5), (5, 5)]
