"""One problem, one planner, one budget over a text model: plan, grade, and write down what the tree held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...planning.budget import Budget
from ...planning.driver import aplan
from ...planning.interface import (
    Finished,
)
from ...planning.noise import keys_of
from ..planners import UNITS_OF_BUDGET, Method
from ..records.answer_selection import RULES, chosen
from ..records.anytime import best, prefix
from ..records.tree_records import record
from ..tasks.base import Problem, TextTask
from .grid import Job, Solved, ledger_of


class TextSolver:
    """Solves jobs with a `TextModel`. The same seed gives the same answers, whatever else is in flight."""

    def __init__(
        self,
        model: Any,
        task: TextTask,
        methods: Mapping[str, Method],
        unit: str = "nodes",
        seed: int = 0,
        answer_by: str | None = None,
    ) -> None:
        """answer_by: one of `choose.RULES`; None: each planner's own, majority for self-consistency, else the best."""
        self.model, self.task, self.methods, self.seed, self.answer_by = model, task, methods, seed, answer_by
        self.unit = UNITS_OF_BUDGET[unit]
        self._cold = model.at(0.0) if any(method.greedy for method in methods.values()) else model

    def steady(self, planner: str) -> bool:
        """Whether smaller budgets of this planner can be read off a larger one's run."""
        method = self.methods[planner]
        return method.steady and self.unit == "nodes" and getattr(method.planner, "leaves", 1) == 1

    async def __call__(self, job: Job) -> Solved:
        method = self.methods[job.planner]
        model = self._cold if method.greedy else self.model
        key = int(keys_of(self.seed, [job.number])[0])
        cap = Budget(**{self.unit: job.budget})
        outcome: Any = await aplan(method.planner, model, job.problem.question, cap, key=key)
        found = self.finished(outcome, outcome.plan.finished[0], job.problem)
        picks = chosen(found, outcome.tree, outcome.tree.told(0)) if found else {}
        rule = self.answer_by or ("majority" if method.vote else None)
        end = picks[rule]["node"] if rule in picks else None
        state = outcome.states.states[0, end] if end is not None else outcome.ends[0] if outcome.ends else None
        ledger = ledger_of(outcome.charged[0], outcome.spent[0], outcome.completion[0])
        smaller = {}
        for budget in job.also:
            if fields := self.read_off(outcome, method, job.problem, budget):
                smaller[budget] = {**fields, "read_off": job.budget}
        fields = self._fields(job.problem, state, found, ledger, picks)
        return Solved(fields, record(outcome, self.model.step_text), smaller)

    def read_off(self, outcome: Any, method: Method, problem: Problem, budget: int) -> dict[str, Any] | None:
        """The row's fields at a smaller budget, None where that budget has to be run."""
        cut = prefix(outcome, budget)
        if cut is None:
            return None
        found = self.finished(outcome, cut.finished, problem)
        if not found:
            return None
        picks = chosen(found, outcome.tree, outcome.tree.told(0)[:budget])
        rule = self.answer_by or ("majority" if method.vote else None)
        end = picks[rule]["node"] if rule else best(cut.finished)
        nothing = np.zeros_like(cut.charged)
        ledger = ledger_of(cut.charged, nothing, nothing)
        return self._fields(problem, outcome.states.states[0, end], found, ledger, picks)

    def _fields(
        self,
        problem: Problem,
        state: Any,
        found: list[dict[str, Any]],
        ledger: dict[str, dict[str, float]],
        picks: Mapping[str, Mapping[str, Any]],
    ) -> dict[str, Any]:
        answered = state is not None and self.model.answered(state)
        grade = self.task.grade(problem, self.model.text(state) if answered else None)
        own = {"answer": grade.answer, "correct": grade.correct}
        by = {rule: {name: picks[rule][name] for name in own} if picks else own for rule in RULES}
        return {
            **own, "format_ok": grade.format_ok,
            "score": float(grade.correct), "ledger": ledger, "finished": found, "by": by,
        }  # fmt: skip

    def finished(self, outcome: Any, leaves: Sequence[Finished], problem: Problem) -> list[dict[str, Any]]:
        """Every finished solution of the tree, so that other rules of selection can be applied afterwards."""
        found = []
        for leaf in leaves:
            state = outcome.states.states[0, leaf.node]
            if self.model.answered(state):
                grade = self.task.grade(problem, self.model.text(state))
                found.append(
                    {"node": leaf.node, "answer": grade.answer, "correct": grade.correct,
                     "score": float(leaf.value), "visits": leaf.visits}
                )  # fmt: skip
        return found
