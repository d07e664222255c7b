"""Known equations of motion as a `Model`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...planning.interface import ActionSpace, DiscreteActions, Evaluate, Expansion, Steppable, action_count
from ...planning.spaces import action_indices
from ...planning.wrappers.terminal_value import ValueFn, value_of
from ..dynamics.base import Dynamics, as_batch
from .base import OptionalValue


class AnalyticModel(OptionalValue, Steppable[Tensor]):
    """Equations of motion as a model. States are physical, tensors [K, state_dim].

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
        """Problems are physical states or observations [B, width]. Errors: ValueError for another width."""
        states = self.dynamics.to_states(as_batch(problems, self.dtype, self.device))
        alive = (~self.dynamics.terminated(states)).to(self.dtype)
        value = value_of(self.value, states, alive, "all")
        return states, Expansion(torch.zeros_like(alive), alive, value)

    def expand(
        self, states: Tensor, actions: Any, *, to_end: bool = False, evaluate: Evaluate = "all"
    ) -> tuple[Tensor, Expansion]:
        next_states, reward, discount = self.step(states, actions)
        return next_states, Expansion(reward, discount, value_of(self.value, next_states, discount, evaluate))

    def step(self, states: Tensor, actions: Any) -> tuple[Tensor, Tensor, Tensor]:
        """States [K, state_dim] and actions to next states [K, state_dim], rewards [K] and discounts [K]."""
        if isinstance(self.actions, DiscreteActions):
            actions = action_indices(actions, action_count(self.actions), states.device)
        else:
            actions = torch.as_tensor(actions).to(dtype=states.dtype, device=states.device)
        next_states, reward, alive = self.dynamics.step(states, actions)
        return next_states, reward, alive if self.gamma == 1.0 else self.gamma * alive
