"""Which planner makes the most of so many model evaluations? All of them, on the equations of three tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...control.episodes import run_episodes
from ...control.tasks import PENDULUM, REACHER, SWINGUP, ControlTask, describe, view
from ..records.statistics import bootstrap
from ..runners.control_runner import planner_for
from .sheet import Row, Sheet, said

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
    """Three tasks at 256 and 1,024 evaluations, 5 episodes; `full`: from 64 to 16,384, 10 episodes."""
    tasks = tasks or (PENDULUM, SWINGUP, REACHER)
    budgets = budgets or ((64, 256, 1024, 4096, 16384) if full else (256, 1024))
    seeds = range(seed, seed + (episodes or (10 if full else 5)))
    rows = []
    for task in tasks:
        for name in names or task.views:
            rows += [played(task, name, nodes, seeds, seed) for nodes in budgets]
    about = ABOUT.format(
        views="; ".join(f"on {task.name}, {views_of(task, names or list(task.views))}" for task in tasks)
    )
    return Sheet("Which planner at equal model evaluations?", about, rows, table_of(rows), verdicts(rows))


def views_of(task: ControlTask, names: Sequence[str]) -> str:
    """Planners that see the same named together."""
    seen: dict[str, list[str]] = {}
    for name in names:
        seen.setdefault(describe(task, name), []).append(name)
    return ", ".join(f"{' '.join(each)}: {what}" for what, each in seen.items())


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


def panels(rows: Sequence[Row]) -> list[str]:
    """One for each task."""
    return list(dict.fromkeys(row["task"] for row in rows))


def draw(axes: Any, rows: Sequence[Row]) -> None:
    """Dots with intervals, a line for each planner: eleven curves over one another could not be told apart."""
    budgets = sorted({row["nodes"] for row in rows})
    for panel, task in zip(axes, panels(rows)):
        names = list(dict.fromkeys(row["planner"] for row in rows if row["task"] == task))
        for place, nodes in enumerate(budgets):
            found = {r["planner"]: r for r in rows if (r["task"], r["nodes"]) == (task, nodes)}
            each = [found[name] for name in names]
            up = [-i - 0.6 * ((place + 0.5) / len(budgets) - 0.5) for i in range(len(names))]
            off = [r["value"] - r["low"] for r in each], [r["high"] - r["value"] for r in each]
            values = [r["value"] for r in each]
            panel.errorbar(values, up, xerr=off, fmt="o", markersize=3, linewidth=1, label=f"{nodes:,}")
        panel.set_yticks([-i for i in range(len(names))], names)
        panel.set_xlabel(f"return on {task}")
    axes[0].legend(fontsize=7, title="evaluations", title_fontsize=7)
