"""Wrappers keep what the wrapped model reports of an end: that it is a dead end, and its score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import (
    ActionRepeat,
    BoxActions,
    DiscreteActions,
    Expansion,
    RolloutValue,
    TerminalValue,
)
from forethought.planning.interface import Constrained, offered


class Counting:
    """A state is the number of steps left; the last one ends the episode, as a dead end where the action is 1.

    An end is worth 5 where it is scored and 0 where it is not.
    """

    actions, cost = DiscreteActions(2), 1

    def start(self, problems: Any) -> Any:
        states = torch.as_tensor(problems)
        zero = torch.zeros(len(states))
        return states, Expansion(zero, zero + 1, zero)

    def expand(self, states: Any, actions: Any, *, to_end: bool = False, evaluate: str = "all") -> Any:
        reached = states - 1
        over = reached <= 0
        reward = torch.where(over & (evaluate != "none"), 5.0, 0.0)
        dead = (over & (torch.as_tensor(actions) == 1)).numpy()
        return reached, Expansion(reward, (~over).float(), torch.zeros(len(reached)), dead_end=dead)


WRAPPED = {
    "repeat": lambda: ActionRepeat(Counting(), 3),
    "rollout": lambda: RolloutValue(Counting(), 2, policy=lambda states, logits: np.zeros(len(states), np.int64)),
    "terminal": lambda: TerminalValue(Counting(), lambda states: torch.zeros(len(states))),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_dead_ends_are_kept(name: str) -> None:
    _, found = WRAPPED[name]().expand(torch.tensor([1, 1, 9]), np.array([0, 1, 1]))
    assert found.discount.tolist() == [0, 0, 1] and list(found.dead_end) == [False, True, False]


def test_a_dead_end_after_the_end_is_none() -> None:
    _, found = ActionRepeat(Counting(), 3).expand(torch.tensor([1, 2, 3, 4]), np.array([1, 1, 0, 1]))
    assert list(found.dead_end) == [True, True, False, False]


@pytest.mark.parametrize("evaluate", ["finished", "all"])
@pytest.mark.parametrize("name", ["repeat", "terminal"])
def test_an_end_at_any_step_has_its_score(name: str, evaluate: Any) -> None:
    _, found = WRAPPED[name]().expand(torch.tensor([1, 9]), np.array([0, 0]), evaluate=evaluate)
    assert found.reward.tolist() == [5, 0]


def test_a_rollout_counts_the_score_of_an_early_end() -> None:
    _, found = WRAPPED["rollout"]().expand(torch.tensor([2, 9]), np.array([0, 0]))
    assert found.value.tolist() == [5, 0]


class Fenced(Counting, Constrained[Any]):
    actions = BoxActions(torch.tensor([-1.0]), torch.tensor([1.0]))  # type: ignore[assignment]

    def constraint(self, states: Any, actions: Any) -> Any:
        return actions[:, 0]


def test_a_value_by_rollout_keeps_the_constraint() -> None:
    model = RolloutValue(Fenced(), 2)
    kept = offered(model, Constrained)
    assert kept is not None and kept.constraint(torch.zeros(1), torch.tensor([[0.5]])).tolist() == [0.5]
