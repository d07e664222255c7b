"""How does the error of a learned model grow with the number of steps, on and off its training distribution?

Errors after k steps of a deterministic, a probabilistic and an ensemble model (each propagating its mean), beside the
bound of Asadi et al. 2018, "Lipschitz continuity in model-based reinforcement learning", theorem 1, in its
deterministic form: a one-step error of at most e and a Lipschitz constant L give at most e (L^k - 1) / (L - 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from ...control.data.collector import collect
from ...control.data.transitions import Transitions
from ...control.policies.base import FunctionPolicy
from ...control.world_models.ensemble.fit import fit_ensemble
from ...control.world_models.ensemble.net import EnsembleConfig
from ...control.world_models.mlp.fit import Fit, fit_mlp
from ...control.world_models.spaces import config_for
from ..progress import progress
from ..records.statistics import student
from .study_table import Row, StudyTable, plot_lines

ENV, STEPS = "Pendulum-v1", (1, 2, 5, 10, 20, 40)
MODELS = ("deterministic", "probabilistic", "ensemble")
DESCRIPTION = (
    "Pendulum-v1. Error: root mean square over components and 25 segments of the difference between predicted and "
    "true observation after k steps, each component in units of its standard deviation in the data. On: segments of "
    "held-out episodes of the policy that collected the data (random torques, held 4 steps on average). Off: segments "
    "of a policy that always applies full torque in the direction of motion. Mean and 95 % t interval over training "
    "seeds. Bound: e (L^k - 1) / (L - 1) with the largest one-step error e and the largest norm L of the model's "
    "Jacobian on these segments."
)


def run(
    full: bool = False, seed: int = 0, sizes: Sequence[int] | None = None, epochs: int = 150,
    console: Console | None = None,
) -> StudyTable:  # fmt: skip
    """Run with 200 and 1,000 steps and 2 seeds; `full` adds 5,000 steps and uses 5 seeds."""
    sizes, seeds = sizes or ((200, 1000, 5000) if full else (200, 1000)), range(seed, seed + (5 if full else 2))
    found: dict[tuple[str, int, str], list[tuple[Tensor, Tensor]]] = {}
    with progress(len(seeds) * sum(sizes) * len(MODELS), "study compounding-error", console) as advance:
        for s in seeds:
            tracks = {
                "on": record_segments(2000 + s),
                "off": record_segments(3000 + s, FunctionPolicy(full_torque_along_motion)),
            }
            for size in sizes:
                data = collect(ENV, size, seed=1000 + s, action_repeat=4)
                for kind in MODELS:
                    model = fit_model(kind, data, Fit(epochs=epochs, seed=s))
                    for where, track in tracks.items():
                        pair = errors(model, track, tracks["on"].obs.std(0))
                        found.setdefault((kind, size, where), []).append(pair)
                    advance(size)
    rows = [row for cell, pairs in found.items() for row in rows_of(cell, pairs)]
    lines = findings(rows, max(sizes))
    return StudyTable("How does model error compound?", DESCRIPTION, rows, table_of(rows), lines, keys=3)


def full_torque_along_motion(obs: np.ndarray) -> np.ndarray:
    """The action of a policy that spins the pendulum."""
    return np.array([2.0 if obs[2] >= 0 else -2.0], np.float32)


def record_segments(seed: int, policy: Any = None) -> Transitions:
    """1,000 environment steps: five episodes of 200, which are 25 segments of 40."""
    return collect(ENV, 1000, policy=policy, seed=seed, action_repeat=4)


def fit_model(kind: str, data: Transitions, fit: Fit) -> Any:
    """A model of this kind that propagates its mean."""
    if kind == "deterministic":
        return fit_mlp(data, config_for(ENV), fit)[0]
    members = 1 if kind == "probabilistic" else 5
    return fit_ensemble(data, config_for(ENV, EnsembleConfig, members=members), fit)[0].propagated("mean")


@torch.no_grad()
def errors(model: Any, track: Transitions, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Root mean square errors [40] after 1 to 40 steps and their bounds [40], in units of `unit` [O]."""
    length = max(STEPS)
    truth, actions = (x.view(-1, length, x.shape[1]) for x in (track.next_obs, track.action))
    at, off = track.obs.view(-1, length, truth.shape[2])[:, 0], []
    for k in range(length):
        at = model.step(at, actions[:, k])[0]
        off.append(((at - truth[:, k]) / unit).square().mean().sqrt())
    return torch.stack(off), bound(model, track, unit, length)


