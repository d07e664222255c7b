"""`forethought bench certificates`: every planner's optimality gap on three problems with known optima.

The problems are the linear-quadratic regulator (Riccati's equation), random tables (value iteration) and the pendulum
(iLQR); `known_optima.py` defines the gap. *decision* is the gap of the first action, the only one that receding-horizon
control applies, and *plan* that of all actions. Every planner has the same nodes for each of the 16 initial states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

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
    Planner,
    WarmStarted,
    keys_of,
    plan,
)
from ..cli_common import write_json
from ..console import Column, say, show_table
from ..progress import progress
from ..records.summary import versions
from ..threads import one_thread
from .known_optima import BINS, PROBLEMS, BenchmarkProblem

HORIZON = 10

PLANNERS: dict[str, Planner] = {
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
"""Of one planner on one problem with one seed: decision and plan, and the certificate where the planner has one."""


def gap_of(planner: Planner, problem: BenchmarkProblem, nodes: int, seed: int) -> Gap | None:
    """Mean gaps over the initial states; None for a planner over vectors where actions are indices."""
    discrete = isinstance(planner, MCTS | Beam)
    if not problem.has_vector_actions and isinstance(planner, ILQR | GradientShooting | WarmStarted):
        return None
    model, keys = problem.model_for(discrete), keys_of(seed, len(problem.starts))
    found = plan(planner, model, problem.starts, Budget(nodes=nodes), keys=keys).plan
    first = [actions[:1] for actions in found.actions]
    gap = {"decision": problem.gaps(model, first), "plan": problem.gaps(model, list(found.actions))}
    means: Gap = {name: float(each.mean()) for name, each in gap.items()}
    if found.gradient is not None:
        means["certificate"] = float(np.max(found.gradient))
    return means


def measure(
    names: Sequence[str], nodes: int, seeds: Sequence[int], console: Console | None = None
) -> dict[str, dict[str, list[Gap] | None]]:
    """Per planner and problem the gaps of every seed, which determines initial states and the planner's noise."""
    result: dict[str, dict[str, list[Gap] | None]] = {name: {} for name in names}
    with progress(len(PROBLEMS) * len(names), "bench certificates", console) as advance:
        for make in PROBLEMS:
            problems = [make(seed) for seed in seeds]
            for name in names:
                gaps = [gap_of(PLANNERS[name], problem, nodes, seed) for problem, seed in zip(problems, seeds)]
                result[name][problems[0].name] = None if None in gaps else [g for g in gaps if g is not None]
                advance()
    return result


def main(
    out: Path | None = None, *, nodes: int = 4096, seeds: int = 5, console: Console | None = None
) -> dict[str, Any]:
    """Measure, print, and write JSON to `out` if given."""
    console = console or Console()
    with one_thread():
        gaps = measure(list(PLANNERS), nodes, range(seeds), console)
    result = {
        "unit": "share of the mean optimal return", "nodes": nodes, "seeds": seeds, "bins": BINS,
        "planners": {name: repr(planner) for name, planner in PLANNERS.items()},
        "versions": versions(), "gaps": gaps,
    }  # fmt: skip
    _show(result, console)
    write_json(result, out, console)
    return result


def _show(result: Mapping[str, Any], console: Console) -> None:
    heading = (
        f"gap as a share of the optimal return, {result['nodes']:,} nodes, mean and worst of {result['seeds']} seeds"
    )
    kinds = [(problem, kind) for problem in next(iter(result["gaps"].values())) for kind in ("decision", "plan")]
    columns = [Column("planner", right=False), *(Column("\n".join(kind)) for kind in kinds), Column("certificate")]
    rows = []
    for name, gaps in result["gaps"].items():
        cells = [_cell(gaps[problem], kind) for problem, kind in kinds]
        sure = [g["certificate"] for each in gaps.values() for g in each or () if "certificate" in g]
        rows.append([name, *cells, f"{max(sure):.1g}" if sure else "-"])
    show_table(console, columns, rows, title=heading)
    line = "optima: LQ by Riccati, table by value iteration, pendulum by iLQR; tree searches use"
    say(console, f"{line} {result['bins']} action bins; certificate: the largest `Plan.gradient`", wrap=True)


def _cell(gaps: Sequence[Gap] | None, kind: str) -> str:
    if gaps is None:
        return "-"
    each = [gap[kind] for gap in gaps]
    return f"{np.mean(each):.1e} ({max(each):.0e})"
