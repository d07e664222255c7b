"""What the settings of an evaluation become, and what they refuse before anything is loaded."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forethought.control.tasks import PENDULUM
from forethought.control.world_models import AnalyticModel
from forethought.evals import BadInput, EvalSettings, GradedAnswer, TextTask
from forethought.evals.cli.main import app
from forethought.evals.settings.eval_settings import DEFAULT_BUDGETS, DEFAULT_PLANNERS
from forethought.llm import Judgement
from forethought.planning import MCTS, Beam
from forethought.planning.shooting import CEM


class NoProblems(TextTask):
    name = "none"

    def problems(self, limit=None, seed=0):
        return []

    def grade(self, problem, text):
        return GradedAnswer(None, False, False)


class Constant:
    name, low, high = "constant", 0.0, 1.0

    async def score(self, cached, format, state):
        return Judgement(0.5)


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("task", "kind"), [("stories", "text"), ("pendulum", "control")])
def test_defaults_follow_the_kind_of_task(task, kind):
    found = EvalSettings(task=task)
    assert found.kind == kind and found.planners == DEFAULT_PLANNERS[kind] and found.budgets == DEFAULT_BUDGETS[kind]
    assert found.model == {"text": "builtin", "control": "analytic"}[kind]
    assert found.folder == Path("runs") / task and found.view == {}


def test_every_field_is_an_option_of_the_command_line():
    shown = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, ["eval", "--help"]).output
    special = {"task": "[TASK]", "planners": "--planner"}
    for field in fields(EvalSettings):
        if field.init:
            assert special.get(field.name, f"--{field.name.replace('_', '-')}") in shown


def test_paths_may_be_texts_and_out_is_the_folder():
    found = EvalSettings(task="stories", out="here", tape="t.sqlite")
    assert found.folder == found.out == Path("here") and found.tape == Path("t.sqlite")


def test_the_view_holds_what_differs_from_the_planners_defaults():
    found = EvalSettings(task="pendulum", action_repeat=2, terminal_value=False)
    assert found.view == {"action_repeat": 2, "terminal_value": False}


def test_objects_stand_for_names():
    found = EvalSettings(task=NoProblems(), planners={"mine": Beam(), "mcts": "mcts"}, value=Constant())
    assert (found.task, found.planners, found.value) == ("none", ("mine", "mcts"), "constant")
    assert set(found.parts.fingerprints) == {"none", "mine", "constant"} and found.parts.control is None
    classes = EvalSettings(task="stories", planners=[MCTS, Beam], value=Constant)
    assert (classes.planners, classes.value) == (("MCTS", "Beam"), "constant")
    control = EvalSettings(task=PENDULUM, model=AnalyticModel(PENDULUM.dynamics), planners=CEM())
    assert (control.task, control.model, control.planners) == ("pendulum", "AnalyticModel", ("CEM",))
    assert control.parts.control is PENDULUM


def test_the_builtin_reward_model_belongs_to_the_builtin_model():
    found = EvalSettings(task="stories", value="0.5*prm + 0.5*self")
    assert found.reward_format == "builtin" and found.reward_model
    assert EvalSettings(task="stories").reward_model is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"limit": 0}, "--limit must be at least 1, got 0"),
        ({"width": 1.5}, "--width must be an integer, got 1.5"),
        ({"seed": True}, "--seed must be an integer"),
        ({"seed": -1}, "--seed must be at least 0"),
        ({"seed": 1 << 63}, "below 2^63"),
        ({"temperature": float("nan")}, "--temperature must be at least 0, got nan"),
        ({"temperature": -0.1}, "--temperature"),
        ({"unit": "hours"}, "no unit 'hours'; there are nodes"),
        ({"against": "bfs", "planners": "mcts"}, "--against 'bfs' is not among"),
        ({"planners": "mcts,mcts"}, "'mcts' is given twice"),
        ({"planners": "ilqr"}, "ilqr"),
        ({"action_repeat": 2}, "--action-repeat is for control tasks"),
        ({"engine": "tgi"}, "no engine 'tgi'"),
        ({"engine": "replay"}, "--tape FILE"),
        ({"engine": "openai"}, "--base-url"),
        ({"base_url": "http://localhost"}, "--base-url is for --engine openai, got transformers"),
        ({"engine": "openai", "base_url": "http://localhost", "replicas": 2}, "replicas"),
        ({"reasoning": "walks"}, "--reasoning"),
        ({"answer_by": "loudest"}, "--answer-by"),
        ({"value": "vote"}, "vote compares siblings"),
        ({"value": "wisdom"}, "wisdom"),
        ({"value": MCTS}, "MCTS is no critic: it lacks name"),
        ({"task": "pendulum", "model": AnalyticModel}, "got the class AnalyticModel"),
        ({"reward_format": "qwen"}, "--reward-format is for the values prm and orm, got --value self"),
        ({"model": "folder", "value": "prm"}, "--reward-model FOLDER_OR_HUB_ID"),
        ({"value": "prm", "reward_model": "r", "reward_format": "own"}, "no reward format 'own'"),
        ({"value": "prm", "aggregate": "sum"}, "no aggregate 'sum'"),
        ({"task": "recorded"}, "tape"),
        ({"data": "missing.jsonl", "grade": "number", "task": None}, "missing.jsonl"),
        ({"task": "pendulum", "device": "cuda"}, "--device is for language models; pendulum has none"),
        ({"task": "pendulum", "unit": "tokens"}, "pendulum has no tokens"),
        ({"task": "pendulum", "value": "self"}, "--value is for language models"),
        ({"task": "cartpole", "planners": "ilqr"}, "ilqr"),
        ({"task": "pendulum", "planners": "greedy"}, "greedy"),
        ({"task": "no-such-task"}, "no-such-task"),
        ({"task": 7}, "a task is a name, a TextTask or a ControlTask, got int"),
        ({"task": PENDULUM, "grade": "number"}, "data and grade are for a task by name"),
        ({"task": PENDULUM, "model": MCTS()}, "MCTS is no model: it lacks start and expand"),
        ({"task": NoProblems(), "model": MCTS()}, "TextModel"),
        ({"engine": "replay", "tape": "missing.sqlite"}, "missing.sqlite"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_wrong_settings_are_refused_by_name(settings, told):
    with pytest.raises(BadInput, match=re.escape(told)):
        EvalSettings(**{"task": "stories", **settings})
    assert list(Path().iterdir()) == []
