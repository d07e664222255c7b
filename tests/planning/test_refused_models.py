"""What a model or a caller must not do is an error that says so: costs, discounts and trees that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    CEM,
    ILQR,
    MCTS,
    BestOfN,
    BoxActions,
    Budget,
    DiscreteActions,
    Expansion,
    GradientShooting,
    ModelError,
    PolicyPrior,
    plan,
)
from forethought.planning.testing.check_model import check_model
from forethought.planning.trees.beam import Beam
from forethought.planning.trees.rebase import Rebase
from forethought.planning.usage import NODES, no_usage


class Steady:
    """Every step earns 1 at a fixed discount, cost and usage."""

    def __init__(self, actions: Any, discount: float = 0.9, cost: Any = 1, charged: float | None = None) -> None:
        self.actions, self.discount, self.charged = actions, discount, charged
        if cost is not None:
            self.cost = cost

    def start(self, problems: Any) -> Any:
        zero = torch.zeros(len(problems))
        return torch.as_tensor(problems), Expansion(zero, zero + 1, zero)

    def expand(self, states: Any, actions: Any, **wishes: Any) -> Any:
        one = torch.ones(len(states))
        if isinstance(self.actions, BoxActions):
            one = one + 0 * actions[:, 0]  # for its derivative
        usage = None
        if self.charged is not None:
            usage = no_usage(len(states))
            usage[:, NODES] = self.charged
        return states, Expansion(one, self.discount * one, 0 * one, usage=usage)


PROBLEMS = torch.zeros(2)
INDICES, BOX = DiscreteActions(2), BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))


@pytest.mark.parametrize("planner", [Beam(), Rebase(), CEM(), BestOfN()])
def test_a_negative_discount_needs_a_planner_with_an_opponent(planner: Any) -> None:
    with pytest.raises(ValueError, match=r"no opponent.*MCTS"):
        plan(planner, Steady(INDICES, -1.0), PROBLEMS, Budget(nodes=20))
    assert len(plan(MCTS(), Steady(INDICES, -1.0), PROBLEMS, Budget(nodes=20)).plan.indices) == 2


def zeros(states: Any, logits: Any) -> Any:
    return torch.zeros(len(states), 1)


@pytest.mark.parametrize(
    "planner", [CEM(horizon=4), GradientShooting(horizon=4), ILQR(horizon=4), PolicyPrior(policy=zeros, horizon=4)]
)
def test_a_negative_discount_is_refused_along_sequences_too(planner: Any) -> None:
    with pytest.raises(ValueError, match=r"no opponent.*MCTS"):
        plan(planner, Steady(BOX, -1.0), torch.zeros(2, 1), Budget(nodes=200))


@pytest.mark.parametrize("charged", [np.nan, -1.0, np.inf])
@pytest.mark.parametrize("planner", [MCTS(), Beam(), CEM()])
def test_a_cost_that_is_no_cost_is_a_model_error(planner: Any, charged: float) -> None:
    with pytest.raises(ModelError, match="usage holds a cost that is negative or not finite"):
        plan(planner, Steady(INDICES, charged=charged), PROBLEMS, Budget(nodes=20))


@pytest.mark.parametrize("discount", [2.0, -1.5])
def test_check_model_refuses_discounts_outside_one(discount: float) -> None:
    check_model(Steady(INDICES), PROBLEMS)
    check_model(Steady(INDICES, -1.0), PROBLEMS)
    with pytest.raises(ModelError, match="discount must be in"):
        check_model(Steady(INDICES, discount), PROBLEMS)


@pytest.mark.parametrize("cost", [0, -1, 1.5, "1", None])
def test_check_model_refuses_a_model_without_a_cost(cost: Any) -> None:
    with pytest.raises(ModelError, match="cost"):
        check_model(Steady(INDICES, cost=cost), PROBLEMS)


@pytest.mark.parametrize("steps", [-1, 0, 1.5])
def test_check_model_refuses_a_number_of_steps_that_checks_nothing(steps: Any) -> None:
    with pytest.raises(ValueError, match="steps is an integer, at least 1"):
        check_model(Steady(INDICES), PROBLEMS, steps=steps)


def test_a_reused_tree_of_other_actions_is_refused() -> None:
    planner = MCTS(reuse=True)
    first = plan(planner, Steady(INDICES), PROBLEMS, Budget(nodes=20))
    first.search.advance(np.zeros(2, np.int32))  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="2 actions, this is one over 4"):
        plan(planner, Steady(DiscreteActions(4)), PROBLEMS, Budget(nodes=20), after=first)
