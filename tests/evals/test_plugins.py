"""A task, a planner, a critic and an environment in one file each, through the command line to a report."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from forethought.control.episodes import run_episodes
from forethought.control.tasks import PENDULUM, TASKS, task_of_env, view
from forethought.evals.cli.main import app
from forethought.evals.errors import BadInput
from forethought.evals.planners import PLANNERS, planner_for, planner_named, planners_for, row_of, sees
from forethought.evals.plugins import fingerprint_of, load_object, made, short_name
from forethought.evals.tasks import CONTROL, kind_of_task, make_task
from forethought.llm.builtin.stories import held_out
from forethought.planning import MCTS
from forethought.planning.usage import NODES

TASK = """
from forethought.evals.tasks import GradedAnswer, Problem, TextTask
from forethought.llm.builtin.stories import held_out


class Sums(TextTask):
    def problems(self, limit=None, seed=0):
        stories = held_out("test", lengths=(2,))
        return [Problem(f"s{n}", stories[n].question, str(stories[n].answer)) for n in range(3, 9)][:limit]

    def grade(self, problem, text):
        answer = (text or "").rpartition("####")[2].strip()
        return GradedAnswer(answer or None, answer == problem.answer, "####" in (text or ""))
"""

PLANNER = """
from dataclasses import dataclass

from forethought.planning import MCTS, Beam
from forethought.planning.shooting import Shooting


@dataclass(frozen=True, kw_only=True)
class RankWeighted(Shooting):
    def _weights(self, returns):
        rank = returns.argsort(-1).argsort(-1) + 1.0
        return rank / rank.sum(-1, keepdim=True)


careful = MCTS(c_init=0.5)


def narrow(width):
    return Beam(beam=1, children=width)


class NoPlanner:
    def start(self):
        return 1


class Unlucky:
    def begin(self, root, actions, size, *, keys, after=None):
        return self.nothing
"""

CRITIC = """
from forethought.llm.critics import Judgement


class Brevity:
    name, low, high = "brevity", 0.0, 1.0

    async def score(self, cached, format, state):
        return Judgement(1 / (1 + len(state.tokens) - state.prompt_length))


class Endless:
    name, low = "endless", 0.0

    def score(self, cached, format, state):
        return 1
"""

ENVIRONMENT = """
import gymnasium
import numpy as np


class Point(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-10, 10, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    max_episode_steps = 8

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-2, 2)
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x = float(np.clip(self.x + float(action[0]), -10, 10))
        return np.array([self.x], np.float32), -abs(self.x), False, False, {}
"""


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """The four files in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"sums": TASK, "search": PLANNER, "critics": CRITIC, "point": ENVIRONMENT}.items():
        Path(f"{name}.py").write_text(text)
    yield tmp_path
    for name in [name for name in sys.modules if name.split("_")[0] in ("sums", "search", "critics", "point", "own")]:
        del sys.modules[name]


def call(*words):
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, " ".join((found.output + found.stderr).split())


def rows_of(folder):
    return [json.loads(line) for line in Path(folder, "results.jsonl").read_text().splitlines()][1:]


def test_a_task_with_a_planner_and_a_critic_of_ones_own_runs_to_a_report():
    flags = ["--budgets", "4,8", "--limit", "3", "--quiet"]
    code, output = call(
        "eval", "sums.py:Sums", "--planner", "best_of_n,search.py:RankWeighted,search.py:narrow",
        "--value", "0.5*self+0.5*critics.py:Brevity", *flags,
    )  # fmt: skip
    assert code == 0 and "report: runs/Sums/report.html" in output
    summary = json.loads(Path("runs/Sums/summary.json").read_text())
    assert (summary["task"], summary["value"], summary["kind"]) == ("Sums", "0.5*self+0.5*Brevity", "text")
    assert [row["planner"] for row in summary["rows"]] == [
        name for name in ("best_of_n", "RankWeighted", "narrow") for _ in range(2)
    ]
    assert all(row["failed"] == 0 and row["n"] == 3 for row in summary["rows"])
    assert {pair["against"] for row in summary["rows"] if (pair := row["paired"])} == {"best_of_n"}
    assert held_out("test", lengths=(2,))[3].question[:30] in Path("runs/Sums/report.html").read_text()
    assert all("tree" in row or row.get("truncated_from") for row in rows_of("runs/Sums"))


