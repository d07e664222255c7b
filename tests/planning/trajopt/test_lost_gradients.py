"""A sequence whose gradient is not finite stays where it is; the others of its problem climb on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import BoxActions, Budget, Expansion, GradientShooting, keys_of, plan
from forethought.planning.rollout import rollout


class Cusp:
    """An action pays the root of its size, which has no derivative at 0, the middle of the box."""

    cost = 1
    actions = BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))

    def start(self, problems: Any) -> Any:
        zero = torch.zeros(len(problems))
        return zero, Expansion(zero, zero + 1, zero)

    def expand(self, states: Any, actions: Any, **wishes: Any) -> Any:
        reward = actions[:, 0].abs().sqrt()
        return states, Expansion(reward, torch.ones_like(reward), torch.zeros_like(reward))


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_gradient_that_is_not_finite_moves_nothing(optimiser: Any) -> None:
    model, planner = Cusp(), GradientShooting(horizon=3, starts=3, iterations=9, optimiser=optimiser)
    states, root = model.start([0, 0])
    search = planner.begin(root, model.actions, Budget(nodes=400).size(), keys=keys_of(1, 2))
    asked = []
    for _ in range(4):
        query = search.ask(np.full(2, 400, np.int32))
        asked.append(query.sequences)
        search.tell(query, rollout(model, states, query))
    for sequences in asked:
        assert (sequences[:, 0] == 0).all()
    assert (asked[-1][:, 1:].abs().sum((2, 3)) > asked[0][:, 1:].abs().sum((2, 3)) + 0.1).all()


@pytest.mark.parametrize("optimiser", ["adam", "lbfgs"])
def test_a_plan_without_a_finite_gradient_has_not_converged(optimiser: Any) -> None:
    planner = GradientShooting(horizon=3, starts=1, iterations=9, optimiser=optimiser)
    found = plan(planner, Cusp(), [0, 0], Budget(nodes=400)).plan
    assert found.stop_reason == ["stalled"] * 2
    assert found.gradient is not None and np.isnan(found.gradient).all()
