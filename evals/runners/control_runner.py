"""`forethought eval` for control: whole episodes of the real environment, with the same budget for each decision.

A problem is an episode and its score the return. `control.tasks` determines how each planner sees the model
(discretised actions, action repeat, terminal value), and the report states it.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, cast

import gymnasium
from rich.console import Console

from ...control.envs import BatchedEnv
from ...control.episodes import Episodes, run_episodes
from ...control.recognition import environment_name
from ...control.tasks import ControlTask, Kind, describe, view
from ...control.world_models.load import load_model
from ...planning import Budget, ModelError, plan
from ...planning.fingerprint import fingerprint
from ...planning.usage import SECONDS, no_usage
from ..errors import BadInput
from ..planners import PLANNERS, UNITS_OF_BUDGET, PlannerRow, planners_for
from ..plugins import described, fingerprint_of
from ..records.run_store import Row, RunStore
from ..report.terminal import Live
from ..settings import EvalSettings
from ..tasks import EpisodeTask
from .grid import JobGrid, failed_row, usage_dicts
from .results import Summary, summary_head, write_results

TRIAL_NODES = 1024


def evaluate_control(settings: EvalSettings, episodes: EpisodeTask, console: Console) -> Summary:
    """Run the episodes that are not on disk yet and summarise all of them. Errors: BadInput."""
    task = settings.parts.control
    assert task is not None
    model = load(settings, task)
    try_derivatives(settings, task, model)
    cells = [(planner, budget) for budget in settings.budgets for planner in settings.planners]
    grid = JobGrid(cells, episodes.problems(settings.limit, settings.seed))
    with RunStore(settings.folder, settings_of(settings, task)) as store:
        with Live(sum(map(len, grid.missing(store))), console, quiet=settings.quiet) as live:
            batches = EpisodeBatches(settings, episodes, task, model, store, live)
            for name, budget in grid.cells:
                seeds = [int(p.id) for p in grid.problems if (name, budget, p.id) not in store.rows]
                for start in range(0, len(seeds), settings.in_flight):
                    batches.run(name, budget, seeds[start : start + settings.in_flight])
        views = {name: describe(task, kind_of(row), **settings.view) for name, row in settings.parts.planners.items()}
        return write_results(store, grid, settings, {**summary_head(settings, episodes, []), "views": views})


def load(settings: EvalSettings, task: ControlTask) -> Any:
    """The model to plan with: the equations, or a model trained on this environment. Errors: BadInput."""
    if settings.parts.model is not None:
        return settings.parts.model
    if settings.model == "analytic":
        return _analytic(task)
    try:
        model = load_model(settings.model)
    except (ValueError, OSError) as error:
        trained = "a folder written by train mlp or train ensemble"
        raise BadInput(f"{error}; a model for {task.name} is analytic or {trained}") from error
    name = environment_name(task.env_id)
    if model.config.env_id != name:
        raise BadInput(f"{settings.model} was trained on {model.config.env_id}, {task.name} is {name}")
    return model


def _analytic(task: ControlTask) -> Any:
    if task.dynamics is None:
        raise BadInput(
            f"the equations of {task.name} are not known; train a model of it (forethought train mlp --env ENV --out "
            "FOLDER) and plan with --model FOLDER"
        )
    return task.analytic()


def kind_of(row: PlannerRow) -> Kind:
    """How a planner that has been found to fit sees a control task's model."""
    return cast(Kind, row.needs)


def try_derivatives(settings: EvalSettings, task: ControlTask, model: Any) -> None:
    """Make one decision with each planner that uses derivatives, so that a model without them is refused at once.

    Errors: BadInput where the model cannot be differentiated.
    """
    for name, row in settings.parts.planners.items():
        if row.needs != "derivatives":
            continue
        worlds = BatchedEnv(task.env_id, [settings.seed])
        worlds.close()
        try:
            shown = view(task, model, "derivatives", **settings.view)
            plan(row.for_task(task), shown, worlds.obs, Budget(nodes=TRIAL_NODES))
        except ModelError as error:
            raise BadInput(f"{name} does not fit the model {settings.model}: {error}") from error


