"""A policy's plan is as long as its settings say, and no longer than its budget."""

from __future__ import annotations

import pytest
import torch

from forethought.planning import Budget, PolicyPrior, plan
from forethought.planning.testing.problems import TargetProblem


@pytest.mark.parametrize(("horizon", "nodes", "steps"), [(1, 50, 1), (3, 50, 3), (5, 2, 2), (5, 1, 1)])
def test_a_plan_has_as_many_steps_as_horizon_and_budget_allow(horizon: int, nodes: int, steps: int) -> None:
    prior = PolicyPrior(policy=lambda states, logits: torch.full((len(states), 1), 0.5), horizon=horizon)
    found = plan(prior, TargetProblem(torch.tensor([0.5])), [0.0], Budget(nodes=nodes))
    assert found.plan.actions.shape == (1, steps, 1) and (found.charged[:, 0] <= nodes).all()
