"""`forethought eval` for control: whole episodes of the real environment, each decision under the same budget.

An episode is a problem and its return the score. Which torques, held steps and leaf value a planner gets is said by
`control.tasks` and repeated in the report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ...control.episodes import BatchedEnv, Episodes, run_episodes
from ...control.tasks import DERIVATIVE_PLANNERS, describe, task_named, view
from ...control.tasks import ControlTask as World
from ...control.world_models.load import load_model
from ...planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    BestOfN,
    Budget,
    GradientShooting,
    ModelError,
    WarmStarted,
    plan,
)
from ...planning.beam import Beam
from ...planning.usage import SECONDS, no_usage
from ..planners import UNITS_OF_BUDGET
from ..records.run_store import Book, Row
from ..report.terminal import Live
from ..request import Request
from ..tasks import BadInput, ControlTask
from .grid import Grid, failed_row, ledger_of

KINDS: dict[str, type] = {
    "cem": CEM, "mppi": MPPI, "mcts": MCTS, "bfs": Beam, "best_of_n": BestOfN, "icem": ICEM,
    "ilqr": ILQR, "ddp": DDP, "gradient": GradientShooting, "lbfgs": GradientShooting,
}  # fmt: skip
TRIAL_NODES = 1024


def evaluate_control(request: Request, task: ControlTask, console: Console) -> Any:
    """Run the episodes that are not on disk yet and summarise all of them; returns `evaluate.Result`."""
    from .text_runner import finish, head_of

    world = task_named(task.name)
    model = load(request, world)
    try_derivatives(request, world, model)
    grid = Grid([(p, b) for b in request.budgets for p in request.planners], task.problems(request.limit, request.seed))
    with Book(request.folder, settings_of(request, world)) as book:
        with Live(sum(map(len, grid.missing(book))), console, quiet=request.quiet) as live:
            for name, budget in grid.cells:
                seeds = [int(p.id) for p in grid.problems if (name, budget, p.id) not in book.rows]
                for start in range(0, len(seeds), request.in_flight):
                    batch = seeds[start : start + request.in_flight]
                    _run_batch(request, task, world, model, (name, budget), batch, book, live)
        views = {name: describe(world, name, **request.view) for name in request.planners}
        return finish(book, grid, request, {**head_of(request, task, []), "views": views})


def load(request: Request, world: World) -> Any:
    """The model to plan with: the equations, or a network trained on this very environment."""
    if request.model == "analytic":
        return world.analytic()
    try:
        model = load_model(request.model)
    except (ValueError, OSError) as error:
        made = "a folder made by train mlp or train ensemble"
        raise BadInput(f"{error}; a model for {world.name} is analytic or {made}") from error
    if model.config.env_id != world.env_id:
        raise BadInput(f"{request.model} was trained on {model.config.env_id}, {world.name} is {world.env_id}")
    return model


def planner_for(world: World, name: str) -> Any:
    """The planner with the settings that suit this task; `polished` is its CEM, improved by its iLQR."""
    if name == "polished":
        return WarmStarted(planner_for(world, "cem"), planner_for(world, "ilqr"), **world.settings.get(name, {}))
    return KINDS[name](**world.settings.get(name, {}))


def try_derivatives(request: Request, world: World, model: Any) -> None:
    """One decision of each planner through derivatives, before any episode: whether the model carries them is not
    known until one asks. Errors: BadInput where it does not."""
    for name in request.planners:
        if name not in DERIVATIVE_PLANNERS:
            continue
        worlds = BatchedEnv(world.env_id, [request.seed])
        worlds.close()
        try:
            seen = view(world, model, name, **request.view)
            plan(planner_for(world, name), seen, worlds.seen, Budget(nodes=TRIAL_NODES))
        except ModelError as error:
            raise BadInput(f"{name} does not fit the model {request.model}: {error}") from error


def settings_of(request: Request, world: World) -> dict[str, Any]:
    """Everything that decides a row."""
    planners = {name: f"{planner_for(world, name)!r}; {describe(world, name, **request.view)}" for name in world.views}
    return {
        "task": world.name, "environment": world.env_id, "model": request.model,
        "fingerprint": fingerprint(request.model), "unit": request.unit, "seed": request.seed, "planners": planners,
    }  # fmt: skip


def fingerprint(model: str) -> str:
    """A hash of a model folder's files; the equations are their name."""
    if model == "analytic":
        return model
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(model).iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _run_batch(
    request: Request, task: ControlTask, world: World, model: Any, cell: tuple[str, int], seeds: Sequence[int],
    book: Book, live: Live,
) -> None:  # fmt: skip
    """Episodes of one planner at one budget, in lock step; a failure is that of all its episodes."""
    name, budget = cell

    def watch(worlds: BatchedEnv) -> None:
        step = int(worlds.lengths.max())
        if step % 10 == 0:
            live.say(f"{name} {budget:,}: step {step}, mean return so far {worlds.returns.mean():.1f}")

    try:
        cap = Budget(**{UNITS_OF_BUDGET[request.unit]: budget})
        done = run_episodes(
            planner_for(world, name), view(world, model, name, **request.view), world, seeds, budget=cap,
            seed=request.seed, watch=watch,
        )  # fmt: skip
        rows = [_fields(done, i) for i in range(len(seeds))]
    except Exception as error:
        rows = [failed_row(error) | {"score": task.worst, "seconds": 0.0} for _ in seeds]
    for seed, fields in zip(seeds, rows):
        row: Row = {"problem": str(seed), "group": "", "planner": name, "budget": budget, **fields}
        book.add(row)
        live(row)


def _fields(done: Episodes, i: int) -> dict[str, Any]:
    """The row of one episode; the time its batch spent planning is shared out by decisions."""
    length = int(done.lengths[i])
    seconds = done.planning * length / max(1, int(done.lengths.sum()))
    charged, spent = done.charged[i].copy(), done.spent[i].copy()
    charged[SECONDS] = spent[SECONDS] = seconds
    score = float(done.returns[i])
    return {
        "answer": f"{score:.4g}", "correct": None, "format_ok": True, "score": score, "decisions": length,
        "ledger": ledger_of(charged, spent, no_usage(1)[0]), "finished": [], "failed": None,
        "seconds": round(seconds, 4),
    }  # fmt: skip
