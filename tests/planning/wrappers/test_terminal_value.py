"""Terminal values, and what a wrapper offers of the model that it wraps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from line_world import Line

from forethought.planning import DiscreteActions, Expansion, TerminalValue
from forethought.planning.interface import Observed, Steppable, Valued, offered
from forethought.planning.wrappers.base import ModelWrapper, constraint_of, steps_per_action, to_environment


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


STARTS = torch.tensor([0.0, 0.9]).double()


def square(x: Any) -> Any:
    return x**2


def test_reached_states_get_the_value_and_later_rewards_the_discount() -> None:
    model = TerminalValue(Line(wall=1.0), square, gamma=0.8)
    _, root = model.start(STARTS)
    assert root.value.tolist() == pytest.approx([0.0, 0.81])
    _, said = model.expand(STARTS, torch.tensor([0.5, 0.5]))
    assert said.value.tolist() == pytest.approx([0.25, 0.0]) and said.discount.tolist() == pytest.approx([0.8, 0.0])
    assert said.reward.tolist() == pytest.approx([0.5, 1.4]), "the model's own"


def test_it_is_not_asked_where_nobody_wants_values() -> None:
    def never(states: Any) -> Any:
        raise AssertionError("asked")

    model = TerminalValue(Line(), never)
    for evaluate in ("none", "solutions"):
        _, said = model.expand(STARTS, torch.zeros(2), evaluate=evaluate)  # type: ignore[arg-type]
        assert said.value.tolist() == [0, 0]


class Seen(Line, Observed):
    """States are seen with the sign turned."""

    def observation(self, states: Any) -> Any:
        return -states


def test_a_model_that_is_observed_is_valued_by_its_observations() -> None:
    model = TerminalValue(Seen(), lambda seen: seen + 1)
    assert model.state_value(STARTS).tolist() == pytest.approx([1.0, 0.1])
    assert model.start(STARTS)[1].value.tolist() == pytest.approx([1.0, 0.1])


@pytest.mark.parametrize("gamma", [0.0, 1.5, float("nan")])
def test_a_discount_outside_its_range_is_refused(gamma: float) -> None:
    with pytest.raises(ValueError, match=r"gamma is in \(0, 1\]"):
        TerminalValue(Line(), square, gamma)


def test_a_wrapper_offers_what_it_has_or_passes_on_and_nothing_that_would_bypass_it() -> None:
    class Quick(Seen, Steppable):
        def step(self, states: Any, actions: Any) -> Any:
            raise AssertionError("bypasses the wrapper")

    quick = Quick()
    model = TerminalValue(ModelWrapper(quick), square)
    assert offered(model, Valued) is model and offered(ModelWrapper(quick), Valued) is None
    assert offered(model, Observed) is quick and offered(model, Steppable) is None
    assert model.actions is quick.actions and model.cost == 1
    with pytest.raises(ValueError, match="Quick offers no constraint"):
        constraint_of(quick)


def test_a_plain_model_s_actions_are_the_environment_s() -> None:
    actions = torch.tensor([[0.3]])
    assert steps_per_action(Line()) == 1 and to_environment(Line(), actions) is actions
    model = ModelWrapper(Line())
    assert model.steps_per_action == 1 and model.to_environment(actions) is actions
    states, root = model.start(STARTS)
    reached, _ = model.expand(states, torch.tensor([0.1, 0.1]))
    assert reached.tolist() == pytest.approx([0.1, 1.0]) and root.value.tolist() == [0, 0]
