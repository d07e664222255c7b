"""`forethought eval`: from a checked request to rows on disk, `summary.json` and `report.html`."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ..planners import METHODS
from ..records.run_store import Book, written_to
from ..records.summary import summarize, total
from ..report.caveats import notes_of
from ..report.report import write_report
from ..report.terminal import Live, show
from ..request import Request
from ..tasks import BadInput, ControlTask, Problem, TextTask, make_task
from ..tasks.base import fingerprint
from .grid import Grid, run_grid
from .text_solver import TextSolver

MOST_STRETCH = 8.0


@dataclass
class Result:
    """Where a run's files are, and its summary."""

    folder: Path
    report: Path
    summary: dict[str, Any]


def evaluate(request: Request, console: Console | None = None, *, tell: bool = True) -> Result:
    """Run what the request asks for and is not on disk yet; then summarise all of it, and print it if `tell`.

    Errors: BadInput for what the user can put right; Stopped where the engine is gone in mid-run. That and
    KeyboardInterrupt leave a folder that the next call goes on with.
    """
    console = console or Console()
    task = make_task(request.task, data=request.data, split=request.split, tape=request.tape)
    if isinstance(task, ControlTask):
        from .control_runner import evaluate_control

        result: Result = evaluate_control(request, task, console)
    else:
        result = evaluate_text(request, task, console)
    if tell:
        show(result.summary, console)
        console.print(f"report: {result.report}", highlight=False, soft_wrap=True)
    return result


def evaluate_text(request: Request, task: TextTask, console: Console) -> Result:
    """The part of `evaluate` for questions in words."""
    problems = task.problems(request.limit, request.seed)
    model = load(request, truth_of(task, problems))
    methods = {name: METHODS[name](request.width, model.max_steps) for name in request.planners}
    solver = TextSolver(model, task, methods, request.unit, request.seed, request.answer_by)
    with Book(request.folder, settings_of(request, task, model)) as book:
        grid = Grid([(name, budget) for budget in request.budgets for name in request.planners], problems)
        asyncio.run(_run(grid, book, solver, request, console))
        model.tape.close()
        return finish(book, grid, request, head_of(request, task, notes_of(request, task, model)))


def truth_of(task: TextTask, problems: Sequence[Problem]) -> Callable[[str, str], bool]:
    """Whether a solution's text answers a question, by the task's own grade; for the oracle only."""
    asked = {problem.question: problem for problem in problems}
    return lambda question, text: task.grade(asked[question], text).correct


def load(request: Request, truth: Callable[[str, str], bool] | None = None) -> Any:
    """The text model; what its loader finds wrong is the user's to put right."""
    from ...llm.load import load_text_model

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
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(f"{request.model} cannot be started on {request.device}: {told[:600]}") from error


def settings_of(request: Request, task: TextTask, model: Any) -> dict[str, Any]:
    """Everything that decides a row. Planners stand here with their settings, asked for or not, so that later calls
    may add planners, budgets and problems to a folder."""
    sampling = model.sampling
    plain = {"reasoning": "steps", "answer_by": None}  # what a folder of before these flags was begun with
    return {
        **{name: given for name in plain if (given := getattr(request, name)) != plain[name]},
        "task": task.name, "data": fingerprint(task.problems()), "model": request.model,
        "fingerprint": model.engine.fingerprint, "engine": request.engine, "value": request.value, "unit": request.unit,
        "seed": request.seed, "temperature": sampling.temperature, "top_p": sampling.top_p,
        "max_step_tokens": sampling.max_tokens, "max_steps": model.max_steps, "reward": _reward_of(request),
        "planners": {name: repr(make(request.width, model.max_steps).planner) for name, make in METHODS.items()},
    }  # fmt: skip


def _reward_of(request: Request) -> str | None:
    """What decides the scores of a reward model, None where there is none."""
    if not request.reward_model:
        return None
    return f"{request.reward_model}, {request.reward_format}, {request.aggregate}"


def head_of(request: Request, task: TextTask | ControlTask, notes: Sequence[str]) -> dict[str, Any]:
    """The summary's own fields."""
    return {
        "task": task.name, "kind": task.kind, "model": request.model,
        "engine": request.engine if task.kind == "text" else None, "value": request.value, "seed": request.seed,
        "reasoning": request.reasoning, "answer_by": request.answer_by,
        "unit": request.unit, "group_name": task.group_name, "notes": list(notes), "views": {},
    }  # fmt: skip


async def _run(grid: Grid, book: Book, solver: TextSolver, request: Request, console: Console) -> None:
    """The grid, then majority voting once more at as many tokens as the costliest planner was charged."""
    try:
        missing = sum(map(len, grid.missing(book)))
        with Live(missing, console, quiet=request.quiet) as live:
            await run_grid(grid, book, solver, in_flight=request.in_flight, watch=live)
        extra = equal_tokens(grid, book) if request.unit == "nodes" else None
        if extra:
            cell, note = extra
            grid.cells = [*grid.cells, cell]
            grid.note = {cell: note}
            with Live(sum(map(len, grid.missing(book))), console, quiet=request.quiet) as live:
                await run_grid(grid, book, solver, in_flight=request.in_flight, watch=live)
    finally:
        await solver.model.close()


def equal_tokens(grid: Grid, book: Book, name: str = "self_consistency") -> tuple[tuple[str, int], str] | None:
    """The cell in which majority voting is charged at least as many tokens as the costliest other planner."""
    if name not in {planner for planner, _ in grid.cells}:
        return None
    costs = {cell: _mean_tokens(cell, grid.problems, book) for cell in grid.cells}
    top = max((cell for cell in costs if cell[0] == name), key=lambda cell: cell[1])
    costliest = max(costs, key=lambda cell: costs[cell])
    if costliest[0] == name or not costs[top]:
        return None
    stretch = min(MOST_STRETCH, 1.05 * costs[costliest] / costs[top])
    budget = math.ceil(top[1] * stretch)
    if budget <= top[1]:
        return None
    return (name, budget), f"given as many tokens as {costliest[0]} at {costliest[1]:,}"


def _mean_tokens(cell: tuple[str, int], problems: Sequence[Problem], book: Book) -> float:
    rows = [book.rows[(*cell, problem.id)]["ledger"] for problem in problems]
    return sum(total(row, "tokens") for row in rows) / len(rows)


def finish(book: Book, grid: Grid, request: Request, head: Mapping[str, Any]) -> Result:
    """Write `summary.json` and `report.html`."""
    cells = sorted(grid.cells, key=lambda cell: (request.planners.index(cell[0]), cell[1]))
    against = request.against or ("greedy" if "greedy" in request.planners else None)
    if against is None and "best_of_n" in request.planners and len(request.planners) > 1:
        against = "best_of_n"
    summary = summarize(book.rows, cells, [problem.id for problem in grid.problems], against, head)
    rows = [row for cell in cells for p in grid.problems if (row := book.rows.get((*cell, p.id)))]
    trees = {
        (r["planner"], r["budget"], r["problem"]): book.tree(r["tree"])
        for r in rows
        if r.get("tree") and not r.get("read_off")
    }
    report = book.folder / "report.html"
    with written_to(book.folder):
        (book.folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
        write_report(report, summary, rows, grid.problems, trees)
    return Result(book.folder, report, summary)
