"""All problems at once: every planner at every budget on every problem, each result written down as it is there.

Here is the loop and what a row is made of. It takes any solver, so that it can be tested without a model; the solver
over a text model is `solve.py`, episodes of control are run by `episodes.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ...llm.engines.base import EngineGone
from ...planning.interface import UNITS, ModelError
from ..records.run_store import Book, Cell, Row
from ..tasks.base import Problem, Stopped

OWN_FAULTS = (ValueError, ModelError)
"""What a problem or a setting is to blame for (design 6): asked again it fails again. Whatever else goes wrong on the
way, such as an engine that died or ran out of memory, is no word on the problem, and the next call runs it again."""


@dataclass
class Solved:
    """What a solver brings back.

    fields: of the row: answer, correct, format_ok, score, ledger, finished, by (answer and correct per rule of
    `choose.py`). smaller: the fields at those smaller
    budgets of `Job.also` that could be read off this run.
    """

    fields: Mapping[str, Any]
    tree: Mapping[str, Any] | None = None
    smaller: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One cell of one problem.

    number: the problem's place in its data set, whatever the limit. also: smaller budgets to read off if possible.
    """

    planner: str
    budget: int
    problem: Problem
    number: int
    also: tuple[int, ...] = ()


class Solver(Protocol):
    """Runs a job; `steady` says of which planners smaller budgets can be read off a larger run."""

    def steady(self, planner: str) -> bool: ...

    def __call__(self, job: Job) -> Awaitable[Solved]: ...


Watch = Callable[[Row], None]


@dataclass
class Grid:
    """What is to be run: cells (planner, budget) in order of running, over problems with their numbers."""

    cells: Sequence[tuple[str, int]]
    problems: Sequence[Problem]
    note: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def missing(self, book: Book) -> list[list[Job]]:
        """Per problem the jobs that the book has no row of; last those whose engine failed before, so that one whose
        questions end it every time keeps no other from being run."""
        jobs = [
            [Job(*cell, problem, number) for cell in self.cells if (*cell, problem.id) not in book.rows]
            for number, problem in enumerate(self.problems)
        ]
        return sorted(filter(None, jobs), key=lambda mine: any(cell_of_job(job) in book.lost for job in mine))


def cell_of_job(job: Job) -> Cell:
    """The cell whose row the job is to fill."""
    return job.planner, job.budget, job.problem.id


def empty_ledger() -> dict[str, dict[str, float]]:
    """Nothing charged, nothing spent."""
    return {name: dict.fromkeys(UNITS, 0.0) for name in ("charged", "spent", "completion")}


def ledger_of(charged: Any, spent: Any, completion: Any) -> dict[str, dict[str, float]]:
    """Three usage rows [units] as dictionaries."""
    rows = {"charged": charged, "spent": spent, "completion": completion}
    return {name: {unit: round(float(x), 6) for unit, x in zip(UNITS, row)} for name, row in rows.items()}


def failed_row(error: Exception) -> dict[str, Any]:
    """A failure counts as wrong, says why and stays in the denominator; `again` where the next call runs it anew."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return {
        "answer": None, "correct": False, "format_ok": False, "score": 0.0, "ledger": empty_ledger(),
        "finished": [], "by": {}, "failed": reason[:500], "again": not isinstance(error, OWN_FAULTS),
    }  # fmt: skip


async def run_grid(grid: Grid, book: Book, solve: Solver, *, in_flight: int, watch: Watch | None = None) -> None:
    """Run what is missing, at most `in_flight` problems at a time.

    The cells of one problem run one after the other: first the largest of the planners that smaller budgets can be
    read off, then the rest with budgets rising, so that each finds on the tape what others have opened; problems
    supply the parallelism. Cancelling loses the cells in flight and no other.

    Errors: Stopped where the engine is gone: what was under way is recorded as failed, and nothing else was begun.
    """
    gate, gone = asyncio.Semaphore(in_flight), list[EngineGone]()

    async def work(jobs: list[Job]) -> None:
        async with gate:
            for job in largest_first(jobs, solve):
                if gone or cell_of_job(job) in book.rows:
                    continue
                rows, tree, error = await attempt(job, solve)
                if isinstance(error, EngineGone):
                    gone.append(error)
                _write_down(rows, tree, grid.note.get((job.planner, job.budget)), book, watch)

    tasks = [asyncio.create_task(work(jobs)) for jobs in grid.missing(book)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if gone and (left := sum(map(len, grid.missing(book)))):
        raise Stopped(
            f"{gone[0]}. {len(gone):,} results are recorded as failed, {left:,} were not begun; the same command runs "
            "both and keeps the rest"
        )


def _write_down(
    rows: Sequence[Row], tree: Mapping[str, Any] | None, note: str | None, book: Book, watch: Watch | None
) -> None:
    """The rows of one job, the job's own last: whoever is killed between two of them reads the rest off once more."""
    reference = book.keep(tree) if tree else None
    for row in rows:
        if reference:
            row["tree"] = reference
        if note:
            row["note"] = note
        book.add(row)
        if watch:
            watch(row)


def largest_first(jobs: Sequence[Job], solve: Solver) -> list[Job]:
    """The same jobs, the largest of each steady planner first and charged with reading off the others."""
    ordered = []
    for job in jobs:
        same = [other.budget for other in jobs if other.planner == job.planner]
        if solve.steady(job.planner) and job.budget == max(same) and len(same) > 1:
            job = replace(job, also=tuple(budget for budget in same if budget < job.budget))
        ordered.append(job)
    return sorted(ordered, key=lambda job: not job.also)


async def attempt(job: Job, solve: Solver) -> tuple[list[Row], dict[str, Any] | None, Exception | None]:
    """Rows read off a job, then its own, its tree and its error, which is recorded and not raised."""
    begun = time.perf_counter()
    tree: dict[str, Any] | None = None
    failure: Exception | None = None
    smaller: Mapping[int, Mapping[str, Any]] = {}
    try:
        solved = await solve(job)
        fields, smaller = {**solved.fields, "failed": None}, solved.smaller
        if solved.tree is not None:
            tree = {"problem": job.problem.id, "planner": job.planner, "budget": job.budget, **solved.tree}
    except Exception as error:
        fields, failure = failed_row(error), error
    head = {"problem": job.problem.id, "group": job.problem.group, "planner": job.planner}
    seconds = round(time.perf_counter() - begun, 4)
    rows = [{**head, "budget": budget, **read, "failed": None, "seconds": 0.0} for budget, read in smaller.items()]
    return [*rows, {**head, "budget": job.budget, **fields, "seconds": seconds}], tree, failure
