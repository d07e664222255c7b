"""Does a penalty on ensemble disagreement keep a planner from exploiting model errors?

CEM plans from states all over Pendulum-v1, in an ensemble trained on a few slow steps in the lower half of the circle,
at several weights of `DisagreementPenalty`. States, noise and networks are the same for every weight, so weights are
compared in pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from ...control.data.collector import collect
from ...control.dynamics import Pendulum
from ...control.world_models.ensemble.disagreement_penalty import DisagreementPenalty
from ...control.world_models.ensemble.fit import fit_ensemble
from ...control.world_models.ensemble.model import EnsembleModel
from ...control.world_models.ensemble.net import EnsembleConfig
from ...control.world_models.mlp.fit import Fit
from ...control.world_models.spaces import config_for
from ...planning import CEM, Budget, GaussianSettings, keys_of, plan
from ..progress import progress
from ..records.statistics import bootstrap, clopper_pearson, paired
from .study_table import Row, StudyTable, plot_lines

WEIGHTS = (0.0, 1.0, 3.0, 10.0, 30.0)
HORIZON = 20
DESCRIPTION = (
    "Pendulum-v1, an ensemble of 5 trained on {size} steps in the lower half of the circle at no more than 3 rad/s. "
    "One plan of {horizon} torques from each of {starts} states, with angle and speed (at most 6 rad/s) drawn "
    "uniformly, for each of {seeds} ensembles. Predicted: the plan's return by the ensemble's mean, without penalty. "
    "Realised: its return when all torques are applied in the equations. A plan is **catastrophic** where predicted > "
    "idle > realised, idle being the true return of zero torque. Rate with the exact binomial interval (Clopper and "
    "Pearson) over plans; gap: predicted minus realised, mean with 95 % bootstrap interval. Penalty: reward per step "
    "for each standard deviation of the training targets by which the members disagree."
)


def run(
    full: bool = False, seed: int = 0, *, size: int = 100, starts: int = 40, epochs: int = 150, nodes: int = 4000,
    console: Console | None = None,
) -> StudyTable:  # fmt: skip
    """Run 5 ensembles with 40 plans each; `full` runs 20 with 100 plans at twice the evaluations."""
    seeds = range(seed, seed + (20 if full else 5))
    starts, nodes = (100, 2 * nodes) if full else (starts, nodes)
    found: dict[float, list[Tensor]] = {weight: [] for weight in WEIGHTS}
    with progress(len(seeds) * len(WEIGHTS), "study uncertainty-penalty", console) as advance:
        for s in seeds:
            model, states = slow_ensemble(s, size, epochs), random_states(s, starts)
            for weight in WEIGHTS:
                found[weight].append(predicted_and_true_returns(model, weight, states, nodes, s))
                advance()
    each = {weight: torch.cat(parts).double().numpy() for weight, parts in found.items()}
    rows = [row_of(weight, each[weight], each[0.0]) for weight in WEIGHTS]
    description = DESCRIPTION.format(size=size, horizon=HORIZON, starts=starts, seeds=len(seeds))
    return StudyTable("Does a penalty on disagreement help?", description, rows, table_of(rows), findings(rows))


def slow_ensemble(seed: int, size: int, epochs: int) -> EnsembleModel:
    """An ensemble trained on random torques in the lower half of the circle at no more than 3 rad/s."""
    data = collect("Pendulum-v1", 20 * size, seed=seed, action_repeat=4, reset_after=20)
    data = data.take((data.obs[:, 2].abs() < 3) & (data.obs[:, 0] < 0))
    fit = Fit(epochs=epochs, seed=seed)
    return fit_ensemble(data.take(torch.arange(size)), config_for("Pendulum-v1", EnsembleConfig), fit)[0]


def random_states(seed: int, starts: int) -> Tensor:
    """Observations [starts, 3] of states drawn uniformly over angle and speed."""
    draw = np.random.default_rng(seed)
    states = draw.uniform([-np.pi, -6.0], [np.pi, 6.0], (starts, 2))
    return Pendulum().observe(torch.from_numpy(states).float())


@torch.no_grad()
def predicted_and_true_returns(model: EnsembleModel, weight: float, obs: Tensor, nodes: int, seed: int) -> Tensor:
    """[B, 3] returns of plans made with the penalty: predicted without it, realised, and of zero torque."""
    planner = CEM(horizon=HORIZON, smoothing=0.1, vectors=GaussianSettings(std=1.0))
    keys = keys_of(seed, len(obs))
    actions = plan(planner, DisagreementPenalty(model, weight), obs, Budget(nodes=nodes), keys=keys).plan.vectors
    mean_model, physics = model.propagated("mean"), Pendulum()
    true = physics.to_states(obs)
    idle = rollout_returns(physics.step, true, torch.zeros_like(actions))
    return torch.stack(
        (rollout_returns(mean_model.step, obs, actions), rollout_returns(physics.step, true, actions), idle), 1
    )


def rollout_returns(
    step: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]], states: Tensor, actions: Tensor
) -> Tensor:
    """[B] undiscounted returns of actions [B, H, D] under a step function."""
    total = torch.zeros(len(states))
    for t in range(actions.shape[1]):
        states, reward, _ = step(states, actions[:, t])
        total = total + reward
    return total


def catastrophic(returns: np.ndarray) -> np.ndarray:
    """[N] 1 where predicted > idle > realised, else 0, for returns [N, 3] of predicted, realised, idle."""
    predicted, realised, idle = returns.T
    return ((predicted > idle) & (idle > realised)).astype(float)


def row_of(weight: float, returns: np.ndarray, without: np.ndarray) -> Row:
    """The rate at one weight, its paired difference from no penalty, the gap and the realised return."""
    bad, before = catastrophic(returns), catastrophic(without)
    rate, gap, real = clopper_pearson(int(bad.sum()), len(bad)), bootstrap(returns[:, 0] - returns[:, 1]), returns[:, 1]
    less, gain = paired(bad, before), paired(real, without[:, 1])
    return {
        "weight": weight, "plans": len(bad), "value": rate.value, "low": rate.low, "high": rate.high,
        "difference": less.difference, "difference_low": less.low, "difference_high": less.high, "p": less.p,
        "gap": gap.value, "gap_low": gap.low, "gap_high": gap.high, "realised": float(real.mean()),
        "gain": gain.difference, "gain_low": gain.low, "gain_high": gain.high,
    }  # fmt: skip


def table_of(rows: Sequence[Row]) -> list[Row]:
    """One line per weight."""

    def cell(row: Row, name: str, low: str, high: str) -> str:
        return f"{row[name]:.3g} [{row[low]:.3g}, {row[high]:.3g}]"

    return [
        {
            "weight": row["weight"], "catastrophic": cell(row, "value", "low", "high"),
            "difference from 0 (Tango)": cell(row, "difference", "difference_low", "difference_high"),
            "gap": cell(row, "gap", "gap_low", "gap_high"), "realised return": f"{row['realised']:.1f}",
            "gain from 0": cell(row, "gain", "gain_low", "gain_high"),
        }
        for row in rows
    ]  # fmt: skip


def findings(rows: Sequence[Row]) -> list[str]:
    """The weights that lower the rate with an interval below 0, and the best of them."""
    clear = [row for row in rows if row["difference_high"] < 0]
    if not clear:
        return ["no weight lowers the catastrophic rate with an interval that excludes zero"]
    best = min(clear, key=lambda row: row["difference"])
    first = f"weights {', '.join(str(r['weight']) for r in clear)} lower the rate, intervals of the difference below 0"
    return [first, f"most at {best['weight']}: from {rows[0]['value']:.3f} to {best['value']:.3f}"]


def panels(rows: Sequence[Row]) -> Sequence[str]:
    """Empty: the figure has one wide panel."""
    return ()


def draw(axes: Sequence[Any], rows: Sequence[Row]) -> None:
    """The rate of catastrophic plans against the weight."""
    plot_lines(axes[0], [row | {"what": "catastrophic plans"} for row in rows], ("what",), "weight")
    axes[0].set_xscale("symlog", linthresh=1.0)
    axes[0].set_ylabel("share of plans")
