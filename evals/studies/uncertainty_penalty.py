"""Does a penalty on the members' disagreement keep a planner from believing in its model's mistakes?

Plans of CEM from states all over Pendulum-v1, in an ensemble that saw only few steps, all low and slow, at several
weights of `DisagreementPenalty`. The same states, noise and networks under every weight, so that weights are compared in pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...control.data.collector import collect
from ...control.dynamics import Pendulum
from ...control.world_models.ensemble.disagreement_penalty import DisagreementPenalty
from ...control.world_models.ensemble.fit import fit_ensemble
from ...control.world_models.ensemble.model import EnsembleModel
from ...control.world_models.ensemble.net import EnsembleConfig
from ...control.world_models.mlp.fit import Fit, config_for
from ...planning import CEM, Budget, GaussianSettings, keys_of, plan
from ..records.statistics import bootstrap, clopper_pearson, paired
from .sheet import Row, Sheet, lines

WEIGHTS = (0.0, 1.0, 3.0, 10.0, 30.0)
HORIZON = 20
ABOUT = (
    "Pendulum-v1, an ensemble of 5 trained on {size} steps in the lower half of the circle at no more than 3 "
    "rad/s. One plan of {horizon} torques from each of {starts} states, angle and speed (at most 6 rad/s) drawn "
    "evenly, for each of {seeds} ensembles. Predicted: the plan's return by the ensemble's mean, without penalty."
    " Realised: its return when all torques are carried out in the equations. A plan is **catastrophic** where it"
    " promises more than idling would bring and brings less: predicted > idle > realised, idle being the true "
    "return of no torque at all. Rate with the exact binomial interval (Clopper and Pearson), over plans; gap: "
    "predicted minus realised, mean with 95 % bootstrap interval. Penalty: reward a step for every deviation of "
    "the training targets by which the members are apart."
)


def run(
    full: bool = False, seed: int = 0, *, size: int = 100, starts: int = 40, epochs: int = 150, nodes: int = 4000
) -> Sheet:
    """5 ensembles of 40 plans; `full`: 20 of 100 at twice the evaluations."""
    seeds = range(seed, seed + (20 if full else 5))
    starts, nodes = (100, 2 * nodes) if full else (starts, nodes)
    found: dict[float, list[Tensor]] = {weight: [] for weight in WEIGHTS}
    for s in seeds:
        model, states = slow_ensemble(s, size, epochs), spread(s, starts)
        for weight in WEIGHTS:
            found[weight].append(told_and_true(model, weight, states, nodes, s))
    each = {weight: torch.cat(parts).double().numpy() for weight, parts in found.items()}
    rows = [row_of(weight, each[weight], each[0.0]) for weight in WEIGHTS]
    about = ABOUT.format(size=size, horizon=HORIZON, starts=starts, seeds=len(seeds))
    return Sheet("Does a penalty on disagreement help?", about, rows, table_of(rows), verdicts(rows))


def slow_ensemble(seed: int, size: int, epochs: int) -> EnsembleModel:
    """Trained on steps of random torques in the lower half of the circle, at no more than 3 rad/s."""
    data = collect("Pendulum-v1", 20 * size, seed=seed, hold=4, fresh=20)
    data = data.take((data.seen[:, 2].abs() < 3) & (data.seen[:, 0] < 0))
    fit = Fit(epochs=epochs, seed=seed)
    return fit_ensemble(data.take(torch.arange(size)), config_for("Pendulum-v1", EnsembleConfig), fit)[0]


def spread(seed: int, starts: int) -> Tensor:
    """Observations [starts, 3] of states all over."""
    draw = np.random.default_rng(seed)
    states = draw.uniform([-np.pi, -6.0], [np.pi, 6.0], (starts, 2))
    return Pendulum().observe(torch.from_numpy(states).float())


@torch.no_grad()
def told_and_true(model: EnsembleModel, weight: float, seen: Tensor, nodes: int, seed: int) -> Tensor:
    """[B, 3] returns of plans made under the penalty: predicted without it, realised, and those of idling."""
    planner = CEM(horizon=HORIZON, smoothing=0.1, vectors=GaussianSettings(std=1.0))
    keys = keys_of(seed, len(seen))
    actions = plan(planner, DisagreementPenalty(model, weight), seen, Budget(nodes=nodes), keys=keys).plan.vectors
    told, physics = model.propagated("mean"), Pendulum()
    true = physics.physical(seen)
    idle = walked(physics.step, true, torch.zeros_like(actions))
    return torch.stack((walked(told.step, seen, actions), walked(physics.step, true, actions), idle), 1)


def walked(step: Any, states: Tensor, actions: Tensor) -> Tensor:
    """[B] undiscounted returns of actions [B, H, D]."""
    total = torch.zeros(len(states))
    for t in range(actions.shape[1]):
        states, reward, _ = step(states, actions[:, t])
        total = total + reward
    return total


def catastrophic(returns: np.ndarray) -> np.ndarray:
    """[N] 1 where predicted > idle > realised, of [N, 3]."""
    predicted, realised, idle = returns.T
    return ((predicted > idle) & (idle > realised)).astype(float)


def row_of(weight: float, returns: np.ndarray, without: np.ndarray) -> Row:
    """Rate, its paired difference from no penalty, gap and realised return under one weight."""
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


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Whether any weight lowers the rate for certain, and at what cost in realised return."""
    clear = [row for row in rows if row["difference_high"] < 0]
    if not clear:
        return ["no weight lowers the catastrophic rate with an interval clear of zero"]
    best = min(clear, key=lambda row: row["difference"])
    first = f"weights {', '.join(str(r['weight']) for r in clear)} lower the rate, intervals of the difference below 0"
    return [first, f"most at {best['weight']}: from {rows[0]['value']:.3f} to {best['value']:.3f}"]


def draw(axes: Any, rows: Sequence[Row]) -> None:
    lines(axes, [row | {"what": "catastrophic plans"} for row in rows], ("what",), "weight")
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_ylabel("share of plans")
