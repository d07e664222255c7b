"""Runs of tasks over text: load the model, run the grid of jobs, write summary and report."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from ...llm.critics import CriticDeps, make_critic
from ...llm.load import load_text_model
from ...llm.text.answers import AnswerAfterMark
from ...llm.text.prompts import EXAMPLES
from ...llm.text_model import TextModel
from ...planning.fingerprint import fingerprint
from ..errors import BadInput
from ..planners import PLANNERS, PlannerRow, TextSettings
from ..records.run_store import RunStore
from ..records.summary import total
from ..report.caveats import caveats_of
from ..report.terminal import Live
from ..settings import EvalSettings
from ..tasks import Problem, TextTask
from ..tasks.base import checked_problems, graded, problems_fingerprint
from .grid import JobGrid, run_grid
from .results import Summary, summary_head, write_results
from .text_solver import TextSolver

T = TypeVar("T")

MAX_BUDGET_FACTOR = 8.0
"""By how much the budget of majority voting may be raised to match the tokens of another planner."""


def evaluate_text(settings: EvalSettings, task: TextTask, console: Console) -> Summary:
    """Run the jobs that are not on disk yet and summarise all of them. Errors: BadInput, RunStopped."""
    problems = checked_problems(task, settings.limit, settings.seed)
    model = load(settings, grader_of(task, problems))
    solver = solver_of(settings, task, model)
    with RunStore(settings.folder, settings_of(settings, task, model)) as store:
        grid = JobGrid([(name, budget) for budget in settings.budgets for name in settings.planners], problems)
        run_sync(_run(grid, store, solver, settings, console))
        head = summary_head(settings, task, caveats_of(settings, task, model)) | {"damaged_records": model.tape.damaged}
        return write_results(store, grid, settings, head)


def solver_of(settings: EvalSettings, task: TextTask, model: TextModel) -> TextSolver:
    """What solves the problems of a task with these settings."""
    text = TextSettings(settings.width, model.max_steps)
    planners = {name: row.for_text(text) for name, row in settings.parts.planners.items()}
    return TextSolver(model, task, planners, settings.unit, settings.seed, settings.answer_by)


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine; where an event loop is running already, as in a notebook, on a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def grader_of(task: TextTask, problems: Sequence[Problem]) -> Callable[[str, str], bool]:
    """Whether a solution's text answers a question correctly, by the task's grade; used only by the oracle critic."""
    by_question = {problem.question: problem for problem in problems}
    return lambda question, text: graded(task, by_question[question], text).correct


def load(settings: EvalSettings, truth: Callable[[str, str], bool] | None = None) -> TextModel:
    """The text model: the one that is given as an object, or loaded by its name.

    Errors: BadInput for everything that its loader finds wrong.
    """
    parts = settings.parts
    options: dict[str, Any] = {"base_urls": settings.base_url} if settings.engine == "openai" else {}
    try:
        if parts.model is not None:
            return _with_critic(settings, parts.model, truth)
        return load_text_model(
            settings.model, settings.engine, settings.value, temperature=settings.temperature, seed=settings.seed,
            device=settings.device, tape=settings.tape, reward_model=settings.reward_model,
            reward_format=settings.reward_format, aggregate=settings.aggregate, truth=truth,
            reasoning=settings.reasoning, replicas=settings.replicas, critics=parts.critics,
            system=instruction_of(settings.system), delimiter=settings.delimiter, max_steps=settings.max_steps,
            max_step_tokens=settings.max_step_tokens, answered=AnswerAfterMark(parts.task.answers),
            examples=None if settings.shots is None else EXAMPLES[: settings.shots],
            trust_remote_code=settings.trust_remote_code,
            **options,
        )  # fmt: skip
    except (ValueError, OSError, ImportError) as error:
        raise BadInput(" ".join(str(error).split())) from error
    except (RuntimeError, AssertionError, MemoryError) as error:  # no memory, no such device, a torch without it
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(f"{settings.model} cannot be started on {settings.device}: {reason[:600]}") from error


def instruction_of(given: str | None) -> str | None:
    """The instruction of a chat: a text, or the content of the file after `@`. Errors: BadInput for no such file."""
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--system {given}: {error}") from error


def _with_critic(settings: EvalSettings, model: TextModel, truth: Callable[[str, str], bool] | None) -> TextModel:
    """A model that was given as an object, with the seed and the critic of the settings; the model stays as it is."""
    seeded = model.seeded(settings.seed)
    if settings.parts.value:
        deps = CriticDeps(seeded, None, settings.aggregate, truth, settings.parts.critics)
        seeded.value = make_critic(settings.parts.value, deps)
    return seeded


def settings_of(settings: EvalSettings, task: TextTask, model: TextModel) -> dict[str, Any]:
    """Everything that decides a row.

    All planners are listed with their settings, requested or not, so that later calls may add planners, budgets and
    problems to a folder.
    """
    sampling, text = model.sampling, TextSettings(settings.width, model.max_steps)
    return {
        "task": task.name, "data": problems_fingerprint(checked_problems(task, None, settings.seed)),
        "model": settings.model,
        "fingerprint": model.engine.fingerprint, "engine": settings.engine, "value": settings.value,
        "reasoning": settings.reasoning, "answer_by": settings.answer_by, "unit": settings.unit,
        "seed": settings.seed, "temperature": sampling.temperature, "top_p": sampling.top_p,
        "max_step_tokens": sampling.max_tokens, "max_steps": model.max_steps, "reward": _reward_of(settings),
        "prompt": fingerprint([str(model.format.prompt_tokens("?"))]), "steps": f"{sampling.cut} {sampling.stop!r}",
        "planners": {row.name: repr(row.text(text)) for row in PLANNERS.values() if row.text is not None},
        "plugins": _plugins_of(settings, text) or None,
    }  # fmt: skip


def _plugins_of(settings: EvalSettings, text: TextSettings) -> dict[str, str]:
    """The fingerprints of parts of one's own, those of planners with the settings that they were made with."""
    rows = settings.parts.planners.values()
    planners = {row.name: f"{row.plugin} {_settled(row, text)}" for row in rows if row.plugin}
    return {**settings.parts.fingerprints, **planners}


