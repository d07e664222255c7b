"""`evaluate` and `solve` from Python, with names and with objects, and the command `solve`."""

import asyncio
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from forethought.control import PENDULUM, task_named
from forethought.evals import BadInput, EvalSettings, GradedAnswer, Problem, TextTask, evaluate, solve
from forethought.evals.cli.main import app
from forethought.llm import Judgement, load_text_model
from forethought.llm.builtin.stories import held_out
from forethought.planning import MCTS, UNITS, Beam, Budget, aplan

STORY = held_out("test", lengths=(2,))[1]


class Two(TextTask):
    name = "two"

    def problems(self, limit=None, seed=0):
        stories = held_out("test", lengths=(2,))[:2]
        return [Problem(str(i), story.question, str(story.answer)) for i, story in enumerate(stories)][:limit]

    def grade(self, problem, text):
        answer = (text or "").rpartition("####")[2].strip()
        return GradedAnswer(answer or None, answer == problem.answer, bool(answer))


class Short:
    name, low, high = "short", 0.0, 1.0

    async def score(self, cached, format, state):
        return Judgement(1 / (1 + len(state.tokens)))


@pytest.fixture(scope="module")
def builtin():
    torch.set_num_threads(1)
    return load_text_model("builtin")


def test_evaluate_returns_what_summary_json_holds(tmp_path):
    summary = evaluate("stories", planners="greedy,bfs", budgets="4,8", limit=3, out=tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary.report == tmp_path / "report.html" and summary.report.is_file() and summary.folder == tmp_path
    assert [(row["planner"], row["budget"]) for row in summary["rows"]] == [
        (planner, budget) for planner in ("greedy", "bfs") for budget in (4, 8)
    ]


def test_objects_give_the_same_rows_as_their_names(tmp_path, builtin):
    named = evaluate("stories", "builtin", ["bfs", "puct"], [8], limit=3, out=tmp_path / "named", seed=5)
    given = evaluate(
        "stories", builtin, {"bfs": Beam(), "own": MCTS(selection="puct")}, 8, limit=3, out=tmp_path / "given", seed=5
    )
    for one, other in zip(named["rows"][:1], given["rows"][:1]):
        assert one["score"] == other["score"] and one["charged"]["nodes"] == other["charged"]["nodes"]
    assert [row["planner"] for row in given["rows"]] == ["bfs", "own"] and given["model"] == "TextModel"
    builtin_again = asyncio.run(aplan(Beam(), builtin, STORY.question, Budget(nodes=4)))
    assert builtin_again.plan.finished is not None  # the model is still open


def test_a_task_and_a_critic_of_ones_own_without_files(tmp_path):
    summary = evaluate(Two(), planners="bfs", budgets=8, value=Short(), out=tmp_path)
    (row,) = summary["rows"]
    assert (summary["task"], summary["value"], row["n"]) == ("two", "short", 2)


def test_a_control_task_and_its_model_as_objects(tmp_path):
    named = evaluate("pendulum", planners="cem", budgets=64, limit=2, out=tmp_path / "named")
    given = evaluate(PENDULUM, PENDULUM.analytic(), "cem", 64, limit=2, out=tmp_path / "given")
    assert [row["score"] for row in named["rows"]] == [row["score"] for row in given["rows"]]


WRONG = {
    "an unknown field": ({"task": "stories", "colour": 3}, TypeError, "colour"),
    "a task of another kind": ({"task": 5}, BadInput, "a task is a name, a TextTask or a ControlTask, got int"),
    "a text model in control": (
        {"task": "pendulum", "model": object()},
        BadInput,
        "object is no model: it lacks start",
    ),
    "a control model for text": ({"task": "stories", "model": 3}, BadInput, "stories is planned with a TextModel"),
    "no planner": ({"task": "stories", "planners": [3]}, BadInput, "no planner"),
    "data beside an object": ({"task": Two(), "grade": "number"}, BadInput, "this one is an object"),
    "half a budget": ({"task": "stories", "budgets": [1.5]}, BadInput, "a budget is a positive integer, got 1.5"),
    "a width that is no number": ({"task": "stories", "width": "4"}, BadInput, "--width must be an integer, got '4'"),
    "NaN": ({"task": "stories", "temperature": float("nan")}, BadInput, "--temperature must be at least 0, got nan"),
    "a critic in control": ({"task": "pendulum", "value": "self"}, BadInput, "--value is for language models"),
    "a device in control": ({"task": "pendulum", "device": "cuda"}, BadInput, "--device is for language models"),
    "a reward that is not read": ({"task": "stories", "aggregate": "min"}, BadInput, "--aggregate is for the values"),
    "a server without its engine": ({"task": "stories", "base_url": "http://a"}, BadInput, "is for --engine openai"),
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_are_wrong_are_named(name):
    settings, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        EvalSettings(**settings)


def test_solve_returns_text_answer_tree_and_cost(builtin):
    solved = solve(STORY.question, builtin, "bfs", 48, seed=3)
    outcome = asyncio.run(aplan(Beam(), builtin.seeded(3), STORY.question, Budget(nodes=48), key=_key(3)))
    assert solved.text == builtin.text(outcome.ends[0]) and str(solved) == solved.text
    assert solved.answer == solved.text.rpartition("####")[2].strip()
    assert solved.value == pytest.approx(float(outcome.plan.value[0]))
    assert set(solved.cost["charged"]) == set(UNITS) and 0 < solved.cost["charged"]["nodes"] <= 48
    assert solved.tree.evaluated(0) == outcome.tree.evaluated(0)
    assert len(solved.record["nodes"]) == len(solved.tree.evaluated(0)) + 1


def _key(seed):
    from forethought.planning import keys_of

    return int(keys_of(seed, [0])[0])


def test_majority_answers_when_the_rule_says_so(builtin):
    solved = solve(STORY.question, builtin, "best_of_n", 60, answer_by="majority")
    answers = []
    for leaf in solved.outcome.plan.finished[0]:
        (state,) = solved.outcome.states.get(np.zeros(1, np.int32), np.array([leaf.node], np.int32))
        if builtin.answered(state):
            answers += [builtin.text(state).rpartition("####")[2].strip()] * leaf.visits
    assert answers and answers.count(solved.answer) == max(map(answers.count, answers))


async def test_solve_works_where_an_event_loop_is_running(builtin):
    assert solve(STORY.question, builtin, "greedy", 8).text


def test_the_command_solve_prints_the_solution_its_cost_and_its_tree():
    arguments = ["solve", STORY.question, "--planner", "bfs", "--budget", "48", "--seed", "3"]
    shown = CliRunner().invoke(app, [*arguments, "--tree"])
    assert shown.exit_code == 0 and "answer: " in shown.stdout and "generated tokens" in shown.stdout
    assert "question\n" in shown.stdout and "──" in shown.stdout
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert f"answer: {told['answer']}" in shown.stdout and told["cost"]["charged"]["nodes"] <= 48


def test_control_tasks_by_name_are_those_of_the_control_package():
    assert EvalSettings(task="cartpole").parts.control is task_named("cartpole")


def test_paths_may_be_given_as_texts(tmp_path):
    given = EvalSettings(task="stories", out=str(tmp_path / "run"), tape=str(tmp_path / "a.tape"))
    assert (given.out, given.folder, given.tape) == (tmp_path / "run", tmp_path / "run", tmp_path / "a.tape")
