"""The command line: one-line errors with exit code 2, the control tasks, training, and the doctor."""

import functools
import json

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from forethought.control.episodes import run_episodes
from forethought.control.world_models.analytic import AnalyticModel
from forethought.evals.cli.demo import main as demo
from forethought.evals.cli.doctor import findings
from forethought.evals.cli.main import app
from forethought.evals.tasks.gsm8k import Gsm8k


def call(*words):
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, " ".join((found.output + found.stderr).split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nope"], "no task 'nope'; there are stories, gsm8k, recorded, pendulum, cartpole"),
        (["stories", "--planner", "bfs,mtcs"], "no planner for stories 'mtcs'; there are greedy, self_consistency"),
        (["pendulum", "--planner", "greedy"], "no planner for pendulum 'greedy'; there are best_of_n, bfs"),
        (["stories", "--planner", "bfs,bfs"], "'bfs' is given twice"),
        (["stories", "--engine", "abacus"], "no engine 'abacus'; there are transformers"),
        (["stories", "--value", "gut"], "no value 'gut'; there are self, logprob, none"),
        (["stories", "--reasoning", "dance"], "no --reasoning 'dance'; there are steps, propose, rap"),
        (["stories", "--answer-by", "mood"], "no rule for --answer-by 'mood'; there are best, majority, weighted"),
        (["pendulum", "--reasoning", "rap"], "--reasoning is for language models; pendulum has none"),
        (["stories", "--value", "self+gut"], "no value 'gut'; there are self"),
        (["stories", "--value", "self+self"], "different ones with positive weights"),
        (["stories", "--planner", "beam,mcts", "--value", "vote"], "vote compares siblings: --planner beam"),
        (["stories", "--planner", "beam", "--width", "1", "--value", "0.5*vote+self"], "--width 2 or more"),
        (["stories", "--value", "prm", "--model", "a/b"], "need a reward model: --reward-model"),
        (["stories", "--value", "prm", "--reward-model", "x", "--reward-format", "y"], "there are math_shepherd"),
        (["stories", "--engine", "replay"], "answers from a tape; give one with --tape FILE"),
        (["stories", "--engine", "replay", "--tape", "no.tape"], "there is no tape no.tape"),
        (["stories", "--engine", "openai"], "needs a server: --base-url"),
        (["recorded"], "recorded needs a tape of imported trees"),
        (["pendulum", "--tape", "x"], "--tape is for language models"),
        (["stories", "--action-repeat", "2"], "--action-repeat is for control tasks; stories is a text task"),
        (["stories", "--no-terminal-value"], "--terminal-value is for control tasks; stories is a text task"),
        (["pendulum", "--action-repeat", "0"], "--action-repeat must be at least 1, got 0"),
        (["stories", "--unit", "dollars"], "no unit 'dollars'; there are nodes, calls, tokens, seconds"),
        (["stories", "--budgets", "8,-1"], "a budget is a positive integer, got '-1'"),
        (["stories", "--budgets", "1.5"], "a budget is a positive integer, got '1.5'"),
        (["stories", "--budgets", ","], "separated by commas"),
        (["stories", "--limit", "0"], "--limit must be at least 1"),
        (["stories", "--planner", ""], "expected planners separated by commas, got ''"),
        (["stories", "--budgets", "1e9"], "a budget is a positive integer, got '1e9'"),
        (["stories", "--seed", "-1"], "--seed must be at least 0 and below 2^63, got -1"),
        (["pendulum", "--seed", str(2**63)], "--seed must be at least 0"),
        (["stories", "--temperature", "nan"], "--temperature must be at least 0, got nan"),
        (["stories", "--temperature", "inf"], "--temperature must be at least 0, got inf"),
        (["stories", "--device", "toaster"], "builtin cannot be started on toaster: RuntimeError"),
        (["stories", "--split", "secret"], "no split 'secret'; there are test, validation, hard"),
        (["stories", "--planner", "bfs", "--against", "mcts"], "--against 'mcts' is not among the planners bfs"),
        (["stories", "--model", "/no/such/model"], "no model folder /no/such/model"),
        (["gsm8k", "--data", "missing.jsonl"], "no data file missing.jsonl"),
        (["stories", "--data", "x.jsonl"], "--data is for gsm8k"),
        (["pendulum", "--model", "nothing/here"], "config.json is missing"),
        (["pendulum", "--unit", "tokens"], "pendulum has no tokens"),
        (["cartpole", "--planner", "icem,ilqr"], "ilqr plans vectors through derivatives, cartpole has discrete"),
        (["cartpole", "--planner", "polished"], "discrete actions; there are best_of_n, bfs, beam, dvts, rebase, mcts"),
        (["stories", "--planner", "ddp"], "no planner for stories 'ddp'; there are greedy"),
    ],
)
def test_bad_input_is_one_line(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = call("eval", *words)
    assert (code, "Traceback" in output) == (2, False)
    assert output.startswith("error: ") and told in output


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{broken", "line 2: not JSON"),
        ('["question"]', "line 2: expected an object with question and answer"),
        ('{"question": "How many?"}', "line 2: needs 'answer' as non-empty text"),
        ('{"question": "", "answer": "#### 1"}', "line 2: needs 'question'"),
        ('{"question": "Who?", "answer": "#### Ann"}', "problem 2: the answer has no number after ####"),
    ],
)
def test_a_malformed_line_is_named_by_file_and_number(line, told, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "2 + 2?", "answer": "#### 4"}\n' + line + "\n")
    code, output = call("eval", "gsm8k", "--data", path, "--out", tmp_path / "out")
    assert code == 2 and "data.jsonl" in output and told in output


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"question": "Caf\xe9?", "answer": "#### 1"}', "line 2: not UTF-8 (invalid continuation byte at byte 18)"),
        (b'{"question": "\\ud800?", "answer": "#### 1"}', "line 2: 'question' holds half a surrogate pair"),
    ],
)
def test_undecodable_characters_are_named_by_line(line, told, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"question": "2 + 2?", "answer": "#### 4"}\n' + line)
    code, output = call("eval", "gsm8k", "--data", path, "--out", tmp_path / "out")
    assert code == 2 and told in output


