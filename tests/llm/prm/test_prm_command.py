"""`forethought train prm` and the values that use what it writes."""

import json
from functools import partial

import pytest
from typer.testing import CliRunner

from forethought.evals.cli.main import app
from forethought.evals.settings import EvalSettings
from forethought.llm import load
from forethought.llm.prm import batches, pipeline, samplers


def call(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, done.output.replace("\n", " ")


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    small = partial(batches.Schedule, problems=2, samples=2, group=2, warmup=1, checkpoint_every=2)
    monkeypatch.setattr(pipeline, "Schedule", small)
    monkeypatch.setattr(samplers, "MAX_TOKENS", 30)


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "questions.jsonl"
    path.write_text("".join(json.dumps({"question": f"What is {i}?", "answer": f"#### {i}"}) + "\n" for i in range(6)))
    return path


@pytest.mark.parametrize("labels", ["exact", "rollouts"])
def test_a_policy_s_steps_are_labelled_learned_and_judged(chain_llama, labels, tmp_path, monkeypatch):
    out = tmp_path / "prm"
    words = ["train", "prm", "--model", chain_llama, "--labels", labels, "--rollouts", "2", "--out", out]
    code, told = call(*words, "--steps", "2", "--held-out", "4")
    assert code == 0 and "held out: auc_exact" in told and "--reward-format builtin" in told, told
    card = json.loads((out / "model" / "card.json").read_text())
    assert card["schedule"]["labels"] == labels and card["table"]["all"]["problems"] == 4
    assert set(card["table"]) == {"2", "3", "4", "5", "all"} and "best_of_14" in card["untrained"]
    code, told = call(*words, "--steps", "1")
    assert code == 2 and "has taken 2 steps already, more than 1" in told
    code, told = call(*words, "--steps", "3", "--held-out", "4")  # longer, with a card of its own
    assert code == 0 and json.loads((out / "model" / "card.json").read_text())["schedule"]["steps"] == 3
    monkeypatch.setattr(load, "BUILTIN", chain_llama)
    monkeypatch.setattr(load, "BUILTIN_REWARD", out / "model")
    flags = ["--planner", "best_of_n", "--budgets", "4", "--limit", "2", "--quiet"]
    code, told = call("eval", "stories", "--value", "prm", *flags, "--out", tmp_path / "run")
    assert code == 0, told
    head = (tmp_path / "run" / "results.jsonl").read_text().splitlines()[0]
    assert "builtin, builtin, last" in head


def test_a_policy_of_another_shape_learns_from_rollouts(stepping_llama, questions, tmp_path):
    data = ["--task", "gsm8k", "--data", questions]
    words = ["train", "prm", "--model", stepping_llama, *data, "--out", tmp_path / "it"]
    code, told = call(*words, "--labels", "rollouts", "--rollouts", "2", "--steps", "2", "--held-out", "1")
    assert code == 0, told
    card = json.loads((tmp_path / "it" / "model" / "card.json").read_text())
    assert (
        card["held_out"] == 1
        and card["schedule"]["learning_rate"] == pipeline.FINE_TUNING_RATE
        and "auc_exact" not in card["table"]["all"]
    )
    text = load.load_text_model(
        stepping_llama, value="prm", reward_model=tmp_path / "it" / "model", reward_format="builtin"
    )
    assert text.value.name == "prm"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--task", "gsm8k"], "gsm8k has no checker of steps for exact labels; estimate them with --labels rollouts"),
        (["--labels", "gold"], "no labels 'gold'; there are exact, rollouts"),
        (["--task", "pendulum"], "pendulum has no training problems; use stories or gsm8k"),
        (["--steps", "0"], "--steps must be at least 1, got 0"),
        (["--reward-format", "qwen"], "no reward format 'qwen' to train in"),
        (["--model", "no/such/folder"], "there is no model folder no/such/folder"),
    ],
)
def test_what_cannot_be_trained_is_one_line(chain_llama, questions, words, told, tmp_path):
    given = [] if "--model" in words else ["--model", chain_llama]
    data = ["--data", questions] if "gsm8k" in words else []
    code, output = call("train", "prm", *given, *words, *data, "--out", tmp_path / "out")
    assert code == 2 and told in output and "Traceback" not in output
    (tmp_path / "file").write_text("")
    assert "it must be a folder" in call("train", "prm", "--out", tmp_path / "file")[1]


def test_the_built_in_policy_brings_its_reward_model(tmp_path, monkeypatch):
    for value in ("prm", "orm", "0.3*self+0.7*prm"):
        request = EvalSettings(task="stories", planners=None, budgets=None, value=value)
        assert (request.reward_model, request.reward_format) == ("builtin", "builtin")
    assert EvalSettings(task="stories", planners=None, budgets=None, value="self").reward_model is None
    assert (
        EvalSettings(
            task="stories", planners=None, budgets=None, value="prm", reward_model="builtin", model="a/b"
        ).reward_format
        == "builtin"
    )
    with pytest.raises(ValueError, match="prm and orm need a reward model"):
        EvalSettings(task="stories", planners=None, budgets=None, value="prm", model="a/b")
    monkeypatch.setattr(load, "BUILTIN_REWARD", tmp_path)
    with pytest.raises(ValueError, match="built-in reward model is not there"):
        load.load_text_model("builtin", value="prm")
