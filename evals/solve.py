"""One problem, one planner, one budget over a text model: plan, grade, and write down what the tree held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..planning.driver import aplan
from ..planning.interface import keys_of
from ..planning.ledger import Budget
from .methods import UNITS_OF_BUDGET, Method
from .run import Job, Solved, ledger_of
from .tasks.base import Problem, TextTask
from .trees import record


class TextSolver:
    """Solves jobs with a `TextModel`. The same seed gives the same answers, whatever else is in flight."""

    def __init__(
        self, model: Any, task: TextTask, methods: Mapping[str, Method], unit: str = "nodes", seed: int = 0
    ) -> None:
        self.model, self.task, self.methods, self.seed = model, task, methods, seed
        self.unit = UNITS_OF_BUDGET[unit]
        self._cold = model.at(0.0) if any(method.greedy for method in methods.values()) else model

    async def __call__(self, job: Job) -> Solved:
        method = self.methods[job.planner]
        model = self._cold if method.greedy else self.model
        key = int(keys_of(self.seed, [job.number])[0])
        outcome = await aplan(method.planner, model, job.problem.question, Budget(**{self.unit: job.budget}), key=key)
        found = self.finished(outcome, job.problem)
        end = outcome.ends[0] if outcome.ends else None
        text = self.model.text(end) if end is not None and self.model.answered(end) else None
        grade = self.task.grade(job.problem, text)
        if method.vote and found:
            grade = self.task.grade(job.problem, self.model.text(outcome.states.states[0, elect(found)]))
        fields = {
            "answer": grade.answer, "correct": grade.correct, "format_ok": grade.format_ok,
            "score": float(grade.correct), "why": outcome.plan.why[0] if outcome.plan.why else "",
            "ledger": ledger_of(outcome.charged[0], outcome.spent[0], outcome.closing[0]), "finished": found,
        }  # fmt: skip
        return Solved(fields, record(outcome, self.model.step_text))

    def finished(self, outcome: Any, problem: Problem) -> list[dict[str, Any]]:
        """Every finished solution of the tree, so that other rules of selection can be applied afterwards."""
        found = []
        for leaf in outcome.plan.finished[0]:
            state = outcome.states.states[0, leaf.node]
            if self.model.answered(state):
                grade = self.task.grade(problem, self.model.text(state))
                value = round(float(leaf.value), 5)
                found.append(
                    {"node": leaf.node, "answer": grade.answer, "correct": grade.correct, "score": value,
                     "visits": leaf.visits}
                )  # fmt: skip
        return found


def elect(found: Sequence[Mapping[str, Any]]) -> int:
    """The node of the first solution with the most frequent answer; the earlier answer of equally frequent ones.

    A solution that was drawn several times counts as often; one without a number does not vote.
    """
    votes: dict[str, int] = {}
    for leaf in found:
        if leaf["answer"] is not None:
            votes[leaf["answer"]] = votes.get(leaf["answer"], 0) + max(1, leaf["visits"])
    if not votes:
        return found[0]["node"]
    winner = max(votes, key=lambda answer: votes[answer])
    return next(leaf["node"] for leaf in found if leaf["answer"] == winner)
