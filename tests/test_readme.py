"""What the README says to write works as it stands there."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from forethought import planning
from forethought.control.tasks import PENDULUM
from forethought.evals import evaluate
from forethought.evals.tasks.base import GradedAnswer, Problem, TextTask
from forethought.llm.builtin.stories import held_out
from forethought.llm.critics import Judgement
from forethought.llm.load import load_text_model
from forethought.planning.shooting import Shooting
from forethought.planning.testing.check_model import check_model, check_search

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def written_by_the_reader():
    """Everything that the section on plugging in defines, in one namespace."""
    section = README[README.index("## Plug in your own") : README.index("## The repository")]
    space = {name: getattr(planning, name) for name in planning.__all__}
    space |= {"torch": torch, "dataclass": dataclass, "Shooting": Shooting, "Judgement": Judgement}
    space |= {"load_text_model": load_text_model, "Problem": Problem, "TextTask": TextTask}
    space |= {"GradedAnswer": GradedAnswer}
    for block in re.findall(r"```python\n(.*?)```", section, re.S):
        exec(block, space)
    return space


def test_a_model_a_value_a_planner_and_a_task_of_ten_lines_work():
    space = written_by_the_reader()
    check_model(space["Walk"](), [0.0, 2.0])
    check_search(space["RankWeighted"]())
    pushed = planning.plan(
        space["RankWeighted"](), PENDULUM.analytic(), torch.tensor([[3.0, 0.0]]), planning.Budget(500)
    )
    assert torch.isfinite(pushed.plan.actions).all()
    assert [p.answer for p in space["Parity"]().problems(2)] == ["1", "0"]

    async def solve():
        model, question = space["model"], held_out("test", 1)[0].question
        outcome = await planning.aplan(planning.MCTS(), model, question, planning.Budget(nodes=24))
        await model.engine.close()
        return outcome

    assert 0 < asyncio.run(solve()).plan.value[0] < 1


def test_the_task_of_the_readme_is_evaluated_to_a_report(tmp_path):
    block = re.search(r"```python\n(class Parity.*?)```", README, re.S)
    head = "from forethought.evals.tasks.base import GradedAnswer, Problem, TextTask\n\n\n"
    (tmp_path / "parity.py").write_text(head + block[1])
    task = f"{tmp_path / 'parity.py'}:Parity"
    summary = evaluate(task, planners="greedy,bfs", budgets=4, limit=3, out=tmp_path / "out")
    assert (summary["task"], summary["kind"]) == ("parity", "text")
    assert [(row["planner"], row["n"], row["failed"]) for row in summary["rows"]] == [("greedy", 3, 0), ("bfs", 3, 0)]
    assert "Is 2 even?" in (tmp_path / "out" / "report.html").read_text()
    task, problem = written_by_the_reader()["Parity"](), Problem("4", "Is 4 even?", "1")
    assert [task.grade(problem, text).correct for text in ("so\n#### 1", "so\n#### 0", "1", None)] == [
        True, False, True, False,
    ]  # fmt: skip
