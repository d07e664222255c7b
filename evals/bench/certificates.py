"""`forethought bench certificates`: every planner's gap to what is known to be best, in three worlds.

The linear-quadratic regulator by Riccati's equation, random tables by value iteration, the pendulum by iLQR
(`answers.py` says what a gap is). *decision*: of the first action alone, which is all that control by replanning
carries out. *plan*: of all actions. Every planner has the same nodes for each of the 16 starts of a world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as Screen

from ...planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MCTS,
    MPPI,
    Beam,
    BestOfN,
    Budget,
    GradientShooting,
    WarmStarted,
    keys_of,
    plan,
)
from ..cli_common import write
from ..records.summary import versions
from .answers import TORQUES, WORLDS, Answered
from .threads import one_thread

HORIZON = 10

PLANNERS: dict[str, Any] = {
    "best_of_n": BestOfN(horizon=HORIZON),
    "cem": CEM(horizon=HORIZON),
    "icem": ICEM(horizon=HORIZON),
    "mppi": MPPI(horizon=HORIZON),
    "mcts": MCTS(),
    "uct": MCTS(selection="uct"),
    "gumbel": MCTS(selection="gumbel"),
    "bfs": Beam(horizon=HORIZON),
    "ilqr": ILQR(horizon=HORIZON),
    "ddp": DDP(horizon=HORIZON),
    "gradient": GradientShooting(horizon=HORIZON),
    "polished": WarmStarted(CEM(horizon=HORIZON), ILQR(horizon=HORIZON)),
}

Gap = dict[str, float]
"""Of one planner in one world with one seed: decision and plan, and the certificate where the planner has one."""


def gap_of(planner: Any, world: Answered, nodes: int, seed: int) -> Gap | None:
    """Mean gaps over the starts; None for a planner that wants vectors where there are slots."""
    slots = isinstance(planner, MCTS | Beam)
    if not world.vectors and isinstance(planner, ILQR | GradientShooting | WarmStarted):
        return None
    model, keys = world.offered(slots), keys_of(seed, len(world.starts))
    found = plan(planner, model, world.starts, Budget(nodes=nodes), keys=keys).plan
    first = [actions[:1] for actions in found.actions]
    gap = {"decision": world.gaps(model, first), "plan": world.gaps(model, list(found.actions))}
    told: Gap = {name: float(each.mean()) for name, each in gap.items()}
    if found.gradient is not None:
        told["certificate"] = float(np.max(found.gradient))
    return told


def measure(names: Sequence[str], nodes: int, seeds: Sequence[int]) -> dict[str, dict[str, list[Gap] | None]]:
    """Per planner and world the gaps of every seed, which draws the world's starts and the planner's noise alike."""
    result: dict[str, dict[str, list[Gap] | None]] = {name: {} for name in names}
    for make in WORLDS:
        worlds = [make(seed) for seed in seeds]
        for name in names:
            gaps = [gap_of(PLANNERS[name], world, nodes, seed) for world, seed in zip(worlds, seeds)]
            result[name][worlds[0].name] = None if None in gaps else [g for g in gaps if g is not None]
    return result


def main(
    out: Path | None = None, *, nodes: int = 4096, seeds: int = 5, console: Console | None = None
) -> dict[str, Any]:
    """Measure, print, and write JSON to `out` if given."""
    console = console or Console()
    with one_thread():
        gaps = measure(list(PLANNERS), nodes, range(seeds))
    result = {
        "unit": "share of the mean best return", "nodes": nodes, "seeds": seeds, "torques": TORQUES,
        "planners": {name: repr(planner) for name, planner in PLANNERS.items()},
        "versions": versions(), "gaps": gaps,
    }  # fmt: skip
    _show(result, console)
    write(result, out, console)
    return result


def _show(result: Mapping[str, Any], console: Console) -> None:
    heading = f"gap as a share of the best return, {result['nodes']:,} nodes, mean and worst of {result['seeds']} seeds"
    screen = Screen(title=heading, box=None, pad_edge=False)
    screen.add_column("planner")
    worlds = list(next(iter(result["gaps"].values())))
    for world in worlds:
        for kind in ("decision", "plan"):
            screen.add_column(f"{world}\n{kind}", justify="right")
    screen.add_column("certificate", justify="right")
    for name, gaps in result["gaps"].items():
        cells = [_cell(gaps[world], kind) for world in worlds for kind in ("decision", "plan")]
        sure = [g["certificate"] for each in gaps.values() for g in each or () if "certificate" in g]
        screen.add_row(name, *cells, f"{max(sure):.1g}" if sure else "-")
    console.print(screen)
    told = "LQ by Riccati, table by value iteration, pendulum by iLQR; trees see"
    console.print(f"{told} {result['bins']} torques; certificate: the largest `Plan.gradient`", highlight=False)


def _cell(gaps: Sequence[Gap] | None, kind: str) -> str:
    if gaps is None:
        return "-"
    each = [gap[kind] for gap in gaps]
    return f"{np.mean(each):.1e} ({max(each):.0e})"
