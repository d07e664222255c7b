"""The records of a run whose engine fails, and that the next call completes them."""

import asyncio
import json
import resource

import pytest
from rich.console import Console
from typer.testing import CliRunner

from forethought.evals.cli.main import app
from forethought.evals.errors import BadInput, RunStopped
from forethought.evals.records.run_store import RunStore
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.llm.engines.base import EngineGone
from forethought.planning import ModelError

PLANNERS = "greedy,bfs,mcts"


def run(questions, out, planner=PLANNERS, budgets="4,16", **flags):
    flags = {"limit": 12, "quiet": True, "in_flight": 4} | flags
    with (out.parent / "log").open("w") as log:
        return run_evaluation(
            EvalSettings(task="gsm8k", planners=planner, budgets=budgets, data=questions, out=out, **flags),
            Console(file=log, width=200),
        )


def rows_of(out):
    """The last row of each key, as a reader of the file sees them."""
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()][1:]
    return {(row["planner"], row["budget"], row["problem"]): row for row in rows}


def clockless(found):
    """The value without the parts that depend on the clock or on the usage of earlier calls."""
    if isinstance(found, dict):
        return {
            name: clockless(x) for name, x in found.items() if name not in ("seconds", "spent", "tree", "retryable")
        }
    return found


def test_a_dead_engine_stops_the_run_and_the_next_call_runs_what_failed(questions, tmp_path, faked, monkeypatch):
    whole = run(questions, tmp_path / "whole")
    kind, out = type(faked[0][0]), tmp_path / "cut"
    generate = kind.generate

    async def dying(self, *asked):
        if self.requests >= 60:
            raise EngineGone("the engine died")
        return await generate(self, *asked)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "generate", dying)
        with pytest.raises(
            RunStopped, match=r"the engine died\. \d results are recorded as failed, \d+ were not started"
        ):
            run(questions, out)
        first = rows_of(out)
        failed = {cell for cell, row in first.items() if row["failed"]}
        assert 0 < len(failed) <= 4 and len(first) - len(failed) > 5 and len(first) < 72
        assert all(
            "EngineGone: the engine died" in first[cell]["failed"] and first[cell]["retryable"] for cell in failed
        )
        with pytest.raises(RunStopped):
            run(questions, out)  # still dead
    last = run(questions, out)
    again = rows_of(out)
    assert clockless(again) == clockless(rows_of(tmp_path / "whole"))
    assert all(again[cell] == first[cell] for cell in first.keys() - failed), "complete rows are unchanged"
    assert clockless(last["rows"][0]) == clockless(whole["rows"][0]) and last["retryable"] == 0


@pytest.mark.parametrize("fault", [ValueError("too long"), ModelError("a wrong shape")])
def test_a_permanent_error_is_not_retried(questions, tmp_path, faked, monkeypatch, fault):
    run(questions, tmp_path / "first", limit=1, planner="greedy", budgets="4")

    async def failing(self, *asked):
        self.requests += 1
        raise fault

    monkeypatch.setattr(type(faked[0][0]), "generate", failing)
    for _ in range(2):
        assert run(questions, tmp_path / "out", limit=2)["retryable"] == 0
    assert all(str(fault) in row["failed"] for row in rows_of(tmp_path / "out").values())
    assert faked[0][1].requests > 0 == faked[0][2].requests


def test_a_folder_of_only_retryable_failures_accepts_other_settings(questions, tmp_path, faked):
    faked[1]["broken"] = "What"
    run(questions, tmp_path / "out", limit=2)
    faked[1].clear()
    assert run(questions, tmp_path / "out", limit=2, temperature=0.5)["retryable"] == 0
    with pytest.raises(BadInput, match="temperature was"):
        run(questions, tmp_path / "out", limit=2)


def test_problems_that_killed_the_engine_come_last(questions, tmp_path, faked, monkeypatch):
    """A question that kills the engine every time does not keep others from being run."""
    run(questions, tmp_path / "first", limit=1, planner="greedy", budgets="4")
    kind = type(faked[0][0])
    generate = kind.generate

    async def poisoned(self, prompt, *asked):
        if "What is 3" in self.tokenizer.decode(prompt):
            raise EngineGone("the engine died")
        return await generate(self, prompt, *asked)

    monkeypatch.setattr(kind, "generate", poisoned)
    few = {"limit": 6, "planner": "greedy", "budgets": "4", "in_flight": 1}
    with pytest.raises(RunStopped, match="3 were not started"):
        run(questions, tmp_path / "out", **few)
    (row,) = run(questions, tmp_path / "out", **few)["rows"]
    assert (row["n"], row["failed"]) == (6, 1)


def test_a_run_that_stopped_is_one_line_and_exit_code_1(questions, tmp_path, faked, monkeypatch):
    async def dead(*_):
        await asyncio.sleep(0)  # yields as any engine does, so that the other problem in flight starts
        raise EngineGone("the engine died")

    run(questions, tmp_path / "first", limit=1, planner="greedy", budgets="4")
    monkeypatch.setattr(type(faked[0][0]), "generate", dead)
    flags = ["--data", str(questions), "--planner", "mcts", "--budgets", "4", "--in-flight", "2", "--quiet"]
    found = CliRunner().invoke(app, ["eval", "gsm8k", *flags, "--out", str(tmp_path / "out")])
    assert found.exit_code == 1 and "Traceback" not in found.stderr
    assert found.stderr.startswith(
        "stopped: the engine died. 2 results are recorded as failed, 22 were not started; the"
    )


def test_a_full_disk_is_one_line_and_loses_no_row(questions, tmp_path, faked):
    out = tmp_path / "out"
    run(questions, out, limit=2)
    kept = rows_of(out)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((out / "trees.jsonl").stat().st_size + 100, before[1]))
    try:
        with pytest.raises(BadInput, match=r"cannot write to .*: File too large; --out chooses another folder"):
            run(questions, out, limit=12)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert kept.items() <= rows_of(out).items()
    run(questions, out, limit=12)
    run(questions, tmp_path / "whole", limit=12)
    assert clockless(rows_of(out)) == clockless(rows_of(tmp_path / "whole"))


def test_a_folder_that_cannot_be_made_or_lacks_its_trees_is_named(questions, tmp_path, faked):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"cannot write to .*: Not a directory"):
        RunStore(tmp_path / "file" / "out", {})
    run(questions, tmp_path / "out", limit=2)
    (tmp_path / "out" / "trees.jsonl").write_text("")
    with pytest.raises(BadInput, match=r"trees\.jsonl lacks a tree that results\.jsonl refers to"):
        run(questions, tmp_path / "out", limit=2)
