"""`forethought eval` on a fake model: its files, resuming, failures, and answers independent of concurrency."""

import json
import signal

import pytest
from rich.console import Console

from forethought.evals.errors import BadInput
from forethought.evals.records.run_store import RunStore
from forethought.evals.report.terminal import show
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings

PLANNERS = "greedy,bfs,mcts"


def run(questions, out, planner=PLANNERS, budgets="4,16", **flags):
    flags = {"limit": 12, "quiet": True} | flags
    request = EvalSettings(task="gsm8k", planners=planner, budgets=budgets, data=questions, out=out, **flags)
    with (out.parent / "log").open("w") as log:
        console = Console(file=log, width=160)
        summary = run_evaluation(request, console)
        show(summary, console)
        return summary


def rows_of(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()][1:]


def answers(out):
    """The part of each row that must not depend on the clock or on the order of jobs."""
    told = {}
    for row in rows_of(out):
        charged = {unit: x for unit, x in row["ledger"]["charged"].items() if unit != "seconds"}
        found = sorted((leaf["answer"], leaf["score"]) for leaf in row["finished"])
        told[row["planner"], row["budget"], row["problem"]] = row["answer"], found, charged
    return told


def test_a_run_leaves_rows_trees_summary_and_report(questions, tmp_path, faked):
    result = run(questions, tmp_path / "out")
    out = result.folder
    assert sorted(path.name for path in out.iterdir()) == [
        "report.html", "results.jsonl", "summary.json", "trees.jsonl",
    ]  # fmt: skip
    rows = rows_of(out)
    assert len(rows) == 3 * 2 * 12
    assert {"answer", "correct", "format_ok", "ledger", "seconds", "finished", "tree"} <= rows[0].keys()
    summary = json.loads((out / "summary.json").read_text())
    assert [(r["planner"], r["budget"]) for r in summary["rows"]] == [
        (planner, budget) for planner in PLANNERS.split(",") for budget in (4, 16)
    ]
    assert all(row["n"] == 12 for row in summary["rows"])
    assert summary["rows"][-1]["score"] > summary["rows"][0]["score"]
    assert "What does a larger search budget buy?" in (out / "report.html").read_text()
    log = (tmp_path / "log").read_text()
    assert "mcts" in log and result.report == out / "report.html"


def test_budgets_are_kept_and_the_ledger_adds_up(questions, tmp_path, faked):
    run(questions, tmp_path / "out")
    for row in rows_of(tmp_path / "out"):
        charged, completion = row["ledger"]["charged"], row["ledger"]["completion"]
        assert 0 < charged["nodes"] <= row["budget"]
        assert row["answer"] is not None or row["failed"]
        assert completion["nodes"] == 0 or not row["finished"]


def test_the_tree_of_a_row_holds_its_answer(questions, tmp_path, faked):
    result = run(questions, tmp_path / "out")
    header = json.loads((result.folder / "results.jsonl").read_text().splitlines()[0])
    with RunStore(result.folder, header["settings"]) as store:
        for row in rows_of(result.folder):
            tree = store.read_tree(row["tree"])
            assert (tree["problem"], tree["planner"]) == (row["problem"], row["planner"])
            assert tree["budget"] == row.get("truncated_from", row["budget"])
            if row.get("truncated_from"):
                continue
            assert len(tree["nodes"]) == row["ledger"]["charged"]["nodes"] + 1
            nodes = [dict(zip(tree["columns"], node)) for node in tree["nodes"]]
            text = {node["node"]: node["text"] for node in nodes}
            if row["finished"]:
                assert f"#### {row['answer']}" == text[tree["path"][-1]]


@pytest.mark.parametrize("kept", [0, 1, 30, 71, 72])
def test_a_truncated_run_continues_to_the_same_end(questions, tmp_path, faked, kept):
    run(questions, tmp_path / "whole")
    out = tmp_path / "cut"
    run(questions, out)
    lines = (out / "results.jsonl").read_bytes().splitlines(keepends=True)
    (out / "results.jsonl").write_bytes(b"".join(lines[: 1 + kept]) + b'{"problem": "half a li')
    run(questions, out)
    assert len(rows_of(out)) == 72
    assert answers(out) == answers(tmp_path / "whole")


