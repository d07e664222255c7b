"""Which planner is best at equal numbers of model evaluations? All planners, on the equations of three tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console

from ...control.episodes import run_episodes
from ...control.tasks import PENDULUM, REACHER, SWINGUP, ControlTask, describe, view
from ..planners import planner_for, sees
from ..progress import progress
from ..records.statistics import bootstrap
from .study_table import Row, StudyTable, format_estimate

DESCRIPTION = (
    "Return of whole episodes (mean, 95 % bootstrap interval over episodes) and milliseconds per decision and "
    "episode in a batch, with the equations of the task as model. One step of one state is one evaluation; an action "
    "repeated k steps counts k, a Jacobian state + action size, a backward pass over H steps 2 H. How each planner "
    "sees the model: {views}."
)

STUDIED = (
    "cem", "mppi", "mcts", "bfs", "best_of_n", "icem", "ilqr", "ddp", "gradient", "lbfgs", "polished",
)  # fmt: skip
"""The planners of the study."""


def run(
    full: bool = False,
    seed: int = 0,
    *,
    tasks: Sequence[ControlTask] | None = None,
    budgets: Sequence[int] | None = None,
    episodes: int | None = None,
    names: Sequence[str] | None = None,
    console: Console | None = None,
) -> StudyTable:
    """Run three tasks at 256 and 1,024 evaluations with 5 episodes; `full` uses 64 to 16,384 and 10 episodes."""
    tasks = tasks or (PENDULUM, SWINGUP, REACHER)
    budgets = budgets or ((64, 256, 1024, 4096, 16384) if full else (256, 1024))
    seeds = range(seed, seed + (episodes or (10 if full else 5)))
    rows = []
    cells = [(task, name, nodes) for task in tasks for name in names or STUDIED for nodes in budgets]
    with progress(sum(nodes for *_, nodes in cells), "study planners", console) as advance:
        for task, name, nodes in cells:
            rows.append(play(task, name, nodes, seeds, seed))
            advance(nodes, f"{name} on {task.name}")
    description = DESCRIPTION.format(
        views="; ".join(f"on {task.name}, {views_of(task, names or STUDIED)}" for task in tasks)
    )
    title = "Which planner is best at equal model evaluations?"
    return StudyTable(title, description, rows, table_of(rows), findings(rows), keys=2)


def views_of(task: ControlTask, names: Sequence[str]) -> str:
    """The views of the model, each with the planners that share it."""
    shared: dict[str, list[str]] = {}
    for name in names:
        shared.setdefault(describe(task, sees(name)), []).append(name)
    return ", ".join(f"{' '.join(each)}: {what}" for what, each in shared.items())


def play(task: ControlTask, name: str, nodes: int, seeds: Sequence[int], seed: int) -> Row:
    """The row of one planner at one budget; NaN with the reason where it cannot plan with that budget."""
    head: Row = {"task": task.name, "planner": name, "nodes": nodes, "episodes": len(seeds)}
    try:
        with torch.no_grad() if sees(name) == "trees" else torch.enable_grad():
            done = run_episodes(
                planner_for(task, name), view(task, task.analytic(), sees(name)), task, seeds, nodes, seed=seed
            )
    except ValueError as error:
        nothing = float("nan")
        return head | {"value": nothing, "low": nothing, "high": nothing, "ms": nothing, "text": f"({error})"}
    mean, ms = bootstrap(done.returns), 1e3 * done.planning / float(done.lengths.sum())
    return head | {"value": mean.value, "low": mean.low, "high": mean.high, "ms": ms, "text": format_estimate(mean, 4)}


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line per task and planner, with columns of return and milliseconds per budget."""
    table: dict[tuple[str, str], Row] = {}
    for row in rows:
        line = table.setdefault((row["task"], row["planner"]), {"task": row["task"], "planner": row["planner"]})
        line[f"{row['nodes']:,}"] = row["text"]
        line[f"{row['nodes']:,}: ms"] = f"{row['ms']:.2f}"
    return list(table.values())


def findings(rows: Sequence[Row]) -> list[str]:
    """The best three planners and the last one per task and budget."""
    lines = []
    for task, nodes in dict.fromkeys((row["task"], row["nodes"]) for row in rows):
        cells = {r["planner"]: r for r in rows if (r["task"], r["nodes"]) == (task, nodes) and r["value"] == r["value"]}
        order = sorted(cells, key=lambda name: -cells[name]["value"])
        best = ", ".join(f"{name} {cells[name]['value']:.1f}" for name in order[:3])
        lines.append(f"{task}, {nodes:,} evaluations: {best}; last {order[-1]} {cells[order[-1]]['value']:.1f}")
    return lines


def panels(rows: Sequence[Row]) -> list[str]:
    """One panel per task."""
    return list(dict.fromkeys(row["task"] for row in rows))


def draw(axes: Sequence[Any], rows: Sequence[Row]) -> None:
    """Dots with intervals, one line per planner, since eleven overlapping curves could not be told apart."""
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