def test_a_critic_of_ones_own_decides_which_solution_wins():
    Path("own.py").write_text(CRITIC.replace("1 / (1 + len(state.tokens) - state.prompt_length)", "0.25"))
    assert call("eval", "sums.py:Sums", "--planner", "best_of_n", "--value", "own.py:Brevity", "--budgets", "32",
                "--limit", "2", "--quiet", "--out", "out")[0] == 0  # fmt: skip
    leaves = [leaf["score"] for row in rows_of("out") for leaf in row["finished"]]
    assert leaves and set(leaves) == {0.25}


@pytest.mark.parametrize("part", ["task", "planner", "critic"])
def test_changed_code_does_not_continue_an_old_run(part):
    flags = ["--planner", "greedy,search.py:careful", "--value", "critics.py:Brevity", "--budgets", "4", "--limit", "1"]
    command = ["eval", "sums.py:Sums", *flags, "--quiet", "--out", "out"]
    assert call(*command)[0] == 0 and call(*command)[0] == 0
    path = Path({"task": "sums.py", "planner": "search.py", "critic": "critics.py"}[part])
    path.write_text(path.read_text().replace("(c_init=0.5)", "(c_init=0.6)") + "\n# changed\n")
    code, output = call(*command)
    assert code == 2 and "begun with other settings: plugins." in output


def test_an_environment_is_learned_and_planned_in_by_all_kinds_of_planners():
    code, output = call("train", "mlp", "--env", "point.py:Point", "--steps", "120", "--out", "mlp")
    assert code == 0 and "120 steps of point/Point-v0" in output
    names = ["cem", "uct", "gumbel", "rebase", "dvts", "beam", "ilqr", "careful", "RankWeighted"]
    planners = ",".join(name if name in PLANNERS else f"search.py:{name}" for name in names)
    flags = ["--planner", planners, "--budgets", "160", "--limit", "2", "--quiet"]
    code, output = call("eval", "point.py:Point", "--model", "mlp", *flags)
    assert code == 0 and "careful: 5 values a component, no terminal value" in output
    assert "RankWeighted: vectors, no terminal value" in output and "runs/Point/report.html" in output
    summary = json.loads(Path("runs/Point/summary.json").read_text())
    assert [row["planner"] for row in summary["rows"]] == names and summary["kind"] == "control"
    assert all(row["failed"] == 0 and row["decisions"] == 8 for row in summary["rows"])
    assert all(0 < row["charged"]["nodes"] / row["decisions"] <= 160 for row in summary["rows"])
    best = next(row for row in summary["rows"] if row["planner"] == "uct")
    assert best["score"] > -12, "it stays at the point: standing still costs up to 16"


def test_any_environment_of_gymnasium_is_a_task_with_a_model_of_it():
    code, output = call("train", "mlp", "--env", "MountainCarContinuous-v0", "--steps", "60", "--out", "mlp")
    assert code == 0
    flags = ["--planner", "mppi", "--budgets", "20", "--limit", "1", "--quiet"]
    code, output = call("eval", "MountainCarContinuous-v0", *flags)
    assert code == 2 and "the equations of MountainCarContinuous-v0 are not known; train a model of it" in output
    code, output = call("eval", "Pendulum-v1", "--model", "mlp", *flags)
    assert code == 2 and "mlp was trained on MountainCarContinuous-v0, Pendulum-v1 is Pendulum-v1" in output
    task = task_of_env("MountainCarContinuous-v0")
    assert (task.steps, task.horizon, task.discrete, task.value) == (999, 20, False, None)
    assert task.views["trees"].bins == 5 and not task_of_env("Acrobot-v1").views.get("derivatives")


