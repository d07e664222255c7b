"""Give a model another value function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch
from torch import Tensor

from ..interface import Actions, Evaluate, Expansion, Model, Observed, States, Valued, offered
from ..settings_checks import check_setting, is_number
from .base import ModelWrapper

ValueFn = Callable[[Tensor], Tensor]
"""Discounted return still to come [K] of K states, or of K observations where the model is `Observed`."""

S = TypeVar("S")


def value_of(value: Callable[[S], Tensor] | None, states: S, discount: Tensor, evaluate: Evaluate) -> Tensor:
    """[K] values of states: 0 without a value function, where the episode is over, and where none is asked for."""
    if value is None or evaluate != "all":
        return torch.zeros_like(discount)
    return torch.where(discount > 0, value(states), torch.zeros_like(discount))


class TerminalValue(ModelWrapper[States], Valued[States]):
    """The same model with another value of reached states.

    value: maps the model's states to [K]; of a model that is `Observed` it is given their observations. gamma: the
        factor on everything after a step that `value` was made for; the model's discounts are multiplied by it, so that
        the rewards of a plan and the value at its end belong to one return.
    """

    def __init__(self, model: Model[States], value: ValueFn, gamma: float = 1.0) -> None:
        super().__init__(model)
        check_setting(is_number(gamma) and 0 < gamma <= 1, "gamma", "in (0, 1]", gamma)
        self.value, self.gamma = value, gamma

    def start(self, problems: object) -> tuple[States, Expansion]:
        states, root = self.model.start(problems)
        root.value = value_of(self.state_value, states, torch.as_tensor(root.discount), "all")
        return states, root

    def expand(
        self, states: States, actions: Actions, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[States, Expansion]:
        inner: Evaluate = "finished" if evaluate == "all" else evaluate  # ends keep their scores
        reached, step = self.model.expand(states, actions, to_end=to_end, evaluate=inner)
        step.discount = torch.as_tensor(step.discount) * self.gamma
        step.value = value_of(self.state_value, reached, step.discount, evaluate)
        return reached, step

    def state_value(self, states: States) -> Tensor:
        observed = offered(self.model, Observed)
        return self.value(cast(Tensor, states) if observed is None else observed.observation(states))
