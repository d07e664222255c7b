"""Known equations of motion as a `Model`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...planning.interface import ActionSpace, DiscreteActions, Evaluate, Expansion, Steppable, action_count
from ...planning.spaces import action_indices
from ...planning.wrappers.terminal_value import ValueFn, value_of
from ..dynamics.base import Dynamics, rows_of
from .base import OptionalValue


class AnalyticModel(OptionalValue, Steppable[Tensor]):
    """The dynamics themselves. States are physical, tensors [K, size].

    value: return still to come of physical states; None means 0, with which shallow leaves look best wherever rewards
        are negative: give tree searches on Pendulum a value or equal depths.
    gamma: factor on everything after a step, in (0, 1].
    dtype, device: of the states; float32 agrees with gymnasium to about 1e-6 a step.
    """

    cost = 1

    def __init__(
        self,
        dynamics: Dynamics,
        value: ValueFn | None = None,
        gamma: float = 1.0,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma is in (0, 1], got {gamma}")
        self.dynamics, self.value, self.gamma = dynamics, value, gamma
        self.dtype, self.device = dtype, device
        self.actions: ActionSpace = dynamics.actions

    def start(self, problems: Any) -> tuple[Tensor, Expansion]:
        """A problem is a physical state or an observation."""
        states = self.dynamics.physical(rows_of(problems, self.dtype, self.device))
        alive = (~self.dynamics.ended(states)).to(self.dtype)
        value = value_of(self.value, states, alive, "all")
        return states, Expansion(torch.zeros_like(alive), alive, value)

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        reached, reward, discount = self.step(states, actions)
        return reached, Expansion(reward, discount, value_of(self.value, reached, discount, evaluate))

    def step(self, states: Tensor, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        """[K, size] and actions -> next states [K, size], rewards [K], discounts [K]."""
        if isinstance(self.actions, DiscreteActions):
            actions = action_indices(actions, action_count(self.actions), states.device)
        else:
            actions = torch.as_tensor(actions).to(dtype=states.dtype, device=states.device)
        reached, reward, alive = self.dynamics.step(states, actions)
        return reached, reward, alive if self.gamma == 1.0 else self.gamma * alive
