"""A model with another value of its states, against the same numbers in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forethought.planning import DiscreteActions, Expansion, TerminalValue


class Count:
    """States are numbers, action 1 adds one and ends at 3; `asked` notes which values were asked for."""

    actions, cost = DiscreteActions(2), 1

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self, problems: Any) -> Any:
        x = torch.as_tensor(problems, dtype=torch.float32)
        return x, Expansion(0 * x, (x < 3).float(), 0 * x - 7)

    def expand(self, x: Any, actions: Any, *, to_end: bool = False, evaluate: Any = "all") -> Any:
        self.asked.append(evaluate)
        y = x + torch.as_tensor(actions)
        return y, Expansion(10 * y, 0.8 * (y < 3), 0 * y - 7)


def test_reached_states_have_the_value_given_and_ends_have_none() -> None:
    inner = Count()
    model = TerminalValue(inner, lambda x: 100 + x, gamma=0.5)
    assert model.start([0.0, 3.0])[1].value.tolist() == [100.0, 0.0]
    reached, said = model.expand(torch.tensor([0.0, 1.0, 2.0]), np.array([0, 1, 1]))
    assert reached.tolist() == [0.0, 2.0, 3.0]
    assert said.reward.tolist() == [0.0, 20.0, 30.0]
    assert said.discount.tolist() == pytest.approx([0.4, 0.4, 0.0])
    assert said.value.tolist() == [100.0, 102.0, 0.0]


@pytest.mark.parametrize(("evaluate", "inner"), [("all", "finished"), ("none", "none"), ("finished", "finished")])
def test_the_model_is_asked_to_judge_ends_only_because_other_values_are_replaced(evaluate: Any, inner: str) -> None:
    model = Count()
    said = TerminalValue(model, lambda x: x + 1).expand(torch.tensor([0.0]), np.array([1]), evaluate=evaluate)[1]
    assert model.asked == [inner]
    assert said.value.tolist() == [2.0 if evaluate == "all" else 0.0]
