"""Which planner makes the most of so many model evaluations? All of them, on the equations of three tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...control.episodes import run_episodes
from ...control.tasks import PENDULUM, REACHER, SWINGUP, ControlTask, describe, view
from ..episodes import planner_for
from ..statistics import bootstrap
from .sheet import Row, Sheet, lines, said

ABOUT = (
    "Return of whole episodes (mean, 95 % bootstrap interval over episodes) and milliseconds of a decision for "
    "one episode's share of a batch, with the task's own equations as model. One state and action through the "
    "equations is one evaluation; a torque held k steps is k, a Jacobian state + action size, a backward pass "
    "over H steps 2 H. What each planner sees: {views}."
)


def run(
    full: bool = False,
    seed: int = 0,
    *,
    tasks: Sequence[ControlTask] | None = None,
    budgets: Sequence[int] | None = None,
    episodes: int | None = None,
    names: Sequence[str] | None = None,
) -> Sheet:
    """The pendulum at 256 and 1,024 evaluations, 3 episodes; `full`: three tasks from 64 to 16,384, 10 episodes."""
    tasks = tasks or ((PENDULUM, SWINGUP, REACHER) if full else (PENDULUM,))
    budgets = budgets or ((64, 256, 1024, 4096, 16384) if full else (256, 1024))
    seeds = range(seed, seed + (episodes or (10 if full else 3)))
    rows = []
    for task in tasks:
        for name in names or task.views:
            rows += [played(task, name, nodes, seeds, seed) for nodes in budgets]
    views = "; ".join(f"{name}: {describe(tasks[0], name)}" for name in names or tasks[0].views)
    about = ABOUT.format(views=views)
    return Sheet("Which planner at equal model evaluations?", about, rows, table_of(rows), verdicts(rows))


def played(task: ControlTask, name: str, nodes: int, seeds: Sequence[int], seed: int) -> Row:
    """Episodes of one planner under one budget; one that cannot plan with it says why and has no figures."""
    head: Row = {"task": task.name, "planner": name, "nodes": nodes, "episodes": len(seeds)}
    try:
        with torch.no_grad() if name in ("mcts", "bfs") else torch.enable_grad():
            done = run_episodes(
                planner_for(task, name), view(task, task.analytic(), name), task, seeds, nodes, seed=seed
            )
    except ValueError as error:
        nothing = float("nan")
        return head | {"value": nothing, "low": nothing, "high": nothing, "ms": nothing, "said": f"({error})"}
    mean, ms = bootstrap(done.returns), 1e3 * done.planning / float(done.lengths.sum())
    return head | {"value": mean.value, "low": mean.low, "high": mean.high, "ms": ms, "said": said(mean, 4)}


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line for each task and planner, columns of return and milliseconds for each budget."""
    table: dict[tuple[str, str], Row] = {}
    for row in rows:
        line = table.setdefault((row["task"], row["planner"]), {"task": row["task"], "planner": row["planner"]})
        line[f"{row['nodes']:,}"] = row["said"]
        line[f"{row['nodes']:,}: ms"] = f"{row['ms']:.2f}"
    return list(table.values())


def verdicts(rows: Sequence[Row]) -> list[str]:
    """The best mean of each task and budget."""
    told = []
    for task, nodes in dict.fromkeys((row["task"], row["nodes"]) for row in rows):
        cells = {r["planner"]: r for r in rows if (r["task"], r["nodes"]) == (task, nodes) and r["value"] == r["value"]}
        order = sorted(cells, key=lambda name: -cells[name]["value"])
        best = ", ".join(f"{name} {cells[name]['value']:.1f}" for name in order[:3])
        told.append(f"{task}, {nodes:,} evaluations: {best}; last {order[-1]} {cells[order[-1]]['value']:.1f}")
    return told


def draw(axes: Any, rows: Sequence[Row]) -> None:
    lines(axes, [row for row in rows if row["task"] == rows[0]["task"]], ("planner",), "nodes")
    axes.set_xscale("log")
    axes.set_ylabel(f"return on {rows[0]['task']}")