def test_an_environment_whose_code_fails_ends_the_run_and_names_its_line():
    path = Path("point.py")
    path.write_text(path.read_text().replace("return np.array([self.x], np.float32), -abs", "return 1 / 0, -abs"))
    code, output = call("train", "mlp", "--env", "point.py:Point", "--steps", "60", "--out", "mlp")
    assert code == 2 and "point.py, line 18: ZeroDivisionError" in output


@pytest.mark.parametrize(
    "words, told",
    [
        (["none.py:Sums"], "there is no file none.py"),
        (["sums.py:Sum"], "sums.py has no Sum; it has Sums"),
        (["nosuchmodule:Sums"], "there is no module nosuchmodule"),
        (["sums.py:Problem"], "sums.py:Problem is no task: a task inherits from TextTask"),
        (["nosuchmodule:Point-v0"], "no environment 'nosuchmodule:Point-v0'"),
        (["point.py:np"], "point.py:np is no environment: it makes module"),
        (["sums.py:Sums", "--planner", "search.py:NoPlanner"], "NoPlanner is no planner: it lacks begin"),
        (["sums.py:Sums", "--planner", "search.py:Unlucky"], "search.py, line 29: AttributeError"),
        (["sums.py:Sums", "--planner", "search.py:Shooting"], "search.py:Shooting lacks _weights"),
        (["sums.py:Sums", "--planner", "search.py:careful,search.py:careful"], "planner for Sums 'careful' is given"),
        (["pendulum", "--planner", "search.py:NoPlanner"], "NoPlanner is no planner"),
        (["sums.py:Sums", "--value", "critics.py:Endless"], "lacks high, an async method score"),
        (["sums.py:Sums", "--value", "self+critics.py:Missing"], "critics.py has no Missing; it has"),
        (["--data", "sums.py"], "name a task, or questions with --data FILE and --grade NAME"),
        (["sums.py:Sums", "--grade", "exact"], "--grade is for --data without a task"),
        (["point.py:Point", "--planner", "greedy"], "no planner for Point 'greedy'; there are best_of_n"),
    ],
)
def test_what_is_missing_is_named_in_one_line(words, told):
    code, output = call("eval", *words, "--limit", "1", "--budgets", "4", "--quiet")
    assert (code, "Traceback" in output) == (2, False) and output.startswith("error: ")
    assert told in output, output