def test_a_byte_order_mark_line_ends_and_empty_lines_are_no_obstacle(tmp_path):
    path, text = tmp_path / "data.jsonl", "Tom has\u20283 \N{RED APPLE} & «2» more.\x00 ?"
    row = json.dumps({"question": text, "answer": "#### 5"}, ensure_ascii=False)
    path.write_bytes(f"\ufeff\r\n{row}\r\n\r\n  \n{row}".encode())
    assert [(p.question, p.answer) for p in Gsm8k(path).problems()] == [(text, "5")] * 2


def test_a_model_folder_without_a_tokenizer_is_refused(tmp_path, questions):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 8}))
    code, output = call("eval", "gsm8k", "--data", questions, "--model", folder, "--out", tmp_path / "out")
    assert code == 2 and "Traceback" not in output and "tokenizer" in output


def test_eval_prints_the_table_and_the_report_s_path(questions, tmp_path, faked):
    flags = ["--data", questions, "--planner", "greedy,mcts", "--budgets", "4,16", "--limit", "6"]
    code, output = call("eval", "gsm8k", *flags, "--out", tmp_path / "out", "--quiet")
    assert code == 0
    assert "over greedy" in output and str(tmp_path / "out" / "report.html") in output.replace(" ", "")


def test_ctrl_c_says_how_to_continue(questions, tmp_path, faked, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("forethought.evals.settings.parts.make_task", interrupt)
    code, output = call("eval", "gsm8k", "--data", questions, "--out", tmp_path / "out")
    assert code == 130 and "continues from here" in output


def test_episodes_become_rows_and_a_second_call_adds_to_them(tmp_path):
    flags = ["pendulum", "--budgets", "20", "--out", tmp_path / "out", "--quiet"]
    assert call("eval", *flags, "--planner", "cem", "--limit", "1")[0] == 0
    code, output = call("eval", *flags, "--planner", "cem,best_of_n", "--limit", "2")
    assert code == 0 and "over best_of_n" in output
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()][1:]
    assert sorted((row["planner"], row["problem"]) for row in rows) == [
        ("best_of_n", "0"), ("best_of_n", "1"), ("cem", "0"), ("cem", "1"),
    ]  # fmt: skip
    assert all(row["failed"] is None and row["decisions"] == 200 and -2000 < row["score"] < 0 for row in rows)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert all(0 < row["charged"]["nodes"] / row["decisions"] <= 20 for row in summary["rows"])
    assert "Return against usage" in (tmp_path / "out" / "report.html").read_text()


@pytest.fixture
def short(monkeypatch):
    """Episodes end after six steps."""
    run = functools.partial(run_episodes, max_episode_steps=6)
    monkeypatch.setattr("forethought.evals.runners.control_runner.run_episodes", run)


