"""Runs of tasks over text: load the model, run the grid of jobs, write summary and report."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

from ...llm.load import load_text_model
from ...llm.text_model import TextModel
from ..cli_common import Console
from ..planners import TEXT_PLANNERS
from ..records.run_store import RunStore
from ..records.summary import total
from ..report.caveats import caveats_of
from ..report.terminal import Live
from ..request import EvalRequest
from ..tasks import BadInput, Problem, TextTask
from ..tasks.base import problems_fingerprint
from .grid import JobGrid, run_grid
from .results import EvalResult, summary_head, write_results
from .text_solver import TextSolver

MAX_BUDGET_FACTOR = 8.0
"""By how much the budget of majority voting may be raised to match the tokens of another planner."""


def evaluate_text(request: EvalRequest, task: TextTask, console: Console) -> EvalResult:
    """Run the jobs that are not on disk yet and summarise all of them. Errors: BadInput, RunStopped."""
    problems = task.problems(request.limit, request.seed)
    model = load(request, grader_of(task, problems))
    planners = {name: TEXT_PLANNERS[name](request.width, model.max_steps) for name in request.planners}
    solver = TextSolver(model, task, planners, request.unit, request.seed, request.answer_by)
    with RunStore(request.folder, settings_of(request, task, model)) as store:
        grid = JobGrid([(name, budget) for budget in request.budgets for name in request.planners], problems)
        asyncio.run(_run(grid, store, solver, request, console))
        model.tape.close()
        head = summary_head(request, task, caveats_of(request, task, model)) | {"damaged_records": model.tape.damaged}
        return write_results(store, grid, request, head)


def grader_of(task: TextTask, problems: Sequence[Problem]) -> Callable[[str, str], bool]:
    """Whether a solution's text answers a question correctly, by the task's grade; used only by the oracle critic."""
    by_question = {problem.question: problem for problem in problems}
    return lambda question, text: task.grade(by_question[question], text).correct


def load(request: EvalRequest, truth: Callable[[str, str], bool] | None = None) -> TextModel:
    """The text model. Errors: BadInput for everything that its loader finds wrong."""
    options: dict[str, Any] = {"base_urls": request.base_url} if request.engine == "openai" else {}
    try:
        return load_text_model(
            request.model, request.engine, request.value, temperature=request.temperature, seed=request.seed,
            device=request.device, tape=request.tape, reward_model=request.reward_model,
            reward_format=request.reward_format, aggregate=request.aggregate, truth=truth,
            reasoning=request.reasoning, replicas=request.replicas,
            **options,
        )  # fmt: skip
    except (ValueError, OSError, ImportError) as error:
        raise BadInput(" ".join(str(error).split())) from error
    except (RuntimeError, AssertionError, MemoryError) as error:  # no memory, no such device, a torch without it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(f"{request.model} cannot be started on {request.device}: {reason[:600]}") from error


def settings_of(request: EvalRequest, task: TextTask, model: TextModel) -> dict[str, Any]:
    """Everything that decides a row.

    All planners are listed with their settings, requested or not, so that later calls may add planners, budgets and
    problems to a folder.
    """
    sampling = model.sampling
    return {
        "task": task.name, "data": problems_fingerprint(task.problems()), "model": request.model,
        "fingerprint": model.engine.fingerprint, "engine": request.engine, "value": request.value,
        "reasoning": request.reasoning, "answer_by": request.answer_by, "unit": request.unit,
        "seed": request.seed, "temperature": sampling.temperature, "top_p": sampling.top_p,
        "max_step_tokens": sampling.max_tokens, "max_steps": model.max_steps, "reward": _reward_of(request),
        "planners": {name: repr(make(request.width, model.max_steps).planner) for name, make in TEXT_PLANNERS.items()},
    }  # fmt: skip


def _reward_of(request: EvalRequest) -> str | None:
    """Everything that decides the scores of a reward model, None where there is none."""
    if not request.reward_model:
        return None
    return f"{request.reward_model}, {request.reward_format}, {request.aggregate}"


async def _run(grid: JobGrid, store: RunStore, solver: TextSolver, request: EvalRequest, console: Console) -> None:
    """Run the grid, then majority voting at as many tokens as the most expensive planner was charged."""
    try:
        await _run_missing(grid, store, solver, request, console)
        extra = equal_tokens(grid, store) if request.unit == "nodes" else None
        if extra:
            cell, note = extra
            grid.cells = [*grid.cells, cell]
            grid.note = {cell: note}
            await _run_missing(grid, store, solver, request, console)
    finally:
        await solver.model.close()


async def _run_missing(
    grid: JobGrid, store: RunStore, solver: TextSolver, request: EvalRequest, console: Console
) -> None:
    with Live(sum(map(len, grid.missing(store))), console, quiet=request.quiet) as live:
        await run_grid(grid, store, solver, in_flight=request.in_flight, watch=live)


def equal_tokens(grid: JobGrid, store: RunStore, name: str = "self_consistency") -> tuple[tuple[str, int], str] | None:
    """The cell in which majority voting is charged at least as many tokens as the most expensive other planner.

    It comes with a note for its rows; None where majority voting is not run or is the most expensive already.
    """
    if name not in {planner for planner, _ in grid.cells}:
        return None
    costs = {cell: _mean_tokens(cell, grid.problems, store) for cell in grid.cells}
    largest = max((cell for cell in costs if cell[0] == name), key=lambda cell: cell[1])
    costliest = max(costs, key=lambda cell: costs[cell])
    if costliest[0] == name or not costs[largest]:
        return None
    factor = min(MAX_BUDGET_FACTOR, 1.05 * costs[costliest] / costs[largest])
    budget = math.ceil(largest[1] * factor)
    if budget <= largest[1]:
        return None
    return (name, budget), f"given as many tokens as {costliest[0]} at {costliest[1]:,}"


def _mean_tokens(cell: tuple[str, int], problems: Sequence[Problem], store: RunStore) -> float:
    rows = [store.rows[(*cell, problem.id)]["ledger"] for problem in problems]
    return sum(total(row, "tokens") for row in rows) / len(rows)