def bound(model: Any, track: Transitions, unit: Tensor, length: int) -> Tensor:
    """[length] Lipschitz bounds on the root mean square error, in units of `unit` [O]."""
    one = ((model.step(track.obs, track.action)[0] - track.next_obs) / unit).square().mean(1).sqrt().max()
    size = jacobian_norms(model, track, unit).max().double()
    powers = size ** torch.arange(length)
    return one * powers.cumsum(0)


def jacobian_norms(model: Any, track: Transitions, unit: Tensor, by: float = 1e-2) -> Tensor:
    """[N] spectral norms of the Jacobian with respect to observations, in units of `unit`, by central differences."""
    columns = []
    for i in range(len(unit)):
        move = torch.zeros_like(unit)
        move[i] = by * unit[i]
        ahead, behind = (model.step(track.obs + sign * move, track.action)[0] for sign in (1, -1))
        columns.append((ahead - behind) / (2 * by * unit))
    return torch.linalg.matrix_norm(torch.stack(columns, -1), 2)


def rows_of(cell: tuple[str, int, str], pairs: list[tuple[Tensor, Tensor]]) -> list[Row]:
    """One row per k: the mean error over seeds with its interval, and the mean bound."""
    kind, size, where = cell
    rows = []
    for k in STEPS:
        error = student([float(pair[0][k - 1]) for pair in pairs])
        limit = float(np.mean([float(pair[1][k - 1]) for pair in pairs]))
        head = {"model": kind, "transitions": size, "where": where, "k": k}
        rows.append(head | {"value": error.value, "low": error.low, "high": error.high, "bound": limit})
    return rows


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line per model, size and distribution; a column per k."""
    table: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        head = {"model": row["model"], "transitions": row["transitions"], "where": row["where"]}
        line = table.setdefault(tuple(head.values()), head)
        line[f"k = {row['k']}"] = f"{row['value']:.2g}"
        line["bound at 10"] = f"{row['bound']:.2g}" if row["k"] == 10 else line.get("bound at 10", "")
    return list(table.values())


def findings(rows: Sequence[Row], size: int) -> list[str]:
    """The growth of errors at the largest size, and how loose the bound is."""
    plot_lines = []
    for where in ("on", "off"):
        at = {(r["model"], r["k"]): r["value"] for r in rows if r["where"] == where and r["transitions"] == size}
        grown = ", ".join(f"{m} {at[m, 1]:.2g} to {at[m, 20]:.2g}" for m in MODELS)
        plot_lines.append(f"{where} the data, {size:,} transitions, from 1 to 20 steps: {grown}")
    loose = [row["bound"] / row["value"] for row in rows if row["k"] == 20]
    plot_lines.append(f"at 20 steps the Lipschitz bound is {min(loose):.1g} to {max(loose):.1g} times the error")
    return plot_lines


def panels(rows: Sequence[Row]) -> Sequence[str]:
    """Empty: the figure has one wide panel."""
    return ()


def draw(axes: Sequence[Any], rows: Sequence[Row]) -> None:
    """Error against steps."""
    kept = ("model", "transitions", "where", "k", "value")  # intervals over few seeds would overlap
    shown = [{name: row[name] for name in kept} for row in rows if row["model"] != "probabilistic"]
    plot_lines(axes[0], shown, ("model", "transitions", "where"), "k")
    axes[0].set_yscale("log")
    axes[0].set_ylabel("error, deviations")