def _settled(row: PlannerRow, settings: TextSettings) -> str:
    """The settings of a planner as text, "" where they hold an address in memory, which changes from run to run."""
    text = repr(row.for_text(settings).planner)
    return "" if " at 0x" in text else text


def _reward_of(settings: EvalSettings) -> str | None:
    """Everything that decides the scores of a reward model, None where there is none."""
    if not settings.reward_model:
        return None
    return f"{settings.reward_model}, {settings.reward_format}, {settings.aggregate}"


async def _run(grid: JobGrid, store: RunStore, solver: TextSolver, settings: EvalSettings, console: Console) -> None:
    """Run the grid, then majority voting at as many tokens as the most expensive planner was charged."""
    try:
        await _run_missing(grid, store, solver, settings, console)
        extra = equal_tokens(grid, store) if settings.unit == "nodes" else None
        if extra:
            cell, note = extra
            grid.cells = [*grid.cells, cell]
            grid.note = {cell: note}
            await _run_missing(grid, store, solver, settings, console)
    finally:
        if settings.parts.model is None:
            await release(solver.model)


async def release(model: TextModel) -> None:
    """Close a model that was loaded for a run, and its tape."""
    await model.close()
    model.tape.close()


async def _run_missing(
    grid: JobGrid, store: RunStore, solver: TextSolver, settings: EvalSettings, console: Console
) -> None:
    with Live(sum(map(len, grid.missing(store))), console, quiet=settings.quiet) as live:
        await run_grid(grid, store, solver, in_flight=settings.in_flight, watch=live)


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