def test_planners_with_derivatives_run_and_the_report_states_their_views(tmp_path, short):
    names = ["icem", "ilqr", "ddp", "gradient", "lbfgs", "polished"]
    flags = ["--planner", ",".join(names), "--budgets", "500", "--limit", "2", "--quiet"]
    code, output = call("eval", "pendulum", *flags, "--out", tmp_path / "out")
    assert code == 0 and "ilqr: vectors, through derivatives, no terminal value" in output
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"]
    assert [row["planner"] for row in rows] == names
    assert all(row["failed"] == 0 and 0 < row["charged"]["nodes"] / row["decisions"] <= 500 for row in rows)


def test_cartpole_runs_icem_and_action_repeat_keeps_derivatives(tmp_path, short):
    flags = ["--budgets", "500", "--limit", "1", "--quiet"]
    assert call("eval", "cartpole", "--planner", "icem", *flags, "--out", tmp_path / "a")[0] == 0
    code, output = call(
        "eval", "pendulum", "--planner", "ilqr", "--action-repeat", "2", *flags, "--out", tmp_path / "b"
    )
    assert code == 0 and "through derivatives, action repeat 2" in output


def test_a_model_without_derivatives_is_refused_before_any_episode(tmp_path, monkeypatch):
    class Deaf(AnalyticModel):
        def step(self, states, actions):
            with torch.no_grad():
                return super().step(states, actions)

    monkeypatch.setattr("forethought.evals.runners.control_runner.load", lambda request, world: Deaf(world.dynamics))
    for name in ("ilqr", "gradient", "polished"):
        code, output = call("eval", "pendulum", "--planner", f"cem,{name}", "--out", tmp_path / "out")
        assert code == 2 and output.startswith(f"error: {name} does not fit the model analytic: ")
        assert "no torch.no_grad" in output and not (tmp_path / "out").exists()


def test_an_episode_that_fails_gets_the_worst_return_and_its_reason(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the pendulum fell off")

    monkeypatch.setattr("forethought.evals.runners.control_runner.run_episodes", fail)
    flags = ["--planner", "cem", "--budgets", "20", "--limit", "2", "--out", tmp_path / "out", "--quiet"]
    code, output = call("eval", "pendulum", *flags)
    assert code == 1 and "failed 2x: RuntimeError: the pendulum fell off" in output
    assert "every result of cem at 20 failed, most often by RuntimeError: the pendulum fell off" in output
    row = json.loads((tmp_path / "out" / "summary.json").read_text())["rows"][0]
    assert (row["failed"], row["n"], row["score"]) == (2, 2, -3255.0)


def test_a_trained_network_can_be_evaluated(tmp_path, monkeypatch):
    from forethought.control.world_models.mlp import fit

    class Quick(fit.Fit):
        def __init__(self, seed=0, **rest):
            super().__init__(epochs=2, seed=seed, **rest)

    monkeypatch.setattr(fit, "Fit", Quick)
    code, output = call("train", "mlp", "--steps", "60", "--out", tmp_path / "mlp")
    assert code == 0 and "60 steps of Pendulum-v1" in output
    code, output = call("eval", "cartpole", "--model", tmp_path / "mlp", "--out", tmp_path / "out")
    assert code == 2 and "was trained on Pendulum-v1, cartpole is CartPole-v1" in output
    code, output = call("train", "mlp", "--env", "NoSuch-v0", "--out", tmp_path / "other")
    assert code == 2 and "NoSuch" in output


def test_the_demo_runs_both_evaluations_and_writes_one_page(tmp_path, faked, monkeypatch):
    monkeypatch.setattr("forethought.evals.cli.demo.STORIES", {"planners": "greedy,mcts", "budgets": "4,8"})
    monkeypatch.setattr("forethought.evals.cli.demo.PENDULUM", {"planners": "cem", "budgets": "20"})
    with (tmp_path / "log").open("w") as log:
        demo(tmp_path / "demo", Console(file=log, width=120), limit=1, quiet=True)
    assert (tmp_path / "demo" / "index.html").is_file()
    log = (tmp_path / "log").read_text()
    assert "stories, builtin" in log and "pendulum, analytic" in log and "index.html" in log.replace("\n", "")


def test_the_doctor_names_the_command_that_installs_what_is_missing():
    found = {finding.what: finding for finding in findings()}
    assert found["torch"].ok and found["search"].ok and found["environments"].ok
    assert all("pip install" in f.install or f.what in ("cuda", "built-in model") for f in found.values() if not f.ok)
