"""Values by rollout, against returns added up by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import DiscreteActions, Expansion, RolloutValue


class Step:
    """Action a pays a + 1 and adds 1 to the state; each state's own value is 100 times it. `asked` notes the wishes."""

    actions, cost = DiscreteActions(3), 1

    def __init__(self) -> None:
        self.asked: list[tuple[bool, str]] = []

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems, dtype=torch.float32)
        return x, Expansion(0 * x, 0 * x + 1, 100 * x)

    def expand(self, x: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        self.asked.append((to_end, evaluate))
        y = x + 1
        return y, Expansion(torch.as_tensor(actions).float() + 1, 0 * y + 0.5, 100 * y)


def test_a_value_is_the_return_of_the_policy_and_the_model_s_value_after_it() -> None:
    model = RolloutValue(Step(), 2, lambda states, logits: torch.full((len(states),), 2))
    said = model.expand(torch.tensor([0.0, 5.0]), np.array([0, 1]))[1]
    assert said.reward.tolist() == [1.0, 2.0]
    assert said.value.tolist() == [3 + 0.5 * 3 + 0.25 * 300, 3 + 0.5 * 3 + 0.25 * 800]
    assert model.cost == 3 and said.usage[:, 0].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("evaluate", ["none", "finished"])
def test_without_a_wish_for_values_nothing_is_rolled_out_and_the_wishes_are_passed_on(evaluate: Any) -> None:
    inner = Step()
    said = RolloutValue(inner, 2).expand(torch.tensor([0.0]), np.array([1]), to_end=True, evaluate=evaluate)[1]
    assert inner.asked == [(True, evaluate)] and said.usage is None
