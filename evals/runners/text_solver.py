"""One planner at one budget on one question: plan, grade the answer, and record the tree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from ...llm.step_result import OPEN_OR_ANSWERED
from ...llm.text.state import TextState
from ...llm.text_model import TextModel
from ...planning import MCTS
from ...planning.budget import Budget
from ...planning.driver import Outcome, aplan
from ...planning.interface import Finished
from ...planning.noise import keys_of
from ..planners import ANSWER_RULES, UNITS_OF_BUDGET, TextPlanner
from ..records.answer_selection import Solution, select_answers
from ..records.anytime import best_node, truncate
from ..records.tree_records import state_at, tree_record
from ..tasks.base import Problem, TextTask, graded
from .grid import Job, JobResult, usage_dicts


class TextSolver:
    """Solves jobs with a `TextModel`; the same seed gives the same answers whatever else is in flight.

    answer_by: one of `ANSWER_RULES`; None for each planner's own, majority for self-consistency and best for others.
    """

    def __init__(
        self,
        model: TextModel,
        task: TextTask,
        planners: Mapping[str, TextPlanner],
        unit: str = "nodes",
        seed: int = 0,
        answer_by: str | None = None,
    ) -> None:
        self.model, self.task, self.planners, self.seed, self.answer_by = model, task, planners, seed, answer_by
        self.unit = UNITS_OF_BUDGET[unit]
        self._greedy_model = model.at(0.0) if any(each.greedy for each in planners.values()) else model

    def is_anytime(self, planner: str) -> bool:
        """Whether smaller budgets of this planner can be read from a larger run."""
        found = self.planners[planner]
        one_leaf = not isinstance(found.planner, MCTS) or found.planner.leaves == 1
        return found.anytime and self.unit == "nodes" and one_leaf

    async def __call__(self, job: Job) -> JobResult:
        """Solve a job; see `JobResult`."""
        planner, outcome = self.planners[job.planner], await self.search(job)
        state, found, selected = self.chosen(outcome, planner, job.problem)
        ledger = usage_dicts(outcome.charged[0], outcome.spent[0], outcome.completion[0])
        smaller = {}
        for budget in job.smaller_budgets:
            if fields := self.fields_at(outcome, planner, job.problem, budget):
                smaller[budget] = {**fields, "truncated_from": job.budget}
        dead = self.dead_ends(outcome, outcome.tree.evaluated(0))
        fields = self._fields(job.problem, state, found, ledger, selected) | {"dead_ends": dead}
        return JobResult(fields, tree_record(outcome, self.model.step_text), smaller)

    async def search(self, job: Job) -> Outcome[list[TextState]]:
        """Plan with the job's planner at its budget."""
        planner = self.planners[job.planner]
        model = self._greedy_model if planner.greedy else self.model
        key = int(keys_of(self.seed, [job.number])[0])
        return await aplan(planner.planner, model, job.problem.question, Budget(**{self.unit: job.budget}), key=key)

    def chosen(
        self, outcome: Outcome[list[TextState]], planner: TextPlanner, problem: Problem
    ) -> tuple[TextState | None, list[dict[str, Any]], dict[str, Solution]]:
        """The state that the planner's answer is read from, all finished solutions, and those that each rule selects.

        The state is None where the search reached none.
        """
        found = self.finished(outcome, outcome.plan.finished[0], problem)
        selected = select_answers(found, outcome.tree, outcome.tree.evaluated(0)) if found else {}
        rule = self._rule(planner)
        end = selected[rule]["node"] if rule in selected else None
        if end is not None:
            return state_at(outcome, end), found, selected
        return cast("TextState | None", outcome.ends[0] if outcome.ends else None), found, selected

    def _rule(self, planner: TextPlanner) -> str | None:
        return self.answer_by or ("majority" if planner.majority_vote else None)

    def fields_at(
        self, outcome: Outcome[list[TextState]], planner: TextPlanner, problem: Problem, budget: int
    ) -> dict[str, Any] | None:
        """The row's fields at a smaller budget, None where that budget has to be run by itself."""
        cut = truncate(outcome, budget)
        if cut is None:
            return None
        found = self.finished(outcome, cut.finished, problem)
        if not found:
            return None
        selected = select_answers(found, outcome.tree, outcome.tree.evaluated(0)[:budget])
        rule = self._rule(planner)
        end = selected[rule]["node"] if rule else best_node(cut.finished)
        nothing = np.zeros_like(cut.charged)
        ledger = usage_dicts(cut.charged, nothing, nothing)
        dead = self.dead_ends(outcome, outcome.tree.evaluated(0)[:budget])
        return self._fields(problem, state_at(outcome, end), found, ledger, selected) | {"dead_ends": dead}

    def _fields(
        self,
        problem: Problem,
        state: Any,
        found: Sequence[Solution],
        ledger: Mapping[str, Mapping[str, float]],
        selected: Mapping[str, Solution],
    ) -> dict[str, Any]:
        answered = state is not None and self.model.answered(state)
        grade = graded(self.task, problem, self.model.text(state) if answered else None)
        own = {"answer": grade.answer, "correct": grade.correct}
        solution = None if state is None else self.model.text(state)
        by_rule = {rule: {name: selected[rule][name] for name in own} if selected else own for rule in ANSWER_RULES}
        return {
            **own, "format_ok": grade.format_ok,
            "score": float(grade.correct), "ledger": ledger, "finished": found, "by_rule": by_rule,
            "solution": solution,
        }  # fmt: skip

    def dead_ends(self, outcome: Outcome[list[TextState]], nodes: Sequence[int]) -> dict[str, int]:
        """How many of these nodes are dead ends, by kind (`TextState.ended`)."""
        kinds = Counter(state_at(outcome, int(node)).ended for node in nodes)
        return {kind: count for kind, count in sorted(kinds.items()) if kind not in OPEN_OR_ANSWERED}

    def finished(
        self, outcome: Outcome[list[TextState]], leaves: Sequence[Finished], problem: Problem
    ) -> list[dict[str, Any]]:
        """Every finished solution with its grade, so that other rules of selection can be applied afterwards."""
        found = []
        for leaf in leaves:
            state = state_at(outcome, leaf.node)
            if self.model.answered(state):
                grade = graded(self.task, problem, self.model.text(state))
                found.append(
                    {"node": leaf.node, "answer": grade.answer, "correct": grade.correct,
                     "score": float(leaf.value), "visits": leaf.visits}
                )  # fmt: skip
        return found
