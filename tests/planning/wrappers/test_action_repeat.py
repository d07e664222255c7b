"""A repeated action against the same action taken step by step in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import ActionRepeat, DiscreteActions, Expansion, RolloutValue
from forethought.planning.usage import NODES, UNITS


class Countdown:
    """States are numbers; action a takes 1 + a away and pays the state before it; at 0 or below the episode ends.

    An end below 0 is a dead end. Numbers after an end are NaN, as a model may answer there what it likes.
    """

    actions, cost = DiscreteActions(2), 1

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems, dtype=torch.float32)
        return x, Expansion(torch.zeros_like(x), torch.ones_like(x), x.clone())

    def expand(self, x: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        y = x - 1 - torch.as_tensor(actions)
        over = x <= 0
        reward = torch.where(over, torch.nan, x)
        usage = np.full((len(y), len(UNITS)), 2.0)
        said = Expansion(reward, 0.9 * (y > 0), torch.where(y > 0, y, 0), None, usage, usage / 2)
        said.dead_end = (y < 0).numpy()
        return y, said


def step_by_step(x: float, action: int, k: int) -> tuple[float, float, float, bool]:
    """Reward, discount, value and whether it is a dead end after k steps."""
    reward, discount = 0.0, 1.0
    for _ in range(k):
        reward += discount * x
        x -= 1 + action
        if x <= 0:
            return reward, 0.0, 0.0, x < 0
        discount *= 0.9
    return reward, discount, x, False


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_repeated_action_is_the_same_action_step_by_step(k: int) -> None:
    model = ActionRepeat(Countdown(), k)
    begins, actions = [1.0, 2.0, 3.0, 5.0, 9.0] * 2, [0] * 5 + [1] * 5
    said = model.expand(model.start(begins)[0], np.array(actions))[1]
    expected = [step_by_step(x, a, k) for x, a in zip(begins, actions)]
    found = zip(said.reward.tolist(), said.discount.tolist(), said.value.tolist(), said.dead_end)
    for row, alone in zip(found, expected):
        assert row == pytest.approx(alone)
    assert (said.usage[:, NODES] == 2 * k).all() and (said.spent[:, NODES] == k).all()
    assert model.cost == k and model.steps_per_action == k


def test_a_rollout_keeps_what_the_model_says_of_dead_ends() -> None:
    model = RolloutValue(Countdown(), 2)
    said = model.expand(torch.tensor([1.0, 1.0, 4.0]), np.array([0, 1, 1]))[1]
    assert said.dead_end.tolist() == [False, True, False]
    assert said.reward.tolist() == [1.0, 1.0, 4.0] and (said.value[:2] == 0).all() and said.value[2] > 0
