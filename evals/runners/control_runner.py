"""`forethought eval` for control: whole episodes of the real environment, with the same budget for each decision.

A problem is an episode and its score the return. `control.tasks` determines how each planner sees the model
(discretised actions, action repeat, terminal value), and the report states it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ...control.envs import BatchedEnv
from ...control.episodes import Episodes, run_episodes
from ...control.tasks import DERIVATIVE_PLANNERS, ControlTask, describe, task_named, view
from ...control.world_models.load import load_model
from ...planning import Budget, ModelError, plan
from ...planning.fingerprint import fingerprint
from ...planning.usage import SECONDS, no_usage
from ..planners import UNITS_OF_BUDGET
from ..records.run_store import Row, RunStore
from ..report.terminal import Live
from ..request import EvalRequest
from ..tasks import BadInput, EpisodeTask
from .control_planners import planner_for
from .grid import JobGrid, failed_row, usage_dicts
from .results import EvalResult, summary_head, write_results

TRIAL_NODES = 1024


def evaluate_control(request: EvalRequest, episodes: EpisodeTask, console: Console) -> EvalResult:
    """Run the episodes that are not on disk yet and summarise all of them. Errors: BadInput."""
    task = task_named(episodes.name)
    model = load(request, task)
    try_derivatives(request, task, model)
    cells = [(planner, budget) for budget in request.budgets for planner in request.planners]
    grid = JobGrid(cells, episodes.problems(request.limit, request.seed))
    with RunStore(request.folder, settings_of(request, task)) as store:
        with Live(sum(map(len, grid.missing(store))), console, quiet=request.quiet) as live:
            batches = EpisodeBatches(request, episodes, task, model, store, live)
            for name, budget in grid.cells:
                seeds = [int(p.id) for p in grid.problems if (name, budget, p.id) not in store.rows]
                for start in range(0, len(seeds), request.in_flight):
                    batches.run(name, budget, seeds[start : start + request.in_flight])
        views = {name: describe(task, name, **request.view) for name in request.planners}
        return write_results(store, grid, request, {**summary_head(request, episodes, []), "views": views})


def load(request: EvalRequest, task: ControlTask) -> Any:
    """The model to plan with: the equations, or a model trained on this environment. Errors: BadInput."""
    if request.model == "analytic":
        return task.analytic()
    try:
        model = load_model(request.model)
    except (ValueError, OSError) as error:
        trained = "a folder written by train mlp or train ensemble"
        raise BadInput(f"{error}; a model for {task.name} is analytic or {trained}") from error
    if model.config.env_id != task.env_id:
        raise BadInput(f"{request.model} was trained on {model.config.env_id}, {task.name} is {task.env_id}")
    return model


def try_derivatives(request: EvalRequest, task: ControlTask, model: Any) -> None:
    """Make one decision with each planner that uses derivatives, so that a model without them is refused at once.

    Errors: BadInput where the model cannot be differentiated.
    """
    for name in request.planners:
        if name not in DERIVATIVE_PLANNERS:
            continue
        worlds = BatchedEnv(task.env_id, [request.seed])
        worlds.close()
        try:
            shown = view(task, model, name, **request.view)
            plan(planner_for(task, name), shown, worlds.obs, Budget(nodes=TRIAL_NODES))
        except ModelError as error:
            raise BadInput(f"{name} does not fit the model {request.model}: {error}") from error


def settings_of(request: EvalRequest, task: ControlTask) -> dict[str, Any]:
    """Everything that decides a row."""
    planners = {name: f"{planner_for(task, name)!r}; {describe(task, name, **request.view)}" for name in task.views}
    return {
        "task": task.name, "environment": task.env_id, "model": request.model,
        "fingerprint": model_fingerprint(request.model), "unit": request.unit, "seed": request.seed,
        "planners": planners,
    }  # fmt: skip


def model_fingerprint(model: str) -> str:
    """A hash of the files in a model folder; "analytic" for the equations."""
    if model == "analytic":
        return model
    files = (path for path in sorted(Path(model).iterdir()) if path.is_file())
    return fingerprint((path.name.encode() + path.read_bytes() for path in files), "blake2b")


@dataclass(frozen=True)
class EpisodeBatches:
    """Runs batches of episodes in lock step and records their rows."""

    request: EvalRequest
    episodes: EpisodeTask
    task: ControlTask
    model: Any
    store: RunStore
    live: Live

    def run(self, name: str, budget: int, seeds: Sequence[int]) -> None:
        """Run one planner at one budget on these episodes; an error counts as a failure of all of them."""
        try:
            done = self._run_episodes(name, budget, seeds)
            rows = [_fields(done, i) for i in range(len(seeds))]
        except Exception as error:
            rows = [failed_row(error) | {"score": self.episodes.worst, "seconds": 0.0} for _ in seeds]
        for seed, fields in zip(seeds, rows):
            row: Row = {"problem": str(seed), "group": "", "planner": name, "budget": budget, **fields}
            self.store.add_row(row)
            self.live(row)

    def _run_episodes(self, name: str, budget: int, seeds: Sequence[int]) -> Episodes:
        request, task = self.request, self.task

        def watch(worlds: BatchedEnv) -> None:
            step = int(worlds.lengths.max())
            if step % 10 == 0:
                self.live.show_text(f"{name} {budget:,}: step {step}, mean return so far {worlds.returns.mean():.1f}")

        return run_episodes(
            planner_for(task, name), view(task, self.model, name, **request.view), task, seeds,
            budget=Budget(**{UNITS_OF_BUDGET[request.unit]: budget}), seed=request.seed, watch=watch,
        )  # fmt: skip


def _fields(done: Episodes, i: int) -> dict[str, Any]:
    """The row of one episode; the planning time of its batch is divided in proportion to decisions."""
    length = int(done.lengths[i])
    seconds = done.planning * length / max(1, int(done.lengths.sum()))
    charged, spent = done.charged[i].copy(), done.spent[i].copy()
    charged[SECONDS] = spent[SECONDS] = seconds
    score = float(done.returns[i])
    return {
        "answer": f"{score:.4g}", "correct": None, "format_ok": True, "score": score, "decisions": length,
        "ledger": usage_dicts(charged, spent, no_usage(1)[0]), "finished": [], "failed": None,
        "seconds": round(seconds, 4),
    }  # fmt: skip