BROKEN = {
    "import": ("import nothing_of_the_kind", "cannot be imported: ", "own.py, line 1: ModuleNotFoundError"),
    "syntax": ("x = (1,\n", "cannot be imported: ", "own.py, line 1: SyntaxError"),
    "exit": ("import sys\nsys.exit(3)", "cannot be imported: ", "own.py, line 2: SystemExit: 3"),
    "arguments": (TASK.replace("    def problems", "    def __init__(self, size):\n        pass\n\n    def problems"),
                  "own.py:Sums needs arguments (size)", "give them defaults"),
    "constructor": (TASK.replace("    def problems", "    def __init__(self):\n        1 / 0\n\n    def problems"),
                    "own.py, line 8", "ZeroDivisionError"),
    "grade": (TASK[: TASK.index("    def grade")], "own.py:Sums lacks grade", ""),
    "None": (TASK.replace("return GradedAnswer", "GradedAnswer"), "Sums.grade returned None for problem s3", "Graded"),
    "empty": (TASK.replace("range(3, 9)", "range(0)"), "Sums.problems returned no problems", ""),
    "wrong": (TASK.replace("[Problem(", "[str(").replace(", stories[n].question, str(stories[n].answer))", ")"),
              "Sums.problems returned 's3'", "no Problem"),
    "twice": (TASK.replace('f"s{n}"', '"s"'), "two problems of Sums have the id 's'", ""),
    "fails": (TASK.replace("range(3, 9)", "range(nothing)"), "the problems of Sums cannot be made", "own.py, line 9"),
    "no text": (TASK.replace('(text or "")', "text"), "Sums.grade failed for an empty solution", "own.py, line 12"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_task_that_is_wrong_says_what_and_where(name):
    text, *told = BROKEN[name]
    Path("own.py").write_text(text)
    code, output = call("eval", "own.py:Sums", "--planner", "greedy", "--budgets", "2", "--limit", "2", "--quiet")
    assert (code, "Traceback" in output) == (2, False), output
    assert all(one in output for one in told), output


def test_objects_are_found_once_while_their_file_stays_the_same():
    first = load_object("sums.py:Sums")
    assert load_object(f"{Path.cwd()}/sums.py:Sums") is first and made(first, "sums.py:Sums").name == "Sums"
    before = fingerprint_of(first)
    Path("sums.py").write_text(TASK.replace("range(3, 9)", "range(2, 9)"))
    assert load_object("sums.py:Sums") is not first and fingerprint_of(load_object("sums.py:Sums")) != before
    assert load_object("json:dumps") is json.dumps
    with pytest.raises(BadInput, match="names no object"):
        load_object("sums.py")
    assert [short_name(text) for text in ("a/b.py:C", "stories", "forethought/Bouncer-v0")] == [
        "C", "stories", "forethought/Bouncer-v0",
    ]  # fmt: skip


def test_a_file_may_import_its_neighbours():
    Path("own.py").write_text("from sums import Sums\n\n\nclass More(Sums):\n    name = 'more'\n")
    assert [problem.id for problem in make_task("own.py:More").problems(2)] == ["s3", "s4"]
    assert make_task("own.py:More").name == "more" and str(Path.cwd()) not in sys.path


def test_kinds_of_tasks_are_known_without_running_them():
    assert [kind_of_task(name) for name in (None, "stories", "pendulum", "sums.py:Sums", "point.py:Point")] == [
        "text", "text", "control", "text", "control",
    ]  # fmt: skip
    assert kind_of_task("CartPole-v1") == "control"
    with pytest.raises(BadInput, match="no task 'storeis'; there are stories, gsm8k"):
        kind_of_task("storeis")


def test_every_planner_of_the_list_exists_in_the_worlds_that_its_row_names():
    assert set(planners_for(PENDULUM)) == {name for name, row in PLANNERS.items() if "control" in row.kinds}
    for task in CONTROL:
        for name in planners_for(TASKS[task]):
            world = TASKS[task]
            seen = view(world, world.analytic(), sees(name))
            played = run_episodes(planner_for(world, name), seen, world, [0], 300, max_episode_steps=2)
            assert played.lengths.tolist() == [2] and 0 < played.charged[0, NODES] <= 600, (task, name)
    assert all(row.summary and row.kinds for row in PLANNERS.values())
    for name in ("uct", "puct", "gumbel", "beam", "dvts", "rebase", "icem"):
        assert PLANNERS[name].kinds == ("text", "control")


def test_the_rows_of_ones_own_planners_say_what_they_search_over():
    assert planner_named("search.py:RankWeighted").needs == "sequences"
    assert planner_named("search.py:careful").needs == "trees"
    assert planner_named("search.py:RankWeighted").for_task(TASKS["swingup"]).horizon == TASKS["swingup"].horizon
    row = row_of(MCTS(c_init=3.0), "mine")
    assert row.kinds == ("text", "control") and row.for_task(PENDULUM) == MCTS(c_init=3.0)
    for name in ("ilqr", "polished", "lbfgs"):
        own = row_of(PLANNERS[name].for_task(PENDULUM), name)
        assert (own.needs, own.kinds) == ("derivatives", ("control",))
    with pytest.raises(BadInput, match="does not plan over text"):
        row_of(PLANNERS["ilqr"].for_task(PENDULUM), "mine").for_text(None)
