"""A killed run can be continued, and a budget in seconds is kept."""

import json
import signal
import subprocess
import sys
import time

from rich.console import Console

from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings

JOB = ["pendulum", "--planner", "mcts,best_of_n", "--budgets", "16,64", "--limit", "6"]


def start(out):
    command = [sys.executable, "-m", "forethought.evals.cli.main", "eval", *JOB, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def lines_of(out):
    path = out / "results.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def scores(out):
    rows = [json.loads(line) for line in lines_of(out)[1:]]
    return {(row["planner"], row["budget"], row["problem"]): row["score"] for row in rows}


def finish(out):
    process = start(out)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return scores(out)


def test_a_killed_run_continues_to_the_same_end(tmp_path):
    whole = finish(tmp_path / "whole")
    assert len(whole) == 24
    cut = start(tmp_path / "cut")
    while len(lines_of(tmp_path / "cut")) < 3 and cut.poll() is None:
        time.sleep(0.01)
    cut.send_signal(signal.SIGKILL)
    cut.communicate()
    kept = lines_of(tmp_path / "cut")
    assert cut.returncode == -signal.SIGKILL and 3 <= len(kept) < 25
    assert finish(tmp_path / "cut") == whole
    assert lines_of(tmp_path / "cut")[: len(kept) - 1] == kept[:-1]  # complete rows are unchanged


def test_a_budget_in_seconds_stops_each_problem_by_the_clock(questions, tmp_path, faked):
    faked[1]["delay"] = 0.05
    flags = {"data": questions, "unit": "seconds", "limit": 3, "quiet": True, "out": tmp_path / "out"}
    request = EvalSettings(task="gsm8k", planners="mcts,self_consistency", budgets="1,2", **flags)
    with (tmp_path / "log").open("w") as log:
        run_evaluation(request, Console(file=log))
    rows = [json.loads(line) for line in lines_of(tmp_path / "out")[1:]]
    assert len(rows) == 2 * 2 * 3
    for row in rows:
        assert row["answer"] is not None and row["seconds"] >= 0.9 * row["budget"]
    spent = {b: sum(r["ledger"]["spent"]["nodes"] for r in rows if r["budget"] == b) for b in (1, 2)}
    assert spent[2] > 1.3 * spent[1]
