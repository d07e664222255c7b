"""All problems at once: every planner at every budget on every problem, each result written down as it is there.

Here is the loop and what a row is made of. It takes any solver, so that it can be tested without a model; the solver
over a text model is `solve.py`, episodes of control are run by `episodes.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..planning.interface import UNITS
from .book import Book, Row
from .tasks.base import Problem


@dataclass
class Solved:
    """What a solver brings back: fields of the row (answer, correct, format_ok, score, ledger, finished), the tree."""

    fields: Mapping[str, Any]
    tree: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Job:
    """One cell of one problem; `number` is the problem's place in its data set, whatever the limit."""

    planner: str
    budget: int
    problem: Problem
    number: int


Solver = Callable[[Job], Awaitable[Solved]]
Watch = Callable[[Row], None]


@dataclass
class Grid:
    """What is to be run: cells (planner, budget) in order of running, over problems with their numbers."""

    cells: Sequence[tuple[str, int]]
    problems: Sequence[Problem]
    note: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def missing(self, book: Book) -> list[list[Job]]:
        """Per problem the jobs that the book has no row of."""
        jobs = [
            [Job(*cell, problem, number) for cell in self.cells if (*cell, problem.id) not in book.rows]
            for number, problem in enumerate(self.problems)
        ]
        return [mine for mine in jobs if mine]


def empty_ledger() -> dict[str, dict[str, float]]:
    """Nothing charged, nothing spent."""
    return {name: dict.fromkeys(UNITS, 0.0) for name in ("charged", "spent", "closing")}


def ledger_of(charged: Any, spent: Any, closing: Any) -> dict[str, dict[str, float]]:
    """Three usage rows [units] as dictionaries."""
    rows = {"charged": charged, "spent": spent, "closing": closing}
    return {name: {unit: round(float(x), 6) for unit, x in zip(UNITS, row)} for name, row in rows.items()}


def failed_row(error: Exception) -> dict[str, Any]:
    """A failure counts as wrong, says why and stays in the denominator."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return {
        "answer": None, "correct": False, "format_ok": False, "score": 0.0, "ledger": empty_ledger(),
        "finished": [], "failed": reason[:500],
    }  # fmt: skip


async def run_grid(grid: Grid, book: Book, solve: Solver, *, in_flight: int, watch: Watch | None = None) -> None:
    """Run what is missing, at most `in_flight` problems at a time.

    The cells of one problem run one after the other, budgets rising, so that a larger budget finds on the tape what a
    smaller one has opened; problems supply the parallelism. Cancelling loses the cells in flight and no other.
    """
    gate = asyncio.Semaphore(in_flight)

    async def work(jobs: list[Job]) -> None:
        async with gate:
            for job in jobs:
                row, tree = await attempt(job, solve)
                if job_note := grid.note.get((job.planner, job.budget)):
                    row["note"] = job_note
                book.add(row, tree)
                if watch:
                    watch(row)

    tasks = [asyncio.create_task(work(jobs)) for jobs in grid.missing(book)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def attempt(job: Job, solve: Solver) -> tuple[Row, dict[str, Any] | None]:
    """The row and tree of one job; an error is recorded and not raised."""
    begun = time.perf_counter()
    tree: dict[str, Any] | None = None
    try:
        solved = await solve(job)
        fields = {**solved.fields, "failed": None}
        if solved.tree is not None:
            tree = {"problem": job.problem.id, "planner": job.planner, "budget": job.budget, **solved.tree}
    except Exception as error:
        fields = failed_row(error)
    head = {"problem": job.problem.id, "group": job.problem.group, "planner": job.planner, "budget": job.budget}
    return {**head, **fields, "seconds": round(time.perf_counter() - begun, 4)}, tree
