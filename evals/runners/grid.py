"""The loop over all problems: every planner at every budget, with each result written to disk when it is there.

It takes any `Solver`, so it can be tested without a model; `text_solver.py` holds the one over a text model. Episodes
of control are run in lock step by `control_runner.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ...llm.engines.base import EngineGone
from ...planning.interface import UNITS, ModelError, Usage
from ...planning.redaction import redact
from ..errors import RunStopped
from ..records.run_store import Row, RowKey, RunStore
from ..tasks.base import Problem

PERMANENT_ERRORS = (ValueError, ModelError)
"""Errors caused by a problem or a setting, which would fail again. All others, such as those of an engine that died or
ran out of memory, are recorded as retryable, and the next call runs these jobs again."""


@dataclass
class JobResult:
    """The result of a job.

    fields: of the row: answer, correct, format_ok, score, ledger, finished, and by_rule (answer and correct for each
        rule of `answer_selection.py`).
    tree: from `tree_records.py`, None for a search without one.
    smaller: the fields at those of `Job.smaller_budgets` that could be read from this run.
    """

    fields: Mapping[str, Any]
    tree: Mapping[str, Any] | None = None
    smaller: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One planner at one budget on one problem.

    number: the index of the problem in its data set, whatever the limit.
    smaller_budgets: those whose results are to be read from this run if possible.
    """

    planner: str
    budget: int
    problem: Problem
    number: int
    smaller_budgets: tuple[int, ...] = ()

    @property
    def key(self) -> RowKey:
        """The key of the row that holds the result."""
        return self.planner, self.budget, self.problem.id


class Solver(Protocol):
    """Runs jobs; `is_anytime` says for which planners smaller budgets can be read from a larger run."""

    def is_anytime(self, planner: str) -> bool: ...

    def __call__(self, job: Job) -> Awaitable[JobResult]: ...


Watch = Callable[[Row], None]


@dataclass
class JobGrid:
    """What is to be run.

    cells: (planner, budget) in the order of running. problems: in the order of their numbers.
    note: per cell a remark that its rows carry.
    """

    cells: Sequence[tuple[str, int]]
    problems: Sequence[Problem]
    note: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def missing(self, store: RunStore) -> list[list[Job]]:
        """Per problem the jobs whose rows are missing in the store.

        Problems whose engine failed in an earlier call come last, so that a question that kills the engine every time
        does not keep others from being run.
        """
        jobs = [
            [Job(*cell, problem, number) for cell in self.cells if (*cell, problem.id) not in store.rows]
            for number, problem in enumerate(self.problems)
        ]
        return sorted(filter(None, jobs), key=lambda group: any(job.key in store.retryable for job in group))


def empty_usage_dicts() -> dict[str, dict[str, float]]:
    """Charged, spent and completion usage of 0 in all units."""
    return {name: dict.fromkeys(UNITS, 0.0) for name in ("charged", "spent", "completion")}


def usage_dicts(charged: Usage, spent: Usage, completion: Usage) -> dict[str, dict[str, float]]:
    """Three usage arrays [units] as dictionaries."""
    rows = {"charged": charged, "spent": spent, "completion": completion}
    return {name: {unit: round(float(x), 6) for unit, x in zip(UNITS, row)} for name, row in rows.items()}


def failed_row(error: Exception) -> dict[str, Any]:
    """The fields of a failure, which counts as wrong; `retryable` where the next call is to run it again."""
    reason = " ".join(redact(f"{type(error).__name__}: {error}").split())
    return {
        "answer": None, "correct": False, "format_ok": False, "score": 0.0, "ledger": empty_usage_dicts(),
        "finished": [], "by_rule": {}, "failed": reason[:500], "retryable": not isinstance(error, PERMANENT_ERRORS),
    }  # fmt: skip


async def run_grid(
    grid: JobGrid, store: RunStore, solve: Solver, *, in_flight: int, watch: Watch | None = None
) -> None:
    """Run what is missing, at most `in_flight` problems at a time.

    The jobs of one problem run one after the other: first the largest of each anytime planner, then the rest in
    ascending order of budgets, so that each finds on the tape what earlier ones generated. Problems run in parallel.
    Cancelling loses only the jobs in flight.

    Errors: RunStopped where the engine died; the jobs in flight are recorded as failed and no other is started.
    """
    gate, errors = asyncio.Semaphore(in_flight), list[EngineGone]()

    async def run_problem(jobs: list[Job]) -> None:
        async with gate:
            for job in largest_first(jobs, solve):
                if errors or job.key in store.rows:
                    continue
                rows, tree, error = await attempt(job, solve)
                if isinstance(error, EngineGone):
                    errors.append(error)
                _store_rows(rows, tree, grid.note.get((job.planner, job.budget)), store, watch)

    tasks = [asyncio.create_task(run_problem(jobs)) for jobs in grid.missing(store)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if errors and (left := sum(map(len, grid.missing(store)))):
        raise RunStopped(
            f"{errors[0]}. {len(errors):,} results are recorded as failed, {left:,} were not started; the same command "
            "runs both and keeps the rest"
        )


def _store_rows(
    rows: Sequence[Row], tree: Mapping[str, Any] | None, note: str | None, store: RunStore, watch: Watch | None
) -> None:
    """Store the rows of a job, its own last: a run that is killed before that reads the smaller budgets once more."""
    reference = store.add_tree(tree) if tree else None
    for row in rows:
        if reference:
            row["tree"] = reference
        if note:
            row["note"] = note
        store.add_row(row)
        if watch:
            watch(row)


def largest_first(jobs: Sequence[Job], solve: Solver) -> list[Job]:
    """The same jobs, first the largest of each anytime planner, from which its smaller budgets are to be read."""
    ordered = []
    for job in jobs:
        same = [other.budget for other in jobs if other.planner == job.planner]
        if solve.is_anytime(job.planner) and job.budget == max(same) and len(same) > 1:
            job = replace(job, smaller_budgets=tuple(budget for budget in same if budget < job.budget))
        ordered.append(job)
    return sorted(ordered, key=lambda job: not job.smaller_budgets)


async def attempt(job: Job, solve: Solver) -> tuple[list[Row], dict[str, Any] | None, Exception | None]:
    """The rows of a job (those at smaller budgets first), its tree, and its error, which is returned and not raised."""
    begun = time.perf_counter()
    tree: dict[str, Any] | None = None
    failure: Exception | None = None
    smaller: Mapping[int, Mapping[str, Any]] = {}
    try:
        result = await solve(job)
        fields, smaller = {**result.fields, "failed": None}, result.smaller
        if result.tree is not None:
            tree = {"problem": job.problem.id, "planner": job.planner, "budget": job.budget, **result.tree}
    except Exception as error:
        fields, failure = failed_row(error), error
    head = {"problem": job.problem.id, "group": job.problem.group, "planner": job.planner}
    seconds = round(time.perf_counter() - begun, 4)
    rows = [{**head, "budget": budget, **read, "failed": None, "seconds": 0.0} for budget, read in smaller.items()]
    return [*rows, {**head, "budget": job.budget, **fields, "seconds": seconds}], tree, failure
