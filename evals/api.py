"""The two functions that most programs need: `evaluate` planners on a task, and `solve` one question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from ..planning import Outcome
from ..planning.trees.tree import Tree
from .errors import BadInput
from .records.tree_records import state_at, tree_record
from .runners.evaluate import run_evaluation
from .runners.grid import Job, usage_dicts
from .runners.results import Summary
from .runners.text_runner import load, release, run_sync, solver_of
from .runners.text_solver import TextSolver
from .settings import EvalSettings
from .tasks.question import Question


def evaluate(
    task: Any,
    model: Any = None,
    planners: Any = None,
    budgets: Any = None,
    *,
    quiet: bool = True,
    console: Console | None = None,
    **settings: Any,
) -> Summary:
    """Score planners on a task at several budgets; what `forethought eval` does.

    task: a name such as "stories" or "pendulum", `FILE.py:Name`, a `TextTask` or a `ControlTask`. model: a name, a
    folder, a `TextModel` or a `Model`. planners: names in a text or sequence, `Planner` objects among them, or a
    mapping from names to planners. budgets: nodes per problem, or per decision in control, unless `unit` says
    otherwise. quiet: no progress bar. settings: the other fields of `EvalSettings`.

    Returns the summary: `summary["rows"]` has one entry per planner and budget with `score`, its 95 % interval `low`
    and `high`, and costs. The folder `out` (by default runs/TASK) holds every row, every tree and a report; the same
    call continues a stopped run.

    Errors: BadInput for settings that are wrong, RunStopped where the engine died.
    """
    chosen = EvalSettings(task=task, model=model, planners=planners, budgets=budgets, quiet=quiet, **settings)
    return run_evaluation(chosen, console or Console(stderr=True))


@dataclass(frozen=True)
class Solved:
    """The solution of one question.

    text: the chosen solution, "" where none was finished. answer: what is read from it, None where there is none.
    value: the critic's value of it, None where there is none. tree: of the search. cost: charged, spent and completion
    usage in each unit (`planning.UNITS`). outcome: of the search, with all states and finished solutions.
    record: the tree as plain data, None for a search without one.
    """

    question: str
    text: str
    answer: str | None
    value: float | None
    tree: Tree
    cost: Mapping[str, Mapping[str, float]]
    outcome: Outcome[Any]
    record: Mapping[str, Any] | None

    def __str__(self) -> str:
        return self.text


def solve(question: str, model: Any = "builtin", planner: Any = "bfs", budget: int = 64, **settings: Any) -> Solved:
    """Answer one question by a search with a language model.

    model: "builtin", a folder, a hub id, or a `TextModel`, which saves loading it for each question. planner: a name
    or a `Planner`. budget: nodes (reached states) unless `unit` says otherwise. settings: other fields of
    `EvalSettings`, such as `value`, `engine`, `answer_by` and `seed`.

    Errors: BadInput for settings that are wrong, and those of the engine.
    """
    if not isinstance(question, str) or not question.strip():
        raise BadInput(f"the question must be a text that is not empty, got {question!r}")
    task = Question(question)
    chosen = EvalSettings(task=task, model=model, planners=[planner], budgets=budget, **settings)
    text_model = load(chosen)
    job = Job(chosen.planners[0], chosen.budgets[0], task.problems()[0], 0)
    return run_sync(_solve(solver_of(chosen, task, text_model), job, owned=chosen.parts.model is None))


async def _solve(solver: TextSolver, job: Job, owned: bool) -> Solved:
    """Search and read the answer. owned: whether the model was loaded for this question and is closed after it."""
    try:
        outcome = await solver.search(job)
    finally:
        if owned:
            await release(solver.model)
    planner, question = solver.planners[job.planner], job.problem.question
    state, found, _ = solver.chosen(outcome, planner, job.problem)
    text = solver.model.text(state) if state is not None and solver.model.answered(state) else ""
    value = next((one["score"] for one in found if text and state_at(outcome, one["node"]) == state), None)
    cost = usage_dicts(outcome.charged[0], outcome.spent[0], outcome.completion[0])
    answer = solver.task.grade(job.problem, text).answer
    record = tree_record(outcome, solver.model.step_text)
    return Solved(question, text, answer, value, outcome.tree, cost, outcome, record)
