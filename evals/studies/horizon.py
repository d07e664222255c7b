"""Which planning horizon is best with a learned model?

CEM at equal model evaluations over horizons, with the equations and with a network trained on 1,000 random steps,
without a terminal value and with one (value iteration on the equations). Where the curve of the learned model departs
from that of the equations, the plan is degraded by model error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from ...control.data.collector import collect
from ...control.episodes import run_episodes
from ...control.tasks import PENDULUM, view
from ...control.world_models.mlp.fit import Fit, fit_mlp
from ...control.world_models.mlp.model import MLPModel
from ...control.world_models.spaces import config_for
from ...planning import CEM, GaussianSettings
from ..progress import progress
from ..records.statistics import bootstrap
from .study_table import Row, StudyTable, format_estimate, plot_lines

DESCRIPTION = (
    "Pendulum-v1, return of whole episodes under CEM, mean and 95 % bootstrap interval over episodes. Every "
    "decision has the same model evaluations, so a longer horizon has fewer candidates. Learned: a network of two "
    "layers of 64 trained on 1,000 random steps. Terminal value: discounted return from the last state on, by value "
    "iteration on the equations with discount 0.99; none: zero."
)


def run(
    full: bool = False,
    seed: int = 0,
    horizons: Sequence[int] | None = None,
    nodes: int = 512,
    episodes: int | None = None,
    epochs: int = 200,
    console: Console | None = None,
) -> StudyTable:
    """Run with horizons 1, 3, 5, 10, 20 and 3 episodes; `full` adds 40 and uses 20 episodes on each of 5 networks."""
    horizons = horizons or ((1, 3, 5, 10, 20, 40) if full else (1, 3, 5, 10, 20))
    models: list[tuple[str, Any]] = [("equations", PENDULUM.analytic())]
    models += [("learned", learned(seed + i, epochs)) for i in range(5 if full else 1)]
    seeds = range(seed, seed + (episodes or (20 if full else 3)))
    returns: dict[tuple[str, bool, int], list[float]] = {}
    cells = [(*named, value, horizon) for named in models for value in (False, True) for horizon in horizons]
    with progress(len(cells), "study horizon", console) as advance:
        for name, model, value, horizon in cells:
            shown, planner = (
                view(PENDULUM, model, "sequences", terminal_value=value),
                CEM(horizon=horizon, smoothing=0.1, vectors=GaussianSettings(std=1.0)),
            )
            played = run_episodes(planner, shown, PENDULUM, seeds, nodes, seed=seed)
            returns.setdefault((name, value, horizon), []).extend(played.returns.tolist())
            advance()
    rows = [row_of(cell, each) for cell, each in returns.items()]
    return StudyTable("Which planning horizon is best?", DESCRIPTION, rows, table_of(rows), findings(rows))


def learned(seed: int, epochs: int) -> MLPModel:
    """A network trained on 1,000 random steps."""
    data = collect("Pendulum-v1", 1000, seed=seed, action_repeat=4)
    return fit_mlp(data, config_for("Pendulum-v1"), Fit(epochs=epochs, seed=seed))[0]


def row_of(cell: tuple[str, bool, int], returns: list[float]) -> Row:
    """Mean return with its interval for one model, terminal value and horizon."""
    name, value, horizon = cell
    mean = bootstrap(returns)
    row = {
        "model": name,
        "value": mean.value,
        "low": mean.low,
        "high": mean.high,
        "terminal_value": "value iteration" if value else "none",
    }
    return row | {"horizon": horizon, "episodes": len(returns), "return": format_estimate(mean, 4)}


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line per horizon, a column per model and terminal value."""
    table: dict[int, Row] = {}
    for row in rows:
        line = table.setdefault(row["horizon"], {"H": row["horizon"]})
        line[column_of(row["model"], row["terminal_value"])] = row["return"]
    return list(table.values())


def column_of(model: str, terminal_value: str) -> str:
    """A column of the table: a model with or without a terminal value."""
    return f"{model}, {'no ' if terminal_value == 'none' else ''}terminal value"


def findings(rows: Sequence[Row]) -> list[str]:
    """The best horizon of each model with and without a terminal value, beside the shortest one."""
    values = {(r["model"], r["terminal_value"], r["horizon"]): r["value"] for r in rows}
    lines = []
    for name in ("equations", "learned"):
        for terminal in ("none", "value iteration"):
            cells = {h: v for (n, f, h), v in values.items() if (n, f) == (name, terminal)}
            best, column = max(cells, key=lambda h: cells[h]), column_of(name, terminal)
            lines.append(f"{column}: best at H = {best} with {cells[best]:.1f}; H = 1 gives {cells[1]:.1f}")
    return lines


def panels(rows: Sequence[Row]) -> Sequence[str]:
    """Empty: the figure has one wide panel."""
    return ()


def draw(axes: Sequence[Any], rows: Sequence[Row]) -> None:
    """Return against horizon, one line per column of the table."""
    labelled = [row | {"label": column_of(row["model"], row["terminal_value"])} for row in rows]
    plot_lines(axes[0], labelled, ("label",), "horizon")
    axes[0].set_ylabel("return")
