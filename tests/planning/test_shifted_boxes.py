"""Plans over vectors depend on where an action lies in its box and not on where the box lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from forethought.planning import (
    CEM,
    DDP,
    ICEM,
    ILQR,
    MPPI,
    BestOfN,
    BoxActions,
    Budget,
    Expansion,
    GaussianSettings,
    GradientShooting,
    WarmStarted,
    plan,
)

PLANNERS = {
    "best of n": BestOfN(horizon=4),
    "cem": CEM(horizon=4),
    "cem without the mean": CEM(horizon=4, answer="mean", smoothing=0.2, vectors=GaussianSettings(include_mean=False)),
    "icem": ICEM(horizon=4),
    "mppi": MPPI(horizon=4, control_cost=0.5, vectors=GaussianSettings(repeat_last=False)),
    "adam": GradientShooting(horizon=4, iterations=6, repeat_last=False),
    "lbfgs": GradientShooting(horizon=4, iterations=6, optimiser="lbfgs"),
    "ilqr": ILQR(horizon=4, iterations=2),
    "ddp": DDP(horizon=4, iterations=2),
    "warm started": WarmStarted(CEM(horizon=4), ILQR(horizon=4, iterations=2)),
}


@dataclass
class Boxed:
    """A point that moves by what an action is of its box, from -1 to 1, and pays the quartic of its distance to 1."""

    low: Tensor
    high: Tensor
    cost: int = 1

    @property
    def actions(self) -> BoxActions:
        return BoxActions(self.low, self.high)

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        states = torch.as_tensor(problems).double()
        zero = torch.zeros(len(states)).double()
        return states, Expansion(zero, zero + 1, zero)

    def expand(self, states: Tensor, actions: Tensor, **wishes: Any) -> tuple[Tensor, Expansion]:
        share = (2 * actions - self.low - self.high) / (self.high - self.low)
        reached = states + 0.3 * share
        reward = -(reached - 1).pow(4).sum(-1) - 0.1 * share.square().sum(-1)
        return reached, Expansion(reward, torch.ones_like(reward), torch.zeros_like(reward))


def shares(model: Boxed, planner: Any, decisions: int = 2) -> list[Tensor]:
    """The plans of some decisions as shares of the box, each of which begins with what is left of the plan before."""
    found, after = [], None
    states = torch.tensor([[0.0, 0.5], [-0.4, 0.2]]).double()
    for decision in range(decisions):
        outcome = plan(planner, model, states, Budget(nodes=400), seed=decision, after=after)
        found.append((2 * outcome.plan.actions - model.low - model.high) / (model.high - model.low))
        outcome.search.advance(outcome.plan.actions[:, 0])
        states, after = model.expand(states, outcome.plan.actions[:, 0])[0], outcome
    return found


@pytest.mark.parametrize("name", PLANNERS)
def test_plans_move_with_the_box(name: str) -> None:
    one = torch.ones(2).double()
    shift = torch.tensor([2.0, -5.0]).double()
    for there, here in zip(
        shares(Boxed(shift - 1, shift + 1), PLANNERS[name]), shares(Boxed(-one, one), PLANNERS[name])
    ):
        torch.testing.assert_close(there, here, atol=1e-6, rtol=1e-6)
        assert here.abs().max() > 0.05


@pytest.mark.parametrize("name", [name for name in PLANNERS if name not in ("ilqr", "ddp", "warm started")])
def test_plans_of_samples_and_gradients_grow_with_the_box(name: str) -> None:
    one = torch.ones(2).double()
    low, high = torch.tensor([1.0, -9.0]).double(), torch.tensor([5.0, -8.0]).double()
    for there, here in zip(shares(Boxed(low, high), PLANNERS[name]), shares(Boxed(-one, one), PLANNERS[name])):
        torch.testing.assert_close(there, here, atol=1e-6, rtol=1e-6)
