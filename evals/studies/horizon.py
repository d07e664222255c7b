"""How far should one look ahead with a learned model?

CEM at equal model evaluations over horizons, with the equations and with a network trained on 1,000 random steps, with
nothing at the leaves and with a value there (value iteration on the equations). Where the learned model's line leaves
the equations' line, the model's error is what degrades the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...control.data.collector import collect
from ...control.episodes import run_episodes
from ...control.tasks import PENDULUM, view
from ...control.world_models.mlp.fit import Fit, config_for, fit_mlp
from ...planning import CEM, GaussianSettings
from ..records.statistics import bootstrap
from .sheet import Row, Sheet, lines, said

ABOUT = (
    "Pendulum-v1, return of whole episodes under CEM, mean and 95 % bootstrap interval over episodes. Every "
    "decision has the same model evaluations, so a longer horizon has fewer candidates. Learned: a network of two"
    " layers of 64 trained on 1,000 random steps. Value: discounted return still to come at the last state, by "
    "value iteration on the equations with 0.99 a step; none: zero."
)


def run(
    full: bool = False,
    seed: int = 0,
    horizons: Sequence[int] | None = None,
    nodes: int = 512,
    episodes: int | None = None,
    epochs: int = 200,
) -> Sheet:
    """Horizons 1, 3, 5, 10, 20 and 3 episodes; `full`: also 40, and 20 episodes on 5 networks each."""
    horizons = horizons or ((1, 3, 5, 10, 20, 40) if full else (1, 3, 5, 10, 20))
    models = [("equations", PENDULUM.analytic())]
    models += [("learned", learned(seed + i, epochs)) for i in range(5 if full else 1)]
    seeds = range(seed, seed + (episodes or (20 if full else 3)))
    returns: dict[tuple[str, bool, int], list[float]] = {}
    for name, model in models:
        for value in (False, True):
            for horizon in horizons:
                seen = view(PENDULUM, model, "cem", leaf=value)
                planner = CEM(horizon=horizon, smoothing=0.1, vectors=GaussianSettings(std=1.0))
                played = run_episodes(planner, seen, PENDULUM, seeds, nodes, seed=seed)
                returns.setdefault((name, value, horizon), []).extend(played.returns.tolist())
    rows = [row_of(cell, each) for cell, each in returns.items()]
    return Sheet("How far to look ahead?", ABOUT, rows, table_of(rows), verdicts(rows))


def learned(seed: int, epochs: int) -> Any:
    data = collect("Pendulum-v1", 1000, seed=seed, hold=4)
    return fit_mlp(data, config_for("Pendulum-v1"), Fit(epochs=epochs, seed=seed))[0]


def row_of(cell: tuple[str, bool, int], returns: list[float]) -> Row:
    name, value, horizon = cell
    mean = bootstrap(returns)
    row = {"model": name, "value": mean.value, "low": mean.low, "high": mean.high, "leaf": "value" if value else "none"}
    return row | {"horizon": horizon, "episodes": len(returns), "return": said(mean, 4)}


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line for each horizon, a column for each model and leaf."""
    table: dict[int, Row] = {}
    for row in rows:
        line = table.setdefault(row["horizon"], {"H": row["horizon"]})
        line[f"{row['model']}, leaf {row['leaf']}"] = row["return"]
    return list(table.values())


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Best horizons, what the model's error costs there, and what a value does for the shortest horizon."""
    at = {(r["model"], r["leaf"], r["horizon"]): r["value"] for r in rows}
    told = []
    for name in ("equations", "learned"):
        for leaf in ("none", "value"):
            cells = {h: v for (n, f, h), v in at.items() if (n, f) == (name, leaf)}
            best = max(cells, key=lambda h: cells[h])
            told.append(f"{name}, leaf {leaf}: best at H = {best} with {cells[best]:.1f}; H = 1 gives {cells[1]:.1f}")
    return told


def draw(axes: Any, rows: Sequence[Row]) -> None:
    lines(axes, rows, ("model", "leaf"), "horizon")
    axes.set_ylabel("return")