def settings_of(settings: EvalSettings, task: ControlTask) -> dict[str, Any]:
    """Everything that decides a row."""
    rows = [PLANNERS[name] for name in planners_for(task)]
    planners = {row.name: f"{row.for_task(task)!r}; {describe(task, kind_of(row), **settings.view)}" for row in rows}
    own = {
        row.name: describe(task, kind_of(row), **settings.view)
        for row in settings.parts.planners.values()
        if row.plugin
    }
    return {
        "task": task.name, "environment": task.env_id, "model": settings.model,
        "fingerprint": fingerprint_of_model(settings), "unit": settings.unit, "seed": settings.seed,
        "planners": planners,
        "plugins": {name: f"{text} {own.get(name, '')}" for name, text in settings.parts.fingerprints.items()} or None,
    }  # fmt: skip


def fingerprint_of_model(settings: EvalSettings) -> str:
    """A hash of the model; a model given as an object is hashed as a whole where it can be pickled."""
    given = settings.parts.model
    if given is None:
        return model_fingerprint(settings.model)
    try:
        return fingerprint([pickle.dumps(given)], "blake2b")
    except (pickle.PicklingError, TypeError, AttributeError):
        return fingerprint_of(given)


def model_fingerprint(model: str) -> str:
    """A hash of the files in a model folder; "analytic" for the equations."""
    if model == "analytic":
        return model
    files = (path for path in sorted(Path(model).iterdir()) if path.is_file())
    return fingerprint((path.name.encode() + path.read_bytes() for path in files), "blake2b")


@dataclass(frozen=True)
class EpisodeBatches:
    """Runs batches of episodes in lock step and records their rows."""

    settings: EvalSettings
    episodes: EpisodeTask
    task: ControlTask
    model: Any
    store: RunStore
    live: Live

    def run(self, name: str, budget: int, seeds: Sequence[int]) -> None:
        """Run one planner at one budget on these episodes; an error counts as a failure of all of them."""
        try:
            done = self._run_episodes(name, budget, seeds)
            rows = [_fields(done, i) if isfinite(done.returns[i]) else self._no_return() for i in range(len(seeds))]
        except Exception as error:
            if isinstance(error, BadInput):
                raise
            if self.episodes.worst is None:
                raise BadInput(f"{name} at {budget:,} failed: {described(error)}") from error
            rows = [self._failed(error) for _ in seeds]
        for seed, fields in zip(seeds, rows):
            row: Row = {"problem": str(seed), "group": "", "planner": name, "budget": budget, **fields}
            self.store.add_row(row)
            self.live(row)

    def _no_return(self) -> dict[str, Any]:
        return self._failed(ValueError("the environment's rewards have no finite sum"))

    def _failed(self, error: Exception) -> dict[str, Any]:
        return failed_row(error) | {"score": self.episodes.worst, "seconds": 0.0}

    def _run_episodes(self, name: str, budget: int, seeds: Sequence[int]) -> Episodes:
        settings, task = self.settings, self.task

        def watch(worlds: BatchedEnv) -> None:
            step = int(worlds.lengths.max())
            if step % 10 == 0:
                self.live.show_text(f"{name} {budget:,}: step {step}, mean return so far {worlds.returns.mean():.1f}")

        row, limit = settings.parts.planners[name], gymnasium.spec(task.env_id).max_episode_steps
        limits: dict[str, Any] = {} if limit else {"max_episode_steps": task.steps}
        return run_episodes(
            row.for_task(task), view(task, self.model, kind_of(row), **settings.view), task, seeds,
            budget=Budget(**{UNITS_OF_BUDGET[settings.unit]: budget}), seed=settings.seed, watch=watch,
            **limits,
        )  # fmt: skip


def _fields(done: Episodes, i: int) -> dict[str, Any]:
    """The row of one episode; the planning time of its batch is divided in proportion to decisions."""
    length = int(done.lengths[i])
    seconds = done.planning * length / max(1, int(done.lengths.sum()))
    charged, spent = done.charged[i].copy(), done.spent[i].copy()
    charged[SECONDS] = spent[SECONDS] = seconds
    score = float(done.returns[i])
    note = f"decisions without a plan in some episodes ({done.fault})" if done.invalid[i] else ""
    return {
        "answer": f"{score:.4g}", "correct": None, "format_ok": True, "score": score, "decisions": length,
        "ledger": usage_dicts(charged, spent, no_usage(1)[0]), "finished": [], "failed": None,
        "seconds": round(seconds, 4), "note": note,
    }  # fmt: skip