@pytest.fixture
def heeds_ctrl_c():
    """Restore the handling of Ctrl-C, which processes in a shell's background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_keeps_finished_results(questions, tmp_path, faked, monkeypatch):
    run(questions, tmp_path / "whole")
    kind = type(faked[0][0])
    generate = kind.generate

    async def interrupted(self, *request):
        if self.requests == 60:
            signal.raise_signal(signal.SIGINT)
        return await generate(self, *request)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(questions, tmp_path / "cut", in_flight=2)
    assert 0 < len(rows_of(tmp_path / "cut")) < 72
    run(questions, tmp_path / "cut")
    assert answers(tmp_path / "cut") == answers(tmp_path / "whole")


def test_a_finished_run_sends_no_requests(questions, tmp_path, faked):
    run(questions, tmp_path / "out")
    run(questions, tmp_path / "out")
    engines, _ = faked
    assert engines[0].requests > 0 == engines[1].requests


def test_planners_budgets_and_problems_may_be_added_later(questions, tmp_path, faked):
    run(questions, tmp_path / "out", planner="greedy", budgets="4", limit=5)
    result = run(questions, tmp_path / "out", planner="greedy,mcts", budgets="4,8", limit=8)
    assert [row["n"] for row in result["rows"]] == [8] * 4


@pytest.mark.parametrize("planner", ["greedy", "self_consistency", "best_of_n", "bfs", "mcts"])
def test_the_same_seed_gives_the_same_answers_whatever_is_in_flight(questions, tmp_path, faked, planner):
    faked[1]["delay"] = 0.002
    run(questions, tmp_path / "one", planner=planner, in_flight=1)
    run(questions, tmp_path / "many", planner=planner, in_flight=12)
    assert answers(tmp_path / "one") == answers(tmp_path / "many")


def test_another_seed_is_another_tree(questions, tmp_path, faked):
    run(questions, tmp_path / "a", planner="mcts")
    run(questions, tmp_path / "b", planner="mcts", seed=1)
    assert answers(tmp_path / "a") != answers(tmp_path / "b")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"seed": 3}, "seed was 0, is 3"),
        ({"value": "none"}, 'value was "self", is "none"'),
        ({"width": 2}, r"planners\.beam was"),
    ],
)
def test_other_settings_are_refused_by_name(questions, tmp_path, faked, flags, told):
    run(questions, tmp_path / "out", limit=2)
    with pytest.raises(BadInput, match=told):
        run(questions, tmp_path / "out", limit=2, **flags)


def test_other_data_is_refused(questions, tmp_path, faked):
    run(questions, tmp_path / "out", limit=2)
    questions.write_text(questions.read_text().replace("What is 9", "What is 8"))
    with pytest.raises(BadInput, match="data was"):
        run(questions, tmp_path / "out", limit=2)


def test_a_problem_that_fails_is_recorded_and_the_run_continues(questions, tmp_path, faked):
    faked[1]["broken"] = "What is 5 and"
    result = run(questions, tmp_path / "out")
    failed = [row for row in rows_of(tmp_path / "out") if row["failed"]]
    assert {row["problem"] for row in failed} == {"questions-4"} and len(failed) == 6
    assert all("the engine has had enough" in row["failed"] and row["score"] == 0 for row in failed)
    assert all((row["n"], row["failed"]) == (12, 1) for row in result["rows"])


def test_the_report_says_what_the_built_in_model_is_for(questions, tmp_path, faked):
    run(questions, tmp_path / "out", limit=2)
    assert "trained on toy stories" in (tmp_path / "out" / "report.html").read_text()
    run(questions, tmp_path / "other", limit=2, model="some/model")
    assert "trained on toy stories" not in (tmp_path / "other" / "report.html").read_text()
