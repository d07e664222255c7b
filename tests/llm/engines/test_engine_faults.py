"""Runs over the transformers engine that run out of memory, are killed, or share a tape."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch
from rich.console import Console

from forethought.control.episodes import run_episodes
from forethought.evals.errors import BadInput
from forethought.evals.report.terminal import show
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.llm.engines.transformers.model_runner import ModelRunner

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def run(stepping_llama, tmp_path):
    """Evaluates the tiny Llama on questions, or another task, and returns the summary."""
    data = tmp_path / "questions.jsonl"
    rows = [{"question": f"Tom has {i} apples and {i + 2} more?", "answer": f"#### {2 * i + 2}"} for i in range(4)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(out, planner="greedy,mcts", budgets="3,6", task="gsm8k", **flags):
        text = {"model": str(stepping_llama), "data": data} if task == "gsm8k" else {}
        flags = {"quiet": True, "in_flight": 2} | text | flags
        with (tmp_path / f"log-{out}").open("w") as log:
            console = Console(file=log, width=200)
            settings = EvalSettings(task=task, planners=planner, budgets=budgets, out=tmp_path / out, **flags)
            found = run_evaluation(settings, console)
            show(found, console)
        return found

    return start


def clockless(found):
    """The same without entries that depend on the clock or on what an earlier call has computed."""
    if isinstance(found, dict):
        return {
            name: clockless(x) for name, x in found.items() if name not in ("seconds", "spent", "tree", "retryable")
        }
    return [clockless(x) for x in found] if isinstance(found, list) else found


def rows_of(folder):
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()][1:]
    return {(row["planner"], row["budget"], row["problem"]): row for row in rows}


def test_problems_whose_forward_pass_failed_are_run_again_by_the_next_call(run, tmp_path, monkeypatch):
    run("whole")
    hidden, calls = ModelRunner.hidden, []

    def short_of_memory(self, *asked):
        calls.append(None)
        if len(calls) == 60:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return hidden(self, *asked)

    with monkeypatch.context() as patch:
        patch.setattr(ModelRunner, "hidden", short_of_memory)
        summary = run("cut")
    failed = [row for row in rows_of(tmp_path / "cut").values() if row["failed"]]
    assert 1 <= len(failed) <= 2 and all("OutOfMemoryError: CUDA out of memory" in row["failed"] for row in failed)
    assert summary["retryable"] == len(failed) == sum(row["failed"] for row in summary["rows"])
    assert f"{len(failed)} of these failures were not caused by the problems" in (tmp_path / "log-cut").read_text()
    assert run("cut")["retryable"] == 0
    assert clockless(rows_of(tmp_path / "cut")) == clockless(rows_of(tmp_path / "whole"))


STARVED = """
import gc, os, resource, sys
from pathlib import Path
import torch
from rich.console import Console
from forethought.evals.report.terminal import show
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.evals.errors import BadInput

model, data, out = sys.argv[1:]

def run(name):
    flags = {"model": model, "data": Path(data), "quiet": True, "in_flight": 2}
    asked = EvalSettings(task="gsm8k", planners="greedy,mcts", budgets="3,6", out=Path(out, name), **flags)
    run_evaluation(asked, Console(file=open(os.devnull, "w")))

run("first")  # imports and compiles everything
gc.collect()
used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
try:
    run("starved")
except BadInput as error:
    print(error)
"""
"""Runs in a process whose memory may grow by less than an engine needs. It is a new process, because after other tests
an engine could start in the memory that they have freed."""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="limits memory as Linux does")
def test_too_little_memory_to_start_is_one_line(run, stepping_llama, tmp_path):
    command = [sys.executable, "-c", STARVED, str(stepping_llama), str(tmp_path / "questions.jsonl"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "memory" in done.stdout.lower() and done.stdout.count("\n") == 1
    assert (tmp_path / "first").exists() and not (tmp_path / "starved").exists()


@pytest.mark.gpu
def test_a_full_gpu_is_one_line(run):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(BadInput, match="cannot be started on cuda: OutOfMemoryError: CUDA out of memory"):
            run("out", device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


PENDULUM = {"task": "pendulum", "planner": "cem,mcts,best_of_n", "budgets": "16,64", "limit": 4, "in_flight": 2}


@pytest.mark.parametrize("control", [False, True], ids=["text", "control"])
def test_a_run_killed_five_times_ends_the_same(run, tmp_path, monkeypatch, control):
    monkeypatch.setattr(
        "forethought.evals.runners.control_runner.run_episodes", partial(run_episodes, max_episode_steps=8)
    )
    flags = PENDULUM if control else {"tape": tmp_path / "a.tape"}
    run("first", **flags | {"limit": 1, "tape": None})  # compiles everything
    begun = time.monotonic()
    whole = run("whole", **flags | {"tape": None})
    lasts, dice, kept = time.monotonic() - begun, random.Random(), {}
    for first in (True, False, False, False, False):
        child = FORK.Process(target=run, args=("cut",), kwargs=flags)
        child.start()
        while first and child.is_alive() and len(complete_lines(tmp_path / "cut")) < 2:
            time.sleep(0.01)
        child.join(0 if first else dice.uniform(0.05, 0.4) * lasts)
        child.kill()
        child.join()
        assert not first or child.exitcode == -signal.SIGKILL
        assert kept.items() <= (kept := complete_lines(tmp_path / "cut")).items(), "lines are never changed"
    assert clockless(run("cut", **flags)) == clockless(whole)
    assert clockless(rows_of(tmp_path / "cut")) == clockless(rows_of(tmp_path / "whole"))


def complete_lines(folder):
    """The complete lines of a file that may end with an incomplete one, by line number."""
    path = folder / "results.jsonl"
    return dict(enumerate(path.read_bytes().split(b"\n")[:-1])) if path.exists() else {}


def test_two_runs_at_once_share_a_tape(run, tmp_path):
    whole = run("whole")
    children = [FORK.Process(target=run, args=(out,), kwargs={"tape": tmp_path / "a.tape"}) for out in ("one", "two")]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    for out in ("one", "two"):
        assert clockless(rows_of(tmp_path / out)) == clockless(rows_of(tmp_path / "whole"))
    again = run("again", tape=tmp_path / "a.tape")
    assert clockless(again) == clockless(whole) and all(row["spent"]["model_calls"] == 0 for row in again["rows"])
