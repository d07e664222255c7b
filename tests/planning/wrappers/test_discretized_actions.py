"""A box of vectors as a finite set: which vectors it holds, and that the model is given them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from line_world import Line

from forethought.planning.interface import BoxActions, Constrained, DiscreteActions, Expansion, offered
from forethought.planning.wrappers.action_repeat import ActionRepeat
from forethought.planning.wrappers.discretized_actions import DiscretizedActions

BOX = BoxActions(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 6.0]))


class Echo(Constrained):
    """Rewards an action with its first component plus 10 times its second, which may not exceed 3."""

    actions, cost = BOX, 1

    def start(self, problems: Any) -> Any:
        zero = torch.zeros(len(problems))
        return zero, Expansion(zero, zero + 1, zero)

    def expand(self, states: Any, actions: Any, **more: Any) -> Any:
        reward = actions[:, 0] + 10 * actions[:, 1]
        return states, Expansion(reward, torch.ones_like(reward), 0 * reward)

    def constraint(self, states: Any, actions: Any) -> Any:
        return actions[:, 1] - 3


def test_the_actions_are_all_combinations_with_the_last_component_changing_fastest() -> None:
    model = DiscretizedActions(Echo(), 3)
    wanted = list(itertools.product([-1.0, 0.0, 1.0], [0.0, 3.0, 6.0]))
    assert model.actions == DiscreteActions(9) and model.table.tolist() == [list(row) for row in wanted]
    _, said = model.expand(torch.zeros(9), np.arange(9))
    assert said.reward.tolist() == [a + 10 * b for a, b in wanted]


def test_constraints_and_environments_are_given_the_vectors() -> None:
    model = DiscretizedActions(Echo(), 3)
    assert offered(model, Constrained) is model
    assert model.constraint(torch.zeros(3), torch.tensor([0, 4, 8])).tolist() == [-3, 0, 3]
    assert model.to_environment(np.array([5, 0])).tolist() == [[0, 6], [-1, 0]]
    held = ActionRepeat(model, 4)
    assert held.to_environment(np.array([8])).tolist() == [[1, 6]] and held.steps_per_action == 4
    assert offered(DiscretizedActions(Line(), 2), Constrained) is None


def test_what_cannot_be_discretized_is_named() -> None:
    with pytest.raises(ValueError, match="the values per component, is an integer, at least 2, got 1"):
        DiscretizedActions(Line(), 1)
    with pytest.raises(ValueError, match="needs a model over BoxActions"):
        DiscretizedActions(DiscretizedActions(Line(), 2), 2)
