"""A killed run can be continued, and a budget in seconds is kept."""

import itertools
import json
import signal
import subprocess
import sys

from rich.console import Console

from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings

JOB = ["pendulum", "--planner", "mcts,best_of_n", "--budgets", "16,64", "--limit", "6"]


DIES_AFTER_THREE_ROWS = """
import os, signal
from forethought.evals.cli.main import main
from forethought.evals.records.run_store import RunStore

add = RunStore.add_row

def add_and_die(store, row):
    add(store, row)
    if len(store.rows) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

RunStore.add_row = add_and_die
main()
"""


def start(out, *program):
    command = [sys.executable, *program, "eval", *JOB, "--out", str(out)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def lines_of(out):
    path = out / "results.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def scores(out):
    rows = [json.loads(line) for line in lines_of(out)[1:]]
    return {(row["planner"], row["budget"], row["problem"]): row["score"] for row in rows}


def finish(out):
    done = start(out, "-m", "forethought.evals.cli.main")
    assert done.returncode == 0, done.stderr
    return scores(out)


def test_a_killed_run_continues_to_the_same_end(tmp_path):
    whole = finish(tmp_path / "whole")
    assert len(whole) == 24
    assert start(tmp_path / "cut", "-c", DIES_AFTER_THREE_ROWS).returncode == -signal.SIGKILL
    kept = lines_of(tmp_path / "cut")
    assert len(kept) == 1 + 3
    assert finish(tmp_path / "cut") == whole
    assert lines_of(tmp_path / "cut")[: len(kept)] == kept


def test_a_budget_in_seconds_stops_each_problem_by_the_clock(questions, tmp_path, faked, monkeypatch):
    """On a clock by which a request takes 10 ms, and nothing else takes any time worth mentioning."""
    ticks = itertools.count()
    monkeypatch.setattr(
        "time.perf_counter", lambda: 1e-6 * next(ticks) + 0.01 * sum(engine.requests for engine in faked[0])
    )
    flags = {"data": questions, "unit": "seconds", "limit": 3, "quiet": True, "out": tmp_path / "out"}
    request = EvalSettings(task="gsm8k", planners="mcts,self_consistency", budgets="1,2", **flags)
    with (tmp_path / "log").open("w") as log:
        run_evaluation(request, Console(file=log))
    rows = [json.loads(line) for line in lines_of(tmp_path / "out")[1:]]
    assert len(rows) == 2 * 2 * 3
    for row in rows:
        assert row["answer"] is not None and row["budget"] <= row["seconds"] < row["budget"] + 0.3
    spent = {b: sum(r["ledger"]["spent"]["nodes"] for r in rows if r["budget"] == b) for b in (1, 2)}
    assert spent[2] > 1.3 * spent[1]
