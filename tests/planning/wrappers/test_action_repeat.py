"""Repeated actions: the same action step by step, with discounts, ends, costs and constraints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from line_world import Line, by_hand

from forethought.planning import ActionRepeat, DiscreteActions, Expansion, RolloutValue
from forethought.planning.interface import Constrained, offered
from forethought.planning.usage import MODEL_CALLS, NODES, UNITS


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


STARTS = torch.tensor([0.0, 0.5, 0.95]).double()
PUSHES = torch.tensor([0.3, -0.4, 0.2]).double()


class Discounted(Line):
    """The same line with a discount of 0.9 a step."""

    def expand(self, states: Any, actions: Any, **more: Any) -> Any:
        reached, said = super().expand(states, actions, **more)
        said.discount = 0.9 * said.discount
        return reached, said


def test_rewards_are_summed_with_their_discounts_up_to_the_end() -> None:
    """The third state ends at the first step, and the inner model answers NaN for those after it."""
    model = ActionRepeat(Discounted(wall=1.0), 3)
    reached, said = model.expand(STARTS, PUSHES)
    for i in range(3):
        # without the value of the last state, which `by_hand` adds where the wall was not reached
        total = by_hand(float(STARTS[i]), [float(PUSHES[i])] * 3, 0.9, 1.0)
        total -= float(said.discount[i]) * 10 * float(reached[i])
        assert float(said.reward[i]) == pytest.approx(total)
    assert said.discount.tolist() == pytest.approx([0.9**3, 0.9**3, 0.0])
    assert said.value.tolist() == pytest.approx([9.0, -7.0, 0.0])
    torch.testing.assert_close(reached[:2], STARTS[:2] + 3 * PUSHES[:2])


def test_all_steps_are_charged_and_only_ends_are_evaluated_before_the_last() -> None:
    asked = []

    class Noted(Line):
        def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all") -> Any:
            asked.append(evaluate)
            reached, said = super().expand(states, actions)
            said.usage = np.tile(np.arange(1.0, 1 + len(UNITS)), (len(states), 1))
            said.spent = said.usage / 2
            return reached, said

    model = ActionRepeat(ActionRepeat(Noted(), 2), 2)
    assert model.cost == model.steps_per_action == 4
    _, said = model.expand(STARTS, PUSHES, evaluate="solutions")
    assert asked == ["finished"] * 3 + ["solutions"]
    assert (said.usage == 4 * np.arange(1.0, 1 + len(UNITS))).all() and (said.spent == said.usage / 2).all()
    _, plain = ActionRepeat(Line(), 5).expand(STARTS, PUSHES)
    assert (plain.usage[:, [NODES, MODEL_CALLS]] == 5).all() and (plain.spent == plain.usage).all()


class Fenced(Discounted, Constrained):
    """No step may begin beyond 0.6; after an end the constraint is NaN."""

    def constraint(self, states: Any, actions: Any) -> Any:
        return torch.where(states.abs() >= self.wall, torch.nan, states.abs() - 0.6)


def test_the_constraint_of_every_step_up_to_the_end_stands_in_a_column() -> None:
    model = ActionRepeat(Fenced(wall=1.0), 3)
    found = model.constraint(STARTS, PUSHES)
    wanted = [[-0.6, -0.3, 0.0], [-0.1, -0.5, -0.3], [0.35, 0.0, 0.0]]
    torch.testing.assert_close(found, torch.tensor(wanted).double(), atol=1e-6, rtol=0)
    assert offered(model, Constrained) is model
    assert offered(ActionRepeat(Line(), 2), Constrained) is None


def test_less_than_one_step_is_refused() -> None:
    with pytest.raises(ValueError, match="k is an integer, at least 1, got 0"):
        ActionRepeat(Line(), 0)
