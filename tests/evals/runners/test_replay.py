"""`--tape` and `--engine replay` on the command line, and imported trees."""

import json
import random
from dataclasses import replace

import pytest
from rich.console import Console

from forethought.evals.errors import BadInput
from forethought.evals.report.terminal import show
from forethought.evals.runners.evaluate import run_evaluation
from forethought.evals.settings import EvalSettings
from forethought.llm.engines.base import Engine, Generation, Score
from forethought.llm.importing.import_trees import byte_tokenizer
from forethought.llm.load import ENGINES


class Adding(Engine):
    """An engine that adds two numbers, correctly in half of the samples, with a tokenizer that a tape can store."""

    def __init__(self, *_, **__):
        from forethought.llm.engines.base import EngineCounters

        self.tokenizer, self.fingerprint, self.context = byte_tokenizer(), "adding", 3000
        self.counters = EngineCounters()

    async def generate(self, prompt, sampling, stream):
        self.counters.requests += 1
        question = self.tokenizer.decode(prompt).split("\n")[0]
        one, two = (int(word) for word in question.replace("?", "").split() if word.isdigit())
        steps, position = [], len(prompt)
        while len(steps) != sampling.max_steps:
            draw = random.Random(f"{stream if sampling.temperature else 1} {position}")
            told = one + two + draw.choice((0, 0, 1, 2))
            line = f"#### {told}\n" if draw.random() < 0.5 else f"It may be {told}.\n"
            steps.append(tuple(self.tokenizer.encode(line, add_special_tokens=False)))
            position += len(steps[-1])
            if "####" in line:
                return Generation(steps, [(-0.1,) * len(step) for step in steps], "end", computed=position)
        return Generation(steps, [(-0.1,) * len(step) for step in steps], "stop", computed=position)

    async def score(self, prompt, choices):
        self.counters.requests += 1
        chance = random.Random(self.tokenizer.decode(prompt)).random() / 2
        return Score(tuple(-1.0 - chance * i for i, _ in enumerate(choices)), computed=3)

    async def close(self):
        pass


@pytest.fixture
def adding(monkeypatch, tmp_path):
    """Replace the transformers engine by `Adding`; gives the engines that were made."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "forethought.json").write_text(
        '{"format_version": 1, "format": "plain", "yes": "y", "no": "n", "max_steps": 5}'
    )
    made = []

    def make(engine, spec):
        made.append(Adding())
        return made[-1], str(tmp_path / "model")

    monkeypatch.setitem(ENGINES, "transformers", replace(ENGINES["transformers"], make=make))
    return made


@pytest.fixture
def run(questions, tmp_path):
    def start(out, planner="mcts", budgets="8", task="gsm8k", **flags):
        flags = {"limit": 6, "quiet": True, "data": questions if task == "gsm8k" else None} | flags
        with (tmp_path / "log").open("w") as log:
            console = Console(file=log, width=200)
            settings = EvalSettings(task=task, planners=planner, budgets=budgets, out=tmp_path / out, **flags)
            summary = run_evaluation(settings, console)
            show(summary, console)
            return summary

    return start


def rows_of(result):
    rows = [json.loads(line) for line in (result.folder / "results.jsonl").read_text().splitlines()][1:]
    told = {}
    for row in rows:
        charged = {unit: x for unit, x in row["ledger"]["charged"].items() if unit != "seconds"}
        told[row["planner"], row["budget"], row["problem"]] = row["answer"], row["correct"], charged, row["finished"]
    return told, sum(row["ledger"]["spent"]["model_calls"] for row in rows)


def test_a_second_run_with_the_same_tape_calls_no_model_and_a_replay_has_none(run, adding, tmp_path):
    tape, flags = tmp_path / "a.tape", dict(planner="greedy,bfs,mcts", budgets="8,16")
    first, calls = rows_of(run("one", tape=tape, **flags))
    assert calls > 0 and adding[0].counters.requests > 0
    assert rows_of(run("two", tape=tape, **flags)) == (first, 0) and adding[1].counters.requests == 0
    replay = run("three", tape=tape, engine="replay", **flags)
    assert rows_of(replay) == (first, 0) and len(adding) == 2
    assert replay["model"] == "builtin" and "the tape answered all" in " ".join(replay["notes"])
    assert "the tape answered all" in (tmp_path / "log").read_text()


def test_a_replay_runs_other_planners_and_reports_missing_requests(run, adding, tmp_path):
    tape = tmp_path / "a.tape"
    run("one", tape=tape)
    other = run("two", tape=tape, engine="replay", planner="bfs,best_of_n,cem,puct", budgets="16")
    (note,) = [line for line in other["notes"] if "replay:" in line]
    assert "requests and lacks" in note and "The most similar recorded run" not in note
    assert {row["failed"] for row in other["rows"]} == {0}
    warm = run("three", tape=tape, engine="replay", temperature=0.5, seed=3)
    (note,) = [line for line in warm["notes"] if "replay:" in line]
    assert "The most similar recorded run had temperature 0.8 and not 0.5, seed 0 and not 3" in note
    with pytest.raises(BadInput, match=r"no policy model 'gpt'; there are: builtin \(adding\)"):
        run("four", tape=tape, engine="replay", model="gpt")


def test_the_oracle_is_marked_in_all_outputs(run, adding, tmp_path):
    result = run("one", value="oracle", planner="best_of_n", budgets="24")
    assert result["notes"][0].startswith("ORACLE") and "ORACLE" in (tmp_path / "log").read_text()
    assert "ORACLE" in (result.folder / "report.html").read_text() and result["value"] == "oracle"
    self_ = run("two", value="self", planner="best_of_n", budgets="24")
    assert result["rows"][0]["score"] >= self_["rows"][0]["score"]


def test_a_vote_runs_with_beams(run, adding, tmp_path):
    result = run("one", value="vote", planner="beam", width=3, budgets="24")
    assert result["rows"][0]["failed"] == 0


def test_imported_trees_are_a_task(run, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from forethought.evals.cli.main import app

    log = tmp_path / "log.jsonl"
    rows = []
    for problem in ("First?", "Second?"):
        for i in range(3):
            rows.append({"problem": problem, "path": [i], "step": f"step {i}", "value": i / 10})
            rows.append({"problem": problem, "path": [i, 0], "step": f"It is {i}", "value": i / 2, "correct": i == 2})
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tape = tmp_path / "log.tape"
    found = CliRunner().invoke(app, ["import", str(log), "--out", str(tape)])
    assert found.exit_code == 0 and "2 problems, 12 nodes, 6 finished solutions" in found.output
    result = run("out", "beam,bfs,mcts", "12", "recorded", engine="replay", tape=tape, width=3, limit=None)
    scores = {row["planner"]: row["score"] for row in result["rows"]}
    assert scores["beam"] == 1 and result["rows"][0]["n"] == 2 and result["value"] == "recorded"
    again = CliRunner().invoke(app, ["import", str(log), "--out", str(tape)])
    assert again.exit_code == 2 and "exists already" in again.stderr
    with pytest.raises(BadInput, match="needs one made by forethought import"):
        from forethought.llm.tape.sqlite import TapeFile

        TapeFile(tmp_path / "empty.tape").add_model(Adding(), "x", None)
        run("none", "bfs", "4", "recorded", engine="replay", tape=tmp_path / "empty.tape")
